"""A graph says that it is the live one, whichever graph it is."""

from __future__ import annotations

import time

from geode_tui.migration.replication.marker import LIVE, mark_live, markers, unmark
from tests.targets import Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures


def test_a_graph_is_marked_once_and_the_mark_goes_with_its_run(targets: Targets) -> None:
    graph = targets.open()
    mark_live(graph, "other", "old@db0", 1)
    mark_live(graph, "ours", "shop@db1", 2)
    mark_live(graph, "ours", "shop@db1", 3)  # after a kill it is made again
    other, ours = markers(graph)
    assert (ours.run, ours.state, ours.source) == ("ours", LIVE, "shop@db1")
    assert abs(ours.at - time.time()) < 60
    assert unmark(graph, "ours")
    assert not unmark(graph, "ours")
    assert markers(graph) == [other]
    graph.delete_after("other", 0)  # a rollback of the run takes it away, too
    assert markers(graph) == []
