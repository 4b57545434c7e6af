"""A table that draws only the lines in view, for any number of rows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from geode_tui.widgets.text import Align, fit, one_line

Cell = str | Text | Content
Row = Sequence[Cell]
_GAP = 1
_SMALLEST = 8


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column: `width` in cells, or None to share what is left over with the others like it.

    A shared width never gets smaller than `least`.
    """

    title: str
    width: int | None = None
    align: Align = "left"
    least: int = _SMALLEST


class VirtualTable(ScrollView, can_focus=True):
    """Rows of one line each with a cursor; filtering and sorting are the owner's job.

    Cells are plain text (never markup), or Content or Text with styles. Rows come from a sequence
    (`set_rows`) or from a callback that gives the row of an index (`set_source`).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, id="table.up", tooltip="One row up"),
        Binding("down,j", "move(1)", "Down", show=False, id="table.down", tooltip="One row down"),
        Binding("g,home", "move_to(0)", "First", show=False, id="table.first", tooltip="First row"),
        Binding("G,end", "move_to(-1)", "Last", show=False, id="table.last", tooltip="Last row"),
        Binding(
            "pageup,ctrl+b",
            "page(-1)",
            "Page up",
            show=False,
            id="table.pageup",
            tooltip="One page up",
        ),
        Binding(
            "pagedown,ctrl+f",
            "page(1)",
            "Page down",
            show=False,
            id="table.pagedown",
            tooltip="One page down",
        ),
        Binding("left,h", "aside(-8)", "Left", show=False, id="table.left", tooltip="Scroll left"),
        Binding(
            "right,l", "aside(8)", "Right", show=False, id="table.right", tooltip="Scroll right"
        ),
        Binding("enter", "select", "Open", show=False, id="table.select", tooltip="Open the row"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "virtual-table--header",
        "virtual-table--cursor",
        "virtual-table--empty",
    }
    DEFAULT_CSS = """
    VirtualTable {
        height: 1fr;
        background: $surface;
        color: $foreground;
        scrollbar-size: 1 1;
        scrollbar-gutter: stable;
        & > .virtual-table--header { color: $text-muted; text-style: bold; background: $panel; }
        & > .virtual-table--empty { color: $text-muted; }
        & > .virtual-table--cursor {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
        }
        &:focus > .virtual-table--cursor {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
        }
    }
    """

    cursor: reactive[int] = reactive(0, init=False)
    """Index of the row under the cursor, 0 while there is no row."""

    @dataclass
    class RowHighlighted(Message):
        """The cursor came to the row `index`."""

        table: VirtualTable
        index: int

        @property
        def control(self) -> VirtualTable:
            return self.table

    @dataclass
    class RowSelected(Message):
        """Enter or a click on the row under the cursor, `index`."""

        table: VirtualTable
        index: int

        @property
        def control(self) -> VirtualTable:
            return self.table

    def __init__(
        self,
        columns: Sequence[TableColumn] = (),
        rows: Sequence[Row] = (),
        *,
        empty: str = "nothing here",
        header: bool = True,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._count = len(rows)
        self._fetch: Callable[[int], Row] = rows.__getitem__
        self._widths: tuple[int, ...] = ()
        self._empty = empty
        self._header = 1 if header else 0

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """The columns."""
        return self._columns

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return self._count

    def row(self, index: int) -> Row:
        """The cells of a row."""
        return self._fetch(index)

    def row_text(self, index: int) -> str:
        """A row as plain text, its cells separated by tabs."""
        return "\t".join(_plain(cell) for cell in self.row(index))

    def set_columns(self, columns: Sequence[TableColumn]) -> None:
        """Show other columns; set the rows that fit them next."""
        self._columns = tuple(columns)
        self._count, self._fetch = 0, ().__getitem__
        self.scroll_to(x=0, animate=False)
        self._measure()

    def set_rows(self, rows: Sequence[Row], *, keep_cursor: bool = True) -> None:
        """Show these rows; the cursor stays at its index unless it is past the end."""
        self.set_source(len(rows), rows.__getitem__, keep_cursor=keep_cursor)

    def set_source(
        self, count: int, fetch: Callable[[int], Row], *, keep_cursor: bool = True
    ) -> None:
        """Show `count` rows, each fetched when it comes into view."""
        self._count, self._fetch = count, fetch
        self._measure()
        if not keep_cursor:
            self.scroll_to(y=0, animate=False, force=True)
        self.cursor = self._clamped(self.cursor if keep_cursor else 0)
        self.refresh()

    def set_empty(self, text: str) -> None:
        """The text shown while there is no row; its lines are wrapped."""
        self._empty = text
        self.refresh()

    def refresh_row(self, index: int) -> None:
        """Draw one row again."""
        self.refresh_line(index + self._header)

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor on a row."""
        return self._clamped(cursor)

    def watch_cursor(self, old: int, new: int) -> None:
        """Show the cursor where it is now, and tell."""
        self.refresh_row(old)
        self.refresh_row(new)
        self._show_cursor()
        if self._count:
            self.post_message(self.RowHighlighted(self, new))

    def action_move(self, rows: int) -> None:
        """Move the cursor by `rows`."""
        self.cursor += rows

    def action_move_to(self, index: int) -> None:
        """Move the cursor to a row, -1 for the last."""
        self.cursor = index if index >= 0 else self._count + index

    def action_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        self.cursor += pages * max(1, self._lines_in_view - 1)

    def action_aside(self, cells: int) -> None:
        """Scroll sideways by cells."""
        self.scroll_to(x=self.scroll_offset.x + cells, animate=False)

    def action_select(self) -> None:
        """Tell that the row under the cursor is chosen."""
        if self._count:
            self.post_message(self.RowSelected(self, self.cursor))

    def on_resize(self) -> None:
        """Give the columns their widths anew."""
        self._measure()
        self._show_cursor()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the clicked row; a click on it chooses it."""
        line = event.y + self.scroll_offset.y - self._header
        if event.y < self._header or not 0 <= line < self._count:
            return
        if line == self.cursor:
            self.action_select()
        self.cursor = line

    def notify_style_update(self) -> None:
        """Draw again in another theme's colours."""
        super().notify_style_update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line: the header, a row, or nothing."""
        width = self.size.width
        if y < self._header:
            strip = self._header_strip()
        else:
            strip = self._row_strip(y - self._header + self.scroll_offset.y)
        style = strip.style or self.visual_style.rich_style
        x = self.scroll_offset.x
        return strip.strip.crop_extend(x, x + width, style)

    def _header_strip(self) -> _Line:
        style = self.get_visual_style("virtual-table--header")
        titles = [
            fit(one_line(column.title), width, column.align)
            for column, width in zip(self._columns, self._widths, strict=False)
        ]
        rich_style = style.rich_style
        return _Line(Strip([Segment((" " * _GAP).join(titles), rich_style)]), rich_style)

    def _row_strip(self, index: int) -> _Line:
        if not self._count:
            lines = self._empty_lines()
            muted = self.get_visual_style("virtual-table--empty").rich_style
            text = lines[index] if index < len(lines) else ""
            return _Line(Strip([Segment(text, muted)]), muted)
        if not 0 <= index < self._count:
            return _Line(Strip([]), None)
        cursor = index == self.cursor
        style = self.get_visual_style("virtual-table--cursor") if cursor else self.visual_style
        gap = Segment(" " * _GAP, style.rich_style)
        segments: list[Segment] = []
        cells = self._fetch(index)
        for cell, column, width in zip(cells, self._columns, self._widths, strict=False):
            segments.extend(self._cell(cell, column, width, style, cursor))
            segments.append(gap)
        return _Line(Strip(segments), style.rich_style)

    def _empty_lines(self) -> list[str]:
        width = max(1, self.size.width)
        lines = map(one_line, self._empty.split("\n"))
        return [part for line in lines for part in textwrap.wrap(line, width) or [""]]

    def _cell(
        self, cell: Cell, column: TableColumn, width: int, style: Style, cursor: bool
    ) -> list[Segment]:
        # Under the cursor all text has the cursor's colour: a status colour may not be legible.
        if isinstance(cell, str) or cursor:
            return [Segment(fit(one_line(_plain(cell)), width, column.align), style.rich_style)]
        content = Content.from_rich_text(cell) if isinstance(cell, Text) else cell
        parse = self.app.stylesheet.parse_style
        segments = [
            Segment(one_line(text), part.rich_style)
            for text, part in content.render(style, end="", parse_style=parse)
        ]
        return _fitted(segments, width, column.align, style)

    @property
    def _lines_in_view(self) -> int:
        return max(1, self.scrollable_content_region.height - self._header)

    def _clamped(self, index: int) -> int:
        return max(0, min(index, self._count - 1))

    def _measure(self) -> None:
        self._widths = _shared(self._columns, self.scrollable_content_region.width)
        width = sum(self._widths) + _GAP * max(0, len(self._widths) - 1)
        self.virtual_size = Size(width, self._count + self._header)
        self.refresh()

    def _show_cursor(self) -> None:
        top, height = self.scroll_offset.y, self._lines_in_view
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True)

    def cursor_region(self) -> Region:
        """Where the cursor's row is inside the widget."""
        y = self.cursor + self._header - self.scroll_offset.y
        return Region(0, y, self.size.width, 1)


@dataclass(frozen=True, slots=True)
class _Line:
    strip: Strip
    style: RichStyle | None


def _plain(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.plain


def _fitted(segments: list[Segment], width: int, align: Align, style: Style) -> list[Segment]:
    length = sum(segment.cell_length for segment in segments)
    if length > width:
        cut = list(Segment.adjust_line_length(segments, max(0, width - 1)))
        return [*cut, Segment("…", style.rich_style)] if width else []
    padding = Segment(" " * (width - length), style.rich_style)
    return [padding, *segments] if align == "right" else [*segments, padding]


def _shared(columns: Sequence[TableColumn], total: int) -> tuple[int, ...]:
    fixed = sum(column.width or 0 for column in columns) + _GAP * max(0, len(columns) - 1)
    flexible = [column for column in columns if column.width is None]
    left = total - fixed
    widths: list[int] = []
    for column in columns:
        if column.width is not None:
            widths.append(column.width)
            continue
        share = left // max(1, len(flexible))
        flexible.pop()
        width = max(column.least, share)
        left -= width
        widths.append(width)
    return tuple(widths)
