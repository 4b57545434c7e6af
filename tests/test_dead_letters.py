"""Dead letters: to look at, to retry until the row is in the graph, or to give up for a reason."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grafeo
import pytest

from geode_tui.cli import main
from geode_tui.demo import EmbeddedPostgres
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, EXIT_USAGE, UsageError
from geode_tui.mapping import file
from geode_tui.mapping.infer import infer
from geode_tui.migration import postgres_origin
from geode_tui.migration.dead_letters import GONE, DeadLetter, Selection
from geode_tui.migration.journal import Journal
from geode_tui.migration.letter_retry import Retried, retry_letters
from geode_tui.migration.rollback import roll_back
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.paths import journal_file
from tests.command_line import CommandLine, execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys
from tests.independent_comparison import compare
from tests.migrate import migrate, read_catalog

# Three people cannot be carried, so nine purchases have nobody to point at.
ROWS = """
DROP TABLE IF EXISTS kept;
TRUNCATE person, purchase;
INSERT INTO person SELECT n, 'name ' || n, date '2000-01-01' + n FROM generate_series(1, 20) n;
UPDATE person SET born = 'infinity' WHERE id IN (3, 7, 11);
INSERT INTO purchase SELECT n, 1 + n % 20, n FROM generate_series(1, 50) n;
"""
TOWN = f"""
CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, born date);
CREATE TABLE purchase (id int PRIMARY KEY, person int REFERENCES person, total int);
{ROWS}
ANALYZE;
"""
KEYS = {
    "an_uuid": ("uuid", "('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid"),
    "a_text": ("text", """n || ' [/foo] ''"`\\ ' || chr(128512)"""),
    "a_number": ("numeric", "n + 0.10"),
    "a_time": (
        "timestamptz",
        "timestamptz '2024-03-31 01:30:00.123456+00' + n * interval '1 h'",
    ),
    "some_bytes": ("bytea", "decode(lpad(to_hex(n), 4, '0'), 'hex')"),
    "a_double": ("float8", "n / 3.0::float8"),
    "a_padded": ("char(5)", "n::char(5)"),
}
_MADE = """
CREATE TABLE {} ("[/k]" {}, "select" int, born date, PRIMARY KEY ("[/k]", "select"));
"""
_FILLED = """
INSERT INTO {} SELECT {}, n % 3, CASE n % 4 WHEN 0 THEN date 'infinity' ELSE '2000-01-01' END
FROM generate_series(1, 20) n;
"""
ZOO_ROWS = f"TRUNCATE {', '.join(KEYS)}, log;" + "".join(
    _FILLED.format(kind, value) for kind, (_, value) in KEYS.items()
)
ZOO_ROWS += "INSERT INTO log SELECT 'infinity' FROM generate_series(1, 5)"
ZOO = "".join(_MADE.format(kind, declared) for kind, (declared, _) in KEYS.items())
ZOO += f"CREATE TABLE log (at date); {ZOO_ROWS}"
MEND = "UPDATE person SET born = '2001-02-03' WHERE born = 'infinity'"
PERSON, BUYS = "Person", "(Purchase)-[HAS_PERSON]->(Person)"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of ten rows, so that letters are in several."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 10)


class Town:
    """A migrated town with dead letters, its journal, and the command line on it."""

    def __init__(self, dsn: str, folder: Path, graph: Path, mapping: Path) -> None:
        self.dsn, self.folder = dsn, folder
        self.graph_file, self.mapping_file = graph, mapping
        self.journal = Journal()

    @classmethod
    def as_made(cls, made: tuple[str, Path], folder: Path, rows: str) -> Town:
        """A town as its migration left it, in `folder`; its database with the `rows` again."""
        dsn, original = made
        execute(dsn, rows)
        graph = folder / "graph.grafeo"
        shutil.copy(original / "graph.grafeo", graph)
        shutil.copy(original / "journal.sqlite3", journal_file())
        town = cls(dsn, folder, graph, original / "mapping.yaml")
        with town.journal.store.write() as db:
            db.execute("UPDATE run SET target = ?", (str(graph),))
        return town

    @property
    def validate(self) -> list[str]:
        """The command line that compares source and graph."""
        source, target = ["--source", self.dsn], ["--target", str(self.graph_file)]
        return ["validate", *source, *target, "--mapping", str(self.mapping_file)]

    def retry(self, *ids: int, **some: str) -> Retried:
        """Retry letters of run 1."""
        return run_now(retry_letters(self.journal, 1, Selection(ids, **some)))  # type: ignore[arg-type]

    def letters(self, entity: str = "") -> list[DeadLetter]:
        """The letters of run 1."""
        return self.journal.dead_letters.of(1, 1_000, 0, Selection(entity=entity))

    def states(self) -> Counter[str]:
        """How many letters there are by state."""
        return Counter(letter.state for letter in self.letters())

    def counters(self, entity: str) -> tuple[int, int, int]:
        """Rows, dead and orphans of an entity; its chunks say the same."""
        [found] = [e for e in self.journal.chunks.entities(1) if e.id == entity]
        sums = self.journal.store.one(
            "SELECT sum(rows) AS r, sum(dead) AS d, sum(orphans) AS o FROM chunk"
            " WHERE run = 1 AND entity = ?",
            entity,
        )
        assert sums is not None
        assert (found.rows, found.dead, found.orphans) == (sums["r"], sums["d"], sums["o"])
        return found.rows, found.dead, found.orphans

    def differing(self) -> set[str]:
        """The entities that an independent program finds otherwise in the source."""
        with asyncio.Runner() as runner:
            found = runner.run(compare(self.dsn, self.graph_file, None, self.mapping_file))
        return {difference.entity for difference in found.differences}

    def is_equal(self) -> bool:
        """Whether the graph is the source's."""
        return not self.differing()

    def query(self, statement: str) -> list[Any]:
        """The values of one statement on the graph."""
        database = grafeo.GrafeoDB.open_read_only(str(self.graph_file))
        try:
            return [next(iter(dict(row).values())) for row in database.execute(statement)]
        finally:
            database.close()


