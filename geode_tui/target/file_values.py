"""Graph values as text and back without loss: as JSON, and as a cell of CSV.

JSON has no dates, decimals or bytes, and CSV has no types at all. The type that a property is
declared with says how its values are written and read; a value of another type is refused, never
bent. A property without a declared type (`ANY`) says the type with each value that needs it.
"""

from __future__ import annotations

import json
import math
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from json.encoder import encode_basestring
from json.scanner import make_scanner
from types import NoneType
from typing import Any

ANY = "ANY"
"""The type of a property whose values may be of any type, maps too."""
_TYPE, _VALUE = "$type", "$value"
_FLOATS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_FLOAT_NAMES = frozenset(_FLOATS.values())
_NULL_ITEM, _EMPTY_ITEM, _NESTED = "\\N", "\\e", "\\J"
_ITEM = re.compile(r"((?:[^\\;]|\\.)*+)(;|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\;])")


_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class BadValueError(ValueError):
    """A value that does not fit its type; the text says why, without the value."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the values of one graph type are written and read.

    `written` are the Python types of its values, `never` subtypes of those that are not. A value
    read from JSON that is of a type in `ready` is the value already; of a type in `readable` it
    goes through `from_json`. `to_text` is the plain text of a value, `quoted` says that a cell of
    CSV always has quotes around it, so that an empty text and null are told apart.
    """

    graph_type: str
    written: frozenset[type]
    never: tuple[type, ...]
    to_json: Callable[[Any], str]
    ready: frozenset[type]
    readable: frozenset[type]
    from_json: Callable[[Any], Any]
    to_text: Callable[[Any], str]
    from_text: Callable[[str], Any]
    quoted: bool = False

    def json_column(self, values: Sequence[Any]) -> list[str]:
        """The JSON of each value. Raises BadValueError."""
        return self._encoded(values, self.to_json, "null")

    def text_column(self, values: Sequence[Any]) -> list[str]:
        """The plain text of each value; None gives an empty one. Raises BadValueError."""
        return self._encoded(values, self.to_text, "")

    def cell_column(self, values: Sequence[Any]) -> list[str]:
        """The cell of CSV of each value; None gives an empty one. Raises BadValueError."""
        texts = self.text_column(values)
        if not self.quoted:
            return texts
        return [
            cell_of(text) if value is not None else ""
            for text, value in zip(texts, values, strict=True)
        ]

    def values_of_json(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values that were written as JSON, from what a JSON reader made of it.

        Raises BadValueError.
        """
        kinds = set(map(type, values))
        nulls = NoneType in kinds
        kinds.discard(NoneType)
        if kinds <= self.ready:
            return values
        if not kinds <= self.readable:
            raise BadValueError(f"{_kind_of_json(kinds - self.readable)} is no {self.graph_type}")
        with _Refusing(self.graph_type):
            read = self.from_json
            if nulls:
                return [None if value is None else read(value) for value in values]
            return [read(value) for value in values]

    def values_of_cells(self, cells: Sequence[str]) -> list[Any]:
        """The values that were written as cells of CSV. Raises BadValueError."""
        read = self.from_text
        if read is _text:
            return [text_of(cell) if cell else None for cell in cells]
        with _Refusing(self.graph_type):
            return [read(text_of(cell)) if cell else None for cell in cells]

    def values_of_texts(self, texts: Sequence[str | None]) -> list[Any]:
        """The values that were written as plain texts, None as it is. Raises BadValueError."""
        with _Refusing(self.graph_type):
            return [None if text is None else self.from_text(text) for text in texts]

    def _encoded(self, values: Sequence[Any], write: Callable[[Any], str], null: str) -> list[str]:
        kinds = set(map(type, values))
        nulls = NoneType in kinds
        kinds.discard(NoneType)
        if not kinds <= self.written:
            self._refuse(kinds - self.written)
        with _Refusing(self.graph_type):
            if nulls:
                return [null if value is None else write(value) for value in values]
            return list(map(write, values))

    def _refuse(self, kinds: set[type]) -> None:
        for kind in kinds:
            fits = self.written and issubclass(kind, tuple(self.written))
            if not fits or issubclass(kind, self.never):
                raise BadValueError(f"a value of type {kind.__name__} is no {self.graph_type}")


class _Refusing:
    """What a codec's functions raise becomes one error."""

    def __init__(self, graph_type: str) -> None:
        self._graph_type = graph_type

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, BadValueError):
            return
        if isinstance(error, (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)):
            raise BadValueError(f"a value is no {self._graph_type}") from error
        if isinstance(error, RecursionError):
            raise BadValueError("a value is nested too deep") from error


