"""Read a DDL file (`pg_dump --schema-only`, or written by hand) as the catalog it would make.

Statements are cut and their clauses read by PostgreSQL's own lexical rules: sqlglot spells types
anew and refuses much of what pg_dump writes, so it only reads the SELECTs of views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geode_tui.catalog import Catalog, Check, Trigger
from geode_tui.errors import UsageError
from geode_tui.mapping.mend import identifier
from geode_tui.source.ddl_read import (
    Reader,
    TableReader,
    default_text,
    find_table,
    index_columns,
    read_columns,
    read_traits,
    read_type,
    stored_default,
)
from geode_tui.source.ddl_scan import NAME_BYTES, Script, Statement, clip
from geode_tui.source.ddl_schema import (
    TEMPORARY,
    Database,
    DraftColumn,
    DraftIndex,
    DraftSequence,
    DraftTable,
    Relation,
)
from geode_tui.source.ddl_types import (
    EXTENSION_TYPES,
    TypeDefinition,
    TypeReference,
    extension_type,
)
from geode_tui.source.ddl_views import view_columns

# Statements that make and change no table.
_NO_TABLES = """
abort analyze begin call checkpoint close cluster comment commit copy deallocate declare delete
discard end execute explain fetch grant insert listen load lock move notify prepare reassign
refresh reindex release reset revoke savepoint security show start truncate unlisten update vacuum
values
"""
# Objects that make and change no table, by the word after CREATE, ALTER or DROP.
_NO_TABLE_OBJECTS = """
access aggregate cast constraint conversion database default event function group language large
operator owned policy procedural procedure publication role routine rule server statistics
subscription system tablespace text transform trigger trusted user
"""
_VERBS_SKIPPED = frozenset(_NO_TABLES.split())
_OBJECTS_SKIPPED = frozenset(_NO_TABLE_OBJECTS.split())
_HARMLESS_FUNCTIONS = frozenset({"setval", "set_config", "nextval", "pg_reload_conf"})
_CREATING_WORDS = frozenset({"create", "alter", "drop", "execute", "import"})
_OTHER_DATABASE = frozenset({"c", "connect"})
_INCLUDING = frozenset({"i", "ir", "include", "include_relative"})


@dataclass(frozen=True)
class DdlFile:
    """What a DDL file makes; `skipped` are line and beginning of the statements that nobody knows,
    or that may make tables in a way that a file does not tell (DO, SELECT of a function)."""

    catalog: Catalog
    skipped: tuple[tuple[int, str], ...] = ()


def is_ddl_file(source: str) -> bool:
    """Whether a source is a path to a DDL file, not a DSN."""
    return source.lower().endswith(".sql") and "://" not in source


def read_ddl(path: Path, schemas: Sequence[str] = ()) -> DdlFile:
    """Read a DDL file; raises UsageError where it cannot be read or understood."""
    return parse_ddl(_text(path), str(path), schemas)


def parse_ddl(text: str, name: str, schemas: Sequence[str] = ()) -> DdlFile:
    """The catalog that a script makes; `name` stands in errors, its stem is the database.

    Raises UsageError with the line of a statement about tables that cannot be understood.
    """
    run = _Run(Script(text.removeprefix("\ufeff"), name))
    for statement in run.script.statements():
        run.statement(statement)
    return DdlFile(run.database.catalog(Path(name).stem, schemas), tuple(run.skipped))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", error.strerror or "", "check the path and its rights"
        ) from None
    for magic, kind, mend in _BINARY:
        if raw.startswith(magic):
            raise UsageError(f"{path} is {kind}, not SQL text", "", mend)
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return raw.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{path}, line {line}: the text is not UTF-8",
            "names and comments could be misread",
            "write the file anew: pg_dump --schema-only --encoding=UTF8",
        ) from None


_BINARY = (
    (
        b"PGDMP",
        "a pg_dump archive",
        "turn it into SQL: pg_restore --schema-only -f schema.sql FILE",
    ),
    (b"\x1f\x8b", "compressed", "unpack it with gunzip first"),
    (b"\x28\xb5\x2f\xfd", "compressed", "unpack it with unzstd first"),
)


class _Run:
    """Runs the statements of one file."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.database = Database()
        self.skipped: list[tuple[int, str]] = []

    def statement(self, statement: Statement) -> None:
        """Run one statement, or skip it."""
        reader = Reader(self.script, statement.tokens)
        if statement.tokens[0].kind == "command":
            self._command(reader)
            return
        verb = reader.word()
        match verb:
            case "create":
                self._create(reader)
            case "alter":
                self._alter(reader)
            case "drop":
                self._drop(reader)
            case "comment":
                self._comment(reader)
            case "set":
                self._set(reader)
            case "reset" | "discard" if reader.word(1) in ("search_path", "all"):
                self.database.search_path = ["public"]
            case "select" | "with" | "table":
                self._select(reader)
            case "do":
                self._do(reader)
            case _ if verb not in _VERBS_SKIPPED:
                self._skip(reader)

    def _skip(self, reader: Reader) -> None:
        text = " ".join(reader.text().split())
        line = self.script.line(reader.tokens[0].start)
        self.skipped.append((line, text if len(text) <= 80 else text[:79] + "…"))

    def _command(self, reader: Reader) -> None:
        """A command of psql's; only those count that lead elsewhere."""
        token = reader.tokens[0]
        verb, _, argument = token.value.partition(" ")
        if verb in _INCLUDING:
            self.script.refuse(
                token.start,
                f"the file includes another one ({argument.strip()})",
                "only one file is read, and the other may make tables",
                "put both into one file, or read the database itself",
            )
        if verb in _OTHER_DATABASE:
            if self.database.tables:
                self.script.refuse(
                    token.start,
                    "the file goes on with another database here",
                    "a catalog is that of one database",
                    "dump one database: pg_dump --schema-only",
                )
            self.database = Database()

    # Settings

    def _set(self, reader: Reader) -> None:
        reader.advance()
        reader.accept_any({"session", "local"})
        if reader.accept("schema"):
            self._search_path([reader.string()])
        elif reader.accept("search_path"):
            if not reader.accept("to"):
                reader.expect("=")
            if reader.at("default"):
                self._search_path(["public"])
            else:
                self._search_path([item.advance().value for item in reader.items()])

    def _search_path(self, schemas: list[str]) -> None:
        self.database.search_path = [s for s in schemas if s and s != "$user"]

    def _select(self, reader: Reader) -> None:
        """Only SELECT set_config('search_path', …) counts; what others do is not known."""
        words = [token.value for token in reader.tokens if token.kind == "word"]
        called = words[1:3]
        if "set_config" in called and len(strings := _strings(reader)) >= 2:
            if strings[0] == "search_path":
                script = Script(strings[1], self.script.name)
                parts = [t.value for s in script.statements() for t in s.tokens if t.value != ","]
                self._search_path(parts)
        elif not _HARMLESS_FUNCTIONS & set(called):
            self._skip(reader)

    def _do(self, reader: Reader) -> None:
        body = " ".join(token.value for token in reader.tokens if token.kind == "string")
        if _CREATING_WORDS & set(body.lower().split()):
            self._skip(reader)

    # CREATE

    def _create(self, reader: Reader) -> None:
        reader.advance()
        reader.accept("or", "replace")
        reader.accept_any({"global", "local"})
        temporary = bool(reader.accept_any({"temp", "temporary"}))
        reader.accept("unlogged")
        if reader.accept("table"):
            self._create_table(reader, temporary)
        elif reader.accept("foreign", "table"):
            self._create_table(reader, temporary, foreign=True)
        elif reader.accept("materialized", "view"):
            self._create_view(reader, temporary, materialized=True)
        elif reader.accept("view") or reader.accept("recursive", "view"):
            self._create_view(reader, temporary)
        elif reader.accept("unique", "index") or reader.accept("index"):
            self._create_index(reader, unique=reader.tokens[1].value == "unique")
        elif reader.accept("sequence"):
            names = self._new_names(reader)
            if names not in self.database.relations:
                self.database.add_relation(DraftSequence(*self._placed(names, temporary)))
        elif reader.accept("trigger") or reader.accept("constraint", "trigger"):
            self._create_trigger(reader)
        elif reader.accept("policy"):
            self._create_policy(reader)
        elif reader.accept("rule"):
            self._create_rule(reader)
        elif create := _CREATES.get(reader.word()):
            reader.advance()
            create(self, reader)
        elif reader.word() not in _OBJECTS_SKIPPED and not reader.at("foreign", "data"):
            self._skip(reader)

    def _new_names(self, reader: Reader) -> tuple[str, str]:
        """Pass `[IF NOT EXISTS] name`; returns schema and name of what is made."""
        reader.accept("if", "not", "exists")
        names = reader.names()
        if len(names) > 1:
            return names[-2], names[-1]
        schema = self.database.creation_schema()
        if schema is None:
            reader.position -= 1
            reader.refuse("a name with its schema (the search path is empty)")
        return schema, names[0]

    @staticmethod
    def _placed(names: tuple[str, str], temporary: bool) -> tuple[str, str]:
        return (TEMPORARY, names[1]) if temporary else names

    def _create_table(self, reader: Reader, temporary: bool, *, foreign: bool = False) -> None:
        names = self._placed(self._new_names(reader), temporary)
        if names in self.database.relations:
            if "exists" in [token.value for token in reader.tokens[:7]]:
                return
            reader.position -= 1
            reader.refuse(f"a new name ({names[1]} exists already)")
        table = DraftTable(*names, "foreign table" if foreign else "table")
        parts = TableReader(reader, self.database, table)
        if reader.accept("partition", "of"):
            self._create_partition(reader, table, parts)
            return
        if reader.accept("of"):
            table.columns += [replace(c) for c in self._composite(reader).columns]
            if reader.at("("):
                parts.typed_elements(reader.group())
        elif _is_query(reader):
            self._create_as(reader, table)
            return
        else:
            inside, after = reader.group(), reader.position
            self._inherit(reader, table)
            parts.elements(inside)
            reader.position = after
        self._options(reader, table)
        self._finish(table, parts)

    def _finish(self, table: DraftTable, parts: TableReader) -> None:
        self.database.add_relation(table)
        parts.finish_indexes()
        parts.finish_references()

    def _composite(self, reader: Reader) -> TypeDefinition:
        found = self.database.find_type(reader.names())
        if found is None or found.kind != "composite":
            reader.position -= 1
            reader.refuse("a composite type")
        return found

    def _inherit(self, reader: Reader, table: DraftTable) -> None:
        """Take the columns of the tables that INHERITS names, before the table's own."""
        if not reader.accept("inherits"):
            return
        for item in reader.group().items():
            parent = find_table(item, self.database)
            self.database.inherit(table, parent)
            for column in parent.columns:
                _merge(table, replace(column, identity=False, comment=""))
            table.checks += [check for check in parent.checks if check not in table.checks]

    def _options(self, reader: Reader, table: DraftTable) -> None:
        """Pass what follows the columns; PARTITION BY makes the table a partitioned one."""
        while not reader.done:
            if reader.accept("partition", "by"):
                table.kind = "partitioned"
                reader.name()
                reader.group()
            elif reader.accept("on", "commit"):
                reader.rest()
            elif reader.accept("inherits") or reader.at("with", "(") or reader.accept("options"):
                reader.accept("with")
                reader.group()
            elif reader.accept_any({"using", "tablespace", "server"}):
                reader.name()
            elif not (reader.accept("without", "oids") or reader.accept("with", "oids")):
                reader.refuse("an option of the table")

    def _create_partition(self, reader: Reader, table: DraftTable, parts: TableReader) -> None:
        parent = find_table(reader, self.database)
        table.columns += [replace(column, comment="") for column in parent.columns]
        if reader.at("("):
            parts.typed_elements(reader.group())
        if reader.accept("for", "values"):
            while reader.word() in ("in", "from", "to", "with"):
                reader.advance()
                reader.group()
        else:
            reader.expect("default")
        self._options(reader, table)
        self.database.add_relation(table)
        self.database.attach(table, parent)
        parts.finish_indexes()
        parts.finish_references()

    def _create_as(self, reader: Reader, table: DraftTable) -> None:
        at = reader.tokens[0].start
        query, names = _query(reader)
        columns = view_columns(query, names, self.database)
        if columns is None:
            self.script.refuse(
                at,
                f"the columns of {table.name} cannot be told from its SELECT",
                "their types follow from expressions that only the server works out",
                "write the table's columns out, or read the database itself",
            )
        table.columns += columns
        self.database.add_relation(table)

    def _create_view(self, reader: Reader, temporary: bool, *, materialized: bool = False) -> None:
        names = self._placed(self._new_names(reader), temporary)
        known = self.database.relations.get(names)
        if isinstance(known, DraftTable) and known.kind != "view":
            return
        query, own = _query(reader)
        columns = view_columns(query, own, self.database) or []
        if isinstance(known, DraftTable):
            known.columns[:], known.definition = columns, query
            return
        kind = "materialized view" if materialized else "view"
        view = DraftTable(*names, kind, columns, definition=query)  # type: ignore[arg-type]
        self.database.add_relation(view)

    def _create_index(self, reader: Reader, *, unique: bool) -> None:
        reader.accept("concurrently")
        new = not reader.accept("if", "not", "exists")
        name = "" if reader.at("on") else reader.name()
        reader.expect("on")
        only = reader.accept("only")
        table = find_table(reader, self.database)
        if not new and (table.schema, name) in self.database.relations:
            return
        method = reader.name() if reader.accept("using") else "btree"
        columns, called = index_columns(reader)
        included = reader.name_list() if reader.accept("include") else []
        nulls_equal = reader.accept("nulls", "not", "distinct")
        predicate = ""
        while not reader.done:
            if reader.accept("where"):
                predicate = reader.rest()
            else:
                reader.skip()
        index = DraftIndex(name, columns, unique, method, predicate)
        index.included, index.called, index.nulls_equal = tuple(included), called, nulls_equal
        self.database.add_index(table, index, only=only)

    def _create_trigger(self, reader: Reader) -> None:
        name = reader.name()
        while not reader.done and not reader.at("on"):
            reader.skip()
        reader.expect("on")
        table = find_table(reader, self.database)
        table.triggers.append(Trigger(name, reader.text()))

    def _create_policy(self, reader: Reader) -> None:
        """A policy in the words of CREATE POLICY, with all that may be left out."""
        name = reader.name()
        reader.expect("on")
        table = find_table(reader, self.database)
        text = identifier(name)
        if reader.accept("as"):
            text += " AS RESTRICTIVE" if reader.name() == "restrictive" else ""
        text += f" FOR {reader.name().upper() if reader.accept('for') else 'ALL'}"
        roles = ["public"]
        if reader.accept("to"):
            roles = [reader.name()]
            while reader.accept(","):
                roles.append(reader.name())
        text += " TO " + ", ".join("PUBLIC" if r == "public" else identifier(r) for r in roles)
        if reader.accept("using"):
            text += f" USING ({reader.expression()})"
        if reader.accept("with", "check"):
            text += f" WITH CHECK ({reader.expression()})"
        table.policies[name] = text

    def _create_rule(self, reader: Reader) -> None:
        """Very old dumps make a view of a table with such a rule."""
        name = reader.name()
        if name == "_RETURN" and reader.accept("as", "on", "select", "to"):
            find_table(reader, self.database).kind = "view"

    def create_schema(self, reader: Reader) -> None:
        """CREATE SCHEMA."""
        reader.accept("if", "not", "exists")
        named = not reader.at("authorization")
        name = reader.name() if named else ""
        if reader.accept("authorization"):
            owner = reader.name()
            name = name or owner
        self.database.schemas.add(name)
        if not reader.done:
            reader.refuse("the end of CREATE SCHEMA (write its tables as statements of their own)")

    def create_extension(self, reader: Reader) -> None:
        """CREATE EXTENSION: its types are known if it is widely used."""
        reader.accept("if", "not", "exists")
        name = reader.name()
        schema = self.database.creation_schema() or "public"
        while not reader.done:
            if reader.accept("schema"):
                schema = reader.name()
            else:
                reader.advance()
        self.database.extensions[name] = schema
        for type_name in EXTENSION_TYPES.get(name, ()):
            made = extension_type(schema, type_name, name)
            self.database.types[schema, type_name] = made

    def create_type(self, reader: Reader) -> None:
        """CREATE TYPE of every kind."""
        schema, name = self._new_names(reader)
        made = TypeDefinition(schema, name)
        if reader.accept("as", "enum"):
            made.kind = "enum"
            made.labels = [item.string() for item in reader.group().items()]
        elif reader.accept("as", "range"):
            self._range(reader, made)
        elif reader.accept("as"):
            made.kind = "composite"
            made.columns = read_columns(reader.group(), self.database)
            self.database.add_relation(made)
        self.database.types[schema, name] = made

    def _range(self, reader: Reader, made: TypeDefinition) -> None:
        made.kind = "range"
        schema, multirange = made.schema, _multirange_name(made.name)
        for item in reader.group().items():
            option = item.name()
            item.expect("=")
            if option == "subtype":
                made.base = read_type(item, self.database)
            elif option == "multirange_type_name":
                names = item.names()
                schema, multirange = (names[-2] if len(names) > 1 else schema), names[-1]
        kind = TypeDefinition(schema, multirange, "multirange", TypeReference(made))
        self.database.types[schema, multirange] = kind

    def create_domain(self, reader: Reader) -> None:
        """CREATE DOMAIN."""
        schema, name = self._new_names(reader)
        reader.accept("as")
        base = read_type(reader, self.database)
        made = TypeDefinition(schema, name, "domain", base, collation=base.collation)
        while not reader.done:
            constraint = reader.name() if reader.accept("constraint") else ""
            if reader.accept("not", "null"):
                made.required = True
            elif reader.accept("collate"):
                made.collation = self.database.find_collation(reader.names())
            elif reader.accept("default"):
                default_text(reader)
            elif reader.accept("check"):
                self._domain_check(reader, made, constraint)
            else:
                reader.expect("null")
        self.database.types[schema, name] = made

    def _domain_check(self, reader: Reader, made: TypeDefinition, name: str) -> None:
        database = self.database
        expression = reader.expression()
        name = name or database.constraint_name(made.schema, made.name, "", "check")
        database.constraints.add((made.schema, name))
        made.checks.append(Check(name, expression, read_traits(reader).validated))

    def create_collation(self, reader: Reader) -> None:
        """CREATE COLLATION; only whether it is deterministic matters."""
        schema, name = self._new_names(reader)
        quoted = f"{identifier(schema)}.{identifier(name)}"
        self.database.collations[schema, name] = quoted
        if reader.accept("from"):
            if self.database.find_collation(reader.names()) in self.database.nondeterministic:
                self.database.nondeterministic.add(quoted)
            return
        for item in reader.group().items():
            option = item.name()
            item.expect("=")
            if option == "deterministic" and item.advance().value.lower() in ("false", "off", "0"):
                self.database.nondeterministic.add(quoted)

    # ALTER

    def _alter(self, reader: Reader) -> None:
        reader.advance()
        if reader.accept("table", "all"):
            return
        reader.accept_any({"materialized", "foreign"})
        if reader.accept_any({"table", "view"}):
            self._alter_table(reader)
        elif reader.accept("index") or reader.accept("sequence"):
            self._alter_relation(reader)
        elif reader.accept("type") or reader.accept("domain"):
            self._alter_type(reader)
        elif reader.accept("schema"):
            self._alter_schema(reader)
        elif reader.accept("trigger"):
            self._alter_trigger(reader)
        elif reader.accept("extension"):
            self._alter_extension(reader)
        elif reader.word() not in (*_OBJECTS_SKIPPED, "collation", "data"):
            self._skip(reader)

    def _alter_table(self, reader: Reader) -> None:
        optional = reader.accept("if", "exists")
        only = reader.accept("only")
        start = reader.position
        found = self.database.find(reader.names())
        if found is None and optional:
            return
        if isinstance(found, DraftSequence | DraftIndex):
            self._alter_found(reader, found)
            return
        reader.position = start
        table = find_table(reader, self.database)
        reader.accept("*")
        actions = sorted(reader.items(), key=_pass)
        parts = [self._action(action, table, only) for action in actions]
        for part in parts:
            part.finish_indexes(only=only)
        for part in parts:
            part.finish_references()

    def _action(self, reader: Reader, table: DraftTable, only: bool) -> TableReader:
        parts = TableReader(reader, self.database, table)
        if reader.accept("add"):
            self._add(reader, table, parts, only)
        elif reader.accept("drop"):
            self._drop_part(reader, table, only)
        elif reader.accept("alter", "constraint") or reader.accept("validate", "constraint"):
            self._alter_constraint(reader, table)
        elif reader.accept("alter"):
            reader.accept("column")
            self._alter_column(reader, table, parts, only)
        elif reader.accept("rename"):
            self._rename(reader, table, only)
        elif reader.accept("set", "schema"):
            self.database.rename(table, reader.name(), table.name)
        elif reader.accept("attach", "partition"):
            self.database.attach(find_table(reader, self.database), table)
        elif reader.accept("detach", "partition"):
            self.database.detach(find_table(reader, self.database), table)
        elif reader.accept("inherit"):
            self.database.inherit(table, find_table(reader, self.database))
        elif reader.accept("no", "inherit"):
            self.database.detach(table, find_table(reader, self.database))
        elif reader.word() in ("enable", "disable"):
            _enable(reader, table)
        elif reader.word() not in _PASSED_ACTIONS:
            reader.refuse("a change of a table")
        return parts

    def _add(self, reader: Reader, table: DraftTable, parts: TableReader, only: bool) -> None:
        if TableReader.at_constraint(reader):
            parts.constraint(reader)
            return
        reader.accept("column")
        optional = reader.accept("if", "not", "exists")
        at = reader.position
        if optional and table.column(reader.name()):
            return
        reader.position = at
        column = parts.column(reader)
        reader.expect_end()
        for member in self.database.family(table, only=only):
            _merge(member, replace(column))

    def _drop_part(self, reader: Reader, table: DraftTable, only: bool) -> None:
        constraint = reader.accept("constraint")
        if not constraint:
            reader.accept("column")
        reader.accept("if", "exists")
        name = reader.name()
        if constraint:
            # One that is not found may be a NOT NULL, whose names are not kept.
            for member in self.database.family(table, only=only):
                self.database.drop_constraint(member, name)
            return
        for member in self.database.family(table, only=only):
            self.database.drop_column(member, name)

    def _alter_constraint(self, reader: Reader, table: DraftTable) -> None:
        validate = reader.tokens[0].value == "validate"
        name = reader.name()
        traits = read_traits(reader)
        for key in table.foreign_keys:
            if key.name == name:
                if validate:
                    key.validated = True
                else:
                    key.deferrable = traits.deferrable
        table.checks = [
            replace(check, validated=True) if validate and check.name == name else check
            for check in table.checks
        ]

    def _alter_column(
        self, reader: Reader, table: DraftTable, parts: TableReader, only: bool
    ) -> None:
        name = reader.name()
        if table.column(name) is None:
            if table.kind.endswith("view") and not table.columns:
                return
            reader.position -= 1
            reader.refuse("a column of the table")
        at = reader.position
        for member in self.database.family(table, only=only):
            if column := member.column(name):
                reader.position = at
                self._change(reader, column, parts, first=member is table)

    def _change(
        self, reader: Reader, column: DraftColumn, parts: TableReader, *, first: bool
    ) -> None:
        if reader.accept("set", "not", "null"):
            column.required = column.required_valid = True
        elif reader.accept("drop", "not", "null"):
            column.required = False
        elif reader.accept("set", "default"):
            column.default = stored_default(reader, column)
        elif reader.accept("drop", "default"):
            column.default = None
        elif reader.accept("drop", "identity"):
            column.identity = False
        elif reader.accept("drop", "expression"):
            column.generated = None
        elif reader.accept("set", "expression", "as"):
            column.generated = reader.expression()
        elif reader.accept("add", "generated"):
            if first:
                parts.generated(reader, column)
        elif reader.accept("type") or reader.accept("set", "data", "type"):
            column.type = read_type(reader, self.database)
            column.collation = column.type.collation
            if reader.accept("collate"):
                column.collation = self.database.find_collation(reader.names())
        elif reader.word() not in ("set", "reset", "restart", "options"):
            reader.refuse("a change of a column")

    def _rename(self, reader: Reader, table: DraftTable, only: bool) -> None:
        if reader.accept("to"):
            self.database.rename(table, table.schema, reader.name())
            return
        constraint = reader.accept("constraint")
        if not constraint:
            reader.accept("column")
        old = reader.name()
        reader.expect("to")
        new = reader.name()
        if not constraint:
            for member in self.database.family(table, only=only):
                self.database.rename_column(member, old, new)
            return
        for index in table.indexes:
            if index.role and index.name == old:
                self.database.rename(index, table.schema, new)
        for key in table.foreign_keys:
            key.name = new if key.name == old else key.name
        table.checks = [
            replace(check, name=new) if check.name == old else check for check in table.checks
        ]

    def _alter_relation(self, reader: Reader) -> None:
        if reader.accept("all"):
            return
        reader.accept("if", "exists")
        if found := self.database.find(reader.names()):
            self._alter_found(reader, found)

    def _alter_found(self, reader: Reader, found: Relation) -> None:
        """An index or sequence is renamed or moved; all else of it is not in the catalog."""
        schema = found.table.schema if isinstance(found, DraftIndex) and found.table else ""
        if not isinstance(found, DraftIndex):
            schema = found.schema
        if reader.accept("rename", "to"):
            self.database.rename(found, schema, reader.name())
        elif reader.accept("set", "schema"):
            self.database.rename(found, reader.name(), found.name)

    def _alter_type(self, reader: Reader) -> None:
        start = reader.position
        made = self.database.find_type(reader.names())
        if made is None:
            reader.position = start
            reader.refuse("a type that the file makes")
        if reader.accept("rename", "to"):
            self._move_type(made, made.schema, reader.name())
        elif reader.accept("set", "schema"):
            self._move_type(made, reader.name(), made.name)
        elif reader.accept("rename", "value"):
            old = reader.string()
            reader.expect("to")
            made.labels[made.labels.index(old)] = reader.string()
        elif reader.accept("add", "value"):
            _add_label(reader, made)
        elif reader.accept("rename", "attribute"):
            old = reader.name()
            reader.expect("to")
            for column in made.columns:
                column.name = reader.name() if column.name == old else column.name
        elif reader.accept("set", "not", "null") or reader.accept("drop", "not", "null"):
            made.required = reader.tokens[reader.position - 3].value == "set"
        elif made.kind == "domain" and reader.at("add"):
            self._add_to_domain(reader, made)
        elif made.kind == "domain" and reader.accept("drop", "constraint"):
            reader.accept("if", "exists")
            name = reader.name()
            made.checks = [check for check in made.checks if check.name != name]
        elif "attribute" in (reader.word(1), reader.word(2)):
            self._alter_attributes(reader, made)

    def _add_to_domain(self, reader: Reader, made: TypeDefinition) -> None:
        reader.expect("add")
        name = reader.name() if reader.accept("constraint") else ""
        if reader.accept("not", "null"):
            made.required = True
        else:
            reader.expect("check")
            self._domain_check(reader, made, name)

    def _alter_attributes(self, reader: Reader, made: TypeDefinition) -> None:
        for item in reader.items():
            verb = item.advance().value
            item.expect("attribute")
            item.accept("if", "exists")
            if verb == "add":
                made.columns += read_columns(item, self.database)
                continue
            name = item.name()
            if verb == "drop":
                made.columns[:] = [column for column in made.columns if column.name != name]
                continue
            item.accept("set", "data")
            item.expect("type")
            kind = read_type(item, self.database)
            made.columns[:] = [
                replace(column, type=kind) if column.name == name else column
                for column in made.columns
            ]

    def _move_type(self, made: TypeDefinition, schema: str, name: str) -> None:
        known = self.database.types
        known.pop((made.schema, made.name), None)
        if self.database.relations.get((made.schema, made.name)) is made:
            self.database.rename(made, schema, name)
        made.schema, made.name = schema, name
        known[schema, name] = made

    def _alter_schema(self, reader: Reader) -> None:
        old = reader.name()
        if not reader.accept("rename", "to"):
            return
        new = reader.name()
        database = self.database
        database.schemas = {new if schema == old else schema for schema in database.schemas}
        for relation in list(database.relations.values()):
            if not isinstance(relation, DraftIndex | TypeDefinition) and relation.schema == old:
                database.rename(relation, new, relation.name)
        for made in list(database.types.values()):
            if made.schema == old:
                self._move_type(made, new, made.name)

    def _alter_extension(self, reader: Reader) -> None:
        name = reader.name()
        if reader.accept("set", "schema"):
            schema = reader.name()
            for made in list(self.database.types.values()):
                if made.extension == name:
                    self._move_type(made, schema, made.name)

    def _alter_trigger(self, reader: Reader) -> None:
        name = reader.name()
        reader.expect("on")
        table = find_table(reader, self.database)
        if reader.accept("rename", "to"):
            new = reader.name()
            table.triggers = [
                replace(trigger, name=new) if trigger.name == name else trigger
                for trigger in table.triggers
            ]

    # DROP and COMMENT

    def _drop(self, reader: Reader) -> None:
        reader.advance()
        reader.accept_any({"materialized", "foreign"})
        kind = reader.word()
        if kind in ("table", "view", "index", "sequence", "type", "domain", "schema"):
            reader.advance()
            reader.accept("concurrently")
            reader.accept("if", "exists")
            cascade = reader.tokens[-1].value == "cascade"
            for item in reader.items():
                self._drop_one(kind, item.names(), cascade)
        elif kind in ("trigger", "policy"):
            reader.advance()
            self._drop_from_table(kind, reader)
        elif kind not in (*_OBJECTS_SKIPPED, "extension", "collation", "data"):
            self._skip(reader)

    def _drop_one(self, kind: str, names: list[str], cascade: bool) -> None:
        if kind == "schema":
            self._drop_schema(names[0])
        elif kind in ("type", "domain"):
            if made := self.database.find_type(names):
                self.database.drop_type(made, cascade=cascade)
        elif relation := self.database.find(names):
            self.database.drop(relation)

    def _drop_schema(self, schema: str) -> None:
        self.database.schemas.discard(schema)
        for table in self.database.tables:
            if table.schema == schema:
                self.database.drop(table)
        for made in list(self.database.types.values()):
            if made.schema == schema:
                self.database.drop_type(made, cascade=True)
        for place in list(self.database.relations):
            if place[0] == schema:
                del self.database.relations[place]

    def _drop_from_table(self, kind: str, reader: Reader) -> None:
        reader.accept("if", "exists")
        name = reader.name()
        reader.expect("on")
        table = self.database.find(reader.names())
        if not isinstance(table, DraftTable):
            return
        if kind == "policy":
            table.policies.pop(name, None)
        else:
            table.triggers = [trigger for trigger in table.triggers if trigger.name != name]

    def _comment(self, reader: Reader) -> None:
        reader.advance()
        reader.expect("on")
        reader.accept_any({"materialized", "foreign"})
        kind = reader.accept_any({"table", "view", "column"})
        if not kind:
            return
        start = reader.position
        names = reader.names()
        reader.expect("is")
        comment = "" if reader.at("null") else reader.string()
        found = self.database.find(names[:-1] if kind == "column" else names)
        if kind == "column" and isinstance(found, DraftTable):
            column = found.column(names[-1])
            if column is not None:
                column.comment = comment
                return
        elif isinstance(found, DraftTable):
            found.comment = comment
            return
        if found is None:
            reader.position = start
            reader.refuse("a table that the file makes")


