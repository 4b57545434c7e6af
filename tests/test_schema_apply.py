"""`schema apply`: a live graph is led to a new mapping, and is as if migrated with it anew."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.catalog import TableName
from geode_tui.cli import main
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_OK, EXIT_USAGE, GeodeTuiError, RunStopped
from geode_tui.mapping import edits
from geode_tui.mapping.file import mapping_hash, parse, save
from geode_tui.mapping.model import (
    Join,
    LabelBy,
    Mapping,
    NodeRule,
    Property,
    Query,
    RelationshipRule,
)
from geode_tui.migration import pace, schema_graph, schema_steps
from geode_tui.migration.audit import whoami
from geode_tui.migration.journal import Journal
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.schema_change import SchemaRequest
from geode_tui.migration.schema_steps import GraphSteps
from geode_tui.migration.versions import LABEL
from tests.command_line import CommandLine
from tests.conftest import MakeDatabase, _execute, run_now
from tests.documentation import documented_keys
from tests.graph_dump import Dump, differences, dump

SOURCE = """
CREATE TABLE city (id int PRIMARY KEY, name text NOT NULL, capital bool NOT NULL, area numeric,
  founded date);
INSERT INTO city SELECT n, 'city ' || n, n % 4 = 0, n * 1.50, date '1200-02-03' + n
  FROM generate_series(1, 12) n;
CREATE TABLE person (id int PRIMARY KEY, first text, last text, born date, height float8,
  kind text, city_id int REFERENCES city, boss int REFERENCES person, seen timestamptz,
  tags text[]);
INSERT INTO person SELECT n, 'first ' || n, NULLIF('last ' || n, 'last 7'), date '1970-01-01' + n,
  n / 7.0, (ARRAY['staff', 'guest', NULL])[n % 3 + 1], n % 12 + 1, NULLIF(n / 5, 0),
  timestamptz '2024-01-01 12:00+02' + n * interval '1 hour', ARRAY['a', 'b' || n]
  FROM generate_series(1, 40) n;
CREATE TABLE account (bank int, number text, owner int NOT NULL REFERENCES person, balance numeric,
  opened time, PRIMARY KEY (bank, number));
INSERT INTO account SELECT n % 3, 'n' || n, n, n * 0.10, time '10:00' + n * interval '1 minute'
  FROM generate_series(1, 30) n;
CREATE TABLE club (id int PRIMARY KEY, name text, motto text, dues numeric);
INSERT INTO club SELECT n, 'club ' || n, 'motto ' || n,
  CASE WHEN n = 2 THEN 'NaN' ELSE n::numeric END FROM generate_series(1, 6) n;
CREATE TABLE member (person_id int REFERENCES person, club_id int REFERENCES club, since date,
  fee numeric, role text, PRIMARY KEY (person_id, club_id));
INSERT INTO member SELECT n, n % 6 + 1, date '2020-01-01' + n, n * 1.10, 'role ' || n % 3
  FROM generate_series(1, 36) n;
CREATE TABLE payment (id int PRIMARY KEY, bank int, number text, club_id int REFERENCES club,
  amount numeric, FOREIGN KEY (bank, number) REFERENCES account);
INSERT INTO payment SELECT n, n % 3, 'n' || n, n % 6 + 1, n FROM generate_series(1, 30) n;
CREATE TABLE remark (person_id int REFERENCES person, body text, at date);
INSERT INTO remark SELECT n % 40 + 1, 'remark ' || n, date '2021-01-01' + n
  FROM generate_series(1, 25) n;
CREATE TABLE contact (email text, name text, seen date);
INSERT INTO contact SELECT 'c' || n % 8, 'contact ' || n, date '2024-01-01' + n
  FROM generate_series(1, 20) n;
ANALYZE;
"""

OLD = """
version: 2
queries:
- {name: rich, sql: "SELECT id, last FROM public.person WHERE id % 2 = 0"}
nodes:
- label: City
  table: public.city
  where: NOT capital
  labels: [Place]
  key: [id]
  properties: &city
  - {name: id, column: id, type: INT}
  - {name: name, column: name, type: STRING}
  - {name: area, column: area, type: DECIMAL}
- label: City
  name: Capital
  table: public.city
  where: capital
  labels: [Place]
  key: [id]
  properties: *city
- label: Person
  table: public.person
  labels_by: {column: kind, labels: {staff: Staff, guest: Guest}}
  joins:
  - {name: home, table: public.city, columns: [city_id], references: [id]}
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: first, column: first, type: STRING}
  - {name: last, column: last, type: STRING}
  - {name: born, column: born, type: DATE}
  - {name: height, column: height, type: FLOAT}
  - {name: whole, expression: "first || ' ' || coalesce(last, '?')", column: '', type: STRING}
  - {name: homeName, column: name, join: home, type: STRING}
  - {name: seen, column: seen, type: TIMESTAMPTZ}
  - {name: tags, column: tags, type: LIST<STRING>, include: false}
