"""Rules compiled to SELECTs whose columns are already graph values.

A row of an extract is, left to right: the key of the start and of the end (relationships only),
the rule's properties, the fingerprint, the reason why the row cannot be carried (null: it can),
the label that a value of the row gives (only where the rule has `labels_by`), and the cursor (the
text of the columns by which the table is read in order).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from sqlglot import exp, parse_one

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.ends import end_of, equal_pairs, own_ends
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import ROW, Mapping, NodeRule, Property, RelationshipRule, Rule
from geode_tui.mapping.relation import (
    OWNER,
    column_named,
    named,
    not_null,
    plain_source,
    source_of,
    table_named,
)
from geode_tui.mapping.types import Sql, cast, function, text
from geode_tui.mapping.values import (
    Value,
    condition_on,
    fingerprint,
    first_48_bits,
    guarded,
    joined_tables,
    label_by,
    marker,
    place_value,
    place_where_null,
    rejection,
    row_place,
    rows_of,
    rule_value,
    value_of,
)

Reading = Literal["key", "blocks", "stream"]
_Comparison = type[exp.GT] | type[exp.EQ] | type[exp.LTE]
_DIGESTS = 2**63

# Of `c` rows, numbered by `n`, the last of each of `p` parts but the last.
_PARTS = "GREATEST(1, LEAST(CAST($2 AS bigint), CAST(ceil(s.c / CAST($1 AS float8)) AS bigint)))"
_IS_BOUND = "b.n * b.p / b.c > (b.n - 1) * b.p / b.c AND b.n < b.c"


@dataclass(frozen=True)
class Extract:
    """The SELECTs of one rule.

    `start_key`, `end_key` and `properties` name the value columns in order, `property_types`
    their graph types; `cursor_columns` are the columns the table is read by along its key.
    `reading` says how it is read: along a key, by blocks of `leaves`, or as one stream.
    """

    rule: Rule
    table: Table
    start_key: tuple[str, ...]
    end_key: tuple[str, ...]
    properties: tuple[str, ...]
    property_types: tuple[str, ...]
    cursor_columns: tuple[str, ...]
    leaves: tuple[TableName, ...]
    reading: Reading
    labelled: bool
    _select: exp.Select = field(repr=False)
    _count: exp.Select = field(repr=False)

    @property
    def keyed(self) -> bool:
        """Whether the table is read along a key."""
        return self.reading == "key"

    @property
    def sampled(self) -> bool:
        """Whether blocks of the table can be sampled."""
        return self.reading != "stream"

    @property
    def fingerprint_at(self) -> int:
        """The position of the fingerprint in a row."""
        return len(self.start_key) + len(self.end_key) + len(self.properties)

    @property
    def property_slice(self) -> slice:
        """The positions of the properties in a row."""
        return slice(len(self.start_key) + len(self.end_key), self.fingerprint_at)

    @property
    def label_at(self) -> int | None:
        """The position of the label that a value gives, None where the rule has no such label."""
        return self.fingerprint_at + 2 if self.labelled else None

    @property
    def cursor_at(self) -> int:
        """The position of the first text of the cursor."""
        return self.fingerprint_at + 2 + self.labelled

    @cached_property
    def _chunk_sql(self) -> dict[tuple[bool, bool], str]:
        return {}

    @cached_property
    def stream_sql(self) -> str:
        """All rows, in no order."""
        return self._select.sql("postgres")

    @cached_property
    def first_sql(self) -> str:
        """The first rows along the key; `$1` is the number of rows."""
        return self._ordered(self._select).limit(_parameter(1)).sql("postgres")

    def chunk_sql(self, low: bool, high: bool) -> str:
        """The rows of a range along the key, in its order.

        With `low` those after a cursor, with `high` those up to and with one; the parameters are
        the texts of the one, then of the other.
        """
        if (low, high) not in self._chunk_sql:
            query = self._ordered(self._within(low, high))
            self._chunk_sql[low, high] = query.sql("postgres")
        return self._chunk_sql[low, high]

    def digest_sql(self, low: bool = False, high: bool = False) -> str:
        """One row: how many rows a range holds, and their digest (see `digest`).

        Bounds and parameters are those of `chunk_sql`; without bounds it is of all rows, however
        they are read.
        """
        total = exp.Coalesce(
            this=exp.Sum(this=self._row_digest("s")), expressions=[exp.Literal.number(0)]
        )
        rest = function("mod", cast(total, "numeric"), exp.Literal.number(_DIGESTS))
        counted = exp.select(_star(), cast(rest, "bigint"))
        return counted.from_(named(self._within(low, high), "s")).sql("postgres")

    def digest(self, rows: Iterable[Any]) -> int:
        """The sum of what tells rows of this extract apart, in 63 bits; the twin of `digest_sql`.

        Digests of parts of a range add up, modulo 2**63, to that of the range. Places in a table
        count, too: what is known by its place is not where it was after a VACUUM FULL.
        """
        at, reject, label = self.fingerprint_at, self.fingerprint_at + 1, self.label_at
        places = self._places
        total = 0
        for row in rows:
            told = row[label] if label is not None else None
            if told is None and row[reject] is None and not places:
                total += row[at]
            else:
                where = "".join(f"/{row[place] or ''}" for place in places)
                total += _told_apart(row[at], told or "", (row[reject] or "") + where)
        return total % _DIGESTS

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """The positions in a row of what is a place in a table."""
        names = (*self.start_key, *self.end_key, *self.properties)
        return tuple(place for place, name in enumerate(names) if name == ROW)

    def parts_sql(self, parts: int, modulus: int, labelled: bool) -> str:
        """A row for each part of the rows that can be carried: its number, how many, their sum.

        A row is in part `digest % parts`, and adds `digest % modulus`. The digest is the
        fingerprint; with `labelled` also the label that a value gives is told apart.
        """
        part, rest = (self._modulo(labelled, number) for number in (parts, modulus))
        return f"SELECT {part}, COUNT(*), SUM({rest}) FROM {self._carried_text} GROUP BY 1"

    def degrees_sql(self, at_start: bool) -> str:
        """For each number of relationships at an end: how many nodes have it there."""
        first, size = (0, len(self.start_key)) if at_start else (len(self.start_key), 0)
        size = size or len(self.end_key)
        keys = ", ".join(f"s.v{first + n}" for n in range(size))
        ends = f"SELECT COUNT(*) AS c FROM {self._carried_text} GROUP BY {keys}"
        return f"SELECT d.c, COUNT(*) FROM ({ends}) AS d GROUP BY 1"

    def aggregates_sql(self, aggregates: Sequence[tuple[str, str]]) -> str:
        """One row about the rows that can be carried: how many, and what each aggregate gives.

        An aggregate is a property's name and its SQL, in which `{v}` stands for the value.
        """
        first = len(self.start_key) + len(self.end_key)
        places = {name: f"s.v{first + n}" for n, name in enumerate(self.properties)}
        told = [sql.replace("{v}", places[name]) for name, sql in aggregates]
        return f"SELECT {', '.join(['COUNT(*)', *told])} FROM {self._carried_text}"

    def in_parts_sql(self, parts: int, labelled: bool) -> str:
        """The rows in some parts (`$1`, numbers) with their digest as one more column."""
        row = f"SELECT s.*, {self._mark(labelled).sql('postgres')} AS m FROM {self._carried_text}"
        return f"{row} WHERE {self._modulo(labelled, parts)} = ANY(CAST($1 AS bigint[]))"

    @property
    def refused_sql(self) -> str:
        """Rows that cannot be carried, at most `$1`."""
        return f"SELECT * FROM ({self.stream_sql}) AS s WHERE s.reject IS NOT NULL LIMIT $1"

    @property
    def _carried_text(self) -> str:
        """The rows that can be carried, as `s`; the text of the SELECT is made once."""
        return f"(SELECT * FROM ({self.stream_sql}) AS r WHERE r.reject IS NULL) AS s"

    def _modulo(self, labelled: bool, number: int) -> str:
        rest = function("mod", self._mark(labelled), cast(exp.Literal.number(number), "bigint"))
        return cast(rest, "bigint").sql("postgres")

    def _mark(self, labelled: bool) -> Sql:
        plain = exp.column("fp", table="s")
        if not (labelled and self.labelled):
            return plain
        assert isinstance(self.rule, NodeRule)
        label = exp.column("lb", table="s")
        fixed = [text(name) for name in (self.rule.label, *self.rule.labels)]
        none = exp.or_(exp.Is(this=label, expression=exp.Null()), label.copy().isin(*fixed))
        told: list[Sql] = [cast(plain, "text"), text("/"), label.copy(), text("/")]
        more = first_48_bits(function("concat", *told))
        return exp.Case().when(none, plain.copy()).else_(more)

    def mark(self, fingerprint: int, label: str | None) -> int:
        """The twin of `parts_sql` with `labelled`: a fingerprint with the label of a value.

        A label that every node of the rule has is None.
        """
        return fingerprint if label is None else _told_apart(fingerprint, label, "")

    def row_sql(self) -> str:
        """The row at a cursor; the parameters are its texts."""
        return self._select.where(self._compare(exp.EQ)).sql("postgres")

    @cached_property
    def rows_at_sql(self) -> str:
        """The rows at some cursors, with the number of the cursor (from 1) as one more column.

        The parameters are lists of texts, one for each cursor column.
        """
        columns = [exp.to_identifier(f"c{n}") for n in range(len(self.cursor_columns))]
        texts = [cast(_parameter(n), "text[]") for n in range(1, len(columns) + 1)]
        alias = exp.TableAlias(this=exp.to_identifier("w"), columns=columns)
        wanted = exp.Unnest(expressions=texts, alias=alias, offset=exp.to_identifier("n"))
        values = self._typed([exp.column(column.copy(), table="w") for column in columns])
        query = self._select.join(wanted, on=_compared(exp.EQ, self._key(), values))
        return query.select(exp.column("n", table="w")).sql("postgres")

    @property
    def tells_new_rows(self) -> bool:
        """Whether a row of the extract is of one row of a table alone, and of no joined one."""
        return self.reading != "stream" and not self._select.args.get("joins")

    @cached_property
    def newer_sql(self) -> str:
        """Rows whose present version was written by transaction `$1` or a later one.

        `$1` is the text of its 32 bits; at most `$2` rows, perhaps some that are older. Only where
        `tells_new_rows`.
        """
        written = function("age", exp.column("xmin", table=OWNER))
        xid = exp.Cast(this=cast(_parameter(1), "text"), to=exp.DataType.build("xid", udt=True))
        newer = exp.LTE(this=written, expression=function("age", xid))
        return self._select.where(newer).limit(_parameter(2)).sql("postgres")

    def cut_sql(self, percent: float | None) -> str:
        """The cursors that cut the table into ranges of as many rows each, in their order.

        `$1` is how many rows a range has, `$2` how many ranges there are at most. With `percent`
        only so much of the table's blocks is read, and of their rows the share `$3`; `$1` is then
        of these.
        """
        keys = [exp.column(f"k{n}", table="b") for n in range(len(self.cursor_columns))]
        texts = [cast(key, "text") for key in keys]
        # A key that its text does not give back cannot bound a range; its neighbours can.
        same = _compared(exp.EQ, keys, self._typed(texts))
        bound = parse_one(_IS_BOUND, dialect="postgres")
        query = exp.select(*texts).from_(named(self._numbered(percent), "b")).where(bound, same)
        return query.order_by(exp.column("n", table="b")).sql("postgres")

    def _numbered(self, percent: float | None) -> exp.Select:
        """The keys of all rows or of a sample: their number in order, that of rows, of parts."""
        keys = [_aliased(f"k{n}", column) for n, column in enumerate(self._key())]
        rows = exp.select(*keys).from_(_sampled(source_of(self.table), percent, seed=1))
        if percent is not None:
            share = exp.LT(this=function("random"), expression=cast(_parameter(3), "float8"))
            rows = rows.where(share)
        found = [exp.column(f"k{n}", table="s") for n in range(len(keys))]
        order = exp.Order(expressions=[column.copy() for column in found])
        number = exp.Window(this=function("row_number"), order=order)
        every = exp.Window(this=_star())
        numbered = exp.select(*found, _aliased("n", number), _aliased("c", every))
        parts = parse_one(_PARTS, dialect="postgres")
        counted = named(numbered.from_(named(rows, "s")), "s")
        return exp.select("*", _aliased("p", parts)).from_(counted)

    def look_sql(self, cursor: Sequence[str]) -> str:
        """A plain SELECT of the source row at a cursor, for a person to run."""
        query = exp.select("*").from_(source_of(self.table))
        shown = query.where(self._compare(exp.EQ)).transform(_literal_of, list(cursor))
        return shown.sql("postgres")

    def block_sql(self, leaf: TableName) -> str:
        """The rows of `leaf` in the blocks from `$1` to before `$2` (both `tid`)."""
        query = self._select.from_(plain_source(leaf, only=True))
        ctid = exp.column("ctid", table=OWNER)
        low = exp.GTE(this=ctid, expression=exp.Cast(this=_parameter(1), to=_tid()))
        high = exp.LT(this=ctid.copy(), expression=exp.Cast(this=_parameter(2), to=_tid()))
        return query.where(low, high).sql("postgres")

    def sample_sql(self, percent: float | None) -> str:
        """Some rows, at most `$1`; `percent` of the table's blocks, all of them when None."""
        query = self._select.copy()
        _sampled(query.args["from_"].this, percent)
        return query.limit(_parameter(1)).sql("postgres")

    @cached_property
    def count_sql(self) -> str:
        """One row: the rows of the table, those that the rule makes something of, and those of
        which an end is null."""
        return self._count.sql("postgres")

    @cached_property
    def labels_sql(self) -> str:
        """A row for each label that a value gives: the label and how many rows get it."""
        label = exp.column("lb", table="s")
        counted = exp.select(label, exp.Count(this=exp.Star())).from_(self._carried)
        return counted.group_by(label.copy()).sql("postgres")

    def present_sql(self, names: Sequence[str]) -> str:
        """One row: for each property, the rows that can be carried in which it is not null."""
        first = len(self.start_key) + len(self.end_key)
        values = [exp.column(f"v{first + self.properties.index(n)}", table="s") for n in names]
        counts = [exp.Count(this=value) for value in values]
        return exp.select(*counts).from_(self._carried).sql("postgres")

    @cached_property
    def rejected_sql(self) -> str:
        """The cursors of the rows that cannot be carried, as texts."""
        cursor = [exp.column(f"k{n}", table="r") for n in range(len(self.cursor_columns))]
        rows = exp.select(*cursor).from_(named(self._select.copy(), "r"))
        carried = exp.Is(this=exp.column("reject", table="r"), expression=exp.Null())
        return rows.where(exp.Not(this=exp.paren(carried))).sql("postgres")

    @property
    def _carried(self) -> exp.Expr:
        rows = exp.select("*").from_(named(self._select.copy(), "r"))
        reject = exp.Is(this=exp.column("reject", table="r"), expression=exp.Null())
        return named(rows.where(reject), "s")

    def _row_digest(self, alias: str) -> Sql:
        """A row's fingerprint; with the label, the reason and places where it has one of them."""
        plain = exp.column("fp", table=alias)
        reject = exp.column("reject", table=alias)
        label: Sql = exp.column("lb", table=alias) if self.labelled else exp.Null()
        none = exp.and_(*(exp.Is(this=each, expression=exp.Null()) for each in (label, reject)))
        parts: list[Sql] = [cast(plain, "text"), text("/"), cast(label, "text"), text("/"), reject]
        for place in self._places:
            parts += [text("/"), exp.column(f"v{place}", table=alias)]
        more = first_48_bits(function("concat", *(part.copy() for part in parts)))
        if self._places:
            return more
        return exp.Case().when(none, plain.copy()).else_(more)

    def _within(self, low: bool, high: bool) -> exp.Select:
        query = self._select.copy()
        if low:
            query = query.where(self._compare(exp.GT))
        if high:
            query = query.where(self._compare(exp.LTE, len(self.cursor_columns) if low else 0))
        return query

    def _ordered(self, query: exp.Select) -> exp.Select:
        return query.order_by(*self._key())

    def _key(self) -> list[Sql]:
        return [exp.column(name, table=OWNER, quoted=True) for name in self.cursor_columns]

    def _typed(self, texts: Sequence[Sql]) -> list[Sql]:
        """The texts of a cursor as values of the key's types."""
        values: list[Sql] = []
        for name, value in zip(self.cursor_columns, texts, strict=True):
            column = self.table.column(name)
            assert column is not None
            values.append(cast(value.copy(), cursor_type(column)))
        return values

    def _compare(self, operator: _Comparison, after: int = 0) -> Sql:
        numbers = range(after + 1, after + 1 + len(self.cursor_columns))
        values = self._typed([cast(_parameter(number), "text") for number in numbers])
        return _compared(operator, self._key(), values)


