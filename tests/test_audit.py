"""The audit trail: every action is in it, and nobody can change it unseen."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geode_tui.cli import main
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, EXIT_USAGE, GeodeTuiError
from geode_tui.mapping.model import Mapping, Waiver
from geode_tui.migration.audit import BEGINNING, Audit, _hash
from geode_tui.migration.chunks import ChunkResult
from geode_tui.migration.dead_letters import DeadLetter, Selection
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.paths import journal_file
from geode_tui.validation.ledger import Ledger
from tests.conftest import MakeDatabase
from tests.documentation import documented_keys
from tests.migrate import migrate

WAIVER = Waiver("no_key", "public.log", 'it is a "log" | of [/foo]')
SQL = """
CREATE TABLE log (at int);
INSERT INTO log SELECT generate_series(1, 5);
"""


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The journal of the command line, with one run in it that has a letter of each state."""
    journal = Journal(journal_file())
    journal.begin(_new(Mapping(waivers=(WAIVER,))))
    journal.chunks.add_entities(1, [("A", "node", 3, "")])
    journal.chunks.plan(1, "A", [(None, None)])
    letters = [DeadLetter("A", f"id={n}", "value", "why", "{}", (str(n),)) for n in (1, 2, 3)]
    [chunk] = journal.chunks.open(1, "A")
    journal.chunks.start(1, chunk, 1)
    journal.chunks.finish(1, chunk, ChunkResult(5, letters))
    yield journal
    journal.close()


def _new(mapping: Mapping) -> NewRun:
    return NewRun("postgresql://db1/shop", "shop@db1", "g.grafeo", "", (), "", mapping, 2, None)


def _retry(journal: Journal) -> None:
    [letter] = journal.dead_letters.of(1, 1)
    journal.dead_letters.begin_retry(1, [letter])
    journal.dead_letters.end_retry(1, [letter], [letter])


