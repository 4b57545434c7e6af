"""Schema: find a table among many, see its columns, keys and rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from geode_tui.app import GeodeApp
from geode_tui.catalog import Table
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import TextDialog
from geode_tui.screens.schema import SchemaScreen
from geode_tui.widgets.fuzzy import matching
from geode_tui.widgets.schema_tree import SchemaTree
from geode_tui.widgets.virtual_table import VirtualTable
from tests.conftest import MakeDatabase
from tests.terminal import BROAD, NARROW, SIZES, screen_text, settle

LONG = "ü" * 31 + "x"  # 63 bytes, all that PostgreSQL allows
HOSTILE = f"""
CREATE SCHEMA "[/foo]";
CREATE SCHEMA "客户";
CREATE TYPE "[b]e" AS ENUM ('[/x]', 'b''c');
CREATE TABLE "[/foo]"."[/foo]" (
  "[/id]" int PRIMARY KEY, "select" "[b]e" DEFAULT '[/x]', "{LONG}" text, "a""b.c" text[]);
COMMENT ON TABLE "[/foo]"."[/foo]" IS '[red]not red[/]';
INSERT INTO "[/foo]"."[/foo]" VALUES (1, 'b''c', E'\\x1b[31m[/x]\\nzwei', '{{a,NULL}}'),
  (2, NULL, repeat('长', 5000), NULL), (3, '[/x]', '', NULL);
CREATE TABLE "客户"."订单" (id int PRIMARY KEY, "客户号" int REFERENCES "[/foo]"."[/foo]");
CREATE TABLE "客户".zero ();
CREATE VIEW "客户"."v[/]" AS SELECT 42 AS answer;
ANALYZE;
"""


async def _opened(dsn: str, tmp_path: Path) -> GeodeApp:
    workspace = Workspace(target_place="x.grafeo", mapping_path=tmp_path / "mapping.yaml")
    await workspace.connect(dsn)
    return GeodeApp(workspace, mode="schema")


def _shown_table(app: GeodeApp) -> str:
    """The full name of the table whose columns, keys and rows are shown."""
    screen = app.screen
    assert isinstance(screen, SchemaScreen)
    table: Table | None = screen._table
    return str(table.name) if table else ""


async def _go(pilot: Pilot[None], table: str) -> None:
    """Go into a table as the palette does."""
    screen = pilot.app.screen
    assert isinstance(screen, SchemaScreen)
    await settle(pilot)
    screen.show_item(table)
    await settle(pilot)


async def test_without_a_source_it_says_where_to_get_one(tmp_path: Path) -> None:
    app = GeodeApp(Workspace(mapping_path=tmp_path / "mapping.yaml"), mode="schema")
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        assert "press 1 and connect" in screen_text(app)
        for key in ("v", "r", "enter", "slash", "escape", "space", "y", "G"):
            await pilot.press(key)
        await settle(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_tables_stand_under_their_schema_with_estimates(
    shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    app = await _opened(shop_dsn, tmp_path)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        lines = screen_text(app).splitlines()
        orders = next(line for line in lines if "order_items" in line)
        assert "±" in orders
        assert any("▾ shop" in line for line in lines)
        assert any("◇ order_totals" in line for line in lines)


@pytest.mark.parametrize("size", SIZES)
async def test_typing_filters_in_place_and_esc_shows_all_again(
    shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    app = await _opened(shop_dsn, tmp_path)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("slash", *"prosup")
        await settle(pilot)
        text = screen_text(app)
        assert "product_suppliers" in text
        assert "reviews" not in text
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert _shown_table(app) == "shop.product_suppliers"
        await pilot.press("escape", "slash", "escape")
        await settle(pilot)
        assert "reviews" in screen_text(app)
        assert app.focused is app.screen.query_one(SchemaTree)


async def test_a_schema_folds_and_unfolds(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsn = make_database("CREATE SCHEMA a; CREATE TABLE a.hidden_one (); CREATE TABLE last_one ()")
    app = await _opened(dsn, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        await pilot.press("left")
        await settle(pilot)
        assert "hidden_one" not in screen_text(app)
        assert "last_one" in screen_text(app)
        await pilot.press("right")
        await settle(pilot)
        assert "hidden_one" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_columns_show_type_null_key_and_default(
    shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    app = await _opened(shop_dsn, tmp_path)
    async with app.run_test(size=size) as pilot:
        await _go(pilot, "shop.orders")
        text = screen_text(app)
        assert "timestamp with time zone" in text
        lines = {line.split()[0]: line for line in _detail(text) if line.strip()}
        assert "bigint" in lines["order_id"]
        assert " PK " in lines["order_id"]
        assert "identity" in lines["order_id"]
        assert " yes " in lines["bill_address_id"]
        assert " FK " in lines["bill_address_id"]
        assert "enum: pending" in lines["status"]


def _detail(text: str) -> list[str]:
    """The lines of the right pane, or of the only one."""
    return [line.rpartition("││")[2].strip("│ ") for line in text.splitlines()]


@pytest.mark.parametrize("size", SIZES)
async def test_enter_walks_along_foreign_keys_and_esc_comes_back(
    shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    """From orders to its customer, on to the reviews, and back the same way."""
    app = await _opened(shop_dsn, tmp_path)
    async with app.run_test(size=size) as pilot:
        await _go(pilot, "shop.orders")
        await pilot.press("v")
        await settle(pilot)
        await _walk_to(pilot, "shop.users")
        assert _shown_table(app) == "shop.users"
        await _walk_to(pilot, "shop.reviews")
        assert _shown_table(app) == "shop.reviews"
        await pilot.press("backspace")
        await settle(pilot)
        assert _shown_table(app) == "shop.users"
        await pilot.press("escape")
        await settle(pilot)
        assert _shown_table(app) == "shop.orders"
        await pilot.press("escape")
        await settle(pilot)
        tree = app.screen.query_one(SchemaTree)
        assert app.focused is tree
        assert tree.table is not None
        assert str(tree.table.name) == "shop.orders"


async def _walk_to(pilot: Pilot[None], table: str) -> None:
    keys = pilot.app.screen.query_one("#key-table", VirtualTable)
    targets = [str(keys.row(index)[2]) for index in range(keys.row_count)]
    keys.cursor = next(i for i, target in enumerate(targets) if target.startswith(f"{table} "))
    await pilot.press("enter")
    await settle(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_rows_are_shown_with_null_apart_from_text(
    make_database: MakeDatabase, tmp_path: Path, size: tuple[int, int]
) -> None:
    dsn = make_database(
        "CREATE TABLE t (a text, b text); INSERT INTO t VALUES ('null', NULL), ('', 'x')"
    )
    app = await _opened(dsn, tmp_path)
    async with app.run_test(size=size) as pilot:
        await _go(pilot, "public.t")
        await pilot.press("v", "v")
        await settle(pilot)
        lines = [line for line in _detail(screen_text(app)) if "null" in line]
        assert [line.split() for line in lines] == [["null", "∅", "null"]]


async def test_space_shows_values_whole_and_y_copies_them(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsn = make_database("CREATE TABLE t (a text); INSERT INTO t SELECT repeat('長x', 30000)")
    app = await _opened(dsn, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.t")
        await pilot.press("v", "v")
        await settle(pilot)
        await pilot.press("space")
        await settle(pilot)
        assert isinstance(app.screen, TextDialog)
        await pilot.press("y")
        assert app.clipboard == "a\n" + "長x" * 30_000


async def test_a_view_is_read_only_when_asked(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A view can take an hour; looking at it must not begin that."""
    app = await _opened(make_database(HOSTILE), tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "客户.v[/]")
        await pilot.press("v", "v")
        await settle(pilot)
        assert "r reads 50 rows" in screen_text(app)
        await pilot.press("r")
        await settle(pilot)
        assert "42" in screen_text(app)


