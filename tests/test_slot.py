"""Change capture by a slot on a real PostgreSQL: each change is told once, in order, or refused."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.catalog import TableName
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import BusyError, GeodeTuiError, PermissionRefusedError, UsageError
from geode_tui.source.changes import Begin, Change, Columns, Commit, Event, Message
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import Source, open_for_capture
from geode_tui.source.requirements import Requirement
from geode_tui.source.slot import (
    Blocker,
    Slot,
    SlotLostError,
    SlotSnapshot,
    is_after,
    visible,
)
from tests.conftest import MakeDatabase

ITEM = TableName("public", "item")
Row = dict[str, str | None]


@asynccontextmanager
async def sessions(dsn: str, count: int = 2) -> AsyncIterator[list[Connection]]:
    """Sessions that may write, with the search path of an application."""
    opened = [await open_for_capture(dsn) for _ in range(count)]
    for connection in opened:
        await connection.execute("SET search_path = public")
    try:
        yield opened
    finally:
        for connection in opened:
            connection.terminate()


async def everything(slot: Slot, connection: Connection, rows: int = 5000) -> list[Event]:
    upto = await slot.flushed(connection)
    return [event async for some in slot.read(connection, upto, rows) for event in some]


def changes(events: Sequence[Event]) -> list[Change]:
    return [event for event in events if isinstance(event, Change)]


@asynccontextmanager
async def captured(
    dsn: str, *tables: TableName, publication: str = "mig"
) -> AsyncIterator[tuple[Slot, Connection]]:
    """A slot that tells of some tables, and a session."""
    name = "slot_" + dsn.partition("/test_")[2].partition("?")[0]
    slot = Slot(name, publication, tables)
    async with sessions(dsn) as [connection, watcher]:
        await slot.publish(connection)
        await slot.create_by_sql(connection, watcher)
        assert (await slot.check(connection)).ready
        yield slot, connection


def by_what(found: list[Requirement]) -> dict[str, Requirement]:
    return {requirement.what: requirement for requirement in found}


# --- what is told


async def test_each_operation_is_told_as_it_was(make_database: MakeDatabase) -> None:
    """A key that moves, an untouched TOAST value; what was undone is not."""
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY, name text, big text);"
        "ALTER TABLE item ALTER big SET STORAGE EXTERNAL;"
    )
    async with captured(dsn, ITEM) as (slot, session):
        await session.execute("INSERT INTO item VALUES (1, 'a', repeat('x', 9000)), (2, NULL, '')")
        await session.execute("UPDATE item SET name = 'b' WHERE id = 1")
        await session.execute("UPDATE item SET id = 10 WHERE id = 1")
        await session.execute("DELETE FROM item WHERE id = 2")
        await session.execute(
            "BEGIN; INSERT INTO item VALUES (3); SAVEPOINT s; INSERT INTO item VALUES (4);"
            "ROLLBACK TO s; COMMIT"
        )
        await session.execute("BEGIN; INSERT INTO item VALUES (5); ROLLBACK")
        await session.execute("TRUNCATE item")
        events = await everything(slot, session)
        xid = await session.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    assert changes(events) == [
        Change(ITEM, "insert", {}, {"id": "1", "name": "a", "big": "x" * 9000}),
        Change(ITEM, "insert", {}, {"id": "2", "name": None, "big": ""}),
        Change(ITEM, "update", {}, {"id": "1", "name": "b"}),
        Change(ITEM, "update", {"id": "1"}, {"id": "10", "name": "b"}),
        Change(ITEM, "delete", {"id": "2"}, {}),
        Change(ITEM, "insert", {}, {"id": "3", "name": None, "big": None}),
        Change(ITEM, "truncate", {}, {}),
    ]
    begins = [event for event in events if isinstance(event, Begin)]
    ends = [event for event in events if isinstance(event, Commit)]
    assert [event.xid for event in begins] == [event.xid for event in ends]
    assert [b.xid for b in begins] == sorted(b.xid for b in begins)
    assert xid - 20 < begins[0].xid < xid
    assert Columns(ITEM, (("id", 23), ("name", 25), ("big", 25)), ("id",)) in events


async def test_tables_of_every_kind_and_name_are_told(make_database: MakeDatabase) -> None:
    """Composite keys, the whole row as identity, partitions, generated columns, hostile names."""
    hostile, column = "a \"[/b]' ; -- 🦀", "\"[x] $1'"
    quoted = '"' + hostile.replace('"', '""') + '"'
    quoted_column = '"' + column.replace('"', '""') + '"'
    dsn = make_database(
        f"CREATE SCHEMA {quoted};"
        f"CREATE TABLE {quoted}.{quoted} ({quoted_column} text PRIMARY KEY);"
        "CREATE TABLE pair (a int, b text, c text, PRIMARY KEY (b, a));"
        "CREATE TABLE loose (a int, b text); ALTER TABLE loose REPLICA IDENTITY FULL;"
        "CREATE TABLE part (k int, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);"
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);"
        "CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);"
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);"
    )
    odd = TableName(hostile, hostile)
    plain = [TableName("public", n) for n in ("pair", "loose", "part", "made", "parent")]
    pair, loose, part, made, parent = plain
    async with captured(dsn, odd, *plain, publication=hostile) as (slot, session):
        for statement in (
            f"INSERT INTO {quoted}.{quoted} VALUES ('it''s')",
            "INSERT INTO pair VALUES (1, 'x', 'c')",
            "UPDATE pair SET a = 2",
            "DELETE FROM pair",
            "INSERT INTO loose VALUES (1, NULL)",
            "UPDATE loose SET b = 'z'",
            "DELETE FROM loose",
            "INSERT INTO part VALUES (1, 'v')",
            "UPDATE part SET k = 150",  # moves to the other partition
            "TRUNCATE part",
            "INSERT INTO made VALUES (4)",
            "INSERT INTO child VALUES (7)",
            "INSERT INTO parent VALUES (8)",
        ):
            await session.execute(statement)
        events = await everything(slot, session)
        version = session.get_server_version().major
    assert changes(events) == [
        Change(odd, "insert", {}, {column: "it's"}),
        Change(pair, "insert", {}, {"a": "1", "b": "x", "c": "c"}),
        Change(pair, "update", {"a": "1", "b": "x"}, {"a": "2", "b": "x", "c": "c"}),
        Change(pair, "delete", {"a": "2", "b": "x"}, {}),
        Change(loose, "insert", {}, {"a": "1", "b": None}),
        Change(loose, "update", {"a": "1", "b": None}, {"a": "1", "b": "z"}),
        Change(loose, "delete", {"a": "1", "b": "z"}, {}),
        Change(part, "insert", {}, {"k": "1", "v": "v"}),
        Change(part, "delete", {"k": "1"}, {}),
        Change(part, "insert", {}, {"k": "150", "v": "v"}),
        Change(part, "truncate", {}, {}),
        Change(made, "insert", {}, {"id": "4", "twice": "8"} if version >= 18 else {"id": "4"}),
        Change(parent, "insert", {}, {"id": "8"}),
    ]
    assert {e.table for e in events if isinstance(e, Columns)} == {odd, *plain}


async def test_a_new_column_shows_before_its_first_values(make_database: MakeDatabase) -> None:
    """What changes the table is not told, but its new columns are."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session):
        await session.execute("INSERT INTO item VALUES (1)")
        await session.execute("ALTER TABLE item ADD more date DEFAULT '2026-02-01'")
        await session.execute("INSERT INTO item VALUES (2)")
        events = await everything(slot, session)
    assert [e for e in events if isinstance(e, Columns | Change)] == [
        Columns(ITEM, (("id", 23),), ("id",)),
        Change(ITEM, "insert", {}, {"id": "1"}),
        Columns(ITEM, (("id", 23), ("more", 1082)), ("id",)),
        Change(ITEM, "insert", {}, {"id": "2", "more": "2026-02-01"}),
    ]


