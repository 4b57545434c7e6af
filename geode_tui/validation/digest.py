"""The canonical text of a graph value, and the fingerprint of a row: the twin of the SQL.

`mapping.types` writes the same texts in SQL; the property tests compare the two on a server.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import repeat
from typing import Any

from geode_tui.mapping.model import OF, ROW
from geode_tui.target.model import NodeShape, RelationshipShape

_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def canonical(value: Any, graph_type: str) -> str | None:
    """A graph value's canonical text, None for null."""
    if value is None:
        return None
    if graph_type.startswith("LIST<"):
        return _dimensions(value) + "".join(
            field_text(canonical(item, graph_type[5:-1])) for item in _flat(value)
        )
    return _TEXTS.get(graph_type, str)(value)


def told_properties(shape: NodeShape | RelationshipShape) -> list[tuple[str, str]]:
    """The properties of which a shape's digests tell, with their graph types."""
    pairs = zip(shape.properties, shape.types, strict=True)
    return [(name, kind) for name, kind in pairs if name not in (ROW, OF)]


def told_key(shape: NodeShape) -> list[tuple[int, str]]:
    """Of a node's key what digests of its relationships tell: places in it, and graph types."""
    types = dict(zip(shape.properties, shape.types, strict=True))
    return [(place, types[name]) for place, name in enumerate(shape.key) if name not in (ROW, OF)]


def fingerprint(values: Iterable[tuple[Any, str]]) -> int:
    """The 48-bit digest of a row's values, each with its graph type."""
    text = "".join(field_text(canonical(value, kind)) for value, kind in values)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def told_fingerprint(shape: NodeShape, properties: dict[str, Any]) -> int | None:
    """The digest of what a node holds; None where a value is of another type than its rule's."""
    pairs = [(properties.get(name), kind) for name, kind in told_properties(shape)]
    return fingerprint(pairs) if all(is_of(*pair) for pair in pairs) else None


def fingerprints_of(types: Sequence[str]) -> Callable[[Sequence[Sequence[Any]], int], list[int]]:
    """The function that gives the fingerprints of many rows at once, from their columns.

    `types` are those of the columns; the function is given the columns and the number of rows.
    """
    frames = [_frame_of(kind) for kind in types]

    def fingerprints(columns: Sequence[Sequence[Any]], rows: int) -> list[int]:
        framed = [
            ["-" if value is None else frame(value) for value in column]
            for frame, column in zip(frames, columns, strict=True)
        ]
        texts = map("".join, zip(*framed, strict=True)) if framed else repeat("", rows)
        sha256, number = hashlib.sha256, int.from_bytes
        return [number(sha256(text.encode()).digest()[:6], "big") for text in texts]

    return fingerprints


def _frame_of(graph_type: str) -> Callable[[Any], str]:
    """What makes the field of a value that is not null."""
    if graph_type == "STRING":
        return lambda value: f"{len(value)}:{value}"
    text_of = _TEXTS.get(graph_type)
    if text_of is None:
        return lambda value: field_text(canonical(value, graph_type))
    known: Callable[[Any], str] = text_of

    def frame(value: Any) -> str:
        text = known(value)
        return f"{len(text)}:{text}"

    return frame


def field_text(text: str | None) -> str:
    """One field of a digest: the text with its length before it, `-` for null."""
    return "-" if text is None else f"{len(text)}:{text}"


def same_value(source: Any, graph: Any, graph_type: str) -> bool:
    """Whether the graph holds a value as the type it should have.

    Null is not empty, 1.50 is 1.5, zones are instants; the text `5` is not the number.
    """
    if not is_of(graph, graph_type):
        return False
    return canonical(source, graph_type) == canonical(graph, graph_type)


def is_of(value: Any, graph_type: str) -> bool:
    """Whether a value that a graph gave is null or of a graph type."""
    if value is None:
        return True
    if graph_type.startswith("LIST<"):
        kinds = _KINDS[graph_type[5:-1]]
        return type(value) in _LISTS and all(type(item) in kinds for item in _flat(value))
    return type(value) in _KINDS[graph_type]


def all_of(column: Iterable[Any], graph_type: str) -> bool:
    """Whether all values of a column are null or of a graph type."""
    if graph_type.startswith("LIST<"):
        return all(is_of(value, graph_type) for value in column)
    return set(map(type, column)) <= _KINDS[graph_type]


def in_utc(value: datetime) -> datetime:
    """The instant as a datetime without zone, in UTC."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _date(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _time(value: time) -> str:
    return str(_of_day(value) // _MICROSECOND)


def _instant(value: datetime) -> str:
    return str((in_utc(value) - _EPOCH) // _MICROSECOND)


def _float(value: float) -> str:
    if math.isnan(value):
        return "7ff8000000000000"
    return struct.pack(">d", value + 0.0).hex()


def _decimal(value: Decimal) -> str:
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


_NULL = type(None)
_LISTS = (list, tuple)
_KINDS: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool, _NULL}),
    "INT": frozenset({int, _NULL}),
    "FLOAT": frozenset({float, _NULL}),
    "DECIMAL": frozenset({Decimal, _NULL}),
    "STRING": frozenset({str, _NULL}),
    "BYTES": frozenset({bytes, _NULL}),
    "DATE": frozenset({date, _NULL}),
    "TIME": frozenset({time, _NULL}),
    "TIMESTAMP": frozenset({datetime, _NULL}),
    "TIMESTAMPTZ": frozenset({datetime, _NULL}),
}

_TEXTS: dict[str, Callable[[Any], str]] = {
    "BOOL": lambda value: "1" if value else "0",
    "INT": lambda value: str(int(value)),
    "FLOAT": lambda value: _float(float(value)),
    "DECIMAL": lambda value: _decimal(Decimal(value)),
    "BYTES": lambda value: bytes(value).hex(),
    "DATE": _date,
    "TIME": _time,
    "TIMESTAMP": _instant,
    "TIMESTAMPTZ": _instant,
}


def _of_day(value: time) -> timedelta:
    return timedelta(
        hours=value.hour,
        minutes=value.minute,
        seconds=value.second,
        microseconds=value.microsecond,
    )


def _flat(value: Any) -> Iterable[Any]:
    for item in value:
        if isinstance(item, list | tuple):
            yield from _flat(item)
        else:
            yield item


def _dimensions(value: Any) -> str:
    """`[1:2][1:3]` as PostgreSQL prints it; empty for an empty array."""
    if not isinstance(value, list | tuple) or not value:
        return ""
    return f"[1:{len(value)}]" + _dimensions(value[0])
