"""Read the parts of a DDL statement: names, types, columns and constraints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from geode_tui.catalog import Check, TableName
from geode_tui.mapping.mend import identifier
from geode_tui.source.ddl_scan import Script, Token
from geode_tui.source.ddl_schema import (
    Database,
    DraftColumn,
    DraftForeignKey,
    DraftIndex,
    DraftTable,
)
from geode_tui.source.ddl_types import (
    SERIALS,
    SQL_NAMES,
    SYSTEM,
    TypeDefinition,
    TypeReference,
)

_OPENING = {"(": ")", "[": "]"}
# What can follow a column's type or default; none can be part of a default's expression.
_CLAUSE_WORDS = """
constraint not null default generated primary unique check references collate deferrable initially
compression storage options enforced no
"""
_CLAUSES = frozenset(_CLAUSE_WORDS.split())
_INTERVAL_FIELDS = frozenset({"year", "month", "day", "hour", "minute", "second"})
_PRECISE = frozenset({"time", "timetz", "timestamp", "timestamptz", "interval"})
_ZONED = {"time": "timetz", "timestamp": "timestamptz"}
_ON_DELETE = (("no", "action"), ("restrict",), ("cascade",), ("set", "null"), ("set", "default"))


class Reader:
    """Reads some tokens of a statement from the left."""

    def __init__(self, script: Script, tokens: Sequence[Token], end: int | None = None) -> None:
        self.script = script
        self.tokens = tokens
        self.position = 0
        self._end = end if end is not None else (tokens[-1].end if tokens else 0)

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.tokens)

    def peek(self, ahead: int = 0) -> Token | None:
        """The token that comes next, or some after that."""
        place = self.position + ahead
        return self.tokens[place] if place < len(self.tokens) else None

    def word(self, ahead: int = 0) -> str:
        """The keyword or operator that comes next; empty for anything else."""
        token = self.peek(ahead)
        return token.value if token is not None and token.kind in ("word", "operator") else ""

    def at(self, *words: str) -> bool:
        """Whether these keywords come next."""
        return all(self.word(place) == word for place, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Pass these keywords if they come next."""
        if not self.at(*words):
            return False
        self.position += len(words)
        return True

    def accept_any(self, words: Collection[str]) -> str:
        """Pass the keyword that comes next if it is one of these, and return it."""
        word = self.word()
        if word not in words:
            return ""
        self.position += 1
        return word

    def expect(self, *words: str) -> None:
        """Pass these keywords; refuse the statement where they do not come."""
        if not self.accept(*words):
            self.refuse(" ".join(words).upper())

    def refuse(self, wanted: str) -> NoReturn:
        """Say that something else was expected here."""
        token = self.peek()
        text = self.script.text
        found = f"stands {_shortened(text[token.start : token.end])}" if token else "it ends"
        where = token.start if token else self._end
        self.script.refuse(
            where,
            f"{wanted} is expected, but here {found}",
            "the statement cannot be read as PostgreSQL's",
            "write it as pg_dump --schema-only does, or read the database itself",
        )

    def advance(self) -> Token:
        """Pass any token."""
        token = self.peek()
        if token is None:
            self.refuse("more")
        self.position += 1
        return token

    def name(self) -> str:
        """Pass a name."""
        token = self.peek()
        if token is None or token.kind not in ("word", "name") or not token.value:
            self.refuse("a name")
        self.position += 1
        return token.value

    def names(self) -> list[str]:
        """Pass a name with the schema before it, if any."""
        made = [self.name()]
        while self.accept("."):
            made.append(self.name())
        return made

    def string(self) -> str:
        """Pass a string, with those that continue it."""
        token = self.peek()
        if token is None or token.kind != "string":
            self.refuse("a string")
        value = ""
        while token is not None and token.kind == "string":
            value += token.value
            self.position += 1
            token = self.peek()
        return value

    def group(self) -> Reader:
        """Pass a pair of parentheses; returns what stands between."""
        if self.word() != "(":
            self.refuse("(")
        start = self.position
        self.skip()
        return self.between(start + 1, self.position - 1)

    def expression(self) -> str:
        """Pass an expression in parentheses; returns its source."""
        opening = self.peek()
        self.group()
        assert opening is not None
        return self.script.text[opening.end : self.tokens[self.position - 1].start].strip(" ")

    def between(self, start: int, stop: int) -> Reader:
        """A reader of some of the tokens."""
        end = self.tokens[stop].start if stop < len(self.tokens) else self._end
        return Reader(self.script, self.tokens[start:stop], end)

    def skip(self) -> None:
        """Pass a token, or a whole pair of parentheses or brackets."""
        waiting: list[str] = []
        while True:
            token = self.advance()
            if token.kind == "operator":
                if token.value in _OPENING:
                    waiting.append(_OPENING[token.value])
                elif waiting and token.value == waiting[-1]:
                    waiting.pop()
            if not waiting:
                return

    def items(self) -> list[Reader]:
        """What is left, parted at its commas."""
        made: list[Reader] = []
        while not self.done:
            start = self.position
            while not self.done and self.word() != ",":
                self.skip()
            made.append(self.between(start, self.position))
            self.accept(",")
        return made

    def name_list(self) -> list[str]:
        """Pass `(a, b)`."""
        return [item.name() for item in self.group().items()]

    def text(self, start: int = 0, stop: int | None = None) -> str:
        """The source of some of the tokens."""
        part = self.tokens[start:stop]
        return self.script.text[part[0].start : part[-1].end] if part else ""

    def rest(self) -> str:
        """Pass all that is left; returns its source."""
        text = self.text(self.position)
        self.position = len(self.tokens)
        return text

    def expect_end(self) -> None:
        """Refuse the statement where something is left."""
        if not self.done:
            self.refuse("the end of the clause")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


