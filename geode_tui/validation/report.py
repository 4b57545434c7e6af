"""What a validation found, ready to be shown: the one model that all formats are made of."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from typing import Literal

from geode_tui.errors import redact
from geode_tui.validation.ledger import (
    Cause,
    Check,
    Difference,
    DifferenceState,
    EntityDigest,
    Entry,
    EntryKind,
    EntryState,
    Ledger,
    most_wrong,
)
from geode_tui.validation.markdown import one_line

LONGEST_VALUE = 300
"""Characters of a value, a key or a name that are shown."""
LONGEST_QUERY = 4_000
"""Characters of a query that are shown."""
SETTLED = "accepted or repaired"
"""What rows of an equation are called that differ and are settled."""
_BEFORE = 40
"""Characters that are shown before the first one that differs, where a value is cut."""

KINDS: dict[EntryKind, str] = {
    "node": "Nodes",
    "relationship": "Relationships",
    "label": "Further labels",
    "join": "Joined rows",
}
_WORDS: dict[EntryKind, tuple[str, str]] = {
    "node": ("source rows", "in graph"),
    "relationship": ("foreign keys", "relationships"),
    "label": ("nodes expected", "nodes with the label"),
    "join": ("joined rows", "nodes that hold one"),
}
CAUSES: dict[Cause, tuple[str, str]] = {
    "missing": ("missing", "The row is in the source; the graph has nothing for it."),
    "end missing": (
        "end missing",
        "The relationship is missing because a node of it is (orphaned_relationships).",
    ),
    "refused": (
        "cannot be carried",
        "The row cannot be carried as it is, and no run has it among its dead letters.",
    ),
    "extra": ("extra", "The graph holds it; the source has no row for it."),
    "doubled": ("doubled", "The graph holds it more than once (unique_constraint_violation)."),
    "stale": ("stale", "The graph holds what the row was before it changed in the source."),
    "edited": ("edited in the graph", "It was changed in the graph after it was written."),
    "type": (
        "another type",
        "The graph holds a value of another type than the mapping's (data_type_mismatch).",
    ),
    "labels": ("other labels", "The node has other labels than the mapping gives it."),
    "form": ("another Unicode form", "It is the same text in another Unicode form."),
    "collation": (
        "same to a collation",
        "They differ only by case, accents or spaces at the end, which a collation may ignore.",
    ),
}
STATES: dict[EntryState, tuple[str, str]] = {
    "mismatched": ("✗", "It differs, and did so again later."),
    "suspended": ("≈", "It changed at every look: validate again when it is calmer."),
    "accepted": ("○", "It differs, and somebody accepted that for a reason."),
    "stale": ("◔", "Nothing differed; changes touched it since: validate again."),
    "repaired": ("↻", "It differed, and was written again since."),
    "validated": ("✓", "Nothing differs."),
}
"""The mark of each state and what it means; of rows, entries and checks."""
CHECKS: dict[str, tuple[str, str]] = {
    "constraints": ("Constraints", "The indexes and constraints that a run makes are there."),
    "required": (
        "Required properties",
        "What is never null in the source is on every node and relationship.",
    ),
    "degrees": ("Degrees", "As many nodes have as many relationships on both sides."),
    "statistics": (
        "Statistics",
        "Nulls, extremes, sums, means, lengths and distinct values are the same on both sides.",
    ),
    "pair": ("Own queries", "An SQL query and a GQL query of the mapping give the same."),
    "labels": ("Labels of no rule", "Nodes that no rule makes are counted; they fail nothing."),
    "types": ("Types of no rule", "Relationships that no rule makes are counted, too."),
}
"""The title and the meaning of each kind of check, in the order in which they are shown."""
_WITHOUT_CAUSE = {
    "both": ("differs", "The values differ."),
    "source": ("only in the source", "The graph has nothing for the row."),
    "graph": ("only in the graph", "The source has no row for it."),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was compared: texts without secrets. `mapping` is the name of its file.

    `run` is the number of the validation, and `made` when the report is made of its ledger, in
    seconds since the epoch; None where that is when it was taken.
    """

    source: str
    target: str
    mapping: str
    run: int | None = None
    made: float | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """A number of an equation with its sign and its words."""

    words: str
    rows: int
    sign: Literal["+", "−"] = "+"


