"""Take the ledger: count both sides, look for duplicates, compare a sample value by value."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, cast

from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, NodeRule, Property, RelationshipRule
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.target.patterns import node_pattern, relationship_pattern
from geode_tui.validation.before import Since
from geode_tui.validation.compare import lack_an_end
from geode_tui.validation.digest import told_fingerprint
from geode_tui.validation.digests import DigestComparison, Digests, known_by_place
from geode_tui.validation.entity import Entity, Record
from geode_tui.validation.ledger import Difference, Entry, Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import differing_values, joined, queries, shown
from geode_tui.validation.sides import RowReader

SAMPLE_ROWS = 200
SHOWN_DIFFERENCES = 50
SAME_CONTENT_NODES = 20_000
"""Most nodes that are read to find the content of sampled rows again."""


async def take_ledger(
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: Mapping[str, LeftOut],
    fence: str = "",
    same_snapshot: bool = True,
    progress: Callable[[str], None] = lambda entity: None,
    before: Mapping[str, int] | None = None,
    others: Sequence[Entity] = (),
    runs: Set[str] = frozenset(),
    digests: Digests | None = None,
) -> Ledger:
    """Compare every entity on both sides.

    `left_out` comes from the run's journal. `same_snapshot` says that the reader sees the very
    snapshot that was copied, so that rows without a key can be found by their place.
    `progress` is told each entity before its turn. `before` is what `count_before` found in the
    graph before the run: it is nobody's debt; `runs` are the marks of the runs that wrote since,
    so that what they wrote beside it is no duplicate. `others` are entities of the run that are not
    compared, whose types and labels may be the same ones. With `digests` all rows are compared by
    their digests. Raises GeodeTuiError.
    """
    plain = target
    target = cast(Target, Since(target, before or {}, runs=runs))
    entries, differences = [], []
    for entity in entities:
        progress(entity.id)
        with entity.named_in_errors("change the rule, or mend the row"):
            out = left_out.get(entity.id, LeftOut())
            entry = await _count(reader, target, entity, out)
            sampled, found = await _compare_sample(reader, target, entity, out, same_snapshot)
            entries.append(replace(entry, sampled=sampled, differing=len(found)))
            entries += await _further(reader, target, entity, entry)
        differences += [replace(one, sampled=True) for one in found[:SHOWN_DIFFERENCES]]
    counted = {entry.id: entry for entry in entries if entry.kind in ("node", "relationship")}
    own = [counted[entity.id] for entity in entities]
    misplaced = await _misplaced(target, entities, own, others)
    misplaced |= await _strangers(target, entities, entries, others)
    entries = [replace(entry, misplaced=misplaced.get(entry.id, 0)) for entry in entries]
    ledger = Ledger(tuple(entries), tuple(differences), fence, time.time())
    if digests is None:
        return ledger
    ours = runs if before else None
    compare = DigestComparison(plain, left_out, ours, same_snapshot, digests, progress)
    compared = await compare.add_to(ledger, reader, entities)
    return replace(compared, differences=_named_once(compared.differences))


def _named_once(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences without those of the sample that the digests name in other words.

    The sample calls a row by its key in the source, the digests what they have no row for by its
    key in the graph: the query that shows it is the same. The digests' name stays, so that it is
    the same whichever rows are sampled.
    """
    digested = {
        (one.entity, one.target_gql) for one in differences if one.digested and one.where == "graph"
    }
    again = {
        place
        for one in differences
        if one.sampled and not one.digested and (place := (one.entity, one.target_gql)) in digested
    }
    once, told = [], set()
    for one in differences:
        place = (one.entity, one.target_gql)
        if place not in again:
            once.append(one)
        elif one.digested:
            once.append(replace(one, sampled=one.sampled or place not in told))
            told.add(place)
    return tuple(once)


