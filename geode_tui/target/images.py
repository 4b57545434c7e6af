"""Images of nodes and relationships: whose they are to change, and what leads to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geode_tui.mapping.model import FINGERPRINT, RUN, STEP
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    NodeImage,
    RelationshipBatch,
    RelationshipImage,
    RelationshipKey,
)


def last[Pair: tuple[Any, Any]](images: Sequence[Pair]) -> list[Pair]:
    """Each key once, with its last image."""
    return list({comparable(pair[0]): pair for pair in images}.values())


def may_change(
    now: dict[str, Any], image: NodeImage | RelationshipImage | None, run: str | None
) -> bool:
    """Whether something is ours to change, or is already of the run that the image says."""
    if image is not None and image.properties.get(RUN) == now.get(RUN):
        return True
    return now.get(RUN) is not None and run in (None, now[RUN])


def difference(now: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What leads from some properties to others: what is set, and None for what is removed.

    What is the same is not written again: some values, such as durations and times with a zone,
    are not the same any more when they have been read and written.
    """
    return changed(now, dict.fromkeys(now) | wanted)


def changed(now: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of the wanted properties that are otherwise now."""
    return {
        name: value
        for name, value in wanted.items()
        if type(value) is not type(now.get(name)) or repr(value) != repr(now.get(name))
    }


def batch_key(batch: RelationshipBatch, place: int) -> RelationshipKey:
    """The keys of the relationship that a row of a batch makes."""
    shape, row = batch.shape, batch.rows[place]
    first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
    values = dict(zip(shape.properties, row[second:], strict=False))
    return tuple(row[:first]), tuple(row[first:second]), tuple(values[name] for name in shape.key)


def batch_image(batch: RelationshipBatch, place: int) -> RelationshipImage:
    """The relationship that a row of a batch makes, with its marks."""
    shape = batch.shape
    values = batch.rows[place][len(shape.start.key) + len(shape.end.key) :]
    properties = dict(zip((*shape.properties, FINGERPRINT), values, strict=True))
    return RelationshipImage(properties | {RUN: batch.run, STEP: batch.step})
