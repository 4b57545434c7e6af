"""`pause`, `throttle`, `checkpoint`, and lifting a pause: steer a run from any terminal.

What is asked goes into the journal with who asked it; the run takes it within a second.
"""

from __future__ import annotations

import argparse
import shlex
import time
from dataclasses import asdict
from typing import Any

from geode_tui.commands.output import say, show, show_json
from geode_tui.errors import EXIT_OK, GeodeTuiError, UsageError
from geode_tui.migration.checkpoints import BEGINNING, Checkpoint
from geode_tui.migration.control import Knobs
from geode_tui.migration.events import PHASES
from geode_tui.migration.journal import ANEW, Journal, RunRecord

POLL_SECONDS = 0.2
MOST_WORKERS = 26
MOST_ROWS = 1_000_000_000
LONGEST_NAME = 100
OFF = "off"
AUTO = "auto"


def pause(arguments: argparse.Namespace) -> int:
    """Let a run stand still after the rows in flight; it keeps its snapshot and its sessions."""
    journal = Journal()
    record = _running(journal, arguments.run, "be paused")
    knobs = journal.control.ask(record.number, paused=True)
    _tell(
        record,
        knobs,
        arguments.json,
        f"run {record.number} pauses after the rows in flight; its snapshot is held on the source",
        f"lift the pause with: geode-tui resume {record.number}",
    )
    return EXIT_OK


def throttle(arguments: argparse.Namespace) -> int:
    """Change how fast a run may go, or print how fast it may where nothing is asked."""
    journal = Journal()
    changes = _changes(arguments)
    record = _running(journal, arguments.run, "be throttled")
    if changes:
        knobs = journal.control.ask(record.number, **changes)
    else:
        knobs = journal.control.knobs(record.number)
    _tell(record, knobs, arguments.json, f"run {record.number}: {_speed(record, knobs)}")
    return EXIT_OK


def checkpoint(arguments: argparse.Namespace) -> int:
    """Ask a run for a checkpoint, and wait until it is taken."""
    name = _checked_name(arguments.name)
    journal = Journal()
    record = _running(journal, arguments.run, "take a checkpoint")
    _ask_checkpoint(journal, record.number, name)
    taken = _wait_for(journal, record.number, name, arguments.timeout)
    if arguments.json:
        show_json(asdict(taken))
        return EXIT_OK
    show(f"checkpoint {name} of run {record.number} is taken: {sum(taken.rows.values()):,} rows")
    back = f"geode-tui rollback {record.number} --to {shlex.quote(name)}"
    say(f"go back to it with: {back}")
    return EXIT_OK


def paused_run(journal: Journal) -> int | None:
    """The newest run that goes and is paused, None where there is none."""
    going = (record for record in journal.runs() if record.state == "running")
    return next((r.number for r in going if journal.control.knobs(r.number).paused), None)


def lift_pause(journal: Journal, record: RunRecord, json: bool) -> bool:
    """Let a paused run go on where it stands, and tell so; False where it is not paused."""
    if record.state != "running" or not journal.control.knobs(record.number).paused:
        return False
    knobs = journal.control.ask(record.number, paused=False)
    watch = f"watch it with: geode-tui status {record.number} --follow"
    _tell(record, knobs, json, f"run {record.number} goes on", watch)
    return True


# -- which run ------------------------------------------------------------------------------------


def _running(journal: Journal, number: int | None, what: str) -> RunRecord:
    """The run to steer: the one of that number, else the only one that goes. Raises UsageError."""
    if number is None:
        return _require_steered(_only_one(journal), what)
    record = journal.run(number)
    _require_steered(record, what)
    if record.state != "running":
        next_step = f"go on with: geode-tui resume {number}" if record.resumable else ""
        raise UsageError(
            f"run {number} is {record.state}: only a run that goes can {what}",
            "",
            next_step or "list the runs with: geode-tui runs",
        )
    return record


def _require_steered(record: RunRecord, what: str) -> RunRecord:
    """Refuse a run that heeds no knob. Raises UsageError."""
    if record.kind in ANEW:
        raise UsageError(
            f"run {record.number} is a {record.kind} run: it cannot {what}",
            "",
            "stop it where it runs, with Ctrl-C",
        )
    return record


