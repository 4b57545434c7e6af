"""The FROM side of a rule's SELECT: tables, views and queries under an alias."""

from __future__ import annotations

from sqlglot import exp

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.types import Sql

OWNER = "t"


def source_of(table: Table, alias: str = OWNER) -> exp.Expr:
    """The table alone, without the rows of tables that inherit from it: they are of their own."""
    if table.kind == "query":
        # A line of its own for the bracket: the query's last line may be a comment.
        sql = exp.Var(this=f"{table.definition.rstrip().rstrip(';')}\n")
        return exp.Subquery(this=sql, alias=exp.TableAlias(this=exp.to_identifier(alias)))
    return plain_source(table.name, alias, only=table.kind == "table")


def plain_source(name: TableName, alias: str = OWNER, only: bool = False) -> exp.Table:
    source = exp.table_(name.name, db=name.schema, quoted=True)
    source.set("alias", exp.TableAlias(this=exp.to_identifier(alias)))
    if only:
        source.set("only", True)
    return source


def named(query: exp.Select, alias: str) -> exp.Subquery:
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(alias)))


def table_named(catalog: Catalog, name: TableName) -> Table:
    table = catalog.table(name)
    if table is None:
        raise MappingError(f"no table {name} in the source")
    return table


def column_named(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise MappingError(f"no column {name} in {table.name}")
    return column


def is_null(value: Sql) -> Sql:
    return exp.Not(this=exp.paren(exp.NullSafeNEQ(this=value.copy(), expression=exp.Null())))


def not_null(name: str) -> Sql:
    column = exp.column(name, table=OWNER, quoted=True)
    # Not IS NOT NULL: a composite value whose fields are all null is a value.
    return exp.NullSafeNEQ(this=column, expression=exp.Null())