async def take_counted_ledger(
    reader: RowReader,
    target: Target,
    entities: Sequence[Entity],
    left_out: Mapping[str, LeftOut],
    fence: str = "",
) -> Ledger:
    """Compare the numbers of every entity: for files, which are read once from end to end.

    A relationship is in the files whether its ends are or not.
    """
    entries = []
    for entity in entities:
        sql = entity.extract.count_sql
        total, made, nulls = (await reader.fetch(sql))[0]
        shape = entity.shape
        count = target.count_nodes if isinstance(shape, NodeShape) else target.count_relationships
        there = await asyncio.to_thread(count, shape)  # type: ignore[arg-type]
        out = left_out.get(entity.id, LeftOut())
        counted = (made, there, out.dead, out.orphans, nulls, total - made - nulls)
        table = str(entity.rule.table)
        entries.append(Entry(entity.id, entity.kind, table, *counted, source_sql=sql))
    return Ledger(tuple(entries), (), fence, time.time())


async def _count(reader: RowReader, target: Target, entity: Entity, left_out: LeftOut) -> Entry:
    sql = entity.extract.count_sql
    total, made, nulls = (await reader.fetch(sql))[0]
    in_graph, duplicates, statement = await asyncio.to_thread(_count_graph, target, entity)
    return Entry(
        entity.id,
        entity.kind,
        str(entity.rule.table),
        made,
        in_graph,
        left_out.dead,
        left_out.orphans,
        nulls,
        total - made - nulls,
        duplicates,
        source_sql=sql,
        target_gql=statement,
    )


def _count_graph(target: Target, entity: Entity) -> tuple[int, int, str]:
    shape = entity.shape
    if isinstance(shape, NodeShape):
        statement = f"MATCH {node_pattern('n', shape)} RETURN count(n)"
        return target.count_nodes(shape), target.duplicate_nodes(shape), statement
    statement = f"MATCH {relationship_pattern(shape)} RETURN count(r)"
    return target.count_relationships(shape), target.duplicate_relationships(shape), statement


async def _further(reader: RowReader, target: Target, entity: Entity, entry: Entry) -> list[Entry]:
    """What else a node should have: further labels, the rows joined to it."""
    if not isinstance(entity.rule, NodeRule):
        return []
    return [
        *await _fixed_label_entries(target, entity, entry),
        *await _label_entries(reader, target, entity, entity.rule),
        *await _join_entries(reader, target, entity, entity.rule),
    ]


async def _fixed_label_entries(target: Target, entity: Entity, entry: Entry) -> list[Entry]:
    shape = entity.shape
    assert isinstance(shape, NodeShape)
    return [
        Entry(
            f"{entity.id}:{label}",
            "label",
            entry.table,
            entry.source_rows - entry.dead,
            await asyncio.to_thread(target.count_labelled, shape, label),
            source_sql=entry.source_sql,
            target_gql=_labelled_gql(shape, label),
        )
        for label in shape.labels
    ]


def _labelled_gql(shape: NodeShape, label: str) -> str:
    return f"MATCH {node_pattern('n', shape)} WHERE n:{gql.quoted(label)} RETURN count(n)"


async def _label_entries(
    reader: RowReader, target: Target, entity: Entity, rule: NodeRule
) -> list[Entry]:
    shape = entity.shape
    assert isinstance(shape, NodeShape)
    if not shape.by_value:
        return []
    sql = entity.extract.labels_sql
    expected = {label: count for label, count in await reader.fetch(sql)}
    entries = []
    for label in shape.by_value:
        if label == shape.label or label in shape.labels:
            continue  # every node of the rule has it
        there = await asyncio.to_thread(target.count_labelled, shape, label)
        entries.append(
            Entry(
                f"{entity.id}:{label}",
                "label",
                str(rule.table),
                expected.get(label, 0),
                there,
                source_sql=sql,
                target_gql=_labelled_gql(shape, label),
            )
        )
    return entries


async def _join_entries(
    reader: RowReader, target: Target, entity: Entity, rule: NodeRule
) -> list[Entry]:
    shape = entity.shape
    assert isinstance(shape, NodeShape)
    items: dict[str, Property] = {}
    for item in rule.included_properties:
        if item.join:
            items.setdefault(item.join, item)
    if not items:
        return []
    sql = entity.extract.present_sql([item.name for item in items.values()])
    counts = (await reader.fetch(sql))[0]
    entries = []
    for (name, item), expected in zip(items.items(), counts, strict=True):
        join = rule.join_named(name)
        assert join is not None
        there = await asyncio.to_thread(target.count_present, shape, item.name)
        value = gql.member("n", item.name)
        statement = f"MATCH {node_pattern('n', shape)} RETURN count({value})"
        entries.append(
            Entry(
                f"{entity.id}.{item.name}",
                "join",
                str(join.table),
                expected,
                there,
                source_sql=sql,
                target_gql=statement,
            )
        )
    return entries


