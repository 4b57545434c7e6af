"""The dead letters: listed, filtered, read, skipped with a reason, retried."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from geode_tui.migration.dead_letters import DeadLetter, insert_letters
from geode_tui.migration.journal import Journal
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.dialogs import ChoiceDialog, ErrorDialog, PromptDialog, TextDialog
from geode_tui.target import open_target
from geode_tui.widgets.letter_table import LetterTable, letter_values
from geode_tui.widgets.panes import Panes
from tests.conftest import MakeDatabase
from tests.journaled import LETTERS, journal_run
from tests.sitting import NARROW, NORMAL, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, credit numeric);
INSERT INTO customers VALUES (1, 2.50), (2, 'NaN'), (3, 'NaN'), (4, 7);
ANALYZE;
"""


def a_run(*letters: DeadLetter) -> int:
    """A run with these dead letters."""
    with closing(Journal()) as journal:
        return journal_run(journal, letters=letters)


def letters_of(run: int) -> list[DeadLetter]:
    """The dead letters of a run as journaled."""
    with closing(Journal()) as journal:
        return journal.dead_letters.of(run)


async def opened(sit: Sitting, run: int) -> DeadLettersScreen:
    """Open the dead letters of a run."""
    sit.app.show_in("run", str(run))
    await sit.sees(f"run {run} ", "rows ")
    await sit.press("d")
    await sit.until(lambda: isinstance(sit.app.screen, DeadLettersScreen), "the list")
    screen = sit.app.screen
    assert isinstance(screen, DeadLettersScreen)
    await sit.sees("dead letter")
    return screen


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_a_row_that_was_refused_is_shown_with_its_values_and_the_reason(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """All of it harmless: values that look like markup or turn the text around."""
    run = a_run(*LETTERS)
    async with sitting("run", tmp_path, size=size) as sit:
        await opened(sit, run)
        await sit.sees("2 dead letters · ! 2 open", "id=17 value NaN is no decimal", "id=[/23]")
        await sit.press("down")
        if size == NARROW:
            await sit.press("tab")
        await sit.sees("reason a node with [red]this key[/] is there", "note ·trick")
        assert "\u202e" not in sit.text
        await sit.press("y")
        assert "a node with [red]this key[/] is there" in sit.app.clipboard
        await sit.press("c")
        assert sit.app.clipboard == f"geode-tui deadletters list {run}"
        panes = sit.app.screen.query_one(Panes)
        panes.go_to(panes.panes[0])
        await sit.press("enter")
        assert isinstance(sit.app.screen, TextDialog)


async def test_a_filter_finds_rows_by_any_of_their_words(tmp_path: Path) -> None:
    """Signs that a database would take for a pattern stand for themselves."""
    odd = replace(LETTERS[0], key="id=50%_off", reason="100% wrong")
    run = a_run(*LETTERS, odd)
    async with sitting("run", tmp_path, size=NARROW) as sit:
        await opened(sit, run)
        await sit.sees("dead letters 3")
        await sit.press("slash")
        await sit.write("order UNIQUE")
        await sit.sees("dead letters 1", "id=[/23]")
        await sit.write("%_")
        await sit.sees("dead letters 1", "id=50%_off")
        await sit.write("nowhere")
        await sit.sees("no dead letter has these words")
        await sit.press("escape")
        await sit.sees("dead letters 3")


async def test_rows_are_given_up_with_a_reason_that_is_kept(tmp_path: Path) -> None:
    """One row, or all like it; the audit trail has who and why."""
    run = a_run(*LETTERS, replace(LETTERS[0], key="id=18"))
    async with sitting("run", tmp_path) as sit:
        await opened(sit, run)
        await sit.sees("! 3 open")
        await sit.press("s")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog), "which rows")
        await sit.sees("skip this row: id=17", "skip all 2 open of Order with class value")
        await sit.press("down", "enter")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog), "the reason")
        await sit.press("space", "enter")
        await sit.sees("a reason is needed")
        assert isinstance(sit.app.screen, PromptDialog)
        await sit.write("test data [/of 2019]")
        await sit.press("enter")
        await sit.sees("2 dead letters skipped", "! 1 open · – 2 skipped", "– skipped")
        await sit.sees("state skipped: test data [/of 2019]")
    states = [(letter.key, letter.state) for letter in letters_of(run)]
    assert sorted(states) == [("id=17", "skipped"), ("id=18", "skipped"), ("id=[/23]", "open")]
    with closing(Journal()) as journal:
        told = [entry for entry in journal.audit.entries(run) if "skipped" in entry.what]
    assert "test data [/of 2019]" in told[-1].after


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


