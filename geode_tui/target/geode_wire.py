"""Requests to Geode as bytes, bounded in size, and the pages that come back.

The bytes of a request are those that the driver would make of the same parameters. They become a
message of the driver again with `ExecuteRequest.FromString`, which costs little.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from geode_tui.target.geode_decoding import (
    GraphEdge,
    GraphNode,
    GraphPath,
    decode_page,
    decode_value,
)
from geode_tui.target.geode_encoding import (
    encode_rows,
    encode_value,
    field,
    refused_rows,
    varint,
)

__all__ = [
    "GraphEdge",
    "GraphNode",
    "GraphPath",
    "decode_page",
    "decode_value",
    "encode_rows",
    "encode_value",
    "execute_request",
    "refused_rows",
    "requests",
]

MOST_BYTES = 3_000_000
"""A gRPC server takes messages of 4 MiB unless it is told otherwise."""

# Tags: of the request, of a parameter, of a value.
_SESSION, _QUERY, _PARAM = b"\x0a", b"\x12", b"\x1a"
_NAME, _VALUE = b"\x0a", b"\x12"
_LIST = b"\x42"


def execute_request(session_id: str, text: str, parameters: Mapping[str, Any]) -> bytes:
    """The bytes of an `ExecuteRequest`. Raises `ValueError` for values that cannot be sent."""
    return _opening(session_id, text) + _parameters(parameters)


def requests(
    session_id: str,
    text: str,
    names: Sequence[str],
    columns: Sequence[Sequence[Any]],
    fixed: Mapping[str, Any] | None = None,
    rows_name: str = "rows",
    most_bytes: int = MOST_BYTES,
) -> Iterator[tuple[int, int, bytes]]:
    """The requests that send all rows: first row, the row after the last, and the bytes.

    Each has the rows as a list of maps in the parameter `rows_name`, then the parameters `fixed`,
    and is at most `most_bytes` long unless a single row is longer. No rows, no requests. Raises
    `ValueError` for values that cannot be sent, before the first request; `refused_rows` then says
    which rows.
    """
    rows = encode_rows(names, columns)
    opening = _opening(session_id, text)
    closing = _parameters(fixed or {})
    name = _text_field(_NAME, rows_name)
    room = most_bytes - len(opening) - len(closing) - len(_rows_head(name, most_bytes))
    ends = list(accumulate(map(len, rows)))
    first = sent = 0
    while first < len(rows):
        last = max(first + 1, bisect_right(ends, sent + room))
        head = _rows_head(name, ends[last - 1] - sent)
        yield first, last, b"".join((opening, head, *rows[first:last], closing))
        first, sent = last, ends[last - 1]


def _opening(session_id: str, text: str) -> bytes:
    return _text_field(_SESSION, session_id) + _text_field(_QUERY, text)


def _parameters(parameters: Mapping[str, Any]) -> bytes:
    return b"".join(
        [
            field(_PARAM, _text_field(_NAME, name) + field(_VALUE, encode_value(value)))
            for name, value in parameters.items()
        ]
    )


def _text_field(tag: bytes, text: str) -> bytes:
    return field(tag, text.encode()) if text else b""


def _rows_head(name: bytes, size: int) -> bytes:
    """What comes before rows of `size` bytes together, from the tag of their parameter on."""
    rows = _LIST + varint(size)
    value = name + _VALUE + varint(len(rows) + size) + rows
    return _PARAM + varint(len(value) + size) + value