@dataclass(frozen=True, slots=True)
class Equation:
    """`left` is what must be somewhere, `right` where it is; `apart` is part of neither.

    The right side always adds up to the left one: what is missing or too many is a term of it.
    """

    left: Term
    right: tuple[Term, ...]
    apart: tuple[str, ...] = ()

    def __str__(self) -> str:
        first, *others = self.right
        terms = f"{first.words} {first.rows:,}"
        for term in others:
            terms += f" {term.sign} {term.words} {term.rows:,}"
        apart = f" ({', '.join(self.apart)})" if self.apart else ""
        return f"{self.left.words} {self.left.rows:,}{apart} = {terms}"


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the ledger with what else is known of it; `number` counts from 1.

    `named` is how many of its differences are known by name. `notes` are what a reader must know
    beside the numbers.
    """

    number: int
    entry: Entry
    equation: Equation
    digest: EntityDigest | None
    named: int
    notes: tuple[str, ...]

    @property
    def compared(self) -> str:
        """How its rows were compared, in words; empty where they were counted only."""
        parts = []
        if (digest := self.digest) is not None:
            equal = digest.parts - digest.differing
            parts.append(
                f"{digest.rows:,} rows by digest, equal in {equal:,} of {digest.parts:,} parts"
            )
            if digest.read:
                parts.append(f"{digest.read:,} rows of both sides read one by one")
        if self.entry.sampled:
            parts.append(bound_in_words(self.entry.sampled, self.entry.differing))
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of all entries of a kind; `missing` and `too_many` do not cancel each other."""

    kind: EntryKind
    entries: int
    unbalanced: int
    source_rows: int
    in_graph: int
    dead: int
    orphans: int
    nulls: int
    filtered: int
    missing: int
    too_many: int
    duplicates: int
    misplaced: int
    sampled: int
    mismatched: int
    suspended: int
    settled: int
    accepted: int
    repaired: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """An entry or a check that is accepted as it is: what of it was found, and why."""

    kind: Literal["entry", "check"]
    name: str
    found: str
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Differences of an entity that have the same cause; `count` with those that are not here.

    They are in the same `state`, for the same `reason`. `line` is the number of its line, 0 where
    the ledger has none.
    """

    line: int
    entity: str
    title: str
    meaning: str
    count: int
    differences: tuple[Difference, ...]
    state: DifferenceState = "mismatched"
    reason: str = ""

    @property
    def told(self) -> str:
        """The title with the state where that is not told by its chapter."""
        return f"suspended, {self.title}" if self.state == "suspended" else self.title

    @property
    def left_out(self) -> int:
        """How many are not here."""
        return self.count - len(self.differences)


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars to be drawn: each a label and a number for each of the `series`.

    `stacked` bars are each a whole of its own; `grouped` ones have a common scale, as a
    distribution has. `left_out` bars are not there.
    """

    title: str
    description: str
    series: tuple[str, ...]
    bars: tuple[tuple[str, tuple[int, ...]], ...]
    form: Literal["stacked", "grouped"] = "grouped"
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows. Texts in it are on one line, what cannot be printed made visible.

    The differences in `groups`, which stand, and in `settled`, which are accepted or repaired, are
    those of the ledger as they are: `first_of` makes them ready. `accepted` are entries and checks.
    """

    facts: Facts
    taken: float
    fence: str
    balanced: bool
    lines: tuple[Line, ...]
    totals: tuple[Total, ...]
    groups: tuple[Group, ...]
    sampled: int
    differing: int
    deep: bool | None
    charts: tuple[Chart, ...] = ()
    checks: tuple[Check, ...] = ()
    settled: tuple[Group, ...] = ()
    accepted: tuple[Accepted, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether every entry balances and every check passed, or is accepted."""
        return self.balanced and not self.failed

    @property
    def failed(self) -> int:
        """How many checks did not pass, and are not accepted."""
        return sum(not check.fine for check in self.checks)

    @property
    def states(self) -> dict[EntryState, int]:
        """How many entries are in each state."""
        return {state: sum(x.entry.state == state for x in self.lines) for state in STATES}

    @property
    def settled_told(self) -> str:
        """How much is accepted or repaired, in words; empty where nothing is."""
        counts = [
            (sum(one.kind == "entry" for one in self.accepted), "entry", "entries", "accepted"),
            (sum(one.kind == "check" for one in self.accepted), "check", "checks", "accepted"),
            (self.rows_in("accepted"), "row", "rows", "accepted"),
            (self.rows_in("repaired"), "row", "rows", "repaired since"),
        ]
        told = [f"{n:,} {one if n == 1 else more} {how}" for n, one, more, how in counts if n]
        return ", ".join(told)

    def rows_in(self, state: DifferenceState) -> int:
        """How many differences are in a state."""
        groups = (*self.groups, *self.settled)
        return sum(group.count for group in groups if group.state == state)

    @property
    def unbalanced(self) -> int:
        """How many entries differ."""
        return sum(not line.entry.balanced for line in self.lines)

    @property
    def named(self) -> int:
        """How many differences that stand are known by name."""
        return sum(group.count for group in self.groups)

    @property
    def compared_rows(self) -> int:
        """How many rows of the source were compared by their digests."""
        return sum(line.digest.rows for line in self.lines if line.digest is not None)

    @property
    def verdict(self) -> str:
        """What came out, in one line."""
        if not self.lines:
            return "nothing was compared"
        count = len(self.lines)
        told = "the one entry balances" if count == 1 else f"all {count:,} entries balance"
        if not self.balanced:
            told = f"{self.unbalanced:,} of {count:,} entries differ"
        if self.failed:
            told += f"; {self.failed:,} of {len(self.checks):,} checks failed"
        if stale := sum(line.entry.stale > 0 for line in self.lines):
            told += f"; {stale:,} touched by changes since"
        return f"{told}; {self.settled_told}" if self.settled_told else told

    @property
    def bound(self) -> str:
        """How sure the sample is, in words."""
        return bound_in_words(self.sampled, self.differing)

    @property
    def method(self) -> str:
        """How the rows were compared, in words."""
        if self.deep is None:
            return "rows were counted on both sides, not compared by digests"
        rows = f"{self.compared_rows:,} rows by their digests"
        if self.deep:
            return f"{rows}, made anew of all values, labels and ends in the graph (deep)"
        if any(line.digest is not None and line.digest.deep for line in self.lines):
            return f"{rows}, those of relationships made anew of their values and ends"
        return f"{rows}, as the graph carries them (not deep)"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the numbers, each with the entry it is about."""
        return tuple(f"{line.entry.id}: {note}" for line in self.lines for note in line.notes)

    def stated(self) -> tuple[tuple[str, str], ...]:
        """The facts by their names, as every format tells them."""
        facts = self.facts
        told = [("source", facts.source), ("target", facts.target), ("mapping", facts.mapping)]
        told += [("run", str(facts.run))] if facts.run is not None else []
        told += [("taken", moment(self.taken))]
        told += [("age", age(facts.made - self.taken))] if facts.made is not None else []
        told += [
            ("snapshot", self.fence or "–"),
            ("compared", self.method),
            ("sample", self.bound),
            ("verdict", self.verdict),
        ]
        return tuple(told)


def make_report(ledger: Ledger, facts: Facts, charts: Sequence[Chart] = ()) -> Report:
    """The report of a ledger; `charts` are further ones, shown where a format can draw."""
    digests = {digest.entity: digest for digest in ledger.digests}
    found: dict[str, list[Difference]] = {}
    for difference in ledger.differences:
        found.setdefault(difference.entity, []).append(difference)
    lines = [
        _line(number, entry, digests.get(entry.id), _standing(found.get(entry.id, ())))
        for number, entry in enumerate(ledger.entries, 1)
    ]
    numbers = dict.fromkeys(found, 0) | {line.id: n for n, line in enumerate(ledger.entries, 1)}
    groups = [
        group
        for id_, number in sorted(numbers.items(), key=_by_line)
        for group in _groups(number, id_, found.get(id_, ()))
    ]
    sampled, differing = ledger.sampled
    shown = replace(
        facts,
        source=one_line(redact(facts.source)),
        target=one_line(redact(facts.target)),
        mapping=one_line(redact(facts.mapping)),
    )
    return Report(
        shown,
        ledger.taken,
        one_line(ledger.fence),
        ledger.balanced,
        tuple(lines),
        tuple(_totals(ledger.entries)),
        tuple(group for group in groups if group.state in _STANDS),
        sampled,
        differing,
        all(digest.deep for digest in ledger.digests) if ledger.digests else None,
        (*charts, *(chart for check in ledger.checks for chart in _spread(check))),
        tuple(map(_shown_check, sorted(ledger.checks, key=_by_kind_of_check))),
        tuple(group for group in groups if group.state not in _STANDS),
        tuple(_accepted(ledger)),
    )


_STANDS = ("mismatched", "suspended")


def _standing(differences: Iterable[Difference]) -> int:
    """How many are mismatches still."""
    return sum(one.state == "mismatched" for one in differences)


def _by_kind_of_check(check: Check) -> int:
    return list(CHECKS).index(check.kind)


def _accepted(ledger: Ledger) -> Iterator[Accepted]:
    """The entries and checks that are accepted as they are."""
    for entry in ledger.entries:
        if entry.reason:
            found = replace(entry, reason="", accepted=0, repaired=0).verdict
            yield Accepted("entry", *map(_on_one_line, (entry.id, found, entry.reason)))
    for check in ledger.checks:
        if check.reason and not check.passed:
            name = f"{CHECKS[check.kind][0]} {check.name}".rstrip()
            found = check.why or f"source {check.source}, graph {check.graph}"
            yield Accepted("check", *map(_on_one_line, (name, found, check.reason)))


def checks_by_kind(checks: Sequence[Check]) -> Iterator[tuple[str, str, list[Check]]]:
    """The title and the meaning of each kind of check that there is, and its checks."""
    for kind, (title, meaning) in CHECKS.items():
        if own := [check for check in checks if check.kind == kind]:
            yield title, meaning, own


def result_of(check: Check) -> tuple[str, str]:
    """The mark of a check, and what came out in words."""
    if not check.passed and check.reason:
        why = f"{check.why}; " if check.why else ""
        return STATES["accepted"][0], f"accepted: {why}{check.reason}"
    mark, result = ("✓", "passed") if check.passed else ("✗", "failed")
    return mark, f"{result}: {check.why}" if check.why else result


def state_of(entry: Entry) -> str:
    """The state of an entry with its mark."""
    return f"{STATES[entry.state][0]} {entry.state}"


def _shown_check(check: Check) -> Check:
    """A check with its texts on one line each."""
    return replace(
        check,
        name=_on_one_line(check.name),
        source=_on_one_line(check.source),
        graph=_on_one_line(check.graph),
        why=_on_one_line(check.why),
        reason=_on_one_line(check.reason),
        source_sql=runnable(check.source_sql),
        target_gql=runnable(check.target_gql),
    )


def _on_one_line(text: str) -> str:
    return _clipped(one_line(redact(text)))


MOST_BARS = 40
"""Degrees that are drawn of a distribution."""


def _spread(check: Check) -> Iterator[Chart]:
    """How many nodes have how many relationships, in the source and in the graph."""
    if not (check.in_source or check.in_graph):
        return
    source, graph = dict(check.in_source), dict(check.in_graph)
    degrees = sorted(source.keys() | graph.keys())
    drawn = degrees[:MOST_BARS]
    yield Chart(
        one_line(check.name),
        "Nodes by how many of these relationships they have.",
        ("source", "graph"),
        tuple((f"{n:,}", (source.get(n, 0), graph.get(n, 0))) for n in drawn),
        left_out=len(degrees) - len(drawn),
    )


def first_of(groups: Sequence[Group], most: int) -> tuple[Group, ...]:
    """The groups with at most so many differences in all, ready to be shown.

    Each group has its fair share, so that a big one leaves room for the small ones; those for
    which none is left are there without differences.
    """
    shares = _shares([len(group.differences) for group in groups], most)
    return tuple(
        replace(group, differences=tuple(map(_ready, group.differences[:share])))
        for group, share in zip(groups, shares, strict=True)
    )


def bound_in_words(sampled: int, differing: int) -> str:
    """`0 of 3,000 sampled: at most 0.1 % wrong with 95 % confidence`."""
    if sampled == 0:
        return "nothing was sampled"
    bound = percent(most_wrong(sampled, differing))
    return f"{differing:,} of {sampled:,} sampled: at most {bound} wrong with 95 % confidence"


def percent(share: float) -> str:
    """A share in percent with two digits that count, rounded up: a bound stays one."""
    value = Decimal(f"{share * 100:.10g}")
    if not value:
        return "0 %"
    value = value.quantize(Decimal(1).scaleb(value.adjusted() - 1), ROUND_UP)
    text = f"{value:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def moment(seconds: float) -> str:
    """A moment in UTC: a report is read in another place than it was made."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def age(seconds: float) -> str:
    """How old a validation is: `3 days, 2 hours`, or `5 minutes`."""
    minutes = max(0, int(seconds)) // 60
    if not minutes:
        return "under a minute"
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "day"), (hours, "hour"), (minutes % 60, "minute")]
    told = [f"{n:,} {word}{'' if n == 1 else 's'}" for n, word in parts if n]
    return ", ".join(told[:2])


