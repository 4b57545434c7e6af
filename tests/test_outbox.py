"""Changes captured by triggers: nothing lost, nothing twice, and nobody's writes disturbed."""

from __future__ import annotations

import asyncio
import csv
import io
import random
import time
from contextlib import aclosing, suppress

import asyncpg
import pytest

from geode_tui.catalog import TableName
from geode_tui.errors import BusyError, GeodeTuiError, SnapshotLostError, UsageError
from geode_tui.source.changes import Begin, Change, Columns, Commit, Event, Message
from geode_tui.source.introspect import Connection
from geode_tui.source.outbox import Outbox
from geode_tui.source.postgres import Source
from tests.conftest import MakeDatabase

HOSTILE = "a\"b%s\\'$f$ [/x] " + "é" * 20  # 57 bytes
T = TableName("public", "t")
OUTBOX = Outbox()


@pytest.fixture
def base(make_database: MakeDatabase) -> str:
    return make_database("CREATE TABLE t (id int PRIMARY KEY, v text)")


async def prepare(dsn: str, *tables: TableName) -> tuple[Connection, asyncpg.Connection, str]:
    """Our session, the application's, and a position right after set-up."""
    source = await Source.connect(dsn)
    ours = await source.session()
    await source.close()
    await OUTBOX.set_up(ours, tables or [T])
    return ours, await asyncpg.connect(dsn), await OUTBOX.fence(ours)


async def read(ours: Connection, since: str, rows: int = 100) -> tuple[list[Event], str]:
    events: list[Event] = []
    async with aclosing(OUTBOX.read(ours, since, rows)) as lists:
        async for some in lists:
            events += some
    last = events[-1]
    assert isinstance(last, Commit)
    return events, last.position


async def changes(ours: Connection, since: str) -> list[Change]:
    events, _ = await read(ours, since)
    return [event for event in events if isinstance(event, Change)]


def told(some: list[Change]) -> list[tuple[str, dict[str, str | None], dict[str, str | None]]]:
    return [(c.operation, dict(c.old), dict(c.new)) for c in some]


