"""Names of labels, relationship types and properties made from the names of a schema.

A graph name is ASCII letters, digits and `_`, starts with a letter and has at most 128
characters: what every dialect takes without quotes (Geode's driver offers no way to quote). Names
that start with `_` are the run's own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from functools import cache

import inflection

GRAPH_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
# Words that the embedded graph takes in no place without quotes, in whatever case.
_RESERVED = frozenset(
    {"acyclic", "cast", "except", "for", "group", "groups", "intersect", "offset", "ordinality"}
    | {"otherwise", "remove", "shortest", "simple", "trail", "union", "walk", "xor"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_KEY_ENDINGS = frozenset({"id", "ids", "key", "fk", "no", "code", "uuid", "guid", "pk", "ref"})
_VERB_ENDINGS = frozenset({"by", "to", "from", "in", "of", "at", "for", "with", "on", "via"})
_CONTAINERS = frozenset(
    {"category", "group", "region", "country", "city", "department", "territory", "genre"}
)
_SINGULAR_IN_S = frozenset({"alias", "atlas", "bias", "canvas", "gas", "lens", "chassis"})
_IRREGULAR = {"caches": "cache", "leaves": "leaf", "data": "data", "media": "media"}


def is_graph_name(name: str) -> bool:
    """Whether `name` can stand in a graph without quotes and is not one of the run's own."""
    return GRAPH_NAME.fullmatch(name) is not None


def words(name: str) -> list[str]:
    """The lower-case ASCII words of a name: `unitPrice`, `unit_price`, `Unit Price` alike."""
    plain = unicodedata.normalize("NFKD", name)
    ascii_only = plain.encode("ascii", "ignore").decode()
    return [word.lower() for word in _WORD.findall(ascii_only)]


@cache
def singular(word: str) -> str:
    """The singular of a lower-case English word; a word that is no plural as it is."""
    if word in _SINGULAR_IN_S or word.endswith(("ss", "us", "is")) or len(word) < 4:
        return word
    return _IRREGULAR.get(word) or str(inflection.singularize(word))


def label_name(table: str) -> str:
    """`order_items` becomes `OrderItem`."""
    parts = words(table)
    if not parts:
        return "Label"
    parts[-1] = singular(parts[-1])
    return _leading_letter("".join(part.capitalize() for part in parts), "Label")


def property_name(column: str) -> str:
    """`unit_price` becomes `unitPrice`."""
    parts = words(column)
    if not parts:
        return "property"
    joined = parts[0] + "".join(part.capitalize() for part in parts[1:])
    return _leading_letter(joined, "p")


def relationship_name(columns: tuple[str, ...], target_table: str) -> tuple[str, str]:
    """A foreign key's relationship type and the reason for it.

    A column that reads as a verb (`created_by`, `reports_to`) is the type; otherwise the role in
    the column's name, `HAS_` before it (`ship_address_id` gives `HAS_SHIP_ADDRESS`).
    """
    role = _role(columns[-1], target_table) if len(columns) == 1 else []
    if len(role) > 1 and role[-1] in _VERB_ENDINGS:
        return _type("", role), f"column {columns[-1]} reads as a verb"
    if not role:
        role = words(target_table) or ["related"]
        role[-1] = singular(role[-1])
        return _prefixed(role), f"named after the table it points at, {target_table}"
    return _prefixed(role), f"named after column {columns[-1]}"


def join_name(table: str, start_table: str, end_table: str) -> tuple[str, str]:
    """A join table's relationship type and the reason for it.

    What is left of the table's name without the start's: `product_suppliers` from products gives
    `HAS_SUPPLIER`; a name with neither end in it stays whole (`enrollments` gives `ENROLLMENT`).
    """
    own = [singular(word) for word in words(table)] or ["related"]
    start = [singular(word) for word in words(start_table)]
    end = [singular(word) for word in words(end_table)]
    if start and own[: len(start)] == start and len(own) > len(start):
        return _type("HAS_", own[len(start) :]), f"table {table} without {start_table}"
    if start and own[-len(start) :] == start and own[: -len(start)] == end:
        return _type("HAS_", end), f"table {table} without {start_table}"
    return _type("", own), f"named after table {table}"


def unused(name: str, taken: Container[str]) -> str:
    """`name`, or the first of `name2`, `name3`, … that is not taken."""
    if name not in taken:
        return name
    number = 2
    while f"{name}{number}" in taken:
        number += 1
    return f"{name}{number}"


def _role(column: str, target_table: str) -> list[str]:
    parts = words(column)
    target = [singular(word) for word in words(target_table)]
    if len(target) == 1 and parts in ([target[0] + ending] for ending in _KEY_ENDINGS):
        return target
    while len(parts) > 1 and parts[-1] in _KEY_ENDINGS:
        parts.pop()
    return [] if len(parts) == 1 and parts[0] in _KEY_ENDINGS else parts


def _prefixed(role: list[str]) -> str:
    return _type("IN_" if role[-1] in _CONTAINERS else "HAS_", role)


def _type(prefix: str, parts: list[str]) -> str:
    return _leading_letter(prefix + "_".join(parts).upper(), "REL_")


def _leading_letter(name: str, prefix: str) -> str:
    if name.lower() in _RESERVED:
        return f"{name}_"
    return (name if name[:1].isalpha() else prefix + name)[:120]
