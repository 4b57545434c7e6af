"""Waves: rules that are moved together, one wave after the other, each behind a gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from geode_tui.errors import (
    EXIT_OK,
    EXIT_RESUMABLE,
    EXIT_USAGE,
    GeodeTuiError,
    MappingError,
    RunStopped,
    UsageError,
)
from geode_tui.mapping import file, reshape
from geode_tui.mapping.check import check
from geode_tui.mapping.edits import merge, rename_label, rename_type
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, RelationshipRule, Wave
from geode_tui.mapping.waves import waves_of
from geode_tui.migration import postgres_origin
from geode_tui.migration.backfill import Backfill
from geode_tui.migration.journal import Journal
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target import open_target
from tests.catalogs import SHOP
from tests.command_line import CommandLine
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import read_catalog

TOWN = """
CREATE TABLE "[/foo] city" (id int PRIMARY KEY, "na""me" text);
CREATE TABLE person (id int PRIMARY KEY, city int REFERENCES "[/foo] city", boss int);
CREATE TABLE visit (id int PRIMARY KEY, person int REFERENCES person,
  city int REFERENCES "[/foo] city");
CREATE TABLE note (id int PRIMARY KEY, person int REFERENCES person, born date);
INSERT INTO "[/foo] city" SELECT n, 'city ' || n FROM generate_series(1, 40) n;
INSERT INTO person SELECT n, n % 40 + 1, n / 2 FROM generate_series(1, 120) n;
INSERT INTO visit SELECT n, n, n % 40 + 1 FROM generate_series(1, 90) n;
INSERT INTO note SELECT n, n, '2000-01-01' FROM generate_series(1, 60) n;
ANALYZE;
"""
FIRST, SECOND = '"one" [/b]', "zwei 🌊"
"""The names of the waves: any text will do."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 50 rows, so that a small table has many."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


def _waves(dsn: str) -> Mapping:
    """The mapping inferred, in two waves and the rest: notes and what leads to them."""
    mapping = infer(read_catalog(dsn))
    waves = Wave(FIRST, ("FooCity", "Person")), Wave(SECOND, ("Visit",))
    return replace(mapping, waves=waves)


def _run(dsn: str, folder: Path, **options: Any) -> Runner:
    mapping = options.pop("mapping", None) or _waves(dsn)
    file.save(mapping, folder / "mapping.yaml")
    request = RunRequest(
        dsn, str(folder / "graph.grafeo"), mapping, strategy="incremental", **options
    )
    return _ended(Runner(request, journal=folder / "journal.sqlite3"))


def _resume(folder: Path, **options: Any) -> Runner:
    return _ended(Runner(resume=1, journal=folder / "journal.sqlite3", **options))


def _ended(runner: Runner) -> Runner:
    runner.start()
    runner.join()
    return runner


def _assert_equal(dsn: str, folder: Path) -> None:
    found = run_now(compare(dsn, folder / "graph.grafeo", None, folder / "mapping.yaml"))
    assert found.equal, found.verdict


def _journal(folder: Path) -> Journal:
    return Journal(folder / "journal.sqlite3")


def _labels(folder: Path) -> set[str]:
    target = open_target(str(folder / "graph.grafeo"), read_only=True)
    try:
        return {row["label"] for row in target.query("MATCH (n) RETURN labels(n)[0] AS label")}
    finally:
        target.close()


# -- in the mapping's file ------------------------------------------------------------------------


def test_waves_are_kept_in_the_mapping_file_whatever_their_names() -> None:
    """What is written is read back, names and ids of relationships too."""
    mapping = infer(SHOP)
    ids = tuple(rule.id for rule in mapping.rules)
    waves = Wave(FIRST, ids[:1]), Wave("- a: 'b' #c", ids[1:2]), Wave(SECOND, ids[-2:])
    waved = replace(mapping, waves=waves)
    assert file.parse(file.dump(waved)).mapping == waved
    assert "waves" not in file.dump(mapping)
    assert file.mapping_hash(waved) != file.mapping_hash(mapping)


