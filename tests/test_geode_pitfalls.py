"""What goes wrong with Geode's driver alone, and that it does not go wrong here.

Each numbered pitfall is shown twice: by the driver as it is published, then over the target.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import geode_client
import grpc
import pytest
from geode_client.auth import AuthClient
from geode_client.batch import Statement
from geode_client.client import GeodeError, QueryError, is_retryable_error
from geode_client.pool import create_pool_from_dsn
from geode_client.retry import RetryPolicy
from geode_client.transport import TransportConnectionError, TransportError

from geode_tui.errors import BusyError, ConnectError, LostError, UnreachableError
from geode_tui.target.geode import GeodeGraph
from geode_tui.target.geode_dsn import parse_address
from geode_tui.target.geode_session import Answer, Sessions, StatementError, TooLargeError
from geode_tui.target.model import NodeBatch, NodeShape
from tests.conftest import run_now
from tests.geode_loopback import Dialect, Fault, Loopback

SOON = 0.4
LIMIT = 5.0
MIB = 1024 * 1024
BROKEN = (TypeError, KeyError, GeodeError, TransportError, TimeoutError, grpc.aio.AioRpcError)
N = NodeShape("N", ("id",), ("id", "text"), ("INT", "STRING"))
_graphs = itertools.count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def server(running: Loopback) -> Iterator[Loopback]:
    """The server, without faults again afterwards."""
    yield running
    running.faults.clear()
    running.dialect = Dialect()


@pytest.fixture
def graph() -> str:
    return f"p{next(_graphs)}"


@pytest.fixture(params=["grpc", "quic"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def retry_as(monkeypatch: pytest.MonkeyPatch, policy: RetryPolicy) -> None:
    """Have the driver try again in another way than after a second, and two."""
    module = importlib.import_module("geode_client.retry")
    monkeypatch.setattr(module, "default_retry_policy", lambda: policy)


@asynccontextmanager
async def driver(dsn: str) -> AsyncIterator[Any]:
    """A connection of the driver alone."""
    connection = geode_client.open_database(dsn).connection()
    await asyncio.wait_for(connection.connect(), LIMIT)
    try:
        yield connection
    finally:
        await asyncio.wait_for(connection.close(), LIMIT)


async def soon(call: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(call, SOON)


@contextmanager
def ours(dsn: str) -> Iterator[Sessions]:
    """Our connections."""
    sessions = Sessions(*parse_address(dsn))
    try:
        yield sessions
    finally:
        sessions.close()


@contextmanager
def target(dsn: str, **options: Any) -> Iterator[GeodeGraph]:
    """Our target."""
    opened = GeodeGraph.open(*parse_address(dsn), **options)
    try:
        yield opened
    finally:
        opened.close()


def run(sessions: Sessions, text: str, parameters: dict[str, Any] | None = None) -> Answer:
    with sessions.lent() as session:
        return sessions.wait(session.run(text, parameters))


def rows(sessions: Sessions, text: str) -> list[tuple[Any, ...]]:
    return run(sessions, text).rows


def number(row: dict[str, Any], name: str = "x") -> Any:
    return row[name].raw_value


def written(server: Loopback, graph: str) -> int:
    """How many nodes there are, seen from inside the server."""
    found = server.graph(graph).execute("MATCH (n:N) RETURN count(n) AS c")
    return int(next(iter(found))["c"])


def batch(numbers: range, text: str = "t") -> NodeBatch:
    return NodeBatch(N, [(n, text, 100 + n) for n in numbers], "r1", (), 1)


def in_threads(work: Callable[[int], Any], count: int) -> list[Any]:
    """What some threads give, all of them at once."""
    found: dict[int, Any] = {}
    start = threading.Barrier(count)

    def one(place: int) -> None:
        start.wait()
        found[place] = work(place)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found.get(place) for place in range(count)]


# 1


async def _commit(dsn: str) -> None:
    async with driver(dsn) as connection:
        await connection.begin()
        await connection.execute("CREATE (:N {id: 1})")
        await connection.commit()


@pytest.mark.parametrize(("kind", "error"), [("refuse", BusyError), ("forget", LostError)])
def test_01_a_commit_that_writes_nothing_is_an_error(
    server: Loopback, graph: str, transport: str, kind: Any, error: type[Exception]
) -> None:
    """The driver returns as if all were well; here nothing of it counts as written."""
    dsn = server.dsn(transport, graph=graph)
    server.faults.add(Fault(kind, on="commit"))
    run_now(_commit(dsn))
    assert written(server, graph) == 0

    with target(dsn) as opened:
        server.faults.add(Fault(kind, on="commit"))
        with pytest.raises(error):
            opened.write_nodes(batch(range(3)), False)
        assert len(server.faults.happened) == 2
        assert written(server, graph) == 0
        assert opened.write_nodes(batch(range(3)), True).rows == 3
    assert written(server, graph) == 3


def test_01_a_rollback_that_is_refused_ends_the_connection(
    server: Loopback, graph: str, transport: str
) -> None:
    """The driver goes on with it; here nobody gets a connection whose state is not known."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> None:
        async with driver(dsn) as connection:
            await connection.begin()
            await connection.rollback()

    server.faults.add(Fault("refuse", on="rollback", times=0))
    run_now(alone())
    with ours(dsn) as sessions:
        with sessions.lent() as session:
            sessions.wait(session.begin())
            sessions.wait(session.rollback())
            first = session.id
        with sessions.lent() as session:
            assert session.id != first


