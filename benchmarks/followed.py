"""`python -m benchmarks.followed [runs]`: move a database while eight writers change it.

Each run captures changes (by a slot and by an outbox in turn), copies, catches up, synchronizes
and cuts over, and is killed with SIGKILL at random moments on the way. In the end a comparison that
shares no code with the product (`tests.independent_comparison`) looks for any difference. SEED
names the random numbers, FIRST the first run, LANES how many go at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from benchmarks import fault_source
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.file import save
from geode_tui.source.postgres import Source
from tests.independent_comparison import compare

RUNS = 50
WRITERS = 8
WAYS = ("slot", "outbox")
_TEMPLATE = "followed"
_SETTINGS = {"fsync": "on", "full_page_writes": "on", "max_connections": "80"}
_GIVE_UP_SECONDS = 240.0
_FROZEN = "25006"
_TRIES = 4

SQL = (
    fault_source.SQL
    + """
ALTER TABLE log REPLICA IDENTITY FULL;
CREATE TABLE setting (name text PRIMARY KEY, value text);
INSERT INTO setting SELECT 's' || i, 'v' || i FROM generate_series(1, 30) i;
CREATE TABLE memo (id int PRIMARY KEY, title text, body text,
  person bigint REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
ALTER TABLE memo ALTER body SET STORAGE EXTERNAL;
INSERT INTO memo SELECT i, 'm' || i, repeat(md5(i::text), 300), (i % 90 + 1) * 10
FROM generate_series(1, 60) i;
CREATE TABLE follows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  who bigint NOT NULL REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE,
  whom bigint NOT NULL REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO follows (who, whom) SELECT (i % 80 + 1) * 10, (i % 70 + 5) * 10
FROM generate_series(1, 150) i;
"""
)

_MORE = (
    "TRUNCATE setting",
    "INSERT INTO setting SELECT 's' || i, 'again' FROM generate_series(1, 20) i"
    " ON CONFLICT (name) DO UPDATE SET value = setting.value || '+'",
    "UPDATE memo SET title = title || '.' WHERE id % 11 = {r} % 11",
    "UPDATE memo SET body = repeat(md5('{r}'), 250) WHERE id % 17 = {r} % 17",
    "UPDATE memo SET person = (SELECT min(id) FROM person WHERE id > {r} * 5)"
    " WHERE id % 7 = {r} % 7",
    "INSERT INTO memo SELECT 1000 + {r}, 'new', repeat('x', 9000), (SELECT max(id) FROM person)"
    " ON CONFLICT DO NOTHING",
    "DELETE FROM memo WHERE id = 1 + {r} % 60",
    "UPDATE follows SET whom = (SELECT max(id) FROM person) WHERE id % 31 = {r} % 31",
    "INSERT INTO follows (who, whom) SELECT min(id), max(id) FROM person HAVING count(*) > 1",
    "DELETE FROM follows WHERE id % 29 = {r} % 29",
    "BEGIN; INSERT INTO person VALUES (5000000 + {r}, 'slow') ON CONFLICT DO NOTHING;"
    " SELECT pg_sleep(0.1); UPDATE person SET name = name || '~' WHERE id = 5000000 + {r}; COMMIT",
    "BEGIN; DELETE FROM person WHERE id % 50 = 0; SELECT pg_sleep(0.05); ROLLBACK",
    "BEGIN; UPDATE doc SET num = 'a-{r}' WHERE id = (SELECT min(id) FROM doc WHERE id > {r} % 300);"
    " UPDATE doc SET num = 'b-{r}' WHERE num = 'a-{r}'; COMMIT",
)
_NEVER = ("VACUUM FULL log", "DELETE FROM person")
STATEMENTS = tuple(sql for sql in fault_source.CHANGES if sql not in _NEVER) + _MORE

# None of these gives rows that no graph can hold, or that point at nothing: new dead letters shut
# the gate of a cutover, waived or not.
_GIVE_LETTERS = ("= 'infinity' WHERE", "DELETE FROM town", "UPDATE town")
CALM = tuple(sql for sql in STATEMENTS if not any(part in sql for part in _GIVE_LETTERS))


@dataclass
class Writers:
    """Eight sessions that change rows until they are stopped, or until writes are refused."""

    dsn: str
    seed: str
    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unmeant: list[str] = field(default_factory=list)
    calm: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While they write."""
        thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    async def _all(self) -> None:
        await asyncio.gather(
            *(self._one(random.Random(f"{self.seed}/{n}")) for n in range(WRITERS))
        )

    async def _one(self, rng: random.Random) -> None:
        settings = {"lock_timeout": "90s", "application_name": "writer"}
        connection = await asyncpg.connect(self.dsn, server_settings=settings)
        try:
            while not self._stop.is_set():
                await self._write(connection, rng)
                await asyncio.sleep(rng.random() * 0.2)
        finally:
            await connection.close()

    async def _write(self, connection: asyncpg.Connection, rng: random.Random) -> None:
        statement = rng.choice(CALM if self.calm.is_set() else STATEMENTS).replace(
            "{r}", str(rng.randrange(1000))
        )
        try:
            await connection.execute(statement)
            self.written += 1
        except (
            asyncpg.UniqueViolationError,
            asyncpg.ForeignKeyViolationError,
            asyncpg.NotNullViolationError,
            asyncpg.DeadlockDetectedError,
            asyncpg.SerializationError,  # a row went to another partition meanwhile
        ) as error:
            self.refused[error.sqlstate or ""] += 1
        except asyncpg.ReadOnlySQLTransactionError as error:
            self.refused[error.sqlstate or _FROZEN] += 1
        except asyncpg.PostgresError as error:
            self.unmeant.append(f"{error.sqlstate}: {error}")
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")


@dataclass(frozen=True)
class Outcome:
    """What became of a run; `why` says what was wrong, empty where nothing was."""

    number: int
    way: str
    why: str
    kills: int
    written: int
    seconds: float


class Lane:
    """A PostgreSQL of its own, and runs on copies of one database, one after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.server = EmbeddedPostgres(folder / "postgres", settings=_SETTINGS)

    def __enter__(self) -> Lane:
        self.server.start()
        asyncio.run(_execute(self.server.dsn(), f"CREATE DATABASE {_TEMPLATE}"))
        dsn = self.server.dsn(_TEMPLATE)
        asyncio.run(_execute(dsn, SQL))
        asyncio.run(_save_mapping(dsn, self.folder / "mapping.yaml"))
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def run(self, number: int) -> Outcome:
        """One run; slot and outbox take turns."""
        began = time.monotonic()
        trial = Trial(self, number, random.Random(f"{self.seed}/{number}"))
        try:
            why = trial.run()
        except (_Failed, subprocess.TimeoutExpired, asyncpg.PostgresError) as error:
            why = f"{type(error).__name__}: {error}"
        finally:
            if (kept := os.environ.get("KEEP")) and trial.failed:
                shutil.copytree(trial.folder, Path(kept) / f"run-{number}", dirs_exist_ok=True)
            trial.clear()
        seconds = time.monotonic() - began
        return Outcome(number, trial.way, why, trial.kills, trial.writers.written, seconds)


class _Failed(Exception):
    """A verb ended in a way that it should not."""


class Trial:
    """One run from the first capture to the flip."""

    def __init__(self, lane: Lane, number: int, rng: random.Random) -> None:
        self._lane = lane
        self._rng = rng
        self.way = WAYS[number % len(WAYS)]
        self.folder = lane.folder / f"run-{number}"
        self.folder.mkdir()
        self._database = f"run_{number}"
        create = f"CREATE DATABASE {self._database} TEMPLATE {_TEMPLATE}"
        asyncio.run(_execute(lane.server.dsn(), create))
        self._dsn = lane.server.dsn(self._database)
        self._graph = self.folder / "graph.grafeo"
        self._mapping = lane.folder / "mapping.yaml"
        self.writers = Writers(self._dsn, f"{lane.seed}/{number}")
        self.kills = 0
        self.failed = True

    def run(self) -> str:
        """What was wrong, in words; empty where nothing was."""
        source = ("--source", self._dsn)
        target = ("--target", str(self._graph), "--mapping", str(self._mapping))
        with self.writers.at_work():
            time.sleep(0.3)
            begin = ("migrate", *source, *target, "--strategy", "zero-downtime")
            self._through((*begin, "--capture", self.way), ("resume", *source))
            self._synchronize(source)
            self.writers.calm.set()
            if "FOLLOW_ONLY" not in os.environ:
                self._cut_over(source)
        if "FOLLOW_ONLY" in os.environ:
            self._through(("sync", *source, "--once"), ("sync", *source, "--once"))
        return self._verdict()

    def _through(self, first: Sequence[str], again: Sequence[str]) -> None:
        """Drive a verb to its end; it is killed up to three times on the way."""
        verb = list(first)
        for _ in range(self._rng.randint(0, 3)):
            process = self._start(verb)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._rng.uniform(0.4, 4.0))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.kills += 1
            state = self._state()
            if state in ("done", "differs") and first[0] == "migrate":
                return  # killed after its last word
            if state:
                verb = list(again)
        else:
            process = self._start(verb)
        code = process.wait(_GIVE_UP_SECONDS)
        if code != 0:
            raise _Failed(f"{verb[0]} ended with {code}: {self._said()}")

    def _state(self) -> str:
        """The state of the run, empty before there is one."""
        done = subprocess.run(
            [sys.executable, "-m", "geode_tui", "runs", "--json"],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        runs = json.loads(done.stdout)
        return str(runs[0]["state"]) if runs else ""

    def _synchronize(self, source: Sequence[str]) -> None:
        for _ in range(self._rng.randint(1, 3)):
            process = self._start(("sync", *source))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(self._rng.uniform(0.8, 3.0))
            if process.poll() is not None:
                raise _Failed(f"sync ended with {process.returncode}: {self._said()}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.kills += 1

    def _cut_over(self, source: Sequence[str]) -> None:
        """Flip while the writers go on; what the freeze refuses is refused for good."""
        method = self._rng.choice(("lock", "trigger"))
        verb = ["cutover", "1", *source, "--yes", "--method", method, "--budget", "60"]
        verb += ["--watch", "0", "--lag", "120", "--calm", "1", "--waive", "rehearsal=a trial"]
        verb += ["--waive", "lag=a trial"]
        verb += ["--waive", "dead_letters=readings that are on no day"]
        self._through(("sync", *source, "--once"), ("sync", *source, "--once"))
        for _ in range(_TRIES):  # a table that is in use is told, and all is as it was
            code = self._start(verb).wait(_GIVE_UP_SECONDS)
            if code == 0 or "could not be frozen" not in self._said():
                break
        if code != 0:
            raise _Failed(f"cutover by {method} ended with {code}: {self._said()}")

    def _verdict(self) -> str:
        if self.writers.unmeant:
            return f"a write failed that was not meant to: {self.writers.unmeant[0]}"
        found = asyncio.run(compare(self._dsn, self._graph, None, self._mapping))
        expected = asyncio.run(fault_source.expected(self._dsn))
        wrong = [
            str(one)
            for one in found.differences
            if not (one.kind == "missing" and one.key in expected.readings)
        ]
        missing = {one.key for one in found.differences}
        wrong += [f"{key} is there" for key in expected.readings - missing]
        if found.orphans != len(expected.notes):
            wrong.append(f"{found.orphans} orphans, not {len(expected.notes)}")
        self.failed = bool(wrong)
        return "; ".join(wrong[:5])

    def _start(self, verb: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "said.txt").open("ab") as said:
            said.write(f"\n$ {' '.join(verb)}\n".encode())
            said.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "geode_tui", *verb],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def _said(self) -> str:
        return " | ".join((self.folder / "said.txt").read_text(errors="replace").splitlines()[-6:])

    def _environment(self) -> dict[str, str]:
        names = ("STATE", "CONFIG", "CACHE", "DATA")
        own = {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in names}
        return os.environ | own

    def clear(self) -> None:
        """Leave nothing behind: neither slot, nor database, nor files."""
        with contextlib.suppress(asyncpg.PostgresError):
            asyncio.run(_drop(self._lane.server.dsn(), self._database))
        shutil.rmtree(self.folder, ignore_errors=True)


def run_trials(
    numbers: Sequence[int], seed: int, told: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Do some runs, one after the other, on a server of their own."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="geode-followed-") as folder:
        os.chmod(folder, 0o755)
        with Lane(Path(folder), seed) as lane:
            for number in numbers:
                outcomes.append(lane.run(number))
                told(outcomes[-1])
    return outcomes


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _drop(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        slots = await connection.fetch(
            "SELECT slot_name FROM pg_replication_slots WHERE database = $1", database
        )
        for slot in slots:
            await connection.execute("SELECT pg_drop_replication_slot($1)", slot[0])
        await connection.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    finally:
        await connection.close()


async def _save_mapping(dsn: str, path: Path) -> None:
    source = await Source.connect(dsn)
    try:
        mapping = fault_source.mapping_of(await source.catalog())
    finally:
        await source.close()
    await asyncio.to_thread(save, mapping, path)


def _tell(outcome: Outcome) -> None:
    verdict = outcome.why or "equal"
    print(
        f"run {outcome.number}: {outcome.way}, {outcome.kills} kills, {outcome.written:,} writes,"
        f" {outcome.seconds:.1f} s: {verdict}",
        file=sys.stderr,
        flush=True,
    )


def _lane(numbers: Sequence[int], seed: int) -> list[Outcome]:
    return run_trials(numbers, seed, _tell)


def main() -> int:
    """Do the runs and print the table; exit 1 when anything differs."""
    runs = len(WAYS) * (int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    first = int(os.environ.get("FIRST", "0"))
    lanes = min(runs, int(os.environ.get("LANES", "2")))
    print(f"seed {seed}", file=sys.stderr, flush=True)
    numbers = range(first, first + runs)
    began = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    # Of each pair of a slot and an outbox both go to one lane.
    parts = [[n for n in numbers if n // len(WAYS) % lanes == lane] for lane in range(lanes)]
    with ProcessPoolExecutor(lanes, mp_context=spawning) as pool:
        found = [o for part in pool.map(_lane, parts, [seed] * lanes) for o in part]
    for way in WAYS:
        some = [o for o in found if o.way == way]
        print(
            f"{way:8}{len(some):6} runs, {sum(not o.why for o in some):4} equal,"
            f" {sum(o.kills for o in some):4} kills, {sum(o.written for o in some):8,} writes"
        )
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    return 0 if all(not o.why for o in found) else 1


if __name__ == "__main__":
    sys.exit(main())
