"""What is sent to Geode is what its driver would send, and what comes back is what was stored."""

from __future__ import annotations

import enum
import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from geode_client.client import Connection
from geode_client.proto.geode_pb2 import (
    DataPage,
    EdgeValue,
    ExecuteRequest,
    ExtendedValue,
    ListValue,
    MapEntry,
    NodeValue,
    Param,
    PathValue,
    QuicClientMessage,
    Row,
    StringValue,
    Value,
)
from geode_client.proto.geode_pb2 import DecimalValue as WireDecimal
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.errors import GeodeTuiError
from geode_tui.target.geode_wire import (
    GraphEdge,
    GraphNode,
    GraphPath,
    decode_page,
    decode_value,
    encode_rows,
    encode_value,
    execute_request,
    refused_rows,
    requests,
)

DRIVER = Connection()


class Loud(str):
    """A text whose `str()` is another text."""

    def __str__(self) -> str:
        return self.upper() + "!"


class Colour(enum.IntEnum):
    RED = 7


class Mood(enum.StrEnum):
    GOOD = "good"


class Money(Decimal):
    def __str__(self) -> str:
        return "money"


class Metres(float):
    pass


class Other:
    def __str__(self) -> str:
        return "an object of ours"


I64 = st.integers(-(2**63), 2**63 - 1)
EDGES = st.sampled_from(
    [
        sign * 2**power + step
        for sign in (1, -1)
        for power in (0, 7, 14, 21, 28, 42, 62)
        for step in (-1, 0, 1)
    ]
    + [2**63 - 1, -(2**63)]
)
TEXT = st.text() | st.sampled_from(["", "🎈", "a\0b", "é" * 70, "x" * 20_000, "日本語"])
DECIMALS = (
    st.decimals(allow_nan=True, allow_infinity=True)
    | st.decimals(places=2, min_value=-(10**6), max_value=10**6)
    | st.sampled_from(
        [Decimal(text) for text in (
            "0", "-0", "0.00", "-0.00", "0E+3", "0E-30", "-0E+7", "1E+3", "-1E+37", "1E+38",
            "2E+38", "1E+39", "1E-30", "1.10", "100", "sNaN", "-Infinity", "1E+500", "007.50",
            "1E+100000", str(2**127 - 1), str(2**127), str(-(2**127)), str(-(2**127) - 1),
            "9" * 38, "9" * 39, "0." + "9" * 60, "0." + "0" * 80 + "1", "12345.6789E-7",
        )]
    )
)  # fmt: skip
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "bool": st.booleans(),
    "int": I64 | EDGES,
    "id": st.integers(0, 20_000),
    "big id": st.integers(2**14, 2**28 - 1),
    "microseconds": st.integers(2**28, 2**42 - 1),
    "float": st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf]),
    "text": TEXT,
    "bytes": st.binary() | st.just(b"y" * 300),
    "bytearray": st.binary().map(bytearray),
    "decimal": DECIMALS,
    "plain decimal": st.decimals(places=3, min_value=0, max_value=10**9),
    "special": st.sampled_from(
        [Loud("quiet"), Loud(""), Colour.RED, Mood.GOOD, Money("1.5"), Metres(2.5), Metres(0.0),
         Other(), {1, }, frozenset()]
    ),
}  # fmt: skip
SCALARS = st.one_of(*KINDS.values())
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT | st.integers() | st.none(), inner, max_size=4)
    ),
    max_leaves=8,
)
CELLS = {**KINDS, "any": SCALARS, "nested": NESTED}
NAMES = st.lists(TEXT, min_size=1, max_size=5, unique=True)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    """Names and columns: of one type, of one type and nulls, or of anything."""
    names = draw(NAMES)
    rows = draw(st.integers(0, 12))
    columns = []
    for _ in names:
        cell = CELLS[draw(st.sampled_from(list(CELLS)))]
        if draw(st.booleans()):
            cell |= st.none()
        columns.append(draw(st.lists(cell, min_size=rows, max_size=rows)))
    return names, columns


