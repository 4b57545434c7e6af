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
    first_of,
    numbers_of,
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
        ("Checks", _checks(report.checks)),
        ("How each was compared", _compared(report.lines)),
        ("To be known", [f"- {plain(note)}" for note in report.notes]),
        ("What differs", list(_differences(report))),
        ("Queries", list(_queries(report.lines))),
    )


def _sheet(report: Report) -> list[str]:
    if not report.lines:
        return ["There is no entry."]
    rows = [
        (line.entry.id, line.entry.kind, *numbers_of(line.entry), _verdict(line))
        for line in report.lines
    ]
    header = ("entry", "kind", *COLUMNS, "verdict")
    lines = table(header, rows, "__" + ">" * len(COLUMNS))
    return [*lines, "", *(f"- {plain(f'{x.entry.id}: {x.equation}')}" for x in report.lines)]


def _verdict(line: Line) -> str:
    return f"{'✓' if line.entry.balanced else '✗'} {line.entry.verdict}"


def _totals(totals: Sequence[Total]) -> list[str]:
    header = (
        *("kind", "entries", "differ", "source rows", "in graph", "dead", "orphans", "missing"),
        *("too many", "mismatched", "suspended"),
    )
    rows = [(KINDS[t.kind], *(f"{number:,}" for number in _sums(t))) for t in totals]
    return table(header, rows, "_>>>>>>>>>>") if rows else []


def _checks(checks: Sequence[Check]) -> list[str]:
    header = ("check", "of", "in the source", "in the graph", "result")
    rows = [(x.kind, x.name, x.source, x.graph, _result(x)) for x in checks]
    return table(header, rows) if rows else []


def _result(check: Check) -> str:
    result = "✓ passed" if check.passed else "✗ failed"
    return f"{result}: {check.why}" if check.why else result


def _sums(t: Total) -> tuple[int, ...]:
    there = (t.source_rows, t.in_graph, t.dead, t.orphans, t.missing, t.too_many)
    return (t.entries, t.unbalanced, *there, t.mismatched, t.suspended)


def _compared(lines: Sequence[Line]) -> list[str]:
    rows = [
        (x.entry.id, f"{d.rows:,}", f"{d.parts:,}", f"{d.differing:,}", f"{d.read:,}")
        for x in lines
        if (d := x.digest) is not None
    ]
    header = ("entry", "rows", "parts", "parts that differ", "rows read one by one")
    return table(header, rows, "_>>>>") if rows else []


def _differences(report: Report) -> Iterator[str]:
    for group in first_of(report.groups, SHOWN):
        yield f"### {plain(f'{group.entity}: {group.title} ({group.count:,})')}"
        yield ""
        yield plain(group.meaning)
        yield ""
        yield from _group(group)


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
