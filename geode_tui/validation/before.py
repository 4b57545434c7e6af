"""What a graph held before a run: counted once, and taken off what is counted later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

from geode_tui.mapping.model import RUN
from geode_tui.target.model import NodeShape, RelationshipShape, Target

SCANNED_AT_ONCE = 5_000


def count_before(target: Target, entities: Sequence[Any]) -> dict[str, int]:
    """What the graph holds of what the entities will write, by the name of each count.

    The count of an entity's own things is there under its id as well. What is 0 is left out; an
    empty graph costs one query.
    """
    facts = target.describe()
    if not facts.nodes:
        return {}
    seen: dict[str, int] = {}
    counter = Since(target, {}, seen)
    for entity in entities:
        shape = entity.shape
        if isinstance(shape, RelationshipShape):
            seen[entity.id] = counter.count_relationships(shape)
            counter.duplicate_relationships(shape)
            counter.count_type(shape.type)
            continue
        seen[entity.id] = counter.count_nodes(shape)
        counter.duplicate_nodes(shape)
        for label in dict.fromkeys((shape.label, *shape.labels, *shape.by_value)):
            counter.count_label(label)
            counter.count_labelled(shape, label)
        for name in shape.properties:
            counter.count_present(shape, name)
    return {name: count for name, count in seen.items() if count}


class Since:
    """A target whose counts leave out what was there before; all else is the target's own.

    `runs` are the marks of the runs that wrote since.
    """

    def __init__(
        self,
        target: Target,
        before: Mapping[str, int],
        seen: dict[str, int] | None = None,
        runs: Set[str] = frozenset(),
    ) -> None:
        self._target = target
        self._before = before
        self._seen = seen if seen is not None else {}
        self._runs = runs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def count_nodes(self, shape: NodeShape) -> int:
        """As the target's, less what was there before."""
        return self._since(f"nodes {_named(shape)}", self._target.count_nodes(shape))

    def count_labelled(self, shape: NodeShape, label: str) -> int:
        """As the target's, less what was there before."""
        name = f"labelled {_named(shape)} {label}"
        return self._since(name, self._target.count_labelled(shape, label))

    def count_label(self, label: str) -> int:
        """As the target's, less what was there before."""
        return self._since(f"label {label}", self._target.count_label(label))

    def count_present(self, shape: NodeShape, name: str) -> int:
        """As the target's, less what was there before."""
        count = self._target.count_present(shape, name)
        return self._since(f"present {_named(shape)} {name}", count)

    def count_relationships(self, shape: RelationshipShape) -> int:
        """As the target's, less what was there before."""
        name = f"relationships {_pattern(shape)}"
        return self._since(name, self._target.count_relationships(shape))

    def count_type(self, type_name: str) -> int:
        """As the target's, less what was there before."""
        return self._since(f"type {type_name}", self._target.count_type(type_name))

    def duplicate_nodes(self, shape: NodeShape) -> int:
        """As the target's, less what was there before."""
        name = f"duplicate nodes {_named(shape)}"
        return self._since(name, self._target.duplicate_nodes(shape))

    def duplicate_relationships(self, shape: RelationshipShape) -> int:
        """As the target's, less what was there before and what a run wrote beside it."""
        name = f"duplicate relationships {_pattern(shape)}"
        count = self._since(name, self._target.duplicate_relationships(shape))
        if count > 0 and self._runs and f"relationships {_pattern(shape)}" in self._before:
            return self._duplicates_of_runs(shape)
        return count

    def _duplicates_of_runs(self, shape: RelationshipShape) -> int:
        """How many relationships the runs made beyond the first of their key (a scan)."""
        equal: Counter[int] = Counter()  # relationships by how many there are of their key
        for page in self._target.scan_relationships(shape, [RUN], SCANNED_AT_ONCE):
            keys = [key for key, (run,) in page if run in self._runs]
            for some in self._target.read_relationships(shape, keys):
                equal[sum(own.get(RUN) in self._runs for own in some)] += 1
        return sum(found // of * (of - 1) for of, found in equal.items() if of)

    def _since(self, name: str, count: int) -> int:
        self._seen[name] = count
        return count - self._before.get(name, 0)


def _named(shape: NodeShape) -> str:
    return f"{shape.label!r} {shape.of!r} {shape.key!r}"


def _pattern(shape: RelationshipShape) -> str:
    return f"{_named(shape.start)} {shape.type!r} {_named(shape.end)} {shape.key!r}"
