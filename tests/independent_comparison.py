"""Is a migrated graph equal to its database? An answer that shares no line with the product.

Every row of every mapped table is read from PostgreSQL, every node and relationship from the
Grafeo file, and both are compared value by value in both directions:

    python -m tests.independent_comparison --dsn DSN --graph-file shop.grafeo --mapping mapping.yaml

The mapping file is read with PyYAML, the conversions are written here a second time; conditions,
expressions and orders go to PostgreSQL as they stand in the file. Nothing is imported from the
product, so that a mistake in it cannot hide itself. About 500 bytes of memory a node and 300 a
relationship.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import asyncpg
import grafeo
import yaml

Kind = Literal["missing", "extra", "doubled", "different", "reversed", "wrong ends", "wrong labels"]
SHOWN = 20
_FETCH_ROWS = 2_000
_LONGEST = 200

_SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "lc_monetary": "C",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "jit": "off",
}
_SERVER_TYPES = {
    "BOOL": "bool",
    "INT": "int8",
    "FLOAT": "float8",
    "DECIMAL": "numeric",
    "STRING": "text",
    "BYTES": "bytea",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
}
_EPOCH = datetime(2000, 1, 1)
_LAST_MICROSECOND = 252_455_615_999_999_999  # 9999-12-31 23:59:59.999999
_FIRST_MICROSECOND = -63_082_281_600_000_000  # 0001-01-01

_OWN_NODES = (["_GeodeTuiSchema"], ["_Migration"])  # of no row: what the product notes for itself
# Extensions' operators (citext's =) are found by the search path alone.
_EXTENSION_SCHEMAS = """
SELECT DISTINCT quote_ident(n.nspname) AS name FROM pg_extension x
JOIN pg_namespace n ON n.oid = x.extnamespace WHERE n.nspname <> 'pg_catalog'
"""
_COLUMNS = """
SELECT a.attname AS name, a.atttypid AS type FROM pg_attribute a
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
_BASE_TYPES = """
WITH RECURSIVE under(declared, type) AS (
  SELECT oid, oid FROM pg_type WHERE oid = ANY($1::oid[])
  UNION ALL
  SELECT under.declared, t.typbasetype FROM under JOIN pg_type t ON t.oid = under.type
  WHERE t.typtype = 'd'
)
SELECT under.declared, t.typname AS name, t.typcategory::text AS category
FROM under JOIN pg_type t ON t.oid = under.type WHERE t.typtype <> 'd'
"""

_COLLATIONS = """
SELECT a.attname AS name, format('%I.%I', n.nspname, c.collname) AS collation
FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True)
class Difference:
    """One thing that is not equal; `values` are name, source's value, graph's value."""

    entity: str
    kind: Kind
    key: str
    values: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        shown = "; ".join(f"{name}: source {old}, graph {new}" for name, old, new in self.values)
        return f"{self.entity}: {self.kind}: {self.key}" + (f": {shown}" if shown else "")


@dataclass
class Entity:
    """A rule's counts.

    `orphans` are rows whose end is in no table, `unkeyed` those with a null in a node's key: they
    make nothing.
    """

    name: str
    table: str
    rows: int = 0
    found: int = 0
    orphans: int = 0
    unkeyed: int = 0
    differences: list[Difference] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        """How many differences of a kind there are."""
        return sum(difference.kind == kind for difference in self.differences)

    def differ(self, kind: Kind, key: str, *values: tuple[str, str, str]) -> None:
        """Note a difference."""
        self.differences.append(Difference(self.name, kind, key, values))

    def __str__(self) -> str:
        nothing = f", {self.orphans} orphans" if self.orphans else ""
        nothing += f", {self.unkeyed} without a whole key" if self.unkeyed else ""
        return (
            f"{self.name} ({self.table}): {self.rows} rows, {self.found} in the graph{nothing},"
            f" {len(self.differences)} differences"
        )


@dataclass(frozen=True)
class Comparison:
    """What was compared, and everything that is not equal."""

    entities: tuple[Entity, ...]
    nodes: int
    relationships: int

    @property
    def differences(self) -> list[Difference]:
        """All differences, in the order of the entities."""
        return [difference for entity in self.entities for difference in entity.differences]

    @property
    def orphans(self) -> int:
        """Rows that point at nothing."""
        return sum(entity.orphans for entity in self.entities)

    @property
    def equal(self) -> bool:
        """Whether there is no difference; orphans are none."""
        return not self.differences

    def entity(self, name: str) -> Entity:
        """The entity of that label or pattern; KeyError when there is none."""
        for entity in self.entities:
            if entity.name == name:
                return entity
        raise KeyError(name)

    @property
    def verdict(self) -> str:
        """The last line of the report."""
        if self.equal:
            return f"equal: {self.nodes} nodes, {self.relationships} relationships"
        kinds = Counter(difference.kind for difference in self.differences)
        return "DIFFERENT: " + ", ".join(f"{number} {kind}" for kind, number in kinds.items())


async def compare(
    dsn: str, graph_file: str | Path, graph: str | None, mapping_path: str | Path
) -> Comparison:
    """Compare a database with the graph made of it by a mapping file; reads both, writes none."""
    document = await asyncio.to_thread(_load, Path(mapping_path))
    database = grafeo.GrafeoDB.open_read_only(str(graph_file))
    connection = await asyncpg.connect(dsn, server_settings=_SESSION)
    try:
        opened = database.graph(graph) if graph else database
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            queries = {query["name"]: query["sql"] for query in document.get("queries") or ()}
            source = _Source(connection, queries)
            await source.prepare()
            return await _Comparer(source, _Graph(opened), document).run()
    finally:
        await connection.close()
        database.close()


class _Texts(yaml.SafeLoader):
    """Every scalar is the text that stands there, but null: `{1: On}` is a label On."""


_Texts.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] == "tag:yaml.org,2002:null"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load(path: Path) -> Any:
    document: Any = yaml.load(path.read_text(encoding="utf-8"), _Texts)
    return document


# -- values: each side is turned into the same text, by rules of its own ------------------------


def graph_text(value: Any) -> str:
    """A graph value's text; two values have one text when they are equal and of one type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, bytes | bytearray):
        return "x" + bytes(value).hex()
    if isinstance(value, datetime):
        zoneless = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return "at " + zoneless.isoformat(" ", "microseconds")
    if isinstance(value, date):
        return "on " + value.isoformat()
    if isinstance(value, time):
        return "time " + value.isoformat("microseconds")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(graph_text(item) for item in value) + "]"
    return f"{type(value).__name__} {value!r}"


