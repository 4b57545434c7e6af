"""The loopback server, met by the real driver over both transports."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import geode_client
import grpc
import pytest
from geode_client.client import AuthError, QueryError
from geode_client.transport import TransportConnectionError, TransportError

from tests.geode_loopback import Dialect, Fault, Loopback
from tests.graph_dump import dump, dump_open

SOON = 0.3
LONG = 1.5
LIMIT = 5.0
DROPPED = (TransportError, geode_client.client.GeodeError, grpc.aio.AioRpcError)


@pytest.fixture(scope="module")
def running() -> Iterator[Loopback]:
    """One server for all tests; each works in a graph of its own."""
    with Loopback() as server:
        yield server


@pytest.fixture
def server(running: Loopback) -> Iterator[Loopback]:
    """The server without faults and with the documented dialect."""
    yield running
    running.faults.clear()
    running.dialect = Dialect()


@pytest.fixture(params=["grpc", "quic"])
def transport(request: pytest.FixtureRequest) -> str:
    """Each test runs over both."""
    return str(request.param)


@pytest.fixture
def graph() -> str:
    """A new graph."""
    return f"g{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    """A connection of the driver."""
    connection = geode_client.open_database(dsn).connection()
    await asyncio.wait_for(connection.connect(), LIMIT)
    try:
        yield connection
    finally:
        await asyncio.wait_for(connection.close(), LIMIT)


@pytest.fixture
async def connection(server: Loopback, transport: str, graph: str) -> AsyncIterator[Any]:
    """A connection to the new graph."""
    async with connected(server.dsn(transport, graph=graph)) as opened:
        yield opened


@pytest.fixture
async def plain(server: Loopback, graph: str) -> AsyncIterator[Any]:
    """The same over plain gRPC, where the transport makes no difference."""
    async with connected(server.grpc_dsn(graph=graph, tls=False)) as opened:
        yield opened


async def soon(call: Awaitable[Any]) -> Any:
    """The result, or a TimeoutError after a moment."""
    return await asyncio.wait_for(call, SOON)


def count(server: Loopback, graph: str, label: str = "N") -> int:
    """How many nodes are in the graph, seen from inside."""
    found = server.graph(graph).execute(f"MATCH (n:{label}) RETURN count(n) AS c")
    return int(next(iter(found))["c"])


def reaches_one(server: Loopback, graph: str) -> bool:
    """Whether there is a node within the limit."""
    end = time.monotonic() + LIMIT
    while count(server, graph) != 1 and time.monotonic() < end:
        time.sleep(0.02)
    return count(server, graph) == 1


# login


async def test_the_wrong_password_is_refused(server: Loopback, transport: str) -> None:
    """A wrong password or user ends in the driver's AuthError."""
    for login in ({"password": "wrong"}, {"user": "nobody", "password": "secret"}):
        with pytest.raises(AuthError):
            async with connected(server.dsn(transport, **login)):
                pass


async def test_a_reader_reads_and_cannot_write(
    server: Loopback, transport: str, graph: str
) -> None:
    """The read-only role gets 42501 for a write, and no new graph."""
    with pytest.raises(AuthError):
        async with connected(server.dsn(transport, user="reader", graph=graph)):
            pass
    server.graph(graph)
    async with connected(server.dsn(transport, user="reader", graph=graph)) as connection:
        await connection.execute("MATCH (n) RETURN n.set AS created, 'CREATE' AS word")
        with pytest.raises(QueryError) as refused:
            await connection.execute("CREATE (:N)")
    assert refused.value.code == "42501"
    assert count(server, graph) == 0


async def test_the_certificate_is_verified(server: Loopback, transport: str) -> None:
    """Without the authority's certificate a client does not come in; plain gRPC needs none."""
    dsn = server.dsn(transport).split("?")[0]
    with pytest.raises(DROPPED):
        async with connected(dsn):
            pass
    async with connected(server.grpc_dsn(tls=False)) as connection:
        assert await connection.query_row("RETURN 1 AS x")


async def test_a_client_certificate_is_demanded(tmp_path: Path, transport: str) -> None:
    """Where one is demanded, only a client that has one comes in."""
    with Loopback(client_certificate=True, directory=tmp_path) as server:
        async with connected(server.dsn(transport)) as connection:
            assert await connection.query_row("RETURN 1 AS x")
        without = server.dsn(transport).split("&cert=")[0] + "&idle_timeout=1"
        with pytest.raises(DROPPED):
            async with connected(without):
                pass


