"""The stream of a source's changes, by a slot or an outbox, from the source into the spool.

What is stored in the spool is let go at the source at once, so its disk does not fill while the
graph is slow or away. Reading again after a crash stores some changes twice; applying them twice
does the same as once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from geode_tui.catalog import TableName
from geode_tui.errors import UsageError
from geode_tui.migration.replication.affected import ChangePlan
from geode_tui.migration.replication.spool import Image, Kept, Said, Spool
from geode_tui.migration.replication.state import Way
from geode_tui.source.changes import Begin, Change, Columns, Commit, Event, Message
from geode_tui.source.introspect import Connection
from geode_tui.source.outbox import Outbox
from geode_tui.source.postgres import Source
from geode_tui.source.slot import Blocker, Slot, is_after

CLEAN_UP_SECONDS = 5.0
PUBLICATION = "geode_tui"
OUTBOX_SCHEMA = "geode_tui"


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """How the source's side of the stream is; sizes in bytes, None where nobody tells.

    `lost` says in words why changes are lost, empty while none are. `oldest_seconds` is the age of
    the oldest transaction that has written and is open, `oldest` who has it.
    """

    lag_bytes: int | None = None
    retained_bytes: int | None = None
    budget_bytes: int | None = None
    lost: str = ""
    warning: str = ""
    oldest_seconds: float | None = None
    oldest: str = ""


class Stream(Protocol):
    """One way to capture changes. One call at a time, but for `health` and `send`."""

    way: Way
    name: str

    async def set_up(self, waiting: Callable[[Sequence[Blocker]], None]) -> str:
        """Make what capture needs, or take over what is there; the position to read from."""
        ...

    async def poll(self) -> int:
        """Store all that was committed up to now, and let the source forget it; how many changes.

        Raises SlotLostError, SnapshotLostError where changes are lost, GeodeTuiError.
        """
        ...

    async def send(self, text: str) -> None:
        """Send a text through the stream, in a transaction of its own."""
        ...

    async def health(self) -> StreamHealth:
        """How the source's side is."""
        ...

    async def problems(self) -> list[str]:
        """What of the set-up is not as it was made, in words."""
        ...

    async def tear_down(self) -> None:
        """Take the set-up back; what is gone already is no error."""
        ...

    async def close(self) -> None:
        """End the sessions; the set-up stays."""
        ...


def slot_name(database_oid: int) -> str:
    """The name of the slot for a database: slots of all databases of a server share names."""
    return f"geode_tui_{database_oid}"


@dataclass(frozen=True)
class Layout:
    """The columns of a table as the plan knows them, with their types (oid).

    `told` are those that the stream always tells: not generated ones.
    """

    types: Mapping[str, int]
    told: frozenset[str]

    def is_of(self, columns: Sequence[tuple[str, int]]) -> bool:
        """Whether columns that the stream tells are these; a type of 0 is not known."""
        names = {name for name, _ in columns}
        same = all(not kind or self.types.get(name) == kind for name, kind in columns)
        return same and self.told <= names <= self.types.keys()


@dataclass
class _Intake:
    """Makes what is kept of events, and stores it list by list."""

    plan: ChangePlan
    spool: Spool
    prefix: str
    altered: set[TableName]
    layouts: Mapping[TableName, Layout]
    from_position: str = ""
    _xid: int = 0
    _skipping: bool = False
    _identities: dict[TableName, tuple[str, ...]] = field(default_factory=dict)

    async def take(self, events: Sequence[Event], position: str | None) -> int:
        """Store a list of events; how many changes of tables that matter."""
        changes: list[Kept] = []
        said: list[Said] = []
        for event in events:
            if isinstance(event, Begin):
                self._xid = event.xid
                before = self.from_position
                self._skipping = bool(before) and not is_after(event.position, before)
            elif isinstance(event, Columns):
                self._note(event)
            elif isinstance(event, Change) and not self._skipping:
                kept = self._kept(event)
                changes += [kept] if kept else []
            elif isinstance(event, Message) and event.prefix == self.prefix:
                said.append(Said(self._xid, event.text))
        if changes or said or position is not None:
            await asyncio.to_thread(self.spool.store, changes, said, position)
        return len(changes)

    def _note(self, columns: Columns) -> None:
        self._identities[columns.table] = columns.identity
        layout = self.layouts.get(columns.table)
        if layout is not None and not layout.is_of(columns.columns):
            self.altered.add(columns.table)

    def _kept(self, change: Change) -> Kept | None:
        plan = self.plan.tables.get(change.table)
        if plan is None:
            return None
        old: Image = {n: change.old[n] for n in plan.columns if n in change.old}
        new: Image = {n: change.new[n] for n in plan.columns if n in change.new}
        if change.operation == "update" and not change.old:
            # The identity is told only where it changed: it is the same.
            same = self._identities.get(change.table, ())
            old = {n: new[n] for n in plan.columns if n in same and n in new}
        return Kept(change.table, self._xid, change.operation, old, new)


