"""A whole migration in one call, for tests that look at what came out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geode_tui.catalog import Catalog
from geode_tui.mapping import file
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.migration.dead_letters import DeadLetter
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from tests.conftest import run_now


@dataclass(frozen=True)
class Migrated:
    """Where a migration's parts are, and the runner that ended."""

    graph_file: Path
    mapping_file: Path
    journal_file: Path
    mapping: Mapping
    runner: Runner

    def dead_letters(self, entity: str | None = None) -> list[DeadLetter]:
        """The dead letters of the run, those of one entity if it is named."""
        assert self.runner.run_number is not None
        journal = Journal(self.journal_file)
        try:
            letters = journal.dead_letters.of(self.runner.run_number, 1_000_000)
        finally:
            journal.close()
        return [letter for letter in letters if entity in (None, letter.entity)]


def read_catalog(dsn: str, mapping: Mapping | None = None) -> Catalog:
    """The catalog of a database, as the product reads it; with the queries of a mapping."""

    async def read() -> Catalog:
        source = await Source.connect(dsn)
        try:
            catalog = await source.catalog()
            return await source.described(catalog, mapping.queries if mapping else ())
        finally:
            await source.close()

    return run_now(read())


def migrate(
    dsn: str,
    folder: Path,
    mapping: Mapping | None = None,
    *,
    batch_rows: int | None = None,
    parallel: int = 2,
    into_existing: bool = False,
) -> Migrated:
    """Migrate a database into `folder` with the mapping inferred; raises its error."""
    mapping = mapping or infer(read_catalog(dsn))
    graph_file, journal_file = folder / "graph.grafeo", folder / "journal.sqlite3"
    mapping_file = folder / "mapping.yaml"
    file.save(mapping, mapping_file)
    request = RunRequest(
        dsn,
        str(graph_file),
        mapping,
        batch_rows=batch_rows,
        parallel=parallel,
        into_existing=into_existing,
    )
    runner = Runner(request, journal=journal_file)
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error
    return Migrated(graph_file, mapping_file, journal_file, mapping, runner)
