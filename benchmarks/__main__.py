"""`python -m benchmarks [rows]`: how fast, in how much memory, and does the screen stay awake.
`python -m benchmarks introspection [tables] [rounds]` does so for the reading of a wide schema,
`memory` and `workers` for a big table (see `benchmarks.scale`), `geode` for requests to Geode,
`validation` for the comparison of both sides, `cutover` for how long writes stand, `sync`
for how fast changes reach the graph.

Every way of moving the same rows runs in a process of its own, one after the other, on the same
demo database. Figures are of the backfill alone: indexes are made before, the ledger after.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import cutover, geode, introspection, scale, sync, validation
from geode_tui.demo import EmbeddedPostgres

SMALL_ROWS = 100_000
LARGE_ROWS = 1_000_000


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["introspection"]:
        return introspection.main(sys.argv[2:])
    if sys.argv[1:2] == ["memory"]:
        return scale.memory(sys.argv[2:])
    if sys.argv[1:2] == ["workers"]:
        return scale.workers(sys.argv[2:])
    if sys.argv[1:2] == ["geode"]:
        return geode.main(sys.argv[2:])
    if sys.argv[1:2] == ["validation"]:
        return validation.main(sys.argv[2:])
    if sys.argv[1:2] == ["cutover"]:
        return cutover.main(sys.argv[2:])
    if sys.argv[1:2] == ["sync"]:
        return sync.main(sys.argv[2:])
    large = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE_ROWS
    with (
        tempfile.TemporaryDirectory(prefix="geode-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        small = _measure("product", server, min(SMALL_ROWS, large), folder)
        product = _measure("product", server, large, folder)
        memory = _measure("memory", server, large, folder)
        plain = _measure("plain", server, large, folder)
        stall = _measure("stall", server, min(SMALL_ROWS * 2, large), folder)
    _print(large, small, product, memory, plain, stall)
    return geode.main([])


def _measure(way: str, server: EmbeddedPostgres, rows: int, folder: str) -> dict[str, Any]:
    print(f"… {way}, {rows:,} rows", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.ways", way, server.dsn(), str(rows), folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {result}", file=sys.stderr, flush=True)
    return result


def _print(
    rows: int,
    small: dict[str, Any],
    product: dict[str, Any],
    memory: dict[str, Any],
    plain: dict[str, Any],
    stall: dict[str, Any],
) -> None:
    things = product["things"]
    print(f"{rows:,} rows asked for: {things:,} nodes and relationships")
    for name, way in (("geode-tui", product), ("fed from memory", memory), ("plain way", plain)):
        rate = way["things"] / way["seconds"]
        print(f"{name:18} {way['seconds']:8.1f} s {rate:10,.0f} things/s {way['peak_mb']:6,.0f} MB")
    rate = product["things"] / product["whole_seconds"]
    print(f"end to end with assess, prepare and verify: {rate:,.0f} things/s")
    print(f"ratio to Grafeo's batch calls fed from memory: {_ratio(product, memory):.2f}")
    print(f"ratio to the plain way: {_ratio(product, plain):.2f}")
    for size, way in ((min(SMALL_ROWS, rows), small), (rows, product)):
        print(
            f"peak memory at {size:,} rows: {way['peak_mb']:,.0f} MB, {_each(way):,.0f} B a thing"
        )
    print(f"the event loop's longest stall during a backfill: {stall['stall_ms']:.0f} ms")
    print(f"  of {stall['beats']:,} beats, 99 % within {stall['p99_ms']:.0f} ms")


def _ratio(product: dict[str, Any], other: dict[str, Any]) -> float:
    ours = float(product["things"] / product["seconds"])
    return ours / float(other["things"] / other["seconds"])


def _each(way: dict[str, Any]) -> float:
    return float(way["peak_mb"]) * 1024 * 1024 / float(way["things"])


if __name__ == "__main__":
    sys.exit(main())