async def test_values_are_written_as_the_load_reads_them(make_database: MakeDatabase) -> None:
    """Whatever the settings of the session are by which they are read."""
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY, t timestamptz, f float8, b bytea, i interval)"
    )
    async with captured(dsn, ITEM) as (slot, session):
        await session.execute(
            "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET extra_float_digits = -3;"
            "SET bytea_output = 'escape'; SET intervalstyle = 'postgres_verbose';"
            "INSERT INTO item VALUES (1, '2026-01-02 03:04:05+00', 0.1::float8 + 0.2, '\\x00ff',"
            " '1 day 2 hours')"
        )
        [change] = changes(await everything(slot, session))
    assert change.new == {
        "id": "1",
        "t": "2026-01-02 03:04:05+00",
        "f": "0.30000000000000004",
        "b": "\\x00ff",
        "i": "P1DT2H",
    }


async def test_a_big_transaction_comes_in_bounded_lists(make_database: MakeDatabase) -> None:
    """And nothing of it is consumed when reading ends half-way."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session):
        await session.execute("INSERT INTO item SELECT generate_series(1, 50000)")
        upto = await slot.flushed(session)
        reading = slot.read(session, upto, 1000)
        assert len(await anext(reading)) <= 1000
        await reading.aclose()
        sizes, seen = [], 0
        async for some in slot.read(session, upto, 1000):
            sizes.append(len(some))
            for change in changes(some):
                seen += 1
                assert change.new["id"] == str(seen)
    assert seen == 50_000
    assert max(sizes) <= 1000


async def test_a_reading_can_be_limited_to_whole_transactions(make_database: MakeDatabase) -> None:
    """What is left is told by the next one."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session):
        for start in (0, 10, 20):
            await session.execute(f"INSERT INTO item SELECT {start} + generate_series(1, 10)")
        upto = await slot.flushed(session)
        seen = []
        while events := [e async for some in slot.read(session, upto, 7, most=12) for e in some]:
            last = events[-1]
            assert isinstance(last, Commit)
            seen.append(len(changes(events)))
            await slot.advance(session, last.position)
    assert sum(seen) == 30
    assert len(seen) > 1


