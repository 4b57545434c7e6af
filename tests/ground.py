"""A good graph of a database of its own, to be damaged and validated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grafeo
import pytest

from benchmarks.damages import Original, Trials
from geode_tui.demo import EmbeddedPostgres
from geode_tui.validation.ledger import Ledger
from tests.command_line import execute

MODES = pytest.mark.parametrize("deep", [False, True], ids=["plain", "deep"])


@dataclass(frozen=True)
class Ground:
    """A good graph, trials on it, and the loop in which they run."""

    original: Original
    trials: Trials
    runner: asyncio.Runner

    def ledger(self, graph_file: Path, deep: bool, fresh: bool = False) -> Ledger:
        """Validate a graph."""
        return self.runner.run(self.trials.ledger(graph_file, deep, fresh))

    def changed(self, folder: Path, *statements: tuple[str, dict[str, Any]]) -> Path:
        """A copy of the graph in which some statements ran."""
        copy = self.original.copy(folder / "changed.grafeo")
        database = grafeo.GrafeoDB(str(copy))
        try:
            for row in list(database.execute("SHOW CONSTRAINTS")):
                database.execute(f"DROP CONSTRAINT `{row['name']}`")
            for statement, parameters in statements:
                database.execute(statement, parameters)
        finally:
            database.close()
        return copy


@contextmanager
def prepared(
    postgres: EmbeddedPostgres,
    name: str,
    sql: str,
    folder: Path,
    make: Callable[[str, Path], Original],
) -> Iterator[Ground]:
    """A database of a name, and the graph that `make` migrates it into, in a folder."""
    execute(postgres.dsn(), f"CREATE DATABASE {name} TEMPLATE template0")
    execute(postgres.dsn(name), sql)
    original = make(postgres.dsn(name), folder)
    with asyncio.Runner() as runner:
        trials = runner.run(Trials(original, folder).__aenter__())
        yield Ground(original, trials, runner)
        runner.run(trials.__aexit__())
    execute(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")
