"""Rules compiled to SELECTs whose columns are already graph values.

A row of an extract is, left to right: the key of the start and of the end (relationships only),
the rule's properties, the fingerprint, the reason why the row cannot be carried (null: it can),
and the cursor (the text of the columns by which the table is read in order).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import batched

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import (
    ROW,
    Endpoint,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
)
from geode_tui.mapping.types import (
    Conversion,
    Sql,
    cast,
    conversion,
    field_text,
    function,
    text,
)

_OWNER = "t"


@dataclass(frozen=True)
class _Value:
    """A graph value to select: its name, its SQL source, how it converts."""

    name: str
    source: Sql
    how: Conversion


@dataclass(frozen=True)
class Extract:
    """The SELECTs of one rule.

    `start_key`, `end_key` and `properties` name the value columns in order, `property_types`
    their graph types; `cursor_columns` are the columns the table is read by, empty where it is
    read by block. `leaves` are the tables that hold the blocks.
    """

    rule: Rule
    table: Table
    start_key: tuple[str, ...]
    end_key: tuple[str, ...]
    properties: tuple[str, ...]
    property_types: tuple[str, ...]
    cursor_columns: tuple[str, ...]
    leaves: tuple[TableName, ...]
    _select: exp.Select = field(repr=False)
    _present: Sql | None = field(repr=False)

    @property
    def keyed(self) -> bool:
        """Whether the table is read along a key (else by block)."""
        return bool(self.cursor_columns)

    @property
    def fingerprint_at(self) -> int:
        """The position of the fingerprint in a row."""
        return len(self.start_key) + len(self.end_key) + len(self.properties)

    @property
    def property_slice(self) -> slice:
        """The positions of the properties in a row."""
        return slice(len(self.start_key) + len(self.end_key), self.fingerprint_at)

    @cached_property
    def first_sql(self) -> str:
        """The first rows along the key; `$1` is the number of rows."""
        return self._ordered(self._select).limit(_parameter(1)).sql("postgres")

    @cached_property
    def next_sql(self) -> str:
        """The rows after a cursor; `$1`… are its texts, the last parameter the number of rows."""
        query = self._select.where(self._compare(exp.GT))
        limit = _parameter(len(self.cursor_columns) + 1)
        return self._ordered(query).limit(limit).sql("postgres")

    @cached_property
    def first_range_sql(self) -> str:
        """The rows up to and with a cursor; `$1`… are its texts."""
        return self._ordered(self._select.where(self._compare(exp.LTE))).sql("postgres")

    @cached_property
    def range_sql(self) -> str:
        """The rows after one cursor, up to and with another; first the one's texts."""
        width = len(self.cursor_columns)
        query = self._select.where(self._compare(exp.GT), self._compare(exp.LTE, width))
        return self._ordered(query).sql("postgres")

    def look_sql(self, cursor: Sequence[str]) -> str:
        """A plain SELECT of the source row at a cursor, for a person to run."""
        query = exp.select("*").from_(_source_of(self.table))
        shown = query.where(self._compare(exp.EQ)).transform(_literal_of, list(cursor))
        return shown.sql("postgres")

    def block_sql(self, leaf: TableName) -> str:
        """The rows of `leaf` in the blocks from `$1` to before `$2` (both `tid`)."""
        query = self._select.from_(_source(leaf, only=True))
        ctid = exp.column("ctid", table=_OWNER)
        low = exp.GTE(this=ctid, expression=exp.Cast(this=_parameter(1), to=_tid()))
        high = exp.LT(this=ctid.copy(), expression=exp.Cast(this=_parameter(2), to=_tid()))
        return query.where(low, high).sql("postgres")

    def sample_sql(self, percent: float | None) -> str:
        """Some rows, at most `$1`; `percent` of the table's blocks, all of them when None."""
        query = self._select.copy()
        if percent is not None:
            source = query.args["from_"].this
            sampled = exp.TableSample(
                method=exp.var("SYSTEM"), percent=exp.Literal.number(f"{percent:.6f}")
            )
            source.set("sample", sampled)
        return query.limit(_parameter(1)).sql("postgres")

    @cached_property
    def count_sql(self) -> str:
        """One row: the rows of the table, and those that the rule makes something of."""
        star = exp.Count(this=exp.Star())
        made = (
            star.copy()
            if self._present is None
            else exp.Filter(this=star.copy(), expression=exp.Where(this=self._present.copy()))
        )
        return exp.select(star, made).from_(_source_of(self.table)).sql("postgres")

    def _ordered(self, query: exp.Select) -> exp.Select:
        columns = [exp.column(c, table=_OWNER, quoted=True) for c in self.cursor_columns]
        return query.order_by(*columns)

    def _compare(
        self, operator: type[exp.GT] | type[exp.EQ] | type[exp.LTE], after: int = 0
    ) -> Sql:
        columns: list[Sql] = []
        values: list[Sql] = []
        for number, name in enumerate(self.cursor_columns, start=after + 1):
            column = self.table.column(name)
            assert column is not None
            columns.append(exp.column(name, table=_OWNER, quoted=True))
            values.append(cast(cast(_parameter(number), "text"), _cursor_type(column)))
        if len(columns) == 1:
            return operator(this=columns[0], expression=values[0])
        return operator(
            this=exp.Tuple(expressions=columns), expression=exp.Tuple(expressions=values)
        )


