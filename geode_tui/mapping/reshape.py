"""Edits that give rules another shape: each gives a new mapping or says why it cannot be."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping import names
from geode_tui.mapping.edits import rename_type, replace_rule
from geode_tui.mapping.infer import properties_of, row_key
from geode_tui.mapping.model import (
    ROW,
    Endpoint,
    Join,
    LabelBy,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
)
from geode_tui.mapping.relation import column_named
from geode_tui.mapping.types import default_type
from geode_tui.mapping.waves import keep_waves


def set_where(mapping: Mapping, rule: Rule, where: str) -> Mapping:
    """Move only the rows that meet a condition; all of them when it is empty."""
    return replace_rule(mapping, rule, replace(rule, where=where.strip()))


def set_expression(mapping: Mapping, rule: Rule, name: str, expression: str) -> Mapping:
    """Make a property of an SQL expression; of its column as it is when it is empty.

    Raises MappingError where there is no such property, or nothing to make it of.
    """
    item = rule.property_named(name)
    if item is None:
        raise MappingError(f"{rule.id} has no property {name}")
    if not expression.strip() and not item.column:
        raise MappingError(f"{name} has no column", "", "give it an expression, or exclude it")
    changed = replace(item, expression=expression.strip())
    properties = tuple(changed if each is item else each for each in rule.properties)
    return replace_rule(mapping, rule, replace(rule, properties=properties))


def add_reference(
    mapping: Mapping,
    catalog: Catalog,
    table: TableName,
    columns: Sequence[str],
    to_table: TableName,
    to_columns: Sequence[str],
    *,
    because: str = "",
    where: str = "",
) -> Mapping:
    """Add the relationship that a foreign key of these columns would give.

    Raises MappingError where either table makes no nodes, or the relationship is there already.
    """
    owner, target = node_of(mapping, table), node_of(mapping, to_table)
    end = Endpoint(target.id, tuple(columns), tuple(to_columns))
    if any(
        r.table == table and end in (r.start, r.end) and r.where == where for r in made(mapping)
    ):
        raise MappingError(f"{table} ({', '.join(columns)}) leads to {target.id} already")
    type_name, why = names.relationship_name(tuple(columns), to_table.name)
    reason = f"{because}; {why}" if because else why
    start = row_end(owner, table_of(catalog, table))
    rule = RelationshipRule(type_name, table, start, end, because=reason, where=where)
    return with_relationships(mapping, (rule,))


def reverse(mapping: Mapping, rule: RelationshipRule, new_type: str = "") -> Mapping:
    """Let a relationship lead the other way, under another type if one is given.

    Raises MappingError where the type is no graph name or taken between the same ends.
    """
    turned = replace(rule, start=rule.end, end=rule.start)
    if turned.id != rule.id and mapping.rule(turned.id) is not None:
        turned = replace(turned, type=names.unused(turned.type, _types(mapping, turned)))
    changed = replace_rule(mapping, rule, turned)
    return rename_type(changed, turned, new_type) if new_type else changed


def fold(mapping: Mapping, catalog: Catalog, table: TableName, to_table: TableName) -> Mapping:
    """Make the columns of a 1:1 table properties of the node that each of its rows points at.

    Its own foreign keys lead from that node. Raises MappingError where a row of `to_table` may
    have several, where something leads to the table's nodes, or where its rule says more than
    which columns to move.
    """
    child, parent = node_of(mapping, table), node_of(mapping, to_table)
    if child.where or child.joins or child.labels_by or child.keep_first or child.labels:
        raise MappingError(
            f"{child.id} cannot be folded", "its rule has a condition, joins or labels of its own"
        )
    link = _link(mapping, child, parent, table_of(catalog, table))
    name = _join_name(parent, names.property_name(child.id))
    join = Join(name, table, link.end.references, link.end.columns)
    properties = _joined(parent, join, [p for p in child.properties if _is_moved(p, link.end)])
    folded = replace(parent, joins=(*parent.joins, join), properties=properties)
    own = Endpoint(parent.id, link.end.columns, link.end.references)
    kept: list[RelationshipRule] = []
    for rule in mapping.relationships:
        if rule is not link:
            kept.append(_led_from(rule, child, own, kept))
    nodes = tuple(folded if r is parent else r for r in mapping.nodes if r is not child)
    return keep_waves(replace(mapping, nodes=nodes, relationships=tuple(kept)))


def unfold(mapping: Mapping, catalog: Catalog, rule: NodeRule, join_name: str) -> Mapping:
    """Make a joined table a label of its own again, with a relationship to the node.

    Raises MappingError where the rule has no such join.
    """
    join = rule.join_named(join_name)
    if join is None:
        raise MappingError(f"{rule.id} has no join {join_name}")
    table = table_of(catalog, join.table)
    properties = tuple(item for item in rule.properties if item.join != join_name)
    joins = tuple(each for each in rule.joins if each is not join)
    by = rule.labels_by if rule.labels_by and rule.labels_by.join != join_name else None
    plain = replace(rule, properties=properties, joins=joins, labels_by=by)
    child = new_node(mapping, table)
    own, folded = row_end(child, table), Endpoint(rule.id, join.references, join.columns)
    nodes = tuple(plain if r is rule else r for r in mapping.nodes)
    relationships = tuple(
        replace(
            r,
            start=own if r.start == folded else r.start,
            end=own if r.end == folded else r.end,
        )
        if r.table == join.table
        else r
        for r in mapping.relationships
    )
    changed = replace(mapping, nodes=(*nodes, child), relationships=relationships)
    return add_reference(changed, catalog, join.table, join.references, rule.table, join.columns)


def lookup_to_property(
    mapping: Mapping, catalog: Catalog, table: TableName, column: str
) -> Mapping:
    """Make a column of a lookup table a property of every node that points at its rows.

    The lookup's label and the relationships to it go. Raises MappingError where they do not all
    come from the rows of nodes.
    """
    lookup = node_of(mapping, table)
    links = _links_to(mapping, lookup)
    value = column_named(table_of(catalog, table), column)
    nodes = {rule.id: rule for rule in mapping.nodes}
    for link in links:
        rule = nodes[link.start.node]
        join = Join(_join_name(rule, _role(link.end)), table, link.end.columns, link.end.references)
        item = Property(value.name, value.name, default_type(value.type))
        named = replace(item, name=names.unused(join.name, {p.name for p in rule.properties}))
        made_of = replace(named, join=join.name)
        nodes[rule.id] = replace(
            rule, joins=(*rule.joins, join), properties=(*rule.properties, made_of)
        )
    return _without_lookup(mapping, lookup, links, nodes)


def lookup_to_label(
    mapping: Mapping,
    catalog: Catalog,
    table: TableName,
    column: str,
    labels: Sequence[tuple[str, str]],
) -> Mapping:
    """Let a column of a lookup table give every node that points at its rows one more label.

    Raises MappingError as `lookup_to_property` does, or where a node has such labels already.
    """
    lookup = node_of(mapping, table)
    links = _links_to(mapping, lookup)
    column_named(table_of(catalog, table), column)
    nodes = {rule.id: rule for rule in mapping.nodes}
    for link in links:
        rule = nodes[link.start.node]
        if rule.labels_by is not None:
            raise MappingError(f"{rule.id} has labels by {rule.labels_by.column} already")
        join = Join(_join_name(rule, _role(link.end)), table, link.end.columns, link.end.references)
        by = LabelBy(column, tuple(labels), join.name)
        nodes[rule.id] = replace(rule, joins=(*rule.joins, join), labels_by=by)
    return _without_lookup(mapping, lookup, links, nodes)


def set_key(
    mapping: Mapping, catalog: Catalog, rule: NodeRule, key: Sequence[str], keep_first: str = ""
) -> Mapping:
    """Identify a rule's nodes by these properties; `keep_first` orders rows of the same key.

    Relationships of the table's own rows start there. Raises MappingError for an unknown property.
    """
    for name in key:
        if rule.property_named(name) is None:
            raise MappingError(f"{rule.id} has no property {name}")
    table = table_of(catalog, rule.table)
    keyed = replace(rule, key=tuple(key), keep_first=keep_first)
    before, after = row_end(rule, table), row_end(keyed, table)
    relationships = tuple(
        replace(
            r,
            start=after if r.start == before else r.start,
            end=after if r.end == before else r.end,
        )
        if r.table == rule.table
        else r
        for r in mapping.relationships
    )
    changed = replace_rule(mapping, rule, keyed)
    return replace(changed, relationships=relationships)


def set_labels_by(mapping: Mapping, rule: NodeRule, by: LabelBy | None) -> Mapping:
    """Give each node one more label by a value of its row, or no longer."""
    return replace_rule(mapping, rule, replace(rule, labels_by=by))


def share_label(mapping: Mapping, rule_ids: Sequence[str], label: str) -> Mapping:
    """Let several rules make nodes of one label; each keeps its id as its name.

    Raises MappingError where their keys have different names, or another rule is called so.
    """
    rules = [mapping.node(rule_id) for rule_id in rule_ids]
    some = [rule for rule in rules if rule is not None]
    if len(some) != len(rules) or len({rule.key for rule in some}) != 1:
        raise MappingError(
            f"{', '.join(rule_ids)} cannot share a label",
            "nodes of one label are found by a key of one name",
            "name the properties of their keys alike",
        )
    if any(r.label == label and r.id not in rule_ids for r in mapping.nodes):
        raise MappingError(f"label {label} exists already", "", "choose another name")
    nodes = tuple(
        replace(rule, name=rule.id, label=label) if rule.id in rule_ids else rule
        for rule in mapping.nodes
    )
    return replace(mapping, nodes=nodes)


def node_to_join(mapping: Mapping, catalog: Catalog, table: TableName) -> Mapping:
    """Take a table whose rows only join two others as a relationship between those.

    Raises MappingError where it has not exactly two references that are always set, or something
    leads to its nodes.
    """
    rule, source = node_of(mapping, table), table_of(catalog, table)
    own = [r for r in made(mapping) if r.table == table and r.start.node == rule.id]
    leads_here = any(
        rule.id in (r.start.node, r.end.node) for r in mapping.relationships if r not in own
    )
    if len(own) != 2 or leads_here or any(r.end.node == rule.id or r.where for r in own):
        raise MappingError(
            f"{rule.id} cannot be a relationship", "it does not have exactly two references"
        )
    start, end = _in_order([r.end for r in own], mapping, source)
    ends = (*start.columns, *end.columns)
    if len(set(ends)) != len(ends) or any(column_named(source, name).nullable for name in ends):
        raise MappingError(
            f"{rule.id} cannot be a relationship", "its references share a column or can be null"
        )
    names_of = [_node(mapping, side.node).table.name for side in (start, end)]
    type_name, why = names.join_name(table.name, *names_of)
    by_column = {p.column: p.name for p in rule.properties if not p.join}
    identity = row_key(source)
    rest = [name for name in identity.columns if name not in ends] if identity else []
    key = tuple(by_column[name] for name in rest) if identity else (ROW,)
    kept = tuple(p for p in rule.properties if p.column not in ends or p.expression)
    join = RelationshipRule(
        type_name, table, start, end, key, kept, f"joins two tables; {why}", where=rule.where
    )
    nodes = tuple(r for r in mapping.nodes if r is not rule)
    others = tuple(r for r in mapping.relationships if r not in own)
    return with_relationships(replace(mapping, nodes=nodes, relationships=others), (join,))


def join_table_to_node(mapping: Mapping, catalog: Catalog, rule: RelationshipRule) -> Mapping:
    """Make the rows of a join table nodes, with a relationship to each of both sides.

    Raises MappingError where the table makes nodes already.
    """
    if mapping.node_of(rule.table) is not None:
        raise MappingError(f"{rule.table} makes nodes already")
    table = table_of(catalog, rule.table)
    node = new_node(mapping, table)
    named = {p.column: p for p in rule.properties if not p.expression}
    properties = list(rule.properties)
    for item in node.properties:
        if item.column not in named:
            name = names.unused(item.name, {p.name for p in properties})
            named[item.column] = replace(item, name=name)
            properties.append(named[item.column])
    key = tuple(named[item.column].name for item in node.key_properties)
    node = replace(node, properties=tuple(properties), key=key, where=rule.where)
    relationships = tuple(r for r in mapping.relationships if r is not rule)
    changed = replace(mapping, nodes=(*mapping.nodes, node), relationships=relationships)
    start = row_end(node, table)
    ends = []
    for end in (rule.start, rule.end):
        target = _node(mapping, end.node).table.name
        type_name, why = names.relationship_name(end.columns, target)
        ends.append(RelationshipRule(type_name, rule.table, start, end, because=why))
    return with_relationships(changed, ends)


def add_node(mapping: Mapping, table: Table, key: Sequence[str] = ()) -> Mapping:
    """Make the rows of a table or view nodes; `key` names columns that identify a row.

    Raises MappingError where it makes nodes already.
    """
    if mapping.node_of(table.name) is not None:
        raise MappingError(f"{table.name} makes nodes already")
    return replace(mapping, nodes=(*mapping.nodes, new_node(mapping, table, key)))


def made(mapping: Mapping) -> list[RelationshipRule]:
    """The relationship rules that are included."""
    return [rule for rule in mapping.relationships if rule.include]


def node_of(mapping: Mapping, table: TableName) -> NodeRule:
    """The first included rule that makes nodes of a table. Raises MappingError."""
    for rule in mapping.nodes_of(table):
        if rule.include:
            return rule
    raise MappingError(f"no rule makes nodes of {table}")


def table_of(catalog: Catalog, name: TableName) -> Table:
    """The table of that name. Raises MappingError."""
    table = catalog.table(name)
    if table is None:
        raise MappingError(f"no table {name} in the source")
    return table


def row_end(rule: NodeRule, table: Table) -> Endpoint:
    """The end of a relationship that is the row of the rule's own table itself."""
    items = rule.key_properties
    if items and all(item.column and not item.expression for item in items):
        columns = tuple(item.column for item in items)
    else:
        key = row_key(table)
        columns = key.columns if key else ()
    return Endpoint(rule.id, columns, columns)


