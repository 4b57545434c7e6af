"""The pace of a run: pause, throttle, workers, batches that adapt, and the governor."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from geode_tui.errors import LostError
from geode_tui.migration.control import Knobs
from geode_tui.migration.governor import LOOK_SECONDS, Governor, Limits
from geode_tui.migration.pace import BURST, FEWEST_ROWS, MOST_ROWS, Pace
from geode_tui.source.load import LoadProbe, SourceLoad, read_load
from geode_tui.source.postgres import Source
from tests.command_line import execute
from tests.conftest import MakeDatabase
from tests.virtual_time import Clock, run_virtually

ANN = Knobs(who="ann@db1")
CALM = SourceLoad(4, 3, 0.0, 0, 0.0, 41.0, ())
Cost = Callable[[int], float]
"""The seconds that the target takes for so many rows."""


def per_row(seconds: float) -> Cost:
    return lambda rows: rows * seconds


async def work(
    pace: Pace, clock: Clock, seconds: float, cost: Cost, workers: int = 1
) -> list[tuple[float, int]]:
    """Write batches as workers do; when each was admitted, and its rows."""
    admitted: list[tuple[float, int]] = []
    stop, end = asyncio.Event(), clock() + seconds

    async def worker() -> None:
        while clock() < end:
            rows = pace.batch_rows
            await pace.admit(rows, stop)
            if stop.is_set():
                return
            admitted.append((clock(), rows))
            await asyncio.sleep(cost(rows))
            pace.wrote(rows, cost(rows), rows * 100)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.gather(*tasks)
    return admitted


def written(seconds: float, cost: Cost, *knobs: Knobs, workers: int = 1, share: float = 1) -> int:
    """The rows that a run writes in so many seconds."""

    async def run(clock: Clock) -> int:
        pace = Pace(workers, 1_000, clock=clock)
        for some in knobs:
            pace.set(some)
        pace.slow(share, "slowed")
        return sum(rows for _, rows in await work(pace, clock, seconds, cost, workers))

    return run_virtually(run)


# -- throttle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("limit", [40, 900, 5_000, 60_000])
def test_a_throttle_holds_for_the_whole_run(limit: int, workers: int) -> None:
    """So many rows a second, whatever the workers; also when that is less than a batch."""
    cost = per_row(0.5 / limit)
    rows = written(5, cost, replace(ANN, rows_per_second=limit), workers=workers)
    assert rows == pytest.approx(5 * limit, rel=0.04)


@pytest.mark.parametrize("limit", [1, 3])
def test_even_a_few_rows_a_second_go_one_by_one(limit: int) -> None:
    """The slowest throttles do not stand still."""
    rows = written(10, per_row(0.001), replace(ANN, rows_per_second=limit))
    assert 10 * limit - 1 <= rows <= 10 * limit


def test_a_throttled_run_never_makes_up_for_lost_time_in_a_burst() -> None:
    """After a target that hung for a minute the source is not hit harder than asked."""

    async def run(clock: Clock) -> list[tuple[float, int]]:
        pace = Pace(1, 1_000, clock=clock)
        pace.set(replace(ANN, rows_per_second=1_000))
        hung = itertools.chain([60.0], itertools.repeat(0.0))
        return await work(pace, clock, 70, lambda rows: next(hung))

    admitted = [(at, rows) for at, rows in run_virtually(run) if at > 60]
    for begin in range(60, 70):
        second = [rows for at, rows in admitted if begin <= at < begin + 1]
        assert sum(second) <= 1_000 * (1 + BURST) + 100


def test_a_throttle_that_is_taken_off_ends_the_wait() -> None:
    """Who waits for a thousand seconds goes on when somebody says so."""

    async def run(clock: Clock) -> float:
        pace = Pace(1, 1_000, clock=clock)
        pace.set(replace(ANN, rows_per_second=1))
        waiting = asyncio.create_task(pace.admit(1_000, asyncio.Event()))
        await asyncio.sleep(10)
        assert not waiting.done()
        pace.set(ANN)
        await waiting
        return clock()

    assert run_virtually(run) < 11


def test_a_throttle_above_what_the_target_can_take_changes_nothing() -> None:
    """A limit is no goal."""
    cost = per_row(0.001)
    free, limited = (written(5, cost, k) for k in (ANN, replace(ANN, rows_per_second=100_000)))
    assert limited == pytest.approx(free, rel=0.04)


def test_at_full_speed_nobody_waits() -> None:
    """`admit` does not even yield to the event loop: it is asked before each batch."""
    with pytest.raises(StopIteration):
        Pace(2, None).admit(1_000, asyncio.Event()).send(None)


# -- pause --------------------------------------------------------------------------------------


def test_a_paused_run_writes_nothing_until_the_pause_is_lifted() -> None:
    async def run(clock: Clock) -> list[float]:
        pace = Pace(2, 1_000, clock=clock)
        pace.set(replace(ANN, paused=True))
        working = asyncio.create_task(work(pace, clock, 200, per_row(0.001), workers=2))
        await asyncio.sleep(100)
        pace.set(ANN)
        return [at for at, _ in await working]

    times = run_virtually(run)
    assert min(times) >= 100
    assert len(times) > 100


@pytest.mark.parametrize(
    "knobs", [replace(ANN, paused=True), replace(ANN, rows_per_second=1)], ids=["paused", "slow"]
)
def test_a_stop_ends_every_wait(knobs: Knobs) -> None:
    """A run that is paused or throttled stops as quickly as any."""

    async def run(clock: Clock) -> float:
        pace, stop = Pace(4, 1_000, clock=clock), asyncio.Event()
        pace.set(knobs)
        waits = [asyncio.create_task(pace.admit(10_000, stop)) for _ in range(4)]
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*waits)
        assert not await pace.turn(0, stop)
        return clock()

    assert run_virtually(run) == pytest.approx(1)


def test_a_checkpoint_may_be_taken_of_a_paused_run() -> None:
    """Chunks in flight end, and no new one begins."""

    async def run(clock: Clock) -> None:
        pace, stop = Pace(1, 1_000, clock=clock), asyncio.Event()
        pace.set(replace(ANN, paused=True))
        waiting = asyncio.create_task(pace.admit(1_000, stop))
        await asyncio.sleep(5)
        assert not waiting.done()
        pace.draining = True
        await waiting
        assert not await pace.turn(0, stop)

    run_virtually(run)


# -- workers ------------------------------------------------------------------------------------


def test_only_as_many_workers_work_as_are_asked_for() -> None:
    """Workers can be added and taken away while the run goes."""

    async def run(clock: Clock) -> list[list[bool]]:
        pace, stop, turns = Pace(2, None, clock=clock), asyncio.Event(), []
        for parallel in (None, 1, 3):
            pace.set(replace(ANN, parallel=parallel))
            turns.append([await pace.turn(worker, stop) for worker in range(4)])
        return turns

    assert run_virtually(run) == [
        [True, True, False, False],
        [True, False, False, False],
        [True, True, True, False],
    ]


def test_a_worker_gets_its_turn_when_more_are_asked_for() -> None:
    async def run(clock: Clock) -> bool:
        pace, stop = Pace(1, None, clock=clock), asyncio.Event()
        second = asyncio.create_task(pace.turn(1, stop))
        await asyncio.sleep(0.2)
        assert not second.done()
        pace.set(replace(ANN, parallel=2))
        return await second

    assert run_virtually(run)


# -- batches ------------------------------------------------------------------------------------


def settled(cost: Cost, batches: int = 400, **options: float) -> Pace:
    """The pace after so many batches of a target."""
    pace = Pace(1, None, **options)  # type: ignore[arg-type]
    for _ in range(batches):
        rows = pace.batch_rows
        pace.wrote(rows, cost(rows), rows * 100)
    return pace


@pytest.mark.parametrize("rows_in_goal", [200, 2_500, 8_000])
def test_a_batch_grows_and_shrinks_until_it_takes_about_the_time_it_should(
    rows_in_goal: int,
) -> None:
    pace = settled(per_row(0.25 / rows_in_goal))
    assert rows_in_goal * 0.6 <= pace.batch_rows <= rows_in_goal + 100


def test_a_batch_stays_within_its_bounds() -> None:
    """The quickest target gets no more than the most rows, the slowest no fewer than the fewest."""
    assert settled(per_row(0.0)).batch_rows == MOST_ROWS
    assert settled(per_row(10.0)).batch_rows == FEWEST_ROWS


def test_a_batch_follows_a_target_that_becomes_slow_and_quick_again() -> None:
    pace = settled(per_row(0.00001))
    assert pace.batch_rows == MOST_ROWS
    for seconds in (5.0, 4.0, 3.0):
        pace.wrote(pace.batch_rows, seconds, 1)
    assert pace.batch_rows < 0.4 * MOST_ROWS
    for _ in range(200):
        pace.wrote(pace.batch_rows, 0.01, 1)
    assert pace.batch_rows == MOST_ROWS


def test_two_workers_that_were_slow_at_once_shrink_the_batch_once() -> None:
    """What was sent before the size shrank says nothing of the new size."""
    pace = Pace(2, None)
    pace.wrote(1_000, 1.0, 1)
    pace.wrote(700, 1.0, 1)
    twice = pace.batch_rows
    pace.wrote(1_000, 1.0, 1)
    assert pace.batch_rows == twice < 500


def test_a_batch_fits_into_the_targets_message() -> None:
    """Wide rows go in fewer to a message; one that grows is followed at once."""
    pace = settled(per_row(0.0), message_bytes=100_000)
    assert pace.batch_rows == 800  # of 100 bytes: a fifth is left for what surrounds them
    pace.wrote(800, 0.01, 800 * 10_000)
    assert pace.batch_rows == 8
    pace.wrote(8, 0.01, 8 * 10_000_000)
    assert pace.batch_rows == 1


def test_a_size_that_a_person_asked_for_does_not_adapt() -> None:
    """Neither the one that the run began with nor the one asked for while it goes."""
    pace = Pace(1, 700)
    pace.wrote(700, 99.0, 1)
    assert pace.batch_rows == 700
    pace.set(replace(ANN, batch_rows=20_000))
    assert pace.batch_rows == 20_000
    assert dict(pace.knobs())["batch"] == "20,000 rows, fixed"


# -- words --------------------------------------------------------------------------------------


def test_every_slowness_has_its_reason_with_who_asked_for_it() -> None:
    """The one who paused is named, though another turned a knob afterwards."""
    pace = Pace(2, None)
    assert pace.reason == ""
    pace.set(Knobs(rows_per_second=5_000, who="ann@db1"))
    assert pace.reason == "throttled to 5,000 rows/s by ann@db1"
    pace.slow(0.5, "slowed: replica lag 2.1 s > 1.5 s")
    both = "throttled to 5,000 rows/s by ann@db1; slowed: replica lag 2.1 s > 1.5 s"
    assert pace.reason == both
    pace.set(Knobs(paused=True, rows_per_second=5_000, who="bob@db2"))
    assert (pace.paused, pace.reason) == (True, "paused by bob@db2")
    pace.set(Knobs(rows_per_second=5_000, who="eve@db3"))
    assert pace.reason == both
    pace.slow(1.0, "")
    pace.set(Knobs(who="ann@db1"))
    assert pace.reason == ""


def test_the_live_settings_are_shown() -> None:
    pace = Pace(2, None)
    begun = (("rows a second", "no limit"), ("workers", "2"), ("batch", "1,000 rows, adapts"))
    assert pace.knobs() == begun
    pace.set(Knobs(True, False, 5_000, 3, None, who="ann@db1"))
    pace.slow(0.25, "slowed")
    assert dict(pace.knobs()) == {
        "rows a second": "5,000",
        "workers": "3 (begun with 2)",
        "batch": "500 rows, adapts",
        "governor": "25%",
        "paused": "ann@db1",
    }


# -- the governor's share -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_share_of_the_speed_is_that_share(share: float, workers: int) -> None:
    """However many workers there are, and whatever a batch takes."""
    full = written(100, per_row(0.0002), workers=workers)
    some = written(100, per_row(0.0002), workers=workers, share=share)
    assert some / full == pytest.approx(share, rel=0.15)


def test_a_share_of_nothing_stands_still() -> None:
    assert written(100, per_row(0.001), share=0.0) == 0


# -- the governor -------------------------------------------------------------------------------


class Watched:
    """A governor whose source says what the test wants, and what it tells."""

    def __init__(self) -> None:
        self.load: SourceLoad | Exception = CALM
        self.now = 0.0
        self.told: list[str] = []
        self.pace = Pace(2, 1_000)
        self.governor = Governor(
            self.pace, self._read, Limits(), self.told.append, lambda: self.now
        )

    async def _read(self) -> SourceLoad:
        if isinstance(self.load, Exception):
            raise self.load
        return self.load

    async def looks(self, number: int) -> list[int]:
        """Look so often; the share after each look in percent, 100 at full speed."""
        shares = []
        for _ in range(number):
            self.now += LOOK_SECONDS
            await self.governor.look()
            shares.append(int(dict(self.pace.knobs()).get("governor", "100%").rstrip("%")))
        return shares


async def test_replica_lag_slows_the_run_and_its_end_speeds_it_up() -> None:
    """Down by half at each look, up by a tenth; each change is told once, with its numbers."""
    watched = Watched()
    assert await watched.looks(2) == [100, 100]
    watched.load = replace(CALM, replica_lag=2.1)
    assert await watched.looks(6) == [50, 25, 12, 6, 5, 5]
    assert watched.pace.reason == "slowed: replica lag 2.1 s > 1.5 s"
    watched.load = replace(CALM, replica_lag=1.4)
    assert await watched.looks(11) == [15, 25, 35, 45, 55, 65, 75, 85, 95, 100, 100]
    assert watched.pace.reason == ""
    assert watched.told == [
        "slowed: replica lag 2.1 s > 1.5 s",
        "full speed again after: replica lag 2.1 s > 1.5 s",
    ]


async def test_while_it_speeds_up_the_run_still_says_why_it_is_slow() -> None:
    watched = Watched()
    watched.load = replace(CALM, replica_lag=3.0)
    await watched.looks(1)
    watched.load = CALM
    await watched.looks(1)
    assert watched.pace.reason == "speeds up again after: replica lag 3.0 s > 1.5 s"


async def test_lag_that_comes_and_goes_is_not_told_again_and_again() -> None:
    watched = Watched()
    for _ in range(10):
        watched.load = replace(CALM, replica_lag=3.0)
        await watched.looks(1)
        watched.load = CALM
        await watched.looks(1)
    assert watched.told == ["slowed: replica lag 3.0 s > 1.5 s"]


async def test_lock_waits_that_going_slowly_does_not_mend_are_left_alone() -> None:
    """A session that somebody forgot must not cost the night: after a minute all speed is back."""
    watched = Watched()
    watched.load = replace(CALM, longest_wait=5.0)
    assert min(await watched.looks(30)) == 5
    assert (await watched.looks(15))[-1] == 100
    assert watched.told == [
        "slowed: lock waits 5.0 s > 1.0 s",
        "lock waits 5.0 s > 1.0 s: going slowly for 60 s did not mend it",
        "full speed again after: lock waits 5.0 s > 1.0 s",
    ]
    watched.load = CALM
    await watched.looks(1)
    watched.load = replace(CALM, longest_wait=6.0)
    assert await watched.looks(1) == [50]  # others, this time


async def test_who_waits_for_our_locks_is_named_and_the_run_hurries_on() -> None:
    """Going slowly would hold the locks for longer."""
    watched = Watched()
    watched.load = replace(
        CALM, waiting_on_us=1, longest_wait_on_us=3.2, blocked=("pid 4411 psql 3.2 s",)
    )
    assert await watched.looks(5) == [100] * 5
    [told] = watched.told
    assert told.startswith("waits for a lock of this run: pid 4411 psql 3.2 s; ")
    assert ("wait for our locks", "pid 4411 psql 3.2 s") in watched.governor.shown()


async def test_a_target_that_becomes_slow_is_spared() -> None:
    """Compared with its own time for a batch, which differs from target to target."""
    watched = Watched()
    for _ in range(300):
        watched.pace.wrote(1_000, 0.2, 1)
    assert await watched.looks(1) == [100]
    for _ in range(8):
        watched.pace.wrote(1_000, 9.0, 1)
    assert await watched.looks(2) == [50, 25]
    assert watched.pace.reason.startswith("slowed: target takes ")
    for _ in range(8):
        watched.pace.wrote(1_000, 0.2, 1)
    assert await watched.looks(1) == [35]


async def test_a_target_that_always_takes_long_is_no_reason() -> None:
    watched = Watched()
    for _ in range(50):
        watched.pace.wrote(1_000, 9.0, 1)
    assert await watched.looks(1) == [100]


@pytest.mark.parametrize("error", [LostError("the connection to the source is lost"), KeyError()])
async def test_a_source_that_does_not_tell_its_load_stops_nothing(error: Exception) -> None:
    """Not even a defect of the probe; it is shown that nobody knows."""
    watched = Watched()
    watched.load = error
    assert await watched.looks(3) == [100] * 3
    assert watched.governor.shown() == (("load", "the source does not tell"),)
    watched.load = CALM
    await watched.looks(1)
    assert ("replica lag", "0.0 s") in watched.governor.shown()


def test_a_probe_that_hangs_does_not_stop_the_governor() -> None:
    """It is given up after some seconds, and asked again."""

    async def run(clock: Clock) -> int:
        asked = []

        async def hang() -> SourceLoad:
            asked.append(clock())
            await asyncio.Event().wait()
            raise AssertionError

        governor = Governor(Pace(1, None, clock=clock), hang)
        watching = asyncio.create_task(governor.watch())
        await asyncio.sleep(100)
        watching.cancel()
        return len(asked)

    assert run_virtually(run) > 10


def test_a_governor_that_is_let_go_leaves_the_run_at_full_speed() -> None:
    async def run(clock: Clock) -> str:
        async def lag() -> SourceLoad:
            return replace(CALM, replica_lag=9.0)

        pace = Pace(1, None, clock=clock)
        watching = asyncio.create_task(Governor(pace, lag).watch())
        await asyncio.sleep(5)
        assert pace.reason.startswith("slowed: ")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return pace.reason

    assert run_virtually(run) == ""


# -- what a real PostgreSQL says of its load ------------------------------------------------------


@pytest.fixture
async def source(make_database: MakeDatabase) -> AsyncIterator[Source]:
    found = await Source.connect(make_database("CREATE TABLE t AS SELECT 1 AS a"))
    yield found
    await found.close()


@pytest.fixture
async def probe(source: Source) -> AsyncIterator[LoadProbe]:
    found = LoadProbe(source)
    yield found
    await found.close()


async def until(probe: LoadProbe, holds: Callable[[SourceLoad], bool]) -> SourceLoad:
    """The load as soon as it is as expected."""
    async with asyncio.timeout(30):  # only so that a defect cannot hang the tests
        while not holds(load := await probe.read()):
            pass
    return load


async def test_sessions_and_snapshots_are_counted(source: Source, probe: LoadProbe) -> None:
    """Ours among all of the database, and the age of the oldest snapshot."""
    before = await probe.read()
    assert (before.sessions, before.our_sessions) == (2, 2)  # the source's, and the probe's
    assert before.oldest_snapshot is None
    holder = await source.snapshot([])
    load = await probe.read()
    assert load.our_sessions == 3
    assert load.oldest_snapshot is not None
    assert (load.replica_lag, load.waiting_on_us, load.longest_wait) == (None, 0, 0.0)
    await holder.close()


async def test_a_session_that_waits_for_our_lock_is_named(source: Source, probe: LoadProbe) -> None:
    """So is one that waits behind it: both wait because of us."""
    catalog = await source.catalog()
    holder = await source.snapshot([table.name for table in catalog.tables])
    altering = await _begun(source, "cron; [/foo]", "ALTER TABLE public.t ADD b int")
    load = await until(probe, lambda load: load.waiting_on_us == 1)
    reading = await _begun(source, "web", "SELECT * FROM public.t")
    load = await until(probe, lambda load: load.waiting_on_us == 2)
    assert load.longest_wait == 0.0  # nobody waits for anybody else
    assert load.longest_wait_on_us > 0.0
    assert [text.split(" ", 2)[2].rsplit(" ", 2)[0] for text in load.blocked] == [
        "cron; [/foo]",
        "web",
    ]
    await holder.close()
    await asyncio.gather(altering, reading)
    assert (await until(probe, lambda load: load.waiting_on_us == 0)).blocked == ()


async def test_a_wait_between_others_is_not_ours(source: Source, probe: LoadProbe) -> None:
    """Its length is told; who waits for an advisory lock wants to."""
    locker = await source.session()
    await locker.execute("SET application_name = 'other'")
    await locker.execute("SET default_transaction_read_only = off")
    await locker.execute("BEGIN; LOCK TABLE public.t; SELECT pg_advisory_lock(1)")
    queue = await _begun(source, "queue", "SELECT pg_advisory_lock(1)")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
    while not (await source._read(waiting))[0][0]:
        pass
    assert (await probe.read()).longest_wait == 0
    await source._read("SELECT pg_sleep(0.2)")
    reading = await _begun(source, "web", "SELECT * FROM public.t")
    load = await until(probe, lambda load: load.longest_wait > 0)
    assert (load.waiting_on_us, load.blocked) == (0, ())
    age = "SELECT extract(epoch FROM clock_timestamp() - query_start)::float8 FROM pg_stat_activity"
    [[since]] = await source._read(f"{age} WHERE application_name = 'web'")
    assert load.longest_wait <= since  # and not as long as that of the queue
    await locker.execute("COMMIT; SELECT pg_advisory_unlock(1)")
    await asyncio.gather(queue, reading)
    assert (await until(probe, lambda load: not load.longest_wait)).longest_wait == 0
    await locker.close()


async def test_a_role_without_rights_sees_what_it_may(source: Source, probe: LoadProbe) -> None:
    """No pg_monitor: others' locks are seen, replica lag is unknown, nothing fails."""
    execute(source._dsn, "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    plain = await Source.connect(source._dsn.replace("postgres@", "plain@"))
    locker = await source.session()
    await locker.execute("SET application_name = 'other'")
    await locker.execute("SET default_transaction_read_only = off")
    await locker.execute("BEGIN; LOCK TABLE public.t")
    reading = await _begun(source, "web", "SELECT * FROM public.t")
    own = LoadProbe(plain)
    load = await until(own, lambda load: load.longest_wait > 0)
    assert (load.replica_lag, load.our_sessions) == (None, 2)
    await own.close()
    await locker.execute("COMMIT")
    await reading
    await locker.close()
    await plain.close()


async def test_a_probe_whose_session_was_killed_opens_another(
    source: Source, probe: LoadProbe
) -> None:
    """The first answer is an error, the next one a load."""
    await probe.read()
    assert probe._connection is not None
    pid = await probe._connection.fetchval("SELECT pg_backend_pid()")
    await source._read("SELECT pg_terminate_backend($1, 5000)", pid)
    with pytest.raises(LostError):
        await probe.read()
    assert (await probe.read()).our_sessions == 2


async def test_a_real_source_can_be_governed(source: Source, probe: LoadProbe) -> None:
    """Someone waits for a lock of another session: the run slows, and says why."""
    locker = await source.session()
    await locker.execute("SET application_name = 'other'")
    await locker.execute("SET default_transaction_read_only = off")
    await locker.execute("BEGIN; LOCK TABLE public.t")
    reading = await _begun(source, "web", "SELECT * FROM public.t")
    pace = Pace(1, None)
    told: list[str] = []
    await until(probe, lambda load: load.longest_wait >= 0.1)
    governor = Governor(pace, probe.read, Limits(lock_wait=0.0), told.append)
    await governor.look()
    assert pace.reason.startswith("slowed: lock waits ")
    assert told == [pace.reason]
    await locker.execute("COMMIT")
    await reading
    for _ in range(10):
        await governor.look()
    assert pace.reason == ""
    await locker.close()


async def test_one_question_is_enough(source: Source) -> None:
    """A session of the caller's own serves as well; `read_load` keeps no transaction open."""
    session = await source.session()
    assert (await read_load(session)).our_sessions == 2
    assert not session.is_in_transaction()
    await session.close()


async def _begun(source: Source, name: str, statement: str) -> Awaitable[None]:
    """A session of another application that begins a statement."""
    session = await source.session()
    await session.execute("SELECT set_config('application_name', $1, false)", name)
    await session.execute("SET default_transaction_read_only = off")

    async def work() -> None:
        await session.execute(statement)
        await session.close()

    return asyncio.create_task(work())
