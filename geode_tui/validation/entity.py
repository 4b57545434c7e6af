"""One thing that is moved and checked: a rule with its SELECTs and its shape in the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from geode_tui.catalog import Catalog
from geode_tui.errors import RowError
from geode_tui.mapping.ends import own_ends
from geode_tui.mapping.extract import Extract, compile_extract
from geode_tui.mapping.model import OF, ROW, Mapping, NodeRule, Rule
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape

Record = Any
"""A row of an extract (`asyncpg.Record` or a tuple)."""


@dataclass(frozen=True)
class Entity:
    """A label or a relationship of a mapping, ready to read and to write.

    `estimate` is the planner's row count of its table, None when never analyzed; `own_ends` says
    which ends of a relationship are the row itself.
    """

    rule: Rule
    extract: Extract
    shape: NodeShape | RelationshipShape
    estimate: int | None
    own_ends: tuple[bool, bool] = field(default=(False, False), kw_only=True)

    @property
    def id(self) -> str:
        """The rule's id."""
        return self.rule.id

    @property
    def kind(self) -> Literal["node", "relationship"]:
        """Whether it makes nodes or relationships."""
        return "node" if isinstance(self.rule, NodeRule) else "relationship"

    @property
    def bytes_per_row(self) -> int:
        """The average size of a row of its table on disk, at least 32."""
        table = self.extract.table
        return max(32, table.bytes // max(1, table.estimated_rows or 1))

    def digest(self, rows: Sequence[Record]) -> int:
        """The sum of what tells rows apart; also that of their label, and of why one is left."""
        return self.extract.digest(rows)

    @property
    def needs(self) -> tuple[str, ...]:
        """The ids of the node rules at a relationship's ends."""
        if isinstance(self.rule, NodeRule):
            return ()
        return tuple(dict.fromkeys((self.rule.start.node, self.rule.end.node)))

    @property
    def restarts(self) -> bool:
        """Whether another snapshot can only read it from its beginning.

        Rows without a key, or ends that are, have other places there; a view has no place at all.
        """
        if not self.extract.keyed:
            return True
        if isinstance(self.shape, NodeShape):
            return False
        keys = (self.shape.key, self.shape.start.key, self.shape.end.key)
        return any(ROW in key for key in keys)

    @property
    def held_by_foreign_keys(self) -> bool:
        """Whether both ends exist for certain: the row itself, or what a valid key points at."""
        if isinstance(self.rule, NodeRule):
            return True
        enforced = {key.columns for key in self.extract.table.foreign_keys if key.validated}
        ends = zip(self.own_ends, (self.rule.start, self.rule.end), strict=True)
        return all(own or end.columns in enforced for own, end in ends)

    @contextmanager
    def named_in_errors(self, next_step: str) -> Iterator[None]:
        """Around reading: where PostgreSQL fails on a row, the error names the rule."""
        try:
            yield
        except RowError as error:
            raise RowError(
                f"{self.id} cannot be read: {error.what}",
                "an expression, a condition, a view or a query fails for a row",
                next_step,
            ) from error

    def cursor(self, row: Record) -> tuple[str, ...]:
        """The cursor at a row of the extract."""
        at = self.extract.cursor_at
        return tuple(row[at : at + len(self.extract.cursor_columns)])

    def label(self, row: Record) -> str | None:
        """The label that a value of the row gives, None where none does."""
        place = self.extract.label_at
        label: str | None = None if place is None else row[place]
        return label

    def rejected(self, row: Record) -> str | None:
        """Why a row cannot be carried, None when it can."""
        reason: str | None = row[self.extract.fingerprint_at + 1]
        return reason

    def ends_known(self, row: Record) -> bool:
        """Whether no part of the keys of the ends of a row is null."""
        keys = len(self.extract.start_key) + len(self.extract.end_key)
        return all(value is not None for value in row[:keys])

    def values(self, row: Record) -> tuple[Any, ...]:
        """What a target is given: keys, properties and the fingerprint."""
        return tuple(row[: self.extract.fingerprint_at + 1])

    def properties(self, row: Record) -> dict[str, Any]:
        """The property values of a row by name."""
        values = row[self.extract.property_slice]
        return dict(zip(self.extract.properties, values, strict=True))

    def key(self, row: Record) -> Key | RelationshipKey:
        """The key of the node or relationship that a row makes."""
        if isinstance(self.shape, NodeShape):
            return self.node_key(row)
        return self.relationship_key(row)

    def node_key(self, row: Record) -> Key:
        """The key of the node that a row makes."""
        properties = self.properties(row)
        assert isinstance(self.shape, NodeShape)
        return tuple(properties[name] for name in self.shape.key)

    def relationship_key(self, row: Record) -> RelationshipKey:
        """The start's key, the end's key and the own key of the relationship a row makes."""
        assert isinstance(self.shape, RelationshipShape)
        first = len(self.extract.start_key)
        second = first + len(self.extract.end_key)
        properties = self.properties(row)
        own = tuple(properties[name] for name in self.shape.key)
        return tuple(row[:first]), tuple(row[first:second]), own

    def letter_place(self, row: Record) -> tuple[str, ...] | None:
        """The cursor at which the row can be read again, None where its table has no key."""
        return self.cursor(row) if self.extract.keyed else None

    def key_text(self, row: Record) -> str:
        """A row's key for a person: `id=12`; its place where the table has no key."""
        if place := self.properties(row).get(ROW):
            return f"row {place}"
        if self.extract.keyed:
            return told(self.extract.cursor_columns, self.cursor(row))
        if isinstance(self.shape, NodeShape):
            return told(self.shape.key, self.node_key(row))
        start, end, _ = self.relationship_key(row)
        return f"({told(self.shape.start.key, start)}) to ({told(self.shape.end.key, end)})"


def told(names: Sequence[str], values: Sequence[Any]) -> str:
    """The values of a key for a person: `id=12`."""
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{name}={value}" for name, value in pairs if name != OF)


def entity_of(rule: Rule, mapping: Mapping, catalog: Catalog) -> Entity:
    """Make the entity of a rule. Raises MappingError when it does not fit the catalog."""
    extract = compile_extract(rule, mapping, catalog)
    estimate, shape = extract.table.estimated_rows, shape_of(rule, mapping)
    own = (False, False) if isinstance(rule, NodeRule) else own_ends(rule, mapping)
    return Entity(rule, extract, shape, estimate, own_ends=own)


def shape_of(rule: Rule, mapping: Mapping) -> NodeShape | RelationshipShape:
    """How what a rule makes looks in the graph; the rules at its ends must be in the mapping."""
    if isinstance(rule, NodeRule):
        return node_shape(rule, mapping)
    start, end = mapping.node(rule.start.node), mapping.node(rule.end.node)
    assert start is not None
    assert end is not None
    carried = [(item.name, item.type) for item in rule.included_properties]
    if rule.key == (ROW,):
        carried.append((ROW, "STRING"))
    return RelationshipShape(
        rule.type,
        node_shape(start, mapping),
        node_shape(end, mapping),
        rule.key,
        tuple(name for name, _ in carried),
        tuple(kind for _, kind in carried),
        own_ends(rule, mapping)[0],
    )


def node_shape(rule: NodeRule, mapping: Mapping) -> NodeShape:
    """How nodes of a rule look in the graph."""
    carried = [(item.name, item.type) for item in rule.included_properties]
    if not rule.key:
        carried.append((ROW, "STRING"))
    marked = mapping.is_marked(rule)
    if marked:
        carried.append((OF, "STRING"))
    return NodeShape(
        rule.label,
        mapping.key_names(rule),
        tuple(name for name, _ in carried),
        tuple(kind for _, kind in carried),
        tuple(dict.fromkeys(label for label in rule.labels if label != rule.label)),
        tuple(dict.fromkeys(label for _, label in rule.labels_by.labels)) if rule.labels_by else (),
        rule.id if marked else "",
    )
