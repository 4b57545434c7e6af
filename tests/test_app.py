"""What holds on every screen: where one is, the keys, help, the palette, leaving."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import asyncpg
import pytest
from textual.app import App
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import HelpPanel, Input, OptionList

import geode_tui.screens
import geode_tui.widgets
from geode_tui import app as app_module
from geode_tui.app import GeodeApp
from geode_tui.errors import ConnectError
from geode_tui.migration.workspace import Workspace
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import (
    ChoiceDialog,
    ConfirmDialog,
    ErrorDialog,
    PromptDialog,
    TextDialog,
)
from geode_tui.screens.settings import settings_file
from tests.conftest import MakeDatabase
from tests.terminal import BROAD, NARROW, SIZES, footer_keys, screen_text, settle

MODES = ("connect", "schema", "mapping", "run", "report", "history", "sync", "cutover")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Nothing connected yet."""
    target = str(tmp_path / "shop.grafeo")
    return Workspace(target_place=target, mapping_path=tmp_path / "mapping.yaml")


@pytest.mark.parametrize("size", SIZES)
async def test_number_keys_go_to_each_screen(workspace: Workspace, size: tuple[int, int]) -> None:
    """Each screen opens with nothing connected, and shows that it is the one."""
    app = GeodeApp(workspace)
    async with app.run_test(size=size) as pilot:
        await pilot.press("escape")
        for number, mode in enumerate(MODES, 1):
            await pilot.press(str(number))
            await settle(pilot)
            assert app.current_mode == mode
            assert "5 Report …" in screen_text(app)


async def test_a_production_source_is_named_in_words(workspace: Workspace, shop_dsn: str) -> None:
    await workspace.connect(shop_dsn)
    workspace.label = "PROD"
    app = GeodeApp(workspace, mode="schema")
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        first = screen_text(app).splitlines()[0]
        assert "PROD" in first
        assert "shop@" in first
        assert "─▶" in first


@pytest.mark.parametrize("size", [(60, 15), (40, 10), (20, 5), (1, 1)])
async def test_a_small_terminal_says_so_and_keeps_its_keys(
    workspace: Workspace, size: tuple[int, int]
) -> None:
    app = GeodeApp(workspace)
    async with app.run_test(size=size) as pilot:
        await pilot.press("escape", "2")
        await settle(pilot)
        assert app.current_mode == "schema"
        if size == (60, 15):
            assert "terminal is 60x15; 80x24 shows everything" in screen_text(app)


async def test_the_footer_offers_at_most_seven_keys(workspace: Workspace, shop_dsn: str) -> None:
    """Wherever the focus is, on the first two screens."""
    await workspace.connect(shop_dsn)
    app = GeodeApp(workspace)
    async with app.run_test(size=BROAD) as pilot:
        for mode in ("1", "2"):
            await pilot.press("escape", mode)
            await settle(pilot)
            for _ in app.screen.focus_chain:
                await pilot.press("tab")
                await settle(pilot)
                assert len(footer_keys(app)) <= 7, (mode, app.focused, footer_keys(app))


async def test_help_explains_the_screen_and_goes_away(workspace: Workspace) -> None:
    app = GeodeApp(workspace)
    async with app.run_test(size=BROAD) as pilot:
        await pilot.press("escape", "question_mark")
        await settle(pilot)
        assert "The source is only ever read" in screen_text(app)
        await pilot.press("question_mark")
        await settle(pilot)
        assert not app.screen.query(HelpPanel)


async def test_the_palette_finds_a_table(workspace: Workspace, shop_dsn: str) -> None:
    await workspace.connect(shop_dsn)
    app = GeodeApp(workspace, mode="connect")
    async with app.run_test(size=BROAD) as pilot:
        await _pick_in_palette(pilot, "table suppliers")
        assert app.current_mode == "schema"
        assert "shop.suppliers" in screen_text(app) or "shop.product_suppliers" in screen_text(app)


async def test_the_palette_shows_names_that_look_like_markup(
    workspace: Workspace, make_database: MakeDatabase
) -> None:
    sql = 'CREATE SCHEMA "[/foo]"; CREATE TABLE "[/foo]"."[red]x[/bar]" (id int PRIMARY KEY)'
    await workspace.connect(make_database(sql))
    app = GeodeApp(workspace)
    async with app.run_test(size=BROAD) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"red", "right_square_bracket", "x")
        await _palette_filled(pilot)
        assert "table: [/foo].[red]x[/bar]" in screen_text(app)


async def _pick_in_palette(pilot: Pilot[None], text: str) -> None:
    await pilot.press("ctrl+p")
    await pilot.pause()
    await pilot.press(*(key if key != " " else "space" for key in text))
    await _palette_filled(pilot)
    await pilot.press("enter")
    await settle(pilot)


async def _palette_filled(pilot: Pilot[None]) -> None:
    """Wait until the palette has gathered its hits."""
    palette = pilot.app.screen
    while True:
        await pilot.pause(0.05)
        options = palette.query_one(OptionList)
        if options.option_count and options.highlighted is not None:
            return


