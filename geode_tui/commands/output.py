"""What the command line prints: data to stdout, narration to stderr, never markup."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.cells import cell_len

from geode_tui.errors import UsageError
from geode_tui.validation.ledger import Check, Difference, Entry, Ledger, most_wrong
from geode_tui.validation.report import bound_in_words


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


def show_ledger(ledger: Ledger) -> None:
    """The balance sheet as text, to stdout."""
    filtered = any(entry.filtered for entry in ledger.entries)
    header = ["entity", "source rows", "in graph", "dead", "orphans", "nulls", "sampled", "verdict"]
    rows = [list(_entry_cells(entry)) for entry in ledger.entries]
    if filtered:
        header.insert(6, "filtered")
        for row, entry in zip(rows, ledger.entries, strict=True):
            row.insert(6, f"{entry.filtered:,}")
    for line in aligned(header, rows, "_>>>>>>>_" if filtered else "_>>>>>>_"):
        show(line)
    for difference in ledger.differences[:_SHOWN]:
        _show_difference(difference)
    if more := ledger.differences[_SHOWN:]:
        show(f"  and {len(more):,} more (--json names them)")
    for digest in ledger.digests:
        if digest.cut_off:
            parts = f"{digest.differing:,} of {digest.parts:,} parts differ"
            show(f"  {digest.entity}: more differs than was told one by one: {parts}")
    _show_checks(ledger.checks)
    if ledger.digests:
        show(_digest_text(ledger))
    wrong = sum(not entry.balanced for entry in ledger.entries)
    total = len(ledger.entries)
    show(f"the ledger balances: {total} entries" if not wrong else f"{wrong} of {total} differ")


def _show_difference(found: Difference) -> None:
    """One row that differs: where and why, its values side by side, the query for a look."""
    told = {"both": "differs", "source": "only in the source", "graph": "only in the graph"}
    cause = f" ({found.cause})" if found.cause not in ("", "missing", "extra") else ""
    show(f"  {found.entity} {found.key}: {told[found.where]}{cause}")
    for name, source, graph in found.values:
        show(f"    {name}: source {source} · graph {graph}")


def _show_checks(checks: Sequence[Check]) -> None:
    """What is wrong or worth a look, and how many checks passed."""
    for check in checks:
        if not check.passed or check.why:
            name = f"{check.kind} {check.name}".rstrip()
            show(f"  {name}: source {check.source} · graph {check.graph}")
            if check.why:
                show(f"    {check.why}")
    if checks:
        show(f"{sum(check.passed for check in checks)} of {len(checks)} checks passed")


def _digest_text(ledger: Ledger) -> str:
    """What was compared, and how sure it is."""
    rows = sum(digest.rows for digest in ledger.digests)
    how = "made anew of all values in the graph" if ledger.digests[0].deep else "as written"
    sampled, differing = ledger.sampled
    return f"{rows:,} rows compared by digests, {how}; {bound_in_words(sampled, differing)}"


def ledger_document(ledger: Ledger) -> dict[str, Any]:
    """The ledger as a JSON document (docs/cli.md)."""
    sampled, differing = ledger.sampled
    return {
        "balanced": ledger.balanced,
        "valid": ledger.valid,
        "fence": ledger.fence,
        "taken": ledger.taken,
        "entries": [
            asdict(entry)
            | {"missing": entry.missing, "balanced": entry.balanced, "verdict": entry.verdict}
            for entry in ledger.entries
        ],
        "differences": [asdict(difference) for difference in ledger.differences],
        "digests": [asdict(digest) for digest in ledger.digests],
        "checks": [asdict(check) for check in ledger.checks],
        "sampled": {
            "rows": sampled,
            "differing": differing,
            "at_most_wrong": most_wrong(sampled, differing),
        },
    }


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
    mark = "✓" if entry.balanced else "✗"
    return (
        entry.id,
        f"{entry.source_rows:,}",
        f"{entry.in_graph:,}",
        f"{entry.dead:,}",
        f"{entry.orphans:,}" if entry.kind == "relationship" else "",
        f"{entry.nulls:,}" if entry.kind == "relationship" else "",
        f"{entry.sampled:,}",
        f"{mark} {entry.verdict}",
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