def source_text(value: Any, graph_type: str) -> str:
    """A source value's text, as the graph's value of `graph_type` must have it."""
    if value is None:
        return "null"
    if graph_type.startswith("LIST<"):
        inner = graph_type[5:-1]
        # A list inside a list is a dimension more of the same array.
        return "[" + ", ".join(_item_text(item, graph_type, inner) for item in value) + "]"
    match graph_type:
        case "BOOL":
            return "true" if value else "false"
        case "INT":
            return str(int(value))
        case "FLOAT":
            return _float_text(value)
        case "DECIMAL":
            return _decimal_text(value)
        case "BYTES":
            return f"x{value.hex()}"
        case "DATE":
            return _moment_text("on", value * 86_400_000_000)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            return _moment_text("at", value)
        case "TIME":
            seconds, micros = divmod(value, 1_000_000)
            return (
                f"time {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"
            )
    return repr(value)


def _item_text(item: Any, graph_type: str, inner: str) -> str:
    return source_text(item, graph_type if isinstance(item, list) else inner)


def _float_text(value: float) -> str:
    """Python's shortest text tells every double from every other, -0.0 from 0.0 too."""
    return "float " + repr(value)


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return f"decimal {value}"
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    coefficient = "".join(map(str, digits)).lstrip("0")
    if not coefficient:
        return "decimal 0"
    stripped = coefficient.rstrip("0")
    exponent += len(coefficient) - len(stripped)
    return f"decimal {'-' if sign else ''}{stripped}e{exponent}"


def _moment_text(word: str, micros: int) -> str:
    if not _FIRST_MICROSECOND <= micros <= _LAST_MICROSECOND:
        return f"{word} {micros} microseconds from 2000"
    moment = _EPOCH + timedelta(microseconds=micros)
    return f"{word} {moment.date() if word == 'on' else moment.isoformat(' ', 'microseconds')}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _digest(texts: Iterable[str]) -> bytes:
    # Texts of strings are quoted and escaped: no text holds a line break of its own.
    content = "\n".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).digest()


# -- the mapping --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Property:
    """A column, or an expression, of the rule's table or of the joined one that `join` names."""

    name: str
    column: str
    type: str
    expression: str = ""
    join: str = ""


@dataclass(frozen=True)
class _Join:
    name: str
    table: tuple[str, str]
    columns: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class _LabelBy:
    column: str
    join: str
    labels: dict[str, str]


@dataclass(frozen=True)
class _Node:
    number: int
    id: str
    label: str
    table: tuple[str, str]
    key: tuple[str, ...]
    properties: tuple[_Property, ...]
    where: str
    labels: tuple[str, ...]
    labels_by: _LabelBy | None
    joins: tuple[_Join, ...]
    keep_first: str

    @property
    def identity(self) -> tuple[_Property, ...]:
        """What a node is known by; all its values where the table has no key."""
        if not self.key:
            return self.properties
        by_name = {item.name: item for item in self.properties}
        return tuple(by_name[name] for name in self.key)

    @property
    def possible_labels(self) -> set[str]:
        """Every label that one of its nodes may have."""
        by_value = self.labels_by.labels.values() if self.labels_by else ()
        return {self.label, *self.labels, *by_value}

    def labels_of(self, value: str | None) -> set[str]:
        """The labels of a node whose row holds `value` where the rule looks for a label."""
        labels = {self.label, *self.labels}
        if self.labels_by and value in self.labels_by.labels:
            labels.add(self.labels_by.labels[value])
        return labels

    def ident(self, texts: Sequence[str]) -> bytes:
        """What stands for a node of these identifying values."""
        return self.number.to_bytes(4) + _digest(texts)

    def described(self, texts: Sequence[str]) -> str:
        pairs = zip(self.identity, texts, strict=True)
        return _short(", ".join(f"{item.name}={text}" for item, text in pairs))


