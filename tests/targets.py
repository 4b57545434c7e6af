"""The targets that one suite of tests runs over: the embedded graph, Geode over gRPC and QUIC.

Import the fixtures; `targets` runs a test once for each kind. The Geode is the loopback server, a
module's own; each test has graphs of its own in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geode_tui.target import open_target
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.geode_dsn import parse_address
from geode_tui.target.model import Target
from tests.geode_loopback import Loopback, User
from tests.graph_dump import Dump, dump_open

EMBEDDED, GRPC, QUIC = "embedded", "grpc", "quic"
KINDS = (EMBEDDED, GRPC, QUIC)
PASSWORD = "s3cret&'%40 🔑"

_running: dict[int, Loopback] = {}
_probed: dict[int, Any] = {}
_numbers = itertools.count(1)


class Targets:
    """Makes graphs of one kind; they are closed when the test ends."""

    def __init__(self, kind: str, folder: Path, server: Loopback) -> None:
        self.kind = kind
        self._folder, self._server = folder, server
        self._opened: list[Target] = []

    @property
    def is_geode(self) -> bool:
        return self.kind != EMBEDDED

    @property
    def server(self) -> Loopback:
        """The server of the graphs, where they are in one."""
        return self._server

    def place(self, **parameters: Any) -> str:
        """Where a new graph is to be: a path, or a DSN, with the password unless told otherwise."""
        name = f"g{next(_numbers)}"
        if self.kind == EMBEDDED:
            return str(self._folder / f"{name}.grafeo")
        return self._server.dsn(self.kind, graph=name, **parameters)

    def open(self, place: str | None = None, **options: Any) -> Any:
        """Open a graph, a new one where no place is given."""
        if self.is_geode and not options.get("read_only"):
            options.setdefault("probed", _probed.get(id(self._server)))  # the server is the same
        self._opened.append(open_target(place or self.place(), None, **options))
        if self.is_geode and not options.get("read_only"):
            _probed[id(self._server)] = self._opened[-1].probed
        return self._opened[-1]

    def close(self) -> None:
        for graph in self._opened:
            graph.close()


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    """A server for a module's tests; its pages are so small that most answers have several."""
    with Loopback(users={"geode": User(PASSWORD)}, page_rows=200) as server:
        _running.update({server.grpc_port: server, server.quic_port: server})
        yield server
        _probed.clear()


@pytest.fixture(params=KINDS)
def targets(
    request: pytest.FixtureRequest, tmp_path: Path, loopback: Loopback
) -> Iterator[Targets]:
    """The test runs over each kind of target."""
    made = Targets(request.param, tmp_path, loopback)
    yield made
    loopback.faults.clear()
    made.close()


def database(graph: Target) -> Any:
    """The Grafeo graph behind a target, to look into it or to do something behind its back."""
    if isinstance(graph, EmbeddedGraph):
        return graph._graph
    return database_at(graph.place)


def database_at(place: str) -> Any:
    """The same of a server's graph by its DSN."""
    address, _ = parse_address(place)
    return _running[address.port].graph(address.graph)


def contents(graph: Target) -> Dump:
    """All that a graph holds, whatever made it."""
    return dump_open(database(graph))
