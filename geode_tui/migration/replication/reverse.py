"""From what the graph holds to changes of rows: what differs, and what each difference means.

The graph is compared with the source by the values that it gives back, never by the digests that
it carries: a program that writes to the graph knows nothing of those. What has no like on the
other side is mapped by the inverse of the mapping. What has no place in a row is `Stuck`, with
its key and what to do; it is for the caller to stop then.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal

from geode_tui.catalog import TableName
from geode_tui.mapping.inverse import Given, Inverse, Reference, TableInverse
from geode_tui.mapping.model import FINGERPRINT, OWN
from geode_tui.target.model import (
    Key,
    NodeShape,
    RelationshipKey,
    RelationshipShape,
    Target,
    Whole,
)
from geode_tui.validation.compare import lack_an_end
from geode_tui.validation.digest import canonical, in_utc, is_of
from geode_tui.validation.digests import known_by_place
from geode_tui.validation.entity import Entity, Record, told
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.parts import differing, in_groups
from geode_tui.validation.sides import SCANNED_AT_ONCE, Recomputed, RowReader, SourceSide, identity

READ_AT_ONCE = 50_000
_READ_NODES = 2_000
_ROWS_IN_PART = 4
_UNKNOWN_ROWS = 2**14
Texts = tuple[str, ...]
Kind = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Something of the graph that no row can hold: which, why, and what to do about it."""

    entity: str
    key: str
    why: str
    next_step: str = ""

    def __str__(self) -> str:
        return f"{self.entity} {self.key}: {self.why}" if self.key else f"{self.entity}: {self.why}"


@dataclass
class Unlike:
    """What of an entity has no like on the other side."""

    rows: list[Record] = field(default_factory=list)
    things: list[Whole] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.things)


@dataclass
class RowChange:
    """What becomes of a row: its key as texts, and the columns that get other values."""

    table: TableInverse
    key: Texts
    kind: Kind
    values: dict[str, str | None] = field(default_factory=dict)


# -- what differs ------------------------------------------------------------------------------


