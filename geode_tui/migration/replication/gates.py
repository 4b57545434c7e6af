"""The gates of a cutover: what must be so before writes of the source stand still.

Each is looked at anew, at the source, the graph and the journal; none believes what was told
before. What somebody waives stays told with the reason, and covers only what was known then.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from geode_tui.catalog import TableName
from geode_tui.errors import GeodeTuiError, UsageError
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.origins import changed_fields
from geode_tui.migration.postgres_origin import PostgresOrigin
from geode_tui.migration.replication.cutovers import Waiver
from geode_tui.migration.replication.state import Colour, Gate, SyncSnapshot
from geode_tui.source import freeze
from geode_tui.source.freeze import Session
from geode_tui.source.introspect import Connection
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Ledger

FRESH_SECONDS = 15 * 60.0
"""A validation older than this counts only where nothing was applied since."""
REHEARSED_SECONDS = 7 * 24 * 3600.0
"""So long a rehearsal counts."""
WAIVED_SECONDS = 3600.0
"""So long a waiver of what changes by itself (lag, transactions) counts."""
TOLD_SECONDS = 10.0
"""What synchronization told of itself longer ago says nothing of now."""
_FULL = 0.8
"""The share of the capture's budget from which on it is told."""
_FULL_SECONDS = 600.0

WAIVABLE = ("dead_letters", "lag", "drift", "transactions", "rehearsal")
_AMBER_ONLY = ("lag", "drift")
"""A lag that is too long makes the freeze as long; what the mapping does not fit is wrong."""
TITLES = {
    "backfill": "backfill done",
    "dead_letters": "no dead letters",
    "validated": "validated at a recent fence",
    "lag": "lag is low",
    "capture": "capture is healthy",
    "drift": "the source is as it was",
    "transactions": "no long transaction",
    "constraints": "constraints are in the graph",
    "rehearsal": "rehearsal passed",
}
"""The gates by name, in the order in which they are shown."""


class Replica(Protocol):
    """What gates and cutover ask of a replica (`replica.Replica` is one)."""

    @property
    def record(self) -> RunRecord:
        """The run."""
        ...

    @property
    def entities(self) -> Sequence[Entity]:
        """The entities of its mapping."""
        ...

    @property
    def target(self) -> Target:
        """The graph."""
        ...

    @property
    def origin(self) -> PostgresOrigin:
        """The source."""
        ...

    @property
    def tables(self) -> tuple[TableName, ...]:
        """The tables whose changes are captured."""
        ...

    async def health(self) -> SyncSnapshot:
        """How the stream stands now."""
        ...

    async def drift(self) -> list[str]:
        """What of the source is not as it was when the run began, in words."""
        ...


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What the gates go by: the budget of the freeze, and the lag that must hold for a while."""

    budget_seconds: float
    lag_seconds: float = 1.0
    calm_seconds: float = 60.0
    rehearsal: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look at one condition found."""

    colour: Colour
    evidence: str
    next_step: str = ""
    at: float | None = None


def check_waivers(waivers: Mapping[str, str]) -> None:
    """Raise UsageError where a gate cannot be waived, or no reason is given."""
    for name, reason in waivers.items():
        if name not in TITLES:
            raise UsageError(f"there is no gate {name}", "", f"gates are: {', '.join(TITLES)}")
        if name not in WAIVABLE:
            raise UsageError(
                f"gate {name} cannot be waived", "", f"those that can: {', '.join(WAIVABLE)}"
            )
        if not reason.strip():
            raise UsageError(f"no reason to waive gate {name}", "", f"--waive {name}=REASON")


