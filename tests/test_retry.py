"""What may pass is tried again with growing pauses; everything else is told at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import (
    EXIT_CONNECTION,
    BusyError,
    ConnectError,
    GeodeTuiError,
    LostError,
    PermissionRefusedError,
    RowError,
    SnapshotLostError,
    UnreachableError,
)
from geode_tui.migration.retry import Backoff, is_transient, wait_for_stop, with_retries
from geode_tui.source.postgres import Reader, Source, _connect_error, read_error
from tests.command_line import execute
from tests.conftest import MakeDatabase

QUICK = Backoff(attempts=3, first=0.001, most=0.01)
WAIT_SECONDS = 30.0  # only so that a defect cannot hang the tests


@pytest.fixture
async def source(make_database: MakeDatabase) -> AsyncIterator[Source]:
    found = await Source.connect(make_database("CREATE TABLE t AS SELECT 1 AS a"))
    yield found
    await found.close()


# -- trying again -------------------------------------------------------------------------------


async def test_work_that_fails_for_a_while_succeeds_in_the_end() -> None:
    """Each wait is told with the error, its number and its length; the result is the work's."""
    told: list[str] = []
    errors = iter([LostError("source lost", "57P01: shut down"), BusyError("deadlock")])

    async def work() -> int:
        for error in errors:
            raise error
        return 42

    assert await with_retries(work, QUICK, asyncio.Event(), told.append) == 42
    first, second = told
    assert first.startswith("source lost, retry 1 of 3 in 0.0 s (57P01: shut down)")
    assert second.startswith("deadlock, retry 2 of 3 in ")


async def test_the_last_error_is_told_when_no_try_is_left() -> None:
    """One try and three more, then the error goes to whoever waits."""
    numbers = itertools.count(1)
    told: list[str] = []

    async def work() -> None:
        raise LostError(f"lost {next(numbers)}")

    with pytest.raises(LostError, match="lost 4"):
        await with_retries(work, QUICK, asyncio.Event(), told.append)
    assert len(told) == 3


@pytest.mark.parametrize(
    "error",
    [
        RowError("division by zero"),
        PermissionRefusedError("no right"),
        ConnectError("no such database"),
        SnapshotLostError("the snapshot is gone"),
        GeodeTuiError("the disk is full"),
        ValueError("a defect"),
    ],
)
async def test_what_trying_again_cannot_help_is_told_at_once(error: Exception) -> None:
    """The work is done once only, nobody waits."""
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        raise error

    with pytest.raises(type(error)):
        await with_retries(work, QUICK, asyncio.Event(), pytest.fail)
    assert len(tries) == 1


async def test_a_stop_ends_the_wait() -> None:
    """A run that is stopped while it waits for the source does not wait to the end."""
    stop = asyncio.Event()

    async def work() -> None:
        raise LostError("lost")

    patient = Backoff(attempts=8, first=3_600, most=3_600)
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(LostError):
            await with_retries(work, patient, stop, lambda text: stop.set())


async def test_a_wait_without_a_stop_lasts() -> None:
    """`wait_for_stop` says whether it was stopped."""
    stop = asyncio.Event()
    assert not await wait_for_stop(stop, 0.001)
    stop.set()
    assert await wait_for_stop(stop, 3_600)


def test_waits_are_random_below_a_bound_that_doubles() -> None:
    """No wait is over its bound or over the longest, and two series differ."""
    backoff = Backoff(attempts=40, first=0.5, most=30.0)
    bounds = [min(30.0, 0.5 * 2**n) for n in range(40)]
    series = [list(backoff.delays()) for _ in range(20)]
    for delays in series:
        assert len(delays) == 40
        assert all(0 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))
    assert max(map(max, series)) > 15  # it does grow
    assert series[0] != series[1]


# -- which errors of a real PostgreSQL may pass ---------------------------------------------------


