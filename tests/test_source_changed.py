"""The source of a stopped run was changed: the refusal names what is not as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from geode_tui.catalog import TableName
from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, NodeRule, Property, Query
from geode_tui.migration import postgres_origin
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.dead_letters import Selection
from geode_tui.migration.journal import Journal
from geode_tui.migration.letter_retry import retry_letters
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner, RunRequest
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.migrate import read_catalog

TOWN = """
CREATE TABLE city (id int PRIMARY KEY, name text);
CREATE TABLE person (id int PRIMARY KEY, name text, born date, city int REFERENCES city);
INSERT INTO city SELECT n, 'city ' || n FROM generate_series(1, 30) n;
INSERT INTO person SELECT n, 'person ' || n, CASE WHEN n = 3 THEN date 'infinity' END, n % 30 + 1
FROM generate_series(1, 200) n;
ANALYZE;
"""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


def _ended(runner: Runner) -> Runner:
    runner.start()
    runner.join()
    return runner


def _stopped(dsn: str, folder: Path, mapping: Mapping | None = None) -> None:
    """Run 1, which broke after some chunks."""
    mapping = mapping or infer(read_catalog(dsn))
    request = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, parallel=1)
    start, left = Chunks.start, [3]

    def breaking(*arguments: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise GeodeTuiError("broken")
        return start(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "start", breaking)
        runner = _ended(Runner(request, journal=folder / "journal.sqlite3"))
    assert runner.error is not None
    assert runner.error.what == "broken"


def _resume(folder: Path) -> Runner:
    return _ended(Runner(resume=1, journal=folder / "journal.sqlite3"))


@pytest.mark.parametrize(
    ("change", "fields", "told"),
    [
        (
            "ALTER TABLE person DROP COLUMN name",
            1,
            "public.person.name: it was text, now it is absent",
        ),
        (
            "DROP TABLE person",
            6,
            "public.person is a: it was table, now it is absent",
        ),
        ("DROP TABLE city CASCADE", 4, "public.city.id: it was integer, now it is absent"),
    ],
)
def test_what_was_dropped_is_named_before_the_mapping_is_blamed(
    change: str, fields: int, told: str, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The mapping is as it was: the source is not, and the refusal says in what."""
    dsn = make_database(TOWN)
    _stopped(dsn, tmp_path)
    execute(dsn, change)
    error = _resume(tmp_path).error
    assert isinstance(error, UsageError)
    assert error.what == f"the source of run 1 has changed in {fields} fields"
    assert told in error.why
    assert "geode-tui rollback 1" in error.next_step


def test_what_a_query_reads_is_named_too(make_database: MakeDatabase, tmp_path: Path) -> None:
    """PostgreSQL refuses the query: it is told as absent, field by field."""
    dsn = make_database(TOWN)
    names = Query("names", "SELECT id, name FROM public.city")
    items = (Property("id", "id", "INT"), Property("name", "name", "STRING"))
    city = NodeRule("City", TableName("public", "city"), ("id",), items[:1])
    name = NodeRule("Name", names.table, ("id",), items)
    _stopped_after_one = Mapping((city, name), queries=(names,))
    _stopped(dsn, tmp_path, _with_person(_stopped_after_one))
    execute(dsn, "ALTER TABLE city DROP COLUMN name")
    error = _resume(tmp_path).error
    assert isinstance(error, UsageError)
    assert error.what.startswith("the source of run 1 has changed in ")
    assert "query.names.name: it was text, now it is absent" in error.why


def _with_person(mapping: Mapping) -> Mapping:
    """Another rule, so that a run has more chunks to break in."""
    items = (Property("id", "id", "INT"),)
    person = NodeRule("Person", TableName("public", "person"), ("id",), items)
    return Mapping((*mapping.nodes, person), queries=mapping.queries)


def test_a_source_mended_before_the_first_row_is_no_other_source(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A run that its assessment stopped has read nothing: it goes on with what is there now."""
    dsn = make_database(TOWN)
    mapping = infer(read_catalog(dsn))
    execute(dsn, "ALTER TABLE person DROP COLUMN name")
    request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), mapping)
    assert _ended(Runner(request, journal=tmp_path / "journal.sqlite3")).error is not None
    execute(dsn, "ALTER TABLE person ADD COLUMN name text")
    resumed = _resume(tmp_path)
    assert resumed.error is None, resumed.error
    assert resumed.ledger is not None
    assert resumed.ledger.balanced


def test_letters_of_a_table_that_is_gone_are_refused_by_its_name(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The same words where dead letters are retried."""
    dsn = make_database(TOWN)
    request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), infer(read_catalog(dsn)))
    assert _ended(Runner(request, journal=tmp_path / "journal.sqlite3")).error is None
    execute(dsn, "ALTER TABLE person DROP COLUMN name")
    journal = Journal(tmp_path / "journal.sqlite3")
    try:
        with pytest.raises(UsageError, match="the source of run 1 has changed in 1 fields"):
            run_now(retry_letters(journal, 1, Selection()))
    finally:
        journal.close()


def test_a_graph_that_is_gone_is_told_by_resume_and_by_rollback(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """One clear error each, no graph is made by asking, and the run stays as it was."""
    dsn = make_database(TOWN)
    _stopped(dsn, tmp_path)
    graph = tmp_path / "graph.grafeo"
    for path in tmp_path.glob("graph.grafeo*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused = _resume(tmp_path).error
    assert isinstance(refused, UsageError)
    assert refused.what == f"{graph} is gone"
    assert "run 1" in refused.why
    assert not graph.exists()
    journal = Journal(tmp_path / "journal.sqlite3")
    try:
        with pytest.raises(UsageError, match="is gone"):
            roll_back(journal, 1)
        assert not graph.exists()
        assert journal.run(1).state == "failed"
    finally:
        journal.close()
