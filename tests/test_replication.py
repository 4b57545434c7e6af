"""A graph that follows its source: whatever changes there is in the graph, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from geode_tui.catalog import Catalog, TableName
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import (
    Endpoint,
    Join,
    LabelBy,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
)
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication import apply
from geode_tui.migration.replication.drop import drop_capture
from geode_tui.migration.replication.state import SyncSnapshot
from geode_tui.migration.replication.sync_engine import sync_request
from geode_tui.migration.rollback import roll_back, rollback_goal
from geode_tui.migration.runner import Runner, RunRequest
from tests.conftest import MakeDatabase, run_now
from tests.geode_loopback import Loopback, User
from tests.graph_dump import Dump, differences, dump_open
from tests.migrate import read_catalog
from tests.targets import GRPC, Targets, database, loopback, targets

__all__ = ["loopback", "targets"]

NAMED_SECONDS = 10.0
"""Whatever goes wrong is named within so long."""
PATIENCE = 60.0
OWN = ("_run", "_step", "_row")
HOSTILE = "we\"[/ird]' `t`"
QUOTED = '"' + HOSTILE.replace('"', '""') + '"'

SQL = f"""
CREATE TABLE country (code text PRIMARY KEY, name text);
INSERT INTO country VALUES ('de', 'Germany'), ('fr', 'France'), ('it', 'Italy');
CREATE TABLE person (id int PRIMARY KEY, name text, country text REFERENCES country
  ON UPDATE CASCADE, boss int REFERENCES person
  ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO person SELECT i, 'p' || i, (ARRAY['de', 'fr', NULL])[1 + i % 3],
  CASE WHEN i > 5 THEN 1 + i % 5 END FROM generate_series(1, 40) i;
CREATE TABLE account (id int PRIMARY KEY, login text NOT NULL UNIQUE, kind text);
INSERT INTO account SELECT i, 'login' || i, (ARRAY['a', 'g', 'x'])[1 + i % 3]
FROM generate_series(1, 12) i;
CREATE TABLE visit (id int PRIMARY KEY, account int NOT NULL REFERENCES account ON DELETE CASCADE);
INSERT INTO visit SELECT i, 1 + i % 12 FROM generate_series(1, 30) i;
CREATE TABLE product (id int PRIMARY KEY, name text, hidden boolean NOT NULL DEFAULT false);
INSERT INTO product SELECT i, 'x' || i, i % 5 = 0 FROM generate_series(1, 20) i;
CREATE TABLE sale (person int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE,
  product int REFERENCES product ON DELETE CASCADE, qty int, PRIMARY KEY (person, product));
INSERT INTO sale SELECT i, 1 + i % 20, i FROM generate_series(1, 40) i;
CREATE TABLE note (id int PRIMARY KEY, about int, body text);
ALTER TABLE note ALTER body SET STORAGE EXTERNAL;
INSERT INTO note SELECT i, i * 2, repeat('b' || i, 3000) FROM generate_series(1, 25) i;
CREATE TABLE reading (id int PRIMARY KEY, day date);
INSERT INTO reading SELECT i, CASE WHEN i = 3 THEN 'infinity' ELSE date '2024-01-01' + i END
FROM generate_series(1, 10) i;
CREATE TABLE follows (id int PRIMARY KEY,
  one int NOT NULL REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE,
  other int NOT NULL REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO follows SELECT i, i, 1 + i FROM generate_series(1, 15) i;
CREATE TABLE part (region text, id int, what text, PRIMARY KEY (region, id))
  PARTITION BY LIST (region);
CREATE TABLE part_n PARTITION OF part FOR VALUES IN ('n');
CREATE TABLE part_s PARTITION OF part FOR VALUES IN ('s');
INSERT INTO part SELECT (ARRAY['n', 's'])[1 + i % 2], i, 'w' FROM generate_series(1, 20) i;
CREATE TABLE setting (name text PRIMARY KEY, value text);
INSERT INTO setting SELECT 's' || i, 'v' FROM generate_series(1, 9) i;
CREATE TABLE loose (word text, n int);
ALTER TABLE loose REPLICA IDENTITY FULL;
INSERT INTO loose SELECT 'w' || i, i FROM generate_series(1, 8) i;
CREATE TABLE {QUOTED} ({QUOTED} text PRIMARY KEY, person int
  REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO {QUOTED} VALUES ('a''"[/b]', 1), ('🦀', 2);
"""

CHANGES = (
    "INSERT INTO person VALUES (100, 'new', 'de', 1), (101, 'newer', NULL, 100)",
    "UPDATE person SET name = name || '!' WHERE id % 7 = 0",
    "UPDATE person SET id = id + 1000 WHERE id IN (12, 13)",
    "UPDATE person SET boss = 2 WHERE id = 9; UPDATE person SET boss = NULL WHERE id = 10",
    "DELETE FROM person WHERE id IN (3, 20)",
    "UPDATE country SET name = 'Deutschland' WHERE code = 'de'",
    "UPDATE country SET code = 'fx' WHERE code = 'fr'",
    # Two accounts exchange what their nodes are known by; visits point at them by number.
    "BEGIN; UPDATE account SET login = 'none' WHERE id = 1; UPDATE account SET login = 'login1'"
    " WHERE id = 2; UPDATE account SET login = 'login2' WHERE id = 1; COMMIT",
    "UPDATE account SET login = 'renamed' WHERE id = 5",
    "UPDATE account SET kind = 'a' WHERE id IN (6, 7); UPDATE account SET kind = NULL WHERE id = 8",
    "DELETE FROM account WHERE id = 9",
    "UPDATE visit SET account = 10 WHERE id < 6",
    "UPDATE product SET hidden = NOT hidden WHERE id IN (5, 6, 7)",
    "UPDATE sale SET product = 19 WHERE person = 4; UPDATE sale SET qty = 0 WHERE person = 5",
    "DELETE FROM sale WHERE person = 6; INSERT INTO sale VALUES (6, 20, 1), (7, 12, 2)",
    # A note may be about somebody who comes later, or goes first: no key holds it.
    "INSERT INTO person VALUES (42, 'late', NULL, NULL), (44, 'later', 'it', 42)",
    "UPDATE note SET about = 99 WHERE id = 4; UPDATE note SET body = 'short' WHERE id = 5",
    "UPDATE note SET about = 7 WHERE id = 6",
    "UPDATE reading SET day = 'infinity' WHERE id = 7; UPDATE reading SET day = NULL WHERE id = 3",
    "UPDATE follows SET other = 8 WHERE id = 2; DELETE FROM follows WHERE id = 5",
    "UPDATE part SET region = 'n' WHERE id = 4; UPDATE part SET what = 'z' WHERE id = 5",
    "TRUNCATE setting; INSERT INTO setting VALUES ('s1', 'anew'), ('s99', 'v')",
    "UPDATE loose SET word = 'other' WHERE n = 3; DELETE FROM loose WHERE n = 5",
    "INSERT INTO loose VALUES ('w1', 1), ('w1', 1)",
    f"UPDATE {QUOTED} SET {QUOTED} = 'now `x`', person = 4 WHERE person = 1",
    "BEGIN; DELETE FROM reading WHERE id = 1; ROLLBACK",
    "DELETE FROM reading WHERE id = 2; INSERT INTO reading VALUES (2, '2025-01-01')",
)


def mapping_of(catalog: Catalog) -> Mapping:
    """What `infer` gives, and one of each kind of rule whose things depend on other rows."""
    mapping = infer(catalog)
    nodes = tuple(_with_more(rule) for rule in mapping.nodes)
    note = next(rule for rule in nodes if rule.table.name == "note")
    person = next(rule for rule in nodes if rule.table.name == "person")
    about = RelationshipRule(
        "ABOUT",
        note.table,
        Endpoint(note.id, ("id",), ("id",)),
        Endpoint(person.id, ("about",), ("id",)),
    )
    return replace(mapping, nodes=nodes, relationships=(*mapping.relationships, about))


def _with_more(rule: NodeRule) -> NodeRule:
    if rule.table.name == "person":
        country = TableName("public", "country")
        lookup = Property("countryName", "name", "STRING", join="country")
        join = Join("country", country, ("country",), ("code",))
        return replace(rule, properties=(*rule.properties, lookup), joins=(join,))
    if rule.table.name == "account":
        labels = LabelBy("kind", (("a", "Admin"), ("g", "Guest")))
        return replace(rule, key=("login",), labels_by=labels)
    if rule.table.name == "product":
        shown = Property("shown", "", "STRING", expression="upper(name)")
        return replace(rule, where="NOT hidden", properties=(*rule.properties, shown))
    return rule


@dataclass
class Follow:
    """A database and a graph that follows it."""

    dsn: str
    place: str
    folder: Path
    way: str = "slot"
    number: int = 1
    mapping: Mapping = field(init=False)

    def __post_init__(self) -> None:
        self.mapping = mapping_of(read_catalog(self.dsn))
        self.journal = Journal(self.folder / "journal.sqlite3")

    def move(self) -> None:
        request = RunRequest(
            self.dsn, self.place, self.mapping, strategy="zero-downtime", capture=self.way
        )
        runner = self._driven(Runner(request, journal=self.journal.store.path))
        assert runner.ledger is not None
        assert runner.ledger.valid, [e for e in runner.ledger.entries if not e.balanced]

    def change(self, *statements: str) -> None:
        run_now(_execute(self.dsn, statements))

    def sync(self, heal: bool = False) -> None:
        """Follow until the graph has caught up."""
        self._driven(self._runner(once=True, heal=heal))

    def _runner(self, once: bool = False, heal: bool = False) -> Runner:
        record = self.journal.run(self.number)
        request = sync_request(record, self.journal, once=once, heal=heal)
        return Runner(request, journal=self.journal.store.path)

    def _driven(self, runner: Runner) -> Runner:
        runner.start()
        runner.join(PATIENCE)
        assert runner.finished
        if runner.error is not None:
            raise runner.error
        return runner

    @contextlib.contextmanager
    def following(self) -> Iterator[Runner]:
        """While a process follows."""
        runner = self._runner()
        runner.start()
        try:
            self.until(lambda told: told.state == "in step")
            yield runner
        finally:
            runner.stop()
            runner.join(PATIENCE)

    def until(
        self, wanted: Callable[[SyncSnapshot], bool], seconds: float = PATIENCE
    ) -> SyncSnapshot:
        """What is told, as soon as it is as wanted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            told = self.journal.captures.sync(self.number)
            if told is not None and wanted(told):
                return told
            time.sleep(0.05)
        raise AssertionError(f"not told within {seconds:g} s; last: {told}")

    def applied(self) -> None:
        """Wait until the graph is at a snapshot of after now."""
        now = time.time()
        self.until(lambda told: (told.fence_at or 0) > now and told.state == "in step")

    def letters(self) -> set[tuple[str, str, str]]:
        found = self.journal.dead_letters.of(self.number, 1_000)
        return {(one.entity, one.key, one.error_class) for one in found}


def anew(follow: Follow, place: str, folder: Path) -> tuple[set[tuple[str, str, str]], Journal]:
    """Migrate the source as it is now into another graph; the dead letters of that."""
    journal = Journal(folder / "anew.sqlite3")
    runner = Runner(RunRequest(follow.dsn, place, follow.mapping), journal=journal.store.path)
    runner.start()
    runner.join(PATIENCE)
    assert runner.error is None
    assert runner.run_number is not None
    letters = journal.dead_letters.of(runner.run_number, 1_000)
    return {(one.entity, one.key, one.error_class) for one in letters}, journal


def assert_same(follow: Follow, made: Targets) -> None:
    """The graph, and what is left out of it, are those of a migration that begins now."""
    other = made.place()
    letters, journal = anew(follow, other, follow.folder)
    journal.close()
    one, two = (_moved(database(made.open(place))) for place in (follow.place, other))
    assert one == two, "\n".join(differences(one, two))
    assert follow.letters() == letters
    made.close()


def _moved(graph: Any) -> Dump:
    """What a graph holds of the source: not which mapping it says it holds, since when."""
    found = dump_open(graph, OWN)
    nodes = {node: n for node, n in found.nodes.items() if not node[0][0].startswith("_")}
    return found._replace(nodes=Counter(nodes))


async def _execute(dsn: str, statements: tuple[str, ...]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def follow(make_database: MakeDatabase, tmp_path: Path) -> Iterator[Follow]:
    """A graph in a file that follows a database by a slot; moved already."""
    made = Follow(make_database(SQL), str(tmp_path / "graph.grafeo"), tmp_path)
    made.move()
    yield made
    with contextlib.suppress(GeodeTuiError):
        drop_capture(made.journal, made.number)


@pytest.fixture
def files(tmp_path: Path, loopback: Loopback) -> Iterator[Targets]:
    """Graphs in files."""
    made = Targets("embedded", tmp_path, loopback)
    yield made
    made.close()


# --- what changes is in the graph


@pytest.mark.parametrize(
    ("targets", "way"),
    [("embedded", "slot"), ("embedded", "outbox"), ("grpc", "slot"), ("quic", "outbox")],
    indirect=["targets"],
)
def test_every_kind_of_change_arrives_in_every_kind_of_graph(
    make_database: MakeDatabase, tmp_path: Path, targets: Targets, way: str
) -> None:
    """All at once, and then what is left over goes: nothing is lost, doubled or stale."""
    follow = Follow(make_database(SQL), targets.place(), tmp_path, way)
    follow.move()
    follow.change(*CHANGES)
    follow.sync()
    assert_same(follow, targets)
    follow.change("DELETE FROM follows", "DELETE FROM sale", "UPDATE note SET about = id")
    follow.sync()
    assert_same(follow, targets)
    drop_capture(follow.journal, 1)


def test_one_change_at_a_time_is_the_same_as_all_at_once(follow: Follow, files: Targets) -> None:
    """Each change is followed by itself, whatever came before it."""
    with follow.following():
        for statement in CHANGES:
            follow.change(statement)
            follow.applied()
    assert_same(follow, files)


def test_changes_beyond_what_memory_holds_are_read_in_lists(
    follow: Follow, files: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of many rows, with pages and memory that hold only a few of them."""
    monkeypatch.setattr(apply, "REMEMBERED", 10)
    monkeypatch.setattr(apply, "PAGE", 7)
    follow.change(
        "INSERT INTO person SELECT i, 'many', 'it', 1 FROM generate_series(2000, 6000) i",
        *CHANGES,
        "UPDATE person SET id = -id WHERE id % 3 = 0 AND id > 150",
    )
    follow.sync()
    assert_same(follow, files)


def test_rows_without_a_key_by_a_slot_need_their_whole_row(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A table that would stop the application's own writes is refused, or triggers are taken."""
    dsn = make_database(SQL + "ALTER TABLE loose REPLICA IDENTITY DEFAULT;")
    by_slot = Follow(dsn, str(tmp_path / "g.grafeo"), tmp_path, "slot")
    with pytest.raises(UsageError, match="loose"):
        by_slot.move()
    auto = Follow(dsn, str(tmp_path / "h.grafeo"), tmp_path, "auto", 2)
    auto.move()
    capture = auto.journal.captures.of(2)
    assert capture is not None
    assert capture.way == "outbox"
    drop_capture(auto.journal, 2)


# --- what goes wrong is named, and mended


def test_a_dropped_slot_is_named_and_healed(
    follow: Follow, files: Targets, postgres: EmbeddedPostgres
) -> None:
    """What it would have told is found again by comparing everything once."""
    name = follow.journal.captures.of(1)
    assert name is not None
    with follow.following() as runner:
        run_now(_execute(follow.dsn, (f"SELECT pg_drop_replication_slot('{name.name}')",)))
        told = follow.until(lambda told: told.state == "failed", NAMED_SECONDS)
        assert name.name in told.reason
        assert any("--heal" in alarm.next_step for alarm in told.alarms), told.alarms
        runner.join(PATIENCE)
        assert isinstance(runner.error, GeodeTuiError)
    follow.change(*CHANGES)
    with pytest.raises(GeodeTuiError, match=name.name):
        follow.sync()
    follow.sync(heal=True)
    assert_same(follow, files)
    follow.change("DELETE FROM person WHERE id = 7")
    follow.sync()
    assert_same(follow, files)


def test_a_source_that_restarts_is_waited_for(tmp_path: Path, files: Targets) -> None:
    """It is named while it is away, and followed again when it is back, by itself."""
    with EmbeddedPostgres(tmp_path / "server") as server:
        run_now(_execute(server.dsn(), (SQL,)))
        link = tmp_path / "s"
        dsn = _show_socket(server, link)
        follow = Follow(dsn, files.place(), tmp_path)
        follow.move()
        with follow.following():
            server.stop()
            told = follow.until(lambda told: told.state == "waiting", NAMED_SECONDS)
            assert "connect" in told.reason or "connection" in told.reason
            assert [alarm.code for alarm in told.alarms] == ["away"]
            server.start()
            _show_socket(server, link)
            follow.change(*CHANGES)
            follow.applied()
        assert_same(follow, files)


def _show_socket(server: EmbeddedPostgres, link: Path) -> str:
    """A DSN that stays the same when the server restarts."""
    link.unlink(missing_ok=True)
    link.symlink_to(parse_qs(urlsplit(server.dsn()).query)["host"][0])
    return f"postgresql://postgres@/postgres?host={quote(str(link), safe='/')}&port=5432"


def test_a_target_that_is_away_is_waited_for(make_database: MakeDatabase, tmp_path: Path) -> None:
    """What comes meanwhile is kept on disk, and the slot moves on."""
    graph_file = tmp_path / "server.grafeo"
    with Loopback(users={"geode": User("pw")}, graph_file=graph_file) as server:
        place = server.dsn(GRPC, graph="default")
        follow = Follow(make_database(SQL), place, tmp_path)
        follow.move()
        with follow.following():
            server.stop()
            follow.change(*CHANGES)
            told = follow.until(lambda told: told.state == "waiting", NAMED_SECONDS)
            assert "127.0.0.1" in told.reason or "connection" in told.reason, told.reason
            server.start()
            follow.applied()
        other = server.dsn(GRPC, graph="other")
        letters, journal = anew(follow, other, tmp_path)
        journal.close()
        one, two = (_moved(server.graph(name)) for name in ("default", "other"))
        assert one == two, "\n".join(differences(one, two))
        assert follow.letters() == letters
        drop_capture(follow.journal, 1)


def test_a_full_budget_is_named_and_a_slot_that_is_lost_by_it_is_healed(
    tmp_path: Path, files: Targets
) -> None:
    """First how full it is, then that the slot is lost, then what to do."""
    settings = {"max_slot_wal_keep_size": "32MB", "min_wal_size": "32MB", "max_wal_size": "64MB"}
    with EmbeddedPostgres(tmp_path / "server", settings=settings) as server:
        run_now(_execute(server.dsn(), (SQL, "CREATE TABLE noise (x text)")))
        follow = Follow(server.dsn(), files.place(), tmp_path)
        follow.mapping = _without(follow.mapping, "noise")
        follow.move()
        with follow.following(), _open_transaction(server.dsn()):
            _fill(server.dsn(), 36)
            told = follow.until(
                lambda told: any(a.code in ("budget", "capture at risk") for a in told.alarms),
                NAMED_SECONDS,
            )
            assert told.budget_bytes is not None
        _fill(server.dsn(), 120)
        follow.change("CHECKPOINT", *CHANGES)
        with pytest.raises(GeodeTuiError, match="lost"):
            follow.sync()
        told = follow.until(lambda told: told.state == "failed", NAMED_SECONDS)
        assert any("--heal" in alarm.next_step for alarm in told.alarms)
        follow.sync(heal=True)
        assert_same(follow, files)


def _without(mapping: Mapping, table: str) -> Mapping:
    nodes = tuple(replace(r, include=False) if r.table.name == table else r for r in mapping.nodes)
    return replace(mapping, nodes=nodes)


@contextlib.contextmanager
def _open_transaction(dsn: str) -> Iterator[None]:
    """While a transaction that has written is open: no slot can let go of WAL before it."""
    ended, begun = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            await connection.execute("INSERT INTO noise VALUES ('open')")
            begun.set()
            await asyncio.to_thread(ended.wait)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()))
    thread.start()
    begun.wait(PATIENCE)
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fill(dsn: str, megabytes: int) -> None:
    sql = "INSERT INTO noise SELECT repeat(md5(i::text), 32) FROM generate_series(1, 1000) i"
    run_now(_execute(dsn, (sql,) * megabytes))


def test_columns_that_the_mapping_does_not_read_may_change(follow: Follow, files: Targets) -> None:
    """One that it reads may not: the graph stays as it was, and the table is named."""
    with follow.following() as runner:
        follow.change("ALTER TABLE person ADD extra int DEFAULT 3", *CHANGES)
        follow.applied()
        told = [event.message for event in follow.journal.events(1)]
        assert any("columns of public.person changed" in line for line in told)
        follow.change(
            "ALTER TABLE sale ALTER qty TYPE bigint USING qty * 10, ALTER person TYPE bigint",
            "UPDATE sale SET qty = 5 WHERE person = 8",
        )
        follow.applied()
        follow.change("ALTER TABLE person RENAME name TO full_name", "UPDATE person SET boss = 1")
        said = follow.until(lambda told: told.state == "failed", NAMED_SECONDS)
        runner.join(PATIENCE)
    assert "person" in said.reason
    follow.change("ALTER TABLE person RENAME full_name TO name")
    follow.sync()
    assert_same(follow, files)


def test_a_table_that_is_rewritten_is_read_again(follow: Follow, files: Targets) -> None:
    """A rewrite looks like an empty table to a snapshot that is older than it."""
    with follow.following():
        for number in range(8):
            follow.change(
                f"UPDATE person SET name = 'r{number}' WHERE id % 2 = {number % 2}",
                "ALTER TABLE person ADD extra int DEFAULT (random() * 9)::int",
                "ALTER TABLE person DROP extra",
            )
        follow.applied()
    follow.sync()
    assert_same(follow, files)


def test_another_database_is_not_followed(follow: Follow, make_database: MakeDatabase) -> None:
    """Not even one of the same name of tables: it says which one it was."""
    record = follow.journal.run(1)
    request = sync_request(record, follow.journal, source=make_database(SQL), once=True)
    with pytest.raises(UsageError, match="another database"):
        follow._driven(Runner(request, journal=follow.journal.store.path))


# --- and it can all be taken back


def test_a_run_that_followed_is_taken_back_as_a_whole(follow: Follow, files: Targets) -> None:
    """To a moment within it there is no way: what changes replaced is not kept."""
    follow.change(*CHANGES)
    follow.sync()
    with pytest.raises(UsageError, match="changes of the source were applied since"):
        rollback_goal(follow.journal, 1, "verify")
    assert roll_back(follow.journal, 1).balanced
    graph = files.open(follow.place)
    assert graph.query("MATCH (n) RETURN count(n) AS c")[0]["c"] == 0
    files.close()
    with pytest.raises(UsageError, match="rolled back"):
        follow.sync()


@pytest.mark.parametrize("way", ["slot", "outbox"])
def test_a_capture_that_is_dropped_leaves_nothing_on_the_source(
    make_database: MakeDatabase, tmp_path: Path, way: str
) -> None:
    """Neither slot nor publication, trigger nor schema; and the run says why it cannot follow."""
    dsn = make_database(SQL)
    before = run_now(_objects(dsn))
    follow = Follow(dsn, str(tmp_path / "g.grafeo"), tmp_path, way)
    follow.move()
    assert run_now(_objects(dsn)) != before
    assert way in drop_capture(follow.journal, 1)
    assert run_now(_objects(dsn)) == before
    with pytest.raises(UsageError, match="taken back"):
        follow.sync()


async def _objects(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT 'slot ' || slot_name FROM pg_replication_slots"
            " WHERE database = current_database() UNION ALL"
            " SELECT 'publication ' || pubname FROM pg_publication UNION ALL"
            " SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL"
            " SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"
        )
        return [row[0] for row in rows]
    finally:
        await connection.close()
