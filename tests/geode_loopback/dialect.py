"""The dialect the server takes: what it refuses, and what it writes differently for Grafeo."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which statement forms are taken (True) or answered with 42000; and known misbehaviour.

    The defaults are what the documents of Geode describe, and nothing that only Grafeo has.
    """

    parameters: bool = True
    list_parameters: bool = True
    map_parameters: bool = True
    unwind: bool = True
    for_in: bool = False
    merge: bool = True
    on_create_set: bool = True
    create: bool = True
    insert: bool = True
    set_map: bool = True  # SET n = row
    set_add_map: bool = True  # SET n += row
    detach_delete: bool = True
    exists: bool = True
    back_ticks: bool = False
    type_function: bool = True  # type(r)
    temporal_functions: bool = True
    internal_functions: bool = False  # id(n), element_id(n), CALL db.…
    index_on_label: bool = True  # CREATE INDEX i ON Label(p)
    index_for: bool = True  # CREATE INDEX i FOR (n:Label) ON (n.p)
    index_if_not_exists: bool = True
    unique_index: bool = True  # CREATE UNIQUE INDEX …
    constraint_on_label: bool = True  # CREATE CONSTRAINT c ON Label(p) ASSERT UNIQUE
    constraint_assert: bool = True  # CREATE CONSTRAINT c ON (n:Label) ASSERT n.p IS UNIQUE
    constraint_for: bool = False  # Grafeo's own: … FOR (n:Label) ON (n.p) UNIQUE
    show: bool = True  # SHOW INDEXES, SHOW CONSTRAINTS
    use_graph: bool = True
    refused: tuple[str, ...] = ()  # regular expressions of further statements to refuse
    limit_needs_order: bool = False  # LIMIT without ORDER BY is answered with US001
    rollback_keeps: bool = False  # a rollback keeps what was written
    ignores_direction: bool = False  # MATCH (a)-[r]->(b) also finds (b)-[r]->(a)
    delete_takes_nodes: bool = False  # DELETE r of a relationship removes its nodes too
    count_distinct_is_null: bool = False


class StatementError(Exception):
    """An error to answer with; `code` is SQLSTATE-like."""

    def __init__(self, code: str, message: str) -> None:
        """What is sent to the client."""
        super().__init__(message)
        self.code = code
        self.message = message


def masked(text: str) -> str:
    """The statement with string literals, back-ticked names and comments blanked out in place."""
    return _HIDDEN.sub(lambda found: _blank(found.group()), text)


_HIDDEN = re.compile(
    r"""'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|/\*.*?\*/|--[^\n\]\[>(]*$|//[^\n]*""",
    re.DOTALL | re.MULTILINE,
)


def _blank(found: str) -> str:
    return found[0] + "_" * (len(found) - 2) + found[-1] if found[0] in "'\"`" else " " * len(found)


def _word(pattern: str) -> re.Pattern[str]:
    """A keyword that is no name: not after . : $ and not the key of a map."""
    return re.compile(rf"(?<![\w.:$'\"`])(?:{pattern})(?![\w])(?!\s*:)", re.IGNORECASE)


_WRITES = _word("CREATE|INSERT|MERGE|SET|DELETE|DETACH|REMOVE|REPLACE|DROP|ALTER|GRANT|REVOKE|LOAD")
_FORMS = (
    ("unwind", _word("UNWIND"), "UNWIND"),
    ("for_in", _word(r"FOR\s+\w+\s+IN"), "FOR … IN"),
    ("merge", _word("MERGE"), "MERGE"),
    ("on_create_set", _word(r"ON\s+(?:CREATE|MATCH)\s+SET"), "ON CREATE SET"),
    ("create", _word(r"CREATE\s*(?=\(|\w+\s*=\s*\()"), "CREATE"),
    ("insert", _word(r"INSERT\s*(?=\()"), "INSERT"),
    ("detach_delete", _word(r"DETACH\s+DELETE"), "DETACH DELETE"),
    ("exists", re.compile(r"\bEXISTS\s*\{", re.IGNORECASE), "EXISTS { … }"),
    ("back_ticks", re.compile("`"), "a delimited name"),
    ("type_function", re.compile(r"(?<![\w.])type\s*\(", re.IGNORECASE), "type()"),
    (
        "temporal_functions",
        re.compile(
            r"(?<![\w.])(?:datetime|date|time|timestamp|timestamptz|localdatetime|zoned_datetime"
            r"|duration|current_date|current_time|now)\s*\(",
            re.IGNORECASE,
        ),
        "a temporal function",
    ),
    (
        "internal_functions",
        re.compile(r"(?<![\w.])(?:id|element_id|elementId)\s*\(|\bCALL\s+\w", re.IGNORECASE),
        "an internal function",
    ),
    ("parameters", re.compile(r"\$\w"), "a parameter"),
    ("show", re.compile(r"^\s*SHOW\b", re.IGNORECASE), "SHOW"),
)
_LIMIT, _ORDER = _word("LIMIT|SKIP|OFFSET"), _word(r"ORDER\s+BY")
_CLAUSE = _word(
    "MATCH|OPTIONAL|WHERE|WITH|RETURN|CREATE|INSERT|MERGE|SET|DELETE|DETACH|REMOVE|UNWIND|FOR|ON"
    "|ORDER|SKIP|LIMIT|UNION"
)
_SET_ITEM = re.compile(r"(?:^|,)\s*\w+\s*(\+?=)(?!=)")


