"""Values as they come from Geode: pages of the driver's messages to plain Python values.

A `double_val` stays a float and a `decimal_val` a `Decimal`, which the driver's own results mix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Any

from geode_tui.errors import GeodeTuiError


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node as the server gives it; `id` is the server's own."""

    id: int
    labels: tuple[str, ...]
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A relationship as the server gives it; `start` and `end` are ids of nodes."""

    id: int
    start: int
    end: int
    type: str
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GraphPath:
    """A path: its nodes and the relationships between them, in order."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def decode_page(page: Any) -> list[tuple[Any, ...]]:
    """The rows of a `DataPage` of the driver, each a tuple of plain values.

    Raises `GeodeTuiError` for a value of a kind that is not known here.
    """
    rows = [row.values for row in page.rows]
    if len({len(row) for row in rows}) != 1:
        return [tuple(map(decode_value, row)) for row in rows]
    columns = [_decode_column(column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True)) if columns else [()] * len(rows)


def _decode_column(column: Sequence[Any]) -> list[Any]:
    """The values of a column, read as the kind of the first one that is not null.

    To ask each value for its kind takes most of the time. What is not empty when it is read as one
    kind is of that kind; only the others (zero, empty text, null, other kinds) are asked.
    """
    read = _READ_AS.get(next((kind for value in column if (kind := _kind(value)) != _NULL), _NULL))
    if read is None:
        return list(map(decode_value, column))
    values = list(map(read, column))
    if all(values):
        return values
    return [found or decode_value(value) for found, value in zip(values, column, strict=True)]


def _kind(value: Any) -> str | None:
    kind: str | None = value.WhichOneof("kind")
    return kind


def decode_value(value: Any) -> Any:
    """One `Value` message of the driver as a plain value."""
    function = _BY_KIND.get(_kind(value))
    if function is None:
        raise GeodeTuiError(
            "The server sent a value of a kind that is not known.",
            "It may be newer than this program.",
            "Look for a newer version of geode-tui.",
        )
    return function(value)


def _null(value: Any) -> None:
    return None


def _int(value: Any) -> int:
    number: int = value.int_val.value
    return number


def _double(value: Any) -> float:
    number: float = value.double_val.value
    return number


def _bool(value: Any) -> bool:
    truth: bool = value.bool_val
    return truth


def _text(value: Any) -> str:
    text: str = value.string_val.value
    return text


def _blob(value: Any) -> bytes:
    content: bytes = value.bytes_val.value
    return content


def _decimal(value: Any) -> Decimal:
    """The number as the server wrote it, else its coefficient, exactly."""
    message = value.decimal_val
    try:
        if message.orig_repr:
            return Decimal(message.orig_repr)
    except InvalidOperation:
        pass
    try:
        sign, digits, exponent = Decimal(message.coeff or "0").as_tuple()
        return Decimal((sign, digits, int(exponent) - message.scale))
    except (InvalidOperation, ValueError) as error:
        raise GeodeTuiError(
            "The server sent a decimal that is not a number.", repr(message.coeff)[:80]
        ) from error


def _list(value: Any) -> list[Any]:
    return [decode_value(item) for item in value.list_val.values]


def _map(value: Any) -> dict[str, Any]:
    return _properties(value.map_val.entries)


def _properties(entries: Any) -> dict[str, Any]:
    return {entry.key: decode_value(entry.value) for entry in entries}


def _node(value: Any) -> GraphNode:
    return _graph_node(value.node_val)


def _graph_node(node: Any) -> GraphNode:
    return GraphNode(node.id, tuple(node.labels), _properties(node.properties))


def _edge(value: Any) -> GraphEdge:
    return _graph_edge(value.edge_val)


def _graph_edge(edge: Any) -> GraphEdge:
    return GraphEdge(edge.id, edge.from_id, edge.to_id, edge.label, _properties(edge.properties))


def _path(value: Any) -> GraphPath:
    path = value.path_val
    return GraphPath(tuple(map(_graph_node, path.nodes)), tuple(map(_graph_edge, path.edges)))


def _extended(value: Any) -> Any:
    """A value of a type of the server's own: its text, bytes or number."""
    message = value.ext_val
    form = message.WhichOneof("data")
    return None if form is None else getattr(message, form)


_NULL = "null_val"
_READ_AS: dict[str | None, Callable[[Any], Any]] = {
    "int_val": attrgetter("int_val.value"),
    "double_val": attrgetter("double_val.value"),
    "bool_val": attrgetter("bool_val"),
    "string_val": attrgetter("string_val.value"),
    "bytes_val": attrgetter("bytes_val.value"),
}
_BY_KIND: dict[str | None, Callable[[Any], Any]] = {
    _NULL: _null,
    "int_val": _int,
    "double_val": _double,
    "bool_val": _bool,
    "string_val": _text,
    "decimal_val": _decimal,
    "bytes_val": _blob,
    "list_val": _list,
    "map_val": _map,
    "node_val": _node,
    "edge_val": _edge,
    "path_val": _path,
    "ext_val": _extended,
}
