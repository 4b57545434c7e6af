"""A database's tables while the statements of a DDL file build them, and the catalog at the end.

Names that a file leaves out are given as the server gives them, so that keys sort the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from geode_tui.catalog import (
    Catalog,
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    ServerFacts,
    Table,
    TableName,
    Trigger,
)
from geode_tui.catalog.model import TableKind
from geode_tui.mapping.mend import identifier
from geode_tui.source.ddl_scan import NAME_BYTES, clip
from geode_tui.source.ddl_types import (
    EXTENSION_OF_TYPE,
    SYSTEM,
    TypeDefinition,
    TypeReference,
    extension_type,
    system_types,
)

TEMPORARY = "pg_temp"


@dataclass
class DraftColumn:
    """A column; `required_valid` is false for NOT NULL that was never validated."""

    name: str
    type: TypeReference
    required: bool = False
    required_valid: bool = True
    identity: bool = False
    generated: str | None = None
    default: str | None = None
    comment: str = ""
    collation: str = ""


@dataclass(eq=False)
class DraftIndex:
    """An index; `role` is p, u or x where it is a primary key, a unique one or an exclusion.

    An expression is an empty string in `columns`; `called` are the names the server calls them by.
    """

    name: str
    columns: list[str]
    unique: bool = False
    method: str = "btree"
    predicate: str = ""
    role: str = ""
    deferrable: bool = False
    included: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    nulls_equal: bool = False
    table: DraftTable | None = None

    def same_as(self, other: DraftIndex) -> bool:
        """Whether one of the two is enough."""
        mine = (self.columns, self.unique, self.method, self.predicate, self.deferrable)
        theirs = (other.columns, other.unique, other.method, other.predicate, other.deferrable)
        return mine == theirs and self.nulls_equal == other.nulls_equal


@dataclass(eq=False)
class DraftForeignKey:
    """A foreign key to a table of the file, or to a name that the file does not define."""

    name: str
    columns: list[str]
    target: DraftTable | TableName
    to_columns: list[str]
    deferrable: bool = False
    validated: bool = True
    on_delete: str = "no action"
    temporal: bool = False


@dataclass(eq=False)
class DraftTable:
    """A table, view or partition, as the statements so far made it.

    `below` are its partitions and the tables that inherit from it.
    """

    schema: str
    name: str
    kind: TableKind = "table"
    columns: list[DraftColumn] = field(default_factory=list)
    indexes: list[DraftIndex] = field(default_factory=list)
    foreign_keys: list[DraftForeignKey] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)
    inherits: list[DraftTable] = field(default_factory=list)
    partition_of: DraftTable | None = None
    below: list[DraftTable] = field(default_factory=list)
    comment: str = ""
    row_security: bool = False
    definition: str = ""
    row_type: TypeDefinition = field(init=False)

    def __post_init__(self) -> None:
        self.row_type = TypeDefinition(self.schema, self.name, "composite", columns=self.columns)

    @property
    def table_name(self) -> TableName:
        """Schema and name."""
        return TableName(self.schema, self.name)

    @property
    def primary_key(self) -> DraftIndex | None:
        """The primary key."""
        return next((index for index in self.indexes if index.role == "p"), None)

    def column(self, name: str) -> DraftColumn | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def rename(self, schema: str, name: str) -> None:
        """Give the table and its row type another name."""
        self.schema = self.row_type.schema = schema
        self.name = self.row_type.name = name


@dataclass(eq=False)
class DraftSequence:
    """A sequence; only its name matters, which no other relation can have."""

    schema: str
    name: str


Relation = DraftTable | DraftIndex | DraftSequence | TypeDefinition


class Database:
    """Every object that the statements made, by schema and name."""

    def __init__(self) -> None:
        self.schemas = {"public", TEMPORARY}
        self.search_path = ["public"]
        self.relations: dict[tuple[str, str], Relation] = {}
        self.types: dict[tuple[str, str], TypeDefinition] = {
            (SYSTEM, name): made for name, made in system_types().items()
        }
        self.collations: dict[tuple[str, str], str] = {}
        self.nondeterministic: set[str] = set()
        self.constraints: set[tuple[str, str]] = set()
        self.extensions: dict[str, str] = {}

    @property
    def tables(self) -> list[DraftTable]:
        """All tables, views and partitions."""
        return [
            relation for relation in self.relations.values() if isinstance(relation, DraftTable)
        ]

    # Names

    def creation_schema(self) -> str | None:
        """Where an unqualified name is made: the first schema of the search path that exists."""
        return next((schema for schema in self.search_path if schema in self.schemas), None)

    def find(self, names: Sequence[str]) -> Relation | None:
        """The relation of a name that may or may not say its schema."""
        return self._found(names, self.relations)

    def find_type(self, names: Sequence[str]) -> TypeDefinition | None:
        """The type of a name; a table's name is the type of its rows."""
        found = self._found(names, self.types, SYSTEM)
        if found is not None:
            return found
        relation = self.find(names)
        if isinstance(relation, DraftTable):
            return relation.row_type
        return self._extension_type(names)

    def _found[T](
        self, names: Sequence[str], among: dict[tuple[str, str], T], *first: str
    ) -> T | None:
        if len(names) > 1:
            return among.get((names[-2], names[-1]))
        for schema in (*first, TEMPORARY, *self.search_path):
            if (found := among.get((schema, names[0]))) is not None:
                return found
        return None

    def _extension_type(self, names: Sequence[str]) -> TypeDefinition | None:
        """A type that nothing in the file makes, but a well-known extension does."""
        extension = EXTENSION_OF_TYPE.get(names[-1])
        if extension is None or extension in self.extensions:
            return None
        schema = names[-2] if len(names) > 1 else self.creation_schema() or "public"
        made = extension_type(schema, names[-1], extension)
        self.types[schema, names[-1]] = made
        return made

    def find_collation(self, names: Sequence[str]) -> str:
        """The quoted name of a collation; one that the file does not make is the system's."""
        if found := self._found(names, self.collations):
            return found
        schema = names[-2] if len(names) > 1 else SYSTEM
        return f"{identifier(schema)}.{identifier(names[-1])}"

    def relation_name(self, schema: str, first: str, second: str, label: str, *, key: bool) -> str:
        """A name for an index, key or sequence that has none, as the server chooses it."""

        def taken(name: str) -> bool:
            return (schema, name) in self.relations or (key and (schema, name) in self.constraints)

        return _unused(first, second, label, taken)

    def constraint_name(self, schema: str, first: str, second: str, label: str) -> str:
        """A name for a check or foreign key that has none, as the server chooses it."""
        return _unused(first, second, label, lambda name: (schema, name) in self.constraints)

    # Tables and what is in them

    def add_relation(self, relation: DraftSequence | DraftTable | TypeDefinition) -> None:
        """Make a table, sequence or composite type known."""
        self.relations[relation.schema, relation.name] = relation

    def add_index(self, table: DraftTable, index: DraftIndex, *, only: bool = False) -> None:
        """Put an index or key on a table and, unless `only`, on its partitions."""
        if not index.name:
            index.name = self._index_name(table, index)
        index.table = table
        table.indexes.append(index)
        self.relations[table.schema, index.name] = index
        if index.role:
            self.constraints.add((table.schema, index.name))
        if index.role == "p":
            self.require(table, index.columns, only=only)
        if not only:
            for child in table.below:
                if child.partition_of is table:
                    self.copy_index(index, child)

    def copy_index(self, index: DraftIndex, table: DraftTable) -> None:
        """Put an index like this one on another table, unless it has such a one."""
        enough = (own for own in table.indexes if not index.role or own.role == index.role)
        if not any(own.same_as(index) for own in enough):
            self.add_index(table, replace(index, name="", columns=list(index.columns)))

    def _index_name(self, table: DraftTable, index: DraftIndex) -> str:
        label = {"p": "pkey", "u": "key", "x": "excl"}.get(index.role, "idx")
        called = iter(index.called)
        names = [column or next(called, "expr") for column in (*index.columns, *index.included)]
        addition = "" if index.role == "p" else joined(_distinct(names))
        return self.relation_name(table.schema, table.name, addition, label, key=bool(index.role))

    def add_foreign_key(self, table: DraftTable, key: DraftForeignKey) -> None:
        """Put a foreign key on a table."""
        if not key.name:
            addition = joined(key.columns)
            key.name = self.constraint_name(table.schema, table.name, addition, "fkey")
        self.constraints.add((table.schema, key.name))
        table.foreign_keys.append(key)

    def add_check(self, table: DraftTable, check: Check, columns: Iterable[str]) -> Check:
        """Put a check on a table and return it, named; `columns` are those it looks at."""
        if not check.name:
            looked_at = list(dict.fromkeys(columns))
            second = looked_at[0] if len(looked_at) == 1 else ""
            name = self.constraint_name(table.schema, table.name, second, "check")
            check = replace(check, name=name)
        self.constraints.add((table.schema, check.name))
        table.checks.append(check)
        return check

    def add_sequence(self, table: DraftTable, column: str) -> str:
        """The sequence of a serial or identity column, by its quoted name."""
        name = self.relation_name(table.schema, table.name, column, "seq", key=False)
        self.add_relation(DraftSequence(table.schema, name))
        return name

    def require(self, table: DraftTable, columns: Iterable[str], *, only: bool = False) -> None:
        """Make columns NOT NULL, here and in the tables below unless `only`."""
        for member in self.family(table, only=only):
            for name in columns:
                if column := member.column(name):
                    column.required = column.required_valid = True

    def attach(self, table: DraftTable, parent: DraftTable) -> None:
        """Make a table a partition, with the indexes that its parent wants."""
        table.partition_of = parent
        parent.below.append(table)
        for index in parent.indexes:
            self.copy_index(index, table)
        for key in parent.foreign_keys:
            self.constraints.add((table.schema, key.name))

    def inherit(self, table: DraftTable, parent: DraftTable) -> None:
        """Make a table inherit from another."""
        table.inherits.append(parent)
        parent.below.append(table)

    def detach(self, table: DraftTable, parent: DraftTable) -> None:
        """Part a table from the one that it is a partition of, or inherits from."""
        parent.below.remove(table)
        if table.partition_of is parent:
            table.partition_of = None
        else:
            table.inherits.remove(parent)

    def family(self, table: DraftTable, *, only: bool = False) -> Iterator[DraftTable]:
        """The table and, unless `only`, all that are below it."""
        yield table
        if not only:
            for child in table.below:
                yield from self.family(child)

    # What goes

    def drop(self, relation: Relation) -> None:
        """Forget a table, index, sequence or composite type, and what is part of it."""
        match relation:
            case DraftTable():
                for child in list(relation.below):
                    self.drop(child)
                for parent in (*relation.inherits, relation.partition_of):
                    if parent is not None:
                        parent.below.remove(relation)
                for index in list(relation.indexes):
                    self.drop(index)
                self._forget_references(relation)
                self.relations.pop((relation.schema, relation.name), None)
                self._forget_constraints(relation)
            case DraftIndex(table=DraftTable() as table):
                table.indexes.remove(relation)
                self.relations.pop((table.schema, relation.name), None)
                self.constraints.discard((table.schema, relation.name))
            case DraftSequence() | TypeDefinition():
                self.relations.pop((relation.schema, relation.name), None)

    def _forget_references(self, target: DraftTable) -> None:
        for table in self.tables:
            table.foreign_keys = [key for key in table.foreign_keys if key.target is not target]

    def _forget_constraints(self, table: DraftTable) -> None:
        names = [key.name for key in table.foreign_keys] + [check.name for check in table.checks]
        self.constraints.difference_update((table.schema, name) for name in names)

    def drop_type(self, definition: TypeDefinition, *, cascade: bool) -> None:
        """Forget a type and, where `cascade`, the columns of it."""
        self.types.pop((definition.schema, definition.name), None)
        if self.relations.get((definition.schema, definition.name)) is definition:
            self.drop(definition)
        if cascade:
            for table in self.tables:
                for column in list(table.columns):
                    if column.type.definition is definition:
                        self.drop_column(table, column.name)

    def drop_column(self, table: DraftTable, name: str) -> None:
        """Forget a column, with every key, index, check and foreign key that it is part of."""
        table.columns[:] = [column for column in table.columns if column.name != name]
        for index in list(table.indexes):
            if name in (*index.columns, *index.included):
                self.drop(index)
        table.foreign_keys = [key for key in table.foreign_keys if name not in key.columns]
        for other in self.tables:
            other.foreign_keys = [
                key
                for key in other.foreign_keys
                if not (key.target is table and name in key.to_columns)
            ]

    def drop_constraint(self, table: DraftTable, name: str) -> bool:
        """Forget a constraint; returns whether there was one of that name."""
        for index in table.indexes:
            if index.role and index.name == name:
                self.drop(index)
                return True
        kept = [key for key in table.foreign_keys if key.name != name]
        checks = [check for check in table.checks if check.name != name]
        found = len(kept) + len(checks) < len(table.foreign_keys) + len(table.checks)
        table.foreign_keys, table.checks = kept, checks
        if found:
            self.constraints.discard((table.schema, name))
        return found

    # What moves

    def rename(self, relation: Relation, schema: str, name: str) -> None:
        """Give a relation another name, or another schema with the indexes it has."""
        if isinstance(relation, DraftIndex):
            self._rename_index(relation, name)
            return
        self.relations.pop((relation.schema, relation.name), None)
        if isinstance(relation, DraftTable):
            for index in relation.indexes:
                self.relations.pop((relation.schema, index.name), None)
                self.relations[schema, index.name] = index
            relation.rename(schema, name)
        else:
            relation.schema, relation.name = schema, name
        self.relations[schema, name] = relation

    def _rename_index(self, index: DraftIndex, name: str) -> None:
        assert index.table is not None
        schema = index.table.schema
        self.relations.pop((schema, index.name), None)
        if index.role:
            self.constraints.discard((schema, index.name))
            self.constraints.add((schema, name))
        index.name = name
        self.relations[schema, name] = index

    def rename_column(self, table: DraftTable, old: str, new: str) -> None:
        """Give a column another name, wherever it is named."""

        def renamed(names: list[str]) -> list[str]:
            return [new if name == old else name for name in names]

        if column := table.column(old):
            column.name = new
        for index in table.indexes:
            index.columns = renamed(index.columns)
            index.included = tuple(renamed(list(index.included)))
        for key in table.foreign_keys:
            key.columns = renamed(key.columns)
        for other in self.tables:
            for key in other.foreign_keys:
                if key.target is table:
                    key.to_columns = renamed(key.to_columns)

    # The end

    def catalog(self, database: str, schemas: Sequence[str]) -> Catalog:
        """The catalog of what there is, as introspection would order it."""
        wanted = [
            self._table(table)
            for table in self.tables
            if table.partition_of is None
            and table.schema != TEMPORARY
            and (not schemas or table.schema in schemas)
        ]
        wanted.sort(key=lambda table: table.name)
        return Catalog(ServerFacts(database=database), tuple(wanted))

    def _table(self, draft: DraftTable) -> Table:
        primary = draft.primary_key
        by_name = sorted(draft.indexes, key=lambda index: index.name)
        return Table(
            draft.table_name,
            draft.kind,
            tuple(self._column(column) for column in draft.columns),
            _key(primary) if primary else None,
            (
                *(_key(index) for index in by_name if index.role == "u"),
                *(_key(index) for index in by_name if _identifies(index)),
            ),
            tuple(_foreign_key(k) for k in sorted(draft.foreign_keys, key=lambda k: k.name)),
            draft.comment,
            leaves=tuple(leaf.table_name for leaf in self._leaves(draft)),
            row_security=draft.row_security,
            inherits=tuple(parent.table_name for parent in draft.inherits),
            checks=tuple(sorted(draft.checks, key=lambda check: check.name)),
            indexes=tuple(_index(index) for index in by_name),
            triggers=tuple(sorted(draft.triggers, key=lambda trigger: trigger.name)),
            policies=tuple(text for _, text in sorted(draft.policies.items())),
            definition=draft.definition,
        )

    def _leaves(self, draft: DraftTable) -> Iterator[DraftTable]:
        if draft.kind != "partitioned":
            return
        for part in sorted(draft.below, key=lambda table: table.table_name):
            if part.kind == "partitioned":
                yield from self._leaves(part)
            else:
                yield part

    def _column(self, draft: DraftColumn) -> Column:
        definition = draft.type.definition
        domain_required = (
            definition.kind == "domain" and definition.required and not draft.type.array
        )
        return Column(
            draft.name,
            draft.type.data_type(),
            not ((draft.required and draft.required_valid) or domain_required),
            draft.identity,
            draft.generated,
            draft.default,
            draft.comment,
            draft.collation,
            draft.collation not in self.nondeterministic,
        )


