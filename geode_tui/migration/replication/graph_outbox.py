"""What applications left in a graph about their writes to it, and what the graph holds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.dual_write import OUTBOX, outbox_value
from geode_tui.target.model import (
    Key,
    NodeShape,
    RelationshipKey,
    RelationshipShape,
    Target,
    Whole,
)
from geode_tui.validation.entity import Entity

READ_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A write to the graph as its outbox node tells it; `key` is a JSON list of texts."""

    id: str
    rule: str
    operation: str
    key: str


def read_outbox(target: Target) -> list[Recorded]:
    """What the outbox nodes of a graph tell. Blocks, as the target does."""
    found = []
    for page in target.scan_whole(OUTBOX, READ_AT_ONCE):
        for whole in page:
            own = whole.properties
            texts = [str(own.get(name) or "") for name in ("id", "rule", "operation", "key")]
            found.append(Recorded(*texts))
    return found


def forget(target: Target, recorded: Sequence[Recorded]) -> None:
    """Remove outbox nodes, those that were read and no others. Repeatable."""
    for begin in range(0, len(recorded), READ_AT_ONCE):
        part = recorded[begin : begin + READ_AT_ONCE]
        target.put_nodes(OUTBOX, [((one.id,), None) for one in part])


def key_of(entity: Entity, texts: Any) -> Key | RelationshipKey:
    """A key as the graph holds it, of the texts in an outbox node.

    Raises ValueError, TypeError, ArithmeticError or LookupError where it is none.
    """
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return _part_of(shape, texts)
    start, end, own = texts
    return _part_of(shape.start, start), _part_of(shape.end, end), _part_of(shape, own)


def _part_of(shape: NodeShape | RelationshipShape, texts: Sequence[str]) -> Key:
    kinds = dict(zip(shape.properties, shape.types, strict=True))
    names = shape.key
    if isinstance(shape, NodeShape) and shape.of and len(texts) == len(names) - 1:
        texts = [*texts, shape.of]  # whose nodes they are the rule's name says
    if len(texts) != len(names):
        raise ValueError(f"it has {len(texts)} values, and the key {len(names)}")
    return tuple(outbox_value(text, kinds[name]) for name, text in zip(names, texts, strict=True))


def nodes_at(target: Target, shape: NodeShape, keys: Sequence[Key]) -> list[Whole]:
    """The nodes of some keys, those that are there."""
    images = target.node_images(shape, keys)
    return [
        Whole(key, dict(image.properties), frozenset(image.labels))
        for key, image in zip(keys, images, strict=True)
        if image is not None
    ]


def relationships_at(
    target: Target, shape: RelationshipShape, keys: Sequence[RelationshipKey]
) -> list[Whole]:
    """The relationships of some keys, those that are there."""
    found = target.read_relationships(shape, keys)
    return [Whole(key, own) for key, some in zip(keys, found, strict=True) for own in some]
