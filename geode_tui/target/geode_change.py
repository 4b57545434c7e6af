"""What changes things that are in Geode: rollback, reconciliation, a new mapping.

Everything here can be done again after it was interrupted, and leaves alone what no run wrote.
What goes over a whole graph is done in parts, each a transaction of bounded size, where the server
takes a limit; what is left is counted after each part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.model import RUN, STEP
from geode_tui.target.geode_read import Reading, after, bounds, match_edge
from geode_tui.target.geode_statements import (
    Transaction,
    given_ends,
    given_of,
    key_row,
    keyed_node,
    labelled,
    named,
    of_run,
    plain,
    related,
    relationship_row,
    restored,
    told_apart,
)
from geode_tui.target.images import difference, last, may_change
from geode_tui.target.model import (
    Answers,
    Key,
    NodeImage,
    NodeShape,
    RelationshipImage,
    RelationshipKey,
    RelationshipShape,
    Row,
    Statement,
)

PART = 20_000
"""Nodes or relationships that one transaction changes, where the server takes a limit."""

_Rows = list[dict[str, Any]]


class Changing(Reading):
    """The part of the target that changes what is there."""

    # -- what a run wrote -------------------------------------------------------------------------

    def run_together(
        self, statements: Sequence[Statement], check: Callable[[Answers], None]
    ) -> None:
        """Run statements with parameters in one transaction, which `check` may still undo."""

        def work(open_: Transaction) -> None:
            answers = []
            for text, parameters in statements:
                answer = open_.run(plain(text), parameters)
                names = told_apart(answer.columns)
                answers.append([dict(zip(names, row, strict=True)) for row in answer.rows])
            check(answers)

        self._statements.change(work, "one of several statements")

    def delete_nodes(self, shape: NodeShape, run: str) -> int:
        """Remove the nodes of a shape that a run wrote, with their relationships."""
        match = f"MATCH {labelled('n', shape)} WHERE {of_run('n')}"
        return self._delete(match, "n", given_of(n=shape) | {"run": run})

    def delete_relationships(self, shape: RelationshipShape, run: str) -> int:
        """Remove the relationships of a shape that a run wrote."""
        match = f"MATCH {related(shape)} WHERE {of_run('r')}"
        return self._delete(match, "r", given_ends(shape) | {"run": run})

    def delete_after(self, run: str, step: int) -> tuple[int, int]:
        """Remove all that a run wrote in steps after `step` (0: all), relationships first.

        A relationship that somebody else has made to one of the nodes goes with the node.
        """
        given = bounds(run, step)
        relationships = self._delete(f"MATCH ()-[r]->() WHERE {after('r', step)}", "r", given)
        return self._delete(f"MATCH (n) WHERE {after('n', step)}", "n", given), relationships

    def _delete(self, match: str, variable: str, given: Mapping[str, Any]) -> int:
        """Remove all that matches, in parts; returns how many. Raises GeodeTuiError."""
        number = self.dialect.edges if variable == "r" else "count(n)"
        count = f"{match} RETURN {number} AS c"
        before = left = self._number(count, dict(given))
        if left and variable == "r":
            self._must_delete_relationships()
        remove = "DETACH DELETE n" if variable == "n" else "DELETE r"
        while left:
            part = f" WITH {variable} LIMIT {PART}" if self.dialect.parts else ""
            self._changed(f"{match}{part} {remove}", given)
            now = self._number(count, dict(given))
            if now >= left:
                raise GeodeTuiError(
                    "the graph does not let go of what a run wrote", f"{now:,} are left", ""
                )
            left = now
        return before

    def _changed(self, text: str, given: Mapping[str, Any]) -> None:
        self._must_write()
        self._statements.change(lambda open_: open_.run(text, given))

    # -- as an image says -------------------------------------------------------------------------

    def put_nodes(
        self,
        shape: NodeShape,
        images: Sequence[tuple[Key, NodeImage | None]],
        run: str | None = None,
    ) -> None:
        """Make the node of each key what the image says: made, replaced or (None) removed.

        In one transaction, repeatable; see `model.Target.put_nodes`.
        """
        self._must_write()
        images = last(images)
        there = self.node_images(shape, [key for key, _ in images], run)
        removed: dict[Any, _Rows] = defaultdict(list)
        made: dict[Any, _Rows] = defaultdict(list)
        sets: dict[Any, _Rows] = defaultdict(list)
        for (key, image), now in zip(images, there, strict=True):
            ours = now is not None and may_change(now.properties, image, run)
            whose = None if now is None else now.properties.get(RUN)
            found = key_row(shape, key, "k") | ({} if whose is None else {"w": whose})
            if image is None:
                if ours:
                    removed[whose is None].append(found)
            elif now is None or not ours:
                names = tuple(sorted(image.properties))
                row = {f"p{n}": image.properties[name] for n, name in enumerate(names)}
                made[image.labels, names].append(row)
            else:
                labels = _label_clauses(now.labels, image.labels)
                wanted = difference(now.properties, image.properties)
                names = tuple(sorted(wanted))
                if names or labels:
                    values = {f"p{n}": wanted[name] for n, name in enumerate(names)}
                    sets[whose is None, names, labels].append(found | values)

        def work(open_: Transaction) -> None:
            for unstamped, rows in removed.items():
                open_.on_rows(f"{_owned_node(shape, unstamped)} DETACH DELETE n", rows)
            for (unstamped, names, labels), rows in sets.items():
                clauses = _set_clauses("n", names) + labels
                open_.on_rows(f"{_owned_node(shape, unstamped)}{clauses}", rows)
            for (labels, names), rows in made.items():
                listed = ":".join(dict.fromkeys(map(named, _first(shape, labels))))
                fields = ", ".join(f"{named(name)}: row.p{n}" for n, name in enumerate(names))
                open_.on_rows(f"CREATE (n:{listed} {{{fields}}})", rows)

        self._statements.change(work, "what is put back")

    def put_relationships(
        self,
        shape: RelationshipShape,
        images: Sequence[tuple[RelationshipKey, RelationshipImage | None]],
        run: str | None = None,
        steps: Sequence[int] | None = None,
    ) -> None:
        """Make the relationship of each key what the image says; see `put_nodes`.

        With `steps` those that other steps wrote stay as they are. A relationship of which an end
        is not there is left out.
        """
        self._must_write()
        images = last(images)
        there = self._edges_of(shape, [key for key, _ in images])
        removed: dict[Any, _Rows] = defaultdict(list)
        made: dict[Any, _Rows] = defaultdict(list)
        sets: dict[Any, _Rows] = defaultdict(list)
        for (key, image), edges in zip(images, there, strict=True):
            nulls = tuple(value is None for value in key[2])
            ours = [
                edge.properties
                for edge in edges
                if may_change(edge.properties, image, run)
                and (steps is None or edge.properties.get(STEP) in steps)
            ]
            row = relationship_row(shape, key)
            if image is None:
                for own in ours:
                    removed[nulls, *_marks(own)].append(row | _mark_row(own))
            elif ours:
                wanted = changed_properties(shape, ours[0], image)
                if names := tuple(sorted(wanted)):
                    values = {f"p{n}": wanted[name] for n, name in enumerate(names)}
                    group = nulls, *_marks(ours[0]), names
                    sets[group].append(row | _mark_row(ours[0]) | values)
            else:
                names = tuple(sorted(image.properties))
                values = {f"p{n}": image.properties[name] for n, name in enumerate(names)}
                made[names].append(row | values)
        if removed:
            self._must_delete_relationships()

        def work(open_: Transaction) -> None:
            for (nulls, *marks), rows in removed.items():
                open_.on_rows(f"{_marked_edge(shape, nulls, marks)} DELETE r", rows)
            for (nulls, *marks, names), rows in sets.items():
                clauses = _set_clauses("r", names)
                open_.on_rows(f"{_marked_edge(shape, nulls, marks)}{clauses}", rows)
            for names, rows in made.items():
                fields = ", ".join(f"{named(name)}: row.p{n}" for n, name in enumerate(names))
                open_.on_rows(
                    f"MATCH {keyed_node('a', shape.start, 'a')} "
                    f"MATCH {keyed_node('b', shape.end, 'b')} "
                    f"CREATE (a)-[r:{named(shape.type)} {{{fields}}}]->(b)",
                    rows,
                )

        self._statements.change(work, "what is put back")

    # -- from one mapping to the next -------------------------------------------------------------

    def update_nodes(
        self, shape: NodeShape, names: Sequence[str], rows: Sequence[tuple[Key, Row]]
    ) -> int:
        """Set some properties (None removes one) of the nodes of some keys; how many there were."""
        if not names or not rows:
            return 0
        self._must_write()
        text = (
            f"MATCH {keyed_node('n', shape, 'k')} WHERE n.{RUN} IS NOT NULL"
            f"{_set_clauses('n', names)} RETURN count(n) AS c"
        )
        given = [
            key_row(shape, key, "k") | {f"p{n}": value for n, value in enumerate(values)}
            for key, values in rows
        ]
        answer = self._statements.change(lambda open_: open_.on_rows(text, given))
        return sum(int(row[0]) for row in answer.rows)

    def update_relationships(
        self,
        shape: RelationshipShape,
        names: Sequence[str],
        rows: Sequence[tuple[RelationshipKey, Row]],
    ) -> int:
        """Set some properties (None removes one) of the relationships of some keys."""
        if not names or not rows:
            return 0
        self._must_write()
        groups: dict[tuple[bool, ...], _Rows] = defaultdict(list)
        for key, values in rows:
            row = relationship_row(shape, key) | {f"p{n}": v for n, v in enumerate(values)}
            groups[tuple(value is None for value in key[2])].append(row)

        def work(open_: Transaction) -> int:
            count = 0
            for nulls, some in groups.items():
                match = match_edge(shape, nulls)
                joint = "AND" if shape.key else "WHERE"
                text = (
                    f"{match} {joint} r.{RUN} IS NOT NULL{_set_clauses('r', names)} "
                    "RETURN count(r) AS c"
                )
                count += sum(int(row[0]) for row in open_.on_rows(text, some).rows)
            return count

        return self._statements.change(work)

    def rename_property(self, shape: NodeShape | RelationshipShape, old: str, new: str) -> int:
        """Give a property another name wherever it is; how many had it. Repeatable."""
        before, now = named(old), named(new)
        if before == now:
            return 0
        variable, match, given = _everything(shape)
        where = f"{match} AND {variable}.{before} IS NOT NULL"
        sets = f"SET {variable}.{now} = {variable}.{before}, {variable}.{before} = null"
        return self._in_parts(where, variable, sets, given)

    def remove_property(self, shape: NodeShape | RelationshipShape, name: str) -> int:
        """Remove a property; how many had it. Repeatable."""
        variable, match, given = _everything(shape)
        value = f"{variable}.{named(name)}"
        return self._in_parts(
            f"{match} AND {value} IS NOT NULL", variable, f"SET {value} = null", given
        )

    def add_label(self, shape: NodeShape, label: str) -> int:
        """Give every node of a shape one more label; how many had it not. Repeatable."""
        variable, match, given = _everything(shape)
        where = f"{match} AND NOT n:{named(label)}"
        return self._in_parts(where, variable, f"SET n:{named(label)}", given)

    def remove_label(self, shape: NodeShape, label: str) -> int:
        """Take a label from all nodes of a shape that have another besides; how many did."""
        variable, match, given = _everything(shape)
        where = f"{match} AND n:{named(label)} AND size(labels(n)) > 1"
        return self._in_parts(where, variable, f"REMOVE n:{named(label)}", given)

    def rename_type(self, shape: RelationshipShape, new: str) -> int:
        """Give the relationships of a shape another type, all properties kept. Repeatable.

        One by one of another type is made and the old one removed, in one transaction a part.
        """
        if named(shape.type) == named(new):
            return 0
        self._must_write()
        self._must_delete_relationships()
        _, match, given = _everything(shape)
        count = left = self._number(f"{match} RETURN count(r) AS c", given)
        part = f" WITH a, r, b LIMIT {PART}" if self.dialect.parts else ""
        text = f"{match}{part} CREATE (a)-[s:{named(new)}]->(b) SET s = properties(r) DELETE r"
        while left:
            self._changed(text, given)
            now = self._number(f"{match} RETURN count(r) AS c", given)
            if now >= left:
                raise GeodeTuiError("relationships do not take another type", f"{now:,} left", "")
            left = now
        return count

    def _in_parts(self, where: str, variable: str, action: str, given: Mapping[str, Any]) -> int:
        """Change all that matches until nothing does any more; returns how many."""
        count = f"{where} RETURN count({variable}) AS c"
        before = left = self._number(count, dict(given))
        while left:
            part = f" WITH {variable} LIMIT {PART}" if self.dialect.parts else ""
            self._changed(f"{where}{part} {action}", given)
            now = self._number(count, dict(given))
            if now >= left:
                raise GeodeTuiError("the graph does not change", f"{now:,} are as before", "")
            left = now
        return before


def changed_properties(
    shape: RelationshipShape, own: Mapping[str, Any], image: RelationshipImage
) -> dict[str, Any]:
    """What leads from a relationship's properties to an image's; None removes one."""
    return difference(restored(shape, own), image.properties)


def _first(shape: NodeShape, labels: Iterable[str]) -> list[str]:
    """Labels, the shape's own first."""
    return sorted(labels, key=lambda label: label != shape.label)


