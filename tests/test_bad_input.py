"""Everything that can go wrong is told in at most four lines, with the exit code of docs/cli.md."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import (
    EXIT_CONNECTION,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_RESUMABLE,
    EXIT_USAGE,
)
from geode_tui.mapping.infer import infer
from geode_tui.migration.journal import Journal
from geode_tui.migration.profiles import Profile, save_profile
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.target import open_target
from tests.command_line import CommandLine, Finished, execute
from tests.conftest import MakeDatabase
from tests.migrate import read_catalog

PASSWORD = "gehe1m"
BALANCED = "the ledger balances: 3 entries"

CUSTOMERS = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int REFERENCES customer);
INSERT INTO customer SELECT n, 'name ' || n, '2000-01-01'::date + n FROM generate_series(1, 20) n;
INSERT INTO purchase SELECT n, 1 + n % 20 FROM generate_series(1, 50) n;
"""

# Enough rows that a signal finds the run in the middle, and that a small disk is too small.
MANY = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customer);
INSERT INTO customer SELECT n, repeat('name ' || n, 9) FROM generate_series(1, 20000) n;
INSERT INTO purchase SELECT n, 1 + n % 20000 FROM generate_series(1, 40000) n;
ANALYZE;
"""


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """A command line in an empty folder."""
    folder = tmp_path / "line"
    folder.mkdir()
    return CommandLine(folder)


@pytest.fixture
def customers(make_database: MakeDatabase, line: CommandLine) -> str:
    """A small database, with its mapping in `m.yaml`."""
    dsn = make_database(CUSTOMERS)
    _map(line, dsn)
    return dsn


@pytest.fixture(scope="module")
def many_rows(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of 60,000 rows, shared by the tests of this file: only read it."""
    execute(postgres.dsn(), "CREATE DATABASE many_rows TEMPLATE template0")
    execute(postgres.dsn("many_rows"), MANY)
    yield postgres.dsn("many_rows")
    execute(postgres.dsn(), "DROP DATABASE many_rows WITH (FORCE)")


@pytest.fixture
def many(many_rows: str, line: CommandLine) -> str:
    """The database of many rows, with its mapping in `m.yaml`."""
    _map(line, many_rows)
    return many_rows


@pytest.fixture
def stopped(customers: str, line: CommandLine) -> str:
    """The small database, with a run 1 into `t.grafeo` that was stopped and can be resumed."""
    line.state.mkdir(parents=True)
    target = str(line.folder / "t.grafeo")
    request = RunRequest(customers, target, infer(read_catalog(customers)))
    runner = Runner(request, journal=_journal_file(line))
    runner.stop()
    runner.start()
    runner.join()
    assert runner.run_number == 1
    return customers


