"""Stopped, killed, cut off: a run goes on where it was, and the graph ends equal to the source."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from geode_tui.errors import GeodeTuiError, RunStopped
from geode_tui.mapping.file import save
from geode_tui.mapping.infer import infer
from geode_tui.migration import postgres_origin
from geode_tui.migration.journal import Journal
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.paths import state_folder
from tests.conftest import MakeDatabase, run_now
from tests.independent_comparison import compare
from tests.migrate import read_catalog

WAIT_SECONDS = 60.0  # only so that a test that fails does not hang
PASSWORD = "s3cret[/x]'%40"

# 12 types of keys, all referenced from one table, joined with an instant in the key; no keys.
SQL = """
CREATE TYPE colour AS ENUM ({colours});
CREATE TABLE ref (id int PRIMARY KEY);
INSERT INTO ref SELECT generate_series(1, 200);
DO $$
DECLARE
  kind record;
  name text;
BEGIN
  FOR kind IN SELECT * FROM (VALUES
    ('number', 'int', 'n'),
    ('word', 'text', 'CASE n % 2 WHEN 0 THEN upper(md5(n::text)) ELSE md5(n::text) END'),
    ('uuid', 'uuid', 'md5(n::text)::uuid'),
    ('price', 'numeric', 'n * 1.10'),
    ('float', 'float8', 'n / 7.0'),
    ('moment', 'timestamptz', 'timestamptz ''2024-01-01 00:00+02'' + n * interval ''1 second'''),
    ('day', 'date', 'date ''2024-01-01'' + n'),
    ('bytes', 'bytea', 'decode(md5(n::text), ''hex'')'),
    ('hue', 'colour', '(''c'' || n)::colour'),
    ('bits', 'varbit', 'n::bit(8)::varbit'),
    ('span', 'interval', 'n * interval ''1 mon'''),
    ('list', 'int[]', 'ARRAY[n % 5, n]')
  ) AS kinds (name, type, key)
  LOOP
    name := 'of_' || kind.name;
    EXECUTE format('CREATE TABLE %I (key %s PRIMARY KEY, n int)', name, kind.type);
    EXECUTE format('INSERT INTO %I SELECT %s, n FROM generate_series(1, 40) n', name, kind.key);
    EXECUTE format('ALTER TABLE ref ADD %I %s REFERENCES %I', kind.name, kind.type, name);
    EXECUTE format('UPDATE ref SET %1$I = o.key FROM %2$I o WHERE o.n = ref.id %% 41',
      kind.name, name);
    CONTINUE WHEN kind.name NOT IN ('word', 'moment', 'list');
    EXECUTE format('CREATE TABLE %1$I (a %2$s REFERENCES %3$I, b %2$s REFERENCES %3$I,'
      ' at timestamptz, x float8, PRIMARY KEY (a, b, at, x))',
      'join_' || kind.name, kind.type, name);
    EXECUTE format('INSERT INTO %1$I SELECT a.key, b.key,'
      ' timestamptz ''2024-01-01 00:00+02'' + m * interval ''1 hour'', m'
      ' FROM %2$I a JOIN %2$I b ON b.n = a.n %% 40 + 1, generate_series(1, 3) m',
      'join_' || kind.name, name);
  END LOOP;
END $$;
CREATE TABLE keyless (what text, of_word text REFERENCES of_word, n int REFERENCES of_number);
INSERT INTO keyless SELECT 'same', w.key, w.n % 3 + 1 FROM of_word w, generate_series(1, 3);
CREATE TABLE keyless_parts (a int, b text) PARTITION BY HASH (a);
CREATE TABLE keyless_part PARTITION OF keyless_parts FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO keyless_parts SELECT n % 9, 'same' FROM generate_series(1, 100) n;
CREATE TABLE code (code text UNIQUE, n int);
INSERT INTO code SELECT 'code ' || n, n FROM generate_series(1, 50) n;
INSERT INTO code VALUES (NULL, 1), (NULL, 1);
CREATE TABLE keyless_join (a text NOT NULL REFERENCES code (code),
  b int NOT NULL REFERENCES of_number, note text);
