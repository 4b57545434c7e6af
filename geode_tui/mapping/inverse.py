"""The way back: which column of which table each property and each relationship gives back.

A mapping is inverted as far as that is exact. A property gives its column back where it is that
column as it is, by a conversion that loses nothing; a relationship gives back the foreign key it
was made of, or the row of a table that only joins two others. What is not inverted is said in
words (`Inverse.lacks`), before a run rather than in the night when somebody needs it.

All statements take lists of texts, one for each column, which PostgreSQL casts to its own types:
the texts are those that it prints itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.mapping.ends import own_ends
from geode_tui.mapping.extract import cursor_type
from geode_tui.mapping.model import (
    Endpoint,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
)
from geode_tui.mapping.types import cast, conversion

Weight = Literal["rows", "values"]
_ONE_SPELLING = frozenset({"text", "varchar", "citext", "name", "json", "xml"})


@dataclass(frozen=True, slots=True)
class Given:
    """A column that a property gives back: the property's graph type, the column's own type."""

    column: str
    property: str
    type: str
    cast: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Columns of a row that a relationship gives back.

    `columns` come from properties of the node at the other end (the end, where `outward`),
    `properties` from the relationship's own. `cleared` are the columns that become NULL where
    the row has no such relationship; none where the table forbids it.
    """

    rule: str
    outward: bool
    columns: tuple[Given, ...]
    properties: tuple[Given, ...]
    cleared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that cannot be given back, in words; `column` is empty for all of a rule.

    `property` is the property that it is about, where it is one.

    Of `rows` whole changes cannot be taken back, of `values` a column keeps what it has.
    """

    rule: str
    table: TableName
    column: str
    why: str
    weight: Weight = "values"
    property: str = ""


@dataclass(frozen=True)
class TableInverse:
    """How the rows of a table are made from what a rule made of them.

    The rule makes nodes, or (`joins`) relationships: then `start` and `end` are the columns that
    the keys of the two nodes give. `key` identifies a row; `columns` are the others that its
    properties give, of which references may give some, too. `no_insert` says why new rows cannot
    be made, empty where they can.
    """

    table: Table
    rule: str
    joins: bool
    key: tuple[Given, ...]
    columns: tuple[Given, ...]
    start: tuple[Given, ...] = ()
    end: tuple[Given, ...] = ()
    references: tuple[Reference, ...] = ()
    no_insert: str = ""

    @cached_property
    def redundant(self) -> frozenset[str]:
        """Columns that are a property and, as a foreign key, a relationship, too."""
        key = {given.column for given in self.key}
        told = {g.column for one in self.references for g in (*one.columns, *one.properties)}
        return frozenset(given.column for given in self.columns if given.column in told - key)

    @cached_property
    def casts(self) -> dict[str, str]:
        """The type of each column that is given back."""
        some = [*self.key, *self.columns, *self.start, *self.end]
        for one in self.references:
            some += [*one.columns, *one.properties]
        return {given.column: given.cast for given in some}

    @cached_property
    def respell(self) -> dict[str, str]:
        """Of properties of which PostgreSQL knows several spellings, the SELECT that gives its own.

        The parameter is a list of texts. `PT60M` is the interval `PT1H`; of a real, 1.1 is the
        nearest number that it holds.
        """
        found = {}
        for given in self.columns:
            column = self.table.column(given.column)
            if column is not None and _has_spellings(column, given.type):
                how = conversion(column.type, given.type)
                text = exp.column("x", table="r")
                value = how.value(cast(text, column.type.resolved().declared)).sql("postgres")
                rows = "unnest($1::text[]) WITH ORDINALITY AS r(x, n)"
                found[given.property] = f"SELECT {value} FROM {rows} ORDER BY r.n"
        return found

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(given.column for given in self.key)

    def insert_sql(self, columns: Sequence[str]) -> str:
        """Makes rows; the parameters are a list of texts for each column."""
        names = ", ".join(_quoted(name) for name in columns)
        identity = any(column.identity for column in self.table.columns)
        override = " OVERRIDING SYSTEM VALUE" if identity else ""
        values = ", ".join(self._value(n, name) for n, name in enumerate(columns))
        rows = f"SELECT {values} FROM {_rows(len(columns))}"
        return f"INSERT INTO {_qualified(self.table.name)} ({names}){override} {rows}"

    def update_sql(self, columns: Sequence[str]) -> str:
        """Sets some columns; the parameters are lists for the key, then for the columns."""
        first = len(self.key)
        sets = ", ".join(
            f"{_quoted(name)} = {self._value(first + n, name)}" for n, name in enumerate(columns)
        )
        rows = _rows(first + len(columns))
        return f"UPDATE {self._only} AS t SET {sets} FROM {rows} WHERE {self._same}"

    @property
    def delete_sql(self) -> str:
        """Removes rows; the parameters are lists for the key."""
        return f"DELETE FROM {self._only} AS t USING {_rows(len(self.key))} WHERE {self._same}"

    @property
    def sequence_moves(self) -> tuple[str, ...]:
        """Each leads the sequence of a column up to the highest number that is there."""
        table = _qualified(self.table.name)
        return tuple(
            f"SELECT setval(s.name, m.top) FROM (SELECT pg_get_serial_sequence({_literal(table)},"
            f" {_literal(column.name)}) AS name) s, (SELECT max({_quoted(column.name)})::bigint"
            f" AS top FROM {table}) m WHERE s.name IS NOT NULL AND m.top > coalesce((SELECT"
            " q.last_value FROM pg_sequences q WHERE"
            " format('%I.%I', q.schemaname, q.sequencename) = s.name), 0)"
            for column in self.table.columns
            if column.identity or (column.default or "").startswith("nextval(")
        )

    @property
    def _only(self) -> str:
        only = "ONLY " if self.table.kind == "table" else ""
        return only + _qualified(self.table.name)

    @property
    def _same(self) -> str:
        return " AND ".join(
            f"t.{_quoted(name)} = {self._value(n, name)}" for n, name in enumerate(self.key_columns)
        )

    def _value(self, number: int, column: str) -> str:
        return f"CAST(r.c{number} AS {self.casts[column]})"


@dataclass(frozen=True)
class Inverse:
    """The way back of a mapping: its tables, parents first, and what is not inverted."""

    mapping: Mapping
    tables: tuple[TableInverse, ...]
    lacks: tuple[Lack, ...]

    @cached_property
    def settled(self) -> Mapping:
        """The mapping without the properties that only repeat what a relationship says.

        A program that leads a relationship elsewhere may leave the property as it was.
        """
        by_rule = {one.rule: one for one in self.tables if not one.joins}
        nodes = tuple(
            _without(rule, by_rule[rule.id].redundant) if rule.id in by_rule else rule
            for rule in self.mapping.nodes
        )
        return replace(self.mapping, nodes=nodes)

    @cached_property
    def rules(self) -> frozenset[str]:
        """The ids of the rules that are inverted."""
        references = (one.rule for table in self.tables for one in table.references)
        return frozenset((*(table.rule for table in self.tables), *references))

    def why_not(self, rule: str, properties: Iterable[str] = ()) -> str:
        """Why a rule is not inverted, or these properties of it, in words; empty where they are."""
        names = set(properties)
        some = [one for one in self.lacks if one.rule == rule]
        if rule in self.rules:
            some = [one for one in some if one.property in names]
        return "; ".join(dict.fromkeys(one.why for one in some))


def _without(rule: NodeRule, columns: frozenset[str]) -> NodeRule:
    properties = tuple(
        replace(item, include=False)
        if item.column in columns and not item.join and not item.expression
        else item
        for item in rule.properties
    )
    return replace(rule, properties=properties)


def invert(mapping: Mapping, catalog: Catalog) -> Inverse:
    """Invert a mapping on a catalog. What does not fit the catalog is not inverted."""
    work = _Work(mapping, catalog)
    tables = [*work.node_tables(), *work.join_tables()]
    work.other_relationships()
    return Inverse(mapping, tuple(_parents_first(tables)), tuple(dict.fromkeys(work.lacks)))


@dataclass
class _Work:
    mapping: Mapping
    catalog: Catalog
    lacks: list[Lack] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def node_tables(self) -> Iterator[TableInverse]:
        for rule in self.mapping.active_nodes:
            table = self.catalog.table(rule.table)
            if table is None:
                continue  # a misfit, which is told as such
            why = self._no_rows(rule, table) or self._no_key(rule, table)
            if why:
                self._lack(rule, "", why, "rows")
                continue
            yield self._node_table(rule, table)

    def _no_rows(self, rule: Rule, table: Table) -> str:
        """Why the rows of a table cannot be made from a rule's things."""
        if table.kind not in ("table", "partitioned"):
            return f"{table.name} is a {table.kind}: its rows are other tables' rows"
        if rule.where:
            return "its condition leaves rows out: what is not in the graph may still be a row"
        if isinstance(rule, RelationshipRule):
            return ""
        if rule.keep_first:
            return "several rows became one node"
        others = [one.id for one in self.mapping.nodes_of(table.name) if one.include]
        if len(others) > 1:
            return f"several rules make nodes of its rows: {', '.join(others)}"
        return ""

    def _no_key(self, rule: NodeRule, table: Table) -> str:
        if not rule.key:
            return "its rows have no key"
        found = [self._given(item, table) for item in rule.key_properties]
        columns = {given.column for given in found if given is not None}
        if None in found or len(found) != len(rule.key):
            return "its key is not columns as they are"
        if not any(set(key.columns) <= columns for key in table.keys):
            return "no unique key of the table says that its key is one row"
        return ""

    def _node_table(self, rule: NodeRule, table: Table) -> TableInverse:
        self.used.add(rule.id)
        key = tuple(g for item in rule.key_properties if (g := self._given(item, table)))
        columns = self._columns(rule, table, key)
        references = tuple(self._references(rule, table, {given.column for given in key}))
        told = {given.column for given in (*key, *columns)}
        for one in references:
            told |= {given.column for given in (*one.columns, *one.properties)}
        no_insert = self._untold(rule, table, told)
        if rule.labels_by is not None:
            where = f"{rule.labels_by.join}." if rule.labels_by.join else ""
            why = f"labels are given by {where}{rule.labels_by.column}, not the other way round"
            self._lack(rule, "", why)
        return TableInverse(
            table, rule.id, False, key, columns, references=references, no_insert=no_insert
        )

    def _columns(self, rule: Rule, table: Table, key: Sequence[Given]) -> tuple[Given, ...]:
        """The columns that properties give beside the key, each by its first property."""
        found: dict[str, Given] = {}
        taken = {given.column for given in key}
        for item in rule.included_properties:
            given = self._given(item, table)
            if given is None:
                why = self._why_not(item, table)
                self._lack(rule, item.column or item.name, why, property=item.name)
            elif given.column not in taken:
                found.setdefault(given.column, given)
        return tuple(found.values())

    def _given(self, item: Property, table: Table) -> Given | None:
        """What a property gives back, None where it is not exactly a column as it is."""
        column = table.column(item.column)
        if self._why_not(item, table) or column is None:
            return None
        return Given(column.name, item.name, item.type, cursor_type(column))

    def _why_not(self, item: Property, table: Table) -> str:
        if item.join:
            return f"{item.name} is of the joined table {item.join}"
        if item.expression:
            return f"{item.name} is made by an expression"
        column = table.column(item.column)
        if column is None:
            return f"{item.name} is of no column of {table.name}"
        if column.generated is not None:
            return f"{column.name} is a generated column: PostgreSQL makes it"
        try:
            exact = conversion(column.type, item.type).exact
        except ValueError:
            return f"{item.name} has a type that its column cannot have"
        return "" if exact else f"{item.name} as {item.type} does not hold {column.name} exactly"

    def _untold(self, rule: Rule, table: Table, told: set[str]) -> str:
        """Note the columns that nothing gives back; why no rows can be made, if so."""
        needed = []
        for column in table.columns:
            if column.name in told or column.generated is not None:
                continue
            if _must_be_given(column):
                needed.append(column.name)
                why = f"{column.name} is not in the graph and must not be NULL: no new rows"
                self._lack(rule, column.name, why, "rows")
            elif not any(lack.column == column.name for lack in self.lacks if lack.rule == rule.id):
                filled = "the default" if column.default or column.identity else "NULL"
                self._lack(rule, column.name, f"new rows get {filled} in {column.name}")
        if not needed:
            return ""
        return f"nothing in the graph gives {', '.join(needed)}, which must not be NULL"

    # -- foreign keys -----------------------------------------------------------------------------

    def _references(self, node: NodeRule, table: Table, key: set[str]) -> Iterator[Reference]:
        for rule in self.mapping.active_relationships:
            if rule.table != table.name:
                continue
            own = own_ends(rule, self.mapping)
            if own[0] == own[1]:
                continue
            own_end, other = (rule.start, rule.end) if own[0] else (rule.end, rule.start)
            if own_end.node != node.id:
                continue
            self.used.add(rule.id)
            if rule.where:
                self._lack(rule, "", "its condition tells which rows have it", "rows")
                continue
            columns = self._end_columns(rule, other, table)
            if columns:
                yield self._reference(rule, table, own[0], columns, key)

    def _reference(
        self,
        rule: RelationshipRule,
        table: Table,
        outward: bool,
        columns: tuple[Given, ...],
        key: set[str],
    ) -> Reference:
        properties = self._columns(rule, table, ())
        owned = [table.column(given.column) for given in (*columns, *properties)]
        cleared = tuple(c.name for c in owned if c and c.nullable and c.name not in key)
        if not any(given.column in cleared for given in columns):
            cleared = ()
        return Reference(rule.id, outward, columns, properties, cleared)

    def _end_columns(
        self, rule: RelationshipRule, end: Endpoint, table: Table, in_key: bool = False
    ) -> tuple[Given, ...]:
        """The columns of a row that the node at an end gives; none, and a lack, if not all."""
        node = self.mapping.node(end.node)
        other = self.catalog.table(node.table) if node else None
        found = []
        for own, reference in zip(end.columns, end.references, strict=True):
            column = table.column(own)
            given = self._property_of(node, other, reference, in_key) if node and other else None
            if given is None or column is None:
                why = f"no property of {end.node} is {reference} as it is, which {own} points at"
                self._lack(rule, own, why, "rows")
                return ()
            found.append(Given(own, given.property, given.type, cursor_type(column)))
        if not found:
            self._lack(rule, "", "its ends are known by the place of a row only", "rows")
        return tuple(found)

    def _property_of(self, node: NodeRule, table: Table, column: str, in_key: bool) -> Given | None:
        for item in node.included_properties:
            if item.column == column and (item.name in node.key or not in_key):
                given = self._given(item, table)
                if given is not None:
                    return given
        return None

    # -- tables that only join two others ---------------------------------------------------------

    def join_tables(self) -> Iterator[TableInverse]:
        for rule in self.mapping.active_relationships:
            table = self.catalog.table(rule.table)
            if table is None or rule.id in self.used or self.mapping.nodes_of(rule.table):
                continue
            self.used.add(rule.id)
            made = self._join_table(rule, table)
            if made is not None:
                yield made

    def _join_table(self, rule: RelationshipRule, table: Table) -> TableInverse | None:
        same = [r for r in self.mapping.active_relationships if r.table == rule.table]
        why = self._no_rows(rule, table)
        if len(same) > 1:
            why = f"several rules read {table.name}"
        if why:
            self._lack(rule, "", why, "rows")
            return None
        start = self._end_columns(rule, rule.start, table, in_key=True)
        end = self._end_columns(rule, rule.end, table, in_key=True) if start else ()
        if not end:
            return None
        properties = self._columns(rule, table, (*start, *end))
        identity = [*start, *end, *(p for p in properties if p.property in rule.key)]
        key = _key_within(table, identity)
        if not key:
            why = "no unique key of the table lies within what identifies a relationship"
            self._lack(rule, "", why, "rows")
            return None
        told = {given.column for given in (*start, *end, *properties)}
        no_insert = self._untold(rule, table, told)
        return TableInverse(table, rule.id, True, key, properties, start, end, (), no_insert)

    def other_relationships(self) -> None:
        """Note the relationships that are neither a foreign key nor a row."""
        for rule in self.mapping.active_relationships:
            if rule.id not in self.used and self.catalog.table(rule.table) is not None:
                why = "it is neither one foreign key of a row that is given back, nor a row"
                self._lack(rule, "", why, "rows")

    def _lack(
        self, rule: Rule, column: str, why: str, weight: Weight = "values", property: str = ""
    ) -> None:
        self.lacks.append(Lack(rule.id, rule.table, column, why, weight, property))


