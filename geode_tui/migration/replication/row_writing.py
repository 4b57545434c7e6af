"""Changes of rows written to the source, in the one transaction that a fall-back is.

The rows are to be what the graph says, so no trigger of a person's fires meanwhile, and foreign
keys are looked at in the end: what an order of statements cannot do, a deferred constraint can.
Both is asked for in the transaction and taken back in it; where the role may not, parents are
written before children, and removed after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.mapping.inverse import TableInverse
from geode_tui.migration.replication.reverse import Kind, RowChange, Stuck, Texts, by_table
from geode_tui.source.introspect import Connection
from geode_tui.source.profile import qualified, quoted
from geode_tui.validation.entity import told

_CANNOT_WAIT = "cannot wait for the end"
MOST_STUCK = 20
"""So many rows that PostgreSQL refuses are told; then it is known that much is wrong."""
Phase = Kind | str
_DEFERRED: tuple[str, ...] = ("lead", "delete", "update", "insert")
_IN_ORDER: tuple[str, ...] = ("insert", "lead", "update", "delete")


@dataclass(frozen=True, slots=True)
class TableChanges:
    """How many rows of a table a fall-back makes, changes and removes."""

    table: str
    inserted: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True)
class RowStatement:
    """A statement of a fall-back, and for how many rows it is run."""

    sql: str
    rows: int


def counted(changes: Sequence[RowChange]) -> tuple[TableChanges, ...]:
    """What changes do to each table, in the order of names."""
    names = sorted({one.table.table.name for one in changes})

    def count(name: TableName, kind: Kind) -> int:
        return sum(one.table.table.name == name and one.kind == kind for one in changes)

    return tuple(
        TableChanges(str(n), count(n, "insert"), count(n, "update"), count(n, "delete"))
        for n in names
    )


class _Waiting(Exception):
    """Rows wait for one another."""


@dataclass
class RowWriter:
    """Writes changes of rows in the transaction that is open on a connection.

    `tables` are all that are inverted, parents first. Triggers of the schemas `keep` go on to
    fire. `statements` are those that ran, `notes` what could not be had.
    """

    connection: Connection
    tables: Sequence[TableInverse]
    keep: frozenset[str] = frozenset()
    statements: list[RowStatement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)

    async def write(self, changes: Sequence[RowChange]) -> None:
        """Write everything; where `stuck` is not empty then, the transaction is to be undone.

        Raises what PostgreSQL says of the transaction as a whole.
        """
        touched = {one.table.table.name for one in changes}
        back = [*await self._quiet(touched), *await self._deferred(touched)]
        await self._note_followers({c.table.table.name for c in changes if c.kind == "delete"})
        await self.connection.execute("SET CONSTRAINTS ALL DEFERRED")
        deferred = not any(_CANNOT_WAIT in note for note in self.notes)
        for phase in _DEFERRED if deferred else _IN_ORDER:
            await self._phase(phase, changes)
            if self.stuck:
                return
        await self._look_at_references()
        if not self.stuck:
            for statement in back:
                await self.connection.execute(statement)

    async def _look_at_references(self) -> None:
        """All foreign keys that were put off."""
        try:
            async with self.connection.transaction():
                await self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except asyncpg.IntegrityConstraintViolationError as error:
            name = f"{error.schema_name}.{error.table_name}"
            self.stuck.append(Stuck(name, "", _reason(error), _ADVICE))

    async def move_sequences(self, changes: Sequence[RowChange]) -> None:
        """Lead the sequences of tables that got rows past the numbers that came from the graph."""
        some = {one.table.table.name for one in changes if one.kind == "insert"}
        for table in self.tables:
            for statement in table.sequence_moves if table.table.name in some else ():
                try:
                    async with self.connection.transaction():
                        await self.connection.execute(statement)
                except asyncpg.InsufficientPrivilegeError as error:
                    self.notes.append(f"a sequence of {table.table.name} stays: {_reason(error)}")

    async def _phase(self, phase: str, changes: Sequence[RowChange]) -> None:
        kind: Kind = "update" if phase in ("lead", "update") else phase  # type: ignore[assignment]
        found = by_table((_part(one, phase) for one in changes), kind)
        order = self.tables if phase != "delete" else list(reversed(self.tables))
        for table in order:
            for columns, some in found.get(table.table.name, {}).items():
                if kind == "delete" or columns:
                    await self._rows(table, kind, columns, some)

    async def _rows(
        self, table: TableInverse, kind: Kind, columns: Texts, changes: Sequence[RowChange]
    ) -> None:
        sql = _statement(table, kind, columns)
        self.statements.append(RowStatement(sql, len(changes)))
        await self._halving(sql, kind, columns, changes)

    async def _halving(
        self, sql: str, kind: Kind, columns: Texts, changes: Sequence[RowChange]
    ) -> None:
        """Run a statement for all rows at once; where it fails, find the rows that make it."""
        if len(self.stuck) >= MOST_STUCK:
            return
        rows = [_texts(one, kind, columns) for one in changes]
        try:
            async with self.connection.transaction():
                done = await self.connection.execute(sql, *map(list, zip(*rows, strict=True)))
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError) as error:
            unique = isinstance(error, asyncpg.UniqueViolationError)
            if unique and kind == "update" and await self._in_turn(sql, columns, changes):
                return
            if len(changes) == 1:
                self._refuse(changes[0], _reason(error))
                return
            middle = len(changes) // 2
            await self._halving(sql, kind, columns, changes[:middle])
            await self._halving(sql, kind, columns, changes[middle:])
            if not self.stuck:  # each half went, both together did not
                self._refuse(changes[0], _reason(error))
            return
        count = int(done.rpartition(" ")[2])
        if kind == "update" and count != len(changes):
            await self._find_missing(changes)

    async def _in_turn(self, sql: str, columns: Texts, changes: Sequence[RowChange]) -> bool:
        """Change rows one after the other, as each makes way for the next; whether all went.

        Of those that wait for one another, what may be NULL makes way first.
        """
        table = changes[0].table
        free = [n for n in columns if (column := table.table.column(n)) and column.nullable]
        try:
            async with self.connection.transaction():
                waiting = await self._turns(sql, columns, changes)
                if waiting and free:
                    nothing = [replace(one, values=dict.fromkeys(free)) for one in waiting]
                    await self._turns(table.update_sql(free), tuple(free), nothing)
                    waiting = await self._turns(sql, columns, waiting)
                if waiting:
                    raise _Waiting
        except _Waiting:
            return False
        return True

    async def _turns(
        self, sql: str, columns: Texts, changes: Sequence[RowChange]
    ) -> Sequence[RowChange]:
        """Rounds through rows until none goes any more; those that did not."""
        waiting = list(changes)
        while waiting:
            left = []
            for one in waiting:
                try:
                    async with self.connection.transaction():
                        lists = [[text] for text in _texts(one, "update", columns)]
                        await self.connection.execute(sql, *lists)
                except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
                    left.append(one)
            if len(left) == len(waiting):
                break
            waiting = left
        return waiting

    async def _find_missing(self, changes: Sequence[RowChange]) -> None:
        for one in changes:
            same = " AND ".join(
                f"t.{quoted(given.column)} = CAST(${n + 1}::text AS {given.cast})"
                for n, given in enumerate(one.table.key)
            )
            sql = f"SELECT count(*) FROM {qualified(one.table.table.name)} AS t WHERE {same}"
            if await self.connection.fetchval(sql, *one.key) != 1:
                self._refuse(one, "the source has no such row")

    def _refuse(self, change: RowChange, reason: str) -> None:
        key = told(change.table.key_columns, change.key)
        self.stuck.append(Stuck(str(change.table.table.name), key, reason, _ADVICE))

    # -- what stands in the way ---------------------------------------------------------------

    async def _quiet(self, tables: Iterable[TableName]) -> list[str]:
        """Let no trigger fire; the statements that let them again."""
        back, rows = [], await self._asked(_TRIGGERS, tables)
        for row in rows:
            if row["function_schema"] in self.keep:
                continue
            on, name = f"ALTER TABLE ONLY {_named(row)}", quoted(row["name"])
            if not await self._tried(f"{on} DISABLE TRIGGER {name}"):
                self.notes.append(f"trigger {row['name']} of {row['table']} fires on each row")
                continue
            back.append(f"{on} ENABLE{_MODES[row['enabled']]} TRIGGER {name}")
        return back

    async def _deferred(self, tables: Iterable[TableName]) -> list[str]:
        """Let foreign keys wait for the end; the statements that make them as they were."""
        back, rows = [], await self._asked(_FOREIGN_KEYS, tables)
        for row in rows:
            alter = f"ALTER TABLE {_named(row)} ALTER CONSTRAINT {quoted(row['name'])}"
            if not await self._tried(f"{alter} DEFERRABLE INITIALLY DEFERRED"):
                self.notes.append(f"foreign key {row['name']} of {row['table']} {_CANNOT_WAIT}")
                continue
            back.append(f"{alter} NOT DEFERRABLE")
        return back

    async def _note_followers(self, tables: Iterable[TableName]) -> None:
        """Tell of tables that are not in the graph, whose rows go with those that are removed."""
        ours = {str(one.table.name) for one in self.tables}
        for row in await self._asked(_FOLLOWERS, tables):
            name = str(TableName(row["schema"], row["table"]))
            if name not in ours:
                what = f"rows of {name}, which are not in the graph, follow by {row['name']}"
                self.notes.append(f"{what} where a row of {row['to']} is removed")

    async def _asked(self, sql: str, tables: Iterable[TableName]) -> list[asyncpg.Record]:
        names = sorted(tables)
        return await self.connection.fetch(sql, [n.schema for n in names], [n.name for n in names])

    async def _tried(self, statement: str) -> bool:
        try:
            async with self.connection.transaction():
                await self.connection.execute(statement)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError):
            return False
        return True


def _part(change: RowChange, phase: str) -> RowChange:
    """The part of a change that belongs to a phase: foreign keys are led elsewhere first."""
    if change.kind != "update":
        return change
    leads = {g.column for one in change.table.references for g in one.columns}
    values = {
        column: value
        for column, value in change.values.items()
        if (column in leads) == (phase == "lead")
    }
    return replace(change, values=values)


def _statement(table: TableInverse, kind: Kind, columns: Texts) -> str:
    if kind == "insert":
        return table.insert_sql(columns)
    return table.update_sql(columns) if kind == "update" else table.delete_sql


def _texts(change: RowChange, kind: Kind, columns: Texts) -> tuple[str | None, ...]:
    values = tuple(change.values[column] for column in columns)
    return values if kind == "insert" else (*change.key, *values)


def _named(row: asyncpg.Record) -> str:
    return qualified(TableName(row["schema"], row["table"]))


def _reason(error: asyncpg.PostgresError) -> str:
    detail = getattr(error, "detail", None)
    message = str(error).split("\n")[0]
    return f"PostgreSQL: {message}" + (f" ({detail})" if detail else "")


_ADVICE = "change it in the graph so that the table can hold it, and fall back again"
_MODES = {"O": "", "A": " ALWAYS", "R": " REPLICA"}

_RELATIONS = """
WITH given AS (
  SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(schema, name)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name),
