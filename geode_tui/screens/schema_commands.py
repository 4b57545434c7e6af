"""What the command palette offers on the Schema screen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from geode_tui.screens.commands import Command
from geode_tui.widgets.table_detail import PAGES

_PAGE_HELP = {
    "diagram": "the table among those that its foreign keys join it with",
    "columns": "types, nulls, keys, defaults",
    "keys": "primary, unique and foreign keys, and checks",
    "indexes": "the indexes of the table",
    "details": "comment, owner, triggers, policies, partitions, definition",
    "profile": "nulls, distinct values, fan-out",
    "rows": "a sample of the rows",
}
_ACTIONS = (
    ("filter the tables", "by name or by a column's name", "filter"),
    ("read the sample of rows", "again if it was read", "read_rows"),
    ("count for the profile", "fan-out, orphans, longest values of the table", "count"),
    ("read the catalog again", "tables that came or went", "reload"),
    ("go back", "to the table that a foreign key led away from", "back"),
    ("copy the diagram", "as text", "copy_diagram"),
)


class SchemaCommands(Provider):
    """The pages of the table, and what the keys of the screen do."""

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for command in self._commands():
            yield DiscoveryHit(Content(command.name), command.run, command.name, command.help)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for command in self._commands():
            score = matcher.match(command.name)
            if score > 0:
                shown = matcher.highlight(command.name)
                yield Hit(score, shown, command.run, command.name, command.help)

    def _commands(self) -> Iterator[Command]:
        screen: Any = self.screen
        for page in PAGES:
            yield Command(f"table: {page}", _PAGE_HELP[page], partial(screen.open_page, page))
        for name, words, action in _ACTIONS:
            run = partial(screen.run_action, action)
            yield Command(f"schema: {name}", words, run)
