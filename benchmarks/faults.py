"""`python -m benchmarks.faults [trials]`: break runs in every way, resume them, count what is lost.

Each trial migrates a small database of many kinds of keys in a process of its own and breaks it:
the process is killed at a named point or at a random moment, the source restarts or ends its
sessions, the disk of the graph or of the journal is full. In most trials rows change before the
run goes on, in some it is killed once more. Then it is resumed until it ends, and every row and
every node are compared by tests/independent_comparison.py, which shares no code with the product.

SEED=n repeats the trials of a seed, FIRST=n begins with trial n, LANES=n runs n side by side,
KEEP=folder keeps the journal and the graph of the trials that did not survive.
"""

from __future__ import annotations

import asyncio
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

from benchmarks import fault_source, faulty_run
from benchmarks.faulty_run import JOURNAL, REACHED, TARGET
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.file import save
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.source.postgres import Source
from tests.independent_comparison import compare

TRIALS = 208
MOST_RESUMES = 8
_HUNG_SECONDS = 90.0
_DISK_BYTES = 64 * 1024 * 1024
_TEMPLATE = "faults"
# Runs are forked from a process that has imported all: half a second less for each.
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["benchmarks.faulty_run"])

KINDS = (
    "killed before a journal write",
    "killed inside a journal write",
    "killed after a journal write",
    "killed before a graph write",
    "killed after a graph write",
    "killed at a random moment",
    "killed twice",
    "source restarted (fast)",
    "source restarted (immediate)",
    "worker's session terminated",
    "snapshot's session terminated",
    "all sessions terminated",
    "graph's disk full",
    "journal's disk full",
)
_BREAKS_SOURCE = tuple(kind for kind in KINDS if "source" in kind or "terminated" in kind)
_WRITES = (
    "EmbeddedGraph.write_nodes",
    "EmbeddedGraph.write_relationships",
    "Chunks.start",
    "Chunks.finish",
)


@dataclass(frozen=True)
class Outcome:
    """What became of a trial; `why` says what was lost, empty where nothing was."""

    number: int
    kind: str
    why: str = ""
    resumes: int = 0
    changed: bool = False
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        """Whether nothing was lost, doubled or different."""
        return not self.why


