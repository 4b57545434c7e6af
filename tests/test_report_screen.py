"""The report screen: the verdict first, then the balance sheet, then the evidence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Literal
from unittest.mock import ANY

import grafeo
import pytest

from geode_tui.commands.output import ledger_document
from geode_tui.mapping.model import Mapping
from geode_tui.migration.acceptances import Acceptance
from geode_tui.migration.events import PHASES
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.migration.progress import Meter, Progress
from geode_tui.migration.run_document import facts_of
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog, PromptDialog, TextDialog
from geode_tui.screens.report_runs import doing_words
from geode_tui.validation.ledger import Cause, Check, Difference, Entry, Ledger
from geode_tui.widgets.check_detail import CheckDetail
from geode_tui.widgets.check_tree import CheckTree
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.ledger_table import LedgerTable, equation
from geode_tui.widgets.panes import Panes
from tests.conftest import MakeDatabase
from tests.sitting import NARROW, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys

BROAD = (150, 44)
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


def report_of(ledger: Ledger, folder: Path, label: str = "") -> int:
    """A run in the journal with this ledger; returns its number."""
    journal = Journal()
    target = str(folder / "shop.grafeo")
    new = NewRun(
        "postgresql:///shop", "shop@local", target, "", (), label, Mapping(), 1, None, "validate"
    )
    number = journal.begin(new).number
    journal.close()
    journal_ledger(number, ledger)
    return number


async def filter_by(sit: Sitting, text: str) -> None:
    """Go to the filter and give it all of a text."""
    await sit.press("slash")
    assert isinstance(sit.app.screen.focused, FilterInput)
    sit.app.screen.focused.value = text


def journal_ledger(number: int, ledger: Ledger) -> None:
    """Put another ledger in the journal of a run."""
    journal = Journal()
    journal.set_ledger(number, ledger)
    journal.set_state(number, "differs")
    journal.close()


def difference(
    key: str,
    *,
    where: Literal["both", "source", "graph"] = "source",
    cause: Cause = "missing",
    values: tuple[tuple[str, str, str], ...] = (),
) -> Difference:
    """A row of Customer that digests found."""
    if values:
        where, cause = "both", "edited"
    return Difference("Customer", key, where, values, cause=cause, digested=True)


def ledger_of(*rows: Difference) -> Ledger:
    """A ledger of one entity with these rows."""
    here = sum(row.where == "source" for row in rows)
    there = sum(row.where == "graph" for row in rows)
    entry = Entry("Customer", "node", "public.customers", 9, 9 - here + there, mismatched=len(rows))
    return Ledger((entry,), rows, taken=1.7e9)


def damage(graph: Path, statement: str) -> None:
    """Change a graph behind the program's back."""
    database = grafeo.GrafeoDB(str(graph))
    database.execute(statement)
    database.close()


def accepted_of(number: int) -> list[Acceptance]:
    """What is accepted in the graph of a run."""
    journal = Journal()
    found = journal.acceptances.of(journal.run(number).graph_identity)
    journal.close()
    return found


def tree_lines(sit: Sitting) -> list[str]:
    """The lines of the tree without their indents."""
    tree = sit.app.screen.query_one(CheckTree)
    return [tree.row_text(n).split("\t")[0].strip() for n in range(tree.row_count)]


def lit(sit: Sitting) -> list[str]:
    """The pieces of the detail that are lit."""
    text = sit.app.screen.query_one(CheckDetail).detail.text
    return [text.plain[s.start : s.end] for s in text.spans if "reverse" in str(s.style)]


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


async def test_what_differs_is_counted_and_stands_first(tmp_path: Path) -> None:
    """The headline counts entries; sums that do not add up have another sign."""
    report_of(DIFFERS, tmp_path)
    async with sitting("report", tmp_path) as sit:
        await sit.sees("✗ 2 of 3 entries differ", "✗ 2 missing", "✗ 2 of 500 sampled differ")
        table = sit.app.screen.query_one(LedgerTable)
        assert table.entry is not None
        assert table.entry.id == "Order"
        assert table.row(2)[0] == "Customer"


