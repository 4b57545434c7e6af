"""`migrate`, `resume` and `validate`: a run from the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from geode_tui.commands.arguments import schemas_of, source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import (
    ledger_document,
    say,
    show,
    show_json,
    show_ledger,
)
from geode_tui.commands.progress import ProgressDisplay
from geode_tui.errors import (
    EXIT_DIFFERS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    GeodeTuiError,
    RunStopped,
)
from geode_tui.migration.journal import Journal
from geode_tui.migration.plan import make_plan
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.verify import LeftOut, take_ledger


def migrate(arguments: argparse.Namespace) -> int:
    """Run to the end of verify and print the ledger."""
    _, mapping = checked_mapping(arguments)
    place, graph = target_of(arguments)
    request = RunRequest(
        source_of(arguments),
        place,
        mapping,
        graph,
        schemas_of(arguments),
        arguments.parallel,
        arguments.batch_size,
    )
    return drive(Runner(request), arguments.json)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run that stopped."""
    number = arguments.run
    if number is None:
        number = _newest_resumable()
    record = Journal().run(number)
    if record.label == "demo" and not arguments.source:
        from geode_tui.commands.demo import resume_demo

        return resume_demo(record, arguments.json)
    source = source_of(arguments) or None
    return drive(Runner(resume=number, source=source), arguments.json)


def drive(runner: Runner, json: bool) -> int:
    """Start a runner, show its progress on stderr, and print the ledger on stdout.

    Ctrl-C stops the run safely; a second one ends at once. Both can be resumed.
    """
    interrupted = False
    with ProgressDisplay(runner) as display, _on_interrupt(runner) as pressed:
        runner.start()
        while not runner.join(0.1):
            display.update()
        display.update()
        interrupted = bool(pressed)
    ledger = runner.ledger
    if ledger is not None:
        _print(ledger, runner.run_number, json)
    if interrupted and isinstance(runner.error, RunStopped):
        for line in runner.error.lines():
            say(line)
        return EXIT_INTERRUPTED
    if runner.error is not None:
        number = runner.run_number
        resumable = number is not None and Journal().run(number).resumable
        if resumable and not runner.error.next_step:
            runner.error.next_step = f"geode-tui resume {number}"
        raise runner.error
    assert ledger is not None
    return EXIT_OK if ledger.balanced else EXIT_DIFFERS


def validate(arguments: argparse.Namespace) -> int:
    """Take the ledger anew and print it; exit 4 when the graph differs."""
    place, graph = target_of(arguments)
    catalog, mapping = checked_mapping(arguments)
    plan = make_plan(mapping, catalog)
    dsn = source_of(arguments)

    async def work() -> Ledger:
        source = await Source.connect(dsn)
        try:
            holder = await source.snapshot(sorted({e.rule.table for e in plan.entities}))
            target = await asyncio.to_thread(open_target, place, graph, create=False)
            try:
                return await take_ledger(
                    holder,
                    target,
                    plan.entities,
                    _left_out(place, graph),
                    holder.fence,
                    same_snapshot=False,
                )
            finally:
                await asyncio.to_thread(target.close)
                await holder.close()
        finally:
            await source.close()

    ledger = asyncio.run(work())
    _print(ledger, None, arguments.json or arguments.format == "json")
    return EXIT_OK if ledger.balanced else EXIT_DIFFERS


def _left_out(place: str, graph: str | None) -> dict[str, LeftOut]:
    """What the newest run on this target could not write, from the journal."""
    journal = Journal()
    newest = journal.newest(place, graph or "")
    if newest is None:
        return {}
    say(f"dead letters and orphans are those of run {newest.number}")
    return {e.id: LeftOut(e.dead, e.orphans) for e in journal.entities(newest.number)}


def _newest_resumable() -> int:
    for record in Journal().runs():
        if record.resumable:
            return record.number
    raise GeodeTuiError("no run stopped before its end", "", "list all with: geode-tui runs")


def _print(ledger: Ledger, run: int | None, json: bool) -> None:
    if json:
        show_json({"run": run, **ledger_document(ledger)})
        return
    if run is not None:
        show(f"run {run}")
    show_ledger(ledger)


@contextmanager
def _on_interrupt(runner: Runner) -> Iterator[list[float]]:
    """Ctrl-C and SIGTERM stop the run safely; a second one ends the process at once."""
    pressed: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        pressed.append(time.time())
        if len(pressed) > 1:
            print("\nended at once; the run can be resumed", file=sys.stderr, flush=True)
            os._exit(EXIT_INTERRUPTED)
        runner.stop()
        say("\nstopping after the rows in flight; press Ctrl-C again to end at once")

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
