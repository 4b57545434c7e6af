"""The second line: the screens with the state of each, and where one stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from geode_tui.migration.events import RunState
from geode_tui.migration.replication.sight import ReplicationSight
from geode_tui.migration.workspace import Workspace
from geode_tui.widgets.cutover_text import cutover_mark
from geode_tui.widgets.run_states import RUN_STATES, run_state_text
from geode_tui.widgets.sync_text import all_alarms, mark_of

MODES = ("connect", "schema", "mapping", "run", "report", "history", "sync", "cutover")
_TITLES = ("Connect", "Schema", "Map", "Run", "Report", "History", "Sync", "Cutover")
_BETWEEN, _TIGHT, _TIGHTEST = " ─ ", "  ", " "


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """The state of a phase: glyph with word, and the colour of both."""

    text: str
    colour: str

    @property
    def brief(self) -> PhaseMark:
        """The glyph alone, for where there is no room."""
        return PhaseMark(self.text[:1], self.colour)


_WAITING = PhaseMark("…", "$text-muted")
_DONE = PhaseMark("✓", "$text-success")
_DIFFERS = PhaseMark("✗ differs", "$text-error")
_NOTHING = PhaseMark("", "")


def phase_marks(workspace: Workspace) -> tuple[PhaseMark, ...]:
    """The state of each screen, in the order of the screens."""
    connected = _DONE if workspace.source else _WAITING
    schema = _DONE if workspace.catalog else _WAITING
    mapping = _WAITING
    if workspace.history:
        mapping = _DONE if workspace.saved else PhaseMark("! unsaved", "$text-warning")
    run = workspace.foremost_run
    state = run.snapshot().state if run else "new"
    sight = workspace.replication.sight
    return (
        connected,
        schema,
        mapping,
        _run_mark(state),
        _report_mark(workspace, state),
        _NOTHING,
        _sync_mark(sight),
        _cutover_mark(sight),
    )


def _run_mark(state: RunState) -> PhaseMark:
    if state in ("done", "differs"):
        return _DONE  # that it differs is for the report to say
    glyph, colour = RUN_STATES[state]
    return PhaseMark(glyph if state in ("new", "running") else run_state_text(state), colour)


def _report_mark(workspace: Workspace, state: RunState) -> PhaseMark:
    if workspace.foremost_run is not workspace.runner:
        return {"done": _DONE, "differs": _DIFFERS}.get(state, _WAITING)
    ledger = workspace.runner.ledger if workspace.runner else None
    if ledger is None:
        return _WAITING
    return _DONE if ledger.balanced else _DIFFERS


def _sync_mark(sight: ReplicationSight | None) -> PhaseMark:
    if sight is None:
        return _NOTHING
    text, colour = mark_of(sight)
    if any(alarm.severity == "error" for alarm in all_alarms(sight)):
        return PhaseMark("✗ alarm", "$text-error")
    return PhaseMark(text if text[0] in "✗!" else text[:1], colour)


def _cutover_mark(sight: ReplicationSight | None) -> PhaseMark:
    return _NOTHING if sight is None else PhaseMark(*cutover_mark(sight))


class PhaseStrip(Widget):
    """`1 Connect ✓ ─ 2 Schema ✓ ─ 3 Map ! unsaved ─ 4 Run … ─ …`; a click goes there."""

    DEFAULT_CSS = """
    PhaseStrip { height: 1; background: $surface; color: $foreground; padding: 0 1; }
    """

    marks: reactive[tuple[PhaseMark, ...]] = reactive((_WAITING,) * 5 + (_NOTHING,) * 3)
    """The states, in the order of the screens."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def show(self, workspace: Workspace) -> None:
        """Show the state of a workspace."""
        self.marks = phase_marks(workspace)

    def render(self) -> Content:
        """The phases, that of this screen lit; without the words where they do not fit."""
        brief = [mark.brief for mark in self.marks]
        line = self._line(self.marks, _BETWEEN)
        for between, gap in ((_BETWEEN, " "), (_TIGHT, " "), (_TIGHTEST, " "), (_TIGHTEST, "")):
            if line.cell_length <= self.content_size.width:
                break
            line = self._line(brief, between, gap)
        return line

    def _line(self, marks: Sequence[PhaseMark], between: str, gap: str = " ") -> Content:
        parts: list[Content] = []
        for number, (mode, title, mark) in enumerate(zip(MODES, _TITLES, marks, strict=True), 1):
            lit = "bold reverse" if mode == self._mode else ""
            name = Content.assemble((f"{number} {title}", lit))
            if mark.text:
                name = Content.assemble(name, gap, (mark.text, mark.colour))
            parts.append(name.stylize(Style.from_meta({"@click": f"app.mode('{mode}')"})))
        return Content.assemble((between, "$text-muted")).join(parts)
