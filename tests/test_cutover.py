"""Cutover on a real source and a real graph: it flips, or everything is as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import UsageError
from geode_tui.migration.replication.cutover import CutoverAborted, CutoverEngine
from geode_tui.migration.replication.leftover import freeze_name
from geode_tui.migration.replication.state import CutoverSnapshot
from geode_tui.migration.rollback import rollback_goal
from geode_tui.source.freeze import standing
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys
from tests.moved import SQL, Moved, move, writing
from tests.source_state import application, state_of

PYTHON = sys.executable


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """A run that is moved; for tests after which everything is as it was."""
    name = f"cutover_{os.getpid()}"
    execute(postgres.dsn(), f"CREATE DATABASE {name} TEMPLATE template0")
    execute(postgres.dsn(name), SQL)
    moved = move(postgres.dsn(name), tmp_path_factory.mktemp("cutover"))
    moved.rehearse()
    yield moved
    moved.journal.close()
    execute(
        postgres.dsn(name),
        "SELECT pg_drop_replication_slot(slot_name) FROM"
        " pg_replication_slots WHERE database = current_database()",
    )
    execute(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lag is measured for less than a second."""
    monkeypatch.setattr("geode_tui.migration.replication.cutover._BEAT_SECONDS", 0.3)


@pytest.fixture
def own(make_database: MakeDatabase, tmp_path: Path) -> Moved:
    """A run that is moved, for one test that flips it."""
    moved = move(make_database(SQL), tmp_path)
    moved.rehearse()
    return moved


def guard_of(moved: Moved) -> object:
    """The freeze that is there on the source, None where there is none."""

    async def look() -> object:
        async with application(moved.dsn) as connection:
            return await standing(connection, freeze_name(moved.journal.run(moved.number)))

    return run_now(look())


class AbortAt:
    """Aborts when a step is seen to run."""

    def __init__(self, moved: Moved, step: str) -> None:
        self.engine = CutoverEngine(moved.journal, self.see)
        self.moved, self.step = moved, step
        self.states: set[str] = set()

    def see(self, snapshot: CutoverSnapshot) -> None:
        self.states.add(snapshot.state)
        if any(s.name == self.step and s.state == "running" for s in snapshot.steps):
            self.engine.abort("enough")

    def run(self, **fields: object) -> None:
        run_now(self.engine.run(self.moved.request(**fields)))


# --- it flips


@pytest.mark.parametrize(("method", "capture"), [("lock", "slot"), ("trigger", "outbox")])
def test_the_flip_loses_no_row_and_the_source_takes_no_more(
    make_database: MakeDatabase, tmp_path: Path, method: str, capture: str
) -> None:
    """Under a writer: what it was told is written is in the graph, what it was refused is not."""
    own = move(make_database(SQL), tmp_path, capture)
    before = run_now(state_of(own.dsn))
    own.rehearse(method=method)
    assert run_now(state_of(own.dsn)) == before
    with writing(own.dsn) as writer:
        while writer.written < 20:
            time.sleep(0.01)
        snapshot = own.cut_over(method=method)
        while not writer.refused:
            time.sleep(0.01)
    assert snapshot.state == "kept"
    assert writer.failed == []
    assert own.compared().equal
    [marker] = own.markers()
    assert (marker.state, marker.run) == ("live", own.journal.run(1).uid)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="is cut over to"):
        own.execute("INSERT INTO purchase VALUES (0, 1, 1)")
    assert set(own.steps.values()) == {"done"}
    captured = own.journal.captures.of(1)
    assert captured is not None
    assert (captured.way, captured.state) == (capture, "torn down")
    with pytest.raises(UsageError, match="is cut over"):
        own.cut_over()


