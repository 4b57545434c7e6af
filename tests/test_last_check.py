"""What is new since all was compared is found whole, whether capture told of it or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from geode_tui.migration.replication.last_check import LastCheck
from geode_tui.migration.replication.replica import Replica, open_replica
from geode_tui.validation.ledger import Ledger
from tests.conftest import MakeDatabase, run_now
from tests.moved import SQL, Moved, move

PARTS = """
CREATE TABLE visit (id int, at date, customer int REFERENCES customer, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE visit_1 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE visit_2 PARTITION OF visit FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE note (text text); ALTER TABLE note REPLICA IDENTITY FULL;
INSERT INTO note VALUES ('a'), ('b'), ('a');
CREATE TABLE rate (code numeric PRIMARY KEY); INSERT INTO rate VALUES (1.0), (2.50);
CREATE TABLE used (id int PRIMARY KEY, rate numeric REFERENCES rate);
INSERT INTO used VALUES (1, 1);
INSERT INTO visit SELECT g, date '2026-01-01' + g, g FROM generate_series(1, 100) g;
"""
MISSED = {
    "an update": "UPDATE customer SET name = 'missed' WHERE id = 7",
    "an insert": "INSERT INTO customer VALUES (700, 'missed', 1)",
    "a delete": "DELETE FROM purchase WHERE id = 9",
    "a foreign key, in a partition": "UPDATE visit SET customer = 50 WHERE id = 10",
    "a row that goes to another partition": "UPDATE visit SET at = '2026-12-12' WHERE id = 9",
    "a row without a key": "UPDATE note SET text = 'd' WHERE text = 'b'",
    "a key": "UPDATE customer SET id = 701 WHERE id = 700",
}


@asynccontextmanager
async def checked(moved: Moved) -> AsyncIterator[tuple[Replica, LastCheck]]:
    """A replica of which all was compared."""
    async with open_replica(moved.journal, moved.number) as replica:
        ledger = await replica.validate(stale_only=True)
        assert ledger.valid
        yield replica, LastCheck(replica, ledger.fence)


def stepped(moved: Moved, between: Callable[[], None]) -> Ledger:
    """What a step finds of what happens between it and the comparison of all."""

    async def work() -> Ledger:
        async with checked(moved) as (_, last):
            await asyncio.to_thread(between)
            return await last.step()

    return run_now(work())


def test_changes_that_capture_told_of_are_compared_row_by_row(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    moved = move(make_database(SQL + PARTS), tmp_path)

    def change() -> None:
        moved.execute(
            "UPDATE customer SET name = 'new' WHERE id < 4",
            "INSERT INTO purchase VALUES (1000, 3, 5), (1001, 4, 6)",
            "DELETE FROM purchase WHERE id = 12",
            "UPDATE visit SET at = '2026-12-12' WHERE id = 9",
            "UPDATE visit SET customer = NULL WHERE id = 10",
            "UPDATE note SET text = 'c' WHERE text = 'b'",  # a table without a key
            "DELETE FROM note WHERE ctid = (SELECT min(ctid) FROM note)",
            "UPDATE used SET rate = 2.5; INSERT INTO used VALUES (2, 1.00)",  # its end is joined
            "INSERT INTO customer VALUES (900, 'nan', 'NaN')",  # a dead letter
            "INSERT INTO purchase VALUES (1002, 900, 5)",  # and an orphan
        )

    ledger = stepped(moved, change)
    assert ledger.valid, [entry.verdict for entry in ledger.entries]
    counts = {entry.id: entry.sampled for entry in ledger.entries}
    assert counts["Customer"] == 4
    assert counts["Purchase"] == 3
    assert counts["(Purchase)-[HAS_CUSTOMER]->(Customer)"] == 3
    assert counts["Visit"] == 2
    assert counts["Note"] == 1
    assert "(Used)-[HAS_RATE]->(Rate)" in counts
    nothing = stepped(moved, lambda: None)
    assert nothing.valid
    assert {entry.sampled for entry in nothing.entries} == {0}
    assert moved.compared().nodes > 500


def test_a_change_that_capture_missed_is_found(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Somebody disables the triggers for a moment; nothing in the stream tells of it."""
    moved = move(make_database(SQL + PARTS), tmp_path, "outbox")
    tables = ("customer", "purchase", "visit", "note")
    disabled, enabled = (
        "".join(f"ALTER TABLE {name} {what} TRIGGER USER;" for name in tables)
        for what in ("DISABLE", "ENABLE")
    )

    def missed(statement: str) -> Callable[[], None]:
        script = f"BEGIN; {disabled} {statement}; {enabled} {_always(tables)} COMMIT"
        return lambda: moved.execute(script)

    for what, statement in MISSED.items():
        assert not stepped(moved, missed(statement)).valid, what
        mend(moved)
    assert stepped(moved, missed("SELECT 1")).valid


def _always(tables: tuple[str, ...]) -> str:
    return "".join(
        "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgrelid::regclass AS r, tgname FROM"
        f" pg_trigger WHERE tgrelid = '{name}'::regclass AND NOT tgisinternal LOOP"
        " EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.r, t.tgname);"
        " END LOOP; END $$;"
        for name in tables
    )


def mend(moved: Moved) -> None:
    """Compare and repair everything, so that the next change is the only one."""

    async def work() -> None:
        async with open_replica(moved.journal, moved.number) as replica:
            replica.compare_all = True
            await replica.cycle()
            assert (await replica.validate()).valid

    run_now(work())


def test_what_somebody_does_to_a_new_node_is_found(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    moved = move(make_database(SQL), tmp_path)

    async def work() -> tuple[Ledger, Ledger]:
        async with checked(moved) as (replica, last):
            await asyncio.to_thread(
                moved.execute, "UPDATE customer SET name = 'new' WHERE id IN (5, 6)"
            )
            await replica.cycle()
            replica.target.query("MATCH (c:Customer {id: 5}) SET c._fp = 1")
            damaged = await last.step()
            since = last.since
            replica.target.query("MATCH (c:Customer {id: 5}) DETACH DELETE c")
            gone = await last.step()
            assert last.since == since  # what differed is looked at again
            return damaged, gone

    damaged, gone = run_now(work())
    assert [one.key for one in damaged.differences] == ["id=5"]
    assert not gone.valid
