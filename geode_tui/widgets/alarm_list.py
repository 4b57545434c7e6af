"""Alarms of a stream: what, since when, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from geode_tui.migration.replication.state import Alarm
from geode_tui.widgets.figures import span
from geode_tui.widgets.text import one_line

_MARKS = {"error": ("✗", "bold $text-error"), "warning": ("!", "bold $text-warning")}


class AlarmList(VerticalScroll):
    """The alarms, the gravest first; `plain` is all of them to copy."""

    DEFAULT_CSS = """
    AlarmList { padding: 0 1; & Static { height: auto; } }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.plain = ""
        self._shown = Content("")

    def compose(self) -> ComposeResult:
        """One text, as long as it needs to be."""
        yield Static(Content.styled("none", "$text-muted"), markup=False)

    def show(self, alarms: Sequence[Alarm], now: float) -> None:
        """Show these alarms."""
        content = alarms_content(alarms, now)
        if not content.is_same(self._shown):
            self._shown, self.plain = content, content.plain if alarms else ""
            self.query_one(Static).update(content)


def alarms_content(alarms: Sequence[Alarm], now: float) -> Content:
    """`✗ slot x is lost, for 0:14` with the next step below it."""
    if not alarms:
        return Content.styled("✓ none", "$text-success")
    parts: list[tuple[str, str]] = []
    for alarm in sorted(alarms, key=lambda alarm: (alarm.severity != "error", alarm.since)):
        glyph, style = _MARKS[alarm.severity]
        parts += [("\n\n" if parts else "", ""), (f"{glyph} {one_line(alarm.what)}", style)]
        parts.append((f"  for {span(now - alarm.since)}", "$text-muted"))
        if alarm.next_step:
            parts += [("\nnext  ", "$text-muted"), (one_line(alarm.next_step), "")]
    return Content.assemble(*parts)
