"""What applications left in a graph about their writes to it, and what the graph holds there."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.dual_write import OUTBOX, outbox_value
from geode_tui.mapping.inverse import Inverse, TableInverse
from geode_tui.migration.replication.reverse import (
    AsItIs,
    Stuck,
    Unlike,
    compare,
    key_text,
    note_unlike,
)
from geode_tui.migration.replication.row_transaction import RowTransaction
from geode_tui.target.model import (
    Key,
    NodeShape,
    RelationshipKey,
    RelationshipShape,
    Target,
    Whole,
)
from geode_tui.validation.entity import Entity
from geode_tui.validation.sides import identity

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


class OutboxReading:
    """What differs at the keys that outbox nodes name."""

    def __init__(self, target: Target, inverse: Inverse, entities: Sequence[Entity]) -> None:
        self._target, self._inverse = target, inverse
        self._entities = {entity.id: entity for entity in entities}

    def keys(
        self, recorded: Sequence[Recorded], stuck: list[Stuck]
    ) -> dict[str, list[Key | RelationshipKey]]:
        """The keys that outbox nodes tell of, by entity; what cannot be read is `stuck`."""
        found: dict[str, list[Key | RelationshipKey]] = defaultdict(list)
        for one in recorded:
            entity = self._entities.get(one.rule)
            if entity is None:
                why = "an outbox node names a rule that is not in the mapping"
                stuck.append(Stuck(one.rule, one.key, why, "remove the node, or name the rule"))
                continue
            try:
                found[entity.id].append(key_of(entity, json.loads(one.key)))
            except (ValueError, ArithmeticError, TypeError, LookupError) as error:
                why = f"the key of an outbox node cannot be read: {error}"
                stuck.append(Stuck(one.rule, one.key, why, "mend or remove the node"))
        return found

    async def unlike_at(self, rows: RowTransaction, entity: Entity, keys: Sequence[Any]) -> Unlike:
        """What differs at some keys of an entity; all of it where rows are not found by keys."""
        table, columns = self._table_of(entity), entity.extract.cursor_columns
        if not keys:
            return Unlike()
        if table is None or set(columns) != set(table.key_columns) or not entity.extract.keyed:
            return await compare(rows, self._target, entity)
        order = [table.key_columns.index(name) for name in columns]
        unique = list({identity(entity, key): key for key in keys}.values())
        found = Unlike()
        for begin in range(0, len(unique), READ_AT_ONCE):
            part = unique[begin : begin + READ_AT_ONCE]
            texts = dict.fromkeys(self._row_key(entity, table, key) for key in part)
            there = await rows.rows_at(entity, [tuple(key[n] for n in order) for key in texts])
            await self._note_unlike_at(entity, there, part, found)
        return found

    async def _note_unlike_at(
        self, entity: Entity, rows: Sequence[Any], keys: Sequence[Any], found: Unlike
    ) -> None:
        """Compare some rows with what the graph holds at some keys, and at those of the rows."""
        shape, graph = entity.shape, AsItIs(self._target, entity)
        if isinstance(shape, NodeShape):
            wholes = await asyncio.to_thread(nodes_at, self._target, shape, keys)
        else:
            also = [entity.relationship_key(row) for row in rows]
            every = list({identity(entity, key): key for key in (*keys, *also)}.values())
            wholes = await asyncio.to_thread(relationships_at, self._target, shape, every)
        marked = [(graph.row_mark(row), row) for row in rows]
        note_unlike(entity, marked, graph.marked_wholes(wholes), found)

    def _table_of(self, entity: Entity) -> TableInverse | None:
        for table in self._inverse.tables:
            if entity.id == table.rule or any(entity.id == r.rule for r in table.references):
                return table
        return None

    def _row_key(self, entity: Entity, table: TableInverse, key: Any) -> tuple[str, ...]:
        """The key of the row that a thing stands for, or that owns it."""
        shape = entity.shape
        if isinstance(shape, NodeShape):
            values = dict(zip(shape.key, key, strict=True))
            return tuple(key_text(values[given.property]) for given in table.key)
        start, end, own = key
        if table.joins:
            by_column = dict[str, Any]()
            for some, names, part in (
                (table.start, shape.start.key, start),
                (table.end, shape.end.key, end),
                (table.columns, shape.key, own),
            ):
                there = dict(zip(names, part, strict=True))
                by_column |= {g.column: there[g.property] for g in some if g.property in there}
            return tuple(key_text(by_column[name]) for name in table.key_columns)
        outward = next(r.outward for r in table.references if r.rule == entity.id)
        names, part = (shape.start.key, start) if outward else (shape.end.key, end)
        values = dict(zip(names, part, strict=True))
        return tuple(key_text(values[given.property]) for given in table.key)
