"""Findings about what stays behind: tables, views, and what the graph does not do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from geode_tui.catalog import Catalog, Column, Table
from geode_tui.mapping.assessment.finding import SHOWN, Finding, counted, listed
from geode_tui.mapping.model import Mapping

_KINDS = ("view", "materialized view", "foreign table")


def left_out(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    """Tables and relationships that the mapping does not move."""
    moved = {rule.table for rule in mapping.active_rules()}
    moved |= {join.table for rule in mapping.active_nodes for join in rule.joins}
    known = {rule.table for rule in mapping.rules}
    others = [table for table in catalog.tables if table.name not in moved]
    for kind in _KINDS:
        some = [str(t.name) for t in others if t.kind == kind]
        if some:
            message = f"{counted(len(some), kind)}: not moved"
            yield Finding("information", "not_moved", f"{kind}s", message, listed(some))
    plain = [table for table in others if table.kind in ("table", "partitioned")]
    excluded = [str(table.name) for table in plain if table.name in known]
    if excluded:
        message = f"{counted(len(excluded), 'table')}: excluded in the mapping"
        yield Finding("information", "not_moved", "excluded tables", message, listed(excluded))
    yield from _not_mapped([table for table in plain if table.name not in known])
    active = {rule.id for rule in mapping.active_relationships}
    for rule in mapping.relationships:
        if rule.include and rule.id not in active:
            message = "not moved: the label at one of its ends is excluded"
            yield Finding("information", "not_moved", rule.id, message)


def _not_mapped(tables: list[Table]) -> Iterator[Finding]:
    """A finding a table; where they are very many, one a schema."""
    advice = "geode-tui map --merge adds what is new in the source"
    schemas: dict[str, list[Table]] = {}
    for table in tables:
        schemas.setdefault(table.name.schema, []).append(table)
    for schema, some in schemas.items():
        if len(some) > SHOWN:
            message = f"no rule of the mapping names {len(some):,} tables of this schema"
            shown = f"{_rows(some)}: {listed([str(table.name) for table in some])}"
            yield Finding("risk", "not_mapped", f"schema {schema}", message, shown, advice)
            continue
        for table in some:
            message = "no rule of the mapping names this table: its rows stay behind"
            yield Finding("risk", "not_mapped", str(table.name), message, _rows([table]), advice)


def _rows(tables: Iterable[Table]) -> str:
    return f"±{sum(table.estimated_rows or 0 for table in tables):,} rows"


def not_carried(tables: Sequence[Table]) -> Iterator[Finding]:
    """What the moved tables do that a graph does not: one finding a kind, with the names."""
    yield from _kind(
        "triggers",
        "triggers are not moved: what they did to rows, the writing program must do",
        [(table, [t.name for t in table.triggers if t.enabled]) for table in tables],
    )
    yield from _kind(
        "check constraints",
        "check constraints are not moved: the graph does not check values",
        [(table, [check.name for check in table.checks]) for table in tables],
    )
    yield from _kind(
        "numbering",
        "identity columns and sequences are not moved: the graph numbers nothing",
        [(table, [c.name for c in table.columns if _is_numbered(c)]) for table in tables],
    )
    yield from _kind(
        "policies",
        "row security policies are not moved: the graph does not hide nodes by them",
        [(table, list(table.policies)) for table in tables],
    )


def _kind(kind: str, message: str, found: list[tuple[Table, list[str]]]) -> Iterator[Finding]:
    """A finding with the subject `kind`, where any table has some of it."""
    found = [(table, names) for table, names in found if names]
    if not found:
        return
    number = sum(len(names) for _, names in found)
    where = listed([f"{table.name} ({listed(names)})" for table, names in found])
    evidence = f"{number:,} on {counted(len(found), 'table')}: {where}"
    yield Finding("information", "not_carried", kind, message, evidence)


def _is_numbered(column: Column) -> bool:
    return column.identity or "nextval(" in (column.default or "")
