"""Suggestions: what no constraint says is found with evidence, and every edit gives a sound map."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from geode_tui.catalog import Catalog, Inclusion, Profile, TableName
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import MappingError
from geode_tui.mapping.check import find_problems
from geode_tui.mapping.extract import compile_extract
from geode_tui.mapping.file import dump, parse
from geode_tui.mapping.forecast import fan_in, forecast
from geode_tui.mapping.implied import Reference, candidates, test_candidates
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.reshape import fold, join_table_to_node, node_to_join, reverse, unfold
from geode_tui.mapping.suggest import KINDS, Suggestion, alike, apply_all, ignore, suggest
from geode_tui.source.postgres import Source
from tests.conftest import MakeDatabase, run_now
from tests.migrate import migrate

STUDIO = """
CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL);
INSERT INTO countries VALUES ('fr', 'France'), ('de', 'Germany'), ('it', 'Italy');
CREATE TABLE priorities (code text PRIMARY KEY, name text NOT NULL);
INSERT INTO priorities VALUES ('low', 'Whenever'), ('high', 'Today');
CREATE TABLE users (id int PRIMARY KEY, name text, kind text NOT NULL, manager_id int);
INSERT INTO users SELECT n, 'user ' || n, (ARRAY['guest', 'staff', 'bot'])[n % 3 + 1],
  NULLIF(n / 5, 0) FROM generate_series(1, 200) n;
CREATE TABLE user_profiles (user_id int PRIMARY KEY REFERENCES users, name text, bio text,
  country char(2) REFERENCES countries);
INSERT INTO user_profiles SELECT n, 'alias', 'bio', (ARRAY['fr', 'de', 'it', NULL])[n % 4 + 1]
  FROM generate_series(1, 200) n;
CREATE TABLE posts (id int PRIMARY KEY, author_id int REFERENCES users, title text,
  deleted_at timestamptz);
INSERT INTO posts SELECT n, n % 200 + 1, 'post', CASE WHEN n % 10 = 0 THEN now() END
  FROM generate_series(1, 300) n;
CREATE TABLE videos (id int PRIMARY KEY, post_id int, is_deleted boolean NOT NULL DEFAULT false);
INSERT INTO videos SELECT n, n * 2, n % 4 = 0 FROM generate_series(1, 80) n;
CREATE TABLE comments (id int PRIMARY KEY, commentable_type text, commentable_id int, body text);
INSERT INTO comments SELECT n, CASE WHEN n % 3 = 0 THEN 'App\\Models\\Post' ELSE 'video' END,
  n % 80 + 1, 'so' FROM generate_series(1, 120) n;
CREATE TABLE tasks (id int PRIMARY KEY, priority_code text NOT NULL REFERENCES priorities,
  owner_id int, title text);
INSERT INTO tasks SELECT n, (ARRAY['low', 'high'])[n % 2 + 1], n % 200 + 1, 'task'
  FROM generate_series(1, 90) n;
CREATE TABLE task_watchers (task_id int, user_id int, since date, PRIMARY KEY (task_id, user_id));
INSERT INTO task_watchers SELECT n % 90 + 1, n, '2024-01-01' FROM generate_series(1, 150) n;
CREATE TABLE bookings (user_id int REFERENCES users, video_id int REFERENCES videos, price int,
  starts date, ends date, seats int, PRIMARY KEY (user_id, video_id));
INSERT INTO bookings SELECT n, n % 80 + 1, n, '2024-01-01', '2024-01-02', 1
  FROM generate_series(1, 90) n;
CREATE TABLE visits (seen date, email text, page text);
INSERT INTO visits SELECT date '2024-01-01' + n, 'v' || n % 98, 'home'
  FROM generate_series(1, 100) n;
CREATE TABLE orders_2023 (id int PRIMARY KEY, user_id int, total int, placed date);
CREATE TABLE orders_2024 (LIKE orders_2023 INCLUDING ALL);
INSERT INTO orders_2023 SELECT n, n, n, '2023-01-01' FROM generate_series(1, 60) n;
INSERT INTO orders_2024 SELECT n, n * 3, n, '2024-01-01' FROM generate_series(1, 60) n;
CREATE VIEW staff AS SELECT id, name FROM users WHERE kind = 'staff';
CREATE MATERIALIZED VIEW per_kind AS SELECT kind, count(*) AS n FROM users GROUP BY kind;
ANALYZE;
"""

# Names of several styles. Columns that are dense small numbers tempt to be taken for keys: their
# values are among those of every key from 1 on.
STYLES = {
    "underscores": """
