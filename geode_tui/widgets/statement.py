"""The statements of a rule, laid out for reading: the SELECT that reads, the GQL that writes."""

from __future__ import annotations

import sqlglot
from sqlglot.errors import SqlglotError

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OF, RUN, Mapping, NodeRule, Rule


def pretty_sql(statement: str) -> str:
    """The same statement on several lines; as it is where it would not stay the same."""
    try:
        tree = sqlglot.parse_one(statement, read="postgres")
        shown = tree.sql("postgres", pretty=True)
        same = sqlglot.parse_one(shown, read="postgres") == tree
    except SqlglotError:
        return statement
    return shown if same else statement


def written_gql(rule: Rule, mapping: Mapping) -> str:
    """What is written to the graph for each row, as GQL; `$name` stands for the row's value."""
    if isinstance(rule, NodeRule):
        return _node_gql(rule, mapping)
    start, end = mapping.node(rule.start.node), mapping.node(rule.end.node)
    if start is None or end is None:
        return ""
    fields = [(name, f"${name}") for name in rule.key]
    middle = gql.relationship_with("r", rule.type, fields)
    lines = [
        f"MATCH {_end('a', start, mapping, 'start')},",
        f"      {_end('b', end, mapping, 'end')}",
        f"MERGE (a){middle}(b)",
    ]
    return "\n".join(lines + _set_lines("r", rule, rule.key))


def _node_gql(rule: NodeRule, mapping: Mapping) -> str:
    key = mapping.key_names(rule)
    fields = [(name, _value(name, rule)) for name in key]
    lines = [f"MERGE {gql.node_with('n', rule.label, fields)}"]
    lines += [f"SET n:{gql.quoted(label)}" for label in rule.labels]
    if rule.labels_by is not None:
        lines += [
            f"SET n:{gql.quoted(label)}  "
            f"/* where {_comment(rule.labels_by.column)} is {_comment(value)} */"
            for value, label in rule.labels_by.labels
        ]
    if mapping.is_marked(rule) and OF not in key:
        lines.append(f"SET {gql.member('n', OF)} = {gql.literal(rule.id)}")
    return "\n".join(lines + _set_lines("n", rule, key))


def _set_lines(variable: str, rule: Rule, key: tuple[str, ...]) -> list[str]:
    """A line a property, with its graph type."""
    lines = [
        f"SET {gql.member(variable, item.name)} = ${item.name}  /* {item.type} */"
        for item in rule.included_properties
        if item.name not in key
    ]
    marks = (FINGERPRINT, RUN)
    shown = ", ".join(f"{gql.member(variable, name)} = ${name}" for name in marks)
    return [*lines, f"SET {shown}"]


def _end(variable: str, rule: NodeRule, mapping: Mapping, side: str) -> str:
    fields = [
        (name, gql.literal(rule.id) if name == OF else f"${side}_{name.lstrip('_')}")
        for name in mapping.key_names(rule)
    ]
    return gql.node_with(variable, rule.label, fields)


def _value(name: str, rule: NodeRule) -> str:
    return gql.literal(rule.id) if name == OF else f"${name}"


def _comment(text: str) -> str:
    return " ".join(text.replace("*/", "* /").split())
