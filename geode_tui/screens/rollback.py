"""Rolling a run back: to which checkpoint, whether really, and how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from geode_tui.migration import child
from geode_tui.migration.checkpoints import BEGINNING, Checkpoint
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog
from geode_tui.target.geode_dsn import target_name
from geode_tui.widgets.figures import counted
from geode_tui.widgets.text import one_line

_POLL = 0.3


class Rollback(GeodeScreen):
    """A screen from which a run can be rolled back."""

    def __init__(self) -> None:
        super().__init__()
        self.rolling_back: int | None = None
        self._words = ""

    def show_doing(self, text: str) -> None:
        """Show what is being done to a run, empty when nothing is."""
        raise NotImplementedError

    async def roll_back(self, number: int) -> None:
        """Ask for the checkpoint and for the target's name; then roll back, in its own process.

        Raises GeodeTuiError.
        """
        record, checkpoints = await asyncio.to_thread(_known, number)
        if record.state == "rolling back":
            to, chosen = "", await self._goes_on(record)
        else:
            to, chosen = await self._chosen(record, checkpoints)
        if not chosen:
            return
        self.workspace.forget_run(number)
        self.rolling_back = number
        self._words = f"rolling back run {number}"
        self.show_doing(self._words)
        telling = self.set_interval(_POLL, lambda: self.show_doing(self._words))
        try:
            told = await child.in_child(child.roll_back, number, to or None, tell=self._hear)
            self.app.notify(f"run {number}: {told}", timeout=10, markup=False)
        finally:
            telling.stop()
            self.rolling_back = None
            self.show_doing("")

    def _hear(self, text: str) -> None:
        """What the rollback tells, in its thread."""
        self._words = f"rolling back run {self.rolling_back}: {text}"

    async def _chosen(
        self, record: RunRecord, checkpoints: Sequence[Checkpoint]
    ) -> tuple[str, bool]:
        """The name of a checkpoint, empty for all that the run wrote; and whether it shall be."""
        usable = [c for c in checkpoints if c.name != BEGINNING and not c.void]
        choices = [(c.name, checkpoint_line(c)) for c in reversed(usable)]
        choices.append(("", "all of it: the target as before the run"))
        lost = [f"not to {c.name}: {c.void}" for c in checkpoints if c.void]
        answer = await self.app.push_screen_wait(
            ChoiceDialog(
                f"roll back run {record.number} to …",
                [(str(n), text) for n, (_, text) in enumerate(choices)],
                message="\n".join([f"{record.source} ─▶ {record.place}, {record.state}", *lost]),
            )
        )
        if answer is None:
            return "", False
        to = choices[int(answer)][0]
        what = f"what it wrote after checkpoint {to}" if to else "all that it wrote"
        text = (
            f"Removes from {record.place} {what}, and puts back what that overwrote. What was"
            " there before the run stays as it is. It goes on when geode-tui is left, and can be"
            " interrupted."
        )
        dialog = ConfirmDialog(
            f"roll back run {record.number}?",
            text,
            yes="roll back",
            no="not now",
            type_name=target_name(record.target, record.graph),
        )
        return to, await self.app.push_screen_wait(dialog)

    async def _goes_on(self, record: RunRecord) -> bool:
        text = f"The rollback of run {record.number} was interrupted; it goes on where it was."
        dialog = ConfirmDialog("go on rolling back?", text, yes="go on", no="not now")
        return await self.app.push_screen_wait(dialog)


def checkpoint_line(checkpoint: Checkpoint) -> str:
    """`wave a  2026-01-31 14:03:00  612,430 rows`: those that the graph keeps."""
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(checkpoint.at))
    written = counted(sum(checkpoint.rows.values()), "row")
    by = "" if checkpoint.automatic else ", asked for"
    return f"{one_line(checkpoint.name):<16} {clock}  {written}{by}"


def _known(number: int) -> tuple[RunRecord, list[Checkpoint]]:
    with contextlib.closing(Journal()) as journal:
        return journal.run(number), journal.checkpoints.of(number)
