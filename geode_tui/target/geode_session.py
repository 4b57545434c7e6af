"""Connections to Geode through its driver: one for each caller at a time, deadlines on everything.

The driver's transports send and receive; what its `Connection` leaves out is done here: answers
are read to their last page, an error in mid-stream is an error, a commit that the server refused
is one, and a connection that was late once is never used again, since the late answer would be
taken for the next one's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else it writes over the screen, from C
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # else it disturbs programs that we start

import grpc
from geode_client import transport as driver
from geode_client.proto import (
    BeginRequest,
    CommitRequest,
    ExecuteRequest,
    ExecutionResponse,
    GeodeServiceStub,
    HelloRequest,
    RollbackRequest,
)

from geode_tui import __version__
from geode_tui.errors import (
    BusyError,
    ConnectError,
    GeodeTuiError,
    LostError,
    PermissionRefusedError,
    UnreachableError,
    UsageError,
)
from geode_tui.target.geode_dsn import Address
from geode_tui.target.geode_wire import decode_page, execute_request, requests

MOST_RECEIVED = 64 * 1024 * 1024
"""Of one answer, as the driver's QUIC takes them; gRPC's own limit of 4 MiB is raised to it."""
STALE_SECONDS = 15.0
"""A connection that lay idle longer is not used again: QUIC ends idle ones without a word."""

_EXECUTE = "/geode.GeodeService/Execute"
_CONFLICT = ("40001", "40P01", "40502")
_LOGIN = ("28", "08P01")
_OF_RIGHTS = ("permission", "privilege", "not allowed", "denied", "role")
_TOO_LARGE = ("RESOURCE_EXHAUSTED", "larger than max")
_ANSWER_TOO_LARGE = "CLIENT: "  # so gRPC tells its own limit from the server's

_NOTHING_MORE = ("00", "01", "02")
"""Classes of codes that are no errors: success, a warning, no data."""
_QUIC_CLOSES = 0.7
"""Seconds that it takes to give up a QUIC connection which nobody answered."""
_FINISH_SECONDS = 1.0
_END_SECONDS = 5.0
_SMALL = 16 * 1024
"""Bytes of a request that every server takes: one that is refused is not too large."""

_overheard: ContextVar[list[str] | None] = ContextVar("overheard", default=None)


class _Overhear(logging.Filter):
    """Keeps why a QUIC handshake failed, which only the log tells; nothing is printed."""

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _overheard.get()
        if heard is not None:
            reason = record.getMessage().partition("reason: ")[2].partition(", frame_type: ")[0]
            heard += [reason] if reason else []
        return False


logging.getLogger("quic").setLevel(logging.WARNING)
logging.getLogger("quic").addFilter(_Overhear())


class StatementError(Exception):
    """Geode refused a statement: its code (SQLSTATE) and its text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text

    @property
    def is_syntax(self) -> bool:
        """Whether the dialect does not know the statement."""
        return self.code.startswith("42") and self.code != "42501"

    @property
    def is_conflict(self) -> bool:
        """Whether another transaction was in the way: the same may work again."""
        return self.code in _CONFLICT

    @property
    def is_of_rights(self) -> bool:
        """Whether the role may not do it."""
        of_login = self.code.startswith("28")
        of_rights = any(word in self.text.lower() for word in _OF_RIGHTS)
        return self.code == "42501" or (of_login and of_rights)

    @property
    def is_of_row(self) -> bool:
        """Whether a value or a key was refused: class 22, data, or 23, integrity."""
        return self.code.startswith(("22", "23"))

    def told(self, statement: str) -> GeodeTuiError:
        """The error for a person."""
        if self.is_of_rights:
            what = "the role may not do this in Geode"
            return PermissionRefusedError(what, self.text, "ask for the right to write the graph")
        if self.code.startswith(_LOGIN):
            return ConnectError("Geode refuses the login", self.text, "check user and password")
        if self.is_conflict:
            return BusyError("another transaction is in the way", str(self), "try again")
        if self.is_syntax:
            why = f"{self}; in: {statement[:200]}"
            return UsageError("Geode does not understand a statement", why, "see docs/geode.md")
        return GeodeTuiError("Geode refused a statement", f"{self}; in: {statement[:200]}", "")


