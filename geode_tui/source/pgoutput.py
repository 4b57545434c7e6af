"""Decode PostgreSQL's logical replication messages (pgoutput, protocol 1, values as text)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from geode_tui.catalog import TableName
from geode_tui.errors import GeodeTuiError
from geode_tui.source.changes import Begin, Change, Columns, Commit, Event, Message

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_SHOWN_BYTES = 24
_NULL, _UNCHANGED, _TEXT, _BINARY = b"nutb"
_KEY, _OLD, _NEW = b"KON"
_HALF = 2**31

_LSN = struct.Struct(">Q")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_COUNT = struct.Struct(">H")
_OID = struct.Struct(">I")
_size = _OID.unpack_from
_COLUMN = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">IB")
_MESSAGE = struct.Struct(">BQ")


class StreamError(GeodeTuiError):
    """A message of the stream that is not understood: nothing after it may be applied."""


def widened(xid: int, near: int) -> int:
    """The 64-bit transaction id whose low 32 bits are `xid` and that is next to `near`.

    `near` is any 64-bit id of the same cluster that is less than 2^31 transactions away.
    """
    full = (near & ~0xFFFFFFFF) | xid
    if full < near - _HALF:
        return full + 2**32
    return full - 2**32 if full > near + _HALF and full >= 2**32 else full


def position_text(number: int) -> str:
    """A position in the WAL as PostgreSQL writes it, such as `16/B374D848`."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def position_number(position: str) -> int:
    """A position in the WAL as a number: texts of positions cannot be compared."""
    high, _, low = position.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


@dataclass(slots=True)
class _Relation:
    table: TableName
    columns: tuple[str, ...]
    identity: frozenset[str]