@pytest.fixture(scope="module")
def strict(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A DSN with a password, on a server that wants it."""
    folder = tmp_path_factory.mktemp("strict") / "data"
    with EmbeddedPostgres(folder, binaries=postgres.binaries) as server:
        role = f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{PASSWORD}'"
        execute(server.dsn(), role, "CREATE DATABASE shop")
        execute(server.dsn("shop"), CUSTOMERS)
        rules = "local all postgres trust\nlocal all all scram-sha-256\n"
        (folder / "pg_hba.conf").write_text(rules)
        execute(server.dsn(), "SELECT pg_reload_conf()")
        yield server.dsn("shop").replace("postgres@", f"app:{PASSWORD}@")


@pytest.fixture
def reader(make_database: MakeDatabase) -> Iterator[str]:
    """A small database as a role that may read `customer` and not `purchase`."""
    dsn = make_database(CUSTOMERS)
    execute(dsn, "CREATE ROLE reader LOGIN", "GRANT SELECT ON customer TO reader")
    yield dsn.replace("postgres@", "reader@")
    execute(dsn, "DROP OWNED BY reader", "DROP ROLE reader")


def refused(done: Finished, code: int, *words: str) -> None:
    """The verb ended with `code` and one error of at most four lines that holds `words`."""
    assert done.code == code, done
    assert 1 <= len(done.error) <= 4, done.err
    assert done.out == ""
    for unwanted in ("Traceback", "defect in geode-tui"):
        assert unwanted not in done.err
    for word in words:
        assert word in "\n".join(done.error)


# -- the source ---------------------------------------------------------------------------------


def test_a_host_that_does_not_answer(line: CommandLine) -> None:
    """A closed port is told with host and port."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}"
        done = line.run("inspect", "--source", f"postgresql://app:{PASSWORD}@{place}/shop")
    refused(done, EXIT_CONNECTION, f"cannot connect to shop@{place}", "check host and port")
    assert PASSWORD not in done.err


def test_a_wrong_password(line: CommandLine, strict: str) -> None:
    """A refused password is told with where to set the right one, never with itself."""
    done = line.run("inspect", "--source", strict.replace(PASSWORD, "wr0ng"))
    refused(done, EXIT_CONNECTION, 'password authentication failed for user "app"', "PGPASSWORD")
    assert "wr0ng" not in done.err


def test_no_password(line: CommandLine, strict: str) -> None:
    """A server that wants a password and gets none says so."""
    done = line.run_here("inspect", "--source", strict.replace(f":{PASSWORD}", ""))
    refused(done, EXIT_CONNECTION, "cannot connect to shop@local", "password")


def test_no_such_database(line: CommandLine, postgres: EmbeddedPostgres) -> None:
    """A database that is not there is named, its escape sequences made harmless."""
    done = line.run_here("inspect", "--source", postgres.dsn("no such \x1b[31m"))
    refused(done, EXIT_CONNECTION, 'database "no such \\x1b[31m" does not exist')


def test_no_such_role(line: CommandLine, postgres: EmbeddedPostgres) -> None:
    """A role that is not there is named."""
    done = line.run_here("inspect", "--source", postgres.dsn().replace("postgres@", "nobody@"))
    refused(done, EXIT_CONNECTION, 'role "nobody" does not exist')


@pytest.mark.parametrize(
    "dsn",
    [
        "mysql://ann@db1/shop",
        "host=db1 dbname",
        "some/file",
        "postgresql://[::1/shop",
    ],
)
def test_a_text_that_is_no_dsn(line: CommandLine, dsn: str) -> None:
    """What is no DSN is wrong use."""
    refused(line.run_here("inspect", "--source", dsn), EXIT_USAGE, "DSN")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:gehe1m@127.0.0.1:1/shop",
        "postgresql://app:@gehe1m@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?password=gehe1m",
        "host=127.0.0.1 port=1 user=app password=gehe1m",
        "host=127.0.0.1 port=1 user=app password='ge he1m'",
        "mysql://app:gehe1m@127.0.0.1/shop",
        "postgresql://app:gehe1m/x@127.0.0.1:1/shop",
        "postgresql://app:x/gehe1m@127.0.0.1:1/shop",
        "postgresql://app:gehe1m#x@127.0.0.1:1/shop",
        "postgresql://app:gehe1m?x@127.0.0.1:1/shop",
        "mysql://app:x/gehe1m@127.0.0.1/shop",
        "mysql://app:x@gehe1m@127.0.0.1/shop",
        "host=127.0.0.1 port=1 password=x gehe1m",
    ],
)
def test_no_message_holds_a_password(line: CommandLine, dsn: str) -> None:
    """Whatever is wrong with a DSN, a reserved character left as it is too: no password is told."""
    done = line.run_here("inspect", "--source", dsn)
    assert done.code in (EXIT_USAGE, EXIT_CONNECTION)
    assert "gehe1m" not in done.err
    assert "he1m" not in done.err


@pytest.mark.parametrize("verb", ["inspect", "map --output new.yaml"])
def test_an_empty_database(line: CommandLine, make_database: MakeDatabase, verb: str) -> None:
    """Where there is no table there is nothing to move, and no file is written."""
    done = line.run_here(*verb.split(), "--source", make_database())
    refused(done, EXIT_USAGE, "no table in any schema of test_", "--schema")
    assert not (line.folder / "new.yaml").exists()


