"""Every PostgreSQL type's graph type, and the SQL that converts, guards and digests its values.

PostgreSQL does the conversion: the SELECT's columns are already graph values. What a graph value
cannot hold exactly (NaN in a DECIMAL, infinity in a DATE, an array that does not start at 1) is
told by `carried`, and the row goes to the dead letters; it is never rounded or nulled in silence.

The canonical text of a value is the same in SQL (here) and in Python (`validation.digest`), after
the forms that were fuzzed against PostgreSQL 15 and 18.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from geode_tui.catalog import DataType

Sql = exp.Expr

SCALARS = (
    "BOOL",
    "INT",
    "FLOAT",
    "DECIMAL",
    "STRING",
    "BYTES",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
)
GRAPH_TYPES = (*SCALARS, *(f"LIST<{scalar}>" for scalar in SCALARS))
DECIMAL_DIGITS = 38
"""Most digits of an exact DECIMAL: a signed 128-bit coefficient (Geode's wire and Grafeo)."""

_NATURAL = {
    "bool": "BOOL",
    "int2": "INT",
    "int4": "INT",
    "int8": "INT",
    "oid": "INT",
    "float4": "FLOAT",
    "float8": "FLOAT",
    "numeric": "DECIMAL",
    "bytea": "BYTES",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "text": "STRING",
    "varchar": "STRING",
    "bpchar": "STRING",
}
_NOTES = {
    "json": "kept as JSON text",
    "jsonb": "kept as JSON text",
    "uuid": "kept as text",
    "interval": "kept as ISO 8601 duration text",
    "timetz": "kept as text",
    "money": "kept as text with the C locale's format",
    "bpchar": "the padding of char(n) is kept",
    "float4": "widened to 64 bits, the value is the same",
    "timestamptz": "the instant in UTC; PostgreSQL keeps no zone either",
}
# The embedded graph keeps a list of floats as 32-bit vector: 1.1 would come back changed.
_NO_LIST = frozenset({"float8"})
_PLAIN_TEXT = frozenset({"text", "varchar", "citext", "name", "char", "uuid"})


@dataclass(frozen=True, slots=True)
class Conversion:
    """How a column of some type becomes a graph value.

    `value` gives the SQL of the graph value; `carried` the SQL condition under which the value
    arrives exactly (None: always); `canonical` the SQL of the value's canonical text. `note` says
    in words what becomes of it, `exact` whether nothing is lost when `carried` holds.
    """

    graph_type: str
    value: Callable[[Sql], Sql]
    carried: Callable[[Sql], Sql] | None
    canonical: Callable[[Sql], Sql]
    note: str = ""
    exact: bool = True


def cast(value: Sql, type_name: str) -> Sql:
    """SQL `CAST(value AS type_name)`; `type_name` is the server's own (quoted) spelling."""
    # Never parsed: a parser would say BIT for `bit varying`, which cuts values.
    to = exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=type_name)
    return exp.Cast(this=value, to=to)


