"""A first mapping from a catalog: every rule with the reason for it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from geode_tui.catalog import Catalog, Column, ForeignKey, Key, Table, TableName
from geode_tui.mapping import names
from geode_tui.mapping.model import (
    ROW,
    Endpoint,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
)
from geode_tui.mapping.types import default_type


def infer(catalog: Catalog) -> Mapping:
    """Map every table to a label, or to a relationship where it only joins two others.

    Foreign keys become relationships from the row that owns them to the row they point at.
    Views, materialized views and foreign tables are left out (the assessment names them).
    """
    tables = [table for table in catalog.tables if table.kind in ("table", "partitioned")]
    referenced = {key.to_table for table in tables for key in table.foreign_keys}
    joins = {t.name: t for t in tables if t.name not in referenced and _is_join(t, catalog)}
    nodes: dict[TableName, NodeRule] = {}
    labels: set[str] = set()
    for table in tables:
        if table.name not in joins:
            rule = _node(table, labels)
            labels.add(rule.label)
            nodes[table.name] = rule
    _inherit(nodes, catalog)
    taken: dict[tuple[str, str], set[str]] = {}
    relationships: list[RelationshipRule] = []
    for table in tables:
        made = _join(table, nodes) if table.name in joins else _references(table, nodes)
        for relationship in made:
            relationships.append(_unique_type(relationship, taken))
    return Mapping(tuple(nodes.values()), tuple(relationships), catalog.server.database)


def _inherit(nodes: dict[TableName, NodeRule], catalog: Catalog) -> None:
    """Give the nodes of a table the labels of the tables it inherits from.

    Only where its key has the same columns: the parent's key identifies no row of the child.
    """
    for name, rule in nodes.items():
        ancestors = [nodes[parent] for parent in _ancestors(name, catalog) if parent in nodes]
        labels = tuple(
            parent.label for parent in ancestors if parent.key and parent.key == rule.key
        )
        if labels:
            tables = ", ".join(str(parent.table) for parent in ancestors if parent.label in labels)
            because = f"{rule.because}; inherits from {tables}"
            nodes[name] = replace(rule, labels=labels, because=because)


def _ancestors(name: TableName, catalog: Catalog) -> Iterator[TableName]:
    """The tables that a table inherits from, the nearest first."""
    seen: set[TableName] = set()
    waiting = [name]
    while waiting:
        table = catalog.table(waiting.pop(0))
        for parent in table.inherits if table else ():
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
                yield parent


def row_key(table: Table) -> Key | None:
    """The key that identifies a row: the primary key, or the first unique key without nulls."""
    if table.primary_key is not None:
        return table.primary_key
    for key in table.unique_keys:
        columns = [table.column(name) for name in key.columns]
        if all(column is not None and not column.nullable for column in columns):
            return key
    return None


def properties_of(columns: Iterable[Column]) -> tuple[Property, ...]:
    """A property for each column, with distinct names, in the order of the columns."""
    taken: set[str] = set()
    made = []
    for column in columns:
        name = names.unused(names.property_name(column.name), taken)
        taken.add(name)
        made.append(Property(name, column.name, default_type(column.type)))
    return tuple(made)


def endpoint_of_row(table: Table, label: str) -> Endpoint:
    """The end of a relationship that is the owning row itself."""
    key = row_key(table)
    columns = key.columns if key else ()
    return Endpoint(label, columns, columns)


def _node(table: Table, labels: Container[str]) -> NodeRule:
    label = names.label_name(table.name.name)
    if label in labels:
        label = names.unused(names.label_name(f"{table.name.schema}_{table.name.name}"), labels)
    properties = properties_of(table.columns)
    key = row_key(table)
    by_column = {p.column: p.name for p in properties}
    key_names = tuple(by_column[column] for column in key.columns) if key else ()
    return NodeRule(label, table.name, key_names, properties, _node_reason(table, key))


def _node_reason(table: Table, key: Key | None) -> str:
    if key is None:
        reason = "no key: a row is known by its place in the table"
    else:
        kind = "primary key" if key is table.primary_key else f"unique key {key.name}"
        reason = f"{kind} ({', '.join(key.columns)})"
    if table.leaves:
        reason += f"; {len(table.leaves)} partitions, one label"
    return reason


def _is_join(table: Table, catalog: Catalog) -> bool:
    keys = _distinct(table.foreign_keys)
    if len(keys) != 2 or any(catalog.table(key.to_table) is None for key in keys):
        return False
    ends = [name for key in keys for name in key.columns]
    if len(set(ends)) != len(ends):
        return False
    columns = [table.column(name) for name in ends]
    if any(column is None or column.nullable for column in columns):
        return False
    identity = row_key(table)
    return identity is None or set(ends) <= set(identity.columns)


def _join(table: Table, nodes: dict[TableName, NodeRule]) -> list[RelationshipRule]:
    start, end = _direction(table)
    start_rule, end_rule = nodes.get(start.to_table), nodes.get(end.to_table)
    if start_rule is None or end_rule is None:
        return []
    ends = {*start.columns, *end.columns}
    properties = properties_of(c for c in table.columns if c.name not in ends)
    identity = row_key(table)
    rest = [name for name in identity.columns if name not in ends] if identity else []
    by_column = {p.column: p.name for p in properties}
    key = tuple(by_column[name] for name in rest) if identity else (ROW,)
    type_name, why = names.join_name(table.name.name, start_rule.table.name, end_rule.table.name)
    where = "both in the key" if identity else "no key"
    because = f"2 foreign keys, {where}, {len(properties)} more columns; {why}"
    return [
        RelationshipRule(
            type_name,
            table.name,
            Endpoint(start_rule.label, start.columns, start.to_columns),
            Endpoint(end_rule.label, end.columns, end.to_columns),
            key,
            properties,
            because,
        )
    ]


def _direction(table: Table) -> tuple[ForeignKey, ForeignKey]:
    """The foreign key whose table stands first in the join table's name is the start."""
    first, second = _distinct(table.foreign_keys)
    order = {column: place for place, column in enumerate(table.column_names)}
    if order[second.columns[0]] < order[first.columns[0]]:
        first, second = second, first
    own = [names.singular(word) for word in names.words(table.name.name)]

    def leads(key: ForeignKey) -> bool:
        target = [names.singular(word) for word in names.words(key.to_table.name)]
        return bool(target) and own[: len(target)] == target

    return (second, first) if leads(second) and not leads(first) else (first, second)