@pytest.mark.parametrize("schema", ["empty", "no such"])
def test_a_schema_without_tables(
    line: CommandLine, make_database: MakeDatabase, schema: str
) -> None:
    """An empty schema, and one that is not there, is named."""
    dsn = make_database(CUSTOMERS + "CREATE SCHEMA empty;")
    done = line.run_here("inspect", "--source", dsn, "--schema", schema)
    refused(done, EXIT_USAGE, f"no table in schema {schema} of")


def test_a_table_without_a_key_is_moved_with_a_finding(
    line: CommandLine, make_database: MakeDatabase
) -> None:
    """A missing key is a risk that is told, no reason to refuse."""
    dsn = make_database("CREATE TABLE log (said text); INSERT INTO log VALUES ('a'), ('a'), (null)")
    _map(line, dsn)
    assessed = line.run_here("assess", "--source", dsn, "--mapping", "m.yaml", "--json")
    assert assessed.code == EXIT_OK
    found = [(f["severity"], f["code"], f["subject"]) for f in assessed.json]
    assert [f for f in found if f[0] != "information"] == [("risk", "no_key", "public.log")]
    done = _migrate(line, dsn, "--json")
    assert (done.code, done.json["entries"][0]["in_graph"]) == (EXIT_OK, 3)
    assert "public.log: no primary or unique key" in done.err


def test_a_table_that_the_role_may_not_read(line: CommandLine, reader: str) -> None:
    """The run is refused before it writes and names the GRANT; without the table it runs."""
    _map(line, reader)
    grant = "GRANT SELECT ON public.purchase TO reader"
    assessed = line.run_here("assess", "--source", reader, "--mapping", "m.yaml")
    assert (assessed.code, grant in assessed.out) == (EXIT_FAILED, True)
    refused(_migrate(line, reader), EXIT_FAILED, "role reader may not read this table", grant)
    assert not (line.folder / "t.grafeo").exists()

    _exclude(line, "public.purchase")
    done = _migrate(line, reader, target="other.grafeo")
    assert (done.code, done.out.splitlines()[-1]) == (EXIT_OK, "the ledger balances: 1 entries")


def test_a_refused_run_does_not_block_its_target(line: CommandLine, reader: str) -> None:
    """Who mends the mapping as told can migrate into the same target: nothing is in it yet."""
    _map(line, reader)
    assert _migrate(line, reader).code == EXIT_FAILED
    _exclude(line, "public.purchase")
    assert _migrate(line, reader).code == EXIT_OK


def test_a_refused_run_does_not_block_a_graph_of_a_file(line: CommandLine, reader: str) -> None:
    """So it is where the file is there already, for another graph in it."""
    open_target(str(line.folder / "t.grafeo")).close()
    _map(line, reader)
    assert _migrate(line, reader, "--graph", "second").code == EXIT_FAILED
    _exclude(line, "public.purchase")
    assert _migrate(line, reader, "--graph", "second").code == EXIT_OK


# -- the mapping --------------------------------------------------------------------------------


BAD_MAPPINGS = {
    "no YAML": (": public.customer\n", ": [\n", ("m.yaml line", "not YAML")),
    "no such table": (
        "public.customer\n",
        "public.custmer\n",
        ("m.yaml line 7: no table public.custmer", "did you mean public.customer?"),
    ),
    "no such column": (
        "column: born",
        "column: bron",
        ("m.yaml line 13: no column bron in public.customer", "did you mean born?"),
    ),
    "no such type": ("type: DATE", "type: DAET", ("m.yaml line 13: no type DAET", "DATE?")),
    "another type": ("type: DATE", "type: BOOL", ("line 13: born is date", "possible: DATE")),
    "no such field": ("key: [id]", "kye: [id]", ("line 8: no field 'kye'", "key?")),
    "a bad label": ("label: Customer\n", "label: A b\n", ("line 6: 'A b' cannot be a label",)),
    "another version": ("version: 2", "version: 9", ("m.yaml line 3: version 9",)),
    "a key that is no key": ("key: [id]", "key: [name]", ("line 8: (name) is no key of",)),
    "a control character": ("label: Customer\n", "label: \x01\n", ("m.yaml", "not YAML")),
}