# 2


def test_02_many_at_once_get_each_their_own_answer(
    server: Loopback, graph: str, transport: str
) -> None:
    """The driver mixes the answers of one connection up; here each has a connection of its own."""
    dsn = server.dsn(transport, graph=graph)
    expected = [list(range(10_000 * place, 10_000 * place + 2500)) for place in range(5)]

    def statement(place: int) -> str:
        return f"UNWIND range(0, 2499) AS x RETURN {10_000 * place} + x AS x"

    async def alone() -> list[list[Any]]:
        async with driver(dsn) as connection:
            page, pager = await connection.query(statement(0))
            other, _ = await connection.query(statement(1))
            pages = [page]
            with contextlib.suppress(TypeError, TimeoutError):
                async with asyncio.timeout(SOON):
                    pages += [page async for page in pager()]
            first = [number(row) for page in pages for row in page.rows]
            return [first, [number(row, "x") for row in other.rows if row]]

    first, second = run_now(alone())
    assert (first, second) != (expected[0], expected[1][:1000])
    with ours(dsn) as sessions:
        found = in_threads(lambda place: rows(sessions, statement(place)), 5)
    assert [[x for (x,) in part] for part in found] == expected


# 3


def test_03_batches_at_once_are_written_once_each(
    server: Loopback, graph: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's pipeline runs them over one connection and fails; here all are written."""
    retry_as(monkeypatch, RetryPolicy(max_attempts=1))
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> None:
        async with driver(dsn) as connection:
            statements = [Statement(f"CREATE (:Alone {{id: {n}}})") for n in range(4)]
            await asyncio.wait_for(connection.pipeline_exec(statements, chunk_size=1), LIMIT)

    with pytest.raises(BROKEN):
        run_now(alone())
    with target(dsn) as opened:
        opened.prepare([N])
        work = in_threads(
            lambda place: opened.write_nodes(batch(range(5 * place, 5 * place + 5)), False).rows, 4
        )
    assert work == [5] * 4
    assert written(server, graph) == 20


# 4


def test_04_a_heartbeat_hides_no_rows(server: Loopback, graph: str, transport: str) -> None:
    """The driver gives no rows, and over QUIC then those of the statement before."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> tuple[list[Any], list[Any]]:
        async with driver(dsn) as connection:
            first, _ = await connection.query("RETURN 1 AS x")
            second, _ = await connection.query("RETURN 2 AS x")
            return first.rows, [number(row) for row in second.rows if row]

    server.faults.add(Fault("heartbeat"))
    first, second = run_now(alone())
    assert first == []
    assert (second == [2]) == (transport == "grpc")

    server.faults.add(Fault("heartbeat"))
    with ours(dsn) as sessions:
        assert rows(sessions, "RETURN 1 AS x") == [(1,)]
        assert rows(sessions, "RETURN 2 AS x") == [(2,)]
    assert len(server.faults.happened) == 2


# 5


async def _late_then_next(dsn: str) -> Any:
    async with driver(dsn) as connection:
        with pytest.raises(TransportError, match="Timeout"):
            await connection.query("RETURN 'late' AS x")
        return number(await connection.query_row("RETURN 'next' AS x"))


def test_05_a_late_answer_is_never_taken_for_the_next(server: Loopback, graph: str) -> None:
    """Over QUIC the driver gives the late answer to the next statement."""
    dsn = server.quic_dsn(graph=graph, read_timeout=0.5)
    server.faults.add(Fault("late", statement="late", seconds=0.7))
    assert run_now(_late_then_next(dsn)) == "late"

    server.faults.add(Fault("late", statement="late", seconds=0.7))
    with ours(dsn) as sessions:
        with pytest.raises(LostError, match=r"within 0\.5 s"), sessions.lent() as session:
            sessions.wait(session.run("RETURN 'late' AS x"))
        with pytest.raises(LostError):  # whoever still has it cannot use it
            sessions.wait(session.run("RETURN 'next' AS x"))
        assert rows(sessions, "RETURN 'next' AS x") == [("next",)]


# 6


def _commit_ours(sessions: Sessions) -> None:
    with sessions.lent() as session:
        sessions.wait(session.begin())
        sessions.wait(session.run("CREATE (:N {id: 2})"))
        sessions.wait(session.commit())


@pytest.mark.parametrize("message", ["execute", "begin", "commit", "hello"])
def test_06_every_message_has_its_deadline(server: Loopback, graph: str, message: Any) -> None:
    """Over gRPC the driver waits as long as the server likes, whatever `read_timeout` says."""
    dsn = server.grpc_dsn(graph=graph, read_timeout=0.4)
    server.faults.add(Fault("late", on=message, seconds=0.6))
    run_now(_commit(dsn))  # returns, after more than the read timeout
    assert server.faults.happened

    dsn += "&connect_timeout=0.4"
    with ours(dsn) as sessions:
        server.faults.add(Fault("late", on=message, seconds=LIMIT))
        with pytest.raises(ConnectError) as told:
            _commit_ours(sessions)
        assert "no answer within 0.4 s" in told.value.why
    assert len(server.faults.happened) == 2


# 7


@pytest.mark.parametrize("kind", ["no_page", "status_only", "silence", "error_mid_stream"])
def test_07_an_answer_without_its_last_page_is_an_error(
    server: Loopback, graph: str, transport: str, kind: Any
) -> None:
    """The driver: a TypeError, a wait without end, or a result cut short without a word."""
    dsn = server.dsn(transport, graph=graph, read_timeout=0.5)

    async def alone() -> int:
        async with driver(dsn) as connection:
            asked = connection.query("UNWIND range(1, 1500) AS x RETURN x")
            page, pager = await asyncio.wait_for(asked, LIMIT)
            count = len(page.rows)
            with contextlib.suppress(TypeError, TimeoutError):
                async with asyncio.timeout(SOON):
                    async for page in pager():
                        count += len(page.rows)
            return count

    server.faults.add(Fault(kind, code="40001"))
    if kind in ("silence", "error_mid_stream"):
        assert run_now(alone()) == 1000
    else:
        with pytest.raises((TypeError, TimeoutError, TransportError)):
            run_now(alone())

    server.faults.add(Fault(kind, code="40001"))
    with ours(dsn) as sessions:
        with pytest.raises(StatementError if kind == "error_mid_stream" else LostError) as told:
            rows(sessions, "UNWIND range(1, 1500) AS x RETURN x")
        if isinstance(told.value, StatementError):
            assert told.value.is_conflict
        assert rows(sessions, "RETURN 7 AS x") == [(7,)]


def test_07_an_error_that_only_says_there_is_no_data_is_no_error(
    server: Loopback, graph: str, transport: str
) -> None:
    """Code 02000: the driver and we take it for an answer without rows."""
    server.faults.add(Fault("error", code="02000", statement="MATCH"))
    with ours(server.dsn(transport, graph=graph)) as sessions:
        assert rows(sessions, "MATCH (n) RETURN n") == []
        assert rows(sessions, "RETURN 7 AS x") == [(7,)]


# 8


def test_08_a_large_answer_is_read(server: Loopback, graph: str) -> None:
    """Over gRPC the driver takes 4 MiB and fails with an error that is not its own."""
    dsn = server.grpc_dsn(graph=graph)

    async def alone() -> None:
        async with driver(dsn) as connection:
            await connection.query("RETURN 1 AS x")

    server.faults.add(Fault("oversize"))
    with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
        run_now(alone())
    server.faults.add(Fault("oversize"))
    with ours(dsn) as sessions:
        [[text]] = rows(sessions, "RETURN 1 AS x")
    assert len(text) > 4 * MIB


def test_08_a_large_batch_is_split(server: Loopback, graph: str, transport: str) -> None:
    """The driver's request is refused, and called worth a retry; here every row is written."""
    dsn = server.dsn(transport, graph=graph)
    text = "x" * 100_000

    async def alone() -> None:
        async with driver(dsn) as connection:
            await connection.execute("RETURN size($x) AS n", {"x": text * 50})

    if transport == "grpc":
        with pytest.raises(TransportConnectionError, match="RESOURCE_EXHAUSTED") as refused:
            run_now(alone())
        assert is_retryable_error(refused.value)
    with target(dsn) as opened:
        opened.prepare([N])
        assert opened.write_nodes(batch(range(50), text), False).rows == 50
    assert written(server, graph) == 50


def test_08_a_server_that_takes_less_gets_less(tmp_path: Path) -> None:
    """Batches become smaller until it takes them; a row that it never takes is told apart."""
    with Loopback(directory=tmp_path, request_limit=200_000) as server:
        with target(server.grpc_dsn(graph="g", tls=False)) as opened:
            opened.prepare([N])
            values = [(n, "x" * 80_000, n) for n in range(4)]
            values[2] = (2, "x" * 300_000, 2)
            done = opened.write_nodes(NodeBatch(N, values, "r1", (), 1), False)
            assert (done.rows, [r.position for r in done.refused]) == (3, [2])
            assert "larger" in done.refused[0].reason
        dsn = server.grpc_dsn(graph="g", tls=False)
        with ours(dsn) as sessions, pytest.raises(TooLargeError):
            run(sessions, "RETURN $x AS x", {"x": "x" * 300_000})
        assert written(server, "g") == 3


# 9


def test_09_all_pages_are_read_whatever_their_size(
    server: Loopback, graph: str, transport: str
) -> None:
    """The driver's `page_size` has no effect; nothing here depends on it."""
    dsn = server.dsn(transport, graph=graph)
    statement = "UNWIND range(1, 2500) AS x RETURN x"

    async def alone() -> int:
        async with driver(dsn) as connection:
            page, _ = await connection.query(statement, page_size=10)
            return len(page.rows)

    assert run_now(alone()) == 1000
    with ours(dsn) as sessions:
        assert rows(sessions, statement) == [(n,) for n in range(1, 2501)]
        pages = list(sessions.streamed(statement, {}))
        assert [len(page) for page in pages] == [1000, 1000, 500]


# 10


def test_10_a_dead_port_is_told_in_time() -> None:
    """Over QUIC the driver tries for three idle timeouts, `connect_timeout` or not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dsn = f"quic://127.0.0.1:{silent.getsockname()[1]}/g?connect_timeout=0.3&idle_timeout=20"

        async def alone() -> None:
            async with asyncio.timeout(0.6):
                await geode_client.open_database(dsn).connection().connect()

        with pytest.raises(TimeoutError):  # ours: it still waits
            run_now(alone())
        with ours(dsn) as sessions, pytest.raises(UnreachableError) as told:
            rows(sessions, "RETURN 1 AS x")
        assert "0.3 s" in told.value.why


# 11


def test_11_a_connection_that_the_server_closed_is_replaced(
    server: Loopback, graph: str, transport: str
) -> None:
    """Over QUIC the driver fails once, then hangs, and calls itself connected."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> bool:
        async with driver(dsn) as connection:
            with pytest.raises(TransportError, match="Stream closed"):
                await connection.query("RETURN 1 AS x")
            with pytest.raises(TimeoutError):
                await soon(connection.query("RETURN 1 AS x"))
            return bool(connection._connected)

    if transport == "quic":
        server.faults.add(Fault("drop_before"))
        assert run_now(alone())
    server.faults.add(Fault("drop_before"))
    with ours(dsn) as sessions:
        with pytest.raises(LostError):
            rows(sessions, "RETURN 1 AS x")
        assert rows(sessions, "RETURN 2 AS x") == [(2,)]


def test_11_idle_connections_of_a_server_that_restarted_are_replaced(
    tmp_path: Path, transport: str
) -> None:
    """A statement over one of them fails as a lost connection, which is tried again."""
    with Loopback(directory=tmp_path) as server:
        dsn = server.dsn(transport, graph="g", read_timeout=1)
        with ours(dsn) as sessions:
            rows(sessions, "CREATE (:N {id: 1})")
            server.stop()
            server.start()
            with contextlib.suppress(LostError):  # gRPC connects again, QUIC does not
                assert rows(sessions, "MATCH (n:N) RETURN n.id AS id") == [(1,)]
            assert rows(sessions, "MATCH (n:N) RETURN n.id AS id") == [(1,)]


def test_11_what_a_lost_connection_had_open_is_in_nobodys_way(
    server: Loopback, graph: str, transport: str
) -> None:
    """It is closed for good, so that the server rolls its transaction back."""
    with target(server.dsn(transport, graph=graph, read_timeout=0.5)) as opened:
        opened.prepare([N])
        server.faults.add(Fault("late", statement=r"CREATE \(n:N", seconds=LIMIT))
        with pytest.raises(LostError):
            opened.write_nodes(batch(range(3)), False)
        assert opened.write_nodes(batch(range(3)), True).rows == 3
    assert written(server, graph) == 3


# 12


def test_12_nobody_waits_for_a_connection_that_is_free(
    server: Loopback, graph: str, transport: str
) -> None:
    """In the driver's pool a failed statement costs a connection, and who waits is not woken."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> None:
        pool = create_pool_from_dsn(dsn, max_size=1, timeout=SOON)
        async with pool:
            taken = asyncio.Event()

            async def fails() -> None:
                async with pool.acquire() as connection:
                    taken.set()
                    await asyncio.sleep(0.05)
                    await connection.query("NONSENSE")

            async def waits() -> None:
                await taken.wait()
                async with pool.acquire():
                    pass

            failed, waited = await asyncio.gather(fails(), waits(), return_exceptions=True)
            assert isinstance(failed, QueryError)
            assert isinstance(waited, TimeoutError)
            assert pool.size == 0  # free, all the time

    run_now(alone())
    with ours(dsn) as sessions:
        with sessions.lent() as session:
            first = session.id
        with pytest.raises(StatementError):
            rows(sessions, "NONSENSE")
        with sessions.lent() as session:
            assert session.id == first  # a statement that is refused costs no connection
            assert rows(sessions, "RETURN 2 AS x") == [(2,)]  # another one, at once


# 13


def test_13_a_commit_whose_reply_was_lost_doubles_nothing(
    server: Loopback, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's batch runs again and writes twice; here the repeated write finds the first."""
    retry_as(monkeypatch, RetryPolicy(initial_backoff=0.01, max_backoff=0.01))
    dsn = server.grpc_dsn(graph=graph)

    async def alone() -> None:
        async with driver(dsn) as connection:
            await connection.batch_exec([Statement("CREATE (:N {id: 1})")])

    server.faults.add(Fault("no_reply", on="commit"))
    run_now(alone())
    assert written(server, graph) == 2

    server.graph(graph).execute("MATCH (n:N) DETACH DELETE n")
    with target(dsn) as opened:
        server.faults.add(Fault("no_reply", on="commit"))
        with pytest.raises(LostError):
            opened.write_nodes(batch(range(3)), False)
        assert written(server, graph) == 3  # it was committed, and nobody could know
        assert opened.write_nodes(batch(range(3)), True).rows == 3
    assert written(server, graph) == 3


# 14


@pytest.mark.filterwarnings("ignore:gRPC connection falling back")
@pytest.mark.filterwarnings("ignore:TLS certificate verification is disabled")
def test_14_no_password_is_sent_in_plain_text(server: Loopback, graph: str) -> None:
    """Without verification the driver falls back to plaintext; here that is said with tls=0."""
    dsn = f"grpc://geode:secret@127.0.0.1:{server.plain_port}/{graph}?insecure=1"

    async def alone() -> None:
        async with driver(dsn):
            pass

    before = len(server.service.clients)
    run_now(alone())
    assert len(server.service.clients) == before + 1
    assert server.service.clients[-1].password == "secret"
    with ours(dsn) as sessions, pytest.raises(ConnectError) as told:
        rows(sessions, "RETURN 1 AS x")
    assert "does not speak TLS" in told.value.why
    assert len(server.service.clients) == before + 1
    with ours(dsn.replace("insecure=1", "tls=0")) as sessions:
        assert rows(sessions, "RETURN 1 AS x") == [(1,)]


# 15


def test_15_the_login_is_that_of_the_connection(
    server: Loopback, graph: str, transport: str
) -> None:
    """The driver's own client for logins is dead code; user and password go in the HELLO."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> None:
        async with driver(dsn) as connection:
            await AuthClient(connection).login("geode", "secret")

    with pytest.raises(AttributeError):
        run_now(alone())
    with ours(dsn) as sessions:
        rows(sessions, "RETURN 1 AS x")
    hello = server.service.clients[-1]
    assert (hello.username, hello.password, hello.graph) == ("geode", "secret", graph)
    wrong = server.dsn(transport, graph=graph, password="wrong")
    with ours(wrong) as sessions, pytest.raises(ConnectError, match="refuses the login"):
        rows(sessions, "RETURN 1 AS x")


# 16


def test_16_rows_without_names_are_an_error(server: Loopback, graph: str, transport: str) -> None:
    """The driver gives empty rows."""
    dsn = server.dsn(transport, graph=graph)

    async def alone() -> list[Any]:
        async with driver(dsn) as connection:
            page, _ = await connection.query("RETURN 1 AS x")
            return list(page.rows)

    server.faults.add(Fault("no_schema"))
    assert run_now(alone()) == [{}]
    with target(dsn, read_only=True) as opened:
        server.faults.add(Fault("no_schema", statement="AS y"))
        with pytest.raises(LostError) as told:
            opened.query("RETURN 1 AS y")
        assert "columns" in told.value.why
        assert opened.query("RETURN 1 AS y") == [{"y": 1}]


# 17


def test_17_columns_of_one_name_stay_apart(server: Loopback, graph: str, transport: str) -> None:
    """The driver keeps the last of them."""
    dsn = server.dsn(transport, graph=graph)
    server.graph(graph).execute("CREATE (:N {id: 1})-[:T]->(:N {id: 2})")
    statement = "MATCH (a:N)-[:T]->(b:N) RETURN a.id AS x, b.id AS y, a.id AS x_2"
    server.faults.add(Fault("same_names", times=0))

    async def alone() -> Any:
        async with driver(dsn) as connection:
            return await connection.query_row(statement)

    assert list(run_now(alone())) == ["x"]
    with ours(dsn) as sessions:
        assert rows(sessions, statement) == [(1, 2, 1)]
    server.faults.clear()
    with target(dsn, read_only=True) as opened:
        server.faults.add(Fault("same_names", times=0))
        assert opened.query(statement) == [{"x": 1, "x_2": 2, "x_3": 1}]
