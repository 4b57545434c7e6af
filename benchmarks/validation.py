"""`python -m benchmarks validation [rows [way …]]`: what it costs to compare all, to find little.

A table of so many rows is moved into an embedded graph; then everything is compared by its stored
digests and by digests made anew, each in a process of its own, and the seconds are set against
those of the backfill; so are those of a whole `validate`, with the ledger and all that always
belongs to it. The embedded graph keeps in memory what was read of it once, be it the list of its
nodes: what that takes is told apart (`--deep` reads all of it) from what the comparison takes.
Then 10 rows are changed at random places: how many rows were looked at one by one to name them,
and what it cost. In the end every row of the source is changed, so that all differs: what is told
then must not take more memory either. With ways (`stored`, `ledger`, `deep`, `validate`) only
those are measured of the good graph.
1 when a row is not named, or one that is right, or what was promised is not kept.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import asyncpg

from benchmarks.scale import database
from geode_tui.mapping.file import load
from geode_tui.mapping.model import Mapping
from geode_tui.migration.events import Phase
from geode_tui.migration.plan import make_plan
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.validating import ValidateRequest
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.target.model import NodeShape, Target
from geode_tui.target.patterns import node_pattern
from geode_tui.validation.compare import always
from geode_tui.validation.digests import DigestComparison, Digests
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.sides import SCANNED_AT_ONCE
from geode_tui.validation.verify import take_ledger

MILLION = 1_000_000
DAMAGED = 10
MOST_TIME, MOST_READ = 1 / 3, 0.01
"""What is promised: shares of the backfill's time, and of both sides' ten million rows each."""
RETRIES = (0.0,)
LOOKS = 1 + len(RETRIES)
WAYS = ("ledger", "stored", "deep", "validate")
_TAKEN = {
    "grown_mb": "MB of it the comparison's",
    "read_mb": "MB the graph itself took to be read before",
    "read": "rows of both sides looked at one by one, at each look",
}


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 0 when all that was promised is kept."""
    rows = int(arguments[0]) if arguments else MILLION
    ways = dict.fromkeys(("stored", *arguments[1:])) if arguments[1:] else WAYS
    with database(rows) as (dsn, folder):
        moved = _child("backfill", dsn, folder)["seconds"]
        print(f"backfill of {rows:,} rows: {moved:.1f} s", flush=True)
        found = {way: _looked(way, way, dsn, folder, moved) for way in ways}
        numbers = random.Random(rows).sample(range(1, rows + 1), DAMAGED)
        _damage(folder, numbers)
        damaged = _looked("stored", "stored, after damage", dsn, folder, moved)
        asyncio.run(_change_all(dsn))
        changed = _looked("stored", "stored, all rows changed", dsn, folder, moved)
    named = {int(key.removeprefix("id=")) for key in damaged["keys"]}
    share = found["stored"]["seconds"] / moved
    read = LOOKS * damaged["read"] / rows / 2
    few = read <= MOST_READ or rows < 10 * MILLION
    print(f"{len(named & set(numbers))} of {DAMAGED} damaged rows named, {len(named)} in all")
    kept = (
        _promise("full digest validation by the backfill", f"{share:.2f}", share <= MOST_TIME),
        _promise(f"rows looked at one by one in {LOOKS} looks", f"{read:.3%}", few),
        named == set(numbers) and not changed["balanced"],
        all(one["balanced"] for one in found.values()),
    )
    return 0 if all(kept) else 1


def _promise(what: str, figure: str, kept: bool) -> bool:
    print(f"{what}: {figure}{'' if kept else ', which is more than was promised'}")
    return kept


def _looked(way: str, name: str, dsn: str, folder: Path, backfill: float) -> dict[str, Any]:
    """Compare in one of the ways, and print what it cost."""
    found = _child(way, dsn, folder)
    verdict = "balanced" if found["balanced"] else f"{found['mismatched']:,} named as mismatched"
    print(
        f"{name:26} {found['seconds']:7.1f} s, {found['seconds'] / backfill:.2f} of the backfill; "
        f"{verdict}; peak {found['peak_mb']:,.0f} MB",
        flush=True,
    )
    for key, words in _TAKEN.items():
        if found.get(key):
            print(f"{'':26} {found[key]:7,.0f} {words}", flush=True)
    return found


