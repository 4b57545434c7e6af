"""The command line as docs/cli.md describes it, against a real PostgreSQL and a real graph."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grafeo
import pytest
import yaml

from geode_tui import __version__
from geode_tui.cli import build_parser, main
from geode_tui.errors import (
    EXIT_CONNECTION,
    EXIT_DIFFERS,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_USAGE,
)
from geode_tui.mapping.assess import CODES
from geode_tui.migration.journal import Journal
from geode_tui.migration.profiles import Profile, save_profile
from tests.command_line import PROGRAM, SECONDS, CommandLine, Finished, execute
from tests.conftest import MakeDatabase
from tests.documentation import COMMAND_LINE, chapters, documented_keys

CUSTOMERS = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int REFERENCES customer, total numeric(9,2));
INSERT INTO customer SELECT n, 'name ' || n, '2000-01-01'::date + n FROM generate_series(1, 20) n;
INSERT INTO purchase SELECT n, 1 + n % 20, n * 1.5 FROM generate_series(1, 50) n;
"""

# Names and values that mean to drive a terminal, a markup or a parser.
HOSTILE_TABLE = "[/foo] \x1b[31m\u009b1m\u202e \U0001f600\n';--"
HOSTILE = f"""
CREATE TABLE "{HOSTILE_TABLE}" ("id\t[b]" int PRIMARY KEY, "select" text, "\u00fc "" x" text);
COMMENT ON TABLE "{HOSTILE_TABLE}" IS '[/bar] \x1b[2J';
INSERT INTO "{HOSTILE_TABLE}" VALUES (1, '\x1b[31m[/x]', null), (2, '\u009b', '');
"""

# Runs command lines one after the other in one process and says which of them loaded textual.
_EACH = """
import json, sys
from geode_tui.cli import main
for arguments in json.loads(sys.argv[1]):
    main(arguments)
    if "textual" in sys.modules:
        sys.exit(f"{arguments[0]} loads textual")
"""

