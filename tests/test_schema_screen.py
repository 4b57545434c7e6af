"""Schema: find a table among many, see its columns, keys and rows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList
from textual.worker import WorkerFailed

from geode_tui.app import GeodeApp
from geode_tui.catalog import Catalog, Table
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import TextDialog
from geode_tui.screens.schema import SchemaScreen
from geode_tui.widgets.er_diagram import ErDiagram
from geode_tui.widgets.fuzzy import NameIndex, Query, letters, matching
from geode_tui.widgets.schema_tree import SchemaTree
from geode_tui.widgets.table_detail import PAGES
from geode_tui.widgets.virtual_table import VirtualTable
from tests.catalogs import SHOP, catalog, table
from tests.conftest import MakeDatabase
from tests.golden import SIZES as SIZES_OF_GOLDENS
from tests.golden import assert_golden
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
    app = GeodeApp(workspace, mode="schema")
    app.animation_level = "none"
    return app


def _shown_table(app: GeodeApp) -> str:
    """The full name of the table whose columns, keys and rows are shown."""
    screen = app.screen
    assert isinstance(screen, SchemaScreen)
    table: Table | None = screen._table
    return str(table.name) if table else ""


def _offline(catalog: Catalog, tmp_path: Path) -> GeodeApp:
    """The app on a catalog from a file, with no source to ask."""
    workspace = Workspace(mapping_path=tmp_path / "mapping.yaml")
    workspace.catalog = catalog
    app = GeodeApp(workspace, mode="schema")
    app.animation_level = "none"
    return app


async def _turn(pilot: Pilot[None], page: str) -> None:
    """Go to a page as the palette does."""
    screen = pilot.app.screen
    assert isinstance(screen, SchemaScreen)
    screen.open_page(page)
    await settle(pilot)


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
        await _turn(pilot, "columns")
        text = screen_text(app)
        assert "timestamp with time zone" in text
        lines = {line.split()[0]: line for line in _detail(text) if line.strip()}
        assert "bigint" in lines["order_id"]
        assert " PK " in lines["order_id"]
        assert "identity" in lines["order_id"]
        assert " yes " in lines["bill_address_id"]
        assert " FK? " in lines["bill_address_id"]
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
        await _turn(pilot, "keys")
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
        await _turn(pilot, "rows")
        lines = [line for line in _detail(screen_text(app)) if "null" in line]
        assert [line.split() for line in lines] == [["null", "∅", "null"]]


async def test_space_shows_values_whole_and_y_copies_them(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsn = make_database("CREATE TABLE t (a text); INSERT INTO t SELECT repeat('長x', 30000)")
    app = await _opened(dsn, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.t")
        await _turn(pilot, "rows")
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
        await _turn(pilot, "rows")
        assert "r reads 50 rows" in screen_text(app)
        await pilot.press("r")
        await settle(pilot)
        assert "42" in screen_text(app)


async def _settle_refused(pilot: Pilot[None]) -> None:
    """As `settle`, where a worker is expected to fail: waiting for one that fails raises."""
    await pilot.pause()
    for worker in list(pilot.app.workers):
        with suppress(WorkerFailed):
            await worker.wait()
    await pilot.pause()


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
        assert isinstance(app.screen, SchemaScreen)
        app.screen.open_page("rows")
        await _settle_refused(pilot)
        assert "permission denied for table secret" in screen_text(app)
        assert "GRANT SELECT" in screen_text(app)


@pytest.mark.parametrize("size", [NARROW, (60, 15)])
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
            seen += screen_text(app)
        await _go(pilot, "[/foo].[/foo]")
        for _ in PAGES:
            seen += screen_text(app)
            await pilot.press("v")
            await settle(pilot)
        await _go(pilot, "[/foo].[/foo]")
        await _turn(pilot, "rows")
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


# The looks


HOSTILE_NAMES = catalog(
    table("[/foo]", 'a"b.c select [b]x[/]', 'a"b.c'),
    table("🦄🦄", "id 客户号?", "id", (("客户号", "[/foo]", 'a"b.c'),)),
    table(LONG, f"id {LONG}", "id", ((LONG, "[/foo]", 'a"b.c'),)),
)
CROWDED = catalog(
    table("home", "id", "id"),
    *(table(f"t{n:02}", "id home", "id", (("home", "home", "id"),)) for n in range(40)),
)


@pytest.mark.parametrize(
    ("name", "shown", "item"),
    [("shop", SHOP, "public.orders"), ("hostile", HOSTILE_NAMES, "public.[/foo]")],
    ids=["shop", "hostile"],
)
async def test_the_screen_looks_as_it_was_accepted(
    tmp_path: Path, name: str, shown: Catalog, item: str
) -> None:
    """In three widths of one terminal; `UPDATE_GOLDENS=1` accepts how it looks now."""
    app = _offline(shown, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await _go(pilot, item)
        for width, height in SIZES_OF_GOLDENS:
            await pilot.resize_terminal(width, height)
            await settle(pilot)
            looks = screen_text(app).partition("\n")[2]  # the first line has a clock
            assert_golden(looks, f"schema-{name}-{width}x{height}")


# The diagram


@pytest.mark.parametrize("size", [NARROW, (200, 60)])
async def test_one_walks_through_the_diagram_and_back(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """From order_items to orders to users; the tree follows, backspace and esc lead back."""
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=size) as pilot:
        await _go(pilot, "public.order_items")
        assert isinstance(app.screen, SchemaScreen)
        app.screen.open_page("diagram")
        await settle(pilot)
        assert "public.order_items (order_id) → public.orders (id)" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert _shown_table(app) == "public.orders"
        await pilot.press("right", "enter")
        await settle(pilot)
        assert _shown_table(app) == "public.users"
        tree = app.screen.query_one(SchemaTree)
        assert tree.table is not None
        assert tree.table.name.name == "users"
        await pilot.press("backspace")
        await settle(pilot)
        assert _shown_table(app) == "public.orders"
        await pilot.press("escape")
        await settle(pilot)
        assert _shown_table(app) == "public.order_items"
        assert isinstance(app.focused, ErDiagram)
        await pilot.press("y")
        assert "╭─ public.order_items ─" in app.clipboard
        await pilot.press("escape")
        assert tree.has_focus


async def test_forty_neighbours_are_shown_when_one_asks(tmp_path: Path) -> None:
    """Nine at first, then all of them, and the cursor reaches the last."""
    app = _offline(CROWDED, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.home")
        await pilot.press("G")
        await settle(pilot)
        assert "+31 more" in screen_text(app)
        await pilot.press("enter", "G")
        await settle(pilot)
        assert "╭─ t39 ─" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert _shown_table(app) == "public.t39"


async def test_a_self_reference_and_a_lonely_table_lead_nowhere(tmp_path: Path) -> None:
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.users")
        await pilot.press("right", "enter")
        await settle(pilot)
        assert _shown_table(app) == "public.users"
        await _go(pilot, "public.log")
        assert "no foreign key leads from here or to here" in screen_text(app)
        await pilot.press(
            "up", "down", "left", "right", "G", "g", "enter", "space", "y", "pagedown"
        )
        await settle(pilot)
        assert _shown_table(app) == "public.log"


async def test_a_click_on_a_neighbour_chooses_it_and_a_second_one_goes_there(
    tmp_path: Path,
) -> None:
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.orders")
        lines = screen_text(app).splitlines()
        y = next(n for n, line in enumerate(lines) if "╭─ users" in line)
        x = lines[y].index("users")
        await pilot.click(offset=(x, y))
        assert "public.orders (user_id) → public.users (id)" in screen_text(app)
        await pilot.click(offset=(x, y))
        await settle(pilot)
        assert _shown_table(app) == "public.users"


# The filter


async def test_the_letters_that_match_are_lit_and_columns_are_found(tmp_path: Path) -> None:
    """`oi` finds order_items by its initials, `quant` by its column quantity."""
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        tree = app.screen.query_one(SchemaTree)
        assert tree.filter("oi") == 1
        assert tree.table is not None
        assert tree.table.name.name == "order_items"
        name = tree.row(tree.cursor)[0]
        assert isinstance(name, Content)
        lit = [span.start for span in name.spans if "bold" in str(span.style)]
        assert [name.plain[at] for at in lit] == ["o", "i"]
        await pilot.press("slash", *"quant")
        await settle(pilot)
        assert "▦ order_items · quantity" in screen_text(app)


def test_the_best_match_comes_first() -> None:
    """The whole name, then at a start, then inside, then letters apart, then a column's name."""
    names = ["shop.my_orders", "shop.border", "shop.orders", "shop.order_items", "shop.old_riders"]
    index = NameIndex([*names, "shop.t"], [()] * 5 + [("id", "orders_id")])
    found = [[*names, "shop.t"][at] for at in index.find(Query.of("orders"))]
    assert found == [
        "shop.orders",
        "shop.my_orders",
        "shop.old_riders",
        "shop.order_items",
        "shop.t",
    ]
    found = [names[at] for at in index.find(Query.of("order"))[:4]]
    assert found == ["shop.orders", "shop.order_items", "shop.my_orders", "shop.border"]


