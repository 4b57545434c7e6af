"""The knobs of a run that goes: pause, workers, throttle, batch, checkpoint, stop.

Each is asked for by way of the journal, as from any other terminal, and is shown as turned once
the run says so.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from geode_tui.errors import GeodeTuiError
from geode_tui.migration import steer
from geode_tui.migration.checkpoints import BEGINNING
from geode_tui.migration.events import PHASES
from geode_tui.migration.watch import RunWatch
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ConfirmDialog, PromptDialog
from geode_tui.widgets.figures import counted, rows

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([kM]?)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}
_MOST_ROWS = 100_000
_LONGEST_NAME = 60
_KNOBS = ("pause", "workers", "throttle", "batch", "checkpoint", "stop")


class RunKnobs(GeodeScreen):
    """The keys that steer a run that goes, whoever drives it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "space",
            "pause",
            "pause",
            key_display="space",
            id="run.pause",
            tooltip="Pause the run after the batches in flight, or let it go on",
        ),
        Binding(
            "plus,equals_sign",
            "workers(1)",
            "workers",
            key_display="+-",
            id="run.more-workers",
            tooltip="One worker more",
        ),
        Binding(
            "minus,underscore",
            "workers(-1)",
            "fewer workers",
            key_display="-",
            show=False,
            id="run.fewer-workers",
            tooltip="One worker fewer",
        ),
        Binding("t", "throttle", "throttle", id="run.throttle", tooltip="Limit the rows a second"),
        Binding(
            "b",
            "batch",
            "batch",
            show=False,
            id="run.batch",
            tooltip="Fix the rows of a transaction, or let them adapt",
        ),
        Binding(
            "p",
            "checkpoint",
            "checkpoint",
            show=False,
            id="run.checkpoint",
            tooltip="Take a checkpoint by a name of your own",
        ),
        Binding("s", "stop", "stop", id="run.stop", tooltip="Stop after the rows in flight"),
    ]

    @property
    def going(self) -> bool:
        """Whether the run that is shown goes, here or in another process."""
        shown = self.workspace.shown_run
        if isinstance(shown, RunWatch):  # one that is being rolled back has no knobs
            return shown.snapshot().state == "running"
        return shown is not None and not shown.finished

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The knobs are there while a run goes."""
        if action in _KNOBS:
            return self.going
        return super().check_action(action, parameters)

    def _number(self) -> int | None:
        """The number of the run that goes, None with a word where there is none."""
        shown = self.workspace.shown_run
        if shown is None or not self.going:
            self.say("no run goes")
            return None
        if shown.run_number is None:
            self.say("the run is only just beginning")
        return shown.run_number

    @work(group="knobs", exit_on_error=False)
    async def action_pause(self) -> None:
        """Pause, or go on."""
        number = self._number()
        if number is None:
            return
        paused = await asyncio.to_thread(steer.toggle_pause, number)
        self.say("pausing after the batches in flight" if paused else "going on")

    @work(group="knobs", exit_on_error=False)
    async def action_workers(self, by: int) -> None:
        """Ask for more workers, or fewer."""
        number = self._number()
        if number is not None:
            after = await asyncio.to_thread(steer.change_workers, number, by)
            self.say(f"{counted(after, 'worker')} from the next chunk on")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_throttle(self) -> None:
        """Ask for a limit of rows a second."""
        number = self._number()
        if number is None:
            return
        now = (await asyncio.to_thread(steer.knobs, number)).rows_per_second
        dialog = PromptDialog(
            "rows a second",
            str(now) if now else "",
            message="At most so many rows a second, such as 5000 or 20k; empty for no limit.",
            check=number_check(1),
        )
        text = await self.app.push_screen_wait(dialog)
        if text is not None:
            limit = number_of(text)
            await asyncio.to_thread(steer.throttle, number, limit)
            self.say(f"at most {rows(limit)} rows a second" if limit else "no limit any more")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_batch(self) -> None:
        """Ask for another size of the transactions."""
        number = self._number()
        if number is None:
            return
        now = (await asyncio.to_thread(steer.knobs, number)).batch_rows
        dialog = PromptDialog(
            "rows a transaction",
            str(now) if now else "",
            message="So many rows in one transaction on the target; empty: as the run began.",
            check=number_check(1, _MOST_ROWS),
        )
        text = await self.app.push_screen_wait(dialog)
        if text is not None:
            size = number_of(text)
            await asyncio.to_thread(steer.set_batch, number, size)
            self.say(f"{counted(size, 'row')} a transaction" if size else "as the run began")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_checkpoint(self) -> None:
        """Ask for a checkpoint by name."""
        number = self._number()
        if number is None:
            return
        taken = await asyncio.to_thread(steer.checkpoint_names, number)
        dialog = PromptDialog(
            "checkpoint",
            time.strftime("point %H:%M:%S"),
            message="Taken as soon as no chunk is in flight; a rollback can go back to it.",
            check=name_check(taken),
        )
        name = await self.app.push_screen_wait(dialog)
        if name is not None:
            await asyncio.to_thread(steer.ask_checkpoint, number, name.strip())
            self.say("the checkpoint comes when the chunks in flight are done")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop after the chunks in flight, when a person says so."""
        shown, own = self.workspace.shown_run, self.workspace.runner
        if shown is None or not self.going:
            self.say("no run goes")
            return
        text = "The chunks in flight are finished and journaled; it can be resumed from there."
        dialog = ConfirmDialog("stop safely?", text, yes="stop", no="keep running")
        if await self.app.push_screen_wait(dialog):
            mine = self.workspace.watch is None
            if mine and own is not None:
                own.stop()  # also where the journal cannot be written, or knows no number yet
            await self._ask_stop(shown.run_number, mine)
            self.say("stopping after the chunks in flight")

    async def _ask_stop(self, number: int | None, own: bool) -> None:
        if number is None:
            return
        try:
            await asyncio.to_thread(steer.ask_stop, number)
        except GeodeTuiError:
            if not own:
                raise


def number_of(text: str) -> int | None:
    """`5000`, `5,000` or `20k` as a number, None for an empty text. Raises ValueError."""
    plain = text.strip().replace(",", "").replace("_", "")
    if not plain:
        return None
    found = _NUMBER.fullmatch(plain)
    if found is None:
        raise ValueError(text)
    return round(float(found[1]) * _UNITS[found[2]])


def number_check(least: int, most: int | None = None) -> Callable[[str], str]:
    """A check for a number that may be left out."""

    def check(text: str) -> str:
        try:
            number = number_of(text)
        except ValueError:
            return "a number, such as 5000 or 20k"
        if number is not None and number < least:
            return f"at least {least}"
        if number is not None and most is not None and number > most:
            return f"at most {most:,}"
        return ""

    return check


def name_check(taken: Sequence[str]) -> Callable[[str], str]:
    """A check for the name of a new checkpoint."""

    def check(text: str) -> str:
        name = text.strip()
        if not name:
            return "a checkpoint has a name"
        if len(name) > _LONGEST_NAME:
            return f"at most {_LONGEST_NAME} characters"
        if not name.isprintable():
            return "a name has no control characters"
        if name in (BEGINNING, *PHASES) or name.startswith("wave "):
            return f"{name} is a name that runs give themselves"
        return f"there is a checkpoint {name} already" if name in taken else ""

    return check