relation AS (
  SELECT oid FROM given UNION SELECT p.relid FROM given g, pg_partition_tree(g.oid) p)"""

# Not those of constraints, but those that a person made as constraint triggers.
_TRIGGERS = f"""{_RELATIONS}
SELECT n.nspname AS schema, c.relname AS "table", t.tgname AS name, t.tgenabled::text AS enabled,
       fn.nspname AS function_schema
FROM relation r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_trigger t ON t.tgrelid = c.oid JOIN pg_proc f ON f.oid = t.tgfoid
JOIN pg_namespace fn ON fn.oid = f.pronamespace
WHERE t.tgenabled <> 'D'
  AND (NOT t.tgisinternal OR (t.tgparentid <> 0 AND t.tgconstraint = 0))
ORDER BY 1, 2, 3"""

# Foreign keys by which rows are removed or changed when what they point at is removed.
_FOLLOWERS = f"""{_RELATIONS}
SELECT n.nspname AS schema, c.relname AS "table", k.conname AS name,
       k.confrelid::regclass::text AS to
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confdeltype IN ('c', 'n', 'd')
  AND k.confrelid IN (SELECT oid FROM given)
ORDER BY 1, 2, 3"""

# Of our tables and to them; a child of a partitioned table's constraint goes with its parent.
_FOREIGN_KEYS = f"""{_RELATIONS}
SELECT n.nspname AS schema, c.relname AS "table", k.conname AS name
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND NOT k.condeferrable AND k.conparentid = 0
  AND coalesce((to_jsonb(k)->>'conenforced')::boolean, true)
  AND (k.conrelid IN (SELECT oid FROM given) OR k.confrelid IN (SELECT oid FROM given))
ORDER BY 1, 2, 3"""
