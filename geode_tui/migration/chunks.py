"""The entities and chunks of a run in the journal: what is planned, begun and done.

A chunk is a range of a table, planned before the first row is read. Its start is journaled
before its first row is written, its end with what became of each row; the number of its step is
written on everything that it makes. A chunk that was started and not finished is read and
written again, in a way that finds what is there already.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from geode_tui.errors import redact
from geode_tui.migration.chunk_images import keep_chunk
from geode_tui.migration.dead_letters import DeadLetter, insert_letters
from geode_tui.migration.shapes import Shape, dump_shape, load_shape
from geode_tui.migration.store import Store

Cursor = tuple[str, ...]
Range = tuple[Cursor | None, Cursor | None]
"""After the first cursor (None: from the beginning), up to and with the second (None: the end).

For a table without a key both are (schema, table, block): from the one block to before the other.
"""


@dataclass(frozen=True, slots=True)
class EntityRecord:
    """An entity's counters as journaled, in rows; `before` is what the graph held before the run.

    `planned` is the number of its chunks, None before they are cut.
    """

    id: str
    kind: str
    estimate: int | None
    state: str
    reason: str
    rows: int
    dead: int
    orphans: int
    chunks: int
    wave: str
    bytes: int
    planned: int | None
    retries: int
    before: int

    @property
    def moved(self) -> int:
        """Rows that were read and are accounted for."""
        return self.rows + self.dead + self.orphans


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an entity to move; a plain description that another process can be given.

    `step` is the run's step that writes it, 0 before it was started; `more_steps` are those that
    brought it up to later snapshots. `repeated` says that some of it may be in the graph already.
    `snapshot` is the number of the snapshot it was read under.
    """

    entity: str
    number: int
    low: Cursor | None
    high: Cursor | None
    step: int = 0
    repeated: bool = False
    snapshot: int | None = None
    digest: int | None = None
    moved: int = 0
    more_steps: tuple[int, ...] = ()

    @property
    def steps(self) -> tuple[int, ...]:
        """All steps that may have written something of it."""
        return (self.step, *self.more_steps)


