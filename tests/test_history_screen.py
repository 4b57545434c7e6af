"""The history screen: every run there was, reopened, resumed, rolled back, compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Input

from geode_tui.migration.journal import Journal
from geode_tui.migration.run_list import RunLine, RunList, newest_resumable
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog, ErrorDialog
from geode_tui.screens.run_comparison import ComparisonDialog
from geode_tui.target import open_target
from geode_tui.widgets.run_table import RunTable
from tests.conftest import MakeDatabase
from tests.golden import SIZES, assert_golden
from tests.journaled import BALANCED, DIFFERS, HALF, LETTERS, journal_run
from tests.sitting import NARROW, NORMAL, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys

SMALL = """
CREATE TABLE people (id int PRIMARY KEY, name text);
INSERT INTO people SELECT n, 'person ' || n FROM generate_series(1, 300) n;
ANALYZE people;
"""


@pytest.fixture(autouse=True)
def _clock_of_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown as the same texts everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def some_runs() -> None:
    """Four runs that ended in four ways, with names that look like markup."""
    with closing(Journal()) as journal:
        journal_run(journal, "done", ledger=BALANCED, letters=LETTERS)
        journal_run(journal, "differs", ledger=DIFFERS, target="/srv/a long folder/[/foo].grafeo")
        full = "the disk [/full] is full: /srv\nfree some space"
        journal_run(journal, "failed", moved=HALF, source="[/x]@db2", error=full)
        journal_run(journal, "stopped", moved=HALF, label="PROD", error="stopped on request")


def under_cursor(sit: Sitting) -> RunLine:
    """The run under the cursor."""
    line = sit.app.screen.query_one(RunTable).line
    assert line is not None
    return line


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_every_run_is_listed_with_how_it_ended(tmp_path: Path, size: tuple[int, int]) -> None:
    """The newest first; what stands under the cursor is told beside the list."""
    some_runs()
    async with sitting("history", tmp_path, size=size) as sit:
        await sit.sees("runs 4", "■ stopped", "✗ failed", "✗ 1/3 differ", "✓ balanced")
        await sit.press("down")
        assert under_cursor(sit).number == 3
        if size == NARROW:
            await sit.press("tab")
        await sit.sees("✗ the disk [/full] is full: /srv", "7 of 10 done", "by joe@db-admin")
        await sit.sees("begin 00:00:10 · backfill 00:00:20 · after [/users] 00:00:30")
        await sit.press("escape", "c")
        assert sit.app.clipboard == "geode-tui runs show 3"
        await sit.press("y")
        assert "[/x]@db2" in sit.app.clipboard


async def test_a_filter_keeps_the_runs_with_all_words(tmp_path: Path) -> None:
    """Number, state, kind, source or target; esc in the filter shows all again."""
    some_runs()
    async with sitting("history", tmp_path, size=NARROW) as sit:
        await sit.sees("runs 4")
        await sit.press("slash")
        await sit.write("db2 fail")
        await sit.sees("runs 1")
        await sit.press("enter")
        assert under_cursor(sit).number == 3
        await sit.press("slash")
        await sit.write("nothing like it")
        await sit.sees("no run has these words")
        await sit.press("escape")
        await sit.sees("runs 4")
        assert not isinstance(sit.app.focused, Input)


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_a_run_is_reopened_as_it_was(tmp_path: Path, size: tuple[int, int]) -> None:
    """Phases, entities, log and ledger come from the journal; esc goes back to the same line."""
    some_runs()
    async with sitting("history", tmp_path, size=size) as sit:
        await sit.sees("runs 4")
        await sit.press("down", "down", "down", "enter")
        await sit.sees("run 1 ✓ assess 0:10", "done, reopened: shop@db1 ─▶ shop.grafeo", "5,998")
        if size == NORMAL:
            await sit.sees("retried after 40001 [/serialization]", "peak 1.8 k/s, 0:56 from 00:00")
        assert sit.workspace.runner is None
        await sit.press("d")
        await sit.sees("run 1 · 2 dead letters · ! 2 open", "NaN is no decimal")
        await sit.press("escape")
        await sit.press("v")
        await sit.sees("✓ balanced: every row of 3 entries", "run 1 ")
        await sit.press("4", "escape")
        await sit.sees("6 History", "runs 4")
        assert under_cursor(sit).number == 1


async def test_two_runs_are_compared(tmp_path: Path) -> None:
    """m on one, m on the other; what differs stands first."""
    some_runs()
    async with sitting("history", tmp_path) as sit:
        await sit.sees("runs 4")
        await sit.press("m")
        await sit.sees("run 4 is marked, m on another compares", "●")
        await sit.press("m")
        assert "●" not in sit.text
        await sit.press("m", "down", "down", "down", "m")
        await sit.until(lambda: isinstance(sit.app.screen, ComparisonDialog), "the comparison")
        await sit.sees("run 1 and run 4", "! 2 entities differ, of 3 entities")
        await sit.sees("Order ! differs 5,998 │ 3,000 2 │ 0", "User ✓ same 4,000")
        await sit.sees("mapping", "the same")
        await sit.press("y")
        assert "Order\t! differs\trows 5,998 │ 3,000" in sit.app.clipboard
        await sit.press("escape")
        assert "●" not in sit.text


async def test_only_what_a_run_allows_is_offered(tmp_path: Path) -> None:
    """At most seven keys, true for the run under the cursor."""
    some_runs()
    async with sitting("history", tmp_path) as sit:
        await sit.sees("4 migrate ■ stopped")
        offered = set(footer_keys(sit.app))
        assert {"open", "resume", "roll back"} <= offered
        assert "ledger" not in offered
        await sit.press("G")
        await sit.until(lambda: under_cursor(sit).number == 1)
        offered = set(footer_keys(sit.app))
        assert {"open", "ledger", "roll back"} <= offered
        assert "resume" not in offered
        for _ in range(4):
            assert len(footer_keys(sit.app)) - 1 <= 7, footer_keys(sit.app)
            await sit.press("k")


async def test_a_run_of_a_production_source_is_resumed_by_its_name(tmp_path: Path) -> None:
    """The label is the run's, whatever this sitting is connected to."""
    some_runs()
    async with sitting("history", tmp_path, size=NARROW) as sit:
        await sit.sees("4 ■ stopped")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.sees("run 4, stopped", "not connected to its source", "type shop")
        await sit.press("escape")
        assert sit.workspace.runner is None


