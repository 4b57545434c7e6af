"""The mark in a graph that it is the one that applications write to.

A node of its own, written by the run as all that it writes: a rollback of the run takes it away.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.migration.audit import whoami
from geode_tui.target.model import NodeBatch, NodeShape, Target

LABEL = "_Migration"
LIVE = "live"
_FIELDS = {
    "run": "STRING",
    "state": "STRING",
    "source": "STRING",
    "at": "FLOAT",
    "who": "STRING",
}
SHAPE = NodeShape(LABEL, ("run",), tuple(_FIELDS), tuple(_FIELDS.values()))


@dataclass(frozen=True, slots=True)
class Marker:
    """Which run made the graph the live one (`run` is its uid), of which source, when, by whom."""

    run: str
    state: str
    source: str
    at: float
    who: str


def markers(target: Target) -> list[Marker]:
    """The marks in a graph, the oldest first. Blocks, as the target does."""
    fields = gql.returned("n", tuple(_FIELDS))
    rows = target.query(f"MATCH {gql.node_with('n', LABEL)} RETURN {fields}")
    found = [Marker(*(row[f"c{n}"] for n in range(len(_FIELDS)))) for row in rows]
    return sorted(found, key=lambda marker: marker.at)


def mark_live(target: Target, run: str, source: str, step: int) -> None:
    """Let the graph say that it is live, for good on its disk. Repeatable."""
    row = (run, LIVE, source, time.time(), whoami())
    written = target.write_nodes(NodeBatch(SHAPE, [(*row, 0)], run, (), step), repeated=True)
    if written.rows != 1:
        reason = written.refused[0].reason if written.refused else "it was not written"
        raise GeodeTuiError("the graph cannot be marked as live", reason)
    target.flush()


def unmark(target: Target, run: str) -> bool:
    """Take the mark of a run away; whether there was one. Repeatable."""
    there = target.delete_nodes(SHAPE, run) > 0
    if there:
        target.flush()
    return there
