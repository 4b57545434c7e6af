"""The service over QUIC: one stream, each message a length of 4 bytes and a protobuf."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    QuicEvent,
    StreamDataReceived,
)
from geode_client.proto import geode_pb2 as wire

from tests.geode_loopback.certificates import Certificates
from tests.geode_loopback.dialect import StatementError
from tests.geode_loopback.service import Dropped, NoReply, Service, error_response

_numbers = itertools.count(1)
_THREADS = 64
_WATCH_SECONDS = 0.5
_CERTIFICATE_REQUIRED = 0x100 + 116  # the alert of TLS as an error of QUIC


class GeodeProtocol(QuicConnectionProtocol):
    """One client's connection."""

    transport = "quic"

    def __init__(
        self,
        quic: QuicConnection,
        service: Service,
        threads: ThreadPoolExecutor,
        ended: Callable[[GeodeProtocol], None],
        demands_certificate: bool,
    ) -> None:
        """Messages are answered in `threads`, one after another; `ended` is called at the end."""
        super().__init__(quic)
        self._ended = ended
        self._demands_certificate = demands_certificate
        self.key = f"quic:{next(_numbers)}"
        self.closed = threading.Event()
        self._service = service
        self._threads = threads
        self._own_loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._nameless = False
        self._messages: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._task = self._own_loop.create_task(self._answer_all())

    def quic_event_received(self, event: QuicEvent) -> None:
        """Collect messages; notice the end."""
        if isinstance(event, HandshakeCompleted) and self._demands_certificate:
            if self._quic.tls._peer_certificate is None:
                self._nameless = True
                self.close(error_code=_CERTIFICATE_REQUIRED, reason_phrase="certificate required")
        elif isinstance(event, StreamDataReceived) and not self._nameless:
            self._received += event.data
            for message in self._whole_messages():
                self._messages.put_nowait((event.stream_id, message))
        elif isinstance(event, ConnectionTerminated):
            self.closed.set()
            self._ended(self)
            self._task.cancel()
            with contextlib.suppress(RuntimeError):  # the server stops: it ends all sessions
                self._threads.submit(self._service.disconnected, self.key)

    def is_gone(self, bound: set[int]) -> bool:
        """Whether the client's own port is not bound by anybody any more."""
        paths = self._quic._network_paths
        return bool(paths) and paths[0].addr[1] not in bound

    def lose(self) -> None:
        """The client died without a word: end its sessions and the connection."""
        self.closed.set()
        self._ended(self)
        self._task.cancel()
        self._threads.submit(self._service.disconnected, self.key)
        self.close()

    def _whole_messages(self) -> Iterator[bytes]:
        while len(self._received) >= 4:
            (length,) = struct.unpack_from(">I", self._received)
            if len(self._received) < 4 + length:
                return
            yield bytes(self._received[4 : 4 + length])
            del self._received[: 4 + length]

    async def _answer_all(self) -> None:
        while True:
            stream, message = await self._messages.get()
            if self._service.sink:
                self._answer(stream, message, self._send)
            else:
                await self._own_loop.run_in_executor(
                    self._threads, self._answer, stream, message, self._send_from_thread
                )

    def _answer(self, stream: int, message: bytes, send: Callable[[int, bytes], None]) -> None:
        try:
            for answer in answers(self._service, self, wire.QuicClientMessage.FromString(message)):
                data = answer.SerializeToString()
                send(stream, struct.pack(">I", len(data)) + data)
        except NoReply:
            pass
        except Dropped:
            self._own_loop.call_soon_threadsafe(self.close)

    def _send_from_thread(self, stream: int, data: bytes) -> None:
        self._own_loop.call_soon_threadsafe(self._send, stream, data)

    def _send(self, stream: int, data: bytes) -> None:
        if not self.closed.is_set():
            self._quic.send_stream_data(stream, data)
            self.transmit()


def answers(
    service: Service, connection: GeodeProtocol, message: wire.QuicClientMessage
) -> Iterator[wire.QuicServerMessage]:
    """The messages that answer a message."""
    arm = message.WhichOneof("msg") or ""
    try:
        if arm == "hello":
            yield wire.QuicServerMessage(hello=service.hello(message.hello, connection))
        elif arm == "begin":
            yield wire.QuicServerMessage(begin=service.begin(message.begin, connection))
        elif arm == "commit":
            yield wire.QuicServerMessage(commit=service.commit(message.commit, connection))
        elif arm == "rollback":
            yield wire.QuicServerMessage(rollback=service.rollback(message.rollback, connection))
        elif arm == "ping":
            yield wire.QuicServerMessage(ping=service.ping(connection))
        elif arm == "execute":
            for response in service.execute(message.execute, connection):
                yield wire.QuicServerMessage(execute=response)
        elif arm == "pull":
            empty = wire.ExecutionResponse(page=wire.DataPage(final=True))
            yield wire.QuicServerMessage(pull=wire.PullResponse(response=empty))
        else:
            raise StatementError("0A000", f"{arm} is not supported")
    except StatementError as error:
        yield wire.QuicServerMessage(execute=error_response(error.code, error.message))


class QuicListener:
    """The QUIC port."""

    def __init__(
        self,
        service: Service,
        certificates: Certificates,
        idle_timeout: float,
        demand_client_certificate: bool,
    ) -> None:
        """`idle_timeout` in seconds, as the server offers it."""
        self._service = service
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="quic")
        self._demand = demand_client_certificate
        self._connections: set[GeodeProtocol] = set()
        self._server: QuicServer | None = None
        self._configuration = QuicConfiguration(
            is_client=False, alpn_protocols=["geode/1"], idle_timeout=idle_timeout
        )
        self._configuration.load_cert_chain(certificates.server, certificates.server_key)
        if demand_client_certificate:
            self._configuration.verify_mode = ssl.CERT_REQUIRED
            self._configuration.load_verify_locations(cafile=str(certificates.ca))

    async def listen(self, host: str, port: int) -> int:
        """Listen; the port that was taken."""
        self._server = await serve(
            host, port, configuration=self._configuration, create_protocol=self._protocol
        )
        self._watch = asyncio.create_task(self._watch_clients())
        transport = self._server._transport
        assert transport
        return int(transport.get_extra_info("sockname")[1])

    async def _watch_clients(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            bound = await asyncio.to_thread(_bound_ports)
            for connection in list(self._connections):
                if bound and connection.is_gone(bound):
                    connection.lose()

    def _protocol(self, quic: QuicConnection, stream_handler: Any = None) -> GeodeProtocol:
        if self._demand:
            _demand_certificate(quic)
        protocol = GeodeProtocol(
            quic, self._service, self._threads, self._connections.discard, self._demand
        )
        self._connections.add(protocol)
        return protocol

    def close(self) -> None:
        """Close all connections and the port; call it in the loop."""
        for connection in self._connections:
            connection.closed.set()
        if self._server:
            self._server.close()
        self._threads.shutdown(wait=False)


def _bound_ports() -> set[int]:
    """The UDP ports that somebody on this machine has bound; empty where that cannot be read.

    A client that was killed says no goodbye over UDP, and its open transaction would stand in
    the way of others until the idle timeout.
    """
    found = set()
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        if table.exists():
            lines = table.read_text().splitlines()[1:]
            found |= {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
    return found


def _demand_certificate(quic: QuicConnection) -> None:
    initialize = quic._initialize

    def initialize_and_demand(peer_cid: bytes) -> None:
        initialize(peer_cid)
        quic.tls._request_client_certificate = True

    quic._initialize = initialize_and_demand  # type: ignore[method-assign]
