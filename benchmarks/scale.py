"""How a backfill grows with the table, and with the workers.

`python -m benchmarks memory [rows …] [--graph]`: the peak of memory at one and at ten million rows
with files as the target, and with `--graph` the embedded graph less what it takes itself; how long
the first million rows take, and the last. `python -m benchmarks workers [rows]`: how busy the cores
are with one worker and with two, and how much faster two are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import grafeo

from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.file import save
from geode_tui.mapping.infer import infer
from geode_tui.source.postgres import Source

MILLION = 1_000_000
_SAMPLE_SECONDS = 0.05
_SQL = """
CREATE TABLE big (id bigint PRIMARY KEY, name text NOT NULL, price numeric(10, 2), at timestamptz,
  active bool) WITH (autovacuum_enabled = off);
INSERT INTO big SELECT i, 'name of ' || i, i % 100000 / 100.0,
  timestamptz '2024-01-01' + i * interval '1 second', i % 3 = 0
FROM generate_series(1, {rows}) i;
VACUUM (ANALYZE) big;
"""
_TABLE_ROWS = "SELECT id, name, price::text, at::text, active FROM big ORDER BY id"


@dataclass
class Watch:
    """What a process and its children take while they live: memory in bytes, CPU of the machine."""

    pid: int
    peak: int = 0
    single_peak: int = 0
    cores: list[tuple[float, list[int], list[int]]] = field(default_factory=list)

    def look(self) -> None:
        """Take one sample; a core's busy and all ticks."""
        sizes = [_resident(pid) for pid in (self.pid, *_descendants(self.pid))]
        self.peak = max(self.peak, sum(sizes))
        self.single_peak = max(self.single_peak, *sizes)
        busy, every = [], []
        for line in Path("/proc/stat").read_text().splitlines()[1:]:
            name, *ticks = line.split()
            if not name.startswith("cpu"):
                break
            numbers = [int(tick) for tick in ticks[:8]]
            every.append(sum(numbers))
            busy.append(sum(numbers) - numbers[3] - numbers[4])
        self.cores.append((time.time(), busy, every))

    def busy(self, begin: float, end: float) -> list[float]:
        """The share of the time that each core was busy from `begin` to `end`."""
        some = [sample for sample in self.cores if begin <= sample[0] <= end]
        (_, busy, every), (_, busy_then, every_then) = some[0], some[-1]
        return [
            (b2 - b1) / max(1, e2 - e1)
            for b1, b2, e1, e2 in zip(busy, busy_then, every, every_then, strict=True)
        ]


@dataclass(frozen=True)
class Measured:
    """A run: seconds of its backfill, of its first and last million rows; peaks in bytes."""

    rows: int
    seconds: float
    first: float
    last: float
    peak: int
    single_peak: int
    busy: list[float]


def memory(arguments: Sequence[str]) -> int:
    """Print the peaks of memory and their ratio."""
    with_graph = "--graph" in arguments
    sizes = [int(each) for each in arguments if not each.startswith("--")] or [
        MILLION,
        10 * MILLION,
    ]
    found: dict[str, list[Measured]] = {"files": [], "graph": []}
    alone = []
    for rows in sizes:
        with database(rows) as (dsn, folder):
            found["files"].append(_measured(_export(dsn, folder, 2), folder, rows))
            _print("files", found["files"][-1])
            if with_graph:
                found["graph"].append(_measured(_migrate(dsn, folder), folder, rows))
                _print("graph", found["graph"][-1])
                alone.append(_alone(dsn, folder))
                print(f"the graph alone: {_mb(alone[-1])}", flush=True)
    _print_ratio("files", [measured.peak for measured in found["files"]])
    if with_graph:
        pairs = zip(found["graph"], alone, strict=True)
        _print_ratio("graph, its own growth taken off", [m.peak - own for m, own in pairs])
    return 0


def workers(arguments: Sequence[str]) -> int:
    """Print how busy the cores are with one worker and with two, and the ratio of the rates."""
    rows = int(arguments[0]) if arguments else MILLION
    with database(rows) as (dsn, folder):
        found = [_measured(_export(dsn, folder, count), folder, rows) for count in (1, 2)]
    for count, measured in zip((1, 2), found, strict=True):
        busy = ", ".join(f"{share:.0%}" for share in measured.busy)
        rate = rows / measured.seconds
        print(f"{count} workers: {measured.seconds:.1f} s, {rate:,.0f} rows/s, cores busy {busy}")
    print(f"ratio of two workers to one: {found[0].seconds / found[1].seconds:.2f}")
    return 0


@contextmanager
def database(rows: int) -> Iterator[tuple[str, Path]]:
    """A table of so many rows, and a folder with its mapping."""
    with tempfile.TemporaryDirectory(prefix="geode-bench-") as name:
        folder = Path(name)
        with EmbeddedPostgres(folder / "postgres") as server:
            print(f"… {rows:,} rows", file=sys.stderr, flush=True)
            dsn = server.dsn()
            asyncio.run(_prepare(dsn, rows, folder / "mapping.yaml"))
            yield dsn, folder


