"""A cutover in words: its state, its countdown, its rehearsals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from textual.content import Content

from geode_tui.migration.replication.cutovers import percentile
from geode_tui.migration.replication.sight import MOVING, STILL, ReplicationSight
from geode_tui.migration.replication.state import CutoverSnapshot, CutoverState, Gate
from geode_tui.widgets.countdown import Clock, clock_text
from geode_tui.widgets.figures import counted, span
from geode_tui.widgets.sync_text import seconds_text
from geode_tui.widgets.text import one_line

CUTOVER_STATES: dict[CutoverState, tuple[str, str, str]] = {
    "gates": ("…", "before the cutover", "$text-muted"),
    "freezing": ("▶", "stopping writes", "$text-warning"),
    "frozen": ("▶", "writes stand", "$text-warning"),
    "flipped": ("▶", "flipped", "$text-success"),
    "watching": ("▶", "watch window", "$text-primary"),
    "kept": ("✓", "kept: the graph is the master", "$text-success"),
    "aborted": ("↺", "aborted: everything is as it was", "$text-warning"),
    "rehearsed": ("✓", "rehearsal passed", "$text-success"),
    "falling back": ("◀", "falling back", "$text-warning"),
    "fallen back": ("↺", "fallen back: the source is the master", "$text-warning"),
    "failed": ("✗", "failed", "$text-error"),
}
_LEFT_OPEN = ("! left open", "$text-warning")
_SILENT = 2.0
"""A cutover tells of itself several times a second."""
_BAR = 20
_BLOCKS = "▁▂▃▄▅▆▇█"
_Part = tuple[str, str]


def cutover_mark(sight: ReplicationSight) -> tuple[str, str]:
    """The state for the line of all screens: a word only while something moves or is wrong."""
    if sight.cutover is None:
        return "", ""
    if sight.left_open:
        return _LEFT_OPEN
    glyph, words, colour = CUTOVER_STATES[sight.cutover.state]
    if sight.cutover.state in (*MOVING, "failed"):
        return f"{glyph} {words}", colour
    return glyph, colour


def cutover_head(sight: ReplicationSight, now: float, doing: str = "") -> Content:
    """Where it stands, what that means, and what a person must know.

    `doing` is what this sitting has begun and nothing tells of yet.
    """
    cutover = sight.cutover
    moved = f"{sight.record.source} ─▶ {sight.record.place}"
    text, colour = "… no cutover yet", "$text-muted"
    kind = ""
    if doing and (cutover is None or cutover.state not in MOVING):
        text, colour = f"▶ {doing}", "$text-primary"
    elif cutover is not None:
        glyph, words, colour = CUTOVER_STATES[cutover.state]
        text = f"{glyph} {words}"
        if sight.left_open and cutover.state in STILL:
            text, colour = _LEFT_OPEN
        kind = " · rehearsal" if cutover.rehearsal and cutover.state != "rehearsed" else ""
        kind += f" · {cutover.method}" if cutover.method else ""
    parts: list[_Part] = [(text, f"bold {colour}"), (f"   run {sight.run}", "bold")]
    parts.append((one_line(f"{kind} · {moved}"), "$text-muted"))
    for words, style in _remarks(sight, now):
        parts.append((f"\n{words}", style))
    return Content.assemble(*parts)


def _remarks(sight: ReplicationSight, now: float) -> Iterator[_Part]:
    cutover = sight.cutover
    if cutover is None:
        yield "nothing moves before every gate was checked: r checks them", "$text-muted"
        return
    if sight.left_open:
        yield _left_open(cutover), "bold $text-warning"
    silence = sight.cutover_silence(now)
    if silence is not None and silence >= _SILENT:
        words = f"! no word for {span(silence)} from the process that drives it"
        yield f"{words}: a freeze ends with it", "bold $text-warning"
    if cutover.error:
        yield f"✗ {one_line(cutover.error)}", "$text-error"
        if cutover.next_step:
            yield f"next  {one_line(cutover.next_step)}", ""
    if cutover.state == "kept":
        yield "the graph is live; F still falls back", "$text-muted"
    elif cutover.state not in MOVING:
        yield gates_verdict(cutover.gates)


def _left_open(cutover: CutoverSnapshot) -> str:
    """What to do where the process that cut over is gone."""
    if cutover.state in STILL:
        return "! its process is gone: writes go on by themselves; r takes back what is left"
    if cutover.state == "falling back":
        return "! its process is gone: F goes on falling back"
    return "! nobody watches: K keeps the graph, F falls back"


def gates_verdict(gates: Sequence[Gate]) -> _Part:
    """Whether it may start."""
    if not gates:
        return "the gates are not checked yet: r checks them", "$text-muted"
    closed = [gate for gate in gates if not gate.passed]
    if closed and not shut(gates):
        return "! all but the lag: enter starts, and waits until it is low", "bold $text-warning"
    if closed:
        share = f"{len(closed)} of {counted(len(gates), 'gate')}"
        return f"nothing moves: {share} not passed", "bold $text-error"
    waived = sum(bool(gate.reason) for gate in gates)
    more = f", {waived} of them waived" if waived else ""
    words = f"✓ all {counted(len(gates), 'gate')} passed{more}: enter starts, R rehearses"
    return words, "bold $text-success"


def shut(gates: Sequence[Gate]) -> list[Gate]:
    """The gates that keep a cutover from starting; for the lag it waits by itself."""
    return [gate for gate in gates if not gate.passed and gate.name != "lag"]


def clock_of(sight: ReplicationSight, now: float) -> Clock:
    """What the countdown shows."""
    cutover = sight.cutover
    if cutover is None:
        return Clock("", "no cutover yet")
    if sight.left_open and cutover.state in STILL:
        most = seconds_text(cutover.budget_seconds)
        words = f"its process is gone: writes went on by themselves, after {most} at most"
        return Clock("", words, "$text-warning")
    budget, stood = cutover.budget_seconds, stood_seconds(cutover, now)
    most = f"at most {seconds_text(budget)}"
    if cutover.frozen_at is not None and cutover.released_at is None and _moves(cutover):
        left = budget - (stood or 0.0)
        digits = clock_text(left)
        since = f"writes stand for {seconds_text(stood or 0.0)}, {most}"
        if left <= 0:
            words = f"{since}: the freeze is being released"
            return Clock(digits, words, "bold $text-error")
        colour = "$text-error" if left < budget / 4 else "$text-warning"
        return Clock(digits, f"{since}, then they go on by themselves", f"bold {colour}")
    if cutover.state == "freezing":
        waits = counted(len(cutover.blocked), "session")
        words = f"waits for {waits} to let go" if cutover.blocked else "stopping writes"
        return Clock(clock_text(budget), f"{words}; then writes stand {most}", "$text-warning")
    if cutover.state == "watching":
        return _watching(cutover, now, stood)
    if stood is not None:
        words = f"writes stood for {seconds_text(stood)}, {most} were allowed"
        colour = "$text-success" if cutover.state != "failed" else "$text-error"
        return Clock(clock_text(stood), words, colour)
    words = f"writes go on; a freeze lasts {most}, then it ends by itself"
    return Clock(clock_text(budget), words)


def _moves(cutover: CutoverSnapshot) -> bool:
    return cutover.state in MOVING


def _watching(cutover: CutoverSnapshot, now: float, stood: float | None) -> Clock:
    told = f" · writes stood for {seconds_text(stood)}" if stood is not None else ""
    if cutover.watch_until is None:
        return Clock("", f"watch window: F falls back, K keeps{told}", "$text-primary")
    left = cutover.watch_until - now
    until = time.strftime("%H:%M:%S", time.localtime(cutover.watch_until))
    if left <= 0:
        return Clock(clock_text(0), f"the watch window ended at {until}{told}", "$text-warning")
    words = f"watch window until {until}: F falls back, K keeps{told}"
    return Clock(clock_text(left), words, "bold $text-primary")


def stood_seconds(cutover: CutoverSnapshot, now: float) -> float | None:
    """How long writes have stood, None where they never did."""
    if cutover.frozen_at is None:
        return None
    return max(0.0, (cutover.released_at or now) - cutover.frozen_at)


def rehearsals_content(cutover: CutoverSnapshot | None) -> Content:
    """How long writes stood in rehearsals, beside the budget."""
    if cutover is None or not cutover.rehearsals:
        words = "none passed yet\n\nR does all but the flip, and tells how long writes stand"
        return Content.styled(words, "$text-muted")
    values, budget = cutover.rehearsals, cutover.budget_seconds
    shown = [
        ("p50", percentile(values, 0.50) or 0.0),
        ("p95", percentile(values, 0.95) or 0.0),
        ("longest", max(values)),
    ]
    parts: list[_Part] = []
    for name, seconds in shown:
        style = "$text-success" if not budget or seconds <= budget else "$text-error"
        parts += [(f"{name:<8}", "$text-muted"), (f"{seconds_text(seconds):>8} ", f"bold {style}")]
        parts += [(_bar(seconds, budget), style), ("\n", "")]
    parts += [("budget  ", "$text-muted"), (f"{seconds_text(budget):>8} ", "bold")]
    parts += [("█" * _BAR, "$text-muted"), ("\n", "")]
    last = values[-_BAR:]
    top = max(max(last), 0.001)
    marks = "".join(_BLOCKS[min(7, int(value / top * 7.99))] for value in last)
    parts += [(f"{counted(len(values), 'rehearsal'):<17} ", "$text-muted"), (marks, "$primary")]
    return Content.assemble(*parts)


def _bar(seconds: float, budget: float) -> str:
    if budget <= 0:
        return ""
    return "█" * min(_BAR, max(1, round(seconds / budget * _BAR)))
