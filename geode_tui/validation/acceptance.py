"""What of a ledger is settled: accepted by somebody for a reason, repaired or touched since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from geode_tui.validation.ledger import Check, Difference, Entry, Ledger


@dataclass(frozen=True)
class Settled:
    """By the sign of a difference, an entry or a check: why it is accepted, or who repaired it.

    `touched` is by entity how many captured changes have touched it by now.
    """

    accepted: Mapping[str, str] = field(default_factory=dict)
    repaired: Mapping[str, str] = field(default_factory=dict)
    touched: Mapping[str, int] = field(default_factory=dict)


def settle(ledger: Ledger, settled: Settled) -> Ledger:
    """The ledger with what is accepted or repaired told as such, and what was touched since.

    A row counts no more in what is wrong with its entry. An entry of which more differs than was
    told one by one stays mismatched: nobody has seen all of it.
    """
    ledger = _touched(ledger, settled.touched)
    if not (settled.accepted or settled.repaired):
        return ledger
    differences = tuple(_difference(one, settled) for one in ledger.differences)
    by_entity: dict[str, list[tuple[Difference, Difference]]] = {}
    for before, now in zip(ledger.differences, differences, strict=True):
        if now.state != before.state:
            by_entity.setdefault(now.entity, []).append((before, now))
    cut_off = {digest.entity for digest in ledger.digests if digest.cut_off}
    entries = tuple(
        _entry(_counted(entry, by_entity.get(entry.id, []), entry.id in cut_off), settled)
        for entry in ledger.entries
    )
    checks = tuple(_check(check, settled) for check in ledger.checks)
    return replace(ledger, entries=entries, differences=differences, checks=checks)


def _touched(ledger: Ledger, now: Mapping[str, int]) -> Ledger:
    """The ledger with how many changes came to each entry since it was begun."""
    then = dict(ledger.touched or ())
    since = {name: count - then.get(name, 0) for name, count in now.items()}
    if not any(count > 0 for count in since.values()):
        return ledger
    entries = (
        replace(entry, stale=max(0, since.get(_owner(entry, since), 0))) for entry in ledger.entries
    )
    return replace(ledger, entries=tuple(entries))


def _owner(entry: Entry, entities: Iterable[str]) -> str:
    """The entity that an entry is about: `User:Admin` and `User.city` are about `User`."""
    if entry.kind in ("node", "relationship"):
        return entry.id
    owners = [one for one in entities if entry.id.startswith((f"{one}:", f"{one}."))]
    return max(owners, key=len, default="")


def _difference(one: Difference, settled: Settled) -> Difference:
    if reason := settled.repaired.get(one.sign):
        return replace(one, state="repaired", reason=reason)
    if reason := settled.accepted.get(one.sign):
        return replace(one, state="accepted", reason=reason)
    return one


def _counted(entry: Entry, pairs: Sequence[tuple[Difference, Difference]], cut_off: bool) -> Entry:
    """The entry without the rows that are settled: each as it was before, and as it is now."""
    if not pairs or entry.kind not in ("node", "relationship"):
        return entry
    before = [one for one, _ in pairs]
    now = [one for _, one in pairs]
    suspended = sum(one.state == "suspended" for one in before)
    mismatched = entry.mismatched - (sum(one.digested for one in before) - suspended)
    doubled = sum(one.cause == "doubled" for one in before)
    here = sum(one.where == "source" for one in before)
    there = sum(one.where == "graph" for one in before)
    return replace(
        entry,
        mismatched=max(1 if cut_off else 0, mismatched),
        suspended=max(0, entry.suspended - suspended),
        differing=max(0, entry.differing - sum(one.sampled for one in before)),
        duplicates=max(0, entry.duplicates - doubled),
        settled=entry.settled + here - there,
        accepted=sum(one.state == "accepted" for one in now),
        repaired=sum(one.state == "repaired" for one in now),
    )


def _entry(entry: Entry, settled: Settled) -> Entry:
    reason = settled.accepted.get(entry.sign, "")
    return replace(entry, reason=reason) if reason and not entry.balanced else entry


def _check(check: Check, settled: Settled) -> Check:
    reason = settled.accepted.get(check.sign, "")
    return replace(check, reason=reason) if reason and not check.passed else check