async def test_the_chosen_theme_is_there_at_the_next_start(workspace: Workspace) -> None:
    app = GeodeApp(workspace)
    async with app.run_test() as pilot:
        app.theme = "textual-light"
        await pilot.pause()
    again = GeodeApp(workspace)
    async with again.run_test():
        assert again.theme == "textual-light"


async def test_no_color_means_a_theme_that_stays_legible(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The terminal's own palettes turn black on black without colours."""
    settings_file().write_text('theme = "ansi-dark"\n')
    monkeypatch.setenv("NO_COLOR", "1")
    app = GeodeApp(workspace)
    async with app.run_test():
        assert app.theme == "textual-dark"


async def test_keys_can_be_given_to_other_actions(workspace: Workspace) -> None:
    settings_file().write_text('[keymap]\n"mode.schema" = "f9"\n')
    app = GeodeApp(workspace)
    async with app.run_test() as pilot:
        await pilot.press("escape", "f9")
        await settle(pilot)
        assert app.current_mode == "schema"


async def test_a_key_given_twice_is_told(workspace: Workspace) -> None:
    settings_file().write_text('[keymap]\n"mode.schema" = "q"\n')
    app = GeodeApp(workspace)
    async with app.run_test(notifications=True, size=BROAD) as pilot:
        await pilot.press("escape")
        await pilot.pause()
        assert "these have the same key" in screen_text(app)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('them = "x"\n', "did you mean theme?"),
        ("theme = 7\n", "theme is no text"),
        ("theme = \n", "mend or remove the file"),
    ],
)
async def test_damaged_settings_are_told_and_do_not_keep_one_out(
    workspace: Workspace, settings: str, told: str
) -> None:
    settings_file().write_text(settings)
    app = GeodeApp(workspace)
    async with app.run_test(size=BROAD) as pilot:
        await pilot.pause()
        assert told in screen_text(app)
        await pilot.press("escape")
        assert isinstance(app.screen, GeodeScreen)


async def test_the_copied_command_has_no_password(workspace: Workspace) -> None:
    workspace.source_dsn = "postgresql://joe:tops3cret@db1/shop"
    app = GeodeApp(workspace)
    async with app.run_test() as pilot:
        await pilot.press("escape", "c")
        assert app.clipboard.startswith("geode-tui inspect --source postgresql://joe@db1/shop")


# Dialogs


async def test_an_error_says_what_why_and_next_and_can_be_copied(workspace: Workspace) -> None:
    app = GeodeApp(workspace)
    async with app.run_test(size=NARROW) as pilot:
        error = ConnectError("cannot reach [/foo]", "no answer", "check the [firewall]")
        app.push_screen(ErrorDialog(error))
        await pilot.pause()
        text = screen_text(app)
        assert "cannot reach [/foo]" in text
        assert "no answer" in text
        assert "check the [firewall]" in text
        await pilot.press("y")
        assert app.clipboard == str(error)
        await pilot.press("escape")
        assert isinstance(app.screen, GeodeScreen)


@pytest.mark.parametrize(
    ("keys", "answer"), [("enter", False), ("escape", False), ("tab enter", True)]
)
async def test_a_question_is_no_unless_one_says_yes(
    workspace: Workspace, keys: str, answer: bool
) -> None:
    assert await _answer(workspace, ConfirmDialog("wipe", "Wipe [/all]?"), keys) is answer


@pytest.mark.parametrize(
    ("keys", "answer"),
    [("s h o p enter", True), ("s h o p tab tab enter", True), ("s h o enter escape", False)],
)
async def test_a_dangerous_question_wants_the_name_typed(
    workspace: Workspace, keys: str, answer: bool
) -> None:
    dialog = ConfirmDialog("start", "On PROD", type_name="shop")
    assert await _answer(workspace, dialog, keys) is answer


@pytest.mark.parametrize(
    ("keys", "answer"),
    [("x enter", "abx"), ("1 enter backspace enter", "ab"), ("escape", None)],
)
async def test_a_prompt_takes_only_what_is_right(
    workspace: Workspace, keys: str, answer: str | None
) -> None:
    dialog = PromptDialog("name", "ab", check=lambda t: "" if t.isalpha() else "[/letters] only")
    assert await _answer(workspace, dialog, keys) == answer


@pytest.mark.parametrize(
    ("keys", "answer"), [("enter", "b"), ("k enter", "a"), ("down enter", "c"), ("escape", None)]
)
async def test_a_choice_starts_at_what_holds_now(
    workspace: Workspace, keys: str, answer: str | None
) -> None:
    choices = [("a", "[/a]"), ("b", "two"), ("c", "three")]
    assert await _answer(workspace, ChoiceDialog("type", choices, chosen="b"), keys) == answer


async def test_a_long_text_is_cut_on_the_screen_and_copied_whole(workspace: Workspace) -> None:
    app = GeodeApp(workspace)
    async with app.run_test(size=NARROW) as pilot:
        app.push_screen(TextDialog("value", "x[/y]" * 100_000))
        await pilot.pause()
        assert "450,000 more characters" in screen_text(app)
        await pilot.press("y")
        assert len(app.clipboard) == 500_000


