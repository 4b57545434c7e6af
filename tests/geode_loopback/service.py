"""Sessions, transactions and statements: what the server does, whatever carries the messages."""

from __future__ import annotations

import itertools
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grafeo
from geode_client.proto import geode_pb2 as wire

from tests.geode_loopback import dialect as gql
from tests.geode_loopback.dialect import Dialect, StatementError
from tests.geode_loopback.faults import Fault, Faults
from tests.geode_loopback.schema_statements import (
    GraphStatement,
    SchemaChange,
    graph_statement,
    schema_change,
)
from tests.geode_loopback.values import from_wire, responses

T = TypeVar("T")
DEFAULT_GRAPH = "default"
OVERSIZE = 4_300_000  # more than 4 MiB
_REMEMBERED = 20_000


class Dropped(Exception):
    """The connection is to be broken now."""


class NoReply(Exception):
    """There is to be no reply, and the connection stays."""


class Refused(Exception):
    """A begin, commit or rollback that is answered with an error of the protocol."""


class Wire(Protocol):
    """The connection a message came on."""

    transport: str
    closed: threading.Event

    @property
    def key(self) -> str:
        """Names the connection."""


@dataclass(frozen=True, slots=True)
class User:
    """A password and a role: admin or reader."""

    password: str
    role: str = "admin"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that was executed, and how many rows its list parameters had in all."""

    text: str
    rows: int
    graph: str
    transport: str


class Graph:
    """A Grafeo database and the one thread that works on it."""

    def __init__(self, path: Path | None = None) -> None:
        """In memory, or in a file."""
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="grafeo")
        self.database: Any = self.run(lambda: grafeo.GrafeoDB(str(path)) if path else _memory())

    def run(self, work: Callable[[], T]) -> T:
        """Do this in the graph's thread, and wait for it."""
        done: Future[T] = self._worker.submit(work)
        return done.result()

    def close(self) -> None:
        """Close the database; its file is free afterwards."""
        self.run(self.database.close)
        self._worker.shutdown()


def _memory() -> Any:
    return grafeo.GrafeoDB()


