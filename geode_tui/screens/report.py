"""The report: the balance sheet of a run first, then the evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import DescendantFocus
from textual.widget import Widget
from textual.widgets import Input, Static

from geode_tui.mapping.assess import Finding
from geode_tui.migration.watch import ShownRun
from geode_tui.screens.dialogs import ChoiceDialog, TextDialog
from geode_tui.screens.report_actions import ReportActions
from geode_tui.screens.report_panes import ChecksPane, DetailPane, FindingsPane, LedgerPane
from geode_tui.screens.report_reading import (
    Report,
    headline,
    history_line,
    load_history,
    load_report,
)
from geode_tui.validation.ledger import Ledger
from geode_tui.widgets.check_detail import CheckDetail, Query
from geode_tui.widgets.check_model import Branch, entry_matches, matching
from geode_tui.widgets.check_text import Detail, copied_text, detail_of, entry_text, shown_sql
from geode_tui.widgets.check_tree import CheckTree, Place
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.finding_table import FindingTable
from geode_tui.widgets.finding_text import finding_text, findings_copied
from geode_tui.widgets.ledger_table import LedgerTable, equation
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_CALM = 0.15
"""Seconds without a key before the filter looks at everything."""


class ReportScreen(ReportActions):
    """The verdict, the balance sheet, all checks with what differs, and what was found before."""

    MODE = "report"
    HELP = LedgerPane.HELP
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "h",
            "history",
            "history",
            show=False,
            id="report.history",
            tooltip="An earlier run's report",
        ),
        Binding(
            "slash",
            "filter",
            "filter",
            show=False,
            key_display="/",
            id="report.filter",
            tooltip="Show only what has all words that you type",
        ),
        Binding("tab", "pane(1)", "next pane", show=False, id="report.next", tooltip="Next pane"),
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
        #report-head {
            height: auto;
            max-height: 4;
            padding: 0 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #report-doing { height: 1; padding: 0 1; display: none; text-overflow: ellipsis; }
        #report-doing.-doing { display: block; }
        #report-ledger { height: 2fr; min-height: 9; }
        #report-middle { height: 4fr; }
        #report-checks, #report-detail { width: 1fr; }
        #report-findings { height: 4; }
        #report-findings:focus-within { height: 10; }
        &.-narrow {
            #report-middle { height: auto; }
            #report-middle.-holds-shown { height: 1fr; }
            Pane.-shown { height: 1fr; }
            #report-head { max-height: 3; }
        }
        &.-short #report-head { max-height: 2; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._chosen: int | None = None
        self._shown_run: ShownRun | None = None
        self._drawn: Report | None = None
        self._text = ""
        self._entities: dict[str, Place] = {}
        self._looked_at: Widget | None = None
        self._told = ""

    def compose_body(self) -> ComposeResult:
        """The verdict, the filter, the ledger, the checks with the detail, the findings."""
        yield Static(id="report-head", markup=False)
        yield Static(id="report-doing", markup=False)
        yield FilterInput("checks", placeholder="/ filter by entity, key, cause, state")
        with Panes(id="report-panes"):
            yield LedgerPane("ledger", id="report-ledger")
            with Horizontal(id="report-middle"):
                yield ChecksPane("checks", id="report-checks")
                yield DetailPane("detail", id="report-detail")
            yield FindingsPane("findings", id="report-findings")

    def on_mount(self) -> None:
        """Start on the ledger, and follow a run to its end."""
        super().on_mount()
        self._looked_at = self.query_one(LedgerTable)
        self._looked_at.focus()
        self.set_interval(0.5, self._follow)

    # Reading.

    def refresh_view(self) -> None:
        """Show the run that the run screen shows, else the newest of the journal."""
        self._load()

    def reload(self) -> None:
        """Read the report anew."""
        self._load()

    def show_item(self, item: str) -> None:
        """Show the run of that number."""
        if item.isdecimal():
            self.stay_with(int(item))
            self._load()

    def stay_with(self, number: int) -> None:
        """Keep showing the report of that run, whatever run of this sitting is begun."""
        self._shown_run, self._chosen = self.workspace.shown_run, number

    def _follow(self) -> None:
        """Tell how far a run of this screen is; look again when that of the sitting has ended."""
        self.look_after_run()
        if not self.is_current:
            return
        self._show_doing()
        record = self.report.record
        stale = self.workspace.shown_run is not self._shown_run
        if stale or (record is not None and record.state == "running"):
            self._load()

    def _show_doing(self) -> None:
        told = one_line(f"▶ {self.doing.words} · s on screen 4 stops it") if self.doing else ""
        if told != self._told:
            self._told = told
            line = self.query_one("#report-doing", Static)
            line.update(Content.styled(told, "$text-primary"))
            line.set_class(bool(told), "-doing")

    @work(exclusive=True, group="report", exit_on_error=False)
    async def _load(self) -> None:
        shown = self.workspace.shown_run
        if shown is not self._shown_run:
            self._chosen = None
        number = self._chosen
        if number is None and shown is not None:
            number = shown.run_number
        self._shown_run = shown
        self.show_report(await asyncio.to_thread(load_report, number, self.report))

    def show_report(self, report: Report) -> None:
        """Show a report."""
        self.report = report
        self.query_one("#report-head", Static).update(headline(report))
        if report is self._drawn:
            return
        self._drawn = report
        self._entities = _places(report.branches)
        self.query_one(FindingTable).show_findings(report.findings)
        found = sum(not finding.waived for finding in report.findings)
        self._title("findings", f"findings {found:,}" if found else "findings")
        self._show_checks()

    def _title(self, name: str, title: str, brief: str = "") -> None:
        self.query_one(f"#report-{name}", Pane).set_title(title, brief)

    # What is shown.

    @work(exclusive=True, group="checks", exit_on_error=False)
    async def _show_checks(self, calm: float = 0.0) -> None:
        """Show the ledger and the tree, or of them what has the words of the filter."""
        if calm:
            await asyncio.sleep(calm)
        report, text = self.report, self._text.strip()
        ledger = report.ledger or Ledger(())
        entries = [entry for entry in ledger.entries if not text or entry_matches(entry, text)]
        shown = await asyncio.to_thread(matching, report.branches, text) if text else None
        self.query_one(LedgerTable).show_entries(entries)
        self.query_one(CheckTree).show_branches(report.branches, shown)
        total = len(ledger.entries)
        of = f"{len(entries):,} of " if text else ""
        title = f"ledger {of}{total:,}" if total else "ledger"
        self._title("ledger", f"{title} · h earlier runs", title)
        standing = sum(one.state in ("mismatched", "suspended") for one in ledger.differences)
        differ = f"checks · {standing:,} rows differ" if standing else "checks"
        self._title("checks", differ, f"checks {standing:,}" if standing else "checks")
        self._show_detail()
        self.refresh_bindings()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._text = event.value
        self._show_checks(_CALM)

    @on(VirtualTable.RowHighlighted)
    def _highlighted(self, event: VirtualTable.RowHighlighted) -> None:
        if event.table is self._looked_at:
            self._show_detail()
            self.refresh_bindings()

    @on(DescendantFocus)
    def _focused(self, event: DescendantFocus) -> None:
        tables = (LedgerTable, CheckTree, FindingTable)
        if isinstance(event.widget, tables) and event.widget is not self._looked_at:
            self._looked_at = event.widget
            self._show_detail()
        self.refresh_bindings()

    @on(CheckDetail.RoomChanged)
    def _room_changed(self) -> None:
        self._show_detail()

    @work(exclusive=True, group="detail", exit_on_error=False)
    async def _show_detail(self) -> None:
        """Show what is known of the line under the cursor."""
        shown = self.query_one(CheckDetail)
        place, finding = self.place, self._finding
        if place is not None:
            detail = await asyncio.to_thread(_prepared, place, shown.room)
        elif finding is not None:
            detail = Detail("finding", finding_text([finding]), finding.sql)
        else:
            shown.show_detail(None)
            return
        shown.show_detail(detail)
        self._title("detail", f"detail · {detail.title}", "detail")

    @property
    def place(self) -> Place | None:
        """What is under the cursor of the ledger or of the tree, whichever had the focus last."""
        table = self._looked_at
        if isinstance(table, LedgerTable):
            return self._entities.get(table.entry.id) if table.entry else None
        return table.place if isinstance(table, CheckTree) else None

    @property
    def shown_branches(self) -> Sequence[Branch]:
        """The tree of checks, as far as the filter shows it."""
        return self.query_one(CheckTree).shown

    @property
    def filtered(self) -> bool:
        """Whether a filter hides some of the tree."""
        return self.query_one(CheckTree).filtered

    @property
    def _finding(self) -> Finding | None:
        table = self._looked_at
        return table.finding if isinstance(table, FindingTable) else None

    # What a person does.

    def copied(self) -> str:
        """The query, the row, the entry or the finding that has the focus, in words."""
        focused = self.focused
        if isinstance(focused, Query):
            return focused.statement
        if isinstance(focused, LedgerTable) and focused.entry:
            return entry_text(focused.entry, equation(focused.entry))
        if self._finding is not None:
            return findings_copied([self._finding])
        return copied_text(self.place) if self.place is not None else super().copied()

    def action_pane(self, steps: int) -> None:
        """Go to the next part of the detail, or to another pane."""
        parts = [self.query_one(CheckDetail), *self.query(Query)]
        parts = [part for part in parts if part.display]
        at = next((n for n, part in enumerate(parts) if part is self.focused), None)
        if at is not None and 0 <= at + steps < len(parts):
            parts[at + steps].focus()
        else:
            self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """From the detail to the checks, from there to everything, then to the ledger."""
        if isinstance(self.focused, CheckDetail | Query):
            self._go_to("checks")
        elif self._text:
            self.query_one(FilterInput).value = ""
        else:
            self._go_to("ledger")

    def _go_to(self, name: str) -> None:
        self.query_one(Panes).go_to(self.query_one(f"#report-{name}", Pane))

    @work(exclusive=True, group="history", exit_on_error=False)
    async def action_history(self) -> None:
        """Choose the run whose report is shown."""
        records = await asyncio.to_thread(load_history)
        if not records:
            self.say("no run was ever made here: press 4")
            return
        choices = [(str(record.number), history_line(record)) for record in records]
        record = self.report.record
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
            self._go_to("checks")
            self.query_one(CheckTree).go_to(("rows", entry.id))

    @on(VirtualTable.RowSelected, "#checks")
    def _check_opened(self) -> None:
        self._go_to("detail")

    @on(VirtualTable.RowSelected, "#findings")
    def _finding_opened(self) -> None:
        finding = self.query_one(FindingTable).finding
        if finding is not None:
            self.app.push_screen(TextDialog("a finding", findings_copied([finding])))


def _prepared(place: Place, width: int) -> Detail:
    """What is known of a place, with the statement laid out: both take their time."""
    detail = detail_of(place, width)
    if detail.sql:
        shown_sql(detail.sql)
    return detail


def _places(branches: Sequence[Branch]) -> dict[str, Place]:
    """Where each entity is in the tree."""
    return {
        entity.entry.id: Place((branch, entity))
        for branch in branches
        if branch.path == ("rows",)
        for entity in branch.branches
        if entity.entry is not None
    }
