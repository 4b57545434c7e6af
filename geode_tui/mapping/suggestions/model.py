"""A suggestion, and what the rooms that make them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.catalog.profile import ColumnProfile, Inclusion, Profile
from geode_tui.errors import MappingError
from geode_tui.mapping.implied import Reference
from geode_tui.mapping.model import Mapping, NodeRule, RelationshipRule
from geode_tui.mapping.suggestions.affinity import Stem, name_words, stem_of

Certainty = Literal["sure", "likely", "guess"]
Edit = Callable[[Mapping], Mapping]

CERTAINTIES: tuple[Certainty, ...] = ("sure", "likely", "guess")
KINDS = (
    "reference",
    "polymorphic",
    "join as relationship",
    "table as node",
    "fold",
    "lookup property",
    "lookup label",
    "labels by value",
    "shared label",
    "soft delete",
    "keep first",
    "view",
)
"""Every kind of suggestion, in the order in which they are best applied."""


@dataclass(frozen=True)
class Suggestion:
    """One edit that would make a better graph, with the evidence for it.

    `id` stays the same from run to run; `because` is the evidence in numbers, `effect` what the
    edit does to the graph (`about` before numbers that are estimates). `alternatives` are other
    edits of the same place, each with a title. An edit raises MappingError where it no longer
    fits the mapping it is given.
    """

    id: str
    kind: str
    table: TableName
    title: str
    because: str
    effect: str
    certainty: Certainty
    apply: Edit = field(compare=False, repr=False)
    alternatives: tuple[tuple[str, Edit], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What suggestions are made of: the mapping as it is, and what is known of the source."""

    mapping: Mapping
    catalog: Catalog
    profile: Profile
    tested: dict[Reference, Inclusion] = field(default_factory=dict)

    def nodes(self) -> Iterator[tuple[NodeRule, Table]]:
        """The included node rules with their tables."""
        for rule in self.mapping.active_nodes:
            table = self.catalog.table(rule.table)
            if table is not None:
                yield rule, table

    @cached_property
    def leading_to(self) -> dict[str, list[RelationshipRule]]:
        """The included relationships by the node rules at which they end."""
        found: dict[str, list[RelationshipRule]] = {}
        for rule in self.mapping.active_relationships:
            found.setdefault(rule.end.node, []).append(rule)
        return found

    @cached_property
    def of_table(self) -> dict[TableName, list[RelationshipRule]]:
        """The included relationships by the table whose rows they are."""
        found: dict[TableName, list[RelationshipRule]] = {}
        for rule in self.mapping.active_relationships:
            found.setdefault(rule.table, []).append(rule)
        return found

    def seen(self, table: Table, column: str) -> ColumnProfile | None:
        """The statistics of a column, None where there are none."""
        return self.profile.column(table.name, column)

    def values(self, table: Table, column: str) -> tuple[tuple[str, float], ...]:
        """All values of a column with their share of the rows, as far as the statistics tell.

        Empty where they do not tell nearly all, or where some rows have none.
        """
        seen = self.seen(table, column)
        if seen is None or seen.null_share or len(seen.common) < seen.distinct:
            return ()
        return seen.common if sum(share for _, share in seen.common) >= 0.99 else ()

    def rows(self, name: TableName) -> int | None:
        """The estimated rows of a table, None where nobody knows."""
        table = self.catalog.table(name)
        return table.estimated_rows if table else None


def fits(mapping: Mapping, edit: Edit) -> bool:
    """Whether an edit can be done to a mapping and changes it."""
    try:
        return edit(mapping) != mapping
    except MappingError:
        return False


def about(count: float | None, noun: str, sign: str = "") -> str:
    """`about +5,462 relationships`; only the noun where nobody knows how many."""
    if count is None:
        return f"{sign}{noun}" if sign else noun
    return f"about {sign}{round(count):,} {noun}"


def listed(columns: tuple[str, ...]) -> str:
    """`(a, b)`."""
    return f"({', '.join(columns)})"


def stem(column: str) -> Stem:
    """What a column's name says."""
    return stem_of(name_words(column))