def read_type(reader: Reader, database: Database) -> TypeReference:
    """Pass a type, with its modifiers and `[]`."""
    reader.accept("setof")
    reference = _sql_type(reader, database) or _named_type(reader, database)
    while reader.at("["):
        reader.skip()
        reference = replace(reference, array=True)
    if reader.accept("array"):
        if reader.at("["):
            reader.skip()
        reference = replace(reference, array=True)
    return reference


def _sql_type(reader: Reader, database: Database) -> TypeReference | None:
    """A type that SQL has words of its own for."""

    def system(name: str, modifier: str = "") -> TypeReference:
        return TypeReference(database.types[SYSTEM, name], modifier)

    word = reader.word()
    if reader.word(1) == ".":
        return None
    if word == "double":
        reader.advance()
        reader.expect("precision")
        return system("float8")
    if word == "float":
        reader.advance()
        bits = int(_modifiers(reader)[0] if reader.at("(") else 53)
        return system("float4" if bits <= 24 else "float8")
    if word in ("character", "char", "nchar", "national", "bit"):
        return _sized_type(reader, database)
    if word in ("time", "timestamp"):
        reader.advance()
        modifier = _precision(reader)
        if reader.accept("with", "time", "zone"):
            return system(_ZONED[word], modifier)
        reader.accept("without", "time", "zone")
        return system(word, modifier)
    if word == "interval":
        reader.advance()
        return system("interval", _interval_modifier(reader))
    if word in SQL_NAMES:
        reader.advance()
        definition = database.types[SYSTEM, SQL_NAMES[word]]
        return TypeReference(definition, _modifier(reader, definition))
    return None


def _sized_type(reader: Reader, database: Database) -> TypeReference:
    """char, bit and their varying kinds."""
    reader.accept("national")
    bits = reader.advance().value == "bit"
    varying = reader.accept("varying")
    name = ("varbit" if varying else "bit") if bits else ("varchar" if varying else "bpchar")
    size = _modifiers(reader)[0] if reader.at("(") else ("" if varying else "1")
    return TypeReference(database.types[SYSTEM, name], f"({size})" if size else "")


def _named_type(reader: Reader, database: Database) -> TypeReference:
    start = reader.position
    names = reader.names()
    definition, array = database.find_type(names), False
    if definition is None and names[-1].startswith("_"):
        definition, array = database.find_type([*names[:-1], names[-1][1:]]), True
    if definition is None:
        spelled = reader.text(start, reader.position)
        reader.script.refuse(
            reader.tokens[start].start,
            f"the type {spelled} is not known",
            "nothing before this line makes it",
            "add its CREATE TYPE, CREATE DOMAIN or CREATE EXTENSION to the file, before this line",
        )
    return TypeReference(definition, _modifier(reader, definition), array)


def _modifiers(reader: Reader) -> list[str]:
    return ["".join(token.value for token in item.tokens) for item in reader.group().items()]