class AsItIs(Recomputed):
    """The graph by digests of its values alone: what it carries of digests counts nothing.

    Properties of `besides` may be there, whatever they hold.
    """

    def __init__(
        self, target: Target, entity: Entity, besides: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(target, entity, strict=True)
        self._besides = besides

    def _is_made(self, whole: Whole) -> bool:
        if self._besides:
            own = {n: v for n, v in whole.properties.items() if n not in self._besides}
            whole = Whole(whole.key, own, whole.labels)
        return super()._is_made(whole)

    def _told(self, whole: Whole, mark: int) -> int:
        return super()._told(
            Whole(whole.key, {**whole.properties, FINGERPRINT: mark}, whole.labels), mark
        )

    def in_parts(self, parts: int, wanted: set[int | None]) -> list[tuple[int | None, Whole]]:
        """What is in some parts, whole, each with its digest (a scan)."""
        return list(self._in_parts(parts, wanted))

    def marked_wholes(self, wholes: Sequence[Whole]) -> list[tuple[int | None, Whole]]:
        """Things with their digests."""
        return list(zip(self._marks(wholes), wholes, strict=True))

    def row_mark(self, row: Record) -> int:
        """The digest of a row, which that of its like in the graph equals."""
        mark: int = row[self._entity.extract.fingerprint_at]
        shape, label = self._shape, self._entity.label(row)
        if isinstance(shape, RelationshipShape) or label in (None, shape.label, *shape.labels):
            return mark
        return self._entity.extract.mark(mark, label)

    def _in_parts(self, parts: int, wanted: set[int | None]) -> Iterator[tuple[int | None, Whole]]:
        for page in self._target.scan_whole(self._shape, SCANNED_AT_ONCE):
            for whole, mark in zip(page, self._marks(page), strict=True):
                if (None if mark is None else mark % parts) in wanted:
                    yield mark, whole


async def compare(
    reader: RowReader, target: Target, entity: Entity, besides: frozenset[str] = frozenset()
) -> Unlike:
    """What of an entity is only in the source or only in the graph, by its values now.

    Properties of `besides` may be there, whatever they hold.
    """
    source = SourceSide(reader, entity, labelled=True)
    graph = AsItIs(target, entity, besides)
    parts = _parts_for(entity.estimate)
    here, there = await asyncio.gather(source.parts(parts), graph.parts(parts))
    found = Unlike()
    for group in in_groups(differing(here, there), here, there, READ_AT_ONCE):
        rows = await source.rows(parts, group)
        things = await asyncio.to_thread(graph.in_parts, parts, set(group))
        note_unlike(entity, rows, things, found)
    return found


def _parts_for(rows: int | None) -> int:
    """In how many parts: so many that few rows are in those of which one was changed."""
    wanted = _UNKNOWN_ROWS if rows is None else rows // _ROWS_IN_PART
    parts = 2**10
    while parts < min(wanted, 2**16):
        parts *= 2
    return parts


def note_unlike(
    entity: Entity,
    rows: Sequence[tuple[int, Record]],
    things: Sequence[tuple[int | None, Whole]],
    found: Unlike,
) -> None:
    """Add to `found` what has no like, of rows and things with their digests."""
    by_place = known_by_place(entity)  # places do not outlive that the table is written anew

    def told_by(key: Any, mark: int | None) -> tuple[Any, int | None]:
        return (None if by_place else identity(entity, key), mark)

    there = Counter(told_by(whole.key, mark) for mark, whole in things)
    for own, row in rows:
        known = told_by(entity.key(row), own)
        if there[known] > 0:
            there[known] -= 1
        else:
            found.rows.append(row)
    for mark, whole in things:
        known = told_by(whole.key, mark)
        if there[known] > 0:
            there[known] -= 1
            found.things.append(whole)


async def spelled_alike(
    reader: RowReader,
    target: Target,
    entity: Entity,
    table: TableInverse,
    unlike: Unlike,
    besides: frozenset[str] = frozenset(),
) -> Unlike:
    """Without what PostgreSQL holds as the same value, and spells otherwise than the graph."""
    kinds = dict(zip(entity.shape.properties, entity.shape.types, strict=True))
    things = [replace(whole, properties=dict(whole.properties)) for whole in unlike.things]
    for name, sql in table.respell.items():
        some = [t for t in things if t.properties.get(name) is not None and name in kinds]
        texts = [text_of(thing.properties[name]) for thing in some]
        for thing, row in zip(some, await reader.fetch(sql, texts) if some else [], strict=True):
            thing.properties[name] = row[0]
    graph = AsItIs(target, entity, besides)
    found = Unlike()
    rows = [(graph.row_mark(row), row) for row in unlike.rows]
    note_unlike(entity, rows, graph.marked_wholes(things), found)
    return found


async def without_left_out(
    target: Target, entity: Entity, unlike: Unlike, left_out: LeftOut, gone: set[Any]
) -> Unlike:
    """Without the rows that never reached the graph: dead letters, and what has no end there.

    `gone` are the nodes, by label and key, that were in the graph and are not any more.
    """
    alone = _alone(entity, unlike)
    known = await asyncio.to_thread(left_out.among, [entity.key_text(row) for row in alone])
    out = {id(row) for row in alone if entity.key_text(row) in known}
    shape = entity.shape
    if isinstance(shape, RelationshipShape):
        keys = [entity.relationship_key(row) for row in alone]
        lacks = await asyncio.to_thread(lack_an_end, target, shape, keys)
        for row, key, lack in zip(alone, keys, lacks, strict=True):
            if lack and gone.isdisjoint(_ends(entity, shape, key)):
                out.add(id(row))
    return Unlike([row for row in unlike.rows if id(row) not in out], unlike.things)


def _alone(entity: Entity, unlike: Unlike) -> list[Record]:
    """The rows of whose key nothing in the graph was found."""
    there = {identity(entity, whole.key) for whole in unlike.things}
    return [row for row in unlike.rows if identity(entity, entity.key(row)) not in there]


def gone_nodes(entity: Entity, unlike: Unlike) -> set[Any]:
    """The nodes, by label and key, of rows that nothing in the graph stands for."""
    shape = entity.shape
    if not isinstance(shape, NodeShape):
        return set()
    return {(shape.label, identity(entity, entity.key(row))) for row in _alone(entity, unlike)}


def _ends(entity: Entity, shape: RelationshipShape, key: RelationshipKey) -> set[Any]:
    start, end, _ = identity(entity, key)
    return {(shape.start.label, start), (shape.end.label, end)}


# -- what it means for rows --------------------------------------------------------------------


class Reverse:
    """Makes changes of rows of what differs, table by table.

    Give it what differs of all entities, nodes first; then `changes` are whole, and `stuck` is
    what has no place in a row.
    """

    def __init__(self, inverse: Inverse, entities: Sequence[Entity], target: Target) -> None:
        self._target = target
        self._entities = {entity.id: entity for entity in entities}
        self._by_rule = {one.rule: one for one in inverse.tables}
        self._references = {
            reference.rule: (one, reference)
            for one in inverse.tables
            for reference in one.references
        }
        self._changes: dict[tuple[TableName, Texts], RowChange] = {}
        self._repeated: dict[tuple[TableName, Texts], dict[str, str | None]] = {}
        self._settled = False
        self.stuck: list[Stuck] = []

    def add(self, entity: Entity, unlike: Unlike) -> None:
        """Take what differs of an entity; one that is not inverted says nothing here."""
        table = self._by_rule.get(entity.id)
        if table is not None and table.joins:
            self._add_joins(entity, table, unlike)
        elif table is not None:
            self._add_nodes(entity, table, unlike)
        elif entity.id in self._references:
            self._add_references(entity, *self._references[entity.id], unlike)

    @property
    def changes(self) -> list[RowChange]:
        """All changes of rows; what only repeats a relationship is settled first."""
        if not self._settled:
            self._settled = True
            for (table, key), repeated in self._repeated.items():
                self._settle(self._changes.get((table, key)), table, key, repeated)
            for change in self._changes.values():
                if change.kind == "insert":  # a default of the table is not what the graph says
                    for one in change.table.references:
                        for given in (*one.columns, *one.properties):
                            change.values.setdefault(given.column, None)
        return [one for one in self._changes.values() if one.kind != "update" or one.values]

    # -- nodes ------------------------------------------------------------------------------------

    def _add_nodes(self, entity: Entity, table: TableInverse, unlike: Unlike) -> None:
        names = tuple(given.property for given in table.key)
        rows = {identity(entity, entity.key(row)): row for row in unlike.rows}
        met: set[Any] = set()
        for whole in unlike.things:
            shown = _shown(entity, whole.key)
            values = {name: whole.properties.get(name) for name in entity.shape.properties}
            if self._is_stuck(entity, whole, shown) or not _has_key(values, names):
                continue
            known = identity(entity, whole.key)
            if known in met:
                self._stick(entity, shown, "the graph has more than one node of this key")
            met.add(known)
            key = self._key(table, values)
            if (row := rows.get(known)) is not None:
                self._update(table, key, entity.properties(row), values)
            else:
                self._insert(entity, table, key, values, shown)
        for known in rows.keys() - met:
            self._change(table, self._key(table, entity.properties(rows[known])), "delete")

    def _update(
        self,
        table: TableInverse,
        key: Texts,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None:
        change = self._change(table, key, "update")
        for given in table.columns:
            old, new = before.get(given.property), after.get(given.property)
            if canonical(old, given.type) == canonical(new, given.type):
                continue
            if given.column in table.redundant:
                place = self._repeated.setdefault((table.table.name, key), {})
                place[given.column] = text_for(given, new)
            else:
                change.values[given.column] = text_for(given, new)

    def _insert(
        self,
        entity: Entity,
        table: TableInverse,
        key: Texts,
        values: Mapping[str, Any],
        shown: str,
    ) -> None:
        if table.no_insert:
            self._stick(entity, shown, table.no_insert, "give the column a default, or leave it")
            return
        change = self._change(table, key, "insert")
        change.values |= dict(zip(table.key_columns, key, strict=True))
        for given in table.columns:
            value = text_for(given, values.get(given.property))
            if given.column not in table.redundant:
                change.values[given.column] = value
            elif value is not None:
                place = self._repeated.setdefault((table.table.name, key), {})
                place[given.column] = value

    def _settle(
        self,
        change: RowChange | None,
        table: TableName,
        key: Texts,
        repeated: Mapping[str, str | None],
    ) -> None:
        """A property that repeats a relationship must not say something else."""
        if change is None or change.kind == "delete":
            return
        for column, value in repeated.items():
            if change.values.get(column) == value and column in change.values:
                continue
            leads = change.values.get(column) if column in change.values else "where it did"
            self.stuck.append(
                Stuck(
                    change.table.rule,
                    told(change.table.key_columns, key),
                    f"its property says {column} is {value}, its relationship leads to {leads}",
                    "make the two agree in the graph: the relationship is what counts",
                )
            )

    # -- foreign keys -----------------------------------------------------------------------------

    def _add_references(
        self, entity: Entity, table: TableInverse, reference: Reference, unlike: Unlike
    ) -> None:
        shape = entity.shape
        assert isinstance(shape, RelationshipShape)
        own, other = (0, 1) if reference.outward else (1, 0)
        ends = (shape.start, shape.end)
        values = self._end_values(ends[other], reference, [w.key[other] for w in unlike.things])
        found: dict[Texts, Whole] = {}
        for whole, given in zip(unlike.things, values, strict=True):
            shown = _shown(entity, whole.key)
            if self._is_stuck(entity, whole, shown):
                continue
            key = self._own_key(table, ends[own], whole.key[own])
            if key in found:
                why = "a row has one of them, the graph more"
                self._stick(entity, shown, why, "remove the others from the graph")
                continue
            found[key] = whole
            self._lead(entity, table, reference, key, whole, given, shown)
        for row in unlike.rows:
            ends_of_row = entity.relationship_key(row)
            key = self._own_key(table, ends[own], ends_of_row[own])
            if key not in found:
                self._let_go(entity, table, reference, key, entity.key_text(row))

    def _lead(
        self,
        entity: Entity,
        table: TableInverse,
        reference: Reference,
        key: Texts,
        whole: Whole,
        other: Mapping[str, Any] | None,
        shown: str,
    ) -> None:
        """A row leads to another one, as a relationship does."""
        change = self._changes.get((table.table.name, key))
        if change is not None and change.kind == "delete":
            return
        if other is None:
            self._stick(entity, shown, "the node it leads to cannot be read")
            return
        change = change or self._change(table, key, "update")
        told_values = {g.column: text_for(g, other.get(g.property)) for g in reference.columns}
        for given in reference.properties:
            told_values[given.column] = text_for(given, whole.properties.get(given.property))
        own = dict(zip(table.key_columns, key, strict=True))
        for column, value in told_values.items():
            if column in own:
                if own[column] != value:
                    why = f"it leads to {column} {value}, and the key of the row says {own[column]}"
                    self._stick(entity, shown, why, "make the two agree in the graph")
            elif change.values.get(column, value) != value:
                why = f"two relationships say something else about {column}"
                self._stick(entity, shown, why, "make them agree in the graph")
            else:
                change.values[column] = value

    def _let_go(
        self, entity: Entity, table: TableInverse, reference: Reference, key: Texts, shown: str
    ) -> None:
        """A row leads nowhere any more."""
        change = self._changes.get((table.table.name, key))
        if change is not None and change.kind == "delete":
            return
        if not reference.cleared:
            names = ", ".join(given.column for given in reference.columns)
            why = f"it is gone from the graph, and {names} must not be NULL"
            self._stick(entity, shown, why, "lead it to another node, or remove the row's node")
            return
        change = change or self._change(table, key, "update")
        for column in reference.cleared:
            change.values.setdefault(column, None)

    def _end_values(
        self, shape: NodeShape, reference: Reference, keys: Sequence[Key]
    ) -> list[Mapping[str, Any] | None]:
        """The properties of the nodes at an end that a foreign key is made of."""
        wanted = {given.property for given in reference.columns}
        if wanted <= set(shape.key):
            return [dict(zip(shape.key, key, strict=True)) for key in keys]
        found: list[Mapping[str, Any] | None] = []
        for begin in range(0, len(keys), _READ_NODES):
            found += self._target.read_nodes(shape, keys[begin : begin + _READ_NODES])
        return found

    def _own_key(self, table: TableInverse, shape: NodeShape, key: Key) -> Texts:
        values = dict(zip(shape.key, key, strict=True))
        return tuple(key_text(values.get(given.property)) for given in table.key)

    # -- tables that only join ----------------------------------------------------------------

    def _add_joins(self, entity: Entity, table: TableInverse, unlike: Unlike) -> None:
        shape = entity.shape
        assert isinstance(shape, RelationshipShape)
        rows: dict[Texts, dict[str, Any]] = {}
        for row in unlike.rows:
            values = _joined(table, shape, entity.relationship_key(row), entity.properties(row))
            rows[_key_of(table, values)] = values
        met: set[Texts] = set()
        for whole in unlike.things:
            shown = _shown(entity, whole.key)
            if self._is_stuck(entity, whole, shown):
                continue
            assert len(whole.key) == 3
            values = _joined(table, shape, whole.key, whole.properties)
            key = _key_of(table, values)
            if key in met:
                self._stick(entity, shown, "the graph has it more than once, a table cannot")
                continue
            met.add(key)
            if key in rows:
                self._update_join(table, key, rows[key], values)
            elif table.no_insert:
                self._stick(entity, shown, table.no_insert, "give the column a default")
            else:
                change = self._change(table, key, "insert")
                for given in (*table.start, *table.end, *table.columns):
                    change.values[given.column] = text_for(given, values[given.column])
        for key in rows.keys() - met:
            self._change(table, key, "delete")

    def _update_join(
        self,
        table: TableInverse,
        key: Texts,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None:
        change = self._change(table, key, "update")
        for given in (*table.start, *table.end, *table.columns):
            old, new = (canonical(some[given.column], given.type) for some in (before, after))
            if old != new and given.column not in table.key_columns:
                change.values[given.column] = text_for(given, after[given.column])

    # -- all ------------------------------------------------------------------------------------

    def _key(self, table: TableInverse, values: Mapping[str, Any]) -> Texts:
        return tuple(key_text(values.get(given.property)) for given in table.key)

    def _change(self, table: TableInverse, key: Texts, kind: Kind) -> RowChange:
        place = table.table.name, key
        if place not in self._changes:
            self._changes[place] = RowChange(table, key, kind)
        return self._changes[place]

    def _is_stuck(self, entity: Entity, whole: Whole, shown: str) -> bool:
        """Whether something holds what no row can, which is noted."""
        shape = entity.shape
        kinds = dict(zip(shape.properties, shape.types, strict=True))
        before = len(self.stuck)
        for name in sorted(whole.properties.keys() - OWN - kinds.keys()):
            why = f"no column of the source holds the property {name}"
            self._stick(entity, shown, why, "remove it from the graph, or add a column and a rule")
        for name, kind in kinds.items():
            value = whole.properties.get(name)
            if not is_of(value, kind):
                why = f"{name} holds {value!r} ({type(value).__name__}), which is no {kind}"
                self._stick(entity, shown, why, f"make it a {kind} in the graph")
            elif not _is_plain(value):
                why = f"{name} holds a character that PostgreSQL cannot store"
                self._stick(entity, shown, why, "remove the character in the graph")
        if isinstance(shape, NodeShape):
            for name in shape.key:
                if whole.properties.get(name) is None:
                    self._stick(entity, shown, f"the key {name} is not set", "give it a key")
            self._check_labels(entity, shape, whole, shown)
        return len(self.stuck) > before

    def _check_labels(self, entity: Entity, shape: NodeShape, whole: Whole, shown: str) -> None:
        fixed = {shape.label, *shape.labels}
        if missing := fixed - whole.labels:
            names = ", ".join(sorted(missing))
            self._stick(entity, shown, f"it lacks the label {names}", "give it the label")
        if more := whole.labels - fixed.union(shape.by_value):
            names = ", ".join(sorted(more))
            self._stick(entity, shown, f"no rule gives it the label {names}", "remove the label")

    def _stick(self, entity: Entity, key: str, why: str, next_step: str = "") -> None:
        self.stuck.append(Stuck(entity.id, key, why, next_step))


def _joined(
    table: TableInverse,
    shape: RelationshipShape,
    key: Any,
    properties: Mapping[str, Any],
) -> dict[str, Any]:
    """The values of a row that a relationship stands for, by column."""
    start, end, _ = key
    found: dict[str, Any] = {}
    for some, values in (
        (table.start, dict(zip(shape.start.key, start, strict=True))),
        (table.end, dict(zip(shape.end.key, end, strict=True))),
        (table.columns, properties),
    ):
        found |= {given.column: values.get(given.property) for given in some}
    return found


def _key_of(table: TableInverse, values: Mapping[str, Any]) -> Texts:
    return tuple(key_text(values[column]) for column in table.key_columns)


def _has_key(values: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(values.get(name) is not None for name in names)


def _shown(entity: Entity, key: Any) -> str:
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return told(shape.key, key)
    start, end, own = key
    text = f"({told(shape.start.key, start)}) to ({told(shape.end.key, end)})"
    return f"{text}, {told(shape.key, own)}" if shape.key else text


# -- values ------------------------------------------------------------------------------------


def key_text(value: Any) -> str:
    """A value of a key as the one text of all equal values."""
    if isinstance(value, Decimal):
        return canonical(value, "DECIMAL") or ""
    return text_of(in_utc(value) if isinstance(value, datetime) else value) or ""


def text_for(given: Given, value: Any) -> str | None:
    """A graph value as the text that the column it comes back into reads."""
    if isinstance(value, Decimal) and given.cast != "numeric":
        return canonical(value, "DECIMAL")  # an integer's text has no decimals
    return text_of(value)


def text_of(value: Any) -> str | None:
    """A graph value as the text that PostgreSQL reads as the very same value."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "{" + ",".join(_element(item) for item in value) + "}"
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    return str(value)


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return text_of(value) or ""
    text = text_of(value) or ""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _instant(value: datetime) -> str:
    """With its zone where it has one; year 1 and year 10000 look alike without leading zeros."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat(" ")


def _float(value: float) -> str:
    """Without decimals where there are none: the column may be one of integers."""
    whole = value.is_integer() and abs(value) < 2**53
    return f"{value:.0f}" if whole else repr(value)


_TEXTS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (bool, lambda value: "true" if value else "false"),
    (float, _float),
    (Decimal, lambda value: format(value, "f")),
    (bytes, lambda value: "\\x" + value.hex()),
    (datetime, _instant),
    (date, lambda value: value.isoformat()),
    (time, lambda value: value.isoformat()),
)


def _is_plain(value: Any) -> bool:
    """Whether PostgreSQL can store its characters: no NUL, no half of a pair."""
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if not isinstance(value, str):
        return True
    return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def by_table(
    changes: Iterable[RowChange], kind: Kind
) -> dict[TableName, dict[Texts, list[RowChange]]]:
    """The changes of a kind by table, and of a table by the columns that they set."""
    found: dict[TableName, dict[Texts, list[RowChange]]] = defaultdict(lambda: defaultdict(list))
    for change in changes:
        if change.kind == kind:
            columns = () if kind == "delete" else tuple(sorted(change.values))
            found[change.table.table.name][columns].append(change)
    return found
