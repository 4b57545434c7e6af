"""Which mapping a graph holds: each version of its schema is a node in the graph itself.

A node keeps a number, a description, the mapping's hash and text, when it came, by whom and in
which run. Its label starts with `_`, as no label of a mapping can. It carries the run and the
step as all that a run writes, so a rollback of the run takes it away too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping import gql
from geode_tui.mapping.file import dump, mapping_hash, parse
from geode_tui.mapping.model import RUN, Mapping
from geode_tui.migration.audit import whoami
from geode_tui.target.model import NodeBatch, NodeShape, Target

LABEL = "_GeodeTuiSchema"
_FIELDS = {
    "number": "INT",
    "description": "STRING",
    "hash": "STRING",
    "at": "FLOAT",
    "who": "STRING",
    "run": "STRING",
    "mapping": "STRING",
}
SHAPE = NodeShape(LABEL, ("run",), tuple(_FIELDS), tuple(_FIELDS.values()))


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a graph's schema; `at` in seconds since the epoch, `run` the run's uid.

    `text` is the mapping as the text of its file, `hash` its hash.
    """

    number: int
    description: str
    hash: str
    at: float
    who: str
    run: str
    text: str

    @property
    def mapping(self) -> Mapping:
        """The mapping that the graph had then. Raises MappingError."""
        return parse(self.text, f"mapping of version {self.number}").mapping


class Versions:
    """The versions in a target. Methods block, as the target's do."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def all(self) -> list[Version]:
        """All versions, the oldest first."""
        fields = gql.returned("n", tuple(_FIELDS))
        rows = self._target.query(f"MATCH {gql.node_with('n', LABEL)} RETURN {fields}")
        found = [Version(*(row[f"c{n}"] for n in range(len(_FIELDS)))) for row in rows]
        return sorted(found, key=lambda version: version.number)

    def newest(self) -> Version | None:
        """The version that the graph holds, None where it was made without one."""
        return next(reversed(self.all()), None)

    def record(self, mapping: Mapping, description: str, run: str, step: int) -> Version:
        """Let the graph hold one more version, made by `step` of the run of uid `run`.

        A run makes one version: recorded again, it takes the place of the first time's.
        """
        there = self.all()
        own = next((version for version in there if version.run == run), None)
        number = own.number if own else max((v.number for v in there), default=0) + 1
        digest = mapping_hash(mapping)
        row = (number, description, digest, time.time(), whoami(), run, dump(mapping))
        batch = NodeBatch(SHAPE, [(*row, int(digest[:12], 16))], run, (), step)
        written = self._target.write_nodes(batch, repeated=True)
        if written.rows != 1:
            reason = written.refused[0].reason if written.refused else "it was not written"
            raise GeodeTuiError(f"version {number} cannot be recorded in the graph", reason)
        return Version(*row)


def owners(versions: list[Version]) -> tuple[str, ...]:
    """The uids of the runs that wrote what the versions tell of."""
    return tuple(dict.fromkeys(version.run for version in versions))


def of_others(variable: str, runs: tuple[str, ...]) -> str:
    """GQL: that something was written by none of the runs (no run at all, where none is named)."""
    run = gql.member(variable, RUN)
    none = f"{run} IS NULL"
    if not runs:
        return none
    known = ", ".join(gql.literal(uid) for uid in runs)
    return f"({none} OR NOT {run} IN [{known}])"