def _told_apart(fingerprint: int, label: str, reason: str) -> int:
    more = f"{fingerprint}/{label}/{reason}"
    return int.from_bytes(hashlib.sha256(more.encode()).digest()[:6], "big")


def compile_extract(rule: Rule, mapping: Mapping, catalog: Catalog) -> Extract:
    """Compile a rule to its SELECTs.

    Raises MappingError when it names a table, column, type or expression that does not fit.
    """
    table = table_named(catalog, rule.table)
    if isinstance(rule, NodeRule):
        return _node_extract(rule, table, mapping, catalog)
    return _relationship_extract(rule, table, mapping, catalog)


def _node_extract(rule: NodeRule, table: Table, mapping: Mapping, catalog: Catalog) -> Extract:
    joined = joined_tables(rule, catalog)
    values = [rule_value(item, rule, table, joined) for item in rule.included_properties]
    if not rule.key:
        values.append(place_value(table, OWNER))
    if mapping.is_marked(rule):
        values.append(marker(rule))
    where = condition_on(rule.where, table, OWNER)
    relation = rows_of(rule, table)
    query = _selected([], [], values, table)
    if rule.labels_by is not None:
        query.select(_aliased("lb", label_by(rule, table, joined)), copy=False)
    query.from_(relation, copy=False)
    for join, (alias, other) in zip(rule.joins, joined.values(), strict=True):
        on = equal_pairs(zip(join.references, join.columns, strict=True), other, alias, table)
        query.join(source_of(other, alias), on=on, join_type="left", copy=False)
    if rule.keep_first:
        counted = _count_of(source_of(table), relation, None, None)
    else:
        counted = _count_of(source_of(table), None, where, None)
        if where is not None:
            query.where(where, copy=False)
    reading = _reading(table, distinct=bool(rule.keep_first))
    return _extract(rule, table, ([], [], values), query, counted, reading)


