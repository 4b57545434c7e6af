"""`capture`: what a source lacks for change capture is told with the SQL that mends it."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from geode_tui.errors import EXIT_FAILED, EXIT_OK
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys

CLINIC = """
CREATE TABLE "[/foo]" (id int PRIMARY KEY, "na""me" text);
CREATE TABLE visit (id int PRIMARY KEY, pet int REFERENCES "[/foo]");
"""
NO_KEY = "CREATE TABLE log (at timestamptz, what text);"
WAYS = pytest.mark.parametrize("way", ["slot", "outbox"])


def _line(folder: Path, dsn: str) -> CommandLine:
    line = CommandLine(folder)
    assert line.run_here("map", "--source", dsn, "--output", "m.yaml").code == EXIT_OK
    return line


@WAYS
def test_a_source_that_has_all_is_told_so(
    make_database: MakeDatabase, tmp_path: Path, way: str
) -> None:
    """Each need with its evidence; the keys of the JSON are the documented ones."""
    dsn = make_database(CLINIC)
    both = ("--source", dsn, "--mapping", "m.yaml", "--way", way)
    done = _line(tmp_path, dsn).run_here("capture", "check", *both, "--json")
    assert done.code == EXIT_OK
    assert {one["state"] for one in done.json["requirements"]} <= {"met", "warning"}
    assert set(done.json["requirements"][0]) == documented_keys("needs of capture")
    assert any("[/foo]" in one["what"] for one in done.json["requirements"])


def test_a_table_that_would_break_the_application_is_told_and_mended_by_the_sql(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Published without a key, its own UPDATE would fail: exit 1 until the SQL was run."""
    dsn = make_database(CLINIC + NO_KEY)
    line = _line(tmp_path, dsn)
    both = ("--source", dsn, "--mapping", "m.yaml")
    found = line.run_here("capture", "check", *both, "--json")
    assert found.code == EXIT_FAILED
    (missing,) = [one for one in found.json["requirements"] if one["state"] == "missing"]
    assert "public.log" in missing["what"]
    shown = line.run_here("capture", "check", *both)
    assert f"✗ {missing['what']}" in shown.out
    for statement in missing["sql"]:
        assert statement in shown.out
        execute(dsn, statement)
    assert line.run_here("capture", "check", *both).code == EXIT_OK


def test_a_view_tells_no_changes(make_database: MakeDatabase, tmp_path: Path) -> None:
    """A rule that reads a view cannot be kept up to date: it is said before it is too late."""
    dsn = make_database(CLINIC + "CREATE VIEW pets AS SELECT * FROM visit;")
    line = _line(tmp_path, dsn)
    mapping = tmp_path / "m.yaml"
    mapping.write_text(mapping.read_text().replace("table: public.visit", "table: public.pets", 1))
    found = line.run_here("capture", "check", "--source", dsn, "--mapping", "m.yaml", "--json")
    assert found.code == EXIT_FAILED, found
    assert "it is a view" in found.json["requirements"][0]["evidence"]


@WAYS
def test_the_sql_sets_capture_up_and_takes_it_back(
    make_database: MakeDatabase, tmp_path: Path, way: str
) -> None:
    """What is printed can be run as it is; after the tear-down nothing is left."""
    dsn = make_database(CLINIC)
    line = _line(tmp_path, dsn)
    both = ("--source", dsn, "--mapping", "m.yaml", "--way", way)
    before = _objects(dsn)
    made = line.run_here("capture", "sql", *both, "--json").json["statements"]
    printed = line.run_here("capture", "sql", *both).out
    assert all(statement.rstrip(";") in printed for statement in made)
    assert _objects(dsn) == before, "printing it changes nothing"
    _run(dsn, made)
    assert _objects(dsn) != before
    execute(dsn, "INSERT INTO visit VALUES (1, NULL); UPDATE visit SET id = 2; DELETE FROM visit")
    _run(dsn, line.run_here("capture", "sql", *both, "--tear-down", "--json").json["statements"])
    assert _objects(dsn) == before


def _run(dsn: str, statements: list[str]) -> None:
    """Run statements one after the other in one session, as `psql -f` does."""
    run_now(_run_all(dsn, statements))


async def _run_all(dsn: str, statements: list[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _objects(dsn: str) -> set[tuple[str, str]]:
    """All that somebody made in a database, and the cluster's slots."""

    async def work() -> set[tuple[str, str]]:
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(
                "SELECT 'schema' AS kind, nspname::text AS name FROM pg_namespace"
                " WHERE nspname !~ '^pg_'"
                " UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class WHERE oid > 16383"
                " UNION ALL SELECT 'trigger', tgname FROM pg_trigger"
                " UNION ALL SELECT 'function', proname FROM pg_proc WHERE oid > 16383"
                " UNION ALL SELECT 'publication', pubname FROM pg_publication"
                " UNION ALL SELECT 'slot', slot_name FROM pg_replication_slots"
            )
            return {(row["kind"], row["name"]) for row in rows}
        finally:
            await connection.close()

    return run_now(work())
