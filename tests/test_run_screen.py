"""The run screen: a plan in words, honest progress, a safe stop, and every lost row named."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Log

from geode_tui.mapping import edits
from geode_tui.migration.audit import AuditEntry
from geode_tui.migration.events import EntityProgress, RunSnapshot
from geode_tui.migration.journal import Journal
from geode_tui.migration.runner import Runner
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.dead_letters import DeadLettersScreen
from geode_tui.screens.dialogs import ConfirmDialog, ErrorDialog, PromptDialog, TextDialog
from geode_tui.screens.entity_detail import EntityDialog
from geode_tui.screens.run_knobs import name_check, number_check, number_of
from geode_tui.widgets.entity_table import EntityTable, rows_text, state_text
from geode_tui.widgets.panes import Panes
from geode_tui.widgets.run_text import phases_text, totals_text
from geode_tui.widgets.throughput import Sample, columns, drawn
from tests.conftest import MakeDatabase
from tests.journaled import going, journal_run, tell
from tests.sitting import HOSTILE, NARROW, NORMAL, PATIENCE, TINY, Sitting, sitting
from tests.terminal import footer_keys

BIG = """
CREATE TABLE people (id int PRIMARY KEY, name text);
INSERT INTO people SELECT n, 'person ' || n FROM generate_series(1, 250000) n;
ANALYZE people;
"""


async def start(sit: Sitting) -> None:
    """Start a run and say yes to its plan."""
    await sit.press("r")
    await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the plan")
    await sit.press("tab", "enter")
    await sit.until(lambda: sit.workspace.runner is not None, "the start")


async def ended(sit: Sitting) -> str:
    """Wait for the end of the run; returns its state."""
    runner = sit.workspace.runner
    assert runner is not None
    await sit.until(lambda: runner.finished, "the end of the run")
    await sit.pilot.pause(1.2)
    return runner.snapshot().state


def entities(sit: Sitting) -> dict[str, EntityProgress]:
    """The entities of the run by id."""
    runner = sit.workspace.runner
    assert runner is not None
    return {entity.id: entity for entity in runner.snapshot().entities}


@pytest.mark.parametrize("size", [NARROW, NORMAL])
async def test_a_run_shows_its_plan_goes_to_the_end_and_says_it_balances(
    shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    """From the plan in words to the toast that names the next screen."""
    async with sitting("run", tmp_path, shop_dsn, size=size) as sit:
        await sit.sees("no run yet", "start this run:")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the plan")
        await sit.sees("read only, in one snapshot", "0 action required", "labels", "rows to read")
        await sit.press("escape")
        assert sit.workspace.runner is None
        await start(sit)
        assert await ended(sit) == "done"
        await sit.sees("is done: balanced · 5 report", "✓ backfill", "✓ verify", "User")
        assert entities(sit)["User"].rows_written > 0


async def test_a_run_goes_on_while_another_screen_is_shown(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The run belongs to the sitting; its end is told wherever one is."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2);")
    async with sitting("run", tmp_path, dsn) as sit:
        await start(sit)
        await sit.press("3")
        assert await ended(sit) == "done"
        await sit.sees("3 Map", "is done: balanced · 5 report")


async def test_what_requires_action_blocks_the_start_and_is_listed(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A mapping that does not fit the source does not start."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY, a int);")
    async with sitting("run", tmp_path, dsn) as sit:
        history = sit.workspace.history
        assert history is not None
        rule = history.current.nodes[0]
        wrong = tuple(replace(p, column="gone") if p.column == "a" else p for p in rule.properties)
        broken = edits.replace_rule(history.current, rule, replace(rule, properties=wrong))
        history.apply(broken, "named a column that is not there")
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, TextDialog), "the findings")
        await sit.sees("cannot start: 1 findings must be mended first", "gone")
        assert sit.workspace.runner is None


async def test_production_starts_only_when_its_name_is_typed(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A source labelled PROD wants its database's name, letter by letter."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY);")
    async with sitting("run", tmp_path, dsn, label="PROD") as sit:
        catalog = sit.workspace.catalog
        assert catalog is not None
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the plan")
        await sit.press(*"wrong", "enter")
        assert isinstance(sit.app.screen, ConfirmDialog)
        assert sit.workspace.runner is None
        await sit.write(catalog.server.database)
        await sit.press("enter")
        await sit.until(lambda: sit.workspace.runner is not None, "the start")
        assert await ended(sit) == "done"


# The knobs


def trail(number: int, what: str) -> list[AuditEntry]:
    """The entries of a run's audit trail about this."""
    with closing(Journal()) as journal:
        return [entry for entry in journal.audit.entries(number) if entry.what == what]


