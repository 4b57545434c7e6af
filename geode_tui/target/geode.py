"""Geode as the target: written through its driver, over QUIC or gRPC.

Each batch is one transaction. What another transaction was in the way of is tried again; a commit
counts when a read shows its first and last row. A batch that Geode refuses is halved until the
rows that it refuses are found. Where something may be there already (a repeated chunk, or a server
that keeps no keys unique) keys are looked up first; what another run made is never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from geode_tui.errors import BusyError, GeodeTuiError, LostError, UsageError
from geode_tui.mapping.model import FINGERPRINT, OF, RUN, STEP
from geode_tui.target.geode_change import Changing
from geode_tui.target.geode_dialect import (
    INDEXES,
    UNIQUE_INDEX,
    UNIQUES,
    Dialect,
    schema_statement,
)
from geode_tui.target.geode_dsn import Address
from geode_tui.target.geode_names import clean
from geode_tui.target.geode_read import match_edge
from geode_tui.target.geode_session import Sessions, StatementError, TooLargeError, again
from geode_tui.target.geode_statements import (
    Statements,
    Transaction,
    key_row,
    keyed_node,
    led,
    named,
    of_run,
    relationship_row,
    told,
    typed_key,
    wire_column,
)
from geode_tui.target.keys import comparable
from geode_tui.target.model import (
    NodeBatch,
    NodeShape,
    Refused,
    RelationshipBatch,
    RelationshipKey,
    RelationshipShape,
    Row,
    Written,
)

UNIQUE = ("unique", "another node has the same key")
_RESERVED = ((FINGERPRINT, "row.f"), (RUN, "$run"), (STEP, "$step"))


class GeodeGraph(Changing):
    """A graph in a Geode server. What it tells and changes is in `geode_read`, `geode_change`."""

    many_processes = True
    writers_collide = True

    @classmethod
    def open(
        cls,
        address: Address,
        password: str | None,
        *,
        create: bool = True,
        read_only: bool = False,
        probed: Dialect | None = None,
    ) -> GeodeGraph:
        """Connect, log in, and find out what the server understands.

        The graph of the address is made by the server itself where it is not there; with
        `create` or without makes no difference. With `probed` the server is not asked again what
        it understands. Raises ConnectError, UnreachableError,
        PermissionRefusedError, UsageError.
        """
        sessions = Sessions(address, password)
        try:
            if probed is not None and (probed.tried or read_only):
                statements = Statements.known(sessions, probed)
            else:
                statements = Statements.probed(sessions, writing=not read_only)
        except BaseException:
            sessions.close()
            raise
        return cls(sessions, statements, read_only)

    def close(self) -> None:
        """Close every connection."""
        self._sessions.close()

    def flush(self) -> None:
        """Nothing: what is committed is the server's to keep."""

    # -- indexes and uniqueness -------------------------------------------------------------------

    def statements(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements by which `prepare` makes what these nodes need, ran or not."""
        return [statement for _, statement in self._preparation(nodes)]

    def missing(self, nodes: Sequence[NodeShape]) -> list[str]:
        """The statements that `prepare` would run now."""
        there = self._present_names()
        return [text for name, text in self._preparation(nodes) if name not in there]

    def prepare(self, nodes: Sequence[NodeShape]) -> list[str]:
        """Make indexes, then uniqueness, for each label; returns the statements that ran."""
        self._must_write()
        ran = []
        for statement in self.missing(nodes):
            try:
                self._statements.run(statement)
            except UsageError:  # without SHOW nobody knows what is there; keys are looked up then
                if self.dialect.show:
                    raise
            else:
                ran.append(statement)
        self._unique_names = None
        return ran

    def unprepare(self, statements: Sequence[str]) -> None:
        """Drop the indexes and constraints that these statements of `prepare` made."""
        self._must_write()
        there = self._present_names()
        for statement in reversed(statements):
            name = _name_in(statement)
            if name and (name in there or not self.dialect.show):
                kind = "CONSTRAINT" if statement.startswith("CREATE CONSTRAINT") else "INDEX"
                self._drop(kind, name)
        self._unique_names = None

    def _drop(self, kind: str, name: str) -> None:
        try:
            self._statements.run(f"DROP {kind} {name}")
        except UsageError:  # not there any more, or not known to this server: nothing to drop
            if name in self._present_names():
                raise

    def _preparation(self, shapes: Sequence[NodeShape]) -> list[tuple[str, str]]:
        """The name and the text of each statement, indexes before uniqueness."""
        given = {label for shape in shapes for label in (*shape.labels, *shape.by_value)}
        found: dict[str, str] = {}
        for letter, spellings, spelling in (
            ("i", INDEXES, self.dialect.index),
            ("u", UNIQUES, self.dialect.unique),
        ):
            for shape in shapes if spelling else ():
                alone = shape.label not in given  # else nodes of other keys get the label too
                if letter == "u" and not alone:
                    continue
                if letter == "i" and alone and self.dialect.unique == UNIQUE_INDEX:
                    continue  # which is an index as well
                name = _index_name(shape, letter)
                fields = [named(field) for field in sorted(shape.key, key=lambda f: f == OF)]
                found[name] = schema_statement(
                    spellings[spelling], name, named(shape.label), fields
                )
        return list(found.items())

    def _present_names(self) -> set[str]:
        """The names of all indexes and constraints, as far as the server tells them."""
        names: set[str] = set()
        for statement in ("SHOW INDEXES", "SHOW CONSTRAINTS") if self.dialect.show else ():
            try:
                rows = self._statements.run(statement).rows
            except UsageError:
                continue
            names.update(cell for row in rows for cell in row if isinstance(cell, str))
        return names

    def _is_unique(self, shape: NodeShape) -> bool:
        """Whether the server itself refuses a second node of the same key."""
        names = self._unique_names
        if names is None:
            names = self._unique_names = self._present_names()
        return bool(self.dialect.unique) and _index_name(shape, "u") in names

    # -- nodes ------------------------------------------------------------------------------------

    def write_nodes(self, batch: NodeBatch, repeated: bool) -> Written:
        """Write nodes; rows that Geode refuses are told apart one by one."""
        self._must_write()
        if not batch.rows:
            return Written(0)
        seen: dict[Any, int] = {}
        refused: list[Refused] = []
        attempts = 0

        def write(places: Sequence[int]) -> int:
            nonlocal attempts
            attempts += 1
            # Without a rollback, what a refused attempt wrote is still there.
            left = attempts > 1 and not self.dialect.rollback
            create, replaced, taken = self._sorted_out(batch, places, repeated, left, seen)
            self._write_nodes(batch, create, replaced)
            refused.extend(Refused(place, *UNIQUE) for place in taken)
            return len(places) - len(taken)  # those that were there count too

        written, more = self._halving(range(len(batch.rows)), write)
        return Written(written, (), tuple(sorted([*refused, *more], key=lambda r: r.position)))

    def _sorted_out(
        self,
        batch: NodeBatch,
        places: Sequence[int],
        repeated: bool,
        left: bool,
        seen: dict[Any, int],
    ) -> tuple[Sequence[int], list[int], list[int]]:
        """The positions of the rows to create, to replace, and whose key another node has.

        With `left` an attempt before has left something: that has the row's own fingerprint.
        `seen` says which row of the batch has a key first.
        """
        if not repeated and not left and self._is_unique(batch.shape):
            return places, [], []
        create, replaced, taken = [], [], []
        shape = batch.shape
        fields = [shape.properties.index(name) for name in shape.key]
        keys = [tuple(batch.rows[place][field] for field in fields) for place in places]
        hidden = [place for place, key in zip(places, keys, strict=True) if not _is_found(key)]
        there = self._written_before(batch, hidden) if hidden and (repeated or left) else set()
        for place, key, marks in zip(places, keys, self._marks_of(shape, keys), strict=True):
            ours = [mark for run, mark in marks if run == batch.run]
            first = place if None in key else seen.setdefault(comparable(key), place)
            if place in there:
                continue
            if first != place:
                taken.append(place)
            elif not marks:
                create.append(place)
            elif (repeated and ours) or (left and batch.rows[place][-1] in ours):
                replaced.append(place)
            else:
                taken.append(place)
        return create, replaced, taken

    def _written_before(self, batch: NodeBatch, places: Sequence[int]) -> set[int]:
        """Those of the rows that an attempt before has written, by their fingerprints (a scan)."""
        text = (
            f"MATCH (n:{named(batch.shape.label)}) WHERE {of_run('n')} AND n.{STEP} = $step "
            f"AND n.{FINGERPRINT} = row.f RETURN row.f AS f"
        )
        rows = [{"f": batch.rows[place][-1]} for place in places]
        found = self._statements.ask(text, rows, {"run": batch.run, "step": batch.step})
        marks = {row[0] for row in found}
        return {place for place in places if batch.rows[place][-1] in marks}

    def _write_nodes(self, batch: NodeBatch, made: Sequence[int], changed: Sequence[int]) -> None:
        """Create and replace nodes in one transaction, and look whether they are there."""

        def work(open_: Transaction) -> None:
            for label, places in _by_label(batch, made):
                self._create_nodes(open_, batch, label, places)
            for label, places in _by_label(batch, changed):
                self._replace_nodes(open_, batch, label, places)

        self._committed(work)
        proofs = [_node_proof(batch, place) for place in _ends([*made, *changed])]
        found = [row for row in proofs if _is_found(row.values())]
        scanned = [row for row in proofs if row not in found]
        for pattern, rows in (
            (keyed_node("n", batch.shape, "k"), found),
            (f"(n:{named(batch.shape.label)})", scanned),
        ):
            self._prove(
                f"MATCH {pattern} WHERE {of_run('n')} AND n.{FINGERPRINT} = row.f "
                "RETURN row.f AS f",
                rows,
                batch.run,
            )

    def _create_nodes(
        self, open_: Transaction, batch: NodeBatch, label: str | None, places: Sequence[int]
    ) -> None:
        shape = batch.shape
        labels = ":".join(dict.fromkeys(named(one) for one in _labels(shape, label)))
        fields = [(named(name), f"row.p{n}") for n, name in enumerate(shape.properties)]
        text = f"CREATE (n:{labels} {{{_pairs((*fields, *_RESERVED))}}})"
        names, columns = _columns([batch.rows[place] for place in places], len(fields))
        open_.on_columns(text, names, columns, {"run": batch.run, "step": batch.step})

    def _replace_nodes(
        self, open_: Transaction, batch: NodeBatch, label: str | None, places: Sequence[int]
    ) -> None:
        shape = batch.shape
        wanted = dict.fromkeys(named(one) for one in _labels(shape, label))
        lost = dict.fromkeys(named(one) for one in shape.by_value if named(one) not in wanted)
        fields = [(n, name) for n, name in enumerate(shape.properties) if name not in shape.key]
        sets = [f"n.{named(name)} = row.p{n}" for n, name in fields]
        sets += [f"n.{name} = {value}" for name, value in _RESERVED if name != RUN]
        text = f"MATCH {keyed_node('n', shape, 'k')} WHERE {of_run('n')} SET {', '.join(sets)}"
        text += "".join(f" SET n:{one}" for one in list(wanted)[1:])
        text += "".join(f" REMOVE n:{one}" for one in lost)
        rows = [batch.rows[place] for place in places]
        names, columns = _columns(rows, len(shape.properties))
        for n, name in enumerate(shape.key):
            names.append(f"k{n}")
            columns.append(columns[shape.properties.index(name)])
        answer = open_.on_columns(
            f"{text} RETURN count(n) AS c", names, columns, {"run": batch.run, "step": batch.step}
        )
        if sum(int(row[0]) for row in answer.rows) < len(places):
            raise BusyError("the graph is changed by others meanwhile", "nodes are gone", "")

    # -- relationships ----------------------------------------------------------------------------

    def write_relationships(self, batch: RelationshipBatch, repeated: bool) -> Written:
        """Write relationships; a row whose end is not there is an orphan."""
        self._must_write()
        shape = batch.shape
        if not self.dialect.direction and named(shape.start.label) == named(shape.end.label):
            raise GeodeTuiError(
                f"relationships {shape.type} between {shape.start.label} and itself cannot be told",
                "this server does not tell the directions of relationships apart in MATCH",
                "leave the rule out, or use a Geode that does",
            )
        # Where keys may be doubled, an orphan and a row with two ends would look like two rows.
        countable = self._is_unique(shape.start) and self._is_unique(shape.end)
        left = repeated  # something of it may be there
        orphans: list[int] = []

        def write(places: Sequence[int]) -> int:
            nonlocal left
            if left:
                places = self._not_there(batch, places)
            left = left or not self.dialect.rollback
            fast = countable and self.dialect.rollback
            if fast and self._connect(batch, places) == len(places):
                return len(places)
            ends = self._ends_of(batch, places)
            single = [place for place in places if ends[place] == 1]
            several = [place for place in places if ends[place] > 1]
            count = self._connect(batch, single)
            left = left or bool(several)  # were they refused, the others are written already
            count += self._connect(batch, several, own=True)
            orphans.extend(place for place in places if not ends[place])
            return count

        _, refused = self._halving(range(len(batch.rows)), write)
        rows = len(batch.rows) - len(orphans) - len(refused)  # those that were there count too
        return Written(rows, tuple(sorted(orphans)), tuple(refused))

    def _connect(self, batch: RelationshipBatch, places: Sequence[int], own: bool = False) -> int:
        """Make relationships; -1, and nothing is made, where it would not be one for each row.

        With `own` only nodes of this run are ends: other nodes have the same keys.
        """
        if not places:
            return 0
        shape = batch.shape
        size = len(shape.start.key) + len(shape.end.key)
        fields = [(named(name), f"row.p{n}") for n, name in enumerate(shape.properties, size)]
        where = f"WHERE {of_run('a')} AND {of_run('b')} " if own else ""
        text = (
            f"MATCH {keyed_node('a', shape.start, 'a')} MATCH {keyed_node('b', shape.end, 'b')} "
            f"{where}CREATE (a)-[r:{named(shape.type)} {{{_pairs((*fields, *_RESERVED))}}}]->(b) "
            "RETURN count(r) AS c"
        )
        names, columns = _columns([batch.rows[p] for p in places], size + len(fields))
        for n in range(size):
            first = len(shape.start.key)
            names[n] = f"a{n}" if n < first else f"b{n - first}"

        def work(open_: Transaction) -> int:
            given = {"run": batch.run, "step": batch.step}
            answer = open_.on_columns(text, names, columns, given)
            count = sum(int(row[0]) for row in answer.rows)
            if count != len(places):
                raise _UnevenError
            return count

        try:
            count = self._committed(work)
        except _UnevenError:
            if own or not self.dialect.rollback:
                raise LostError("ends were removed meanwhile", "", "try again") from None
            return -1
        self._prove(
            f"MATCH {keyed_node('a', shape.start, 'a')}{led(shape)}"
            f"{keyed_node('b', shape.end, 'b')} "
            f"WHERE {of_run('r')} AND r.{FINGERPRINT} = row.f RETURN row.f AS f",
            [_relationship_proof(batch, place) for place in _ends(places)],
            batch.run,
        )
        return count

    def _ends_of(self, batch: RelationshipBatch, places: Sequence[int]) -> Counter[int]:
        """How many pairs of ends there are for each row."""
        shape = batch.shape
        rows = [_end_row(batch, place) | {"i": place} for place in places]
        found = self._statements.ask(
            f"MATCH {keyed_node('a', shape.start, 'a')} MATCH {keyed_node('b', shape.end, 'b')} "
            "RETURN row.i AS i",
            rows,
        )
        return Counter(int(row[0]) for row in found)

    def _not_there(self, batch: RelationshipBatch, places: Sequence[int]) -> list[int]:
        """The positions of what an interrupted attempt of this step has not written yet.

        What it wrote and is no more true goes, so that it can be written anew.
        """
        shape = batch.shape
        wanted: dict[Any, list[int]] = defaultdict(list)  # of the whole batch: some may be a half
        for place in range(len(batch.rows)):
            *identity, mark = _parts(batch, place)
            wanted[(*map(comparable, identity), mark)].append(place)
        identities = {tuple(identity) for *identity, _ in wanted}
        stale: dict[Any, tuple[Any, Any]] = {}
        there: Counter[Any] = Counter()
        for key, mark in self._of_step(batch, places):
            found = tuple(map(comparable, key))
            there[(*found, mark)] += 1
            more = there[(*found, mark)] > len(wanted.get((*found, mark), ()))
            if more and (shape.owned or found in identities):
                stale[(*found, mark)] = (key, mark)
        self._remove_stale(shape, list(stale.values()), batch.run, batch.step)
        present = {
            place
            for identity, count in there.items()
            if identity not in stale
            for place in wanted.get(identity, ())[:count]
        }
        return sorted(set(places) - present)

    def _of_step(
        self, batch: RelationshipBatch, places: Sequence[int]
    ) -> Iterable[tuple[RelationshipKey, Any]]:
        """Key and fingerprint of what the step has written between the ends of some rows.

        Of a foreign key all that their starts have: the end may be another one now.
        """
        shape = batch.shape
        names = [f"b.{named(name)}" for name in shape.end.key]
        names += [f"r.{named(name)}" for name in shape.key]
        ends: dict[Any, dict[str, Any]] = {}
        for place in places:
            start, end, *_ = _parts(batch, place)
            if shape.owned:
                ends[comparable(start)] = key_row(shape.start, start, "a")
            else:
                ends[comparable(start), comparable(end)] = _end_row(batch, place)
        rows = [row | {"i": n} for n, row in enumerate(ends.values())]
        starts = [tuple(row[f"a{n}"] for n in range(len(shape.start.key))) for row in rows]
        end_pattern = f"(b:{named(shape.end.label)})"
        if not shape.owned:
            end_pattern = keyed_node("b", shape.end, "b")
        listed = "".join(f", {name} AS c{n}" for n, name in enumerate(names))
        found = self._statements.ask(
            f"MATCH {keyed_node('a', shape.start, 'a')}{led(shape)}{end_pattern} "
            f"WHERE {of_run('r')} AND r.{STEP} = $step "
            f"RETURN row.i AS i, r.{FINGERPRINT} AS f{listed}",
            rows,
            {"run": batch.run, "step": batch.step},
        )
        for number, mark, *values in found:
            end = typed_key(shape.end, values[: len(shape.end.key)])
            own = typed_key(shape, values[len(shape.end.key) :])
            yield (starts[int(number)], end, own), mark

    def _remove_stale(
        self,
        shape: RelationshipShape,
        stale: Sequence[tuple[RelationshipKey, Any]],
        run: str,
        step: int,
    ) -> None:
        if not stale:
            return
        self._must_delete_relationships()
        groups: dict[tuple[bool, ...], list[dict[str, Any]]] = defaultdict(list)
        for key, mark in stale:
            nulls = tuple(value is None for value in key[2])
            groups[nulls].append(relationship_row(shape, key) | {"f": mark})
        joint = "AND" if shape.key else "WHERE"

        def work(open_: Transaction) -> None:
            for nulls, rows in groups.items():
                text = (
                    f"{match_edge(shape, nulls)} {joint} {of_run('r')} AND r.{STEP} = $step "
                    f"AND r.{FINGERPRINT} = row.f DELETE r"
                )
                open_.on_rows(text, rows, {"run": run, "step": step})

        self._statements.change(work)

    # -- batches ----------------------------------------------------------------------------------

    def _halving(
        self, places: Sequence[int], write: Callable[[Sequence[int]], int]
    ) -> tuple[int, list[Refused]]:
        """Write all rows at once; where Geode refuses, find the rows that it refuses."""
        if not places:
            return 0, []
        try:
            return write(places), []
        except StatementError as error:
            if not error.is_of_row:
                raise error.told("a batch") from error
            if len(places) == 1:
                return 0, [_refused(places[0], error)]
        except TooLargeError as error:
            if len(places) == 1:
                why = f"the row is larger than the server takes: {error}"
                return 0, [Refused(places[0], "value", why)]
        except ValueError as error:  # before anything was sent
            if len(places) == 1:
                return 0, [Refused(places[0], "value", f"a value cannot be sent: {error}")]
        middle = len(places) // 2
        first, some = self._halving(places[:middle], write)
        second, more = self._halving(places[middle:], write)
        return first + second, some + more

    def _committed[T](self, work: Callable[[Transaction], T]) -> T:
        """Do some work in a transaction; again where another one was in the way."""

        def once() -> T:
            with self._statements.transaction() as open_:
                return work(open_)

        try:
            return again(once)
        except StatementError as error:
            if error.is_of_row:
                raise
            raise error.told("a batch") from error

    def _prove(self, text: str, rows: Sequence[dict[str, Any]], run: str) -> None:
        """Look for what was committed: an answer of the server alone does not count.

        Raises LostError where it is not there.
        """
        wanted = {row["f"] for row in rows}
        with told(text):
            found = {row[0] for row in self._statements.ask(text, rows, {"run": run})}
        if not wanted <= found:
            raise LostError(
                "Geode told that a batch is committed, and it is not there",
                "a read after the commit does not show it",
                "write it again: geode-tui resume",
            )


class _UnevenError(Exception):
    """Not one relationship for each row: ends are missing, or there are several."""


def _labels(shape: NodeShape, by_value: str | None) -> list[str]:
    return [shape.label, *shape.labels, *([by_value] if by_value is not None else [])]


def _by_label(batch: NodeBatch, places: Sequence[int]) -> Iterable[tuple[str | None, list[int]]]:
    """The positions apart by the label that the row's value gives."""
    apart: dict[str | None, list[int]] = defaultdict(list)
    for place in places:
        apart[batch.by_value[place] if batch.by_value else None].append(place)
    return apart.items()


def _columns(rows: Sequence[Row], size: int) -> tuple[list[str], list[Sequence[Any]]]:
    """The columns of rows of so many values and a fingerprint, as wire values with names."""
    columns = [wire_column(column) for column in zip(*rows, strict=True)]
    return [*(f"p{n}" for n in range(size)), "f"], columns


def _pairs(fields: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in fields)


def _ends(places: Sequence[int]) -> list[int]:
    return sorted({places[0], places[-1]}) if places else []


def _node_proof(batch: NodeBatch, place: int) -> dict[str, Any]:
    row, shape = batch.rows[place], batch.shape
    key = tuple(row[shape.properties.index(name)] for name in shape.key)
    return key_row(shape, key, "k") | {"f": row[-1]}


def _is_found(values: Iterable[Any]) -> bool:
    """Whether properties can be looked for by values: nothing equals null or NaN."""
    return all(value is not None and value == value for value in values)


def _end_row(batch: RelationshipBatch, place: int) -> dict[str, Any]:
    start, end, *_ = _parts(batch, place)
    return key_row(batch.shape.start, start, "a") | key_row(batch.shape.end, end, "b")


def _relationship_proof(batch: RelationshipBatch, place: int) -> dict[str, Any]:
    return _end_row(batch, place) | {"f": batch.rows[place][-1]}


def _parts(batch: RelationshipBatch, place: int) -> tuple[Row, Row, Row, Any]:
    """A row's start key, end key, own key and fingerprint."""
    shape, row = batch.shape, batch.rows[place]
    first, second = len(shape.start.key), len(shape.start.key) + len(shape.end.key)
    values = dict(zip(shape.properties, row[second:], strict=False))
    return row[:first], row[first:second], tuple(values[name] for name in shape.key), row[-1]


def _index_name(shape: NodeShape, letter: str) -> str:
    text = json.dumps([named(shape.label), sorted(named(name) for name in shape.key)])
    return clean(f"key_{hashlib.sha256(text.encode()).hexdigest()[:12]}_{letter}")


def _name_in(statement: str) -> str:
    """The name in a statement of `prepare`, empty in one that is not of ours."""
    for word in statement.split():
        if word.startswith("key_") and word[-2:] in ("_i", "_u"):
            return word
    return ""


def _refused(place: int, error: StatementError) -> Refused:
    if error.code.startswith("23"):
        return Refused(place, *UNIQUE)
    return Refused(place, "value", str(error))
