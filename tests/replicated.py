"""Runs with change capture in the journal, told through its real rooms: for screens that look."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.state import (
    Alarm,
    BlockedSession,
    CutoverSnapshot,
    CutoverStep,
    Gate,
    Moment,
    SyncEntity,
    SyncSnapshot,
    Way,
)
from tests.journaled import BALANCED, journal_run

MIB = 1024.0**2
HOSTILE_NAME = "[/foo] \"quoted\" 'it' 日本 🙂 " + "x" * 28
"""63 bytes or so of what a name may hold."""

ENTITIES = (
    SyncEntity("User", "node", 1_204, 12, 0, 0, 0),
    SyncEntity("Order", "node", 48_112, 340, 2, 0, 21),
    SyncEntity("Payment", "node", 47_020, 0, 0, 0, 10),
    SyncEntity("(Order)-[PLACED_BY]->(User)", "relationship", 48_110, 352, 0, 1, 0),
)


def captured_run(
    journal: Journal,
    *,
    way: Way = "slot",
    name: str = "geode_7",
    source: str = "shop@db1",
    target: str = "shop.grafeo",
    label: str = "",
) -> int:
    """A run that was moved and whose source is captured; returns its number."""
    number = journal_run(journal, ledger=BALANCED, source=source, target=target, label=label)
    journal.captures.begin(number, way, name, {})
    journal.captures.set_started(number, "0/15D2F8")
    return number


def told_sync(journal: Journal, run: int, **fields: object) -> SyncSnapshot:
    """Tell how synchronization stands; `fields` say what is special about it."""
    now = time.time()
    usual = SyncSnapshot(
        run,
        "in step",
        "slot",
        "geode_7",
        fence="802:802:",
        fence_at=now - 0.8,
        lag_seconds=0.42,
        lag_bytes=12_700,
        backlog=31,
        captured=144_477,
        applied=144_446,
        captured_rate=1_204.0,
        applied_rate=1_199.0,
        retained_bytes=round(14.2 * MIB),
        budget_bytes=round(1024 * MIB),
        seconds_to_full=273_600.0,
        oldest_transaction_seconds=2.0,
        oldest_transaction="pid 4411, cron",
        spool_bytes=1_258_291,
        entities=ENTITIES,
        told_at=now,
    )
    snapshot = replace(usual, **fields)  # type: ignore[arg-type]
    journal.captures.tell_sync(snapshot)
    return snapshot


def mark_ten_minutes(journal: Journal, run: int, *, seconds: int = 600, every: int = 5) -> None:
    """Ten minutes of a stream: a burst that the graph was behind with, and then caught up."""
    now = time.time()
    backlog = 0.0
    with journal.store.write():
        for second in range(seconds, 0, -every):
            place = seconds - second
            burst = 2_400 * math.exp(-(((place - 260) / 60) ** 2))
            captured = 700 + 180 * math.sin(place / 17) + burst
            applied = min(1_500.0, captured + backlog / every)
            backlog = max(0.0, backlog + (captured - applied) * every)
            moment = Moment(
                now - second,
                0.4 + backlog / 1_500,
                captured,
                applied,
                round(backlog),
                round((12 + backlog / 4_000) * MIB),
            )
            journal.captures.mark(run, moment)


GATES = (
    ("backfill", "backfill complete", "all 3 entities, 10,000 rows", 7_400.0),
    ("dead letters", "dead letters 0", "0 open", 0.0),
    ("validated", "validated at a recent fence", "balanced at 802:802:, nothing stale", 240.0),
    ("lag", "lag", "0.42 s, wants less than 0.50 s", 0.0),
    ("slot", "slot healthy", "geode_7: 14.2 MiB of 1.0 GiB", 0.0),
    ("drift", "no drift", "12 tables as they were", 1.0),
    ("transactions", "no long transaction", "the oldest is 0:02 old", 0.0),
    ("constraints", "constraints present", "7 of 7", 30.0),
    ("rehearsal", "rehearsal passed", "20, p95 1.41 s", 3_600.0),
)
STEPS = (
    ("freeze", "block writes on 12 tables", "drop the triggers"),
    ("token", "send a token and wait for it", ""),
    ("check", "check 3 stale ranges", ""),
    ("flip", "flip, then call on-flip.sh", "flip back"),
    ("watch", "watch for 15 minutes", "fall back"),
)
REHEARSALS = (
    *(0.71, 0.83, 0.78, 0.92, 1.41, 0.80, 0.76, 0.82, 0.88, 0.79),
    *(0.81, 0.84, 1.12, 0.77, 0.82, 0.80, 0.95, 0.79, 0.81, 0.83),
)
BLOCKED = (
    BlockedSession(4411, "cron", "nightly report", 0.0, "idle in transaction", "SELECT * FROM t"),
    BlockedSession(5120, "app", HOSTILE_NAME, 0.0, "waits for us", f'UPDATE "{HOSTILE_NAME}"'),
)


def gates(*changed: Gate) -> tuple[Gate, ...]:
    """All gates, green; those of the same names as `changed` are as given there."""
    now = time.time()
    usual = [
        Gate(name, title, "green", evidence, now - age) for name, title, evidence, age in GATES
    ]
    others = {gate.name: gate for gate in changed}
    return tuple(others.get(gate.name, gate) for gate in usual)


def steps(done: int, running: bool = True) -> tuple[CutoverStep, ...]:
    """The steps, so many of them done and the next one running."""
    now = time.time()
    found = []
    for number, (name, title, undo) in enumerate(STEPS, 1):
        started = now - 1.4 + 0.4 * number
        if number <= done:
            step = CutoverStep(number, name, title, "done", started, started + 0.3, undo, "")
        elif number == done + 1 and running:
            step = CutoverStep(number, name, title, "running", started, None, undo, "0/15D2F8")
        else:
            step = CutoverStep(number, name, title, "waiting", undo=undo)
        found.append(step)
    return tuple(found)


def told_cutover(journal: Journal, run: int, **fields: object) -> CutoverSnapshot:
    """Tell how a cutover stands; `fields` say what is special about it."""
    usual = CutoverSnapshot(
        run,
        "gates",
        False,
        "lock",
        gates(),
        steps(0, running=False),
        budget_seconds=5.0,
        rehearsals=REHEARSALS,
        told_at=time.time(),
    )
    snapshot = replace(usual, **fields)  # type: ignore[arg-type]
    journal.captures.tell_cutover(snapshot)
    return snapshot


def blocked(seconds: float = 3.0) -> Sequence[BlockedSession]:
    """Two sessions that stand in the way, since so many seconds."""
    since = time.time() - seconds
    return tuple(replace(session, since=since - n) for n, session in enumerate(BLOCKED))


def alarm(what: str = "the slot geode_7 is lost", severity: str = "error") -> Alarm:
    """An alarm with a next step."""
    step = "validate and repair, then begin capture anew"
    return Alarm("lost", time.time() - 74, what, step, severity)  # type: ignore[arg-type]