@cache
def codec_of(graph_type: str) -> Codec:
    """The codec of a graph type of `mapping.types`, or of `ANY`. Raises ValueError for others."""
    if graph_type.startswith("LIST<") and graph_type.endswith(">"):
        return _list_codec(graph_type, codec_of(graph_type[5:-1]))
    if graph_type == ANY:
        return _ANY
    if graph_type not in _SCALARS:
        raise ValueError(f"there is no type {graph_type}")
    return _SCALARS[graph_type]


def quoted_json(text: str) -> str:
    """A text as JSON."""
    return encode_basestring(text)


def cell_of(text: str) -> str:
    """A text as a cell of CSV, quoted."""
    return f'"{text}"' if '"' not in text else '"' + text.replace('"', '""') + '"'


def text_of(cell: str) -> str:
    """The text of a cell of CSV that is not empty."""
    return cell[1:-1].replace('""', '"') if cell[0] == '"' else cell


def joined_text(texts: Iterable[str | None]) -> str:
    """Several texts as one, separated by `;`; what separates or escapes is escaped."""
    parts = [_NULL_ITEM if text is None else _escaped(text) for text in texts]
    return _EMPTY_ITEM if parts == [""] else ";".join(parts)


def split_text(text: str) -> list[str | None]:
    """The texts that `joined_text` joined. Raises BadValueError."""
    if not text:
        return []
    if "\\" not in text:
        return list(text.split(";"))
    items: list[str | None] = []
    place = 0
    while True:
        found = _ITEM.match(text, place)
        if found is None:
            raise BadValueError("a list ends in the middle of an escape")
        items.append(_unescaped(found[1]))
        if not found[2]:
            return items
        place = found.end()


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace(";", "\\;") if ";" in text else text


def _unescaped(item: str) -> str | None:
    if item == _NULL_ITEM:
        return None
    if item == _EMPTY_ITEM:
        return ""
    if "\\" not in item:
        return item
    plain = _ESCAPED.sub(r"\1", item)
    if _escaped(plain) != item:
        raise BadValueError("a list has an escape that means nothing")
    return plain


def _strict_constant(name: str) -> Any:
    """Refuses what Python reads and JSON does not know: `NaN` and `Infinity` without quotes."""
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_strict_constant)
scan_json: Callable[[str, int], tuple[Any, int]] = make_scanner(_JSON)  # type: ignore[arg-type]
"""The JSON value that begins at a place of a text, and where it ends. Raises ValueError, or
StopIteration where none begins."""


def _kind_of_json(kinds: set[type]) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    names |= {int: "a number", float: "a number with a fraction"}
    return names.get(next(iter(kinds)), "a value")


def _float_text(value: float) -> str:
    text = float.__repr__(value)
    return _FLOATS.get(text, text)


def _float_json(value: float) -> str:
    text = float.__repr__(value)
    return f'"{_FLOATS[text]}"' if text in _FLOATS else text


