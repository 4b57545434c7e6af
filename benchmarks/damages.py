"""`python -m benchmarks.damages [trials a kind]`: damage good graphs, count what goes unnoticed.

A small database of every type is migrated once. Each trial copies the graph, does one of the kinds
of damage of `benchmarks.damage` to it at a random place, and validates it: whether that is found,
and whether the very key is named and nothing else. No sample of rows is read back besides: the
digests and the counts must tell all. Of each kind one more trial is validated by the command line,
which must end with 4 and name the key in its document. SEED=n repeats the trials of a seed,
LANES=n runs n kinds side by side.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast
from unittest import mock

import asyncpg
import grafeo

from benchmarks import damage_source
from benchmarks.damage import KINDS, Damage, Kind, Place, missed
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_DIFFERS
from geode_tui.mapping.extract import Extract
from geode_tui.mapping.file import load
from geode_tui.migration import validating
from geode_tui.migration.journal import Journal
from geode_tui.migration.left_out import left_out_of
from geode_tui.migration.plan import make_plan
from geode_tui.source.postgres import SnapshotHolder, Source
from geode_tui.target import open_target
from geode_tui.validation import verify
from geode_tui.validation.compare import always
from geode_tui.validation.digests import Digests
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.sides import RowReader
from tests.command_line import CommandLine
from tests.migrate import migrate, read_catalog

TRIALS = 100
_GRAPH = "graph.grafeo"
_SHOWN = 3


@dataclass(frozen=True)
class Original:
    """A database and the good graph that was made of it, in `folder`."""

    dsn: str
    folder: Path
    entities: tuple[Entity, ...]

    @classmethod
    def make(cls, dsn: str, folder: Path) -> Original:
        """Migrate the database of `damage_source` into a folder."""
        migrate(dsn, folder, damage_source.mapping_of(read_catalog(dsn)))
        return cls.of(dsn, folder)

    @classmethod
    def of(cls, dsn: str, folder: Path) -> Original:
        """What `tests.migrate` made of a database in a folder."""
        mapping = load(folder / "mapping.yaml").mapping
        return cls(dsn, folder, make_plan(mapping, read_catalog(dsn)).entities)

    @property
    def graph_file(self) -> Path:
        """The good graph."""
        return self.folder / _GRAPH

    def copy(self, graph_file: Path) -> Path:
        """A copy of the graph: the file, and the log that may lie beside it."""
        for path in self.folder.glob(f"{_GRAPH}*"):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, graph_file.with_name(graph_file.name + path.name.removeprefix(_GRAPH)))
        return graph_file


class Trials:
    """Trials on copies of one graph, against one snapshot of its source."""

    def __init__(self, original: Original, folder: Path) -> None:
        self._original = original
        self._copy = folder / "damaged.grafeo"
        self._entities = [
            replace(entity, extract=cast(Extract, _Remembered(entity.extract)))
            for entity in original.entities
        ]

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_default_executor(_AtOnce())
        self._source = await Source.connect(self._original.dsn)
        self._holder = await self._source.snapshot([])
        self._reader = _Reader(self._holder)
        self._journal = Journal(self._original.folder / "journal.sqlite3")
        self._left_out = left_out_of(self._journal, str(self._original.graph_file), "").entities
        return self

    async def __aexit__(self, *_: object) -> None:
        self._journal.close()
        await self._holder.close()
        await self._source.close()

    def damaged(self, kind: Kind, seed: object) -> tuple[Path, Damage]:
        """A new copy of the graph, damaged."""
        self._original.copy(self._copy)
        return self._copy, damage(self._copy, self._entities, kind, seed)

    async def good(self) -> bool:
        """Whether nothing is found in the graph that nobody damaged."""
        ledgers = [await self.ledger(self._original.graph_file, deep) for deep in (False, True)]
        return all(ledger.balanced and not ledger.differences for ledger in ledgers)

    async def trial(self, kind: Kind, seed: object) -> str:
        """Damage a copy and validate it; what is not told, empty when all is well."""
        graph_file, done = self.damaged(kind, seed)
        wrong = []
        with mock.patch.object(verify, "SAMPLE_ROWS", 0):
            for deep in (True, False) if kind.plain else (True,):
                if why := missed(await self.ledger(graph_file, deep), done):
                    wrong.append(f"{'deep' if deep else 'plain'}: {why}")
        return f"{done.what}: {'; '.join(wrong)}" if wrong else ""

    def trial_by_command(self, kind: Kind, seed: object) -> str:
        """The same as `trial`, of the command line."""
        graph_file, done = self.damaged(kind, seed)
        wrong = missed_by_command(self._original, graph_file, done, deep=not kind.plain)
        return f"{done.what}: {wrong}" if wrong else ""

    async def ledger(self, graph_file: Path, deep: bool, fresh: bool = False) -> Ledger:
        """Validate a graph; with `fresh` against a new snapshot of the source."""
        if fresh:
            holder = await self._source.snapshot([])
            try:
                return await self._ledger(holder, graph_file, deep)
            finally:
                await holder.close()
        return await self._ledger(self._reader, graph_file, deep)

    async def _ledger(self, reader: RowReader, graph_file: Path, deep: bool) -> Ledger:
        target = open_target(str(graph_file), None, create=False, read_only=True)
        try:
            return await verify.take_ledger(
                reader,
                target,
                self._entities,
                self._left_out,
                same_snapshot=False,
                digests=Digests(always(reader), deep, (0.0,)),
            )
        finally:
            target.close()


def missed_by_command(original: Original, graph_file: Path, done: Damage, deep: bool) -> str:
    """What `geode-tui validate` does not tell of a damage; empty when all is well.

    What differs is looked at again at once. For a main thread only.
    """
    command = validate_command(original, graph_file, deep)
    with mock.patch.object(validating, "RETRIES", (0.0,)):
        ended = CommandLine(graph_file.parent).run_here(*command)
    if ended.code != EXIT_DIFFERS:
        return f"not found: validate ended with {ended.code}"
    told = {(one["entity"], one["key"]) for one in ended.json["differences"]}
    unnamed = [
        str(named)
        for named in done.named
        if not any(one == named.entity and named.is_in(key) for one, key in told)
    ]
    return f"validate does not name {'; '.join(unnamed)}" if unnamed else ""


def validate_command(original: Original, graph_file: Path, deep: bool) -> tuple[str, ...]:
    """The command line that validates a copy of the graph."""
    mapping = original.folder / "mapping.yaml"
    place = ("--target", str(graph_file), "--mapping", str(mapping))
    options = ("--deep", "--json") if deep else ("--json",)
    return ("validate", "--source", original.dsn, *place, *options)


def damage(graph_file: Path, entities: Sequence[Entity], kind: Kind, seed: object) -> Damage:
    """Do a kind of damage to a graph, at a place that the seed gives."""
    database = grafeo.GrafeoDB(str(graph_file))
    try:
        return kind.act(Place(database, entities, random.Random(f"{seed}/{kind.name}")))
    finally:
        database.close()


class _AtOnce(ThreadPoolExecutor):
    """Does everything where it is asked: nothing else waits, and changing threads takes long."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class _Reader:
    """A snapshot that is asked each question once: it answers the same each time."""

    def __init__(self, holder: SnapshotHolder) -> None:
        self._holder = holder
        self._known: dict[str, Sequence[Record]] = {}

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        """The rows of a SELECT."""
        asked = repr((statement, arguments))
        if asked not in self._known:
            self._known[asked] = await self._holder.fetch(statement, *arguments)
        return self._known[asked]


