"""What must be so on a source before a slot can capture its changes, in words and in SQL."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from geode_tui.catalog import TableName
from geode_tui.source.profile import qualified, quoted
from geode_tui.source.requirements import Requirement, required


def server_requirements(row: asyncpg.Record) -> list[Requirement]:
    """What the server must have, from a row of `slot_queries.SERVER`."""
    level = row["wal_level"]
    free = row["max_slots"] - row["slots"]
    senders = row["max_senders"] - row["senders"]
    keep = row["keep"]
    kept = Requirement(
        "the WAL that a slot keeps has a limit",
        "warning" if keep == "-1" else "met",
        "max_slot_wal_keep_size is -1: while capture stands still the disk can fill"
        if keep == "-1"
        else f"max_slot_wal_keep_size is {keep}: a slot that falls behind further is lost",
        ("ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'", "SELECT pg_reload_conf()")
        if keep == "-1"
        else (),
    )
    found = [
        required(
            "wal_level is logical",
            level == "logical",
            f"wal_level is {level}",
            "ALTER SYSTEM SET wal_level = 'logical'",
            "-- then restart the server",
        ),
        required(
            "the server is no standby",
            not row["standby"],
            "it is in recovery: connect to the primary" if row["standby"] else "it is a primary",
        ),
        required(
            "a replication slot is free",
            row["exists"] or free > 0,
            f"{row['slots']} of {row['max_slots']} slots are used",
            f"ALTER SYSTEM SET max_replication_slots = {row['max_slots'] + 5}",
            "-- then restart the server",
        ),
        Requirement(
            "a WAL sender is free",
            "met" if senders > 0 else "warning",
            f"{row['senders']} of {row['max_senders']} are used; without one the slot is made "
            "by SQL",
            ()
            if senders > 0
            else (
                f"ALTER SYSTEM SET max_wal_senders = {row['max_senders'] + 5}",
                "-- then restart the server",
            ),
        ),
        kept,
    ]
    if row["idle"] not in ("0", ""):
        evidence = f"idle_replication_slot_timeout is {row['idle']}: after a longer pause it is"
        found.append(Requirement("an unread slot is kept", "warning", f"{evidence} lost"))
    return found


def right_requirements(
    server: asyncpg.Record, relations: Sequence[asyncpg.Record], new: Sequence[TableName]
) -> list[Requirement]:
    """What the role must be allowed; `new` are the tables that are not published yet."""
    role = quoted(server["role"])
    found = [
        required(
            "the role may replicate",
            server["may_replicate"],
            f"role {server['role']} {'has' if server['may_replicate'] else 'lacks'} REPLICATION",
            f"ALTER ROLE {role} REPLICATION",
        )
    ]
    if not new:
        return [*found, Requirement("the tables are published", "met", "the publication is there")]
    grant = f"GRANT CREATE ON DATABASE {quoted(server['database'])} TO {role}"
    found.append(
        required(
            "the role may make a publication",
            server["may_create"],
            f"role {server['role']} {'has' if server['may_create'] else 'lacks'} CREATE on "
            f"database {server['database']}",
            grant,
        )
    )
    wanted = set(new)
    foreign = [
        row
        for row in relations
        if TableName(row["schema"], row["name"]) in wanted and row["is_root"] and not row["owned"]
    ]
    owners = sorted({row["owner"] for row in foreign})
    names = ", ".join(str(TableName(row["schema"], row["name"])) for row in foreign[:5])
    more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
    found.append(
        required(
            "the role owns the tables that it publishes",
            not foreign,
            f"{names}{more}: owned by {', '.join(owners)}" if foreign else "it owns all",
            *(f"GRANT {quoted(owner)} TO {role}" for owner in owners),
            "-- or let the owner run the set-up statements",
        )
    )
    return found


def table_requirements(
    tables: Sequence[TableName], relations: Sequence[asyncpg.Record]
) -> list[Requirement]:
    """For each table that it can be published without harm; its partitions count with it."""
    found = []
    for table in tables:
        rows = [
            row for row in relations if TableName(row["root_schema"], row["root_name"]) == table
        ]
        what = f"changes of {table} tell their row"
        root = next((row for row in rows if row["is_root"]), None)
        if root is None:
            found.append(Requirement(what, "missing", "there is no such table"))
            continue
        problems = [(row, why) for row in rows if (why := _unfit(row, root))]
        if problems:
            row, why = problems[0]
            name = TableName(row["schema"], row["name"])
            mends = [_identity_statement(row) for row, _ in problems if row["may_mend"]]
            found.append(Requirement(what, "missing", f"{name}: {why}", tuple(mends)))
            continue
        kinds = {"d": "its primary key", "i": "a unique index", "f": "the whole row"}
        found.append(Requirement(what, "met", f"by {kinds[root['identity']]}"))
        if root["kind"] == "p":
            found.append(
                Requirement(
                    f"{table} is changed by way of itself",
                    "warning",
                    "a TRUNCATE of a single partition, DETACH, ATTACH and DROP are not told",
                )
            )
    return found


def _unfit(row: asyncpg.Record, root: asyncpg.Record) -> str:
    """Why a table, or a partition of it, must not be published; empty when it may."""
    if row["kind"] not in "rp":
        return "only tables can be published" if row["is_root"] else "a foreign partition"
    if row["persistence"] != "p":
        return "changes of an unlogged or temporary table are not in the WAL"
    if not row["identified"]:
        return (
            "no replica identity: once it is published the source's own UPDATE and DELETE of it "
            "would fail"
        )
    if row["identity"] != root["identity"]:
        return "a partition with another kind of replica identity than its table"
    if row["identity"] == "f" and row["virtual"]:
        return "REPLICA IDENTITY FULL with a virtual generated column makes UPDATE and DELETE fail"
    return ""


def _identity_statement(row: asyncpg.Record) -> str:
    how = f"USING INDEX {quoted(row['candidate'])}" if row["candidate"] else "FULL"
    table = TableName(row["schema"], row["name"])
    return f"ALTER TABLE ONLY {qualified(table)} REPLICA IDENTITY {how}"