def _only_one(journal: Journal) -> RunRecord:
    going = [record for record in journal.runs() if record.state == "running"]
    if len(going) == 1:
        return going[0]
    if going:
        numbers = ", ".join(str(record.number) for record in going)
        raise UsageError(f"{len(going)} runs go: {numbers}", "", "name one of them")
    raise UsageError("no run goes now", "", "list the runs with: geode-tui runs")


# -- knobs ----------------------------------------------------------------------------------------


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The knobs that are asked for. Raises UsageError."""
    asked = {
        "rows_per_second": (arguments.rows_per_second, OFF, MOST_ROWS),
        "parallel": (arguments.parallel, None, MOST_WORKERS),
        "batch_rows": (arguments.batch_size, AUTO, MOST_ROWS),
    }
    changes: dict[str, Any] = {}
    for knob, (value, neutral, most) in asked.items():
        if value is None:
            continue
        if value == neutral:
            changes[knob] = None
        elif value > most:
            raise UsageError(f"{value:,} is too much", f"at most {most:,}")
        else:
            changes[knob] = value
    return changes


def _speed(record: RunRecord, knobs: Knobs) -> str:
    limit = f"{knobs.rows_per_second:,} rows/s at most" if knobs.rows_per_second else "no limit"
    workers = knobs.parallel or record.parallel
    size = knobs.batch_rows or record.batch_rows
    batch = f"{size:,} rows a transaction" if size else "transactions adapt"
    return f"{limit}, {workers} {'worker' if workers == 1 else 'workers'}, {batch}"


def _tell(record: RunRecord, knobs: Knobs, json: bool, text: str, next_step: str = "") -> None:
    if json:
        show_json(knobs_document(record, knobs))
        return
    show(text)
    if next_step:
        say(next_step)


def knobs_document(record: RunRecord, knobs: Knobs) -> dict[str, Any]:
    """The knobs of a run as a JSON document (docs/cli.md)."""
    return {
        "run": record.number,
        "paused": knobs.paused,
        "rows_per_second": knobs.rows_per_second,
        "parallel": knobs.parallel or record.parallel,
        "batch_rows": knobs.batch_rows or record.batch_rows,
        "checkpoint": knobs.checkpoint,
        "who": knobs.who,
        "changed": knobs.changed,
    }


# -- checkpoints ----------------------------------------------------------------------------------


def _checked_name(text: str) -> str:
    """A checkpoint's name that nobody can mistake. Raises UsageError."""
    name = text.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} is no name for a checkpoint",
            f"it has 1 to {LONGEST_NAME} characters that can be printed",
        )
    if name in (BEGINNING, *PHASES) or name.startswith("wave "):
        raise UsageError(f"{name} is the name of a checkpoint that runs take themselves")
    return name


def _ask_checkpoint(journal: Journal, run: int, name: str) -> None:
    """Ask for it in one transaction with the look whether it can be asked for."""
    with journal.store.write():
        if any(checkpoint.name == name for checkpoint in journal.checkpoints.of(run)):
            raise UsageError(f"run {run} has a checkpoint {name} already", "", "name another")
        pending = journal.control.knobs(run).checkpoint
        if pending and pending != name:
            raise UsageError(
                f"run {run} is about to take the checkpoint {pending}", "", "try again after it"
            )
        journal.control.ask(run, checkpoint=name)


def _wait_for(journal: Journal, run: int, name: str, seconds: float) -> Checkpoint:
    """The checkpoint once it is taken. Raises GeodeTuiError when it is not."""
    deadline = time.monotonic() + seconds
    while True:
        state = journal.run(run).state
        for taken in journal.checkpoints.of(run):
            if taken.name == name:
                return taken
        if state != "running":
            raise GeodeTuiError(
                f"run {run} is {state}, and took no checkpoint {name}",
                "it ended before the chunks in flight were done",
            )
        if time.monotonic() >= deadline:
            raise GeodeTuiError(
                f"checkpoint {name} is asked for, and not taken within {seconds:g} s",
                _why_not_yet(journal, run),
                f"it is taken as soon as that has passed: geode-tui status {run} --follow",
            )
        time.sleep(POLL_SECONDS)


def _why_not_yet(journal: Journal, run: int) -> str:
    now = next((p.name for p in journal.phases(run) if p.state == "running"), "")
    if now != "backfill":
        return f"the run is in its phase {now}: checkpoints are taken in backfill" if now else ""
    return "chunks are in flight: a checkpoint needs a moment when none is"