COLUMNS = (
    *("source rows", "in graph", "dead", "orphans", "settled", "missing"),
    *("nulls", "filtered", "sampled"),
)


def numbers_of(entry: Entry) -> tuple[str, ...]:
    """The numbers of an entry in the order of `COLUMNS`; empty where they cannot be."""
    ends = entry.kind == "relationship"
    rows = entry.kind in ("node", "relationship")
    return (
        f"{entry.source_rows:,}",
        f"{entry.in_graph:,}",
        f"{entry.dead:,}" if rows else "",
        f"{entry.orphans:,}" if ends else "",
        signed(entry.settled) if rows else "",
        signed(entry.missing),
        f"{entry.nulls:,}" if ends else "",
        f"{entry.filtered:,}" if rows else "",
        f"{entry.sampled:,}" if rows else "",
    )


def signed(number: int) -> str:
    """A number with a true minus sign: what is too many is missing less than nothing."""
    return f"{number:,}".replace("-", "−")


# -- lines ----------------------------------------------------------------------------------------


def _line(number: int, entry: Entry, digest: EntityDigest | None, named: int) -> Line:
    shown = replace(
        entry,
        id=_clipped(one_line(entry.id)),
        table=_clipped(one_line(entry.table)),
        reason=_on_one_line(entry.reason),
        source_sql=runnable(entry.source_sql),
        target_gql=runnable(entry.target_gql),
    )
    return Line(number, shown, _equation(entry), digest, named, tuple(_notes(entry, digest, named)))


