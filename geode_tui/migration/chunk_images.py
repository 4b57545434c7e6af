"""What the journal said of a chunk before a later step changed it, for a rollback to before that.

A chunk's line and its dead letters are kept as they are when the chunk is brought up to another
snapshot; put back, the journal tells of the chunk what the graph holds of it again.
"""

from __future__ import annotations

import json
import sqlite3

KIND = "chunk"
_PLACE = "run = ? AND entity = ? AND number = ?"
_LETTERS = "run = ? AND entity = ? AND chunk = ?"


def keep_chunk(db: sqlite3.Connection, run: int, step: int, entity: str, number: int) -> None:
    """Journal what is known of a chunk before `step` changes it, inside a transaction."""
    place = (run, entity, number)
    line = db.execute(f"SELECT * FROM chunk WHERE {_PLACE}", place).fetchone()
    letters = db.execute(f"SELECT * FROM dead_letter WHERE {_LETTERS} ORDER BY id", place)
    known = {"line": dict(line), "letters": [dict(letter) for letter in letters]}
    db.execute(
        "INSERT INTO pre_image (run, step, kind, entity, place, image) VALUES (?, ?, ?, ?, ?, ?)",
        (run, step, KIND, entity, json.dumps(number), json.dumps(known, ensure_ascii=False)),
    )


def put_back_chunk(db: sqlite3.Connection, run: int, entity: str, number: int, image: str) -> None:
    """Journal a chunk as it was kept, inside a transaction."""
    known, place = json.loads(image), (run, entity, number)
    db.execute(f"DELETE FROM chunk WHERE {_PLACE}", place)
    db.execute(f"DELETE FROM dead_letter WHERE {_LETTERS}", place)
    _insert(db, "chunk", known["line"])
    for letter in known["letters"]:
        del letter["id"]  # another letter may have taken it since
        _insert(db, "dead_letter", letter)


def _insert(db: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names = ", ".join(row)
    places = ", ".join("?" for _ in row)
    db.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values()))
