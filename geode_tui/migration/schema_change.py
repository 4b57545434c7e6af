"""Lead a live graph from the mapping that it holds to another, as a run of kind `schema`.

The graph alone is changed as far as it goes; what must be read from the source is read under one
snapshot, by the same backfill as any run. All is taken back by a rollback of the run. Rows that
changed in the source meanwhile are not brought up to date: this is about the mapping.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.file import dump
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.mapping.steps import Work
from geode_tui.migration.backfill import NEW_SNAPSHOT, StopRequested
from geode_tui.migration.engine import Engine, RunRequest, new_run, require_same
from geode_tui.migration.journal import RunKind, RunRecord
from geode_tui.migration.left_out import left_out_by_run, left_out_of
from geode_tui.migration.origin import Origin
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.schema_fill import Fill, Filling
from geode_tui.migration.schema_graph import (
    Shape,
    count,
    count_hanging,
    count_of_others,
    marked_shape,
)
from geode_tui.migration.schema_origin import SchemaOrigin, work_of
from geode_tui.migration.schema_steps import GraphSteps
from geode_tui.migration.target_names import require_distinct_names
from geode_tui.migration.versions import Version, Versions, owners
from geode_tui.source.dsn import check_dsn, short_name, without_password
from geode_tui.target import open_target
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.validation.before import count_before
from geode_tui.validation.entity import Entity, shape_of
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.left_out import LeftOut


@dataclass(frozen=True)
class SchemaRequest(RunRequest):
    """What a change of the schema is asked to do: `mapping` is the new one.

    `old` is the mapping that the graph has, None for that of its newest version. An empty
    `source` is asked for only where rows must be read.
    """

    kind: RunKind = "schema"
    old: Mapping | None = None
    description: str = ""


def held_mapping(versions: Sequence[Version], old: Mapping | None, place: str) -> Mapping:
    """The mapping that a graph has: as named, or of its newest version. Raises UsageError."""
    if old is not None:
        return old
    if not versions:
        raise UsageError(
            f"{place} does not say which mapping it holds",
            "it was made before versions were kept, or by another program",
            "name the mapping that it was made with: --from OLD.yaml",
        )
    return versions[-1].mapping


class SchemaEngine(Engine):
    """A run of kind `schema`. Drive it as any engine."""

    async def start(self, request: RunRequest) -> Ledger:
        """Run from the beginning. Raises RunStopped, GeodeTuiError."""
        assert isinstance(request, SchemaRequest)
        dsn = check_dsn(request.source)
        require_distinct_names(request.mapping, request.target)
        versions = await asyncio.to_thread(_read_versions, request)
        old = held_mapping(versions, request.old, request.target)
        options = {
            "from": dump(old),
            "version": versions[-1].number if versions else 0,
            "description": request.description,
        }
        source = short_name(dsn) if dsn else "the graph alone"
        new = new_run(request, without_password(dsn), source, options)

        def origin(record: RunRecord) -> Origin:
            return SchemaOrigin(
                dsn, request.password, request.mapping, record.schemas, record.target
            )

        return await self.begin(new, origin)

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        assert isinstance(origin, SchemaOrigin)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(origin.close)
            with self._phase("assess"):
                target = await asyncio.to_thread(_open, record)
                stack.push_async_callback(asyncio.to_thread, target.close)
                work = await self._decide(record, origin, target)
                loads, fills = await self._chosen(record, origin, work)
            record = self._journal.run(record.number)
            change = _Change(self, record, origin, target, work, loads, fills)
            with self._phase("prepare"):
                self._checkpoint("begin", "prepare")
                await change.prepare(stack)
            with self._phase("backfill"):
                await change.move(resumed)
            with self._phase("verify"):
                return await change.verify()

    # -- deciding -------------------------------------------------------------------------------

    async def _decide(self, record: RunRecord, origin: SchemaOrigin, target: Target) -> Work:
        """What is to be done: decided before the first step, and as it was for a resumed run."""
        mapping = self._journal.mapping(record.number)
        if self._journal.chunks.has_written(record.number):
            work = work_of(record, mapping)
            if origin.is_given or _reads(work):
                await origin.open()
                origin.limit(work)
                require_same(record, await origin.fields())
                await origin.read()
            return work
        versions = await asyncio.to_thread(Versions(target).all)
        _require_version(record, versions)
        anew: dict[str, str] = {}
        work = work_of(record, mapping, anew)
        if origin.is_given or _reads(work):
            await origin.open()
            await origin.read()
            anew = await _with_rejected_rows(work, origin)
            work = work_of(record, mapping, anew)
        await asyncio.to_thread(_require_own, target, work, owners(versions))
        kept = await asyncio.to_thread(_counts, target, work)
        options = {"anew": anew, "kept": kept} | self._led_over(record, work)
        self._journal.change(record.number, options=record.options | options)
        return work

    def _led_over(self, record: RunRecord, work: Work) -> dict[str, Any]:
        """What earlier runs left out of what is led over, by its new names: `validate` asks."""
        known = left_out_of(self._journal, record.target, record.graph)
        left_out = {
            pair.new.id: _plain(known.entities.get(pair.old.id, LeftOut())) for pair in work.kept
        }
        return {"left_out": left_out, "before": dict(known.before)}

    async def _chosen(
        self, record: RunRecord, origin: SchemaOrigin, work: Work
    ) -> tuple[list[Entity], list[Fill]]:
        self._judge(record, origin.findings)
        if not _reads(work):
            return [], []
        loads, fills = origin.choose(work)
        origin.limit(work)
        fields, record = await origin.fields(), self._journal.run(record.number)
        require_same(record, fields)
        self._keep_fields(record, fields)
        self._show(record, [*loads, *fills])
        return loads, fills


@dataclass
class _Change:
    """The run itself, once it is decided; also what follows the steps in the graph."""

    engine: SchemaEngine
    record: RunRecord
    origin: SchemaOrigin
    target: Target
    work: Work
    loads: list[Entity]
    fills: list[Fill]

    def __post_init__(self) -> None:
        self._journal = self.engine._journal
        description = self.record.options["description"]
        self._steps = GraphSteps(
            self._journal, self.record, self.target, self.work, description, self
        )
        self._snapshot = 0

    def check(self) -> None:
        """Raise where the run is to stop."""
        if self.engine._stop.is_set():
            raise StopRequested

    def doing(self, text: str) -> None:
        """A step in the graph begins."""
        self.engine._progress.worker("G", text)

    def did(self, text: str) -> None:
        """A step in the graph is done."""
        self.engine._tell("info", text)

    async def prepare(self, stack: contextlib.AsyncExitStack) -> None:
        """All that the graph alone can do, then the snapshot of what must be read."""
        shapes = {entity.id: entity.shape for entity in self.loads}
        self._journal.chunks.set_shapes(self.record.number, shapes)
        await asyncio.to_thread(self._steps.run, self._steps.before)
        if self.loads or self.fills:
            stack.push_async_callback(self.engine._release, self.origin)
            await self._take_snapshot()

    async def _take_snapshot(self) -> None:
        fence = await self.origin.begin()
        self._journal.set_source(self.record.number, self.origin.identity)
        self._snapshot = self._journal.set_snapshot(self.record.number, fence)
        self.engine._progress.snapshot_taken(True)
        self.engine._tell("info", f"snapshot {fence}")
        if self._snapshot > 1:
            self.engine._tell("warning", NEW_SNAPSHOT)

    async def move(self, resumed: bool) -> None:
        """Read what must be read; then the digests of what has other values."""
        await asyncio.to_thread(self._steps.run, self._steps.between)
        if self.loads or self.fills:
            await asyncio.to_thread(self._count_before)
            filling = self._filling()
            await asyncio.to_thread(filling.look)
            entities: list[Any] = [*self.loads, *self.fills]
            await self.engine._backfill(
                self.record, self.origin, filling, entities, self._snapshot, resumed
            )
            for fill, rows in filling.unknown.items():
                if rows:
                    text = f"{fill}: {rows:,} rows of the source are not in the graph"
                    self.engine._tell("warning", text, fill)
        await asyncio.to_thread(self._steps.run, self._steps.after, True)
        self.engine._progress.worker("G", "")
        await asyncio.to_thread(self.target.flush)

    async def verify(self) -> Ledger:
        """Compare what was loaded with the source, count what was led over, tell the version."""
        ledger = Ledger((), (), "", time.time())
        if self.loads:
            ledger = await self._ledger()
        self.engine.ledger = ledger
        self._journal.set_ledger(self.record.number, ledger)
        await asyncio.to_thread(self._require_kept)
        await asyncio.to_thread(self._steps.run, self._steps.last)
        self.engine._progress.worker("G", "")
        await asyncio.to_thread(self.target.flush)
        return ledger

    def _filling(self) -> Filling:
        fills = {fill.shape: fill for fill in self.fills}
        images = PreImages(self._journal.store)
        return Filling(self.target, images, self.record.number, fills)

    def _count_before(self) -> None:
        """What the graph holds of what will be loaded: nodes under a label that is shared."""
        options = self._journal.run(self.record.number).options
        if "loads_before" in options:
            return
        before = count_before(self.target, self.loads)
        self._journal.change(self.record.number, options=options | {"loads_before": before})
        counts = {entity.id: before.get(entity.id, 0) for entity in self.loads}
        self._journal.chunks.set_before(self.record.number, counts)

    async def _ledger(self) -> Ledger:
        left_out = left_out_by_run(self._journal, self.record.number)
        before = self._journal.run(self.record.number).options["loads_before"]

        runs = {self.record.uid}

        def show(entity: str) -> None:
            self.engine._progress.worker("V", f"comparing {entity}")
            self.check()

        try:
            ledger = await self.origin.ledger(self.target, self.loads, left_out, before, show, runs)
        finally:
            self.engine._progress.worker("V", "")
        for entry in ledger.entries:
            if not entry.balanced:
                self.engine._tell("error", f"{entry.id}: {entry.verdict}", entry.id)
        return ledger

    def _require_kept(self) -> None:
        """What was led over is as much as it was."""
        before = self.record.options["kept"]
        for pair in self.work.kept:
            there = count(self.target, shape_of(pair.new, self.work.new))
            if there != before[pair.new.id]:
                raise GeodeTuiError(
                    f"{pair.new.id}: {before[pair.new.id]:,} were in the graph, {there:,} are now",
                    "somebody else changed the graph meanwhile",
                    f"take the change back: geode-tui rollback {self.record.number}",
                )


# -- whether the graph can be led over ------------------------------------------------------------


def _open(record: RunRecord) -> Target:
    return open_target(record.target, record.graph or None, create=False)


def _read_versions(request: SchemaRequest) -> list[Version]:
    target = open_target(request.target, request.graph, create=False, read_only=True)
    try:
        return Versions(target).all()
    finally:
        target.close()


def _reads(work: Work) -> bool:
    """Whether rows of the source must be read."""
    return any(True for _ in work.loaded()) or any(work.fills(pair) for pair in work.kept)


def _require_version(record: RunRecord, versions: Sequence[Version]) -> None:
    there = versions[-1].number if versions else 0
    if there != record.options["version"]:
        raise UsageError(
            f"{record.place} holds version {there} by now",
            f"it held version {record.options['version']} when this change was asked for",
            "look at it with: geode-tui schema status; then begin anew",
        )


async def _with_rejected_rows(work: Work, origin: SchemaOrigin) -> dict[str, str]:
    """Rules of which rows were or will be dead letters for a value that comes, goes or changes."""
    found = {}
    for pair in work.kept:
        new = [item.name for item in work.fills(pair)]
        moved = {item.name for item in pair.new.included_properties}
        old = [
            c.old.name
            for c in pair.change.properties
            if c.old and (c.new is None or c.new.name in new or c.new.name not in moved)
        ]
        if await origin.rejects(pair.new, new, work.new):
            found[pair.new.id] = "a value that comes cannot be carried for some rows"
        elif await origin.rejects(pair.old, old, work.old):
            found[pair.new.id] = "a value that goes could not be carried for some rows"
    return found


def _counts(target: Target, work: Work) -> dict[str, int]:
    return {p.new.id: count(target, shape_of(p.old, work.old)) for p in work.kept}


def _require_own(target: Target, work: Work, runs: tuple[str, ...]) -> None:
    """Refuse to change or remove what is not ours, and what could not be put back."""
    dropped = list(work.dropped)
    for rule in dropped:
        shape = shape_of(rule, work.old)
        _refuse_others(target, shape, rule.id, runs)
        _refuse_doubled(target, shape, rule.id)
        if isinstance(shape, NodeShape):
            hanging = count_hanging(target, shape, runs)
            if hanging:
                raise UsageError(
                    f"{hanging:,} relationships that no run made hang on {rule.id} nodes",
                    "the change removes the nodes, and they could not be put back",
                    "remove them first; or migrate to a new graph",
                )
    touched = {step.subject for step in work.steps()}
    for pair in work.kept:
        if pair.new.id in touched:
            shape = shape_of(pair.old, work.old)
            _refuse_others(target, shape, pair.old.id, runs)
            _refuse_doubled(target, shape, pair.old.id)
    for rule, _ in work.loaded():
        if isinstance(rule, NodeRule):
            _refuse_others(target, marked_shape(rule.label, ""), rule.label, runs)


def _refuse_others(target: Target, shape: Shape, name: str, runs: tuple[str, ...]) -> None:
    others = count_of_others(target, shape, runs)
    if others:
        raise UsageError(
            f"the graph holds {others:,} of {name} that no run of its versions wrote",
            "a change of the schema would change them too",
            "remove them or give them another name first",
        )


def _refuse_doubled(target: Target, shape: Shape, name: str) -> None:
    if isinstance(shape, RelationshipShape):
        doubled = target.duplicate_relationships(shape)
    else:
        doubled = target.duplicate_nodes(shape)
    if doubled:
        raise UsageError(
            f"the graph holds {doubled:,} of {name} more than once",
            "they have the same key: what the change does could not be taken back",
            "remove them first; or migrate to a new graph",
        )


def _plain(left_out: LeftOut) -> list[int]:
    return [left_out.dead, left_out.orphans]
