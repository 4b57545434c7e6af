"""SELECTs that try an expression, a condition or an order on a few rows of a table.

Each takes two parameters: `$1` how many rows, `$2` how many to pass over. The rows are cut off
before anything is computed, so that a row which fails can be found by asking for fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from geode_tui.catalog import Table
from geode_tui.mapping.expressions import compile_condition, compile_ordering
from geode_tui.mapping.model import Property
from geode_tui.mapping.relation import OWNER, named, source_of
from geode_tui.mapping.types import Sql, cast
from geode_tui.mapping.values import guarded, rejection, value_of


@dataclass(frozen=True)
class Preview:
    """A SELECT over a few rows: the texts of `columns`, the result, and why it is not carried."""

    table: Table
    columns: tuple[str, ...]
    sql: str
    rows_sql: str
    """The same rows with the texts of the columns only: it fails for no row."""


def expression_preview(table: Table, item: Property, columns: Sequence[str]) -> Preview:
    """What becomes of a property, beside the columns that it is made of.

    Raises MappingError where the expression cannot be read or does not become the type.
    """
    value = value_of(item, table, OWNER)
    return _preview(table, columns, guarded(value), rejection([value]))


def condition_preview(table: Table, condition: str, columns: Sequence[str]) -> Preview:
    """Whether a row is moved (true), or left out. Raises MappingError."""
    holds = exp.paren(compile_condition(condition, table).sql(OWNER))
    kept = exp.Is(this=holds, expression=exp.true())
    return _preview(table, columns, kept, _no_reason())


def ordering_preview(
    table: Table, ordering: str, key: Sequence[Property], columns: Sequence[str]
) -> Preview:
    """Whether a row is the first of those with the same key, among the rows shown.

    Raises MappingError.
    """
    keys = [value_of(item, table, OWNER).source for item in key]
    order = exp.Order(expressions=compile_ordering(ordering, table).sql(OWNER))
    number = exp.Window(
        this=exp.Anonymous(this="row_number"), partition_by=keys, order=order, over="OVER"
    )
    first = exp.EQ(this=number, expression=exp.Literal.number(1))
    return _preview(table, columns, first, _no_reason())


def _preview(table: Table, columns: Sequence[str], result: Sql, reason: Sql) -> Preview:
    shown = [cast(exp.column(name, table=OWNER, quoted=True), "text") for name in columns]
    some = exp.select("*").from_(source_of(table)).limit(_parameter(1)).offset(_parameter(2))
    texts = [_aliased(f"c{number}", column) for number, column in enumerate(shown)]
    plain = exp.select(*texts).from_(named(some, OWNER))
    query = plain.select(_aliased("result", result), _aliased("reason", reason))
    return Preview(table, tuple(columns), query.sql("postgres"), plain.sql("postgres"))


def _no_reason() -> Sql:
    return cast(exp.Null(), "text")


def _parameter(number: int) -> Sql:
    return exp.Parameter(this=exp.Literal.number(number))


def _aliased(name: str, value: Sql) -> exp.Alias:
    return exp.Alias(this=value, alias=exp.to_identifier(name))