async def test_a_run_is_paused_and_steered_from_the_screen(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every knob is shown as turned by the run itself; the audit trail says who turned it."""
    async with sitting("run", tmp_path, make_database(BIG)) as sit:
        await start(sit)
        runner = sit.workspace.runner
        assert runner is not None
        await sit.until(lambda: runner.snapshot().rows_written > 0, "the first rows")
        await sit.press("space")
        await sit.sees("! paused by ", "A … waits: paused")
        await sit.press("plus")
        await sit.sees("workers 3 (begun with 2)")
        await sit.press("minus", "minus")
        await sit.sees("workers 1 (begun with 2)")
        await sit.press("t")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog), "the question")
        await sit.write("1.5k")
        await sit.press("enter")
        await sit.sees("rows a second 1,500")
        await sit.press("b")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog), "the question")
        await sit.write("70")
        await sit.press("enter")
        await sit.sees("batch 70 rows, fixed")
        rows = runner.snapshot().rows_written
        await sit.press("space")
        await sit.until(lambda: runner.snapshot().rows_written > rows, "more rows")
        await sit.sees("! throttled to 1,500 rows/s by ")
        turned = [json.loads(entry.after) for entry in trail(1, "knobs")]
        assert [next(iter(change.items())) for change in turned] == [
            ("paused", True),
            ("parallel", 3),
            ("parallel", 2),
            ("parallel", 1),
            ("rows_per_second", 1_500),
            ("batch_rows", 70),
            ("paused", False),
        ]


async def test_a_checkpoint_is_taken_by_name_and_the_run_stops_on_request(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """p takes one as soon as no chunk is in flight; a name that is taken is refused."""
    async with sitting("run", tmp_path, make_database(BIG), size=NARROW) as sit:
        await start(sit)
        runner = sit.workspace.runner
        assert runner is not None
        await sit.until(lambda: runner.snapshot().rows_written > 0, "the first rows")
        await sit.press("p")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog), "the question")
        await sit.write("backfill")
        await sit.sees("backfill is a name that runs give themselves")
        await sit.write("half [/way]")
        await sit.press("enter")
        await sit.until(lambda: trail(1, "checkpoint")[-1].after.count("half"), "the checkpoint")
        await sit.press("s")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.press("tab", "enter")
        assert await ended(sit) in ("stopped", "done")
        with closing(Journal()) as journal:
            names = [checkpoint.name for checkpoint in journal.checkpoints.of(1)]
        assert "half [/way]" in names


@pytest.mark.parametrize(
    ("text", "number"),
    [("", None), (" 5,000 ", 5_000), ("20k", 20_000), ("1.5 M", 1_500_000), ("7", 7)],
)
def test_a_number_is_read_as_people_write_it(text: str, number: int | None) -> None:
    """Thousands separated or with a unit; nothing at all is no limit."""
    assert number_of(text) == number


def test_what_is_no_number_or_no_name_is_said_at_once() -> None:
    """The dialog stays until it is right."""
    check = number_check(1, 1_000)
    assert check("fast") == check("-5") == "a number, such as 5000 or 20k"
    assert check("0") == "at least 1"
    assert check("2k") == "at most 1,000"
    assert not check("")
    assert name_check(["mine"])("mine") == "there is a checkpoint mine already"
    assert name_check([])("  ") == "a checkpoint has a name"
    assert name_check([])("a\nb") == "a name has no control characters"
    assert "give themselves" in name_check([])("wave people")


# Runs of other processes


async def test_a_run_of_another_process_is_watched_and_steered(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """w opens what another terminal drives; its knobs work, and leaving it does not stop it."""
    other = Workspace(target_place=str(tmp_path / "x.grafeo"), mapping_path=tmp_path / "x.yaml")
    await other.connect(make_database(BIG))
    runner = other.start_run()
    try:
        async with sitting("run", tmp_path) as sit:
            await sit.until(lambda: runner.snapshot().rows_written > 0, "the first rows")
            await sit.press("2", "4")
            await sit.sees("watch run 1, which goes in another process")
            await sit.press("w")
            await sit.sees("in another process: ", "▶ backfill", "Person ▶ writing")
            await sit.press("space")
            await sit.sees("! paused by ")
            await sit.press("c")
            assert sit.app.clipboard == "geode-tui status 1 --follow"
            await sit.press("escape")
            await sit.sees("6 History", "▶ running")
            assert not runner.finished
            await sit.press("enter")
            await sit.sees("in another process: ", "! paused by ")
            await sit.press("s")
            await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
            await sit.press("tab", "enter")
            await sit.until(lambda: runner.finished, "its end")
            await sit.sees("stopped, reopened: ", "■ backfill", "R resume")
    finally:
        runner.stop()
        await asyncio.to_thread(runner.join, PATIENCE)
        await other.close()


async def test_a_process_that_says_nothing_is_told(tmp_path: Path) -> None:
    """Counters that are old are shown with their age, not as those of now."""
    with closing(Journal()) as journal:
        number = journal_run(journal, "running")
        with journal.locks.hold(f"run-{number}", "", ""):
            told = going(progress(rows_written=400), run=number, workers=("A: writing Order 3",))
            tell(journal, number, told, time.time())
            async with sitting("run", tmp_path) as sit:
                sit.app.show_in("run", str(number))
                await sit.sees("400 of ±1.0 k", "A ▶ writing Order 3")
                assert "no word for" not in sit.text
                tell(journal, number, told, time.time() - 75)
                await sit.sees("! no word for 1:1", "from the process that drives it")


async def test_a_run_that_was_killed_is_not_shown_as_going(tmp_path: Path) -> None:
    """Only what is journaled is sure after a kill: what was told last is not."""
    with closing(Journal()) as journal:
        number = journal_run(journal, "running")
        tell(journal, number, going(progress(rows_written=999_999), run=number), time.time())
    async with sitting("run", tmp_path) as sit:
        sit.app.show_in("run", str(number))
        await sit.sees("stopped, reopened", "its process ended without a word", "5,998")
        assert "999,999" not in sit.text
        await sit.press("space", "plus", "t", "p")
        assert not isinstance(sit.app.screen, PromptDialog)


async def test_a_run_that_is_being_rolled_back_has_no_knobs(tmp_path: Path) -> None:
    """There is nothing to pause or to throttle in it."""
    with closing(Journal()) as journal:
        number = journal_run(journal, "rolling back")
    async with sitting("run", tmp_path, size=NARROW) as sit:
        sit.app.show_in("run", str(number))
        await sit.sees("being rolled back: shop@db1")
        await sit.press("space", "t", "s")
        assert not isinstance(sit.app.screen, PromptDialog | ConfirmDialog)
        assert "throttle" not in footer_keys(sit.app)


async def test_what_is_at_work_stands_first(tmp_path: Path) -> None:
    """What is done sinks to the end; who went to an entity stays on it."""
    parts = [progress(id=f"Done {n}", state="done") for n in range(40)]
    early = going(*parts, progress(id="Busy"), progress(id="Waits", state="waiting"))
    late = going(*parts, progress(id="Busy", state="done"), progress(id="Waits"))
    async with sitting("run", tmp_path, size=NARROW) as sit:
        runner = ShownRunner(early)
        sit.workspace.runner = runner
        await sit.sees("Busy ▶ writing")
        table = sit.app.screen.query_one(EntityTable)
        assert [str(table.row(n)[0]) for n in range(3)] == ["Busy", "Waits", "Done 0"]
        await sit.press("down", "down")
        runner.show(late)
        await sit.sees("Waits ▶ writing")
        assert str(table.row(0)[0]) == "Waits"
        assert table.entity is not None
        assert table.entity.id == "Done 0"
        sit.workspace.runner = None


async def test_a_run_that_is_not_there_is_told_without_a_trace(tmp_path: Path) -> None:
    """A number that the journal does not know."""
    async with sitting("run", tmp_path, size=NARROW) as sit:
        sit.app.show_in("run", "77")
        await sit.sees("run 77 ✗ no run 77")


async def test_at_80_columns_every_pane_is_a_tab_away(tmp_path: Path) -> None:
    """Tab goes around entities, rows a second, workers, pace and log."""
    with closing(Journal()) as journal:
        number = journal_run(journal)
    async with sitting("run", tmp_path, size=NARROW) as sit:
        sit.app.show_in("run", str(number))
        await sit.sees("entities │ rows a second │ workers │ pace │ log", "✓ done")
        for shown in ("peak 1.8 k/s", "none at work", "dead letters no limit", "run 1 begins"):
            await sit.press("tab")
            await sit.sees(shown)
        await sit.press("tab")
        panes = sit.app.screen.query_one(Panes)
        assert panes.shown is panes.panes[0]


@pytest.mark.slow
async def test_a_run_stops_safely_and_is_resumed_to_the_end(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """s asks, stops after the chunks in flight; R goes on and every row is there once."""
    async with sitting("run", tmp_path, make_database(BIG)) as sit:
        await start(sit)
        runner = sit.workspace.runner
        assert runner is not None
        await sit.until(lambda: runner.snapshot().rows_written > 0, "the first rows")
        await sit.press("s")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.press("tab", "enter")
        assert await ended(sit) == "stopped"
        await sit.sees("stopped safely", "■ stopped", "R resume")
        assert entities(sit)["Person"].rows_written < 250_000
        await sit.press("R")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the question")
        await sit.press("tab", "enter")
        await sit.until(lambda: sit.workspace.runner is not runner, "the second start")
        assert await ended(sit) == "done"
        assert entities(sit)["Person"].rows_written == 250_000


async def test_every_row_that_was_refused_is_listed_with_its_reason(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """d lists the dead letters; enter shows one with its values, esc goes back to the run."""
    async with sitting("run", tmp_path, make_database(HOSTILE), size=NARROW) as sit:
        await start(sit)
        assert await ended(sit) == "done"
        assert entities(sit)["Foo"].dead == 1
        await sit.press("d")
        await sit.until(lambda: isinstance(sit.app.screen, DeadLettersScreen), "the list")
        await sit.sees("1 dead letter", "[/bar]=2", "value")
        await sit.press("enter")
        await sit.sees("a dead letter", "NaN", "values")
        assert "\u202e" not in sit.text
        await sit.press("escape", "escape")
        await sit.sees("✓ verify", "entities")


async def test_an_entity_shows_its_chunks_its_statements_and_its_dead_letters(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Enter on a line of the table tells all of it."""
    async with sitting("run", tmp_path, make_database(HOSTILE)) as sit:
        await start(sit)
        assert await ended(sit) == "done"
        table = sit.app.screen.query_one(EntityTable)
        while table.entity is None or table.entity.id != "Foo":
            await sit.press("down")
        await sit.press("enter")
        await sit.until(lambda: isinstance(sit.app.screen, EntityDialog), "the details")
        await sit.sees("1 dead letter, 0 orphans", "1/1", "SELECT", "MERGE", "all rows")
        await sit.press("tab", "tab", "y")
        assert sit.app.clipboard.startswith("SELECT")
        assert '"[/foo]"' in sit.app.clipboard
        await sit.press("d")
        await sit.sees("Foo · 1 dead letter", "[/bar]=2")


async def test_a_run_that_cannot_begin_says_why_and_what_next(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A graph that already holds the labels is not written into."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);")
    async with sitting("run", tmp_path, dsn) as sit:
        await start(sit)
        assert await ended(sit) == "done"
        first = sit.workspace.runner
        await sit.press("r")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog), "the plan")
        await sit.press("tab", "enter")
        await sit.until(lambda: sit.workspace.runner is not first, "the second start")
        await sit.until(lambda: isinstance(sit.app.screen, ErrorDialog), "the error")
        await sit.sees("already holds", "another --target")


