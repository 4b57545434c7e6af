"""The least work that makes a graph of one mapping a graph of another.

Statements come in the order in which they must run: what goes first, then marks, names and
labels, then what must be read from the source again. The digest of a row (`_fp`) is made of its
values in the order of the properties: where those are others now, the row is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from geode_tui.catalog import TableName
from geode_tui.mapping import gql
from geode_tui.mapping.difference import Difference, RuleChange
from geode_tui.mapping.model import (
    FINGERPRINT,
    OF,
    ROW,
    RUN,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
)
from geode_tui.mapping.names import unused

Kind = Literal[
    "drop_relationship",
    "drop_label",
    "rename_relationship",
    "mark_rule",
    "rename_label",
    "add_label",
    "remove_label",
    "rename_property",
    "remove_property",
    "read_again",
    "load_label",
    "load_relationship",
]


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work on the graph.

    `subject` is the rule's id in the new mapping (in the old one where it goes); `gql` the
    statement that does it, empty where the source must be read; `reads` are the tables and
    queries that must be read again.
    """

    kind: Kind
    subject: str
    text: str
    gql: str = ""
    reads: tuple[TableName, ...] = ()
    because: str = ""


def steps(difference: Difference) -> tuple[Step, ...]:
    """The steps from a graph that holds the old mapping to one that holds the new, in order."""
    return tuple(_Work(difference).steps())


@dataclass(frozen=True)
class _Pair[R: Rule]:
    """A rule that moves rows in both mappings."""

    old: R
    new: R
    change: RuleChange


