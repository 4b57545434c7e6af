"""Runs of kind `repair`: write again the rows that a validation named.

What was chosen is compared once more under a new snapshot, so that nothing is written that is
right by now and everything as the source has it now. What a step is about to change is journaled
before it; a rollback of the run puts all of it back. A repair that was killed is done anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched
from typing import Any, Literal

from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.mapping.model import FINGERPRINT, OWN, RUN, STEP
from geode_tui.migration.backfill import StopRequested
from geode_tui.migration.engine import RunRequest, new_run
from geode_tui.migration.events import PHASES
from geode_tui.migration.journal import Journal, RunKind, RunRecord
from geode_tui.migration.left_out import left_out_of
from geode_tui.migration.origin import Origin
from geode_tui.migration.origins import changed_fields, origin_of
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.schema_graph import count, images, put
from geode_tui.migration.validating import ValidateEngine, snapshot_of
from geode_tui.source.dsn import check_dsn, short_name, without_password
from geode_tui.target import open_target
from geode_tui.target.model import (
    NodeBatch,
    NodeImage,
    NodeShape,
    RelationshipBatch,
    RelationshipImage,
    Target,
    Written,
)
from geode_tui.validation.compare import Candidate, always
from geode_tui.validation.digests import DigestComparison, Digests
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.ledger import Difference, Ledger
from geode_tui.validation.mismatches import NAMED_AT_MOST, is_free

STEP_THINGS = 500
"""How much a step writes: so much of the graph is journaled before it."""
Chosen = tuple[str, str]
"""An entity and the key of one of its rows, as a difference tells them."""
Deed = Literal["written", "replaced", "removed"]

_DOUBLED = "the graph holds it more than once: take one away by hand"
_SUSPENDED = "it changed at every look: validate again when it is calmer"
_REFUSED = "it cannot be carried: mend the row or the mapping, or accept it"
_ACCEPTED = "it is accepted: withdraw that first"
_REPAIRED = "it was repaired already"
_OTHERS = "no run wrote it: accept it, or take it away by hand"
_HANGING = "relationships hang on it: repair those first, or take it away by hand"
_TYPED = "its key has another type in the graph: take it away by hand, then repair"
_RIGHT = "it does not differ any more"
_BEYOND = "more differs than one repair looks at: repair again"


@dataclass(frozen=True)
class RepairRequest(RunRequest):
    """What a repair is asked to do: `chosen` of the differences that run `of` told."""

    kind: RunKind = "repair"
    of: int = 0
    chosen: tuple[Chosen, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair would do: write what is missing, replace what differs, remove what is extra.

    What is `left` alone has the reason with it.
    """

    write: tuple[Difference, ...]
    replace: tuple[Difference, ...]
    remove: tuple[Difference, ...]
    left: tuple[tuple[Difference, str], ...]

    @property
    def chosen(self) -> tuple[Chosen, ...]:
        """What a repair is asked for."""
        some = (*self.write, *self.replace, *self.remove)
        return tuple(dict.fromkeys((one.entity, one.key) for one in some))

    @property
    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        counts = (
            (len(self.write), "missing: written"),
            (len(self.replace), "different: replaced by what the source holds"),
            (len(self.remove), "only in the graph: removed"),
        )
        lines = [f"{number:,} {words}" for number, words in counts if number]
        reasons: dict[str, int] = {}
        for _, reason in self.left:
            reasons[reason] = reasons.get(reason, 0) + 1
        return lines + [f"{number:,} left alone: {why}" for why, number in reasons.items()]


def repair_plan(differences: Sequence[Difference]) -> RepairPlan:
    """What a repair of some differences would do. What only the graph can tell shows later."""
    by_where: dict[str, list[Difference]] = {"source": [], "both": [], "graph": []}
    left = []
    for one in differences:
        reason = _reason_to_leave(one)
        if reason:
            left.append((one, reason))
        else:
            by_where[one.where].append(one)
    return RepairPlan(
        tuple(by_where["source"]), tuple(by_where["both"]), tuple(by_where["graph"]), tuple(left)
    )


def _reason_to_leave(one: Difference) -> str:
    if one.cause == "refused":
        return _REFUSED
    by_state = {"suspended": _SUSPENDED, "accepted": _ACCEPTED, "repaired": _REPAIRED}
    return _DOUBLED if one.cause == "doubled" else by_state.get(one.state, "")