def _references(table: Table, nodes: dict[TableName, NodeRule]) -> list[RelationshipRule]:
    owner = nodes[table.name]
    made = []
    for key in _distinct(table.foreign_keys):
        target = nodes.get(key.to_table)
        if target is None:
            continue
        type_name, why = names.relationship_name(key.columns, key.to_table.name)
        made.append(
            RelationshipRule(
                type_name,
                table.name,
                endpoint_of_row(table, owner.label),
                Endpoint(target.label, key.columns, key.to_columns),
                because=f"foreign key ({', '.join(key.columns)}) to {key.to_table}; {why}",
            )
        )
    return made


def _distinct(keys: Iterable[ForeignKey]) -> list[ForeignKey]:
    """The foreign keys that can be followed, without those that say the same again."""
    seen: dict[tuple[object, ...], ForeignKey] = {}
    for key in keys:
        if key.obstacle:
            continue
        pairs = tuple(sorted(zip(key.columns, key.to_columns, strict=True)))
        seen.setdefault((key.to_table, pairs), key)
    return list(seen.values())


def _unique_type(
    rule: RelationshipRule, taken: dict[tuple[str, str], set[str]]
) -> RelationshipRule:
    """The rule with a type that no other rule between the same labels has."""
    used = taken.setdefault((rule.start.node, rule.end.node), set())
    type_name = names.unused(rule.type, used)
    used.add(type_name)
    return rule if type_name == rule.type else replace(rule, type=type_name)
