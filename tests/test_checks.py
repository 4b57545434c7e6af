"""What is looked at besides the ledger: constraints, what no rule made, how relationships lead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geode_tui.cli import main
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK
from geode_tui.mapping.infer import infer
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.validation.ledger import Check, Ledger
from geode_tui.validation.report import Facts, make_report
from geode_tui.validation.report_html import as_html
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown
from tests.conftest import MakeDatabase
from tests.documentation import documented_keys
from tests.migrate import Migrated, migrate, read_catalog
from tests.validation_reports import read_junit

SHOP = """
CREATE TABLE person (id int PRIMARY KEY, name text);
CREATE TABLE pet (id int PRIMARY KEY, owner int NOT NULL REFERENCES person);
CREATE TABLE knows (one int REFERENCES person, other int REFERENCES person,
  PRIMARY KEY (one, other));
INSERT INTO person SELECT n, 'person ' || n FROM generate_series(1, 30) n;
INSERT INTO pet SELECT n, n % 7 + 1 FROM generate_series(1, 40) n;
INSERT INTO knows SELECT n % 30 + 1, n % 4 + 1 FROM generate_series(1, 50) n ON CONFLICT DO NOTHING;
ANALYZE;
"""
OPTIONS = ("--check-constraints", "--check-references")
Shop = tuple[str, Migrated]


@pytest.fixture
def shop(make_database: MakeDatabase, tmp_path: Path) -> Shop:
    """A small shop that was migrated."""
    dsn = make_database(SHOP)
    return dsn, migrate(dsn, tmp_path, infer(read_catalog(dsn)))


def _validate(
    shop: Shop, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    dsn, migrated = shop
    capsys.readouterr()
    where = ["--target", str(migrated.graph_file), "--mapping", str(migrated.mapping_file)]
    code = main(["validate", "--source", dsn, *where, *options, "--json"])
    return code, json.loads(capsys.readouterr().out)


def _change(shop: Shop, *statements: str) -> None:
    graph = EmbeddedGraph.open(shop[1].graph_file, None)
    for statement in statements:
        graph.query(statement)
    graph.close()


def _failed(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(check["kind"], check["name"]) for check in found["checks"] if not check["passed"]]


def test_a_good_graph_passes_every_check(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Constraints of each label, labels and types, degrees at each end where they can differ."""
    code, found = _validate(shop, capsys, *OPTIONS)
    assert (code, found["valid"], _failed(found)) == (EXIT_OK, True, [])
    assert sorted((check["kind"], check["name"]) for check in found["checks"]) == [
        ("constraints", "Person"),
        ("constraints", "Pet"),
        ("degrees", "(Person)-[KNOW]->(Person) at its end"),
        ("degrees", "(Person)-[KNOW]->(Person) at its start"),
        ("degrees", "(Pet)-[HAS_OWNER]->(Person) at its end"),
        ("labels", ""),
        ("required", "Person"),
        ("required", "Pet"),
        ("types", ""),
    ]
    assert set(found["checks"][0]) == documented_keys("validation check")
    degrees = next(c for c in found["checks"] if c["name"].startswith("(Pet)"))
    assert degrees["in_source"] == degrees["in_graph"] == [[5, 2], [6, 5]]
    assert degrees["source"] == "7 nodes with 5.71 each, 6 at the most"


