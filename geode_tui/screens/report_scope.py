"""How much is meant: this row, all with its cause, all of its entity, or all there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from geode_tui.validation.ledger import Check, Difference, DifferenceState, Entry
from geode_tui.widgets.check_model import Branch, check_title
from geode_tui.widgets.check_tree import Place
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figures import counted
from geode_tui.widgets.text import one_line

STANDING: tuple[DifferenceState, ...] = ("mismatched", "suspended")
ACCEPTED: tuple[DifferenceState, ...] = ("accepted",)
ROW_KINDS = ("rows", "sample")
"""The branches of the tree below which there are rows."""
MISMATCHED: tuple[DifferenceState, ...] = ("mismatched",)


@dataclass(frozen=True, slots=True)
class Scope:
    """What can be chosen, in words; `number` things in all."""

    words: str
    rows: tuple[Difference, ...] = ()
    entries: tuple[Entry, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def number(self) -> int:
        """How many things are meant."""
        return len(self.rows) + len(self.entries) + len(self.checks)

    def signs(self) -> list[tuple[str, str]]:
        """The sign of each thing, with what it is in words; takes its time for many."""
        return [
            *((row.sign, f"{row.entity} {row.key}: {row.cause or row.where}") for row in self.rows),
            *((entry.sign, f"{entry.id}: {entry.verdict}") for entry in self.entries),
            *((check.sign, f"{check.kind} {check.name}: {check.graph}") for check in self.checks),
        ]


def row_scopes(
    place: Place, branches: Sequence[Branch], states: Sequence[DifferenceState]
) -> list[Scope]:
    """The rows in these states that can be meant at a place, the fewest first."""
    found: list[Scope] = []
    if place.branches[0].path[0] not in ROW_KINDS:
        return found
    if place.row is not None and place.row.state in states:
        found.append(Scope(f"this row: {one_line(place.row.key)}", (place.row,)))
    entity = place.of("entity")
    of = f" of {one_line(entity.title)}" if entity else ""
    if (cause := place.of("cause")) is not None:
        words = cause.title if cause.title in ("missing", "extra") else f"“{cause.title}”"
        found += _all_of(f"{words}{of}", cause.differences(), states)
    if entity is not None:
        found += _all_of(of.strip(), entity.differences(), states)
    found += _all_of("of all entities", _of_all(branches), states)
    return _growing(found)


def accept_scopes(place: Place, branches: Sequence[Branch]) -> list[Scope]:
    """What can be accepted at a place."""
    own = [e for e in _entries(place) if not e.balanced]
    failed = [check for check in place.branch.checks() if not check.fine]
    return [
        *row_scopes(place, branches, STANDING),
        *(_entry_scope(entry) for entry in own),
        *_check_scopes(failed),
    ]


def withdraw_scopes(place: Place, branches: Sequence[Branch]) -> list[Scope]:
    """What was accepted at a place: its acceptance can be withdrawn."""
    own = [entry for entry in _entries(place) if entry.reason]
    accepted = [check for check in place.branch.checks() if not check.passed and check.reason]
    return [
        *row_scopes(place, branches, ACCEPTED),
        *(_entry_scope(entry) for entry in own),
        *_check_scopes(accepted),
    ]


def _entries(place: Place) -> Iterator[Entry]:
    """The entry that a place is about, where it is about one and not about a row of it."""
    if place.row is None and place.branch.level == "entity" and place.branch.entry is not None:
        yield place.branch.entry


def _entry_scope(entry: Entry) -> Scope:
    words = f"the entry {one_line(entity_title(entry.id))} as it is: {entry.verdict}"
    return Scope(words, entries=(entry,))


def _check_scopes(checks: Sequence[Check]) -> Iterator[Scope]:
    if len(checks) == 1:
        check = checks[0]
        name = f"{check_title(check.kind)} {entity_title(check.name)}".strip()
        yield Scope(f"the check {one_line(name)}", checks=(check,))
    elif checks:
        yield Scope(f"all {counted(len(checks), 'check')}", checks=tuple(checks))


def _of_all(branches: Sequence[Branch]) -> Iterator[Difference]:
    """All rows; one that two ways found comes once."""
    seen: set[int] = set()
    for branch in branches:
        for row in branch.differences():
            if id(row) not in seen:
                seen.add(id(row))
                yield row


def _all_of(
    words: str, rows: Iterable[Difference], states: Sequence[DifferenceState]
) -> Iterator[Scope]:
    some = tuple(row for row in rows if row.state in states)
    if some:
        number = f"all {len(some):,} rows" if len(some) > 1 else "the one row"
        yield Scope(f"{number} {words}", some)


def _growing(scopes: Sequence[Scope]) -> list[Scope]:
    """Those with more rows than the one before."""
    kept: list[Scope] = []
    for scope in scopes:
        if not kept or scope.number > kept[-1].number:
            kept.append(scope)
    return kept
