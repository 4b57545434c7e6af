"""The way back after a flip: what was written to the graph becomes rows again.

What changed is told by the outbox nodes that an application left in the graph (`dual_write`), or
by a comparison of the graph with the source, value by value. It is mapped to rows by the inverse
of the mapping and written in one transaction of the source. Before that commits, the graph and
the source are compared once more, all of what the mapping moves: a difference undoes everything.
So either the source equals what the graph says, or it is as it was and the keys in the way are
told.

Nobody can hold the writes of a graph from outside: stop the application first, by hand or by a
hook. What it writes after the comparison stays in the graph only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from geode_tui.catalog import Catalog
from geode_tui.dual_write import OUTBOX, PLACE
from geode_tui.errors import (
    EXIT_DIFFERS,
    GeodeTuiError,
    UsageError,
)
from geode_tui.mapping.inverse import Inverse, TableInverse, invert
from geode_tui.mapping.model import OF
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.migration import versions
from geode_tui.migration.left_out import LeftOutOfGraph
from geode_tui.migration.plan import make_plan
from geode_tui.migration.replication import marker
from geode_tui.migration.replication.adopt import adopt, run_all, up_to_date
from geode_tui.migration.replication.graph_outbox import (
    READ_AT_ONCE,
    Recorded,
    forget,
    key_of,
    nodes_at,
    read_outbox,
    relationships_at,
)
from geode_tui.migration.replication.reverse import (
    AsItIs,
    Reverse,
    RowChange,
    Stuck,
    Unlike,
    compare,
    gone_nodes,
    key_text,
    note_unlike,
    spelled_alike,
    without_left_out,
)
from geode_tui.migration.replication.row_transaction import RowTransaction, hold, told, undone
from geode_tui.migration.replication.row_writing import (
    RowStatement,
    RowWriter,
    TableChanges,
    counted,
)
from geode_tui.migration.replication.state import CutoverStep, StepState
from geode_tui.source.postgres import Source
from geode_tui.source.profile import qualified
from geode_tui.target.model import (
    Key,
    Marked,
    NodeShape,
    RelationshipKey,
    RelationshipShape,
    Statement,
    Target,
)
from geode_tui.validation.checks import check_strangers
from geode_tui.validation.compare import Candidate
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Difference
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import NAMED_AT_MOST, named
from geode_tui.validation.sides import RowReader, identity

Way = Literal["auto", "outbox", "comparison"]
SetStep = Callable[[str, StepState, str], None]
Hook = Callable[[], Awaitable[None]]

_OURS = (OUTBOX.label, PLACE.label, marker.LABEL, versions.LABEL)
MANY_REMOVED = 100
_SHOWN = 5
_STEPS = (
    ("hold the graph", "Writes to the graph stop", "let the application write again"),
    ("hold the rows", "The tables are locked, in one transaction", "it is rolled back"),
    ("read back", "What was written to the graph is read", "nothing was changed"),
    ("write rows", "Rows are made, changed and removed", "the transaction is rolled back"),
    ("compare", "The source equals what the graph says", "the transaction is rolled back"),
    ("commit rows", "The transaction is committed", "flip again: what came back stays"),
    ("flip back", "The application turns to the source", ""),
)


def fall_back_steps(first: int = 1) -> list[CutoverStep]:
    """The steps of a fall-back, for the journal; `first` is the number of the first."""
    return [
        CutoverStep(first + n, name, title, "waiting", undo=undo)
        for n, (name, title, undo) in enumerate(_STEPS)
    ]


@dataclass(frozen=True)
class FallBackRequest:
    """How to fall back.

    `way` says how changes are known: by outbox nodes, by comparison, or by the nodes where there
    are any and by comparison where they do not tell all. What rules of `leave` made stays as it
    is on both sides. `guard` is the name of the freeze whose triggers let us through. Triggers of
    the schemas `keep_triggers_of` fire as ever (change capture). With `preview` everything is done
    but the commit, and no hook is run.

    Differences whose signs are `accepted` stay as they are, on both sides.

    What applications wrote becomes that of the run of uid `run`, with that `step`, so that its
    synchronization can go on; where `run` is empty it stays nobody's.

    `hold_graph` stops the application's writes to the graph; `flip_back` is run after the commit:
    the marker, the journal, the application's own hook.
    """

    way: Way = "auto"
    leave: frozenset[str] = frozenset()
    guard: str = ""
    keep_triggers_of: frozenset[str] = frozenset()
    preview: bool = False
    remove_many: bool = False
    accepted: frozenset[str] = frozenset()
    run: str = ""
    step: int = 0
    hold_graph: Hook | None = None
    flip_back: Hook | None = None


@dataclass(frozen=True)
class FallBackReport:
    """What a fall-back did, or would do: rows by table, statements with their rows, notes.

    `recorded` is how many outbox nodes told of writes, `compared` how many entities were found
    the same in the end. `seconds` is how long the transaction held the tables.
    """

    way: Way
    preview: bool
    tables: tuple[TableChanges, ...]
    statements: tuple[RowStatement, ...]
    notes: tuple[str, ...]
    recorded: int
    compared: int
    seconds: float

    @property
    def rows(self) -> int:
        """How many rows are made, changed or removed."""
        return sum(one.inserted + one.updated + one.deleted for one in self.tables)


class StuckError(GeodeTuiError):
    """Something of the graph has no place in a row; the source is as it was."""

    exit_code = EXIT_DIFFERS

    def __init__(self, stuck: Sequence[Stuck]) -> None:
        self.stuck = tuple(stuck)
        count = len(self.stuck)
        things = "thing of the graph is" if count == 1 else "things of the graph are"
        more = f"; and {count - _SHOWN:,} more" if count > _SHOWN else ""
        steps = dict.fromkeys(one.next_step for one in self.stuck if one.next_step)
        super().__init__(
            f"{count:,} {things} not in the rows; the source is as it was",
            "; ".join(map(str, self.stuck[:_SHOWN])) + more,
            "; ".join(list(steps)[:3]) or "mend it in the graph, or leave the rule behind",
        )


async def fall_back(
    source: Source,
    target: Target,
    mapping: GraphMapping,
    left_out: LeftOutOfGraph,
    request: FallBackRequest,
    *,
    schemas: Sequence[str] = (),
    set_step: SetStep = lambda name, state, detail: None,
    tell: Callable[[str], None] = lambda text: None,
) -> FallBackReport:
    """Lead what was written to the graph back into the source, and flip back.

    `left_out` is what never reached the graph (`migration.left_out.left_out_of`). `set_step`
    journals a step's state before and after. Repeatable: killed at any moment, the source is as
    it was, or holds all.

    Raises StuckError, with each key, where something has no place in a row, BusyError where a
    table is locked by others, GeodeTuiError for everything else; the source is as it was then.
    """
    catalog = await source.described(await source.catalog(schemas), mapping.queries)
    work = _FallBack(source, target, mapping, catalog, left_out, request, set_step, tell)
    return await work.run()


@dataclass
class _FallBack:
    source: Source
    target: Target
    mapping: GraphMapping
    catalog: Catalog
    left_out: LeftOutOfGraph
    request: FallBackRequest
    set_step: SetStep
    tell: Callable[[str], None]
    inverse: Inverse = field(init=False)
    entities: tuple[Entity, ...] = field(init=False)
    settled: tuple[Entity, ...] = field(init=False)
    notes: list[str] = field(default_factory=list)
    kept: dict[str, set[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.inverse = invert(self.mapping, self.catalog)
        self.entities = make_plan(self.mapping, self.catalog).entities
        settled = make_plan(self.inverse.settled, self.catalog)
        self.settled = tuple(settled.entity(entity.id) for entity in self.entities)

    async def run(self) -> FallBackReport:
        if unknown := self.request.leave - {entity.id for entity in self.entities}:
            raise UsageError(f"no rule {', '.join(sorted(unknown))}", "", "name rules by their ids")
        await self._hold_graph()
        recorded = await asyncio.to_thread(read_outbox, self.target)
        way: Way = self.request.way
        if way == "auto":
            way = "outbox" if recorded else "comparison"
        try:
            report = await self._round(way, recorded)
        except StuckError:
            if self.request.way != "auto" or way == "comparison":
                raise
            self.tell("the outbox nodes do not tell of all that was written: compares everything")
            report = await self._round("comparison", recorded)
        if not self.request.preview:
            await self._flip_back(recorded)
        return report

    async def _hold_graph(self) -> None:
        with self._step("hold the graph") as done:
            if self.request.preview:
                done("a preview: writes to the graph go on")
            elif self.request.hold_graph is None:
                done("no hook does it, and nobody can from outside: stop the application yourself")
            else:
                await self.request.hold_graph()

    async def _round(self, way: Way, recorded: Sequence[Recorded]) -> FallBackReport:
        begun = time.monotonic()
        self.notes = []
        with self._step("hold the rows"):
            tables = [one.table.name for one in self.inverse.tables]
            rows = await hold(self.source, tables, self.request.guard)
        async with undone(rows):
            with self._step("read back") as done:
                changes = await self._changes(rows, way, recorded)
                some = len(recorded) if way == "outbox" else 0
                by = f"{some:,} outbox nodes" if some else "a comparison of all values"
                done(f"{len(changes):,} rows to write, by {by}")
            writer = RowWriter(
                rows.connection,
                self.inverse.tables,
                self.request.keep_triggers_of | {self.request.guard} - {""},
            )
            with self._step("write rows") as done:
                with told():
                    await writer.write(changes)
                if writer.stuck:
                    raise StuckError(writer.stuck)
                done(_in_words(counted(changes)))
            with self._step("compare") as done:
                compared, old = await self._verify(rows)
                done(f"{compared:,} rules: nothing differs")
            if not self.request.preview:
                with self._step("commit rows"), told():
                    await self._bring_up_to_date(old)
                    await writer.move_sequences(changes)
                    await rows.commit()
        notes = (*self.notes, *writer.notes)
        return FallBackReport(
            way,
            self.request.preview,
            counted(changes),
            tuple(writer.statements),
            notes,
            len(recorded),
            compared,
            time.monotonic() - begun,
        )

    # -- what changed -----------------------------------------------------------------------------

    async def _changes(
        self, reader: RowTransaction, way: Way, recorded: Sequence[Recorded]
    ) -> list[RowChange]:
        reverse = Reverse(self.inverse, self.entities, self.target)
        touched = self._touched(recorded, reverse.stuck) if way == "outbox" else {}
        gone: set[Any] = set()
        for entity in self.entities:
            if entity.id not in self.inverse.rules or entity.id in self.request.leave:
                continue
            self._check_alone(entity)
            if way == "outbox":
                unlike = await self._unlike_at(reader, entity, touched.get(entity.id, []))
            else:
                self.tell(f"compares {entity.id}")
                unlike = await compare(reader, self.target, entity)
            if not unlike:
                continue
            out = self._out(entity)
            unlike = await self._but_for_accepted(entity, unlike)
            unlike = await without_left_out(self.target, entity, unlike, out, gone)
            self._check_known(entity, unlike, out)
            gone |= gone_nodes(entity, unlike)
            await asyncio.to_thread(reverse.add, entity, unlike)
        changes = reverse.changes
        if reverse.stuck:
            raise StuckError(reverse.stuck)
        if not self.request.remove_many:
            await self._check_removals(reader, changes)
        return changes

    async def _check_removals(self, reader: RowReader, changes: Sequence[RowChange]) -> None:
        """Refuse to empty a table: an empty graph is more often the wrong one."""
        stuck = []
        for one in counted(changes):
            if one.deleted < MANY_REMOVED:
                continue
            name = next(t.table.name for t in self.inverse.tables if str(t.table.name) == one.table)
            [row] = await reader.fetch(f"SELECT count(*) FROM {qualified(name)}")
            if one.deleted * 2 > row[0]:
                why = f"{one.deleted:,} of {row[0]:,} rows would be removed"
                advice = "see that it is the right graph; if so: --remove-many"
                stuck.append(Stuck(one.table, "", why, advice))
        if stuck:
            raise StuckError(stuck)

    def _out(self, entity: Entity) -> LeftOut:
        return self.left_out.entities.get(entity.id, LeftOut())

    def _check_alone(self, entity: Entity) -> None:
        """Refuse what was in the graph before: nobody can tell it from what came since."""
        before = self.left_out.before.get(entity.id, 0)
        if before:
            raise StuckError(
                [
                    Stuck(
                        entity.id,
                        "",
                        f"the graph held {before:,} of them before the migration: they have no"
                        " rows, and cannot be told from what came since",
                        f"leave the rule behind: {entity.id}",
                    )
                ]
            )

    def _check_known(self, entity: Entity, unlike: Unlike, out: LeftOut) -> None:
        """Refuse to remove rows of which nobody knows whether they ever were in the graph."""
        if not unlike.rows or out.known is not None or not (out.dead or out.orphans):
            return
        why = f"{out.dead + out.orphans:,} of its rows never reached the graph; which is not known"
        raise StuckError([Stuck(entity.id, "", why, f"leave the rule behind: {entity.id}")])

    def _touched(
        self, recorded: Sequence[Recorded], stuck: list[Stuck]
    ) -> dict[str, list[Key | RelationshipKey]]:
        """The keys that outbox nodes tell of, by entity."""
        entities = {entity.id: entity for entity in self.entities}
        found: dict[str, list[Key | RelationshipKey]] = defaultdict(list)
        for one in recorded:
            entity = entities.get(one.rule)
            if entity is None:
                why = "an outbox node names a rule that is not in the mapping"
                stuck.append(Stuck(one.rule, one.key, why, "remove the node, or name the rule"))
                continue
            try:
                found[entity.id].append(key_of(entity, json.loads(one.key)))
            except (ValueError, ArithmeticError, TypeError, LookupError) as error:
                why = f"the key of an outbox node cannot be read: {error}"
                stuck.append(Stuck(one.rule, one.key, why, "mend or remove the node"))
        return found

    async def _unlike_at(self, rows: RowTransaction, entity: Entity, keys: Sequence[Any]) -> Unlike:
        """What differs at some keys of an entity; all of it where rows are not found by keys."""
        table, columns = self._table_of(entity), entity.extract.cursor_columns
        if not keys:
            return Unlike()
        if table is None or set(columns) != set(table.key_columns) or not entity.extract.keyed:
            return await compare(rows, self.target, entity)
        order = [table.key_columns.index(name) for name in columns]
        unique = list({identity(entity, key): key for key in keys}.values())
        found = Unlike()
        for begin in range(0, len(unique), READ_AT_ONCE):
            part = unique[begin : begin + READ_AT_ONCE]
            texts = dict.fromkeys(self._row_key(entity, table, key) for key in part)
            there = await rows.rows_at(entity, [tuple(key[n] for n in order) for key in texts])
            await self._note_unlike_at(entity, there, part, found)
        return found

    async def _note_unlike_at(
        self, entity: Entity, rows: Sequence[Any], keys: Sequence[Any], found: Unlike
    ) -> None:
        """Compare some rows with what the graph holds at some keys, and at those of the rows."""
        shape, graph = entity.shape, AsItIs(self.target, entity)
        if isinstance(shape, NodeShape):
            wholes = await asyncio.to_thread(nodes_at, self.target, shape, keys)
        else:
            also = [entity.relationship_key(row) for row in rows]
            every = list({identity(entity, key): key for key in (*keys, *also)}.values())
            wholes = await asyncio.to_thread(relationships_at, self.target, shape, every)
        marked = [(graph.row_mark(row), row) for row in rows]
        note_unlike(entity, marked, graph.marked_wholes(wholes), found)

    def _table_of(self, entity: Entity) -> TableInverse | None:
        for table in self.inverse.tables:
            if entity.id == table.rule or any(entity.id == r.rule for r in table.references):
                return table
        return None

    def _row_key(self, entity: Entity, table: TableInverse, key: Any) -> tuple[str, ...]:
        """The key of the row that a thing stands for, or that owns it."""
        shape = entity.shape
        if isinstance(shape, NodeShape):
            values = dict(zip(shape.key, key, strict=True))
            return tuple(key_text(values[given.property]) for given in table.key)
        start, end, own = key
        if table.joins:
            by_column = dict[str, Any]()
            for some, names, part in (
                (table.start, shape.start.key, start),
                (table.end, shape.end.key, end),
                (table.columns, shape.key, own),
            ):
                there = dict(zip(names, part, strict=True))
                by_column |= {g.column: there[g.property] for g in some if g.property in there}
            return tuple(key_text(by_column[name]) for name in table.key_columns)
        outward = next(r.outward for r in table.references if r.rule == entity.id)
        names, part = (shape.start.key, start) if outward else (shape.end.key, end)
        values = dict(zip(names, part, strict=True))
        return tuple(key_text(values[given.property]) for given in table.key)

    # -- is it right ------------------------------------------------------------------------------

    async def _verify(self, reader: RowReader) -> tuple[int, list[Statement]]:
        """Compare everything once more; raise StuckError where something differs.

        Returns how many rules were compared, and what brings properties up to date in the graph
        that repeat a relationship and are old.
        """
        stuck: list[Stuck] = []
        old: list[Statement] = []
        compared = 0
        for entity, settled in zip(self.entities, self.settled, strict=True):
            if entity.id in self.request.leave:
                self.notes.append(f"{entity.id} was left behind: it is as it was on both sides")
                continue
            compared += 1
            unlike = await self._unlike(reader, entity, frozenset())
            left = await self._but_for_spelling(reader, entity, unlike, frozenset())
            if left and (repeated := self._repeated(entity)):
                left = await self._unlike(reader, settled, repeated)
                left = await self._but_for_spelling(reader, settled, left, repeated)
            if left:
                stuck += await asyncio.to_thread(self._differing, settled, left)
            elif unlike:
                old += up_to_date(entity, unlike)
        if not self.left_out.before:
            stuck += await asyncio.to_thread(self._unnamed)
        if stuck:
            raise StuckError(stuck)
        for check in await check_strangers(self.target, self.entities, _OURS):
            if check.why:
                self.notes.append(f"{check.kind}: {check.graph}; these stay in the graph only")
        return compared, old

    def _unnamed(self) -> list[Stuck]:
        """Things of a label or a type that a rule makes, and that are no rule's."""
        nodes = [e.shape for e in self.entities if isinstance(e.shape, NodeShape)]
        links = [e.shape for e in self.entities if isinstance(e.shape, RelationshipShape)]
        found = []
        for label in sorted(self.mapping.shared_labels):
            of_rules = sum(_labelled(self.target, shape, label) for shape in nodes)
            if (more := self.target.count_label(label) - of_rules) > 0:
                why = f"{more:,} nodes with this label do not say of which rule they are"
                found.append(Stuck(label, "", why, f"set {OF} to the rule's name"))
        for name in sorted({shape.type for shape in links}):
            ends = ((s, (s.start.label, s.start.of, s.end.label, s.end.of)) for s in links)
            some = {between: shape for shape, between in ends if shape.type == name}
            of_rules = sum(self.target.count_relationships(shape) for shape in some.values())
            if (more := self.target.count_type(name) - of_rules) > 0:
                why = f"{more:,} relationships of this type lead between nodes of no rule of it"
                found.append(Stuck(name, "", why, "remove them, or give them another type"))
        return found

    async def _unlike(self, reader: RowReader, entity: Entity, besides: frozenset[str]) -> Unlike:
        """What of an entity differs, but for what never reached the graph."""
        unlike = await compare(reader, self.target, entity, besides)
        out = self._out(entity)
        unlike = await self._but_for_accepted(entity, unlike)
        return await without_left_out(self.target, entity, unlike, out, set())

    async def _but_for_accepted(self, entity: Entity, unlike: Unlike) -> Unlike:
        """Without what somebody accepted as it is, before the flip, and is so still."""
        if not self.request.accepted or not unlike:
            return unlike
        known = self.kept.setdefault(entity.id, set())
        if entity in self.entities:  # the digests of settled ones are of fewer values
            known |= await asyncio.to_thread(self._accepted, entity, unlike)
        rows = [r for r in unlike.rows if identity(entity, entity.key(r)) not in known]
        things = [t for t in unlike.things if identity(entity, t.key) not in known]
        return Unlike(rows, things)

    def _accepted(self, entity: Entity, unlike: Unlike) -> set[Any]:
        candidates = _candidates(entity, unlike)
        keys = list(candidates)
        found: set[Any] = set()
        for begin in range(0, len(keys), NAMED_AT_MOST):
            some = {key: candidates[key] for key in keys[begin : begin + NAMED_AT_MOST]}
            places = {id(candidate): key for key, candidate in some.items()}
            told_ones = named(self.target, entity, list(some.values()), True)
            found |= {
                places[id(candidate)]
                for candidate, one in told_ones
                if one.sign in self.request.accepted
            }
        return found

    async def _but_for_spelling(
        self, reader: RowReader, entity: Entity, unlike: Unlike, besides: frozenset[str]
    ) -> Unlike:
        table = next((t for t in self.inverse.tables if t.rule == entity.id), None)
        if not unlike or table is None or not table.respell:
            return unlike
        return await spelled_alike(reader, self.target, entity, table, unlike, besides)

    async def _bring_up_to_date(self, old: Sequence[Statement]) -> None:
        """Let the graph hold what the rows do, where a property is old or spelled otherwise.

        Before the commit: a second time, after a kill, it must not look like a write.
        """
        await asyncio.to_thread(run_all, self.target, old)
        if old:
            what = "of the graph hold what their rows do: a foreign key that was old, or a value"
            self.notes.append(f"{len(old):,} {what} as PostgreSQL spells it")

    def _differing(self, entity: Entity, unlike: Unlike) -> list[Stuck]:
        candidates = _candidates(entity, unlike)
        found = named(self.target, entity, list(candidates.values()), True)
        besides = self._repeated(entity)
        return [self._stuck(one, besides) for _, one in found]

    def _stuck(self, one: Difference, besides: frozenset[str]) -> Stuck:
        values = [value for value in one.values if value[0] not in besides]
        why = self.inverse.why_not(one.entity, [name for name, _, _ in values])
        if one.entity not in self.inverse.rules:
            why = f"the rule is not inverted: {why}"
        sides = {"source": "only in the source", "graph": "only in the graph"}
        told = [f"{name}: {a} in the source, {b} in the graph" for name, a, b in values]
        reason = sides.get(one.where) or ", ".join(told)
        reason = f"{reason} ({why})" if why else reason
        advice = f"mend it in the graph, or leave {one.entity} behind"
        return Stuck(one.entity, one.key, reason, advice)

    def _repeated(self, entity: Entity) -> frozenset[str]:
        """The properties that only repeat what a relationship says: they may be old."""
        for table in self.inverse.tables:
            if table.rule == entity.id and not table.joins:
                return frozenset(g.property for g in table.columns if g.column in table.redundant)
        return frozenset()

    # -- and back ---------------------------------------------------------------------------------

    async def _flip_back(self, recorded: Sequence[Recorded]) -> None:
        with self._step("flip back") as done:
            request = self.request
            if request.run:
                some = [entity for entity in self.entities if entity.id not in request.leave]
                many = await adopt(self.target, some, request.run, request.step)
                self.tell(f"{many:,} of what was written to the graph are the run's own now")
            await asyncio.to_thread(forget, self.target, recorded)
            if self.request.flip_back is None:
                done("the rows are back; turn the application to the source")
            else:
                await self.request.flip_back()

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[Callable[[str], None]]:
        detail = ""

        def done(text: str) -> None:
            nonlocal detail
            detail = text

        self.set_step(name, "running", "")
        try:
            yield done
        except BaseException as error:
            told = error.what if isinstance(error, GeodeTuiError) else type(error).__name__
            self.set_step(name, "failed", told)
            raise
        self.set_step(name, "done", detail)
        if detail:
            self.tell(f"{name}: {detail}")


# -- words ---------------------------------------------------------------------------------------


def _candidates(entity: Entity, unlike: Unlike) -> dict[Any, Candidate]:
    """What differs by key, as comparisons name it."""
    found: dict[Any, Candidate] = defaultdict(Candidate)
    for row in unlike.rows:
        found[identity(entity, entity.key(row))].rows.append(row)
    for whole in unlike.things:
        found[identity(entity, whole.key)].things.append(Marked(whole.key, None, None))
    return found


def _labelled(target: Target, shape: NodeShape, label: str) -> int:
    """How many nodes of a shape have a label."""
    if label in (shape.label, *shape.labels):
        return target.count_nodes(shape)
    return target.count_labelled(shape, label) if label in shape.by_value else 0


def _in_words(tables: Sequence[TableChanges]) -> str:
    some = [
        f"{one.table}: {one.inserted:,} new, {one.updated:,} changed, {one.deleted:,} removed"
        for one in tables
    ]
    return "; ".join(some) or "no row differs"
