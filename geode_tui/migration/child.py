"""Work in a process of its own, for the interface: a call into the graph holds the interpreter.

The work is journaled: it goes on to its end when the interface goes away, and can be begun again
after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from geode_tui.errors import GeodeTuiError
from geode_tui.migration.dead_letters import Selection
from geode_tui.migration.journal import Journal
from geode_tui.paths import state_folder
from geode_tui.target import credentials

Tell = Callable[[str], None]

_CHILD = (
    "import sys; sys.path[:] = sys.argv[1:]; from geode_tui.migration.child import main; main()"
)


@dataclass(frozen=True)
class _Ended:
    result: Any = None
    error: GeodeTuiError | None = None


def run_in_child[T](work: Callable[..., T], *arguments: Any, tell: Tell) -> T:
    """Call `work(*arguments, tell=…)` in a process of its own and wait; `tell` gets its words.

    `work` is a function of a module, and all that goes in and out can be pickled; a password among
    the arguments goes through a pipe. Raises the GeodeTuiError of the work, or one that says that
    the process died.
    """
    # A session of its own: neither Ctrl-C nor the end of the terminal ends it half-way.
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            pickle.dump((credentials.known(), work, arguments), child.stdin)
            child.stdin.close()
            while not isinstance(message := pickle.load(child.stdout), _Ended):
                tell(message)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise GeodeTuiError(
                "the process that did it has died",
                f"what it said last is in {_log_file()}",
                "what was done is journaled: begin it again to go on",
            ) from error
    if message.error is not None:
        raise message.error
    result: T = message.result
    return result


async def in_child[T](work: Callable[..., T], *arguments: Any, tell: Tell) -> T:
    """The same without holding up the event loop.

    Who stops waiting, or leaves the program, does not stop the work; `tell` is called in a thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def end(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(T, result))

    def wait() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = run_in_child(work, *arguments, tell=tell), None
        except Exception as error:
            outcome = None, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(end, *outcome)

    # Not the loop's own threads: those are waited for when the program is left.
    threading.Thread(target=wait, name="child", daemon=True).start()
    return await future


def main() -> None:
    """The child: do the work, tell, and hand over how it ended."""
    hear, speak = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _write_to_log()
    passwords, work, arguments = pickle.load(hear)
    credentials.learn(passwords)

    def say(message: object) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens: the work goes on
            pickle.dump(message, speak)
            speak.flush()

    try:
        ended = _Ended(work(*arguments, tell=say))
    except GeodeTuiError as error:
        ended = _Ended(error=error)
    except Exception as error:
        defect = f"defect in geode-tui: {type(error).__name__}: {error}"
        ended = _Ended(error=GeodeTuiError(defect, "", "report it"))
    say(ended)


def retry(
    run: int, selection: Selection, source: str | None, password: str | None, tell: Tell
) -> str:
    """Retry dead letters; returns what became of them, in words. Raises GeodeTuiError."""
    from geode_tui.migration.letter_retry import retry_letters

    with contextlib.closing(Journal()) as journal:
        work = retry_letters(journal, run, selection, source=source, password=password, tell=tell)
        return asyncio.run(work).summary


def roll_back(run: int, to: str | None, tell: Tell) -> str:
    """Roll a run back to a checkpoint, or all of it; returns what was done, in words.

    Raises GeodeTuiError, also where the graph does not balance afterwards.
    """
    from geode_tui.migration import rollback

    with contextlib.closing(Journal()) as journal:
        ledger = rollback.roll_back(journal, run, to, tell)
    wrong = [entry for entry in ledger.entries if not entry.balanced]
    if wrong:
        raise GeodeTuiError(
            f"run {run} is {ledger.state}, and its ledger differs in {len(wrong)} entries",
            "; ".join(f"{entry.id}: {entry.verdict}" for entry in wrong[:5]),
            "somebody else changed the graph: look at it before you go on",
        )
    where = f"back at checkpoint {ledger.checkpoint}" if ledger.checkpoint else "rolled back"
    return (
        f"{where}: {ledger.nodes:,} nodes and {ledger.relationships:,} relationships removed,"
        f" {ledger.images:,} put back as they were; balanced"
    )


def _write_to_log() -> None:
    """Whatever a library prints goes to a file: the terminal is the interface's."""
    log = os.open(_log_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _log_file() -> str:
    return str(state_folder() / "work.log")