@dataclass(frozen=True)
class _End:
    node: _Node
    columns: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class _Relationship:
    type: str
    table: tuple[str, str]
    start: _End
    end: _End
    key: tuple[str, ...]
    properties: tuple[_Property, ...]
    where: str

    @property
    def name(self) -> str:
        return f"({self.start.node.id})-[{self.type}]->({self.end.node.id})"

    def is_row_itself(self, end: _End) -> bool:
        """Whether the row that makes the relationship makes the node at that end too.

        Of two rules of one table, one that keeps the first of several rows is pointed at.
        """
        ends = (self.start, self.end)
        here = [e.node.table == self.table and e.columns == e.references for e in ends]
        if all(here) and self.start.node.id != self.end.node.id and end.node.keep_first:
            return False
        return end.node.table == self.table and end.columns == end.references

    @property
    def merged(self) -> bool:
        """Whether several rows may make the same relationship: their ends became one node."""
        ends = (self.start, self.end)
        return any(end.node.keep_first and not self.is_row_itself(end) for end in ends)

    def identity_of(self, texts: Sequence[str], place: int) -> tuple[Any, ...]:
        """What tells apart the relationships between two nodes; rows without a key by place."""
        ends = (self.start, self.end)
        keyless = any(self.is_row_itself(end) and not end.node.key for end in ends)
        if keyless or self.key == ("_row",):
            return (place,)
        named = zip(self.properties, texts, strict=True)
        return tuple(text for item, text in named if item.name in self.key)


def _read_mapping(document: Any) -> tuple[list[_Node], list[_Relationship]]:
    active = [entry for entry in document.get("nodes") or () if _included(entry)]
    nodes = [_node(number, entry) for number, entry in enumerate(active)]
    by_id = {node.id: node for node in reversed(nodes)}
    relationships = [
        _Relationship(
            entry["type"],
            _table_name(entry["table"]),
            _end(entry["from"], by_id),
            _end(entry["to"], by_id),
            tuple(entry.get("key") or ()),
            _properties(entry),
            entry.get("where") or "",
        )
        for entry in document.get("relationships") or ()
        if _included(entry) and {_end_id(entry["from"]), _end_id(entry["to"])} <= by_id.keys()
    ]
    return nodes, relationships


def _node(number: int, entry: Any) -> _Node:
    by = entry.get("labels_by")
    return _Node(
        number,
        entry.get("name") or entry["label"],
        entry["label"],
        _table_name(entry["table"]),
        tuple(entry.get("key") or ()),
        _properties(entry),
        entry.get("where") or "",
        tuple(entry.get("labels") or ()),
        _LabelBy(by["column"], by.get("join") or "", by.get("labels") or {}) if by else None,
        tuple(_join(join) for join in entry.get("joins") or ()),
        entry.get("keep_first") or "",
    )


def _join(entry: Any) -> _Join:
    table = _table_name(entry["table"])
    return _Join(entry["name"], table, tuple(entry["columns"]), tuple(entry["references"]))


def _included(entry: Any) -> bool:
    return (entry.get("include") or "true").lower() == "true"


def _properties(entry: Any) -> tuple[_Property, ...]:
    key = entry.get("key") or ()
    return tuple(
        _Property(
            item["name"],
            item.get("column") or "",
            item["type"],
            item.get("expression") or "",
            item.get("join") or "",
        )
        for item in entry.get("properties") or ()
        if _included(item) or item["name"] in key
    )


def _end(entry: Any, by_id: dict[str, _Node]) -> _End:
    columns, references = entry.get("columns") or (), entry.get("references") or ()
    return _End(by_id[_end_id(entry)], tuple(columns), tuple(references))


def _end_id(entry: Any) -> str:
    """The id of the rule at an end; version 1 of the file named its label."""
    return str(entry["node"] if "node" in entry else entry["label"])


def _table_name(text: str) -> tuple[str, str]:
    """`schema.table`; a part in double quotes may hold dots and doubled quotes."""
    parts, part, quoted, position = [], "", False, 0
    while position < len(text):
        character = text[position]
        if character == '"' and quoted and text[position + 1 : position + 2] == '"':
            part += character
            position += 1
        elif character == '"' and (quoted or not part):
            quoted = not quoted
        elif character == "." and not quoted:
            parts.append(part)
            part = ""
        else:
            part += character
        position += 1
    schema, name = (*parts, part)
    return schema, name