@pytest.mark.parametrize(
    ("query", "name", "lit"),
    [
        ("oi", "shop.order_items", "o     i"),
        ("ITEM", "shop.order_items", "      item"),
        ("shop rder", "shop.order", "shop  rder"),
        ("İß", "İxß", "İ ß"),
        ("zz", "shop.order", ""),
    ],
)
def test_letters_that_match_are_told_by_their_place(query: str, name: str, lit: str) -> None:
    places = letters(Query.of(query), name)
    text = "".join(letter if at in places else " " for at, letter in enumerate(name))
    assert text.strip() == lit.strip()


# Pages


PAGED = """
CREATE TABLE parent (id int PRIMARY KEY, amount int CONSTRAINT positive CHECK (amount > 0));
COMMENT ON TABLE parent IS 'the [/first]';
CREATE INDEX big_ones ON parent (amount) WHERE amount > 100;
CREATE TABLE child (x int) INHERITS (parent);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER watch AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION f();
CREATE TABLE loose (parent_id int);
INSERT INTO parent VALUES (1, 5), (2, 6);
INSERT INTO loose VALUES (1), (1), (1), (7), (NULL);
ALTER TABLE loose ADD CONSTRAINT lax FOREIGN KEY (parent_id) REFERENCES parent NOT VALID;
CREATE VIEW seen AS SELECT id AS seen_id FROM parent;
ANALYZE;
"""