def with_relationships(mapping: Mapping, rules: Sequence[RelationshipRule]) -> Mapping:
    """The mapping with more relationships, each under a type that is free between its ends."""
    kept = list(mapping.relationships)
    for rule in rules:
        kept.append(_unused_type(rule, kept))
    return keep_waves(replace(mapping, relationships=tuple(kept)))


def new_node(mapping: Mapping, table: Table, key: Sequence[str] = ()) -> NodeRule:
    """A rule for a table as it would be inferred, with a label that nobody has."""
    taken = {label for rule in mapping.nodes for label in (rule.id, *rule.all_labels)}
    label = names.unused(names.label_name(table.name.name), taken)
    properties = properties_of(table.columns)
    by_column = {p.column: p.name for p in properties}
    identity = row_key(table)
    columns = tuple(key) or (identity.columns if identity else ())
    shown = f"key ({', '.join(columns)})" if columns else "no key"
    return NodeRule(label, table.name, tuple(by_column[c] for c in columns), properties, shown)


def _link(mapping: Mapping, child: NodeRule, parent: NodeRule, table: Table) -> RelationshipRule:
    """The relationship by which each row of the child belongs to one of the parent."""
    for rule in made(mapping):
        between = rule.table == child.table and rule.start.node == child.id
        if between and rule.end.node == parent.id and is_one_to_one(table, rule.end.columns):
            if child is parent or rule.where:
                break
            return rule
    raise MappingError(
        f"{child.id} cannot be folded into {parent.id}",
        f"no key of {child.table} points at {parent.table}",
    )