async def test_an_entry_leads_to_its_rows_with_both_sides_and_queries(tmp_path: Path) -> None:
    """Enter goes from the ledger to the causes, to a row, to its queries; y copies each."""
    report_of(DIFFERS, tmp_path)
    async with sitting("report", tmp_path, size=BROAD) as sit:
        await sit.sees("✗ 2 of 3 entries differ", "source rows 1,000 = in graph 998 + dead 2")
        await sit.sees("COUNT(*)", "MATCH (n:`Order`) RETURN count(n)", "2 of 500 sampled")
        await sit.press("enter")
        await sit.sees("▸ differs", "▸ only in the source")
        await sit.press("down", "enter", "down")
        await sit.sees("id=417733 · total, note", "total 12.34 │ 12.35", "note '[/paid]' │ null")
        await sit.press("enter", "y")
        assert "cause" not in sit.app.clipboard
        assert "MATCH (n:`Order` {`id`: 417733}) RETURN n" in sit.app.clipboard
        await sit.press("tab", "y")
        assert sit.app.clipboard == 'SELECT * FROM "public"."orders" WHERE id = 417733'
        await sit.press("tab", "y")
        assert sit.app.clipboard == "MATCH (n:`Order` {`id`: 417733}) RETURN n"
        await sit.press("escape", "escape")
        assert isinstance(sit.app.screen.focused, LedgerTable)


