"""Eight writers, kills at random moments, and a cutover: in the end the graph is the source."""

from __future__ import annotations

import pytest

from benchmarks.followed import WAYS, Outcome, run_trials

SEED = 7
RUNS = 4  # the short form of `make bench-faults`: two by a slot, two by an outbox


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_what_is_written_while_a_database_moves_is_in_the_graph() -> None:
    """While it is captured, copied, killed, resumed, synchronized and flipped."""
    told: list[Outcome] = []
    outcomes = run_trials(range(RUNS), SEED, told.append)
    assert [f"{o.number} {o.way}: {o.why}" for o in outcomes if o.why] == []
    assert [o.way for o in outcomes] == [*WAYS, *WAYS]
    assert told == outcomes
    assert all(o.written for o in outcomes)
    assert any(o.kills for o in outcomes)
