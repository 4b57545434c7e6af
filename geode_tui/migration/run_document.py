"""A run as one page to archive: plan, criteria, figures, findings, waivers, ledger and audit."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from geode_tui.mapping.assess import SEVERITIES, Finding
from geode_tui.mapping.model import Waiver, Wave
from geode_tui.mapping.waves import waves_of
from geode_tui.migration.audit import Verdict
from geode_tui.migration.checkpoints import Checkpoint
from geode_tui.migration.dead_letters import DeadLetter, LetterCount, Selection
from geode_tui.migration.journal import Journal, RunRecord
from geode_tui.migration.run_figures import EntityFigures, RunFigures, figures_of
from geode_tui.validation.ledger import Difference, Entry, Ledger
from geode_tui.validation.markdown import code, page, plain, table
from geode_tui.validation.report import Facts, Report, age, make_report, signed, state_of

EXAMPLES = 3
"""Dead letters that are shown of each class of an entity."""
CLASSES = 30
"""Most classes of dead letters that are shown."""
DIFFERENCES = 50
"""Most differences that are shown of those that stand, and of those that are settled."""
FINDINGS = 200
"""Most findings that are shown."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that a run read: its number in the run, its name, and when it was taken."""

    number: int
    fence: str
    at: float


@dataclass(frozen=True, slots=True)
class Gate:
    """The ledger of a wave: what was to be seen before the next wave could begin."""

    wave: str
    balanced: bool
    at: float


@dataclass(frozen=True, slots=True)
class Criterion:
    """What must hold, whether it does (None: nobody looked), and what was seen."""

    text: str
    held: bool | None
    seen: str = ""


@dataclass(frozen=True)
class RunDocument:
    """All that the journal knows of a run, as far as it fits a page; `made` is when that was."""

    figures: RunFigures
    waves: tuple[Wave, ...]
    waivers: tuple[Waiver, ...]
    prepared: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    snapshots: tuple[Snapshot, ...]
    gates: tuple[Gate, ...]
    findings: tuple[Finding, ...]
    letters: tuple[LetterCount, ...]
    examples: tuple[DeadLetter, ...]
    ledger: Ledger | None
    actions: int
    audit: Verdict
    made: float

    @property
    def wave(self) -> str:
        """The wave that the run has come to, empty where it has none."""
        return next((c.wave for c in reversed(self.checkpoints) if c.wave), "")

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What must hold for the run to be good, and whether it does."""
        return tuple(_criteria(self))


def run_document(journal: Journal, number: int) -> RunDocument:
    """What the journal knows of a run. Raises UsageError when there is no such run."""
    figures, mapping = figures_of(journal, number), journal.mapping(number)
    trail = [(entry, json.loads(entry.after)) for entry in journal.audit.entries(number)]
    letters = journal.dead_letters.counts(number)
    examples: list[DeadLetter] = []
    for count in letters[:CLASSES]:
        some = Selection((), count.entity, count.error_class, count.state)
        examples += journal.dead_letters.of(number, EXAMPLES, 0, some)
    return RunDocument(
        figures,
        waves_of(mapping) if figures.record.strategy == "incremental" else (),
        mapping.waivers,
        tuple(journal.prepared(number)),
        tuple(journal.checkpoints.of(number)),
        tuple(Snapshot(a["number"], a["fence"], e.at) for e, a in trail if e.what == "snapshot"),
        tuple(Gate(a["wave"], a["balanced"], e.at) for e, a in trail if e.what == "gate"),
        journal.findings(number),
        tuple(letters),
        tuple(examples),
        journal.ledger(number),
        len(trail),
        journal.audit.check(),
        time.time(),
    )


def facts_of(record: RunRecord, made: float | None = None) -> Facts:
    """What the ledger of a run compared; `made` is when a report is made of it."""
    mapping = record.options.get("mapping") or f"SHA-256 {record.mapping_hash}"
    return Facts(record.source, record.place, str(mapping), record.number, made)


def as_json(document: RunDocument) -> dict[str, Any]:
    """The document's own part of a whole run as JSON (docs/cli.md)."""
    return {
        "waves": [asdict(wave) for wave in document.waves],
        "criteria": [asdict(criterion) for criterion in document.criteria],
        "figures": [figures_json(entity) for entity in document.figures.entities],
        "waivers": [asdict(waiver) for waiver in document.waivers],
        "prepared": list(document.prepared),
        "checkpoints": [asdict(checkpoint) for checkpoint in document.checkpoints],
        "snapshots": [asdict(snapshot) for snapshot in document.snapshots],
        "gates": [asdict(gate) for gate in document.gates],
        "dead_letter_counts": [asdict(count) for count in document.letters],
        "audit": verdict_json(document.audit),
    }


