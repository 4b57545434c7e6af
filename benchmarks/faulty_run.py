"""The process that `benchmarks.faults` breaks: a run with a fault at a named point.

The points are methods of the product, patched in this process alone. At the n-th call, before or
after its work (or inside it: before a journal's transaction is committed), the process kills
itself, or tells the parent and waits for its word, or lets no file grow any more.
"""

from __future__ import annotations

import inspect
import os
import resource
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from geode_tui.mapping.file import load
from geode_tui.migration import batches, postgres_origin
from geode_tui.migration.checkpoints import Checkpoints
from geode_tui.migration.chunks import Chunks
from geode_tui.migration.journal import Journal
from geode_tui.migration.pre_images import PreImages
from geode_tui.migration.runner import Runner, RunRequest
from geode_tui.migration.store import Store
from geode_tui.target.embedded import EmbeddedGraph

CHUNK_ROWS = 60
READ_ROWS = 25
BATCH_ROWS = 20
REACHED = "reached"

JOURNAL: dict[str, tuple[str, ...]] = {
    "Journal": (
        "begin",
        "set_source",
        "set_snapshot",
        "set_state",
        "set_phase",
        "set_findings",
        "set_ledger",
        "add_event",
    ),
    "Chunks": (
        "add_entities",
        "set_entity",
        "set_before",
        "set_shapes",
        "plan",
        "next_step",
        "start",
        "finish",
        "begin_again",
        "finish_again",
        "confirm",
        "forget",
    ),
    "Checkpoints": ("take",),
    "PreImages": ("add",),
    "Store": ("write",),
}
TARGET: dict[str, tuple[str, ...]] = {
    "EmbeddedGraph": (
        "open",
        "prepare",
        "write_nodes",
        "write_relationships",
        "put_nodes",
        "put_relationships",
        "delete_nodes",
        "delete_relationships",
        "flush",
        "close",
    ),
}
_CLASSES: dict[str, type] = {
    kind.__name__: kind for kind in (Journal, Chunks, Checkpoints, PreImages, Store, EmbeddedGraph)
}


@dataclass
class Fault:
    """What happens at the `number`-th call of a point, `when` (before, inside, after)."""

    pipe: Connection
    point: str = ""
    when: str = ""
    number: int = 0
    do: str = ""
    met: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, point: str, when: str) -> None:
        """A point is met."""
        with self._lock:
            if when == "before":
                self.met[point] += 1
            here = (point, when, self.met[point]) == (self.point, self.when, self.number)
            if not here:
                return
            self.number = 0  # once
        if self.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.do == "tell":
            self.pipe.send(REACHED)
            self.pipe.recv()
        elif self.do == "limit":
            largest = max(
                (f.stat().st_size for f in Path(".").rglob("*") if f.is_file()), default=0
            )
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 512, hard))


def patch(fault: Fault) -> None:
    """Have each point tell the fault when it is met."""
    for owner, names in (*JOURNAL.items(), *TARGET.items()):
        kind = _CLASSES[owner]
        for name in names:
            if (owner, name) == ("Store", "write"):
                kind.write = _written(kind.write, fault)  # type: ignore[attr-defined]
            else:
                work = inspect.getattr_static(kind, name)
                setattr(kind, name, _watched(work, f"{owner}.{name}", fault))


def _watched(work: Any, point: str, fault: Fault) -> Any:
    if isinstance(work, classmethod):
        return classmethod(_watched(work.__func__, point, fault))

    @wraps(work)
    def call(*arguments: Any, **options: Any) -> Any:
        fault.at(point, "before")
        result = work(*arguments, **options)
        fault.at(point, "after")
        return result

    return call


def _written(work: Callable[..., Any], fault: Fault) -> Any:
    @contextmanager
    @wraps(work)
    def write(store: Store) -> Iterator[Any]:
        fault.at("Store.write", "before")
        with work(store) as db:
            yield db
            fault.at("Store.write", "inside")
        fault.at("Store.write", "after")

    return write


def run(wanted: dict[str, Any], pipe: Connection) -> None:
    """Begin the run or go on with it; exit 0 done, 3 an error for a person, 4 a defect.

    In the end the parent is told the error, and how often each point was met.
    """
    os.chdir(wanted["folder"])
    errors = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, 2)
    fault = Fault(pipe, **wanted["fault"])
    patch(fault)
    # Small parts, so that a small database has many of them.
    postgres_origin.CHUNK_ROWS = CHUNK_ROWS
    batches.READ_ROWS = READ_ROWS
    journal, dsn = Path("journal/journal.sqlite3"), wanted["dsn"]
    if wanted["run"] is None:
        mapping = load(Path("mapping.yaml")).mapping
        place = str(Path("graph/graph.grafeo").absolute())
        request = RunRequest(dsn, place, mapping, batch_rows=BATCH_ROWS)
        runner = Runner(request, journal=journal)
    else:
        runner = Runner(resume=wanted["run"], source=dsn, journal=journal)
    runner.start()
    runner.join()
    error = str(runner.error) if runner.error is not None else ""
    pipe.send((error, fault.met))
    if error:
        sys.exit(4 if "defect" in error else 3)