ACTIONS: dict[str, tuple[Callable[[Journal], Any], str]] = {
    "a run begins": (lambda j: j.begin(_new(Mapping())), "migrate begun"),
    "a run ends": (lambda j: j.set_state(1, "done"), "state"),
    "a run reads a snapshot": (lambda j: j.set_snapshot(1, "7:7:"), "snapshot"),
    "a resume names another wave": (lambda j: j.change(1, last_wave="two"), "changed"),
    "a resume allows more dead letters": (lambda j: j.change(1, dead_limit=9), "changed"),
    "a knob is turned": (lambda j: j.control.ask(1, rows_per_second=9), "knobs"),
    "a run is paused": (lambda j: j.control.ask(1, paused=True), "knobs"),
    "a checkpoint is taken": (lambda j: j.checkpoints.take(1, "x", "backfill"), "checkpoint"),
    "a target is prepared": (lambda j: j.add_prepared(1, "CREATE INDEX x"), "prepared"),
    "a gate is passed": (lambda j: j.set_wave_ledger(1, "one", Ledger(())), "gate"),
    "a ledger is taken": (lambda j: j.set_ledger(1, Ledger(())), "ledger"),
    "a letter is skipped": (
        lambda j: j.dead_letters.skip(1, Selection(ids=(1,)), "for a reason"),
        "dead letters skipped",
    ),
    "a letter is retried": (_retry, "dead letters retried"),
    "a retry is undone": (lambda j: j.dead_letters.forget_retry(1, "A", 1), "interrupted retry"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_in_the_trail(journal: Journal, action: str) -> None:
    """With who did it, when, and the chain goes on."""
    act, what = ACTIONS[action]
    count = len(journal.audit.entries())
    act(journal)
    new = journal.audit.entries()[count:]
    assert [entry for entry in new if entry.what.startswith(what)]
    assert all(entry.who and entry.at and entry.run for entry in new)
    assert journal.audit.check().whole


@pytest.mark.parametrize("action", ACTIONS)
def test_what_cannot_be_audited_does_not_happen(journal: Journal, action: str) -> None:
    """An action and its entry are one transaction: neither is there without the other."""
    act, _ = ACTIONS[action]
    refuse = "CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
    with journal.store.write() as db:
        db.execute(refuse)
    before = _all_of(journal, action)
    with pytest.raises(GeodeTuiError, match="the journal cannot be written"):
        act(journal)
    assert _all_of(journal, action) == before


def _all_of(journal: Journal, action: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the journal; a retry journals its step before it does anything."""
    tables = ["run", "checkpoint", "prepared", "control", "dead_letter", "chunk", "entity", "audit"]
    left_out = ("steps", "step", "more_steps", "digest") if action == "a letter is retried" else ()
    found = {}
    for table in tables:
        rows = journal.store.all(f"SELECT * FROM {table}")
        found[table] = [tuple(v for n, v in dict(row).items() if n not in left_out) for row in rows]
    return found


def test_the_begin_tells_the_waivers_in_force(journal: Journal) -> None:
    """Whoever reads the trail sees what was accepted, and why."""
    first = json.loads(journal.audit.entries(1)[0].after)
    assert first["waivers"] == [
        {"code": "no_key", "subject": "public.log", "reason": WAIVER.reason}
    ]


def test_a_change_tells_before_and_after(journal: Journal) -> None:
    """So that it can be told what somebody changed."""
    journal.control.ask(1, rows_per_second=5)
    journal.control.ask(1, rows_per_second=9, who="ann@db1")
    last = journal.audit.entries(1)[-1]
    assert (last.who, json.loads(last.before), json.loads(last.after)) == (
        "ann@db1",
        {"rows_per_second": 5},
        {"rows_per_second": 9},
    )


def test_a_whole_run_is_in_the_trail(make_database: MakeDatabase, tmp_path: Path) -> None:
    """From its begin over its checkpoints to its ledger and its end."""
    done = migrate(make_database(SQL), tmp_path)
    journal = Journal(done.journal_file)
    told = [entry.what for entry in journal.audit.entries(1)]
    assert journal.audit.check().whole
    journal.close()
    seen = list(dict.fromkeys(told))
    assert seen == [
        *("migrate begun", "state", "checkpoint", "prepared", "snapshot", "ledger"),
    ]
    assert told[-1] == "state"
    assert told.count("checkpoint") == 3


def test_a_password_never_comes_into_the_trail(journal: Journal) -> None:
    """And what is masked stays readable as JSON."""
    journal.audit.add(1, "x", {"dsn": "postgresql://ann:secret@db1/x"}, ["password=secret", 1])
    entry = journal.audit.entries(1)[-1]
    assert "secret" not in entry.before + entry.after
    assert json.loads(entry.after) == ["password=***", 1]


def test_actions_of_several_processes_are_one_chain(journal: Journal) -> None:
    """Terminals and runs write to the same trail at the same time."""

    def act(number: int) -> None:
        mine = Journal(journal.path)
        for _ in range(10):
            mine.audit.add(1, f"action of {number}")
        mine.close()

    threads = [threading.Thread(target=act, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [e.what for e in journal.audit.entries() if e.what.startswith("action of")]
    assert len(told) == 40
    assert journal.audit.check().whole


def test_a_check_while_others_act_finds_nothing_wrong(journal: Journal) -> None:
    """It looks at one moment of the journal."""
    before = journal.audit.check().entries

    def act() -> None:
        mine = Journal(journal.path)
        for _ in range(100):
            mine.audit.add(1, "action")
        mine.close()

    thread = threading.Thread(target=act)
    thread.start()
    broken = []
    while thread.is_alive():
        broken.append(journal.audit.check().broken_at)
    thread.join()
    assert set(broken) <= {None}
    assert journal.audit.check().entries == before + 100


# -- tampering ------------------------------------------------------------------------------------


def _swap(db: sqlite3.Connection) -> None:
    db.execute("UPDATE audit SET number = -1 WHERE number = 3")
    db.execute("UPDATE audit SET number = 3 WHERE number = 4")
    db.execute("UPDATE audit SET number = 4 WHERE number = -1")


def _forge(db: sqlite3.Connection) -> None:
    """An entry whose hash is right: only the head kept apart tells."""
    number, previous = db.execute(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    entry = (number + 1, 1.0, 1, "me", "x", "null", "null", previous)
    db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*entry, _hash(entry)))


def _forge_last(db: sqlite3.Connection) -> None:
    """The last entry replaced by another with a right hash."""
    db.execute("DELETE FROM audit WHERE number = 6")
    _forge(db)


TAMPERINGS: dict[str, tuple[str | Callable[[sqlite3.Connection], None], int]] = {
    "time changed": ("UPDATE audit SET at = at + 1 WHERE number = 3", 3),
    "who changed": ("UPDATE audit SET who = 'nobody' WHERE number = 3", 3),
    "what changed": ("UPDATE audit SET what = 'x' WHERE number = 2", 2),
    "before changed": ("UPDATE audit SET before = '1' WHERE number = 4", 4),
    "after changed": ("UPDATE audit SET after = '{}' WHERE number = 1", 1),
    "run changed": ("UPDATE audit SET run = NULL WHERE number = 3", 3),
    "hash changed": (f"UPDATE audit SET hash = '{BEGINNING}' WHERE number = 3", 3),
    "the first deleted": ("DELETE FROM audit WHERE number = 1", 2),
    "one deleted": ("DELETE FROM audit WHERE number = 3", 4),
    "the last deleted": ("DELETE FROM audit WHERE number = 6", 6),
    "all deleted": ("DELETE FROM audit", 1),
    "two swapped": (_swap, 3),
    "appended": ("INSERT INTO audit VALUES (7, 1, 1, 'me', 'x', '', '', '', '')", 7),
    "appended with a right hash": (_forge, 7),
    "the last replaced with a right hash": (_forge_last, 6),
    "put before the first": ("INSERT INTO audit VALUES (0, 1, 1, 'me', 'x', '', '', '', '')", 0),
    "the head removed": ("DELETE FROM audit_head", 1),
}


@pytest.fixture
def trail() -> Iterator[Journal]:
    """A journal with six entries in its trail."""
    journal = Journal(journal_file())
    journal.begin(_new(Mapping()))
    for number in range(2, 7):
        journal.audit.add(1, f"action {number}", number - 1, number)
    assert journal.audit.check().entries == 6
    yield journal
    journal.close()


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_whoever_tampers_with_the_trail_is_found_out(
    trail: Journal, tampering: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`runs show --audit` names the first entry that is wrong, and ends with 4; for ever."""
    assert main(["runs", "show", "1", "--audit"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "the chain holds: 6 entries, the last is " in out
    assert err == ""

    change, number = TAMPERINGS[tampering]
    with trail.store.write() as db:
        db.execute(change) if isinstance(change, str) else change(db)

    assert trail.audit.broken_at() == number
    assert main(["runs", "show", "1", "--audit"]) == EXIT_DIFFERS
    assert capsys.readouterr().err == f"the chain of the journal is broken at entry {number}\n"
    for _ in range(2):
        trail.audit.add(1, "another action does not heal it")
        assert not trail.audit.check().whole


def test_a_trail_longer_than_a_page_is_checked_to_its_end(
    trail: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read in parts, so that it may grow for years."""
    monkeypatch.setattr("geode_tui.migration.audit._READ_ENTRIES", 2)
    assert trail.audit.check().whole
    with trail.store.write() as db:
        db.execute("UPDATE audit SET what = 'x' WHERE number = 5")
    assert trail.audit.check().broken_at == 5


# -- the command line -----------------------------------------------------------------------------


def test_the_trail_is_printed_and_documented(
    trail: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """As lines, and as JSON with the documented keys; another run's actions are not in it."""
    trail.begin(_new(Mapping()))
    assert main(["runs", "show", "1", "--audit"]) == EXIT_OK
    header, _, *lines, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["entry", "when", "who", "what", "before", "after"]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert last.startswith("the chain holds: 7 entries")

    assert main(["runs", "show", "1", "--audit", "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    verdict = documented_keys("audit verdict")
    assert set(document) == verdict | documented_keys("audit trail")
    assert [set(entry) for entry in document["trail"]] == [documented_keys("audit entry")] * 6
    assert document["trail"][5]["after"] == 6
    assert (document["whole"], document["broken_at"], document["entries"]) == (True, None, 7)
    assert document["last"] == trail.audit.entries()[-1].hash


def test_the_trail_is_of_one_run(trail: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong use is told, not answered with something else."""
    for wrong in (
        ["runs", "--audit"],
        ["runs", "show", "9", "--audit"],
        ["runs", "show", "1", "--audit", "--format", "md"],
        ["runs", "compare", "1", "1", "--audit"],
    ):
        assert main(wrong) == EXIT_USAGE
        assert capsys.readouterr().out == ""


def test_damaged_values_are_shown_as_they_are(
    trail: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who looks into a tampered trail sees it, whatever stands in it."""
    with trail.store.write() as db:
        db.execute("UPDATE audit SET after = '{no JSON \x1b[31m' WHERE number = 2")
    assert main(["runs", "show", "1", "--audit"]) == EXIT_DIFFERS
    out = capsys.readouterr().out
    assert "{no JSON \\x1b[31m" in out
    assert "\x1b" not in out
    assert main(["runs", "show", "1", "--audit", "--json"]) == EXIT_DIFFERS
    assert json.loads(capsys.readouterr().out)["trail"][1]["after"] == "{no JSON \x1b[31m"


def test_an_unknown_user_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may know no name for who runs it."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1001")

    monkeypatch.setattr("getpass.getuser", nobody)
    journal = Journal(journal_file())
    Audit(journal.store).add(None, "x")
    assert journal.audit.entries()[0].who.startswith("unknown@")
    journal.close()
