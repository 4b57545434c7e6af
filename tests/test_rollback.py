"""Rollback: a run is taken back to a checkpoint, or to before it; nothing else is touched."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import (
    EXIT_DIFFERS,
    EXIT_OK,
    EXIT_RESUMABLE,
    EXIT_USAGE,
    GeodeTuiError,
    RunStopped,
    UsageError,
)
from geode_tui.mapping import file
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Wave
from geode_tui.migration import engine, postgres_origin
from geode_tui.migration.checkpoints import Checkpoint, Checkpoints
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.control import Control
from geode_tui.migration.dead_letters import DeadLetters, Selection
from geode_tui.migration.journal import Journal
from geode_tui.migration.letter_retry import retry_letters
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.rollback import UNDO, RollbackLedger, roll_back, rollback_goal
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.schema_undo import put_back
from geode_tui.migration.shapes import dump_shape
from geode_tui.migration.versions import LABEL
from geode_tui.migration.withdraw import withdraw_unfinished
from geode_tui.target import TargetPlan, open_target
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import NodeBatch, NodeShape, RelationshipShape
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase, run_now
from tests.graph_dump import Dump, differences, dump, dump_open
from tests.independent_comparison import compare
from tests.migrate import read_catalog

TOWN = """
CREATE TABLE "[/foo] city" (id int PRIMARY KEY, "na""me" text);
CREATE TABLE person (id int PRIMARY KEY, name text, city int REFERENCES "[/foo] city", boss int);
ALTER TABLE person ADD FOREIGN KEY (boss) REFERENCES person NOT VALID;
CREATE TABLE visit (person int NOT NULL REFERENCES person,
  city int NOT NULL REFERENCES "[/foo] city", day date, PRIMARY KEY (person, city, day));
INSERT INTO "[/foo] city" SELECT n, '"[/c] 🌊' || n FROM generate_series(1, 20) n;
INSERT INTO person SELECT n, 'p' || n, n % 20 + 1, nullif(n / 2, 0) FROM generate_series(1, 60) n;
INSERT INTO visit SELECT n, n % 20 + 1, '2024-01-01' FROM generate_series(1, 50) n;
ANALYZE;
"""
STRANGERS = (
    "INSERT (:FooCity {id: 9001, name: 'old', `\"[/x]`: 1})",
    "INSERT (:Person {id: 9001, name: 'old'}), (:Person:Other {id: 9002, _run: 'another'})",
    "MATCH (p:Person {id: 9001}), (c:FooCity {id: 9001})"
    " INSERT (p)-[:IN_CITY {since: 1999}]->(c), (p)-[:VISIT]->(c), (p)-[:KNOWS]->(p)",
)
"""What another program wrote, under the labels and types of the mapping."""
HALF, LATE = '"half" [/way]', "später 🌊; DROP"
"""Names of checkpoints: any text will do."""
MARKS = ("_run", "_step")
NOTHING = Dump(Counter(), Counter())


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 10 rows, and an engine that often looks what is asked of it."""
    _make_small_and_quick(monkeypatch)


def _make_small_and_quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_origin, "CHUNK_ROWS", 10)
    patch.setattr(engine, "POLL_SECONDS", 0.005)


