"""Small edits of one rule: properties that come and go, labels, the first of each key."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace

from geode_tui.errors import MappingError
from geode_tui.mapping.edits import replace_rule
from geode_tui.mapping.model import LabelBy, Mapping, NodeRule, Property, Rule
from geode_tui.mapping.names import is_graph_name


def add_property(mapping: Mapping, rule: Rule, item: Property) -> Mapping:
    """Give a rule one more property. Raises MappingError where its name is taken or impossible."""
    _require_name(item.name, "property")
    if rule.property_named(item.name) is not None:
        raise MappingError(f"property {item.name} exists already", "", "choose another name")
    return replace_rule(mapping, rule, replace(rule, properties=(*rule.properties, item)))


def remove_property(mapping: Mapping, rule: Rule, name: str) -> Mapping:
    """Take a property out of a rule. Raises MappingError where the key needs it."""
    if name in rule.key:
        raise MappingError(
            f"{name} is part of the key of {rule.id}",
            "without it a row could not be found again",
            "exclude the whole rule, or keep the property",
        )
    kept = tuple(item for item in rule.properties if item.name != name)
    return replace_rule(mapping, rule, replace(rule, properties=kept))


def set_labels(mapping: Mapping, rule: NodeRule, labels: Sequence[str]) -> Mapping:
    """Let each node of a rule have these labels besides its own. Raises MappingError."""
    for label in labels:
        _require_name(label, "label")
    wanted = tuple(dict.fromkeys(label for label in labels if label != rule.label))
    return replace_rule(mapping, rule, replace(rule, labels=wanted))


def set_keep_first(mapping: Mapping, rule: NodeRule, ordering: str) -> Mapping:
    """Keep only the first row of each key in an order; every row when it is empty."""
    if ordering.strip() and not rule.key:
        raise MappingError(
            f"{rule.id} has no key",
            "which rows are the same node is told by the key",
            "name the properties that identify a node in the mapping's file: key: […]",
        )
    return replace_rule(mapping, rule, replace(rule, keep_first=ordering.strip()))


def label_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of value and label from `value=Label, "a, b"=Other`. Raises MappingError."""
    pairs: dict[str, str] = {}
    for cell in next(csv.reader([text], skipinitialspace=True), []):
        if not cell.strip():
            continue
        value, equals, label = cell.rpartition("=")
        if not equals:
            raise MappingError(f"{cell.strip()} has no label", "", "write value=Label, value=Label")
        _require_name(label.strip(), "label")
        if value.strip() in pairs:
            raise MappingError(f"value {value.strip()} stands twice")
        pairs[value.strip()] = label.strip()
    return tuple(pairs.items())


def label_pairs_text(by: LabelBy) -> str:
    """The pairs as `label_pairs` reads them."""
    return ", ".join(_cell(f"{value}={label}") for value, label in by.labels)


def _cell(text: str) -> str:
    plain = not any(character in text for character in ',"')
    return text if plain else '"' + text.replace('"', '""') + '"'


def _require_name(name: str, noun: str) -> None:
    if not is_graph_name(name):
        raise MappingError(
            f"{name!r} cannot be a {noun}",
            "",
            "use letters, digits and _, a letter first, at most 128",
        )
