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
import time
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
from geode_tui.mapping.inverse import Inverse, invert
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.migration import versions
from geode_tui.migration.left_out import LeftOutOfGraph
from geode_tui.migration.replication import marker
from geode_tui.migration.replication.adopt import adopt, run_all
from geode_tui.migration.replication.graph_outbox import (
    OutboxReading,
    Recorded,
    forget,
    read_outbox,
)
from geode_tui.migration.replication.reverse import (
    Reverse,
    RowChange,
    Stuck,
    Unlike,
    compare,
    gone_nodes,
    without_left_out,
)
from geode_tui.migration.replication.row_transaction import RowTransaction, hold, told, undone
from geode_tui.migration.replication.row_writing import (
    RowStatement,
    RowWriter,
    TableChanges,
    counted,
)
from geode_tui.migration.replication.sides_compared import SidesCompared
from geode_tui.migration.replication.state import CutoverStep, StepState
from geode_tui.source.postgres import Source
from geode_tui.source.profile import qualified
from geode_tui.target.model import (
    Statement,
    Target,
)
from geode_tui.validation.entity import Entity
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.sides import RowReader

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
    sides: SidesCompared = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inverse = invert(self.mapping, self.catalog)
        self.sides = SidesCompared(
            self.target,
            self.inverse,
            self.catalog,
            self.left_out,
            leave=self.request.leave,
            accepted=self.request.accepted,
            ours=_OURS,
        )

    @property
    def entities(self) -> Sequence[Entity]:
        return self.sides.entities

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
                verdict = await self.sides.verdict(rows)
                self.notes += verdict.notes
                if verdict.stuck:
                    raise StuckError(verdict.stuck)
                done(f"{verdict.compared:,} rules: nothing differs")
            if not self.request.preview:
                with self._step("commit rows"), told():
                    await self._bring_up_to_date(verdict.old)
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
            verdict.compared,
            time.monotonic() - begun,
        )

    # -- what changed -----------------------------------------------------------------------------

    async def _changes(
        self, reader: RowTransaction, way: Way, recorded: Sequence[Recorded]
    ) -> list[RowChange]:
        reverse = Reverse(self.inverse, self.entities, self.target)
        outbox = OutboxReading(self.target, self.inverse, self.entities)
        touched = outbox.keys(recorded, reverse.stuck) if way == "outbox" else {}
        gone: set[Any] = set()
        for entity in self.entities:
            if entity.id not in self.inverse.rules or entity.id in self.request.leave:
                continue
            self._check_alone(entity)
            if way == "outbox":
                unlike = await outbox.unlike_at(reader, entity, touched.get(entity.id, []))
            else:
                self.tell(f"compares {entity.id}")
                unlike = await compare(reader, self.target, entity)
            if not unlike:
                continue
            out = self.sides.left_out(entity)
            unlike = await self.sides.but_for_accepted(entity, unlike)
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

    def _check_alone(self, entity: Entity) -> None:
        """Refuse what was in the graph before: nobody can tell it from what came since."""
        before = self.sides.before(entity)
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

    async def _bring_up_to_date(self, old: Sequence[Statement]) -> None:
        """Let the graph hold what the rows do, where a property is old or spelled otherwise.

        Before the commit: a second time, after a kill, it must not look like a write.
        """
        await asyncio.to_thread(run_all, self.target, old)
        if old:
            what = "of the graph hold what their rows do: a foreign key that was old, or a value"
            self.notes.append(f"{len(old):,} {what} as PostgreSQL spells it")

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


def _in_words(tables: Sequence[TableChanges]) -> str:
    some = [
        f"{one.table}: {one.inserted:,} new, {one.updated:,} changed, {one.deleted:,} removed"
        for one in tables
    ]
    return "; ".join(some) or "no row differs"
