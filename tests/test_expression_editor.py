"""Writing SQL in the mapping: checked while it is typed, tried on real rows, never written."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from geode_tui.mapping.model import NodeRule, Property
from geode_tui.mapping.preview import condition_preview, expression_preview, ordering_preview
from geode_tui.migration.preview import PreviewSession
from geode_tui.screens.dialogs import ChoiceDialog, ConfirmDialog, PromptDialog
from geode_tui.screens.expression_editor import ExpressionEditor
from geode_tui.screens.mapping import MappingScreen
from geode_tui.source.postgres import Source
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.rule_table import RuleTable
from geode_tui.widgets.sql_editor import SqlEditor
from tests.conftest import MakeDatabase
from tests.sitting import NARROW, Sitting, sitting

PEOPLE = """
CREATE TABLE people (
    id int PRIMARY KEY, name text, credit numeric(10,4), "a""b" text, seen timestamp
);
INSERT INTO people SELECT n, 'Person ' || n, n, NULL, timestamp '2024-01-01' + n * interval '1 d'
FROM generate_series(1, 30) n;
"""
CARDS = """
CREATE TABLE cards (owner text, changed date, note text);
INSERT INTO cards VALUES ('Ada', '2024-01-01', 'old'), ('Ada', '2024-05-01', 'new'),
    ('Grace', '2024-02-01', 'only');
"""


@pytest.fixture
def dsn(make_database: MakeDatabase) -> str:
    """Thirty people."""
    return make_database(PEOPLE)


async def go_to_property(sit: Sitting, rule: str, column: str) -> None:
    """Put the cursor on a column of a rule, by the keyboard's focus."""
    screen = sit.app.screen
    rules, grid = screen.query_one(RuleTable), screen.query_one(PropertyGrid)
    await sit.until(lambda: rules.go_to(rule), f"a rule {rule}")
    await sit.pilot.pause()
    grid.focus()
    grid.cursor = [line.column for line in grid.items].index(column)
    await sit.pilot.pause()


async def write(sit: Sitting, text: str) -> None:
    """Put a text into the editor in place of what it holds."""
    sit.app.screen.query_one(SqlEditor).text = text
    await sit.pilot.pause()


def person(sit: Sitting) -> NodeRule:
    """The rule of the people."""
    rule = sit.mapping.node("Person")
    assert rule is not None
    return rule


async def test_an_expression_is_checked_and_tried_while_it_is_typed(
    dsn: str, tmp_path: Path
) -> None:
    """Its type, its columns, rows before and after; taking it is one step. A mistake cannot be
    taken, a text that fails for a row only after a question that names the row."""
    async with sitting("mapping", tmp_path, dsn, size=NARROW) as sit:
        await go_to_property(sit, "Person", "credit")
        await sit.press("f")
        await sit.sees("expression of Person.credit", "the column as it is: numeric(10,4)")
        await sit.sees("SQL over the columns of a row")
        await sit.press(*"credit", "space", "asterisk", "space", "2")
        await sit.sees("✓ numeric ─▶ DECIMAL · reads credit", "2 2.0000 4.0000", "✓ 20 rows")
        await sit.press("f4")
        await sit.press("down", "down", "enter")
        await sit.sees("numeric ─▶ STRING")
        await sit.press("ctrl+s")
        await sit.until(lambda: isinstance(sit.app.screen, MappingScreen))
        assert person(sit).property_named("credit") == Property(
            "credit", "credit", "STRING", expression="credit * 2"
        )
        await sit.sees("ƒ credit * 2")
        await sit.press("u")
        assert person(sit).property_named("credit") == Property("credit", "credit", "DECIMAL")
        await sit.press("f")
        await write(sit, "credit + kredit")
        await sit.sees("✗ SQL at character 10, «kredit»")
        await sit.press("ctrl+s")
        await sit.sees("✗ SQL at character 10")
        assert isinstance(sit.app.screen, ExpressionEditor)
        await write(sit, "100 / (credit - 7)")
        await sit.sees("✗ PostgreSQL refuses 1 row", "✗ refused 7 7.0000 PostgreSQL: division")
        await sit.press("ctrl+s")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog))
        await sit.sees("id 7 · credit 7.0000", "A run would stop there")
        await sit.press("escape")
        assert sit.app.screen.query_one(SqlEditor).text == "100 / (credit - 7)"
        await sit.press("escape")
        await sit.until(lambda: isinstance(sit.app.screen, ConfirmDialog))
        await sit.press("tab", "enter")
        await sit.until(lambda: isinstance(sit.app.screen, MappingScreen))
        assert person(sit).property_named("credit") == Property("credit", "credit", "DECIMAL")


