"""The validation report as one HTML page that needs nothing else: no network, font or script.

Its style sheet is `report.css`; a content security policy allows that and nothing else. Names and
values are text wherever they stand.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from geode_tui.validation.ledger import Check, Difference
from geode_tui.validation.report import (
    KINDS,
    STATES,
    Chart,
    Group,
    Line,
    Report,
    Total,
    checks_by_kind,
    first_of,
    numbers_of,
    result_of,
    signed,
)
from geode_tui.validation.report_svg import ledger_chart, legend, svg

SHOWN = 1_000
"""Differences that are named on the page."""
MARKED = 2_000
"""Characters of a value in which the part that differs is looked for."""

_HEADER = (
    *("Source rows", "In graph", "Dead", "Orphans", "Settled", "Missing"),
    *("Null", "Filtered", "Sampled"),
)


def as_html(report: Report) -> str:
    """The page as text, for a file in UTF-8."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    groups, settled = first_of(report.groups, SHOWN), first_of(report.settled, SHOWN)
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>Validation of {escape(report.facts.target)}: {escape(report.verdict)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        '<a class="skip" href="#content">To the balance sheet</a>',
        *_head(report),
        *_contents(report, groups, settled),
        '<main id="content">',
        *_sheet(report),
        *_differences(report, groups),
        *_settled(report, settled),
        *_checks(report.checks),
        *_charts(report.charts),
        *_method(report),
        *_queries(report),
        "</main>",
        "<footer><p>Made by geode-tui. The same numbers are in its other formats: "
        "table, JSON, Markdown and JUnit.</p></footer>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


# -- the head -------------------------------------------------------------------------------------


def _head(report: Report) -> Iterator[str]:
    state = "none" if not report.lines else "good" if report.valid else "bad"
    yield "<header>"
    yield '<p class="kind">Validation report</p>'
    yield f"<h1>{escape(report.facts.source)} <span>→</span> {escape(report.facts.target)}</h1>"
    yield f'<p class="verdict {state}">{_mark(state)} {escape(_sentence(report.verdict))}</p>'
    yield "<dl>"
    for name, value in report.stated()[2:-1]:
        yield f"<div><dt>{escape(_sentence(name))}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>"
    yield from _tiles(report)
    yield "</header>"


def _mark(state: str) -> str:
    sign = {"good": "✓", "bad": "✗"}.get(state, "–")
    return f'<span aria-hidden="true">{sign}</span>'


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tiles(report: Report) -> Iterator[str]:
    """The sums that a reader looks for first."""
    kinds = {total.kind: total for total in report.totals}
    rows = [total for kind, total in kinds.items() if kind in ("node", "relationship")]
    tiles = [(KINDS[t.kind], t.in_graph, f"of {t.source_rows:,} rows") for t in rows]
    dead, orphans = sum(t.dead for t in rows), sum(t.orphans for t in rows)
    missing, too_many = sum(t.missing for t in rows), sum(t.too_many for t in rows)
    tiles.append(("Dead letters", dead, f"and {orphans:,} orphans"))
    tiles.append(("Missing", missing, f"and {too_many:,} too many"))
    tiles.append(("Differences named", report.named, f"in {report.unbalanced:,} entries"))
    accepted, repaired = report.rows_in("accepted"), report.rows_in("repaired")
    if accepted or repaired or report.accepted:
        more = f"and {repaired:,} repaired since"
        tiles.append(("Accepted", accepted + len(report.accepted), more))
    wrongs = {"Differences named"}
    wrongs |= {"Missing" for x in report.lines if x.entry.missing and not x.entry.balanced}
    yield '<ul class="tiles">'
    for name, number, more in tiles:
        wrong = ' class="wrong"' if number and name in wrongs else ""
        yield f"<li{wrong}><b>{number:,}</b> <span>{name}</span> <small>{more}</small></li>"
    yield "</ul>"


def _contents(report: Report, groups: Sequence[Group], settled: Sequence[Group]) -> Iterator[str]:
    chapters = [("balance", "Balance sheet")]
    if groups or report.notes:
        chapters.append(("differences", "What differs"))
    states = {group.state for group in settled}
    if report.accepted or "accepted" in states:
        chapters.append(("accepted", "Accepted"))
    chapters += [("repaired", "Repaired")] if "repaired" in states else []
    chapters += [("checks", "Checks")] if report.checks else []
    chapters += [("charts", "Distributions")] if report.charts else []
    chapters += [("method", "How it was compared"), ("queries", "Queries")]
    items = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in chapters)
    yield f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