CREATE TABLE addresses (id int PRIMARY KEY, street text, floor int);
CREATE TABLE employees (id int PRIMARY KEY, name text, manager_id int REFERENCES employees,
  level int, grade_no int);
CREATE TABLE departments (id int PRIMARY KEY, manager_id int REFERENCES employees, rank int);
CREATE TABLE item_statuses (id smallint PRIMARY KEY, name text);
CREATE TABLE items (id int PRIMARY KEY, status_id smallint REFERENCES item_statuses,
  created_by int REFERENCES employees, stock int, sort_order int);
CREATE TABLE orders (id int PRIMARY KEY, billing_address_id int REFERENCES addresses,
  shipping_address_id int REFERENCES addresses, placed_by int REFERENCES employees,
  external_item_id int, priority int, number int);
CREATE TABLE order_lines (order_id int REFERENCES orders, line_no int,
  item_id int REFERENCES items, line_item_id int, quantity int, PRIMARY KEY (order_id, line_no));
CREATE TABLE shipments (id int PRIMARY KEY, order_id int, line_no int, box_no int,
  FOREIGN KEY (order_id, line_no) REFERENCES order_lines);
INSERT INTO addresses SELECT n, 'street', n % 9 + 1 FROM generate_series(1, 90) n;
INSERT INTO employees SELECT n, 'name', NULLIF(n / 4, 0), n % 5 + 1, n % 8 + 1
  FROM generate_series(1, 60) n;
INSERT INTO departments SELECT n, n * 6, n FROM generate_series(1, 9) n;
INSERT INTO item_statuses SELECT n, 'status' FROM generate_series(1, 6) n;
INSERT INTO items SELECT n, n % 6 + 1, n % 60 + 1, n % 7 + 1, n FROM generate_series(1, 40) n;
INSERT INTO orders SELECT n, n % 90 + 1, n % 77 + 1, n % 60 + 1, n % 9 + 1, n % 3 + 1, n
  FROM generate_series(1, 120) n;
INSERT INTO order_lines SELECT n % 120 + 1, n / 120 + 1, n % 40 + 1, n % 6 + 1, n % 12 + 1
  FROM generate_series(0, 299) n;
INSERT INTO shipments SELECT n, n % 120 + 1, n / 120 + 1, n % 8 + 1
  FROM generate_series(0, 199) n;
""",
    "camels and codes": """
CREATE TABLE "Currency" ("CurrencyCode" char(3) PRIMARY KEY, "Digits" int);
CREATE TABLE "Artist" ("ArtistId" int PRIMARY KEY, "Name" text, "Rating" int);
CREATE TABLE "Album" ("AlbumId" int PRIMARY KEY, "ArtistId" int REFERENCES "Artist", "Year" int);
CREATE TABLE "AlbumDetail" ("AlbumId" int PRIMARY KEY REFERENCES "Album", "Discs" int);
CREATE TABLE "Price" ("PriceId" int PRIMARY KEY, "AlbumId" int REFERENCES "Album",
  "FromCurrencyCode" char(3) REFERENCES "Currency", "Amount" int);
INSERT INTO "Currency" SELECT 'C' || n, n % 3 FROM generate_series(10, 30) n;
INSERT INTO "Artist" SELECT n, 'name', n % 5 + 1 FROM generate_series(1, 50) n;
INSERT INTO "Album" SELECT n, n % 50 + 1, n % 30 + 1 FROM generate_series(1, 80) n;
INSERT INTO "AlbumDetail" SELECT n, n % 3 + 1 FROM generate_series(1, 70) n;
INSERT INTO "Price" SELECT n, n % 80 + 1, 'C' || n % 21 + 10, n % 20 + 1
  FROM generate_series(1, 150) n;
""",
    "prefixes and short forms": """
CREATE TABLE dept (deptno int PRIMARY KEY, dname text);
CREATE TABLE emp (empno int PRIMARY KEY, mgr int REFERENCES emp, deptno int REFERENCES dept,
  sal int, comm int);
CREATE TABLE tbl_category (category_cd text PRIMARY KEY, nm text);
CREATE TABLE prod_mst (prod_cd text PRIMARY KEY, cat_cd text REFERENCES tbl_category, qty int);
CREATE TABLE lineitem (l_key int PRIMARY KEY, l_prod_cd text REFERENCES prod_mst,
  l_empno int REFERENCES emp, l_quantity int);
