"""The sync screen: how far the graph is behind, what it costs the source, and what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from geode_tui.migration.events import ZERO_DOWNTIME_PHASES, EntityProgress, PhaseProgress
from geode_tui.migration.journal import Journal
from geode_tui.migration.replication.sight import ReplicationWatch
from geode_tui.migration.replication.state import SyncEntity
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog
from geode_tui.widgets.alarm_list import AlarmList
from geode_tui.widgets.figure_flow import FigureFlow
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.stream_plot import Curve, StreamPlot
from geode_tui.widgets.sync_table import SyncTable
from geode_tui.widgets.sync_text import figures_of, seconds_text
from geode_tui.widgets.throughput import Sample
from tests.conftest import MakeDatabase
from tests.golden import SIZES, assert_golden
from tests.journaled import going, journal_run, tell
from tests.replicated import (
    HOSTILE_NAME,
    MIB,
    alarm,
    captured_run,
    mark_ten_minutes,
    told_sync,
)
from tests.sitting import NARROW, NORMAL, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys


@contextmanager
def driven(journal: Journal, number: int) -> Iterator[None]:
    """A process drives the run."""
    with journal.locks.hold(f"run-{number}", "", ""):
        yield


@pytest.fixture
def journal() -> Iterator[Journal]:
    """The journal of this machine, as the engine writes it."""
    with closing(Journal()) as journal:
        yield journal


async def test_without_a_run_that_captures_the_screen_says_how_to_get_one(
    journal: Journal, shop_dsn: str, tmp_path: Path
) -> None:
    """An empty screen is a direction; the keys that need a run do nothing."""
    journal_run(journal)
    async with sitting("sync", tmp_path, size=NARROW) as sit:
        await sit.sees("no run captures changes yet", "1 connect to the source")
        await sit.press("r", "o", "space", "s", "d", "h", "tab", "y", "escape", "slash")
        assert "run" not in footer_keys(sit.app)
    async with sitting("sync", tmp_path, shop_dsn) as sit:
        await sit.sees("copies the command that begins one:", "--strategy zero-downtime")
        await sit.press("c")
        assert "migrate --strategy zero-downtime --source" in sit.app.clipboard


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_a_stream_in_step_shows_what_the_graph_is_and_what_it_costs(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """State, fence with its age, lag, rates, backlog, and what the source keeps of its budget."""
    number = captured_run(journal)
    mark_ten_minutes(journal, number)
    with driven(journal, number):
        told_sync(journal, number)
        async with sitting("sync", tmp_path, size=size) as sit:
            await sit.sees(
                "✓ in step run 1 · slot geode_7 · shop@db1 ─▶ shop.grafeo",
                "the graph is the source as of",
                "fence 802:802:",
                "lag 0.42 s 12.4 KiB behind",
                "backlog 31 changes",
                "spool 1.2 MiB on our disk",
                "captured 1.2 k/s 144.5 k in all",
                "source keeps 14.2 MiB of 1.0 GiB",
                "full in 3 d 4 h at this rate",
                "oldest open 0:02 pid 4411, cron",
            )
            await sit.sees("captured 623/s, applied 623/s", "backlog 0", "▒▒", "░░")
            assert {"pause", "stop"} <= set(footer_keys(sit.app))
            assert len(footer_keys(sit.app)) <= 7
            if size == NARROW:
                await sit.press("tab")
            await sit.sees("Order node 48,112 340 21 2 0", "PLACED_BY Order→User rel")


async def test_at_80_columns_every_pane_is_a_tab_away(journal: Journal, tmp_path: Path) -> None:
    """Curves, entities, alarms; esc goes back to the first."""
    number = captured_run(journal)
    with driven(journal, number):
        told_sync(journal, number, alarms=(alarm(),))
        async with sitting("sync", tmp_path, size=NARROW) as sit:
            await sit.sees("curves │ entities │ alarms 1")
            await sit.press("tab")
            await sit.sees("48,112")
            await sit.press("tab")
            await sit.sees("✗ the slot geode_7 is lost for 1:1", "next validate and repair")
            await sit.press("y")
            assert sit.app.clipboard.startswith("✗ the slot geode_7 is lost")
            await sit.press("escape")
            panes = sit.app.screen.query_one(Panes)
            assert panes.shown is panes.panes[0]


async def test_a_process_that_says_nothing_is_told_with_the_age_of_its_figures(
    journal: Journal, tmp_path: Path
) -> None:
    """Figures that are old are not shown as those of now."""
    number = captured_run(journal)
    with driven(journal, number):
        told_sync(journal, number)
        async with sitting("sync", tmp_path) as sit:
            await sit.sees("lag 0.42 s")
            assert "no word for" not in sit.text
            fresh = sit.app.screen.query_one(FigureFlow).render()
            told_sync(journal, number, told_at=time.time() - 75)
            await sit.sees("! no word for 1:1", "the figures are those of ")
            old = sit.app.screen.query_one(FigureFlow).render()
            assert old.plain == fresh.plain
            assert not old.is_same(fresh)


async def test_a_synchronization_that_was_killed_is_not_shown_as_going(
    journal: Journal, tmp_path: Path
) -> None:
    """What it told last is not what is; it can be begun again."""
    number = captured_run(journal)
    told_sync(journal, number)
    async with sitting("sync", tmp_path) as sit:
        await sit.sees("■ stopped: its process ended without a word")
        assert {"run", "once"} <= set(footer_keys(sit.app))
        assert not {"pause", "stop"} & set(footer_keys(sit.app))


async def test_after_the_cutover_nobody_waits_for_a_word(journal: Journal, tmp_path: Path) -> None:
    """The capture is taken back: that nothing is told is as it should be."""
    number = captured_run(journal)
    told_sync(journal, number, told_at=time.time() - 75)
    journal.captures.set_state(number, "torn down", "the cutover is kept")
    async with sitting("sync", tmp_path) as sit:
        await sit.sees("■ torn down", "lag 0.42 s")
        assert "no word for" not in sit.text
        assert not {"run", "once", "pause"} & set(footer_keys(sit.app))


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_a_lost_capture_is_red_and_named_with_the_next_step(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """On this screen, on all others, and in the question of r, which makes it anew."""
    number = captured_run(journal)
    journal.captures.set_state(number, "lost", "the slot is gone")
    told_sync(journal, number, state="failed", reason="slot [/geode_7] does not exist")
    async with sitting("sync", tmp_path, size=size) as sit:
        await sit.sees("✗ capture lost", "r makes the capture anew and compares everything once")
        await sit.sees("slot [/geode_7] does not exist", "7 Sync ✗")
        await sit.press("c")
        assert sit.app.clipboard == f"geode-tui sync {number} --heal"
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.sees("If the capture is lost it is made anew, and everything is compared")
        await sit.press("escape", "2")
        await sit.sees("7 Sync ✗")


async def test_pause_and_stop_are_asked_by_way_of_the_journal(
    journal: Journal, tmp_path: Path
) -> None:
    """So they work for a process of another terminal; stopping says what it costs the source."""
    number = captured_run(journal)
    with driven(journal, number):
        told_sync(journal, number)
        async with sitting("sync", tmp_path) as sit:
            await sit.sees("✓ in step")
            await sit.press("space")
            await sit.until(lambda: journal.control.knobs(number).paused, "the pause")
            await sit.sees("! a pause is asked for by ")
            told_sync(journal, number, state="paused", reason="paused by joe")
            await sit.sees("! paused", "paused by joe")
            await sit.press("space")
            await sit.until(lambda: not journal.control.knobs(number).paused, "going on")
            await sit.press("s")
            await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
            await sit.sees("now it keeps 14.2 MiB of at most 1.0 GiB")
            await sit.press("escape")
            assert not journal.control.knobs(number).stop
            await sit.press("s")
            await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
            await sit.press("tab", "enter")
            await sit.until(lambda: journal.control.knobs(number).stop, "the stop")


async def test_production_wants_its_name_typed_before_anything_is_read(
    journal: Journal, tmp_path: Path
) -> None:
    """The same question as before a run."""
    number = captured_run(journal, source=f"{HOSTILE_NAME}@db1", label="PROD")
    told_sync(journal, number, state="stopped")
    async with sitting("sync", tmp_path) as sit:
        await sit.sees("■ stopped")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.press(*"shop", "enter")
        assert isinstance(sit.app.screen, ConfirmDialog)
        assert sit.workspace.synchronizer is None


async def test_figures_that_need_a_person_are_coloured(journal: Journal) -> None:
    """A budget that is nearly used, one that is soon full, a lag, a long transaction."""
    number = captured_run(journal)
    snapshot = told_sync(
        journal,
        number,
        lag_seconds=31.0,
        retained_bytes=round(900 * MIB),
        seconds_to_full=1_860.0,
        oldest_transaction_seconds=840.0,
    )
    colours = {figure.name: figure.colour for figure in figures_of(snapshot)}
    assert colours["lag"] == colours["source keeps"] == colours["full in"] == "$text-error"
    assert colours["oldest open"] == "$text-warning"
    calm = replace(snapshot, lag_seconds=None, retained_bytes=None, seconds_to_full=None)
    assert {f.name: f.value for f in figures_of(calm)}["lag"] == "–"
    assert not any(f.colour for f in figures_of(calm) if f.name != "oldest open")
    assert [seconds_text(s) for s in (0.42, 8.13, 61.0)] == ["0.42 s", "8.1 s", "1:01"]


async def test_two_thousand_entities_are_filtered_in_place(
    journal: Journal, tmp_path: Path
) -> None:
    """The table draws what is in view; the filter takes all words."""
    number = captured_run(journal)
    many = tuple(SyncEntity(f"Table {n}", "node", n + 1, 0, 0, 0, n % 3) for n in range(2_000))
    with driven(journal, number):
        told_sync(journal, number, entities=many)
        async with sitting("sync", tmp_path) as sit:
            await sit.sees("entities 2,000", "Table 0")
            table = sit.app.screen.query_one(SyncTable)
            table.focus()
            await sit.press("G")
            await sit.sees("Table 1999")
            assert table.entity is not None
            assert table.entity.id == "Table 1999"
            await sit.press("slash")
            await sit.write("table 77 node")
            found = sum("77" in entity.id for entity in many)
            await sit.sees(f"entities {found} of 2,000", "Table 1770")
            await sit.press("escape")
            await sit.sees("entities 2,000")


@pytest.mark.parametrize("size", [TINY, NARROW, NORMAL, (200, 60)])
async def test_no_name_breaks_the_screen(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """Markup, quotes, wide characters, emoji and 63 bytes in every field."""
    number = captured_run(journal, name=HOSTILE_NAME, source=f"{HOSTILE_NAME}@db1")
    entity = SyncEntity(HOSTILE_NAME, "node", 1, 2, 3, 4, 5)
    wrong = replace(alarm(f"slot {HOSTILE_NAME}\n\x1b[31m"), next_step=f"drop {HOSTILE_NAME}")
    with driven(journal, number):
        told_sync(
            journal,
            number,
            name=HOSTILE_NAME,
            reason=f"waits for {HOSTILE_NAME}",
            fence=HOSTILE_NAME,
            oldest_transaction=f"pid 1, {HOSTILE_NAME}",
            entities=(entity,),
            alarms=(wrong,),
        )
        async with sitting("sync", tmp_path, size=size) as sit:
            await sit.sees('✓ in step run 1 · slot [/foo] "quot')
            for _ in range(3):
                await sit.press("tab")
                await sit.pilot.pause()
            assert "\x1b" not in sit.text
            shown = sit.app.screen.query_one(AlarmList).plain
            assert f"✗ slot {HOSTILE_NAME}↵␛[31m" in shown


async def test_another_run_is_chosen_and_its_dead_letters_are_a_key_away(
    journal: Journal, tmp_path: Path
) -> None:
    """The newest run that captures is shown; h offers the others."""
    first = captured_run(journal, name="geode_1")
    second = captured_run(journal, way="outbox", name="geode_2")
    for number in (first, second):
        told_sync(journal, number, state="stopped", name="x")
    async with sitting("sync", tmp_path) as sit:
        await sit.sees(f"run {second} · outbox geode_2")
        await sit.press("h")
        await sit.until(lambda: isinstance(sit.app.screen, ChoiceDialog), "the runs")
        await sit.press("j", "enter")
        await sit.sees(f"run {first} · slot geode_1")
        await sit.press("d")
        await sit.until(lambda: isinstance(sit.app.screen, DeadLettersScreen), "the list")
        await sit.sees(f"run {first} · 0 dead letters")
        await sit.press("escape", "c")
        assert sit.app.clipboard == f"geode-tui sync {first}"


async def test_a_run_that_captures_shows_all_its_phases_at_80_columns(
    journal: Journal, tmp_path: Path
) -> None:
    """On the Run screen: eight of them, with the entities below."""
    number = captured_run(journal)
    phases = tuple(
        PhaseProgress(name, "done" if name in ("assess", "prepare", "capture") else "waiting")
        for name in ZERO_DOWNTIME_PHASES
    )
    part = EntityProgress("Order", "node", "writing", 400, 1_000, False, 9.0, None, 1, 0, 0, 0)
    journal.set_state(number, "running")
    with driven(journal, number):
        tell(journal, number, going(part, run=number, phases=phases), time.time())
        async with sitting("run", tmp_path, size=NARROW) as sit:
            sit.app.show_in("run", str(number))
            await sit.sees("✓ assess", "✓ capture", "… catch", "… cutover", "… watch")
            await sit.sees("Order ▶ writing", "400 of ±1.0 k")


async def test_help_names_every_key(journal: Journal, tmp_path: Path) -> None:
    """? explains the screen."""
    async with sitting("sync", tmp_path, size=(160, 60)) as sit:
        await sit.press("question_mark")
        await sit.sees("Changes that come to the source", "the fence", "pauses and goes on")


async def test_entities_that_changes_came_to_stand_first(journal: Journal, tmp_path: Path) -> None:
    """Who went to a line stays on it when another one comes before it."""
    number = captured_run(journal)
    calm = tuple(SyncEntity(name, "node", 0, 0, 0, 0, 0) for name in ("Calm", "Calmer", "Late"))
    with driven(journal, number):
        told_sync(journal, number, entities=(*calm, SyncEntity("Busy", "node", 1, 0, 0, 0, 0)))
        async with sitting("sync", tmp_path) as sit:
            await sit.sees("Busy node 1")
            table = sit.app.screen.query_one(SyncTable)
            assert [str(table.row(n)[0]) for n in range(3)] == ["Busy", "Calm", "Calmer"]
            table.focus()
            await sit.press("down")
            late = replace(calm[2], removed=7)
            told_sync(journal, number, entities=(*calm[:2], late))
            await sit.sees("Late node 0 7")
            assert table.entity is not None
            assert table.entity.id == "Calm"


def test_a_watch_reads_only_what_came_since(journal: Journal) -> None:
    """Moments of ten minutes are kept, older ones go; a lost run is not looked for for ever."""
    watch = ReplicationWatch()
    watch.look()
    assert watch.looked
    assert watch.sight is None
    number = captured_run(journal)
    mark_ten_minutes(journal, number, seconds=700)
    watch.look()
    assert watch.sight is not None
    first = watch.sight.moments
    assert 110 <= len(first) <= 121
    mark_ten_minutes(journal, number, seconds=1, every=1)
    watch.look()
    assert watch.sight is not None
    assert len(watch.sight.moments) - len(first) in (0, 1)
    assert watch.sight.moments[-1].at > first[-1].at


class Drawn(StreamPlot):
    """A plot of a given size, as text."""

    content_size = property(lambda self: (20, 5))


def test_a_plot_shades_what_only_one_of_two_curves_has() -> None:
    """▒ where more is captured than applied, ░ where more is applied; neither where both are."""
    plot = Drawn(lambda value: f"{value:.0f}/s", pair=("in", "out"))
    applied = tuple(Sample(float(second), 50.0) for second in range(20))
    captured = tuple(Sample(float(s), 100.0 if s < 10 else 25.0) for s in range(20))
    plot.show(Curve(applied, captured), until=20.0)
    legend, *lines = plot.render().plain.split("\n")
    assert legend.startswith("in 25/s, out 50/s")
    assert lines == [
        "▒" * 10 + " " * 10,
        "▒" * 10 + " " * 10,
        "█" * 10 + "░" * 10,
        "█" * 20,
    ]


@pytest.mark.slow
async def test_a_slot_that_somebody_drops_is_named_and_made_anew_from_here(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What was missed is in the graph afterwards."""
    dsn = make_database(
        "CREATE TABLE goods (id int PRIMARY KEY); INSERT INTO goods VALUES (1); ANALYZE;"
    )
    async with sitting("sync", tmp_path, dsn) as sit:
        await sit.sees("r begins one, after its plan was shown")
        await yes(sit, "r")
        await sit.sees("is done: balanced")
        await sit.press("7")
        await sit.sees("■ stopped")
        await yes(sit, "r")
        await sit.sees("✓ in step")
        assert sit.workspace.replication.sight is not None
        await drop_slot(dsn, sit.workspace.replication.sight.capture.name)
        await sit.sees("✗ capture lost", "r makes the capture anew", "geode-tui sync 1 --heal")
        await execute(dsn, "INSERT INTO goods VALUES (2)")
        await sit.until(lambda: "run" in footer_keys(sit.app), "the end of its process")
        await yes(sit, "r")
        await sit.sees("✓ in step", "Good node 1 0", "✓ none")


async def yes(sit: Sitting, key: str) -> None:
    """Press a key and say yes to its question."""
    await sit.press(key)
    await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
    await sit.press("tab", "enter")


async def execute(dsn: str, statement: str, *arguments: object) -> None:
    """What somebody else does at the source."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def drop_slot(dsn: str, name: str) -> None:
    """Drop a slot as soon as nobody reads it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await execute(dsn, f"SELECT pg_drop_replication_slot('{name}')")
            return
        except asyncpg.ObjectInUseError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def golden(sit: Sitting, name: str) -> None:
    """Compare the screen below its clock with how it was accepted."""
    width, height = sit.app.size
    await sit.pilot.pause(0.6)
    assert_golden(sit.text.partition("\n")[2], f"{name}-{width}x{height}")


@pytest.mark.parametrize("size", SIZES)
async def test_the_screen_looks_as_it_was_accepted(
    journal: Journal, tmp_path: Path, size: tuple[int, int]
) -> None:
    """One that is stopped, so that nothing depends on the time."""
    number = captured_run(journal)
    told_sync(journal, number, state="stopped", reason="stopped on request", fence_at=None)
    async with sitting("sync", tmp_path, size=size) as sit:
        await sit.sees("■ stopped")
        await golden(sit, "sync")
