"""Values as the bytes of Geode's wire, exactly those that its driver would send.

The driver builds one message object a value, which is the slowest part of a migration. Here whole
columns are turned into bytes at once: what is the same for all values of a column (tags, the key,
lengths) is made once, and the rest is joined by a few calls a column.

A row is an element of a list: `list_val` of `map_val`, one entry a column. Below, a *payload*
is the content of one value, and a *head* is all that comes before it within its entry.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import Any

MOST_LEVELS = 100
"""Messages within messages that protobuf reads. The driver cannot send more either."""

MOST_PLACES = 20_000
"""PostgreSQL's numbers have up to 16,383 decimal places; written out, others could fill memory."""

# The level of a parameter's value: in a parameter, in a request, in a message of QUIC. A list adds
# itself and the value of an element, a map itself, an entry and its value.
_PARAMETER_LEVEL = 4
_IN_LIST, _IN_MAP = 2, 3
_CELL_LEVEL = _PARAMETER_LEVEL + _IN_LIST + _IN_MAP
_I64_MIN, _I64_MAX = -(2**63), 2**63 - 1
_I128_MIN, _I128_MAX = -(2**127), 2**127 - 1
_U64 = 2**64 - 1
_LOW14 = 2**14 - 1
_I128_SAFE_DIGITS = 38  # every number of so many digits is within i128
_KNOWN_LENGTHS = 1024  # heads are kept for payloads up to this length
_KNOWN_DECIMALS = 64  # and for decimals whose text is so long
_WRITTEN_OTHERWISE = re.compile(rb"[^-0-9.\n]")  # an exponent, infinity, not a number

# Varints: two bytes that go on, and whole numbers of one or two bytes.
_GOES_ON = [bytes((low & 127 | 128, low >> 7 | 128)) for low in range(2**14)]
_SHORT = [bytes((n,)) if n < 128 else bytes((n & 127 | 128, n >> 7)) for n in range(2**14)]
# A field that is zero is not sent.
_SHORT_OR_NOTHING = [b"", *_SHORT[1:]]

_NULL = b"\x0a\x00"
_FALSE = b"\x20\x00"
_TRUE = b"\x20\x01"
_KIND = b"\x10\x01"  # IntKind.INT, StringKind.STRING, BytesKind.BYTEA: all 1
_INT, _TEXT, _BYTES = b"\x12", b"\x2a", b"\x3a"
_DECIMAL, _LIST, _MAP = b"\x32", b"\x42", b"\x4a"
_VARINT_FIELD, _BYTES_FIELD = b"\x08", b"\x0a"
_DOUBLE_HEAD = b"\x1a\x09\x09"
_ZERO_BITS = struct.pack("<d", 0.0)

Parts = Sequence[Iterable[bytes]]
"""A column in parts: the bytes of a row's entry are those of all parts at its position, joined."""


def varint(number: int) -> bytes:
    """`number` (0 .. 2**64 - 1) as a varint, low seven bits first."""
    if number <= _LOW14:
        return _SHORT[number]
    parts = []
    while number > _LOW14:
        parts.append(_GOES_ON[number & _LOW14])
        number >>= 14
    return b"".join(parts) + _SHORT[number]


