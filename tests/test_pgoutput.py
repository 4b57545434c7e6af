"""The decoder of the replication stream: all that is told comes out, garbage is refused."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geode_tui.catalog import TableName
from geode_tui.source.changes import Begin, Change, Columns, Commit, Event, Message
from geode_tui.source.pgoutput import (
    Decoder,
    StreamError,
    position_number,
    position_text,
    widened,
)

NEAR = 7 * 2**32 + 1000
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
UNCHANGED = object()

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
names = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)


def string(text: str) -> bytes:
    return text.encode() + b"\0"


def begin(xid: int = 5, position: int = 99, microseconds: int = 0) -> bytes:
    return b"B" + struct.pack(">QqI", position, microseconds, xid)


def commit(position: int = 99, end: int = 120) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, position, end, 0)


def relation(
    oid: int, table: TableName, columns: list[tuple[str, int]], key: set[str], identity: str = "d"
) -> bytes:
    head = b"R" + struct.pack(">I", oid) + string(table.schema) + string(table.name)
    body = b"".join(
        bytes([name in key]) + string(name) + struct.pack(">Ii", kind, -1) for name, kind in columns
    )
    return head + identity.encode() + struct.pack(">H", len(columns)) + body


def row(values: list[object]) -> bytes:
    parts = [struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is UNCHANGED:
            parts.append(b"u")
        else:
            raw = str(value).encode()
            parts.append(b"t" + struct.pack(">I", len(raw)) + raw)
    return b"".join(parts)


def told(columns: list[str], values: list[object]) -> dict[str, str | None]:
    pairs = zip(columns, values, strict=True)
    return {name: value for name, value in pairs if value is not UNCHANGED}  # type: ignore[misc]


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], list[Event]]:
    """A transaction as messages, and the events that it must be decoded to."""
    table = TableName(draw(names), draw(names))
    columns = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    key = set(draw(st.lists(st.sampled_from(columns), min_size=1, unique=True)))
    oids = draw(st.lists(st.integers(1, 2**32 - 1), min_size=len(columns), max_size=len(columns)))
    typed = list(zip(columns, oids, strict=True))
    xid, position = draw(st.integers(0, 1999)), draw(st.integers(0, 2**64 - 1))
    seconds = draw(st.integers(-(10**9), 10**9))
    messages = [begin(xid, position, seconds * 1_000_000), relation(9, table, typed, key)]
    events: list[Event] = [
        Begin(7 * 2**32 + xid, position_text(position), EPOCH + timedelta(seconds=seconds)),
        Columns(table, tuple(typed), tuple(c for c in columns if c in key)),
    ]
    value = st.one_of(texts, st.none(), st.just(UNCHANGED))
    rows = st.lists(value, min_size=len(columns), max_size=len(columns))
    for kind in draw(st.lists(st.sampled_from("INKODPTM"), max_size=8)):
        new, old = draw(rows), draw(rows)
        after, before = told(columns, new), told(columns, old)
        keyed = {name: before[name] for name in before if name in key}
        head = struct.pack(">I", 9)
        if kind == "I":
            messages.append(b"I" + head + b"N" + row(new))
            events.append(Change(table, "insert", {}, after))
        elif kind == "N":
            messages.append(b"U" + head + b"N" + row(new))
            events.append(Change(table, "update", {}, after))
        elif kind in "KO":
            messages.append(b"U" + head + kind.encode() + row(old) + b"N" + row(new))
            events.append(Change(table, "update", keyed if kind == "K" else before, after))
        elif kind == "D":
            messages.append(b"D" + head + b"K" + row(old))
            events.append(Change(table, "delete", keyed, {}))
        elif kind == "P":
            messages.append(b"D" + head + b"O" + row(old))
            events.append(Change(table, "delete", before, {}))
        elif kind == "T":
            messages.append(b"T" + struct.pack(">IB", 2, 1) + head + head)
            events += [Change(table, "truncate", {}, {})] * 2
        else:
            prefix, text = draw(texts), draw(texts)
            raw = text.encode()
            head = b"M" + struct.pack(">BQ", 1, 5) + string(prefix)
            messages.append(head + struct.pack(">I", len(raw)) + raw)
            events.append(Message(prefix, text))
    messages.append(commit(position, 2**40))
    events.append(Commit(7 * 2**32 + xid, "100/0"))
    return messages, events


@given(streams())
def test_each_message_becomes_the_event_that_it_tells(
    stream: tuple[list[bytes], list[Event]],
) -> None:
    """Also when the messages come in several lists."""
    messages, events = stream
    decoder, halves = Decoder(NEAR), len(messages) // 2
    assert decoder.events(messages[:halves]) + decoder.events(messages[halves:]) == events
    assert not decoder.within


@given(streams(), st.data())
def test_a_message_that_is_cut_off_or_too_long_is_refused(
    stream: tuple[list[bytes], list[Event]], data: st.DataObject
) -> None:
    """At whatever byte, and whatever follows."""
    messages, _ = stream
    place = data.draw(st.integers(0, len(messages) - 1))
    whole = messages[place]
    cut = data.draw(st.integers(0, len(whole) - 1))
    for broken in (whole[:cut], whole + b"\0"):
        decoder = Decoder(NEAR)
        decoder.events(messages[:place])
        with pytest.raises(StreamError, match="not understood"):
            decoder.events([broken])


@given(st.binary(max_size=40))
def test_garbage_is_refused_and_named(garbage: bytes) -> None:
    """By its kind and its bytes, never by a traceback."""
    assume(garbage[:1] not in (b"B", b"R", b"O", b"Y", b"M", b"T"))
    with pytest.raises(StreamError) as refusal:
        Decoder(NEAR).events([garbage])
    assert f"{len(garbage)} bytes" in refusal.value.what
    assert garbage[:24].hex(" ") in refusal.value.why


TABLE = TableName("s", "t")
KNOWN = relation(9, TABLE, [("a", 23), ("b", 25)], {"a"})
HEAD = struct.pack(">I", 9)


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([b"S" + b"\0" * 5], "nothing of this kind"),
        ([KNOWN, b"I" + HEAD + b"N" + row(["1", "2"])], "outside of a transaction"),
        ([begin(), b"I" + HEAD + b"N" + row(["1", "2"])], "a table that was not told"),
        ([begin(), begin()], "begins in another"),
        ([commit()], "did not begin"),
        ([begin(), commit(position=98)], "another transaction"),
        ([begin(), KNOWN, b"I" + HEAD + b"N" + row(["1"])], "number of columns"),
        ([begin(), KNOWN, b"I" + HEAD + b"K" + row(["1", "2"])], "lacks its row"),
        ([begin(), KNOWN, b"D" + HEAD + b"N" + row(["1", "2"])], "unknown part"),
        (
            [begin(), KNOWN, b"I" + HEAD + b"N\0\2b\0\0\0\1\1n"],
            "binary form",
        ),
        ([begin(), KNOWN, b"I" + HEAD + b"N\0\2xn"], "unknown kind b'x'"),
        ([begin(), KNOWN, b"I" + HEAD + b"N\0\2t\0\0\0\1\xffn"], "not UTF-8"),
        (
            [
                begin(),
                relation(9, TABLE, [("a", 23)], set(), "n"),
                b"D" + HEAD + b"K" + row(["1"]),
            ],
            "a table that has none",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(messages: list[bytes], why: str) -> None:
    """A stream is applied to data: a guess would be a loss."""
    with pytest.raises(StreamError) as refusal:
        Decoder(NEAR).events(messages)
    assert why in refusal.value.why


def test_types_and_origins_are_read_over() -> None:
    """They say nothing of a row."""
    messages = [
        begin(),
        b"O" + struct.pack(">Q", 1) + string("elsewhere"),
        b"Y" + struct.pack(">I", 70000) + string("s") + string("mood"),
    ]
    assert [type(event) for event in Decoder(NEAR).events(messages)] == [Begin]


def test_bytes_that_somebody_sends_do_not_stop_the_stream() -> None:
    """A message is anybody's; it may stand outside of a transaction, and be no text."""
    message = b"M" + struct.pack(">BQ", 0, 5) + string("x") + struct.pack(">I", 2) + b"\xff!"
    assert Decoder(NEAR).events([message]) == [Message("x", "\\xff!")]


@given(st.integers(0, 2**63), st.integers(-(2**31) + 1, 2**31 - 1))
def test_a_transaction_id_is_widened_to_the_one_that_is_near(near: int, distance: int) -> None:
    """Also over the wrap-around of 32 bits, in both directions."""
    xid = near + distance
    assume(xid >= 0)
    assert widened(xid & 0xFFFFFFFF, near) == xid


@given(st.integers(0, 2**64 - 1))
def test_positions_are_written_as_postgresql_does(number: int) -> None:
    """And read back."""
    assert position_number(position_text(number)) == number
    assert position_text(0x16B374D848) == "16/B374D848"
