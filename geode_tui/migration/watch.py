"""A run as the journal tells it: one of the past, reopened, or one that another process drives."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from geode_tui.migration.chunks import EntityRecord
from geode_tui.migration.events import (
    PHASES,
    EntityProgress,
    EntityState,
    Event,
    PhaseProgress,
    RunSnapshot,
)
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.live import Metric

_Times = Mapping[str, tuple[float, float]]

GOING = ("running", "rolling back")
_GONE = "its process ended without a word"


class ShownRun(Protocol):
    """A run that can be shown: one of this sitting, or one of the journal."""

    @property
    def run_number(self) -> int | None:
        """The run's number in the journal, None before it has one."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the run is over, well or not."""
        ...

    def snapshot(self) -> RunSnapshot:
        """All counters; cheap."""
        ...

    def events(self) -> list[Event]:
        """The happenings since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the journal found; `told` is when the run's process last told of itself."""

    record: RunRecord
    snapshot: RunSnapshot
    told: float | None = None

    def silence(self, now: float) -> float | None:
        """Seconds since the run's process last told of itself; None when it need not tell."""
        if self.record.state != "running" or self.told is None:
            return None
        return max(0.0, now - self.told)


class RunWatch:
    """Looks at one run of the journal.

    `look` reads the journal and may block: call it in a thread, one at a time. All else is cheap
    and tells what the last look found.
    """

    def __init__(self, number: int, path: Path | None = None) -> None:
        self.run_number: int | None = number
        self.sight: Sight | None = None
        self._number = number
        self._path = path
        self._events: deque[Event] = deque()
        self._metrics: deque[Metric] = deque()
        self._last_event = 0
        self._last_metric = 0.0

    @property
    def finished(self) -> bool:
        """Whether no process drives the run."""
        return self.sight is not None and self.sight.record.state not in GOING

    def snapshot(self) -> RunSnapshot:
        """The counters as the last look found them."""
        return self.sight.snapshot if self.sight else _nothing(self._number)

    def events(self) -> list[Event]:
        """The happenings since the last call."""
        return _drained(self._events)

    def metrics(self) -> list[Metric]:
        """The throughput since the last call."""
        return _drained(self._metrics)

    def look(self, counters: bool = True) -> None:
        """Read the journal: happenings, throughput and, if wanted, the counters.

        Raises UsageError when there is no such run, GeodeTuiError.
        """
        with contextlib.closing(Journal(self._path)) as journal:
            events, self._last_event = journal.events_after(self._number, self._last_event)
            metrics = journal.live.metrics(self._number, self._last_metric)
            sight = look_at(journal, self._number) if counters else self.sight
        if metrics:
            self._last_metric = metrics[-1].at
        self._events.extend(events)
        self._metrics.extend(metrics)
        self.sight = sight


def look_at(journal: Journal, number: int) -> Sight:
    """Where a run stands: as its process told, or as the journal knows. Raises UsageError."""
    record = journal.run(number)
    told = journal.live.told(number)
    at, document = told if told else (None, {})
    if record.state == "running" and (snapshot := told_snapshot(document)) is not None:
        return Sight(record, replace(snapshot, run=number, state="running"), at)
    return Sight(record, _journaled(journal, record, document, at), at)


def told_snapshot(document: Mapping[str, Any]) -> RunSnapshot | None:
    """The counters that another process told, None where that is another version's."""
    try:
        fields = dict(document)
        fields["phases"] = tuple(PhaseProgress(**phase) for phase in fields["phases"])
        fields["entities"] = tuple(EntityProgress(**entity) for entity in fields["entities"])
        fields["workers"] = tuple(fields["workers"])
        for name in ("knobs", "source_load"):
            fields[name] = tuple((str(key), str(text)) for key, text in fields[name])
        return RunSnapshot(**fields)
    except (KeyError, TypeError, ValueError):
        return None


def _journaled(
    journal: Journal, record: RunRecord, document: Mapping[str, Any], told: float | None
) -> RunSnapshot:
    """A run from what is journaled: all that is sure after a kill; `document` was told last."""
    going = record.state in GOING
    known, times = journal.chunks.entities(record.number), journal.chunks.times(record.number)
    told_rates = {e.get("id"): e.get("average_rate") for e in document.get("entities", ())}
    entities = tuple(
        _entity(entity, told_rates.get(entity.id) or _average(entity, times), going)
        for entity in known
    )
    ended = record.ended or (None if going else told)
    elapsed = (ended or time.time()) - record.started
    rows = sum(entity.rows_written for entity in entities)
    return RunSnapshot(
        record.number,
        record.state,
        record.source,
        record.place,
        _phases(journal.phases(record.number), going),
        entities,
        rows,
        0.0,
        elapsed,
        None,
        (),
        record.error,
        knobs=_begun_with(record),
        average_rate=document.get("average_rate") or _average_of_all(known, times),
    )


def _average(entity: EntityRecord, times: _Times) -> float:
    """Rows a second from an entity's first chunk to its last."""
    began, ended = times.get(entity.id, (0.0, 0.0))
    return entity.moved / (ended - began) if ended > began else 0.0


def _average_of_all(entities: Sequence[EntityRecord], times: _Times) -> float:
    """Rows a second from the run's first chunk to its last."""
    if not times:
        return 0.0
    seconds = max(ended for _, ended in times.values()) - min(began for began, _ in times.values())
    return sum(entity.moved for entity in entities) / seconds if seconds > 0 else 0.0


def _entity(entity: EntityRecord, average: float, going: bool) -> EntityProgress:
    state: EntityState = entity.state  # type: ignore[assignment]
    reason = entity.reason
    if state == "waiting" and not going:
        state, reason = ("stopped", "") if entity.chunks else ("waiting", "not begun")
    done = state == "done"
    return EntityProgress(
        entity.id,
        "node" if entity.kind == "node" else "relationship",
        state,
        entity.rows,
        entity.moved if done else entity.estimate,
        done,
        0.0,
        None,
        entity.chunks,
        entity.retries,
        entity.dead,
        entity.orphans,
        reason,
        entity.planned,
        entity.bytes,
        average,
        entity.wave,
    )


def _phases(phases: Sequence[PhaseProgress], going: bool) -> tuple[PhaseProgress, ...]:
    """The phases; one that a kill left running is not running any more."""
    return tuple(
        replace(phase, state="stopped", reason=phase.reason or _GONE)
        if phase.state == "running" and not going
        else phase
        for phase in phases
    )


def _begun_with(record: RunRecord) -> tuple[tuple[str, str], ...]:
    size = f"{record.batch_rows:,} rows" if record.batch_rows else "adapts"
    limit = "no limit" if record.dead_limit is None else f"{record.dead_limit:,} an entity"
    return (("workers", str(record.parallel)), ("batch", size), ("dead letters", limit))


def _nothing(number: int) -> RunSnapshot:
    phases = tuple(PhaseProgress(name, "waiting") for name in PHASES)
    return RunSnapshot(number, "new", "", "", phases, (), 0, 0.0, 0.0, None, ())


def _drained[T](queue: deque[T]) -> list[T]:
    taken = []
    while queue:
        taken.append(queue.popleft())
    return taken
