"""The run screen: a plan in words, honest progress, a safe stop, and every lost row named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Log

from geode_tui.mapping import edits
from geode_tui.migration.events import EntityProgress, PhaseProgress, RunSnapshot
from geode_tui.migration.runner import Runner
from geode_tui.screens.dead_letters import DeadLettersDialog
from geode_tui.screens.dialogs import ConfirmDialog, ErrorDialog, TextDialog
from geode_tui.screens.run import phases_text, totals_text
from geode_tui.widgets.entity_table import EntityTable, rows_text, state_text
from geode_tui.widgets.throughput import bars
from tests.conftest import MakeDatabase
from tests.sitting import HOSTILE, NARROW, NORMAL, TINY, Sitting, sitting

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
    """d lists the dead letters; enter shows one with its values."""
    async with sitting("run", tmp_path, make_database(HOSTILE), size=NARROW) as sit:
        await start(sit)
        assert await ended(sit) == "done"
        assert entities(sit)["Foo"].dead == 1
        await sit.press("d")
        await sit.until(lambda: isinstance(sit.app.screen, DeadLettersDialog), "the list")
        await sit.sees("1 dead letter", "[/bar]=2", "value")
        await sit.press("enter")
        await sit.sees("a dead letter", "NaN", "values")
        assert "\u202e" not in sit.text


async def test_an_entity_shows_its_select_its_counts_and_its_dead_letters(
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
        await sit.until(lambda: isinstance(sit.app.screen, TextDialog), "the details")
        await sit.sees("1 dead letters, 0 orphans", "SELECT")
        await sit.press("y")
        assert "reason" in sit.app.clipboard
        assert '"[/foo]"' in sit.app.clipboard


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
        assert log.size.height <= 8
        await sit.press("l")
        assert log.size.height > 12
        assert not sit.app.screen.query_one(EntityTable).is_on_screen
        await sit.press("escape")
        assert log.size.height <= 8


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


def snapshot(*parts: EntityProgress) -> RunSnapshot:
    """A run in its backfill."""
    phases = (
        PhaseProgress("assess", "done", "", 0, 1),
        PhaseProgress("prepare", "done", "", 1, 2),
        PhaseProgress("backfill", "running", "", 2, None),
        PhaseProgress("verify", "waiting"),
    )
    rows = sum(part.rows_written for part in parts)
    return RunSnapshot(7, "running", "a", "b", phases, parts, rows, 0.0, 9.0, 4.0, ())


def test_an_estimate_is_marked_and_never_claims_the_end() -> None:
    """More rows than estimated are not more than all of them."""
    over = progress(rows_written=1_200)
    assert rows_text(over) == "1,200 of ±1.0 k"
    assert rows_text(progress(rows_estimated=None)) == "0 of ?"
    assert rows_text(progress(rows_written=5, rows_estimated=9, estimate_exact=True)) == "5 of 9"
    assert "▶ backfill 99 %" in phases_text(snapshot(over)).plain
    assert "rows 1,200 of ±1.0 k" in totals_text(snapshot(over)).plain


def test_every_wait_and_failure_has_its_reason() -> None:
    """The state of an entity is a glyph, a word and why."""
    waiting = progress(state="waiting", reason="waits for all nodes")
    assert state_text(waiting) == "… waits for all nodes"
    failed = progress(state="failed", reason="permission denied for [/foo]")
    assert state_text(failed) == "✗ failed: permission denied for [/foo]"
    assert state_text(progress()) == "▶ writing"


def test_the_throughput_line_has_the_newest_rate_at_the_right() -> None:
    """Old samples leave after ten minutes."""
    samples = [(float(second), float(second)) for second in range(0, 1_200, 10)]
    line = bars(samples, now=1_190.0, width=60)
    assert len(line) == 60
    assert line[-1] == "█"
    assert line[0] in "▃▄▅"
    assert bars([(0.0, 5.0)], now=1_000.0, width=10) == ""


class ShownRunner(Runner):
    """A runner that shows a given state and does nothing."""

    def __init__(self, shown: RunSnapshot) -> None:
        super().__init__(resume=shown.run)
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
        sit.workspace.runner = ShownRunner(snapshot(*parts))
        table = sit.app.screen.query_one(EntityTable)
        await sit.until(lambda: table.row_count == len(parts), "the entities")
        table.focus()
        await sit.press("G", "k", "right", "left")
        await sit.sees("terminal is 60x15; 80x24 shows everything", "✗ failed")
        sit.workspace.runner = None
