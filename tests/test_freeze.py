"""Writes of a real PostgreSQL stand still, and go on by themselves; nothing is left behind."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, PermissionRefusedError, UsageError
from geode_tui.source.freeze import (
    Freeze,
    FreezeMethod,
    long_transactions,
    pass_statement,
    remove,
    standing,
)
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import open_for_capture
from tests.conftest import MakeDatabase
from tests.source_state import application, state_of, until

ITEM = TableName("public", "item")
ITEMS = "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'a')"
NAME = "geode_tui_freeze_0123456789ab"
both = pytest.mark.parametrize("method", ["lock", "trigger"])


def freeze(dsn: str, method: FreezeMethod, *tables: TableName) -> Freeze:
    return Freeze(lambda: open_for_capture(dsn), tables or (ITEM,), NAME, "run 7", method)


async def refused(connection: Connection, statement: str) -> str:
    """What a writer is told that must not write."""
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as told:
        await connection.execute(statement)
    return str(told.value)


# --- it holds


async def test_under_a_lock_writers_wait_readers_go_on_and_waiting_ones_are_named(
    make_database: MakeDatabase,
) -> None:
    dsn = make_database(ITEMS)
    frozen = freeze(dsn, "lock")
    async with application(dsn) as writer, application(dsn) as reader:
        await frozen.take(20)
        assert await frozen.holds(reader)
        writing = asyncio.create_task(writer.execute("INSERT INTO item VALUES (2)"))

        async def waits() -> bool:
            return bool(await frozen.waiting(reader))

        await until(waits)
        [waiting] = await frozen.waiting(reader)
        assert waiting.application == "till"
        assert waiting.pid == writer.get_server_pid()
        assert waiting.query == "INSERT INTO item VALUES (2)"
        assert await reader.fetchval("SELECT count(*) FROM item") == 1
        assert not writing.done()
        await frozen.release()
        assert await writing == "INSERT 0 1"
        assert not await frozen.holds(reader)


async def test_triggers_refuse_every_way_to_write(make_database: MakeDatabase) -> None:
    """Superusers, replicas' sessions, partitions, parents, cascades, COPY, MERGE, TRUNCATE."""
    dsn = make_database(
        ITEMS + ";CREATE TABLE part (k int PRIMARY KEY) PARTITION BY RANGE (k);"
        "CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);"
        "INSERT INTO child VALUES (1);"
        "CREATE TABLE owner (id int PRIMARY KEY); INSERT INTO owner VALUES (1);"
        "CREATE TABLE owned (owner int REFERENCES owner ON DELETE CASCADE);"
        "INSERT INTO owned VALUES (1); CREATE TABLE other (id int)"
    )
    tables = [TableName("public", name) for name in ("part", "child", "owned")]
    frozen = freeze(dsn, "trigger", ITEM, *tables)
    async with application(dsn) as writer:
        await frozen.take(60)
        assert await frozen.holds(writer)
        for role in ("origin", "replica"):
            await writer.execute(f"SET session_replication_role = {role}")
            for statement in (
                "INSERT INTO item VALUES (2)",
                "UPDATE item SET name = 'b'",
                "UPDATE item SET name = 'b' WHERE false",
                "DELETE FROM item",
                "TRUNCATE item",
                "COPY item FROM PROGRAM 'echo 5'",
                "MERGE INTO item i USING (VALUES (1)) v(id) ON i.id = v.id"
                " WHEN MATCHED THEN DELETE",
                "INSERT INTO part VALUES (1)",
                "INSERT INTO part_1 VALUES (1)",
                "TRUNCATE part",
                "TRUNCATE part_1",
                "UPDATE parent SET id = 2",
                "DELETE FROM parent",
            ):
                assert "takes no writes now: run 7" in await refused(writer, statement)
        await writer.execute("SET session_replication_role = origin")
        assert "public.owned" in await refused(writer, "DELETE FROM owner")
        await writer.execute("INSERT INTO other VALUES (1)")
        assert await writer.fetchval("SELECT count(*) FROM item") == 1
        await frozen.release()
        await writer.execute("INSERT INTO item VALUES (2); INSERT INTO part VALUES (1)")


