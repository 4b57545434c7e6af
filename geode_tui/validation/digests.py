"""All rows of all entities compared by digest, and put into the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from geode_tui.mapping.model import ROW
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.compare import (
    RETRIES,
    Candidate,
    Compared,
    Comparison,
    FreshReader,
)
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Difference, EntityDigest, Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import ends_of, named
from geode_tui.validation.sides import RowReader


@dataclass(frozen=True)
class Digests:
    """How rows are compared by digest.

    `fresh` opens a reader with a new snapshot for each further look at what differs, after
    `retries` seconds. With `deep` the graph's digests are made anew of what it gives back.
    """

    fresh: FreshReader
    deep: bool = False
    retries: Sequence[float] = RETRIES


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
        results: dict[str, EntityDigest] = {}
        mismatched: dict[str, int] = {}
        suspended: dict[str, int] = {}
        found: list[Difference] = []
        for entity in sorted(entities, key=lambda entity: entity.kind == "relationship"):
            self._progress(entity.id)
            compared = await self._compare(reader, entity)
            results[entity.id] = _result(entity, self._digests.deep, compared)
            mismatched[entity.id] = len(compared.mismatched)
            suspended[entity.id] = len(compared.suspended)
            found += await self._named(entity, compared)
        entries = [
            replace(
                entry,
                mismatched=mismatched.get(entry.id, 0),
                suspended=suspended.get(entry.id, 0),
            )
            for entry in ledger.entries
        ]
        return replace(
            ledger,
            entries=tuple(entries),
            differences=_together(found, ledger.differences),
            digests=tuple(results[entity.id] for entity in entities),
        )

    async def _compare(self, reader: RowReader, entity: Entity) -> Compared:
        comparison = Comparison(
            self._target,
            entity,
            deep=self._digests.deep,
            left_out=self._left_out.get(entity.id, LeftOut()),
            ours=self._ours,
            by_content=not self._same_snapshot and known_by_place(entity),
            retries=self._digests.retries,
        )
        with entity.named_in_errors("change the rule, or mend the row"):
            compared = await comparison.run(reader, self._digests.fresh)
        if entity.kind == "node":
            self._note_missing(entity, compared.mismatched)
        else:
            await asyncio.to_thread(self._leave_out_orphans, entity, compared.mismatched)
        return compared

    def _note_missing(self, entity: Entity, mismatched: Mapping[Any, Candidate]) -> None:
        assert isinstance(entity.shape, NodeShape)
        for key, candidate in mismatched.items():
            if candidate.rows and not candidate.things:
                self._missing.add((entity.shape.label, key))

    def _leave_out_orphans(self, entity: Entity, mismatched: dict[Any, Candidate]) -> None:
        """Take out the rows whose end never was in the graph; the ledger counts them."""
        alone = {k: c for k, c in mismatched.items() if c.rows and not c.things}
        orphans = _loose(self._target, entity, alone)
        for key in orphans:
            if self._missing.isdisjoint(ends_of(entity, alone[key].rows[0])):
                del mismatched[key]

    async def _named(self, entity: Entity, compared: Compared) -> list[Difference]:
        candidates = list(compared.mismatched.values())
        strict = self._digests.deep and self._ours is None

        def work() -> list[Difference]:
            return list(named(self._target, entity, candidates, strict, self._missing))

        return await asyncio.to_thread(work)


def known_by_place(entity: Entity) -> bool:
    """Whether its rows are known by their place in a table, which does not outlive a snapshot."""
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return ROW in shape.key and entity.extract.table.has_storage
    return any(ROW in key for key in (shape.key, shape.start.key, shape.end.key))


def _loose(target: Target, entity: Entity, alone: Mapping[Any, Candidate]) -> list[Any]:
    """Those relationships of which an end is not in the graph."""
    shape, loose = entity.shape, []
    if isinstance(shape, NodeShape) or not alone:
        return []
    keys = [entity.relationship_key(candidate.rows[0]) for candidate in alone.values()]
    starts = target.read_nodes(shape.start, [key[0] for key in keys])
    ends = target.read_nodes(shape.end, [key[1] for key in keys])
    for known, start, end in zip(alone, starts, ends, strict=True):
        if start is None or end is None:
            loose.append(known)
    return loose


def _result(entity: Entity, deep: bool, compared: Compared) -> EntityDigest:
    return EntityDigest(
        entity.id,
        deep,
        compared.parts,
        compared.differing,
        compared.rows,
        compared.read,
        compared.cut_off,
    )


def _together(found: Sequence[Difference], sampled: Sequence[Difference]) -> tuple[Difference, ...]:
    """What the digests found, then what only the sample did."""
    known = {(one.entity, one.key) for one in found}
    return (*found, *(one for one in sampled if (one.entity, one.key) not in known))
