"""Change capture by triggers that write a log, for roles that may not replicate.

Each change of a captured table is a row of `change_log`, written in the transaction that made it.
What is new is told by the difference of two snapshots: the rows whose transaction the last
snapshot could not see and this one can. Neither numbers nor times nor transaction ids give that.

A position is the text of a snapshot (`pg_current_snapshot()`). One read gives whole transactions
in an order they could have run in one after another: each has its Begin and its Commit, and within
it changes come statement by statement. Only the last Commit of a read has the new position; the
others have the old one, as reading again from there gives their changes once more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, cast

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, SnapshotLostError, UsageError
from geode_tui.source import outbox_sql as sql
from geode_tui.source.changes import (
    Begin,
    Change,
    Columns,
    Commit,
    Event,
    Message,
    Operation,
    Values,
)
from geode_tui.source.introspect import Connection
from geode_tui.source.outbox_sql import CapturedColumn, CapturedTable, Names
from geode_tui.source.postgres import lost_error, read_error
from geode_tui.source.profile import qualified, quoted
from geode_tui.source.requirements import Requirement, required

OLDEST_VERSION = 130_000
_PAUSE_SECONDS = 0.2
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_FALSE_KINDS = {
    "f": "a foreign table: triggers there do not see what others write",
    "v": "a view: its rows are other tables' rows",
    "m": "a materialized view: REFRESH fires no trigger",
}
DriftKind = Literal["missing", "disabled", "changed", "altered", "gone", "gap", "order"]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as set-up left it; `table` is None for the log itself.

    `missing`, `disabled` and `gap` mean that changes are not, or were not, captured; `changed`
    that somebody replaced a function; `altered` that the table has other columns now; `gone`
    that it is no more; `order` that another trigger fires before ours.
    """

    kind: DriftKind
    table: TableName | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Writer:
    """A transaction that has written and is open; `pid` is None for a prepared one."""

    pid: int | None
    since: datetime | None
    application: str


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How full the log is: rows, bytes with indexes, the oldest row's age in seconds."""

    rows: int
    bytes: int
    oldest_seconds: float | None
    oldest_writer: Writer | None


@dataclass(slots=True)
class _Found:
    """What is there of the outbox now."""

    there: bool
    comment: str | None
    can_create: bool
    tables: list[str]
    functions: dict[str, str]
    objects: int
    triggers: list[asyncpg.Record] = field(default_factory=list)
    captured: dict[int, asyncpg.Record] = field(default_factory=dict)

    @property
    def has_log(self) -> bool:
        return {"change_log", "captured", "cleaned_up"} <= set(self.tables)

    def whole(self) -> dict[tuple[int, str], asyncpg.Record]:
        """Our triggers by (table's oid, name)."""
        return {(row["oid"], row["name"]): row for row in self.triggers}


