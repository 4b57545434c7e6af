"""What a person does to a mapping: each edit gives a new mapping or says why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Labels
from dataclasses import dataclass, replace

from geode_tui.errors import MappingError
from geode_tui.mapping.model import Mapping, NodeRule, Property, RelationshipRule, Rule
from geode_tui.mapping.names import is_graph_name, unused


@dataclass
class History:
    """A mapping with every step back and forward, without limit."""

    current: Mapping

    def __post_init__(self) -> None:
        self._past: list[tuple[Mapping, str]] = []
        self._future: list[tuple[Mapping, str]] = []

    @property
    def undo_label(self) -> str:
        """What `undo` would take back, empty when there is nothing."""
        return self._past[-1][1] if self._past else ""

    def apply(self, mapping: Mapping, label: str) -> None:
        """Make `mapping` the current one; `label` says what was done."""
        if mapping == self.current:
            return
        self._past.append((self.current, label))
        self._future.clear()
        self.current = mapping

    def undo(self) -> str:
        """Take the last edit back; returns its label, empty when there was none."""
        return self._move(self._past, self._future)

    def redo(self) -> str:
        """Do the last edit taken back again; returns its label, empty when there was none."""
        return self._move(self._future, self._past)

    def _move(self, origin: list[tuple[Mapping, str]], other: list[tuple[Mapping, str]]) -> str:
        if not origin:
            return ""
        mapping, label = origin.pop()
        other.append((self.current, label))
        self.current = mapping
        return label


def rename_label(mapping: Mapping, label: str, new: str) -> Mapping:
    """Rename a label, at the ends of relationships too."""
    _require_name(new, "label")
    if new == label:
        return mapping
    if mapping.node(new) is not None:
        raise MappingError(f"label {new} exists already", "", "choose another name")
    nodes = tuple(replace(r, label=new) if r.label == label else r for r in mapping.nodes)
    relationships = tuple(_relabelled(r, {label: new}) for r in mapping.relationships)
    return replace(mapping, nodes=nodes, relationships=relationships)


def rename_type(mapping: Mapping, rule: RelationshipRule, new: str) -> Mapping:
    """Rename one relationship rule's type."""
    _require_name(new, "relationship type")
    renamed = replace(rule, type=new)
    if renamed.id != rule.id and mapping.rule(renamed.id) is not None:
        raise MappingError(f"{renamed.id} exists already", "", "choose another name")
    return replace_rule(mapping, rule, renamed)


def set_included(mapping: Mapping, rule: Rule, include: bool) -> Mapping:
    """Move a rule's rows, or leave them."""
    return replace_rule(mapping, rule, replace(rule, include=include))


def rename_property(mapping: Mapping, rule: Rule, name: str, new: str) -> Mapping:
    """Rename a property, in the rule's key too."""
    _require_name(new, "property")
    if new != name and rule.property_named(new) is not None:
        raise MappingError(f"property {new} exists already", "", "choose another name")
    key = tuple(new if part == name else part for part in rule.key)
    properties = _each(rule, name, lambda item: replace(item, name=new))
    return replace_rule(mapping, rule, replace(rule, key=key, properties=properties))


def set_property_included(mapping: Mapping, rule: Rule, name: str, include: bool) -> Mapping:
    """Move a property, or leave it; a key's property cannot be left."""
    if name in rule.key and not include:
        raise MappingError(
            f"{name} is part of the key of {rule.id}",
            "without it a row could not be found again",
            "exclude the whole rule, or keep the property",
        )
    properties = _each(rule, name, lambda item: replace(item, include=include))
    return replace_rule(mapping, rule, replace(rule, properties=properties))


def set_property_type(mapping: Mapping, rule: Rule, name: str, graph_type: str) -> Mapping:
    """Give a property another graph type (one of `types.possible_types`)."""
    properties = _each(rule, name, lambda item: replace(item, type=graph_type))
    return replace_rule(mapping, rule, replace(rule, properties=properties))


def replace_rule(mapping: Mapping, old: Rule, new: Rule) -> Mapping:
    """The mapping with one rule in another's place."""
    if isinstance(old, NodeRule):
        nodes = tuple(new if r is old or r == old else r for r in mapping.nodes)
        return replace(mapping, nodes=nodes)  # type: ignore[arg-type]
    relationships = tuple(new if r is old or r == old else r for r in mapping.relationships)
    return replace(mapping, relationships=relationships)  # type: ignore[arg-type]


def merge(fresh: Mapping, edited: Mapping) -> Mapping:
    """A freshly inferred mapping with a person's names, types and choices kept.

    Rules are matched by table (and, for relationships, their ends' columns), properties by
    column. What is new in the source is added, what is gone is dropped.
    """
    labels: dict[str, str] = {}
    nodes = []
    for rule in fresh.nodes:
        old = edited.node_of(rule.table)
        if old is not None:
            labels[rule.label] = old.label
            names = {item.column: item.name for item in old.properties}
            properties = _merged(rule.properties, old.properties)
            columns = [p.column for p in rule.properties if p.name in rule.key]
            key = tuple(
                names.get(c, next(p.name for p in properties if p.column == c)) for c in columns
            )
            rule = replace(
                rule, label=old.label, key=key, properties=properties, include=old.include
            )
        nodes.append(rule)
    relationships = tuple(
        _merged_relationship(_relabelled(relationship, labels), edited)
        for relationship in fresh.relationships
    )
    return replace(fresh, nodes=tuple(nodes), relationships=relationships)


def _merged_relationship(rule: RelationshipRule, edited: Mapping) -> RelationshipRule:
    for old in edited.relationships:
        same = old.table == rule.table and {old.start.columns, old.end.columns} == {
            rule.start.columns,
            rule.end.columns,
        }
        if same:
            ends = (rule.start, rule.end)
            start, end = ends if old.start.columns == rule.start.columns else ends[::-1]
            return replace(
                rule,
                type=old.type,
                start=start,
                end=end,
                key=old.key,
                properties=_merged(rule.properties, old.properties),
                include=old.include,
            )
    return rule


def _merged(fresh: tuple[Property, ...], edited: tuple[Property, ...]) -> tuple[Property, ...]:
    old = {item.column: item for item in edited}
    taken = {item.name for item in edited}
    made = []
    for item in fresh:
        if item.column in old:
            made.append(old[item.column])
            continue
        name = unused(item.name, taken)
        taken.add(name)
        made.append(replace(item, name=name))
    return tuple(made)


def _relabelled(rule: RelationshipRule, labels: Labels[str, str]) -> RelationshipRule:
    start = replace(rule.start, node=labels.get(rule.start.node, rule.start.node))
    end = replace(rule.end, node=labels.get(rule.end.node, rule.end.node))
    return replace(rule, start=start, end=end)


def _each(rule: Rule, name: str, change: Callable[[Property], Property]) -> tuple[Property, ...]:
    if rule.property_named(name) is None:
        raise MappingError(f"{rule.id} has no property {name}")
    return tuple(change(item) if item.name == name else item for item in rule.properties)


def _require_name(name: str, noun: str) -> None:
    if not is_graph_name(name):
        raise MappingError(
            f"{name!r} cannot be a {noun}",
            "",
            "use letters, digits and _, a letter first, at most 128",
        )
