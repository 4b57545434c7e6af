"""Repair: what a validation named is written again, nothing else; a rollback puts all back."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damage import KINDS
from benchmarks.damage_source import SQL
from benchmarks.damages import Original, damage
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.file import load
from geode_tui.mapping.model import Mapping
from geode_tui.migration import repairing, schema_graph, validating
from geode_tui.migration.journal import Journal, NewRun, RunRecord
from geode_tui.migration.repairing import RepairPlan, RepairRequest, repair_plan
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.validating import ValidateRequest
from geode_tui.target import open_target
from geode_tui.validation.ledger import Ledger
from tests.command_line import execute
from tests.conftest import MakeDatabase
from tests.graph_dump import Dump, differences, dump

SEED = os.environ.get("SEED") or ("0" if os.environ.get("CI") else str(random.randrange(10**6)))
MARKS = ("_run", "_step")
LEFT = {
    "a node too many, not marked": "no run wrote it",
    "a node's key stored as a float": "its key has another type",
    "a node doubled": "",
    "a node doubled with fewer values": "",
    "a relationship doubled": "",
    "a relationship doubled with another property": "",
    "a relationship too many, not marked": "no run wrote it",
}
"""Damage that a repair leaves for a person, and why; empty where nothing can be chosen."""
BESIDE = (
    "a node's label gone",
    "a node marked as another rule's",
    "a relationship reversed",
    "a relationship of another type",
)
"""Damage that leaves something under a label or a type that no rule makes, or the other way."""
MENDED = [name for name in KINDS if name not in LEFT and name not in BESIDE]
SOME = random.Random(SEED).sample(MENDED, 5)


@dataclass
class Scene:
    """A copy of a good graph with a journal of its own."""

    dsn: str
    mapping: Mapping
    folder: Path
    original: Original

    @property
    def graph(self) -> Path:
        """The copy."""
        return self.folder / "graph.grafeo"

    @property
    def journal(self) -> Journal:
        """Its journal, which knows no run that made it."""
        return Journal(self.folder / "journal.sqlite3")

    def damage(self, kind: str) -> Dump:
        """Damage the graph; what it is then."""
        damage(self.graph, self.original.entities, KINDS[kind], SEED)
        return dump(self.graph)

    def query(self, *statements: str) -> None:
        """Change the graph behind the product's back."""
        target = open_target(str(self.graph), None, create=False)
        for statement in statements:
            target.query(statement)
        target.flush()
        target.close()

    def validate(self, deep: bool = True) -> tuple[int, Ledger]:
        """Validate; the run and its ledger."""
        return self.drive(ValidateRequest(self.dsn, str(self.graph), self.mapping, deep=deep))

    def repair(self, of: int, plan: RepairPlan) -> tuple[int, Ledger]:
        """Repair what a plan says."""
        return self.drive(
            RepairRequest(self.dsn, str(self.graph), self.mapping, of=of, chosen=plan.chosen)
        )

    def drive(self, request: RunRequest) -> tuple[int, Ledger]:
        """Drive a run to its end."""
        runner = Runner(request, journal=self.folder / "journal.sqlite3")
        runner.start()
        runner.join()
        if runner.error is not None:
            raise runner.error
        assert runner.run_number is not None
        assert runner.ledger is not None
        return runner.run_number, runner.ledger

    def told(self, run: int) -> list[str]:
        """The happenings of a run."""
        return [event.message for event in self.journal.events(run)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs is looked at again at once: nobody writes meanwhile."""
    monkeypatch.setattr(validating, "RETRIES", (0.0,))


@pytest.fixture(scope="module")
def original(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Original]:
    """A database of every type, migrated once."""
    execute(postgres.dsn(), "CREATE DATABASE repair TEMPLATE template0")
    execute(postgres.dsn("repair"), SQL)
    yield Original.make(postgres.dsn("repair"), tmp_path_factory.mktemp("repair"))
    execute(postgres.dsn(), "DROP DATABASE repair WITH (FORCE)")


@pytest.fixture
def scene(original: Original, tmp_path: Path) -> Scene:
    """A copy of the good graph."""
    original.copy(tmp_path / "graph.grafeo")
    mapping = load(original.folder / "mapping.yaml").mapping
    return Scene(original.dsn, mapping, tmp_path, original)


@pytest.mark.parametrize("number", range(len(SOME)))
def test_damage_is_repaired_and_can_be_put_back(scene: Scene, number: int) -> None:
    """After the repair the graph is as it was migrated; after its rollback as it was damaged."""
    kind = SOME[number]
    good = dump(scene.graph, without=MARKS)
    damaged = scene.damage(kind)
    of, ledger = scene.validate()
    assert not ledger.valid, f"SEED={SEED} {kind}"
    run, repaired = scene.repair(of, repair_plan(ledger.differences))
    there = dump(scene.graph, without=MARKS)
    assert there == good, f"SEED={SEED} {kind}: " + "\n".join(differences(good, there))
    assert repaired.valid
    before = scene.journal.ledger(of)
    assert before is not None
    assert {one.state for one in before.differences} == {"repaired"}
    assert {one.reason for one in before.differences} == {f"by run {run}"}
    roll_back(scene.journal, run)
    assert dump(scene.graph) == damaged, f"SEED={SEED} {kind}"
    again = scene.journal.ledger(of)
    assert again is not None
    assert {one.state for one in again.differences} == {"mismatched"}


@pytest.mark.parametrize("kind", LEFT)
def test_what_a_person_must_decide_is_left_alone_and_told(scene: Scene, kind: str) -> None:
    """Nothing that is somebody else's, or that a rollback could not put back, is touched."""
    damaged = scene.damage(kind)
    of, ledger = scene.validate()
    plan = repair_plan(ledger.differences)
    if not LEFT[kind]:
        assert plan.chosen == ()
        assert [reason for _, reason in plan.left] != []
        with pytest.raises(UsageError, match="nothing to repair"):
            scene.repair(of, plan)
        assert dump(scene.graph) == damaged
        return
    run, after = scene.repair(of, plan)
    assert not after.valid
    assert any("left alone" in line and LEFT[kind] in line for line in scene.told(run))
    roll_back(scene.journal, run)
    assert dump(scene.graph) == damaged


def test_a_node_with_relationships_of_others_stays(scene: Scene) -> None:
    """They would go with it, and a rollback could not make them again."""
    scene.query(
        "MATCH (n:User {id: 11}) INSERT (m:User {id: 4711, _run: n._run})",
        "MATCH (n:User {id: 11}), (m:User {id: 4711}) INSERT (n)-[:KNOWS {since: 1999}]->(m)",
    )
    damaged = dump(scene.graph)
    of, ledger = scene.validate()
    run, _ = scene.repair(of, repair_plan(ledger.differences))
    assert dump(scene.graph) == damaged
    assert any("relationships hang on it" in line for line in scene.told(run))


def test_only_what_was_chosen_is_written(scene: Scene) -> None:
    """Of three damaged rows one is repaired; the others stay as they are, and are told still."""
    scene.query(*(f"MATCH (n:User {{id: {n}}}) SET n.name = 'wrong'" for n in (11, 12, 13)))
    of, ledger = scene.validate()
    plan = repair_plan([one for one in ledger.differences if one.key == "id=12"])
    _, after = scene.repair(of, plan)
    assert sorted(one.key for one in after.differences) == ["id=11", "id=13"]


def test_a_row_that_is_right_by_now_is_not_written(scene: Scene) -> None:
    """What somebody mended since the validation is left as it is."""
    scene.query(
        "MATCH (n:User {id: 11}) SET n.was = n.name", "MATCH (n:User {id: 11}) SET n.name = 'wrong'"
    )
    of, ledger = scene.validate()
    scene.query("MATCH (n:User {id: 11}) SET n.name = n.was REMOVE n.was")
    before = dump(scene.graph)
    run, after = scene.repair(of, repair_plan(ledger.differences))
    assert after.valid
    assert dump(scene.graph) == before
    assert any("does not differ any more" in line for line in scene.told(run))


def test_the_source_of_now_is_written_not_that_of_the_validation(scene: Scene) -> None:
    """A row that changed since it was named is copied as it is now."""
    scene.query("MATCH (n:Team {name: 'team 3'}) SET n.motto = 'wrong'")
    of, ledger = scene.validate()
    execute(scene.dsn, "UPDATE team SET motto = 'newer' WHERE name = 'team 3'")
    try:
        _, after = scene.repair(of, repair_plan(ledger.differences))
        assert after.valid
    finally:
        execute(scene.dsn, "UPDATE team SET motto = 'we are 3' WHERE name = 'team 3'")


def test_what_only_the_sample_saw_is_repaired(scene: Scene) -> None:
    """Stored digests do not tell of a value edited in the graph; the sample did."""
    scene.query("MATCH (n:Team {name: 'team 3'}) SET n.motto = 'wrong'")
    of, ledger = scene.validate(deep=False)
    (one,) = ledger.differences
    assert (one.sampled, one.digested) == (True, False)
    _, after = scene.repair(of, repair_plan(ledger.differences))
    assert after.valid


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_repair_that_breaks_can_be_taken_back_or_done_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """After whichever write to the graph it breaks: nothing is lost, and the next one ends it."""
    good = dump(scene.graph, without=MARKS)
    scene.query(
        "MATCH (n:User {id: 11}) SET n.name = 'wrong'",
        "MATCH (n:Team {name: 'team 3'}) DETACH DELETE n",
        "MATCH (n:Orders {id: 7})-[r]->() DELETE r",
    )
    damaged = dump(scene.graph)
    of, ledger = scene.validate()
    plan = repair_plan(ledger.differences)
    with monkeypatch.context() as patch:
        _break(patch, at)
        with pytest.raises(GeodeTuiError, match="power cut"):
            scene.repair(of, plan)
    broken = of + 1
    shutil.copytree(scene.folder, scene.folder.with_name("other"), dirs_exist_ok=True)
    roll_back(scene.journal, broken)
    assert dump(scene.graph) == damaged
    other = Scene(scene.dsn, scene.mapping, scene.folder.with_name("other"), scene.original)
    again, ledger = other.drive(ValidateRequest(scene.dsn, str(other.graph), scene.mapping))
    if ledger.differences:
        other.repair(again, repair_plan(ledger.differences))
    assert dump(other.graph, without=MARKS) == good


def _break(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the repair break right after a write to the graph."""
    count = 0

    def after(function: Any) -> Any:
        def broken(*arguments: Any) -> Any:
            nonlocal count
            result = function(*arguments)
            count += 1
            if count == at:
                raise GeodeTuiError("power cut")
            return result

        return broken

    monkeypatch.setattr(repairing, "put", after(schema_graph.put))
    write = repairing._Repair._write_batch
    monkeypatch.setattr(repairing._Repair, "_write_batch", after(write))


def test_a_later_repair_is_taken_back_first(scene: Scene) -> None:
    """A repair cannot be taken back under another one that wrote after it."""
    runs = []
    for number in (11, 12):
        scene.query(f"MATCH (n:User {{id: {number}}}) DETACH DELETE n")
        of, ledger = scene.validate()
        runs.append(scene.repair(of, repair_plan(ledger.differences))[0])
    with pytest.raises(UsageError, match=f"run {runs[1]} wrote"):
        roll_back(scene.journal, runs[0])
    for run in reversed(runs):
        roll_back(scene.journal, run)


def test_a_validation_cannot_be_resumed_or_taken_back(scene: Scene) -> None:
    """It wrote nothing; whoever tries is told what to do."""
    number, _ = scene.validate()
    record: RunRecord = scene.journal.run(number)
    assert not record.resumable
    with pytest.raises(UsageError, match="is a validation"):
        roll_back(scene.journal, number)
    runner = Runner(resume=number, journal=scene.folder / "journal.sqlite3")
    runner.start()
    runner.join()
    assert "begin it anew" in str(runner.error)


def test_another_source_than_the_one_that_was_compared_is_refused(
    scene: Scene, make_database: MakeDatabase
) -> None:
    """The rows of another database are never written, though its tables look the same."""
    scene.query("MATCH (n:User {id: 11}) SET n.name = 'wrong'")
    damaged = dump(scene.graph)
    of, ledger = scene.validate()
    scene.dsn = make_database(SQL)
    with pytest.raises(UsageError, match="has changed in"):
        scene.repair(of, repair_plan(ledger.differences))
    assert dump(scene.graph) == damaged


def test_a_graph_that_was_led_to_another_mapping_since_is_refused(scene: Scene) -> None:
    """What differed under the old mapping must not be written in its shape."""
    scene.query("MATCH (n:User {id: 11}) SET n.name = 'wrong'")
    of, ledger = scene.validate()
    new = NewRun("", "", str(scene.graph), "", (), "", scene.mapping, 1, None, kind="schema")
    journal = scene.journal
    journal.set_state(journal.begin(new).number, "done")
    with pytest.raises(UsageError, match="to another mapping"):
        scene.repair(of, repair_plan(ledger.differences))


def test_more_than_one_repair_looks_at_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not reached is not called right: the next repair mends it."""
    scene.query("MATCH (n:User) SET n.name = 'wrong', n._fp = n.id")
    of, ledger = scene.validate()
    plan = repair_plan(ledger.differences)
    monkeypatch.setattr("geode_tui.validation.compare.MOST_CANDIDATES", 50)
    run, after = scene.repair(of, plan)
    assert not after.valid
    told = " ".join(scene.told(run))
    assert "more differs than one repair looks at" in told
    assert "does not differ any more" not in told


def test_an_entity_that_the_mapping_does_not_have_is_refused(scene: Scene) -> None:
    """Before anything is written."""
    number, _ = scene.validate()
    with pytest.raises(GeodeTuiError, match="no entity Nobody"):
        scene.drive(
            RepairRequest(
                scene.dsn,
                str(scene.graph),
                scene.mapping,
                of=number,
                chosen=(("Nobody", "id=1"),),
            )
        )