class Outbox:
    """The log of one schema. It owns all that is in it; the schema may be somebody's.

    The role that sets it up owns the log: application roles need no right on it. Every method
    raises GeodeTuiError for what PostgreSQL refuses.
    """

    def __init__(self, schema: str = "geode_tui") -> None:
        self.schema = schema
        self._names = Names(schema)

    async def requirements(
        self, connection: Connection, tables: Sequence[TableName]
    ) -> list[Requirement]:
        """What set-up needs of the server, the database and each table, and whether it is met."""
        with _told():
            return [
                *await self._needs_of_the_server(connection),
                *await self._needs_of_tables(connection, tables),
            ]

    async def set_up_statements(
        self, connection: Connection, tables: Sequence[TableName]
    ) -> list[str]:
        """The SQL that captures `tables` from its COMMIT on, in one transaction; to be run as is.

        What is there already is left alone; nothing to do is no statement. A snapshot that is
        taken after it is a position to read from. Raises UsageError for what cannot be captured.
        """
        with _told():
            found = await self._found(connection)
            statements: list[str] = []
            if not found.has_log:
                statements += sql.make_log(self._names, schema_exists=found.there)
            elif self._check_shared(found):
                statements += sql.make_shared_functions(self._names)
            for table in await _captured_tables(connection, tables):
                statements += self._set_up_table(found, table)
        return sql.in_transaction(statements)

    async def set_up(
        self, connection: Connection, tables: Sequence[TableName], attempts: int = 5
    ) -> None:
        """Run `set_up_statements`. A lock that is not had in 2 s undoes all, and it is tried again.

        Writers wait behind a lock that waits: between attempts they get ever longer pauses.
        Raises BusyError after the last attempt.
        """
        for attempt in range(attempts):
            try:
                await _run(connection, await self.set_up_statements(connection, tables))
                return
            except BusyError:
                if attempt + 1 == attempts:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)

    async def tear_down_statements(self, connection: Connection) -> list[str]:
        """The SQL that removes our triggers, functions and tables, and our schema when empty."""
        with _told():
            found = await self._found(connection)
        if not found.there:
            return []
        statements = [
            f"DROP TRIGGER IF EXISTS {quoted(row['name'])} ON "
            + qualified(TableName(row["schema"], row["relation"]))
            for row in found.triggers
            if not row["is_clone"]
        ]
        of = self._names.of
        fixed = ["begin_statement()", "truncated()", "texts(text, oid)"]
        own = [f"capture_{oid}()" for oid in found.captured]
        for function in fixed + own:
            name, arguments = function.split("(")
            if name in found.functions:
                statements.append(f"DROP FUNCTION {of(name)}({arguments}")
        ours = [t for t in ("change_log", "captured", "cleaned_up") if t in found.tables]
        statements += [f"DROP TABLE {of(name)}" for name in ours]
        functions = [f for f in fixed + own if f.split("(")[0] in found.functions]
        count = len(ours) + len(functions) + ("change_log" in ours)  # and the log's sequence
        if found.comment == self._names.comment and found.objects <= count:
            statements.append(f"DROP SCHEMA {quoted(self.schema)}")
        return sql.in_transaction(statements)

    async def tear_down(self, connection: Connection) -> None:
        """Run `tear_down_statements`; nothing when nothing is there."""
        await _run(connection, await self.tear_down_statements(connection))

    async def check(
        self, connection: Connection, tables: Sequence[TableName], since: str | None = None
    ) -> list[Drift]:
        """What is not as set-up left it; nothing when all is well.

        With `since`, a position, also what was captured only after it.
        """
        with _told():
            found = await self._found(connection)
            if not found.has_log:
                return [Drift("missing", None, f"there is no log in schema {self.schema}")]
            drifts = self._check_shared(found)
            present, gone = await _present(connection, tables)
            drifts += [Drift("gone", name, "there is no such table") for name in gone]
            made = await _captured_tables(connection, present)
            for table in made:
                drifts += self._check_table(found, table)
            drifts += await self._earlier_triggers(connection, made)
            if since is not None:
                drifts += await self._gaps(connection, found, made, since)
        return drifts

    async def fence(self, connection: Connection) -> str:
        """The position of this transaction: read from it, nothing it sees comes again."""
        with _told():
            return str(await connection.fetchval("SELECT pg_current_snapshot()::text"))

    async def read(
        self, connection: Connection, since: str, rows: int = 1000
    ) -> AsyncGenerator[list[Event]]:
        """What was committed between the position `since` and now, in lists of about `rows`.

        It is read in a transaction of its own on `connection`, by a cursor: close the iterator
        (`contextlib.aclosing`) when it is left early. The last event is always a Commit with the
        new position, also when nothing has changed. Columns come before the first change of a
        table and wherever its columns are others; a type that is not known is 0.

        Raises SnapshotLostError when the log no longer reaches back to `since`.
        """
        with _told():
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                fence = await self._position(connection, since)
                teller = _Teller(since, fence, await self._layouts(connection))
                statement = sql.READ.format(log=self._names.log)
                cursor = await connection.cursor(statement, since)
                while some := await cursor.fetch(rows):
                    yield teller.tell(some)
                yield teller.end()

    async def clean_up(self, connection: Connection, before: str, rows: int = 10_000) -> int:
        """Remove what the position `before` has seen, `rows` a transaction; how many were removed.

        Only what was applied for good may be removed: reading from an earlier position is refused
        from then on.
        """
        removed = 0
        remember = (
            f"UPDATE {self._names.of('cleaned_up')} SET before = $1::text::pg_snapshot"
            " WHERE before IS NULL OR"
            " pg_snapshot_xmax(before) <= pg_snapshot_xmax($1::text::pg_snapshot)"
        )
        statement = sql.CLEAN_UP.format(log=self._names.log)
        while True:
            with _told():
                async with _writing(connection):
                    if not (await connection.execute(remember, before)).endswith("1"):
                        return removed
                    done = await connection.execute(statement, before, rows)
            count = int(done.rpartition(" ")[2])
            removed += count
            if count < rows:
                return removed

    async def state(self, connection: Connection) -> OutboxState:
        """How full the log is, and who has had a writing transaction open for longest."""
        names = {"log": self._names.log, "log_name": sql.literal(self._names.log)}
        with _told():
            row = await connection.fetchrow(sql.STATE.format(**names))
            writer = await connection.fetchrow(sql.OLDEST_WRITER)
        assert row is not None
        oldest = Writer(writer["pid"], writer["since"], writer["application"]) if writer else None
        return OutboxState(row["rows"], row["bytes"], row["age"], oldest)

    async def send(self, connection: Connection, prefix: str, text: str) -> None:
        """Send a message through the log: it is read after all that was committed before."""
        statement = (
            f"INSERT INTO {self._names.log} (statement, table_oid, table_schema, table_name,"
            " operation, new_data) VALUES (2147483647, 0, '', '', 'message',"
            " jsonb_build_object('prefix', $1::text, 'text', $2::text))"
        )
        with _told():
            async with _writing(connection):
                await connection.execute(statement, prefix, text)

    async def _found(self, connection: Connection) -> _Found:
        """What is there, with what the log remembers of tables."""
        found = await self._schema(connection)
        if found.has_log:
            wanted = sql.CAPTURED.format(digest=sql.DIGEST, captured=self._names.of("captured"))
            rows = await connection.fetch(wanted, self.schema)
            found.captured = {row["oid"]: row for row in rows}
        return found

    async def _schema(self, connection: Connection) -> _Found:
        row = await connection.fetchrow(sql.OURS_IN_SCHEMA, self.schema)
        assert row is not None
        found = _Found(
            row["there"],
            row["comment"],
            row["can_create"],
            row["tables"],
            json.loads(row["functions"] or "{}"),
            row["objects"],
        )
        if found.there:
            found.triggers = await connection.fetch(sql.TRIGGERS, self.schema)
        return found

    async def _needs_of_the_server(self, connection: Connection) -> list[Requirement]:
        found = await self._schema(connection)
        row = await connection.fetchrow(
            "SELECT current_setting('server_version_num')::int AS number,"
            " current_setting('server_version') AS version, pg_is_in_recovery() AS standby,"
            " current_database()::text AS database, current_user::text AS role,"
            " has_database_privilege(current_database(), 'CREATE') AS can_create"
        )
        assert row is not None
        role, database = quoted(row["role"]), quoted(row["database"])
        if found.there:
            create = required(
                "place for the log",
                found.can_create,
                f"schema {self.schema} exists; {row['role']} may "
                + ("" if found.can_create else "not ")
                + "create in it",
                f"GRANT CREATE ON SCHEMA {quoted(self.schema)} TO {role}",
            )
        else:
            create = required(
                "place for the log",
                row["can_create"],
                f"{row['role']} may "
                + ("" if row["can_create"] else "not ")
                + f"create the schema {self.schema} in {row['database']}",
                f"GRANT CREATE ON DATABASE {database} TO {role}",
            )
        version = required(
            "version",
            row["number"] >= OLDEST_VERSION,
            f"PostgreSQL {row['version']}; transaction ids of 64 bits are there from 13 on",
        )
        primary = required(
            "primary",
            not row["standby"],
            "the server is a standby: triggers do not fire there, and nothing can be made"
            if row["standby"]
            else "the server is no standby",
        )
        return [version, primary, create]

    async def _needs_of_tables(
        self, connection: Connection, tables: Sequence[TableName]
    ) -> list[Requirement]:
        role = await connection.fetchval("SELECT current_user::text")
        rows = await _look_up(connection, tables)
        parts = await connection.fetch(sql.RELATIONS, [r["oid"] for r in rows if r["oid"]])
        needs = []
        for row in rows:
            name = TableName(row["schema"], row["name"])
            needs.append(_kind_need(row, name))
            if needs[-1].state != "met":
                continue
            leaves = [part for part in parts if part["root"] == row["oid"]]
            needs.append(_owner_need(row, name, leaves, role))
            if row["kind"] == "p":
                needs.append(_partitions_need(name, leaves))
            if row["children"] and row["kind"] == "r":
                evidence = f"{row['children']} tables inherit from {name}: only its own rows"
                needs.append(required(f"inheritance of {name}", True, f"{evidence} are captured"))
        return needs

    def _set_up_table(self, found: _Found, table: CapturedTable) -> list[str]:
        noted = found.captured.get(table.oid)
        drifts = self._check_table(found, table)
        if noted is not None and not drifts:
            return []
        statements = []
        if {d.kind for d in drifts} & {"changed", "altered"} or noted is None:
            statements.append(sql.make_function(self._names, table))
        missing = self._unfit_triggers(found, table)
        change = self._names.trigger("change")
        # Changes may have been missed: made anew, the trigger tells since when it captures.
        since_now = noted is not None and (
            any(d.kind == "changed" for d in drifts) or any(name == change for _, name in missing)
        )
        if since_now:
            missing.add((table.oid, change))
        there = set(found.whole())
        statements += sql.make_triggers(self._names, table, missing, missing & there)
        columns = _columns_json(table)
        statements += sql.note_captured(self._names, table, columns, since_now=since_now)
        return statements

    def _wanted_triggers(self, table: CapturedTable) -> dict[tuple[int, str], str]:
        """Which function each trigger of a table and its partitions is to run."""
        change = self._names.trigger("change")
        own = sql.function_name(table)
        wanted = {(oid, change): own for oid in table.relations}
        for what, function in (("begin", "begin_statement"), ("truncate", "truncated")):
            name = self._names.trigger(what)
            wanted |= {(oid, name): function for oid in table.relations}
        return wanted

    def _unfit_triggers(self, found: _Found, table: CapturedTable) -> set[tuple[int, str]]:
        there = found.whole()
        return {
            place
            for place, function in self._wanted_triggers(table).items()
            if _trigger_fault(there.get(place), function, place[1], self._names) is not None
        }

    def _check_shared(self, found: _Found) -> list[Drift]:
        drifts = []
        for name, body in sql.shared_bodies(self._names).items():
            there = found.functions.get(name)
            if there is None:
                drifts.append(Drift("missing", None, f"the function {name} is gone"))
            elif there != body:
                drifts.append(Drift("changed", None, f"somebody changed the function {name}"))
        return drifts

    def _check_table(self, found: _Found, table: CapturedTable) -> list[Drift]:
        noted = found.captured.get(table.oid)
        if noted is None:
            return [Drift("missing", table.name, "the table is not captured")]
        drifts = []
        there = found.whole()
        for (oid, name), function in self._wanted_triggers(table).items():
            fault = _trigger_fault(there.get((oid, name)), function, name, self._names)
            if fault is not None:
                where = table.relations[oid]
                drifts.append(Drift(fault[0], table.name, f"trigger {name} on {where} {fault[1]}"))
        if noted["digest"] is None:
            drifts.append(Drift("changed", table.name, "its trigger function is gone"))
        elif noted["digest"] != noted["noted"]:
            drifts.append(Drift("changed", table.name, "somebody changed its trigger function"))
        return drifts + _alterations(noted, table)

    async def _earlier_triggers(
        self, connection: Connection, tables: Sequence[CapturedTable]
    ) -> list[Drift]:
        names = {oid: name for table in tables for oid, name in table.relations.items()}
        change = self._names.trigger("change")
        rows = await connection.fetch(sql.EARLIER_TRIGGERS, list(names), change)
        return [
            Drift("order", names[row["oid"]], f"trigger {row['name']} fires before ours")
            for row in rows
        ]

    async def _gaps(
        self,
        connection: Connection,
        found: _Found,
        tables: Sequence[CapturedTable],
        since: str,
    ) -> list[Drift]:
        """Tables that were captured later than `since`, or whose trigger was touched since."""
        change = self._names.trigger("change")
        there = found.whole()
        gaps = []
        for table in tables:
            noted = found.captured.get(table.oid)
            trigger = there.get((table.oid, change))
            if noted is None or trigger is None:
                continue
            seen = await connection.fetchval(
                "SELECT pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)",
                noted["since"],
                since,
            )
            if not seen:
                gaps.append(Drift("gap", table.name, "captured only after the position"))
            elif int(trigger["touched"]) not in (int(noted["since"]) % 2**32, _FROZEN):
                evidence = "somebody altered our trigger: it may have been disabled for a while"
                gaps.append(Drift("gap", table.name, evidence))
        return gaps

    async def _position(self, connection: Connection, since: str) -> str:
        cleaned = self._names.of("cleaned_up")
        row = await connection.fetchrow(sql.POSITION.format(cleaned_up=cleaned), since)
        again = "take a new snapshot and copy the tables again"
        if row is None or not row["complete"]:
            raise SnapshotLostError(
                "the change log does not reach back to the position",
                "it was set up after the position was taken",
                again,
            )
        if not row["known"]:
            raise SnapshotLostError(
                "the position is not of this server",
                "it names transactions that are still to come: another server, or a restored one",
                again,
            )
        if not row["kept"]:
            raise SnapshotLostError(
                "the change log does not reach back to the position",
                "what was captured after it has been cleaned up",
                again,
            )
        return str(row["fence"])

    async def _layouts(self, connection: Connection) -> dict[int, _Layout]:
        captured = self._names.of("captured")
        rows = await connection.fetch(f"SELECT table_oid AS oid, key FROM {captured}")
        types: dict[int, dict[str, int]] = {row["oid"]: {} for row in rows}
        for row in await connection.fetch(sql.COLUMNS, list(types)):
            types[row["oid"]][row["name"]] = row["type_oid"]
        return {row["oid"]: _Layout(types[row["oid"]], tuple(row["key"])) for row in rows}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of a table as they are now, with their types, and its key."""

    types: dict[str, int]
    key: tuple[str, ...]


_NO_LAYOUT = _Layout({}, ())
_FROZEN = 2


class _Teller:
    """Makes events of the log's rows; they come one transaction after another."""

    def __init__(self, since: str, fence: str, layouts: dict[int, _Layout]) -> None:
        self._since = since
        self._fence = fence
        self._layouts = layouts
        self._told: dict[int, frozenset[str]] = {}
        self._open = 0
        self._number = 0

    def tell(self, rows: Sequence[asyncpg.Record]) -> list[Event]:
        """The events of some rows."""
        events: list[Event] = []
        for xid, group in groupby(rows, lambda row: int(row["txid"])):
            some = list(group)
            if xid != self._open:
                if self._open:
                    events.append(Commit(self._open, self._since))
                self._open = xid
                # Up to the last of its own, without gaps: above those of who wrote a row before.
                self._number = some[0]["last"] - some[0]["count"]
                events.append(Begin(xid, self._fence, None))
            for row in some:
                self._tell_row(row, events)
        return events

    def end(self) -> list[Event]:
        """The Commit from which reading goes on."""
        return [Commit(self._open, self._fence)]

    def _tell_row(self, row: asyncpg.Record, events: list[Event]) -> None:
        self._number += 1
        if row["operation"] == "message":
            told = json.loads(row["new_data"])
            events.append(Message(told["prefix"], told["text"]))
            return
        table = TableName(row["table_schema"], row["table_name"])
        old, new = _values(row["old_data"]), _values(row["new_data"])
        if row["operation"] != "truncate":
            self._tell_columns(row["table_oid"], table, frozenset(new or old), events)
        operation = cast(Operation, row["operation"])
        events.append(Change(table, operation, old, new, self._number))

    def _tell_columns(
        self, oid: int, table: TableName, names: frozenset[str], events: list[Event]
    ) -> None:
        if self._told.get(oid) == names:
            return
        self._told[oid] = names
        layout = self._layouts.get(oid, _NO_LAYOUT)
        known = [(name, kind) for name, kind in layout.types.items() if name in names]
        unknown = [(name, 0) for name in sorted(names - layout.types.keys())]
        events.append(Columns(table, (*known, *unknown), layout.key))


