"""Statistics of properties on both sides, and properties that must be everywhere.

Each side reckons for itself, whatever the number of rows: the source in SELECTs of aggregates over
the rows that can be carried, the graph in statements of aggregates over a shape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import batched
from typing import Any

from geode_tui.errors import ConnectError, GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.mapping.model import OF, ROW
from geode_tui.mapping.statistics import chosen_of
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.target.patterns import pattern_of
from geode_tui.validation.digest import in_utc
from geode_tui.validation.entity import Entity
from geode_tui.validation.ledger import Check
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.sides import RowReader

MOST_DISTINCT = 2_000_000
"""Values of which distinct ones are counted; the graph takes memory for each of them."""
FLOAT_SHARE = Decimal("1e-9")
"""Sums of floats may differ by this share of the sum of their sizes: their order is not told."""
COUNTED = 20_000_000
"""Values that one statement counts: the embedded graph ends each after 30 seconds."""
_TOGETHER = 100  # properties in a statement; PostgreSQL returns at most 1,664 columns
_NAMED = 5  # names of properties in a sentence
_SHORT_SQL = 20_000  # characters of a SELECT that is shown where nothing differs
_INT_MOST, _HALF = 2**63 - 1, 2**32
_DECIMAL_DIGITS = 38
_FLOAT_MOST = Decimal("1e308")


@dataclass(frozen=True, slots=True)
class _Measure:
    """What is measured, in SQL of `{v}` and in GQL of `{p}`; empty GQL: of the source only."""

    name: str
    sql: str
    gql: str = ""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the graph did not tell something: it knows no such function, or its values are bad."""

    reason: str
    known: bool


Values = dict[str, Any]
"""What was measured, by the measure's name."""

_SQL_FINITE = (
    "{v} BETWEEN CAST('-1.7976931348623157e308' AS float8)"
    " AND CAST('1.7976931348623157e308' AS float8)"
)
_GQL_FINITE = (
    "CASE WHEN {p} >= -1.7976931348623157e308 AND {p} <= 1.7976931348623157e308 THEN {p} END"
)
_SQL_TEXT = "CONCAT({v})"  # the padding of char(n) counts, too
_SQL_ITEMS = "COALESCE(ARRAY_LENGTH({v}, 1), 0)"
_SET = _Measure("set", "COUNT({v})", "count({p})")
_ENDS = (_Measure("min", "MIN({v})", "min({p})"), _Measure("max", "MAX({v})", "max({p})"))
_SUMS = (
    _Measure("sum", "SUM(CAST({v} AS numeric))", "sum({p})"),
    _Measure("size", "SUM(ABS(CAST({v} AS numeric)))"),
)
_FLOATS = tuple(
    _Measure(
        measure.name,
        f"{measure.sql} FILTER (WHERE {_SQL_FINITE})",
        measure.gql.replace("{p}", _GQL_FINITE),
    )
    for measure in (_Measure("finite", _SET.sql, _SET.gql), *_ENDS, *_SUMS)
)
_LENGTHS = tuple(
    _Measure(name, f"{call}(LENGTH({_SQL_TEXT})) FILTER (WHERE {{v}} IS NOT NULL)", graph)
    for name, call, graph in (
        ("shortest", "MIN", "min(size({p}))"),
        ("longest", "MAX", "max(size({p}))"),
    )
)
_ITEMS = tuple(
    _Measure(name, f"{call}({_SQL_ITEMS}) FILTER (WHERE {{v}} IS NOT NULL)", graph)
    for name, call, graph in (
        ("fewest items", "MIN", "min(size({p}))"),
        ("most items", "MAX", "max(size({p}))"),
    )
)
_TRUE = _Measure("true", "COUNT(*) FILTER (WHERE {v})", "count(CASE WHEN {p} = true THEN 1 END)")
_SCALE = _Measure("scale", "MAX(SCALE({v}))")
_HALVES = ("sum({p} % 4294967296)", "sum(({p} - {p} % 4294967296) / 4294967296)")

