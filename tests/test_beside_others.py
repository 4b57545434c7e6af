"""A run writes beside what others made: its ledger is about its own rows and its dead letters."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import grafeo

from geode_tui.cli import main
from geode_tui.errors import EXIT_OK
from geode_tui.mapping.file import save
from geode_tui.mapping.infer import infer
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.paths import journal_file
from geode_tui.validation.ledger import Ledger
from tests.conftest import MakeDatabase
from tests.migrate import read_catalog

TOWN = """
CREATE TABLE city (id int PRIMARY KEY, name text);
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE lives (id int PRIMARY KEY, person int NOT NULL REFERENCES person,
  city int NOT NULL REFERENCES city);
CREATE TABLE knows (one int NOT NULL REFERENCES person, other int NOT NULL REFERENCES person,
  PRIMARY KEY (one, other));
INSERT INTO city SELECT n, 'city ' || n FROM generate_series(1, 9) n;
INSERT INTO person SELECT n, 'person ' || n FROM generate_series(1, 100) n;
INSERT INTO lives SELECT n, n, n % 9 + 1 FROM generate_series(1, 50) n;
INSERT INTO knows SELECT n, n % 100 + 1 FROM generate_series(1, 100) n;
ANALYZE;
"""


def _change(graph: Path, statement: str) -> None:
    """What another program does to the graph."""
    database = grafeo.GrafeoDB(str(graph))
    try:
        list(database.execute(statement))
    finally:
        database.close()


def _migrated(dsn: str, folder: Path) -> Ledger:
    mapping = infer(read_catalog(dsn))
    save(mapping, folder / "mapping.yaml")
    request = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, into_existing=True)
    runner = Runner(request, journal=journal_file())
    runner.start()
    runner.join()
    assert runner.error is None, runner.error
    assert runner.ledger is not None
    return runner.ledger


def _wrong(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.id, entry.verdict) for entry in ledger.entries if not entry.balanced]


def _validate(dsn: str, folder: Path) -> int:
    place = ["--target", str(folder / "graph.grafeo"), "--mapping", str(folder / "mapping.yaml")]
    return main(["validate", "--source", dsn, *place])


def test_a_row_whose_key_is_a_strangers_is_a_dead_letter_and_no_difference(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The stranger's node has other values: they are not what the run wrote."""
    dsn = make_database(TOWN)
    _change(tmp_path / "graph.grafeo", "INSERT (:Person {id: 2, name: 'a stranger'})")
    ledger = _migrated(dsn, tmp_path)
    assert _wrong(ledger) == []
    [person] = [entry for entry in ledger.entries if entry.id == "Person"]
    assert (person.dead, person.sampled) == (1, 99)
    assert _validate(dsn, tmp_path) == EXIT_OK


def test_relationships_of_others_between_the_same_nodes_are_no_duplicates_of_ours(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Two people whom another program made know each other twice there, and once in the source."""
    dsn = make_database(TOWN)
    _change(
        tmp_path / "graph.grafeo",
        "INSERT (a:Person {id: 2, name: 'x'}), (b:Person {id: 3, name: 'y'}),"
        " (a)-[:KNOW]->(b), (a)-[:KNOW]->(b)",
    )
    ledger = _migrated(dsn, tmp_path)
    assert _wrong(ledger) == []
    [knows] = [entry for entry in ledger.entries if entry.id == "(Person)-[KNOW]->(Person)"]
    assert (knows.in_graph, knows.sampled) == (100, 100)
    assert _validate(dsn, tmp_path) == EXIT_OK


def test_our_own_duplicates_are_told_also_beside_those_of_others(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What a run made twice is twice there, whatever else is."""
    dsn, graph = make_database(TOWN), tmp_path / "graph.grafeo"
    _change(
        graph,
        "INSERT (a:Person {id: 2, name: 'x'}), (b:Person {id: 3, name: 'y'}),"
        " (a)-[:KNOW]->(b), (a)-[:KNOW]->(b)",
    )
    _migrated(dsn, tmp_path)
    with closing(Journal()) as journal:
        uid = journal.run(1).uid
    _change(
        graph,
        "MATCH (a:Person {id: 7}), (b:Person {id: 8})"
        f" INSERT (a)-[:KNOW {{_run: '{uid}', _step: 1}}]->(b)",
    )
    assert _validate(dsn, tmp_path) != EXIT_OK