- label: Account
  table: public.account
  labels_by: {column: bank, labels: {'0': House, '1': Branch}}
  key: [bank, number]
  properties:
  - {name: bank, column: bank, type: INT}
  - {name: number, column: number, type: STRING}
  - {name: balance, column: balance, type: DECIMAL}
- label: Club
  table: public.club
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: name, column: name, type: STRING}
- label: Payment
  table: public.payment
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: amount, column: amount, type: DECIMAL}
- label: Remark
  table: public.remark
  key: []
  properties:
  - {name: body, column: body, type: STRING}
- label: Contact
  table: public.contact
  keep_first: seen DESC
  key: [email]
  properties:
  - {name: email, column: email, type: STRING}
  - {name: name, column: name, type: STRING}
- label: Rich
  table: query.rich
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: last, column: last, type: STRING}
relationships:
- type: LIVES_IN
  table: public.person
  from: {node: Person, columns: [id], references: [id]}
  to: {node: City, columns: [city_id], references: [id]}
- type: LIVES_IN
  table: public.person
  from: {node: Person, columns: [id], references: [id]}
  to: {node: Capital, columns: [city_id], references: [id]}
- type: REPORTS_TO
  table: public.person
  from: {node: Person, columns: [id], references: [id]}
  to: {node: Person, columns: [boss], references: [id]}
- type: OWNED_BY
  table: public.account
  from: {node: Account, columns: [bank, number], references: [bank, number]}
  to: {node: Person, columns: [owner], references: [id]}
- type: MEMBER_OF
  table: public.member
  from: {node: Person, columns: [person_id], references: [id]}
  to: {node: Club, columns: [club_id], references: [id]}
  properties:
  - {name: since, column: since, type: DATE}
  - {name: fee, column: fee, type: DECIMAL}
- type: FROM_ACCOUNT
  table: public.payment
  from: {node: Payment, columns: [id], references: [id]}
  to: {node: Account, columns: [bank, number], references: [bank, number]}
- type: ABOUT
  table: public.remark
  from: {node: Remark, columns: [], references: []}
  to: {node: Person, columns: [person_id], references: [id]}
  properties:
  - {name: at, column: at, type: DATE}
  - {name: body, column: body, type: STRING}