# -- PostgreSQL ---------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class _Source:
    """One session in one snapshot; the server casts, the wire's binary values are read here."""

    def __init__(self, connection: Any, queries: dict[str, str]) -> None:
        self._connection = connection
        self._queries = {("query", name): sql for name, sql in queries.items()}
        self._bases: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        self._columns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        self._collations: dict[tuple[str, str], dict[str, str]] = {}

    async def prepare(self) -> None:
        """Read dates and times as the numbers they are, so that no year is out of range."""
        for name in ("date", "time", "timestamp", "timestamptz"):
            await self._connection.set_type_codec(
                name,
                schema="pg_catalog",
                encoder=lambda number: (number,),
                decoder=lambda parts: parts[0],
                format="tuple",
            )
        rows = await self._connection.fetch(_EXTENSION_SCHEMAS)
        paths = ", ".join(["pg_catalog", *(row["name"] for row in rows)])
        await self._connection.execute(f"SET LOCAL search_path = {paths}")

    async def describe(self, table: tuple[str, str], properties: Iterable[_Property]) -> None:
        """Learn a table's kind, its columns' types under their domains, those of expressions."""
        if table not in self._bases:
            await self._describe_columns(table)
        for item in properties:
            if item.expression and self.raw(item) not in self._bases[table]:
                statement = f'SELECT {self.raw(item)} FROM {self.table(table)} AS "t"'
                types = await self._types_of(statement)
                bases = await self._base_types(list(types.values()))
                self._bases[table][self.raw(item)] = bases[next(iter(types.values()))]

    async def _describe_columns(self, table: tuple[str, str]) -> None:
        self._collations[table] = {}
        if table in self._queries:
            self._kinds[table] = "query"
            types = await self._types_of(f'SELECT * FROM {self.table(table)} AS "t"')
        else:
            kind = "SELECT relkind::text FROM pg_class WHERE oid = $1::text::regclass"
            self._kinds[table] = await self._connection.fetchval(kind, self._plain(table))
            rows = await self._connection.fetch(_COLUMNS, self._plain(table))
            types = {row["name"]: row["type"] for row in rows}
            rows = await self._connection.fetch(_COLLATIONS, self._plain(table))
            self._collations[table] = {row["name"]: row["collation"] for row in rows}
        self._columns[table] = tuple(types)
        bases = await self._base_types(list(types.values()))
        self._bases[table] = {name: bases[number] for name, number in types.items()}

    async def _types_of(self, statement: str) -> dict[str, int]:
        prepared = await self._connection.prepare(statement)
        return {column.name: column.type.oid for column in prepared.get_attributes()}

    async def _base_types(self, types: list[int]) -> dict[int, tuple[str, str]]:
        rows = await self._connection.fetch(_BASE_TYPES, types)
        return {row["declared"]: (row["name"], row["category"]) for row in rows}

    def columns(self, table: tuple[str, str]) -> tuple[str, ...]:
        """The names of a table's columns."""
        return self._columns[table]

    def _plain(self, table: tuple[str, str]) -> str:
        return f"{_quoted(table[0])}.{_quoted(table[1])}"

    def table(self, table: tuple[str, str]) -> str:
        """A table's own rows: those of tables that inherit from it are the others' own."""
        if table in self._queries:
            return f"({self._queries[table].strip().rstrip(';')}\n)"
        return f"ONLY {self._plain(table)}" if self._kinds[table] == "r" else self._plain(table)

    def refers(
        self,
        there: tuple[str, tuple[str, str], str],
        here: tuple[str, tuple[str, str], str],
    ) -> str:
        """The condition that our column points at a row; a foreign key compares as its key does.

        Each side is the SQL of a column's value, the column's table and its name. Types that have
        no `=` between them are compared as texts.
        """
        (referenced, table, reference), (pointing, own, column) = there, here
        to, of = self._bases[table][reference], self._bases[own][column]
        strangers = {to[0], of[0]} & {"oid", "money"}  # numbers that no other number equals
        if to != of and (strangers or to[1] != of[1] or to[1] not in "NSD"):
            referenced, pointing = f"{referenced}::text", f"{pointing}::text"
        collation = self._collations[table].get(reference)
        return f"{referenced} = {pointing}" + (f" COLLATE {collation}" if collation else "")

    def value(self, table: tuple[str, str], item: _Property) -> str:
        """The SELECT expression of a property, where the table's columns are in reach."""
        value = self.raw(item)
        base, _ = self._bases[table][value if item.expression else item.column]
        if item.type.startswith("LIST<"):
            element = "bpchar" if base == "_bpchar" else _SERVER_TYPES[item.type[5:-1]]
            return f"{value}::{element}[]"
        if item.type == "STRING" and base == "bpchar":
            return f"CASE WHEN {value} IS NOT NULL THEN concat({value}) END"
        return f"{value}::{_SERVER_TYPES[item.type]}"

    def raw(self, item: _Property) -> str:
        """A property as PostgreSQL has it. A line of its own: an expression may end in a remark."""
        return f"({item.expression}\n)" if item.expression else f'("t".{_quoted(item.column)})'

    async def rows(self, statement: str) -> AsyncIterator[Any]:
        """The rows of a SELECT, some at a time."""
        async for row in self._connection.cursor(statement, prefetch=_FETCH_ROWS):
            yield row


class _Values:
    """A SELECT of values of each row of one table; no other table's columns are in reach."""

    def __init__(self, table: tuple[str, str], rows: str) -> None:
        self.table = table
        self._rows = rows
        self._names: dict[str, str] = {}

    def add(self, value: str) -> str:
        """Select a value; returns the name of its column."""
        return self._names.setdefault(value, f"c{len(self._names)}")

    def sql(self) -> str:
        """The SELECT in brackets."""
        values = "".join(f", {value} AS {name}" for value, name in self._names.items())
        return f'(SELECT true AS there{values} FROM {self._rows} AS "t")'


@dataclass(frozen=True)
class _NodeColumns:
    """Columns of a node rule's rows: does the condition hold, is the row kept, values, label."""

    holds: str
    kept: str
    values: tuple[str, ...]
    label: str


