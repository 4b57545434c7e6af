"""The machine dies in the middle of the night: the run is resumed, nothing is lost or doubled."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.demo_kills import kill_and_resume


@pytest.mark.slow
def test_a_run_killed_twice_by_sigkill_ends_with_a_graph_equal_to_the_source(
    tmp_path: Path,
) -> None:
    """SIGKILL to the whole process group, the server with it; the same command goes on."""
    outcome = kill_and_resume(8_000, 2, tmp_path, random.Random(11))
    assert outcome.last_exit == 0
    assert outcome.equal, outcome.summary
