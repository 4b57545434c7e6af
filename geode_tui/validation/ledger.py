"""The balance sheet of a migration: what the source has, and where each row of it is."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Literal

EntryKind = Literal["node", "relationship", "label", "join"]
EntryState = Literal["mismatched", "suspended", "accepted", "stale", "repaired", "validated"]
DifferenceState = Literal["mismatched", "suspended", "accepted", "repaired"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger, in rows.

    A label balances when `source_rows` = `in_graph` + `dead`. A relationship balances when the
    rows with both ends set, `source_rows`, = `in_graph` + `orphans` + `dead`; `nulls` are rows
    where an end is null, of which none is expected in the graph. `filtered` are rows that the
    mapping leaves out: by a condition, or as a second row with the same key. A `label` entry is
    about nodes that get a further label, a `join` entry about nodes that hold a joined
    row. `duplicates` are keys or
    relationships that are there more than once, `misplaced` relationships of the type between
    the wrong labels, and nodes with the label that no rule made. `mismatched` keys differ by their
    digests and did so again later, `suspended` ones changed at every look. Of what
    differs `accepted` has been accepted and `repaired` written again since: it counts no more in
    the other numbers, and `settled` rows of it were in the source and not in the graph (negative:
    the other way). `reason` is why the whole entry is accepted as it is. `stale` changes touched
    it since the ledger was taken. `source_sql` and `target_gql` are the two queries that anyone
    can run.
    """

    id: str
    kind: EntryKind
    table: str
    source_rows: int
    in_graph: int
    dead: int = 0
    orphans: int = 0
    nulls: int = 0
    filtered: int = 0
    duplicates: int = 0
    misplaced: int = 0
    sampled: int = 0
    differing: int = 0
    source_sql: str = ""
    target_gql: str = ""
    mismatched: int = 0
    suspended: int = 0
    accepted: int = 0
    repaired: int = 0
    settled: int = 0
    reason: str = ""
    stale: int = 0

    @property
    def missing(self) -> int:
        """Rows that are nowhere; negative when the graph has too many."""
        here = self.in_graph + self.dead + self.orphans + self.settled
        return self.source_rows - here

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for, or the entry accepted as it is."""
        return bool(self.reason) or not self._wrong

    @property
    def _wrong(self) -> bool:
        counted = self.missing or self.duplicates or self.misplaced or self.differing
        return bool(counted or self.mismatched or self.suspended)

    @property
    def state(self) -> EntryState:
        """What a validation has come to."""
        if not self.balanced:
            only_suspended = not (self.missing or self.mismatched or self.differing)
            return "suspended" if self.suspended and only_suspended else "mismatched"
        if self.accepted or self.reason:
            return "accepted"
        if self.stale:
            return "stale"
        return "repaired" if self.repaired else "validated"

    @property
    def sign(self) -> str:
        """What an acceptance of the whole entry is about: it, and what is wrong with it."""
        return sign_of("entry", self.id, self.kind, self._told)

    @property
    def verdict(self) -> str:
        """What is wrong in words, or `balanced`; what is accepted or repaired, what came since."""
        parts = [self._told or "balanced"]
        if self.reason:
            parts.append("accepted as it is")
        if self.accepted:
            parts.append(f"{self.accepted:,} accepted")
        if self.repaired:
            parts.append(f"{self.repaired:,} repaired since")
        if self.stale:
            parts.append(f"{self.stale:,} {'change' if self.stale == 1 else 'changes'} since")
        return ", ".join(parts)

    @property
    def _told(self) -> str:
        """What is wrong in words."""
        parts = []
        if self.missing > 0:
            parts.append(f"{self.missing:,} missing")
        if self.missing < 0:
            parts.append(f"{-self.missing:,} too many")
        if self.duplicates:
            parts.append(f"{self.duplicates:,} duplicated")
        if self.misplaced:
            between = "between wrong labels" if self.kind == "relationship" else "of no rule"
            parts.append(f"{self.misplaced:,} {between}")
        if self.differing:
            parts.append(f"{self.differing:,} of {self.sampled:,} sampled differ")
        if self.mismatched:
            parts.append(f"{self.mismatched:,} mismatched")
        if self.suspended:
            parts.append(f"{self.suspended:,} suspended")
        return ", ".join(parts)


Cause = Literal[
    "",
    "missing",
    "end missing",
    "extra",
    "doubled",
    "stale",
    "edited",
    "type",
    "labels",
    "form",
    "collation",
    "refused",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that differs: its key, and what each side holds where they differ.

    `where` is `both` when the values differ, `source` when the row is only in the source, `graph`
    when what the graph holds has no row. `source_sql` and `target_gql` show it on each side.
    `cause` says how it came about: `missing` and `extra` tell where it is, `end missing` that a
    relationship lacks a node, `refused` that the row cannot be carried and is no dead letter,
    `doubled` that there are two; the values are `stale` when the graph
    holds what a row was, and `edited` when they were changed in the graph; they have another
    `type`, or are the same text in another Unicode `form` or to a loose `collation`; the `labels`
    are others. `mark` is the
    digest of a row that is only in the source. It stays `mismatched` until it is accepted or
    repaired, for which `reason` says why and by whom; a `suspended` one changed at every look.
    It was found among the rows that were `sampled`, by the `digested` ones, or by both.
    """

    entity: str
    key: str
    where: Literal["both", "source", "graph"]
    values: tuple[tuple[str, str, str], ...]
    source_sql: str = ""
    target_gql: str = ""
    cause: Cause = ""
    mark: str = ""
    state: DifferenceState = "mismatched"
    reason: str = ""
    sampled: bool = False
    digested: bool = False

    @property
    def sign(self) -> str:
        """What an acceptance of it is about: the key, and what exactly differs."""
        return sign_of("row", self.entity, self.key, self.where, self.values, self.mark)


