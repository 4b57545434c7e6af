"""What one sitting works on: a source, its catalog, a mapping with its history, a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from geode_tui.catalog import Catalog
from geode_tui.errors import UsageError
from geode_tui.mapping.assess import Finding, assess
from geode_tui.mapping.check import check
from geode_tui.mapping.edits import History
from geode_tui.mapping.file import load, save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.profiles import Profile
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.dsn import without_password
from geode_tui.source.postgres import Source


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
        self.history: History | None = None
        self.mapping_path = mapping_path
        self.parallel = parallel
        self.runner: Runner | None = None
        self._saved: Mapping | None = None
        self._password: str | None = None

    @property
    def saved(self) -> bool:
        """Whether the current mapping is the one in the file (or there is none yet)."""
        return self.history is None or self.history.current == self._saved

    @property
    def mapping(self) -> Mapping | None:
        """The current mapping, None before a source is connected."""
        return self.history.current if self.history else None

    async def connect(
        self, dsn: str, *, password: str | None = None, schemas: Sequence[str] = ()
    ) -> None:
        """Connect, read the catalog, and take the mapping from its file or infer one.

        Raises GeodeTuiError; what was connected before stays then.
        """
        source = await Source.connect(dsn, password=password)
        try:
            catalog = await source.catalog(schemas)
            mapping, saved = self._first_mapping(catalog)
        except BaseException:
            await source.close()
            raise
        if self.source is not None:
            await self.source.close()
        self.source, self.source_dsn, self._password = source, dsn, password
        self.catalog, self.schemas = catalog, tuple(schemas)
        self.history = History(mapping)
        self._saved = mapping if saved else None

    def _first_mapping(self, catalog: Catalog) -> tuple[Mapping, bool]:
        if self.mapping_path.exists():
            file = load(self.mapping_path)
            check(file, catalog)
            return file.mapping, True
        return infer(catalog), False

    async def reload_catalog(self) -> None:
        """Read the catalog again; the mapping stays."""
        if self.source is None:
            raise UsageError("no source is connected", "", "connect to one first")
        self.catalog = await self.source.catalog(self.schemas)

    def save_mapping(self) -> Path:
        """Write the current mapping to its file. Raises MappingError."""
        mapping = self._require_mapping()
        save(mapping, self.mapping_path)
        self._saved = mapping
        return self.mapping_path

    def findings(self) -> tuple[Finding, ...]:
        """What the assessment finds in the current mapping; empty without a catalog."""
        if self.history is None or self.catalog is None:
            return ()
        return assess(self.history.current, self.catalog)

    def start_run(self) -> Runner:
        """Begin a run of the current mapping. Raises UsageError when something is missing."""
        mapping = self._require_mapping()
        self._require_idle()
        if not self.target_place:
            raise UsageError("no target is set", "", "name a path that ends in .grafeo in Connect")
        request = RunRequest(
            self.source_dsn,
            str(Path(self.target_place).absolute()),  # a resume may start in another folder
            mapping,
            self.graph,
            self.schemas,
            self.parallel,
            None,
            self.label,
            self._password,
        )
        self.runner = ProcessRunner(request)
        self.runner.start()
        return self.runner

    def resume_run(self, number: int) -> Runner:
        """Go on with a run that stopped; its source's password is taken from this sitting."""
        self._require_idle()
        same = self.source_dsn or None
        self.runner = ProcessRunner(resume=number, source=same, password=self._password)
        self.runner.start()
        return self.runner

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
            "report": ["validate", "--source", source, *schemas, *place, *graph, *mapping],
        }
        return shlex.join(["geode-tui", *words.get(screen, [])])

    async def close(self) -> None:
        """Let the source go."""
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
