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
    """Every action of the screen that is shown, with its key; those of its lists among them."""

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
        seen = set()
        for binding in self._bindings():
            action = binding.action.removeprefix("screen.")
            if action not in seen:
                seen.add(action)
                keys = self.app.get_key_display(binding)
                place = (binding.id or "").partition(".")[0]
                name = f"{place}: {binding.tooltip}"
                yield Command(name, f"key {keys}", partial(self._run, action))

    def _bindings(self) -> Iterator[Binding]:
        """The keys of the screen, and those of its widgets that act on the screen."""
        own = type(self.screen).__mro__
        parts = dict.fromkeys(type(widget) for widget in self.screen.query("*"))
        for owner in (*own, *parts):
            for binding in owner.__dict__.get("BINDINGS", ()):
                if not (isinstance(binding, Binding) and _is_action(binding)):
                    continue
                if owner in own or binding.action.startswith("screen."):
                    yield binding

    def _run(self, action: str) -> None:
        # Not by way of the key: an action of the palette does not ask where the focus is.
        _, name, parameters = parse(action)
        getattr(self.screen, f"action_{name}")(*parameters)


def _is_action(binding: Binding) -> bool:
    """Whether it is an action of one of our screens with words for it."""
    return bool(binding.tooltip and binding.id and not binding.action.startswith("app."))
