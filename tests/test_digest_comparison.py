"""All rows are compared; what differs counts when it stands, and is named with its cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.mapping.infer import infer
from geode_tui.migration.journal import Journal
from geode_tui.migration.left_out import left_out_of
from geode_tui.migration.plan import make_plan
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.validation import compare
from geode_tui.validation.digests import Digests
from geode_tui.validation.ledger import Ledger, most_wrong
from geode_tui.validation.parts import differing, in_groups, parts_for
from geode_tui.validation.sides import RowReader
from geode_tui.validation.verify import take_ledger
from tests.command_line import execute
from tests.conftest import MakeDatabase
from tests.migrate import Migrated, migrate, read_catalog

SHOP = """
CREATE TABLE person (id int PRIMARY KEY, name text, boss int REFERENCES person);
CREATE TABLE pet (id int PRIMARY KEY, name text, owner int REFERENCES person NOT NULL);
CREATE TABLE visit (at date, what text);
INSERT INTO person SELECT n, 'person ' || n, nullif(n / 3, 0) FROM generate_series(1, 90) n;
INSERT INTO pet SELECT n, 'pet ' || n, n % 90 + 1 FROM generate_series(1, 200) n;
INSERT INTO visit SELECT date '2024-01-01' + n % 9, 'visit ' || n % 7 FROM generate_series(1, 80) n;
ANALYZE;
"""
Change = Callable[[int], str]


@pytest.fixture
def shop(make_database: MakeDatabase, tmp_path: Path) -> tuple[str, Migrated]:
    """A small shop that was migrated."""
    dsn = make_database(SHOP)
    return dsn, migrate(dsn, tmp_path, infer(read_catalog(dsn)))


def _validate(
    dsn: str,
    migrated: Migrated,
    *,
    deep: bool = False,
    retries: Sequence[float] = (0.0, 0.0, 0.0),
    meanwhile: Change | None = None,
) -> Ledger:
    """The ledger now; `meanwhile` gives what happens to the source before each further look."""

    async def work() -> Ledger:
        source = await Source.connect(dsn)
        plan = make_plan(migrated.mapping, await source.catalog())
        tables = sorted({entity.rule.table for entity in plan.entities})
        looks = [0]

        @asynccontextmanager
        async def fresh() -> AsyncIterator[RowReader]:
            looks[0] += 1
            if meanwhile is not None:
                connection = await asyncpg.connect(dsn)
                await connection.execute(meanwhile(looks[0]))
                await connection.close()
            holder = await source.snapshot(tables)
            try:
                yield holder
            finally:
                await holder.close()

        opener: Callable[[], AbstractAsyncContextManager[RowReader]] = fresh
        reader = await source.snapshot(tables)
        target = open_target(str(migrated.graph_file), None, create=False, read_only=True)
        out = left_out_of(Journal(migrated.journal_file), str(migrated.graph_file), "")
        try:
            return await take_ledger(
                reader,
                target,
                plan.entities,
                out.entities,
                same_snapshot=False,
                digests=Digests(opener, deep, retries),
            )
        finally:
            target.close()
            await reader.close()
            await source.close()

    return asyncio.run(work())


def _named(ledger: Ledger) -> set[tuple[str, str, str]]:
    return {(d.entity, d.key, d.cause) for d in ledger.differences if d.cause}


def test_a_row_changed_in_the_source_is_stale_in_the_graph(shop: tuple[str, Migrated]) -> None:
    """One of 90 rows, which no sample need meet, with both values."""
    dsn, migrated = shop
    execute(dsn, "UPDATE person SET name = 'other' WHERE id = 77")
    ledger = _validate(dsn, migrated)
    assert _named(ledger) == {("Person", "id=77", "stale")}
    assert ledger.differences[0].values == (("name", "'other'", "'person 77'"),)
    assert not ledger.balanced


def test_what_is_added_and_removed_in_the_source_is_named(shop: tuple[str, Migrated]) -> None:
    """A removed row is one too many in the graph, with its relationship."""
    dsn, migrated = shop
    execute(dsn, "DELETE FROM pet WHERE id = 5; INSERT INTO pet VALUES (999, 'new', 1)")
    assert _named(_validate(dsn, migrated)) == {
        ("Pet", "id=5", "extra"),
        ("Pet", "id=999", "missing"),
        ("(Pet)-[HAS_OWNER]->(Person)", "(id=5) to (id=6)", "extra"),
        ("(Pet)-[HAS_OWNER]->(Person)", "id=999", "end missing"),
    }


def test_a_difference_that_is_gone_at_the_next_look_was_a_change_on_its_way(
    shop: tuple[str, Migrated],
) -> None:
    """It is nobody's mismatch."""
    dsn, migrated = shop
    execute(dsn, "UPDATE person SET name = 'other' WHERE id = 77")
    back = "UPDATE person SET name = 'person 77' WHERE id = 77"
    ledger = _validate(dsn, migrated, meanwhile=lambda look: back)
    assert {e.id: (e.mismatched, e.suspended) for e in ledger.entries if e.id == "Person"} == {
        "Person": (0, 0)
    }


