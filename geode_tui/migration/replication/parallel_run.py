"""Source and graph asked the same, on a schedule, while both live: do they say the same, how fast?

The questions are the pairs of SQL and GQL that a mapping has as its `checks`. Each is asked of
both sides with a new snapshot of the source. A pair whose answers differ is asked once more a
little later, for the graph follows the source: only what differs twice counts. Every answer is
journaled.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import asyncpg

from geode_tui.errors import GeodeTuiError, LostError, UnreachableError, UsageError
from geode_tui.mapping.model import Pair
from geode_tui.migration.store import Store
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import Source, find_types, local_settings, lost_error, read_error
from geode_tui.target import open_target
from geode_tui.target.model import Target
from geode_tui.validation.ledger import Check
from geode_tui.validation.markdown import page, plain, table
from geode_tui.validation.pairs import check_pairs

AGAIN_SECONDS = 2.0
"""So long after a difference the pair is asked once more."""
STATEMENT_SECONDS = 60
"""A question to the source that takes longer is given up: it counts as one that differs."""
_BROKEN = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a pair at one asking; `detail` says what differed.

    `equal` is also what differed at first and not a moment later: a change was on its way.
    """

    pair: str
    at: float
    equal: bool
    sql_seconds: float
    gql_seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PairStanding:
    """How a pair stands over all its askings; latencies in seconds, `detail` of the last."""

    pair: str
    asked: int
    differed: int
    equal: bool
    sql_p50: float
    sql_p95: float
    gql_p50: float
    gql_p95: float
    detail: str


class ParallelAnswers:
    """The journal's room of parallel runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, run: int, answer: Answer) -> None:
        """Journal an answer; `run` is the run whose graph it is, 0 where the journal knows none."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO parallel_answer (run, pair, at, equal, sql_seconds, gql_seconds,"
                " detail) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    answer.pair,
                    answer.at,
                    answer.equal,
                    answer.sql_seconds,
                    answer.gql_seconds,
                    answer.detail,
                ),
            )

    def of(self, run: int, since: float = 0.0) -> list[Answer]:
        """The answers of a run from then on, the oldest first."""
        rows = self._store.all(
            "SELECT pair, at, equal, sql_seconds, gql_seconds, detail FROM parallel_answer"
            " WHERE run = ? AND at >= ? ORDER BY id",
            run,
            since,
        )
        return [Answer(r[0], r[1], bool(r[2]), *r[3:]) for r in rows]


