"""The command line as a user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.cli import main
from tests.conftest import run_now

PROGRAM = (sys.executable, "-m", "geode_tui")
SECONDS = 120  # only so that a hanging process cannot hang the tests for ever


@dataclass(frozen=True)
class Finished:
    """What a command line ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> list[str]:
        """The lines of the error on stderr, from `geode-tui:` on; empty where there is none."""
        lines = self.err.splitlines()
        starts = [n for n, line in enumerate(lines) if line.startswith("geode-tui: ")]
        return lines[starts[-1] :] if starts else []


class CommandLine:
    """Runs `geode-tui` in `folder`, with settings and journals below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def state(self) -> Path:
        """The folder of the journal."""
        return self.folder / "state" / "geode-tui"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of its processes: nothing of the person's own settings."""
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PG", "XDG_"))}
        folders = {
            f"XDG_{name}_HOME": str(self.folder / name.lower())
            for name in ("STATE", "CONFIG", "CACHE", "DATA")
        }
        project = str(Path(__file__).resolve().parent.parent)
        return {**kept, **folders, "PYTHONPATH": project, **(extra or {})}

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        program: tuple[str, ...] = PROGRAM,
        before: Callable[[], None] | None = None,
    ) -> Finished:
        """Run one command line to its end; `before` runs in the child, before the program."""
        done = subprocess.run(
            [*program, *arguments],
            cwd=self.folder,
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            preexec_fn=before,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_here(self, *arguments: str) -> Finished:
        """The same in this process, which is quicker; for a main thread only."""
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            for name, value in self.environment().items():
                patch.setenv(name, value)
            code = main(arguments)
        return Finished(code, out.getvalue(), err.getvalue())

    @contextmanager
    def start(self, *arguments: str) -> Iterator[Started]:
        """Start a command line and let the test watch it; it does not outlive the block."""
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Started(process)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Started:
    """A command line that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.out, self._err = process.stdout, process.stderr
        self._told = ""

    def wait_for(self, text: str) -> None:
        """Wait until a line of its narration holds `text`."""
        for line in self._err:
            self._told += line
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}:\n{self._told}")

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def finish(self) -> Finished:
        """Wait for its end."""
        out, err = self._process.communicate(timeout=SECONDS)
        return Finished(self._process.returncode, out, self._told + err)


def execute(dsn: str, *statements: str) -> None:
    """Run statements in a database, each in a transaction of its own."""

    async def work() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_now(work())
