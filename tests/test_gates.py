"""The gates of a cutover cannot be fooled: each is made red on a real source and a real graph."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import UsageError
from geode_tui.migration.replication.cutover import CutoverAborted, CutoverEngine
from geode_tui.migration.replication.gates import TITLES, shut, unopened
from geode_tui.migration.replication.health import Figures
from geode_tui.migration.replication.replica import open_replica
from geode_tui.migration.replication.state import Gate
from geode_tui.target import open_target
from geode_tui.target.model import NodeShape
from geode_tui.validation.ledger import Ledger
from tests.command_line import execute
from tests.conftest import MakeDatabase, run_now
from tests.moved import SQL, Moved, move
from tests.source_state import state_of

GATES = "geode_tui.migration.replication.gates"


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """A run that is moved and rehearsed; each test mends what it breaks."""
    name = f"gates_{os.getpid()}"
    execute(postgres.dsn(), f"CREATE DATABASE {name} TEMPLATE template0")
    execute(postgres.dsn(name), SQL)
    moved = move(postgres.dsn(name), tmp_path_factory.mktemp("gates"))
    moved.rehearse()
    yield moved
    moved.journal.close()
    execute(
        postgres.dsn(name),
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE database = current_database()",
    )
    execute(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lag is measured for less than a second."""
    monkeypatch.setattr("geode_tui.migration.replication.cutover._BEAT_SECONDS", 0.3)


def gates_of(moved: Moved, **fields: Any) -> dict[str, Gate]:
    """The gates as they are now."""
    found = run_now(CutoverEngine(moved.journal).look(moved.request(**fields)))
    assert [gate.name for gate in found] == list(TITLES)
    return {gate.name: gate for gate in found}


def validate(moved: Moved) -> Ledger:
    """A whole validation, journaled as that of the run."""

    async def work() -> Ledger:
        async with open_replica(moved.journal, moved.number) as replica:
            return await replica.validate()

    return run_now(work())


def sync(moved: Moved) -> None:
    """Lead the graph to what the source is."""

    async def work() -> None:
        async with open_replica(moved.journal, moved.number) as replica:
            await replica.settle("sync", 20)

    run_now(work())


def refused(moved: Moved, *names: str, **fields: Any) -> Gate:
    """The first of the gates that keep a cutover from the source; they must be just these."""
    with pytest.raises(CutoverAborted) as error:
        moved.cut_over(**fields)
    assert moved.steps["freeze"] == "waiting"  # writes never stood
    told = moved.journal.captures.cutover(moved.number)
    assert told is not None
    closed = {gate.name: gate for gate in shut(told.gates)}
    assert closed.keys() == set(names)
    assert f"{names[0]}: {closed[names[0]].evidence}" in error.value.why
    assert closed[names[0]].next_step
    assert not moved.markers()
    return closed[names[0]]


def green(moved: Moved, name: str, **fields: Any) -> None:
    assert gates_of(moved, **fields)[name].colour == "green"


def test_all_gates_are_green_where_all_is_well(shared: Moved) -> None:
    gates = gates_of(shared)
    assert {gate.colour for gate in gates.values()} == {"green"}
    assert all(gate.evidence for gate in gates.values())
    assert all(0 <= time.time() - gate.checked_at < 600 for gate in gates.values())


def test_a_backfill_that_is_not_done(shared: Moved) -> None:
    shared.journal.set_phase(1, "backfill", "stopped", "stopped on request")
    gate = refused(shared, "backfill")
    assert gate.evidence == "the backfill is stopped"
    assert not gate.waivable
    shared.journal.set_phase(1, "backfill", "done")
    green(shared, "backfill")


def test_changes_that_never_caught_up(shared: Moved) -> None:
    """What the journal says before the graph is led on; once it is, the gate is green."""
    with shared.journal.store.write() as db:
        db.execute("UPDATE capture SET caught_up = NULL")
    error = UsageError("run 1 has not moved all rows yet")
    gate = unopened(shared.journal, 1, error)
    assert (gate.name, gate.colour) == ("backfill", "red")
    assert "never applied to the last" in gate.evidence
    sync(shared)
    green(shared, "backfill")


def test_dead_letters_a_waiver_covers_only_those_that_were_known(shared: Moved) -> None:
    shared.execute("INSERT INTO customer VALUES (801, 'nan', 'NaN')")
    sync(shared)
    gate = refused(shared, "dead_letters")
    assert gate.evidence == "1 of Customer open"
    assert gate.waivable
    waived = gates_of(shared, waivers={"dead_letters": "agreed with sales"})["dead_letters"]
    assert (waived.colour, waived.passed) == ("red", True)
    assert waived.reason == "agreed with sales"
    assert waived.waived_by
    audit = [e for e in shared.journal.audit.entries(1) if e.what == "gate waived"]
    assert "agreed with sales" in audit[-1].after
    assert shared.rehearse().state == "rehearsed"
    shared.execute("INSERT INTO customer VALUES (802, 'nan', 'NaN')")  # one more
    sync(shared)
    refused(shared, "dead_letters")
    shared.execute("DELETE FROM customer WHERE id > 800")
    sync(shared)
    green(shared, "dead_letters")


