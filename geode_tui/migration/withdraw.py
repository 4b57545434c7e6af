"""Take out of the graph what unfinished chunks wrote, so that a checkpoint holds whole chunks."""

from __future__ import annotations

from itertools import batched, groupby

from geode_tui.migration.batches import ChunkedTarget
from geode_tui.migration.chunks import Chunk
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.shapes import Shape
from geode_tui.target.model import NodeShape, Target

_ROWS = 1_000


def withdraw_unfinished(journal: Journal, record: RunRecord, target: Target) -> None:
    """Remove what chunks that are not done have written, and plan them again.

    A chunk that was interrupted keeps its step, and ends under it: a checkpoint between the two
    would not be a moment to which its rows can be taken back. Call it while no chunk is written.
    """
    shapes = journal.chunks.shapes(record.number)
    started = journal.chunks.started(record.number)
    for entity, found in groupby(started, lambda chunk: chunk.entity):
        chunks = list(found)
        if entity in shapes:  # a fill of a schema change has none
            _remove(target, shapes[entity], record.uid, chunks)
        for chunk in chunks:
            journal.chunks.withdraw(record.number, chunk)


def _remove(target: Target, shape: Shape, uid: str, chunks: list[Chunk]) -> None:
    steps = [step for chunk in chunks for step in chunk.steps]
    if isinstance(target, ChunkedTarget):
        for step in steps:  # its part may be whole, only not journaled as such
            target.drop_chunk(shape, step)
        return
    if isinstance(shape, NodeShape):
        for nodes in batched(target.node_keys(shape, uid, steps), _ROWS):
            target.put_nodes(shape, [(key, None) for _, key in nodes], uid)
        return
    for relationships in batched(target.relationship_keys(shape, uid, steps), _ROWS):
        target.put_relationships(shape, [(key, None) for _, key in relationships], uid, steps)
