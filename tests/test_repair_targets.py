"""Repair over every target, Geode's driver over gRPC and QUIC too: mended, and put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from geode_tui.errors import EXIT_DIFFERS, EXIT_OK
from tests.command_line import CommandLine
from tests.conftest import MakeDatabase
from tests.targets import PASSWORD, Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

SHOP = """
CREATE TABLE buyer (id int PRIMARY KEY, "na`me" text, "born [/x]" date, score float8,
  seen timestamptz);
CREATE TABLE purchase (id int PRIMARY KEY, what text, total numeric(10,2),
  buyer int REFERENCES buyer);
INSERT INTO buyer SELECT n, 'é' || n, date '2000-01-01' + n, sqrt(n), '2024-03-31 01:30+01'
  FROM generate_series(1, 20) n;
INSERT INTO purchase SELECT n, 'thing ' || n, n * 1.10, n % 20 + 1 FROM generate_series(1, 40) n;
ANALYZE;
"""
DAMAGE = (
    "MATCH (n:Buyer {id: 3}) SET n.score = 99.5",
    "MATCH (n:Purchase {id: 3}) SET n.what = 'wrong'",
    "MATCH (n:Buyer {id: 4}) DETACH DELETE n",
    "MATCH (:Purchase {id: 7})-[r:HAS_BUYER]->(:Buyer) DELETE r",
    "MATCH (a:Purchase {id: 9})-[r:HAS_BUYER]->(:Buyer) DELETE r",
    "MATCH (a:Purchase {id: 9}), (b:Buyer {id: 1}), (m:Buyer {id: 2})"
    " INSERT (a)-[:HAS_BUYER {_fp: 5, _run: m._run, _step: 1}]->(b)",
    "MATCH (m:Buyer {id: 2}) INSERT (:Purchase {id: 999, _fp: 8, _run: m._run, _step: 1})",
)


def test_what_differs_is_repaired_and_can_be_put_back(
    targets: Targets, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edited, missing, moved, extra: one repair mends all, its rollback brings all back."""
    monkeypatch.setenv("GEODE_TUI_TARGET_PASSWORD", PASSWORD)
    monkeypatch.setattr("geode_tui.migration.validating.RETRIES", (0.0,))
    dsn, line, place = make_database(SHOP), CommandLine(tmp_path), targets.place(password="")
    both = ("--source", dsn, "--mapping", "m.yaml", "--target", place)
    assert line.run_here("map", "--source", dsn, "--output", "m.yaml").code == EXIT_OK
    assert line.run_here("migrate", *both).code == EXIT_OK
    graph = targets.open(place)
    for statement in DAMAGE:
        graph.query(statement)
    graph.flush()
    graph.close()

    found = line.run_here("validate", *both, "--deep", "--json")
    assert found.code == EXIT_DIFFERS
    told = {(one["entity"], one["key"], one["cause"]) for one in found.json["differences"]}
    assert {cause for _, _, cause in told} == {
        *("edited", "type", "missing", "end missing", "extra")
    }

    done = line.run_here("repair", str(found.json["run"]), "--all", "--yes", "--json")
    assert (done.code, done.json["valid"]) == (EXIT_OK, True), done
    assert line.run_here("validate", *both, "--deep").code == EXIT_OK

    back = line.run_here("rollback", str(done.json["run"]), "--yes")
    assert back.code == EXIT_OK, back
    again = line.run_here("validate", *both, "--deep", "--json").json["differences"]
    assert {(one["entity"], one["key"], one["cause"]) for one in again} == told
    assert [one["values"] for one in again] == [one["values"] for one in found.json["differences"]]
