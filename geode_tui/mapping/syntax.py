"""Reads a SQL expression into a small tree, by PostgreSQL's own rules of words and precedence.

Only a part of the language is read, so that every text that is read means the same to PostgreSQL.
What two readers could read differently (escape strings, dollar quotes, comments, parameters) has
no place here. The tree is all that goes on; the text of the person never reaches a server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

from geode_tui.errors import MappingError
from geode_tui.mapping.functions import word_set

MOST_CHARACTERS = 10_000
MOST_LEVELS = 20
MOST_ITEMS = 500
_MOST_DIGITS = 100
_MOST_EXPONENT = 400

TokenKind = Literal["word", "name", "text", "number", "operator", "sign", "end"]


@dataclass(frozen=True, slots=True)
class Token:
    """A word of SQL: `value` is folded (words) or without its quotes; `at` and `end` are places."""

    kind: TokenKind
    value: str
    at: int
    end: int


def refuse(text: str, at: int, reason: str, why: str = "", hint: str = "") -> NoReturn:
    """Raise MappingError that names the place (1-based), the words there and the reason."""
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[at : at + 30])
    more = "…" if len(text) > at + 30 else ""
    place = f"character {at + 1}, «{shown}{more}»" if shown else f"character {at + 1}, the end"
    raise MappingError(f"SQL at {place}: {reason}", why, hint)


_SPACE = " \t\n\r\f\v"
_OPERATOR = "+-*/<>=~!@#%^&|`?"
_SIGNS = "(),.[]:;"
_PREFIXED = {
    "e": "an escape string E'…' is read differently by different programs",
    "b": "a bit string B'…' is not supported",
    "x": "a bit string X'…' is not supported",
    "n": "a national string N'…' is not supported",
    "u": "a Unicode string U&'…' is read differently by different programs",
}


def tokens(text: str) -> list[Token]:
    """The words of `text`, the last of kind `end`. Raises MappingError."""
    if len(text) > MOST_CHARACTERS:
        refuse(text, 0, f"longer than {MOST_CHARACTERS:,} characters")
    for at, character in enumerate(text):
        if character == "\0" or 0xD800 <= ord(character) < 0xE000:
            refuse(text, at, f"the control character U+{ord(character):04X}")
    found: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] in _SPACE:
            at += 1
            continue
        token = _token(text, at)
        found.append(token)
        at = token.end
    return [*found, Token("end", "", len(text), len(text))]


def _token(text: str, at: int) -> Token:
    start = text[at]
    if start == "'":
        return _quoted(text, at, "'", "text")
    if start == '"':
        token = _quoted(text, at, '"', "name")
        return token if token.value else refuse(text, at, "an empty name")
    if _is_digit(start) or (start == "." and _is_digit(text[at + 1 : at + 2])):
        return _number(text, at)
    if start == "_" or start.isalpha():
        return _word(text, at)
    if start in _SIGNS:
        end = at + 2 if text.startswith("::", at) else at + 1
        return Token("sign", text[at:end], at, end)
    if start in _OPERATOR:
        return _operator(text, at)
    if start == "$":
        reason = "parameters ($1) and dollar quotes are not read here"
        refuse(text, at, reason, "", "write a value as 'text'")
    refuse(text, at, f"{start!r} has no meaning here")


def _is_digit(character: str) -> bool:
    return character != "" and character in "0123456789"


def _quoted(text: str, at: int, quote: str, kind: Literal["text", "name"]) -> Token:
    value, place = "", at + 1
    while True:
        close = text.find(quote, place)
        if close < 0:
            refuse(text, at, f"the quote {quote} is not closed")
        value += text[place:close]
        if text[close + 1 : close + 2] != quote:
            return Token(kind, value, at, close + 1)
        value += quote
        place = close + 2


def _number(text: str, at: int) -> Token:
    end = _digits(text, at)
    if text[end : end + 1] == "." and text[end : end + 2] != "..":
        end = _digits(text, end + 1)
    if text[end : end + 1] in ("e", "E"):
        exponent = end + 2 if text[end + 1 : end + 2] in ("+", "-") else end + 1
        if (after := _digits(text, exponent)) > exponent:
            if int(text[exponent:after]) > _MOST_EXPONENT:
                refuse(text, at, f"a number with an exponent over {_MOST_EXPONENT}")
            end = after
    if end - at > _MOST_DIGITS:
        refuse(text, at, f"a number of more than {_MOST_DIGITS} digits")
    follows = text[end : end + 1]
    if follows in ("_", "$", ".", '"', "'") or follows.isalnum():
        refuse(text, at, "a number that goes on as something else")
    return Token("number", text[at:end], at, end)


def _digits(text: str, at: int) -> int:
    while _is_digit(text[at : at + 1]):
        at += 1
    return at


def _word(text: str, at: int) -> Token:
    end = at
    while end < len(text) and (text[end] == "_" or text[end].isalnum()):
        end += 1
    # PostgreSQL folds the ASCII letters only.
    word = "".join(c.lower() if c.isascii() else c for c in text[at:end])
    if text[end : end + 1] == "'" and word in _PREFIXED and word != "u":
        refuse(text, at, _PREFIXED[word], "", "for a line break or another character use chr(10)")
    if word == "u" and text[end : end + 2] in ("&'", '&"'):
        refuse(text, at, _PREFIXED[word], "", "write the characters themselves")
    if text[end : end + 1] == "$":
        refuse(text, at, "a dollar sign in a name", "", "write the name in double quotes")
    return Token("word", word, at, end)


def _operator(text: str, at: int) -> Token:
    end = at
    while end < len(text) and text[end] in _OPERATOR:
        if text.startswith(("--", "/*"), end):
            refuse(text, end, "a comment", "comments are not read here")
        end += 1
    # As in PostgreSQL: `=-` is `=` and a sign, unless the operator holds one of these.
    while (
        end - at > 1 and text[end - 1] in "+-" and not set(text[at : end - 1]) & set("~!@#%^&|`?")
    ):
        end -= 1
    value = text[at:end]
    if value == "?":
        reason = "a parameter, or an operator that is not supported"
        refuse(text, at, reason, "", "for a JSON key use: data -> 'key' IS NOT NULL")
    return Token("operator", "<>" if value == "!=" else value, at, end)


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression; `at` is its place in the text, `level` how deep it is nested."""

    at: int
    level: int


