"""References that lead to several tables: one column says which, another holds the key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.mapping import names, reshape
from geode_tui.mapping.expressions import quote_name, quote_text
from geode_tui.mapping.implied import discriminator_of, family
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.mapping.suggestions.affinity import name_words, table_words
from geode_tui.mapping.suggestions.model import Certainty, Edit, Evidence, Suggestion, about

_SEPARATOR = re.compile(r"::|[\\/.]")


@dataclass(frozen=True)
class _Branch:
    """The values that name one table, with that table's key and the share of rows."""

    to_table: TableName
    key: str
    values: tuple[str, ...]
    share: float


def polymorphic(evidence: Evidence) -> Iterator[Suggestion]:
    """A relationship for each table that the values of a type column name."""
    for _, table in evidence.nodes():
        for column in table.columns:
            by = discriminator_of(table, column.name)
            if by is None or any(column.name in key.columns for key in table.foreign_keys):
                continue
            shares = _values(evidence, table, by)
            branches, unknown = _branches(evidence, column, shares)
            if branches:
                yield _suggestion(evidence, table, by, column.name, branches, unknown)


def _values(evidence: Evidence, table: Table, by: str) -> tuple[tuple[str, float | None], ...]:
    """The values of the type column: those of the statistics, or all of an enum."""
    seen = evidence.seen(table, by)
    if seen is not None and seen.common:
        return seen.common
    column = table.column(by)
    labels = column.type.resolved().labels if column else ()
    return tuple((label, None) for label in labels)


def _branches(
    evidence: Evidence, column: Column, shares: tuple[tuple[str, float | None], ...]
) -> tuple[list[_Branch], list[str]]:
    found: dict[TableName, _Branch] = {}
    unknown = []
    for value, share in shares:
        rule = _named(evidence.mapping, value)
        key = _key(evidence.catalog, rule, column) if rule else None
        if rule is None or key is None:
            unknown.append(value)
            continue
        old = found.get(rule.table, _Branch(rule.table, key, (), 0.0))
        found[rule.table] = _Branch(
            rule.table, key, (*old.values, value), old.share + (share or 0.0)
        )
    return list(found.values()), unknown


def _named(mapping: Mapping, value: str) -> NodeRule | None:
    """The rule whose table or label a value names: `post`, `Posts`, `App\\Models\\Post`."""
    last = _SEPARATOR.split(value.strip())[-1]
    words = tuple(names.singular(word) for word in name_words(last))
    if not words:
        return None
    for rule in mapping.active_nodes:
        labelled = tuple(names.singular(word) for word in name_words(rule.label))
        if words in (table_words(rule.table.name), labelled):
            return rule
    return None


def _key(catalog: Catalog, rule: NodeRule, column: Column) -> str | None:
    """The only column of the table's key, if values of `column` can be values of it."""
    table = catalog.table(rule.table)
    key = row_key(table) if table else None
    if table is None or key is None or len(key.columns) != 1:
        return None
    theirs = table.column(key.columns[0])
    kinds = {family(column.type), family(theirs.type) if theirs else ""}
    fits = "" not in kinds and (len(kinds) == 1 or family(column.type) == "text")
    return key.columns[0] if fits else None


def _suggestion(
    evidence: Evidence,
    table: Table,
    by: str,
    column: str,
    branches: list[_Branch],
    unknown: list[str],
) -> Suggestion:
    certainty: Certainty = "likely" if len(branches) > 1 and not unknown else "guess"
    targets = ", ".join(branch.to_table.name for branch in branches)
    rows = evidence.rows(table.name)
    known = sum(branch.share for branch in branches)
    count = rows * known if rows is not None and known else None
    return Suggestion(
        f"polymorphic {table.name} ({by}, {column})",
        "polymorphic",
        table.name,
        f"{table.name.name} ({column}) points at {targets}, as {by} says",
        _because(by, branches, unknown),
        about(count, f"relationships in {len(branches)} rules", "+"),
        certainty,
        _edit(evidence.catalog, table.name, by, column, branches),
    )


def _because(by: str, branches: list[_Branch], unknown: list[str]) -> str:
    parts = []
    for branch in branches:
        share = f" ({branch.share:.0%} of the rows)" if branch.share else ""
        values = ", ".join(branch.values)
        parts.append(f"{values}{share} names table {branch.to_table.name}")
    reason = f"values of {by}: " + "; ".join(parts)
    if unknown:
        reason += f"; no table for {', '.join(unknown)}: those rows get no relationship"
    return reason


def _edit(
    catalog: Catalog, table: TableName, by: str, column: str, branches: list[_Branch]
) -> Edit:
    def apply(mapping: Mapping) -> Mapping:
        for branch in branches:
            mapping = reshape.add_reference(
                mapping,
                catalog,
                table,
                (column,),
                branch.to_table,
                (branch.key,),
                because=f"{by} says which table {column} points at",
                where=_condition(by, branch.values),
            )
        return mapping

    return apply


def _condition(by: str, values: tuple[str, ...]) -> str:
    texts = [quote_text(value) for value in values]
    if len(texts) == 1:
        return f"{quote_name(by)} = {texts[0]}"
    return f"{quote_name(by)} IN ({', '.join(texts)})"