# -- the balance sheet ----------------------------------------------------------------------------


def _sheet(report: Report) -> Iterator[str]:
    yield '<section aria-labelledby="balance">'
    yield '<h2 id="balance">Balance sheet</h2>'
    if not report.lines:
        yield "<p>There is no entry: nothing was compared.</p></section>"
        return
    if any(line.entry.balanced for line in report.lines) and not report.balanced:
        yield (
            '<p class="filter"><input type="checkbox" id="only">'
            '<label for="only">Show only what differs</label></p>'
        )
    yield '<div class="scroll" role="region" aria-labelledby="sheet" tabindex="0">'
    yield '<table class="sheet">'
    yield (
        '<caption id="sheet">Source rows = in graph + dead + orphans + settled + missing. '
        "Null and filtered rows are apart: none is expected in the graph. "
        "Settled rows differ, and are accepted or repaired.</caption>"
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADER)
    yield (f'<thead><tr><th scope="col">Entry</th>{head}<th scope="col">Verdict</th></tr></thead>')
    totals = {total.kind: total for total in report.totals}
    for kind, lines in groupby(sorted(report.lines, key=_by_kind), lambda line: line.entry.kind):
        yield f'<tbody><tr class="kind"><th scope="rowgroup" colspan="11">{KINDS[kind]}</th></tr>'
        for line in lines:
            yield _row(line)
        yield _total_row(totals[kind])
        yield "</tbody>"
    yield "</table></div>"
    chart = ledger_chart(report)
    if chart.bars:
        yield from _figure(chart, 0)
    yield "</section>"


def _by_kind(line: Line) -> int:
    return list(KINDS).index(line.entry.kind)


def _row(line: Line) -> str:
    entry = line.entry
    cells = _cells(numbers_of(entry))
    name = f'<a href="#q{line.number}">{escape(entry.id)}</a>'
    if entry.table and entry.table != entry.id:
        name += f"<small>{escape(entry.table)}</small>"
    state = "good" if entry.balanced else "bad"
    verdict = f'<td class="verdict {state} {entry.state}">{_verdict(line)}</td>'
    return f'<tr class="{state}"><th scope="row">{name}</th>{cells}{verdict}</tr>'


def _verdict(line: Line) -> str:
    """The state of an entry, by mark and word, and what it came to."""
    entry = line.entry
    mark = f'<span aria-hidden="true">{STATES[entry.state][0]}</span>'
    return f"{mark} {_sentence(entry.state)}: <span>{escape(entry.verdict)}</span>"


def _total_row(total: Total) -> str:
    ends = total.kind == "relationship"
    rows = total.kind in ("node", "relationship")
    cells = (
        f"{total.source_rows:,}",
        f"{total.in_graph:,}",
        f"{total.dead:,}" if rows else "",
        f"{total.orphans:,}" if ends else "",
        signed(total.settled) if rows else "",
        _missing(total),
        f"{total.nulls:,}" if ends else "",
        f"{total.filtered:,}" if rows else "",
        f"{total.sampled:,}" if rows else "",
    )
    told = f"{total.unbalanced:,} of {total.entries:,} differ" if total.unbalanced else "balanced"
    told += f", {total.accepted:,} accepted" if total.accepted else ""
    told += f", {total.repaired:,} repaired since" if total.repaired else ""
    return f'<tr class="total"><th scope="row">Sum</th>{_cells(cells)}<td>{told}</td></tr>'


def _cells(numbers: Sequence[str]) -> str:
    """The cells of a row; a dash where there can be no number."""
    return "".join(f"<td>{number or '–'}</td>" for number in numbers)


def _missing(total: Total) -> str:
    """Both sums: what one entry has too many is not what another is missing."""
    if total.missing and total.too_many:
        return f"{total.missing:,} and {signed(-total.too_many)}"
    return signed(total.missing - total.too_many)


def _figure(chart: Chart, number: int) -> Iterator[str]:
    yield "<figure>"
    yield f"<figcaption><b>{escape(chart.title)}</b> {escape(chart.description)}</figcaption>"
    yield legend(chart)
    yield svg(chart, number)
    if chart.left_out:
        yield f"<p>{chart.left_out:,} more are not drawn.</p>"
    yield "</figure>"


# -- what differs ---------------------------------------------------------------------------------


