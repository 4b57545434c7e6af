"""The independent comparison finds nothing on a good graph, and every damage on a bad one."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import grafeo
import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping import file
from tests import independent_comparison
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import Comparison, Kind, compare
from tests.migrate import migrate

SCHEMA = """
CREATE TABLE customers (
  id int PRIMARY KEY, name text NOT NULL, nickname text, visits int, seen timestamptz,
  balance numeric(10, 2), tags text[], referred_by int REFERENCES customers);
CREATE TABLE orders (
  number text PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, placed date);
CREATE TABLE notes (body text, written timestamp);
CREATE TABLE products (sku uuid PRIMARY KEY, title text);
CREATE TABLE order_products (
  number text REFERENCES orders, sku uuid REFERENCES products, amount int NOT NULL,
  PRIMARY KEY (number, sku));
INSERT INTO customers VALUES
  (1, 'Ana', NULL, 7, '2024-03-31 01:30:00+01', 1.50, '{a,NULL,b}', NULL),
  (2, 'Bob', '', 8, '2024-03-31 03:30:00+02', 0, '{}', 1),
  (3, 'Cleo', 'cl''e"o', NULL, NULL, NULL, NULL, 2);
INSERT INTO orders VALUES ('A-1', 1, '2024-02-29'), ('A-2', 1, NULL), ('A-3', 2, '0001-01-01');
INSERT INTO notes VALUES ('twice', '2024-01-01'), ('twice', '2024-01-01'), (NULL, NULL);
INSERT INTO products VALUES ('00000000-0000-0000-0000-00000000000a', 'pen'),
  ('00000000-0000-0000-0000-00000000000b', 'ink');
