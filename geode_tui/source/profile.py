"""What the values of a source look like: the planner's statistics, and samples on demand.

A look at rows is bounded: a big table is sampled by block, a view by its first rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import batched
from typing import Any

from geode_tui.catalog import (
    Catalog,
    Column,
    ColumnProfile,
    ColumnValues,
    FanOut,
    Inclusion,
    Orphans,
    Profile,
    Table,
    TableName,
    Widths,
)
from geode_tui.source.introspect import Connection, collector_at_rest

WHOLE_BYTES = 64 << 20
"""A table up to this size is looked at whole, of a bigger one about as much is."""
COUNTED_BYTES = 512 << 20
"""Up to this size all rows of a table are counted for its fan-out."""
FIRST_ROWS = 200_000
"""So many rows of a view, a foreign table or a query are looked at."""
COMMON_VALUES = 32
"""So many of a column's most common values are kept."""
COMMON_WIDTH = 256
"""Common values are kept of columns whose values are up to so many bytes wide on average."""
PROBES = 1_000
"""So many rows of a big table are drawn to count the rows that share their reference."""

_MEASURED_AT_ONCE = 500  # a SELECT list has room for 1,664 expressions

# The view shows only what the role may read; the names keep it from asking that of indexes.
_STATISTICS = """
SELECT s.schemaname, s.tablename, s.attname, s.inherited, s.null_frac, s.n_distinct, s.avg_width,
       CASE WHEN s.avg_width <= $3 THEN (s.most_common_vals::text::text[])[1:$4] END AS common,
       CASE WHEN s.avg_width <= $3 THEN s.most_common_freqs[1:$4] END AS shares
FROM pg_stats s
WHERE s.schemaname = ANY ($1::name[]) AND s.tablename = ANY ($2::name[])
"""


async def read_profile(connection: Connection, catalog: Catalog) -> Profile:
    """The statistics of the catalog's columns as the last ANALYZE left them, in one query."""
    schemas = list(catalog.schemas)
    names = list({table.name.name for table in catalog.tables})
    async with collector_at_rest():
        rows = await connection.fetch(_STATISTICS, schemas, names, COMMON_WIDTH, COMMON_VALUES)
        return await asyncio.to_thread(_profiles, catalog, rows)


def _profiles(catalog: Catalog, rows: list[Any]) -> Profile:
    found: dict[tuple[TableName, str], ColumnProfile] = {}
    for schema, name, column, inherited, *statistics in rows:
        table = catalog.table(TableName(schema, name))
        if table is not None and inherited == (table.kind == "partitioned"):
            found[table.name, column] = _profile(table.estimated_rows or 0, *statistics)
    return Profile(found)


def _profile(
    rows: int,
    null_share: float,
    distinct: float,
    width: int,
    common: list[str] | None,
    shares: list[float] | None,
) -> ColumnProfile:
    """A negative number of distinct values is a share of the rows."""
    return ColumnProfile(
        null_share,
        round(distinct if distinct >= 0 else -distinct * rows),
        width,
        tuple(zip(common, shares, strict=True)) if common and shares else (),
    )


async def count_values(
    connection: Connection, table: Table, column: str, limit: int
) -> ColumnValues:
    """The `limit` values of a column that most rows have."""
    source, exact = _sampled(table)
    statement = f"""
    WITH g AS MATERIALIZED (SELECT t.{quoted(column)}::text COLLATE "C" AS v, count(*) AS n
                            FROM {source} GROUP BY 1)
    SELECT v, n, (SELECT sum(n) FROM g)::bigint AS all_rows, (SELECT count(v) FROM g) AS all_values
    FROM g ORDER BY v IS NULL, n DESC, v LIMIT $1"""
    rows = await connection.fetch(statement, max(1, limit))
    if not rows:
        return ColumnValues((), 0, 0, True)
    looked_at = rows[0]["all_rows"]
    values = tuple((row["v"], row["n"]) for row in rows[:limit] if row["v"] is not None)
    return ColumnValues(values, rows[0]["all_values"], looked_at, _all(table, looked_at, exact))


async def measure_widths(connection: Connection, table: Table) -> Widths:
    """The longest text and the share of nulls of each column."""
    source, exact = _sampled(table)
    longest: dict[str, int] = {}
    shares: dict[str, float] = {}
    rows = 0
    for names in batched(table.column_names, _MEASURED_AT_ONCE):
        wanted = [f"max(octet_length(t.{quoted(n)}::text))" for n in names]
        wanted += [f"count(*) FILTER (WHERE t.{quoted(n)}::text IS NULL)" for n in names]
        row = await connection.fetchrow(f"SELECT count(*), {', '.join(wanted)} FROM {source}")
        assert row is not None
        rows, *measured = row
        longest |= {n: m or 0 for n, m in zip(names, measured, strict=False)}
        nulls = zip(names, measured[len(names) :], strict=True)
        shares |= {name: count / rows if rows else 0.0 for name, count in nulls}
    return Widths(longest, shares, rows, _all(table, rows, exact))