async def look(
    journal: Journal, replica: Replica, watcher: Connection, limits: GateLimits
) -> tuple[Gate, ...]:
    """Look at every gate now. `watcher` is a session on the source. Raises GeodeTuiError."""
    run = replica.record.number
    health = await replica.health()
    found = {
        "backfill": _backfill(journal, run),
        "dead_letters": _dead_letters(journal, run),
        "validated": _validated(journal, replica.record),
        "lag": _lag(journal, health, limits),
        "capture": _capture(journal, health),
        "drift": await _drift(replica),
        "transactions": await _transactions(watcher, replica.tables, limits),
        "constraints": await _constraints(replica),
        "rehearsal": _rehearsal(journal, run, limits),
    }
    waivers = journal.cutovers.waivers(run)
    return tuple(
        _waived(_gate(name, found[name]), waivers.get(name), journal, run) for name in TITLES
    )


def shut(gates: Sequence[Gate]) -> list[Gate]:
    """The gates that nothing goes through."""
    return [gate for gate in gates if not gate.passed]


def unopened(journal: Journal, run: int, error: GeodeTuiError) -> Gate:
    """The gate that is shut where the run cannot even be opened: not moved, or it has drifted."""
    backfill = _backfill(journal, run)
    if backfill.colour != "green":
        return _gate("backfill", backfill)
    why = f"{error.what}: {error.why}" if error.why else error.what
    return _gate("drift", _Found("red", why, error.next_step or "undo it, or begin a new run"))


def new_letters(journal: Journal, run: int) -> Gate | None:
    """The gate of dead letters as it is now, where nothing goes through it; None where it does."""
    waiver = journal.cutovers.waivers(run).get("dead_letters")
    gate = _waived(_gate("dead_letters", _dead_letters(journal, run)), waiver, journal, run)
    return None if gate.passed else gate


def _gate(name: str, found: _Found) -> Gate:
    at = time.time() if found.at is None else found.at
    waivable = found.colour != "green" and name in WAIVABLE
    if name in _AMBER_ONLY:
        waivable = found.colour == "amber"
    gate = Gate(name, TITLES[name], found.colour, found.evidence, at, waivable)
    return replace(gate, next_step=found.next_step)


def _waived(gate: Gate, waiver: Waiver | None, journal: Journal, run: int) -> Gate:
    """The gate with its waiver, if there is one that covers what was found."""
    if waiver is None or not gate.waivable or not _covers(waiver, journal, run):
        return gate
    return replace(gate, waived_by=waiver.who, reason=waiver.reason)


def _covers(waiver: Waiver, journal: Journal, run: int) -> bool:
    """Whether what a waiver let pass is all that there is now."""
    if waiver.name == "dead_letters":
        newer = "SELECT 1 FROM dead_letter WHERE run = ? AND state = 'open' AND at > ? LIMIT 1"
        return journal.store.one(newer, run, waiver.at) is None
    lasts = REHEARSED_SECONDS if waiver.name == "rehearsal" else WAIVED_SECONDS
    return time.time() - waiver.at <= lasts


# -- one look each --------------------------------------------------------------------------------


def _backfill(journal: Journal, run: int) -> _Found:
    phases = {phase.name: phase for phase in journal.phases(run)}
    capture, phase = journal.captures.of(run), phases.get("backfill")
    resume = f"geode-tui resume {run}"
    if phase is None or phase.state != "done":
        state = phase.state if phase else "not begun"
        return _Found("red", f"the backfill is {state}", resume)
    open_ = [entity.id for entity in journal.chunks.entities(run) if entity.state != "done"]
    if open_:
        return _Found("red", f"not done: {', '.join(open_[:5])}", resume)
    if capture is None or capture.caught_up is None:
        return _Found("red", "changes since its snapshot were never applied to the last", resume)
    rows = sum(entity.rows for entity in journal.chunks.entities(run))
    return _Found("green", f"{rows:,} rows; caught up since", at=capture.caught_up)


def _dead_letters(journal: Journal, run: int) -> _Found:
    counts: dict[str, int] = {}
    for count in journal.dead_letters.counts(run):
        if count.state == "open":
            counts[count.entity] = counts.get(count.entity, 0) + count.letters
    if not counts:
        return _Found("green", "none is open")
    named = ", ".join(f"{n:,} of {entity}" for entity, n in list(counts.items())[:5])
    return _Found("red", f"{named} open", f"geode-tui deadletters list {run}")


