"""Where a run stands, for `status` and `runs show`: the journal's truth and the engine's word.

The journal knows what is done, the engine tells about once a second what it is doing. While a run
goes, both are shown as one; nothing is shown that is not known any more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from geode_tui.commands.output import aligned, duration, visible
from geode_tui.migration.chunks import EntityRecord
from geode_tui.migration.events import EntityProgress, PhaseProgress, RunSnapshot
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.watch import GOING, look_at

BEGIN_SECONDS = 1.0
SILENT_SECONDS = 10.0
"""A run that goes and gave no word for so long is said to be silent."""
ALMOST = 0.99
"""The share of what is not done never passes this, however wrong the estimate."""

_WAITS = re.compile(r"\bwaits\b|\bretry \d+ of \d+\b|^idle$")
_OVER = ("done", "differs")


@dataclass
class HighWater:
    """The most that was shown of a run while one looks: what is shown never falls."""

    run_share: float = 0.0
    run_rows: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sight:
    """One look at a run: its record, what was told last, and that again if it is fresh."""

    record: RunRecord
    last: RunSnapshot | None
    word: RunSnapshot | None
    silence: float | None
    going: bool

    @property
    def resume(self) -> str:
        return f"waits for: geode-tui resume {self.record.number}"


def status_document(journal: Journal, number: int, seen: HighWater | None = None) -> dict[str, Any]:
    """Where a run stands, as a JSON document (docs/cli.md). Raises UsageError."""
    sight = _look(journal, number)
    record, word = sight.record, sight.word
    phases = [_phase(sight, phase, before) for phase, before in _in_order(journal.phases(number))]
    entities = [
        _entity(sight, entity, told, phases)
        for entity, told in _known(journal, number, word or sight.last)
    ]
    document = {
        "run": number,
        "state": record.state,
        "resumable": record.resumable,
        "source": record.source,
        "target": record.target,
        "graph": record.graph,
        "started": record.started,
        "ended": record.ended,
        "error": record.error,
        "phases": phases,
        "wave": word.wave if word else "",
        "entities": entities,
        "rows": sum(entity["rows"] for entity in entities),
        "share": _share_of_all(record, entities),
        "rate": word.rate if word else None,
        "average_rate": _average(sight.word or sight.last),
        "eta": _eta_of_all(word, entities),
        "pace": word.pace if word else "",
        "knobs": dict(word.knobs) if word else {},
        "source_load": dict(word.source_load) if word else {},
        "workers": list(word.workers) if word else [],
        "snapshot_age": word.snapshot_age if word else None,
        "silence": sight.silence,
    } | _replication(journal, number)
    document["waits"] = _waits(sight, document)
    if seen is not None and sight.going:
        _hold_up(document, seen)
    return document


def _replication(journal: Journal, number: int) -> dict[str, Any]:
    """How changes are captured and applied, and how a cutover stands; None where there is none."""
    sync, cutover = journal.captures.sync(number), journal.captures.cutover(number)
    return {"sync": sync and asdict(sync), "cutover": cutover and asdict(cutover)}


def is_going(document: dict[str, Any]) -> bool:
    """Whether a process drives the run of a status document, or is just about to.

    A run is in the journal a moment before its process holds it.
    """
    begins = document["ended"] is None and time.time() - document["started"] < BEGIN_SECONDS
    return begins or document["silence"] is not None


# -- what is known --------------------------------------------------------------------------------


def _look(journal: Journal, number: int) -> _Sight:
    found = look_at(journal, number)
    record, now = found.record, time.time()
    going = record.state in GOING and journal.locks.held(f"run-{number}")
    heard = journal.live.heard(number) or record.started
    silence = max(0.0, now - heard) if going else None
    told = record.state == "running" and found.told is not None
    fresh = told and going and now - (found.told or 0.0) < SILENT_SECONDS
    last = None if going else found.snapshot
    return _Sight(record, last, found.snapshot if fresh else None, silence, going)


def _known(
    journal: Journal, number: int, told_last: RunSnapshot | None
) -> list[tuple[EntityRecord, EntityProgress | None]]:
    """Each entity as journaled, with what was told of it."""
    told = {entity.id: entity for entity in told_last.entities} if told_last else {}
    return [(entity, told.get(entity.id)) for entity in journal.chunks.entities(number)]


def _in_order(
    phases: Sequence[PhaseProgress],
) -> list[tuple[PhaseProgress, PhaseProgress | None]]:
    """Each phase with the one before it."""
    return list(zip(phases, (None, *phases), strict=False))


def _phase(sight: _Sight, phase: PhaseProgress, before: PhaseProgress | None) -> dict[str, Any]:
    found = asdict(phase)
    if phase.state == "waiting" and not phase.reason:
        if sight.going:
            found["reason"] = f"waits for {before.name}" if before else "waits to begin"
        elif sight.record.resumable:
            found["reason"] = sight.resume
    elif phase.state == "running" and not sight.going:
        found |= {"state": "stopped", "reason": "its process is gone"}
    return found


def _entity(
    sight: _Sight, entity: EntityRecord, told: EntityProgress | None, phases: list[dict[str, Any]]
) -> dict[str, Any]:
    """An entity as journaled, or further on where the engine told so."""
    state, reason = _state(sight, entity, told, phases)
    rows, dead, orphans = entity.rows, entity.dead, entity.orphans
    if told is not None:
        rows, dead = max(rows, told.rows_written), max(dead, told.dead)
        orphans = max(orphans, told.orphans)
    moved = rows + dead + orphans
    estimate, exact = _estimate(entity, told, state, moved)
    paused = sight.word is not None and sight.word.pace.startswith("paused")
    return {
        "id": entity.id,
        "kind": entity.kind,
        "wave": entity.wave,
        "state": state,
        "reason": reason,
        "rows": rows,
        "estimate": estimate,
        "exact": exact,
        "share": _share(state, moved, estimate),
        "rate": told.rate if told and sight.word else None,
        "average_rate": _average(told),
        "eta": told.eta_seconds if told and state != "done" and not paused else None,
        "bytes": max(entity.bytes, told.bytes) if told else entity.bytes,
        "chunks": max(entity.chunks, told.chunks_done) if told else entity.chunks,
        "planned": entity.planned,
        "retries": max(entity.retries, told.retries) if told else entity.retries,
        "dead": dead,
        "orphans": orphans,
    }


def _state(
    sight: _Sight, entity: EntityRecord, told: EntityProgress | None, phases: list[dict[str, Any]]
) -> tuple[str, str]:
    """An entity's state with its reason; one that waits always has one."""
    if entity.state == "done":
        return "done", entity.reason
    state, reason = entity.state, entity.reason
    if told is not None and sight.going:
        state, reason = told.state, told.reason
    if not sight.going:
        begun = state in ("reading", "writing") or (state == "waiting" and entity.chunks)
        if begun:
            return "stopped", reason or sight.record.error.split("\n")[0] or "its process is gone"
        if state == "waiting":
            return state, sight.resume if sight.record.resumable else "not begun"
    if state == "waiting" and not reason:
        now = next((phase["name"] for phase in phases if phase["state"] == "running"), "prepare")
        reason = "waits for a worker" if now == "backfill" else f"waits for {now}"
    return state, reason