def _key_within(table: Table, identity: Iterable[Given]) -> tuple[Given, ...]:
    """The first key of the table all of whose columns are given, none where there is none."""
    by_column = {given.column: given for given in identity}
    for key in table.keys:
        if all(name in by_column for name in key.columns):
            return tuple(by_column[name] for name in key.columns)
    return ()


def _has_spellings(column: Column, graph_type: str) -> bool:
    resolved = column.type.resolved()
    if graph_type == "FLOAT":
        return resolved.name == "float4"
    if "(" in resolved.declared and resolved.name != "bpchar":
        return False  # a cast to it may cut or round, which is another value
    plain = resolved.kind == "enum" or resolved.name in _ONE_SPELLING
    return graph_type == "STRING" and not plain


def _must_be_given(column: Column) -> bool:
    return not column.nullable and column.default is None and not column.identity


def _parents_first(tables: Sequence[TableInverse]) -> list[TableInverse]:
    """The tables in an order in which what is pointed at comes before what points.

    Of a circle one comes first that points at another: its foreign keys wait, or are set later.
    """
    by_name = {one.table.name: one for one in tables}
    ordered: list[TableInverse] = []
    state: dict[TableName, bool] = {}

    def visit(one: TableInverse) -> None:
        if one.table.name in state:
            return
        state[one.table.name] = False
        for key in one.table.foreign_keys:
            if key.to_table in by_name:
                visit(by_name[key.to_table])
        ordered.append(one)

    for one in tables:
        visit(one)
    return ordered


def _rows(columns: int) -> str:
    lists = ", ".join(f"${n + 1}::text[]" for n in range(columns))
    names = ", ".join(f"c{n}" for n in range(columns))
    return f"unnest({lists}) AS r({names})"


def _qualified(name: TableName) -> str:
    return f"{_quoted(name.schema)}.{_quoted(name.name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
