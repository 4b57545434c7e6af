"""Take back what a run wrote, to a checkpoint or to before the run.

It works from the journal and the target alone. What the run changed or removed after the moment
is put back, the latest first; then all that carries the run's mark and a later step is removed.
Where it is going is journaled first, and each part can be done again: a rollback that was killed
is ended by the next one, and until then the run cannot go on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Literal

from geode_tui.errors import EXIT_RESUMABLE, GeodeTuiError, UsageError
from geode_tui.migration.batches import ChunkedTarget
from geode_tui.migration.checkpoints import BEGINNING, Checkpoint
from geode_tui.migration.chunk_images import put_back_chunk
from geode_tui.migration.events import Event, Phase
from geode_tui.migration.journal import RUN_FORMAT, Journal, RunRecord
from geode_tui.migration.pre_images import ChunkImage, Kept, PreImage, PreImages, Undo
from geode_tui.migration.schema_undo import SCHEMA_UNDO
from geode_tui.migration.shapes import Shape, load_shape
from geode_tui.target import open_target, target_exists
from geode_tui.target.keys import comparable
from geode_tui.target.model import NodeShape, RelationshipShape, Target

Tell = Callable[[str], None]
Words = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RollbackEntry:
    """One entity after a rollback, in nodes or relationships.

    `rows` are those of the run that the journal says are left, `in_graph` those that are there.
    `before` is what the graph held of the entity before the run, `others` what it holds now that
    is not of the run.
    """

    id: str
    kind: Literal["node", "relationship"]
    rows: int
    in_graph: int
    before: int
    others: int

    @property
    def balanced(self) -> bool:
        """Whether just what should be left is there, and nothing else is gone."""
        return self.rows == self.in_graph and self.others >= self.before

    @property
    def verdict(self) -> str:
        """What is wrong in words, or `balanced`."""
        parts = []
        if self.in_graph > self.rows:
            parts.append(f"{self.in_graph - self.rows:,} too many")
        if self.in_graph < self.rows:
            parts.append(f"{self.rows - self.in_graph:,} missing")
        if self.others < self.before:
            parts.append(f"{self.before - self.others:,} of those before the run are gone")
        return ", ".join(parts) or "balanced"


@dataclass(frozen=True, slots=True)
class RollbackLedger:
    """What a rollback left; `checkpoint` is empty where it went to before the run.

    `nodes` and `relationships` were removed and `images` put back by this call: one that was
    interrupted did its share before. `taken` in seconds since the epoch.
    """

    run: int
    checkpoint: str
    state: str
    nodes: int
    relationships: int
    images: int
    taken: float
    entries: tuple[RollbackEntry, ...]

    @property
    def balanced(self) -> bool:
        """Whether every entry balances."""
        return all(entry.balanced for entry in self.entries)


def rollback_goal(journal: Journal, number: int, to: str | None) -> Checkpoint:
    """Where a rollback of a run would lead; named `begin` where that is before the run.

    Without `to` it leads to before the run, or on to where it was going when it was interrupted.
    Raises UsageError where the run cannot be rolled back, or not to there.
    """
    record = journal.run(number)
    if record.state == "running":
        raise UsageError(
            f"run {number} is running", "", "stop it first: Ctrl-C where it runs; then roll back"
        )
    return _goal(journal, record, to)


def roll_back(
    journal: Journal, number: int, to: str | None = None, tell: Tell = lambda text: None
) -> RollbackLedger:
    """Take back what a run wrote after a checkpoint, or all; see `rollback_goal`.

    `tell` hears what is done. Blocks until the end, and can be called again after any
    interruption. Raises UsageError before anything is changed, GeodeTuiError.
    """
    rollback_goal(journal, number, to)
    with journal.hold(journal.run(number)):
        record = journal.run(number)  # another process may have been quicker
        goal = _goal(journal, record, to)
        with contextlib.ExitStack() as stack:
            target = _open(journal, record)
            if target is not None:
                stack.callback(target.close)
            return _Rollback(journal, record, goal, target, tell).run()


@dataclass
class _Rollback:
    journal: Journal
    record: RunRecord
    goal: Checkpoint
    target: Target | None
    tell: Tell
    shapes: dict[str, Shape] = field(init=False)
    images: PreImages = field(init=False)

    def __post_init__(self) -> None:
        self.shapes = self.journal.chunks.shapes(self.record.number)
        self.images = PreImages(self.journal.store)

    @property
    def whole(self) -> bool:
        """Whether it leads to before the run."""
        return self.goal.name == BEGINNING

    def run(self) -> RollbackLedger:
        number, goal = self.record.number, self.goal
        if self.target is not None:
            _require_own(self.journal, self.record, self.target)
            self.target.count_after(self.record.uid, goal.step)  # it may have to refuse the moment
        _require_latest(self.journal, self.record, self.shapes)
        self.journal.begin_rollback(number, goal.name, goal.step)
        self._say(f"run {number} is rolled back to {_moment(goal)}")
        with _told_how_to_go_on(number):
            put, removed = 0, (0, 0)
            if self.target is not None:
                put = self._put_back(self.target)
                removed = self.target.delete_after(self.record.uid, goal.step)
                self._say(f"{removed[0]:,} nodes and {removed[1]:,} relationships removed")
                if self.whole:
                    self.target.unprepare(self.journal.prepared(number))
                if not isinstance(self.target, ChunkedTarget):  # there it would end the export
                    self.target.flush()
            ledger = self._ledger(put, *removed)
            self._end(ledger)
        return ledger

    # -- what was changed or removed --------------------------------------------------------------

    def _put_back(self, target: Target) -> int:
        """Undo what later steps changed, the latest first; what is put back is forgotten.

        Images can be put back again from the latest on, but not once an earlier change of all of
        an entity is undone: what is done is journaled before that and after it.
        """
        number, count = self.record.number, 0
        for kept in self.images.after(number, self.goal.step):
            for part in _apart(kept):
                for some in _together(part):
                    self._put_images(target, some)
                    count += len(some)
                if isinstance(part[0], Undo):
                    self._undo(target, part[0])
                with self.journal.store.write() as db:
                    for item in part:
                        if isinstance(item, ChunkImage):
                            put_back_chunk(db, number, item.entity, item.number, item.text)
                    self.images.forget_from(number, part[-1].id)
        if count:
            self._say(f"{count:,} put back as they were")
        return count

    def _undo(self, target: Target, kept: Undo) -> None:
        words = kept.operation
        shape = load_shape(words["shape"]) if "shape" in words else self.shapes.get(kept.entity)
        UNDO[words["do"]](target, shape, words)

    def _put_images(self, target: Target, some: Sequence[PreImage]) -> None:
        shape = self.shapes[some[0].entity]
        pairs: Any = [(item.key, item.image) for item in some]
        if isinstance(shape, NodeShape):
            target.put_nodes(shape, pairs, self.record.uid)
        else:
            target.put_relationships(shape, pairs, self.record.uid)

    # -- the end ----------------------------------------------------------------------------------

    def _ledger(self, images: int, nodes: int, relationships: int) -> RollbackLedger:
        uid, target = self.record.uid, self.target
        entries = []
        for entity in self.journal.chunks.entities(self.record.number):
            shape = self.shapes.get(entity.id)
            if shape is None or target is None:
                continue
            there = target.count_of_run(shape, uid)
            others = _count(target, shape) - there
            rows = self.goal.rows.get(entity.id, 0)
            kind: Literal["node", "relationship"] = (
                "node" if isinstance(shape, NodeShape) else "relationship"
            )
            entry = RollbackEntry(entity.id, kind, rows, there, entity.before, others)
            entries.append(entry)
        return RollbackLedger(
            self.record.number,
            "" if self.whole else self.goal.name,
            "rolled back" if self.whole else "stopped",
            nodes,
            relationships,
            images,
            time.time(),
            tuple(entries),
        )

    def _end(self, ledger: RollbackLedger) -> None:
        """Let the journal tell of the run what the graph holds of it, in one transaction."""
        journal, number, goal = self.journal, self.record.number, self.goal
        told = asdict(ledger) | {"at": goal.at, "balanced": ledger.balanced}
        with journal.store.write():
            journal.dead_letters.take_back(number, goal.step)
            journal.chunks.take_back(number, goal.step)
            journal.checkpoints.forget_after(number, goal.number)
            phase = _PHASES.get(goal.phase, "assess")
            if self.whole:
                journal.end_rollback(number, "rolled back", phase, told)
            else:
                reason = f"rolled back to {_moment(goal)}"
                journal.end_rollback(number, "stopped", phase, told, reason)
            self._say(f"run {number} was rolled back to {_moment(goal)}")

    def _say(self, text: str) -> None:
        self.journal.add_event(self.record.number, Event(time.time(), "info", text))
        self.tell(text)


# -- what takes back a change of all of an entity -------------------------------------------------


def _rename_property(target: Target, shape: Shape, words: Words) -> None:
    target.rename_property(shape, words["old"], words["new"])


def _remove_property(target: Target, shape: Shape, words: Words) -> None:
    target.remove_property(shape, words["name"])


def _add_label(target: Target, shape: Shape, words: Words) -> None:
    assert isinstance(shape, NodeShape)
    target.add_label(shape, words["label"])


def _remove_label(target: Target, shape: Shape, words: Words) -> None:
    assert isinstance(shape, NodeShape)
    target.remove_label(shape, words["label"])


def _rename_type(target: Target, shape: Shape, words: Words) -> None:
    assert isinstance(shape, RelationshipShape)
    target.rename_type(shape, words["new"])


UNDO: dict[str, Callable[[Target, Any, Words], None]] = {
    "rename_property": _rename_property,
    "remove_property": _remove_property,
    "add_label": _add_label,
    "remove_label": _remove_label,
    "rename_type": _rename_type,
    **SCHEMA_UNDO,
}
"""What an `Undo` may name under `do`; each is repeatable.

