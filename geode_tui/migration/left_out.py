"""What the runs that wrote to a graph could not write, for whoever validates it later."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.target.geode_dsn import graph_identity
from geode_tui.validation.left_out import LeftOut

_WRITERS = ("migrate", "import", "schema")


@dataclass(frozen=True, slots=True)
class LeftOutOfGraph:
    """Rows that are not in a graph, by entity, and the runs that said so, the newest first.

    `before` is what the graph held before the newest of the runs began, by the name of each
    count (`validation.before`): it is not of that run's source. `marks` are those of the runs.
    """

    entities: Mapping[str, LeftOut] = field(default_factory=dict)
    runs: tuple[int, ...] = ()
    before: Mapping[str, int] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()


def left_out_by_run(journal: Journal, number: int) -> dict[str, LeftOut]:
    """What one run left out of each of its entities."""
    return {
        e.id: LeftOut(
            e.dead,
            e.orphans,
            functools.partial(journal.dead_letters.among, number, e.id),
        )
        for e in journal.chunks.entities(number)
    }


def left_out_of(journal: Journal, target: str, graph: str) -> LeftOutOfGraph:
    """What is left out of a graph: of each entity, what the newest run says that wrote it.

    An import leaves out what the export of its files left out.
    """
    found: dict[str, LeftOut] = {}
    runs: list[int] = []
    before: Mapping[str, int] = {}
    marks: set[str] = set()
    for record in journal.runs():
        same = record.graph_identity == (graph_identity(target), graph)
        if same and record.kind == "repair":
            marks.add(record.uid)  # what was left out before is left out still
        if not same or record.kind not in _WRITERS:
            continue
        new = {n: some for n, some in _of_run(journal, record).items() if n not in found}
        if not new:
            continue
        if not runs:
            before = record.options.get("before", {})
        runs.append(record.number)
        marks.add(record.uid)
        found |= new
    return LeftOutOfGraph(found, tuple(runs), before, frozenset(marks))


def _of_run(journal: Journal, record: RunRecord) -> dict[str, LeftOut]:
    """What a run left out of each entity that it wrote."""
    written = {e.id for e in journal.chunks.entities(record.number) if e.chunks}
    by_run = left_out_by_run(journal, record.number)
    found = {entity: by_run[entity] for entity in written}
    if journal.chunks.has_written(record.number):  # what a schema change led over, by new names
        led_over = record.options.get("left_out", {}).items()
        found = {n: LeftOut(dead, orphans) for n, (dead, orphans) in led_over} | found
    if record.kind != "import":
        return found
    exported = _export_to(journal, record.source_dsn, record.number)
    if exported is not None:
        for entity, more in _of_run(journal, exported).items():
            own = found.get(entity, LeftOut())
            found[entity] = replace(
                own, dead=own.dead + more.dead, orphans=own.orphans + more.orphans
            )
    return found


def _export_to(journal: Journal, place: str, before: int) -> RunRecord | None:
    """The newest run before another that exported to some files."""
    for record in journal.runs():
        if record.number < before and (record.kind, record.target) == ("export", place):
            return record
    return None