@dataclass(frozen=True, slots=True)
class ChunkLine:
    """A chunk to look at: its range, its state and what became of its rows.

    `attempts` counts its starts; `started` and `ended` are seconds since the epoch.
    """

    number: int
    state: str
    low: Cursor | None
    high: Cursor | None
    rows: int
    dead: int
    orphans: int
    bytes: int
    attempts: int
    step: int
    snapshot: int | None
    started: float | None
    ended: float | None


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What became of a chunk's rows; `rows` were written, the letters tell of all others.

    `digest` is the sum of the fingerprints of all rows read, in 63 bits; times in seconds.
    """

    rows: int = 0
    letters: Sequence[DeadLetter] = field(default=())
    bytes: int = 0
    digest: int = 0
    read_seconds: float = 0.0
    write_seconds: float = 0.0

    @property
    def orphans(self) -> int:
        """Relationships of which an end is not in the graph."""
        return sum(letter.error_class == "orphan" for letter in self.letters)

    @property
    def dead(self) -> int:
        """Rows that could not be written for another reason."""
        return len(self.letters) - self.orphans


class Chunks:
    """Entities and chunks of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_entities(self, run: int, entities: Sequence[tuple[str, str, int | None, str]]) -> None:
        """Journal the entities of a run (id, kind, estimate, wave); those known already stay."""
        with self._store.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO entity (run, position, id, kind, estimate, wave, state)"
                " VALUES (?, ?, ?, ?, ?, ?, 'waiting')",
                [(run, n, *entity) for n, entity in enumerate(entities)],
            )

    def entities(self, run: int) -> list[EntityRecord]:
        """All entities of a run, in its order."""
        rows = self._store.all("SELECT * FROM entity WHERE run = ? ORDER BY position", run)
        names = EntityRecord.__dataclass_fields__
        return [EntityRecord(**{name: row[name] for name in names}) for row in rows]

    def set_entity(self, run: int, entity: str, state: str, reason: str = "") -> None:
        """Journal an entity's state."""
        with self._store.write() as db:
            db.execute(
                "UPDATE entity SET state = ?, reason = ? WHERE run = ? AND id = ?",
                (state, redact(reason), run, entity),
            )

    def set_compared(self, run: int, compared: Sequence[tuple[str, int, str]]) -> None:
        """Journal how many rows of each entity were compared, and what came out, in a word."""
        with self._store.write() as db:
            db.executemany(
                "UPDATE entity SET state = 'done', rows = ?, reason = ? WHERE run = ? AND id = ?",
                [(rows, state, run, entity) for entity, rows, state in compared],
            )

    def set_before(self, run: int, counts: dict[str, int]) -> None:
        """Journal how much of each entity the graph held before the run."""
        with self._store.write() as db:
            db.executemany(
                "UPDATE entity SET before = ? WHERE run = ? AND id = ?",
                [(count, run, entity) for entity, count in counts.items()],
            )

    def plan(self, run: int, entity: str, ranges: Sequence[Range]) -> None:
        """Journal the chunks of an entity; what was planned before stays as it is."""
        with self._store.write() as db:
            if db.execute(
                "SELECT planned FROM entity WHERE run = ? AND id = ?", (run, entity)
            ).fetchone()[0]:
                return
            db.executemany(
                "INSERT INTO chunk (run, entity, number, state, low, high)"
                " VALUES (?, ?, ?, 'planned', ?, ?)",
                [
                    (run, entity, n, json.dumps(low), json.dumps(high))
                    for n, (low, high) in enumerate(ranges)
                ],
            )
            db.execute(
                "UPDATE entity SET planned = ? WHERE run = ? AND id = ?",
                (len(ranges), run, entity),
            )

    def open(self, run: int, entity: str) -> list[Chunk]:
        """The chunks of an entity that are not done, in order."""
        return self._chunks(
            "run = ? AND entity = ? AND state <> 'done' ORDER BY number", run, entity
        )

    def done(self, run: int, entity: str) -> list[Chunk]:
        """The chunks of an entity that are done, in order."""
        return self._chunks(
            "run = ? AND entity = ? AND state = 'done' ORDER BY number", run, entity
        )

    def refused(self, run: int, entity: str, error_class: str) -> list[Chunk]:
        """The chunks of an entity that are done, but for rows refused for such a reason."""
        return self._chunks(
            "run = ? AND entity = ? AND state = 'done' AND number IN (SELECT chunk FROM dead_letter"
            " WHERE dead_letter.run = chunk.run AND dead_letter.entity = chunk.entity"
            " AND error_class = ?) ORDER BY number",
            run,
            entity,
            error_class,
        )

    def _chunks(self, where: str, *arguments: object) -> list[Chunk]:
        rows = self._store.all(f"SELECT * FROM chunk WHERE {where}", *arguments)
        return [_chunk(row) for row in rows]

    def lines(self, run: int, entity: str) -> list[ChunkLine]:
        """All chunks of an entity to look at, in order."""
        rows = self._store.all(
            "SELECT * FROM chunk WHERE run = ? AND entity = ? ORDER BY number", run, entity
        )
        return [_line(row) for row in rows]

    def times(self, run: int) -> dict[str, tuple[float, float]]:
        """When the first chunk of each entity was started, and when its last was done."""
        rows = self._store.all(
            "SELECT entity, min(started) AS began, max(ended) AS ended FROM chunk"
            " WHERE run = ? AND state = 'done' GROUP BY entity",
            run,
        )
        return {row["entity"]: (row["began"] or 0.0, row["ended"] or 0.0) for row in rows}

    def has_written(self, run: int) -> bool:
        """Whether a run has begun to write a chunk."""
        sql = "SELECT 1 FROM chunk WHERE run = ? AND state <> 'planned' LIMIT 1"
        return self._store.one(sql, run) is not None

    def next_step(self, run: int) -> int:
        """Take the number of the run's next step."""
        with self._store.write() as db:
            row = db.execute(
                "UPDATE run SET steps = steps + 1 WHERE number = ? RETURNING steps", (run,)
            ).fetchone()
            return int(row[0])

    def start(self, run: int, chunk: Chunk, snapshot: int) -> int:
        """Journal that a chunk is about to be written, and return its step.

        What an earlier try said of its rows is forgotten; its step stays the same.
        """
        with self._store.write() as db:
            place = (run, chunk.entity, chunk.number)
            known = db.execute(f"SELECT step FROM chunk WHERE {_PLACE}", place).fetchone()
            step = (known and known["step"]) or self.next_step(run)
            db.execute("DELETE FROM dead_letter WHERE run = ? AND entity = ? AND chunk = ?", place)
            db.execute(
                "UPDATE chunk SET state = 'started', step = ?, snapshot = ?, started = ?,"
                f" attempts = attempts + 1 WHERE {_PLACE}",
                (step, snapshot, time.time(), *place),
            )
            db.execute(
                "UPDATE entity SET retries = retries + ? WHERE run = ? AND id = ?",
                (int(chunk.repeated), run, chunk.entity),
            )
            return step

    def finish(self, run: int, chunk: Chunk, result: ChunkResult) -> None:
        """Journal what became of a chunk's rows, in one transaction with its dead letters."""
        now = time.time()
        rows, dead, orphans = result.rows, result.dead, result.orphans
        with self._store.write() as db:
            insert_letters(db, run, chunk.number, result.letters, now)
            place = (run, chunk.entity, chunk.number)
            old = db.execute(
                "SELECT coalesce(rows, 0), coalesce(dead, 0), coalesce(orphans, 0),"
                " coalesce(bytes, 0), ended IS NULL FROM chunk"
                " WHERE run = ? AND entity = ? AND number = ?",
                place,
            ).fetchone()
            db.execute(
                "UPDATE chunk SET state = 'done', rows = ?, dead = ?, orphans = ?, bytes = ?,"
                f" digest = ?, ended = ?, unsettled = 0 WHERE {_PLACE}",
                (rows, dead, orphans, result.bytes, result.digest, now, *place),
            )
            db.execute(
                "UPDATE entity SET rows = rows + ?, dead = dead + ?, orphans = orphans + ?,"
                " bytes = bytes + ?, chunks = chunks + ? WHERE run = ? AND id = ?",
                (
                    rows - old[0],
                    dead - old[1],
                    orphans - old[2],
                    result.bytes - old[3],
                    old[4],
                    run,
                    chunk.entity,
                ),
            )

    def interrupt(self, run: int, chunk: Chunk, letters: Sequence[DeadLetter]) -> None:
        """Journal why a chunk was given up; its letters go when it is begun again."""
        with self._store.write() as db:
            insert_letters(db, run, chunk.number, letters, time.time())

    def begin_again(self, run: int, chunk: Chunk) -> Chunk:
        """Take one more step for a chunk that is done, to bring it up to another snapshot.

        Until that is done (`finish_again`) nobody knows what the graph holds of it.
        """
        with self._store.write() as db:
            steps = (*chunk.more_steps, self.next_step(run))
            keep_chunk(db, run, steps[-1], chunk.entity, chunk.number)
            db.execute(
                f"UPDATE chunk SET more_steps = ?, digest = NULL, unsettled = 1 WHERE {_PLACE}",
                (json.dumps(steps), run, chunk.entity, chunk.number),
            )
        return replace(chunk, more_steps=steps)

    def finish_again(self, run: int, chunk: Chunk, result: ChunkResult, snapshot: int) -> None:
        """Journal that a chunk is up to another snapshot, with what became of its rows."""
        with self._store.write() as db:
            db.execute(
                "DELETE FROM dead_letter WHERE run = ? AND entity = ? AND chunk = ?",
                (run, chunk.entity, chunk.number),
            )
            self.finish(run, chunk, result)
            self.confirm(run, [chunk], snapshot)

    def doubt(self, run: int, entity: str, orphans_only: bool = False) -> None:
        """Journal that done chunks (those with orphans) must be compared with the graph again."""
        some = " AND orphans > 0" if orphans_only else ""
        with self._store.write() as db:
            db.execute(
                "UPDATE chunk SET digest = NULL WHERE run = ? AND entity = ? AND state = 'done'"
                + some,
                (run, entity),
            )

    def confirm(self, run: int, chunks: Sequence[Chunk], snapshot: int) -> None:
        """Journal that chunks are as a snapshot shows them."""
        with self._store.write() as db:
            db.executemany(
                "UPDATE chunk SET snapshot = ? WHERE run = ? AND entity = ? AND number = ?",
                [(snapshot, run, chunk.entity, chunk.number) for chunk in chunks],
            )

    def set_shapes(self, run: int, shapes: Mapping[str, Shape]) -> None:
        """Journal how each entity looks in the graph: a rollback has no source to ask."""
        with self._store.write() as db:
            db.executemany(
                "UPDATE entity SET shape = ? WHERE run = ? AND id = ?",
                [(dump_shape(shape), run, entity) for entity, shape in shapes.items()],
            )

    def shapes(self, run: int) -> dict[str, Shape]:
        """How the entities of a run look in the graph, in its order."""
        rows = self._store.all(
            "SELECT id, shape FROM entity WHERE run = ? AND shape IS NOT NULL ORDER BY position",
            run,
        )
        return {row["id"]: load_shape(row["shape"]) for row in rows}

    def forget(self, run: int, entity: str) -> None:
        """Forget all chunks of an entity: it is cut and read again from its beginning."""
        with self._store.write() as db:
            for table in ("chunk", "dead_letter", "pre_image"):
                db.execute(f"DELETE FROM {table} WHERE run = ? AND entity = ?", (run, entity))
            db.execute(
                "UPDATE entity SET state = 'waiting', reason = '', rows = 0, dead = 0,"
                " orphans = 0, chunks = 0, bytes = 0, planned = NULL WHERE run = ? AND id = ?",
                (run, entity),
            )

    # -- taking back ------------------------------------------------------------------------------

    def unsettled(self, run: int) -> bool:
        """Whether some chunk was begun again, and is not up to any snapshot now."""
        sql = "SELECT 1 FROM chunk WHERE run = ? AND unsettled LIMIT 1"
        return self._store.one(sql, run) is not None

    def started(self, run: int) -> list[Chunk]:
        """The chunks that were begun and are not done, in the run's order."""
        return self._chunks("run = ? AND state = 'started' ORDER BY entity, number", run)

    def withdraw(self, run: int, chunk: Chunk) -> None:
        """Journal that a chunk which is not done is planned again: nothing of it is there."""
        place = (run, chunk.entity, chunk.number)
        with self._store.write() as db:
            db.execute(f"UPDATE chunk SET {_PLANNED} WHERE {_PLACE}", place)
            db.execute("DELETE FROM dead_letter WHERE run = ? AND entity = ? AND chunk = ?", place)

    def take_back(self, run: int, step: int) -> None:
        """Journal that what steps after `step` wrote is gone: their chunks are planned again.

        Entities of which nothing is left are cut again. The counters of all follow.
        """
        with self._store.write() as db:
            db.execute(
                "DELETE FROM dead_letter WHERE run = ? AND EXISTS (SELECT 1 FROM chunk"
                " WHERE chunk.run = dead_letter.run AND chunk.entity = dead_letter.entity"
                " AND chunk.number = dead_letter.chunk AND chunk.step > ?)",
                (run, step),
            )
            db.execute(f"UPDATE chunk SET {_PLANNED} WHERE run = ? AND step > ?", (run, step))
            db.execute(
                "UPDATE chunk SET more_steps = (SELECT json_group_array(value)"
                " FROM json_each(more_steps) WHERE value <= ?)"
                " WHERE run = ? AND more_steps <> '[]'",
                (step, run),
            )
            db.execute(_COUNT_AGAIN, (run,))
            db.execute(_NOT_CUT, (run, step))
            db.execute(
                "DELETE FROM chunk WHERE run = ? AND entity IN"
                " (SELECT id FROM entity WHERE run = ? AND planned IS NULL)",
                (run, run),
            )