class _Work:
    """Takes a difference apart into steps."""

    def __init__(self, difference: Difference) -> None:
        self._old, self._new = difference.old, difference.new
        before = {rule.id for rule in self._old.active_rules()}
        after = {rule.id for rule in self._new.active_rules()}
        self._gone: list[Rule] = []
        self._come: list[Rule] = []
        self._nodes: list[_Pair[NodeRule]] = []
        self._relationships: list[_Pair[RelationshipRule]] = []
        for pair in difference.pairs:
            was = pair.old if pair.old and pair.old.id in before else None
            now = pair.new if pair.new and pair.new.id in after else None
            if was and not now:
                self._gone.append(was)
            elif now and not was:
                self._come.append(now)
            elif isinstance(was, NodeRule) and isinstance(now, NodeRule):
                self._nodes.append(_Pair(was, now, pair))
            elif isinstance(was, RelationshipRule) and isinstance(now, RelationshipRule):
                self._relationships.append(_Pair(was, now, pair))
        self._reloaded = {p.new.id: w for p in self._nodes if (w := self._why_other_rows(p))}
        self._rekeyed = {p.new.id for p in self._nodes if _is_rekeyed(p)}

    def steps(self) -> Iterator[Step]:
        kept = [p for p in self._relationships if not self._ends_reloaded(p.new)]
        reloaded = {p.new.id: why for p in kept if (why := self._why_other_relationships(p))}
        changed = [p for p in kept if p.new.id not in reloaded]
        nodes = [p for p in self._nodes if p.new.id not in self._reloaded]
        yield from self._dropped(reloaded)
        yield from self._renamed_types(changed)
        for pair in changed:
            pattern = self._relationship(pair.old, pair.new.type)
            yield from _property_steps(pair, f"MATCH {pattern}", "r")
        yield from self._marks(nodes)
        yield from self._labels(nodes)
        for node in nodes:
            pattern = self._node(self._new, node.new)
            yield from _property_steps(node, f"MATCH {pattern}", "n")
        yield from self._read_again(nodes, changed)
        yield from self._loads(reloaded)

    # -- what goes ------------------------------------------------------------------------------

    def _dropped(self, reloaded: dict[str, str]) -> Iterator[Step]:
        leaving = {rule.id for rule in self._gone if isinstance(rule, NodeRule)}
        leaving |= {p.old.id for p in self._nodes if p.new.id in self._reloaded}
        for rule in self._gone:
            if isinstance(rule, RelationshipRule):
                with_node = {rule.start.node, rule.end.node} & leaving
                if not with_node:
                    yield self._drop_relationship(rule, f"drop {rule.id}")
        for pair in self._relationships:
            if pair.new.id in reloaded:
                why = reloaded[pair.new.id]
                yield self._drop_relationship(pair.old, f"drop {pair.old.id} to load it anew", why)
        for node in self._gone:
            if isinstance(node, NodeRule):
                yield self._drop_label(node, f"drop {node.id} nodes with their relationships")
        for other in self._nodes:
            if other.new.id in self._reloaded:
                text = f"drop {other.old.id} nodes with their relationships to load them anew"
                yield self._drop_label(other.old, text, self._reloaded[other.new.id])

    def _drop_relationship(self, rule: RelationshipRule, text: str, why: str = "") -> Step:
        statement = f"MATCH {self._relationship(rule, rule.type)} DELETE r"
        return Step("drop_relationship", rule.id, text, statement, (), why or "no rule makes it")

    def _drop_label(self, rule: NodeRule, text: str, why: str = "") -> Step:
        statement = f"MATCH {self._node(self._old, rule)} DETACH DELETE n"
        return Step("drop_label", rule.id, text, statement, (), why or "no rule makes them")

    # -- relationships --------------------------------------------------------------------------

    def _ends_reloaded(self, rule: RelationshipRule) -> bool:
        return not self._reloaded.keys().isdisjoint((rule.start.node, rule.end.node))

    def _why_other_relationships(self, pair: _Pair[RelationshipRule]) -> str:
        """Why the relationships there are not those that the new rule makes, or empty."""
        fields = pair.change.fields
        if "where" in fields:
            return "its condition changed"
        if {"start", "end"} & set(fields):
            return "its ends changed"
        if "key" in fields and ROW in (*pair.old.key, *pair.new.key):
            return "its key changed"
        return self._query_changed(pair.new)

    def _renamed_types(self, pairs: Sequence[_Pair[RelationshipRule]]) -> Iterator[Step]:
        by_ends: dict[tuple[str, str], list[_Pair[RelationshipRule]]] = {}
        for pair in pairs:
            by_ends.setdefault((pair.old.start.node, pair.old.end.node), []).append(pair)
        for some in by_ends.values():
            by_type = {pair.old.type: pair for pair in some}
            wanted = [(p.old.type, p.new.type) for p in some if p.old.type != p.new.type]
            for origin, before, after in _in_order(wanted, {p.old.type for p in some}):
                yield self._retype(by_type[origin], before, after)

    def _retype(self, pair: _Pair[RelationshipRule], before: str, after: str) -> Step:
        names = [item.name for item in pair.old.included_properties]
        names += [ROW] if pair.old.key == (ROW,) else []
        fields = [(name, gql.member("r", name)) for name in (*names, RUN, FINGERPRINT)]
        made = gql.relationship_with("", after, fields)
        statement = f"MATCH {self._relationship(pair.old, before)} INSERT (a){made}(b) DELETE r"
        text = f"rename {before} to {after}"
        why = "a relationship's type is fixed: each is made anew with its properties"
        return Step("rename_relationship", pair.new.id, text, statement, (), why)

    # -- labels ---------------------------------------------------------------------------------

    def _why_other_rows(self, pair: _Pair[NodeRule]) -> str:
        """Why the nodes there are not those that the new rule makes, or empty."""
        fields = pair.change.fields
        if "where" in fields:
            return "its condition changed"
        if "keep_first" in fields or ("key" in fields and pair.new.keep_first):
            return "another row of each key is kept"
        if "key" in fields and not pair.new.key:
            return "its rows are known by their place now"
        return self._query_changed(pair.new)

    def _query_changed(self, rule: Rule) -> str:
        before, after = self._old.query(rule.table), self._new.query(rule.table)
        same = (before and before.sql) == (after and after.sql)
        return "" if same else f"the SQL of {rule.table} changed"

    def _marks(self, pairs: Sequence[_Pair[NodeRule]]) -> Iterator[Step]:
        """Marks are set before labels change: afterwards nobody could tell the nodes apart."""
        marked = [p for p in pairs if self._new.is_marked(p.new)]
        fresh = [p for p in marked if not self._old.is_marked(p.old)]
        for pair in fresh:
            text = f"mark {pair.new.id} nodes with the name of their rule"
            yield self._mark(pair, self._node(self._old, pair.old), pair.new.id, text)
        by_id = {p.old.id: p for p in marked if self._old.is_marked(p.old)}
        wanted = [(was, p.new.id) for was, p in by_id.items() if was != p.new.id]
        for origin, before, after in _in_order(wanted, set(by_id)):
            pattern = _node_pattern(by_id[origin].old.label, before)
            yield self._mark(by_id[origin], pattern, after, f"mark {before} nodes as {after}")

    def _mark(self, pair: _Pair[NodeRule], pattern: str, mark: str, text: str) -> Step:
        statement = f"MATCH {pattern} SET {gql.member('n', OF)} = {gql.literal(mark)}"
        why = "several rules share a label of theirs"
        return Step("mark_rule", pair.new.id, text, statement, (), why)

    def _labels(self, pairs: Sequence[_Pair[NodeRule]]) -> Iterator[Step]:
        marks = {p.new.id: self._mark_between(p) for p in pairs}
        bare = {p.old.label: p for p in pairs if not marks[p.new.id]}
        wanted = [(was, p.new.label) for was, p in bare.items() if was != p.new.label]
        for origin, before, after in _in_order(wanted, set(bare)):
            yield _relabel(bare[origin], before, after, "")
        for pair in pairs:
            mark = marks[pair.new.id]
            if mark and pair.old.label != pair.new.label:
                yield _relabel(pair, pair.old.label, pair.new.label, mark)
        for pair in pairs:
            yield from self._more_labels(pair, marks[pair.new.id])
        for pair in pairs:
            if self._old.is_marked(pair.old) and not self._new.is_marked(pair.new):
                pattern = _node_pattern(pair.new.label, pair.old.id)
                text = f"take the mark from {pair.new.id} nodes"
                statement = f"MATCH {pattern} REMOVE {gql.member('n', OF)}"
                why = "no other rule shares a label of theirs any more"
                yield Step("mark_rule", pair.new.id, text, statement, (), why)

    def _mark_between(self, pair: _Pair[NodeRule]) -> str:
        """The mark of a rule's nodes while labels change."""
        if self._new.is_marked(pair.new):
            return pair.new.id
        return pair.old.id if self._old.is_marked(pair.old) else ""

    def _more_labels(self, pair: _Pair[NodeRule], mark: str) -> Iterator[Step]:
        pattern = _node_pattern(pair.new.label, mark)
        for label in pair.old.labels:
            if label not in (*pair.new.labels, pair.new.label):
                statement = f"MATCH {pattern} REMOVE n:{gql.quoted(label)}"
                text = f"take label {label} from {pair.new.id} nodes"
                yield Step("remove_label", pair.new.id, text, statement)
        for label in pair.new.labels:
            if label not in pair.old.labels:
                statement = f"MATCH {pattern} SET n:{gql.quoted(label)}"
                text = f"give {pair.new.id} nodes label {label} too"
                yield Step("add_label", pair.new.id, text, statement)

    # -- what the source must be read for -------------------------------------------------------

    def _read_again(
        self,
        nodes: Sequence[_Pair[NodeRule]],
        relationships: Sequence[_Pair[RelationshipRule]],
    ) -> Iterator[Step]:
        for node in nodes:
            why = _why_other_values(node)
            if "labels_by" in node.change.fields:
                why.append("labels by value")
            if why:
                yield _again(node.new, f"read {node.new.id} again", why, _tables(node.new))
        for pair in relationships:
            why = _why_other_values(pair)
            ends = {pair.new.start.node, pair.new.end.node} & self._rekeyed
            why += [f"the key of {end} changed" for end in sorted(ends)]
            if why:
                yield _again(pair.new, f"read {pair.new.id} again", why, (pair.new.table,))

    def _loads(self, reloaded: dict[str, str]) -> Iterator[Step]:
        come = {rule.id for rule in self._come}
        for rule in self._new.active_nodes:
            if rule.id in come or rule.id in self._reloaded:
                why = self._reloaded.get(rule.id, "a rule that was not there")
                yield Step("load_label", rule.id, f"load {rule.id}", "", _tables(rule), why)
        for relationship in self._new.active_relationships:
            why = reloaded.get(relationship.id, "")
            if relationship.id in come:
                why = "a rule that was not there"
            elif self._ends_reloaded(relationship):
                why = "the nodes at one of its ends are loaded anew"
            if why:
                text = f"load {relationship.id}"
                reads = (relationship.table,)
                yield Step("load_relationship", relationship.id, text, "", reads, why)

    # -- patterns -------------------------------------------------------------------------------

    def _node(self, mapping: Mapping, rule: NodeRule, variable: str = "n") -> str:
        mark = rule.id if mapping.is_marked(rule) else ""
        return _node_pattern(rule.label, mark, variable)

    def _relationship(self, rule: RelationshipRule, type_name: str) -> str:
        """The relationships of an old rule, which now have type `type_name`."""
        start, end = self._old.node(rule.start.node), self._old.node(rule.end.node)
        assert start is not None
        assert end is not None
        left, right = self._node(self._old, start, "a"), self._node(self._old, end, "b")
        return f"{left}{gql.relationship_with('r', type_name)}{right}"


