"""The validation report as JUnit XML: a test case for each entry, for continuous integration.

It is made so that the schemas in use accept it: those of Ant's reports and of Jenkins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geode_tui.validation.ledger import Check, Difference
from geode_tui.validation.report import KINDS, Group, Line, Report, first_of

SHOWN = 20
"""Differences that are told of a test case."""


def as_junit(report: Report) -> str:
    """A document with one test suite; an entry that differs is a failure."""
    root = Element("testsuites")
    suite = SubElement(
        root,
        "testsuite",
        name="validation",
        package="geode-tui",
        id="0",
        hostname="localhost",
        timestamp=datetime.fromtimestamp(report.taken, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        tests=str(len(report.lines) + len(report.checks)),
        failures=str(report.unbalanced + report.failed),
        errors="0",
        skipped="0",
        time="0",
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(report):
        SubElement(properties, "property", name=name, value=value)
    groups: dict[int, list[Group]] = {}
    for group in report.groups:
        groups.setdefault(group.line, []).append(group)
    for line in report.lines:
        _add_case(suite, line, groups.get(line.number, []))
    for check in report.checks:
        _add_check(suite, check)
    told = [f"{line.entry.id}: {line.equation}: {line.entry.verdict}" for line in report.lines]
    SubElement(suite, "system-out").text = "\n".join([*told, report.bound, report.verdict])
    SubElement(suite, "system-err").text = "\n".join(report.notes)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _properties(report: Report) -> Iterator[tuple[str, str]]:
    yield from report.stated()
    for total in report.totals:
        name = KINDS[total.kind].lower()
        yield f"{name}: entries", str(total.entries)
        yield f"{name}: source rows", str(total.source_rows)
        yield f"{name}: in graph", str(total.in_graph)
        yield f"{name}: dead", str(total.dead)
        yield f"{name}: orphans", str(total.orphans)
        yield f"{name}: missing", str(total.missing)
        yield f"{name}: too many", str(total.too_many)
        yield f"{name}: mismatched", str(total.mismatched)
        yield f"{name}: suspended", str(total.suspended)
    yield "differences named", str(report.named)


def _add_case(suite: Element, line: Line, groups: list[Group]) -> None:
    entry = line.entry
    case = SubElement(suite, "testcase", name=entry.id, classname=entry.kind, time="0")
    if entry.balanced:
        return
    failure = SubElement(case, "failure", type="differs", message=entry.verdict)
    failure.text = "\n".join(_told(line, groups))


def _add_check(suite: Element, check: Check) -> None:
    name = f"{check.kind} {check.name}".rstrip()
    case = SubElement(suite, "testcase", name=name, classname="check", time="0")
    if check.passed:
        return
    message = check.why or f"source {check.source}, graph {check.graph}"
    failure = SubElement(case, "failure", type="failed", message=message)
    told = [f"source: {check.source}", f"graph: {check.graph}"]
    told += [f"SQL: {check.source_sql}"] if check.source_sql else []
    told += [f"GQL: {check.target_gql}"] if check.target_gql else []
    failure.text = "\n".join(told)


def _told(line: Line, groups: list[Group]) -> Iterator[str]:
    entry = line.entry
    yield f"{entry.id} of {entry.table}: {entry.verdict}"
    yield str(line.equation)
    if line.compared:
        yield line.compared
    yield from line.notes
    for name, query in (("SQL", entry.source_sql), ("GQL", entry.target_gql)):
        if query:
            yield f"{name}: {query}"
    for group in first_of(groups, SHOWN):
        yield ""
        yield f"{group.title} ({group.count:,}): {group.meaning}"
        for difference in group.differences:
            yield from _difference(difference)
        if group.left_out:
            yield f"and {group.left_out:,} more"


def _difference(difference: Difference) -> Iterator[str]:
    yield f"- {difference.key}"
    for name, source, graph in difference.values:
        yield f"  {name}: source {source} · graph {graph}"
    if difference.source_sql:
        yield f"  SQL: {difference.source_sql}"
    if difference.target_gql:
        yield f"  GQL: {difference.target_gql}"
