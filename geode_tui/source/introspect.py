"""Read a database's catalog from pg_catalog in six round trips, whatever its size.

information_schema is not used: it hides objects without rights and its usual foreign-key join took
over 200 seconds on 2,000 tables where pg_constraint took 71 ms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from geode_tui.catalog import (
    Catalog,
    Column,
    DataType,
    ForeignKey,
    Key,
    ServerFacts,
    Table,
    TableName,
)
from geode_tui.catalog.model import TableKind, TypeKind

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

_FACTS = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS number,
       current_database() AS database, session_user AS role,
       coalesce(host(inet_server_addr()), 'local socket') AS host,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS replica,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS oid
"""

# Nothing of the system's, of other sessions' temporary schemas, or that belongs to an extension.
_WANTED = """
  n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%'
  AND ($1::text[] IS NULL OR n.nspname = ANY ($1))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
"""

_RELATIONS = f"""
SELECT c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
       c.relispartition AS is_partition, c.reltuples::bigint AS reltuples,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_table_size(c.oid) ELSE 0 END AS bytes,
       obj_description(c.oid, 'pg_class') AS comment,
       has_schema_privilege(n.oid, 'USAGE')
         AND has_table_privilege(c.oid, 'SELECT') AS readable,
       c.relrowsecurity AND row_security_active(c.oid) AS row_security,
       (SELECT i.inhparent::bigint FROM pg_inherits i WHERE i.inhrelid = c.oid
        AND c.relispartition LIMIT 1) AS parent
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_WANTED}
ORDER BY n.nspname, c.relname
"""

_COLUMNS = f"""
SELECT a.attrelid::bigint AS relation, a.attname AS name, a.atttypid::bigint AS type,
       format_type(a.atttypid, a.atttypmod) AS declared, a.atttypmod AS modifier,
       a.attnotnull AND NOT EXISTS (
         SELECT FROM pg_constraint u WHERE u.conrelid = a.attrelid AND u.contype = 'n'
         AND NOT u.convalidated AND u.conkey = ARRAY[a.attnum]) AS required,
       CASE WHEN a.attcollation <> 0 THEN (
         SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
         FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
         WHERE co.oid = a.attcollation) END AS collation,
       coalesce((SELECT co.collisdeterministic FROM pg_collation co
                 WHERE co.oid = a.attcollation), true) AS deterministic,
       a.attidentity::text <> '' AS identity,
       a.attgenerated::text <> '' AS generated, pg_get_expr(d.adbin, d.adrelid) AS expression,
       col_description(a.attrelid, a.attnum) AS comment, a.attnum AS number
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_WANTED}
ORDER BY a.attrelid, a.attnum
"""

_TYPES = f"""
WITH RECURSIVE used(oid) AS (
  SELECT DISTINCT a.atttypid
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND {_WANTED}
  UNION
  SELECT part.oid FROM used JOIN pg_type t ON t.oid = used.oid
  CROSS JOIN LATERAL (VALUES (t.typbasetype),
    (CASE WHEN t.typcategory = 'A' THEN t.typelem END)) part(oid)
  WHERE part.oid <> 0
)
SELECT t.oid::bigint AS oid, t.typname AS name, t.typtype::text AS kind,
       t.typcategory::text AS category, format_type(t.oid, NULL) AS declared,
       t.typbasetype::bigint AS base, t.typtypmod AS modifier, t.typelem::bigint AS element,
       t.typnotnull AS required,
       (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
        FROM pg_enum e WHERE e.enumtypid = t.oid)::text[] AS labels
FROM used JOIN pg_type t ON t.oid = used.oid
"""

_CONSTRAINTS = f"""
SELECT k.conrelid::bigint AS relation, k.conname AS name, k.contype::text AS kind,
       k.conkey::int[] AS columns, tn.nspname AS target_schema, tc.relname AS target_name,
       tc.relispartition AS to_partition,
       (SELECT array_agg(ta.attname ORDER BY r.place)::text[]
        FROM unnest(k.confkey) WITH ORDINALITY r(number, place)
        JOIN pg_attribute ta ON ta.attrelid = k.confrelid AND ta.attnum = r.number) AS references,
       coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) AS temporal,
       k.condeferrable AS deferrable, k.convalidated AS validated,
       k.confdeltype::text AS on_delete
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class tc ON tc.oid = k.confrelid LEFT JOIN pg_namespace tn ON tn.oid = tc.relnamespace
WHERE k.contype IN ('p', 'u', 'f') AND NOT c.relispartition AND k.conparentid = 0 AND {_WANTED}
ORDER BY k.conrelid, k.contype, k.conname
"""

# Unique indexes that no constraint made; partial and expression indexes identify no row.
_UNIQUE_INDEXES = f"""
SELECT i.indrelid::bigint AS relation, x.relname AS name, i.indkey::int[] AS columns,
       i.indnkeyatts AS width
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT c.relispartition AND {_WANTED}
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid
                  AND k.contype IN ('p', 'u'))
ORDER BY i.indrelid, x.relname
"""

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


