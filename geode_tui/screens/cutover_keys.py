"""The keys of a cutover: check, waive, rehearse, start, abort, keep, fall back."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.worker import Worker

from geode_tui.errors import GeodeTuiError
from geode_tui.migration import child
from geode_tui.migration.journal import RunRecord
from geode_tui.migration.replication import cutover_child
from geode_tui.migration.replication.cutover import CutoverAborted, CutoverRequest
from geode_tui.migration.replication.cutovers import Wish, percentile
from geode_tui.migration.replication.sight import ReplicationSight
from geode_tui.migration.replication.state import CutoverSnapshot, CutoverState, Gate
from geode_tui.screens import cutover_requests
from geode_tui.screens.cutover_options import (
    CutoverOptions,
    CutoverOptionsDialog,
    options_of,
)
from geode_tui.screens.dialogs import ConfirmDialog, PromptDialog, TextDialog
from geode_tui.screens.replication import ReplicationScreen
from geode_tui.screens.sync_keys import synchronize
from geode_tui.widgets.cutover_text import CUTOVER_STATES, shut
from geode_tui.widgets.figures import counted
from geode_tui.widgets.gate_table import GateTable, gate_detail, may_waive
from geode_tui.widgets.status_line import PRODUCTION
from geode_tui.widgets.sync_text import seconds_text
from geode_tui.widgets.text import one_line

CHECK = "check of the gates"
_FLIPPED = ("flipped", "watching", "kept", "falling back")
_LONGEST_REASON = 500


class CutoverKeys(ReplicationScreen):
    """A screen from which a cutover is driven."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape", "abort", "abort", id="cutover.abort", tooltip="Abort; all is as it was before"
        ),
        Binding("escape", "back", "back", show=False, id="screen.back", tooltip="Go back"),
        Binding(
            "enter",
            "start",
            "start",
            key_display="enter",
            id="cutover.start",
            tooltip="Start the cutover; the name of the database must be typed",
        ),
        Binding(
            "R",
            "rehearse",
            "rehearse",
            id="cutover.rehearse",
            tooltip="All but the flip; tells how long writes stand",
        ),
        Binding(
            "w",
            "waive",
            "waive",
            id="cutover.waive",
            tooltip="Let it through the gate under the cursor, for a reason; or take that back",
        ),
        Binding("r", "check", "check gates", id="cutover.check", tooltip="Check all gates now"),
        Binding(
            "o",
            "options",
            "options",
            show=False,
            id="cutover.options",
            tooltip="How long writes may stand, how they are stopped, which commands are run",
        ),
        Binding(
            "K",
            "keep",
            "keep",
            id="cutover.keep",
            tooltip="The graph stays the master; the watch window ends",
        ),
        Binding(
            "F",
            "fall_back",
            "fall back",
            id="cutover.fall-back",
            tooltip="What the graph got goes to the source, and writes go on there",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._options: dict[int, CutoverOptions] = {}
        self._aborting = False

    @property
    def gate_table(self) -> GateTable:
        """The gates, with the one that is looked at."""
        raise NotImplementedError

    @property
    def cutover(self) -> CutoverSnapshot | None:
        """The cutover as it was told last."""
        return self.sight.cutover if self.sight is not None else None

    @property
    def under_way(self) -> bool:
        """Whether something is under way that must end before anything else begins."""
        return bool(self.workspace.cutting) or (self.sight is not None and self.sight.cut_driven)

    @property
    def _state(self) -> CutoverState:
        return self.cutover.state if self.cutover is not None else "gates"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what is possible now."""
        sight = self.sight
        if action in ("check", "rehearse", "start"):
            return sight is not None and not self.under_way and self._state not in _FLIPPED
        if action == "options":
            return sight is not None and not self.under_way
        if action == "waive":
            return self._gate_to_waive() is not None and not self.under_way
        if action == "abort":
            going = self.under_way and self.workspace.cutting != CHECK
            return sight is not None and going and self._state not in _FLIPPED
        if action == "keep":
            return self._state in ("flipped", "watching")
        if action == "fall_back":
            return self._state in _FLIPPED
        return super().check_action(action, parameters)

    def _gate_to_waive(self) -> Gate | None:
        gate = self.gate_table.gate
        return gate if gate is not None and (may_waive(gate) or gate.reason) else None

    def action_copy_command(self) -> None:
        """Copy the command of what comes next: gates, rehearsal, cutover, or the way back."""
        command = shlex.join(["geode-tui", "cutover", *self._command_words()])
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    def _command_words(self) -> list[str]:
        sight, cutover = self.sight, self.cutover
        if sight is None:
            return ["--help"]
        number = str(sight.run)
        if self._state in _FLIPPED:
            return [number, "--fall-back"]
        options = self._options.get(sight.run, CutoverOptions())
        gates = cutover.gates if cutover is not None else ()
        if not gates or not all(gate.passed for gate in gates):
            return [number, "--gates" if not gates else "--rehearse", *options.flags]
        return [number, *options.flags]

    # Before it.

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_check(self) -> None:
        """Check all gates now; nothing else is done."""
        sight = self.sight
        if sight is not None:
            request = await self._request(sight.record)
            self._drive(CHECK, cutover_child.check_gates, request)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_waive(self) -> None:
        """Let it through the gate under the cursor, for a reason; or take that back."""
        sight, gate = self.sight, self._gate_to_waive()
        if sight is None or gate is None:
            self.say("put the cursor on a gate that can be waived")
            return
        if gate.reason:
            await self._withdraw(sight, gate)
            return
        dialog = PromptDialog(
            f"waive: {gate.title}",
            message=f"{gate.evidence}\n\nWhy may it go through? The reason is journaled.",
            check=_reason_check,
        )
        reason = await self.app.push_screen_wait(dialog)
        if reason is not None:
            await asyncio.to_thread(cutover_requests.waive, sight.run, gate.name, reason.strip())
            self.look()

    async def _withdraw(self, sight: ReplicationSight, gate: Gate) -> None:
        text = f"{gate.title}\nwaived by {gate.waived_by or 'somebody'}: {gate.reason}"
        dialog = ConfirmDialog("waive it no more?", text, yes="take it back", no="leave it")
        if await self.app.push_screen_wait(dialog):
            await asyncio.to_thread(cutover_requests.withdraw, sight.run, gate.name)
            self.look()

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_rehearse(self) -> None:
        """All but the flip, when a person says so."""
        sight = self.sight
        if sight is None:
            return
        budget = await self._budget(sight)
        text = (
            f"{_from_to(sight)}\n\nDoes all but the flip. Writes stand at most {budget}; then they"
            " go on by themselves, whatever happens. esc aborts."
        )
        production = sight.record.label.upper() == PRODUCTION
        name = self.database(sight) if production else ""
        dialog = ConfirmDialog("rehearse?", text, yes="rehearse", no="not now", type_name=name)
        if await self.app.push_screen_wait(dialog):
            request = await self._request(sight.record, rehearse=True)
            self._drive("rehearsal", cutover_child.cut_over, request)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_start(self) -> None:
        """Start, when every gate is passed and a person types the name of the database."""
        sight, cutover = self.sight, self.cutover
        if sight is None or not self.check_action("start", ()):
            return
        gates = cutover.gates if cutover is not None else ()
        closed = shut(gates)
        if not gates:
            self.say("the gates are not checked yet: press r")
            return
        if closed:
            self.gate_table.go_to(closed[0])
            now = max(gate.checked_at for gate in gates)
            text = "\n\n".join(gate_detail(gate, now).plain for gate in closed)
            title = f"nothing moves: {counted(len(closed), 'gate')} not passed"
            self.app.push_screen(TextDialog(title, text))
            return
        dialog = ConfirmDialog(
            "start the cutover?",
            f"{_from_to(sight)}\n\n{await self._what_comes(sight)}",
            yes="start",
            no="not now",
            type_name=self.database(sight),
        )
        if await self.app.push_screen_wait(dialog):
            request = await self._request(sight.record)
            self._drive("cutover", cutover_child.cut_over, request)

    async def _what_comes(self, sight: ReplicationSight) -> str:
        cutover, budget = self.cutover, await self._budget(sight)
        lines = [f"Writes to the source stand at most {budget}, then they go on."]
        if cutover is not None and cutover.rehearsals:
            usual = seconds_text(percentile(cutover.rehearsals, 0.5) or 0.0)
            most = seconds_text(max(cutover.rehearsals))
            count = counted(len(cutover.rehearsals), "rehearsal")
            lines.append(f"In {count}: {usual} usually, {most} at most.")
        waived = [g for g in (cutover.gates if cutover is not None else ()) if g.reason]
        lines += [f"○ waived: {gate.title}: {gate.reason}" for gate in waived]
        lines.append("esc aborts at any moment before the flip; F falls back after it.")
        return "\n".join(lines)

    async def _budget(self, sight: ReplicationSight) -> str:
        return seconds_text((await self._options_of(sight.run)).budget)

    async def _request(self, record: RunRecord, *, rehearse: bool = False) -> CutoverRequest:
        source, password = self.workspace.access(record) or (None, None)
        options = await self._options_of(record.number)
        return options.request(record.number, source, password, rehearse=rehearse)

    async def _options_of(self, number: int) -> CutoverOptions:
        if number not in self._options:
            self._options[number] = await asyncio.to_thread(options_of, number)
        return self._options[number]

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_options(self) -> None:
        """Set how it is done: how long, by what, and which commands are run."""
        sight = self.sight
        if sight is None:
            return
        dialog = CutoverOptionsDialog(await self._options_of(sight.run))
        options = await self.app.push_screen_wait(dialog)
        if options is not None:
            self._options[sight.run] = options

    @work(exclusive=True, group="cutover", exit_on_error=False)
    async def _drive(self, what: str, work: Callable[..., object], *arguments: object) -> None:
        """Do it in a process of its own, which goes on when this one ends."""
        sight, own = self.sight, self.workspace.synchronizer
        if sight is None or self.under_way:
            return
        synchronized = own is not None and not own.finished
        self.workspace.cutting = what
        self.draw()
        try:
            if own is not None and synchronized:  # only one process drives a run
                own.stop()
                await asyncio.to_thread(own.join)
            told = await child.in_child(work, *arguments, tell=lambda text: None)
            self.app.notify(one_line(f"{what}: {_words(told)}"), timeout=8, markup=False)
        finally:
            self.workspace.cutting = ""
            await asyncio.to_thread(self.replication.look)
            self.draw()
            if synchronized and self._state not in _FLIPPED:
                await synchronize(self.workspace, sight.record)

    def worker_failed(self, worker: Worker[object], error: GeodeTuiError) -> None:
        """The state says that it was aborted, and why; all else is an error."""
        if isinstance(error, CutoverAborted):
            self.app.notify(one_line(error.what), severity="warning", timeout=8, markup=False)
        else:
            super().worker_failed(worker, error)

    # While it goes, and after.

    @work(group="abort", exit_on_error=False)
    async def action_abort(self) -> None:
        """Abort at once, without a question."""
        if self.sight is not None:
            self._aborting = True
            self.say("asked to abort: everything goes back as it was")
            await asyncio.to_thread(cutover_requests.ask, self.sight.run, "abort")

    def tell_abort(self) -> None:
        """Say so where an abort came too late."""
        if self._aborting and not (self.under_way and self._state not in _FLIPPED):
            self._aborting = False
            if self._state in _FLIPPED:
                self.notify("too late to abort: F falls back", severity="warning", timeout=10)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_keep(self) -> None:
        """Keep the graph as the master, when a person says so."""
        sight = self.sight
        if sight is None:
            return
        text = (
            f"{_from_to(sight)}\n\nThe graph stays the master, the watch window ends, and the"
            " source keeps no changes for us any more."
        )
        if await self._confirmed(sight, "keep the graph?", text, "keep"):
            await self._ask_or_do(sight, "keep", cutover_child.keep)

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_fall_back(self) -> None:
        """Go back to the source, when a person says so."""
        sight = self.sight
        if sight is None:
            return
        text = (
            f"{_from_to(sight)}\n\nWhat was written to the graph since the flip is written to the"
            " source, both are compared, and writes go on at the source."
        )
        if await self._confirmed(sight, "fall back?", text, "fall back"):
            await self._ask_or_do(sight, "fall back", cutover_child.fall_back)

    async def _ask_or_do(
        self, sight: ReplicationSight, what: Wish, work: Callable[..., object]
    ) -> None:
        """Ask the process that watches; where there is none, do it in one of our own."""
        if self.under_way:
            await asyncio.to_thread(cutover_requests.ask, sight.run, what)
            self.say(f"asked: {what}")
        else:
            self._drive(what, work, await self._request(sight.record))

    async def _confirmed(self, sight: ReplicationSight, title: str, text: str, yes: str) -> bool:
        name = self.database(sight)
        dialog = ConfirmDialog(title, text, yes=yes, no="not now", type_name=name)
        return await self.app.push_screen_wait(dialog)


def _words(told: object) -> str:
    """What came out, in words: of a state, those that the screen has for it."""
    states = {state: f"{glyph} {words}" for state, (glyph, words, _) in CUTOVER_STATES.items()}
    return next((words for state, words in states.items() if state == told), str(told))


def _from_to(sight: ReplicationSight) -> str:
    record = sight.record
    return f"run {record.number}\nfrom  {record.source}\nto    {record.place}"


def _reason_check(text: str) -> str:
    if not text.strip():
        return "a gate is waived for a reason only"
    return f"at most {_LONGEST_REASON} characters" if len(text) > _LONGEST_REASON else ""