"""

Change = Callable[[Mapping], Mapping]


# -- the changes ----------------------------------------------------------------------------------


def _node(mapping: Mapping, rule_id: str) -> NodeRule:
    rule = mapping.node(rule_id)
    assert rule is not None
    return rule


def _relationship(mapping: Mapping, rule_id: str) -> RelationshipRule:
    rule = mapping.rule(rule_id)
    assert isinstance(rule, RelationshipRule)
    return rule


def _changed(mapping: Mapping, rule_id: str, **fields: Any) -> Mapping:
    rule = mapping.rule(rule_id)
    assert rule is not None
    return edits.replace_rule(mapping, rule, replace(rule, **fields))


def _more(mapping: Mapping, rule_id: str, *items: Property, first: bool = False) -> Mapping:
    rule = mapping.rule(rule_id)
    assert rule is not None
    properties = (*items, *rule.properties) if first else (*rule.properties, *items)
    return _changed(mapping, rule_id, properties=properties)


def _less(mapping: Mapping, rule_id: str, *names: str) -> Mapping:
    rule = mapping.rule(rule_id)
    assert rule is not None
    return _changed(
        mapping, rule_id, properties=tuple(p for p in rule.properties if p.name not in names)
    )


def _item(mapping: Mapping, rule_id: str, name: str, **fields: Any) -> Mapping:
    rule = mapping.rule(rule_id)
    assert rule is not None
    properties = (replace(p, **fields) if p.name == name else p for p in rule.properties)
    return _changed(mapping, rule_id, properties=tuple(properties))


def _without(mapping: Mapping, *rule_ids: str) -> Mapping:
    nodes = tuple(rule for rule in mapping.nodes if rule.id not in rule_ids)
    ids = {rule.id for rule in nodes}
    kept = tuple(
        rule
        for rule in mapping.relationships
        if rule.id not in rule_ids and {rule.start.node, rule.end.node} <= ids
    )
    return replace(mapping, nodes=nodes, relationships=kept)


def _renamed(mapping: Mapping, *names: tuple[str, str]) -> Mapping:
    for old, new in names:
        mapping = edits.rename_label(mapping, old, new)
    return mapping


def _renamed_items(mapping: Mapping, rule_id: str, *names: tuple[str, str]) -> Mapping:
    for old, new in names:
        rule = mapping.rule(rule_id)
        assert rule is not None
        mapping = edits.rename_property(mapping, rule, old, new)
    return mapping


def _shared(mapping: Mapping) -> Mapping:
    """Clubs and contacts become nodes of one label, which tells them apart by their rules."""
    mapping = _renamed_items(mapping, "Contact", ("email", "id"))
    mapping = _changed(mapping, "Contact", label="Party", name="Contact")
    return _changed(mapping, "Club", label="Party", name="Club")


def _apart(mapping: Mapping) -> Mapping:
    """The two rules of one label get labels of their own."""
    return _changed(mapping, "Capital", label="Capital", name="")


MEMBER = "(Person)-[MEMBER_OF]->(Club)"
LIVES = "(Person)-[LIVES_IN]->(City)"
OWNED = "(Account)-[OWNED_BY]->(Person)"
ABOUT = "(Remark)-[ABOUT]->(Person)"
SWAP = (("Person", "Aside"), ("Club", "Person"), ("Aside", "Club"))


def _everything(mapping: Mapping) -> Mapping:
    """Many changes at once, in one graph."""
    mapping = _renamed(mapping, *SWAP)
    mapping = _renamed_items(mapping, "Club", ("first", "aside"), ("last", "first"))
    mapping = _renamed_items(mapping, "Club", ("aside", "last"))
    mapping = _less(_more(mapping, "Club", Property("boss", "boss", "INT")), "Club", "born")
    mapping = _more(mapping, "Account", Property("opened", "opened", "TIME"), first=True)
    mapping = _changed(mapping, "City", labels=("Place", "Town"))
    mapping = _changed(mapping, "Payment", where="amount > 10")
    mapping = _without(mapping, "Rich")
    for rule in mapping.relationships:
        if rule.type == "MEMBER_OF":
            mapping = edits.rename_type(mapping, rule, "JOINED")
    return mapping


CHANGES: dict[str, Change] = {
    "a property comes": lambda m: _more(m, "Club", Property("motto", "motto", "STRING")),
    "an expression comes first": lambda m: _more(
        m, "City", Property("upper", "", "STRING", expression="upper(name)"), first=True
    ),
    "a property of a joined table comes": lambda m: _more(
        m, "Person", Property("homeArea", "area", "DECIMAL", join="home")
    ),
    "a join comes with its property": lambda m: _more(
        _changed(
            m, "Account", joins=(Join("o", TableName("public", "person"), ("owner",), ("id",)),)
        ),
        "Account",
        Property("ownerName", "last", "STRING", join="o"),
    ),
    "a property goes": lambda m: _less(m, "Person", "height", "whole"),
    "a property is left out, another moved": lambda m: _item(
        _item(m, "Person", "born", include=False), "Person", "tags", include=True
    ),
    "properties change places": lambda m: _renamed_items(
        m, "Person", ("first", "aside"), ("last", "first"), ("aside", "last")
    ),
    "the order of properties changes": lambda m: _changed(
        m, "City", properties=_node(m, "City").properties[::-1]
    ),
    "a key's property is renamed": lambda m: _renamed_items(
        m, "Account", ("bank", "house"), ("number", "no")
    ),
    "the type of a property changes": lambda m: _item(m, "Payment", "amount", type="STRING"),
    "an expression changes": lambda m: _item(m, "Person", "whole", expression="last || first"),
    "a joined property is of another column": lambda m: _item(
        m, "Person", "homeName", column="founded", type="DATE"
    ),
    "a label is renamed": lambda m: _renamed(m, ("Person", "Human")),
    "labels change places": lambda m: _renamed(m, *SWAP),
    "a label of two rules is renamed": lambda m: _changed(
        _changed(m, "City", label="Town", name="City"), "Capital", label="Town"
    ),
    "two labels become one": _shared,
    "one label becomes two": _apart,
    "a rule's name changes": lambda m: replace(
        _changed(m, "Capital", name="Seat"),
        relationships=tuple(
            replace(r, end=replace(r.end, node="Seat")) if r.end.node == "Capital" else r
            for r in m.relationships
        ),
    ),
    "labels come and go": lambda m: _changed(
        _changed(m, "City", labels=()), "Club", labels=("Group", "Place")
    ),
    "labels by value change": lambda m: _changed(
        m, "Person", labels_by=LabelBy("kind", (("staff", "Worker"),))
    ),
    "labels by value go": lambda m: _changed(m, "Account", labels_by=None),
    "a type is renamed": lambda m: edits.rename_type(m, _relationship(m, MEMBER), "JOINED"),
    "properties of a relationship come, go and change places": lambda m: _more(
        _less(_renamed_items(m, MEMBER, ("since", "begun")), MEMBER, "fee"),
        MEMBER,
        Property("role", "role", "STRING"),
        first=True,
    ),
    "a property of a relationship of rows without a key goes": lambda m: _less(m, ABOUT, "at"),
    "a relationship leads the other way": lambda m: _changed(
        m, OWNED, start=_relationship(m, OWNED).end, end=_relationship(m, OWNED).start
    ),
    "a relationship gets a condition": lambda m: _changed(m, MEMBER, where="fee > 9"),
    "a relationship comes": lambda m: replace(
        m,
        relationships=(
            *m.relationships,
            replace(
                _relationship(m, MEMBER),
                type="PAID_TO",
                table=TableName("public", "payment"),
                start=replace(_relationship(m, MEMBER).start, node="Payment", columns=("id",)),
                properties=(),
            ),
        ),
    ),
    "a relationship goes": lambda m: _without(m, ABOUT),
    "a label goes with its relationships": lambda m: _without(m, "Account"),
    "a label is left out": lambda m: _changed(m, "City", include=False),
    "a label comes": lambda m: replace(
        m,
        nodes=(
            *m.nodes,
            NodeRule(
                "Membership",
                TableName("public", "member"),
                ("person", "club"),
                (Property("person", "person_id", "INT"), Property("club", "club_id", "INT")),
                labels=("Place",),
            ),
        ),
    ),
    "a label comes that others have": lambda m: replace(
        m,
        nodes=(
            *_changed(m, "Club", where="id > 2").nodes,
            NodeRule(
                "Club",
                TableName("public", "payment"),
                ("id",),
                (Property("id", "id", "INT"),),
                name="Sponsor",
            ),
        ),
    ),
    "a condition changes": lambda m: _changed(m, "Club", where="id < 5"),
    "the key changes": lambda m: _changed(m, "Account", key=("number", "bank")),
    "the first row of each key is another one": lambda m: _changed(
        m, "Contact", keep_first="seen ASC"
    ),
    "a property comes to the first rows": lambda m: _more(
        m, "Contact", Property("seen", "seen", "DATE")
    ),
    "a property comes to rows without a key": lambda m: _more(
        m, "Remark", Property("at", "at", "DATE")
    ),
    "the SQL of a query changes": lambda m: replace(
        m, queries=(Query("rich", "SELECT id, last FROM public.person WHERE id % 3 = 0"),)
    ),
    "a value comes that some rows cannot have": lambda m: _more(
        m, "Club", Property("dues", "dues", "DECIMAL")
    ),
    "nothing but a reason": lambda m: _changed(m, "Club", because="asked for"),
    "many changes at once": _everything,
}
# Changes of different rules share a graph; `benchmarks/schema_changes.py` tries each by itself.
TOGETHER = {
    "values come": (
        "a property comes",
        "an expression comes first",
        "a property of a joined table comes",
        "a join comes with its property",
        "the type of a property changes",
        "properties of a relationship come, go and change places",
        "a property comes to the first rows",
        "a property comes to rows without a key",
    ),
    "values go": (
        "a property goes",
        "a property of a relationship of rows without a key goes",
        "the order of properties changes",
        "a key's property is renamed",
        "a value comes that some rows cannot have",
        "a relationship leads the other way",
        "the first row of each key is another one",
        "the SQL of a query changes",
    ),
    "names change places": (
        "properties change places",
        "a property is left out, another moved",
        "labels come and go",
        "a relationship goes",
        "a relationship comes",
        "a type is renamed",
        "a rule's name changes",
    ),
    "labels": (
        "labels by value go",
        "a relationship gets a condition",
        "a label of two rules is renamed",
        "two labels become one",
        "a label is renamed",
    ),
    "labels change places": ("a label comes", "one label becomes two", "labels change places"),
    "other values": (
        "an expression changes",
        "a joined property is of another column",
        "a label is left out",
        "a label goes with its relationships",
        "a condition changes",
    ),
    "keys": (
        "labels by value change",
        "the key changes",
        "a label comes that others have",
        "nothing but a reason",
    ),
    "all": ("many changes at once",),
}


def test_each_change_is_tried() -> None:
    """No change is forgotten when they share a graph."""
    assert sorted(name for names in TOGETHER.values() for name in names) == sorted(CHANGES)


# -- a graph of the old mapping, and what comes of it ---------------------------------------------


@dataclass(frozen=True)
class Town:
    """The source, and a graph of the old mapping to copy."""

    dsn: str
    graph: Path
    mapping: Mapping

    def copy(self, folder: Path) -> Path:
        """A graph of the old mapping, of one's own."""
        there = folder / "graph.grafeo"
        shutil.copy(self.graph, there)
        return there


