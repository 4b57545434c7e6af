"""The validation report as JUnit XML: a test case for each entry, for continuous integration.

What differs is a failure; what is accepted is skipped, with the reason; what was repaired passes.
It is made so that the schemas in use accept it: those of Ant's reports and of Jenkins.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geode_tui.validation.ledger import Check, Difference
from geode_tui.validation.report import (
    KINDS,
    Group,
    Line,
    Report,
    checks_by_kind,
    first_of,
    state_of,
)

SHOWN = 20
"""Differences that are told of a test case."""


def as_junit(report: Report) -> str:
    """A document with one test suite; an entry that differs is a failure unless accepted."""
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
        skipped=str(_skipped(report)),
        time="0",
    )
    properties = SubElement(suite, "properties")
    for name, value in _properties(report):
        SubElement(properties, "property", name=name, value=value)
    groups: dict[int, list[Group]] = {}
    for group in (*report.groups, *report.settled):
        groups.setdefault(group.line, []).append(group)
    for line in report.lines:
        _add_case(suite, line, groups.get(line.number, []))
    for title, meaning, checks in checks_by_kind(report.checks):
        for check in checks:
            _add_check(suite, check, f"{title}: {meaning}")
    told = [
        f"{x.entry.id}: {state_of(x.entry)}: {x.equation}: {x.entry.verdict}" for x in report.lines
    ]
    told += [f"{x.state} {x.entity}: {x.title} ({x.count:,}): {x.reason}" for x in report.settled]
    SubElement(suite, "system-out").text = "\n".join([*told, report.bound, report.verdict])
    SubElement(suite, "system-err").text = "\n".join(report.notes)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _skipped(report: Report) -> int:
    """Entries and checks that are accepted."""
    checks = sum(check.fine and not check.passed for check in report.checks)
    return sum(line.entry.state == "accepted" for line in report.lines) + checks


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
        yield f"{name}: accepted", str(total.accepted)
        yield f"{name}: repaired", str(total.repaired)
    for state, count in report.states.items():
        yield f"entries {state}", str(count)
    yield "differences named", str(report.named)
    yield "differences accepted", str(report.rows_in("accepted"))
    yield "differences repaired", str(report.rows_in("repaired"))


def _add_case(suite: Element, line: Line, groups: list[Group]) -> None:
    entry = line.entry
    case = SubElement(suite, "testcase", name=entry.id, classname=entry.kind, time="0")
    if entry.state == "accepted":
        reasons = [entry.reason, *(x.reason for x in groups if x.state == "accepted")]
        told = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        outcome = SubElement(case, "skipped", type="accepted", message=f"{entry.verdict}: {told}")
    elif not entry.balanced:
        outcome = SubElement(case, "failure", type=entry.state, message=entry.verdict)
    else:
        return
    outcome.text = "\n".join(_told(line, groups))


def _add_check(suite: Element, check: Check, meaning: str) -> None:
    name = f"{check.kind} {check.name}".rstrip()
    case = SubElement(suite, "testcase", name=name, classname="check", time="0")
    if check.passed:
        return
    message = check.why or f"source {check.source}, graph {check.graph}"
    if check.reason:
        told = f"accepted: {message}: {check.reason}"
        outcome = SubElement(case, "skipped", type="accepted", message=told)
    else:
        outcome = SubElement(case, "failure", type="failed", message=message)
    outcome.text = "\n".join(_told_of(check, meaning))


def _told_of(check: Check, meaning: str) -> list[str]:
    told = [meaning, f"source: {check.source}", f"graph: {check.graph}"]
    told += [f"SQL: {check.source_sql}"] if check.source_sql else []
    return told + ([f"GQL: {check.target_gql}"] if check.target_gql else [])


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
        settled = f"{group.state}, " if group.reason else ""
        yield f"{settled}{group.told} ({group.count:,}): {group.meaning}"
        if group.reason:
            yield f"{group.state}: {group.reason}"
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
