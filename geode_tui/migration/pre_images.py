"""Pre-images: what a run overwrote or removed, kept so that a rollback can put it back.

They are kept in one order with what takes back a change of all of an entity (`Undo`) and what
the journal knew (`ChunkImage`): a rollback undoes them the latest first.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from geode_tui.migration import chunk_images
from geode_tui.migration.store import Store
from geode_tui.target.model import Key, NodeImage, RelationshipImage, RelationshipKey

Image = NodeImage | RelationshipImage | None
_READ_ROWS = 1_000
_READ_BYTES = 8 * 1024 * 1024
# The latest ones, as many as rows and bytes allow, and at least one.
_AFTER = (
    "SELECT * FROM (SELECT *, sum(length(image)) OVER (ORDER BY id DESC) AS bytes"
    " FROM pre_image WHERE run = ? AND step > ? AND id < ? ORDER BY id DESC LIMIT ?)"
    " WHERE bytes - length(image) < ? ORDER BY id DESC"
)


@dataclass(frozen=True, slots=True)
class PreImage:
    """What was at a key of an entity before a step; None: nothing was there."""

    id: int
    step: int
    entity: str
    key: Key | RelationshipKey
    image: Image


@dataclass(frozen=True, slots=True)
class Undo:
    """How to take back what a step did to all of an entity: a name in `rollback.UNDO`, and words.

    `operation` has the name under `do`; it must be repeatable.
    """

    id: int
    step: int
    entity: str
    operation: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChunkImage:
    """What the journal said of a chunk before a step; see `chunk_images`."""

    id: int
    step: int
    entity: str
    number: int
    text: str


Kept = PreImage | Undo | ChunkImage


class PreImages:
    """The pre-images of all runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        run: int,
        step: int,
        entity: str,
        images: Sequence[tuple[Key | RelationshipKey, Image]],
    ) -> None:
        """Journal what is at some keys before a step changes it."""
        if not images:
            return
        rows = [(run, step, entity, _dumped(key), _image_text(image)) for key, image in images]
        with self._store.write() as db:
            db.executemany(
                "INSERT INTO pre_image (run, step, kind, entity, place, image)"
                " VALUES (?, ?, 'image', ?, ?, ?)",
                rows,
            )

    def add_undo(self, run: int, step: int, entity: str, operation: dict[str, Any]) -> None:
        """Journal, before a step changes all of an entity, how to take that back."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO pre_image (run, step, kind, entity, place, image)"
                " VALUES (?, ?, 'undo', ?, 'null', ?)",
                (run, step, entity, json.dumps(operation, ensure_ascii=False)),
            )

    def after(self, run: int, step: int) -> Iterator[list[Kept]]:
        """What was kept before steps after `step`, the latest first, in lists."""
        last = 2**62
        while True:
            rows = self._store.all(_AFTER, run, step, last, _READ_ROWS, _READ_BYTES)
            if not rows:
                return
            yield [_kept(row) for row in rows]
            last = rows[-1]["id"]

    def forget_from(self, run: int, number: int) -> None:
        """Forget what was kept from an id on: it is put back."""
        with self._store.write() as db:
            db.execute("DELETE FROM pre_image WHERE run = ? AND id >= ?", (run, number))


def _kept(row: sqlite3.Row) -> Kept:
    place = (row["id"], row["step"], row["entity"])
    if row["kind"] == "undo":
        return Undo(*place, json.loads(row["image"]))
    if row["kind"] == chunk_images.KIND:
        return ChunkImage(*place, json.loads(row["place"]), row["image"])
    return PreImage(*place, _loaded(row["place"]), _image(row["image"]))


def _image_text(image: Image) -> str:
    if image is None:
        return "null"
    document: dict[str, Any] = {"p": plain_value(image.properties)}
    if isinstance(image, NodeImage):
        document["l"] = list(image.labels)
    return json.dumps(document, ensure_ascii=False)


def _image(text: str) -> Image:
    document = json.loads(text)
    if document is None:
        return None
    properties = graph_value(document["p"])
    if "l" in document:
        return NodeImage(tuple(document["l"]), properties)
    return RelationshipImage(properties)


def _dumped(key: Any) -> str:
    return json.dumps(plain_value(key), ensure_ascii=False)


def _loaded(text: str) -> Any:
    return graph_value(json.loads(text))


_READ: dict[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "bytes": base64.b64decode,
    "float": float,
}


def plain_value(value: Any) -> Any:
    """A graph value as JSON; what JSON has no type for is a list of a type's name and a text."""
    if isinstance(value, tuple):
        return ["tuple", *map(plain_value, value)]
    if isinstance(value, list):
        return ["list", *map(plain_value, value)]
    if isinstance(value, dict):
        return {name: plain_value(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, Decimal):
        return ["decimal", str(value)]
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, time):
        return ["time", value.isoformat()]
    if isinstance(value, float):
        return ["float", repr(value)]
    return value


def graph_value(plain: Any) -> Any:
    """The graph value that `plain_value` wrote."""
    if isinstance(plain, dict):
        return {name: graph_value(item) for name, item in plain.items()}
    if not isinstance(plain, list):
        return plain
    kind, *items = plain
    if kind in ("tuple", "list"):
        values = [graph_value(item) for item in items]
        return tuple(values) if kind == "tuple" else values
    return _READ[kind](items[0])
