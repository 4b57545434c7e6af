"""The database that `benchmarks.faults` migrates: keys of many kinds, and changes to its rows."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, replace

import asyncpg

from geode_tui.catalog import Catalog
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, RelationshipRule

SQL = """
CREATE TABLE town (code text PRIMARY KEY, name text);
INSERT INTO town SELECT CASE i % 2 WHEN 0 THEN 't-' ELSE 'T_é' END || i, 'Town ' || i
FROM generate_series(1, 40) i;
CREATE TABLE person (id bigint PRIMARY KEY, name text, joined timestamptz,
  boss bigint REFERENCES person ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO person SELECT i * 10 + CASE WHEN i > 500 THEN 1000000 ELSE 0 END, 'P' || i,
  timestamptz '2024-01-01' + i * interval '1 minute'
FROM generate_series(1, 900) i;
UPDATE person SET boss = (id % 7 + 1) * 10 WHERE id % 3 <> 0;
CREATE TABLE item (id uuid PRIMARY KEY, price numeric(12, 3), tags text[],
  town text REFERENCES town ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO item SELECT md5(i::text)::uuid, i / 8.0, ARRAY['a', i::text],
  (SELECT code FROM town OFFSET i % 40 LIMIT 1)
FROM generate_series(1, 600) i;
CREATE TABLE likes (person bigint REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE,
  item uuid REFERENCES item ON DELETE CASCADE ON UPDATE CASCADE, stars int,
  PRIMARY KEY (person, item));
INSERT INTO likes SELECT (i % 500 + 1) * 10, md5((i % 599 + 1)::text)::uuid, i % 5
FROM generate_series(1, 1200) i ON CONFLICT DO NOTHING;
CREATE TABLE line (item uuid REFERENCES item ON DELETE CASCADE ON UPDATE CASCADE, no int,
  what text, PRIMARY KEY (item, no));
INSERT INTO line SELECT md5((i % 300 + 1)::text)::uuid, i / 300, 'w' || i
FROM generate_series(0, 799) i;
CREATE TABLE log (word text, at timestamptz);
INSERT INTO log SELECT 'l' || i % 90, timestamptz '2024-01-01' + i % 70 * interval '1 hour'
FROM generate_series(1, 400) i;
CREATE TABLE reading (id int PRIMARY KEY, day date);
INSERT INTO reading
SELECT i, CASE WHEN i % 40 = 0 THEN 'infinity' ELSE date '2024-01-01' + i END
FROM generate_series(1, 160) i;
CREATE TABLE doc (id int PRIMARY KEY, num text NOT NULL UNIQUE, body text);
INSERT INTO doc SELECT i, md5(i::text), 'b' || i FROM generate_series(1, 300) i;
CREATE TABLE note (id int PRIMARY KEY, text text, person bigint, town text);
INSERT INTO note SELECT i, 'n' || i, i * 10 + CASE i % 20 WHEN 0 THEN 3 ELSE 0 END,
  CASE WHEN i % 4 = 0 THEN 't-' || i % 60 END
FROM generate_series(1, 200) i;
ALTER TABLE note ADD FOREIGN KEY (person) REFERENCES person
  ON DELETE SET NULL ON UPDATE CASCADE NOT VALID;
CREATE TABLE part (region text, id int, what text, PRIMARY KEY (region, id))
  PARTITION BY LIST (region);
CREATE TABLE part_north PARTITION OF part FOR VALUES IN ('north');
CREATE TABLE part_south PARTITION OF part FOR VALUES IN ('south');
INSERT INTO part SELECT CASE i % 3 WHEN 0 THEN 'north' ELSE 'south' END, i, 'p' || i
FROM generate_series(1, 240) i;
ANALYZE;
"""

# `{r}` is a random number; each statement is a transaction.
CHANGES = (
    "UPDATE person SET name = name || '!' WHERE id / 10 % 23 = {r} % 23",
    "UPDATE person SET boss = (SELECT max(id) FROM person) WHERE id / 10 % 29 = {r} % 29",
    "UPDATE person SET id = id + 1 WHERE id / 10 % 97 = {r} % 97 AND id % 10 < 3",
    "INSERT INTO person SELECT 3000000 + {r} * 50 + i, 'new' FROM generate_series(1, 30) i"
    " ON CONFLICT DO NOTHING",
    "INSERT INTO person SELECT {r} % 4000 * 10 + 5, 'between' ON CONFLICT DO NOTHING",
    "DELETE FROM person WHERE id / 10 % 41 = {r} % 41",
    "DELETE FROM person",
    "INSERT INTO item SELECT gen_random_uuid(), 1.5, NULL, code FROM town WHERE length(code) < 6",
    "UPDATE item SET price = price + 1, tags = tags || ARRAY['c']"
    " WHERE get_byte(uuid_send(id), 0) % 31 = {r} % 31",
    "UPDATE item SET id = md5(id::text)::uuid WHERE get_byte(uuid_send(id), 1) % 61 = {r} % 61",
    "DELETE FROM item WHERE get_byte(uuid_send(id), 2) % 31 = {r} % 31",
    "UPDATE town SET code = code || 'x' WHERE name = 'Town ' || {r} % 40",
    "UPDATE likes SET stars = stars + 1 WHERE person / 10 % 37 = {r} % 37",
    "DELETE FROM likes WHERE person / 10 % 43 = {r} % 43",
    "INSERT INTO likes SELECT p.id, i.id, 9 FROM (SELECT id FROM person LIMIT 20 OFFSET {r} % 300)"
    " p, (SELECT id FROM item LIMIT 3 OFFSET {r} % 200) i ON CONFLICT DO NOTHING",
    "UPDATE line SET no = no + 100 WHERE get_byte(uuid_send(item), 0) % 31 = {r} % 31",
    "UPDATE log SET word = word || '!' WHERE ctid IN (SELECT ctid FROM log LIMIT 20"
    " OFFSET {r} % 300)",
    "INSERT INTO log SELECT word, at FROM log LIMIT 15",
    "DELETE FROM log WHERE ctid IN (SELECT ctid FROM log LIMIT 25 OFFSET {r} % 300)",
    "VACUUM FULL log",
    "UPDATE reading SET day = 'infinity' WHERE id % 31 = {r} % 31",
    "UPDATE reading SET day = '2025-05-05' WHERE day = 'infinity' AND id % 80 = 0",
    "UPDATE reading SET day = NULL WHERE day = 'infinity'",
    "UPDATE doc SET id = 10000 + id WHERE id % 17 = {r} % 17 AND id < 10000",
    "UPDATE doc SET id = -id WHERE id % 19 = {r} % 19",
    "UPDATE doc SET num = num || 'y' WHERE id % 23 = {r} % 23",
    "INSERT INTO person SELECT DISTINCT person, 'found' FROM note WHERE person % 10 = 3"
    " ON CONFLICT DO NOTHING",
    "UPDATE note SET text = text || '?' WHERE id % 13 = {r} % 13",
    "DELETE FROM note WHERE id % 19 = {r} % 19",
    "INSERT INTO town SELECT DISTINCT town, 'found' FROM note WHERE town IS NOT NULL"
    " ON CONFLICT DO NOTHING",
    "DELETE FROM town WHERE code = 't-' || {r} % 20 * 2",
    "UPDATE part SET region = CASE region WHEN 'north' THEN 'south' ELSE 'north' END"
    " WHERE id % 29 = {r} % 29",
    "UPDATE part SET what = what || '+' WHERE id % 17 = {r} % 17",
)


def mapping_of(catalog: Catalog) -> Mapping:
    """The mapping inferred; but documents are known by their number, and read along their id.

    And a note leads to its town, though no foreign key says so.
    """
    mapping = infer(catalog)
    nodes = [
        replace(rule, key=("num",)) if rule.table.name == "doc" else rule for rule in mapping.nodes
    ]
    note, town = (_node_of(mapping, name) for name in ("note", "town"))
    about = RelationshipRule(
        "ABOUT",
        note.table,
        Endpoint(note.id, ("id",), ("id",)),
        Endpoint(town.id, ("town",), ("code",)),
    )
    rules = (*mapping.relationships, about)
    return replace(mapping, nodes=tuple(nodes), relationships=rules)


def _node_of(mapping: Mapping, table: str) -> NodeRule:
    return next(rule for rule in mapping.nodes if rule.table.name == table)


async def change(dsn: str, rng: random.Random) -> int:
    """Change some rows in ways chosen by `rng`; returns a transaction after the last change."""
    chosen = rng.sample(CHANGES, rng.randint(1, 8))
    if rng.random() < 0.95:
        chosen = [sql for sql in chosen if sql != "DELETE FROM person"]
    statements = [sql.replace("{r}", str(rng.randrange(1000))) for sql in chosen]
    # A run that is broken and lives may hold a table against VACUUM FULL.
    connection = await asyncpg.connect(dsn, server_settings={"lock_timeout": "300ms"})
    refused = (asyncpg.UniqueViolationError, asyncpg.LockNotAvailableError)
    try:
        for statement in statements:
            with contextlib.suppress(*refused):
                await connection.execute(statement)
        return int(await connection.fetchval("SELECT pg_current_xact_id()::text"))
    finally:
        await connection.close()


@dataclass(frozen=True)
class Expected:
    """What cannot be carried over: readings on no day that is one, and notes that point at
    nobody or at no town, by their keys; a note may do both.
    """

    readings: frozenset[str]
    notes: tuple[str, ...]


async def expected(dsn: str) -> Expected:
    """What a right migration leaves out now."""
    connection = await asyncpg.connect(dsn)
    try:
        readings = await connection.fetch("SELECT id FROM reading WHERE NOT isfinite(day)")
        notes = await connection.fetch(
            "SELECT id FROM note n WHERE person IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM person p WHERE p.id = n.person) UNION ALL"
            " SELECT id FROM note n WHERE town IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM town t WHERE t.code = n.town)"
        )
    finally:
        await connection.close()
    return Expected(
        frozenset(f"id={row[0]}" for row in readings), tuple(f"id={row[0]}" for row in notes)
    )