@dataclass(frozen=True, slots=True)
class Number(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Text(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Constant(Node):
    value: Literal["true", "false", "null"]


@dataclass(frozen=True, slots=True)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Call(Node):
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class TypeName:
    """The words of a type, its modifiers and whether it is an array of it."""

    at: int
    name: str
    modifiers: tuple[int, ...]
    array: bool


@dataclass(frozen=True, slots=True)
class Cast(Node):
    value: Node
    to: TypeName


@dataclass(frozen=True, slots=True)
class Sign(Node):
    operator: str
    value: Node


@dataclass(frozen=True, slots=True)
class Not(Node):
    value: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """Operands of AND, OR or ||, from left to right."""

    operator: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Is(Node):
    value: Node
    what: Literal["null", "true", "false", "unknown"]
    negated: bool


@dataclass(frozen=True, slots=True)
class Distinct(Node):
    left: Node
    right: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Between(Node):
    value: Node
    low: Node
    high: Node
    symmetric: bool
    negated: bool


@dataclass(frozen=True, slots=True)
class In(Node):
    value: Node
    items: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Like(Node):
    value: Node
    pattern: Node
    escape: str | None
    any_case: bool
    negated: bool


@dataclass(frozen=True, slots=True)
class Case(Node):
    value: Node | None
    whens: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class Element(Node):
    """One element of an array."""

    value: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Array(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AtZone(Node):
    value: Node
    zone: str


@dataclass(frozen=True, slots=True)
class Collated(Node):
    value: Node
    collation: str


@dataclass(frozen=True, slots=True)
class Extract(Node):
    field: str
    value: Node


# Words that PostgreSQL never reads as a column unless they are quoted (reserved in any of the
# versions from 13 on).
RESERVED = word_set(
    """all analyse analyze and any array as asc asymmetric both case cast check collate column
    constraint create current_catalog current_date current_role current_time current_timestamp
    current_user default deferrable desc distinct do else end except false fetch for foreign from
    grant group having in initially intersect into lateral leading limit localtime localtimestamp
    not null offset on only or order placing primary references returning select session_user some
    symmetric system_user table then to trailing true union unique user using variadic when where
    window with authorization binary collation concurrently cross current_schema freeze full ilike
    inner is isnull join left like natural notnull outer overlaps right similar tablesample
    verbose"""
)
SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
CLOCK = word_set(
    "current_date current_time current_timestamp localtime localtimestamp now clock_timestamp"
    " statement_timestamp transaction_timestamp timeofday"
)
SESSION = word_set(
    "current_user session_user user system_user current_role current_catalog current_schema"
    " current_database current_schemas current_setting current_query"
)
_RESERVED_CALLS = frozenset({"left", "right"})
_TYPED = frozenset(
    {"date", "time", "timestamp", "timestamptz", "interval", "uuid", "json", "jsonb"}
)

# PostgreSQL's precedence, from the loosest to the tightest.
_OR, _AND, _NOT, _IS, _COMPARISON, _RANGE, _OTHER, _ADD, _MULTIPLY, _POWER, _AT, _COLLATE = range(
    1, 13
)
_SIGN = 13
_COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})
_RANGE_WORDS = frozenset({"between", "in", "like", "ilike"})
_LEVELS = {"+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY, "^": _POWER}
_OTHERS = frozenset(
    {"||", "->", "->>", "#>", "#>>", "~", "~*", "!~", "!~*", "@>", "<@", "&&", "&", "|", "#"}
    | {"<<", ">>"}
)
OPERATORS = _COMPARISONS | _OTHERS | _LEVELS.keys()
"""The operators that are read, by their signs."""
_WORD_LEVELS = {
    "or": _OR,
    "and": _AND,
    "is": _IS,
    "between": _RANGE,
    "in": _RANGE,
    "like": _RANGE,
    "ilike": _RANGE,
    "at": _AT,
    "collate": _COLLATE,
}
_ONCE = frozenset({_IS, _COMPARISON, _RANGE})


def read_expression(text: str) -> Node:
    """The tree of one expression. Raises MappingError with the place of what is not allowed."""
    reader = _Reader(text)
    node = reader.expression()
    reader.finish()
    return node


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One term of an ORDER BY; `nulls_first` is PostgreSQL's default where nothing is said."""

    value: Node
    descending: bool
    nulls_first: bool


def read_ordering(text: str) -> tuple[OrderTerm, ...]:
    """The terms of an ORDER BY. Raises MappingError."""
    reader = _Reader(text)
    terms = reader.separated(reader.order_term)
    reader.finish()
    return terms


class _Reader:
    """Reads tokens from left to right; each method reads one form and returns its node."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokens(text)
        self._place = 0
        self._open = 0

    @property
    def _now(self) -> Token:
        return self._tokens[self._place]

    @property
    def _then(self) -> Token:
        return self._tokens[min(self._place + 1, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._now
        self._place += token.kind != "end"
        return token

    def _is(self, *values: str) -> bool:
        return self._now.kind in ("word", "sign", "operator") and self._now.value in values

    def _then_is(self, *values: str) -> bool:
        return self._then.kind in ("word", "sign", "operator") and self._then.value in values

    def _take(self, *values: str) -> bool:
        if self._is(*values):
            self._place += 1
            return True
        return False

    def _expect(self, value: str) -> Token:
        if not self._is(value):
            self._unexpected(f"{value.upper()} is expected here")
        return self._next()

    def _refuse(self, at: int, reason: str, why: str = "", hint: str = "") -> NoReturn:
        refuse(self.text, at, reason, why, hint)

    def _unexpected(self, reason: str) -> NoReturn:
        token = self._now
        if token.value == ";" and token.kind == "sign":
            self._refuse(token.at, "a semicolon", "one expression is expected, not statements")
        if token.kind == "word" and token.value in ("over", "filter", "within"):
            reason = f"{token.value.upper()} belongs to window functions and aggregates"
            self._refuse(token.at, reason, "an expression sees one row at a time")
        if token.kind == "word" and token.value in _WINDOWLESS:
            self._refuse(
                token.at, f"{token.value.upper()} is not supported", _WINDOWLESS[token.value]
            )
        self._refuse(token.at, reason)

    def _made[T: Node](self, node: T) -> T:
        if node.level > MOST_LEVELS:
            hint = "join texts with concat(…), or make a view"
            self._refuse(node.at, f"nested deeper than {MOST_LEVELS} levels", "", hint)
        return node

    def finish(self) -> None:
        if self._now.kind != "end":
            self._unexpected("the expression should end here")

    def separated[T](self, read: Callable[[], T]) -> tuple[T, ...]:
        """What `read` reads, once or more, with commas between."""
        items = [read()]
        while self._take(","):
            items.append(read())
            if len(items) > MOST_ITEMS:
                self._refuse(self._now.at, f"a list of more than {MOST_ITEMS} items")
        return tuple(items)

    def order_term(self) -> OrderTerm:
        value = self.expression()
        descending = self._take("desc")
        if not descending:
            self._take("asc")
        nulls_first = descending
        if self._take("nulls"):
            if not self._is("first", "last"):
                self._unexpected("FIRST or LAST is expected here")
            nulls_first = self._next().value == "first"
        return OrderTerm(value, descending, nulls_first)

    def expression(self, least: int = _OR) -> Node:
        """An expression whose operators bind at least as tightly as `least`."""
        self._open += 1
        if self._open > MOST_LEVELS:
            self._refuse(self._now.at, f"nested deeper than {MOST_LEVELS} levels")
        negation = self._is("not") and least <= _NOT
        left = self._negation() if negation else self._operand()
        last = _NOT if negation else _SIGN
        while (level := self._level()) >= least:
            if level > last or (level == last and level in _ONCE):
                reason = "it is not plain what belongs together here"
                self._refuse(
                    self._now.at, reason, "", "put parentheses around what belongs together"
                )
            left = self._made(self._operation(left, level))
            last = level
        self._open -= 1
        return left

    def _level(self) -> int:
        """The precedence of the operator that follows, 0 where none does."""
        token = self._now
        if token.kind == "word":
            if token.value == "not" and self._then_is(*_RANGE_WORDS):
                return _RANGE
            return _WORD_LEVELS.get(token.value, 0)
        if token.kind != "operator":
            return 0
        if token.value in _COMPARISONS:
            return _COMPARISON
        if token.value in _OTHERS:
            return _OTHER
        if token.value not in _LEVELS:
            self._refuse(token.at, f"the operator {token.value} is not supported")
        return _LEVELS[token.value]

    def _operation(self, left: Node, level: int) -> Node:
        if level in (_OR, _AND) or self._is("||"):
            return self._chain(left, level)
        if level == _IS:
            return self._is_test(left)
        if level == _RANGE:
            return self._range(left)
        if level == _AT:
            return self._at_zone(left)
        if level == _COLLATE:
            return self._collated(left)
        token = self._next()
        self._no_quantifier()
        right = self.expression(level + 1)
        return Binary(left.at, _above(left, right), token.value, left, right)

    def _chain(self, left: Node, level: int) -> Node:
        operator = self._now.value
        items = [left]
        while self._take(operator):
            items.append(self.expression(level + 1))
            if len(items) > MOST_ITEMS:
                self._refuse(self._now.at, f"more than {MOST_ITEMS} operands")
        return Chain(left.at, _above(*items), operator, tuple(items))

    def _no_quantifier(self) -> None:
        if self._is("any", "all", "some"):
            hint = "for an array use: array_position(tags, 'x') IS NOT NULL"
            self._refuse(self._now.at, f"{self._now.value.upper()} is not supported", "", hint)

    def _negation(self) -> Node:
        at = self._next().at
        value = self.expression(_NOT)
        return self._made(Not(at, value.level + 1, value))

    def _is_test(self, left: Node) -> Node:
        self._next()
        negated = self._take("not")
        if self._take("distinct"):
            self._expect("from")
            right = self.expression(_IS + 1)
            return Distinct(left.at, _above(left, right), left, right, negated)
        if not self._is("null", "true", "false", "unknown"):
            self._unexpected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM is expected here")
        what = self._next().value
        return Is(left.at, left.level + 1, left, what, negated)  # type: ignore[arg-type]

    def _range(self, left: Node) -> Node:
        negated = self._take("not")
        word = self._next().value
        if word == "between":
            return self._between(left, negated)
        if word == "in":
            self._expect("(")
            items = self.separated(self.expression)
            self._expect(")")
            return In(left.at, _above(left, *items), left, items, negated)
        self._no_quantifier()
        pattern = self.expression(_OTHER)
        escape = None
        if self._take("escape"):
            escape = self._literal("a text of one character").value
            if len(escape) > 1:
                self._refuse(self._now.at, "ESCAPE takes one character or none")
        return Like(left.at, _above(left, pattern), left, pattern, escape, word == "ilike", negated)

    def _between(self, left: Node, negated: bool) -> Node:
        symmetric = self._take("symmetric")
        if not symmetric:
            self._take("asymmetric")
        low = self.expression(_OTHER)
        self._expect("and")
        high = self.expression(_OTHER)
        return Between(left.at, _above(left, low, high), left, low, high, symmetric, negated)

    def _at_zone(self, left: Node) -> Node:
        self._next()
        self._expect("time")
        self._expect("zone")
        zone = self._literal("the name of a time zone as 'text'").value
        return AtZone(left.at, left.level + 1, left, zone)

    def _collated(self, left: Node) -> Node:
        self._next()
        token = self._next()
        if token.kind != "name" or token.value not in ("C", "POSIX"):
            self._refuse(token.at, 'of the collations only "C" and "POSIX" are supported')
        return Collated(left.at, left.level + 1, left, token.value)

    def _literal(self, expected: str) -> Token:
        if self._now.kind != "text":
            self._unexpected(f"{expected} is expected here")
        return self._next()

    def _operand(self) -> Node:
        """A sign with its operand, or something with its casts."""
        if self._is("+", "-"):
            token = self._next()
            self._open += 1
            if self._open > MOST_LEVELS:
                self._refuse(token.at, f"nested deeper than {MOST_LEVELS} levels")
            value = self._operand()
            self._open -= 1
            return self._made(Sign(token.at, value.level + 1, token.value, value))
        node, indexed = self._primary()
        while indexed and self._is("["):
            node = self._made(self._element(node))
        while self._take("::"):
            to = self.type_name()
            node = self._made(Cast(node.at, node.level + 1, node, to))
        if self._is(".", "["):
            what = "a field" if self._is(".") else "a subscript"
            self._refuse(self._now.at, f"{what} of something that is no column")
        return node

    def _element(self, value: Node) -> Node:
        self._next()
        if self._is(":"):
            self._refuse(self._now.at, "slices of arrays are not supported")
        index = self.expression()
        if self._is(":"):
            self._refuse(self._now.at, "slices of arrays are not supported")
        self._expect("]")
        return Element(value.at, _above(value, index), value, index)

    def _primary(self) -> tuple[Node, bool]:
        """Something without operators, and whether `[` may follow it."""
        token = self._now
        if token.kind == "number":
            return Number(self._next().at, 0, token.value), False
        if token.kind == "text":
            return self._text(), False
        if token.kind == "name":
            return self._column(), True
        if self._take("("):
            return self._parenthesis(token), True
        if token.kind == "word":
            return self._worded(token)
        if token.kind == "operator":
            if token.value == "*":
                self._refuse(token.at, "* stands for columns, and one value is expected")
            self._refuse(token.at, f"an operand is expected before {token.value}")
        if token.kind == "end":
            self._refuse(token.at, "an expression is expected, and there is none")
        if token.value == ":":
            self._refuse(token.at, "parameters (:name) are not read here")
        self._unexpected(f"a value is expected here, not {token.value}")

    def _text(self) -> Node:
        token = self._next()
        if self._now.kind == "text":
            self._refuse(self._now.at, "two texts in a row", "", "join them with ||")
        return Text(token.at, 0, token.value)

    def _parenthesis(self, token: Token) -> Node:
        if self._is("select", "with", "values", "table"):
            self._refuse(self._now.at, "a subquery", *_ONE_ROW)
        node = self.expression()
        if self._is(","):
            self._refuse(token.at, "a row of several values")
        self._expect(")")
        return node

    def _worded(self, token: Token) -> tuple[Node, bool]:
        word = token.value
        special = _SPECIAL.get(word)
        if special is not None and (word in ("case", "array") or self._then_is("(")):
            return special(self), False
        if word in ("true", "false", "null"):
            self._next()
            return Constant(token.at, 0, word), False  # type: ignore[arg-type]
        if word in _TYPED and self._then.kind == "text":
            self._next()
            value = self._text()
            return Cast(token.at, 1, value, TypeName(token.at, word, (), False)), False
        if word in CLOCK and (word in RESERVED or self._then_is("(")):
            reason = f"{word} is another value at each run"
            self._refuse(token.at, reason, "a run that is resumed or verified must get the same")
        if word in SESSION and (word in RESERVED or self._then_is("(")):
            self._refuse(token.at, f"{word} depends on who is connected")
        if word in ("select", "with", "table") or (word == "values" and self._then_is("(")):
            self._refuse(
                token.at, "a query", "one expression over the columns of a row is expected"
            )
        if self._then_is("("):
            return self._call(), False
        if self._then.kind == "text" and word not in RESERVED:
            self._refuse(token.at, f"{word} '…' is no value of a supported type")
        if word in RESERVED:
            hint = f'write a column of that name in double quotes: "{word}"'
            self._refuse(token.at, f"{word.upper()} is a keyword", "", hint)
        return self._column(), True

    def _column(self) -> Node:
        token = self._next()
        if self._is("."):
            reason = "names with a dot (table.column, schema.function) are not read here"
            hint = "write the column alone"
            if self._then_is("*"):
                self._refuse(token.at, "* stands for columns, and one value is expected")
            self._refuse(token.at, reason, "the rule says which table", hint)
        if self._is("("):
            self._refuse(token.at, "a function's name in quotes", "", "write it without quotes")
        return Name(token.at, 0, token.value)

    def _call(self) -> Node:
        token = self._next()
        word = token.value
        if word in ("exists", "row", "any", "all", "some") or word.startswith("xml"):
            self._refuse(token.at, f"{word.upper()} is not supported", *_ONE_ROW)
        if word in RESERVED and word not in _RESERVED_CALLS:
            self._refuse(token.at, f"{word.upper()} is a keyword")
        self._expect("(")
        arguments: tuple[Node, ...] = ()
        if not self._is(")"):
            self._plain_arguments()
            arguments = self.separated(self.expression)
        if self._is("order"):
            reason = "ORDER BY in a call belongs to aggregates"
            self._refuse(self._now.at, reason, "an expression sees one row at a time")
        self._expect(")")
        return self._made(Call(token.at, _above(*arguments), word, arguments))

    def _plain_arguments(self) -> None:
        if self._is("*"):
            self._refuse(self._now.at, "* stands for rows or columns, and one value is expected")
        if self._is("distinct", "all", "variadic"):
            reason = f"{self._now.value.upper()} in a call is not supported"
            self._refuse(self._now.at, reason)
        if self._is("select", "with", "values", "table"):
            self._refuse(self._now.at, "a subquery", *_ONE_ROW)

    def type_name(self) -> TypeName:
        """A type as it stands in a cast: words, modifiers, `[]`."""
        token = self._now
        if token.kind != "word":
            self._unexpected("the name of a type is expected here, without quotes")
        words = [self._next().value]
        if self._is("."):
            self._refuse(token.at, "a type with a dot in its name is not supported")
        if words == ["double"] and self._take("precision"):
            words.append("precision")
        if words in (["character"], ["char"], ["bit"]) and self._take("varying"):
            words.append("varying")
        modifiers = self._modifiers()
        if words[0] in ("time", "timestamp") and self._is("with", "without"):
            words.append(self._next().value)
            for word in ("time", "zone"):
                words.append(self._expect(word).value)
        array = False
        while self._is("[") and self._then_is("]"):
            if array:
                self._refuse(self._now.at, "write an array type with one [] only")
            array = bool(self._next() and self._next())
        return TypeName(token.at, " ".join(words), modifiers, array)

    def _modifiers(self) -> tuple[int, ...]:
        if not self._take("("):
            return ()
        values = self.separated(self._whole_number)
        self._expect(")")
        return values

    def _whole_number(self) -> int:
        negative = self._take("-")
        token = self._now
        if token.kind != "number" or not token.value.isdigit() or len(token.value) > 8:
            self._unexpected("a whole number is expected here")
        self._next()
        return -int(token.value) if negative else int(token.value)

    def cast(self) -> Node:
        at = self._next().at
        self._expect("(")
        value = self.expression()
        self._expect("as")
        to = self.type_name()
        self._expect(")")
        return self._made(Cast(at, value.level + 1, value, to))

    def case(self) -> Node:
        at = self._next().at
        value = None if self._is("when") else self.expression()
        whens = []
        while self._take("when"):
            condition = self.expression()
            self._expect("then")
            whens.append((condition, self.expression()))
            if len(whens) > MOST_ITEMS:
                self._refuse(self._now.at, f"a CASE of more than {MOST_ITEMS} branches")
        if not whens:
            self._unexpected("WHEN is expected here")
        otherwise = self.expression() if self._take("else") else None
        self._expect("end")
        parts = [part for pair in whens for part in pair] + [value or whens[0][0]]
        level = _above(*parts, otherwise or parts[0])
        return self._made(Case(at, level, value, tuple(whens), otherwise))

    def array(self) -> Node:
        at = self._next().at
        if self._is("("):
            self._refuse(at, "a subquery", *_ONE_ROW)
        self._expect("[")
        if self._is("[", "]"):
            self._refuse(at, "an array needs at least one value, and of one dimension")
        items = self.separated(self.expression)
        self._expect("]")
        return self._made(Array(at, _above(*items), items))

    def extract(self) -> Node:
        at = self._next().at
        self._expect("(")
        field = self._next()
        if field.kind not in ("word", "text"):
            self._refuse(
                field.at, "the name of a field is expected here, as in EXTRACT(year FROM …)"
            )
        self._expect("from")
        value = self.expression()
        self._expect(")")
        return self._made(Extract(at, value.level + 1, field.value.lower(), value))

    def substring(self) -> Node:
        at = self._next().at
        self._expect("(")
        self._plain_arguments()
        parts = [self.expression()]
        if self._take("from"):
            parts.append(self.expression())
            if self._take("for"):
                parts.append(self.expression())
        elif self._take("for"):
            parts += [Number(at, 0, "1"), self.expression()]
        else:
            while self._take(","):
                parts.append(self.expression())
        self._expect(")")
        return self._made(Call(at, _above(*parts), "substring", tuple(parts)))

    def trim(self) -> Node:
        at = self._next().at
        self._expect("(")
        self._plain_arguments()
        name = "btrim"
        if self._is("leading", "trailing", "both"):
            name = {"leading": "ltrim", "trailing": "rtrim", "both": "btrim"}[self._next().value]
            arguments = self._trimmed()
        else:
            arguments = self._trimmed()
        self._expect(")")
        return self._made(Call(at, _above(*arguments), name, arguments))

    def _trimmed(self) -> tuple[Node, ...]:
        if self._take("from"):
            return self.separated(self.expression)
        first = self.expression()
        if self._take("from"):
            return (self.expression(), first)
        return (first, *self.separated(self.expression)) if self._take(",") else (first,)

    def position(self) -> Node:
        at = self._next().at
        self._expect("(")
        # What is looked for ends where IN begins.
        part = self.expression(_OTHER)
        self._expect("in")
        whole = self.expression(_OTHER)
        self._expect(")")
        return self._made(Call(at, _above(whole, part), "strpos", (whole, part)))


def _above(*nodes: Node) -> int:
    return max((node.level for node in nodes), default=0) + 1


_ONE_ROW = (
    "an expression sees one row of one table",
    "add a join to the rule, or a query to the mapping",
)
_WINDOWLESS = {
    "union": "one expression is expected, not a query",
    "intersect": "one expression is expected, not a query",
    "except": "one expression is expected, not a query",
    "from": "one expression is expected, not a query",
    "into": "one expression is expected, not a query",
    "similar": "write a regular expression: name ~ '…'",
    "isnull": "write IS NULL",
    "notnull": "write IS NOT NULL",
    "overlaps": "compare the ends of the two periods",
    "operator": "write the operator by its sign alone",
}
_SPECIAL: dict[str, Callable[[_Reader], Node]] = {
    "cast": _Reader.cast,
    "case": _Reader.case,
    "array": _Reader.array,
    "extract": _Reader.extract,
    "substring": _Reader.substring,
    "trim": _Reader.trim,
    "position": _Reader.position,
}