def _estimate(
    entity: EntityRecord, told: EntityProgress | None, state: str, moved: int
) -> tuple[int | None, bool]:
    """How many rows there are to move, and whether that is exact.

    An estimate that turned out too low is what was moved so far: nothing is over 100 %.
    """
    if state == "done":
        return moved, True
    estimate, exact = entity.estimate, False
    if told is not None and told.rows_estimated is not None:
        estimate, exact = told.rows_estimated, told.estimate_exact
    if estimate is not None and moved > estimate:
        return moved, False
    return estimate, exact


def _share(state: str, moved: int, estimate: int | None) -> float | None:
    if state == "done":
        return 1.0
    if not estimate:
        return None if estimate is None else 0.0
    return round(min(ALMOST, moved / estimate), 4)


def _average(told: RunSnapshot | EntityProgress | None) -> float | None:
    return told.average_rate or None if told else None


def _moved(entity: dict[str, Any]) -> int:
    return int(entity["rows"] + entity["dead"] + entity["orphans"])


def _share_of_all(record: RunRecord, entities: list[dict[str, Any]]) -> float | None:
    """The share of all rows; None while the size of no entity is known."""
    if record.state in _OVER:
        return 1.0
    known = [entity for entity in entities if entity["estimate"] is not None]
    total = sum(entity["estimate"] for entity in known)
    if not known:
        return None
    return round(min(ALMOST, sum(map(_moved, known)) / total), 4) if total else 0.0


