"""What the values of a table look like: shares of nulls, distinct values, fan-out of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from geode_tui.catalog import (
    ColumnProfile,
    ColumnValues,
    FanOut,
    ForeignKey,
    Orphans,
    Profile,
    Table,
    Widths,
)
from geode_tui.widgets.er_model import Incoming
from geode_tui.widgets.table_pages import sized
from geode_tui.widgets.text import many_lines, one_line, short_bytes, short_count
from geode_tui.widgets.virtual_table import Cell, Row, TableColumn, VirtualTable

_COLUMNS = (
    TableColumn("column", least=12),
    TableColumn("null", 6, "right"),
    TableColumn("distinct", 9, "right"),
    TableColumn("bytes", 9, "right"),
    TableColumn("longest", 9, "right"),
    TableColumn("most common values", least=18),
)
_KEYS = (
    TableColumn("rows that point at one row by", least=20),
    TableColumn("p50", 7, "right"),
    TableColumn("p99", 7, "right"),
    TableColumn("most", 8, "right"),
    TableColumn("orphans", 8, "right"),
    TableColumn("most at, of how many rows", least=16),
)
_COMMON_SHOWN = 5
_COMMON_WIDTH = 24


@dataclass(frozen=True, slots=True)
class KeyProfile:
    """A foreign key with what was counted of it, None where nothing was yet.

    `orphans` are rows that point at nothing; `problem` says why it could not be counted.
    """

    owner: Table
    key: ForeignKey
    fan_out: FanOut | None = None
    orphans: Orphans | None = None
    problem: str = ""


def keys_of(table: Table, incoming: Incoming) -> list[KeyProfile]:
    """The foreign keys from a table, then those to it."""
    own = [KeyProfile(table, key) for key in table.foreign_keys]
    others = incoming.get(table.name, ())
    return own + [KeyProfile(some, key) for some, key in others if some.name != table.name]


class ProfilePage(Vertical):
    """Statistics of the columns above, of the foreign keys below."""

    DEFAULT_CSS = """
    ProfilePage { height: 1fr; }
    ProfilePage #profile-state { height: auto; max-height: 4; padding: 0 1; color: $text-muted; }
    ProfilePage #profile-columns { height: 3fr; }
    ProfilePage #profile-keys { height: 2fr; }
    Screen.-short ProfilePage #profile-keys { height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._table: Table | None = None
        self._profile: Profile | None = None
        self._widths: Widths | None = None

    def compose(self) -> ComposeResult:
        """State, columns, keys."""
        yield Static(id="profile-state", markup=False)
        yield VirtualTable(_COLUMNS, id="profile-columns", empty="no columns")
        yield VirtualTable(_KEYS, id="profile-keys", empty="no foreign keys from or to the table")

    def tell(self, state: str) -> None:
        """Say what is under way, or what went wrong."""
        self.query_one("#profile-state", Static).update(Content(many_lines(state)))

    def show(
        self,
        table: Table,
        profile: Profile | None,
        keys: Sequence[KeyProfile],
        widths: Widths | None = None,
    ) -> None:
        """Show what is known by now."""
        same = table is self._table
        self._table, self._profile, self._widths = table, profile, widths
        rows = [self._column_row(table, name) for name in table.column_names]
        self._set("#profile-columns", _COLUMNS, rows, same)
        self._set("#profile-keys", _KEYS, [self._key_row(key) for key in keys], same)

    def column_text(self, name: str) -> str:
        """What the planner's statistics and the last count tell of a column, a line each."""
        column, widths = self._column(name), self._widths
        lines = [f"null      {_share(column.null_share)}"] if column else ["no statistics"]
        if column:
            lines += [f"distinct  {_distinct(column)}", f"bytes     {column.width:,} on average"]
        if widths and name in widths.longest:
            lines.append(f"longest   {widths.longest[name]:,} bytes as text")
        common = column.common if column else ()
        if common:
            lines += ["", "most common at the last ANALYZE"]
            lines += [f"{_share(s):>6}  {one_line(v)}" for v, s in common]
        return "\n".join(lines)

    def _set(
        self, name: str, columns: Sequence[TableColumn], rows: Sequence[Row], same: bool
    ) -> None:
        view = self.query_one(name, VirtualTable)
        cursor = view.cursor if same else 0
        view.set_columns(sized(columns, rows))
        view.set_rows(rows, keep_cursor=False)
        view.cursor = cursor

    def _column(self, name: str) -> ColumnProfile | None:
        if self._profile is None or self._table is None:
            return None
        return self._profile.column(self._table.name, name)

    def _column_row(self, table: Table, name: str) -> Row:
        column, widths = self._column(name), self._widths
        counted = widths is not None and name in widths.longest
        widest = short_bytes(widths.longest[name]) if widths and counted else ""
        null = _share(widths.null_shares[name]) if widths and counted else ""
        if column is None:
            return name, null, "", "", widest, _muted("never analyzed" if self._profile else "")
        null = null or _share(column.null_share)
        width = short_bytes(column.width)
        return name, null, _distinct(column), width, widest, _common(column)

    def _key_row(self, profile: KeyProfile) -> Row:
        key, fan_out = profile.key, profile.fan_out
        name = f"{profile.owner.name} ({', '.join(key.columns)})"
        orphans = _orphans(profile.orphans)
        if fan_out is None:
            note = profile.problem or ("" if key.validated else "! not validated")
            return name, "", "", self._estimated_most(profile), orphans, _muted(note)
        basis = f"all {fan_out.rows:,}" if fan_out.exact else f"a sample of {fan_out.rows:,}"
        basis = basis if fan_out.exact or fan_out.rows else "the planner's statistics"
        at = f"{one_line(fan_out.at)[:_COMMON_WIDTH]} · " if fan_out.at else ""
        cells = f"{fan_out.p50:,}", f"{fan_out.p99:,}", f"{fan_out.most:,}"
        return name, *cells, orphans, f"{at}{basis}"

    def _estimated_most(self, profile: KeyProfile) -> str:
        """The most rows at one value, from the statistics."""
        if self._profile is None or len(profile.key.columns) != 1:
            return ""
        column = self._profile.column(profile.owner.name, profile.key.columns[0])
        rows = profile.owner.estimated_rows
        if column is None or not column.common or rows is None:
            return ""
        return f"±{short_count(round(column.common[0][1] * rows))}"


