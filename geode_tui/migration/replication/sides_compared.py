"""Whether the source is what the graph says: both compared by value, all that a mapping moves.

Left out of it is what never reached the graph, what somebody accepted as it is, and what
PostgreSQL holds as the same value and spells otherwise.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from geode_tui.catalog import Catalog
from geode_tui.mapping.inverse import Inverse
from geode_tui.mapping.model import OF
from geode_tui.migration.left_out import LeftOutOfGraph
from geode_tui.migration.plan import make_plan
from geode_tui.migration.replication.adopt import up_to_date
from geode_tui.migration.replication.reverse import (
    Stuck,
    Unlike,
    compare,
    spelled_alike,
    without_left_out,
)
from geode_tui.target.model import Marked, NodeShape, RelationshipShape, Statement, Target
from geode_tui.validation.checks import check_strangers
from geode_tui.validation.compare import Candidate
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Difference
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import NAMED_AT_MOST, named
from geode_tui.validation.sides import RowReader, identity


@dataclass
class Verdict:
    """What came of comparing everything.

    `compared` are rules; `stuck` is what differs; `old` brings what is old or spelled otherwise
    in the graph up to date; `notes` say what was not compared.
    """

    compared: int = 0
    stuck: list[Stuck] = field(default_factory=list)
    old: list[Statement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class SidesCompared:
    """The comparisons of one fall-back.

    `entities` are those of the mapping; `leave` are rules that stay behind, `accepted` the signs
    of differences that do, `ours` labels of nodes that no rule makes.
    """

    def __init__(
        self,
        target: Target,
        inverse: Inverse,
        catalog: Catalog,
        left_out: LeftOutOfGraph,
        *,
        leave: frozenset[str] = frozenset(),
        accepted: frozenset[str] = frozenset(),
        ours: Sequence[str] = (),
    ) -> None:
        self._target, self._inverse, self._left_out = target, inverse, left_out
        self._leave, self._accepted, self._ours = leave, accepted, ours
        self.entities = make_plan(inverse.mapping, catalog).entities
        settled = make_plan(inverse.settled, catalog)
        self._settled = tuple(settled.entity(entity.id) for entity in self.entities)
        self._kept: dict[str, set[Any]] = {}

    def left_out(self, entity: Entity) -> LeftOut:
        """What of an entity never reached the graph."""
        return self._left_out.entities.get(entity.id, LeftOut())

    def before(self, entity: Entity) -> int:
        """How many of an entity the graph held before the migration."""
        return self._left_out.before.get(entity.id, 0)

    async def verdict(self, reader: RowReader) -> Verdict:
        """Compare everything, as both sides are now."""
        found = Verdict()
        for entity, settled in zip(self.entities, self._settled, strict=True):
            if entity.id in self._leave:
                found.notes.append(f"{entity.id} was left behind: it is as it was on both sides")
                continue
            found.compared += 1
            unlike = await self._unlike(reader, entity, frozenset())
            left = await self._but_for_spelling(reader, entity, unlike, frozenset())
            if left and (repeated := self._repeated(entity)):
                left = await self._unlike(reader, settled, repeated)
                left = await self._but_for_spelling(reader, settled, left, repeated)
            if left:
                found.stuck += await asyncio.to_thread(self._differing, settled, left)
            elif unlike:
                found.old += up_to_date(entity, unlike)
        if not self._left_out.before:
            found.stuck += await asyncio.to_thread(self._unnamed)
        for check in await check_strangers(self._target, self.entities, self._ours):
            if check.why:
                found.notes.append(f"{check.kind}: {check.graph}; these stay in the graph only")
        return found

    def _unnamed(self) -> list[Stuck]:
        """Things of a label or a type that a rule makes, and that are no rule's."""
        nodes = [e.shape for e in self.entities if isinstance(e.shape, NodeShape)]
        links = [e.shape for e in self.entities if isinstance(e.shape, RelationshipShape)]
        found = []
        for label in sorted(self._inverse.mapping.shared_labels):
            of_rules = sum(_labelled(self._target, shape, label) for shape in nodes)
            if (more := self._target.count_label(label) - of_rules) > 0:
                why = f"{more:,} nodes with this label do not say of which rule they are"
                found.append(Stuck(label, "", why, f"set {OF} to the rule's name"))
        for name in sorted({shape.type for shape in links}):
            ends = ((s, (s.start.label, s.start.of, s.end.label, s.end.of)) for s in links)
            some = {between: shape for shape, between in ends if shape.type == name}
            of_rules = sum(self._target.count_relationships(shape) for shape in some.values())
            if (more := self._target.count_type(name) - of_rules) > 0:
                why = f"{more:,} relationships of this type lead between nodes of no rule of it"
                found.append(Stuck(name, "", why, "remove them, or give them another type"))
        return found

    async def _unlike(self, reader: RowReader, entity: Entity, besides: frozenset[str]) -> Unlike:
        """What of an entity differs, but for what never reached the graph."""
        unlike = await compare(reader, self._target, entity, besides)
        out = self.left_out(entity)
        unlike = await self.but_for_accepted(entity, unlike)
        return await without_left_out(self._target, entity, unlike, out, set())

    async def but_for_accepted(self, entity: Entity, unlike: Unlike) -> Unlike:
        """Without what somebody accepted as it is, before the flip, and is so still."""
        if not self._accepted or not unlike:
            return unlike
        known = self._kept.setdefault(entity.id, set())
        if entity in self.entities:  # the digests of settled ones are of fewer values
            known |= await asyncio.to_thread(self._are_accepted, entity, unlike)
        rows = [r for r in unlike.rows if identity(entity, entity.key(r)) not in known]
        things = [t for t in unlike.things if identity(entity, t.key) not in known]
        return Unlike(rows, things)

    def _are_accepted(self, entity: Entity, unlike: Unlike) -> set[Any]:
        candidates = _candidates(entity, unlike)
        keys = list(candidates)
        found: set[Any] = set()
        for begin in range(0, len(keys), NAMED_AT_MOST):
            some = {key: candidates[key] for key in keys[begin : begin + NAMED_AT_MOST]}
            places = {id(candidate): key for key, candidate in some.items()}
            told_ones = named(self._target, entity, list(some.values()), True)
            found |= {
                places[id(candidate)] for candidate, one in told_ones if one.sign in self._accepted
            }
        return found

    async def _but_for_spelling(
        self, reader: RowReader, entity: Entity, unlike: Unlike, besides: frozenset[str]
    ) -> Unlike:
        table = next((t for t in self._inverse.tables if t.rule == entity.id), None)
        if not unlike or table is None or not table.respell:
            return unlike
        return await spelled_alike(reader, self._target, entity, table, unlike, besides)

    def _differing(self, entity: Entity, unlike: Unlike) -> list[Stuck]:
        candidates = _candidates(entity, unlike)
        found = named(self._target, entity, list(candidates.values()), True)
        besides = self._repeated(entity)
        stuck = [self._stuck(one, besides) for _, one in found]
        return stuck or [Stuck(entity.id, "", f"{len(candidates):,} keys differ")]

    def _stuck(self, one: Difference, besides: frozenset[str]) -> Stuck:
        values = [value for value in one.values if value[0] not in besides]
        why = self._inverse.why_not(one.entity, [name for name, _, _ in values])
        if one.entity not in self._inverse.rules:
            why = f"the rule is not inverted: {why}"
        sides = {"source": "only in the source", "graph": "only in the graph"}
        both = [f"{name}: {a} in the source, {b} in the graph" for name, a, b in values]
        reason = sides.get(one.where) or ", ".join(both)
        reason = f"{reason} ({why})" if why else reason
        advice = f"mend it in the graph, or leave {one.entity} behind"
        return Stuck(one.entity, one.key, reason, advice)

    def _repeated(self, entity: Entity) -> frozenset[str]:
        """The properties that only repeat what a relationship says: they may be old."""
        for table in self._inverse.tables:
            if table.rule == entity.id and not table.joins:
                return frozenset(g.property for g in table.columns if g.column in table.redundant)
        return frozenset()


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