def _eta_of_all(word: RunSnapshot | None, entities: list[dict[str, Any]]) -> float | None:
    """The seconds that the rows left will take at the present rate; None where nobody knows."""
    if word is None or word.rate <= 0 or word.pace.startswith("paused"):
        return None
    open_ones = [entity for entity in entities if entity["state"] != "done"]
    if not open_ones or any(entity["estimate"] is None for entity in open_ones):
        return None
    left: int = sum(entity["estimate"] - _moved(entity) for entity in open_ones)
    return left / word.rate


# -- what waits -----------------------------------------------------------------------------------


def _waits(sight: _Sight, document: dict[str, Any]) -> list[dict[str, str]]:
    """Everything that waits, by name, and what it waits for."""
    found = []
    if sight.silence is not None and sight.silence > SILENT_SECONDS:
        found.append(("run", f"no word for {sight.silence:.0f} s"))
    if sight.record.resumable:
        found.append(("run", sight.resume))
    if document["pace"]:
        found.append(("run", document["pace"]))
    for worker in document["workers"]:
        name, _, doing = worker.partition(": ")
        if _WAITS.search(doing):
            found.append((f"worker {name}", "waits for the others" if doing == "idle" else doing))
    for one in document["phases"]:
        if one["state"] == "waiting" and one["reason"]:
            found.append((f"phase {one['name']}", one["reason"]))
    for one in document["entities"]:
        if one["state"] == "waiting":
            found.append((one["id"], one["reason"]))
    return [{"who": who, "what": what} for who, what in found]


# -- never back -----------------------------------------------------------------------------------


def _hold_up(document: dict[str, Any], seen: HighWater) -> None:
    """Show no less than was shown before, and say where that is read again."""
    for entity in document["entities"]:
        name, rows = entity["id"], entity["rows"]
        if entity["state"] != "done" and rows < seen.rows.get(name, 0):
            again = f"read again: {rows:,} rows so far"
            entity["reason"] = f"{entity['reason']}; {again}" if entity["reason"] else again
            entity["rows"] = seen.rows[name]
            if entity["estimate"] is not None and _moved(entity) > entity["estimate"]:
                entity["estimate"], entity["exact"] = _moved(entity), False
        seen.rows[name] = entity["rows"]
        most = max(entity["share"] or 0.0, seen.shares.get(name, 0.0))
        if entity["share"] is not None or name in seen.shares:
            entity["share"] = most if entity["state"] == "done" else min(ALMOST, most)
            seen.shares[name] = entity["share"]
    rows = sum(entity["rows"] for entity in document["entities"])
    document["rows"] = seen.run_rows = max(rows, seen.run_rows)
    if document["share"] is not None or seen.run_share:
        document["share"] = seen.run_share = max(document["share"] or 0.0, seen.run_share)


# -- as text --------------------------------------------------------------------------------------


def status_text(document: dict[str, Any]) -> str:
    """The same for a person, in lines."""
    lines = [
        f"run {document['run']} {document['state']}: {document['source']} → {document['target']}",
        "  ".join(f"{p['name']} {p['state']}" for p in document["phases"]),
        _totals(document),
    ]
    for name in ("knobs", "source_load"):
        if document[name]:
            title = "settings" if name == "knobs" else "source"
            lines.append(f"{title}: " + " · ".join(f"{k} {v}" for k, v in document[name].items()))
    lines += sync_lines(document["sync"])
    lines += _cutover_lines(document["cutover"])
    header = ("entity", "state", "rows", "of", "share", "rate", "eta", "chunks", "retries")
    rows = [_cells(entity) for entity in document["entities"]]
    if rows:
        lines += aligned((*header, "dead", "orphans"), rows, "__>>>>>>>>>")
    # The reason of an entity stands beside its state, that of a phase is the one before it.
    for wait in document["waits"]:
        named = wait["who"] == "run" or wait["who"].startswith("worker ")
        if named and not document["resumable"]:
            lines.append(f"{wait['who']}: {wait['what']}")
    if document["error"]:
        lines += document["error"].split("\n")
    if document["resumable"]:
        lines.append(f"go on with: geode-tui resume {document['run']}")
    return "\n".join(lines)