class Decoder:
    """Decodes the messages of one peek in their order; each peek needs a decoder of its own.

    `near` is a 64-bit transaction id of about now (see `widened`). A message outside of a
    transaction comes from somebody who sent it so; all other events stand between Begin and
    Commit. The columns of a partition are told beside those of the table that it is published
    as. A value in binary form is refused: text was asked for.
    """

    def __init__(self, near: int) -> None:
        self._near = near
        self._xid: int | None = None
        self._commit = 0
        self._relations: dict[int, _Relation] = {}
        self._rest: dict[int, Callable[[bytes, list[Event]], int]] = {
            ord("B"): self._begin,
            ord("C"): self._end,
            ord("R"): self._relation,
            ord("T"): self._truncate,
            ord("M"): self._message,
            ord("Y"): self._type,
            ord("O"): self._origin,
        }

    @property
    def within(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return self._xid is not None

    def events(self, messages: Iterable[bytes]) -> list[Event]:
        """The events of some messages, in order. Raises StreamError; then decode no more."""
        events: list[Event] = []
        message = b""
        try:
            for message in messages:
                kind = message[0]
                if kind == 73:  # I, U and D come far more often than all others
                    end = self._insert(message, events)
                elif kind == 85:
                    end = self._update(message, events)
                elif kind == 68:
                    end = self._delete(message, events)
                else:
                    end = self._rest[kind](message, events)
                if end != len(message):
                    raise ValueError(f"its end is at byte {end}")
        except KeyError as error:
            raise _refused(message, "nothing of this kind is expected") from error
        except UnicodeDecodeError as error:
            raise _refused(message, "a text in it is not UTF-8") from error
        except (ValueError, OverflowError) as error:
            raise _refused(message, str(error)) from error
        except (IndexError, struct.error) as error:
            raise _refused(message, "it is cut off") from error
        return events

    def _insert(self, data: bytes, events: list[Event]) -> int:
        relation = self._known(data, 1)
        _expect(data[5] == _NEW, "an insert lacks its row")
        new, at = _values(data, 6, relation.columns)
        events.append(Change(relation.table, "insert", {}, new))
        return at

    def _update(self, data: bytes, events: list[Event]) -> int:
        relation = self._known(data, 1)
        old: dict[str, str | None] = {}
        at = 5
        if data[at] != _NEW:
            old, at = _before(data, at, relation)
        _expect(data[at] == _NEW, "an update lacks its new row")
        new, at = _values(data, at + 1, relation.columns)
        events.append(Change(relation.table, "update", old, new))
        return at

    def _delete(self, data: bytes, events: list[Event]) -> int:
        relation = self._known(data, 1)
        old, at = _before(data, 5, relation)
        events.append(Change(relation.table, "delete", old, {}))
        return at

    def _known(self, data: bytes, at: int) -> _Relation:
        """The relation whose id is at a place. It, and the transaction, must have been told."""
        relation = self._relations.get(_OID.unpack_from(data, at)[0])
        if relation is None:
            raise ValueError("it is about a table that was not told")
        if self._xid is None:
            raise ValueError("it comes outside of a transaction")
        return relation

    def _begin(self, data: bytes, events: list[Event]) -> int:
        _expect(self._xid is None, "a transaction begins in another")
        final, committed, xid = _BEGIN.unpack_from(data, 1)
        self._xid, self._commit = widened(xid, self._near), final
        events.append(Begin(self._xid, position_text(final), _moment(committed)))
        return 1 + _BEGIN.size

    def _end(self, data: bytes, events: list[Event]) -> int:
        flags, commit, end, _ = _COMMIT.unpack_from(data, 1)
        _expect(self._xid is not None, "a transaction ends that did not begin")
        _expect(flags == 0 and commit == self._commit, "it ends another transaction")
        assert self._xid is not None
        events.append(Commit(self._xid, position_text(end)))
        self._xid = None
        return 1 + _COMMIT.size

    def _relation(self, data: bytes, events: list[Event]) -> int:
        (oid,) = _OID.unpack_from(data, 1)
        schema, at = _string(data, 5)
        name, at = _string(data, at)
        _expect(data[at] in b"dnfi", "its replica identity is not known")
        (count,) = _COUNT.unpack_from(data, at + 1)
        at += 3
        columns, identity = [], []
        for _ in range(count):
            flags = data[at]
            _expect(flags in (0, 1), "a column has unknown flags")
            column, at = _string(data, at + 1)
            type_oid, _modifier = _COLUMN.unpack_from(data, at)
            at += _COLUMN.size
            columns.append((column, type_oid))
            if flags:
                identity.append(column)
        table = TableName(schema or "pg_catalog", name)
        names = tuple(column for column, _ in columns)
        _expect(len(set(names)) == count, "two columns have one name")
        self._relations[oid] = _Relation(table, names, frozenset(identity))
        events.append(Columns(table, tuple(columns), tuple(identity)))
        return at

    def _truncate(self, data: bytes, events: list[Event]) -> int:
        count, options = _TRUNCATE.unpack_from(data, 1)
        _expect(options < 4, "it has unknown options")
        at = 1 + _TRUNCATE.size
        for _ in range(count):
            events.append(Change(self._known(data, at).table, "truncate", {}, {}))
            at += _OID.size
        return at

    def _message(self, data: bytes, events: list[Event]) -> int:
        flags, _ = _MESSAGE.unpack_from(data, 1)
        _expect(flags in (0, 1), "it has unknown flags")
        _expect(bool(flags) == self.within, "it stands on the wrong side of a transaction")
        prefix, at = _string(data, 1 + _MESSAGE.size)
        size = int(_OID.unpack_from(data, at)[0])
        at += _OID.size
        # Anybody may send any bytes: what is no text must not stop the stream.
        text = data[at : at + size].decode(errors="backslashreplace")
        events.append(Message(prefix, text))
        return at + size

    def _type(self, data: bytes, events: list[Event]) -> int:
        """A type's name: columns tell the oid, which is enough."""
        _, at = _string(data, 1 + _OID.size)
        return _string(data, at)[1]

    def _origin(self, data: bytes, events: list[Event]) -> int:
        """Where a transaction was replicated from: of no concern here."""
        _LSN.unpack_from(data, 1)
        return _string(data, 1 + _LSN.size)[1]


def _values(data: bytes, at: int, columns: tuple[str, ...]) -> tuple[dict[str, str | None], int]:
    """A row and where it ends. A size that is too big leads past the end, which is seen there."""
    if data[at] * 256 + data[at + 1] != len(columns):
        raise ValueError("it has another number of columns")
    at += 2
    values: dict[str, str | None] = {}
    for column in columns:
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + _size(data, at + 1)[0]
            values[column] = str(data[start:at], "utf-8")
        elif kind == _NULL:
            values[column] = None
            at += 1
        elif kind == _UNCHANGED:
            at += 1
        else:
            _expect(kind != _BINARY, "a value is in binary form, text was asked for")
            raise ValueError(f"a value is of the unknown kind {bytes([kind])!r}")
    return values, at


def _before(data: bytes, at: int, relation: _Relation) -> tuple[dict[str, str | None], int]:
    """What is told of the row before: all of it (`O`), or the columns of its identity (`K`)."""
    kind = data[at]
    _expect(kind in (_KEY, _OLD), f"it has an unknown part {bytes([kind])!r}")
    values, at = _values(data, at + 1, relation.columns)
    if kind == _OLD:
        return values, at
    _expect(bool(relation.identity), "it tells a key of a table that has none")
    return {name: values[name] for name in values if name in relation.identity}, at


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _refused(message: bytes, why: str) -> StreamError:
    kind = repr(message[:1])[1:]
    shown = message[:_SHOWN_BYTES].hex(" ") + (" ..." if len(message) > _SHOWN_BYTES else "")
    return StreamError(
        f"a message of the replication stream is not understood: kind {kind}, {len(message)} bytes",
        f"{why}: {shown}",
        "nothing of it was applied; report it with the version of PostgreSQL",
    )
