"""The mapping screen: see what becomes of each table and why, change it, and see the proof."""

from __future__ import annotations

from pathlib import Path

import pytest

from geode_tui.catalog import Catalog, Column, DataType, ForeignKey, Key, Table, TableName
from geode_tui.mapping.file import load
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, RelationshipRule
from geode_tui.screens.dialogs import ChoiceDialog, ErrorDialog, PromptDialog, TextDialog
from geode_tui.widgets.graph_pattern import draw
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.rule_table import RuleTable
from tests.conftest import MakeDatabase
from tests.sitting import HOSTILE, NARROW, TINY, Sitting, sitting

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
        await sit.sees("no rule can be made for public.totals", "a view is not moved")


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
            seen.append(panes.shown.brief)
            await sit.press("tab")
        assert seen == ["rules", "properties", "graph", "findings", "SQL", "rows"]
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
        await sit.press("escape", "g", "enter", "down", "e")
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


def test_the_picture_of_a_relationship_a_loop_and_a_label() -> None:
    """The selected rule as boxes and arrows, in whatever width there is."""
    table = TableName("public", "t")
    ends = [Endpoint(label, (), ()) for label in ("Order", "Product")]
    contains = RelationshipRule("CONTAINS", table, ends[0], ends[1])
    follows = RelationshipRule("FOLLOWS", table, ends[0], ends[0])
    order, product = NodeRule("Order", table, (), ()), NodeRule("Product", table, (), ())
    mapping = Mapping((order, product), (contains, follows))
    assert draw(contains, mapping, 40) == [
        "╭───────╮ CONTAINS ╭─────────╮",
        "│ Order ├─────────▶│ Product │",
        "╰───────╯          ╰─────────╯",
    ]
    assert draw(contains, mapping, 20) == [
        "╭───────╮",
        "│ Order │",
        "╰─┬─────╯",
        "  │ CONTAINS",
        "╭─▼───────╮",
        "│ Product │",
        "╰─────────╯",
    ]
    assert draw(follows, mapping, 40) == [
        "╭───────╮",
        "│ Order ├──╮",
        "╰─▲─────╯  │ FOLLOWS",
        "  ╰────────╯",
    ]
    assert draw(product, mapping, 40) == [
        "╭─────────╮",
        "│ Product │",
        "╰─┬───────╯",
        "  ╰◀ CONTAINS ─── Order",
    ]
