"""What the command palette offers: screens, tables, labels, themes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import FuzzySearch
from textual.types import IgnoreReturnCallbackType

from geode_tui.mapping.model import NodeRule
from geode_tui.screens.base import WorkspaceApp
from geode_tui.widgets.fuzzy import matching
from geode_tui.widgets.phase_strip import MODES
from geode_tui.widgets.text import one_line

_MOST_HITS = 100
_MODE_HELP = {
    "connect": "saved connections, source and target",
    "schema": "what is in the source",
    "mapping": "what becomes of it",
    "run": "the migration as it goes",
    "report": "the proof that it arrived",
    "history": "every run: reopen, resume, roll back, compare",
    "sync": "changes of the source, captured and applied",
    "cutover": "from the source to the graph: gates, freeze, flip, and the way back",
}


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, what it does (never foreign text: it is read as markup), the doing."""

    name: str
    help: str
    run: IgnoreReturnCallbackType


class GeodeCommands(Provider):
    """Screens and themes, and by name every table and label."""

    @property
    def _app(self) -> WorkspaceApp:
        app: Any = self.app
        assert isinstance(app, WorkspaceApp)
        return app

    async def discover(self) -> Hits:
        """What is offered before anything is typed."""
        for command in self._general():
            yield DiscoveryHit(Content(command.name), command.run, command.name, command.help)

    async def search(self, query: str) -> Hits:
        """What matches, tables and labels too."""
        search = FuzzySearch()
        commands = [*self._general(), *self._names()]
        for index in matching(query, [command.name for command in commands])[:_MOST_HITS]:
            command = commands[index]
            score, offsets = search.match(query, command.name)
            shown = Content(command.name)  # not the matcher's highlight: that reads markup
            for offset in offsets:
                shown = shown.stylize(self.match_style or "bold", offset, offset + 1)
            yield Hit(max(score, 0.1), shown, command.run, command.name, command.help)

    def _general(self) -> Iterator[Command]:
        app = self._app
        for mode in MODES:
            yield Command(f"screen: {mode}", _MODE_HELP[mode], partial(app.show_in, mode))
        yield Command("keys and help", "explain what has the focus", app.action_help)
        for theme in sorted(app.available_themes):
            run = partial(setattr, app, "theme", theme)
            yield Command(f"theme: {theme}", "colours", run)
        yield Command("quit", "leave geode-tui", app.action_quit)

    def _names(self) -> Iterator[Command]:
        workspace, show = self._app.workspace, self._app.show_in
        for table in workspace.catalog.tables if workspace.catalog else ():
            name = str(table.name)
            yield Command(f"table: {one_line(name)}", "a table", partial(show, "schema", name))
        mapping = workspace.history.current if workspace.history else None
        for rule in mapping.rules if mapping else ():
            noun = "label" if isinstance(rule, NodeRule) else "relationship"
            run = partial(show, "mapping", rule.id)
            yield Command(f"{noun}: {one_line(rule.id)}", f"a {noun}", run)