def _modifier(reader: Reader, definition: TypeDefinition) -> str:
    """The modifier that may follow a type, as the server prints it."""
    if definition.schema == SYSTEM and definition.name in _PRECISE:
        return _precision(reader)
    if not reader.at("("):
        return ""
    found = _modifiers(reader)
    if definition.schema == SYSTEM and definition.name == "numeric" and len(found) == 1:
        found.append("0")
    return f"({','.join(found)})"


def _precision(reader: Reader) -> str:
    """`(n)` of a time or interval; the server keeps at most 6."""
    if not reader.at("("):
        return ""
    digits = _modifiers(reader)[0]
    return f"({min(int(digits), 6)})" if digits.isdigit() else f"({digits})"


def _interval_modifier(reader: Reader) -> str:
    if reader.at("("):
        return _precision(reader)
    fields = []
    while field := reader.accept_any(_INTERVAL_FIELDS):
        fields.append(field)
        if not reader.accept("to"):
            break
    return (" " + " to ".join(fields) if fields else "") + _precision(reader)


@dataclass
class _Reference:
    """A foreign key before its target is looked up."""

    key: DraftForeignKey
    names: list[str]
    at: int


class TableReader:
    """Reads columns and constraints of a table, and puts the keys on it in the server's order."""

    def __init__(self, reader: Reader, database: Database, table: DraftTable) -> None:
        self._script = reader.script
        self._start = reader.tokens[0].start
        self._database = database
        self._table = table
        self._keys: list[DraftIndex] = []
        self._checks: list[tuple[Check, list[str]]] = []
        self._references: list[_Reference] = []
        self._copies: list[DraftIndex] = []

    # Elements of CREATE TABLE

    def elements(self, reader: Reader) -> None:
        """All columns and constraints between the parentheses."""
        for item in reader.items():
            self._element(item)

    def _element(self, reader: Reader) -> None:
        if reader.accept("like"):
            self._like(reader)
        elif self.at_constraint(reader):
            self.constraint(reader)
        else:
            self.add_column(self.column(reader))

    @staticmethod
    def at_constraint(reader: Reader) -> bool:
        """Whether a table constraint comes next, not a column."""
        if reader.word() == "exclude":
            return reader.word(1) in ("using", "(")
        return reader.word() in ("constraint", "primary", "unique", "foreign", "check", "not")

    def typed_elements(self, reader: Reader) -> None:
        """Elements of a table OF a type, or of a partition: columns that exist already."""
        for item in reader.items():
            if self.at_constraint(item):
                self.constraint(item)
                continue
            column = self._table.column(item.name())
            if column is None:
                item.position -= 1
                item.refuse("a column of the table")
            item.accept("with", "options")
            self._clauses(item, column)

    def add_column(self, column: DraftColumn) -> None:
        """Add a column, or merge it with the inherited one of its name."""
        inherited = self._table.column(column.name)
        if inherited is None:
            self._table.columns.append(column)
            return
        inherited.required |= column.required
        inherited.default = column.default or inherited.default
        inherited.identity |= column.identity
        inherited.generated = column.generated or inherited.generated

    def column(self, reader: Reader) -> DraftColumn:
        """Read a column with its constraints."""
        name = reader.name()
        token = reader.peek()
        serial = SERIALS.get(token.value) if token else None
        if serial and reader.word(1) != ".":
            return self._serial(reader, name, serial)
        kind = read_type(reader, self._database)
        column = DraftColumn(name, kind, collation=kind.collation)
        self._clauses(reader, column)
        return column

    def _serial(self, reader: Reader, name: str, type_name: str) -> DraftColumn:
        reader.advance()
        sequence = self._database.add_sequence(self._table, name)
        quoted = f"{identifier(self._table.schema)}.{identifier(sequence)}".replace("'", "''")
        kind = TypeReference(self._database.types[SYSTEM, type_name])
        column = DraftColumn(name, kind, True, default=f"nextval('{quoted}'::regclass)")
        self._clauses(reader, column)
        return column

    # Clauses of a column

    def _clauses(self, reader: Reader, column: DraftColumn) -> None:
        while not reader.done:
            name = reader.name() if reader.accept("constraint") else ""
            self._clause(reader, column, name)

    def _clause(self, reader: Reader, column: DraftColumn, name: str) -> None:
        if reader.accept("not", "null"):
            column.required = True
            reader.accept("no", "inherit")
        elif reader.accept("default"):
            column.default = stored_default(reader, column)
        elif reader.accept("generated"):
            self.generated(reader, column)
        elif reader.accept("collate"):
            column.collation = self._database.find_collation(reader.names())
        elif reader.accept("primary", "key"):
            self._key(reader, "p", name, [column.name])
        elif reader.accept("unique"):
            self._key(reader, "u", name, [column.name])
        elif reader.accept("references"):
            self._reference(reader, name, [column.name], temporal=False)
        elif reader.accept("check"):
            self._check(reader, name)
        elif not self._passed(reader):
            reader.refuse("a column constraint")

    @staticmethod
    def _passed(reader: Reader) -> bool:
        """Pass a clause that says nothing of what the catalog holds."""
        if reader.accept("null") or reader.accept("with", "options"):
            return True
        if reader.accept_any({"compression", "storage"}):
            reader.name()
            return True
        if reader.accept("options"):
            reader.group()
            return True
        return False

    def generated(self, reader: Reader, column: DraftColumn) -> None:
        """Read what follows GENERATED: an expression or an identity."""
        if reader.accept("by", "default"):
            pass
        else:
            reader.expect("always")
        reader.expect("as")
        if reader.accept("identity"):
            self.identity(reader, column)
            return
        column.generated = reader.expression()
        column.default = None
        reader.accept_any({"stored", "virtual"})

    def identity(self, reader: Reader, column: DraftColumn) -> None:
        """Read the options of an identity; its sequence takes a name."""
        if reader.at("("):
            reader.group()
        column.identity = column.required = True
        self._database.add_sequence(self._table, column.name)

    # Constraints

    def constraint(self, reader: Reader) -> None:
        """Read a constraint of the table."""
        name = reader.name() if reader.accept("constraint") else ""
        if reader.accept("primary", "key"):
            self._table_key(reader, "p", name)
        elif reader.accept("unique"):
            self._table_key(reader, "u", name)
        elif reader.accept("foreign", "key"):
            columns, temporal = self._key_columns(reader)
            reader.expect("references")
            self._reference(reader, name, columns, temporal=temporal)
        elif reader.accept("check"):
            self._check(reader, name)
        elif reader.accept("not", "null"):
            self._not_null(reader)
        elif reader.accept("exclude"):
            self._exclusion(reader, name)
        else:
            reader.refuse("a constraint")
        reader.expect_end()

    def _table_key(self, reader: Reader, role: str, name: str) -> None:
        if reader.accept("using", "index"):
            self._promote(reader, role, name)
            return
        nulls_equal = _nulls_equal(reader)
        columns, temporal = self._key_columns(reader)
        self._key(reader, role, name, columns, nulls_equal=nulls_equal)
        self._keys[-1].method = "gist" if temporal else "btree"

    def _key_columns(self, reader: Reader) -> tuple[list[str], bool]:
        """Pass the columns of a key; returns them, and whether one is a period."""
        columns, temporal = [], False
        for item in reader.group().items():
            if item.at("period") and item.peek(1) is not None:
                item.advance()
                temporal = True
            columns.append(item.name())
            temporal |= item.accept("without", "overlaps")
            item.expect_end()
        return columns, temporal

    def _key(
        self, reader: Reader, role: str, name: str, columns: list[str], *, nulls_equal: bool = False
    ) -> None:
        nulls_equal = _nulls_equal(reader) or nulls_equal
        included = reader.name_list() if reader.accept("include") else []
        traits = read_traits(reader)
        self._keys.append(
            DraftIndex(
                name,
                columns,
                True,
                role=role,
                deferrable=traits.deferrable,
                included=tuple(included),
                nulls_equal=nulls_equal,
            )
        )

    def _promote(self, reader: Reader, role: str, name: str) -> None:
        """A unique index becomes the key's, under the key's name."""
        wanted = reader.name()
        index = next((i for i in self._table.indexes if i.name == wanted), None)
        if index is None:
            reader.position -= 1
            reader.refuse("an index of the table")
        index.role, index.deferrable = role, read_traits(reader).deferrable
        self._database.rename(index, self._table.schema, name or wanted)
        if role == "p":
            self._database.require(self._table, index.columns)

    def _reference(self, reader: Reader, name: str, columns: list[str], *, temporal: bool) -> None:
        at = reader.peek()
        names = reader.names()
        to_columns: list[str] = []
        if reader.at("("):
            to_columns, _ = self._key_columns(reader)
        if reader.accept("match"):
            reader.name()
        on_delete = _actions(reader)
        traits = read_traits(reader)
        key = DraftForeignKey(
            name,
            columns,
            TableName("", names[-1]),
            to_columns,
            traits.deferrable,
            traits.validated,
            on_delete,
            temporal,
        )
        self._references.append(_Reference(key, names, at.start if at else 0))

    def _check(self, reader: Reader, name: str) -> None:
        start = reader.position
        expression = reader.expression()
        inside = reader.between(start, reader.position)
        named = [token.value for token in inside.tokens if token.kind in ("word", "name")]
        traits = read_traits(reader)
        self._checks.append((Check(name, expression, traits.validated), named))

    def _not_null(self, reader: Reader) -> None:
        column = self._table.column(reader.name())
        if column is None:
            reader.position -= 1
            reader.refuse("a column of the table")
        valid = read_traits(reader).validated
        if not column.required:
            column.required, column.required_valid = True, valid

    def _exclusion(self, reader: Reader, name: str) -> None:
        method = reader.name() if reader.accept("using") else "gist"
        columns, called = index_columns(reader)
        included = reader.name_list() if reader.accept("include") else []
        read_traits(reader)
        predicate = ""
        if reader.accept("where"):
            predicate = reader.expression()
        traits = read_traits(reader)
        key = DraftIndex(name, columns, False, method, predicate, "x", traits.deferrable)
        key.included, key.called = tuple(included), called
        self._keys.append(key)

    # LIKE

    def _like(self, reader: Reader) -> None:
        """Copy the columns of another table, and what INCLUDING names."""
        source = find_table(reader, self._database)
        wanted = _like_options(reader)
        for column in source.columns:
            copy = replace(column, identity=False, generated=None, default=None, comment="")
            if "generated" in wanted:
                copy.generated = column.generated
            if "defaults" in wanted:
                copy.default = column.default
            if "comments" in wanted:
                copy.comment = column.comment
            if "identity" in wanted and column.identity:
                copy.identity = True
                self._database.add_sequence(self._table, column.name)
            self.add_column(copy)
        if "constraints" in wanted:
            self._table.checks += source.checks
        if "indexes" in wanted:
            self._copies += source.indexes

    # The keys, when all is read

    def finish_indexes(self, *, only: bool = False) -> None:
        """Put checks and keys on the table: the primary key first, none twice."""
        for check, named in self._checks:
            columns = [name for name in named if self._table.column(name)]
            for member in self._database.family(self._table, only=only):
                check = self._database.add_check(member, check, columns)
        kept: list[DraftIndex] = []
        for key in sorted(self._keys, key=lambda key: key.role != "p"):
            prior = next((k for k in kept if k.role in ("p", "u") and k.same_as(key)), None)
            if prior is None:
                kept.append(key)
            else:
                prior.name = prior.name or key.name
        for key in kept:
            self._demand_columns(key)
            self._database.add_index(self._table, key, only=only)
        for index in self._copies:
            copy = replace(index, name="", columns=list(index.columns))
            self._database.add_index(self._table, copy)

    def _demand_columns(self, key: DraftIndex) -> None:
        missing = [name for name in key.columns if name and self._table.column(name) is None]
        if missing:
            self._script.refuse(
                self._start,
                f"a key of {self._table.table_name} names {missing[0]}, which is no column of it",
                "",
                "mend the file",
            )

    def finish_references(self) -> None:
        """Put the foreign keys on the table."""
        for reference in self._references:
            key, target = reference.key, self._database.find(reference.names)
            if isinstance(target, DraftTable):
                key.target = target
                if not key.to_columns:
                    primary = target.primary_key
                    key.to_columns = list(primary.columns) if primary else []
            else:
                key.target = self._unknown(reference.names)
            if len(key.to_columns) != len(key.columns):
                known = isinstance(target, DraftTable)
                self._script.refuse(
                    reference.at,
                    f"the foreign key points at {key.target.name}, which "
                    + ("has no such key" if known else "nothing before this line makes"),
                    "",
                    "name the columns that it points at, or add the table to the file",
                )
            self._database.add_foreign_key(self._table, key)

    def _unknown(self, names: Sequence[str]) -> TableName:
        schema = names[-2] if len(names) > 1 else self._database.creation_schema()
        return TableName(schema or "public", names[-1])


