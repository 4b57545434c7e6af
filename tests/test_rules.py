"""Rules that cover real schemas: conditions, joins, labels by value, shared labels, queries."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geode_tui.cli import main
from geode_tui.errors import GeodeTuiError, MappingError, RowError
from geode_tui.mapping import file
from geode_tui.mapping.check import check, find_problems
from geode_tui.mapping.edits import merge, rename_label
from geode_tui.mapping.file import dump, parse
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import LabelBy, Mapping
from geode_tui.migration import postgres_origin
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target.embedded import EmbeddedGraph
from geode_tui.validation.ledger import Entry
from tests.catalogs import catalog, table
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import Migrated, migrate, read_catalog

OFFICE = """
CREATE TABLE people (id int PRIMARY KEY, kind text NOT NULL, name text, email text,
  deleted_at date, manager_id int REFERENCES people);
INSERT INTO people SELECT n, CASE WHEN n % 10 = 0 THEN 'bot' WHEN n % 3 = 0 THEN 'guest'
  ELSE 'staff' END, ' Person ' || n, 'P' || n || '@X.org',
  CASE WHEN n % 7 = 0 THEN date '2024-01-01' END, NULLIF(n / 4, 0) FROM generate_series(1, 120) n;
CREATE TABLE countries (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO countries VALUES ('fr', 'France'), ('de', 'Germany'), ('it', 'Italy');
CREATE TABLE profiles (user_id int PRIMARY KEY REFERENCES people, bio text,
  country text REFERENCES countries);
INSERT INTO profiles SELECT n, 'bio ' || n, (ARRAY['fr', 'de', NULL])[n % 3 + 1]
  FROM generate_series(1, 120, 2) n;
CREATE TABLE statuses (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO statuses VALUES (1, 'open'), (2, 'closed'), (3, 'never used');
CREATE TABLE tickets (id int PRIMARY KEY, status_id int NOT NULL REFERENCES statuses,
  owner_id int REFERENCES people, subject text);
INSERT INTO tickets SELECT n, n % 2 + 1, NULLIF(n % 90, 0), 'ticket ' || n
  FROM generate_series(1, 200) n;
CREATE TABLE notes (id int PRIMARY KEY, about_type text, about_id text, body text);
INSERT INTO notes SELECT n, CASE n % 3 WHEN 0 THEN 'Ticket' WHEN 1 THEN 'App\\Person' END,
  (n % 130 + 1)::text, 'note' FROM generate_series(1, 90) n;
CREATE TABLE contacts (email text, name text, seen date);
INSERT INTO contacts SELECT CASE WHEN n % 11 > 0 THEN 'c' || n % 20 END, 'contact ' || n,
  date '2024-01-01' + n FROM generate_series(1, 77) n;
CREATE TABLE calls (id int PRIMARY KEY, contact text);
INSERT INTO calls SELECT n, 'c' || n % 25 FROM generate_series(1, 50) n;
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE suppliers (id int PRIMARY KEY, name text, rating int);
INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 20) n;
INSERT INTO suppliers SELECT n, 'supplier ' || n, n FROM generate_series(1, 9) n;
CREATE TABLE sales (id int PRIMARY KEY, customer_id int REFERENCES customers);
INSERT INTO sales SELECT n, n % 20 + 1 FROM generate_series(1, 60) n;
CREATE TABLE deliveries (id int PRIMARY KEY, supplier_id int REFERENCES suppliers);
INSERT INTO deliveries SELECT n, n % 9 + 1 FROM generate_series(1, 60) n;
CREATE TABLE cities (id int PRIMARY KEY, name text);
CREATE TABLE capitals (since int, PRIMARY KEY (id)) INHERITS (cities);
CREATE TABLE villages (people int) INHERITS (cities);
INSERT INTO cities SELECT n, 'city ' || n FROM generate_series(1, 12) n;
INSERT INTO capitals SELECT n, 'capital ' || n, 1900 + n FROM generate_series(5, 9) n;
INSERT INTO villages SELECT 1, 'village', n FROM generate_series(1, 4) n;
CREATE TABLE trips (id int PRIMARY KEY, city_id int REFERENCES cities,
  capital_id int REFERENCES capitals);
INSERT INTO trips SELECT n, n % 12 + 1, n % 5 + 5 FROM generate_series(1, 40) n;
CREATE VIEW open_tickets AS SELECT id, subject, owner_id FROM tickets WHERE status_id = 2;
CREATE VIEW subjects AS SELECT left(subject, 8) AS start, status_id FROM tickets;
CREATE MATERIALIZED VIEW per_status AS SELECT status_id, count(*) AS tickets FROM tickets
  GROUP BY status_id;
ANALYZE;
"""

RULES = """
version: 2
queries:
- name: load
  sql: |
    SELECT owner_id AS person, count(*) AS tickets
    FROM public.tickets WHERE owner_id IS NOT NULL GROUP BY owner_id
nodes:
- label: Person
  table: public.people
  where: deleted_at IS NULL
  labels: [Being]
  labels_by: {column: kind, labels: {staff: Staff, guest: Guest}}
  joins:
  - {name: profile, table: public.profiles, columns: [id], references: [user_id]}
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: kind, column: kind, type: STRING}
  - {name: name, column: name, expression: trim(name), type: STRING}
  - {name: email, column: email, expression: "encode(sha256(convert_to(lower(email), 'UTF8')), 'hex')", type: STRING}
  - {name: bio, column: bio, join: profile, type: STRING}
  - {name: country, column: country, join: profile, expression: upper(country), type: STRING}
