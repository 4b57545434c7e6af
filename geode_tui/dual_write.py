"""For applications that write to PostgreSQL and to the graph themselves, while both live.

`dual_write` writes rows and what they mean for the graph in one transaction of the source: the
graph's part is kept in a table beside them. `Delivery` applies it to the graph, each change once,
in an order in which the transactions could have run one after another. So the graph follows what
was committed, and nothing else, whoever is killed when.

`record_graph_write` is for the other direction: after a cutover the application writes to the
graph, and a node that it leaves there in the same transaction tells `cutover --fall-back` what to
lead back into rows.

    async with dual_write(connection) as change:
        await change.execute("UPDATE users SET name = $1 WHERE id = $2", "Ada", 1)
        change.graph("MATCH (u:User {id: $id}) SET u.name = $name", {"id": 1, "name": "Ada"})
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from itertools import groupby
from typing import Any, Literal

import asyncpg

from geode_tui.errors import BusyError, ConnectError, GeodeTuiError, UsageError
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import lost_error, read_error
from geode_tui.source.profile import quoted
from geode_tui.target.model import Answers, NodeShape, Statement, Target

SCHEMA = "geode_tui"
"""The schema of the table, unless another is named."""
TABLE = "graph_outbox"
BATCH_STATEMENTS = 500
"""About how many statements one transaction of the graph has; never less than one of the source."""

Operation = Literal["write", "remove"]
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


# -- rows, and what they mean for the graph ------------------------------------------------------


def set_up_statements(schema: str = SCHEMA, roles: Sequence[str] = ()) -> list[str]:
    """The SQL that makes the table; `roles` are those of applications, which may add to it."""
    table, index = _table(schema), quoted(f"{TABLE}_xid")
    statements = [
        f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}",
        f"CREATE TABLE IF NOT EXISTS {table} ("
        "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " xid xid8 NOT NULL DEFAULT pg_current_xact_id(), gql text NOT NULL,"
        " parameters jsonb NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())",
        f"CREATE INDEX IF NOT EXISTS {index} ON {table} (xid)",
    ]
    for role in roles:
        statements.append(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)}")
        statements.append(f"GRANT INSERT ON {table} TO {quoted(role)}")
    return statements


async def set_up(connection: Connection, schema: str = SCHEMA, roles: Sequence[str] = ()) -> None:
    """Make the table where it is not there. Raises GeodeTuiError."""
    with _told():
        async with connection.transaction():
            for statement in set_up_statements(schema, roles):
                await connection.execute(statement)


@dataclass
class Change:
    """A change of rows with what it means for the graph; see `dual_write`."""

    connection: Connection
    _graph: list[tuple[str, str]] = field(default_factory=list)

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Run a statement in the transaction; what it returns is asyncpg's."""
        return await self.connection.execute(sql, *arguments)

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement in the transaction and return its rows."""
        return await self.connection.fetch(sql, *arguments)

    def graph(self, gql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Note a statement for the graph, to be run there once this transaction is committed.

        Values are what the graph holds: numbers, texts, bool, None, Decimal, dates and times,
        bytes, and lists of them.
        """
        if not gql.strip():
            raise UsageError("an empty statement for the graph")
        self._graph.append((gql, json.dumps({n: _kept(v) for n, v in (parameters or {}).items()})))


@asynccontextmanager
async def dual_write(connection: Connection, schema: str = SCHEMA) -> AsyncIterator[Change]:
    """Change rows and the graph together: both in one transaction of the source, or neither.

    The graph's part is written last, when the locks of all rows are held: so two transactions
    that change the same row reach the graph in the order in which they changed it. Inside a
    transaction of the caller it is part of that: write to the rows before, not after it.
    """
    async with connection.transaction():
        change = Change(connection)
        yield change
        if change._graph:
            texts = [list(some) for some in zip(*change._graph, strict=True)]
            await connection.execute(
                f"INSERT INTO {_table(schema)} (gql, parameters)"
                " SELECT g, p::jsonb FROM unnest($1::text[], $2::text[])"
                " WITH ORDINALITY AS c(g, p, n) ORDER BY n",
                *texts,
            )