def standings(answers: Sequence[Answer]) -> list[PairStanding]:
    """How each pair stands, in the order in which they were first asked."""
    names = dict.fromkeys(answer.pair for answer in answers)
    found = []
    for name in names:
        some = [answer for answer in answers if answer.pair == name]
        sql = [answer.sql_seconds for answer in some]
        gql = [answer.gql_seconds for answer in some]
        found.append(
            PairStanding(
                name,
                len(some),
                sum(not answer.equal for answer in some),
                some[-1].equal,
                percentile(sql, 50),
                percentile(sql, 95),
                percentile(gql, 50),
                percentile(gql, 95),
                some[-1].detail,
            )
        )
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of all are at most (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


@dataclass(frozen=True)
class ParallelRun:
    """Asks both sides `times` times (None: until `stop`), `interval` seconds apart.

    `place` and `graph` name the target, which is opened anew at each asking: a graph in a file
    shows what was written to it since. `keep` is given each answer at once.
    """

    source: Source
    place: str
    graph: str | None
    pairs: Sequence[Pair]
    keep: Callable[[Answer], None]
    interval: float = 10.0
    times: int | None = 1
    tell: Callable[[str], None] = lambda text: None

    async def run(self, stop: asyncio.Event) -> list[Answer]:
        """Ask until it is done or stopped; returns all answers.

        A side that is away is asked again at the next turn. Raises UsageError where there is no
        pair, LostError or UnreachableError where a side is away at the last turn.
        """
        if not self.pairs:
            raise UsageError(
                "the mapping has no checks", "", "add pairs of SQL and GQL to it: checks: […]"
            )
        answers: list[Answer] = []
        turn = 0
        while not stop.is_set():
            turn += 1
            last = self.times is not None and turn >= self.times
            try:
                answers += await self._turn(stop)
            except (LostError, UnreachableError) as error:
                if last:
                    raise
                self.tell(f"{error.what}: {error.why}; asks again in {self.interval:g} s")
            if last:
                break
            await _wait(stop, self.interval)
        return answers

    async def _turn(self, stop: asyncio.Event) -> list[Answer]:
        """Every pair once; those that differ once more."""
        found = await self._asked(self.pairs)
        waiting = [p for p, one in zip(self.pairs, found, strict=True) if not one.equal]
        if waiting:
            self.tell(f"{len(waiting)} of {len(found)} differ; asks again in {AGAIN_SECONDS:g} s")
            await _wait(stop, AGAIN_SECONDS)
            again = {one.pair: one for one in await self._asked(waiting)}
            found = [_settled(one, again[one.pair]) if one.pair in again else one for one in found]
        for one in found:
            self.keep(one)
        return found

    async def _asked(self, pairs: Sequence[Pair]) -> list[Answer]:
        """Each pair asked of both sides, the time that each side took beside it."""
        answers = []
        async with self._reader() as reader, self._target() as target:
            for pair in pairs:
                timed, graph = _TimedReader(reader), _TimedTarget(target)
                at = time.time()
                [check] = await check_pairs(timed, cast(Target, graph), [pair])
                answers.append(_answer(check, at, timed.seconds, graph.seconds))
        return answers

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[Connection]:
        """A READ ONLY transaction with a snapshot of its own, in which no statement lasts long."""
        session = await self.source.session()
        try:
            with _told():
                await session.execute(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                    f" SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s';"
                    f" SET LOCAL row_security = off; {local_settings()}"
                )
                await find_types(session)
            yield session
        finally:
            session.terminate()

    @asynccontextmanager
    async def _target(self) -> AsyncIterator[Target]:
        target = await asyncio.to_thread(
            open_target, self.place, self.graph, create=False, read_only=True
        )
        try:
            yield target
        finally:
            await asyncio.to_thread(target.close)


class _TimedReader:
    """Reads, and adds up how long the questions took; savepoints are no questions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.seconds = 0.0

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement. Raises GeodeTuiError."""
        begun = time.perf_counter()
        try:
            with _told():
                return await self._connection.fetch(statement, *arguments)
        finally:
            if not statement.startswith(("SAVEPOINT", "ROLLBACK", "RELEASE")):
                self.seconds += time.perf_counter() - begun


class _TimedTarget:
    """Asks a graph, and adds up how long that took."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.seconds = 0.0

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run a statement."""
        begun = time.perf_counter()
        try:
            return self._target.query(statement)
        finally:
            self.seconds += time.perf_counter() - begun


def _answer(check: Check, at: float, sql_seconds: float, gql_seconds: float) -> Answer:
    return Answer(check.name, at, check.fine, sql_seconds, gql_seconds, check.why)


def _settled(first: Answer, second: Answer) -> Answer:
    """What is known after a second asking; its latency is that of the first, as of the others."""
    detail = "differed at first: a change was on its way" if second.equal else second.detail
    return Answer(first.pair, first.at, second.equal, first.sql_seconds, first.gql_seconds, detail)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise GeodeTuiError(f"it took longer than {STATEMENT_SECONDS} s", str(error)) from error
    except asyncpg.PostgresError as error:
        raise read_error(error) from error
    except _BROKEN as error:
        raise lost_error(error) from error


HEADER = ("pair", "asked", "differed", "SQL p50", "SQL p95", "GQL p50", "GQL p95", "now")
RIGHT = " >>>>>> "


def cells(one: PairStanding) -> tuple[str, ...]:
    """A standing as the cells of a table: latencies in milliseconds."""
    times = (one.sql_p50, one.sql_p95, one.gql_p50, one.gql_p95)
    return (
        one.pair,
        f"{one.asked:,}",
        f"{one.differed:,}",
        *(f"{seconds * 1000:,.1f} ms" for seconds in times),
        "the same" if one.equal else "differs",
    )


def as_markdown(found: Sequence[PairStanding], source: str, target: str) -> str:
    """A page to hand on: how each pair stands, and what differs."""
    differing = [one for one in found if not one.equal]
    return page(
        "Parallel run",
        ("Sides", [f"- source: {plain(source)}", f"- graph: {plain(target)}"]),
        ("Pairs", table(HEADER, [cells(one) for one in found], RIGHT)),
        ("What differs", [f"- {plain(one.pair)}: {plain(one.detail)}" for one in differing]),
    )
