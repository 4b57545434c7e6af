"""From the first statement to the rollback, over every target: a file, Geode by gRPC and by QUIC.

What comes out in Geode is compared, value by value, with what the same mapping gives in an embedded
graph; tests/independent_comparison.py compares that one with its source.
"""

from __future__ import annotations

import re
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grafeo
import pytest

from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_OK, EXIT_RESUMABLE
from geode_tui.migration.journal import Journal
from geode_tui.target.geode_dsn import is_geode
from geode_tui.target.geode_names import clean
from tests.command_line import CommandLine, Finished, execute
from tests.conftest import run_now
from tests.geode_loopback import Loopback, User
from tests.graph_dump import Dump, differences
from tests.independent_comparison import compare
from tests.targets import GRPC, PASSWORD, QUIC, Targets, database_at, loopback, targets
from tests.test_stop_and_kill import script, wait_until

__all__ = ["loopback", "targets"]  # fixtures

SLOW_QUIC = pytest.param(QUIC, marks=pytest.mark.slow)
VERSION = "_GeodeTuiSchema"

HOSTILE = """
CREATE SCHEMA "[/foo]";
CREATE TABLE "[/foo]"."😀 ""a"" [b]" (
  "order" int PRIMARY KEY, "we`ird 'x'" text, "😀" text, "1st" numeric(20, 4), "match" date,
  "ümlaut" timestamptz, aaaaaaaaabbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg time,
  "t z" timestamp, raw bytea, flag bool, "list" int[], words text[], doc jsonb, big bigint,
  x float8, days date[], huge numeric);
INSERT INTO "[/foo]"."😀 ""a"" [b]" VALUES
  (1, E'}) DETACH DELETE n // [/foo] \\n`$x', '', 1.5000, '2024-02-29', '2024-01-01 10:00+02',
   '23:59:59.999999', '0001-01-01 00:00', '\\x00ff', true, '{{1,NULL},{NULL,2}}', '{"",null,NULL}',
   '{"a": [1, null, {"b": "c"}]}', -9223372036854775808, 'NaN', '{2024-01-01,NULL}', 1e37),
  (3, '', '😀', -0.0001, '0001-01-01', '9999-12-31 23:59:59.999999+00', '00:00', '2024-01-01', '',
   false, '{}', '{}', '{}', 9223372036854775807, '-Infinity', '{}', 1e-30);
CREATE TABLE "select" (a int REFERENCES "[/foo]"."😀 ""a"" [b]", "b c" text, "from" int,
  PRIMARY KEY (a, "b c"), FOREIGN KEY ("from", "b c") REFERENCES "select");
INSERT INTO "[/foo]"."😀 ""a"" [b]" VALUES (2);
INSERT INTO "select" VALUES (1, '[/foo]', 1), (1, '', 3), (3, '', NULL);
"""


@dataclass(frozen=True)
class Source:
    """A database, its mapping, and what an embedded graph holds after a migration of it."""

    dsn: str
    line: CommandLine
    wanted: Dump

    @property
    def mapping(self) -> str:
        return str(self.line.folder / "mapping.yaml")

    def arguments(self, mapping: str = "") -> tuple[str, ...]:
        return ("--source", self.dsn, "--mapping", mapping or self.mapping)


def _source(dsn: str, folder: Path) -> Source:
    """Map and migrate to an embedded graph, which is equal to its source."""
    line = CommandLine(folder)
    good(line.run_here("map", "--source", dsn, "--output", "mapping.yaml"))
    arguments = ("--source", dsn, "--mapping", "mapping.yaml")
    good(line.run_here("migrate", *arguments, "--target", "expected.grafeo"))
    found = run_now(compare(dsn, folder / "expected.grafeo", None, folder / "mapping.yaml"))
    assert found.equal, found.verdict
    return Source(dsn, line, contents(str(folder / "expected.grafeo")))


