"""Findings about expressions that may fail for some row: the run would end there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from geode_tui.catalog import Catalog, Table
from geode_tui.errors import MappingError
from geode_tui.mapping.assessment.columns import table_of
from geode_tui.mapping.assessment.finding import Finding, listed
from geode_tui.mapping.expressions import Expression, compile_condition, compile_expression
from geode_tui.mapping.model import Mapping, Rule
from geode_tui.mapping.types import Sql

_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
# Functions that refuse some values of the right type.
_PARTIAL = frozenset(
    {"make_date", "make_time", "make_timestamp", "make_timestamptz", "make_interval", "to_date"}
    | {"to_timestamp", "to_number", "sqrt", "ln", "log", "log10", "power", "chr", "decode"}
)


def expression_findings(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    """The expressions and conditions of the mapping that may fail, one finding a rule."""
    for rule in mapping.active_rules():
        found = [f"{name}: {why}" for name, why in _doubts(rule, catalog)]
        if found:
            yield Finding(
                "risk",
                "expression",
                rule.id,
                "may fail for a row, and a run ends there",
                listed(found),
                "look at the preview; NULLIF(…, 0) or a CASE keeps bad values out",
            )


def _doubts(rule: Rule, catalog: Catalog) -> Iterator[tuple[str, str]]:
    own = catalog.table(rule.table)
    for item in rule.included_properties:
        table = catalog.table(table_of(rule, item)) if item.expression else None
        if table is not None:
            why = _reasons(item.expression, table, compile_expression)
            yield from ((item.name, reason) for reason in why)
    if rule.where and own is not None:
        why = _reasons(rule.where, own, compile_condition)
        yield from (("the condition", reason) for reason in why)


def _reasons(
    text: str, table: Table, compiled: Callable[[str, Table], Expression]
) -> tuple[str, ...]:
    try:
        tree = compiled(text, table).sql("t")
    except MappingError:  # a misfit, which is a finding of its own
        return ()
    found = (_reason(node, table) for node in tree.walk())
    return tuple(dict.fromkeys(reason for reason in found if reason))


def _reason(node: Sql, table: Table) -> str:
    if isinstance(node, exp.Div | exp.Mod) and _may_be_zero(node.expression):
        return f"divides by {node.expression.sql('postgres')}, which may be 0"
    if isinstance(node, exp.Cast) and _type_of(node) not in _TEXTS and _is_text(node.this, table):
        return f"casts a text to {_type_of(node)}"
    if isinstance(node, exp.Anonymous) and node.name.lower() in _PARTIAL:
        return f"{node.name.lower()} does not take every value"
    return ""


def _may_be_zero(divisor: Sql) -> bool:
    while isinstance(divisor, exp.Paren | exp.Cast):
        divisor = divisor.this
    if isinstance(divisor, exp.Literal):
        return not divisor.name.strip("0.")
    return not (
        isinstance(divisor, exp.Nullif)
        or (isinstance(divisor, exp.Anonymous) and divisor.name.lower() == "nullif")
    )


def _type_of(node: exp.Cast) -> str:
    kind = str(node.to.args.get("kind") or node.to.sql("postgres"))
    return kind.split("(")[0].strip('"').lower()


def _is_text(value: Sql, table: Table) -> bool:
    while isinstance(value, exp.Paren):
        value = value.this
    if isinstance(value, exp.Cast):
        return _type_of(value) in _TEXTS
    if isinstance(value, exp.Column):
        column = table.column(value.name)
        return column is not None and column.type.resolved().name in _TEXTS
    return False
