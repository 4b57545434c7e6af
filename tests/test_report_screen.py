"""The report screen: the verdict first, then the balance sheet, then the evidence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import ChoiceDialog, TextDialog
from geode_tui.screens.entry import EntryDialog
from geode_tui.validation.ledger import Difference, Entry, Ledger
from geode_tui.widgets.ledger_table import LedgerTable, equation
from geode_tui.widgets.panes import Panes
from tests.conftest import MakeDatabase
from tests.sitting import NARROW, NORMAL, PATIENCE, TINY, sitting

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, credit numeric);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers);
INSERT INTO customers VALUES (1, 2.50), (2, 'NaN');
INSERT INTO orders VALUES (10, 1), (11, NULL), (12, 2);
ANALYZE;
"""

DIFFERS = Ledger(
    (
        Entry("Customer", "node", "public.customers", 200, 200, sampled=50),
        Entry(
            "Order",
            "node",
            "public.orders",
            1_000,
            998,
            2,
            sampled=500,
            differing=2,
            source_sql='SELECT count(*) FROM "public"."orders"',
            target_gql="MATCH (n:`Order`) RETURN count(n)",
        ),
        Entry(
            "(Order)-[PLACED_BY]->(Customer)",
            "relationship",
            "public.orders",
            999_400,
            999_398,
            nulls=600,
        ),
    ),
    (
        Difference(
            "Order",
            "id=417733",
            "both",
            (("total", "12.34", "12.35"), ("note", "'[/paid]'", "null")),
            'SELECT * FROM "public"."orders" WHERE id = 417733',
            "MATCH (n:`Order` {`id`: 417733}) RETURN n",
        ),
        Difference("Order", "id=9", "source", ()),
    ),
    "802:802:",
    1.7e9,
)


async def migrate(dsn: str, folder: Path, target: str = "shop.grafeo") -> int:
    """A real run to its end; returns its number."""
    workspace = Workspace(target_place=str(folder / target), mapping_path=folder / "mapping.yaml")
    await workspace.connect(dsn)
    runner: Runner = workspace.start_run()
    assert await asyncio.to_thread(runner.join, PATIENCE)
    await workspace.close()
    assert runner.error is None
    assert runner.run_number is not None
    return runner.run_number


def journal_ledger(number: int, ledger: Ledger) -> None:
    """Put another ledger in the journal of a run."""
    journal = Journal()
    journal.set_ledger(number, ledger)
    journal.set_state(number, "differs")
    journal.close()


async def test_a_balanced_run_says_so_and_shows_the_sums(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every row is in the graph, in the dead letters, or a null that was not expected."""
    dsn = make_database(SHOP)
    await migrate(dsn, tmp_path)
    async with sitting("report", tmp_path, dsn) as sit:
        await sit.sees("✓ balanced: every row of 3 entries is accounted for")
        await sit.sees("Customer ✓ balanced source 2 = nodes 1 + dead 1")
        await sit.sees("foreign keys 2 (1 null, none expected) = relationships 1 + orphans 1")
        await sit.sees("public.customers.credit")
        await sit.press("y")
        assert sit.app.clipboard.endswith("balanced")


async def test_what_differs_is_counted_and_stands_first(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The headline counts entries; sums that do not add up have another sign."""
    dsn = make_database(SHOP)
    journal_ledger(await migrate(dsn, tmp_path), DIFFERS)
    async with sitting("report", tmp_path, dsn) as sit:
        await sit.sees(
            "✗ 2 entries differ of 3 entries", "✗ 2 missing", "✗ 2 of 500 sampled differ"
        )
        table = sit.app.screen.query_one(LedgerTable)
        assert table.entry is not None
        assert table.entry.id == "Order"
        assert table.row(2)[0] == "Customer"


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_an_entry_shows_both_queries_and_the_differing_values(
    make_database: MakeDatabase, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Both sides next to each other; y copies whichever query has the focus."""
    dsn = make_database(SHOP)
    journal_ledger(await migrate(dsn, tmp_path), DIFFERS)
    async with sitting("report", tmp_path, dsn, size=size) as sit:
        await sit.sees("✗ 2 entries differ")
        await sit.press("enter")
        assert isinstance(sit.app.screen, EntryDialog)
        await sit.sees("MATCH (n:`Order`) RETURN count(n)", "id=417733 total 12.34 12.35")
        await sit.sees("note '[/paid]' null", "id=9", "✓ is here", "✗ is missing")
        await sit.press("y")
        assert "WHERE" in sit.app.clipboard
        assert "MATCH (n:`Order` {`id`: 417733}) RETURN n" in sit.app.clipboard
        sit.app.screen.query_one("#sql").focus()
        await sit.press("y")
        assert sit.app.clipboard == 'SELECT count(*) FROM "public"."orders"'
        await sit.press("tab", "y")
        assert sit.app.clipboard == "MATCH (n:`Order`) RETURN count(n)"
        await sit.press("escape")
        await sit.sees("5 Report")


async def test_differences_and_findings_are_reached_by_tab(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """At 80x24 the panes are tabs; enter opens a line of each."""
    dsn = make_database(SHOP)
    journal_ledger(await migrate(dsn, tmp_path), DIFFERS)
    async with sitting("report", tmp_path, dsn, size=NARROW) as sit:
        await sit.sees("ledger 3", "differences 2")
        await sit.press("tab")
        await sit.sees("! values differ", "✗ only in the source", "total, note")
        await sit.press("enter")
        await sit.sees("a row that differs", "12.35")
        await sit.press("escape", "tab", "enter")
        assert isinstance(sit.app.screen, TextDialog)
        await sit.sees("a finding", "public.customers.credit")
        await sit.press("escape", "escape")
        panes = sit.app.screen.query_one(Panes)
        await sit.until(lambda: panes.shown is panes.panes[0])


async def test_an_earlier_run_is_chosen_from_the_history(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """h lists all runs with how they ended; the chosen one stays on the screen."""
    dsn = make_database(SHOP)
    first = await migrate(dsn, tmp_path, "first.grafeo")
    journal_ledger(await migrate(dsn, tmp_path, "second.grafeo"), DIFFERS)
    async with sitting("report", tmp_path, dsn, size=NARROW) as sit:
        await sit.sees("✗ 2 entries differ")
        await sit.press("h")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog))
        await sit.sees("✗ done, differs", "✓ done, balanced")
        await sit.press("down", "enter")
        await sit.sees("✓ balanced", f"run {first} ")
        await sit.press("2", "5")
        await sit.sees("✓ balanced", f"run {first} ")


@pytest.mark.parametrize("size", [NARROW, TINY])
async def test_before_any_run_the_screen_says_what_to_do(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """No run, no proof, and no key does harm."""
    async with sitting("report", tmp_path, size=size) as sit:
        await sit.sees("no run yet", "make one on screen 4")
        await sit.press("enter", "h", "y", "tab", "enter", "shift+tab", "escape")
        await sit.sees("no run yet")


def test_the_sums_are_written_as_sums() -> None:
    """Nodes and relationships each in their own words."""
    customer, order, placed = DIFFERS.entries
    assert equation(customer) == "source 200 = nodes 200 + dead 0"
    assert equation(order) == "source 1,000 = nodes 998 + dead 2"
    assert equation(placed) == (
        "foreign keys 999,400 (600 null, none expected) ≠ relationships 999,398 + orphans 0"
    )