def _relationship_extract(
    rule: RelationshipRule, table: Table, mapping: Mapping, catalog: Catalog
) -> Extract:
    own = own_ends(rule, mapping)
    ends = [end_of(rule.start, own[0], "a", table, mapping, catalog)]
    ends.append(end_of(rule.end, own[1], "b", table, mapping, catalog))
    start, end = ends[0].values, ends[1].values
    values = [value_of(item, table, OWNER, item.name in rule.key) for item in _own(rule)]
    if rule.key == (ROW,):
        values.append(place_value(table, OWNER))
    owner = next((end.rule for end in ends if end.own and end.rule.keep_first), None)
    relation = rows_of(owner, table) if owner else source_of(table)
    query = _selected(start, end, values, table).from_(relation, copy=False)
    for one in ends:
        if one.join is not None:
            query.join(one.join[0], on=one.join[1], join_type="left", copy=False)
    names = dict.fromkeys((*rule.start.columns, *rule.end.columns))
    nullable = [name for name in names if column_named(table, name).nullable]
    possible = exp.and_(*(not_null(name) for name in nullable)) if nullable else None
    kept = [condition_on(rule.where, table, OWNER), *(one.kept for one in ends)]
    conditions = [condition for condition in (possible, *kept) if condition is not None]
    made = exp.and_(*conditions) if conditions else None
    if made is not None:
        query.where(made, copy=False)
    merged = any(one.rule.keep_first and not one.own for one in ends)
    if merged:
        query = _without_equals(query, start, end, rule, values, table)
    if merged or owner:
        counted = _count_of(source_of(table), named(query.copy(), "s"), None, possible)
    else:
        counted = _count_of(source_of(table), None, made, possible)
    reading = _reading(table, distinct=merged or owner is not None)
    return _extract(rule, table, (start, end, values), query, counted, reading)


