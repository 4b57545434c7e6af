"""Findings about columns: what their types become, what is out of range, how large they are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, DataType, Profile, Table, TableName
from geode_tui.mapping import mend
from geode_tui.mapping.assessment.finding import Part, Severity
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.model import Mapping, NodeRule, Property, Rule
from geode_tui.mapping.types import DECIMAL_DIGITS, conversion, default_type

WIDE_VALUE = 1_000_000
"""Bytes from which on a value is large for a property."""

_AS_TEXT = "map it to STRING to carry every value as text"
_DATES = frozenset({"DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME"})
# Types whose text is what people work with anyway.
_TEXTS = frozenset(
    {"text", "varchar", "bpchar", "citext", "name", "char", "uuid", "json", "jsonb", "interval"}
    | {"timetz", "money", "xml"}
)


def column_parts(
    mapping: Mapping, catalog: Catalog, profile: Profile | None, counts: Counts | None
) -> Iterator[Part]:
    """What there is to say of each column that is moved."""
    profile, counts = profile or Profile(), counts or Counts()
    for rule in mapping.active_rules():
        for item in rule.included_properties:
            table = catalog.table(table_of(rule, item))
            column = table.column(item.column) if table and not item.expression else None
            if table is not None and column is not None:
                yield from _parts(table, column, item.type, profile, counts)


def table_of(rule: Rule, item: Property) -> TableName:
    """The table that a property's column is of: the rule's own, or a joined one."""
    join = rule.join_named(item.join) if item.join and isinstance(rule, NodeRule) else None
    return join.table if join else rule.table


def _parts(
    table: Table, column: Column, graph_type: str, profile: Profile, counts: Counts
) -> Iterator[Part]:
    note, exact, guarded = _conversion_of(column.type, graph_type)
    shown = f"{column.name} {column.type.declared} → {graph_type}"

    def part(severity: Severity, code: str, message: str, mended: str = "") -> Part:
        return Part(severity, code, table.name, column.name, message, shown, mended)

    if not exact:
        yield part("risk", "lossy_type", f"{graph_type}: {note}", _AS_TEXT)
    elif default_type(column.type) == "STRING" and _is_unsupported(column.type):
        extension = column.type.resolved().extension
        shown += f" (extension {extension})" if extension else ""
        message = f"the graph has no such type: {note or 'kept as text'}"
        yield part("information", "unsupported_type", message)
    elif note:
        yield part("information", "converted", f"{graph_type}: {note}")
    if guarded:
        yield from _range_parts(table, column, graph_type, counts)
    if column.generated is not None:
        shown = column.name
        message = "generated: copied as a value, the graph does not compute it again"
        yield part("information", "generated_column", message)
    yield from _size_parts(table, column, profile, counts)


@lru_cache(maxsize=4096)
def _conversion_of(data_type: DataType, graph_type: str) -> tuple[str, bool, bool]:
    """The note of a conversion, whether it is exact, and whether it refuses some values."""
    try:
        how = conversion(data_type, graph_type)
    except ValueError:  # a misfit, which is a finding of its own
        return "", True, False
    return how.note, how.exact, how.carried is not None


def _is_unsupported(data_type: DataType) -> bool:
    resolved = data_type.resolved()
    if resolved.kind == "array" and resolved.base is not None:
        return default_type(resolved.base) == "STRING" and _is_unsupported(resolved.base)
    return resolved.kind not in ("base", "enum") or (
        resolved.kind == "base" and resolved.name not in _TEXTS
    )


def _range_parts(table: Table, column: Column, graph_type: str, counts: Counts) -> Iterator[Part]:
    """Values that the graph cannot carry: as the type allows them, or as they were counted."""
    severity, code, message = _range(column.type, graph_type)
    seen = counts.out_of_range.get((table.name, column.name))
    shown, sql = f"{column.name} {column.type.declared}", ""
    if seen is not None:
        rows = counts.rows.get(table.name, 0)
        bad = [f"{number:,} {what}" for what, number in seen if number]
        severity = "risk" if bad else "information"
        shown += f": {' + '.join(bad) or 'none'} of {rows:,} rows counted"
        sql = _select_refused(table, column, graph_type) if bad else ""
    if severity == "information" and not seen and not message:
        return
    part_of = (severity, code, table.name, column.name)
    yield Part(*part_of, message or _NUMBERS, shown, _AS_TEXT, sql)


_NUMBERS = f"numbers over {DECIMAL_DIGITS} digits, NaN and infinity go to the dead letters"


def _range(data_type: DataType, graph_type: str) -> tuple[Severity, str, str]:
    """Severity, code and message; no message where only NaN could not be carried."""
    inner = graph_type.removeprefix("LIST<").removesuffix(">")
    if inner == "DECIMAL":
        resolved = data_type.resolved()
        number = resolved.base.resolved() if resolved.base else resolved
        if number.precision is None:
            return "information", "number_out_of_range", _NUMBERS
        wide = number.precision > DECIMAL_DIGITS
        return "risk" if wide else "information", "number_out_of_range", _NUMBERS if wide else ""
    if inner == "TIME":
        return "information", "date_out_of_range", "the time 24:00 goes to the dead letters"
    if inner in _DATES:
        message = "infinity and years outside 1 to 9999 go to the dead letters"
        return "information", "date_out_of_range", message
    return "information", "list_out_of_range", "lists with other bounds go to the dead letters"


def _select_refused(table: Table, column: Column, graph_type: str) -> str:
    how = conversion(column.type, graph_type)
    assert how.carried is not None
    carried = how.carried(exp.column(column.name, table="t", quoted=True)).sql("postgres")
    return f"SELECT t.* FROM {mend.own_rows(table)} t WHERE NOT ({carried});"


def _size_parts(table: Table, column: Column, profile: Profile, counts: Counts) -> Iterator[Part]:
    place = (table.name, column.name)
    seen = profile.columns.get(place)
    widest, average = counts.widest.get(place, 0), seen.width if seen else 0
    if max(widest, average) <= WIDE_VALUE:
        return
    size = f"{widest:,} bytes the largest" if widest else f"{average:,} bytes on average"
    message = "values of over a million bytes are large for a property"
    advice = "leave it out (include: false) where the graph does not need it"
    evidence = f"{column.name}: {size}"
    yield Part("information", "wide_value", *place, message, evidence, advice)
