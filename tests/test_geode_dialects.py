"""The probe finds what each server understands, leaves nothing behind, and writing is exact."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from geode_tui.errors import GeodeTuiError, LostError, PermissionRefusedError, UsageError
from geode_tui.target import geode_dialect as found
from geode_tui.target.geode import GeodeGraph
from geode_tui.target.geode_dialect import EACH, FOR
from geode_tui.target.geode_dsn import parse_address
from geode_tui.target.model import NodeBatch, NodeShape, RelationshipBatch, RelationshipShape
from tests.geode_loopback import Dialect, Fault, Loopback, User

INDEX_ON, INDEX_FOR = found.INDEXES
UNIQUE_INDEX, CONSTRAINT_ON, CONSTRAINT_ASSERT, CONSTRAINT_FOR = found.UNIQUES
NO_UNIQUE = {"unique_index": False, "constraint_on_label": False, "constraint_assert": False}
NO_INDEX = {"index_on_label": False, "index_for": False}

DOCUMENTED = found.Dialect(index=INDEX_ON, unique=UNIQUE_INDEX, show=True, temporal=True)
DIALECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as documented": ({}, {}),
    "UNWIND refused": ({"unwind": False}, {"rows": EACH, "maps": False, "distinct": False}),
    "FOR in the place of UNWIND": ({"unwind": False, "for_in": True}, {"rows": FOR}),
    "no list as a parameter": ({"list_parameters": False}, {"rows": EACH, "maps": False}),
    "no map as a parameter": (
        {"map_parameters": False},
        {"rows": EACH, "maps": False, "set_map": False},
    ),
    "MERGE refused": ({"merge": False}, {"merge": False}),
    "SET from a map refused": ({"set_map": False, "set_add_map": False}, {"set_map": False}),
    "INDEX FOR (n:Label)": (
        {"index_on_label": False},
        {"index": INDEX_FOR, "unique": CONSTRAINT_ON},
    ),
    "no index": (NO_INDEX, {"index": "", "unique": CONSTRAINT_ON}),
    "CONSTRAINT ON Label": ({"unique_index": False}, {"unique": CONSTRAINT_ON}),
    "CONSTRAINT ASSERT": (NO_UNIQUE | {"constraint_assert": True}, {"unique": CONSTRAINT_ASSERT}),
    "CONSTRAINT FOR": (NO_UNIQUE | {"constraint_for": True}, {"unique": CONSTRAINT_FOR}),
    "no uniqueness": (NO_UNIQUE, {"unique": ""}),
    "neither index nor uniqueness": (NO_INDEX | NO_UNIQUE, {"index": "", "unique": ""}),
    "SHOW refused": ({"show": False}, {"show": False}),
    "a rollback that keeps": ({"rollback_keeps": True}, {"rollback": False, "rollback_set": False}),
    "directions ignored": ({"ignores_direction": True}, {"direction": False}),
    "DELETE r takes nodes": ({"delete_takes_nodes": True}, {"delete_relationship": False}),
    "WITH … LIMIT refused": ({"refused": (r"\bWITH\b.*\bLIMIT\b",)}, {"parts": False}),
    "LIMIT needs ORDER BY": ({"limit_needs_order": True}, {"parts": False}),
    "no temporal functions": ({"temporal_functions": False}, {"temporal": False}),
    "count(DISTINCT) is null": ({"count_distinct_is_null": True}, {"distinct": False}),
    "several CREATE refused": ({"refused": (r"CREATE.*\bCREATE\b",)}, {"several": False}),
    "little of all": (
        {"unwind": False, "merge": False, "set_add_map": False, "show": False}
        | {"temporal_functions": False, "rollback_keeps": True}
        | NO_INDEX
        | NO_UNIQUE,
        {"rows": EACH, "maps": False, "distinct": False, "merge": False, "set_map": False}
        | {"show": False, "temporal": False, "rollback": False, "rollback_set": False}
        | {"index": "", "unique": ""},
    ),
}
NAMES = list(DIALECTS)
_graphs = itertools.count(1)


@pytest.fixture(scope="module")
def running() -> Iterator[Loopback]:
    users = {"geode": User("secret"), "reader": User("secret", "reader")}
    with Loopback(users=users) as server:
        yield server


@pytest.fixture
def server(running: Loopback) -> Iterator[Loopback]:
    """The server, with the documented dialect again afterwards and without faults."""
    yield running
    running.faults.clear()
    running.dialect = Dialect()


@pytest.fixture
def graph(server: Loopback) -> str:
    """The name of a new graph, which holds a node of somebody else's."""
    name = f"d{next(_graphs)}"
    server.graph(name).execute("CREATE (:Theirs {key: 1})")
    return name