async def test_every_way_to_write_is_told_in_order(base: str) -> None:
    """INSERT, UPDATE (of the key too), DELETE, COPY, ON CONFLICT, TRUNCATE, and a replica's."""
    ours, app, since = await prepare(base)
    await app.execute("INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    await app.execute("UPDATE t SET id = 9, v = 'b' WHERE id = 1")
    await app.execute("INSERT INTO t VALUES (2, 'c') ON CONFLICT (id) DO UPDATE SET v = 'd'")
    await app.execute("INSERT INTO t VALUES (2, 'e') ON CONFLICT DO NOTHING")
    await app.copy_records_to_table("t", records=[(3, "k")])
    await app.execute("DELETE FROM t WHERE id = 9")
    await app.execute("SET session_replication_role = replica; UPDATE t SET v = 'r' WHERE id = 3")
    await app.execute("TRUNCATE t")
    assert told(await changes(ours, since)) == [
        ("insert", {}, {"id": "1", "v": "a"}),
        ("insert", {}, {"id": "2", "v": None}),
        ("update", {"id": "1", "v": "a"}, {"id": "9", "v": "b"}),
        ("update", {"id": "2", "v": None}, {"id": "2", "v": "d"}),
        ("insert", {}, {"id": "3", "v": "k"}),
        ("delete", {"id": "9", "v": "b"}, {}),
        ("update", {"id": "3", "v": "k"}, {"id": "3", "v": "r"}),
        ("truncate", {}, {}),
    ]
    keys = await app.fetch("SELECT record_id->>'id' FROM geode_tui.change_log ORDER BY seq")
    assert [key[0] for key in keys] == ["1", "2", "1", "2", "3", "9", "3", None]


async def test_only_what_was_committed_is_told_and_whole(base: str) -> None:
    """Savepoints that were rolled back are not there; each transaction has Begin and Commit."""
    ours, app, since = await prepare(base)
    async with app.transaction():
        await app.execute("INSERT INTO t VALUES (1, 'a')")
        with suppress(ZeroDivisionError):
            async with app.transaction():
                await app.execute("UPDATE t SET v = 'no'")
                raise ZeroDivisionError
        await app.execute("UPDATE t SET v = 'b'")
    await app.execute("DELETE FROM t")
    events, position = await read(ours, since, rows=1)
    kinds = [type(e) for e in events]
    pair = [Begin, Columns, Change, Change, Commit, Begin, Change, Commit]
    assert kinds == pair
    begin, commit = events[0], events[4]
    assert isinstance(begin, Begin)
    assert isinstance(commit, Commit)
    assert commit.position == since != position == begin.position
    assert [c.new.get("v") for c in events if isinstance(c, Change)] == ["a", "b", None]
    assert await read(ours, position) == ([Commit(0, position)], position)


_BOOLS = "SELECT id::text, left(v::text, 1) AS v FROM t"


async def test_a_trigger_that_writes_the_same_table_keeps_the_order_of_a_row(
    make_database: MakeDatabase,
) -> None:
    """Row triggers of the outer statement fire later than those of the inner: told is the truth."""
    dsn = make_database(
        "CREATE TABLE t (id int PRIMARY KEY, v bool);"
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
        " UPDATE t SET v = false WHERE id <> NEW.id AND v; RETURN NULL; END';"
        "CREATE TRIGGER only_one AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
    ours, app, since = await prepare(dsn)
    await app.execute("BEGIN; INSERT INTO t VALUES (1, true), (2, true), (3, true)")
    await app.execute("UPDATE t SET v = true WHERE id = 2; INSERT INTO t VALUES (4, false); COMMIT")
    rows: dict[str, str | None] = {}
    found = await changes(ours, since)
    for change in found:
        _apply(rows, change)
    assert [change.number for change in found] == list(range(1, len(found) + 1))
    assert rows == {
        r["id"]: r["v"] for r in await app.fetch("SELECT id::text, left(v::text, 1) AS v FROM t")
    }


async def test_a_cascade_on_the_same_table_keeps_the_order_of_a_row(
    make_database: MakeDatabase,
) -> None:
    """A row's changes come as they were made, though triggers of others ran in between."""
    dsn = make_database(
        "CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t ON UPDATE CASCADE);"
        "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)"
    )
    ours, app, since = await prepare(dsn)
    rows = {r["id"]: r["p"] for r in await app.fetch("SELECT id::text, p::text FROM t")}
    await app.execute("UPDATE t SET id = id + 100")
    for change in await changes(ours, since):
        assert rows.pop(change.old["id"]) == change.old["p"]
        rows[change.new["id"]] = change.new["p"]
    assert rows == {"101": None, "102": "101", "103": "102"}


async def test_deferred_constraints_and_cascades_are_told(make_database: MakeDatabase) -> None:
    dsn = make_database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, t int"
        " REFERENCES t ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)"
    )
    c = TableName("public", "c")
    ours, app, since = await prepare(dsn, T, c)
    await app.execute("BEGIN; INSERT INTO c VALUES (1, 1); INSERT INTO t VALUES (1); COMMIT")
    await app.execute("DELETE FROM t; INSERT INTO t VALUES (2); TRUNCATE t CASCADE")
    found = [(x.table.name, x.operation) for x in await changes(ours, since)]
    assert found == [
        *(("c", "insert"), ("t", "insert"), ("t", "delete"), ("c", "delete"), ("t", "insert")),
        *(("t", "truncate"), ("c", "truncate")),
    ]


async def test_partitions_are_told_under_their_table(make_database: MakeDatabase) -> None:
    """A row that moves is deleted and inserted; a partition emptied alone has its own name."""
    dsn = make_database(
        "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE t2 (v text, gone int, id int NOT NULL); ALTER TABLE t2 DROP gone;"
        "ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)"
    )
    ours, app, since = await prepare(dsn)
    await app.execute("INSERT INTO t VALUES (1, 'a'); UPDATE t SET id = 11; UPDATE t2 SET v = 'b'")
    await app.execute("TRUNCATE t2")
    found = await changes(ours, since)
    assert [(c.table.name, c.operation) for c in found[:-1]] == [
        *(("t", "insert"), ("t", "delete"), ("t", "insert"), ("t", "update")),
    ]
    assert found[3].new == {"id": "11", "v": "b"}
    assert (found[-1].table.name, found[-1].operation) == ("t2", "truncate")
    assert await OUTBOX.check(ours, [T]) == []
    await app.execute("CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (20) TO (30)")
    await app.execute("INSERT INTO t VALUES (21, 'c')")
    assert (await changes(ours, since))[-1].new == {"id": "21", "v": "c"}
    assert {d.kind for d in await OUTBOX.check(ours, [T])} == {"missing"}
    await OUTBOX.set_up(ours, [T])
    assert await OUTBOX.check(ours, [T]) == []


async def test_hostile_names_are_captured(make_database: MakeDatabase) -> None:
    q = '"' + HOSTILE.replace('"', '""') + '"'
    dsn = make_database(
        f'CREATE SCHEMA {q}; CREATE TABLE {q}.{q} ({q} int PRIMARY KEY, "{"x" * 63}" bool)'
    )
    table = TableName(HOSTILE, HOSTILE)
    ours, app, since = await prepare(dsn, table)
    await app.execute(f"INSERT INTO {q}.{q} VALUES (1, true)")
    (change,) = await changes(ours, since)
    assert (change.table, change.new) == (table, {HOSTILE: "1", "x" * 63: "t"})
    assert await OUTBOX.check(ours, [table]) == []
    await OUTBOX.tear_down(ours)


TYPED = """
CREATE TYPE e AS ENUM ('x y', 'z'); CREATE DOMAIN d AS bool; CREATE TYPE c AS (a int, b text);
CREATE TABLE t (id int PRIMARY KEY, a bool, b bytea, c timestamptz, d timestamp, e date, f time,
  g timetz, h interval, i float4, j float8, k numeric, l numeric(12, 4), m json, n jsonb,
  o inet, p cidr, q char(5), r "char", s int[], tt text[], u c, v e, w d, x money, z uuid,
  aa int4range, bb tstzmultirange, cc bit(3), dd point, ee regclass, ff name, gg tsvector,
  hh c[], ii bool[], jj macaddr, kk varchar, ll int GENERATED ALWAYS AS (id * 2) STORED);
"""
VALUES = [
    r"""1, true, '\x00ff', '2024-02-03 04:05:06.789+05', '0044-03-15 BC', 'infinity', '24:00',
  '01:02:03+04', '-1 year 2 days 03:04:05.6', '1.1', '1e-300', '1.500', '2', '{"b":1, "a":1,"a":2}',
  '{"b":1.00,"a":null}', '10.0.0.1', '10.0.0.0/8', 'ab', 'c', '[0:1]={1,NULL}', '{"a,b",NULL,"\""}',
  '(1,"a ""b\\")', 'x y', false, '1234.5', gen_random_uuid(), '[1,5)',
  '{[2024-01-01 00:00+02,2024-01-02)}', '101', '(1,2)', 'pg_class', 'nm', 'a:1 b',
  '{"(1,x)",NULL}', '{t,f,NULL}', '08:00:2b:01:02:03', 'é☃'""",
    "2, false, '', '-infinity', 'infinity', '-infinity', '00:00', '00:00+00', '0', 'NaN',"
    " 'Infinity', 'NaN', '-0.0001', 'null', 'null', '::1', '::/0', '', '', '{}', '{}', '(,)', 'z',"
    " NULL, '-1', NULL, 'empty', '{}', '000', '(NaN,Infinity)', '0', '', '', '{}', '{}', NULL, ''",
    "3" + ", NULL" * 36,
]


async def test_every_type_is_told_as_a_select_tells_it(make_database: MakeDatabase) -> None:
    """The text is the one of our sessions, whatever the settings of the writer are."""
    dsn = make_database(TYPED)
    ours, app, since = await prepare(dsn)
    await app.execute(
        "SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET intervalstyle = 'postgres';"
        "SET bytea_output = 'escape'; SET extra_float_digits = 0; SET search_path = public"
    )
    for values in VALUES:
        await app.execute(f"INSERT INTO t VALUES ({values})")
    names = [c["attname"] for c in await ours.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attnum > 0"
        " AND attgenerated = '' ORDER BY attnum"
    )]  # fmt: skip
    output = io.BytesIO()
    await ours.copy_from_table(
        "t", schema_name="public", columns=names, output=output, format="csv", null="NULL"
    )
    rows = list(csv.reader(io.StringIO(output.getvalue().decode(), newline="")))
    generated = await ours.fetch("SELECT id::text, ll::text FROM public.t ORDER BY id")
    expected = [
        {n: None if v == "NULL" else v for n, v in zip(names, row, strict=True)} for row in rows
    ]
    found = [dict(change.new) for change in await changes(ours, since)]
    assert [(row["id"], row.pop("ll")) for row in found] == [tuple(row) for row in generated]
    assert found == expected


