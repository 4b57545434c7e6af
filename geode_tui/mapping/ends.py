"""The ends of a relationship in SQL: the key of the node that a row points at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, RelationshipRule
from geode_tui.mapping.relation import OWNER, column_named, named, source_of, table_named
from geode_tui.mapping.types import Sql, cast
from geode_tui.mapping.values import Value, condition_on, key_values, marker, rows_of


@dataclass(frozen=True)
class End:
    """One end of a relationship: the node's key, the join it takes, the rows it leaves out."""

    rule: NodeRule
    own: bool
    values: list[Value]
    join: tuple[exp.Expr, Sql] | None = None
    kept: Sql | None = None


def own_ends(rule: RelationshipRule, mapping: Mapping) -> tuple[bool, bool]:
    """Whether the row that makes the relationship is itself the node at its start, at its end.

    Where two rules of one table meet, one that keeps the first of several rows is pointed at: each
    row leads to the node that was kept for it.
    """
    nodes = [mapping.node(end.node) for end in (rule.start, rule.end)]
    start, end = (
        node is not None and node.table == rule.table and one.columns == one.references
        for node, one in zip(nodes, (rule.start, rule.end), strict=True)
    )
    if start and end and rule.start.node != rule.end.node:
        start, end = (not (node and node.keep_first) for node in nodes)
    return start, end


def end_of(
    end: Endpoint, own: bool, alias: str, table: Table, mapping: Mapping, catalog: Catalog
) -> End:
    """The key of the node at one end: our own columns where they hold it, else by a join."""
    rule = mapping.node(end.node)
    if rule is None:
        raise MappingError(f"a relationship ends at {end.node}, which no rule makes")
    target = table_named(catalog, rule.table)
    if own:
        kept = condition_on(rule.where, table, OWNER)
        return End(rule, True, key_values(rule, table, mapping, OWNER), None, kept)
    pairs = list(zip(end.references, end.columns, strict=True))
    kept = _not_filtered(rule, pairs, target, table)
    direct = _direct_values(rule, dict(pairs), target, table, mapping)
    if direct is not None:
        return End(rule, False, direct, None, kept)
    if not rule.key and not target.has_storage:
        raise MappingError(
            f"{rule.id} nodes have no key to end at",
            f"{target.name} is a {target.kind}",
            "name the properties that identify a node: key: […]",
        )
    on = equal_pairs(pairs, target, alias, table)
    # A node that is not there is an orphan's, not a key that is null.
    values = [replace(v, required=False) for v in key_values(rule, target, mapping, alias)]
    one_each = any(set(key.columns) <= set(end.references) for key in target.keys)
    if one_each:
        rows = source_of(target, alias)
    elif rule.keep_first and any(item.expression for item in rule.key_properties):
        rows = _one_of_each(rule, target, end.references, alias)
    else:
        rows = rows_of(rule, target, alias)
    return End(rule, False, values, (rows, on), kept)


def _one_of_each(
    rule: NodeRule, target: Table, references: tuple[str, ...], alias: str
) -> exp.Expr:
    """One row for each value that can be pointed at: several of them may make the same key."""
    columns = [exp.column(name, table=OWNER, quoted=True) for name in references]
    rows = exp.select(f"{OWNER}.*").from_(source_of(target)).distinct(*columns)
    where = condition_on(rule.where, target, OWNER)
    return named(rows if where is None else rows.where(where), alias)


def _direct_values(
    rule: NodeRule, pairs: dict[str, str], target: Table, table: Table, mapping: Mapping
) -> list[Value] | None:
    """The key of the node at an end from our own columns, None where a join must find it."""
    if not rule.key or not _same_types(pairs, target, table):
        return None
    made = []
    for value, name in zip(key_values(rule, target, mapping, OWNER), rule.key, strict=False):
        item = rule.property_named(name)
        assert item is not None
        if item.expression or item.column not in pairs:
            return None
        source = exp.column(pairs[item.column], table=OWNER, quoted=True)
        made.append(replace(value, source=source, required=False))
    if len(made) != len(pairs):
        return None
    return [*made, marker(rule)] if rule.label in mapping.shared_labels else made


def _not_filtered(
    rule: NodeRule, pairs: list[tuple[str, str]], target: Table, table: Table
) -> Sql | None:
    """That the row we point at is not one that the rule of its node leaves out."""
    if not rule.where:
        return None
    kept = condition_on(rule.where, target, "x")
    assert kept is not None
    same = equal_pairs(pairs, target, "x", table)
    there = exp.select(exp.Literal.number(1)).from_(source_of(target, "x")).where(same)
    left_out = exp.Not(this=exp.paren(exp.Is(this=kept, expression=exp.true())))
    none_left_out = exp.Not(this=exp.Exists(this=there.where(left_out)))
    if not rule.keep_first:
        return none_left_out
    return exp.paren(exp.or_(none_left_out, exp.Exists(this=there.where(kept.copy()))))


def equal_pairs(pairs: Iterable[tuple[str, str]], target: Table, alias: str, table: Table) -> Sql:
    """That `references` of `target` equal our columns, as PostgreSQL compares a foreign key."""
    return exp.and_(
        *(
            _equal(column_named(target, reference), alias, column_named(table, own))
            for reference, own in pairs
        )
    )


def _equal(reference: Column, alias: str, own: Column) -> Sql:
    there: Sql = exp.column(reference.name, table=alias, quoted=True)
    here: Sql = exp.column(own.name, table=OWNER, quoted=True)
    if _family(reference) != _family(own):
        there, here = cast(there, "text"), cast(here, "text")
    return exp.EQ(this=there, expression=_collated(here, own, reference))


_FAMILIES = {
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext"), "text"),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "time"),
}


def _family(column: Column) -> str:
    """Columns of one family can be compared by `=`."""
    resolved = column.type.resolved()
    return _FAMILIES.get(resolved.name, resolved.declared)


# Types whose equal values are the same graph value; citext `Foo` equals `foo` and is another text.
_ONE_SPELLING = frozenset(
    {"bool", "int2", "int4", "int8", "oid", "uuid", "text", "varchar", "bpchar", "bytea", "date"}
    | {"time", "timestamp", "timestamptz"}
)


def _same_types(pairs: dict[str, str], target: Table, table: Table) -> bool:
    return all(
        _one_spelling(column_named(target, reference), column_named(table, own))
        for reference, own in pairs.items()
    )


def _one_spelling(reference: Column, own: Column) -> bool:
    """Whether equal values of the two columns are the same graph value."""
    left, right = reference.type.resolved(), own.type.resolved()
    exact = left.kind == "enum" or (left.kind == "base" and left.name in _ONE_SPELLING)
    deterministic = reference.deterministic and own.deterministic
    return exact and deterministic and left.declared == right.declared


def _collated(value: Sql, own: Column, reference: Column) -> Sql:
    """Our column's value, compared as PostgreSQL compares it for the foreign key."""
    if own.collation == reference.collation or not reference.collation:
        return value
    schema, name = TableName.parse(reference.collation)
    collation = exp.column(name, table=schema, quoted=True)
    return exp.paren(exp.Collate(this=value, expression=collation))