def opened(server: Loopback, graph: str, **options: Any) -> GeodeGraph:
    dsn = options.pop("dsn", None) or server.grpc_dsn(graph=graph, tls=False)
    return GeodeGraph.open(*parse_address(dsn), **options)


def left(server: Loopback, graph: str) -> list[Any]:
    """What is in the graph besides the node of somebody else's."""
    inside = server.graph(graph)
    rows = list(inside.execute("MATCH (n) WHERE n:_GeodeTuiProbe OR n.probe IS NOT NULL RETURN n"))
    assert [row["c"] for row in inside.execute("MATCH (n:Theirs) RETURN count(n) AS c")] == [1]
    edges = inside.execute("MATCH ()-[r:_GEODE_TUI_PROBE]->() RETURN r")
    return [*rows, *edges, *inside.execute("SHOW INDEXES"), *inside.execute("SHOW CONSTRAINTS")]


# -- the probe ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_probe_finds_what_the_server_understands(
    server: Loopback, graph: str, name: str
) -> None:
    """Each finding is right, is told in words, and nothing of the trial is left."""
    switches, differs = DIALECTS[name]
    server.dialect = replace(Dialect(), **switches)
    target = opened(server, graph)
    try:
        assert target.dialect == replace(DOCUMENTED, **differs)
        assert all(title and text for title, text in target.facts())
    finally:
        target.close()
    assert left(server, graph) == []


@pytest.mark.parametrize("transport", ["grpc", "quic"])
def test_both_transports_find_the_same(server: Loopback, graph: str, transport: str) -> None:
    """The dialect is the server's, not the connection's."""
    target = opened(server, graph, dsn=server.dsn(transport, graph=graph))
    target.close()
    assert target.dialect == DOCUMENTED
    assert left(server, graph) == []


def test_a_server_without_parameters_is_refused(server: Loopback, graph: str) -> None:
    """Values are never written into statements: one clear error, nothing written."""
    server.dialect = Dialect(parameters=False)
    with pytest.raises(UsageError, match="takes no parameters"):
        opened(server, graph)
    assert left(server, graph) == []


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
@pytest.mark.parametrize("nth", range(3, 46, 5))
def test_a_probe_whose_connection_breaks_leaves_nothing(
    server: Loopback, graph: str, kind: Any, nth: int
) -> None:
    """Wherever it breaks: one error, and node, index and constraint are removed."""
    server.faults.add(Fault(kind, nth=nth))
    broke = False
    try:
        opened(server, graph).close()
    except LostError:
        broke = True
    assert server.faults.happened
    assert broke or kind == "drop_after"  # a statement that is refused is answered all the same
    assert left(server, graph) == []


def test_a_probe_removes_what_a_killed_one_left_long_ago(server: Loopback, graph: str) -> None:
    """And not what a probe that runs now has made."""
    inside = server.graph(graph)
    inside.execute("CREATE (:_GeodeTuiProbe {probe: '00000001abc'})")
    now = found.new_mark()
    inside.execute(f"CREATE (:_GeodeTuiProbe {{probe: '{now}'}})")
    opened(server, graph).close()
    rows = inside.execute("MATCH (n:_GeodeTuiProbe) RETURN n.probe AS probe")
    assert [row["probe"] for row in rows] == [now]