async def _misplaced(
    target: Target, entities: Sequence[Entity], entries: Sequence[Entry], others: Sequence[Entity]
) -> dict[str, int]:
    """Relationships of a type that lead neither way any rule of the type says.

    They are put to the account of the type's first rule.
    """
    by_type: dict[str, list[Entry]] = {}
    for entity, entry in zip(entities, entries, strict=True):
        if isinstance(entity.shape, RelationshipShape):
            by_type.setdefault(entity.shape.type, []).append(entry)
    found = {}
    for type_name, some in by_type.items():
        total = await asyncio.to_thread(target.count_type, type_name)
        for shape in (other.shape for other in others):
            if isinstance(shape, RelationshipShape) and shape.type == type_name:
                total -= await asyncio.to_thread(target.count_relationships, shape)
        found[some[0].id] = max(0, total - sum(entry.in_graph for entry in some))
    return found


async def _strangers(
    target: Target, entities: Sequence[Entity], entries: Sequence[Entry], others: Sequence[Entity]
) -> dict[str, int]:
    """Nodes that have a label of the mapping and that no rule made.

    They are put to the account of the first entry about the label.
    """
    counts: dict[str, list[Entry]] = {}
    by_id = {entry.id: entry for entry in entries if entry.kind in ("node", "label")}
    for entity in entities:
        shape = entity.shape
        if isinstance(shape, NodeShape):
            counts.setdefault(shape.label, []).append(by_id[entity.id])
            for label in {*shape.labels, *shape.by_value} - {shape.label}:
                counts.setdefault(label, []).append(by_id[f"{entity.id}:{label}"])
    found: dict[str, int] = {}
    for label, some in counts.items():
        total = await asyncio.to_thread(target.count_label, label)
        total -= await asyncio.to_thread(_labelled_by, target, others, label)
        strangers = total - sum(entry.in_graph for entry in some)
        if strangers > 0:
            found[some[0].id] = found.get(some[0].id, 0) + strangers
    return found


def _labelled_by(target: Target, entities: Sequence[Entity], label: str) -> int:
    """How many nodes of some entities have a label."""
    count = 0
    for shape in (entity.shape for entity in entities):
        if not isinstance(shape, NodeShape):
            continue
        if label == shape.label:
            count += target.count_nodes(shape)
        elif label in (*shape.labels, *shape.by_value):
            count += target.count_labelled(shape, label)
    return count


async def _compare_sample(
    reader: RowReader, target: Target, entity: Entity, left_out: LeftOut, same_snapshot: bool
) -> tuple[int, list[Difference]]:
    if not same_snapshot and known_by_place(entity):
        return await _compare_content(reader, target, entity)
    rows = await asyncio.to_thread(_without, left_out, entity, await _sample(reader, entity))
    if not rows:
        return 0, []
    compare = _compare_nodes if entity.kind == "node" else _compare_relationships
    return len(rows), await asyncio.to_thread(compare, target, entity, rows)


async def _sample(reader: RowReader, entity: Entity) -> list[Record]:
    """Rows that the graph must hold: some that can be carried, from all over the table."""
    estimate = entity.estimate or 0
    percent = None
    if estimate > 10 * SAMPLE_ROWS and entity.extract.sampled:
        percent = min(100.0, 100 * 4 * SAMPLE_ROWS / estimate)
    rows = await reader.fetch(entity.extract.sample_sql(percent), SAMPLE_ROWS)
    return [row for row in rows if entity.rejected(row) is None and entity.ends_known(row)]


def _without(left_out: LeftOut, entity: Entity, rows: list[Record]) -> list[Record]:
    """The rows that are not left out: a dead letter's key may be on somebody else's node."""
    keys = [entity.key_text(row) for row in rows]
    dead = left_out.among(keys)
    return [row for row, key in zip(rows, keys, strict=True) if key not in dead]