@pytest.fixture(autouse=True)
def _no_idle_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that have nothing to do do not hold up the end of these small runs."""
    monkeypatch.setattr(pace, "TURN_SECONDS", 2 * pace.TICK)


@pytest.fixture(scope="module")
def town(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A source, and a graph that holds it by the old mapping as version 1."""
    return make_town(postgres, tmp_path_factory.mktemp("town"))


def make_town(server: EmbeddedPostgres, folder: Path) -> Town:
    """Fill a database on a server, and migrate it by the old mapping."""
    run_now(_execute(server.dsn(), "CREATE DATABASE town TEMPLATE template0"))
    dsn = server.dsn("town")
    run_now(_execute(dsn, SOURCE))
    mapping = parse(OLD, "old").mapping
    return Town(dsn, migrated(dsn, folder, mapping), mapping)


def migrated(dsn: str, folder: Path, mapping: Mapping) -> Path:
    """A new graph of a mapping, whose version it holds."""
    graph, journal = folder / "fresh.grafeo", folder / "fresh.sqlite3"
    _run(Runner(RunRequest(dsn, str(graph), mapping), journal=journal))
    return graph


def _run(runner: Runner) -> Runner:
    runner.start()
    runner.join()
    if runner.error is not None:
        raise runner.error
    return runner


