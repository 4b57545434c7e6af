"""The diagram of a table's neighbourhood with the chosen foreign key in words below."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from geode_tui.catalog import Catalog, Table
from geode_tui.widgets.er_diagram import ErDiagram, link_text
from geode_tui.widgets.er_model import Incoming, Link, More
from geode_tui.widgets.text import one_line


class Neighbourhood(Vertical):
    """A diagram and the words to it."""

    DEFAULT_CSS = """
    Neighbourhood { height: 1fr; }
    Neighbourhood .link { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    """

    def compose(self) -> ComposeResult:
        """The diagram, and a line or two below."""
        yield ErDiagram()
        yield Static(classes="link")

    @property
    def diagram(self) -> ErDiagram:
        """The diagram."""
        return self.query_one(ErDiagram)

    def show(self, catalog: Catalog, incoming: Incoming, table: Table) -> None:
        """Show a table's neighbourhood."""
        self.diagram.show(catalog, incoming, table)

    @on(ErDiagram.Highlighted)
    def _highlighted(self) -> None:
        self.query_one(".link", Static).update(_words(self.diagram.stop))


def _words(stop: Link | More | None) -> Content:
    if stop is None:
        return Content("no foreign key leads from here or to here")
    if isinstance(stop, More):
        return Content(f"{stop.count:,} more tables: enter shows them")
    return Content(one_line(link_text(stop)))