def compile_extract(rule: Rule, mapping: Mapping, catalog: Catalog) -> Extract:
    """Compile a rule to its SELECTs.

    Raises MappingError when it names a table, column or type that the catalog does not have.
    """
    table = _table(catalog, rule.table)
    if isinstance(rule, NodeRule):
        return _node_extract(rule, table)
    return _relationship_extract(rule, table, mapping, catalog)


def key_conversions(rule: NodeRule, table: Table) -> tuple[tuple[str, Conversion], ...]:
    """The names and conversions of a node rule's key properties."""
    if not rule.key:
        return ((ROW, _ROW_TEXT),)
    found = []
    for name in rule.key:
        item = rule.property_named(name)
        if item is None:
            raise MappingError(f"the key of {rule.label} names {name}, which is no property")
        found.append((name, _as_key(_conversion(item, table))))
    return tuple(found)


def _as_key(how: Conversion) -> Conversion:
    """A key's conversion: NaN equals nothing in a graph, so no node could be found by it."""
    if how.graph_type != "FLOAT":
        return how
    return replace(how, carried=lambda value: exp.NEQ(this=value.copy(), expression=_NAN.copy()))


_NAN = cast(text("NaN"), "float8")


def _node_extract(rule: NodeRule, table: Table) -> Extract:
    values = [_value(item, table, item.name in rule.key) for item in rule.included_properties]
    if not rule.key:
        values.append(_Value(ROW, _row_place(table, _OWNER), _ROW_TEXT))
    return _extract(rule, table, [], [], values, None, {})


def _relationship_extract(
    rule: RelationshipRule, table: Table, mapping: Mapping, catalog: Catalog
) -> Extract:
    joins: dict[str, tuple[Table, Sql]] = {}
    start = _end_values(rule.start, "a", table, mapping, catalog, joins)
    end = _end_values(rule.end, "b", table, mapping, catalog, joins)
    values = [_value(item, table, item.name in rule.key) for item in rule.included_properties]
    if rule.key == (ROW,):
        values.append(_Value(ROW, _row_place(table, _OWNER), _ROW_TEXT))
    names = dict.fromkeys((*rule.start.columns, *rule.end.columns))
    nullable = [name for name in names if _column(table, name).nullable]
    present = exp.and_(*(_not_null(name) for name in nullable)) if nullable else None
    return _extract(rule, table, start, end, values, present, joins)


