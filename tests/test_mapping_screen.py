"""The mapping screen: see what becomes of each table and why, change it, and see the proof."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import grafeo
import pytest
from rich.cells import cell_len
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Input, Static

from geode_tui.catalog import TableName
from geode_tui.mapping import reshape
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.file import load
from geode_tui.mapping.model import (
    Endpoint,
    LabelBy,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
    Waiver,
)
from geode_tui.screens.dialogs import ChoiceDialog, ErrorDialog, PromptDialog, TextDialog
from geode_tui.widgets.finding_list import FindingList
from geode_tui.widgets.finding_text import finding_sign, finding_text, findings_copied
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.rule_diagram import draw
from geode_tui.widgets.rule_table import RuleTable
from geode_tui.widgets.run_plan import severities
from geode_tui.widgets.statement import written_gql
from geode_tui.widgets.suggestion_list import SuggestionList
from tests.catalogs import catalog, table
from tests.conftest import MakeDatabase
from tests.golden import SIZES, assert_golden
from tests.sitting import HOSTILE, NARROW, TINY, Sitting, sitting
from tests.terminal import footer_keys, settle

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, full_name text, credit numeric(10,4), vip boolean);
CREATE TABLE orders (
    id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric(10,2)
);
CREATE TABLE products (id int PRIMARY KEY, title text);
CREATE TABLE order_items (
    order_id int REFERENCES orders, product_id int REFERENCES products, quantity int,
    PRIMARY KEY (order_id, product_id)
);
INSERT INTO customers VALUES (1, 'Ada', 12.3400, true), (2, 'Grace', NULL, false);
INSERT INTO orders VALUES (10, 1, 5.00), (11, 2, 7.25);
INSERT INTO products VALUES (7, 'Lamp');
INSERT INTO order_items VALUES (10, 7, 3);
CREATE VIEW totals AS SELECT sum(total) FROM orders;
"""
STORE = catalog(
    table("customers", "id full_name? credit? vip?", "id"),
    table("orders", "id customer_id total?", "id", (("customer_id", "customers", "id"),)),
    table("products", "id title?", "id"),
    table(
        "order_items",
        "order_id product_id quantity?",
        "order_id product_id",
        (("order_id", "orders", "id"), ("product_id", "products", "id")),
    ),
    replace(table("totals", "sum?"), kind="view"),
)
"""The same shop where no rows are needed, and so no server."""


async def go_to(sit: Sitting, title: str) -> None:
    """Put the cursor on the rule with this title, the focus too."""
    rules = sit.app.screen.query_one(RuleTable)
    await sit.until(lambda: title in titles(sit), f"a rule {title}")
    rules.focus()
    rules.cursor = titles(sit).index(title)
    await sit.pilot.pause()


def titles(sit: Sitting) -> list[str]:
    """The titles of the visible rules."""
    return [item.title for item in sit.app.screen.query_one(RuleTable).visible_items]


async def put(sit: Sitting, text: str) -> None:
    """Put a text into the line that is asked for, at once."""
    sit.app.screen.query_one(Input).value = text
    await sit.pilot.pause()


def states(sit: Sitting) -> dict[str, str]:
    """The states of the visible rules by title."""
    rules = sit.app.screen.query_one(RuleTable)
    return {item.title: item.state for item in rules.visible_items}


def shown_statements(sit: Sitting) -> str:
    """The GQL and the SELECT of the rule, as far as one can scroll."""
    return str(sit.app.screen.query_one("#mapping-sql-text", Static).visual)


def brightness(sit: Sitting, text: str) -> int:
    """How bright the first part of a line is shown that starts with a text."""
    strips = sit.app.screen._compositor.render_strips()
    part = next(part for strip in strips for part in strip if part.text.strip().startswith(text))
    assert part.style is not None
    assert part.style.color is not None
    return sum(part.style.color.get_truecolor())


# What is shown


