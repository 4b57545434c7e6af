"""What is known of a line of the tree of checks: in words, with colours or to copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from textual.content import Content

from geode_tui.validation.ledger import Cause, Check, Difference, Entry
from geode_tui.validation.report import CAUSES, Group, bound_in_words, first_of
from geode_tui.widgets.check_model import (
    MARKS,
    Branch,
    State,
    check_state,
    check_title,
    state_text,
)
from geode_tui.widgets.check_tree import Place
from geode_tui.widgets.entity_table import entity_title
from geode_tui.widgets.figures import rows
from geode_tui.widgets.lit_text import LIT, lit_pair, side_by_side
from geode_tui.widgets.statement import pretty_sql
from geode_tui.widgets.text import many_lines, one_line

_LEAST_SIDE = 12
"""Cells for each side below which the sides stand below each other."""
_MOST_DEGREES = 60
_MOST_KEYS = 10

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Detail:
    """What is shown of a line: its title, its text, and the queries as they are."""

    title: str
    text: Content
    sql: str = ""
    gql: str = ""


def detail_of(place: Place, width: int) -> Detail:
    """All that is known of a line of the tree, in `width` cells."""
    if place.row is not None:
        return _row_detail(place.row, width)
    branch = place.branch
    if branch.check is not None:
        return _check_detail(branch.check)
    if branch.entry is not None:
        return _entry_detail(branch)
    return Detail(branch.title, _joined(_branch_lines(branch)))


def copied_text(place: Place) -> str:
    """The same to copy, with the queries as they can be run."""
    if place.row is not None:
        return difference_text(place.row)
    found = detail_of(place, 100)
    queries = [f"{name}\n{text}" for name, text in _queries(found.sql, found.gql)]
    return "\n\n".join([found.text.plain, *queries])


def difference_text(found: Difference) -> str:
    """A row that differs with its values and the two queries that show it."""
    lines = [f"{found.entity}  key {found.key}", _state_line(found.state, found.reason), ""]
    if found.where != "both":
        lines.append(f"only in the {found.where}")
    if found.cause:
        lines.append(f"cause: {_cause(found.cause, found.where)}")
    lines += [f"{name}\n  source  {a}\n  graph   {b}" for name, a, b in found.values]
    for name, text in _queries(found.source_sql, found.target_gql):
        lines += ["", name, text]
    return "\n".join(lines)


@lru_cache(maxsize=64)
def shown_sql(statement: str) -> str:
    """A statement on several lines, its foreign characters made harmless."""
    return many_lines(pretty_sql(statement))


def _queries(sql: str, gql: str) -> Iterator[tuple[str, str]]:
    if sql:
        yield "SQL", pretty_sql(sql)
    if gql:
        yield "GQL", gql


# -- a row ----------------------------------------------------------------------------------------


def _row_detail(found: Difference, width: int) -> Detail:
    lines: list[Content] = [
        Content.assemble((one_line(entity_title(found.entity)), "bold"), "  ", one_line(found.key)),
        _state(found.state, found.reason),
        Content.assemble(_cause_parts(found), (_how_found(found), "$text-muted")),
        Content(),
        *_sides(found, width),
    ]
    return Detail("the row", _joined(lines), found.source_sql, found.target_gql)


def _cause(cause: Cause, where: str) -> str:
    if cause:
        title, meaning = CAUSES[cause]
        return f"{title}: {meaning}"
    return "The values differ." if where == "both" else f"It is only in the {where}."


def _cause_parts(found: Difference) -> Content:
    title, _, meaning = _cause(found.cause, found.where).rpartition(": ")
    return Content.assemble((f"{title}  " if title else "", "$text-warning"), meaning)


def _how_found(found: Difference) -> str:
    ways = [("digest", found.digested), ("sample", found.sampled)]
    names = " and ".join(name for name, by in ways if by)
    return f"  (found by {names})" if names else ""


def _sides(found: Difference, width: int) -> Iterator[Content]:
    if found.where != "both":
        yield from _presence(found.where)
    if not found.values:
        return
    values = ready(found).values
    longest = max(len(name) for name, _, _ in values)
    margin = min(20, longest) + 2
    side = (width - margin - 3) // 2
    if side < _LEAST_SIDE:
        yield from _stacked(values)
        return
    source, graph = (Content.styled(side, "bold") for side in ("source", "graph"))
    yield from side_by_side(source, graph, side, " " * margin)
    for name, one, other in values:
        label = name[: margin - 2].ljust(margin)
        for line in side_by_side(*lit_pair(one, other), side):
            yield Content.assemble((label, "$text-muted"), line)
            label = " " * margin


def _presence(where: str) -> Iterator[Content]:
    here, gone = ("✓ is here", "$text-muted"), ("✗ is missing", LIT)
    source, graph = (gone, here) if where == "graph" else (here, gone)
    yield Content.assemble("source ", source, (" │ ", "$text-muted"), "graph ", graph)


def _stacked(values: Sequence[tuple[str, str, str]]) -> Iterator[Content]:
    for name, one, other in values:
        source, graph = lit_pair(one, other)
        yield Content.styled(name, "$text-muted")
        yield Content.assemble("  source ", source)
        yield Content.assemble("  graph  ", graph)


def ready(found: Difference) -> Difference:
    """A row with values that can be shown: cut where they differ, look-alikes by code points."""
    group = Group(0, "", "", "", 1, (found,))
    return first_of((group,), 1)[0].differences[0]


# -- an entity, a check, a branch -----------------------------------------------------------------


def _entry_detail(branch: Branch) -> Detail:
    entry, line = branch.entry, branch.line
    assert entry is not None
    lines = [
        Content.assemble(
            (one_line(entry.id), "bold"), (f"  {one_line(entry.table)}", "$text-muted")
        ),
        _state(entry.state, entry.reason),
        Content.styled(f"{one_line(entry.verdict)}\n", MARKS[entry.state][1]),
    ]
    if line is not None:
        lines += [Content(one_line(str(line.equation))), *_compared(branch)]
        lines += [Content.styled(f"! {one_line(note)}", "$text-warning") for note in line.notes]
    lines += _causes(branch)
    return Detail(entry.id, _joined(lines), entry.source_sql, entry.target_gql)


def _compared(branch: Branch) -> Iterator[Content]:
    """How the rows were compared, and how sure it is."""
    assert branch.line is not None
    digest = branch.line.digest
    if digest is None:
        yield Content.styled("rows were counted, not compared by digests", "$text-muted")
    else:
        equal = digest.parts - digest.differing
        deep = (
            "made anew of the values in the graph" if digest.deep else "as the graph carries them"
        )
        yield Content(f"digests {deep}: equal in {equal:,} of {digest.parts:,} parts,")
        yield Content(f"{rows(digest.rows)} rows, of which {rows(digest.read)} read one by one")
    entry = branch.line.entry
    yield Content(bound_in_words(entry.sampled, entry.differing))


def _causes(branch: Branch) -> Iterator[Content]:
    for cause in branch.branches:
        yield Content.assemble(
            (f"{cause.told:<16}", MARKS[cause.state][1]), f"{len(cause.rows):>7,}  {cause.title}"
        )


def _check_detail(check: Check) -> Detail:
    state = check_state(check)
    word = "passed" if check.passed else "failed" if state == "mismatched" else state
    lines = [
        Content.assemble(
            (check_title(check.kind), "bold"), "  ", one_line(entity_title(check.name))
        ),
        _state(state, check.reason, word),
        Content(),
        *side_by_side_words(check),
    ]
    if check.why:
        lines.append(Content.styled(one_line(check.why), "" if check.fine else "$text-warning"))
    lines += _degrees(check)
    return Detail(check_title(check.kind), _joined(lines), check.source_sql, check.target_gql)


def side_by_side_words(check: Check) -> Iterator[Content]:
    """What the source and the graph say; lit where it failed."""
    source, graph = one_line(check.source), one_line(check.graph)
    same = check.passed or check.kind == "constraints"
    shown = (Content(source), Content(graph)) if same else lit_pair(source, graph)
    yield Content.assemble(("source  ", "$text-muted"), shown[0])
    yield Content.assemble(("graph   ", "$text-muted"), shown[1])


def _degrees(check: Check) -> Iterator[Content]:
    if not (check.in_source or check.in_graph):
        return
    source, graph = dict(check.in_source), dict(check.in_graph)
    degrees = sorted(source.keys() | graph.keys())
    yield Content.styled(f"\n{'degree':>8} {'source':>12} {'graph':>12}", "$text-muted")
    for degree in degrees[:_MOST_DEGREES]:
        one, other = source.get(degree, 0), graph.get(degree, 0)
        told, style = f"{other:,}", LIT if one != other else ""
        yield Content.assemble(f"{degree:>8,} {one:>12,} {'':>{12 - len(told)}}", (told, style))
    if len(degrees) > _MOST_DEGREES:
        yield Content.styled(f"… and {len(degrees) - _MOST_DEGREES:,} more", "$text-muted")


def _branch_lines(branch: Branch) -> Iterator[Content]:
    path = [*map(entity_title, branch.path[1:-1]), branch.title]
    yield Content.styled(one_line(" ─ ".join(path)), "bold")
    yield Content.styled(branch.told, MARKS[branch.state][1])
    yield Content(f"{branch.meaning}\n")
    if branch.level == "kind":
        for one in branch.branches[:_MOST_KEYS]:
            yield Content.assemble((f"{one.told:<16}", MARKS[one.state][1]), one_line(one.title))
    for row in branch.rows[:_MOST_KEYS]:
        yield Content.assemble((f"{state_text(row.state):<16}", MARKS[row.state][1]),
                               one_line(row.key))  # fmt: skip
    more = len(branch.rows or branch.branches) - _MOST_KEYS
    if more > 0:
        yield Content.styled(f"… and {more:,} more", "$text-muted")


def _state(state: State, reason: str, words: str = "") -> Content:
    return Content.styled(_state_line(state, reason, words), MARKS[state][1])


def _state_line(state: State, reason: str, words: str = "") -> str:
    told = state_text(state, words)
    if not reason:
        return told
    return f"{told} {one_line(reason)}" if state == "repaired" else f"{told}: {one_line(reason)}"


def entry_text(entry: Entry, equation: str) -> str:
    """An entry of the ledger to copy."""
    return f"{entry.id}: {equation}: {entry.verdict}"


def _joined(lines: Sequence[Content] | Iterator[Content]) -> Content:
    return Content("\n").join(list(lines))
