"""What differs between two mappings: rules and properties that come, go, change or are renamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, Property, RelationshipRule, Rule

Way = Literal["come", "go", "rename", "change"]

_NODE_FIELDS = ("label", "name", "key", "where", "keep_first", "labels", "labels_by", "joins")
_RELATIONSHIP_FIELDS = ("type", "start", "end", "key", "where")
_MAPPING_FIELDS = (
    *("database", "version", "queries", "waivers", "ignored", "waves"),
    *("statistics", "checks"),
)


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """A property that came (`old` is None), went (`new` is None), or is another now."""

    old: Property | None
    new: Property | None


@dataclass(frozen=True)
class RuleChange:
    """A rule that came, went, or is another now.

    `fields` are the names of the rule's fields that differ by themselves: a key or an end that
    only follows a renamed property or label does not. `properties` are those that differ.
    """

    old: Rule | None
    new: Rule | None
    fields: tuple[str, ...] = ()
    properties: tuple[PropertyChange, ...] = ()

    @property
    def rule(self) -> Rule:
        """The new rule, or the one that went."""
        rule = self.new or self.old
        assert rule is not None
        return rule


@dataclass(frozen=True, slots=True)
class Change:
    """A difference in words: `kind` is what it is of, `rule` the rule's id (empty: the mapping's
    own), `old` and `new` what it was and is."""

    way: Way
    kind: str
    rule: str
    name: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class Difference:
    """All that leads from one mapping to another, but for reasons and the order of things.

    `pairs` are the rules of both, each with what it was and is, nodes first; `fields` the names
    of the mapping's own fields that differ.
    """

    old: Mapping = field(repr=False)
    new: Mapping = field(repr=False)
    pairs: tuple[RuleChange, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[RuleChange, ...]:
        """The rules that differ."""
        return tuple(pair for pair in self.pairs if _differs(pair))

    def __bool__(self) -> bool:
        return bool(self.rules or self.fields)


def compare(old: Mapping, new: Mapping) -> Difference:
    """What leads from `old` to `new`; reasons and the order of rules and properties do not count.

    A rule is the same one when it has the same name and table, else when it reads the same table
    by the same key; a property when it has the same column or expression, else the same name.
    """
    nodes = _paired(
        old.nodes,
        new.nodes,
        lambda r: (r.id, r.table),
        lambda r: (r.table, _key_sources(r), r.where),
        lambda r: (r.table, _key_sources(r)),
        lambda r: r.table,
    )
    ids = {was.id: now.id for was, now in nodes if was and now}
    followed = [_with_ends(rule, ids) for rule in old.relationships]
    before = {id(copy): rule for copy, rule in zip(followed, old.relationships, strict=True)}
    relationships = _paired(
        followed,
        new.relationships,
        lambda r: (r.id, r.table, r.start, r.end),
        lambda r: (r.table, r.start, r.end),
        lambda r: (r.table, frozenset((r.start, r.end))),
        lambda r: (r.id, r.table),
    )
    pairs = [_node_change(was, now) for was, now in nodes]
    pairs += [
        _relationship_change(before[id(copy)] if copy else None, copy, after)
        for copy, after in relationships
    ]
    changed = tuple(f for f in _MAPPING_FIELDS if getattr(old, f) != getattr(new, f))
    return Difference(old, new, tuple(pairs), changed)


def patched(old: Mapping, difference: Difference) -> Mapping:
    """`old` with a difference applied: the new mapping, but for reasons and order."""
    ids = {
        pair.old.id: pair.new.id
        for pair in difference.pairs
        if isinstance(pair.old, NodeRule) and pair.new is not None
    }
    by_old = {pair.old.id: pair for pair in difference.pairs if pair.old is not None}
    kept: list[Rule] = []
    for rule in old.rules:
        pair = by_old[rule.id]
        if pair.new is not None:
            kept.append(_patched_rule(rule, pair, ids))
    kept += [pair.new for pair in difference.pairs if pair.old is None and pair.new is not None]
    return replace(
        old,
        nodes=tuple(rule for rule in kept if isinstance(rule, NodeRule)),
        relationships=tuple(rule for rule in kept if isinstance(rule, RelationshipRule)),
        **{name: getattr(difference.new, name) for name in difference.fields},
    )


def changes(difference: Difference) -> tuple[Change, ...]:
    """The difference in words, a change each."""
    return tuple(_changes(difference))


# -- matching -----------------------------------------------------------------------------------


def _paired[R](
    old: Sequence[R], new: Sequence[R], *identities: Callable[[R], Hashable]
) -> list[tuple[R | None, R | None]]:
    """Old and new ones that are the same by the first identity that finds a partner."""
    partner: dict[int, R] = {}
    left = list(old)
    open_new = list(new)
    for identity in identities:
        waiting: dict[Hashable, list[R]] = defaultdict(list)
        for one in open_new:
            waiting[identity(one)].append(one)
        still: list[R] = []
        for one in left:
            some = waiting.get(identity(one))
            if some:
                partner[id(one)] = some.pop(0)
            else:
                still.append(one)
        taken = {id(one) for one in partner.values()}
        left, open_new = still, [one for one in open_new if id(one) not in taken]
    gone = {id(one) for one in left}
    pairs: list[tuple[R | None, R | None]] = [
        (one, None if id(one) in gone else partner[id(one)]) for one in old
    ]
    return pairs + [(None, one) for one in open_new]


def _key_sources(rule: Rule) -> tuple[Hashable, ...]:
    items = (rule.property_named(name) for name in rule.key)
    return tuple(_source(item) if item else "" for item in items)


def _source(item: Property) -> tuple[str, str, str]:
    return item.column, item.expression, item.join


def _with_ends(rule: RelationshipRule, ids: dict[str, str]) -> RelationshipRule:
    """The rule with the ids that its ends' node rules have now."""
    start = replace(rule.start, node=ids.get(rule.start.node, rule.start.node))
    end = replace(rule.end, node=ids.get(rule.end.node, rule.end.node))
    return replace(rule, start=start, end=end)


