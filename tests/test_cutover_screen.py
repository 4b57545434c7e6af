"""The cutover screen: gates first, a countdown, one key to abort, and the way back."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from textual.widgets import Input

from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.leftover import lock_name
from geode_tui.migration.replication.state import BlockedSession, CutoverSnapshot, Gate
from geode_tui.screens.cutover_options import CutoverOptionsDialog
from geode_tui.screens.dialogs import (
    ChoiceDialog,
    ConfirmDialog,
    PromptDialog,
    TextDialog,
)
from geode_tui.widgets.countdown import Countdown, big_digits, clock_text
from geode_tui.widgets.cutover_text import rehearsals_content
from geode_tui.widgets.gate_table import GateTable
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.session_table import SessionTable
from geode_tui.widgets.step_list import StepList
from tests.conftest import MakeDatabase
from tests.golden import SIZES, assert_golden
from tests.replicated import (
    HOSTILE_NAME,
    blocked,
    captured_run,
    gates,
    steps,
    told_cutover,
)
from tests.sitting import NARROW, NORMAL, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys

NOW = time.time()
LAG = Gate("lag", "lag", "amber", "0.8 s, wants < 0.5 s", NOW, True, next_step="wait a moment")
HELD = Gate("transactions", "no long transaction", "red", "pid 4411, cron, 14 min", NOW)
LETTERS = Gate("dead letters", "dead letters 0", "red", "2 open", NOW, True)
DRIFT = Gate("drift", "no drift", "red", "column [/x] is gone", NOW, next_step="put it back")


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The journal of this machine, as the engine writes it."""
    with closing(Journal()) as journal:
        yield journal


@contextmanager
def driven(journal: Journal, number: int) -> Iterator[None]:
    """A process cuts the run over."""
    with (
        journal.locks.hold(f"run-{number}", "", ""),
        journal.locks.hold(lock_name(number), "", ""),
    ):
        yield


def told_frozen(journal: Journal, number: int, since: float, **fields: object) -> CutoverSnapshot:
    """Writes have stood still for so many seconds, of five."""
    usual = {"steps": steps(1), "blocked": blocked(), "frozen_at": time.time() - since}
    return told_cutover(journal, number, state="frozen", **(usual | fields))


def fill(sit: Sitting, name: str, text: str) -> None:
    """Give a field of a dialog a text."""
    sit.app.screen.query_one(f"#{name}", Input).value = text


async def asked(sit: Sitting, kind: type) -> None:
    """Wait for a dialog of that kind."""
    await sit.until(lambda: isinstance(sit.app.screen, kind), f"a {kind.__name__}")


