"""Steering a run from another terminal, and what that terminal is shown of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geode_tui.cli import main
from geode_tui.commands.standing import HighWater, status_document
from geode_tui.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.chunks import ChunkResult
from geode_tui.migration.events import EntityProgress, RunSnapshot
from geode_tui.migration.journal import Journal, NewRun, RunRecord
from geode_tui.migration.runner import Runner, RunRequest
from tests.command_line import CommandLine, Finished
from tests.conftest import MakeDatabase
from tests.documentation import documented_keys
from tests.migrate import read_catalog

PEOPLE = """
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, friend int REFERENCES person);
CREATE TABLE pet (id int PRIMARY KEY, owner int NOT NULL REFERENCES person);
INSERT INTO person SELECT n, 'name ' || n, 1 + n % 100 FROM generate_series(1, 4000) n;
INSERT INTO pet SELECT n, n FROM generate_series(1, 1000) n;
ANALYZE;
"""
SLOW = 200
"""Rows a second at which the run would take longer than any test waits."""
WAIT_SECONDS = 60  # only so that a defect cannot hang the tests


class Going:
    """A run that goes slowly in this process, and a command line beside it."""

    def __init__(self, line: CommandLine, dsn: str) -> None:
        self.line = line
        line.state.mkdir(parents=True)
        self.journal = Journal(line.state / "journal.sqlite3")
        self.journal.control.ask(1, rows_per_second=SLOW, who="ann@db1")
        mapping = infer(read_catalog(dsn))
        request = RunRequest(dsn, str(line.folder / "t.grafeo"), mapping)
        self.runner = Runner(request, journal=line.state / "journal.sqlite3")

    def status(self) -> dict[str, Any]:
        """Where it stands now."""
        return status_document(self.journal, 1)

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The status as soon as it is as expected."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            if self.journal.runs() and holds(document := self.status()):
                return document
            assert not self.runner.finished, self.runner.error
            time.sleep(0.05)
        raise AssertionError("it never came to that")

    def finish(self) -> None:
        """Let it go at full speed to its end."""
        self.journal.control.ask(1, rows_per_second=None, paused=False)
        assert self.runner.join(WAIT_SECONDS)
        if self.runner.error is not None:
            raise self.runner.error


@pytest.fixture
def going(tmp_path: Path, make_database: MakeDatabase) -> Iterator[Going]:
    """A run that is being moved, throttled by ann@db1."""
    found = Going(CommandLine(tmp_path), make_database(PEOPLE))
    found.runner.start()
    try:
        found.until(lambda document: document["phases"][2]["state"] == "running")
        yield found
    finally:
        found.runner.stop()
        found.runner.join(WAIT_SECONDS)
        found.journal.close()


def refused(done: Finished, code: int, *parts: str) -> None:
    """It ended with that code and an error that holds those parts."""
    assert (done.code, done.out) == (code, "")
    assert len(done.error) in (1, 2, 3)
    for part in parts:
        assert part in "\n".join(done.error)


# -- pause and resume ---------------------------------------------------------------------------


def test_a_run_is_paused_and_goes_on(going: Going) -> None:
    """`pause` lets it stand still and say who paused it; `resume` lets it go to a good end."""
    done = going.line.run_here("pause", "1")
    assert (done.code, done.err) == (EXIT_OK, "lift the pause with: geode-tui resume 1\n")
    assert done.out.startswith("run 1 pauses after the rows in flight")
    paused = going.until(lambda document: document["pace"].startswith("paused by "))
    assert {"who": "run", "what": paused["pace"]} in paused["waits"]
    assert paused["eta"] is None
    _until_it_stands_still(going)

    done = going.line.run_here("resume", "1")
    assert (done.code, done.out) == (EXIT_OK, "run 1 goes on\n")
    standing = paused["rows"]
    going.until(lambda document: document["rows"] > standing + 100)
    going.finish()
    assert going.status()["state"] == "done"


def test_who_asked_for_what_is_in_the_audit_trail(going: Going) -> None:
    going.line.run_here("pause", "1")
    going.line.run_here("resume", "1")
    trail = [e for e in going.journal.audit.entries(1) if e.what == "knobs"]
    asked = [(json.loads(e.before), json.loads(e.after)) for e in trail]
    assert asked[-2:] == [({"paused": False}, {"paused": True}), ({"paused": True}, {"paused": 0})]
    assert "@" in trail[-1].who


def test_the_only_run_that_goes_needs_no_number(going: Going) -> None:
    """`resume` without a number lifts a pause before it goes on with a run that stopped."""
    assert going.line.run_here("pause", "--json").json["paused"] is True
    knobs = going.line.run_here("resume", "--json").json
    assert (knobs["run"], knobs["paused"]) == (1, False)
    assert set(knobs) == documented_keys("knobs")


def test_a_run_that_goes_and_is_not_paused_is_not_resumed(going: Going) -> None:
    done = going.line.run_here("resume", "1")
    refused(done, EXIT_USAGE, "run 1 is", "geode-tui status --follow")


# -- throttle -----------------------------------------------------------------------------------


def test_a_run_is_throttled_and_let_go(going: Going) -> None:
    """Each knob can be turned alone; the others stay. The run says what it goes by."""
    assert going.line.run_here("throttle").out == (
        "run 1: 200 rows/s at most, 2 workers, transactions adapt\n"
    )
    done = going.line.run_here("throttle", "1", "--rows-per-second", "300", "--parallel", "1")
    assert done.out == "run 1: 300 rows/s at most, 1 worker, transactions adapt\n"
    going.line.run_here("throttle", "1", "--batch-size", "7")
    settings = {"rows a second": "300", "workers": "1 (begun with 2)", "batch": "7 rows, fixed"}
    shown = going.until(lambda document: document["knobs"] == settings)
    assert shown["pace"].startswith("throttled to 300 rows/s by ")

    done = going.line.run_here("throttle", "--rows-per-second", "off", "--batch-size", "auto")
    assert done.out == "run 1: no limit, 1 worker, transactions adapt\n"
    assert going.runner.join(WAIT_SECONDS)
    assert going.status()["state"] == "done"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("--rows-per-second 0", "'0' is no whole number of at least 1, and not the word off"),
        ("--batch-size off", "'off' is no whole number of at least 1, and not the word auto"),
        ("--parallel 27", "27 is too much"),
        ("--rows-per-second 99999999999999999999", "is too much"),
    ],
)
def test_a_speed_that_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: str, part: str
) -> None:
    try:
        code = main(["throttle", *arguments.split()])
    except SystemExit as left:
        code = left.code  # type: ignore[assignment]
    assert code == EXIT_USAGE
    assert part in capsys.readouterr().err


# -- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True], ids=["going", "paused"])
def test_a_checkpoint_is_taken_while_a_run_goes(going: Going, paused: bool) -> None:
    """The verb waits for it; a paused run takes it too, and is paused still."""
    if paused:
        going.line.run_here("pause")
        going.until(lambda document: document["pace"].startswith("paused"))
    going.line.run_here("throttle", "--rows-per-second", "off")
    name = "before the 'pets' [/b]"
    done = going.line.run_here("checkpoint", "1", name, "--json")
    assert (done.code, done.json["name"], done.json["automatic"]) == (EXIT_OK, name, False)
    assert set(done.json) == documented_keys("checkpoint")
    assert going.journal.checkpoints.named(1, name).step == done.json["step"]
    assert going.journal.control.knobs(1).checkpoint == ""
    assert going.journal.control.knobs(1).paused is paused
    going.finish()


def test_a_checkpoint_that_is_not_taken_in_time_says_why(going: Going) -> None:
    """It stays asked for; another cannot be asked for meanwhile."""
    done = going.line.run_here("checkpoint", "1", "soon", "--timeout", "1")
    refused(done, EXIT_FAILED, "checkpoint soon is asked for", "chunks are in flight")
    done = going.line.run_here("checkpoint", "1", "later", "--timeout", "1")
    refused(done, EXIT_USAGE, "run 1 is about to take the checkpoint soon")


# -- runs that do not go ------------------------------------------------------------------------


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def journal(line: CommandLine) -> Iterator[Journal]:
    line.state.mkdir(parents=True)
    with_path = Journal(line.state / "journal.sqlite3")
    yield with_path
    with_path.close()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb", "begin", "backfill", "wave one"])
def test_a_name_that_is_none_or_a_runs_own_is_refused(
    line: CommandLine, journal: Journal, name: str
) -> None:
    """A checkpoint is found by its name again, and those that runs take keep theirs."""
    with journal.hold(_begin(journal)):
        done = line.run_here("checkpoint", "1", name)
    refused(done, EXIT_USAGE, "name")
    assert "no run" not in done.err
    assert journal.control.knobs(1).checkpoint == ""


@pytest.mark.parametrize("verb", ["pause 1", "throttle 1", "checkpoint 1 here"])
def test_a_run_that_does_not_go_is_refused(line: CommandLine, journal: Journal, verb: str) -> None:
    """One that stopped is told how to go on; a number that is no run where to look."""
    refused(line.run_here(*verb.split()), EXIT_USAGE, "no run 1", "geode-tui runs")
    record = _begin(journal)
    refused(line.run_here(*verb.split()), EXIT_USAGE, "run 1 is stopped", "geode-tui resume 1")
    journal.set_state(record.number, "done")
    refused(line.run_here(*verb.split()), EXIT_USAGE, "run 1 is done", "geode-tui runs")


def test_without_a_number_it_must_be_clear_which_run(line: CommandLine, journal: Journal) -> None:
    refused(line.run_here("pause"), EXIT_USAGE, "no run goes now")
    first, second = _begin(journal, "a.grafeo"), _begin(journal, "b.grafeo")
    with journal.hold(first), journal.hold(second):
        refused(line.run_here("pause"), EXIT_USAGE, "2 runs go: 2, 1")
        assert line.run_here("pause", "2").code == EXIT_OK
    assert not journal.control.knobs(1).paused


# -- status of a run that goes ------------------------------------------------------------------


def test_who_follows_a_run_sees_it_grow_and_every_wait_named(going: Going) -> None:
    """Through throttle, pause and full speed: monotone, never above 100 %, nothing unnamed."""
    with going.line.start("status", "--follow", "--json") as follower:
        documents = [json.loads(follower.out.readline())]
        going.line.run_here("pause")
        going.until(lambda document: document["pace"].startswith("paused"))
        documents += [json.loads(follower.out.readline()) for _ in range(2)]
        going.finish()
        done = follower.finish()
    documents += [json.loads(text) for text in done.out.splitlines()]
    assert (done.code, done.err) == (EXIT_OK, "")

    _assert_monotone([document["rows"] for document in documents])
    _assert_monotone([document["share"] for document in documents])
    for entity in ("Person", "Pet", "(Pet)-[HAS_OWNER]->(Person)"):
        some = [_entity(document, entity) for document in documents]
        _assert_monotone([one["rows"] for one in some])
        _assert_monotone([one["share"] for one in some])
    for document in documents:
        _assert_nothing_is_over(document)
        _assert_every_wait_has_a_name(document)
    assert any(document["pace"].startswith("paused by") for document in documents)
    last = documents[-1]
    assert (last["state"], last["share"], last["waits"]) == ("done", 1.0, [])
    assert all(entity["share"] == 1.0 and entity["exact"] for entity in last["entities"])


def test_a_run_that_goes_tells_its_rate_its_workers_and_its_source(going: Going) -> None:
    document = going.until(
        lambda document: bool(document["rate"] and document["eta"] and document["source_load"])
    )
    assert set(document) == documented_keys("status")
    assert set(document["waits"][0]) == documented_keys("wait")
    assert set(document["entities"][0]) == documented_keys("entity")
    assert document["pace"] == "throttled to 200 rows/s by ann@db1"
    assert document["source_load"]["replica lag"] == "none known"
    assert any(text.startswith(("A: ", "B: ")) for text in document["workers"])
    waiting = _entity(document, "(Pet)-[HAS_OWNER]->(Person)")
    assert waiting["reason"] == "waits for Pet, Person"
    assert document["silence"] < 10
    text = going.line.run_here("status").out
    assert "throttled to 200 rows/s by ann@db1" in text
    assert re.search(
        r"^\(Pet\)-\[HAS_OWNER\]->\(Person\) +waits for Pet, Person +0 +±1,000 +0 % ",
        text,
        re.MULTILINE,
    )


# -- status from the journal --------------------------------------------------------------------


def test_a_run_that_says_nothing_is_said_to_be_silent(journal: Journal) -> None:
    """What it told long ago is not shown as if it were now."""
    record = _begin(journal)
    _plan(journal, record, estimate=1_000)
    journal.live.tell(record.number, _told(rate=5_000.0, pace="throttled", workers=("A: writing",)))
    with journal.hold(record):
        fresh = status_document(journal, 1)
        assert (fresh["rate"], fresh["pace"], fresh["silence"] < 10) == (5_000.0, "throttled", True)
        with journal.store.write() as db:
            db.execute("UPDATE live SET at = at - 12")
        silent = status_document(journal, 1)
    assert (silent["rate"], silent["eta"], silent["pace"], silent["workers"]) == (
        None,
        None,
        "",
        [],
    )
    assert silent["waits"][0]["who"] == "run"
    assert silent["waits"][0]["what"].startswith("no word for 12")


def test_a_run_that_was_killed_is_shown_as_stopped(journal: Journal, line: CommandLine) -> None:
    """Nobody holds it: nothing of it seems to go on, and each part says what it waits for."""
    record = _begin(journal)
    _plan(journal, record, estimate=1_000)
    journal.set_phase(1, "backfill", "running")
    journal.chunks.add_entities(1, [("Pet", "node", 5, "")])
    _move(journal, record, 0, 400)
    journal.live.tell(1, _told(rate=5_000.0, workers=("A: writing Person 1",)))
    document = status_document(journal, 1)
    assert (document["state"], document["rate"], document["workers"]) == ("stopped", None, [])
    states = {entity["id"]: (entity["state"], entity["reason"]) for entity in document["entities"]}
    resume = "waits for: geode-tui resume 1"
    assert states == {"Person": ("stopped", "its process is gone"), "Pet": ("waiting", resume)}
    assert [phase["state"] for phase in document["phases"]][2:] == ["stopped", "waiting"]
    assert {"who": "run", "what": resume} in document["waits"]
    assert line.run_here("status").out.endswith("go on with: geode-tui resume 1\n")


def test_an_estimate_that_was_too_low_is_never_passed(journal: Journal) -> None:
    """Rows beyond it make it what was moved so far; only what is done is at 100 %."""
    record = _begin(journal)
    _plan(journal, record, estimate=300)
    with journal.hold(record):
        _move(journal, record, 0, 250)
        assert _figures(status_document(journal, 1)) == (250, 300, False, 0.8333)
        _move(journal, record, 1, 250)
        assert _figures(status_document(journal, 1)) == (500, 500, False, 0.99)
        assert status_document(journal, 1)["share"] == 0.99
        journal.chunks.set_entity(1, "Person", "done")
        assert _figures(status_document(journal, 1)) == (500, 500, True, 1.0)
        assert status_document(journal, 1)["share"] == 0.99  # the ledger is still to be taken
    journal.set_state(1, "done")
    assert status_document(journal, 1)["share"] == 1.0


def test_without_an_estimate_there_is_no_share(journal: Journal) -> None:
    """Nobody knows how much is left: it is not made up."""
    record = _begin(journal)
    _plan(journal, record, estimate=None)
    with journal.hold(record):
        _move(journal, record, 0, 250)
        document = status_document(journal, 1)
    assert _figures(document) == (250, None, False, None)
    assert (document["share"], document["eta"]) == (None, None)


def test_who_follows_sees_nothing_fall_when_an_entity_is_read_again(journal: Journal) -> None:
    """Its figures stand until it has caught up, and its reason says so."""
    record = _begin(journal)
    _plan(journal, record, estimate=1_000)
    seen = HighWater()
    with journal.hold(record):
        _move(journal, record, 0, 600)
        assert _figures(status_document(journal, 1, seen)) == (600, 1_000, False, 0.6)
        journal.chunks.forget(1, "Person")
        _plan(journal, record, estimate=1_000)
        _move(journal, record, 0, 100)
        document = status_document(journal, 1, seen)
        assert _figures(document) == (600, 1_000, False, 0.6)
        assert (document["rows"], document["share"]) == (600, 0.6)
        assert "read again: 100 rows so far" in document["entities"][0]["reason"]
        assert _figures(status_document(journal, 1))[0] == 100  # who looks anew sees the truth
        _move(journal, record, 1, 700)
        assert _figures(status_document(journal, 1, seen)) == (800, 1_000, False, 0.8)


def test_what_the_engine_told_goes_beyond_what_is_journaled(journal: Journal) -> None:
    """Rows of chunks in flight are told, those of chunks done are journaled: the most is shown."""
    record = _begin(journal)
    _plan(journal, record, estimate=1_000)
    with journal.hold(record):
        _move(journal, record, 0, 100)
        journal.live.tell(1, _told(rows=150))
        assert _figures(status_document(journal, 1))[0] == 150
        _move(journal, record, 1, 100)
        assert _figures(status_document(journal, 1))[0] == 200


def test_waits_of_workers_are_told_from_their_work(journal: Journal) -> None:
    """A retry and a wait are waits; reading and writing are not, whatever the labels are called."""
    record = _begin(journal)
    _plan(journal, record, estimate=1_000)
    retry = "Person 3: the connection to the source is lost, retry 3 of 8 in 4.0 s (57P01: …)"
    workers = (f"A: {retry}", "B: writing Person 4", "C: waits for Person to write Pet", "D: idle")
    with journal.hold(record):
        journal.live.tell(1, _told(workers=workers))
        waits = {wait["who"]: wait["what"] for wait in status_document(journal, 1)["waits"]}
    assert {who: what for who, what in waits.items() if who.startswith("worker")} == {
        "worker A": retry,
        "worker C": "waits for Person to write Pet",
        "worker D": "waits for the others",
    }


def _begin(journal: Journal, target: str = "t.grafeo") -> RunRecord:
    """A run in the journal that no process drives."""
    return journal.begin(NewRun("dsn", "shop@db1", target, "", (), "", Mapping(), 2, None))


def _plan(journal: Journal, record: RunRecord, estimate: int | None) -> None:
    journal.chunks.add_entities(record.number, [("Person", "node", estimate, "")])
    journal.chunks.plan(record.number, "Person", [(None, ("5",)), (("5",), None)])


def _move(journal: Journal, record: RunRecord, chunk: int, rows: int) -> None:
    planned = next(c for c in journal.chunks.open(record.number, "Person") if c.number == chunk)
    journal.chunks.start(record.number, planned, 1)
    journal.chunks.finish(record.number, planned, ChunkResult(rows))


def _told(
    rows: int = 0, rate: float = 0.0, pace: str = "", workers: tuple[str, ...] = ()
) -> RunSnapshot:
    person = EntityProgress("Person", "node", "writing", rows, 1_000, False, rate, None, 0, 0, 0, 0)
    snapshot = RunSnapshot(1, "running", "", "", (), (person,), rows, rate, 1.0, None, workers)
    return replace(snapshot, pace=pace)


def _figures(document: dict[str, Any]) -> tuple[int, int | None, bool, float | None]:
    entity = document["entities"][0]
    return entity["rows"], entity["estimate"], entity["exact"], entity["share"]


def _entity(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entity for entity in document["entities"] if entity["id"] == name)


def _assert_monotone(values: list[float]) -> None:
    assert values == sorted(values)


def _assert_nothing_is_over(document: dict[str, Any]) -> None:
    assert 0 <= document["share"] <= 1
    for entity in document["entities"]:
        assert 0 <= entity["share"] <= 1
        assert (entity["share"] == 1) == (entity["state"] == "done")
        moved = entity["rows"] + entity["dead"] + entity["orphans"]
        assert entity["estimate"] is None or moved <= entity["estimate"]


def _assert_every_wait_has_a_name(document: dict[str, Any]) -> None:
    for one in (*document["entities"], *document["phases"]):
        assert one["state"] != "waiting" or one["reason"]
    assert all(wait["who"] and wait["what"] for wait in document["waits"])
    named = {wait["who"] for wait in document["waits"]}
    assert {e["id"] for e in document["entities"] if e["state"] == "waiting"} <= named


def _until_it_stands_still(going: Going) -> None:
    """Until two words in a row tell the same rows, though it may write 200 a second."""
    rows: list[int] = []
    told = 0.0
    end = time.monotonic() + WAIT_SECONDS
    while len(rows) < 2 or rows[-1] > rows[-2]:
        assert time.monotonic() < end, rows
        found = going.journal.live.told(1)
        assert found is not None
        if found[0] > told:
            told = found[0]
            rows.append(found[1]["rows_written"])
        time.sleep(0.1)
    assert rows[-1] < 3_000
