"""Statistics of properties on both sides, and properties that must be on everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geode_tui.errors import MappingError
from geode_tui.mapping import edits, file
from geode_tui.mapping.check import check
from geode_tui.mapping.difference import changes, compare, patched
from geode_tui.mapping.infer import infer
from geode_tui.mapping.steps import steps
from geode_tui.migration.plan import make_plan
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.source.postgres import Source
from geode_tui.target.geode_names import clean
from geode_tui.validation import statistics
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Check
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.sides import RowReader
from geode_tui.validation.statistics import check_required, check_statistics, required_of
from tests.catalogs import SHOP
from tests.conftest import MakeDatabase, run_now
from tests.migrate import read_catalog
from tests.targets import EMBEDDED, GRPC, Targets, database, loopback, targets

__all__ = ["loopback", "targets"]  # fixtures

TWO_TARGETS = pytest.mark.parametrize("targets", [EMBEDDED, GRPC], indirect=True)

TYPES = """
CREATE SCHEMA "[/foo]";
CREATE TABLE "[/foo]"."😀 ""a"" [b]" (
  "order" int PRIMARY KEY, "we`ird 'x'" text NOT NULL, "😀" text, loose varchar,
  padded char(6), "1st" numeric(20, 4), huge numeric, big bigint, x float8, y float4, flag bool,
  "match" date, "ümlaut" timestamptz, "t z" timestamp, clock time, raw bytea, "list" int[],
  words text[], reals float4[], doc jsonb, span interval, id uuid, nothing int,
  aaaaaaaaabbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg int);
INSERT INTO "[/foo]"."😀 ""a"" [b]" VALUES
  (1, E'}) DETACH DELETE n // \\\\ {v} {p} $1', '', 'a', 'a', 1.5, 1e37, -9223372036854775808,
   'NaN', 1.1, true, '2024-02-29', '2024-01-01 10:00+02', '0001-01-01', '23:59:59.999999',
   '\\x00ff',
   '{{1,NULL},{NULL,2}}', '{"",null,NULL}', '{1.1,2.5,3,4}', '{"a": 1}', '1 day',
   '00000000-0000-0000-0000-000000000001', NULL, 1),
  (2, 'á', E'a\\u0301', 'A', 'a ', 1.5000, 1.10, 9223372036854775807, '-Infinity', 'NaN', false,
   '0001-01-01', '2024-01-01 08:00+00', '9999-12-31 23:59:59.999999', '00:00', '', '{}', '{}', '{}',
   '{"a":  1}', '-1 mon', '00000000-0000-0000-0000-000000000002', NULL, 2),
  (3, '😀😀', 'null', 'á', '', -0.0001, 1.1, 9223372036854775806, '-0', '-0', NULL,
   '9999-12-31', '9999-12-31 23:59:59.999999+00', '2024-01-01 00:00:00.5', '12:00', NULL, '{1}',
   NULL, NULL, '[]', 'P1Y', NULL, NULL, NULL),
  (4, '', NULL, NULL, NULL, NULL, 1e-30, 9223372036854775805, 0, 0, true, NULL, NULL,
   '2024-01-01', '12:00:00.5', '\\x00ff', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, '-', NULL, NULL, NULL, 0, NULL, NULL, 1e300, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, '-', NULL, NULL, NULL, NULL, NULL, NULL, -1e300, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE "select" (a int REFERENCES "[/foo]"."😀 ""a"" [b]", b int, "c d" text NOT NULL,
  PRIMARY KEY (a, b), FOREIGN KEY (b) REFERENCES "[/foo]"."😀 ""a"" [b]");
INSERT INTO "select" VALUES (1, 2, 'x'), (1, 1, ''), (3, 4, 'yy');
CREATE TABLE empty (id int PRIMARY KEY, total numeric, name text);
"""
ITEMS = """
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, total numeric(10, 2), whole bigint,
  part float8, day date, at timestamptz, good bool, tags text[], raw bytea);
INSERT INTO item SELECT n, 'name ' || n, n * 1.25, n * 3, n / 7.0, date '2024-01-01' + n,
  '2024-01-01Z'::timestamptz + n * interval '1 hour', n % 3 = 0, ARRAY['a', NULL, 'b'],
  decode(lpad(to_hex(n), 4, '0'), 'hex')