def apply(town: Town, graph: Path, new: Mapping, source: str | None = None) -> Runner:
    """Lead a graph of the old mapping to a new one; raises its error."""
    request = _request(town, graph, new, source)
    return _run(Runner(request, journal=graph.with_name("journal.sqlite3")))


def _request(town: Town, graph: Path, new: Mapping, source: str | None = None) -> SchemaRequest:
    dsn = town.dsn if source is None else source
    return SchemaRequest(dsn, str(graph), new, description="a change")


def things(graph: Path) -> Dump:
    """All that a graph holds of its mapping, but who wrote it when."""
    return without_versions(dump(graph, without=("_run", "_step")))


def without_versions(found: Dump) -> Dump:
    """A dump without what the graph says of itself."""
    nodes = {node: n for node, n in found.nodes.items() if node[0] != (LABEL,)}
    return Dump(Counter(nodes), found.relationships)


@pytest.mark.parametrize("names", TOGETHER.values(), ids=TOGETHER)
def test_a_graph_that_is_led_over_is_as_if_it_had_been_migrated_anew(
    town: Town, tmp_path: Path, names: Sequence[str]
) -> None:
    """Every node, label, property, digest and relationship; and a rollback gives back the old."""
    graph, new = town.copy(tmp_path), town.mapping
    for name in names:
        new = CHANGES[name](new)
    before = dump(graph)
    runner = apply(town, graph, new)
    assert runner.ledger is not None
    assert runner.ledger.balanced
    fresh, led = things(migrated(town.dsn, tmp_path, new)), things(graph)
    assert led == fresh, "\n".join(differences(led, fresh))

    journal = Journal(graph.with_name("journal.sqlite3"))
    assert roll_back(journal, 1).balanced
    journal.close()
    after = dump(graph)
    assert after == before, "\n".join(differences(before, after))


class _Killed(Exception):
    """The machine dies here."""


@dataclass
class _Breaks:
    """Ends a run in each step of it: in one just before it is done, in the next just after.

    That the step was begun is in the journal then, and nothing of its end.
    """

    met: set[tuple[str, int]]

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        begin, end = GraphSteps._begin, GraphSteps._end
        put = schema_graph.put

        def broken_begin(steps: GraphSteps, number: int, step: Any) -> int:
            taken = begin(steps, number, step)
            if number % 2:
                self._die("begun", number)
            return taken

        def broken_end(steps: GraphSteps, number: int, changed: int) -> None:
            if not number % 2:
                self._die("done", number)
            end(steps, number, changed)

        def broken_put(target: Any, shape: Any, pairs: Any) -> None:
            put(target, shape, pairs)
            self._die("put", hash(shape))

        patch.setattr(GraphSteps, "_begin", broken_begin)
        patch.setattr(GraphSteps, "_end", broken_end)
        patch.setattr(schema_steps, "put", broken_put)

    def _die(self, place: str, number: int) -> None:
        if (place, number) not in self.met:
            self.met.add((place, number))
            raise _Killed


