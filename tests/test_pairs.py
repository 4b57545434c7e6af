"""A person's own checks: SQL and GQL of the mapping's file that must give the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from geode_tui.errors import MappingError
from geode_tui.mapping import file
from geode_tui.mapping.check import check
from geode_tui.mapping.difference import changes, compare, patched
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Pair
from geode_tui.mapping.pairs import check_gql
from geode_tui.mapping.steps import steps
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from geode_tui.validation.ledger import Check
from geode_tui.validation.pairs import check_pairs, difference
from tests.catalogs import SHOP
from tests.conftest import MakeDatabase, run_now
from tests.migrate import read_catalog
from tests.targets import EMBEDDED, GRPC, Targets, contents, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

PEOPLE = """
CREATE TABLE person (id int PRIMARY KEY, name text, born date, seen timestamptz,
  money numeric(9, 2));
INSERT INTO person SELECT n, 'person ' || n % 5, date '2000-01-01' + n % 3,
  '2024-01-01 00:00Z'::timestamptz + n % 2 * interval '1 hour', n * 1.10
FROM generate_series(1, 1010) n;
INSERT INTO person VALUES (1011, E'}) // \\\\ '' ` "😀"', NULL, NULL, NULL);
"""
GOOD = (
    Pair("how many", "SELECT count(*) FROM public.person", "MATCH (p:Person) RETURN count(p) AS n"),
    Pair(
        "by name [/x]",
        "SELECT name, count(*), sum(money), avg(id) FROM public.person GROUP BY 1 ORDER BY 1",
        "MATCH (p:Person) RETURN p.name AS name, count(p) AS c, sum(p.money) AS s, avg(p.id) AS a "
        "ORDER BY c, name DESC",
    ),
    Pair(
        "days and instants",
        "SELECT born, seen, count(*) FROM public.person GROUP BY 1, 2",
        "MATCH (p:Person) RETURN p.born AS b, p.seen AS s, count(p) AS c;",
    ),
    Pair(
        "some text",
        "SELECT name FROM public.person WHERE name LIKE '%😀%'",
        "MATCH (p:Person) WHERE p.name CONTAINS '😀' RETURN p.name AS name LIMIT 5",
    ),
    Pair(
        "nobody",
        "SELECT id FROM public.person WHERE id < 0",
        "MATCH (p:Person {id: -1}) RETURN p.id",
    ),
    Pair("about", "SELECT 10.5", "RETURN 10 AS ten", tolerance=0.5),
)


@pytest.fixture
def asked(
    make_database: MakeDatabase, targets: Targets, tmp_path: Path
) -> Iterator[Callable[..., list[Check]]]:
    """Asks pairs of a migrated shop as a validation does; what it holds must not change."""
    dsn, place = make_database(PEOPLE), targets.place()
    request = RunRequest(dsn, place, infer(read_catalog(dsn)))
    runner = Runner(request, journal=tmp_path / "j.sqlite3")
    runner.start()
    runner.join()
    assert runner.error is None, runner.error

    async def ask(pairs: tuple[Pair, ...]) -> list[Check]:
        source = await Source.connect(dsn)
        reader = await source.snapshot([])
        try:
            found = await check_pairs(reader, graph, pairs)
            assert (await reader.fetch("SELECT count(*) FROM public.person"))[0][0] == 1011
            return found
        finally:
            await reader.close()
            await source.close()

    graph = targets.open(place, read_only=True)
    before = contents(graph)
    yield lambda *pairs: run_now(ask(pairs))
    assert contents(graph) == before


COUNT = "SELECT count(*) FROM public.person"
NODES = "MATCH (p:Person) RETURN count(p) AS c"
BAD = {
    "another number": (COUNT, "RETURN 1202 AS c", "only in the source: (1011)"),
    "a row more": ("SELECT 1", "UNWIND [1, 1] AS x RETURN x", "only in the graph: (1)"),
    "no row": ("SELECT 1 WHERE false", "RETURN 1 AS x", "only in the graph: (1)"),
    "a text for a number": ("SELECT 1", "RETURN '1' AS x", "only in the graph: ('1')"),
    "a null for a text": ("SELECT ''", "RETURN null AS x", "only in the graph: (null)"),
    "true for one": ("SELECT 1", "RETURN true AS x", "only in the graph: (True)"),
    "columns the other way": ("SELECT 1, 2", "RETURN 2 AS a, 1 AS b", "only in the source: (1, 2)"),
    "a column more": (
        "SELECT 1",
        "RETURN 1 AS a, 2 AS b",
        "1 columns in the source, 2 in the graph",
    ),
    "too many rows": (
        "SELECT id FROM public.person",
        NODES,
        "the SQL returns more than 1,000 rows",
    ),
    "too many in the graph": (
        COUNT,
        "MATCH (p:Person) RETURN p.id",
        "the GQL returns more than 1,0",
    ),
    "SQL of another world": ("SELEC 1", NODES, "a query begins with SELECT"),
    "no such table": (
        "SELECT 1 FROM public.nobody",
        NODES,
        'relation "public.nobody" does not exist',
    ),
    "a row that fails": ("SELECT 1 / (id - 7) FROM public.person", NODES, "division by zero"),
    "a value beyond dates": ("SELECT '44-03-15 BC'::date", NODES, "the SQL fails"),
    "GQL that is none": (COUNT, "MATCH (p:Person) FOO p RETURN p", "the GQL fails"),
    "SQL that writes": ("DELETE FROM public.person", NODES, "a query begins with SELECT"),
    "a WITH that writes": (
        "WITH d AS (DELETE FROM public.person RETURNING 1) SELECT count(*) FROM d",
        NODES,
        "DELETE has no place here",
    ),
    "two statements": ("SELECT 1; COMMIT", NODES, "a semicolon"),
    "a function that writes": ("SELECT nextval('public.s')", NODES, "nextval"),
    "a function that asks to": (
        "SELECT set_config('transaction_read_only', 'off', true)",
        NODES,
        "set_config is not in the list",
    ),
    "GQL that writes": (
        COUNT,
        "MATCH (p:Person) SET p.name = 'x' RETURN count(p)",
        "SET has no place",
    ),
    "GQL that removes": (COUNT, "MATCH (p:Person) DETACH DELETE p RETURN 1", "DETACH has no place"),
    "GQL that inserts": (COUNT, "INSERT (:Person {id: 0})", "INSERT has no place"),
    "GQL hidden by a text": (
        COUNT,
        r"MATCH (p:Person) WHERE p.name <> '\' SET p.name = ' RETURN 1",
        "a backslash before a quotation mark",
    ),
    "GQL hidden by a comment": (COUNT, "MATCH (p:Person) -- '\nSET p.name = ''", "a comment (--)"),
    "GQL in two": (COUNT, "RETURN 1 AS x; MATCH (n) DETACH DELETE n", "a semicolon"),
    "GQL of two parts": (COUNT, "RETURN 1 AS x UNION RETURN 2 AS x", "UNION has no place"),
    "a procedure": (COUNT, "MATCH (n) CALL db.drop() RETURN 1", "CALL has no place"),
    "an open text": (COUNT, "RETURN 'x", "a quotation mark (') is not closed"),
    "nothing returned": (COUNT, "MATCH (n:Person)", "a check returns something"),
    "a great limit": (COUNT, "MATCH (n) RETURN n LIMIT 100000", "a LIMIT of at most 1,000"),
}


@pytest.mark.parametrize("targets", [EMBEDDED, GRPC], indirect=True)
def test_what_is_alike_passes_and_all_else_is_a_failed_check(
    asked: Callable[..., list[Check]],
) -> None:
    """What differs, fails or would write says why, and the others are asked all the same."""
    pairs = [Pair(name, sql, gql) for name, (sql, gql, _) in BAD.items()]
    checks = asked(*pairs, *GOOD)
    assert [(c.kind, c.source_sql, c.target_gql) for c in checks] == [
        ("pair", pair.sql, pair.gql) for pair in (*pairs, *GOOD)
    ]
    bad, good = checks[: len(BAD)], checks[len(BAD) :]
    assert [(check.name, check.passed, check.why) for check in good] == [
        (pair.name, True, "") for pair in GOOD
    ]
    assert [(c.source, c.graph) for c in good][:2] == [("1011", "1011"), ("6 rows", "6 rows")]
    assert (good[4].source, good[4].graph) == ("0 rows", "0 rows")
    told = {check.name: (check.passed, check.why) for check in bad}
    assert {n: t for n, t in told.items() if t[0] or BAD[n][2] not in t[1]} == {}


SAME: list[tuple[Any, Any]] = [
    (1, 1.0),
    (Decimal("1.10"), Decimal("1.1")),
    (Decimal("0.1"), 0.1),
    (Decimal("2.3333333333333333"), 2.3333333333333335),
    (float("nan"), Decimal("NaN")),
    (float("inf"), Decimal("Infinity")),
    (-0.0, 0),
    (date(2024, 2, 29), "2024-02-29"),
    (time(1, 2, 3, 4), "01:02:03.000004"),
    (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1)),
    (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-01T00:00:00+00:00"),
    ([1, None, ["a"]], (Decimal(1), None, ("a",))),
    (b"\x00", bytearray(b"\x00")),
]
OTHERS: list[tuple[Any, Any]] = [
    (1, "1"),
    (1, True),
    (None, ""),
    (2**53, 2**53 + 1),
    (0.1, 0.10000001),
    (Decimal("0.1"), Decimal("0.10000000000000000001")),
    (float("nan"), None),
    (float("inf"), 1e308),
    (date(2024, 1, 1), datetime(2024, 1, 1)),
    (datetime(2024, 1, 1), "2024-01-01T00:00:00.000001"),
    ("2024-02-30", date(2024, 3, 1)),
    ("a", "a "),
    ("á", "a\u0301"),
    ([1, 2], [2, 1]),
    ([1], [1, None]),
    (b"a", "a"),
]


def test_what_counts_as_the_same_value() -> None:
    """Numbers of any type, floats to a billionth, instants in any zone, times as ISO text."""
    assert [pair for pair in SAME if difference([pair[:1]], [pair[1:]], 0)] == []
    assert [pair for pair in OTHERS if not difference([pair[:1]], [pair[1:]], 0)] == []


def test_the_order_of_rows_counts_nothing_and_their_number_does() -> None:
    """Rows are compared as they are, each with one other; numbers may differ by the tolerance."""
    rows = [("a", 1), ("b", 2), ("b", 2), ("c", None)]
    assert difference(rows, rows[::-1], 0) == ""
    assert difference(rows, [*rows[1:], ("b", 2)], 0) == (
        "only in the source: ('a', 1); only in the graph: ('b', 2)"
    )
    near = [("c", None), ("b", 2.2), ("b", 1.9), ("a", Decimal("1.25"))]
    assert difference(rows, near, 0.25) == ""
    assert difference(rows, near, 0.2) == (
        "only in the source: ('a', 1); only in the graph: ('a', 1.25)"
    )
    many = [(n,) for n in range(1_000)]
    assert difference(many, [(n + 5,) for n in range(1_000)], 0).count("and 2 more") == 2
    assert "more than 1,000 rows" in difference(many, [*many, (1,)], 0)


def test_words_that_write_are_names_where_they_are_quoted() -> None:
    """In back ticks, in a text, after a dot or a colon; a LIMIT is added where there is none."""
    harmless = (
        "MATCH (`set`:Delete {`merge`: 'DROP it''s'})-[:CREATE]->(n) RETURN n.set, `set`.remove"
    )
    assert check_gql(f"{harmless} ;") == f"{harmless} LIMIT 1001"
    limited = "MATCH (n) WHERE EXISTS { MATCH (n)-[]->() RETURN 1 LIMIT 1 } RETURN n LIMIT 7"
    assert check_gql(limited) == limited
    inner = "MATCH (n) WHERE EXISTS { MATCH (n)-[]->() RETURN 1 LIMIT 1 } RETURN n"
    assert check_gql(inner).endswith("RETURN n LIMIT 1001")


# -- in the mapping's file ------------------------------------------------------------------------


WRONG = {
    "no SQL": ("{name: a, gql: RETURN 1}", 0, "sql is missing"),
    "no GQL": ("{name: a, sql: SELECT 1}", 0, "gql is missing"),
    "no name": ("{name: ' ', sql: SELECT 1, gql: RETURN 1}", 0, "the check has no name"),
    "two of one name": ("{name: one, sql: SELECT 1, gql: RETURN 1}", 0, "check one stands twice"),
    "another field": ("{name: a, sq: SELECT 1}", 0, "no field 'sq' here"),
    "a text": ("SELECT 1", 0, "expected name: value pairs"),
    "SQL that writes": ("name: a\n  sql: DROP TABLE x\n  gql: RETURN 1", 1, "SQL at character 1"),
    "GQL that writes": (
        "name: a\n  sql: SELECT 1\n  gql: MATCH (n) DETACH DELETE n RETURN 1",
        2,
        "GQL: DETACH has no place in a check: a check only reads",
    ),
    "a tolerance that is none": (
        "name: a\n  sql: SELECT 1\n  gql: RETURN 1\n  tolerance: some",
        3,
        "tolerance is some",
    ),
    "a tolerance below none": (
        "name: a\n  sql: SELECT 1\n  gql: RETURN 1\n  tolerance: -1",
        3,
        "tolerance is -1",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_check_that_cannot_be_is_told_with_its_line(case: str) -> None:
    """Before anything runs."""
    text, further, what = WRONG[case]
    document = file.dump(infer(SHOP))
    line = document.count("\n") + 3 + further
    document += f"checks:\n- {{name: one, sql: SELECT 1, gql: RETURN 1}}\n- {text}\n"
    with pytest.raises(MappingError) as error:
        check(file.parse(document, "m.yaml"), SHOP)
    assert error.value.what.startswith(f"m.yaml line {line}: {what}"), error.value.what


def test_checks_stay_in_the_file_and_change_no_graph() -> None:
    """They are read as written; a difference names them, and takes no step."""
    mapping = infer(SHOP)
    checked = replace(mapping, checks=GOOD)
    again = file.parse(file.dump(checked))
    check(again, SHOP)
    assert again.mapping == checked
    assert "checks" not in file.dump(mapping)
    other = replace(checked, checks=(replace(GOOD[0], gql=GOOD[0].gql.lower()), *GOOD[1:]))
    found = compare(checked, other)
    [change] = changes(found)
    assert (change.way, change.kind, change.name) == ("change", "check", "how many")
    assert change.old != change.new
    assert patched(checked, found) == other
    assert steps(found) == () == steps(compare(mapping, checked))
    assert file.mapping_hash(checked) != file.mapping_hash(other) != file.mapping_hash(mapping)
