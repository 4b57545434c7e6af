"""What a target makes of the names of a mapping, as findings.

A Geode server takes no name in quotes, so some names are cleaned (`target.geode_names`). A name
that changes is told; two that become one would mix what they name, and no run begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from geode_tui.errors import MappingError
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.migration.shapes import Shape
from geode_tui.target.geode_dsn import is_geode
from geode_tui.target.geode_names import clean, collisions
from geode_tui.target.model import NodeShape


@dataclass(frozen=True, slots=True)
class Named:
    """A rule, or an entity of files, with the names that it brings into the graph.

    `noun` says what `names` are: labels, or the one relationship type.
    """

    id: str
    noun: str
    names: tuple[str, ...]
    properties: tuple[str, ...]


def mapping_findings(mapping: Mapping, place: str) -> tuple[Finding, ...]:
    """What the target at a place makes of the names of a mapping's active rules."""
    named = [
        Named(
            rule.id,
            "label" if isinstance(rule, NodeRule) else "relationship type",
            rule.all_labels if isinstance(rule, NodeRule) else (rule.type,),
            tuple(item.name for item in rule.included_properties),
        )
        for rule in mapping.active_rules()
    ]
    return name_findings(named, place)


def require_distinct_names(mapping: Mapping, place: str) -> None:
    """Raise MappingError where two names of a mapping become one at a place."""
    for finding in mapping_findings(mapping, place):
        if finding.blocks:
            raise MappingError(
                f"{finding.subject}: {finding.message}", finding.evidence, finding.mend
            )


def shape_findings(shapes: Iterable[tuple[str, Shape]], place: str) -> tuple[Finding, ...]:
    """The same of entities (their ids) that have shapes and no rules: those of files."""
    return name_findings([_of_shape(id_, shape) for id_, shape in shapes], place)


def name_findings(named: Sequence[Named], place: str) -> tuple[Finding, ...]:
    """Names that change at a place, and names that become one there; none but of Geode."""
    if not is_geode(place):
        return ()
    return (*_changed(named), *_meeting_names(named), *_meeting_properties(named))


def _of_shape(id_: str, shape: Shape) -> Named:
    if isinstance(shape, NodeShape):
        labels = (shape.label, *shape.labels, *shape.by_value)
        return Named(id_, "label", labels, shape.properties)
    return Named(id_, "relationship type", (shape.type,), shape.properties)


def _changed(named: Sequence[Named]) -> Iterator[Finding]:
    for one in named:
        found = [(one.noun, name) for name in one.names]
        found += [("property", name) for name in one.properties]
        told = [
            f"{noun} {name} becomes {clean(name)}" for noun, name in found if clean(name) != name
        ]
        if told:
            yield Finding(
                "information",
                "name_changed",
                one.id,
                "Geode takes these names only in another spelling",
                ", ".join(dict.fromkeys(told)),
                "rename them in the mapping where the new names do not suit",
            )


def _meeting_names(named: Sequence[Named]) -> Iterator[Finding]:
    for noun in dict.fromkeys(one.noun for one in named):
        some = [one for one in named if one.noun == noun]
        for group in collisions(name for one in some for name in one.names):
            owners = [one.id for one in some if not set(group).isdisjoint(one.names)]
            yield _meeting(noun, group, owners, "")


def _meeting_properties(named: Sequence[Named]) -> Iterator[Finding]:
    owners: dict[tuple[str, str], list[Named]] = {}
    for one in named:
        for name in dict.fromkeys(map(clean, one.names)):
            owners.setdefault((one.noun, name), []).append(one)
    told = set()
    for (noun, name), some in owners.items():
        for group in collisions(item for one in some for item in one.properties):
            having = [one.id for one in some if not set(group).isdisjoint(one.properties)]
            found = _meeting("property", group, having, f" of {noun} {name}")
            if (group, tuple(having)) not in told:  # nodes with several labels have it once
                told.add((group, tuple(having)))
                yield found


def _meeting(noun: str, group: Sequence[str], owners: Sequence[str], of: str) -> Finding:
    nouns = "properties" if noun == "property" else f"{noun}s"
    return Finding(
        "action",
        "names_meet",
        owners[-1],
        f"the {nouns} {' and '.join(group)}{of} become one in Geode: {clean(group[0])}",
        f"of rule {', '.join(dict.fromkeys(owners))}",
        "rename all but one of them in the mapping",
    )
