"""The mapping screen: see what becomes of each table and why, change it, and see the proof."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path

import grafeo
import pytest
from rich.cells import cell_len
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Input

from geode_tui.catalog import Catalog, Column, DataType, ForeignKey, Key, Table, TableName
from geode_tui.mapping import reshape
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
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.rule_diagram import draw
from geode_tui.widgets.rule_table import RuleTable
from geode_tui.widgets.statement import written_gql
from geode_tui.widgets.suggestion_list import SuggestionList
from tests.conftest import MakeDatabase
from tests.golden import assert_golden
from tests.sitting import HOSTILE, NARROW, TINY, Sitting, sitting
from tests.terminal import settle

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


@pytest.fixture
def dsn(make_database: MakeDatabase) -> str:
    """A small shop of this test's own."""
    return make_database(SHOP)


async def go_to(sit: Sitting, title: str) -> None:
    """Put the cursor on the rule with this title."""
    rules = sit.app.screen.query_one(RuleTable)
    await sit.until(lambda: title in titles(sit), f"a rule {title}")
    rules.focus()
    rules.cursor = titles(sit).index(title)
    await sit.settled()


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


async def test_every_table_shows_what_becomes_of_it_and_why(dsn: str, tmp_path: Path) -> None:
    """Labels, relationships and what is left out, each with its reason."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await sit.sees("✓ node Customer", "✓ rel HAS_ITEM", "– no rule public.totals")
        await go_to(sit, "HAS_ITEM Order→Product")
        await sit.sees("(Order)-[:HAS_ITEM]->(Product)", "because:", "quantity", "3 nodes · 2 rels")
        await sit.sees("╭───────╮ HAS_ITEM ╭", "│ Order ├─────────▶│")


async def test_renaming_a_label_renames_it_in_relationships_and_can_be_undone(
    dsn: str, tmp_path: Path
) -> None:
    """e renames, u takes back, ctrl+r does it again."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Order")
        await sit.press("e")
        await sit.write("Purchase")
        await sit.press("enter")
        await sit.sees("✓ node Purchase", "renamed Order to Purchase")
        assert sit.mapping.rule("(Purchase)-[HAS_ITEM]->(Product)") is not None
        await sit.press("u")
        assert sit.mapping.node("Order") is not None
        assert sit.mapping.node("Purchase") is None
        await sit.sees("taken back: renamed Order to Purchase")
        await sit.press("ctrl+r")
        assert sit.mapping.node("Purchase") is not None


async def test_a_name_that_is_taken_or_impossible_is_refused_while_typing(
    dsn: str, tmp_path: Path
) -> None:
    """The dialog says why and stays."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Order")
        await sit.press("e")
        await sit.write("Product")
        await sit.press("enter")
        await sit.sees("label Product exists already: choose another name")
        assert isinstance(sit.app.screen, PromptDialog)
        await sit.write("[/foo]")
        await sit.sees("'[/foo]' cannot be a label")
        await sit.press("escape")
        assert sit.mapping.node("Order") is not None


async def test_relationships_of_a_label_left_out_are_shown_as_inactive(
    dsn: str, tmp_path: Path
) -> None:
    """x leaves a label out; what depends on it says so, and comes back with it."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Order")
        await sit.press("x")
        await sit.until(lambda: states(sit)["Order"] == "excluded")
        assert states(sit)["HAS_ITEM Order→Product"] == "inactive"
        await go_to(sit, "HAS_ITEM Order→Product")
        await sit.sees("inactive: Order is left out")
        await go_to(sit, "Order")
        await sit.press("space")
        await sit.until(lambda: states(sit)["HAS_ITEM Order→Product"] == "relationship")


async def test_a_property_is_renamed_left_out_and_given_another_type(
    dsn: str, tmp_path: Path
) -> None:
    """The keys act on the property under the cursor when the properties have the focus."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        await sit.press("enter", "down", "down")
        grid = sit.app.screen.query_one(PropertyGrid)
        assert sit.app.focused is grid
        assert grid.item is not None
        assert grid.item.column == "credit"
        await sit.press("t")
        assert isinstance(sit.app.screen, ChoiceDialog)
        await sit.sees("credit is numeric(10,4)", "DECIMAL", "FLOAT", "STRING")
        await sit.press("down", "down", "enter")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        assert [p.type for p in customer.properties] == ["INT", "STRING", "STRING", "BOOL"]
        await sit.press("enter")
        await sit.write("limit")
        await sit.press("enter", "x")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        renamed = customer.property_named("limit")
        assert renamed is not None
        assert not renamed.include
        await sit.sees("credit limit STRING – left")


async def test_a_key_cannot_be_left_out_and_the_screen_says_why(dsn: str, tmp_path: Path) -> None:
    """What is refused is explained, not ignored."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        await sit.press("enter", "g", "x")
        assert isinstance(sit.app.screen, ErrorDialog)
        await sit.sees("id is part of the key of Customer", "without it a row could not be found")