async def test_a_text_that_is_sent_comes_back_in_its_place(make_database: MakeDatabase) -> None:
    """After what was committed before, from a session that reads by default too."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session):
        await session.execute("INSERT INTO item VALUES (1)")
        source = await Source.connect(dsn)
        reader = await source.session()
        await slot.send(reader, "geode-tui", "token 🦀 1")
        reader.terminate()
        await source.close()
        await session.execute("INSERT INTO item VALUES (2)")
        events = await everything(slot, session)
    kinds = [e for e in events if isinstance(e, Change | Message)]
    assert kinds == [
        Change(ITEM, "insert", {}, {"id": "1"}),
        Message("geode-tui", "token 🦀 1"),
        Change(ITEM, "insert", {}, {"id": "2"}),
    ]


async def test_what_was_not_confirmed_is_told_again(make_database: MakeDatabase) -> None:
    """The same events; what was confirmed is not, and confirming twice does no harm."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session), sessions(dsn, 1) as [other]:
        # Two transactions whose commits touch: the second begins where the first ended.
        await session.execute("BEGIN; INSERT INTO item VALUES (1)")
        await other.execute("BEGIN; INSERT INTO item VALUES (2)")
        await session.execute("COMMIT")
        await other.execute("COMMIT")
        events = await everything(slot, session)
        assert await everything(slot, other) == events
        first = next(e for e in events if isinstance(e, Commit))
        begins = [e for e in events if isinstance(e, Begin)]
        assert [is_after(b.position, first.position) for b in begins] == [False, True]
        await slot.advance(session, first.position)
        rest = await everything(slot, session)
        assert [c.new["id"] for c in changes(rest)] == ["2"]
        await slot.advance(session, await slot.flushed(session))
        await slot.advance(session, first.position)
        assert await everything(slot, session) == []


