"""The queries of a mapping: one SELECT that only reads, checked word by word.

The words are read by PostgreSQL's own rules (`mapping.syntax`) and written anew in the same order,
so the query means to PostgreSQL what it meant to the person. A list of words decides: a text that
begins with SELECT or WITH, has no word that writes or locks, and calls only functions and types of
a closed list, reads and does nothing else, however it is nested. sqlglot reads it besides, for its
form and its tables; its tree is not what runs, as it would write some forms in another way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar, NoReturn

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError
from sqlglot.parsers.postgres import PostgresParser

from geode_tui.errors import MappingError
from geode_tui.mapping.functions import (
    AGGREGATES,
    RANDOM,
    SET_RETURNING,
    SPECIAL_FUNCTIONS,
    TYPE_NAMES,
    WINDOW_FUNCTIONS,
    functions,
    word_set,
)
from geode_tui.mapping.syntax import (
    CLOCK,
    OPERATORS,
    RESERVED,
    SESSION,
    SYSTEM_COLUMNS,
    Token,
    refuse,
    tokens,
)

_REFUSED = {
    "into": "SELECT INTO makes a table",
    "insert": "a query only reads",
    "update": "a query only reads",
    "delete": "a query only reads",
    "merge": "a query only reads",
    "returning": "a query only reads",
    "table": "write SELECT … FROM",
    "tablesample": "it gives other rows at each run",
    "operator": "write the operator by its sign alone",
    "variadic": "write the values one by one",
}
_LOCKS = word_set("update no share key")
# Words that stand before a parenthesis without being called.
_BEFORE_PARENTHESIS = RESERVED - word_set(
    "authorization binary collation concurrently cross current_schema freeze full inner isnull left"
    " natural notnull outer right tablesample verbose"
) | word_set("between cube exists grouping rollup values")
# Words that do so only after certain others; elsewhere they could be somebody's function.
_AFTER = {
    "by": word_set("group order partition"),
    "filter": word_set(")"),
    "over": word_set(")"),
    "within": word_set(")"),
    "sets": word_set("grouping"),
    "materialized": word_set("as not"),
}
_CALLED = word_set("cast extract substring trim position overlay")
_BEFORE_TEXT = RESERVED | word_set("between by escape values zone")
_TYPED = word_set("date time timestamp timestamptz interval uuid json jsonb")
_FIRST_OF_TYPE = frozenset(name.split()[0] for name in TYPE_NAMES)
_OF_TYPE = _FIRST_OF_TYPE | {"varying", "precision"}
_AROUND_CLOCK = r"(?:[\s\d:.,+-]|allballs|utc|gmt|\bz\b)*"
_CLOCK_TEXT = re.compile(
    rf"{_AROUND_CLOCK}\b(now|today|tomorrow|yesterday)\b{_AROUND_CLOCK}", re.IGNORECASE
)
_SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "pg_toast"})
_MOST_PARENTHESES = 50


class NamedFunctionsParser(PostgresParser):
    """sqlglot's reader of PostgreSQL, which leaves functions as they are named."""

    FUNCTIONS: ClassVar[dict[str, Callable[..., exp.Expr]]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., exp.Expr | None]]] = {
        name: PostgresParser.FUNCTION_PARSERS[name]
        for name in ("CAST", "EXTRACT", "OVERLAY", "POSITION", "STRING_AGG", "SUBSTRING", "TRIM")
    }


class NamedFunctions(Postgres):
    """PostgreSQL as `NamedFunctionsParser` reads it."""

    Parser = NamedFunctionsParser


@lru_cache(maxsize=1)
def dialect() -> NamedFunctions:
    """The one reader of all."""
    return NamedFunctions()


def check_query(sql: str) -> exp.Expr:
    """Check a query of a mapping and return it as a SELECT that can be run or read from.

    It may join, nest, group, number and unnest; tables stand with their schema. Raises
    MappingError, naming the place, for what writes, locks, has effects or is not repeatable.
    """
    return _checked(sql).copy()


@lru_cache(maxsize=256)
def _checked(sql: str) -> exp.Expr:
    check = _Check(sql)
    check.words()
    written = check.written()
    _check_tree(written, sql)
    inner = exp.Subquery(this=exp.Var(this=written))
    inner.set("alias", exp.TableAlias(this=exp.to_identifier("query", quoted=True)))
    return exp.select("*").from_(inner)


