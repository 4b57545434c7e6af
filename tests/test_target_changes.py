"""What every target promises when things in it are removed, put back, renamed and filled."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.errors import GeodeTuiError, LostError
from geode_tui.target import (
    embedded_change,
    embedded_read,
    embedded_session,
    geode_change,
    geode_statements,
    open_target,
)
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import (
    NodeBatch,
    NodeImage,
    NodeShape,
    RelationshipBatch,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Target,
)
from tests.geode_loopback import Fault, Loopback
from tests.geode_loopback.faults import Message
from tests.graph_dump import Dump, differences, dump
from tests.targets import GRPC, QUIC, Targets, contents, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

LABEL, NAME, TYPE = "We`ird [/x] 😀", "a `b` \"c\" 'd'", "OF [/b] `x`"
THING = NodeShape(LABEL, ("id",), ("id", NAME, "w"))
PART = NodeShape("Part", ("id", "no", "_of"), ("id", "no", "w", "_of"), of="Part 'x'")
OTHER = NodeShape("Part", ("id", "no", "_of"), ("id", "no", "w", "_of"), of="Other")
OF = RelationshipShape(TYPE, PART, THING, ("key",), ("key", NAME))
NEXT = RelationshipShape(TYPE, THING, THING, (), (NAME,))
RUN = "r1"
THINGS, PARTS = 23, 17


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges so small that a handful of nodes are many transactions."""
    monkeypatch.setattr(embedded_session, "PAGE", 5)
    monkeypatch.setattr(embedded_session, "PARAMETER_ROWS", 4)
    monkeypatch.setattr(embedded_change, "PARAMETER_ROWS", 4)
    monkeypatch.setattr(embedded_read, "PARAMETER_ROWS", 4)
    monkeypatch.setattr(embedded_read, "PAGE", 5)
    monkeypatch.setattr(embedded_change, "_START_PAGE", 4)
    monkeypatch.setattr(embedded_change, "_TYPE_ROWS", 3)
    monkeypatch.setattr(geode_change, "PART", 5)
    monkeypatch.setattr(geode_statements, "_ASK_ROWS", 4)


@pytest.fixture
def graph(targets: Targets) -> Any:
    """Things and parts of two rules with relationships, in ten steps, among somebody else's."""
    return filled(targets.open())


def made(path: Path | None) -> EmbeddedGraph:
    if path is None:
        return filled(EmbeddedGraph(grafeo.GrafeoDB(), Path("memory"), None))
    return filled(EmbeddedGraph.open(path, None))


def filled[G: Target](graph: G) -> G:
    graph.prepare([THING, PART, OTHER])
    mark, name = f"`{LABEL.replace('`', '``')}`", f"`{NAME.replace('`', '``')}`"
    foreign = f"CREATE (a:{mark} {{id: 1000, {name}: 'x', w: 1, z: duration('P1DT2H')}})"
    graph.query(f"{foreign}-[:`OF [/b] ``x``` {{key: 1}}]->(b:{mark} {{id: 1001}})")
    things = [(n, f"t{n}", n if n % 3 else None, n) for n in range(THINGS)]
    for step, begin in enumerate(range(0, THINGS, 6), 1):
        graph.write_nodes(NodeBatch(THING, things[begin : begin + 6], RUN, (), step), False)
    for shape in (PART, OTHER):
        rows = [(n, n % 4, float(n), shape.of, n) for n in range(PARTS)]
        graph.write_nodes(NodeBatch(shape, rows, RUN, (), 5), False)
    edges = [(n, n % 4, PART.of, n % 5, n, f"e{n}", n) for n in range(PARTS)]
    graph.write_relationships(RelationshipBatch(OF, edges, RUN, 6), False)
    more = [(n, n % 4, PART.of, 0, 100 + n, None, n) for n in range(PARTS)]
    graph.write_relationships(RelationshipBatch(OF, more, RUN, 7), False)
    chain = [(n, n + 1, f"n{n}", n) for n in range(THINGS - 1)]
    graph.write_relationships(RelationshipBatch(NEXT, chain, RUN, 8), False)
    return graph


