"""The two halves of a person's check: SQL and GQL that only read, checked word by word.

The SQL is one of `mapping.queries`. GQL has no such list of functions here, so what writes is
told by its words: outside of quotes, after neither a dot nor a colon, no word may begin a clause
that changes something. What a server could read in another way than we do (comments, backslashes
before quotes) is refused; the graph is opened for reading besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from geode_tui.errors import MappingError
from geode_tui.mapping.functions import word_set
from geode_tui.mapping.queries import check_query

MOST_ROWS = 1_000
"""Rows that a check may return."""

_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`)"""
    r"""|(?P<comment>//|/\*|--)|(?P<word>[^\W\d]\w*)|(?P<number>\d\w*)|(?P<sign>\S)"""
)
_WRITES = word_set(
    "alter call copy create delete detach drop foreach grant import insert install load merge"
    " nodetach remove rename revoke set truncate upsert"
)
_BEGIN = ("match", "optional", "return", "unwind", "for", "with", "let")
_SETS = frozenset({"union", "except", "intersect", "otherwise", "next"})


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    depth: int


def check_sql(sql: str) -> exp.Expr:
    """The SELECT of a check; it may be read a row further than is permitted.

    Raises MappingError for what is not one SELECT that only reads.
    """
    tree = check_query(sql)
    assert isinstance(tree, exp.Select)
    return tree.limit(MOST_ROWS + 1)


def check_gql(gql: str) -> str:
    """The GQL of a check, with a LIMIT where it has none: a row more than is permitted.

    Raises MappingError, naming the word, for what is not one statement that only reads.
    """
    statement = gql.strip().removesuffix(";").rstrip()
    words = list(_words(statement))
    names = [word.text for word in words if word.depth == 0]
    if not names or names[0] not in _BEGIN:
        raise MappingError("GQL: a check begins with MATCH", "", "write MATCH … RETURN …")
    if "return" not in names:
        raise MappingError("GQL: a check returns something", "", "write MATCH … RETURN …")
    for word in names:
        if word in _SETS:
            what = f"GQL: {word.upper()} has no place in a check"
            raise MappingError(what, "its rows could not be counted", "make several checks of it")
    return f"{statement}{_limit(words)}"


def _limit(words: list[_Word]) -> str:
    """What bounds the rows; nothing where the statement does it."""
    outer = [word for word in words if word.depth == 0]
    last = max(place for place, word in enumerate(outer) if word.text == "return")
    rest = outer[last:]
    limits = [place for place, word in enumerate(rest) if word.text == "limit"]
    if not limits:
        return f" LIMIT {MOST_ROWS + 1}"
    after = rest[limits[-1] + 1 : limits[-1] + 2]
    if not after or not after[0].text.isdigit() or int(after[0].text) > MOST_ROWS:
        raise MappingError(f"GQL: a check has a LIMIT of at most {MOST_ROWS:,}")
    return ""


def _words(statement: str) -> Iterator[_Word]:
    """The words and numbers that are not in quotes; raises MappingError for what may write."""
    depth, before, at = 0, "", 0
    if re.search(r"""\\['"`]""", statement):
        hint = "write a quotation mark within a text twice"
        raise MappingError("GQL: a backslash before a quotation mark", "servers differ", hint)
    while found := _TOKEN.search(statement, at):
        kind, text = found.lastgroup, found[0]
        if kind == "comment":
            hint = "remove it; write -[]- for a relationship without a name"
            raise MappingError(f"GQL: a comment ({text}) has no place in a check", "", hint)
        if kind == "sign" and text in "'\"`":
            raise MappingError(f"GQL: a quotation mark ({text}) is not closed")
        if kind == "sign" and text == ";":
            raise MappingError("GQL: a semicolon", "one statement is expected")
        word = text.lower()
        if kind == "word" and before not in (".", ":") and word in _WRITES:
            what = f"GQL: {text.upper()} has no place in a check"
            raise MappingError(
                what, "a check only reads", "write a name of that word in back ticks"
            )
        if kind == "sign":
            depth += (text in "([{") - (text in ")]}")
        if kind in ("word", "number") and before not in (".", ":"):
            yield _Word(word, depth)
        before, at = text, found.end()