def _extract(
    rule: Rule,
    table: Table,
    start: list[_Value],
    end: list[_Value],
    values: list[_Value],
    present: Sql | None,
    joins: dict[str, tuple[Table, Sql]],
) -> Extract:
    every = [*start, *end, *values]
    cursor = _cursor_columns(table)
    selected = [_aliased(f"v{n}", _guarded(value)) for n, value in enumerate(every)]
    selected.append(_aliased("fp", _fingerprint(every)))
    selected.append(_aliased("reject", _rejection(every, table)))
    for number, column in enumerate(cursor):
        name = exp.column(column.name, table=_OWNER, quoted=True)
        selected.append(_aliased(f"k{number}", cast(name, "text")))
    query = exp.select(*selected, copy=False).from_(_source_of(table), copy=False)
    for alias, (target, condition) in joins.items():
        source = _source_of(target, alias)
        query = query.join(source, on=condition, join_type="left", copy=False)
    if present is not None:
        query = query.where(present, copy=False)
    return Extract(
        rule,
        table,
        tuple(v.name for v in start),
        tuple(v.name for v in end),
        tuple(v.name for v in values),
        tuple(v.how.graph_type for v in values),
        tuple(column.name for column in cursor),
        table.leaves or (table.name,),
        query,
        present,
    )


def _end_values(
    end: Endpoint,
    alias: str,
    table: Table,
    mapping: Mapping,
    catalog: Catalog,
    joins: dict[str, tuple[Table, Sql]],
) -> list[_Value]:
    """The key of the node at one end: our own columns where they hold it, else by a join."""
    rule = mapping.node(end.node)
    if rule is None:
        raise MappingError(f"a relationship ends at {end.node}, which no rule makes")
    target = _table(catalog, rule.table)
    keys = key_conversions(rule, target)
    if target.name == table.name and end.columns == end.references:
        return [_Value(n, _key_source(rule, n, target, _OWNER), how) for n, how in keys]
    pairs = dict(zip(end.references, end.columns, strict=True))
    key_columns = [_column_of(rule, name) for name in rule.key]
    if rule.key and set(key_columns) == set(pairs) and _same_types(pairs, target, table):
        sources = [exp.column(pairs[c], table=_OWNER, quoted=True) for c in key_columns]
        return [_Value(n, s, how) for (n, how), s in zip(keys, sources, strict=True)]
    on = [
        exp.EQ(
            this=exp.column(reference, table=alias, quoted=True),
            expression=_collated(_column(table, own), _column(target, reference)),
        )
        for reference, own in pairs.items()
    ]
    joins[alias] = (target, exp.and_(*on))
    return [_Value(n, _key_source(rule, n, target, alias), how) for n, how in keys]


# Types whose equal values are the same graph value; citext `Foo` equals `foo` and is another text.
_ONE_SPELLING = frozenset(
    {"bool", "int2", "int4", "int8", "oid", "uuid", "text", "varchar", "bpchar", "bytea", "date"}
    | {"time", "timestamp", "timestamptz"}
)


def _same_types(pairs: dict[str, str], target: Table, table: Table) -> bool:
    return all(
        _one_spelling(_column(target, reference), _column(table, own))
        for reference, own in pairs.items()
    )


def _one_spelling(reference: Column, own: Column) -> bool:
    """Whether equal values of the two columns are the same graph value."""
    left, right = reference.type.resolved(), own.type.resolved()
    exact = left.kind == "enum" or (left.kind == "base" and left.name in _ONE_SPELLING)
    deterministic = reference.deterministic and own.deterministic
    return exact and deterministic and left.declared == right.declared


def _collated(own: Column, reference: Column) -> Sql:
    """Our column, compared as PostgreSQL compares it for the foreign key."""
    column = exp.column(own.name, table=_OWNER, quoted=True)
    if own.collation == reference.collation or not reference.collation:
        return column
    schema, name = TableName.parse(reference.collation)
    collation = exp.column(name, table=schema, quoted=True)
    return exp.paren(exp.Collate(this=column, expression=collation))


def _key_source(rule: NodeRule, name: str, target: Table, alias: str) -> Sql:
    if name == ROW:
        return _row_place(target, alias)
    return exp.column(_column_of(rule, name), table=alias, quoted=True)


def _column_of(rule: NodeRule, name: str) -> str:
    item = rule.property_named(name)
    assert item is not None
    return item.column


def _row_place(table: Table, alias: str) -> Sql:
    """The text of a row's place, unique in the table: leaf and ctid."""
    ctid = cast(exp.column("ctid", table=alias), "text")
    if not table.leaves:
        return ctid
    leaf = cast(exp.column("tableoid", table=alias), "text")
    return exp.DPipe(this=exp.DPipe(this=leaf, expression=text("/")), expression=ctid)


