"""The values of a rule's SELECT: what becomes of a row, and how it is told apart and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import batched

from sqlglot import exp

from geode_tui.catalog import Catalog, Table
from geode_tui.errors import MappingError
from geode_tui.mapping.expressions import compile_condition, compile_expression, compile_ordering
from geode_tui.mapping.model import OF, ROW, Mapping, NodeRule, Property
from geode_tui.mapping.relation import OWNER, column_named, is_null, named, source_of, table_named
from geode_tui.mapping.types import Conversion, Sql, cast, conversion, field_text, function, text


@dataclass(frozen=True)
class Value:
    """A graph value to select: its name, its SQL source, how it converts, whether it must be."""

    name: str
    source: Sql
    how: Conversion
    required: bool = False


def value_of(item: Property, table: Table, alias: str, in_key: bool = False) -> Value:
    """A property's value from the row of `table` under `alias`."""
    if item.expression:
        compiled = compile_expression(item.expression, table)
        source: Sql = exp.paren(compiled.sql(alias))
        data_type, nullable = compiled.type, True
    else:
        column = column_named(table, item.column)
        source = exp.column(column.name, table=alias, quoted=True)
        data_type, nullable = column.type, column.nullable
    try:
        how = conversion(data_type, item.type)
    except ValueError as error:
        raise MappingError(f"{table.name}: property {item.name}: {error}") from error
    if in_key:
        return Value(item.name, source, _as_key(how), required=nullable)
    return Value(item.name, source, how)


def key_values(rule: NodeRule, table: Table, mapping: Mapping, alias: str) -> list[Value]:
    """The key of a node from a row of its table under `alias`."""
    found = []
    if not rule.key:
        found.append(place_value(table, alias))
    for name in rule.key:
        item = _key_property(rule, name)
        if item.join:
            raise MappingError(f"the key of {rule.id} names {name}, which is of a joined table")
        found.append(value_of(item, table, alias, in_key=True))
    if rule.label in mapping.shared_labels:
        found.append(marker(rule))
    return found


def _key_property(rule: NodeRule, name: str) -> Property:
    item = rule.property_named(name)
    if item is None:
        raise MappingError(f"the key of {rule.id} names {name}, which is no property")
    return item


def marker(rule: NodeRule) -> Value:
    return Value(OF, text(rule.id), _ROW_TEXT)


def _as_key(how: Conversion) -> Conversion:
    """A key's conversion: NaN equals nothing in a graph, so no node could be found by it."""
    if how.graph_type != "FLOAT":
        return how
    return replace(how, carried=lambda value: exp.NEQ(this=value.copy(), expression=_NAN.copy()))


_NAN = cast(text("NaN"), "float8")


def place_value(table: Table, alias: str) -> Value:
    """The key of a row of a table without one: its place."""
    return Value(ROW, row_place(table, alias), _ROW_TEXT)


def row_place(table: Table, alias: str) -> Sql:
    """The text of a row's place, unique in the table: leaf and ctid.

    Rows without storage (of a view) are known by their content, numbered where it is the same.
    """
    if not table.has_storage:
        content = cast(exp.Column(this=exp.Star(), table=exp.to_identifier(alias)), "text")
        number = exp.Window(this=function("row_number"), partition_by=[content.copy()])
        digest = exp.DPipe(this=function("md5", content), expression=text("/"))
        return exp.DPipe(this=digest, expression=cast(number, "text"))
    ctid = cast(exp.column("ctid", table=alias), "text")
    if not table.leaves:
        return ctid
    leaf = cast(exp.column("tableoid", table=alias), "text")
    return exp.DPipe(this=exp.DPipe(this=leaf, expression=text("/")), expression=ctid)


_ROW_TEXT = Conversion("STRING", lambda v: v.copy(), None, lambda v: v.copy())


def joined_tables(rule: NodeRule, catalog: Catalog) -> dict[str, tuple[str, Table]]:
    """The alias and table of each join, by the join's name."""
    return {
        join.name: (f"j{number}", table_named(catalog, join.table))
        for number, join in enumerate(rule.joins)
    }


def rule_value(
    item: Property, rule: NodeRule, table: Table, joined: dict[str, tuple[str, Table]]
) -> Value:
    alias, of = _place_of(item.join, rule, table, joined)
    return value_of(item, of, alias, in_key=item.name in rule.key)


def _place_of(
    join: str, rule: NodeRule, table: Table, joined: dict[str, tuple[str, Table]]
) -> tuple[str, Table]:
    if not join:
        return OWNER, table
    if join not in joined:
        raise MappingError(f"{rule.id} has no join {join}")
    return joined[join]