class TooLargeError(Exception):
    """A request is larger than the server takes; it was not carried out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a statement, in the order of its columns."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class GrpcTransport(driver.GrpcTransport):  # type: ignore[misc]  # the driver has no types
    """The driver's gRPC with limits, keepalive, a server name, and an end of the stream.

    Without verification the driver would fall back to plaintext when it cannot get the server's
    certificate, and send the password: this one refuses.
    """

    _streams_end = True
    _exec_stream: Any = None
    _execute: Any = None

    async def connect(self) -> None:
        """Open the channel; nothing is sent before the login."""
        config = self.config
        place = f"[{config.host}]" if ":" in config.host else config.host
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MOST_RECEIVED),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.enable_retries", 0),
            # Each a connection of its own: the server ends the session when it is closed.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not config.tls_enabled:
            self._channel = grpc.aio.insecure_channel(f"{place}:{config.port}", options)
        else:
            options, credentials = await self._credentials(options)
            self._channel = grpc.aio.secure_channel(f"{place}:{config.port}", credentials, options)
        self._stub = GeodeServiceStub(self._channel)
        # Takes a request as bytes: otherwise they would be parsed to be written again.
        self._execute = self._channel.unary_stream(
            _EXECUTE, response_deserializer=ExecutionResponse.FromString
        )
        self._connected = True

    async def _credentials(
        self, options: list[tuple[str, Any]]
    ) -> tuple[list[tuple[str, Any]], Any]:
        config = self.config
        name, root = config.server_name, None
        if config.skip_verify:
            root, common = await asyncio.to_thread(
                self._fetch_server_cert, config.host, config.port
            )
            name = common or name
        elif config.ca_cert:
            root = await asyncio.to_thread(Path(config.ca_cert).read_bytes)
        key = certificate = None
        if config.client_cert and config.client_key:
            key = await asyncio.to_thread(Path(config.client_key).read_bytes)
            certificate = await asyncio.to_thread(Path(config.client_cert).read_bytes)
        if name and name != config.host:
            options = [*options, ("grpc.ssl_target_name_override", name)]
        return options, grpc.ssl_channel_credentials(root, key, certificate)

    async def close(self) -> None:
        """Close the channel; whatever still holds a call of it would keep its connection open."""
        if self._exec_stream is not None:
            self._exec_stream.cancel()
        self._exec_stream = self._execute = None
        await super().close()

    async def execute_bytes(self, request: bytes) -> Any:
        """The first message of the answer to an `ExecuteRequest`."""
        self._exec_stream = self._execute(request)
        return await self.read_next()

    async def read_next(self) -> Any:
        """The next message of the answer. Raises TransportError at the stream's end."""
        message = await self._exec_stream.read()
        if not isinstance(message, ExecutionResponse):
            raise driver.TransportError("the stream ended before the last page")
        return _Executed(message)

    async def finish(self) -> None:
        """Wait for the end of an answer whose last page was read: to break off looks like a no.

        A server that leaves the stream open is waited for once.
        """
        try:
            if self._streams_end:
                async with asyncio.timeout(_FINISH_SECONDS):
                    await self._exec_stream.read()
        except TimeoutError:
            self._streams_end = False
        finally:
            self._exec_stream.cancel()


class QuicTransport(driver.QuicTransport):  # type: ignore[misc]  # the driver has no types
    """The driver's QUIC, which takes a request as bytes too."""

    async def execute_bytes(self, request: bytes) -> Any:
        """The first message of the answer to an `ExecuteRequest`."""
        return await self.execute(ExecuteRequest.FromString(request))


@dataclass(frozen=True, slots=True)
class _Executed:
    """An answer as QUIC gives it, without a copy of the message."""

    execute: Any

    def HasField(self, name: str) -> bool:
        return name == "execute"


class _CutOffError(UnreachableError):
    """A QUIC connection that ended during its login, with no word why: a packet or two got lost."""