def _own(rule: RelationshipRule) -> tuple[Property, ...]:
    for item in rule.included_properties:
        if item.join:
            raise MappingError(f"{rule.id}: property {item.name} is of a joined table")
    return rule.included_properties


def _extract(
    rule: Rule,
    table: Table,
    values: tuple[list[Value], list[Value], list[Value]],
    query: exp.Select,
    counted: exp.Select,
    reading: Reading,
) -> Extract:
    start, end, own = values
    cursor = cursor_columns_of(table) if reading == "key" else ()
    for number, column in enumerate(cursor):
        name = exp.column(column.name, table=OWNER, quoted=True)
        query.select(_aliased(f"k{number}", cast(name, "text")), copy=False)
    return Extract(
        rule,
        table,
        tuple(v.name for v in start),
        tuple(v.name for v in end),
        tuple(v.name for v in own),
        tuple(v.how.graph_type for v in own),
        tuple(column.name for column in cursor),
        table.leaves or (table.name,),
        reading,
        isinstance(rule, NodeRule) and rule.labels_by is not None,
        query,
        counted,
    )


def _reading(table: Table, distinct: bool) -> Reading:
    if distinct or not table.has_storage:
        return "stream"
    return "key" if row_key(table) else "blocks"


def _selected(
    start: list[Value], end: list[Value], values: list[Value], table: Table
) -> exp.Select:
    every = [*start, *end, *values]
    selected = [_aliased(f"v{n}", guarded(value)) for n, value in enumerate(every)]
    selected.append(_aliased("fp", fingerprint(every)))
    selected.append(_aliased("reject", rejection(every)))
    return exp.select(*selected, copy=False)


