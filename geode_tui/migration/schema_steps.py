"""The steps of a schema change that are done in the graph alone, journaled one by one.

Before a step is done, its number and what takes it back are in the journal; after it, that it is
done. So a step that was interrupted is done again, and each can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast

from geode_tui.errors import UsageError
from geode_tui.mapping.model import FINGERPRINT, Mapping, NodeRule
from geode_tui.mapping.steps import Step, Things, Work
from geode_tui.migration import schema_undo as undo
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.schema_graph import (
    Shape,
    count,
    count_having,
    images,
    marked_shape,
    other_digests,
    put,
    renew_digests,
    scan,
    set_mark,
)
from geode_tui.migration.schema_undo import Operation
from geode_tui.migration.versions import Versions
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.validation.entity import node_shape, shape_of

STEPS = "(schema)"
"""Under this name the steps are among the run's chunks; no rule can have it."""


class Watch(Protocol):
    """Whoever follows the steps."""

    def check(self) -> None:
        """Raise where the run is to stop."""
        ...

    def doing(self, text: str) -> None:
        """A step begins."""
        ...

    def did(self, text: str) -> None:
        """A step is done."""
        ...


@dataclass(frozen=True)
class GraphStep:
    """A step in the graph: `work` does it and returns how many things it changed.

    `work` is given the step's number in the run. `undo` are the operations that take it back,
    the last first; `refuse` looks whether something is in the way, before the step is begun.
    """

    text: str
    work: Callable[[int], int]
    undo: Callable[[int], Sequence[Operation]] = lambda step: ()
    refuse: Callable[[], None] = lambda: None