async def count_fan_out(connection: Connection, table: Table, columns: Sequence[str]) -> FanOut:
    """How many rows share a reference, of all rows."""
    names = [f"t.{quoted(column)}" for column in columns]
    statement = f"""
    WITH g AS MATERIALIZED (SELECT {_text_list(names)} AS v, count(*) AS n
                            FROM {_whole(table)} WHERE {_present(names)} GROUP BY 1)
    SELECT percentile_disc(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY n) AS points,
           max(n) AS most, sum(n)::bigint AS total,
           (SELECT v FROM g ORDER BY n DESC, v LIMIT 1) AS at
    FROM g"""
    row = await connection.fetchrow(statement)
    assert row is not None
    if not row["total"]:
        return FanOut(0, 0, 0, exact=True)
    p50, p99 = row["points"]
    return FanOut(p50, p99, row["most"], ", ".join(row["at"]), row["total"], True)


def can_probe(table: Table, columns: Sequence[str]) -> bool:
    """Whether an index finds the rows that share a reference."""
    return table.has_storage and any(
        index.method in ("btree", "hash")
        and index.valid
        and not index.predicate
        and set(index.columns[: len(columns)]) == set(columns)
        for index in table.indexes
    )


async def probe_fan_out(connection: Connection, table: Table, columns: Sequence[str]) -> FanOut:
    """How many rows share a reference, counted by index for rows that are drawn.

    A reference is drawn as often as it has rows, so each draw weighs one by its rows.
    """
    source, _ = _sampled(table)
    names = [f"t.{quoted(column)}" for column in columns]
    drawn = ", ".join(f"{name} AS c{n}" for n, name in enumerate(names))
    kept = [f"c{n}" for n in range(len(names))]
    same = " AND ".join(f"t.{quoted(column)} = d.c{n}" for n, column in enumerate(columns))
    statement = f"""
    WITH drawn AS MATERIALIZED (
      SELECT {", ".join(kept)}, count(*) AS times
      FROM (SELECT {drawn} FROM {source} WHERE {_present(names)} ORDER BY random() LIMIT {PROBES}) r
      GROUP BY {", ".join(kept)})
    SELECT {_text_list([f"d.{name}" for name in kept])} AS v, d.times, f.n
    FROM drawn d CROSS JOIN LATERAL (
      SELECT count(*) AS n FROM {_whole(table)} WHERE {same}) f
    ORDER BY f.n"""
    rows = [row for row in await connection.fetch(statement) if row["n"]]
    if not rows:
        return FanOut(0, 0, 0)
    weights = [(row["n"], row["times"] / row["n"]) for row in rows]
    return FanOut(
        _point(weights, 0.5),
        _point(weights, 0.99),
        rows[-1]["n"],
        ", ".join(rows[-1]["v"]),
        sum(row["times"] for row in rows),
    )


def guess_fan_out(column: ColumnProfile, rows: int) -> FanOut:
    """How many rows share a reference, by the planner's statistics of its only column."""
    common_rows = sum(share for _, share in column.common) * rows
    rest = max(0.0, rows * (1 - column.null_share) - common_rows)
    others = max(0, column.distinct - len(column.common))
    counts = [(round(share * rows), 1.0) for _, share in reversed(column.common)]
    if others:
        counts.insert(0, (max(1, round(rest / others)), float(others)))
    if not counts:
        return FanOut(0, 0, 0)
    counts.sort()
    at = column.common[0][0] if column.common else ""
    return FanOut(_point(counts, 0.5), _point(counts, 0.99), counts[-1][0], at)


def _point(weighted: Sequence[tuple[int, float]], share: float) -> int:
    """The number below which `share` of the weight lies; `weighted` is sorted."""
    left = share * sum(weight for _, weight in weighted)
    for number, weight in weighted:
        left -= weight
        if left <= 0:
            return number
    return weighted[-1][0]


async def count_inclusion(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    to_table: Table,
    to_columns: Sequence[str],
    sample: int,
) -> Inclusion:
    """How many of up to `sample` distinct values there are on the other side."""
    source, exact = _sampled(table)
    pairs = _pairs(table, columns, to_table, to_columns)
    drawn = ", ".join(f"{left} AS c{n}" for n, (left, _) in enumerate(pairs))
    same = " AND ".join(f"d.c{n} = {right}" for n, (_, right) in enumerate(pairs))
    present = _present([f"t.{quoted(column)}" for column in columns])
    statement = f"""
    WITH drawn AS MATERIALIZED (
      SELECT DISTINCT {drawn} FROM {source} WHERE {present} LIMIT $1)
    SELECT (SELECT count(*) FROM drawn) AS tested,
           (SELECT count(*) FROM drawn d
            WHERE EXISTS (SELECT FROM {_whole(to_table, "o")} WHERE {same})) AS found"""
    row = await connection.fetchrow(statement, sample)
    assert row is not None
    # A view is cut at its first rows: whether that cut anything is not counted here.
    whole = exact and table.has_storage and row["tested"] < sample
    return Inclusion(row["tested"], row["found"], whole)