async def test_rows_are_retried_once_the_source_is_mended(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What was mended is written, what was not is refused again, each row by itself."""
    dsn = make_database(SHOP)
    await migrated(dsn, tmp_path)
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE customers SET credit = 9.75 WHERE id = 2")
    await connection.close()
    async with sitting("run", tmp_path, dsn) as sit:
        await opened(sit, 1)
        await sit.sees("2 dead letters · ! 2 open")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog), "which rows")
        await sit.press("G", "end", "enter")
        await sit.sees("retried: 1 written, 1 refused again", "! 1 open · ✓ 1 written")
    assert sorted(letter.state for letter in letters_of(1)) == ["open", "written"]
    target = open_target(str(tmp_path / "shop.grafeo"), create=False)
    try:
        assert target.count_label("Customer") == 3
    finally:
        target.close()


async def test_a_retry_that_cannot_be_says_why_and_the_list_stays(tmp_path: Path) -> None:
    """The run's source is not there."""
    run = a_run(*LETTERS)
    async with sitting("run", tmp_path, size=NARROW) as sit:
        await opened(sit, run)
        await sit.sees("id=17")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog), "which rows")
        await sit.press("enter")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog), "the error")
        await sit.press("escape")
        await sit.sees("! 2 open", "id=17")
        assert "retry" in footer_keys(sit.app)


async def test_many_thousand_letters_are_paged_through(tmp_path: Path) -> None:
    """Only what is in view is read; the last one is one key away."""
    run = a_run(LETTERS[0])
    with closing(Journal()) as journal, journal.store.write() as db:
        many = [replace(LETTERS[0], key=f"id={n}") for n in range(30_000)]
        insert_letters(db, run, 0, many, 0.0)
    async with sitting("run", tmp_path, size=NARROW) as sit:
        await opened(sit, run)
        await sit.sees("dead letters 30,001", "id=17")
        await sit.press("G")
        await sit.sees("id=29999")
        await sit.press("pageup", "pageup")
        await sit.sees("id=29970")
        table = sit.app.screen.query_one(LetterTable)
        await sit.until(lambda: table.item is not None, "the letter")


async def test_a_run_without_dead_letters_says_so(tmp_path: Path) -> None:
    """No letter, no key that needs one; esc goes back, and so does the number of the screen."""
    run = a_run()
    async with sitting("run", tmp_path, size=TINY) as sit:
        await opened(sit, run)
        await sit.sees("✓ no dead letter: every row was written")
        assert not {"skip", "retry"} & set(footer_keys(sit.app))
        await sit.press("r", "s", "enter", "y", "tab")
        await sit.press("4")
        await sit.until(lambda: not isinstance(sit.app.screen, DeadLettersScreen), "the run")
        await opened(sit, run)
        await sit.press("escape")
        await sit.until(lambda: not isinstance(sit.app.screen, DeadLettersScreen), "the run")


def test_values_that_were_cut_are_shown_as_they_are() -> None:
    """The journal keeps so many characters of a row."""
    letter = replace(LETTERS[0], values='{"id": "17", "note": "a long te')
    assert letter_values(letter) == [("", letter.values)]
    whole = replace(letter, values='{"id": 17, "tags": ["a", null], "ok": true}')
    assert letter_values(whole) == [("id", "17"), ("tags", '["a", null]'), ("ok", "true")]