class SlotStream:
    """Changes told by a logical replication slot."""

    way: Way = "slot"

    def __init__(
        self,
        slot: Slot,
        sessions: Sequence[Connection],
        plan: ChangePlan,
        spool: Spool,
        prefix: str,
        altered: set[TableName],
        layouts: Mapping[TableName, Layout],
    ) -> None:
        self.name = slot.name
        self._slot = slot
        self._reading, self._asking = sessions
        self._busy = asyncio.Lock()
        self._intake = _Intake(plan, spool, prefix, altered, layouts)
        self._spool = spool
        self._prefix = prefix

    async def set_up(self, waiting: Callable[[Sequence[Blocker]], None]) -> str:
        """Publish the tables, then make the slot; what is there and in order is taken over."""
        await self._slot.publish(self._reading)
        there = await self._slot.check(self._reading)
        if there.ready:
            return (await self._slot.state(self._reading)).confirmed
        if there.slot:
            raise UsageError(
                f"slot {self.name} is there and cannot be used",
                "; ".join(there.problems),
                f"drop it: {self._slot.tear_down_statements()[0]}",
            )
        return await self._slot.create_by_sql(self._reading, self._asking, waiting=waiting)

    async def poll(self) -> int:
        """See `Stream.poll`."""
        upto = await self._slot.flushed(self._reading)
        self._intake.from_position = self._spool.position
        count = 0
        async with contextlib.aclosing(self._slot.read(self._reading, upto)) as lists:
            async for events in lists:
                count += await self._intake.take(events, None)
        await self._intake.take((), upto)
        await self._slot.advance(self._reading, upto)
        return count

    async def send(self, text: str) -> None:
        """See `Stream.send`."""
        async with self._busy:
            await self._slot.send(self._asking, self._prefix, text)

    async def health(self) -> StreamHealth:
        """See `Stream.health`."""
        async with self._busy:
            state = await self._slot.state(self._asking)
            oldest = await self._asking.fetchrow(_OLDEST)
        budget = None
        if state.safe_wal_size is not None and state.retained_bytes is not None:
            budget = max(0, state.safe_wal_size) + state.retained_bytes
        return StreamHealth(
            state.lag_bytes,
            state.retained_bytes,
            budget,
            state.words if state.lost else "",
            state.words if state.wal_status == "unreserved" else "",
            *_oldest(oldest),
        )

    async def problems(self) -> list[str]:
        """See `Stream.problems`."""
        async with self._busy:
            found = await self._slot.check(self._asking)
        problems = list(found.problems)
        if not found.publication:
            problems.append(f"publication {self._slot.publication} is not there")
        if not found.slot:
            problems.append(f"slot {self.name} is not there: what it would have told is lost")
        return problems

    async def tear_down(self) -> None:
        """See `Stream.tear_down`."""
        await self._slot.tear_down(self._reading)

    async def close(self) -> None:
        """See `Stream.close`."""
        self._reading.terminate()
        self._asking.terminate()