def is_one_to_one(table: Table, columns: Sequence[str]) -> bool:
    """Whether columns are a key of the table and never null."""
    if not any(set(key.columns) == set(columns) for key in table.keys):
        return False
    return all(not column_named(table, name).nullable for name in columns)


def _led_from(
    rule: RelationshipRule, child: NodeRule, own: Endpoint, others: Sequence[RelationshipRule]
) -> RelationshipRule:
    """The relationship with the folded row at the child's place."""
    ends = []
    for end in (rule.start, rule.end):
        itself = rule.table == child.table and end.columns == end.references
        if end.node == child.id and not itself:
            raise MappingError(f"{child.id} cannot be folded", f"{rule.id} leads to its nodes")
        ends.append(own if end.node == child.id else end)
    return _unused_type(replace(rule, start=ends[0], end=ends[1]), others)


def _is_moved(item: Property, link: Endpoint) -> bool:
    return item.include and (bool(item.expression) or item.column not in link.columns)


def _joined(parent: NodeRule, join: Join, properties: Sequence[Property]) -> tuple[Property, ...]:
    made_of = list(parent.properties)
    for item in properties:
        taken = {p.name for p in made_of}
        name = item.name
        if name in taken:
            name = names.unused(join.name + name[:1].upper() + name[1:], taken)
        made_of.append(replace(item, name=name, join=join.name))
    return tuple(made_of)


