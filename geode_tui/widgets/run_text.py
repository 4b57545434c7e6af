"""A run in words: its phases with reasons, its totals, its workers, its pace, its log."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual.content import Content

from geode_tui.migration.events import Event, PhaseProgress, PhaseState, RunSnapshot
from geode_tui.widgets.entity_table import brief
from geode_tui.widgets.figures import expected, percent, rate, rows, size, span
from geode_tui.widgets.status_line import run_share
from geode_tui.widgets.text import one_line

SILENT_SECONDS = 5.0
"""A run that goes tells of itself each second; after so long its silence is worth a word."""
_PHASES: dict[PhaseState, tuple[str, str]] = {
    "waiting": ("…", "$text-muted"),
    "running": ("▶", "$text-primary"),
    "done": ("✓", "$text-success"),
    "failed": ("✗", "$text-error"),
    "stopped": ("■", "$text-warning"),
}
_LEVELS = {"info": " ", "warning": "!", "error": "✗"}
_Part = tuple[str, str]


def phases_text(snapshot: RunSnapshot, note: str = "", silence: float | None = None) -> Content:
    """`run 7  ✓ assess ─ ▶ backfill 62 % ─ … verify`; below it, why it is slow, and what broke.

    `note` says where the run is shown from; `silence` is for how long nothing was heard of it.
    """
    parts: list[_Part] = [(f"run {snapshot.run}  ", "bold")] if snapshot.run else []
    for number, phase in enumerate(snapshot.phases):
        glyph, style = _PHASES[phase.state]
        parts.append((" ─ " if number else "", "$text-muted"))
        parts.append((f"{glyph} {phase.name}{_phase_detail(phase, snapshot)}", style))
    if note:
        parts.append((f"\n{one_line(note)}", "$text-muted"))
    for text, style in _remarks(snapshot, silence):
        parts.append((f"\n{text}", style))
    return Content.assemble(*parts)


def _phase_detail(phase: PhaseProgress, snapshot: RunSnapshot) -> str:
    if phase.state == "waiting":
        return ""
    if phase.state != "running":
        known = phase.started is not None and phase.ended is not None
        return f" {span((phase.ended or 0) - (phase.started or 0))}" if known else f" {phase.state}"
    share = run_share(snapshot) if phase.name == "backfill" else None
    return f" {percent(min(share, 0.99))}" if share is not None else " running"


def _remarks(snapshot: RunSnapshot, silence: float | None) -> list[_Part]:
    """The lines below the phases, what matters most first."""
    found: list[_Part] = []
    if silence is not None and silence >= SILENT_SECONDS:
        words = f"! no word for {span(silence)} from the process that drives it"
        found.append((words, "bold $text-warning"))
    if snapshot.pace:
        found.append((f"! {one_line(snapshot.pace)}", "$text-warning"))
    if snapshot.error:
        found.append((f"✗ {one_line(snapshot.error)}", "$text-error"))
    reasons = [
        f"{phase.name}: {one_line(phase.reason)}"
        for phase in snapshot.phases
        if phase.reason and phase.reason not in snapshot.error
    ]
    if reasons:
        found.append((" · ".join(reasons), "$text-muted"))
    return found


def totals_text(snapshot: RunSnapshot) -> Content:
    """`rows 1,234 of ±2.0 M · 38.7 k/s now, 41.0 k/s average · 1.2 GiB · elapsed 1:02`."""
    sizes = [entity.rows_estimated for entity in snapshot.entities]
    exact = all(entity.estimate_exact for entity in snapshot.entities)
    total = None if None in sizes else sum(size or 0 for size in sizes)
    of = "" if snapshot.state in ("done", "differs") else f" of {expected(total, exact)}"
    read = sum(entity.bytes for entity in snapshot.entities)
    wave = snapshot.wave if snapshot.state == "running" else ""
    parts: list[_Part] = [
        (f"wave {one_line(wave)} · " if wave else "", "$text-muted"),
        ("rows ", "$text-muted"),
        (rows(snapshot.rows_written), "bold"),
        (of, ""),
        *_speed(snapshot),
        (f" · {size(read)} read" if read else "", ""),
        (" · elapsed ", "$text-muted"),
        (span(snapshot.elapsed), ""),
    ]
    if snapshot.snapshot_age is not None:
        parts += [(" · snapshot ", "$text-muted"), (span(snapshot.snapshot_age), "")]
    return Content.assemble(*parts)


def _speed(snapshot: RunSnapshot) -> list[_Part]:
    """The rate of now beside that of the whole run; the latter alone once the run is over."""
    average: list[_Part] = []
    if snapshot.average_rate:
        average = [(rate(snapshot.average_rate), "bold"), (" average", "$text-muted")]
    if snapshot.state == "running":
        now: list[_Part] = [(rate(snapshot.rate), "bold"), (" now", "$text-muted")]
        parts = [*now, (", ", "$text-muted"), *average] if average else now
    else:
        parts = average
    return [(" · ", "$text-muted"), *parts] if parts else []


def workers_text(snapshot: RunSnapshot) -> Content:
    """What each worker does or waits for, a line each."""
    parts: list[_Part] = []
    for line in sorted(snapshot.workers):
        name, _, doing = one_line(brief(line)).partition(": ")
        waits = doing.startswith(("waits", "idle"))
        glyph, style = ("…", "$text-muted") if waits else ("▶", "$text-primary")
        parts += [(f"{name} ", "bold"), (f"{glyph} ", style), (f"{doing}\n", "")]
    return Content.assemble(*parts) if parts else Content.styled("none at work", "$text-muted")


def pace_text(snapshot: RunSnapshot) -> Content:
    """The live settings, and what the source says of its load."""
    parts: list[_Part] = []
    facts = (*snapshot.knobs, *snapshot.source_load)
    width = max((len(name) for name, _ in facts), default=0)
    for name, text in facts:
        parts += [(f"{one_line(name):<{width}} ", "$text-muted"), (f"{one_line(text)}\n", "")]
    return Content.assemble(*parts) if parts else Content.styled("not begun", "$text-muted")


def log_line(event: Event) -> str:
    """`14:02:01 ! message`."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{clock} {_LEVELS.get(event.level, ' ')} {one_line(event.message)}"


def log_lines(events: Sequence[Event], last_day: str) -> tuple[list[str], str]:
    """The lines of a log, with a line where a new day begins; and the day of the last one."""
    lines: list[str] = []
    for event in events:
        day = time.strftime("%Y-%m-%d", time.localtime(event.at))
        if day != last_day:
            lines.append(f"── {day} ──")
            last_day = day
        lines.append(log_line(event))
    return lines, last_day
