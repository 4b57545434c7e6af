"""docs/cutover.md: the runbook is run from its first command to its last, while others write.

What is put in place of what the page says: the source, the number of the run, `--yes` where a
person would type the target's name, and shorter waits.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.errors import EXIT_DIFFERS
from geode_tui.migration.replication.gates import TITLES
from geode_tui.migration.replication.hooks import HOOKS
from geode_tui.target import open_target
from tests.command_line import CommandLine, Finished, Started, execute
from tests.conftest import MakeDatabase, run_now
from tests.documentation import documented_keys
from tests.independent_comparison import compare
from tests.moved import SQL, writing
from tests.source_state import state_of

PAGE = (Path(__file__).parent.parent / "docs" / "cutover.md").read_text(encoding="utf-8")
PATIENCE = 60.0
WATCHED = "watch: keep it, or fall back"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _commands(page: str = PAGE) -> list[str]:
    """All lines that a person types, in their order: commands, and SQL."""
    found = re.findall(r"```(sh|sql)\n(.*?)```", page, re.DOTALL)
    return [line for _, block in found for line in block.splitlines() if line]


[_GIVE_UP] = [chapter for chapter in PAGE.split("\n## ") if chapter.startswith("Give up\n")]


@dataclass
class Night:
    """The person at the keyboard: one command after the other, `sync` in a terminal of its own."""

    line: CommandLine
    dsn: str
    writers: ExitStack
    others: ExitStack = field(default_factory=ExitStack)
    following: Started | None = None
    cutting: Started | None = None
    done: dict[str, Finished] = field(default_factory=dict)

    def words(self, command: str) -> list[str]:
        """A command of the page as it is run here."""
        program, *words = shlex.split(command)
        assert program == "geode-tui", command
        words = [{"7": "1", "postgresql://me@db1/shop": self.dsn}.get(w, w) for w in words]
        if words[0] == "parallel":
            words[words.index("--interval") + 1] = "0.2"
        if words[0] == "cutover":
            words += ["--yes", "--calm", "0.5", "--budget", "20"]
        return [*words, "--yes"] if words[0] == "rollback" else words

    def run(self, command: str, code: int = 0) -> Finished:
        """Run a command to its end; it must end as the page says."""
        done = self.line.run_here(*self.words(command))
        assert done.code == code, f"{command}\n{done.out}\n{done.err}"
        self.done.setdefault(command, done)
        return done

    def start(self, command: str) -> Started:
        return self.others.enter_context(self.line.start(*self.words(command)))

    # -- what is special about some of them --------------------------------------------------------

    def follow(self, command: str) -> None:
        """`sync`, until it is in step."""
        self.following = self.start(command)
        self.until(lambda told: told["sync"] and told["sync"]["state"] == "in step")

    def until(self, wanted: Callable[[dict[str, Any]], object]) -> None:
        """Wait until `status --json` tells what is wanted."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            told = self.line.run_here("status", "1", "--json").json
            if wanted(told):
                return
            time.sleep(0.1)
        raise AssertionError(f"not told: {told}")

    def stop_following(self) -> None:
        """Ctrl-C, where `sync` goes."""
        following, self.following = self.following, None
        if following is not None:
            following.send(signal.SIGINT)
            ended = following.finish()
            assert ended.code == 0, ended.err

    def heal(self, command: str) -> None:
        """Somebody drops the slot under `sync`: it is named, and healed by the command."""
        following, self.following = self.following, None
        assert following is not None
        run_now(_drop_slot(self.dsn))
        ended = following.finish()
        assert ended.code == 1
        assert "is not there" in ended.err
        assert re.search(r"^! slot .* is not there.*geode-tui sync 1 --heal$", ended.out, re.M)
        self.run(command)

    def heal_graph(self, command: str) -> None:
        """Somebody has written to the graph: it is found, and mended by the command."""
        graph = open_target(str(self.line.folder / "shop.grafeo"), None, create=False)
        graph.run_together([("MATCH (c:Customer {id: 5}) DETACH DELETE c", {})], lambda told: None)
        graph.close()
        assert "mismatched" in self.run("geode-tui sync 7 --validate", EXIT_DIFFERS).out
        self.run(command)

    def parallel(self, command: str) -> None:
        """A file: nobody writes meanwhile."""
        self.writers.close()
        self.run("geode-tui sync 7 --once")
        assert re.search(r"^turnover +3 +0 .* the same$", self.run(command).out, re.M)
        self.writers.enter_context(writing(self.dsn))

    def gates(self, command: str) -> None:
        """A row that cannot be carried shuts a gate, unless it is agreed on."""
        assert _gate(self.run(command).out) == []
        if "--waive" not in command:
            execute(self.dsn, "INSERT INTO customer VALUES (900, 'nan', 'NaN')")
            assert _gate(self.run(command, 1).out) == ["dead_letters"]

    def retry(self, command: str) -> None:
        """The row is mended first; another one comes, to be waived."""
        execute(self.dsn, "UPDATE customer SET score = 1 WHERE id = 900")
        self.run(command)
        execute(self.dsn, "INSERT INTO customer VALUES (901, 'nan', 'NaN')")
        self.run("geode-tui sync 7 --once")

    def abort(self, command: str) -> None:
        """A cutover that goes is taken back from another terminal, with writes standing still."""
        self.run("geode-tui sync 7 --once")
        before = self.source()
        cutting = self.start("geode-tui cutover 7 --on-flip 'sleep 60'")
        cutting.wait_for("▶ mark the graph as live")
        assert "cutover aborted" in self.run(command).out
        ended = cutting.finish()
        assert ended.code == 1
        assert "everything is as it was" in ended.err
        assert self.source() == before
        assert not self._refused()

    def cut_over(self, command: str) -> None:
        """Until its watch window is open; a `sync` that goes is asked to stop."""
        self.follow("geode-tui sync 7")
        self._flip(command)
        assert self.following is not None
        assert self.following.finish().code == 0
        self.following = None

    def _flip(self, command: str) -> None:
        self.cutting = self.start(command)
        self.cutting.wait_for(WATCHED)
        assert self._refused()
        assert (
            "cutover watching · watch: keep it, or fall back" in self.run("geode-tui status 7").out
        )

    def preview(self, command: str) -> None:
        """Ctrl-C ends the watching, and nothing else."""
        assert self.cutting is not None
        self.cutting.send(signal.SIGINT)
        assert self.cutting.finish().code == 130
        assert self._refused()
        assert "0 rows would be written" in self.run(command).out

    def fall_back(self, command: str) -> None:
        """The source takes writes again; there the last refused row is mended."""
        self.run(command)
        execute(self.dsn, "UPDATE customer SET score = 1 WHERE id = 901")

    def keep(self, command: str) -> None:
        """The cutover once more, for good this time."""
        [begun] = [one for one in _commands() if "--on-flip" in one]
        self._flip(begun)
        assert "cutover kept" in self.run(command).out
        assert self.cutting is not None
        assert self.cutting.finish().code == 0
        self.writers.close()
        assert run_now(_ours(self.dsn)) == 0
        found = run_now(compare(self.dsn, self.line.folder / "shop.grafeo", None, self.mapping))
        assert found.equal, found

    @property
    def mapping(self) -> Path:
        return self.line.folder / "mapping.yaml"

    def source(self) -> dict[str, Any]:
        """What of us could be left on the source; the locks are those of who writes."""
        return {name: one for name, one in run_now(state_of(self.dsn)).items() if name != "locks"}

    def _refused(self) -> bool:
        try:
            execute(self.dsn, "UPDATE customer SET name = name WHERE id = 1")
        except asyncpg.ReadOnlySQLTransactionError:
            return True
        return False

    def sql(self, statement: str) -> None:
        """What can be done with the database alone."""
        rows = run_now(_fetch(self.dsn, statement))
        if "pg_namespace" in statement:
            [(name, why)] = rows
            assert why.startswith("geode-tui: run 1 is cut over to ")
            execute(self.dsn, f'DROP SCHEMA "{name}" CASCADE')
            assert not self._refused()