def test_a_rehearsal_does_all_but_the_flip_and_tells_how_long_writes_stood(shared: Moved) -> None:
    before = run_now(state_of(shared.dsn))
    with writing(shared.dsn) as writer:
        while writer.written < 20:
            time.sleep(0.01)
        snapshot = shared.rehearse(method="lock")
    assert snapshot.state == "rehearsed"
    assert writer.failed == []
    assert writer.refused == 0  # a lock lets writers wait
    assert snapshot.frozen_at is not None
    assert snapshot.released_at is not None
    stood = snapshot.released_at - snapshot.frozen_at
    assert writer.longest < stood + 1.5  # and none waited much longer than is told
    assert 0 < stood < 5
    assert snapshot.rehearsals[-1] == pytest.approx(stood)
    assert "flip" not in shared.steps
    assert run_now(state_of(shared.dsn)) == before
    assert shared.markers() == []


# --- it is taken back


@pytest.mark.parametrize(
    ("step", "method"),
    [
        *((step, "lock") for step in ("gates", "drain", "freeze", "token", "check", "flip")),
        *((step, "trigger") for step in ("freeze", "token", "check", "flip")),
        *((step, "hook") for step in ("freeze", "flip")),
    ],
)
def test_aborted_at_each_step_everything_is_as_it_was(
    shared: Moved, tmp_path: Path, step: str, method: str
) -> None:
    before = run_now(state_of(shared.dsn))
    told = tmp_path / "told"
    hooks = {"on-abort": _appends(told, "abort")}
    if method == "hook":
        hooks |= {"on-freeze": _appends(told, "freeze"), "on-release": _appends(told, "release")}
    with writing(shared.dsn) as writer:
        while writer.written < 5:
            time.sleep(0.01)
        with pytest.raises(CutoverAborted, match="everything is as it was") as error:
            AbortAt(shared, step).run(method=method, hooks=hooks)
        written = writer.written
        while writer.written < written + 5:  # writes go on
            time.sleep(0.01)
    assert error.value.why == "enough"
    assert writer.failed == []
    if method != "trigger":
        assert writer.refused == 0
    assert run_now(state_of(shared.dsn)) == before
    assert shared.markers() == []
    assert shared.newest.state == "aborted"
    assert shared.newest.error == "enough"
    assert not set(shared.steps.values()) & {"running"}
    frozen = step in ("freeze", "token", "check", "flip")
    assert (shared.steps["freeze"] == "undone") == frozen
    lines = told.read_text().split() if told.exists() else []
    assert ("abort" in lines) == frozen
    assert ("release" in lines) == (frozen and method == "hook")


def _appends(file: Path, word: str) -> str:
    return f"sh -c 'echo {word} >> {file}'"


def test_when_the_budget_is_over_writes_go_on(shared: Moved) -> None:
    """A hook that takes longer than the budget: it is ended, and all is taken back."""
    before = run_now(state_of(shared.dsn))
    begun = time.monotonic()
    with writing(shared.dsn) as writer, pytest.raises(CutoverAborted, match=r"budget of 1\.5 s"):
        shared.cut_over(budget_seconds=1.5, lag_seconds=5, hooks={"on-flip": "sleep 60"})
    assert time.monotonic() - begun < 20
    assert writer.failed == []
    assert writer.longest < 4
    assert run_now(state_of(shared.dsn)) == before
    assert shared.markers() == []
    assert (shared.newest.stood or 0) < 3


def test_a_hook_that_fails_takes_everything_back(shared: Moved) -> None:
    before = run_now(state_of(shared.dsn))
    hook = "sh -c 'echo cannot reach $MIG_TARGET for run $MIG_RUN >&2; exit 3'"
    with pytest.raises(CutoverAborted, match="code 3"):
        shared.cut_over(hooks={"on-flip": hook})
    assert run_now(state_of(shared.dsn)) == before
    assert shared.markers() == []
    told = [event.message for event in shared.journal.events(1)]
    assert f"hook on-flip: cannot reach {shared.graph_file} for run 1" in told