class Session:
    """One connection, used by one task at a time. All methods are coroutines of one event loop."""

    def __init__(self, address: Address, password: str | None) -> None:
        self._address = address
        self._password = password
        self.broken = False
        self.used = time.monotonic()
        config = _config(address)
        grpc_ = address.scheme == "grpc"
        self._transport: Any = GrpcTransport(config) if grpc_ else QuicTransport(config)

    @property
    def id(self) -> str:
        """What the server calls the session; each request names it."""
        return str(self._transport.session_id)

    async def open(self) -> None:
        """Connect and log in. Raises UnreachableError, ConnectError, LostError."""
        address = self._address
        heard: list[str] = []
        _overheard.set(heard)
        try:
            async with asyncio.timeout(self._patience):
                await self._transport.connect()
                answer = await self._transport.hello(self._hello())
        except TimeoutError as error:
            await self.close()
            why = f"no answer within {address.connect_seconds:g} s"
            raise UnreachableError(f"cannot connect to {address.place}", why, _NEXT) from error
        except Exception as error:
            heard += _closed_because(self._transport)
            await self.close()
            raise _connect_error(address, error, heard) from error
        if not answer.success:
            await self.close()
            why = answer.error_message or "the server gives no reason"
            next_step = "check user and password, the graph, and what the user may do"
            raise ConnectError(f"Geode at {address.place} refuses the login", why, next_step)

    @property
    def _patience(self) -> float:
        """Seconds to wait for a connection, so that it is given up in the time that is given."""
        seconds = self._address.connect_seconds
        if self._address.scheme == "grpc":
            return seconds
        return max(seconds - _QUIC_CLOSES, seconds / 2)

    def _hello(self) -> HelloRequest:
        address = self._address
        return HelloRequest(
            username=address.user or "",
            password=self._password or "",
            client_name="geode-tui",
            client_version=__version__,
            wanted_conformance="min",
            graph=address.graph or None,
            tenant_id=address.tenant or None,
            role=address.role or None,
        )

    async def close(self) -> None:
        """Let the connection go, whatever state it is in."""
        self.broken = True
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await self._transport.close()

    async def run(self, text: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run a statement and read its whole answer.

        Raises StatementError; LostError where it is not known whether it was carried out.
        """
        request = execute_request(self._transport.session_id, text, parameters or {})
        return await self.answer(request)

    async def answer(self, request: bytes) -> Answer:
        """Send a request and read its whole answer; see `run`.

        Raises TooLargeError where the server does not take a request of this size.
        """
        columns: tuple[str, ...] = ()
        rows: list[tuple[Any, ...]] = []
        try:
            async for columns, page in self._pages(request):  # noqa: B007
                rows += page
        except TooLargeError as error:
            if len(request) > _SMALL:
                raise
            raise self._lost(str(error)) from error  # the server itself is short of something
        return Answer(columns, rows)

    async def stream(
        self, text: str, parameters: Mapping[str, Any]
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """The rows of a statement page by page, as they come."""
        request = execute_request(self._transport.session_id, text, parameters)
        async for _, page in self._pages(request):
            yield page

    async def _pages(
        self, request: bytes
    ) -> AsyncIterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
        """The pages of an answer; an answer that ends before its last page is an error."""
        transport, columns, final = self._transport, None, False
        self._must_be_whole()
        message = await self._one(transport.execute_bytes(request))
        while True:
            payload = message.WhichOneof("payload")
            if payload == "error":
                self.used = time.monotonic()
                if not _is_no_error(message.error):
                    raise self._refused(message.error)
                return
            if payload == "schema":
                columns = tuple(column.name for column in message.schema.columns)
            elif payload == "page":
                self._check_width(message.page, columns)
                final = message.page.final
                yield columns or (), decode_page(message.page)
                if final:
                    if isinstance(transport, GrpcTransport):
                        async with self._deadline():
                            await transport.finish()
                    self.used = time.monotonic()
                    return
            message = await self._one(transport.read_next())

    def _must_be_whole(self) -> None:
        """A late answer would be taken for the next one's."""
        if self.broken:
            raise self._lost("it failed before")

    def _refused(self, error: Any) -> GeodeTuiError | StatementError:
        """What an error of the server means to who sent the statement."""
        refused = StatementError(error.code, error.message)
        if error.code.startswith("28") and not refused.is_of_rights:
            return self._lost(f"the server does not know the session any more: {refused}")
        return refused

    def _check_width(self, page: Any, columns: tuple[str, ...] | None) -> None:
        """Rows whose columns have no names could be anything's."""
        if page.rows and len(page.rows[0].values) != len(columns or ()):
            raise self._lost("the server sent rows without telling their columns")

    async def _one(self, waiting: Coroutine[Any, Any, Any]) -> Any:
        """One message of an answer, in time."""
        async with self._deadline():
            message = await waiting
        if not message.HasField("execute"):
            raise self._lost("the server answered something else")
        return message.execute

    @contextlib.asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Whatever goes wrong within makes the connection unfit for another statement."""
        try:
            async with asyncio.timeout(self._address.request_seconds):
                yield
        except TimeoutError as error:
            raise self._lost(f"no answer within {self._address.request_seconds:g} s") from error
        except GeodeTuiError:
            raise
        except Exception as error:
            text = str(error)
            if any(sign in text for sign in _TOO_LARGE) and _ANSWER_TOO_LARGE not in text:
                raise TooLargeError(_short(error)) from error
            raise self._lost(_short(error)) from error
        except BaseException:
            self.broken = True
            raise

    def _lost(self, why: str) -> LostError:
        self.broken = True
        return LostError(
            f"the connection to {self._address.place} broke",
            why,
            "see that the server runs, then: geode-tui resume",
        )

    # -- transactions -----------------------------------------------------------------------------

    async def begin(self, read_only: bool = False) -> None:
        """Begin a transaction."""
        self._must_be_whole()
        request = BeginRequest(session_id=self._transport.session_id, read_only=read_only)
        await self._say("begin", self._transport.begin(request))

    async def commit(self) -> None:
        """Commit. Raises BusyError where the server refused it: nothing is written then."""
        self._must_be_whole()
        request = CommitRequest(session_id=self._transport.session_id)
        try:
            answer = await self._say("commit", self._transport.commit(request))
        except StatementError:
            self.broken = True  # the transaction may be open still
            raise
        if not answer.success:
            self.broken = True  # what state the transaction is in, nobody said
            raise BusyError("Geode refused a commit", "nothing of it is written", "try again")

    async def rollback(self) -> None:
        """Roll back; a connection that cannot is not used again."""
        if self.broken:
            return
        try:
            request = RollbackRequest(session_id=self._transport.session_id)
            answer = await self._say("rollback", self._transport.rollback(request))
            self.broken = self.broken or not answer.success
        except (GeodeTuiError, StatementError, TooLargeError):
            self.broken = True

    async def _say(self, what: str, waiting: Coroutine[Any, Any, Any]) -> Any:
        async with self._deadline():
            message = await waiting
        if message.HasField(what):
            return getattr(message, what)
        if message.HasField("execute") and message.execute.HasField("error"):
            raise self._refused(message.execute.error)
        raise self._lost(f"the server answered something else to {what.upper()}")


_NEXT = "check host and port, and that the server runs"


class Sessions:
    """Connections for several threads: each is lent to one at a time.

    An event loop in a thread of its own drives them.
    """

    def __init__(self, address: Address, password: str | None) -> None:
        self.address = address
        self._password = password
        self._idle: list[Session] = []
        self._open: set[Session] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._let_go = False
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_log_quietly)  # what matters is raised
        self._thread = threading.Thread(target=self._loop.run_forever, name="geode", daemon=True)
        self._thread.start()

    def wait[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Let the loop do some work and wait for it. Raises LostError once this is closed."""
        closed = LostError(f"the connection to {self.address.place} was closed", "", "")
        with self._lock:  # what comes before `close` is ended by it
            if self._closed:
                work.close()
                raise closed
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise closed from None

    def send_rows(
        self,
        session: Session,
        text: str,
        names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        fixed: Mapping[str, Any],
    ) -> Answer:
        """Run a statement on `$rows`, in as many requests as their size asks for.

        The rows are encoded in the caller's thread: the loop only sends. Raises TooLargeError
        where the server does not take a single row.
        """
        answers: list[Answer] = []
        places = [(0, len(columns[0]) if columns else 0)]
        while places:
            first, last = places.pop(0)
            part = [column[first:last] for column in columns]
            for low, high, request in requests(session.id, text, names, part, fixed):
                try:
                    answers.append(self.wait(session.answer(request)))
                except TooLargeError:
                    if high - low == 1:
                        raise
                    middle = first + (low + high) // 2
                    places = [(first + low, middle), (middle, last), *places]
                    break
        rows = [row for answer in answers for row in answer.rows]
        return Answer(answers[0].columns if answers else (), rows)

    @contextlib.contextmanager
    def lent(self) -> Iterator[Session]:
        """A connection for this thread alone; one that broke is closed afterwards."""
        session = self._take()
        try:
            yield session
        except (StatementError, TooLargeError):
            self._give_back(session)
            raise
        except BaseException:
            self._drop(session)
            raise
        self._give_back(session)

    def _take(self) -> Session:
        stale = []
        try:
            with self._lock:
                if self._closed:
                    raise ConnectError("the connection to Geode is closed")
                while self._idle:
                    session = self._idle.pop()
                    if time.monotonic() - session.used < STALE_SECONDS:
                        return session
                    stale.append(session)
        finally:
            for session in stale:
                self._drop(session)
        if self._let_go:
            self._let_go = False
            gc.collect(1)  # a call of gRPC that failed is in a cycle, and keeps its connection open
        try:
            return self._opened()
        except _CutOffError:
            return self._opened()

    def _opened(self) -> Session:
        session = Session(self.address, self._password)
        self._open.add(session)
        try:
            self.wait(session.open())
        except BaseException:
            self._open.discard(session)
            raise
        return session

    def _give_back(self, session: Session) -> None:
        with self._lock:
            if not session.broken and not self._closed:
                self._idle.append(session)
                return
        self._drop(session)

    def _drop(self, session: Session) -> None:
        self._let_go = True
        self._open.discard(session)
        with contextlib.suppress(Exception):
            self.wait(session.close())

    def close(self) -> None:
        """Close every connection and end the loop; who waits for one gets a LostError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._idle.clear()
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_END_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self) -> None:
        """End what other threads wait for, and every connection."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(session.close() for session in list(self._open)))

    def streamed(self, text: str, parameters: Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement page by page, over a connection of its own."""
        session = self._take()
        pages = session.stream(text, parameters)
        ended = False
        try:
            while (page := self.wait(_next(pages))) is not None:
                yield page
            ended = True
        except StatementError as error:
            ended = not session.broken
            raise error.told(text) from error
        finally:
            if not ended:
                session.broken = True
            self._give_back(session)


def _log_quietly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the driver leaves behind when a connection fails must not go over the screen."""
    logging.getLogger(__name__).debug("%s", context.get("message"))


async def _next(pages: AsyncIterator[list[tuple[Any, ...]]]) -> list[tuple[Any, ...]] | None:
    return await anext(pages, None)


def again[T](
    work: Callable[[], T], attempts: int = 6, pause: Callable[[float], None] = time.sleep
) -> T:
    """Do some work again that another transaction was in the way of; a little later each time."""
    for attempt in range(1, attempts):
        try:
            return work()
        except StatementError as error:
            if not error.is_conflict:
                raise
        pause(0.02 * 2**attempt)
    return work()


def _is_no_error(error: Any) -> bool:
    """Whether it only says that there are no rows; the driver takes it so, too."""
    return error.code.startswith(_NOTHING_MORE) or "no active result set" in error.message.lower()


def _config(address: Address) -> driver.TransportConfig:
    return driver.TransportConfig(
        transport_type=driver.TransportType(address.scheme),
        host=address.host,
        port=address.port,
        tls_enabled=address.tls,
        skip_verify=not address.verify,
        ca_cert=address.ca or None,
        client_cert=address.client_certificate or None,
        client_key=address.client_key or None,
        server_name=address.server_name or (address.host if address.verify else None),
        graph=address.graph or "",
        read_timeout=address.request_seconds,
        idle_timeout=max(address.idle_seconds, address.request_seconds),
    )


def _connect_error(address: Address, error: Exception, heard: Sequence[str]) -> GeodeTuiError:
    text = "; ".join(heard) or _short(error)
    what, lower = f"cannot connect to {address.place}", text.lower()
    if "wrong_version_number" in lower or "wrong version number" in lower:
        why = f"the port does not speak TLS ({text})"
        return ConnectError(what, why, "check the port; tls=0 is for a server without TLS")
    if any(sign in lower for sign in _OF_OTHERS):
        why = f"what answers there is no Geode, or one of another version ({text})"
        return ConnectError(what, why, "check host and port")
    if text == _CUT_OFF:
        return _CutOffError(what, text, _NEXT)
    if not address.tls:
        return UnreachableError(what, text, f"{_NEXT}; with TLS, leave tls=0 out")
    if any(sign in lower for sign in _OF_CERTIFICATES):
        next_step = "name the server's CA with ca=FILE, or the name in its certificate with "
        return ConnectError(what, text, f"{next_step}server_name=NAME")
    return UnreachableError(what, text, _NEXT)


_CUT_OFF = "Stream closed"  # in the words of the driver
_OF_CERTIFICATES = ("certificate", "ssl", "tls", "handshake", "verif", "match either")
_OF_OTHERS = ("parsing http/2", "alpn", "method not found", "error parsing message")


def _closed_because(transport: Any) -> list[str]:
    """The reason that the other side of a QUIC connection gave for closing it."""
    quic = getattr(getattr(transport, "_protocol", None), "_quic", None)
    reason = getattr(getattr(quic, "_close_event", None), "reason_phrase", "")
    return [reason] if reason else []


def _short(error: BaseException) -> str:
    """The part of an error's text that tells something: gRPC's are pages long."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    for line in str(error).splitlines():
        if "details =" in line:
            return line.partition("=")[2].strip().strip('"')
    before, _, after = str(error).partition("Failed to establish QUIC connection: ")
    text = after.strip() or before.strip()
    return text.splitlines()[0] if text else type(error).__name__