# --- the hand-over from a load


class Copy:
    """A table kept elsewhere, strictly: what cannot be applied is a change lost or doubled."""

    def __init__(self, keys: tuple[str, ...], rows: Sequence[Row]) -> None:
        self.keys = keys
        self.rows = {self._key(row): dict(row) for row in rows}

    def _key(self, row: object) -> tuple[str | None, ...]:
        return tuple(row[key] for key in self.keys)  # type: ignore[index]

    def apply(self, change: Change) -> None:
        if change.operation == "insert":
            assert self._key(change.new) not in self.rows, "inserted twice"
            self.rows[self._key(change.new)] = dict(change.new)
        elif change.operation == "delete":
            del self.rows[self._key(change.old)]
        else:
            before = self.rows.pop(self._key(change.old or change.new))
            assert self._key(change.new) not in self.rows
            self.rows[self._key(change.new)] = before | dict(change.new)


PAIR = TableName("public", "pair")
TEXTS = {
    ITEM: "SELECT id::text, n::text, big FROM item",
    PAIR: "SELECT a::text, b::text, v FROM pair",
}


async def _write(dsn: str, number: int, until: Callable[[], bool]) -> None:
    chance = random.Random(number)
    connection = await asyncpg.connect(dsn)
    try:
        while not until():
            with suppress(asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError):
                await _write_once(connection, chance)
    finally:
        connection.terminate()


class Undone(Exception):
    """A writer changed its mind."""


_WRITES = (
    ("INSERT INTO item VALUES ($1, 0, repeat('x', 3000))", 1),
    ("UPDATE item SET n = n + 1 WHERE id = $1", 1),
    ("UPDATE item SET id = $1 WHERE id = $2", 2),
    ("DELETE FROM item WHERE id = $1", 1),
    ("INSERT INTO pair VALUES ($1, $1 % 7, 'v')", 1),
    ("UPDATE pair SET b = b + 1 WHERE a = $1", 1),
    ("DELETE FROM pair WHERE a = $1", 1),
)
"""Statements, and how many keys each takes."""


async def _write_once(connection: Connection, chance: random.Random) -> None:
    with suppress(Undone):
        async with connection.transaction():
            for _ in range(chance.randint(1, 4)):
                a, b = chance.randint(1, 300), chance.randint(1, 300)
                statement, keys = chance.choice(_WRITES)
                await connection.execute(statement, *(a, b)[:keys])
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.1)
            if chance.random() < 0.1:
                raise Undone


async def _rows(connection: Connection, table: TableName) -> list[Row]:
    return [dict(record) for record in await connection.fetch(TEXTS[table])]


@pytest.mark.parametrize("way", ["replication", "sql"])
async def test_snapshot_and_events_make_the_table(make_database: MakeDatabase, way: str) -> None:
    """Under writers, with crashes before the advance: nothing is lost and nothing comes twice."""
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY, n int, big text);"
        "ALTER TABLE item ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE pair (a int, b int, v text, PRIMARY KEY (a, b));"
        "INSERT INTO item SELECT i, 0, repeat('y', 3000) FROM generate_series(1, 300, 2) i"
    )
    slot = Slot(f"hand_over_{way}", "mig", (ITEM, PAIR))
    end = time.monotonic() + 3
    writers = [
        asyncio.create_task(_write(dsn, n, lambda: time.monotonic() > end)) for n in range(4)
    ]
    source = await Source.connect(dsn)
    try:
        async with sessions(dsn) as [session, watcher]:
            await slot.publish(session)
            await asyncio.sleep(0.3)
            held: SlotSnapshot | None = None
            if way == "replication":
                held = await slot.create(dsn)
                reader, fence = await source.reader(held.snapshot_id), ""
            else:
                await slot.create_by_sql(session, watcher)
                reader = holder = await source.snapshot(slot.tables)
                fence = holder.fence
            assert (await slot.check(watcher)).ready
            await asyncio.sleep(0.3)
            copies = {
                ITEM: Copy(("id",), [dict(r) for r in await reader.fetch(_of_schema(ITEM))]),
                PAIR: Copy(("a", "b"), [dict(r) for r in await reader.fetch(_of_schema(PAIR))]),
            }
            await reader.close()
            if held:
                await held.release()
            applied = await _follow(slot, session, copies, fence, writers)
            assert applied > 100
            for table, copy in copies.items():
                rows = await _rows(session, table)
                assert copy.rows == {copy._key(row): row for row in rows}
            await slot.tear_down(session)
            left = await slot.check(session)
            assert not left.slot
            assert not left.publication
    finally:
        await source.close()
        await asyncio.gather(*writers)