@dataclass
class Scene:
    """A run in a folder, and what the graph was at each checkpoint of it."""

    dsn: str
    folder: Path
    graph: str | None = None
    there: dict[str, Dump] = field(default_factory=dict)
    runners: list[Runner] = field(default_factory=list)

    @property
    def place(self) -> Path:
        return self.folder / 'graph [x] "y".grafeo'

    def journal(self) -> Journal:
        return Journal(self.folder / "journal.sqlite3")

    def request(self, **options: Any) -> RunRequest:
        mapping = infer(read_catalog(self.dsn))
        if options.get("strategy") == "incremental":
            waves = Wave("the people", ("Person",)), Wave(LATE, ("FooCity",))
            mapping = replace(mapping, waves=waves)
        file.save(mapping, self.folder / "mapping.yaml")
        return RunRequest(self.dsn, str(self.place), mapping, self.graph, **options)

    def begin(self, **options: Any) -> Runner:
        return self.run(self.request(**options))

    def run(self, request: RunRequest) -> Runner:
        return self._ended(Runner(request, journal=self.folder / "journal.sqlite3"))

    def resume(self, run: int = 1) -> Runner:
        return self._ended(Runner(resume=run, journal=self.folder / "journal.sqlite3"))

    def _ended(self, runner: Runner) -> Runner:
        self.runners.append(runner)
        runner.start()
        runner.join()
        return runner

    def settle(self) -> None:
        """Let another program write in the graph, before the run."""
        with self.opened() as target:
            for statement in STRANGERS:
                target.query(statement)

    def keep(self) -> None:
        """Keep graph and journal as they are."""
        (self.folder / "kept").mkdir()
        for path in (self.place, self.folder / "journal.sqlite3"):
            _copy(path, self.folder / "kept" / path.name)

    def restore(self) -> None:
        """Make graph and journal what they were when they were kept."""
        for path in (self.place, self.folder / "journal.sqlite3"):
            _copy(self.folder / "kept" / path.name, path)

    def dump(self) -> Dump:
        return dump(self.place, self.graph)

    def rollback(self, to: str | None = None, run: int = 1) -> RollbackLedger:
        journal = self.journal()
        try:
            return roll_back(journal, run, to)
        finally:
            journal.close()

    def assert_there(self, name: str) -> None:
        """The graph is what it was at a checkpoint."""
        assert not (lines := differences(self.there[name], self.dump())), "\n".join(lines)

    @contextmanager
    def opened(self) -> Iterator[EmbeddedGraph]:
        target = open_target(str(self.place), self.graph)
        assert isinstance(target, EmbeddedGraph)
        try:
            yield target
        finally:
            target.close()


@contextmanager
def _watching(scene: Scene, ask: dict[int, str], stop_at: str = "") -> Iterator[None]:
    """Ask for checkpoints after so many chunks, dump the graph at each, stop at one."""
    targets: list[Any] = []
    done = {"chunks": 0}
    opened, take, finish = TargetPlan.open, Checkpoints.take, Chunks.finish

    def open_watched(self: TargetPlan) -> Any:
        targets.append(opened(self))
        return targets[-1]

    def take_watched(self: Checkpoints, run: int, name: str, *rest: Any, **more: Any) -> Checkpoint:
        checkpoint = take(self, run, name, *rest, **more)
        if name not in scene.there:
            graph = getattr(targets[-1], "_graph", None)
            scene.there[name] = dump_open(graph) if graph and not callable(graph) else NOTHING
        if name == stop_at:
            scene.runners[-1].stop()
        return checkpoint

    def finish_watched(self: Chunks, run: int, *arguments: Any) -> None:
        finish(self, run, *arguments)
        done["chunks"] += 1
        if name := ask.get(done["chunks"]):
            Control(self._store).ask(run, checkpoint=name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TargetPlan, "open", open_watched)
        patch.setattr(Checkpoints, "take", take_watched)
        patch.setattr(Chunks, "finish", finish_watched)
        yield


def _data(found: Dump) -> Dump:
    """What is there beside the version of the schema, which has its time in it."""
    nodes = Counter({node: n for node, n in found.nodes.items() if LABEL not in node[0]})
    return Dump(nodes, found.relationships)


def _moved(place: Path) -> Dump:
    """All that was moved to a graph, by whichever step of whichever run."""
    return _data(dump(place, None, MARKS))


@pytest.fixture
def scene(make_database: MakeDatabase, tmp_path: Path) -> Scene:
    """A town to migrate, and a graph in which another program has written."""
    made = Scene(make_database(TOWN), tmp_path)
    made.settle()
    return made


def _schema(scene: Scene) -> list[str]:
    with scene.opened() as target:
        shown = [*target.query("SHOW INDEXES"), *target.query("SHOW CONSTRAINTS")]
    return sorted(json.dumps(row, default=str) for row in shown)


