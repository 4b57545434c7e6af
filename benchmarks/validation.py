"""`python -m benchmarks validation [rows]`: what it costs to compare all, and to find little.

A table of so many rows is moved into an embedded graph; then everything is compared by its stored
digests and by digests made anew, each in a process of its own, and the seconds are set against
those of the backfill. The embedded graph keeps in memory what was read of it once: what that takes
is told apart (`--deep` reads all of it) from what the comparison takes. Then 10 rows are changed at
random places: how many rows were looked at one by one to name them, and what it cost.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale import database
from geode_tui.mapping.file import load
from geode_tui.migration.plan import make_plan
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.validation.compare import always
from geode_tui.validation.digests import DigestComparison, Digests
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.sides import SCANNED_AT_ONCE
from geode_tui.validation.verify import take_ledger

MILLION = 1_000_000
DAMAGED = 10


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    rows = int(arguments[0]) if arguments else MILLION
    with database(rows) as (dsn, folder):
        moved = _child("backfill", dsn, folder)
        print(f"backfill of {rows:,} rows: {moved['seconds']:.1f} s", flush=True)
        for way in ("ledger", "stored", "deep"):
            found = _child(way, dsn, folder)
            _print(way, found, moved["seconds"])
            if found["read_mb"]:
                print(f"{'':22} {found['read_mb']:,.0f} MB the graph itself took to be read whole")
        numbers = random.Random(rows).sample(range(1, rows + 1), DAMAGED)
        _damage(folder, numbers)
        found = _child("stored", dsn, folder)
        _print("stored, after damage", found, moved["seconds"])
        named = {int(key.removeprefix("id=")) for key in found["keys"]}
        print(f"{len(named & set(numbers))} of {DAMAGED} damaged rows named, {len(named)} in all")
        print(
            f"rows looked at one by one: {found['read']:,}, {found['read'] / rows / 2:.3%} of both"
        )
    return 0 if named == set(numbers) else 1


def _child(way: str, dsn: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.validation", way, dsn, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _print(way: str, found: dict[str, Any], backfill: float) -> None:
    ratio = found["seconds"] / backfill
    verdict = "balanced" if found["balanced"] else f"{found['mismatched']} mismatched"
    print(
        f"{way:22} {found['seconds']:7.1f} s, {ratio:.2f} of the backfill; {verdict}; "
        f"peak {found['peak_mb']:,.0f} MB, {found['grown_mb']:,.0f} MB of it the comparison's",
        flush=True,
    )


def _damage(folder: Path, numbers: Sequence[int]) -> None:
    """Change the values of some nodes, and their digests with them, as a wrong writer would."""
    graph = open_target(str(folder / "graph.grafeo"), None, create=False)
    for number in numbers:
        graph.query(f"MATCH (n:Big {{id: {number}}}) SET n.name = 'wrong', n._fp = {number}")
    graph.close()


def backfill(dsn: str, folder: Path) -> dict[str, Any]:
    """Move all rows; the seconds of the backfill."""
    mapping = load(folder / "mapping.yaml").mapping
    runner = Runner(
        RunRequest(dsn, str(folder / "graph.grafeo"), mapping), journal=folder / "journal.sqlite3"
    )
    runner.start()
    runner.join()
    if runner.error is not None:
        raise SystemExit(str(runner.error))
    phase = next(phase for phase in runner.snapshot().phases if phase.name == "backfill")
    assert phase.started is not None
    assert phase.ended is not None
    return {"seconds": phase.ended - phase.started}


async def compare(way: str, dsn: str, folder: Path) -> dict[str, Any]:
    """Take the ledger, or compare all by digests; what it cost beside the open graph."""
    source = await Source.connect(dsn)
    plan = make_plan(load(folder / "mapping.yaml").mapping, await source.catalog())
    reader = await source.snapshot(sorted({entity.rule.table for entity in plan.entities}))
    target = open_target(str(folder / "graph.grafeo"), None, create=False, read_only=True)
    opened = _peak_megabytes()
    if way == "deep":
        for entity in plan.entities:
            for _ in target.scan_whole(entity.shape, SCANNED_AT_ONCE):
                pass
    before, begun = _peak_megabytes(), time.perf_counter()
    if way == "ledger":
        ledger = await take_ledger(reader, target, plan.entities, {})
    else:
        digests = Digests(always(reader), deep=way == "deep", retries=(0.0,))
        compare_all = DigestComparison(target, {}, None, True, digests, lambda entity: None)
        empty = await take_ledger(reader, target, [], {})
        ledger = await compare_all.add_to(empty, reader, plan.entities)
    seconds = time.perf_counter() - begun
    target.close()
    await reader.close()
    await source.close()
    return _told(ledger, seconds, before) | {"read_mb": before - opened}


def _told(ledger: Ledger, seconds: float, before: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "balanced": ledger.balanced and not ledger.differences,
        "mismatched": len(ledger.differences),
        "keys": [difference.key for difference in ledger.differences],
        "read": sum(digest.read for digest in ledger.digests),
        "peak_mb": _peak_megabytes(),
        "grown_mb": _peak_megabytes() - before,
    }


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _way, _dsn, _folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if _way == "backfill":
        print(json.dumps(backfill(_dsn, _folder)))
    else:
        print(json.dumps(asyncio.run(compare(_way, _dsn, _folder))))