_MEASURES: dict[str, tuple[_Measure, ...]] = {
    "BOOL": (_SET, _TRUE),
    "INT": (_SET, *_ENDS, *_SUMS),
    "FLOAT": (_SET, *_FLOATS),
    "DECIMAL": (_SET, *_ENDS, *_SUMS, _SCALE),
    "STRING": (_SET, *_LENGTHS),
    "BYTES": (_SET,),
    "DATE": (_SET, *_ENDS),
    "TIME": (_SET, *_ENDS),
    "TIMESTAMP": (_SET, *_ENDS),
    "TIMESTAMPTZ": (_SET, *_ENDS),
    "LIST<FLOAT>": (_SET,),  # the embedded graph does not tell the size of what it keeps as vector
}
_LIST = (_SET, *_ITEMS)
_ORDER: tuple[str, ...] = (
    "finite",
    "true",
    "min",
    "max",
    "sum",
    "shortest",
    "longest",
    "fewest items",
)
_ORDER += ("most items", "distinct")
_DISTINCT = _Measure("distinct", "COUNT(DISTINCT {v})", "count(DISTINCT {p})")
_DISTINCTS = {
    "STRING": _Measure(
        "distinct",
        f'COUNT(DISTINCT {_SQL_TEXT} COLLATE "C") FILTER (WHERE {{v}} IS NOT NULL)',
        _DISTINCT.gql,
    ),
    "FLOAT": _Measure(
        "distinct",
        f"{_DISTINCT.sql} FILTER (WHERE {_SQL_FINITE})",
        f"count(DISTINCT {_GQL_FINITE})",
    ),
}
_TIMES: dict[str, Any] = {
    "DATE": date,
    "TIME": time,
    "TIMESTAMP": datetime,
    "TIMESTAMPTZ": datetime,
}


async def check_required(target: Target, entities: Sequence[Entity]) -> list[Check]:
    """Whether what the source says is never null is on every node and relationship.

    These are keys, and columns that are NOT NULL and carried as they are.
    """
    checks = []
    for entity in entities:
        if names := required_of(entity):
            checks.append(await _required(target, entity, names))
    return checks


def required_of(entity: Entity) -> tuple[str, ...]:
    """The properties of an entity that are never null."""
    table, key = entity.extract.table, entity.shape.key
    names = list(key)
    for item in entity.rule.included_properties:
        column = None if item.expression or item.join else table.column(item.column)
        if column is not None and not column.nullable:
            names.append(item.name)
    return tuple(dict.fromkeys(names))


