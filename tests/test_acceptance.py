"""What differs can be accepted for a reason: it is told ever after, and no validation fails on it.

An acceptance is of exactly what differed: something else at the same key counts again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, EXIT_USAGE
from geode_tui.migration.journal import Journal
from geode_tui.target import open_target
from geode_tui.validation.acceptance import Settled, settle
from geode_tui.validation.ledger import (
    Cause,
    Check,
    Difference,
    EntityDigest,
    Entry,
    Ledger,
    sign_of,
)
from tests.command_line import CommandLine, Finished, execute
from tests.conftest import MakeDatabase

TOWN = """
CREATE TABLE "[/foo] person" (id int PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE pet (id int PRIMARY KEY, name text, owner int NOT NULL REFERENCES "[/foo] person");
INSERT INTO "[/foo] person" SELECT n, '[/p] ' || n, '2000-01-01' FROM generate_series(1, 30) n;
INSERT INTO pet SELECT n, 'pet ' || n, n % 30 + 1 FROM generate_series(1, 40) n;
ANALYZE;
"""


class Town:
    """A migrated database that is validated on the command line."""

    def __init__(self, line: CommandLine, dsn: str) -> None:
        self.line = line
        self.dsn = dsn
        line.run_here("map", "--source", dsn, "--output", "m.yaml")
        self.both = ("--source", dsn, "--target", "town.grafeo", "--mapping", "m.yaml")
        line.run_here("migrate", *self.both)

    def query(self, *statements: str) -> None:
        """Change the graph behind the product's back."""
        graph = open_target(str(self.line.folder / "town.grafeo"), None, create=False)
        for statement in statements:
            graph.query(statement)
        graph.flush()
        graph.close()

    def validate(self, *options: str) -> Finished:
        """Validate; JSON on stdout."""
        return self.line.run_here("validate", *self.both, "--json", *options)


@pytest.fixture
def town(make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """A small town, migrated; what differs is looked at again at once."""
    monkeypatch.setattr("geode_tui.migration.validating.RETRIES", (0.0,))
    return Town(CommandLine(tmp_path), make_database(TOWN))


def test_what_is_accepted_fails_no_later_validation(town: Town) -> None:
    """Exit 4 before, 0 after it was accepted; the report tells the reason and by whom."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'", "MATCH (n:Pet {id: 8}) DETACH DELETE n")
    found = town.validate()
    assert found.code == EXIT_DIFFERS
    run = str(found.json["run"])
    accepted = town.line.run_here("accept", run, "--entity", "Pet", "--reason", "[/as agreed]")
    assert accepted.code == EXIT_DIFFERS, (
        "the relationship of the pet that is gone is missing still"
    )
    more = ("--entity", "(Pet)-[HAS_OWNER]->(FooPerson)", "--reason", "goes with it")
    assert town.line.run_here("accept", run, *more).code == EXIT_OK
    again = town.validate()
    assert again.code == EXIT_OK
    document = again.json
    assert document["valid"]
    told = {(one["entity"], one["key"], one["state"]) for one in document["differences"]}
    assert told == {
        ("Pet", "id=7", "accepted"),
        ("Pet", "id=8", "accepted"),
        ("(Pet)-[HAS_OWNER]->(FooPerson)", "id=8", "accepted"),
    }
    assert all("(" in one["reason"] for one in document["differences"]), "who accepted it is told"
    listed = town.line.run_here("accept", run, "--json").json["accepted"]
    assert {one["reason"] for one in listed} == {"[/as agreed]", "goes with it"}


def test_something_else_at_the_same_key_counts_again(town: Town) -> None:
    """Another value than the one that was accepted is a mismatch."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'")
    run = str(town.validate().json["run"])
    town.line.run_here("accept", run, "--key", "id=7", "--reason", "agreed")
    assert town.validate().code == EXIT_OK
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Max'")
    assert town.validate().code == EXIT_DIFFERS


def test_a_row_that_is_accepted_as_missing_counts_again_when_it_changes(town: Town) -> None:
    """Nobody has accepted that the new content is missing."""
    town.query("MATCH (n:Pet {id: 7}) DETACH DELETE n")
    run = str(town.validate().json["run"])
    for entity in ("Pet", "(Pet)-[HAS_OWNER]->(FooPerson)"):
        town.line.run_here("accept", run, "--entity", entity, "--reason", "died")
    assert town.validate().code == EXIT_OK
    execute(town.dsn, "UPDATE pet SET name = 'Phoenix' WHERE id = 7")
    assert town.validate().code == EXIT_DIFFERS


def test_a_row_that_cannot_be_carried_is_named_unless_it_is_a_dead_letter(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason; a repair leaves it alone, and it can be accepted."""
    monkeypatch.setattr("geode_tui.migration.validating.RETRIES", (0.0,))
    dsn = make_database(
        "CREATE TABLE item (id int PRIMARY KEY, price numeric);"
        "INSERT INTO item VALUES (1, 1.50), (2, 'NaN'), (3, 3)"
    )
    line = CommandLine(tmp_path)
    line.run_here("map", "--source", dsn, "--output", "m.yaml")
    both = ("--source", dsn, "--target", "items.grafeo", "--mapping", "m.yaml")
    line.run_here("migrate", *both)
    assert line.run_here("validate", *both).code == EXIT_OK, "row 2 is a dead letter"
    execute(dsn, "INSERT INTO item VALUES (4, 'NaN')", "UPDATE item SET price = 'NaN' WHERE id = 1")
    found = line.run_here("validate", *both, "--json")
    assert found.code == EXIT_DIFFERS
    rows = found.json["differences"]
    assert sorted((one["key"], one["cause"], one["where"]) for one in rows) == [
        ("id=1", "extra", "graph"),
        ("id=1", "refused", "source"),
        ("id=4", "refused", "source"),
    ]
    refused = [one for one in rows if one["cause"] == "refused"]
    assert all(one["values"][0][0] == "cannot be carried" for one in refused)
    assert all("NaN" in one["values"][0][1] for one in refused)
    assert all("SELECT" in one["source_sql"] for one in refused)
    run = str(found.json["run"])
    preview = line.run_here("repair", run, "--cause", "refused", "--preview")
    assert "2 left alone: it cannot be carried" in preview.out
    some = line.run_here("accept", run, "--cause", "refused", "--reason", "no price yet")
    assert some.code == EXIT_DIFFERS, "what the graph holds of row 1 is too many still"
    assert line.run_here("accept", run, "--key", "id=1", "--reason", "agreed").code == EXIT_OK
    assert line.run_here("validate", *both).code == EXIT_OK
    elsewhere = CommandLine(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    there = ("--target", str(tmp_path / "items.grafeo"), "--mapping", str(tmp_path / "m.yaml"))
    told = elsewhere.run_here("validate", "--source", dsn, *there, "--json").json["differences"]
    named = {one["key"] for one in told if one["cause"] == "refused"}
    assert named == {"id=1", "id=2", "id=4"}, "without the journal, dead letters are not known"


def test_an_acceptance_can_be_withdrawn(town: Town) -> None:
    """After that it counts as before; both are in the audit trail."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'")
    run = str(town.validate().json["run"])
    town.line.run_here("accept", run, "--key", "id=7", "--reason", "agreed")
    assert town.line.run_here("accept", run, "--key", "id=7", "--withdraw").code == EXIT_OK
    assert town.validate().code == EXIT_DIFFERS
    entries = Journal(town.line.state / "journal.sqlite3").audit.entries(int(run))
    assert [e.what for e in entries if "accept" in e.what] == ["accepted", "acceptance withdrawn"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--key", "id=7"), "for a reason"),
        (("--key", "id=7", "--reason", "  "), "for a reason"),
        (("--key", "id=999", "--reason", "x"), "names nothing like that"),
        (("--entity", "Pett", "--reason", "x"), "no entity Pett"),
    ],
)
def test_wrong_use_is_told_and_accepts_nothing(
    town: Town, arguments: tuple[str, ...], words: str
) -> None:
    """Wrong use ends with 2 and one clear error."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'")
    run = str(town.validate().json["run"])
    refused = town.line.run_here("accept", run, *arguments)
    assert refused.code == EXIT_USAGE
    assert words in refused.error[0]
    assert town.validate().code == EXIT_DIFFERS


def test_repair_on_the_command_line(town: Town) -> None:
    """A preview writes nothing; the name is asked for; after it source and graph are equal."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'", "MATCH (n:Pet {id: 8}) DETACH DELETE n")
    run = str(town.validate().json["run"])
    preview = town.line.run_here("repair", run, "--all", "--preview", "--json").json
    assert {one["key"] for one in preview["replace"]} == {"id=7"}
    assert {one["entity"] for one in preview["write"]} == {"Pet", "(Pet)-[HAS_OWNER]->(FooPerson)"}
    assert town.validate().code == EXIT_DIFFERS
    asked = town.line.run_here("repair", run, "--all")
    assert asked.code == EXIT_USAGE
    assert "--yes" in asked.error[-1]
    assert town.line.run_here("repair", run).code == EXIT_USAGE, "nobody said which rows"
    done = town.line.run_here("repair", run, "--all", "--yes", "--json")
    assert done.code == EXIT_OK
    assert done.json["valid"]
    assert town.validate().code == EXIT_OK
    assert town.line.run_here("rollback", str(done.json["run"]), "--yes").code == EXIT_OK
    assert town.validate().code == EXIT_DIFFERS