def _node_pattern(label: str, mark: str, variable: str = "n") -> str:
    fields = [(OF, gql.literal(mark))] if mark else []
    return gql.node_with(variable, label, fields)


def _relabel(pair: _Pair[NodeRule], before: str, after: str, mark: str) -> Step:
    pattern = _node_pattern(before, mark)
    kept = before in pair.new.labels and after == pair.new.label
    removed = "" if kept else f" REMOVE n:{gql.quoted(before)}"
    statement = f"MATCH {pattern} SET n:{gql.quoted(after)}{removed}"
    return Step("rename_label", pair.new.id, f"rename label {before} to {after}", statement)


def _property_steps(
    pair: _Pair[NodeRule] | _Pair[RelationshipRule], match: str, variable: str
) -> Iterator[Step]:
    """Properties that go or have another name; what comes must be read."""
    moved = {item.name for item in pair.old.included_properties}
    wanted = {item.name for item in pair.new.included_properties}
    renames: list[tuple[str, str]] = []
    removed: set[str] = set()
    for change in pair.change.properties:
        before, after = change.old, change.new
        if before is None or before.name not in moved:
            continue
        if after is None or after.name not in wanted:
            removed.add(before.name)
            statement = f"{match} REMOVE {gql.member(variable, before.name)}"
            text = f"remove property {before.name} of {pair.new.id}"
            yield Step("remove_property", pair.new.id, text, statement)
        elif before.name != after.name:
            renames.append((before.name, after.name))
    if ROW in _key_of(pair.old) and ROW not in _key_of(pair.new):
        statement = f"{match} REMOVE {gql.member(variable, ROW)}"
        text = f"remove property {ROW} of {pair.new.id}"
        yield Step("remove_property", pair.new.id, text, statement, (), "its rows have a key now")
    for _, old, new in _in_order(renames, moved - removed):
        here, there = gql.member(variable, old), gql.member(variable, new)
        statement = f"{match} SET {there} = {here} REMOVE {here}"
        text = f"rename property {old} of {pair.new.id} to {new}"
        yield Step("rename_property", pair.new.id, text, statement)