# -- the promise ----------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [None, "g"])
def test_a_run_rolled_back_to_each_of_its_checkpoints_leaves_the_graph_as_it_was_there(
    graph: str | None, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Named ones and those before each phase and wave; beside data of others of the same labels."""
    scene = Scene(make_database(TOWN), tmp_path, graph)
    scene.settle()
    before, schema = scene.dump(), _schema(scene)
    with _watching(scene, {2: HALF, 14: LATE}):
        runner = scene.begin(strategy="incremental", into_existing=True)
    assert runner.error is None
    assert runner.ledger is not None
    assert runner.ledger.balanced
    names = [checkpoint.name for checkpoint in scene.journal().checkpoints.of(1)]
    assert {"begin", "backfill", "wave the people", HALF, LATE, "verify"} < set(names)
    assert len({sum(part.total() for part in scene.there[name]) for name in names}) >= 5
    for name in reversed(names):
        ledger = scene.rollback(name)
        assert ledger.balanced, ledger
        scene.assert_there(name)
        left = [checkpoint.name for checkpoint in scene.journal().checkpoints.of(1)]
        assert left == ([] if name == "begin" else names[: names.index(name) + 1])
    assert not differences(before, scene.dump())
    assert _schema(scene) == schema
    assert scene.journal().run(1).state == "rolled back"
    assert scene.journal().audit.broken_at() is None


def test_a_run_rolled_back_to_a_checkpoint_goes_on_from_there_and_ends_whole(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """From the end back to the middle, and on: nothing is lost or doubled."""
    scene = Scene(make_database(TOWN), tmp_path)
    with _watching(scene, {9: HALF}):
        scene.begin(strategy="incremental")
    whole = _moved(scene.place)
    for name in (HALF, "verify"):
        assert scene.rollback(name).balanced
        journal = scene.journal()
        assert journal.run(1).state == "stopped"
        assert journal.ledger(1) is None
        states = {phase.name: phase.state for phase in journal.phases(1)}
        assert states["verify"] == ("stopped" if name == "verify" else "waiting")
        rows = {entity.id: entity.rows for entity in journal.chunks.entities(1)}
        assert rows == journal.checkpoints.named(1, name).rows
        assert sum(rows.values()) == sum(part.total() for part in _data(scene.there[name]))
        resumed = scene.resume()
        assert resumed.error is None
        assert resumed.ledger is not None
        assert resumed.ledger.balanced
        assert not differences(whole, _moved(scene.place))
    found = run_now(compare(scene.dsn, scene.place, None, scene.folder / "mapping.yaml"))
    assert found.equal, found.verdict


def test_what_was_brought_up_to_a_later_snapshot_is_put_back_as_it_was(changed: Scene) -> None:
    """Rows that changed, came and went after a checkpoint are at a rollback as they were there."""
    whole = _moved(changed.place)
    assert changed.rollback("verify").balanced
    changed.assert_there("verify")
    ledger = changed.rollback(HALF)
    assert ledger.images > 10
    assert ledger.balanced, ledger
    changed.assert_there(HALF)
    journal = changed.journal()
    for entity in journal.chunks.entities(1):
        assert entity.rows == journal.checkpoints.named(1, HALF).rows[entity.id]
    journal.close()
    resumed = changed.resume()
    assert resumed.error is None
    assert resumed.ledger is not None
    assert resumed.ledger.balanced
    assert not differences(whole, _moved(changed.place))


def test_what_a_later_wave_hung_on_nodes_that_went_is_put_back_with_them(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A wave that is brought up to date removes nodes on which later waves have written already."""
    scene = Scene(make_database(TOWN), tmp_path)
    with _watching(scene, {}):
        assert scene.begin(strategy="incremental").error is None
    assert scene.rollback("verify").balanced
    execute(scene.dsn, "DELETE FROM person WHERE id > 50")
    resumed = scene.resume()
    assert resumed.ledger is not None
    assert resumed.ledger.balanced
    ledger = scene.rollback("verify")
    assert ledger.balanced, ledger
    scene.assert_there("verify")


CHANGE = (
    "UPDATE person SET name = 'changed' WHERE id % 3 = 0",
    "DELETE FROM visit WHERE person % 4 = 1",
    "INSERT INTO person VALUES (5000, 'new', 3, 1)",
    "INSERT INTO visit VALUES (5000, 4, '2024-02-02')",
    "UPDATE person SET boss = NULL WHERE boss IN (21, 22)",
    "DELETE FROM visit WHERE person IN (21, 22)",
    "DELETE FROM person WHERE id IN (21, 22)",
    "UPDATE person SET city = 7 WHERE id % 5 = 0",
)


@pytest.fixture(scope="module")
def changed_once(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A run that stopped at a checkpoint, and went on to its end when the source had changed."""
    execute(postgres.dsn(), "CREATE DATABASE changed TEMPLATE template0")
    scene = Scene(postgres.dsn("changed"), tmp_path_factory.mktemp("changed"))
    execute(scene.dsn, TOWN)
    scene.settle()
    with pytest.MonkeyPatch.context() as patch:
        _make_small_and_quick(patch)
        with _watching(scene, {14: HALF}, stop_at=HALF):
            assert isinstance(scene.begin(into_existing=True).error, RunStopped)
            execute(scene.dsn, *CHANGE)
            resumed = scene.resume()
    assert resumed.error is None, resumed.error
    assert resumed.ledger is not None
    assert resumed.ledger.balanced
    images = scene.journal().store.all("SELECT DISTINCT kind FROM pre_image ORDER BY 1")
    assert [row["kind"] for row in images] == ["chunk", "image"]
    scene.keep()
    yield scene
    execute(postgres.dsn(), "DROP DATABASE changed WITH (FORCE)")


@pytest.fixture
def changed(changed_once: Scene) -> Scene:
    """That run, as it was at its end."""
    changed_once.restore()
    return changed_once


# -- kills ----------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing in the product expects it."""


BROKEN = GeodeTuiError("out of order")

Step = tuple[Any, str]
STEPS: tuple[Step, ...] = (
    (Journal, "begin_rollback"),
    (EmbeddedGraph, "put_nodes"),
    (EmbeddedGraph, "put_relationships"),
    (PreImages, "forget_from"),
    (EmbeddedGraph, "delete_after"),
    (EmbeddedGraph, "flush"),
    (EmbeddedGraph, "count_of_run"),
    (DeadLetters, "take_back"),
    (Chunks, "take_back"),
    (Checkpoints, "forget_after"),
    (Journal, "end_rollback"),
)
WHOLE_STEPS: tuple[Step, ...] = (
    (EmbeddedGraph, "put_nodes"),
    (EmbeddedGraph, "delete_after"),
    (EmbeddedGraph, "unprepare"),
    (Journal, "end_rollback"),
)


def _killing(
    function: Any, call: int, after: bool, error: BaseException | None = None
) -> Callable[..., Any]:
    """The function, at whose n-th call the process dies, before or after it is done."""
    calls = {"left": call}

    def killed(*arguments: Any, **options: Any) -> Any:
        calls["left"] -= 1
        if calls["left"] == 0 and not after:
            raise error or Killed
        result = function(*arguments, **options)
        if calls["left"] == 0:
            raise error or Killed
        return result

    return killed


@pytest.mark.parametrize(("to", "steps"), [(HALF, STEPS), (None, WHOLE_STEPS)])
def test_a_rollback_killed_in_any_of_its_steps_is_ended_by_the_next(
    to: str | None, steps: tuple[Step, ...], changed: Scene
) -> None:
    """Before and after each step; it ends as one that nobody disturbed."""
    changed.rollback(to)
    state, graph = _state(changed), changed.dump()
    kills = 0
    for owner, name in steps:
        for after in (False, True):
            changed.restore()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(owner, name, _killing(getattr(owner, name), 1, after))
                with pytest.raises(Killed):
                    changed.rollback(to)
            begun = (owner, name, after) != (Journal, "begin_rollback", False)
            assert (changed.journal().run(1).state == "rolling back") == begun, (name, after)
            ledger = changed.rollback(None if begun else to)
            assert ledger.balanced
            assert ledger.checkpoint == (to or "")
            assert _state(changed) == state, (name, after)
            assert not differences(graph, changed.dump()), (name, after)
            kills += 1
    assert kills == 2 * len(steps)


def _copy(source: Path, to: Path) -> None:
    """Copy a graph or a journal, with what belongs to it."""
    for old in to.parent.glob(f"{to.name.replace('[', '[[]')}*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for path in source.parent.glob(f"{source.name.replace('[', '[[]')}*"):
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, to.parent / path.name)


def _state(scene: Scene) -> list[Any]:
    """What the journal knows of the run; times and the trail are left out."""
    journal = scene.journal()
    store = journal.store
    found = [
        [tuple(row) for row in store.all(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")]
        for table, columns in (
            ("run", "state, error, ledger, rollback_to, options, steps"),
            ("entity", "id, state, rows, dead, orphans, bytes, chunks, planned"),
            ("chunk", "entity, number, state, step, more_steps, rows, digest, snapshot, low"),
            ("checkpoint", "number, name, step"),
            ("phase", "name, state, reason"),
            ("prepared", "position, statement, run"),
            ("pre_image", "id, step, kind"),
        )
    ]
    journal.close()
    return found


DYING = """
import os, sys
from geode_tui.cli import main
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import NodeBatch, NodeShape, RelationshipShape
name = sys.argv.pop(1)
work = getattr(EmbeddedGraph, name)
def dying(*arguments):
    work(*arguments)
    os._exit(9)
setattr(EmbeddedGraph, name, dying)
sys.exit(main(sys.argv[1:]))
"""


def test_a_rollback_whose_process_dies_is_ended_from_the_command_line(changed: Scene) -> None:
    """Again and again: no file is closed and no lock given back, and the next process goes on."""
    shell = CommandLine(changed.folder)
    shell.state.mkdir(parents=True)
    _copy(changed.folder / "journal.sqlite3", shell.state / "journal.sqlite3")
    goals = {"put_relationships": ("--to", HALF), "delete_after": ()}
    for name, to in goals.items():
        command = ("rollback", "1", "--yes", *to)
        died = shell.run(*command, program=(sys.executable, "-c", DYING, name))
        assert died.code == 9
    shown = shell.run_here("status", "1", "--json").json
    assert shown["state"] == "rolling back"
    assert shell.run_here("resume", "1").code == EXIT_USAGE
    ended = shell.run_here("rollback", "1", "--yes", "--json")
    assert ended.code == EXIT_OK, ended.err
    assert ended.json["checkpoint"] == HALF
    assert ended.json["balanced"]
    changed.assert_there(HALF)


# -- what checkpoints hold ------------------------------------------------------------------------


def test_a_checkpoint_holds_whole_chunks_only(scene: Scene) -> None:
    """What an interrupted chunk wrote is taken out before one is taken, and written again later."""
    write, batches = EmbeddedGraph.write_nodes, {"of step 4": 0}

    def failing(self: EmbeddedGraph, batch: NodeBatch, repeated: bool) -> Any:
        batches["of step 4"] += batch.step == 4
        if batches["of step 4"] == 2:
            raise GeodeTuiError("the target is out of order")
        return write(self, batch, repeated)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedGraph, "write_nodes", failing)
        assert scene.begin(into_existing=True, batch_rows=3).error is not None
    journal = scene.journal()
    record, shapes = journal.run(1), journal.chunks.shapes(1)
    assert journal.chunks.started(1)
    with scene.opened() as target:

        def surplus() -> int:
            known = {e.id: e.rows for e in journal.chunks.entities(1)}
            there = {e: target.count_of_run(shape, record.uid) for e, shape in shapes.items()}
            return sum(there[entity] - known[entity] for entity in known)

        assert surplus() > 0
        withdraw_unfinished(journal, record, target)
        assert surplus() == 0
    assert journal.chunks.started(1) == []
    journal.close()
    resumed = scene.resume()
    assert resumed.ledger is not None
    assert resumed.ledger.balanced


def test_a_checkpoint_is_void_once_what_it_held_was_removed_for_good(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A table without a key is read again from its start: nothing leads back to before that."""
    scene = Scene(make_database("CREATE TABLE log (what text)"), tmp_path)
    execute(scene.dsn, "INSERT INTO log SELECT repeat('x', 900) FROM generate_series(1, 200)")
    execute(scene.dsn, "ANALYZE log")
    with _watching(scene, {3: HALF}, stop_at=HALF):
        assert isinstance(scene.begin().error, RunStopped)
        assert scene.resume().error is None
    with pytest.raises(UsageError) as error:
        scene.rollback(HALF)
    assert error.value.why == "Log was read again from its start since"
    assert "backfill" in error.value.next_step
    assert scene.rollback("backfill").balanced
    scene.assert_there("backfill")
    assert scene.resume().error is None
    assert scene.rollback().balanced
    assert not scene.dump().nodes


def test_a_dead_letter_that_was_written_later_is_open_again(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A retry is a step of the run: a rollback to before it takes its rows back."""
    scene = Scene(make_database("CREATE TABLE day (id int PRIMARY KEY, at date)"), tmp_path)
    execute(scene.dsn, "INSERT INTO day VALUES (1, 'infinity'), (2, '2024-01-01')")
    with _watching(scene, {}):
        assert scene.begin().error is None
    execute(scene.dsn, "UPDATE day SET at = '2024-02-02' WHERE id = 1")
    journal = scene.journal()
    retried = run_now(retry_letters(journal, 1, Selection()))
    assert retried.written == 1
    assert _moved(scene.place).nodes.total() == 2
    assert scene.rollback("verify").balanced
    scene.assert_there("verify")
    [letter] = journal.dead_letters.of(1)
    assert (letter.state, letter.step) == ("open", None)
    [entity] = journal.chunks.entities(1)
    assert (entity.rows, entity.dead) == (1, 1)
    journal.close()
    assert scene.resume().error is None
    assert _moved(scene.place).nodes.total() == 2


def test_changes_of_whole_entities_are_undone_in_their_order(changed: Scene) -> None:
    """What renames and relabels is undone once each, also when the rollback is killed between."""
    before = changed.dump()
    journal = changed.journal()
    record, shapes = journal.run(1), journal.chunks.shapes(1)
    person, lives = shapes["Person"], shapes["(Person)-[IN_CITY]->(FooCity)"]
    assert isinstance(person, NodeShape)
    assert isinstance(lives, RelationshipShape)
    images = PreImages(journal.store)
    renamed = replace(person, label="Human")
    with changed.opened() as target:

        def change(undo: dict[str, Any], work: Callable[..., Any], *arguments: Any) -> None:
            images.add_undo(1, journal.chunks.next_step(1), "Person", undo)
            work(*arguments)

        step = journal.chunks.next_step(1)
        images.add(1, step, "Person", [((3,), target.node_images(person, [(3,)])[0])])
        target.update_nodes(person, ["name"], [((3,), ("first",))])
        change(
            {"do": "rename_property", "old": "title", "new": "name"},
            target.rename_property,
            *(person, "name", "title"),
        )
        change({"do": "remove_label", "label": "Human"}, target.add_label, person, "Human")
        change(
            {"do": "add_label", "label": "Person", "shape": dump_shape(renamed)},
            target.remove_label,
            *(renamed, "Person"),
        )
        moved = dump_shape(replace(lives, type="LIVES_IN", start=renamed))
        change(
            {"do": "rename_type", "new": "IN_CITY", "shape": moved},
            target.rename_type,
            *(replace(lives, start=renamed), "LIVES_IN"),
        )
        assert target.count_of_run(person, record.uid) == 0
        [undo] = put_back(renamed, [((4,), target.node_images(renamed, [(4,)])[0])])
        change(undo, target.update_nodes, renamed, ["title"], [((4,), ("last",))])
    journal.close()
    for name in ("put_back", "rename_type", "add_label", "remove_label", "rename_property"):
        for after in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(UNDO, name, _killing(UNDO[name], 1, after))
                with pytest.raises(Killed):
                    changed.rollback("verify")
    assert changed.rollback().balanced
    assert not differences(before, changed.dump())


def test_an_export_is_taken_back_too(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Halfway it goes on from its checkpoint; a finished one goes whole, or not at all."""
    scene = Scene(make_database(TOWN), tmp_path)
    output = tmp_path / "out.jsonl"
    request = replace(scene.request(parallel=1), target=str(output), kind="export", format="jsonl")
    with _watching(scene, {9: HALF}, stop_at=HALF):
        assert isinstance(scene.run(request).error, RunStopped)
    ledger = scene.rollback(HALF)
    assert ledger.balanced, ledger
    assert not output.exists()
    assert scene.resume().error is None
    assert output.exists()
    with pytest.raises(UsageError, match="only be rolled back whole"):
        scene.rollback(HALF)
    assert scene.journal().run(1).state == "done"
    assert scene.rollback().balanced
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    assert scene.journal().run(1).state == "rolled back"


# -- what is refused ------------------------------------------------------------------------------


def test_an_unknown_checkpoint_is_refused_with_those_there_are(scene: Scene) -> None:
    """And nothing is changed."""
    scene.begin(into_existing=True)
    state, graph = _state(scene), scene.dump()
    with pytest.raises(UsageError) as error:
        scene.rollback("nowhere")
    assert "begin, backfill, verify" in error.value.why
    assert (_state(scene), scene.dump()) == (state, graph)


def test_a_running_run_is_refused(scene: Scene) -> None:
    """Stop it first."""
    refused: list[GeodeTuiError] = []
    finish = Chunks.finish

    def trying(self: Chunks, *arguments: Any) -> None:
        finish(self, *arguments)
        if not refused:
            with pytest.raises(UsageError) as error:
                scene.rollback()
            refused.append(error.value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", trying)
        assert scene.begin(into_existing=True).error is None
    assert refused[0].what == "run 1 is running"
    assert "stop it first" in refused[0].next_step


def test_a_graph_that_is_gone_or_another_one_is_refused(scene: Scene) -> None:
    """A file of the same name with nothing of the run in it is not its graph."""
    scene.begin(into_existing=True)
    for path in list(scene.folder.glob("graph*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match="is gone"):
        scene.rollback()
    with scene.opened() as target:
        target.query("INSERT (:Person {id: 1})")
    with pytest.raises(UsageError, match="holds nothing of run 1"):
        scene.rollback()
    assert scene.journal().run(1).state == "done"


def test_a_later_run_on_the_same_labels_is_taken_back_first(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Its relationships may hang on what would be removed."""
    scene = Scene(make_database("CREATE TABLE city (id int PRIMARY KEY)"), tmp_path)
    execute(scene.dsn, "INSERT INTO city VALUES (1), (2)")
    assert scene.begin().error is None
    execute(scene.dsn, "DELETE FROM city", "INSERT INTO city VALUES (3)")
    assert scene.begin(into_existing=True).error is None
    with pytest.raises(UsageError) as error:
        scene.rollback(run=1)
    assert error.value.next_step.endswith("geode-tui rollback 2")
    assert scene.rollback(run=2).balanced
    assert _moved(scene.place).nodes.total() == 2
    assert scene.rollback(run=1).balanced
    assert not scene.dump().nodes


def test_a_rollback_on_its_way_goes_further_back_but_not_forward(scene: Scene) -> None:
    """What is taken back already cannot be had again; a new run waits for its end."""
    with _watching(scene, {9: HALF}):
        scene.begin(into_existing=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedGraph, "delete_after", _killing(None, 1, False))
        with pytest.raises(Killed):
            scene.rollback(HALF)
    with pytest.raises(UsageError, match="being rolled back to checkpoint"):
        scene.rollback("verify")
    refused = scene.begin(into_existing=True).error
    assert isinstance(refused, UsageError)
    assert refused.next_step.endswith("geode-tui rollback 1")
    assert rollback_goal(scene.journal(), 1, None).name == HALF
    assert scene.rollback("backfill").balanced
    scene.assert_there("backfill")


def test_a_run_that_was_rolled_back_is_over(scene: Scene) -> None:
    """It cannot be resumed or rolled back again; a new run may begin on its target."""
    before = scene.dump()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", _killing(Chunks.finish, 5, False, BROKEN))
        assert scene.begin(into_existing=True).error is not None
    assert scene.rollback().balanced
    assert not differences(before, scene.dump())
    assert isinstance(scene.resume().error, UsageError)
    with pytest.raises(UsageError, match="rolled back already"):
        scene.rollback()
    assert scene.begin(into_existing=True).error is None


def test_indexes_of_a_run_that_broke_while_it_made_them_are_dropped(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """They are in the journal before they are in the graph."""
    scene = Scene(make_database("CREATE TABLE city (id int PRIMARY KEY)"), tmp_path)
    scene.settle()
    before = _schema(scene)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedGraph, "prepare", _killing(EmbeddedGraph.prepare, 1, True, BROKEN))
        assert scene.begin().error is not None
        assert _schema(scene) != before
        assert scene.rollback().balanced
    assert _schema(scene) == before


def test_a_run_that_never_wrote_is_rolled_back_without_a_graph(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """There is nothing to take back, and it is over."""
    scene = Scene(make_database("CREATE TABLE city (id int PRIMARY KEY)"), tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TargetPlan, "open", _killing(None, 1, False, BROKEN))
        assert scene.begin().error is not None
    assert scene.rollback().entries == ()
    assert scene.journal().run(1).state == "rolled back"
    assert not scene.place.exists()


# -- from the command line ------------------------------------------------------------------------


@pytest.fixture
def shell(make_database: MakeDatabase, tmp_path: Path) -> CommandLine:
    """A finished run of two cities, from the command line."""
    dsn = make_database("CREATE TABLE city (id int PRIMARY KEY); INSERT INTO city VALUES (1), (2)")
    shell = CommandLine(tmp_path)
    assert shell.run_here("map", "--source", dsn, "--output", "m.yaml").code == EXIT_OK
    arguments = ("--source", dsn, "--target", "g.grafeo", "--mapping", "m.yaml")
    assert shell.run_here("migrate", *arguments).code == EXIT_OK
    return shell


def test_the_command_asks_for_the_targets_name(shell: CommandLine) -> None:
    """Without a terminal and without --yes nothing is done."""
    asked = shell.run("rollback", "1")
    assert asked.code == EXIT_USAGE
    assert any("answer with --yes" in line for line in asked.error)
    assert _moved(shell.folder / "g.grafeo").nodes.total() == 2
    done = shell.run_here("rollback", "1", "--yes")
    assert done.code == EXIT_OK
    assert done.out.splitlines()[-1] == "the ledger balances: 1 entries"
    assert not dump(shell.folder / "g.grafeo").nodes


@pytest.mark.parametrize("typed", ["g.grafeo", "another"])
def test_the_targets_name_must_be_typed(
    typed: str, shell: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name, and nothing else, is a yes."""

    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

        @staticmethod
        def readline() -> str:
            return f"{typed}\n"

    monkeypatch.setattr(sys, "stdin", Terminal)
    done = shell.run_here("rollback", "1")
    good = typed == "g.grafeo"
    assert done.code == (EXIT_OK if good else EXIT_USAGE)
    assert _moved(shell.folder / "g.grafeo").nodes.total() == (0 if good else 2)


def test_the_command_says_when_something_is_missing(shell: CommandLine) -> None:
    """Somebody removed a node that should have stayed: the ledger of the rollback says so."""
    target = open_target(str(shell.folder / "g.grafeo"))
    target.query("MATCH (n:City {id: 1}) DETACH DELETE n")
    target.close()
    done = shell.run_here("rollback", "1", "--to", "verify", "--yes", "--json")
    assert done.code == EXIT_DIFFERS
    assert not done.json["balanced"]
    [entry] = done.json["entries"]
    assert (entry["rows"], entry["in_graph"], entry["verdict"]) == (2, 1, "1 missing")


def test_an_error_in_the_midst_says_how_to_end_the_rollback(
    shell: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exit code of what can be gone on with."""

    def full(*_: Any) -> Any:
        raise GeodeTuiError("the disk is full", "", "free space, then: geode-tui resume")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedGraph, "delete_after", full)
        failed = shell.run_here("rollback", "1", "--yes")
    assert failed.code == EXIT_RESUMABLE
    assert failed.error[-1].endswith("geode-tui rollback 1")
    assert shell.run_here("rollback", "1", "--yes").code == EXIT_OK