def _equation(entry: Entry) -> Equation:
    left, there = _WORDS[entry.kind]
    right = [Term(there, entry.in_graph)]
    apart = []
    if entry.kind == "relationship" or entry.orphans:
        right.append(Term("orphans", entry.orphans))
        if entry.nulls:
            apart.append(f"{entry.nulls:,} null, none expected")
    if entry.kind in ("node", "relationship") or entry.dead:
        right.append(Term("dead", entry.dead))
    if entry.filtered:
        apart.append(f"filtered {entry.filtered:,} apart")
    if entry.settled:
        right.append(Term(SETTLED, abs(entry.settled), "+" if entry.settled > 0 else "−"))
    if entry.missing > 0:
        right.append(Term("missing", entry.missing))
    if entry.missing < 0:
        right.append(Term("too many", -entry.missing, "−"))
    return Equation(Term(left, entry.source_rows), tuple(right), tuple(apart))


def _notes(entry: Entry, digest: EntityDigest | None, named: int) -> Iterator[str]:
    if digest is not None and digest.cut_off:
        yield "more differs than is named here: so much does that it was not all told apart"
    elif entry.mismatched > named:
        yield f"of {entry.mismatched:,} mismatched keys {named:,} are named"
    if entry.suspended:
        keys = "key" if entry.suspended == 1 else "keys"
        told = f"{entry.suspended:,} {keys} changed at every look"
        yield f"suspended: {told}: validate again when it is calmer"
    if entry.stale:
        changes = "change" if entry.stale == 1 else "changes"
        yield f"stale: {entry.stale:,} captured {changes} touched it since: validate again"


