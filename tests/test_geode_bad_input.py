"""A Geode that cannot be used: one clear error, the right exit code, nothing half written."""

from __future__ import annotations

import http.server
import itertools
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from geode_client.proto import geode_pb2 as wire

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_CONNECTION, EXIT_RESUMABLE, EXIT_USAGE, GeodeTuiError
from geode_tui.migration.retry import Backoff
from geode_tui.target import credentials, open_target
from tests.command_line import CommandLine, Finished
from tests.conftest import MakeDatabase
from tests.geode_loopback import Fault, Loopback, User
from tests.geode_loopback.quic import GeodeProtocol

PASSWORD = "hush/&%40 🔑"
QUICK: dict[str, Any] = {"connect_timeout": 1, "read_timeout": 1}
_graphs = itertools.count(1)


@pytest.fixture(scope="module")
def running(postgres: EmbeddedPostgres) -> Iterator[Loopback]:
    """A server; PostgreSQL is started before it, since a process with gRPC in it forks badly."""
    with Loopback(users={"ann": User(PASSWORD), "bob": User(PASSWORD, "reader")}) as server:
        yield server


@pytest.fixture
def server(running: Loopback, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """The server without faults; no password is known beforehand."""
    monkeypatch.setattr(credentials, "_known", {})
    yield running
    running.faults.clear()


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture
def graph() -> str:
    return f"b{next(_graphs)}"


@pytest.fixture(params=["grpc", "quic"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def silent_port(transport: str) -> Iterator[int]:
    """A port that nobody answers on; over TCP nobody listens."""
    kind = socket.SOCK_STREAM if transport == "grpc" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def is_clear(done: Finished, code: int, *words: str) -> None:
    """One error of what, why and next, with these words; no traceback, no password."""
    text = done.out + done.err
    assert "Traceback" not in text
    assert PASSWORD not in text
    assert "hush" not in text
    assert done.code == code, done.err
    assert done.error, done.err
    lines = [entry.split(":")[0].strip() for entry in done.error]
    assert lines == ["geode-tui", "why", "next"], done.err
    for word in words:
        assert word in "\n".join(done.error), done.err


def refused(line: CommandLine, dsn: str, code: int, *words: str) -> None:
    """The same error from `info` and from a target opened to write."""
    is_clear(line.run_here("info", "--target", dsn), code, *words)
    with pytest.raises(GeodeTuiError) as told:
        open_target(dsn).close()
    assert told.value.exit_code == code
    assert "hush" not in str(told.value)
    assert told.value.why
    assert told.value.next_step


def empty(server: Loopback, graph: str) -> bool:
    """Whether the graph has nothing in it, or is not there."""
    if graph not in server.graphs():
        return True
    inside = server.graph(graph)
    nodes = next(iter(inside.execute("MATCH (n) RETURN count(n) AS c")))["c"]
    schema = [*inside.execute("SHOW INDEXES"), *inside.execute("SHOW CONSTRAINTS")]
    return bool(nodes == 0 and not schema)


# -- the address ----------------------------------------------------------------------------------


def test_a_wrong_scheme(line: CommandLine) -> None:
    """A use that is wrong, and how it is right."""
    dsn = "https://ann:hush@127.0.0.1/g"
    is_clear_usage(line.run_here("info", "--target", dsn))


def is_clear_usage(done: Finished) -> None:
    assert done.code == EXIT_USAGE
    assert "Traceback" not in done.out + done.err
    assert "hush" not in done.out + done.err
    assert "quic://" in "\n".join(done.error)


def test_a_port_that_is_closed(line: CommandLine, server: Loopback, transport: str) -> None:
    """Over QUIC nobody says that it is: it is given up in time."""
    with silent_port(transport) as port:
        dsn = f"{transport}://ann:hush@127.0.0.1:{port}/g?connect_timeout=0.5"
        refused(line, dsn, EXIT_CONNECTION, "cannot connect", "check host and port")


def test_a_host_that_does_not_exist(line: CommandLine, server: Loopback, transport: str) -> None:
    """The error names the host."""
    dsn = f"{transport}://ann:hush@no-such-host.invalid/g?connect_timeout=2"
    refused(line, dsn, EXIT_CONNECTION, "no-such-host.invalid", "check host and port")


# -- the certificate ------------------------------------------------------------------------------


def test_a_certificate_of_nobody_known(
    line: CommandLine, server: Loopback, graph: str, transport: str
) -> None:
    """The error says that a CA can be named, and the password was not sent."""
    dsn = server.dsn(transport, user="ann", graph=graph).split("?")[0]
    before = len(server.service.clients)
    refused(line, dsn, EXIT_CONNECTION, "certificate", "ca=FILE")
    assert len(server.service.clients) == before


def test_another_ca(
    line: CommandLine, server: Loopback, tmp_path: Path, graph: str, transport: str
) -> None:
    """The certificate is of another authority."""
    other = Loopback(directory=tmp_path / "other")
    dsn = server.dsn(transport, user="ann", graph=graph).split("?")[0]
    before = len(server.service.clients)
    refused(line, f"{dsn}?ca={other.ca}", EXIT_CONNECTION, "certificate", "ca=FILE")
    assert len(server.service.clients) == before


def test_a_certificate_of_another_name(
    line: CommandLine, server: Loopback, graph: str, transport: str
) -> None:
    """The error says how the name is given."""
    dsn = server.dsn(transport, user="ann", graph=graph, server_name="db.example")
    before = len(server.service.clients)
    refused(line, dsn, EXIT_CONNECTION, "server_name=NAME")
    assert len(server.service.clients) == before


# -- the login ------------------------------------------------------------------------------------


def test_a_wrong_password(line: CommandLine, server: Loopback, graph: str, transport: str) -> None:
    """It is in no message, neither the right one nor the wrong."""
    dsn = server.dsn(transport, user="ann", password="hush-wrong", graph=graph)
    refused(line, dsn, EXIT_CONNECTION, "refuses the login", "check user and password")
    assert empty(server, graph)


def test_no_password(line: CommandLine, server: Loopback, graph: str, transport: str) -> None:
    """Nobody is at a terminal to be asked: the server refuses the login."""
    dsn = server.dsn(transport, user="ann", password="", graph=graph)
    refused(line, dsn, EXIT_CONNECTION, "refuses the login")
    assert empty(server, graph)


def test_a_role_without_rights(
    line: CommandLine,
    server: Loopback,
    make_database: MakeDatabase,
    graph: str,
    transport: str,
) -> None:
    """It may look; a run is refused before anything is written."""
    server.graph(graph)
    dsn = server.dsn(transport, user="bob", graph=graph)
    assert line.run_here("info", "--target", dsn).code == 0
    with pytest.raises(GeodeTuiError) as told:
        open_target(dsn)
    assert told.value.exit_code == EXIT_CONNECTION
    done = migrated(line, make_database("CREATE TABLE a (id int PRIMARY KEY)"), dsn)
    is_clear(done, EXIT_CONNECTION, "the role may not")
    assert empty(server, graph)


def test_a_graph_that_cannot_be_made(
    line: CommandLine, server: Loopback, graph: str, transport: str
) -> None:
    """The server's reason is told, and there is no such graph afterwards."""
    dsn = server.dsn(transport, user="bob", graph=graph)
    refused(line, dsn, EXIT_CONNECTION, f"graph {graph} does not exist", "may do")
    assert graph not in server.graphs()


# -- something else than a Geode ------------------------------------------------------------------

HELLO = wire.HelloResponse(success=True, session_id="s").SerializeToString()


@contextmanager
def odd_geode(hello: bytes, answers: list[bytes]) -> Iterator[str]:
    """A gRPC server that answers these bytes; its DSN."""

    def method(work: Callable[[], Any], streams: bool) -> Any:
        make = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        return make(lambda request, context: work())

    handlers = {
        "Handshake": method(lambda: hello, False),
        "Execute": method(lambda: iter(answers), True),
    }
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("geode.GeodeService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://ann:hush@127.0.0.1:{port}/g?tls=0&connect_timeout=1&read_timeout=0.5"
    finally:
        server.stop(None).wait(5)


NEWER = b"\xfa\x07\x02hi"  # a field with number 127
ODD: dict[str, tuple[bytes, list[bytes]]] = {
    "garbage for a login": (b"\xff\xff\xff", []),
    "an empty login": (b"", []),
    "garbage for an answer": (HELLO, [b"\xff\xff\xff"]),
    "a payload that is not known": (HELLO, [NEWER]),
    "a payload that is not known, again and again": (HELLO, [NEWER] * 1000),
    "no answer": (HELLO, []),
    "an empty page": (HELLO, [wire.ExecutionResponse(page=wire.DataPage()).SerializeToString()]),
}


@pytest.mark.parametrize("name", list(ODD))
def test_a_server_of_another_version(line: CommandLine, server: Loopback, name: str) -> None:
    """Whatever it answers that is no answer."""
    with odd_geode(*ODD[name]) as dsn:
        refused(line, dsn, EXIT_CONNECTION)


def test_a_grpc_server_of_something_else(line: CommandLine, server: Loopback) -> None:
    """It knows no such service."""
    other = grpc.server(ThreadPoolExecutor(2))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    dsn = f"grpc://ann:hush@127.0.0.1:{port}/g?tls=0"
    refused(line, dsn, EXIT_CONNECTION, "no Geode", "check host and port")
    other.stop(None).wait(5)


@pytest.mark.parametrize(
    "answer", [struct.pack(">I", 4) + b"\xff" * 4, b"HTTP/1.1 400 Bad Request"]
)
def test_a_quic_server_that_answers_something_else(
    line: CommandLine,
    server: Loopback,
    graph: str,
    answer: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message that is none, or a length that cannot be."""

    def garbage(self: Any, stream: int, message: bytes, send: Callable[[int, bytes], None]) -> None:
        send(stream, answer)

    monkeypatch.setattr(GeodeProtocol, "_answer", garbage)
    refused(line, server.quic_dsn(user="ann", graph=graph, **QUICK), EXIT_CONNECTION)


def test_a_quic_server_of_another_protocol(
    line: CommandLine, server: Loopback, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It speaks HTTP/3."""
    monkeypatch.setattr(server._quic._configuration, "alpn_protocols", ["h3"])
    dsn = server.quic_dsn(user="ann", graph=graph, **QUICK)
    refused(line, dsn, EXIT_CONNECTION, "check host and port")


class _Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("options", ["tls=0", "ca", "insecure=1"])
def test_a_web_server(line: CommandLine, server: Loopback, tls: bool, options: str) -> None:
    """With TLS or without, asked for with TLS or without."""
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    web.handle_error = lambda *_: None  # type: ignore[method-assign]
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server.certificates.server, server.certificates.server_key)
        web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        options = f"ca={server.ca}" if options == "ca" else options
        dsn = f"grpc://ann:hush@127.0.0.1:{web.server_port}/g?connect_timeout=2&{options}"
        refused(line, dsn, EXIT_CONNECTION, "cannot connect", "check")
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


# -- statements and runs --------------------------------------------------------------------------


def test_a_statement_that_is_refused(
    line: CommandLine, server: Loopback, graph: str, transport: str
) -> None:
    """The server's own words, and the statement."""
    dsn = server.dsn(transport, user="ann", graph=graph)
    done = line.run_here("query", "--target", dsn, "MATCH (n:")
    is_clear(done, EXIT_USAGE, "42000", "MATCH (n:")
    assert empty(server, graph)


def migrated(line: CommandLine, source: str, dsn: str) -> Finished:
    """Infer a mapping and migrate."""
    assert line.run_here("map", "--source", source, "--output", "m.yaml").code == 0
    return line.run_here("migrate", "--source", source, "--target", dsn, "--mapping", "m.yaml")


def test_a_server_that_stops_answering_in_mid_run(
    line: CommandLine,
    server: Loopback,
    make_database: MakeDatabase,
    graph: str,
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run stops as one that can be resumed, and resumed it is whole: nothing twice."""
    monkeypatch.setattr(Backoff, "delays", lambda self: iter([0.01, 0.01]))
    source = make_database(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 30)"
    )
    dsn = server.dsn(transport, user="ann", graph=graph, connect_timeout=1, read_timeout=0.5)
    server.faults.add(Fault("late", statement=r"CREATE \(n:A ", times=0, seconds=5))
    done = migrated(line, source, dsn)
    is_clear(done, EXIT_RESUMABLE, "no answer within 0.5 s")
    assert server.faults.happened
    server.faults.clear()
    again = line.run_here("resume", "--source", source)
    assert again.code == 0, again.err
    found = server.graph(graph).execute("MATCH (n:A) RETURN n.id AS id")
    assert sorted(row["id"] for row in found) == list(range(1, 31))


def test_nothing_is_written_over_the_screen(line: CommandLine, server: Loopback) -> None:
    """In a process of its own: what gRPC and QUIC log by themselves is not on stderr."""
    for dsn in (
        f"grpc://ann:hush@127.0.0.1:{server.grpc_port}/g",
        f"quic://ann:hush@127.0.0.1:{server.quic_port}/g",
    ):
        done = line.run("info", "--target", dsn, "--json")
        is_clear(done, EXIT_CONNECTION, "certificate")
        assert done.err.splitlines() == done.error
        assert not done.out or json.loads(done.out)
