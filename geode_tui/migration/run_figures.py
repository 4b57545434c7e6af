"""What a run moved, in figures: of each entity and of the whole, from the journal."""

from __future__ import annotations

from dataclasses import dataclass

from geode_tui.migration.events import PhaseProgress
from geode_tui.migration.journal import Journal, RunRecord


@dataclass(frozen=True, slots=True)
class EntityFigures:
    """What a run did for one entity, in rows.

    `planned` are its chunks, None before they were cut; `retries` the times that a chunk was
    begun again. `bytes` were read of the source; `seconds` are those that workers spent on its
    chunks: with two workers two of them pass in a second.
    """

    id: str
    kind: str
    wave: str
    state: str
    estimate: int | None
    rows: int = 0
    dead: int = 0
    orphans: int = 0
    chunks: int = 0
    planned: int | None = None
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def moved(self) -> int:
        """Rows that were read and are accounted for."""
        return self.rows + self.dead + self.orphans

    @property
    def rate(self) -> float | None:
        """Rows a second of one worker, None where nothing was measured."""
        return self.moved / self.seconds if self.moved and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """A run with its figures. `entries` are those of its ledger, None before it was taken."""

    record: RunRecord
    entities: tuple[EntityFigures, ...]
    phases: tuple[PhaseProgress, ...]
    entries: int | None
    differing: int

    @property
    def total(self) -> EntityFigures:
        """All entities together."""
        planned = [entity.planned for entity in self.entities]
        estimates = [entity.estimate for entity in self.entities if entity.estimate is not None]
        return EntityFigures(
            "total",
            "",
            "",
            self.record.state,
            sum(estimates) if len(estimates) == len(self.entities) else None,
            sum(entity.rows for entity in self.entities),
            sum(entity.dead for entity in self.entities),
            sum(entity.orphans for entity in self.entities),
            sum(entity.chunks for entity in self.entities),
            sum(count or 0 for count in planned) if None not in planned else None,
            sum(entity.retries for entity in self.entities),
            sum(entity.bytes for entity in self.entities),
            sum(entity.seconds for entity in self.entities),
        )

    @property
    def took(self) -> float | None:
        """Seconds from its begin to its end, pauses and stops too; None while it runs."""
        return self.record.ended - self.record.started if self.record.ended else None

    @property
    def verdict(self) -> str:
        """What its ledger says, in words."""
        if self.entries is None:
            return "not taken"
        return f"{self.differing:,} of {self.entries:,} differ" if self.differing else "balanced"


def figures_of(journal: Journal, number: int) -> RunFigures:
    """The figures of a run. Raises UsageError when there is no such run."""
    record, ledger = journal.run(number), journal.ledger(number)
    seconds = _seconds(journal, number)
    entities = tuple(
        EntityFigures(
            e.id,
            e.kind,
            e.wave,
            e.state,
            e.estimate,
            e.rows,
            e.dead,
            e.orphans,
            e.chunks,
            e.planned,
            e.retries,
            e.bytes,
            seconds.get(e.id, 0.0),
        )
        for e in journal.chunks.entities(number)
    )
    return RunFigures(
        record,
        entities,
        journal.phases(number),
        len(ledger.entries) if ledger else None,
        sum(not entry.balanced for entry in ledger.entries) if ledger else 0,
    )


def newest_like(journal: Journal, source: str, kind: str = "migrate") -> RunFigures | None:
    """The newest run of a kind that moved all rows of a source, None where there is none."""
    for record in journal.runs():
        if (record.source, record.kind) == (source, kind) and record.state in ("done", "differs"):
            figures = figures_of(journal, record.number)
            if figures.total.rate is not None:
                return figures
    return None


def _seconds(journal: Journal, number: int) -> dict[str, float]:
    """The seconds that workers spent on the chunks of each entity that are done."""
    rows = journal.store.all(
        "SELECT entity, sum(max(0, ended - started)) AS seconds FROM chunk"
        " WHERE run = ? AND state = 'done' GROUP BY entity",
        number,
    )
    return {row["entity"]: row["seconds"] or 0.0 for row in rows}