async def test_a_table_that_may_not_be_read_says_so(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsn = make_database("CREATE TABLE secret (a int); INSERT INTO secret VALUES (1)")
    app = await _opened(dsn, tmp_path)
    source = app.workspace.source
    assert source is not None
    await source._connection.execute("SET ROLE pg_monitor")
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.secret")
        await pilot.press("v", "v")
        await settle(pilot)
        assert "permission denied for table secret" in screen_text(app)
        assert "GRANT SELECT" in screen_text(app)


@pytest.mark.parametrize("size", [*SIZES, (60, 15)])
async def test_hostile_names_and_values_break_nothing(
    make_database: MakeDatabase, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Every table, every page: markup is shown, and no control character gets out."""
    app = await _opened(make_database(HOSTILE), tmp_path)
    assert app.workspace.catalog is not None
    async with app.run_test(size=size) as pilot:
        seen = ""
        for table in app.workspace.catalog.tables:
            await _go(pilot, str(table.name))
            assert _shown_table(app) == str(table.name)
            for _ in range(3):
                seen += screen_text(app)
                await pilot.press("v")
                await settle(pilot)
        await _go(pilot, "[/foo].[/foo]")
        await pilot.press("v", "v")
        await settle(pilot)
        await pilot.press("space")
        await settle(pilot)
        seen += screen_text(app)
        assert "[red]not red[/]" in seen
        assert "[/id]" in seen
        assert "[/x]" in seen
        assert "客户.订单" in seen
        assert "\x1b" not in seen


async def test_two_thousand_tables_are_searched_as_one_types(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The tree draws what is in view, and every table of the catalog can be reached."""
    sql = "".join(f"CREATE TABLE t_{number:04}_orders ();" for number in range(2_000))
    app = await _opened(make_database(sql), tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        tree = app.screen.query_one(SchemaTree)
        assert tree.row_count == 2_001
        await pilot.press("G")
        await settle(pilot)
        assert "t_1999_orders" in screen_text(app)
        await pilot.press("slash", *"1234")
        await settle(pilot)
        assert tree.row_count == 2
        assert "t_1234_orders" in screen_text(app)
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert _shown_table(app) == "public.t_1234_orders"


async def test_the_catalog_can_be_read_again(make_database: MakeDatabase, tmp_path: Path) -> None:
    dsn = make_database("CREATE TABLE before ()")
    app = await _opened(dsn, tmp_path)
    async with app.run_test(size=BROAD) as pilot:
        await settle(pilot)
        assert "after" not in screen_text(app)
        await _execute(dsn, "CREATE TABLE after ()")
        await pilot.press("ctrl+r")
        await settle(pilot)
        assert "▦ after" in screen_text(app)


async def _execute(dsn: str, sql: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    await connection.execute(sql)
    await connection.close()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["shop.orders", "shop.order_items", "crm.People"]),
        ("ORDER", ["shop.orders", "shop.order_items"]),
        ("oi", ["shop.order_items"]),
        ("shop items", ["shop.order_items"]),
        ("people", ["crm.People"]),
        ("[/", []),
    ],
)
def test_a_filter_finds_words_and_else_letters_in_their_order(query: str, found: list[str]) -> None:
    names = ["shop.orders", "shop.order_items", "crm.People"]
    assert [names[index] for index in matching(query, names)] == found