class _Remembered:
    """An extract whose statements are written once: that takes longer than to run them."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract
        self._known: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._extract, name)
        if not (name.endswith("_sql") and callable(found)):
            self.__dict__[name] = found
            return found
        written = cast(Callable[..., str], found)

        def sql(*arguments: Any) -> str:
            asked = repr((name, arguments))
            if asked not in self._known:
                self._known[asked] = written(*arguments)
            return self._known[asked]

        self.__dict__[name] = sql
        return sql


@dataclass(frozen=True)
class _Job:
    """All trials of a kind, for a process of its own."""

    dsn: str
    folder: Path
    kind: str
    seed: int
    trials: int


@functools.cache
def _lane(dsn: str, folder: Path) -> tuple[asyncio.Runner, Trials]:
    """What all jobs of a process share, until it ends."""
    runner, own = asyncio.Runner(), Path(tempfile.mkdtemp(dir=folder))
    return runner, runner.run(Trials(Original.of(dsn, folder), own).__aenter__())


def _done(job: _Job) -> list[str]:
    """What each trial of a job missed; the last one is that of the command line."""
    runner, trials = _lane(job.dsn, job.folder)
    kind = KINDS[job.kind]

    async def work() -> list[str]:
        return [await trials.trial(kind, f"{job.seed}/{n}") for n in range(job.trials)]

    return [*runner.run(work()), trials.trial_by_command(kind, f"{job.seed}/command")]


async def _is_good(original: Original) -> bool:
    async with Trials(original, original.folder) as trials:
        return await trials.good()


def _run(original: Original, seed: int, each: int, lanes: int) -> bool:
    begun = time.monotonic()
    print(f"{len(KINDS)} kinds of damage, {each} trials a kind, SEED={seed}", flush=True)
    if not asyncio.run(_is_good(original)):
        print("differences are found in the graph that nobody damaged")
        return False
    print(f"{'kind':<54}{'trials':>7}{'found':>7}{'named':>7}{'exit 4':>7}")
    unnoticed = 0
    jobs = [_Job(original.dsn, original.folder, kind, seed, each) for kind in KINDS]
    with ProcessPoolExecutor(lanes) as pool:
        for job, (*told, by_command) in zip(jobs, pool.map(_done, jobs), strict=True):
            named = told.count("")
            found = sum("not found" not in why for why in told)
            wrong = [why for why in (*told, by_command) if why]
            unnoticed += len(wrong)
            ended = "no" if by_command else "yes"
            row = f"{job.kind:<54}{each:>7}{found:>7}{named:>7}{ended:>7}"
            print(row, *(f"  {why}" for why in wrong[:_SHOWN]), sep="\n", flush=True)
    seconds, trials = time.monotonic() - begun, (each + 1) * len(KINDS)
    print(f"{unnoticed} of {trials:,} not found or not named, {seconds:,.0f} s")
    return not unnoticed


async def _load(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(damage_source.SQL)
    finally:
        await connection.close()


def main(arguments: Sequence[str]) -> int:
    """Do all trials; 1 when any damage was not found or not named."""
    each = int(arguments[0]) if arguments else TRIALS
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    lanes = int(os.environ.get("LANES") or os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="geode-tui-damages-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "postgres") as server:
            asyncio.run(_load(server.dsn()))
            original = Original.make(server.dsn(), folder)
            return 0 if _run(original, seed, each, lanes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
