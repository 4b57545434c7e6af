"""Synchronization in words: where it stands, why, and what is asked of a person."""

from __future__ import annotations

import time
from collections.abc import Iterator

from textual.content import Content

from geode_tui.migration.replication.follow import LOST
from geode_tui.migration.replication.sight import AT_REST, ReplicationSight
from geode_tui.migration.replication.state import Alarm, SyncSnapshot, SyncState
from geode_tui.widgets.figure_flow import Figure
from geode_tui.widgets.figures import counted, rate, size, span
from geode_tui.widgets.run_text import SILENT_SECONDS
from geode_tui.widgets.text import one_line, short_count

SYNC_STATES: dict[SyncState, tuple[str, str]] = {
    "starting": ("▶", "$text-primary"),
    "catching up": ("▶", "$text-primary"),
    "in step": ("✓", "$text-success"),
    "waiting": ("…", "$text-warning"),
    "paused": ("!", "$text-warning"),
    "stopped": ("■", "$text-warning"),
    "failed": ("✗", "$text-error"),
}
_LAG_WARNS, _LAG_ALARMS = 5.0, 30.0
_SHARE_WARNS, _SHARE_ALARMS = 0.5, 0.8
_SOON, _FAR = 3_600.0, 365 * 86_400.0
_LONG_TRANSACTION = 300.0
_Part = tuple[str, str]
_GONE = "stopped: its process ended without a word"


