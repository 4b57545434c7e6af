"""What every target promises of runs and steps: whose a thing is, and writing it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.errors import BusyError
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
    Written,
)
from tests.targets import Targets, contents, database, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

HOSTILE = "We`ird [/x] \"q\" 'DETACH' 😀"
USER = NodeShape("User", ("id",), ("id", "name"))
KIND = NodeShape(HOSTILE, ("a `b`",), ("a `b`", "n"), labels=("Thing",), by_value=("Old", "`New`"))
KNOWS = RelationshipShape("KNOWS [/b] `x`", USER, USER, ("since",), ("since", "note"))
BOSS = RelationshipShape("HAS_BOSS", USER, USER, (), (), owned=True)
OURS, THEIRS = "r1", "r0"


@pytest.fixture
def graph(targets: Targets) -> Any:
    """An empty graph, prepared."""
    opened = targets.open()
    opened.prepare([USER, KIND])
    return opened


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedGraph]:
    """An embedded graph, for what it alone does in its own way."""
    opened = EmbeddedGraph.open(tmp_path / "g.grafeo", None)
    opened.prepare([USER, KIND])
    yield opened
    opened.close()


def users(numbers: Sequence[int], name: str = "u", run: str = OURS, step: int = 1) -> NodeBatch:
    """A batch of users; the fingerprint is made of number and name."""
    rows = [(n, f"{name} {n}", hash((n, name))) for n in numbers]
    return NodeBatch(USER, rows, run, (), step)


def knows(
    rows: Sequence[tuple[int, int, int, str]], run: str = OURS, step: int = 2
) -> RelationshipBatch:
    """A batch of relationships: start, end, since, note."""
    values = [(a, b, since, note, hash(note)) for a, b, since, note in rows]
    return RelationshipBatch(KNOWS, values, run, step)


def names(graph: Target) -> dict[int, tuple[str, str]]:
    """Each user's name and run."""
    rows = graph.query("MATCH (n:User) RETURN n.id AS id, n.name AS name, n._run AS run")
    return {row["id"]: (row["name"], row["run"]) for row in rows}


def refused(written: Written) -> list[tuple[int, str, str]]:
    return [(r.position, r.error_class, r.reason) for r in written.refused]


TAKEN = ("unique", "another node has the same key")


# -- who wrote it ---------------------------------------------------------------------------------


def test_everything_written_carries_its_run_and_its_step(graph: Target) -> None:
    """So that a rollback finds it again."""
    graph.write_nodes(users([1, 2], step=7), False)
    graph.write_nodes(users([2, 3], step=8), True)
    graph.write_relationships(knows([(1, 2, 2020, "x")], step=9), False)
    rows = graph.query("MATCH (n:User) RETURN n.id AS id, n._run AS run, n._step AS step")
    assert {(r["id"], r["run"], r["step"]) for r in rows} == {
        (1, OURS, 7),
        (2, OURS, 8),
        (3, OURS, 8),
    }
    [row] = graph.query("MATCH ()-[r]->() RETURN r._run AS run, r._step AS step")
    assert (row["run"], row["step"]) == (OURS, 9)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("when", ["before the constraint", "after it"])
@pytest.mark.parametrize("run", [THEIRS, None])
def test_a_node_of_another_run_or_program_is_never_changed(
    targets: Targets, repeated: bool, when: str, run: str | None
) -> None:
    """The row whose key it has is refused, the others are written."""
    graph = targets.open()
    if when == "after it":
        graph.prepare([USER])
    mark = f", _run: '{run}'" if run else ""
    graph.query(f"CREATE (:User:Other {{id: 2, name: 'theirs'{mark}}})")
    before = contents(graph)
    graph.prepare([USER])
    written = graph.write_nodes(users([1, 2, 3]), repeated)
    assert (written.rows, refused(written)) == (2, [(1, *TAKEN)])
    assert names(graph) == {1: ("u 1", OURS), 2: ("theirs", run), 3: ("u 3", OURS)}
    assert not before.nodes - contents(graph).nodes