INSERT INTO keyless_join
SELECT 'code ' || n % 50 + 1, n % 40 + 1, 'same' FROM generate_series(1, 120) n;
CREATE TABLE big (id int PRIMARY KEY, text text, at timestamptz, number int REFERENCES of_number);
INSERT INTO big SELECT n, 'text ' || n, '2024-01-01', n % 40 + 1 FROM generate_series(1, {big}) n;
INSERT INTO big VALUES (-1, 'dead', 'infinity', 1), (-2, 'dead', '-infinity', NULL);
""".replace("{colours}", ", ".join(f"'c{n}'" for n in range(1, 41)))


def script(big: int) -> str:
    """The database with so many rows in its biggest table."""
    return SQL.replace("{big}", str(big))


def request(dsn: str, folder: Path, **options: object) -> RunRequest:
    """A migration of `dsn` to a graph in `folder`, its mapping written beside it."""
    mapping = infer(read_catalog(dsn))
    save(mapping, folder / "mapping.yaml")
    return RunRequest(dsn, str(folder / "graph.grafeo"), mapping, **options)  # type: ignore[arg-type]


def journal_of(folder: Path) -> Path:
    return folder / "journal.sqlite3"


def resume(folder: Path) -> Runner:
    """Go on with the run to its end."""
    runner = Runner(resume=1, journal=journal_of(folder))
    runner.start()
    runner.join()
    return runner


def written(folder: Path) -> int:
    """How many rows the journal says are written."""
    journal = Journal(journal_of(folder))
    try:
        return sum(entity.rows for entity in journal.chunks.entities(1)) if journal.runs() else 0
    finally:
        journal.close()


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.01)


def assert_whole(dsn: str, folder: Path, runner: Runner) -> None:
    """The run ended well, and all but the two rows with infinity are in the graph, once."""
    assert runner.error is None, str(runner.error)
    assert runner.ledger is not None
    assert [e.verdict for e in runner.ledger.entries if not e.balanced] == []
    journal = Journal(journal_of(folder))
    try:
        letters = [(letter.entity, letter.key) for letter in journal.dead_letters.of(1, 1_000)]
        assert journal.run(1).state == "done"
    finally:
        journal.close()
    # Row -1 points at a number; no relationship can leave a node that is not there.
    assert [key for _, key in letters] == ["id=-2", "id=-1", "id=-1"]
    found = run_now(compare(dsn, folder / "graph.grafeo", None, folder / "mapping.yaml"))
    missing = [difference.key for difference in found.differences]
    assert sorted(missing) == ["(id=-1)->(key=1)", "id=-1", "id=-2"], found.verdict


def assert_plain(error: GeodeTuiError) -> None:
    """An error for a person: no class of a library, no traceback."""
    text = str(error)
    assert text
    assert not re.search(r"\w(Error|Exception)\b|Traceback|asyncpg|defect", text), text


def running_children() -> list[int]:
    """The processes of runs that this process started and that live."""
    return [pid for pid, parent in runs_alive() if parent == os.getpid()]


def runs_alive() -> Iterator[tuple[int, int]]:
    """Every living process of a run, with its parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if b"geode_tui.migration.process" in command and state != "Z":
            yield int(folder.name), int(parent)


# Stop


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_stopped_at_random_moments_ends_whole(
    seed: int, make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first row, in the middle, near the end: each time it goes on where it was."""
    monkeypatch.setattr(postgres_origin, "CHUNK_ROWS", 30)
    rng = random.Random(seed)
    dsn = make_database(script(600))
    runner = Runner(request(dsn, tmp_path, batch_rows=7), journal=journal_of(tmp_path))
    stops = 0
    for bound in [0, *sorted(rng.randrange(1, 3_000) for _ in range(3))]:
        runner.start()
        wait_until(lambda b=bound, r=runner: r.snapshot().rows_written >= b or r.finished)  # type: ignore[misc]
        runner.stop()
        runner.join()
        if runner.error is None:
            break
        assert isinstance(runner.error, RunStopped), str(runner.error)
        assert "geode-tui resume 1" in runner.error.next_step
        stops += 1
        runner = Runner(resume=1, journal=journal_of(tmp_path))
    assert stops >= 3
    assert_whole(dsn, tmp_path, resume(tmp_path))


def test_stop_after_the_end_is_no_error(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Whoever presses stop a moment too late sees a run that is done."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    runner = Runner(request(dsn, tmp_path), journal=journal_of(tmp_path))
    runner.start()
    runner.join()
    runner.stop()
    assert runner.error is None


# Kill

_DRIVE = """
import sys
from pathlib import Path
from geode_tui.mapping.file import load
from geode_tui.migration import postgres_origin
from geode_tui.migration.runner import Runner, RunRequest
dsn, folder = sys.argv[1], Path(sys.argv[2])
postgres_origin.CHUNK_ROWS = 30
journal = folder / "journal.sqlite3"
if sys.argv[3] == "new":
    mapping = load(folder / "mapping.yaml").mapping
    wanted = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, batch_rows=7)
    runner = Runner(wanted, journal=journal)
