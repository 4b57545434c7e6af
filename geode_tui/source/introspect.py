"""Read a database's catalog from pg_catalog: a fixed number of questions, whatever its size."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from geode_tui.catalog import (
    Catalog,
    Check,
    Column,
    DataType,
    ForeignKey,
    Index,
    Key,
    ServerFacts,
    Table,
    TableName,
    Trigger,
)
from geode_tui.catalog.model import TableKind, TypeKind
from geode_tui.source.catalog_queries import (
    COLLATIONS,
    COLUMNS,
    CONSTRAINTS,
    DEFAULTS,
    FACTS,
    INDEXES,
    POLICIES,
    PRIVILEGES,
    RELATIONS,
    SIZES,
    TRIGGERS,
    TYPES,
)

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

_KINDS: dict[str, TableKind] = {
    "r": "table",
    "p": "partitioned",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_TYPE_KINDS: dict[str, TypeKind] = {
    "b": "base",
    "d": "domain",
    "e": "enum",
    "c": "composite",
    "r": "range",
    "m": "multirange",
    "p": "pseudo",
}
_ON_DELETE = {
    "a": "no action",
    "r": "restrict",
    "c": "cascade",
    "n": "set null",
    "d": "set default",
}


# Arrays by their category, but with bounds of their own and no array type's name.
_VECTORS = frozenset({"int2vector", "oidvector"})
_NAME = itemgetter("name")
_TEMPORAL_SINCE = 180_000
_MANY_OBJECTS = 20_000


@asynccontextmanager
async def collector_at_rest() -> AsyncIterator[None]:
    """Keep the garbage collector from looking through rows again and again: all of them stay.

    What was made meanwhile is put aside for good when it is much: the collector stops everything
    while it looks through 20,000 columns. `gc.unfreeze` gives it back.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_count()[0] > _MANY_OBJECTS:
            gc.freeze()
        gc.enable()


async def read_facts(connection: Connection) -> ServerFacts:
    """What the server says of itself, in one round trip."""
    row = await connection.fetchrow(FACTS)
    assert row is not None
    return ServerFacts(
        row["version"],
        row["number"],
        row["database"],
        row["role"],
        row["host"],
        row["encoding"],
        row["replica"],
        row["superuser"],
        row["oid"],
    )