def joined(names: Iterable[str]) -> str:
    """The names with underscores between, no longer than the server goes on."""
    made = ""
    for name in names:
        made += ("_" if made else "") + name
        if len(made.encode()) > NAME_BYTES:
            break
    return made


def _distinct(names: Iterable[str]) -> list[str]:
    """The names as columns of an index: one that comes again gets a number."""
    made: list[str] = []
    for name in names:
        attempt, number = name, 0
        while attempt in made:
            number += 1
            attempt = f"{clip(name, NAME_BYTES - len(str(number)))}{number}"
        made.append(attempt)
    return made


def _unused(first: str, second: str, label: str, taken: Callable[[str], bool]) -> str:
    attempt, number = _fitted(first, second, label), 0
    while taken(attempt):
        number += 1
        attempt = _fitted(first, second, f"{label}{number}")
    return attempt


def _fitted(first: str, second: str, label: str) -> str:
    """`first_second_label`, the longer of the two names cut until it all fits."""
    long, short = len(first.encode()), len(second.encode())
    room = NAME_BYTES - len(label) - 1 - (1 if second else 0)
    while long + short > room:
        if long > short:
            long -= 1
        else:
            short -= 1
    parts = [clip(first, long)] + ([clip(second, short)] if second else []) + [label]
    return "_".join(parts)


def _identifies(index: DraftIndex) -> bool:
    """Whether an index that is no constraint is a unique key all the same."""
    return index.unique and not index.role and not index.predicate and all(index.columns)


def _key(index: DraftIndex) -> Key:
    return Key(index.name, tuple(index.columns), index.deferrable)


def _index(index: DraftIndex) -> Index:
    return Index(index.name, tuple(index.columns), index.unique, index.method, index.predicate)


def _foreign_key(key: DraftForeignKey) -> ForeignKey:
    target, obstacle = key.target, ""
    if isinstance(target, DraftTable) and target.partition_of is not None:
        obstacle = "it points at one partition, and only whole tables become labels"
    if key.temporal:
        obstacle = "a temporal reference (PERIOD) names no single row"
    return ForeignKey(
        key.name,
        tuple(key.columns),
        target.table_name if isinstance(target, DraftTable) else target,
        tuple(key.to_columns),
        key.deferrable,
        key.validated,
        key.on_delete,
        obstacle,
    )