def test_a_freeze_that_somebody_ends_is_noticed_before_the_flip(shared: Moved) -> None:
    """The session that holds the lock is ended by an administrator."""

    def end(snapshot: CutoverSnapshot) -> None:
        if any(s.name == "check" and s.state == "running" for s in snapshot.steps):
            shared.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'geode-tui freeze'"
            )

    with pytest.raises(CutoverAborted, match="freeze has ended"):
        shared.cut_over(end, method="lock")
    assert shared.markers() == []
    assert guard_of(shared) is None


def test_rows_that_differ_inside_the_freeze_stop_it(shared: Moved) -> None:
    """Somebody changes the graph behind our back: the check finds it, nothing is flipped."""
    target = shared.graph_file

    def damage(snapshot: CutoverSnapshot) -> None:
        pass

    shared.execute("UPDATE purchase SET total = 7 WHERE id = 5")
    from geode_tui.target import open_target

    opened = open_target(str(target), None, create=False)
    opened.query("MATCH (p:Purchase {id: 7}) DETACH DELETE p")
    opened.flush()
    opened.close()
    with pytest.raises(CutoverAborted, match="differs from the source"):
        shared.cut_over(damage)
    assert shared.markers() == []
    shared.execute("UPDATE purchase SET total = total WHERE id = 7")  # comes again by the stream
    assert shared.rehearse().state == "rehearsed"


# --- from other terminals, and after a kill


def test_another_terminal_sees_who_waits_and_aborts(shared: Moved) -> None:
    """The journal tells the blocked sessions at least four times a second."""
    told: list[CutoverSnapshot] = []
    release = threading.Event()

    def other() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and not release.is_set():
            snapshot = shared.journal.captures.cutover(1)
            if snapshot is not None and snapshot.state == "frozen":
                told.append(snapshot)
                if len({one.told_at for one in told}) >= 6 and any(o.blocked for o in told):
                    shared.journal.cutovers.ask(1, "abort", "ada@desk")
                    return
            time.sleep(0.02)

    asking = threading.Thread(target=other)
    with writing(shared.dsn) as writer:
        asking.start()
        with pytest.raises(CutoverAborted):
            shared.cut_over(method="lock", hooks={"on-flip": "sleep 60"})
        release.set()
        asking.join()
    assert shared.newest.error == "aborted by ada@desk"
    assert any(one.application == "till" for snapshot in told for one in snapshot.blocked)
    moments = sorted({one.told_at for one in told})
    assert max(b - a for a, b in pairwise(moments)) < 1.0
    assert writer.failed == []
    assert writer.refused == 0


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest
from geode_tui.migration.replication.cutovers import Cutovers

journal, step, method, mark = sys.argv[1:]

def die(snapshot):
    if any(one.name == step and one.state == "running" for one in snapshot.steps):
        os.kill(os.getpid(), signal.SIGKILL)

if step == "after guard":
    before = Cutovers.set_state
    def dying(self, id, state, error=""):
        if state == "flipped":
            os.kill(os.getpid(), signal.SIGKILL)
        return before(self, id, state, error)
    Cutovers.set_state = dying