async def test_a_session_that_is_terminated_is_lost(source: Source) -> None:
    """pg_terminate_backend: told as lost with its SQLSTATE; another try may help."""
    reader = await source.reader()
    error = await _fails(reader, lambda: _terminate_while(reader, source))
    assert (type(error), is_transient(error)) == (LostError, True)
    assert error.what == "the connection to the source is lost"
    await reader.close()


async def test_a_session_that_is_gone_is_lost(source: Source) -> None:
    """The next question after the session ended, too."""
    reader = await source.reader()
    [[pid]] = await reader.fetch("SELECT pg_backend_pid()")
    await source._read("SELECT pg_terminate_backend($1, 5000)", pid)
    error = await _fails(reader, lambda: reader.fetch("SELECT 1"))
    assert (type(error), is_transient(error)) == (LostError, True)
    await reader.close()


async def test_an_idle_session_that_the_server_ends_is_lost(source: Source) -> None:
    """idle_in_transaction_session_timeout ends the session, not only the statement."""
    reader = await source.reader()
    await reader._run("SET idle_in_transaction_session_timeout = '10ms'")
    await source._read("SELECT pg_sleep(0.1)")
    error = await _fails(reader, lambda: reader.fetch("SELECT 1"))
    assert type(error) is LostError
    await reader.close()


async def test_a_snapshot_whose_holder_ended_is_lost(source: Source) -> None:
    """It is no error to simply try again: what remains needs a new snapshot."""
    holder = await source.snapshot([])
    snapshot = holder.snapshot_id
    await holder.close()
    await _until_alone(source)
    with pytest.raises(SnapshotLostError) as caught:
        await source.reader(snapshot)
    assert not is_transient(caught.value)


async def test_a_snapshot_that_never_was_is_lost(source: Source) -> None:
    """So is one of another server or with a broken name."""
    with pytest.raises(SnapshotLostError):
        await source.reader("no '; snapshot")


async def test_a_locked_table_may_be_free_later(source: Source) -> None:
    """The lock's holder is somebody else; the text says how to find them."""
    locker = await source.session()
    await locker.execute("SET default_transaction_read_only = off")
    await locker.execute("BEGIN; LOCK TABLE public.t")
    reader = await source.reader()
    await reader._run("SET LOCAL lock_timeout = '10ms'")
    error = await _fails(reader, lambda: reader.fetch("SELECT * FROM public.t"))
    assert (type(error), is_transient(error)) == (BusyError, True)
    assert "locked by another session" in error.what
    await reader.close()
    locker.terminate()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("40001", BusyError),  # a standby's recovery, or a serialization failure
        ("40P01", BusyError),
        ("53300", BusyError),
        ("53400", BusyError),
        ("08006", LostError),
        ("72000", SnapshotLostError),
        ("22012", RowError),
        ("42501", PermissionRefusedError),
        ("57014", ConnectError),  # somebody cancelled it on purpose
        ("XX000", ConnectError),
    ],
)
async def test_the_sqlstate_tells_the_class(source: Source, raised: str, kind: type) -> None:
    """What PostgreSQL raises comes out in a class that says whether to try again."""
    session = await source.session()
    with pytest.raises(asyncpg.PostgresError) as caught:
        await session.execute(f"DO $$ BEGIN RAISE 'so' USING ERRCODE = '{raised}'; END $$")
    assert type(read_error(caught.value)) is kind
    await session.close()


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P05", "25P03", "40001"])
def test_an_error_that_ended_the_session_is_a_lost_one(state: str) -> None:
    """FATAL, as the server says in any language; its SQLSTATE is told."""
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": "ending"}
    error = read_error(asyncpg.PostgresError.new(fields))
    assert (type(error), error.why) == (LostError, f"{state}: ending")


async def test_values_that_cannot_be_computed_are_not_tried_again(source: Source) -> None:
    """A row's error stays one, though its SQLSTATE is next to a snapshot's."""
    error = await _fails(None, lambda: source._read("SELECT 'x'::int"))
    assert (type(error), is_transient(error)) == (RowError, False)