def _totals(entries: Sequence[Entry]) -> Iterator[Total]:
    for kind in KINDS:
        own = [entry for entry in entries if entry.kind == kind]
        if own:
            yield Total(
                kind,
                len(own),
                sum(not entry.balanced for entry in own),
                sum(entry.source_rows for entry in own),
                sum(entry.in_graph for entry in own),
                sum(entry.dead for entry in own),
                sum(entry.orphans for entry in own),
                sum(entry.nulls for entry in own),
                sum(entry.filtered for entry in own),
                sum(max(0, entry.missing) for entry in own),
                sum(max(0, -entry.missing) for entry in own),
                sum(entry.duplicates for entry in own),
                sum(entry.misplaced for entry in own),
                sum(entry.sampled for entry in own),
                sum(entry.mismatched for entry in own),
                sum(entry.suspended for entry in own),
                sum(entry.settled for entry in own),
                sum(entry.accepted for entry in own),
                sum(entry.repaired for entry in own),
            )


# -- differences ----------------------------------------------------------------------------------


def _by_line(numbered: tuple[str, int]) -> tuple[bool, int]:
    """In the order of the lines; what belongs to none comes last."""
    return not numbered[1], numbered[1]


def _groups(line: int, entity: str, differences: Iterable[Difference]) -> Iterator[Group]:
    """The differences of an entity by state, cause and reason, in the order of `CAUSES`."""
    causes = (*CAUSES.values(), *_WITHOUT_CAUSE.values())
    orders = {words: number for number, words in enumerate(causes)}
    states = {state: number for number, state in enumerate(STATES)}
    found: dict[tuple[DifferenceState, tuple[str, str], str], list[Difference]] = {}
    for one in differences:
        words = CAUSES.get(one.cause) or _WITHOUT_CAUSE[one.where]
        found.setdefault((one.state, words, one.reason), []).append(one)
    name = _clipped(one_line(entity))
    for (state, words, reason), some in sorted(
        found.items(), key=lambda item: (states[item[0][0]], orders[item[0][1]], item[0][2])
    ):
        told = _on_one_line(reason)
        yield Group(line, name, *words, len(some), tuple(some), state, told)