# -- to the graph ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a round delivered: statements, of how many transactions of the source."""

    statements: int
    transactions: int


@dataclass(frozen=True, slots=True)
class _Position:
    """How far the graph is: all that `since` sees, and of what `fence` sees besides, `done`.

    `done` is the greatest number of the last transaction that was applied, 0 for none; `version`
    counts the changes of the position itself.
    """

    since: str
    fence: str
    done: int
    version: int

    def after(self, done: int) -> _Position:
        """When the transaction of that number is applied, too."""
        return replace(self, done=done, version=self.version + 1)

    def at_fence(self) -> _Position:
        """When all that the fence sees is applied."""
        return _Position(self.fence, "", 0, self.version + 1)


_FIELDS = {"id": "STRING", "since": "STRING", "fence": "STRING", "done": "INT", "version": "INT"}
PLACE = NodeShape("_Delivery", ("id",), tuple(_FIELDS), tuple(_FIELDS.values()))
"""The node in the graph that knows how far its delivery is."""
_MAKE = (
    "CREATE (:_Delivery {id: $id, since: $since, fence: $fence, done: $done, version: $version})"
)
_MOVE = (
    "MATCH (p:_Delivery {id: $id, version: $before}) SET p.since = $since, p.fence = $fence,"
    " p.done = $done, p.version = $version RETURN count(p) AS c"
)
_READ = """
SELECT t.last, c.id, c.gql, c.parameters::text AS parameters
FROM {table} c JOIN (SELECT xid, max(id) AS last FROM {table} GROUP BY xid) t USING (xid)
WHERE pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot)
  AND ($2 = '' OR NOT pg_visible_in_snapshot(c.xid, nullif($2, '')::pg_snapshot))
  AND t.last > $3
ORDER BY t.last, c.id"""