@pytest.mark.parametrize("repeated", [False, True])
def test_where_no_constraint_can_be_taken_keys_are_kept_apart_all_the_same(
    targets: Targets, repeated: bool
) -> None:
    """A label that nodes of another rule get as well has no constraint in the graph."""
    person = NodeShape("Person", ("id", "_of"), ("id", "_of"), of="Person")
    staff = NodeShape("Staff", ("no",), ("no", "id", "_of"), labels=("Person",), of="Staff")
    graph = targets.open()
    assert not any("`Person` " in s for s in graph.prepare([person, staff]) if "UNIQUE" in s)
    rows = [(n, n % 2, "Staff", n) for n in range(4)]  # two with the same id are right here
    assert graph.write_nodes(NodeBatch(staff, rows, OURS), repeated).rows == 4
    graph.query("CREATE (:Person {id: 1, _of: 'Person'})")
    persons = [(n, "Person", n) for n in (0, 1, 2, 0)]
    written = graph.write_nodes(NodeBatch(person, persons, OURS), repeated)
    assert (written.rows, refused(written)) == (2, [(1, *TAKEN), (3, *TAKEN)])
    assert graph.count_nodes(person) == 3


def test_without_prepare_nothing_is_doubled_either(targets: Targets) -> None:
    """No index and no constraint: slower, and as right."""
    graph = targets.open()
    graph.query("CREATE (:User {id: 2, name: 'theirs'})")
    assert refused(graph.write_nodes(users([1, 2, 1]), False)) == [(1, *TAKEN), (2, *TAKEN)]
    assert names(graph) == {1: ("u 1", OURS), 2: ("theirs", None)}


def test_a_refusal_that_quotes_a_hostile_value_does_not_stop_the_run(
    graph: Target,
) -> None:
    """Words such as `disk` and `closed` in a key are no trouble with the graph."""
    evil = "write conflict: no space, i/o, closed, disk, corrupt"
    batch = NodeBatch(KIND, [(evil, 1, 1), (evil, 2, 2)], OURS, ("Old", "Old"), 1)
    written = graph.write_nodes(batch, False)
    assert (written.rows, refused(written)) == (1, [(1, *TAKEN)])


# -- once more ------------------------------------------------------------------------------------


def test_a_repeated_row_replaces_what_the_run_wrote_with_its_labels(graph: Target) -> None:
    """A further label that the value gives no more is taken away, others stay."""
    first = NodeBatch(KIND, [(1, 1, 1), (2, 2, 2), (3, 3, 3)], OURS, ("Old", "Old", None), 1)
    again = NodeBatch(
        KIND,
        [(1, None, 4), (2, 2, 2), (3, 5, 5), (4, 4, 4)],
        OURS,
        ("`New`", "Old", "Old", None),
        2,
    )
    assert graph.write_nodes(first, False).rows == 3
    graph.query("MATCH (n:Thing {n: 1}) SET n:Mine")
    assert graph.write_nodes(again, True).rows == 4
    assert graph.read_labels(KIND, [(1,), (2,), (3,), (4,)]) == [
        {HOSTILE, "Thing", "Mine", "`New`"},
        {HOSTILE, "Thing", "Old"},
        {HOSTILE, "Thing", "Old"},
        {HOSTILE, "Thing"},
    ]
    found = graph.read_nodes(KIND, [(1,), (3,)])
    assert found[0] == {"a `b`": 1, "_fp": 4, "_run": OURS, "_step": 2}
    assert found[1] == {"a `b`": 3, "n": 5, "_fp": 5, "_run": OURS, "_step": 2}
    assert graph.count_nodes(KIND) == 4


def test_of_two_rows_with_one_key_in_a_repeated_batch_the_first_is_taken(
    graph: Target,
) -> None:
    """Every row ends in the graph or among the refused, as in the first attempt."""
    batch = NodeBatch(USER, [(1, "first", 1), (1, "second", 2)], OURS, (), 1)
    for repeated in (False, True, True):
        assert refused(graph.write_nodes(batch, repeated)) == [(1, *TAKEN)]
    assert names(graph) == {1: ("first", OURS)}