@dataclass(frozen=True)
class Traits:
    """What can follow every constraint."""

    deferrable: bool = False
    validated: bool = True


def read_traits(reader: Reader) -> Traits:
    """Pass DEFERRABLE, NOT VALID, NO INHERIT and storage, in any order."""
    deferrable, validated = False, True
    while not reader.done:
        if reader.accept("not", "deferrable") or reader.accept("initially", "immediate"):
            pass
        elif reader.accept("deferrable") or reader.accept("initially", "deferred"):
            deferrable = True
        elif reader.accept("not", "valid") or reader.accept("not", "enforced"):
            validated = False
        elif reader.accept("no", "inherit") or reader.accept("enforced"):
            pass
        elif reader.accept("using", "index", "tablespace"):
            reader.name()
        elif reader.at("with", "("):
            reader.advance()
            reader.group()
        else:
            break
    return Traits(deferrable, validated)


def _nulls_equal(reader: Reader) -> bool:
    if reader.accept("nulls", "not", "distinct"):
        return True
    reader.accept("nulls", "distinct")
    return False


def _actions(reader: Reader) -> str:
    """Pass ON DELETE and ON UPDATE; returns what ON DELETE does."""
    on_delete = "no action"
    while reader.accept("on"):
        event = reader.name()
        action = next((words for words in _ON_DELETE if reader.accept(*words)), None)
        if action is None:
            reader.refuse("an action")
        if reader.at("("):
            reader.group()
        if event == "delete":
            on_delete = " ".join(action)
    return on_delete