def values_text(values: ColumnValues | None) -> str:
    """Counted values with their rows, a line each."""
    if values is None:
        return "counting the values took too long"
    rows = f"{values.rows:,} rows" if values.exact else f"a sample of {values.rows:,} rows"
    lines = [f"now, in {rows}: {values.distinct:,} distinct values"]
    lines += [f"{count:>9,}  {one_line(value)}" for value, count in values.values]
    if len(values.values) < values.distinct:
        lines.append(f"and {values.distinct - len(values.values):,} more")
    return "\n".join(lines)


def _orphans(orphans: Orphans | None) -> Cell:
    """How many rows point at nothing; `some` where a sample holds such and no one counted."""
    if orphans is None:
        return ""
    if orphans.rows is None:
        return Content.styled("some", "$text-error") if orphans.examples else "?"
    text = f"{orphans.rows:,}"
    return Content.styled(text, "$text-error") if orphans.rows else text


def _muted(text: str) -> Content:
    return Content.styled(one_line(text), "$text-muted")


def _distinct(column: ColumnProfile) -> str:
    return f"±{short_count(column.distinct)}"


def _share(share: float) -> str:
    """A share in percent: never 0 or 100 for what is only near."""
    percent = share * 100
    if share <= 0 or share >= 1:
        return f"{percent:.0f} %"
    return "<1 %" if percent < 1 else ">99 %" if percent > 99 else f"{percent:.0f} %"


def _common(column: ColumnProfile) -> str:
    some = column.common[:_COMMON_SHOWN]
    return " · ".join(f"{one_line(v[:_COMMON_WIDTH])} {_share(share)}" for v, share in some)