@dataclass(slots=True)
class Session:
    """One login: its graph, and its transaction if one is open."""

    identity: str
    connection: str
    role: str
    graph: str
    bound: bool
    transaction: Any = None
    read_only: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Service:
    """All sessions and graphs of one server. Its methods block; call them in threads."""

    def __init__(
        self,
        users: Mapping[str, User],
        dialect: Dialect,
        faults: Faults,
        graph_file: Path | None,
        page_rows: int,
        delay: float,
        sink: bool,
    ) -> None:
        """`delay` is added to each statement, in seconds."""
        self.users = users
        self.dialect = dialect
        self.faults = faults
        self.page_rows = page_rows
        self.delay = delay
        self.sink = sink
        self.statements: deque[Statement] = deque(maxlen=_REMEMBERED)
        self.hellos: deque[wire.HelloRequest] = deque(maxlen=_REMEMBERED)
        self.clients: deque[wire.HelloRequest] = deque(maxlen=_REMEMBERED)
        self._graph_file = graph_file
        self._graphs: dict[str, Graph] = {}
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    # graphs

    def graph(self, name: str) -> Graph:
        """A graph by name, made when it is new."""
        with self._lock:
            name = name or DEFAULT_GRAPH
            if name not in self._graphs:
                self._graphs[name] = Graph(self._path(name))
            return self._graphs[name]

    def graph_names(self) -> list[str]:
        """The graphs that are there."""
        with self._lock:
            return sorted(self._graphs)

    def drop_graph(self, name: str) -> None:
        """Remove a graph and what it holds."""
        with self._lock:
            graph = self._graphs.pop(name, None)
        if graph:
            graph.close()
            path = self._path(name)
            if path:
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path | None:
        if not self._graph_file or name == DEFAULT_GRAPH:
            return self._graph_file
        return self._graph_file.with_name(f"{self._graph_file.stem}-{name}.grafeo")

    def close(self) -> None:
        """End all sessions and close all graphs."""
        self.end_sessions()
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()

    # sessions

    def hello(self, request: wire.HelloRequest, connection: Wire) -> wire.HelloResponse:
        """Log in: a session, or success=False and why."""
        self.hellos.append(request)
        self.clients.append(request)
        met = self._before("hello", "", connection)
        user = self.users.get(request.username)
        refused = _met(met, "refuse", "error")
        if refused:
            return wire.HelloResponse(success=False, error_message=refused.message)
        if not user or user.password != request.password:
            return wire.HelloResponse(success=False, error_message="authentication failed")
        role = "reader" if request.role == "reader" else user.role
        if role == "reader" and request.graph and request.graph not in self.graph_names():
            message = f"permission denied: graph {request.graph} does not exist"
            return wire.HelloResponse(success=False, error_message=message)
        name = request.graph or DEFAULT_GRAPH
        self.graph(name)
        session = Session(secrets.token_hex(8), connection.key, role, name, bool(request.graph))
        with self._lock:
            self._sessions[session.identity] = session
        self._after(met, connection)
        return wire.HelloResponse(success=True, session_id=session.identity, graph=name)

    def disconnected(self, key: str) -> None:
        """A connection is gone: its transactions are rolled back and its sessions end."""
        with self._lock:
            gone = [session for session in self._sessions.values() if session.connection == key]
            for session in gone:
                del self._sessions[session.identity]
        for session in gone:
            self._end(session)

    def end_sessions(self) -> None:
        """End all sessions; open transactions are rolled back."""
        with self._lock:
            gone = list(self._sessions.values())
            self._sessions.clear()
        for session in gone:
            self._end(session)

    def session_count(self) -> int:
        """How many sessions there are now."""
        with self._lock:
            return len(self._sessions)

    def _end(self, session: Session) -> None:
        with session.lock:
            transaction, session.transaction = session.transaction, None
            if transaction:
                self.graph(session.graph).run(transaction.rollback)

    def _session(self, identity: str) -> Session:
        with self._lock:
            session = self._sessions.get(identity)
        if not session:
            raise StatementError("28000", "no such session")
        return session

    # transactions

    def ping(self, connection: Wire) -> wire.PingResponse:
        """Answer a ping."""
        met = self._before("ping", "", connection)
        self._after(met, connection)
        return wire.PingResponse(ok=not _met(met, "refuse"))

    def begin(self, request: wire.BeginRequest, connection: Wire) -> wire.BeginResponse:
        """Begin the session's transaction."""
        met = self._before("begin", "", connection)
        session = self._session(request.session_id)
        with session.lock:
            if session.transaction:
                raise StatementError("25000", "a transaction is already active")
            graph = self.graph(session.graph)
            session.transaction = graph.run(graph.database.begin_transaction)
            session.read_only = request.read_only
        self._after(met, connection)
        return wire.BeginResponse(session_id=session.identity, tx_id=f"tx{next(self._numbers)}")

    def commit(self, request: wire.CommitRequest, connection: Wire) -> wire.CommitResponse:
        """Commit; success=False without a reason when the graph refuses it (a write conflict)."""
        met = self._before("commit", "", connection)
        session = self._session(request.session_id)
        with session.lock:
            transaction = _open_transaction(session)
            graph = self.graph(session.graph)
            if _met(met, "refuse"):
                graph.run(transaction.rollback)
                return wire.CommitResponse(success=False)
            if _met(met, "forget"):
                graph.run(transaction.rollback)
                return wire.CommitResponse(success=True)
            try:
                graph.run(transaction.commit)
            except RuntimeError:
                return wire.CommitResponse(success=False)
        self._after(met, connection)
        return wire.CommitResponse(success=True)

    def rollback(self, request: wire.RollbackRequest, connection: Wire) -> wire.RollbackResponse:
        """Roll back; with `rollback_keeps` of the dialect everything stays."""
        met = self._before("rollback", "", connection)
        session = self._session(request.session_id)
        with session.lock:
            transaction = _open_transaction(session)
            keeps = self.dialect.rollback_keeps
            self.graph(session.graph).run(transaction.commit if keeps else transaction.rollback)
        self._after(met, connection)
        return wire.RollbackResponse(success=not _met(met, "refuse"))

    # statements

    def execute(
        self, request: wire.ExecuteRequest, connection: Wire
    ) -> Iterator[wire.ExecutionResponse]:
        """The messages that answer a statement; Dropped when the connection is to break."""
        met = self._before("execute", request.query, connection)
        try:
            answer = self._answer(request, connection)
        except StatementError as error:
            yield error_response(error.code, error.message)
            return
        self._after(met, connection)
        yield from self._disturbed(answer, met, connection)

    def _answer(
        self, request: wire.ExecuteRequest, connection: Wire
    ) -> list[wire.ExecutionResponse]:
        session = self._session(request.session_id)
        rows = sum(len(p.value.list_val.values) for p in request.params)
        self.statements.append(Statement(request.query, rows, session.graph, connection.transport))
        if self.sink:
            return NOTHING
        text = request.query.strip().rstrip(";").rstrip()
        with session.lock:
            self._permit(session, text)
            about_graph = graph_statement(text, self.dialect)
            if about_graph:
                return self._graph_statement(session, about_graph)
            gql.check(text, self.dialect)
            change = schema_change(text, self.dialect)
            graph = self.graph(session.graph)
            if change:
                return graph.run(lambda: _change_schema(graph.database, change))
            parameters = self._parameters(request)
            text = gql.rewritten(text, self.dialect)
            target = session.transaction or graph.database
            return graph.run(lambda: _query(target, text, parameters, self.page_rows))

    def _permit(self, session: Session, text: str) -> None:
        if re.match(r"(?:ROLLBACK\s+TO\s+)?(?:RELEASE\s+)?SAVEPOINT\b", text, re.IGNORECASE):
            raise StatementError("42000", "savepoints are not supported")
        if _TRANSACTION_TEXT.match(text):
            raise StatementError("42000", "transactions are not written as text here")
        if not gql.writes(text):
            return
        if session.role == "reader":
            raise StatementError("42501", "permission denied")
        if session.transaction and session.read_only:
            raise StatementError("25006", "the transaction is read-only")

    def _graph_statement(
        self, session: Session, statement: GraphStatement
    ) -> list[wire.ExecutionResponse]:
        exists = statement.name in self.graph_names()
        if statement.verb == "CREATE":
            if exists and not statement.only_if:
                raise StatementError("42710", f"graph {statement.name} already exists")
            self.graph(statement.name)
            return NOTHING
        if not exists and not (statement.verb == "DROP" and statement.only_if):
            raise StatementError("42000", f"graph {statement.name} does not exist")
        if statement.verb == "DROP":
            self.drop_graph(statement.name)
        elif session.bound:
            raise StatementError("42000", "the session is bound to its graph")
        elif session.transaction:
            raise StatementError("25000", "a transaction is active")
        else:
            session.graph = statement.name
        return NOTHING

    def _parameters(self, request: wire.ExecuteRequest) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for parameter in request.params:
            kind = parameter.value.WhichOneof("kind")
            if kind == "list_val" and not self.dialect.list_parameters:
                raise StatementError("42000", "a list cannot be a parameter")
            if not self.dialect.map_parameters and _has_map(parameter.value):
                raise StatementError("42000", "a map cannot be a parameter")
            try:
                found[parameter.name] = from_wire(parameter.value)
            except (ValueError, ArithmeticError) as error:
                raise StatementError("22000", str(error)) from error
        return found

    # faults

    def _before(self, message: str, text: str, connection: Wire) -> list[Fault]:
        met = self.faults.of(message, text, connection.transport)
        if message == "execute" and self.delay:
            connection.closed.wait(self.delay)
        for fault in met:
            if fault.kind == "slow":
                connection.closed.wait(fault.seconds)
            elif fault.kind == "drop_before":
                raise Dropped
            elif fault.kind == "error" and message != "hello":
                raise StatementError(fault.code, fault.message)
        return met

    def _after(self, met: list[Fault], connection: Wire) -> None:
        for fault in met:
            if fault.kind == "late":
                connection.closed.wait(fault.seconds)
            elif fault.kind == "drop_after":
                raise Dropped
            elif fault.kind == "no_reply":
                raise NoReply

    def _disturbed(
        self, answer: list[wire.ExecutionResponse], met: list[Fault], connection: Wire
    ) -> Iterator[wire.ExecutionResponse]:
        for fault in met:
            disturb = _DISTURBANCES.get(fault.kind)
            if disturb:
                answer = disturb(answer, fault)
        yield from answer
        if _met(met, "silence"):
            connection.closed.wait()


