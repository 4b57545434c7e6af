"""SQL expressions of a mapping: read, checked, typed, and written anew for the server.

An expression is one value made of the columns of one row. The text of the person goes to no
server: `mapping.syntax` reads a closed part of the language into a tree, this module finds the
type of each part as PostgreSQL would, and builds new SQL in which every argument is cast to the
type that was found. So PostgreSQL cannot pick another function or operator than we checked, not
even one of an extension's schema. At last sqlglot reads what we built: were it more than one
expression over these columns, it would be refused.

What is refused names its place. What depends on a row's value (`'abc'::int`, a text that is no
date) is not known here: the preview shows the row on which it fails. Likewise a text column that
holds the word `now` and is cast to a time gives the time of the run.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import SqlglotError

from geode_tui.catalog import Column, DataType, Table
from geode_tui.errors import MappingError
from geode_tui.mapping import syntax
from geode_tui.mapping.functions import (
    AGGREGATES,
    COMPARISONS,
    EXTRACT_FIELDS,
    RANDOM,
    SET_RETURNING,
    SPECIAL_FUNCTIONS,
    TYPE_NAMES,
    TYPES,
    WINDOW_FUNCTIONS,
    Known,
    Signature,
    becomes,
    can_cast,
    category,
    choose,
    choose_for_any,
    common_type,
    functions,
    operators,
    word_set,
)
from geode_tui.mapping.queries import check_query, dialect
from geode_tui.mapping.types import Sql, cast, function

__all__ = [
    "Expression",
    "Ordering",
    "check_query",
    "compile_condition",
    "compile_expression",
    "compile_ordering",
    "quote_name",
    "quote_text",
]


@dataclass(frozen=True)
class Expression:
    """One value of a row: `text` as the person wrote it, the result's type, the columns it reads.

    `columns` are in the order of their first use.
    """

    text: str
    type: DataType
    columns: tuple[str, ...]
    _template: Sql = field(repr=False, compare=False)

    def sql(self, alias: str) -> Sql:
        """A fresh tree for a row of the table known as `alias`; safe as an operand of any other."""
        return _placed(self._template, alias)


@dataclass(frozen=True)
class Ordering:
    """The terms of an ORDER BY over the columns of one table."""

    text: str
    columns: tuple[str, ...]
    _terms: tuple[exp.Ordered, ...] = field(repr=False, compare=False)

    def sql(self, alias: str) -> list[Sql]:
        """Fresh terms for a table known as `alias`."""
        return [_placed(term, alias) for term in self._terms]


def compile_expression(text: str, table: Table) -> Expression:
    """Check an expression over the columns of a row of `table`.

    Raises MappingError naming the place (1-based) and the reason. A bare column gives the column's
    own type, everything else a type without modifiers.
    """
    return _expression(text, table.columns)


def compile_condition(text: str, table: Table) -> Expression:
    """As `compile_expression`, of an expression that is true or false."""
    found = _expression(text, table.columns)
    if found.type.resolved().name != "bool":
        reason = f"a condition is true or false, and this is {found.type.declared}"
        syntax.refuse(text, 0, reason, "", "compare it with something: … = …")
    return found


def compile_ordering(text: str, table: Table) -> Ordering:
    """Check the terms of an ORDER BY, as in `updated_at DESC NULLS LAST, id`.

    Raises MappingError as `compile_expression`, and where a term reads no column.
    """
    return _ordering(text, table.columns)


def quote_name(name: str) -> str:
    """A column's name as it stands in an expression: in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """A text as it stands in an expression: in single quotes."""
    return "'" + value.replace("'", "''") + "'"


@lru_cache(maxsize=4096)
def _expression(text: str, columns: tuple[Column, ...]) -> Expression:
    writer = _Writer(text, columns)
    node = syntax.read_expression(text)
    if isinstance(node, syntax.Name):
        column = writer.column(node)
        return Expression(text, column.type, tuple(writer.used), _column_sql(column.name))
    try:
        value = writer.known(writer.write(node))
        template = value.operand()
        _read_again(template, writer.used, text)
    except RecursionError:
        syntax.refuse(text, 0, "nested too deep")
    return Expression(text, writer.type_of(value), tuple(writer.used), template)


@lru_cache(maxsize=1024)
def _ordering(text: str, columns: tuple[Column, ...]) -> Ordering:
    writer = _Writer(text, columns)
    terms = []
    for term in syntax.read_ordering(text):
        value = writer.write(term.value)
        if value.constant:
            syntax.refuse(text, term.value.at, "this is the same for each row, and orders nothing")
        writer.comparable(value)
        read = {column.name for column in value.sql.find_all(exp.Column)}
        _read_again(value.operand(), read, text)
        terms.append(
            exp.Ordered(this=value.operand(), desc=term.descending, nulls_first=term.nulls_first)
        )
    return Ordering(text, tuple(writer.used), tuple(terms))


