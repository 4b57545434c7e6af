"""A table is cut into ranges that hold each row once, and about as many rows each."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import asyncpg
import pytest

from geode_tui.catalog import TableName
from geode_tui.mapping.extract import Extract
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import LabelBy, NodeRule, Property, Rule
from geode_tui.source import cuts
from geode_tui.source.cuts import LAST_BLOCK, Range, cut
from geode_tui.source.postgres import Reader, Source
from geode_tui.validation.entity import Entity, entity_of
from tests.conftest import MakeDatabase

_KEYS = {
    "gaps": "bigint|CASE WHEN i % 2 = 0 THEN i ELSE i * 1000003::bigint END",
    "negative": "int|i - 1500",
    "uuid": "uuid|md5(i::text)::uuid",
    "text": "text|(ARRAY[upper(md5(i::text)), 'é' || i, '_-' || i])[1 + i % 3]",
    "c text": 'text COLLATE "C"|md5(i::text)',
    "varchar": "varchar(9)|lpad(i::text, 9, 'x')",
    "char": "char(12)|'k' || i",
    "numeric": "numeric|(i * 7 % 3001) / 7.0",
    "scaled": "numeric(12,3)|i / 8.0",
    "float8": "float8|(i - 1500) * 0.1::float8 / 3",
    "float4": "float4|(i - 1500) * 0.1::float4",
    "date": "date|date '1999-12-31' + i",
    "timestamptz": "timestamptz|'2024-03-31 00:00:00.000001+01'::timestamptz + i * interval '17 m'",
    "interval": "interval|i * interval '1 day 3 hours 0.000001 seconds'",
    "bytea": "bytea|decode(md5(i::text), 'hex')",
    "inet": "inet|('10.' || i % 250 || '.' || i / 250 || '.1')::inet",
    "bool array": "int[]|ARRAY[i % 7, i]",
    "money": "money|i::money",
    'a"b': "bigint|i",
    "domain": "positive|i + 1",
    "citext": "citext|CASE WHEN i % 2 = 0 THEN upper(md5(i::text)) ELSE md5(i::text) END",
}
_TYPES = """
CREATE EXTENSION citext;
CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
"""
ROWS = 3_000


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small tables of the tests count as big."""
    monkeypatch.setattr(cuts, "SAMPLED_BLOCKS", 8)
    monkeypatch.setattr(cuts, "ALL_KEYS_BLOCKS", 0)


@asynccontextmanager
async def opened(
    dsn: str, by: LabelBy | None = None, extra: NodeRule | None = None
) -> AsyncIterator[tuple[Reader, dict[str, Entity]]]:
    """A reader, and the entity of each table (its nodes have labels by `by`) and of a rule."""
    source = await Source.connect(dsn)
    catalog = await source.catalog()
    mapping = infer(catalog)
    mapping = replace(mapping, nodes=tuple(replace(n, labels_by=by) for n in mapping.nodes))
    if extra is not None:
        mapping = replace(mapping, nodes=(*mapping.nodes, extra))
    found: dict[str, Entity] = {}
    rules: list[Rule] = [*mapping.nodes, *mapping.relationships]
    for rule in rules:
        found.setdefault(rule.table.name, entity_of(rule, mapping, catalog))
    reader = await source.reader()
    try:
        yield reader, found
    finally:
        await reader.close()
        await source.close()


async def check(reader: Reader, extract: Extract, ranges: Sequence[Range]) -> list[int]:
    """The sizes of the ranges, once it is known that they hold each row once, in key order."""
    found: list[str] = []
    sizes = []
    for low, high in ranges:
        bounded = (low is not None, high is not None)
        bounds = (*(low or ()), *(high or ()))
        rows = await reader.fetch(extract.chunk_sql(*bounded), *bounds)
        digest = await reader.fetch(extract.digest_sql(*bounded), *bounds)
        assert tuple(digest[0]) == (len(rows), extract.digest(rows))
        found += [str(row[: extract.fingerprint_at]) for row in rows]
        sizes.append(len(rows))
    whole = await reader.fetch(extract.chunk_sql(False, False))
    assert found == [str(row[: extract.fingerprint_at]) for row in whole]
    assert ranges[0][0] is None
    assert ranges[-1][1] is None
    assert all(one[1] == two[0] for one, two in pairwise(ranges))
    return sizes


