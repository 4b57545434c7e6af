"""What every target tells of digests: of parts, of what is in them, of everything as it is."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from geode_tui.target import embedded_read, embedded_session
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    Marked,
    NodeBatch,
    NodeShape,
    Parts,
    RelationshipBatch,
    RelationshipShape,
    Target,
)
from tests.geode_loopback import Fault
from tests.targets import Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

NAME = "a `b` {c} \"d\" 'e' 😀"
THING = NodeShape(
    "We`ird {x}",
    ("id",),
    ("id", NAME, "price", "on"),
    ("INT", "STRING", "DECIMAL", "DATE"),
    ("Also",),
)
PART = NodeShape(
    "Part", ("id", "_of"), ("id", "_of"), ("STRING", "STRING"), by_value=("Big",), of="P {1}"
)
OF = RelationshipShape("OF `{y}`", PART, THING, (), ("since",), ("INT",), owned=True)
RUN = "r1"
THINGS, PARTS, MODULUS = 40, 30, 1_009
# Digests are numbers of 48 bits: those of things are high, those of relationships may be equal.
THING_MARKS = {n: 2**48 - 1 - n * 7_919 for n in range(THINGS)}
OF_MARKS = {n: n // 2 * 65_537 for n in range(PARTS)}


@pytest.fixture
def graph(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Things and parts with digests, one of each that somebody else made, and one without."""
    monkeypatch.setattr(embedded_session, "PAGE", 7)
    monkeypatch.setattr(embedded_read, "PARAMETER_ROWS", 5)
    monkeypatch.setattr(embedded_read, "SCANNED", 7)
    opened = targets.open()
    opened.prepare([THING, PART])
    things = [
        (n, f"thing {n}", Decimal(f"{n}.50"), date(2024, 1, 1), THING_MARKS[n])
        for n in range(THINGS)
    ]
    opened.write_nodes(NodeBatch(THING, things, RUN, (), 1), False)
    parts = [(f"p{n}", PART.of, n * 3) for n in range(PARTS)]
    by_value = ["Big" if n % 2 else None for n in range(PARTS)]
    opened.write_nodes(NodeBatch(PART, parts, RUN, by_value, 2), False)
    led = [(f"p{n}", PART.of, n, 2_000 + n, OF_MARKS[n]) for n in range(PARTS)]
    opened.write_relationships(RelationshipBatch(OF, led, RUN, 3), False)
    opened.query("INSERT (:`We``ird {x}` {id: 900, stranger: true})")
    opened.query("INSERT (:Part {id: 'theirs', _of: 'Other', _fp: 5})")
    return opened


