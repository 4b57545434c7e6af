"""Every target: values and keys of all types come back as they were, under the mapping's names."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    NodeBatch,
    NodeImage,
    NodeShape,
    RelationshipBatch,
    RelationshipImage,
    RelationshipShape,
)
from tests.targets import Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

RUN = "r1"
EAST = timezone(timedelta(hours=5, minutes=30))
LABEL, NAME, TYPE = "[/foo] 😀 \"x\" 'y' `z`", "match", "ÄRGER mit [b]"
LONG = "ä" * 31 + "x"  # 63 bytes

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "INT": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
    "FLOAT": [0.0, 1.0, -0.0, 5e-324, 1e308, float("inf"), float("-inf"), float("nan")],
    "DECIMAL": [Decimal(t) for t in ("0", "1.50", "-0.001", "1" + "0" * 20, "1E-30", "9" * 38)],
    "STRING": [
        "",
        " ",
        "null",
        "[/foo] 'a' \"b\" `c` $d \\e",
        "\x00\n😀",
        "2024-01-01",
        "x" * 99_999,
    ],
    "BYTES": [b"", b"\x00\xff"],
    "DATE": [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
    "TIME": [time(0, 0), time(23, 59, 59, 999999)],
    "TIMESTAMP": [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)],
    "TIMESTAMPTZ": [datetime(2024, 1, 1, 3, tzinfo=EAST), datetime(2024, 7, 1, tzinfo=UTC)],
    "LIST<INT>": [[], [None], [1, None, 2], [[1, None], [None, 2]]],
    "LIST<STRING>": [["", "null", None]],
    "LIST<FLOAT>": [[1.0, float("nan")]],
    "LIST<DECIMAL>": [[Decimal("1.10"), None]],
    "LIST<DATE>": [[date(2024, 1, 1), None], [[date(2024, 1, 1)], [None]]],
    "MAP": [{}, {"a": [1, None, {"b": "c"}], "[/foo] `x`": 1.5, "": None}],
}
KEYS = ("BOOL", "INT", "DECIMAL", "STRING", "BYTES", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ")


def plain(value: Any) -> str:
    """To compare by: instants are equal wherever their zone is, NaN is itself, 1 is not 1.0."""
    return repr(sorted(value.items()) if isinstance(value, dict) else comparable([value]))


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_read_as_they_were_written(targets: Targets, kind: str) -> None:
    """By key, in a scan, as an image; set anew and put back; on nodes and on relationships."""
    graph, values = targets.open(), VALUES[kind]
    shape = NodeShape(LABEL, ("id",), ("id", NAME, LONG), ("INT", kind, kind))
    loop = RelationshipShape(TYPE, shape, shape, ("n",), ("n", NAME), ("INT", kind))
    graph.prepare([shape])
    rows = [(n, value, None, n) for n, value in enumerate(values)]
    assert graph.write_nodes(NodeBatch(shape, rows, RUN, (), 1), False).refused == ()
    edges = [(n, n, n, value, n) for n, value in enumerate(values)]
    for repeated in (False, True):
        written = graph.write_relationships(RelationshipBatch(loop, edges, RUN, 2), repeated)
        assert written.rows == len(values)
    keys = [(n,) for n in range(len(values))]
    wanted = [plain(value) for value in values]
    assert [plain(row[NAME]) for row in graph.read_nodes(shape, keys)] == wanted
    assert all(LONG not in row for row in graph.read_nodes(shape, keys)), "null is not there"
    scanned = {key: row for some in graph.scan_nodes(shape, (NAME, LONG), 3) for key, row in some}
    assert [(plain(scanned[key][0]), scanned[key][1]) for key in keys] == [
        (value, None) for value in wanted
    ]
    found = graph.read_relationships(loop, [(key, key, key) for key in keys])
    assert [[plain(row[NAME]) for row in some] for some in found] == [[value] for value in wanted]

    images = graph.node_images(shape, keys)
    edge_images = graph.relationship_images(loop, [(key, key, key) for key in keys])
    assert graph.update_nodes(
        shape, (LONG, NAME), [(k, (v, None)) for k, v in zip(keys, values, strict=True)]
    ) == len(values)
    assert [plain(row[LONG]) for row in graph.read_nodes(shape, keys)] == wanted
    graph.put_nodes(shape, list(zip(keys, images, strict=True)))
    pairs = [((key, key, key), image) for key, image in zip(keys, edge_images, strict=True)]
    graph.put_relationships(loop, [(key, None) for key, _ in pairs])
    graph.put_relationships(loop, pairs)
    assert [plain(row[NAME]) for row in graph.read_nodes(shape, keys)] == wanted
    back = graph.relationship_images(loop, [key for key, _ in pairs])
    assert [plain(image.properties) for image in back] == [
        plain(image.properties) for image in edge_images
    ]


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_find_their_nodes(targets: Targets, kind: str) -> None:
    """Written twice they are there once; relationships and changes find them."""
    graph, values = targets.open(), VALUES[kind]
    shape = NodeShape(LABEL, (NAME, "no"), (NAME, "no", "w"), (kind, "INT", ""))
    link = RelationshipShape(TYPE, shape, shape, (LONG,), (LONG,), (kind,))
    graph.prepare([shape])
    rows = [(value, no, "x", no) for value in values for no in (1, 2)]
    for repeated in (False, True):
        batch = NodeBatch(shape, rows, RUN, (), 1)
        assert graph.write_nodes(batch, repeated).rows == len(rows)
    assert graph.count_nodes(shape) == len(rows)
    assert graph.duplicate_nodes(shape) == 0
    keys = [(value, no) for value in values for no in (1, 2)]
    assert all(graph.read_nodes(shape, keys))
    found = [comparable(key) for step, key in graph.node_keys(shape, RUN, [1])]
    assert sorted(map(repr, found)) == sorted(repr(comparable(key)) for key in keys)
    edges = [(value, 1, value, 2, value, 1) for value in values]
    edges += [(value, 1, value, 2, None, 2) for value in values]
    for repeated in (False, True):
        linked = RelationshipBatch(link, edges, RUN, 2)
        assert graph.write_relationships(linked, repeated).rows == len(edges)
    assert graph.count_relationships(link) == len(edges)
    assert graph.duplicate_relationships(link) == 0
    of = [((value, 1), (value, 2), (own,)) for value in values for own in (value, None)]
    assert [len(some) for some in graph.read_relationships(link, of)] == [1] * len(of)
    assert len(graph.relationship_keys(link, RUN, [2])) == len(edges)
    assert graph.update_nodes(shape, ("w",), [(key, ("y",)) for key in keys]) == len(keys)
    assert graph.update_relationships(link, ("w",), [(key, (1,)) for key in of]) == len(of)
    graph.put_relationships(link, [(of[0], None)])
    graph.put_nodes(shape, [(keys[-1], None)])
    assert graph.count_nodes(shape) == len(keys) - 1


def test_a_row_whose_key_nothing_equals_is_written_all_the_same(targets: Targets) -> None:
    """Null and NaN equal nothing: the commit is seen by the fingerprint."""
    graph = targets.open()
    shape = NodeShape("Half", ("a", "b"), ("a", "b"), ("FLOAT", "INT"))
    graph.prepare([shape])
    rows = [(1.0, None, 1), (float("nan"), 1, 2), (None, None, 3)]
    assert graph.write_nodes(NodeBatch(shape, rows, RUN, (), 1), False).rows == 3
    assert graph.count_nodes(shape) == 3
    assert graph.read_nodes(shape, [(1.0, None)]) == [None]


def test_parallel_relationships_and_loops_are_told_apart(targets: Targets) -> None:
    """By their own key, of which a part may be null; by direction; by rule."""
    graph = targets.open()
    node = NodeShape("N", ("id", "_of"), ("id", "_of"), ("INT", "STRING"), of="one")
    other = NodeShape("N", ("id", "_of"), ("id", "_of"), ("INT", "STRING"), of="two")
    graph.prepare([node, other])
    for shape in (node, other):
        rows = [(n, shape.of, n) for n in (1, 2)]
        assert graph.write_nodes(NodeBatch(shape, rows, RUN, (), 1), False).rows == 2
    assert (graph.count_nodes(node), graph.count_label("N")) == (2, 4)
    link = RelationshipShape("R", node, node, ("a", "b"), ("a", "b"), ("INT", "STRING"))
    ends = [(1, 2), (2, 1), (1, 1)]
    owns = [(1, "x"), (1, None), (None, "x"), (None, None), (1, "")]
    edges = [(s, "one", e, "one", *own, hash((s, e, own))) for s, e in ends for own in owns]
    for repeated in (False, True, True):
        batch = RelationshipBatch(link, edges, RUN, 2)
        assert graph.write_relationships(batch, repeated).rows == 15
    crossing = RelationshipShape("R", node, other, (), ())
    batch = RelationshipBatch(crossing, [(1, "one", 2, "two", 1)], RUN, 3)
    assert graph.write_relationships(batch, False).rows == 1
    counted = [graph.count_relationships(shape) for shape in (link, crossing)]
    assert (counted, graph.count_type("R")) == ([15, 1], 16)
    keys = [((s, "one"), (e, "one"), own) for s, e in ends for own in owns]
    assert [len(some) for some in graph.read_relationships(link, keys)] == [1] * 15
    gone = ((1, "one"), (1, "one"), (None, "x"))
    graph.put_relationships(link, [(gone, None)])
    left = [len(some) for some in graph.read_relationships(link, keys)]
    assert (sum(left), left[keys.index(gone)]) == (14, 0)
    graph.put_relationships(link, [(gone, RelationshipImage({"b": "x", "_run": RUN}))])
    assert [len(some) for some in graph.read_relationships(link, keys)] == [1] * 15
    assert graph.delete_relationships(link, RUN) == 15
    assert graph.count_type("R") == 1


def test_what_other_runs_made_is_put_back_only_in_their_name(targets: Targets) -> None:
    """An image of another run is left as it is where a run is named."""
    graph = targets.open()
    shape = NodeShape(LABEL, ("id",), ("id", NAME), ("INT", "DATE"))
    graph.prepare([shape])
    day = date(2024, 1, 1)
    graph.write_nodes(NodeBatch(shape, [(1, day, 1)], "r0", (), 1), False)
    [image] = graph.node_images(shape, [(1,)], RUN)
    assert image == NodeImage((LABEL,), {"id": 1, NAME: day, "_run": "r0", "_step": 1, "_fp": 1})
    graph.put_nodes(shape, [((1,), None)], RUN)
    assert graph.node_images(shape, [(1,)]) == [image]
    graph.put_nodes(shape, [((1,), None)])
    assert graph.node_images(shape, [(1,)]) == [None]