now = contents


def _edge(n: int, end: int) -> RelationshipKey:
    """The key of a relationship of part n; those of the seventh step have another own key."""
    return (n, n % 4, PART.of), (end,), (n if end else 100 + n,)


def require_same(one: Dump, other: Dump) -> None:
    assert one == other, "\n".join(differences(one, other))


# -- what a run wrote after a step ----------------------------------------------------------------


def test_what_later_steps_wrote_is_removed_and_the_graph_is_as_it_was(targets: Targets) -> None:
    """Compared as a whole with a graph that was taken at each step."""
    graph = targets.open()
    graph.prepare([THING])
    graph.query("CREATE (a:Foreign {id: 1})-[:OWN]->(b:Foreign {id: 2, _run: 'r0', _step: 99})")
    taken = [now(graph)]
    for step in range(1, 6):
        if step % 2:
            rows: list[Any] = [(n, "t", n, n) for n in range(step * 10, step * 10 + 10)]
            graph.write_nodes(NodeBatch(THING, rows, RUN, (), step), False)
        else:
            rows = [(10, n, "x", n) for n in range(10, step * 5)]
            graph.write_relationships(RelationshipBatch(NEXT, rows, RUN, step), False)
        taken.append(now(graph))
    for step in (5, 4, 3, 2, 1, 0):
        counts = graph.count_after(RUN, step)
        assert graph.delete_after(RUN, step) == counts
        assert graph.count_after(RUN, step) == (0, 0)
        require_same(now(graph), taken[step])


def test_after_a_removal_no_id_of_a_removed_node_is_used(graph: Target) -> None:
    """The next relationship finds no end, or the node that was made anew."""
    graph.delete_after(RUN, 0)
    chain = RelationshipBatch(NEXT, [(1, 2, "x", 1)], RUN, 1)
    assert graph.write_relationships(chain, False).orphans == (0,)
    graph.write_nodes(NodeBatch(THING, [(1, "a", 1, 1), (2, "b", 2, 2)], RUN, (), 2), False)
    assert graph.write_relationships(chain, False).rows == 1
    graph.put_nodes(THING, [((2,), None)])
    assert graph.write_relationships(chain, False).orphans == (0,)


def test_steps_of_which_nothing_is_known_count_as_the_first(graph: Target) -> None:
    """What an older version wrote has no step: it goes with the whole run only."""
    graph.query(f"CREATE (:Old {{_run: '{RUN}'}})-[:T {{_run: '{RUN}'}}]->(:Foreign)")
    graph.delete_after(RUN, 1)
    assert graph.count_label("Old") == 1
    graph.delete_after(RUN, 0)
    assert (graph.count_label("Old"), graph.count_label("Foreign")) == (0, 1)


def test_a_run_s_nodes_and_relationships_are_counted_and_removed_by_rule(
    graph: Target,
) -> None:
    """Rules that share a label or a type do not touch each other's."""
    counted = [graph.count_of_run(shape, RUN) for shape in (THING, PART, OTHER, OF, NEXT)]
    assert counted == [THINGS, PARTS, PARTS, 2 * PARTS, THINGS - 1]
    assert graph.count_of_run(THING, "r2") == 0
    assert graph.delete_relationships(OF, RUN) == 2 * PARTS
    assert graph.delete_nodes(OTHER, RUN) == PARTS
    counted = [graph.count_of_run(shape, RUN) for shape in (THING, PART, OTHER, OF, NEXT)]
    assert counted == [THINGS, PARTS, 0, 0, THINGS - 1]
    assert graph.count_relationships(NEXT) == THINGS  # somebody else's among them


# -- what a step wrote ----------------------------------------------------------------------------


