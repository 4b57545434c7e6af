"""Findings about the mapping's own rules: misfits, names, conditions, expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from geode_tui.catalog import Catalog, Profile, Table
from geode_tui.mapping.assessment.finding import Finding, listed
from geode_tui.mapping.check import find_problems
from geode_tui.mapping.counts import Counts
from geode_tui.mapping.file import MappingFile, Place
from geode_tui.mapping.forecast import Supernode, forecast
from geode_tui.mapping.model import Join, Mapping, NodeRule, Rule
from geode_tui.mapping.names import label_name, property_name, words

_NUMBERED = re.compile(r"(.+?)([0-9]+)")


def misfits(file: MappingFile, catalog: Catalog) -> Iterator[Finding]:
    """Where the mapping does not fit the catalog, with the line of its file where that is known."""
    for problem in find_problems(file.mapping, catalog):
        line = file.line(problem.place)
        what = f"{file.name} line {line}: {problem.what}" if line else problem.what
        subject = _subject(file.mapping, problem.place)
        yield Finding("action", "mapping_misfit", subject, what, mend=problem.hint)


def _subject(mapping: Mapping, place: Place) -> str:
    match place:
        case ("nodes", int(number), *_):
            return mapping.nodes[number].id
        case ("relationships", int(number), *_):
            return mapping.relationships[number].id
        case ("queries", int(number), *_):
            return str(mapping.queries[number].table)
        case _:
            return "mapping"


def name_findings(mapping: Mapping) -> Iterator[Finding]:
    """Names that say less than those of the source: with a number, or with nothing of it left."""
    labels = {rule.label for rule in mapping.active_nodes}
    for node in mapping.active_nodes:
        if _is_numbered(node.label, label_name(node.table.name), labels):
            yield _collision(node, [f"label {node.label}"])
        if re.fullmatch("Label[0-9]*", node.label) and not words(node.table.name):
            message = f"label {node.label} holds nothing of the table's name"
            advice = "rename the label in the mapping"
            yield Finding("information", "unnamed_label", str(node.table), message, mend=advice)
    types = {(rule.type, rule.start.node, rule.end.node) for rule in mapping.active_relationships}
    for rule in mapping.active_relationships:
        base = _NUMBERED.fullmatch(rule.type)
        if base and (base[1], rule.start.node, rule.end.node) in types:
            yield _collision(rule, [f"type {rule.type}"])
    for some in mapping.active_rules():
        taken = {item.name for item in some.properties}
        found = [
            f"{item.name} of column {item.column}"
            for item in some.included_properties
            if item.name[-1:].isdigit()
            and _is_numbered(item.name, property_name(item.column), taken)
        ]
        if found:
            yield _collision(some, found)


def _is_numbered(name: str, plain: str, taken: set[str]) -> bool:
    """Whether a name is the plain one with a number, because that was taken."""
    return (
        name != plain and name.startswith(plain) and plain in taken and name[len(plain) :].isdigit()
    )


def _collision(rule: Rule, names: list[str]) -> Finding:
    message = "names are the same after cleaning and got a number to tell them apart"
    advice = "rename them in the mapping"
    return Finding("information", "name_collision", rule.id, message, listed(names), advice)


def condition_findings(mapping: Mapping, counts: Counts) -> Iterator[Finding]:
    """Rules that leave rows out on purpose."""
    for rule in mapping.active_rules():
        if rule.where:
            left = counts.left_out.get(rule.id)
            evidence = f"leaves out {left:,} rows" if left is not None else ""
            message = f"moves only rows where {rule.where}"
            yield Finding("information", "condition", rule.id, message, evidence)
        if isinstance(rule, NodeRule) and rule.keep_first:
            message = f"of rows with the same key only the first by {rule.keep_first} is moved"
            yield Finding("information", "keep_first", rule.id, message)


def join_findings(mapping: Mapping, catalog: Catalog) -> Iterator[Finding]:
    """Joined tables whose rows may belong to no node, and that no other rule moves."""
    moved = {rule.table for rule in mapping.active_rules()}
    for rule in mapping.active_nodes:
        for join in rule.joins:
            other, own = catalog.table(join.table), catalog.table(rule.table)
            if join.table in moved or other is None or own is None or _vouched(rule, join, other):
                continue
            pairs = (join.columns, join.table, join.references)
            looked_up = any(
                (k.columns, k.to_table, k.to_columns) == pairs for k in own.foreign_keys
            )
            message = f"rows of {join.table} that belong to no {rule.id} are not moved"
            yield Finding(
                "information" if looked_up else "risk",
                "joined_rows",
                f"{rule.id}.{join.name}",
                message,
                "no foreign key says that each belongs to one",
                "map the table to a label of its own where its other rows matter",
            )


def _vouched(rule: NodeRule, join: Join, other: Table) -> bool:
    """Whether a foreign key says that each row of the joined table belongs to a row of ours."""
    pairs = set(zip(join.references, join.columns, strict=True))
    required = [other.column(name) for name in join.references]
    return all(column is not None and not column.nullable for column in required) and any(
        key.to_table == rule.table
        and key.validated
        and set(zip(key.columns, key.to_columns, strict=True)) == pairs
        for key in other.foreign_keys
    )


def supernode_findings(mapping: Mapping, catalog: Catalog, profile: Profile) -> Iterator[Finding]:
    """Nodes with very many relationships, by number only: which node it is, is data."""
    worst: dict[tuple[str, str], list[Supernode]] = {}
    for node in forecast(mapping, catalog, profile):
        worst.setdefault((node.rule_id, node.end_label), []).append(node)
    for (rule_id, label), nodes in worst.items():
        most = max(nodes, key=lambda node: node.relationships_estimate)
        yield Finding(
            "risk",
            "supernode",
            rule_id,
            f"very many relationships at one {label} node: queries through it are slow",
            f"±{most.relationships_estimate:,} at one node, {most.share:.0%} of them all",
            "leave the relationship out, or keep the value as a property",
        )