INSERT INTO order_products SELECT number, sku, 5 FROM orders, products WHERE number <> 'A-3';
"""

Damage = Callable[[grafeo.GrafeoDB], Any]
Expected = tuple[Damage, str, Kind, str]
"""A damage, and the entity, the kind and a part of the text of what is found."""


def _run(statement: str, **parameters: Any) -> Damage:
    return lambda graph: list(graph.execute(statement, parameters))


def _set(property_name: str, value: Any) -> Damage:
    return _run(f"MATCH (c:Customer {{id: 1}}) SET c.{property_name} = $value", value=value)


def _lead_elsewhere(graph: grafeo.GrafeoDB) -> None:
    """Order A-3 belongs to Bob; let it belong to Cleo."""
    _run("MATCH (o:`Order` {number: 'A-3'})-[r]->(c:Customer) DELETE r")(graph)
    _run(
        "MATCH (o:`Order` {number: 'A-3'}) MATCH (c:Customer {id: 3})"
        " CREATE (o)-[:HAS_CUSTOMER]->(c)"
    )(graph)


def _turn_round(graph: grafeo.GrafeoDB) -> None:
    """Bob was referred by Ana; let Ana be referred by Bob."""
    _run("MATCH (b:Customer {id: 2})-[r:REFERRED_BY]->(a:Customer {id: 1}) DELETE r")(graph)
    _run("MATCH (b:Customer {id: 2}) MATCH (a:Customer {id: 1}) CREATE (a)-[:REFERRED_BY]->(b)")(
        graph
    )


def _double_relationship(graph: grafeo.GrafeoDB) -> None:
    for row in list(
        graph.execute("MATCH (o:`Order` {number: 'A-1'})-[r:HAS_CUSTOMER]->() RETURN r")
    ):
        found = row["r"]
        kept = {name: value for name, value in found.items() if name in ("_run", "_fp")}
        graph.batch_create_edges([(found["_source"], found["_target"], "HAS_CUSTOMER", kept)])


DAMAGES: dict[str, Expected] = {
    "a value changed by one character": (_set("name", "Anà"), "Customer", "different", "'Anà'"),
    "a blank at a value's end": (_set("name", "Ana "), "Customer", "different", "'Ana '"),
    "a node removed": (
        _run("MATCH (n:Note) WHERE n.body IS NULL DELETE n"),
        "Note",
        "missing",
        "body=null",
    ),
    "a node removed of two that are alike": (
        _run("MATCH (n:Note {body: 'twice'}) WITH n LIMIT 1 DELETE n"),
        "Note",
        "missing",
        "'twice'",
    ),
    "a node doubled under another key": (
        _run("CREATE (:Customer {id: 4, name: 'Ana', visits: 7})"),
        "Customer",
        "extra",
        "id=4",
    ),
    "a node of a label that no rule makes": (
        _run("CREATE (:Stray {id: 4})"),
        "Stray",
        "extra",
        "1",
    ),
    "a node without a label": (_run("CREATE ({id: 4})"), "no label", "extra", "1"),
    "a second label on a node": (
        lambda graph: graph.add_node_label(
            next(iter(graph.execute("MATCH (c:Customer {id: 3}) RETURN id(c) AS i")))["i"], "Vip"
        ),
        "Customer",
        "wrong labels",
        "Vip",
    ),
    "a relationship reversed": (
        _turn_round,
        "(Customer)-[REFERRED_BY]->(Customer)",
        "reversed",
        "(id=2)->(id=1)",
    ),
    "a relationship doubled": (
        _double_relationship,
        "(Order)-[HAS_CUSTOMER]->(Customer)",
        "doubled",
        "Order",
    ),
    "a relationship removed": (
        _run("MATCH (:Customer {id: 3})-[r:REFERRED_BY]->() DELETE r"),
        "(Customer)-[REFERRED_BY]->(Customer)",
        "missing",
        "(id=3)->(id=2)",
    ),
    "a relationship moved to another end": (
        _lead_elsewhere,
        "(Order)-[HAS_CUSTOMER]->(Customer)",
        "wrong ends",
        "'A-3'",
    ),
    "a relationship of a type that no rule makes": (
        _run("MATCH (c:Customer {id: 3}) CREATE (c)-[:STRAY]->(c)"),
        "()-[STRAY]->()",
        "extra",
        "",
    ),
    "a relationship between labels that no rule joins": (
        _run("MATCH (c:Customer {id: 3}) MATCH (n:Product) CREATE (c)-[:HAS_CUSTOMER]->(n)"),
        "()-[HAS_CUSTOMER]->()",
        "extra",
        "",
    ),
    "a relationship's value changed": (
        _run("MATCH (:`Order` {number: 'A-2'})-[r:HAS_PRODUCT]->({title: 'ink'}) SET r.amount = 6"),
        "(Order)-[HAS_PRODUCT]->(Product)",
        "different",
        "graph 6",
    ),
    "a number become text": (_set("visits", "7"), "Customer", "different", "graph '7'"),
    "a number become a float": (_set("visits", 7.0), "Customer", "different", "float 7.0"),
    "null become an empty text": (_set("nickname", ""), "Customer", "different", "source null"),
    "a value become null": (_set("visits", None), "Customer", "different", "graph null"),
    "a null gone from a list": (_set("tags", ["a", "b"]), "Customer", "different", "['a', 'b']"),
    "a property that no column has": (_set("shoe", 41), "Customer", "different", "shoe"),
    "a time zone shifted": (
        _run(
            "MATCH (c:Customer {id: 1}) SET c.seen = $value",
            value=datetime(2024, 3, 31, 1, 30),
        ),
        "Customer",
        "different",
        "01:30:00",
    ),
}


@dataclass(frozen=True)
class Moved:
    """A database, the graph made of it, and the mapping by which it was made."""

    dsn: str
    graph_file: Path
    mapping_file: Path

    def copy(self, folder: Path) -> Moved:
        """The same with a graph of its own, to be damaged."""
        shutil.copytree(self.graph_file.parent, folder / "copy")
        return replace(self, graph_file=folder / "copy" / self.graph_file.name)


@pytest.fixture(scope="module")
def migrated_shop(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    """A small database, migrated."""
    folder = tmp_path_factory.mktemp("shop")
    with _database(postgres, "compared_shop", SCHEMA) as dsn:
        done = migrate(dsn, folder)
        yield Moved(dsn, done.graph_file, done.mapping_file)


@pytest.fixture
def shop(migrated_shop: Moved, tmp_path: Path) -> Moved:
    """The small database with a graph of the test's own."""
    return migrated_shop.copy(tmp_path)