def _differences(report: Report, groups: Sequence[Group]) -> Iterator[str]:
    if not groups and not report.notes:
        return
    yield '<section aria-labelledby="differences">'
    yield '<h2 id="differences">What differs</h2>'
    if report.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
        yield f'<ul class="notes">{items}</ul>'
    shown = sum(len(group.differences) for group in groups)
    if report.named:
        left = report.named - shown
        told = f"{report.named:,} differences are named"
        more = f", {shown:,} of them here; {left:,} are left out. --format json has all."
        yield f"<p>{told}{more if left else '.'}</p>"
    yield from _articles(report, groups)
    yield "</section>"


def _settled(report: Report, groups: Sequence[Group]) -> Iterator[str]:
    """What is accepted, and what was repaired since, apart from what stands."""
    accepted = [group for group in groups if group.state == "accepted"]
    repaired = [group for group in groups if group.state == "repaired"]
    if accepted or report.accepted:
        yield '<section aria-labelledby="accepted">'
        yield '<h2 id="accepted">Accepted</h2>'
        yield "<p>This differs, and somebody accepted that: it fails nothing.</p>"
        yield from _accepted(report)
        yield from _articles(report, accepted)
        yield "</section>"
    if repaired:
        yield '<section aria-labelledby="repaired">'
        yield '<h2 id="repaired">Repaired</h2>'
        yield "<p>This differed when it was compared, and was written again since.</p>"
        yield from _articles(report, repaired)
        yield "</section>"


def _accepted(report: Report) -> Iterator[str]:
    """The entries and checks that are accepted as they are."""
    if not report.accepted:
        return
    yield '<div class="scroll" role="region" aria-labelledby="accepted-whole" tabindex="0">'
    yield '<table class="checks"><caption id="accepted-whole">Accepted as they are</caption>'
    head = "".join(f'<th scope="col">{x}</th>' for x in ("What", "Of", "Found", "Reason"))
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for one in report.accepted:
        cells = "".join(f"<td>{escape(x)}</td>" for x in (one.name, one.found, one.reason))
        yield f'<tr><th scope="row">{_sentence(one.kind)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _articles(report: Report, groups: Sequence[Group]) -> Iterator[str]:
    """An article for each entity, with its groups."""
    for entity, some in groupby(groups, lambda group: (group.line, group.entity)):
        own = list(some)
        yield f"<article><h3>{escape(entity[1])}</h3>"
        if entity[0]:
            line = report.lines[entity[0] - 1]
            yield f'<p class="equation">{escape(str(line.equation))}</p>'
        for group in own:
            yield from _group(group)
        yield "</article>"


def _group(group: Group) -> Iterator[str]:
    yield f"<h4>{escape(_sentence(group.told))} ({group.count:,})</h4>"
    yield f'<p class="meaning">{escape(group.meaning)}</p>'
    if group.reason:
        mark = f'<span aria-hidden="true">{STATES[group.state][0]}</span>'
        told = escape(group.reason)
        yield f'<p class="reason">{mark} <b>{_sentence(group.state)}:</b> {told}</p>'
    for difference in group.differences:
        yield from _difference(difference)
    if group.left_out:
        yield f'<p class="more">{group.left_out:,} more are not named here.</p>'


def _difference(difference: Difference) -> Iterator[str]:
    yield '<div class="difference">'
    if not difference.values:
        yield f'<p class="key"><b>{escape(difference.key)}</b></p>'
    else:
        yield "<table>"
        yield f"<caption>{escape(difference.key)}</caption>"
        head = ("Property", "In the source", "In the graph")
        cells = "".join(f'<th scope="col">{name}</th>' for name in head)
        yield f"<thead><tr>{cells}</tr></thead><tbody>"
        for name, source, graph in difference.values:
            first, second = lit(source, graph)
            yield (f'<tr><th scope="row">{escape(name)}</th><td>{first}</td><td>{second}</td></tr>')
        yield "</tbody></table>"
    yield from _both_queries(difference.source_sql, difference.target_gql)
    yield "</div>"


def lit(source: str, graph: str) -> tuple[str, str]:
    """Both texts as HTML, with what differs between them marked."""
    short = min(len(source), len(graph), MARKED)
    begin = next((n for n in range(short) if source[n] != graph[n]), short)
    end = next((n for n in range(short - begin) if source[-1 - n] != graph[-1 - n]), short - begin)
    return _lit(source, begin, end), _lit(graph, begin, end)


def _lit(text: str, begin: int, end: int) -> str:
    middle = text[begin : len(text) - end]
    marked = f"<mark>{escape(middle)}</mark>" if middle else ""
    return f"{escape(text[:begin])}{marked}{escape(text[len(text) - end :])}"