INSERT INTO dept SELECT n, 'name' FROM generate_series(1, 12) n;
INSERT INTO emp SELECT n, NULLIF(n / 5, 0), n % 12 + 1, n % 9 + 1, n % 4 + 1
  FROM generate_series(1, 70) n;
INSERT INTO tbl_category SELECT 'c' || n, 'name' FROM generate_series(1, 9) n;
INSERT INTO prod_mst SELECT 'p' || n, 'c' || n % 9 + 1, n FROM generate_series(1, 40) n;
INSERT INTO lineitem SELECT n, 'p' || n % 40 + 1, n % 70 + 1, n % 12 + 1
  FROM generate_series(1, 200) n;
""",
}


class Read:
    """What is known of a database: its catalog, the statistics, the references looked up."""

    def __init__(self, dsn: str, declared: bool = True) -> None:
        """Read a database; not `declared`: as if it had no foreign keys."""
        self.real, self.catalog, self.profile, self.tested = run_now(_read(dsn, declared))
        self.dsn = dsn
        self.mapping = infer(self.catalog)

    def suggestions(self, mapping: Mapping | None = None) -> dict[str, Suggestion]:
        """The suggestions by their ids, for the mapping inferred unless one is given."""
        some = suggest(mapping or self.mapping, self.catalog, self.profile, self.tested)
        return {suggestion.id: suggestion for suggestion in some}

    def misfits(self, mapping: Mapping) -> list[str]:
        """What does not fit the catalog; every rule that is not the inferred one compiles."""
        for rule in mapping.active_rules():
            if rule not in self.mapping.rules:
                compile_extract(rule, mapping, self.catalog)
        assert parse(dump(mapping)).mapping == mapping
        return [problem.what for problem in find_problems(mapping, self.catalog)]


Known = tuple[frozenset[Reference], Catalog, Profile, dict[Reference, Inclusion]]


async def _read(dsn: str, declared: bool) -> Known:
    source = await Source.connect(dsn)
    try:
        catalog = await source.catalog()
        real = frozenset(
            Reference(table.name, key.columns, key.to_table, key.to_columns)
            for table in catalog.tables
            for key in table.foreign_keys
        )
        if not declared:
            tables = (replace(table, foreign_keys=()) for table in catalog.tables)
            catalog = replace(catalog, tables=tuple(tables))
        profile = await source.profile(catalog)
        tested = await test_candidates(source, candidates(catalog, profile), 60)
        return real, catalog, profile, tested
    finally:
        await source.close()


def _made(before: Mapping, after: Mapping) -> list[Reference]:
    """The references that new relationships follow."""
    found = []
    for rule in after.relationships:
        target = after.node(rule.end.node)
        if rule not in before.relationships and target is not None:
            end = rule.end
            found.append(Reference(rule.table, end.columns, target.table, end.references))
    return found


def _sorted(reference: Reference) -> Reference:
    pairs = sorted(zip(reference.columns, reference.to_columns, strict=True))
    own, theirs = zip(*pairs, strict=True)
    return replace(reference, columns=own, to_columns=theirs)


def _assert_found(known: Read) -> None:
    """At least 9 of 10 real references are suggested, and no wrong one as sure."""
    real = {_sorted(reference) for reference in known.real}
    found: set[Reference] = set()
    wrong = []
    for suggestion in known.suggestions().values():
        if suggestion.kind == "reference":
            (made,) = _made(known.mapping, suggestion.apply(known.mapping))
            found.add(_sorted(made))
            if suggestion.certainty == "sure" and _sorted(made) not in real:
                wrong.append(suggestion.title)
    assert wrong == []
    assert len(found & real) >= 0.9 * len(real), real - found


@pytest.fixture(scope="module")
def studio(postgres: EmbeddedPostgres) -> Read:
    """A database in which there is something to suggest of every kind; only read it."""
    run_now(_build(postgres.dsn(), postgres.dsn("studio")))
    return Read(postgres.dsn("studio"))


async def _build(server: str, database: str) -> None:
    for dsn, script in ((server, "CREATE DATABASE studio TEMPLATE template0"), (database, STUDIO)):
        connection = await asyncpg.connect(dsn)
        await connection.execute(script)
        await connection.close()


@pytest.mark.parametrize("style", STYLES)
def test_references_are_found_in_every_style_of_names(
    make_database: MakeDatabase, style: str
) -> None:
    """Without foreign keys, and with numbers that fit everywhere, nothing wrong is sure."""
    _assert_found(Read(make_database(STYLES[style] + "ANALYZE;"), declared=False))


def test_references_of_the_sample_shop_are_found(shop_dsn: str) -> None:
    """The shop without its foreign keys."""
    _assert_found(Read(shop_dsn, declared=False))


def test_names_alone_are_likely_at_most(make_database: MakeDatabase) -> None:
    """Of empty tables or a file of DDL nothing is known but names: nothing is sure."""
    known = Read(make_database(re.sub("INSERT[^;]*;", "", STYLES["underscores"])), declared=False)
    every = known.suggestions()
    assert {s.certainty for s in every.values()} <= {"likely", "guess"}
    assert every["reference public.order_lines (item_id)"].certainty == "likely"


def test_values_that_point_at_nothing_are_told(make_database: MakeDatabase) -> None:
    """A reference with orphans is likely at most, and says how many there are."""
    known = Read(
        make_database("""
        CREATE TABLE shops (id int PRIMARY KEY);
        CREATE TABLE sales (id int PRIMARY KEY, shop_id int, shop_2_id int);
        INSERT INTO shops SELECT generate_series(1, 90);
        INSERT INTO sales SELECT n, n, n * 7 FROM generate_series(1, 100) n;
        ANALYZE;""")
    )
    every = known.suggestions()
    found = every["reference public.sales (shop_id)"]
    assert found.certainty == "likely"
    assert "10 of 100 values are not in shops (id)" in found.because
    assert "reference public.sales (shop_2_id)" not in every


def test_two_targets_as_good_are_a_guess(make_database: MakeDatabase) -> None:
    """Where two tables fit alike, one is guessed and the other offered."""
    known = Read(
        make_database("""
        CREATE SCHEMA east; CREATE SCHEMA west;
        CREATE TABLE east.clients (id int PRIMARY KEY);
        CREATE TABLE west.clients (id int PRIMARY KEY);
        CREATE TABLE bills (id int PRIMARY KEY, client_id int);
        INSERT INTO east.clients SELECT generate_series(1, 50);
        INSERT INTO west.clients SELECT generate_series(1, 50);
        INSERT INTO bills SELECT n, n % 50 + 1 FROM generate_series(1, 80) n;
        ANALYZE;""")
    )
    found = known.suggestions()["reference public.bills (client_id)"]
    assert found.certainty == "guess"
    assert [title for title, _ in found.alternatives] == ["lead to west.clients"]
    ((_, other),) = found.alternatives
    assert _made(known.mapping, other(known.mapping))[0].to_table.schema == "west"


def test_every_suggestion_gives_a_mapping_that_fits(studio: Read) -> None:
    """Each edit, and each alternative, by itself; and all of them one after the other."""
    every = studio.suggestions()
    for suggestion in every.values():
        for title, edit in ((suggestion.title, suggestion.apply), *suggestion.alternatives):
            changed = edit(studio.mapping)
            assert changed != studio.mapping, title
            assert studio.misfits(changed) == [], title
    once = apply_all(studio.mapping, every.values())
    later = studio.suggestions(once)
    assert {s.kind for s in (*every.values(), *later.values())} == set(KINDS)
    assert not {s.id for s in later.values()} & set(every)
    twice = apply_all(once, later.values())
    assert studio.misfits(twice) == []
    assert studio.suggestions(twice) == {}


def test_a_mapping_with_all_suggestions_migrates_and_balances(studio: Read, tmp_path: Path) -> None:
    """Folded, looked up, filtered, shared: every row is accounted for."""
    mapping = apply_all(studio.mapping, studio.suggestions().values())
    mapping = apply_all(mapping, studio.suggestions(mapping).values())
    ledger = migrate(studio.dsn, tmp_path, mapping).runner.ledger
    assert ledger is not None
    assert [entry.id for entry in ledger.entries if not entry.balanced] == []
    counts = {entry.id: entry.source_rows for entry in ledger.entries}
    assert counts["Post"] == 270
    assert counts["(Comment)-[HAS_COMMENTABLE]->(Post)"] < 40
    assert counts["(User)-[IN_COUNTRY]->(Country)"] == 150


def test_evidence_is_told_in_numbers(studio: Read) -> None:
    """What a person reads before applying."""
    every = studio.suggestions()
    fold = every["fold public.user_profiles"]
    assert "primary key (user_id) points at users, 1:1, ±200 of ±200 rows" in fold.because
    assert fold.effect.startswith("-1 label, +3 properties")
    told = every["polymorphic public.comments (commentable_type, commentable_id)"]
    assert "App\\Models\\Post (33% of the rows) names table posts" in told.because
    gone = every["soft delete public.posts"]
    assert (gone.certainty, gone.effect) == ("likely", "about -30 of ±300 nodes")
    assert every["reference public.videos (post_id)"].effect == "about +80 relationships"
    assert all(s.because and s.effect and s.title for s in every.values())


def test_a_suggestion_ignored_does_not_come_again(studio: Read) -> None:
    """It is kept in the mapping's file; others of its kind stay."""
    every = studio.suggestions()
    first = every["soft delete public.posts"]
    assert {s.id for s in alike(first, every.values())} == {
        "soft delete public.posts",
        "soft delete public.videos",
    }
    mapping = parse(dump(ignore(studio.mapping, first))).mapping
    assert set(every) - set(studio.suggestions(mapping)) == {first.id}


