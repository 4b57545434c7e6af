"""What takes back a step of a schema change: operations that the journal keeps (`add_undo`).

Each names itself under `do`, has all that it needs in words, and can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import batched
from typing import Any

from geode_tui.migration import schema_graph
from geode_tui.migration.pre_images import graph_value, plain_value
from geode_tui.migration.schema_graph import Shape
from geode_tui.migration.shapes import dump_shape, load_shape
from geode_tui.target.model import NodeImage, NodeShape, RelationshipImage, Target

Words = Mapping[str, Any]
Operation = dict[str, Any]

_IMAGES = 200
"""How many images one operation holds: each is a transaction when it is put back."""


def put_back(shape: Shape, pairs: Iterable[tuple[Any, Any]]) -> Iterator[Operation]:
    """Operations that make nodes or relationships what they were; pairs of key and image."""
    for some in batched(((key, image) for key, image in pairs if image is not None), _IMAGES):
        plain = [[plain_value(key), _plain_image(image)] for key, image in some]
        yield {"do": "put_back", "shape": dump_shape(shape), "images": plain}


def set_properties(
    shape: Shape, names: Sequence[str], rows: Sequence[tuple[Any, Sequence[Any]]]
) -> Iterator[Operation]:
    """Operations that give properties the values that they had; rows of key and values."""
    for some in batched(rows, _IMAGES):
        plain = [[plain_value(key), plain_value(list(values))] for key, values in some]
        yield {
            "do": "set_properties",
            "shape": dump_shape(shape),
            "names": list(names),
            "rows": plain,
        }


def remove_property(shape: Shape, name: str) -> Operation:
    """An operation that removes a property which was not there."""
    return {"do": "remove_property", "shape": dump_shape(shape), "name": name}


def rename_property(shape: Shape, old: str, new: str) -> Operation:
    """An operation that renames a property."""
    return {"do": "rename_property", "shape": dump_shape(shape), "old": old, "new": new}


def rename_type(shape: Shape, new: str) -> Operation:
    """An operation that gives relationships another type."""
    return {"do": "rename_type", "shape": dump_shape(shape), "new": new}


def add_label(shape: Shape, label: str) -> Operation:
    """An operation that gives nodes a label."""
    return {"do": "add_label", "shape": dump_shape(shape), "label": label}


def remove_label(shape: Shape, label: str) -> Operation:
    """An operation that takes a label from nodes."""
    return {"do": "remove_label", "shape": dump_shape(shape), "label": label}


def mark(shape: Shape, new: str) -> Operation:
    """An operation that gives nodes another mark, or none."""
    return {"do": "mark", "shape": dump_shape(shape), "new": new}


def renew_digests(shape: Shape) -> Operation:
    """An operation that computes the digests of all nodes or relationships of a shape."""
    return {"do": "renew_digests", "shape": dump_shape(shape)}


def prepare(shapes: Sequence[NodeShape]) -> Operation:
    """An operation that makes the indexes and constraints of some labels."""
    return {"do": "prepare", "shapes": [dump_shape(shape) for shape in shapes]}


def unprepare(shapes: Sequence[NodeShape]) -> Operation:
    """An operation that drops the indexes and constraints of some labels."""
    return {"do": "unprepare", "shapes": [dump_shape(shape) for shape in shapes]}


def remove_after(uid: str, step: int) -> Operation:
    """An operation that removes what a run wrote after a step."""
    return {"do": "remove_after", "uid": uid, "step": step}


def _put_back(target: Target, shape: Shape, words: Words) -> None:
    pairs = [(graph_value(key), _image(image, shape)) for key, image in words["images"]]
    schema_graph.put(target, shape, pairs)


def _set_properties(target: Target, shape: Shape, words: Words) -> None:
    rows = [(graph_value(key), tuple(graph_value(values))) for key, values in words["rows"]]
    schema_graph.update(target, shape, words["names"], rows)


def _mark(target: Target, shape: Shape, words: Words) -> None:
    assert isinstance(shape, NodeShape)
    schema_graph.set_mark(target, shape, words["new"])


def _renew_digests(target: Target, shape: Shape, words: Words) -> None:
    schema_graph.renew_digests(target, shape)


def _prepare(target: Target, shape: Shape | None, words: Words) -> None:
    target.prepare(_shapes(words))


def _unprepare(target: Target, shape: Shape | None, words: Words) -> None:
    target.unprepare(target.statements(_shapes(words)))


def _shapes(words: Words) -> list[NodeShape]:
    found = [load_shape(text) for text in words["shapes"]]
    return [shape for shape in found if isinstance(shape, NodeShape)]


def _remove_after(target: Target, shape: Shape | None, words: Words) -> None:
    target.delete_after(words["uid"], words["step"])


SCHEMA_UNDO: dict[str, Callable[[Target, Any, Words], None]] = {
    "put_back": _put_back,
    "set_properties": _set_properties,
    "mark": _mark,
    "renew_digests": _renew_digests,
    "prepare": _prepare,
    "unprepare": _unprepare,
    "remove_after": _remove_after,
}
"""What a schema change may name under `do`, beside what a rollback knows by itself."""


def _plain_image(image: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"p": plain_value(image.properties)}
    if isinstance(image, NodeImage):
        document["l"] = list(image.labels)
    return document


def _image(document: Mapping[str, Any], shape: Shape) -> NodeImage | RelationshipImage:
    properties = graph_value(document["p"])
    if isinstance(shape, NodeShape):
        return NodeImage(tuple(document["l"]), properties)
    return RelationshipImage(properties)