async def _required(target: Target, entity: Entity, names: Sequence[str]) -> Check:
    pattern, variable = pattern_of(entity.shape)
    total = await asyncio.to_thread(_number_of, target, entity.shape)
    lacking: dict[str, int] = {}
    for some in batched(names, max(1, min(_TOGETHER, COUNTED // max(1, total)))):
        counts = ", ".join(
            f"count({gql.member(variable, name)}) AS m{n}" for n, name in enumerate(some)
        )
        statement = f"MATCH {pattern} RETURN count({variable}) AS c, {counts}"
        [row] = await asyncio.to_thread(target.query, statement)
        lacking |= {name: row["c"] - row[f"m{n}"] for n, name in enumerate(some)}
    lacking = {name: count for name, count in lacking.items() if count}
    things = "nodes" if entity.kind == "node" else "relationships"
    told = [f"{name} lacks on {count:,}" for name, count in lacking.items()]
    return Check(
        "required",
        entity.id,
        not lacking,
        f"never null: {_listed(names)}",
        f"{_listed(told)} of {total:,} {things}" if lacking else f"on all {total:,} {things}",
        "the source has these values in every row" if lacking else "",
        target_gql=_without(entity, tuple(lacking) or names),
    )


def _number_of(target: Target, shape: NodeShape | RelationshipShape) -> int:
    if isinstance(shape, NodeShape):
        return target.count_nodes(shape)
    return target.count_relationships(shape)


def _without(entity: Entity, names: Sequence[str]) -> str:
    """The statement that shows what lacks one of some properties."""
    pattern, variable = pattern_of(entity.shape)
    nulls = " OR ".join(f"{gql.member(variable, name)} IS NULL" for name in names)
    if isinstance(entity.shape, NodeShape):
        keys = gql.returned("n", entity.shape.key)
    else:
        ends = (("a", entity.shape.start.key), ("b", entity.shape.end.key))
        keys = ", ".join(gql.returned(end, key, end) for end, key in ends)
    return f"MATCH {pattern} WHERE {nulls} RETURN {keys} LIMIT 100"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


async def check_statistics(
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: Mapping[str, LeftOut],
    chosen: Sequence[str],
) -> list[Check]:
    """Whether chosen properties (`Order.total`, `Order.*`, `*`) have the same statistics.

    How many are null, and of numbers and times the least and the greatest, of numbers the sum and
    the mean, of texts and lists the lengths, and how many values are distinct. Where rows are left
    out of the graph the numbers are told, and nothing is judged.
    """
    written = None
    checks: list[Check] = []
    for entity in entities:
        own = [name for name in entity.extract.properties if name not in (ROW, OF)]
        names = chosen_of(chosen, entity.id, own)
        if not names:
            continue
        if written is None:  # Geode keeps times as text
            written = (await asyncio.to_thread(target.describe)).kind == "Geode"
        sides = _Sides(reader, target, entity, written)
        checks += await sides.checks(names, left_out.get(entity.id, LeftOut()))
    return checks


class _Sides:
    """The statistics of an entity, measured on both sides and compared."""

    def __init__(self, reader: RowReader, target: Target, entity: Entity, written: bool) -> None:
        """With `written` times may be ISO 8601 text in the graph."""
        self._reader, self._target, self._entity = reader, target, entity
        self._written = written
        self._pattern, self._variable = pattern_of(entity.shape)
        extract = entity.extract
        self._types = dict(zip(extract.properties, extract.property_types, strict=True))
        self._source: dict[str, Values] = {}
        self._graph: dict[str, Values] = {}
        self._asked: dict[str, list[_Measure]] = {}
        self._measured: dict[str, list[_Measure]] = {}
        self._counted = True

    async def checks(self, names: Sequence[str], out: LeftOut) -> list[Check]:
        """Measure some properties, and tell how they compare."""
        for some in batched(names, _TOGETHER):
            await self._measure({name: self._measures(name) for name in some})
        most = max(max(v["rows"] for v in (*self._source.values(), *self._graph.values())), 1)
        self._counted = most <= MOST_DISTINCT
        together = min(_TOGETHER, MOST_DISTINCT // most)
        countable = [name for name in names if not self._types[name].startswith("LIST<")]
        for some in batched(countable, together) if self._counted else ():
            distinct = {n: [_DISTINCTS.get(self._types[n], _DISTINCT)] for n in some}
            await self._measure(distinct)
        return [self._check(name, out) for name in names]

    def _measures(self, name: str) -> list[_Measure]:
        return list(_MEASURES.get(self._types[name], _LIST))

    async def _measure(self, measures: Mapping[str, Sequence[_Measure]]) -> None:
        """Measure in the source, then in the graph."""
        [row] = await self._read(measures)
        found = iter(row[1:])
        for name, some in measures.items():
            values = {measure.name: next(found) for measure in some}
            self._source.setdefault(name, {"rows": row[0]}).update(values)
            self._measured.setdefault(name, []).extend(some)
        await self._look(measures)

    async def _read(self, measures: Mapping[str, Sequence[_Measure]]) -> Sequence[Any]:
        next_step = "mend the expression or the row, or choose other statistics"
        with self._entity.named_in_errors(next_step):
            return await self._reader.fetch(self._sql(measures))

    def _sql(self, measures: Mapping[str, Sequence[_Measure]]) -> str:
        pairs = [(name, measure.sql) for name, some in measures.items() for measure in some]
        return self._entity.extract.aggregates_sql(pairs)

    async def _look(self, measures: Mapping[str, Sequence[_Measure]]) -> None:
        asked = {name: self._asked_of(name, some) for name, some in measures.items()}
        for name, some in asked.items():
            self._asked.setdefault(name, []).extend(some)
        values = await asyncio.to_thread(self._queried, asked)
        for name, told in values.items():
            self._graph.setdefault(name, {}).update(told)

    def _asked_of(self, name: str, measures: Sequence[_Measure]) -> list[_Measure]:
        """What the graph is asked: sums so that no step of them is beyond its numbers."""
        kind, source = self._types[name], self._source[name]
        found = []
        for measure in measures:
            if measure.name == "sum" and kind == "INT" and (source["size"] or 0) > _INT_MOST:
                low, high = _HALVES
                found += [_Measure("sum low", "", low), _Measure("sum high", "", high)]
            elif measure.name == "sum" and not _summable(kind, source):
                continue
            elif measure.gql:
                found.append(measure)
        return found

    def _statement(self, asked: Mapping[str, Sequence[_Measure]], where: str = "") -> str:
        items = [f"count({self._variable}) AS c"]
        for name, some in asked.items():
            member = gql.member(self._variable, name)
            for measure in some:
                items.append(f"{measure.gql.replace('{p}', member)} AS m{len(items) - 1}")
        return f"MATCH {self._pattern} {where}RETURN {', '.join(items)}"

    def _queried(self, asked: Mapping[str, Sequence[_Measure]]) -> dict[str, Values]:
        """What the graph answers; where it refuses the whole, each question by itself."""
        try:
            [row] = self._target.query(self._statement(asked))
        except ConnectError:
            raise
        except GeodeTuiError:
            [total] = self._target.query(self._statement({}))
            return {
                name: {"rows": total["c"]} | {m.name: self._alone(name, m) for m in some}
                for name, some in asked.items()
            }
        answers = iter(range(len(row)))
        return {
            name: {"rows": row["c"]} | {m.name: row[f"m{next(answers)}"] for m in some}
            for name, some in asked.items()
        }

    def _alone(self, name: str, measure: _Measure) -> Any:
        """One answer, or why there is none: the question over nothing tells whether it is known."""
        asked = {name: [measure]}
        try:
            return self._target.query(self._statement(asked))[0]["m0"]
        except ConnectError:
            raise
        except GeodeTuiError as error:
            reason = error.why or error.what
        try:
            self._target.query(self._statement(asked, "WHERE 1 = 0 "))
        except ConnectError:
            raise
        except GeodeTuiError:
            return _Refusal(reason, known=False)
        return _Refusal(reason, known=True)

    def _check(self, name: str, out: LeftOut) -> Check:
        kind, source, graph = self._types[name], self._source[name], self._graph[name]
        wrong, silent = [], []
        asked = _asked_keys(self._asked[name])
        for key, here in _told_of(source).items():
            there = _told_of(graph).get(key)
            if isinstance(there, _Refusal) and not there.known:
                silent.append(f"{key}: {there.reason}")
            elif isinstance(there, _Refusal):
                wrong.append(f"{key}: {there.reason}")
            elif key in asked and not self._same(kind, key, here, there, source):
                wrong.append(f"{key}: {_word(here)} in the source, {_word(there)} in the graph")
        left = out.dead + out.orphans
        why = "; ".join(wrong)
        if wrong and left:
            why = f"not judged, as {left:,} rows are left out of the graph: {why}"
        elif silent and not wrong:
            why = f"the target does not tell {'; '.join(silent)}"
        elif not wrong and not self._counted and not kind.startswith("LIST<"):
            why = f"distinct values are counted up to {MOST_DISTINCT:,} rows"
        sql = self._sql({name: self._measured[name]})
        return Check(
            "statistics",
            f"{self._entity.id}.{name}",
            not wrong or bool(left),
            _sentence(kind, source),
            _sentence(kind, graph),
            why,
            sql if wrong or len(sql) < _SHORT_SQL else "",
            self._statement({name: self._asked[name]}),
        )

    def _same(self, kind: str, key: str, here: Any, there: Any, source: Values) -> bool:
        if here is None or there is None:
            return here is there
        if kind in _TIMES and key in ("min", "max"):
            there = _moment(there, kind, self._written)
            return bool(_moment(here, kind, False) == there)
        one, other = _number(here), _number(there)
        if one is None or other is None:
            return False
        if key == "sum" and (kind == "FLOAT" or isinstance(there, float)):
            return abs(one - other) <= FLOAT_SHARE * (source["size"] or 0)
        return one == other


def _summable(kind: str, source: Values) -> bool:
    """Whether no step of a sum is beyond what the graph can hold."""
    size = source["size"] or 0
    if kind == "DECIMAL":
        return len(str(int(size))) + (source["scale"] or 0) <= _DECIMAL_DIGITS
    return kind != "FLOAT" or size <= _FLOAT_MOST


def _asked_keys(asked: Sequence[_Measure]) -> set[str]:
    """The statistics that both sides were asked for."""
    names = {measure.name for measure in asked}
    return names | {"set", "null"} | ({"sum"} if "sum low" in names else set())


def _told_of(values: Values) -> Values:
    """The statistics of what was measured on a side."""
    told: Values = {"set": values["set"]}
    told["null"] = values["set"]
    if not isinstance(values["set"], _Refusal):
        told["null"] = values["rows"] - values["set"]
    if "sum low" in values:
        low, high = values["sum low"], values["sum high"]
        bad = next((half for half in (low, high) if isinstance(half, _Refusal)), None)
        told["sum"] = bad or (None if low is None else int(high) * _HALF + int(low))
    told |= {key: value for key, value in values.items() if key in _ORDER}
    return {key: told[key] for key in ("set", "null", *_ORDER) if key in told}


def _sentence(kind: str, values: Values) -> str:
    """The statistics of a side in words."""
    told = _told_of(values)
    rows, here = values["rows"], told.pop("set")
    told.pop("null")
    if isinstance(here, _Refusal):
        return "not told"
    share = f" ({100 * (rows - here) / rows:.4g} % null)" if here < rows else ""
    words = [f"{here:,} of {rows:,} set{share}"]
    count, total = values.get("finite", here), _number(told.get("sum"))
    if kind != "FLOAT" or told.get("finite") == here:
        told.pop("finite", None)
    for key, value in told.items():
        if value is None or isinstance(value, _Refusal):
            continue
        words.append(f"{key} {_word(value, kind == 'FLOAT' and key == 'sum')}")
        if key == "sum" and total is not None and isinstance(count, int) and count:
            words.append(f"mean {total / count:.12g}")
    return ", ".join(words)


def _word(value: Any, rounded: bool = False) -> str:
    if value is None:
        return "none"
    if rounded:
        return f"{value:.12g}"
    if isinstance(value, datetime):
        return in_utc(value).isoformat(" ")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _number(value: Any) -> Decimal | None:
    """A number as one that is exact; None for what is none or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() else None


def _moment(value: Any, kind: str, written: bool) -> Any:
    """A date or a time, read from text where it is kept so; instants in UTC."""
    if written and isinstance(value, str):
        try:
            value = _TIMES[kind].fromisoformat(value)
        except ValueError:
            return value
    return in_utc(value) if isinstance(value, datetime) else value
