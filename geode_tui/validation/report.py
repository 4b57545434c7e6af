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
    EntityDigest,
    Entry,
    EntryKind,
    Ledger,
    most_wrong,
)
from geode_tui.validation.markdown import one_line

LONGEST_VALUE = 300
"""Characters of a value, a key or a name that are shown."""
LONGEST_QUERY = 4_000
"""Characters of a query that are shown."""
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
    "end missing": ("end missing", "The relationship is missing because a node of it is."),
    "extra": ("extra", "The graph holds it; the source has no row for it."),
    "doubled": ("doubled", "The graph holds it more than once."),
    "stale": ("stale", "The graph holds what the row was before it changed in the source."),
    "edited": ("edited in the graph", "It was changed in the graph after it was written."),
    "type": ("another type", "The graph holds a value of another type than the mapping's."),
    "labels": ("other labels", "The node has other labels than the mapping gives it."),
    "form": ("another Unicode form", "It is the same text in another Unicode form."),
}
_WITHOUT_CAUSE = {
    "both": ("differs", "The values differ."),
    "source": ("only in the source", "The graph has nothing for the row."),
    "graph": ("only in the graph", "The source has no row for it."),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was compared: texts without secrets. `mapping` is the name of its file."""

    source: str
    target: str
    mapping: str


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


@dataclass(frozen=True, slots=True)
class Group:
    """Differences of an entity that have the same cause; `count` with those that are not here.

    `line` is the number of its line, 0 where the ledger has none.
    """

    line: int
    entity: str
    title: str
    meaning: str
    count: int
    differences: tuple[Difference, ...]

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

    The differences in `groups` are those of the ledger as they are: `first_of` makes them ready.
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

    @property
    def valid(self) -> bool:
        """Whether every entry balances and every check passed."""
        return self.balanced and not self.failed

    @property
    def failed(self) -> int:
        """How many checks did not pass."""
        return sum(not check.passed for check in self.checks)

    @property
    def unbalanced(self) -> int:
        """How many entries differ."""
        return sum(not line.entry.balanced for line in self.lines)

    @property
    def named(self) -> int:
        """How many differences are known by name."""
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
        return told

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
        return (
            ("source", self.facts.source),
            ("target", self.facts.target),
            ("mapping", self.facts.mapping),
            ("taken", moment(self.taken)),
            ("snapshot", self.fence or "–"),
            ("compared", self.method),
            ("sample", self.bound),
            ("verdict", self.verdict),
        )


def make_report(ledger: Ledger, facts: Facts, charts: Sequence[Chart] = ()) -> Report:
    """The report of a ledger; `charts` are further ones, shown where a format can draw."""
    digests = {digest.entity: digest for digest in ledger.digests}
    found: dict[str, list[Difference]] = {}
    for difference in ledger.differences:
        found.setdefault(difference.entity, []).append(difference)
    lines = [
        _line(number, entry, digests.get(entry.id), len(found.get(entry.id, ())))
        for number, entry in enumerate(ledger.entries, 1)
    ]
    numbers = dict.fromkeys(found, 0) | {line.id: n for n, line in enumerate(ledger.entries, 1)}
    sampled, differing = ledger.sampled
    shown = Facts(*(one_line(redact(text)) for text in (facts.source, facts.target, facts.mapping)))
    return Report(
        shown,
        ledger.taken,
        one_line(ledger.fence),
        ledger.balanced,
        tuple(lines),
        tuple(_totals(ledger.entries)),
        tuple(
            group
            for id_, number in sorted(numbers.items(), key=_by_line)
            for group in _groups(number, id_, found.get(id_, ()))
        ),
        sampled,
        differing,
        all(digest.deep for digest in ledger.digests) if ledger.digests else None,
        (*charts, *(chart for check in ledger.checks for chart in _spread(check))),
        tuple(map(_shown_check, ledger.checks)),
    )


def _shown_check(check: Check) -> Check:
    """A check with its texts on one line each."""
    return replace(
        check,
        name=_on_one_line(check.name),
        source=_on_one_line(check.source),
        graph=_on_one_line(check.graph),
        why=_on_one_line(check.why),
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


COLUMNS = (
    *("source rows", "in graph", "dead", "orphans", "missing"),
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
        yield f"{entry.suspended:,} keys changed at every look: validate again when it is calmer"


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
            )


# -- differences ----------------------------------------------------------------------------------


def _by_line(numbered: tuple[str, int]) -> tuple[bool, int]:
    """In the order of the lines; what belongs to none comes last."""
    return not numbered[1], numbered[1]


def _groups(line: int, entity: str, differences: Iterable[Difference]) -> Iterator[Group]:
    """The differences of an entity by cause, in the order of `CAUSES`."""
    by_cause: dict[tuple[str, str], list[Difference]] = {
        words: [] for words in (*CAUSES.values(), *_WITHOUT_CAUSE.values())
    }
    for one in differences:
        words = CAUSES.get(one.cause) or _WITHOUT_CAUSE[one.where]
        by_cause[words].append(one)
    for (title, meaning), some in by_cause.items():
        if some:
            yield Group(line, _clipped(one_line(entity)), title, meaning, len(some), tuple(some))


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