def _of_schema(table: TableName) -> str:
    return TEXTS[table].replace("FROM ", "FROM public.")


async def _follow(
    slot: Slot,
    session: Connection,
    copies: dict[TableName, Copy],
    fence: str,
    writers: list[asyncio.Task[None]],
) -> int:
    """Apply until the writers have ended and all is read; a third of the advances is lost."""
    chance, checkpoint, applied, skipping = random.Random(1), "0/0", 0, False
    while True:
        ended = all(writer.done() for writer in writers)
        upto = await slot.flushed(session)
        async for some in slot.read(session, upto, 100, most=500):
            for event in some:
                if isinstance(event, Begin):
                    seen = bool(fence) and visible(event.xid, fence)
                    skipping = seen or not is_after(event.position, checkpoint)
                elif isinstance(event, Change) and not skipping:
                    copies[event.table].apply(event)
                    applied += 1
                elif isinstance(event, Commit) and is_after(event.position, checkpoint):
                    checkpoint = event.position
        if chance.random() > 0.3:
            await slot.advance(session, checkpoint)
        if ended and not await everything(slot, session):
            return applied
        await asyncio.sleep(0.05)


async def test_the_snapshot_cannot_be_emptied_while_it_is_held(make_database: MakeDatabase) -> None:
    """A TRUNCATE waits until it is released; the slot tells it then."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    slot = Slot("held_snapshot", "mig", (ITEM,))
    async with sessions(dsn, 1) as [session]:
        await slot.publish(session)
        held = await slot.create(dsn)
        await session.execute("INSERT INTO item VALUES (2); SET lock_timeout = '200ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await session.execute("TRUNCATE item")
        reader = await Source.read_on(dsn, None, held.snapshot_id)
        assert [r[0] for r in await reader.fetch("SELECT id FROM public.item")] == [1]
        assert (await reader.fetch("SELECT pg_current_snapshot()::text"))[0][0] == held.fence
        await reader.close()
        await held.release()
        await session.execute("SET lock_timeout = 0; TRUNCATE item")
        told = changes(await everything(slot, session))
    assert [c.operation for c in told] == ["insert", "truncate"]


@given(st.integers(3, 2**40), st.data())
def test_a_snapshot_shows_what_had_ended_when_it_was_taken(xmin: int, data: st.DataObject) -> None:
    """By the text of the snapshot: before xmin all, from xmax none, between all but the running."""
    xmax = xmin + data.draw(st.integers(0, 50))
    running = data.draw(st.sets(st.integers(xmin, xmax)).map(lambda s: s - {xmax}))
    snapshot = f"{xmin}:{xmax}:{','.join(map(str, sorted(running)))}"
    for xid in range(xmin - 2, xmax + 3):
        assert visible(xid, snapshot) == (xid < xmax and xid not in running)


@pytest.mark.parametrize("way", ["replication", "sql"])
async def test_an_open_writer_is_named_and_waited_for_so_long(
    make_database: MakeDatabase, way: str
) -> None:
    """Who is in the way is told without its query; what is given up leaves no slot behind."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY, t text)")
    slot = Slot(f"waiting_{way}", "mig", (ITEM,))
    seen: list[Blocker] = []
    async with sessions(dsn, 3) as [session, watcher, writer]:
        await slot.publish(session)
        await writer.execute(
            "SET application_name = 'shop'; BEGIN; INSERT INTO item VALUES (1, 's3')"
        )

        async def create(seconds: float) -> SlotSnapshot | str:
            def hear(blockers: Sequence[Blocker]) -> None:
                seen.extend(blockers)

            if way == "sql":
                return await slot.create_by_sql(session, watcher, waiting=hear, seconds=seconds)
            return await slot.create(dsn, waiting=hear, seconds=seconds)

        with pytest.raises(BusyError) as given_up:
            await create(1.2)
        pid = writer.get_server_pid()
        assert any((b.pid, b.application) == (pid, "shop") and b.since for b in seen)
        assert f"pid {pid} shop" in given_up.value.why
        assert not (await slot.state(watcher)).exists

        stopped = asyncio.create_task(create(30))
        await asyncio.sleep(0.3)
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert not (await slot.state(watcher)).exists

        later = asyncio.create_task(create(30))
        await asyncio.sleep(0.2)
        await writer.execute("COMMIT")
        made = await later
        if isinstance(made, SlotSnapshot):
            await made.release()
        assert (await slot.state(watcher)).exists
        with pytest.raises(UsageError, match="already"):
            await create(1)