class RepairEngine(ValidateEngine):
    """A run of kind `repair`. Drive it as any engine; it ends with a validation of its own."""

    phases = PHASES

    async def start(self, request: RunRequest) -> Ledger:
        """Repair what was chosen. Raises RunStopped, GeodeTuiError."""
        assert isinstance(request, RepairRequest)
        dsn, of = check_dsn(request.source), self._journal.run(request.of)
        _require_same_schema(self._journal, of)
        told = self._journal.ledger(of.number)
        if told is None or not request.chosen:
            raise UsageError(f"there is nothing to repair of run {of.number}", "nothing is chosen")
        chosen = set(request.chosen)
        seen = [one for one in told.differences if (one.entity, one.key) in chosen]
        options = {
            "of": of.number,
            "chosen": [list(pair) for pair in request.chosen],
            "deep": of.options.get("deep", False),
            "check_references": of.options.get("check_references", False),
            "compare_deep": of.options.get("deep", False) or not all(x.digested for x in seen),
            "mapping": of.options.get("mapping", ""),
        }
        return await self.begin(
            new_run(request, without_password(dsn), short_name(dsn), options),
            lambda record: origin_of(record, dsn, request.password, request.mapping),
        )

    def _hold(self, record: RunRecord) -> contextlib.AbstractContextManager[None]:
        return self._journal.hold(record)

    def _next_step(self, number: int) -> str:
        return f"validate, and repair what is left; or take it back: geode-tui rollback {number}"

    async def _phases(self, record: RunRecord, origin: Origin, resumed: bool) -> Ledger:
        assert isinstance(origin, PostgresOrigin)
        async with contextlib.AsyncExitStack() as stack:
            with self._phase("assess"):
                stack.push_async_callback(origin.close)
                entities = await self._opened(record, origin)
                record = self._journal.run(record.number)
                chosen = [(entity, key) for entity, key in record.options["chosen"]]
                _require_known(chosen, entities)
                _require_same_source(self._journal.run(record.options["of"]), record)
            with self._phase("prepare"):
                target = await asyncio.to_thread(
                    open_target, record.target, record.graph or None, create=False
                )
                stack.push_async_callback(asyncio.to_thread, target.close)
                shapes = {entity.id: entity.shape for entity in entities}
                self._journal.chunks.set_shapes(record.number, shapes)
                before = await asyncio.to_thread(_counted, target, entities)
                self._journal.chunks.set_before(record.number, before)
                self._checkpoint("begin", "prepare")
            with self._phase("backfill"):
                seen = await self._repair(record, origin, target, entities, set(chosen))
            with self._phase("verify"):
                ledger = await self._validate(record, origin, target, entities)
                self._mark(record, seen, ledger)
                return ledger

    def _mark(self, record: RunRecord, seen: set[Chosen], ledger: Ledger) -> None:
        """Journal as repaired what differed before the repair and does not after it."""
        told = self._journal.ledger(record.options["of"])
        right = seen.difference((one.entity, one.key) for one in ledger.differences)
        differences = told.differences if told else ()
        signs = [one.sign for one in differences if (one.entity, one.key) in right]
        self._journal.acceptances.repaired(record.number, record.options["of"], signs)

    async def _repair(
        self,
        record: RunRecord,
        origin: PostgresOrigin,
        target: Target,
        entities: Sequence[Entity],
        chosen: set[Chosen],
    ) -> set[Chosen]:
        """Compare what was chosen once more, and write what differs still, which is returned."""
        names = {entity for entity, _ in chosen}
        some = [entity for entity in entities if entity.id in names]
        left_out = await asyncio.to_thread(left_out_of, self._journal, record.target, record.graph)
        async with snapshot_of(origin) as reader:
            deep = record.options["compare_deep"]
            digests = Digests(always(reader), deep, retries=(0.0,))
            ours = left_out.marks if left_out.before else None
            compare = DigestComparison(
                target, left_out.entities, ours, False, digests, self._comparing()
            )
            compared = await compare.compare(reader, some)
            work = _Repair(self._journal, record, target, strict=deep and ours is None)
            for entity in some:
                for candidates in batched(compared[entity.id].mismatched.values(), NAMED_AT_MOST):
                    for candidate, one in await compare.named(entity, candidates):
                        if (entity.id, one.key) in chosen:
                            work.add(entity, candidate, one)
        work.cut_off = {entity.id for entity in some if compared[entity.id].cut_off}
        self._progress.worker("V", "")
        for deed in work.deeds():
            if self._stop.is_set():
                raise StopRequested
            self._progress.worker("R", deed)
            await asyncio.to_thread(work.do)
        self._progress.worker("R", "")
        await asyncio.to_thread(target.flush)
        for line in work.told(chosen):
            self._tell("info", line)
        return work.seen