def _like_options(reader: Reader) -> set[str]:
    everything = {"comments", "constraints", "defaults", "generated", "identity", "indexes"}
    wanted: set[str] = set()
    while verb := reader.accept_any({"including", "excluding"}):
        option = reader.name()
        options = everything if option == "all" else {option}
        wanted = wanted | options if verb == "including" else wanted - options
    reader.expect_end()
    return wanted


def stored_default(reader: Reader, column: DraftColumn) -> str | None:
    """Pass the expression of a DEFAULT; the server stores no NULL, unless its length is cut."""
    text = default_text(reader)
    return None if text.upper() == "NULL" and not column.type.modifier else text


def default_text(reader: Reader) -> str:
    """Pass the expression of a DEFAULT; returns its source."""
    start = reader.position
    cases = 0
    while not reader.done:
        word = reader.word()
        if not cases and word in _CLAUSES and not _goes_on(reader, start):
            break
        cases += (word == "case") - (word == "end" and cases > 0)
        reader.skip()
    if reader.position == start:
        reader.refuse("an expression")
    gap = reader.script.text[reader.tokens[start - 1].end : reader.tokens[start].start].strip(" ")
    return (gap if gap.isspace() else "") + reader.text(start, reader.position)


def _goes_on(reader: Reader, start: int) -> bool:
    """Whether NULL or NOT is part of the expression: it begins there, or an operator is before."""
    if reader.position == start:
        return True
    before = reader.tokens[reader.position - 1]
    if before.kind == "operator":
        return before.value not in (")", "]")
    return before.kind == "word" and before.value in ("is", "not", "distinct")