async def test_every_table_shows_what_becomes_of_it_and_why(tmp_path: Path) -> None:
    """Labels, relationships and what is left out, each with its reason; slash finds some."""
    async with sitting("mapping", tmp_path, catalog=STORE) as sit:
        await sit.sees("✓ node Customer", "✓ rel HAS_ITEM", "– none public.totals")
        await go_to(sit, "HAS_ITEM Order→Product")
        await sit.sees("(Order)-[:HAS_ITEM]->(Product)", "because:", "quantity", "3 nodes · 2 rels")
        await sit.sees("╭───────╮ HAS_ITEM ╭", "│ Order ├─────────▶│", "start: Order.id")
        assert brightness(sit, "from public.") < brightness(sit, "2 foreign keys")
        await sit.press("slash", *"has_it")
        await sit.until(lambda: titles(sit) == ["HAS_ITEM Order→Product"])
        await put(sit, "no rule")
        await sit.until(lambda: titles(sit) == ["public.totals"])
        await sit.sees("no rule moves this view", "enter makes one")
        await sit.press("escape")
        assert len(titles(sit)) == 6


async def test_rows_are_shown_before_and_after_with_the_statements_that_move_them(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Only a value that is written differently shows both forms. S shows the SELECT, y copies it,
    Y the GQL: Grafeo runs it and makes the node and the relationship."""
    async with sitting("mapping", tmp_path, make_database(SHOP)) as sit:
        await go_to(sit, "Customer")
        await sit.sees("Ada 12.3400", "Grace null")
        await sit.press("S")
        await sit.sees("SELECT of Customer", 'CAST("t"."full_name" AS TEXT) AS v1')
        await sit.press("y")
        assert '"public"."customers"' in sit.app.clipboard
        await sit.press("escape")
        for title in ("Order", "Product", "HAS_ITEM Order→Product"):
            await go_to(sit, title)
            await sit.press("Y")
            assert "MERGE" in sit.app.clipboard
        statements = [written_gql(rule, sit.mapping) for rule in sit.mapping.rules]
        await go_to(sit, "Customer")
        await sit.press("enter", "down", "x")
        await sit.until(lambda: "Grace" not in sit.text, "the row without the property")
        sit.app.screen.query_one("#sql-scroll").focus()
        await sit.until(lambda: "SELECT\n" in shown_statements(sit), "the SELECT laid out")
    graph = grafeo.GrafeoDB()
    values = {"id": 1, "start_id": 1, "end_id": 1, "quantity": 2, "_fp": 7, "_run": "r"}
    for statement in statements:
        names = set(re.findall(r"\$(\w+)", statement))
        graph.execute(statement, {name: values.get(name, "x") for name in names})
    made = graph.execute("MATCH (:Order)-[r:HAS_ITEM]->(:Product) RETURN r.quantity AS q")
    assert [dict(row) for row in made] == [{"q": 2}]


async def test_without_a_source_the_screen_says_what_to_do_first(tmp_path: Path) -> None:
    """An empty screen is a direction, and its keys do no harm."""
    async with sitting("mapping", tmp_path) as sit:
        await sit.sees("press 1 and connect to a source")
        await sit.press("e", "x", "t", "u", "d", "S", "enter", "ctrl+s", "tab", "y")
        await sit.sees("3 Map")


async def test_a_thousand_rules_are_listed_and_filtered(tmp_path: Path) -> None:
    """Many tables are no reason to wait."""
    many = [table(f"t{n}", "id parent? a b c", "id", (("parent", "t0", "id"),)) for n in range(600)]
    async with sitting("mapping", tmp_path, catalog=catalog(*many), size=NARROW) as sit:
        await sit.sees("600 nodes · 600 rels")
        await sit.press("G", "slash", *"T599", "enter")
        await sit.until(lambda: 0 < len(titles(sit)) < 4)
        await sit.press("x", "enter")
        await sit.sees("from public.t599", "left out: moves nothing")


async def test_all_that_a_small_terminal_shows_is_reached_by_keys(tmp_path: Path) -> None:
    """At 80x24 the panes are tabs: tab goes through all of them and back to the first; the footer
    names at most seven keys, and none is cut."""
    async with sitting("mapping", tmp_path, catalog=STORE, size=NARROW) as sit:
        await go_to(sit, "HAS_ITEM Order→Product")
        panes = sit.app.screen.query_one(Panes)
        seen = []
        for _ in panes.panes:
            assert panes.shown is not None
            assert panes.shown.region.area > 0
            assert len(footer_keys(sit.app)) <= 7
            await sit.sees("q quit", "^p palette")
            seen.append(panes.shown.brief.rstrip(" 0123456789"))
            await sit.press("tab")
        assert seen == [*("rules", "properties", "graph", "findings", "SQL", "suggestions", "rows")]
        assert panes.shown is panes.panes[0]
        await sit.press("enter")
        assert panes.shown is panes.panes[1]
        await sit.press("slash")
        assert panes.shown is panes.panes[0]
        await sit.press("escape")
        await sit.press("enter", "escape")
        assert panes.shown is panes.panes[0]


async def test_hostile_names_and_values_are_only_text_and_look_as_accepted(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Brackets, quotes, other scripts and control characters break nothing, and are shown in any
    size; `UPDATE_GOLDENS=1` accepts how it looks now."""
    async with sitting("mapping", tmp_path, make_database(SHOP + HOSTILE), size=NARROW) as sit:
        await sit.sees("public.[/foo]")
        await settle(sit.pilot)
        for width, height in SIZES:
            await sit.pilot.resize_terminal(width, height)
            shown = []
            for title in ("Foo", "Order"):
                await go_to(sit, title)
                await sit.settled()
                shown.append(sit.text)
                for _ in range(2 if (width, height) == NARROW else 0):
                    await sit.press("tab")
                    shown.append(sit.text)
            # The first two lines have the time and the paths.
            pages = ["\n".join(text.split("\n")[2:]) for text in shown]
            assert_golden("\n\n".join(pages), f"mapping-hostile-{width}x{height}")
        await sit.pilot.resize_terminal(*TINY)
        await go_to(sit, "Foo")
        for _ in range(6):
            await sit.press("tab", "down")
        await sit.press("escape", "enter", "g", "down", "e")
        await put(sit, "better")
        await sit.press("enter")
        foo = sit.mapping.node("Foo")
        assert foo is not None
        item = foo.property_of('a"b')
        assert item is not None
        assert item.name == "better"
        assert "\u202e" not in sit.text


# What is changed


async def test_rules_are_renamed_left_out_and_taken_back(tmp_path: Path) -> None:
    """e renames wherever the label is used, u takes back, ctrl+r does it again; a name that is
    taken or impossible is refused while typing; what depends on a label goes and comes with it."""
    async with sitting("mapping", tmp_path, catalog=STORE, size=NARROW) as sit:
        await go_to(sit, "Order")
        await sit.press("e")
        await put(sit, "Product")
        await sit.press("enter")
        await sit.sees("label Product exists already: choose another name")
        assert isinstance(sit.app.screen, PromptDialog)
        await put(sit, "[/foo]")
        await sit.sees("'[/foo]' cannot be a label")
        await sit.write("Purchase")
        await sit.press("enter")
        await sit.sees("✓ node Purchase", "renamed Order to Purchase")
        assert sit.mapping.rule("(Purchase)-[HAS_ITEM]->(Product)") is not None
        await sit.press("u")
        assert sit.mapping.node("Order") is not None
        assert sit.mapping.node("Purchase") is None
        await sit.sees("taken back: renamed Order")
        assert "· u takes it back" not in sit.text  # one message at a time
        await sit.press("ctrl+r")
        assert sit.mapping.node("Purchase") is not None
        await go_to(sit, "Purchase")
        await sit.press("x")
        await sit.until(lambda: states(sit)["Purchase"] == "excluded")
        assert states(sit)["HAS_ITEM Purchase→Product"] == "inactive"
        await go_to(sit, "HAS_ITEM Purchase→Product")
        await sit.press("enter")
        await sit.sees("inactive: Purchase is left out")
        await go_to(sit, "Purchase")
        await sit.press("space")
        await sit.until(lambda: states(sit)["HAS_ITEM Purchase→Product"] == "relationship")


async def test_a_property_is_renamed_left_out_and_given_another_type(tmp_path: Path) -> None:
    """The keys act on the property under the cursor when the properties have the focus; what is
    refused is explained, not ignored."""
    async with sitting("mapping", tmp_path, catalog=STORE, size=NARROW) as sit:
        await go_to(sit, "Customer")
        await sit.press("enter", "down", "down")
        grid = sit.app.screen.query_one(PropertyGrid)
        assert sit.app.focused is grid
        assert grid.item is not None
        assert grid.item.column == "credit"
        await sit.press("t")
        assert isinstance(sit.app.screen, ChoiceDialog)
        await sit.sees("credit is integer", "DECIMAL", "FLOAT", "STRING")
        await sit.press("end", "enter")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        assert [p.type for p in customer.properties] == ["INT", "INT", "STRING", "INT"]
        await sit.press("enter")
        await put(sit, "limit")
        await sit.press("enter", "x")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        renamed = customer.property_named("limit")
        assert renamed is not None
        assert not renamed.include
        await sit.sees("– credit limit left out")
        await sit.press("g", "x")
        assert isinstance(sit.app.screen, ErrorDialog)
        await sit.sees("id is part of the key of Customer", "without it a row could not be found")


async def test_enter_makes_a_rule_for_a_table_without_one(tmp_path: Path) -> None:
    """A table that the file forgot gets its label and relationships back; a view is asked for its
    key."""
    async with sitting("mapping", tmp_path, catalog=STORE, size=NARROW) as sit:
        history = sit.workspace.history
        assert history is not None
        full = history.current
        forgotten = {"Order"}
        history.current = Mapping(
            tuple(r for r in full.nodes if r.label not in forgotten),
            tuple(r for r in full.relationships if not {r.start.node, r.end.node} & forgotten),
            full.database,
        )
        sit.app.screen.refresh_view()  # type: ignore[attr-defined]
        await go_to(sit, "public.orders")
        await sit.press("enter")
        assert {rule.id for rule in sit.mapping.rules} == {rule.id for rule in full.rules}
        await go_to(sit, "public.totals")
        await sit.press("enter")
        await sit.sees("what identifies a row of public.totals?")
        await put(sit, "nothing")
        await sit.sees("no column nothing in public.totals")
        await put(sit, "sum")
        await sit.press("enter")
        made = sit.mapping.node_of(TableName("public", "totals"))
        assert made is not None
        assert made.key == ("sum",)


async def test_labels_and_directions_are_changed_by_keys(tmp_path: Path) -> None:
    """L (or its words in the palette) adds labels, V a label by a value, r turns a relationship,
    all of them to be taken back; rules of one label are told apart by their names."""
    async with sitting("mapping", tmp_path, catalog=STORE) as sit:
        await go_to(sit, "Customer")
        start = sit.mapping
        await sit.press("ctrl+p")
        await sit.pilot.pause()
        await put(sit, "more labels")
        await sit.sees("mapping: More labels for each node")
        await sit.press("enter")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog))
        await put(sit, "Person 1st")
        await sit.sees("'1st' cannot be a label")
        await put(sit, "Person Party")
        await sit.press("enter")
        await sit.sees("✓ node Customer :Person", "(:Customer:Person:Party {id})")
        await sit.press("V", "end", "enter")
        await put(sit, "1=Vip")
        await sit.press("enter")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        assert customer.labels == ("Person", "Party")
        assert customer.labels_by == LabelBy("vip", (("1", "Vip"),))
        await sit.sees(":Vip if vip = 1")
        await go_to(sit, "HAS_ITEM Order→Product")
        await sit.press("r")
        await sit.sees("(Product)-[:HAS_ITEM]->(Order)")
        turned = sit.mapping.rule("(Product)-[HAS_ITEM]->(Order)")
        assert isinstance(turned, RelationshipRule)
        assert turned.start.columns == ("product_id",)
        await sit.press("u", "u", "u")
        assert sit.mapping is start
        history = sit.workspace.history
        assert history is not None
        history.apply(reshape.share_label(start, ["Customer", "Product"], "Thing"), "shared")
        sit.app.screen.refresh_view()  # type: ignore[attr-defined]
        await sit.until(lambda: "Thing (Customer)" in titles(sit))
        await sit.sees("(Order)-[:HAS_ITEM]->(Thing (Product))")


