"""Source and graph asked the same while both live: what differs, and how fast each is."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, EXIT_USAGE, LostError
from geode_tui.mapping.file import save
from geode_tui.mapping.model import Pair
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication import parallel_run as module
from geode_tui.migration.replication.parallel_run import (
    Answer,
    ParallelAnswers,
    ParallelRun,
    percentile,
    standings,
)
from geode_tui.source.postgres import Source
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys
from tests.migrate import Migrated, migrate

PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, name text);
INSERT INTO people SELECT n, 'p' || n FROM generate_series(1, 20) n;
"""
COUNT = Pair("how many", "SELECT count(*) FROM public.people", "MATCH (p:Person) RETURN count(p)")
NAMES = Pair(
    "names",
    "SELECT id, name FROM public.people WHERE id < 5",
    "MATCH (p:Person) WHERE p.id < 5 RETURN p.id AS id, p.name AS name",
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)


@pytest.fixture
def moved(make_database: MakeDatabase, tmp_path: Path) -> tuple[str, Migrated]:
    dsn = make_database(PEOPLE)
    return dsn, migrate(dsn, tmp_path)


def change(migrated: Migrated, statement: str) -> None:
    graph = grafeo.GrafeoDB(str(migrated.graph_file))
    graph.execute(statement)
    graph.close()


def ask(
    dsn: str,
    migrated: Migrated,
    pairs: list[Pair],
    tell: Callable[[str], None] = lambda text: None,
    **how: Any,
) -> list[Answer]:
    async def work() -> list[Answer]:
        source = await Source.connect(dsn)
        try:
            place = str(migrated.graph_file)
            run = ParallelRun(source, place, None, pairs, lambda answer: None, tell=tell, **how)
            return await run.run(asyncio.Event())
        finally:
            await source.close()

    return run_now(work())


@pytest.mark.usefixtures("quick")
def test_both_sides_say_the_same_and_how_long_they_took(moved: tuple[str, Migrated]) -> None:
    """Latencies are of the questions alone, of each side apart."""
    dsn, migrated = moved
    slow = Pair("slow", "SELECT 1 AS n FROM public.people WHERE id = 1", NAMES.gql)
    slow = replace(slow, gql="MATCH (p:Person {id: 1}) RETURN 1 AS n")
    answers = ask(dsn, migrated, [COUNT, NAMES, slow], times=3, interval=0.01)
    assert [a.pair for a in answers] == ["how many", "names", "slow"] * 3
    assert all(a.equal for a in answers)
    assert all(0 < a.sql_seconds < 5 for a in answers)
    assert all(0 < a.gql_seconds < 5 for a in answers)
    assert [(s.asked, s.differed) for s in standings(answers)] == [(3, 0)] * 3


@pytest.mark.usefixtures("quick")
def test_what_differs_twice_counts_and_is_shown(moved: tuple[str, Migrated]) -> None:
    dsn, migrated = moved
    change(migrated, "MATCH (p:Person {id: 3}) SET p.name = 'else'")
    told: list[str] = []
    answers = ask(dsn, migrated, [COUNT, NAMES], told.append)
    assert [a.equal for a in answers] == [True, False]
    assert "only in the source: (3, 'p3'); only in the graph: (3, 'else')" in answers[1].detail
    assert told == ["1 of 2 differ; asks again in 0.05 s"]