_CREATES: dict[str, Callable[[_Run, Reader], None]] = {
    "schema": _Run.create_schema,
    "extension": _Run.create_extension,
    "type": _Run.create_type,
    "domain": _Run.create_domain,
    "collation": _Run.create_collation,
}
_PASSED_ACTIONS = frozenset(
    {
        "owner",
        "cluster",
        "set",
        "reset",
        "replica",
        "of",
        "not",
        "force",
        "no",
        "depends",
        "options",
        "merge",
        "split",
    }
)


def _merge(table: DraftTable, column: DraftColumn) -> None:
    """Add a column; where the table has one of that name, the two become one."""
    own = table.column(column.name)
    if own is None:
        table.columns.append(column)
    else:
        own.required |= column.required


def _pass(action: Reader) -> int:
    """The server does all that goes first, then what is new, then the rest."""
    if action.at("drop"):
        return 0
    if action.at("add") and not TableReader.at_constraint(action.between(1, len(action.tokens))):
        return 1
    return 2


def _enable(reader: Reader, table: DraftTable) -> None:
    enabled = reader.advance().value == "enable"
    if reader.accept("row", "level", "security"):
        table.row_security = enabled
        return
    reader.accept_any({"always", "replica"})
    if reader.accept("trigger"):
        name = reader.name()
        table.triggers = [
            replace(trigger, enabled=enabled) if name in (trigger.name, "all", "user") else trigger
            for trigger in table.triggers
        ]
    else:
        reader.expect("rule")


