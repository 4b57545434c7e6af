"""What the connected Geode understands: asked, not believed.

Geode's documents contradict each other and its driver's tests show little, so every form that is
written is tried first: on values alone, or on scratch nodes in a transaction that is rolled back.
Whatever the server does with them, they are looked for and removed afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geode_tui.errors import BusyError, GeodeTuiError, PermissionRefusedError, UsageError
from geode_tui.target.geode_session import Answer, Session, StatementError

SCRATCH = "_GeodeTuiProbe"
"""The label of the nodes that are made to try something."""
_LINK = "_GEODE_TUI_PROBE"
_OLD_SECONDS = 3_600
_ATTEMPTS, _PAUSE = 6, 0.02  # where another transaction is in the way; in seconds, doubled

# The ways to go through a list of rows that is a parameter; `each` is a statement for each row.
UNWIND, FOR, EACH = "UNWIND", "FOR", "each row"
_THROUGH = {UNWIND: "UNWIND $rows AS row ", FOR: "FOR row IN $rows ", EACH: ""}

# {name}, {label}, {fields} (bare names), {node_fields} (with `n.`), {asserted} (these, several in
# parentheses).
INDEXES = {
    "ON Label(property)": "CREATE INDEX {name} ON {label}({fields})",
    "FOR (n:Label) ON (n.property)": "CREATE INDEX {name} FOR (n:{label}) ON ({node_fields})",
}
UNIQUE_INDEX = "CREATE UNIQUE INDEX"
UNIQUES = {
    UNIQUE_INDEX: "CREATE UNIQUE INDEX {name} ON {label}({fields})",
    "CONSTRAINT … ON Label(property) ASSERT UNIQUE": (
        "CREATE CONSTRAINT {name} ON {label}({fields}) ASSERT UNIQUE"
    ),
    "CONSTRAINT … ON (n:Label) ASSERT n.property IS UNIQUE": (
        "CREATE CONSTRAINT {name} ON (n:{label}) ASSERT {asserted} IS UNIQUE"
    ),
    "CONSTRAINT … FOR (n:Label) ON (n.property) UNIQUE": (
        "CREATE CONSTRAINT {name} FOR (n:{label}) ON ({node_fields}) UNIQUE"
    ),
}


def schema_statement(spelling: str, name: str, label: str, fields: Sequence[str]) -> str:
    """A statement of INDEXES or UNIQUES for the properties of a label."""
    of_node = ", ".join(f"n.{field}" for field in fields)
    return spelling.format(
        name=name,
        label=label,
        fields=", ".join(fields),
        node_fields=of_node,
        asserted=f"({of_node})" if len(fields) > 1 else of_node,
    )


@dataclass(frozen=True, slots=True)
class Dialect:
    """What works. `rows` is one of UNWIND, FOR, EACH; `index` and `unique` are keys of INDEXES
    and UNIQUES, empty where no spelling works (or, for `unique`, none keeps a second node out).

    `parts` says that a changing statement may be limited (`WITH n LIMIT 10 DELETE n`), `tried`
    whether statements that write were tried: what is said of them is a guess otherwise.
    """

    parameters: bool = True
    rows: str = UNWIND
    maps: bool = True
    merge: bool = True
    set_map: bool = True
    several: bool = True
    index: str = ""
    unique: str = ""
    show: bool = False
    rollback: bool = True
    rollback_set: bool = True
    direction: bool = True
    delete_relationship: bool = True
    parts: bool = True
    distinct: bool = True
    temporal: bool = False
    tried: bool = True

    @property
    def through(self) -> str:
        """How a statement on `$rows` begins."""
        return _THROUGH[self.rows]

    @property
    def edges(self) -> str:
        """What counts the relationships `r`, each once also where it is met from both ends."""
        return "count(r)" if self.direction or not self.distinct else "count(DISTINCT r)"

    def facts(self) -> list[tuple[str, str]]:
        """Each finding by name, in words."""
        asked = [
            ("parameters", _works(self.parameters)),
            ("rows in a list of maps", self.rows if self.maps else f"do not work: {self.rows}"),
            ("SHOW INDEXES", _works(self.show)),
            ("count(DISTINCT)", _works(self.distinct)),
            ("temporal functions", f"{_works(self.temporal)}; times are kept as ISO 8601 text"),
        ]
        if not self.tried:
            return [*asked, ("what changes the graph", "not tried: opened for reading only")]
        keeps = self.delete_relationship
        return [
            *asked,
            ("index", self.index or "no known spelling works: look-ups scan"),
            ("uniqueness", self.unique or "no known spelling works: keys are looked up first"),
            ("rollback of CREATE", _works(self.rollback)),
            ("rollback of SET", _works(self.rollback_set)),
            ("direction in MATCH", "enforced" if self.direction else "NOT enforced"),
            ("DELETE of a relationship", "keeps its nodes" if keeps else "does NOT work"),
            ("changes in parts (WITH … LIMIT)", _works(self.parts)),
            ("MERGE", _works(self.merge)),
            ("SET from a map", _works(self.set_map)),
            ("several CREATE in a statement", _works(self.several)),
        ]


def _works(works: bool) -> str:
    return "works" if works else "does not work"


async def probe_reading(session: Session) -> Dialect:
    """What can be found out without writing: for a role or a target that only reads."""
    asked = _Asked(session)
    await asked.must("RETURN 1 AS x", {})
    parameters = await asked.gives("RETURN $x AS x", {"x": "a 'b'"}, ["a 'b'"])
    if not parameters:
        raise UsageError(
            "this server takes no parameters",
            "RETURN $x AS x does not give x back",
            "geode-tui sends values as parameters only",
        )
    rows, maps = EACH, False
    given = {"rows": [{"a": 1, "b": None}, {"a": 2, "b": "x"}]}
    for form in (UNWIND, FOR):
        if await asked.gives(f"{_THROUGH[form]}RETURN row.a AS a", given, [1, 2]):
            rows, maps = form, True
            break
    through = "FOR x IN [1, 1, 2]" if rows == FOR else "UNWIND [1, 1, 2] AS x"
    distinct = await asked.gives(f"{through} RETURN count(DISTINCT x) AS c", {}, [2])
    temporal = await asked.works("RETURN datetime($x) AS x", {"x": "2024-02-29T13:14:15.123456Z"})
    show = await asked.may("SHOW INDEXES", {})
    index, unique = next(iter(INDEXES)), next(iter(UNIQUES))  # what would be tried first
    return Dialect(
        True,
        rows,
        maps,
        True,
        True,
        True,
        index,
        unique,
        show,
        distinct=distinct,
        temporal=temporal,
        tried=False,
    )


async def probe(session: Session, mark: str) -> Dialect:
    """All of it, with scratch nodes that are gone afterwards. Raises GeodeTuiError.

    They are known by the mark, see `new_mark`; where the connection breaks, `clean_up` is for them.
    """
    read = await probe_reading(session)
    asked = _Asked(session)
    scratch = _Scratch(asked, mark)
    try:
        await scratch.sweep()
        return await _probe_writing(read, asked, scratch)
    finally:
        with contextlib.suppress(GeodeTuiError):
            await scratch.clear()


def new_mark() -> str:
    """What tells the scratch nodes of one probe from those of others; it begins with the time."""
    return f"{int(time.time()):08x}{uuid.uuid4().hex[:12]}"


async def clean_up(session: Session, mark: str) -> None:
    """Remove all that a probe made whose connection broke, over another one."""
    asked = _Asked(session)
    scratch = _Scratch(asked, mark)
    for label in (SCRATCH, *(_label(mark, number) for number in range(len(UNIQUES)))):
        await scratch.clear(label)
    for number in range(max(len(INDEXES), len(UNIQUES))):
        for letter in "iu":
            await _drop(asked, _name(mark, number, letter))


def _label(mark: str, number: int) -> str:
    return f"{SCRATCH}_{mark}_{number}"


def _name(mark: str, number: int, letter: str) -> str:
    return f"{SCRATCH}_{mark}_{number}_{letter}"


async def _drop(asked: _Asked, name: str) -> None:
    for kind in ("CONSTRAINT", "INDEX"):
        await asked.may(f"DROP {kind} {name}", {})


async def _probe_writing(read: Dialect, asked: _Asked, scratch: _Scratch) -> Dialect:
    label, mark = SCRATCH, scratch.mark
    create = f"CREATE (n:{label} {{probe: $p, key: 1}})"
    await asked.must(create, {"p": mark})
    rollback = await scratch.undone(f"CREATE (n:{label} {{probe: $p, key: 2}})", 1)
    rollback_set = await scratch.undone(
        f"MATCH (n:{label} {{probe: $p}}) SET n.key = 2", 1, "n.key = 1"
    )
    await scratch.clear()
    several = await scratch.makes(
        f"CREATE (:{label} {{probe: $p, key: 1}}) CREATE (:{label} {{probe: $p, key: 2}})", 2
    )
    merge = await scratch.makes(f"MERGE (n:{label} {{probe: $p, key: 1}})", 1)
    set_map = await scratch.makes(
        f"CREATE (n:{label} {{probe: $p}}) SET n += $m", 1, "n.a = 1", {"m": {"a": 1}}
    )
    parts = await _parts(asked, scratch)
    direction, deletes = await _relationships(asked, scratch)
    index = await _first_spelling(asked, INDEXES, scratch, None)
    unique = await _first_spelling(asked, UNIQUES, scratch, _keeps_out)
    return Dialect(
        rows=read.rows,
        maps=read.maps,
        merge=merge,
        set_map=set_map,
        several=several,
        index=index,
        unique=unique,
        show=read.show,
        rollback=rollback,
        rollback_set=rollback_set,
        direction=direction,
        delete_relationship=deletes,
        parts=parts,
        distinct=read.distinct,
        temporal=read.temporal,
    )


async def _parts(asked: _Asked, scratch: _Scratch) -> bool:
    label = SCRATCH
    for key in (1, 2):
        await asked.must(f"CREATE (n:{label} {{probe: $p, key: {key}}})", {"p": scratch.mark})
    works = await asked.works(
        f"MATCH (n:{label} {{probe: $p}}) WITH n LIMIT 1 DETACH DELETE n", {"p": scratch.mark}
    )
    left = await scratch.count()
    await scratch.clear()
    return works and left == 1


async def _relationships(asked: _Asked, scratch: _Scratch) -> tuple[bool, bool]:
    """Whether a direction is kept to, and whether a relationship goes without its nodes."""
    label, given = SCRATCH, {"p": scratch.mark}
    for key in (1, 2):
        await asked.must(f"CREATE (n:{label} {{probe: $p, key: {key}}})", given)
    first, second = (f"({v}:{label} {{probe: $p, key: {k}}})" for v, k in (("a", 1), ("b", 2)))
    await asked.must(f"MATCH {first} MATCH {second} CREATE (a)-[r:{_LINK}]->(b)", given)
    pattern = f"MATCH (a:{label} {{probe: $p, key: 2}})-[r:{_LINK}]->(b:{label} {{probe: $p}})"
    direction = await asked.gives(f"{pattern} RETURN count(r) AS c", given, [0])
    forward = f"MATCH (a:{label} {{probe: $p, key: 1}})-[r:{_LINK}]->(b:{label} {{probe: $p}})"
    gone = await asked.works(f"{forward} DELETE r", given)
    gone = gone and await asked.gives(f"{forward} RETURN count(r) AS c", given, [0])
    whole = await scratch.count() == 2
    await scratch.clear()
    return direction, gone and whole


async def _keeps_out(asked: _Asked, scratch: _Scratch, label: str) -> bool:
    """Whether a second node with the same key is refused."""
    create = f"CREATE (n:{label} {{probe: $p, key: 1}})"
    await asked.must(create, {"p": scratch.mark})
    refused = not await asked.works(create, {"p": scratch.mark})
    await scratch.clear(label)
    return refused


async def _first_spelling(
    asked: _Asked,
    spellings: Mapping[str, str],
    scratch: _Scratch,
    holds: Callable[[_Asked, _Scratch, str], Any] | None,
) -> str:
    """The first spelling that the server understands and that does what it says."""
    for number, (spelling, statement) in enumerate(spellings.items()):
        name = _name(scratch.mark, number, "u" if holds else "i")
        label = _label(scratch.mark, number)
        text = schema_statement(statement, name, label, ["key"])
        if not await asked.may(text, {}):
            continue
        kept = holds is None or await holds(asked, scratch, label)
        await _drop(asked, name)
        if kept:
            return spelling
    return ""


class _Scratch:
    """Nodes made to try something, told apart by a mark."""

    def __init__(self, asked: _Asked, mark: str) -> None:
        self._asked = asked
        self.mark = mark

    async def sweep(self) -> None:
        """Remove what probes left an hour ago or earlier that were killed."""
        given = {"old": f"{int(time.time()) - _OLD_SECONDS:08x}"}
        await self._asked.works(f"MATCH (n:{SCRATCH}) WHERE n.probe < $old DETACH DELETE n", given)

    async def count(self, where: str = "") -> int:
        condition = f" WHERE {where}" if where else ""
        answer = await self._asked.must(
            f"MATCH (n:{SCRATCH} {{probe: $p}}){condition} RETURN count(n) AS c", {"p": self.mark}
        )
        return int(answer.rows[0][0]) if answer.rows else 0

    async def clear(self, label: str = SCRATCH) -> None:
        """Remove what is left."""
        given = {"p": self.mark}
        match = f"MATCH (n:{label} {{probe: $p}})"
        if not await self._asked.works(f"{match} DETACH DELETE n", given):
            await self._asked.works(f"{match} DELETE n", given)

    async def makes(
        self, statement: str, nodes: int, where: str = "", more: Mapping[str, Any] | None = None
    ) -> bool:
        """Whether a statement works and so many nodes are there afterwards; removes them."""
        works = await self._asked.works(statement, {"p": self.mark, **(more or {})})
        made = await self.count(where) if works else 0
        await self.clear()
        return works and made == nodes

    async def undone(self, statement: str, nodes: int, where: str = "") -> bool:
        """Whether a rollback takes back what a statement did."""
        session = self._asked.session
        try:
            await session.begin()
            await session.run(statement, {"p": self.mark})
            await session.rollback()
        except StatementError:
            await session.rollback()
            return False
        if session.broken:
            return False
        return await self.count(where) == nodes


class _Asked:
    """Statements on trial over one connection."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def works(self, text: str, parameters: Mapping[str, Any]) -> bool:
        """Whether the server carries a statement out."""
        for attempt in range(_ATTEMPTS):
            try:
                await self.session.run(text, parameters)
                return True
            except StatementError as error:
                if error.is_of_rights:
                    raise error.told(text) from error
                if not error.is_conflict:
                    return False
            await asyncio.sleep(_PAUSE * 2**attempt)
        return False

    async def may(self, text: str, parameters: Mapping[str, Any]) -> bool:
        """The same of what a role may lack the right for, and it can do without."""
        with contextlib.suppress(PermissionRefusedError):
            return await self.works(text, parameters)
        return False

    async def gives(self, text: str, parameters: Mapping[str, Any], column: Sequence[Any]) -> bool:
        """Whether a statement gives just these values in its first column."""
        try:
            answer = await self.session.run(text, parameters)
        except StatementError as error:
            if error.is_of_rights:
                raise error.told(text) from error
            return False
        return [row[0] for row in answer.rows] == list(column)

    async def must(self, text: str, parameters: Mapping[str, Any]) -> Answer:
        """The answer to what every server must understand. Raises GeodeTuiError."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self.session.run(text, parameters)
            except StatementError as error:
                if not error.is_conflict:
                    raise error.told(text) from error
                last = error
            await asyncio.sleep(_PAUSE * 2**attempt)
        raise BusyError("others are in the way of a probe", str(last), "try again")