def test_secrets_of_a_reason_are_not_journaled(town: Town) -> None:
    """A password in a reason is masked, as everywhere."""
    town.query("MATCH (n:Pet {id: 7}) SET n.name = 'Rex'")
    run = str(town.validate().json["run"])
    reason = "see postgresql://ann:s3cret@db1/shop"
    town.line.run_here("accept", run, "--key", "id=7", "--reason", reason)
    assert b"s3cret" not in (town.line.state / "journal.sqlite3").read_bytes()


# -- the arithmetic -------------------------------------------------------------------------------

Where = Literal["source", "graph", "both"]
_CAUSES: dict[Where, list[Cause]] = {
    "source": ["missing", "end missing"],
    "graph": ["extra", "doubled"],
    "both": ["stale", "edited", "type"],
}


@st.composite
def _ledgers(draw: st.DrawFn) -> Ledger:
    """The ledger of an entity of which some rows differ, as validation makes it."""
    pick: st.SearchStrategy[Where] = st.sampled_from(["source", "graph", "both"])
    wheres = draw(st.lists(pick, max_size=8))
    differences = tuple(
        Difference(
            "Pet",
            f"id={n}",
            where,
            (("name", "'a'", "'b'"),) if where == "both" else (),
            cause=_CAUSES[where][n % len(_CAUSES[where])],
            mark=str(n),
            digested=True,
            sampled=n % 3 == 0,
        )
        for n, where in enumerate(wheres)
    )
    missing = wheres.count("source")
    extra = wheres.count("graph")
    entry = Entry(
        "Pet",
        "node",
        "pet",
        100,
        100 - missing + extra,
        duplicates=sum(one.cause == "doubled" for one in differences),
        sampled=50,
        differing=sum(one.sampled for one in differences),
        mismatched=len(differences),
    )
    return Ledger((entry,), differences, digests=(EntityDigest("Pet", False, 64, 8, 100, 9),))


