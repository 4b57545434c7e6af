"""The validation report as Markdown: tables for a pull request or a ticket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geode_tui.validation.ledger import Check, Difference
from geode_tui.validation.markdown import code, page, plain, table
from geode_tui.validation.report import (
    COLUMNS,
    KINDS,
    Group,
    Line,
    Report,
    Total,
    checks_by_kind,
    first_of,
    numbers_of,
    result_of,
    state_of,
)

SHOWN = 200
"""Differences that are named; the other formats have more."""
QUERIES_OF = 200
"""Entries whose queries are given: those that differ first."""


def as_markdown(report: Report) -> str:
    """A page: the facts, the balance sheet, what differs and why, the queries."""
    return page(
        f"Validation: {report.verdict}",
        ("What was compared", table(("fact", "value"), report.stated()[:-1])),
        ("Balance sheet", _sheet(report)),
        ("Totals", _totals(report.totals)),
        ("Checks", list(_checks(report.checks))),
        ("How each was compared", _compared(report.lines)),
        ("To be known", [f"- {plain(note)}" for note in report.notes]),
        ("What differs", list(_differences(report.groups))),
        ("Accepted", list(_accepted(report))),
        ("Repaired", list(_repaired(report))),
        ("Queries", list(_queries(report.lines))),
    )


def _sheet(report: Report) -> list[str]:
    if not report.lines:
        return ["There is no entry."]
    rows = [
        (x.entry.id, x.entry.kind, *numbers_of(x.entry), state_of(x.entry), x.entry.verdict)
        for x in report.lines
    ]
    header = ("entry", "kind", *COLUMNS, "state", "verdict")
    lines = table(header, rows, "__" + ">" * len(COLUMNS))
    return [*lines, "", *(f"- {plain(f'{x.entry.id}: {x.equation}')}" for x in report.lines)]


def _totals(totals: Sequence[Total]) -> list[str]:
    header = (
        *("kind", "entries", "differ", "source rows", "in graph", "dead", "orphans", "missing"),
        *("too many", "mismatched", "suspended", "accepted", "repaired"),
    )
    rows = [(KINDS[t.kind], *(f"{number:,}" for number in _sums(t))) for t in totals]
    return table(header, rows, "_>>>>>>>>>>>>") if rows else []


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    for title, meaning, own in checks_by_kind(checks):
        yield from (f"### {plain(title)}", "", plain(meaning), "")
        rows = [(x.name, x.source, x.graph, " ".join(result_of(x))) for x in own]
        yield from table(("of", "in the source", "in the graph", "result"), rows)
        yield ""
        for language, queries in (
            ("sql", [x.source_sql for x in own if x.source_sql and not x.passed]),
            ("gql", [x.target_gql for x in own if x.target_gql and not x.passed]),
        ):
            if queries:
                yield from (*_code(queries, language), "")


def _sums(t: Total) -> tuple[int, ...]:
    there = (t.source_rows, t.in_graph, t.dead, t.orphans, t.missing, t.too_many)
    return (t.entries, t.unbalanced, *there, t.mismatched, t.suspended, t.accepted, t.repaired)


def _compared(lines: Sequence[Line]) -> list[str]:
    rows = [
        (x.entry.id, f"{d.rows:,}", f"{d.parts:,}", f"{d.differing:,}", f"{d.read:,}")
        for x in lines
        if (d := x.digest) is not None
    ]
    header = ("entry", "rows", "parts", "parts that differ", "rows read one by one")
    return table(header, rows, "_>>>>") if rows else []


def _differences(groups: Sequence[Group]) -> Iterator[str]:
    for group in first_of(groups, SHOWN):
        yield f"### {plain(f'{group.entity}: {group.told} ({group.count:,})')}"
        yield ""
        yield plain(group.meaning)
        yield ""
        if group.reason:
            yield f"{group.state.capitalize()}: {plain(group.reason)}"
            yield ""
        yield from _group(group)


def _accepted(report: Report) -> Iterator[str]:
    """What differs and is accepted, each with its reason and by whom."""
    rows = [(one.kind, one.name, one.found, one.reason) for one in report.accepted]
    if rows:
        yield from table(("", "accepted as it is", "what was found", "reason"), rows)
        yield ""
    yield from _differences([group for group in report.settled if group.state == "accepted"])


def _repaired(report: Report) -> Iterator[str]:
    """What differed and was written again since, each with the run that did it."""
    yield from _differences([group for group in report.settled if group.state == "repaired"])


def _group(group: Group) -> Iterator[str]:
    rows = [row for difference in group.differences for row in _rows(difference)]
    if rows and any(row[1] for row in rows):
        yield from table(("key", "property", "in the source", "in the graph"), rows)
        yield ""
    elif rows:
        yield from table(("key",), [row[:1] for row in rows])
        yield ""
    if group.left_out:
        yield f"{group.left_out:,} more are not named here."
        yield ""
    for language, queries in (
        ("sql", [f"{d.source_sql};" for d in group.differences if d.source_sql]),
        ("gql", [d.target_gql for d in group.differences if d.target_gql]),
    ):
        if queries:
            yield from _code(queries, language)
            yield ""


def _rows(difference: Difference) -> list[tuple[str, str, str, str]]:
    values = difference.values or (("", "", ""),)
    return [(difference.key, *value) for value in values]


def _queries(lines: Sequence[Line]) -> Iterator[str]:
    ordered = sorted(lines, key=lambda line: line.entry.balanced)
    for line in ordered[:QUERIES_OF]:
        yield f"### {plain(line.entry.id)}"
        yield ""
        for language, query in (("sql", line.entry.source_sql), ("gql", line.entry.target_gql)):
            if query:
                yield from _code([query], language)
                yield ""
    if len(ordered) > QUERIES_OF:
        yield f"The queries of {len(ordered) - QUERIES_OF:,} more entries are not given here."


def _code(queries: Sequence[str], language: str) -> list[str]:
    return code([line for query in queries for line in query.split("\n")], language)
