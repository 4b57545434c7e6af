"""Values of the wire and values of Grafeo, both ways, and rows in pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from geode_client.proto import geode_pb2 as wire

_INT64 = range(-(2**63), 2**63)
_DURATION = {"months", "days", "nanos"}
_OWN_OF_NODE = ("_id", "_labels")
_OWN_OF_EDGE = ("_id", "_source", "_target", "_type")


def from_wire(value: wire.Value) -> Any:
    """What Grafeo takes for a value of the wire; extended values become their text or number."""
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_val":
        return None
    if kind == "bool_val":
        return value.bool_val
    if kind == "decimal_val":
        return _decimal(value.decimal_val)
    if kind == "list_val":
        return [from_wire(item) for item in value.list_val.values]
    if kind == "map_val":
        return {entry.key: from_wire(entry.value) for entry in value.map_val.entries}
    if kind == "ext_val":
        return getattr(value.ext_val, value.ext_val.WhichOneof("data") or "type_name")
    if kind in ("int_val", "double_val", "string_val", "bytes_val"):
        return getattr(value, kind).value
    raise ValueError(f"a {kind} cannot be a parameter")


def _decimal(value: wire.DecimalValue) -> Decimal:
    if value.orig_repr:
        return Decimal(value.orig_repr)
    sign, digits, _ = Decimal(value.coeff or "0").as_tuple()
    return Decimal((sign, digits, -value.scale))


def to_wire(value: Any) -> wire.Value:
    """The wire's form of a value that Grafeo returned; temporal values go out as ISO text."""
    kind = type_name(value)
    if kind == "NULL":
        return wire.Value(null_val=wire.NullValue())
    if kind == "BOOL":
        return wire.Value(bool_val=value)
    if kind == "INT":
        return wire.Value(int_val=wire.IntValue(value=value, kind=wire.INT))
    if kind == "DOUBLE":
        return wire.Value(double_val=wire.DoubleValue(value=value, kind=wire.DOUBLE))
    if kind == "BYTEA":
        return wire.Value(bytes_val=wire.BytesValue(value=bytes(value), kind=wire.BYTEA))
    if kind == "DECIMAL":
        return _decimal_to_wire(Decimal(value))
    if kind == "LIST":
        return wire.Value(list_val=wire.ListValue(values=[to_wire(item) for item in value]))
    if kind == "NODE":
        return wire.Value(node_val=_node(value))
    if kind == "EDGE":
        return wire.Value(edge_val=_edge(value))
    if kind == "PATH":
        nodes = [_node(node) for node in value["nodes"]]
        edges = [_edge(edge) for edge in value["edges"]]
        return wire.Value(path_val=wire.PathValue(nodes=nodes, edges=edges))
    if kind == "MAP":
        return wire.Value(map_val=wire.MapValue(entries=_entries(value, ())))
    text = _duration(value) if kind == "INTERVAL" else _text(value)
    return wire.Value(string_val=wire.StringValue(value=text, kind=wire.STRING))


def type_name(value: Any) -> str:
    """The name of a value's type as a column of the wire calls it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "BOOL"
    if isinstance(value, int):
        return "INT" if value in _INT64 else "DECIMAL"
    if isinstance(value, datetime):
        return "TIMESTAMPTZ" if value.tzinfo else "TIMESTAMP"
    if isinstance(value, dict):
        return _map_type(value)
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "STRING"


_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (str, "STRING"),
    (float, "DOUBLE"),
    (Decimal, "DECIMAL"),
    ((bytes, bytearray), "BYTEA"),
    ((list, tuple), "LIST"),
    (date, "DATE"),
    (time, "TIME"),
)


def _map_type(value: dict[str, Any]) -> str:
    if "_id" in value and "_labels" in value:
        return "NODE"
    if "_id" in value and "_source" in value and "_target" in value:
        return "EDGE"
    if value.keys() == {"nodes", "edges"} and all(type_name(n) == "NODE" for n in value["nodes"]):
        return "PATH"
    return "INTERVAL" if value.keys() == _DURATION else "MAP"


def column_types(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """A type for each column; ANY where the values differ in type or all are null."""
    found = []
    for column in columns:
        names = {type_name(row[column]) for row in rows} - {"NULL"}
        found.append(names.pop() if len(names) == 1 else "ANY")
    return found


def responses(
    columns: Sequence[str], rows: Sequence[dict[str, Any]], page_rows: int
) -> Iterator[wire.ExecutionResponse]:
    """A schema, then one page or more, the last of them marked final."""
    types = column_types(columns, rows)
    definitions = [
        wire.ColumnDefinition(name=name, type=kind)
        for name, kind in zip(columns, types, strict=True)
    ]
    yield wire.ExecutionResponse(schema=wire.SchemaDefinition(columns=definitions))
    for start in range(0, max(len(rows), 1), page_rows):
        final = start + page_rows >= len(rows)
        yield page(columns, rows[start : start + page_rows], final)


def page(
    columns: Sequence[str], rows: Iterable[dict[str, Any]], final: bool
) -> wire.ExecutionResponse:
    """One page of rows."""
    packed = [wire.Row(values=[to_wire(row[column]) for column in columns]) for row in rows]
    return wire.ExecutionResponse(page=wire.DataPage(rows=packed, final=final))


def _node(value: dict[str, Any]) -> wire.NodeValue:
    entries = _entries(value, _OWN_OF_NODE)
    return wire.NodeValue(id=value["_id"], labels=value["_labels"], properties=entries)


def _edge(value: dict[str, Any]) -> wire.EdgeValue:
    return wire.EdgeValue(
        id=value["_id"],
        from_id=value["_source"],
        to_id=value["_target"],
        label=value["_type"],
        properties=_entries(value, _OWN_OF_EDGE),
    )


def _entries(value: dict[str, Any], without: tuple[str, ...]) -> list[wire.MapEntry]:
    return [
        wire.MapEntry(key=key, value=to_wire(item))
        for key, item in value.items()
        if key not in without
    ]


def _decimal_to_wire(value: Decimal) -> wire.Value:
    if not value.is_finite():
        return wire.Value(string_val=wire.StringValue(value=str(value), kind=wire.STRING))
    text = format(value, "f")
    scale = len(text.partition(".")[2])
    decimal = wire.DecimalValue(
        coeff=str(int(text.replace(".", ""))), scale=scale, orig_scale=scale, orig_repr=text
    )
    return wire.Value(decimal_val=decimal)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _duration(value: dict[str, int]) -> str:
    seconds, nanos = divmod(abs(value["nanos"]), 1_000_000_000)
    sign = "-" if value["nanos"] < 0 else ""
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"P{value['months']}M{value['days']}DT{sign}{seconds}{fraction}S"
