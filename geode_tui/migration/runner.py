"""A run in a thread of its own, for whoever has an event loop that must stay free."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from geode_tui.errors import GeodeTuiError, RunStopped
from geode_tui.migration.engine import AS_IT_WAS, Engine, RunRequest
from geode_tui.migration.events import Event, RunSnapshot
from geode_tui.migration.journal import Journal
from geode_tui.migration.repairing import RepairEngine, RepairRequest
from geode_tui.migration.replication.sync_engine import (
    SyncEngine,
    SyncRequest,
    ZeroDowntimeEngine,
)
from geode_tui.migration.schema_change import SchemaEngine, SchemaRequest
from geode_tui.migration.validating import ValidateEngine, ValidateRequest
from geode_tui.validation.ledger import Ledger

__all__ = ["RunRequest", "Runner", "Work"]


@dataclass(frozen=True)
class Work:
    """What a runner is given. It may hold a password: memory only, never shown."""

    request: RunRequest | None = field(repr=False)
    resume: int | None
    source: str | None = field(repr=False)
    password: str | None = field(repr=False)
    journal: Path | None
    last_wave: str | None = None
    dead_limit: int | None = AS_IT_WAS

    def __post_init__(self) -> None:
        if (self.request is None) == (self.resume is None):
            raise ValueError("a runner takes a request or the number of a run to resume")


class Runner:
    """Drives one run, new (`request`) or resumed (`resume` its number).

    `last_wave` and `dead_limit` are for a run that is resumed; see `Engine.resume`.
    """

    def __init__(
        self,
        request: RunRequest | None = None,
        *,
        resume: int | None = None,
        source: str | None = None,
        password: str | None = None,
        journal: Path | None = None,
        last_wave: str | None = None,
        dead_limit: int | None = AS_IT_WAS,
    ) -> None:
        self._work = Work(request, resume, source, password, journal, last_wave, dead_limit)
        self._thread = threading.Thread(target=self._main, name="migration", daemon=True)
        self.error: GeodeTuiError | None = None
        self._prepare()

    def _prepare(self) -> None:
        self._journal = Journal(self._work.journal)
        self._engine = _engine(self._work, self._journal)

    @property
    def finished(self) -> bool:
        """Whether the run is over, well or not."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, after verify."""
        return self._engine.ledger

    @property
    def run_number(self) -> int | None:
        """The run's number in the journal, None before it has one."""
        return self._engine.run_number

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop safely: the chunks in flight are finished, the run can be resumed."""
        self._engine.stop()

    def snapshot(self) -> RunSnapshot:
        """All counters; cheap, from any thread."""
        return self._engine.snapshot()

    def events(self) -> list[Event]:
        """The happenings since the last call."""
        return self._engine.events()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most `timeout` seconds; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except RunStopped as stopped:
            self.error = stopped
        except GeodeTuiError as error:
            self.error = error
        except Exception as error:
            self.error = GeodeTuiError(
                f"defect in geode-tui: {type(error).__name__}: {error}",
                "",
                "report it; the run can be resumed",
            )
            self.error.__cause__ = error
        finally:
            self._journal.close()

    async def _run(self) -> None:
        work = self._work
        if work.request is not None:
            await self._engine.start(work.request)
        else:
            assert work.resume is not None
            await self._engine.resume(
                work.resume,
                work.source,
                work.password,
                last_wave=work.last_wave,
                dead_limit=work.dead_limit,
            )


def _engine(work: Work, journal: Journal) -> Engine:
    """The engine of a run's kind."""
    if isinstance(work.request, SyncRequest):
        return SyncEngine(journal)
    if isinstance(work.request, RepairRequest):
        return RepairEngine(journal)
    if isinstance(work.request, ValidateRequest):
        return ValidateEngine(journal)
    with contextlib.suppress(GeodeTuiError):  # what is wrong is told when the run begins
        changes = isinstance(work.request, SchemaRequest)
        if changes or (work.resume and journal.run(work.resume).kind == "schema"):
            return SchemaEngine(journal)
        given = work.request or journal.run(work.resume or 0)
        if given.strategy == "zero-downtime" and given.kind == "migrate":
            return ZeroDowntimeEngine(journal)
    return Engine(journal)