class Lane:
    """A PostgreSQL of its own, and trials on copies of one database, one after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._link = folder / "s"
        self._server = EmbeddedPostgres(folder / "postgres")
        self._disks = _may_mount(folder)
        self._new: Counter[str] = Counter()
        self._again: Counter[str] = Counter()
        self._seconds = 1.0

    def __enter__(self) -> Self:
        self._server.start()
        self._show_socket()
        asyncio.run(_run(self._server.dsn(), f"CREATE DATABASE {_TEMPLATE}"))
        asyncio.run(_run(self._server.dsn(_TEMPLATE), fault_source.SQL))
        asyncio.run(self._save_mapping())
        self._calibrate()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()

    def run(self, number: int) -> Outcome:
        """Do the trial of that number; one whose last change came too late is done anew."""
        kind = KINDS[number % len(KINDS)]
        begun = time.monotonic()
        for attempt in range(5):
            trial = _Trial(self, number, kind, random.Random(f"{self._seed}/{number}/{attempt}"))
            try:
                why = trial.run()
                if why and (kept := os.environ.get("KEEP")):
                    shutil.copytree(trial.folder, Path(kept) / f"trial-{number}-{attempt}")
            finally:
                trial.clear()
            if why is not None:
                break
        else:
            why = "no change was in time in five attempts"
        seconds = time.monotonic() - begun
        return Outcome(number, kind, why, trial.resumes, trial.changed is not None, seconds)

    # -- what trials ask of a lane -----------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where the trials have their folders."""
        return self._folder

    @property
    def mapping(self) -> Path:
        """The mapping of all trials."""
        return self._folder / "mapping.yaml"

    @property
    def has_disks(self) -> bool:
        """Whether a trial can have a small disk of its own."""
        return self._disks

    @property
    def seconds(self) -> float:
        """How long a run takes that nobody breaks."""
        return self._seconds

    def dsn(self, database: str) -> str:
        """A database by a path that stays the same when the server restarts."""
        host = quote(str(self._link), safe="/")
        return f"postgresql://postgres@/{database}?host={host}&port=5432"

    def direct(self, database: str) -> str:
        """The same by the server's own path."""
        return self._server.dsn(database)

    def point(self, rng: random.Random, owners: Sequence[str], again: bool) -> tuple[str, int]:
        """A point that such a run meets, and a number of a call of it."""
        counts = self._again if again else self._new
        met = sorted(name for name, n in counts.items() if n and name.split(".")[0] in owners)
        name = rng.choice(met)
        return name, rng.randint(1, counts[name])

    def restart(self, fast: bool, meanwhile: Callable[[str], None], database: str) -> None:
        """Restart the server; `meanwhile` is done before anybody else can come back."""
        self._link.unlink()
        process = self._server.pid
        assert process is not None
        if not fast:
            os.kill(process, signal.SIGQUIT)
            _wait_until(lambda: not self._server.running)
        self._server.stop()
        self._server.start()
        meanwhile(self._server.dsn(database))
        self._show_socket()

    def terminate(
        self, kind: str, rng: random.Random, meanwhile: Callable[[str], None], database: str
    ) -> None:
        """End sessions of a run; `meanwhile` is done before they can come back."""
        self._link.unlink()
        places = {
            "worker's session terminated": "place >= 2 ORDER BY random() LIMIT 1",
            "snapshot's session terminated": "place = 1",
            "all sessions terminated": "true",
        }
        sql = _TERMINATE + places[kind]
        asyncio.run(_run(self._server.dsn(database), sql))
        if kind != "worker's session terminated":
            meanwhile(self._server.dsn(database))
        self._show_socket()

    def _show_socket(self) -> None:
        folder = parse_qs(urlsplit(self._server.dsn()).query)["host"][0]
        self._link.symlink_to(folder)

    async def _save_mapping(self) -> None:
        source = await Source.connect(self._server.dsn(_TEMPLATE))
        try:
            save(fault_source.mapping_of(await source.catalog()), self.mapping)
        finally:
            await source.close()

    def _calibrate(self) -> None:
        """How often a run meets each point: a new one, and one that goes on after changes."""
        trial = _Trial(self, -1, "", random.Random(self._seed))
        begun = time.monotonic()
        self._new = trial.met(None)
        self._seconds = time.monotonic() - begun
        trial.clear()
        trial = _Trial(self, -2, "", random.Random(self._seed))
        number = max(1, self._new["Chunks.finish"] * 2 // 3)
        fault = {"point": "Chunks.finish", "when": "after", "number": number, "do": "kill"}
        trial.attempt(None, fault)
        trial.change(self.direct(trial.database))
        self._again = trial.met(1)
        trial.clear()


@dataclass
class _Trial:
    """One run from its begin to its end, broken on the way."""

    lane: Lane
    number: int
    kind: str
    rng: random.Random
    resumes: int = 0
    changed: int | None = None
    _told: list[Any] = field(default_factory=list)
    _full: Path | None = None

    def __post_init__(self) -> None:
        self.database = f"trial_{self.number + 10}"
        self.folder = self.lane.folder / self.database
        for name in ("journal", "graph"):
            (self.folder / name).mkdir(parents=True)
        shutil.copy(self.lane.mapping, self.folder / "mapping.yaml")
        (self.folder / "stderr").touch()
        admin = self.lane.direct("postgres")
        asyncio.run(_run(admin, f"CREATE DATABASE {self.database} TEMPLATE {_TEMPLATE}"))

    def clear(self) -> None:
        """Remove what the trial made."""
        admin = self.lane.direct("postgres")
        asyncio.run(_run(admin, f"DROP DATABASE {self.database} WITH (FORCE)"))
        shutil.rmtree(self.folder)

    def run(self) -> str | None:
        """Break, resume, compare: why it did not survive, empty where it did.

        None where the source was changed after the last snapshot, so that nobody can tell.
        """
        with self._disk():
            why = self._run()
            return why if why else asyncio.run(self._compare())

    def _run(self) -> str:
        faults: list[Callable[[], dict[str, Any] | None]] = [self._first_fault]
        if self.kind == "killed twice" or self.rng.random() < 0.25:
            faults.append(self._second_fault)
        changes = self.rng.random() < 0.7
        while True:
            record = self._record()
            fault = faults.pop(0)() if faults else None
            ended = self.attempt(record.number if record else None, fault)
            record = self._record()
            if ended:
                return f"{ended} {fault}"
            if record is not None and not record.resumable:
                return ""
            self.resumes += 1
            if self.resumes > MOST_RESUMES:
                return f"{self.resumes - 1} resumes did not end it: {self._told[-1:]}"
            if changes and self.rng.random() < 0.8:
                self.change(self.lane.direct(self.database))

    def change(self, dsn: str) -> None:
        """Change some rows of the source."""
        self.changed = asyncio.run(fault_source.change(dsn, self.rng))

    def met(self, run: int | None) -> Counter[str]:
        """How often a run that nobody breaks meets each point."""
        ended = self.attempt(run, None)
        if ended or not self._told or self._told[-1][0]:
            raise RuntimeError(f"a run that nobody breaks: {ended} {self._told[-1:]}")
        return Counter(self._told[-1][1])

    # -- one process -------------------------------------------------------------------------------

    def attempt(self, run: int | None, fault: dict[str, Any] | None) -> str:
        """Begin the run or go on with it, with a fault; says what must not be."""
        seconds = fault.pop("seconds", None) if fault else None
        wanted = {
            "folder": str(self.folder),
            "dsn": self.lane.dsn(self.database),
            "run": run,
            "fault": fault if fault and seconds is None else {},
        }
        pipe, theirs = _FORKING.Pipe()
        child = _FORKING.Process(target=faulty_run.run, args=(wanted, theirs))
        child.start()
        theirs.close()
        late = threading.Timer(_HUNG_SECONDS if seconds is None else seconds, child.kill)
        late.start()
        try:
            self._follow(pipe)
            child.join()
        finally:
            late.cancel()
            child.kill()
            child.join()
            pipe.close()
        code = child.exitcode
        if code == 4:
            return f"defect: {self._told[-1][0]}"
        killed = fault is not None and (seconds is not None or fault["do"] == "kill")
        if code == -signal.SIGKILL and not killed:
            return "it hung"
        if code not in (0, 3, -signal.SIGKILL):
            return f"it ended with {code}: {(self.folder / 'stderr').read_text()[-500:]}"
        return ""

    def _follow(self, pipe: Connection) -> None:
        with suppress(EOFError, ConnectionError):
            while True:
                told = pipe.recv()
                if told == REACHED:
                    self._break()
                    pipe.send("go on")
                else:
                    self._told.append(told)

    def _break(self) -> None:
        """The fault that comes from outside, while the process waits."""
        if "full" in self.kind:
            self._fill()
        elif "restarted" in self.kind:
            self.lane.restart("fast" in self.kind, self._change_some, self.database)
        else:
            self.lane.terminate(self.kind, self.rng, self._change_some, self.database)

    def _change_some(self, dsn: str) -> None:
        if self.rng.random() < 0.6:
            self.change(dsn)

    # -- faults ------------------------------------------------------------------------------------

    def _first_fault(self) -> dict[str, Any]:
        if self.kind == "killed at a random moment":
            return {"seconds": self.rng.uniform(0.3, self.lane.seconds)}
        if self.kind in _BREAKS_SOURCE or "full" in self.kind:
            owners = ("Chunks", "EmbeddedGraph")
            do = "limit" if "full" in self.kind and not self.lane.has_disks else "tell"
            return self._fault(owners, self.rng.choice(("before", "after")), do, False, _WRITES)
        return self._kill(self.kind, again=False)

    def _second_fault(self) -> dict[str, Any]:
        kind = self.rng.choice([kind for kind in KINDS if kind.startswith("killed ")])
        if "random" in kind:
            return {"seconds": self.rng.uniform(0.3, self.lane.seconds)}
        return self._kill(kind, again=True)

    def _kill(self, kind: str, again: bool) -> dict[str, Any]:
        owners = tuple(TARGET) if "graph" in kind else tuple(JOURNAL)
        if "inside" in kind:
            return self._fault(("Store",), "inside", "kill", again)
        when = "before" if "before" in kind else "after"
        return self._fault(owners, when, "kill", again)

    def _fault(
        self, owners: Sequence[str], when: str, do: str, again: bool, only: Sequence[str] = ()
    ) -> dict[str, Any]:
        while True:
            point, number = self.lane.point(self.rng, owners, again)
            if not only or point in only:
                return {"point": point, "when": when, "number": number, "do": do}

    # -- disks -------------------------------------------------------------------------------------

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """A small disk for the graph or the journal, where one can be full."""
        if "full" not in self.kind or not self.lane.has_disks:
            yield
            return
        self._full = self.folder / ("graph" if "graph" in self.kind else "journal")
        size = f"size={_DISK_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", self._full], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", self._full], check=True)

    def _fill(self) -> None:
        """Leave a few bytes of the disk; the process finds it full, and ends."""
        assert self._full is not None
        left = self.rng.choice((0, 4_096, 16_384, 65_536))
        free = shutil.disk_usage(self._full).free
        with suppress(OSError), open(self._full / "filler", "wb", buffering=0) as filler:
            filler.write(b"\0" * max(0, free - left))

    def _record(self) -> RunRecord | None:
        """The run as journaled; a full disk is emptied before."""
        if self._full is not None:
            (self._full / "filler").unlink(missing_ok=True)
        if not (self.folder / "journal" / "journal.sqlite3").exists():
            return None
        journal = Journal(self.folder / "journal" / "journal.sqlite3")
        try:
            return next(iter(journal.runs()), None)
        finally:
            journal.close()

    # -- what came of it ---------------------------------------------------------------------------

    async def _compare(self) -> str | None:
        """What is lost, doubled or different, in the graph or in the journal."""
        dsn = self.lane.direct(self.database)
        record = self._record()
        assert record is not None
        if self.changed is not None and not await _is_seen(dsn, self.changed, record.fence):
            return None
        wanted = await fault_source.expected(dsn)
        graph = self.folder / "graph" / "graph.grafeo"
        found = await compare(dsn, graph, None, self.folder / "mapping.yaml")
        missing = {d.key for d in found.differences if d.kind == "missing"}
        wrong = [str(d) for d in found.differences if d.kind != "missing"]
        if wrong or missing != wanted.readings:
            lost = sorted(missing ^ wanted.readings)
            return f"{found.verdict}; missing {lost[:3]}, wrong {wrong[:3]}"
        return self._journal_says(record, wanted, [entity.found for entity in found.entities])

    def _journal_says(
        self, record: RunRecord, wanted: fault_source.Expected, rows: list[int]
    ) -> str:
        journal = Journal(self.folder / "journal" / "journal.sqlite3")
        try:
            if record.state != "done":
                return f"the run is {record.state}: {record.error}"
            if (broken := journal.audit.broken_at()) is not None:
                return f"the audit chain breaks at {broken}"
            letters = Counter(
                (letter.error_class, letter.key)
                for letter in journal.dead_letters.of(record.number, 1_000_000)
            )
            expected = Counter([("value", key) for key in wanted.readings])
            expected.update([("orphan", key) for key in wanted.notes])
            if letters != expected:
                return f"dead letters: {letters - expected} too many, {expected - letters} missing"
            told = [entity.rows for entity in journal.chunks.entities(record.number)]
            if sorted(told) != sorted(rows):
                return f"the journal counts {sorted(told)} rows, the graph holds {sorted(rows)}"
        finally:
            journal.close()
        return ""