@pytest.mark.parametrize("verb", ["migrate", "validate"])
@pytest.mark.parametrize("case", BAD_MAPPINGS)
def test_a_mapping_that_does_not_fit(
    line: CommandLine, make_database: MakeDatabase, case: str, verb: str
) -> None:
    """A wrong word in the mapping is told with its line and the nearest right word."""
    dsn = make_database(CUSTOMERS)
    _map(line, dsn)
    old, new, words = BAD_MAPPINGS[case]
    file = line.folder / "m.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    both = ("--mapping", "m.yaml", "--target", "t.grafeo")
    refused(line.run_here(verb, "--source", dsn, *both), EXIT_USAGE, *words)
    assert not (line.folder / "t.grafeo").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello", "expected name: value pairs"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"!!python/object/apply:os.system [ls]", "expected name: value pairs"),
        (None, "cannot read the mapping"),
    ],
)
def test_a_file_that_is_no_mapping(
    line: CommandLine, customers: str, content: bytes | None, words: str
) -> None:
    """Any other file is refused with a word on what it is."""
    if content is not None:
        (line.folder / "other.yaml").write_bytes(content)
    done = line.run_here("assess", "--source", customers, "--mapping", "other.yaml")
    refused(done, EXIT_USAGE, words)


@pytest.mark.parametrize("output", ["none/m.yaml", "."])
def test_a_mapping_that_cannot_be_written(line: CommandLine, customers: str, output: str) -> None:
    """A folder that is not there, and a folder in place of a file."""
    done = line.run_here("map", "--source", customers, "--output", output)
    refused(done, EXIT_USAGE, "cannot write", "--output")


# -- the target ---------------------------------------------------------------------------------


def test_a_target_that_another_process_holds(line: CommandLine, customers: str) -> None:
    """A graph is open for one process at a time."""
    held = open_target(str(line.folder / "t.grafeo"))
    try:
        refused(_run_migrate(line, customers), EXIT_CONNECTION, "t.grafeo is in use")
        looked = line.run("query", "--target", "t.grafeo", "RETURN 1")
        refused(looked, EXIT_CONNECTION, "t.grafeo is in use")
    finally:
        held.close()
    again = line.run_here("resume", "1")
    assert (again.code, again.out.splitlines()[-1]) == (EXIT_OK, BALANCED)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("foreign.grafeo", EXIT_USAGE, "is no Grafeo graph"),
        ("folder.grafeo", EXIT_USAGE, "is no Grafeo graph"),
        ("none/t.grafeo", EXIT_CONNECTION, "no folder"),
        ("t.db", EXIT_USAGE, "use a path that ends in .grafeo"),
        ("quic://db1:port/shop", EXIT_USAGE, "wrong port"),
        ("grpc://127.0.0.1:1/shop?tls=0", EXIT_CONNECTION, "127.0.0.1:1"),
    ],
)
def test_a_target_that_cannot_be_used(
    line: CommandLine, customers: str, target: str, code: int, words: str
) -> None:
    """A foreign file, a folder, a missing folder, another kind of target: nothing is changed."""
    foreign = line.folder / "foreign.grafeo"
    foreign.write_bytes(b"somebody else's file" * 1000)
    (line.folder / "folder.grafeo").mkdir()
    refused(_migrate(line, customers, target=target), code, words)
    assert foreign.read_bytes() == b"somebody else's file" * 1000
    assert list((line.folder / "folder.grafeo").iterdir()) == []


