"""The canonical text of a graph value, and the fingerprint of a row: the twin of the SQL.

`mapping.types` writes the same texts in SQL; the property tests compare the two on a server.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

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
    match graph_type:
        case "BOOL":
            return "1" if value else "0"
        case "INT":
            return str(int(value))
        case "FLOAT":
            return _float(float(value))
        case "DECIMAL":
            return _decimal(Decimal(value))
        case "BYTES":
            return bytes(value).hex()
        case "DATE":
            return value.isoformat() if isinstance(value, date) else str(value)
        case "TIME":
            return str(_of_day(value) // _MICROSECOND)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            return str((in_utc(value) - _EPOCH) // _MICROSECOND)
    return str(value)


def fingerprint(values: Iterable[tuple[Any, str]]) -> int:
    """The 48-bit digest of a row's values, each with its graph type."""
    text = "".join(field_text(canonical(value, kind)) for value, kind in values)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def field_text(text: str | None) -> str:
    """One field of a digest: the text with its length before it, `-` for null."""
    return "-" if text is None else f"{len(text)}:{text}"


def same_value(left: Any, right: Any, graph_type: str) -> bool:
    """Whether two graph values are the same: null is not empty, 1.50 is 1.5, zones are instants."""
    return canonical(left, graph_type) == canonical(right, graph_type)


def in_utc(value: datetime) -> datetime:
    """The instant as a datetime without zone, in UTC."""
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _float(value: float) -> str:
    if math.isnan(value):
        return "7ff8000000000000"
    return struct.pack(">d", value + 0.0).hex()


def _decimal(value: Decimal) -> str:
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


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