async def migrated(dsn: str, folder: Path) -> None:
    """A real run to its end, of an earlier sitting."""
    workspace = Workspace(
        target_place=str(folder / "shop.grafeo"), mapping_path=folder / "mapping.yaml"
    )
    await workspace.connect(dsn)
    runner = workspace.start_run()
    assert await asyncio.to_thread(runner.join, PATIENCE)
    await workspace.close()
    assert runner.error is None


def nodes(folder: Path) -> int:
    """How many people the graph holds."""
    target = open_target(str(folder / "shop.grafeo"), create=False)
    try:
        return target.count_label("Person")
    finally:
        target.close()


async def test_a_run_is_rolled_back_when_the_targets_name_is_typed_and_goes_on_again(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """To a checkpoint, from where it is resumed; then to before it."""
    dsn = make_database(SMALL)
    await migrated(dsn, tmp_path)
    assert nodes(tmp_path) == 300
    async with sitting("history", tmp_path, dsn) as sit:
        await sit.sees("1 migrate ✓ done")
        await roll_back(sit, "backfill")
        await sit.sees(
            "■ stopped", "back at checkpoint backfill: 301 nodes"
        )  # one tells the mapping
        assert nodes(tmp_path) == 0
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.press("tab", "enter")
        await sit.sees("4 Run", "is done: balanced")
        assert nodes(tmp_path) == 300
        await sit.press("6")
        await sit.sees("1 migrate ✓ done")
        await roll_back(sit, "all of it")
        await sit.sees("↺ rolled back", "rolled back: 301 nodes and 0")
        assert nodes(tmp_path) == 0
        await sit.press("enter")
        await sit.sees("rolled back, reopened")


async def roll_back(sit: Sitting, to: str) -> None:
    """Roll the run under the cursor back to what a line of the choice begins with."""
    await sit.until(lambda: "roll back" in footer_keys(sit.app), "the key")
    await sit.press("R")
    await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog), "the checkpoints")
    choices = [text for _, text in sit.app.screen._choices]  # type: ignore[attr-defined]
    place = next(n for n, text in enumerate(choices) if text.startswith(to))
    await sit.press(*["down"] * place, "enter")
    await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
    await sit.press("enter")
    assert isinstance(sit.app.screen, ConfirmDialog), "not without the name"
    await sit.write("shop.grafeo")
    await sit.press("enter")


