"""What the source says of its load: sessions, replica lag, who waits for whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import asyncpg

from geode_tui.source.introspect import Connection
from geode_tui.source.postgres import Source, lost_error, read_error

ANSWER_SECONDS = 4
"""The server gives up an answer after so long: a look must not be a load itself."""
MOST_WAITING = 50


@dataclass(frozen=True, slots=True)
class SourceLoad:
    """The load of a source at a moment; times in seconds.

    `our_sessions` are those of this role that geode-tui opened, `sessions` all of the database.
    `replica_lag` is that of the slowest replica; None where there is none or the role may not
    know (it needs pg_monitor). `longest_wait` is how long a session has been waiting for a lock
    of another that is not ours; `waiting_on_us` counts those that wait for a lock of ours, also
    behind others, and `blocked` names them. `oldest_snapshot` is the age of the oldest
    transaction with a snapshot, as far as the role may see.
    """

    sessions: int
    our_sessions: int
    replica_lag: float | None
    waiting_on_us: int
    longest_wait: float
    oldest_snapshot: float | None
    blocked: tuple[str, ...]
    longest_wait_on_us: float = 0.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A session that waits for a lock, and the sessions that it waits for."""

    pid: int
    name: str
    seconds: float
    blockers: frozenset[int]


async def read_load(connection: Connection) -> SourceLoad:
    """Ask the source for its load; needs no more rights than a connection. Raises GeodeTuiError."""
    try:
        row = await connection.fetchrow(_LOAD)
        assert row is not None
        rows = await connection.fetch(_WAITING, MOST_WAITING) if row["waiting"] else []
        lag = await _replica_lag(connection)
    except asyncpg.PostgresError as error:
        raise read_error(error) from error
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise lost_error(error) from error
    waiting = [
        _Waiting(r["pid"], r["name"], max(0.0, r["seconds"]), frozenset(r["blockers"]))
        for r in rows
    ]
    on_us = _behind(set(row["ours"]), waiting)
    others = [w.seconds for w in waiting if w.pid not in on_us and w.pid not in row["ours"]]
    return SourceLoad(
        row["sessions"],
        len(row["ours"]),
        lag,
        len(on_us),
        max(others, default=0.0),
        row["oldest_snapshot"],
        tuple(f"pid {w.pid} {w.name} {w.seconds:.1f} s" for w in on_us.values()),
        max((w.seconds for w in on_us.values()), default=0.0),
    )


class LoadProbe:
    """One session more on a source, to ask for its load; it holds no snapshot.

    A session that broke, or an answer that was cut short, is replaced at the next reading.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._connection: Connection | None = None

    async def connect(self) -> None:
        """Open the session if there is none. Raises ConnectError."""
        if self._connection is None:
            self._connection = await self._source.session()
            await self._connection.execute(_SETTINGS)

    async def read(self) -> SourceLoad:
        """The load now. Raises GeodeTuiError."""
        try:
            await self.connect()
            assert self._connection is not None
            return await read_load(self._connection)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _replica_lag(connection: Connection) -> float | None:
    """The lag of the slowest replica; None where nobody tells."""
    try:
        lag = await connection.fetchval(_REPLICA_LAG)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError):
        return None
    return float(lag) if lag is not None else None


def _behind(ours: set[int], waiting: Iterable[_Waiting]) -> Mapping[int, _Waiting]:
    """Those that wait for one of ours, or for somebody who does."""
    found: dict[int, _Waiting] = {}
    left = {w.pid: w for w in waiting if w.pid not in ours}
    blocking = set(ours)
    while more := {pid: w for pid, w in left.items() if w.blockers & blocking}:
        found |= more
        blocking = set(more)
        left = {pid: w for pid, w in left.items() if pid not in found}
    return found


_SETTINGS = (
    f"SET statement_timeout = '{ANSWER_SECONDS}s'; SET lock_timeout = '1s'; "
    "SET idle_in_transaction_session_timeout = 0"
)

# What a session does is hidden from other roles, its locks are not. A wait for an advisory lock
# is an application's own way to queue and says nothing of the load.
_LOAD = """
SELECT
  (SELECT count(*)::int FROM pg_stat_activity
   WHERE datname = current_database()
     AND coalesce(backend_type, 'client backend') = 'client backend') AS sessions,
  ARRAY(SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user
          AND application_name LIKE 'geode-tui%') AS ours,
  (SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float8 FROM pg_stat_activity
   WHERE datname = current_database() AND backend_xmin IS NOT NULL
     AND pid <> pg_backend_pid()) AS oldest_snapshot,
  EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype <> 'advisory') AS waiting
"""

# A lock knows since when it is waited for as of PostgreSQL 14: before, the statement's start.
_WAITING = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), a.usename, 'unknown') AS name,
       coalesce(extract(epoch FROM clock_timestamp() - coalesce(l.since, a.query_start)), 0)::float8
         AS seconds,
       pg_blocking_pids(a.pid) AS blockers
FROM (SELECT pid, min((to_jsonb(w) ->> 'waitstart')::timestamptz) AS since
      FROM pg_locks w WHERE NOT granted AND locktype <> 'advisory' GROUP BY pid) l
JOIN pg_stat_activity a ON a.pid = l.pid AND a.datname = current_database()
ORDER BY seconds DESC LIMIT $1
"""

# A replica that has caught up and hears of nothing new has no lag; without the right to know,
# not even the state is shown.
_REPLICA_LAG = """
SELECT max(extract(epoch FROM coalesce(replay_lag, interval '0')))::float8
FROM pg_stat_replication WHERE state IN ('streaming', 'catchup')
"""