# --- what must be so


async def test_a_publication_made_after_the_slot_is_found(make_database: MakeDatabase) -> None:
    """By looking, and by reading when nobody looked: its changes would be lost in silence."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    slot = Slot("too_early", "mig", (ITEM,))
    async with sessions(dsn) as [session, watcher]:
        await slot.create_by_sql(session, watcher)
        found = await slot.check(session)
        assert (found.publication, found.slot, found.ready) == (False, True, False)
        await session.execute("INSERT INTO item VALUES (1)")
        await slot.publish(session)
        await session.execute("INSERT INTO item VALUES (2)")
        found = await slot.check(session)
        assert found.in_order is False
        assert "made it anew" in found.problems[0] or "make it anew" in found.problems[0]
        with pytest.raises(SlotLostError, match="changes would be lost"):
            await everything(slot, session)
        await slot.drop(session)
        await slot.create_by_sql(session, watcher)
        assert (await slot.check(session)).ready


async def test_a_table_that_joined_the_publication_later_is_found(
    make_database: MakeDatabase,
) -> None:
    """What was written to it before is not in the stream."""
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE pair (a int PRIMARY KEY)"
    )
    slot = Slot("joined", "mig", (ITEM, PAIR))
    async with sessions(dsn) as [session, watcher]:
        await Slot("joined", "mig", (ITEM,)).publish(session)
        await slot.create_by_sql(session, watcher)
        assert (await slot.check(session)).problems == ("publication mig lacks public.pair",)
        await session.execute("ALTER PUBLICATION mig ADD TABLE ONLY pair")
        found = await slot.check(session)
    assert not found.in_order
    assert "public.pair: perhaps added" in found.problems[0]


async def test_a_table_whose_rows_cannot_be_told_apart_is_never_published(
    make_database: MakeDatabase,
) -> None:
    """The source's own UPDATE would fail; the SQL that mends it is told, and it does mend it."""
    dsn = make_database(
        "CREATE TABLE bare (a int); CREATE TABLE keyed (a int NOT NULL UNIQUE, b int);"
        "CREATE TABLE late (a int PRIMARY KEY DEFERRABLE);"
        "CREATE UNLOGGED TABLE fast (a int PRIMARY KEY);"
        "CREATE TABLE part (a int) PARTITION BY LIST (a);"
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);"
        "CREATE VIEW seen AS SELECT 1 AS a"
    )
    names = ("bare", "keyed", "late", "part")
    slot = Slot("unfit", "mig", tuple(TableName("public", name) for name in names))
    hopeless = [TableName("public", name) for name in ("fast", "seen", "absent")]
    async with sessions(dsn) as [session, watcher]:
        for table in (*slot.tables, *hopeless):
            with pytest.raises(UsageError, match="not published"):
                await Slot("unfit", "mig", (table,)).publish(session)
        for requirement in await slot.requirements(session):
            for statement in requirement.sql if "tell their row" in requirement.what else ():
                await session.execute(statement)
        found = by_what(await slot.requirements(session))
        assert all(r.state != "missing" for r in found.values())
        assert found["changes of public.keyed tell their row"].evidence == "by a unique index"
        assert "DETACH" in found["public.part is changed by way of itself"].evidence
        await slot.publish(session)
        await slot.create_by_sql(session, watcher)
        for name in names:
            await session.execute(f"INSERT INTO {name} VALUES (1)")
            await session.execute(f"UPDATE {name} SET a = a")
            await session.execute(f"DELETE FROM {name}")
        told = changes(await everything(slot, session))
    assert [c.operation for c in told] == ["insert", "update", "delete"] * len(names)
    assert all(c.old == {"a": "1"} for c in told if c.operation == "delete")