def _values(text: str | None) -> Values:
    return cast(Values, json.loads(text)) if text is not None else {}


def _trigger_fault(
    row: asyncpg.Record | None, function: str, name: str, names: Names
) -> tuple[Literal["missing", "disabled", "changed"], str] | None:
    """Why a trigger does not capture everything; None when it does."""
    if row is None:
        return "missing", "is missing"
    if row["enabled"] != "A":
        states = {"D": "is disabled", "R": "fires for replicas only", "O": "skips replicas"}
        return "disabled", states[row["enabled"]]
    types = {"change": _AFTER_ROW, "begin": _BEFORE_STATEMENT, "truncate": _AFTER_TRUNCATE}
    wanted = next(kind for what, kind in types.items() if names.trigger(what) == name)
    if row["function"] != function or row["type"] != wanted or row["has_condition"]:
        return "changed", "is not as we made it"
    return None


# pg_trigger.tgtype: row 1, before 2, insert 4, delete 8, update 16, truncate 32.
_AFTER_ROW = 1 + 4 + 8 + 16
_BEFORE_STATEMENT = 2 + 4 + 8 + 16
_AFTER_TRUNCATE = 32


def _columns_json(table: CapturedTable) -> str:
    return json.dumps([[c.number, c.name, c.type_oid] for c in table.columns])