# -- connecting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "/tmp/no such folder"])
async def test_nobody_there_is_told_at_once_and_may_pass_while_a_run_goes(host: str) -> None:
    """`connect` raises without waiting; its class lets a run try again."""
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(UnreachableError) as caught:
            await Source.connect(f"host='{host}' port=1 user=u dbname=d")
    assert caught.value.exit_code == EXIT_CONNECTION
    assert is_transient(caught.value)


async def test_a_wrong_database_is_never_tried_again(source: Source) -> None:
    """A name that is not there will not be there later."""
    with pytest.raises(ConnectError) as caught:
        await Source.connect(source._dsn.replace("/test_", "/no_test_"))
    assert (type(caught.value), is_transient(caught.value)) == (ConnectError, False)


async def test_a_server_without_room_may_have_some_later(source: Source) -> None:
    """53300 at the login: too many connections of a role."""
    execute(source._dsn, "DROP ROLE IF EXISTS lonely; CREATE ROLE lonely LOGIN CONNECTION LIMIT 0")
    with pytest.raises(BusyError) as caught:
        await Source.connect(source._dsn.replace("postgres@", "lonely@"))
    assert is_transient(caught.value)
    assert "free a connection" in caught.value.next_step


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.CannotConnectNowError("the database system is starting up"), UnreachableError),
        (asyncpg.AdminShutdownError("terminating connection"), UnreachableError),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle"), UnreachableError),
        (ConnectionResetError(104, "reset by peer"), UnreachableError),
        (TimeoutError(), UnreachableError),
        (asyncpg.InvalidPasswordError("wrong"), ConnectError),
        (asyncpg.InvalidCatalogNameError("gone"), ConnectError),
    ],
)
def test_a_login_that_fails_says_whether_it_may_pass(error: Exception, kind: type) -> None:
    """A server that starts or goes down is another matter than a wrong password."""
    assert type(_connect_error(error, "host=h user=u dbname=d", 1.0)) is kind


async def test_work_goes_on_when_the_server_was_restarted(tmp_path: Path) -> None:
    """The crash is a lost session, the restart an unreachable server, then all is well."""
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    try:
        source = await Source.connect(server.dsn())
        reader = await source.reader()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGQUIT)
        error = await _fails(reader, lambda: _asked_until_it_fails(reader))
        assert type(error) is LostError
        await reader.close()
        told: list[str] = []

        async def work() -> int:
            if len(told) == 2:
                await asyncio.to_thread(server.start)
                source._dsn = server.dsn()
            again = await source.reader()
            [[found]] = await again.fetch("SELECT 7")
            await again.close()
            return int(found)

        backoff = Backoff(attempts=60, first=0.05, most=0.2)
        assert await with_retries(work, backoff, asyncio.Event(), told.append) == 7
        assert all("cannot connect to" in text for text in told)
        await source.close()
    finally:
        server.stop()


async def _asked_until_it_fails(reader: Reader) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        await reader.fetch("SELECT 1")


async def _terminate_while(reader: Reader, source: Source) -> None:
    """Terminate a session in the middle of a statement."""
    [[pid]] = await reader.fetch("SELECT pg_backend_pid()")
    sleeping = asyncio.create_task(reader.fetch("SELECT pg_sleep(60)"))
    busy = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"
    while not (await source._read(busy, pid))[0][0]:
        await source._read("SELECT pg_sleep(0.01)")
    await source._read("SELECT pg_terminate_backend($1, 5000)", pid)
    await sleeping


async def _until_alone(source: Source) -> None:
    """Wait until our other sessions have ended on the server."""
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'geode-tui' AND pid <> pg_backend_pid()"
    )
    while (await source._read(others))[0][0]:
        await source._read("SELECT pg_sleep(0.01)")


async def _fails(reader: Reader | None, work: Callable[[], Awaitable[object]]) -> GeodeTuiError:
    async with asyncio.timeout(WAIT_SECONDS):
        with pytest.raises(GeodeTuiError) as caught:
            await work()
    return caught.value
