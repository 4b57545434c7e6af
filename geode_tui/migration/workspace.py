"""What one sitting works on: a source, its catalog, a mapping with its history, a run."""

from __future__ import annotations

import asyncio
import gc
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geode_tui.catalog import Catalog
from geode_tui.catalog.profile import Inclusion
from geode_tui.catalog.profile import Profile as Statistics
from geode_tui.errors import MappingError, UsageError
from geode_tui.mapping.assess import Finding, assess
from geode_tui.mapping.check import check
from geode_tui.mapping.edits import History
from geode_tui.mapping.file import load, parse, save
from geode_tui.mapping.implied import Candidate, Reference, test_candidates
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggest import Suggestion, suggest
from geode_tui.migration.journal import RunRecord, Strategy
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.profiles import Profile
from geode_tui.migration.replication.sight import ReplicationWatch
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.target_names import mapping_findings
from geode_tui.migration.watch import RunWatch, ShownRun
from geode_tui.source.ddl import is_ddl_file, read_ddl
from geode_tui.source.dsn import without_password
from geode_tui.source.introspect import collector_at_rest
from geode_tui.source.postgres import Source
from geode_tui.target.geode_dsn import is_geode


@dataclass(frozen=True)
class _Fitted:
    """A catalog and a mapping that fits it; `saved` where it is the file's."""

    catalog: Catalog
    mapping: Mapping
    saved: bool