def _column_sql(name: str) -> exp.Column:
    return exp.column(name, quoted=True)


def _placed(template: Sql, alias: str) -> Sql:
    fresh = template.copy()
    for column in list(fresh.find_all(exp.Column)):
        column.set("table", exp.to_identifier(alias, quoted=True))
    return fresh


# What the second reader may find in what we wrote.
_FORBIDDEN = (exp.Query, exp.Star, exp.Placeholder, exp.Parameter, exp.Window, exp.Command, exp.DML)


def _read_again(template: Sql, used: Iterable[str], text: str) -> None:
    """Let sqlglot read our SQL: one expression over the same columns, and nothing else."""
    written = template.sql("postgres")
    try:
        trees = dialect().parse(written)
    except SqlglotError as error:
        raise MappingError(
            f"SQL: {text[:60]} cannot be checked", str(error).split("\n")[0]
        ) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None or tree.find(*_FORBIDDEN) is not None:
        raise MappingError(f"SQL: {text[:60]} is not one expression")
    found = {column.name for column in tree.find_all(exp.Column) if not column.table}
    if found != set(used):
        raise MappingError(f"SQL: {text[:60]} is read in two ways", f"columns: {sorted(found)}")


@dataclass(slots=True)
class _Value:
    """SQL with its type: `literal` is the text of a literal whose type is not known yet.

    `atomic` SQL needs no parentheses as an operand; `constant` reads no column.
    """

    sql: Sql
    key: Known
    at: int
    constant: bool
    atomic: bool = True
    literal: str | None = None

    def operand(self) -> Sql:
        return self.sql if self.atomic else exp.Paren(this=self.sql)

    def argument(self) -> Sql:
        """The SQL as an argument of a call."""
        return self.operand() if isinstance(self.sql, exp.Operator) else self.sql


_SPELLED = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "varchar": "character varying",
    "bpchar": "character",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
# Types that have few functions of their own: read as one that has.
_READ_AS = {"name": "text", "char": "text", "oid": "int8"}
_ADDRESSES = frozenset({"inet", "macaddr", "macaddr8"})
# The extension has functions of these names for citext, which compare without case.
_CITEXT_OWN = word_set(
    "regexp_match regexp_replace regexp_split_to_array replace split_part strpos translate"
)
_SIMPLE: dict[str, type[exp.Binary]] = {
    "+": exp.Add,
    "-": exp.Sub,
    "*": exp.Mul,
    "/": exp.Div,
    "%": exp.Mod,
    "=": exp.EQ,
    "<>": exp.NEQ,
    "<": exp.LT,
    ">": exp.GT,
    "<=": exp.LTE,
    ">=": exp.GTE,
}
_MOST_ARGUMENTS = 100  # PostgreSQL's own limit
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_DECIMAL = re.compile(
    r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*|\s*(nan|[+-]?inf(inity)?)\s*", re.IGNORECASE
)
_TRUTH = re.compile(
    r"\s*(t|tr|tru|true|f|fa|fal|fals|false|y|ye|yes|n|no|on|of|off|1|0)\s*", re.IGNORECASE
)
_CLOCK_WORD = re.compile(r"(?<![a-z])(now|today|tomorrow|yesterday)(?![a-z])", re.IGNORECASE)
_LITERAL_FORMS = {
    "bool": _TRUTH,
    **dict.fromkeys(("int2", "int4", "int8"), _INTEGER),
    **dict.fromkeys(("numeric", "float4", "float8"), _DECIMAL),
}
_CLOCK_TYPES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})


def _key_of(data_type: DataType) -> str:
    """The name that stands for a type while types are found."""
    resolved = data_type.resolved()
    if resolved.kind == "array" and resolved.base is not None:
        element = resolved.base
        return f"_other:{element.declared}" if element.kind == "domain" else f"_{_key_of(element)}"
    if resolved.kind == "base" and (resolved.name in TYPES or resolved.name == "citext"):
        return resolved.name
    return f"{'enum' if resolved.kind == 'enum' else 'other'}:{resolved.declared}"


def _base(key: str) -> DataType:
    """The type of that name, which is one of PostgreSQL's own or an array of one."""
    if key.startswith("_"):
        element = _base(key[1:])
        return DataType(f"{element.declared}[]", key, "array", element)
    return DataType(_SPELLED.get(key, key), key)


