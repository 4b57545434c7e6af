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
from geode_tui.validation.mismatches import NAMED_AT_MOST, named, refused
from geode_tui.validation.sides import RowReader

MOST_REFUSED = 10_000
"""Rows that cannot be carried that are read to find those that no dead letter tells of."""
_MISSING = {"source": 1, "both": 0, "graph": -1}
RETRIES = (1.0, 5.0, 30.0)
"""Seconds before each further look at what differs."""


@dataclass(frozen=True)
class Digests:
    """How rows are compared by digest.

    `fresh` opens a reader with a new snapshot for each further look at what differs, after
    `retries` seconds. With `deep` the graph's digests are made anew of what it gives back, with
    `deep_relationships` those of relationships. `pending` is told before each further look how
    many keys of which entities differ, and in how many seconds they are looked at again.
    """

    fresh: FreshReader
    deep: bool = False
    retries: Sequence[float] = RETRIES
    deep_relationships: bool = False
    pending: Callable[[Mapping[str, int], float], None] = lambda keys, seconds: None

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
        compared = await self.compare(reader, entities)
        found: dict[str, list[Difference]] = {}
        for entity in _ordered(entities):
            known = compared[entity.id]
            stood = await self.named(entity, list(known.mismatched.values()))
            changing = await self.named(entity, list(known.pending.values()))
            found[entity.id] = [one for _, one in stood]
            found[entity.id] += [replace(one, state="suspended") for _, one in changing]
        refused = await self._refused(ledger, reader, entities, compared, found)
        entries = [
            replace(entry, mismatched=_mismatched(own, found[entry.id]), suspended=own.suspended)
            if (own := compared.get(entry.id))
            else entry
            for entry in ledger.entries
        ]
        named = [replace(one, digested=True) for some in found.values() for one in some]
        return replace(
            ledger,
            entries=tuple(entries),
            differences=_together([*named, *refused], ledger.differences),
            digests=tuple(self._result(entity, compared[entity.id]) for entity in entities),
        )

    async def compare(self, reader: RowReader, entities: Sequence[Entity]) -> dict[str, Compared]:
        """What became of the comparison of each entity."""
        comparisons = {entity.id: self._comparison(entity) for entity in _ordered(entities)}
        for entity in _ordered(entities):
            self._progress(entity.id)
            with entity.named_in_errors("change the rule, or mend the row"):
                await comparisons[entity.id].look(reader)
            if entity.kind == "node":
                self._note_missing(entity, comparisons[entity.id].pending)
        await self._retry(comparisons)
        return {entity_id: one.compared() for entity_id, one in comparisons.items()}

    async def named(
        self, entity: Entity, candidates: Sequence[Candidate]
    ) -> list[tuple[Candidate, Difference]]:
        """Some candidates with what differs, each as often as things of it differ."""
        strict = self._digests.deep_of(entity) and self._ours is None

        def work() -> list[tuple[Candidate, Difference]]:
            return list(named(self._target, entity, candidates, strict, self._missing))

        return await asyncio.to_thread(work)

    async def _refused(
        self,
        ledger: Ledger,
        reader: RowReader,
        entities: Sequence[Entity],
        compared: Mapping[str, Compared],
        found: Mapping[str, Sequence[Difference]],
    ) -> list[Difference]:
        """The rows that cannot be carried, where more is missing than the digests can name."""
        missing = {entry.id: entry.missing for entry in ledger.entries}
        refused = []
        for entity in entities:
            explained = sum(_MISSING[one.where] for one in found[entity.id])
            if missing.get(entity.id, 0) > explained and not compared[entity.id].cut_off:
                refused += await self._refused_of(reader, entity)
        return refused

    async def _refused_of(self, reader: RowReader, entity: Entity) -> list[Difference]:
        out = self._left_out.get(entity.id, LeftOut())
        if out.dead and out.known is None:
            return []  # nobody knows which ones are dead letters
        rows = await reader.fetch(entity.extract.refused_sql, MOST_REFUSED)
        keys = {entity.key_text(row): row for row in rows if entity.ends_known(row)}
        known = await asyncio.to_thread(out.among, list(keys))
        unknown = [row for key, row in keys.items() if key not in known]
        return [refused(entity, row) for row in unknown[:NAMED_AT_MOST]]

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

    async def _retry(self, comparisons: Mapping[str, Comparison]) -> None:
        """Look again at what differs, a little later each time, all with one new snapshot."""
        for seconds in self._digests.retries:
            pending = {id_: one for id_, one in comparisons.items() if one.pending}
            if not pending:
                return
            self._digests.pending({id_: len(one.pending) for id_, one in pending.items()}, seconds)
            await asyncio.sleep(seconds)
            async with self._digests.fresh() as reader:
                for comparison in pending.values():
                    await comparison.look_again(reader)

    def _note_missing(self, entity: Entity, candidates: Mapping[Any, Candidate]) -> None:
        assert isinstance(entity.shape, NodeShape)
        for key, candidate in candidates.items():
            if candidate.rows and not candidate.things:
                self._missing.add((entity.shape.label, key))

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


def _ordered(entities: Sequence[Entity]) -> list[Entity]:
    return sorted(entities, key=lambda entity: entity.kind == "relationship")


def _mismatched(compared: Compared, found: Sequence[Difference]) -> int:
    """How much differs: each difference that is named, and the keys that are not."""
    named = sum(one.state == "mismatched" for one in found)
    return named + max(0, len(compared.mismatched) - NAMED_AT_MOST)


def _together(found: Sequence[Difference], sampled: Sequence[Difference]) -> tuple[Difference, ...]:
    """What the digests found, then what only the sample did."""
    both = {(one.entity, one.key) for one in sampled}
    known = {(one.entity, one.key) for one in found}
    return (
        *(replace(one, sampled=(one.entity, one.key) in both) for one in found),
        *(one for one in sampled if (one.entity, one.key) not in known),
    )