class Delivery:
    """Applies the changes that `dual_write` noted in a schema to a graph.

    Which of them the graph has is known to the graph itself: its position is written in the same
    transaction as the changes. So it does not matter who delivers, from where, how often, or when
    it is killed. What is new is told by the difference of two snapshots of the source, never by
    numbers or times: those lose what is committed late.
    """

    def __init__(self, connection: Connection, target: Target, schema: str = SCHEMA) -> None:
        self._connection = connection
        self._target = target
        self._schema = schema

    async def deliver(self) -> Delivered:
        """Apply all that is committed now.

        Raises BusyError when another delivery is at work on the same graph, GeodeTuiError, with
        the change's number, for a statement that the graph refuses: nothing after it is applied.
        """
        position = await asyncio.to_thread(self._position)
        statements = transactions = 0
        if position.fence:  # an earlier round did not come to its end
            more = await self._round(position)
            statements, transactions = more
            position = await asyncio.to_thread(self._position)
        with _told():
            fence = str(await self._connection.fetchval("SELECT pg_current_snapshot()::text"))
        more = await self._round(replace(position, fence=fence, done=0))
        return Delivered(statements + more[0], transactions + more[1])

    async def deliver_for(
        self, stop: asyncio.Event, seconds: float = 1.0, tell: Callable[[Delivered], None] = print
    ) -> None:
        """Deliver until `stop` is set, with a pause of `seconds` where there is nothing."""
        while not stop.is_set():
            done = await self.deliver()
            if done.statements:
                tell(done)
                continue
            try:
                await asyncio.wait_for(stop.wait(), seconds)
            except TimeoutError:
                continue

    async def waiting(self) -> int:
        """How many statements are committed and not delivered."""
        position = await asyncio.to_thread(self._position)
        with _told():
            fence = await self._connection.fetchval("SELECT pg_current_snapshot()::text")
            sql = f"SELECT count(*) FROM ({_READ.format(table=_table(self._schema))}) AS r"
            if not position.fence:
                return int(await self._connection.fetchval(sql, fence, position.since, 0))
            done = (position.fence, position.since, position.done)
            rest = int(await self._connection.fetchval(sql, *done))
            return rest + int(await self._connection.fetchval(sql, fence, position.fence, 0))

    async def clean_up(self) -> int:
        """Remove the changes that the graph has for good; how many there were."""
        position = await asyncio.to_thread(self._position)
        if not position.since:
            return 0
        sql = f"DELETE FROM {_table(self._schema)} WHERE pg_visible_in_snapshot(xid, $1::text"
        with _told():
            done = await self._connection.execute(f"{sql}::pg_snapshot)", position.since)
        return int(done.rpartition(" ")[2])

    async def _round(self, position: _Position) -> tuple[int, int]:
        """Apply what a fence sees, then let the position be the fence."""
        sql = _READ.format(table=_table(self._schema))
        with _told():
            rows = await self._connection.fetch(sql, position.fence, position.since, position.done)
        waiting = [list(some) for _, some in groupby(rows, lambda row: row["last"])]
        at_once = BATCH_STATEMENTS
        while waiting:
            batch = _first_of(waiting, at_once)
            rest = len(waiting) > len(batch)
            after = position.after(batch[-1][-1]["last"]) if rest else position.at_fence()
            try:
                await asyncio.to_thread(self._apply, batch, position, after)
            except _RefusedError:
                if len(batch) == 1:
                    raise
                at_once = 1  # one after the other, to find the one
                continue
            del waiting[: len(batch)]
            position = after
        if not rows and position.done:  # all of it was applied, but for the word that it was
            await asyncio.to_thread(self._apply, [], position, position.at_fence())
        return len(rows), len({row["last"] for row in rows})

    def _apply(
        self, batch: Sequence[Sequence[asyncpg.Record]], before: _Position, after: _Position
    ) -> None:
        """Run the statements and move the position, in one transaction of the graph."""
        rows = [row for some in batch for row in some]
        move: Statement = (_MOVE, {"id": self._schema, "before": before.version, **asdict(after)})
        changes: list[Statement] = [
            (row["gql"], {n: _given(v) for n, v in json.loads(row["parameters"]).items()})
            for row in rows
        ]
        try:
            self._target.run_together([move, *changes], _check_moved)
        except ConnectError:
            raise
        except GeodeTuiError as error:
            raise _RefusedError(rows, self._schema, error) from error

    def _position(self) -> _Position:
        """The position that the graph has; made where it has none."""
        [found] = self._target.read_nodes(PLACE, [(self._schema,)])
        if found is None:
            self._target.prepare([PLACE])
            new = _Position("", "", 0, 0)
            self._target.run_together([(_MAKE, {"id": self._schema, **asdict(new)})], _no_check)
            return new
        return _Position(*(found[name] for name in _Position.__slots__))


class _RefusedError(GeodeTuiError):
    """The graph refuses a statement, or one of several."""

    def __init__(self, rows: Sequence[asyncpg.Record], schema: str, error: GeodeTuiError) -> None:
        some = (
            f"change {rows[0]['id']}"
            if len(rows) == 1
            else (f"one of the changes {rows[0]['id']} to {rows[-1]['id']}")
        )
        super().__init__(
            f"the graph refuses {some} of {schema}.{TABLE}",
            "; ".join(part for part in (error.what, error.why) if part),
            "mend its gql or parameters there, or delete the row, and deliver again",
        )


def _no_check(answers: Answers) -> None:
    """Nothing can be wrong."""


def _check_moved(answers: Answers) -> None:
    if [row["c"] for row in answers[0]] != [1]:
        raise BusyError(
            "another delivery has moved the graph on",
            "two deliveries at once apply nothing twice: one of them stops",
            "let one run only",
        )


def _first_of(
    transactions: Sequence[Sequence[asyncpg.Record]], statements: int
) -> Sequence[Sequence[asyncpg.Record]]:
    """The first transactions, of about so many statements together; one at the least."""
    count = size = 0
    for some in transactions:
        size += len(some)
        if count and size > statements:
            break
        count += 1
    return transactions[:count]