# statements


async def test_values_come_back_as_they_were_sent(connection: Any) -> None:
    """Every kind of parameter goes through the graph and back."""
    sent = {
        "none": None,
        "yes": True,
        "whole": -(2**63),
        "real": 0.1,
        "exact": Decimal("-12.500"),
        "big": Decimal(2**100),
        "text": 'it\'s a `hostile` "text" 🙂',
        "raw": b"\x00\xff",
        "items": [1, None, ["x", {"deep": [Decimal("1.0")]}]],
    }
    for name, value in sent.items():
        row = await connection.query_row("RETURN $value AS value", {"value": value})
        assert _plain(row["value"]) == (Decimal(str(value)) if name == "real" else value), name


async def test_nodes_relationships_paths_and_times_come_back(connection: Any) -> None:
    """What only the graph has arrives as the driver's own kinds."""
    await connection.execute("CREATE (:A {id: 1, at: date('2024-01-02')})-[:T {w: 2}]->(:B:C)")
    row = await connection.query_row(
        "MATCH p = (a:A)-[r]->(b) RETURN a, r, b, p, datetime('2024-01-02T03:04:05Z') AS at, "
        "duration('P1DT2H') AS lasts"
    )
    kinds = {name: value.kind.name for name, value in row.items()}
    assert kinds["a"] == "NODE"
    assert kinds["r"] == "EDGE"
    assert kinds["p"] == "PATH"
    assert _plain(row["r"].object_value["properties"]) == {"w": 2}
    assert set(_plain(row["b"].object_value["labels"])) == {"B", "C"}
    assert row["at"].as_datetime.replace(tzinfo=UTC) == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row["lasts"].raw_value == "P0M1DT7200S"


async def test_many_rows_come_in_pages_of_a_thousand(connection: Any) -> None:
    """Every row arrives once, in order, and the last page says that it is the last."""
    page, pager = await connection.query("UNWIND range(1, 2500) AS x RETURN x")
    assert not page.final  # the driver changes it while it reads on
    pages = [page, *[page async for page in pager()]]
    assert [len(page.rows) for page in pages] == [1000, 1000, 500]
    assert pages[-1].final
    assert [row["x"].as_int for page in pages for row in page.rows] == list(range(1, 2501))


async def test_a_commit_writes_and_a_rollback_does_not(
    server: Loopback, connection: Any, transport: str, graph: str
) -> None:
    """Others see what was committed, and only that; a broken connection rolls back."""
    await connection.begin()
    await connection.execute("CREATE (:N)")
    assert count(server, graph) == 0
    await connection.rollback()
    await connection.begin()
    await connection.execute("CREATE (:N)")
    await connection.commit()
    assert count(server, graph) == 1
    async with connected(server.dsn(transport, graph=graph)) as other:
        await other.begin()
        await other.execute("CREATE (:N)")
    assert count(server, graph) == 1
    await connection.execute("CREATE (:N)")
    assert count(server, graph) == 2


async def test_the_second_writer_of_a_node_meets_a_conflict(
    server: Loopback, connection: Any, transport: str, graph: str
) -> None:
    """Two transactions change one node: the second gets 40001, the first one's value stays."""
    await connection.execute("CREATE (:N {v: 0})")
    async with connected(server.dsn(transport, graph=graph)) as other:
        await connection.begin()
        await other.begin()
        await connection.execute("MATCH (n:N) SET n.v = 1")
        with pytest.raises(QueryError) as refused:
            await other.execute("MATCH (n:N) SET n.v = 2")
        assert refused.value.code == "40001"
        await connection.commit()
        await other.rollback()
        assert (await other.query_row("MATCH (n:N) RETURN n.v AS v"))["v"].as_int == 1


CODES = {
    "MATCH (n:": "42000",
    "SAVEPOINT x": "42000",
    "ROLLBACK TO SAVEPOINT x": "42000",
    "BEGIN": "42000",
    "CREATE (:U {id: 1})": "23505",
    "RETURN 1 / 0": "22000",
    "CREATE INDEX by_id ON U(id)": "42710",
    "DROP INDEX nothing": "42704",
    "CREATE UNIQUE INDEX twice ON D(id)": "23505",
    "USE GRAPH other": "42000",
}