else:
    runner = Runner(resume=1, journal=journal)
runner.start()
runner.join()
"""


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_whole(
    seed: int, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """SIGKILL while it writes, three times; then it is resumed to its end."""
    rng = random.Random(seed)
    dsn = make_database(script(600))
    request(dsn, tmp_path)
    killed = 0
    for bound in sorted(rng.randrange(1, 3_500) for _ in range(3)):
        what = "resume" if killed else "new"
        child = subprocess.Popen([sys.executable, "-c", _DRIVE, dsn, str(tmp_path), what])
        wait_until(lambda b=bound, c=child: written(tmp_path) >= b or c.poll() is not None)  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        killed += child.wait() == -signal.SIGKILL
    assert killed == 3
    assert_whole(dsn, tmp_path, resume(tmp_path))


@pytest.mark.parametrize(
    "whose", ["all", "the snapshot's", pytest.param("a reader's", marks=pytest.mark.slow)]
)
def test_a_run_whose_sessions_are_terminated_goes_on_by_itself(
    whose: str, make_database: MakeDatabase, tmp_path: Path
) -> None:
    """An administrator ends its sessions: it says so, opens others, and ends whole."""
    dsn = make_database(script(3_000))
    runner = Runner(request(dsn, tmp_path, batch_rows=3), journal=journal_of(tmp_path))
    runner.start()
    wait_until(lambda: runner.snapshot().rows_written > 300 or runner.finished)
    assert not runner.finished
    # In the order of their start: the catalog's session, the snapshot's, the governor's, readers'.
    places = {"all": "0, 1, 2, 3, 4", "the snapshot's": "1", "a reader's": "3"}[whose]

    async def terminate() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return len(await connection.fetch(_TERMINATE.replace("{places}", places)))
        finally:
            await connection.close()

    assert run_now(terminate()) == len(places.split(","))
    runner.join()
    told = [event.message for event in runner.events() if event.level == "warning"]
    assert any("retry" in text or "snapshot" in text for text in told)
    assert not any(re.search(r"\w(Error|Exception)\b|Traceback", text) for text in told)
    assert_whole(dsn, tmp_path, runner)


_TERMINATE = """
SELECT pg_terminate_backend(pid, 5000) FROM (
  SELECT pid, row_number() OVER (ORDER BY backend_start) - 1 AS place FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'geode-tui') s
WHERE place IN ({places})
"""

# The interface's runner, whose engine is in a process of its own

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_run_in_a_process_of_its_own_gives_the_same_ledger(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Where the engine runs makes no difference to what it does."""
    dsn = make_database(script(500))
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    plain = Runner(request(dsn, here), journal=journal_of(here))
    other = ProcessRunner(request(dsn, there), journal=journal_of(there))
    for runner in (plain, other):
        runner.start()
        assert runner.join(WAIT_SECONDS)
        assert runner.finished
        assert runner.run_number == 1
    assert plain.ledger is not None
    assert other.ledger is not None
    # Without an order: statistics that come in between change which table is moved first.
    assert set(other.ledger.entries) == set(plain.ledger.entries)
    assert other.snapshot().state == plain.snapshot().state == "done"
    assert other.snapshot().rows_written == plain.snapshot().rows_written
    told = [[event.message for event in runner.events()] for runner in (plain, other)]
    assert len(told[0]) == len(told[1])
    assert_whole(dsn, there, other)


