"""What the tests share: one real PostgreSQL a session, databases in it, a clean environment."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from hypothesis import settings

from geode_tui.demo import EmbeddedPostgres, build_shop

SHOP_ROWS = 2_000

# Generated examples are the same at each run of continuous integration, new ones elsewhere.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

# The server under test; continuous integration names those of other major versions.
_BINARIES = os.environ.get("TEST_POSTGRES_BIN")
_FOREIGN = ("PG", "GEODE_TUI_", "TEXTUAL_", "NO_COLOR")
_FOLDERS = ("STATE", "CONFIG", "CACHE", "DATA")


# The tests wait for disks more than for anything else: they write to memory where there is room.
_MEMORY_DISK = Path("/dev/shm")
_ROOM_BYTES = 6 * 1024**3


def _memory_disk(config: pytest.Config) -> Path | None:
    """A new folder on the memory disk; None where there is none, or where the user named one."""
    if config.option.basetemp or hasattr(config, "workerinput") or "TMPDIR" in os.environ:
        return None
    if not os.access(_MEMORY_DISK, os.W_OK) or shutil.disk_usage(_MEMORY_DISK).free < _ROOM_BYTES:
        return None
    folder = Path(tempfile.mkdtemp(prefix="geode-tui-tests-", dir=_MEMORY_DISK))
    folder.chmod(0o755)  # like the folder in whose place it is: servers run under other accounts
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before pytest chooses where `tmp_path` is, and before a test loads gRPC."""
    # In a child that is forked gRPC would start threads anew, and end the program with them.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    folder = _memory_disk(config)
    if folder is not None:
        config.option.basetemp = str(folder / "tests")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


# The files that take longest begin first: the others fill the gaps that they leave at the end.
_LONGEST = (
    "replication",
    "followed",
    "faults",
    "cutover_document",
    "target_changes",
    "stop_and_kill",
    "new_snapshot",
    "run_screen",
    "schema_apply",
    "geode_migration",
    "bad_input",
    "geode_dialects",
    "history_screen",
    "rollback",
    "schema_screen",
    "geode_pitfalls",
    "cli",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes each file goes to one of them, in this order."""
    order = {f"test_{name}.py": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


class MakeDatabase(Protocol):
    def __call__(self, sql: str = "") -> str: ...


@pytest.fixture(scope="session", autouse=True)
def _session_environment() -> Iterator[None]:
    """The fixtures of the session see no settings of the person who runs the tests either."""
    with pytest.MonkeyPatch.context() as patch:
        _remove_foreign_variables(patch)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and nothing is written to the home folder."""
    _remove_foreign_variables(monkeypatch)
    for folder in _FOLDERS:
        monkeypatch.setenv(f"XDG_{folder}_HOME", str(tmp_path / "xdg" / folder.lower()))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL of the tests' own."""
    folder = tmp_path_factory.mktemp("postgres") / "data"
    with EmbeddedPostgres(folder, binaries=Path(_BINARIES) if _BINARIES else None) as server:
        yield server


@pytest.fixture
def make_database(postgres: EmbeddedPostgres) -> Iterator[MakeDatabase]:
    """`make_database(sql)` runs a script in a new database, dropped at the end; returns its DSN."""
    made: list[str] = []

    def make(sql: str = "") -> str:
        made.append(f"test_{next(_numbers)}")
        run_now(_execute(postgres.dsn(), f'CREATE DATABASE "{made[-1]}" TEMPLATE template0'))
        dsn = postgres.dsn(made[-1])
        if sql:
            run_now(_execute(dsn, sql))
        return dsn

    yield make
    for name in made:
        run_now(_drop(postgres.dsn(), name))


@pytest.fixture(scope="session")
def shop_dsn(postgres: EmbeddedPostgres) -> str:
    """The DSN of the sample shop with `SHOP_ROWS` rows, shared by all tests: only read it."""
    return run_now(build_shop(postgres.dsn, SHOP_ROWS))


def run_now[T](work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread of its own: the test may have a running loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


_numbers = itertools.count(1)


def _remove_foreign_variables(patch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            patch.delenv(name)


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _drop(dsn: str, name: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        # An active slot withstands FORCE; it goes with the database once its reader is gone.
        await connection.execute(
            "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
            " WHERE database = $1 AND active_pid IS NOT NULL",
            name,
        )
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()
