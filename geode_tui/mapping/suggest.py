"""Suggestions for a mapping, each with its evidence, to be applied or ignored one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from geode_tui.catalog import Catalog
from geode_tui.catalog.profile import Inclusion, Profile
from geode_tui.errors import MappingError
from geode_tui.mapping.implied import Reference
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggestions.labels import shared_labels
from geode_tui.mapping.suggestions.model import (
    CERTAINTIES,
    KINDS,
    Certainty,
    Edit,
    Evidence,
    Suggestion,
    fits,
)
from geode_tui.mapping.suggestions.polymorphic import polymorphic
from geode_tui.mapping.suggestions.references import references
from geode_tui.mapping.suggestions.rows import first_rows, labels_by_value, soft_deletes, views
from geode_tui.mapping.suggestions.tables import folds, joins, lookups, rich_joins

__all__ = [
    "CERTAINTIES",
    "KINDS",
    "Certainty",
    "Edit",
    "Suggestion",
    "alike",
    "apply_all",
    "ignore",
    "suggest",
]

_ROOMS = (
    references,
    polymorphic,
    joins,
    rich_joins,
    folds,
    lookups,
    labels_by_value,
    shared_labels,
    soft_deletes,
    first_rows,
    views,
)


def suggest(
    mapping: Mapping,
    catalog: Catalog,
    profile: Profile,
    tested: dict[Reference, Inclusion] | None = None,
) -> tuple[Suggestion, ...]:
    """What the mapping could gain, the surest first; without what it ignores or has already.

    `tested` is what `implied.test_candidates` found; without it names alone speak for a reference.
    """
    evidence = Evidence(mapping, catalog, profile, tested or {})
    ignored = set(mapping.ignored)
    found = {
        suggestion.id: suggestion
        for room in _ROOMS
        for suggestion in room(evidence)
        if suggestion.id not in ignored and fits(mapping, suggestion.apply)
    }
    return tuple(sorted(found.values(), key=_order))


def alike(suggestion: Suggestion, every: Iterable[Suggestion]) -> tuple[Suggestion, ...]:
    """The suggestions of the same kind, itself among them."""
    return tuple(each for each in every if each.kind == suggestion.kind)


def apply_all(mapping: Mapping, suggestions: Iterable[Suggestion]) -> Mapping:
    """The mapping with the suggestions applied in turn; one that no longer fits is left out."""
    for suggestion in suggestions:
        try:
            mapping = suggestion.apply(mapping)
        except MappingError:
            continue
    return mapping


def ignore(mapping: Mapping, suggestion: Suggestion) -> Mapping:
    """The mapping with a note not to suggest this again."""
    if suggestion.id in mapping.ignored:
        return mapping
    return replace(mapping, ignored=(*mapping.ignored, suggestion.id))


def _order(suggestion: Suggestion) -> tuple[object, ...]:
    certainty = CERTAINTIES.index(suggestion.certainty)
    return (certainty, KINDS.index(suggestion.kind), suggestion.table, suggestion.id)
