"""Statements about indexes, constraints and graphs, translated to what Grafeo takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.geode_loopback.dialect import Dialect, StatementError, not_supported

_NAME = r"(?:\w+|`(?:[^`]|``)*`)"
_ONLY_IF = r"(?P<only_if>IF\s+NOT\s+EXISTS\s+)?"


def _pattern(text: str) -> re.Pattern[str]:
    spaced = text.replace(" ", r"\s+").replace("NAME", _NAME).replace("ONLY_IF", _ONLY_IF)
    return re.compile(rf"^\s*{spaced}\s*;?\s*$", re.IGNORECASE)


_INDEX_ON_LABEL = _pattern(
    r"CREATE (?P<unique>UNIQUE\s+)?INDEX ONLY_IF(?P<name>NAME) ON (?P<label>NAME)\s*"
    r"\((?P<properties>[^()]+)\)(?:\s*USING (?P<kind>\w+))?"
)
_INDEX_FOR = _pattern(
    r"CREATE (?P<unique>UNIQUE\s+)?(?:(?:HASH|BTREE)\s+)?INDEX ONLY_IF(?P<name>NAME) FOR"
    r"\s*\(\s*\w+\s*:\s*(?P<label>NAME)\s*\)\s*ON\s*\((?P<properties>[^()]+)\)"
)
_CONSTRAINT_ON_LABEL = _pattern(
    r"CREATE CONSTRAINT ONLY_IF(?P<name>NAME) ON (?P<label>NAME)\s*"
    r"\((?P<properties>[^()]+)\)\s*ASSERT (?P<kind>UNIQUE|NOT\s+NULL)"
)
_CONSTRAINT_ASSERT = _pattern(
    r"CREATE CONSTRAINT ONLY_IF(?P<name>NAME) ON\s*\(\s*\w+\s*:\s*(?P<label>NAME)\s*\)\s*ASSERT\s*"
    r"\(?(?P<properties>[^()]+?)\)? IS (?P<kind>UNIQUE|NOT\s+NULL)"
)
_CONSTRAINT_EXISTS = _pattern(
    r"CREATE CONSTRAINT ONLY_IF(?P<name>NAME) ON\s*\(\s*\w+\s*:\s*(?P<label>NAME)\s*\)\s*ASSERT\s*"
    r"(?P<kind>EXISTS)\s*\((?P<properties>[^()]+)\)"
)
_CONSTRAINT_FOR = _pattern(
    r"CREATE CONSTRAINT ONLY_IF(?P<name>NAME) FOR\s*\(\s*\w+\s*:\s*(?P<label>NAME)\s*\)\s*ON\s*"
    r"\((?P<properties>[^()]+)\)\s*(?P<kind>UNIQUE|NOT\s+NULL)"
)
_DROP = _pattern(r"DROP (?P<what>INDEX|CONSTRAINT) (?P<only_if>IF\s+EXISTS\s+)?(?P<name>NAME)")
_GRAPH = _pattern(
    r"(?P<verb>CREATE GRAPH|DROP GRAPH|USE GRAPH|USE)"
    r" (?P<only_if>IF (?:NOT )?EXISTS\s+)?(?P<name>NAME)".replace(
        "(?P<only_if>IF (?:NOT )?EXISTS", r"(?P<only_if>IF\s+(?:NOT\s+)?EXISTS"
    )
)
_SCHEMA = re.compile(
    r"^\s*(?:CREATE\s+(?:\w+\s+)?(?:INDEX|CONSTRAINT)|DROP\s+(?:INDEX|CONSTRAINT))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """An index or a constraint to make or to drop; `kind` is INDEX, UNIQUE, NOT NULL or DROP."""

    kind: str
    name: str
    label: str = ""
    properties: tuple[str, ...] = ()
    only_if: bool = False
    unique: bool = False


@dataclass(frozen=True, slots=True)
class GraphStatement:
    """CREATE, DROP or USE of a graph."""

    verb: str
    name: str
    only_if: bool


def graph_statement(text: str, dialect: Dialect) -> GraphStatement | None:
    """The statement as one about graphs; None when it is none."""
    found = _GRAPH.match(text)
    if not found:
        return None
    if not dialect.use_graph:
        raise not_supported("statements about graphs are not supported")
    verb = found["verb"].split()[0].upper()
    return GraphStatement(verb, found["name"].strip("`"), bool(found["only_if"]))


def schema_change(text: str, dialect: Dialect) -> SchemaChange | None:
    """The statement as a change of the schema; None when it is none, an error when unknown."""
    if not _SCHEMA.match(text):
        return None
    if found := _DROP.match(text):
        return SchemaChange("DROP", found["name"], only_if=bool(found["only_if"]))
    for pattern, taken in (
        (_INDEX_ON_LABEL, dialect.index_on_label),
        (_INDEX_FOR, dialect.index_for),
    ):
        if taken and (found := pattern.match(text)):
            return _index(found, dialect)
    for pattern, taken in (
        (_CONSTRAINT_ON_LABEL, dialect.constraint_on_label),
        (_CONSTRAINT_ASSERT, dialect.constraint_assert),
        (_CONSTRAINT_EXISTS, dialect.constraint_assert),
        (_CONSTRAINT_FOR, dialect.constraint_for),
    ):
        if taken and (found := pattern.match(text)):
            return _constraint(found)
    raise not_supported("this spelling of an index or a constraint is not supported")


def _index(found: re.Match[str], dialect: Dialect) -> SchemaChange:
    unique, only_if = bool(found["unique"]), bool(found["only_if"])
    if unique and not dialect.unique_index:
        raise not_supported("UNIQUE INDEX is not supported")
    if only_if and not dialect.index_if_not_exists:
        raise not_supported("IF NOT EXISTS is not supported")
    properties = _properties(found["properties"])
    return SchemaChange("INDEX", found["name"], found["label"], properties, only_if, unique)


def _constraint(found: re.Match[str]) -> SchemaChange:
    unique = found["kind"].upper() == "UNIQUE"
    return SchemaChange(
        "UNIQUE" if unique else "NOT NULL",
        found["name"],
        found["label"],
        _properties(found["properties"]),
        bool(found["only_if"]),
        unique,
    )


def _properties(text: str) -> tuple[str, ...]:
    names = [re.sub(r"^\s*\w+\s*\.\s*", "", part).strip() for part in text.split(",")]
    if not all(re.fullmatch(_NAME, name) for name in names):
        raise StatementError("42000", f"not a list of properties: {text}")
    return tuple(names)