def _links_to(mapping: Mapping, lookup: NodeRule) -> list[RelationshipRule]:
    """The relationships to a lookup's nodes, each from the row of a node."""
    links = []
    for rule in mapping.relationships:
        if lookup.id not in (rule.start.node, rule.end.node):
            continue
        owner = mapping.node(rule.start.node)
        itself = owner is not None and owner.table == rule.table
        plain = itself and rule.start.columns == rule.start.references and not rule.where
        if rule.start.node == lookup.id or not plain:
            raise MappingError(
                f"{lookup.id} is no lookup", f"{rule.id} does more than point at its rows"
            )
        links.append(rule)
    if not links:
        raise MappingError(f"{lookup.id} is no lookup", "nothing points at its rows")
    return links


def _without_lookup(
    mapping: Mapping,
    lookup: NodeRule,
    links: Sequence[RelationshipRule],
    changed: dict[str, NodeRule],
) -> Mapping:
    nodes = tuple(changed[rule.id] for rule in mapping.nodes if rule is not lookup)
    others = tuple(rule for rule in mapping.relationships if rule not in links)
    return keep_waves(replace(mapping, nodes=nodes, relationships=others))


def _join_name(rule: NodeRule, wanted: str) -> str:
    return names.unused(wanted, {join.name for join in rule.joins})