@pytest.fixture(scope="module")
def made(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[str, Path]]]:
    """Two databases, and for each a folder with what its migration made."""
    found = {}
    for name, sql in (("town", TOWN), ("zoo", ZOO)):
        execute(postgres.dsn(), f"CREATE DATABASE letters_{name} TEMPLATE template0")
        dsn, folder = postgres.dsn(f"letters_{name}"), tmp_path_factory.mktemp(name)
        execute(dsn, sql)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(postgres_origin, "CHUNK_ROWS", 10)
            migrate(dsn, folder, parallel=1)  # the letters get the same numbers each time
        found[name] = dsn, folder
    yield found
    for name in found:
        execute(postgres.dsn(), f"DROP DATABASE letters_{name} WITH (FORCE)")


@pytest.fixture
def town(made: dict[str, tuple[str, Path]], tmp_path: Path) -> Iterator[Town]:
    """The town, its rows not mended yet: the same for each test."""
    town = Town.as_made(made["town"], tmp_path, ROWS)
    assert town.counters(PERSON) == (17, 3, 0)
    assert town.counters(BUYS) == (41, 0, 9)
    yield town
    town.journal.close()


@pytest.fixture
def zoo(made: dict[str, tuple[str, Path]], tmp_path: Path) -> Iterator[Town]:
    """A table for each kind of key, and one without; five letters of each."""
    zoo = Town.as_made(made["zoo"], tmp_path, ZOO_ROWS)
    assert zoo.states() == {"open": 5 * len(KEYS) + 5}
    yield zoo
    zoo.journal.close()


# -- to look at -----------------------------------------------------------------------------------


