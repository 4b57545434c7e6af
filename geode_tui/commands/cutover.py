"""`cutover`: the gates, the freeze, the flip, the watch window, and the way back."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from geode_tui.commands.arguments import log_in_again, source_of
from geode_tui.commands.output import aligned, duration, say, show, show_json
from geode_tui.commands.rollback import require_name
from geode_tui.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, GeodeTuiError, UsageError
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication import leftover
from geode_tui.migration.replication.cutover import CutoverEngine, CutoverRequest
from geode_tui.migration.replication.cutovers import Wish, percentile
from geode_tui.migration.replication.fall_back import FallBackReport, FallBackRequest
from geode_tui.migration.replication.gates import shut
from geode_tui.migration.replication.hooks import HOOKS
from geode_tui.migration.replication.state import CutoverSnapshot, Gate

_ANSWER_SECONDS = 60.0
_MARKS = {"green": "✓", "amber": "!", "red": "✗"}
_STEP_MARKS = {"done": "✓", "failed": "✗", "undone": "↺", "running": "▶", "waiting": "…"}


def cutover(arguments: argparse.Namespace) -> int:
    """Cut a run over, rehearse that, or answer a cutover that goes."""
    journal = Journal()
    record = journal.run(arguments.run)
    request = _request(arguments)
    log_in_again(record.target)
    if arguments.gates:
        return _gates(journal, request, arguments.json)
    if arguments.abort:
        return _abort(journal, request, arguments.json)
    if arguments.keep:
        return _keep(journal, request, arguments.json)
    if arguments.fall_back:
        return _fall_back(journal, request, arguments)
    if not (request.rehearse or arguments.yes):
        request.check()
        require_name(record, "cutover turns writers from the source to")
    return _cut_over(journal, request, arguments.json)


def _request(arguments: argparse.Namespace) -> CutoverRequest:
    hooks = {name: getattr(arguments, name.replace("-", "_")) for name in HOOKS}
    return CutoverRequest(
        arguments.run,
        rehearse=arguments.rehearse,
        method=arguments.method,
        budget_seconds=arguments.budget,
        watch_seconds=arguments.watch,
        hooks={name: command for name, command in hooks.items() if command},
        waivers=dict(_waiver(text) for text in arguments.waive),
        source=source_of(arguments) or None,
        guard=not arguments.no_guard,
        lag_seconds=arguments.lag,
        calm_seconds=arguments.calm,
    )


def _waiver(text: str) -> tuple[str, str]:
    name, equals, reason = text.partition("=")
    if not equals:
        raise UsageError(f"--waive {text} has no reason", "", "write --waive GATE=REASON")
    return name.strip(), reason.strip()


def _cut_over(journal: Journal, request: CutoverRequest, json: bool) -> int:
    told = _Narration()
    engine = CutoverEngine(journal, told.show)
    try:
        snapshot = _driven(engine, engine.run(request))
    except GeodeTuiError:
        if engine.snapshot().steps:
            _print(engine.snapshot(), json)
        raise
    _print(snapshot, json)
    return EXIT_OK


def _gates(journal: Journal, request: CutoverRequest, json: bool) -> int:
    """Print the gates; exit 1 where one is shut."""
    gates = asyncio.run(CutoverEngine(journal).look(request))
    if json:
        show_json({"run": request.run, "gates": [_gate(one) for one in gates]})
    else:
        _show_gates(gates)
    return EXIT_FAILED if shut(gates) else EXIT_OK


def _abort(journal: Journal, request: CutoverRequest, json: bool) -> int:
    """Abort the cutover that goes, or take back what one that is gone has left."""
    cut = journal.cutovers.newest(request.run)
    flipped = cut is not None and cut.state in ("flipped", "watching", "kept")
    if not flipped and journal.locks.held(leftover.lock_name(request.run)):
        _ask(journal, request.run, "abort")
    elif not flipped:
        engine = CutoverEngine(journal, _Narration().show)
        flipped = _driven(engine, engine.settle(request)) is not None
    if flipped:
        raise UsageError(
            f"run {request.run} is flipped: it is too late to abort",
            "",
            f"geode-tui cutover {request.run} --fall-back",
        )
    return _told_now(journal, request.run, json)


def _keep(journal: Journal, request: CutoverRequest, json: bool) -> int:
    """End the watch window, whether a process watches or not."""
    cut = journal.cutovers.newest(request.run)
    if cut is None or cut.state not in ("flipped", "watching"):
        raise UsageError(f"run {request.run} has no watch window to end")
    if journal.locks.held(leftover.lock_name(request.run)):
        _ask(journal, request.run, "keep")
    else:
        journal.cutovers.ask(request.run, "keep")
        engine = CutoverEngine(journal, _Narration().show)
        _driven(engine, engine.go_on(request))
    return _told_now(journal, request.run, json)


def _fall_back(journal: Journal, request: CutoverRequest, arguments: argparse.Namespace) -> int:
    """Fall back, by the process that watches or by this one."""
    record = journal.run(request.run)
    if not (arguments.yes or arguments.preview):
        require_name(record, "falling back turns writers to the source from")
    how = FallBackRequest(
        way=arguments.by,
        leave=frozenset(arguments.leave),
        remove_many=arguments.remove_many,
        preview=arguments.preview,
    )
    if journal.locks.held(leftover.lock_name(request.run)) and not arguments.preview:
        if how != FallBackRequest():
            raise UsageError(
                f"the process that watches run {request.run} falls back without options",
                "",
                "end that process (Ctrl-C there), and try again",
            )
        _ask(journal, request.run, "fall back")
        return _told_now(journal, request.run, arguments.json)
    engine = CutoverEngine(journal, _Narration().show)
    report = _driven(engine, engine.fall_back(request, how))
    if arguments.json and arguments.preview:
        show_json(asdict(report))
    elif arguments.json:
        return _told_now(journal, request.run, json=True)
    else:
        _show_report(report)
    return EXIT_OK


def _ask(journal: Journal, run: int, what: Wish) -> None:
    """Ask the process that cuts over, and wait until it has ended."""
    journal.cutovers.ask(run, what)
    until = time.monotonic() + _ANSWER_SECONDS
    while journal.locks.held(leftover.lock_name(run)):
        if time.monotonic() > until:
            raise GeodeTuiError(
                f"the cutover of run {run} does not answer",
                "its process lives and was asked",
                "end that process: the freeze ends by itself; then: geode-tui cutover"
                f" {run} --abort",
            )
        time.sleep(0.1)


def _driven[T](engine: CutoverEngine, work: Coroutine[Any, Any, T]) -> T:
    """Run it; Ctrl-C and SIGTERM take everything back, a second one ends at once."""
    pressed: list[int] = []

    def interrupt() -> None:
        pressed.append(1)
        if len(pressed) > 1:
            with suppress(OSError):
                os.write(2, b"\nended at once; the freeze ends by itself\n")
            os._exit(EXIT_INTERRUPTED)
        engine.abort("interrupted")

    async def run() -> T:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):  # not the main thread
                loop.add_signal_handler(number, interrupt)
        return await work

    try:
        return asyncio.run(run())
    except GeodeTuiError as error:
        if pressed:
            error.exit_code = EXIT_INTERRUPTED
        raise


class _Narration:
    """Tells on stderr what changes from one snapshot to the next."""

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}
        self._blocked: set[int] = set()
        self._shut: set[str] = set()

    def show(self, snapshot: CutoverSnapshot) -> None:
        """Tell what is new in a snapshot."""
        closed = {f"{gate.name}: {gate.evidence}" for gate in shut(snapshot.gates)}
        if {text.split(":")[0] for text in closed} != self._shut:
            self._shut = {text.split(":")[0] for text in closed}
            for text in sorted(closed):
                say(f"gate {text}")
        for step in snapshot.steps:
            if self._steps.get(step.name) != step.state and step.state != "waiting":
                detail = f": {step.detail}" if step.detail else ""
                say(f"{_STEP_MARKS.get(step.state, ' ')} {step.title}{detail}")
            self._steps[step.name] = step.state
        for one in snapshot.blocked:
            if one.pid not in self._blocked:
                say(f"  pid {one.pid} {one.user} {one.application} waits: {one.query}")
        self._blocked |= {one.pid for one in snapshot.blocked}


def _told_now(journal: Journal, run: int, json: bool) -> int:
    cut = journal.cutovers.newest(run)
    if cut is None:
        raise UsageError(f"run {run} was never cut over")
    _print(leftover.told(journal, cut), json)
    return EXIT_OK


def _print(snapshot: CutoverSnapshot, json: bool) -> None:
    if json:
        show_json(cutover_document(snapshot))
        return
    if snapshot.gates:
        _show_gates(snapshot.gates)
    header = ("step", "seconds", "state", "")
    rows = [
        (
            step.title,
            f"{step.ended - step.started:.2f}" if step.started and step.ended else "",
            f"{_STEP_MARKS.get(step.state, ' ')} {step.state}",
            step.detail,
        )
        for step in snapshot.steps
    ]
    for line in aligned(header, rows, "_>__"):
        show(line)
    for line in _verdict(snapshot):
        show(line)


def _verdict(snapshot: CutoverSnapshot) -> list[str]:
    lines = []
    what = "rehearsal" if snapshot.rehearsal else "cutover"
    if snapshot.frozen_at is not None and snapshot.released_at is not None:
        stood = snapshot.released_at - snapshot.frozen_at
        lines.append(f"writes stood {stood:.2f} s, the budget is {snapshot.budget_seconds:g} s")
    if snapshot.rehearsals:
        p50, p95 = (percentile(snapshot.rehearsals, share) for share in (0.5, 0.95))
        many = len(snapshot.rehearsals)
        lines.append(f"{many} rehearsals passed: p50 {p50:.2f} s, p95 {p95:.2f} s")
    state = f"run {snapshot.run}: {what} {snapshot.state}"
    if snapshot.state == "watching" and snapshot.watch_until is not None:
        state += f", for {duration(max(0.0, snapshot.watch_until - time.time()))} more"
    lines.append(f"{state}: {snapshot.error}" if snapshot.error else state)
    return lines


def cutover_document(snapshot: CutoverSnapshot) -> dict[str, Any]:
    """How a cutover stands as a JSON document (docs/cli.md)."""
    stood = None
    if snapshot.frozen_at is not None and snapshot.released_at is not None:
        stood = snapshot.released_at - snapshot.frozen_at
    return asdict(snapshot) | {
        "gates": [_gate(gate) for gate in snapshot.gates],
        "stood_seconds": stood,
        "rehearsals_p50": percentile(snapshot.rehearsals, 0.5),
        "rehearsals_p95": percentile(snapshot.rehearsals, 0.95),
    }


def _gate(gate: Gate) -> dict[str, Any]:
    return asdict(gate) | {"passed": gate.passed}


def _show_gates(gates: Sequence[Gate]) -> None:
    now = time.time()
    rows = []
    for gate in gates:
        evidence = gate.evidence
        if gate.reason:
            evidence += f" (waived by {gate.waived_by}: {gate.reason})"
        next_step = "" if gate.passed else gate.next_step
        cells = (gate.name, evidence, _age(now - gate.checked_at), next_step)
        rows.append((_MARKS[gate.colour], *cells))
    for line in aligned(("", "gate", "evidence", "age", "next"), rows):
        show(line)


def _age(seconds: float) -> str:
    return "now" if seconds < 2 else duration(seconds)


def _show_report(report: FallBackReport) -> None:
    rows = [
        (str(one.table), f"{one.inserted:,}", f"{one.updated:,}", f"{one.deleted:,}")
        for one in report.tables
    ]
    for line in aligned(("table", "made", "changed", "removed"), rows, "_>>>"):
        show(line)
    for note in report.notes:
        show(note)
    would = "would be written" if report.preview else "written"
    show(f"{report.rows:,} rows {would}, by {report.way}; {report.compared:,} rules are equal")
