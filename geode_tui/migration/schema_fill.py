"""Fill properties of nodes and relationships that are in the graph already.

A fill is moved like any entity, in chunks under the snapshot, of nothing but the key and the
properties to fill; where a row would be written, the properties of what has its key are set.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from geode_tui.catalog import Catalog
from geode_tui.mapping.edits import replace_rule
from geode_tui.mapping.extract import compile_extract
from geode_tui.mapping.model import Mapping, Rule
from geode_tui.migration import schema_undo as undo
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.schema_graph import Shape, count_having, update
from geode_tui.migration.schema_steps import STEPS
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
    Written,
)
from geode_tui.validation.entity import Entity, shape_of


@dataclass(frozen=True)
class Fill(Entity):
    """The rows of a rule, reduced to its key and some properties.

    `whole` is how its things look in the graph, `names` are the properties to fill.
    """

    whole: NodeShape | RelationshipShape
    names: tuple[str, ...]

    @property
    def id(self) -> str:
        """A name beside those of rules: what it moves is nothing new in the graph."""
        return f"fill {self.rule.id}"


def fill_of(rule: Rule, names: Sequence[str], mapping: Mapping, catalog: Catalog) -> Fill:
    """The fill of some properties of a rule. Raises MappingError."""
    lean = with_properties(rule, names)
    lean_mapping = replace_rule(mapping, rule, lean)
    extract = compile_extract(lean, lean_mapping, catalog)
    shape = shape_of(lean, lean_mapping)
    estimate = extract.table.estimated_rows
    return Fill(lean, extract, shape, estimate, shape_of(rule, mapping), tuple(names))


def with_properties(rule: Rule, names: Sequence[str]) -> Rule:
    """A rule with its key and some of its properties, all of them moved."""
    some = (item for item in rule.properties if item.name in names or item.name in rule.key)
    properties = tuple(replace(item, include=True) for item in some)
    return replace(rule, properties=properties)


@dataclass
class Filling:
    """A target in which the rows of fills set properties, and all others are written.

    What a property was before is journaled where it was something (`replaced`). Rows of which the
    graph has nothing are counted in `unknown`, by the fill's id: they came since it was made.
    """

    target: Target
    images: PreImages
    run: int
    fills: dict[Shape, Fill]
    replaced: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def look(self) -> None:
        """See which of the properties are there already."""
        for fill in self.fills.values():
            some = [name for name in fill.names if count_having(self.target, fill.whole, name)]
            self.replaced[fill.id] = tuple(some)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.target, name)

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Fill nodes, or write those of an entity that is loaded."""
        fill = self.fills.get(batch.shape)
        if fill is None:
            return self.target.write_nodes(batch, repeated)
        names = batch.shape.properties
        rows = []
        for row in batch.rows:
            values = dict(zip(names, row, strict=False))
            key = tuple(values[name] for name in batch.shape.key)
            rows.append((key, tuple(values[name] for name in fill.names)))
        return self._fill(fill, rows, batch.step)

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Fill relationships, or write those of an entity that is loaded."""
        fill, shape = self.fills.get(batch.shape), batch.shape
        if fill is None:
            return self.target.write_relationships(batch, repeated)
        first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
        rows = []
        for row in batch.rows:
            values = dict(zip(shape.properties, row[second:], strict=False))
            own = tuple(values[name] for name in shape.key)
            key = (tuple(row[:first]), tuple(row[first:second]), own)
            rows.append((key, tuple(values[name] for name in fill.names)))
        return self._fill(fill, rows, batch.step)

    def _fill(self, fill: Fill, rows: list[Any], step: int) -> Written:
        self._keep(fill, [key for key, _ in rows], step)
        there = update(self.target, fill.whole, fill.names, rows)
        with self._lock:
            self.unknown[fill.id] = self.unknown.get(fill.id, 0) + len(rows) - there
        return Written(len(rows))

    def _keep(self, fill: Fill, keys: list[Any], step: int) -> None:
        names = self.replaced[fill.id]
        if not names:
            return
        found = self._read(fill.whole, keys)
        pairs = [
            (key, [values.get(name) for name in names])
            for key, values in zip(keys, found, strict=True)
            if values is not None
        ]
        for operation in undo.set_properties(fill.whole, names, pairs):
            self.images.add_undo(self.run, step, STEPS, operation)

    def _read(self, shape: Shape, keys: list[Any]) -> list[dict[str, Any] | None]:
        if isinstance(shape, NodeShape):
            return self.target.read_nodes(shape, keys)
        return [some[0] if some else None for some in self.target.read_relationships(shape, keys)]
