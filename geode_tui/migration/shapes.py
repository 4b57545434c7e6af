"""Shapes of entities as text, for the journal."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from geode_tui.target.model import NodeShape, RelationshipShape

Shape = NodeShape | RelationshipShape


def dump_shape(shape: Shape) -> str:
    """A shape as JSON."""
    return json.dumps(asdict(shape), ensure_ascii=False)


def load_shape(text: str) -> Shape:
    """The shape that `dump_shape` wrote."""
    document = json.loads(text)
    if "label" in document:
        return _node(document)
    document["start"], document["end"] = _node(document["start"]), _node(document["end"])
    return RelationshipShape(**_with_tuples(document))


def _node(document: dict[str, Any]) -> NodeShape:
    return NodeShape(**_with_tuples(document))


def _with_tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in document.items()
    }
