"""What was counted in the source itself, on demand: exact numbers for the assessment."""

from __future__ import annotations

from dataclasses import dataclass, field

from geode_tui.catalog import TableName

Column = tuple[TableName, str]


@dataclass(frozen=True)
class Counts:
    """Exact counts of the tables that a mapping reads; a table that is missing was not counted.

    `rows` are the rows of a table; `out_of_range` the values of a column that the graph cannot
    carry, as pairs of what they are and how many (all pairs, zeros too); `widest` the bytes of a
    column's largest value; `orphans` the rows of a table whose reference of that name points at
    nothing; `left_out` the rows that a rule's condition leaves out, by the rule's id;
    `not_counted` why a table could not be counted.
    """

    rows: dict[TableName, int] = field(default_factory=dict)
    out_of_range: dict[Column, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    widest: dict[Column, int] = field(default_factory=dict)
    orphans: dict[Column, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    not_counted: dict[TableName, str] = field(default_factory=dict)