async def test_what_is_saved_is_what_is_shown_and_the_diff_tells_it_before(
    dsn: str, tmp_path: Path
) -> None:
    """d shows the change, ctrl+s writes it, the file reads back as the same mapping."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await sit.press("ctrl+s")
        await go_to(sit, "Customer")
        await sit.press("e")
        await sit.write("Client")
        await sit.press("enter")
        await sit.sees("rules · not saved")
        await sit.press("d")
        assert isinstance(sit.app.screen, TextDialog)
        await sit.sees("-- label: Customer", "+- label: Client")
        await sit.press("escape", "ctrl+s")
        await sit.sees("saved")
        assert sit.workspace.saved
        assert load(tmp_path / "mapping.yaml").mapping == sit.mapping


async def test_a_folder_that_cannot_be_written_is_told(dsn: str, tmp_path: Path) -> None:
    """Saving into nowhere explains itself."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        sit.workspace.mapping_path = tmp_path / "missing" / "mapping.yaml"
        await sit.press("ctrl+s")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog))
        assert not sit.workspace.saved


async def test_typing_after_slash_shows_matching_rules_only(dsn: str, tmp_path: Path) -> None:
    """The filter finds rules by name, table and state; esc shows all again."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await sit.until(lambda: len(titles(sit)) == 6)
        await sit.press("slash", *"has_it")
        await sit.until(lambda: titles(sit) == ["HAS_ITEM Order→Product"])
        await sit.sees("(Order)-[:HAS_ITEM]->(Product)")
        await sit.press("escape")
        assert len(titles(sit)) == 6


async def test_rows_are_shown_before_and_after(dsn: str, tmp_path: Path) -> None:
    """Real rows: only a value that is written differently shows both forms."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        await sit.sees("Ada 12.3400", "Grace null")
        await sit.press("enter", "down", "x")
        await sit.until(lambda: "Grace" not in sit.text, "the row without the property")


async def test_the_select_is_shown_and_copied(dsn: str, tmp_path: Path) -> None:
    """S shows the SELECT that reads the rows, y copies it."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        await sit.press("S")
        await sit.sees("SELECT of Customer", 'CAST("t"."full_name" AS TEXT) AS v1')
        await sit.press("y")
        assert '"public"."customers"' in sit.app.clipboard


async def test_enter_makes_a_rule_for_a_table_without_one(dsn: str, tmp_path: Path) -> None:
    """A table that the file forgot gets its label and relationships back; a view says why not."""
    async with sitting("mapping", tmp_path, dsn) as sit:
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
        await sit.write("nothing")
        await sit.sees("no column nothing in public.totals")
        await sit.write("sum")
        await sit.press("enter")
        made = sit.mapping.node_of(TableName("public", "totals"))
        assert made is not None
        assert made.key == ("sum",)


async def test_every_pane_is_reached_by_keyboard_in_a_small_terminal(
    dsn: str, tmp_path: Path
) -> None:
    """At 80x24 the panes are tabs: tab goes through all of them and back to the first."""
    async with sitting("mapping", tmp_path, dsn, size=NARROW) as sit:
        await go_to(sit, "HAS_ITEM Order→Product")
        panes = sit.app.screen.query_one(Panes)
        seen = []
        for _ in panes.panes:
            assert panes.shown is not None
            assert panes.shown.region.area > 0
            seen.append(panes.shown.brief.rstrip(" 0123456789"))
            await sit.press("tab")
        assert seen == [*("rules", "properties", "graph", "findings", "SQL", "suggestions", "rows")]
        assert panes.shown is panes.panes[0]
        await sit.press("enter")
        assert panes.shown is panes.panes[1]
        await sit.press("escape")
        assert panes.shown is panes.panes[0]


@pytest.mark.parametrize("size", [NARROW, TINY])
async def test_hostile_names_and_values_are_only_text(
    make_database: MakeDatabase, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Brackets, quotes, other scripts and control characters break nothing, and are shown."""
    async with sitting("mapping", tmp_path, make_database(HOSTILE), size=size) as sit:
        await sit.sees("public.[/foo]" if size == NARROW else "Foo")
        await sit.settled()
        for _ in range(6):
            await sit.press("tab", "down")
        await sit.press("escape", "g", "enter", "g", "down", "e")
        await sit.write("better")
        await sit.press("enter")
        foo = sit.mapping.node("Foo")
        assert foo is not None
        item = foo.property_of('a"b')
        assert item is not None
        assert item.name == "better"
        assert "\u202e" not in sit.text


async def test_without_a_source_the_screen_says_what_to_do_first(tmp_path: Path) -> None:
    """An empty screen is a direction, and its keys do no harm."""
    async with sitting("mapping", tmp_path) as sit:
        await sit.sees("press 1 and connect to a source")
        await sit.press("e", "x", "t", "u", "d", "S", "enter", "ctrl+s", "tab", "y")
        await sit.sees("3 Map")