async def test_an_application_needs_no_right_on_the_log(base: str) -> None:
    ours, app, since = await prepare(base)
    role = f"app_{time.time_ns()}"
    await app.execute(f"CREATE ROLE {role}; GRANT ALL ON t TO {role}; SET ROLE {role}")
    await app.execute("SET search_path = public; INSERT INTO t VALUES (1, 'a'); TRUNCATE t")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app.execute("SELECT FROM geode_tui.change_log")
    assert len(await changes(ours, since)) == 2
    needs = await OUTBOX.requirements(app, [T])
    unmet = {need.what: " ".join(need.sql) for need in needs if need.state != "met"}
    assert unmet == {
        "place for the log": f'GRANT CREATE ON SCHEMA "geode_tui" TO "{role}"',
        "ownership of public.t": f'GRANT "postgres" TO "{role}"',
    }
    await app.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")


async def _write(dsn: str, seed: int, until: float) -> None:
    app, chance = await asyncpg.connect(dsn), random.Random(seed)
    while time.monotonic() < until:
        key, text = chance.randrange(12), str(chance.random())
        with suppress(asyncpg.DeadlockDetectedError, asyncpg.UniqueViolationError):
            async with app.transaction():
                for _ in range(chance.randrange(1, 4)):
                    upsert = "ON CONFLICT (id) DO UPDATE SET v = excluded.v"
                    await app.execute(f"INSERT INTO t VALUES ($1, $2) {upsert}", key, text)
                    await asyncio.sleep(chance.random() / 12)
                    if chance.random() < 0.3:
                        await app.execute("DELETE FROM t WHERE id = $1", key)
                    key += chance.randrange(1, 4)
    await app.close()