class _Rows:
    """The rows of a table with the tables that node rules join to it, as one SELECT."""

    def __init__(self, source: _Source, table: tuple[str, str]) -> None:
        self._source = source
        self._own = _Values(table, source.table(table))
        self._joined: list[tuple[_Join, _Values]] = []
        self._selected: list[str] = ["b.there"]

    def column(self, value: str) -> str:
        """Select a value over the table's columns; returns the name of its column."""
        return self._select(self._inner(value))

    def values(self, items: Sequence[_Property], where: str) -> list[str]:
        """Select properties of the rows that a condition holds for; the names of their columns."""
        condition = f"({where}\n) IS TRUE" if where else "true"
        return [self._select(self._value(item, {}, condition)) for item in items]

    def node(self, rule: _Node, items: Sequence[_Property]) -> _NodeColumns:
        """Select what a node rule makes of the row."""
        aliases = {join.name: self._join(join) for join in rule.joins}
        condition = f"({rule.where}\n) IS TRUE" if rule.where else "true"
        holds = self._inner(condition)
        values = [self._value(item, aliases, condition) for item in items]
        kept = holds
        if rule.keep_first:
            order = self._inner(f"row_number() OVER (ORDER BY {rule.keep_first}\n)")
            keys = [self._value(i, aliases, condition, raw=True) for i in rule.identity]
            whole = " AND ".join(f"{key} IS DISTINCT FROM NULL" for key in keys)
            same = f"OVER (PARTITION BY {', '.join([holds, *keys])} ORDER BY {order})"
            kept = f"{holds} AND (NOT ({whole}) OR row_number() {same} = 1)"
            values = [
                f"CASE WHEN {whole} THEN first_value({v}) {same} ELSE {v} END" for v in values
            ]
        label = "NULL"
        if rule.labels_by:
            by = _Property("", rule.labels_by.column, "STRING", join=rule.labels_by.join)
            label = f"{self._value(by, aliases, condition, raw=True)}::text"
        chosen = (holds, kept, label, *values)
        holds, kept, label, *names = [self._select(value) for value in chosen]
        return _NodeColumns(holds, kept, tuple(names), label)

    def sql(self) -> str:
        """The SELECT in brackets."""
        joins = ""
        for number, (join, values) in enumerate(self._joined):
            on = " AND ".join(
                self._source.refers(
                    (f"j{number}.{_quoted(reference)}", join.table, reference),
                    (self._inner(self._plain(column)), self._own.table, column),
                )
                for reference, column in zip(join.references, join.columns, strict=True)
            )
            joins += f" LEFT JOIN {self._source.table(join.table)} AS j{number} ON {on}"
            joins += f" CROSS JOIN LATERAL {values.sql()} AS x{number}"
        chosen = ", ".join(self._selected)
        return f"(SELECT {chosen} FROM {self._own.sql()} AS b{joins})"

    def _join(self, join: _Join) -> str:
        """Join a table; its values are asked of a row of nulls too, where there is no other."""
        number = len(self._joined)
        columns = ", ".join(f"j{number}.{_quoted(c)}" for c in self._source.columns(join.table))
        self._joined.append((join, _Values(join.table, f"(SELECT {columns})")))
        return f"x{number}"

    def _value(
        self, item: _Property, aliases: dict[str, str], condition: str, raw: bool = False
    ) -> str:
        """A property's value; an expression is not asked of rows that the rule leaves out."""
        alias = aliases[item.join] if item.join else "b"
        values = self._joined[int(alias[1:])][1] if item.join else self._own
        value = self._source.raw(item) if raw else self._source.value(values.table, item)
        if item.expression and not item.join and condition != "true":
            value = f"CASE WHEN {condition} THEN {value} END"
        return f"{alias}.{values.add(value)}"

    def _inner(self, value: str) -> str:
        return f"b.{self._own.add(value)}"

    def _plain(self, column: str) -> str:
        return f'"t".{_quoted(column)}'

    def _select(self, value: str) -> str:
        self._selected.append(f"{value} AS o{len(self._selected)}")
        return f"o{len(self._selected) - 1}"


# -- Grafeo -------------------------------------------------------------------------------------


