"""The mapping from tables to labels and relationships, as immutable values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from geode_tui.catalog import TableName

FORMAT_VERSION = 2

RUN = "_run"
"""Property that names the run which wrote a node or relationship."""
STEP = "_step"
"""Property with the number of the run's step that wrote a node or relationship."""
FINGERPRINT = "_fp"
"""Property with the 48-bit digest of the source row's mapped values."""
ROW = "_row"
"""Key property of rows whose table has no key: the row's place in the table at reading."""
OF = "_of"
"""Property with the name of the rule that made a node, where several rules share a label."""
OWN = frozenset({RUN, STEP, FINGERPRINT, ROW, OF})
"""Properties that are ours, not of the source."""
QUERY_SCHEMA = "query"
"""The schema under which rules name the queries of a mapping: `query.active_users`."""


@dataclass(frozen=True, slots=True)
class Property:
    """A column, or an expression over columns, that becomes a property.

    `type` is a name of `mapping.types`. `expression` is SQL over the columns of the row (empty:
    the column as it is); `column` may be empty where there is an expression. `join` names the
    joined table that the columns are of, empty for the rule's own.
    """

    name: str
    column: str
    type: str
    include: bool = True
    expression: str = ""
    join: str = ""


@dataclass(frozen=True, slots=True)
class Join:
    """Another table of which at most one row belongs to each row of the rule's table.

    `references[i]` of `table` equals our `columns[i]`; together they are a unique key of `table`.
    """

    name: str
    table: TableName
    columns: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelBy:
    """A column whose value gives a node one more label: pairs of value (as text) and label.

    `join` names the joined table that the column is of, empty for the rule's own.
    """

    column: str
    labels: tuple[tuple[str, str], ...]
    join: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A SELECT that rules can read like a table, as `query.<name>`."""

    name: str
    sql: str

    @property
    def table(self) -> TableName:
        """The name under which rules read it."""
        return TableName(QUERY_SCHEMA, self.name)


@dataclass(frozen=True, slots=True)
class Waiver:
    """A finding that somebody accepted, with the reason; `code` and `subject` are the finding's."""

    code: str
    subject: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wave:
    """Rules that an incremental run moves together, by their ids."""

    name: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A question that is asked of both sides of a migration: its SQL and its GQL.

    Numbers of the two answers may differ by `tolerance`.
    """

    name: str
    sql: str
    gql: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class NodeRule:
    """Each row of `table` becomes a node with `label`.

    `key` names the properties that identify a node; empty where the table has no key, in which
    case the row's place (`_row`) does. A rule that is not included moves nothing. `name` tells
    rules of one label apart (empty: the label is the name). `where` is a condition on the row;
    `labels` are labels that each node gets besides; `keep_first` is an order by which the first
    of several rows with the same key is kept (empty: the key is unique).
    """

    label: str
    table: TableName
    key: tuple[str, ...]
    properties: tuple[Property, ...]
    because: str = ""
    include: bool = True
    name: str = ""
    where: str = ""
    labels: tuple[str, ...] = ()
    labels_by: LabelBy | None = None
    joins: tuple[Join, ...] = ()
    keep_first: str = ""

    @property
    def id(self) -> str:
        """The rule's name in journals, reports and at the ends of relationships."""
        return self.name or self.label

    @cached_property
    def included_properties(self) -> tuple[Property, ...]:
        """The properties that are moved; those of the key always are."""
        return tuple(p for p in self.properties if p.include or p.name in self.key)

    @property
    def key_properties(self) -> tuple[Property, ...]:
        """The properties that `key` names, in its order; names of no property are left out."""
        found = (self.property_named(name) for name in self.key)
        return tuple(item for item in found if item is not None)

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Every label that a node of the rule may get, its own first."""
        by_value = self.labels_by.labels if self.labels_by else ()
        return (self.label, *self.labels, *(label for _, label in by_value))

    def property_named(self, name: str) -> Property | None:
        """The property of that name, or None."""
        return next((p for p in self.properties if p.name == name), None)

    def property_of(self, column: str) -> Property | None:
        """The property made of that column of the rule's own table, or None."""
        return next((p for p in self.properties if p.column == column and not p.join), None)

    def join_named(self, name: str) -> Join | None:
        """The join of that name, or None."""
        return next((join for join in self.joins if join.name == name), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a relationship: the node of rule `node` whose `references` equal our `columns`.

    `node` is a node rule's id; `references` are columns of its table. Both lists are empty where
    the end is the row itself and its table has no key.
    """

    node: str
    columns: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class RelationshipRule:
    """Each row of `table` whose columns of both ends are set becomes a relationship.

    `key` names the properties that tell apart several relationships between the same two nodes;
    (`_row`,) where only the row's place does. `where` is a condition on the row.
    """

    type: str
    table: TableName
    start: Endpoint
    end: Endpoint
    key: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    because: str = ""
    include: bool = True
    where: str = ""

    @property
    def id(self) -> str:
        """The rule's name in journals and reports."""
        return f"({self.start.node})-[{self.type}]->({self.end.node})"

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
    """All rules, in the order of the file.

    `ignored` are the ids of suggestions that somebody does not want to see again. A validation
    compares `statistics` (see `mapping.statistics`) and asks `checks`.
    """

    nodes: tuple[NodeRule, ...] = ()
    relationships: tuple[RelationshipRule, ...] = ()
    database: str = ""
    version: int = field(default=FORMAT_VERSION)
    queries: tuple[Query, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    ignored: tuple[str, ...] = ()
    waves: tuple[Wave, ...] = ()
    statistics: tuple[str, ...] = ()
    checks: tuple[Pair, ...] = ()

    @cached_property
    def active_nodes(self) -> tuple[NodeRule, ...]:
        """The node rules that move rows."""
        return tuple(rule for rule in self.nodes if rule.include)

    @cached_property
    def active_relationships(self) -> tuple[RelationshipRule, ...]:
        """The relationship rules that move rows: included, and both ends are."""
        active = {rule.id for rule in self.active_nodes}
        return tuple(
            rule
            for rule in self.relationships
            if rule.include and rule.start.node in active and rule.end.node in active
        )

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, nodes first."""
        return (*self.nodes, *self.relationships)

    def active_rules(self) -> Iterator[Rule]:
        """All rules that move rows, nodes first."""
        yield from self.active_nodes
        yield from self.active_relationships

    def node(self, rule_id: str) -> NodeRule | None:
        """The node rule of that id, or None."""
        return self._nodes_by_id.get(rule_id)

    def node_of(self, table: TableName) -> NodeRule | None:
        """The first rule that makes nodes of that table, or None."""
        some = self.nodes_of(table)
        return some[0] if some else None

    def nodes_of(self, table: TableName) -> tuple[NodeRule, ...]:
        """All rules that make nodes of that table."""
        return self._by_table.get(table, ())

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of that id, or None."""
        return self._by_id.get(rule_id)

    def query(self, table: TableName) -> Query | None:
        """The query that is read under that name, or None."""
        return next((query for query in self.queries if query.table == table), None)

    @cached_property
    def shared_labels(self) -> frozenset[str]:
        """Labels that more than one active rule gives to its nodes."""
        counts = Counter(label for rule in self.active_nodes for label in set(rule.all_labels))
        return frozenset(label for label, count in counts.items() if count > 1)

    def is_marked(self, rule: NodeRule) -> bool:
        """Whether the rule's nodes carry its name (`_of`): one of their labels is shared."""
        return not self.shared_labels.isdisjoint(rule.all_labels)

    def key_names(self, rule: NodeRule) -> tuple[str, ...]:
        """The properties that identify a node of the rule among all nodes of its label."""
        own = rule.key or (ROW,)
        return (*own, OF) if rule.label in self.shared_labels else own

    @cached_property
    def _nodes_by_id(self) -> dict[str, NodeRule]:
        return {rule.id: rule for rule in reversed(self.nodes)}

    @cached_property
    def _by_table(self) -> dict[TableName, tuple[NodeRule, ...]]:
        found: dict[TableName, list[NodeRule]] = {}
        for rule in self.nodes:
            found.setdefault(rule.table, []).append(rule)
        return {table: tuple(rules) for table, rules in found.items()}

    @cached_property
    def _by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in reversed(self.rules)}
