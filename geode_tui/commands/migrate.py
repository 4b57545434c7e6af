"""`migrate` and `resume`: a run from the command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from geode_tui.commands.arguments import log_in_again, schemas_of, source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import (
    ledger_document,
    say,
    show,
    show_json,
    show_ledger,
    silence,
)
from geode_tui.commands.progress import ProgressDisplay
from geode_tui.commands.steer import lift_pause, paused_run
from geode_tui.errors import (
    EXIT_DIFFERS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RESUMABLE,
    GeodeTuiError,
    RunStopped,
    UsageError,
)
from geode_tui.migration.engine import AS_IT_WAS, DEAD_LIMIT
from geode_tui.migration.journal import Journal
from geode_tui.migration.retry import is_transient
from geode_tui.migration.run_list import RunList, newest_resumable
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.validation.ledger import Ledger


def migrate(arguments: argparse.Namespace) -> int:
    """Run to the end of verify and print the ledger."""
    place, graph = target_of(arguments)
    _, mapping = checked_mapping(arguments)
    request = RunRequest(
        source_of(arguments),
        place,
        mapping,
        graph,
        schemas_of(arguments),
        arguments.parallel,
        arguments.batch_size,
        strategy=arguments.strategy,
        last_wave=arguments.wave,
        dead_limit=DEAD_LIMIT if arguments.dead_limit == AS_IT_WAS else arguments.dead_limit,
        into_existing=arguments.into_existing,
        capture=arguments.capture,
        capture_name=arguments.capture_name,
    )
    _require_capture_options(arguments)
    return drive(Runner(request), arguments.json)


def _require_capture_options(arguments: argparse.Namespace) -> None:
    if arguments.strategy != "zero-downtime" and (
        arguments.capture != "auto" or arguments.capture_name
    ):
        raise UsageError(
            f"a {arguments.strategy} run captures no changes",
            "",
            "add --strategy zero-downtime, or leave --capture out",
        )


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run that stopped, or lift the pause of one that goes."""
    journal = Journal()
    number = arguments.run or paused_run(journal) or _newest_resumable()
    record = journal.run(number)
    if lift_pause(journal, record, arguments.json):
        return EXIT_OK
    if record.label == "demo" and not arguments.source:
        from geode_tui.commands.demo import resume_demo

        return resume_demo(record, arguments.json)
    log_in_again(record.target)
    runner = Runner(
        resume=number,
        source=source_of(arguments) or None,
        last_wave=arguments.wave,
        dead_limit=arguments.dead_limit,
    )
    return drive(runner, arguments.json)


def drive(runner: Runner, json: bool) -> int:
    """Start a runner, show its progress on stderr, and print the ledger on stdout.

    Ctrl-C stops the run safely; a second one ends at once. Both can be resumed.
    """
    pressed = follow(runner)
    ledger = runner.ledger
    if ledger is not None:
        _print(ledger, runner.run_number, json)
    if pressed and isinstance(runner.error, RunStopped):
        for line in runner.error.lines():
            say(line)
        return EXIT_INTERRUPTED
    if runner.error is not None:
        raise _ended(runner, runner.error)
    assert ledger is not None
    return EXIT_OK if ledger.valid else EXIT_DIFFERS


def follow(runner: Runner) -> bool:
    """Start a runner and show its progress on stderr to its end; whether it was interrupted."""
    with ProgressDisplay(runner) as display, _on_interrupt(runner) as pressed:
        runner.start()
        told = False
        while not runner.join(0.1):
            if pressed and not told:
                told = True
                say("stopping after what is in flight; press Ctrl-C again to end at once")
            display.update()
        display.update()
    return bool(pressed)


def _ended(runner: Runner, error: GeodeTuiError) -> GeodeTuiError:
    """The error of a run; once rows were on their way, one that tells to resume it."""
    begun = ("backfill", "verify")
    writing = any(p.name in begun and p.state != "waiting" for p in runner.snapshot().phases)
    if not isinstance(error, UsageError) and writing:
        error.exit_code = EXIT_RESUMABLE
    number = runner.run_number
    if number is None:
        return error
    if error.next_step.endswith("geode-tui resume"):
        error.next_step += f" {number}"
    elif not error.next_step or (writing and is_transient(error)):
        with suppress(GeodeTuiError):  # the journal itself may be what failed
            if Journal().run(number).resumable:
                before = f"{error.next_step}, then: " if error.next_step else ""
                error.next_step = f"{before}geode-tui resume {number}"
    return error


def _newest_resumable() -> int:
    """The newest run to go on with; one that never wrote only where no other is."""
    line = newest_resumable(RunList().lines())
    if line is None:
        raise GeodeTuiError("no run stopped before its end", "", "list all with: geode-tui runs")
    say(f"run {line.number} is the newest to go on with: {line.source} to {line.place}")
    return line.number


def _print(ledger: Ledger, run: int | None, json: bool) -> None:
    """Print a ledger; the exit code tells its verdict, also where nobody reads on."""
    try:
        _show(ledger, run, json)
    except BrokenPipeError:
        silence(sys.stdout)


def _show(ledger: Ledger, run: int | None, json: bool) -> None:
    if json:
        show_json({"run": run, **ledger_document(ledger)})
        return
    if run is not None:
        show(f"run {run}")
    show_ledger(ledger)


@contextmanager
def _on_interrupt(runner: Runner) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM stop the run safely; a second one ends the process at once."""
    pressed: list[int] = []

    # Printing may be what the signal interrupts: the handler writes past Python's buffers.
    def handle(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            with suppress(OSError):
                os.write(2, b"\nended at once; geode-tui status tells how the run stands\n")
            os._exit(EXIT_INTERRUPTED)
        with suppress(RuntimeError):  # the run ended this very moment
            runner.stop()

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
