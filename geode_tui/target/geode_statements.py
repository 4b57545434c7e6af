"""Statements for Geode: patterns of shapes, values as the wire holds them, rows by the thousand.

Names are plain (Geode knows no quoted ones): `clean` makes them so. Values go as parameters only.
The wire has no dates and times: they go as ISO 8601 text, with a zone in UTC, and come back by the
type that the property is declared with.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from geode_tui.errors import GeodeTuiError, LostError
from geode_tui.mapping.model import OF, RUN
from geode_tui.target.geode_dialect import (
    EACH,
    Dialect,
    clean_up,
    new_mark,
    probe,
    probe_reading,
)
from geode_tui.target.geode_names import clean
from geode_tui.target.geode_session import (
    Answer,
    Session,
    Sessions,
    StatementError,
    TooLargeError,
    again,
)
from geode_tui.target.model import Key, NodeShape, RelationshipKey, RelationshipShape

named = lru_cache(maxsize=100_000)(clean)

_ROW = re.compile(r"\brow\.([A-Za-z_]\w*)")
_TOKENS = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`]|``)*`""",
    re.DOTALL,
)
_TEMPORAL = (date, time)
_ASK_ROWS = 2_000
_CREATE, _CREATES = "CREATE (n:", 20


class Statements:
    """Runs statements for a target; each method may be called from several threads."""

    def __init__(self, sessions: Sessions, dialect: Dialect) -> None:
        self._sessions = sessions
        self.dialect = dialect

    @classmethod
    def known(cls, sessions: Sessions, dialect: Dialect) -> Statements:
        """For a server of which this was found out; only connect. Raises ConnectError."""
        with sessions.lent():
            return cls(sessions, dialect)

    @classmethod
    def probed(cls, sessions: Sessions, *, writing: bool) -> Statements:
        """Find out what the server understands. Raises ConnectError, GeodeTuiError."""
        mark = new_mark()
        try:
            with _told("the probe"), sessions.lent() as session:
                work = probe(session, mark) if writing else probe_reading(session)
                return cls(sessions, sessions.wait(work))
        except LostError as error:
            if writing:
                with contextlib.suppress(Exception), sessions.lent() as session:
                    sessions.wait(clean_up(session, mark))
            raise LostError(error.what, error.why, "try again") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction over a connection of its own; what is raised within rolls it back."""
        with self._sessions.lent() as session:
            self._sessions.wait(session.begin())
            try:
                yield Transaction(self._sessions, session, self.dialect)
            except BaseException:
                if not session.broken:
                    self._sessions.wait(session.rollback())
                raise
            self._sessions.wait(session.commit())

    def run(self, text: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one statement by itself; one that another transaction is in the way of, again."""
        given = {name: to_wire(value) for name, value in (parameters or {}).items()}

        def once() -> Answer:
            with self._sessions.lent() as session:
                return self._sessions.wait(session.run(text, given))

        with _told(text):
            return again(once)

    def looked(self, text: str) -> Answer:
        """Run one statement in a transaction that is rolled back: what it changes is taken back."""
        with _told(text), self._sessions.lent() as session:
            self._sessions.wait(session.begin(read_only=True))
            try:
                return self._sessions.wait(session.run(text))
            finally:
                if not session.broken:
                    self._sessions.wait(session.rollback())

    def number(self, text: str, parameters: Mapping[str, Any] | None = None) -> int:
        """The number that a statement returns, 0 where it returns none."""
        rows = self.run(text, parameters).rows
        return int(rows[0][0] or 0) if rows else 0

    def ask(
        self,
        text: str,
        rows: Sequence[Mapping[str, Any]],
        fixed: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """What a reading statement on `row` returns for rows that all have the same names."""
        found: list[tuple[Any, ...]] = []
        for begin in range(0, len(rows), _ASK_ROWS):
            part = rows[begin : begin + _ASK_ROWS]

            def once(part: Sequence[Mapping[str, Any]] = part) -> Answer:
                with self._sessions.lent() as session:
                    reading = Transaction(self._sessions, session, self.dialect)
                    return reading.on_rows(text, part, fixed)

            with _told(text):
                found += again(once).rows
        return found

    def stream(
        self, text: str, parameters: Mapping[str, Any] | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement page by page."""
        given = {name: to_wire(value) for name, value in (parameters or {}).items()}
        return self._sessions.streamed(text, given)

    def change[T](self, work: Callable[[Transaction], T], doing: str = "a change") -> T:
        """Do some work in one transaction; again where another one was in the way.

        `doing` says what was done, where the server refuses it.
        """

        def once() -> T:
            with self.transaction() as open_:
                return work(open_)

        with _told(doing):
            return again(once)


class Transaction:
    """An open transaction, or (for reading) a connection without one."""

    def __init__(self, sessions: Sessions, session: Session, dialect: Dialect) -> None:
        self._sessions = sessions
        self._session = session
        self._dialect = dialect

    def run(self, text: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one statement. Raises StatementError, LostError."""
        given = {name: to_wire(value) for name, value in (parameters or {}).items()}
        return self._sessions.wait(self._session.run(text, given))

    def on_rows(
        self,
        text: str,
        rows: Sequence[Mapping[str, Any]],
        fixed: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Run a statement on `row` for rows that all have the same names."""
        if not rows:
            return Answer((), [])
        names = list(rows[0])
        columns = [wire_column([row[name] for row in rows]) for name in names]
        return self.on_columns(text, names, columns, fixed)

    def on_columns(
        self,
        text: str,
        names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        fixed: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Run a statement on `row` for columns of wire values."""
        given = {name: to_wire(value) for name, value in (fixed or {}).items()}
        if self._dialect.rows == EACH:
            several = self._dialect.several and text.startswith(_CREATE)
            run = self._several if several else self._each
            return run(text, names, columns, given)
        statement = self._dialect.through + text
        return self._sessions.send_rows(self._session, statement, names, columns, given)

    def _each(
        self,
        text: str,
        names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        fixed: Mapping[str, Any],
    ) -> Answer:
        """One statement for each row, whose values are scalar parameters."""
        statement = _ROW.sub(r"$row_\1", text)
        used = {name for name in names if f"$row_{name}" in statement}
        answer, found = Answer((), []), []
        for row in zip(*columns, strict=True):
            pairs = zip(names, row, strict=True)
            given = {f"row_{name}": value for name, value in pairs if name in used}
            answer = self._sessions.wait(self._session.run(statement, {**given, **fixed}))
            found += answer.rows
        return Answer(answer.columns, found)

    def _several(
        self,
        text: str,
        names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        fixed: Mapping[str, Any],
    ) -> Answer:
        """One statement for some rows: a CREATE clause for each, whose values are parameters."""
        clause = text.replace(_CREATE, "CREATE (:", 1)
        rows = list(zip(*columns, strict=True))
        for begin in range(0, len(rows), _CREATES):
            part = rows[begin : begin + _CREATES]
            clauses = [_ROW.sub(rf"$row{n}_\1", clause) for n in range(len(part))]
            given = {
                f"row{n}_{name}": value
                for n, row in enumerate(part)
                for name, value in zip(names, row, strict=True)
            }
            self._sessions.wait(self._session.run(" ".join(clauses), {**given, **fixed}))
        return Answer((), [])


@contextlib.contextmanager
def _told(text: str) -> Iterator[None]:
    """Turn what Geode refused into an error for a person."""
    try:
        yield
    except StatementError as error:
        raise error.told(text) from error
    except TooLargeError as error:
        raise GeodeTuiError(
            "a statement is larger than the server takes", str(error), "see docs/geode.md"
        ) from error


told = _told


# -- patterns -------------------------------------------------------------------------------------


def labelled(variable: str, shape: NodeShape) -> str:
    """The pattern of a shape's nodes; where its label is shared, of its rule: see `given_of`."""
    mark = f" {{{OF}: ${variable}_of}}" if OF in shape.key else ""
    return f"({variable}:{named(shape.label)}{mark})"


def given_of(**shapes: NodeShape) -> dict[str, Any]:
    """The parameters that `labelled` needs, by variable."""
    return {f"{name}_of": shape.of for name, shape in shapes.items() if OF in shape.key}


def keyed_node(variable: str, shape: NodeShape, prefix: str) -> str:
    """The pattern of the node whose key is `row.{prefix}0`, `row.{prefix}1`, …"""
    fields = ", ".join(f"{named(name)}: row.{prefix}{n}" for n, name in enumerate(shape.key))
    return f"({variable}:{named(shape.label)} {{{fields}}})"


def led(shape: RelationshipShape, variable: str = "r") -> str:
    """The middle of a relationship's pattern: `-[r:HAS]->`."""
    return f"-[{variable}:{named(shape.type)}]->"


def related(shape: RelationshipShape) -> str:
    """The pattern `(a)-[r]->(b)` of a shape's relationships; see `given_ends`."""
    return f"{labelled('a', shape.start)}{led(shape)}{labelled('b', shape.end)}"


def given_ends(shape: RelationshipShape) -> dict[str, Any]:
    """The parameters that `related` needs."""
    return given_of(a=shape.start, b=shape.end)


def returned(variable: str, names: Sequence[str]) -> list[str]:
    """What to RETURN for properties, without aliases."""
    return [f"{variable}.{named(name)}" for name in names]


def numbered(items: Sequence[str]) -> str:
    """A list to RETURN whose columns have names of their own: equal ones would fall together."""
    return ", ".join(f"{item} AS c{n}" for n, item in enumerate(items))


def told_apart(columns: Sequence[str]) -> list[str]:
    """The names of columns, with a number where one comes again: rows go by name."""
    names: list[str] = []
    for column in columns:
        free = (f"{column}_{n}" for n in itertools.count(2))
        names.append(
            next(
                name
                for name in (column, *itertools.islice(free, len(columns)))
                if name not in names
            )
        )
    return names


def key_row(shape: NodeShape, key: Key, prefix: str) -> dict[str, Any]:
    """The values that `keyed_node` looks for."""
    return {f"{prefix}{n}": value for n, value in enumerate(key[: len(shape.key)])}


def relationship_row(shape: RelationshipShape, key: RelationshipKey) -> dict[str, Any]:
    """The values that identify a relationship: of its ends `a…` and `b…`, of its own key `o…`."""
    start, end, own = key
    owned = {f"o{n}": value for n, value in enumerate(own)}
    return key_row(shape.start, start, "a") | key_row(shape.end, end, "b") | owned


def of_run(variable: str) -> str:
    """The condition that the run `$run` wrote it."""
    return f"{variable}.{RUN} = $run"


def plain(statement: str) -> str:
    """A statement whose names in back ticks are plain ones, as Geode takes them.

    What geode-tui writes for other graphs, and shows in reports, runs in Geode too.
    """
    return _TOKENS.sub(lambda found: _unticked(found[0]), statement)


def _unticked(token: str) -> str:
    return named(token[1:-1].replace("``", "`")) if token.startswith("`") else token


# -- values ---------------------------------------------------------------------------------------


def to_wire(value: Any) -> Any:
    """A graph value as the driver carries it without loss."""
    kind = type(value)
    if kind is datetime:
        return _instant(value)
    if isinstance(value, _TEMPORAL):
        return value.isoformat()
    if kind is int and not -(2**63) <= value < 2**63:
        return Decimal(value)
    if kind in (list, tuple):
        return [to_wire(item) for item in value]
    if kind is dict:
        return {name: to_wire(item) for name, item in value.items()}
    return bytes(value) if kind is memoryview else value


_PLAIN = frozenset({str, float, bool, type(None), Decimal, bytes})


def wire_column(values: Sequence[Any]) -> Sequence[Any]:
    """Many graph values as the driver carries them; those that are plain as they are."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        return values
    if kinds <= _PLAIN | {int} and not any(
        type(value) is int and not -(2**63) <= value < 2**63 for value in values
    ):
        return values
    return [to_wire(value) for value in values]


def _instant(value: datetime) -> str:
    return (value.astimezone(UTC) if value.tzinfo else value).isoformat()


_READ: dict[str, Callable[[str], Any]] = {
    "DATE": date.fromisoformat,
    "TIME": time.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
    "TIMESTAMPTZ": datetime.fromisoformat,
    "DECIMAL": Decimal,
}


def from_wire(value: Any, graph_type: str) -> Any:
    """A value that was read as its declared type says; one that is not of the type stays."""
    if isinstance(value, list) and graph_type.startswith("LIST<"):
        return [
            from_wire(item, graph_type if isinstance(item, list) else graph_type[5:-1])
            for item in value
        ]
    if graph_type == "DECIMAL" and type(value) in (int, float):
        return Decimal(str(value))
    if graph_type == "INT" and type(value) is Decimal and value == value.to_integral_value():
        return int(value)
    if graph_type == "FLOAT" and type(value) is int:
        return float(value)
    read = _READ.get(graph_type) if type(value) is str else None
    if read is None:
        return value
    try:
        return read(value)
    except (ValueError, ArithmeticError):
        return value  # somebody else's, or changed by hand: the check shows it


@lru_cache(maxsize=10_000)
def types_of(shape: NodeShape | RelationshipShape) -> dict[str, str]:
    """The declared types of a shape's properties."""
    return dict(zip(shape.properties, shape.types, strict=False))


@lru_cache(maxsize=10_000)
def _names_back(shape: NodeShape | RelationshipShape) -> dict[str, str]:
    return {named(name): name for name in (*shape.properties, *shape.key)}


def restored(shape: NodeShape | RelationshipShape, found: Mapping[str, Any]) -> dict[str, Any]:
    """Properties as they were read, under the mapping's names and with declared types.

    A property that is null is not there.
    """
    names, types = _names_back(shape), types_of(shape)
    values = {}
    for plain, value in found.items():
        if value is not None:
            name = names.get(plain, plain)
            values[name] = from_wire(value, types.get(name, ""))
    return values


def typed_key(shape: NodeShape | RelationshipShape, values: Sequence[Any]) -> Key:
    """A key that was read, with declared types."""
    types = types_of(shape)
    pairs = zip(shape.key, values, strict=True)
    return tuple([from_wire(value, types.get(name, "")) for name, value in pairs])