def _alterations(noted: asyncpg.Record, table: CapturedTable) -> list[Drift]:
    was = {number: (name, kind) for number, name, kind in json.loads(noted["columns"])}
    now = {c.number: (c.name, c.type_oid) for c in table.columns}
    words = []
    if (noted["schema"], noted["name"]) != table.name:
        old = TableName(noted["schema"], noted["name"])
        words.append(f"it was {old} when it was set up, and is logged so")
    for number in sorted(was.keys() | now.keys()):
        if number not in now:
            words.append(f"column {was[number][0]} was dropped")
        elif number not in was:
            words.append(f"column {now[number][0]} was added and is not captured")
        elif was[number][0] != now[number][0]:
            words.append(f"column {was[number][0]} is named {now[number][0]} now")
        elif was[number][1] != now[number][1]:
            words.append(f"column {now[number][0]} has another type now")
    if tuple(noted["key"]) != table.key:
        words.append(f"its key was ({', '.join(noted['key'])}), is ({', '.join(table.key)})")
    return [Drift("altered", table.name, word) for word in words]


async def _look_up(connection: Connection, tables: Sequence[TableName]) -> list[asyncpg.Record]:
    """Each table once, in a fixed order."""
    wanted = sorted(set(tables))
    schemas, names = [t.schema for t in wanted], [t.name for t in wanted]
    return await connection.fetch(sql.TABLES, schemas, names)


