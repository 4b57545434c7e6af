"""Tables that could be something else than a label: a part of another, a property, a relationship,
or a label after all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geode_tui.catalog import Table
from geode_tui.mapping import names, reshape
from geode_tui.mapping.implied import family, keys_of
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import Mapping, NodeRule, RelationshipRule
from geode_tui.mapping.suggestions.model import (
    Certainty,
    Edit,
    Evidence,
    Suggestion,
    about,
    listed,
)

LOOKUP_ROWS = 50
LOOKUP_COLUMNS = 3
_REPEATED = 2
RICH = 4
"""A join table with so many columns of its own may be a thing of its own."""


def folds(evidence: Evidence) -> Iterator[Suggestion]:
    """1:1 tables whose columns could be properties of the node they belong to."""
    for rule, table in evidence.nodes():
        if rule.id in evidence.leading_to:
            continue
        links = [
            link
            for link in evidence.of_table.get(table.name, ())
            if link.start.node == rule.id
            and link.end.node != rule.id
            and reshape.is_one_to_one(table, link.end.columns)
        ]
        if links:
            yield _fold(evidence, rule, table, links)


def _fold(
    evidence: Evidence, rule: NodeRule, table: Table, links: Sequence[RelationshipRule]
) -> Suggestion:
    parents = [_target(evidence, link) for link in links]
    parent, link = parents[0], links[0]
    moved = [p for p in rule.included_properties if p.column not in link.end.columns]
    mine, theirs = evidence.rows(table.name), evidence.rows(parent.table)
    kind = (
        "primary key"
        if table.primary_key and set(table.primary_key.columns) == set(link.end.columns)
        else "unique key"
    )
    because = f"its {kind} {listed(link.end.columns)} points at {parent.table.name}, 1:1"
    certainty: Certainty = "guess"
    if mine is not None and theirs:
        because += f", ±{min(mine, theirs):,} of ±{theirs:,} rows have one"
        certainty = "likely" if mine * 2 >= theirs else "guess"
    edits = [_fold_edit(evidence, table, each) for each in parents]
    return Suggestion(
        f"fold {table.name}",
        "fold",
        table.name,
        f"fold {table.name.name} into {parent.id}",
        because,
        f"-1 label, +{len(moved)} properties, " + about(mine, "relationships", "-"),
        certainty,
        edits[0],
        tuple(
            (f"fold {table.name.name} into {each.id}", edit)
            for each, edit in zip(parents[1:], edits[1:], strict=True)
        ),
    )


def _fold_edit(evidence: Evidence, table: Table, parent: NodeRule) -> Edit:
    catalog, to_table = evidence.catalog, parent.table
    return lambda mapping: reshape.fold(mapping, catalog, table.name, to_table)


def _target(evidence: Evidence, link: RelationshipRule) -> NodeRule:
    rule = evidence.mapping.node(link.end.node)
    assert rule is not None
    return rule


def lookups(evidence: Evidence) -> Iterator[Suggestion]:
    """Small tables of names that could be properties or labels of what points at them."""
    for rule, table in evidence.nodes():
        links = evidence.leading_to.get(rule.id, [])
        rows = evidence.rows(table.name)
        small = rows is not None and 0 < rows <= LOOKUP_ROWS
        if not links or not small or len(table.columns) > LOOKUP_COLUMNS:
            continue
        name = _name_column(table)
        plain = not evidence.of_table.get(table.name) and _is_repeated(evidence, links, rows or 0)
        if name is not None and plain:
            yield from _lookup(evidence, rule, table, links, name)


def _is_repeated(evidence: Evidence, links: Sequence[RelationshipRule], rows: int) -> bool:
    """Whether each row is pointed at again and again, as a word of a list is."""
    pointing = 0.0
    for link in links:
        owner = evidence.catalog.table(link.table)
        if owner is None or reshape.is_one_to_one(owner, link.end.columns):
            return False
        pointing += _relationships(evidence, link) or 0
    return pointing >= rows * _REPEATED


def _name_column(table: Table) -> str | None:
    """The first text that is not the key."""
    key = row_key(table)
    for column in table.columns:
        in_key = key is not None and column.name in key.columns
        if not in_key and family(column.type) == "text":
            return column.name
    return None


def _lookup(
    evidence: Evidence,
    rule: NodeRule,
    table: Table,
    links: Sequence[RelationshipRule],
    name: str,
) -> Iterator[Suggestion]:
    catalog = evidence.catalog
    owners = ", ".join(dict.fromkeys(link.start.node for link in links))
    because = (
        f"±{evidence.rows(table.name)} rows of {len(table.columns)} columns; "
        f"only pointed at, by {owners}"
    )
    lost = sum(_relationships(evidence, link) or 0 for link in links)
    known = f"-1 label, about -{round(lost):,} relationships"

    def as_property(mapping: Mapping) -> Mapping:
        return reshape.lookup_to_property(mapping, catalog, table.name, name)

    property_title = f"make {table.name.name} a property of {owners}"
    labels = _labels(evidence, rule, table, links)
    as_label = _as_label(evidence, table, labels) if labels else None
    label_title = f"make {table.name.name} labels of {owners}"
    yield Suggestion(
        f"lookup property {table.name}",
        "lookup property",
        table.name,
        property_title,
        because,
        f"{known}, +{len(links)} {'property' if len(links) == 1 else 'properties'}",
        "guess",
        as_property,
        ((label_title, as_label),) if as_label else (),
    )
    if as_label:
        shown = ", ".join(label for _, label in labels)
        yield Suggestion(
            f"lookup label {table.name}",
            "lookup label",
            table.name,
            label_title,
            f"{because}; its keys are words: {shown}",
            f"{known}, +{len(labels)} labels by value",
            "guess",
            as_label,
            ((property_title, as_property),),
        )


def _labels(
    evidence: Evidence, rule: NodeRule, table: Table, links: Sequence[RelationshipRule]
) -> tuple[tuple[str, str], ...]:
    """A label for each key that is pointed at, where those are words that the statistics know."""
    key = row_key(table)
    if key is None or len(key.columns) != 1 or len(links) != 1:
        return ()
    owner = evidence.catalog.table(links[0].table)
    if owner is None or links[0].end.references != key.columns:
        return ()
    values = [value for value, _ in evidence.values(owner, links[0].end.columns[0])]
    return labels_of(values, evidence.mapping, links[0].start.node, without=rule.id)


def _as_label(evidence: Evidence, table: Table, labels: Sequence[tuple[str, str]]) -> Edit:
    catalog, key = evidence.catalog, row_key(table)
    assert key is not None
    column = key.columns[0]
    return lambda mapping: reshape.lookup_to_label(mapping, catalog, table.name, column, labels)


def labels_of(
    values: Sequence[str], mapping: Mapping, rule_id: str, without: str = ""
) -> tuple[tuple[str, str], ...]:
    """A label for each value, that no other rule has; empty where values are no words."""
    if not values or not all(any(c.isalpha() for c in value) for value in values):
        return ()
    taken = {
        label
        for rule in mapping.nodes
        if rule.id != without
        for label in (rule.id, *rule.all_labels)
    }
    labels = []
    for value in values:
        label = names.label_name(value)
        if label in taken or not names.words(value):
            label = names.unused(names.label_name(f"{value} {rule_id}"), taken)
        taken.add(label)
        labels.append((value, label))
    return tuple(labels)


def _relationships(evidence: Evidence, rule: RelationshipRule) -> float | None:
    rows = evidence.rows(rule.table)
    table = evidence.catalog.table(rule.table)
    if rows is None or table is None:
        return None
    present = [1.0]
    for end in (rule.start, rule.end):
        for column in end.columns:
            seen = evidence.seen(table, column)
            present.append(1 - seen.null_share if seen else 1.0)
    return rows * min(present)


def joins(evidence: Evidence) -> Iterator[Suggestion]:
    """Tables of nodes whose key is nothing but two references."""
    for rule, table in evidence.nodes():
        own = [r for r in evidence.of_table.get(table.name, ()) if r.start.node == rule.id]
        if len(own) != 2 or rule.id in evidence.leading_to:
            continue
        ends = {name for link in own for name in link.end.columns}
        key = row_key(table)
        if not any(ends <= set(columns) for columns in keys_of(table)):
            continue
        more = len(table.columns) - len(ends | set(key.columns if key else ()))
        if more >= RICH:
            continue
        targets = [link.end.node for link in own]
        yield Suggestion(
            f"join as relationship {table.name}",
            "join as relationship",
            table.name,
            f"make {table.name.name} a relationship between {targets[0]} and {targets[1]}",
            f"2 references, both in a key {listed(tuple(sorted(ends)))}, {more} more columns",
            about(evidence.rows(table.name), "relationships instead of nodes, -1 label"),
            "likely",
            _join_edit(evidence, table),
        )


def _join_edit(evidence: Evidence, table: Table) -> Edit:
    catalog = evidence.catalog
    return lambda mapping: reshape.node_to_join(mapping, catalog, table.name)


def rich_joins(evidence: Evidence) -> Iterator[Suggestion]:
    """Join tables that say so much of their own that their rows may be nodes."""
    for rule in evidence.mapping.active_relationships:
        table = evidence.catalog.table(rule.table)
        more = [p for p in rule.included_properties if p.column]
        if table is None or len(more) < RICH or evidence.mapping.node_of(rule.table):
            continue
        yield Suggestion(
            f"table as node {rule.table}",
            "table as node",
            rule.table,
            f"make the rows of {rule.table.name} nodes",
            f"it joins {rule.start.node} and {rule.end.node} and has {len(more)} more columns",
            about(evidence.rows(rule.table), "nodes instead of relationships, +1 label"),
            "guess",
            _node_edit(evidence, rule),
        )


def _node_edit(evidence: Evidence, rule: RelationshipRule) -> Edit:
    catalog, table, start, end = evidence.catalog, rule.table, rule.start, rule.end

    def apply(mapping: Mapping) -> Mapping:
        for each in mapping.relationships:
            if each.table == table and {each.start.columns, each.end.columns} == {
                start.columns,
                end.columns,
            }:
                return reshape.join_table_to_node(mapping, catalog, each)
        return mapping

    return apply