_TERMINATE = """
SELECT pg_terminate_backend(pid, 5000) FROM (
  SELECT pid, row_number() OVER (ORDER BY backend_start) - 1 AS place FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'geode-tui') s WHERE
"""


async def _run(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _is_seen(dsn: str, transaction: int, fence: str) -> bool:
    """Whether a snapshot was taken after a transaction."""
    connection = await asyncpg.connect(dsn)
    try:
        sql = "SELECT pg_visible_in_snapshot($1::text::xid8, $2::text::pg_snapshot)"
        return bool(await connection.fetchval(sql, str(transaction), fence))
    finally:
        await connection.close()


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        if time.monotonic() > limit:
            raise RuntimeError("waited in vain")
        time.sleep(0.005)


def _may_mount(folder: Path) -> bool:
    """Whether we may make small disks (root may); else the sizes of files are limited."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return False
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", place], check=True)
    return True


def run_trials(numbers: Sequence[int], seed: int, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Do the trials of these numbers in one lane; `told` is given each outcome at once."""
    # A socket's path has room for about a hundred bytes.
    folder = Path(tempfile.mkdtemp(prefix="geode-faults-"))
    outcomes = []
    try:
        with Lane(folder, seed) as lane:
            for number in numbers:
                outcomes.append(lane.run(number))
                told(outcomes[-1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _tell(outcome: Outcome) -> None:
    verdict = "survived" if outcome.survived else f"LOST: {outcome.why}"
    changed = ", rows changed" if outcome.changed else ""
    print(
        f"trial {outcome.number}: {outcome.kind}{changed}, {outcome.resumes} resumes,"
        f" {outcome.seconds:.1f} s: {verdict}",
        file=sys.stderr,
        flush=True,
    )


def _lane(numbers: Sequence[int], seed: int) -> list[Outcome]:
    return run_trials(numbers, seed, _tell)


def print_table(outcomes: Sequence[Outcome]) -> None:
    """The table: fault, trials, how many survived, in how many rows changed, resumes."""
    print(f"{'fault':34}{'trials':>8}{'survived':>10}{'changed':>9}{'resumes':>9}")
    for kind in (*KINDS, ""):
        some = [o for o in outcomes if o.kind == kind or not kind]
        if some:
            survived, changed = sum(o.survived for o in some), sum(o.changed for o in some)
            print(
                f"{kind or 'all':34}{len(some):8}{survived:10}{changed:9}"
                f"{sum(o.resumes for o in some):9}"
            )


def main() -> int:
    """Do the trials and print the table; exit 1 when anything is lost, doubled or different."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    first = int(os.environ.get("FIRST", "0"))
    lanes = min(trials, int(os.environ.get("LANES", "2")))
    print(f"seed {seed}", file=sys.stderr, flush=True)
    numbers = range(first, first + trials)
    begun = time.monotonic()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(lanes, mp_context=spawning) as pool:
        parts = pool.map(_lane, [numbers[n::lanes] for n in range(lanes)], [seed] * lanes)
        outcomes = [outcome for part in parts for outcome in part]
    print_table(outcomes)
    print(f"seed {seed}, {time.monotonic() - begun:.0f} s")
    return 0 if all(outcome.survived for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