def test_a_relationship_of_another_run_is_neither_taken_over_nor_removed(
    graph: Target,
) -> None:
    """Also where it has the same ends and the same key."""
    graph.write_nodes(users(range(4)), False)
    graph.write_relationships(knows([(1, 2, 2020, "theirs")], run=THEIRS), False)
    boss = RelationshipBatch(BOSS, [(1, 2, 5), (3, 0, 6)], THEIRS, 1)
    graph.write_relationships(boss, False)
    ours = knows([(1, 2, 2020, "ours"), (1, 3, 2020, "ours")])
    own_boss = RelationshipBatch(BOSS, [(1, 3, 5)], OURS, 2)
    for repeated in (False, True, True):
        assert graph.write_relationships(ours, repeated).rows == 2
        assert graph.write_relationships(own_boss, repeated).rows == 1
    found = graph.query("MATCH (a)-[r]->(b) RETURN a.id AS a, b.id AS b, r._run AS run")
    assert (
        sorted((r["a"], r["b"], r["run"]) for r in found)
        == [
            (1, 2, THEIRS),
            (1, 2, THEIRS),
            (1, 2, OURS),
            (1, 3, OURS),
            (1, 3, OURS),
            (3, 0, THEIRS),
        ]
        or len(found) == 6
    )
    counted = {run: graph.count_of_run(KNOWS, run) for run in (OURS, THEIRS)}
    assert counted == {OURS: 2, THEIRS: 1}


def test_a_repeated_relationship_has_the_values_of_the_last_attempt(graph: Target) -> None:
    """Rows may have changed between the attempts; what is the same is not written again."""
    graph.write_nodes(users(range(4)), False)
    graph.write_relationships(knows([(1, 2, 2020, "old"), (1, 3, 2020, "same")], step=2), False)
    before = _ids(graph)
    again = knows([(1, 2, 2020, "new"), (1, 3, 2020, "same"), (1, 3, 2021, "more")], step=2)
    assert graph.write_relationships(again, True).rows == 3
    keys = [((1,), (2,), (2020,)), ((1,), (3,), (2020,)), ((1,), (3,), (2021,))]
    found = graph.read_relationships(KNOWS, keys)
    assert [[r["note"] for r in some] for some in found] == [["new"], ["same"], ["more"]]
    assert _ids(graph) == before


def _ids(graph: Target) -> list[int]:
    """The graph's own ids of the relationships that stay the same."""
    rows = database(graph).execute("MATCH ()-[r]->() WHERE r.note = 'same' RETURN id(r) AS id")
    return [row["id"] for row in rows]


def test_a_repeated_relationship_leaves_that_of_another_row_alone(graph: Target) -> None:
    """Another chunk's row may lead between the same nodes: the step tells them apart."""
    graph.write_nodes(users(range(3)), False)
    graph.write_relationships(knows([(1, 2, 2020, "one")], step=2), False)
    for repeated in (False, True):
        graph.write_relationships(knows([(1, 2, 2020, "two")], step=3), repeated)
    [found] = graph.read_relationships(KNOWS, [((1,), (2,), (2020,))])
    assert sorted((r["note"], r["_step"]) for r in found) == [("one", 2), ("two", 3)]


def test_rows_that_are_alike_are_each_there_after_a_repeat(graph: Target) -> None:
    """Two rows of a table without a key between the same nodes are two relationships."""
    graph.write_nodes(users(range(3)), False)
    batch = knows([(1, 2, 2020, "twin"), (1, 2, 2020, "twin")])
    for repeated in (False, True, True):
        assert graph.write_relationships(batch, repeated).rows == 2
        assert graph.count_relationships(KNOWS) == 2


@pytest.mark.parametrize("hub_is_start", [True, False])
def test_the_relationships_of_a_hub_are_repeated_without_loss(
    graph: Target, hub_is_start: bool
) -> None:
    """Whichever side the hub is on."""
    graph.write_nodes(users(range(301)), False)
    rows = [(0, n, n, "x") if hub_is_start else (n, 0, n, "x") for n in range(1, 301)]
    graph.write_relationships(knows(rows[:200]), False)
    assert graph.write_relationships(knows(rows[100:]), True).rows == 200
    assert graph.count_relationships(KNOWS) == 300
    assert graph.duplicate_relationships(KNOWS) == 0