def seconds_text(seconds: float) -> str:
    """A span with tenths while they count: `0.42 s`, `8.1 s`, `0:41`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def mark_of(sight: ReplicationSight) -> tuple[str, str]:
    """State with its glyph, and its colour."""
    if sight.lost:
        return "✗ capture lost", "$text-error"
    if sight.capture.state == "cut over":
        return "✓ cut over", "$text-success"
    if sight.capture.state == "torn down":
        return "■ torn down", "$text-muted"
    sync = sight.sync
    if sight.cut_driven:
        return "▶ led on by the cutover", "$text-primary"
    if sync is None:
        if sight.capture.state == "setting up":
            return "▶ capture is being set up", "$text-primary"
        if sight.driven:
            return "▶ rows are copied, changes are kept meanwhile", "$text-primary"
        return "■ not synchronized yet", "$text-warning"
    if ended_silently(sight):
        return f"■ {_GONE}", "$text-warning"
    glyph, colour = SYNC_STATES[sync.state]
    return f"{glyph} {sync.state}", colour


def ended_silently(sight: ReplicationSight) -> bool:
    """Whether the last word was of a synchronization that goes, and no process drives it."""
    sync = sight.sync
    return sync is not None and sync.state not in AT_REST and not sight.driven


def sync_head(sight: ReplicationSight, now: float) -> Content:
    """Where it stands, what the graph is, and why it is no better."""
    text, colour = mark_of(sight)
    way, name = sight.capture.way, sight.capture.name
    through = f"slot {name}" if way == "slot" else f"outbox {name}"
    moved = f"{sight.record.source} ─▶ {sight.record.place}"
    parts: list[_Part] = [(text, f"bold {colour}"), (f"   run {sight.run}", "bold")]
    parts.append((one_line(f" · {through} · {moved}"), "$text-muted"))
    parts += _fence_line(sight, now)
    for words, style in _remarks(sight, now):
        parts.append((f"\n{words}", style))
    return Content.assemble(*parts)


def _fence_line(sight: ReplicationSight, now: float) -> list[_Part]:
    sync, capture = sight.sync, sight.capture
    fence, at = capture.fence, capture.fence_at
    if sync is not None and sync.fence_at is not None:
        fence, at = sync.fence, sync.fence_at
    if at is None:
        return [("\nthe graph has not caught up once yet", "$text-muted")]
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    return [
        ("\nthe graph is the source as of ", "$text-muted"),
        (clock, "bold"),
        (f", {seconds_text(max(0.0, now - at))} ago", ""),
        (f" · fence {one_line(fence)}", "$text-muted"),
    ]


def _remarks(sight: ReplicationSight, now: float) -> Iterator[_Part]:
    """What a person must know, the gravest first."""
    sync = sight.sync
    if sight.lost:
        yield (
            "✗ changes were missed: r makes the capture anew and compares everything once",
            "$text-error",
        )
    silence = sight.sync_silence(now)
    if sync is not None and silence is not None and silence >= SILENT_SECONDS:
        told = time.strftime("%H:%M:%S", time.localtime(sync.told_at))
        words = f"! no word for {span(silence)}: the figures are those of {told}"
        yield words, "bold $text-warning"
    if sight.knobs.paused and sync is not None and sync.state not in (*AT_REST, "paused"):
        yield f"! a pause is asked for by {one_line(sight.knobs.who)}", "$text-warning"
    if sync is not None and sync.reason:
        style = "$text-error" if sync.state == "failed" else "$text-muted"
        yield one_line(sync.reason), style


def is_old(sight: ReplicationSight, now: float) -> bool:
    """Whether the figures are not those of now."""
    silence = sight.sync_silence(now)
    if sight.sync is None or silence is None:
        return True
    return silence >= SILENT_SECONDS or not sight.driven


def figures_of(sync: SyncSnapshot) -> list[Figure]:
    """The figures of a stream, those that alarm in their colour."""
    captured, applied = short_count(sync.captured), short_count(sync.applied)
    return [
        _lag(sync),
        Figure("backlog", counted(sync.backlog, "change")),
        Figure("spool", size(sync.spool_bytes), "on our disk"),
        Figure("captured", rate(sync.captured_rate), f"{captured} in all"),
        Figure("applied", rate(sync.applied_rate), f"{applied} in all"),
        Figure("oldest open", *_oldest(sync)),
        Figure("source keeps", *_kept(sync)),
        Figure("full in", *_to_full(sync)),
    ]


def _lag(sync: SyncSnapshot) -> Figure:
    behind = f"{size(sync.lag_bytes)} behind" if sync.lag_bytes is not None else ""
    if sync.lag_seconds is None:
        return Figure("lag", "–", behind)
    colour = _grade(sync.lag_seconds, _LAG_WARNS, _LAG_ALARMS)
    return Figure("lag", seconds_text(sync.lag_seconds), behind, colour)


def _kept(sync: SyncSnapshot) -> tuple[str, str, str]:
    if sync.retained_bytes is None:
        return "–", "", ""
    value, budget = size(sync.retained_bytes), sync.budget_bytes
    if not budget:
        return value, "no limit", ""
    share = sync.retained_bytes / budget
    return value, f"of {size(budget)}", _grade(share, _SHARE_WARNS, _SHARE_ALARMS)


def _to_full(sync: SyncSnapshot) -> tuple[str, str, str]:
    seconds = sync.seconds_to_full
    if seconds is None:
        return "–", "it does not grow" if sync.retained_bytes is not None else "", ""
    if seconds > _FAR:
        return "over a year", "at this rate", ""
    return span(seconds), "at this rate", "$text-error" if seconds < _SOON else ""


def _oldest(sync: SyncSnapshot) -> tuple[str, str, str]:
    seconds = sync.oldest_transaction_seconds
    if seconds is None:
        return "none", "", ""
    colour = "$text-warning" if seconds >= _LONG_TRANSACTION else ""
    return span(seconds), sync.oldest_transaction, colour


def _grade(number: float, warns: float, alarms: float) -> str:
    if number >= alarms:
        return "$text-error"
    return "$text-warning" if number >= warns else ""


def all_alarms(sight: ReplicationSight) -> tuple[Alarm, ...]:
    """The alarms that were told; those that follow from the capture's own state with them."""
    sync = sight.sync
    told = sync.alarms if sync is not None else ()
    if sight.lost and not any(alarm.severity == "error" for alarm in told):
        since = sync.told_at if sync is not None else sight.capture.made
        what = f"the {sight.capture.way} {sight.capture.name} is lost: changes were missed"
        step = "r makes it anew and compares everything once"
        return (Alarm(LOST, since, what, step, "error"), *told)
    return told
