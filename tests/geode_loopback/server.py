"""The loopback server: both transports, in a thread of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from geode_client.proto.geode_pb2 import HelloRequest

from tests.geode_loopback.certificates import make_certificates
from tests.geode_loopback.dialect import Dialect
from tests.geode_loopback.faults import Fault, Faults
from tests.geode_loopback.quic import QuicListener
from tests.geode_loopback.rpc import GrpcServer, Relay
from tests.geode_loopback.service import DEFAULT_GRAPH, Service, Statement, User

T = TypeVar("T")
USERS = {"geode": User("secret"), "reader": User("secret", "reader")}
_START_SECONDS = 20


class Loopback:
    """A server on 127.0.0.1: gRPC with TLS, gRPC in plain text, and QUIC, on the same graphs."""

    def __init__(
        self,
        *,
        users: Mapping[str, User] | None = None,
        dialect: Dialect | None = None,
        faults: Iterable[Fault] = (),
        graph_file: str | Path | None = None,
        directory: str | Path | None = None,
        page_rows: int = 1000,
        delay: float = 0.0,
        request_limit: int = 4 * 1024 * 1024,
        idle_timeout: float = 300.0,
        names: Sequence[str] = ("127.0.0.1", "localhost"),
        client_certificate: bool = False,
        sink: bool = False,
        grpc_port: int = 0,
        quic_port: int = 0,
        plain_port: int = 0,
    ) -> None:
        """Nothing runs before `start`.

        `graph_file` holds the default graph; another graph `g` lies beside it as `NAME-g.grafeo`;
        without it graphs are in memory. `directory` gets the certificates. `delay` is in seconds
        a statement, `request_limit` in bytes (gRPC only; -1 for none). The certificate is for
        `names`; with `client_certificate` one is demanded of clients too. A `sink` answers every
        statement at once and executes nothing. Ports of 0 are chosen at the first start.
        """
        self.users = dict(users or USERS)
        self.faults = Faults(faults)
        self._ports = {"grpc": grpc_port, "plain": plain_port, "quic": quic_port}
        self._temporary = None if directory else tempfile.TemporaryDirectory()
        self._directory = Path(directory or (self._temporary.name if self._temporary else ""))
        self._directory.mkdir(parents=True, exist_ok=True)
        self.certificates = make_certificates(self._directory, names)
        file = Path(graph_file) if graph_file else None
        self.service = Service(
            self.users, dialect or Dialect(), self.faults, file, page_rows, delay, sink
        )
        self._request_limit = request_limit
        self._idle_timeout = idle_timeout
        self._client_certificate = client_certificate
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # running

    def __enter__(self) -> Loopback:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen on the ports; on the same ones after a `stop`."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._relay = Relay(self.service.disconnected)
        self._grpc = GrpcServer(
            self.service,
            self.certificates,
            self._drop,
            self._request_limit,
            self._client_certificate,
            *((self._ports["grpc"], self._ports["plain"]) if self.service.sink else ()),
        )
        self._in_loop(self._listen())

    async def _listen(self) -> None:
        host = "127.0.0.1"
        ports = self._ports
        relay = self._relay
        if self.service.sink:  # nothing to drop there, and every copy counts
            ports["grpc"], ports["plain"] = self._grpc.tls_port, self._grpc.plain_port
        else:
            ports["grpc"] = await relay.listen(host, ports["grpc"], self._grpc.tls_port)
            ports["plain"] = await relay.listen(host, ports["plain"], self._grpc.plain_port)
        self._quic = QuicListener(
            self.service, self.certificates, self._idle_timeout, self._client_certificate
        )
        ports["quic"] = await self._quic.listen(host, ports["quic"])

    def stop(self) -> None:
        """Break all connections and stop listening; the graphs stay, `start` goes on with them."""
        if not self._loop or not self._thread:
            return
        self._in_loop(self._shut())
        self._grpc.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None
        self.service.end_sessions()

    async def _shut(self) -> None:
        self._quic.close()
        self._relay.close()
        await asyncio.sleep(0.05)  # let the last datagrams and resets leave
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Stop, and close all graphs; files of graphs are free afterwards."""
        self.stop()
        self.service.close()
        if self._temporary:
            self._temporary.cleanup()

    def _in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._loop
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    def _drop(self, peer: str) -> None:
        async def drop() -> None:
            self._relay.drop(peer)

        self._in_loop(drop())

    # addresses

    @property
    def ca(self) -> Path:
        """The certificate of the authority, for a client's `ca=`."""
        return self.certificates.ca

    @property
    def grpc_port(self) -> int:
        """gRPC with TLS."""
        return self._ports["grpc"]

    @property
    def plain_port(self) -> int:
        """gRPC in plain text."""
        return self._ports["plain"]

    @property
    def quic_port(self) -> int:
        """QUIC."""
        return self._ports["quic"]

    def grpc_dsn(
        self,
        user: str | None = "geode",
        password: str | None = None,
        graph: str = "",
        tls: bool = True,
        **parameters: str | int | float,
    ) -> str:
        """A DSN over gRPC; the password is the user's unless another is given, "" leaves it out."""
        if not tls:
            return self._dsn(
                "grpc", self.plain_port, user, password, graph, {"tls": 0} | parameters
            )
        return self._dsn("grpc", self.grpc_port, user, password, graph, self._ca() | parameters)

    def quic_dsn(
        self,
        user: str | None = "geode",
        password: str | None = None,
        graph: str = "",
        **parameters: str | int | float,
    ) -> str:
        """A DSN over QUIC, as `grpc_dsn`."""
        return self._dsn("quic", self.quic_port, user, password, graph, self._ca() | parameters)

    def dsn(self, transport: str, **parameters: Any) -> str:
        """A DSN over "grpc" or "quic"."""
        make: Callable[..., str] = self.grpc_dsn if transport == "grpc" else self.quic_dsn
        return make(**parameters)

    def _ca(self) -> dict[str, str | int | float]:
        found: dict[str, str | int | float] = {"ca": str(self.ca)}
        if self._client_certificate:
            found["cert"] = str(self.certificates.client)
            found["key"] = str(self.certificates.client_key)
        return found

    def _dsn(
        self,
        scheme: str,
        port: int,
        user: str | None,
        password: str | None,
        graph: str,
        parameters: Mapping[str, str | int | float],
    ) -> str:
        if password is None and user in self.users:
            password = self.users[user].password
        login = quote(user, safe="") if user else ""
        login += f":{quote(password, safe='')}" if login and password else ""
        at = f"{login}@" if login else ""
        path = f"/{quote(graph, safe='')}" if graph else ""
        return f"{scheme}://{at}127.0.0.1:{port}{path}?{urlencode(parameters)}"

    # what is inside

    @property
    def statements(self) -> list[Statement]:
        """The last statements that were sent, the newest last (at most 20,000)."""
        return list(self.service.statements)

    @property
    def hellos(self) -> list[HelloRequest]:
        """The last logins that were asked for, with what the client said of itself."""
        return list(self.service.hellos)

    @property
    def dialect(self) -> Dialect:
        """The dialect that is spoken; may be set while the server runs."""
        return self.service.dialect

    @dialect.setter
    def dialect(self, dialect: Dialect) -> None:
        self.service.dialect = dialect

    def graph(self, name: str = DEFAULT_GRAPH) -> Any:
        """The Grafeo database of a graph, for `execute` and `graph_dump.dump_open`."""
        return self.service.graph(name).database

    def graphs(self) -> list[str]:
        """The names of the graphs."""
        return self.service.graph_names()

    def save(self, name: str, path: str | Path) -> Path:
        """Write a graph to a .grafeo file, which is replaced."""
        path = Path(path)
        path.unlink(missing_ok=True)
        graph = self.service.graph(name)
        graph.run(lambda: graph.database.save(str(path)))
        return path