# Suggestions and findings

VISITS = """
CREATE TABLE places (id int PRIMARY KEY, name text NOT NULL, deleted_at timestamptz);
CREATE TABLE visits (
    id int PRIMARY KEY, place_id int NOT NULL, state text NOT NULL, guest_id int NOT NULL
);
CREATE TABLE guests (id int PRIMARY KEY, name text);
INSERT INTO places SELECT n, 'place ' || n FROM generate_series(101, 300) n;
INSERT INTO guests SELECT n, 'guest ' || n FROM generate_series(1001, 1200) n;
INSERT INTO visits SELECT n, 101 + n % 200, 'open', 1001 + n % 200 FROM generate_series(1, 400) n;
ANALYZE;
"""


async def test_suggestions_are_tried_applied_ignored_and_taken_back(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Values are looked up in the source; a applies, i ignores, A applies all alike."""
    async with sitting("mapping", tmp_path, make_database(VISITS)) as sit:
        shown = sit.app.screen.query_one(SuggestionList)

        def found(word: str) -> list[str]:
            return [s.id for s in shown.suggestions if word in s.because + s.title]

        await sit.until(lambda: len([s for s in shown.suggestions if s.kind == "reference"]) == 2)
        await sit.until(lambda: all(s.certainty == "sure" for s in shown.suggestions[:2]))
        await sit.sees("✓ sure", "because", "effect")
        shown.focus()
        before = sit.mapping
        first = shown.suggestions[0]
        await sit.press("a")
        assert len(sit.mapping.relationships) == 1
        await sit.until(lambda: not found(first.title))
        await sit.press("u")
        assert sit.mapping is before
        await sit.until(lambda: found(first.title))
        shown.cursor = 0
        await sit.press("A")
        assert len(sit.mapping.relationships) == 2
        await sit.press("u")
        assert sit.mapping is before
        await sit.until(lambda: found(first.title))
        shown.cursor = 0
        await sit.press("i")
        assert sit.mapping.ignored == (first.id,)
        await sit.until(lambda: not found(first.title))
        await sit.press("enter")
        assert isinstance(sit.app.screen, ChoiceDialog)
        await sit.press("enter")
        assert len(sit.mapping.relationships) == 1


async def test_a_finding_is_waived_with_a_reason_and_its_mend_copied(tmp_path: Path) -> None:
    """w asks for the reason, which is kept in the file; y copies what mends it; the palette knows
    the key of the list, too."""
    shown = catalog(table("log", "at? what?"), table("journal", "at?"), table("dot", "id", "id"))
    async with sitting("mapping", tmp_path, catalog=shown, size=NARROW) as sit:
        await go_to(sit, "Log")
        findings = sit.app.screen.query_one(FindingList)
        await sit.until(lambda: any(f.code == "no_key" for f in findings.findings))
        findings.focus()
        findings.cursor = [f.code for f in findings.findings].index("no_key")
        await sit.press("y")
        assert sit.app.clipboard
        await sit.press("w", "space")
        await sit.sees("a waiver needs a reason")
        await put(sit, "it is only a log")
        await sit.press("enter")
        await sit.until(lambda: any(f.waived for f in findings.findings))
        assert sit.mapping.waivers == (Waiver("no_key", "public.log", "it is only a log"),)
        findings.cursor = [bool(f.waived) for f in findings.findings].index(True)
        await sit.sees("waived: it is only a log", "✓ waived")
        await sit.press("ctrl+p")
        await sit.pilot.pause()
        await put(sit, "accept the finding")
        await sit.sees("findings: Accept the finding under the cursor", "key w")
        await sit.press("enter")
        await sit.until(lambda: not sit.mapping.waivers)
        few = len(findings.findings)
        await sit.press("F")
        await sit.until(lambda: len(findings.findings) > few)
        await sit.sees("all findings")
        await go_to(sit, "Dot")
        await sit.press("F", "tab", "tab", "tab")
        await sit.sees("✓ nothing found about Dot")


def test_a_finding_is_told_with_its_sql_and_its_waiver_and_counted_once() -> None:
    """Wherever findings are listed; a waived one counts as nothing else."""
    open_one = Finding("risk", "no_index", "public.t", "slow", sql="CREATE INDEX ON t (a)")
    waived = replace(open_one, severity="action", waived="we know")
    told = f"{finding_text([open_one, waived]).plain}\n{findings_copied([open_one, waived])}"
    assert told.count("SQL: CREATE INDEX ON t (a)") == 4
    assert told.count("waived: we know") == 2
    assert finding_sign(waived).plain == "✓ waived"
    assert severities([open_one, waived]) == (
        "0 action required · 1 risk · 0 information · 1 waived"
    )
    assert severities([open_one]) == "0 action required · 1 risk · 0 information"


# The file


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    """An $EDITOR that runs one of the commands each time, on a terminal that can be lent."""
    steps = folder / "steps"
    steps.write_text("\n".join(commands))
    script = folder / "editor"
    script.write_text(
        f'#!/bin/sh\nstep=$(head -n 1 "{steps}"); sed -i 1d "{steps}"; sed -i "$step" "$1"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(HeadlessDriver, "can_suspend", True)


async def test_what_is_saved_is_what_is_shown_and_the_diff_tells_it_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """d shows the change, ctrl+s writes it and a folder that is not there is told; in one's own
    editor an error says its line and asks again, and what can be read is one step to take back."""
    good, bad = "s/Client/Patron/g", "s/column: full_name/column: fullname/"
    swap = "s/column: fullname/column: full_name/"
    editor(tmp_path, monkeypatch, bad, f"{swap};{good}")
    async with sitting("mapping", tmp_path, catalog=STORE, size=NARROW) as sit:
        await sit.press("ctrl+s")
        await sit.until(lambda: sit.workspace.saved)
        await go_to(sit, "Customer")
        await sit.press("e")
        await put(sit, "Client")
        await sit.press("enter")
        await sit.sees("3 Map !")
        await sit.press("d")
        await sit.until(lambda: isinstance(sit.app.screen, TextDialog))
        await sit.sees("-- label: Customer", "+- label: Client")
        await sit.press("escape", "ctrl+s")
        await sit.sees("saved")
        await sit.until(lambda: sit.workspace.saved)
        assert load(tmp_path / "mapping.yaml").mapping == sit.mapping
        before = sit.mapping
        await sit.press("E")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog))
        await sit.sees("mapping.yaml line", "fullname", "edit again")
        await sit.press("enter")
        await sit.until(lambda: sit.mapping is not before)
        assert sit.mapping.node("Patron") is not None
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".mapping")]
        assert not sit.workspace.saved
        await sit.press("u")
        assert sit.mapping is before
        monkeypatch.delenv("EDITOR")
        await sit.press("E")
        await sit.sees("no editor is named")
        await sit.press("escape", "x")
        sit.workspace.mapping_path = tmp_path / "missing" / "mapping.yaml"
        await sit.press("ctrl+s")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog))
        assert not sit.workspace.saved
        await sit.press("escape", "q", "down", "enter")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog))
        sit.workspace.mapping_path = tmp_path / "other.yaml"
        await sit.press("escape", "q", "down", "enter")
        await sit.until(lambda: not sit.app.is_running or sit.workspace.saved)
        assert load(tmp_path / "other.yaml").mapping == sit.mapping


# Pictures

STAR = """\
                  ╭─ FOLLOWS ╮
╭──────╮ PLACED ╭─┴──────────▼─╮ CONTAINS ╭─────────╮
│ User ├───────▶│ Order        ├─────────▶│ Product │
╰──────╯        │ :Sale        │          ╰─────────╯
                │ ◆ id INT     │ – LOST   ╭──────╮
                │              ├╌╌╌╌╌╌╌╌╌▶│ Gone │
                ╰──────────────╯          ╰──────╯"""
BELOW = """\
  ╭─ FOLLOWS ╮
╭─┴──────────▼─╮
│ Order        │
│ :Sale        │
╰─┬────────────╯
  │             ╭─────────╮
  ├─ CONTAINS ─▶│ Product │
  │             ╰─────────╯
  │             ╭──────╮
  ├╌ – LOST ╌╌╌▶│ Gone │
  │             ╰──────╯
  │             ╭──────╮
  ╰◀ PLACED ────┤ User │
                ╰──────╯"""
ARMS = """\
  ╭─ FOLLOWS ╮
╭─┴──────────▼─╮
│ Order        │
│ :Sale        │
╰─┬────────────╯
  ├─ CONTAINS ─▶ Product
  ├╌ – LOST ╌╌╌▶ Gone
  ╰◀ PLACED ──── User"""
PAIR = """\
╭───────╮ CONTAINS ╭─────────╮
│ Order ├─────────▶│ Product │
╰─┬─────╯          ╰─────────╯
  ├─ FOLLOWS ─▶ Order ↺
  ├╌ – LOST ╌╌▶ Gone
  ╰◀ PLACED ─── User"""
STACK = """\
╭───────╮
│ Order │
╰─┬─────╯
  ├─ FOLL… ─▶ Order ↺
  ├╌ – LO… ╌▶ Gone
  ├◀ PLAC… ── User
  │ CONTAINS
╭─▼───────╮
│ Product │
╰─────────╯"""
LOOP = """\
  ╭─ FOLLOWS ╮
╭─┴──────────▼─╮
│ Order        │
╰─┬────────────╯
  ├─ CONTAINS ─▶ Product
  ├╌ – LOST ╌╌╌▶ Gone
  ╰◀ PLACED ──── User"""


def test_the_picture_of_a_rule_shows_its_neighbours() -> None:
    """Boxes and arrows in whatever width there is: directions, loops, labels, what is inactive."""
    table = TableName("public", "t")
    ends = {label: Endpoint(label, (), ()) for label in ("Order", "Product", "User", "Gone")}
    order = NodeRule("Order", table, ("id",), (Property("id", "id", "INT"),), labels=("Sale",))
    others = [NodeRule(name, table, (), ()) for name in ("Product", "User")]
    gone = NodeRule("Gone", table, (), (), include=False)
    contains = RelationshipRule("CONTAINS", table, ends["Order"], ends["Product"])
    follows = RelationshipRule("FOLLOWS", table, ends["Order"], ends["Order"])
    placed = RelationshipRule("PLACED", table, ends["User"], ends["Order"])
    lost = RelationshipRule("LOST", table, ends["Order"], ends["Gone"])
    mapping = Mapping((order, *others, gone), (contains, follows, placed, lost))

    def drawn(rule: Rule, width: int, height: int = 24) -> str:
        return "\n".join(draw(rule, mapping, width, height).lines())

    assert drawn(order, 60) == STAR
    assert drawn(order, 30) == BELOW
    assert drawn(order, 30, height=9) == ARMS
    assert drawn(contains, 40) == PAIR
    assert drawn(contains, 22) == STACK
    assert drawn(follows, 40) == LOOP


@pytest.mark.parametrize("width", range(16, 90, 7))
def test_no_picture_is_wider_than_its_pane(width: int) -> None:
    """Long and wide names are cut."""
    table = TableName("public", "t")
    names = [f"{'客户' * 9}{n}" for n in range(4)] + ["A", "LongLabelName" * 5]
    nodes = tuple(NodeRule(name, table, (), (), labels=(f"{name}More",)) for name in names)
    relationships = tuple(
        RelationshipRule(f"TYPE{'X' * (n % 5 * 8)}{n}", table, Endpoint(*a), Endpoint(*b))
        for n, (a, b) in enumerate(product([(name, (), ()) for name in names], repeat=2))
    )
    mapping = Mapping(nodes, relationships)
    for rule in mapping.rules:
        lines = draw(rule, mapping, width).lines()
        assert max(map(cell_len, lines)) <= width, rule.id
