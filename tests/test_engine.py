"""A run: everything moves once, whatever happens on the way, and the ledger tells the truth."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.errors import GeodeTuiError, RunStopped, UsageError
from geode_tui.mapping.infer import infer
from geode_tui.migration import postgres_origin
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner, RunRequest
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import migrate, read_catalog

PEOPLE = """
CREATE TABLE city (id int PRIMARY KEY, name text);
CREATE TABLE person (id int PRIMARY KEY, name text, city int REFERENCES city, boss int);
INSERT INTO city SELECT n, 'city ' || n FROM generate_series(1, 40) n;
INSERT INTO person SELECT n, 'person ' || n, CASE WHEN n % 3 > 0 THEN n % 40 + 1 END, n / 2
FROM generate_series(1, 1000) n;
ALTER TABLE person ADD FOREIGN KEY (boss) REFERENCES person NOT VALID;
CREATE TABLE visit (person int NOT NULL REFERENCES person, city int NOT NULL REFERENCES city,
  day date, PRIMARY KEY (person, city, day));
INSERT INTO visit SELECT n, n % 40 + 1, date '2024-01-01' + n % 7 FROM generate_series(1, 900) n;
CREATE TABLE log (at int, what text);
INSERT INTO log SELECT n % 50, 'event' FROM generate_series(1, 300) n;
ANALYZE;
"""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 50 rows, so that a small table has many."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


def _run(dsn: str, folder: Path, **options: Any) -> Runner:
    """Begin the migration of `dsn` in `folder` and wait for its end, however it ends."""
    mapping = infer(read_catalog(dsn))
    from geode_tui.mapping.file import save

    save(mapping, folder / "mapping.yaml")
    request = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, **options)
    runner = Runner(request, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    return runner


def _resume(folder: Path, run: int = 1) -> Runner:
    runner = Runner(resume=run, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    return runner


def _assert_equal(dsn: str, folder: Path) -> None:
    found = run_now(compare(dsn, folder / "graph.grafeo", None, folder / "mapping.yaml"))
    assert found.equal, found.verdict


def _failing_once(after: int, error: Exception) -> Callable[[Any], Any]:
    """A wrapper that lets `after` calls through and raises at the next, once."""
    calls = {"left": after}

    def wrap(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            calls["left"] -= 1
            if calls["left"] == -1:
                raise error
            return function(*arguments, **options)

        return call

    return wrap


@pytest.mark.parametrize("after", [0, 1, 7, 20, 33, 60])
@pytest.mark.parametrize("place", ["start", "finish"])
@pytest.mark.usefixtures("small_chunks")
def test_a_run_that_breaks_at_any_journal_write_is_resumed_without_loss_or_doubles(
    place: str, after: int, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Before a chunk and after a chunk, early and late: the graph equals the source."""
    dsn = make_database(PEOPLE)
    with pytest.MonkeyPatch.context() as patch:
        wrap = _failing_once(after, GeodeTuiError("the disk of the journal is full"))
        patch.setattr(Chunks, place, wrap(getattr(Chunks, place)))
        broken = _run(dsn, tmp_path)
    assert broken.error is not None
    assert Journal(tmp_path / "journal.sqlite3").run(1).state == "failed"
    resumed = _resume(tmp_path)
    assert resumed.error is None
    assert resumed.ledger is not None
    assert resumed.ledger.balanced
    _assert_equal(dsn, tmp_path)


