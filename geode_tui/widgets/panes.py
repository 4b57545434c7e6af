"""Panes side by side where there is room, one at a time with a bar of their titles where not."""

from __future__ import annotations

from rich.cells import cell_len
from textual import events
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from geode_tui.widgets.text import one_line

_BETWEEN = " │ "


class Pane(Vertical):
    """A titled part of a screen; `brief` is its title in the bar."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    Pane {
        border: round $foreground 25%;
        border-title-color: $text-muted;
        height: 1fr;
        &:focus-within { border: round $border; border-title-color: $foreground; }
    }
    Pane VerticalScroll { scrollbar-size-vertical: 1; }
    Pane VirtualTable { scrollbar-size-horizontal: 1; }
    Screen.-narrow Pane { border: none; display: none; }
    Screen.-narrow Pane:focus-within { border: none; }
    Screen.-narrow Pane.-shown { display: block; }
    """

    def __init__(self, title: str, *children: Widget, id: str, brief: str = "") -> None:
        super().__init__(*children, id=id)
        self.brief = brief or title
        self.border_title = Content(title)

    def set_title(self, title: str, brief: str = "") -> None:
        """Change the titles."""
        self.border_title = Content(one_line(title))
        if self.brief != (brief or title):
            self.brief = brief or title
            for panes in self.query_ancestor(Panes).query(PaneBar):
                panes.refresh(layout=False)

    def focus_inside(self) -> None:
        """Give the focus to the first part that takes it."""
        parts = [widget for widget in self.query("*") if widget.focusable]
        first = next((widget for widget in parts if widget.has_class("-first")), None)
        # At once: what is typed next must already find the focus there.
        self.screen.set_focus(first or next(iter(parts), None))


class PaneBar(Static):
    """The titles of the panes, on narrow screens only."""

    SCOPED_CSS = False
    DEFAULT_CSS = """
    PaneBar { height: 1; padding: 0 1; display: none; background: $panel; }
    Screen.-narrow PaneBar { display: block; }
    """

    def render(self) -> Content:
        """The titles, that of the shown pane lit."""
        panes = self.query_ancestor(Panes)
        parts: list[tuple[str, str]] = []
        for pane in panes.panes:
            style = "bold $text-primary" if pane is panes.shown else "$text-muted"
            parts += [(one_line(pane.brief), style), (_BETWEEN, "$text-disabled")]
        return Content.assemble(*parts[:-1])

    def on_click(self, event: events.Click) -> None:
        """Show the pane whose title was clicked."""
        panes, left = self.query_ancestor(Panes), 1
        for pane in panes.panes:
            left += cell_len(pane.brief) + len(_BETWEEN)
            if event.x < left:
                panes.go_to(pane)
                return


class Panes(Container):
    """All panes of a screen. The one with the focus is the one that a narrow screen shows."""

    DEFAULT_CSS = """
    Panes { height: 1fr; layout: vertical; }
    """

    def __init__(self, *children: Widget, id: str | None = None) -> None:
        super().__init__(PaneBar(), *children, id=id)
        self.shown: Pane | None = None

    @property
    def panes(self) -> list[Pane]:
        """The panes in reading order."""
        return list(self.query(Pane))

    def on_mount(self) -> None:
        """Show the first pane."""
        if self.shown is None:
            self.show_pane(self.panes[0])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the one to show."""
        for ancestor in event.widget.ancestors_with_self:
            if isinstance(ancestor, Pane):
                self.show_pane(ancestor)
                return

    def go_to(self, pane: Pane) -> None:
        """Show a pane and give it the focus."""
        self.show_pane(pane)
        pane.focus_inside()

    def go(self, steps: int) -> None:
        """Go to the next or an earlier pane."""
        panes = self.panes
        index = panes.index(self.shown) if self.shown in panes else 0
        self.go_to(panes[(index + steps) % len(panes)])

    def show_pane(self, pane: Pane) -> None:
        """Show a pane where only one is."""
        if pane is self.shown:
            return
        self.shown = pane
        # Where all panes are shown the classes only wait: to restyle for them takes its time.
        narrow = self.screen.has_class("-narrow")
        for other in self.panes:
            other.set_class(other is pane, "-shown", update=narrow)
            parent = other.parent
            if isinstance(parent, Container | Vertical | Horizontal):
                parent.set_class(pane in parent.children, "-holds-shown", update=narrow)
        self.query_one(PaneBar).refresh()
