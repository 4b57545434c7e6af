"""What the values of rows say: deleted ones, kinds, keys that nobody declared, views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from geode_tui.catalog import Column, Table
from geode_tui.errors import MappingError
from geode_tui.mapping import reshape
from geode_tui.mapping.expressions import quote_name
from geode_tui.mapping.implied import discriminator_of, family, keys_of
from geode_tui.mapping.model import LabelBy, Mapping, NodeRule
from geode_tui.mapping.suggestions.affinity import name_words, stem_of
from geode_tui.mapping.suggestions.model import Certainty, Edit, Evidence, Suggestion
from geode_tui.mapping.suggestions.tables import labels_of

_DELETED = frozenset({"deleted", "removed", "archived", "discarded", "trashed", "destroyed"})
_TIMES = frozenset({"date", "timestamp", "timestamptz"})
_KINDS = frozenset({"type", "kind", "role", "category", "class", "subtype", "subclass"})
_MOST_KINDS = 12
_ALMOST_UNIQUE = 0.9
_FEWEST_ROWS = 20


def soft_deletes(evidence: Evidence) -> Iterator[Suggestion]:
    """Rows that somebody marked as deleted and that need not move."""
    for rule, table in evidence.nodes():
        column = next((c for c in table.columns if _marks_deleted(c)), None)
        if column is None or rule.where:
            continue
        share = _deleted_share(evidence, table, column)
        if share == 0:
            continue
        name = quote_name(column.name)
        is_flag = column.type.resolved().name == "bool"
        where = f"{name} IS NOT TRUE" if is_flag else f"{name} IS NULL"
        rows = evidence.rows(table.name)
        known = f"about -{round((rows or 0) * (share or 0)):,} of ±{rows or 0:,} nodes"
        left = known if share and rows else "fewer nodes"
        if evidence.leading_to.get(rule.id):
            left += ", and the relationships that lead to them"
        certainty: Certainty = "guess" if is_flag or share is None else "likely"
        yield Suggestion(
            f"soft delete {table.name}",
            "soft delete",
            table.name,
            f"leave out the rows of {table.name.name} that {column.name} marks",
            f"{column.name} is set in {share:.1%} of the rows"
            if share is not None
            else f"{column.name} reads as a mark of deleted rows",
            left,
            certainty,
            _where_edit(rule, where),
        )


def _marks_deleted(column: Column) -> bool:
    words = name_words(column.name)
    kind = column.type.resolved().name
    if _DELETED.isdisjoint(words):
        return False
    if kind == "bool":
        return len(words) == 1 or words[0] in ("is", "was")
    return kind in _TIMES and column.nullable and (len(words) == 1 or words[0] in _DELETED)


def _deleted_share(evidence: Evidence, table: Table, column: Column) -> float | None:
    seen = evidence.seen(table, column.name)
    if seen is None:
        return None
    if column.type.resolved().name == "bool":
        return sum(share for value, share in seen.common if value in ("t", "true"))
    return 1 - seen.null_share


def _where_edit(rule: NodeRule, where: str) -> Edit:
    """The condition on the nodes of a table, and on the relationships that its rows are."""
    rule_id = rule.id

    def apply(mapping: Mapping) -> Mapping:
        found = mapping.node(rule_id)
        if found is None or found.where:
            raise MappingError(f"{rule_id} has a condition already, or is no more")
        mapping = reshape.set_where(mapping, found, where)
        relationships = tuple(
            replace(r, where=f"({r.where}) AND {where}" if r.where else where)
            if r.table == found.table and rule_id in (r.start.node, r.end.node)
            else r
            for r in mapping.relationships
        )
        return replace(mapping, relationships=relationships)

    return apply


def labels_by_value(evidence: Evidence) -> Iterator[Suggestion]:
    """Columns that say what kind of thing a row is."""
    for rule, table in evidence.nodes():
        if rule.labels_by is not None:
            continue
        told = {discriminator_of(table, column.name) for column in table.columns}
        for column in table.columns:
            if column.name not in told and not _is_reference(evidence, table, column):
                made = _by_value(evidence, rule, table, column)
                if made is not None:
                    yield made


def _is_reference(evidence: Evidence, table: Table, column: Column) -> bool:
    rules = evidence.of_table.get(table.name, ())
    declared = any(column.name in key.columns for key in table.foreign_keys)
    return declared or any(column.name in (*r.start.columns, *r.end.columns) for r in rules)


def _by_value(
    evidence: Evidence, rule: NodeRule, table: Table, column: Column
) -> Suggestion | None:
    is_enum = column.type.resolved().kind == "enum"
    is_kind = bool(name_words(column.name)) and name_words(column.name)[-1] in _KINDS
    if not is_enum and not (is_kind and family(column.type) == "text"):
        return None
    shares = evidence.values(table, column.name)
    if not shares and is_enum and not column.nullable:
        values = column.type.resolved().labels
    else:
        values = tuple(value for value, _ in shares)
    if not 2 <= len(values) <= _MOST_KINDS:
        return None
    labels = labels_of(values, evidence.mapping, rule.id)
    if not labels:
        return None
    shown = [f"{value} {share:.0%}" for value, share in shares] or list(values)
    return Suggestion(
        f"labels by value {table.name} ({column.name})",
        "labels by value",
        table.name,
        f"give {rule.id} a label by {column.name}",
        f"{len(values)} values, never null: {', '.join(shown)}",
        f"+{len(labels)} labels: {', '.join(label for _, label in labels)}",
        "likely" if is_kind else "guess",
        _label_edit(rule, LabelBy(column.name, labels)),
    )


def _label_edit(rule: NodeRule, by: LabelBy) -> Edit:
    rule_id = rule.id

    def apply(mapping: Mapping) -> Mapping:
        found = mapping.node(rule_id)
        if found is None or found.labels_by is not None:
            raise MappingError(f"{rule_id} has labels by value already, or is no more")
        return reshape.set_labels_by(mapping, found, by)

    return apply


def first_rows(evidence: Evidence) -> Iterator[Suggestion]:
    """Tables without a key that have a column whose values are almost unique."""
    for rule, table in evidence.nodes():
        rows = evidence.rows(table.name)
        if rule.key or table.kind not in ("table", "partitioned") or not rows:
            continue
        found = [c for c in table.columns if _is_almost_unique(evidence, table, c, rows)]
        if rows < _FEWEST_ROWS or not found:
            continue
        column = max(found, key=lambda c: bool(stem_of(name_words(c.name)).ending))
        seen = evidence.seen(table, column.name)
        item = rule.property_of(column.name)
        if seen is None or item is None or item.expression:
            continue
        double = max(0, rows - seen.distinct)
        yield Suggestion(
            f"keep first {table.name}",
            "keep first",
            table.name,
            f"identify {rule.id} by {column.name}, keep the first row of each",
            f"no key; ±{seen.distinct:,} distinct values in ±{rows:,} rows, never null",
            f"about -{double:,} nodes" if double else "the same nodes, found by a key",
            "guess",
            _key_edit(evidence, rule, item.name, _order(table, column)),
        )


def _is_almost_unique(evidence: Evidence, table: Table, column: Column, rows: int) -> bool:
    seen = evidence.seen(table, column.name)
    if seen is None or seen.null_share or not family(column.type):
        return False
    return seen.distinct >= rows * _ALMOST_UNIQUE


def _order(table: Table, key: Column) -> str:
    """The oldest first, else by every other column that has an order."""
    others = [c for c in table.columns if c is not key]
    times = [c for c in others if c.type.resolved().name in _TIMES]
    ordered = times[:1] or [c for c in others if family(c.type)] or [key]
    return ", ".join(quote_name(column.name) for column in ordered)


def _key_edit(evidence: Evidence, rule: NodeRule, name: str, order: str) -> Edit:
    rule_id, catalog = rule.id, evidence.catalog

    def apply(mapping: Mapping) -> Mapping:
        found = mapping.node(rule_id)
        if found is None or found.key:
            raise MappingError(f"{rule_id} has a key already, or is no more")
        return reshape.set_key(mapping, catalog, found, (name,), order)

    return apply


def views(evidence: Evidence) -> Iterator[Suggestion]:
    """Views whose rows could be nodes: they seem to have a key, or are stored."""
    tables = [t for t in evidence.catalog.tables if t.kind in ("table", "partitioned")]
    keyed: dict[str, list[Table]] = {}
    for table in tables:
        for columns in keys_of(table):
            if len(columns) == 1:
                keyed.setdefault(columns[0], []).append(table)
    for view in evidence.catalog.tables:
        if view.kind not in ("view", "materialized view") or not view.columns:
            continue
        if evidence.mapping.node_of(view.name) is not None or not view.readable:
            continue
        first = view.columns[0]
        base = _base(view, first, keyed.get(first.name, []))
        declared = bool(keys_of(view))
        if base is not None or declared or view.has_storage:
            yield _view(evidence, view, first if base and not declared else None, base)


def _base(view: Table, first: Column, keyed: list[Table]) -> Table | None:
    """The table that the view reads and whose key its first column seems to be."""
    for table in keyed:
        theirs = table.column(first.name)
        same = theirs is not None and family(theirs.type) == family(first.type) != ""
        if same and re.search(rf"\b{re.escape(table.name.name)}\b", view.definition):
            return table
    return None


def _view(evidence: Evidence, view: Table, key: Column | None, base: Table | None) -> Suggestion:
    reason = f"a {view.kind} of {len(view.columns)} columns"
    if key is not None and base is not None:
        reason += f"; its first column {key.name} is the key of {base.name.name}"
    rows = evidence.rows(view.name)
    columns = (key.name,) if key else ()
    return Suggestion(
        f"view {view.name}",
        "view",
        view.name,
        f"make the rows of {view.name.name} nodes",
        reason,
        f"+1 label, about +{rows:,} nodes" if rows else "+1 label",
        "guess",
        lambda mapping: reshape.add_node(mapping, view, columns),
    )
