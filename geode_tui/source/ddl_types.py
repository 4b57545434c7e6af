"""The types that a DDL file can name, and how PostgreSQL itself spells them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from geode_tui.catalog import Check, DataType
from geode_tui.catalog.model import TypeKind
from geode_tui.mapping.mend import identifier
from geode_tui.source.ddl_scan import NAME_BYTES, clip

if TYPE_CHECKING:
    from geode_tui.source.ddl_schema import DraftColumn

SYSTEM = "pg_catalog"
DEFAULT_COLLATION = 'pg_catalog."default"'

# Typname to the server's spelling, `{}` stands for the modifier; all others are spelled as named.
_SPELLINGS = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "varchar": "character varying{}",
    "bpchar": "character{}",
    "varbit": "bit varying{}",
    "bit": "bit{}",
    "numeric": "numeric{}",
    "interval": "interval{}",
    "time": "time{} without time zone",
    "timetz": "time{} with time zone",
    "timestamp": "timestamp{} without time zone",
    "timestamptz": "timestamp{} with time zone",
    "char": '"char"',
    "json": "json",
}
# Their bare name means something else in SQL: char(1) and bit(1).
_BARE = {"bpchar": "bpchar", "bit": '"bit"'}
_BASES = """
aclitem bit bool box bpchar bytea char cid cidr circle date float4 float8 gtsvector inet int2
int2vector int4 int8 interval json jsonb jsonpath line lseg macaddr macaddr8 money name numeric
oid oidvector path pg_brin_bloom_summary pg_brin_minmax_multi_summary pg_dependencies pg_lsn
pg_mcv_list pg_ndistinct pg_node_tree pg_snapshot point polygon refcursor regclass regcollation
regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype text
tid time timestamp timestamptz timetz tsquery tsvector txid_snapshot uuid varbit varchar xid xid8
xml
"""
RANGES = {
    "daterange": "date",
    "int4range": "int4",
    "int8range": "int8",
    "numrange": "numeric",
    "tsrange": "timestamp",
    "tstzrange": "timestamptz",
}
_PSEUDO = "any anyarray anyelement cstring internal record trigger unknown void"
_COLLATABLE = frozenset({"text", "varchar", "bpchar", "pg_node_tree"})
# SQL's own names of types, which no schema is searched for.
SQL_NAMES = {
    "int": "int4",
    "integer": "int4",
    "smallint": "int2",
    "bigint": "int8",
    "real": "float4",
    "dec": "numeric",
    "decimal": "numeric",
    "numeric": "numeric",
    "boolean": "bool",
    "varchar": "varchar",
}
SERIALS = {
    "smallserial": "int2",
    "serial2": "int2",
    "serial": "int4",
    "serial4": "int4",
    "bigserial": "int8",
    "serial8": "int8",
}
# Types of widely used extensions, and whether their texts have a collation.
EXTENSION_TYPES = {
    "citext": ("citext",),
    "hstore": ("hstore",),
    "ltree": ("ltree", "lquery", "ltxtquery"),
    "cube": ("cube",),
    "seg": ("seg",),
    "isn": ("ean13", "isbn", "isbn13", "ismn", "ismn13", "issn", "issn13", "upc"),
    "intarray": ("query_int",),
    "pg_trgm": ("gtrgm",),
    "vector": ("vector", "halfvec", "sparsevec"),
    "postgis": ("geometry", "geography", "box2d", "box3d", "geometry_dump", "spheroid"),
    "postgis_raster": ("raster",),
    "h3": ("h3index",),
    "semver": ("semver",),
    "ip4r": ("ip4", "ip4r", "ip6", "ip6r", "ipaddress", "iprange"),
}
_EXTENSION_COLLATABLE = frozenset({"citext"})
EXTENSION_OF_TYPE = {t: name for name, types in EXTENSION_TYPES.items() for t in types}

_NUMERIC = re.compile(r"\((\d+),(-?\d+)\)")


@dataclass(eq=False)
class TypeDefinition:
    """A type that columns can have; later statements may rename it or add to it."""

    schema: str
    name: str
    kind: TypeKind = "base"
    base: TypeReference | None = None
    labels: list[str] = field(default_factory=list)
    columns: list[DraftColumn] = field(default_factory=list)
    required: bool = False
    collation: str = ""
    extension: str = ""
    checks: list[Check] = field(default_factory=list)

    def spelling(self, modifier: str = "", *, bare: bool = False) -> str:
        """The type as format_type() prints it; `bare` without any modifier being known."""
        if self.schema != SYSTEM:
            return f"{identifier(self.schema)}.{identifier(self.name)}{modifier}"
        if bare and not modifier and self.name in _BARE:
            return _BARE[self.name]
        pattern = _SPELLINGS.get(self.name)
        return pattern.replace("{}", modifier) if pattern else identifier(self.name) + modifier


@dataclass(frozen=True)
class TypeReference:
    """A type as a column has it; `modifier` as the server prints it, such as `(10,2)`."""

    definition: TypeDefinition
    modifier: str = ""
    array: bool = False

    @property
    def collation(self) -> str:
        """The quoted name of the collation that values have by default, or nothing."""
        return self.definition.collation

    def data_type(self) -> DataType:
        """The type as introspection would give it."""
        return self._made(self.modifier, bare=True)

    def _made(self, printed: str, *, bare: bool) -> DataType:
        definition = self.definition
        declared = definition.spelling(printed, bare=bare)
        if self.array:
            inner = TypeReference(definition, self.modifier)._made("", bare=False)
            name = "_" + clip(definition.name, NAME_BYTES - 1)
            extension = definition.extension
            return DataType(f"{declared}[]", name, "array", inner, extension=extension)
        precision, scale = self._precision()
        base = definition.base
        return DataType(
            declared,
            definition.name,
            definition.kind,
            base._made("", bare=False) if base else None,
            tuple(definition.labels),
            precision,
            scale,
            tuple((column.name, column.type.data_type()) for column in definition.columns),
            definition.extension,
            tuple(sorted(definition.checks, key=lambda check: check.name)),
        )

    def _precision(self) -> tuple[int | None, int | None]:
        found = _NUMERIC.fullmatch(self.modifier) if self.definition.name == "numeric" else None
        return (int(found[1]), int(found[2])) if found else (None, None)


def system_types() -> dict[str, TypeDefinition]:
    """The types that every database has, by their plain names."""
    made = {name: TypeDefinition(SYSTEM, name) for name in _BASES.split()}
    for name in _COLLATABLE:
        made[name].collation = DEFAULT_COLLATION
    made["name"].collation = 'pg_catalog."C"'
    for name, subtype in RANGES.items():
        made[name] = TypeDefinition(SYSTEM, name, "range", TypeReference(made[subtype]))
        multirange = name.replace("range", "multirange")
        base = TypeReference(made[name])
        made[multirange] = TypeDefinition(SYSTEM, multirange, "multirange", base)
    for name in _PSEUDO.split():
        made[name] = TypeDefinition(SYSTEM, name, "pseudo")
    return made


def extension_type(schema: str, name: str, extension: str) -> TypeDefinition:
    """A type that an extension brings."""
    collation = DEFAULT_COLLATION if name in _EXTENSION_COLLATABLE else ""
    return TypeDefinition(schema, name, collation=collation, extension=extension)
