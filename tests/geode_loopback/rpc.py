"""The service over gRPC, behind a relay that can break a client's connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from geode_client.proto import geode_pb2 as wire
from geode_client.proto import geode_pb2_grpc

from tests.geode_loopback.certificates import Certificates
from tests.geode_loopback.dialect import StatementError
from tests.geode_loopback.service import Dropped, NoReply, Service

T = TypeVar("T")
_THREADS = 64
_CHUNK = 1 << 18


class _Call:
    """One RPC; `closed` is set when the client has gone."""

    transport = "grpc"

    def __init__(self, context: Any) -> None:
        self.key = str(context.peer())
        self.closed = threading.Event()
        context.add_callback(self.closed.set)


class GrpcServicer(geode_pb2_grpc.GeodeServiceServicer):  # type: ignore[misc]
    """The driver's own servicer, answered by a Service."""

    def __init__(self, service: Service, drop: Callable[[str], None]) -> None:
        """`drop` breaks the connection of a peer."""
        self._service = service
        self._drop = drop

    def Handshake(self, request: Any, context: Any) -> Any:
        """Log in."""
        return self._once(self._service.hello, request, context)

    def Begin(self, request: Any, context: Any) -> Any:
        """Begin a transaction."""
        return self._once(self._service.begin, request, context)

    def Commit(self, request: Any, context: Any) -> Any:
        """Commit it."""
        return self._once(self._service.commit, request, context)

    def Rollback(self, request: Any, context: Any) -> Any:
        """Roll it back."""
        return self._once(self._service.rollback, request, context)

    def Ping(self, request: Any, context: Any) -> Any:
        """Answer."""
        return self._once(lambda _, call: self._service.ping(call), request, context)

    def Execute(self, request: Any, context: Any) -> Iterator[Any]:
        """Stream the schema and the pages of a statement."""
        try:
            yield from self._service.execute(request, _Call(context))
        except StatementError as error:
            yield wire.ExecutionResponse(error=wire.Error(code=error.code, message=error.message))
        except NoReply:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
        except Dropped:
            self._break(context)

    def _once(self, work: Callable[[Any, _Call], T], request: Any, context: Any) -> T:
        try:
            return work(request, _Call(context))
        except StatementError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{error.code}: {error.message}")
        except NoReply:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
        except Dropped:
            self._break(context)
        raise AssertionError  # abort and _break do not return

    def _break(self, context: Any) -> None:
        self._drop(str(context.peer()))
        context.abort(grpc.StatusCode.UNAVAILABLE, "connection dropped")


class GrpcServer:
    """A gRPC server on two ports: with TLS, and in plain text."""

    def __init__(
        self,
        service: Service,
        certificates: Certificates,
        drop: Callable[[str], None],
        request_limit: int,
        demand_client_certificate: bool,
        tls_port: int = 0,
        plain_port: int = 0,
    ) -> None:
        """`request_limit` in bytes, -1 for none; ports of 0 are chosen."""
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", request_limit),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
        )
        geode_pb2_grpc.add_GeodeServiceServicer_to_server(GrpcServicer(service, drop), self._server)
        pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
        credentials = grpc.ssl_server_credentials(
            [pair],
            root_certificates=certificates.ca.read_bytes() if demand_client_certificate else None,
            require_client_auth=demand_client_certificate,
        )
        self.tls_port = self._server.add_secure_port(f"127.0.0.1:{tls_port}", credentials)
        self.plain_port = self._server.add_insecure_port(f"127.0.0.1:{plain_port}")
        self._server.start()

    def stop(self) -> None:
        """End all calls and stop."""
        self._server.stop(grace=None).wait(5)


class Relay:
    """A port in front of another: it knows the client's connection behind each peer."""

    def __init__(self, disconnected: Callable[[str], None]) -> None:
        """`disconnected` is told the peer of a connection that ended, in a thread."""
        self._disconnected = disconnected
        self._open: dict[str, tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, host: str, port: int, inner_port: int) -> int:
        """Listen; the port that was taken."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(reader, writer, inner_port)

        server = await asyncio.start_server(accepted, host, port)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def drop(self, peer: str) -> None:
        """Break the connection behind a peer; call it in the loop."""
        for writer in self._open.get(peer, ()):
            writer.transport.abort()

    def close(self) -> None:
        """Stop listening and break all connections."""
        for server in self._servers:
            server.close()
        for peer in list(self._open):
            self.drop(peer)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner_port: int
    ) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", inner_port)
        peer = f"ipv4:127.0.0.1:{inner_writer.get_extra_info('sockname')[1]}"
        self._open[peer] = (writer, inner_writer)
        ways = [
            asyncio.ensure_future(_copy(reader, inner_writer)),
            asyncio.ensure_future(_copy(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self.drop(peer)
            del self._open[peer]
            await asyncio.to_thread(self._disconnected, peer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
