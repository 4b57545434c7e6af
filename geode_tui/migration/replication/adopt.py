"""What applications wrote to a graph becomes the run's own, once its rows are back.

Then the graph is what the run's synchronization left, and can go on from there: everything in it
carries the run, and the digest of its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, RUN, STEP
from geode_tui.migration.replication.reverse import AsItIs, Unlike
from geode_tui.target.model import Answers, NodeShape, Statement, Target, Whole
from geode_tui.validation.digest import same_value
from geode_tui.validation.digests import known_by_place
from geode_tui.validation.entity import Entity
from geode_tui.validation.sides import SCANNED_AT_ONCE, identity

_AT_ONCE = 500


class _OfRow(AsItIs):
    """The digest that a thing carries when the run writes it: that of its row."""

    def _told(self, whole: Whole, mark: int) -> int:
        return mark


def up_to_date(entity: Entity, unlike: Unlike) -> Iterator[Statement]:
    """What gives things the values of their rows, where they are old or spelled otherwise."""
    shape = entity.shape
    kinds = dict(zip(shape.properties, shape.types, strict=True))
    rows = {identity(entity, entity.key(row)): entity.properties(row) for row in unlike.rows}
    for whole in unlike.things:
        row = rows.get(identity(entity, whole.key), {})
        values = {
            name: value
            for name, value in row.items()
            if not same_value(value, whole.properties.get(name), kinds[name])
        }
        if values:
            yield _set(entity, whole, values)


async def adopt(target: Target, entities: Sequence[Entity], run: str, step: int) -> int:
    """Let all things of some entities carry the run and the digest of their rows; how many did not.

    Those that another run wrote stay as they are. Repeatable.
    """
    return sum([await asyncio.to_thread(_adopt, target, one, run, step) for one in entities])


def _adopt(target: Target, entity: Entity, run: str, step: int) -> int:
    if known_by_place(entity):
        return 0
    graph = _OfRow(target, entity)
    strays: list[tuple[Whole, int]] = []
    for page in target.scan_whole(entity.shape, SCANNED_AT_ONCE):
        for mark, whole in graph.marked_wholes(page):
            own = whole.properties
            marked = own.get(RUN) == run and own.get(FINGERPRINT) == mark
            if mark is not None and not marked and own.get(RUN) in (None, run):
                strays.append((whole, mark))
    statements = [
        _set(entity, whole, {RUN: run, STEP: whole.properties.get(STEP) or step, FINGERPRINT: mark})
        for whole, mark in strays
    ]
    run_all(target, statements)
    return len(statements)


def run_all(target: Target, statements: Sequence[Statement]) -> None:
    """Run statements, some at a time in one transaction."""
    for begin in range(0, len(statements), _AT_ONCE):
        target.run_together(statements[begin : begin + _AT_ONCE], _unchecked)


def _unchecked(answers: Answers) -> None:
    """Nothing can be wrong."""


def _set(entity: Entity, whole: Whole, values: Mapping[str, Any]) -> Statement:
    """The statement that sets properties of a thing."""
    shape, given = entity.shape, dict[str, Any]()
    if isinstance(shape, NodeShape):
        pattern, variable = _node("x", shape, whole.key, given), "x"
    else:
        start, end, own = whole.key
        middle = gql.relationship_with("x", shape.type, _fields("x", shape.key, own, given))
        ends = _node("a", shape.start, start, given), _node("b", shape.end, end, given)
        pattern, variable = f"{ends[0]}{middle}{ends[1]}", "x"
    sets = []
    for number, (name, value) in enumerate(values.items()):
        sets.append(f"{gql.member(variable, name)} = $v{number}")
        given[f"v{number}"] = value
    return f"MATCH {pattern} SET {', '.join(sets)}", given


def _node(variable: str, shape: NodeShape, key: Sequence[Any], given: dict[str, Any]) -> str:
    return gql.node_with(variable, shape.label, _fields(variable, shape.key, key, given))


def _fields(
    prefix: str, names: Sequence[str], key: Sequence[Any], given: dict[str, Any]
) -> list[tuple[str, str]]:
    fields = []
    for number, (name, value) in enumerate(zip(names, key, strict=True)):
        if value is not None:
            given[f"{prefix}{number}"] = value
            fields.append((name, f"${prefix}{number}"))
    return fields