- label: Country
  table: public.countries
  key: [code]
  properties:
  - {name: code, column: code, type: STRING}
  - {name: name, column: name, type: STRING}
- label: Ticket
  table: public.tickets
  joins:
  - {name: status, table: public.statuses, columns: [status_id], references: [id]}
  labels_by: {column: name, join: status, labels: {open: Open, closed: Closed}}
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: status, column: name, join: status, type: STRING}
  - {name: subject, column: subject, type: STRING}
- label: Note
  table: public.notes
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: Contact
  table: public.contacts
  keep_first: seen DESC
  key: [email]
  properties:
  - {name: email, column: email, type: STRING}
  - {name: name, column: name, type: STRING}
  - {name: seen, column: seen, type: DATE}
- label: Call
  table: public.calls
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: Party
  name: Customer
  table: public.customers
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: name, column: name, type: STRING}
- label: Party
  name: Supplier
  table: public.suppliers
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: name, column: name, type: STRING}
  - {name: rating, column: rating, type: INT}
- label: Sale
  table: public.sales
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: Delivery
  table: public.deliveries
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
- label: OpenTicket
  table: public.open_tickets
  key: [id]
  properties:
  - {name: id, column: id, type: INT}
  - {name: subject, column: subject, type: STRING}
- label: Subject
  table: public.subjects
  key: []
  properties:
  - {name: start, column: start, type: STRING}
- label: PerStatus
  table: public.per_status
  key: [status]
  properties:
  - {name: status, column: status_id, type: INT}
  - {name: tickets, column: tickets, type: INT}
- label: Load
  table: query.load
  key: [person]
  properties:
  - {name: person, column: person, type: INT}
  - {name: tickets, column: tickets, type: INT}
relationships:
- type: REPORTS_TO
  table: public.people
  from: {node: Person, columns: [id], references: [id]}
  to: {node: Person, columns: [manager_id], references: [id]}
- type: LIVES_IN
  table: public.profiles
  from: {node: Person, columns: [user_id], references: [id]}
  to: {node: Country, columns: [country], references: [code]}
- type: OWNED_BY
  table: public.tickets
  from: {node: Ticket, columns: [id], references: [id]}
  to: {node: Person, columns: [owner_id], references: [id]}
