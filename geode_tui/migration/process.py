"""A run in a process of its own, for the interface: its interpreter stays free to draw.

The child drives the engine and sends its counters a few times a second. When the interface goes
away, however it goes, the child sees the end of the pipe and stops the run safely.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.events import PHASES, Event, RunSnapshot
from geode_tui.migration.progress import Progress
from geode_tui.migration.runner import Runner, Work
from geode_tui.paths import state_folder
from geode_tui.target import credentials
from geode_tui.validation.ledger import Ledger

SEND_SECONDS = 0.2
_STOP = "stop"
_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from geode_tui.migration.process import main; main()"
)


@dataclass(frozen=True)
class _Outfit:
    """What the child is given: the work, and the passwords of targets, in memory only."""

    work: Work
    passwords: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class _Report:
    """What the child tells: the counters, and at the end how it ended."""

    snapshot: RunSnapshot
    events: list[Event]
    run_number: int | None
    final: bool = False
    ledger: Ledger | None = None
    error: GeodeTuiError | None = None


class ProcessRunner(Runner):
    """A `Runner` whose engine lives in another process."""

    def _prepare(self) -> None:
        self._pending: deque[Event] = deque()
        self._child: subprocess.Popen[bytes] | None = None
        self._last = _Report(Progress(PHASES).snapshot(), [], self._work.resume)

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, after verify."""
        return self._last.ledger

    @property
    def run_number(self) -> int | None:
        """The run's number in the journal, None before it has one."""
        return self._last.run_number

    def start(self) -> None:
        """Begin; returns at once."""
        # Not multiprocessing: it hands sys.stderr on, which Textual replaces by one without a file.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._tell(_Outfit(self._work, credentials.known()))
        self._thread.start()

    def stop(self) -> None:
        """Stop safely: the chunks in flight are finished, the run can be resumed."""
        self._tell(_STOP)

    def snapshot(self) -> RunSnapshot:
        """The counters as last sent."""
        return self._last.snapshot

    def events(self) -> list[Event]:
        """The happenings since the last call."""
        taken = []
        while self._pending:
            taken.append(self._pending.popleft())
        return taken

    def _tell(self, message: object) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended; its last report says how
            pickle.dump(message, self._child.stdin)
            self._child.stdin.flush()

    def _main(self) -> None:
        """Take the child's reports until it has ended."""
        assert self._child is not None
        assert self._child.stdout is not None
        try:
            while not self._last.final:
                report: _Report = pickle.load(self._child.stdout)
                self._pending.extend(report.events)
                self.error = report.error
                self._last = report
        except (EOFError, OSError, pickle.UnpicklingError):
            self._died()
        finally:
            with contextlib.suppress(OSError):
                self._tell(_STOP)
            self._child.wait()

    def _died(self) -> None:
        """The child went without a last word: killed, or out of memory."""
        number = self.run_number
        self.error = GeodeTuiError(
            "the process of the run has died",
            f"what it said last is in {_log_file()}",
            f"go on with: geode-tui resume {number}" if number else "begin again",
        )
        snapshot = replace(self._last.snapshot, state="stopped", error=self.error.what, workers=())
        self._last = replace(self._last, snapshot=snapshot, final=True)


def main() -> None:
    """The child: drive the run, report, and stop when asked or when nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the interface's to understand
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # when the line drops, the pipe ends too
    os.nice(5)  # on a small machine the interface draws first
    hear, speak = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _write_to_log()
    outfit: _Outfit = pickle.load(hear)
    credentials.learn(outfit.passwords)
    work = outfit.work
    try:
        runner = Runner(**vars(work))
    except GeodeTuiError as error:
        _send(speak, _refused(error, work.resume))
        return
    signal.signal(signal.SIGTERM, lambda number, frame: runner.stop())
    threading.Thread(target=_hear, args=(hear, runner), daemon=True).start()
    runner.start()
    with contextlib.suppress(BrokenPipeError):
        while not runner.join(SEND_SECONDS):
            _report(speak, runner, final=False)
        _report(speak, runner, final=True)
    runner.join()


def _hear(hear: IO[bytes], runner: Runner) -> None:
    """Whatever comes, even the end of the pipe, means: stop safely."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        pickle.load(hear)
    runner.stop()


def _report(speak: IO[bytes], runner: Runner, final: bool) -> None:
    snapshot, events, number = runner.snapshot(), runner.events(), runner.run_number
    ledger = runner.ledger if final else None
    error = runner.error if final else None
    _send(speak, _Report(snapshot, events, number, final, ledger, error))


def _send(speak: IO[bytes], report: _Report) -> None:
    pickle.dump(report, speak)
    speak.flush()


def _refused(error: GeodeTuiError, number: int | None) -> _Report:
    """The report of a run that could not begin."""
    snapshot = replace(Progress(PHASES).snapshot(), state="failed", error=error.what)
    return _Report(snapshot, [], number, True, None, error)


def _write_to_log() -> None:
    """Whatever a library prints goes to a file: the terminal is the interface's."""
    log = os.open(_log_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _log_file() -> Path:
    return state_folder() / "run.log"