def as_dicts(names: list[str], columns: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def driver_value(value: Any) -> Value:
    return DRIVER._python_to_proto_value(value)


def driver_request(session: str, text: str, parameters: dict[str, Any]) -> bytes:
    """As `Connection.query` makes it."""
    params = [Param(name=name, value=driver_value(value)) for name, value in parameters.items()]
    request = ExecuteRequest(session_id=session, query=text, params=params)
    return bytes(request.SerializeToString())


@given(tables())
def test_rows_are_the_bytes_the_driver_would_send(table: tuple[list[str], list[list[Any]]]) -> None:
    """Whatever the values are, a batch of rows is byte for byte the driver's."""
    names, columns = table
    content = b"".join(encode_rows(names, columns))
    assert content == driver_value(as_dicts(names, columns)).list_val.SerializeToString()


@given(NESTED)
def test_a_value_is_the_bytes_the_driver_would_send(value: Any) -> None:
    """Whatever the value is, alone it is byte for byte the driver's."""
    assert encode_value(value) == driver_value(value).SerializeToString()


@given(TEXT, TEXT, st.dictionaries(TEXT, NESTED, max_size=4))
def test_a_request_is_the_bytes_the_driver_would_send(
    session: str, text: str, parameters: dict[str, Any]
) -> None:
    """A statement with parameters is byte for byte the driver's."""
    assert execute_request(session, text, parameters) == driver_request(session, text, parameters)


@given(tables(), st.integers(1, 3_000), st.dictionaries(st.text(min_size=6), SCALARS, max_size=2))
def test_a_split_batch_has_every_row_once(
    table: tuple[list[str], list[list[Any]]], most_bytes: int, fixed: dict[str, Any]
) -> None:
    """Each request is the driver's for its rows, in order, and as small as asked where it can."""
    names, columns = table
    rows = as_dicts(names, columns)
    following = 0
    for first, last, raw in requests("s", "text", names, columns, fixed, "rows", most_bytes):
        assert first == following < last
        assert raw == driver_request("s", "text", {"rows": rows[first:last], **fixed})
        assert len(raw) <= most_bytes or last == first + 1
        following = last
    assert following == len(rows)


def test_a_batch_is_not_split_more_than_needed() -> None:
    """Rows that fit into one request travel in one."""
    columns: list[list[Any]] = [list(range(5_000)), ["some text"] * 5_000]
    assert len(list(requests("s", "q", ["id", "name"], columns))) == 1
    split = list(requests("s", "q", ["id", "name"], columns, most_bytes=100_000))
    assert min(len(raw) for _, _, raw in split[:-1]) > 99_900


def test_text_and_bytes_of_every_length_are_sent_right() -> None:
    """No length between the sizes of a length's own bytes goes wrong."""
    lengths = [*range(300), *range(16_250, 16_400), 2**21 - 1, 2**21, 2**21 + 9]
    columns: list[list[Any]] = [["x" * n for n in lengths], [b"x" * n for n in lengths]]
    for column in columns:
        content = b"".join(encode_rows(["a"], [column]))
        wanted = driver_value([{"a": value} for value in column]).list_val.SerializeToString()
        assert content == wanted


def test_a_number_of_thousands_of_digits_is_sent_as_text() -> None:
    """Python will not let the driver read so many digits; nothing is lost in a text."""
    texts = "9" * 5_000, "0." + "7" * 5_000, "-1." + "0" * 6_000
    for number in map(Decimal, texts):
        with pytest.raises(ValueError, match="4300 digits"):
            driver_value(number)
        assert encode_value(number) == driver_value(str(number)).SerializeToString()
        wanted = driver_value([{"a": str(number)}]).list_val.SerializeToString()
        assert b"".join(encode_rows(["a"], [[number]])) == wanted


def test_a_tiny_number_is_not_written_out() -> None:
    """Its thousand million zeros would fill the memory; its text says the same."""
    tiny = Decimal("1E-999999999")
    assert decode_value(Value.FromString(encode_value(tiny))) == str(tiny)
    assert encode_rows(["a"], [[tiny]]) == encode_rows(["a"], [[str(tiny)]])


def test_rows_that_cannot_be_sent_are_named() -> None:
    """By their position, with the property and the reason; the others can be sent."""
    columns: list[list[Any]] = [[1, 2**63, 3, 4], ["a", "\ud800", "\ud800", nested(46, False)]]
    reasons = refused_rows(["id", "name"], columns)
    assert list(reasons) == [1, 2, 3]
    assert reasons[1] == "id: the integer 9223372036854775808 does not fit into 64 bits"
    assert reasons[2].startswith("name: ")
    assert "too deeply" in reasons[3]
    assert len(encode_rows(["id", "name"], [column[:1] for column in columns])) == 1


def test_a_memoryview_is_sent_as_its_bytes() -> None:
    """The driver would send the name of the object."""
    assert encode_value(memoryview(b"abc")) == driver_value(b"abc").SerializeToString()
    assert encode_rows(["a"], [[memoryview(b"abc")]]) == encode_rows(["a"], [[b"abc"]])


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**20_000], ids=["up", "down", "far"])
def test_an_integer_beyond_64_bits_is_refused(value: int) -> None:
    """As the driver refuses it, alone, in a column and within a list."""
    with pytest.raises((ValueError, OverflowError)):
        driver_value(value)
    for column in ([value], [value, None], [[value]], [1, "a", value]):
        with pytest.raises(ValueError, match="64 bits"):
            encode_rows(["a"], [column])