async def read_facts(connection: Connection) -> ServerFacts:
    """What the server says of itself, in one round trip."""
    row = await connection.fetchrow(_FACTS)
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
    """The catalog of `schemas`, of all but the system's when empty; in one transaction."""
    wanted = list(schemas) or None
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        relations = await connection.fetch(_RELATIONS, wanted)
        columns = await connection.fetch(_COLUMNS, wanted)
        types = await connection.fetch(_TYPES, wanted)
        constraints = await connection.fetch(_CONSTRAINTS, wanted)
        indexes = await connection.fetch(_UNIQUE_INDEXES, wanted)
    return _Assembly(relations, columns, types, constraints, indexes).catalog(facts)


class _Assembly:
    """Puts the rows of the catalog queries together."""

    def __init__(
        self,
        relations: list[Any],
        columns: list[Any],
        types: list[Any],
        constraints: list[Any],
        indexes: list[Any],
    ) -> None:
        self._relations = {row["oid"]: row for row in relations}
        self._types = {row["oid"]: row for row in types}
        self._made: dict[int, DataType] = {}
        self._columns = _grouped(columns)
        self._constraints = _grouped(constraints)
        self._indexes = _grouped(indexes)
        self._children: dict[int, list[int]] = defaultdict(list)
        for row in relations:
            if row["parent"] is not None:
                self._children[row["parent"]].append(row["oid"])

    def catalog(self, facts: ServerFacts) -> Catalog:
        tables = [
            self._table(oid) for oid, row in self._relations.items() if not row["is_partition"]
        ]
        return Catalog(facts, tuple(tables))

    def _table(self, oid: int) -> Table:
        row = self._relations[oid]
        numbers = {column["number"]: column["name"] for column in self._columns[oid]}
        leaves = self._leaves(oid) if row["kind"] == "p" else []
        counted = leaves or [oid]
        return Table(
            self._name(oid),
            _KINDS[row["kind"]],
            tuple(self._column(column) for column in self._columns[oid]),
            next(iter(self._keys(oid, "p", numbers)), None),
            (*self._keys(oid, "u", numbers), *self._index_keys(oid, numbers)),
            tuple(self._foreign_keys(oid, numbers)),
            row["comment"] or "",
            self._estimate(oid, leaves),
            sum(self._relations[leaf]["bytes"] for leaf in counted),
            tuple(self._name(leaf) for leaf in leaves),
            row["readable"],
            row["row_security"],
        )

    def _name(self, oid: int) -> TableName:
        row = self._relations[oid]
        return TableName(row["schema"], row["name"])

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

    def _column(self, row: Any) -> Column:
        data_type = self._type(row["type"], row["declared"], row["modifier"])
        domain_required = data_type.kind == "domain" and self._types[row["type"]]["required"]
        return Column(
            row["name"],
            data_type,
            not (row["required"] or domain_required),
            row["identity"],
            row["expression"] if row["generated"] else None,
            None if row["generated"] else row["expression"],
            row["comment"] or "",
            row["collation"] or "",
            row["deterministic"],
        )

    def _type(self, oid: int, declared: str, modifier: int) -> DataType:
        row = self._types[oid]
        labels = tuple(row["labels"] or ())
        if row["category"] == "A" and row["element"] and row["name"] not in _VECTORS:
            element = self._types[row["element"]]
            inner = self._type(row["element"], element["declared"], modifier)
            return DataType(declared, row["name"], "array", inner)
        kind = _TYPE_KINDS.get(row["kind"], "base")
        if kind == "domain":
            base = self._types[row["base"]]
            inner = self._type(row["base"], base["declared"], row["modifier"])
            return DataType(declared, row["name"], "domain", inner)
        precision, scale = None, None
        if row["name"] == "numeric" and modifier >= 4:
            precision = (modifier - 4) >> 16 & 0xFFFF
            scale = ((modifier - 4) & 0x7FF ^ 1024) - 1024
        return DataType(declared, row["name"], kind, None, labels, precision, scale)

    def _keys(self, oid: int, kind: str, numbers: dict[int, str]) -> list[Key]:
        return [
            Key(row["name"], tuple(numbers[n] for n in row["columns"]), row["deferrable"])
            for row in self._constraints[oid]
            if row["kind"] == kind
        ]

    def _index_keys(self, oid: int, numbers: dict[int, str]) -> list[Key]:
        found = []
        for row in self._indexes[oid]:
            key_columns = row["columns"][: row["width"]]
            if all(n in numbers for n in key_columns):
                found.append(Key(row["name"], tuple(numbers[n] for n in key_columns)))
        return found

    def _foreign_keys(self, oid: int, numbers: dict[int, str]) -> list[ForeignKey]:
        found = []
        for row in self._constraints[oid]:
            if row["kind"] != "f":
                continue
            target = TableName(row["target_schema"], row["target_name"])
            found.append(
                ForeignKey(
                    row["name"],
                    tuple(numbers[n] for n in row["columns"]),
                    target,
                    tuple(row["references"]),
                    row["deferrable"],
                    row["validated"],
                    _ON_DELETE.get(row["on_delete"], "no action"),
                    _obstacle(row),
                )
            )
        return found


def _obstacle(row: Any) -> str:
    if row["temporal"]:
        return "a temporal reference (PERIOD) names no single row"
    if row["to_partition"]:
        return "it points at one partition, and only whole tables become labels"
    return ""


def _grouped(rows: list[Any]) -> dict[int, list[Any]]:
    groups: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row["relation"]].append(row)
    return groups