type Shop = dict[str, Finished]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A command line with a journal of its own; the shop's run is its only one."""
    return CommandLine(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def shop(line: CommandLine, shop_dsn: str) -> Shop:
    """Every verb once on the sample shop, in the order in which a person uses them."""
    source = ("--source", shop_dsn)
    mapping = ("--mapping", "mapping.yaml")
    target = ("--target", "shop.grafeo")
    look = (*target, "MATCH (n:User) RETURN n.userId, n.email ORDER BY n.userId LIMIT 2")
    return {
        "inspect": line.run_here("inspect", *source),
        "map": line.run("map", *source, "--output", "mapping.yaml"),
        "assess": line.run_here("assess", *source, *mapping),
        "schema": line.run_here("schema", "diff", *_renamed(line.folder)),
        "migrate": line.run("migrate", *source, *target, *mapping),
        "validate": line.run("validate", *source, *target, *mapping),
        "status": line.run("status", "1"),
        "runs": line.run_here("runs"),
        "runs show": line.run_here("runs", "show", "1"),
        "query": line.run_here("query", *look),
        "info": line.run("info"),
    }


@pytest.fixture(scope="module")
def documents(line: CommandLine, shop: Shop, shop_dsn: str) -> Shop:
    """The same with --json."""
    source = ("--source", shop_dsn, "--json")
    mapping = ("--mapping", "mapping.yaml")
    look = ("--target", "shop.grafeo", "MATCH (n:User) RETURN n.userId AS id ORDER BY id LIMIT 2")
    other = CommandLine(line.folder / "other")
    other.folder.mkdir()
    shutil.copy(line.folder / "mapping.yaml", other.folder)
    return {
        "inspect": line.run_here("inspect", *source, "--profile"),
        "map": line.run_here("map", *source, "--output", "again.yaml"),
        "assess": line.run_here("assess", *source, *mapping),
        "schema": line.run_here("schema", "diff", *_renamed(line.folder), "--json"),
        "migrate": other.run_here("migrate", *source, "--target", "json.grafeo", *mapping),
        "validate": line.run_here("validate", *source, "--target", "shop.grafeo", *mapping),
        "status": line.run_here("status", "1", "--json"),
        "runs": line.run_here("runs", "--json"),
        "runs show": line.run_here("runs", "show", "1", "--json"),
        "query": line.run_here("query", "--json", *look),
        "info": line.run_here("info", "--json"),
    }


def _renamed(folder: Path) -> tuple[str, str]:
    """The shop's mapping, and one with another label in it."""
    text = (folder / "mapping.yaml").read_text()
    (folder / "renamed.yaml").write_text(re.sub(r"\bUser\b", "Person", text))
    return "mapping.yaml", "renamed.yaml"


VERBS = (
    *("inspect", "map", "assess", "schema", "migrate", "validate"),
    *("status", "runs", "runs show", "query", "info"),
)


# -- good paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_of_a_migration_ends_with_0_and_prints_its_data(shop: Shop, verb: str) -> None:
    """Each step of a whole migration works on the sample shop and has something to say."""
    assert (shop[verb].code, shop[verb].error) == (EXIT_OK, [])
    assert shop[verb].out.strip()


def test_the_tables_of_the_source_are_listed(shop: Shop) -> None:
    """`inspect` shows each table with its kind and key; who we are goes to stderr."""
    found = {words[0]: words[1] for words in map(str.split, shop["inspect"].out.splitlines())}
    assert found["shop.users"] == "table"
    assert found["shop.payments"] == "partitioned"
    assert found["shop.order_totals"] == "view"
    assert "database shop, role postgres" in shop["inspect"].err


@pytest.mark.parametrize("verb", ["migrate", "validate"])
def test_the_ledger_is_data_and_the_narration_is_not(shop: Shop, verb: str) -> None:
    """stdout holds the ledger and nothing else; what happened is told on stderr."""
    ledger = shop[verb].out.splitlines()
    assert ledger[-1] == "the ledger balances: 23 entries"
    assert any(re.match(r"User +120 +120 .*✓ balanced", row) for row in ledger)
    assert "run 1 begins" not in shop[verb].out
    assert "done:" not in shop[verb].out


def test_a_run_tells_its_steps_on_stderr(shop: Shop) -> None:
    """What a run does is narrated with the time of day, an entity a line."""
    told = shop["migrate"].err
    assert re.search(r"^\d\d:\d\d:\d\d run 1 begins$", told, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d User done: 120 rows$", told, re.MULTILINE)
    assert "✓" not in told


def test_the_journal_shows_the_run_as_done(shop: Shop) -> None:
    """`status`, `runs` and `runs show` agree on the run, and the last shows its ledger."""
    assert shop["status"].out.startswith("run 1 done: shop@local → ")
    assert re.search(r"^ *1  migrate +done +shop@local", shop["runs"].out, re.MULTILINE)
    assert "the ledger balances: 23 entries" in shop["runs show"].out.splitlines()


def test_a_query_prints_a_table(shop: Shop) -> None:
    """`query` prints the rows of one statement under their names."""
    header, rule, first, second = shop["query"].out.splitlines()
    assert header.split() == ["n.userId", "n.email"]
    assert set(rule) == {"─", " "}
    assert (first.split()[0], second.split()[0]) == ("1", "2")
    assert shop["query"].err == "2 rows\n"


def test_info_names_the_version_and_the_files(shop: Shop, line: CommandLine) -> None:
    """`info` says what is installed and where the journal is."""
    found = dict(row.split(maxsplit=1) for row in shop["info"].out.splitlines())
    assert found["geode-tui"] == __version__
    assert found["journal"] == str(line.state / "journal.sqlite3")


@pytest.mark.parametrize("verb", VERBS)
def test_with_json_stdout_is_one_json_document(documents: Shop, verb: str) -> None:
    """--json gives exactly one document, whatever is narrated beside it."""
    assert documents[verb].code == EXIT_OK
    assert documents[verb].json


def test_json_of_a_query_is_its_rows(documents: Shop) -> None:
    """Each row is an object of the statement's names."""
    assert documents["query"].json == [{"id": 1}, {"id": 2}]


def test_json_of_the_ledger_counts_every_row(documents: Shop) -> None:
    """The ledger as JSON balances entry by entry, with the queries that prove it."""
    for verb in ("migrate", "validate"):
        document = documents[verb].json
        assert document["balanced"]
        assert document["run"] == 1 or (verb == "validate" and document["run"] > 1)
        assert len(document["entries"]) == 23
        for entry in document["entries"]:
            assert entry["source_rows"] == entry["in_graph"] > 0
            assert entry["source_sql"].startswith("SELECT")
            assert entry["target_gql"].startswith("MATCH")


def test_validate_says_json_in_two_ways(
    line: CommandLine, shop: Shop, documents: Shop, shop_dsn: str
) -> None:
    """--format json is --json."""
    target = ("--target", "shop.grafeo", "--mapping", "mapping.yaml", "--format", "json")
    again = line.run("validate", "--source", shop_dsn, *target).json
    for document in (again, expected := documents["validate"].json):
        del document["taken"], document["run"], document["fence"]  # others write to the server
    assert again == expected


def test_the_demo_runs_without_an_interface(tmp_path: Path) -> None:
    """`demo --headless` brings its own PostgreSQL and prints a balanced ledger; no textual."""
    verbs = json.dumps([["demo", "--rows", "500", "--headless"]])
    done = CommandLine(tmp_path).run(verbs, program=(sys.executable, "-c", _EACH))
    assert (done.code, done.error) == (EXIT_OK, [])
    assert done.out.splitlines()[-1] == "the ledger balances: 23 entries"


def test_no_headless_verb_loads_the_interface(line: CommandLine, shop: Shop, shop_dsn: str) -> None:
    """Verbs stay quick and work where textual could not: none of them imports it."""
    source = ["--source", shop_dsn]
    both = [*source, "--mapping", "mapping.yaml", "--target", "shop.grafeo"]
    each = [
        ["info"],
        ["inspect", *source],
        ["map", *source, "--output", "-"],
        ["assess", *both[:4]],
        ["schema", "diff", "mapping.yaml", "mapping.yaml"],
        ["plan", *both],
        ["validate", *both],
        ["migrate", *both[:5], "without.grafeo"],
        ["export", *both[:4], "--output", "without.jsonl"],
        ["import", "--input", "without.jsonl", "--target", "without-2.grafeo"],
        *([verb, "9"] for verb in ("pause", "throttle", "rollback")),
        ["checkpoint", "9", "x"],
        ["accept", "2"],
        ["capture", "sql", *both[:4]],
        ["cutover", "9"],
        ["parallel", *both],
        ["sync", "9"],
        ["repair", "2", "--all", "--preview"],
        ["status"],
        ["runs", "show", "1"],
        ["deadletters", "list", "1"],
        ["query", *both[4:], "RETURN 1 AS one"],
        ["resume", "1"],
    ]
    assert {arguments[0] for arguments in each} == set(_verbs()) - {"demo"}
    done = line.run(json.dumps(each), program=(sys.executable, "-c", _EACH))
    assert (done.code, done.err.splitlines()[-1]) == (
        EXIT_OK,
        "  next: geode-tui validate compares source and graph again",
    )


def test_without_a_verb_and_a_terminal_nothing_is_opened(line: CommandLine) -> None:
    """The interface needs a terminal; without one we say what to do instead."""
    done = line.run()
    assert done.code == EXIT_FAILED
    assert done.error[0] == "geode-tui: the interface needs a terminal"
    assert "--help" in done.error[1]


# -- a graph that differs -----------------------------------------------------------------------


DAMAGES = {
    "a property was changed": (
        "MATCH (n:User) WHERE n.userId = 7 SET n.name = 'somebody else'",
        "User user_id=7:",
        "somebody else",
    ),
    "a node is gone": (
        "MATCH (n:Review) WHERE n.reviewId = 9 DETACH DELETE n",
        "Review review_id=9: only in the source",
        "1 missing",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_graph_is_told_with_its_key_and_exit_4(
    line: CommandLine, shop: Shop, shop_dsn: str, tmp_path: Path, damage: str
) -> None:
    """Who changes the graph behind our back is found out, down to the row."""
    statement, key, words = DAMAGES[damage]
    target = tmp_path / "damaged.grafeo"
    shutil.copy(line.folder / "shop.grafeo", target)
    database = grafeo.GrafeoDB(str(target))
    database.execute(statement)
    database.close()

    arguments = ("--source", shop_dsn, "--mapping", "mapping.yaml", "--target", str(target))
    done = line.run("validate", *arguments)

    assert (done.code, done.error) == (EXIT_DIFFERS, [])
    assert key in done.out
    assert words in done.out
    assert "✗" in done.out
    assert done.out.splitlines()[-1].endswith("of 23 differ")


def test_a_reader_that_leaves_does_not_change_the_verdict(
    line: CommandLine, shop: Shop, shop_dsn: str, tmp_path: Path
) -> None:
    """`validate | head -1` still ends with 4 where the graph differs."""
    target = tmp_path / "empty.grafeo"
    grafeo.GrafeoDB(str(target)).close()
    arguments = ("--source", shop_dsn, "--mapping", "mapping.yaml", "--target", str(target))
    done = _with_nobody_reading(line, "validate", *arguments)
    assert (done.code, done.error) == (EXIT_DIFFERS, [])
    assert "Traceback" not in done.err


# -- map ----------------------------------------------------------------------------------------


def test_map_refuses_to_overwrite(line: CommandLine, shop: Shop, shop_dsn: str) -> None:
    """A mapping file may hold a person's edits: it is never replaced unasked."""
    before = (line.folder / "mapping.yaml").read_bytes()
    done = line.run("map", "--source", shop_dsn, "--output", "mapping.yaml")
    assert done.code == EXIT_USAGE
    assert done.error[0] == "geode-tui: mapping.yaml exists already"
    assert "--merge" in done.error[-1]
    assert (line.folder / "mapping.yaml").read_bytes() == before


def test_merge_keeps_edits_and_adds_what_is_new(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A renamed label and a dropped property stay; a new table and a new column come in."""
    dsn = make_database(CUSTOMERS)
    file = tmp_path / "mapping.yaml"
    assert main(["map", "--source", dsn, "--output", str(file)]) == EXIT_OK
    text = re.sub(r"(label|node): Customer\b", r"\1: Person", file.read_text())
    file.write_text(text.replace("type: DATE}", "type: DATE, include: false}"))
    make_more = "ALTER TABLE customer ADD email text; CREATE TABLE shelf (id int PRIMARY KEY);"
    execute(dsn, make_more)

    assert main(["map", "--source", dsn, "--output", str(file), "--merge"]) == EXIT_OK

    merged = yaml.safe_load(file.read_text())
    nodes = {rule["table"]: rule for rule in merged["nodes"]}
    assert {table: rule["label"] for table, rule in nodes.items()} == {
        "public.customer": "Person",
        "public.purchase": "Purchase",
        "public.shelf": "Shelf",
    }
    properties = nodes["public.customer"]["properties"]
    assert {p["column"]: p.get("include", True) for p in properties} == {
        "id": True,
        "name": True,
        "born": False,
        "email": True,
    }
    assert [rule["to"]["node"] for rule in merged["relationships"]] == ["Person"]
    assert main(["assess", "--source", dsn, "--mapping", str(file)]) == EXIT_OK


def test_a_mapping_goes_to_stdout_on_request(
    make_database: MakeDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--output -` prints the file and nothing else; with --json that would be two documents."""
    dsn = make_database(CUSTOMERS)
    assert main(["map", "--source", dsn, "--output", "-"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert [rule["label"] for rule in yaml.safe_load(out)["nodes"]] == ["Customer", "Purchase"]
    assert err == ""
    assert main(["map", "--source", dsn, "--output", "-", "--json"]) == EXIT_USAGE


# -- assess -------------------------------------------------------------------------------------


def test_a_waiver_is_kept_in_the_mapping_and_taken_back(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An accepted finding is listed last with its reason; a wrong name is told the right one."""
    dsn = make_database("CREATE TABLE audit (at int)")
    file = tmp_path / "m.yaml"
    assert main(["map", "--source", dsn, "--output", str(file)]) == EXIT_OK
    arguments = ["assess", "--source", dsn, "--mapping", str(file)]
    assert main([*arguments, "--waive", "no_key public.audit"]) == EXIT_USAGE
    assert main([*arguments, "--waive", "no_kye public.audit", "--reason", "x"]) == EXIT_USAGE
    assert "did you mean no_key public.audit?" in capsys.readouterr().err
    assert main([*arguments, "--waive", "no_key public.audit", "--reason", "a log"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "waived  no_key public.audit\n" in out
    assert "    waived because: a log\n" in out
    assert "0 action · 0 risk · 1 information · 1 waived" in err
    waivers = [{"code": "no_key", "subject": "public.audit", "reason": "a log"}]
    assert yaml.safe_load(file.read_text())["waivers"] == waivers
    assert main([*arguments, "--unwaive", "no_key public.audit"]) == EXIT_OK
    assert "waivers" not in yaml.safe_load(file.read_text())


def test_counted_rows_are_evidence(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`assess --count` says how many rows would become dead letters, and shows them by SQL."""
    dsn = make_database(CUSTOMERS + "UPDATE customer SET born = 'infinity' WHERE id < 3;")
    file = str(tmp_path / "m.yaml")
    assert main(["map", "--source", dsn, "--output", file]) == EXIT_OK
    assert main(["assess", "--source", dsn, "--mapping", file, "--count"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "risk  date_out_of_range public.customer.born\n" in out
    assert "    seen: born date: 2 infinity of 20 rows counted\n" in out
    assert "        SELECT t.* FROM ONLY public.customer t WHERE NOT (" in out
    assert "counting public.customer (1 of 2)\n" in err


def test_a_ddl_file_is_a_source_without_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A schema can be mapped and assessed before anybody has the database."""
    schema, file = tmp_path / "schema.sql", str(tmp_path / "m.yaml")
    schema.write_text(CUSTOMERS.split("INSERT")[0])
    source = ["--source", str(schema)]
    assert main(["inspect", *source, "--json"]) == EXIT_OK
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [table["name"] for table in tables] == ["customer", "purchase"]
    assert main(["map", *source, "--output", file]) == EXIT_OK
    assert main(["assess", *source, "--mapping", file]) == EXIT_OK
    assert "never_analyzed" not in capsys.readouterr().out
    target = ["--target", str(tmp_path / "t.grafeo"), "--mapping", file]
    for refused in (
        ["assess", *source, "--mapping", file, "--count"],
        ["inspect", *source, "--profile"],
        ["migrate", *source, *target],
        ["validate", *source, *target],
    ):
        assert main(refused) == EXIT_USAGE
        assert "is a file: it has no rows to" in capsys.readouterr().err
    with Path(file).open("a") as mapping:
        mapping.write("queries:\n- {name: some, sql: SELECT 1 AS one}\n")
    assert main(["assess", *source, "--mapping", file]) == EXIT_USAGE
    assert "query some cannot be read from a file" in capsys.readouterr().err


def test_statistics_are_printed_without_values(
    make_database: MakeDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """`inspect --profile` counts; the values themselves are data and stay where they are."""
    dsn = make_database(
        "CREATE TABLE person (id int PRIMARY KEY, name text);"
        "INSERT INTO person SELECT n, 'Ann Example' FROM generate_series(1, 10) n; ANALYZE;"
    )
    for arguments in ([], ["--json"]):
        assert main(["inspect", "--source", dsn, "--profile", *arguments]) == EXIT_OK
        out = capsys.readouterr().out
        assert "Ann Example" not in out
        if not arguments:
            assert re.search(r"^public.person.name +text +0.0% +±1 +12$", out, re.MULTILINE)
    [_, name] = json.loads(out)["tables"][0]["columns"]
    assert name["statistics"] == {"null_share": 0.0, "distinct": 1, "width": 12}


# -- profiles, graphs, folders ------------------------------------------------------------------


def test_a_profile_stands_for_source_and_target(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--source and --target take a saved profile's name, its graph and its schemas with it."""
    dsn = make_database(CUSTOMERS + "CREATE SCHEMA other CREATE TABLE apart (id int PRIMARY KEY);")
    target, file = str(tmp_path / "profile.grafeo"), str(tmp_path / "mapping.yaml")
    save_profile(Profile("prod 1", dsn, target, graph="sales", schemas=("public",)))

    assert main(["map", "--source", "prod 1", "--output", file]) == EXIT_OK
    both = ["--source", "prod 1", "--target", "prod 1"]
    assert main(["migrate", *both, "--mapping", file]) == EXIT_OK
    capsys.readouterr()
    count = "MATCH (n:Customer) RETURN count(n) AS c"
    assert main(["query", "--target", "prod 1", count, "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == [{"c": 20}]
    assert main(["query", "--target", target, count, "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == [{"c": 0}]
    assert "other.apart" not in Path(file).read_text()


def test_a_run_is_found_again_from_another_folder(
    make_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A target given as `graph.grafeo` means the same file wherever the journal is read."""
    dsn = make_database(CUSTOMERS)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert main(["map", "--source", dsn, "--output", "m.yaml"]) == EXIT_OK
    arguments = ["--source", dsn, "--mapping", "m.yaml", "--target", "graph.grafeo"]
    assert main(["migrate", *arguments]) == EXIT_OK
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["status", "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["target"] == str(folder / "graph.grafeo")


def test_validate_reads_dead_letters_of_the_run_that_wrote(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A later run that was refused before it wrote does not make the graph look incomplete."""
    dsn = make_database(CUSTOMERS + "UPDATE customer SET born = 'infinity' WHERE id = 3;")
    file, target = str(tmp_path / "m.yaml"), str(tmp_path / "graph.grafeo")
    arguments = ["--source", dsn, "--mapping", file, "--target", target]
    assert main(["map", "--source", dsn, "--output", file]) == EXIT_OK
    assert main(["migrate", *arguments]) == EXIT_OK
    assert main(["migrate", *arguments]) == EXIT_USAGE  # it already holds Customer nodes
    capsys.readouterr()

    assert main(["validate", *arguments]) == EXIT_OK

    out, err = capsys.readouterr()
    assert re.search(r"^Customer +20 +19 +1 ", out, re.MULTILINE)
    assert "dead letters and orphans are those of run 1\n" in err


# -- status while a run goes --------------------------------------------------------------------


def test_status_follows_a_run_with_one_json_a_line(line: CommandLine, shop: Shop) -> None:
    """`status --follow --json` prints a document a line until the run is over."""
    journal = Journal(line.state / "journal.sqlite3")
    journal.set_state(1, "running")
    held = journal.hold(journal.run(1))
    with held, line.start("status", "1", "--follow", "--json") as follower:
        try:
            first = json.loads(follower.out.readline())
        finally:
            journal.set_state(1, "done")
        rest = follower.finish()
    journal.close()
    states = [json.loads(text)["state"] for text in rest.out.splitlines()]
    assert (first["run"], first["state"], states[-1:]) == (1, "running", ["done"])
    assert set(states[:-1]) <= {"running"}
    assert (rest.code, rest.err) == (EXIT_OK, "")


# -- output -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["inspect", "inspect --json", "map --output -", "runs show"])
def test_a_reader_that_leaves_is_no_error(
    line: CommandLine, shop: Shop, shop_dsn: str, verb: str
) -> None:
    """Where nobody reads stdout any more, a verb ends quietly."""
    source = () if verb == "runs show" else ("--source", shop_dsn)
    done = _with_nobody_reading(line, *verb.split(), *source)
    assert (done.code, done.error) == (EXIT_OK, [])
    assert "Traceback" not in done.err
    assert "BrokenPipe" not in done.err


def test_output_piped_into_head_is_its_first_line(
    line: CommandLine, shop: Shop, shop_dsn: str
) -> None:
    """`inspect --json | head -1` prints one line and no traceback."""
    pipeline = ("sh", "-c", '"$@" | head -n 1', "sh", *PROGRAM)
    done = line.run("inspect", "--source", shop_dsn, "--json", program=pipeline)
    assert done == Finished(EXIT_OK, "{\n", "")


def test_a_run_goes_on_when_nobody_reads_its_narration(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """`migrate 2>&1 | head -1` migrates to the end."""
    dsn = make_database(CUSTOMERS)
    there = CommandLine(tmp_path)
    assert there.run("map", "--source", dsn, "--output", "m.yaml").code == EXIT_OK
    arguments = ("--source", dsn, "--mapping", "m.yaml", "--target", "t.grafeo")
    done = _with_nobody_reading(there, "migrate", *arguments, narration=subprocess.STDOUT)
    assert done.code == EXIT_OK
    assert there.run("status", "--json").json["state"] == "done"


def test_a_terminal_that_knows_only_ascii_gets_escapes(
    line: CommandLine, shop: Shop, shop_dsn: str
) -> None:
    """A glyph that cannot be printed is escaped; the verb does not fail for it."""
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    arguments = ("--source", shop_dsn, "--mapping", "mapping.yaml", "--target", "shop.grafeo")
    done = line.run("validate", *arguments, environment=ascii_only)
    assert (done.code, done.error) == (EXIT_OK, [])
    assert "\\u2713 balanced" in done.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_stdout_is_told(line: CommandLine) -> None:
    """`info > file` on a full disk fails in words."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PROGRAM, "info"],
            env=line.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
        )
    assert done.returncode == EXIT_FAILED
    assert done.stderr.decode().splitlines() == [
        "geode-tui: cannot read or write the output",
        "  why:  No space left on device",
    ]


def test_hostile_names_are_printed_safely(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names that hold escape sequences, markup, quotes or a newline cannot drive a terminal."""
    dsn = make_database(HOSTILE)
    file, target = str(tmp_path / "m.yaml"), str(tmp_path / "t.grafeo")
    source, both = ["--source", dsn], ["--mapping", file, "--target", target]
    capsys.readouterr()
    verbs: list[list[str]] = [
        ["inspect", *source],
        ["map", *source, "--output", file],
        ["assess", *source, "--mapping", file],
        ["migrate", *source, *both],
        ["validate", *source, *both],
        ["status"],
        ["runs", "show"],
        ["query", "--target", target, "MATCH (n) RETURN n"],
    ]
    verbs += [[*verb, "--json"] for verb in verbs if verb[0] not in ("map", "migrate")]
    for verb in verbs:
        assert main(verb) == EXIT_OK, verb
        out, err = capsys.readouterr()
        assert not _unsafe(out + err), verb
        if verb[0] in ("inspect", "map"):
            assert "[/foo]" in out
            assert "😀" in out
        if verb[-1] == "--json":
            json.loads(out)


def test_hostile_names_stay_on_their_line(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name with a newline in it cannot pretend to be a line of ours."""
    dsn = make_database('CREATE TABLE "a\nrun 9 done" (id int PRIMARY KEY)')
    assert main(["inspect", "--source", dsn]) == EXIT_OK
    assert main(["map", "--source", dsn, "--output", str(tmp_path / "m.yaml")]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert not any(line.startswith("run 9") for line in lines)


# -- the documentation --------------------------------------------------------------------------


def test_each_verb_and_option_is_documented_and_exists() -> None:
    """docs/cli.md has a chapter for each verb with each of its options, and no others."""
    documented = {
        verb: set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE))
        for verb, text in chapters("### ").items()
    }
    assert documented == _verbs()


def test_each_positional_is_documented() -> None:
    """What a verb takes without an option stands in its usage line."""
    usages = {
        verb: re.findall(rf"^`geode-tui {verb}(.*)`$", text, re.MULTILINE)[0]
        for verb, text in chapters("### ").items()
    }
    takes = {verb: usage for verb, usage in usages.items() if re.search(r"RUN|GQL|OLD", usage)}
    assert set(takes) == {
        "accept",
        "capture",
        "checkpoint",
        "cutover",
        "deadletters",
        "pause",
        "query",
        "repair",
        "resume",
        "rollback",
        "runs",
        "schema",
        "status",
        "sync",
        "throttle",
    }


def _keys_of(document: Any, *path: str | int) -> set[str]:
    for step in path:
        document = document[step]
    return set(document)


DOCUMENTS: dict[str, Callable[[Shop], set[str]]] = {
    "catalog": lambda d: _keys_of(d["inspect"].json),
    "server": lambda d: _keys_of(d["inspect"].json, "server"),
    "table": lambda d: _keys_of(d["inspect"].json, "tables", 0),
    "column": lambda d: _keys_of(d["inspect"].json, "tables", 0, "columns", 0),
    "statistics": lambda d: _keys_of(d["inspect"].json, "tables", 0, "columns", 0, "statistics"),
    "check": lambda d: _keys_of(_table(d, "reviews"), "checks", 0),
    "index": lambda d: _keys_of(_table(d, "users"), "indexes", 0),
    "key": lambda d: _keys_of(_table(d, "users"), "primary_key"),
    "foreign key": lambda d: _keys_of(_table(d, "users"), "foreign_keys", 0),
    "mapping": lambda d: _keys_of(d["map"].json),
    "label": lambda d: _keys_of(d["map"].json, "labels", 0),
    "relationship": lambda d: _keys_of(d["map"].json, "relationships", 0),
    "end": lambda d: _keys_of(d["map"].json, "relationships", 0, "from"),
    "property": lambda d: _keys_of(d["map"].json, "labels", 0, "properties", 0),
    "mapping difference": lambda d: _keys_of(d["schema"].json),
    "change": lambda d: _keys_of(d["schema"].json, "changes", 0),
    "step": lambda d: _keys_of(d["schema"].json, "steps", 0),
    "finding": lambda d: _keys_of(d["assess"].json, 0),
    "ledger": lambda d: _keys_of(d["validate"].json),
    "entry": lambda d: _keys_of(d["validate"].json, "entries", 0),
    "status": lambda d: _keys_of(d["status"].json),
    "phase": lambda d: _keys_of(d["status"].json, "phases", 0),
    "entity": lambda d: _keys_of(d["status"].json, "entities", 0),
    "run": lambda d: _keys_of(d["runs"].json, 0),
    "whole run": lambda d: _keys_of(d["runs show"].json) - _keys_of(d["status"].json),
    "event": lambda d: _keys_of(d["runs show"].json, "events", 0),
    "info": lambda d: _keys_of(d["info"].json),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_keys_of_a_json_document_are_the_documented_ones(documents: Shop, name: str) -> None:
    """Scripts may rely on the keys of docs/cli.md: all are there and no others."""
    assert DOCUMENTS[name](documents) == documented_keys(name)


def test_each_finding_is_documented_by_its_code() -> None:
    """docs/cli.md says what each code means, and names no others."""
    text = COMMAND_LINE.read_text(encoding="utf-8")
    chapter = text.split("\n## Findings\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", chapter, re.MULTILINE)) == CODES


def test_the_keys_of_triggers_and_suggestions_are_the_documented_ones(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it is for what the shop has not."""
    dsn = make_database("""
        CREATE TABLE customer (id int PRIMARY KEY);
        CREATE TABLE purchase (id int PRIMARY KEY, customer_id int);
        INSERT INTO customer SELECT generate_series(1, 9);
        INSERT INTO purchase SELECT n, n FROM generate_series(1, 9) n;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER t AFTER INSERT ON customer EXECUTE FUNCTION f();
    """)
    assert main(["inspect", "--source", dsn, "--json"]) == EXIT_OK
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert set(tables[0]["triggers"][0]) == documented_keys("trigger")

    file = str(tmp_path / "m.yaml")
    arguments = ["map", "--source", dsn, "--output", file]
    assert main([*arguments, "--suggest", "--json"]) == EXIT_OK
    [suggestion] = json.loads(capsys.readouterr().out)
    assert set(suggestion) == documented_keys("suggestion")
    assert not Path(file).exists()
    assert main([*arguments, "--apply", "reference nothing"]) == EXIT_USAGE
    assert main([*arguments, "--apply", suggestion["id"]]) == EXIT_OK
    [made] = yaml.safe_load(Path(file).read_text())["relationships"]
    assert made["to"]["node"] == "Customer"


def test_the_keys_of_differences_and_dead_letters_are_the_documented_ones(
    make_database: MakeDatabase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it is for the documents that only an imperfect migration has."""
    dsn = make_database(CUSTOMERS + "UPDATE customer SET born = 'infinity' WHERE id = 3;")
    file, target = str(tmp_path / "m.yaml"), str(tmp_path / "t.grafeo")
    arguments = ["--source", dsn, "--mapping", file, "--target", target]
    assert main(["map", "--source", dsn, "--output", file]) == EXIT_OK
    assert main(["migrate", *arguments]) == EXIT_OK
    execute(dsn, "UPDATE customer SET name = 'new' WHERE id = 4")
    capsys.readouterr()
    assert main(["validate", *arguments, "--json"]) == EXIT_DIFFERS
    difference = json.loads(capsys.readouterr().out)["differences"][0]
    assert main(["runs", "show", "1", "--json"]) == EXIT_OK
    letter = json.loads(capsys.readouterr().out)["dead_letters"][0]
    assert set(difference) == documented_keys("difference")
    assert difference["values"][0] == ["name", "'new'", "'name 4'"]
    assert set(letter) == documented_keys("dead letter")


def test_the_exit_codes_are_the_documented_ones() -> None:
    """Each exit code of the program is in the table of docs/cli.md."""
    text = COMMAND_LINE.read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == ["0", "1", "2", "3", "4", "5", "130"]


def test_help_and_version_work_without_settings(line: CommandLine) -> None:
    """--help lists the verbs; --version is one line."""
    for verb in _verbs():
        assert re.search(rf"^ +{verb}\s", build_parser().format_help(), re.MULTILINE)
    assert line.run("--version").out == f"geode-tui {__version__}\n"


def test_a_missing_graph_is_no_connection(tmp_path: Path) -> None:
    """`query` never makes a file."""
    target = tmp_path / "none.grafeo"
    assert main(["query", "--target", str(target), "RETURN 1"]) == EXIT_CONNECTION
    assert not target.exists()


def _verbs() -> dict[str, set[str]]:
    """Each verb of the parser with its long options."""
    (choices,) = (a.choices for a in build_parser()._actions if isinstance(a.choices, dict))
    return {
        verb: {o for a in parser._actions for o in a.option_strings if o.startswith("--")}
        - {"--help", "--debug"}
        for verb, parser in choices.items()
    }


def _table(documents: Shop, name: str) -> Any:
    return next(table for table in documents["inspect"].json["tables"] if table["name"] == name)


def _unsafe(text: str) -> list[str]:
    """Characters that a terminal might obey."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")]


def _with_nobody_reading(
    line: CommandLine, *arguments: str, narration: int = subprocess.PIPE
) -> Finished:
    """Run with a stdout whose reader is gone already."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as nowhere:
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=line.folder,
            env=line.environment(),
            stdout=nowhere,
            stderr=narration,
            timeout=SECONDS,
        )
    return Finished(done.returncode, "", (done.stderr or b"").decode())
