"""The snapshot is lost, rows have changed since: the graph ends as the last one shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from geode_tui.catalog import TableName
from geode_tui.errors import LostError
from geode_tui.mapping.file import save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, Property, RelationshipRule
from geode_tui.migration import postgres_origin, reconcile
from geode_tui.migration.chunks import Chunk, ChunkResult, Chunks
from geode_tui.migration.engine import Engine
from geode_tui.migration.journal import Journal
from geode_tui.migration.postgres_origin import PostgresFeed
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import NodeShape
from geode_tui.validation.entity import Entity
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import read_catalog

# Keys of several kinds; an optional and a self reference, one without a key behind it that was
# checked, n:m, a label by value, no key; a reference to a column that is not the table's key.
SHOP = """
CREATE TABLE city (id int PRIMARY KEY, code text NOT NULL UNIQUE, name text);
CREATE TABLE person (id int PRIMARY KEY, name text, boss int,
  city text REFERENCES city (code) ON UPDATE CASCADE ON DELETE SET NULL);
CREATE TABLE visit (person int NOT NULL REFERENCES person ON UPDATE CASCADE ON DELETE CASCADE,
  city int NOT NULL REFERENCES city ON DELETE CASCADE, day date, note text,
  PRIMARY KEY (person, city, day));
CREATE TABLE word (key text PRIMARY KEY, person int REFERENCES person ON UPDATE CASCADE
  ON DELETE SET NULL);
CREATE TABLE log (at int, what text);
INSERT INTO city SELECT n, 'c' || n, 'city ' || n FROM generate_series(1, 60) n;
INSERT INTO person SELECT n, 'person ' || n, n / 2, CASE WHEN n % 3 > 0 THEN 'c' || n % 40 + 1 END
  FROM generate_series(1, 400) n;
ALTER TABLE person ADD FOREIGN KEY (boss) REFERENCES person ON UPDATE CASCADE ON DELETE SET NULL
  NOT VALID;
INSERT INTO visit SELECT n, n % 40 + 1, date '2024-01-01' + n % 7, 'n' || n
  FROM generate_series(1, 300) n;
