"""Small catalogs written by hand, for tests that need no server."""

from __future__ import annotations

from geode_tui.catalog import (
    Catalog,
    Column,
    DataType,
    ForeignKey,
    Key,
    ServerFacts,
    Table,
    TableName,
)

INT = DataType("integer", "int4")
TEXT = DataType("text", "text")


def table(
    name: str,
    columns: str,
    key: str = "",
    references: tuple[tuple[str, str, str], ...] = (),
    schema: str = "public",
) -> Table:
    """A table: `columns` separated by spaces, nullable with a `?`; references are
    (columns, table, columns)."""
    made = tuple(Column(c.rstrip("?"), INT, nullable=c.endswith("?")) for c in columns.split())
    foreign = tuple(
        ForeignKey(f"fk{n}", tuple(own.split()), TableName(schema, to), tuple(theirs.split()))
        for n, (own, to, theirs) in enumerate(references)
    )
    primary = Key(f"{name}_pkey", tuple(key.split())) if key else None
    return Table(
        TableName(schema, name), "table", made, primary, foreign_keys=foreign, estimated_rows=10
    )


def catalog(*tables: Table) -> Catalog:
    """A catalog of these tables, in a database called `shop`."""
    return Catalog(ServerFacts(database="shop", role="dba"), tables)


SHOP = catalog(
    table("users", "id name referred_by?", "id", (("referred_by", "users", "id"),)),
    table("orders", "id user_id ship_to?", "id", (("user_id", "users", "id"),)),
    table("products", "id name", "id"),
    table(
        "order_items",
        "order_id product_id quantity",
        "order_id product_id",
        (("order_id", "orders", "id"), ("product_id", "products", "id")),
    ),
    table("log", "at what?"),
)