class _Check:
    """Goes through the words of a query once; each rule looks at one word and those beside it."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        found = tokens(sql)[:-1]
        if found and found[-1].kind == "sign" and found[-1].value == ";":
            found.pop()
        self._end = Token("end", "", len(sql), len(sql))
        self._tokens = found
        self._open: list[str] = []

    def written(self) -> str:
        """The query in our own words, apart where they were, or where they could run together."""
        parts = [_spelled(token) for token in self._tokens[:1]]
        for before, token in pairwise(self._tokens):
            touching = before.end == token.at and "sign" in (before.kind, token.kind)
            tight = touching and "." not in (before.value, token.value)
            tight |= touching and "number" not in (before.kind, token.kind)
            parts.append(_spelled(token) if tight else f" {_spelled(token)}")
        return "".join(parts)

    def words(self) -> None:
        """Look at every word. Raises MappingError."""
        if not self._tokens or not _is(self._tokens[0], "select", "with", "("):
            self._refuse(self._at(0), "a query begins with SELECT or WITH")
        for place, token in enumerate(self._tokens):
            self._parentheses(place, token)
            if token.kind == "word":
                self._word(place, token)
            elif token.kind == "name":
                self._name(place, token)
            elif token.kind == "text":
                self._text(place, token)
            elif token.kind == "operator" and token.value not in OPERATORS:
                self._refuse(token, f"the operator {token.value} is not supported")
            elif token.kind == "sign":
                self._sign(place, token)
        if self._open:
            self._refuse(self._end, "a parenthesis is not closed")

    def _at(self, place: int) -> Token:
        return self._tokens[place] if 0 <= place < len(self._tokens) else self._end

    def _refuse(self, token: Token, reason: str, why: str = "", hint: str = "") -> NoReturn:
        refuse(self._sql, token.at, reason, why, hint)

    def _parentheses(self, place: int, token: Token) -> None:
        if _is(token, "("):
            before = self._at(place - 1)
            self._open.append(before.value if before.kind == "word" else "")
            if len(self._open) > _MOST_PARENTHESES:
                self._refuse(token, f"nested deeper than {_MOST_PARENTHESES} parentheses")
        elif _is(token, ")"):
            if not self._open:
                self._refuse(token, "a parenthesis that was not opened")
            self._open.pop()

    def _sign(self, place: int, token: Token) -> None:
        if token.value == ";":
            self._refuse(token, "a semicolon", "one query is expected")
        if token.value == ":":
            self._refuse(token, "parameters (:name) and slices are not supported")
        if token.value == "::":
            self._type(place + 1)

    def _type(self, place: int) -> None:
        token = self._at(place)
        known = token.kind == "word" and token.value in _FIRST_OF_TYPE
        if not known or _is(self._at(place + 1), "."):
            reason = f"a cast to {token.value or 'nothing'} is not supported"
            self._refuse(token, reason, "the type is not in the list of safe ones")

    def _word(self, place: int, token: Token) -> None:
        word = token.value
        before, after = self._at(place - 1), self._at(place + 1)
        qualified = _is(before, ".") and place > 0
        if word in SYSTEM_COLUMNS:
            self._refuse(token, f"{word} is a system column")
        if not qualified:
            self._keyword(place, token)
        if _is(after, "("):
            self._called(place, token, qualified)
        if after.kind == "text" and (qualified or word not in _BEFORE_TEXT | _TYPED):
            self._refuse(token, f"{word} '…' is no value of a supported type")
        if word == "as" and self._open[-1:] == ["cast"]:
            self._type(place + 1)

    def _keyword(self, place: int, token: Token) -> None:
        word, after = token.value, self._at(place + 1)
        if word in _REFUSED:
            hint = f'write a column of that name in double quotes: "{word}"'
            self._refuse(token, f"{word.upper()} has no place here", _REFUSED[word], hint)
        if word == "for" and after.kind == "word" and after.value in _LOCKS:
            self._refuse(token, "FOR UPDATE and FOR SHARE lock rows", "a query only reads")
        called = _is(after, "(")
        if word in CLOCK and (word in RESERVED or called):
            why = "a run that is resumed or verified must get the same"
            self._refuse(token, f"{word} is another value at each run", why)
        if word in SESSION and (word in RESERVED or called):
            self._refuse(token, f"{word} depends on who is connected")

    def _name(self, place: int, token: Token) -> None:
        if token.value in SYSTEM_COLUMNS:
            self._refuse(token, f"{token.value} is a system column")
        if _is(self._at(place + 1), "(") and not self._names_columns(place):
            self._refuse(token, "a function's name in quotes", "", "write it without quotes")
        if self._at(place + 1).kind == "text":
            self._refuse(token, "a type in quotes is not supported")

    def _text(self, place: int, token: Token) -> None:
        after = self._at(place + 1)
        if after.kind == "text":
            self._refuse(after, "two texts in a row", "", "join them with ||")
        as_text = _is(after, "::") and _is(self._at(place + 2), "text")
        if _CLOCK_TEXT.fullmatch(token.value) and not as_text:
            reason = "this as a time is another value at each run"
            self._refuse(token, reason, "", "if it is a text, write ::text after it")

    def _called(self, place: int, token: Token, qualified: bool) -> None:
        word = token.value
        if self._names_columns(place):
            return
        if qualified:
            reason = "functions are called without their schema"
            self._refuse(token, reason, "only those of PostgreSQL itself are permitted")
        before = self._at(place - 1)
        if word in _OF_TYPE and (_is(before, "::", "as", "character", "char") and place > 0):
            return
        if word in _BEFORE_PARENTHESIS or word in _CALLED or word in SPECIAL_FUNCTIONS:
            return
        if place and _is(before, *_AFTER.get(word, ())):
            return
        if word in AGGREGATES | WINDOW_FUNCTIONS | SET_RETURNING or word in functions():
            return
        if word in RANDOM:
            why = "a run that is resumed or verified must get the same"
            self._refuse(token, f"{word} is another value at each run", why)
        reason = f"{word} is not in the list of permitted functions"
        hint = "name the columns of a table after AS: … AS t(a, b)"
        self._refuse(token, reason, "only functions without effects are", hint)

    def _names_columns(self, place: int) -> bool:
        """Whether a name with a parenthesis names columns: after AS, or as the head of a WITH."""
        before = self._at(place - 1) if place else self._end
        if _is(before, "with", "recursive") or (_is(before, "as") and self._open[-1:] != ["cast"]):
            return True
        return _is(before, ",") and self._heads_query(place)

    def _heads_query(self, place: int) -> bool:
        """Whether `name (…) AS (SELECT` begins here."""
        depth, place = 1, place + 2
        while depth and place < len(self._tokens):
            depth += _is(self._at(place), "(") - _is(self._at(place), ")")
            place += 1
        if not _is(self._at(place), "as"):
            return False
        place += 1
        while _is(self._at(place), "not", "materialized"):
            place += 1
        return _is(self._at(place), "(") and _is(self._at(place + 1), "select", "with", "values")


def _is(token: Token, *values: str) -> bool:
    return token.kind in ("word", "sign", "operator") and token.value in values


def _spelled(token: Token) -> str:
    if token.kind == "name":
        return '"' + token.value.replace('"', '""') + '"'
    if token.kind == "text":
        return "'" + token.value.replace("'", "''") + "'"
    return token.value


_FORBIDDEN = (
    exp.Into,
    exp.Lock,
    exp.DML,
    exp.DDL,
    exp.Command,
    exp.Placeholder,
    exp.Parameter,
    exp.TableSample,
)


def _check_tree(written: str, sql: str) -> None:
    try:
        trees = dialect().parse(written)
    except (SqlglotError, RecursionError) as error:
        why = str(error).split("\n")[0] if isinstance(error, SqlglotError) else "it is too deep"
        raise MappingError(
            "SQL: the query cannot be read", re.sub(r"\x1b\[\d+m", "", why)
        ) from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query):
        raise MappingError("SQL: one SELECT is expected")
    # An INSERT is a DDL to sqlglot, and so is every query.
    found = next((n for n in tree.walk() if isinstance(n, _FORBIDDEN) and not _reads(n)), None)
    if found is not None:
        raise MappingError(f"SQL: {type(found).__name__.upper()} has no place in a query")
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        _check_table(table, own, sql)


def _reads(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query)


def _check_table(table: exp.Table, own: set[str], sql: str) -> None:
    if not isinstance(table.this, exp.Identifier):
        return
    at = max(sql.lower().find(table.name.lower()), 0)
    if table.catalog:
        refuse(sql, at, f"{table.catalog}: tables of another database cannot be read")
    if table.db.lower() in _SYSTEM_SCHEMAS:
        refuse(sql, at, f"{table.db} holds the server's own tables")
    if not table.db and table.name not in own:
        refuse(sql, at, f"the table {table.name} has no schema", "", "write schema.table")