def test_relationships_take_the_run_s_own_nodes_where_others_have_the_key(targets: Targets) -> None:
    """A node of another program with the same key, made behind our back, does not get them."""
    graph = targets.open()
    graph.query("CREATE (:User {id: 1, name: 'theirs'})")
    graph.query(f"CREATE (:User {{id: 1, name: 'ours', _run: '{OURS}'}})")
    graph.query(f"CREATE (:User {{id: 1, name: 'older', _run: '{THEIRS}'}})")
    graph.write_nodes(users([2]), False)
    graph.write_relationships(knows([(2, 1, 2020, "x")]), False)
    assert graph.query("MATCH ()-[r]->(b) RETURN b.name AS n") == [{"n": "ours"}]


# -- indexes and constraints ----------------------------------------------------------------------


def test_what_prepare_runs_is_told_before_and_after_and_runs_once(targets: Targets) -> None:
    """The journal has it before; taken back, it can be done again."""
    graph = targets.open()
    wanted = graph.statements([USER, KIND])
    for _ in range(2):
        assert graph.missing([USER, KIND]) == wanted != []
        assert graph.prepare([USER, KIND]) == wanted
        assert graph.prepare([USER, KIND]) == graph.missing([USER, KIND]) == []
        for repeated in (False, False, True):
            graph.write_nodes(users([1]), repeated)
        assert graph.count_nodes(USER) == 1
        graph.unprepare([*wanted, "DROP INDEX theirs", "nonsense"])


def test_prepare_of_the_embedded_graph_makes_index_and_constraint(tmp_path: Path) -> None:
    """Index before constraint, for each label; in each graph of a file."""
    path = tmp_path / "g.grafeo"
    for name in (None, "one", "two"):
        graph = EmbeddedGraph.open(path, name)
        ran = graph.prepare([USER, KIND])
        assert [s.split(" `")[0] for s in ran] == ["CREATE INDEX", "CREATE CONSTRAINT"] * 2
        assert ran == graph.statements([USER, KIND])
        assert graph.prepare([USER, KIND]) == []
        graph.close()
    graph = EmbeddedGraph.open(path, "one")
    assert graph.prepare([USER, KIND]) == []
    graph.close()


def test_another_key_of_a_label_gets_its_own_index_and_constraint(embedded: EmbeddedGraph) -> None:
    """A mapping may name another key for a label that is there already."""
    by_name = NodeShape("User", ("name",), ("id", "name"))
    ran = embedded.prepare([by_name])
    assert [s.split(" ON ")[1] for s in ran] == ["(n.`name`)", "(n.`name`) UNIQUE"]


def test_unprepare_drops_what_prepare_made_and_nothing_else(tmp_path: Path) -> None:
    """Indexes and constraints that were there before stay, and are still found by."""
    path = tmp_path / "g.grafeo"
    database = grafeo.GrafeoDB(str(path))
    database.execute("CREATE INDEX theirs FOR (n:Else) ON (n.id)")
    database.execute("CREATE CONSTRAINT own FOR (n:User) ON (n.email) UNIQUE")
    database.create_property_index("a `b`")
    database.close()
    graph = EmbeddedGraph.open(path, None)
    before = graph.query("SHOW INDEXES") + graph.query("SHOW CONSTRAINTS")
    ran = graph.prepare([USER, KIND])
    for _ in range(2):
        graph.unprepare([*ran, "DROP INDEX theirs", "nonsense"])
        assert graph.query("SHOW INDEXES") + graph.query("SHOW CONSTRAINTS") == before
    graph.close()
    database = grafeo.GrafeoDB(str(path))
    assert database.has_property_index("id")
    assert database.has_property_index("a `b`")
    database.close()


def test_a_constraint_can_be_dropped_without_its_index(embedded: EmbeddedGraph) -> None:
    """What is dropped are the statements that are named."""
    statements = embedded.statements([USER])
    embedded.unprepare([s for s in statements if "UNIQUE" in s])
    assert any(row["label"] == "User" for row in embedded.query("SHOW INDEXES"))
    assert not any(row["label"] == "User" for row in embedded.query("SHOW CONSTRAINTS"))
    embedded.write_nodes(users([1]), False)
    assert refused(embedded.write_nodes(users([1]), False)) == [(0, *TAKEN)]


