"""Connect: choose a source and a target, see what they are, be told what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from geode_tui.app import GeodeApp
from geode_tui.demo import EmbeddedPostgres
from geode_tui.migration.journal import Journal
from geode_tui.migration.profiles import Profile, load_profiles, save_profile
from geode_tui.migration.workspace import Workspace
from geode_tui.paths import profiles_file
from geode_tui.screens.dialogs import ErrorDialog
from geode_tui.target import open_target
from tests.conftest import MakeDatabase, run_now
from tests.terminal import NARROW, SIZES, screen_text, settle


@pytest.fixture
def app(tmp_path: Path) -> GeodeApp:
    """The program with nothing connected."""
    return GeodeApp(Workspace(mapping_path=tmp_path / "mapping.yaml"))


async def _type(pilot: Pilot[None], field: str, text: str) -> None:
    """Fill a field as a person who pastes does."""
    entry = pilot.app.screen.query_one(f"#{field}", Input)
    entry.focus()
    entry.value = text
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
async def test_enter_connects_and_shows_the_schema(
    app: GeodeApp, shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    async with app.run_test(size=size) as pilot:
        await _type(pilot, "target", str(tmp_path / "shop.grafeo"))
        await _type(pilot, "label", "PROD")
        await _type(pilot, "source", shop_dsn)
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "schema"
        assert app.workspace.label == "PROD"
        assert app.workspace.target_place == str(tmp_path / "shop.grafeo")
        assert "order_items" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_a_saved_connection_opens_with_enter(
    app: GeodeApp, shop_dsn: str, size: tuple[int, int]
) -> None:
    save_profile(Profile("[/the shop]", shop_dsn, "shop.grafeo", label="PROD"))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "[/the shop]" in screen_text(app)
        assert "PROD" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "schema"
        assert app.workspace.profile is not None
        assert app.workspace.profile.name == "[/the shop]"


async def test_only_the_schemas_that_are_named_are_read(
    app: GeodeApp, make_database: MakeDatabase
) -> None:
    dsn = make_database(
        "CREATE SCHEMA a; CREATE TABLE a.x (); CREATE SCHEMA b; CREATE TABLE b.y ();"
        "CREATE SCHEMA c; CREATE TABLE c.z ();"
    )
    async with app.run_test(size=NARROW) as pilot:
        await _type(pilot, "schemas", "a, c")
        await _type(pilot, "source", dsn)
        await pilot.press("enter")
        await settle(pilot)
        assert app.workspace.catalog is not None
        assert app.workspace.catalog.schemas == ("a", "c")


@pytest.mark.parametrize("size", SIZES)
async def test_test_says_what_both_ends_are(
    app: GeodeApp, shop_dsn: str, tmp_path: Path, size: tuple[int, int]
) -> None:
    """All of it is in view at 80x24."""
    place = tmp_path / "x.grafeo"
    target = open_target(str(place))
    target.query("INSERT (:Goods {id: 1})")
    target.flush()
    target.close()
    save_profile(Profile("shop", shop_dsn, str(place)))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        text = screen_text(app)
        assert "PostgreSQL" in text
        assert "primary" in text
        assert "shop as " in text
        assert "UTF8" in text
        assert "12 in 1 schema" in text
        assert "1 nodes, 0 relationships" in text
        assert app.current_mode == "connect"
        assert app.workspace.source is None


async def test_test_of_a_new_target_makes_no_file(
    app: GeodeApp, shop_dsn: str, tmp_path: Path
) -> None:
    place = tmp_path / "new.grafeo"
    save_profile(Profile("shop", shop_dsn, str(place)))
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        await pilot.press("t")
        await settle(pilot)
        assert "target: a new file" in screen_text(app)
    assert not place.exists()


async def _told(app: GeodeApp, dsn: str, password: str = "") -> tuple[str, str]:
    """What the error dialog says, and the field that has the focus when it is read."""
    async with app.run_test(size=NARROW) as pilot:
        await _type(pilot, "password", password)
        await _type(pilot, "source", dsn)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, ErrorDialog)
        dialog = screen_text(app)
        await pilot.press("y", "escape")
        await settle(pilot)
        assert app.current_mode == "connect"
        assert app.workspace.source is None
        assert app.clipboard.split("\n")[0] in screen_text(app)
        assert app.focused is not None
        return dialog, str(app.focused.id)


async def test_an_unreachable_host_is_told(app: GeodeApp) -> None:
    told, field = await _told(app, "postgresql://joe@127.0.0.1:1/shop")
    assert "cannot connect to shop@127.0.0.1:1" in told
    assert "check host and port" in told
    assert field == "source"


async def test_a_database_that_is_not_there_is_told(
    app: GeodeApp, postgres: EmbeddedPostgres
) -> None:
    told, field = await _told(app, postgres.dsn("[/no such]"))
    assert 'database "[/no such]" does not exist' in told
    assert "check the database's name" in told
    assert field == "source"


async def test_a_text_that_is_no_dsn_is_told(app: GeodeApp) -> None:
    told, field = await _told(app, "mysql://joe@db1/shop")
    assert "is no PostgreSQL DSN" in told
    assert field == "source"


@pytest.fixture
def guarded(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a role that must give a password, `right`."""
    before = run_now(_value(postgres, "SELECT pg_read_file(current_setting('hba_file'))"))
    run_now(_value(postgres, "CREATE ROLE guarded LOGIN PASSWORD 'right'"))
    rule = "local all guarded scram-sha-256\nhost all guarded all scram-sha-256\n"
    run_now(_admit(postgres, rule + before))
    head, _, tail = postgres.dsn().partition("://")
    yield f"{head}://guarded@{tail.rpartition('@')[2]}"
    run_now(_admit(postgres, before))
    run_now(_value(postgres, "DROP ROLE guarded"))