def figures_json(entity: EntityFigures) -> dict[str, Any]:
    """The figures of an entity as JSON (docs/cli.md)."""
    return asdict(entity) | {"rate": entity.rate}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """What a check of the audit trail found, as JSON (docs/cli.md)."""
    return asdict(verdict) | {"whole": verdict.whole}


def as_markdown(document: RunDocument) -> str:
    """The document as one page of Markdown."""
    record = document.figures.record
    return page(
        f"Run {record.number}: {record.kind}, {record.state}",
        ("The run", _facts(document)),
        ("Criteria", _criteria_lines(document.criteria)),
        ("Plan", _plan(document)),
        ("Prepared in the target", code(document.prepared, "gql") if document.prepared else ()),
        ("Figures", _figures(document.figures)),
        ("Ledger", _ledger(document)),
        ("Checkpoints", _checkpoints(document.checkpoints)),
        ("Gates", _gates(document.gates)),
        ("Snapshots", _snapshots(document.snapshots)),
        ("Findings", _findings(document.findings)),
        ("Waivers", _waivers(document.waivers)),
        ("Dead letters", _letters(document)),
        ("Audit", _audit(document)),
    )


# -- criteria -------------------------------------------------------------------------------------


def _criteria(document: RunDocument) -> Iterable[Criterion]:
    entries = document.ledger.entries if document.ledger else None
    yield _of_ledger(
        "every row is in the graph, a dead letter or an orphan",
        entries,
        lambda entry: entry.missing,
        "rows missing or too many",
    )
    yield _of_ledger(
        "nothing is in the graph twice", entries, lambda entry: entry.duplicates, "duplicates"
    )
    yield _of_ledger(
        "nothing is where no rule puts it", entries, lambda entry: entry.misplaced, "misplaced"
    )
    sampled = f" of {sum(e.sampled for e in entries):,} sampled" if entries is not None else ""
    yield _of_ledger(
        "sampled rows are the same, value by value",
        entries,
        lambda entry: entry.differing,
        f"differ{sampled}",
    )
    if document.ledger is not None:
        yield from _of_digests(document.ledger)
    blocking = [finding for finding in document.findings if finding.blocks]
    yield Criterion(
        "no finding must be mended before the run",
        not blocking,
        ", ".join(f"{finding.code} {finding.subject}" for finding in blocking[:3]),
    )
    yield from _limits(document)
    if document.waves:
        shut = [gate.wave for gate in _newest(document.gates) if not gate.balanced]
        passed = {gate.wave for gate in document.gates}
        open_to_all = all(wave.name in passed for wave in document.waves)
        yield Criterion(
            "the ledger of each wave balances before the next begins",
            False if shut else open_to_all or None,
            f"shut: {', '.join(shut)}" if shut else f"{len(passed)} of {len(document.waves)} waves",
        )


def _of_ledger(text: str, entries: Sequence[Entry] | None, count: Any, words: str) -> Criterion:
    if entries is None:
        return Criterion(text, None, "the ledger was not taken")
    found = [entry for entry in entries if count(entry)]
    wrong = [entry for entry in found if not entry.reason]
    told = [f"{entry.id}: {abs(count(entry)):,} {words}" for entry in wrong[:3]]
    told += ["…"] if len(wrong) > 3 else []
    told += [f"{entry.id}: accepted as it is" for entry in found if entry.reason][:3]
    return Criterion(text, not wrong, ", ".join(told))


def _of_digests(ledger: Ledger) -> Iterable[Criterion]:
    """What a validation looks at besides."""
    if ledger.digests:
        yield _of_ledger(
            "all rows have the same digest on both sides",
            ledger.entries,
            lambda entry: entry.mismatched + entry.suspended,
            "keys differ",
        )
    if ledger.checks:
        failed = [
            f"{check.kind} {check.name}".rstrip() for check in ledger.checks if not check.fine
        ]
        accepted = sum(check.fine and not check.passed for check in ledger.checks)
        told = [*failed[:3], *(["…"] if len(failed) > 3 else [])]
        told += [f"{accepted:,} accepted"] if accepted else []
        yield Criterion("every check passed, or is accepted", not failed, ", ".join(told))


def _limits(document: RunDocument) -> Iterable[Criterion]:
    limit = document.figures.record.dead_limit
    if limit is None:
        return
    over = [e.id for e in document.figures.entities if e.dead + e.orphans > limit]
    stopped = [e.id for e in document.figures.entities if e.state == "failed"]
    wrong = [*over, *(entity for entity in stopped if entity not in over)]
    text = f"no entity has more than {limit:,} dead letters"
    yield Criterion(text, not wrong, ", ".join(wrong[:3]))