def test_a_run_in_a_process_of_its_own_stops_safely(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Stop at once after the start, then in the middle; it is resumed by the same class."""
    dsn = make_database(script(3_000))
    runner = ProcessRunner(request(dsn, tmp_path, batch_rows=3), journal=journal_of(tmp_path))
    for bound in (0, 300):
        runner.start()
        wait_until(lambda b=bound, r=runner: r.snapshot().rows_written >= b or r.finished)  # type: ignore[misc]
        runner.stop()
        assert runner.join(WAIT_SECONDS)
        assert isinstance(runner.error, RunStopped), str(runner.error)
        assert "geode-tui resume 1" in runner.error.next_step
        assert runner.snapshot().state == "stopped"
        assert raw_state(tmp_path) == "stopped"
        runner = ProcessRunner(resume=1, journal=journal_of(tmp_path))
    runner.start()
    assert runner.join(WAIT_SECONDS)
    runner.stop()  # too late, and no harm
    assert_whole(dsn, tmp_path, runner)


@linux
def test_a_run_whose_process_is_killed_says_how_to_go_on(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """Out of memory, or an administrator: the interface lives, and names the command."""
    dsn = make_database(script(3_000))
    runner = ProcessRunner(request(dsn, tmp_path, batch_rows=3), journal=journal_of(tmp_path))
    runner.start()
    wait_until(lambda: runner.snapshot().rows_written > 300 or runner.finished)
    (child,) = running_children()
    os.kill(child, signal.SIGKILL)
    assert runner.join(WAIT_SECONDS)
    assert runner.finished
    assert runner.error is not None
    assert_plain(runner.error)
    assert "geode-tui resume 1" in runner.error.next_step
    assert runner.snapshot().state == "stopped"
    again = ProcessRunner(resume=1, journal=journal_of(tmp_path))
    again.start()
    assert again.join(WAIT_SECONDS)
    assert_whole(dsn, tmp_path, again)


_INTERFACE = """
import sys
from pathlib import Path
from geode_tui.mapping.file import load
from geode_tui.migration.process import ProcessRunner
from geode_tui.migration.runner import RunRequest
dsn, folder = sys.argv[1], Path(sys.argv[2])
mapping = load(folder / "mapping.yaml").mapping
wanted = RunRequest(dsn, str(folder / "graph.grafeo"), mapping, batch_rows=3)
runner = ProcessRunner(wanted, journal=folder / "journal.sqlite3")
runner.start()
runner.join()
"""


def raw_state(folder: Path) -> str:
    """The state that the run itself wrote last (the journal's own answer sees dead processes)."""
    with sqlite3.connect(journal_of(folder)) as journal:
        (state,) = journal.execute("SELECT state FROM run").fetchone()
    journal.close()
    return str(state)


@linux
def test_a_run_stops_safely_when_its_interface_is_killed(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """The terminal is gone without a word: no run goes on that nobody can see or stop."""
    dsn = make_database(script(6_000))
    request(dsn, tmp_path)
    parent = subprocess.Popen([sys.executable, "-c", _INTERFACE, dsn, str(tmp_path)])
    wait_until(lambda: written(tmp_path) > 300 or parent.poll() is not None)
    (child,) = [pid for pid, of in runs_alive() if of == parent.pid]
    parent.kill()
    parent.wait()
    wait_until(lambda: child not in [pid for pid, _ in runs_alive()])
    assert raw_state(tmp_path) == "stopped"
    assert_whole(dsn, tmp_path, resume(tmp_path))


@linux
def test_a_password_is_in_no_argument_and_in_no_file(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """It goes to the process through a pipe, and nowhere else."""
    dsn = make_database(script(2_000))
    secret = "An0ther-pass"
    wanted = request(f"{dsn}&password={secret}", tmp_path, batch_rows=3, password=PASSWORD)
    runner = ProcessRunner(wanted, journal=journal_of(tmp_path))
    runner.start()
    wait_until(lambda: runner.snapshot().rows_written > 100 or runner.finished)
    (child,) = running_children()
    seen = [Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")]
    runner.stop()
    runner.join()
    assert isinstance(runner.error, RunStopped)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert state_folder() / "run.log" in files
    seen += [path.read_bytes() for path in files]
    seen += [repr(runner.snapshot()).encode(), repr(wanted).replace(wanted.source, "").encode()]
    for text in (secret, PASSWORD):
        assert not [n for n, content in enumerate(seen) if text.encode() in content]


def test_a_journal_that_cannot_be_opened_is_told_as_such(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """What keeps a process from beginning its run reaches the person who started it."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY)")
    runner = ProcessRunner(request(dsn, tmp_path), journal=tmp_path / "none" / "journal.sqlite3")
    runner.start()
    assert runner.join(WAIT_SECONDS)
    assert runner.error is not None
    assert "cannot open the journal" in runner.error.what


def test_files_of_the_working_folder_are_not_imported(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yaml.py where the person happens to be is data, not a part of the program."""
    dsn = make_database("CREATE TABLE t (id int PRIMARY KEY)")
    wanted = request(dsn, tmp_path)
    (tmp_path / "yaml.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    runner = ProcessRunner(wanted, journal=journal_of(tmp_path))
    runner.start()
    assert runner.join(WAIT_SECONDS)
    assert runner.error is None, str(runner.error)