def test_the_keys_of_some_steps_are_told(graph: Target) -> None:
    """With their step, of one rule only, and of no other run."""
    found = graph.node_keys(THING, RUN, [3, 1])
    assert sorted(found) == [(1, (n,)) for n in range(6)] + [(3, (n,)) for n in range(12, 18)]
    assert graph.node_keys(PART, RUN, [5]) == [(5, (n, n % 4, PART.of)) for n in range(PARTS)]
    assert graph.node_keys(THING, "r2", [1]) == graph.node_keys(THING, RUN, []) == []
    edges = graph.relationship_keys(OF, RUN, [7, 2])
    assert sorted(edges) == [(7, ((n, n % 4, PART.of), (0,), (100 + n,))) for n in range(PARTS)]
    assert len(graph.relationship_keys(NEXT, RUN, list(range(9)))) == THINGS - 1


VALUES = {
    "id": 500,
    NAME: "}) DETACH DELETE n // \x00 😀",
    "int": -(2**63),
    "float": float("nan"),
    "zero": -0.0,
    "decimal": Decimal("1.500"),
    "bytes": b"\x00\xff",
    "date": date(1, 1, 1),
    "time": time(23, 59, 59, 999999),
    "naive": datetime(2020, 2, 29, 1, 2, 3, 4),
    "list": ["a", 1, 2.5],
    "map": {"k": [1, {"n": "x"}]},
    "bool": False,
}
_KINDS = {Decimal: "DECIMAL", date: "DATE", time: "TIME", datetime: "TIMESTAMP"}
TYPES = tuple(_KINDS.get(type(value), "") for value in VALUES.values())


def test_images_put_a_changed_graph_back_as_it_was(graph: Target) -> None:
    """Changed, removed and added ones, labels and values; of two images the last counts."""
    thing = replace(THING, properties=tuple(VALUES), types=TYPES, by_value=("`Extra`",))
    rich = NodeImage((LABEL, "`Extra`"), VALUES | {"_run": RUN, "_step": 3, "_fp": 1})
    graph.put_nodes(thing, [((500,), rich)])
    [found, none] = graph.node_images(thing, [(500,), (501,)])
    assert found is not None
    assert none is None
    assert found.labels == tuple(sorted(rich.labels))
    assert repr(sorted(found.properties.items())) == repr(sorted(rich.properties.items()))
    before = now(graph)
    keys = [(n,) for n in (500, 1, 21, 3, 600)]
    edges = [_edge(n, end) for n in range(6) for end in (n % 5, 0)]
    edges += [((0, 0, PART.of), (4,), (77,)), ((99, 0, PART.of), (4,), (1,))]
    nodes_then = graph.node_images(thing, keys)
    edges_then = graph.relationship_images(OF, edges)
    assert [image is None for image in nodes_then] == [False] * 4 + [True]
    assert [image is None for image in edges_then] == [False] * 12 + [True, True]

    changed = NodeImage((LABEL, "New"), {"id": 500, "only": "this", "_run": RUN, "_step": 9})
    added = NodeImage((LABEL,), {"id": 600, "_run": RUN, "_step": 9})
    pairs = [((500,), None), ((21,), None), ((600,), added), ((500,), changed)]
    edge = RelationshipImage({"key": 1, "x": Decimal(2), "_run": RUN, "_step": 9})
    assert edges[2] == _edge(1, 1)
    for _ in range(2):
        graph.put_nodes(THING, pairs)
        graph.put_relationships(OF, [(edges[2], edge), (edges[0], None), (edges[4], None)])
        graph.put_relationships(OF, [(edges[12], RelationshipImage({"key": 77, "_run": RUN}))])
    assert graph.node_images(THING, [(500,), (21,), (600,)]) == [
        NodeImage(("New", LABEL), changed.properties),
        None,
        added,
    ]
    assert graph.relationship_images(OF, [edges[2]]) == [edge]
    for _ in range(2):
        graph.put_nodes(thing, list(zip(keys, nodes_then, strict=True)))
        graph.put_relationships(OF, list(zip(edges, edges_then, strict=True)))
    chain = [(20, 21, "n20", 20), (21, 22, "n21", 21)]  # went with node 21
    graph.write_relationships(RelationshipBatch(NEXT, chain, RUN, 8), False)
    require_same(now(graph), before)