- type: ABOUT
  table: public.notes
  where: about_type = 'Ticket'
  from: {node: Note, columns: [id], references: [id]}
  to: {node: Ticket, columns: [about_id], references: [id]}
- type: ABOUT
  table: public.notes
  where: about_type = 'App\\Person'
  from: {node: Note, columns: [id], references: [id]}
  to: {node: Person, columns: [about_id], references: [id]}
- type: WITH
  table: public.calls
  from: {node: Call, columns: [id], references: [id]}
  to: {node: Contact, columns: [contact], references: [email]}
- type: PARTNER
  table: public.sales
  from: {node: Sale, columns: [id], references: [id]}
  to: {node: Customer, columns: [customer_id], references: [id]}
- type: PARTNER
  table: public.deliveries
  from: {node: Delivery, columns: [id], references: [id]}
  to: {node: Supplier, columns: [supplier_id], references: [id]}
- type: OPEN_OF
  table: public.open_tickets
  from: {node: OpenTicket, columns: [id], references: [id]}
  to: {node: Person, columns: [owner_id], references: [id]}
- type: IN_STATUS
  table: public.subjects
  from: {node: Subject, columns: [], references: []}
  to: {node: PerStatus, columns: [status_id], references: [status_id]}
- type: LOAD_OF
  table: query.load
  from: {node: Load, columns: [person], references: [person]}
  to: {node: Person, columns: [person], references: [id]}
"""  # noqa: E501


def _entries(migrated: Migrated) -> dict[str, Entry]:
    ledger = migrated.runner.ledger
    assert ledger is not None
    return {entry.id: entry for entry in ledger.entries}


@pytest.fixture(scope="module")
def rules() -> Mapping:
    """The mapping of the office, as a person would write it."""
    return parse(RULES).mapping


def test_every_kind_of_rule_moves_its_rows_and_balances(
    make_database: MakeDatabase, tmp_path: Path, rules: Mapping
) -> None:
    """Conditions, expressions, joins, labels by value, one label of two tables, polymorphic
    references, the first of many rows, views and queries: nothing is lost, nothing is double."""
    dsn = make_database(OFFICE)
    assert parse(dump(rules)).mapping == rules
    migrated = migrate(dsn, tmp_path, rules)
    entries = _entries(migrated)
    assert {e.id: e.verdict for e in entries.values() if not e.balanced} == {}
    found = run_now(compare(dsn, migrated.graph_file, None, migrated.mapping_file))
    assert found.equal, found.verdict
    assert (entries["Person"].source_rows, entries["Person"].filtered) == (103, 17)
    assert entries["Person:Staff"].in_graph == 61
    assert entries["Ticket.status"].in_graph == 200
    assert entries["(Note)-[ABOUT]->(Ticket)"].source_rows == 30
    assert entries["Contact"].filtered > 40
    graph = EmbeddedGraph.open(migrated.graph_file, None, read_only=True)
    try:
        rows = graph.query("MATCH (n:Person {id: 1}) RETURN n.name AS name, n.bio AS bio")
        assert rows == [{"name": "Person 1", "bio": "bio 1"}]
        assert graph.query("MATCH (n:Party {id: 3}) RETURN count(n) AS c") == [{"c": 2}]
    finally:
        graph.close()


def test_rows_that_inherit_have_the_label_of_their_parent_too(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A capital is a city; a foreign key to a city never leads to the capital of the same id."""
    dsn = make_database(OFFICE)
    mapping = infer(read_catalog(dsn))
    capital = mapping.node("Capital")
    assert capital is not None
    assert capital.labels == ("City",)
    village = mapping.node("Village")
    assert village is not None
    assert village.labels == ()  # its rows have no key of their own
    migrated = migrate(dsn, tmp_path, mapping)
    entries = _entries(migrated)
    assert all(entry.balanced for entry in entries.values())
    assert (entries["City"].in_graph, entries["Capital"].in_graph) == (12, 5)
    assert run_now(compare(dsn, migrated.graph_file, None, migrated.mapping_file)).equal
    graph = EmbeddedGraph.open(migrated.graph_file, None, read_only=True)
    try:
        assert graph.query("MATCH (n:City) RETURN count(n) AS c") == [{"c": 17}]
    finally:
        graph.close()