_ROW_TEXT = Conversion("STRING", lambda v: v.copy(), None, lambda v: v.copy())


def _value(item: Property, table: Table, in_key: bool = False) -> _Value:
    source = exp.column(_column(table, item.column).name, table=_OWNER, quoted=True)
    how = _conversion(item, table)
    return _Value(item.name, source, _as_key(how) if in_key else how)


def _conversion(item: Property, table: Table) -> Conversion:
    column = _column(table, item.column)
    try:
        return conversion(column.type, item.type)
    except ValueError as error:
        raise MappingError(f"{table.name}.{item.column}: {error}") from error


def _table(catalog: Catalog, name: TableName) -> Table:
    table = catalog.table(name)
    if table is None:
        raise MappingError(f"no table {name} in the source")
    return table


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise MappingError(f"no column {name} in {table.name}")
    return column


def _cursor_columns(table: Table) -> tuple[Column, ...]:
    key = row_key(table)
    return tuple(_column(table, name) for name in key.columns) if key else ()


def _cursor_type(column: Column) -> str:
    """The type a cursor's text is cast back to: without the modifier that could cut it."""
    resolved = column.type.resolved()
    plain = resolved.kind == "base" and resolved.name in ("bpchar", "varchar", "numeric")
    return resolved.name if plain else resolved.declared


def _guarded(value: _Value) -> Sql:
    if value.how.carried is None:
        return value.how.value(value.source)
    return exp.Case().when(value.how.carried(value.source), value.how.value(value.source))


def _fingerprint(values: list[_Value]) -> Sql:
    """The first 48 bits of the SHA-256 of all values' canonical text (never negative)."""
    framed = [field_text(v.how.canonical(_present_only(v))) for v in values if v.name != ROW]
    joined = _concatenated(framed)
    digest = function("sha256", function("convert_to", joined, text("UTF8")))
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


def _present_only(value: _Value) -> Sql:
    """The source, null where the value cannot be carried (its digest would raise)."""
    if value.how.carried is None:
        return value.source
    return exp.paren(exp.Case().when(value.how.carried(value.source), value.source.copy()))


def _rejection(values: list[_Value], table: Table) -> Sql:
    reasons = []
    for value in values:
        if value.how.carried is None:
            continue
        bad = exp.Not(this=exp.paren(value.how.carried(value.source)))
        shown = function("left", cast(value.source, "text"), exp.Literal.number(60))
        message = exp.DPipe(
            this=text(f"{value.name}: no {value.how.graph_type} holds "), expression=shown
        )
        reasons.append(exp.Case().when(bad, message))
    if not reasons:
        return cast(exp.Null(), "text")
    groups = [
        function("nullif", function("concat_ws", text("; "), *some), text(""))
        for some in batched(reasons, _ARGUMENTS)
    ]
    if len(groups) == 1:
        return groups[0]
    return function("nullif", function("concat_ws", text("; "), *groups), text(""))


def _source(name: TableName, alias: str = _OWNER, only: bool = False) -> exp.Table:
    source = exp.table_(name.name, db=name.schema, quoted=True)
    source.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    if only:
        source.set("only", True)
    return source


def _source_of(table: Table, alias: str = _OWNER) -> exp.Table:
    """The table alone, without the rows of tables that inherit from it: they are of their own."""
    return _source(table.name, alias, only=table.kind == "table")


def _not_null(name: str) -> Sql:
    column = exp.column(name, table=_OWNER, quoted=True)
    # Not IS NOT NULL: a composite value whose fields are all null is a value.
    return exp.NullSafeNEQ(this=column, expression=exp.Null())


def _aliased(alias: str, value: Sql) -> Sql:
    return exp.alias_(value, alias)


def _parameter(number: int) -> Sql:
    return exp.Parameter(this=exp.Literal.number(number))


def _literal_of(node: Sql, cursor: list[str]) -> Sql:
    return text(cursor[int(node.name) - 1]) if isinstance(node, exp.Parameter) else node


def _tid() -> exp.DataType:
    return exp.DataType.build("tid", "postgres", udt=True)
