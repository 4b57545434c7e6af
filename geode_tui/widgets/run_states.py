"""The states of a run in glyph, word and colour."""

from __future__ import annotations

from textual.content import Content

from geode_tui.migration.events import RunState

RUN_STATES: dict[RunState, tuple[str, str]] = {
    "new": ("…", "$text-muted"),
    "running": ("▶", "$text-accent"),
    "stopped": ("■", "$text-warning"),
    "failed": ("✗", "$text-error"),
    "done": ("✓", "$text-success"),
    "differs": ("✗", "$text-error"),
    "rolling back": ("◀", "$text-warning"),
    "rolled back": ("↺", "$text-muted"),
}


def run_state_text(state: RunState) -> str:
    """`✓ done`, `✗ differs`, `■ stopped`."""
    return f"{RUN_STATES[state][0]} {state}"


def run_state_content(state: RunState) -> Content:
    """The same in its colour."""
    return Content.styled(run_state_text(state), RUN_STATES[state][1])