@both
async def test_all_who_had_begun_to_write_have_ended(
    make_database: MakeDatabase, method: FreezeMethod
) -> None:
    """Who is in the way is named; other writers are not held up for long meanwhile."""
    dsn = make_database(ITEMS)
    frozen = freeze(dsn, method)
    told: list[str] = []
    frozen.tell = told.append
    async with application(dsn) as slow, application(dsn) as writer:
        await slow.execute("BEGIN; UPDATE item SET name = 'late'")
        taking = asyncio.create_task(frozen.take(20))
        longest = 0.0
        while not told:
            begun = time.monotonic()
            await writer.execute("INSERT INTO item SELECT max(id) + 1 FROM item")
            longest = max(longest, time.monotonic() - begun)
        assert f"pid {slow.get_server_pid()} (till)" in told[0]
        assert longest < 2
        await slow.execute("COMMIT")
        asked = await taking
        assert frozen.attempts > 1
        assert time.time() - asked < 2  # since the attempt that worked, not since the first
        assert await frozen.holds(writer)
        await frozen.release()


@both
async def test_a_freeze_that_cannot_be_had_leaves_all_as_it_was(
    make_database: MakeDatabase, method: FreezeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geode_tui.source.freeze.ATTEMPTS", 2)
    dsn = make_database(ITEMS)
    frozen = freeze(dsn, method)
    async with application(dsn) as slow:
        await slow.execute("BEGIN; UPDATE item SET name = 'late'")
        before = await state_of(dsn)
        with pytest.raises(BusyError, match="could not be frozen") as error:
            await frozen.take(20)
        assert f"pid {slow.get_server_pid()}" in error.value.why
        assert await state_of(dsn) == before


# --- it ends


@both
async def test_released_there_is_no_trace(
    make_database: MakeDatabase, method: FreezeMethod
) -> None:
    hostile = "a \"[/b]' ; -- 🦀"
    quoted = '"' + hostile.replace('"', '""') + '"'
    dsn = make_database(
        f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} (id int);"
        f"GRANT SELECT ON {quoted}.{quoted} TO public; {ITEMS}"
    )
    before = await state_of(dsn)
    frozen = freeze(dsn, method, TableName(hostile, hostile), ITEM)
    await frozen.take(20)
    assert await state_of(dsn) != before
    await frozen.release()
    await frozen.clear()
    assert await state_of(dsn) == before
    await frozen.release()  # once more does nothing
    await frozen.clear()
    assert await state_of(dsn) == before


@both
async def test_it_ends_by_itself_when_nobody_is_there_any_more(
    make_database: MakeDatabase, method: FreezeMethod
) -> None:
    """The budget is kept by the server: no process of ours has a say in it."""
    dsn = make_database(ITEMS)
    frozen = freeze(dsn, method)
    async with application(dsn) as writer:
        begun = time.monotonic()
        await frozen.take(0.8)

        async def written() -> bool:
            try:
                return bool(await writer.execute("INSERT INTO item VALUES (2)"))
            except asyncpg.ReadOnlySQLTransactionError:
                return False

        await until(written)
        assert time.monotonic() - begun >= 0.7
        assert not await frozen.holds(writer)
        with pytest.raises(GeodeTuiError):  # nor does it become a guard any more
            await frozen.keep()
        await writer.execute("INSERT INTO item VALUES (3)")


async def test_a_lock_ends_with_our_connection(make_database: MakeDatabase) -> None:
    dsn = make_database(ITEMS)
    frozen = freeze(dsn, "lock")
    async with application(dsn) as writer:
        await frozen.take(60)
        await writer.execute("SELECT pg_terminate_backend($1)", frozen.pid)
        await writer.execute("INSERT INTO item VALUES (2)")
        await frozen.release()