async def test_a_partition_is_told_apart_as_its_table_is(make_database: MakeDatabase) -> None:
    """Else the key that is told would not be known as one."""
    dsn = make_database(
        "CREATE TABLE part (a int PRIMARY KEY) PARTITION BY LIST (a);"
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);"
        "ALTER TABLE part_1 REPLICA IDENTITY FULL"
    )
    slot = Slot("mixed", "mig", (TableName("public", "part"),))
    async with sessions(dsn, 1) as [session]:
        with pytest.raises(UsageError, match="not published") as refusal:
            await slot.publish(session)
    assert "another kind of replica identity" in refusal.value.why


async def test_a_role_without_rights_hears_what_it_lacks(make_database: MakeDatabase) -> None:
    """In words, with the SQL that grants it; what is refused is refused in words too."""
    dsn = make_database(
        'DROP ROLE IF EXISTS "poor \'r"; CREATE ROLE "poor \'r" LOGIN;'
        "CREATE TABLE item (id int PRIMARY KEY)"
    )
    slot = Slot("poor", "mig", (ITEM,))
    poor = dsn.replace("postgres@", "poor%20'r@", 1)
    try:
        async with sessions(poor) as [session, watcher]:
            found = by_what(await slot.requirements(session))
            assert found["the role may replicate"].sql == ('ALTER ROLE "poor \'r" REPLICATION',)
            owned = found["the role owns the tables that it publishes"]
            assert (owned.state, owned.evidence) == ("missing", "public.item: owned by postgres")
            assert found["the role may make a publication"].state == "missing"
            assert found["wal_level is logical"].state == "met"
            assert found["the WAL that a slot keeps has a limit"].state == "warning"
            with pytest.raises(PermissionRefusedError):
                await slot.publish(session)
            with pytest.raises(PermissionRefusedError):
                await slot.create_by_sql(session, watcher)
            assert (await slot.replication_requirement(poor)).state == "warning"
            assert not (await slot.state(session)).exists
        assert (await slot.replication_requirement(dsn)).state == "met"
        async with sessions(dsn, 1) as [mighty]:
            assert by_what(await slot.requirements(mighty))["the role may replicate"].state == "met"
    finally:
        async with sessions(dsn, 1) as [session]:
            await session.execute('DROP ROLE "poor \'r"')


