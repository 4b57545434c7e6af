"""What the screens of change capture share: one run, looked at a few times a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.sight import ReplicationSight, ReplicationWatch
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog
from geode_tui.screens.report_reading import history_line
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.text import one_line

_LOOK_SECONDS, _SLOW_LINE_SECONDS = 0.4, 1.0


class ReplicationScreen(GeodeScreen):
    """A screen that shows a run with change capture as the journal tells it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "h",
            "other_run",
            "another run",
            show=False,
            id="replication.run",
            tooltip="Look at another run with change capture",
        ),
        Binding(
            "tab", "pane(1)", "next pane", show=False, id="replication.next", tooltip="Next pane"
        ),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="replication.previous",
            tooltip="Previous pane",
        ),
    ]

    AUTO_FOCUS = ""
    WHEN_EMPTY = ""
    """What has the focus first where there is nothing to show."""
    WHEN_GOING = ""
    """What has it where there is."""

    def __init__(self) -> None:
        super().__init__()
        self.look_error: GeodeTuiError | None = None
        self._texts: dict[str, Content] = {}
        self._keys_of: tuple[object, ...] = ()
        self._empty: bool | None = None

    @property
    def replication(self) -> ReplicationWatch:
        """What looks into the journal."""
        return self.workspace.replication

    @property
    def sight(self) -> ReplicationSight | None:
        """What the last look found, None before the first and where no run captures changes."""
        return self.replication.sight

    def show_sight(self, sight: ReplicationSight) -> None:
        """Show what was found; what did not change is not drawn."""
        raise NotImplementedError

    def show_nothing(self, content: Content) -> None:
        """Show what to do where there is nothing to show."""
        raise NotImplementedError

    def nothing_words(self) -> Content:
        """What to do where no run captures changes."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Look a few times a second, less often over a slow line."""
        super().on_mount()
        slow = "SSH_CONNECTION" in os.environ
        self.set_interval(_SLOW_LINE_SECONDS if slow else _LOOK_SECONDS, self.look)

    def refresh_view(self) -> None:
        """Show what is known, and look."""
        self.draw()
        self.look()

    def show_item(self, item: str) -> None:
        """Look at the run of that number."""
        if item.isdecimal():
            self.replication.choose(int(item))
            self.look()

    @work(exclusive=False, group="look", exit_on_error=False)
    async def look(self) -> None:
        """Read the journal in a thread, unless such a look is under way."""
        if not self.is_attached or not self._wanted():
            return
        try:
            await asyncio.to_thread(self.replication.look)
            self.look_error = None
        except GeodeTuiError as error:
            self.look_error = error
        self.draw()

    def _wanted(self) -> bool:
        """Whether someone looks at this screen, be it behind a dialog."""
        looking = sum(worker.group == "look" and worker.is_running for worker in self.workers)
        return looking <= 1 and self in self.app.screen_stack

    def draw(self) -> None:
        """Show the last look; behind a dialog each change would have all of it drawn again."""
        if not self.is_current:
            return
        sight = self.sight
        if self._empty is not (sight is None):
            self._empty = sight is None
            self.set_class(self._empty, "-empty")
            self.query_one(self.WHEN_EMPTY if self._empty else self.WHEN_GOING).focus()
        with self.app.batch_update():
            if sight is not None:
                self.show_sight(sight)
            elif self.look_error is not None:
                self.show_nothing(_error_words(self.look_error))
            elif not self.replication.looked:
                self.show_nothing(Content.styled("… reading the journal", "$text-muted"))
            else:
                self.show_nothing(self.nothing_words())
                self.keys_are_of()
        self.refresh_status()

    def update(self, selector: str, text: Content) -> None:
        """Give a text to a widget that shows another one."""
        before = self._texts.get(selector)
        if before is None or not text.is_same(before):
            self._texts[selector] = text
            self.query_one(selector, Static).update(text)

    def keys_are_of(self, *state: object) -> None:
        """Draw the keys anew where the state is another one."""
        if self._keys_of != (*state, len(self.replication.runs)):
            self._keys_of = (*state, len(self.replication.runs))
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Another run only where there is one."""
        if action == "other_run":
            return len(self.replication.runs) > 1
        return super().check_action(action, parameters)

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        if self.sight is not None:
            self.query_one(Panes).go(steps)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_other_run(self) -> None:
        """Look at another run with change capture."""
        choices = await asyncio.to_thread(_lines_of, tuple(self.replication.runs))
        sight = self.sight
        chosen = str(sight.run) if sight is not None else None
        dialog = ChoiceDialog("runs with change capture", choices, chosen=chosen)
        answer = await self.app.push_screen_wait(dialog)
        if answer is not None:
            self.show_item(answer)

    def database(self, sight: ReplicationSight) -> str:
        """The name of the run's database, to be typed."""
        return sight.record.source.rpartition("@")[0] or sight.record.source


def _lines_of(numbers: tuple[int, ...]) -> list[tuple[str, str]]:
    with contextlib.closing(Journal()) as journal:
        return [(str(number), history_line(journal.run(number))) for number in numbers]


def _error_words(error: GeodeTuiError) -> Content:
    first, *rest = error.lines()
    parts = [(f"✗ {one_line(first)}", "bold $text-error")]
    return Content.assemble(*parts, *((f"\n{one_line(line)}", "") for line in rest))


def key_line(key: str, words: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """A key with what it does, for a screen that has nothing to show."""
    return (key, "bold $text-accent"), (f"  {one_line(words)}\n", "")