def test_of_several_images_of_a_key_the_last_counts(graph: Target) -> None:
    """A row that was overwritten twice is put back to what it was first: that comes last."""
    for key, last in ((700, {"w": 2}), (701, {"w": 3}), (700, {"w": 4})):
        rows = [{"id": key, "_run": RUN} | more for more in ({"w": 1, "x": 1}, last)]
        graph.put_nodes(THING, [((key,), NodeImage((LABEL,), row)) for row in rows])
        assert graph.read_nodes(THING, [(key,)]) == [rows[1]]
    edge = _edge(3, 3)
    images = [RelationshipImage({"key": 3, "_run": RUN} | more) for more in ({"x": 1}, {"y": 2})]
    for pairs in ([(edge, None), (edge, images[1])], [(edge, image) for image in images]):
        graph.put_relationships(OF, pairs)
        assert graph.relationship_images(OF, [edge]) == [images[1]]
        assert graph.count_relationships(OF) == 2 * PARTS


def test_a_relationship_image_without_its_end_is_left_out(graph: Target) -> None:
    """There is nothing to hang it on."""
    before = now(graph)
    image = RelationshipImage({"key": 1, "_run": RUN})
    graph.put_relationships(OF, [(((99, 0, PART.of), (1,), (1,)), image)])
    require_same(now(graph), before)


def test_putting_a_changed_node_back_keeps_its_relationships(graph: Target) -> None:
    """Also those that somebody else has made."""
    graph.query("CREATE (:Foreign {id: 1})")
    graph.query(
        "MATCH (f:Foreign), (p:Part {id: 3}) WHERE p.`_of` = 'Other' CREATE (f)-[:SEES]->(p)"
    )
    before = now(graph)
    key = (3, 3, "Other")
    [then] = graph.node_images(OTHER, [key])
    assert then is not None
    graph.put_nodes(OTHER, [(key, NodeImage(("Part",), then.properties | {"w": -1.0, "x": 1}))])
    graph.put_nodes(OTHER, [(key, then)])
    require_same(now(graph), before)


def test_what_no_run_wrote_is_neither_removed_nor_replaced(graph: Target) -> None:
    """A node of somebody else has the key: removing leaves it, making another is an error."""
    before = now(graph)
    graph.put_nodes(THING, [((1000,), None)])
    graph.put_relationships(NEXT, [(((1000,), (1001,), ()), None)])
    with pytest.raises(GeodeTuiError, match="put back"):
        graph.put_nodes(
            THING,
            [((1,), None), ((1000,), NodeImage((LABEL,), {"id": 1000, "_run": RUN}))],
        )
    require_same(now(graph), before)


def test_values_that_cannot_be_read_and_written_alike_survive_being_put_back(
    graph: Target,
) -> None:
    """A duration is read as a map: what did not change is not written again."""
    before = now(graph)
    [image] = graph.node_images(THING, [(1000,)])
    graph.query(f"MATCH (n:`{LABEL.replace('`', '``')}` {{id: 1000}}) SET n.more = 1, n:Seen")
    graph.put_nodes(THING, [((1000,), image)])
    require_same(now(graph), before)
    [row] = graph.query("MATCH (n {id: 1000}) RETURN n.z = duration('P1DT2H') AS same")
    assert row["same"]


def test_only_what_the_named_run_wrote_is_put_where_a_run_is_named(graph: Target) -> None:
    """Another run may have written the same relationship between the same nodes."""
    key = ((1,), (2,), ())
    graph.write_relationships(RelationshipBatch(NEXT, [(1, 2, "two", 1)], "r2", 1), False)
    [ours] = graph.relationship_images(NEXT, [key], "r2")
    [theirs] = graph.relationship_images(NEXT, [key], RUN)
    assert ours is not None
    assert theirs is not None
    assert (ours.properties[NAME], theirs.properties[NAME]) == ("two", "n1")
    before = now(graph)
    graph.put_relationships(NEXT, [(key, None)], "r2")
    graph.put_nodes(THING, [((5,), None)], "r2")
    assert graph.relationship_images(NEXT, [key], "r2") == [theirs]
    graph.put_relationships(NEXT, [(key, ours)], "r2")
    require_same(now(graph), before)