def _without_equals(
    query: exp.Select,
    start: list[Value],
    end: list[Value],
    rule: RelationshipRule,
    values: list[Value],
    table: Table,
) -> exp.Select:
    """Of relationships that became equal because their ends did, one; orphans stay as they are."""
    ends = len(start) + len(end)
    identity: list[Sql] = [exp.column(f"v{n}", table="s") for n in range(ends)]
    ends_known = list(identity)
    names = [value.name for value in values]
    identity += [exp.column(f"v{ends + names.index(name)}", table="s") for name in rule.key]
    query = query.select(_aliased("place", row_place(table, OWNER)))
    identity.append(place_where_null(ends_known, exp.column("place", table="s")))
    wanted = [exp.column(f"v{n}", table="s") for n in range(ends + len(values))]
    wanted += [exp.column(name, table="s") for name in ("fp", "reject")]
    chosen = exp.select(*wanted).from_(named(query, "s")).distinct(*identity)
    # An order, so that each reading takes the values of the same row.
    return chosen.order_by(*(each.copy() for each in (*identity, *wanted[-2:])))


def _count_of(
    table: exp.Expr, made_rows: exp.Expr | None, made: Sql | None, possible: Sql | None
) -> exp.Select:
    """All rows, those that become something, those of which an end is null."""
    every = _star()
    nulls: Sql = exp.Literal.number(0)
    if possible is not None:
        nulls = _counted_where(exp.Not(this=exp.paren(possible.copy())))
    if made_rows is not None:
        some: Sql = exp.Subquery(this=exp.select(_star()).from_(made_rows.copy()))
    else:
        some = every.copy() if made is None else _counted_where(made.copy())
    return exp.select(every, some, nulls).from_(table)


