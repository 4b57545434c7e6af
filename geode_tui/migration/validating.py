"""Runs of kind `validate`: compare all of a graph with its source, and journal what was found.

Nothing is written to the graph. What differs is looked at again with new snapshots, so that what
is on its way is no mismatch; each validation is a run with a number, whose ledger is its report.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.migration import versions
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.engine import Engine, RunRequest, new_run
from geode_tui.migration.events import VALIDATE_PHASES
from geode_tui.migration.journal import RunKind, RunRecord
from geode_tui.migration.left_out import LeftOutOfGraph, left_out_of
from geode_tui.migration.origin import Origin
from geode_tui.migration.origins import origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.replication import marker
from geode_tui.source.dsn import check_dsn, short_name, without_password
from geode_tui.source.postgres import SnapshotHolder
from geode_tui.target import open_target, target_exists
from geode_tui.target.model import Target
from geode_tui.validation.checks import check_constraints, check_degrees, check_strangers
from geode_tui.validation.digests import RETRIES, Digests
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Check, Ledger
from geode_tui.validation.pairs import check_pairs
from geode_tui.validation.sides import RowReader
from geode_tui.validation.statistics import check_required, check_statistics
from geode_tui.validation.verify import take_ledger

_NOT_ALONE = (
    "the graph held something before the run: required properties, statistics and degrees are of"
    " all that is there, and are not compared"
)
_OURS = (versions.LABEL, marker.LABEL)
"""Labels of nodes that no rule makes, and that are ours."""


@dataclass(frozen=True)
class ValidateRequest(RunRequest):
    """What a validation is asked to look at. `name` is that of the mapping's file."""

    kind: RunKind = "validate"
    deep: bool = False
    check_constraints: bool = False
    check_references: bool = False
    statistics: bool = False
    name: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What the journal keeps of it."""
        return {
            "deep": self.deep,
            "check_constraints": self.check_constraints,
            "check_references": self.check_references,
            "statistics": self.statistics,
            "mapping": self.name,
        }


class ValidateEngine(Engine):
    """A run of kind `validate`. Drive it as any engine; it cannot be resumed."""

    phases = VALIDATE_PHASES

    async def start(self, request: RunRequest) -> Ledger:
        """Compare everything. Raises RunStopped, GeodeTuiError."""
        assert isinstance(request, ValidateRequest)
        dsn = check_dsn(request.source)
        if not target_exists(request.target):  # it raises, before the run has a number
            await asyncio.to_thread(open_target, request.target, create=False, read_only=True)
        told = without_password(dsn), short_name(dsn)
        record = self._journal.begin(new_run(request, *told, request.options))
        origin = origin_of(record, dsn, request.password, request.mapping)
        return await self._drive(record, origin, resumed=False)

    def _hold(self, record: RunRecord) -> contextlib.AbstractContextManager[None]:
        """Hold the run alone: nothing is written, others may look at the graph, too."""
        return self._journal.hold_run(record)

    def _next_step(self, number: int) -> str:
        return "nothing was written; begin it anew"

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        assert isinstance(origin, PostgresOrigin)
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("assess"):
                stack.push_async_callback(origin.close)
                entities = await self._opened(record, origin)
                target = await asyncio.to_thread(
                    open_target, record.target, record.graph or None, create=False, read_only=True
                )
                stack.push_async_callback(asyncio.to_thread, target.close)
            with self._phase("verify"):
                return await self._validate(record, origin, target, entities)

    async def _opened(self, record: RunRecord, origin: PostgresOrigin) -> Sequence[Entity]:
        """Connect and compile the mapping; all its entities are queued."""
        await origin.open()
        entities = await origin.entities()
        self._keep_fields(record, await origin.fields())
        self._show(record, entities)
        for entity in entities:
            self._progress.meter(entity.id).reason = "queued"
        return entities

    async def _validate(
        self, record: RunRecord, origin: PostgresOrigin, target: Target, entities: Sequence[Entity]
    ) -> Ledger:
        """Take the ledger with all that was asked for, journal it, and return it as settled."""
        journal, options = self._journal, record.options
        left_out = await asyncio.to_thread(left_out_of, journal, record.target, record.graph)
        if left_out.runs:
            runs = ", ".join(map(str, left_out.runs))
            self._tell("info", f"dead letters and orphans are those of run {runs}")
        touched = await asyncio.to_thread(journal.acceptances.touched, record.graph_identity)
        async with snapshot_of(origin) as reader:
            journal.set_source(record.number, origin.identity)
            journal.set_snapshot(record.number, reader.fence)
            self._tell("info", f"snapshot {reader.fence}")
            digests = Digests(
                lambda: snapshot_of(origin),
                options["deep"],
                RETRIES,
                deep_relationships=options.get("check_references", False),
                pending=self._pending,
            )
            ledger = await take_ledger(
                reader,
                target,
                entities,
                left_out.entities,
                reader.fence,
                same_snapshot=False,
                progress=self._comparing(),
                before=left_out.before,
                runs=left_out.marks,
                digests=digests,
            )
            self._progress.worker("V", "further checks")
            if left_out.before:
                self._tell("info", _NOT_ALONE)
            mapping = journal.mapping(record.number)
            checks = await _checks(options, mapping, reader, target, entities, left_out)
        self._progress.worker("V", "")
        told = replace(ledger, checks=tuple(checks), touched=tuple(touched.items()))
        return self._settled(record, told)

    def _settled(self, record: RunRecord, ledger: Ledger) -> Ledger:
        """Journal a ledger; what is accepted in its graph counts no more."""
        self._journal.set_ledger(record.number, ledger)
        self.ledger = ledger = self._journal.settled(record.number, ledger)
        states = {entry.id: entry.state for entry in ledger.entries}
        compared = [(one.entity, one.rows, states[one.entity]) for one in ledger.digests]
        self._journal.chunks.set_compared(record.number, compared)
        for entity, rows, state in compared:
            meter = self._progress.meter(entity)
            meter.rows = rows
            meter.finish(time.time())
            meter.reason = state
        for entry in ledger.entries:
            if not entry.balanced:
                self._tell("error", f"{entry.id}: {entry.verdict}", entry.id)
        for check in ledger.checks:
            if not check.fine:
                self._tell("error", f"{check.kind} {check.name}: {check.why or check.graph}")
        if ledger.valid:
            self._tell("info", f"all {len(ledger.entries)} entries are valid")
        return ledger

    def _comparing(self) -> Callable[[str], None]:
        """Tells which entity is compared now, and stops where that was asked for."""
        before = ""

        def show(entity: str) -> None:
            nonlocal before
            if self._stop.is_set():
                raise StopRequested
            self._progress.worker("V", f"comparing {entity}")
            if before:
                self._progress.meter(before).reason = "compared"
            meter, before = self._progress.meter(entity), entity
            meter.state, meter.reason = "reading", "comparing"

        return show

    def _pending(self, keys: Mapping[str, int], seconds: float) -> None:
        """Keys that differ are looked at again in so many seconds."""
        if self._stop.is_set():
            raise StopRequested
        for entity, count in keys.items():
            self._progress.meter(entity).reason = f"pending retry: {count:,} keys differ"
        total = sum(keys.values())
        self._progress.worker("V", f"looks again at {total:,} keys in {seconds:g} s")


@contextlib.asynccontextmanager
async def snapshot_of(origin: PostgresOrigin) -> AsyncIterator[SnapshotHolder]:
    """A new snapshot of all tables that a mapping reads."""
    tables = {entity.rule.table for entity in origin.plan.entities}
    holder = await origin.source.snapshot(sorted(tables))
    try:
        yield holder
    finally:
        with contextlib.suppress(GeodeTuiError):
            await holder.close()


async def _checks(
    options: Mapping[str, Any],
    mapping: GraphMapping,
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: LeftOutOfGraph,
) -> list[Check]:
    """What is looked at beside the ledger."""
    checks = await check_strangers(target, entities, _OURS)
    if options.get("check_constraints"):
        checks += await check_constraints(target, entities)
    if not left_out.before:
        checks += await check_required(target, entities)
        chosen = ("*",) if options.get("statistics") else mapping.statistics
        checks += await check_statistics(reader, target, entities, left_out.entities, chosen)
    if options.get("check_references") and not left_out.before:
        checks += await check_degrees(reader, target, entities, left_out.entities)
    checks += await check_pairs(reader, target, mapping.checks)
    return checks