INSERT INTO word SELECT md5(n::text), n % 400 + 1 FROM generate_series(1, 300) n;
INSERT INTO log SELECT n % 50, 'event' FROM generate_series(1, 200) n;
DELETE FROM log WHERE at % 7 = 0;
ANALYZE;
"""
CHANGES = {
    "rows are added": """
        INSERT INTO city VALUES (0, 'c0', 'new'), (1000, 'c1000', 'new');
        INSERT INTO person VALUES (0, 'nobody', NULL, 'c0'), (5000, 'new', 1, 'c1000');
        INSERT INTO visit VALUES (0, 0, '2025-01-01', 'x'), (5000, 1, '2025-01-01', 'y');
        INSERT INTO word VALUES ('', 0), ('zzz', 5000); INSERT INTO log VALUES (99, 'late')""",
    "rows are changed": """
        UPDATE person SET name = name || ' *' WHERE id % 7 = 0;
        UPDATE visit SET note = NULL WHERE person % 11 = 0;
        UPDATE log SET what = 'other' WHERE at = 3""",
    "rows are removed": """
        DELETE FROM person WHERE id % 13 = 0; DELETE FROM log WHERE at % 5 = 0;
        DELETE FROM city WHERE id > 50""",
    "references are moved": """
        UPDATE person SET city = 'c50', boss = 1 WHERE id % 5 = 0;
        UPDATE person SET city = NULL WHERE id % 17 = 0;
        UPDATE word SET person = 7 WHERE person % 3 = 0""",
    "keys are changed": """
        UPDATE person SET id = id + 3000 WHERE id % 19 = 0;
        UPDATE city SET code = 'd' || id WHERE id BETWEEN 45 AND 60;
        UPDATE word SET key = reverse(key) WHERE key < '8'""",
    "keys are exchanged": """
        UPDATE word SET key = 'x' || key; ALTER TABLE city DROP CONSTRAINT city_code_key CASCADE;
        UPDATE city SET code = 'c' || (61 - id);
        ALTER TABLE city ADD CONSTRAINT city_code_key UNIQUE (code);
        ALTER TABLE person ADD FOREIGN KEY (city) REFERENCES city (code)""",
    "an end comes that was missing": """
        INSERT INTO person SELECT 0, 'the boss of all', NULL, NULL""",
    "ends go, and what points at them stays": """
        ALTER TABLE word DROP CONSTRAINT word_person_fkey;
        ALTER TABLE visit DROP CONSTRAINT visit_person_fkey;
        ALTER TABLE person DROP CONSTRAINT person_boss_fkey;
        DELETE FROM person WHERE id % 13 = 0""",
    "rows without a key have other places": "VACUUM FULL log",
    "rows without a key go to others' places": """
        UPDATE log SET what = what WHERE at % 2 = 0""",
    "everything is removed": "TRUNCATE city, person, visit, word, log",
}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


@pytest.fixture
def dsn(make_database: MakeDatabase) -> Iterator[str]:
    """A shop of which a run is to be interrupted."""
    return make_database(SHOP)  # type: ignore[return-value]


def _begin(dsn: str, folder: Path, chunks: int, mapping: Mapping | None = None) -> Runner:
    """A run that stops after some chunks."""
    mapping = mapping or infer(read_catalog(dsn))
    save(mapping, folder / "mapping.yaml")
    request = RunRequest(dsn, str(folder / "graph.grafeo"), mapping)
    runner = Runner(request, journal=folder / "journal.sqlite3")
    finish, left = Chunks.finish, [chunks]

    def counting(self: Chunks, run: int, chunk: Chunk, result: ChunkResult) -> None:
        finish(self, run, chunk, result)
        left[0] -= 1
        if left[0] <= 0:
            runner.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", counting)
        runner.start()
        runner.join()
    return runner


def _resume(folder: Path) -> Runner:
    runner = Runner(resume=1, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    return runner


def _assert_whole(dsn: str, folder: Path, runner: Runner) -> None:
    assert runner.error is None, runner.error
    assert runner.ledger is not None
    wrong = [(entry.id, entry.verdict) for entry in runner.ledger.entries if not entry.balanced]
    assert wrong == []
    found = run_now(compare(dsn, folder / "graph.grafeo", None, folder / "mapping.yaml"))
    assert found.equal, found.verdict
    journal = Journal(folder / "journal.sqlite3")
    assert journal.audit.broken_at() is None
    journal.close()


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_resumed_after_changes_ends_as_the_source_is_now(
    change: str, dsn: str, tmp_path: Path
) -> None:
    """Nearly all was copied when it stopped; what was copied is brought up to date."""
    _begin(dsn, tmp_path, 36)
    execute(dsn, CHANGES[change])
    _assert_whole(dsn, tmp_path, _resume(tmp_path))


def test_changes_between_many_stops_are_all_found(dsn: str, tmp_path: Path) -> None:
    """Early and late, each change before the next resume."""
    _begin(dsn, tmp_path, 3)
    for change in ("rows are added", "references are moved", "rows are changed"):
        execute(dsn, CHANGES[change])
        runner = _resume_for(tmp_path, 8)
    execute(dsn, CHANGES["rows are removed"])
    runner = _resume(tmp_path)
    _assert_whole(dsn, tmp_path, runner)


def _resume_for(folder: Path, chunks: int) -> Runner:
    runner = Runner(resume=1, journal=folder / "journal.sqlite3")
    finish, left = Chunks.finish, [chunks]

    def counting(self: Chunks, run: int, chunk: Chunk, result: ChunkResult) -> None:
        finish(self, run, chunk, result)
        left[0] -= 1
        if left[0] <= 0:
            runner.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", counting)
        runner.start()
        runner.join()
    return runner


@pytest.mark.parametrize("place", ["begin_again", "finish_again", "confirm"])
@pytest.mark.parametrize("after", [0, 3])
def test_bringing_up_to_date_can_be_interrupted(
    place: str, after: int, dsn: str, tmp_path: Path
) -> None:
    """It breaks before a chunk or after one: the next resume ends it."""
    _begin(dsn, tmp_path, 36)
    for change in ("rows are added", "keys are changed", "rows are removed"):
        execute(dsn, CHANGES[change])
    function, left = getattr(Chunks, place), [after]

    def breaking(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            raise RuntimeError("the machine is gone")
        return function(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, place, breaking)
        broken = _resume(tmp_path)
    assert broken.error is not None
    _assert_whole(dsn, tmp_path, _resume(tmp_path))


def test_the_snapshot_is_lost_while_the_ledger_is_taken(dsn: str, tmp_path: Path) -> None:
    """The run takes a new one, leads the graph to it, and takes the ledger again."""
    ledger = Engine._ledger
    done: list[bool] = []

    async def losing(self: Engine, *arguments: object) -> object:
        if not done:
            done.append(True)
            execute(dsn, _TERMINATE)
            execute(dsn, CHANGES["rows are added"])
        return await ledger(self, *arguments)  # type: ignore[arg-type]

    mapping = infer(read_catalog(dsn))
    save(mapping, tmp_path / "mapping.yaml")
    request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), mapping)
    runner = Runner(request, journal=tmp_path / "journal.sqlite3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_ledger", losing)
        runner.start()
        runner.join()
    assert done
    _assert_whole(dsn, tmp_path, runner)


def test_a_session_lost_while_chunks_are_brought_up_to_date_is_opened_anew(
    dsn: str, tmp_path: Path
) -> None:
    """The snapshot is still held: the run goes on with another session, and nobody resumes it."""
    _begin(dsn, tmp_path, 36)
    execute(dsn, CHANGES["rows are changed"])
    read, lost = PostgresFeed.rows, [True]

    def losing(self: PostgresFeed, entity: Entity, chunk: Chunk, limit: int) -> Any:
        if chunk.more_steps and lost:
            lost.clear()
            raise LostError("the connection to the source is lost")
        return read(self, entity, chunk, limit)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresFeed, "rows", losing)
        runner = _resume(tmp_path)
    assert not lost
    _assert_whole(dsn, tmp_path, runner)
    told = [event.message for event in runner.events() if "retry 1 of" in event.message]
    assert len(told) == 1
    assert "the connection to the source is lost" in told[0]


def test_what_is_gone_from_many_chunks_is_found_in_few_scans(dsn: str, tmp_path: Path) -> None:
    """Each scan reads the graph: there are fewer of them than chunks that changed."""
    _begin(dsn, tmp_path, 36)
    execute(dsn, "UPDATE person SET name = name || ' *'; DELETE FROM word WHERE person % 9 = 0")
    scanned: list[int] = []
    node_keys = EmbeddedGraph.node_keys

    def counting(self: EmbeddedGraph, shape: NodeShape, run: str, steps: Sequence[int]) -> Any:
        if shape.label == "Person":
            scanned.append(max(steps) - min(steps))
        return node_keys(self, shape, run, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedGraph, "node_keys", counting)
        runner = _resume(tmp_path)
    _assert_whole(dsn, tmp_path, runner)
    again = [e for e in runner.events() if e.message.startswith("Person chunk")]
    assert len(again) == 8
    assert 0 < len(scanned) < 8
    assert max(scanned) < reconcile.STEPS_AT_ONCE


_TERMINATE = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'geode-tui'
"""

