"""A database of everything that PostgreSQL allows is moved whole, or told row by row why not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grafeo
import pytest

from geode_tui.catalog import TableName
from geode_tui.cli import main
from geode_tui.demo import EmbeddedPostgres
from geode_tui.mapping.assess import assess
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import NodeRule
from geode_tui.migration import postgres_origin
from tests.conftest import run_now
from tests.independent_comparison import compare
from tests.migrate import Migrated, migrate, read_catalog

_HEAD = re.compile(
    r"-- == (?P<name>.*?)(?: \((?P<want>since|extension|may lack) ?(?P<what>\w*)\))?"
)
_EXPECTED = re.compile(r"-- (dead|orphan): (.*)")


@dataclass(frozen=True)
class Block:
    """A part of the script, and what it wants of a server."""

    name: str
    want: str
    what: str
    sql: str

    @property
    def expected(self) -> list[tuple[str, tuple[str, ...]]]:
        """`dead` or `orphan`, and table, key and property."""
        return [(m[1], tuple(m[2].split(" | "))) for m in _EXPECTED.finditer(self.sql)]


@dataclass
class Nasty:
    """The database, what of the script it holds, and its migration."""

    dsn: str
    blocks: list[Block]
    lacking: list[str]
    state: Path
    done: Migrated

    def expected(self, what: str) -> set[tuple[str, ...]]:
        """The expectations of the blocks that this server has."""
        return {row for block in self.blocks for kind, row in block.expected if kind == what}


def blocks() -> list[Block]:
    """The script in its blocks."""
    text = Path(__file__).with_name("nasty.sql").read_text(encoding="utf-8")
    made = []
    for part in re.split(r"^(?=-- == )", text, flags=re.MULTILINE)[1:]:
        head, sql = part.split("\n", 1)
        found = _HEAD.fullmatch(head)
        assert found is not None, head
        made.append(Block(found["name"], found["want"] or "", found["what"] or "", sql))
    return made


async def build(dsn: str, only: Container[str] | None = None) -> tuple[list[Block], list[str]]:
    """Run the blocks (those in `only`) that the server can run; returns them, and what it lacks."""
    connection = await asyncpg.connect(dsn)
    try:
        major = connection.get_server_version().major
        rows = await connection.fetch("SELECT name FROM pg_available_extensions")
        extensions = {row["name"] for row in rows}
        ran, lacking = [], []
        for block in blocks():
            if only is not None and block.name not in only:
                continue
            if (block.want == "since" and major < int(block.what)) or (
                block.want == "extension" and block.what not in extensions
            ):
                lacking.append(block.name)
                continue
            try:
                async with connection.transaction():
                    await connection.execute(block.sql)
                ran.append(block)
            except (asyncpg.FeatureNotSupportedError, asyncpg.InvalidParameterValueError):
                if block.want != "may lack":
                    raise
                lacking.append(block.name)
        return ran, lacking
    finally:
        await connection.close()


async def on_server(dsn: str, statement: str) -> None:
    """Run a statement by itself."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def take_out(dsn: str, rows: list[tuple[TableName, str]]) -> None:
    """Delete rows by the key that a dead letter shows; the references to them stay."""
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        await connection.execute("SET session_replication_role = replica")
        for table, key in rows:
            if key.startswith("row "):
                pairs = [("ctid", key[4:])]
            else:
                pairs = [(part.split("=")[0], part.split("=")[1]) for part in key.split(", ")]
            where = " AND ".join(f'"{name}"::text = ${n}' for n, (name, _) in enumerate(pairs, 1))
            values = [value for _, value in pairs]
            done = await connection.execute(f'DELETE FROM "{table.name}" WHERE {where}', *values)
            assert done == "DELETE 1", (table, key)
    finally:
        await connection.close()


def rows_not_carried(done: Migrated) -> list[tuple[TableName, str]]:
    """The rows of tables that make nodes or that only join, which are in the dead letters."""
    nodes = {rule.table for rule in done.mapping.nodes}
    rules = {rule.id: rule for rule in done.mapping.rules}
    found = set()
    for letter in done.dead_letters():
        rule = rules[letter.entity]
        if letter.error_class != "orphan" and (
            isinstance(rule, NodeRule) or rule.table not in nodes
        ):
            found.add((rule.table, letter.key))
    return sorted(found)


def move(
    postgres: EmbeddedPostgres,
    database: str,
    folder: Path,
    only: Container[str] | None = None,
    batch_rows: int | None = None,
) -> Nasty:
    """Build the database, migrate it, and look at everything that can be looked at later."""
    run_now(on_server(postgres.dsn(), f'CREATE DATABASE "{database}" TEMPLATE template0'))
    dsn = postgres.dsn(database)
    ran, lacking = run_now(build(dsn, only))
    state = folder / "geode-tui"
    state.mkdir(parents=True)
    done = migrate(dsn, state, batch_rows=batch_rows)
    return Nasty(dsn, ran, lacking, folder, done)