def test_a_change_that_breaks_in_each_of_its_steps_is_resumed(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was half done is done; nothing is done twice, nothing is lost."""
    graph, new = town.copy(tmp_path), _everything(town.mapping)
    before, journal = dump(graph), tmp_path / "journal.sqlite3"
    monkeypatch.setattr(schema_graph, "SCAN_ROWS", 7)
    breaks = _Breaks(set())
    with pytest.MonkeyPatch.context() as patch:
        breaks.patch(patch)
        runner = Runner(_request(town, graph, new), journal=journal)
        for _ in range(200):
            runner.start()
            runner.join()
            if runner.error is None:
                break
            assert "_Killed" in str(runner.error)
            runner = Runner(resume=1, journal=journal)
    assert len(breaks.met) > 20
    fresh, led = things(migrated(town.dsn, tmp_path, new)), things(graph)
    assert led == fresh, "\n".join(differences(led, fresh))
    kept = Journal(journal)
    assert roll_back(kept, 1).balanced
    kept.close()
    after = dump(graph)
    assert after == before, "\n".join(differences(before, after))


def test_a_rollback_of_a_change_that_breaks_again_and_again_ends_whole(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part that was put back and not noted is put back once more; the graph is as before."""
    graph = town.copy(tmp_path)
    before, journal = dump(graph), Journal(tmp_path / "journal.sqlite3")
    apply(town, graph, _everything(town.mapping))
    forget, met = PreImages.forget_from, set()

    def breaking(images: PreImages, run: int, number: int) -> None:
        if number not in met:
            met.add(number)
            raise GeodeTuiError("the disk of the journal is full")
        forget(images, run, number)

    monkeypatch.setattr(PreImages, "forget_from", breaking)
    for _ in range(100):
        try:
            ledger = roll_back(journal, 1)
            break
        except GeodeTuiError:
            continue
    assert len(met) > 20
    assert ledger.balanced
    journal.close()
    after = dump(graph)
    assert after == before, "\n".join(differences(before, after))


def test_a_change_that_is_stopped_between_two_steps_goes_on(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the step that is going; `resume` does the rest."""
    graph, new = town.copy(tmp_path), CHANGES["two labels become one"](town.mapping)
    journal, end = tmp_path / "journal.sqlite3", GraphSteps._end
    runner = Runner(_request(town, graph, new), journal=journal)

    def stopping(steps: GraphSteps, number: int, changed: int) -> None:
        end(steps, number, changed)
        runner.stop()
        while not runner._engine._stop.is_set():  # it is set in the loop of the run
            time.sleep(0.001)

    with monkeypatch.context() as patch:
        patch.setattr(GraphSteps, "_end", stopping)
        with pytest.raises(RunStopped):
            _run(runner)
    assert _count(graph, "MATCH (n:Party) RETURN count(n) AS c") == 0
    _run(Runner(resume=1, journal=journal))
    fresh, led = things(migrated(town.dsn, tmp_path, new)), things(graph)
    assert led == fresh, "\n".join(differences(led, fresh))


DIES = """
import os, sys
from geode_tui.migration.store import Store
from geode_tui.cli import main
write, left = Store.write, [int(sys.argv[1])]
def dying(self):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), 9)
    return write(self)
Store.write = dying
sys.exit(main(sys.argv[2:]))
"""


def test_a_change_whose_process_is_killed_goes_on_with_resume(town: Town, tmp_path: Path) -> None:
    """`kill -9` while it drops nodes, again while it loads others, then `resume` to the end."""
    graph, new = town.copy(tmp_path), _everything(town.mapping)
    there = CommandLine(tmp_path)
    save(new, tmp_path / "new.yaml")
    options = ("--source", town.dsn, "--target", "graph.grafeo", "--mapping", "new.yaml", "--yes")
    resume = ("resume", "--source", town.dsn)

    def dies(after: int, *arguments: str) -> int:
        return there.run(*arguments, program=(sys.executable, "-c", DIES, str(after))).code

    assert dies(46, "schema", "apply", *options) == -9
    assert there.run("schema", "apply", *options).code == EXIT_USAGE
    assert dies(100, *resume) == -9
    resumed = there.run(*resume)
    assert resumed.code == EXIT_OK, resumed.err
    fresh, led = things(migrated(town.dsn, tmp_path, new)), things(graph)
    assert led == fresh, "\n".join(differences(led, fresh))


# -- versions -------------------------------------------------------------------------------------


def _schema(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """What `schema … --json` prints, and its exit code."""
    code = main(["schema", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out or "null")


def test_a_graph_says_which_mapping_it_holds(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Number, description, hash, when, who and in which run; also after a change is taken back."""
    graph = town.copy(tmp_path)
    new, file = _renamed(town.mapping, ("Person", "Human")), tmp_path / "new.yaml"
    save(new, file)
    place = ("--target", str(graph))
    wanted = (*place, "--mapping", str(file))
    code, found = _schema(capsys, "status", *wanted)
    assert (code, found["version"], found["matches"]) == (EXIT_OK, 1, False)
    code, found = _schema(capsys, "diff", *wanted)
    assert [step["kind"] for step in found["steps"]] == ["rename_label"]
    assert main(["schema", "apply", *wanted, "--description", "people", "--yes"]) == EXIT_OK
    capsys.readouterr()
    code, found = _schema(capsys, "status", *wanted)
    assert (found["version"], found["matches"], found["unfinished"]) == (2, True, None)
    newest = found["versions"][1]
    assert (newest["description"], newest["hash"]) == ("people", mapping_hash(new))
    assert newest["who"] == whoami()
    assert set(found) == documented_keys("schema status")
    assert set(newest) == documented_keys("schema version")
    assert newest["run"] == Journal().run(1).uid
    assert main(["rollback", "1", "--yes"]) == EXIT_OK
    capsys.readouterr()
    _, found = _schema(capsys, "status", *wanted)
    assert (found["version"], found["matches"]) == (1, False)