async def test_errors_have_their_codes(connection: Any) -> None:
    """What goes wrong in the graph arrives with a code, and the connection goes on."""
    await connection.execute("CREATE UNIQUE INDEX by_id ON U(id)")
    await connection.execute("CREATE (:U {id: 1}), (:D {id: 1}), (:D {id: 1})")
    for statement, code in CODES.items():
        with pytest.raises(QueryError) as refused:
            await connection.execute(statement)
        assert refused.value.code == code, statement
        assert (await connection.query_row("RETURN 7 AS x"))["x"].as_int == 7


@pytest.mark.parametrize(
    "spelling",
    [
        "CREATE UNIQUE INDEX IF NOT EXISTS c ON U(id) USING hash",
        "CREATE CONSTRAINT c ON U(id) ASSERT UNIQUE",
        "CREATE CONSTRAINT c ON (u:U) ASSERT u.id IS UNIQUE",
    ],
)
async def test_every_documented_spelling_makes_it_unique(plain: Any, spelling: str) -> None:
    """Each refuses an equal value, is listed, and is gone when it was dropped."""
    await plain.execute(spelling)
    await plain.execute("CREATE (:U {id: 1})")
    with pytest.raises(QueryError):
        await plain.execute("CREATE (:U {id: 1})")
    assert (await plain.query_row("SHOW INDEXES"))["name"].as_string == "c"
    assert (await plain.query_row("SHOW CONSTRAINTS"))["name"].as_string == "c"
    await plain.execute("DROP INDEX IF EXISTS c")
    await plain.execute("CREATE (:U {id: 1})")


ROWS = {"rows": [{"id": 1, "v": 2}]}


@pytest.mark.parametrize(
    ("option", "statement", "parameters"),
    [
        ("unwind", "UNWIND [1] AS x RETURN x", {}),
        ("for_in", "FOR x IN [1] RETURN x", {}),
        ("merge", "MERGE (:N {id: 1})", {}),
        ("set_map", "UNWIND $rows AS row MATCH (n:N {id: row.id}) SET n = row", ROWS),
        ("set_add_map", "UNWIND $rows AS row MATCH (n:N {id: row.id}) SET n += row", ROWS),
        ("list_parameters", "RETURN $l AS l", {"l": [1]}),
        ("map_parameters", "RETURN $l AS l", {"l": [{"a": 1}]}),
        ("parameters", "RETURN $l AS l", {"l": 1}),
        ("temporal_functions", "RETURN datetime('2024-01-01T00:00:00Z') AS x", {}),
        ("internal_functions", "MATCH (n) RETURN id(n) AS x", {}),
        ("back_ticks", "MATCH (n) RETURN n.`a b` AS x", {}),
        ("index_on_label", "CREATE INDEX i ON N(id, v)", {}),
        ("index_for", "CREATE INDEX i FOR (n:N) ON (n.id)", {}),
        ("index_if_not_exists", "CREATE INDEX IF NOT EXISTS i ON N(id)", {}),
        ("unique_index", "CREATE UNIQUE INDEX i ON N(id)", {}),
        ("constraint_on_label", "CREATE CONSTRAINT i ON N(id) ASSERT NOT NULL", {}),
        ("constraint_assert", "CREATE CONSTRAINT i ON (n:N) ASSERT n.id IS UNIQUE", {}),
        ("constraint_for", "CREATE CONSTRAINT i FOR (n:N) ON (n.id) UNIQUE", {}),
        ("detach_delete", "MATCH (n) DETACH DELETE n", {}),
        ("show", "SHOW INDEXES", {}),
        ("insert", "INSERT (:N)", {}),
    ],
)
async def test_a_form_of_the_dialect_is_taken_or_refused(
    server: Loopback, plain: Any, option: str, statement: str, parameters: dict[str, Any]
) -> None:
    """With the option off the answer is 42000; with it on the same statement runs."""
    server.dialect = replace(Dialect(), **changed(option, False))
    with pytest.raises(QueryError) as refused:
        await plain.execute(statement, parameters)
    assert refused.value.code == "42000"
    server.dialect = replace(Dialect(), **changed(option, True))
    await plain.execute(statement, parameters)


async def test_words_inside_literals_and_names_are_no_statement_forms(
    server: Loopback, plain: Any
) -> None:
    """A text that reads like a statement, or a property with a keyword's name, is not refused."""
    server.dialect = Dialect(unwind=False, merge=False, set_map=False, insert=False)
    row = await plain.query_row(
        "RETURN 'UNWIND [1] AS x MERGE (n) SET n = row' AS text, {unwind: 1, merge: 2} AS words"
    )
    assert _plain(row["words"]) == {"unwind": 1, "merge": 2}
    await plain.execute("CREATE (n:N) SET n.merge = 1, n.unwind = 'id(`'")


