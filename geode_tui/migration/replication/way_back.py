"""A fall-back in the journal: its steps, the mark of the graph, the guard of the source, hooks.

What is written, and that both sides are equal in the end, is `fall_back`'s. Here is what makes it
a part of a cutover, which can be begun again after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.migration.events import Level
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.left_out import left_out_of
from geode_tui.migration.replication import leftover
from geode_tui.migration.replication.cutovers import CutoverRecord
from geode_tui.migration.replication.fall_back import (
    FallBackReport,
    FallBackRequest,
    fall_back,
    fall_back_steps,
)
from geode_tui.migration.replication.hooks import HOOK_SECONDS, Hook, run_hook
from geode_tui.migration.replication.marker import unmark
from geode_tui.migration.replication.state import StepState
from geode_tui.source.dsn import check_dsn
from geode_tui.source.freeze import remove
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.target.model import Target

Tell = Callable[[Level, str], None]
_FLIPPED = ("flipped", "watching", "kept", "falling back")


def require_flipped(journal: Journal, number: int) -> CutoverRecord:
    """The cutover of a run that can fall back. Raises UsageError where there is none."""
    cut = journal.cutovers.newest(number)
    if cut is None or cut.state not in _FLIPPED:
        state = "was not cut over" if cut is None else f"is {cut.state}"
        raise UsageError(f"run {number} {state}: there is no way back to go")
    return cut


async def go_back(
    journal: Journal,
    record: RunRecord,
    hooks: Mapping[str, str],
    request: FallBackRequest,
    *,
    source: str | None = None,
    password: str | None = None,
    tell: Tell = lambda level, text: None,
) -> FallBackReport:
    """Fall back, and let the source be the one that is written to. The caller holds the run.

    Raises GeodeTuiError: both sides are as they were then. A preview journals nothing.
    """
    cut = require_flipped(journal, record.number)
    dsn = check_dsn(source) if source else record.source_dsn
    async with contextlib.AsyncExitStack() as stack:
        place = journal.target_lock(record.target, record.graph)
        written = f"another run writes to {record.place}"
        stack.enter_context(journal.locks.hold(place, written, "wait for its end"))
        database = await Source.connect(dsn, password=password)
        stack.push_async_callback(database.close)
        target = await asyncio.to_thread(
            open_target, record.target, record.graph or None, create=False
        )
        stack.push_async_callback(asyncio.to_thread, target.close)
        work = _WayBack(journal, record, cut, leftover.hooks_of(cut, hooks), tell)
        return await work.run(database, target, request)


class _WayBack:
    def __init__(
        self,
        journal: Journal,
        record: RunRecord,
        cut: CutoverRecord,
        hooks: Mapping[str, str],
        tell: Tell,
    ) -> None:
        self._journal, self._record, self._cut = journal, record, cut
        self._hooks, self._tell = hooks, tell

    async def run(self, source: Source, target: Target, request: FallBackRequest) -> FallBackReport:
        record, journal = self._record, self._journal
        capture = journal.captures.of(record.number)
        captured = capture is not None and capture.state != "torn down"
        logs = {capture.name} if capture and captured and capture.way == "outbox" else set()

        async def flip_back() -> None:
            await asyncio.to_thread(unmark, target, record.uid)
            connection = await source.capture_session()
            try:
                await remove(connection, leftover.freeze_name(record))
            finally:
                connection.terminate()
            await self._hook("on-fall-back")

        async def hold_graph() -> None:
            await self._hook("hold-graph")

        asked = replace(
            request,
            guard=leftover.freeze_name(record),
            accepted=frozenset(a.sign for a in journal.acceptances.of(record.graph_identity)),
            run=record.uid,
            step=record.steps,
            keep_triggers_of=request.keep_triggers_of | logs,
            hold_graph=hold_graph if "hold-graph" in self._hooks else None,
            flip_back=flip_back,
        )
        if not request.preview:
            self._begin()
        left_out = await asyncio.to_thread(left_out_of, journal, record.target, record.graph)
        try:
            report = await fall_back(
                source,
                target,
                journal.mapping(record.number),
                left_out,
                asked,
                schemas=record.schemas,
                set_step=(lambda *step: None) if request.preview else self._set_step,
                tell=lambda text: self._tell("info", text),
            )
        except GeodeTuiError as error:
            if not request.preview:
                self._failed(error)
            raise
        if not request.preview:
            if captured:
                journal.captures.set_state(record.number, "active", "fallen back")
            journal.cutovers.answered(record.number)
            journal.cutovers.set_state(self._cut.id, "fallen back")
            self._show()
        return report

    def _begin(self) -> None:
        cutovers, id = self._journal.cutovers, self._cut.id
        steps = cutovers.steps(id)
        known = {step.name for step in steps}
        new = fall_back_steps(len(steps) + 1)
        for step in new:
            if step.name in known:
                cutovers.set_step(id, step.name, "waiting", "")
        if not known.issuperset(step.name for step in new):
            cutovers.plan(id, new)
        if self._cut.state != "falling back":
            before = {"state before": self._cut.state}
            cutovers.change(id, options=self._cut.options | before)
            cutovers.set_state(id, "falling back")
        self._show()

    def _set_step(self, name: str, state: StepState, detail: str) -> None:
        self._journal.cutovers.set_step(self._cut.id, name, state, detail or None)
        self._show()

    def _failed(self, error: GeodeTuiError) -> None:
        """What was before is so still, where the rows were not committed."""
        cutovers, id = self._journal.cutovers, self._cut.id
        states = {step.name: step.state for step in cutovers.steps(id)}
        self._tell("error", f"{error.what}: {error.why}" if error.why else error.what)
        if states.get("commit rows") == "waiting":
            before = cutovers.of(id).options.get("state before", "watching")
            cutovers.answered(self._record.number)
            cutovers.set_state(id, before, error.what)
        self._show()

    def _show(self) -> None:
        told = leftover.told(self._journal, self._journal.cutovers.of(self._cut.id))
        self._journal.captures.tell_cutover(told)

    async def _hook(self, name: Hook) -> None:
        if name in self._hooks:
            about = leftover.environment(self._record, "falling back")
            command = self._hooks[name]
            await run_hook(
                name, command, about, HOOK_SECONDS, lambda text: self._tell("info", text)
            )