@pytest.fixture(scope="module")
def shop(shop_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The sample shop."""
    return _source(shop_dsn, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def hostile(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Keys of 12 types, values of all, names that no query language likes; exported as well."""
    execute(postgres.dsn(), "CREATE DATABASE hostile TEMPLATE template0")
    dsn = postgres.dsn("hostile")
    execute(dsn, HOSTILE, script(60), "DELETE FROM big WHERE id < 0")
    source = _source(dsn, tmp_path_factory.mktemp("hostile"))
    good(source.line.run_here("export", *source.arguments(), "--output", "all.jsonl.gz"))
    return source


@pytest.fixture
def line(tmp_path: Path) -> CommandLine:
    """The command line; the password of a server stands in its environment alone."""
    return CommandLine(tmp_path)


@pytest.fixture
def place(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a new graph is to be, without a password."""
    monkeypatch.setenv("GEODE_TUI_TARGET_PASSWORD", PASSWORD)
    return targets.place(password="")


def contents(place: str) -> Dump:
    """What is in a graph, apart from who wrote it and which mapping it holds.

    Names are as Geode has them, temporal values are ISO 8601 text in UTC: in all graphs alike.
    """
    if is_geode(place):
        return _contents(database_at(place))
    opened = grafeo.GrafeoDB.open_read_only(place)
    try:
        return _contents(opened)
    finally:
        opened.close()


def _contents(opened: Any) -> Dump:
    nodes = {}
    for row in opened.execute("MATCH (n) RETURN id(n) AS i, labels(n) AS l, properties(n) AS p"):
        if VERSION not in row["l"]:
            nodes[row["i"]] = (tuple(sorted(map(clean, row["l"]))), _properties(row["p"]))
    edges = opened.execute(
        "MATCH (a)-[r]->(b) RETURN id(a) AS a, id(b) AS b, type(r) AS t, id(r) AS i, "
        "properties(r) AS p"
    )
    relationships = [
        (nodes[row["a"]], clean(row["t"]), nodes[row["b"]], _properties(row["p"])) for row in edges
    ]
    return Dump(Counter(nodes.values()), Counter(relationships))


def _properties(found: dict[str, Any]) -> tuple[Any, ...]:
    own = ("_run", "_step")
    return tuple(sorted((clean(n), repr(_plain(v))) for n, v in found.items() if n not in own))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    if isinstance(value, date | time):
        value = value.isoformat()
    return value.removesuffix("+00:00") if isinstance(value, str) else value


def require_same(one: Dump, other: Dump) -> None:
    assert one == other, "\n".join(differences(one, other))


def good(done: Finished) -> Finished:
    assert (done.code, done.error) == (EXIT_OK, []), done.err + done.out
    return done


# -- a whole migration ----------------------------------------------------------------------------


def test_a_migration_is_killed_resumed_validated_and_taken_back(
    line: CommandLine, targets: Targets, place: str, shop: Source
) -> None:
    """Its process dies by SIGKILL in the middle: nothing is lost or doubled, no password kept."""
    source, target = shop.arguments(), ("--target", place)
    graph = targets.open(_with_password(place))
    graph.query("CREATE (:Foreign {id: 1})-[:OWN]->(:Foreign {id: 2})")
    graph.close()
    before = contents(place)

    small = ("--batch-size", "50", "--parallel", "2")
    with line.start("migrate", *source, *target, *small) as started:
        wait_until(lambda: rows_written(line, 1) > 300)
        processes = _command_lines(started.pid)
        started.send(signal.SIGKILL)
        assert started.finish().code == -signal.SIGKILL
    assert len(processes) == (3 if targets.is_geode else 1), "a process for each worker"
    assert PASSWORD.encode() not in b"".join(processes)

    resumed = good(line.run_here("resume", "1"))
    good(line.run_here("validate", *source, *target))
    whole = contents(place)
    require_same(without(whole, before), shop.wanted)
    [row] = good(line.run_here("query", *target, "--json", "MATCH (n) RETURN count(n) AS n")).json
    assert row["n"] == whole.nodes.total() + 1  # and the node that tells the version

    checkpoints = good(line.run_here("runs", "show", "1", "--json")).json["checkpoints"]
    middle = checkpoints[len(checkpoints) // 2]["name"]
    good(line.run_here("rollback", "1", "--to", middle, "--yes"))
    less = contents(place)
    assert before.nodes <= less.nodes < whole.nodes
    good(line.run_here("resume", "1"))
    require_same(contents(place), whole)
    good(line.run_here("rollback", "1", "--yes"))
    require_same(contents(place), before)

    said = resumed.out + resumed.err
    kept = [file.read_bytes() for file in line.folder.rglob("*") if file.is_file()]
    assert any(b"SQLite" in some for some in kept)
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in said
        assert not any(secret.encode() in some for some in kept)


def without(found: Dump, less: Dump) -> Dump:
    return Dump(found.nodes - less.nodes, found.relationships - less.relationships)


def rows_written(line: CommandLine, run: int) -> int:
    """How many rows the journal says are written in a run."""
    file = line.state / "journal.sqlite3"
    if not file.exists():
        return 0
    journal = Journal(file)
    try:
        known = len(journal.runs()) >= run
        return sum(entity.rows for entity in journal.chunks.entities(run)) if known else 0
    finally:
        journal.close()


def _with_password(place: str) -> str:
    return place.replace("geode@", f"geode:{quote(PASSWORD, safe='')}@")


def _command_lines(parent: int) -> list[bytes]:
    """What `ps` shows of a process and its children."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in (above, int(folder.name)):
                found.append((folder / "cmdline").read_bytes())
        except OSError:
            continue
    return found


# -- values, names, versions, files ---------------------------------------------------------------


@pytest.mark.parametrize("targets", [GRPC, SLOW_QUIC], indirect=True)
def test_hostile_names_and_values_of_all_types_arrive_and_are_led_over(
    line: CommandLine, targets: Targets, place: str, hostile: Source
) -> None:
    """A migration, then another mapping and back; the same from a file that was exported."""
    source, target = hostile.arguments(), ("--target", place)
    good(line.run_here("migrate", *source, *target, "--parallel", "1"))
    require_same(contents(place), hostile.wanted)

    text = Path(hostile.mapping).read_text()
    (line.folder / "new.yaml").write_text(re.sub(r"\bBig\b", "Match", text))
    new = ("--mapping", "new.yaml")
    good(line.run_here("schema", "apply", *target, *new, "--yes"))
    good(line.run_here("validate", *hostile.arguments("new.yaml"), *target))
    found = contents(place)
    assert (labels(found)["Match_"], labels(found)["Big"]) == (60, 0)
    told = good(line.run_here("schema", "status", *target, *new, "--json")).json
    assert (told["version"], told["matches"], told["unfinished"]) == (2, True, None)
    good(line.run_here("rollback", "2", "--yes"))
    require_same(contents(place), hostile.wanted)

    other = targets.place(password="")
    file = str(hostile.line.folder / "all.jsonl.gz")
    good(line.run_here("import", "--input", file, "--target", other))
    require_same(contents(other), hostile.wanted)


def labels(found: Dump) -> Counter[str]:
    """How many nodes have each label."""
    return Counter(label for node, n in found.nodes.items() for label in node[0] for _ in range(n))


# -- the server goes away -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GRPC, SLOW_QUIC])
def test_a_run_whose_server_stops_ends_with_exit_5_and_goes_on_when_it_is_back(
    kind: str, line: CommandLine, shop: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers are in processes of their own: what broke there is told in plain words."""
    monkeypatch.setenv("GEODE_TUI_TARGET_PASSWORD", PASSWORD)
    with Loopback(users={"geode": User(PASSWORD)}) as server:
        place = server.dsn(kind, graph="g", password="", read_timeout=2, connect_timeout=2)
        source = shop.arguments()
        migrate = ("migrate", *source, "--target", place, "--batch-size", "50")
        with ThreadPoolExecutor(1) as watching:
            gone = watching.submit(_stop_in_the_middle, server, line)
            stopped = line.run(*migrate, program=(sys.executable, "-c", IMPATIENT))
            gone.result()
        assert stopped.code == EXIT_RESUMABLE
        assert not re.search(r"Traceback|\w(Error|Exception)\b", stopped.err), stopped.err
        error = "\n".join(stopped.error)
        assert "127.0.0.1" in error
        assert "geode-tui resume 1" in error
        server.start()
        good(line.run_here("resume", "1"))
        good(line.run_here("validate", *source, "--target", place))


IMPATIENT = """
import sys
from geode_tui.migration import retry
retry.Backoff.__init__.__defaults__ = (2, 0.1, 0.1)
from geode_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""


def _stop_in_the_middle(server: Loopback, line: CommandLine) -> None:
    wait_until(lambda: rows_written(line, 1) > 300)
    server.stop()