def test_a_key_that_changes_at_every_look_is_suspended(shop: tuple[str, Migrated]) -> None:
    """Nobody can tell whether it is right: the graph is not called right either."""
    dsn, migrated = shop
    execute(dsn, "UPDATE person SET name = 'hot' WHERE id = 77")
    ledger = _validate(
        dsn, migrated, meanwhile=lambda look: f"UPDATE person SET name = 'hot {look}' WHERE id = 77"
    )
    person = next(entry for entry in ledger.entries if entry.id == "Person")
    assert (person.mismatched, person.suspended) == (0, 1)
    assert not ledger.balanced


def test_a_key_that_comes_to_rest_is_a_mismatch(shop: tuple[str, Migrated]) -> None:
    """It changed once more between the looks, and then no more."""
    dsn, migrated = shop
    execute(dsn, "UPDATE person SET name = 'hot' WHERE id = 77")
    ledger = _validate(
        dsn, migrated, meanwhile=lambda look: "UPDATE person SET name = 'cold' WHERE id = 77"
    )
    assert _named(ledger) == {("Person", "id=77", "stale")}


def test_rows_without_a_key_are_compared_by_what_they_hold(shop: tuple[str, Migrated]) -> None:
    """Moved to other places they are the same; one more of the same content is missing."""
    dsn, migrated = shop
    execute(dsn, "UPDATE visit SET what = what")
    execute(dsn, "VACUUM FULL visit")
    for deep in (False, True):
        assert _validate(dsn, migrated, deep=deep).balanced
    execute(dsn, "INSERT INTO visit SELECT * FROM visit LIMIT 1")
    ledger = _validate(dsn, migrated)
    assert {(d.entity, d.cause) for d in ledger.differences} == {("Visit", "missing")}


@pytest.mark.parametrize("deep", [False, True])
def test_much_that_differs_is_told_in_part_and_never_called_right(
    shop: tuple[str, Migrated], monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    """The ledger says that there is more than was named."""
    dsn, migrated = shop
    monkeypatch.setattr(compare, "MOST_CANDIDATES", 10)
    monkeypatch.setattr(compare, "READ_BYTES", 1)
    execute(dsn, "UPDATE pet SET name = name || '!'")
    ledger = _validate(dsn, migrated, deep=deep)
    digest = next(digest for digest in ledger.digests if digest.entity == "Pet")
    assert digest.cut_off
    assert not ledger.balanced
    # Those told all came right meanwhile; the others were never looked at.
    undo = "UPDATE pet SET name = 'pet ' || id WHERE id % 2 = 0"
    ledger = _validate(dsn, migrated, deep=deep, meanwhile=lambda look: undo)
    assert not ledger.balanced


@pytest.mark.parametrize("deep", [False, True])
def test_orphans_and_dead_letters_are_missed_by_nobody(
    make_database: MakeDatabase, tmp_path: Path, deep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in the ledger; a node that is missing takes its relationships along."""
    dsn = make_database(
        """
        CREATE TABLE house (id int PRIMARY KEY, built date);
        CREATE TABLE room (id int PRIMARY KEY, house int);
        INSERT INTO house SELECT n, '2024-01-01' FROM generate_series(1, 20) n;
        UPDATE house SET built = 'infinity' WHERE id = 3;
        INSERT INTO room SELECT n, n % 25 + 1 FROM generate_series(1, 100) n;
        ALTER TABLE room ADD FOREIGN KEY (house) REFERENCES house NOT VALID; ANALYZE;
        """
    )
    migrated = migrate(dsn, tmp_path, infer(read_catalog(dsn)))
    ledger = migrated.runner.ledger
    assert ledger is not None
    assert ledger.balanced
    assert sum(entry.orphans for entry in ledger.entries) == 24
    execute(dsn, "INSERT INTO house VALUES (99, NULL); INSERT INTO room VALUES (999, 99)")
    found = _validate(dsn, migrated, deep=deep)
    assert _named(found) == {
        ("House", "id=99", "missing"),
        ("Room", "id=999", "missing"),
        ("(Room)-[HAS_HOUSE]->(House)", "id=999", "end missing"),
    }


@pytest.mark.parametrize(
    ("rows", "parts"), [(0, 64), (32_000, 64), (32_001, 128), (10**7, 32_768), (10**10, 65_536)]
)
def test_parts_are_few_rows_each_and_not_too_many(rows: int, parts: int) -> None:
    """A power of two, from 64 to 65,536."""
    assert parts_for(rows) == parts


def test_parts_that_differ_are_those_with_another_number_or_sum() -> None:
    """A part that one side does not have is empty there; what has no digest comes first."""
    source: dict[int | None, tuple[int, int]] = {1: (2, 5), 2: (1, 1), 3: (4, 4), 4: (1, 0)}
    graph: dict[int | None, tuple[int, int]] = {1: (2, 5), 2: (2, 1), 3: (4, 5), None: (1, 0)}
    assert differing(source, graph) == [None, 2, 3, 4]
    assert list(in_groups([None, 2, 3, 4], source, graph, 4)) == [[None, 2], [3], [4]]


def test_the_bound_of_a_sample_is_that_of_the_books() -> None:
    """None of n: three in n; all: all; more wrong ones, a higher bound."""
    assert most_wrong(3_000, 0) == pytest.approx(0.001)
    assert most_wrong(0, 0) == 1.0
    assert most_wrong(50, 50) == pytest.approx(1.0)
    bounds: list[Any] = [most_wrong(1_000, wrong) for wrong in (0, 1, 5, 100)]
    assert bounds == sorted(bounds)
    assert 0.1 < bounds[-1] < 0.13