class Workspace:
    """The state that all screens share. The source's DSN may hold a password: memory only."""

    def __init__(
        self,
        *,
        source_dsn: str = "",
        target_place: str = "",
        graph: str | None = None,
        schemas: Sequence[str] = (),
        mapping_path: Path = Path("mapping.yaml"),
        label: str = "",
        parallel: int = 2,
    ) -> None:
        self.profile: Profile | None = None
        self.label = label
        self.source: Source | None = None
        self.source_dsn = source_dsn
        self.target_place = target_place
        self.graph = graph
        self.schemas = tuple(schemas)
        self.catalog: Catalog | None = None
        self.statistics: Statistics | None = None
        self.tested: dict[Reference, Inclusion] = {}
        self.history: History | None = None
        self.mapping_path = mapping_path
        self.parallel = parallel
        self.runner: Runner | None = None
        self.watch: RunWatch | None = None
        self.replication = ReplicationWatch()
        self.synchronizer: Runner | None = None
        self.cutting: str = ""
        self._saved: Mapping | None = None
        self._password: str | None = None

    @property
    def saved(self) -> bool:
        """Whether the current mapping is the one in the file (or there is none yet)."""
        return self.history is None or self.history.current == self._saved

    @property
    def shown_run(self) -> ShownRun | None:
        """The run to show: one opened from the journal, else that of this sitting."""
        return self.watch or self.runner

    @property
    def foremost_run(self) -> ShownRun | None:
        """The run of this sitting while it goes, else the one that is shown."""
        own = self.runner
        return own if own is not None and not own.finished else self.shown_run

    @property
    def mapping(self) -> Mapping | None:
        """The current mapping, None before a source is connected."""
        return self.history.current if self.history else None

    async def connect(
        self, dsn: str, *, password: str | None = None, schemas: Sequence[str] = ()
    ) -> None:
        """Connect, read the catalog, and take the mapping from its file or infer one.

        A path to a DDL file gives a catalog without rows; `source` is None then. Raises
        GeodeTuiError; what was connected before stays then.
        """
        old, source = self.source, None
        if is_ddl_file(dsn):
            fitted = await self._fitted(await _ddl_catalog(dsn, schemas), None)
        else:
            source = await Source.connect(dsn, password=password)
            try:
                fitted = await self._fitted(await source.catalog(schemas), source)
            except BaseException:
                await source.close()
                raise
        self._take(fitted, source)
        self.source_dsn, self._password, self.schemas = dsn, password, tuple(schemas)
        if old is not None:
            await old.close()

    async def _fitted(self, catalog: Catalog, source: Source | None) -> _Fitted:
        """The catalog with the mapping's queries, and the mapping from its file or inferred."""
        if not self.mapping_path.exists():
            async with collector_at_rest():
                return _Fitted(catalog, await asyncio.to_thread(infer, catalog), False)
        file = await asyncio.to_thread(load, self.mapping_path)
        catalog = await described(catalog, file.mapping, source)
        await asyncio.to_thread(check, file, catalog)
        return _Fitted(catalog, file.mapping, True)

    def _take(self, fitted: _Fitted, source: Source | None) -> None:
        self.source, self.catalog = source, fitted.catalog
        self.statistics, self.tested = None, {}
        self.history = History(fitted.mapping)
        self._saved = fitted.mapping if fitted.saved else None

    async def reload_catalog(self) -> None:
        """Read the catalog again; the mapping stays."""
        if self.source is None and is_ddl_file(self.source_dsn) and self.catalog is not None:
            catalog = await _ddl_catalog(self.source_dsn, self.schemas)
        elif self.source is None:
            raise UsageError("no source is connected", "", "connect to one first")
        else:
            catalog = await self.source.catalog(self.schemas)
        self.catalog = await described(catalog, self._require_mapping(), self.source)
        self.statistics = None

    async def read_statistics(self) -> None:
        """Ask the source for the planner's statistics, once. Raises GeodeTuiError."""
        source, catalog = self.source, self.catalog
        if self.statistics is not None or source is None or catalog is None:
            return
        found = await source.profile(catalog)
        if self.catalog is catalog:
            self.statistics = found

    async def test_references(self, found: Sequence[Candidate], seconds: float) -> None:
        """Look up the values of columns that may be references, for at most so many seconds.

        What was looked up before is kept. Raises GeodeTuiError.
        """
        source, catalog = self.source, self.catalog
        if source is None or catalog is None:
            return
        left = [candidate for candidate in found if candidate.reference not in self.tested]
        tested = await test_candidates(source, left, seconds)
        if self.catalog is catalog:
            self.tested |= tested

    async def take_mapping(self, content: str, name: str, label: str) -> None:
        """Make a mapping file's text the current mapping, one step to take back.

        Raises MappingError with the line where it cannot be read or does not fit the catalog.
        """
        if self.catalog is None or self.history is None:
            raise UsageError("there is no mapping yet", "", "connect to a source first")
        file = await asyncio.to_thread(parse, content, name)
        catalog = await described(self.catalog, file.mapping, self.source)
        await asyncio.to_thread(check, file, catalog)
        self.catalog = catalog
        self.history.apply(file.mapping, label)

    async def write_mapping(self) -> Path:
        """Write the current mapping to its file without holding up the screen.

        Raises MappingError.
        """
        mapping = self._require_mapping()
        async with collector_at_rest():
            await asyncio.to_thread(save, mapping, self.mapping_path)
        self._saved = mapping
        return self.mapping_path

    def findings(self) -> tuple[Finding, ...]:
        """What the assessment finds in the current mapping; empty without a catalog."""
        if self.history is None or self.catalog is None:
            return ()
        mapping = self.history.current
        further = mapping_findings(mapping, self.target_place)
        return assess(mapping, self.catalog, self.statistics, further=further)

    def suggestions(self) -> tuple[Suggestion, ...]:
        """What the current mapping could gain; empty without a catalog."""
        if self.history is None or self.catalog is None:
            return ()
        statistics = self.statistics or Statistics()
        return suggest(self.history.current, self.catalog, statistics, dict(self.tested))

    def start_run(self, strategy: Strategy = "big-bang") -> Runner:
        """Begin a run of the current mapping. Raises UsageError when something is missing."""
        mapping = self._require_mapping()
        self._require_idle()
        if not self.target_place:
            raise UsageError(
                "no target is set",
                "",
                "name a path that ends in .grafeo, or quic://… or grpc://…, in Connect",
            )
        request = RunRequest(
            self.source_dsn,
            _whole(self.target_place),
            mapping,
            self.graph,
            self.schemas,
            self.parallel,
            None,
            self.label,
            self._password,
            strategy,
        )
        return self._go(ProcessRunner(request))

    def resume_run(self, record: RunRecord) -> Runner:
        """Go on with a run that stopped.

        The password of its source is taken from this sitting where that is the source connected
        to. Raises UsageError while another run of this sitting goes.
        """
        self._require_idle()
        source, password = self.access(record) or (None, None)
        return self._go(ProcessRunner(resume=record.number, source=source, password=password))

    def access(self, record: RunRecord) -> tuple[str, str | None] | None:
        """The DSN and the password of this sitting's source, where it is that of a run."""
        if not self.source_dsn or without_password(self.source_dsn) != record.source_dsn:
            return None
        return self.source_dsn, self._password

    def _go(self, runner: Runner) -> Runner:
        self.runner, self.watch = runner, None
        runner.start()
        return runner

    def open_run(self, number: int) -> None:
        """Show a run of the journal: one of the past, or one that another process drives."""
        own = self.runner
        going_here = own is not None and own.run_number == number and not own.finished
        self.watch = None if going_here else RunWatch(number)

    def close_run(self) -> None:
        """Show the run of this sitting again, if there is one."""
        self.watch = None

    def forget_run(self, number: int) -> None:
        """What this sitting knows of a run that is over is not true any more: look it up."""
        if self.runner is not None and self.runner.run_number == number and self.runner.finished:
            self.runner = None

    def headless_command(self, screen: str) -> str:
        """The command that does the same without a screen; no password in it."""
        source = without_password(self.source_dsn)
        place = ["--target", self.target_place] if self.target_place else []
        graph = ["--graph", self.graph] if self.graph else []
        schemas = [word for schema in self.schemas for word in ("--schema", schema)]
        mapping = ["--mapping", str(self.mapping_path)]
        words = {
            "connect": ["inspect", "--source", source, *schemas],
            "schema": ["inspect", "--source", source, *schemas],
            "mapping": ["map", "--source", source, *schemas, "--output", str(self.mapping_path)],
            "run": ["migrate", "--source", source, *schemas, *place, *graph, *mapping],
            "history": ["runs"],
            "sync": [
                *("migrate", "--strategy", "zero-downtime", "--source", source),
                *(*schemas, *place, *graph, *mapping),
            ],
            "report": ["validate", "--source", source, *schemas, *place, *graph, *mapping],
        }
        return shlex.join(["geode-tui", *words.get(screen, [])])

    async def close(self) -> None:
        """Let the source go."""
        gc.unfreeze()  # what was read may go now
        if self.source is not None:
            await self.source.close()
            self.source = None

    def _require_mapping(self) -> Mapping:
        if self.history is None:
            raise UsageError("there is no mapping yet", "", "connect to a source first")
        return self.history.current

    def _require_idle(self) -> None:
        if self.runner is not None and not self.runner.finished:
            raise UsageError(
                f"run {self.runner.run_number} is going", "", "stop it first, or wait for its end"
            )


async def _ddl_catalog(path: str, schemas: Sequence[str]) -> Catalog:
    found = await asyncio.to_thread(lambda: read_ddl(Path(path).expanduser(), schemas))
    return found.catalog


async def described(catalog: Catalog, mapping: Mapping, source: Source | None) -> Catalog:
    """The catalog with the queries of a mapping as tables.

    Raises MappingError where PostgreSQL refuses one, or where there is no source to ask.
    """
    if not mapping.queries:
        return catalog
    if source is None:
        raise MappingError(
            f"query {mapping.queries[0].name} cannot be read from a DDL file",
            "only PostgreSQL knows what columns a query has",
            "connect to a database, or remove the queries from the mapping",
        )
    return await source.described(catalog, mapping.queries)


def _whole(place: str) -> str:
    """The place of a target from any folder: a resume may start in another one."""
    return place if is_geode(place) else str(Path(place).absolute())
