"""The neighbourhood of a table as a diagram that one walks through by its foreign keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.widgets.er_drawing import Piece, draw, text
from geode_tui.widgets.er_layout import MOST_NEIGHBOURS, layout
from geode_tui.widgets.er_model import Diagram, Incoming, Link, More, Side, ends_of

_MORE_STEP = 50
_LEAST_WIDTH = 30
Stop = Link | More
_ROLES = ("border", "middle", "title", "name", "type", "mark", "note", "line", "more")


def _quiet(key: str, action: str, name: str, tooltip: str) -> Binding:
    """A key that the footer does not show."""
    return Binding(
        key, action, name.capitalize(), show=False, id=f"diagram.{name}", tooltip=tooltip
    )


class ErDiagram(ScrollView, can_focus=True):
    """A table with its columns, and the tables that its foreign keys join it with.

    The cursor is on a foreign key: its line and its rows are lit.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        _quiet("up,k", "step(-1)", "up", "To the foreign key above"),
        _quiet("down,j", "step(1)", "down", "To the foreign key below"),
        _quiet("left,h", "turn('left')", "left", "To the tables that reference this one"),
        _quiet("right,l", "turn('right')", "right", "To the tables that this one references"),
        _quiet("g,home", "step_to(0)", "first", "To the first foreign key"),
        _quiet("G,end", "step_to(-1)", "last", "To the last foreign key"),
        _quiet("pageup,ctrl+b", "scroll_lines(-1)", "pageup", "One page up"),
        _quiet("pagedown,ctrl+f", "scroll_lines(1)", "pagedown", "One page down"),
        Binding(
            "enter",
            "walk",
            "walk",
            key_display="⏎",
            id="diagram.walk",
            tooltip="Walk along the foreign key to the other table",
        ),
        Binding(
            "space",
            "columns",
            "columns",
            key_display="space",
            id="diagram.columns",
            tooltip="All columns of all tables, or only those of the keys",
        ),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"er-diagram--{role}" for role in _ROLES),
        "er-diagram--chosen",
        "er-diagram--cursor",
    }
    DEFAULT_CSS = """
    ErDiagram {
        height: 1fr;
        background: $surface;
        color: $foreground;
        scrollbar-size: 1 1;
        & > .er-diagram--border { color: $foreground 50%; }
        & > .er-diagram--middle { color: $primary; }
        & > .er-diagram--title { color: $foreground; text-style: bold; }
        & > .er-diagram--name { color: $foreground; }
        & > .er-diagram--type { color: $text-muted; }
        & > .er-diagram--mark { color: $text-warning; }
        & > .er-diagram--note { color: $text-muted; }
        & > .er-diagram--line { color: $foreground 50%; }
        & > .er-diagram--more { color: $text-accent; }
        & > .er-diagram--chosen { color: $text-accent; text-style: bold; }
        & > .er-diagram--cursor {
            color: $block-cursor-blurred-foreground;
            background: $block-cursor-blurred-background;
        }
        &:focus > .er-diagram--cursor {
            color: $block-cursor-foreground;
            background: $block-cursor-background;
        }
    }
    """

    cursor: reactive[int] = reactive(0, init=False)
    """Which of the foreign keys (or `+31 more`) is chosen, 0 while there is none."""

    @dataclass
    class Highlighted(Message):
        """Another foreign key is chosen, or none."""

        diagram: ErDiagram

        @property
        def control(self) -> ErDiagram:
            return self.diagram

    @dataclass
    class Walked(Message):
        """Enter on a foreign key that leads to the table `name`."""

        diagram: ErDiagram
        name: TableName

        @property
        def control(self) -> ErDiagram:
            return self.diagram

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._catalog = Catalog()
        self._incoming: Incoming = {}
        self._table: Table | None = None
        self._diagram: Diagram | None = None
        self._stops: list[Stop] = []
        self._lines: list[list[Piece]] = []
        self._most = MOST_NEIGHBOURS
        self._whole = False
        self._shown_width = 0

    @property
    def stop(self) -> Stop | None:
        """The foreign key under the cursor, or what stands for more neighbours."""
        return self._stops[self.cursor] if self._stops else None

    @property
    def link(self) -> Link | None:
        """The foreign key under the cursor."""
        return self.stop if isinstance(self.stop, Link) else None

    @property
    def text(self) -> str:
        """The whole diagram as text."""
        return text(self._diagram) if self._diagram else ""

    def show(self, catalog: Catalog, incoming: Incoming, table: Table) -> None:
        """Show a table's neighbourhood; a foreign key that was walked along stays chosen."""
        self._catalog, self._incoming = catalog, incoming
        if self._table is None or self._table.name != table.name:
            self._most = MOST_NEIGHBOURS
        self._table = table
        self._arrange()
        self.scroll_to(0, 0, animate=False, force=True)
        self._show_cursor()

    def on_resize(self) -> None:
        """Arrange anew in the new width."""
        if self.size.width != self._shown_width:
            self._arrange()
        self._show_cursor()

    def validate_cursor(self, cursor: int) -> int:
        """Keep the cursor on a foreign key."""
        return max(0, min(cursor, len(self._stops) - 1))

    def watch_cursor(self) -> None:
        """Light another foreign key."""
        self._draw()
        self._show_cursor()

    def action_step(self, steps: int) -> None:
        """Go to a foreign key further down or up at the same side, then to the other side's."""
        self.cursor += steps

    def action_step_to(self, index: int) -> None:
        """Go to a foreign key by its number, -1 for the last."""
        self.cursor = index if index >= 0 else len(self._stops) + index

    def action_turn(self, side: Side) -> None:
        """Go to the foreign key at the other side that is nearest."""
        stop = self.stop
        if stop is None or stop.side == side:
            return
        others = [index for index, other in enumerate(self._stops) if other.side == side]
        if others:
            self.cursor = min(
                others, key=lambda index: abs(_line(self._stops[index]) - _line(stop))
            )

    def action_scroll_lines(self, pages: int) -> None:
        """Scroll by pages; the cursor stays."""
        self.scroll_to(y=self.scroll_offset.y + pages * (self.size.height - 1), animate=False)

    def action_walk(self) -> None:
        """Go along the foreign key, or show more neighbours."""
        if isinstance(self.stop, More):
            self._most += _MORE_STEP
            self._arrange()
            self._show_cursor()
        elif self.link:
            self.post_message(self.Walked(self, self.link.neighbour))

    def action_columns(self) -> None:
        """All columns, or the keys' only."""
        self._whole = not self._whole
        self._arrange()
        self._show_cursor()

    def on_click(self, event: events.Click) -> None:
        """Choose the foreign key of what was clicked; a click on the chosen one walks."""
        x, y = event.x + self.scroll_offset.x, event.y + self.scroll_offset.y
        for index, stop in enumerate(self._stops):
            if self._hit(stop, x, y):
                if index == self.cursor:
                    self.action_walk()
                self.cursor = index
                return

    def notify_style_update(self) -> None:
        """Draw again in another theme's colours."""
        super().notify_style_update()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the diagram."""
        base = self.visual_style.rich_style
        x, width = self.scroll_offset.x, self.size.width
        row = y + self.scroll_offset.y
        segments: list[Segment] = []
        end = 0
        for piece in self._lines[row] if row < len(self._lines) else ():
            if piece.x > end:
                segments.append(Segment(" " * (piece.x - end), base))
            segments.append(Segment(piece.text, self._style(piece, row)))
            end = piece.x + segments[-1].cell_length
        return Strip(segments).crop_extend(x, x + width, base)

    def _style(self, piece: Piece, row: int) -> Style:
        stop, role = self.stop, f"er-diagram--{piece.role}"
        if isinstance(stop, Link):
            if piece.role == "line" and (piece.x, row) in stop.cells:
                role = "er-diagram--chosen"
            elif any(piece.table == name and piece.column in some for name, some in ends_of(stop)):
                role = "er-diagram--cursor" if piece.column else role
        elif isinstance(stop, More) and piece.role == "more" and row == stop.y:
            role = "er-diagram--cursor" if piece.x == stop.x else role
        return self.get_visual_style(role).rich_style

    def _arrange(self) -> None:
        """Place the boxes in the width that there is; the chosen foreign key stays chosen."""
        if self._table is None or not self.size.width:
            return
        chosen = _identity(self.stop)
        self._shown_width = self.size.width
        width = max(_LEAST_WIDTH, self.scrollable_content_region.width - 1)
        self._diagram = layout(
            self._catalog,
            self._table,
            width,
            incoming=self._incoming,
            most=self._most,
            whole=self._whole,
        )
        self._stops = sorted((*self._diagram.links, *self._diagram.more), key=_order)
        self.virtual_size = Size(self._diagram.width, self._diagram.height)
        kept = [index for index, stop in enumerate(self._stops) if _identity(stop) == chosen]
        self.set_reactive(ErDiagram.cursor, kept[0] if kept else 0)
        self._draw()

    def _draw(self) -> None:
        if self._diagram:
            self._lines = draw(self._diagram, self.link)
            self.post_message(self.Highlighted(self))
            self.refresh()

    def _show_cursor(self) -> None:
        """Scroll to the rows at both ends, the neighbour's in any case."""
        stop, diagram = self.stop, self._diagram
        if diagram is None or stop is None:
            return
        if isinstance(stop, More):
            region = Region(stop.x, stop.y, len(stop.text), 1)
        else:
            box = diagram.box(stop.neighbour)
            region = Region(box.x, box.y, box.width, box.height)
        self.scroll_to_region(region, animate=False, force=True)

    def _hit(self, stop: Stop, x: int, y: int) -> bool:
        if isinstance(stop, More):
            return y == stop.y and stop.x <= x < stop.x + len(stop.text)
        if (x, y) in stop.cells or self._diagram is None:
            return (x, y) in stop.cells
        box = self._diagram.box(stop.neighbour)
        return box.x <= x < box.x + box.width and box.y <= y < box.y + box.height


def _identity(stop: Stop | None) -> tuple[object, ...]:
    return (stop.owner, stop.key.name) if isinstance(stop, Link) else ()


def _line(stop: Stop) -> int:
    """The line of a stop at the neighbour's side."""
    if isinstance(stop, More):
        return stop.y
    cells = stop.ends if stop.neighbour == stop.key.to_table else stop.starts
    return min(y for _, y in cells)


def _order(stop: Stop) -> tuple[bool, int]:
    return stop.side == "right", _line(stop)


def link_text(link: Link) -> str:
    """A foreign key in words: from where to where, how many, what stands in the way."""
    key = link.key
    facts = [
        f"{link.owner} ({', '.join(key.columns)}) → {key.to_table} ({', '.join(key.to_columns)})",
        "one to one" if link.one else "many to one",
    ]
    if key.on_delete != "no action":
        facts.append(f"on delete {key.on_delete}")
    if key.deferrable:
        facts.append("deferrable")
    if not key.validated:
        facts.append("! not validated")
    if key.obstacle:
        facts.append(f"! {key.obstacle}")
    return " · ".join([*facts, key.name])
