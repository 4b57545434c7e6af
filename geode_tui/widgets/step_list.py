"""The steps of a cutover: what was done, what is being done, and what happens next."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from geode_tui.migration.replication.state import CutoverStep, StepState
from geode_tui.widgets.sync_text import seconds_text
from geode_tui.widgets.text import one_line

_MARKS: dict[StepState, tuple[str, str]] = {
    "waiting": ("…", "$text-muted"),
    "running": ("▶", "bold $text-primary"),
    "done": ("✓", "$text-success"),
    "failed": ("✗", "bold $text-error"),
    "undone": ("↺", "$text-warning"),
    "skipped": ("–", "$text-muted"),
}
_UNTOLD = "the steps are told when it is rehearsed or started"
_INDENT = "    "


class StepList(VerticalScroll):
    """The steps in their order; `plain` is all of them to copy."""

    DEFAULT_CSS = """
    StepList { padding: 0 1; & Static { height: auto; } }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plain = ""
        self._shown = Content("")
        self._followed: int | None = None

    def compose(self) -> ComposeResult:
        """One text, as long as it needs to be."""
        yield Static(Content.styled(_UNTOLD, "$text-muted"), markup=False)

    def show(self, steps: Sequence[CutoverStep], now: float) -> None:
        """Show these steps."""
        content = steps_content(steps, now)
        if not content.is_same(self._shown):
            self._shown, self.plain = content, content.plain if steps else ""
            self.query_one(Static).update(content)
        self._follow(steps)

    def _follow(self, steps: Sequence[CutoverStep]) -> None:
        """Keep the step that is being done in view."""
        running = next((n for n, step in enumerate(steps) if step.state == "running"), None)
        if running is not None and running != self._followed:
            above = steps_content(steps[:running], 0.0).plain.count("\n")
            self.scroll_to(y=max(0, above - self.size.height // 2), animate=False)
        self._followed = running


def steps_content(steps: Sequence[CutoverStep], now: float) -> Content:
    """A step a line, with how long it took; what it did and how it goes back below it."""
    if not steps:
        return Content.styled(_UNTOLD, "$text-muted")
    parts: list[tuple[str, str]] = []
    for step in steps:
        mark, style = _MARKS[step.state]
        begin = "\n" if parts else ""
        parts.append((f"{begin}{mark} {step.number} {one_line(step.title)}", style))
        parts.append((_took(step, now), "$text-muted"))
        if step.detail:
            parts.append((f"\n{_INDENT}{one_line(step.detail)}", ""))
        if step.undo and step.state in ("running", "done", "failed"):
            parts.append((f"\n{_INDENT}undo: {one_line(step.undo)}", "$text-muted"))
    return Content.assemble(*parts)


def _took(step: CutoverStep, now: float) -> str:
    if step.started is None:
        return ""
    if step.ended is None:
        return f"  {seconds_text(max(0.0, now - step.started))} …" if now else ""
    return f"  {seconds_text(max(0.0, step.ended - step.started))}"