def _newest(gates: Sequence[Gate]) -> Iterable[Gate]:
    return {gate.wave: gate for gate in gates}.values()


def _criteria_lines(criteria: Sequence[Criterion]) -> list[str]:
    words = {True: "held", False: "not held", None: "not checked"}
    rows = [(criterion.text, words[criterion.held], criterion.seen) for criterion in criteria]
    return table(("what must hold", "", "seen"), rows)


# -- the other chapters ---------------------------------------------------------------------------


def _facts(document: RunDocument) -> list[str]:
    figures, record = document.figures, document.figures.record
    total = figures.total
    left = f"{total.dead:,} dead letters, {total.orphans:,} orphans"
    facts = [
        ("source", record.source_dsn or record.source),
        ("source identity", record.source_identity),
        ("schemas", ", ".join(record.schemas)),
        ("target", record.place),
        ("mapping", f"SHA-256 {record.mapping_hash}"),
        ("strategy", record.strategy),
        ("wave", document.wave),
        ("stop after wave", record.last_wave),
        ("parallel", record.parallel),
        ("rows a transaction", _number(record.batch_rows)),
        ("dead letters allowed", _limit(record.dead_limit)),
        ("begun", moment(record.started)),
        ("ended", moment(record.ended)),
        ("state", record.state),
        ("why", " ".join(record.error.split("\n"))),
        ("moved", f"{total.rows:,} rows written, {left}"),
        ("read", _bytes(total.bytes)),
        ("ledger", figures.verdict),
        ("run in the graph", f"_run = {record.uid}"),
        ("geode-tui", record.version),
    ]
    return table(("", ""), [(name, value) for name, value in facts if value not in ("", "–", None)])


def _plan(document: RunDocument) -> list[str]:
    rows = [
        (e.id, e.kind, e.wave, _about(e.estimate), _number(e.planned))
        for e in document.figures.entities
    ]
    lines = table(("entity", "kind", "wave", "rows of the source", "chunks"), rows, "___>>")
    if not document.waves:
        return lines
    named = [(wave.name, ", ".join(wave.rules)) for wave in document.waves]
    return [*lines, "", *table(("wave", "what it moves"), named)]


def _figures(figures: RunFigures) -> list[str]:
    header = ("entity", "state", "rows", "dead", "orphans", "chunks", "retries", "read", "seconds")
    rows = [_figure_cells(entity) for entity in (*figures.entities, figures.total)]
    seconds = "Seconds are those that workers spent, rates are rows a second of one worker."
    lines = table((*header, "rate"), rows, "__>>>>>>>>")
    phases = [
        (phase.name, phase.state, moment(phase.started), moment(phase.ended), phase.reason)
        for phase in figures.phases
    ]
    begun = table(("phase", "state", "begun", "ended", "reason"), phases)
    return [*lines, "", seconds, "", *begun]


def _figure_cells(e: EntityFigures) -> tuple[object, ...]:
    chunks = f"{e.chunks:,} of {e.planned:,}" if e.planned is not None else f"{e.chunks:,}"
    counts = (f"{e.rows:,}", f"{e.dead:,}", f"{e.orphans:,}", chunks, f"{e.retries:,}")
    rate = f"{e.rate:,.0f}" if e.rate is not None else "–"
    return e.id, e.state, *counts, _bytes(e.bytes), f"{e.seconds:,.1f}", rate


def _ledger(document: RunDocument) -> list[str]:
    ledger = document.ledger
    if ledger is None:
        return ["The ledger was not taken."]
    rows = [
        (
            e.id,
            e.kind,
            f"{e.source_rows:,}",
            f"{e.in_graph:,}",
            f"{e.dead:,}",
            f"{e.orphans:,}",
            f"{e.nulls:,}",
            f"{e.filtered:,}",
            f"{e.sampled:,}",
            signed(e.settled),
            state_of(e),
            e.verdict,
        )
        for e in ledger.entries
    ]
    header = ("entry", "kind", "source rows", "in graph", "dead", "orphans", "nulls", "filtered")
    lines = table((*header, "sampled", "settled", "state", "verdict"), rows, "__>>>>>>>>__")
    report = make_report(ledger, facts_of(document.figures.record, document.made))
    lines += ["", plain(_freshness(report))]
    standing = [one for one in ledger.differences if one.state in ("mismatched", "suspended")]
    settled = [one for one in ledger.differences if one.state in ("accepted", "repaired")]
    for word, some in (("stand", standing), ("are accepted or repaired", settled)):
        if some:
            lines += ["", *_differences(some, word)]
    if report.accepted:
        whole = [(one.kind, one.name, one.found, one.reason) for one in report.accepted]
        lines += ["", *table(("", "accepted as it is", "found", "reason"), whole)]
    return lines


