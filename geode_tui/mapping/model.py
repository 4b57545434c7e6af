"""The mapping from tables to labels and relationships, as immutable values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from geode_tui.catalog import TableName

FORMAT_VERSION = 1

RUN = "_run"
"""Property that names the run which wrote a node or relationship."""
FINGERPRINT = "_fp"
"""Property with the 48-bit digest of the source row's mapped values."""
ROW = "_row"
"""Key property of rows whose table has no key: the row's place in the table at reading."""


@dataclass(frozen=True, slots=True)
class Property:
    """A column that becomes a property of type `type` (a name of `mapping.types`)."""

    name: str
    column: str
    type: str
    include: bool = True


@dataclass(frozen=True)
class NodeRule:
    """Each row of `table` becomes a node with `label`.

    `key` names the properties that identify a node; empty where the table has no key, in which
    case the row's place (`_row`) does. A rule that is not included moves nothing.
    """

    label: str
    table: TableName
    key: tuple[str, ...]
    properties: tuple[Property, ...]
    because: str = ""
    include: bool = True

    @property
    def id(self) -> str:
        """The rule's name in journals and reports."""
        return self.label

    @cached_property
    def included_properties(self) -> tuple[Property, ...]:
        """The properties that are moved; those of the key always are."""
        return tuple(p for p in self.properties if p.include or p.name in self.key)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The properties that identify a node in the graph."""
        return self.key or (ROW,)

    def property_named(self, name: str) -> Property | None:
        """The property of that name, or None."""
        return next((p for p in self.properties if p.name == name), None)

    def property_of(self, column: str) -> Property | None:
        """The property made of that column, or None."""
        return next((p for p in self.properties if p.column == column), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a relationship: the node of `label` whose `references` equal our `columns`.

    `references` are columns of the label's table. Both are empty where the end is the row itself
    and its table has no key.
    """

    label: str
    columns: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class RelationshipRule:
    """Each row of `table` whose columns of both ends are set becomes a relationship.

    `key` names the properties that tell apart several relationships between the same two nodes;
    (`_row`,) where only the row's place does.
    """

    type: str
    table: TableName
    start: Endpoint
    end: Endpoint
    key: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    because: str = ""
    include: bool = True

    @property
    def id(self) -> str:
        """The rule's name in journals and reports."""
        return f"({self.start.label})-[{self.type}]->({self.end.label})"

    @cached_property
    def included_properties(self) -> tuple[Property, ...]:
        """The properties that are moved; those of the key always are."""
        return tuple(p for p in self.properties if p.include or p.name in self.key)

    def property_named(self, name: str) -> Property | None:
        """The property of that name, or None."""
        return next((p for p in self.properties if p.name == name), None)


Rule = NodeRule | RelationshipRule


@dataclass(frozen=True)
class Mapping:
    """All rules, in the order of the file."""

    nodes: tuple[NodeRule, ...] = ()
    relationships: tuple[RelationshipRule, ...] = ()
    database: str = ""
    version: int = field(default=FORMAT_VERSION)

    @cached_property
    def active_nodes(self) -> tuple[NodeRule, ...]:
        """The node rules that move rows."""
        return tuple(rule for rule in self.nodes if rule.include)

    @cached_property
    def active_relationships(self) -> tuple[RelationshipRule, ...]:
        """The relationship rules that move rows: included, and both ends are."""
        labels = {rule.label for rule in self.active_nodes}
        return tuple(
            rule
            for rule in self.relationships
            if rule.include and rule.start.label in labels and rule.end.label in labels
        )

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, nodes first."""
        return (*self.nodes, *self.relationships)

    def active_rules(self) -> Iterator[Rule]:
        """All rules that move rows, nodes first."""
        yield from self.active_nodes
        yield from self.active_relationships

    def node(self, label: str) -> NodeRule | None:
        """The rule of that label, or None."""
        return self._by_label.get(label)

    def node_of(self, table: TableName) -> NodeRule | None:
        """The rule that makes nodes of that table, or None."""
        return self._by_table.get(table)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, or None."""
        return self._by_id.get(rule_id)

    @cached_property
    def _by_label(self) -> dict[str, NodeRule]:
        return {rule.label: rule for rule in reversed(self.nodes)}

    @cached_property
    def _by_table(self) -> dict[TableName, NodeRule]:
        return {rule.table: rule for rule in reversed(self.nodes)}

    @cached_property
    def _by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in reversed(self.rules)}