def _compare_nodes(target: Target, entity: Entity, rows: list[Record]) -> list[Difference]:
    assert isinstance(entity.shape, NodeShape)
    found = target.read_nodes(entity.shape, [entity.node_key(row) for row in rows])
    differences = []
    for row, properties, wrong in zip(rows, found, _labels(target, entity, rows), strict=True):
        difference = _difference(entity, row, properties, wrong)
        if difference is not None:
            differences.append(difference)
    return differences


def _labels(
    target: Target, entity: Entity, rows: list[Record]
) -> Iterator[list[tuple[str, str, str]]]:
    """For each row: the labels that its node should have and those it has, where they differ."""
    shape = entity.shape
    assert isinstance(shape, NodeShape)
    if not shape.by_value:
        yield from ([] for _ in rows)
        return
    found = target.read_labels(shape, [entity.node_key(row) for row in rows])
    for row, there in zip(rows, found, strict=True):
        own = entity.label(row)
        wanted = {shape.label, *shape.labels} | ({own} if own else set())
        ours = there & {shape.label, *shape.labels, *shape.by_value}
        yield [("labels", joined(wanted), joined(ours))] if wanted != ours else []


def _compare_relationships(target: Target, entity: Entity, rows: list[Record]) -> list[Difference]:
    assert isinstance(entity.shape, RelationshipShape)
    keys = [entity.relationship_key(row) for row in rows]
    found = target.read_relationships(entity.shape, keys)
    unfound = [place for place, some in enumerate(found) if not some]
    lacking = lack_an_end(target, entity.shape, [keys[place] for place in unfound])
    orphans = {place for place, lacks in zip(unfound, lacking, strict=True) if lacks}
    differences = []
    for place, (row, some) in enumerate(zip(rows, found, strict=True)):
        if place in orphans:
            continue
        difference = _difference(entity, row, like(some, row[entity.extract.fingerprint_at]))
        if difference is not None:
            differences.append(difference)
    return differences


def like(some: Sequence[dict[str, Any]], mark: int) -> dict[str, Any] | None:
    """Of relationships between the same nodes that of a fingerprint, else any: others made some."""
    first = some[0] if some else None
    return next((own for own in some if own.get(FINGERPRINT) == mark), first)


def _difference(
    entity: Entity,
    row: Record,
    found: dict[str, Any] | None,
    labels: Sequence[tuple[str, str, str]] = (),
) -> Difference | None:
    key = entity.key_text(row)
    if found is None:
        return Difference(entity.id, key, "source", (), *queries(entity, row), cause="missing")
    mark = row[entity.extract.fingerprint_at]
    values = [*differing_values(entity, row, found), *labels]
    if not values and found.get(FINGERPRINT) != mark:
        values.append((FINGERPRINT, shown(mark), shown(found.get(FINGERPRINT))))
    if not values:
        return None
    return Difference(entity.id, key, "both", tuple(values), *queries(entity, row))


async def _compare_content(
    reader: RowReader, target: Target, entity: Entity
) -> tuple[int, list[Difference]]:
    """Rows without a key, seen from another snapshot: is there a node of the same content?"""
    if isinstance(entity.rule, RelationshipRule):
        return 0, []
    rows = await _sample(reader, entity)
    marks = [row[entity.extract.fingerprint_at] for row in rows]
    assert isinstance(entity.shape, NodeShape)
    there = await asyncio.to_thread(_content_there, target, entity.shape, marks)
    missing = [row for row, mark in zip(rows, marks, strict=True) if mark not in there]
    return len(rows), [Difference(entity.id, entity.key_text(r), "source", ()) for r in missing]


def _content_there(target: Target, shape: NodeShape, marks: list[int]) -> set[int]:
    """Those of the fingerprints that some node has whose values still give it."""
    nodes = target.read_marked(shape, marks, SAME_CONTENT_NODES)
    if len(nodes) == SAME_CONTENT_NODES:
        return target.present_fingerprints(shape, marks)
    return {
        node[FINGERPRINT] for node in nodes if told_fingerprint(shape, node) == node[FINGERPRINT]
    }
