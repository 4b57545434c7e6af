"""Every run there was: reopened, resumed, rolled back, two of them compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.run_list import RunLine, RunList, RunSums, matches
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.resume import resume_question
from geode_tui.screens.rollback import Rollback
from geode_tui.screens.run_comparison import ComparisonDialog, read_comparison
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.run_table import RunTable, run_facts_content
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import VirtualTable

_FRESH_SECONDS = 2.0
_AT_ONCE = 50
"""So many runs are summed up at a time, those in front first."""
_NOTHING = "no run yet\n\npress 4 to make one: every run is kept here, with its log and its ledger"


class HistoryScreen(Rollback):
    """All runs of the journal, and what is known of the one under the cursor."""

    MODE = "history"
    HELP = """
# History

Every run of this machine's journal, the newest first, whoever made it.

- **enter** opens a run as it was: phases, entities, throughput, log. One that goes in another
  process is shown as it goes, and can be steered.
- **r** goes on with a run that stopped. **R** rolls one back: to a checkpoint, or to before it.
  The target's name must be typed; a rollback that is interrupted goes on with **R** again.
- **m** marks a run; **m** on another one compares the two.
- **v** shows the ledger, **d** the dead letters.
- **/** keeps the runs with all the words that you type, in number, state, kind, source or target.
- **tab** goes to what is known of the run: what was asked for, who began it, its checkpoints.
- **y** copies the line, **c** the command that prints the whole run.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "resume", "resume", id="history.resume", tooltip="Go on with this run"),
        Binding(
            "R",
            "roll_back",
            "roll back",
            id="history.rollback",
            tooltip="Take back what this run wrote, to a checkpoint or all of it",
        ),
        Binding(
            "m",
            "mark",
            "mark/compare",
            id="history.mark",
            tooltip="Mark this run, or compare it with the marked one",
        ),
        Binding("v", "ledger", "ledger", id="history.ledger", tooltip="The ledger of this run"),
        Binding(
            "d",
            "dead_letters",
            "dead letters",
            show=False,
            id="history.dead",
            tooltip="Rows that were refused",
        ),
        Binding("tab", "pane(1)", "next pane", show=False, id="history.next", tooltip="Next pane"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="history.previous",
            tooltip="Previous pane",
        ),
    ]
    CSS = """
    HistoryScreen {
        #pane-runs { height: 1fr; }
        #pane-run { height: 11; }
        #pane-run VerticalScroll { padding: 0 1; }
        #run-facts { height: auto; }
        #history-doing { height: auto; max-height: 2; padding: 0 1; display: none; }
        #history-doing.-doing { display: block; }
        &.-narrow Pane.-shown { height: 1fr; }
        &.-short #pane-run { display: none; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._list = RunList()
        self._all: Sequence[RunLine] = ()
        self._lines: Sequence[RunLine] = ()
        self._sums: dict[int, RunSums] = {}
        self._text = ""
        self._marked: int | None = None
        self._goal: int | None = None
        self._error: GeodeTuiError | None = None
        self._shown: object = None

    def compose_body(self) -> ComposeResult:
        """What is being done, the filter, the list, and the run under the cursor."""
        yield Static(id="history-doing", markup=False)
        yield FilterInput("runs", placeholder="/ filter by number, state, kind, source, target")
        with Panes():
            with Pane("runs", id="pane-runs"):
                yield RunTable(id="runs")
            with Pane("the run", id="pane-run", brief="run"), VerticalScroll():
                yield Static(id="run-facts", markup=False)

    def on_mount(self) -> None:
        """Start on the list, and keep it fresh."""
        super().on_mount()
        self.query_one(RunTable).focus()
        self.set_interval(_FRESH_SECONDS, self._refresh)

    def refresh_view(self) -> None:
        """Read the journal anew."""
        self._read()

    def show_item(self, item: str) -> None:
        """Put the cursor on the run of that number."""
        if item.isdecimal():
            self._goal = int(item)
            self._show()

    def _refresh(self) -> None:
        busy = any(worker.group == "history" and worker.is_running for worker in self.workers)
        if self.is_current and not busy:
            self._read()

    @work(exclusive=True, group="history", exit_on_error=False)
    async def _read(self) -> None:
        """All runs at once, then what they moved, those in front first."""
        try:
            self._all = await asyncio.to_thread(self._list.lines)
            self._error = None
            self._show()
            some = sorted(self._lines, key=self._distance)
            for begin in range(0, len(some), _AT_ONCE):
                lines = some[begin : begin + _AT_ONCE]
                self._sums |= await asyncio.to_thread(self._list.sums, lines)
                self._show()
        except GeodeTuiError as error:
            self._error = error
            self._show()

    def _distance(self, line: RunLine) -> int:
        under = self.line
        return abs(line.number - under.number) if under else -line.number

    @property
    def line(self) -> RunLine | None:
        """The run under the cursor."""
        return self.query_one(RunTable).line

    def _show(self) -> None:
        """Show what is known; only what changed is drawn again."""
        lines = [line for line in self._all if matches(line, self._text)]
        going = any(line.state in ("running", "rolling back") for line in lines)
        now = time.time() if going else 0.0
        shown = (lines, dict(self._sums), self._marked, int(now))
        table = self.query_one(RunTable)
        table.set_empty(self._empty())
        if shown != self._shown:
            before = self.line
            self._shown = shown
            self._lines = lines
            table.show_lines(lines, self._sums, self._marked, now)
            title = f"runs {len(lines):,}" if lines else "runs"
            marked = f" · run {self._marked} is marked, m on another compares"
            self.query_one("#pane-runs", Pane).set_title(
                title + (marked if self._marked is not None else ""), title
            )
            if self.line != before:
                self._show_facts()
            self.refresh_bindings()
        if self._goal is not None and lines:
            table.go_to(self._goal)
            self._goal = None

    def _empty(self) -> str:
        if self._error is not None:
            return f"✗ {self._error.what}\n{self._error.why}\n{self._error.next_step}"
        return "no run has these words" if self._all else _NOTHING

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._text = event.value
        self._show()

    @on(VirtualTable.RowHighlighted, "#runs")
    def _highlighted(self) -> None:
        self.refresh_bindings()
        self._show_facts()

    @work(exclusive=True, group="facts", exit_on_error=False)
    async def _show_facts(self) -> None:
        line = self.line
        if line is None:
            self.query_one("#run-facts", Static).update(Content(""))
            return
        facts = await asyncio.to_thread(self._list.facts, line.number)
        self.query_one("#pane-run", Pane).set_title(f"run {line.number}", "run")
        self.query_one("#run-facts", Static).update(run_facts_content(facts))

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the run under the cursor allows."""
        if action not in ("open", "resume", "roll_back", "mark", "ledger", "dead_letters"):
            return super().check_action(action, parameters)
        if isinstance(self.focused, Input):
            return False
        line = self.line
        if line is None:
            return False
        own = self.workspace.runner
        own_goes = own is not None and not own.finished
        if action == "resume":
            return line.resumable and not own_goes
        if action == "roll_back":
            return line.reversible and not self.rolling_back
        if action == "ledger":
            return line.has_ledger and not line.resumable
        return True

    def copied(self) -> str:
        """The line under the cursor, or what is known of the run."""
        if isinstance(self.focused, RunTable):
            return super().copied()
        shown = self.query_one("#run-facts", Static).content
        return shown.plain if isinstance(shown, Content) else ""

    def action_copy_command(self) -> None:
        """Copy the command that prints the run under the cursor, or all."""
        line = self.line
        command = f"geode-tui runs show {line.number}" if line else "geode-tui runs"
        self.app.copy_to_clipboard(command)
        self.say(f"copied: {command}")

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """Back to the list; there, forget the mark."""
        panes = self.query_one(Panes)
        if not isinstance(self.focused, RunTable):
            panes.go_to(panes.panes[0])
        elif self._marked is not None:
            self._marked = None
            self._show()

    @on(VirtualTable.RowSelected, "#runs")
    def _selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        """Open the run under the cursor on the run screen."""
        if self.line is not None:
            self.app.show_in("run", str(self.line.number))

    def action_ledger(self) -> None:
        """Show the ledger of the run under the cursor."""
        if self.line is not None:
            self.app.show_in("report", str(self.line.number))

    def action_dead_letters(self) -> None:
        """List the rows that the run under the cursor could not write."""
        if self.line is not None:
            self.app.push_screen(DeadLettersScreen(self.line.number, mode=self.MODE))

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        line = self.line
        if line is None or not line.resumable:
            self.say("only a run that stopped can go on")
            return
        record = await resume_question(self, line.number)
        if record is not None:
            self.workspace.resume_run(record)
            self.app.show_in("run")

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_mark(self) -> None:
        """Mark the run under the cursor, or compare it with the marked one."""
        line = self.line
        if line is None:
            return
        marked, self._marked = self._marked, None
        if marked is None:
            self._marked = line.number
        elif marked != line.number:
            first, second = sorted((marked, line.number))
            comparison = await asyncio.to_thread(read_comparison, first, second)
            self.app.push_screen(ComparisonDialog(comparison))
        self._show()

    @work(exclusive=True, group="question", exit_on_error=False)
    async def action_roll_back(self) -> None:
        """Take back what the run under the cursor wrote, when a person says so twice."""
        line = self.line
        if line is None or not line.reversible:
            self.say("this run has nothing that can be rolled back")
            return
        await self.roll_back(line.number)

    def show_doing(self, text: str) -> None:
        """Show what is being done to a run, empty when nothing is."""
        doing = self.query_one("#history-doing", Static)
        doing.update(Content.styled(f"▶ {one_line(text)} …", "$text-primary"))
        doing.set_class(bool(text), "-doing")
        self.refresh_bindings()
        self._read()