def _validated(journal: Journal, record: RunRecord) -> _Found:
    capture = journal.captures.of(record.number)
    newest = _newest_ledger(journal, record)
    again = f"geode-tui sync {record.number} --validate"
    if newest is None:
        return _Found("red", "the graph was never validated", again)
    run, ledger = newest
    if not ledger.valid:
        wrong = sum(not entry.balanced for entry in ledger.entries)
        evidence = f"run {run}: {wrong} of {len(ledger.entries)} entries differ"
        heal = f"geode-tui sync {record.number} --heal --validate"
        return _Found("red", evidence, heal, ledger.taken)
    stale = capture.stale_since if capture else None
    if stale is None:
        return _Found("green", f"run {run}; nothing was applied since", at=ledger.taken)
    age = time.time() - ledger.taken
    if age > FRESH_SECONDS:
        evidence = f"run {run}, {age / 60:,.0f} minutes ago, and changes were applied since"
        return _Found("red", evidence, again, ledger.taken)
    return _Found("green", f"run {run}; what changed since is checked in the end", at=ledger.taken)


def _newest_ledger(journal: Journal, record: RunRecord) -> tuple[int, Ledger] | None:
    """The newest ledger of all that the run's mapping makes, of the same source and graph."""
    found: list[tuple[float, int, Ledger]] = []
    for one in journal.runs():
        same = one.number == record.number or (
            one.kind in ("validate", "repair")
            and one.graph_identity == record.graph_identity
            and one.source_identity == record.source_identity
            and one.mapping_hash == record.mapping_hash
        )
        ledger = journal.ledger(one.number) if same else None
        if ledger is not None:
            found.append((ledger.taken, one.number, ledger))
    if not found:
        return None
    _, number, ledger = max(found, key=lambda one: one[0])
    return number, ledger


def _lag(journal: Journal, health: SyncSnapshot, limits: GateLimits) -> _Found:
    wanted, stretch = limits.lag_seconds, limits.calm_seconds
    now, sync = time.time(), f"geode-tui sync {health.run}"
    if health.lag_seconds is None:
        return _Found("red", "nobody has measured it yet", sync)
    if health.lag_seconds >= wanted:
        evidence = f"{health.lag_seconds:.1f} s, wants less than {wanted:g} s"
        return _Found("red", evidence, f"wait until {sync} has caught up")
    moments = journal.captures.moments(health.run, now - stretch - TOLD_SECONDS)
    seen = now - moments[0].at if moments else 0.0
    recent = [one for one in moments if one.at >= now - stretch]
    worst = max((one.lag_seconds or 0.0 for one in recent), default=health.lag_seconds)
    if worst >= wanted:
        evidence = f"{health.lag_seconds:.1f} s now, {worst:.1f} s within the last {stretch:g} s"
        return _Found("amber", evidence, "wait, or waive it")
    gap = _longest_gap([*(one.at for one in moments), now])
    if seen < stretch or gap > TOLD_SECONDS:
        evidence = f"{health.lag_seconds:.1f} s, seen for {min(seen, stretch):.0f} of {stretch:g} s"
        return _Found("amber", evidence, "wait, or waive it")
    return _Found("green", f"{worst:.1f} s at most within the last {stretch:g} s")


def _longest_gap(moments: Sequence[float]) -> float:
    pairs = itertools.pairwise(moments)
    return max((later - earlier for earlier, later in pairs), default=0.0)