# -- writes to the graph, for the way back -------------------------------------------------------

OUTBOX = NodeShape(
    "_Outbox",
    ("id",),
    ("id", "rule", "operation", "key", "at"),
    ("STRING", "STRING", "STRING", "STRING", "FLOAT"),
)
"""The nodes that tell of writes to the graph; they go when a fall-back has led all back."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its label (or the name of the rule that makes it), and the values of its key."""

    label: str
    key: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Relationship:
    """A relationship between two nodes; `key` tells it from others of its type between the two."""

    type: str
    start: Node
    end: Node
    key: tuple[Any, ...] = ()


def record_graph_write(
    thing: Node | Relationship, operation: Operation = "write"
) -> tuple[str, dict[str, Any]]:
    """The statement, with its parameters, that tells of a write to the graph.

    Run it in the transaction that writes: once for each node and relationship that was made,
    changed or removed. A node that is removed takes relationships with it: tell of those, too.
    """
    if operation not in ("write", "remove"):
        raise UsageError(f"there is no operation {operation}", "", "it is write or remove")
    if isinstance(thing, Node):
        rule: str = thing.label
        key: Any = _texts(thing.key)
    else:
        rule = f"({thing.start.label})-[{thing.type}]->({thing.end.label})"
        key = [_texts(part) for part in (thing.start.key, thing.end.key, thing.key)]
    parameters = {
        "outbox_id": uuid.uuid4().hex,
        "outbox_rule": rule,
        "outbox_operation": operation,
        "outbox_key": json.dumps(key),
        "outbox_at": time.time(),
    }
    return _RECORD, parameters


# `_run` says that it is ours to remove, and of no run.
_RECORD = (
    "CREATE (:_Outbox {id: $outbox_id, rule: $outbox_rule, operation: $outbox_operation,"
    " key: $outbox_key, at: $outbox_at, _run: 'application'})"
)


def outbox_value(text: str, graph_type: str) -> Any:
    """A value of a key as the graph holds it, of the text in an outbox node. Raises ValueError."""
    read = _VALUES.get(graph_type)
    return read(text) if read is not None else text


def _texts(key: Sequence[Any]) -> list[str]:
    """The values of a key as texts from which their types give them back."""
    return [_text(value) for value in key]


def _text(value: Any) -> str:
    if value is None:
        raise UsageError("a key has a value that is null", "", "name the node by its whole key")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_VALUES: dict[str, Callable[[str], Any]] = {
    "BOOL": _flag,
    "INT": int,
    "FLOAT": float,
    "DECIMAL": Decimal,
    "BYTES": bytes.fromhex,
    "DATE": date.fromisoformat,
    "TIME": time_of_day.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
    "TIMESTAMPTZ": datetime.fromisoformat,
}

# -- parameters in JSON ------------------------------------------------------------------------

_TAG = "$geode_tui"
_KEPT: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time_of_day, time_of_day.isoformat, time_of_day.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "float": (float, repr, float),
}


def _kept(value: Any) -> Any:
    """A value as JSON from which `_given` makes the very same value."""
    for name, (kind, text, _) in _KEPT.items():
        if isinstance(value, kind):
            return {_TAG: name, "text": text(value)}
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    if isinstance(value, dict):
        return {_TAG: "map", "items": {str(n): _kept(item) for n, item in value.items()}}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise UsageError(f"a graph holds no {type(value).__name__}", "", "give it another value")


def _given(value: Any) -> Any:
    if isinstance(value, list):
        return [_given(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value[_TAG] == "map":
        return {name: _given(item) for name, item in value["items"].items()}
    return _KEPT[value[_TAG]][2](value["text"])


def _table(schema: str) -> str:
    return f"{quoted(schema)}.{quoted(TABLE)}"


@contextmanager
def _told() -> Iterator[None]:
    """What PostgreSQL says, in words for a person."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise read_error(error) from error
    except _BROKEN as error:
        raise lost_error(error) from error