def _role(end: Endpoint) -> str:
    """A property's name after the column that points at a lookup: `category_id`, category."""
    type_name, _ = names.relationship_name(end.columns[-1:], end.node)
    return names.property_name(type_name.removeprefix("HAS_").removeprefix("IN_").lower())


def _in_order(
    ends: Sequence[Endpoint], mapping: Mapping, table: Table
) -> tuple[Endpoint, Endpoint]:
    """The end whose table stands first in the join table's name, else the first column's."""
    order = {column: place for place, column in enumerate(table.column_names)}
    first, second = sorted(ends, key=lambda end: order[end.columns[0]])
    own = [names.singular(word) for word in names.words(table.name.name)]

    def leads(end: Endpoint) -> bool:
        target = [names.singular(w) for w in names.words(_node(mapping, end.node).table.name)]
        return bool(target) and own[: len(target)] == target

    return (second, first) if leads(second) and not leads(first) else (first, second)


def _node(mapping: Mapping, rule_id: str) -> NodeRule:
    rule = mapping.node(rule_id)
    if rule is None:
        raise MappingError(f"no rule makes {rule_id} nodes")
    return rule


def _types(mapping: Mapping, rule: RelationshipRule) -> Container[str]:
    return _taken(rule, mapping.relationships)


def _taken(rule: RelationshipRule, others: Sequence[RelationshipRule]) -> set[str]:
    ends = (rule.start.node, rule.end.node)
    return {other.type for other in others if (other.start.node, other.end.node) == ends}


def _unused_type(rule: RelationshipRule, others: Sequence[RelationshipRule]) -> RelationshipRule:
    return replace(rule, type=names.unused(rule.type, _taken(rule, others)))