def encode_rows(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[bytes]:
    """Each row as bytes: one element of the `list_val` that holds them all, with tag and length.

    `columns` hold the values column by column, all of the same length; `names` are their keys and
    differ from each other. Joined, the rows are the content of a `list_val`. Raises `ValueError`
    for what the driver refuses: an integer beyond 64 bits, lists or maps nested deeper than
    protobuf reads (more than 45 lists or 30 maps), text with lone surrogates.
    """
    if len(names) != len(columns) or len(set(names)) != len(names):
        raise ValueError("every column needs a name of its own")
    if len({len(column) for column in columns}) > 1:
        raise ValueError("the columns are not of the same length")
    parts: list[Iterable[bytes]] = []
    for name, column in zip(names, columns, strict=True):
        parts.extend(_column_parts(_entry(name), column))
    rows = list(map(b"".join, zip(*parts, strict=True)))
    return list(map(b"".join, zip(map(_ROW_HEADS.__getitem__, map(len, rows)), rows, strict=True)))


def refused_rows(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> dict[int, str]:
    """Why rows cannot be sent, by their position: what to ask when `encode_rows` raised."""
    reasons: dict[int, str] = {}
    for name, column in zip(names, columns, strict=True):
        for position, value in enumerate(column):
            try:
                encode_value(value, _CELL_LEVEL)
            except ValueError as error:
                reasons.setdefault(position, f"{name}: {error}")
    return reasons


def encode_value(value: Any, level: int = _PARAMETER_LEVEL) -> bytes:
    """The bytes of a `Value` message that holds `value`; `level` counts the messages around it.

    Three things are sent where the driver fails: a `memoryview` as the bytes it shows, a decimal of
    thousands of digits as text, and so one of more than `MOST_PLACES` decimal places. Raises
    `ValueError` as `encode_rows` does.
    """
    if level >= MOST_LEVELS:
        raise ValueError("lists or maps are nested too deeply to be sent")
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return _int_value(value)
    if isinstance(value, float):
        return _double_value(value)
    if isinstance(value, str):
        return _text_value(str.encode(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return _contents(_BYTES, bytes(value))
    if isinstance(value, Decimal):
        return _decimal_value(value)
    if isinstance(value, list | tuple):
        return _list_value(value, level)
    if isinstance(value, dict):
        return _map_value(value, level)
    return _text_value(str(value).encode())


def field(tag: bytes, content: bytes) -> bytes:
    """A field of bytes, text or a message: tag, length, content."""
    return b"".join((tag, varint(len(content)), content))


# --- one value ------------------------------------------------------------------------------


def _int_value(value: int) -> bytes:
    payload = _int_payload(value)
    if not payload:
        return field(_INT, _KIND)
    return field(_INT, _VARINT_FIELD + payload + _KIND)


def _int_payload(value: int) -> bytes:
    if 0 <= value <= _LOW14:
        return _SHORT_OR_NOTHING[value]
    if not _I64_MIN <= value <= _I64_MAX:
        raise ValueError(f"the integer {_shortened(value)} does not fit into 64 bits")
    return varint(value & _U64)


def _shortened(value: int) -> str:
    if value.bit_length() > 1_000:
        return f"of {value.bit_length()} bits"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _double_value(value: float) -> bytes:
    bits = struct.pack("<d", value)
    return b"\x1a\x00" if bits == _ZERO_BITS else _DOUBLE_HEAD + bits


def _text_value(text: bytes) -> bytes:
    return _contents(_TEXT, text)


def _contents(tag: bytes, payload: bytes) -> bytes:
    """A message of a content and its kind: text or bytes."""
    if not payload:
        return field(tag, _KIND)
    return field(tag, field(_BYTES_FIELD, payload) + _KIND)


def _decimal_value(value: Decimal) -> bytes:
    plain = _written_out(value)
    whole, _, fraction = plain.partition(".")
    coefficient = _coefficient(whole, fraction) if plain else ""
    if not coefficient or not _within_i128(coefficient):
        return _text_value(str(value).encode())
    return _decimal_message(coefficient.encode(), len(fraction), plain.encode())


def _written_out(value: Decimal) -> str:
    """The number without exponent; empty for what is none, beyond i128, or too long for that."""
    if not value.is_finite() or (value and value.adjusted() > _I128_SAFE_DIGITS):
        return ""
    exponent = value.as_tuple().exponent
    return "" if int(exponent) < -MOST_PLACES else format(value, "f")


def _within_i128(coefficient: str) -> bool:
    if len(coefficient) <= _I128_SAFE_DIGITS:
        return True
    # Python refuses to read thousands of digits as a number.
    return len(coefficient) < 50 and _I128_MIN <= int(coefficient) <= _I128_MAX


def _coefficient(whole: str, fraction: str) -> str:
    """The digits of a number without its point, without leading zeros, with its sign."""
    if whole[0] == "-":
        digits = (whole[1:] + fraction).lstrip("0")
        return "-" + digits if digits else "0"
    return (whole + fraction).lstrip("0") or "0"


def _decimal_message(coefficient: bytes, scale: int, plain: bytes) -> bytes:
    middle = _scales(scale)
    return field(
        _DECIMAL, field(b"\x0a", coefficient) + middle + b"\x22" + varint(len(plain)) + plain
    )


def _scales(scale: int) -> bytes:
    if not scale:
        return b""
    number = varint(scale)
    return b"\x10" + number + b"\x18" + number


def _list_value(values: Iterable[Any], level: int) -> bytes:
    level += _IN_LIST
    return field(_LIST, b"".join([field(b"\x0a", encode_value(value, level)) for value in values]))


def _map_value(values: dict[Any, Any], level: int) -> bytes:
    level += _IN_MAP
    entries = [
        field(b"\x0a", _key(str(key)) + field(b"\x12", encode_value(value, level)))
        for key, value in values.items()
    ]
    return field(_MAP, b"".join(entries))


def _key(name: str) -> bytes:
    return field(b"\x0a", name.encode()) if name else b""


# --- heads ----------------------------------------------------------------------------------


class _Heads(dict[int, bytes]):
    """Heads by the length of what follows; those of long contents are not kept."""

    def __missing__(self, length: int) -> bytes:
        head = self.make(length)
        if length < _KNOWN_LENGTHS:
            self[length] = head
        return head

    def make(self, length: int) -> bytes:
        raise NotImplementedError


class _RowHeads(_Heads):
    """What comes before the entries of a row, by their length together."""

    def make(self, length: int) -> bytes:
        inner = _MAP + varint(length)
        return b"\x0a" + varint(len(inner) + length) + inner


_ROW_HEADS = _RowHeads()


class _ContentHeads(_Heads):
    """What comes before text, bytes or the varint of an integer, within the entry of a column."""

    def __init__(self, entry: _Entry, tag: bytes, number: bool = False) -> None:
        super().__init__()
        self._entry, self._tag, self._number = entry, tag, number

    def make(self, length: int) -> bytes:
        inner = b""
        if length:
            inner = _VARINT_FIELD if self._number else _BYTES_FIELD + varint(length)
        message = len(inner) + length + len(_KIND)
        inner = self._tag + varint(message) + inner
        return self._entry.head(len(inner) + length + len(_KIND)) + inner


class _DecimalHeads(dict[tuple[int, int, int], tuple[bytes, bytes]]):
    """What comes before the coefficient of a decimal, and between it and the decimal's text.

    By the lengths of both, and the position of the text's point (-1 without).
    """

    def __init__(self, entry: _Entry) -> None:
        super().__init__()
        self._entry = entry

    def __missing__(self, shape: tuple[int, int, int]) -> tuple[bytes, bytes]:
        coefficient, text, point = shape
        scale = text - 1 - point if point >= 0 else 0
        first = b"\x0a" + varint(coefficient)
        second = _scales(scale) + b"\x22" + varint(text)
        message = len(first) + coefficient + len(second) + text
        inner = _DECIMAL + varint(message)
        made = self._entry.head(len(inner) + message) + inner + first, second
        if text < _KNOWN_DECIMALS:
            self[shape] = made
        return made


class _Entry:
    """What one column puts around its values: the entry's tag and length, the key."""

    def __init__(self, name: str) -> None:
        self._key = _key(name) + b"\x12"
        self.null = self.whole(_NULL)
        self.false_or_true = (self.whole(_FALSE), self.whole(_TRUE))
        self.zero = self.whole(_double_value(0.0))
        self.double = self.head(11) + _DOUBLE_HEAD
        self.doubles = struct.Struct(f"<{len(self.double)}sd")
        self.texts = _ContentHeads(self, _TEXT)
        self.ints = _ContentHeads(self, _INT, number=True)
        self.blobs = _ContentHeads(self, _BYTES)
        self.decimals = _DecimalHeads(self)

    def head(self, length: int) -> bytes:
        """What comes before a `Value` message of `length` bytes."""
        inner = self._key + varint(length)
        return b"\x0a" + varint(len(inner) + length) + inner

    def whole(self, value: bytes) -> bytes:
        """The whole entry of one encoded value."""
        return self.head(len(value)) + value


@lru_cache(maxsize=512)
def _entry(name: str) -> _Entry:
    return _Entry(name)


# --- columns --------------------------------------------------------------------------------


def _column_parts(entry: _Entry, column: Sequence[Any]) -> Parts:
    """One column in parts, by the function for its type; mixed columns value by value."""
    types = set(map(type, column))
    if type(None) in types and len(types) == 2:
        types.discard(type(None))
        function = _BY_TYPE.get(types.pop())
        if function is not None:
            known = [value for value in column if value is not None]
            return _with_nulls(entry, column, function(entry, known))
    elif len(types) == 1:
        function = _BY_TYPE.get(types.pop())
        if function is not None:
            return function(entry, column)
    whole = entry.whole
    return [[whole(encode_value(value, _CELL_LEVEL)) for value in column]]


def _with_nulls(entry: _Entry, column: Sequence[Any], parts: Parts) -> Parts:
    spread: list[Iterable[bytes]] = []
    null = entry.null
    for part in parts:
        step = iter(part)
        spread.append([null if value is None else next(step) for value in column])
        null = b""  # the whole entry is in the first part
    return spread


def _nulls(entry: _Entry, column: Sequence[None]) -> Parts:
    return [repeat(entry.null, len(column))]


def _bools(entry: _Entry, column: Sequence[bool]) -> Parts:
    return [list(map(entry.false_or_true.__getitem__, column))]


def _texts(entry: _Entry, column: Sequence[str]) -> Parts:
    return _sized(entry.texts, list(map(str.encode, column)))


def _blobs(entry: _Entry, column: Sequence[bytes]) -> Parts:
    return _sized(entry.blobs, column)


def _sized(heads: _Heads, payloads: Sequence[bytes]) -> Parts:
    before = list(map(heads.__getitem__, map(len, payloads)))
    return [before, payloads, repeat(_KIND, len(payloads))]


def _ints(entry: _Entry, column: Sequence[int]) -> Parts:
    return _sized(entry.ints, _int_payloads(column))


def _int_payloads(column: Sequence[int]) -> list[bytes]:
    low, high = min(column), max(column)
    if low >= 0 and high <= _LOW14:
        return list(map(_SHORT_OR_NOTHING.__getitem__, column))
    go_on, short, low14 = _GOES_ON, _SHORT, _LOW14
    if low > _LOW14 and high < 2**28:
        return [go_on[n & low14] + short[n >> 14] for n in column]
    if low >= 2**28 and high < 2**42:
        return [go_on[n & low14] + go_on[n >> 14 & low14] + short[n >> 28] for n in column]
    return list(map(_int_payload, column))


def _doubles(entry: _Entry, column: Sequence[float]) -> Parts:
    entries = list(map(entry.doubles.pack, repeat(entry.double), column))
    if 0.0 in column:  # of either sign: only the positive one is left out
        written, short = entry.double + _ZERO_BITS, entry.zero
        entries = [short if each == written else each for each in entries]
    return [entries]


def _decimals(entry: _Entry, column: Sequence[Decimal]) -> Parts:
    """Decimals written without exponent are taken apart as text, all at once."""
    text = "\n".join(map(str, column)).encode()
    if _WRITTEN_OTHERWISE.search(text):
        return [[entry.whole(_decimal_value(value)) for value in column]]
    texts = text.split(b"\n")
    coefficients = text.replace(b".", b"").split(b"\n")
    if b"-" in text:
        coefficients = list(map(_signed_coefficient, coefficients))
    else:
        coefficients = [digits.lstrip(b"0") or b"0" for digits in coefficients]
    if max(map(len, coefficients)) > _I128_SAFE_DIGITS:
        return [[entry.whole(_decimal_value(value)) for value in column]]
    points = map(bytes.find, texts, repeat(b"."))
    shapes = zip(map(len, coefficients), map(len, texts), points, strict=True)
    before, between = zip(*map(entry.decimals.__getitem__, shapes), strict=True)
    return [before, coefficients, between, texts]


def _signed_coefficient(digits: bytes) -> bytes:
    if digits.startswith(b"-"):
        positive = digits[1:].lstrip(b"0")
        return b"-" + positive if positive else b"0"
    return digits.lstrip(b"0") or b"0"


_BY_TYPE: dict[type, Callable[[_Entry, Any], Parts]] = {
    type(None): _nulls,
    bool: _bools,
    int: _ints,
    float: _doubles,
    str: _texts,
    bytes: _blobs,
    Decimal: _decimals,
}