def _table(name: str, spec: str) -> str:
    kind, value = spec.split("|", 1)
    quoted = '"' + name.replace('"', '""') + '"'
    return (
        f"CREATE TABLE {quoted} (k {kind} PRIMARY KEY, v text);"
        f"INSERT INTO {quoted} SELECT {value}, 'v' || i"
        f" FROM generate_series(0, {ROWS - 1}) i ORDER BY md5('x' || i);"
    )


async def test_ranges_of_a_key_hold_each_row_once(make_database: MakeDatabase) -> None:
    """Whatever the type of the key; and their digests on the server are those of the rows."""
    dsn = make_database(
        _TYPES + "".join(_table(f"{name} key", spec) for name, spec in _KEYS.items()) + "ANALYZE;"
    )
    async with opened(dsn) as (reader, found):
        assert set(found) == {f"{name} key" for name in _KEYS}
        for name, entity in found.items():
            ranges = await cut(reader, entity.extract, entity.estimate, 250)
            assert await check(reader, entity.extract, ranges) == [250] * 12, name


async def test_ranges_from_a_sample_hold_each_row_once(
    make_database: MakeDatabase, sampled: None
) -> None:
    """They are about as large as asked for, though only some blocks were read."""
    dsn = make_database(
        _TYPES + "".join(_table(f"{name} key", spec) for name, spec in _KEYS.items()) + "ANALYZE;"
    )
    async with opened(dsn) as (reader, found):
        for name, entity in found.items():
            ranges = await cut(reader, entity.extract, entity.estimate, 250)
            sizes = await check(reader, entity.extract, ranges)
            assert 6 <= len(sizes) <= 24, name
            assert max(sizes) <= 2.5 * 250, name
            assert min(sizes) > 0, name


_TREES = f"""
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'a b');
CREATE TABLE skewed (a mood, b text, c numeric, v text, PRIMARY KEY (a, b, c));
INSERT INTO skewed
SELECT (ARRAY['ok', 'sad', 'ok', 'a b'])[1 + i % 4]::mood, md5((i % 50)::text), i / 3.0,
  repeat('v', 40)
FROM generate_series(0, {ROWS - 1}) i ORDER BY md5('x' || i);
CREATE TABLE parts (region text, id int, v text, PRIMARY KEY (id, region))
PARTITION BY LIST (region);
CREATE TABLE "p 1" PARTITION OF parts FOR VALUES IN ('north');
CREATE TABLE p2 PARTITION OF parts FOR VALUES IN ('south') PARTITION BY RANGE (id);
CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (0) TO (500);
CREATE TABLE p22 PARTITION OF p2 FOR VALUES FROM (500) TO (1000000);
CREATE TABLE p3 PARTITION OF parts DEFAULT;
INSERT INTO parts
SELECT (ARRAY['north', 'south'])[1 + i % 2], i, repeat('v', 40)
FROM generate_series(0, {ROWS - 1}) i ORDER BY md5('x' || i);
CREATE TABLE base (id int PRIMARY KEY, v text);
CREATE TABLE derived (PRIMARY KEY (id)) INHERITS (base);
INSERT INTO base SELECT i, repeat('v', 40) FROM generate_series(1, {ROWS}) i;
INSERT INTO derived SELECT i, repeat('v', 40) FROM generate_series(5000, 5999) i;
CREATE TABLE follows (a int REFERENCES base, b int REFERENCES base, PRIMARY KEY (a, b));
INSERT INTO follows SELECT i, 1 + i * 7 % {ROWS} FROM generate_series(1, {ROWS}) i;
ANALYZE;
"""