def test_probes_at_once_do_not_disturb_each_other(server: Loopback, graph: str) -> None:
    """Several processes of a run connect at the same time."""
    dialects: list[found.Dialect] = []

    def connect() -> None:
        target = opened(server, graph)
        dialects.append(target.dialect)
        target.close()

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dialects == [DOCUMENTED] * 4
    assert left(server, graph) == []


def test_a_role_that_may_only_read_opens_for_reading(server: Loopback, graph: str) -> None:
    """To write is refused with one clear error; nothing is written either way."""
    dsn = server.grpc_dsn(user="reader", graph=graph, tls=False)
    target = opened(server, graph, dsn=dsn, read_only=True)
    assert target.describe().nodes == 1
    assert target.query("MATCH (n:Theirs) RETURN n.key AS key") == [{"key": 1}]
    target.close()
    with pytest.raises(PermissionRefusedError, match="may not") as refused:
        opened(server, graph, dsn=dsn)
    assert refused.value.next_step
    assert left(server, graph) == []


# -- writing in each dialect ----------------------------------------------------------------------

USER = NodeShape("User", ("id",), ("id", "name"), ("INT", "STRING"))
HOME = NodeShape("Home", ("a", "b"), ("a", "b", "note"), ("INT", "STRING", "STRING"))
LIVES = RelationshipShape("LIVES_IN", USER, HOME, ("since",), ("since", "note"))
KNOWS = RelationshipShape("KNOWS", USER, USER, (), ())
RUN = "r1"


def write(target: GeodeGraph, repeated: bool, changed: str = "") -> tuple[int, int, int]:
    """Write users, homes, and who lives where since when; how many of each."""
    users = [(n, f"u{n}{changed}", n) for n in range(6)]
    homes = [(n, "it's", None if n else "x", 10 + n) for n in range(2)]
    lives = [
        (n, n % 2, "it's", 2000 + k, changed, 20 + 2 * n + k) for n in range(6) for k in (0, 1)
    ]
    return (
        target.write_nodes(NodeBatch(USER, users, RUN, (), 1), repeated).rows,
        target.write_nodes(NodeBatch(HOME, homes, RUN, (), 2), repeated).rows,
        target.write_relationships(RelationshipBatch(LIVES, lives, RUN, 3), repeated).rows,
    )


def inside(server: Loopback, graph: str) -> dict[str, int]:
    """How many there are, seen from inside the server."""
    database = server.graph(graph)
    counts = {}
    for what, text in {
        "users": "MATCH (n:User) RETURN count(n) AS c",
        "homes": "MATCH (n:Home) RETURN count(n) AS c",
        "lives": "MATCH (:User)-[r:LIVES_IN]->(:Home) RETURN count(r) AS c",
        "nodes": "MATCH (n) RETURN count(n) AS c",
        "edges": "MATCH ()-[r]->() RETURN count(r) AS c",
    }.items():
        counts[what] = next(iter(database.execute(text)))["c"]
    return counts


WHOLE = {"users": 6, "homes": 2, "lives": 12, "nodes": 9, "edges": 12}
EMPTY = {"users": 0, "homes": 0, "lives": 0, "nodes": 1, "edges": 0}


@pytest.mark.parametrize("name", NAMES)
def test_a_small_write_is_exact_in_every_dialect(server: Loopback, graph: str, name: str) -> None:
    """Written, written again, counted, read, and taken back: or refused before anything is lost."""
    server.dialect = replace(Dialect(), **DIALECTS[name][0])
    target = opened(server, graph)
    try:
        target.prepare([USER, HOME])
        target.prepare([USER, HOME])
        assert write(target, repeated=False) == (6, 2, 12)
        assert inside(server, graph) == WHOLE
        assert write(target, repeated=True) == (6, 2, 12)
        assert inside(server, graph) == WHOLE
        assert target.read_nodes(USER, [(3,), (9,)])[1] is None
        assert (target.read_nodes(USER, [(3,)])[0] or {})["name"] == "u3"
        assert target.count_relationships(LIVES) == target.count_type("LIVES_IN") == 12
        assert target.count_after(RUN, 0) == (8, 12)
        assert target.count_of_run(USER, RUN) == 6
        assert target.duplicate_nodes(HOME) == 0
        assert [
            len(r) for r in target.read_relationships(LIVES, [((1,), (1, "it's"), (2001,))])
        ] == [1]
        take_back(server, graph, target)
    finally:
        target.close()