def _key_of(rule: Rule) -> tuple[str, ...]:
    return rule.key or (ROW,) if isinstance(rule, NodeRule) else rule.key


def _is_rekeyed(pair: _Pair[NodeRule]) -> bool:
    """Whether other values identify the nodes, or the same in another type."""
    made = ((c.old, c.new) for c in pair.change.properties if c.old and c.new)
    return "key" in pair.change.fields or any(
        new.name in pair.new.key and _made_of(old) != _made_of(new) for old, new in made
    )


def _why_other_values(pair: _Pair[NodeRule] | _Pair[RelationshipRule]) -> list[str]:
    """What makes the values, or their digest, others than those in the graph."""
    old, new = pair.old, pair.new
    moved = {item.name for item in old.included_properties}
    wanted = {item.name for item in new.included_properties}
    found, gone = [], False
    for change in pair.change.properties:
        before = change.old if change.old and change.old.name in moved else None
        after = change.new if change.new and change.new.name in wanted else None
        if after and not before:
            found.append(f"property {after.name} comes")
        elif before and not after:
            gone = True
        elif before and after and _made_of(before) != _made_of(after):
            found.append(f"property {after.name} is made in another way")
    if isinstance(new, NodeRule) and "joins" in pair.change.fields:
        found.append("its joins changed")
    order = [_made_of(item) for item in new.included_properties]
    if not found and [_made_of(item) for item in old.included_properties] != order:
        found.append(f"the digests ({FINGERPRINT}) of its rows change" if gone else _REORDERED)
    return found


_REORDERED = f"the order of its properties, and so the digests ({FINGERPRINT}) of its rows, change"


def _made_of(item: Property) -> tuple[str, str, str, str]:
    return item.column, item.expression, item.join, item.type


def _again(rule: Rule, text: str, why: list[str], reads: tuple[TableName, ...]) -> Step:
    return Step("read_again", rule.id, text, "", reads, "; ".join(why))


def _tables(rule: NodeRule) -> tuple[TableName, ...]:
    return tuple(dict.fromkeys((rule.table, *(join.table for join in rule.joins))))


def _in_order(
    renames: Iterable[tuple[str, str]], taken: set[str]
) -> Iterator[tuple[str, str, str]]:
    """Renames as (the first name, from, to), none onto a name that is still in use.

    Where names change places, one of them waits under a name that nobody has.
    """
    waiting = {old: (old, new) for old, new in renames}
    used = set(taken)  # a name in use is always given up by another rename
    targets = {new for _, new in waiting.values()}
    while waiting:
        free = next((o for o, (_, new) in waiting.items() if new not in used or new == o), None)
        if free is None:
            origin, (here, new) = next(iter(waiting.items()))
            aside = unused(f"{here}_aside", used | targets)
            yield origin, here, aside
            used = used - {here} | {aside}
            waiting[origin] = (aside, new)
            continue
        here, new = waiting.pop(free)
        yield free, here, new
        used = used - {here} | {new}