async def _present(
    connection: Connection, tables: Sequence[TableName]
) -> tuple[list[TableName], list[TableName]]:
    present: list[TableName] = []
    gone: list[TableName] = []
    for row in await _look_up(connection, tables):
        (gone if row["oid"] is None else present).append(TableName(row["schema"], row["name"]))
    return present, gone


async def _captured_tables(
    connection: Connection, tables: Sequence[TableName]
) -> list[CapturedTable]:
    """The tables as they are now. Raises UsageError for what cannot be captured."""
    rows = await _look_up(connection, tables)
    for row in rows:
        need = _kind_need(row, TableName(row["schema"], row["name"]))
        if need.state != "met":
            raise UsageError(
                f"{TableName(row['schema'], row['name'])} cannot be captured by triggers",
                need.evidence,
                "exclude it in the mapping",
            )
    oids = [row["oid"] for row in rows]
    columns: dict[int, list[CapturedColumn]] = {oid: [] for oid in oids}
    for c in await connection.fetch(sql.COLUMNS, oids):
        columns[c["oid"]].append(CapturedColumn(c["number"], c["name"], c["type_oid"], c["cast"]))
    relations: dict[int, dict[int, TableName]] = {oid: {} for oid in oids}
    for r in await connection.fetch(sql.RELATIONS, oids):
        relations[r["root"]][r["oid"]] = TableName(r["schema"], r["name"])
    return [
        CapturedTable(
            row["oid"],
            TableName(row["schema"], row["name"]),
            tuple(columns[row["oid"]]),
            tuple(row["key"]),
            relations[row["oid"]],
        )
        for row in rows
    ]


