"""The keys that drive synchronization: begin, once, pause, stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from geode_tui.errors import GeodeTuiError, RunStopped, SnapshotLostError
from geode_tui.migration import steer
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.replication.sight import ReplicationSight
from geode_tui.migration.replication.sync_engine import SyncRequest, sync_request
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import ConfirmDialog
from geode_tui.screens.replication import ReplicationScreen
from geode_tui.screens.start import start_question
from geode_tui.source.slot import SlotLostError
from geode_tui.widgets.figures import size
from geode_tui.widgets.status_line import PRODUCTION
from geode_tui.widgets.text import one_line

_OVER = ("setting up", "cut over", "torn down")


_HEAL = (
    "If the capture is lost it is made anew, and everything is compared once, so that what was"
    " missed is in the graph, too. "
)


def _may_be_lost(sight: ReplicationSight) -> bool:
    """Whether the capture is looked at before, and made anew where it is lost."""
    return sight.lost or (sight.sync is not None and sight.sync.state == "failed")


class SyncKeys(ReplicationScreen):
    """A screen from which synchronization is driven."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "start", "run", id="sync.start", tooltip="Synchronize until it is stopped"),
        Binding("o", "once", "once", id="sync.once", tooltip="Synchronize once, up to now"),
        Binding(
            "space",
            "pause",
            "pause",
            key_display="space",
            id="sync.pause",
            tooltip="Pause, or let it go on",
        ),
        Binding("s", "stop", "stop", id="sync.stop", tooltip="Stop after what is in flight"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._told: Runner | None = None

    @property
    def going(self) -> bool:
        """Whether synchronization goes, here or in another process."""
        own = self.workspace.synchronizer
        if own is not None and not own.finished:
            return True
        return self.sight is not None and self.sight.syncing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now."""
        sight = self.sight
        if action == "start" and sight is None:
            own = self.workspace.runner
            return self.workspace.source is not None and (own is None or own.finished)
        if action in ("start", "once"):
            free = sight is not None and not sight.driven and not self.going
            return free and sight is not None and sight.capture.state not in _OVER
        if action in ("pause", "stop"):
            return self.going
        if action in ("dead_letters", "filter"):
            return sight is not None and super().check_action(action, parameters)
        return super().check_action(action, parameters)

    def action_copy_command(self) -> None:
        """Copy the command that synchronizes this run, or that makes one that captures."""
        sight = self.sight
        command = self.workspace.headless_command("sync")
        if sight is not None:
            command = f"geode-tui sync {sight.run}"
            command += " --heal" if sight.lost else ""
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    def draw(self) -> None:
        """Show the last look, and how the synchronization of this sitting ended."""
        super().draw()
        own = self.workspace.synchronizer
        if own is None or own is self._told or not own.finished:
            return
        self._told = own
        self.refresh_bindings()
        error = own.error
        if error is None or isinstance(error, RunStopped):
            words = "stopped · r goes on" if error is not None else "up to date"
            self.app.notify(f"synchronization: {words}", timeout=8, markup=False)
        elif isinstance(error, SlotLostError | SnapshotLostError):
            pass  # the state says so, and what to do, on every screen
        elif self.is_current:
            self.show_error(error)
        else:
            text = f"synchronization failed: {one_line(error.what)} · 7 sync"
            self.app.notify(text, severity="error", timeout=10, markup=False)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_start(self) -> None:
        """Begin, when a person says so; without a run that captures begin one of those."""
        if self.sight is None:
            if await start_question(self, "zero-downtime"):
                self.workspace.start_run("zero-downtime")
                self.app.show_in("run")
            return
        await self._begin("synchronize?", "until it is stopped", once=False)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_once(self) -> None:
        """Bring the graph up to now, once, when a person says so."""
        await self._begin("synchronize once?", "once, up to now", once=True)

    async def _begin(self, title: str, until: str, *, once: bool) -> None:
        sight = self.sight
        if sight is None:
            self.say("no run captures changes")
            return
        record, capture = sight.record, sight.capture
        heal = _HEAL if _may_be_lost(sight) else ""
        text = (
            f"run {record.number}\nfrom  {record.source}, by its {capture.way} {capture.name}\n"
            f"to    {record.place}\n\n{heal}Changes are read and applied {until}."
        )
        production = record.label.upper() == PRODUCTION
        name = self.database(sight) if production else ""
        dialog = ConfirmDialog(title, text, yes="synchronize", no="not now", type_name=name)
        if await self.app.push_screen_wait(dialog):
            await synchronize(self.workspace, record, once=once, heal=_may_be_lost(sight))
            self.look()

    @work(group="knobs", exit_on_error=False)
    async def action_pause(self) -> None:
        """Pause, or go on."""
        sight = self.sight
        if sight is not None:
            paused = await asyncio.to_thread(steer.toggle_pause, sight.run)
            self.say("pausing: changes are stored, not applied" if paused else "going on")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_stop(self) -> None:
        """Stop after what is in flight, when a person says so."""
        sight, own = self.sight, self.workspace.synchronizer
        if sight is None:
            return
        dialog = ConfirmDialog("stop synchronizing?", _meanwhile(sight), yes="stop", no="keep on")
        if not await self.app.push_screen_wait(dialog):
            return
        mine = own is not None and not own.finished
        if own is not None and mine:
            own.stop()
        try:
            await asyncio.to_thread(steer.ask_stop, sight.run)
        except GeodeTuiError:
            if not mine:
                raise
        self.say("stopping after what is in flight")


async def synchronize(
    workspace: Workspace, record: RunRecord, *, once: bool = False, heal: bool = False
) -> None:
    """Begin to synchronize a run, in a process of its own. Raises GeodeTuiError."""
    source, password = workspace.access(record) or ("", None)

    def request() -> SyncRequest:
        with contextlib.closing(Journal()) as journal:
            return sync_request(
                record, journal, source=source, password=password, once=once, heal=heal
            )

    runner = ProcessRunner(await asyncio.to_thread(request))
    workspace.synchronizer = runner
    runner.start()


def _meanwhile(sight: ReplicationSight) -> str:
    """What happens at the source while nobody reads its changes."""
    text = "Nothing is lost: it goes on from there. Meanwhile the source keeps all changes"
    sync = sight.sync
    if sync is None or sync.retained_bytes is None or not sync.budget_bytes:
        return f"{text}."
    kept = f"{size(sync.retained_bytes)} of at most {size(sync.budget_bytes)}"
    return f"{text}; now it keeps {kept}, and beyond that the capture is lost."
