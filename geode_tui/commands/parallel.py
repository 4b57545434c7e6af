"""`parallel`: ask source and graph the same questions on a schedule, while both are in use."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from geode_tui.commands.arguments import source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import aligned, say, show, show_json, to_file
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK
from geode_tui.mapping.model import Pair
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.parallel_run import (
    HEADER,
    RIGHT,
    Answer,
    PairStanding,
    ParallelAnswers,
    ParallelRun,
    as_markdown,
    cells,
    standings,
)
from geode_tui.source.dsn import check_dsn, short_name
from geode_tui.source.postgres import Source

INTERVAL_SECONDS = 10.0


def parallel(arguments: argparse.Namespace) -> int:
    """Ask until it is stopped or done; exit 4 where a pair differs at its last asking."""
    place, graph = target_of(arguments)
    _, mapping = checked_mapping(arguments)
    journal = Journal()
    newest = journal.newest(place, graph or "")
    room, run = ParallelAnswers(journal.store), newest.number if newest else 0
    begun = time.time()

    def keep(answer: Answer) -> None:
        room.add(run, answer)
        if not answer.equal:
            say(f"{answer.pair} differs: {answer.detail}")

    asyncio.run(_ask(arguments, place, graph, mapping.checks, keep))
    found = standings(room.of(run, begun))
    _show(arguments, found, place)
    return EXIT_OK if all(one.equal for one in found) else EXIT_DIFFERS


async def _ask(
    arguments: argparse.Namespace,
    place: str,
    graph: str | None,
    pairs: Sequence[Pair],
    keep: Callable[[Answer], None],
) -> None:
    source = await Source.connect(source_of(arguments))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    times = arguments.times
    if times is None and arguments.interval is None:
        times = 1
    interval = INTERVAL_SECONDS if arguments.interval is None else arguments.interval
    try:
        work = ParallelRun(source, place, graph, pairs, keep, interval, times, say)
        await work.run(stop)
    finally:
        await source.close()


def _show(arguments: argparse.Namespace, found: Sequence[PairStanding], place: str) -> None:
    source = short_name(check_dsn(source_of(arguments)))
    if arguments.report is not None:
        with to_file(Path(arguments.report)):
            print(as_markdown(found, source, place), end="")
        say(f"wrote {arguments.report}")
    if arguments.json:
        show_json({"source": source, "target": place, "pairs": [asdict(one) for one in found]})
        return
    for line in aligned(HEADER, [cells(one) for one in found], RIGHT):
        show(line)