request = CutoverRequest(
    1, method=method, budget_seconds=2.0, calm_seconds=0, lag_seconds=5,
    hooks={"on-abort": f"sh -c 'echo abort >> {mark}'"},
)
asyncio.run(CutoverEngine(Journal(Path(journal)), die).run(request))
"""


def _kill_at(moved: Moved, step: str, method: str, mark: Path) -> None:
    """Cut over in a process that is killed at a step."""
    arguments = [str(moved.folder / "journal.sqlite3"), step, method, str(mark)]
    project = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [PYTHON, "-c", textwrap.dedent(_KILLED), *arguments],
        env={**os.environ, "PYTHONPATH": project},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(
    ("step", "method"),
    [("drain", "lock"), ("token", "lock"), ("token", "trigger"), ("guard", "trigger")],
)
def test_killed_at_a_step_writes_go_on_by_themselves_and_the_next_start_takes_it_back(
    shared: Moved, tmp_path: Path, step: str, method: str
) -> None:
    before = run_now(state_of(shared.dsn))
    with writing(shared.dsn) as writer:
        while writer.written < 5:
            time.sleep(0.01)
        _kill_at(shared, step, method, tmp_path / "mark")
        end, written = time.monotonic() + 10, writer.written
        while writer.written < written + 10:
            assert time.monotonic() < end, "writes never went on"
            time.sleep(0.01)
    assert writer.failed == []
    assert not shared.newest.over  # as the one that was killed left it
    engine = CutoverEngine(shared.journal)
    assert run_now(engine.settle(shared.request())) is None
    assert shared.newest.state == "aborted"
    assert shared.newest.error == "its process has ended"
    assert run_now(state_of(shared.dsn)) == before
    assert shared.markers() == []
    assert (tmp_path / "mark").exists() == (step != "drain")
    assert run_now(engine.settle(shared.request())) is None  # once more: nothing is left
    if step == "guard":
        assert shared.rehearse().state == "rehearsed"


@pytest.mark.parametrize("method", ["lock", "trigger"])
def test_killed_after_the_guard_was_made_the_flip_stands(
    own: Moved, tmp_path: Path, method: str
) -> None:
    """The source takes no writes although the journal does not know it yet."""
    _kill_at(own, "after guard", method, tmp_path / "mark")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        own.execute("DELETE FROM purchase")
    own.journal.cutovers.ask(1, "keep")
    snapshot = run_now(CutoverEngine(own.journal).go_on(own.request()))
    assert snapshot is not None
    assert snapshot.state == "kept"
    assert not (tmp_path / "mark").exists()
    assert len(own.markers()) == 1
    assert own.compared().equal


# --- the command line


def command_line(moved: Moved) -> CommandLine:
    """A command line whose journal is that of the run."""
    line = CommandLine(moved.folder)
    line.state.mkdir(parents=True)
    moved.journal.close()
    for name in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"):
        if (moved.folder / name).exists():
            (moved.folder / name).rename(line.state / name)
    (moved.folder / "spool").rename(line.state / "spool")
    return line


def test_a_runbook_from_the_command_line(own: Moved) -> None:
    """Gates, a waiver that is missing, the flip, its watch window, falling back, and again."""
    line = command_line(own)
    own.execute("INSERT INTO customer VALUES (500, 'nan', 'NaN')")
    assert line.run_here("sync", "1", "--once").code == 0
    gates = line.run_here("cutover", "1", "--gates", "--calm", "0")
    assert gates.code == 1
    assert "1 of Customer open" in gates.out
    refused = line.run_here("cutover", "1", "--yes", "--calm", "0")
    assert refused.code == 1
    assert "gate is shut: dead_letters" in " ".join(refused.error)
    options = ("--calm", "0", "--budget", "20", "--watch", "600", "--yes")
    with line.start(
        "cutover",
        "1",
        *options,
        "--waive",
        "dead_letters=agreed with sales",
        "--on-fall-back",
        "sh -c 'echo back > back'",
    ) as flipping:
        flipping.wait_for("watch: keep it, or fall back")
        status = line.run_here("cutover", "1", "--fall-back", "--yes", "--json")
        assert status.code == 0, status.err
        assert flipping.finish().code == 0
    assert status.json["state"] == "fallen back"
    assert (own.folder / "back").read_text() == "back\n"
    own.execute("INSERT INTO purchase VALUES (9000, 1, 1)")  # the source takes writes again
    assert line.run_here("sync", "1", "--once").code == 0
    again = line.run_here("cutover", "1", "--rehearse", "--calm", "0", "--json")
    assert again.code == 0, again.err
    document = json.loads(again.out)
    assert document["state"] == "rehearsed"
    assert document["rehearsals_p95"] >= document["rehearsals_p50"] > 0
    assert document.keys() == documented_keys("cutover state")
    assert document["gates"][0].keys() == documented_keys("cutover gate")
    assert document["steps"][0].keys() == documented_keys("cutover step")
    waived = next(gate for gate in document["gates"] if gate["name"] == "dead_letters")
    assert waived["reason"] == "agreed with sales"


def test_interrupted_it_is_taken_back(own: Moved) -> None:
    line = command_line(own)
    before = run_now(state_of(own.dsn))
    with line.start(
        "cutover", "1", "--yes", "--calm", "0", "--budget", "20", "--on-flip", "sleep 60"
    ) as flipping:
        flipping.wait_for("mark the graph as live")
        flipping.send(signal.SIGINT)
        ended = flipping.finish()
    assert ended.code == 130
    assert "everything is as it was" in ended.err
    assert run_now(state_of(own.dsn)) == before
    assert own.markers() == []


def test_it_takes_over_from_a_synchronization_that_goes(own: Moved) -> None:
    """Which is asked to stop, and ends well; the gates alone do not disturb it."""
    line = command_line(own)
    with line.start("sync", "1") as syncing:
        end = time.monotonic() + 30
        while (told := line.run_here("status", "1", "--json")).code or not _in_step(told.json):
            assert time.monotonic() < end, told.out
            time.sleep(0.1)
        gates = line.run_here("cutover", "1", "--gates")
        assert gates.code == 2
        assert "driven by another process" in gates.err
        rehearsed = line.run_here("cutover", "1", "--rehearse", "--calm", "0", "--budget", "20")
        assert rehearsed.code == 0, rehearsed.err
        assert "writes stood" in rehearsed.out
        assert syncing.finish().code == 0


def _in_step(status: dict[str, Any]) -> bool:
    return (status.get("sync") or {}).get("state") == "in step"


def test_what_cannot_be_is_refused_before_anything_is_done(shared: Moved) -> None:
    begun = len(shared.journal.cutovers.all(1))
    for fields, why in (
        ({"hooks": {"on-freeze": "true"}}, "none releases"),
        ({"method": "hook"}, "no hook freezes"),
        ({"waivers": {"backfill": "no time"}}, "cannot be waived"),
        ({"waivers": {"dead_letters": " "}}, "no reason"),
        ({"hooks": {"on-flip": "sh -c 'echo"}}, "cannot be read"),
        ({"budget_seconds": 0}, "budget"),
    ):
        with pytest.raises(UsageError, match=why):
            shared.cut_over(**fields)
    assert len(shared.journal.cutovers.all(1)) == begun


def test_whoever_waits_to_truncate_does_not_hold_up_what_reads(own: Moved) -> None:
    """A lock that waits stands before all that come later; our own reading must not be of them."""
    waiting = threading.Thread(target=execute, args=(own.dsn, "TRUNCATE purchase"))

    def see(snapshot: CutoverSnapshot) -> None:
        if waiting.ident is None and snapshot.state == "frozen":
            waiting.start()

    engine = CutoverEngine(own.journal, see)
    request = own.request(rehearse=True, method="lock", budget_seconds=15)
    snapshot = run_now(engine.run(request))
    waiting.join()
    assert snapshot.state == "rehearsed"
    assert snapshot.frozen_at is not None
    assert snapshot.released_at is not None
    assert snapshot.released_at - snapshot.frozen_at < 10


def test_a_graph_that_is_live_is_not_taken_back(own: Moved) -> None:
    """What applications work with goes only after the way back; the run's phases tell both."""
    own.cut_over()
    phases = {phase.name: phase.state for phase in own.journal.phases(own.number)}
    assert (phases["cutover"], phases["watch"]) == ("done", "done")
    with pytest.raises(UsageError, match="its graph is what counts"):
        rollback_goal(own.journal, own.number, None)
