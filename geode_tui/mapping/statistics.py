"""Which properties a validation compares statistics of: `Order.total`, `Order.*`, or `*` for all.

Before the last dot stands the id of a rule, after it the name of a property; neither holds a dot.
"""

from __future__ import annotations

from collections.abc import Mapping as Names
from collections.abc import Sequence
from dataclasses import replace

from geode_tui.mapping.model import Mapping

EVERY = "*"


def statistic(name: str) -> tuple[str, str]:
    """The rule's id and the property that a name means, `*` for every one; empty where none."""
    if name == EVERY:
        return EVERY, EVERY
    rule, _, wanted = name.rpartition(".")
    return (rule, wanted) if rule else (wanted, "")


def chosen_of(names: Sequence[str], rule: str, properties: Sequence[str]) -> tuple[str, ...]:
    """Those of a rule's properties that the names choose."""
    wanted = {place[1] for name in names if (place := statistic(name))[0] in (rule, EVERY)}
    return tuple(properties) if EVERY in wanted else tuple(p for p in properties if p in wanted)


def keep_statistics(mapping: Mapping, renamed: Names[str, str]) -> Mapping:
    """The mapping after an edit, its statistics with the rules' new ids, without what is gone."""
    if not mapping.statistics:
        return mapping
    there = {EVERY: {EVERY}}
    for rule in mapping.rules:
        there[rule.id] = {EVERY, *(item.name for item in rule.included_properties)}
    kept = []
    for name in mapping.statistics:
        rule_id, wanted = statistic(name)
        rule_id = renamed.get(rule_id, rule_id)
        if wanted in there.get(rule_id, ()):
            kept.append(name if name == EVERY else f"{rule_id}.{wanted}")
    return replace(mapping, statistics=tuple(dict.fromkeys(kept)))


def rename_statistic(mapping: Mapping, rule: str, old: str, new: str) -> Mapping:
    """The mapping with the statistics of a rule's property under the property's new name."""
    before, after = f"{rule}.{old}", f"{rule}.{new}"
    names = dict.fromkeys(after if name == before else name for name in mapping.statistics)
    return replace(mapping, statistics=tuple(names))