class _Graph:
    """All nodes and relationships of a graph."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def _execute(self, statement: str) -> Iterator[Any]:
        return iter(self._graph.execute(statement))

    def number(self, statement: str) -> int:
        """The one number that a statement returns."""
        return next((int(row["c"]) for row in self._execute(statement)), 0)

    def labels(self) -> Counter[tuple[str, ...]]:
        """Every set of labels that nodes have, and how many have it.

        The nodes that say which mapping a graph holds are of no table: they are left out.
        """
        rows = self._execute("MATCH (n) RETURN labels(n) AS l, count(n) AS c")
        counts: Counter[tuple[str, ...]] = Counter()
        for row in rows:
            if row["l"] not in _OWN_NODES:
                counts[tuple(sorted(row["l"]))] += row["c"]
        return counts

    def types(self) -> list[str]:
        """Every type that a relationship has."""
        return sorted(
            {r["t"] for r in self._execute("MATCH ()-[r]->() RETURN DISTINCT type(r) AS t")}
        )

    def nodes(self, label: str) -> Iterator[tuple[int, list[str], dict[str, Any]]]:
        """Id, labels and properties of the nodes with a label."""
        for row in self._execute(f"MATCH (n:{_ticked(label)}) RETURN n"):
            node = row["n"]
            yield node["_id"], node["_labels"], _own_properties(node)

    def relationships(self, type_name: str) -> Iterator[tuple[int, int, int, dict[str, Any]]]:
        """Id, start's id, end's id and properties of the relationships of a type."""
        for row in self._execute(f"MATCH ()-[r:{_ticked(type_name)}]->() RETURN r"):
            found = row["r"]
            yield found["_id"], found["_source"], found["_target"], _own_properties(found)

    def node_properties(self, number: int) -> dict[str, Any]:
        """The properties of one node."""
        return _mapped(self._graph.get_node(number).properties())

    def relationship_properties(self, number: int) -> dict[str, Any]:
        """The properties of one relationship."""
        return _mapped(self._graph.get_edge(number).properties())


def _ticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _own_properties(found: dict[str, Any]) -> dict[str, Any]:
    return _mapped(found)


def _mapped(properties: dict[str, Any]) -> dict[str, Any]:
    """Without the product's own (`_run`, but with `_of`) and the engine's; null is absent."""
    return {
        name: value
        for name, value in properties.items()
        if (name == "_of" or not name.startswith("_")) and value is not None
    }


# -- the comparison -----------------------------------------------------------------------------


def _texts(items: Sequence[_Property], found: dict[str, Any]) -> list[str]:
    return [graph_text(found.get(item.name)) for item in items]


def _whole(items: Sequence[_Property], found: dict[str, Any]) -> bytes:
    """The digest of all properties; one that should not be there changes it."""
    texts = _texts(items, found)
    if len(found) > len(texts) - texts.count("null"):
        texts += sorted(set(found) - {item.name for item in items})
    return _digest(texts)


def _value_differences(
    items: Sequence[_Property], expected: Sequence[str], found: dict[str, Any]
) -> list[tuple[str, str, str]]:
    names = {item.name for item in items}
    different = [
        (item.name, _short(old), _short(new))
        for item, old, new in zip(items, expected, _texts(items, found), strict=True)
        if old != new
    ]
    unexpected = [
        (name, "no such property", _short(graph_text(value)))
        for name, value in sorted(found.items())
        if name not in names
    ]
    return different + unexpected


@dataclass
class _Edge:
    """What is known of relationships between two nodes: the graph's, and the rows not found."""

    graph: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class _Comparer:
    def __init__(self, source: _Source, graph: _Graph, document: Any) -> None:
        self._source = source
        self._graph = graph
        self._node_rules, self._relationship_rules = _read_mapping(document)
        counts = Counter(label for rule in self._node_rules for label in rule.possible_labels)
        shared = {label for label, count in counts.items() if count > 1}
        self._marked = {
            r.number for r in self._node_rules if not shared.isdisjoint(r.possible_labels)
        }
        self._by_label: dict[str, list[_Node]] = defaultdict(list)
        for rule in self._node_rules:
            self._by_label[rule.label].append(rule)
        self._ident_of: dict[int, bytes] = {}
        self._entities: list[Entity] = []

    async def run(self) -> Comparison:
        for node in self._node_rules:
            own = [item for item in node.properties if not item.join]
            await self._source.describe(node.table, own)
            for join in node.joins:
                joined = [item for item in node.properties if item.join == join.name]
                await self._source.describe(join.table, joined)
        for rule in self._relationship_rules:
            await self._source.describe(rule.table, rule.properties)
        for node in self._node_rules:
            await self._compare_nodes(node)
        self._other_nodes()
        await self._compare_all_relationships()
        nodes = sum(self._graph.labels().values())
        relationships = self._graph.number("MATCH ()-[r]->() RETURN count(r) AS c")
        self._must_be_all(nodes, relationships)
        return Comparison(tuple(self._entities), nodes, relationships)

    def _must_be_all(self, nodes: int, relationships: int) -> None:
        """The counts of the whole graph guard against anything this reader did not see."""
        seen_nodes = sum(e.found for e in self._entities if not e.name.startswith("("))
        seen = sum(e.found for e in self._entities if e.name.startswith("("))
        if (seen_nodes, seen) != (nodes, relationships):
            entity = Entity("graph", "none")
            counted = ("nodes, relationships", f"{seen_nodes}, {seen}", f"{nodes}, {relationships}")
            entity.differ("extra", "read one by one and counted", counted)
            self._entities.append(entity)

    # nodes

    async def _compare_nodes(self, rule: _Node) -> None:
        entity = Entity(rule.id, ".".join(rule.table))
        self._entities.append(entity)
        there = self._read_nodes(rule, entity)
        width = len(rule.properties)
        identity = [rule.properties.index(item) for item in rule.identity]
        async for row in self._source.rows(self._node_sql(rule)):
            texts = [source_text(row[n], rule.properties[n].type) for n in range(width)]
            key = [texts[n] for n in identity]
            if rule.key and "null" in key:
                entity.unkeyed += 1
                continue
            entity.rows += 1
            candidates = there.get(rule.ident(key))
            if not candidates:
                entity.differ("missing", rule.described(key))
                continue
            wanted = tuple(sorted(rule.labels_of(row[width])))
            exact = (n for n, found in enumerate(candidates) if found[2] == wanted)
            number, whole, labels = candidates.pop(next(exact, -1))
            if labels != wanted:
                shown = (":".join(wanted), ":".join(labels))
                entity.differ("wrong labels", rule.described(key), ("labels", *shown))
            if whole != _digest(texts):
                found = self._graph.node_properties(number)
                found.pop("_of", None)
                differences = _value_differences(rule.properties, texts, found)
                entity.differ("different", rule.described(key), *differences)
        for candidates in there.values():
            for number, _, _ in candidates:
                key = _texts(rule.identity, self._graph.node_properties(number))
                entity.differ("extra", f"{rule.described(key)} (node {number})")

    def _node_sql(self, rule: _Node) -> str:
        rows = _Rows(self._source, rule.table)
        node = rows.node(rule, rule.properties)
        values = ", ".join((*node.values, node.label))
        return f"SELECT {values} FROM {rows.sql()} AS n WHERE {node.kept}"

    def _read_nodes(
        self, rule: _Node, entity: Entity
    ) -> dict[bytes, list[tuple[int, bytes, tuple[str, ...]]]]:
        """The rule's nodes by what they are known by: id, digest of all values, labels."""
        there: dict[bytes, list[tuple[int, bytes, tuple[str, ...]]]] = {}
        for number, labels, found in self._graph.nodes(rule.label):
            of = found.pop("_of", None)
            if self._maker(labels, of) is not rule:
                continue
            entity.found += 1
            key = _texts(rule.identity, found)
            marker = rule.id if rule.number in self._marked else None
            if of != marker:
                shown = ("_of", graph_text(marker), graph_text(of))
                entity.differ("different", f"{rule.described(key)} (node {number})", shown)
            ident = rule.ident(key)
            self._ident_of[number] = ident
            nodes = there.setdefault(ident, [])
            if nodes and rule.key:
                entity.differ("doubled", f"{rule.described(key)} (node {number})")
            else:
                whole = _whole(rule.properties, found)
                nodes.append((number, whole, tuple(sorted(labels))))
        return there

    def _maker(self, labels: Sequence[str], of: Any) -> _Node | None:
        """The rule that made a node: by its mark, else the one whose labels fit best."""
        rules = [rule for label in labels for rule in self._by_label.get(label, ())]

        def fit(rule: _Node) -> tuple[bool, bool, int]:
            marked = rule.number in self._marked
            all_there = {rule.label, *rule.labels} <= set(labels)
            return (
                marked and rule.id == of,
                not marked and of is None,
                len(rule.labels) if all_there else -1,
            )

        return max(rules, key=fit, default=None)

    def _other_nodes(self) -> None:
        for labels, count in sorted(self._graph.labels().items()):
            if self._by_label.keys().isdisjoint(labels):
                entity = Entity(":".join(labels) or "no label", "none", found=count)
                entity.differ("extra", f"{count} nodes that no rule makes")
                self._entities.append(entity)

    # relationships

    async def _compare_all_relationships(self) -> None:
        by_type: dict[str, list[_Relationship]] = defaultdict(list)
        for rule in self._relationship_rules:
            by_type[rule.type].append(rule)
        for type_name in self._graph.types():
            by_type.setdefault(type_name, [])
        for type_name, rules in by_type.items():
            grouped, strangers = self._read_relationships(type_name, rules)
            for rule in rules:
                await self._compare_relationships(rule, grouped[rule.name])
            if strangers:
                entity = Entity(f"()-[{type_name}]->()", "none", found=len(strangers))
                for number, start, end in strangers:
                    entity.differ("extra", f"relationship {number} from node {start} to {end}")
                self._entities.append(entity)

    def _read_relationships(
        self, type_name: str, rules: Sequence[_Relationship]
    ) -> tuple[dict[str, dict[bytes, list[int]]], list[tuple[int, int, int]]]:
        """By rule: the relationships' ids by ends and content; and those that fit no rule."""
        by_ends = {(r.start.node.number, r.end.node.number): r for r in rules}
        grouped: dict[str, dict[bytes, list[int]]] = {rule.name: {} for rule in rules}
        strangers = []
        for number, start, end, found in self._graph.relationships(type_name):
            first, second = self._ident_of.get(start, b""), self._ident_of.get(end, b"")
            rule = by_ends.get((_number(first), _number(second)))
            if rule is None:
                strangers.append((number, start, end))
                continue
            content = first + second + _whole(rule.properties, found)
            grouped[rule.name].setdefault(content, []).append(number)
        return grouped, strangers

    async def _compare_relationships(
        self, rule: _Relationship, there: dict[bytes, list[int]]
    ) -> None:
        entity = Entity(rule.name, ".".join(rule.table))
        entity.found = sum(map(len, there.values()))
        self._entities.append(entity)
        matched: set[bytes] = set()
        left: dict[bytes, _Edge] = defaultdict(_Edge)
        names: dict[bytes, str] = {}
        async for start, end, texts in self._made(rule, entity, there):
            entity.rows += 1
            first, second = rule.start.node.ident(start), rule.end.node.ident(end)
            content = first + second + _digest(texts)
            if there.get(content):
                there[content].pop()
                matched.add(content)
                continue
            left[first + second].rows.append(texts)
            names[first] = rule.start.node.described(start)
            names[second] = rule.end.node.described(end)
        for content, numbers in there.items():
            if content in matched:
                for number in numbers:
                    entity.differ("doubled", self._ends_shown(rule, content, names, number))
            elif numbers:
                left[content[:40]].graph += numbers
        self._explain(rule, entity, left, names)

    async def _made(
        self, rule: _Relationship, entity: Entity, there: dict[bytes, list[int]]
    ) -> AsyncIterator[tuple[list[str], list[str], list[str]]]:
        """Start, end and values of every relationship that the source's rows make."""
        merged: dict[tuple[Any, ...], tuple[list[str], list[str], list[str]]] = {}
        statement, read = self._relationship_sql(rule)
        async for row in self._source.rows(statement):
            start, end, texts, place = read(row)
            if start is None or end is None:
                entity.rows += 1
                entity.orphans += 1
                continue
            if not rule.merged:
                yield start, end, texts
                continue
            ends = rule.start.node.ident(start) + rule.end.node.ident(end)
            one = (ends, *rule.identity_of(texts, place))
            # Which of several rows gives the values is nobody's promise.
            if one not in merged or ends + _digest(texts) in there:
                merged[one] = (start, end, texts)
        for made in merged.values():
            yield made

    def _relationship_sql(self, rule: _Relationship) -> tuple[str, Any]:
        """The SELECT of a rule, and what reads ends, values and place out of its rows."""
        rows = _Rows(self._source, rule.table)
        names = [*rows.values(rule.properties, rule.where), rows.column("row_number() OVER ()")]
        columns = [f"t.{name}" for name in names]
        # A composite value whose parts are all null `IS NULL`, but it is not null.
        pointing = dict.fromkeys((*rule.start.columns, *rule.end.columns))
        conditions = [
            f"t.{rows.column(f'"t".{_quoted(name)} IS DISTINCT FROM NULL')}" for name in pointing
        ]
        if rule.where:
            conditions.append(f"t.{rows.column(f'({rule.where}\n) IS TRUE')}")
        joins = ""
        for alias, end in (("s", rule.start), ("e", rule.end)):
            if rule.is_row_itself(end):
                node = rows.node(end.node, end.node.identity)
                conditions.append(f"t.{node.kept}")
                columns += ["t.there", *(f"t.{name}" for name in node.values)]
                continue
            target = _Rows(self._source, end.node.table)
            node = target.node(end.node, end.node.identity)
            on = [
                self._source.refers(
                    (f"{alias}.{target.column(f'"t".{_quoted(r)}')}", end.node.table, r),
                    (f"t.{rows.column(f'"t".{_quoted(c)}')}", rule.table, c),
                )
                for r, c in zip(end.references, end.columns, strict=True)
            ]
            joins += f" LEFT JOIN {target.sql()} AS {alias} ON {' AND '.join(on)}"
            conditions.append(f"{alias}.{node.holds} IS NOT FALSE")
            columns += [f"{alias}.there", *(f"{alias}.{name}" for name in node.values)]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        statement = f"SELECT {', '.join(columns)} FROM {rows.sql()} AS t{joins}{where}"
        own = len(rule.properties)
        second = own + 2 + len(rule.start.node.identity)

        def read(row: Any) -> tuple[list[str] | None, list[str] | None, list[str], int]:
            texts = [source_text(row[n], rule.properties[n].type) for n in range(own)]
            start = _end_texts(row, own + 1, rule.start.node)
            return start, _end_texts(row, second, rule.end.node), texts, row[own]

        return statement, read

    def _explain(
        self,
        rule: _Relationship,
        entity: Entity,
        left: dict[bytes, _Edge],
        names: dict[bytes, str],
    ) -> None:
        """Say of what did not match: is it changed, turned round, moved or just not there?"""
        starts: dict[bytes, list[bytes]] = defaultdict(list)
        for ends, edge in left.items():
            while edge.rows and edge.graph:
                number, texts = edge.graph.pop(), edge.rows.pop()
                found = self._graph.relationship_properties(number)
                differences = _value_differences(rule.properties, texts, found)
                shown = self._ends_shown(rule, ends, names, number)
                entity.differ("different", shown, *differences)
            if edge.graph:
                starts[ends[:20]].append(ends)
        for ends, edge in left.items():
            first, second = ends[:20], ends[20:40]
            moved = starts[first]
            for _ in edge.rows:
                turned = left.get(second + first)
                wanted = f"({names[first]})->({names[second]})"
                if turned is not None and turned.graph:
                    turned.graph.pop()
                    entity.differ("reversed", wanted)
                    continue
                while moved and not left[moved[-1]].graph:
                    moved.pop()
                if moved:
                    number = left[moved[-1]].graph.pop()
                    led = self._ends_shown(rule, moved[-1], names, number)
                    entity.differ("wrong ends", wanted, ("leads", wanted, led))
                else:
                    entity.differ("missing", wanted)
        for ends, edge in left.items():
            for number in edge.graph:
                entity.differ("extra", self._ends_shown(rule, ends, names, number))

    def _ends_shown(
        self, rule: _Relationship, ends: bytes, names: dict[bytes, str], number: int
    ) -> str:
        first = names.get(ends[:20], rule.start.node.id)
        second = names.get(ends[20:40], rule.end.node.id)
        return f"({first})->({second}) (relationship {number})"


