"""What all screens share: the two lines on top, the keys, errors, copying."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import Resize, ScreenResume
from textual.getters import app as app_of
from textual.screen import Screen
from textual.widgets import Footer, Input, Static
from textual.worker import Worker, WorkerState

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import ErrorDialog
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.phase_strip import PhaseStrip
from geode_tui.widgets.status_line import StatusLine
from geode_tui.widgets.virtual_table import VirtualTable

FULL_WIDTH = 80
FULL_HEIGHT = 24


class WorkspaceApp(App[None]):
    """An app that works on one workspace."""

    workspace: Workspace

    def show_in(self, mode: str, item: str = "") -> None:
        """Go to a screen, and there to a table or a rule by its name."""
        raise NotImplementedError

    def action_help(self) -> None:
        """Explain what has the focus, or stop explaining."""
        raise NotImplementedError


class GeodeScreen(Screen[None]):
    """A screen with the status on top, a body, and the keys below.

    A subclass names its `MODE`, yields its body in `compose_body` and shows the workspace in
    `refresh_view`, which is called whenever the screen comes to the front.
    """

    MODE = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (FULL_HEIGHT, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash",
            "filter",
            "filter",
            key_display="/",
            id="screen.filter",
            tooltip="Show only what matches what you type",
        ),
        Binding(
            "y", "copy", "copy", show=False, id="screen.copy", tooltip="Copy what has the focus"
        ),
        Binding(
            "c",
            "copy_command",
            "command",
            show=False,
            id="screen.command",
            tooltip="Copy the command that does the same without this interface",
        ),
        Binding("escape", "back", "back", show=False, id="screen.back", tooltip="Go back"),
    ]

    app = app_of(WorkspaceApp)

    @property
    def workspace(self) -> Workspace:
        """What is worked on."""
        return self.app.workspace

    def compose(self) -> ComposeResult:
        """The frame around the body."""
        yield StatusLine()
        yield PhaseStrip(self.MODE)
        yield Static(id="small-notice")
        with Vertical(id="body"):
            yield from self.compose_body()
        yield Footer(compact=True)

    def compose_body(self) -> ComposeResult:
        """The widgets of the screen."""
        raise NotImplementedError

    def refresh_view(self) -> None:
        """Show the workspace as it is now."""

    def show_item(self, item: str) -> None:
        """Go to a table or a rule by its name, where the screen has such."""

    def copied(self) -> str:
        """The text that `y` copies: of what has the focus."""
        focused = self.focused
        if isinstance(focused, VirtualTable) and focused.row_count:
            return focused.row_text(focused.cursor)
        return ""

    def on_mount(self) -> None:
        """Keep the status lines true."""
        self.set_interval(1.0, self.refresh_status)

    @on(ScreenResume)
    def _resumed(self) -> None:
        self.refresh_status()
        self.refresh_view()

    @on(Resize)
    def _resized(self, event: Resize) -> None:
        width, height = event.size
        small = width < FULL_WIDTH or height < FULL_HEIGHT
        self.set_class(small, "-small")
        text = f"terminal is {width}x{height}; {FULL_WIDTH}x{FULL_HEIGHT} shows everything"
        self.query_one("#small-notice", Static).update(Content(text))

    def refresh_status(self) -> None:
        """Show source, target, run and phases as they are now."""
        if not self.is_current:
            return
        self.query_one(StatusLine).show(self.workspace)
        self.query_one(PhaseStrip).show(self.workspace)

    def show_error(self, error: GeodeTuiError) -> None:
        """Show an error that stays until it is read."""
        self.app.push_screen(ErrorDialog(error))

    def say(self, message: str) -> None:
        """A fact in passing."""
        self.notify(message, timeout=4, markup=False)

    def copy(self, text: str) -> None:
        """Put `text` into the terminal's clipboard and say so."""
        self.app.copy_to_clipboard(text)
        self.say(f"copied {len(text):,} characters")

    @on(Worker.StateChanged)
    def _worker_ended(self, event: Worker.StateChanged) -> None:
        """A worker that failed shows why; what no one foresaw is told as such."""
        if event.state is not WorkerState.ERROR:
            return
        error = event.worker.error
        if not isinstance(error, GeodeTuiError):
            error = GeodeTuiError(
                "this did not work",
                f"{type(error).__name__}: {error}",
                "this is a defect of geode-tui; please report it with this message",
            )
        self.worker_failed(event.worker, error)

    def worker_failed(self, worker: Worker[object], error: GeodeTuiError) -> None:
        """Show why a worker ended; a screen with a state for it overrides this."""
        self.show_error(error)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show the key of the filter only where there is one, and not while typing."""
        if action == "filter":
            return bool(self.query(FilterInput)) and not isinstance(self.focused, Input)
        return super().check_action(action, parameters)

    def action_filter(self) -> None:
        """Go to the filter."""
        for filter_input in self.query(FilterInput):
            if filter_input.is_on_screen:
                filter_input.focus()
                return

    def action_copy(self) -> None:
        """Copy what has the focus."""
        text = self.copied()
        if text:
            self.copy(text)
        else:
            self.say("nothing to copy here")

    def action_copy_command(self) -> None:
        """Copy the command line that does what this screen does."""
        command = self.workspace.headless_command(self.MODE)
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    def action_back(self) -> None:
        """Go back one step, where the screen has such."""
