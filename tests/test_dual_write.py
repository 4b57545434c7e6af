"""Rows and what they mean for the graph, written together: all of it arrives, once, in order."""

from __future__ import annotations

import ast
import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui import dual_write as module
from geode_tui.dual_write import (
    Delivery,
    Node,
    Relationship,
    dual_write,
    outbox_value,
    record_graph_write,
    set_up,
    set_up_statements,
)
from geode_tui.errors import BusyError, GeodeTuiError, UsageError
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import Answers, Statement
from tests.conftest import MakeDatabase, run_now
from tests.targets import Targets, database, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

SCHEMA = 'a "b" %s'
USERS = "CREATE TABLE users (id int PRIMARY KEY, name text, seen int NOT NULL DEFAULT 0)"
SET = "MATCH (u:User {id: $id}) SET u.name = $name"


class _Dies(Exception):
    """The process is killed."""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def graph_in(folder: Path) -> EmbeddedGraph:
    return EmbeddedGraph.open(folder / "g.grafeo", None)


async def add_user(
    connection: Any,
    number: int,
    name: str,
    schema: str = SCHEMA,
    then: Exception | None = None,
) -> None:
    async with dual_write(connection, schema) as change:
        await change.execute("INSERT INTO users VALUES ($1, $2)", number, name)
        change.graph("CREATE (:User {id: $id, name: $name})", {"id": number, "name": name})
        if then is not None:
            raise then


async def test_a_row_and_its_change_of_the_graph_are_both_there_or_neither(
    make_database: MakeDatabase, targets: Targets
) -> None:
    """What is rolled back reaches no graph; what is committed reaches it once."""
    dsn = make_database(USERS)
    graph = targets.open()
    async with connected(dsn) as connection:
        await set_up(connection, SCHEMA)
        await set_up(connection, SCHEMA)
        await add_user(connection, 1, "Ada")
        with pytest.raises(_Dies):
            await add_user(connection, 2, "Ben", then=_Dies())
        with pytest.raises(asyncpg.UniqueViolationError):
            await add_user(connection, 1, "twice")
        delivery = Delivery(connection, graph, SCHEMA)
        assert await delivery.waiting() == 1
        assert (await delivery.deliver()).statements == 1
        assert (await delivery.deliver()).statements == 0
        assert await delivery.waiting() == 0
        assert [tuple(row) for row in await connection.fetch("SELECT id FROM users")] == [(1,)]
    rows = graph.query("MATCH (u:User) RETURN u.id AS id, u.name AS name")
    assert rows == [{"id": 1, "name": "Ada"}]


