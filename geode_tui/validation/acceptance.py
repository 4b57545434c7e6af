"""What of a ledger is settled: accepted by somebody for a reason, or repaired since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from geode_tui.validation.ledger import Check, Difference, Entry, Ledger


@dataclass(frozen=True)
class Settled:
    """By the sign of a difference, an entry or a check: why it is accepted, or who repaired it."""

    accepted: Mapping[str, str] = field(default_factory=dict)
    repaired: Mapping[str, str] = field(default_factory=dict)


def settle(ledger: Ledger, settled: Settled) -> Ledger:
    """The ledger with what is accepted or repaired told as such.

    A row counts no more in what is wrong with its entry. An entry of which more differs than was
    told one by one stays mismatched: nobody has seen all of it.
    """
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
