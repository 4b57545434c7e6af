"""The person's own checks: SQL and GQL that give the same rows.

The order of rows counts nothing, as the two sides sort texts differently; that of columns does.
A number equals one of another type that is as great, a float one that differs by less than a
billionth; an instant equals itself in another zone, and a date or a time its ISO 8601 text.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from geode_tui.errors import GeodeTuiError, LostError, MappingError, UnreachableError
from geode_tui.mapping.model import Pair
from geode_tui.mapping.pairs import MOST_ROWS, check_gql, check_sql
from geode_tui.target.model import Target
from geode_tui.validation.digest import in_utc
from geode_tui.validation.ledger import Check
from geode_tui.validation.mismatches import shown
from geode_tui.validation.sides import RowReader

FLOAT_SHARE = Decimal("1e-9")
"""By how much of itself a float may differ."""
_SHOWN_ROWS, _SHOWN_LETTERS = 3, 200
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?")
_DATE_AND_TIME = re.compile(rf"{_DATE.pattern}T{_TIME.pattern}(Z|[+-]\d\d:\d\d)?")
_FAILURES = (GeodeTuiError, ValueError, ArithmeticError, TypeError)
"""What a side may say; values that the driver cannot read are among them."""

Row = tuple[Any, ...]


async def check_pairs(reader: RowReader, target: Target, pairs: Sequence[Pair]) -> list[Check]:
    """Whether the SQL and the GQL of each pair give the same rows.

    What fails, writes or returns too many rows is a check that fails. `reader` is in a READ ONLY
    transaction, `target` is opened for reading. Raises LostError and UnreachableError.
    """
    return [await _check(reader, target, pair) for pair in pairs]


async def _check(reader: RowReader, target: Target, pair: Pair) -> Check:
    try:
        sql = await asyncio.to_thread(lambda: check_sql(pair.sql).sql("postgres"))
        statement = check_gql(pair.gql)
    except MappingError as error:
        return _failed(pair, "", error)
    try:
        source = [tuple(row) for row in await _fetched(reader, sql)]
    except (LostError, UnreachableError):
        raise
    except _FAILURES as error:
        return _failed(pair, "the SQL fails", error)
    try:
        answer = await asyncio.to_thread(target.query, statement)
    except (LostError, UnreachableError):
        raise
    except _FAILURES as error:
        return _failed(pair, "the GQL fails", error)
    graph = [tuple(row.values()) for row in answer]
    why = await asyncio.to_thread(difference, source, graph, pair.tolerance)
    told = (_answer(source), _answer(graph))
    return Check("pair", pair.name, not why, *told, why, pair.sql, pair.gql)


async def _fetched(reader: RowReader, sql: str) -> Sequence[Any]:
    """The rows of a SELECT; when it fails, the reader's transaction goes on."""
    await reader.fetch("SAVEPOINT pair")
    try:
        rows = await reader.fetch(sql)
    except (LostError, UnreachableError):
        raise
    except _FAILURES:
        await reader.fetch("ROLLBACK TO SAVEPOINT pair")
        await reader.fetch("RELEASE SAVEPOINT pair")
        raise
    await reader.fetch("RELEASE SAVEPOINT pair")
    return rows


def _failed(pair: Pair, what: str, error: Exception) -> Check:
    if isinstance(error, GeodeTuiError):
        told = ": ".join(part for part in (what, error.what, error.why) if part)
    else:
        told = f"{what}: {error}"
    return Check("pair", pair.name, False, "", "", told, pair.sql, pair.gql)


def difference(source: Sequence[Row], graph: Sequence[Row], tolerance: float) -> str:
    """What differs between two answers in words, empty where nothing does."""
    for side, rows in (("the SQL", source), ("the GQL", graph)):
        if len(rows) > MOST_ROWS:
            return f"{side} returns more than {MOST_ROWS:,} rows: aggregate"
    widths = [{len(row) for row in rows} for rows in (source, graph)]
    if widths[0] and widths[1] and widths[0] != widths[1]:
        here, there = (max(width) for width in widths)
        return f"{here} columns in the source, {there} in the graph; each needs a name of its own"
    missing, extra = _unpaired(source, graph, Decimal(str(tolerance)))
    parts = [_rows(missing, "source"), _rows(extra, "graph")]
    return "; ".join(part for part in parts if part)


