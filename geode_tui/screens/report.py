"""The report: the balance sheet of a run first, then the evidence."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from geode_tui.mapping.assess import Finding
from geode_tui.migration.events import RunState
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.watch import ShownRun
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, TextDialog
from geode_tui.screens.entry import EntryDialog, difference_text
from geode_tui.validation.ledger import Ledger
from geode_tui.widgets.difference_table import DifferenceTable
from geode_tui.widgets.figures import counted, span
from geode_tui.widgets.finding_table import FindingTable
from geode_tui.widgets.finding_text import findings_copied
from geode_tui.widgets.ledger_table import LedgerTable, equation
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.run_states import run_state_text
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_ENDS: dict[RunState, str] = {"done": "✓ done, balanced", "differs": "✗ done, differs"}


@dataclass(frozen=True)
class Report:
    """What is known of a run: its record, its ledger once it is taken, its findings."""

    record: RunRecord | None = None
    ledger: Ledger | None = None
    findings: tuple[Finding, ...] = ()


def load_report(number: int | None) -> Report:
    """The report of a run, of the newest without a number. Raises UsageError."""
    journal = Journal()
    try:
        if number is None:
            runs = journal.runs()
            if not runs:
                return Report()
            number = runs[0].number
        record = journal.run(number)
        return Report(record, journal.ledger(number), journal.findings(number))
    finally:
        journal.close()


def load_history() -> list[RunRecord]:
    """All runs, the newest first."""
    journal = Journal()
    try:
        return journal.runs()
    finally:
        journal.close()


class ReportScreen(GeodeScreen):
    """The verdict, the balance sheet, what differs, and what was found before the run."""

    MODE = "report"
    HELP = """
# Report

The **ledger** says where every row of the source is: in the graph, in the dead letters, or, for a
relationship whose node is not there, among the orphans. An entry is *balanced* when both sides add
up (`=`), nothing is there twice, and all sampled rows are equal value by value.

- **enter** on an entry shows the SQL and the GQL that anyone can run to see the same numbers, and
  the sampled rows that differ, both values side by side. **y** copies what has the focus.
