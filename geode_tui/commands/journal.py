"""`status`: where a run stands, from any terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from geode_tui.commands.output import show, show_json
from geode_tui.commands.standing import HighWater, is_going, status_document, status_text
from geode_tui.errors import EXIT_OK, UsageError
from geode_tui.migration.journal import Journal

FOLLOW_SECONDS = 1.0


def status(arguments: argparse.Namespace) -> int:
    """Print where a run stands (the newest by default); `--follow` until it is over."""
    journal = Journal()
    number = arguments.run or newest_run(journal)
    if not arguments.follow:
        document = status_document(journal, number)
        show_json(document) if arguments.json else _show_lines(status_text(document))
        return EXIT_OK
    seen = HighWater()
    with _follower(arguments.json) as tell:
        while is_going(document := status_document(journal, number, seen)):
            tell(document)
            time.sleep(FOLLOW_SECONDS)
    show_json(document, indent=None) if arguments.json else _show_lines(status_text(document))
    return EXIT_OK


@contextmanager
def _follower(json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """How to show a run that goes: JSON lines, drawn in place on a terminal, or what changed."""
    if json:
        yield lambda document: show_json(document, indent=None)
    elif sys.stdout.isatty():
        console = Console(highlight=False, markup=False)
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda document: live.update(Text(status_text(document)), refresh=True)
    else:
        last = ""

        def tell(document: dict[str, Any]) -> None:
            nonlocal last
            if (text := status_text(document)) != last:
                last = text
                _show_lines(text)

        yield tell


def newest_run(journal: Journal) -> int:
    """The number of the newest run. Raises UsageError when there is none."""
    records = journal.runs()
    if not records:
        raise UsageError("there is no run yet", "", "begin one with: geode-tui migrate")
    return records[0].number


def _show_lines(text: str) -> None:
    for line in text.split("\n"):
        show(line)
