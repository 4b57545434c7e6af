"""The ledger of an import: what the files hold, and where each record of it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, cast

from geode_tui.mapping.model import FINGERPRINT
from geode_tui.target.file_check import Checked
from geode_tui.target.file_entity import FileEntity
from geode_tui.target.file_reading import GraphFiles
from geode_tui.target.model import NodeShape, Target
from geode_tui.validation.before import Since
from geode_tui.validation.digest import same_value
from geode_tui.validation.ledger import Difference, Entry, Ledger
from geode_tui.validation.left_out import LeftOut
from geode_tui.validation.mismatches import shown
from geode_tui.validation.verify import like

SAMPLE_ROWS = 200


def take_file_ledger(
    files: GraphFiles,
    checked: Checked,
    target: Target,
    entities: Sequence[FileEntity],
    left_out: Mapping[str, LeftOut],
    before: Mapping[str, int],
    fence: str,
    progress: Callable[[str], None],
    runs: Set[str] = frozenset(),
) -> Ledger:
    """Count every entity on both sides and compare a sample; blocks, for a thread.

    Raises GeodeTuiError.
    """
    since = cast(Target, Since(target, before, runs=runs))
    entries, differences = [], []
    for entity in entities:
        progress(entity.id)
        out = left_out.get(entity.id, LeftOut())
        counts = _counted(since, entity)
        sampled, found = _compare_sample(files, target, entity, out)
        differences += found
        entries.append(
            Entry(
                entity.id,
                entity.kind,
                entity.shape.label if isinstance(entity.shape, NodeShape) else entity.shape.type,
                checked.records[entity.id],
                counts[0],
                out.dead,
                out.orphans,
                duplicates=counts[1],
                sampled=sampled,
                differing=len(found),
            )
        )
    return Ledger(tuple(entries), tuple(differences), fence, time.time())


def _counted(target: Target, entity: FileEntity) -> tuple[int, int]:
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return target.count_nodes(shape), target.duplicate_nodes(shape)
    return target.count_relationships(shape), target.duplicate_relationships(shape)


def _compare_sample(
    files: GraphFiles, target: Target, entity: FileEntity, left_out: LeftOut
) -> tuple[int, list[Difference]]:
    """The first records of some parts of the files, value by value."""
    ranges = files.cut(entity, 8 * 1024 * 1024)
    some = ranges[:: max(1, len(ranges) // 4)]
    each = SAMPLE_ROWS // max(1, len(some))
    rows = [
        row for low, high in some for row in next(iter(files.rows(entity, low, high, each)), [])
    ]
    keys = [entity.key_text(row) for row in rows]
    dead = left_out.among(keys)
    rows = [row for row, key in zip(rows, keys, strict=True) if key not in dead]
    if not rows:
        return 0, []
    there = _read(target, entity, rows)
    found = [_difference(entity, row, node) for row, node in zip(rows, there, strict=True)]
    return len(rows), [difference for difference in found if difference is not None]


def _read(target: Target, entity: FileEntity, rows: Sequence[Any]) -> list[dict[str, Any] | None]:
    shape = entity.shape
    if isinstance(shape, NodeShape):
        return target.read_nodes(shape, [entity.node_key(row) for row in rows])
    keys = [entity.relationship_key(row) for row in rows]
    found = target.read_relationships(shape, keys)
    marks = [row[entity.fingerprint_at] for row in rows]
    return [like(some, mark) for some, mark in zip(found, marks, strict=True)]


def _difference(entity: FileEntity, row: Any, there: dict[str, Any] | None) -> Difference | None:
    """What differs; a record that is not there is in the counts (an orphan, a dead letter)."""
    if there is None:
        return None
    types = dict(zip(entity.shape.properties, entity.shape.types, strict=True))
    values = [
        (name, shown(value), shown(there.get(name)))
        for name, value in entity.properties(row).items()
        if not same_value(value, there.get(name), types[name])
    ]
    mark = row[entity.fingerprint_at]
    if not values and there.get(FINGERPRINT) != mark:
        values.append((FINGERPRINT, shown(mark), shown(there.get(FINGERPRINT))))
    if not values:
        return None
    return Difference(entity.id, entity.key_text(row), "both", tuple(values))