def function(name: str, *arguments: Sql) -> Sql:
    """SQL call of a PostgreSQL function by its plain name."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def text(value: str) -> Sql:
    """SQL string literal."""
    return exp.Literal.string(value)


def default_type(data_type: DataType) -> str:
    """The graph type that a column of `data_type` gets when nobody says otherwise."""
    resolved = data_type.resolved()
    if resolved.kind == "array" and resolved.base is not None:
        element = resolved.base.resolved()
        if element.name in _NO_LIST:
            return "STRING"
        if element.kind == "base" and element.name in _NATURAL:
            return f"LIST<{_NATURAL[element.name]}>"
        if element.kind == "enum" or element.name in _PLAIN_TEXT:
            return "LIST<STRING>"
        return "STRING"
    return _NATURAL.get(resolved.name, "STRING") if resolved.kind == "base" else "STRING"


def possible_types(data_type: DataType) -> tuple[str, ...]:
    """The graph types a column of `data_type` can become, the default first."""
    default = default_type(data_type)
    others = {"DECIMAL": ("FLOAT", "STRING"), "INT": ("DECIMAL", "FLOAT", "STRING")}
    rest = others.get(default, ("STRING",))
    return (default, *(t for t in rest if t != default))


def conversion(data_type: DataType, graph_type: str) -> Conversion:
    """The conversion of a column of `data_type` to `graph_type`.

    Raises ValueError, naming what is possible, where there is none.
    """
    if graph_type not in possible_types(data_type):
        choices = ", ".join(possible_types(data_type))
        raise ValueError(f"{data_type.declared} cannot become {graph_type}; possible: {choices}")
    resolved = data_type.resolved()
    if graph_type.startswith("LIST<"):
        return _list(resolved, graph_type)
    return _scalar(resolved, graph_type)


def _scalar(resolved: DataType, graph_type: str) -> Conversion:
    name, note = resolved.name, _NOTES.get(resolved.name, "")
    guard: Callable[[Sql], Sql] | None
    match graph_type:
        case "BOOL":
            return Conversion("BOOL", _same, None, lambda v: cast(cast(v, "int"), "text"))
        case "INT":
            return Conversion("INT", _as("bigint"), None, _as("text"))
        case "FLOAT":
            exact = name in ("float4", "float8", "int2", "int4", "oid")
            note = note if exact else "rounded to the nearest 64-bit float"
            return Conversion("FLOAT", _as("float8"), None, _float_canonical, note, exact)
        case "DECIMAL":
            guard = _decimal_carried if name == "numeric" else None
            return Conversion("DECIMAL", _as("numeric"), guard, _decimal_canonical)
        case "BYTES":
            return Conversion("BYTES", _same, None, lambda v: function("encode", v, text("hex")))
        case "DATE":
            return Conversion("DATE", _same, _between("date", "", ""), _as("text"))
        case "TIME":
            return Conversion("TIME", _same, _before_midnight, _micros)
        case "TIMESTAMP":
            guard = _between("timestamp", " 00:00:00", " 23:59:59.999999")
            return Conversion("TIMESTAMP", _same, guard, _micros)
        case "TIMESTAMPTZ":
            guard = _between("timestamptz", " 00:00:00+00", " 23:59:59.999999+00")
            return Conversion("TIMESTAMPTZ", _same, guard, _micros, note)
    if name == "bpchar":
        return Conversion("STRING", _same, None, _padded, note)
    if not note and name not in _PLAIN_TEXT and resolved.kind != "enum":
        note = f"kept as the text that PostgreSQL prints for {resolved.declared}"
    return Conversion("STRING", _as("text"), None, _as("text"), note)


def _list(resolved: DataType, graph_type: str) -> Conversion:
    assert resolved.base is not None
    element = resolved.base.resolved()
    inner = _scalar(element, graph_type[5:-1])
    listed = {"STRING": "text", "INT": "bigint", "FLOAT": "float8", "DECIMAL": "numeric"}
    array = listed.get(inner.graph_type)
    keep = element.name == "bpchar" or array is None
    value = _same if keep else _as(f"{array}[]")
    return Conversion(
        graph_type,
        value,
        lambda v: _list_carried(v, inner),
        lambda v: _list_canonical(v, inner),
        "the list's bounds start at 1",
        inner.exact,
    )


def _same(value: Sql) -> Sql:
    return value.copy()


def _as(type_name: str) -> Callable[[Sql], Sql]:
    return lambda value: cast(value, type_name)


def _padded(value: Sql) -> Sql:
    return _unless_null(value, function("concat", value))


def _unless_null(value: Sql, then: Sql) -> Sql:
    return exp.Case().when(exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null())), then)


def _float_canonical(value: Sql) -> Sql:
    double = cast(value, "float8")
    is_nan = exp.EQ(this=double, expression=cast(text("NaN"), "float8"))
    plus_zero = exp.paren(exp.Add(this=double.copy(), expression=cast(text("0"), "float8")))
    sent = function("encode", function("float8send", plus_zero), text("hex"))
    return exp.Case().when(is_nan, text("7ff8000000000000")).else_(sent)


def _decimal_canonical(value: Sql) -> Sql:
    return cast(function("trim_scale", cast(value, "numeric")), "text")


def _decimal_carried(value: Sql) -> Sql:
    """Finite and at most 38 digits; NaN and infinity compare as greater than every number."""
    number = cast(value, "numeric")
    limit = cast(text(f"1e{DECIMAL_DIGITS}"), "numeric")
    scale = function("scale", number)
    size = exp.LT(this=function("abs", number), expression=limit)
    ten_to_scale = function("power", cast(text("10"), "numeric"), cast(scale, "numeric"))
    coefficient = function("abs", exp.Mul(this=number.copy(), expression=ten_to_scale))
    few_decimals = exp.LTE(this=scale, expression=exp.Literal.number(DECIMAL_DIGITS))
    return (
        exp.Case()
        .when(exp.Not(this=exp.paren(size)), exp.false())
        .when(exp.Not(this=exp.paren(few_decimals)), exp.false())
        .else_(exp.LT(this=coefficient, expression=limit.copy()))
    )


def _between(type_name: str, low: str, high: str) -> Callable[[Sql], Sql]:
    return lambda value: exp.Between(
        this=value.copy(),
        low=cast(text(f"0001-01-01{low}"), type_name),
        high=cast(text(f"9999-12-31{high}"), type_name),
    )


def _before_midnight(value: Sql) -> Sql:
    return exp.LT(this=value.copy(), expression=cast(text("24:00"), "time"))


def _micros(value: Sql) -> Sql:
    epoch = exp.Extract(this=exp.var("EPOCH"), expression=value.copy())
    million = exp.Mul(this=epoch, expression=exp.Literal.number(1_000_000))
    return cast(cast(exp.paren(million), "bigint"), "text")


def _list_carried(value: Sql, inner: Conversion) -> Sql:
    dims = exp.Coalesce(this=function("array_dims", value), expressions=[text("")])
    from_one = exp.Not(this=exp.RegexpLike(this=dims, expression=text(r"\[(?!1:)")))
    if inner.carried is None:
        return from_one
    element = exp.column("e", table="u", quoted=True)
    bad = exp.and_(
        exp.Not(this=exp.Is(this=element, expression=exp.Null())),
        exp.Not(this=exp.paren(inner.carried(element))),
    )
    one = exp.Literal.number(1)
    return exp.and_(from_one, exp.Not(this=exp.Exists(this=_unnest(one, value, bad))))


def _unnest(selected: Sql, value: Sql, where: Sql | None = None) -> exp.Select:
    call = function("unnest", value)
    source = exp.Alias(
        this=exp.Anonymous(this="unnest", expressions=call.expressions),
        alias=exp.TableAlias(
            this=exp.to_identifier("u", quoted=True),
            columns=[exp.to_identifier("e", quoted=True)],
        ),
    )
    query = exp.select(selected).from_(source)
    return query.where(where) if where is not None else query


def _list_canonical(value: Sql, inner: Conversion) -> Sql:
    element = exp.column("e", table="u", quoted=True)
    parts = function("string_agg", field_text(inner.canonical(element)), text(""))
    joined = exp.Subquery(this=_unnest(parts, value))
    dims = exp.Coalesce(this=function("array_dims", value), expressions=[text("")])
    body = exp.Coalesce(this=joined, expressions=[text("")])
    return _unless_null(value, exp.DPipe(this=dims, expression=body))


def field_text(canonical: Sql) -> Sql:
    """SQL of one field of a digest: the text with its length before it, `-` for null."""
    length = cast(function("length", canonical), "text")
    framed = exp.DPipe(
        this=exp.DPipe(this=length, expression=text(":")), expression=exp.paren(canonical.copy())
    )
    return exp.Coalesce(this=framed, expressions=[text("-")])