FROM generate_series(1, 40) n;
"""


class Moved:
    """A migrated database, to be looked at."""

    def __init__(self, dsn: str, targets: Targets, folder: Path) -> None:
        catalog = read_catalog(dsn)
        self.dsn, self.mapping, self.place = dsn, infer(catalog), targets.place()
        self.entities = list(make_plan(self.mapping, catalog).entities)
        self._targets = targets
        runner = Runner(RunRequest(dsn, self.place, self.mapping), journal=folder / "j.sqlite3")
        runner.start()
        runner.join()
        assert runner.error is None, runner.error

    def change(self, *statements: str, **parameters: Any) -> None:
        """Do something behind the back of geode-tui."""
        graph = self._targets.open(self.place)
        held = database(graph)
        for row in list(held.execute("SHOW CONSTRAINTS")):
            held.execute(f"DROP CONSTRAINT `{row['name']}`")
        for statement in statements:
            held.execute(statement, parameters)
        graph.close()

    def named(self, name: str) -> str:
        """A name as the graph has it."""
        return clean(name) if self._targets.is_geode else name

    def look[T](self, work: Callable[[RowReader, Any, list[Entity]], Awaitable[T]]) -> T:
        """Look at both sides as a validation does."""

        async def looked() -> T:
            source = await Source.connect(self.dsn)
            reader = await source.snapshot(sorted({e.rule.table for e in self.entities}))
            try:
                return await work(reader, graph, self.entities)
            finally:
                await reader.close()
                await source.close()

        graph = self._targets.open(self.place, read_only=True)
        try:
            return run_now(looked())
        finally:
            graph.close()

    def statistics(self, *chosen: str, **out: LeftOut) -> list[Check]:
        return self.look(lambda r, t, e: check_statistics(r, t, e, out, chosen or ("*",)))

    def required(self) -> list[Check]:
        return self.look(lambda r, t, e: check_required(t, e))


@pytest.fixture
def moved(make_database: MakeDatabase, targets: Targets, tmp_path: Path) -> Callable[[str], Moved]:
    """Migrates a database into a graph of its own."""
    return lambda sql: Moved(make_database(sql), targets, tmp_path)


def _failed(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.why for check in checks if not check.passed}


@TWO_TARGETS
def test_nothing_is_found_in_an_untouched_graph(moved: Callable[[str], Moved]) -> None:
    """Whatever the types and names; what is then changed behind hostile names is found."""
    types = moved(TYPES)
    checks = types.statistics()
    assert _failed(checks) == {}
    carried = {(e.id, name) for e in types.entities for name in e.extract.properties}
    assert {c.name for c in checks} == {f"{e}.{name}" for e, name in carried}
    assert _failed(types.required()) == {}
    _damage_of_hostile_names(types)


@pytest.mark.parametrize("targets", [EMBEDDED], indirect=True)
def test_the_numbers_of_both_sides_are_told(moved: Callable[[str], Moved]) -> None:
    """In words, with the two queries that give them."""
    items = moved(ITEMS)
    told = {check.name: check for check in items.statistics("Item.*")}
    words = "40 of 40 set, min 3, max 120, sum 2460, mean 61.5, distinct 40"
    assert (told["Item.whole"].source, told["Item.whole"].graph) == (words, words)
    assert told["Item.name"].graph == "40 of 40 set, shortest 6, longest 7, distinct 40"
    assert told["Item.day"].graph.startswith("40 of 40 set, min 2024-01-02, max 2024-02-10")
    assert told["Item.good"].source == "40 of 40 set, true 13, distinct 2"
    check = told["Item.total"]
    [row] = items.look(lambda r, t, e: r.fetch(check.source_sql))
    assert (row[0], row[1], str(row[4])) == (40, 40, "1025.00")
    assert "2460" in str(items.look(lambda r, t, e: _answered(t, told["Item.whole"].target_gql)))


def _damage_of_hostile_names(types: Moved) -> None:
    """A property of a relationship between hostile names, changed and then gone."""
    entity = next(e for e in types.entities if e.kind == "relationship" and e.extract.properties)
    name = next(n for n in entity.extract.properties if "c" in n.lower())
    kind, wire = types.named(entity.rule.type), types.named(name)  # type: ignore[union-attr]
    types.change(f"MATCH ()-[r:`{kind}`]->() WHERE r.`{wire}` = 'yy' SET r.`{wire}` = 'yyy'")
    assert list(_failed(types.statistics())) == [f"{entity.id}.{name}"]
    types.change(f"MATCH ()-[r:`{kind}`]->() WHERE r.`{wire}` = 'yyy' REMOVE r.`{wire}`")
    [check] = [check for check in types.required() if not check.passed]
    assert (check.name, f"{name} lacks on 1" in check.graph) == (entity.id, True)
    assert len(_rows(types, check.target_gql)) == 1


async def _answered(target: Any, statement: str) -> Any:
    return target.query(statement)


DAMAGES = {
    "a null": ("total", "REMOVE n.total", "set"),
    "a greater number": ("total", "SET n.total = n.total + 0.01", "sum"),
    "a number of 64 bits": ("whole", "SET n.whole = 9223372036854775807", "max"),
    "a float": ("part", "SET n.part = n.part * 1.00001", "sum"),
    "an infinite float": ("part", "SET n.part = $infinite", "finite"),
    "a number as text": ("whole", "SET n.whole = 'three'", "sum"),
    "an earlier day": ("day", "SET n.day = date('1999-01-01')", "min"),
    "another instant": ("at", "SET n.at = $at", "max"),
    "a flag": ("good", "SET n.good = NOT n.good", "true"),
    "a longer text": ("name", "SET n.name = n.name + ' and more'", "longest"),
    "an empty text": ("name", "SET n.name = ''", "shortest"),
    "the text of another": ("name", "SET n.name = 'name 30'", "distinct"),
    "bytes of another": ("raw", "SET n.raw = $raw", "distinct"),
    "a shorter list": ("tags", "SET n.tags = ['a']", "fewest items"),
}


@pytest.mark.parametrize("targets", [EMBEDDED], indirect=True)
def test_each_kind_of_damage_shows_in_a_statistic(moved: Callable[[str], Moved]) -> None:
    """And only in those of the property that it was done to; repaired, all is well again."""
    items = moved(ITEMS)
    [before] = _rows(items, "MATCH (n:Item {id: 7}) RETURN properties(n) AS p")
    given = {"infinite": float("inf"), "raw": b"\x00\x01", "at": before["p"]["at"].replace(2031)}
    given |= {f"was_{name}": value for name, value in before["p"].items()}
    found: dict[str, tuple[list[str], bool]] = {}
    mended: list[str] = []
    for kind, (name, action, told) in DAMAGES.items():
        items.change(*mended, f"MATCH (n:Item {{id: 7}}) {action}", **given)
        failed = _failed(items.statistics())
        found[kind] = list(failed), f"{told}: " in failed.get(f"Item.{name}", "")
        mended = [f"MATCH (n:Item {{id: 7}}) SET n.{name} = $was_{name}"]
    assert found == {kind: ([f"Item.{name}"], True) for kind, (name, _, _) in DAMAGES.items()}
    items.change(*mended, **given)
    assert _failed(items.statistics()) == {}


def _rows(items: Moved, statement: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = items.look(lambda r, t, e: _answered(t, statement))
    return found


@pytest.mark.parametrize("targets", [EMBEDDED], indirect=True)
def test_what_rows_left_out_change_is_told_and_not_judged(moved: Callable[[str], Moved]) -> None:
    """A dead letter or an orphan changes the numbers: nobody is to blame."""
    items = moved(ITEMS)
    items.change("MATCH (n:Item {id: 40}) DETACH DELETE n")
    assert len(_failed(items.statistics())) == 10
    checks = items.statistics(Item=LeftOut(dead=1))
    assert _failed(checks) == {}
    assert all(c.why.startswith("not judged, as 1 rows are left out") for c in checks)
    assert "max: 120 in the source, 117 in the graph" in checks[3].why


@pytest.mark.parametrize("targets", [EMBEDDED], indirect=True)
def test_distinct_values_of_many_rows_are_not_counted(
    moved: Callable[[str], Moved], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph would keep each of them in memory; a check says so."""
    items = moved(ITEMS)
    monkeypatch.setattr(statistics, "MOST_DISTINCT", 100)  # two properties at once
    assert all("distinct" in c.graph for c in items.statistics() if c.name != "Item.tags")
    monkeypatch.setattr(statistics, "MOST_DISTINCT", 39)
    checks = items.statistics("Item.name")
    assert (checks[0].passed, "distinct" in checks[0].graph) == (True, False)
    assert checks[0].why == "distinct values are counted up to 39 rows"