async def test_at_80_by_24_everything_is_reached_by_keys(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The panes are tabs: ledger, checks, detail, findings; enter leads from one to the next."""
    dsn = make_database(SHOP)
    journal_ledger(await migrate(dsn, tmp_path), DIFFERS)
    async with sitting("report", tmp_path, dsn, size=NARROW) as sit:
        await sit.sees("ledger 3", "checks 2", "detail", "findings")
        await sit.press("enter", "down", "right", "down")
        await sit.sees("id=417733 · total, note", "✗ mismatched")
        await sit.press("enter")
        await sit.sees("total 12.34 │ 12.35", "SQL · y copies")
        assert len(footer_keys(sit.app)) <= 7
        await sit.press("tab", "tab", "y")
        assert sit.app.clipboard == "MATCH (n:`Order` {`id`: 417733}) RETURN n"
        await sit.press("tab", "enter")
        assert isinstance(sit.app.screen, TextDialog)
        await sit.sees("a finding", "public.customers.credit")
        await sit.press("escape", "escape")
        panes = sit.app.screen.query_one(Panes)
        await sit.until(lambda: panes.shown is panes.panes[0])


async def test_the_filter_finds_rows_by_entity_key_cause_and_state(tmp_path: Path) -> None:
    """All words must be there, in the row or in the branches that it is in."""
    report_of(DIFFERS, tmp_path)
    async with sitting("report", tmp_path) as sit:
        await sit.sees("✗ 2 of 3 entries differ")
        await filter_by(sit, "order mismatched id=9")
        await sit.until(lambda: tree_lines(sit) == ["▾ rows, counted", "▾ Order", ANY, "id=9"])
        await sit.press("enter")
        assert isinstance(sit.app.screen.focused, CheckTree)
        await sit.press("escape")
        await sit.until(lambda: len(tree_lines(sit)) > 4)
        await filter_by(sit, "nobody")
        await sit.sees("nothing has all these words")


async def test_the_characters_that_differ_are_lit(tmp_path: Path) -> None:
    """Not the cell but the characters, in reverse; look-alikes are told by code points."""
    rows = (
        difference("1", values=(("total", "12.34", "12.35"),)),
        difference("2", values=(("name", "'caf\u00e9'", "'cafe\u0301'"),)),
    )
    report_of(ledger_of(*rows), tmp_path)
    async with sitting("report", tmp_path, size=BROAD) as sit:
        await sit.sees("✗ 1 of ")
        await sit.press("enter", "down", "right", "down")
        await sit.sees("total 12.34 │ 12.35")
        await sit.until(lambda: lit(sit) == ["4", "5"])
        await sit.press("down")
        await sit.sees(r"'caf\xe9' │ 'cafe\u0301'")


async def test_a_row_is_accepted_with_a_reason_and_that_is_withdrawn(tmp_path: Path) -> None:
    """It asks how many are meant; the ledger counts what is accepted no more."""
    rows = (difference("1"), difference("2"), difference("3", cause="extra", where="graph"))
    number = report_of(ledger_of(*rows), tmp_path)
    async with sitting("report", tmp_path, size=BROAD) as sit:
        await sit.sees("✗ 1 of ")
        await sit.press("enter", "down", "right", "down", "a")
        await sit.sees("accept this row: 1", "all 2 rows missing of Customer", "all 3 rows")
        await sit.press("down", "enter")
        await sit.sees("why is it accepted?", "all 2 rows missing of Customer")
        await sit.press("enter", *"agreed", "enter")
        await sit.sees("○ 2 accepted", "○ accepted: agreed (")
        assert [one.reason for one in accepted_of(number)] == ["agreed"] * 2
        await sit.press("a")
        await sit.sees("withdraw the acceptance of this row: 1", "accept the one row of Customer")
        await sit.press("enter")
        await sit.sees("withdraw the acceptance?")
        await sit.press("tab", "enter")
        await sit.sees("○ 1 accepted", "✗ mismatched")
        assert len(accepted_of(number)) == 1


async def test_an_entry_and_a_check_are_accepted_as_they_are(tmp_path: Path) -> None:
    """What does not balance, or failed, without a row to it."""
    failed = Check("constraints", "Customer", False, "2", "1 of 2 there", "UNIQUE (id)")
    entries = (Entry("Customer", "node", "public.customers", 3, 2),)
    report_of(Ledger(entries, checks=(failed,), taken=1.7e9), tmp_path)
    async with sitting("report", tmp_path, size=BROAD) as sit:
        await sit.sees("✗ 1 of 1 entry differs; 1 of 1 check failed")
        await sit.press("a")
        await sit.sees("the entry Customer as it is: 1 missing")
        await sit.press(*"known", "enter")
        await sit.sees("✗ 1 of 1 check failed", "○ 1 accepted")
        await sit.press("tab", "end", "enter", "down")
        await sit.sees("constraints Customer", "source 2", "graph 1 of 2 there", "UNIQUE (id)")
        await sit.press("a", *"ok", "enter")
        await sit.sees("✓ balanced", "○ 2 accepted", "○ accepted: ok (")


async def test_a_damaged_graph_is_validated_and_repaired_from_the_screen(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """v compares in a run of its own, r previews and writes again, v finds nothing more."""
    dsn = make_database(SHOP)
    first = await migrate(dsn, tmp_path)
    damage(tmp_path / "shop.grafeo", "MATCH (n:Order {id: 11}) DETACH DELETE n")
    async with sitting("report", tmp_path, dsn, size=BROAD) as sit:
        await sit.sees("✓ balanced", f"run {first}, migrate")
        await sit.press("v")
        await sit.sees("validate now?", "deep")
        await sit.press("space")
        await sit.sees("▐✓▌ deep")
        await sit.press("v")
        await sit.sees("✗ 1 of ", f"run {first + 1}, validate")
        await sit.press("enter")
        await sit.sees("▸ missing")
        await sit.press("down", "r")
        await sit.sees("repair 1 row?", "1 missing: written", "write Order")
        await sit.press("tab", "enter")
        await sit.sees("↻ 1 repaired", f"run {first + 1}, validate")
        await sit.press("right", "down")
        await sit.sees(f"↻ repaired by run {first + 2}")
        await sit.press("v")
        await sit.sees("validate now?")
        await sit.press("v")
        await sit.sees("✓ balanced", f"run {first + 3}, validate")


async def test_a_production_target_wants_its_name_typed_before_a_repair(tmp_path: Path) -> None:
    """As before a rollback."""
    report_of(ledger_of(difference("1")), tmp_path, "PROD")
    async with sitting("report", tmp_path, size=BROAD, label="PROD") as sit:
        await sit.sees("✗ 1 of ")
        await sit.press("r")
        await sit.sees("repair 1 row?", "type shop.grafeo")
        await sit.press("enter")
        assert isinstance(sit.app.screen, ConfirmDialog)
        await sit.press("escape")
        await sit.sees("✗ 1 of ")


async def test_the_report_is_written_to_a_file_that_is_not_there(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same document as the command line writes; nothing is overwritten."""
    monkeypatch.chdir(tmp_path)
    dsn = make_database(SHOP)
    number = await migrate(dsn, tmp_path)
    async with sitting("report", tmp_path, dsn, size=NARROW) as sit:
        await sit.sees("✓ balanced")
        await sit.press("e", "end", "enter")
        await sit.sees(f"report-run-{number}.json")
        await sit.press("enter")
        file = tmp_path / f"report-run-{number}.json"
        await sit.until(file.exists)
        written = json.loads(file.read_text())
        journal = Journal()
        ledger, facts = journal.ledger(number), facts_of(journal.run(number))
        journal.close()
        assert ledger is not None
        assert written == json.loads(json.dumps(ledger_document(ledger, facts)))
        await sit.press("e", "end", "enter")
        await sit.sees("there is one already")
        await sit.press("enter")
        assert isinstance(sit.app.screen, PromptDialog)


async def test_the_command_for_what_is_looked_at_is_copied(tmp_path: Path) -> None:
    """validate for the whole report, the preview of a repair for a row."""
    number = report_of(ledger_of(difference("a b")), tmp_path)
    async with sitting("report", tmp_path, size=BROAD) as sit:
        await sit.sees("✗ 1 of ")
        await sit.press("c")
        assert sit.app.clipboard.startswith("geode-tui validate --source ")
        assert f"--target {tmp_path / 'shop.grafeo'}" in sit.app.clipboard
        await sit.press("enter", "down", "right", "down", "c")
        command = f"geode-tui repair {number} --entity Customer --key 'a b' --preview"
        assert sit.app.clipboard == command


@pytest.mark.parametrize("size", [NARROW, BROAD])
async def test_hostile_names_and_values_are_shown_as_they_are(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """Markup, other directions, line breaks, emoji: text, nothing else."""
    name = "[/foo]\u202e\n🦑"
    row = Difference(
        name,
        "[red]k\u202e\n🦑",
        "both",
        (("[b]p\n", "'[/a]\n\u202ex🦑'", "'[/b]\ty🦑'"),),
        "SELECT '[/foo]\u202e' FROM \"x\ny\"",
        "MATCH (n:`[/foo]`) RETURN n",
    )
    checks = (Check("degrees", name, False, "[/1]", "[/2]", "[bold]why"),)
    entries = (Entry(name, "node", "[/t]", 1, 1, mismatched=1),)
    report_of(Ledger(entries, (row,), checks=checks, taken=1e9), tmp_path)
    async with sitting("report", tmp_path, size=size) as sit:
        await sit.sees("✗ 1 of ", "[/foo]·↵🦑")
        await sit.press("enter", "down", "right", "down", "enter")
        await sit.sees("[red]k·↵🦑", "[b]p", "[/a]", "[/b]")
        await sit.press("escape", "end", "enter", "down", "enter")
        await sit.sees("[bold]why")
        await sit.press("escape")
        await filter_by(sit, "[/foo] b]p")
        await sit.until(lambda: sit.app.screen.query_one(CheckTree).filtered)
        await sit.press("enter", "a")
        await sit.sees("why is it accepted?")


async def test_two_thousand_entities_with_fifty_thousand_rows_are_browsed(tmp_path: Path) -> None:
    """The last row is a few keys away, and a filter finds one of all."""
    names = [f"Label{n:04}" for n in range(2_000)]
    entries = tuple(Entry(name, "node", f"t.{name}", 100, 75, mismatched=25) for name in names)
    rows = tuple(
        Difference(name, f"id={n}", "source", (), cause="missing", digested=True)
        for name in names
        for n in range(25)
    )
    report_of(Ledger(entries, rows, taken=1.7e9), tmp_path)
    async with sitting("report", tmp_path) as sit:
        await sit.sees("✗ 2,000 of 2,000 entries differ", "50,000 rows differ")
        await sit.press("tab", "end", "right", "down", "right", "end")
        tree = sit.app.screen.query_one(CheckTree)
        assert tree.place is not None
        assert tree.place.row == rows[-1]
        await filter_by(sit, "label1234 id=7")
        await sit.until(lambda: tree.filtered and tree.row_count == 4)
        await sit.press("enter", "end")
        assert tree.place is not None
        assert tree.place.row == rows[1234 * 25 + 7]


async def test_an_earlier_run_is_chosen_from_the_history(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """h lists all runs with how they ended; the chosen one stays on the screen."""
    dsn = make_database(SHOP)
    first = await migrate(dsn, tmp_path, "first.grafeo")
    journal_ledger(await migrate(dsn, tmp_path, "second.grafeo"), DIFFERS)
    async with sitting("report", tmp_path, dsn, size=NARROW) as sit:
        await sit.sees("✗ 2 of 3 entries differ")
        await sit.press("h")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog))
        await sit.sees("✗ done, differs", "✓ done, balanced")
        await sit.press("down", "enter")
        await sit.sees("✓ balanced", f"run {first}, ")
        await sit.press("2", "5")
        await sit.sees("✓ balanced", f"run {first}, ")


@pytest.mark.parametrize("size", [NARROW, TINY])
async def test_before_any_run_the_screen_says_what_to_do(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """No run, no proof, and no key does harm."""
    async with sitting("report", tmp_path, size=size) as sit:
        await sit.sees("no run yet", "make one on screen 4")
        await sit.press("enter", "h", "y", "tab", "enter", "shift+tab", "escape")
        await sit.sees("no run yet")


def test_a_validation_that_goes_tells_what_it_compares_and_how_far_it_is() -> None:
    """One line, from the counters of its run."""
    progress = Progress(PHASES)
    for name in ("Customer", "Order"):
        progress.add(Meter(name, "node", 10, True))
    progress.meter("Customer").reason = "compared"
    progress.worker("V", "comparing Order")
    assert doing_words(progress.snapshot()) == "comparing Order · 1 of 2 entities"


def test_the_sums_are_written_as_sums() -> None:
    """Nodes and relationships each in their own words."""
    customer, order, placed = DIFFERS.entries
    assert equation(customer) == "source 200 = nodes 200 + dead 0"
    assert equation(order) == "source 1,000 = nodes 998 + dead 2"
    assert equation(placed) == (
        "foreign keys 999,400 (600 null, none expected) ≠ relationships 999,398 + orphans 0"
    )
