"""Nodes that would have very many relationships, foretold by the planner's statistics."""

from __future__ import annotations

from dataclasses import dataclass

from geode_tui.catalog import Catalog, Table
from geode_tui.catalog.profile import ColumnProfile, Profile
from geode_tui.mapping.ends import own_ends
from geode_tui.mapping.model import Endpoint, Mapping, RelationshipRule

MANY = 100_000
"""From so many relationships on a node is a supernode."""
LARGE_SHARE = 0.1
"""So is one with more than this share of a big rule's relationships."""
BIG_RULE = 100_000


@dataclass(frozen=True, slots=True)
class Supernode:
    """A node that would have very many relationships of one rule.

    `value` is its key as text (data: keep it in memory only), `share` how much of the rule's
    relationships are its own (0 to 1).
    """

    rule_id: str
    end_label: str
    value: str
    relationships_estimate: int
    share: float


@dataclass(frozen=True, slots=True)
class FanIn:
    """How many relationships of a rule a node of one end has: on average, and at most.

    `of` is the label at that end, `to` the one at the other; all estimates.
    """

    of: str
    to: str
    average: float
    most: int
    value: str = ""

    def __str__(self) -> str:
        return f"widest: 1 → {self.most:,}"


def forecast(mapping: Mapping, catalog: Catalog, profile: Profile) -> tuple[Supernode, ...]:
    """The nodes with very many relationships, the widest first."""
    found = []
    for rule in mapping.active_relationships:
        total = relationships_of(rule, catalog, profile)
        for fan in _fans(rule, mapping, catalog, profile):
            share = min(1.0, fan.most / total) if total else 0.0
            wide = total >= BIG_RULE and share > LARGE_SHARE
            if fan.most >= MANY or wide:
                found.append(Supernode(rule.id, fan.of, fan.value, fan.most, share))
    return tuple(sorted(found, key=lambda s: (-s.relationships_estimate, s.rule_id, s.end_label)))


def fan_in(
    rule: RelationshipRule, mapping: Mapping, catalog: Catalog, profile: Profile
) -> FanIn | None:
    """The wider end of a rule; None where the statistics say nothing of either."""
    fans = _fans(rule, mapping, catalog, profile)
    return max(fans, key=lambda fan: fan.most) if fans else None


def relationships_of(rule: RelationshipRule, catalog: Catalog, profile: Profile) -> int:
    """How many relationships a rule would make; a condition on its rows is not counted in."""
    table = catalog.table(rule.table)
    if table is None or not table.estimated_rows:
        return 0
    shares = [
        1 - seen.null_share
        for end in (rule.start, rule.end)
        for column in end.columns
        if (seen := profile.column(table.name, column)) is not None
    ]
    return round(table.estimated_rows * min(shares, default=1.0))


def _fans(
    rule: RelationshipRule, mapping: Mapping, catalog: Catalog, profile: Profile
) -> list[FanIn]:
    table = catalog.table(rule.table)
    if table is None or not table.estimated_rows:
        return []
    found = []
    own = own_ends(rule, mapping)
    for end, other, itself in ((rule.start, rule.end, own[0]), (rule.end, rule.start, own[1])):
        if end.columns and not itself:  # a row has one relationship at most
            fan = _fan(end, other, table, mapping, profile)
            if fan is not None:
                found.append(fan)
    return found


def _fan(
    end: Endpoint, other: Endpoint, table: Table, mapping: Mapping, profile: Profile
) -> FanIn | None:
    seen = [profile.column(table.name, column) for column in end.columns]
    known = [column for column in seen if column is not None]
    if len(known) != len(seen):
        return None
    rows = table.estimated_rows or 0
    widest = [_widest(column, rows) for column in known]
    # A node of several columns has at most as many as the rarest of its values.
    most = min(count for count, _ in widest)
    value = ", ".join(value for _, value in widest if value)
    distinct = max(max(column.distinct, 1) for column in known)
    present = rows * min(1 - column.null_share for column in known)
    label, to = (_label(mapping, each) for each in (end, other))
    return FanIn(label, to, present / distinct, most, value)


def _widest(column: ColumnProfile, rows: int) -> tuple[int, str]:
    """The rows of the most common value; where none stands out, those of an average one."""
    if column.common:
        value, share = column.common[0]
        return round(share * rows), value
    average = rows * (1 - column.null_share) / max(column.distinct, 1)
    return round(average), ""


def _label(mapping: Mapping, end: Endpoint) -> str:
    node = mapping.node(end.node)
    return node.label if node else end.node