def writes(text: str) -> bool:
    """Whether a statement changes the graph or the schema."""
    return bool(_WRITES.search(masked(text)))


def check(text: str, dialect: Dialect) -> None:
    """Refuse, with 42000, a statement that has a form which is not of the dialect."""
    plain = masked(text)
    for option, pattern, name in _FORMS:
        if not getattr(dialect, option) and pattern.search(plain):
            raise not_supported(f"{name} is not supported")
    for operator in _map_assignments(plain):
        if not (dialect.set_map if operator == "=" else dialect.set_add_map):
            raise not_supported(f"SET … {operator} with a map is not supported")
    for expression in dialect.refused:
        if re.search(expression, text, re.IGNORECASE | re.DOTALL):
            raise not_supported("this statement is not supported")
    if dialect.limit_needs_order and _LIMIT.search(plain) and not _ORDER.search(plain):
        raise StatementError("US001", "LIMIT or OFFSET without ORDER BY")


def _map_assignments(plain: str) -> list[str]:
    return [
        item.group(1)
        for keyword, body, _ in clauses(plain)
        if keyword == "SET"
        for item in _SET_ITEM.finditer(body)
    ]


def clauses(plain: str) -> list[tuple[str, str, int]]:
    """The clauses of a masked statement: keyword, text after it, and where that text starts."""
    found = list(_CLAUSE.finditer(plain))
    ends = [*(match.start() for match in found[1:]), len(plain)][: len(found)]
    return [
        (match.group().upper(), plain[match.end() : end], match.end())
        for match, end in zip(found, ends, strict=True)
    ]


def rewritten(text: str, dialect: Dialect) -> str:
    """The statement as Grafeo is to run it: with the misbehaviour of the dialect put in."""
    if dialect.ignores_direction:
        text = _undirected(text)
    if dialect.delete_takes_nodes:
        text = _delete_with_nodes(text)
    if dialect.count_distinct_is_null:
        text = re.sub(r"\bcount\s*\(\s*distinct\b[^)]*\)", "null", text, flags=re.IGNORECASE)
    return text


def _undirected(text: str) -> str:
    plain = masked(text)
    drop: list[int] = []
    for keyword, body, start in clauses(plain):
        if keyword == "MATCH":
            for arrow in re.finditer(r"(?<=\])\s*-(>)|--(>)|(<)-(?=\s*[\[-])", body):
                drop.append(start + arrow.start(arrow.lastindex or 0))
    return "".join(character for at, character in enumerate(text) if at not in drop)


def _delete_with_nodes(text: str) -> str:
    deleted = re.search(r"(?<!DETACH )\bDELETE\s+(\w+)\s*$", text.rstrip(" ;\n"), re.IGNORECASE)
    if not deleted:
        return text
    name = re.escape(deleted.group(1))
    pattern = rf"\((\w*)([^()]*)\)(\s*<?-\s*\[\s*{name}\b[^\]]*\]\s*->?\s*)\((\w*)([^()]*)\)"
    found = re.search(pattern, text)
    if not found:
        return text
    one, other = found.group(1) or "_one", found.group(4) or "_other"
    path = f"({one}{found.group(2)}){found.group(3)}({other}{found.group(5)})"
    before = text[: found.start()] + path + text[found.end() : deleted.start()]
    return f"{before}DETACH DELETE {one}, {other}"


def not_supported(message: str) -> StatementError:
    """The error for a form that is not of the dialect."""
    return StatementError("42000", message)