async def test_every_page_tells_what_hangs_on_the_table(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Checks, indexes, comment, trigger, family, a view's definition; enter walks to relatives."""
    app = await _opened(make_database(PAGED), tmp_path)
    async with app.run_test(size=BROAD) as pilot:
        await _go(pilot, "public.parent")
        for page, texts in (
            ("keys", ("positive", "(amount > 0)", "public.loose (parent_id)", "! not validated")),
            ("indexes", ("big_ones", "(amount > 100)", "btree")),
            ("details", ("the [/first]", "watch", "inherited by", "public.child")),
        ):
            await _turn(pilot, page)
            for text in texts:
                assert text in screen_text(app)
        await pilot.press("G", "enter")
        await settle(pilot)
        assert _shown_table(app) == "public.child"
        await pilot.press("escape")
        await settle(pilot)
        assert _shown_table(app) == "public.parent"
        await _go(pilot, "public.seen")
        await _turn(pilot, "details")
        assert "AS seen_id" in screen_text(app)


async def test_the_profile_counts_what_hangs_together(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Nulls and common values at once; s counts fan-out and the orphans of a lax key."""
    app = await _opened(make_database(PAGED), tmp_path)
    async with app.run_test(size=BROAD) as pilot:
        await _go(pilot, "public.loose")
        await _turn(pilot, "profile")
        lines = _detail(screen_text(app))
        column = next(line for line in lines if line.startswith("parent_id"))
        assert "20 %" in column
        assert "1 60 %" in column
        assert any(line.endswith("! not validated") for line in lines)
        await pilot.press("s")
        await settle(pilot)
        key = next(line for line in _detail(screen_text(app)) if line.startswith("public.loose ("))
        assert key.split()[2:] == ["1", "3", "3", "1", "1", "·", "all", "4"]
        await pilot.press("space")
        await settle(pilot)
        assert "now, in 5 rows: 2 distinct values" in screen_text(app)


async def test_a_catalog_from_a_file_has_no_rows_and_no_profile(tmp_path: Path) -> None:
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await _go(pilot, "public.users")
        for page in ("rows", "profile"):
            await _turn(pilot, page)
            assert "no live source" in screen_text(app)
            await pilot.press("r" if page == "rows" else "s")
            await settle(pilot)
            assert "no live source" in screen_text(app)


async def test_the_palette_opens_the_pages(tmp_path: Path) -> None:
    app = _offline(SHOP, tmp_path)
    async with app.run_test(size=BROAD) as pilot:
        await _go(pilot, "public.orders")
        await _pick(pilot, "indexes")
        assert isinstance(app.screen, SchemaScreen)
        assert app.screen._page == "indexes"
        await _pick(pilot, "copythe")
        assert "╭─ public.orders ─" in app.clipboard


async def _pick(pilot: Pilot[None], text: str) -> None:
    """Choose the best hit of the palette."""
    await pilot.press("ctrl+p")
    await pilot.pause()
    await pilot.press(*text)
    options = pilot.app.screen.query_one(OptionList)
    while options.highlighted is None:
        await pilot.pause(0.05)
    await pilot.press("enter")
    await settle(pilot)