@pytest.mark.usefixtures("small_chunks")
def test_a_run_stopped_safely_again_and_again_ends_whole(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Stop after every few chunks; each resume goes on where the last one was."""
    dsn = make_database(PEOPLE)
    finish = Chunks.finish
    runners: list[Runner] = []
    written = {"chunks": 0}

    def counting(self: Chunks, *arguments: Any) -> None:
        finish(self, *arguments)
        written["chunks"] += 1
        if written["chunks"] % 9 == 0:
            runners[-1].stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", counting)
        mapping = infer(read_catalog(dsn))
        from geode_tui.mapping.file import save

        save(mapping, tmp_path / "mapping.yaml")
        journal = tmp_path / "journal.sqlite3"
        request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), mapping)
        runners.append(Runner(request, journal=journal))
        for _ in range(40):
            runners[-1].start()
            runners[-1].join()
            if runners[-1].error is None:
                break
            assert isinstance(runners[-1].error, RunStopped)
            runners.append(Runner(resume=1, journal=journal))
    assert len(runners) > 3
    _assert_equal(dsn, tmp_path)


def test_the_ledger_tells_orphans_nulls_and_rows_that_cannot_be_carried(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every row is in the graph or in the dead letters with a reason."""
    dsn = make_database(
        PEOPLE
        + """
        ALTER TABLE person ADD born date;
        UPDATE person SET born = 'infinity' WHERE id IN (5, 6);
        UPDATE person SET born = '2000-01-01' WHERE id = 7;
        """
    )
    done = migrate(dsn, tmp_path)
    ledger = done.runner.ledger
    assert ledger is not None
    assert ledger.balanced
    entries = {entry.id: entry for entry in ledger.entries}
    assert (entries["Person"].in_graph, entries["Person"].dead) == (998, 2)
    city = (
        entries["(Person)-[HAS_CITY]->(City)"]
        if "(Person)-[HAS_CITY]->(City)" in entries
        else (entries["(Person)-[IN_CITY]->(City)"])
    )
    assert city.nulls == 333
    boss = entries["(Person)-[HAS_BOSS]->(Person)"]
    # Person 1 points at nobody; 5 and 6 are dead, and so are the ends of 10 to 13.
    assert boss.orphans == 1 + 2 + 4
    letters = done.dead_letters("Person")
    assert {letter.key for letter in letters} == {"id=5", "id=6"}
    assert all("no DATE holds infinity" in letter.reason for letter in letters)


@pytest.mark.usefixtures("small_chunks")
def test_rows_written_to_the_source_during_a_run_are_not_seen(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """One snapshot for all: what comes and goes meanwhile changes nothing, and it balances."""
    dsn = make_database(PEOPLE)
    finish = Chunks.finish
    done = threading.Event()

    def interfering(self: Chunks, *arguments: Any) -> None:
        finish(self, *arguments)
        if not done.is_set():
            done.set()
            execute(dsn, "DELETE FROM visit; INSERT INTO person VALUES (5000, 'late', 1, 1)")
            execute(dsn, "UPDATE person SET name = 'changed'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", interfering)
        runner = _run(dsn, tmp_path)
    assert done.is_set()
    assert runner.error is None
    assert runner.ledger is not None
    assert runner.ledger.balanced
    entries = {entry.id: entry for entry in runner.ledger.entries}
    assert entries["Person"].in_graph == 1000
    assert entries["(Person)-[VISIT]->(City)"].in_graph == 900


def test_a_second_run_on_the_same_target_is_refused(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Nobody could tell the nodes of two runs apart."""
    dsn = make_database(PEOPLE)
    assert _run(dsn, tmp_path).error is None
    again = _run(dsn, tmp_path)
    assert isinstance(again.error, UsageError)
    assert "already holds" in again.error.what


@pytest.mark.usefixtures("small_chunks")
def test_a_stopped_run_is_resumed_not_begun_anew(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A new run on its target is refused and names the resume."""
    dsn = make_database(PEOPLE)
    with pytest.MonkeyPatch.context() as patch:
        wrap = _failing_once(3, GeodeTuiError("broken"))
        patch.setattr(Chunks, "start", wrap(Chunks.start))
        _run(dsn, tmp_path)
    again = _run(dsn, tmp_path)
    assert isinstance(again.error, UsageError)
    assert "geode-tui resume 1" in again.error.next_step


def test_a_run_resumes_on_its_own_source_only(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Another database of the same schema is refused, by name."""
    dsn = make_database(PEOPLE)
    other = make_database(PEOPLE)
    with pytest.MonkeyPatch.context() as patch:
        wrap = _failing_once(1, GeodeTuiError("broken"))
        patch.setattr(Chunks, "start", wrap(Chunks.start))
        _run(dsn, tmp_path)
    runner = Runner(resume=1, source=other, journal=tmp_path / "journal.sqlite3")
    runner.start()
    runner.join()
    assert isinstance(runner.error, UsageError)
    assert "has changed in 2 fields" in runner.error.what
    assert "database oid: it was" in runner.error.why
    assert _resume(tmp_path).error is None


@pytest.mark.usefixtures("small_chunks")
def test_progress_is_never_whole_before_the_end_and_only_grows(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """No bar shows 100 % of what is not done; every wait has its reason."""
    dsn = make_database(PEOPLE)
    seen = []
    finish = Chunks.finish
    runners: list[Runner] = []

    def looking(self: Chunks, *arguments: Any) -> None:
        finish(self, *arguments)
        seen.append(runners[0].snapshot())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", looking)
        mapping = infer(read_catalog(dsn))
        request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), mapping)
        runners.append(Runner(request, journal=tmp_path / "journal.sqlite3"))
        runners[0].start()
        runners[0].join()
    assert len(seen) > 20
    totals = [snapshot.rows_written for snapshot in seen]
    assert totals == sorted(totals)
    for snapshot in seen:
        for entity in snapshot.entities:
            assert entity.state == "done" or entity.share is None or entity.share < 1
            assert entity.state != "waiting" or entity.reason
    assert all(entity.share == 1 for entity in runners[0].snapshot().entities)


@pytest.mark.usefixtures("small_chunks")
def test_a_run_does_not_go_on_in_a_graph_that_is_not_its_own_any_more(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The graph's file is gone: a resume says so, a new run may begin."""
    dsn = make_database(PEOPLE)
    with pytest.MonkeyPatch.context() as patch:
        wrap = _failing_once(40, GeodeTuiError("broken"))
        patch.setattr(Chunks, "start", wrap(Chunks.start))
        assert _run(dsn, tmp_path).error is not None
    (tmp_path / "graph.grafeo").unlink()
    error = _resume(tmp_path).error
    assert isinstance(error, UsageError)
    assert error.what.endswith("graph.grafeo is gone")
    grafeo.GrafeoDB(str(tmp_path / "graph.grafeo")).close()
    error = _resume(tmp_path).error
    assert isinstance(error, UsageError)
    assert "removed or changed" in error.why
    (tmp_path / "graph.grafeo").unlink()
    assert _run(dsn, tmp_path).error is None
    _assert_equal(dsn, tmp_path)