async def test_every_value_arrives_as_it_was_given(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Not as JSON would have it: decimals, dates, bytes, floats that are none, hostile text."""
    values: dict[str, Any] = {
        "text": "a'b\"c\\ 🦆 {$geode_tui} `x`",
        "number": 2**62,
        "exact": Decimal("1.500000000000000000000000000001"),
        "real": 0.1,
        "much": float("inf"),
        "flag": False,
        "nothing": None,
        "day": date(1, 2, 3),
        "clock": time(23, 59, 59, 1),
        "local": datetime(2024, 1, 2, 3, 4, 5, 6),
        "instant": datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
        "blob": b"\0\xff",
        "list": [1, 2],
        "days": [date(2000, 1, 1)],
    }
    graph = graph_in(tmp_path)
    async with connected(make_database(USERS)) as connection:
        await set_up(connection)
        async with dual_write(connection) as change:
            change.graph("CREATE (n:Value) SET n = $p", {"p": values})
            names = ", ".join(f"{name}: ${name}" for name in values)
            change.graph(f"CREATE (:Value {{{names}}})", values)
        await Delivery(connection, graph).deliver()
    wanted = {n: v for n, v in values.items() if v is not None}
    wanted["instant"] = values["instant"].replace(tzinfo=None)  # the graph's instants are in UTC
    rows = graph.query("MATCH (n:Value) RETURN properties(n) AS p")
    assert [{n: v for n, v in row["p"].items() if v is not None} for row in rows] == [wanted] * 2
    graph.close()


async def test_transactions_that_change_a_row_arrive_in_the_order_in_which_they_changed_it(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Eight writers at the same rows, deliveries meanwhile: in the end both sides agree."""
    dsn = make_database(USERS)
    graph = graph_in(tmp_path)
    ready, done = asyncio.Event(), asyncio.Event()

    async def writer(number: int) -> None:
        chance = random.Random(number)
        async with connected(dsn) as connection:
            await ready.wait()
            for turn in range(30):
                name, user = f"{number}/{turn}", chance.randrange(4)
                async with dual_write(connection) as change:
                    change.graph(SET, {"id": user, "name": name})  # noted first, written last
                    await asyncio.sleep(chance.random() / 500)
                    update = "UPDATE users SET name = $2, seen = seen + 1 WHERE id = $1"
                    await change.execute(update, user, name)
                    more = "MATCH (u:User {id: $id}) SET u.seen = u.seen + 1"
                    change.graph(more, {"id": user})

    async with connected(dsn) as connection:
        await set_up(connection)
        for number in range(4):
            async with dual_write(connection) as change:
                await change.execute("INSERT INTO users VALUES ($1)", number)
                change.graph("CREATE (:User {id: $id, seen: 0})", {"id": number})
        stop = asyncio.Event()
        delivery = Delivery(connection, graph)
        rounds: list[Any] = []
        delivering = asyncio.create_task(delivery.deliver_for(stop, 0.01, rounds.append))
        writers = [asyncio.create_task(writer(number)) for number in range(8)]
        ready.set()
        await asyncio.gather(*writers)
        done.set()
        stop.set()
        await delivering
        await delivery.deliver()
        rows = await connection.fetch("SELECT id, name, seen FROM users ORDER BY id")
    told = graph.query("MATCH (u:User) RETURN u.id AS id, u.name AS name, u.seen AS seen")
    assert sorted(tuple(row.values()) for row in told) == [tuple(row) for row in rows]
    assert sum(row["seen"] for row in rows) == 240
    assert len(rounds) > 1
    graph.close()


async def test_what_commits_late_is_not_left_out(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A transaction that wrote first and commits last has a lower number, and is delivered."""
    dsn = make_database(USERS)
    graph = graph_in(tmp_path)
    async with connected(dsn) as slow, connected(dsn) as fast:
        await set_up(fast)
        delivery = Delivery(fast, graph)
        async with slow.transaction():
            await add_user(slow, 1, "slow", module.SCHEMA)
            await add_user(fast, 2, "fast", module.SCHEMA)
            assert (await delivery.deliver()).statements == 1
            assert await delivery.clean_up() == 1
        assert await delivery.waiting() == 1
        assert (await delivery.deliver()).statements == 1
        assert await delivery.clean_up() == 1
        assert (await delivery.deliver()).statements == 0
    assert graph.query("MATCH (u:User) RETURN count(u) AS c") == [{"c": 2}]
    graph.close()


async def test_a_delivery_that_is_killed_is_done_again_and_nothing_is_there_twice(
    make_database: MakeDatabase, targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before and after each commit of the graph, in rounds of several batches."""
    monkeypatch.setattr(module, "BATCH_STATEMENTS", 3)
    dsn = make_database(USERS)
    graph = targets.open()
    whole = graph.run_together
    moment = 0

    def dying(statements: list[Statement], check: Any) -> None:
        nonlocal moment
        moment += 1

        def checked(answers: Answers) -> None:
            check(answers)
            if moment % 3 == 1:
                raise _Dies

        whole(statements, checked)
        if moment % 3 == 2:
            raise _Dies

    async with connected(dsn) as connection:
        await set_up(connection)
        for number in range(20):
            await add_user(connection, number, "n", module.SCHEMA)
        monkeypatch.setattr(graph, "run_together", dying)
        for _ in range(100):
            try:
                await Delivery(connection, graph).deliver()
                break
            except _Dies:
                continue
        assert await Delivery(connection, graph).waiting() == 0
    assert moment > 8
    rows = graph.query("MATCH (u:User) RETURN u.id AS id")
    assert sorted(row["id"] for row in rows) == list(range(20))


async def test_two_deliveries_at_once_apply_nothing_twice(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """One of them is told to stop."""
    dsn = make_database(USERS)
    graph = graph_in(tmp_path)
    async with connected(dsn) as connection, connected(dsn) as other:
        await set_up(connection)
        first, second = Delivery(connection, graph), Delivery(other, graph)
        await add_user(connection, 1, "n", module.SCHEMA)
        before = second._position
        old = before()
        await first.deliver()
        second._position = lambda: old  # type: ignore[method-assign]
        with pytest.raises(BusyError, match="another delivery"):
            await second.deliver()
    assert graph.query("MATCH (u:User) RETURN count(u) AS c") == [{"c": 1}]
    graph.close()


async def test_a_statement_that_the_graph_refuses_is_named_and_stops_what_follows(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What was before it is applied; mended, it goes on where it stood."""
    graph = graph_in(tmp_path)
    async with connected(make_database(USERS)) as connection:
        await set_up(connection)
        await add_user(connection, 1, "n", module.SCHEMA)
        async with dual_write(connection) as change:
            change.graph("CREATE (:User {id: 99}")
        await add_user(connection, 2, "n", module.SCHEMA)
        delivery = Delivery(connection, graph)
        with pytest.raises(GeodeTuiError, match=r"refuses change 2 of geode_tui.graph_outbox"):
            await delivery.deliver()
        assert graph.query("MATCH (u:User) RETURN u.id AS id") == [{"id": 1}]
        mend = "UPDATE geode_tui.graph_outbox SET gql = 'CREATE (:User {id: 99})' WHERE id = 2"
        await connection.execute(mend)
        assert (await delivery.deliver()).statements == 2
    rows = graph.query("MATCH (u:User) RETURN u.id AS id")
    assert sorted(row["id"] for row in rows) == [1, 2, 99]
    graph.close()


async def test_an_application_role_needs_the_right_to_add_only(make_database: MakeDatabase) -> None:
    """It can neither read what others wrote nor take it back."""
    dsn = make_database(USERS)
    async with connected(dsn) as owner:
        await owner.execute('CREATE ROLE "app 1" LOGIN; GRANT INSERT ON users TO "app 1"')
        try:
            await set_up(owner, roles=["app 1"])
            async with connected(dsn.replace("postgres@", "app%201@")) as app:
                await add_user(app, 1, "n", module.SCHEMA)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await app.execute("SELECT * FROM geode_tui.graph_outbox")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await app.execute("DELETE FROM geode_tui.graph_outbox")
            assert await owner.fetchval("SELECT count(*) FROM geode_tui.graph_outbox") == 1
        finally:
            await owner.execute('DROP OWNED BY "app 1"; DROP ROLE "app 1"')


async def test_without_its_table_it_says_so(make_database: MakeDatabase, tmp_path: Path) -> None:
    graph = graph_in(tmp_path)
    async with connected(make_database(USERS)) as connection:
        with pytest.raises(GeodeTuiError, match="graph_outbox"):
            await Delivery(connection, graph).deliver()
        with pytest.raises(asyncpg.UndefinedTableError):
            await add_user(connection, 1, "n")
        assert await connection.fetchval("SELECT count(*) FROM users") == 0
    graph.close()


def test_the_keys_of_an_outbox_node_are_read_back_as_what_they_were() -> None:
    """By the type that the mapping says: a text `5` and a number 5 are not mixed up."""
    values = {
        "INT": -5,
        "STRING": "5",
        "BOOL": True,
        "FLOAT": 0.1,
        "DECIMAL": Decimal("1.50"),
        "BYTES": b"\0a",
        "DATE": date(1, 1, 1),
        "TIME": time(1, 2, 3, 4),
        "TIMESTAMP": datetime(2024, 1, 2, 3, 4, 5, 6),
        "TIMESTAMPTZ": datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
    }
    for kind, value in values.items():
        _, parameters = record_graph_write(Node("T", (value,)))
        [text] = json.loads(parameters["outbox_key"])
        assert outbox_value(text, kind) == value
        assert type(outbox_value(text, kind)) is type(value)


def test_a_record_names_the_rule_as_the_mapping_does() -> None:
    """So that the fall-back finds it; what makes no sense is refused at once."""
    link = Relationship("OWNS", Node("User", (1,)), Node("Car", ("x",)))
    statement, parameters = record_graph_write(link, "remove")
    assert parameters["outbox_rule"] == "(User)-[OWNS]->(Car)"
    assert parameters["outbox_key"] == '[["1"], ["x"], []]'
    assert set(re.findall(r"\$(\w+)", statement)) == set(parameters)
    with pytest.raises(UsageError, match="no operation drop"):
        record_graph_write(link, "drop")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="null"):
        record_graph_write(Node("User", (None,)))


def test_an_outbox_node_can_be_left_in_every_graph(targets: Targets) -> None:
    """In the transaction of the write that it tells of."""
    graph = targets.open()
    write = ("CREATE (:User {id: $id})", {"id": 1})
    graph.run_together([write, record_graph_write(Node("User", (1,)))], lambda answers: None)
    with pytest.raises(_Dies):
        graph.run_together([write, record_graph_write(Node("User", (2,)))], _die)
    rows = list(database(graph).execute("MATCH (o:_Outbox) RETURN o.rule AS rule, o.key AS key"))
    assert [dict(row) for row in rows] == [{"rule": "User", "key": '["1"]'}]


def _die(answers: Answers) -> None:
    raise _Dies


def test_the_sql_that_sets_up_can_be_run_by_somebody_else(make_database: MakeDatabase) -> None:
    """Statement by statement, as it is printed."""
    dsn = make_database(USERS)

    async def work() -> Any:
        async with connected(dsn) as connection:
            for statement in set_up_statements(SCHEMA):
                await connection.execute(statement)
            await add_user(connection, 1, "n")
            return await connection.fetchval(f"SELECT gql FROM {module._table(SCHEMA)}")

    assert run_now(work()) == "CREATE (:User {id: $id, name: $name})"


def test_it_needs_no_terminal_interface() -> None:
    """An application that imports it loads neither textual nor rich."""
    import subprocess
    import sys

    script = "import sys, geode_tui.dual_write; print({'textual', 'rich'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


async def test_the_examples_of_the_page_run(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/dual-write.md, block after block; what it says of them is so."""
    page = (Path(__file__).parent.parent / "docs" / "dual-write.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    async with connected(make_database(USERS)) as connection:
        await connection.execute("CREATE ROLE shop_app; INSERT INTO users VALUES (1, 'A')")
        try:
            names: dict[str, Any] = {"connection": connection}
            for number, block in enumerate(blocks):
                code = compile(block, f"block {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                waiting = eval(code, names)
                if waiting is not None:
                    await waiting
                if number == 1:
                    assert names["done"].statements == 1
                    names["graph"].query("CREATE (:User {id: 1})")
                    names["graph"].query("CREATE (:Book {isbn: '978-3'})")
            assert await connection.fetchval("SELECT name FROM users") == "Ada"
            assert await connection.fetchval("SELECT count(*) FROM geode_tui.graph_outbox") == 0
        finally:
            await connection.execute("DROP OWNED BY shop_app; DROP ROLE shop_app")
    graph = names["graph"]
    assert graph.query("MATCH (:User)-[r:LENT]->(:Book) RETURN count(r) AS c") == [{"c": 1}]
    [told] = graph.query("MATCH (o:_Outbox) RETURN o.rule AS rule, o.key AS key")
    assert told == {"rule": "(User)-[LENT]->(Book)", "key": '[["1"], ["978-3"], []]'}
    graph.close()