@pytest.mark.parametrize("way", ["all keys", "sample"])
async def test_composite_keys_partitions_and_inheritance(
    make_database: MakeDatabase, way: str, request: pytest.FixtureRequest
) -> None:
    """Half the rows share the first column of the key; a table is cut without its children."""
    if way == "sample":
        request.getfixturevalue("sampled")
    async with opened(make_database(_TREES)) as (reader, found):
        expected = dict.fromkeys(("skewed", "parts", "base", "follows"), ROWS) | {"derived": 1000}
        assert set(found) == set(expected)
        for name, entity in found.items():
            ranges = await cut(reader, entity.extract, entity.estimate, 200)
            sizes = await check(reader, entity.extract, ranges)
            assert sum(sizes) == expected[name]
            if way == "all keys":
                assert set(sizes) == {200}, name
            else:
                assert max(sizes) <= 5 * 200, (
                    name
                )  # a key in the order of its blocks: 8 of 20 are read
                assert len(sizes) >= 3, name


async def test_a_sample_reads_a_part_of_the_blocks(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big table's cut costs no pass over it, also where it was never analyzed."""
    dsn = make_database(
        "CREATE TABLE big (id uuid PRIMARY KEY, v text) WITH (autovacuum_enabled = off);"
        "INSERT INTO big SELECT md5(i::text)::uuid, repeat('v', 700)"
        " FROM generate_series(1, 20000) i;"
    )
    monkeypatch.setattr(cuts, "SAMPLED_BLOCKS", 200)
    async with opened(dsn) as (reader, found):
        extract = found["big"].extract
        assert found["big"].estimate is None
        ranges = await cut(reader, extract, None, 1000)
        sizes = await check(reader, extract, ranges)
        assert 12 <= len(sizes) <= 28
        assert max(sizes) <= 2 * 1000
        plan = await reader.fetch(
            "EXPLAIN (ANALYZE, FORMAT TEXT, TIMING OFF, BUFFERS OFF) " + extract.cut_sql(10.0),
            1000.0,
            2000,
            1.0,
        )
        text = "\n".join(line[0] for line in plan)
        assert "Sample Scan" in text
        assert "Index" not in text


async def test_never_more_ranges_than_asked_for(make_database: MakeDatabase) -> None:
    """The ranges grow instead."""
    dsn = make_database(_table("plain", "int|i") + _table("empty", "int|i") + "DELETE FROM empty;")
    async with opened(dsn) as (reader, found):
        plain = found["plain"].extract
        ranges = await cut(reader, plain, None, 10, most=7)
        sizes = await check(reader, plain, ranges)
        assert len(sizes) == 7
        assert max(sizes) - min(sizes) <= 1
        assert await cut(reader, found["empty"].extract, 0, 10) == [(None, None)]
        assert await cut(reader, plain, None, ROWS) == [(None, None)]


async def test_rows_that_come_later_are_in_a_range(make_database: MakeDatabase) -> None:
    """Before the first key, between two and after the last."""
    dsn = make_database(_table("plain", "int|i * 10"))
    async with opened(dsn) as (reader, found):
        ranges = await cut(reader, found["plain"].extract, None, 100)
    await _run(dsn, "INSERT INTO plain VALUES (-5), (1003), (9999999)")
    async with opened(dsn) as (reader, found):
        assert sum(await check(reader, found["plain"].extract, ranges)) == ROWS + 3


async def test_a_table_without_a_key_is_cut_by_blocks_of_its_leaves(
    make_database: MakeDatabase,
) -> None:
    """The last range of each leaf is open; together they hold each row once."""
    dsn = make_database(
        "CREATE TABLE log (day int, v text) PARTITION BY RANGE (day);"
        'CREATE TABLE "l 1" PARTITION OF log FOR VALUES FROM (0) TO (10);'
        "CREATE TABLE l2 PARTITION OF log FOR VALUES FROM (10) TO (20);"
        "INSERT INTO log SELECT 3, repeat('v', 300) FROM generate_series(1, 1000);"
    )
    async with opened(dsn) as (reader, found):
        extract = found["log"].extract
        ranges = await cut(reader, extract, 1000, 100)
        read = Counter[object]()
        for low, high in ranges:
            assert low is not None
            assert high is not None
            sql = extract.block_sql(TableName(*low[:2]))
            rows = await reader.fetch(sql, (int(low[2]), 0), (int(high[2]), 0))
            read.update(row[0 : extract.fingerprint_at] for row in rows)
        assert read.total() == 1000
        assert set(read.values()) == {1}
        ends = [(high[1], int(high[2])) for _, high in ranges if high is not None]
        assert [end for end in ends if end[1] == LAST_BLOCK] == [
            ("l 1", LAST_BLOCK),
            ("l2", LAST_BLOCK),
        ]
        assert 9 <= len(ranges) <= 13
        assert len(await cut(reader, extract, 1000, 1, most=3)) <= 5


async def test_a_view_is_one_range(make_database: MakeDatabase) -> None:
    """It has no order of its own; its digest tells whether it changed."""
    dsn = make_database(_table("plain", "int|i") + "CREATE VIEW seen AS SELECT * FROM plain")
    seen = NodeRule("Seen", TableName("public", "seen"), (), (Property("v", "v", "STRING"),))
    async with opened(dsn, extra=seen) as (reader, found):
        extract = found["seen"].extract
        assert extract.reading == "stream"
        assert await cut(reader, extract, None, 10) == [(None, None)]
        rows = await reader.fetch(extract.stream_sql)
        digest = await reader.fetch(extract.digest_sql())
        assert tuple(digest[0]) == (ROWS, extract.digest(rows))


async def test_a_digest_changes_with_what_becomes_of_a_row(make_database: MakeDatabase) -> None:
    """Also where only its label changes, or whether it can be carried."""
    dsn = make_database(
        "CREATE TABLE people (id int PRIMARY KEY, born date, kind text);"
        "INSERT INTO people VALUES (1, '2001-02-03', 'x'), (2, 'infinity', 'y'), (3, NULL, NULL)"
    )
    by = LabelBy("kind", (("x", "X"), ("y", "Y")))

    async def digest() -> tuple[int, ...]:
        async with opened(dsn, by) as (reader, found):
            extract = found["people"].extract
            rows = await reader.fetch(extract.chunk_sql(False, False))
            counted = await reader.fetch(extract.digest_sql())
            assert tuple(counted[0]) == (len(rows), extract.digest(rows))
            halves = extract.digest(rows[:1]) + extract.digest(rows[1:])
            assert extract.digest(rows) == halves % 2**63
            return tuple(counted[0])

    seen = [await digest()]
    for change in (
        "UPDATE people SET kind = CASE id WHEN 1 THEN 'y' ELSE 'x' END WHERE id < 3",
        "UPDATE people SET born = NULL WHERE id = 2",
        "UPDATE people SET born = '-infinity' WHERE id = 2",
        "DELETE FROM people WHERE id = 3",
    ):
        await _run(dsn, change)
        seen.append(await digest())
    assert len(set(seen)) == len(seen)


async def test_the_row_at_a_cursor_is_found_again(make_database: MakeDatabase) -> None:
    """Each row by the text of its key."""
    spec = _KEYS["timestamptz"]
    async with opened(make_database(_table("plain", spec))) as (reader, found):
        entity = found["plain"]
        for row in (await reader.fetch(entity.extract.chunk_sql(False, False)))[::100]:
            again = await reader.fetch(entity.extract.row_sql(), *entity.cursor(row))
            assert [tuple(one) for one in again] == [tuple(row)]


async def _run(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
