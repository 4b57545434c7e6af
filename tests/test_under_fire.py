"""What happens to a run at the worst moment, as the person at the keyboard sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from geode_tui.errors import UsageError
from geode_tui.mapping.infer import infer
from geode_tui.migration import postgres_origin
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner, RunRequest
from tests.conftest import MakeDatabase
from tests.migrate import read_catalog

LIST = """
    CREATE TABLE word (id int PRIMARY KEY, text text);
    INSERT INTO word SELECT n, 'word ' || n FROM generate_series(1, 200) n;
    ANALYZE"""


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 50)


def _ended(runner: Runner) -> Runner:
    runner.start()
    runner.join()
    return runner


def test_an_export_that_dies_between_a_chunk_and_its_journal_holds_no_row_twice(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The chunk's part is whole in the files, and the journal does not know it yet."""
    dsn, journal = make_database(LIST), tmp_path / "journal.sqlite3"
    output = tmp_path / "words.jsonl"
    request = RunRequest(
        dsn, str(output), infer(read_catalog(dsn)), kind="export", format="jsonl", parallel=1
    )

    def dying(*_: object) -> None:
        raise RuntimeError("the machine is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "finish", dying)
        assert _ended(Runner(request, journal=journal)).error is not None
    resumed = _ended(Runner(resume=1, journal=journal))
    assert resumed.error is None, resumed.error
    assert resumed.ledger is not None
    assert [entry.verdict for entry in resumed.ledger.entries if not entry.balanced] == []
    assert output.read_text().count('{"node":"Word"') == 200


def test_a_run_that_is_refused_its_target_is_not_in_the_journal(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Else `status` and `resume` would take it for the newest, in place of the one that goes."""
    dsn, place = make_database(LIST), tmp_path / "journal.sqlite3"
    request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), infer(read_catalog(dsn)))
    journal = Journal(place)
    try:
        lock = journal.target_lock(request.target, "")
        with journal.locks.hold(lock, "in use", ""):
            refused = _ended(Runner(request, journal=place))
        assert isinstance(refused.error, UsageError)
        assert "another run writes to" in refused.error.what
        assert journal.runs() == []
    finally:
        journal.close()
