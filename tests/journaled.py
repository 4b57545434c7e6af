"""Runs in the journal without a migration: for screens that only look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from geode_tui.catalog import TableName
from geode_tui.mapping.model import Endpoint, Mapping, NodeRule, Property, RelationshipRule
from geode_tui.migration.chunks import Chunk, ChunkResult, Range
from geode_tui.migration.dead_letters import DeadLetter
from geode_tui.migration.events import (
    EntityProgress,
    Event,
    Level,
    PhaseProgress,
    PhaseState,
    RunSnapshot,
    RunState,
)
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.validation.ledger import Entry, Ledger

BEGUN = 1_767_225_600.0
"""2026-01-01 00:00:00 UTC, when the first of these runs began."""

USER = NodeRule(
    "User",
    TableName("shop", "users"),
    ("id",),
    (Property("id", "id", "INT"), Property("name", "name", "STRING")),
    "primary key (id)",
)
ORDER = replace(USER, label="Order", table=TableName("shop", "orders"))
PLACED = RelationshipRule(
    "PLACED_BY",
    TableName("shop", "orders"),
    Endpoint("Order", ("id",), ("id",)),
    Endpoint("User", ("user_id",), ("id",)),
    (),
)
SHOP = Mapping((USER, ORDER), (PLACED,))
BALANCED = Ledger(
    (
        Entry("User", "node", "shop.users", 4_000, 4_000, sampled=50),
        Entry("Order", "node", "shop.orders", 6_000, 5_998, 2, sampled=50),
        Entry("(Order)-[PLACED_BY]->(User)", "relationship", "shop.orders", 5_998, 5_998),
    ),
    (),
    "802:802:",
    BEGUN + 70,
)
DIFFERS = Ledger((replace(BALANCED.entries[0], in_graph=3_999), *BALANCED.entries[1:]), (), "9:9:")
LETTERS = (
    DeadLetter("Order", "id=17", "value", "NaN is no decimal", '{"id": "17", "total": "NaN"}'),
    DeadLetter(
        "Order",
        "id=[/23]",
        "unique",
        "a node with [red]this key[/] is there",
        '{"id": "[/23]", "note": "\\u202etrick"}',
    ),
)


@dataclass(frozen=True)
class Moved:
    """What a run made of an entity: rows of its estimate, in chunks that are done of all."""

    id: str
    kind: str
    rows: int
    estimate: int | None
    done: int
    planned: int
    state: str = "done"
    reason: str = ""


MOVED = (
    Moved("User", "node", 4_000, 4_100, 4, 4),
    Moved("Order", "node", 5_998, 6_200, 6, 6),
    Moved("(Order)-[PLACED_BY]->(User)", "relationship", 5_998, 6_200, 6, 6),
)
HALF = (
    MOVED[0],
    Moved("Order", "node", 3_000, 6_200, 3, 6, "stopped", "stopped on request"),
    Moved("(Order)-[PLACED_BY]->(User)", "relationship", 0, 6_200, 0, 0, "waiting"),
)


def journal_run(
    journal: Journal,
    state: RunState = "done",
    *,
    moved: Sequence[Moved] = MOVED,
    letters: Sequence[DeadLetter] = (),
    ledger: Ledger | None = None,
    mapping: Mapping = SHOP,
    source: str = "shop@db1",
    target: str = "shop.grafeo",
    label: str = "",
    begun: float = BEGUN,
    error: str = "",
) -> int:
    """Journal a run as if it had been made; returns its number."""
    dsn = f"postgresql://joe@{source.partition('@')[2]}/{source.partition('@')[0]}"
    new = NewRun(dsn, source, target, "", (), label, mapping, 2, None)
    number = journal.begin(new).number
    chunks = journal.chunks
    chunks.add_entities(number, [(m.id, m.kind, m.estimate, "") for m in moved])
    journal.checkpoints.take(number, "begin", "prepare")
    journal.checkpoints.take(number, "backfill", "backfill")
    left = list(letters)
    for entity in moved:
        chunks.plan(number, entity.id, _ranges(entity.planned))
        for chunk in chunks.open(number, entity.id)[: entity.done]:
            _move(journal, number, entity, chunk, left)
        chunks.set_entity(number, entity.id, entity.state, entity.reason)
    if moved and moved[0].state == "done":
        journal.checkpoints.take(number, "after [/users]", "backfill", automatic=False)
    _phases(journal, number, state, begun)
    _happenings(journal, number, begun)
    if ledger is not None:
        journal.set_ledger(number, ledger)
    journal.set_state(number, state, error)
    _set_times(journal, number, begun, state)
    return number


def _ranges(planned: int) -> list[Range]:
    cuts = [(str(1_000 * n),) for n in range(1, planned)]
    return list(zip([None, *cuts], [*cuts, None], strict=True)) if planned else []


def _move(
    journal: Journal, number: int, entity: Moved, chunk: Chunk, left: list[DeadLetter]
) -> None:
    """One chunk is done; the entity's dead letters are those of its first."""
    step = journal.chunks.start(number, chunk, 1)
    own = [letter for letter in left if letter.entity == entity.id]
    for letter in own:
        left.remove(letter)
    rows = entity.rows // entity.done + (entity.rows % entity.done if chunk.number == 0 else 0)
    result = ChunkResult(rows, own, rows * 100)
    journal.chunks.finish(number, replace(chunk, step=step), result)