def _number(ident: bytes) -> int:
    return int.from_bytes(ident[:4]) if ident else -1


def _end_texts(row: Any, at: int, node: _Node) -> list[str] | None:
    if not row[at]:
        return None
    texts = [source_text(row[at + 1 + n], item.type) for n, item in enumerate(node.identity)]
    return None if node.key and "null" in texts else texts


# -- the command --------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 0 when equal, else 1."""
    parser = argparse.ArgumentParser(prog="independent_comparison", description=__doc__)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--graph-file", required=True)
    parser.add_argument("--graph")
    parser.add_argument("--mapping", required=True)
    parser.add_argument("--no-orphans", action="store_true", help="an orphan is a difference")
    chosen = parser.parse_args(arguments)
    comparison = asyncio.run(compare(chosen.dsn, chosen.graph_file, chosen.graph, chosen.mapping))
    for entity in comparison.entities:
        print(entity)
    differences = comparison.differences
    for difference in differences[:SHOWN]:
        print(f"  {difference}")
    if len(differences) > SHOWN:
        print(f"  and {len(differences) - SHOWN} more")
    refused = comparison.equal and chosen.no_orphans and comparison.orphans > 0
    print(f"DIFFERENT: {comparison.orphans} orphans" if refused else comparison.verdict)
    return 0 if comparison.equal and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