WRONG = {
    "an unknown rule": ("[{name: a, rules: [User]}, {name: b, rules: [Prodct]}]", "no rule Prodct"),
    "a rule in two waves": (
        "[{name: a, rules: [User]}, {name: b, rules: [User]}]",
        "User is in wave a already",
    ),
    "a wave without a name": ("[{name: ' ', rules: [User]}]", "the wave has no name"),
    "two waves of one name": ("[{name: a, rules: [User]}, {name: a}]", "wave a stands twice"),
    "a list of lists": ("[{name: a, rules: [[User]]}]", "a rule is named by its id"),
    "a word that is none": ("[{name: a, rule: [User]}]", "no field 'rule' here"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wave_that_cannot_be_is_told_with_its_line(case: str) -> None:
    """Before anything is run, with the line of the file."""
    text, what = WRONG[case]
    document = file.dump(infer(SHOP))
    line = document.count("\n") + 1
    with pytest.raises(MappingError) as error:
        check(file.parse(f"{document}waves: {text}\n", "m.yaml"), SHOP)
    assert error.value.what == f"m.yaml line {line}: {what}"


def test_an_unknown_rule_in_a_wave_names_the_nearest() -> None:
    """On its own line, where the rules stand one below the other."""
    document = file.dump(infer(SHOP))
    line = document.count("\n") + 5
    text = f"{document}waves:\n- name: a\n  rules:\n  - User\n  - Prodct\n"
    with pytest.raises(MappingError) as error:
        check(file.parse(text, "m.yaml"), SHOP)
    assert f"line {line}:" in error.value.what
    assert error.value.next_step == "did you mean Product?"


def _with_all_rules(mapping: Mapping) -> Mapping:
    """Each rule in a wave of its own."""
    waves = (Wave(f"wave {n}", (rule.id,)) for n, rule in enumerate(mapping.rules))
    return replace(mapping, waves=tuple(waves))


def _link(mapping: Mapping) -> RelationshipRule:
    return mapping.relationships[0]


EDITS: dict[str, Callable[[Mapping], Mapping]] = {
    "rename a label": lambda m: rename_label(m, "User", "Customer"),
    "rename a type": lambda m: rename_type(m, _link(m), "RENAMED"),
    "reverse a relationship": lambda m: reshape.reverse(m, _link(m)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_rule_that_is_renamed_stays_in_its_wave(edit: str) -> None:
    """So do the relationships whose ids hold its name."""
    before = _with_all_rules(infer(SHOP))
    after = EDITS[edit](before)
    assert after != before
    assert after == _with_all_rules(after)


def test_waves_outlive_a_merge_without_the_rules_that_are_gone() -> None:
    """A table that is gone from the source leaves its wave; the others stay as they were."""
    before = _with_all_rules(infer(SHOP))
    smaller = replace(SHOP, tables=SHOP.tables[:-1])
    after = merge(infer(smaller), before, smaller)
    gone = {rule.id for rule in before.rules} - {rule.id for rule in after.rules}
    assert gone
    kept = [
        replace(wave, rules=tuple(rule for rule in wave.rules if rule not in gone))
        for wave in before.waves
    ]
    assert list(after.waves) == kept
    check(file.MappingFile(after), smaller)


# -- what comes when ------------------------------------------------------------------------------


def test_a_relationship_comes_as_soon_as_both_its_ends_are_there(
    make_database: MakeDatabase,
) -> None:
    """Named or not; in no wave before its ends, and nodes of no wave come last."""
    mapping = _waves(make_database(TOWN))
    found = {wave.name: set(wave.rules) for wave in waves_of(mapping)}
    assert list(found) == [FIRST, SECOND, "rest"]
    assert found[FIRST] == {"FooCity", "Person", "(Person)-[HAS_CITY]->(FooCity)"} or any(
        rule.startswith("(Person)-[") and rule.endswith("->(FooCity)") for rule in found[FIRST]
    )
    for wave in found.values():
        for rule in wave:
            if rule.startswith("("):
                assert not any(f"({node})" in rule for node in {"Visit"} - found[SECOND])
    visits = {rule.id for rule in mapping.relationships if rule.start.node == "Visit"}
    assert len(visits) == 2
    assert found[SECOND] == {"Visit", *visits}
    assert "Note" in found["rest"]
    late = Wave(SECOND, ("Visit", next(r for r in found[FIRST] if r.startswith("("))))
    moved = replace(mapping, waves=(mapping.waves[0], late))
    assert {w.name: set(w.rules) for w in waves_of(moved)}[SECOND] >= set(late.rules)
    early = replace(mapping, waves=(Wave("early", tuple(visits)), *mapping.waves))
    assert {w.name: set(w.rules) for w in waves_of(early)}[SECOND] == {"Visit", *visits}


# -- a run in waves -------------------------------------------------------------------------------


def test_each_wave_ends_with_a_ledger_of_its_own_before_the_next_begins(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The trail has a gate for each wave, in their order; no chunk of a later wave is older."""
    dsn = make_database(TOWN)
    runner = _run(dsn, tmp_path)
    assert runner.error is None
    _assert_equal(dsn, tmp_path)
    journal = _journal(tmp_path)
    waves = waves_of(journal.mapping(1))
    trail = [entry for entry in journal.audit.entries(1) if entry.what in ("gate", "checkpoint")]
    told = [yaml.safe_load(entry.after) for entry in trail]
    gates = [item for item in told if "wave" in item]
    assert [(g["wave"], g["balanced"]) for g in gates] == [(w.name, True) for w in waves]
    assert journal.open_gates(1) == {wave.name for wave in waves}
    names = [item.get("name") or item["wave"] for item in told]
    middle = [name for wave in waves for name in (f"wave {wave.name}", wave.name)]
    assert names == ["begin", "backfill", *middle, "verify"]
    for wave in waves:
        checkpoint = journal.checkpoints.named(1, f"wave {wave.name}")
        assert checkpoint.wave == wave.name
        earlier = {e.id for e in journal.chunks.entities(1) if checkpoint.rows[e.id]}
        before = waves[: waves.index(wave)]
        assert earlier == {rule for each in before for rule in each.rules}
        for rule in wave.rules:
            steps = [line.step for line in journal.chunks.done(1, rule)]
            assert steps
            assert min(steps) > checkpoint.step
    assert {e.id: e.wave for e in journal.chunks.entities(1)} == {
        rule: wave.name for wave in waves for rule in wave.rules
    }


def test_a_run_stops_after_the_wave_that_was_named_and_goes_on_to_the_next(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Then to another wave, then to the end; after each, only what was to be there is."""
    dsn = make_database(TOWN)
    stopped = _run(dsn, tmp_path, last_wave=FIRST)
    assert isinstance(stopped.error, RunStopped)
    assert stopped.error.what == f"wave {FIRST} is done"
    assert stopped.error.next_step.endswith(f"--wave {SECOND}")
    assert _labels(tmp_path) == {"FooCity", "Person"}
    before = _journal(tmp_path).run(1)
    assert isinstance(_resume(tmp_path, last_wave="no wave").error, UsageError)
    assert _journal(tmp_path).run(1) == before
    again = _resume(tmp_path, last_wave=SECOND)
    assert isinstance(again.error, RunStopped)
    assert _labels(tmp_path) == {"FooCity", "Person", "Visit"}
    ended = _resume(tmp_path)
    assert ended.error is None
    assert ended.ledger is not None
    assert ended.ledger.balanced
    _assert_equal(dsn, tmp_path)


def test_a_run_that_broke_within_its_last_wave_still_stops_after_it(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Only a gate that opened lets a plain resume go on to the end."""
    dsn = make_database(TOWN)
    with pytest.MonkeyPatch.context() as patch:
        _break_in(patch, "Person")
        assert isinstance(_run(dsn, tmp_path, last_wave=FIRST).error, GeodeTuiError)
    assert isinstance(_resume(tmp_path).error, RunStopped)
    assert _labels(tmp_path) == {"FooCity", "Person"}
    assert _resume(tmp_path).error is None
    _assert_equal(dsn, tmp_path)


def _break_in(patch: pytest.MonkeyPatch, entity: str) -> None:
    """Let the first chunk of an entity fail for good."""
    from geode_tui.migration.chunks import Chunk, Chunks

    finish = Chunks.finish

    def broken(self: Chunks, run: int, chunk: Chunk, result: Any) -> None:
        if chunk.entity == entity:
            raise GeodeTuiError("the disk of the journal is full")
        finish(self, run, chunk, result)

    patch.setattr(Chunks, "finish", broken)


def test_a_wave_whose_ledger_differs_shuts_its_gate(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Nothing of the next wave is written; once the graph is mended, the run goes on."""
    dsn = make_database(TOWN)
    with pytest.MonkeyPatch.context() as patch:
        run = Backfill.run

        async def with_a_stranger(self: Backfill, *arguments: Any) -> None:
            await run(self, *arguments)
            self.target.query("INSERT (:FooCity {id: 999})")

        patch.setattr(Backfill, "run", with_a_stranger)
        error = _run(dsn, tmp_path).error
    assert error is not None
    assert error.what.startswith(f"the gate of wave {FIRST} is shut: FooCity: 1 too many")
    assert _labels(tmp_path) == {"FooCity", "Person"}
    assert _journal(tmp_path).open_gates(1) == set()
    target = open_target(str(tmp_path / "graph.grafeo"))
    target.query("MATCH (n:FooCity {id: 999}) DETACH DELETE n")
    target.close()
    assert _resume(tmp_path).error is None
    _assert_equal(dsn, tmp_path)


@pytest.mark.parametrize("strategy", ["incremental", "big-bang"])
def test_a_wave_that_is_not_there_is_refused_before_anything_is_written(
    strategy: Any, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Not in the graph, and not in the journal; a run of no waves has none."""
    dsn = make_database(TOWN)
    request = RunRequest(
        dsn, str(tmp_path / "graph.grafeo"), _waves(dsn), strategy=strategy, last_wave="zwei"
    )
    runner = _ended(Runner(request, journal=tmp_path / "journal.sqlite3"))
    assert isinstance(runner.error, UsageError)
    assert "wave zwei" in runner.error.what
    if strategy == "incremental":
        assert runner.error.next_step == f"did you mean {SECOND}?"
    assert _journal(tmp_path).runs() == []
    assert not (tmp_path / "graph.grafeo").exists()


# -- from the command line, and in a process of its own -------------------------------------------


def test_waves_and_the_dead_limit_are_steered_from_the_command_line(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Stop after a wave; too many dead letters in the rest; allow more; the ledger balances."""
    dsn = make_database(f"{TOWN} UPDATE note SET born = 'infinity' WHERE id <= 5")
    shell = CommandLine(tmp_path)
    file.save(_waves(dsn), tmp_path / "m.yaml")
    arguments = ("--source", dsn, "--target", "g.grafeo", "--mapping", "m.yaml")
    begin = ("migrate", *arguments, "--strategy", "incremental", "--dead-limit", "2")
    refused = shell.run_here(*begin, "--wave", "none of them")
    assert refused.code == EXIT_USAGE
    assert not (tmp_path / "g.grafeo").exists()
    first = shell.run_here(*begin, "--wave", FIRST)
    assert first.code == EXIT_RESUMABLE
    assert any(f"wave {FIRST} is done" in line for line in first.error)
    many = shell.run_here("resume", "1", "--source", dsn)
    assert many.code == EXIT_RESUMABLE
    assert any("Note stopped: more than 2 dead letters" in line for line in many.error)
    ended = shell.run_here("resume", "1", "--source", dsn, "--dead-limit", "none", "--json")
    assert ended.code == EXIT_OK
    assert ended.json["balanced"]


def test_a_graph_with_nodes_of_the_same_labels_is_written_only_when_somebody_says_so(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Then the rows come beside what is there, which is not in the ledger."""
    dsn = make_database("CREATE TABLE city (id int PRIMARY KEY); INSERT INTO city VALUES (1), (2)")
    shell = CommandLine(tmp_path)
    file.save(infer(read_catalog(dsn)), tmp_path / "m.yaml")
    target = open_target(str(tmp_path / "g.grafeo"))
    target.query("INSERT (:City {id: 3})")
    target.close()
    arguments = ("--source", dsn, "--target", "g.grafeo", "--mapping", "m.yaml")
    refused = shell.run_here("migrate", *arguments)
    assert refused.code == EXIT_USAGE
    assert any("--into-existing" in line for line in refused.error)
    beside = shell.run_here("migrate", *arguments, "--into-existing", "--json")
    assert beside.code == EXIT_OK
    [entry] = beside.json["entries"]
    assert (entry["in_graph"], entry["dead"]) == (2, 0)


def test_a_process_of_the_interface_stops_after_the_wave_too(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What is asked of a resumed run reaches the engine in its process."""
    dsn = make_database(TOWN)
    assert isinstance(_run(dsn, tmp_path, last_wave=FIRST, dead_limit=0).error, RunStopped)
    resumed = ProcessRunner(
        resume=1,
        source=dsn,
        journal=tmp_path / "journal.sqlite3",
        last_wave=SECOND,
        dead_limit=None,
    )
    assert isinstance(_ended(resumed).error, RunStopped)
    record = _journal(tmp_path).run(1)
    assert (record.last_wave, record.dead_limit) == (SECOND, None)
    assert _labels(tmp_path) == {"FooCity", "Person", "Visit"}
