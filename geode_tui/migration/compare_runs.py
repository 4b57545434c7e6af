"""Two runs side by side: what they were asked, what each moved, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.migration.run_figures import EntityFigures, RunFigures

FIGURES: tuple[str, ...] = (
    *("state", "rows", "dead", "orphans", "chunks", "retries", "bytes", "seconds", "rate"),
)
"""The names of what is compared of each entity."""
_MEASURED = frozenset({"chunks", "retries", "bytes", "seconds", "rate"})

_FACTS: tuple[tuple[str, Callable[[RunFigures], Any]], ...] = (
    ("kind", lambda run: run.record.kind),
    ("state", lambda run: run.record.state),
    ("source", lambda run: run.record.source),
    ("target", lambda run: run.record.place),
    ("mapping", lambda run: run.record.mapping_hash),
    ("strategy", lambda run: run.record.strategy),
    ("parallel", lambda run: run.record.parallel),
    ("batch rows", lambda run: run.record.batch_rows),
    ("dead limit", lambda run: run.record.dead_limit),
    ("version", lambda run: run.record.version),
    ("started", lambda run: run.record.started),
    ("took", lambda run: run.took),
    ("entities", lambda run: len(run.entities)),
    ("rows", lambda run: run.total.rows),
    ("dead", lambda run: run.total.dead),
    ("orphans", lambda run: run.total.orphans),
    ("retries", lambda run: run.total.retries),
    ("bytes", lambda run: run.total.bytes),
    ("rate", lambda run: run.total.rate),
    ("snapshots", lambda run: run.record.snapshots),
    ("ledger", lambda run: run.verdict),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A thing of both runs; None where a run does not have it."""

    name: str
    first: Any
    second: Any

    @property
    def same(self) -> bool:
        """Whether it is the same in both."""
        return bool(self.first == self.second)

    @property
    def change(self) -> float | None:
        """The second less the first, None where they are no numbers."""
        numbers = isinstance(self.first, int | float) and isinstance(self.second, int | float)
        return self.second - self.first if numbers else None


@dataclass(frozen=True, slots=True)
class EntityPair:
    """An entity of one run or of both, with its figures (`FIGURES`) in both."""

    id: str
    kind: str
    figures: tuple[Pair, ...]
    in_first: bool = True
    in_second: bool = True

    @property
    def same(self) -> bool:
        """Whether both runs made the same of it, whatever time it took."""
        moved = (pair for pair in self.figures if pair.name not in _MEASURED)
        return self.in_first and self.in_second and all(pair.same for pair in moved)

    def figure(self, name: str) -> Pair:
        """One of its figures."""
        return next(pair for pair in self.figures if pair.name == name)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs side by side."""

    first: int
    second: int
    facts: tuple[Pair, ...]
    entities: tuple[EntityPair, ...]

    @property
    def differing(self) -> tuple[EntityPair, ...]:
        """The entities of which the runs made something else."""
        return tuple(entity for entity in self.entities if not entity.same)


def compare_runs(first: RunFigures, second: RunFigures) -> Comparison:
    """Compare two runs: the facts of both, and the figures of every entity of either."""
    facts = tuple(Pair(name, of(first), of(second)) for name, of in _FACTS)
    firsts, seconds = _by_id(first.entities), _by_id(second.entities)
    entities = [_pair(firsts.get(id_), seconds.get(id_)) for id_ in firsts | seconds]
    return Comparison(first.record.number, second.record.number, facts, tuple(entities))


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """A comparison as a JSON document (docs/cli.md)."""
    return {
        "first": comparison.first,
        "second": comparison.second,
        "differs": bool(comparison.differing),
        "facts": [_pair_document(pair) for pair in comparison.facts],
        "entities": [
            {
                "id": entity.id,
                "kind": entity.kind,
                "same": entity.same,
                "in_first": entity.in_first,
                "in_second": entity.in_second,
                "figures": [_pair_document(pair) for pair in entity.figures],
            }
            for entity in comparison.entities
        ],
    }


def _by_id(entities: Sequence[EntityFigures]) -> dict[str, EntityFigures]:
    return {entity.id: entity for entity in entities}


def _pair(first: EntityFigures | None, second: EntityFigures | None) -> EntityPair:
    known = first or second
    assert known is not None
    pairs = (
        Pair(name, getattr(first, name, None), getattr(second, name, None)) for name in FIGURES
    )
    return EntityPair(known.id, known.kind, tuple(pairs), first is not None, second is not None)


def _pair_document(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "first": pair.first,
        "second": pair.second,
        "same": pair.same,
        "change": pair.change,
    }