def test_a_change_on_its_way_is_no_difference(
    moved: tuple[str, Migrated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is there, the graph gets it a moment later: that is told, and does not count."""
    dsn, migrated = moved
    execute(dsn, "INSERT INTO people VALUES (21, 'late')")

    async def arrives(stop: asyncio.Event, seconds: float) -> None:
        await asyncio.to_thread(change, migrated, "CREATE (:Person {id: 21, name: 'late'})")

    monkeypatch.setattr(module, "_wait", arrives)
    [answer] = ask(dsn, migrated, [COUNT])
    assert answer.equal
    assert answer.detail == "differed at first: a change was on its way"


@pytest.mark.usefixtures("quick")
def test_a_question_that_fails_or_takes_long_differs_and_the_others_are_asked(
    moved: tuple[str, Migrated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to the source, and no question holds it for long."""
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 1)
    dsn, migrated = moved
    broken = Pair("broken", "SELECT 1 / (id - 1) FROM public.people", COUNT.gql)
    writes = Pair("writes", COUNT.sql, "MATCH (p:Person) DELETE p")
    numbers = "generate_series(1, 100000)"
    endless = Pair("endless", f"SELECT count(*) FROM {numbers} a, {numbers} b", COUNT.gql)
    answers = ask(dsn, migrated, [broken, writes, endless, COUNT])
    assert [a.equal for a in answers] == [False, False, False, True]
    assert "division by zero" in answers[0].detail
    assert "DELETE has no place in a check" in answers[1].detail
    assert "longer than 1 s" in answers[2].detail


@pytest.mark.usefixtures("quick")
def test_a_side_that_is_away_is_asked_again_at_the_next_turn(
    moved: tuple[str, Migrated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart of the source ends no schedule of hours; at the last turn it is told."""
    dsn, migrated = moved
    turns = 0
    whole = ParallelRun._asked

    async def ended(self: ParallelRun, pairs: Any) -> list[Answer]:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise LostError("the connection to the source is lost", "gone")
        return await whole(self, pairs)

    monkeypatch.setattr(ParallelRun, "_asked", ended)
    told: list[str] = []
    answers = ask(dsn, migrated, [COUNT], told.append, times=2, interval=0.01)
    assert [a.equal for a in answers] == [True]
    assert told == ["the connection to the source is lost: gone; asks again in 0.01 s"]
    turns = 0
    with pytest.raises(LostError):
        ask(dsn, migrated, [COUNT], times=1)


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 50) == 50
    assert percentile(values, 95) == 95
    assert percentile([7.0], 95) == 7
    assert percentile([1.0, 9.0], 50) == 1


def test_the_verb_prints_a_table_writes_a_page_and_journals_each_answer(
    moved: tuple[str, Migrated], tmp_path: Path
) -> None:
    """Exit 4 where a pair differs at the end; the keys of the JSON are the documented ones."""
    dsn, migrated = moved
    save(replace(migrated.mapping, checks=(COUNT, NAMES)), tmp_path / "pairs.yaml")
    line = CommandLine(tmp_path)
    both = ("--source", dsn, "--target", str(migrated.graph_file), "--mapping", "pairs.yaml")
    done = line.run_here("parallel", *both, "--times", "2", "--interval", "0.01")
    assert done.code == EXIT_OK, done
    head, _, first, second = done.out.splitlines()
    assert head.split() == [
        "pair",
        "asked",
        "differed",
        "SQL",
        "p50",
        "SQL",
        "p95",
        "GQL",
        "p50",
        "GQL",
        "p95",
        "now",
    ]
    assert first.split()[:4] == ["how", "many", "2", "0"]
    assert second.endswith("the same")
    change(migrated, "MATCH (p:Person {id: 3}) SET p.name = '<b>|x'")
    done = line.run_here("parallel", *both, "--json", "--report", "page.md")
    assert done.code == EXIT_DIFFERS, done
    assert set(done.json) == {"source", "target", "pairs"}
    assert set(done.json["pairs"][0]) == documented_keys("standing of a pair")
    assert [one["equal"] for one in done.json["pairs"]] == [True, False]
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| how many | 1 | 0 |" in page
    assert r"\<b\>\|x" in page
    journal = Journal(line.state / "journal.sqlite3")
    answers = ParallelAnswers(journal.store).of(0)
    journal.close()
    assert [(a.pair, a.equal) for a in answers] == [("how many", True), ("names", True)] * 2 + [
        ("how many", True),
        ("names", False),
    ]


def test_without_pairs_there_is_nothing_to_ask(moved: tuple[str, Migrated], tmp_path: Path) -> None:
    dsn, migrated = moved
    both = ("--source", dsn, "--target", str(migrated.graph_file), "--mapping", "mapping.yaml")
    done = CommandLine(tmp_path).run_here("parallel", *both)
    assert (done.code, done.error[0]) == (EXIT_USAGE, "geode-tui: the mapping has no checks")


def test_interrupted_it_prints_what_it_found(moved: tuple[str, Migrated], tmp_path: Path) -> None:
    """With an interval alone it goes on until Ctrl-C."""
    dsn, migrated = moved
    save(replace(migrated.mapping, checks=(COUNT,)), tmp_path / "pairs.yaml")
    line = CommandLine(tmp_path)
    both = ("--source", dsn, "--target", str(migrated.graph_file), "--mapping", "pairs.yaml")
    with line.start("parallel", *both, "--interval", "0.05") as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and len(_journaled(line)) < 3:
            time.sleep(0.05)
        process.send(signal.SIGINT)
        done = process.finish()
    assert done.code == EXIT_OK, done
    assert "how many" in done.out
    assert len(_journaled(line)) >= 3


def _journaled(line: CommandLine) -> list[Answer]:
    if not (line.state / "journal.sqlite3").exists():
        return []
    journal = Journal(line.state / "journal.sqlite3")
    try:
        return ParallelAnswers(journal.store).of(0)
    finally:
        journal.close()
