"""`rollback`: take back what a run wrote, from the command line."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from geode_tui.commands.arguments import log_in_again
from geode_tui.commands.output import aligned, moment, say, show, show_json, visible
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, UsageError
from geode_tui.migration.checkpoints import BEGINNING, Checkpoint
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.rollback import RollbackLedger, roll_back, rollback_goal
from geode_tui.target.geode_dsn import target_name


def rollback(arguments: argparse.Namespace) -> int:
    """Take a run back to a checkpoint, or to before it began; exit 4 when the ledger differs."""
    journal = Journal()
    number = arguments.run
    goal = rollback_goal(journal, number, arguments.to)
    record = journal.run(number)
    _tell_goal(journal, record, goal)
    if not arguments.yes:
        require_name(record)
    log_in_again(record.target)
    try:
        ledger = roll_back(journal, number, goal.name, say)
    except KeyboardInterrupt:
        if journal.run(number).state == "rolling back":
            say(f"the rollback is not done; end it with: geode-tui rollback {number}")
        raise
    if arguments.json:
        show_json(rollback_document(ledger))
    else:
        _show(ledger)
    return EXIT_OK if ledger.balanced else EXIT_DIFFERS


def require_name(record: RunRecord, what: str = "rollback removes rows from") -> None:
    """Have a person type the target's name. Raises UsageError where it is not typed."""
    name = target_name(record.target, record.graph)
    if not sys.stdin.isatty():
        raise UsageError(
            f"{what} {record.place}",
            "it asks for the target's name, and there is no terminal to answer",
            "answer with --yes",
        )
    print(f"type {visible(name)} to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise UsageError("that is not the target's name: nothing was changed")


def rollback_document(ledger: RollbackLedger) -> dict[str, Any]:
    """The ledger of a rollback as a JSON document (docs/cli.md)."""
    entries = [
        asdict(entry) | {"balanced": entry.balanced, "verdict": entry.verdict}
        for entry in ledger.entries
    ]
    return asdict(ledger) | {"entries": entries, "balanced": ledger.balanced}


def _tell_goal(journal: Journal, record: RunRecord, goal: Checkpoint) -> None:
    rows = sum(entity.rows for entity in journal.chunks.entities(record.number))
    kept = sum(goal.rows.values())
    where = "before it began"
    if goal.name != BEGINNING:
        where = f"checkpoint {goal.name} of {moment(goal.at)}"
    stays = f" of {rows:,} rows in the graph {kept:,} stay"
    if record.kind == "repair":
        stays = " what it wrote, replaced and removed is put back"
    say(f"run {record.number} on {record.place}, {record.state}: back to {where};{stays}")


def _show(ledger: RollbackLedger) -> None:
    header = ("entity", "rows left", "in graph", "before the run", "others now", "verdict")
    rows = [
        (
            entry.id,
            f"{entry.rows:,}",
            f"{entry.in_graph:,}",
            f"{entry.before:,}",
            f"{entry.others:,}",
            f"{'✓' if entry.balanced else '✗'} {entry.verdict}",
        )
        for entry in ledger.entries
    ]
    for line in aligned(header, rows, "_>>>>_"):
        show(line)
    wrong = sum(not entry.balanced for entry in ledger.entries)
    total = len(ledger.entries)
    show(f"the ledger balances: {total} entries" if not wrong else f"{wrong} of {total} differ")
    if ledger.checkpoint:
        show(f"go on with: geode-tui resume {ledger.run}")
    capture = Journal().captures.of(ledger.run)
    if capture is not None and capture.state != "torn down":
        show(f"the source is captured still; end that with: geode-tui capture drop {ledger.run}")