def test_a_key_whose_first_property_tells_little_is_found_by_another(tmp_path: Path) -> None:
    """(tenant, number): the graph walks over no tenant's rows, before and after it is reopened."""
    path = tmp_path / "g.grafeo"
    bill = NodeShape("Bill", ("tenant", "no"), ("tenant", "no"))
    graph = EmbeddedGraph.open(path, None)
    ran = graph.prepare([bill])

    def work(first: int) -> None:
        for low in range(first, 4000, 1000):
            rows = [(n % 2, n, n) for n in range(low, low + 500)]
            assert graph.write_nodes(NodeBatch(bill, rows, OURS), False).rows == 500

    _in_threads(work, [0, 500])
    for _ in range(2):
        [constraint] = graph.query("SHOW CONSTRAINTS")
        [index] = graph.query("SHOW INDEXES")
        assert (constraint["properties"], index["property"]) == ("no, tenant", "no")
        assert refused(graph.write_nodes(NodeBatch(bill, [(0, 8, 1)], OURS), False)) == [
            (0, *TAKEN)
        ]
        assert graph.write_nodes(NodeBatch(bill, [(1, 8, 1)], OURS), True).rows == 1
        assert graph.read_nodes(bill, [(1, 8), (0, 9)])[1] is None
        assert graph.prepare([bill]) == []
        graph.close()
        graph = EmbeddedGraph.open(path, None)
    graph.unprepare(ran)
    assert graph.query("SHOW CONSTRAINTS") + graph.query("SHOW INDEXES") == []
    graph.close()


# -- several at once ------------------------------------------------------------------------------


def test_four_threads_write_nodes_and_a_hub_and_lose_nothing(targets: Targets) -> None:
    """While the graph checkpoints by itself again and again."""
    path = targets.place()
    graph = targets.open(path)
    if isinstance(graph, EmbeddedGraph):
        graph._database.set_checkpoint_triggers(wal_bytes=100_000)
    graph.prepare([USER])
    size = 250

    def nodes(thread: int) -> None:
        for low in range(thread * 1000, thread * 1000 + 1000, size):
            batch = users(range(low, low + size), step=thread + 1)
            assert graph.write_nodes(batch, thread % 2 == 1).rows == size

    def relationships(thread: int) -> None:
        for low in range(thread * 1000, thread * 1000 + 1000, size):
            rows = [(n, 0, n, "x") for n in range(low, low + size)]
            written = graph.write_relationships(knows(rows, step=thread + 5), thread % 2 == 1)
            assert written == Written(size)

    _in_threads(nodes, range(4))
    _in_threads(relationships, range(4))
    assert graph.count_nodes(USER) == graph.count_relationships(KNOWS) == 4000
    assert graph.duplicate_nodes(USER) == graph.duplicate_relationships(KNOWS) == 0
    graph.close()
    again = targets.open(path)
    rows = again.query("MATCH (a)-[r]->(b) RETURN a.id = r.since AS own, b.id AS b, count(r) AS c")
    assert rows == [{"own": True, "b": 0, "c": 4000}]
    assert again.count_after(OURS, 4) == (0, 4000)
    assert again.count_after(OURS, 2) == (2000, 4000)


def test_a_writer_in_the_way_is_told_as_busy_and_the_next_attempt_goes_through(
    embedded: EmbeddedGraph,
) -> None:
    """Nothing is a dead letter that only came at a bad moment."""
    embedded.write_nodes(users(range(3)), False)
    with embedded._graph.begin_transaction() as other:
        other.execute("MATCH (n:User {id: 1}) SET n.name = 'meanwhile'")
        other.execute("CREATE (:User {id: 9})")
        with pytest.raises(BusyError):
            embedded.write_nodes(users([0, 1, 2], "new"), True)
        with pytest.raises(BusyError):
            embedded.write_nodes(users([7, 8, 9]), False)
        other.rollback()
    assert embedded.write_nodes(users([0, 1, 2], "new"), True).rows == 3
    assert embedded.write_nodes(users([7, 8, 9]), True).rows == 3
    assert names(embedded)[1] == ("new 1", OURS)


def _in_threads(work: Any, arguments: Sequence[Any]) -> None:
    failures: list[BaseException] = []

    def run(argument: Any) -> None:
        try:
            work(argument)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
