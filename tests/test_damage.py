"""Whatever is done to a good graph behind our back, validation finds it and names the very key.

The kinds of damage are those of `benchmarks.damage`; `python -m benchmarks.damages` does many
trials of each.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import asyncpg
import grafeo
import pytest

from benchmarks.damage import KINDS, Damage, Named
from benchmarks.damage_source import SQL
from benchmarks.damages import Original, missed_by_command, validate_command
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_OK
from geode_tui.validation import verify
from tests.command_line import CommandLine, execute
from tests.conftest import run_now
from tests.ground import MODES, Ground, prepared

SEED = os.environ.get("SEED") or ("0" if os.environ.get("CI") else str(random.randrange(10**6)))
TRIALS = 2


@pytest.fixture(scope="module")
def ground(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """The database of the trials, migrated once."""
    folder = tmp_path_factory.mktemp("damage")
    with prepared(postgres, "damage", SQL, folder, Original.make) as made:
        yield made


@MODES
def test_nothing_is_found_in_a_graph_that_nobody_damaged(ground: Ground, deep: bool) -> None:
    """A good graph of every type balances: no false alarm."""
    ledger = ground.ledger(ground.original.graph_file, deep)
    assert [e.verdict for e in ledger.entries if not e.balanced] == []
    assert ledger.differences == ()
    assert all(one.differing == 0 and one.deep is deep for one in ledger.digests)


def test_the_two_queries_of_an_entry_give_its_numbers(ground: Ground, tmp_path: Path) -> None:
    """Anyone can run them: of a good graph and of one where a node and a label are gone."""
    for copy in (ground.original.graph_file, _without_manager(ground, tmp_path)):
        ledger = ground.ledger(copy, deep=False)
        asked = {entry.source_sql for entry in ledger.entries}
        answers = {sql: run_now(_fetched(ground.original.dsn, sql)) for sql in asked}
        graph = grafeo.GrafeoDB(str(copy))
        try:
            for entry in ledger.entries:
                [row] = list(graph.execute(entry.target_gql))
                assert list(row.values()) == [entry.in_graph], entry.id
                rows = answers[entry.source_sql]
                if entry.kind == "label":
                    assert dict(rows)[entry.id.partition(":")[2]] == entry.source_rows
                else:
                    told = (entry.source_rows + entry.nulls + entry.filtered, entry.source_rows)
                    assert rows == [(*told, entry.nulls)], entry.id
        finally:
            graph.close()
    assert {entry.kind for entry in ledger.entries} == {"node", "relationship", "label"}
    assert not ledger.balanced


def _without_manager(ground: Ground, folder: Path) -> Path:
    return ground.changed(folder, ("MATCH (n:Manager {id: 3}) DETACH DELETE n", {}))


async def _fetched(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_found_and_named(ground: Ground, name: str) -> None:
    """The rule, the key and the property are named and nothing else, without any sample.

    Damage that digests in the graph or counts show is found without `--deep`, too.
    """
    for number in range(TRIALS):
        missed = ground.runner.run(ground.trials.trial(KINDS[name], f"{SEED}/{number}"))
        assert missed == "", f"SEED={SEED}, trial {number}"


_SOURCE_CHANGES = {
    "a row changed": (
        "UPDATE users SET name = 'Somebody' WHERE id = 77",
        "UPDATE users SET name = 'Renée 77' WHERE id = 77",
        Named("User", ("77",), "name"),
    ),
    "a row more": (
        "INSERT INTO users (id) VALUES (1000)",
        "DELETE FROM users WHERE id = 1000",
        Named("User", ("1000",)),
    ),
    "a row fewer": (
        "DELETE FROM staff WHERE id = 5",
        "INSERT INTO staff VALUES (5, 'guest', 'Staff 5')",
        Named("Staff", ("5",)),
    ),
    "a foreign key that leads elsewhere": (
        "UPDATE order_line SET product = md5('40')::uuid WHERE order_id = 8 AND no = 0",
        "UPDATE order_line SET product = md5('8')::uuid WHERE order_id = 8 AND no = 0",
        Named("(OrderLine)-[HAS_PRODUCT]->(Product)", ("8", "0")),
    ),
    "a foreign key turned to null": (
        "UPDATE users SET town = NULL WHERE id = 8",
        "UPDATE users SET town = 't-' || (id % 24 + 1) WHERE id = 8",
        Named("(User)-[HAS_TOWN]->(Town)", ("8",)),
    ),
    "a property of a pair changed": (
        "UPDATE likes SET stars = stars + 1 WHERE person = 9",
        "UPDATE likes SET stars = stars - 1 WHERE person = 9",
        Named("(User)-[LIKE]->(Product)", ("9",), "stars"),
    ),
}


@MODES
@pytest.mark.parametrize("what", _SOURCE_CHANGES)
def test_a_change_of_the_source_is_found_and_named(ground: Ground, what: str, deep: bool) -> None:
    """What the source became after the copy differs, by the digests in the graph alone."""
    change, undo, named = _SOURCE_CHANGES[what]
    execute(ground.original.dsn, change)
    try:
        with mock.patch.object(verify, "SAMPLE_ROWS", 0):
            ledger = ground.ledger(ground.original.graph_file, deep, fresh=True)
    finally:
        execute(ground.original.dsn, undo)
    assert not ledger.balanced
    fitting = [d for d in ledger.differences if named.fits(d)]
    assert any(named.shows(d) for d in fitting), ledger.differences


_BY_CLI = (
    "a node gone",
    "a node too many, not marked",
    "a relationship doubled",
    "a text changed by one character",
    "a null turned to empty text",
    "the ends of two relationships swapped",
)


@pytest.mark.parametrize("name", _BY_CLI)
def test_validate_names_the_key_and_ends_with_4(ground: Ground, name: str) -> None:
    """On the command line, a damaged graph ends `validate` with 4 and the key is told."""
    assert ground.trials.trial_by_command(KINDS[name], SEED) == "", f"SEED={SEED}"


@MODES
def test_validate_ends_with_0_where_nothing_was_damaged(
    ground: Ground, tmp_path: Path, deep: bool
) -> None:
    """The same command line is content with the good graph."""
    original = ground.original
    command = validate_command(original, original.graph_file, deep)
    done = CommandLine(tmp_path).run_here(*command)
    assert (done.code, done.json["differences"]) == (EXIT_OK, [])


def test_a_trial_by_command_fails_where_nothing_was_damaged(ground: Ground, tmp_path: Path) -> None:
    """The trials themselves can fail: of a good graph nothing is found."""
    harmless = Damage("nothing", (Named("User", ("1",)),))
    copy = ground.original.copy(tmp_path / "good.grafeo")
    missed = missed_by_command(ground.original, copy, harmless, deep=True)
    assert missed == f"not found: validate ended with {EXIT_OK}"
