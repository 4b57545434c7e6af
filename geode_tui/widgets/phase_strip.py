"""The second line: the five screens with the state of each, and where one stands."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from geode_tui.migration.events import RunState
from geode_tui.migration.workspace import Workspace

MODES = ("connect", "schema", "mapping", "run", "report")
_TITLES = ("Connect", "Schema", "Map", "Run", "Report")
_RUN_MARKS: dict[RunState, tuple[str, str]] = {
    "new": ("…", "$text-muted"),
    "running": ("▶", "$text-accent"),
    "stopped": ("■ stopped", "$text-warning"),
    "failed": ("✗ failed", "$text-error"),
    "done": ("✓", "$text-success"),
    "differs": ("✓", "$text-success"),
}


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """The state of a phase: glyph with word, and the colour of both."""

    text: str
    colour: str


_WAITING = PhaseMark("…", "$text-muted")
_DONE = PhaseMark("✓", "$text-success")


def phase_marks(workspace: Workspace) -> tuple[PhaseMark, ...]:
    """The state of connect, schema, mapping, run and report."""
    connected = _DONE if workspace.source else _WAITING
    schema = _DONE if workspace.catalog else _WAITING
    mapping = _WAITING
    if workspace.history:
        mapping = _DONE if workspace.saved else PhaseMark("! unsaved", "$text-warning")
    run = report = _WAITING
    if workspace.runner:
        run = PhaseMark(*_RUN_MARKS[workspace.runner.snapshot().state])
        ledger = workspace.runner.ledger
        if ledger:
            report = _DONE if ledger.balanced else PhaseMark("✗ differs", "$text-error")
    return connected, schema, mapping, run, report


class PhaseStrip(Widget):
    """`1 Connect ✓ ─ 2 Schema ✓ ─ 3 Map ! unsaved ─ 4 Run … ─ 5 Report …`; a click goes there."""

    DEFAULT_CSS = """
    PhaseStrip { height: 1; background: $surface; color: $foreground; padding: 0 1; }
    """

    marks: reactive[tuple[PhaseMark, ...]] = reactive((_WAITING,) * 5)
    """The states, in the order of the screens."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def show(self, workspace: Workspace) -> None:
        """Show the state of a workspace."""
        self.marks = phase_marks(workspace)

    def render(self) -> Content:
        """The phases, that of this screen lit."""
        parts: list[Content] = []
        for number, (mode, title, mark) in enumerate(
            zip(MODES, _TITLES, self.marks, strict=True), 1
        ):
            lit = "bold reverse" if mode == self._mode else ""
            name = Content.assemble((f"{number} {title}", lit), " ", (mark.text, mark.colour))
            parts.append(name.stylize(Style.from_meta({"@click": f"app.mode('{mode}')"})))
        return Content.assemble((" ─ ", "$text-muted")).join(parts)