def nested(levels: int, as_map: bool) -> Any:
    value: Any = None
    for _ in range(levels):
        value = {"a": value} if as_map else [value]
    return value


def driver_over_quic(value: Any) -> bytes:
    """The bytes of a value, made as the driver makes a message for QUIC."""
    param = Param(name="rows", value=driver_value([{"a": value}]))
    message = QuicClientMessage(execute=ExecuteRequest(params=[param]))
    read = QuicClientMessage.FromString(message.SerializeToString())
    return bytes(read.execute.params[0].value.list_val.SerializeToString())


@pytest.mark.parametrize(("as_map", "levels"), [(True, 30), (False, 45)])
def test_nesting_is_refused_where_the_driver_cannot_send_it(as_map: bool, levels: int) -> None:
    """The deepest value that the driver can send is sent; the next one it fails at is refused."""
    deepest, deeper = nested(levels, as_map), nested(levels + 1, as_map)
    assert b"".join(encode_rows(["a"], [[deepest]])) == driver_over_quic(deepest)
    with pytest.raises(DecodeError):
        driver_over_quic(deeper)
    with pytest.raises(ValueError, match="too deeply"):
        encode_rows(["a"], [[deeper]])


def test_text_that_is_not_unicode_is_refused() -> None:
    """A lone surrogate cannot be sent, by the driver neither."""
    with pytest.raises(UnicodeEncodeError):
        encode_rows(["a"], [["\ud800"]])


def test_columns_must_fit_together() -> None:
    """A name twice, a name missing or a column too short never reach the graph."""
    for names, columns in (["a", "a"], [[1], [2]]), (["a"], [[1], [2]]), (["a", "b"], [[1], []]):
        with pytest.raises(ValueError, match="column"):
            encode_rows(names, columns)