def error_response(code: str, message: str) -> wire.ExecutionResponse:
    """An error as an answer to a statement."""
    return wire.ExecutionResponse(error=wire.Error(code=code, message=message, type="error"))


NOTHING = list(responses((), (), 1))
_TRANSACTION_TEXT = re.compile(
    r"(?:BEGIN|START\s+TRANSACTION|COMMIT|ROLLBACK|SET\s+TRANSACTION|SESSION)\b", re.IGNORECASE
)


def _query(
    target: Any, text: str, parameters: dict[str, Any], page_rows: int
) -> list[wire.ExecutionResponse]:
    try:
        result = target.execute(text, parameters) if parameters else target.execute(text)
        rows = list(result)
    except (RuntimeError, ValueError, TypeError) as error:
        raise _statement_error(error) from error
    return list(responses(result.columns, rows, page_rows))


def _change_schema(database: Any, change: SchemaChange) -> list[wire.ExecutionResponse]:
    try:
        if change.kind == "DROP":
            _drop(database, change)
        else:
            _make(database, change)
    except RuntimeError as error:
        raise _statement_error(error) from error
    return NOTHING


def _names(database: Any, what: str) -> set[str]:
    return {row["name"] for row in database.execute(f"SHOW {what}")}


def _drop(database: Any, change: SchemaChange) -> None:
    plain = change.name.strip("`")
    dropped = False
    for what, kind in (("INDEXES", "INDEX"), ("CONSTRAINTS", "CONSTRAINT")):
        if plain in _names(database, what):
            database.execute(f"DROP {kind} {change.name}")
            dropped = True
    if not dropped and not change.only_if:
        raise StatementError("42704", f"{plain} does not exist")