They take the words `old` and `new`, `name`, or `label`. The shape is the entity's, or under
`shape` another one (a text of `dump_shape`).
"""


# -- where to, and whether ------------------------------------------------------------------------

_PHASES: dict[str, Phase] = {"backfill": "backfill", "verify": "verify"}


def _goal(journal: Journal, record: RunRecord, to: str | None) -> Checkpoint:
    number = record.number
    if record.kind == "validate":
        raise UsageError(f"run {number} is a validation", "it wrote nothing to take back")
    if record.state == "rolled back":
        raise UsageError(f"run {number} was rolled back already", "nothing of it is in the graph")
    if journal.cutovers.is_live(number):
        raise UsageError(
            f"run {number} was cut over: its graph is what counts now",
            "taking back what it wrote would take away what applications work with",
            f"fall back to the source first: geode-tui cutover {number} --fall-back",
        )
    if record.format != RUN_FORMAT:
        raise UsageError(
            f"run {number} was begun by geode-tui {record.version}",
            "it wrote no steps on what it made",
            "remove the graph, and migrate anew",
        )
    if record.state != "rolling back":
        return _named(journal, record, to or BEGINNING)
    going = _named(journal, record, record.options["rollback"])
    goal = _named(journal, record, to) if to else going
    if goal.number > going.number:
        raise UsageError(
            f"run {number} is being rolled back to {_moment(going)}",
            f"{goal.name} is later: some of it is taken back already",
            f"end it with: geode-tui rollback {number}",
        )
    return goal


def _named(journal: Journal, record: RunRecord, name: str) -> Checkpoint:
    if name == BEGINNING:
        return Checkpoint(0, BEGINNING, 0, "assess", "", True, record.started, {})
    checkpoint = journal.checkpoints.named(record.number, name)
    capture = journal.captures.of(record.number)
    if capture is not None and capture.moved:
        raise UsageError(
            f"run {record.number} cannot go back to checkpoint {name}",
            "changes of the source were applied since: what they replaced is not kept",
            f"take all of it back: geode-tui rollback {record.number}; then migrate anew",
        )
    if checkpoint.void:
        raise UsageError(
            f"run {record.number} cannot go back to checkpoint {name}",
            checkpoint.void,
            f"take an earlier one: {_usable(journal, record.number)}; or go back to before the run",
        )
    return checkpoint


def _usable(journal: Journal, number: int) -> str:
    found = [c.name for c in journal.checkpoints.of(number) if not c.void]
    return ", ".join(found)


def _moment(goal: Checkpoint) -> str:
    return "before it began" if goal.name == BEGINNING else f"checkpoint {goal.name}"


def _open(journal: Journal, record: RunRecord) -> Target | None:
    """The target; None where it is not there and the run never wrote to it."""
    plan = record.target_plan
    if plan.format:
        return plan.open()
    if target_exists(record.target):
        return open_target(record.target, record.graph or None, create=False)
    if not journal.chunks.has_written(record.number) and not journal.prepared(record.number):
        return None
    raise UsageError(
        f"{record.target} is gone",
        f"there is nothing of run {record.number} to take back",
        "put the graph back; or begin a new run",
    )


def _require_own(journal: Journal, record: RunRecord, target: Target) -> None:
    """Refuse a graph in which nothing of the run is: it is another one."""
    if record.state == "rolling back" or record.kind == "repair":
        return
    shapes = journal.chunks.shapes(record.number)  # a fill of a schema change has none
    rows = sum(e.rows for e in journal.chunks.entities(record.number) if e.id in shapes)
    if rows and target.count_after(record.uid, 0) == (0, 0):
        raise UsageError(
            f"{record.place} holds nothing of run {record.number}",
            f"the run wrote {rows:,} rows: this is another graph, or it was emptied",
            "put the run's graph back; or begin a new run on another target",
        )


def _require_latest(journal: Journal, record: RunRecord, shapes: Mapping[str, Shape]) -> None:
    """Refuse where a later run wrote nodes of the same labels, or changed the graph's schema."""
    labels = _labels(shapes.values())
    for other in journal.runs():
        if other.number <= record.number:
            return
        same = other.graph_identity == record.graph_identity
        if not same or other.state == "rolled back" or record.kind == "export":
            continue
        chunks = journal.chunks
        touched = labels & _labels(chunks.shapes(other.number).values())
        wrote = chunks.has_written(other.number) or (other.kind == "repair" and other.steps)
        if other.kind == "schema" or (touched and wrote):
            raise UsageError(
                f"run {other.number} wrote to {record.place} after run {record.number}",
                "what it wrote may hang on what would be removed",
                f"take it back first: geode-tui rollback {other.number}",
            )


