"""`accept` and `repair`: what becomes of the differences that a validation named."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from geode_tui.commands.arguments import log_in_again, source_of
from geode_tui.commands.output import aligned, moment, say, show, show_json
from geode_tui.commands.rollback import require_name
from geode_tui.commands.validate import ledger_of, print_report
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, UsageError
from geode_tui.mapping.file import nearest
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.repairing import RepairPlan, RepairRequest, repair_plan
from geode_tui.migration.runner import Runner
from geode_tui.validation.ledger import Difference, Ledger
from geode_tui.validation.report import Facts

_SHOWN = 20


def accept(arguments: argparse.Namespace) -> int:
    """Accept what differs for a reason, take that back, or list what is accepted."""
    journal = Journal()
    record = journal.run(arguments.run)
    ledger = _ledger(journal, record)
    things = _things(ledger, arguments)
    if not (things or _is_narrowed(arguments)):
        return _list(journal, record, arguments)
    if not things:
        raise UsageError(f"run {record.number} names nothing like that", "", _see(record))
    place, number = record.graph_identity, record.number
    if arguments.withdraw:
        gone = journal.acceptances.withdraw(place, number, [sign for sign, _ in things])
        _tell(arguments, number, "withdrawn", gone)
        return EXIT_OK
    if not (arguments.reason or "").strip():
        raise UsageError("what differs is accepted for a reason", "", 'add --reason "why"')
    journal.acceptances.accept(place, number, things, arguments.reason)
    _tell(arguments, number, "accepted", len(things))
    settled = journal.ledger(number)
    return EXIT_OK if settled is None or settled.valid else EXIT_DIFFERS


def _tell(arguments: argparse.Namespace, run: int, what: str, count: int) -> None:
    if arguments.json:
        show_json({"run": run, what: count})
    else:
        show(f"{count:,} {what}")


def _list(journal: Journal, record: RunRecord, arguments: argparse.Namespace) -> int:
    found = journal.acceptances.of(record.graph_identity)
    if arguments.json:
        show_json({"run": record.number, "accepted": [asdict(one) for one in found]})
    elif found:
        rows = [(one.subject, one.reason, one.who, moment(one.at)) for one in found]
        for line in aligned(("what", "reason", "by", "at"), rows):
            show(line)
    else:
        say(f"nothing is accepted in {record.place}")
    return EXIT_OK


def _things(ledger: Ledger, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """What is meant, each with its sign and in words."""
    things = [(one.sign, row_in_words(one)) for one in _chosen(ledger, arguments)]
    for entry in ledger.entries:
        if entry.id in arguments.entry and (entry.reason or not entry.balanced):
            things.append((entry.sign, f"{entry.id} as it is: {entry.verdict}"))
    for check in ledger.checks:
        name = f"{check.kind} {check.name}".rstrip()
        if name in arguments.check and not check.passed:
            things.append((check.sign, f"{name}: {check.why or check.graph}"))
    return things


def row_in_words(one: Difference) -> str:
    """A difference in a few words."""
    return f"{one.entity} {one.key}: {one.cause or one.where}"


def repair(arguments: argparse.Namespace) -> int:
    """Write again what a validation named; exit 4 when the graph differs still."""
    journal = Journal()
    record = journal.run(arguments.run)
    ledger = _ledger(journal, record)
    if not (_is_narrowed(arguments) or arguments.all):
        raise UsageError("which rows?", "", "name an --entity, a --cause or a --key; or give --all")
    chosen = _chosen(ledger, arguments)
    plan = repair_plan(chosen)
    if arguments.preview:
        _preview(record, plan, arguments.json)
        return EXIT_OK
    if not plan.chosen:
        _preview(record, plan, False)
        raise UsageError(
            f"run {record.number} names nothing that can be repaired", "", _see(record)
        )
    for line in plan.lines:
        say(line)
    log_in_again(record.target)
    if not arguments.yes:
        require_name(record, "repair writes to")
    return _repair(journal, record, plan, arguments)


def _repair(
    journal: Journal, record: RunRecord, plan: RepairPlan, arguments: argparse.Namespace
) -> int:
    runner = Runner(
        RepairRequest(
            source_of(arguments) or record.source_dsn,
            record.target,
            journal.mapping(record.number),
            record.graph or None,
            record.schemas,
            label=record.label,
            of=record.number,
            chosen=plan.chosen,
        )
    )
    ledger = ledger_of(runner)
    mapping = str(record.options.get("mapping", ""))
    facts = Facts(record.source, record.place, mapping, runner.run_number)
    print_report(ledger, facts, "json" if arguments.json else "table")
    return EXIT_OK if ledger.valid else EXIT_DIFFERS


def _preview(record: RunRecord, plan: RepairPlan, json: bool) -> None:
    if json:
        parts = {name: getattr(plan, name) for name in ("write", "replace", "remove")}
        document = {name: [asdict(one) for one in some] for name, some in parts.items()}
        left = [{"difference": asdict(one), "reason": reason} for one, reason in plan.left]
        show_json({"run": record.number, **document, "left": left})
        return
    rows = [
        *(("write", one.entity, one.key, "") for one in plan.write),
        *(("replace", one.entity, one.key, _values(one)) for one in plan.replace),
        *(("remove", one.entity, one.key, "") for one in plan.remove),
        *(("leave", one.entity, one.key, reason) for one, reason in plan.left),
    ]
    if rows:
        for line in aligned(("what", "entity", "key", "why"), rows[:_SHOWN]):
            show(line)
    if len(rows) > _SHOWN:
        show(f"and {len(rows) - _SHOWN:,} more (--json names them)")
    for line in plan.lines:
        show(line)


def _values(one: Difference) -> str:
    return "; ".join(f"{name}: {graph} becomes {source}" for name, source, graph in one.values)


def _ledger(journal: Journal, record: RunRecord) -> Ledger:
    ledger = journal.ledger(record.number)
    if ledger is None:
        raise UsageError(f"run {record.number} compared nothing", "", "validate, and name that run")
    return ledger


def _is_narrowed(arguments: argparse.Namespace) -> bool:
    some = (arguments.entity, arguments.cause, arguments.key)
    return any(some) or bool(getattr(arguments, "entry", ()) or getattr(arguments, "check", ()))


def _chosen(ledger: Ledger, arguments: argparse.Namespace) -> Sequence[Difference]:
    """The differences that are meant: by entity, cause and key; all that fit."""
    known = [entry.id for entry in ledger.entries]
    if arguments.entity and arguments.entity not in known:
        advice = nearest(arguments.entity, known)
        raise UsageError(f"the ledger has no entity {arguments.entity}", "", advice)
    everything = getattr(arguments, "all", False)
    if not (arguments.entity or arguments.cause or arguments.key or everything):
        return ()
    return [
        one
        for one in ledger.differences
        if (not arguments.entity or one.entity == arguments.entity)
        and (not arguments.cause or one.cause == arguments.cause)
        and (not arguments.key or one.key in arguments.key)
    ]


def _see(record: RunRecord) -> str:
    return f"see what differs: geode-tui runs show {record.number}"
