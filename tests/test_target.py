"""Every target: what is written is there once, and what cannot be written is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from geode_tui.errors import ConnectError, GeodeTuiError, UsageError
from geode_tui.target import open_target
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
)
from tests.geode_loopback import Dialect, Loopback
from tests.targets import Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

USER = NodeShape("User", ("id",), ("id", "name"))
ITEM = NodeShape("Item", ("order", "line"), ("order", "line"))
KNOWS = RelationshipShape("KNOWS", USER, USER, ("since",), ("since",))
BOSS = RelationshipShape("HAS_BOSS", USER, USER, (), (), owned=True)
RUN = "r1"


@pytest.fixture
def graph(targets: Targets) -> Target:
    """An empty graph with ten users."""
    opened: Target = targets.open()
    opened.prepare([USER, ITEM])
    users = [(n, f"user {n}", n) for n in range(10)]
    assert opened.write_nodes(NodeBatch(USER, users, RUN), False).rows == 10
    return opened


def _names(graph: Target) -> dict[int, str | None]:
    return {r["i"]: r["n"] for r in graph.query("MATCH (n:User) RETURN n.id AS i, n.name AS n")}


def test_a_batch_written_twice_is_there_once_with_its_last_values(graph: Target) -> None:
    """A chunk may run twice; a property that is null now is gone."""
    again = [(1, "new", 1), (2, None, 2), (10, "tenth", 10)]
    assert graph.write_nodes(NodeBatch(USER, again, RUN), True).rows == 3
    assert graph.count_nodes(USER) == 11
    names = _names(graph)
    assert (names[1], names[2], names[10]) == ("new", None, "tenth")


def test_a_row_that_the_graph_refuses_does_not_take_its_batch_along(graph: Target) -> None:
    """Of 100 rows one is doubled and one is no text: 98 are in, two are told."""
    rows = [(n, f"user {n}", n) for n in range(100, 200)]
    rows[7] = (3, "doubled", 1003)
    rows[55] = (155, "half a pair: \ud83d", 155)
    written = graph.write_nodes(NodeBatch(USER, rows, RUN), False)
    assert written.rows == 98
    assert {(r.position, r.error_class) for r in written.refused} == {(7, "unique"), (55, "value")}
    assert graph.count_nodes(USER) == 108


def test_where_a_rollback_takes_nothing_back_a_doubled_row_is_refused_all_the_same() -> None:
    """What a refused attempt has left is the row's own; a node of another row never is."""
    with Loopback(dialect=Dialect(rollback_keeps=True)) as server:
        graph = open_target(server.grpc_dsn())
        assert ("rollback of CREATE", "does not work") in graph.facts()
        graph.prepare([USER])
        graph.write_nodes(NodeBatch(USER, [(3, "first", 3)], RUN), False)
        rows = [(n, f"user {n}", n + 100) for n in range(8)]
        written = graph.write_nodes(NodeBatch(USER, rows, RUN), False)
        assert written.rows == 7
        assert [(r.position, r.error_class) for r in written.refused] == [(3, "unique")]
        assert (graph.count_nodes(USER), _names(graph)[3]) == (8, "first")
        graph.close()


def test_a_relationship_without_its_end_is_an_orphan(graph: Target) -> None:
    """A missing endpoint is told by its place in the batch."""
    rows = [(1, 2, 2020, 1), (1, 99, 2020, 2), (98, 1, 2020, 3)]
    written = graph.write_relationships(RelationshipBatch(KNOWS, rows, RUN), False)
    assert (written.rows, written.orphans) == (1, (1, 2))
    assert graph.count_relationships(KNOWS) == 1


def test_relationships_written_twice_are_there_once(graph: Target) -> None:
    """The key tells apart those between the same two nodes."""
    rows = [(1, 2, 2020, 1), (1, 2, 2021, 2), (1, 3, 2020, 3)]
    graph.write_relationships(RelationshipBatch(KNOWS, rows[:2], RUN), False)
    written = graph.write_relationships(RelationshipBatch(KNOWS, rows, RUN), True)
    assert written.rows == 3
    assert graph.count_relationships(KNOWS) == 3
    assert graph.duplicate_relationships(KNOWS) == 0


def test_a_foreign_key_that_changed_before_the_repeat_leaves_no_old_relationship(
    graph: Target,
) -> None:
    """A row has one relationship of a foreign key: the last one."""
    graph.write_relationships(RelationshipBatch(BOSS, [(1, 2, 1), (4, 5, 2)], RUN), False)
    graph.write_relationships(RelationshipBatch(BOSS, [(1, 3, 1), (4, 5, 2)], RUN), True)
    found = graph.query("MATCH (a:User)-[:HAS_BOSS]->(b:User) RETURN a.id AS a, b.id AS b")
    assert sorted((r["a"], r["b"]) for r in found) == [(1, 3), (4, 5)]