class GraphSteps:
    """All steps of a change in the graph, in the order of their numbers.

    `before` are done before anything is read, `between` before the first row is written, `after`
    when all values are there, `last` when the run has ended well.
    """

    def __init__(
        self,
        journal: Journal,
        record: RunRecord,
        target: Target,
        work: Work,
        description: str,
        watch: Watch,
    ) -> None:
        self._journal, self._record, self._target = journal, record, target
        self._images = PreImages(journal.store)
        self._work, self._watch = work, watch
        steps = tuple(work.steps())
        self.before = [
            *self._kept_digests(),
            *(self._step(step) for step in steps if step.kind in _GOING),
            *self._unprepared(),
            *(self._step(step) for step in steps if step.kind in _RENAMING),
            *self._prepared(),
        ]
        self.between = [self._begin_fill(step) for step in steps if step.kind == "fill"]
        if any(True for _ in work.loaded()):
            self.between.append(self._begin_loads())
        self.after = [self._renewed(step) for step in steps if step.kind == "renew_digests"]
        self.last = [self._version(description)]
        self._plan()

    @property
    def all(self) -> list[GraphStep]:
        """All of them, as they are numbered."""
        return [*self.before, *self.between, *self.after, *self.last]

    def run(self, some: Iterable[GraphStep], again: bool = False) -> None:
        """Do those of some steps that are not done yet (`again`: all). Blocks."""
        numbers = {id(step): number for number, step in enumerate(self.all)}
        for step in some:
            self._watch.check()
            self._do(numbers[id(step)], step, again)

    def _do(self, number: int, step: GraphStep, again: bool) -> None:
        state = self._state(number)
        if state == "done" and not again:
            return
        self._watch.doing(step.text)
        if state == "planned":
            step.refuse()
        taken = self._begin(number, step)
        changed = step.work(taken)
        self._end(number, changed)
        if step.text:
            self._watch.did(f"{step.text}: {changed:,}" if changed else step.text)

    # -- the journal ----------------------------------------------------------------------------

    def _plan(self) -> None:
        rows = [(self._record.number, STEPS, n) for n in range(len(self.all))]
        with self._journal.store.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO chunk (run, entity, number, state, low, high)"
                " VALUES (?, ?, ?, 'planned', 'null', 'null')",
                rows,
            )

    def _state(self, number: int) -> str:
        sql = "SELECT state FROM chunk WHERE run = ? AND entity = ? AND number = ?"
        row = self._journal.store.one(sql, self._record.number, STEPS, number)
        assert row is not None
        return str(row["state"])

    def _begin(self, number: int, step: GraphStep) -> int:
        """Journal the step's number and, the first time, what takes it back; at once."""
        run = self._record.number
        place = (run, STEPS, number)
        with self._journal.store.write() as db:
            sql = "SELECT step FROM chunk WHERE run = ? AND entity = ? AND number = ?"
            known = db.execute(sql, place).fetchone()["step"]
            taken: int = known or self._journal.chunks.next_step(run)
            if not known:
                self._keep(taken, step.undo(taken))
            db.execute(
                "UPDATE chunk SET state = 'begun', step = ?, started = ?, attempts = attempts + 1"
                " WHERE run = ? AND entity = ? AND number = ?",
                (taken, time.time(), *place),
            )
        return taken

    def _end(self, number: int, changed: int) -> None:
        with self._journal.store.write() as db:
            db.execute(
                "UPDATE chunk SET state = 'done', rows = ?, ended = ?"
                " WHERE run = ? AND entity = ? AND number = ?",
                (changed, time.time(), self._record.number, STEPS, number),
            )

    def _keep(self, step: int, operations: Iterable[Operation]) -> None:
        with self._journal.store.write():
            for operation in operations:
                self._images.add_undo(self._record.number, step, STEPS, operation)

    # -- what goes ------------------------------------------------------------------------------

    def _kept_digests(self) -> Iterator[GraphStep]:
        """Digests that will be others: those that their values do not give are kept."""
        for pair in self._work.kept:
            if self._work.other_digests(pair):
                shape = shape_of(pair.old, self._work.old)
                text = f"look at the digests ({FINGERPRINT}) of {pair.old.id}"
                yield GraphStep(text, partial(self._keep_digests, shape))

    def _keep_digests(self, shape: Shape, step: int) -> int:
        for rows in other_digests(self._target, shape):
            self._watch.check()
            self._keep(step, undo.set_properties(shape, (FINGERPRINT,), rows))
        self._keep(step, [undo.renew_digests(shape)])
        return 0

    def _step(self, step: Step) -> GraphStep:
        assert step.things is not None
        made = getattr(self, f"_{step.kind}")(step.things, step.names)
        return replace(cast(GraphStep, made), text=step.text)

    def _drop_relationship(self, things: Things, names: Sequence[str]) -> GraphStep:
        shape = shape_of(things.rule, self._work.old)
        return GraphStep("", lambda step: self._drop(shape, step))

    def _drop_label(self, things: Things, names: Sequence[str]) -> GraphStep:
        rule = things.rule
        shapes = [
            shape_of(other, self._work.old)
            for other in self._work.old.active_relationships
            if rule.id in (other.start.node, other.end.node)
        ]
        shapes.append(shape_of(rule, self._work.old))
        return GraphStep("", lambda step: sum(self._drop(shape, step) for shape in shapes))

    def _drop(self, shape: Shape, step: int) -> int:
        """Remove all of a shape; what was there is journaled before."""
        dropped = 0
        for rows in scan(self._target, shape, ()):
            self._watch.check()
            keys = [key for key, _ in rows]
            found = images(self._target, shape, keys)
            self._keep(step, undo.put_back(shape, zip(keys, found, strict=True)))
            put(self._target, shape, [(key, None) for key in keys])
            dropped += len(keys)
        return dropped

    def _remove_property(self, things: Things, names: Sequence[str]) -> GraphStep:
        shape = shape_of(things.rule, self._work.old)
        return GraphStep("", lambda step: self._remove(shape, names[0], step))

    def _remove(self, shape: Shape, name: str, step: int) -> int:
        for rows in scan(self._target, shape, (name,)):
            self._watch.check()
            there = [(key, values) for key, values in rows if values[0] is not None]
            self._keep(step, undo.set_properties(shape, (name,), there))
        return self._target.remove_property(shape, name)

    # -- indexes --------------------------------------------------------------------------------

    def _unprepared(self) -> Iterator[GraphStep]:
        """Drop the indexes and constraints of keys that are no more: they would be in the way."""
        gone = _without(self._work.old, self._work.new)
        if gone:
            back = [undo.prepare(_node_shapes(self._work.old))]
            text = "drop the indexes of keys that go"
            yield GraphStep(text, lambda step: self._unprepare(gone), lambda step: back)

    def _unprepare(self, shapes: Sequence[NodeShape]) -> int:
        self._target.unprepare(self._target.statements(shapes))
        return 0

    def _prepared(self) -> Iterator[GraphStep]:
        """Make the indexes and constraints of new keys, before anything is found by them."""
        come = _without(self._work.new, self._work.old)
        if come:
            text = "make the indexes of keys that come"
            yield GraphStep(text, self._prepare, lambda step: [undo.unprepare(come)])

    def _prepare(self, step: int) -> int:
        self._target.prepare(_node_shapes(self._work.new))
        return 0

    # -- names ----------------------------------------------------------------------------------

    def _rename_relationship(self, things: Things, names: Sequence[str]) -> GraphStep:
        before, after = names
        shape = cast(RelationshipShape, shape_of(things.rule, self._work.old))
        here, there = replace(shape, type=before), replace(shape, type=after)
        return GraphStep(
            "",
            lambda step: self._target.rename_type(here, after),
            lambda step: [undo.rename_type(there, before)],
            lambda: _refuse(count(self._target, there), f"relationships {after}", "of that type"),
        )

    def _rename_property(self, things: Things, names: Sequence[str]) -> GraphStep:
        before, after = names
        shape = self._named(things)
        what = f"{things.name} with property {after}"
        return GraphStep(
            "",
            lambda step: self._target.rename_property(shape, before, after),
            lambda step: [undo.rename_property(shape, after, before)],
            lambda: _refuse(count_having(self._target, shape, after), what, "so named"),
        )

    def _named(self, things: Things) -> Shape:
        """What an old rule made, under the name that it has now."""
        if isinstance(things.rule, NodeRule):
            return marked_shape(things.name, things.mark)
        shape = cast(RelationshipShape, shape_of(things.rule, self._work.old))
        return replace(shape, type=things.name)

    def _mark_rule(self, things: Things, names: Sequence[str]) -> GraphStep:
        mark = names[0] if names else ""
        shape, marked = marked_shape(things.name, things.mark), marked_shape(things.name, mark)
        return GraphStep(
            "",
            lambda step: set_mark(self._target, shape, mark),
            lambda step: [undo.mark(marked, things.mark)],
        )

    def _rename_label(self, things: Things, names: Sequence[str]) -> GraphStep:
        after = names[-1]
        here, there = marked_shape(things.name, things.mark), marked_shape(after, things.mark)
        given = cast(NodeRule, things.rule).labels
        gone = names[0] if len(names) == 2 else ""
        back = [] if after in given else [undo.remove_label(here, after)]
        back += [undo.add_label(there, gone)] if gone else []

        def work(step: int) -> int:
            changed = self._target.add_label(here, after)
            return max(changed, self._target.remove_label(there, gone)) if gone else changed

        def refuse() -> None:
            own = self._target.count_labelled(here, after)
            others = 0 if things.mark else self._target.count_label(after) - own
            _refuse(others + (0 if after in given else own), f"{after} nodes", "so named")

        return GraphStep("", work, lambda step: back, refuse)

    def _add_label(self, things: Things, names: Sequence[str]) -> GraphStep:
        shape, label = marked_shape(things.name, things.mark), names[0]
        return GraphStep(
            "",
            lambda step: self._target.add_label(shape, label),
            lambda step: [undo.remove_label(shape, label)],
            lambda: _refuse(
                self._target.count_labelled(shape, label), f"{label} nodes", "labelled"
            ),
        )

    def _remove_label(self, things: Things, names: Sequence[str]) -> GraphStep:
        shape, label = marked_shape(things.name, things.mark), names[0]
        return GraphStep(
            "",
            lambda step: self._target.remove_label(shape, label),
            lambda step: [undo.add_label(shape, label)],
        )

    # -- values ---------------------------------------------------------------------------------

    def _begin_fill(self, step: Step) -> GraphStep:
        """What a property that nothing had is taken back by; the values come with the rows."""
        rule = self._work.new.rule(step.subject)
        assert rule is not None
        shape = shape_of(rule, self._work.new)

        def back(number: int) -> list[Operation]:
            free = [n for n in step.names if not count_having(self._target, shape, n)]
            return [undo.remove_property(shape, name) for name in free]

        return GraphStep("", lambda number: 0, back)

    def _begin_loads(self) -> GraphStep:
        """All that is loaded is of later steps, and goes before anything else is taken back."""
        uid = self._record.uid
        return GraphStep("", lambda step: 0, lambda step: [undo.remove_after(uid, step)])

    def _renewed(self, step: Step) -> GraphStep:
        rule = self._work.new.rule(step.subject)
        assert rule is not None
        shape = shape_of(rule, self._work.new)
        return GraphStep(step.text, lambda number: renew_digests(self._target, shape))

    def _version(self, description: str) -> GraphStep:
        def work(step: int) -> int:
            versions = Versions(self._target)
            versions.record(self._work.new, description, self._record.uid, step)
            return 0

        return GraphStep("record the version", work)


_GOING = ("drop_relationship", "drop_label", "remove_property")
_RENAMING = (
    "rename_relationship",
    "rename_property",
    "mark_rule",
    "remove_label",
    "rename_label",
    "add_label",
)


def _node_shapes(mapping: Mapping) -> list[NodeShape]:
    return [node_shape(rule, mapping) for rule in mapping.active_nodes]


def _without(mapping: Mapping, other: Mapping) -> list[NodeShape]:
    """The nodes of a mapping whose label and key the other mapping has not."""
    known = {(shape.label, frozenset(shape.key)) for shape in _node_shapes(other)}
    shapes = _node_shapes(mapping)
    return [shape for shape in shapes if (shape.label, frozenset(shape.key)) not in known]


def _refuse(there: int, what: str, how: str) -> None:
    """Refuse to go over what is in the way and was made by nobody of ours."""
    if there:
        raise UsageError(
            f"the graph already holds {there:,} {what}",
            f"no rule of the old mapping makes them: nobody could tell them apart once {how}",
            "rename or remove them, or choose another name",
        )
