"""The least work that makes a graph of one mapping a graph of another.

The steps come in the order in which they must be done. First goes what the new mapping does not
make, while every name is the old one; then come the names, marks and labels; then what must be
read from the source, and the digests of rows (`_fp`), which are made of a row's values in the
order of its properties. Where nodes cannot be led over (their rows are others, or cannot be found
again), they are dropped with their relationships and loaded anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from geode_tui.catalog import TableName
from geode_tui.mapping import gql
from geode_tui.mapping.difference import Difference, RuleChange
from geode_tui.mapping.model import (
    FINGERPRINT,
    OF,
    ROW,
    RUN,
    STEP,
    NodeRule,
    Property,
    RelationshipRule,
    Rule,
)
from geode_tui.mapping.model import Mapping as GraphMapping
from geode_tui.mapping.names import unused

Kind = Literal[
    "drop_relationship",
    "drop_label",
    "remove_property",
    "rename_relationship",
    "rename_property",
    "mark_rule",
    "remove_label",
    "rename_label",
    "add_label",
    "fill",
    "renew_digests",
    "load_label",
    "load_relationship",
]


@dataclass(frozen=True, slots=True)
class Things:
    """The nodes or relationships of a rule, as the graph tells them when a step begins.

    `rule` is the old rule; `name` their label or type at that moment, `mark` the value of `_of`
    that tells nodes from others with the label (empty: the label does).
    """

    rule: Rule
    name: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work on the graph.

    `subject` is the rule's id in the new mapping (in the old one where it goes); `gql` the
    statement that does it, empty where values must be read or computed; `reads` are the tables
    and queries that must be read again. `things` are what it is done to (None: what is not there
    yet), `names` the names it is about: what is removed or filled, or the old name and the new,
    or the mark that is set.
    """

    kind: Kind
    subject: str
    text: str
    gql: str = ""
    reads: tuple[TableName, ...] = ()
    because: str = ""
    things: Things | None = field(default=None, compare=False, repr=False)
    names: tuple[str, ...] = field(default=(), compare=False)


