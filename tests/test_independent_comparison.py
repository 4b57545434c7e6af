"""The independent comparison finds nothing on a good graph, and every damage on a bad one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import grafeo
import pytest

from tests import independent_comparison
from tests.conftest import MakeDatabase
from tests.independent_comparison import Comparison, Kind, compare
from tests.migrate import Migrated, migrate

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


DAMAGES: dict[str, tuple[Damage, str, Kind, str]] = {
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


@pytest.fixture
def shop(make_database: MakeDatabase, tmp_path: Path) -> tuple[str, Migrated]:
    """A small database, migrated."""
    dsn = make_database(SCHEMA)
    return dsn, migrate(dsn, tmp_path)


async def _compared(dsn: str, migrated: Migrated) -> Comparison:
    return await compare(dsn, migrated.graph_file, None, migrated.mapping_file)


async def test_a_migrated_database_is_equal_to_its_graph(shop: tuple[str, Migrated]) -> None:
    """Nothing is found where nothing is wrong, and everything was counted."""
    comparison = await _compared(*shop)
    assert comparison.differences == []
    assert comparison.verdict == "equal: 11 nodes, 9 relationships"


@pytest.mark.parametrize("name", DAMAGES)
async def test_every_damage_to_the_graph_is_found(name: str, shop: tuple[str, Migrated]) -> None:
    """Each way to be wrong is named with its entity, its kind and what is there instead."""
    damage, entity, kind, shown = DAMAGES[name]
    dsn, migrated = shop
    graph = grafeo.GrafeoDB(str(migrated.graph_file))
    damage(graph)
    graph.close()
    comparison = await _compared(dsn, migrated)
    assert {(d.entity, d.kind) for d in comparison.differences} == {(entity, kind)}
    assert any(shown in str(difference) for difference in comparison.differences)
    assert comparison.verdict.startswith("DIFFERENT: ")


async def test_a_row_that_came_later_is_missing_in_the_graph(shop: tuple[str, Migrated]) -> None:
    """The comparison looks from the database's side too."""
    dsn, migrated = shop
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO customers VALUES (9, 'Ida', NULL)")
    await connection.execute("UPDATE customers SET name = 'Anna' WHERE id = 1")
    await connection.close()
    customers = (await _compared(dsn, migrated)).entity("Customer")
    assert [(d.kind, d.key) for d in customers.differences] == [
        ("missing", "id=9"),
        ("different", "id=1"),
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
    comparison = await _compared(dsn, migrated)
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
    comparison = await _compared(shop_dsn, migrated)
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