async def test_the_known_misbehaviour_can_be_switched_on(
    server: Loopback, plain: Any, graph: str
) -> None:
    """Rollback that keeps, direction that is ignored, DELETE r that takes nodes."""
    backwards = "MATCH (a:B)-[r:T]->(b:A) RETURN count(r) AS c"
    await plain.execute("CREATE (:A)-[:T]->(:B)")
    assert (await plain.query_row(backwards))["c"].as_int == 0
    server.dialect = Dialect(
        rollback_keeps=True,
        ignores_direction=True,
        delete_takes_nodes=True,
        count_distinct_is_null=True,
    )
    assert (await plain.query_row(backwards))["c"].as_int == 1
    assert (await plain.query_row("MATCH (n) RETURN count(DISTINCT n) AS c"))["c"].is_null
    await plain.begin()
    await plain.execute("CREATE (:N)")
    await plain.rollback()
    assert count(server, graph) == 1
    await plain.execute("MATCH ()-[r:T]->() DELETE r")
    assert count(server, graph, "A") + count(server, graph, "B") == 0


# faults


async def test_a_late_reply_comes_after_the_work(
    server: Loopback, connection: Any, graph: str
) -> None:
    """The client gives up; the statement was carried out all the same."""
    server.faults.add(Fault("late", seconds=LONG))
    with pytest.raises(TimeoutError):
        await soon(connection.execute("CREATE (:N)"))
    assert await asyncio.to_thread(reaches_one, server, graph)


async def test_a_slow_server_answers_in_the_end(server: Loopback, connection: Any) -> None:
    """The client gives up on the second statement that matches, and only on that."""
    server.faults.add(Fault("slow", statement="x_slow", nth=2, seconds=LONG))
    await connection.execute("RETURN 1 AS x_slow")
    await connection.execute("RETURN 1 AS x")
    with pytest.raises(TimeoutError):
        await soon(connection.execute("RETURN 1 AS x_slow"))


@pytest.mark.parametrize(("kind", "written"), [("drop_before", 0), ("drop_after", 1)])
async def test_the_connection_drops_at_a_statement(
    server: Loopback, connection: Any, transport: str, graph: str, kind: Any, written: int
) -> None:
    """Before: nothing is written. After: it is, and the client cannot know."""
    server.faults.add(Fault(kind, statement="CREATE"))
    with pytest.raises(DROPPED):
        await asyncio.wait_for(connection.execute("CREATE (:N)"), LIMIT)
    assert count(server, graph) == written
    async with connected(server.dsn(transport, graph=graph)) as again:
        await again.execute("CREATE (:N)")
    assert count(server, graph) == written + 1


@pytest.mark.parametrize(("kind", "written"), [("drop_before", 0), ("drop_after", 1)])
async def test_the_connection_drops_at_a_commit(
    server: Loopback, connection: Any, graph: str, kind: Any, written: int
) -> None:
    """The same error for a commit that was carried out and one that was not."""
    server.faults.add(Fault(kind, on="commit"))
    await connection.begin()
    await connection.execute("CREATE (:N)")
    with pytest.raises(DROPPED):
        await asyncio.wait_for(connection.commit(), LIMIT)
    assert count(server, graph) == written


async def test_a_refused_commit_is_not_seen_by_the_driver(
    server: Loopback, connection: Any, graph: str
) -> None:
    """It returns as if all were well, and nothing is written."""
    server.faults.add(Fault("refuse", on="commit"))
    await connection.begin()
    await connection.execute("CREATE (:N)")
    await connection.commit()
    assert count(server, graph) == 0
    assert [fault.kind for fault in server.faults.happened] == ["refuse"]


async def test_a_heartbeat_hides_the_rows(server: Loopback, connection: Any) -> None:
    """The driver takes the heartbeat for an empty result."""
    server.faults.add(Fault("heartbeat"))
    page, _ = await connection.query("RETURN 1 AS x")
    assert page.rows == []


async def test_a_page_of_more_than_four_megabytes(
    server: Loopback, connection: Any, transport: str
) -> None:
    """The driver's gRPC refuses it, its QUIC takes it."""
    server.faults.add(Fault("oversize"))
    if transport == "grpc":
        with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
            await connection.query("RETURN 1 AS x")
    else:
        row = await connection.query_row("RETURN 1 AS x")
        assert len(row["x"].as_string) > 4 * 1024 * 1024


