"""`status` and `runs`: the journal, read from any terminal."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from geode_tui.commands.output import (
    aligned,
    duration,
    ledger_document,
    moment,
    show,
    show_json,
    show_ledger,
)
from geode_tui.errors import EXIT_OK, UsageError
from geode_tui.migration.journal import Journal, RunRecord

FOLLOW_SECONDS = 1.0


def status(arguments: argparse.Namespace) -> int:
    """Print where a run stands (the newest by default); `--follow` until it is over."""
    journal = Journal()
    number = arguments.run or _newest(journal)
    last = ""
    while True:
        document = status_document(journal, number)
        state = document["state"]
        if arguments.json:
            show_json(document, indent=None if arguments.follow else 2)
        elif (text := _status_text(document)) != last:
            last = text
            _show_lines(text)
        if not arguments.follow or state != "running":
            return EXIT_OK
        time.sleep(FOLLOW_SECONDS)


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


def status_document(journal: Journal, number: int) -> dict[str, Any]:
    """Where a run stands, as a JSON document (docs/cli.md)."""
    record = journal.run(number)
    entities = journal.chunks.entities(number)
    return {
        "run": number,
        "state": record.state,
        "resumable": record.resumable,
        "source": record.source,
        "target": record.target,
        "graph": record.graph,
        "started": record.started,
        "ended": record.ended,
        "error": record.error,
        "phases": [asdict(phase) for phase in journal.phases(number)],
        "entities": [asdict(entity) for entity in entities],
        "rows": sum(entity.rows for entity in entities),
    }


def _newest(journal: Journal) -> int:
    records = journal.runs()
    if not records:
        raise UsageError("there is no run yet", "", "begin one with: geode-tui migrate")
    return records[0].number


def _status_text(document: dict[str, Any]) -> str:
    phases = "  ".join(f"{p['name']} {p['state']}" for p in document["phases"])
    lines = [
        f"run {document['run']} {document['state']}: {document['source']} → {document['target']}",
        phases,
    ]
    rows = []
    for e in document["entities"]:
        done = e["state"] == "done"
        of = "" if done or e["estimate"] is None else f"of ±{e['estimate']:,}"
        state = f"{e['state']} {e['reason']}".strip()
        left = f"{e['dead']:,}", f"{e['orphans']:,}"
        rows.append((e["id"], state, f"{e['rows']:,}", of, *left))
    lines += aligned(("entity", "state", "rows", "", "dead", "orphans"), rows, "__>>>>")
    if document["error"]:
        lines += document["error"].split("\n")
    if document["resumable"]:
        lines.append(f"go on with: geode-tui resume {document['run']}")
    return "\n".join(lines)


def _show_lines(text: str) -> None:
    for line in text.split("\n"):
        show(line)


def _show_run(journal: Journal, arguments: argparse.Namespace) -> int:
    number = arguments.run or _newest(journal)
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
    _show_lines(_status_text(document))
    for event in events:
        show(f"{moment(event.at)} {event.level:7} {event.message}")
    for letter in letters:
        show(f"dead letter {letter.entity} {letter.key}: {letter.error_class}: {letter.reason}")
    if ledger is not None:
        show_ledger(ledger)
    return EXIT_OK


def _record_document(record: RunRecord) -> dict[str, Any]:
    return asdict(record) | {"resumable": record.resumable}