def sync_lines(sync: dict[str, Any] | None) -> list[str]:
    """How synchronization stands, in lines for a person; none where there is none."""
    if sync is None:
        return []
    age = time.time() - sync["told_at"]
    old = f", told {duration(age)} ago" if age > SILENT_SECONDS else ""
    head = f"sync {sync['state']} by {sync['way']} {sync['name']}{old}"
    lines = [f"{head}: {sync['reason']}" if sync["reason"] else head]
    parts = []
    if sync["lag_seconds"] is not None:
        parts.append(f"lag {sync['lag_seconds']:.1f} s")
    if sync["lag_bytes"] is not None:
        parts.append(f"{sync['lag_bytes']:,} bytes")
    parts.append(f"{sync['backlog']:,} changes wait")
    parts.append(f"{sync['captured_rate']:,.0f}/s captured")
    parts.append(f"{sync['applied_rate']:,.0f}/s applied")
    if sync["retained_bytes"] is not None:
        of = f" of {sync['budget_bytes']:,}" if sync["budget_bytes"] else ""
        parts.append(f"the source keeps {sync['retained_bytes']:,}{of} bytes")
    lines.append(" · ".join(parts))
    for alarm in sync["alarms"]:
        lines.append(
            f"! {alarm['what']}: {alarm['next_step']}" if alarm["next_step"] else alarm["what"]
        )
    return lines


def _cutover_lines(cutover: dict[str, Any] | None) -> list[str]:
    """How a cutover stands, in lines for a person; none where there is none."""
    if cutover is None or cutover["state"] == "gates":
        return []
    what = "rehearsal" if cutover["rehearsal"] else "cutover"
    running = [step["title"] for step in cutover["steps"] if step["state"] == "running"]
    parts = [f"{what} {cutover['state']}", *running]
    if cutover["frozen_at"] is not None:
        until = cutover["released_at"] or time.time()
        words = "writes stood" if cutover["released_at"] else "writes stand since"
        stood = max(0.0, until - cutover["frozen_at"])
        parts.append(f"{words} {stood:.1f} s of {cutover['budget_seconds']:g} s")
    if cutover["state"] == "watching" and cutover["watch_until"] is not None:
        left = max(0.0, cutover["watch_until"] - time.time())
        parts.append(f"its watch window ends in {duration(left)}")
    lines = [" · ".join(parts)]
    for one in cutover["blocked"]:
        who = f"pid {one['pid']} {one['user']} {one['application']}"
        lines.append("  " + visible(f"{who} waits: {one['query']}"))
    if cutover["error"]:
        step = f": {cutover['next_step']}" if cutover["next_step"] else ""
        lines.append("! " + visible(f"{cutover['error']}{step}"))
    return lines


def _totals(document: dict[str, Any]) -> str:
    parts = [f"{document['rows']:,} rows"]
    if document["share"] is not None:
        parts.append(_percent(document["share"]))
    if document["rate"] is not None:
        parts.append(f"{document['rate']:,.0f}/s now")
    if document["average_rate"]:
        parts.append(f"{document['average_rate']:,.0f}/s on average")
    if document["eta"] is not None:
        parts.append(f"about {duration(document['eta'])} left")
    if document["wave"]:
        parts.append(f"wave {document['wave']}")
    return " · ".join(parts)


def _cells(entity: dict[str, Any]) -> tuple[str, ...]:
    done, waits = entity["state"] == "done", entity["state"] == "waiting" and entity["reason"]
    mark = "" if entity["exact"] else "±"
    planned = "?" if entity["planned"] is None else f"{entity['planned']:,}"
    return (
        entity["id"],
        entity["reason"] if waits else f"{entity['state']} {entity['reason']}".strip(),
        f"{entity['rows']:,}",
        "" if done or entity["estimate"] is None else f"{mark}{entity['estimate']:,}",
        "" if entity["share"] is None else _percent(entity["share"]),
        f"{entity['rate']:,.0f}/s" if entity["rate"] else "",
        duration(entity["eta"]) if entity["eta"] is not None else "",
        f"{entity['chunks']:,}/{planned}",
        f"{entity['retries']:,}",
        f"{entity['dead']:,}",
        f"{entity['orphans']:,}",
    )


def _percent(share: float) -> str:
    return f"{int(share * 100)} %"