EXCHANGE = """
    CREATE TABLE member (id int PRIMARY KEY, email text NOT NULL UNIQUE DEFERRABLE);
    CREATE TABLE pair (id int PRIMARY KEY, one int NOT NULL REFERENCES member,
        two int NOT NULL REFERENCES member, UNIQUE (one, two) DEFERRABLE);
    INSERT INTO member SELECT i, 'e' || i FROM generate_series(1, 200) i;
    INSERT INTO pair SELECT i, 1 + i % 20, 21 + i / 20 FROM generate_series(0, 199) i;
    ANALYZE"""
EXCHANGED = """
    SET CONSTRAINTS ALL DEFERRED;
    UPDATE member SET email = 'e' || (id % 200 + 1);
    UPDATE pair SET (one, two) =
        (SELECT 1 + i % 20, 21 + i / 20 FROM (SELECT (pair.id + 60) % 200 AS i) AS other)"""


def _by_what_rows_exchange() -> Mapping:
    """Neither nodes nor relationships are known by what their tables are cut by."""
    member = NodeRule(
        "Member",
        TableName("public", "member"),
        ("email",),
        (Property("id", "id", "INT"), Property("email", "email", "STRING")),
    )
    ends = [Endpoint("Member", (column,), ("id",)) for column in ("one", "two")]
    pair = RelationshipRule("PAIRED", TableName("public", "pair"), ends[0], ends[1])
    return Mapping((member,), (pair,))


@pytest.mark.parametrize("chunks", [2, 4, 6, 8])
def test_keys_that_rows_exchanged_lose_no_row(
    chunks: int, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A key of the mapping went to a row of another chunk: it belongs to that row now."""
    dsn = make_database(EXCHANGE)
    _begin(dsn, tmp_path, chunks, _by_what_rows_exchange())
    execute(dsn, f"BEGIN; {EXCHANGED}; COMMIT")
    _assert_whole(dsn, tmp_path, _resume(tmp_path))