@contextmanager
def _database(postgres: EmbeddedPostgres, name: str, sql: str) -> Iterator[str]:
    run_now(_on_server(postgres.dsn(), f'CREATE DATABASE "{name}" TEMPLATE template0'))
    run_now(_on_server(postgres.dsn(name), sql))
    yield postgres.dsn(name)
    run_now(_on_server(postgres.dsn(), f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _on_server(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _compared(moved: Moved) -> Comparison:
    return await compare(moved.dsn, moved.graph_file, None, moved.mapping_file)


async def test_a_migrated_database_is_equal_to_its_graph(shop: Moved) -> None:
    """Nothing is found where nothing is wrong, and everything was counted."""
    comparison = await _compared(shop)
    assert comparison.differences == []
    assert comparison.verdict == "equal: 11 nodes, 9 relationships"


@pytest.mark.parametrize("name", DAMAGES)
async def test_every_damage_to_the_graph_is_found(name: str, shop: Moved) -> None:
    """Each way to be wrong is named with its entity, its kind and what is there instead."""
    await _assert_found(DAMAGES[name], shop)


async def _assert_found(expected: Expected, moved: Moved) -> None:
    damage, entity, kind, shown = expected
    graph = grafeo.GrafeoDB(str(moved.graph_file))
    damage(graph)
    graph.close()
    comparison = await _compared(moved)
    assert {(d.entity, d.kind) for d in comparison.differences} == {(entity, kind)}
    assert any(shown in str(difference) for difference in comparison.differences)
    assert comparison.verdict.startswith("DIFFERENT: ")


async def test_a_row_that_came_later_is_missing_in_the_graph(
    make_database: MakeDatabase, migrated_shop: Moved
) -> None:
    """The comparison looks from the database's side too."""
    later = make_database(
        SCHEMA + "INSERT INTO customers VALUES (9, 'Ida', NULL);"
        "UPDATE customers SET name = 'Anna' WHERE id = 1"
    )
    customers = (await _compared(replace(migrated_shop, dsn=later))).entity("Customer")
    assert [(d.kind, d.key) for d in customers.differences] == [
        ("missing", "id=9"),
        ("different", "id=1"),
    ]


RULES_SCHEMA = """
CREATE TABLE cities (id int PRIMARY KEY, name text, country char(2));
CREATE TABLE people (id int PRIMARY KEY, kind text, name text, city_id int, email text);
CREATE TABLE contacts (email text, score int, city_id int);
CREATE TABLE visits (person_id int, city_id int, at date, PRIMARY KEY (person_id, city_id, at));
CREATE TABLE letters (email text, city_id text, note text);
CREATE VIEW places AS SELECT name FROM cities UNION ALL SELECT 'Bern';
INSERT INTO cities VALUES (1, 'Bern', 'CH'), (2, 'Oslo', 'N'), (3, NULL, NULL);
INSERT INTO people VALUES (1, 'staff', 'Ana', 1, 'a@x'), (2, 'staff', 'Bob', 7, 'B@x'),
  (3, 'guest', 'Cleo', 2, 'a@x'), (4, 'guest', 'Dan', NULL, 'gone@x'), (5, NULL, 'Eve', 1, NULL);
INSERT INTO contacts VALUES ('a@x', 1, 1), ('A@x', 5, 2), ('b@x', NULL, 1), ('B@x', 3, NULL),
  (NULL, 1, 1), (NULL, 2, 1);
INSERT INTO visits VALUES (1, 2, '2024-02-29'), (1, 2, '2020-01-01'), (2, 1, '2024-03-01'),
  (3, 1, '2024-03-01'), (9, 1, '2024-03-01');
INSERT INTO letters VALUES ('a@x', '1', 'same'), ('A@x', '1', 'same'), ('a@x', '2', 'x'),
  ('c@x', '1', 'no such contact'), (NULL, '1', 'no end');
"""
RULES = """
version: 2
queries:
- name: travels
  sql: SELECT person_id AS id, count(*) AS visits FROM public.visits GROUP BY 1
nodes:
- label: Person
  name: Staff
  table: public.people
  where: kind = 'staff'
  labels: [Employee]
  labels_by: {column: name, join: city, labels: {Bern: Bernese, 'null': Nobody}}
  joins: [{name: city, table: public.cities, columns: [city_id], references: [id]}]
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: shout, expression: upper(name), type: STRING}
  - {name: country, column: country, join: city, type: STRING}
  - {name: place, expression: 'name || chr(33)', join: city, type: STRING}
  - {name: home, expression: "coalesce(country, '-')", join: city, type: STRING}
  - {name: name, column: name, type: STRING, include: false}
- label: Person
  name: Guest
  table: public.people
  where: kind = 'guest'
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: City
  table: public.cities
  labels_by: {column: id, labels: {2: No}}
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: Contact
  table: public.contacts
  keep_first: score DESC NULLS LAST, email
  key: [email]
  properties:
  - {name: email, column: email, expression: lower(email), type: STRING}
  - {name: score, column: score, type: INT}
- label: Place
  table: public.places
  key: []
  properties:
  - {name: name, column: name, type: STRING}
- label: Travel
  table: query.travels
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: visits, column: visits, type: INT}
relationships:
- type: LIVES_IN
  table: public.people
  from: {node: Staff, columns: [id], references: [id]}
  to: {node: City, columns: [city_id], references: [id]}
- type: VISITED
  table: public.visits
  where: at > '2024-01-01'
  from: {node: Staff, columns: [person_id], references: [id]}
  to: {node: City, columns: [city_id], references: [id]}
  key: [at]
  properties:
  - {name: at, column: at, type: DATE}
  - {name: year, expression: 'extract(year FROM at)::int', type: INT}
- type: REACHED_BY
  table: public.people
  from: {node: Guest, columns: [id], references: [id]}
  to: {node: Contact, columns: [email], references: [email]}
- type: USED_IN
  table: public.contacts
  from: {node: Contact, columns: [email], references: [email]}
  to: {node: City, columns: [city_id], references: [id]}
- type: WROTE_TO
  table: public.letters
  from: {node: Contact, columns: [email], references: [email]}
  to: {node: City, columns: [city_id], references: [id]}
  properties:
  - {name: note, column: note, type: STRING}
waivers:
- {code: no_key, subject: public.places, reason: a view}
ignored: [a suggestion]
"""


def _make_by_hand(graph: Any) -> None:
    """The graph of `RULES`, as somebody wrote it down who read the rules and the rows."""
    nodes: dict[str, Any] = {
        "ana": (
            ["Person", "Employee", "Bernese"],
            {
                "id": 1,
                "shout": "ANA",
                "country": "CH",
                "place": "Bern!",
                "home": "CH",
                "_of": "Staff",
            },
        ),
        "bob": (["Person", "Employee"], {"id": 2, "shout": "BOB", "home": "-", "_of": "Staff"}),
        "cleo": (["Person"], {"id": 3, "_of": "Guest"}),
        "dan": (["Person"], {"id": 4, "_of": "Guest"}),
        "bern": (["City"], {"id": 1}),
        "oslo": (["City", "No"], {"id": 2}),
        "nowhere": (["City"], {"id": 3}),
        "a": (["Contact"], {"email": "a@x", "score": 5}),
        "b": (["Contact"], {"email": "b@x", "score": 3}),
        "place 1": (["Place"], {"name": "Bern", "_row": "1"}),
        "place 2": (["Place"], {"name": "Bern", "_row": "2"}),
        "place 3": (["Place"], {"name": "Oslo", "_row": "3"}),
        "place 4": (["Place"], {"_row": "4"}),
        "travel 1": (["Travel"], {"id": 1, "visits": 2}),
        "travel 2": (["Travel"], {"id": 2, "visits": 1}),
        "travel 3": (["Travel"], {"id": 3, "visits": 1}),
        "travel 9": (["Travel"], {"id": 9, "visits": 1}),
    }
    ids = {name: graph.create_node(*node).id for name, node in nodes.items()}
    for start, type_name, end, values in (
        ("ana", "LIVES_IN", "bern", {}),
        ("ana", "VISITED", "oslo", {"at": date(2024, 2, 29), "year": 2024}),
        ("bob", "VISITED", "bern", {"at": date(2024, 3, 1), "year": 2024}),
        ("cleo", "REACHED_BY", "a", {}),
        ("a", "USED_IN", "oslo", {}),
        ("a", "WROTE_TO", "bern", {"note": "same"}),
        ("a", "WROTE_TO", "oslo", {"note": "x"}),
    ):
        graph.create_edge(ids[start], ids[end], type_name, {**values, "_run": "1"})


def _relabel(pattern: str, label: str, add: bool) -> Damage:
    def damage(graph: Any) -> None:
        number = next(iter(graph.execute(f"MATCH ({pattern}) RETURN id(n) AS i")))["i"]
        (graph.add_node_label if add else graph.remove_node_label)(number, label)

    return damage


RULES_DAMAGES: dict[str, Expected] = {
    "a row that the condition leaves out": (
        _run("CREATE (:Person {id: 5, _of: 'Guest'})"),
        "Guest",
        "extra",
        "id=5",
    ),
    "a row that the condition keeps, gone": (
        _run("MATCH (n:Person {id: 4}) DETACH DELETE n"),
        "Guest",
        "missing",
        "id=4",
    ),
    "an expression's value as the column has it": (
        _run("MATCH (n:Person {id: 2}) SET n.shout = 'Bob'"),
        "Staff",
        "different",
        "source 'BOB', graph 'Bob'",
    ),
    "a joined value gone": (
        _run("MATCH (n:Person {id: 1}) SET n.country = null"),
        "Staff",
        "different",
        "country: source 'CH', graph null",
    ),
    "an expression over the joined table, changed": (
        _run("MATCH (n:Person {id: 1}) SET n.place = 'Ana!'"),
        "Staff",
        "different",
        "source 'Bern!'",
    ),
    "a label that every node of the rule has, gone": (
        _relabel("n:Person {id: 2}", "Employee", add=False),
        "Staff",
        "wrong labels",
        "graph Person",
    ),
    "a label by value, gone": (
        _relabel("n:City {id: 2}", "No", add=False),
        "City",
        "wrong labels",
        "source City:No, graph City",
    ),
    "a label by value of a joined table, gone": (
        _relabel("n:Person {id: 1}", "Bernese", add=False),
        "Staff",
        "wrong labels",
        "source Bernese:Employee:Person",
    ),
    "a label by value on a node of another value": (
        _relabel("n:City {id: 1}", "No", add=True),
        "City",
        "wrong labels",
        "source City, graph City:No",
    ),
    "a label by value where there is no value": (
        _relabel("n:Person {id: 2}", "Nobody", add=True),
        "Staff",
        "wrong labels",
        "Nobody",
    ),
    "the mark of a shared label, gone": (
        _run("MATCH (n:Person {id: 1}) SET n._of = null"),
        "Staff",
        "different",
        "_of: source 'Staff', graph null",
    ),
    "a mark where no label is shared": (
        _run("MATCH (n:City {id: 1}) SET n._of = 'City'"),
        "City",
        "different",
        "_of: source null, graph 'City'",
    ),
    "a mark on a relationship": (
        _run("MATCH (:Person)-[r:LIVES_IN]->() SET r._of = 'Staff'"),
        "(Staff)-[LIVES_IN]->(City)",
        "different",
        "_of",
    ),
    "another of several rows with the same key": (
        _run("MATCH (n:Contact {email: 'a@x'}) SET n.score = 1"),
        "Contact",
        "different",
        "source 5, graph 1",
    ),
    "a second of several rows with the same key": (
        _run("CREATE (:Contact {email: 'b@x'})"),
        "Contact",
        "doubled",
        "'b@x'",
    ),
    "a row with a null in its key": (
        _run("CREATE (:Contact {score: 1})"),
        "Contact",
        "extra",
        "email=null",
    ),
    "the relationship of a row that was not kept": (
        _run("MATCH (a:Contact {email: 'a@x'}) MATCH (c:City {id: 1}) CREATE (a)-[:USED_IN]->(c)"),
        "(Contact)-[USED_IN]->(City)",
        "extra",
        "City",
    ),
    "a reference to a row that was not kept, lost": (
        _run("MATCH ()-[r:REACHED_BY]->() DELETE r"),
        "(Guest)-[REACHED_BY]->(Contact)",
        "missing",
        "(id=3)->(email='a@x')",
    ),
    "relationships that became equal, twice": (
        _run(
            "MATCH (a:Contact {email: 'a@x'}) MATCH (c:City {id: 1})"
            " CREATE (a)-[:WROTE_TO {note: 'same'}]->(c)"
        ),
        "(Contact)-[WROTE_TO]->(City)",
        "doubled",
        "Contact",
    ),
    "a relationship that the condition leaves out": (
        _run(
            "MATCH (p:Person {id: 1}) MATCH (c:City {id: 2})"
            " CREATE (p)-[:VISITED {at: $at, year: 2020}]->(c)",
            at=date(2020, 1, 1),
        ),
        "(Staff)-[VISITED]->(City)",
        "extra",
        "City",
    ),
    "the relationship of a row that another rule moved": (
        _run("MATCH (p:Person {id: 3}) MATCH (c:City {id: 2}) CREATE (p)-[:LIVES_IN]->(c)"),
        "()-[LIVES_IN]->()",
        "extra",
        "",
    ),
    "a value of a relationship's expression, changed": (
        _run("MATCH (:Person {id: 2})-[r:VISITED]->() SET r.year = 2023"),
        "(Staff)-[VISITED]->(City)",
        "different",
        "source 2024, graph 2023",
    ),
    "a row of a view, once of twice": (
        _run("MATCH (n:Place {_row: '2'}) DELETE n"),
        "Place",
        "missing",
        "'Bern'",
    ),
    "a number of a query, changed": (
        _run("MATCH (n:Travel {id: 1}) SET n.visits = 3"),
        "Travel",
        "different",
        "source 2, graph 3",
    ),
}


@pytest.fixture(scope="module")
def made_by_hand(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Moved]:
    """A database, a mapping of every kind of rule, and the graph they should give."""
    folder = tmp_path_factory.mktemp("rules")
    mapping_file, graph_file = folder / "mapping.yaml", folder / "graph.grafeo"
    mapping_file.write_text(RULES, encoding="utf-8")
    graph = grafeo.GrafeoDB(str(graph_file))
    _make_by_hand(graph)
    graph.close()
    with _database(postgres, "compared_rules", RULES_SCHEMA) as dsn:
        yield Moved(dsn, graph_file, mapping_file)


async def test_a_graph_made_by_hand_as_the_rules_say_is_equal(made_by_hand: Moved) -> None:
    """Conditions, joins, expressions, labels, first of many, views and queries: all understood."""
    comparison = await _compared(made_by_hand)
    assert comparison.differences == []
    assert comparison.verdict == "equal: 17 nodes, 7 relationships"
    counts = {e.name: (e.rows, e.orphans, e.unkeyed) for e in comparison.entities}
    assert counts["Contact"] == (2, 0, 2)
    assert counts["(Staff)-[LIVES_IN]->(City)"] == (2, 1, 0)
    assert counts["(Staff)-[VISITED]->(City)"] == (3, 1, 0)
    assert counts["(Guest)-[REACHED_BY]->(Contact)"] == (2, 1, 0)
    assert counts["(Contact)-[USED_IN]->(City)"] == (1, 0, 0)
    assert counts["(Contact)-[WROTE_TO]->(City)"] == (3, 1, 0)


@pytest.mark.parametrize("name", RULES_DAMAGES)
async def test_every_deviation_from_a_rule_is_found(
    name: str, made_by_hand: Moved, tmp_path: Path
) -> None:
    """What a rule leaves out, adds, merges or marks, and the graph does otherwise, is named."""
    await _assert_found(RULES_DAMAGES[name], made_by_hand.copy(tmp_path))


async def test_a_migration_by_every_kind_of_rule_gives_the_graph_they_say(
    made_by_hand: Moved, tmp_path: Path
) -> None:
    """The migration and the comparison read the same rules alike."""
    mapping = file.load(made_by_hand.mapping_file).mapping
    done = migrate(made_by_hand.dsn, tmp_path, mapping)
    comparison = await _compared(Moved(made_by_hand.dsn, done.graph_file, done.mapping_file))
    assert comparison.differences == []
    assert comparison.verdict == "equal: 17 nodes, 7 relationships"
    assert done.runner.ledger is not None
    assert done.runner.ledger.balanced
    assert sorted((letter.entity, letter.error_class) for letter in done.dead_letters()) == [
        ("(Contact)-[WROTE_TO]->(City)", "orphan"),
        ("(Guest)-[REACHED_BY]->(Contact)", "orphan"),
        ("(Staff)-[LIVES_IN]->(City)", "orphan"),
        ("(Staff)-[VISITED]->(City)", "orphan"),
        ("Contact", "value"),
        ("Contact", "value"),
    ]


async def test_rows_that_point_at_nothing_are_orphans(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An orphan is counted; it is a difference only for who asks."""
    dsn = make_database(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY, a_id int);"
        "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1), (2, 5), (3, NULL);"
        "ALTER TABLE b ADD FOREIGN KEY (a_id) REFERENCES a NOT VALID"
    )
    migrated = migrate(dsn, tmp_path)
    comparison = await _compared(Moved(dsn, migrated.graph_file, migrated.mapping_file))
    assert comparison.equal
    assert comparison.orphans == 1
    command = ["--dsn", dsn, "--graph-file", str(migrated.graph_file)]
    command += ["--mapping", str(migrated.mapping_file)]
    assert _exit_code(command) == 0
    assert "equal: 4 nodes, 1 relationships" in capsys.readouterr().out
    assert _exit_code([*command, "--no-orphans"]) == 1
    assert "DIFFERENT: 1 orphans" in capsys.readouterr().out


async def test_the_sample_shop_is_equal_to_its_graph(shop_dsn: str, tmp_path: Path) -> None:
    """The demo's database arrives whole."""
    migrated = migrate(shop_dsn, tmp_path)
    comparison = await _compared(Moved(shop_dsn, migrated.graph_file, migrated.mapping_file))
    assert comparison.differences == []
    assert comparison.nodes > 1_000
    assert comparison.relationships > 1_000


def test_the_comparison_imports_nothing_from_the_product() -> None:
    """It is independent, or it is worth nothing."""
    path = Path(independent_comparison.__file__)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    ours = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert ours == {"asyncpg", "grafeo", "yaml"}


def _exit_code(arguments: list[str]) -> int:
    """What the command returns; it runs a loop of its own, the test has one already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(independent_comparison.main, arguments).result()
