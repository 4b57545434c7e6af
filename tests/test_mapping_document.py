"""docs/mapping.md: its worked example is true."""

from __future__ import annotations

import re
from pathlib import Path

from geode_tui.mapping import file
from geode_tui.mapping.file import parse
from geode_tui.migration.runner import Runner
from geode_tui.migration.validating import ValidateRequest
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import migrate

_PAGE = (Path(__file__).parent.parent / "docs" / "mapping.md").read_text(encoding="utf-8")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)
    assert found
    return found[1]


def _table_of_the_page() -> dict[str, tuple[int, int, int]]:
    """The rows of the table below `in graph | filtered`."""
    rows = _PAGE.split("| entity | rows | in graph | filtered |\n|---|---|---|---|\n")[1]
    cells = [line.strip("|\n ").split(" | ") for line in rows.split("\n\n")[0].splitlines()]
    return {entity: (int(a), int(b), int(c)) for entity, a, b, c in cells}


def test_the_worked_example_gives_what_the_page_says(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Schema, mapping and result of the page, run: the ledger is the page's table."""
    dsn = make_database(_block("sql"))
    migrated = migrate(dsn, tmp_path, parse(_block("yaml"), "mapping.md").mapping)
    ledger = migrated.runner.ledger
    assert ledger is not None
    assert ledger.balanced
    told = {e.id: (e.source_rows, e.in_graph, e.filtered) for e in ledger.entries}
    assert told == _table_of_the_page()
    assert run_now(compare(dsn, migrated.graph_file, None, migrated.mapping_file)).equal


def test_the_statistics_and_checks_of_the_page_hold(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Put into the worked example, all of them pass; none is left out."""
    dsn = make_database(_block("sql"))
    chapter = _PAGE.split("### Statistics and checks\n")[1]
    further = re.search(r"```yaml\n(.*?)```", chapter, re.DOTALL)
    assert further
    mapping = parse(_block("yaml") + further[1], "mapping.md").mapping
    place = str(migrate(dsn, tmp_path, mapping).graph_file)
    runner = Runner(ValidateRequest(dsn, place, mapping), journal=tmp_path / "journal.sqlite3")
    runner.start()
    runner.join()
    ledger = runner.ledger
    assert ledger is not None
    passed = [(c.kind, c.name.split(".")[0]) for c in ledger.checks if c.passed and not c.why]
    assert {("pair", "minutes of each vet"), ("pair", "income")} <= set(passed)
    assert {name for kind, name in passed if kind == "statistics"} == {
        "Visit",
        "Animal",
        "(Vet)-[ATTENDED]->(Visit)",
    }


def test_the_page_names_every_field_of_the_file() -> None:
    """A field that the reader knows is explained."""
    fields = (
        file._TOP_FIELDS | file._NODE_FIELDS | file._RELATIONSHIP_FIELDS | file._PROPERTY_FIELDS
    )
    missing = [field for field in sorted(fields) if f"`{field}`" not in _PAGE]
    assert missing == []
