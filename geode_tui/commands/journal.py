"""`status` and `runs`: the journal, read from any terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from geode_tui.commands.output import (
    aligned,
    duration,
    ledger_document,
    moment,
    show,
    show_json,
    show_ledger,
)
from geode_tui.commands.standing import HighWater, is_going, status_document, status_text
from geode_tui.errors import EXIT_OK, UsageError
from geode_tui.migration.journal import Journal, RunRecord

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


def runs(arguments: argparse.Namespace) -> int:
    """Print all runs, or one of them whole."""
    journal = Journal()
    if arguments.action == "show":
        return _show_run(journal, arguments)
    records = journal.runs()
    if arguments.json:
        show_json([_record_document(record) for record in records])
        return EXIT_OK
    header = ("run", "state", "source", "target", "started", "took", "error")
    rows = [
        (
            str(r.number),
            r.state,
            r.source,
            f"{r.target}#{r.graph}" if r.graph else r.target,
            moment(r.started),
            duration(r.ended - r.started if r.ended else None),
            r.error.split("\n")[0],
        )
        for r in records
    ]
    for line in aligned(header, rows, ">____>_"):
        show(line)
    return EXIT_OK


def newest_run(journal: Journal) -> int:
    """The number of the newest run. Raises UsageError when there is none."""
    records = journal.runs()
    if not records:
        raise UsageError("there is no run yet", "", "begin one with: geode-tui migrate")
    return records[0].number


def _show_lines(text: str) -> None:
    for line in text.split("\n"):
        show(line)


def _show_run(journal: Journal, arguments: argparse.Namespace) -> int:
    number = arguments.run or newest_run(journal)
    record, ledger = journal.run(number), journal.ledger(number)
    document = status_document(journal, number)
    events, letters = journal.events(number), journal.dead_letters.of(number)
    if arguments.json:
        document |= {
            "findings": [asdict(finding) for finding in journal.findings(number)],
            "events": [asdict(event) for event in events],
            "dead_letters": [asdict(letter) for letter in letters],
            "ledger": ledger_document(ledger) if ledger else None,
            "fence": record.fence,
            "mapping_hash": record.mapping_hash,
        }
        show_json(document)
        return EXIT_OK
    _show_lines(status_text(document))
    for event in events:
        show(f"{moment(event.at)} {event.level:7} {event.message}")
    for letter in letters:
        show(f"dead letter {letter.entity} {letter.key}: {letter.error_class}: {letter.reason}")
    if ledger is not None:
        show_ledger(ledger)
    return EXIT_OK


def _record_document(record: RunRecord) -> dict[str, Any]:
    return asdict(record) | {"resumable": record.resumable}
