"""Each change of a mapping by itself: is the graph that is led over that of a fresh migration?

python -m benchmarks.schema_changes
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.difference import compare
from geode_tui.mapping.file import parse
from geode_tui.mapping.steps import steps
from geode_tui.migration.journal import Journal
from geode_tui.migration.rollback import roll_back
from tests import test_schema_apply as changes
from tests.graph_dump import dump


def main() -> int:
    """Try all changes and print a line for each; ends with 1 where one is not equal."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="schema-changes-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        with EmbeddedPostgres(folder / "postgres") as server:
            town = changes.make_town(server, folder)
            print("change | steps | tables read | seconds | as migrated anew | rolled back")
            for number, change in enumerate(changes.CHANGES):
                place = folder / str(number)
                place.mkdir()
                line, equal = _try(town, place, change)
                wrong += not equal
                print(line, flush=True)
    print(f"{len(changes.CHANGES)} changes, {wrong} not equal")
    return 1 if wrong else 0


def _try(town: changes.Town, folder: Path, change: str) -> tuple[str, bool]:
    new = changes.CHANGES[change](parse(changes.OLD, "old").mapping)
    found = steps(compare(town.mapping, new))
    graph = town.copy(folder)
    before = dump(graph)
    began = time.perf_counter()
    changes.apply(town, graph, new)
    seconds = time.perf_counter() - began
    same = changes.things(graph) == changes.things(changes.migrated(town.dsn, folder, new))
    journal = Journal(folder / "journal.sqlite3")
    roll_back(journal, 1)
    journal.close()
    back = dump(graph) == before
    reads = len({table for step in found for table in step.reads})
    cells = (change, len(found), reads, f"{seconds:.1f}", _yes(same), _yes(back))
    return " | ".join(map(str, cells)), same and back


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


if __name__ == "__main__":
    sys.exit(main())