@TWO_TARGETS
def test_what_is_never_null_must_be_on_everything(moved: Callable[[str], Moved]) -> None:
    """Keys and NOT NULL columns; the check names what lacks, how often, and how to see it."""
    items = moved(ITEMS)
    assert required_of(items.entities[0]) == ("id", "name")
    [good] = items.required()
    assert (good.passed, good.source, good.graph) == (
        True,
        "never null: id, name",
        "on all 40 nodes",
    )
    items.change("MATCH (n:Item) WHERE n.id IN [3, 4] REMOVE n.name, n.total")
    [bad] = items.required()
    assert (bad.kind, bad.name, bad.passed) == ("required", "Item", False)
    assert bad.graph == "name lacks on 2 of 40 nodes"
    assert sorted(next(iter(row.values())) for row in _rows(items, bad.target_gql)) == [3, 4]


# -- in the mapping's file ------------------------------------------------------------------------

WRONG = {
    "an unknown rule": ("Prodct.name", "no rule Prodct", "did you mean Product?"),
    "an unknown property": ("Product.nam", "Product moves no property nam", "did you mean name?"),
    "no property": ("Product", "'Product' names no property", "write Label.property, Label.*"),
    "nothing": ("''", "'' names no property", "write Label.property"),
    "twice": ('"*"', "* stands twice", "remove one of them"),
    "a list": ("[a, b]", "a statistic is named by rule and property", "write Label.property"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_statistic_that_cannot_be_is_told_with_its_line(case: str) -> None:
    """Before anything runs, with the nearest right word."""
    text, what, hint = WRONG[case]
    document = file.dump(infer(SHOP))
    line = document.count("\n") + 3
    with pytest.raises(MappingError) as error:
        check(file.parse(f'{document}statistics:\n- "*"\n- {text}\n', "m.yaml"), SHOP)
    assert error.value.what == f"m.yaml line {line}: {what}"
    assert hint in error.value.next_step


def test_statistics_stay_in_the_file_and_change_no_graph() -> None:
    """They are read as written; a difference names them, and takes no step."""
    mapping = infer(SHOP)
    names = ("Product.name", "Product.*", "(Order)-[HAS_ITEM]->(Product).quantity", "*")
    chosen = replace(mapping, statistics=names)
    again = file.parse(file.dump(chosen))
    check(again, SHOP)
    assert again.mapping == chosen
    assert "statistics" not in file.dump(mapping)
    difference = compare(mapping, chosen)
    assert [(c.way, c.kind, c.name) for c in changes(difference)] == [
        ("come", "statistic", name) for name in names
    ]
    assert patched(mapping, difference) == chosen
    assert steps(difference) == ()


def test_statistics_follow_what_is_renamed() -> None:
    """A label, a type, a property; what is gone is not asked for any more."""
    names = ("Product.name", "(Order)-[HAS_ITEM]->(Product).quantity", "*")
    mapping = replace(infer(SHOP), statistics=names)
    mapping = edits.rename_label(mapping, "Product", "Thing")
    mapping = edits.rename_property(mapping, mapping.nodes[2], "name", "called")
    mapping = edits.rename_type(mapping, mapping.relationships[2], "HOLDS")
    assert mapping.statistics == ("Thing.called", "(Order)-[HOLDS]->(Thing).quantity", "*")
    mapping = edits.set_property_included(mapping, mapping.nodes[2], "called", False)
    assert mapping.statistics == ("(Order)-[HOLDS]->(Thing).quantity", "*")