def _apply(rows: dict[str, str | None], change: Change) -> None:
    """Apply strictly: what was there before must be what the change says."""
    if change.operation != "insert":
        assert rows.pop(str(change.old["id"])) == change.old["v"]
    if change.operation != "delete":
        assert str(change.new["id"]) not in rows
        rows[str(change.new["id"])] = change.new["v"]


async def test_nothing_is_lost_or_told_twice_beside_writers(base: str) -> None:
    """Set-up, snapshot and reading beside five writers give the table as it is in the end."""
    until = time.monotonic() + 4
    writers = [asyncio.create_task(_write(base, seed, until)) for seed in range(5)]
    await asyncio.sleep(0.3)
    ours, app, _ = await prepare(base)
    async with ours.transaction(isolation="repeatable_read", readonly=True):
        since = await OUTBOX.fence(ours)
        rows = {r["id"]: r["v"] for r in await ours.fetch("SELECT id::text, v FROM public.t")}
    numbers: dict[str, int] = {}
    told, done = 0, False
    while not done:
        done = all(writer.done() for writer in writers)
        events, since = await read(ours, since, rows=3)
        for change in (e for e in events if isinstance(e, Change)):
            _apply(rows, change)
            for key in {change.old.get("id"), change.new.get("id")} - {None}:
                assert change.number > numbers.get(str(key), 0)
                numbers[str(key)] = change.number
            told += 1
        if told % 5 == 0:
            await OUTBOX.clean_up(ours, since, rows=7)
        await asyncio.sleep(0.02)
    await asyncio.gather(*writers)
    assert rows == {r["id"]: r["v"] for r in await app.fetch("SELECT id::text, v FROM t")}
    assert told > 20
    await OUTBOX.clean_up(ours, since)
    assert (await OUTBOX.state(ours)).rows == 0