def _float_of_json(value: Any) -> float:
    if isinstance(value, str) and value not in _FLOAT_NAMES:
        raise BadValueError("a text is no FLOAT")
    return float(value)


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _in_quotes(write: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: f'"{write(value)}"'


def _decimal_text(value: Decimal) -> str:
    return Decimal.__str__(value)


def _decimal(text: str) -> Decimal:
    # Decimal also takes spaces and underscores, which nobody writes on purpose.
    if "_" in text or text != text.strip():
        raise BadValueError("a value is no DECIMAL")
    return Decimal(text)


def _int(text: str) -> int:
    if "_" in text or text != text.strip():
        raise BadValueError("a value is no INT")
    return int(text)


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode()


def _bytes(text: str) -> bytes:
    return a2b_base64(text, strict_mode=True) if text else b""


def _text(value: str) -> str:
    return value


def _textual(
    graph_type: str,
    kind: type,
    write: Callable[[Any], str],
    read: Callable[[str], Any],
    never: tuple[type, ...] = (),
    quoted: bool = False,
) -> Codec:
    """A type that is a text in JSON, the same as in CSV."""
    in_json, kinds = _in_quotes(write), frozenset({str})
    return Codec(
        graph_type,
        frozenset({kind}),
        never,
        in_json,
        frozenset(),
        kinds,
        read,
        write,
        read,
        quoted,
    )


_SCALARS = {
    "BOOL": Codec(
        "BOOL",
        frozenset({bool}),
        (),
        _bool_text,
        frozenset({bool}),
        frozenset({bool}),
        bool,
        _bool_text,
        {"true": True, "false": False}.__getitem__,
    ),
    "INT": Codec(
        "INT",
        frozenset({int}),
        (bool,),
        int.__repr__,
        frozenset({int}),
        frozenset({int}),
        int,
        int.__repr__,
        _int,
    ),
    "FLOAT": Codec(
        "FLOAT",
        frozenset({float}),
        (),
        _float_json,
        frozenset({float}),
        frozenset({float, int, str}),
        _float_of_json,
        _float_text,
        float,
    ),
    "DECIMAL": _textual("DECIMAL", Decimal, _decimal_text, _decimal),
    "STRING": Codec(
        "STRING",
        frozenset({str}),
        (),
        encode_basestring,
        frozenset({str}),
        frozenset({str}),
        str,
        _text,
        _text,
        True,
    ),
    "BYTES": _textual("BYTES", bytes, _base64, _bytes, quoted=True),
    "DATE": _textual("DATE", date, date.isoformat, date.fromisoformat, (datetime,)),
    "TIME": _textual("TIME", time, time.isoformat, time.fromisoformat),
    "TIMESTAMP": _textual("TIMESTAMP", datetime, datetime.isoformat, datetime.fromisoformat),
    "TIMESTAMPTZ": _textual("TIMESTAMPTZ", datetime, datetime.isoformat, datetime.fromisoformat),
}


def _list_codec(graph_type: str, item: Codec) -> Codec:
    """A list, of lists too: PostgreSQL's arrays have any number of dimensions."""

    def write(value: Sequence[Any]) -> str:
        if not _nested(value):
            return "[" + ",".join(item.json_column(value)) + "]"
        return "[" + ",".join(map(write_item, value)) + "]"

    def write_item(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return write(value)
        return item.json_column((value,))[0]

    def read(value: list[Any]) -> list[Any]:
        if not _nested(value):
            return list(item.values_of_json(value))
        return [
            read(one) if isinstance(one, list) else item.values_of_json((one,))[0] for one in value
        ]

    def to_text(value: Sequence[Any]) -> str:
        if _nested(value):
            return _NESTED + write(value)
        texts = item.text_column(value)
        pairs = zip(texts, value, strict=True)
        return joined_text(None if one is None else text for text, one in pairs)

    def from_text(text: str) -> list[Any]:
        if text.startswith(_NESTED):
            return read(json_value(text[len(_NESTED) :]))
        return [None if part is None else item.from_text(part) for part in split_text(text)]

    return Codec(
        graph_type,
        frozenset({list, tuple}),
        (),
        write,
        frozenset(),
        frozenset({list}),
        read,
        to_text,
        from_text,
        True,
    )


def _nested(value: Sequence[Any]) -> bool:
    return not {list, tuple}.isdisjoint(map(type, value))


def paired_surrogates(text: str) -> bool:
    """Whether two halves of a character stand side by side, which a reader would make one of."""
    return _PAIR.search(text) is not None


def json_value(text: str) -> Any:
    """What a whole JSON text says. Raises ValueError."""
    value, end = _JSON.raw_decode(text)
    if text[end:].strip():
        raise ValueError("there is more after the value")
    return value


def _any_json(value: Any) -> str:
    return json.dumps(_tagged(value), ensure_ascii=False, allow_nan=False)


def _tagged(value: Any) -> Any:
    """A value as JSON knows it; what JSON does not know says its type."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if isinstance(value, (list, tuple)):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        if not all(type(name) is str for name in value):
            raise BadValueError("a map's names must be texts")
        plain = {name: _tagged(item) for name, item in value.items()}
        return {_TYPE: "MAP", _VALUE: plain} if _TYPE in value else plain
    for graph_type in _TAGGED:
        codec = _SCALARS[graph_type]
        if isinstance(value, tuple(codec.written)) and not isinstance(value, codec.never):
            return {_TYPE: graph_type, _VALUE: codec.to_text(value)}
    raise BadValueError(f"a value of type {kind.__name__} has no form in a file")


_TAGGED = ("FLOAT", "DECIMAL", "BYTES", "TIMESTAMP", "DATE", "TIME")


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TYPE not in value:
        return {name: _untagged(item) for name, item in value.items()}
    if set(value) != {_TYPE, _VALUE}:
        raise BadValueError("a value's type is told and its value is not")
    kind, inner = value[_TYPE], value[_VALUE]
    if kind == "MAP" and isinstance(inner, dict):
        return {name: _untagged(item) for name, item in inner.items()}
    if kind in _TAGGED and isinstance(inner, str):
        return _SCALARS[kind].from_text(inner)
    raise BadValueError(f"a value of the type {kind} is not known")


_ANY = Codec(
    ANY,
    frozenset({object}),
    (),
    _any_json,
    frozenset({bool, int, float, str}),
    frozenset({bool, int, float, str, list, dict}),
    _untagged,
    _any_json,
    lambda text: _untagged(json_value(text)),
    True,
)
