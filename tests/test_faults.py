"""Whatever breaks a run, in the end the graph is the source: nothing lost, doubled or different."""

from __future__ import annotations

import pytest

from benchmarks.faults import KINDS, Outcome, run_trials

SEED = 4
TRIALS = 20  # the short form of `make bench-faults`


@pytest.mark.slow
@pytest.mark.parametrize("part", [0, 1])
def test_a_run_that_breaks_in_any_way_ends_whole(part: int) -> None:
    """Killed, its source restarted, its sessions ended, its disks full; rows change meanwhile."""
    told: list[Outcome] = []
    outcomes = run_trials(range(part, TRIALS, 2), SEED, told.append)
    assert [f"{o.number} {o.kind}: {o.why}" for o in outcomes if not o.survived] == []
    assert {o.kind for o in outcomes} == {KINDS[n % len(KINDS)] for n in range(part, TRIALS, 2)}
    assert told == outcomes
    assert any(o.changed for o in outcomes)
    assert any(o.resumes for o in outcomes)