_PLACE = "run = ? AND entity = ? AND number = ?"
_PLANNED = (
    "state = 'planned', rows = NULL, dead = NULL, orphans = NULL, started = NULL, ended = NULL,"
    " step = NULL, bytes = NULL, digest = NULL, snapshot = NULL, more_steps = '[]',"
    " unsettled = 0"
)
_OWN = "FROM chunk WHERE chunk.run = entity.run AND chunk.entity = entity.id"
_COUNT_AGAIN = (
    "UPDATE entity SET "
    + "".join(
        f"{name} = (SELECT coalesce(sum({name}), 0) {_OWN} AND chunk.state = 'done'), "
        for name in ("rows", "dead", "orphans", "bytes")
    )
    + f"chunks = (SELECT count(*) {_OWN} AND chunk.state = 'done'), reason = '',"
    f" state = CASE WHEN state = 'done' AND NOT EXISTS (SELECT 1 {_OWN}"
    " AND chunk.state <> 'done') THEN 'done' ELSE 'waiting' END WHERE run = ?"
)
# An entity that was empty and done stays so, unless the rollback is to before all.
_NOT_CUT = (
    "UPDATE entity SET planned = NULL, state = 'waiting' WHERE run = ?"
    f" AND NOT EXISTS (SELECT 1 {_OWN} AND chunk.step IS NOT NULL)"
    " AND (state <> 'done' OR ? = 0)"
)


def _chunk(row: sqlite3.Row) -> Chunk:
    low, high = (json.loads(row[name]) for name in ("low", "high"))
    return Chunk(
        row["entity"],
        row["number"],
        tuple(low) if low is not None else None,
        tuple(high) if high is not None else None,
        row["step"] or 0,
        row["state"] != "planned",
        row["snapshot"],
        row["digest"],
        (row["rows"] or 0) + (row["dead"] or 0) + (row["orphans"] or 0),
        tuple(json.loads(row["more_steps"])),
    )


def _line(row: sqlite3.Row) -> ChunkLine:
    low, high = (json.loads(row[name] or "null") for name in ("low", "high"))
    return ChunkLine(
        row["number"],
        row["state"],
        tuple(low) if low is not None else None,
        tuple(high) if high is not None else None,
        row["rows"] or 0,
        row["dead"] or 0,
        row["orphans"] or 0,
        row["bytes"] or 0,
        row["attempts"],
        row["step"] or 0,
        row["snapshot"],
        row["started"],
        row["ended"],
    )