def test_a_target_that_already_holds_nodes_of_a_label(line: CommandLine, customers: str) -> None:
    """Nobody could tell old from new nodes: the run is refused, another graph is fine."""
    assert _migrate(line, customers).code == EXIT_OK
    refused(_migrate(line, customers), EXIT_USAGE, "already holds 20 Customer nodes", "--graph")
    assert _migrate(line, customers, "--graph", "second").code == EXIT_OK


def test_a_query_only_reads(line: CommandLine, customers: str) -> None:
    """A statement that writes is refused as wrong use; no disk is blamed."""
    assert _migrate(line, customers).code == EXIT_OK
    done = line.run_here("query", "--target", "t.grafeo", "MATCH (n:Customer) SET n.name = 'x'")
    refused(done, EXIT_USAGE, "read")
    assert "disk" not in done.err


def test_a_query_that_is_no_gql(line: CommandLine, customers: str) -> None:
    """A syntax error is told with its place."""
    assert _migrate(line, customers).code == EXIT_OK
    done = line.run_here("query", "--target", "t.grafeo", "MATCH (n:Customer RETURN n")
    refused(done, EXIT_FAILED, "syntax error", "1:19")


# -- the journal and the settings ---------------------------------------------------------------


@pytest.mark.parametrize("verb", ["runs", "migrate"])
def test_a_journal_folder_that_cannot_be_made(line: CommandLine, customers: str, verb: str) -> None:
    """A state folder below a file is told with the variable that sets it."""
    (line.folder / "state").write_text("a file")
    done = line.run_here("runs") if verb == "runs" else _migrate(line, customers)
    refused(done, EXIT_USAGE, "cannot make the folder", "XDG_STATE_HOME")


def test_a_journal_that_is_no_journal(line: CommandLine) -> None:
    """Another file in the journal's place is left alone."""
    line.state.mkdir(parents=True)
    _journal_file(line).write_bytes(b"something else" * 999)
    refused(line.run_here("runs"), EXIT_USAGE, "cannot open the journal", "not a database")
    assert _journal_file(line).read_bytes() == b"something else" * 999


def test_a_journal_of_a_newer_version(line: CommandLine) -> None:
    """A journal that we do not understand is not touched."""
    assert line.run_here("runs").code == EXIT_OK
    with closing(sqlite3.connect(_journal_file(line))) as journal:
        journal.execute("PRAGMA user_version = 99")
    refused(line.run_here("runs"), EXIT_USAGE, "is of a newer geode-tui", "upgrade")


@pytest.mark.parametrize(
    "content",
    [
        "[[profile",
        '[[profile]]\nname = "p"\nsorce = "x"\ntarget = "y"',
        '[[profile]]\nname = "p"',
        "profile = 3",
        '[[profile]]\nname = "p"\nsource = 3\ntarget = "y"',
    ],
)
def test_a_damaged_profiles_file(line: CommandLine, content: str) -> None:
    """A profiles file that cannot be read is named."""
    folder = line.folder / "config" / "geode-tui"
    folder.mkdir(parents=True)
    (folder / "profiles.toml").write_text(content)
    refused(line.run_here("inspect", "--source", "p"), EXIT_USAGE, "profiles.toml")


