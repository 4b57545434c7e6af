"""Dead letters: the rows that are not in the graph, each with the reason.

A letter is open until somebody retries it (`letter_retry`) or gives it up. The counters of its
chunk and entity follow each letter in the same transaction, so that the ledger adds up at any
moment: an open or skipped letter counts as dead (or as an orphan), a written one as a row, and
one whose row is gone from the source counts no more.
"""

from __future__ import annotations

import json
import sqlite3
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from geode_tui.errors import UsageError, redact
from geode_tui.migration.audit import Audit, whoami
from geode_tui.migration.store import Store

LetterState = Literal["open", "written", "skipped"]
GONE = "no longer in the source"
"""The note of a letter whose row was not there any more when it was retried."""
AT_ONCE = 1_000
"""Letters that are changed in one transaction."""

_IDS_AT_ONCE = 10_000
_TEXT = (
    "(dead_letter.entity || ' ' || key || ' ' || error_class || ' ' || reason || ' '"
    " || dead_letter.state || ' ' || note)"
)
_COUNTERS = ("rows", "dead", "orphans")
_COMPLETE = (
    "EXISTS (SELECT 1 FROM chunk WHERE chunk.run = dead_letter.run"
    " AND chunk.entity = dead_letter.entity AND chunk.number = dead_letter.chunk"
    " AND chunk.state = 'done')"
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that is not in the graph, with the reason; `values` is its JSON text.

    `place` is the cursor of the row in its extract, None where the table has no key. `state` is
    `written` after a retry that worked, `skipped` when somebody gave it up, with `note` why.
    `step` is the step of the run that wrote it; of an open letter, that of a retry which was
    interrupted.
    """

    entity: str
    key: str
    error_class: str
    reason: str
    values: str
    place: tuple[str, ...] | None = None
    id: int = 0
    chunk: int = 0
    at: float = 0.0
    state: LetterState = "open"
    note: str = ""
    who: str = ""
    changed: float | None = None
    step: int | None = None

    @property
    def counter(self) -> str | None:
        """The counter of its entity that counts it: `rows`, `dead`, `orphans` or none."""
        if self.state == "written":
            return "rows"
        if self.state == "skipped" and self.note == GONE:
            return None
        return "orphans" if self.error_class == "orphan" else "dead"


@dataclass(frozen=True, slots=True)
class Selection:
    """Some of a run's dead letters; what is left empty does not narrow them."""

    ids: tuple[int, ...] = ()
    entity: str = ""
    error_class: str = ""
    state: LetterState | Literal[""] = ""


EVERY = Selection()


@dataclass(frozen=True, slots=True)
class LetterCount:
    """How many letters of an entity have a class and a state."""

    entity: str
    error_class: str
    state: LetterState
    letters: int


class DeadLetters:
    """The dead letters of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._audit = Audit(store)

    # -- to look at -----------------------------------------------------------------------------

    def of(
        self, run: int, limit: int = 200, offset: int = 0, selection: Selection = EVERY
    ) -> list[DeadLetter]:
        """Some dead letters of a run, the oldest first."""
        where, arguments = _where(run, selection)
        sql = f"SELECT * FROM dead_letter WHERE {where} ORDER BY id LIMIT ? OFFSET ?"
        return [_letter(row) for row in self._store.all(sql, *arguments, limit, offset)]

    def count(self, run: int, selection: Selection = EVERY) -> int:
        """How many dead letters of a run there are."""
        where, arguments = _where(run, selection)
        row = self._store.one(f"SELECT count(*) AS c FROM dead_letter WHERE {where}", *arguments)
        return int(row["c"]) if row else 0

    def ids(self, run: int, selection: Selection = EVERY, text: str = "") -> array[int]:
        """The ids of a run's dead letters that have all words of `text` in them, the oldest first.

        Eight bytes a letter, so that a list of a million can be paged through.
        """
        where, arguments = _where(run, selection)
        for word in text.split():
            where += f" AND {_TEXT} LIKE ? ESCAPE '\\'"
            arguments.append(f"%{_literally(word)}%")
        # As one text for many ids: a million rows would be a million objects for the collector.
        sql = (
            "SELECT group_concat(id) AS ids, max(id) AS last FROM (SELECT id FROM dead_letter"
            f" WHERE {where} AND id > ? ORDER BY id LIMIT {_IDS_AT_ONCE})"
        )
        found, last = array("q"), 0
        while (row := self._store.one(sql, *arguments, last)) and row["ids"]:
            found.extend(sorted(map(int, row["ids"].split(","))))
            last = row["last"]
        return found

    def one(self, run: int, number: int) -> DeadLetter:
        """The dead letter of that id. Raises UsageError when the run has no such letter."""
        found = self.of(run, 1, 0, Selection(ids=(number,)))
        if not found:
            raise UsageError(
                f"run {run} has no dead letter {number}",
                "",
                f"list them with: geode-tui deadletters list {run}",
            )
        return found[0]

    def counts(self, run: int) -> list[LetterCount]:
        """How many letters there are by entity, class and state, the most first."""
        rows = self._store.all(
            "SELECT entity, error_class, state, count(*) AS letters FROM dead_letter"
            " WHERE run = ? GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
            run,
        )
        return [LetterCount(*row) for row in rows]

    def among(self, run: int, entity: str, keys: Sequence[str]) -> frozenset[str]:
        """Those of some keys of an entity whose rows are left out of the graph."""
        rows = self._store.all(
            "SELECT key FROM dead_letter WHERE run = ? AND entity = ? AND state <> 'written'"
            " AND key IN (SELECT value FROM json_each(?))",
            run,
            entity,
            json.dumps(keys),
        )
        return frozenset(row["key"] for row in rows)

    # -- to give up -----------------------------------------------------------------------------

    def skip(self, run: int, selection: Selection, reason: str, who: str = "") -> int:
        """Give open letters up, with the reason; they still count as left out of the graph.

        Returns how many. Letters of chunks that are not done stay open: they are read again.
        """
        who, last, skipped = who or whoami(), 0, 0
        while True:
            with self._store.write() as db:
                ids = self._ids_after(run, replace(selection, state="open"), last)
                if not ids:
                    return skipped
                db.executemany(
                    "UPDATE dead_letter SET state = 'skipped', note = ?, who = ?, changed = ?"
                    " WHERE id = ?",
                    [(redact(reason), who, time.time(), number) for number in ids],
                )
                after = {"reason": reason, "letters": ids}
                self._audit.add(run, "dead letters skipped", "open", after, who)
            last = ids[-1]
            skipped += len(ids)

    # -- to retry -------------------------------------------------------------------------------

    def groups(self, run: int, selection: Selection) -> list[tuple[str, int]]:
        """The entities and chunks that have letters to retry, by their place in the run."""
        where, arguments = _where(run, selection)
        rows = self._store.all(
            "SELECT DISTINCT dead_letter.entity, chunk FROM dead_letter"
            f" JOIN entity ON entity.run = dead_letter.run AND entity.id = dead_letter.entity"
            f" WHERE {where} AND dead_letter.state <> 'written' AND {_COMPLETE}"
            " ORDER BY entity.position, chunk",
            *arguments,
        )
        return [(row[0], row[1]) for row in rows]

    def incomplete(self, run: int, selection: Selection) -> int:
        """How many letters that are not written are of chunks that are not done."""
        where, arguments = _where(run, selection)
        sql = f"SELECT count(*) AS c FROM dead_letter WHERE {where} AND NOT {_COMPLETE}"
        row = self._store.one(f"{sql} AND state <> 'written'", *arguments)
        return int(row["c"]) if row else 0

    def to_retry(
        self, run: int, selection: Selection, group: tuple[str, int], after: int
    ) -> list[DeadLetter]:
        """Some letters of a chunk that are not written, those with an id over `after`."""
        where, arguments = _where(run, selection)
        rows = self._store.all(
            f"SELECT * FROM dead_letter WHERE {where} AND dead_letter.entity = ? AND chunk = ?"
            " AND dead_letter.id > ? AND dead_letter.state <> 'written' ORDER BY id LIMIT ?",
            *arguments,
            *group,
            after,
            AT_ONCE,
        )
        return [_letter(row) for row in rows]

    def interrupted(self, run: int) -> list[tuple[str, int]]:
        """The entities and steps of retries that ended before their end was journaled."""
        rows = self._store.all(
            "SELECT DISTINCT entity, step FROM dead_letter"
            " WHERE run = ? AND state <> 'written' AND step IS NOT NULL ORDER BY 2",
            run,
        )
        return [(row["entity"], row["step"]) for row in rows]

    def begin_retry(self, run: int, letters: Sequence[DeadLetter]) -> int:
        """Journal that letters of one chunk are about to be written, and return the step.

        The step becomes one of the chunk's, and its digest is forgotten: what the chunk holds is
        not what was read once, so a later snapshot reads it again.
        """
        entity, chunk = letters[0].entity, letters[0].chunk
        with self._store.write() as db:
            step = db.execute(
                "UPDATE run SET steps = steps + 1 WHERE number = ? RETURNING steps", (run,)
            ).fetchone()[0]
            db.execute(
                "UPDATE chunk SET more_steps = json_insert(more_steps, '$[#]', ?), digest = NULL"
                " WHERE run = ? AND entity = ? AND number = ?",
                (step, run, entity, chunk),
            )
            db.executemany(
                "UPDATE dead_letter SET step = ? WHERE id = ?",
                [(step, letter.id) for letter in letters],
            )
        return int(step)

    def end_retry(
        self, run: int, before: Sequence[DeadLetter], after: Sequence[DeadLetter]
    ) -> None:
        """Journal what became of letters of one chunk: each before its retry, and after it.

        The counters of the chunk and the entity move with them, in one transaction.
        """
        with self._store.write() as db:
            self._replace(db, run, before, after)
            told = {
                state: [letter.id for letter in after if letter.state == state]
                for state in ("written", "skipped", "open")
            }
            where = {"entity": before[0].entity, "chunk": before[0].chunk, "step": before[0].step}
            self._audit.add(run, "dead letters retried", where, told)

    def forget_retry(self, run: int, entity: str, step: int) -> None:
        """Journal that an interrupted retry is undone: nothing of its step is in the graph."""
        with self._store.write() as db:
            db.execute(
                "UPDATE dead_letter SET step = NULL"
                " WHERE run = ? AND entity = ? AND step = ? AND state <> 'written'",
                (run, entity, step),
            )
            what = {"entity": entity, "step": step}
            self._audit.add(run, "interrupted retry undone", what, None)

    def take_back(self, run: int, step: int) -> int:
        """Open the letters again that were written in steps after `step`, for a rollback to it.

        To be called before the chunks themselves are reset. Returns how many.
        """
        with self._store.write() as db:
            db.execute(
                "UPDATE dead_letter SET step = NULL WHERE run = ? AND step > ?"
                " AND state <> 'written'",
                (run, step),
            )
            rows = db.execute(
                "SELECT * FROM dead_letter WHERE run = ? AND step > ? AND state = 'written'",
                (run, step),
            ).fetchall()
            before = [_letter(row) for row in rows]
            after = [replace(x, state="open", note="rolled back", step=None) for x in before]
            self._replace(db, run, before, after)
        return len(before)

    def _replace(
        self,
        db: sqlite3.Connection,
        run: int,
        before: Sequence[DeadLetter],
        after: Sequence[DeadLetter],
    ) -> None:
        """Journal letters anew; the counters follow them."""
        moves: dict[tuple[str, int], dict[str, int]] = {}
        for old, new in zip(before, after, strict=True):
            move = moves.setdefault((old.entity, old.chunk), dict.fromkeys(_COUNTERS, 0))
            for counter, by in ((old.counter, -1), (new.counter, 1)):
                if counter is not None:
                    move[counter] += by
        for (entity, chunk), move in moves.items():
            counts = tuple(move[name] for name in _COUNTERS)
            added = ", ".join(f"{name} = {name} + ?" for name in _COUNTERS)
            place = (run, entity)
            db.execute(f"UPDATE entity SET {added} WHERE run = ? AND id = ?", (*counts, *place))
            db.execute(
                f"UPDATE chunk SET {added} WHERE run = ? AND entity = ? AND number = ?",
                (*counts, *place, chunk),
            )
        names = ("key", "error_class", "reason", "state", "note", "who", "changed", "step")
        db.executemany(
            f"UPDATE dead_letter SET row_values = ?, place = ?,"
            f" {', '.join(f'{name} = ?' for name in names)} WHERE id = ?",
            [
                (x.values, json.dumps(x.place), *(getattr(x, name) for name in names), x.id)
                for x in after
            ],
        )

    def _ids_after(self, run: int, selection: Selection, last: int) -> list[int]:
        where, arguments = _where(run, selection)
        rows = self._store.all(
            f"SELECT id FROM dead_letter WHERE {where} AND id > ? AND {_COMPLETE}"
            " ORDER BY id LIMIT ?",
            *arguments,
            last,
            AT_ONCE,
        )
        return [row["id"] for row in rows]


def _literally(word: str) -> str:
    """A word in a LIKE pattern that stands for itself."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def letter_document(letter: DeadLetter) -> dict[str, object]:
    """A dead letter as a JSON document (docs/cli.md)."""
    return asdict(letter)


def insert_letters(
    db: sqlite3.Connection, run: int, chunk: int, letters: Sequence[DeadLetter], now: float
) -> None:
    """Journal a chunk's dead letters, inside the transaction that journals its end."""
    db.executemany(
        "INSERT INTO dead_letter (run, entity, chunk, key, error_class, reason, row_values, at,"
        " place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run,
                letter.entity,
                chunk,
                letter.key,
                letter.error_class,
                letter.reason,
                letter.values,
                now,
                json.dumps(letter.place),
            )
            for letter in letters
        ],
    )


def _where(run: int, selection: Selection) -> tuple[str, list[object]]:
    """A condition on `dead_letter`, and its arguments."""
    conditions, arguments = ["dead_letter.run = ?"], [run]
    wanted: list[tuple[str, object]] = [
        ("entity", selection.entity),
        ("error_class", selection.error_class),
        ("state", selection.state),
    ]
    found: list[object] = list(arguments)
    for name, value in wanted:
        if value:
            conditions.append(f"dead_letter.{name} = ?")
            found.append(value)
    if selection.ids:
        conditions.append("dead_letter.id IN (SELECT value FROM json_each(?))")
        found.append(json.dumps(selection.ids))
    return " AND ".join(conditions), found


def _letter(row: sqlite3.Row) -> DeadLetter:
    place = json.loads(row["place"])
    return DeadLetter(
        row["entity"],
        row["key"],
        row["error_class"],
        row["reason"],
        row["row_values"],
        tuple(place) if place is not None else None,
        row["id"],
        row["chunk"],
        row["at"],
        row["state"],
        row["note"],
        row["who"],
        row["changed"],
        row["step"],
    )
