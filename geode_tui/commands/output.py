"""What the command line prints: data to stdout, narration to stderr, never markup."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

from geode_tui.errors import UsageError
from geode_tui.validation.ledger import Check, Difference, Entry, Ledger
from geode_tui.validation.ledger_document import ledger_document as ledger_document
from geode_tui.validation.report import (
    STATES,
    Facts,
    Group,
    Report,
    age,
    bound_in_words,
    checks_by_kind,
    make_report,
    result_of,
    signed,
)


def say(text: str) -> None:
    """A line of narration, to stderr; work goes on where nobody reads it any more."""
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except BrokenPipeError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Send what is still to be printed to nowhere: whoever read it has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Write the data of the block to a file in place of stdout: whole, or not at all.

    Raises UsageError where the file is there already: it is never replaced unasked.
    """
    _refuse_existing(path)
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            yield
        _refuse_existing(path)  # it may have come while the work was done
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists already", "", "name another --output")


def show_document(text: str) -> None:
    """A whole document that says itself that it is UTF-8, to stdout in that encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.flush()


def show(text: str) -> None:
    """A line of data, to stdout."""
    print(visible(text), flush=True)


def show_json(document: Any, indent: int | None = 2) -> None:
    """One JSON document, to stdout; what a terminal might obey is escaped."""
    text = json.dumps(document, default=_plain, ensure_ascii=False, indent=indent)
    escaped = (c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)
    print("".join(escaped), flush=True)


def compact_json(value: Any) -> str:
    """A value as JSON on one line."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def visible(text: str) -> str:
    """The text on one line, its control characters (which could drive a terminal) made visible."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> list[str]:
    """Lines of a table with columns as wide as their widest cell.

    `right` has a `>` for each column that is set right, any other character for the rest.
    """
    table = [[visible(cell.replace("\n", "⏎")) for cell in row] for row in (header, *rows)]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(header))]
    lines = []
    for row in table:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            padding = " " * (width - cell_len(cell))
            to_right = right[column : column + 1] == ">"
            cells.append(padding + cell if to_right else cell + padding)
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    return lines


_SHOWN = 20


_NO_FACTS = Facts("", "", "")


def show_ledger(ledger: Ledger, facts: Facts = _NO_FACTS) -> None:
    """The balance sheet as text, to stdout: what stands, then what is accepted or repaired."""
    report = make_report(ledger, facts)
    header = ["entity", "source rows", "in graph", "dead", "orphans", "nulls", "sampled", "verdict"]
    rows = [list(_entry_cells(entry)) for entry in ledger.entries]
    if any(entry.filtered for entry in ledger.entries):
        _insert(header, rows, 6, "filtered", [f"{entry.filtered:,}" for entry in ledger.entries])
    if any(entry.settled for entry in ledger.entries):
        _insert(header, rows, 5, "settled", [signed(entry.settled) for entry in ledger.entries])
    for line in aligned(header, rows, f"_{'>' * (len(header) - 2)}_"):
        show(line)
    _show_standing([one for one in ledger.differences if one.state in ("mismatched", "suspended")])
    for digest in ledger.digests:
        if digest.cut_off:
            parts = f"{digest.differing:,} of {digest.parts:,} parts differ"
            show(f"  {digest.entity}: more differs than was told one by one: {parts}")
    _show_checks(ledger.checks)
    _show_settled(report)
    if ledger.digests:
        show(_digest_text(ledger))
    show(_freshness(ledger, facts))
    settled = f"; {report.settled_told}" if report.settled_told else ""
    wrong, total = report.unbalanced, len(ledger.entries)
    told = f"{wrong} of {total} differ" if wrong else f"the ledger balances: {total} entries"
    show(f"{told}{settled}")


def _insert(
    header: list[str], rows: list[list[str]], place: int, name: str, cells: Sequence[str]
) -> None:
    """Put one more column into a table."""
    header.insert(place, name)
    for row, cell in zip(rows, cells, strict=True):
        row.insert(place, cell)


def _freshness(ledger: Ledger, facts: Facts) -> str:
    """When it was taken, under which snapshot, and how old it is where it is read later."""
    fence = f" under snapshot {ledger.fence}" if ledger.fence else ""
    old = f", {age(facts.made - ledger.taken)} ago" if facts.made is not None else ""
    return f"taken {moment(ledger.taken)}{fence}{old}"


def _show_standing(differences: Sequence[Difference]) -> None:
    for difference in differences[:_SHOWN]:
        _show_difference(difference)
    if more := differences[_SHOWN:]:
        show(f"  and {len(more):,} more (--json names them)")


def _show_settled(report: Report) -> None:
    """What is accepted, each with the reason and by whom; what was repaired, by which run."""
    for one in report.accepted[:_SHOWN]:
        show(f"  {STATES['accepted'][0]} accepted {one.name}: {one.found}: {one.reason}")
    if more := report.accepted[_SHOWN:]:
        show(f"  and {len(more):,} entries and checks more are accepted (--json names them)")
    left = _SHOWN
    for group in report.settled:
        _show_group(group, left)
        left = max(0, left - group.count)


def _show_group(group: Group, most: int) -> None:
    keys = [one.key for one in group.differences[:most]]
    more = f" and {group.count - len(keys):,} more" if group.count > len(keys) else ""
    mark = f"{STATES[group.state][0]} {group.state}"
    show(f"  {mark} {group.entity} {'; '.join(keys)}{more}: {group.title}: {group.reason}")


def _show_difference(found: Difference) -> None:
    """One row that differs: where and why, its values side by side, the query for a look."""
    told = {"both": "differs", "source": "only in the source", "graph": "only in the graph"}
    cause = f" ({found.cause})" if found.cause not in ("", "missing", "extra") else ""
    state = ", suspended: it changed at every look" if found.state == "suspended" else ""
    show(f"  {found.entity} {found.key}: {told[found.where]}{cause}{state}")
    for name, source, graph in found.values:
        show(f"    {name}: source {source} · graph {graph}")


def _show_checks(checks: Sequence[Check]) -> None:
    """What is wrong or worth a look, and how many checks passed."""
    for title, _, own in checks_by_kind(checks):
        for check in own:
            if not check.fine or (check.passed and check.why):
                name = f"{title.lower()} {check.name}".rstrip()
                mark, result = result_of(check)
                show(f"  {mark} {name}: source {check.source} · graph {check.graph}")
                show(f"    {result}")
    if checks:
        accepted = sum(check.fine and not check.passed for check in checks)
        more = f", {accepted} accepted" if accepted else ""
        show(f"{sum(check.passed for check in checks)} of {len(checks)} checks passed{more}")


def _digest_text(ledger: Ledger) -> str:
    """What was compared, and how sure it is."""
    rows = sum(digest.rows for digest in ledger.digests)
    how = "made anew of all values in the graph" if ledger.digests[0].deep else "as written"
    sampled, differing = ledger.sampled
    return f"{rows:,} rows compared by digests, {how}; {bound_in_words(sampled, differing)}"


def duration(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or a dash."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(seconds: float | None) -> str:
    """A time of day with its date, in the machine's zone, or a dash."""
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _entry_cells(entry: Entry) -> tuple[str, ...]:
    mark = STATES[entry.state][0]
    state = "" if entry.state == "validated" else f"{entry.state}: "
    return (
        entry.id,
        f"{entry.source_rows:,}",
        f"{entry.in_graph:,}",
        f"{entry.dead:,}",
        f"{entry.orphans:,}" if entry.kind == "relationship" else "",
        f"{entry.nulls:,}" if entry.kind == "relationship" else "",
        f"{entry.sampled:,}",
        f"{mark} {state}{entry.verdict}",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
