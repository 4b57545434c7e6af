"""All that a Grafeo file holds, as values to compare: two graphs are equal or they differ.

Nothing is imported from the product. Internal ids are left out: a relationship is told by the
whole of both its ends.

    before = dump(path)
    ...
    assert dump(path) == before, "\\n".join(differences(before, dump(path)))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import grafeo

SHOWN = 10


class Dump(NamedTuple):
    """Each node and relationship, with how often one like it is there."""

    nodes: Counter[Any]
    relationships: Counter[Any]


def dump(path: str | Path, graph: str | None = None, without: Collection[str] = ()) -> Dump:
    """Everything in a graph, properties of the names `without` left out; the file must be free."""
    database = grafeo.GrafeoDB.open_read_only(str(path))
    try:
        return dump_open(database.graph(graph) if graph else database, without)
    finally:
        database.close()


def dump_open(opened: Any, without: Collection[str] = ()) -> Dump:
    """The same of a graph that is open already (what `execute` is called on)."""
    nodes = {}
    for row in opened.execute(
        "MATCH (n) RETURN id(n) AS id, labels(n) AS labels, properties(n) AS p"
    ):
        properties = _properties(row["p"], without)
        nodes[row["id"]] = (tuple(sorted(row["labels"])), properties)
    statement = (
        "MATCH (a)-[r]->(b) "
        "RETURN id(a) AS a, id(b) AS b, type(r) AS type, id(r) AS id, properties(r) AS p"
    )
    relationships: Counter[Any] = Counter()
    for row in opened.execute(statement):
        properties = _properties(row["p"], without)
        relationships[(nodes[row["a"]], row["type"], nodes[row["b"]], properties)] += 1
    return Dump(Counter(nodes.values()), relationships)


def differences(one: Dump, other: Dump) -> list[str]:
    """What one graph has and the other has not, as lines to read; empty when they are equal."""
    lines = []
    for kind, first, second in (
        ("node", one.nodes, other.nodes),
        ("relationship", one.relationships, other.relationships),
    ):
        for words, more in (
            ("only in the first", first - second),
            ("only in the second", second - first),
        ):
            lines += [f"{kind} {words}: {item} ({n} times)" for item, n in more.most_common(SHOWN)]
    return lines


def _properties(found: dict[str, Any], without: Collection[str]) -> tuple[Any, ...]:
    return tuple(
        sorted((name, _frozen(value)) for name, value in found.items() if name not in without)
    )


def _frozen(value: Any) -> Any:
    """A value that is equal to its like and can be hashed, and unlike those of other types."""
    if isinstance(value, list | tuple):
        return ("list", tuple(_frozen(item) for item in value))
    if isinstance(value, dict):
        return ("map", tuple(sorted((name, _frozen(item)) for name, item in value.items())))
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    return (type(value).__name__, repr(value))