async def _prepare(dsn: str, rows: int, mapping: Path) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in _SQL.replace("{rows}", str(rows)).split(";\n"):
        if statement.strip():
            await connection.execute(statement)
    await connection.close()
    source = await Source.connect(dsn)
    save(infer(await source.catalog()), mapping)
    await source.close()


def _export(dsn: str, folder: Path, parallel: int) -> list[str]:
    output = folder / f"export-{parallel}.jsonl"
    return ["export", "--output", str(output), "--parallel", str(parallel), *_common(dsn, folder)]


def _migrate(dsn: str, folder: Path) -> list[str]:
    return ["migrate", "--target", str(folder / "graph.grafeo"), *_common(dsn, folder)]


def _common(dsn: str, folder: Path) -> list[str]:
    return ["--source", dsn, "--mapping", str(folder / "mapping.yaml")]


def _measured(command: Sequence[str], folder: Path, rows: int) -> Measured:
    """Run a command line with a journal of its own to its end, and look at it all the time."""
    state = Path(tempfile.mkdtemp(prefix="state-", dir=folder))
    watch = _watched([sys.executable, "-m", "geode_tui", *command], state)
    journal = sqlite3.connect(state / "geode-tui" / "journal.sqlite3")
    chunks = journal.execute("SELECT started, ended, rows FROM chunk ORDER BY ended").fetchall()
    journal.close()
    done, ends = 0, []
    for _, ended, count in chunks:
        done += count
        ends.append((done, ended))
    if done != rows:
        raise SystemExit(f"{done} of {rows} rows were moved")
    begin, end = min(started for started, _, _ in chunks), ends[-1][1]
    part = min(MILLION, rows)
    first = next(at for count, at in ends if count >= part) - begin
    before_last = max((at for count, at in ends if count <= rows - part), default=begin)
    return Measured(
        rows,
        end - begin,
        first,
        end - before_last,
        watch.peak,
        watch.single_peak,
        watch.busy(begin, end),
    )


def _watched(command: Sequence[str], state: Path) -> Watch:
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    watch = Watch(child.pid)
    while child.poll() is None:
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            watch.look()
        time.sleep(_SAMPLE_SECONDS)
    if child.returncode:
        raise SystemExit(f"{' '.join(command[2:5])} … ended with {child.returncode}")
    return watch


def _alone(dsn: str, folder: Path) -> int:
    """The peak of a process that gives the same rows to the graph's batch calls, less its start."""
    command = [sys.executable, "-m", "benchmarks.scale", dsn, str(folder / "alone.grafeo")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


async def _load(dsn: str, place: str) -> int:
    """Load the table by the graph's batch calls alone; the growth of memory, in bytes."""
    graph = grafeo.GrafeoDB(place)
    graph.set_checkpoint_triggers(wal_bytes=256 * 1024 * 1024)
    names = ("id", "name", "price", "at", "active", "_fingerprint", "_run", "_step")
    connection = await asyncpg.connect(dsn)
    begin, stop = _resident(os.getpid()), threading.Event()
    peaks = [begin]

    def look() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            peaks.append(max(peaks.pop(), _resident(os.getpid())))

    watcher = threading.Thread(target=look)
    watcher.start()
    graph.execute("CREATE INDEX key FOR (n:Big) ON (n.id)")
    async with connection.transaction():
        cursor = await connection.cursor(_TABLE_ROWS)
        while rows := await cursor.fetch(1_000):
            own = [(row[0] * 2_654_435_761 % 2**48, "0123456789ab", 1) for row in rows]
            nodes = [
                dict(zip(names, (*r, *o), strict=True)) for r, o in zip(rows, own, strict=True)
            ]
            graph.batch_create_nodes_with_props("Big", nodes)
    graph.wal_checkpoint()
    stop.set()
    watcher.join()
    await connection.close()
    graph.close()
    return peaks[0] - begin


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _print(name: str, measured: Measured) -> None:
    print(
        f"{name}: {measured.rows:,} rows in {measured.seconds:.1f} s; peak of all processes"
        f" {_mb(measured.peak)}, of the biggest {_mb(measured.single_peak)};"
        f" first million {measured.first:.1f} s, last {measured.last:.1f} s",
        flush=True,
    )


def _print_ratio(name: str, peaks: Sequence[int]) -> None:
    shown = ", ".join(_mb(peak) for peak in peaks)
    print(f"{name}: peaks {shown}; the last is {peaks[-1] / peaks[0]:.2f} of the first")


def _mb(size: int) -> str:
    return f"{size / 1024 / 1024:,.0f} MB"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_load(*sys.argv[1:3]))))