async def test_a_request_of_more_than_four_megabytes(connection: Any, transport: str) -> None:
    """The server's gRPC refuses it, its QUIC takes it."""
    parameters = {"x": "x" * 4_300_000}
    if transport == "grpc":
        with pytest.raises(TransportConnectionError, match="RESOURCE_EXHAUSTED"):
            await connection.execute("RETURN size($x) AS n", parameters)
    else:
        await connection.execute("RETURN size($x) AS n", parameters)


@pytest.mark.parametrize("code", ["40001", "42000", "58000"])
async def test_an_error_on_order(server: Loopback, connection: Any, graph: str, code: str) -> None:
    """It has the code that was ordered, and nothing was carried out."""
    server.faults.add(Fault("error", statement="CREATE", code=code, times=2))
    for _ in range(2):
        with pytest.raises(QueryError) as refused:
            await connection.execute("CREATE (:N)")
        assert refused.value.code == code
    assert count(server, graph) == 0
    await connection.execute("CREATE (:N)")
    assert count(server, graph) == 1


@pytest.mark.parametrize("kind", ["no_page", "status_only"])
async def test_a_stream_that_ends_too_early(
    server: Loopback, connection: Any, transport: str, kind: Any
) -> None:
    """The driver fails with a TypeError over gRPC and waits over QUIC."""
    server.faults.add(Fault(kind))
    query = connection.query("RETURN 1 AS x")
    if transport == "grpc":
        with pytest.raises(TypeError):
            await asyncio.wait_for(query, LIMIT)
    else:
        with pytest.raises(TimeoutError):
            await soon(query)


async def test_an_error_in_mid_stream_cuts_the_result(server: Loopback, connection: Any) -> None:
    """The driver gives the first page and never names the error."""
    server.faults.add(Fault("error_mid_stream", code="40001"))
    page, pager = await connection.query("UNWIND range(1, 1500) AS x RETURN x")
    assert len(page.rows) == 1000
    assert not page.final
    later: list[Any] = []
    with contextlib.suppress(TypeError, TimeoutError):
        async with asyncio.timeout(SOON):
            async for page in pager():
                later += page.rows
    assert later == []


async def test_silence_after_a_page(server: Loopback, connection: Any) -> None:
    """The page says that more follows; nothing does."""
    server.faults.add(Fault("silence"))
    page, pager = await connection.query("RETURN 1 AS x")
    assert not page.final
    with pytest.raises(TimeoutError):
        await soon(anext(pager()))


async def test_a_page_without_a_schema(server: Loopback, connection: Any) -> None:
    """The rows are there and have no columns."""
    server.faults.add(Fault("no_schema"))
    page, _ = await connection.query("RETURN 1 AS x")
    assert page.rows == [{}]


async def test_a_fault_of_one_transport_leaves_the_other_alone(
    server: Loopback, connection: Any, transport: str
) -> None:
    """And `times=0` means every time."""
    server.faults.add(Fault("error", transport="grpc", times=0))
    for _ in range(3):
        if transport == "grpc":
            with pytest.raises(QueryError):
                await connection.execute("RETURN 1 AS x")
        else:
            await connection.execute("RETURN 1 AS x")


# the server itself


async def test_both_transports_serve_the_same_graphs(server: Loopback, graph: str) -> None:
    """What one writes the other reads; another graph has nothing of it; the log has both."""
    async with connected(server.quic_dsn(graph=graph)) as one:
        await one.execute("UNWIND $rows AS row CREATE (:N {id: row.id})", ROWS)
    async with connected(server.grpc_dsn(graph=graph)) as other:
        row = await other.query_row("MATCH (n:N) RETURN count(n) AS c")
    assert row["c"].as_int == 1
    async with connected(server.grpc_dsn(graph=graph + "x")) as elsewhere:
        row = await elsewhere.query_row("MATCH (n:N) RETURN count(n) AS c")
    assert row["c"].as_int == 0
    last = server.statements[-3:]
    assert [(s.rows, s.transport, s.graph) for s in last] == [
        (1, "quic", graph),
        (0, "grpc", graph),
        (0, "grpc", graph + "x"),
    ]