def _shares(counts: Sequence[int], most: int) -> list[int]:
    """How many of each are shown: small groups whole, big ones as many as are left for each."""
    shares, left = [0] * len(counts), most
    order = sorted(range(len(counts)), key=counts.__getitem__)
    for place, number in enumerate(order):
        shares[number] = min(counts[number], left // (len(order) - place))
        left -= shares[number]
    return shares


def _ready(difference: Difference) -> Difference:
    return replace(
        difference,
        entity=_clipped(one_line(difference.entity)),
        key=_clipped(one_line(difference.key)),
        values=tuple(_side_by_side(*value) for value in difference.values),
        source_sql=runnable(difference.source_sql),
        target_gql=runnable(difference.target_gql),
    )


def _side_by_side(name: str, source: str, graph: str) -> tuple[str, str, str]:
    """A value of both sides; two that look the same are told by their code points."""
    both = (one_line(source), one_line(graph))
    if source != graph and _look(source) == _look(graph):
        both = (_code_points(source), _code_points(graph))
    same = len(_common(*both))
    begin = max(0, same - _BEFORE)
    return _clipped(one_line(name)), _clipped(both[0], begin), _clipped(both[1], begin)


def _look(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _code_points(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _common(first: str, second: str) -> str:
    """What both begin with."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return first[:place]
    return min(first, second, key=len)


def _clipped(text: str, begin: int = 0) -> str:
    """A text that may be long: from `begin` on, and how long it is."""
    if len(text) <= LONGEST_VALUE:
        return text
    head = "…" if begin else ""
    piece = text[begin : begin + LONGEST_VALUE]
    tail = "…" if begin + LONGEST_VALUE < len(text) else ""
    return f"{head}{piece}{tail} ({len(text):,} characters)"


_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})


def runnable(query: str) -> str:
    """A query to be shown and copied: its lines and spaces stay, what could mislead is visible."""
    if not query.isascii() or not query.replace("\n", "").isprintable():
        query = "".join(repr(c)[1:-1] if _misleads(c) else c for c in query)
    if len(query) <= LONGEST_QUERY:
        return query
    more = len(query) - LONGEST_QUERY
    return f"{query[:LONGEST_QUERY]}… and {more:,} characters more, see --format json"


def _misleads(character: str) -> bool:
    if character == "\n":
        return False
    return character in _TURNING or unicodedata.category(character) in _HIDDEN