@pytest.fixture(scope="module")
def nasty(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasty]:
    """The whole database, migrated once for all the tests that only look."""
    yield move(postgres, "nasty", tmp_path_factory.mktemp("state"))
    run_now(on_server(postgres.dsn(), 'DROP DATABASE "nasty" WITH (FORCE)'))


def assert_letters_as_expected(nasty: Nasty) -> None:
    tables = {rule.id: rule.table.name for rule in nasty.done.mapping.rules}
    dead, orphans = set(), set()
    for letter in nasty.done.dead_letters():
        table = tables[letter.entity]
        if letter.error_class == "orphan":
            orphans.add((table, letter.key))
            assert "is not in the graph" in letter.reason
        else:
            named = re.match(r"(\w+): no [A-Z<>]+ holds ", letter.reason)
            assert named is not None, letter
            dead.add((table, letter.key, named[1]))
    assert dead == nasty.expected("dead")
    assert orphans == nasty.expected("orphan")


def assert_equal(nasty: Nasty) -> None:
    done = nasty.done
    run_now(take_out(nasty.dsn, rows_not_carried(done)))
    found = run_now(compare(nasty.dsn, done.graph_file, None, done.mapping_file))
    assert found.equal, "\n".join(map(str, found.differences[:20]))


def test_no_hand_is_needed_before_a_nasty_database_is_moved(nasty: Nasty) -> None:
    """The mapping that was proposed needs no edit: no finding asks for an action."""
    done = nasty.done
    findings = assess(done.mapping, read_catalog(nasty.dsn))
    assert [f for f in findings if f.severity == "action"] == []
    moved = {rule.table for rule in done.mapping.active_rules()}
    assert len(moved) > 150
    assert done.mapping == infer(read_catalog(nasty.dsn))


def test_the_ledger_of_a_nasty_database_balances(nasty: Nasty) -> None:
    """Every row of every table is in the graph or in the dead letters."""
    ledger = nasty.done.runner.ledger
    assert ledger is not None
    wrong = [f"{entry.id}: {entry.verdict}" for entry in ledger.entries if not entry.balanced]
    assert wrong == []
    assert len(ledger.entries) > 200


def test_each_row_that_no_graph_holds_is_a_dead_letter_that_names_the_property(
    nasty: Nasty,
) -> None:
    """NaN in a DECIMAL, infinity in a DATE, 24:00, lists that start at 0, rows that dangle."""
    assert_letters_as_expected(nasty)


def test_names_are_distinct_and_plain(nasty: Nasty) -> None:
    """Whatever a table or column is called, its name in the graph is a word of ASCII letters."""
    mapping = nasty.done.mapping
    labels = [rule.label for rule in mapping.nodes]
    ends = [(rule.type, rule.start.node, rule.end.node) for rule in mapping.relationships]
    assert max(Counter(labels).values()) == 1
    assert max(Counter(ends).values()) == 1
    for rule in mapping.rules:
        names = [item.name for item in rule.properties]
        assert len(set(names)) == len(names) == len({item.column for item in rule.properties})
        first = rule.label if isinstance(rule, NodeRule) else rule.type
        assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]{0,127}", n) for n in (first, *names))


def test_every_name_can_be_written_without_quotes(nasty: Nasty) -> None:
    """A person types `MATCH (g:Group) RETURN g.offset`, and the graph understands."""
    graph = grafeo.GrafeoDB()
    mapping = nasty.done.mapping
    statements = {f"MATCH (n:{rule.label}) RETURN n" for rule in mapping.nodes}
    statements |= {f"MATCH ()-[r:{rule.type}]->() RETURN r" for rule in mapping.relationships}
    statements |= {
        f"MATCH (n) RETURN n.{item.name}" for rule in mapping.rules for item in rule.properties
    }
    refused = []
    for statement in sorted(statements):
        try:
            list(graph.execute(statement))
        except grafeo.GrafeoError:
            refused.append(statement)
    assert refused == []


def test_a_reference_that_names_no_whole_table_or_no_single_row_is_told(nasty: Nasty) -> None:
    """A foreign key to one partition, or over a PERIOD, is a finding and no relationship."""
    mapping = nasty.done.mapping
    told = {
        finding.subject
        for finding in assess(mapping, read_catalog(nasty.dsn))
        if finding.code == "reference_not_followed"
    }
    temporal = (
        {"public.temporal_ref"} if "temporal keys and references" not in nasty.lacking else set()
    )
    assert told == {"public.leaf_ref"} | temporal
    without = {rule.table.name for rule in mapping.relationships}
    assert without.isdisjoint({"leaf_ref", "temporal_ref"})