class _Writer:
    """Finds the type of each node and writes its SQL; `used` are the columns, in order."""

    def __init__(self, text: str, columns: tuple[Column, ...]) -> None:
        self._text = text
        self._columns = {column.name: column for column in columns}
        self._own: dict[str, DataType] = {}
        self.used: dict[str, None] = {}

    def refuse(self, at: int, reason: str, why: str = "", hint: str = "") -> NoReturn:
        syntax.refuse(self._text, at, reason, why, hint)

    def type_of(self, value: _Value) -> DataType:
        """The type of a value whose type is known."""
        assert value.key is not None
        return self._own.get(value.key) or _base(value.key)

    def _shown(self, key: Known) -> str:
        if key is None:
            return "unknown"
        return (self._own.get(key) or _base(key)).declared

    def known(self, value: _Value) -> _Value:
        """The value, a literal taken for a text. Refuses a NULL of no type."""
        if value.key is not None:
            return value
        if value.literal is None:
            self.refuse(value.at, "the type of NULL is not known", "", "write NULL::text")
        return self._to(value, "text")

    def write(self, node: syntax.Node) -> _Value:
        """The SQL of a node. Raises MappingError."""
        match node:
            case syntax.Number():
                return self._number(node.at, node.value)
            case syntax.Text():
                literal = exp.Literal.string(node.value)
                return _Value(literal, None, node.at, True, literal=node.value)
            case syntax.Constant(value="null"):
                return _Value(exp.Null(), None, node.at, True)
            case syntax.Constant():
                truth = exp.true() if node.value == "true" else exp.false()
                return _Value(truth, "bool", node.at, True)
            case syntax.Name():
                return self._name(node)
            case syntax.Call():
                return self._call(node)
            case syntax.Cast():
                return self._cast(node)
            case syntax.Sign():
                return self._sign(node)
            case syntax.Not():
                value = self._truth(node.value)
                return self._made(node, "bool", exp.Not(this=value.operand()), [value])
            case syntax.Binary():
                return self._binary(node)
            case syntax.Chain():
                return self._chain(node)
        return self._write_special(node)

    def _write_special(self, node: syntax.Node) -> _Value:
        match node:
            case syntax.Is():
                return self._is(node)
            case syntax.Distinct():
                return self._distinct(node)
            case syntax.Between():
                return self._between(node)
            case syntax.In():
                return self._in(node)
            case syntax.Like():
                return self._like(node)
            case syntax.Case():
                return self._case(node)
            case syntax.Element():
                return self._element(node)
            case syntax.Array():
                return self._array(node)
            case syntax.AtZone():
                return self._at_zone(node)
            case syntax.Collated():
                return self._collated(node)
            case syntax.Extract():
                return self._extract(node)
        self.refuse(node.at, "this is not supported")

    def _made(
        self,
        node: syntax.Node,
        key: str,
        sql: Sql,
        parts: Sequence[_Value],
        *,
        atomic: bool = False,
    ) -> _Value:
        return _Value(sql, key, node.at, all(part.constant for part in parts), atomic)

    # Columns, literals and casts

    def column(self, node: syntax.Name) -> Column:
        """The column of that name; it counts as used."""
        found = self._columns.get(node.name)
        if found is None:
            self._no_column(node)
        self.used.setdefault(found.name)
        return found

    def _no_column(self, node: syntax.Name) -> NoReturn:
        if node.name in syntax.SYSTEM_COLUMNS:
            reason = f"{node.name} is a system column, and another one after the next change"
            self.refuse(node.at, reason)
        same = [name for name in self._columns if name.lower() == node.name.lower()]
        if same:
            hint = f"write it in double quotes: {quote_name(same[0])}"
            self.refuse(node.at, f"no column {node.name}", "names are folded to lower case", hint)
        self.refuse(node.at, f"no column {node.name}", "", _nearest(node.name, self._columns))

    def _name(self, node: syntax.Name) -> _Value:
        column = self.column(node)
        resolved = column.type.resolved()
        value = _Value(_column_sql(column.name), _key_of(resolved), node.at, False)
        read_as = _READ_AS.get(resolved.name) if resolved.kind == "base" else None
        if read_as:
            return self._made(node, read_as, cast(value.sql, read_as), [value], atomic=True)
        assert value.key is not None
        if ":" in value.key or value.key == "citext":
            self._own[value.key] = resolved
            if value.key.startswith("_") and resolved.base is not None:
                self._own.setdefault(value.key[1:], resolved.base)
        return value

    def _number(self, at: int, text: str) -> _Value:
        digits = text.removeprefix("-")
        if digits.isdigit():
            number = int(text)
            for bits, key in ((31, "int4"), (63, "int8")):
                if -(2**bits) <= number < 2**bits:
                    literal: Sql = exp.Literal.number(abs(number))
                    return _Value(_negative(literal, number < 0), key, at, True, number >= 0)
        if re.fullmatch(r"\d+\.\d+", digits):
            literal = exp.Literal.number(digits)
            return _Value(_negative(literal, digits != text), "numeric", at, True, digits == text)
        return _Value(cast(exp.Literal.string(text), "numeric"), "numeric", at, True)

    def _to(self, value: _Value, key: str) -> _Value:
        """The value as type `key`, which it can become."""
        if value.key == key:
            return value
        if value.key is None and value.literal is not None:
            self._check_literal(value, key)
        if key in self._own:
            # Of the types that are not PostgreSQL's own only a literal is adapted, by its server.
            return _Value(value.sql, key, value.at, value.constant, value.atomic)
        sql = cast(value.sql, _type_sql(key))
        return _Value(sql, key, value.at, value.constant)

    def _check_literal(self, value: _Value, key: str) -> None:
        literal = value.literal or ""
        form = _LITERAL_FORMS.get(key)
        if form is not None and not form.fullmatch(literal):
            self.refuse(value.at, f"this is no {self._shown(key)}")
        if key in _CLOCK_TYPES and (word := _CLOCK_WORD.search(literal)):
            reason = f"«{word[0]}» is another value at each run"
            self.refuse(value.at, reason, "a run that is resumed or verified must get the same")
        labels = self._own[key].labels if key.startswith("enum:") else ()
        if key.startswith("enum:") and literal not in labels:
            reason = f"{self._own[key].declared} has no value {literal!r}"
            self.refuse(value.at, reason, "", _nearest(literal, labels))

    def _cast(self, node: syntax.Cast) -> _Value:
        value = self.write(node.value)
        name, modifiers = self._target(node.to)
        key = f"_{name}" if node.to.array else name
        if not can_cast(value.key, key):
            reason = f"{self._shown(value.key)} cannot be cast to {_base(key).declared}"
            self.refuse(node.to.at, reason, "", "cast it to text first, if its text will do")
        if value.key is None and value.literal is not None:
            self._check_literal(value, key)
        listed = ",".join(map(str, modifiers))
        target = (f"{name}({listed})" if listed else name) + ("[]" if node.to.array else "")
        return self._made(node, key, cast(value.sql, target), [value], atomic=True)

    def _target(self, to: syntax.TypeName) -> tuple[str, tuple[int, ...]]:
        name = TYPE_NAMES.get(to.name)
        if name is None:
            reason = f"a cast to {to.name} is not supported"
            hint = _nearest(to.name, TYPE_NAMES)
            self.refuse(to.at, reason, "the type is not in the list of safe ones", hint)
        modifiers = to.modifiers
        if to.name in ("char", "character") and not modifiers:
            modifiers = (1,)
        least, most, width = _MODIFIERS.get(name, (0, 0, 0))
        too_many = len(modifiers) > width or (to.name == "float" and modifiers)
        if too_many or not all(least <= m <= most for m in modifiers[:1]):
            self.refuse(to.at, f"{to.name} does not take ({', '.join(map(str, modifiers))})")
        if len(modifiers) == 2 and not 0 <= modifiers[1] <= modifiers[0]:
            self.refuse(to.at, "the scale of a numeric is from 0 to its precision")
        return name, modifiers

    # Operators

    def _truth(self, node: syntax.Node) -> _Value:
        value = self.write(node)
        if value.key not in ("bool", None):
            reason = f"true or false is expected, and this is {self._shown(value.key)}"
            self.refuse(node.at, reason)
        return self._to(value, "bool")

    def _sign(self, node: syntax.Sign) -> _Value:
        if node.operator == "-" and isinstance(node.value, syntax.Number):
            return self._number(node.at, f"-{node.value.value}")
        value = self.write(node.value)
        found = choose(operators()[node.operator], [value.key])
        if found is None:
            self._no_operator(node, node.operator, value)
        operand = self._to(value, found.takes[0])
        if node.operator == "+":
            return operand
        return self._made(node, found.gives, exp.Neg(this=operand.operand()), [value])

    def _no_operator(self, node: syntax.Node, operator: str, *values: _Value) -> NoReturn:
        types = " and ".join(self._shown(value.key) for value in values)
        hint = "cast one side: …::text, …::numeric"
        self.refuse(node.at, f"there is no operator {operator} for {types}", "", hint)

    def _binary(self, node: syntax.Binary) -> _Value:
        left, right = self.write(node.left), self.write(node.right)
        if node.operator in COMPARISONS:
            return self._compared(node, node.operator, left, right)
        if node.operator in ("@>", "<@", "&&") and self._arrays(left, right):
            left, right = self._same_array(node, node.operator, left, right)
            sql = _operator(node.operator, left, right)
            return self._made(node, "bool", sql, [left, right])
        if node.operator in ("@>", "<@") and left.key is None and right.key is None:
            self._no_operator(node, node.operator, left, right)
        left, right = self._as_text(left), self._as_text(right)
        if "citext" in (left.key, right.key) and node.operator in ("~", "~*", "!~", "!~*"):
            self.refuse(node.at, "a pattern on citext ignores case", "", "cast it: name::text")
        found = choose(operators().get(node.operator, ()), [left.key, right.key], operator=True)
        if found is None:
            self._no_operator(node, node.operator, left, right)
        values = [self._to(v, key) for v, key in zip((left, right), found.takes, strict=True)]
        return self._made(node, found.gives, _operator(node.operator, *values), values)

    def _as_text(self, value: _Value) -> _Value:
        """A value of an enum as its text."""
        if value.key is not None and value.key.startswith("enum:"):
            return self._to(value, "text")
        return value

    def _arrays(self, *values: _Value) -> bool:
        return any(value.key is not None and value.key.startswith("_") for value in values)

    def _same_array(
        self, node: syntax.Node, operator: str, left: _Value, right: _Value
    ) -> tuple[_Value, _Value]:
        key = left.key or right.key
        if key is None or {left.key, right.key} - {key, None}:
            self._no_operator(node, operator, left, right)
        return self._to(left, key), self._to(right, key)

    def _compared(self, node: syntax.Node, operator: str, left: _Value, right: _Value) -> _Value:
        left, right, exact = self._comparison(node, operator, left, right)
        simple = _SIMPLE[operator](this=left.operand(), expression=right.operand())
        sql = simple if exact else _operator(operator, left, right, qualified=True)
        return self._made(node, "bool", sql, [left, right])

    def _comparison(
        self, node: syntax.Node, operator: str, left: _Value, right: _Value
    ) -> tuple[_Value, _Value, bool]:
        """Both sides as they are compared, and whether their types alone say by which operator."""
        keys = {left.key, right.key} - {None}
        native = {key for key in keys if key is not None and self._native(key)}
        if self._arrays(left, right):
            self._comparable_element(node, left.key or right.key or "")
            return (*self._same_array(node, operator, left, right), False)
        if len(native) == 1 and keys == native:
            key = native.copy().pop()
            return self._to(left, key), self._to(right, key), False
        if any(key.startswith("enum:") for key in native) and operator not in ("=", "<>"):
            reason = "the values of an enum have an order of their own"
            self.refuse(node.at, reason, "", "cast it to text to compare it by letters")
        left, right = self._as_text(left), self._as_text(right)
        found = choose(operators()[operator], [left.key, right.key], operator=True)
        if found is None:
            self._no_operator(node, operator, left, right)
        return self._to(left, found.takes[0]), self._to(right, found.takes[1]), True

    def _native(self, key: str) -> bool:
        """Whether values of the type are compared by an operator of PostgreSQL's own."""
        own = self._own.get(key)
        return own is not None and (own.kind == "enum" or own.name in _ADDRESSES)

    def comparable(self, value: _Value) -> None:
        """Refuse what has no order."""
        key = value.key or "text"
        if key.startswith("_"):
            key = key[1:]
        column = isinstance(value.sql, exp.Column)
        if key == "json" or (key.startswith("other:") and not column and not self._native(key)):
            self.refuse(value.at, f"{self._shown(value.key)} has no order", "", "cast it to text")

    def _comparable_element(self, node: syntax.Node, key: str) -> None:
        if key == "_json" or key.startswith("_other:"):
            self.refuse(node.at, f"values of {self._shown(key)} cannot be compared")

    def _chain(self, node: syntax.Chain) -> _Value:
        if node.operator == "||":
            return self._concatenated(node)
        values = [self._truth(item) for item in node.items]
        kind: type[exp.Binary] = exp.And if node.operator == "and" else exp.Or
        sql = values[0].operand()
        for value in values[1:]:
            sql = kind(this=sql, expression=value.operand())
        return self._made(node, "bool", sql, values)

    def _concatenated(self, node: syntax.Chain) -> _Value:
        values = [self.write(item) for item in node.items]
        joined = values[0]
        for value in values[1:]:
            joined = self._joined(node, joined, value)
        return joined

    def _joined(self, node: syntax.Chain, left: _Value, right: _Value) -> _Value:
        if self._arrays(left, right):
            return self._joined_arrays(node, left, right)
        keys = {left.key, right.key}
        for key in ("bytea", "jsonb"):
            if keys <= {key, None} and key in keys:
                values = [self._to(left, key), self._to(right, key)]
                return self._made(node, key, _operator("||", *values), values)
        left, right = self._as_text(left), self._as_text(right)
        if not any(v.key is None or category(v.key) == "S" for v in (left, right)):
            self._no_operator(node, "||", left, right)
        first, second = self._to(left, "text"), self._to(right, "text")
        chained = isinstance(first.sql, exp.DPipe)
        before = first.sql if chained else first.operand()
        sql = exp.DPipe(this=before, expression=second.operand())
        return self._made(node, "text", sql, [left, right])

    def _joined_arrays(self, node: syntax.Chain, left: _Value, right: _Value) -> _Value:
        array = next(v.key for v in (left, right) if v.key is not None and v.key[0] == "_")
        values = []
        for value in (left, right):
            element = value.key is not None and not value.key.startswith("_")
            key = array[1:] if element else array
            if not becomes(value.key, key):
                self._no_operator(node, "||", left, right)
            values.append(self._to(value, key))
        return self._made(node, array, _operator("||", *values), values)

    def _is(self, node: syntax.Is) -> _Value:
        value = self.write(node.value) if node.what == "null" else self._truth(node.value)
        # Of a boolean, UNKNOWN is another word for NULL.
        what = {"true": exp.true(), "false": exp.false()}.get(node.what, exp.Null())
        sql: Sql = exp.Is(this=value.operand(), expression=what)
        if node.negated:
            sql = exp.Not(this=sql)
        return self._made(node, "bool", sql, [value])

    def _distinct(self, node: syntax.Distinct) -> _Value:
        left, right = self.write(node.left), self.write(node.right)
        if not any(v.key is None and v.literal is None for v in (left, right)):
            left, right, exact = self._comparison(node, "=", left, right)
            self._only_known(node, left, exact)
        kind = exp.NullSafeEQ if node.negated else exp.NullSafeNEQ
        sql = kind(this=left.operand(), expression=right.operand())
        return self._made(node, "bool", sql, [left, right])

    def _only_known(self, node: syntax.Node, value: _Value, exact: bool) -> None:
        """Refuse where the operator cannot be named, and the types do not say which it is."""
        if not exact and value.key in self._own and not self._native(value.key):
            self.refuse(node.at, f"{self._shown(value.key)} is not supported here")

    def _between(self, node: syntax.Between) -> _Value:
        value = self.write(node.value)
        low, high = self.write(node.low), self.write(node.high)
        first, low, exact = self._comparison(node, ">=", value, low)
        second, high, _ = self._comparison(node, "<=", value, high)
        if first.key != second.key:
            reason = "the two ends are of types that are compared in different ways"
            self.refuse(node.at, reason, "", "cast both ends to one type")
        self._only_known(node, first, exact)
        sql: Sql = exp.Between(
            this=first.operand(),
            low=low.operand(),
            high=high.operand(),
            symmetric=node.symmetric or None,
        )
        return self._made(node, "bool", _negated(sql, node.negated), [value, low, high])

    def _in(self, node: syntax.In) -> _Value:
        value = self.write(node.value)
        items = [self.write(item) for item in node.items]
        constants = [item for item in items if item.constant]
        if len(constants) > 1:
            # PostgreSQL compares with them as with one array, of their common type.
            shared = self._common_key([value, *constants])
            if shared is not None:
                items = [self._to(item, shared) if item.constant else item for item in items]
        pairs = [self._comparison(node, "=", value, item) for item in items]
        if len({left.key for left, _, _ in pairs}) > 1:
            reason = "the list holds types that are compared in different ways"
            self.refuse(node.at, reason, "", "cast them to one type")
        self._only_known(node, pairs[0][0], pairs[0][2])
        listed = [right.sql for _, right, _ in pairs]
        sql = exp.In(this=pairs[0][0].operand(), expressions=listed)
        return self._made(node, "bool", _negated(sql, node.negated), [value, *items])

    def _like(self, node: syntax.Like) -> _Value:
        value, pattern = self._as_text(self.write(node.value)), self.write(node.pattern)
        pattern = self._as_text(pattern)
        operator = "~~*" if node.any_case else "~~"
        if value.key == "citext":
            # The extension's own operator, which ignores case.
            takes: tuple[str, ...] = ("citext", "text")
            if pattern.key is not None and category(pattern.key) != "S":
                self._no_operator(node, "LIKE", value, pattern)
        else:
            keys = [value.key, pattern.key]
            found = choose(operators()[operator], keys, operator=True)
            if found is None:
                self._no_operator(node, "ILIKE" if node.any_case else "LIKE", value, pattern)
            takes = found.takes
        left, right = self._to(value, takes[0]), self._to(pattern, takes[1])
        kind = exp.ILike if node.any_case else exp.Like
        sql: Sql = kind(this=left.operand(), expression=right.operand())
        if node.escape is not None:
            if takes[0] == "bytea":
                self.refuse(node.at, "ESCAPE is supported for texts only")
            sql = exp.Escape(this=sql, expression=exp.Literal.string(node.escape))
        return self._made(node, "bool", _negated(sql, node.negated), [value, pattern])

    # Functions and other forms

    def _call(self, node: syntax.Call) -> _Value:
        if len(node.arguments) > _MOST_ARGUMENTS:
            self.refuse(node.at, f"more than {_MOST_ARGUMENTS} arguments")
        if node.name in SPECIAL_FUNCTIONS:
            return self._special(node)
        signatures = functions().get(node.name)
        if signatures is None:
            self._no_function(node)
        values = [self.write(argument) for argument in node.arguments]
        if any(v.key == "citext" for v in values) and node.name in _CITEXT_OWN:
            hint = "cast it: name::text"
            self.refuse(node.at, f"{node.name} on citext ignores case", "", hint)
        found = choose_for_any(signatures, [v.key for v in values])
        qualified = found is not None
        if found is None:
            values = [self._as_text(value) for value in values]
            found = choose(signatures, [v.key for v in values])
        if found is None:
            self._no_signature(node, signatures, values)
        sources = [self._to(v, key).argument() for v, key in zip(values, found.takes, strict=True)]
        call = function(node.name, *sources)
        # By its schema where another function of the name could fit the types better.
        sql = exp.Dot(this=exp.to_identifier("pg_catalog"), expression=call) if qualified else call
        return self._made(node, found.gives, sql, values, atomic=True)

    def _no_function(self, node: syntax.Call) -> NoReturn:
        name = node.name
        one_row = "an expression sees one row at a time; add a query to the mapping"
        repeat = "a run that is resumed or verified must get the same"
        if name in AGGREGATES:
            self.refuse(node.at, f"{name} is an aggregate", one_row)
        if name in WINDOW_FUNCTIONS:
            self.refuse(node.at, f"{name} is a window function", one_row)
        if name in SET_RETURNING:
            self.refuse(node.at, f"{name} returns a set of rows", one_row)
        if name in syntax.CLOCK or name in RANDOM:
            self.refuse(node.at, f"{name} is another value at each run", repeat)
        if name in syntax.SESSION:
            self.refuse(node.at, f"{name} depends on who is connected")
        reason = f"{name} is not in the list of permitted functions"
        names = [*functions(), *SPECIAL_FUNCTIONS]
        self.refuse(node.at, reason, "only functions without effects are", _nearest(name, names))

    def _no_signature(
        self, node: syntax.Call, signatures: Iterable[Signature], values: list[_Value]
    ) -> NoReturn:
        widths = sorted({len(s.takes) for s in signatures})
        open_ended = any(s.variadic for s in signatures)
        if len(values) not in widths and not open_ended:
            counts = " or ".join(map(str, widths))
            self.refuse(node.at, f"{node.name} takes {counts} arguments, not {len(values)}")
        types = ", ".join(self._shown(value.key) for value in values)
        reason = f"there is no one {node.name}({types})"
        self.refuse(node.at, reason, "the types do not fit", "cast the arguments: …::text")

    def _special(self, node: syntax.Call) -> _Value:
        """coalesce, nullif, greatest, least."""
        values = [self.write(argument) for argument in node.arguments]
        if node.name == "nullif":
            if len(values) != 2:
                self.refuse(node.at, f"nullif takes 2 arguments, not {len(values)}")
            left, right, exact = self._comparison(node, "=", *values)
            self._only_known(node, left, exact)
            assert left.key is not None
            return self._made(
                node, left.key, function("NULLIF", left.sql, right.sql), values, atomic=True
            )
        if not values:
            self.refuse(node.at, f"{node.name} takes at least one argument")
        key, values = self._common(node, values)
        if node.name != "coalesce":
            for value in values:
                self.comparable(value)
        sql = function(node.name.upper(), *(value.sql for value in values))
        return self._made(node, key, sql, values, atomic=True)

    def _common(self, node: syntax.Node, values: list[_Value]) -> tuple[str, list[_Value]]:
        """The common type of values, and the values as that type."""
        key = self._common_key(values)
        if key is None:
            values = [self._as_text(value) for value in values]
            key = self._common_key(values)
        if key is None:
            types = ", ".join(dict.fromkeys(self._shown(value.key) for value in values))
            hint = "cast them to one type: …::text"
            self.refuse(node.at, f"these have no common type: {types}", "", hint)
        return key, [self._to(value, key) for value in values]

    def _common_key(self, values: Sequence[_Value]) -> Known:
        return common_type([value.key for value in values])

    def _case(self, node: syntax.Case) -> _Value:
        conditions: list[_Value]
        subject: _Value | None = None
        if node.value is None:
            conditions = [self._truth(condition) for condition, _ in node.whens]
        else:
            subject, conditions = self._matched(node, node.value)
        results = [self.write(result) for _, result in node.whens]
        null = _Value(exp.Null(), None, node.at, True)
        otherwise = self.write(node.otherwise) if node.otherwise else null
        # PostgreSQL looks at the ELSE first when it looks for the common type.
        key, (otherwise, *results) = self._common(node, [otherwise, *results])
        sql = exp.Case(this=subject.sql if subject else None)
        for condition, result in zip(conditions, results, strict=True):
            sql.append("ifs", exp.If(this=condition.sql, true=result.sql))
        if node.otherwise:
            sql.set("default", otherwise.sql)
        parts = [*conditions, *results, otherwise, *([subject] if subject else [])]
        return self._made(node, key, sql, parts)

    def _matched(self, node: syntax.Case, subject: syntax.Node) -> tuple[_Value, list[_Value]]:
        """The value of CASE value WHEN …, and what it is compared with."""
        value = self.known(self.write(subject))
        pairs = [
            self._comparison(node, "=", value, self.write(condition)) for condition, _ in node.whens
        ]
        if len({left.key for left, _, _ in pairs}) > 1:
            reason = "the branches are of types that are compared in different ways"
            self.refuse(node.at, reason, "", "cast them to one type")
        self._only_known(node, pairs[0][0], pairs[0][2])
        return pairs[0][0], [right for _, right, _ in pairs]

    def _element(self, node: syntax.Element) -> _Value:
        value, index = self.write(node.value), self.write(node.index)
        if value.key is None or not value.key.startswith("_"):
            hint = "of JSON use: data -> 'key' or data -> 0"
            self.refuse(node.at, f"{self._shown(value.key)} is no array", "", hint)
        if not becomes(index.key, "int4"):
            self.refuse(node.index.at, "the place in an array is an integer")
        place = self._to(index, "int4")
        array = exp.Paren(this=value.sql)
        sql = exp.Bracket(this=array, expressions=[place.sql], offset=1)
        return self._made(node, value.key[1:], sql, [value, index], atomic=True)

    def _array(self, node: syntax.Array) -> _Value:
        values = [self.write(item) for item in node.items]
        if self._arrays(*values):
            self.refuse(node.at, "arrays of more than one dimension are not supported")
        key, values = self._common(node, values)
        if key in self._own:
            self.refuse(node.at, f"an array of {self._shown(key)}", "", "cast it to text")
        sql = exp.Array(expressions=[value.sql for value in values])
        return self._made(node, f"_{key}", cast(sql, _type_sql(f"_{key}")), values, atomic=True)

    def _at_zone(self, node: syntax.AtZone) -> _Value:
        value = self.write(node.value)
        found = choose(functions()["timezone"], ["text", value.key])
        if found is None:
            reason = f"{self._shown(value.key)} has no time zone to change"
            self.refuse(node.at, reason, "", "cast it to timestamp or timestamptz")
        zone = cast(exp.Literal.string(node.zone), "text")
        sql = function("timezone", zone, self._to(value, found.takes[1]).sql)
        return self._made(node, found.gives, sql, [value], atomic=True)

    def _collated(self, node: syntax.Collated) -> _Value:
        value = self.known(self._as_text(self.write(node.value)))
        assert value.key is not None
        if category(value.key) != "S":
            self.refuse(node.at, "only texts have a collation")
        collation = exp.Var(this=f'pg_catalog."{node.collation}"')
        sql = exp.Collate(this=value.operand(), expression=collation)
        return self._made(node, value.key, sql, [value])

    def _extract(self, node: syntax.Extract) -> _Value:
        value = self.write(node.value)
        signatures = [Signature(("text", key), "numeric") for key in EXTRACT_FIELDS]
        found = choose(signatures, ["text", value.key])
        if found is None:
            self.refuse(node.at, f"nothing can be extracted from {self._shown(value.key)}")
        fields = EXTRACT_FIELDS[found.takes[1]]
        if node.field not in fields:
            reason = f"{self._shown(found.takes[1])} has no {node.field}"
            self.refuse(node.at, reason, "", _nearest(node.field, fields))
        source = self._to(value, found.takes[1])
        call = exp.Extract(this=exp.var(node.field.upper()), expression=source.argument())
        # Before PostgreSQL 14 it gave a float.
        return self._made(node, "numeric", cast(call, "numeric"), [value], atomic=True)