def _gate(text: str) -> list[str]:
    """The gates that are shut, by their marks."""
    shut = [line for line in text.splitlines() if line.startswith(("✗", "!"))]
    return [line.split()[1] for line in shut if "(waived by " not in line]


async def _fetch(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def _ours(dsn: str) -> int:
    """How many slots and publications there are."""
    there = (
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
        " UNION ALL SELECT pubname FROM pg_publication"
    )
    return len(await _fetch(dsn, there))


async def _drop_slot(dsn: str) -> None:
    """Drop the slot at a moment when nobody reads it."""
    drop = (
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
        " WHERE database = current_database()"
    )
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(asyncpg.ObjectInUseError):
            await _fetch(dsn, drop)
            return


@pytest.fixture
def night(make_database: MakeDatabase, tmp_path: Path) -> Iterator[Night]:
    """A source that is written to, and the two scripts of the page."""
    for name in ("to-graph.sh", "to-source.sh"):
        (tmp_path / name).write_text(f"#!/bin/sh\nenv | grep ^MIG_ > {name}.told\n")
        (tmp_path / name).chmod(0o755)
    dsn = make_database(SQL)
    with ExitStack() as writers, ExitStack() as others:
        writers.enter_context(writing(dsn))
        yield Night(CommandLine(tmp_path), dsn, writers, others)


SPECIAL: dict[str, Callable[[Night, str], object]] = {
    "geode-tui sync 7": Night.follow,
    "geode-tui sync 7 --heal --once": Night.heal,
    "geode-tui sync 7 --heal --validate": Night.heal_graph,
    "geode-tui parallel": Night.parallel,
    "geode-tui cutover 7 --gates": Night.gates,
    "geode-tui deadletters retry": Night.retry,
    "geode-tui cutover 7 --abort": Night.abort,
    "geode-tui cutover 7 --on-flip": Night.cut_over,
    "geode-tui cutover 7 --fall-back --preview": Night.preview,
    "geode-tui cutover 7 --fall-back": Night.fall_back,
    "geode-tui cutover 7 --keep": Night.keep,
    "SELECT": Night.sql,
}


def _way(command: str) -> Callable[[Night, str], object]:
    """How a command is run: what its longest known beginning says, else simply to its end."""
    known = [begin for begin in SPECIAL if command.startswith(begin)]
    if command.startswith("geode-tui sync 7 -"):
        known = [begin for begin in known if begin == command]
    return SPECIAL[max(known, key=len)] if known else Night.run


def test_the_runbook_from_its_first_command_to_its_last(night: Night) -> None:
    """Each ends with the code that the page says, and no write that was not refused is lost."""
    for command in _commands(PAGE.replace(_GIVE_UP, "")):
        if command == "geode-tui sync 7 --validate":
            night.stop_following()
        _way(command)(night, command)
        if command.startswith("geode-tui map "):
            with night.mapping.open("a") as file:
                file.write(_blocks("yaml")[0])
    told = json.loads(night.done["geode-tui status 7 --json"].out)
    assert told["sync"].keys() == documented_keys("synchronization")
    assert told["sync"]["entities"][0].keys() == documented_keys("synchronized entity")
    hook = (night.line.folder / "to-graph.sh.told").read_text()
    assert {line.split("=")[0] for line in hook.splitlines()} == set(
        re.findall(r"`(MIG_\w+)`", PAGE)
    )
    assert (night.line.folder / "to-source.sh.told").exists()
    for command, says in (
        ("geode-tui migrate", "the ledger balances"),
        ("geode-tui sync 7 --validate", "the ledger balances"),
        ("geode-tui sync 7 --heal --validate", "the ledger balances"),
        ("geode-tui cutover 7 --rehearse", "rehearsal rehearsed"),
        ("geode-tui status 7", "sync in step by slot"),
    ):
        [out] = [done.out for told, done in night.done.items() if told.startswith(command)][:1]
        assert says in out, command


def test_who_gives_up_leaves_nothing_behind(night: Night) -> None:
    """Neither on the source nor in the graph, while others write."""
    before = night.source()
    for command in _commands():
        if command.startswith(("geode-tui map ", "geode-tui migrate ")):
            night.run(command)
    assert run_now(_ours(night.dsn)) == 2
    for command in _commands(_GIVE_UP):
        night.run(command)
    assert run_now(_ours(night.dsn)) == 0
    assert night.source() == before
    count = night.line.run_here(
        "query", "--target", "shop.grafeo", "MATCH (n) RETURN count(n) AS n"
    )
    assert count.out.split()[-1] == "0"


def test_the_page_names_all_gates_and_hooks() -> None:
    """And no others."""
    table = PAGE.split("| gate | shut when | do |\n")[1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(TITLES)
    named = set(re.findall(r"`--((?:on|before|hold)-[a-z-]+)", PAGE))
    assert named <= set(HOOKS)