@dataclass(frozen=True)
class _Thing:
    """What is to be repaired: a candidate of an entity, with all that was chosen of it."""

    entity: Entity
    candidate: Candidate
    differences: list[Difference] = field(default_factory=list)

    @property
    def row(self) -> Record | None:
        """The row of the source."""
        return self.candidate.rows[0] if self.candidate.rows else None

    @property
    def key(self) -> Any:
        """The key of what is in the graph, else of the row."""
        if self.candidate.things:
            return self.candidate.things[0].key
        return self.entity.key(self.row)

    @property
    def deed(self) -> Deed:
        """What is to be done."""
        if not self.candidate.things:
            return "written"
        return "replaced" if self.candidate.rows else "removed"


@dataclass
class _Repair:
    """The work of a repair, in steps: what is extra goes first, nodes come before relationships."""

    journal: Journal
    record: RunRecord
    target: Target
    strict: bool
    things: dict[int, _Thing] = field(default_factory=dict)
    done: dict[Deed, int] = field(default_factory=dict)
    seen: set[Chosen] = field(default_factory=set)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    cut_off: set[str] = field(default_factory=set)
    _next: tuple[Deed, Entity, Sequence[_Thing]] | None = None

    def __post_init__(self) -> None:
        self._images = PreImages(self.journal.store)

    def add(self, entity: Entity, candidate: Candidate, one: Difference) -> None:
        """One more difference to be repaired."""
        thing = self.things.setdefault(id(candidate), _Thing(entity, candidate))
        thing.differences.append(one)
        self.seen.add((entity.id, one.key))

    def deeds(self) -> Iterator[str]:
        """Each step in words; `do` does it."""
        todo: dict[tuple[int, str, Deed], tuple[Entity, list[_Thing]]] = {}
        for thing in self.things.values():
            reason = self._reason(thing)
            if reason:
                self._leave(thing, reason)
                continue
            place = (_order(thing), thing.entity.id, thing.deed)
            todo.setdefault(place, (thing.entity, []))[1].append(thing)
        for (_, name, deed), (entity, things) in sorted(todo.items(), key=lambda pair: pair[0]):
            for some in batched(things, STEP_THINGS):
                self._next = deed, entity, some
                yield f"{name}: {len(some):,} are {deed}"

    def _reason(self, thing: _Thing) -> str:
        """Why something cannot be repaired, by what the graph told; empty where it can."""
        candidate = thing.candidate
        several = candidate.doubled or len(candidate.things) > 1 or len(candidate.rows) > 1
        if several or any(one.cause == "doubled" for one in thing.differences):
            return _DOUBLED
        if thing.deed == "removed" and candidate.things[0].run is None:
            return _OTHERS
        if thing.deed == "replaced" and not _same_key(thing.key, thing.entity.key(thing.row)):
            return _TYPED
        return ""

    def _leave(self, thing: _Thing, reason: str) -> None:
        self.left += [(one.entity, one.key, reason) for one in thing.differences]

    def do(self) -> None:
        """Do the step that `deeds` gave last."""
        assert self._next is not None
        deed, entity, things = self._next
        if deed == "written":
            things = self._write(entity, things)
        else:
            things = self._change(deed, entity, things)
        self.done[deed] = self.done.get(deed, 0) + len(things)

    def _change(self, deed: Deed, entity: Entity, things: Sequence[_Thing]) -> Sequence[_Thing]:
        """Replace or remove some things; what they were is journaled before."""
        shape = entity.shape
        if deed == "removed" and isinstance(shape, NodeShape):
            things = self._without_hanging(shape, things)
        there = images(self.target, shape, [thing.key for thing in things])
        pairs = [(thing, now) for thing, now in zip(things, there, strict=True) if now is not None]
        step = self.journal.chunks.next_step(self.record.number)
        before = [(thing.key, now) for thing, now in pairs]
        self._images.add(self.record.number, step, entity.id, before)
        wanted = [
            (thing.key, None if deed == "removed" else self._image(thing, now))
            for thing, now in pairs
        ]
        put(self.target, shape, wanted)
        return [thing for thing, _ in pairs]

    def _without_hanging(self, shape: NodeShape, things: Sequence[_Thing]) -> list[_Thing]:
        """Nodes on which no relationship hangs: it would go with them, and not come back."""
        free = []
        for thing in things:
            if is_free(self.target, shape, thing.key):
                free.append(thing)
            else:
                self._leave(thing, _HANGING)
        return free

    def _image(self, thing: _Thing, now: NodeImage | RelationshipImage) -> Any:
        """What something should be: as the source says, still of the run that wrote it."""
        entity, row, shape = thing.entity, thing.row, thing.entity.shape
        properties = entity.properties(row)
        properties[FINGERPRINT] = row[entity.extract.fingerprint_at]  # type: ignore[index]
        kept = {RUN, STEP} & now.properties.keys()
        if not self.strict:
            kept |= now.properties.keys() - OWN - set(shape.properties)
        properties |= {name: now.properties[name] for name in kept}
        if isinstance(now, RelationshipImage):
            return RelationshipImage(properties)
        assert isinstance(shape, NodeShape)
        own = entity.label(row)
        labels = {shape.label, *shape.labels} | ({own} if own else set())
        if not self.strict:
            labels |= set(now.labels).difference(shape.by_value)
        return NodeImage(tuple(sorted(labels)), properties)

    def _write(self, entity: Entity, things: Sequence[_Thing]) -> list[_Thing]:
        """Write rows that are not there; what a rollback removes by the run's mark."""
        step = self.journal.chunks.next_step(self.record.number)
        written = self._write_batch(entity, [thing.row for thing in things], step)
        refused = {one.position: one.reason for one in written.refused}
        refused |= dict.fromkeys(written.orphans, "a node at its end is not in the graph")
        for place, reason in refused.items():
            self._leave(things[place], reason)
        return [thing for place, thing in enumerate(things) if place not in refused]

    def _write_batch(self, entity: Entity, rows: Sequence[Record], step: int) -> Written:
        values, uid, shape = [entity.values(row) for row in rows], self.record.uid, entity.shape
        if isinstance(shape, NodeShape):
            labels = [entity.label(row) for row in rows] if shape.by_value else []
            return self.target.write_nodes(NodeBatch(shape, values, uid, labels, step), False)
        batch = RelationshipBatch(shape, values, uid, step)
        return self.target.write_relationships(batch, False)

    def told(self, chosen: set[Chosen]) -> Iterator[str]:
        """What became of all that was chosen, in words."""
        for deed, things in self.done.items():
            yield f"{things:,} {deed}"
        for entity, key, reason in self.left:
            yield f"{entity} {key}: left alone: {reason}"
        unseen = chosen - self.seen
        beyond = sum(entity in self.cut_off for entity, _ in unseen)
        for number, reason in ((len(unseen) - beyond, _RIGHT), (beyond, _BEYOND)):
            if number:
                yield f"{number:,} left alone: {reason}"


