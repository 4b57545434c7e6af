"""Is a migrated graph equal to its database? An answer that shares no line with the product.

Every row of every mapped table is read from PostgreSQL, every node and relationship from the
Grafeo file, and both are compared value by value in both directions:

    python -m tests.independent_comparison --dsn DSN --graph-file shop.grafeo --mapping mapping.yaml

The mapping file is read with PyYAML, the conversions are written here a second time. Nothing is
imported from the product, so that a mistake in it cannot hide itself. About 500 bytes of memory
a node and 300 a relationship.
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

# Extensions' operators (citext's =) are found by the search path alone.
_EXTENSION_SCHEMAS = """
SELECT DISTINCT quote_ident(n.nspname) AS name FROM pg_extension x
JOIN pg_namespace n ON n.oid = x.extnamespace WHERE n.nspname <> 'pg_catalog'
"""
_BASE_TYPES = """
WITH RECURSIVE under(name, type) AS (
  SELECT a.attname, a.atttypid FROM pg_attribute a
  WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT under.name, t.typbasetype FROM under JOIN pg_type t ON t.oid = under.type
  WHERE t.typtype = 'd'
)
SELECT under.name, t.typname AS type FROM under JOIN pg_type t ON t.oid = under.type
WHERE t.typtype <> 'd'
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
    """A rule's counts. `orphans` are rows whose end is in no table; they make nothing."""

    name: str
    table: str
    rows: int = 0
    found: int = 0
    orphans: int = 0
    differences: list[Difference] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        """How many differences of a kind there are."""
        return sum(difference.kind == kind for difference in self.differences)

    def differ(self, kind: Kind, key: str, *values: tuple[str, str, str]) -> None:
        """Note a difference."""
        self.differences.append(Difference(self.name, kind, key, values))

    def __str__(self) -> str:
        orphans = f", {self.orphans} orphans" if self.orphans else ""
        return (
            f"{self.name} ({self.table}): {self.rows} rows, {self.found} in the graph{orphans},"
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
            source = _Source(connection)
            await source.prepare()
            return await _Comparer(source, _Graph(opened), document).run()
    finally:
        await connection.close()
        database.close()


def _load(path: Path) -> Any:
    document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    name: str
    column: str
    type: str


@dataclass(frozen=True)
class _Node:
    number: int
    label: str
    table: tuple[str, str]
    key: tuple[str, ...]
    properties: tuple[_Property, ...]

    @property
    def identity(self) -> tuple[_Property, ...]:
        """What a node is known by; all its values where the table has no key."""
        if not self.key:
            return self.properties
        by_name = {item.name: item for item in self.properties}
        return tuple(by_name[name] for name in self.key)

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
    properties: tuple[_Property, ...]

    @property
    def name(self) -> str:
        return f"({self.start.node.label})-[{self.type}]->({self.end.node.label})"


def _read_mapping(document: Any) -> tuple[list[_Node], list[_Relationship]]:
    active = [entry for entry in document.get("nodes") or () if entry.get("include", True)]
    nodes = [
        _Node(
            number,
            entry["label"],
            _table_name(entry["table"]),
            tuple(entry.get("key") or ()),
            _properties(entry),
        )
        for number, entry in enumerate(active)
    ]
    by_label = {node.label: node for node in nodes}
    relationships = [
        _Relationship(
            entry["type"],
            _table_name(entry["table"]),
            _end(entry["from"], by_label),
            _end(entry["to"], by_label),
            _properties(entry),
        )
        for entry in document.get("relationships") or ()
        if entry.get("include", True)
        and entry["from"]["label"] in by_label
        and entry["to"]["label"] in by_label
    ]
    return nodes, relationships


def _properties(entry: Any) -> tuple[_Property, ...]:
    key = entry.get("key") or ()
    return tuple(
        _Property(item["name"], item["column"], item["type"])
        for item in entry.get("properties") or ()
        if item.get("include", True) or item["name"] in key
    )


def _end(entry: Any, by_label: dict[str, _Node]) -> _End:
    columns, references = entry.get("columns") or (), entry.get("references") or ()
    return _End(by_label[entry["label"]], tuple(columns), tuple(references))


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

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._bases: dict[tuple[str, str], dict[str, str]] = {}
        self._partitioned: dict[tuple[str, str], bool] = {}
        self._collations: dict[tuple[str, str], dict[str, str]] = {}
        self._paths = "pg_catalog"

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
        self._paths = ", ".join(["pg_catalog", *(row["name"] for row in rows)])

    async def with_extension_operators(self) -> None:
        """From here on `=` is each type's own."""
        await self._connection.execute(f"SET LOCAL search_path = {self._paths}")

    async def describe(self, table: tuple[str, str]) -> None:
        """Learn a table's kind and its columns' types under their domains."""
        if table in self._bases:
            return
        rows = await self._connection.fetch(_BASE_TYPES, self._plain(table))
        self._bases[table] = {row["name"]: row["type"] for row in rows}
        rows = await self._connection.fetch(_COLLATIONS, self._plain(table))
        self._collations[table] = {row["name"]: row["collation"] for row in rows}
        kind = "SELECT relkind = 'p'::\"char\" FROM pg_class WHERE oid = $1::text::regclass"
        self._partitioned[table] = await self._connection.fetchval(kind, self._plain(table))

    def _plain(self, table: tuple[str, str]) -> str:
        return f"{_quoted(table[0])}.{_quoted(table[1])}"

    def table(self, table: tuple[str, str]) -> str:
        """A table's own rows: those of tables that inherit from it are the others' own."""
        return self._plain(table) if self._partitioned[table] else f"ONLY {self._plain(table)}"

    def refers(self, alias: str, table: tuple[str, str], reference: str, column: str) -> str:
        """The condition that our column points at a row; a foreign key compares as its key does."""
        collation = self._collations[table].get(reference)
        collated = f" COLLATE {collation}" if collation else ""
        return f'{_quoted(alias)}.{_quoted(reference)} = "t".{_quoted(column)}{collated}'

    def value(self, alias: str, table: tuple[str, str], item: _Property) -> str:
        """The SELECT expression of a property."""
        column = f"{_quoted(alias)}.{_quoted(item.column)}"
        base = self._bases[table][item.column]
        if item.type.startswith("LIST<"):
            element = "bpchar" if base == "_bpchar" else _SERVER_TYPES[item.type[5:-1]]
            return f"({column})::{element}[]"
        if item.type == "STRING" and base == "bpchar":
            return f"CASE WHEN {column} IS NOT NULL THEN concat({column}) END"
        return f"({column})::{_SERVER_TYPES[item.type]}"

    async def rows(self, statement: str) -> AsyncIterator[Any]:
        """The rows of a SELECT, some at a time."""
        async for row in self._connection.cursor(statement, prefetch=_FETCH_ROWS):
            yield row


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

    def labels(self) -> list[tuple[str, ...]]:
        """Every set of labels that a node has."""
        rows = self._execute("MATCH (n) RETURN DISTINCT labels(n) AS l")
        return sorted({tuple(sorted(row["l"])) for row in rows})

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

    def unlabelled(self) -> int:
        """How many nodes have no label."""
        labels = self._execute("MATCH (n) RETURN labels(n) AS l")
        return sum(not row["l"] for row in labels)

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
    """Without the product's own (`_run`) and the engine's (`_id`); null is absent."""
    return {
        name: value
        for name, value in properties.items()
        if not name.startswith("_") and value is not None
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
        self._ident_of: dict[int, bytes] = {}
        self._entities: list[Entity] = []

    async def run(self) -> Comparison:
        for node in self._node_rules:
            await self._source.describe(node.table)
        for rule in self._relationship_rules:
            await self._source.describe(rule.table)
        for node in self._node_rules:
            await self._compare_nodes(node)
        self._other_nodes()
        await self._source.with_extension_operators()
        await self._compare_all_relationships()
        nodes = self._graph.number("MATCH (n) RETURN count(n) AS c")
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
        entity = Entity(rule.label, ".".join(rule.table))
        self._entities.append(entity)
        there = self._read_nodes(rule, entity)
        width = len(rule.properties)
        identity = [rule.properties.index(item) for item in rule.identity]
        async for row in self._source.rows(self._node_sql(rule)):
            entity.rows += 1
            texts = [source_text(row[n], rule.properties[n].type) for n in range(width)]
            key = [texts[n] for n in identity]
            ident = rule.ident(key)
            candidates = there.get(ident)
            if not candidates:
                entity.differ("missing", rule.described(key))
                continue
            node, whole = candidates.pop()
            if whole != _digest(texts):
                found = self._graph.node_properties(node)
                differences = _value_differences(rule.properties, texts, found)
                entity.differ("different", rule.described(key), *differences)
        for candidates in there.values():
            for node, _ in candidates:
                found = self._graph.node_properties(node)
                key = _texts(rule.identity, found)
                entity.differ("extra", f"{rule.described(key)} (node {node})")

    def _node_sql(self, rule: _Node) -> str:
        values = [self._source.value("t", rule.table, item) for item in rule.properties]
        return f'SELECT {", ".join(values)} FROM {self._source.table(rule.table)} AS "t"'

    def _read_nodes(self, rule: _Node, entity: Entity) -> dict[bytes, list[tuple[int, bytes]]]:
        there: dict[bytes, list[tuple[int, bytes]]] = {}
        for number, labels, found in self._graph.nodes(rule.label):
            entity.found += 1
            key = _texts(rule.identity, found)
            if labels != [rule.label]:
                entity.differ("wrong labels", f"{rule.described(key)} has labels {labels}")
            ident = rule.ident(key)
            self._ident_of[number] = ident
            nodes = there.setdefault(ident, [])
            if nodes and rule.key:
                entity.differ("doubled", f"{rule.described(key)} (node {number})")
            else:
                nodes.append((number, _whole(rule.properties, found)))
        return there

    def _other_nodes(self) -> None:
        known = {rule.label for rule in self._node_rules}
        for labels in self._graph.labels():
            if known.isdisjoint(labels):
                name = ":".join(labels) or "no label"
                entity = Entity(name, "none")
                numbers = (
                    {n for label in labels for n, _, _ in self._graph.nodes(label)}
                    if labels
                    else range(self._graph.unlabelled())
                )
                entity.found = len(numbers)
                entity.differ("extra", f"{len(numbers)} nodes that no rule makes")
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
        statement, read = self._relationship_sql(rule)
        async for row in self._source.rows(statement):
            entity.rows += 1
            start, end, texts = read(row)
            if start is None or end is None:
                entity.orphans += 1
                continue
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

    def _relationship_sql(self, rule: _Relationship) -> tuple[str, Any]:
        """The SELECT of a rule, and what reads ends and properties out of its rows."""
        columns = [self._source.value("t", rule.table, item) for item in rule.properties]
        joins: list[str] = []
        widths = []
        for alias, end in (("s", rule.start), ("e", rule.end)):
            node = end.node
            itself = node.table == rule.table and end.columns == end.references
            used = "t" if itself else alias
            if not itself:
                pairs = zip(end.references, end.columns, strict=True)
                on = [self._source.refers(alias, node.table, r, c) for r, c in pairs]
                joins.append(
                    f'LEFT JOIN {self._source.table(node.table)} AS "{alias}" ON {" AND ".join(on)}'
                )
            columns.append(f'"{used}".tableoid IS NOT NULL')
            columns += [self._source.value(used, node.table, item) for item in node.identity]
            widths.append(len(node.identity))
        ends = dict.fromkeys((*rule.start.columns, *rule.end.columns))
        # A composite value whose parts are all null `IS NULL`, but it is not null.
        present = [f'"t".{_quoted(name)} IS DISTINCT FROM NULL' for name in ends]
        where = f" WHERE {' AND '.join(present)}" if present else ""
        statement = (
            f'SELECT {", ".join(columns)} FROM {self._source.table(rule.table)} AS "t" '
            + " ".join(joins)
            + where
        )
        own = len(rule.properties)

        def read(row: Any) -> tuple[list[str] | None, list[str] | None, list[str]]:
            texts = [source_text(row[n], rule.properties[n].type) for n in range(own)]
            start = _end_texts(row, own, rule.start.node)
            end = _end_texts(row, own + 1 + widths[0], rule.end.node)
            return start, end, texts

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
        first = names.get(ends[:20], rule.start.node.label)
        second = names.get(ends[20:40], rule.end.node.label)
        return f"({first})->({second}) (relationship {number})"


def _number(ident: bytes) -> int:
    return int.from_bytes(ident[:4]) if ident else -1


def _end_texts(row: Any, at: int, node: _Node) -> list[str] | None:
    if not row[at]:
        return None
    return [source_text(row[at + 1 + n], item.type) for n, item in enumerate(node.identity)]


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