MISFITS = [
    ("where: deleted_at IS NULL", "where: deletd_at IS NULL", "did you mean deleted_at"),
    ("where: deleted_at IS NULL", "where: name", "true or false"),
    ("expression: trim(name)", "expression: pg_sleep(1)", "pg_sleep"),
    ("references: [user_id]", "references: [country]", "no unique key"),
    ("{column: kind, labels", "{column: knd, labels", "did you mean kind"),
    ("join: status, type", "join: stats, type", "status"),
    ("keep_first: seen DESC", "keep_first: sen DESC", "did you mean seen"),
    ("  keep_first: seen DESC\n", "", "no key of public.contacts"),
    ("name: Supplier\n", "name: Customer\n", "already made"),
    ("{node: Supplier,", "{node: Suplier,", "did you mean Supplier"),
    ("references: [email]", "references: [name]", "no unique key of public.contacts"),
    ("FROM public.tickets", "FROM public.tickts", "public.tickts"),
    ("AS person,", "AS tickets,", "several columns"),
    ("SELECT owner_id AS person", "DELETE FROM public.tickets RETURNING id AS person", "SELECT"),
]


def test_a_rule_that_does_not_fit_is_told_with_its_line(make_database: MakeDatabase) -> None:
    """Conditions, expressions, joins, keys and queries are checked before anything runs."""
    dsn = make_database(OFFICE)
    for old, new, message in MISFITS:
        assert old in RULES
        edited = parse(RULES.replace(old, new, 1), "m.yaml")
        with pytest.raises(MappingError) as caught:
            check(edited, read_catalog(dsn, edited.mapping))
        assert message in str(caught.value), (new, str(caught.value))
        assert (
            "m.yaml line" in str(caught.value)
            or "query load" in str(caught.value)
            or ("SQL at character" in str(caught.value))
        )


def test_two_rules_of_one_label_need_keys_of_the_same_names() -> None:
    """One index finds the nodes of a label."""
    shop = catalog(table("customers", "id", "id"), table("suppliers", "no", "no"))
    first, second = infer(shop).nodes
    both = (replace(first, name="C", label="Party"), replace(second, name="S", label="Party"))
    problems = [problem.what for problem in find_problems(Mapping(both), shop)]
    assert problems == ["S and C both make Party nodes, with different keys"]