def _labels(shapes: Any) -> set[str]:
    found: set[str] = set()
    for shape in shapes:
        ends = (shape,) if isinstance(shape, NodeShape) else (shape.start, shape.end)
        for node in ends:
            found |= {node.label, *node.labels, *node.by_value}
    return found


def _apart(kept: Sequence[Kept]) -> Iterator[list[Kept]]:
    """What was kept, in order, each `Undo` by itself."""
    for undo, some in groupby(kept, lambda item: isinstance(item, Undo)):
        if undo:
            yield from ([item] for item in some)
        else:
            yield list(some)


def _together(kept: Sequence[Kept]) -> Iterator[list[PreImage]]:
    """Runs of images of one entity, each key once, so that they can be put back at once."""
    some: list[PreImage] = []
    seen: set[Any] = set()
    for item in kept:
        if not isinstance(item, PreImage):
            continue
        key = comparable(item.key)
        if some and (key in seen or some[0].entity != item.entity):
            yield some
            some, seen = [], set()
        some.append(item)
        seen.add(key)
    if some:
        yield some


def _count(target: Target, shape: Shape) -> int:
    if isinstance(shape, NodeShape):
        return target.count_nodes(shape)
    return target.count_relationships(shape)


@contextlib.contextmanager
def _told_how_to_go_on(number: int) -> Iterator[None]:
    """An error in the midst of a rollback says how to end it."""
    again = f"geode-tui rollback {number}"
    try:
        yield
    except GeodeTuiError as error:
        error.exit_code = EXIT_RESUMABLE
        if "geode-tui resume" in error.next_step:
            error.next_step = error.next_step.replace("geode-tui resume", again)
        else:
            error.next_step = error.next_step or f"end the rollback with: {again}"
        raise
