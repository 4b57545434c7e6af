"""Checks beside the ledger: constraints, what no rule made, how relationships are spread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from geode_tui.mapping import gql
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.target.patterns import relationship_pattern
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Check
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.sides import RowReader

MOST_SPREAD = 2_000_000
"""Relationships whose ends are counted; the graph takes memory for each of the nodes."""

Degrees = dict[int, int]
"""How many nodes have so many relationships."""


async def check_constraints(target: Target, entities: Sequence[Entity]) -> list[Check]:
    """Whether the indexes and constraints that runs make are there, for each label."""
    shapes = {entity.id: entity.shape for entity in entities}
    checks = []
    for name, shape in shapes.items():
        if not isinstance(shape, NodeShape):
            continue
        wanted = await asyncio.to_thread(target.statements, [shape])
        missing = await asyncio.to_thread(target.missing, [shape])
        there = f"{len(wanted) - len(missing)} of {len(wanted)} there"
        told = "; ".join(missing)
        checks.append(Check("constraints", name, not missing, str(len(wanted)), there, told))
    return checks


async def check_strangers(
    target: Target, entities: Sequence[Entity], besides: Sequence[str] = ()
) -> list[Check]:
    """How many nodes and relationships have only labels and types that no rule makes.

    They are told and nobody's fault: a graph may hold what others made. Labels of `besides` are
    not told.
    """
    shapes = [entity.shape for entity in entities]
    labels = set(besides)
    labels |= {name for shape in shapes if isinstance(shape, NodeShape) for name in _labels(shape)}
    types = {shape.type for shape in shapes if isinstance(shape, RelationshipShape)}
    facts = await asyncio.to_thread(target.describe)
    none = " AND ".join(f"NOT n:{gql.quoted(label)}" for label in sorted(labels))
    statement = f"MATCH (n) WHERE {none or 'true'} RETURN count(n) AS c"
    nodes = (await asyncio.to_thread(target.query, statement))[0]["c"]
    known = [await asyncio.to_thread(target.count_type, name) for name in sorted(types)]
    others = max(0, facts.relationships - sum(known))
    return [
        _strangers("labels", f"{nodes:,} with another label" if nodes else "none", statement),
        _strangers("types", f"{others:,} of another type" if others else "none"),
    ]


def _strangers(kind: Literal["labels", "types"], graph: str, statement: str = "") -> Check:
    why = "" if graph == "none" else "no rule of the mapping makes them: somebody else's, perhaps"
    return Check(kind, "", True, "none", graph, why, target_gql=statement)


async def check_degrees(
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: Mapping[str, LeftOut],
) -> list[Check]:
    """Whether as many nodes have as many relationships as rows of the source say.

    Of a foreign key only the nodes that it points at are told: each row has one at most.
    """
    checks = []
    for entity in entities:
        shape, out = entity.shape, left_out.get(entity.id, LeftOut())
        if isinstance(shape, NodeShape) or out.dead or out.orphans:
            continue
        if await asyncio.to_thread(target.count_relationships, shape) > MOST_SPREAD:
            continue
        for side in ("end",) if shape.owned else ("start", "end"):
            checks.append(await _spread(reader, target, entity, shape, side))
    return checks


async def _spread(
    reader: RowReader, target: Target, entity: Entity, shape: RelationshipShape, side: str
) -> Check:
    sql = entity.extract.degrees_sql(side == "start")
    source: Degrees = {degree: count for degree, count in await reader.fetch(sql)}
    variable = "a" if side == "start" else "b"
    statement = (
        f"MATCH {relationship_pattern(shape)} WITH {variable}, count(r) AS degree "
        f"RETURN degree, count({variable}) AS nodes"
    )
    found = await asyncio.to_thread(target.query, statement)
    graph: Degrees = {row["degree"]: row["nodes"] for row in found}
    return Check(
        "degrees",
        f"{entity.id} at its {side}",
        source == graph,
        told(source),
        told(graph),
        _first_difference(source, graph),
        sql,
        statement,
        tuple(sorted(source.items())),
        tuple(sorted(graph.items())),
    )


def told(degrees: Degrees) -> str:
    """A distribution in words: nodes, mean and highest degree."""
    nodes = sum(degrees.values())
    if not nodes:
        return "none"
    relationships = sum(degree * count for degree, count in degrees.items())
    mean = f"{relationships / nodes:.2f}"
    return f"{nodes:,} nodes with {mean} each, {max(degrees):,} at the most"


def _first_difference(source: Degrees, graph: Degrees) -> str:
    for degree in sorted(source.keys() | graph.keys()):
        here, there = source.get(degree, 0), graph.get(degree, 0)
        if here != there:
            return f"{here:,} nodes should have {degree:,}, {there:,} have"
    return ""


def _labels(shape: NodeShape) -> tuple[str, ...]:
    return (shape.label, *shape.labels, *shape.by_value)