def test_a_dead_letter_that_comes_after_the_gates_stops_the_cutover_in_its_freeze(
    shared: Moved,
) -> None:
    """The last change before the freeze is one that cannot be carried."""
    done: list[int] = []

    def spoil(snapshot: object) -> None:
        steps = {s.name: s.state for s in shared.journal.cutovers.steps(shared.newest.id)}
        if steps.get("drain") == "done" and not done:
            done.append(1)
            shared.execute("INSERT INTO customer VALUES (803, 'nan', 'NaN')")

    with pytest.raises(CutoverAborted, match="everything is as it was") as error:
        shared.cut_over(spoil)
    assert "gate is shut: dead_letters" in error.value.why
    assert shared.steps["check"] == "failed"
    assert not shared.markers()
    shared.execute("DELETE FROM customer WHERE id > 800")
    sync(shared)


def test_a_validation_that_is_old_and_stale(shared: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    validate(shared)
    monkeypatch.setattr(f"{GATES}.FRESH_SECONDS", 0.0)
    green(shared, "validated")  # nothing was applied since
    shared.execute("UPDATE customer SET score = 4 WHERE id = 4")
    sync(shared)
    gate = refused(shared, "validated")
    assert "changes were applied since" in gate.evidence
    assert not gate.waivable
    validate(shared)
    green(shared, "validated")


def test_a_validation_that_found_differences(shared: Moved) -> None:
    target = open_target(str(shared.graph_file), None, create=False)
    target.query("MATCH (c:Customer {id: 3}) SET c.name = 'other'")
    target.query("MATCH (p:Purchase {id: 9}) DETACH DELETE p")
    target.flush()
    target.close()
    assert not validate(shared).valid
    gate = refused(shared, "validated")
    assert "entries differ" in gate.evidence
    shared.execute(
        "UPDATE purchase SET total = total WHERE id = 9",
        "UPDATE customer SET name = name WHERE id = 3",
    )
    sync(shared)
    assert validate(shared).valid
    green(shared, "validated")


def test_a_validation_of_another_mapping_says_nothing(shared: Moved) -> None:
    """A newer one, of the same graph, that looked at less."""
    ledger = shared.journal.ledger(1)
    assert ledger is not None
    bad = replace(ledger, taken=ledger.taken - 1_000_000)
    shared.journal.set_ledger(1, bad)
    with shared.journal.store.write() as db:
        db.execute("UPDATE capture SET stale_since = 1")
        db.execute(
            "INSERT INTO run SELECT 77, 'other', 'done', source_dsn, source, source_identity,"
            " target, graph, schemas, label, mapping, 'other hash', parallel, batch_rows, started,"
            " ended,"
            " error, fence, version, ledger, 'validate', strategy, last_wave, dead_limit, options,"
            " steps, snapshots, rollback_to, format FROM run WHERE number = 1"
        )
    shared.journal.set_ledger(77, replace(ledger, taken=time.time()))
    assert gates_of(shared)["validated"].colour == "red"
    with shared.journal.store.write() as db:
        db.execute("UPDATE run SET mapping_hash = (SELECT mapping_hash FROM run WHERE number = 1)")
    green(shared, "validated")
    with shared.journal.store.write() as db:
        db.execute("DELETE FROM run WHERE number = 77")
    validate(shared)


def test_a_lag_that_is_too_long(shared: Moved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geode_tui.migration.replication.cutover.CATCH_UP_SECONDS", 0.5)
    gate = refused(shared, "lag", lag_seconds=0.000_001)
    assert "wants less than" in gate.evidence
    assert not gate.waivable  # the freeze would last as long
    assert gate.colour == "red"


def test_a_lag_that_is_short_but_was_not_looked_at_for_long(
    shared: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shared.journal.store.write() as db:
        db.execute("DELETE FROM stream_metric")
    gate = gates_of(shared, calm_seconds=60.0)["lag"]
    assert gate.colour == "amber"
    assert "of 60 s" in gate.evidence
    assert gate.waivable
    assert gates_of(shared, calm_seconds=60.0, waivers={"lag": "it is night"})["lag"].passed
    monkeypatch.setattr(f"{GATES}.WAIVED_SECONDS", 0.0)  # an hour later
    assert not gates_of(shared, calm_seconds=60.0)["lag"].passed
    shared.journal.cutovers.withdraw(1, "lag")
    assert shared.rehearse(calm_seconds=1.0).state == "rehearsed"  # it waits until it is known


def test_capture_that_keeps_more_than_its_budget(
    shared: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        small = partial(Figures, budget_bytes=1)
        patch.setattr("geode_tui.migration.replication.replica.Figures", small)
        gate = refused(shared, "capture", "lag")  # the graph is not led on, so nobody measures it
        assert not gate.waivable
    green(shared, "capture")


def test_a_slot_that_is_gone(make_database: MakeDatabase, tmp_path: Path) -> None:
    own = move(make_database(SQL), tmp_path)
    own.rehearse()
    own.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE database = current_database()"
    )
    gate = refused(own, "capture", "drift", "lag")
    assert gate.colour == "red"
    assert "is not there" in gate.evidence


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("RENAME name TO title", "RENAME title TO name"),
        ("ALTER score TYPE float8", "ALTER score TYPE numeric"),
    ],
)
def test_a_source_that_the_mapping_does_not_fit_any_more(
    shared: Moved, change: str, back: str
) -> None:
    shared.execute(f"ALTER TABLE customer {change}")
    try:
        gate = refused(shared, "drift")
        assert (gate.colour, gate.waivable) == ("red", False)
    finally:
        shared.execute(f"ALTER TABLE customer {back}")
    sync(shared)
    green(shared, "drift")


@pytest.mark.parametrize(
    ("change", "back", "told"),
    [
        ("ADD born date", "DROP born", "born: it was absent, now it is date"),
        ("ALTER id TYPE bigint", "ALTER id TYPE int", "id: it was integer, now it is bigint"),
    ],
)
def test_a_drift_that_the_mapping_fits_is_waived_or_taken_back(
    shared: Moved, change: str, back: str, told: str
) -> None:
    shared.execute(f"ALTER TABLE customer {change}")
    gate = refused(shared, "drift", "lag")
    assert gate.colour == "amber"
    assert f"public.customer.{told}" in gate.evidence
    assert gates_of(shared, waivers={"drift": "it stays in the source"})["drift"].passed
    shared.journal.cutovers.withdraw(1, "drift")
    shared.execute(f"ALTER TABLE customer {back}")
    sync(shared)
    green(shared, "drift")


def test_another_database_than_that_of_the_run(shared: Moved, make_database: MakeDatabase) -> None:
    """Named by mistake, with the very same tables: it is not touched."""
    other = make_database(SQL)
    before = run_now(state_of(other))
    gate = refused(shared, "drift", source=other)
    assert "database: it was gates_" in gate.evidence
    assert not gate.waivable
    assert run_now(state_of(other)) == before
    green(shared, "drift")


def test_a_long_transaction_is_named(shared: Moved) -> None:
    async def blocked() -> Gate:
        slow = await asyncpg.connect(shared.dsn, server_settings={"application_name": "cron"})
        try:
            await slow.execute("BEGIN; UPDATE customer SET score = 1 WHERE id = 1")
            await slow.fetch("SELECT pg_sleep(0.6)")
            engine = CutoverEngine(shared.journal)
            with pytest.raises(CutoverAborted) as error:
                await engine.run(shared.request(budget_seconds=0.5))
            assert "1 gate is shut: transactions:" in error.value.why
            gate = next(g for g in engine.snapshot().gates if g.name == "transactions")
            assert f"pid {slow.get_server_pid()} (cron)" in gate.evidence
            return gate
        finally:
            slow.terminate()

    gate = run_now(blocked())
    assert gate.waivable
    assert shared.newest.frozen is None
    green(shared, "transactions", budget_seconds=0.5)


def test_constraints_that_are_not_in_the_graph(shared: Moved) -> None:
    async def shapes() -> list[NodeShape]:
        async with open_replica(shared.journal, 1) as replica:
            return [e.shape for e in replica.entities if isinstance(e.shape, NodeShape)]

    nodes = run_now(shapes())
    target = open_target(str(shared.graph_file), None, create=False)
    target.unprepare([s for s in target.statements(nodes) if "UNIQUE" in s and "Customer" in s])
    target.flush()
    target.close()
    gate = refused(shared, "constraints")
    assert "CREATE CONSTRAINT" in gate.evidence
    target = open_target(str(shared.graph_file), None, create=False)
    target.prepare(nodes)
    target.flush()
    target.close()
    green(shared, "constraints")


def test_a_rehearsal_that_is_missing_old_or_took_longer_than_the_budget(
    shared: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f"{GATES}.REHEARSED_SECONDS", 0.0)
        gate = refused(shared, "rehearsal")
        assert gate.waivable
        assert gate.next_step == "geode-tui cutover 1 --rehearse"
    green(shared, "rehearsal")
    with shared.journal.store.write() as db:
        db.execute("UPDATE cutover SET released = frozen + 30 WHERE state = 'rehearsed'")
    gate = refused(shared, "rehearsal")
    assert "30.0 s" in gate.evidence
    assert gates_of(shared, waivers={"rehearsal": "less is written now"})["rehearsal"].passed
    shared.journal.cutovers.withdraw(1, "rehearsal")
    shared.rehearse()
    green(shared, "rehearsal")


def test_waivers_are_for_gates_that_can_be_waived_alone(shared: Moved) -> None:
    """One that stands in the journal all the same lets nothing pass."""
    shared.journal.cutovers.waive(1, "backfill", "no time", "eve@desk")
    shared.journal.set_phase(1, "backfill", "failed")
    gate = refused(shared, "backfill")
    assert not gate.passed
    shared.journal.set_phase(1, "backfill", "done")
    shared.journal.cutovers.withdraw(1, "backfill")
