"""The catalog of a relational source, as immutable values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

TypeKind = Literal["base", "domain", "enum", "array", "composite", "range", "multirange", "pseudo"]
TableKind = Literal["table", "partitioned", "view", "materialized view", "foreign table", "query"]


class TableName(NamedTuple):
    """A table's schema and name, unquoted."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{_dotted(self.schema)}.{_dotted(self.name)}"

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read `schema.table`, either part in double quotes where it holds a dot or a quote.

        Raises ValueError when the text is not two parts.
        """
        parts, rest = [], text
        while rest:
            part, rest = _read_part(rest)
            parts.append(part)
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{text!r} is not schema.table")
        return cls(*parts)


def _dotted(name: str) -> str:
    plain = name and not any(c in name for c in '."') and name == name.strip()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _read_part(text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        part, _, rest = text.partition(".")
        return part, rest
    part, position = "", 1
    while position < len(text):
        if text[position] != '"':
            part += text[position]
        elif text[position + 1 : position + 2] == '"':
            part += '"'
            position += 1
        else:
            break
        position += 1
    else:
        raise ValueError(f"{text!r} has an open quote")
    rest = text[position + 1 :]
    if rest and not rest.startswith("."):
        raise ValueError(f"{text!r} is not schema.table")
    return part, rest[1:]


@dataclass(frozen=True, slots=True)
class DataType:
    """A column's type.

    `declared` is the server's own spelling with modifiers (`numeric(10,2)`); `name` the type's
    plain name (`numeric`); `base` what a domain, an array or a range is made of, else None;
    `labels` the values of an enum; `precision` and `scale` are those of a numeric, else None;
    `fields` the names and types of a composite's fields; `extension` names the extension that the
    type belongs to, empty where it belongs to none; `checks` are the conditions of a domain.
    """

    declared: str
    name: str
    kind: TypeKind = "base"
    base: DataType | None = None
    labels: tuple[str, ...] = ()
    precision: int | None = None
    scale: int | None = None
    fields: tuple[tuple[str, DataType], ...] = ()
    extension: str = ""
    checks: tuple[Check, ...] = ()

    def resolved(self) -> DataType:
        """The type under all domains."""
        return self.base.resolved() if self.kind == "domain" and self.base else self


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    `generated` is the expression of a generated column, else None; `collation` the quoted name of
    the collation, empty where it has none; `deterministic` whether equal texts are the same text;
    `readable` whether the connected role may SELECT it.
    """

    name: str
    type: DataType
    nullable: bool = True
    identity: bool = False
    generated: str | None = None
    default: str | None = None
    comment: str = ""
    collation: str = ""
    deterministic: bool = True
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Key:
    """A primary or unique key, its columns in key order."""

    name: str
    columns: tuple[str, ...]
    deferrable: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A check constraint; `expression` is the server's own spelling."""

    name: str
    expression: str
    validated: bool = True


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `columns` are those it is led by (empty strings stand for expressions).

    `predicate` is the condition of a partial index, else empty; `valid` is false where building it
    failed, so that it promises nothing.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    method: str = "btree"
    predicate: str = ""
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of a person's (not of a constraint); `definition` is its CREATE TRIGGER."""

    name: str
    definition: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference: `columns[i]` holds a value of `to_columns[i]` of `to_table`.

    `obstacle` says why it cannot be followed as a relationship, empty when it can.
    """

    name: str
    columns: tuple[str, ...]
    to_table: TableName
    to_columns: tuple[str, ...]
    deferrable: bool = False
    validated: bool = True
    on_delete: str = "no action"
    obstacle: str = ""


@dataclass(frozen=True)
class Table:
    """A table, a view, a query of the mapping, or the root of a partitioned table.

    `estimated_rows` is the planner's estimate, None where the table was never analyzed;
    `bytes` is the size on disk with TOAST, without indexes; `leaves` are the partitions that
    hold rows (empty for a plain table); `readable` says whether the connected role may SELECT all
    of it (where it may read some columns only, these say so); `row_security` whether row security
    would hide rows from it. `inherits` are the tables whose columns it inherits; `policies` those
    of row security, as in CREATE POLICY from the name on; `privileges` what the connected role may
    do with the whole table (`SELECT`, `INSERT`, …); `definition` the SELECT of a view or query.
    """

    name: TableName
    kind: TableKind = "table"
    columns: tuple[Column, ...] = ()
    primary_key: Key | None = None
    unique_keys: tuple[Key, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    comment: str = ""
    estimated_rows: int | None = None
    bytes: int = 0
    leaves: tuple[TableName, ...] = ()
    readable: bool = True
    row_security: bool = False
    inherits: tuple[TableName, ...] = ()
    checks: tuple[Check, ...] = ()
    indexes: tuple[Index, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    policies: tuple[str, ...] = ()
    privileges: tuple[str, ...] = ()
    owner: str = ""
    definition: str = ""

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return self._by_name.get(name)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The primary key, if there is one, and the unique keys."""
        return (*((self.primary_key,) if self.primary_key else ()), *self.unique_keys)

    @property
    def column_names(self) -> tuple[str, ...]:
        """All columns, in the table's order."""
        return tuple(column.name for column in self.columns)

    @property
    def has_storage(self) -> bool:
        """Whether rows can be read by block (ctid)."""
        return self.kind in ("table", "partitioned", "materialized view")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the server said of itself at introspection."""

    version: str = ""
    version_number: int = 0
    database: str = ""
    role: str = ""
    host: str = ""
    encoding: str = "UTF8"
    read_only_replica: bool = False
    superuser: bool = False
    database_oid: int = 0


@dataclass(frozen=True)
class Catalog:
    """All tables that were read, in order of schema and name."""

    server: ServerFacts = field(default_factory=ServerFacts)
    tables: tuple[Table, ...] = ()

    @cached_property
    def _by_name(self) -> dict[TableName, Table]:
        return {table.name: table for table in self.tables}

    def table(self, name: TableName) -> Table | None:
        """The table of that name, or None."""
        return self._by_name.get(name)

    def with_tables(self, tables: Iterable[Table]) -> Catalog:
        """The catalog with more tables at its end; one of the same name takes the other's place."""
        added = {table.name: table for table in tables}
        kept = tuple(table for table in self.tables if table.name not in added)
        return replace(self, tables=(*kept, *added.values()))

    @cached_property
    def children(self) -> dict[TableName, tuple[TableName, ...]]:
        """The tables that inherit from a table, directly."""
        found: dict[TableName, list[TableName]] = {}
        for table in self.tables:
            for parent in table.inherits:
                found.setdefault(parent, []).append(table.name)
        return {parent: tuple(some) for parent, some in found.items()}

    @property
    def schemas(self) -> tuple[str, ...]:
        """The names of the schemas, sorted."""
        return tuple(sorted({table.name.schema for table in self.tables}))