@pytest.mark.parametrize("after", [3, 24, 60])
def test_a_run_of_every_kind_of_rule_that_breaks_is_resumed_to_the_same_graph(
    after: int, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are written again where they may be there already: labels, joins and ends as well."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 20)
    dsn = make_database(OFFICE)
    journal = tmp_path / "journal.sqlite3"
    file.save(parse(RULES).mapping, tmp_path / "mapping.yaml")
    request = RunRequest(dsn, str(tmp_path / "graph.grafeo"), parse(RULES).mapping, parallel=1)
    finish, left = Chunks.finish, [after]

    def breaking(self: Chunks, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise GeodeTuiError("the disk of the journal is full")
        finish(self, *arguments)

    monkeypatch.setattr(Chunks, "finish", breaking)
    for runner in (Runner(request, journal=journal), Runner(resume=1, journal=journal)):
        runner.start()
        runner.join()
    assert left[0] < -1
    assert runner.error is None
    assert runner.ledger is not None
    assert runner.ledger.balanced
    graph = tmp_path / "graph.grafeo"
    found = run_now(compare(dsn, graph, None, tmp_path / "mapping.yaml"))
    assert found.equal, found.verdict


ODD_RULES = """
version: 2
nodes:
- label: Order
  table: public.orders
  key: [id]
  properties: [{name: id, column: id, type: INT}]
- label: City
  table: public.orders
  where: city IS NOT NULL
  keep_first: id DESC
  key: [name]
  properties: [{name: name, column: city, expression: lower(trim(city)), type: STRING}]
- label: Land
  table: public.orders
  where: land IS NOT NULL
  keep_first: id
  key: [name]
  properties: [{name: name, column: land, type: STRING}]
- label: Code
  table: public.codes
  key: [code]
  properties: [{name: code, column: code, type: STRING}]
- label: Path
  table: public.paths
  key: [steps]
  properties: [{name: steps, column: steps, type: LIST<INT>}]
relationships:
- type: FROM
  table: public.orders
  from: {node: Order, columns: [id], references: [id]}
  to: {node: City, columns: [city], references: [city]}
- type: HAS
  table: public.orders
  from: {node: Land, columns: [land], references: [land]}
  to: {node: Order, columns: [id], references: [id]}
- type: IN
  table: public.orders
  from: {node: City, columns: [city], references: [city]}
  to: {node: Land, columns: [land], references: [land]}
- type: CODED
  table: public.orders
  key: [_row]
  from: {node: City, columns: [city], references: [city]}
  to: {node: Code, columns: [code], references: [code]}
- type: ALONG
  table: public.orders
  from: {node: Order, columns: [id], references: [id]}
  to: {node: Path, columns: [path], references: [steps]}
"""

ODD = """
CREATE TABLE codes (code text PRIMARY KEY);
INSERT INTO codes VALUES ('1'), ('2');
CREATE TABLE paths (steps int[] PRIMARY KEY);
INSERT INTO paths VALUES ('{1,2}'), ('{}');
CREATE TABLE orders (id int PRIMARY KEY, city text, land text, code int, path int[]);
INSERT INTO orders VALUES (1, ' Paris', 'fr', 1, '{1,2}'), (2, 'paris', 'fr', 2, '{9}'),
  (3, 'PARIS', 'fr', 7, NULL), (4, 'Rome', 'it', 1, '{}'), (5, NULL, 'it', NULL, NULL);
"""


def test_a_column_of_a_table_can_become_nodes_that_every_row_leads_to(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Of equal cities the first is kept, and each order leads to it, not only the kept row's."""
    dsn = make_database(ODD)
    migrated = migrate(dsn, tmp_path, parse(ODD_RULES).mapping)
    entries = _entries(migrated)
    assert {e.id: e.verdict for e in entries.values() if not e.balanced} == {}
    assert run_now(compare(dsn, migrated.graph_file, None, migrated.mapping_file)).equal
    made = {entry.id: entry.in_graph for entry in entries.values() if entry.kind == "relationship"}
    assert made == {
        "(Order)-[FROM]->(City)": 4,
        "(Land)-[HAS]->(Order)": 5,
        "(City)-[IN]->(Land)": 2,
        "(City)-[CODED]->(Code)": 1,
        "(Order)-[ALONG]->(Path)": 2,
    }


BROKEN = [
    "MATCH (n:Person {id: 1}) REMOVE n:Being",
    "MATCH (n:Person {id: 1}) REMOVE n.bio",
    "MATCH (n:Person {id: 2}) SET n:Guest REMOVE n:Staff",
    "MATCH (n:Person {id: 3}) SET n:Staff REMOVE n:Guest",
    "INSERT (:Staff {id: 99})",
    "INSERT (:Party {id: 99})",
    "MATCH (n:Party {id: 15, _of: 'Customer'}) SET n._of = 'Supplier'",
    "MATCH (n:Contact {email: 'c3'}) SET n.name = 'x'",
    "MATCH (n:Subject) WITH n LIMIT 1 SET n.start = 'x'",
    "MATCH (n:Raw) WITH n LIMIT 1 SET n.name = 'x'",
]
TOLD = {
    "Person": "3 of 103 sampled differ",
    "Person:Being": "1 missing",
    "Person:Staff": "1 of no rule",
    "Person.bio": "1 missing",
    "Contact": "1 of 20 sampled differ",
    "Customer": "1 missing, 1 of no rule, 1 of 20 sampled differ, 1 mismatched",
    "Supplier": "1 too many, 1 mismatched",
    "Subject": "1 of 200 sampled differ",
    "Raw": "1 of 70 sampled differ",
    "(Sale)-[PARTNER]->(Customer)": "3 missing, 3 between wrong labels, 3 mismatched",
}

RAW = """- label: Raw
  table: public.contacts
  key: []
  properties: [{name: name, column: name, type: STRING}]
relationships:"""


def test_a_value_that_no_text_is_gives_no_label() -> None:
    """PostgreSQL's texts have no U+0000: told when the mapping is checked, not by the server."""
    shop = catalog(table("pets", "id", "id"))
    by = LabelBy("id", (("a\0", "Some"), ("b", "Other")))
    mapping = Mapping((replace(infer(shop).nodes[0], labels_by=by),))
    assert [problem.what for problem in find_problems(mapping, shop)] == [
        "no text in PostgreSQL is 'a\\x00', which gives the label Some"
    ]


def test_a_graph_that_somebody_changed_is_not_called_right(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`validate` looks at further labels, at whose node it is, at rows without a key too."""
    dsn = make_database(
        OFFICE + "DELETE FROM contacts WHERE email IS NULL; TRUNCATE calls, deliveries"
    )
    written = RULES.replace("relationships:", RAW, 1)
    migrated = migrate(dsn, tmp_path, parse(written).mapping)
    where = ["--target", str(migrated.graph_file), "--mapping", str(migrated.mapping_file)]
    assert main(["validate", "--source", dsn, *where]) == 0
    damaged = EmbeddedGraph.open(migrated.graph_file, None)
    for statement in BROKEN:
        damaged.query(statement)
    damaged.close()
    capsys.readouterr()
    assert main(["validate", "--source", dsn, *where, "--json"]) == 4
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {e["id"]: e["verdict"] for e in entries if not e["balanced"]} == TOLD


def test_a_row_on_which_a_rule_fails_is_told_with_the_rule(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A condition that divides by zero stops the run, and the error names the rule."""
    dsn = make_database("CREATE TABLE p (id int PRIMARY KEY, n int); INSERT INTO p VALUES (1, 0)")
    found = infer(read_catalog(dsn))
    dividing = replace(found, nodes=(replace(found.nodes[0], where="10 / n > 1"),))
    with pytest.raises(RowError, match=r"^P cannot be read: PostgreSQL: division by zero"):
        migrate(dsn, tmp_path, dividing)


def test_a_value_gives_one_label_only() -> None:
    """A value that stands twice, or that is no text, is told with its line."""
    for old, new, message in [
        ("{staff: Staff, guest", "{staff: Staff, staff: Other, guest", "'staff' stands twice"),
        ("{staff: Staff, guest", "{[staff]: Staff, guest", "texts"),
        ("  key: [id]", "  key: [id, id]", "names id twice"),
    ]:
        with pytest.raises(MappingError, match=message) as caught:
            parse(RULES.replace(old, new, 1), "m.yaml")
        assert "m.yaml line" in str(caught.value)


def test_a_label_that_others_inherit_is_renamed_for_them_too() -> None:
    """A town that was a city: its capitals are towns, also those that a merge adds."""
    cities, capitals = table("cities", "id", "id"), table("capitals", "id", "id")
    world = catalog(cities, replace(capitals, inherits=(cities.name,)))
    renamed = rename_label(infer(world), "City", "Town")
    assert {rule.label: rule.labels for rule in renamed.nodes} == {
        "Town": (),
        "Capital": ("Town",),
    }
    alone = replace(renamed, nodes=tuple(r for r in renamed.nodes if r.label == "Town"))
    assert set(merge(infer(world), alone, world).nodes) == {
        replace(rule, because=added.because)
        for rule in renamed.nodes
        for added in infer(world).nodes
        if added.table == rule.table
    }
