"""What a validation looked at, as a tree: kinds of checks, entities, causes, rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from geode_tui.validation.ledger import Check, Difference, Entry, EntryState, Ledger
from geode_tui.validation.report import CHECKS, STATES, Facts, Group, Line, make_report
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figures import counted, rows

State = EntryState
Level = Literal["kind", "entity", "cause", "check"]

_COLOURS: dict[State, str] = {
    "mismatched": "$text-error",
    "suspended": "$text-warning",
    "accepted": "$text-accent",
    "stale": "$text-warning",
    "repaired": "$text-primary",
    "validated": "$text-success",
}
MARKS = {state: (STATES[state][0], colour) for state, colour in _COLOURS.items()}
"""The states with their marks and colours, the worst first."""
_RANKS = {state: rank for rank, state in enumerate(MARKS)}
_ROWS_MEANING = (
    "Every row of the source against the graph: counted, and where digests were made, compared by"
    " them down to the keys that differ."
)
_SAMPLE_MEANING = "Random rows, read back from the graph and compared value by value."


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A line of the tree that is no row. `path` tells it from all others.

    It has `branches` or `rows` below it, or neither. `count` is how many there are; `told` its
    state in words.
    """

    path: tuple[str, ...]
    title: str
    level: Level
    state: State
    told: str
    count: int | None = None
    branches: tuple[Branch, ...] = ()
    rows: tuple[Difference, ...] = ()
    meaning: str = ""
    line: Line | None = None
    entry: Entry | None = None
    check: Check | None = None

    @property
    def leafless(self) -> bool:
        """Whether nothing is below it."""
        return not (self.branches or self.rows)

    def differences(self) -> Iterator[Difference]:
        """All rows below it."""
        yield from self.rows
        for branch in self.branches:
            yield from branch.differences()

    def checks(self) -> Iterator[Check]:
        """It, or those below it, where they are checks."""
        if self.check is not None:
            yield self.check
        for branch in self.branches:
            yield from branch.checks()


def checks_of(ledger: Ledger | None) -> tuple[Branch, ...]:
    """The tree of a ledger, what is worst first within each branch; empty without a ledger."""
    if ledger is None:
        return ()
    report = make_report(ledger, Facts("", "", ""))
    groups: dict[str, list[Group]] = {}
    for group in (*report.groups, *report.settled):
        groups.setdefault(group.differences[0].entity, []).append(group)
    known = {entry.id: (entry, line) for entry, line in _with_lines(ledger.entries, report.lines)}
    entities = [*known, *(id_ for id_ in groups if id_ not in known)]
    parts = [
        _rows_branch(ledger, [_entity(id_, groups, known) for id_ in entities]),
        _sample_branch(ledger, [_sampled(id_, groups, known) for id_ in entities]),
        *_check_branches(ledger.checks),
    ]
    return tuple(part for part in parts if part is not None)


def state_text(state: State, words: str = "") -> str:
    """`✗ mismatched`, or other words behind the mark."""
    return f"{MARKS[state][0]} {words or state}"


def check_state(check: Check) -> State:
    """The state of a check: passed is `validated`, failed `mismatched`."""
    if check.passed:
        return "validated"
    return "accepted" if check.reason else "mismatched"


def check_title(kind: str) -> str:
    """A kind of check in words."""
    return CHECKS[kind][0].lower()


def _with_lines(entries: Sequence[Entry], lines: Sequence[Line]) -> Iterator[tuple[Entry, Line]]:
    return zip(entries, lines, strict=True)


_Known = Mapping[str, tuple[Entry, Line]]


def _entity(id_: str, groups: Mapping[str, list[Group]], known: _Known) -> Branch:
    """An entity with the causes of what digests and counts found."""
    entry, line = known.get(id_, (None, None))
    path = ("rows", id_)
    causes = _causes(path, groups.get(id_, ()), lambda one: one.digested or not one.sampled)
    state = entry.state if entry is not None else _worst(cause.state for cause in causes)
    count = sum(len(cause.rows) for cause in causes)
    told = state_text(state)
    return Branch(
        path, entity_title(id_), "entity", state, told, count or None, causes, line=line,
        entry=entry,
    )  # fmt: skip


def _sampled(id_: str, groups: Mapping[str, list[Group]], known: _Known) -> Branch | None:
    """An entity with the causes of what its sample found; None where nothing was sampled."""
    entry, line = known.get(id_, (None, None))
    path = ("sample", id_)
    causes = _causes(path, groups.get(id_, ()), lambda one: one.sampled)
    sampled = entry.sampled if entry is not None else 0
    if not (sampled or causes):
        return None
    differing = entry is not None and entry.differing
    state = "mismatched" if differing else _worst(cause.state for cause in causes)
    told = state_text(state, f"{entry.differing:,} of {sampled:,}" if entry else "")
    count = sum(len(cause.rows) for cause in causes)
    return Branch(
        path, entity_title(id_), "entity", state, told, count or None, causes, line=line,
        entry=entry,
    )  # fmt: skip