def _counted(target: Target, entities: Sequence[Entity]) -> dict[str, int]:
    """How much of each entity there is before the repair: what a rollback must lead back to."""
    return {entity.id: count(target, entity.shape) for entity in entities}


def _order(thing: _Thing) -> int:
    """Relationships go before their nodes, and come after them."""
    node = isinstance(thing.entity.shape, NodeShape)
    if thing.deed == "removed":
        return 1 if node else 0
    return 2 if node else 3


def _same_key(one: Any, other: Any) -> bool:
    """Whether two keys are the same in the graph: 1 and 1.0 are not."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same_key, one, other))
    return type(one) is type(other)


def _require_same_schema(journal: Journal, of: RunRecord) -> None:
    """Refuse the ledger of a mapping that the graph does not hold any more."""
    for other in journal.runs():
        if other.number <= of.number:
            return
        same = other.kind == "schema" and other.graph_identity == of.graph_identity
        if same and other.state != "rolled back":
            raise UsageError(
                f"run {other.number} led {of.place} to another mapping after run {of.number}",
                "what differed then says nothing of the graph as it is now",
                "validate with the mapping of now, and repair that",
            )


def _require_same_source(of: RunRecord, record: RunRecord) -> None:
    """Refuse to write the rows of another source than the one that was compared."""
    changed = changed_fields(of, record.options["source"])
    if changed:
        raise UsageError(
            f"the source of run {of.number} has changed in {len(changed)} fields",
            "; ".join(changed[:5]) + ("; …" if len(changed) > 5 else ""),
            "name the same --source; or validate anew, and repair that",
        )


def _require_known(chosen: Sequence[Chosen], entities: Sequence[Entity]) -> None:
    known = {entity.id for entity in entities}
    for entity, _ in chosen:
        if entity not in known:
            raise GeodeTuiError(f"the mapping has no entity {entity}", "", "validate again")