def test_a_constraint_that_is_gone_is_named(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """With the statement that makes it; only where it was asked for."""
    _dsn, migrated = shop
    graph = EmbeddedGraph.open(migrated.graph_file, None)
    shape = next(e for e in migrated.mapping.nodes if e.label == "Pet")
    assert shape.key == ("id",)
    names = [row for row in graph.query("SHOW CONSTRAINTS") if "Pet" in str(row)]
    graph.query(f"DROP CONSTRAINT `{names[0]['name']}`")
    graph.close()
    assert _validate(shop, capsys)[0] == EXIT_OK
    code, found = _validate(shop, capsys, "--check-constraints")
    assert (code, _failed(found)) == (EXIT_DIFFERS, [("constraints", "Pet")])
    check = next(check for check in found["checks"] if not check["passed"])
    assert "CREATE CONSTRAINT" in check["why"]
    assert (check["source"], check["graph"]) == ("2", "1 of 2 there")


def test_what_no_rule_made_is_counted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Nodes of another label, relationships of another type: told, but they may be others'."""
    _change(
        shop,
        "INSERT (:`Str`` [/x]` {id: 1})",
        "MATCH (a:Person {id: 1}), (b:Person {id: 2}) INSERT (a)-[:LIKES]->(b)",
    )
    code, found = _validate(shop, capsys)
    assert (code, _failed(found)) == (EXIT_OK, [])
    strangers = [check for check in found["checks"] if check["kind"] in ("labels", "types")]
    assert all("no rule of the mapping makes them" in check["why"] for check in strangers)
    assert [check["graph"] for check in strangers] == [
        "1 with another label",
        "1 of another type",
    ]
    assert found["balanced"]


def test_relationships_that_lead_elsewhere_are_named(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their number is right and so are the digests that they carry."""
    _change(
        shop,
        "MATCH (p:Pet {id: 3})-[r:HAS_OWNER]->(:Person), (b:Person {id: 30}) "
        "WITH p, r, b, r._fp AS f, r._run AS u, r._step AS s DELETE r "
        "INSERT (p)-[:HAS_OWNER {_fp: f, _run: u, _step: s}]->(b)",
    )
    code, found = _validate(shop, capsys, "--check-references")
    assert code == EXIT_DIFFERS
    assert ("degrees", "(Pet)-[HAS_OWNER]->(Person) at its end") in _failed(found)
    named = {(d["entity"], d["key"], d["cause"]) for d in found["differences"]}
    assert ("(Pet)-[HAS_OWNER]->(Person)", "id=3", "missing") in named
    assert ("(Pet)-[HAS_OWNER]->(Person)", "(id=3) to (id=30)", "extra") in named


def test_degrees_are_not_compared_in_a_graph_that_held_other_data(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody knows there what belongs to whom."""
    graph = EmbeddedGraph.open(tmp_path / "graph.grafeo", None)
    graph.query("INSERT (:Person {name: 'theirs'})")
    graph.query("INSERT (:Other {id: 1})")
    graph.close()
    dsn, file = make_database(SHOP), str(tmp_path / "m.yaml")
    where = ["--source", dsn, "--target", str(tmp_path / "graph.grafeo"), "--mapping", file]
    assert main(["map", "--source", dsn, "--output", file]) == EXIT_OK
    assert main(["migrate", *where, "--into-existing"]) == EXIT_OK
    capsys.readouterr()
    assert main(["validate", *where, *OPTIONS, "--deep", "--json"]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert {check["kind"] for check in found["checks"]} == {"constraints", "labels", "types"}


def test_all_formats_tell_the_checks() -> None:
    """With what is wrong; a failed check alone makes a report a bad one."""
    checks = (
        Check("constraints", "A|b", True, "2", "2 of 2 there"),
        Check(
            "degrees",
            "X <end>",
            False,
            "3 nodes",
            "4 nodes",
            "2 | too many",
            "SELECT 1",
            "RETURN 1",
        ),
    )
    report = make_report(Ledger((), checks=checks), Facts("s", "t", "m"))
    assert (report.valid, report.failed) == (False, 1)
    suite = read_junit(as_junit(report))
    assert [(case.name, bool(case.failure)) for case in suite.cases] == [
        ("constraints A|b", False),
        ("degrees X <end>", True),
    ]
    assert "2 | too many" in as_junit(report)
    assert "2 \\| too many" in as_markdown(report)
    assert "X &lt;end&gt;" in as_html(report)
