"""`python -m benchmarks.demo_kills [rows] [kills]`: kill the demo's migration, resume, compare.

The whole process group dies by SIGKILL at random moments of a run, the demo's PostgreSQL with it.
After each death the same command goes on with the run. At the end every row and every node are
compared by tests/independent_comparison.py, which shares no code with the product.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from geode_tui.demo import SHOP_DATABASE, EmbeddedPostgres
from tests.independent_comparison import compare

ROWS = 200_000
KILLS = 5
_AT_MOST = 600.0
# Starts in a row that end before they can be killed: more of them are a demo that does not start.
_ENDED_AT_MOST = 10


@dataclass(frozen=True)
class Outcome:
    """What became of a run that was killed `kills` times; `at` in seconds after each start."""

    kills: int
    at: tuple[float, ...]
    last_exit: int
    equal: bool
    summary: str


def kill_and_resume(rows: int, kills: int, folder: Path, rng: random.Random) -> Outcome:
    """Run the demo in `folder`, kill it `kills` times while it writes, let it end, compare."""
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    moments = [_killed(rows, environment, rng) for _ in range(kills)]
    last = subprocess.run(_command(rows), env=environment, check=False, stdin=subprocess.DEVNULL)
    demo = folder / "geode-tui" / "demo"
    with EmbeddedPostgres(demo / "postgres") as server:
        found = asyncio.run(
            compare(
                server.dsn(SHOP_DATABASE),
                demo / f"shop-{rows}.grafeo",
                None,
                demo / f"mapping-{rows}.yaml",
            )
        )
    return Outcome(kills, tuple(moments), last.returncode, found.equal, found.verdict)


def main() -> int:
    """Kill, resume and compare; exit 1 when anything is lost, doubled or different."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else KILLS
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="geode-faults-") as folder:
        outcome = kill_and_resume(rows, kills, Path(folder), random.Random(seed))
    print(f"killed {outcome.kills} times, {[round(at, 2) for at in outcome.at]} s after a start")
    print(f"last exit code {outcome.last_exit}; {outcome.summary}")
    return 0 if outcome.equal and outcome.last_exit == 0 else 1


def _command(rows: int) -> list[str]:
    return [sys.executable, "-m", "geode_tui", "demo", "--rows", str(rows), "--headless"]


def _killed(rows: int, environment: dict[str, str], rng: random.Random) -> float:
    """Start the demo until one could be killed before its end; the seconds that one lived."""
    told = ""
    for _ in range(_ENDED_AT_MOST):
        lived, told = _run_and_kill(rows, environment, rng)
        if lived is not None:
            return lived
    raise RuntimeError(f"{_ENDED_AT_MOST} starts came to their end before the kill:\n{told}")


def _run_and_kill(
    rows: int, environment: dict[str, str], rng: random.Random
) -> tuple[float | None, str]:
    """Start the demo, wait until it writes, kill it a random moment later.

    Returns the seconds it lived, None when it came to its end before (the next one begins anew),
    and what it said.
    """
    begun = time.monotonic()
    told: list[str] = []
    child = subprocess.Popen(
        _command(rows),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert child.stderr is not None
    for line in child.stderr:
        told.append(line)
        if " snapshot " in line or time.monotonic() - begun > _AT_MOST:
            break
    # About the time that the backfill of so many rows takes, so that every phase is met.
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(rng.uniform(0, rows / 20_000))
        told += child.stderr.readlines()
        child.stderr.close()
        return None, "".join(told)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stderr.close()
    return time.monotonic() - begun, "".join(told)


if __name__ == "__main__":
    sys.exit(main())
