"""Dead letters of a change of the schema are retried as those of a migration are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.dead_letters import Selection
from geode_tui.migration.journal import Journal
from geode_tui.migration.letter_retry import Retried, retry_letters
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.schema_change import SchemaRequest
from geode_tui.migration.schema_origin import SchemaOrigin
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.migrate import read_catalog

TOWN = """
CREATE TABLE city (id int PRIMARY KEY, name text, founded date);
CREATE TABLE person (id int PRIMARY KEY, born date, city int REFERENCES city);
INSERT INTO city SELECT n, 'city ' || n, CASE WHEN n = 4 THEN date 'infinity' ELSE '1200-01-01' END
  FROM generate_series(1, 9) n;
INSERT INTO person SELECT n, CASE WHEN n = 3 THEN date 'infinity' ELSE '1970-01-01' END, n % 9 + 1
  FROM generate_series(1, 30) n;
ANALYZE;
"""
MEND = "UPDATE {} SET {} = '2001-02-03' WHERE {} = 'infinity'"
RETRIED = Selection(state="open")


@pytest.fixture
def dsn(make_database: MakeDatabase) -> str:
    """A town in which a date of a city and one of a person cannot be carried."""
    return make_database(TOWN)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """The journal of all runs."""
    journal = Journal(tmp_path / "journal.sqlite3")
    yield journal
    journal.close()


def _run(request: RunRequest, folder: Path) -> None:
    runner = Runner(request, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    assert runner.error is None, runner.error


def _changed(dsn: str, folder: Path, old: Mapping, new: Mapping) -> None:
    """Run 1 migrates by the old mapping, run 2 leads the graph over to the new one."""
    graph = str(folder / "graph.grafeo")
    _run(RunRequest(dsn, graph, old), folder)
    _run(SchemaRequest(dsn, graph, new, old=None, description="more"), folder)


def _without_founded(mapping: Mapping) -> Mapping:
    city = mapping.node("City")
    assert city is not None
    lean = replace(city, properties=tuple(p for p in city.properties if p.name != "founded"))
    return replace(mapping, nodes=tuple(lean if n is city else n for n in mapping.nodes))


def _only_cities(mapping: Mapping) -> Mapping:
    lean = _without_founded(mapping)
    return replace(lean, nodes=tuple(n for n in lean.nodes if n.id == "City"), relationships=())


def _values(folder: Path, statement: str) -> list[Any]:
    database = grafeo.GrafeoDB.open_read_only(str(folder / "graph.grafeo"))
    try:
        return [next(iter(dict(row).values())) for row in database.execute(statement)]
    finally:
        database.close()


def _retry(journal: Journal) -> Retried:
    return run_now(retry_letters(journal, 2, RETRIED))


def test_rows_that_a_new_rule_could_not_carry_are_written_once_they_are_mended(
    dsn: str, journal: Journal, tmp_path: Path
) -> None:
    """The change read one of the tables only: the others are no change of its source."""
    whole = _without_founded(infer(read_catalog(dsn)))
    _changed(dsn, tmp_path, _only_cities(whole), whole)
    [letter, orphan] = journal.dead_letters.of(2)
    assert (letter.entity, letter.key, orphan.error_class) == ("Person", "id=3", "orphan")
    assert _retry(journal) == Retried(refused=2)
    execute(dsn, MEND.format("person", "born", "born"))
    assert _retry(journal) == Retried(written=2, ends=True)
    assert _values(tmp_path, "MATCH (n:Person)-[]->(:City) RETURN count(n)") == [30]
    assert roll_back(journal, 2).balanced
    assert _values(tmp_path, "MATCH (n:Person) RETURN count(n)") == [0]


def test_a_value_that_could_not_be_filled_is_filled_once_it_is_mended(
    dsn: str, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row became one that cannot be carried after the change had been decided."""

    async def unseen(*_: object) -> bool:
        return False

    monkeypatch.setattr(SchemaOrigin, "rejects", unseen)
    whole = infer(read_catalog(dsn))
    _changed(dsn, tmp_path, _without_founded(whole), whole)
    assert [(x.entity, x.key) for x in journal.dead_letters.of(2)] == [("fill City", "id=4")]
    filled = "MATCH (n:City) WHERE n.founded IS NOT NULL RETURN count(n)"
    assert _values(tmp_path, filled) == [8]
    execute(dsn, MEND.format("city", "founded", "founded"))
    assert _retry(journal).written == 1
    assert _values(tmp_path, filled) == [9]
    assert roll_back(journal, 2).balanced
    assert _values(tmp_path, filled) == [0]


def test_a_change_that_read_no_row_has_none_to_retry(
    dsn: str, journal: Journal, tmp_path: Path
) -> None:
    """The graph alone was led over: no source is asked for."""
    whole = infer(read_catalog(dsn))
    graph = str(tmp_path / "graph.grafeo")
    _run(RunRequest(dsn, graph, whole), tmp_path)
    _run(SchemaRequest("", graph, _without_founded(whole), description="less"), tmp_path)
    assert _retry(journal) == Retried()