def label_by(rule: NodeRule, table: Table, joined: dict[str, tuple[str, Table]]) -> Sql:
    by = rule.labels_by
    assert by is not None
    alias, of = _place_of(by.join, rule, table, joined)
    column = exp.column(column_named(of, by.column).name, table=alias, quoted=True)
    chosen = exp.Case()
    for value, label in by.labels:
        same = exp.EQ(this=cast(column.copy(), "text"), expression=text(value))
        chosen = chosen.when(same, text(label))
    return chosen if by.labels else cast(exp.Null(), "text")


def condition_on(condition: str, table: Table, alias: str) -> Sql | None:
    return exp.paren(compile_condition(condition, table).sql(alias)) if condition else None


def rows_of(rule: NodeRule, table: Table, alias: str = OWNER) -> exp.Expr:
    """The rows of a rule's table; of rows with the same key only the first where it says so."""
    if not rule.keep_first:
        return source_of(table, alias)
    keys = []
    for name in rule.key:
        keys.append(value_of(_key_property(rule, name), table, OWNER).source)
    if not keys:
        raise MappingError(f"{rule.id} keeps the first row of each key, and has no key")
    place = row_place(table, OWNER)
    keys.append(place_where_null(keys, place))
    order: list[Sql] = [exp.Ordered(this=key.copy(), nulls_first=False) for key in keys]
    order += compile_ordering(rule.keep_first, table).sql(OWNER)
    order.append(exp.Ordered(this=place.copy(), nulls_first=False))
    rows = exp.select(f"{OWNER}.*", *_hidden_place(table)).from_(source_of(table)).distinct(*keys)
    where = condition_on(rule.where, table, OWNER)
    if where is not None:
        rows = rows.where(where)
    return named(rows.order_by(*order), alias)


def _hidden_place(table: Table) -> list[Sql]:
    """The columns of a row's place, which `*` leaves out."""
    names = ("tableoid", "ctid") if table.has_storage else ()
    return [exp.alias_(exp.column(name, table=OWNER), name) for name in names]


def place_where_null(keys: Sequence[Sql], place: Sql) -> Sql:
    """The row's place where a part of the key is null: such rows are not the same row."""
    return exp.Case().when(exp.or_(*(is_null(key) for key in keys)), place.copy())


def guarded(value: Value) -> Sql:
    if value.how.carried is None:
        return value.how.value(value.source)
    return exp.Case().when(value.how.carried(value.source), value.how.value(value.source))


def fingerprint(values: list[Value]) -> Sql:
    """The first 48 bits of the SHA-256 of all values' canonical text (never negative)."""
    told = [value for value in values if value.name not in (ROW, OF)]
    framed = [field_text(value.how.canonical(_present_only(value))) for value in told]
    return first_48_bits(_concatenated(framed))


def first_48_bits(value: Sql) -> Sql:
    """SQL of the first 48 bits of a text's SHA-256, as a number."""
    digest = function("sha256", function("convert_to", value, text("UTF8")))
    first = function("left", function("encode", digest, text("hex")), exp.Literal.number(12))
    bits = cast(exp.paren(exp.DPipe(this=text("x"), expression=first)), "bit(48)")
    return cast(bits, "bigint")


# A function of PostgreSQL takes at most 100 arguments; a table may have 1,600 columns.
_ARGUMENTS = 90


def _concatenated(parts: Sequence[Sql]) -> Sql:
    groups = [function("concat", text(""), *some) for some in batched(parts, _ARGUMENTS)]
    if len(groups) == 1:
        return groups[0]
    return _concatenated(groups) if groups else text("")


def _present_only(value: Value) -> Sql:
    """The source, null where the value cannot be carried (its digest would raise)."""
    if value.how.carried is None:
        return value.source
    return exp.paren(exp.Case().when(value.how.carried(value.source), value.source.copy()))


def rejection(values: list[Value]) -> Sql:
    reasons = []
    for value in values:
        if value.required:
            message = text(f"{value.name}: a key cannot be null")
            reasons.append(exp.Case().when(is_null(value.source), message))
        if value.how.carried is None:
            continue
        bad = exp.Not(this=exp.paren(value.how.carried(value.source)))
        shown = function("left", cast(value.source, "text"), exp.Literal.number(60))
        told = exp.DPipe(
            this=text(f"{value.name}: no {value.how.graph_type} holds "), expression=shown
        )
        reasons.append(exp.Case().when(bad, told))
    if not reasons:
        return cast(exp.Null(), "text")
    groups = [
        function("nullif", function("concat_ws", text("; "), *some), text(""))
        for some in batched(reasons, _ARGUMENTS)
    ]
    if len(groups) == 1:
        return groups[0]
    return function("nullif", function("concat_ws", text("; "), *groups), text(""))