def _add_label(reader: Reader, made: TypeDefinition) -> None:
    optional = reader.accept("if", "not", "exists")
    label = reader.string()
    if optional and label in made.labels:
        return
    place = len(made.labels)
    if where := reader.accept_any({"before", "after"}):
        place = made.labels.index(reader.string()) + (where == "after")
    made.labels.insert(place, label)


def _is_query(reader: Reader) -> bool:
    """Whether the table is made of a SELECT: AS stands outside of all parentheses."""
    look = reader.between(reader.position, len(reader.tokens))
    while not look.done:
        if look.accept_any({"as"}):
            return True
        look.skip()
    return False


def _query(reader: Reader) -> tuple[str, list[str]]:
    """Pass `[(names)] … AS query`; returns the query and the names."""
    names = reader.name_list() if reader.at("(") else []
    while not reader.at("as"):
        reader.skip()
    reader.expect("as")
    start, stop = reader.position, len(reader.tokens)
    tail = reader.between(max(start, stop - 3), stop)
    if tail.accept("with", "no", "data"):
        stop -= 3
    elif reader.between(stop - 2, stop).at("with", "data"):
        stop -= 2
    return reader.text(start, stop), names


def _strings(reader: Reader) -> list[str]:
    return [token.value for token in reader.tokens if token.kind == "string"]


def _multirange_name(name: str) -> str:
    if "range" in name:
        return clip(name.replace("range", "multirange", 1))
    return clip(name, NAME_BYTES - len("_multirange")) + "_multirange"