_MODIFIERS = {
    "numeric": (1, 1000, 2),
    "varchar": (1, 10_485_760, 1),
    "bpchar": (1, 10_485_760, 1),
    "time": (0, 6, 1),
    "timetz": (0, 6, 1),
    "timestamp": (0, 6, 1),
    "timestamptz": (0, 6, 1),
}
"""Of types that take modifiers: the least and most of the first, and how many there may be."""


def _type_sql(key: str) -> str:
    return f"{key[1:]}[]" if key.startswith("_") else key


def _negative(literal: Sql, negative: bool) -> Sql:
    return exp.Neg(this=literal) if negative else literal


def _negated(sql: Sql, negated: bool) -> Sql:
    return exp.Not(this=exp.Paren(this=sql)) if negated else sql


def _operator(sign: str, left: _Value, right: _Value, *, qualified: bool = False) -> Sql:
    simple = None if qualified else _SIMPLE.get(sign)
    if simple is exp.Div:
        return exp.Div(this=left.operand(), expression=right.operand(), typed=True)
    if simple is not None:
        return simple(this=left.operand(), expression=right.operand())
    name = exp.Var(this=f"pg_catalog.{sign}")
    return exp.Operator(this=left.operand(), operator=name, expression=right.operand())


def _nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean …?` with the most similar of `words`, or an empty string."""
    choices = {choice.casefold(): choice for choice in words}
    close = difflib.get_close_matches(word.casefold(), choices, n=1, cutoff=0.5)
    return f"did you mean {choices[close[0]]}?" if close else ""