def _owned_node(shape: NodeShape, unstamped: bool) -> str:
    """The clause that matches the node of a key that is of the run in `row.w`, or of none."""
    whose = f"n.{RUN} IS NULL" if unstamped else f"n.{RUN} = row.w"
    return f"MATCH {keyed_node('n', shape, 'k')} WHERE {whose}"


def _marks(own: Mapping[str, Any]) -> tuple[bool, bool]:
    return own.get(RUN) is None, own.get(STEP) is None


def _mark_row(own: Mapping[str, Any]) -> dict[str, Any]:
    found = {"w": own.get(RUN), "s": own.get(STEP)}
    return {name: value for name, value in found.items() if value is not None}


def _marked_edge(shape: RelationshipShape, nulls: Sequence[bool], marks: Sequence[bool]) -> str:
    """The clause that matches the relationship of a key of the run and step in `row`."""
    pairs = zip((RUN, STEP), ("w", "s"), marks, strict=True)
    own = [
        f"r.{name} IS NULL" if null else f"r.{name} = row.{given}" for name, given, null in pairs
    ]
    joint = "AND" if shape.key else "WHERE"
    return f"{match_edge(shape, nulls)} {joint} {' AND '.join(own)}"


def _set_clauses(variable: str, names: Sequence[str]) -> str:
    sets = [f"{variable}.{named(name)} = row.p{n}" for n, name in enumerate(names)]
    return f" SET {', '.join(sets)}" if sets else ""


def _label_clauses(now: Sequence[str], wanted: Sequence[str]) -> str:
    added = [f" SET n:{named(label)}" for label in sorted(set(wanted) - set(now))]
    return "".join(
        added + [f" REMOVE n:{named(label)}" for label in sorted(set(now) - set(wanted))]
    )


def _everything(
    shape: NodeShape | RelationshipShape,
) -> tuple[str, str, dict[str, Any]]:
    """The variable, the clause that matches all of a shape that runs wrote, its parameters."""
    if isinstance(shape, NodeShape):
        return "n", f"MATCH {labelled('n', shape)} WHERE n.{RUN} IS NOT NULL", given_of(n=shape)
    return "r", f"MATCH {related(shape)} WHERE r.{RUN} IS NOT NULL", given_ends(shape)
