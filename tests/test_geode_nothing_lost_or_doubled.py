"""What Geode is told twice, refuses in part or breaks off is in the graph once for each row."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from geode_tui.errors import ConnectError, LostError, UnreachableError
from geode_tui.target.geode_dsn import parse_address
from geode_tui.target.geode_session import Sessions, TooLargeError
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    RelationshipBatch,
    RelationshipShape,
    Target,
)
from tests.geode_loopback import Fault
from tests.targets import GRPC, PASSWORD, QUIC, Targets, loopback, targets
from tests.test_stop_and_kill import wait_until

__all__ = ["loopback", "targets"]  # fixtures

over_grpc = pytest.mark.parametrize("targets", [GRPC], indirect=True)
over_quic = pytest.mark.parametrize("targets", [QUIC], indirect=True)
over_both = pytest.mark.parametrize("targets", [GRPC, QUIC], indirect=True)

USER = NodeShape("User", ("id",), ("id", "name"))
KNOWS = RelationshipShape("KNOWS", USER, USER, ("since",), ("since", "note"))
RUN = "r1"


@pytest.fixture
def graph(targets: Targets) -> Any:
    """A graph with some users, whose keys are unique."""
    opened = targets.open()
    opened.prepare([USER])
    opened.write_nodes(users(range(5)), False)
    return opened


def users(numbers: Any) -> NodeBatch:
    return NodeBatch(USER, [(n, f"user {n}", n) for n in numbers], RUN, (), 1)


def knows(*rows: tuple[int, int, int | None, str]) -> RelationshipBatch:
    """Start, end, since, note; the fingerprint is made of since and note."""
    return RelationshipBatch(KNOWS, [(*row, hash(row[2:])) for row in rows], RUN, 2)


def found(graph: Target) -> list[tuple[Any, ...]]:
    rows = graph.query(
        "MATCH (a)-[r:KNOWS]->(b) RETURN a.id AS a, b.id AS b, r.since AS s, r.note AS n"
    )
    return sorted((tuple(row.values()) for row in rows), key=repr)


def with_a_doubled_key(targets: Targets) -> Any:
    """A graph without uniqueness, in which another program has a user 1 too."""
    graph = targets.open()
    graph.query("CREATE (:User {id: 1, name: 'theirs'})")
    graph.query(f"CREATE (:User {{id: 1, name: 'ours', _run: '{RUN}'}})")
    graph.write_nodes(users([2, 3]), False)
    return graph


def refuse(targets: Targets, statement: str, **when: Any) -> None:
    targets.server.faults.add(Fault("error", statement=statement, code="22000", **when))


# -- relationships --------------------------------------------------------------------------------


@over_grpc
def test_an_orphan_is_not_made_up_for_by_a_row_with_two_ends(targets: Targets) -> None:
    """None and two are two relationships for two rows, and neither is right."""
    graph = with_a_doubled_key(targets)
    written = graph.write_relationships(knows((2, 99, 6, "orphan"), (2, 1, 5, "x")), False)
    assert (written.rows, written.orphans, written.refused) == (1, (0,), ())
    assert found(graph) == [(2, 1, 5, "x")]


@over_grpc
def test_what_is_committed_before_a_refusal_is_not_written_again(targets: Targets) -> None:
    """Rows whose ends are doubled go apart from the others; a refusal of them halves the batch."""
    graph = with_a_doubled_key(targets)
    refuse(targets, r"_run = \$run.*CREATE \(a\)")
    written = graph.write_relationships(knows((2, 3, 5, "single"), (2, 1, 6, "doubled")), False)
    assert (written.rows, written.orphans, written.refused) == (2, (), ())
    assert found(graph) == [(2, 1, 6, "doubled"), (2, 3, 5, "single")]


@over_grpc
def test_parallel_relationships_of_other_batches_survive_a_repeat(graph: Target) -> None:
    """A chunk has several batches, and one step: another key is another row."""
    batches = [knows((1, 2, 2020, "a")), knows((1, 2, 2021, "b")), knows((1, 2, None, "c"))]
    graph.write_relationships(batches[0], False)
    assert [graph.write_relationships(batch, True).rows for batch in batches] == [1, 1, 1]
    assert len(found(graph)) == 3


@over_grpc
def test_a_repeated_batch_that_is_halved_keeps_its_other_half(
    graph: Target, targets: Targets
) -> None:
    """What the other half has written is no remnant of an attempt before, twins neither."""
    rows = [(1, 2, 2020, "a"), (1, 2, 2021, "b"), (1, 2, 2022, "twin"), (1, 2, 2022, "twin")]
    graph.write_relationships(knows(rows[0], rows[2]), False)
    for nth in (1, 2):
        refuse(targets, r"CREATE \(a\)-", nth=nth)
    written = graph.write_relationships(knows(*rows), True)
    assert len(targets.server.faults.happened) == 2
    assert (written.rows, written.refused) == (4, ())
    assert found(graph) == sorted(rows, key=repr)


@over_grpc
def test_a_changed_row_whose_own_key_is_null_leaves_no_old_relationship(graph: Target) -> None:
    """Null is a value of the key, though nothing equals it."""
    for note, repeated in (("old", False), ("new", True)):
        assert graph.write_relationships(knows((1, 2, None, note)), repeated).rows == 1
    assert found(graph) == [(1, 2, None, "new")]


@over_grpc
def test_of_twins_one_is_left_when_its_like_has_gone_from_the_source(graph: Target) -> None:
    """To remove the one that is too many must not take the other."""
    twin = (1, 2, 2020, "twin")
    graph.write_relationships(knows(twin, twin), False)
    assert graph.write_relationships(knows(twin), True).rows == 1
    assert found(graph) == [twin]


# -- nodes ----------------------------------------------------------------------------------------


@over_grpc
def test_a_node_whose_key_nothing_equals_is_there_once_after_a_repeat(targets: Targets) -> None:
    """NaN is found by its fingerprint."""
    graph = targets.open()
    shape = NodeShape("Half", ("k",), ("k",), ("FLOAT",))
    graph.prepare([shape])
    rows = [(float("nan"), 1), (0.5, 2)]
    for repeated in (False, True, True):
        assert graph.write_nodes(NodeBatch(shape, rows, RUN, (), 1), repeated).rows == 2
        assert graph.count_nodes(shape) == 2


# -- connections ----------------------------------------------------------------------------------


@over_quic
def test_a_conflict_at_the_commit_is_tried_again_over_another_connection(
    graph: Target, targets: Targets
) -> None:
    """The transaction that was refused is open still on the first one."""
    targets.server.faults.add(Fault("error", on="commit", code="40001"))
    assert graph.write_nodes(users([7, 8]), False).rows == 2
    assert [fault.on for fault in targets.server.faults.happened] == ["commit"]
    assert graph.count_nodes(USER) == 7


@over_quic
def test_a_connection_that_is_cut_off_in_its_login_is_tried_once_more(targets: Targets) -> None:
    """On a busy network; twice is an error."""
    cut_off = Fault("drop_before", on="hello")
    targets.server.faults.add(cut_off)
    targets.open()
    assert targets.server.faults.happened == [cut_off]
    targets.server.faults.clear()
    targets.server.faults.add(Fault("drop_before", on="hello", times=0))
    with pytest.raises(UnreachableError, match="cannot connect"):
        targets.open()
    assert len(targets.server.faults.happened) == 2


@over_both
def test_who_waits_for_an_answer_when_the_graph_is_closed_is_told_so(
    graph: Target, targets: Targets
) -> None:
    """Nobody waits for ever for a loop that has ended."""
    slow = targets.server.faults.add(Fault("slow", statement=r"CREATE \(n:User", seconds=60))
    raised: list[BaseException] = []

    def write() -> None:
        try:
            graph.write_nodes(users([7]), False)
        except BaseException as error:
            raised.append(error)

    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    wait_until(lambda: slow in targets.server.faults.happened)
    graph.close()
    writing.join(30)
    assert [type(error) for error in raised] == [LostError]
    with pytest.raises(ConnectError, match="closed"):
        graph.count_nodes(USER)


@over_grpc
def test_a_server_that_is_short_of_memory_makes_no_dead_letters(targets: Targets) -> None:
    """It tells so with the code of a message that is too large, also of the smallest one."""
    address, _ = parse_address(targets.place())
    sessions = Sessions(address, PASSWORD)
    try:
        with sessions.lent() as session:
            session._transport.execute_bytes = exhausted
            large = session.run("RETURN $x AS x", {"x": "x" * 100_000})
            with pytest.raises(TooLargeError):
                sessions.wait(large)
            with pytest.raises(LostError):
                sessions.wait(session.run("RETURN $x AS x", {"x": "x"}))
    finally:
        sessions.close()


async def exhausted(request: bytes) -> None:
    raise RuntimeError("StatusCode.RESOURCE_EXHAUSTED: out of memory")