def _causes(
    path: tuple[str, ...], groups: Iterable[Group], wanted: Callable[[Difference], bool]
) -> tuple[Branch, ...]:
    meanings: dict[str, str] = {}
    found: dict[str, list[Difference]] = {}
    for group in groups:
        some = [one for one in group.differences if wanted(one)]
        if some:
            meanings[group.title] = group.meaning
            found.setdefault(group.title, []).extend(some)
    return tuple(
        _cause((*path, title), meanings[title], tuple(some)) for title, some in found.items()
    )


def _cause(path: tuple[str, ...], meaning: str, some: tuple[Difference, ...]) -> Branch:
    states: Counter[State] = Counter(one.state for one in some)
    told = _told(states)
    return Branch(path, path[-1], "cause", _worst(states), told, len(some), (), some, meaning)


def _told(states: Mapping[State, int]) -> str:
    """`✗ mismatched`, or with several states how many of each."""
    if len(states) == 1:
        return state_text(next(iter(states)))
    some = sorted(states, key=_RANKS.__getitem__)
    return " ".join(f"{MARKS[state][0]} {states[state]:,}" for state in some)


def _worst(states: Iterable[State]) -> State:
    return min(states, key=_RANKS.__getitem__, default="validated")


def _rows_branch(ledger: Ledger, entities: Sequence[Branch]) -> Branch:
    differing = sum(entity.state in ("mismatched", "suspended") for entity in entities)
    state = _worst(entity.state for entity in entities)
    told = f"{differing:,} of {len(entities):,} differ"
    if not differing:
        told = counted(len(entities), "entity", "entities")
    title = "rows, by digests" if ledger.digests else "rows, counted"
    return Branch(("rows",), title, "kind", state, state_text(state, told),
                  len(entities), _worst_first(entities), meaning=_ROWS_MEANING)  # fmt: skip


def _sample_branch(ledger: Ledger, found: Sequence[Branch | None]) -> Branch | None:
    entities = [entity for entity in found if entity is not None]
    if not entities:
        return None
    sampled, differing = ledger.sampled
    state = _worst(entity.state for entity in entities)
    told = state_text(state, f"{differing:,} of {rows(sampled)} differ")
    return Branch(("sample",), "sample, value by value", "kind", state, told,
                  len(entities), _worst_first(entities), meaning=_SAMPLE_MEANING)  # fmt: skip


def _check_branches(checks: Sequence[Check]) -> Iterator[Branch]:
    kinds: dict[str, list[Branch]] = {}
    for number, check in enumerate(checks):
        state = check_state(check)
        words = {"validated": "passed", "mismatched": "failed"}.get(state, "")
        title = entity_title(check.name) or check.graph
        path = (check.kind, check.name or str(number))
        one = Branch(path, title, "check", state, state_text(state, words), check=check)
        kinds.setdefault(check.kind, []).append(one)
    for kind, some in kinds.items():
        failed = sum(one.state == "mismatched" for one in some)
        state = _worst(one.state for one in some)
        told = f"{failed:,} of {len(some):,} failed" if failed else "passed"
        yield Branch((kind,), check_title(kind), "kind", state, state_text(state, told),
                     len(some), _worst_first(some), meaning=CHECKS[kind][1])  # fmt: skip


def _worst_first(branches: Iterable[Branch]) -> tuple[Branch, ...]:
    return tuple(sorted(branches, key=lambda branch: _RANKS[branch.state]))


# -- filter ---------------------------------------------------------------------------------------


def matching(branches: Sequence[Branch], text: str) -> tuple[Branch, ...]:
    """What has all words of `text`, in its own texts or those of the branches that it is in."""
    words = tuple(text.casefold().split())
    found = (_matching(branch, words) for branch in branches) if words else branches
    return tuple(branch for branch in found if branch is not None)


def entry_matches(entry: Entry, text: str) -> bool:
    """Whether an entry has all words of `text`, in its name, its state or what is wrong."""
    shown = _folded(entry.id, entity_title(entry.id), entry.table, entry.state, entry.verdict)
    return all(word in shown for word in text.casefold().split())


def _matching(branch: Branch, words: tuple[str, ...]) -> Branch | None:
    own = _branch_text(branch)
    left = tuple(word for word in words if word not in own)
    if not left:
        return branch
    inner = tuple(b for b in (_matching(one, left) for one in branch.branches) if b is not None)
    some = tuple(one for one in branch.rows if _row_matches(one, left))
    if not (inner or some):
        return None
    return replace(branch, branches=inner, rows=some, count=len(inner or some))


def _branch_text(branch: Branch) -> str:
    if branch.level == "kind":
        return _folded(branch.title)
    if branch.level == "cause":
        return _folded(branch.title, branch.path[-1])
    if (check := branch.check) is not None:
        return _folded(branch.title, check.name, check.why, branch.told, branch.state)
    # The state of an entity is not its rows': `accepted` finds the rows that are.
    state = branch.state if branch.leafless else ""
    return _folded(branch.title, branch.path[-1], state)


def _row_matches(one: Difference, words: tuple[str, ...]) -> bool:
    names = " ".join(name for name, _, _ in one.values)
    shown = _folded(one.key, one.state, one.reason, names)
    return all(word in shown for word in words)


def _folded(*texts: str) -> str:
    return "\n".join(texts).casefold()