- **tab** goes to the differences and to the findings of the assessment.
- **h** opens the report of an earlier run; screen 6 has all that is known of each.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h", "history", "history", id="report.history", tooltip="An earlier run's report"),
        Binding("tab", "pane(1)", "next pane", id="report.next", tooltip="Next pane"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="report.previous",
            tooltip="Previous pane",
        ),
    ]
    CSS = """
    ReportScreen {
        #report-head { height: auto; max-height: 4; padding: 0 1; }
        #report-ledger { height: 3fr; }
        #report-evidence { height: 2fr; }
        #report-differences, #report-findings { width: 1fr; }
        &.-narrow {
            #report-evidence { height: auto; layout: vertical; }
            #report-evidence.-holds-shown { height: 1fr; }
            Pane.-shown { height: 1fr; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._chosen: int | None = None
        self._shown_run: ShownRun | None = None
        self._report = Report()
        self._drawn: Report | None = None

    def compose_body(self) -> ComposeResult:
        """The verdict, the ledger, and the evidence below it."""
        yield Static(id="report-head", markup=False)
        with Panes(id="report-panes"):
            with Pane("ledger", id="report-ledger"):
                yield LedgerTable(id="ledger")
            with Horizontal(id="report-evidence"):
                with Pane("differences", id="report-differences"):
                    yield DifferenceTable(id="differences")
                with Pane("findings", id="report-findings"):
                    yield FindingTable(id="findings")

    def on_mount(self) -> None:
        """Start on the ledger, and follow a run to its end."""
        super().on_mount()
        self.query_one(LedgerTable).focus()
        self.set_interval(1.0, self._follow)

    def refresh_view(self) -> None:
        """Show the run that the run screen shows, else the newest of the journal."""
        self._load()

    def show_item(self, item: str) -> None:
        """Show the run of that number."""
        if item.isdecimal():
            self._shown_run, self._chosen = self.workspace.shown_run, int(item)
            self._load()

    def _follow(self) -> None:
        """Look again when the run of this sitting came to its end."""
        if not self.is_current:
            return
        record = self._report.record
        shown = self.workspace.shown_run
        stale = shown is not self._shown_run or (record is not None and record.state == "running")
        if stale:
            self._load()

    @work(exclusive=True, group="report", exit_on_error=False)
    async def _load(self) -> None:
        shown = self.workspace.shown_run
        if shown is not self._shown_run:
            self._chosen = None
        number = self._chosen
        if number is None and shown is not None:
            number = shown.run_number
        self._shown_run = shown
        self.show_report(await asyncio.to_thread(load_report, number))

    def show_report(self, report: Report) -> None:
        """Show a report."""
        self._report = report
        self.query_one("#report-head", Static).update(headline(report))
        if report == self._drawn:
            return
        self._drawn = report
        ledger = report.ledger or Ledger(())
        self.query_one(LedgerTable).show_entries(ledger.entries)
        self.query_one(DifferenceTable).show_differences(ledger.differences)
        self.query_one(FindingTable).show_findings(report.findings)
        self._title("ledger", len(ledger.entries))
        self._title("differences", len(ledger.differences))
        self._title("findings", sum(not finding.waived for finding in report.findings))

    def _title(self, name: str, number: int) -> None:
        pane = self.query_one(f"#report-{name}", Pane)
        pane.set_title(f"{name} {number:,}" if number else name)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is nothing to filter here."""
        return action != "filter"

    def copied(self) -> str:
        """The row under the cursor, in words."""
        focused = self.focused
        if isinstance(focused, FindingTable) and focused.finding:
            return findings_copied([focused.finding])
        if isinstance(focused, DifferenceTable) and focused.difference:
            return difference_text(focused.difference)
        if isinstance(focused, LedgerTable) and focused.entry:
            entry = focused.entry
            return f"{entry.id}: {equation(entry)}: {entry.verdict}"
        return super().copied()

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """Back to the ledger."""
        self.query_one(Panes).go_to(self.query_one("#report-ledger", Pane))

    @work(exclusive=True, group="history", exit_on_error=False)
    async def action_history(self) -> None:
        """Choose the run whose report is shown."""
        records = await asyncio.to_thread(load_history)
        if not records:
            self.say("no run was ever made here: press 4")
            return
        choices = [(str(record.number), history_line(record)) for record in records]
        record = self._report.record
        chosen = await self.app.push_screen_wait(
            ChoiceDialog("runs", choices, chosen=str(record.number) if record else None)
        )
        if chosen is not None:
            self._chosen = int(chosen)
            self._load()

    @on(VirtualTable.RowSelected, "#ledger")
    def _entry_opened(self) -> None:
        entry = self.query_one(LedgerTable).entry
        if entry is not None:
            differences = self._report.ledger.differences if self._report.ledger else ()
            self.app.push_screen(EntryDialog(entry, differences))

    @on(VirtualTable.RowSelected, "#differences")
    def _difference_opened(self) -> None:
        found = self.query_one(DifferenceTable).difference
        if found is not None:
            self.app.push_screen(TextDialog("a row that differs", difference_text(found)))

    @on(VirtualTable.RowSelected, "#findings")
    def _finding_opened(self) -> None:
        finding = self.query_one(FindingTable).finding
        if finding is not None:
            self.app.push_screen(TextDialog("a finding", findings_copied([finding])))


def headline(report: Report) -> Content:
    """`✓ balanced: …`, `✗ 2 entries differ`, or why there is no verdict yet."""
    record, ledger = report.record, report.ledger
    if record is None:
        return Content.assemble(
            ("no run yet", "bold"),
            ("\nmake one on screen 4, then its proof is here", "$text-muted"),
        )
    where = f"run {record.number}  {record.source} ─▶ {record.target}  {_times(record)}"
    if ledger is None:
        reason = f"\n{one_line(record.error)}" if record.error else ""
        return Content.assemble(
            (f"… not validated yet: the run is {record.state}", "bold $text-warning"),
            ("\n" + one_line(where), "$text-muted"),
            (reason, "$text-error"),
        )
    differing = sum(not entry.balanced for entry in ledger.entries)
    total = counted(len(ledger.entries), "entry", "entries")
    if differing:
        words = counted(differing, "entry differs", "entries differ")
        verdict = (f"✗ {words} of {total}", "$text-error")
    else:
        verdict = (f"✓ balanced: every row of {total} is accounted for", "$text-success")
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ledger.taken))
    fence = f"\ncounted {taken}, at snapshot {one_line(ledger.fence)}"
    return Content.assemble(
        (verdict[0], f"bold {verdict[1]}"),
        ("\n" + one_line(where), "$text-muted"),
        (fence, "$text-muted"),
    )


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
    return f"run {record.number:<4} {begun}  {state:<18} {moved}"
