"""The waves of an incremental run: which rules are moved together, and in which order."""

from __future__ import annotations

from collections.abc import Mapping as Names
from dataclasses import replace

from geode_tui.errors import UsageError
from geode_tui.mapping.file import nearest
from geode_tui.mapping.model import Mapping, Wave
from geode_tui.mapping.statistics import keep_statistics

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


def require_wave(mapping: Mapping, name: str) -> None:
    """Raise UsageError where a mapping has no wave of that name with rules to move."""
    names = [wave.name for wave in waves_of(mapping)]
    if name not in names:
        what = f"the mapping has no wave {name}"
        raise UsageError(what, f"its waves are: {', '.join(names)}", nearest(name, names))


def keep_waves(mapping: Mapping, renamed: Names[str, str] | None = None) -> Mapping:
    """The mapping after an edit, its waves with the rules' new ids and without those gone.

    So are the statistics. `renamed` are the rules whose ids changed, old to new.
    """
    mapping = keep_statistics(mapping, renamed or {})
    if not mapping.waves:
        return mapping
    there = {rule.id for rule in mapping.rules}
    waves = []
    for wave in mapping.waves:
        ids = [(renamed or {}).get(rule, rule) for rule in wave.rules]
        waves.append(replace(wave, rules=tuple(rule for rule in ids if rule in there)))
    return replace(mapping, waves=tuple(waves))


def _unused(names: list[str]) -> str:
    name, number = REST, 1
    while name in names:
        number += 1
        name = f"{REST} {number}"
    return name