async def test_expressions_are_picked_from_a_list_and_a_condition_shows_which_rows_it_leaves_out(
    dsn: str, tmp_path: Path
) -> None:
    """A new property of a ready-made expression, with answers asked for; w writes the rule's
    where, and shows the rows before there is one."""
    async with sitting("mapping", tmp_path, dsn, size=NARROW) as sit:
        await go_to_property(sit, "Person", "name")
        await sit.press("n")
        sit.app.screen.query_one(Input).value = "masked"
        await sit.press("enter")
        await sit.sees("expression of Person.masked", "✗ write an expression")
        await sit.press("f2")
        await sit.sees("columns of public.people")
        await sit.press("down", "enter")
        await sit.sees("ready-made expressions for name")
        dialog = sit.app.screen
        assert isinstance(dialog, ChoiceDialog)
        ids = [choice for choice, _ in dialog._choices]
        await sit.press(*["down"] * next(n for n, i in enumerate(ids) if "mask" in i), "enter")
        await sit.until(lambda: isinstance(sit.app.screen, PromptDialog))
        await sit.write("x")
        await sit.sees("a whole number from")
        await sit.write("2")
        await sit.press("enter")
        await sit.sees("✓ 20 rows", "*******11")
        await sit.press("ctrl+s")
        await sit.until(lambda: isinstance(sit.app.screen, MappingScreen))
        made = person(sit).property_named("masked")
        assert made is not None
        assert made.expression.startswith("CASE WHEN")
        await sit.press("u")
        assert person(sit).property_named("masked") is None
        await go_to_property(sit, "Person", "name")
        await sit.press("w")
        await sit.sees("no condition: all rows are moved", "30 of 30 rows moved", "Person 1")
        await write(sit, "credit")
        await sit.sees("✗ SQL at character 1", "a condition is true or false")
        await write(sit, "credit > 10 AND name <> 'Person 11'")
        await sit.sees("19 of 30 rows moved, 11 left out", "– left out")
        await sit.press("f3", "down", "down", "down", "enter")
        assert sit.app.screen.query_one(SqlEditor).text.startswith('"a""b"')
        await write(sit, "credit > 10")
        await sit.press("ctrl+s")
        await sit.sees("where credit > 10")
        assert person(sit).where == "credit > 10"


async def test_the_first_row_of_each_key_is_chosen_by_an_order(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """K writes the order; the editor shows which of several rows is kept."""
    (tmp_path / "mapping.yaml").write_text(
        "version: 2\ndatabase: x\nnodes:\n- label: Card\n  table: public.cards\n"
        "  key: [owner]\n  keep_first: changed\n  properties:\n"
        "  - {name: owner, column: owner, type: STRING}\nrelationships: []\n"
    )
    async with sitting("mapping", tmp_path, make_database(CARDS), size=NARROW) as sit:
        await go_to_property(sit, "Card", "owner")
        await sit.press("K")
        await write(sit, "changed DESC")
        await sit.sees("2 of 3 rows kept, 1 left out", "✓ kept Ada 2024-05-01")
        await sit.press("ctrl+s")
        await sit.sees("first by changed DESC")


async def test_a_preview_finds_each_failing_row_and_is_read_only(dsn: str) -> None:
    """The rows that PostgreSQL refuses are told apart from those that it takes."""
    source = await Source.connect(dsn)
    session = PreviewSession(source)
    try:
        table = (await source.catalog()).tables[0]
        item = Property("x", "credit", "DECIMAL", expression="1 / ((credit - 3) * (credit - 20))")
        found = await session.rows(expression_preview(table, item, ("id",)), 30)
        assert [row.before for row in found.rows if row.failure] == [("3",), ("20",)]
        assert len(found.rows) == 30
        assert found.complete
        item = Property("x", "credit", "INT", expression="(1 / (credit - credit))::int")
        found = await session.rows(expression_preview(table, item, ("id",)), 30)
        assert not found.complete
        kept = await session.rows(condition_preview(table, "id % 2 = 0", ("id",)), 10)
        assert [row.after for row in kept.rows] == [False, True] * 5
        order = ordering_preview(table, "id DESC", (Property("n", "name", "STRING"),), ("id",))
        assert all(row.after for row in (await session.rows(order, 10)).rows)
        reader = await session._opened()
        assert (await reader.fetch("SHOW transaction_read_only"))[0][0] == "on"
        assert (await reader.fetch("SHOW statement_timeout"))[0][0] == "5s"
    finally:
        await session.close()
        await source.close()


async def test_without_rows_an_expression_is_still_checked(tmp_path: Path) -> None:
    """A DDL file has no rows: the editor says so, and checks all the same."""
    ddl = tmp_path / "shop.sql"
    ddl.write_text("CREATE TABLE people (id int PRIMARY KEY, name text);")
    async with sitting("mapping", tmp_path, str(ddl)) as sit:
        await sit.sees("the source is a DDL file: it has no rows")
        await go_to_property(sit, "Person", "name")
        await sit.press("f")
        await write(sit, "upper(name)")
        await sit.sees("✓ text ─▶ STRING", "no rows: the source is a DDL file")
        await sit.press("ctrl+s")
        await sit.sees("ƒ upper(na")
