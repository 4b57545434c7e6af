"""Every PostgreSQL value becomes the graph value that is stated, or its row says why not."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from geode_tui.catalog import DataType
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.types import Conversion, conversion, default_type, possible_types
from geode_tui.validation.digest import canonical

_INT8 = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_FLOAT = st.floats(allow_nan=True, allow_infinity=True).map(repr)
_NUMERIC = st.one_of(
    st.decimals("-1e30", "1e30", allow_nan=False, allow_infinity=False).map(str),
    st.tuples(st.integers(-(10**40), 10**40), st.integers(-45, 5)).map(lambda p: f"{p[0]}e{p[1]}"),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "-0", "0.00"]),
)
_DATE = st.one_of(
    st.dates().map(lambda d: d.isoformat()),
    st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "12345-01-01"]),
)
_STAMP = st.one_of(
    st.datetimes().map(lambda d: d.isoformat(" ")),
    st.sampled_from(["infinity", "-infinity", "0044-03-15 12:00:00 BC", "12345-01-01 00:00:00"]),
)
_TIME = st.one_of(st.times().map(lambda t: t.isoformat()), st.just("24:00:00"))

VALUES: dict[str, st.SearchStrategy[str]] = {
    "bool": st.booleans().map(str),
    "int2": st.integers(-(2**15), 2**15 - 1).map(str),
    "int8": _INT8.map(str),
    "float4": st.floats(width=32, allow_nan=True).map(repr),
    "float8": _FLOAT,
    "numeric": _NUMERIC,
    "text": _TEXT,
    "bpchar": _TEXT,
    "bytea": st.binary(max_size=20).map(lambda b: "\\x" + b.hex()),
    "date": _DATE,
    "time": _TIME,
    "timestamp": _STAMP,
    "timestamptz": _STAMP,
    "uuid": st.uuids().map(str),
    "interval": st.tuples(st.integers(-99, 99), st.integers(-99, 99)).map(
        lambda p: f"{p[0]} months {p[1]} days"
    ),
}


def _list_text(items: list[str | None]) -> str:
    """An array literal: every element in double quotes, null bare."""
    quoted = (
        "NULL" if i is None else '"' + i.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for i in items
    )
    return "{" + ",".join(quoted) + "}"


ARRAYS = ("int8", "text", "float4", "numeric", "bool", "timestamptz", "date")


async def _converted(dsn: str, how: Conversion, declared: str, texts: list[str]) -> list[Any]:
    """For each text: the graph value, its canonical text by SQL, and whether it is carried."""
    column = exp.column("c", table="t", quoted=True)
    carried = how.carried(column) if how.carried else exp.true()
    guarded = exp.Case().when(carried, how.value(column))
    own = exp.paren(exp.Case().when(carried.copy(), column.copy()))
    parts = ", ".join(e.sql("postgres") for e in (guarded, how.canonical(own), carried))
    sql = f"SELECT {parts} FROM (SELECT v::{declared} AS c FROM unnest($1::text[]) u(v)) t"
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        return [tuple(row) for row in await connection.fetch(sql, texts)]
    finally:
        await connection.close()


def _check(dsn: str, data_type: DataType, texts: list[str]) -> None:
    how = conversion(data_type, default_type(data_type))
    for value, digest_text, carried in asyncio.run(_converted(dsn, how, data_type.declared, texts)):
        if carried:
            assert canonical(value, how.graph_type) == digest_text
        else:
            assert value is None


@pytest.mark.parametrize("name", VALUES)
def test_the_digest_in_sql_is_the_digest_of_the_value_read(
    name: str, postgres: EmbeddedPostgres
) -> None:
    """A value's canonical text is the same when PostgreSQL makes it and when we do."""

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(VALUES[name], min_size=1, max_size=30))
    def holds(texts: list[str]) -> None:
        _check(postgres.dsn(), DataType(name, name), texts)

    holds()


@pytest.mark.parametrize("name", ARRAYS)
def test_lists_keep_their_elements_nulls_and_order(name: str, postgres: EmbeddedPostgres) -> None:
    """Arrays become lists with the same elements, in SQL's digest and in ours."""
    element = DataType(name, name)
    array = DataType(f"{name}[]", f"_{name}", "array", element)

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.lists(
            st.lists(st.one_of(st.none(), VALUES[name]), max_size=6).map(_list_text),
            min_size=1,
            max_size=10,
        )
    )
    def holds(texts: list[str]) -> None:
        _check(postgres.dsn(), array, texts)

    holds()


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("numeric", "NaN"),
        ("numeric", "Infinity"),
        ("numeric", "1" + "0" * 38),
        ("numeric", "0." + "0" * 38 + "1"),
        ("date", "infinity"),
        ("date", "0001-01-01 BC"),
        ("timestamptz", "-infinity"),
        ("timestamp", "10000-01-01"),
        ("time", "24:00"),
        ("int8[]", "[0:1]={1,2}"),
        ("numeric[]", "{1,NaN}"),
    ],
)
def test_a_value_that_the_graph_cannot_hold_is_refused_not_rounded(
    declared: str, text: str, postgres: EmbeddedPostgres
) -> None:
    """What has no exact graph value is told apart, so that its row goes to the dead letters."""
    element = DataType(declared.removesuffix("[]"), declared.removesuffix("[]"))
    whole = DataType(declared, f"_{element.name}", "array", element)
    data_type = whole if declared.endswith("[]") else element
    how = conversion(data_type, default_type(data_type))
    [(value, _, carried)] = asyncio.run(_converted(postgres.dsn(), how, declared, [text]))
    assert not carried
    assert value is None


@pytest.mark.parametrize("text", ["9" * 38, "-" + "9" * 38, "0." + "0" * 37 + "1", "1e-38"])
def test_a_number_of_38_digits_is_carried_exactly(text: str, postgres: EmbeddedPostgres) -> None:
    """The widest decimals that a graph holds are not refused."""
    how = conversion(DataType("numeric", "numeric"), "DECIMAL")
    [(_, _, carried)] = asyncio.run(_converted(postgres.dsn(), how, "numeric", [text]))
    assert carried


def test_a_type_that_is_not_possible_is_refused_with_those_that_are() -> None:
    """Choosing a wrong type names the right ones."""
    boolean = DataType("boolean", "bool")
    assert possible_types(boolean) == ("BOOL", "STRING")
    with pytest.raises(ValueError, match="possible: BOOL, STRING"):
        conversion(boolean, "DATE")


def test_a_lossy_choice_is_not_called_exact() -> None:
    """numeric as FLOAT may round: the conversion says so."""
    numeric = DataType("numeric(30,10)", "numeric", precision=30, scale=10)
    assert not conversion(numeric, "FLOAT").exact
    assert conversion(numeric, "DECIMAL").exact