def test_folded_and_joined_tables_come_back(studio: Read) -> None:
    """Unfolding and making a join table nodes undo what was suggested, but for names."""
    every = studio.suggestions()
    folded = every["fold public.user_profiles"].apply(studio.mapping)
    user = folded.node("User")
    assert user is not None
    assert [p.name for p in user.properties if p.join] == ["userProfileName", "bio", "country"]
    back = unfold(folded, studio.catalog, user, user.joins[0].name)
    assert studio.misfits(back) == []
    assert {r.id for r in back.relationships} == {r.id for r in studio.mapping.relationships}
    join = next(r for r in studio.mapping.relationships if r.table.name == "bookings")
    nodes = join_table_to_node(studio.mapping, studio.catalog, join)
    again = node_to_join(nodes, studio.catalog, join.table)
    assert {(r.id, r.key) for r in again.relationships} == {
        (r.id, r.key) for r in studio.mapping.relationships
    }


def test_what_cannot_be_folded_says_why(studio: Read) -> None:
    """Edits refuse what would lose rows."""
    users, posts = TableName("public", "users"), TableName("public", "posts")
    with pytest.raises(MappingError, match="cannot be folded into User"):
        fold(studio.mapping, studio.catalog, posts, users)
    with pytest.raises(MappingError, match="cannot be a relationship"):
        node_to_join(studio.mapping, studio.catalog, posts)