def of_the_wire(value: Any) -> Any:
    """A value as it can come back: what has no type on the wire is text, a tuple is a list."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | str):
        return int(value) if isinstance(value, int) else str.__str__(value)
    if isinstance(value, float):
        return ("bits", struct.pack("<d", value)) if not math.isnan(value) else "nan"
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Decimal):
        arm = driver_value(value).WhichOneof("kind")
        return str(value) if arm == "string_val" else ("decimal", format(value, "f"))
    if isinstance(value, list | tuple):
        return [of_the_wire(item) for item in value]
    if isinstance(value, dict):
        return {str(key): of_the_wire(item) for key, item in value.items()}
    return str(value)


@given(tables())
def test_what_was_sent_comes_back(table: tuple[list[str], list[list[Any]]]) -> None:
    """Every value that the wire can hold is read back as it was, numbers to the last digit."""
    names, columns = table
    rows = list(zip(*columns, strict=True))
    page = DataPage()
    for row in rows:
        page.rows.append(Row(values=[Value.FromString(encode_value(cell)) for cell in row]))
    assert names
    assert [of_the_wire(row) for row in decode_page(page)] == [of_the_wire(row) for row in rows]


def test_nodes_relationships_and_paths_are_read() -> None:
    """With their ids, labels and all properties, nested ones too."""
    ada = NodeValue(
        id=2**63,
        labels=["Person", "Customer"],
        properties=[
            MapEntry(key="name", value=driver_value("Ada")),
            MapEntry(key="tags", value=driver_value([1, None, {"a": b"\0"}])),
        ],
    )
    knows = EdgeValue(
        id=5,
        from_id=2**63,
        to_id=4,
        label="KNOWS",
        properties=[MapEntry(key="since", value=driver_value(1.5))],
    )
    node = GraphNode(
        2**63, ("Person", "Customer"), {"name": "Ada", "tags": [1, None, {"a": b"\0"}]}
    )
    edge = GraphEdge(5, 2**63, 4, "KNOWS", {"since": 1.5})
    assert decode_value(Value(node_val=ada)) == node
    assert decode_value(Value(edge_val=knows)) == edge
    path = Value(path_val=PathValue(nodes=[ada, ada], edges=[knows]))
    assert decode_value(path) == GraphPath((node, node), (edge,))
    assert decode_value(Value(list_val=ListValue(values=[Value(node_val=ada)]))) == [node]


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"text": "PT1H"}, "PT1H"),
        ({"bytes": b"\1"}, b"\1"),
        ({"int_val": 0}, 0),
        ({"double_val": 0.5}, 0.5),
        ({"bool_val": False}, False),
        ({}, None),
    ],
)
def test_values_of_the_servers_own_types_are_read(data: dict[str, Any], wanted: Any) -> None:
    """As the text, bytes or number they are sent as."""
    assert decode_value(Value(ext_val=ExtendedValue(type_name="X", **data))) == wanted


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (WireDecimal(coeff="9" * 60, scale=3), Decimal("9" * 57 + "." + "9" * 3)),
        (WireDecimal(coeff="5", scale=1, orig_repr="0.500"), Decimal("0.500")),
        (WireDecimal(coeff="-5", scale=1, orig_repr="five"), Decimal("-0.5")),
        (WireDecimal(), Decimal(0)),
    ],
)
def test_a_decimal_is_read_exactly(message: WireDecimal, wanted: Decimal) -> None:
    """As the server wrote it; else from its coefficient, whatever its length."""
    read = decode_value(Value(decimal_val=message))
    assert read.as_tuple() == wanted.as_tuple()


@pytest.mark.parametrize("coefficient", ["five", "NaN", "Infinity"])
def test_a_decimal_that_is_no_number_is_an_error(coefficient: str) -> None:
    """It is never taken for another value."""
    with pytest.raises(GeodeTuiError, match="not a number"):
        decode_value(Value(decimal_val=WireDecimal(coeff=coefficient)))


def test_a_value_of_an_unknown_kind_is_an_error() -> None:
    """A newer server's kind of value is never taken for null."""
    unknown = Value.FromString(b"\xa2\x01\x03abc")  # field 20
    page = DataPage(rows=[Row(values=[unknown])])
    with pytest.raises(GeodeTuiError, match="kind"):
        decode_page(page)
    with pytest.raises(GeodeTuiError, match="kind"):
        decode_value(Value(list_val=ListValue(values=[unknown])))


def test_a_page_without_rows_or_values_is_read() -> None:
    """No rows, and rows of nothing."""
    assert decode_page(DataPage()) == []
    assert decode_page(DataPage(rows=[Row(), Row()])) == [(), ()]
    uneven = DataPage(rows=[Row(values=[driver_value(1)]), Row()])
    assert decode_page(uneven) == [(1,), ()]
    assert decode_page(DataPage(rows=[Row(values=[Value(string_val=StringValue())])])) == [("",)]