def steps(difference: Difference, anew: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """The steps from a graph that holds the old mapping to one that holds the new, in order.

    `anew` are the ids of rules of the new mapping whose nodes or relationships must be dropped
    and loaded anew for reasons that no mapping tells, each with the reason.
    """
    return tuple(Work(difference, anew or {}).steps())


@dataclass(frozen=True)
class Pair[R: Rule]:
    """A rule that moves rows in both mappings."""

    old: R
    new: R
    change: RuleChange


class Work:
    """Takes a difference apart: what goes, what comes, what is led over and what is loaded anew.

    `gone` are old rules, `come` new ones, `nodes` and `relationships` those of both; `anew` tells
    why those of some ids are loaded anew.
    """

    def __init__(self, difference: Difference, anew: Mapping[str, str]) -> None:
        self.old, self.new = difference.old, difference.new
        before = {rule.id for rule in self.old.active_rules()}
        after = {rule.id for rule in self.new.active_rules()}
        self.gone: list[Rule] = []
        self.come: list[Rule] = []
        self.nodes: list[Pair[NodeRule]] = []
        self.relationships: list[Pair[RelationshipRule]] = []
        for pair in difference.pairs:
            was = pair.old if pair.old and pair.old.id in before else None
            now = pair.new if pair.new and pair.new.id in after else None
            if was and not now:
                self.gone.append(was)
            elif now and not was:
                self.come.append(now)
            elif isinstance(was, NodeRule) and isinstance(now, NodeRule):
                self.nodes.append(Pair(was, now, pair))
            elif isinstance(was, RelationshipRule) and isinstance(now, RelationshipRule):
                self.relationships.append(Pair(was, now, pair))
        self.anew = {p.new.id: w for p in self.nodes if (w := self._why_other_rows(p, anew))}
        self._other_ends = self.anew.keys() | {r.id for r in self.come if isinstance(r, NodeRule)}
        ends_stay = [p for p in self.relationships if not self._ends_are_other(p.new)]
        for each in ends_stay:
            if why := self._why_other_relationships(each, anew):
                self.anew[each.new.id] = why
        self.kept_nodes = [p for p in self.nodes if p.new.id not in self.anew]
        self.kept_relationships = [p for p in ends_stay if p.new.id not in self.anew]

    @property
    def kept(self) -> Iterator[Pair[NodeRule] | Pair[RelationshipRule]]:
        """The rules whose nodes and relationships are led over, nodes first."""
        yield from self.kept_nodes
        yield from self.kept_relationships

    @property
    def dropped(self) -> Iterator[Rule]:
        """The old rules whose nodes or relationships are dropped, relationships first."""
        nodes = {rule.id for rule in self._leaving()}
        dropped = {rule.id for rule in self.gone}
        dropped |= {p.old.id for p in self.relationships if p.new.id in self.anew}
        for rule in self.old.active_relationships:
            if rule.id in dropped or {rule.start.node, rule.end.node} & nodes:
                yield rule
        yield from self._leaving()

    def loaded(self) -> Iterator[tuple[Rule, str]]:
        """The new rules whose nodes or relationships are loaded, nodes first, each with why."""
        come = {rule.id for rule in self.come}
        for rule in self.new.active_rules():
            why = "a rule that was not there" if rule.id in come else self.anew.get(rule.id, "")
            if not why and isinstance(rule, RelationshipRule) and self._ends_are_other(rule):
                why = "the nodes at one of its ends are loaded anew"
            if why:
                yield rule, why

    def steps(self) -> Iterator[Step]:
        """All steps, in order."""
        yield from self._drops()
        for pair in self.kept:
            yield from self._removed_properties(pair)
        yield from self._renamed_types()
        for relationship in self.kept_relationships:
            yield from self._renamed_properties(relationship, relationship.new.type)
        yield from self._marks()
        yield from self._labels()
        for node in self.kept_nodes:
            mark = node.new.id if self.new.is_marked(node.new) else ""
            yield from self._renamed_properties(node, node.new.label, mark)
        yield from self._values()
        for rule, why in self.loaded():
            kind: Kind = "load_label" if isinstance(rule, NodeRule) else "load_relationship"
            yield Step(kind, rule.id, f"load {rule.id}", "", _tables(rule), why)

    def fills(self, pair: Pair[Any]) -> tuple[Property, ...]:
        """The properties that the source must be read for."""
        return tuple(item for item, _ in self._fills(pair))

    def other_digests(self, pair: Pair[Any]) -> bool:
        """Whether the digests of the rows are made of other values, or in another order."""
        before = [self._made_of(p, pair.old, self.old) for p in pair.old.included_properties]
        return before != [self._made_of(p, pair.new, self.new) for p in _included(pair.new)]

    # -- why something is loaded anew -------------------------------------------------------------

    def _why_other_rows(self, pair: Pair[NodeRule], anew: Mapping[str, str]) -> str:
        """Why the nodes there cannot become those that the new rule makes, or empty."""
        old, new, fields = pair.old, pair.new, pair.change.fields
        if "where" in fields:
            return "its condition changed"
        if "keep_first" in fields:
            return "another row of each key is kept"
        if "key" in fields or self._is_rekeyed(pair):
            return "its key changed"
        if self._query_changed(new.table):
            return f"the SQL of {new.table} changed"
        if "labels_by" in fields or self._labels_are_made_otherwise(old, new):
            return "its labels by value changed"
        if self._labels_meet_values(old, new):
            return "a label that a value gives is given or taken otherwise too"
        if self.fills(pair) and not new.key:
            return "properties come, and its rows have no key to find them again by"
        if self.fills(pair) and new.keep_first:
            return "properties come, of the first row of each key"
        return anew.get(new.id, "")

    def _why_other_relationships(
        self, pair: Pair[RelationshipRule], anew: Mapping[str, str]
    ) -> str:
        """Why the relationships there cannot become those that the new rule makes, or empty."""
        fields = pair.change.fields
        if "where" in fields:
            return "its condition changed"
        if {"start", "end"} & set(fields):
            return "its ends changed"
        if "key" in fields or self._is_rekeyed(pair):
            return "its key changed"
        if self._query_changed(pair.new.table):
            return f"the SQL of {pair.new.table} changed"
        if self.fills(pair) and pair.new.key == (ROW,):
            return "properties come, and its rows have no key to find them again by"
        ends = (self.new.node(pair.new.start.node), self.new.node(pair.new.end.node))
        if self.other_digests(pair) and any(end and end.keep_first for end in ends):
            return "properties change, and the first row of each key is kept at an end"
        return anew.get(pair.new.id, "")

    def _ends_are_other(self, rule: RelationshipRule) -> bool:
        return not self._other_ends.isdisjoint((rule.start.node, rule.end.node))

    def _is_rekeyed(self, pair: Pair[Any]) -> bool:
        """Whether the values of the key are made in another way."""
        made = ((c.old, c.new) for c in pair.change.properties if c.old and c.new)
        return any(
            new.name in pair.new.key
            and self._made_of(old, pair.old, self.old) != self._made_of(new, pair.new, self.new)
            for old, new in made
        )

    def _query_changed(self, table: TableName) -> bool:
        before, after = self.old.query(table), self.new.query(table)
        return (before and before.sql) != (after and after.sql)

    def _labels_are_made_otherwise(self, old: NodeRule, new: NodeRule) -> bool:
        by = new.labels_by
        if by is None or not by.join:
            return False
        join = new.join_named(by.join)
        changed = old.join_named(by.join) != join
        return changed or (join is not None and self._query_changed(join.table))

    def _labels_meet_values(self, old: NodeRule, new: NodeRule) -> bool:
        """Whether a label that comes or goes for all nodes is one that a value gives to some."""
        by_value = {label for _, label in new.labels_by.labels} if new.labels_by else set()
        changed = {old.label, *old.labels} ^ {new.label, *new.labels}
        return not by_value.isdisjoint(changed)

    # -- what goes ------------------------------------------------------------------------------

    def _leaving(self) -> list[NodeRule]:
        some = [rule for rule in self.gone if isinstance(rule, NodeRule)]
        return some + [pair.old for pair in self.nodes if pair.new.id in self.anew]

    def _drops(self) -> Iterator[Step]:
        leaving = {rule.id for rule in self._leaving()}
        for rule in self.gone:
            if isinstance(rule, RelationshipRule):
                with_node = {rule.start.node, rule.end.node} & leaving
                if not with_node:
                    yield self._drop_relationship(rule, f"drop {rule.id}")
        for pair in self.relationships:
            if pair.new.id in self.anew:
                text = f"drop {pair.old.id} to load it anew"
                yield self._drop_relationship(pair.old, text, self.anew[pair.new.id])
        for node in self.gone:
            if isinstance(node, NodeRule):
                yield self._drop_label(node, f"drop {node.id} nodes with their relationships")
        for other in self.nodes:
            if other.new.id in self.anew:
                text = f"drop {other.old.id} nodes with their relationships to load them anew"
                yield self._drop_label(other.old, text, self.anew[other.new.id])

    def _drop_relationship(self, rule: RelationshipRule, text: str, why: str = "") -> Step:
        statement = f"MATCH {self._relationship(rule, rule.type)} DELETE r"
        why = why or "no rule makes it"
        things = Things(rule, rule.type)
        return Step("drop_relationship", rule.id, text, statement, (), why, things)

    def _drop_label(self, rule: NodeRule, text: str, why: str = "") -> Step:
        statement = f"MATCH {self._node(self.old, rule)} DETACH DELETE n"
        why = why or "no rule makes them"
        return Step("drop_label", rule.id, text, statement, (), why, self._things(rule))

    def _removed_properties(self, pair: Pair[Any]) -> Iterator[Step]:
        wanted = {item.name for item in _included(pair.new)}
        moved = {item.name for item in _included(pair.old)}
        for change in pair.change.properties:
            before, after = change.old, change.new
            if before is None or before.name not in moved:
                continue
            if after is None or after.name not in wanted:
                match, variable = self._match(pair.old)
                statement = f"{match} REMOVE {gql.member(variable, before.name)}"
                text = f"remove property {before.name} of {pair.new.id}"
                things, names = self._things(pair.old), (before.name,)
                yield Step("remove_property", pair.new.id, text, statement, (), "", things, names)

    # -- names ----------------------------------------------------------------------------------

    def _renamed_types(self) -> Iterator[Step]:
        by_ends: dict[tuple[str, str], list[Pair[RelationshipRule]]] = {}
        for pair in self.kept_relationships:
            by_ends.setdefault((pair.old.start.node, pair.old.end.node), []).append(pair)
        for some in by_ends.values():
            by_type = {pair.old.type: pair for pair in some}
            wanted = [(p.old.type, p.new.type) for p in some if p.old.type != p.new.type]
            for origin, before, after in _in_order(wanted, {p.old.type for p in some}):
                yield self._retype(by_type[origin], before, after)

    def _retype(self, pair: Pair[RelationshipRule], before: str, after: str) -> Step:
        names = [item.name for item in pair.old.included_properties]
        names += [ROW] if pair.old.key == (ROW,) else []
        fields = [(name, gql.member("r", name)) for name in (*names, RUN, STEP, FINGERPRINT)]
        made = gql.relationship_with("", after, fields)
        statement = f"MATCH {self._relationship(pair.old, before)} INSERT (a){made}(b) DELETE r"
        text = f"rename {before} to {after}"
        why = "a relationship's type is fixed: each is made anew with its properties"
        things = Things(pair.old, before)
        subject, names_ = pair.new.id, (before, after)
        return Step("rename_relationship", subject, text, statement, (), why, things, names_)

    def _renamed_properties(self, pair: Pair[Any], name: str, mark: str = "") -> Iterator[Step]:
        wanted = {item.name for item in _included(pair.new)}
        moved = {item.name for item in _included(pair.old)}
        renames, removed = [], set()
        for change in pair.change.properties:
            before, after = change.old, change.new
            if before is None or before.name not in moved:
                continue
            if after is None or after.name not in wanted:
                removed.add(before.name)
            elif before.name != after.name:
                renames.append((before.name, after.name))
        match, variable = self._match(pair.old, name, mark)
        for _, old, new in _in_order(renames, moved - removed):
            here, there = gql.member(variable, old), gql.member(variable, new)
            statement = f"{match} SET {there} = {here} REMOVE {here}"
            text = f"rename property {old} of {pair.new.id} to {new}"
            things, names = Things(pair.old, name, mark), (old, new)
            yield Step("rename_property", pair.new.id, text, statement, (), "", things, names)

    # -- marks and labels -------------------------------------------------------------------------

    def _marks(self) -> Iterator[Step]:
        """Marks are set before labels change: afterwards nobody could tell the nodes apart."""
        marked = [p for p in self.kept_nodes if self.new.is_marked(p.new)]
        for pair in marked:
            if not self.old.is_marked(pair.old):
                text = f"mark {pair.new.id} nodes with the name of their rule"
                yield _mark(pair, Things(pair.old, pair.old.label), pair.new.id, text)
        by_id = {p.old.id: p for p in marked if self.old.is_marked(p.old)}
        wanted = [(was, p.new.id) for was, p in by_id.items() if was != p.new.id]
        for origin, before, after in _in_order(wanted, set(by_id)):
            things = Things(by_id[origin].old, by_id[origin].old.label, before)
            yield _mark(by_id[origin], things, after, f"mark {before} nodes as {after}")

    def _labels(self) -> Iterator[Step]:
        marks = {p.new.id: self._mark_between(p) for p in self.kept_nodes}
        for pair in self.kept_nodes:
            yield from _fewer_labels(pair, marks[pair.new.id])
        yield from self._renamed_labels(marks)
        for pair in self.kept_nodes:
            yield from _more_labels(pair, marks[pair.new.id])
        for pair in self.kept_nodes:
            if self.old.is_marked(pair.old) and not self.new.is_marked(pair.new):
                things = Things(pair.old, pair.new.label, pair.old.id)
                yield _mark(pair, things, "", f"take the mark from {pair.new.id} nodes")

    def _renamed_labels(self, marks: Mapping[str, str]) -> Iterator[Step]:
        """Labels under their new names; nodes without a mark are never mixed with others."""
        now = {p.new.id: p.old.label for p in self.kept_nodes}
        waiting = [p for p in self.kept_nodes if p.old.label != p.new.label]

        def is_free(pair: Pair[NodeRule]) -> bool:
            there = [i for i, n in now.items() if n == pair.new.label and i != pair.new.id]
            return all(marks[i] and marks[pair.new.id] for i in there)

        while waiting:
            pair = next((p for p in waiting if is_free(p)), None)
            if pair is not None:
                waiting.remove(pair)
                after = pair.new.label
            else:  # names change places: one without a mark waits under a name that nobody has
                pair = next(p for p in waiting if not marks[p.new.id])
                taken = {*now.values(), *(p.new.label for p in waiting)}
                after = unused(f"{now[pair.new.id]}_aside", taken)
            yield _relabel(pair, now[pair.new.id], after, marks[pair.new.id])
            now[pair.new.id] = after

    def _mark_between(self, pair: Pair[NodeRule]) -> str:
        """The mark of a rule's nodes while labels change."""
        if self.new.is_marked(pair.new):
            return pair.new.id
        return pair.old.id if self.old.is_marked(pair.old) else ""

    # -- values ---------------------------------------------------------------------------------

    def _values(self) -> Iterator[Step]:
        for pair in self.kept:
            found = self._fills(pair)
            if found:
                names = tuple(item.name for item, _ in found)
                text = f"fill {', '.join(names)} of {pair.new.id}"
                reads, why = _tables(pair.new, names), "; ".join(why for _, why in found)
                yield Step("fill", pair.new.id, text, "", reads, why, None, names)
        for pair in self.kept:
            if self.other_digests(pair):
                if self._fills(pair):
                    why = "a value comes or is made in another way"
                elif len(_included(pair.old)) != len(_included(pair.new)):
                    why = "a value goes"
                else:
                    why = "the order of its properties changed"
                text = f"renew the digests ({FINGERPRINT}) of {pair.new.id}"
                yield Step("renew_digests", pair.new.id, text, "", (), why)

    def _fills(self, pair: Pair[Any]) -> list[tuple[Property, str]]:
        moved = {item.name for item in _included(pair.old)}
        earlier = {c.new.name: c.old for c in pair.change.properties if c.new and c.old}
        came = {c.new.name for c in pair.change.properties if c.new and not c.old}
        found = []
        for item in _included(pair.new):
            before = None if item.name in came else earlier.get(item.name, item)
            if before is None or before.name not in moved:
                found.append((item, f"property {item.name} comes"))
            elif self._made_of(before, pair.old, self.old) != self._made_of(
                item, pair.new, self.new
            ):
                found.append((item, f"property {item.name} is made in another way"))
        return found

    def _made_of(self, item: Property, rule: Rule, mapping: GraphMapping) -> tuple[Any, ...]:
        """All that the values of a property depend on, but for the row."""
        join = rule.join_named(item.join) if isinstance(rule, NodeRule) and item.join else None
        if join is None:
            return item.column, item.expression, item.type
        query = mapping.query(join.table)
        path = (join.table, join.columns, join.references, query and query.sql)
        return item.column, item.expression, item.type, path

    # -- patterns -------------------------------------------------------------------------------

    def _things(self, rule: Rule) -> Things:
        """What an old rule made, before any name changes."""
        if isinstance(rule, RelationshipRule):
            return Things(rule, rule.type)
        return Things(rule, rule.label, rule.id if self.old.is_marked(rule) else "")

    def _match(self, rule: Rule, name: str = "", mark: str = "") -> tuple[str, str]:
        """A MATCH of what an old rule made, and its variable; under another name now, if any."""
        if isinstance(rule, RelationshipRule):
            return f"MATCH {self._relationship(rule, name or rule.type)}", "r"
        pattern = _node_pattern(name, mark) if name else self._node(self.old, rule)
        return f"MATCH {pattern}", "n"

    def _node(self, mapping: GraphMapping, rule: NodeRule, variable: str = "n") -> str:
        mark = rule.id if mapping.is_marked(rule) else ""
        return _node_pattern(rule.label, mark, variable)

    def _relationship(self, rule: RelationshipRule, type_name: str) -> str:
        """The relationships of an old rule, which now have type `type_name`."""
        start, end = self.old.node(rule.start.node), self.old.node(rule.end.node)
        assert start is not None
        assert end is not None
        left, right = self._node(self.old, start, "a"), self._node(self.old, end, "b")
        return f"{left}{gql.relationship_with('r', type_name)}{right}"


def _node_pattern(label: str, mark: str, variable: str = "n") -> str:
    fields = [(OF, gql.literal(mark))] if mark else []
    return gql.node_with(variable, label, fields)


def _mark(pair: Pair[NodeRule], things: Things, mark: str, text: str) -> Step:
    pattern, member = _node_pattern(things.name, things.mark), gql.member("n", OF)
    action = f"SET {member} = {gql.literal(mark)}" if mark else f"REMOVE {member}"
    why = "several rules share a label of theirs"
    why = why if mark else "no other rule shares a label of theirs any more"
    names = (mark,) if mark else ()
    statement = f"MATCH {pattern} {action}"
    return Step("mark_rule", pair.new.id, text, statement, (), why, things, names)


def _relabel(pair: Pair[NodeRule], before: str, after: str, mark: str) -> Step:
    kept = before in pair.new.labels and after == pair.new.label
    removed = "" if kept else f" REMOVE n:{gql.quoted(before)}"
    statement = f"MATCH {_node_pattern(before, mark)} SET n:{gql.quoted(after)}{removed}"
    text = f"rename label {before} to {after}"
    names = (after,) if kept else (before, after)
    things = Things(pair.old, before, mark)
    return Step("rename_label", pair.new.id, text, statement, (), "", things, names)


def _fewer_labels(pair: Pair[NodeRule], mark: str) -> Iterator[Step]:
    for label in pair.old.labels:
        if label not in (*pair.new.labels, pair.new.label, pair.old.label):
            statement = f"MATCH {_node_pattern(pair.old.label, mark)} REMOVE n:{gql.quoted(label)}"
            text = f"take label {label} from {pair.new.id} nodes"
            things = Things(pair.old, pair.old.label, mark)
            yield Step("remove_label", pair.new.id, text, statement, (), "", things, (label,))


def _more_labels(pair: Pair[NodeRule], mark: str) -> Iterator[Step]:
    for label in pair.new.labels:
        if label not in (*pair.old.labels, pair.old.label, pair.new.label):
            statement = f"MATCH {_node_pattern(pair.new.label, mark)} SET n:{gql.quoted(label)}"
            text = f"give {pair.new.id} nodes label {label} too"
            things = Things(pair.old, pair.new.label, mark)
            yield Step("add_label", pair.new.id, text, statement, (), "", things, (label,))


def _included(rule: Rule) -> tuple[Property, ...]:
    return rule.included_properties


def _tables(rule: Rule, names: Sequence[str] | None = None) -> tuple[TableName, ...]:
    """The tables that are read for a rule, or for some properties of it."""
    if isinstance(rule, RelationshipRule):
        return (rule.table,)
    items = [rule.property_named(name) for name in names or ()]
    wanted = {item.join for item in items if item}
    joins = [join for join in rule.joins if names is None or join.name in wanted]
    return tuple(dict.fromkeys((rule.table, *(join.table for join in joins))))


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