def test_a_graph_that_holds_the_mapping_already_is_left_alone(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run is begun for nothing."""
    graph, file = town.copy(tmp_path), tmp_path / "same.yaml"
    save(town.mapping, file)
    target = ("--target", str(graph), "--mapping", str(file))
    assert main(["schema", "apply", *target]) == EXIT_OK
    assert "holds this mapping already: version 1" in capsys.readouterr().err
    assert Journal().runs() == []


def test_a_change_is_asked_about_by_the_name_of_the_target(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal, and without --yes, nothing is changed."""
    graph, file = town.copy(tmp_path), tmp_path / "new.yaml"
    save(_renamed(town.mapping, ("Person", "Human")), file)
    before = dump(graph)
    assert main(["schema", "apply", "--target", str(graph), "--mapping", str(file)]) == EXIT_USAGE
    told = capsys.readouterr().err
    assert "1. rename label Person to Human" in told
    assert "answer with --yes" in told
    assert (dump(graph), Journal().runs()) == (before, [])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("status",), "which graph?"),
        (("status", "a.yaml"), "schema status takes no files"),
        (("diff", "a.yaml"), "two mappings are expected"),
        (("diff", "--target", "no.grafeo"), "two mappings are expected"),
        (("apply", "--target", "no.grafeo"), "which mapping?"),
    ],
)
def test_what_is_missing_is_named(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong use ends with 2 and says what is expected."""
    assert main(["schema", *arguments]) == EXIT_USAGE
    assert told in capsys.readouterr().err


def _bare(graph: Path) -> None:
    """Make the graph one that was made before versions were kept."""
    _query(graph, f"MATCH (n:{LABEL}) DELETE n")


def _query(graph: Path, statement: str) -> None:
    database = grafeo.GrafeoDB(str(graph))
    database.execute(statement)
    database.close()


def test_a_graph_without_a_version_is_led_over_from_a_file(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot say what it holds; whoever knows names the mapping."""
    graph, old, new = town.copy(tmp_path), tmp_path / "old.yaml", tmp_path / "new.yaml"
    _bare(graph)
    save(town.mapping, old)
    save(_renamed(town.mapping, ("Club", "Society")), new)
    wanted = ("--target", str(graph), "--mapping", str(new), "--yes")
    assert main(["schema", "status", "--target", str(graph)]) == EXIT_OK
    assert "says nothing of its mapping" in capsys.readouterr().err
    assert main(["schema", "apply", *wanted]) == EXIT_USAGE
    assert "--from OLD.yaml" in capsys.readouterr().err
    assert main(["schema", "apply", *wanted, "--from", str(old)]) == EXIT_OK
    capsys.readouterr()
    _, found = _schema(capsys, "status", "--target", str(graph))
    assert found["version"] == 1


def test_a_named_graph_is_led_over_alone(town: Town, tmp_path: Path) -> None:
    """Another graph in the file holds the same labels, and its own version."""
    graph, journal = town.copy(tmp_path), tmp_path / "journal.sqlite3"
    others = dump(graph)
    _run(Runner(RunRequest(town.dsn, str(graph), town.mapping, "second"), journal=journal))
    new = _everything(town.mapping)
    request = replace(_request(town, graph, new), graph="second")
    _run(Runner(request, journal=journal))
    second = dump(graph, "second", without=("_run", "_step"))
    assert without_versions(second) == things(migrated(town.dsn, tmp_path, new))
    assert dump(graph) == others


def test_names_change_without_the_source(town: Town, tmp_path: Path) -> None:
    """A graph whose source is long gone can still get other names."""
    graph = town.copy(tmp_path)
    new = _renamed_items(_renamed(town.mapping, ("Person", "Human")), "Club", ("name", "title"))
    apply(town, graph, new, source="")
    assert _count(graph, "MATCH (n:Human) RETURN count(n) AS c") == 40
    with pytest.raises(GeodeTuiError):
        apply(town, graph, _more(new, "Club", Property("motto", "motto", "STRING")), source="")


def _count(graph: Path, statement: str) -> int:
    database = grafeo.GrafeoDB.open_read_only(str(graph))
    [row] = database.execute(statement)
    database.close()
    return int(row["c"])


# -- what is not ours, and what is left out -------------------------------------------------------


@pytest.mark.parametrize(
    ("foreign", "change", "told"),
    [
        ("INSERT (:Person {id: 99})", "a label is renamed", "1 of Person"),
        ("INSERT (:Human {id: 99})", "a label is renamed", "1 Human nodes"),
        ("INSERT (:Membership {id: 9})", "a label comes", "1 of Membership"),
        (
            "MATCH (a:Club {id: 1}) INSERT (:Hall)-[:HOSTS]->(a)",
            "a condition changes",
            "1 relationships that no run made",
        ),
        ("MATCH (n:Club {id: 4}) SET n.title = 'x'", "a name is taken", "with property title"),
    ],
)
def test_what_others_made_in_the_graph_is_never_changed(
    town: Town, tmp_path: Path, foreign: str, change: str, told: str
) -> None:
    """A change that would change it, or remove it, is refused before anything is done."""
    graph = town.copy(tmp_path)
    _query(graph, foreign)
    before = dump(graph)
    taken: Change = lambda m: _renamed_items(m, "Club", ("name", "title"))  # noqa: E731
    new = CHANGES.get(change, taken)(town.mapping)
    with pytest.raises(GeodeTuiError, match=told):
        apply(town, graph, new)
    after = dump(graph)
    assert after == before, "\n".join(differences(before, after))


def test_what_others_made_beside_it_stays(town: Town, tmp_path: Path) -> None:
    """Nodes and relationships of other programs are there after a change, and after a rollback."""
    graph = town.copy(tmp_path)
    _query(graph, "MATCH (a:City {id: 1}) INSERT (:Hall {no: 1})-[:STANDS_IN {since: 1900}]->(a)")
    before = dump(graph)
    apply(town, graph, _everything(town.mapping))
    there = "MATCH (:Hall {no: 1})-[r:STANDS_IN {since: 1900}]->(:Town) RETURN count(r) AS c"
    assert _count(graph, there) == 1
    journal = Journal(graph.with_name("journal.sqlite3"))
    assert roll_back(journal, 1).balanced
    journal.close()
    after = dump(graph)
    assert after == before, "\n".join(differences(before, after))


def test_rows_that_came_since_are_told_and_not_added(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A change of the mapping fills what is there; it does not bring rows up to date."""
    dsn = make_database(
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x')"
    )
    text = """
version: 2
nodes:
- label: T
  table: public.t
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
relationships: []
"""
    mapping = parse(text, "t").mapping
    graph = migrated(dsn, tmp_path, mapping)
    run_now(_execute(dsn, "INSERT INTO t VALUES (2, 'y')"))
    town = Town(dsn, graph, mapping)
    runner = apply(town, graph, _more(mapping, "T", Property("a", "a", "STRING")))
    assert runner.ledger is not None
    told = [event.message for event in runner.events() if event.level == "warning"]
    assert "fill T: 1 rows of the source are not in the graph" in told
    assert _count(graph, "MATCH (n:T) RETURN count(n.a) AS c") == 1


def test_what_was_left_out_is_still_known_under_the_new_names(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dead letters of the migration are no differences after a label was renamed."""
    old = _more(town.mapping, "Club", Property("dues", "dues", "DECIMAL"))
    new = _renamed(old, ("Club", "Society"))
    save(old, tmp_path / "old.yaml")
    save(new, tmp_path / "new.yaml")
    graph = tmp_path / "g.grafeo"
    both = ["--source", town.dsn, "--target", str(graph), "--mapping"]
    assert main(["migrate", *both, str(tmp_path / "old.yaml")]) == EXIT_OK
    assert main(["schema", "apply", *both, str(tmp_path / "new.yaml"), "--yes"]) == EXIT_OK
    capsys.readouterr()
    assert main(["validate", *both, str(tmp_path / "new.yaml"), "--json"]) == EXIT_OK
    entries = {entry["id"]: entry for entry in json.loads(capsys.readouterr().out)["entries"]}
    assert entries["Society"]["dead"] == 1
    assert entries["(Person)-[MEMBER_OF]->(Society)"]["orphans"] == 6
