"""`validate`: the ledger and the digests of what is in the graph now."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from geode_tui.commands.arguments import source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import ledger_document, say, show_json, show_ledger, silence
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK
from geode_tui.migration.journal import Journal
from geode_tui.migration.left_out import LeftOutOfGraph, left_out_of
from geode_tui.migration.plan import make_plan
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.validation.digests import Digests
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.sides import RowReader
from geode_tui.validation.verify import take_ledger


def validate(arguments: argparse.Namespace) -> int:
    """Compare source and graph and print the ledger; exit 4 when the graph differs."""
    place, graph = target_of(arguments)
    catalog, mapping = checked_mapping(arguments)
    plan = make_plan(mapping, catalog)
    dsn = source_of(arguments)
    tables = sorted({entity.rule.table for entity in plan.entities})

    async def work() -> Ledger:
        source = await Source.connect(dsn)

        @asynccontextmanager
        async def fresh() -> AsyncIterator[RowReader]:
            holder = await source.snapshot(tables)
            try:
                yield holder
            finally:
                await holder.close()

        try:
            holder = await source.snapshot(tables)
            target = await asyncio.to_thread(
                open_target, place, graph, create=False, read_only=True
            )
            try:
                left_out = await asyncio.to_thread(_left_out, place, graph)
                return await take_ledger(
                    holder,
                    target,
                    plan.entities,
                    left_out.entities,
                    holder.fence,
                    same_snapshot=False,
                    before=left_out.before,
                    runs=left_out.marks,
                    digests=Digests(fresh, arguments.deep),
                )
            finally:
                await asyncio.to_thread(target.close)
                await holder.close()
        finally:
            await source.close()

    ledger = asyncio.run(work())
    _print(ledger, arguments.json or arguments.format == "json")
    return EXIT_OK if ledger.balanced else EXIT_DIFFERS


def _left_out(place: str, graph: str | None) -> LeftOutOfGraph:
    """What the runs that wrote to this target could not write, from the journal."""
    found = left_out_of(Journal(), place, graph or "")
    if found.runs:
        runs = ", ".join(str(number) for number in found.runs)
        say(f"dead letters and orphans are those of run {runs}")
    return found


def _print(ledger: Ledger, json: bool) -> None:
    """Print a ledger; the exit code tells its verdict, also where nobody reads on."""
    try:
        if json:
            show_json({"run": None, **ledger_document(ledger)})
        else:
            show_ledger(ledger)
    except BrokenPipeError:
        silence(sys.stdout)