@given(_ledgers(), st.data())
def test_an_entry_balances_when_all_of_it_is_settled_and_only_then(
    ledger: Ledger, data: st.DataObject
) -> None:
    """Whatever mixture is accepted or repaired: the rest stands, and is still counted."""
    states = [data.draw(st.sampled_from(["", "accepted", "repaired"])) for _ in ledger.differences]
    by_state = {
        state: {
            one.sign: "why"
            for one, own in zip(ledger.differences, states, strict=True)
            if own == state
        }
        for state in ("accepted", "repaired")
    }
    (entry,) = settle(ledger, Settled(by_state["accepted"], by_state["repaired"])).entries
    standing = states.count("")
    assert entry.mismatched == standing
    assert (entry.accepted, entry.repaired) == (states.count("accepted"), states.count("repaired"))
    assert entry.balanced == (standing == 0)
    if not standing:
        assert entry.missing == entry.duplicates == entry.differing == 0


def test_more_that_differs_than_was_told_is_never_settled() -> None:
    """Who accepted all that was named has not seen the rest."""
    one = Difference("Pet", "id=1", "both", (("a", "1", "2"),), digested=True)
    entry = Entry("Pet", "node", "pet", 10, 10, mismatched=1)
    ledger = Ledger(
        (entry,), (one,), digests=(EntityDigest("Pet", False, 64, 64, 10, 10, cut_off=True),)
    )
    assert not settle(ledger, Settled({one.sign: "why"})).balanced


def test_an_entry_and_a_check_are_accepted_as_they_are() -> None:
    """With other numbers they count again."""
    entry = Entry("Pet:Old", "label", "pet", 10, 9)
    check = Check("constraints", "Pet", False, "2", "1 of 2 there")
    ledger = Ledger((entry,), checks=(check,))
    settled = Settled({entry.sign: "agreed", check.sign: "made later"})
    assert settle(ledger, settled).valid
    assert [e.state for e in settle(ledger, settled).entries] == ["accepted"]
    worse = Ledger((replace(entry, in_graph=8),), checks=(replace(check, graph="0 of 2 there"),))
    assert not settle(worse, settled).balanced
    assert not any(one.fine for one in settle(worse, settled).checks)


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_signs_tell_texts_apart(texts: list[str]) -> None:
    """Also those that look alike, and pieces that would run together."""
    assert sign_of(*texts) != sign_of(*reversed(texts))
    assert sign_of("a" + texts[0], "b") != sign_of("a", texts[0] + "b") or texts[0] == ""


def test_a_journal_of_the_version_before_is_taken_over(town: Town) -> None:
    """Its runs are there, and acceptances can be written."""
    journal = Journal(town.line.state / "journal.sqlite3")
    with journal.store.write() as db:
        db.execute("DROP TABLE acceptance")
        db.execute("DROP TABLE repaired")
        db.execute("PRAGMA user_version = 2")
    journal.close()
    journal = Journal(town.line.state / "journal.sqlite3")
    ledger = journal.ledger(1)
    assert ledger is not None
    assert ledger.valid
    journal.acceptances.accept(journal.run(1).graph_identity, 1, [("x", "y")], "z")
    text = json.dumps([one.reason for one in journal.acceptances.of(journal.run(1).graph_identity)])
    assert text == '["z"]'