async def test_graphs_are_made_and_chosen_by_statement(server: Loopback, transport: str) -> None:
    """Where the address names no graph, USE GRAPH chooses one."""
    async with connected(server.dsn(transport)) as connection:
        name = f"u{uuid.uuid4().hex[:6]}"
        await connection.execute(f"CREATE GRAPH {name}")
        await connection.execute(f"USE GRAPH {name};")
        await connection.execute("CREATE (:N)")
        assert count(server, name) == 1
        await connection.execute(f"DROP GRAPH {name}")
        assert name not in server.graphs()


async def test_a_graph_is_saved_and_kept_in_a_file(tmp_path: Path, transport: str) -> None:
    """A saved graph and the server's own file hold what the graph held."""
    with Loopback(graph_file=tmp_path / "kept.grafeo", directory=tmp_path) as server:
        for graph in ("", "shop"):
            async with connected(server.dsn(transport, graph=graph)) as connection:
                await connection.execute("CREATE (:A {id: 1})-[:T]->(:B)")
        saved = server.save("shop", tmp_path / "saved.grafeo")
        inside = dump_open(server.graph("shop"))
    assert dump(saved) == inside
    assert dump(tmp_path / "kept.grafeo") == inside
    assert dump(tmp_path / "kept-shop.grafeo") == inside


async def test_a_stopped_server_starts_again_on_its_ports(
    tmp_path: Path, transport: str, graph: str
) -> None:
    """The addresses and the graphs stay."""
    with Loopback(directory=tmp_path) as server:
        dsn = server.dsn(transport, graph=graph)
        async with connected(dsn) as connection:
            await connection.execute("CREATE (:N)")
        server.stop()
        server.start()
        async with connected(dsn) as connection:
            row = await connection.query_row("MATCH (n:N) RETURN count(n) AS c")
        assert row["c"].as_int == 1


CLIENT = """
import asyncio, sys, geode_client
async def main():
    connection = geode_client.open_database(sys.argv[1]).connection()
    await connection.connect()
    await connection.begin()
    await connection.execute("MATCH (n:N) SET n.v = 1")
    print("open", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_client_that_is_killed_leaves_nothing_behind(
    server: Loopback, transport: str, graph: str
) -> None:
    """Its transaction is rolled back, and others can soon write what it had written."""
    dsn = server.dsn(transport, graph=graph)
    server.graph(graph).execute("CREATE (:N {v: 0})")
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, dsn, stdout=subprocess.PIPE
    )
    assert client.stdout
    assert (await client.stdout.readline()).strip() == b"open"
    client.kill()
    await client.wait()
    async with connected(dsn) as connection:
        row = await connection.query_row("MATCH (n:N) RETURN n.v AS v")
        assert row["v"].as_int == 0
        async with asyncio.timeout(LIMIT):
            while await has_conflict(connection, "MATCH (n:N) SET n.v = 2"):
                pass


async def has_conflict(connection: Any, statement: str) -> bool:
    """Whether the statement is refused with 40001, asked not too often."""
    try:
        await connection.execute(statement)
    except QueryError as error:
        if error.code != "40001":
            raise
        await asyncio.sleep(0.05)
        return True
    return False


async def test_a_sink_answers_and_executes_nothing(tmp_path: Path, transport: str) -> None:
    """Every statement succeeds, and is in the log with its rows."""
    with Loopback(sink=True, directory=tmp_path, request_limit=-1) as server:
        async with connected(server.dsn(transport)) as connection:
            await connection.begin()
            await connection.execute("UNWIND $rows AS row CREATE (:N {id: row.id})", ROWS)
            await connection.commit()
        assert server.statements[-1].rows == 1
        assert count(server, "default") == 0


async def test_the_command_line_says_how_to_reach_it(tmp_path: Path) -> None:
    """The addresses it prints work, and it ends at the signal."""
    command = [sys.executable, "-m", "tests.geode_loopback", "--grpc", "0", "--quic", "0"]
    command += ["--password", "a&b /?", "--directory", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout
    lines = [await process.stdout.readline() for _ in range(5)]
    addresses = [line.decode().split()[1] for line in lines[:3]]
    for address in addresses:
        async with connected(address) as connection:
            assert await connection.query_row("RETURN 1 AS x")
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), LIMIT) == 0


def changed(option: str, value: bool) -> dict[str, Any]:
    """An option of the dialect by name."""
    return {option: value}


def _plain(value: Any) -> Any:
    """A value of the driver without its wrapping."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return _plain(value.raw_value) if hasattr(value, "raw_value") else value
