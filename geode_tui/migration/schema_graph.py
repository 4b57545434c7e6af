"""What a change of the schema asks of a graph beyond the protocol, in plain GQL.

Shapes are matched as the target does: by label or type, and by the rule's mark where several
rules share a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.mapping.model import FINGERPRINT, OF
from geode_tui.migration.versions import of_others
from geode_tui.target.model import NodeShape, RelationshipShape, Target
from geode_tui.target.patterns import node_pattern, pattern_of
from geode_tui.validation.digest import fingerprint, told_key, told_properties

Shape = NodeShape | RelationshipShape

SCAN_ROWS = 2_000
_MARK_ROWS = 20_000


def marked_shape(label: str, mark: str) -> NodeShape:
    """The nodes of a label, told from others by the rule's mark where there is one."""
    return NodeShape(label, (OF,) if mark else (), (), of=mark)


def count(target: Target, shape: Shape) -> int:
    """How many nodes or relationships there are of a shape."""
    if isinstance(shape, NodeShape):
        return target.count_nodes(shape)
    return target.count_relationships(shape)


def count_of_others(target: Target, shape: Shape, runs: tuple[str, ...]) -> int:
    """How many of them none of the runs wrote."""
    pattern, variable = pattern_of(shape)
    where = of_others(variable, runs)
    return _number(target, f"MATCH {pattern} WHERE {where} RETURN count({variable}) AS c")


def count_hanging(target: Target, shape: NodeShape, runs: tuple[str, ...]) -> int:
    """How many relationships none of the runs wrote begin or end at the nodes."""
    node, where = node_pattern("n", shape), of_others("r", runs)
    out = _number(target, f"MATCH {node}-[r]->() WHERE {where} RETURN count(r) AS c")
    return out + _number(target, f"MATCH ()-[r]->{node} WHERE {where} RETURN count(r) AS c")


def count_having(target: Target, shape: Shape, name: str) -> int:
    """How many of them have a property."""
    pattern, variable = pattern_of(shape)
    return _number(target, f"MATCH {pattern} RETURN count({gql.member(variable, name)}) AS c")


def set_mark(target: Target, shape: NodeShape, mark: str) -> int:
    """Give the nodes another mark, or none (empty), in bounded transactions. Repeatable."""
    member = gql.member("n", OF)
    action = f"SET {member} = {gql.literal(mark)}" if mark else f"REMOVE {member}"
    where = "" if shape.of else f" WHERE {member} IS NULL"
    some = f"{node_pattern('n', shape)}{where} WITH n LIMIT {_MARK_ROWS}"
    statement = f"MATCH {some} {action} RETURN count(n) AS c"
    done = 0
    left = count(target, shape)
    while changed := _number(target, statement):
        done += changed
        if done > left:
            raise GeodeTuiError("the graph does not keep a property", f"{OF} of {shape.label}")
    return done


def renew_digests(target: Target, shape: Shape) -> int:
    """Compute the digest of each node or relationship anew; returns how many changed."""
    changed = 0
    for rows in scan(target, shape, (*_digested(shape), FINGERPRINT)):
        others = [
            (key, (new,))
            for key, (*values, old) in rows
            if (new := digest(shape, key, values)) != old
        ]
        update(target, shape, (FINGERPRINT,), others)
        changed += len(others)
    return changed


def other_digests(target: Target, shape: Shape) -> Any:
    """Key and digest of those whose digest is not that of their values, in lists."""
    for rows in scan(target, shape, (*_digested(shape), FINGERPRINT)):
        yield [(key, (old,)) for key, (*values, old) in rows if digest(shape, key, values) != old]


def scan(target: Target, shape: Shape, names: Sequence[str]) -> Any:
    """Key and properties of all nodes or relationships of a shape, in lists."""
    if isinstance(shape, NodeShape):
        return target.scan_nodes(shape, names, SCAN_ROWS)
    return target.scan_relationships(shape, names, SCAN_ROWS)


def update(target: Target, shape: Shape, names: Sequence[str], rows: Sequence[Any]) -> int:
    """Set some properties of the nodes or relationships of some keys."""
    if not rows:
        return 0
    if isinstance(shape, NodeShape):
        return target.update_nodes(shape, names, rows)
    return target.update_relationships(shape, names, rows)


def images(target: Target, shape: Shape, keys: Sequence[Any]) -> list[Any]:
    """The nodes or relationships of some keys as they are."""
    if isinstance(shape, NodeShape):
        return list(target.node_images(shape, keys))
    return list(target.relationship_images(shape, keys))


def put(target: Target, shape: Shape, pairs: Sequence[Any]) -> None:
    """Make the nodes or relationships of some keys what the images say."""
    if isinstance(shape, NodeShape):
        target.put_nodes(shape, pairs)
    else:
        target.put_relationships(shape, pairs)


def digest(shape: Shape, key: Any, values: Sequence[Any]) -> int:
    """The digest of a row, of the values that it became; `values` are those of `_digested`."""
    told = [(value, kind) for value, (_, kind) in zip(values, told_properties(shape), strict=True)]
    if isinstance(shape, NodeShape):
        return fingerprint(told)
    ends = zip((shape.start, shape.end), key[:2], strict=True)
    keys = [(own[place], kind) for end, own in ends for place, kind in told_key(end)]
    return fingerprint([*keys, *told])


def _digested(shape: Shape) -> tuple[str, ...]:
    return tuple(name for name, _ in told_properties(shape))


def _number(target: Target, statement: str) -> int:
    rows = target.query(statement)
    return int(rows[0]["c"]) if rows else 0