# -- comparing ----------------------------------------------------------------------------------


def _node_change(old: NodeRule | None, new: NodeRule | None) -> RuleChange:
    if old is None or new is None:
        return RuleChange(old, new)
    return _rule_change(old, old, new, _NODE_FIELDS)


def _relationship_change(
    old: RelationshipRule | None, followed: RelationshipRule | None, new: RelationshipRule | None
) -> RuleChange:
    if old is None or followed is None or new is None:
        return RuleChange(old, new)
    return _rule_change(old, followed, new, _RELATIONSHIP_FIELDS)


def _rule_change(old: Rule, followed: Rule, new: Rule, names: tuple[str, ...]) -> RuleChange:
    """Compare two rules; `followed` is the old one with what merely follows other renames."""
    properties = _paired(
        old.properties, new.properties, lambda p: (p.name, *_source(p)), _source, lambda p: p.name
    )
    changed = tuple(PropertyChange(before, after) for before, after in properties)
    followed = replace(followed, key=_followed_key(old.key, changed))
    fields = [name for name in (*names, "include") if getattr(followed, name) != getattr(new, name)]
    different = tuple(change for change in changed if change.old != change.new)
    return RuleChange(old, new, tuple(fields), different)


def _followed_key(key: tuple[str, ...], changed: Sequence[PropertyChange]) -> tuple[str, ...]:
    names = {c.old.name: c.new.name for c in changed if c.old and c.new}
    return tuple(names.get(name, name) for name in key)


def _differs(pair: RuleChange) -> bool:
    return pair.old is None or pair.new is None or bool(pair.fields or pair.properties)


# -- applying -----------------------------------------------------------------------------------


def _patched_rule(rule: Rule, pair: RuleChange, ids: dict[str, str]) -> Rule:
    followed = _with_ends(rule, ids) if isinstance(rule, RelationshipRule) else rule
    by_name = {change.old.name: change.new for change in pair.properties if change.old}
    properties = [by_name.get(item.name, item) for item in rule.properties]
    properties += [change.new for change in pair.properties if change.old is None]
    fields: dict[str, Any] = {name: getattr(pair.new, name) for name in pair.fields}
    key = _followed_key(rule.key, pair.properties)
    made = {"key": key, "properties": tuple(item for item in properties if item)} | fields
    return replace(followed, **made)


# -- telling ------------------------------------------------------------------------------------


