"""The terminal interface: eight screens on one workspace."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import HelpPanel

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.base import GeodeScreen, WorkspaceApp
from geode_tui.screens.commands import GeodeCommands
from geode_tui.screens.dialogs import ChoiceDialog, ErrorDialog
from geode_tui.screens.settings import (
    DEFAULT_THEME,
    Settings,
    keymap_clashes,
    last_theme,
    load_settings,
    remember_theme,
)
from geode_tui.source.introspect import collector_at_rest

_SCREENS = {
    "connect": "ConnectScreen",
    "schema": "SchemaScreen",
    "mapping": "MappingScreen",
    "run": "RunScreen",
    "report": "ReportScreen",
    "history": "HistoryScreen",
    "sync": "SyncScreen",
    "cutover": "CutoverScreen",
}


def _screen_class(mode: str) -> type[Screen[None]]:
    module = import_module(f"geode_tui.screens.{mode}")
    screen_class: type[Screen[None]] = getattr(module, _SCREENS[mode])
    return screen_class


def _styles_of(mode: str) -> Path | None:
    """The file with the styles of a screen."""
    name = _screen_class(mode).CSS_PATH
    return Path(__file__).with_name("screens") / name if isinstance(name, str) else None


def _lazily(mode: str) -> Callable[[], Screen[None]]:
    """A screen that is imported when it is first shown, if it was not before."""

    def make() -> Screen[None]:
        screen = _screen_class(mode)()
        # It will be mounted with the styles of now. Textual takes it for one that missed a change
        # of the theme, and would read all styles anew, twice, on the way to it.
        screen._css_update_count = screen.app._css_update_count
        return screen

    return make


def _mode_binding(number: int, mode: str) -> Binding:
    return Binding(
        str(number),
        f"mode('{mode}')",
        mode,
        show=False,
        id=f"mode.{mode}",
        tooltip=f"Go to the screen {mode}",
    )


def _everywhere() -> list[Binding]:
    """The keys that hold on every screen."""
    return [b for b in (*GeodeApp.BINDINGS, *GeodeScreen.BINDINGS) if isinstance(b, Binding)]


_MIGRATION_GOES = (
    "It cannot go on without geode-tui. Stopped safely, it ends after the rows in flight and can"
    " be resumed later."
)
_SYNC_GOES = (
    "It cannot go on without geode-tui. Stopped safely, nothing is lost: the source keeps its"
    " changes until it is begun again."
)
_CUTOVER_GOES = (
    "It goes on without geode-tui, and a freeze ends by itself. Answer it from any terminal:"
    " geode-tui cutover RUN --abort, --keep or --fall-back."
)
_LOOK_SECONDS = 2.0


class GeodeApp(WorkspaceApp):
    """geode-tui in a terminal."""

    TITLE = "geode-tui"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        mode: _lazily(mode) for mode in _SCREENS
    }
    COMMANDS = {GeodeCommands}  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        *(_mode_binding(number, mode) for number, mode in enumerate(_SCREENS, 1)),
        Binding(
            "question_mark,f1",
            "help",
            "help",
            key_display="?",
            id="app.help",
            tooltip="Explain what has the focus, with all its keys",
        ),
        Binding("q", "quit", "quit", id="app.quit", tooltip="Leave geode-tui"),
        Binding(
            "ctrl+q",
            "quit",
            "quit",
            show=False,
            priority=True,
            id="app.quit-anywhere",
            tooltip="Leave geode-tui, wherever the focus is",
        ),
    ]
    ENABLE_COMMAND_PALETTE = True
    NOTIFICATION_TIMEOUT = 4

    def __init__(
        self, workspace: Workspace, *, mode: str = "connect", connect: bool = False
    ) -> None:
        plain = "NO_COLOR" in os.environ
        super().__init__()
        self.workspace = workspace
        self._first_mode = mode
        self._connect_first = connect
        self._plain = plain
        self._settings_error: GeodeTuiError | None = None
        try:
            self._settings = load_settings()
        except GeodeTuiError as error:
            self._settings, self._settings_error = Settings(), error

    def on_mount(self) -> None:
        """Set colours and keys as settled, then show the first screen."""
        # A collection stops the screen: it leaves out what is imported, and comes less often.
        gc.freeze()
        gc.set_threshold(5_000, 5, 20)
        chosen = last_theme() or self._settings.theme
        known = chosen in self.available_themes and not self._plain
        self.theme = chosen if known else DEFAULT_THEME
        self.theme_changed_signal.subscribe(self, lambda theme: self._theme_chosen(theme.name))
        self._clashes: set[frozenset[str]] = set()
        self.set_keymap(dict(self._settings.keymap))
        # Textual tells only of clashes between two keys that were both given anew.
        for names in keymap_clashes(self._settings.keymap, _everywhere()):
            self._tell_clash(names)
        self.switch_mode("connect" if self._connect_first else self._first_mode)
        self.call_after_refresh(self._prepare_screens)
        self.set_interval(_LOOK_SECONDS, self._look_at_stream)
        if self._connect_first:
            self._connect_to_given()
        if self._settings_error:
            self.push_screen(ErrorDialog(self._settings_error))

    @work(group="preparation")
    async def _prepare_screens(self) -> None:
        """Import the other screens and read their styles, so that going there does not wait."""
        async with collector_at_rest():
            paths = [await asyncio.to_thread(_styles_of, mode) for mode in _SCREENS]
        for path in filter(None, paths):
            if not self.stylesheet.has_source(str(path)):
                self.stylesheet.read(path)
        self.stylesheet.parse()

    @work(group="stream", exclusive=True, exit_on_error=False)
    async def _look_at_stream(self) -> None:
        """See how changes follow, so that an alarm is seen on every screen."""
        if self.current_mode not in ("sync", "cutover"):  # those look by themselves
            with contextlib.suppress(GeodeTuiError):
                await asyncio.to_thread(self.workspace.replication.look)

    @work(group="navigation", exclusive=True)
    async def _connect_to_given(self) -> None:
        """Connect to the source that the program was started with, then show the first screen."""
        workspace = self.workspace
        try:
            await workspace.connect(workspace.source_dsn, schemas=workspace.schemas)
        except GeodeTuiError as error:
            self.push_screen(ErrorDialog(error))
            return
        await self._to_mode(self._first_mode)

    def get_css_variables(self) -> dict[str, str]:
        """The colours of the theme, where muted text is muted also within a line.

        Textual's own is `auto`: right for a widget, full white or black for a part of its text.
        """
        colours = super().get_css_variables()
        for name in ("muted", "disabled"):
            shade = colours.get(f"foreground-{name}", "")
            if colours.get(f"text-{name}", "").startswith("auto") and shade:
                colours[f"text-{name}"] = shade
        return colours

    async def on_unmount(self) -> None:
        """Let the source go."""
        await self.workspace.close()

    def _theme_chosen(self, name: str) -> None:
        if not self._plain:
            remember_theme(name)

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Tell which keys of the settings are taken twice."""
        self._tell_clash(frozenset(binding.id or binding.action for binding in clashed_bindings))

    def _tell_clash(self, names: frozenset[str]) -> None:
        if names not in self._clashes:
            self._clashes.add(names)
            text = f"these have the same key: {', '.join(sorted(names))}"
            self.notify(text, title="keymap", severity="warning", markup=False)

    def show_in(self, mode: str, item: str = "") -> None:
        """Go to a screen, and there to a table or a rule by its name."""
        self._show(mode, item)

    @work(group="navigation", exclusive=True)
    async def _show(self, mode: str, item: str) -> None:
        await self._to_mode(mode)
        if item and isinstance(self.screen, GeodeScreen):
            # Behind the message that makes a new screen show its workspace.
            self.screen.call_later(self.screen.show_item, item)

    async def action_mode(self, mode: str) -> None:
        """Go to a screen, unless a dialog waits for its answer."""
        await self._to_mode(mode)

    async def _to_mode(self, mode: str) -> None:
        if not isinstance(self.screen, GeodeScreen | CommandPalette):
            return
        if mode == self.current_mode:  # from what was opened over it, back to the screen itself
            while len(self.screen_stack) > 1 and isinstance(self.screen, GeodeScreen):
                await self.pop_screen()
        await self.switch_mode(mode)

    def action_help(self) -> None:
        """Show the help panel, or hide it."""
        panels = self.screen.query(HelpPanel)
        if panels:
            panels.remove()
        else:
            self.screen.mount(HelpPanel())

    async def action_quit(self) -> None:
        """Leave, after asking what a run or an unsaved mapping needs."""
        self._quit()

    @work(group="quit", exclusive=True)
    async def _quit(self) -> None:
        if await self._run_stopped() and await self._mapping_settled():
            self.exit()

    async def _run_stopped(self) -> bool:
        space = self.workspace
        if space.cutting and not await self._cutover_left():
            return False
        for runner, title, message in (
            (space.runner, "a migration is running", _MIGRATION_GOES),
            (space.synchronizer, "synchronization is running", _SYNC_GOES),
        ):
            if runner is None or runner.finished:
                continue
            choices = [("stay", "stay"), ("stop", "stop safely and quit")]
            answer = await self.push_screen_wait(ChoiceDialog(title, choices, message=message))
            if answer != "stop":
                return False
            runner.stop()
            self.notify("stopping after the rows in flight …", timeout=30, markup=False)
            await asyncio.to_thread(runner.join)
        return True

    async def _cutover_left(self) -> bool:
        """Whether it is left to go on without us."""
        title = f"a {self.workspace.cutting} is under way"
        choices = [("stay", "stay"), ("leave", "quit and let it go on")]
        dialog = ChoiceDialog(title, choices, message=_CUTOVER_GOES)
        return await self.push_screen_wait(dialog) == "leave"

    async def _mapping_settled(self) -> bool:
        if self.workspace.history is None or self.workspace.saved:
            return True
        answer = await self.push_screen_wait(
            ChoiceDialog(
                "the mapping is not saved",
                [
                    ("stay", "stay"),
                    ("save", "save and quit"),
                    ("drop", "quit without saving"),
                ],
            )
        )
        if answer == "save":
            try:
                await self.workspace.write_mapping()
            except GeodeTuiError as error:
                self.push_screen(ErrorDialog(error))
                return False
        return answer in ("save", "drop")


def run_app(workspace: Workspace, *, mode: str = "connect", mouse: bool = True) -> None:
    """Show the terminal interface until it is left; a source that is named is connected to."""
    app: App[None] = GeodeApp(workspace, mode=mode, connect=bool(workspace.source_dsn))
    app.run(mouse=mouse)