async def read_catalog(
    connection: Connection, facts: ServerFacts, schemas: Sequence[str] = ()
) -> Catalog:
    """The catalog of `schemas`, of all but the system's when empty; in one transaction.

    What takes time in Python is done in another thread: the server and a screen go on.
    """
    async with (
        collector_at_rest(),
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        # The size of a table and the text of a view want a lock: an ALTER may hold it for hours.
        await connection.execute("SET LOCAL lock_timeout = '5s'")
        relations = await connection.fetch(RELATIONS, list(schemas) or None)
        whole = [row for row in relations if not row["is_partition"]]
        oids = [row["oid"] for row in whole]
        columns = await connection.fetch(COLUMNS, oids, [_readable(row) for row in whole])
        types = await read_types(connection, {row[3:5] for row in columns})
        collations = await read_collations(connection, {row["attcollation"] for row in columns})
        defaults = await connection.fetch(DEFAULTS, oids)
        parts, made = await asyncio.gather(
            _read_parts(connection, facts, oids),
            asyncio.to_thread(_make_columns, columns, types, collations, defaults),
        )
        stored = [row["oid"] for row in relations if row["kind"] in "rm"]
        assembly = _Assembly(relations, made, parts)
        sizes, tables = await asyncio.gather(
            connection.fetch(SIZES, stored), asyncio.to_thread(assembly.tables)
        )
        sized = assembly.sized(tables, {row["oid"]: row["bytes"] for row in sizes})
    return Catalog(facts, sized)


class _Parts(NamedTuple):
    """What tables have besides columns, by the relation's oid."""

    constraints: dict[int, list[Any]]
    indexes: dict[int, list[Any]]
    triggers: dict[int, list[Any]]
    policies: dict[int, list[Any]]


async def _read_parts(connection: Connection, facts: ServerFacts, oids: list[int]) -> _Parts:
    temporal = "k.conperiod" if facts.version_number >= _TEMPORAL_SINCE else "false"
    return _Parts(
        _grouped(await connection.fetch(CONSTRAINTS % temporal, oids)),
        _grouped(await connection.fetch(INDEXES, oids)),
        _grouped(await connection.fetch(TRIGGERS, oids)),
        _grouped(await connection.fetch(POLICIES, oids)),
    )


class Collation(NamedTuple):
    """A collation's quoted name, and whether equal texts are the same text under it."""

    name: str
    deterministic: bool


_NO_COLLATION = Collation("", True)


async def read_collations(connection: Connection, oids: Iterable[int]) -> dict[int, Collation]:
    """The collations of these oids."""
    rows = await connection.fetch(COLLATIONS, [oid for oid in oids if oid])
    return {row["oid"]: Collation(row["name"], row["deterministic"]) for row in rows}


async def read_types(connection: Connection, wanted: Iterable[tuple[int, int]]) -> DataTypes:
    """The types of these oids and modifiers, and all that they are made of."""
    pairs = list(wanted)
    rows = await connection.fetch(TYPES, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return DataTypes(rows)


class DataTypes:
    """Makes a DataType of an oid and a modifier, each of them once."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = {row["oid"]: row for row in rows}
        self._spelled = {oid: json.loads(row["spelled"] or "{}") for oid, row in self._rows.items()}
        self._made: dict[tuple[int, int, str], DataType] = {}

    def of(self, oid: int, modifier: int = -1, declared: str | None = None) -> DataType:
        """The type; `declared` where it is spelled otherwise than by the modifier."""
        if declared is None:
            row = self._rows[oid]
            declared = self._spelled[oid].get(str(modifier)) or str(row["declared"])
        wanted = (oid, modifier, declared)
        made = self._made.get(wanted)
        if made is None:
            made = self._made[wanted] = self._make(oid, modifier, declared)
        return made

    def collation(self, oid: int) -> int:
        """The oid of the type's own collation, 0 where its values have none."""
        return int(self._rows[oid]["collation"])

    def required(self, oid: int) -> bool:
        """Whether it is a domain that takes no null."""
        row = self._rows[oid]
        return bool(row["kind"] == "d" and row["required"])

    def _make(self, oid: int, modifier: int, declared: str) -> DataType:
        row = self._rows[oid]
        name, extension = row["name"], row["extension"] or ""
        kind = _TYPE_KINDS.get(row["kind"], "base")
        if row["category"] == "A" and row["element"] and name not in _VECTORS and kind == "base":
            plain = self._rows[row["element"]]["declared"]
            element = self.of(row["element"], modifier, plain)
            return DataType(declared, name, "array", element, extension=extension)
        if kind == "domain":
            base = self.of(row["base"], row["modifier"], self._rows[row["base"]]["declared"])
            checks = tuple(Check(*check) for check in json.loads(row["checks"] or "[]"))
            return DataType(declared, name, kind, base, extension=extension, checks=checks)
        precision, scale = None, None
        if name == "numeric" and modifier >= 4:
            precision = (modifier - 4) >> 16 & 0xFFFF
            scale = ((modifier - 4) & 0x7FF ^ 1024) - 1024
        return DataType(
            declared,
            name,
            kind,
            self.of(row["ranged"]) if row["ranged"] else None,
            tuple(row["labels"] or ()),
            precision,
            scale,
            tuple(
                (field, self.of(part, part_modifier, spelled))
                for field, part, part_modifier, spelled in json.loads(row["fields"] or "[]")
            ),
            extension,
        )


def _make_columns(
    rows: list[Any], types: DataTypes, collations: dict[int, Collation], defaults: list[Any]
) -> dict[int, dict[int, Column]]:
    """The columns by relation and number, in the order of their numbers."""
    expressions = {(relation, number): text for relation, number, text in defaults}
    made: dict[int, dict[int, Column]] = defaultdict(dict)
    for row in rows:
        (relation, number, name, type_oid, modifier, required, collation_oid) = row[:7]
        (identity, generated, comment, readable) = row[7:]
        expression = expressions.get((relation, number))
        collation = collations.get(collation_oid, _NO_COLLATION)
        made[relation][number] = Column(
            name,
            types.of(type_oid, modifier),
            not (required or types.required(type_oid)),
            identity,
            expression if generated else None,
            None if generated else expression,
            comment or "",
            collation.name,
            collation.deterministic,
            readable,
        )
    return {relation: dict(sorted(columns.items())) for relation, columns in made.items()}


class _Assembly:
    """Puts the rows of the catalog queries together."""

    def __init__(
        self, relations: list[Any], columns: dict[int, dict[int, Column]], parts: _Parts
    ) -> None:
        self._relations = {row["oid"]: row for row in relations}
        self._names = {row["oid"]: TableName(row["schema"], row["name"]) for row in relations}
        self._columns = columns
        self._parts = parts
        self._children: dict[int, list[int]] = defaultdict(list)
        for row in relations:
            if row["is_partition"]:
                self._children[row["parents"][0]].append(row["oid"])

    def tables(self) -> dict[int, Table]:
        """All but partitions, by oid; their size is still to be told."""
        return {
            oid: self._table(oid, row)
            for oid, row in self._relations.items()
            if not row["is_partition"]
        }

    def sized(self, tables: dict[int, Table], sizes: dict[int, int | None]) -> tuple[Table, ...]:
        """The tables with their size, or that of their leaves."""
        made = []
        for oid, table in tables.items():
            parts = self._leaves(oid) or [oid]
            made.append(replace(table, bytes=sum(sizes.get(part) or 0 for part in parts)))
        return tuple(made)

    def _table(self, oid: int, row: Any) -> Table:
        columns = self._columns.get(oid, {})
        numbers = {number: column.name for number, column in columns.items()}
        leaves = self._leaves(oid)
        constraints: dict[str, list[Any]] = {"p": [], "u": [], "f": [], "c": []}
        for constraint in sorted(self._parts.constraints.get(oid, ()), key=_NAME):
            constraints[constraint["kind"]].append(constraint)
        indexes = sorted(self._parts.indexes.get(oid, ()), key=_NAME)
        unique = [_key(key, numbers) for key in constraints["u"]]
        return Table(
            self._names[oid],
            _KINDS[row["kind"]],
            tuple(columns.values()),
            next((_key(key, numbers) for key in constraints["p"]), None),
            (*unique, *_index_keys(indexes, numbers)),
            tuple([self._foreign_key(key, numbers) for key in constraints["f"]]),
            row["comment"] or "",
            self._estimate(oid, leaves),
            0,
            tuple(self._names[leaf] for leaf in leaves),
            _readable(row),
            row["row_security"],
            self._inherited(row),
            tuple([_check(check) for check in constraints["c"]]),
            tuple([_index(index, numbers) for index in indexes]),
            tuple(Trigger(*trigger[1:]) for trigger in self._parts.triggers.get(oid, [])),
            tuple(policy["text"] for policy in self._parts.policies.get(oid, [])),
            _privileges(row["privileges"]),
            row["owner"],
            row["definition"] or "",
        )

    def _inherited(self, row: Any) -> tuple[TableName, ...]:
        if not row["parents"]:
            return ()
        named = zip(row["parent_schemas"], row["parent_names"], strict=True)
        return tuple(TableName(schema, name) for schema, name in named)

    def _leaves(self, oid: int) -> list[int]:
        leaves: list[int] = []
        for child in self._children[oid]:
            if self._relations[child]["kind"] == "p":
                leaves += self._leaves(child)
            else:
                leaves.append(child)
        return leaves

    def _estimate(self, oid: int, leaves: list[int]) -> int | None:
        """The planner's row count; -1 in pg_class means never analyzed."""
        counts = [self._relations[leaf]["reltuples"] for leaf in leaves or [oid]]
        known = [count for count in counts if count >= 0]
        return sum(known) if known and len(known) == len(counts) else None

    def _foreign_key(self, row: Any, numbers: dict[int, str]) -> ForeignKey:
        target, to_columns, to_partition = self._end(row)
        return ForeignKey(
            row["name"],
            tuple([numbers[n] for n in row["columns"]]),
            target,
            to_columns,
            row["deferrable"],
            row["validated"],
            _ON_DELETE.get(row["on_delete"], "no action"),
            _obstacle(row["temporal"], to_partition),
        )

    def _end(self, row: Any) -> tuple[TableName, tuple[str, ...], bool]:
        """The table and columns that a foreign key points at, and whether it is a partition."""
        if row["elsewhere"]:
            schema, name, is_partition, columns = json.loads(row["elsewhere"])
            return TableName(schema, name), tuple(columns), is_partition
        columns = self._columns[row["target"]]
        named = tuple([columns[number].name for number in row["target_columns"]])
        return self._names[row["target"]], named, False


def _readable(row: Any) -> bool:
    return bool(row["usable"] and row["privileges"] & 1)


def _privileges(held: int) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(PRIVILEGES) if held >> bit & 1)


def _key(row: Any, numbers: dict[int, str]) -> Key:
    return Key(row["name"], tuple([numbers[n] for n in row["columns"]]), row["deferrable"])


def _check(row: Any) -> Check:
    return Check(row["name"], row["expression"], row["validated"])


def _index_keys(indexes: list[Any], numbers: dict[int, str]) -> list[Key]:
    """Unique indexes that no constraint made; partial and expression indexes identify no row."""
    return [
        Key(row["name"], tuple(numbers[n] for n in row["columns"][: row["width"]]))
        for row in indexes
        if row["is_unique"]
        and row["valid"]
        and not (row["is_key"] or row["has_expressions"] or row["predicate"])
    ]


def _index(row: Any, numbers: dict[int, str]) -> Index:
    return Index(
        row["name"],
        tuple([numbers.get(number, "") for number in row["columns"][: row["width"]]]),
        row["is_unique"],
        row["method"],
        row["predicate"] or "",
        row["valid"],
    )


def _obstacle(temporal: bool, to_partition: bool) -> str:
    if temporal:
        return "a temporal reference (PERIOD) names no single row"
    if to_partition:
        return "it points at one partition, and only whole tables become labels"
    return ""


def _grouped(rows: list[Any]) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row["relation"]].append(row)
    return groups