def test_doubled_nodes_and_relationships_are_counted(targets: Targets) -> None:
    """Duplicates that someone made behind our back are seen."""
    graph = targets.open()
    graph.query("CREATE (a:User {id: 1}), (b:User {id: 1}), (a)-[:HAS_BOSS]->(b)")
    graph.query("MATCH (a:User)-[:HAS_BOSS]->(b:User) CREATE (a)-[:HAS_BOSS]->(b)")
    assert graph.duplicate_nodes(USER) == 1
    assert graph.duplicate_relationships(BOSS) == 1


def test_composite_keys_find_their_nodes_after_the_memory_of_ids_is_gone(targets: Targets) -> None:
    """A process that resumes looks nodes up by their whole key."""
    path = targets.place()
    graph = targets.open(path)
    graph.prepare([ITEM, USER])
    graph.write_nodes(NodeBatch(ITEM, [(1, 1, 5), (1, 2, 6)], RUN), False)
    graph.write_nodes(NodeBatch(USER, [(7, "u", 7)], RUN), False)
    graph.close()
    graph = targets.open(path)
    of = RelationshipShape("OF", ITEM, USER, (), (), owned=True)
    batch = RelationshipBatch(of, [(1, 1, 7, 1), (1, 2, 7, 2), (2, 1, 7, 3)], RUN)
    written = graph.write_relationships(batch, False)
    assert (written.rows, written.orphans) == (2, (2,))
    found = graph.read_relationships(of, [((1, 2), (7,), ())])
    assert len(found[0]) == 1


def test_what_a_run_wrote_can_be_removed_and_nothing_else(graph: Target) -> None:
    """Another run's nodes stay."""
    graph.write_nodes(NodeBatch(USER, [(50, "other", 50)], "r2"), False)
    graph.write_relationships(RelationshipBatch(BOSS, [(1, 2, 1), (1, 50, 2)], RUN), False)
    assert graph.delete_after(RUN, 0) == (10, 2)
    assert _names(graph) == {50: "other"}


def test_named_graphs_in_one_file_do_not_see_each_other(tmp_path: Path) -> None:
    """The same labels and keys in two graphs of a file."""
    path = tmp_path / "g.grafeo"
    for name in ("one", "two"):
        graph = open_target(str(path), name)
        graph.prepare([USER])
        graph.prepare([USER])
        assert graph.write_nodes(NodeBatch(USER, [(1, name, 1)], RUN), False).rows == 1
        assert graph.count_nodes(USER) == 1
        graph.close()


def test_a_label_that_is_a_keyword_and_hostile_values_are_kept(targets: Targets) -> None:
    """Names are quoted or cleaned, values are parameters."""
    order = NodeShape("Order", ("match",), ("match", "return"))
    graph = targets.open()
    graph.prepare([order])
    evil = "'}) DETACH DELETE n //`[/foo]\n\x00😀"
    graph.write_nodes(NodeBatch(order, [(evil, "x", 1)], RUN), False)
    graph.write_nodes(NodeBatch(order, [(evil, "y", 1)], RUN), True)
    [found] = graph.read_nodes(order, [(evil,)])
    assert found is not None
    assert (found["match"], found["return"]) == (evil, "y")


def test_a_target_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """In use, foreign, missing, of another kind: one clear error each."""
    first = open_target(str(tmp_path / "g.grafeo"))
    with pytest.raises(ConnectError, match="is in use"):
        open_target(str(tmp_path / "g.grafeo"))
    first.close()
    (tmp_path / "foreign.grafeo").write_text("something else")
    with pytest.raises(UsageError, match="no Grafeo graph"):
        open_target(str(tmp_path / "foreign.grafeo"))
    assert (tmp_path / "foreign.grafeo").read_text() == "something else"
    with pytest.raises(ConnectError, match="no graph at"):
        open_target(str(tmp_path / "none.grafeo"), create=False)
    with pytest.raises(UsageError, match=r"ends in \.grafeo"):
        open_target("postgresql://host/db")
    with pytest.raises(ConnectError, match="no folder"):
        open_target(str(tmp_path / "missing" / "g.grafeo"))


def test_a_look_cannot_write(targets: Targets) -> None:
    """A graph opened for reading refuses every statement that writes."""
    place = targets.place()
    targets.open(place).close()
    graph = targets.open(place, read_only=True)
    with pytest.raises(GeodeTuiError):
        graph.query("CREATE (:User {id: 1})")
    with pytest.raises(GeodeTuiError):
        graph.write_nodes(NodeBatch(USER, [(1, "x", 1)], RUN), False)
    assert graph.count_label("User") == 0