async def test_without_a_run_that_captures_the_screen_says_where_to_begin(tmp_path: Path) -> None:
    """No key does anything there."""
    async with sitting("cutover", tmp_path, size=NARROW) as sit:
        await sit.sees("no run captures changes yet", "7 how to get one")
        await sit.press("R", "w", "r", "K", "F", "o", "enter", "tab", "y", "escape")
        assert sit.workspace.cutting == ""
        assert footer_keys(sit.app) == ["help", "quit", "palette"]


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_each_gate_has_a_glyph_evidence_and_age(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Green, amber, red and waived; the one under the cursor is told whole."""
    number = captured_run(journal)
    journal.cutovers.waive(number, "dead letters", "known [/test] orders", "joe@db-admin")
    told_cutover(journal, number, gates=gates(LAG, HELD, LETTERS))
    async with sitting("cutover", tmp_path, size=size) as sit:
        await sit.sees("nothing moves: 2 of 9 gates not passed", "✓ backfill complete all 3")
        await sit.sees("○ dead letters 0 waived: known [/test] orders", "2:03:2")
        await sit.sees("! lag 0.8 s", "✗ no long transaction pid 4411, cron, 14 min")
        await sit.press("down")
        await sit.sees("○ waived by joe@db-admin: known [/test] orders")
        await sit.press("down", "down")
        await sit.sees("next wait a moment", "w waives it, for a reason")
        await sit.press("down", "down", "down")
        await sit.sees("it cannot be waived")
        assert "waive" not in footer_keys(sit.app)
        await sit.press("y")
        assert sit.app.clipboard.startswith("✗ no long transaction  pid 4411, cron, 14 min")


async def test_nothing_moves_before_every_gate_is_passed(journal: Journal, tmp_path: Path) -> None:
    """enter tells what is in the way, and begins nothing."""
    number = captured_run(journal)
    told_cutover(journal, number, gates=gates(HELD, DRIFT))
    async with sitting("cutover", tmp_path, size=NARROW) as sit:
        await sit.sees("nothing moves: 2 of 9 gates not passed")
        await sit.press("enter")
        await asked(sit, TextDialog)
        await sit.sees("nothing moves: 2 gates not passed", "pid 4411, cron", "column [/x] is gone")
        await sit.sees("next put it back")
        await sit.press("escape")
        assert sit.workspace.cutting == ""
        table = sit.app.screen.query_one(GateTable)
        assert table.gate is not None
        assert table.gate.name == "drift"
        await sit.press("c")
        assert sit.app.clipboard == f"geode-tui cutover {number} --rehearse"


async def test_gates_that_nobody_checked_do_not_let_anything_through(
    journal: Journal, tmp_path: Path
) -> None:
    """The first thing is to look at them."""
    number = captured_run(journal)
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("… no cutover yet", "r checks them")
        await sit.press("enter")
        await sit.sees("the gates are not checked yet: press")
        assert sit.workspace.cutting == ""
        await sit.press("c")
        assert sit.app.clipboard == f"geode-tui cutover {number} --gates"


async def test_a_gate_is_waived_for_a_reason_and_that_is_taken_back(
    journal: Journal, tmp_path: Path
) -> None:
    """Without a reason it is not; who and why are in the journal and on the screen at once."""
    number = captured_run(journal)
    told_cutover(journal, number, gates=gates(LETTERS))
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("nothing moves: 1 of 9 gates not passed")
        await sit.press("down", "w")
        await asked(sit, PromptDialog)
        await sit.press("enter")
        await sit.sees("a gate is waived for a reason only")
        fill(sit, "value", 'the burst [/is] over "at" eight')
        await sit.press("enter")
        await sit.sees(
            "✓ all 9 gates passed, 1 of them waived", "○ dead letters 0 waived: the burst [/is]"
        )
        waiver = journal.cutovers.waivers(number)["dead letters"]
        assert waiver.reason == 'the burst [/is] over "at" eight'
        await sit.press("w")
        await asked(sit, ConfirmDialog)
        await sit.press("tab", "enter")
        await sit.sees("nothing moves: 1 of 9 gates not passed")
        assert not journal.cutovers.waivers(number)


async def test_for_the_lag_alone_the_cutover_waits_by_itself(
    journal: Journal, tmp_path: Path
) -> None:
    """It may be waived, and need not be."""
    told_cutover(journal, captured_run(journal), gates=gates(LAG))
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("! all but the lag: enter starts, and waits until it is low")
        await sit.press("enter")
        await asked(sit, ConfirmDialog)


@pytest.mark.parametrize("name", ["shop", HOSTILE_NAME])
async def test_the_cutover_starts_only_when_the_name_of_the_database_is_typed(
    journal: Journal, tmp_path: Path, name: str
) -> None:
    """Whatever its label; what comes and what is waived is told before."""
    number = captured_run(journal, source=f"{name}@db1")
    journal.cutovers.waive(number, "lag", "known")
    told_cutover(journal, number, gates=gates(LAG))
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("✓ all 9 gates passed")
        await sit.press("enter")
        await asked(sit, ConfirmDialog)
        await sit.sees("stand at most 5.0 s", "In 20 rehearsals: 0.81 s usually, 1.4 s at most")
        await sit.sees("○ waived: lag: known", "esc aborts at any moment before the flip")
        await sit.press("enter", *"sho", "enter")
        assert isinstance(sit.app.screen, ConfirmDialog)
        dialog = sit.app.screen
        assert dialog._name == name
        await sit.press("escape")
        assert sit.workspace.cutting == ""


@pytest.mark.parametrize(("size", "digits"), [(NARROW, 5), (NORMAL, 10), ((200, 60), 13)])
async def test_the_countdown_is_the_biggest_thing_on_the_screen(
    journal: Journal, tmp_path: Path, size: tuple[int, int], digits: int
) -> None:
    """It goes down between two words of the engine; steps and who is blocked stand below it."""
    number = captured_run(journal)
    with driven(journal, number):
        told_cutover(journal, number)
        async with sitting("cutover", tmp_path, size=size) as sit:
            await sit.sees("✓ all 9 gates passed")
            told_frozen(journal, number, 0.1)
            await sit.sees("▶ writes stand", "then they go on by themselves", "▶ 2 send a token")
            countdown = sit.app.screen.query_one(Countdown)
            await sit.until(lambda: drawn(countdown) == digits, "the large digits")
            first = countdown.clock.digits
            assert re.fullmatch(r"00:0\d\.\d", first)
            await sit.until(lambda: countdown.clock.digits < first, "the countdown")
            assert footer_keys(sit.app) == ["abort", "help", "quit", "palette"]
            if size == NARROW:
                await sit.sees("gates │ steps │ blocked 2 │ rehearsals")
                await sit.press("tab")
            await sit.sees("4411 cron", "nightly repo", "idle in transac", "5120 app")
            assert countdown.is_on_screen
            told_frozen(journal, number, 9.0)
            await sit.sees("the freeze is being released")
            assert countdown.clock.digits == "00:00.0"


def drawn(countdown: Countdown) -> int:
    """How many lines of digits are drawn."""
    return sum(bool(set("█▀▄") & set(line)) for line in countdown.render().plain.split("\n"))


async def test_one_key_aborts_without_a_question(journal: Journal, tmp_path: Path) -> None:
    """By way of the journal, so it works for the cutover of any process, and from any pane."""
    number = captured_run(journal)
    with driven(journal, number):
        told_frozen(journal, number, 0.5)
        async with sitting("cutover", tmp_path, size=NARROW) as sit:
            await sit.sees("▶ writes stand")
            await sit.press("tab", "escape")
            await sit.until(lambda: journal.cutovers.asked(number), "the request")
            request = journal.cutovers.asked(number)
            assert request is not None
            assert request.what == "abort"
            told_cutover(
                journal,
                number,
                state="aborted",
                frozen_at=NOW,
                released_at=NOW + 1.25,
                steps=steps(1, running=False),
                error="aborted by joe",
                next_step="rehearse again",
            )
            await sit.sees("↺ aborted: everything is as it was", "✗ aborted by joe")
            assert "too late" not in sit.text
            await sit.sees("next rehearse again")


async def test_an_abort_that_comes_too_late_is_told(journal: Journal, tmp_path: Path) -> None:
    """The flip was done meanwhile: the way back is another key."""
    number = captured_run(journal)
    with driven(journal, number):
        told_frozen(journal, number, 0.5)
        async with sitting("cutover", tmp_path) as sit:
            await sit.sees("▶ writes stand")
            await sit.press("escape")
            await sit.until(lambda: journal.cutovers.asked(number), "the request")
            told_cutover(journal, number, state="watching", watch_until=time.time() + 99)
            await sit.sees("too late to abort: F falls back")


async def test_a_process_that_is_gone_is_not_waited_for(journal: Journal, tmp_path: Path) -> None:
    """A freeze ends by itself; what is left is taken back with r."""
    number = captured_run(journal)
    with driven(journal, number):
        told_frozen(journal, number, 0.5, told_at=time.time() - 4)
        async with sitting("cutover", tmp_path) as sit:
            await sit.sees("! no word for 0:0", "a freeze ends with it")
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("! left open", "writes go on by themselves; r takes back what is left")
        assert "abort" not in footer_keys(sit.app)
        assert "check gates" in footer_keys(sit.app)


@pytest.mark.parametrize(("key", "wish"), [("K", "keep"), ("F", "fall back")])
async def test_in_the_watch_window_one_keeps_or_falls_back(
    journal: Journal, tmp_path: Path, key: str, wish: str
) -> None:
    """The name of the database is typed, then the process that watches is asked."""
    number = captured_run(journal)
    with driven(journal, number):
        told_cutover(
            journal,
            number,
            state="watching",
            frozen_at=NOW - 70,
            released_at=NOW - 68.9,
            watch_until=time.time() + 831,
            steps=steps(4),
        )
        async with sitting("cutover", tmp_path) as sit:
            await sit.sees("▶ watch window", "F falls back, K keeps · writes stood for 1.1 s")
            assert re.fullmatch(r"13:\d\d", sit.app.screen.query_one(Countdown).clock.digits)
            assert footer_keys(sit.app)[:2] == ["keep", "fall back"]
            await sit.press("escape", key)
            await asked(sit, ConfirmDialog)
            assert journal.cutovers.asked(number) is None
            await sit.press(*"shop", "enter")
            await sit.until(lambda: journal.cutovers.asked(number), "the request")
            request = journal.cutovers.asked(number)
            assert request is not None
            assert request.what == wish
            await sit.press("c")
            assert sit.app.clipboard == f"geode-tui cutover {number} --fall-back"


async def test_a_window_that_nobody_watches_says_so(journal: Journal, tmp_path: Path) -> None:
    """After a kill both ways are still there; it cannot be begun anew."""
    number = captured_run(journal)
    told_cutover(journal, number, state="watching", watch_until=time.time() - 5)
    async with sitting("cutover", tmp_path, size=NARROW) as sit:
        await sit.sees("! nobody watches: K keeps the graph, F falls back")
        await sit.sees("the watch window ended at")
        assert footer_keys(sit.app)[:2] == ["keep", "fall back"]
        assert "start" not in footer_keys(sit.app)


def test_rehearsals_stand_beside_the_budget(journal: Journal) -> None:
    """p50, p95 and the longest; what is over the budget is red."""
    number = captured_run(journal)
    shown = rehearsals_content(told_cutover(journal, number))
    assert re.findall(r"(p50|p95|longest|budget) +(\S+ s)", shown.plain) == [
        ("p50", "0.81 s"),
        ("p95", "1.1 s"),
        ("longest", "1.4 s"),
        ("budget", "5.0 s"),
    ]
    assert "20 rehearsals" in shown.plain
    tight = rehearsals_content(told_cutover(journal, number, budget_seconds=1.0))
    assert "bold $text-error" in {str(span.style) for span in tight.spans}
    assert "bold $text-error" not in {str(span.style) for span in shown.spans}
    assert "none passed yet" in rehearsals_content(None).plain


async def test_options_are_checked_kept_and_in_the_copied_command(
    journal: Journal, tmp_path: Path
) -> None:
    """A budget, the commands to run; what was used last is offered again."""
    number = captured_run(journal)
    told_cutover(journal, number)
    async with sitting("cutover", tmp_path) as sit:
        await sit.sees("✓ all 9 gates passed")
        await sit.press("o")
        await asked(sit, CutoverOptionsDialog)
        await sit.sees("seconds that writes may stand", "command on-flip")
        fill(sit, "budget", "soon")
        await sit.press("enter")
        await sit.sees("soon is no number of seconds")
        fill(sit, "budget", "2.5")
        fill(sit, "on-freeze", "stop-app")
        await sit.press("enter")
        await sit.sees("a hook freezes the application and none releases it")
        fill(sit, "on-freeze", "")
        fill(sit, "on-flip", "turn 'it over'")
        await sit.press("ctrl+s")
        await sit.press("c")
        options = "--budget 2.5 --on-flip 'turn '\"'\"'it over'\"'\"''"
        assert sit.app.clipboard == f"geode-tui cutover {number} {options}"
        await sit.press("R")
        await asked(sit, ConfirmDialog)
        await sit.sees("Writes stand at most 2.5 s")


@pytest.mark.parametrize("size", [TINY, NARROW, NORMAL, (200, 60)])
async def test_no_name_breaks_the_screen(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Markup, quotes, wide characters, emoji and 63 bytes in every field."""
    number = captured_run(journal, source=f"{HOSTILE_NAME}@db1", target="[/x] 🙂.grafeo")
    evil = f"{HOSTILE_NAME}\n\x1b[31m"
    gate = Gate("drift", evil, "red", evil, NOW, True, next_step=evil)
    session = BlockedSession(7, evil, evil, NOW, evil, evil)
    with driven(journal, number):
        told_frozen(
            journal,
            number,
            0.1,
            method=evil,
            gates=gates(gate),
            steps=tuple(replace(s, title=evil, detail=evil, undo=evil) for s in steps(1)),
            blocked=(session,),
            error=evil,
            next_step=evil,
        )
        async with sitting("cutover", tmp_path, size=size) as sit:
            await sit.sees("▶ writes stand run 1 · ")
            for _ in range(5):
                await sit.press("tab")
                await sit.pilot.pause()
                assert "\x1b" not in sit.text
            table = sit.app.screen.query_one(SessionTable)
            assert table.row(0)[1] == f"{HOSTILE_NAME}↵␛[31m"
            assert HOSTILE_NAME in sit.app.screen.query_one(StepList).plain


async def test_leaving_while_a_cutover_goes_says_that_it_goes_on(
    journal: Journal, tmp_path: Path
) -> None:
    """One may stay; a freeze ends by itself."""
    number = captured_run(journal)
    with driven(journal, number):
        told_frozen(journal, number, 0.1)
        async with sitting("cutover", tmp_path) as sit:
            await sit.sees("▶ writes stand")
            sit.workspace.cutting = "cutover"
            await sit.press("q")
            await asked(sit, ChoiceDialog)
            await sit.sees("a cutover is under way", "It goes on without geode-tui")
            await sit.press("enter")
            await sit.sees("▶ writes stand")
            sit.workspace.cutting = ""


async def test_at_80_columns_the_steps_come_to_the_front_when_it_begins(
    journal: Journal, tmp_path: Path
) -> None:
    """And every pane is a tab away."""
    number = captured_run(journal)
    with driven(journal, number):
        told_cutover(journal, number)
        async with sitting("cutover", tmp_path, size=NARROW) as sit:
            await sit.sees("gates │ steps │ blocked │ rehearsals", "✓ backfill complete")
            assert not sit.app.screen.query_one(Countdown).is_on_screen
            await sit.press("tab")
            await sit.sees("… 1 block writes on 12 tables")
            await sit.press("tab")
            await sit.sees("nobody waits")
            await sit.press("tab")
            await sit.sees("p95 1.1 s")
            told_frozen(journal, number, 0.1)
            await sit.sees("✓ 1 block writes on 12 tables", "undo: drop the triggers")
            panes = sit.app.screen.query_one(Panes)
            assert panes.shown is panes.panes[1]


async def test_help_names_every_key(journal: Journal, tmp_path: Path) -> None:
    """? explains the screen."""
    told_cutover(journal, captured_run(journal))
    async with sitting("cutover", tmp_path, size=(160, 70)) as sit:
        await sit.sees("✓ all 9 gates passed")
        await sit.press("question_mark")
        await sit.sees("The hour in which writes stop", "rehearses: all but the flip")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.44, "00:01.4"), (-3, "00:00.0"), (599.94, "09:59.9"), (872, "14:32"), (3_723, "1:02:03")],
)
def test_a_clock_shows_tenths_while_they_count(seconds: float, text: str) -> None:
    """And never less than nothing."""
    assert clock_text(seconds) == text


