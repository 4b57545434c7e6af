"""Tables of the same columns that could be one label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from geode_tui.catalog import Table
from geode_tui.errors import MappingError
from geode_tui.mapping import names, reshape
from geode_tui.mapping.model import Mapping, NodeRule
from geode_tui.mapping.suggestions.affinity import table_words
from geode_tui.mapping.suggestions.model import Edit, Evidence, Suggestion

_ALIKE = 0.8
_FEWEST_COLUMNS = 4
_MOST_COMPARED = 300
"""Of more tables only those of exactly the same columns are found."""


def shared_labels(evidence: Evidence) -> Iterator[Suggestion]:
    """One label for tables with mostly the same columns, such as orders_2023 and orders_2024."""
    by_key: dict[tuple[str, ...], list[tuple[NodeRule, Table]]] = defaultdict(list)
    for rule, table in evidence.nodes():
        plain = rule.label not in evidence.mapping.shared_labels and not rule.name
        if plain and rule.key and len(table.columns) >= _FEWEST_COLUMNS:
            by_key[rule.key].append((rule, table))
    for some in by_key.values():
        for group in _groups(some):
            yield _suggestion(evidence, group)


def _groups(some: Sequence[tuple[NodeRule, Table]]) -> list[list[tuple[NodeRule, Table]]]:
    """The tables that go together; each is in one group at most."""
    columns = [frozenset(table.column_names) for _, table in some]
    least = _ALIKE if len(some) <= _MOST_COMPARED else 1.0
    group_of = list(range(len(some)))
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, names_of in enumerate(columns):
        by_size[len(names_of) if least == 1.0 else 0].append(number)
    for numbers in by_size.values():
        for one, other in combinations(numbers, 2):
            shared = len(columns[one] & columns[other])
            if shared >= least * len(columns[one] | columns[other]):
                group_of[other] = min(group_of[other], group_of[one])
    groups = defaultdict(list)
    for number, group in enumerate(group_of):
        groups[group].append(some[number])
    return [group for group in groups.values() if len(group) > 1]


def _suggestion(evidence: Evidence, group: Sequence[tuple[NodeRule, Table]]) -> Suggestion:
    rules = [rule for rule, _ in group]
    tables = [table for _, table in group]
    shared = frozenset.intersection(*(frozenset(t.column_names) for t in tables))
    every = frozenset.union(*(frozenset(t.column_names) for t in tables))
    label = _label(rules, tables, evidence.mapping)
    listed = ", ".join(table.name.name for table in tables)
    return Suggestion(
        f"shared label {', '.join(str(table.name) for table in tables)}",
        "shared label",
        tables[0].name,
        f"give {listed} one label, {label}",
        f"{len(shared)} of {len(every)} columns have the same names",
        f"{len(group)} labels become 1, the nodes stay",
        "guess",
        _edit([rule.id for rule in rules], label),
    )


def _label(rules: Sequence[NodeRule], tables: Sequence[Table], mapping: Mapping) -> str:
    """What the tables' names have in common, at their beginning or end."""
    every = [table_words(table.name.name) for table in tables]
    first = _common(every)
    last = _common([words[::-1] for words in every])[::-1]
    words = first or last
    taken = {label for rule in mapping.nodes for label in (rule.id, *rule.all_labels)}
    if words:
        wanted = "".join(word.capitalize() for word in words)
        free = taken - {rule.label for rule in rules}
        if names.is_graph_name(wanted) and wanted not in free:
            return wanted
    return names.unused("Or".join(rule.label for rule in rules)[:100], taken)


def _common(every: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    found = []
    for words in zip(*every, strict=False):
        if len(set(words)) > 1:
            break
        found.append(words[0])
    return tuple(found)


def _edit(rule_ids: Sequence[str], label: str) -> Edit:
    def apply(mapping: Mapping) -> Mapping:
        if any(rule_id not in {r.id for r in mapping.active_nodes} for rule_id in rule_ids):
            raise MappingError(f"not all of {', '.join(rule_ids)} are there")
        return reshape.share_label(mapping, rule_ids, label)

    return apply
