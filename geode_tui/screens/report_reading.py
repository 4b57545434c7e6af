"""What the journal knows for a report, and the head of it in words."""

from __future__ import annotations

import time
from dataclasses import dataclass

from textual.content import Content

from geode_tui.mapping.assess import Finding
from geode_tui.migration.events import RunState
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.validation.ledger import Ledger
from geode_tui.widgets.check_model import MARKS, Branch, State, checks_of
from geode_tui.widgets.figures import counted, span
from geode_tui.widgets.run_states import run_state_text
from geode_tui.widgets.text import one_line

_ENDS: dict[RunState, str] = {"done": "✓ done, balanced", "differs": "✗ done, differs"}


@dataclass(frozen=True)
class Report:
    """What is known of a run: its record, its ledger once it is taken, its findings, its checks."""

    record: RunRecord | None = None
    ledger: Ledger | None = None
    findings: tuple[Finding, ...] = ()
    branches: tuple[Branch, ...] = ()


def load_report(number: int | None, known: Report) -> Report:
    """The report of a run, of the newest without a number; `known` where it is still true.

    Raises UsageError.
    """
    journal = Journal()
    try:
        if number is None:
            runs = journal.runs()
            if not runs:
                return Report()
            number = runs[0].number
        record = journal.run(number)
        ledger, findings = journal.ledger(number), journal.findings(number)
    finally:
        journal.close()
    if (known.record, known.ledger, known.findings) == (record, ledger, findings):
        return known
    return Report(record, ledger, findings, checks_of(ledger))


def load_history() -> list[RunRecord]:
    """All runs, the newest first."""
    journal = Journal()
    try:
        return journal.runs()
    finally:
        journal.close()


def headline(report: Report) -> Content:
    """`✓ balanced: …`, `✗ 2 of 3 entries differ`, or why there is no verdict yet."""
    record, ledger = report.record, report.ledger
    if record is None:
        return Content.assemble(
            ("no run yet", "bold"),
            ("\nmake one on screen 4, then its proof is here", "$text-muted"),
        )
    where = f"run {record.number}, {record.kind}, {_times(record)}"
    where = one_line(f"{where}  {record.source} ─▶ {record.place}")
    if ledger is None:
        reason = f"\n{one_line(record.error)}" if record.error else ""
        return Content.assemble(
            (f"… not validated yet: the run is {record.state}", "bold $text-warning"),
            ("\n" + where, "$text-muted"),
            (reason, "$text-error"),
        )
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ledger.taken))
    fence = f"\ncounted {taken}, at snapshot {one_line(ledger.fence)}"
    return Content.assemble(
        _verdict(ledger), _settled(ledger), ("\n" + where, "$text-muted"), (fence, "$text-muted")
    )


def _verdict(ledger: Ledger) -> Content:
    differing = sum(not entry.balanced for entry in ledger.entries)
    failed = sum(not check.fine for check in ledger.checks)
    total = counted(len(ledger.entries), "entry", "entries")
    checks = counted(len(ledger.checks), "check")
    words = []
    if differing:
        words.append(f"{differing:,} of {total} {'differs' if differing == 1 else 'differ'}")
    if failed:
        words.append(f"{failed:,} of {checks} failed")
    if words:
        return Content.styled(f"✗ {'; '.join(words)}", "bold $text-error")
    balanced = f"✓ balanced: every row of {total} is accounted for"
    return Content.styled(balanced, "bold $text-success")


def _settled(ledger: Ledger) -> Content:
    """How much of it is suspended, stale, accepted or repaired."""
    reasons = sum(bool(entry.reason) for entry in ledger.entries)
    reasons += sum(bool(check.reason) for check in ledger.checks)
    counts: tuple[tuple[State, int], ...] = (
        ("suspended", sum(entry.suspended for entry in ledger.entries)),
        ("stale", sum(entry.state == "stale" for entry in ledger.entries)),
        ("accepted", reasons + sum(entry.accepted for entry in ledger.entries)),
        ("repaired", sum(entry.repaired for entry in ledger.entries)),
    )
    parts: list[tuple[str, str]] = []
    for state, number in counts:
        if number:
            glyph, style = MARKS[state]
            parts += [(" · ", "$text-muted"), (f"{glyph} {number:,} {state}", style)]
    return Content.assemble(*parts)


def _times(record: RunRecord) -> str:
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started))
    if record.ended is None:
        return f"since {begun}"
    return f"{begun}, took {span(record.ended - record.started)}"


def history_line(record: RunRecord) -> str:
    """A run in the list of runs."""
    begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.started))
    moved = f"{record.source} ─▶ {record.target}"
    state = _ENDS.get(record.state, run_state_text(record.state))
    return f"run {record.number:<4} {begun}  {record.kind:<8} {state:<18} {moved}"
