"""What the values of a source look like: from the planner's statistics, or counted on demand."""

from __future__ import annotations

from dataclasses import dataclass, field

from geode_tui.catalog.model import TableName


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column's statistics, as the last ANALYZE saw them.

    `null_share` is between 0 and 1; `distinct` the estimated number of distinct values; `width`
    the average size in bytes; `common` the most common values as text with their share of all
    rows (0 to 1), the most common first. The values are data: keep them in memory only.
    """

    null_share: float
    distinct: int
    width: int
    common: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """The distinct values of a column as text with their number of rows, most rows first.

    Nulls are none of them. `distinct` is how many values there are in all; `rows` how many rows
    were looked at; `exact` whether those were all of them.
    """

    values: tuple[tuple[str, int], ...]
    distinct: int
    rows: int
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Widths:
    """The longest text of each column in bytes (0 where all are null) and its share of nulls.

    `rows` is how many rows were looked at; `exact` whether those were all of them.
    """

    longest: dict[str, int]
    null_shares: dict[str, float]
    rows: int
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows whose reference points at nothing: how many (None: not known), and some values.

    `examples` are the columns' values as text, those with most rows first.
    """

    rows: int | None
    examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class FanOut:
    """How many rows point at one row through a foreign key: median, 99th percentile, most.

    Only rows that something points at are counted. `at` is the value that most rows point at;
    `rows` how many rows were looked at (0: the planner's statistics were); `exact` whether those
    were all of them.
    """

    p50: int
    p99: int
    most: int
    at: str = ""
    rows: int = 0
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Whether the values of some columns are there in others: of `tested` distinct values that
    were looked up, `found` are. `exact` says that all values were tested."""

    tested: int
    found: int
    exact: bool = False

    @property
    def share(self) -> float:
        """The share that was found, 0 to 1; 0 when nothing was tested."""
        return self.found / self.tested if self.tested else 0.0


@dataclass(frozen=True)
class Profile:
    """The statistics of all columns that have some, by table and column."""

    columns: dict[tuple[TableName, str], ColumnProfile] = field(default_factory=dict)

    def column(self, table: TableName, name: str) -> ColumnProfile | None:
        """The statistics of a column, None where it was never analyzed."""
        return self.columns.get((table, name))