def _unpaired(
    source: Sequence[Row], graph: Sequence[Row], tolerance: Decimal
) -> tuple[list[Row], list[Row]]:
    """The rows of each side that have no equal on the other."""
    waiting: dict[Hashable, list[Row]] = defaultdict(list)
    for row in graph:
        waiting[_plain(row)].append(row)
    missing = []
    for row in source:
        if some := waiting.get(_plain(row)):
            some.pop()
        else:
            missing.append(row)
    extra = [row for rows in waiting.values() for row in rows]
    plain = [(row, _plain(row)) for row in extra]
    alone = []
    for row in missing:
        own = _plain(row)
        pairs = (_near(row, other, own, its, tolerance) for other, its in plain)
        place = next((n for n, near in enumerate(pairs) if near), None)
        if place is None:
            alone.append(row)
        else:
            plain.pop(place)
    return alone, [row for row, _ in plain]


def _near(one: Any, other: Any, plain: Any, other_plain: Any, tolerance: Decimal) -> bool:
    """Whether two values are the same, numbers within what they may differ by."""
    if plain == other_plain:
        return True
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(
            _near(*values, tolerance)
            for values in zip(one, other, plain[1], other_plain[1], strict=True)
        )
    here, there = _number(one), _number(other)
    if here is None or there is None or not (here.is_finite() and there.is_finite()):
        return False
    allowed = tolerance
    if isinstance(one, float) or isinstance(other, float):
        allowed = max(allowed, FLOAT_SHARE * max(abs(here), abs(there)))
    return abs(here - there) <= allowed


def _plain(value: Any) -> Any:
    """A value that can be hashed, and is equal to what counts as the same."""
    if value is None or isinstance(value, bool):
        return ("is", value)
    number = _number(value)
    if number is not None:
        return ("number", "NaN" if number.is_nan() else number)
    if isinstance(value, list | tuple):
        return ("list", tuple(_plain(item) for item in value))
    if isinstance(value, dict):
        items = sorted((str(name), _plain(item)) for name, item in value.items())
        return ("map", tuple(items))
    if isinstance(value, bytes | bytearray | memoryview):
        return ("bytes", bytes(value))
    return _moment(value)


def _moment(value: Any) -> Any:
    """A date, a time or a text; other things as their text."""
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, datetime):
        return ("instant", in_utc(value))
    if isinstance(value, time):
        return ("time", value)
    return ("date", value) if isinstance(value, date) else ("text", str(value))


def _read(text: str) -> Any:
    try:
        if _DATE_AND_TIME.fullmatch(text):
            return datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        return time.fromisoformat(text) if _TIME.fullmatch(text) else text
    except ValueError:
        return text


def _number(value: Any) -> Decimal | None:
    """A number as a Decimal: a float as the shortest decimal that gives it back."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    return None


def _answer(rows: Sequence[Row]) -> str:
    """An answer in words: its one value, or how many rows it has."""
    if len(rows) == 1 and len(rows[0]) == 1:
        return _row(rows[0])
    return f"{len(rows):,} rows" if len(rows) != 1 else "1 row"


def _rows(rows: Sequence[Row], side: str) -> str:
    if not rows:
        return ""
    more = f" and {len(rows) - _SHOWN_ROWS:,} more" if len(rows) > _SHOWN_ROWS else ""
    told = ", ".join(f"({_row(row)})" for row in rows[:_SHOWN_ROWS])
    return f"only in the {side}: {told}{more}"


def _row(row: Row) -> str:
    text = ", ".join(shown(value) for value in row)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…"