def test_digits_are_drawn_as_large_as_asked() -> None:
    """One point is two columns wide and one line high, or half and double of that."""
    assert big_digits("1", 2) == ["  ██  ", "████  ", "  ██  ", "  ██  ", "██████"]
    sizes: Sequence[tuple[int, int]] = [
        (len(big_digits("00:01.4", n)), len(big_digits("00:01.4", n)[0])) for n in (1, 2, 3, 4)
    ]
    assert sizes == [(3, 23), (5, 46), (8, 69), (10, 92)]


GOODS = """
CREATE TABLE goods (id int PRIMARY KEY, name text);
INSERT INTO goods SELECT n, 'good ' || n FROM generate_series(1, 50) n;
ANALYZE;
"""


@pytest.mark.slow
async def test_a_cutover_is_driven_from_the_screens_from_the_first_row_to_the_way_back(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A run that captures, synchronization, gates, a rehearsal, the flip, and back again."""
    dsn = make_database(GOODS)
    async with sitting("sync", tmp_path, dsn) as sit:
        catalog = sit.workspace.catalog
        assert catalog is not None
        name = catalog.server.database
        await sit.sees("r begins one, after its plan was shown")
        await sit.press("r")
        await asked(sit, ConfirmDialog)
        await sit.press("tab", "enter")
        await sit.sees("is done: balanced", "✓ capture", "✓ catch up")
        await sit.press("7")
        await sit.sees("■ stopped")
        await sit.press("r")
        await asked(sit, ConfirmDialog)
        await sit.press("tab", "enter")
        await sit.sees("✓ in step")
        await write(dsn, "INSERT INTO goods VALUES (51, 'late [/x]')")
        await sit.sees("Good node 1 0")
        await sit.press("space")
        await sit.sees("! paused", "changes are stored and not applied")
        await write(dsn, "INSERT INTO goods VALUES (52, 'later')")
        await sit.sees("backlog 1 change")
        await sit.press("space")
        await sit.sees("✓ in step", "Good node 2 0")
        await sit.press("8", "r")
        await sit.sees("of 9 gates are passed", "✗ rehearsal passed none within 7 days")
        with closing(Journal()) as journal:
            journal.cutovers.waive(1, "lag", "else one waits for a minute")
        await sit.press("R")
        await asked(sit, ConfirmDialog)
        await sit.press("tab", "enter")
        await sit.sees("✓ rehearsal passed", "1 rehearsal ")
        assert await write(dsn, "UPDATE goods SET name = 'new' WHERE id = 1") == "UPDATE 1"
        await sit.until(lambda: not sit.workspace.cutting, "the end of the rehearsal")
        await sit.press("enter")
        await asked(sit, ConfirmDialog)
        fill(sit, "name", name)
        await sit.press("tab", "tab", "enter")
        await sit.sees("▶ watch window", "F falls back, K keeps")
        with pytest.raises(asyncpg.PostgresError, match="takes no writes now"):
            await write(dsn, "DELETE FROM goods")
        await sit.press("F")
        await asked(sit, ConfirmDialog)
        fill(sit, "name", name)
        await sit.press("tab", "tab", "enter")
        await sit.sees("↺ fallen back: the source is the master")
        assert await write(dsn, "DELETE FROM goods WHERE id = 51") == "DELETE 1"
        await sit.until(lambda: not sit.workspace.cutting, "its end")
        await sit.press("7")
        await sit.sees("✓ in step", "Good node 3 1")
        own = sit.workspace.synchronizer
        assert own is not None
        own.stop()
        await asyncio.to_thread(own.join, PATIENCE)


async def write(dsn: str, statement: str) -> str:
    """What the application does."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_looks_as_it_was_accepted(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Before the start, with gates that were checked now."""
    number = captured_run(journal)
    fresh = [replace(gate, checked_at=NOW + 3_600) for gate in gates(LAG, HELD)]
    told_cutover(journal, number, gates=tuple(fresh))
    async with sitting("cutover", tmp_path, size=size) as sit:
        await sit.sees("nothing moves")
        await sit.pilot.pause(0.6)
        width, height = size
        assert_golden(sit.text.partition("\n")[2], f"cutover-{width}x{height}")