def _both_queries(sql: str, gql: str) -> Iterator[str]:
    given = [(name, query) for name, query in (("SQL", sql), ("GQL", gql)) if query]
    if not given:
        return
    yield f"<details><summary>Look yourself: {' and '.join(name for name, _ in given)}</summary>"
    for name, query in given:
        yield f"<p>{name}</p><pre><code>{escape(query)}</code></pre>"
    yield "</details>"


# -- charts, method, queries ----------------------------------------------------------------------


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    if not checks:
        return
    yield '<section aria-labelledby="checks">'
    yield '<h2 id="checks">Checks</h2>'
    for number, (title, meaning, own) in enumerate(checks_by_kind(checks)):
        yield f"<h3>{escape(title)}</h3>"
        name = f"checked{number}"
        yield f'<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0">'
        yield f'<table class="checks"><caption id="{name}">{escape(meaning)}</caption>'
        names = ("Of", "In the source", "In the graph", "Result")
        head = "".join(f'<th scope="col">{name}</th>' for name in names)
        yield f"<thead><tr>{head}</tr></thead><tbody>"
        ordered = sorted(own, key=lambda check: check.fine)
        yield from map(_check, ordered)
        yield "</tbody></table></div>"
        for check in ordered:
            if not check.passed:
                yield from _both_queries(check.source_sql, check.target_gql)
    yield "</section>"


def _check(check: Check) -> str:
    state = "good" if check.fine else "bad"
    mark, result = result_of(check)
    cells = "".join(f"<td>{escape(text)}</td>" for text in (check.source, check.graph))
    return (
        f'<tr class="{state}"><th scope="row">{escape(check.name) or "all"}</th>{cells}'
        f'<td class="verdict {state}"><span aria-hidden="true">{mark}</span> '
        f"{escape(_sentence(result))}</td></tr>"
    )


def _charts(charts: Sequence[Chart]) -> Iterator[str]:
    if not charts:
        return
    yield '<section aria-labelledby="charts">'
    yield '<h2 id="charts">Distributions</h2>'
    for number, chart in enumerate(charts, 1):
        yield from _figure(chart, number)
        yield "<details><summary>The numbers</summary>"
        yield f"<table><caption>{escape(chart.title)}</caption>"
        yield from _numbers(("Value", *chart.series), chart.bars)
        yield "</table></details>"
    yield "</section>"


def _method(report: Report) -> Iterator[str]:
    yield '<section aria-labelledby="method">'
    yield '<h2 id="method">How it was compared</h2>'
    yield f"<p>{escape(_sentence(report.method))}.</p>"
    yield f"<p>Read back value by value: {escape(report.bound)}.</p>"
    rows = [(line, line.digest) for line in report.lines if line.digest is not None]
    if rows:
        yield (
            "<p>Both sides are split in parts by the digest of each row. Parts whose number of "
            "rows or sum of digests differs are read row by row, and a key counts only when it "
            "differs in the same way at a later look, too.</p>"
        )
        yield '<div class="scroll" role="region" aria-labelledby="parts" tabindex="0">'
        yield '<table class="sheet"><caption id="parts">Parts compared by digest</caption>'
        names = ("Entry", "Rows", "Parts", "Parts that differ", "Rows read one by one")
        yield from _numbers(
            names,
            [
                (line.entry.id, (digest.rows, digest.parts, digest.differing, digest.read))
                for line, digest in rows
            ],
        )
        yield "</table></div>"
    yield "</section>"


def _numbers(names: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]) -> Iterator[str]:
    """Head and body of a table: the name of each row, then its numbers."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for name, numbers in rows:
        cells = "".join(f"<td>{number:,}</td>" for number in numbers)
        yield f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    yield "</tbody>"


def _queries(report: Report) -> Iterator[str]:
    yield '<section aria-labelledby="queries">'
    yield '<h2 id="queries">Queries</h2>'
    yield "<p>Anyone can run these to see the numbers of the balance sheet.</p>"
    for line in report.lines:
        entry = line.entry
        opened = "" if entry.balanced else " open"
        yield f'<details id="q{line.number}"{opened}>'
        yield f"<summary>{escape(entry.id)}: {escape(entry.verdict)}</summary>"
        yield f'<p class="equation">{escape(str(line.equation))}</p>'
        if line.compared:
            yield f"<p>{escape(_sentence(line.compared))}.</p>"
        for name, query in (("SQL", entry.source_sql), ("GQL", entry.target_gql)):
            if query:
                yield f"<p>{name}</p><pre><code>{escape(query)}</code></pre>"
        yield "</details>"
    yield "</section>"