def test_letters_are_listed_bounded_with_a_count_of_the_rest(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Id, entity, key, class, reason and state; a page at a time."""
    assert main(["deadletters", "list", "1", "--limit", "2"]) == EXIT_OK
    out, err = capsys.readouterr()
    header, _, first, second = out.splitlines()
    assert header.split() == ["id", "entity", "key", "class", "reason", "state"]
    assert first.split()[1:4] == [PERSON, "id=3", "value"]
    assert first.endswith("open")
    assert "no DATE holds infinity" in second
    assert err == "and 10 more: add --offset 2, or --limit\n"
    assert main(["deadletters", "list", "1", "--offset", "9"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (5, "")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ((), 12),
        (("--class", "value"), 3),
        (("--class", "orphan"), 9),
        (("--entity", PERSON), 3),
        (("--entity", PERSON, "--class", "orphan"), 0),
        (("--state", "open"), 12),
        (("--state", "written"), 0),
    ],
)
def test_letters_are_narrowed(
    town: Town, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], count: int
) -> None:
    """By entity, class and state, all of them together."""
    assert main(["deadletters", "list", "1", *options, "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert (document["total"], len(document["letters"])) == (count, count)


def test_a_wrong_entity_is_not_taken_for_no_letters(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who mistypes is told, with the name that was meant."""
    assert main(["deadletters", "list", "1", "--entity", "Persons"]) == EXIT_USAGE
    assert "did you mean Person?" in capsys.readouterr().err


def test_a_letter_is_shown_with_the_sql_of_its_row(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it with its values; the SQL shows the row in the source."""
    assert main(["deadletters", "show", "1", "1", "4", "--json"]) == EXIT_OK
    letter, orphan = json.loads(capsys.readouterr().out)
    assert json.loads(letter["values"])["name"] == "'name 3'"
    assert _rows(town.dsn, letter["sql"])[0]["name"] == "name 3"
    assert _rows(town.dsn, orphan["sql"])[0]["person"] == 3
    assert main(["deadletters", "show", "1", "1"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "reason   born: no DATE holds infinity\n" in out
    assert f"source   {letter['sql']}\n" in out


def test_a_letter_is_shown_without_its_source_too(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody answers there, the SQL is left out and the reason is told."""
    nowhere = "postgresql://localhost:1/none"
    assert main(["deadletters", "show", "1", "1", "--source", nowhere]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "name 3" in out
    assert "\nsource" not in out
    assert "without the SQL of the source's row: cannot connect to" in err


def test_the_json_documents_have_the_documented_keys(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts may rely on them."""

    def keys(*arguments: str) -> Any:
        main(["deadletters", *arguments, "--json"])
        return json.loads(capsys.readouterr().out)

    listed = keys("list", "1")
    assert set(listed) == documented_keys("dead letters")
    assert set(listed["letters"][0]) == documented_keys("dead letter")
    assert set(listed["counts"][0]) == documented_keys("letter count")
    assert set(keys("show", "1", "1")[0]) == documented_keys("dead letter") | {"sql"}
    assert set(keys("retry", "1", "1")) == documented_keys("retried")
    assert set(keys("skip", "1", "1", "--reason", "x")) == documented_keys("skipped")


# -- to try again ---------------------------------------------------------------------------------


def test_a_mended_row_is_written_and_all_that_hangs_on_it(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nodes first, then the relationships that had no end; then it is as if nothing had been."""
    execute(town.dsn, MEND)
    assert main(["deadletters", "retry", "1", "--all"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert out == "run 1: 12 written\n"
    assert "the ledger of run 1 is older than this" in err
    assert town.states() == {"written": 12}
    assert town.counters(PERSON) == (20, 0, 0)
    assert town.counters(BUYS) == (50, 0, 0)
    assert town.is_equal()
    assert main(town.validate) == EXIT_OK
    uid = town.journal.run(1).uid
    assert town.query("MATCH (n:Person) WHERE n.id = 7 RETURN n._run") == [uid]


def test_what_is_refused_again_stays_open_with_the_reason_of_today(town: Town) -> None:
    """Nothing is lost, nothing is counted twice, and the newest values are kept."""
    execute(town.dsn, "UPDATE person SET name = 'new', born = '-infinity' WHERE id = 3")
    result = town.retry(entity=PERSON)
    assert result == Retried(refused=3)
    letter = town.letters(PERSON)[0]
    assert (letter.state, letter.note) == ("open", "refused again")
    assert "'new'" in letter.values
    assert letter.who
    assert town.counters(PERSON) == (17, 3, 0)
    assert main(town.validate) == EXIT_OK


def test_some_written_some_refused_ends_with_4(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script sees that something is left; orphans that may have ends now are named."""
    execute(town.dsn, "UPDATE person SET born = '2001-01-01' WHERE id = 7")
    assert main(["deadletters", "retry", "1", "--class", "value"]) == EXIT_DIFFERS
    out, err = capsys.readouterr()
    assert out == "run 1: 1 written, 2 refused again\n"
    assert "9 orphans may have their ends now: geode-tui deadletters retry 1 --class orphan" in err
    assert main(["deadletters", "retry", "1", "--class", "orphan", "--json"]) == EXIT_DIFFERS
    document = json.loads(capsys.readouterr().out)
    assert (document["written"], document["refused"], document["complete"]) == (3, 6, False)
    assert town.counters(PERSON) == (18, 2, 0)
    assert town.counters(BUYS) == (44, 0, 6)
    assert main(town.validate) == EXIT_OK


def test_a_relationship_whose_end_is_still_missing_stays_an_orphan(town: Town) -> None:
    """It is no other kind of dead letter."""
    assert town.retry(error_class="orphan") == Retried(refused=9)
    assert {letter.error_class for letter in town.letters(BUYS)} == {"orphan"}
    assert town.counters(BUYS) == (41, 0, 9)


def test_a_row_that_is_gone_counts_no_more(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in the source no longer, so nobody misses it in the graph."""
    execute(
        town.dsn,
        "UPDATE purchase SET person = NULL WHERE person = 7",
        "DELETE FROM person WHERE id = 7",
    )
    assert main(["deadletters", "retry", "1", "--all"]) == EXIT_DIFFERS
    assert "4 no longer in the source" in capsys.readouterr().out
    gone = [letter for letter in town.letters() if letter.state == "skipped"]
    assert [letter.note for letter in gone] == [GONE] * 4
    assert town.counters(PERSON) == (17, 2, 0)
    assert town.counters(BUYS) == (41, 0, 6)
    main([*town.validate, "--json"])
    entries = {e["id"]: e for e in json.loads(capsys.readouterr().out)["entries"]}
    assert [entries[name]["missing"] for name in (PERSON, BUYS)] == [0, 0]


def test_a_row_that_came_back_counts_again(town: Town) -> None:
    """By its id a skipped letter is retried as well."""
    execute(
        town.dsn,
        "CREATE TABLE kept AS SELECT * FROM purchase WHERE person = 7",
        "DELETE FROM purchase WHERE person = 7",
        "DELETE FROM person WHERE id = 7",
    )
    assert town.retry(2) == Retried(gone=1)
    execute(town.dsn, "INSERT INTO person VALUES (7, 'back', '-infinity')")
    assert town.retry(2) == Retried(refused=1)
    assert town.counters(PERSON) == (17, 3, 0)
    execute(town.dsn, "UPDATE person SET born = '2001-01-01' WHERE id = 7")
    assert town.retry(2) == Retried(written=1, ends=True)
    assert town.counters(PERSON) == (18, 2, 0)
    assert town.letters(PERSON)[1].state == "written"


def test_a_row_is_found_again_by_any_key(zoo: Town) -> None:
    """Also with two columns, of which one is hostile."""
    _mend_zoo(zoo)
    assert zoo.retry() == Retried(written=5 * len(KEYS), unreadable=5, ends=True)
    counters = {e.id: zoo.counters(e.id) for e in zoo.journal.chunks.entities(1)}
    assert counters.pop("Log") == (0, 5, 0)
    assert set(counters.values()) == {(20, 0, 0)}
    assert zoo.differing() == {"Log"}


def _mend_zoo(zoo: Town) -> None:
    mend = "UPDATE {} SET born = '2001-01-01' WHERE born = 'infinity'"
    execute(zoo.dsn, *(mend.format(kind) for kind in KEYS))


def test_a_key_that_is_spelled_otherwise_now_is_the_same_key(zoo: Town) -> None:
    """1.0 and 1.00 are equal: the row is that of the letter, and is not written twice."""
    execute(zoo.dsn, """UPDATE a_number SET "[/k]" = round("[/k]", 4)""")
    _mend_zoo(zoo)
    assert zoo.retry(entity="ANumber") == Retried(written=5, ends=True)
    assert zoo.counters("ANumber") == (20, 0, 0)
    assert zoo.query("MATCH (n:ANumber) RETURN count(n)") == [20]


def test_rows_without_a_key_cannot_be_retried_one_by_one(
    zoo: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said so, and nothing is done to them."""
    execute(zoo.dsn, "UPDATE log SET at = '2001-01-01'")
    assert main(["deadletters", "retry", "1", "--entity", "Log"]) == EXIT_DIFFERS
    out, err = capsys.readouterr()
    assert out == "run 1: 5 cannot be read one by one\n"
    assert "Log: 5 rows cannot be read one by one: its rows are known by their place" in err
    assert {letter.state for letter in zoo.letters("Log")} == {"open"}
    assert zoo.query("MATCH (n:Log) RETURN count(n)") == [0]


def test_a_row_whose_key_is_taken_takes_nobody_s_place(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """A node of somebody else keeps its key; once it is gone the row is written."""
    dsn = make_database("""
        CREATE TABLE person (id int PRIMARY KEY, name text);
        INSERT INTO person VALUES (1, 'Ann'), (2, 'Bob');
    """)
    graph = tmp_path / "graph.grafeo"
    _change(graph, "CREATE (:Person {id: 2, name: 'a stranger'})")
    journal = Journal(tmp_path / "journal.sqlite3")
    runner = _begin(dsn, tmp_path, into_existing=True)
    assert runner.error is None
    [letter] = journal.dead_letters.of(1)
    assert (letter.key, letter.error_class) == ("id=2", "unique")

    assert run_now(retry_letters(journal, 1, Selection())) == Retried(refused=1)

    names = "MATCH (n:Person) WHERE n.id = 2 RETURN n.name AS name"
    assert _change(graph, names) == [{"name": "a stranger"}]
    _change(graph, "MATCH (n:Person) WHERE n.name = 'a stranger' DELETE n")
    assert run_now(retry_letters(journal, 1, Selection())) == Retried(written=1, ends=True)
    assert _change(graph, names) == [{"name": "Bob"}]
    journal.close()


def _change(graph: Path, statement: str) -> list[dict[str, Any]]:
    """What another program does to the graph."""
    database = grafeo.GrafeoDB(str(graph))
    try:
        return [dict(row) for row in database.execute(statement)]
    finally:
        database.close()


def test_many_letters_are_retried_in_parts(zoo: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has a step of its own; no letter is left out or taken twice."""
    monkeypatch.setattr("geode_tui.migration.dead_letters.AT_ONCE", 2)
    entity = "AText"
    assert zoo.retry(entity=entity) == Retried(refused=5)
    steps = zoo.journal.run(1).steps
    _mend_zoo(zoo)
    assert zoo.retry(entity=entity) == Retried(written=5, ends=True)
    taken = Counter(letter.step for letter in zoo.letters(entity))
    assert max(taken.values()) == 2
    assert min(step or 0 for step in taken) > steps
    assert zoo.counters(entity) == (20, 0, 0)


# -- killed in the midst --------------------------------------------------------------------------

KILLER = """
import os, signal, sys
from geode_tui.cli import main
from geode_tui.demo import EmbeddedPostgres
from geode_tui.migration.dead_letters import DeadLetters
from geode_tui.migration.letter_retry import _Retry
from geode_tui.target.embedded import EmbeddedGraph
owner, name, when, count = sys.argv[1:5]
owner = {"letters": DeadLetters, "graph": EmbeddedGraph, "retry": _Retry}[owner]
real, left = getattr(owner, name), [int(count)]
def killed(*arguments):
    left[0] -= 1
    if when == "before" and not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments)
    if when == "after" and not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, killed)
main(sys.argv[5:])
"""
MOMENTS = [
    "graph write_nodes after 1",
    "letters end_retry before 2",
    "graph write_relationships after 1",
    "graph flush before 1",
]


def _kill(town: Town, moment: str, *arguments: str) -> None:
    """Retry in a process of its own that is killed at a moment."""
    program = (sys.executable, "-c", KILLER, *moment.split())
    line = CommandLine(town.folder)
    state = {"XDG_STATE_HOME": str(journal_file().parent.parent)}
    done = line.run("deadletters", "retry", "1", *arguments, program=program, environment=state)
    assert done.code == -signal.SIGKILL, done.err


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_retry_that_was_killed_is_repeated_to_the_same_end(town: Town, moment: str) -> None:
    """Whatever it had written, and whatever it had journaled."""
    execute(town.dsn, MEND)
    _kill(town, moment, "--all")

    town.retry()

    assert town.states() == {"written": 12}
    assert town.counters(PERSON) == (20, 0, 0)
    assert town.counters(BUYS) == (50, 0, 0)
    assert town.is_equal()
    assert main(town.validate) == EXIT_OK
    assert town.journal.audit.check().whole
    assert town.journal.dead_letters.interrupted(1) == []


def test_what_a_killed_retry_wrote_goes_with_its_row(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row is mended, written, and gone before the repeat: its node must not stay."""
    execute(town.dsn, MEND)
    _kill(town, "letters end_retry before 1", "1")
    assert main(["deadletters", "list", "1"]) == EXIT_OK
    assert "a retry was interrupted" in capsys.readouterr().err
    execute(town.dsn, "DELETE FROM purchase WHERE person = 3", "DELETE FROM person WHERE id = 3")
    result = town.retry(1)
    assert result == Retried(gone=1)
    assert town.query("MATCH (n:Person) WHERE n.id = 3 RETURN n.id") == []
    assert town.counters(PERSON) == (17, 2, 0)


def test_a_killed_retry_of_one_letter_does_not_disturb_another(town: Town) -> None:
    """The next retry is of another letter: the first is open as if never tried."""
    execute(town.dsn, MEND)
    _kill(town, "letters end_retry before 1", "1")
    assert town.retry(2) == Retried(written=1, ends=True)
    assert [letter.state for letter in town.letters(PERSON)] == ["open", "written", "open"]
    assert sorted(set(town.query("MATCH (n:Person) RETURN n.id")) & {3, 7, 11}) == [7]
    assert town.counters(PERSON) == (18, 2, 0)


def test_undoing_a_killed_retry_can_be_killed_too(town: Town) -> None:
    """And is begun again."""
    execute(town.dsn, MEND)
    _kill(town, "letters end_retry before 1", "--all")
    _kill(town, "letters forget_retry before 1", "--all")
    assert town.retry().written == 12
    assert town.is_equal()
    assert town.counters(PERSON) == (20, 0, 0)


# -- together with resume, rollback and other runs ------------------------------------------------


def test_letters_written_after_a_checkpoint_are_open_again_after_the_rollback(town: Town) -> None:
    """And their counters with them; they can be retried again."""
    execute(town.dsn, MEND)
    assert town.retry().written == 12
    roll_back(town.journal, 1, "verify")
    assert town.states() == {"open": 12}
    assert town.counters(PERSON) == (17, 3, 0)
    assert town.counters(BUYS) == (41, 0, 9)
    assert town.query("MATCH (n:Person) RETURN count(n)") == [17]
    assert town.retry().written == 12
    assert town.is_equal()


def test_a_run_that_was_rolled_back_has_nothing_to_retry(town: Town) -> None:
    """Its rows are not in the graph: it would be the only thing there."""
    roll_back(town.journal, 1)
    with pytest.raises(UsageError, match="was rolled back"):
        town.retry()


@pytest.mark.parametrize("meanwhile", ["the row is gone", "the row is as it was"])
def test_a_stopped_run_is_resumed_after_a_retry_to_the_same_graph(
    make_database: MakeDatabase, tmp_path: Path, meanwhile: str
) -> None:
    """Its new snapshot brings the retried rows up to date with all the others."""
    dsn = make_database(TOWN)
    execute(dsn, "UPDATE person SET born = 'infinity' WHERE id IN (4, 12, 13)")
    execute(dsn, "UPDATE person SET born = '2001-01-01' WHERE id IN (7, 11)")
    runner = _begin(dsn, tmp_path, dead_limit=2, parallel=1)
    journal = Journal(tmp_path / "journal.sqlite3")
    assert "Person stopped: more than 2 dead letters" in str(runner.error)
    assert [letter.key for letter in journal.dead_letters.of(1)][:2] == ["id=3", "id=4"]
    execute(dsn, MEND)

    result = run_now(retry_letters(journal, 1, Selection()))

    assert (result.written, result.incomplete, result.complete) == (2, 2, False)
    if meanwhile == "the row is gone":
        execute(dsn, "DELETE FROM purchase WHERE person = 3", "DELETE FROM person WHERE id = 3")
    else:
        execute(dsn, "UPDATE person SET born = 'infinity' WHERE id IN (3, 4)")
    resumed = Runner(resume=1, journal=tmp_path / "journal.sqlite3")
    resumed.start()
    resumed.join()
    assert resumed.error is None
    assert resumed.ledger is not None
    assert resumed.ledger.balanced
    people = {row["id"] for row in _change(tmp_path / "graph.grafeo", _PEOPLE)}
    letters = journal.dead_letters.of(1, 100, 0, Selection(entity=PERSON))
    journal.close()
    if meanwhile == "the row is gone":
        assert people == {*range(1, 21)} - {3}
        assert letters == []
    else:
        assert people == {*range(1, 21)} - {3, 4}
        assert [(letter.key, letter.state) for letter in letters] == [
            ("id=3", "open"),
            ("id=4", "open"),
        ]


_PEOPLE = "MATCH (n:Person) RETURN n.id AS id"


def _begin(dsn: str, folder: Path, **options: Any) -> Runner:
    mapping = infer(read_catalog(dsn))
    file.save(mapping, folder / "mapping.yaml")
    request = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, **options)
    runner = Runner(request, journal=folder / "journal.sqlite3")
    runner.start()
    runner.join()
    return runner


def test_a_run_that_is_driven_is_refused(town: Town) -> None:
    """Two writers would not know of each other; the same for its target."""
    with (
        town.journal.hold(town.journal.run(1)),
        pytest.raises(UsageError, match="being driven by another process"),
    ):
        town.retry()
    lock = town.journal.target_lock(str(town.graph_file), "")
    with (
        town.journal.locks.hold(lock, "", ""),
        pytest.raises(UsageError, match="another run writes to"),
    ):
        town.retry()
    assert town.states() == {"open": 12}


def test_another_source_is_refused(town: Town, make_database: MakeDatabase) -> None:
    """Rows of another database are not those of the run."""
    other = make_database(TOWN)
    with pytest.raises(UsageError, match="has changed in 2 fields") as refused:
        run_now(retry_letters(town.journal, 1, Selection(), source=other))
    assert "database oid: it was" in refused.value.why
    assert town.states() == {"open": 12}


# -- to give up -----------------------------------------------------------------------------------


def test_a_letter_given_up_still_counts_as_dead(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    """With who did it and why; a retry by its id takes it again."""
    arguments = ["deadletters", "skip", "1", "2"]
    assert main([*arguments, "--reason", " "]) == EXIT_USAGE
    assert main([*arguments, "--reason", "born at [/infinity]"]) == EXIT_OK
    letter = town.letters()[1]
    assert (letter.state, letter.note) == ("skipped", "born at [/infinity]")
    assert "@" in letter.who
    assert town.counters(PERSON) == (17, 3, 0)
    assert main(town.validate) == EXIT_OK
    assert main([*arguments, "--reason", "again"]) == EXIT_USAGE
    assert "dead letter 2 is skipped" in capsys.readouterr().err

    execute(town.dsn, MEND)
    assert town.retry(2) == Retried(written=1, ends=True)
    assert main(["deadletters", "retry", "1", "2"]) == EXIT_USAGE
    assert "dead letter 2 is written" in capsys.readouterr().err


def test_all_that_are_open_are_given_up_at_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are not retried with --all any more."""
    monkeypatch.setattr("geode_tui.migration.dead_letters.AT_ONCE", 4)
    execute(town.dsn, MEND)
    town.retry(1)
    assert main(["deadletters", "skip", "1", "--all", "--reason", "old"]) == EXIT_OK
    assert town.states() == {"written": 1, "skipped": 11}
    skips = [e for e in town.journal.audit.entries(1) if e.what == "dead letters skipped"]
    assert [len(json.loads(entry.after)["letters"]) for entry in skips] == [4, 4, 3]
    assert main(["deadletters", "retry", "1", "--all"]) == EXIT_OK
    assert town.states() == {"written": 1, "skipped": 11}


WRONG: dict[str, Callable[[], list[str]]] = {
    "nothing is named": lambda: ["retry", "1"],
    "both ids and all": lambda: ["retry", "1", "2", "--all"],
    "an unknown id": lambda: ["retry", "1", "99"],
    "an unknown run": lambda: ["list", "9"],
    "show without an id": lambda: ["show", "1"],
    "a reason that is not heard": lambda: ["retry", "1", "--all", "--reason", "x"],
    "all for a list": lambda: ["list", "1", "--all"],
    "a state for a retry": lambda: ["retry", "1", "--all", "--state", "open"],
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_use_changes_nothing(
    town: Town, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """It is told what to do instead."""
    assert main(["deadletters", *WRONG[wrong]()]) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines()) > 1) == ("", True)
    assert town.states() == {"open": 12}


def _rows(dsn: str, sql: str) -> list[Any]:
    import asyncpg

    async def work() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return list(await connection.fetch(sql))
        finally:
            await connection.close()

    return run_now(work())