def _child(way: str, dsn: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.validation", way, dsn, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _damage(folder: Path, numbers: Sequence[int]) -> None:
    """Change the values of some nodes, and their digests with them, as a wrong writer would."""
    graph = open_target(str(folder / "graph.grafeo"), None, create=False)
    for number in numbers:
        graph.query(f"MATCH (n:Big {{id: {number}}}) SET n.name = 'wrong', n._fp = {number}")
    graph.close()


async def _change_all(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE big SET active = NOT coalesce(active, false)")
    finally:
        await connection.close()


def backfill(dsn: str, folder: Path) -> dict[str, Any]:
    """Move all rows; the seconds of the backfill."""
    return {"seconds": _run(RunRequest(*_move(dsn, folder)), folder, "backfill")[0]}


def validate(dsn: str, folder: Path) -> dict[str, Any]:
    """A whole validation as the command makes it; the seconds without those to open the graph."""
    seconds, ledger = _run(ValidateRequest(*_move(dsn, folder)), folder, "verify")
    return _told(ledger, seconds)


def _move(dsn: str, folder: Path) -> tuple[str, str, Mapping]:
    return dsn, str(folder / "graph.grafeo"), load(folder / "mapping.yaml").mapping


def _run(request: RunRequest, folder: Path, timed: Phase) -> tuple[float, Ledger]:
    """Drive a run to its end; the seconds of one of its phases."""
    runner = Runner(request, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    if runner.error is not None or runner.ledger is None:
        raise SystemExit(str(runner.error))
    phase = next(phase for phase in runner.snapshot().phases if phase.name == timed)
    assert phase.started is not None
    assert phase.ended is not None
    return phase.ended - phase.started, runner.ledger


async def compare(way: str, dsn: str, folder: Path) -> dict[str, Any]:
    """Take the ledger, or compare all by digests; what it cost beside the open graph."""
    source = await Source.connect(dsn)
    plan = make_plan(load(folder / "mapping.yaml").mapping, await source.catalog())
    reader = await source.snapshot(sorted({entity.rule.table for entity in plan.entities}))
    target = open_target(str(folder / "graph.grafeo"), None, create=False, read_only=True)
    opened = _megabytes("VmRSS")
    for entity in plan.entities:
        _read(target, entity, whole=way == "deep")
    before, begun = _forget_peak(), time.perf_counter()
    if way == "ledger":
        ledger = await take_ledger(reader, target, plan.entities, {})
    else:
        digests = Digests(always(reader), deep=way == "deep", retries=RETRIES)
        compare_all = DigestComparison(target, {}, None, True, digests, lambda entity: None)
        empty = await take_ledger(reader, target, [], {})
        ledger = await compare_all.add_to(empty, reader, plan.entities)
    seconds = time.perf_counter() - begun
    target.close()
    await reader.close()
    await source.close()
    return _told(ledger, seconds) | {
        "read_mb": before - opened,
        "grown_mb": _megabytes("VmHWM") - before,
    }


def _read(target: Target, entity: Entity, whole: bool) -> None:
    """Have the graph list its nodes, or with `whole` give back all that it holds."""
    target.query(f"MATCH {node_pattern('n', cast(NodeShape, entity.shape))} RETURN count(n) AS c")
    for _ in target.scan_whole(entity.shape, SCANNED_AT_ONCE) if whole else ():
        pass


def _told(ledger: Ledger, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "balanced": ledger.balanced and not ledger.differences,
        "mismatched": len(ledger.differences),
        "keys": [difference.key for difference in ledger.differences],
        "read": sum(digest.read for digest in ledger.digests),
        "peak_mb": _megabytes("VmHWM"),
    }


def _forget_peak() -> float:
    """What this process holds now, from which on its peak is measured."""
    Path("/proc/self/clear_refs").write_text("5")
    return _megabytes("VmRSS")


def _megabytes(name: str) -> float:
    """What the kernel tells of this process: `VmRSS`, or the peak of it, `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    _way, _dsn, _folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if _way in ("backfill", "validate"):
        _work = backfill if _way == "backfill" else validate
        print(json.dumps(_work(_dsn, _folder)))
    else:
        print(json.dumps(asyncio.run(compare(_way, _dsn, _folder))))
