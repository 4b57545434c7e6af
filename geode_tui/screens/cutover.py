"""The cutover as a cockpit: gates, countdown, steps, who is blocked, and one key to abort."""

from __future__ import annotations

import time

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from geode_tui.migration.replication.sight import MOVING, STILL, ReplicationSight
from geode_tui.screens.cutover_keys import CHECK, CutoverKeys
from geode_tui.screens.replication import key_line
from geode_tui.widgets.countdown import Countdown
from geode_tui.widgets.cutover_text import (
    clock_of,
    cutover_head,
    rehearsals_content,
)
from geode_tui.widgets.gate_table import GateTable, gate_detail
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.session_table import SessionTable
from geode_tui.widgets.step_list import StepList
from geode_tui.widgets.virtual_table import VirtualTable

_TICK_SECONDS = 0.1


class CutoverScreen(CutoverKeys):
    """From the source to the graph, of the newest run that captures changes."""

    MODE = "cutover"
    WHEN_EMPTY, WHEN_GOING = "#cutover-empty", "#gate-table"
    HELP = """
# Cutover

The hour in which writes stop at the source and go on at the graph. Nothing moves before every gate
is passed.

- **o** sets how long writes may stand, how they are stopped, and which commands are run.
- **r** checks the gates. **w** waives the gate under the cursor, for a reason that is journaled.
- **R** rehearses: all but the flip. Writes stand for as long as they will, then they go on.
- **enter** starts. The name of the database must be typed.
- **esc** aborts, at any moment before the flip, and leaves everything as it was. It does not ask.
- In the watch window after the flip, **K** keeps the graph as the master, **F** falls back:
  what was written to the graph is written to the source, and writes go on there.
- **h** looks at another run, **tab** goes around the panes, **y** copies, **c** copies the
  command that does the same.

The panes:

- The **large digits** say how long writes may still stand. At zero they go on by themselves,
  whatever has become of this program.
- **gates**: `✓` passed, `!` to be waived, `✗` not passed, `○` waived; *age* says how old the
  evidence is. Below the list is what is known of the one under the cursor.
- **what happens next**: each step is journaled before it is done, with how it is undone.
- **blocked sessions**: who waits for the freeze, and for whom the freeze waits.
- **rehearsals**: how long writes stood in those that passed.
"""
    CSS = """
    CutoverScreen {
        #cutover-head { height: auto; max-height: 5; padding: 0 1; text-wrap: nowrap;
            text-overflow: ellipsis; }
        #cutover-empty { height: 1fr; padding: 1 2; display: none; }
        #cutover-going { height: 1fr; }
        #countdown-box { height: 6; border: round $foreground 25%; }
        #cutover-above { height: 3fr; }
        #cutover-gates { width: 3fr; }
        #cutover-steps { width: 2fr; }
        #gate-detail { height: auto; max-height: 6; padding: 0 1;
            border-top: solid $foreground 25%; }
        #cutover-below { height: 8; }
        #cutover-blocked { width: 3fr; }
        #cutover-rehearsals { width: 2fr; }
        #cutover-rehearsals VerticalScroll { padding: 0 1; }
        #rehearsals-text { height: auto; }
        &.-moving #countdown-box { height: 30%; min-height: 13; border: heavy $primary; }
        &.-frozen #countdown-box { border: heavy $warning; }
        &.-moving #cutover-below { height: 7; }
        &.-narrow {
            #countdown-box { display: none; border: none; }
            &.-moving #countdown-box { display: block; height: 7; min-height: 0; }
            #cutover-above, #cutover-below { height: auto; }
            #cutover-above.-holds-shown, #cutover-below.-holds-shown { height: 1fr; }
            Pane.-shown { width: 1fr; height: 1fr; }
            FooterKey.-command-palette { display: none; }
        }
        &.-short {
            #cutover-head { max-height: 2; }
            &.-moving #countdown-box { height: 4; min-height: 0; }
            #gate-detail { display: none; }
        }
        &.-empty {
            #cutover-going { display: none; }
            #cutover-empty { display: block; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def compose_body(self) -> ComposeResult:
        """The state, the countdown, gates, steps, sessions, rehearsals; or what to do first."""
        with VerticalScroll(id="cutover-empty"):
            yield Static(id="cutover-empty-text", markup=False)
        with Vertical(id="cutover-going"):
            yield Static(id="cutover-head", markup=False)
            with Vertical(id="countdown-box"):
                yield Countdown(id="countdown")
            with Panes(id="cutover-panes"):
                with Horizontal(id="cutover-above"):
                    with Pane("gates", id="cutover-gates"):
                        yield GateTable(id="gate-table")
                        yield Static(id="gate-detail", markup=False)
                    with Pane("what happens next", id="cutover-steps", brief="steps"):
                        yield StepList()
                with Horizontal(id="cutover-below"):
                    with Pane("blocked sessions", id="cutover-blocked", brief="blocked"):
                        yield SessionTable(id="session-table")
                    with Pane("rehearsals", id="cutover-rehearsals"), VerticalScroll():
                        yield Static(id="rehearsals-text", markup=False)

    def on_mount(self) -> None:
        """Count down smoothly between two looks."""
        super().on_mount()
        self.set_interval(_TICK_SECONDS, self._count_down)

    def nothing_words(self) -> Content:
        """What comes before a cutover."""
        parts = [("no run captures changes yet\n\n", "bold")]
        parts += key_line("7", "how to get one, and how far it is")
        words = "a cutover needs a graph that follows its source until the moment it takes over\n"
        return Content.assemble(*parts, ("\n" + words, "$text-muted"))

    def show_nothing(self, content: Content) -> None:
        """Show what to do first."""
        self.update("#cutover-empty-text", content)

    def show_sight(self, sight: ReplicationSight) -> None:
        """Show the cutover as it was told last."""
        now, cutover = time.time(), sight.cutover
        state = cutover.state if cutover is not None else None
        moving = state in MOVING and not (sight.left_open and state in STILL)
        begun = moving or self.workspace.cutting not in ("", CHECK)
        if begun and not self._begun:  # from here on the steps are what matters
            self.query_one(Panes).go_to(self.query_one("#cutover-steps", Pane))
        self._begun = begun
        self.set_class(moving, "-moving")
        self.set_class(moving and state in STILL, "-frozen")
        self.update("#cutover-head", cutover_head(sight, now, self.workspace.cutting))
        self.query_one(Countdown).show(clock_of(sight, now))
        gates = cutover.gates if cutover is not None else ()
        self.query_one(GateTable).show_gates(gates, now)
        self._show_gate()
        self.query_one(StepList).show(cutover.steps if cutover is not None else (), now)
        blocked = cutover.blocked if cutover is not None and moving and state in STILL else ()
        self.query_one(SessionTable).show_sessions(blocked, now)
        self.update("#rehearsals-text", rehearsals_content(cutover))
        self._set_titles(sight)
        self.tell_abort()
        self.keys_are_of(state, self.under_way, self.workspace.cutting, gates)

    def _set_titles(self, sight: ReplicationSight) -> None:
        cutover = sight.cutover
        gates = cutover.gates if cutover is not None else ()
        passed = sum(gate.passed for gate in gates)
        title = f"gates {passed} of {len(gates)} passed" if gates else "gates"
        self.query_one("#cutover-gates", Pane).set_title(title, "gates")
        count = self.query_one(SessionTable).row_count
        number = f" {count}" if count else ""
        pane = self.query_one("#cutover-blocked", Pane)
        pane.set_title(f"blocked sessions{number}", f"blocked{number}")

    def _count_down(self) -> None:
        """Between two looks only the digits change."""
        sight = self.sight
        if self.is_current and sight is not None and sight.cut_driven:
            self.query_one(Countdown).show(clock_of(sight, time.time()))

    @property
    def gate_table(self) -> GateTable:
        """The gates, with the one that is looked at."""
        return self.query_one(GateTable)

    @on(VirtualTable.RowHighlighted, "#gate-table")
    def _highlighted(self) -> None:
        self._show_gate()
        self.refresh_bindings()

    def _show_gate(self) -> None:
        self.update("#gate-detail", gate_detail(self.gate_table.gate, time.time()))

    def copied(self) -> str:
        """The steps or the line under the cursor when they have the focus, else the state."""
        if isinstance(self.focused, StepList):
            return self.focused.plain
        gate = self.gate_table.gate
        if self.focused is self.gate_table and gate is not None:
            return gate_detail(gate, time.time()).plain
        if isinstance(self.focused, VirtualTable):
            return super().copied()
        sight = self.sight
        return cutover_head(sight, time.time()).plain if sight is not None else ""

    def action_back(self) -> None:
        """Back to the gates."""
        panes = self.query_one(Panes)
        panes.go_to(panes.panes[0])