async def _admit(postgres: EmbeddedPostgres, rules: str) -> None:
    """Give the server another pg_hba.conf; it writes the file itself, wherever that is."""
    lines = ", ".join(f"($rule${line}$rule$)" for line in rules.splitlines() if line.strip())
    place = await _value(postgres, "SHOW hba_file")
    raw = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')"
    await _value(postgres, f"COPY (VALUES {lines}) TO '{place}' {raw}")
    await _value(postgres, "SELECT pg_reload_conf()")


async def _value(postgres: EmbeddedPostgres, statement: str) -> str:
    connection = await asyncpg.connect(postgres.dsn())
    try:
        if statement.startswith("COPY"):
            return str(await connection.execute(statement))
        return str(await connection.fetchval(statement))
    finally:
        await connection.close()


async def test_a_wrong_password_is_told_and_nowhere_shown(app: GeodeApp, guarded: str) -> None:
    told, field = await _told(app, guarded, "wr0ng")
    assert "password authentication failed" in told
    assert "wr0ng" not in told
    assert field == "password"


async def test_a_password_in_the_dsn_moves_into_its_masked_field(app: GeodeApp) -> None:
    async with app.run_test(size=NARROW) as pilot:
        await _type(pilot, "source", "postgresql://joe:tops3cret@127.0.0.1:1/shop")
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert "tops3cret" not in screen_text(app)
        assert app.screen.query_one("#password", Input).value == "tops3cret"


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://joe:tops3cret@db1/shop",
        "postgresql://joe@db1/shop?password=tops3cret",
        "host=db1 dbname=shop user=joe password=tops3cret",
    ],
)
async def test_a_saved_connection_has_no_password(app: GeodeApp, dsn: str) -> None:
    async with app.run_test(size=NARROW) as pilot:
        await _type(pilot, "profile", "mine")
        await _type(pilot, "source", dsn)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "mine" in screen_text(app)
    assert [profile.name for profile in load_profiles()] == ["mine"]
    assert "tops3cret" not in profiles_file().read_text()
    assert "db1" in profiles_file().read_text()


async def test_a_connection_without_a_name_is_not_saved(app: GeodeApp) -> None:
    async with app.run_test(size=NARROW) as pilot:
        await _type(pilot, "source", "postgresql://joe@db1/shop")
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert app.focused is app.screen.query_one("#profile")
    assert load_profiles() == []


@pytest.mark.parametrize(("keys", "left"), [("enter", ["a", "b"]), ("tab enter", ["a"])])
async def test_deleting_a_connection_asks_first(app: GeodeApp, keys: str, left: list[str]) -> None:
    for name in ("a", "b"):
        save_profile(Profile(name, "postgresql://joe@db1/shop", "x.grafeo"))
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        await pilot.press("j", "d")
        await pilot.pause()
        assert "Delete the saved connection b?" in screen_text(app)
        await pilot.press(*keys.split())
        await settle(pilot)
    assert [profile.name for profile in load_profiles()] == left


async def test_damaged_profiles_are_told(app: GeodeApp) -> None:
    profiles_file().write_text("[[profile\n")
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        assert "mend or remove the file" in screen_text(app)


async def test_a_run_that_stopped_is_resumed_with_enter(
    app: GeodeApp, make_database: MakeDatabase, tmp_path: Path
) -> None:
    dsn = make_database("CREATE TABLE goods (id int PRIMARY KEY); INSERT INTO goods VALUES (1)")
    await _stop_a_run(dsn, tmp_path)
    async with app.run_test(size=NARROW) as pilot:
        await settle(pilot)
        assert "run 1 stopped" in screen_text(app)
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "run"
        runner = app.workspace.runner
        assert runner is not None
        assert runner.join(30)
        assert runner.error is None
        assert runner.ledger is not None
        assert runner.ledger.entries[0].in_graph == 1


async def _stop_a_run(dsn: str, folder: Path) -> None:
    """Begin a run, hold it up with a lock, stop it."""
    workspace = Workspace(
        target_place=str(folder / "x.grafeo"), mapping_path=folder / "mapping.yaml"
    )
    await workspace.connect(dsn)
    holder = await asyncpg.connect(dsn)
    lock = holder.transaction()
    await lock.start()
    await holder.execute("LOCK TABLE goods IN ACCESS EXCLUSIVE MODE")
    runner = workspace.start_run()
    while runner.run_number is None:
        assert not runner.join(0.01)
    runner.stop()
    await lock.rollback()
    assert runner.join(30)
    await holder.close()
    await workspace.close()
    journal = Journal()
    assert [run.state for run in journal.runs()] == ["stopped"]
    journal.close()
