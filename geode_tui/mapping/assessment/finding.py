"""A finding, and how findings at many columns of a table become one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from geode_tui.catalog import TableName

Severity = Literal["action", "risk", "information"]
SEVERITIES: tuple[Severity, ...] = ("action", "risk", "information")

_CODES_LISTED = """
mapping_misfit no_permission row_security not_mapped no_key reference_not_followed
reference_not_read not_validated orphans lossy_type number_out_of_range date_out_of_range
list_out_of_range inheritance supernode expression joined_rows not_moved not_carried converted
names_meet name_changed
unsupported_type generated_column condition keep_first not_inverted deferrable name_collision
unnamed_label wide_row wide_value many_columns never_analyzed old_estimate not_counted idle_waiver
"""
CODES = frozenset(_CODES_LISTED.split())
"""The stable names of all findings; docs/cli.md says what each means."""

# A run stops at these whatever a person accepts.
NOT_WAIVABLE = frozenset({"mapping_misfit", "no_permission", "row_security", "names_meet"})

SHOWN = 20
"""So many names are listed, the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found: `action` must be mended before a run, `risk` may cost rows or exactness.

    `code` is a stable name; `subject` the table, column or rule; `evidence` what was seen, with
    its numbers; `mend` what to do, in words; `sql` the SQL that does it or shows the rows, ready
    to be copied; `waived` the reason for which somebody accepted it, empty where nobody did.
    """

    severity: Severity
    code: str
    subject: str
    message: str
    evidence: str = ""
    mend: str = ""
    sql: str = ""
    waived: str = ""

    @property
    def waivable(self) -> bool:
        """Whether a person may accept it."""
        return self.code not in NOT_WAIVABLE

    @property
    def blocks(self) -> bool:
        """Whether no run may begin because of it."""
        return self.severity == "action" and not self.waived

    @property
    def next_step(self) -> str:
        """The mend on one line: its SQL, and its words."""
        return " ".join(part for part in (self.sql.replace("\n", " "), self.mend) if part)


@dataclass(frozen=True, slots=True)
class Part:
    """What was found at one column; parts of one table and code are told as one finding."""

    severity: Severity
    code: str
    table: TableName
    column: str
    message: str
    evidence: str = ""
    mend: str = ""
    sql: str = ""

    @property
    def subject(self) -> str:
        """The column's name with its table's."""
        return f"{self.table}.{self.column}"


# What parts with different messages have in common.
_IN_COMMON = {
    "lossy_type": "values of these columns change on the way",
    "converted": "values of these columns are kept in another form",
    "unsupported_type": "the graph has no such types: kept as the text that PostgreSQL prints",
    "number_out_of_range": "numbers that the graph cannot carry go to the dead letters",
    "date_out_of_range": "dates and times that the graph cannot carry go to the dead letters",
    "list_out_of_range": "lists that the graph cannot carry go to the dead letters",
    "wide_value": "values that are large for a property",
}


def joined(parts: Sequence[Part]) -> Finding:
    """One finding of parts that share table, code and severity."""
    first = parts[0]
    subject = first.subject if len(parts) == 1 else str(first.table)
    messages = {part.message for part in parts}
    message = first.message if len(messages) == 1 else _IN_COMMON.get(first.code, first.message)
    if len(parts) > 1:
        message = f"{len(parts)} columns: {message}"
    evidence = listed([part.evidence for part in parts if part.evidence])
    mend = "; ".join(dict.fromkeys(part.mend for part in parts if part.mend))
    sql = "\n".join(dict.fromkeys(part.sql for part in parts if part.sql))
    return Finding(first.severity, first.code, subject, message, evidence, mend, sql)


def together(parts: Iterable[Part]) -> Iterator[Finding]:
    """The findings of parts, one for each table, code and severity."""
    groups: dict[tuple[object, ...], list[Part]] = {}
    for part in dict.fromkeys(parts):
        groups.setdefault((part.table, part.code, part.severity), []).append(part)
    for group in groups.values():
        yield joined(group)


def listed(names: Sequence[str]) -> str:
    """Names after one another, the first `SHOWN` and how many more."""
    shown = ", ".join(names[:SHOWN])
    more = len(names) - SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 table`, `2,000 tables`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