async def test_the_log_is_shown_alone_and_goes_back(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """l gives the log the whole screen, esc gives it back."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);")
    async with sitting("run", tmp_path, dsn, size=NARROW) as sit:
        await start(sit)
        await ended(sit)
        log = sit.app.screen.query_one(Log)
        assert not log.is_on_screen
        await sit.press("l")
        await sit.sees("run 1 begins")
        assert log.size.height > 18
        assert not sit.app.screen.query_one(EntityTable).is_on_screen
        await sit.press("escape")
        assert sit.app.screen.query_one(EntityTable).is_on_screen
        assert not log.is_on_screen


async def test_without_source_or_target_the_screen_says_what_to_do_first(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """An empty screen is a direction."""
    async with sitting("run", tmp_path) as sit:
        await sit.sees("no run yet", "connect to a source")
        await sit.press("r", "s", "R", "d", "l", "enter", "y", "escape")
        assert sit.workspace.runner is None
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY);")
    async with sitting("run", tmp_path, dsn, target="") as sit:
        await sit.sees("name a target")


def progress(**fields: object) -> EntityProgress:
    """An entity that writes; `fields` say what is special about it."""
    usual = EntityProgress("Order", "node", "writing", 0, 1_000, False, 0.0, None, 0, 0, 0, 0)
    return replace(usual, **fields)  # type: ignore[arg-type]


def test_an_estimate_is_marked_and_never_claims_the_end() -> None:
    """More rows than estimated are not more than all of them."""
    over = progress(rows_written=1_200)
    assert rows_text(over) == "1,200 of ±1.0 k"
    assert rows_text(progress(rows_estimated=None)) == "0 of ?"
    assert rows_text(progress(rows_written=5, rows_estimated=9, estimate_exact=True)) == "5 of 9"
    assert "▶ backfill 99 %" in phases_text(going(over)).plain
    assert "rows 1,200 of ±1.0 k" in totals_text(going(over)).plain


def test_every_wait_and_failure_has_its_reason() -> None:
    """The state of an entity is a glyph, a word and why."""
    waiting = progress(state="waiting", reason="waits for all nodes")
    assert state_text(waiting) == "… waits for all nodes"
    failed = progress(state="failed", reason="permission denied for [/foo]")
    assert state_text(failed) == "✗ failed: permission denied for [/foo]"
    assert state_text(progress()) == "▶ writing"


def test_the_throughput_line_has_the_newest_rate_at_the_right() -> None:
    """Old samples leave after ten minutes."""
    samples = [Sample(float(second), float(second)) for second in range(0, 1_200, 10)]
    found = columns(samples, since=600.0, until=1_200.0, width=60)
    high, low = drawn(found, 2, top=1_190.0)
    assert len(high) == len(low) == 60
    assert high[-1] == low[-1] == "█"
    assert high[0] == " "
    assert low[0] == "█"
    before = columns([Sample(0.0, 5.0)], since=600.0, until=1_200.0, width=10)
    assert drawn(before, 1, top=5.0) == [" " * 10]


def test_what_moves_at_all_has_a_mark_and_a_gap_has_none() -> None:
    """A run that crawls is not one that stands; an hour without samples is not one at zero."""
    samples = [Sample(0.0, 100_000.0), Sample(1.0, 1.0, slowed=True), Sample(60.0, 0.0)]
    found = columns(samples, since=0.0, until=61.0, width=61)
    line = drawn(found, 1, top=100_000.0)[0]
    assert line[:2] == "█▁"
    assert line[60] == " "
    assert [bar.slowed for bar in found[:2]] == [False, True]
    assert found[30].rate is None


class ShownRunner(Runner):
    """A runner that shows a given state and does nothing."""

    def __init__(self, shown: RunSnapshot) -> None:
        super().__init__(resume=shown.run)
        self._shown = shown

    def show(self, shown: RunSnapshot) -> None:
        """Show another state from now on."""
        self._shown = shown

    def snapshot(self) -> RunSnapshot:
        """The given state."""
        return self._shown


async def test_hostile_states_fit_every_terminal(tmp_path: Path) -> None:
    """Three thousand entities with long, odd names in a terminal that is too small."""
    parts = tuple(
        progress(
            id=f"([/foo]{n})-[{'x' * 63}]->(日本語)",
            kind="relationship",
            state="failed",
            reason="[red]no[/]",
            rows_written=n,
            orphans=n,
        )
        for n in range(3_000)
    )
    async with sitting("run", tmp_path, size=TINY) as sit:
        sit.workspace.runner = ShownRunner(going(*parts))
        table = sit.app.screen.query_one(EntityTable)
        await sit.until(lambda: table.row_count == len(parts), "the entities")
        table.focus()
        await sit.press("G", "k", "right", "left")
        await sit.sees("terminal is 60x15; 80x24 shows everything", "✗ failed")
        sit.workspace.runner = None
