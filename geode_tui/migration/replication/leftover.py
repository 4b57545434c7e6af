"""What a cutover of a process that is gone has left, and how it is told and settled.

Everything that such a one may have done is in the journal before it was done. Where the guard of
the source is there, the flip is done and goes on; where it is not, all is taken back. Both may be
tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping

from geode_tui.errors import GeodeTuiError, UsageError, redact
from geode_tui.migration.events import Level
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication.cutovers import CutoverRecord
from geode_tui.migration.replication.drop import drop_at_source, forget_kept
from geode_tui.migration.replication.hooks import HOOK_SECONDS, MASKED, run_hook
from geode_tui.migration.replication.marker import unmark
from geode_tui.migration.replication.state import CutoverSnapshot
from geode_tui.source.freeze import remove, standing
from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import open_for_capture
from geode_tui.target import open_target

GONE = "its process has ended"
_UNDONE_BY_US = ("before-freeze", "freeze", "flip", "guard")

Tell = Callable[[Level, str], None]


def freeze_name(record: RunRecord) -> str:
    """The name of a run's freeze on its source: its schema there."""
    return f"geode_tui_freeze_{record.uid}"


def lock_name(run: int) -> str:
    """The lock that a process which cuts over holds."""
    return f"cutover-{run}"


def environment(record: RunRecord, state: str, why: str = "") -> dict[str, str]:
    """What a hook is told: no secrets."""
    return {
        "MIG_RUN": str(record.number),
        "MIG_STATE": state,
        "MIG_SOURCE": redact(record.source_dsn),
        "MIG_TARGET": record.target,
        "MIG_GRAPH": record.graph,
        "MIG_REASON": redact(why),
    }


def hooks_of(cut: CutoverRecord, given: Mapping[str, str]) -> dict[str, str]:
    """The hooks of a cutover: as given now, else as journaled where no secret was left out."""
    kept: dict[str, str] = cut.options.get("hooks", {})
    return {n: c for n, c in kept.items() if MASKED not in c} | dict(given)


def told(journal: Journal, cut: CutoverRecord) -> CutoverSnapshot:
    """How a cutover stands, as far as the journal knows."""
    rehearsals = journal.cutovers.rehearsals(cut.run)
    return CutoverSnapshot(
        cut.run,
        cut.state,
        cut.rehearsal,
        cut.method,
        (),
        journal.cutovers.steps(cut.id),
        cut.budget,
        cut.frozen,
        cut.released,
        cut.watch_until,
        (),
        tuple(one.stood for one in rehearsals if one.stood is not None),
        cut.error,
        told_at=time.time(),
    )


async def settle(
    journal: Journal,
    record: RunRecord,
    hooks: Mapping[str, str],
    source: str | None,
    password: str | None,
    tell: Tell,
) -> CutoverRecord | None:
    """Settle what was left. The cutover whose watch window goes on, None where none does.

    The caller holds the run's cutover. Raises UsageError where the run is cut over, GeodeTuiError
    where the source or the graph is away: nothing is lost then, try again.
    """
    cut = journal.cutovers.newest(record.number)
    if cut is None:
        return None
    if cut.state == "kept":
        raise UsageError(
            f"run {record.number} is cut over",
            f"{record.place} is live",
            f"back again: geode-tui cutover {record.number} --fall-back",
        )
    if cut.state == "falling back":
        raise UsageError(
            f"the way back of run {record.number} is not done",
            "",
            f"end it: geode-tui cutover {record.number} --fall-back",
        )
    if cut.state in ("flipped", "watching"):
        return cut
    async with _session(source or record.source_dsn, password) as connection:
        found = await standing(connection, freeze_name(record))
        if not cut.over and _is_flipped(journal, cut, found is not None and found.until is None):
            return _forward(journal, cut)
        if found is not None:
            await remove(connection, freeze_name(record))
    if not cut.over:
        await _take_back(journal, record, cut, hooks_of(cut, hooks), tell)
    return None


async def keep(
    journal: Journal, record: RunRecord, source: str | None, password: str | None
) -> str:
    """Take the capture back, so that the source keeps nothing for us any more."""
    capture = journal.captures.of(record.number)
    if capture is None or capture.state == "torn down":
        return "the capture was taken back before"
    await drop_at_source(capture, source or record.source_dsn, password)
    journal.captures.set_state(record.number, "torn down", "the cutover is kept")
    forget_kept(journal, record)
    return f"{capture.way} {capture.name} is taken back"


def _is_flipped(journal: Journal, cut: CutoverRecord, guarded: bool) -> bool:
    """Whether the point of no return was passed."""
    states = {step.name: step.state for step in journal.cutovers.steps(cut.id)}
    begun = states.get("guard") in ("running", "done", "failed")
    return begun and (guarded or not cut.options.get("guard", True))


def _forward(journal: Journal, cut: CutoverRecord) -> CutoverRecord:
    """Journal what the process that is gone could not: the flip is done."""
    cutovers, now = journal.cutovers, time.time()
    cutovers.set_step(cut.id, "guard", "done", "found in place")
    watch_until = now + float(cut.options.get("watch", 0.0))
    cutovers.change(cut.id, released=cut.released or now, watch_until=watch_until)
    journal.captures.set_state(cut.run, "cut over", "the flip is done")
    return cutovers.set_state(cut.id, "flipped")


async def _take_back(
    journal: Journal, record: RunRecord, cut: CutoverRecord, hooks: Mapping[str, str], tell: Tell
) -> None:
    """The source is free already: take the mark and the application back, and journal it."""
    cutovers = journal.cutovers
    begun = {s.name for s in cutovers.steps(cut.id) if s.state in ("running", "done", "failed")}
    problems: list[str] = []
    if "flip" in begun:
        await asyncio.to_thread(_unmark, record)
    wanted = ["on-release"] if "freeze" in begun and cut.method == "hook" else []
    wanted += ["on-abort"] if begun & set(_UNDONE_BY_US) else []
    for name in wanted:
        if name in hooks:
            about = environment(record, "aborted", GONE)
            try:
                await run_hook(name, hooks[name], about, HOOK_SECONDS, lambda t: tell("info", t))
            except GeodeTuiError as error:
                problems.append(f"{error.what}: {error.why}")
        elif name in cut.options.get("hooks", {}):
            problems.append(f"hook {name} holds a secret: run it by hand")
    for step in cutovers.steps(cut.id):
        if step.name in begun & set(_UNDONE_BY_US):
            cutovers.set_step(cut.id, step.name, "undone")
        elif step.state == "running":
            cutovers.set_step(cut.id, step.name, "failed", GONE)
    if cut.frozen is not None and cut.released is None:
        cutovers.change(cut.id, released=min(time.time(), cut.frozen + cut.budget))
    cutovers.set_state(cut.id, "aborted", "; ".join((GONE, *problems)))
    tell("warning", f"what an earlier cutover had begun is taken back: {GONE}")
    for problem in problems:
        tell("error", problem)


def _unmark(record: RunRecord) -> None:
    target = open_target(record.target, record.graph or None, create=False)
    try:
        unmark(target, record.uid)
    finally:
        target.close()


@contextlib.asynccontextmanager
async def _session(dsn: str, password: str | None) -> AsyncIterator[Connection]:
    connection = await open_for_capture(dsn, password)
    try:
        yield connection
    finally:
        connection.terminate()