def test_a_relationship_is_reversed(studio: Read) -> None:
    """Both ends change places, under a name of one's choice."""
    rule = next(r for r in studio.mapping.relationships if r.table.name == "posts")
    turned = reverse(studio.mapping, rule, "WROTE")
    assert turned.rule("(User)-[WROTE]->(Post)") is not None
    assert studio.misfits(turned) == []


def test_supernodes_are_foretold(make_database: MakeDatabase) -> None:
    """A node with most of a big rule's relationships is named before anything is loaded."""
    known = Read(
        make_database("""
        CREATE TABLE regions (id int PRIMARY KEY);
        CREATE TABLE parcels (id int PRIMARY KEY, region_id int REFERENCES regions);
        INSERT INTO regions SELECT generate_series(1, 400);
        INSERT INTO parcels SELECT n, CASE WHEN n % 2 = 0 THEN 7 ELSE n % 400 + 1 END
          FROM generate_series(1, 4000) n;
        ANALYZE;""")
    )
    (rule,) = known.mapping.relationships
    widest = fan_in(rule, known.mapping, known.catalog, known.profile)
    assert widest is not None
    assert (widest.of, widest.to, widest.value) == ("Region", "Parcel", "7")
    assert str(widest) == f"widest: 1 → {widest.most:,}"
    assert 1_900 <= widest.most <= 2_100
    assert forecast(known.mapping, known.catalog, known.profile) == ()
    parcels = known.catalog.tables[0]
    grown = replace(known.catalog, tables=(replace(parcels, estimated_rows=4_000_000),))
    grown = known.catalog.with_tables(grown.tables)
    (found,) = forecast(known.mapping, grown, known.profile)
    assert (found.rule_id, found.end_label, found.value) == (rule.id, "Region", "7")
    assert 0.45 < found.share < 0.55
