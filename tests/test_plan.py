"""`plan`: what a run would do is what it then does; and planning leaves no trace."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import grafeo
import pytest

from geode_tui.catalog import TableName
from geode_tui.cli import main
from geode_tui.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from geode_tui.mapping import file
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, Wave
from geode_tui.migration import postgres_origin
from geode_tui.migration.journal import Journal
from geode_tui.paths import journal_file, journal_there
from geode_tui.target.embedded import EmbeddedGraph
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys
from tests.migrate import read_catalog

HOSTILE = '[/foo] "x" `y` 😀'
TOWN = """
CREATE TABLE "[/foo] ""x"" `y` 😀" (id int PRIMARY KEY, "se`lect" text);
CREATE TABLE person (id int PRIMARY KEY, place int REFERENCES "[/foo] ""x"" `y` 😀", boss int);
CREATE TABLE log (at int, person int);
CREATE VIEW grown AS SELECT id, boss FROM person WHERE id > 10;
INSERT INTO "[/foo] ""x"" `y` 😀" SELECT n, 'place ' || n FROM generate_series(1, 30) n;
INSERT INTO person SELECT n, 1 + n % 30, n / 2 FROM generate_series(1, 200) n;
INSERT INTO log SELECT n, n FROM generate_series(1, 100) n;
ANALYZE;
"""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 50 rows, so that a small table has several."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


class Planned:
    """A database with its mapping, and a target that is not there yet."""

    def __init__(self, dsn: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.dsn, self.target, self._capsys = dsn, folder / "graph.grafeo", capsys
        self.mapping_file = folder / "mapping.yaml"
        self.mapping = infer(read_catalog(dsn))
        self.save(self.mapping)

    def save(self, mapping: Mapping) -> None:
        """Plan with another mapping from now on."""
        self.mapping_file.unlink(missing_ok=True)
        file.save(mapping, self.mapping_file)

    @property
    def arguments(self) -> list[str]:
        """What `plan` and `migrate` are given alike."""
        mapping = ["--mapping", str(self.mapping_file)]
        return ["--source", self.dsn, "--target", str(self.target), *mapping]

    def plan(self, *options: str, code: int = EXIT_OK) -> Any:
        """The plan as JSON."""
        assert main(["plan", *self.arguments, *options, "--json"]) == code
        return json.loads(self._capsys.readouterr().out)

    def text(self, *options: str, code: int = EXIT_OK) -> str:
        """The plan as text."""
        assert main(["plan", *self.arguments, *options]) == code
        return self._capsys.readouterr().out

    def migrate(self, *options: str) -> None:
        """Do it."""
        assert main(["migrate", *self.arguments, *options]) == EXIT_OK
        self._capsys.readouterr()


@pytest.fixture
def town(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Planned:
    """A town with hostile names, a table without a key, and a view."""
    return Planned(make_database(TOWN), tmp_path, capsys)


def test_the_run_does_what_was_planned(town: Planned) -> None:
    """The same statements on the target, the same entities in the same order, the same chunks."""
    plan = town.plan()
    town.migrate()
    journal = Journal()
    done = journal.chunks.entities(1)
    assert plan["statements"] == journal.prepared(1)
    assert [e["id"] for e in plan["entities"]] == [e.id for e in done]
    assert [e["chunks"] for e in plan["entities"]] == [e.planned for e in done]
    assert [e["rows"] for e in plan["entities"]] == [e.estimate for e in done]
    assert plan["mapping_hash"] == journal.run(1).mapping_hash
    assert max(e["chunks"] for e in plan["entities"]) > 2
    assert all(e["cut"] for e in plan["entities"])
    assert str(TableName("public", HOSTILE)) in [e["table"] for e in plan["entities"]]
    journal.close()


def test_planning_leaves_no_trace(town: Planned, tmp_path: Path) -> None:
    """No journal, no target, no changed file; nor where all of them are there."""
    before = _files(tmp_path)
    town.plan()
    assert _files(tmp_path) == before
    assert not journal_there()

    town.migrate()
    before = _files(tmp_path)
    assert str(journal_file().relative_to(tmp_path)) in before
    town.plan(code=EXIT_FAILED)
    assert _files(tmp_path) == before


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_what_waits_for_what_is_told(town: Planned) -> None:
    """A relationship waits for both its ends, also where they are the same."""
    entities = {e["id"]: e for e in town.plan()["entities"]}
    for entity in entities.values():
        if entity["kind"] == "node":
            assert entity["waits_for"] == []
    [lives] = [e for e in entities.values() if e["kind"] == "relationship"]
    start, end = lives["id"].split("]->(")[0], lives["id"].split("]->(")[1][:-1]
    assert lives["waits_for"] == [start.split(")-[")[0][1:], end]
    order = list(entities)
    assert order.index(lives["id"]) > max(map(order.index, lives["waits_for"]))


def test_the_statements_are_those_of_source_and_target(town: Planned) -> None:
    """Each SELECT is one that PostgreSQL understands, each GQL one that the graph does."""
    entities = town.plan()["entities"]
    assert {entity["reading"] for entity in entities} == {"key", "blocks"}

    async def prepare() -> None:
        connection = await asyncpg.connect(town.dsn)
        try:
            for entity in entities:
                await connection.prepare(entity["sql"])
        finally:
            await connection.close()

    run_now(prepare())
    graph = EmbeddedGraph(grafeo.GrafeoDB(), Path("memory"), None)
    for entity in entities:
        graph.query_with(entity["gql"], {"rows": [], "run": "r", "step": 1})


def test_without_cutting_the_chunks_are_estimates(town: Planned) -> None:
    """Marked as such, and close to what is cut for tables that were analyzed."""
    guessed, cut = town.plan("--no-cut"), town.plan()
    assert (guessed["fence"], bool(cut["fence"])) == ("", True)
    assert not any(entity["cut"] for entity in guessed["entities"])
    for one, other in zip(guessed["entities"], cut["entities"], strict=True):
        assert abs(one["chunks"] - other["chunks"]) <= 2
    assert re.search(r"^ +Person +public\.person +±200 +±[\d,]+ +±4 ", town.text("--no-cut"), re.M)
    assert re.search(r"^ +Person +public\.person +±200 +±[\d,]+ +4 ", town.text(), re.M)


def test_what_nobody_knows_is_not_guessed(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that was never analyzed has no rows to tell, and no time."""
    dsn = make_database("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    planned = Planned(dsn, tmp_path, capsys)
    [entity] = planned.plan("--no-cut")["entities"]
    assert (entity["rows"], entity["chunks"], entity["seconds"]) == (None, None, None)
    text = planned.text("--no-cut")
    assert "the rows of 1 entities are not known (ANALYZE them)" in text
    assert "no earlier run tells how long it takes" in text


def test_times_are_those_of_the_newest_run_like_it(
    town: Planned, make_database: MakeDatabase
) -> None:
    """Only a run that moved all rows of the same source tells how long it takes."""
    assert town.plan()["seconds"] is None
    town.migrate()
    town.target.unlink()
    plan = town.plan()
    assert plan["like"] == 1
    assert 0 < plan["seconds"] < 60
    journal = Journal()
    rows = [e.rows for e in journal.chunks.entities(1)]
    with journal.store.write() as db:  # as if each chunk had taken ten seconds
        db.execute("UPDATE chunk SET ended = started + 10")
    chunks = sum(e.chunks for e in journal.chunks.entities(1))
    assert town.plan()["seconds"] == pytest.approx(10 * chunks / 2, rel=0.05)
    assert rows == [e["rows"] for e in plan["entities"]]
    assert "as fast as run 1 with 2 parallel" in town.text()
    journal.set_state(1, "failed")
    journal.close()
    assert town.plan()["like"] is None


def test_waves_are_planned_in_their_order(town: Planned) -> None:
    """Each with its entities, behind the gate of the one before it."""
    person, log = "Person", "Log"
    waves = (Wave("last [/x]", (log,)), Wave("first", (person,)))
    town.save(replace(town.mapping, waves=waves))
    plan = town.plan("--strategy", "incremental")
    names = [wave["name"] for wave in plan["waves"]]
    assert names == ["last [/x]", "first", "rest"]
    assert [e["wave"] for e in plan["entities"]] == sorted(
        (e["wave"] for e in plan["entities"]), key=names.index
    )
    assert plan["entities"][0]["id"] == log
    text = town.text("--strategy", "incremental")
    assert "backfill, wave first, waits for the gate of wave last [/x]\n" in text
    assert {e["wave"] for e in town.plan()["entities"]} == {""}


def test_a_run_that_would_be_refused_is_told_why(town: Planned) -> None:
    """Nodes of the labels are there, a run stopped on the target, a finding must be mended."""
    graph = grafeo.GrafeoDB(str(town.target))
    graph.execute("CREATE (:Person {id: 1})")
    graph.close()
    [refusal] = town.plan(code=EXIT_FAILED)["refusals"]
    assert "already holds nodes of the mapping's labels: Person 1 (a run needs" in refusal

    town.target.unlink()
    town.migrate()
    journal = Journal()
    journal.set_state(1, "failed", "killed")
    journal.close()
    refusals = town.plan(code=EXIT_FAILED)["refusals"]
    assert refusals[1] == "run 1 stopped before its end: resume it, or roll it back"
    assert "would be refused: run 1 stopped" in town.text(code=EXIT_FAILED)


def test_a_role_that_may_not_read_is_told(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --no-cut as a refusal: the plan itself reads no row."""
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY);"
        "DROP ROLE IF EXISTS plan_reader; CREATE ROLE plan_reader LOGIN;"
        "GRANT USAGE ON SCHEMA public TO plan_reader"
    )
    planned = Planned(dsn, tmp_path, capsys)
    planned.dsn = dsn.replace("postgres@", "plan_reader@")
    [refusal] = planned.plan("--no-cut", code=EXIT_FAILED)["refusals"]
    assert "public.item" in refusal
    execute(dsn, "DROP OWNED BY plan_reader", "DROP ROLE plan_reader")


def test_the_keys_are_the_documented_ones(town: Planned) -> None:
    """Scripts may rely on them."""
    town.save(replace(town.mapping, waves=(Wave("one", ("Person",)),)))
    plan = town.plan("--strategy", "incremental")
    assert set(plan) == documented_keys("plan")
    assert set(plan["entities"][0]) == documented_keys("planned entity")
    assert set(plan["waves"][0]) == documented_keys("wave")


def test_a_file_of_ddl_has_no_rows_to_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan needs the database."""
    schema = tmp_path / "schema.sql"
    schema.write_text("CREATE TABLE item (id int PRIMARY KEY);")
    target = ["--target", str(tmp_path / "g.grafeo"), "--mapping", "m.yaml"]
    assert main(["plan", "--source", str(schema), *target]) == EXIT_USAGE
    assert "it has no rows to move" in capsys.readouterr().err
