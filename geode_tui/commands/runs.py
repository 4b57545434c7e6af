"""`runs`: the journal's runs as a list, one of them whole, two of them side by side."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geode_tui.commands.journal import newest_run
from geode_tui.commands.output import (
    aligned,
    duration,
    ledger_document,
    moment,
    say,
    show,
    show_json,
    show_ledger,
    to_file,
)
from geode_tui.commands.standing import status_document, status_text
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, UsageError
from geode_tui.migration.audit import AuditEntry
from geode_tui.migration.compare_runs import (
    Comparison,
    EntityPair,
    Pair,
    compare_runs,
    comparison_document,
)
from geode_tui.migration.dead_letters import letter_document
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.run_document import (
    as_json,
    as_markdown,
    facts_of,
    run_document,
    verdict_json,
)
from geode_tui.migration.run_figures import figures_of


def runs(arguments: argparse.Namespace) -> int:
    """Print all runs, one of them whole, or two side by side."""
    journal = Journal()
    with _output(arguments):
        if arguments.action == "compare":
            return _compare(journal, arguments)
        if arguments.action == "show":
            return _show(journal, arguments)
        return _list(journal, arguments)


@contextlib.contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[None]:
    """Where the data goes: stdout, or a file that is not there yet."""
    if arguments.output is None:
        yield
        return
    with to_file(Path(arguments.output)):
        yield
    say(f"wrote {arguments.output}")


def _list(journal: Journal, arguments: argparse.Namespace) -> int:
    _require_action(arguments)
    records = journal.runs()
    if _format(arguments) == "json":
        show_json([record_document(journal, record) for record in records])
        return EXIT_OK
    header = ("run", "kind", "state", "wave", "source", "target", "started", "took", "error")
    rows = [
        (
            str(r.number),
            r.kind,
            r.state,
            wave_of(journal, r.number),
            r.source,
            r.place,
            moment(r.started),
            duration(r.ended - r.started if r.ended else None),
            r.error.split("\n")[0],
        )
        for r in records
    ]
    for line in aligned(header, rows, ">______>_"):
        show(line)
    return EXIT_OK


def _require_action(arguments: argparse.Namespace) -> None:
    """Refuse what only `show` and `compare` can do."""
    if arguments.audit or _format(arguments) == "md" or arguments.run:
        raise UsageError("that is of one run", "", "name it: geode-tui runs show RUN")


def record_document(journal: Journal, record: RunRecord) -> dict[str, Any]:
    """A run as a JSON document (docs/cli.md)."""
    more = {"resumable": record.resumable, "wave": wave_of(journal, record.number)}
    return asdict(record) | more


def wave_of(journal: Journal, number: int) -> str:
    """The wave that a run has come to, empty where it has none."""
    row = journal.store.one(
        "SELECT wave FROM checkpoint WHERE run = ? AND wave <> '' ORDER BY number DESC LIMIT 1",
        number,
    )
    return str(row["wave"]) if row else ""


def _format(arguments: argparse.Namespace) -> str:
    return "json" if arguments.json else str(arguments.format)


# -- one run --------------------------------------------------------------------------------------


def _show(journal: Journal, arguments: argparse.Namespace) -> int:
    if len(arguments.run) > 1:
        raise UsageError("one run can be shown", "", "two side by side: geode-tui runs compare A B")
    number = arguments.run[0] if arguments.run else newest_run(journal)
    if arguments.audit:
        return _show_audit(journal, number, _format(arguments))
    if _format(arguments) == "md":
        print(as_markdown(run_document(journal, number)), end="", flush=True)
    elif _format(arguments) == "json":
        show_json(whole_document(journal, number))
    else:
        _show_text(journal, number)
    return EXIT_OK


def whole_document(journal: Journal, number: int) -> dict[str, Any]:
    """All of a run as a JSON document (docs/cli.md)."""
    record, ledger = journal.run(number), journal.ledger(number)
    return {
        **status_document(journal, number),
        "record": record_document(journal, record),
        "findings": [asdict(finding) for finding in journal.findings(number)],
        "events": [asdict(event) for event in journal.events(number)],
        "dead_letters": [letter_document(letter) for letter in journal.dead_letters.of(number)],
        "ledger": ledger_document(ledger, facts_of(record, time.time())) if ledger else None,
        "fence": record.fence,
        "mapping_hash": record.mapping_hash,
        **as_json(run_document(journal, number)),
    }


def _show_text(journal: Journal, number: int) -> None:
    for line in status_text(status_document(journal, number)).split("\n"):
        show(line)
    for event in journal.events(number):
        show(f"{moment(event.at)} {event.level:7} {event.message}")
    letters = journal.dead_letters.of(number)
    for letter in letters:
        state = "" if letter.state == "open" else f" ({letter.state})"
        what = f"{letter.error_class}: {letter.reason}"
        show(f"dead letter {letter.id} {letter.entity} {letter.key}: {what}{state}")
    if (more := journal.dead_letters.count(number) - len(letters)) > 0:
        show(f"and {more:,} more: geode-tui deadletters list {number}")
    ledger = journal.ledger(number)
    if ledger is not None:
        show_ledger(ledger, facts_of(journal.run(number), time.time()))


# -- the audit trail ------------------------------------------------------------------------------


def _show_audit(journal: Journal, number: int, format_: str) -> int:
    """Print the trail of a run; exit 4 where the chain of the whole journal is broken."""
    if format_ == "md":
        raise UsageError("the audit trail is text or JSON", "", "leave --format md out")
    journal.run(number)
    entries, verdict = journal.audit.entries(number), journal.audit.check()
    if format_ == "json":
        show_json(
            {
                "run": number,
                **verdict_json(verdict),
                "trail": [_entry_document(entry) for entry in entries],
            }
        )
    else:
        rows = [
            (str(e.number), moment(e.at), e.who, e.what, _told(e.before), _told(e.after))
            for e in entries
        ]
        for line in aligned(("entry", "when", "who", "what", "before", "after"), rows, ">"):
            show(line)
        if verdict.whole:
            show(f"the chain holds: {verdict.entries:,} entries, the last is {verdict.last}")
    if verdict.whole:
        return EXIT_OK
    say(f"the chain of the journal is broken at entry {verdict.broken_at}")
    return EXIT_DIFFERS


def _entry_document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": entry.at,
        "who": entry.who,
        "what": entry.what,
        "before": _value(entry.before),
        "after": _value(entry.after),
        "hash": entry.hash,
    }


def _value(text: str) -> Any:
    """What an entry holds; the text as it is where somebody has damaged it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _told(text: str) -> str:
    """A value of an entry for a person: `a=1, b=2`."""
    value = _value(text)
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(item)}" for name, item in value.items())
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- two runs -------------------------------------------------------------------------------------