def test_without_lists_a_statement_makes_several_nodes(server: Loopback, graph: str) -> None:
    """Where the server takes several CREATE in a statement; nothing is a statement of its own."""
    server.dialect = replace(Dialect(), **DIALECTS["no list as a parameter"][0])
    target = opened(server, graph)
    try:
        assert write(target, repeated=False) == (6, 2, 12)
    finally:
        target.close()
    made = [s.text for s in server.statements if s.graph == graph and "CREATE (:" in s.text]
    assert [text.count("CREATE (:") for text in made if "_run" in text] == [6, 2]


def take_back(server: Loopback, graph: str, target: GeodeGraph) -> None:
    """What the run wrote goes, and only that; where a server cannot, nothing is lost."""
    if not target.dialect.delete_relationship:
        with pytest.raises(GeodeTuiError, match="relationship"):
            target.delete_after(RUN, 0)
        assert inside(server, graph) == WHOLE
        return
    assert target.delete_after(RUN, 2) == (0, 12)
    assert inside(server, graph) == WHOLE | {"lives": 0, "edges": 0}
    assert target.delete_after(RUN, 0) == (8, 0)
    assert inside(server, graph) == EMPTY


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_row_is_written_again_in_every_dialect(
    server: Loopback, graph: str, name: str
) -> None:
    """A repeated step replaces what the interrupted one wrote of other values."""
    server.dialect = replace(Dialect(), **DIALECTS[name][0])
    target = opened(server, graph)
    try:
        users = [(n, f"u{n}", n) for n in range(4)]
        target.write_nodes(NodeBatch(USER, users, RUN, (), 1), False)
        changed = [(n, f"new {n}", 100 + n) for n in range(6)]
        written = target.write_nodes(NodeBatch(USER, changed, RUN, (), 1), True)
        assert (written.rows, written.refused) == (6, ())
        rows = server.graph(graph).execute("MATCH (n:User) RETURN n.name AS name")
        assert sorted(row["name"] for row in rows) == [f"new {n}" for n in range(6)]
    finally:
        target.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_is_there_is_refused_in_every_dialect(
    server: Loopback, graph: str, name: str
) -> None:
    """Also where the server keeps no keys unique: one row refused, the others written."""
    server.dialect = replace(Dialect(), **DIALECTS[name][0])
    target = opened(server, graph)
    try:
        target.prepare([USER])
        server.graph(graph).execute("CREATE (:User {id: 2, name: 'theirs'})")
        rows = [(n, f"u{n}", n) for n in (1, 2, 3, 1)]
        written = target.write_nodes(NodeBatch(USER, rows, RUN, (), 1), False)
        assert (written.rows, [r.position for r in written.refused]) == (2, [1, 3])
        assert inside(server, graph)["users"] == 3
    finally:
        target.close()


def test_relationships_within_a_label_need_their_direction(server: Loopback, graph: str) -> None:
    """Where the server ignores directions they are refused before one is written."""
    server.dialect = Dialect(ignores_direction=True)
    target = opened(server, graph)
    try:
        write(target, repeated=False)
        with pytest.raises(GeodeTuiError, match="directions") as refused:
            target.write_relationships(RelationshipBatch(KNOWS, [(1, 2, 5)], RUN, 4), False)
        assert refused.value.next_step
        assert inside(server, graph) == WHOLE
    finally:
        target.close()