async def test_a_reader_that_was_killed_reads_the_same_again(base: str) -> None:
    ours, app, since = await prepare(base)
    await app.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 50) i")
    lists = OUTBOX.read(ours, since, 10)
    first = await anext(lists)
    await app.execute("SELECT pg_terminate_backend($1)", ours.get_server_pid())
    source = await Source.connect(base)
    again = await source.session()
    events, _ = await read(again, since, rows=10)
    seen = [e for e in first if isinstance(e, Change)]
    assert [e for e in events if isinstance(e, Change)][: len(seen)] == seen != []
    assert [e.number for e in events if isinstance(e, Change)] == list(range(1, 51))
    await source.close()


async def test_a_position_that_the_log_does_not_reach_is_refused(base: str) -> None:
    """Reading never skips silently: before set-up, after a clean-up, of another server."""
    source = await Source.connect(base)
    early = await OUTBOX.fence(await source.session())
    await source.close()
    ours, app, since = await prepare(base)
    await app.execute("INSERT INTO t VALUES (1, 'a')")
    _, position = await read(ours, since)
    assert await OUTBOX.clean_up(ours, position) == 1
    for lost in (early, since, "999999999:999999999:"):
        with pytest.raises(SnapshotLostError):
            await read(ours, lost)
    assert await read(ours, position)


async def test_a_message_comes_after_what_was_committed_before(base: str) -> None:
    ours, app, since = await prepare(base)
    await app.execute("INSERT INTO t VALUES (1, 'a')")
    await OUTBOX.send(ours, "cutover", 'tök"en')
    events, _ = await read(ours, since)
    assert [e for e in events if isinstance(e, Change | Message)][1:] == [
        Message("cutover", 'tök"en')
    ]


