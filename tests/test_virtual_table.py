"""The table of all screens: any number of rows, any text, by keyboard."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text
from textual.app import App, ComposeResult
from textual.content import Content
from textual.message import Message

from geode_tui.widgets.text import fit, one_line, short_bytes, short_count
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable
from tests.terminal import screen_text

COLUMNS = (TableColumn("name"), TableColumn("rows", 8, "right"), TableColumn("state", 8))
HOSTILE = ["[/foo]", "[red]x", "客户表" * 20, "a\nb\tc", "\x1b[31mred", "e\u0301", "\u202eevil", ""]


class TableApp(App[None]):
    def __init__(self, columns: tuple[TableColumn, ...] = COLUMNS) -> None:
        super().__init__()
        self.fetched: list[int] = []
        self.told: list[Message] = []
        self.columns = columns

    def compose(self) -> ComposeResult:
        yield VirtualTable(self.columns, empty="no [/rows] yet")

    @property
    def table(self) -> VirtualTable:
        return self.query_one(VirtualTable)

    def fetch(self, index: int) -> Row:
        self.fetched.append(index)
        return (f"row {index}", f"{index:,}", Content.styled("✓ done", "$text-success"))

    def on_mount(self) -> None:
        self.table.focus()

    def on_virtual_table_row_highlighted(self, event: VirtualTable.RowHighlighted) -> None:
        self.told.append(event)

    def on_virtual_table_row_selected(self, event: VirtualTable.RowSelected) -> None:
        self.told.append(event)


async def test_a_hundred_thousand_rows_cost_only_the_lines_in_view() -> None:
    """Opening a huge table and jumping to its end reads a screenful of rows each."""
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_source(100_000, app.fetch)
        await pilot.press("G")
        await pilot.pause()
        assert app.table.cursor == 99_999
        assert "row 99999" in screen_text(app)
        assert len(set(app.fetched)) <= 2 * 20


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("j", 1),
        ("down down k", 1),
        ("G", 999),
        ("G g", 0),
        ("end home", 0),
        ("pagedown", 18),
        ("pagedown pagedown pageup", 18),
        ("k", 0),
        ("G j", 999),
    ],
)
async def test_keys_move_the_cursor_and_never_past_the_ends(keys: str, expected: int) -> None:
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_source(1_000, app.fetch)
        await pilot.press(*keys.split())
        await pilot.pause()
        assert app.table.cursor == expected
        assert f"row {expected} " in screen_text(app)


async def test_owner_is_told_the_row_that_is_highlighted_and_chosen() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_source(5, app.fetch)
        await pilot.press("j", "j", "enter")
        await pilot.pause()
    assert [(type(event).__name__, event.index) for event in app.told] == [  # type: ignore[attr-defined]
        ("RowHighlighted", 1),
        ("RowHighlighted", 2),
        ("RowSelected", 2),
    ]


async def test_a_click_goes_to_a_row_and_a_second_click_chooses_it() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_source(5, app.fetch)
        await pilot.pause()
        await pilot.click(VirtualTable, offset=(3, 4))
        await pilot.click(VirtualTable, offset=(3, 4))
        await pilot.pause()
        assert app.table.cursor == 3
        assert isinstance(app.told[-1], VirtualTable.RowSelected)


@pytest.mark.parametrize("as_cell", [str, Text, Content])
async def test_hostile_text_shows_as_it_is_and_keeps_the_columns_aligned(
    as_cell: type[str] | type[Text] | type[Content],
) -> None:
    """Markup is shown, not obeyed; wide, combining and control characters move nothing."""
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_rows([("first", "0", "end"), *((as_cell(t), "7", "end") for t in HOSTILE)])
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        ends = {
            _cells_before(strip.text, "end")
            for strip in strips
            if strip.text.rstrip().endswith("end")
        }
        text = screen_text(app)
    assert len(ends) == 1
    assert text.count("end") == 1 + len(HOSTILE)
    assert "[/foo]" in text
    assert "[red]x" in text
    assert "a↵b→c" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def _cells_before(line: str, word: str) -> int:
    return cell_len(line[: line.rindex(word)])


async def test_an_empty_table_says_so() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("j", "enter", "G")
        assert "no [/rows] yet" in screen_text(app)
        assert app.told == []


async def test_cursor_stays_on_a_row_when_rows_go_away() -> None:
    app = TableApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.table.set_source(50, app.fetch)
        await pilot.press("G")
        app.table.set_source(3, app.fetch)
        await pilot.pause()
        assert app.table.cursor == 2
        assert "row 2" in screen_text(app)
        assert "row 3" not in screen_text(app)


async def test_columns_wider_than_the_terminal_can_be_reached_sideways() -> None:
    app = TableApp((TableColumn("a", 50), TableColumn("b", 50), TableColumn("far right", 12)))
    async with app.run_test(size=(40, 10)) as pilot:
        app.table.set_rows([("1", "2", "treasure")])
        await pilot.pause()
        assert "treasure" not in screen_text(app)
        for _ in range(12):
            await pilot.press("l")
        assert "treasure" in screen_text(app)
        assert "far right" in screen_text(app)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [1, 2, 7, 40])
def test_a_cell_has_exactly_its_width(text: str, width: int) -> None:
    assert cell_len(fit(one_line(text), width)) == width
    assert cell_len(fit(one_line(text), width, "right")) == width


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (999, "999"), (1_000, "1.0 k"), (999_949, "999.9 k"), (999_950, "1.0 M"),
     (2_500_000_000, "2.5 G")],
)  # fmt: skip
def test_counts_are_short(number: int, shown: str) -> None:
    assert short_count(number) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")],
)
def test_sizes_are_in_binary_units(number: int, shown: str) -> None:
    assert short_bytes(number) == shown