def _make(database: Any, change: SchemaChange) -> None:
    plain = change.name.strip("`")
    if plain in _names(database, "INDEXES") | _names(database, "CONSTRAINTS"):
        if change.only_if:
            return
        raise StatementError("42710", f"{plain} already exists")
    columns = ", ".join(f"n.{name}" for name in change.properties)
    on = f"FOR (n:{change.label}) ON ({columns})"
    if change.unique and _doubled(database, change):
        raise StatementError("23505", f"{change.label} has equal values of {columns}")
    if change.kind != "NOT NULL":  # a constraint without its index makes each insert a scan
        database.execute(f"CREATE INDEX {change.name} {on}")
    if change.kind == "NOT NULL":
        database.execute(f"CREATE CONSTRAINT {change.name} {on} NOT NULL")
    elif change.unique:
        database.execute(f"CREATE CONSTRAINT {change.name} {on} UNIQUE")


def _doubled(database: Any, change: SchemaChange) -> bool:
    values = ", ".join(f"n.{name} AS v{at}" for at, name in enumerate(change.properties))
    present = " AND ".join(f"v{at} IS NOT NULL" for at in range(len(change.properties)))
    found: list[dict[str, int]] = database.execute(
        f"MATCH (n:{change.label}) WITH {values}, count(n) AS many "
        f"WHERE many > 1 AND {present} RETURN count(*) AS doubled"
    )
    return any(row["doubled"] > 0 for row in found)


def _statement_error(error: Exception) -> StatementError:
    if isinstance(error, StatementError):
        return error
    text = str(error)
    if "UNIQUE constraint violation" in text:
        return StatementError("23505", text)
    if "Constraint violation" in text:
        return StatementError("23000", text)
    for prefix, code in _CODES:
        if text.startswith(prefix):
            return StatementError(code, text)
    return StatementError("58000" if isinstance(error, RuntimeError) else "22000", text)


_CODES = (
    ("GRAFEO-Q006", "22000"),
    ("GRAFEO-Q", "42000"),
    ("GRAFEO-V", "22000"),
    ("GRAFEO-T001", "40001"),
    ("GRAFEO-T003", "40001"),
    ("GRAFEO-T", "25000"),
)


def _open_transaction(session: Session) -> Any:
    transaction, session.transaction = session.transaction, None
    if not transaction:
        raise StatementError("25000", "no transaction is active")
    return transaction


def _has_map(value: wire.Value) -> bool:
    if value.WhichOneof("kind") == "list_val":
        return any(_has_map(item) for item in value.list_val.values)
    return bool(value.WhichOneof("kind") == "map_val")


def _met(met: list[Fault], *kinds: str) -> Fault | None:
    return next((fault for fault in met if fault.kind in kinds), None)


Answer = list[wire.ExecutionResponse]


def _heartbeat(answer: Answer, fault: Fault) -> Answer:
    return [answer[0], wire.ExecutionResponse(heartbeat=wire.Heartbeat()), *answer[1:]]


def _oversize(answer: Answer, fault: Fault) -> Answer:
    return list(responses(["x"], [{"x": "x" * OVERSIZE}], 1))


def _no_page(answer: Answer, fault: Fault) -> Answer:
    return answer[:1]


def _status_only(answer: Answer, fault: Fault) -> Answer:
    return [wire.ExecutionResponse(status=wire.Status(status_class="00", status_subclass="000"))]


def _error_mid_stream(answer: Answer, fault: Fault) -> Answer:
    return [*_silence(answer, fault), error_response(fault.code, fault.message)]


def _silence(answer: Answer, fault: Fault) -> Answer:
    first = wire.ExecutionResponse()
    first.CopyFrom(answer[1])
    first.page.final = False
    return [answer[0], first]


def _no_schema(answer: Answer, fault: Fault) -> Answer:
    return answer[1:]


def _same_names(answer: Answer, fault: Fault) -> Answer:
    first = wire.ExecutionResponse()
    first.CopyFrom(answer[0])
    for column in first.schema.columns:
        column.name = "x"
    return [first, *answer[1:]]


def _truncated(answer: Answer, fault: Fault) -> Answer:
    first = wire.ExecutionResponse()
    first.CopyFrom(answer[1])
    del first.page.rows[(len(first.page.rows) + 1) // 2 :]
    first.page.final = True
    return [answer[0], first]


_DISTURBANCES: dict[str, Callable[[Answer, Fault], Answer]] = {
    "heartbeat": _heartbeat,
    "oversize": _oversize,
    "no_page": _no_page,
    "status_only": _status_only,
    "error_mid_stream": _error_mid_stream,
    "silence": _silence,
    "no_schema": _no_schema,
    "same_names": _same_names,
    "truncated": _truncated,
}