async def _answer[T](workspace: Workspace, dialog: Screen[T], keys: str) -> T | None:
    answers: list[T | None] = []
    app = GeodeApp(workspace)
    async with app.run_test(size=NARROW) as pilot:
        app.push_screen(dialog, answers.append)
        await pilot.pause()
        for field in app.screen.query(Input):
            field.cursor_position = len(field.value)
        await pilot.press(*keys.split())
        await pilot.pause()
    assert len(answers) == 1
    return answers[0]


# Leaving


async def test_q_leaves_when_nothing_is_lost(workspace: Workspace) -> None:
    app = GeodeApp(workspace)
    async with app.run_test() as pilot:
        await pilot.press("escape", "q")
        await settle(pilot)
    assert not app.is_running
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("keys", "leaves", "saves"),
    [("enter", False, False), ("j enter", True, True), ("j j enter", True, False)],
)
async def test_an_unsaved_mapping_is_asked_about(
    workspace: Workspace, shop_dsn: str, keys: str, leaves: bool, saves: bool
) -> None:
    """Stay, save and quit, quit without saving."""
    await workspace.connect(shop_dsn)
    app = GeodeApp(workspace, mode="schema")
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert "the mapping is not saved" in screen_text(app)
        await pilot.press(*keys.split())
        await app.workers.wait_for_complete([w for w in app.workers if w.group == "quit"])
        assert (app._exit is True) == leaves
    assert workspace.mapping_path.exists() == saves


async def test_leaving_while_a_run_goes_stops_it_safely(
    workspace: Workspace, make_database: MakeDatabase
) -> None:
    """A run held up by a lock; one may stay, or stop it and quit."""
    dsn = make_database("CREATE TABLE goods (id int PRIMARY KEY); INSERT INTO goods VALUES (1)")
    await workspace.connect(dsn)
    await workspace.write_mapping()
    holder = await asyncpg.connect(dsn)
    lock = holder.transaction()
    await lock.start()
    await holder.execute("LOCK TABLE goods IN ACCESS EXCLUSIVE MODE")
    runner = workspace.start_run()
    app = GeodeApp(workspace, mode="schema")
    async with app.run_test(size=NARROW) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert "a migration is running" in screen_text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert not runner.finished
        await pilot.press("q")
        await pilot.pause()
        await pilot.press("j", "enter")
        await lock.rollback()
        await app.workers.wait_for_complete()
    await holder.close()
    assert runner.finished
    assert not app.is_running


# Every binding


def _classes() -> Iterator[type[Widget] | type[App[None]]]:
    for package in (geode_tui.screens, geode_tui.widgets):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.glob("*.py")):
            yield from _classes_of(import_module(f"{package.__name__}.{path.stem}"))
    yield from _classes_of(app_module)


def _classes_of(module: ModuleType) -> Iterator[type[Widget] | type[App[None]]]:
    for _, found in inspect.getmembers(module, inspect.isclass):
        if found.__module__ == module.__name__ and issubclass(found, Widget | App):
            yield found


def test_every_key_has_a_name_for_the_keymap_and_a_tooltip() -> None:
    """A binding without an id cannot be given another key; one without a tooltip has no help."""
    bindings = [
        (cls.__name__, binding)
        for cls in _classes()
        for binding in cls.__dict__.get("BINDINGS", ())
    ]
    assert len(bindings) > 20
    for owner, binding in bindings:
        assert isinstance(binding, Binding), owner
        assert binding.id, (owner, binding.key)
        assert binding.tooltip, (owner, binding.key)


def test_ids_of_bindings_are_unique() -> None:
    """Else one line of the keymap would change two keys."""
    owners: dict[str, set[type]] = {}
    for cls in _classes():
        for binding in cls.__dict__.get("BINDINGS", ()):
            owners.setdefault(str(binding.id), set()).add(cls)
    shared = {name: found for name, found in owners.items() if len(found) > 1}
    # Dialogs close and copy alike; a kind of table may word the keys of all tables anew.
    strange = {
        name: found
        for name, found in shared.items()
        if not name.startswith("dialog.") and not _has_common_base(found)
    }
    assert not strange


def _has_common_base(classes: set[type]) -> bool:
    return any(all(issubclass(cls, base) for cls in classes) for base in classes)


async def test_a_source_named_at_the_start_is_connected_to(shop_dsn: str, tmp_path: Path) -> None:
    """`geode-tui demo` opens on the tables, not on an empty form."""
    workspace = Workspace(source_dsn=shop_dsn, mapping_path=tmp_path / "mapping.yaml")
    app = GeodeApp(workspace, mode="schema", connect=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert app.current_mode == "schema"
        assert "order_items" in screen_text(app)


async def test_a_source_that_cannot_be_reached_at_the_start_is_told(tmp_path: Path) -> None:
    """The form stays, with the reason."""
    workspace = Workspace(
        source_dsn="postgresql://127.0.0.1:1/shop", mapping_path=tmp_path / "mapping.yaml"
    )
    app = GeodeApp(workspace, mode="schema", connect=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "cannot connect to shop@127.0.0.1:1" in screen_text(app)