def _capture(journal: Journal, health: SyncSnapshot) -> _Found:
    capture = journal.captures.of(health.run)
    if capture is None:
        why = "the run captures no changes"
        return _Found("red", why, "begin one with: geode-tui migrate --strategy zero-downtime")
    if capture.state != "active":
        return _Found(
            "red", f"{capture.way} {capture.name} is {capture.state}", _renew(capture.run)
        )
    errors = [alarm for alarm in health.alarms if alarm.severity == "error"]
    if errors or health.state in ("waiting", "failed"):
        what = errors[0].what if errors else (health.reason or f"it is {health.state}")
        return _Found("red", what, errors[0].next_step if errors else _renew(capture.run))
    used = _share(health.retained_bytes, health.budget_bytes)
    if used >= 1:
        return _Found("red", "the source keeps more for it than its budget", _renew(capture.run))
    until_full = health.seconds_to_full
    if used >= _FULL or (until_full is not None and until_full < _FULL_SECONDS):
        soon = "" if until_full is None else f", full in {until_full:,.0f} s"
        evidence = f"{used:.0%} of its budget is used{soon}"
        return _Found("red", evidence, f"let it catch up: geode-tui sync {capture.run} --once")
    return _Found("green", f"{capture.way} {capture.name}, backlog {health.backlog:,}")


def _renew(run: int) -> str:
    return f"geode-tui sync {run} tells what to do"


def _share(used: int | None, budget: int | None) -> float:
    return used / budget if used is not None and budget else 0.0


async def _drift(replica: Replica) -> _Found:
    """What is not as when the run began, whether the mapping fits it still or not."""
    found, fields = await replica.drift(), await replica.origin.fields()
    changed = [f for f in changed_fields(replica.record, fields) if not f.startswith("role:")]
    if found or any(field.startswith("database") for field in changed):
        told = [*found, *changed]
        more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
        return _Found("red", "; ".join(told[:3]) + more, "undo it, or begin a new run")
    if changed:
        more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
        evidence = f"the mapping fits it still: {'; '.join(changed[:3])}{more}"
        return _Found("amber", evidence, "undo it, or waive it")
    return _Found("green", "tables, triggers and publication are as they were")


async def _transactions(
    watcher: Connection, tables: Sequence[TableName], limits: GateLimits
) -> _Found:
    """Who would keep the freeze waiting for longer than its budget."""
    relations = await freeze.relations(watcher, tables)
    holders = await freeze.sessions_on(watcher, relations, granted=True)
    budget = limits.budget_seconds
    found = await freeze.long_transactions(watcher, budget, [one.pid for one in holders if one.pid])
    if not found:
        return _Found("green", f"none is older than the budget of {budget:g} s")
    named = ", ".join(f"{one.named}{_age(one)}" for one in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return _Found("red", f"{named}{more}", "wait until it has ended, or end it")


def _age(session: Session) -> str:
    return "" if session.since is None else f", open for {time.time() - session.since:,.0f} s"


async def _constraints(replica: Replica) -> _Found:
    shapes = [e.shape for e in replica.entities if isinstance(e.shape, NodeShape)]
    missing = await asyncio.to_thread(replica.target.missing, shapes)
    if not missing:
        return _Found("green", f"all of {len(shapes)} labels")
    more = f"; and {len(missing) - 2} more" if len(missing) > 2 else ""
    return _Found("red", "not there: " + "; ".join(missing[:2]) + more, "make them in the graph")


def _rehearsal(journal: Journal, run: int, limits: GateLimits) -> _Found:
    if limits.rehearsal:
        return _Found("green", "this is one")
    now = time.time()
    passed = journal.cutovers.rehearsals(run, now - REHEARSED_SECONDS)
    if not passed:
        return _Found("red", "none within 7 days", f"geode-tui cutover {run} --rehearse")
    newest, stood = passed[-1], passed[-1].stood or 0.0
    if stood > limits.budget_seconds:
        evidence = f"writes stood {stood:.1f} s, the budget is {limits.budget_seconds:g} s"
        return _Found("red", evidence, "give a larger --budget, or rehearse again", newest.ended)
    return _Found("green", f"writes stood {stood:.1f} s", at=newest.ended)