def test_a_parent_holds_its_own_rows_only(nasty: Nasty) -> None:
    """Each row of an inheritance tree is one node, of the label of its own table."""
    ledger = nasty.done.runner.ledger
    assert ledger is not None
    rows = {entry.table: entry.in_graph for entry in ledger.entries if entry.kind == "node"}
    found = [rows[f"public.{name}"] for name in ("parent", "child", "grandchild")]
    assert found == [1, 2, 2]


def test_a_child_keyed_like_its_parent_is_told_from_it(nasty: Nasty) -> None:
    """Vehicle 1, amphibian 1, two cars 1 and sports car 1 are five rows: each is a node."""
    ledger = nasty.done.runner.ledger
    assert ledger is not None
    rows = {entry.table: entry.in_graph for entry in ledger.entries if entry.kind == "node"}
    tables = ("vehicle", "amphibian", "car", "sports_car", "floating")
    assert [rows[f"public.{name}"] for name in tables] == [2, 2, 2, 2, 3]


def test_every_table_that_holds_rows_is_moved(nasty: Nasty) -> None:
    """No key, no rows, no columns, 300 of them, partitions, parents: none is left behind."""

    async def work() -> set[tuple[str, str]]:
        connection = await asyncpg.connect(nasty.dsn)
        try:
            return {(row["schema"], row["name"]) for row in await connection.fetch(_TABLES)}
        finally:
            await connection.close()

    moved = {(rule.table.schema, rule.table.name) for rule in nasty.done.mapping.active_rules()}
    assert run_now(work()) <= moved


_TABLES = """
SELECT n.nspname AS schema, c.relname AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""


def test_types_that_only_look_like_arrays_are_text(nasty: Nasty) -> None:
    """int2vector and oidvector count from 0: no list."""
    rule = next(rule for rule in nasty.done.mapping.nodes if rule.table.name == "internal")
    types = {item.column: item.type for item in rule.properties}
    assert types["numbers"] == types["oids"] == "STRING"


def test_no_built_in_type_is_forgotten(nasty: Nasty) -> None:
    """The script has a column, or an array, of every type that a table may hold."""

    async def work() -> set[str]:
        connection = await asyncpg.connect(nasty.dsn)
        try:
            return {row["name"] for row in await connection.fetch(_FORGOTTEN)}
        finally:
            await connection.close()

    no_input = {"gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary"}
    no_input |= {"pg_ndistinct", "pg_dependencies", "pg_mcv_list", "pg_ddl_command"}
    lacking = {"xml"} if "XML" in nasty.lacking else set()
    assert run_now(work()) <= no_input | lacking


_FORGOTTEN = """
SELECT t.typname AS name FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
  AND NOT (t.typcategory = 'A' AND t.typname LIKE '\\_%')
  AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.atttypid = t.oid AND a.attnum > 0 AND c.relnamespace = 'public'::regnamespace)
"""


def test_a_nasty_database_is_equal_to_its_graph(nasty: Nasty) -> None:
    """Without the rows in the dead letters, source and graph are equal value by value."""
    # Last: it takes rows out of the source.
    assert_equal(nasty)


# The blocks that are about keys and their order, or that hold every name and every type.
_KEYS_NAMES_AND_TYPES = frozenset(
    {
        "names of schema, tables, columns, constraints and types",
        "names equal but for case, and keywords as names of everything",
        "every built-in type",
        "values at their limits",
        "own types: enum, domain over domain, composite, range",
        "keys of every type, referenced, and joined with the instant as a part of the key",
        "keys that a graph cannot hold",
        "references in another collation than their key's",
        "composite, circular and self references, match full, not valid",
        "partitions by range, with references from and to them",
        "many keys of text",
        "temporal keys and references",
        "citext",
        "collations of ICU",
        "a libc collation that is not C",
    }
)


@pytest.fixture(scope="module")
def small(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasty]:
    """A part of the database, migrated in chunks of 7 rows and batches of 3."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres_origin, "CHUNK_ROWS", 7)
        folder = tmp_path_factory.mktemp("small")
        yield move(postgres, "nasty_small", folder, _KEYS_NAMES_AND_TYPES, batch_rows=3)
    run_now(on_server(postgres.dsn(), 'DROP DATABASE "nasty_small" WITH (FORCE)'))


def test_another_snapshot_validates_the_graph(
    small: Nasty, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`geode-tui validate` finds nothing that differs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(small.state))
    done = small.done
    place = ["--target", str(done.graph_file), "--mapping", str(done.mapping_file)]
    assert main(["validate", "--source", small.dsn, *place]) == 0, capsys.readouterr().out


def test_small_chunks_cut_every_key_in_its_own_order(small: Nasty) -> None:
    """Chunks of 7 rows, batches of 3: each type of key is read on from where it was left."""
    assert {block.name for block in small.blocks} | set(small.lacking) >= _KEYS_NAMES_AND_TYPES
    ledger = small.done.runner.ledger
    assert ledger is not None
    assert ledger.balanced
    assert_letters_as_expected(small)
    # Last: it takes rows out of the source.
    assert_equal(small)
