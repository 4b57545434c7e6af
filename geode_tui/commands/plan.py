"""`plan`: what a run would do, without doing anything."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

from geode_tui.commands.arguments import require_database, schemas_of, source_of, target_of
from geode_tui.commands.output import aligned, duration, say, show, show_json
from geode_tui.errors import EXIT_FAILED, EXIT_OK
from geode_tui.mapping.file import load
from geode_tui.migration.journal import Journal
from geode_tui.migration.run_plan import (
    PlannedEntity,
    PlanRequest,
    RunPlan,
    plan_document,
    plan_run,
)
from geode_tui.paths import journal_there


def plan(arguments: argparse.Namespace) -> int:
    """Print what a run would do; exit 1 where it would be refused as things are."""
    require_database(arguments, "move")
    place, graph = target_of(arguments)
    request = PlanRequest(
        source_of(arguments),
        place,
        load(Path(arguments.mapping)).mapping,
        graph,
        schemas_of(arguments),
        arguments.parallel,
        arguments.strategy,
        not arguments.no_cut,
    )
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(contextlib.closing(Journal())) if journal_there() else None
        found = asyncio.run(plan_run(request, journal, say))
    show_json(plan_document(found)) if arguments.json else _show(found)
    return EXIT_FAILED if found.refusals else EXIT_OK


def _show(found: RunPlan) -> None:
    place = f"{found.target}#{found.graph}" if found.graph else found.target
    new = "" if found.target_exists else " (to be made)"
    show(f"{found.source} → {place}{new}, {found.strategy}, {found.parallel} parallel")
    for refusal in found.refusals:
        show(f"would be refused: {refusal}")
    show("")
    if found.target_facts:
        show("target")
    for name, fact in found.target_facts:
        show(f"    {name}: {fact}")
    if found.statements:
        show("prepare")
    for statement in found.statements:
        show(f"    {statement}")
    waves = [wave.name for wave in found.waves] or [""]
    for number, wave in enumerate(waves):
        gate = f", waits for the gate of wave {waves[number - 1]}" if number else ""
        show(f"backfill, wave {wave}{gate}" if wave else "backfill")
        _show_entities([entity for entity in found.entities if entity.wave == wave])
    show("verify")
    show(f"    the ledger of {len(found.entities):,} entities")
    show("")
    for entity in found.entities:
        show(entity.id)
        show(f"    {entity.sql}")
        show(f"    {entity.gql}")
    show("")
    show(_summary(found))


def _show_entities(entities: list[PlannedEntity]) -> None:
    header = ("entity", "table", "rows", "bytes", "chunks", "time", "waits for")
    for line in aligned(header, [_cells(entity) for entity in entities], "__>>>>"):
        show(f"    {line}")


def _cells(entity: PlannedEntity) -> tuple[str, ...]:
    chunks = "?" if entity.chunks is None else f"{entity.chunks:,}"
    return (
        entity.id,
        entity.table,
        "?" if entity.rows is None else f"±{entity.rows:,}",
        f"±{entity.bytes:,}",
        chunks if entity.cut or entity.chunks is None else f"±{chunks}",
        "?" if entity.seconds is None else f"±{_time(entity.seconds)}",
        ", ".join(entity.waits_for),
    )


def _summary(found: RunPlan) -> str:
    rows = f"±{found.rows:,} rows in {found.chunks:,} chunks, ±{found.bytes:,} bytes"
    if found.unknown:
        rows += f"; the rows of {len(found.unknown):,} entities are not known (ANALYZE them)"
    if found.seconds is None:
        return f"{rows}; no earlier run tells how long it takes"
    parallel = f" with {found.like_parallel} parallel"
    return f"{rows}; ±{_time(found.seconds)}, as fast as run {found.like}{parallel}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