async def test_writes_go_on_at_once_although_a_long_reader_keeps_a_trigger_in_place(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geode_tui.source.freeze.DROP_ATTEMPTS", 1)
    dsn = make_database(ITEMS)
    before = await state_of(dsn)
    frozen = freeze(dsn, "trigger")
    async with application(dsn) as dump, application(dsn) as writer:
        await dump.execute("BEGIN; SELECT * FROM item")
        await frozen.take(60)
        await frozen.release()
        with pytest.raises(BusyError, match="writes go on"):
            await frozen.clear()
        await writer.execute(
            "INSERT INTO item VALUES (2); UPDATE item SET name = 'x'; DELETE FROM item"
        )
        await dump.execute("COMMIT")
        assert await remove(writer, NAME)
    assert await state_of(dsn) == before


# --- it stays


@both
async def test_it_becomes_a_guard_without_a_moment_between(
    make_database: MakeDatabase, method: FreezeMethod
) -> None:
    """A writer that has waited for the lock is refused, too."""
    dsn = make_database(ITEMS)
    before = await state_of(dsn)
    frozen = freeze(dsn, method)
    async with application(dsn) as writer, application(dsn) as reader:
        await frozen.take(20)
        writing = asyncio.create_task(writer.execute("INSERT INTO item VALUES (2)"))
        await asyncio.sleep(0)
        await frozen.keep()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await writing
        found = await standing(reader, NAME)
        assert found is not None
        assert found.until is None
        assert found.holds
        await frozen.close()
        await refused(writer, "DELETE FROM item")
        async with writer.transaction():  # the way back may write
            await writer.execute(pass_statement(NAME))
            await writer.execute("UPDATE item SET name = 'back'")
        await refused(writer, "TRUNCATE item")
        assert await remove(reader, NAME)
        assert not await remove(reader, NAME)
        assert await state_of(dsn) == before


# --- what it needs, and who is in its way


async def test_a_role_without_the_rights_is_told_so_before(make_database: MakeDatabase) -> None:
    dsn = make_database(
        ITEMS + "; DROP ROLE IF EXISTS guest_of_freeze; CREATE ROLE guest_of_freeze LOGIN;"
        "GRANT SELECT ON item TO guest_of_freeze"
    )

    async def guest() -> Connection:
        return await asyncpg.connect(dsn, user="guest_of_freeze")

    frozen = Freeze(guest, (ITEM,), NAME, "run 7", "lock")
    with pytest.raises(PermissionRefusedError, match="may not lock"):
        await frozen.require_rights(guard=False)
    async with application(dsn) as admin:
        await admin.execute("GRANT UPDATE ON item TO guest_of_freeze")
    await frozen.require_rights(guard=False)
    with pytest.raises(PermissionRefusedError, match="may not make a trigger"):
        await frozen.require_rights(guard=True)
    async with application(dsn) as admin:
        await admin.execute("GRANT TRIGGER ON item TO guest_of_freeze")
    with pytest.raises(PermissionRefusedError, match="may not create a schema"):
        await frozen.require_rights(guard=True)
    await freeze(dsn, "trigger").require_rights(guard=True)
    async with application(dsn) as admin:
        await admin.execute("DROP OWNED BY guest_of_freeze; DROP ROLE guest_of_freeze")


async def test_a_table_that_is_gone_is_named(make_database: MakeDatabase) -> None:
    dsn = make_database("CREATE VIEW item AS SELECT 1")
    with pytest.raises(UsageError, match=r"public\.item is no table"):
        await freeze(dsn, "lock").take(5)


async def test_long_writers_are_told_readers_are_not(make_database: MakeDatabase) -> None:
    dsn = make_database(ITEMS)
    async with application(dsn) as slow, application(dsn) as dump, application(dsn) as watcher:
        await slow.execute("BEGIN; UPDATE item SET name = 'late'")
        await dump.execute("BEGIN; SELECT * FROM item")

        async def old() -> bool:
            return bool(await long_transactions(watcher, 0.1))

        await until(old)
        [found] = await long_transactions(watcher, 0.1)
        assert (found.pid, found.application) == (slow.get_server_pid(), "till")
        assert found.state == "idle in transaction"
        assert not await long_transactions(watcher, 60)