def _expected(marks: list[int | None], parts: int) -> Parts:
    found: dict[int | None, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for mark in marks:
        part = None if mark is None else mark % parts
        count, total = found[part]
        found[part] = count + 1, total + (0 if mark is None else mark % MODULUS)
    return dict(found)


def _all(graph: Target, shape: Any, parts: int, wanted: list[int | None]) -> list[Marked]:
    return [marked for page in graph.in_parts(shape, parts, wanted) for marked in page]


@pytest.mark.parametrize("parts", [1, 64, 65_536])
def test_parts_tell_how_many_and_their_sum(graph: Target, parts: int) -> None:
    """Whatever made them; what has no digest is a part of its own; other rules' are not told."""
    things: list[int | None] = [*THING_MARKS.values(), None]
    assert graph.digest_parts(THING, parts, MODULUS) == _expected(things, parts)
    assert graph.digest_parts(PART, parts, MODULUS) == _expected(
        [n * 3 for n in range(PARTS)], parts
    )
    assert graph.digest_parts(OF, parts, MODULUS) == _expected(list(OF_MARKS.values()), parts)


def test_what_is_in_some_parts_is_told_by_its_key(graph: Target) -> None:
    """With the run that made it, where one did."""
    wanted: list[int | None] = [None, *range(0, 16, 3)]
    assert {(m.key, m.mark, m.run) for m in _all(graph, THING, 16, wanted)} == {
        *(((n,), mark, RUN) for n, mark in THING_MARKS.items() if mark % 16 in wanted),
        ((900,), None, None),
    }
    assert {(m.key, m.mark, m.run) for m in _all(graph, OF, 16, [3, 4])} == {
        (((f"p{n}", PART.of), (n,), ()), mark, RUN)
        for n, mark in OF_MARKS.items()
        if mark % 16 in (3, 4)
    }
    assert _all(graph, PART, 16, [None]) == []
    assert {m.key for m in _all(graph, PART, 1, [0])} == {(f"p{n}", PART.of) for n in range(PARTS)}


@pytest.mark.parametrize("targets", ["embedded"], indirect=True)
@pytest.mark.parametrize("shape", [THING, OF], ids=["nodes", "relationships"])
def test_no_statement_reckons_of_much(
    graph: Any, monkeypatch: pytest.MonkeyPatch, shape: NodeShape | RelationshipShape
) -> None:
    """The embedded graph ends a statement after 30 seconds: of a big graph it is asked in parts."""
    found = graph.digest_parts(shape, 64, MODULUS), _all(graph, shape, 16, [None, *range(16)])
    ranges = []
    query = graph.query_with

    def told(statement: str, given: dict[str, Any] | None) -> Any:
        if given:
            ranges.append((given["first"], given["last"]))
        else:
            assert " % " not in statement, "all at once"
        return query(statement, given)

    monkeypatch.setattr(graph, "query_with", told)
    graph.digest_parts(shape, 64, MODULUS)
    assert len(ranges) > 3
    assert all(last - first < 7 for first, last in ranges)
    monkeypatch.setattr(embedded_read, "SCANNED", 1_000)
    monkeypatch.setattr(graph, "query_with", query)
    whole = graph.digest_parts(shape, 64, MODULUS), _all(graph, shape, 16, [None, *range(16)])
    assert whole[0] == found[0]
    assert sorted(map(repr, whole[1])) == sorted(map(repr, found[1]))


@pytest.mark.parametrize("rows", [3, 1_000])
def test_everything_is_read_as_it_is(graph: Target, rows: int) -> None:
    """Values with their types, labels, and what no run wrote."""
    things = {w.key: w for page in graph.scan_whole(THING, rows) for w in page}
    assert things.keys() == {(n,) for n in (*range(THINGS), 900)}
    assert things[7,].properties | {"_run": RUN, "_step": 1} == things[7,].properties
    assert {n: things[7,].properties[n] for n in THING.properties} == {
        "id": 7,
        NAME: "thing 7",
        "price": Decimal("7.50"),
        "on": date(2024, 1, 1),
    }
    assert things[7,].labels == {THING.label, "Also"}
    assert things[900,].labels == {THING.label}
    assert things[900,].properties == {"id": 900, "stranger": True}
    parts = {w.key: w.labels for page in graph.scan_whole(PART, rows) for w in page}
    assert parts == {
        (f"p{n}", PART.of): frozenset({"Part", "Big"} if n % 2 else {"Part"}) for n in range(PARTS)
    }
    led = {comparable(w.key): w.properties for page in graph.scan_whole(OF, rows) for w in page}
    assert {key: own["since"] for key, own in led.items()} == {
        ((f"p{n}", PART.of), (n,), ()): 2_000 + n for n in range(PARTS)
    }


@pytest.mark.parametrize("targets", ["grpc", "quic"], indirect=True)
def test_a_server_that_does_not_reckon_sends_every_digest(graph: Target, targets: Targets) -> None:
    """The same numbers, at the price of sending them."""
    told = [graph.digest_parts(shape, 64, MODULUS) for shape in (THING, PART, OF)]
    fault = Fault("error", statement="sum", code="42000", times=0)
    targets.server.faults.add(fault)
    assert [graph.digest_parts(shape, 64, MODULUS) for shape in (THING, PART, OF)] == told
    assert len(targets.server.faults.happened) == 3
