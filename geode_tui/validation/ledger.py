"""The balance sheet of a migration: what the source has, and where each row of it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EntryKind = Literal["node", "relationship", "label", "join"]


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
    the wrong labels, and nodes with the label that no rule made. `source_sql` and `target_gql` are
    the two queries that anyone can run.
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

    @property
    def missing(self) -> int:
        """Rows that are nowhere; negative when the graph has too many."""
        return self.source_rows - self.in_graph - self.dead - self.orphans

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for and nothing is there twice or wrongly."""
        return not (self.missing or self.duplicates or self.misplaced or self.differing)

    @property
    def verdict(self) -> str:
        """What is wrong in words, or `balanced`."""
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
        return ", ".join(parts) or "balanced"


@dataclass(frozen=True, slots=True)
class Difference:
    """A sampled row that differs: its key, and what each side holds where they differ.

    `where` is `both` when the values differ, `source` when the row is only in the source.
    `source_sql` and `target_gql` show the row on each side.
    """

    entity: str
    key: str
    where: Literal["both", "source", "graph"]
    values: tuple[tuple[str, str, str], ...]
    source_sql: str = ""
    target_gql: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All entries with the differences found; `taken` in seconds since the epoch."""

    entries: tuple[Entry, ...]
    differences: tuple[Difference, ...] = ()
    fence: str = ""
    taken: float = 0.0

    @property
    def balanced(self) -> bool:
        """Whether every entry balances."""
        return all(entry.balanced for entry in self.entries)