# -- wrong use ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        "frobnicate",
        "map",
        "migrate --mapping m.yaml",
        "status 0",
        "status one",
        "runs 1",
        "query --target t.grafeo",
        "demo --rows none",
        "inspect --frobnicate",
    ],
)
def test_wrong_use_is_told_by_the_parser(
    line: CommandLine, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    """A verb or an option that is not there ends with 2 and the usage; no inner name is told."""
    with pytest.raises(SystemExit) as ended:
        line.run_here(*arguments.split())
    assert ended.value.code == EXIT_USAGE


def test_a_demo_that_is_too_small(line: CommandLine) -> None:
    """The shop needs 100 rows."""
    done = line.run_here("demo", "--rows", "9", "--headless")
    refused(done, EXIT_USAGE, "a sample shop of 9 rows is too small", "100")


def test_the_traceback_is_shown_on_request_only(line: CommandLine) -> None:
    """--debug adds the traceback, before or after the verb."""
    wrong = ("inspect", "--source", "some/file")
    for arguments in (("--debug", *wrong), (*wrong, "--debug")):
        assert "Traceback" in line.run_here(*arguments).err
    refused(line.run_here(*wrong), EXIT_USAGE)


# -- runs that stop, and going on with them -----------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_can_be_resumed(
    line: CommandLine, many: str, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM stop a run in the middle with 130; `resume` ends it, balanced."""
    arguments = ("--source", many, "--mapping", "m.yaml", "--target", "t.grafeo")
    with line.start("migrate", *arguments, "--batch-size", "100") as run:
        run.wait_for("snapshot")
        run.send(number)
        done = run.finish()
    assert (done.code, done.out) == (EXIT_INTERRUPTED, "")
    assert done.err.splitlines()[-2:] == [
        "run 1 stopped safely",
        "next: go on with: geode-tui resume 1",
    ]
    assert "geode-tui resume 1" in line.run_here("status").out

    again = line.run_here("resume")
    assert (again.code, again.out.splitlines()[-1]) == (EXIT_OK, BALANCED)


def test_a_run_that_is_killed_can_be_resumed(line: CommandLine, many: str) -> None:
    """Nothing is lost and nothing is there twice after SIGKILL."""
    arguments = ("--source", many, "--mapping", "m.yaml", "--target", "t.grafeo")
    with line.start("migrate", *arguments) as run:
        run.wait_for("Customer done")
        run.send(signal.SIGKILL)
        assert run.finish().code == -signal.SIGKILL
    again = line.run_here("resume", "1")
    assert (again.code, again.out.splitlines()[-1]) == (EXIT_OK, BALANCED)


def test_a_target_with_a_run_to_resume_takes_no_other(line: CommandLine, many: str) -> None:
    """A new run into a half-filled graph is refused and names the one to go on with."""
    _interrupt_in_the_middle(line, many)
    refused(_migrate(line, many), EXIT_USAGE, "run 1 on", "geode-tui resume 1")


def test_a_run_refused_meanwhile_does_not_hide_the_unfinished_one(
    line: CommandLine, many: str
) -> None:
    """A second run that found the target in use wrote nothing: the first is the one to name."""
    _interrupt_in_the_middle(line, many)
    _refuse_a_second_run(line, many)
    refused(_migrate(line, many), EXIT_USAGE, "geode-tui resume 1")


def test_resume_goes_on_with_the_run_that_wrote(line: CommandLine, many: str) -> None:
    """Without a number, a later run that was refused before it wrote does not count."""
    _interrupt_in_the_middle(line, many)
    _refuse_a_second_run(line, many)
    done = line.run_here("resume", "--json")
    assert (done.code, done.json["run"], done.json["balanced"]) == (EXIT_OK, 1, True)


@pytest.mark.parametrize("told", ["running", "stopped"])
def test_two_processes_cannot_drive_one_run(line: CommandLine, stopped: str, told: str) -> None:
    """The second is refused, also when it comes before the first could say that it runs."""
    journal = Journal(_journal_file(line))
    with journal.hold(journal.run(1)):
        if told == "running":
            journal.set_state(1, "running")
        refused(line.run("resume", "1"), EXIT_USAGE, "run 1 is", "geode-tui status --follow")
    journal.close()
    assert line.run_here("resume", "1").code == EXIT_OK


def test_a_finished_run_is_not_resumed(line: CommandLine, customers: str) -> None:
    """There is nothing to do, with a number and without."""
    assert _migrate(line, customers).code == EXIT_OK
    refused(line.run_here("resume", "1"), EXIT_USAGE, "run 1 is done", "geode-tui validate")
    refused(line.run_here("resume"), EXIT_FAILED, "no run stopped before its end")


@pytest.mark.parametrize("verb", ["resume 7", "status 7", "runs show 7"])
def test_an_unknown_run(line: CommandLine, verb: str) -> None:
    """A number that is no run is told with where to see them."""
    refused(line.run_here(*verb.split()), EXIT_USAGE, "no run 7", "geode-tui runs")


def test_no_run_yet(line: CommandLine) -> None:
    """A fresh journal has nothing to show."""
    refused(line.run_here("status"), EXIT_USAGE, "there is no run yet")
    assert line.run_here("runs", "--json").json == []


def test_a_source_that_is_gone_at_resume(line: CommandLine, stopped: str) -> None:
    """The run stays resumable until its source is back."""
    name = stopped.split("/")[3].split("?")[0]
    other = stopped.replace(name, "postgres")
    execute(other, f"ALTER DATABASE {name} RENAME TO away")
    try:
        refused(line.run("resume"), EXIT_CONNECTION, f'database "{name}" does not exist')
    finally:
        execute(other, f"ALTER DATABASE away RENAME TO {name}")
    assert line.run_here("resume").code == EXIT_OK


def test_another_database_at_resume(
    line: CommandLine, stopped: str, make_database: MakeDatabase
) -> None:
    """A run goes on with the database that it began with, or not at all."""
    other = make_database(CUSTOMERS)
    done = line.run_here("resume", "1", "--source", other)
    refused(done, EXIT_USAGE, "the source of run 1 has changed in 2 fields", "resume with the same")
    assert line.run_here("resume", "1").code == EXIT_OK


# -- full disks ---------------------------------------------------------------------------------


class SmallDisk:
    """A folder with too little room: a file system of its own, or a limit on a file's size."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._size = size
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        self.mounted = False
        if os.geteuid() == 0 and shutil.which("mount"):
            self.mounted = subprocess.run(mount, capture_output=True).returncode == 0

    @property
    def limit(self) -> Callable[[], None] | None:
        """What to do in a child so that its disk is small; None where it is so already."""
        if self.mounted:
            return None
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._size))

    def grow(self) -> None:
        """Make room."""
        if self.mounted:
            more = ["mount", "-o", "remount,size=100m", str(self.folder)]
            subprocess.run(more, check=True)

    def remove(self) -> None:
        """Take it away."""
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Makes one small disk of so many bytes."""
    made: list[SmallDisk] = []

    def make(size: int) -> SmallDisk:
        made.append(SmallDisk(tmp_path / "disk", size))
        return made[-1]

    yield make
    for disk in made:
        disk.remove()


def test_a_full_disk_of_the_target(
    line: CommandLine, many: str, small_disk: Callable[[int], SmallDisk]
) -> None:
    """The run stops with 5 and says so; with more room `resume` ends it, balanced."""
    disk = small_disk(4 * 1024 * 1024)
    target = ("--target", str(disk.folder / "t.grafeo"))
    arguments = ("--source", many, "--mapping", "m.yaml", *target)
    done = line.run("migrate", *arguments, before=disk.limit)
    refused(done, EXIT_RESUMABLE, "the", "graph", "then: geode-tui resume 1")
    assert disk.mounted == ("the disk of the graph is full" in done.err)
    status = line.run_here("status", "--json").json
    assert (status["state"], status["resumable"]) == ("failed", True)

    disk.grow()
    again = line.run("resume")
    assert (again.code, again.out.splitlines()[-1]) == (EXIT_OK, BALANCED)


def test_a_full_disk_of_the_journal(
    line: CommandLine, many: str, small_disk: Callable[[int], SmallDisk]
) -> None:
    """So it is where the journal has no room; the graph is whole."""
    disk = small_disk(640 * 1024)
    if not disk.mounted:
        pytest.skip("only root can make a small disk for the journal alone")
    state = {"XDG_STATE_HOME": str(disk.folder)}
    arguments = ("--source", many, "--mapping", "m.yaml", "--target", "t.grafeo")
    done = line.run("migrate", *arguments, environment=state)
    refused(done, EXIT_RESUMABLE, "the journal cannot be written", "geode-tui resume 1")

    disk.grow()
    again = line.run("resume", environment=state)
    assert (again.code, again.out.splitlines()[-1]) == (EXIT_OK, BALANCED)


# -- secrets ------------------------------------------------------------------------------------


def test_a_password_is_nowhere_but_in_memory(line: CommandLine, strict: str) -> None:
    """No output and no file holds the password: not by DSN, by keywords or by variable."""
    without = strict.replace(f":{PASSWORD}", "")
    host = strict.partition("?host=")[2].partition("&")[0]
    words = f"host={host} user=app dbname=shop password={PASSWORD}"
    both = ("--mapping", "m.yaml", "--target", "t.grafeo")
    outputs = [
        line.run_here("map", "--source", strict, "--output", "m.yaml"),
        line.run_here("inspect", "--source", words, "--json"),
        _run_migrate(line, strict),
        _migrate(line, words, target="words.grafeo"),
        _run_migrate(line, without, target="variable.grafeo", PGPASSWORD=PASSWORD),
        line.run_here("validate", "--source", strict, *both),
    ]
    held = open_target(str(line.folder / "held.grafeo"))
    failed = [_migrate(line, strict, target="held.grafeo")]
    held.close()
    failed.append(line.run_here("resume", "5"))  # the journal does not know the password
    refused(failed[0], EXIT_CONNECTION, "is in use")
    refused(failed[1], EXIT_CONNECTION, "password")
    outputs.append(line.run_here("resume", "5", "--source", strict))
    outputs += [line.run_here("runs", "--json"), line.run_here("runs", "show", "5", "--json")]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in line.environment().items():
            patch.setenv(name, value)
        save_profile(Profile("prod", strict, "t.grafeo"))

    assert [done.code for done in outputs] == [EXIT_OK] * len(outputs)
    for done in (*outputs, *failed):
        assert PASSWORD not in done.out + done.err
    files = [path for path in line.folder.rglob("*") if path.is_file()]
    assert {"m.yaml", "journal.sqlite3", "profiles.toml", "t.grafeo"} <= {f.name for f in files}
    for path in files:
        assert PASSWORD.encode() not in path.read_bytes(), path


# -- the steps between --------------------------------------------------------------------------


def _map(line: CommandLine, dsn: str) -> None:
    done = line.run_here("map", "--source", dsn, "--output", "m.yaml")
    assert done.code == EXIT_OK, done


def _exclude(line: CommandLine, table: str) -> None:
    file = line.folder / "m.yaml"
    rule = rf"^( *)(table: {re.escape(table)})$"
    text = re.sub(rule, r"\1\2\n\1include: false", file.read_text(), flags=re.MULTILINE)
    file.write_text(text)


def _migrate(line: CommandLine, dsn: str, *more: str, target: str = "t.grafeo") -> Finished:
    both = ("--mapping", "m.yaml", "--target", target)
    return line.run_here("migrate", "--source", dsn, *both, *more)


def _run_migrate(
    line: CommandLine, dsn: str, target: str = "t.grafeo", **environment: str
) -> Finished:
    both = ("--mapping", "m.yaml", "--target", target)
    return line.run("migrate", "--source", dsn, *both, environment=environment)


def _interrupt_in_the_middle(line: CommandLine, dsn: str) -> None:
    """Leave a run 1 that has written some of its rows."""
    arguments = ("--source", dsn, "--mapping", "m.yaml", "--target", "t.grafeo")
    with line.start("migrate", *arguments) as run:
        run.wait_for("Customer done")
        run.send(signal.SIGINT)
        assert run.finish().code == EXIT_INTERRUPTED


def _refuse_a_second_run(line: CommandLine, dsn: str) -> None:
    """Start a run 2 while run 1 goes and has the target open."""
    journal, held = Journal(_journal_file(line)), open_target(str(line.folder / "t.grafeo"))
    with journal.hold(journal.run(1)):
        journal.set_state(1, "running")
        refused(_migrate(line, dsn), EXIT_USAGE, "another run writes to")
        journal.set_state(1, "stopped")
    journal.close()
    held.close()


def _journal_file(line: CommandLine) -> Path:
    return line.state / "journal.sqlite3"