def _star() -> Sql:
    return exp.Count(this=exp.Star())


def _counted_where(condition: Sql) -> Sql:
    return exp.Filter(this=_star(), expression=exp.Where(this=condition))


def cursor_columns_of(table: Table) -> tuple[Column, ...]:
    """The columns a table is read by along its key, none where it has no key."""
    key = row_key(table)
    return tuple(column_named(table, name) for name in key.columns) if key else ()


def _compared(operator: _Comparison, left: Sequence[Sql], right: Sequence[Sql]) -> Sql:
    if len(left) == 1:
        return operator(this=left[0].copy(), expression=right[0])
    one, other = (exp.Tuple(expressions=[each.copy() for each in side]) for side in (left, right))
    return operator(this=one, expression=other)


def _sampled(source: exp.Expr, percent: float | None, seed: int | None = None) -> exp.Expr:
    """The rows in a share of a table's blocks, the same ones for a seed; all rows when None."""
    if percent is not None:
        sample = exp.TableSample(
            method=exp.var("SYSTEM"),
            percent=exp.Literal.number(f"{percent:.6f}"),
            seed=None if seed is None else exp.Literal.number(seed),
        )
        source.set("sample", sample)
    return source


def cursor_type(column: Column) -> str:
    """The type a cursor's text is cast back to: without the modifier that could cut it."""
    resolved = column.type.resolved()
    plain = resolved.kind == "base" and resolved.name in ("bpchar", "varchar", "numeric")
    return resolved.name if plain else resolved.declared


def _aliased(alias: str, value: Sql) -> Sql:
    return exp.alias_(value, alias)


def _parameter(number: int) -> Sql:
    return exp.Parameter(this=exp.Literal.number(number))


def _literal_of(node: Sql, cursor: list[str]) -> Sql:
    return text(cursor[int(node.name) - 1]) if isinstance(node, exp.Parameter) else node


def _tid() -> exp.DataType:
    return exp.DataType.build("tid", "postgres", udt=True)