async def test_tear_down_leaves_nothing_of_ours_and_all_of_others(base: str) -> None:
    ours, app, _ = await prepare(base)
    await app.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER theirs AFTER INSERT ON t EXECUTE FUNCTION f()"
    )
    assert await OUTBOX.set_up_statements(ours, [T]) == []
    await OUTBOX.tear_down(ours)
    left = await app.fetch("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
    assert [row["tgname"] for row in left] == ["theirs"]
    assert await app.fetchval("SELECT to_regnamespace('geode_tui')") is None
    await OUTBOX.set_up(ours, [T])
    await app.execute("CREATE VIEW geode_tui.theirs AS SELECT 1 AS x")
    await OUTBOX.tear_down(ours)
    assert await app.fetchval("SELECT x FROM geode_tui.theirs") == 1
    assert await OUTBOX.tear_down_statements(ours) == []


@pytest.mark.parametrize(
    ("alteration", "insert", "expected"),
    [
        ("ADD w int", "(1, 'a', 5)", {"id": "1", "v": "a"}),
        ("DROP v", "(1)", {"id": "1"}),
        ('RENAME v TO "n, (""x"', "(1, 'a\\\" (')", {"id": "1", 'n, ("x': 'a\\" ('}),
        ("ALTER v TYPE bytea USING NULL", "(1, '\\x00')", {"id": "1", "v": "\\x00"}),
        ("RENAME id TO k", "(1, NULL)", {"k": "1", "v": None}),
    ],
)
async def test_a_table_that_was_altered_can_be_written_and_the_drift_is_told(
    base: str, alteration: str, insert: str, expected: dict[str, str | None]
) -> None:
    """An application's writes do not fail for our triggers, in old sessions and new ones."""
    ours, app, since = await prepare(base)
    await app.execute("INSERT INTO t VALUES (0, 'before')")  # the function's plans are cached
    await app.execute(f"ALTER TABLE t {alteration}")
    await app.execute(f"INSERT INTO t VALUES {insert}")
    new = await asyncpg.connect(base)
    await new.execute("DELETE FROM t")
    found = await changes(ours, since)
    assert dict(found[1].new) == expected == dict(found[3].old)
    assert "altered" in {d.kind for d in await OUTBOX.check(ours, [T])}
    if "id" in expected:
        await OUTBOX.set_up(ours, [T])
        assert await OUTBOX.check(ours, [T], since) == []


async def test_what_somebody_did_to_our_triggers_is_told(base: str) -> None:
    ours, app, since = await prepare(base)
    trigger = "!geode_tui_change"
    await app.execute(f'ALTER TABLE t DISABLE TRIGGER "{trigger}"')
    assert [d.kind for d in await OUTBOX.check(ours, [T])] == ["disabled"]
    await app.execute(f'ALTER TABLE t ENABLE ALWAYS TRIGGER "{trigger}"')
    assert await OUTBOX.check(ours, [T]) == []
    assert [d.kind for d in await OUTBOX.check(ours, [T], since)] == ["gap"]
    await app.execute(f'DROP TRIGGER "{trigger}" ON t')
    await app.execute(
        "CREATE OR REPLACE FUNCTION geode_tui.truncated() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NULL; END'"
    )
    oid = await app.fetchval("SELECT 't'::regclass::oid")
    await app.execute(f"ALTER FUNCTION geode_tui.capture_{oid}() RESET timezone")
    kinds = {d.kind for d in await OUTBOX.check(ours, [T])}
    assert kinds == {"missing", "changed"}
    changed = [d.table for d in await OUTBOX.check(ours, [T]) if d.kind == "changed"]
    assert changed == [None, T]
    await OUTBOX.set_up(ours, [T])
    position = await OUTBOX.fence(ours)
    assert await OUTBOX.check(ours, [T], position) == []
    assert [d.kind for d in await OUTBOX.check(ours, [T], since)] == ["gap"]


async def test_what_cannot_be_captured_is_refused(make_database: MakeDatabase) -> None:
    dsn = make_database("CREATE VIEW t AS SELECT 1 AS id")
    source = await Source.connect(dsn)
    ours = await source.session()
    needs = await OUTBOX.requirements(ours, [T])
    assert [n.what for n in needs if n.state != "met"] == ["kind of public.t"]
    with pytest.raises(UsageError):
        await OUTBOX.set_up(ours, [T])
    await source.close()


async def test_a_set_up_that_has_to_wait_changes_nothing(base: str) -> None:
    """An open writer holds the table: set-up gives up soon, and the next one goes through."""
    source, app = await Source.connect(base), await asyncpg.connect(base)
    ours = await source.session()
    async with app.transaction():
        await app.execute("INSERT INTO t VALUES (1, 'a')")
        with pytest.raises(BusyError):
            await OUTBOX.set_up(ours, [T], attempts=1)
    assert await app.fetchval("SELECT to_regnamespace('geode_tui')") is None
    await OUTBOX.set_up(ours, [T])
    assert await OUTBOX.check(ours, [T]) == []
    await source.close()


async def test_a_trigger_of_our_name_that_is_not_ours_is_left_alone(base: str) -> None:
    app = await asyncpg.connect(base)
    await app.execute(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        'CREATE TRIGGER "!geode_tui_change" AFTER INSERT ON t EXECUTE FUNCTION f()'
    )
    with pytest.raises(GeodeTuiError, match="already exists"):
        await OUTBOX.set_up(app, [T])
    assert await app.fetchval("SELECT count(*) FROM pg_trigger") == 1


async def test_the_state_names_the_oldest_writer(base: str) -> None:
    ours, app, _ = await prepare(base)
    async with app.transaction():
        await app.execute("SET application_name = 'nightly'; INSERT INTO t VALUES (1, 'a')")
        writer = (await OUTBOX.state(ours)).oldest_writer
        assert writer is not None
        assert (writer.pid, writer.application) == (app.get_server_pid(), "nightly")
    state = await OUTBOX.state(ours)
    assert (state.rows, state.oldest_writer) == (1, None)