async def test_a_rollback_that_cannot_be_says_why_and_changes_nothing(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The graph of the run is gone."""
    dsn = make_database(SMALL)
    await migrated(dsn, tmp_path)
    (tmp_path / "shop.grafeo").unlink()
    async with sitting("history", tmp_path, size=NARROW) as sit:
        await sit.sees("1 ✓ done")
        await roll_back(sit, "all of it")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog), "the error")
        await sit.sees("nothing of run 1 to take back", "put the graph back")
        await sit.press("escape")
        await sit.sees("1 ✓ done")


async def test_a_thousand_runs_are_listed_at_once(tmp_path: Path) -> None:
    """The sums follow; the cursor stays on its run meanwhile."""
    with closing(Journal()) as journal:
        journal_run(journal, "done", ledger=BALANCED)
        copy_runs(journal, 1_000)
    async with sitting("history", tmp_path, size=NARROW) as sit:
        await sit.sees("runs 1,001", "1001 ✓ done")
        await sit.press("G")
        await sit.until(lambda: under_cursor(sit).number == 1, "the last")
        await sit.sees("15,996", "✓ balanced")
        assert under_cursor(sit).number == 1


def copy_runs(journal: Journal, number: int) -> None:
    """As many copies of the first run, without its entities."""
    with journal.store.write() as db:
        names = [row["name"] for row in db.execute("PRAGMA table_info(run)")]
        rest = ", ".join(name for name in names if name not in ("number", "uid"))
        db.executemany(
            f"INSERT INTO run (uid, {rest}) SELECT ?, {rest} FROM run WHERE number = 1",
            [(f"copy {n}",) for n in range(number)],
        )


@pytest.mark.parametrize("size", [NARROW, TINY])
async def test_before_any_run_the_screen_says_what_to_do(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """An empty list is a direction, and no key does harm."""
    async with sitting("history", tmp_path, size=size) as sit:
        await sit.sees("no run yet", "press 4 to make one")
        await sit.press("enter", "r", "R", "m", "v", "d", "y", "tab", "escape", "slash", "escape")
        await sit.sees("no run yet")


async def test_a_journal_that_cannot_be_read_is_told_in_place(tmp_path: Path) -> None:
    """What, why and what next, as long as it is so."""
    with closing(Journal()) as journal:
        path = journal.path
    async with sitting("history", tmp_path, size=NARROW) as sit:
        await sit.sees("no run yet")
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()
        path.write_bytes(b"this is no database, whatever its name says" * 100)
        await sit.sees("✗ cannot open the journal", "check the disk")


def test_the_newest_run_to_go_on_with_is_the_last_on_its_target() -> None:
    """What a later run wrote to the same graph was not stopped."""
    with closing(Journal()) as journal:
        journal_run(journal, "stopped", moved=HALF)
        journal_run(journal, "done")
        assert newest_resumable(RunList().lines()) is None
        journal_run(journal, "failed", moved=HALF, target="other.grafeo")
        newest = newest_resumable(RunList().lines())
    assert newest is not None
    assert newest.number == 3


def test_a_run_that_wrote_is_gone_on_with_before_newer_ones_that_did_not() -> None:
    """A run that failed before its first row has nothing that waits to be ended."""
    with closing(Journal()) as journal:
        journal_run(journal, "failed", moved=())
        newest = newest_resumable(RunList().lines())
        assert newest is not None
        assert newest.number == 1
        journal_run(journal, "stopped", moved=HALF)
        journal_run(journal, "failed", moved=())
        journal_run(journal, "failed", moved=(), target="other.grafeo")
        newest = newest_resumable(RunList().lines())
    assert newest is not None
    assert newest.number == 2


async def test_the_screens_look_as_they_were_accepted(tmp_path: Path) -> None:
    """History, a reopened run and its dead letters, in three widths of one terminal."""
    some_runs()
    async with sitting("history", tmp_path, size=NARROW, target="") as sit:
        await sit.sees("runs 4", "✓ balanced")
        await golden(sit, "history")
        await sit.press("G", "enter")
        await sit.sees("done, reopened", "5,998")
        await sit.pilot.pause(1.0)
        await golden(sit, "run-reopened")
        await sit.press("d")
        await sit.sees("NaN is no decimal")
        await golden(sit, "dead-letters")


async def golden(sit: Sitting, name: str) -> None:
    """Compare all but the first line, which has a clock."""
    for width, height in SIZES:
        await sit.pilot.resize_terminal(width, height)
        await sit.pilot.pause(0.5)
        assert_golden(sit.text.partition("\n")[2], f"{name}-{width}x{height}")
    await sit.pilot.resize_terminal(*NARROW)
    await sit.pilot.pause(0.2)
