"""What differs is named once, and what is there twice is called doubled: in every graph."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from geode_tui.mapping.file import load
from geode_tui.migration.plan import Plan, make_plan
from geode_tui.source.postgres import Source
from geode_tui.target.model import Target
from geode_tui.validation.compare import always
from geode_tui.validation.digests import Digests
from geode_tui.validation.ledger import Ledger
from geode_tui.validation.verify import take_ledger
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase
from tests.targets import PASSWORD, Targets, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

SHOP = """
CREATE TABLE buyer (buyer_id int PRIMARY KEY, name text);
CREATE TABLE purchase (order_id int PRIMARY KEY, what text, buyer_id int REFERENCES buyer);
INSERT INTO buyer SELECT n, 'buyer ' || n FROM generate_series(1, 10) n;
INSERT INTO purchase SELECT n, 'thing ' || n, n % 10 + 1 FROM generate_series(1, 60) n;
ANALYZE;
"""
BY = "(Purchase)-[HAS_BUYER]->(Buyer)"


class Shop:
    """A shop and its graph, open, without what keeps keys unique."""

    def __init__(self, dsn: str, mapping: Path, graph: Any) -> None:
        self.dsn, self.mapping, self.graph = dsn, mapping, graph

    def found(self, deep: bool = False) -> Ledger:
        """What a validation finds now."""
        return asyncio.run(self._found(deep))

    async def _found(self, deep: bool) -> Ledger:
        source = await Source.connect(self.dsn)
        plan: Plan = make_plan(load(self.mapping).mapping, await source.catalog())
        reader = await source.snapshot(sorted({entity.rule.table for entity in plan.entities}))
        graph: Target = self.graph
        digests = Digests(always(reader), deep, (0.0,))
        try:
            return await take_ledger(
                reader, graph, plan.entities, {}, same_snapshot=False, digests=digests
            )
        finally:
            await reader.close()
            await source.close()


@pytest.fixture
def shop(
    targets: Targets, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    """The shop, migrated."""
    monkeypatch.setenv("GEODE_TUI_TARGET_PASSWORD", PASSWORD)
    dsn, line, place = make_database(SHOP), CommandLine(tmp_path), targets.place(password="")
    where = ("--source", dsn, "--mapping", "mapping.yaml")
    assert line.run_here("map", "--source", dsn, "--output", "mapping.yaml").code == 0
    assert line.run_here("migrate", *where, "--target", place).code == 0
    graph = targets.open(place)
    for row in graph.query("SHOW CONSTRAINTS"):
        graph.query(f"DROP CONSTRAINT `{row['name']}`")
    return Shop(dsn, tmp_path / "mapping.yaml", graph)


def test_what_differs_is_named_once_and_what_is_there_twice_is_doubled(shop: Shop) -> None:
    """Whatever the second one holds, in which part it is, and though the sample meets it, too.

    What no row has is extra, be it one node or two. What has a row that differs is called as that
    row is: by its key in the source.
    """
    for damage in (
        "INSERT (:Purchase {orderId: 4, what: 'another', _fp: 12345, _run: 'x'})",
        "INSERT (:Purchase {orderId: 6, what: 'another', _fp: 12345, _run: 'x'})",
        "INSERT (:Purchase {orderId: 900, _fp: 1}), (:Purchase {orderId: 900, _fp: 2})",
        f"MATCH {_ends(5, 6)} INSERT (a)-[:HAS_BUYER {{_fp: 7}}]->(b)",
        f"MATCH {_ends(8, 1)} INSERT (a)-[:HAS_BUYER {{_fp: 9}}]->(b)",
    ):
        shop.graph.query(damage)
    execute(shop.dsn, "UPDATE purchase SET what = 'changed' WHERE order_id = 6")
    for deep in (False, True):
        ledger = shop.found(deep)
        found = [one for one in ledger.differences if one.key != "order_id=6"]
        assert sorted((one.entity, one.key, one.cause) for one in found) == [
            (BY, "(orderId=5) to (buyerId=6)", "doubled"),
            (BY, "(orderId=8) to (buyerId=1)", "extra"),
            ("Purchase", "orderId=4", "doubled"),
            ("Purchase", "orderId=900", "extra"),
            ("Purchase", "orderId=900", "extra"),
        ]
        row = [one for one in ledger.differences if one.key == "order_id=6"]
        assert sorted(one.where for one in row) == ["both", "graph"]
        assert [one.cause for one in row if one.where == "graph"] == ["doubled"]
        assert [one.sampled for one in found if one.key == "orderId=4"] == [True]


def _ends(order: int, buyer: int) -> str:
    return f"(a:Purchase {{orderId: {order}}}), (b:Buyer {{buyerId: {buyer}}})"
