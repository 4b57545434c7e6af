"""Count, in the source, what a mapping would run into: exact numbers by a scan of each table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import batched

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, ForeignKey, Table
from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import mend
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.expressions import compile_condition
from geode_tui.mapping.model import Mapping, Property, Rule
from geode_tui.mapping.types import DECIMAL_DIGITS, Conversion, conversion
from geode_tui.source.postgres import Reader
from geode_tui.source.profile import from_table

SECONDS_A_TABLE = 60
"""A table that takes longer is left out, and named."""

_NUMBERS = 400  # a SELECT has at most 1,664 columns
_ROW = "t"
_BOUNDS = {
    "DATE": ("date", "", ""),
    "TIMESTAMP": ("timestamp", " 00:00", " 23:59:59.999999"),
    "TIMESTAMPTZ": ("timestamptz", " 00:00+00", " 23:59:59.999999+00"),
}
# Types whose stored values can be large, and whose size is told without reading them.
_SIZED = frozenset({"text", "varchar", "bytea"})


@dataclass(frozen=True)
class _Number:
    """A number to select, and where its value goes."""

    sql: str
    keep: Callable[[Counts, int], None]


async def count_hazards(
    reader: Reader,
    mapping: Mapping,
    catalog: Catalog,
    *,
    seconds: float = SECONDS_A_TABLE,
    tell: Callable[[str], None] = lambda text: None,
) -> Counts:
    """Read each table of the mapping once and count what the assessment asks for.

    A table that takes over `seconds`, or that may not be read, is left out and named in
    `not_counted`; `tell` hears which table is read. Raises GeodeTuiError when the connection
    breaks.
    """
    counts = Counts()
    rules = defaultdict(list)
    for rule in mapping.active_rules():
        rules[rule.table].append(rule)
    tables = [table for table in catalog.tables if table.name in rules]
    await reader.fetch("SELECT set_config('statement_timeout', $1, true)", f"{seconds * 1000:.0f}")
    for place, table in enumerate(tables, start=1):
        tell(f"counting {table.name} ({place} of {len(tables)})")
        numbers = list(_numbers(table, rules[table.name], catalog))
        await _count(reader, table, numbers, counts)
    return counts


async def _count(reader: Reader, table: Table, numbers: list[_Number], counts: Counts) -> None:
    await reader.fetch("SAVEPOINT hazards")
    try:
        for some in batched(numbers, _NUMBERS):
            selected = ", ".join(number.sql for number in some)
            [row] = await reader.fetch(f"SELECT {selected} FROM {from_table(table)} AS {_ROW}")
            for number, value in zip(some, row, strict=True):
                number.keep(counts, value or 0)
    except GeodeTuiError as error:
        await reader.fetch("ROLLBACK TO SAVEPOINT hazards")  # fails too where the session is gone
        counts.not_counted[table.name] = error.what
    else:
        await reader.fetch("RELEASE SAVEPOINT hazards")


def _numbers(table: Table, rules: list[Rule], catalog: Catalog) -> Iterator[_Number]:
    def keep_rows(counts: Counts, value: int) -> None:
        counts.rows[table.name] = value

    yield _Number("count(*)", keep_rows)
    items = {(p.column, p.type) for r in rules for p in r.included_properties if _is_plain(p)}
    for name, graph_type in sorted(items):
        column = table.column(name)
        if column is not None:
            yield from _column_numbers(table, column, graph_type)
    for key in table.foreign_keys:
        target = catalog.table(key.to_table)
        if not key.validated and target is not None:
            yield _orphans(table, key, target)
    for rule in rules:
        if rule.where:
            yield _left_out(rule, table)


def _is_plain(item: Property) -> bool:
    return not item.expression and not item.join


def _column_numbers(table: Table, column: Column, graph_type: str) -> Iterator[_Number]:
    place = (table.name, column.name)
    value = f"{_ROW}.{mend.identifier(column.name)}"
    try:
        how = conversion(column.type, graph_type)
    except ValueError:  # a misfit, which the assessment tells
        return
    for what, condition in _refused(value, column, how):

        def keep(counts: Counts, number: int, what: str = what) -> None:
            known = counts.out_of_range.get(place, ())
            counts.out_of_range[place] = (*known, (what, number))

        yield _Number(f"count(*) FILTER (WHERE {condition})", keep)
    if column.type.resolved().name in _SIZED:

        def keep_size(counts: Counts, number: int) -> None:
            counts.widest[place] = number

        yield _Number(f"max(octet_length({value}))", keep_size)


def _refused(value: str, column: Column, how: Conversion) -> list[tuple[str, str]]:
    """The kinds of values that the graph cannot carry, each with its condition."""
    if how.carried is None:
        return []
    if how.graph_type in _BOUNDS:
        name, start, end = _BOUNDS[how.graph_type]
        low, high = f"'0001-01-01{start}'::{name}", f"'9999-12-31{end}'::{name}"
        return [
            ("infinity", f"NOT isfinite({value})"),
            ("before year 1", f"isfinite({value}) AND {value} < {low}"),
            ("after year 9999", f"isfinite({value}) AND {value} > {high}"),
        ]
    bare = exp.column(column.name, table=_ROW, quoted=True)
    refused = f"NOT ({how.carried(bare).sql('postgres')})"
    if how.graph_type == "DECIMAL":
        # PostgreSQL 13 knows no infinite numeric, so it is told by its text.
        infinite = f"{value}::text IN ('Infinity', '-Infinity')"
        return [
            ("NaN", f"{value} = 'NaN'"),
            ("infinity", f"{refused} AND {infinite}"),
            (f"over {DECIMAL_DIGITS} digits", f"{refused} AND {value} <> 'NaN' AND NOT {infinite}"),
        ]
    return [("out of range", refused)]


def _orphans(table: Table, key: ForeignKey, target: Table) -> _Number:
    def keep(counts: Counts, value: int) -> None:
        counts.orphans[(table.name, key.name)] = value

    condition = mend.orphaned("o", key, target)
    return _Number(f"(SELECT count(*) FROM {mend.own_rows(table)} o WHERE {condition})", keep)


def _left_out(rule: Rule, table: Table) -> _Number:
    def keep(counts: Counts, value: int) -> None:
        counts.left_out[rule.id] = value

    condition = compile_condition(rule.where, table).sql(_ROW).sql("postgres")
    return _Number(f"count(*) FILTER (WHERE ({condition}) IS NOT TRUE)", keep)