async def test_the_statements_can_be_handed_to_somebody(make_database: MakeDatabase) -> None:
    """Run as they are shown they make what `check` finds ready, and take it back, also twice."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    slot = Slot("by_hand", 'mig "; DROP', (ITEM,))
    async with sessions(dsn, 1) as [session]:
        version = await session.fetchval("SELECT current_setting('server_version_num')::int")
        for statement in slot.set_up_statements(version):
            await session.execute(statement)
        assert (await slot.check(session)).ready
        await slot.publish(session)  # it is there: nothing to do
        for statement in slot.tear_down_statements() * 2:
            await session.execute(statement)
        found = await slot.check(session)
        assert (found.publication, found.slot) == (False, False)


@pytest.mark.parametrize(("name", "publication"), [("Bad-name", "p"), ("", "p"), ("s", "é" * 32)])
def test_a_name_that_would_be_refused_or_cut_is_refused(name: str, publication: str) -> None:
    """Before anything is made."""
    with pytest.raises(UsageError):
        Slot(name, publication, (ITEM,))


# --- its state


async def test_who_uses_a_slot_is_told(make_database: MakeDatabase) -> None:
    """To whoever wants to drop it or to read it as well; then the slot is dropped."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, session), sessions(dsn, 1) as [user]:
        await session.execute("INSERT INTO item SELECT generate_series(1, 300000)")
        await user.execute("SET application_name = 'other reader'")
        reading = asyncio.create_task(_peek_for_ever(user, slot))
        state = await slot.state(session)
        while not state.active:
            state = await slot.state(session)
        assert state.active_pid == user.get_server_pid()
        assert (state.retained_bytes or 0) > 10_000_000
        assert f"process {state.active_pid}" in state.words
        with pytest.raises(BusyError, match="in use") as busy:
            await slot.drop(session, seconds=0)
        assert "other reader" in busy.value.why
        reading.cancel()
        with suppress(asyncio.CancelledError, asyncpg.QueryCanceledError):
            await reading
        assert await slot.drop(session)
        assert not await slot.drop(session)
        with pytest.raises(SlotLostError, match="not there"):
            await everything(slot, session)
        with pytest.raises(SlotLostError, match="not there"):
            await slot.advance(session, "0/1")


async def _peek_for_ever(connection: Connection, slot: Slot) -> None:
    while True:
        await connection.execute(
            "SELECT count(*) FROM pg_logical_slot_peek_binary_changes("
            f"'{slot.name}', NULL, NULL, 'proto_version', '1', 'publication_names', 'mig')"
        )


async def test_a_slot_that_the_server_gave_up_is_told_and_dropped(tmp_path: Path) -> None:
    """It cannot tell all changes any more: reading and advancing refuse, dropping works."""
    settings = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    with EmbeddedPostgres(tmp_path / "data", settings=settings) as server:
        slot = Slot("starved", "mig", (ITEM,))
        async with sessions(server.dsn()) as [session, watcher]:
            await session.execute("CREATE TABLE item (id int PRIMARY KEY)")
            await slot.publish(session)
            await slot.create_by_sql(session, watcher)
            assert "MB" in (await slot.state(session)).words
            for _ in range(3):
                await session.execute("SELECT pg_switch_wal()")
                await session.execute("CREATE TABLE filler AS SELECT 1; DROP TABLE filler")
            await session.execute("CHECKPOINT")
            state = await slot.state(session)
            assert state.lost
            assert "load again" in state.words
            with pytest.raises(SlotLostError, match="is lost"):
                await everything(slot, session)
            with pytest.raises(SlotLostError, match="is lost"):
                await slot.advance(session, await slot.flushed(session))
            assert state.words in (await slot.check(session)).problems
            found = by_what(await slot.requirements(session))
            assert found["the WAL that a slot keeps has a limit"].state == "met"
            assert await slot.drop(session)


async def test_another_database_s_slot_is_not_ours_to_drop(make_database: MakeDatabase) -> None:
    """Names of slots are the server's: somebody else may have taken ours."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY)")
    async with captured(dsn, ITEM) as (slot, _), sessions(make_database(), 1) as [elsewhere]:
        with pytest.raises(GeodeTuiError, match="not ours"):
            await slot.drop(elsewhere)