async def test_two_thousand_tables_are_listed_and_filtered(tmp_path: Path) -> None:
    """Twenty thousand columns are no reason to wait."""
    key, text = DataType("integer", "int4"), DataType("text", "text")
    root = TableName("public", "t0")
    columns: tuple[Column, ...] = (Column("id", key, False), Column("parent", key))
    columns += tuple(Column(f"c{n}", text) for n in range(8))
    tables = tuple(
        Table(
            TableName("public", f"t{n}"),
            columns=columns,
            primary_key=Key("pk", ("id",)),
            foreign_keys=(ForeignKey("fk", ("parent",), root, ("id",)),),
            estimated_rows=10,
        )
        for n in range(2_000)
    )
    async with sitting("mapping", tmp_path, catalog=Catalog(tables=tables)) as sit:
        await sit.sees("2,000 nodes · 2,000 rels")
        await sit.press("G", "slash", *"T1999", "enter")
        await sit.until(lambda: 0 < len(titles(sit)) < 4)
        await sit.sees("from public.t1999")


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


async def test_a_finding_is_waived_with_a_reason_and_its_mend_copied(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """w asks for the reason, which is kept in the file; y copies what mends it."""
    sql = "CREATE TABLE log (at date, what text); CREATE TABLE dot (id int PRIMARY KEY)"
    async with sitting("mapping", tmp_path, make_database(sql)) as sit:
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
        await sit.press("w")
        assert not sit.mapping.waivers
        few = len(findings.findings)
        await sit.press("F")
        await sit.until(lambda: len(findings.findings) > few)


# Labels, directions, statements


async def test_labels_and_directions_are_changed_by_keys(dsn: str, tmp_path: Path) -> None:
    """L (or its words in the palette) adds labels, V a label by a value, r turns a relationship,
    all of them to be taken back; rules of one label are told apart by their names."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        start = sit.mapping
        await sit.press("ctrl+p", *"labels")
        await sit.sees("mapping: More labels for each node")
        await sit.press("enter")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog))
        await put(sit, "Person 1st")
        await sit.sees("'1st' cannot be a label")
        await put(sit, "Person Party")
        await sit.press("enter")
        await sit.sees("✓ node Customer :Pers", "(:Customer:Person:Party {id})")
        await sit.press("V", "down", "down", "down", "down", "enter")
        await put(sit, "true=Vip")
        await sit.press("enter")
        customer = sit.mapping.node("Customer")
        assert customer is not None
        assert customer.labels == ("Person", "Party")
        assert customer.labels_by == LabelBy("vip", (("true", "Vip"),))
        await sit.sees(":Vip if vip = true", "label")
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


async def test_the_gql_that_is_shown_is_what_the_graph_takes(dsn: str, tmp_path: Path) -> None:
    """Y copies it; Grafeo runs it and makes the node and the relationship."""
    async with sitting("mapping", tmp_path, dsn) as sit:
        for title in ("Order", "Product", "HAS_ITEM Order→Product"):
            await go_to(sit, title)
            await sit.press("Y")
            assert "MERGE" in sit.app.clipboard
        statements = [written_gql(rule, sit.mapping) for rule in sit.mapping.rules]
    graph = grafeo.GrafeoDB()
    values = {"id": 1, "start_id": 1, "end_id": 1, "quantity": 2, "_fp": 7, "_run": "r"}
    for statement in statements:
        names = set(re.findall(r"\$(\w+)", statement))
        graph.execute(statement, {name: values.get(name, "x") for name in names})
    made = graph.execute("MATCH (:Order)-[r:HAS_ITEM]->(:Product) RETURN r.quantity AS q")
    assert [dict(row) for row in made] == [{"q": 2}]


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


async def test_the_mapping_is_edited_in_ones_own_editor(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error says its line and asks again; what can be read is one step to take back."""
    good, bad = "s/Customer/Client/g", "s/column: full_name/column: fullname/"
    swap = "s/column: fullname/column: full_name/"
    editor(tmp_path, monkeypatch, bad, f"{swap};{good}")
    async with sitting("mapping", tmp_path, dsn) as sit:
        await go_to(sit, "Customer")
        before = sit.mapping
        await sit.press("E")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog))
        await sit.sees("mapping.yaml line", "fullname", "edit again")
        await sit.press("enter")
        await sit.until(lambda: sit.mapping is not before)
        assert sit.mapping.node("Client") is not None
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".mapping")]
        assert not sit.workspace.saved
        await sit.press("u")
        assert sit.mapping is before
        monkeypatch.delenv("EDITOR")
        await sit.press("E")
        await sit.sees("no editor is named")


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


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_screen_looks_as_it_was_accepted(
    make_database: MakeDatabase, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Names like markup, in other scripts and of 63 bytes, beside plain ones."""
    async with sitting("mapping", tmp_path, make_database(SHOP + HOSTILE), size=size) as sit:
        await go_to(sit, "Foo")
        await settle(sit.pilot)
        await sit.sees("Foo")
        shown = [sit.text]
        for _ in range(2 if size == NARROW else 0):
            await sit.press("tab")
            shown.append(sit.text)
        await go_to(sit, "Order")
        await settle(sit.pilot)
        shown.append(sit.text)
        # The first two lines have the time and the paths.
        pages = ["\n".join(text.split("\n")[2:]) for text in shown]
        assert_golden("\n\n".join(pages), f"mapping_{size[0]}x{size[1]}")


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