def _kind_need(row: asyncpg.Record, name: TableName) -> Requirement:
    need = f"kind of {name}"
    if row["oid"] is None:
        return required(need, False, "there is no such table")
    if row["kind"] in _FALSE_KINDS:
        return required(need, False, f"{name} is {_FALSE_KINDS[row['kind']]}")
    if row["kind"] not in "rp":
        return required(need, False, f"{name} is no table")
    if row["is_partition"]:
        return required(need, False, f"{name} is a partition: capture the table it is part of")
    kind = "partitioned table" if row["kind"] == "p" else "table"
    return required(need, True, f"{name} is a {kind}")


def _owner_need(
    row: asyncpg.Record, name: TableName, leaves: Sequence[asyncpg.Record], role: str
) -> Requirement:
    """TRIGGER alone is too little: only the owner can have triggers fire for replicas too."""
    owned = row["owned"] and all(leaf["owned"] for leaf in leaves)
    return required(
        f"ownership of {name}",
        owned,
        f"{role} " + ("acts as" if owned else "does not act as") + f" its owner {row['owner']}",
        f"GRANT {quoted(row['owner'])} TO {quoted(role)}",
    )


def _partitions_need(name: TableName, leaves: Sequence[asyncpg.Record]) -> Requirement:
    foreign = [TableName(r["schema"], r["name"]) for r in leaves if r["kind"] == "f"]
    count = len(leaves) - 1
    told = f"{count} partitions; each needs a TRUNCATE trigger, also those made later"
    if foreign:
        told = f"{foreign[0]} is a foreign table: a row trigger cannot be made on it"
    return required(f"partitions of {name}", not foreign, told)


class _told:
    """What PostgreSQL refuses, in words for a person."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, asyncpg.LockNotAvailableError):
            raise _busy(error) from error
        if isinstance(error, asyncpg.PostgresError):
            raise read_error(error) from error
        if isinstance(error, _BROKEN):
            raise lost_error(error) from error


def _busy(error: Exception) -> GeodeTuiError:
    return BusyError(
        "a table is in use by another transaction",
        f"{error}; waited {sql.LOCK_TIMEOUT}; nothing was changed",
        "try again, or end the transaction that holds it (pg_stat_activity)",
    )


@asynccontextmanager
async def _writing(connection: Connection) -> AsyncIterator[None]:
    """A transaction that may write, on a session that reads only by default."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION READ WRITE")
        yield


async def _run(connection: Connection, statements: Sequence[str]) -> None:
    """Run statements of which the first begins a transaction and the last ends it."""
    with _told():
        try:
            for statement in statements:
                await connection.execute(statement)
        except asyncpg.PostgresError:
            await connection.execute("ROLLBACK")
            raise