# -- all of a shape -------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_a_scan_gives_everything_of_a_shape_once(graph: Target, rows: int) -> None:
    """In lists of about so many, nothing of other rules and nothing that no run wrote."""
    lists = list(graph.scan_nodes(THING, (NAME, "w", "absent"), rows))
    expected = [((n,), (f"t{n}", n if n % 3 else None, None)) for n in range(THINGS)]
    assert sorted(item for some in lists for item in some) == expected
    assert max(map(len, lists)) <= max(rows, 2 * rows - 1)
    parts = [item for some in graph.scan_nodes(PART, (), rows) for item in some]
    assert sorted(parts) == [((n, n % 4, PART.of), ()) for n in range(PARTS)]
    chain = [item for some in graph.scan_relationships(NEXT, (NAME,), rows) for item in some]
    assert sorted(chain) == [(((n,), (n + 1,), ()), (f"n{n}",)) for n in range(THINGS - 1)]
    of = [item for some in graph.scan_relationships(OF, (), rows) for item in some]
    assert len(of) == len({key for key, _ in of}) == 2 * PARTS


@pytest.mark.parametrize("at_once", [0, 1000])
def test_doubled_keys_and_relationships_are_counted_in_graphs_of_any_size(
    graph: Target, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small graph is grouped at once, a large one looked up in parts: the same figures."""
    monkeypatch.setattr(embedded_read, "AT_ONCE", at_once)
    owned = replace(OF, owned=True, key=())

    def counted() -> list[int]:
        nodes = [graph.duplicate_nodes(shape) for shape in (THING, PART, OTHER)]
        edges = [graph.duplicate_relationships(shape) for shape in (OF, NEXT, owned)]
        return nodes + edges

    assert counted() == [0, 0, 0, 0, 0, PARTS]
    graph.unprepare([s for s in graph.statements([THING, PART, OTHER]) if "UNIQUE" in s])
    for number in (1, 1, 2, 7):
        graph.query(f"CREATE (:Part {{id: {number}, no: {number}, `_of`: 'Other'}})")
    graph.write_relationships(
        RelationshipBatch(NEXT, [(n, n + 1, "twice", n) for n in (1, 1, 4)], RUN, 9), False
    )
    assert counted() == [0, 0, 2, 0, 3, PARTS]


def test_nodes_are_found_by_their_fingerprints(graph: Target) -> None:
    """Those of the rule only, and no more than wanted."""
    marks = [3, 4, 5, 5, 10_000]
    assert graph.present_fingerprints(THING, marks) == {3, 4, 5}
    assert graph.present_fingerprints(THING, []) == set()
    found = graph.read_marked(PART, marks, 100)
    assert sorted((node["id"], node["_of"]) for node in found) == [(n, PART.of) for n in (3, 4, 5)]
    assert len(graph.read_marked(PART, list(range(PARTS)), 13)) == 13


def test_properties_are_set_and_removed_by_key(graph: Target) -> None:
    """It tells how many there were; others stay as they are."""
    before = now(graph)
    names = (NAME, "new `p`")
    rows = [((n,), (None, Decimal(n))) for n in (1, 2, 99, 1000)]
    for _ in range(2):
        assert graph.update_nodes(THING, names, rows) == 2
    thing = replace(THING, properties=(*THING.properties, "new `p`"))
    following = replace(NEXT, properties=(*NEXT.properties, "new `p`"))
    found = graph.read_nodes(thing, [(1,), (3,)])
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].get(NAME), found[0]["new `p`"], found[0]["w"]) == (None, Decimal(1), 1)
    assert (found[1][NAME], found[1].get("new `p`")) == ("t3", None)
    keys = [((1,), (2,), ()), ((5,), (6,), ()), ((6,), (5,), ()), ((1000,), (1001,), ())]
    for _ in range(2):
        assert graph.update_relationships(NEXT, names, [(key, (None, 5)) for key in keys]) == 2
    [[edge], [other]] = graph.read_relationships(following, [keys[0], ((2,), (3,), ())])
    assert (edge.get(NAME), edge["new `p`"], other[NAME]) == (None, 5, "n2")
    back = [((n,), (f"t{n}", None)) for n in (1, 2)]
    graph.update_nodes(THING, names, back)
    edges_back = [(key, (f"n{key[0][0]}", None)) for key in keys[:2]]
    graph.update_relationships(NEXT, names, edges_back)
    require_same(now(graph), before)


def test_a_renamed_or_removed_property_is_so_everywhere_and_found_by(graph: Target) -> None:
    """Indexes follow: a node is found by its key under the new name, and not under the old."""
    before = now(graph)
    assert graph.rename_property(THING, "w", "_width") == len([n for n in range(THINGS) if n % 3])
    assert graph.rename_property(THING, "w", "_width") == 0
    assert graph.count_present(THING, "w") == 1  # somebody else's
    assert graph.rename_property(THING, "_width", "w") == len([n for n in range(THINGS) if n % 3])
    assert graph.rename_property(NEXT, NAME, "x [/]") == THINGS - 1
    assert graph.rename_property(NEXT, "x [/]", NAME) == THINGS - 1
    assert graph.rename_property(NEXT, NAME, NAME) == graph.rename_property(THING, "w", "w") == 0
    assert graph.rename_property(THING, "id", "code `x`") == THINGS
    by_code = NodeShape(LABEL, ("code `x`",), ("code `x`",))
    graph.prepare([by_code])
    assert [n is None for n in graph.read_nodes(by_code, [(1,), (1000,)])] == [False, True]
    assert graph.read_nodes(THING, [(1,), (22,)]) == [None, None]
    assert graph.rename_property(by_code, "code `x`", "id") == THINGS
    assert graph.read_nodes(THING, [(1,)]) != [None]
    require_same(now(graph), before)
    assert graph.remove_property(NEXT, NAME) == THINGS - 1
    assert graph.remove_property(THING, NAME) == THINGS
    assert graph.remove_property(THING, NAME) == 0
    assert (graph.count_present(THING, NAME), graph.count_of_run(NEXT, RUN)) == (1, THINGS - 1)


def test_a_label_that_is_added_or_removed_is_found_by(graph: Target) -> None:
    """Label scans, keys under the label, and uniqueness follow."""
    before = now(graph)
    new = "N`ew [/x]"
    moved = NodeShape(new, PART.key, PART.properties, of=PART.of)
    graph.prepare([moved])
    assert [graph.add_label(PART, new) for _ in range(2)] == [PARTS, 0]
    assert (graph.count_label(new), graph.count_nodes(moved)) == (PARTS, PARTS)
    assert graph.read_nodes(moved, [(1, 1, PART.of)]) != [None]
    row = (1, 1, 0.5, PART.of, 5)
    assert graph.write_nodes(NodeBatch(moved, [row], "r9", (), 1), False).rows == 0
    assert [graph.remove_label(moved, "Part") for _ in range(2)] == [PARTS, 0]
    assert (graph.count_nodes(PART), graph.count_nodes(OTHER)) == (0, PARTS)
    assert graph.read_nodes(PART, [(1, 1, PART.of)]) == [None]
    assert graph.remove_label(moved, new) == 0, "a node would be without a label"
    assert graph.count_relationships(OF) == 0
    graph.add_label(moved, "Part")
    graph.remove_label(PART, new)
    assert graph.count_label(new) == 0
    require_same(now(graph), before)


def test_a_label_that_breaks_a_constraint_is_refused_with_a_reason(tmp_path: Path) -> None:
    """No traceback, and the graph still works; the embedded one, which asks at each label."""
    graph = made(tmp_path / "g.grafeo")
    graph.query("CREATE CONSTRAINT own FOR (n:Once) ON (n.w) UNIQUE")
    graph.query_with("CREATE (:Once {w: $w})", {"w": 3.0})
    with pytest.raises(GeodeTuiError, match="refused"):
        graph.add_label(PART, "Once")
    assert graph.count_nodes(PART) == PARTS
    graph.close()


def test_a_renamed_type_keeps_ends_and_properties(graph: Target) -> None:
    """Of its own shape only: another rule's relationships of the type stay."""
    before = now(graph)
    new = "N`EW [/b]"
    renamed = RelationshipShape(new, PART, THING, OF.key, OF.properties)
    graph.update_relationships(OF, ("d",), [(((1, 1, PART.of), (1,), (1,)), (Decimal("1.50"),))])
    values = now(graph)
    assert [graph.rename_type(OF, new) for _ in range(2)] == [2 * PARTS, 0]
    assert (graph.count_relationships(OF), graph.count_relationships(renamed)) == (0, 2 * PARTS)
    assert graph.count_type(TYPE) == THINGS
    assert graph.rename_type(renamed, new) == 0
    assert graph.rename_type(renamed, TYPE) == 2 * PARTS
    require_same(now(graph), values)
    graph.update_relationships(OF, ("d",), [(((1, 1, PART.of), (1,), (1,)), (None,))])
    require_same(now(graph), before)


# -- interrupted at any place ---------------------------------------------------------------------


def _put(n: int) -> NodeImage:
    return NodeImage((LABEL, "Put"), {"id": n, "x": 1, "_run": RUN})


def _put_edge(n: int, end: int) -> RelationshipImage:
    return RelationshipImage({"key": _edge(n, end)[2][0], "x": 1, "y": 2, "_run": RUN})


CHANGES: dict[str, Callable[[Any], Any]] = {
    "delete_after": lambda graph: graph.delete_after(RUN, 3),
    "delete_nodes": lambda graph: graph.delete_nodes(THING, RUN),
    "put_nodes": lambda graph: graph.put_nodes(
        THING, [((n,), None if n % 2 else _put(n)) for n in (1, 2, 3, 40)]
    ),
    "put_relationships": lambda graph: graph.put_relationships(
        OF,
        [
            (_edge(n, end), None if n == 1 else _put_edge(n, end))
            for n in (1, 2)
            for end in (0, 1, 2, 4)
        ],
    ),
    "rename_property": lambda graph: (
        graph.rename_property(THING, "w", "v"),
        graph.rename_property(OF, NAME, "v"),
    ),
    "remove_property": lambda graph: (
        graph.remove_property(THING, "w"),
        graph.remove_property(OF, NAME),
    ),
    "labels": lambda graph: (graph.add_label(PART, "New"), graph.remove_label(PART, "Part")),
    "rename_type": lambda graph: graph.rename_type(OF, "NEW"),
    "update": lambda graph: (
        graph.update_nodes(THING, ("w", "y"), [((n,), (None, n)) for n in range(9)]),
        graph.update_relationships(
            NEXT, (NAME, "y"), [(((n,), (n + 1,), ()), (None, n)) for n in range(9)]
        ),
    ),
    "repeated nodes": lambda graph: graph.write_nodes(
        NodeBatch(THING, [(n, "again", n, n) for n in range(15, 30)], RUN, (), 9), True
    ),
    "repeated relationships": lambda graph: graph.write_relationships(
        RelationshipBatch(NEXT, [(n, n + 1, "again", -n) for n in range(9)], RUN, 9), True
    ),
}


class Interrupted(BaseException):
    """Stands for the end of the process."""


class Dying:
    """A graph that is gone at its n-th call that changes something, before or after it."""

    def __init__(self, graph: Any, calls: int, after: bool) -> None:
        self._graph, self.left, self._after = graph, calls, after

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._graph, name)
        if name.startswith(("get_", "has_")):
            return work

        def counted(*arguments: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise Interrupted
            result = work(*arguments)
            if self.left == 0:
                raise Interrupted
            return result

        return counted


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_that_was_interrupted_anywhere_is_done_by_doing_it_again(
    change: str,
) -> None:
    """Interrupted at its first call to the graph, at its second, …: the same graph in the end."""
    work = CHANGES[change]
    whole = made(None)
    work(whole)
    wanted = now(whole)
    whole.close()
    calls = 0
    ended = False
    while not ended:
        calls = calls + 1 if calls < 6 else calls * 2
        graph = made(None)
        real = graph._graph
        graph._graph = Dying(real, calls, after=calls % 2 == 0)
        try:
            work(graph)
            ended = True
            graph._graph = real
        except Interrupted:
            graph._graph = real
            work(graph)
        require_same(now(graph), wanted)
        graph.close()
    assert calls > 1


_FILLED = "filled"


@pytest.fixture(scope="module")
def server_graph(loopback: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the graph of `filled`, as a server holds it."""
    graph = filled(open_target(loopback.grpc_dsn(graph=_FILLED)))
    graph.close()
    return loopback.save(_FILLED, tmp_path_factory.mktemp("server") / "filled.grafeo")


@pytest.mark.parametrize(("kind", "message"), [(GRPC, "execute"), (QUIC, "commit")])
@pytest.mark.parametrize("change", list(CHANGES))
def test_a_change_whose_connection_broke_anywhere_is_done_by_doing_it_again(
    change: str, kind: str, message: Message, loopback: Loopback, server_graph: Path
) -> None:
    """At its first message to the server, its second, …, carried out or not: the same graph."""
    work, inside = CHANGES[change], loopback.service.graph(_FILLED)
    graph: Any = open_target(loopback.dsn(kind, graph=_FILLED))
    inside.database = grafeo.GrafeoDB.open_in_memory(str(server_graph))
    work(graph)
    wanted = now(graph)
    calls, broken = 0, True
    while broken:
        calls = calls + 1 if calls < 3 else calls * 2 + 1
        done = (calls % 2 == 1) == (message == "commit")
        inside.database = grafeo.GrafeoDB.open_in_memory(str(server_graph))
        loopback.faults.add(Fault("drop_after" if done else "drop_before", message, nth=calls))
        with contextlib.suppress(LostError):
            work(graph)
        broken = bool(loopback.faults.happened)
        loopback.faults.clear()
        work(graph)
        require_same(now(graph), wanted)
    assert calls > 1
    graph.close()


KILLED = """
import os, sys, threading
from pathlib import Path
from tests import test_target_changes as tests
from geode_tui.target import embedded_session, embedded_change
embedded_session.PAGE, embedded_change._START_PAGE, embedded_change._TYPE_ROWS = 5, 4, 3
from geode_tui.target.embedded import EmbeddedGraph
graph = EmbeddedGraph.open(Path(sys.argv[1]), None)
class Killed(tests.Dying):
    def __getattr__(self, name):
        work = super().__getattr__(name)
        def counted(*arguments):
            try:
                return work(*arguments)
            except tests.Interrupted:
                os.kill(os.getpid(), 9)
        return counted
graph._graph = Killed(graph._graph, int(sys.argv[3]), False)
tests.CHANGES[sys.argv[2]](graph)
"""


@pytest.mark.parametrize("change", ["delete_after", "rename_type"])
def test_a_change_whose_process_was_killed_is_done_by_the_next(change: str, tmp_path: Path) -> None:
    """What the killed process had done is in the file; the rest follows."""
    whole = made(tmp_path / "whole.grafeo")
    CHANGES[change](whole)
    wanted = now(whole)
    whole.close()
    path = tmp_path / "g.grafeo"
    made(path).close()
    before = dump(path)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), change, "9"], capture_output=True, check=False
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert dump(path) not in (before, wanted)
    graph = EmbeddedGraph.open(path, None)
    CHANGES[change](graph)
    require_same(now(graph), wanted)
    graph.close()
    require_same(dump(path), wanted)
