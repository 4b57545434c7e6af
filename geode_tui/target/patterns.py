"""The patterns of shapes in GQL, with quoted names, for a person and for the embedded graph."""

from __future__ import annotations

from geode_tui.mapping import gql
from geode_tui.mapping.model import OF
from geode_tui.target.model import NodeShape, RelationshipShape


def node_pattern(variable: str, shape: NodeShape) -> str:
    """The pattern of a shape's nodes: their label, and whose they are where it is shared."""
    fields = [(OF, gql.literal(shape.of))] if OF in shape.key else []
    return gql.node_with(variable, shape.label, fields)


def relationship_pattern(shape: RelationshipShape) -> str:
    """The pattern `(a)-[r]->(b)` of a shape's relationships."""
    middle = gql.relationship_with("r", shape.type)
    return f"{node_pattern('a', shape.start)}{middle}{node_pattern('b', shape.end)}"


def pattern_of(shape: NodeShape | RelationshipShape) -> tuple[str, str]:
    """The pattern of a shape, and the variable of what it is about: `n` or `r`."""
    if isinstance(shape, NodeShape):
        return node_pattern("n", shape), "n"
    return relationship_pattern(shape), "r"