def index_columns(reader: Reader) -> tuple[list[str], tuple[str, ...]]:
    """Pass the elements of an index: columns (empty: expressions), and names of those."""
    columns, called = [], []
    for item in reader.group().items():
        column = "" if item.at("(") else item.name()
        if column and not (item.at("(") or item.at(".")):
            columns.append(column)
            continue
        while item.accept("."):
            column = item.name()
        columns.append("")
        called.append(column or "expr")
    return columns, tuple(called)


def find_table(reader: Reader, database: Database) -> DraftTable:
    """Pass the name of a table that exists."""
    start = reader.position
    found = database.find(reader.names())
    if isinstance(found, DraftTable):
        return found
    reader.script.refuse(
        reader.tokens[start].start,
        f"the table {reader.text(start, reader.position)} is not known",
        "nothing before this line makes it",
        "add its CREATE TABLE to the file, before this line",
    )


def read_columns(reader: Reader, database: Database) -> list[DraftColumn]:
    """The fields of a composite type."""
    made = []
    for item in reader.items():
        name = item.name()
        kind = read_type(item, database)
        column = DraftColumn(name, kind, collation=kind.collation)
        if item.accept("collate"):
            column.collation = database.find_collation(item.names())
        item.expect_end()
        made.append(column)
    return made
