"""`sync`: lead the graph along with the changes of the source, from the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from geode_tui.commands.arguments import log_in_again, source_of, target_of
from geode_tui.commands.migrate import follow
from geode_tui.commands.output import ledger_document, say, show, show_json, show_ledger
from geode_tui.commands.standing import sync_lines
from geode_tui.errors import EXIT_DIFFERS, EXIT_INTERRUPTED, EXIT_OK, RunStopped, UsageError
from geode_tui.mapping.file import load, mapping_hash
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.replication.follow import CYCLE_SECONDS
from geode_tui.migration.replication.replica import require_capture
from geode_tui.migration.replication.sync_engine import sync_request
from geode_tui.migration.runner import Runner
from geode_tui.target.geode_dsn import graph_identity
from geode_tui.validation.ledger import Ledger


def sync(arguments: argparse.Namespace) -> int:
    """Follow the source until it is stopped, or with `--once` until the graph has caught up."""
    journal = Journal()
    record = captured_run(journal, arguments)
    log_in_again(record.target)
    interval = CYCLE_SECONDS if arguments.interval is None else arguments.interval
    request = sync_request(
        record,
        journal,
        source=source_of(arguments),
        once=arguments.once,
        interval=interval,
        heal=arguments.heal,
        validate=arguments.validate,
    )
    say(f"run {record.number}: {record.source} to {record.place}")
    runner = Runner(request)
    pressed = follow(runner)
    validated = arguments.validate and runner.error is None
    if not validated:
        _show(Journal(), record.number, arguments.json)
    if runner.error is not None and not isinstance(runner.error, RunStopped):
        raise runner.error
    if validated and runner.ledger is not None:
        return _judge(runner.ledger, record.number, arguments.json)
    return EXIT_INTERRUPTED if pressed and request.once else EXIT_OK


def _judge(ledger: Ledger, run: int, json: bool) -> int:
    """Print a ledger; exit 4 when the graph differs."""
    if json:
        show_json({"run": run, **ledger_document(ledger)})
    else:
        show_ledger(ledger)
    return EXIT_OK if ledger.valid else EXIT_DIFFERS


def captured_run(journal: Journal, arguments: argparse.Namespace) -> RunRecord:
    """The run that is named, or the newest on the target that captures changes.

    Raises UsageError where there is none, or its mapping is another than the one that is named.
    """
    if arguments.run:
        record = journal.run(arguments.run)
        require_capture(journal, record)
    else:
        record = _newest(journal, arguments)
    if arguments.mapping:
        named = mapping_hash(load(Path(arguments.mapping)).mapping)
        if named != record.mapping_hash:
            raise UsageError(
                f"run {record.number} was begun with another mapping than {arguments.mapping}",
                "changes are applied by the mapping that the rows were moved by",
                "leave --mapping out; or migrate anew with it",
            )
    return record


def _newest(journal: Journal, arguments: argparse.Namespace) -> RunRecord:
    place, graph = target_of(arguments) if arguments.target else ("", None)
    for record in journal.runs():
        capture = journal.captures.of(record.number)
        same = not place or record.graph_identity == (graph_identity(place), graph or "")
        if same and capture is not None and capture.state != "torn down":
            require_capture(journal, record)
            return record
    where = f" of {place}" if place else ""
    raise UsageError(
        f"no run{where} captures changes",
        "",
        "migrate with: geode-tui migrate --strategy zero-downtime",
    )


def _show(journal: Journal, number: int, json: bool) -> None:
    snapshot = journal.captures.sync(number)
    if snapshot is None:
        return
    if json:
        show_json(asdict(snapshot))
        return
    for line in sync_lines(asdict(snapshot)):
        show(line)
