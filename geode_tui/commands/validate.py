"""`validate`: the ledger and the digests of what is in the graph now, as a report."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from geode_tui.commands.arguments import source_of, target_of
from geode_tui.commands.catalog import checked_mapping
from geode_tui.commands.output import (
    ledger_document,
    say,
    show_document,
    show_json,
    show_ledger,
    silence,
    to_file,
)
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, UsageError
from geode_tui.migration import versions
from geode_tui.migration.journal import Journal
from geode_tui.migration.left_out import LeftOutOfGraph, left_out_of
from geode_tui.migration.plan import make_plan
from geode_tui.source.dsn import check_dsn, short_name
from geode_tui.source.postgres import Source
from geode_tui.target import open_target
from geode_tui.target.model import Target
from geode_tui.validation.checks import check_constraints, check_degrees, check_strangers
from geode_tui.validation.digests import Digests
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Check, Ledger
from geode_tui.validation.report import Facts, Report, make_report
from geode_tui.validation.report_html import as_html
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown
from geode_tui.validation.sides import RowReader
from geode_tui.validation.verify import take_ledger

_OURS = (versions.LABEL,)
"""Labels of nodes that no rule makes, and that are ours."""


def validate(arguments: argparse.Namespace) -> int:
    """Compare source and graph and print what was found; exit 4 when the graph differs."""
    form = "json" if arguments.json else str(arguments.format)
    with _output(arguments.output, form):
        ledger, facts = _compared(arguments)
        _print(ledger, facts, form)
    if arguments.output is not None:
        say(f"wrote {arguments.output}")
    return EXIT_OK if ledger.valid else EXIT_DIFFERS


def _output(name: str | None, form: str) -> AbstractContextManager[None]:
    """Where the report goes: a file that is not there yet, or stdout where that makes sense.

    It is opened before anything is compared: who waits for hours wants to find it.
    """
    if name is not None:
        return to_file(Path(name))
    if form == "html" and sys.stdout.isatty():
        raise UsageError("a page of HTML is not for a terminal", "", "name a file with --output")
    return nullcontext()


def _compared(arguments: argparse.Namespace) -> tuple[Ledger, Facts]:
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
                digests = Digests(
                    fresh, arguments.deep, deep_relationships=arguments.check_references
                )
                ledger = await take_ledger(
                    holder,
                    target,
                    plan.entities,
                    left_out.entities,
                    holder.fence,
                    same_snapshot=False,
                    before=left_out.before,
                    runs=left_out.marks,
                    digests=digests,
                )
                checks = await _checks(arguments, holder, target, plan.entities, left_out)
                return replace(ledger, checks=tuple(checks))
            finally:
                await asyncio.to_thread(target.close)
                await holder.close()
        finally:
            await source.close()

    near = place.removeprefix(f"{Path.cwd()}{os.sep}")
    named = f"{near}, graph {graph}" if graph else near
    return asyncio.run(work()), Facts(short_name(check_dsn(dsn)), named, arguments.mapping)


async def _checks(
    arguments: argparse.Namespace,
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: LeftOutOfGraph,
) -> list[Check]:
    """What is looked at beside the ledger."""
    checks = await check_strangers(target, entities, _OURS)
    if arguments.check_constraints:
        checks += await check_constraints(target, entities)
    if arguments.check_references and not left_out.before:
        checks += await check_degrees(reader, target, entities, left_out.entities)
    return checks


def _left_out(place: str, graph: str | None) -> LeftOutOfGraph:
    """What the runs that wrote to this target could not write, from the journal."""
    found = left_out_of(Journal(), place, graph or "")
    if found.runs:
        runs = ", ".join(str(number) for number in found.runs)
        say(f"dead letters and orphans are those of run {runs}")
    return found


def _print(ledger: Ledger, facts: Facts, form: str) -> None:
    """Print a ledger; the exit code tells its verdict, also where nobody reads on."""
    try:
        if form == "json":
            show_json({"run": None, **ledger_document(ledger)})
        elif form == "table":
            show_ledger(ledger)
        else:
            show_document(_DOCUMENTS[form](make_report(ledger, facts)))
    except BrokenPipeError:
        silence(sys.stdout)


_DOCUMENTS: dict[str, Callable[[Report], str]] = {
    "md": as_markdown,
    "html": as_html,
    "junit": as_junit,
}