async def find_orphans(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    to_table: Table,
    to_columns: Sequence[str],
    limit: int,
    *,
    sampled: bool = False,
) -> Orphans:
    """The rows that point at nothing; of a sample their number is not known."""
    source = _sampled(table)[0] if sampled else _whole(table)
    pairs = _pairs(table, columns, to_table, to_columns)
    names = [f"t.{quoted(column)}" for column in columns]
    same = " AND ".join(f"{left} = {right}" for left, right in pairs)
    statement = f"""
    SELECT {_text_list(names)} AS v, count(*) AS n, sum(count(*)) OVER ()::bigint AS total
    FROM {source} WHERE {_present(names)}
      AND NOT EXISTS (SELECT FROM {_whole(to_table, "o")} WHERE {same})
    GROUP BY 1 ORDER BY n DESC, v LIMIT $1"""
    rows = await connection.fetch(statement, max(1, limit))
    total = rows[0]["total"] if rows else 0
    examples = tuple(tuple(row["v"]) for row in rows[:limit])
    return Orphans(None if sampled else total, examples)


def quoted(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def qualified(name: TableName) -> str:
    """A table's name, both parts in double quotes."""
    return f"{quoted(name.schema)}.{quoted(name.name)}"


def from_table(table: Table) -> str:
    """What a FROM reads a table by, without the rows of tables that inherit from it."""
    if table.kind == "query":
        # A line of its own for the bracket: the query's last line may be a comment.
        return f"({table.definition.rstrip().rstrip(';')}\n)"
    return f"{'ONLY ' if table.kind == 'table' else ''}{qualified(table.name)}"


def _whole(table: Table, alias: str = "t") -> str:
    return f"{from_table(table)} AS {alias}"


def _sampled(table: Table) -> tuple[str, bool]:
    """What to read, and whether that is all (of a view: unless as many rows come)."""
    if not table.has_storage:
        return f"(SELECT * FROM {_whole(table, 'v')} LIMIT {FIRST_ROWS}) AS t", True
    if table.bytes <= WHOLE_BYTES:
        return _whole(table), True
    share = 100 * WHOLE_BYTES / table.bytes
    return f"{_whole(table)} TABLESAMPLE SYSTEM ({share:.6f}) REPEATABLE (1)", False


def _all(table: Table, rows: int, exact: bool) -> bool:
    return exact and (table.has_storage or rows < FIRST_ROWS)


def _present(names: Sequence[str]) -> str:
    return " AND ".join(f"{name} IS NOT NULL" for name in names)


def _text_list(names: Sequence[str]) -> str:
    texts = ", ".join(f'{name}::text COLLATE "C"' for name in names)
    return f"ARRAY[{texts}]"


_NUMBERS = frozenset({"int2", "int4", "int8", "numeric"})
_TEXTS = frozenset({"text", "varchar"})
_COMPARABLE = _NUMBERS | {
    *("text", "varchar", "bpchar", "citext", "name", "uuid", "bool", "bytea", "oid"),
    *("float4", "float8", "date", "time", "timetz", "timestamp", "timestamptz", "interval"),
    *("inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "jsonb"),
}


def _pairs(
    table: Table, columns: Sequence[str], to_table: Table, to_columns: Sequence[str]
) -> list[tuple[str, str]]:
    """The SQL of both sides of each comparison: as text where the types differ."""
    pairs = []
    for name, to_name in zip(columns, to_columns, strict=True):
        left, right = f"t.{quoted(name)}", f"o.{quoted(to_name)}"
        if not _alike(table.column(name), to_table.column(to_name)):
            left, right = (f'{side}::text COLLATE "C"' for side in (left, right))
        pairs.append((left, right))
    return pairs


def _alike(left: Column | None, right: Column | None) -> bool:
    """Whether the server can compare the two as they are."""
    if left is None or right is None or left.collation != right.collation:
        return False
    one, other = left.type.resolved(), right.type.resolved()
    if one.kind == "enum":
        return one.declared == other.declared
    if one.kind != "base" or other.kind != "base":
        return False
    return any({one.name, other.name} <= family for family in (_NUMBERS, _TEXTS)) or (
        one.name == other.name and one.name in _COMPARABLE
    )
