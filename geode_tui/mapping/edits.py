"""What a person does to a mapping: each edit gives a new mapping or says why it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from collections.abc import Mapping as Labels
from dataclasses import dataclass, replace

from geode_tui.catalog import Catalog, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.model import Mapping, NodeRule, Property, RelationshipRule, Rule
from geode_tui.mapping.names import is_graph_name, unused
from geode_tui.mapping.statistics import rename_statistic
from geode_tui.mapping.waves import keep_waves


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
    """Rename the label of the rule with that id, at the ends of relationships too.

    Rules that give it besides their own, as of tables that inherit, follow where no other rule
    makes it.
    A label that another rule makes already cannot be taken: two rules share one by their names.
    """
    _require_name(new, "label")
    rule = mapping.node(label)
    if rule is None:
        raise MappingError(f"no rule makes {label} nodes")
    if new == rule.label:
        return mapping
    renamed = replace(rule, label=new)
    if renamed.id != rule.id and mapping.node(renamed.id) is not None:
        raise MappingError(f"label {new} exists already", "", "choose another name")
    ids = {rule.id: renamed.id}
    nodes = tuple(renamed if r is rule else r for r in mapping.nodes)
    if all(r.label != rule.label for r in nodes):
        nodes = tuple(_with_labels(r, {rule.label: new}) for r in nodes)
    relationships = tuple(_relabelled(r, ids) for r in mapping.relationships)
    pairs = zip(mapping.relationships, relationships, strict=True)
    ids |= {old.id: moved.id for old, moved in pairs}
    return keep_waves(replace(mapping, nodes=nodes, relationships=relationships), ids)


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
    mapping = rename_statistic(mapping, rule.id, name, new)
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
    """The mapping with one rule in another's place, in its wave too."""
    ids = {old.id: new.id}
    if isinstance(old, NodeRule):
        nodes = tuple(new if r is old or r == old else r for r in mapping.nodes)
        return keep_waves(replace(mapping, nodes=nodes), ids)  # type: ignore[arg-type]
    relationships = tuple(new if r is old or r == old else r for r in mapping.relationships)
    return keep_waves(replace(mapping, relationships=relationships), ids)  # type: ignore[arg-type]


def merge(fresh: Mapping, edited: Mapping, catalog: Catalog) -> Mapping:
    """A person's mapping with what is new in the source added and what is gone dropped.

    `fresh` is what would be inferred from `catalog`. Names, conditions, expressions and choices
    stay as the person left them; new tables, columns and foreign keys come as inferred.
    """
    known = {rule.table for rule in edited.rules}
    known |= {join.table for rule in edited.nodes for join in rule.joins}
    there = {table.name for table in catalog.tables} | {query.table for query in edited.queries}
    nodes = [_refreshed(rule, fresh, catalog) for rule in edited.nodes if rule.table in there]
    ids = {rule.id: old.id for rule in fresh.nodes if (old := edited.node_of(rule.table))}
    taken = {rule.id for rule in edited.nodes} | {rule.label for rule in edited.nodes}
    for rule in fresh.nodes:
        if rule.table not in known:
            ids[rule.id] = unused(rule.label, taken)
            taken.add(ids[rule.id])
            nodes.append(replace(rule, label=ids[rule.id]))
    labels = {
        rule.label: old.label if (old := edited.node_of(rule.table)) else ids.get(rule.id, "")
        for rule in fresh.nodes
    }
    ours_already = {rule.table for rule in edited.nodes}
    nodes = [r if r.table in ours_already else _with_labels(r, labels) for r in nodes]
    made = {rule.id for rule in nodes}
    gone = {rule.id for rule in edited.nodes} - made
    inferred = {_reference(r): r for r in fresh.relationships}
    ours = [
        _refreshed_relationship(r, inferred.get(_reference(r)), catalog)
        for r in edited.relationships
        if r.table in there and gone.isdisjoint((r.start.node, r.end.node))
    ]
    mapped = {_reference(r) for r in edited.relationships}
    joined = {(rule.table, join.table) for rule in edited.nodes for join in rule.joins}
    tables = {rule.id: rule.table for rule in nodes}
    types: dict[tuple[str, str], set[str]] = {}
    for r in ours:
        types.setdefault((r.start.node, r.end.node), set()).add(r.type)
    as_nodes = {rule.table for rule in edited.nodes} - {rule.table for rule in fresh.nodes}
    for r in (_relabelled(r, ids) for r in fresh.relationships if _reference(r) not in mapped):
        if r.table in as_nodes:  # a join table that a person made a node of
            continue
        if {r.start.node, r.end.node} <= made and not _is_joined(r, tables, joined):
            used = types.setdefault((r.start.node, r.end.node), set())
            ours.append(replace(r, type=unused(r.type, used)))
            used.add(ours[-1].type)
    merged = replace(edited, nodes=tuple(nodes), relationships=tuple(ours))
    return keep_waves(replace(merged, database=fresh.database))


def _refreshed(rule: NodeRule, fresh: Mapping, catalog: Catalog) -> NodeRule:
    inferred = fresh.node_of(rule.table)
    properties = _merged(inferred.properties if inferred else (), rule, catalog)
    names = {item.name for item in properties}
    if set(rule.key) <= names or inferred is None:
        return replace(rule, properties=properties)
    columns = [p.column for p in inferred.properties if p.name in inferred.key]
    key = tuple(p.name for c in columns for p in properties if p.column == c and not p.join)
    return replace(rule, properties=properties, key=key)


def _refreshed_relationship(
    rule: RelationshipRule, inferred: RelationshipRule | None, catalog: Catalog
) -> RelationshipRule:
    return replace(rule, properties=_merged(inferred.properties if inferred else (), rule, catalog))


def _reference(rule: RelationshipRule) -> tuple[TableName, frozenset[tuple[str, ...]]]:
    """What a rule is made of, whichever way it leads."""
    return rule.table, frozenset((rule.start.columns, rule.end.columns))


def _is_joined(
    rule: RelationshipRule,
    tables: Labels[str, TableName],
    joined: Collection[tuple[TableName, TableName]],
) -> bool:
    """Whether a person folded the table at one end into the node at the other."""
    ends = {tables[rule.start.node], tables[rule.end.node], rule.table}
    return any({owner, other} <= ends for owner, other in joined)


def _merged(fresh: tuple[Property, ...], rule: Rule, catalog: Catalog) -> tuple[Property, ...]:
    """The rule's properties without those of columns that are gone, with those of new columns."""
    table = catalog.table(rule.table)
    kept = [
        item
        for item in rule.properties
        if item.join or item.expression or table is None or table.column(item.column) is not None
    ]
    mapped = {item.column for item in rule.properties if not item.join}
    taken = {item.name for item in kept}
    for item in fresh:
        if item.column not in mapped:
            name = unused(item.name, taken)
            taken.add(name)
            kept.append(replace(item, name=name))
    return tuple(kept)


def _with_labels(rule: NodeRule, renamed: Labels[str, str]) -> NodeRule:
    """The rule with its further labels under their new names; one that is gone is left out."""
    labels = (renamed.get(label, label) for label in rule.labels)
    return replace(rule, labels=tuple(dict.fromkeys(label for label in labels if label)))


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