def _freshness(report: Report) -> str:
    """When the ledger was taken, under which snapshot, and how old it is."""
    old = age(report.facts.made - report.taken) if report.facts.made is not None else "–"
    told = f"Taken {moment(report.taken)} under snapshot {report.fence or '–'}, {old} ago."
    return f"{told} Settled: {report.settled_told}." if report.settled_told else told


def _differences(some: Sequence[Difference], word: str) -> list[str]:
    rows = [
        (
            one.entity,
            one.key,
            one.state,
            one.where,
            one.cause,
            "; ".join(f"{name}: {source} · {graph}" for name, source, graph in one.values),
            one.reason,
        )
        for one in some[:DIFFERENCES]
    ]
    header = ("entity", "key", "state", "where", "cause", "source · graph", "reason")
    left = len(some) - DIFFERENCES
    more = ["", f"and {left:,} more {word}"] if left > 0 else []
    return [*table(header, rows), *more]


def _checkpoints(checkpoints: Sequence[Checkpoint]) -> list[str]:
    rows = [
        (c.name, f"{c.step:,}", c.phase, c.wave, f"{sum(c.rows.values()):,}", moment(c.at))
        for c in checkpoints
    ]
    return table(("name", "step", "phase", "wave", "rows", "taken"), rows, "_>__>_") if rows else []


def _gates(gates: Sequence[Gate]) -> list[str]:
    rows = [(gate.wave, "open" if gate.balanced else "shut", moment(gate.at)) for gate in gates]
    return table(("wave", "gate", "seen"), rows) if rows else []


def _snapshots(snapshots: Sequence[Snapshot]) -> list[str]:
    rows = [(s.number, s.fence, moment(s.at)) for s in snapshots]
    return table(("number", "snapshot", "taken"), rows, ">__") if rows else []


def _findings(findings: Sequence[Finding]) -> list[str]:
    """What was to be mended or weighed; what is only good to know is counted."""
    told = [f for f in findings if f.severity != "information" and not f.waived]
    rows = [(f.severity, f.code, f.subject, f.message, f.evidence) for f in told[:FINDINGS]]
    count = Counter("waived" if f.waived else f.severity for f in findings)
    sums = " · ".join(f"{count[word]:,} {word}" for word in (*SEVERITIES, "waived"))
    more = [f"and {len(told) - FINDINGS:,} more", ""] if len(told) > FINDINGS else []
    lines = table(("severity", "code", "subject", "message", "seen"), rows) if rows else []
    return [*lines, *([""] if lines else []), *more, sums]


def _waivers(waivers: Sequence[Waiver]) -> list[str]:
    rows = [(waiver.code, waiver.subject, waiver.reason) for waiver in waivers]
    return table(("code", "subject", "accepted because"), rows) if rows else []


def _letters(document: RunDocument) -> list[str]:
    if not document.letters:
        return ["None."]
    counts = [(c.entity, c.error_class, c.state, f"{c.letters:,}") for c in document.letters]
    examples = [
        (x.id, x.entity, x.key, x.error_class, x.state, x.reason, x.note) for x in document.examples
    ]
    header = ("id", "entity", "key", "class", "state", "reason", "note")
    lines = table(("entity", "class", "state", "letters"), counts[:CLASSES], "___>")
    more = len(counts) - CLASSES
    rest = ["", f"and {more:,} more classes"] if more > 0 else []
    return [*lines, *rest, "", "Some of them:", "", *table(header, examples, ">______")]


def _audit(document: RunDocument) -> list[str]:
    verdict = document.audit
    told = f"{document.actions:,} actions of this run are in the audit trail."
    if verdict.whole:
        whole = f"The chain of the whole journal holds: {verdict.entries:,} entries, the last is"
        return [told, f"{whole} {verdict.last}."]
    return [told, f"**The chain of the whole journal is broken at entry {verdict.broken_at}.**"]


def moment(seconds: float | None) -> str:
    """A moment in UTC, or a dash: a page is read in another place than it was made."""
    if seconds is None:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _limit(value: int | None) -> str:
    return "no limit" if value is None else f"{value:,} an entity"


def _about(value: int | None) -> str:
    return "?" if value is None else f"±{value:,}"


def _bytes(count: int) -> str:
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1_000 and len(units) > 1:
        size /= 1_000
        units.pop(0)
    return f"{size:,.0f} {units[0]}" if units[0] == "B" else f"{size:,.1f} {units[0]}"