@dataclass(frozen=True, slots=True)
class EntityDigest:
    """How the rows of an entity were compared by their digests.

    The two sides were split in `parts`, of which `differing` were not the same; `rows` is how many
    rows the source has, `read` how many rows of both sides were looked at one by one. `deep`
    digests were made anew of the values in the graph. With `cut_off` more differs than was told.
    """

    entity: str
    deep: bool
    parts: int
    differing: int
    rows: int
    read: int
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One more thing that was looked at, `source` and `graph` in words, and whether they agree.

    `constraints` of a label, `labels` and `types` that no rule makes, `degrees` of the nodes at an
    end of a relationship: `in_source` and `in_graph` are then pairs of a degree and how many nodes
    have it. `required` of an entity are the properties that the source says are never null,
    `statistics` those of a property's values, a `pair` is what the SQL and the GQL of a person
    give. `why` says what is wrong or worth a look; the two queries show it.
    """

    kind: Literal["constraints", "labels", "types", "degrees", "required", "statistics", "pair"]
    name: str
    passed: bool
    source: str
    graph: str
    why: str = ""
    source_sql: str = ""
    target_gql: str = ""
    in_source: tuple[tuple[int, int], ...] = ()
    in_graph: tuple[tuple[int, int], ...] = ()
    reason: str = ""

    @property
    def fine(self) -> bool:
        """Whether it passed, or is accepted as it is."""
        return self.passed or bool(self.reason)

    @property
    def sign(self) -> str:
        """What an acceptance of it is about: the check, and what came out."""
        return sign_of("check", self.kind, self.name, self.source, self.graph)


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries with the differences found; `taken` in seconds since the epoch.

    `touched` is how many captured changes had touched each entity when it was begun.
    """

    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...] = ()
    fence: str = ""
    taken: float = 0.0
    digests: tuple[EntityDigest, ...] = ()
    checks: tuple[Check, ...] = ()
    touched: tuple[tuple[str, int], ...] | None = None

    @property
    def valid(self) -> bool:
        """Whether every entry balances and every check passed, or is accepted."""
        return self.balanced and all(check.fine for check in self.checks)

    @property
    def sampled(self) -> tuple[int, int]:
        """How many rows were read back value by value, and how many of them differ."""
        return sum(e.sampled for e in self.entries), sum(e.differing for e in self.entries)

    @property
    def balanced(self) -> bool:
        """Whether every entry balances."""
        return all(entry.balanced for entry in self.entries)


def sign_of(*parts: object) -> str:
    """A short text that stands for some others, all of them."""
    text = json.dumps(parts, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def most_wrong(sampled: int, differing: int) -> float:
    """The largest share of rows that may be wrong, with 95 % confidence, after a sample.

    None wrong of n: 3/n (the rule of three, Hanley and Lippman-Hand 1983); else the upper end of
    Wilson's interval (1927). Both are for a random sample.
    """
    if sampled == 0:
        return 1.0
    if differing == 0:
        return min(1.0, 3 / sampled)
    z, share = 1.6449, differing / sampled
    middle = share + z * z / (2 * sampled)
    spread = z * math.sqrt(share * (1 - share) / sampled + z * z / (4 * sampled * sampled))
    return min(1.0, (middle + spread) / (1 + z * z / sampled))