def _phases(journal: Journal, number: int, state: RunState, begun: float) -> None:
    over = state in ("done", "differs")
    states: dict[str, tuple[PhaseState, str]] = {
        "assess": ("done", ""),
        "prepare": ("done", ""),
        "backfill": ("done", "") if over else ("running", ""),
        "verify": ("done", "") if over else ("waiting", ""),
    }
    if state == "stopped":
        states["backfill"] = ("stopped", "stopped on request")
    if state == "failed":
        states["backfill"] = ("failed", "the disk [/full] is full")
    with journal.store.write() as db:
        for place, (name, (phase, reason)) in enumerate(states.items()):
            times = (begun + 10 * place, begun + 10 * place + 10)
            started, ended = times if phase != "waiting" else (None, None)
            db.execute(
                "UPDATE phase SET state = ?, reason = ?, started = ?, ended = ?"
                " WHERE run = ? AND name = ?",
                (phase, reason, started, ended, number, name),
            )


def _happenings(journal: Journal, number: int, begun: float) -> None:
    told: list[tuple[Level, str]] = [
        ("info", f"run {number} begins"),
        ("info", "snapshot 802:802:"),
        ("warning", "Order chunk 2: retried after 40001 [/serialization]"),
        ("info", "User done: 4,000 rows"),
    ]
    for place, (level, message) in enumerate(told):
        journal.add_event(number, Event(begun + 5 * place, level, message))
    with journal.store.write() as db:
        db.executemany(
            "INSERT INTO metric (run, at, rows, rate, note) VALUES (?, ?, ?, ?, ?)",
            [
                (number, begun + 20 + 5 * n, 400 * n, 300.0 * (n % 7), "slowed" if n == 4 else "")
                for n in range(12)
            ],
        )


def _set_times(journal: Journal, number: int, begun: float, state: RunState) -> None:
    """Times that a test can expect, in place of those of now."""
    ended = None if state in ("running", "rolling back") else begun + 83
    with journal.store.write() as db:
        db.execute("UPDATE run SET started = ?, ended = ? WHERE number = ?", (begun, ended, number))
        db.execute("UPDATE checkpoint SET at = ? + number * 10 WHERE run = ?", (begun, number))
        db.execute("UPDATE dead_letter SET at = ? WHERE run = ?", (begun + 30, number))
        db.execute(
            "UPDATE chunk SET started = ? + number * 7, ended = ? + number * 7 + 6"
            " WHERE run = ? AND state = 'done'",
            (begun + 20, begun + 20, number),
        )
        db.execute(
            "UPDATE audit SET who = 'joe@db-admin' WHERE run = ? AND what LIKE '%begun'", (number,)
        )


def going(*parts: EntityProgress, run: int = 7, **fields: object) -> RunSnapshot:
    """A run in its backfill; `fields` say what is special about it."""
    phases = (
        PhaseProgress("assess", "done", "", 0, 1),
        PhaseProgress("prepare", "done", "", 1, 2),
        PhaseProgress("backfill", "running", "", 2, None),
        PhaseProgress("verify", "waiting"),
    )
    rows = sum(part.rows_written for part in parts)
    usual = RunSnapshot(run, "running", "a", "b", phases, parts, rows, 0.0, 9.0, 4.0, ())
    return replace(usual, **fields)  # type: ignore[arg-type]


def tell(journal: Journal, number: int, snapshot: RunSnapshot, at: float) -> None:
    """Journal a run's counters as if its process had told them then."""
    with journal.store.write() as db:
        db.execute(
            "INSERT OR REPLACE INTO live (run, at, document) VALUES (?, ?, ?)",
            (number, at, json.dumps(asdict(snapshot))),
        )
