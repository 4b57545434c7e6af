"""The keys of a screen as commands of the palette."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.actions import parse
from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import FuzzySearch

from geode_tui.screens.commands import Command
from geode_tui.widgets.fuzzy import matching


class ActionCommands(Provider):
    """Every action of the screen that is shown, with its key."""

    async def discover(self) -> Hits:
        """All of them."""
        for command in self._commands():
            yield DiscoveryHit(Content(command.name), command.run, command.name, command.help)

    async def search(self, query: str) -> Hits:
        """Those that match."""
        search = FuzzySearch()
        commands = list(self._commands())
        for index in matching(query, [command.name for command in commands]):
            command = commands[index]
            score, _ = search.match(query, command.name)
            shown = Content(command.name)
            yield Hit(max(score, 0.1), shown, command.run, command.name, command.help)

    def _commands(self) -> Iterator[Command]:
        for owner in type(self.screen).__mro__:
            for binding in owner.__dict__.get("BINDINGS", ()):
                if isinstance(binding, Binding) and _is_action(binding):
                    keys = self.app.get_key_display(binding)
                    run = partial(self._run, binding.action)
                    place = (binding.id or "").partition(".")[0]
                    yield Command(f"{place}: {binding.tooltip}", f"key {keys}", run)

    def _run(self, action: str) -> None:
        # Not by way of the key: an action of the palette does not ask where the focus is.
        _, name, parameters = parse(action)
        getattr(self.screen, f"action_{name}")(*parameters)


def _is_action(binding: Binding) -> bool:
    """Whether it is an action of one of our screens with words for it."""
    return bool(binding.tooltip and binding.id and not binding.action.startswith("app."))
