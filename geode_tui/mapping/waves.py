"""The waves of an incremental run: which rules are moved together, and in which order."""

from __future__ import annotations

from geode_tui.mapping.model import Mapping, Wave

REST = "rest"
"""The last wave: nodes that no wave names. `rest 2`, … where a wave has the name."""


def waves_of(mapping: Mapping) -> tuple[Wave, ...]:
    """All waves with all active rules: a relationship comes as soon as both its ends are there.

    A relationship that a wave names comes in that wave, or later where an end does.
    """
    named = {rule: n for n, wave in enumerate(mapping.waves) for rule in wave.rules}
    last = len(mapping.waves)
    places = {rule.id: named.get(rule.id, last) for rule in mapping.active_nodes}
    for rule in mapping.active_relationships:
        ends = max(places[rule.start.node], places[rule.end.node])
        places[rule.id] = max(ends, named.get(rule.id, 0))
    names = [wave.name for wave in mapping.waves]
    names.append(_unused(names))
    found = []
    for place, name in enumerate(names):
        rules = tuple(rule.id for rule in mapping.active_rules() if places[rule.id] == place)
        if rules:
            found.append(Wave(name, rules))
    return tuple(found)


def _unused(names: list[str]) -> str:
    name, number = REST, 1
    while name in names:
        number += 1
        name = f"{REST} {number}"
    return name
