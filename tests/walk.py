"""A walk through a whole migration in a real terminal (tmux), as a person would type it.

Run it with `tests/walk.sh`. Every screen that was reached is printed; the walk ends with an error
when an expected text does not appear in time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

COLUMNS, LINES = 120, 40
PATIENCE = 60.0
"""Seconds after which an expected text is taken as missing."""


class WalkError(Exception):
    """Something expected did not appear; the message holds the last screen."""


class Terminal:
    """A terminal of a fixed size, driven by tmux on a server of its own."""

    def __init__(self, command: str, environment: Mapping[str, str], folder: Path) -> None:
        self._name = f"geode-tui-walk-{os.getpid()}"
        variables = [part for item in environment.items() for part in ("-e", "=".join(item))]
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        self._tmux(
            "-f", os.devnull, "new-session", "-d", *size, *variables, "-c", str(folder), command
        )

    def _tmux(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A size in the environment would win over the terminal's own.
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        return subprocess.run(
            ("tmux", "-L", self._name, *arguments),
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._tmux("has-session").returncode == 0

    @property
    def text(self) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p").stdout

    def press(self, *keys: str) -> None:
        """Press keys by their tmux names."""
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type a text."""
        self._tmux("send-keys", "-l", text)

    def sees(self, *texts: str) -> None:
        """Wait until all texts are there (any run of spaces is one)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            shown = self.text
            missing = [text for text in texts if _squeezed(text) not in _squeezed(shown)]
            if not missing:
                return
            if time.monotonic() > deadline or not self.alive:
                raise WalkError(f"missing: {missing}\n{shown}")
            time.sleep(0.1)

    def ends(self) -> None:
        """Wait until the program has left."""
        deadline = time.monotonic() + PATIENCE
        while self.alive:
            if time.monotonic() > deadline:
                raise WalkError(f"it did not end\n{self.text}")
            time.sleep(0.1)

    def close(self) -> None:
        """End the terminal and whatever still runs in it."""
        self._tmux("kill-server")


def walk(folder: Path, program: str) -> None:
    """Connect, look, rename, drop, save, run, and read that it balances."""
    environment = {
        f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("STATE", "CONFIG", "CACHE")
    }
    terminal = Terminal(f"'{program}' demo --rows 5000", environment, folder)
    try:
        _look(terminal)
        _map(terminal)
        _run(terminal)
    finally:
        terminal.close()


def _look(terminal: Terminal) -> None:
    terminal.sees("2 Schema ✓", "users", "order_items")
    terminal.press("1")
    terminal.sees("source", "target", "connect", "save as")
    terminal.press("C-o")
    terminal.sees("2 Schema ✓", "users", "order_items")
    _show("the schema", terminal)
    terminal.press("/")
    terminal.sees("clear filter")
    terminal.write("order_items")
    terminal.press("Enter")
    terminal.sees("shop.order_items", "product_id")
    _show("a table", terminal)


def _map(terminal: Terminal) -> None:
    terminal.press("3")
    terminal.sees("✓ node", "because:")
    terminal.press("/")
    terminal.sees("clear filter")
    terminal.write("shop.orders")
    terminal.press("Enter")
    terminal.sees("(:Order {")
    terminal.press("e")
    terminal.sees("rename label Order")
    terminal.press("C-u")
    terminal.sees("'' cannot be a label")
    terminal.write("Purchase")
    terminal.sees("│ Purchase ")
    terminal.press("Enter")
    terminal.sees("✓ node Purchase", "rules · not saved")
    terminal.press("Enter")
    terminal.sees("f expression")
    terminal.press("G", "x")
    terminal.sees("– note", "left out")
    _show("a label renamed, a property left out", terminal)
    terminal.press("C-s")
    terminal.sees("saved", "3 Map ✓")


def _run(terminal: Terminal) -> None:
    terminal.press("4")
    terminal.sees("start this run:")
    terminal.press("r")
    terminal.sees("start a run?", "0 action required")
    _show("the plan", terminal)
    terminal.press("Tab", "Enter")
    terminal.sees("is done: balanced", "✓ verify", "Purchase")
    _show("the run", terminal)
    terminal.press("5")
    terminal.sees("✓ balanced: every row of", "Purchase")
    _show("the report", terminal)
    terminal.press("6")
    terminal.sees("migrate ✓ done", "✓ balanced", "checkpoints begin")
    _show("the history", terminal)
    terminal.press("Enter")
    terminal.sees("done, reopened", "Purchase")
    terminal.press("q")
    terminal.ends()


def _show(title: str, terminal: Terminal) -> None:
    print(f"\n── {title} {'─' * (COLUMNS - len(title) - 4)}\n{terminal.text}", flush=True)


def _squeezed(text: str) -> str:
    return re.sub(r" +", " ", text)


def main() -> int:
    """Walk; 0 when every expected text appeared, 1 when one did not, 2 without tmux."""
    program = shutil.which("geode-tui", path=str(Path(sys.executable).parent))
    if shutil.which("tmux") is None or program is None:
        print("the walk needs tmux and an installed geode-tui", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(
        prefix="geode-tui-walk-", ignore_cleanup_errors=True
    ) as folder:
        try:
            walk(Path(folder), program)
        except WalkError as error:
            print(error, file=sys.stderr)
            return 1
    print("the walk went to its end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
