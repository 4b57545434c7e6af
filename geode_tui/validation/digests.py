"""All rows of all entities compared by digest, and put into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from geode_tui.mapping.model import ROW
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.compare import (
    Candidate,
    Compared,
    Comparison,
    FreshReader,
)
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Difference, EntityDigest, Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import named
from geode_tui.validation.sides import RowReader

RETRIES = (1.0, 5.0, 30.0)
"""Seconds before each further look at what differs."""


@dataclass(frozen=True)
class Digests:
    """How rows are compared by digest.

    `fresh` opens a reader with a new snapshot for each further look at what differs, after
    `retries` seconds. With `deep` the graph's digests are made anew of what it gives back, with
    `deep_relationships` those of relationships.
    """

    fresh: FreshReader
    deep: bool = False
    retries: Sequence[float] = RETRIES
    deep_relationships: bool = False

    def deep_of(self, entity: Entity) -> bool:
        """Whether the digests of an entity are made anew."""
        return self.deep or (self.deep_relationships and entity.kind == "relationship")


class DigestComparison:
    """The comparison of entities, nodes first; relationships whose node is missing tell so."""

    def __init__(
        self,
        target: Target,
        left_out: Mapping[str, LeftOut],
        ours: Set[str] | None,
        same_snapshot: bool,
        digests: Digests,
        progress: Callable[[str], None],
    ) -> None:
        """`ours` are the runs whose work is looked at, None for everything in the graph."""
        self._target = target
        self._left_out = left_out
        self._ours = ours
        self._same_snapshot = same_snapshot
        self._digests = digests
        self._progress = progress
        self._missing: set[Any] = set()

    async def add_to(self, ledger: Ledger, reader: RowReader, entities: Sequence[Entity]) -> Ledger:
        """The ledger with what the digests tell."""
        ordered = sorted(entities, key=lambda entity: entity.kind == "relationship")
        comparisons = {entity.id: self._comparison(entity) for entity in ordered}
        for entity in ordered:
            self._progress(entity.id)
            with entity.named_in_errors("change the rule, or mend the row"):
                await comparisons[entity.id].look(reader)
            if entity.kind == "node":
                self._note_missing(entity, comparisons[entity.id].pending)
        await self._retry([comparisons[entity.id] for entity in ordered])
        compared = {entity_id: one.compared() for entity_id, one in comparisons.items()}
        found = [
            one for entity in ordered for one in await self._named(entity, compared[entity.id])
        ]
        entries = [
            replace(entry, mismatched=len(own.mismatched), suspended=own.suspended)
            if (own := compared.get(entry.id))
            else entry
            for entry in ledger.entries
        ]
        return replace(
            ledger,
            entries=tuple(entries),
            differences=_together(found, ledger.differences),
            digests=tuple(self._result(entity, compared[entity.id]) for entity in entities),
        )

    def _comparison(self, entity: Entity) -> Comparison:
        return Comparison(
            self._target,
            entity,
            deep=self._digests.deep_of(entity),
            left_out=self._left_out.get(entity.id, LeftOut()),
            ours=self._ours,
            by_content=not self._same_snapshot and known_by_place(entity),
            missing=self._missing,
        )

    async def _retry(self, comparisons: Sequence[Comparison]) -> None:
        """Look again at what differs, a little later each time, all with one new snapshot."""
        for seconds in self._digests.retries:
            pending = [comparison for comparison in comparisons if comparison.pending]
            if not pending:
                return
            await asyncio.sleep(seconds)
            async with self._digests.fresh() as reader:
                for comparison in pending:
                    await comparison.look_again(reader)

    def _note_missing(self, entity: Entity, candidates: Mapping[Any, Candidate]) -> None:
        assert isinstance(entity.shape, NodeShape)
        for key, candidate in candidates.items():
            if candidate.rows and not candidate.things:
                self._missing.add((entity.shape.label, key))

    async def _named(self, entity: Entity, compared: Compared) -> list[Difference]:
        candidates = list(compared.mismatched.values())
        strict = self._digests.deep_of(entity) and self._ours is None

        def work() -> list[Difference]:
            return list(named(self._target, entity, candidates, strict, self._missing))

        return await asyncio.to_thread(work)

    def _result(self, entity: Entity, compared: Compared) -> EntityDigest:
        return EntityDigest(
            entity.id,
            self._digests.deep_of(entity),
            compared.parts,
            compared.differing,
            compared.rows,
            compared.read,
            compared.cut_off,
        )


def known_by_place(entity: Entity) -> bool:
    """Whether its rows are known by their place in a table, which does not outlive a snapshot."""
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return ROW in shape.key and entity.extract.table.has_storage
    return any(ROW in key for key in (shape.key, shape.start.key, shape.end.key))


def _together(found: Sequence[Difference], sampled: Sequence[Difference]) -> tuple[Difference, ...]:
    """What the digests found, then what only the sample did."""
    known = {(one.entity, one.key) for one in found}
    return (*found, *(one for one in sampled if (one.entity, one.key) not in known))
