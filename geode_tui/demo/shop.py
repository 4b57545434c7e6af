"""The sample shop: a made-up database of any size that shows what a migration has to cope with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files

import asyncpg

from geode_tui.errors import ConnectError, GeodeTuiError, UsageError

SHOP_DATABASE = "shop"
MINIMUM_ROWS = 100

_MAINTENANCE_DATABASE = "postgres"
_MARK = "geode-tui demo shop"
_VERSION = 1


def shop_row_counts(rows: int) -> dict[str, int]:
    """Return how many rows each table of the shop gets when `rows` are asked for in all.

    The counts add up to `rows`: users 6 %, addresses 7 %, products 2 %, product_suppliers 3 %,
    reviews 8 %, payments 14 %; a few categories, suppliers and entries of the audit log, which
    has 300 at most; of the rest 8 parts orders and 23 parts order_items, about 15 % and 45 %.
    Raises `UsageError` below `MINIMUM_ROWS`.
    """
    if rows < MINIMUM_ROWS:
        raise UsageError(
            f"a sample shop of {rows} rows is too small",
            "every table needs a row",
            f"ask for {MINIMUM_ROWS} rows or more",
        )
    products = rows * 2 // 100
    counts = {
        "users": rows * 6 // 100,
        "addresses": rows * 7 // 100,
        "categories": min(max(rows // 500, 4), 200),
        "products": products,
        "suppliers": min(max(rows // 400, 2), 5_000),
        "product_suppliers": min(rows * 3 // 100, 2 * products),
        "reviews": rows * 8 // 100,
        "payments": rows * 14 // 100,
        "audit_log": min(max(rows // 50, 4), 300),
    }
    rest = rows - sum(counts.values())
    orders = -(-rest * 8 // 31)
    return {**counts, "orders": orders, "order_items": rest - orders}


async def build_shop(
    dsn_of: Callable[[str], str], rows: int, *, database: str = SHOP_DATABASE
) -> str:
    """Create the sample shop with `rows` rows in all and return the DSN of its database.

    `dsn_of` gives the DSN of a database of the server by its name. The content follows from
    `rows` alone. A shop of that size is kept as it is, with what was changed in it; one of
    another size or an unfinished one is dropped and built anew. A database of that name that is
    no sample shop is never touched: `GeodeTuiError`. Raises `ConnectError` when the server
    cannot be reached, `UsageError` below `MINIMUM_ROWS`.
    """
    counts = shop_row_counts(rows)
    finished = f"{_MARK} v{_VERSION} rows={rows}"
    try:
        async with _connection(dsn_of(_MAINTENANCE_DATABASE)) as server:
            if await _mark_of(server, database) == finished:
                return dsn_of(database)
            await _create_database(server, database)
            async with _connection(dsn_of(database)) as shop:
                await _fill(shop, counts)
            await _set_mark(server, database, finished)
    except asyncpg.PostgresError as error:
        raise GeodeTuiError(
            f'cannot build the sample shop in the database "{database}"', str(error)
        ) from error
    return dsn_of(database)


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await asyncpg.connect(dsn)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ConnectError("cannot connect to the server of the sample shop", str(error)) from error
    try:
        yield connection
    finally:
        await connection.close()


async def _mark_of(server: asyncpg.Connection, database: str) -> str:
    """The comment of the database if it is a sample shop, finished or not; "" if there is none."""
    found = await server.fetchrow(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
        " WHERE datname = $1",
        database,
    )
    if found is None:
        return ""
    mark = str(found[0])
    if not mark.startswith(_MARK):
        raise GeodeTuiError(
            f'the database "{database}" is not the sample shop',
            "it does not carry the shop's comment, so it is left as it is",
            "rename or drop that database, or use another server",
        )
    return mark


async def _create_database(server: asyncpg.Connection, database: str) -> None:
    name = _quoted(database)
    await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    await _set_mark(server, database, f"{_MARK} v{_VERSION} unfinished")


async def _set_mark(server: asyncpg.Connection, database: str, mark: str) -> None:
    await server.execute(f"COMMENT ON DATABASE {_quoted(database)} IS '{mark}'")


async def _fill(shop: asyncpg.Connection, counts: dict[str, int]) -> None:
    async with shop.transaction():
        for table, count in counts.items():
            await shop.execute("SELECT set_config($1, $2, true)", f"shop.{table}", str(count))
        await shop.execute(files(__package__).joinpath("shop.sql").read_text(encoding="utf-8"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
