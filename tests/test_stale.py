"""A validation proves what was there at its snapshot: what changes touched since is stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geode_tui.errors import EXIT_OK
from geode_tui.migration.journal import Journal
from geode_tui.validation.acceptance import Settled, settle
from geode_tui.validation.ledger import Entry, EntryKind, Ledger
from geode_tui.validation.report import Facts, make_report
from geode_tui.validation.report_html import as_html
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown
from geode_tui.validation.verify import take_ledger
from geode_tui.widgets.check_model import checks_of
from tests.command_line import CommandLine
from tests.conftest import MakeDatabase
from tests.validation_reports import Page, markdown_tables, read_junit

SHOP = """
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE pet (id int PRIMARY KEY, owner int NOT NULL REFERENCES person);
INSERT INTO person SELECT n, 'person ' || n FROM generate_series(1, 30) n;
INSERT INTO pet SELECT n, n % 7 + 1 FROM generate_series(1, 40) n;
ANALYZE;
"""


class Shop:
    """A migrated shop whose run captures changes, as its journal tells."""

    def __init__(self, line: CommandLine, dsn: str) -> None:
        self.line = line
        line.run_here("map", "--source", dsn, "--output", "m.yaml")
        self._both = ("--source", dsn, "--target", "shop.grafeo", "--mapping", "m.yaml")
        assert line.run_here("migrate", *self._both).code == EXIT_OK
        self.journal = Journal(line.state / "journal.sqlite3")
        self.journal.captures.begin(1, "slot", "geode_1", {})

    def validate(self) -> Any:
        """Validate; the document."""
        done = self.line.run_here("validate", *self._both, "--json")
        assert done.code == EXIT_OK
        return done.json

    def states(self, run: int) -> dict[str, str]:
        """The state of each entry of a run's ledger, as it is told now."""
        ledger = self.journal.ledger(run)
        assert ledger is not None
        return {entry.id: entry.state for entry in ledger.entries}


@pytest.fixture
def shop(make_database: MakeDatabase, tmp_path: Path) -> Iterator[Shop]:
    """A small shop."""
    made = Shop(CommandLine(tmp_path), make_database(SHOP))
    yield made
    made.journal.close()


def test_what_changes_touched_since_is_stale_until_it_is_validated_again(shop: Shop) -> None:
    """Only what was touched is; the next validation is fresh, whatever came before it."""
    first = shop.validate()
    assert {entry["state"] for entry in first["entries"]} == {"validated"}
    shop.journal.captures.count(1, "Pet", 3, 2)
    assert shop.states(first["run"]) == {
        "Person": "validated",
        "Pet": "stale",
        "(Pet)-[HAS_OWNER]->(Person)": "validated",
    }
    assert shop.states(1)["Pet"] == "stale", "the ledger of the run that moved the rows is, too"
    second = shop.validate()
    assert {entry["state"] for entry in second["entries"]} == {"validated"}
    assert set(shop.states(second["run"]).values()) == {"validated"}
    shop.journal.captures.count(1, "Person", 1, 0)
    assert shop.states(second["run"])["Person"] == "stale"
    assert shop.states(second["run"])["Pet"] == "validated"
    told = shop.line.run_here("runs", "show", str(second["run"]))
    assert "1 change since" in told.out


def test_a_change_that_comes_while_rows_are_compared_makes_them_stale(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it was seen: what is told then is no proof of it."""

    async def take_and_be_touched(*arguments: Any, **more: Any) -> Ledger:
        ledger = await take_ledger(*arguments, **more)
        shop.journal.captures.count(1, "Pet", 1, 0)
        return ledger

    monkeypatch.setattr("geode_tui.migration.validating.take_ledger", take_and_be_touched)
    found = shop.validate()
    assert {e["id"]: (e["state"], e["stale"]) for e in found["entries"]} == {
        "Person": ("validated", 0),
        "Pet": ("stale", 1),
        "(Pet)-[HAS_OWNER]->(Person)": ("validated", 0),
    }


def test_changes_of_another_graph_make_nothing_stale(shop: Shop) -> None:
    """A run into another target captures for itself."""
    first = shop.validate()
    with shop.journal.store.write() as db:
        db.execute("UPDATE run SET target = 'other.grafeo' WHERE number = 1")
    shop.journal.captures.count(1, "Pet", 3, 2)
    assert set(shop.states(first["run"]).values()) == {"validated"}


def _entry(name: str, kind: EntryKind = "node", mismatched: int = 0) -> Entry:
    return Entry(name, kind, "s.t", 9, 9, mismatched=mismatched)


def test_an_entry_of_a_label_goes_stale_with_its_entity() -> None:
    """What is wrong stays so; fewer changes than there were then are none."""
    entries = (
        _entry("User"),
        _entry("User:Admin", "label"),
        _entry("User.city", "join"),
        _entry("UserGroup:Admin", "label"),
        _entry("Wrong", mismatched=1),
        _entry("Fewer"),
        _entry("Quiet"),
    )
    ledger = Ledger(entries, touched=(("User", 5), ("Fewer", 7)))
    now = {"User": 8, "Fewer": 2, "Wrong": 4}
    told = settle(ledger, Settled(touched=now)).entries
    assert [(one.id, one.state, one.stale) for one in told] == [
        ("User", "stale", 3),
        ("User:Admin", "stale", 3),
        ("User.city", "stale", 3),
        ("UserGroup:Admin", "validated", 0),
        ("Wrong", "mismatched", 4),
        ("Fewer", "validated", 0),
        ("Quiet", "validated", 0),
    ]


def test_every_format_tells_what_is_stale() -> None:
    """With the mark, the word and how many changes came; it fails nothing."""
    ledger = settle(Ledger((_entry("User"), _entry("Pet"))), Settled(touched={"User": 1_234}))
    report = make_report(ledger, Facts("s", "t", "m"))
    assert ledger.valid
    assert report.verdict == "all 2 entries balance; 1 touched by changes since"
    assert report.states["stale"] == 1
    [rows, *_] = [t for t in markdown_tables(as_markdown(report)) if t[0][0] == "entry"]
    assert rows[1][-2:] == ["◔ stale", "balanced, 1,234 changes since"]
    [row] = [row for row in Page(as_html(report)).table("Source rows") if row[0] == "User"]
    assert row[-1] == "◔ Stale: balanced, 1,234 changes since"
    junit = read_junit(as_junit(report))
    assert junit.counts["failures"] == 0
    assert "User: ◔ stale: " in junit.told
    assert list(report.notes) == [
        "User: stale: 1,234 captured changes touched it since: validate again"
    ]
    [branch, *_] = checks_of(ledger)
    assert [(one.path[-1], one.told) for one in branch.branches] == [
        ("User", "◔ stale"),
        ("Pet", "✓ validated"),
    ]