class OutboxStream:
    """Changes told by triggers that write a log."""

    way: Way = "outbox"

    def __init__(
        self,
        outbox: Outbox,
        sessions: Sequence[Connection],
        plan: ChangePlan,
        spool: Spool,
        prefix: str,
        altered: set[TableName],
        layouts: Mapping[TableName, Layout],
    ) -> None:
        self.name = outbox.schema
        self._outbox = outbox
        self._reading, self._asking = sessions
        self._busy = asyncio.Lock()
        self._intake = _Intake(plan, spool, prefix, altered, layouts)
        self._spool = spool
        self._prefix = prefix
        self._tables = plan.names
        self._cleaned = 0.0

    async def set_up(self, waiting: Callable[[Sequence[Blocker]], None]) -> str:
        """Make the log and its triggers; a snapshot taken after them is where to read from."""
        await self._outbox.set_up(self._reading, self._tables)
        return await self._outbox.fence(self._reading)

    async def poll(self) -> int:
        """See `Stream.poll`."""
        count, position = 0, self._spool.position
        lists = self._outbox.read(self._reading, position, 5_000)
        async with contextlib.aclosing(lists):
            async for events in lists:
                last = events[-1] if events else None
                if isinstance(last, Commit) and last.position != position:
                    position = last.position
                count += await self._intake.take(events, None)
        await self._intake.take((), position)
        if time.monotonic() - self._cleaned > CLEAN_UP_SECONDS:
            await self._outbox.clean_up(self._reading, position)
            self._cleaned = time.monotonic()
        return count

    async def send(self, text: str) -> None:
        """See `Stream.send`."""
        async with self._busy:
            await self._outbox.send(self._asking, self._prefix, text)

    async def health(self) -> StreamHealth:
        """See `Stream.health`."""
        async with self._busy:
            state = await self._outbox.state(self._asking)
            oldest = await self._asking.fetchrow(_OLDEST)
        return StreamHealth(None, state.bytes, None, "", "", *_oldest(oldest))

    async def problems(self) -> list[str]:
        """See `Stream.problems`."""
        async with self._busy:
            drifts = await self._outbox.check(self._asking, self._tables, self._spool.position)
        return [
            f"{drift.table or 'the log'}: {drift.evidence}"
            for drift in drifts
            if drift.kind not in ("order", "altered")
        ]

    async def tear_down(self) -> None:
        """See `Stream.tear_down`."""
        await self._outbox.tear_down(self._reading)

    async def close(self) -> None:
        """See `Stream.close`."""
        self._reading.terminate()
        self._asking.terminate()


async def open_stream(
    source: Source,
    way: Way,
    name: str,
    plan: ChangePlan,
    spool: Spool,
    prefix: str,
    altered: set[TableName],
) -> Stream:
    """The stream of a source; nothing is made yet. Raises ConnectError."""
    sessions = [await source.capture_session() for _ in range(2)]
    layouts = await _layouts(sessions[0], plan.names)
    common = (sessions, plan, spool, prefix, altered, layouts)
    if way == "slot":
        return SlotStream(Slot(name, PUBLICATION, plan.names), *common)
    return OutboxStream(Outbox(name), *common)


async def _layouts(connection: Connection, tables: Sequence[TableName]) -> dict[TableName, Layout]:
    rows = await connection.fetch(_COLUMNS, [t.schema for t in tables], [t.name for t in tables])
    types: dict[TableName, dict[str, int]] = {}
    told: dict[TableName, set[str]] = {}
    for row in rows:
        table = TableName(row["schema"], row["name"])
        types.setdefault(table, {})[row["column"]] = row["type"]
        if not row["generated"]:
            told.setdefault(table, set()).add(row["column"])
    return {t: Layout(known, frozenset(told.get(t, ()))) for t, known in types.items()}


def _oldest(row: Any) -> tuple[float | None, str]:
    if row is None or row["age"] is None:
        return None, ""
    return float(row["age"]), f"pid {row['pid']} {row['application']} ({row['state']})"


_OLDEST = """
SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, pid,
       coalesce(nullif(application_name, ''), usename, 'unknown')::text AS application,
       coalesce(state, 'unknown')::text AS state
FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()
ORDER BY xact_start NULLS LAST LIMIT 1
"""

_COLUMNS = """
SELECT wanted.schema, wanted.name, a.attname::text AS column, a.atttypid AS type,
       a.attgenerated <> '' AS generated
FROM unnest($1::text[], $2::text[]) AS wanted(schema, name)
JOIN pg_namespace n ON n.nspname = wanted.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
"""