def _compare(journal: Journal, arguments: argparse.Namespace) -> int:
    if len(arguments.run) != 2:
        raise UsageError("two runs are compared", "", "geode-tui runs compare A B")
    if arguments.audit or _format(arguments) == "md":
        raise UsageError("a comparison is text or JSON", "", "geode-tui runs compare A B --json")
    first, second = (figures_of(journal, number) for number in arguments.run)
    comparison = compare_runs(first, second)
    if _format(arguments) == "json":
        show_json(comparison_document(comparison))
    else:
        _show_comparison(comparison)
    return EXIT_OK


def _show_comparison(comparison: Comparison) -> None:
    names = f"run {comparison.first}", f"run {comparison.second}"
    facts = [
        ("" if pair.same else "≠", pair.name, _shown(pair, 1), _shown(pair, 2))
        for pair in comparison.facts
    ]
    for line in aligned(("", "", *names), facts):
        show(line)
    show("")
    header = ("", "entity", *names, "rows ±", "dead", "orphans", "seconds", "rows a second")
    rows = [_entity_cells(entity) for entity in comparison.entities]
    for line in aligned(header, rows, "__>>>>>>>"):
        show(line)
    count, total = len(comparison.differing), len(comparison.entities)
    show(f"{count} of {total} entities differ" if count else f"{total} entities, none differs")


def _entity_cells(entity: EntityPair) -> tuple[str, ...]:
    rows = entity.figure("rows")
    change = f"{rows.change:+,}" if rows.change else ""
    both = (f"{_shown(entity.figure(n), 1)} → {_shown(entity.figure(n), 2)}" for n in _BOTH)
    return ("" if entity.same else "≠", entity.id, _shown(rows, 1), _shown(rows, 2), change, *both)


_BOTH = ("dead", "orphans", "seconds", "rate")


def _shown(pair: Pair, side: int) -> str:
    value = pair.first if side == 1 else pair.second
    if value is None:
        return "–"
    if pair.name == "started":
        return moment(value)
    if pair.name == "took":
        return duration(value)
    if isinstance(value, float):
        return f"{value:,.1f}" if pair.name == "seconds" else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
