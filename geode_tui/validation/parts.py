"""The two sides of an entity in parts by digest, and which parts differ.

A row is in the part `digest % parts`; of each part both sides tell the number of rows and a sum.
Ranges of digests need no order that PostgreSQL and a graph agree on, nor a key: collations, UUIDs,
gaps and rows without a key are all alike. The sum is of `digest % MODULUS`, so that it fits in 64
bits. Two different rows are in the same part with the same sum once in `parts * MODULUS` pairs,
which is 2**37 at the least; a difference of one row therefore escapes with less than 1e-11.
"""

from __future__ import annotations

from collections.abc import Iterator

from geode_tui.target.model import Parts

MODULUS = 2**31 - 1
"""A prime: the sum tells of every bit of a digest, and four billion rows do not overflow."""
ROWS_IN_PART = 500
_MOST_PARTS = 2**16
_FEWEST_PARTS = 2**6


def parts_for(rows: int) -> int:
    """In how many parts so many rows are compared: a power of two."""
    parts = _FEWEST_PARTS
    while parts < _MOST_PARTS and parts * ROWS_IN_PART < rows:
        parts *= 2
    return parts


def differing(source: Parts, graph: Parts) -> list[int | None]:
    """The numbers of the parts that are not the same on both sides."""
    nothing = (0, 0)
    numbers = source.keys() | graph.keys()
    differ = [n for n in numbers if source.get(n, nothing) != graph.get(n, nothing)]
    return sorted(differ, key=lambda n: -1 if n is None else n)


def rows_of(parts: Parts) -> int:
    """How many rows there are in all parts."""
    return sum(count for count, _ in parts.values())


def in_groups(
    numbers: list[int | None], source: Parts, graph: Parts, rows: int
) -> Iterator[list[int | None]]:
    """Numbers of parts in lists that hold about `rows` rows of the two sides together."""
    group: list[int | None] = []
    size = 0
    for number in numbers:
        more = source.get(number, (0, 0))[0] + graph.get(number, (0, 0))[0]
        if group and size + more > rows:
            yield group
            group, size = [], 0
        group.append(number)
        size += more
    if group:
        yield group
