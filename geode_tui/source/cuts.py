"""A table cut into ranges that are read one by one: of keys where it has one, else of blocks.

The quantiles of the key come from the server, in the key's own order: of all keys where the table
is small, else of a sample of its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from geode_tui.catalog import TableName
from geode_tui.mapping.extract import Extract
from geode_tui.source.postgres import Reader

Cursor = tuple[str, ...]
Range = tuple[Cursor | None, Cursor | None]
"""After the first cursor (None: from the beginning), up to and with the second (None: the end).

For a table without a key both are (schema, table, block): from the one block to before the other.
"""

LAST_BLOCK = 4294967295
"""The block that no table reaches."""
ALL_KEYS_ROWS = 200_000
ALL_KEYS_BLOCKS = 8_192
SAMPLED_BLOCKS = 2_000
"""A table of fewer blocks is not sampled: all its keys are read."""
_BLOCKS_A_RANGE = 20
_ROWS_A_RANGE = 200
_LARGEST_SHARE = 0.25
_ROWS_A_BLOCK = 64


async def cut(
    reader: Reader, extract: Extract, estimate: int | None, rows: int, most: int = 2_000
) -> list[Range]:
    """Cut the table of an extract into ranges of about `rows` rows, at most about `most` of them.

    Together the ranges hold each row once; the last (of each leaf) is open, for rows that come
    later. `estimate` is the planner's row count, None where it is not known. Raises GeodeTuiError.
    """
    if extract.reading == "stream":
        return [(None, None)]
    blocks = [await reader.blocks(leaf) for leaf in extract.leaves]
    if extract.reading == "blocks":
        return _of_blocks(extract.leaves, blocks, estimate, rows, most)
    size = sum(blocks)
    if size <= SAMPLED_BLOCKS or (
        size <= ALL_KEYS_BLOCKS and estimate is not None and estimate <= ALL_KEYS_ROWS
    ):
        found = await reader.fetch(extract.cut_sql(None), float(rows), most)
        return _between([tuple(row) for row in found])
    return _between(await _sampled(reader, extract, estimate, rows, most, size))


async def _sampled(
    reader: Reader, extract: Extract, estimate: int | None, rows: int, most: int, size: int
) -> list[Cursor]:
    """The bounds by a sample: of more blocks for more ranges, never of the whole table."""
    guess = max(estimate or 0, size)  # a table that was never analyzed may be said to be empty
    if estimate is None:
        guess = size * _ROWS_A_BLOCK
    ranges = min(most, -(-guess // rows))
    wanted = max(SAMPLED_BLOCKS, _BLOCKS_A_RANGE * ranges) / size
    blocks = min(wanted, max(_LARGEST_SHARE, SAMPLED_BLOCKS / size))
    # Rows enough: more of them would be sorted, and would not make the ranges more even.
    kept = min(1.0, max(50_000, _ROWS_A_RANGE * ranges) / (guess * blocks))
    per_range = max(1.0, rows * blocks * kept)
    found = await reader.fetch(extract.cut_sql(100 * blocks), per_range, most, kept)
    return [tuple(row) for row in found]


def _between(bounds: Sequence[Cursor]) -> list[Range]:
    different = list(dict.fromkeys(bounds))
    return list(pairwise([None, *different, None]))


def _of_blocks(
    leaves: Sequence[TableName],
    blocks: Sequence[int],
    estimate: int | None,
    rows: int,
    most: int,
) -> list[Range]:
    size = sum(blocks)
    a_block = max(1, estimate // max(size, 1)) if estimate else _ROWS_A_BLOCK
    step = max(1, rows // a_block, -(-size // most))
    ranges: list[Range] = []
    for leaf, count in zip(leaves, blocks, strict=True):
        starts = range(0, max(count, 1), step)
        places = [(leaf.schema, leaf.name, str(block)) for block in (*starts, LAST_BLOCK)]
        ranges += pairwise(places)
    return ranges