def _changes(difference: Difference) -> Iterator[Change]:
    for pair in difference.rules:
        kind = "label" if isinstance(pair.rule, NodeRule) else "relationship"
        if pair.old is None:
            yield Change("come", kind, pair.rule.id, pair.rule.id, "", str(pair.rule.table))
        elif pair.new is None:
            yield Change("go", kind, pair.rule.id, pair.rule.id, str(pair.rule.table), "")
        else:
            yield from _rule_changes(pair.old, pair.new, pair)
    for name in difference.fields:
        yield from _mapping_changes(name, difference.old, difference.new)


_WORDS = {
    "name": "rule name",
    "where": "condition",
    "keep_first": "row kept",
    "labels": "more labels",
    "labels_by": "labels by value",
    "start": "from",
    "end": "to",
}
_RENAMES = ("label", "type", "name")


def _rule_changes(old: Rule, new: Rule, pair: RuleChange) -> Iterator[Change]:
    for name in pair.fields:
        before, after = _shown(getattr(old, name)), _shown(getattr(new, name))
        way: Way = "rename" if name in _RENAMES else "change"
        kind = {"type": "relationship"}.get(name, _WORDS.get(name, name))
        yield Change(way, kind, new.id, name, before, after)
    for change in pair.properties:
        yield from _property_changes(change, new)


def _property_changes(change: PropertyChange, rule: Rule) -> Iterator[Change]:
    old, new = change.old, change.new
    if old is None or new is None:
        item = new or old
        assert item is not None
        source = _source_shown(item)
        way: Way = "come" if old is None else "go"
        told = (source, "") if new is None else ("", source)
        yield Change(way, "property", rule.id, item.name, *told)
        return
    if old.name != new.name:
        yield Change("rename", "property", rule.id, new.name, old.name, new.name)
    if old.expression != new.expression:
        before, after = old.expression or old.column, new.expression or new.column
        yield Change("change", "expression", rule.id, new.name, before, after)
    elif _source(old) != _source(new):
        before, after = _source_shown(old), _source_shown(new)
        yield Change("change", "column", rule.id, new.name, before, after)
    if old.type != new.type:
        yield Change("change", "property type", rule.id, new.name, old.type, new.type)
    if old.include != new.include:
        before, after = _shown(old.include), _shown(new.include)
        yield Change("change", "property include", rule.id, new.name, before, after)


def _mapping_changes(name: str, old: Mapping, new: Mapping) -> Iterator[Change]:
    before, after = getattr(old, name), getattr(new, name)
    if not isinstance(before, tuple):
        yield Change("change", name, "", name, _shown(before), _shown(after))
        return
    kind = _KINDS[name]
    was = {_item_name(item): item for item in before}
    now = {_item_name(item): item for item in after}
    for each in dict.fromkeys((*was, *now)):
        if each not in now:
            yield Change("go", kind, "", each, _shown(was[each]), "")
        elif each not in was:
            yield Change("come", kind, "", each, "", _shown(now[each]))
        elif was[each] != now[each]:
            yield Change("change", kind, "", each, _shown(was[each]), _shown(now[each]))


_KINDS = {
    "queries": "query",
    "waivers": "waiver",
    "ignored": "ignored suggestion",
    "waves": "wave",
    "statistics": "statistic",
    "checks": "check",
}


def _item_name(item: Any) -> str:
    if isinstance(item, str):
        return item
    return str(getattr(item, "name", "")) or f"{item.code} {item.subject}"


def _source_shown(item: Property) -> str:
    source = item.expression or item.column
    return f"{item.join}.{source}" if item.join else source


def _shown(value: Any) -> str:
    """A field's value as one line of text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    if isinstance(value, tuple):
        return "; ".join(_shown(part) for part in value)
    if isinstance(value, Endpoint):
        return f"{value.node} ({', '.join(value.columns)})"
    if hasattr(value, "gql"):
        tolerance = f", tolerance {value.tolerance}" if value.tolerance else ""
        return f"{value.sql} = {value.gql}{tolerance}"
    for name in ("sql", "reason"):
        if hasattr(value, name):
            return str(getattr(value, name))
    if hasattr(value, "rules"):
        return ", ".join(value.rules)
    if hasattr(value, "references"):
        return f"{value.name}: {value.table} ({', '.join(value.columns)})"
    if hasattr(value, "column"):
        pairs = ", ".join(f"{text} → {label}" for text, label in value.labels)
        return f"{value.column}: {pairs}"
    return str(value)
