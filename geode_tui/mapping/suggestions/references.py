"""Relationships by references that no constraint declares, as sure as names and values make it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from geode_tui.catalog import Catalog, Column, TableName
from geode_tui.catalog.profile import Inclusion
from geode_tui.mapping import reshape
from geode_tui.mapping.implied import Candidate, Reference, candidates, family
from geode_tui.mapping.infer import row_key
from geode_tui.mapping.model import Mapping
from geode_tui.mapping.suggestions.affinity import MEDIUM, STRONG, table_words
from geode_tui.mapping.suggestions.model import (
    CERTAINTIES,
    Certainty,
    Edit,
    Evidence,
    Suggestion,
    about,
    listed,
)

_ENOUGH = 5
"""So many distinct values must be found before they say anything."""
_WHOLE_NAME = 0.95
"""From here on a name is that of the table and nothing else; below it may be about a part of it
(`line_item_id` counts lines), which small numbers do not tell apart."""
_MANY = 50
_USED = 0.1
_PARTLY = 0.7
"""The least share of values found where the name is strong."""
_NEARLY = 0.95
_TIE = 0.04
"""Names that differ by no more are equally good."""
_MOST_ALIKE = 3
"""Where values alone fit more tables than this, they say nothing."""


@dataclass(frozen=True)
class _Judged:
    candidate: Candidate
    inclusion: Inclusion | None
    certainty: Certainty

    @property
    def reference(self) -> Reference:
        return self.candidate.reference

    @property
    def whole(self) -> bool:
        """Whether every value that was looked up was found."""
        found = self.inclusion
        return found is not None and found.tested > 0 and found.share == 1.0


def references(evidence: Evidence) -> Iterator[Suggestion]:
    """A suggestion for every place that seems to point at a key."""
    by_place: dict[tuple[TableName, tuple[str, ...]], list[_Judged]] = defaultdict(list)
    for candidate in candidates(evidence.catalog, evidence.profile):
        reference = candidate.reference
        judged = _judge(candidate, evidence.tested.get(reference), evidence)
        if judged is not None:
            by_place[reference.table, reference.columns].append(judged)
    ranked = {place: _ranked(some, evidence) for place, some in by_place.items()}
    composites: dict[TableName, list[_Judged]] = defaultdict(list)
    for (table, columns), some in ranked.items():
        if len(columns) > 1 and some:
            composites[table].extend(some)
    for (table, columns), some in ranked.items():
        if some and not is_led(evidence.mapping, table, columns):
            best = _settled(some, evidence, composites[table], ranked)
            yield _suggestion(best, some[1:], ranked, evidence)


def _judge(candidate: Candidate, inclusion: Inclusion | None, evidence: Evidence) -> _Judged | None:
    """What names and values say of one candidate, None where they say no."""
    certainty = _by_values(candidate, inclusion, evidence)
    return _Judged(candidate, inclusion, certainty) if certainty else None


def _by_values(
    candidate: Candidate, inclusion: Inclusion | None, evidence: Evidence
) -> Certainty | None:
    score = candidate.name_score
    if inclusion is None or not inclusion.tested:
        if score >= STRONG:
            return "likely"
        return "guess" if score >= 0.6 else None
    textual = _telling(candidate.reference, evidence.catalog)
    if inclusion.share == 1.0:
        if score >= STRONG:
            return "sure" if _is_sure(candidate, inclusion, textual, evidence) else "likely"
        if score >= MEDIUM:
            return "likely" if score >= 0.7 or _tells(inclusion, textual) else "guess"
        if textual:
            return "likely" if _tells(inclusion, textual) else None
        return "guess"
    if score >= STRONG:
        return _if_at_least(inclusion, _PARTLY, "likely") or _if_at_least(inclusion, 0.3, "guess")
    if score >= MEDIUM or _tells(inclusion, textual):
        return _if_at_least(inclusion, _NEARLY, "guess")
    return None


def _if_at_least(inclusion: Inclusion, share: float, certainty: Certainty) -> Certainty | None:
    return certainty if inclusion.share >= share else None


def _telling(reference: Reference, catalog: Catalog) -> bool:
    """Whether the type is one whose values do not coincide by chance, as small numbers do."""
    table = catalog.table(reference.table)
    columns = [table.column(name) for name in reference.columns] if table else []
    return any(column and family(column.type) in ("text", "uuid") for column in columns)


def _tells(inclusion: Inclusion, textual: bool) -> bool:
    return textual and inclusion.found >= _ENOUGH


def _is_sure(candidate: Candidate, inclusion: Inclusion, textual: bool, evidence: Evidence) -> bool:
    """Name, type and enough values agree, and chance cannot have done it.

    Numbers from 1 to 8 are among those from 1 to 80 whatever they mean: there the name has to say
    it all. A key of numbers made by the server coincides with another; and of a key of several
    numbers, every pair may exist.
    """
    if not candidate.same_type or (candidate.whole_key and not textual):
        return False
    rows = evidence.rows(candidate.reference.to_table) or 0
    few = inclusion.tested < _ENOUGH
    if few and not (rows and inclusion.found * 2 >= rows and inclusion.tested > 1):
        return False
    if len(candidate.reference.columns) > 1:
        return not candidate.whole_key and _is_selective(candidate.reference, evidence)
    if textual or candidate.name_score >= _WHOLE_NAME:
        return True
    return inclusion.found >= max(_MANY, rows * _USED)


def _is_selective(reference: Reference, evidence: Evidence) -> bool:
    """Whether the target holds less than half of the pairs that its values could make."""
    rows = evidence.rows(reference.to_table)
    possible = 1
    for name in reference.to_columns:
        seen = evidence.profile.column(reference.to_table, name)
        if seen is None:
            return False
        possible *= max(seen.distinct, 1)
    return rows is not None and rows * 2 < possible


def _ranked(some: Sequence[_Judged], evidence: Evidence) -> list[_Judged]:
    """The candidates of one place, the best first; empty where values alone fit too many."""
    unnamed = [j for j in some if j.candidate.name_score < MEDIUM]
    if len(unnamed) == len(some) > _MOST_ALIKE:
        return []

    def order(judged: _Judged) -> tuple[object, ...]:
        reference = judged.reference
        away = reference.to_table.schema != reference.table.schema
        rows = evidence.rows(reference.to_table)
        return (
            CERTAINTIES.index(judged.certainty),
            -judged.candidate.name_score,
            away,
            rows if rows is not None else 0,
            -len(_columns(evidence.catalog, reference.to_table)),
            reference.to_table,
        )

    ranked = sorted(some, key=order)
    return _narrowest_first(ranked, evidence)


def _narrowest_first(ranked: list[_Judged], evidence: Evidence) -> list[_Judged]:
    """Of tables with a key of the same name, the smallest that holds all values.

    A key that many tables share (a person is an employee is a salesman) points at the nearest. A
    table named after the first one (`user_profiles`) is a part of it, not a kind.
    """
    first = ranked[0].reference
    shared = [
        judged
        for judged in ranked
        if judged.whole
        and judged.reference.to_columns == first.to_columns == first.columns
        and not _extends(judged.reference.to_table, first.to_table)
    ]
    if len(shared) < 2:
        return ranked
    sizes = {j.reference.to_table: evidence.rows(j.reference.to_table) or 0 for j in shared}
    if ranked[0].candidate.whole_key:  # a kind is smaller than what it is a kind of
        own = evidence.rows(first.table) or 0
        shared = [j for j in shared if sizes[j.reference.to_table] > own] or shared
    best = min(shared, key=lambda j: sizes[j.reference.to_table])
    if best in shared[1:] or best is not ranked[0]:
        return [best, *(judged for judged in ranked if judged is not best)]
    return ranked


def _extends(table: TableName, other: TableName) -> bool:
    mine, theirs = table_words(table.name), table_words(other.name)
    return len(mine) > len(theirs) and mine[: len(theirs)] == theirs


def _columns(catalog: Catalog, name: TableName) -> tuple[Column, ...]:
    table = catalog.table(name)
    return table.columns if table else ()


def _settled(
    some: Sequence[_Judged],
    evidence: Evidence,
    composites: Sequence[_Judged],
    ranked: dict[tuple[TableName, tuple[str, ...]], list[_Judged]],
) -> _Judged:
    """The best candidate of a place, less sure where others are as good or say it too."""
    best = some[0]
    certainty = best.certainty
    score = best.candidate.name_score
    rivals = [j for j in some[1:] if _as_true(j, best)]
    equals = [j for j in rivals if score - j.candidate.name_score <= _TIE]
    if any(_is_as_near(j, best) for j in equals):
        certainty = "guess"
    elif certainty == "sure" and (
        equals
        or any(_is_rival(j, best, evidence) for j in rivals)
        or _says_more(best, composites, ranked)
    ):
        certainty = "likely"
    if best.reference.to_table == best.reference.table and not _has_roots(best, evidence):
        certainty = "guess"
    return _Judged(best.candidate, best.inclusion, certainty)


def _as_true(judged: _Judged, best: _Judged) -> bool:
    return judged.whole or not best.whole


def _is_as_near(judged: _Judged, best: _Judged) -> bool:
    """Whether a rival is in the schema of the place as well, or the best is not."""
    home = best.reference.table.schema
    return judged.reference.to_table.schema == home or best.reference.to_table.schema != home


def _is_rival(judged: _Judged, best: _Judged, evidence: Evidence) -> bool:
    """Whether another table of a strong name holds all values, and is no part of the best."""
    if judged.candidate.name_score < MEDIUM:
        return False
    mine, other = best.reference.to_table, judged.reference.to_table
    shared = judged.reference.to_columns == best.reference.to_columns == best.reference.columns
    if not shared:
        return judged.candidate.name_score >= STRONG
    sizes = evidence.rows(mine), evidence.rows(other)
    return sizes[0] != sizes[1] or not _extends(other, mine)


def _says_more(
    best: _Judged,
    composites: Sequence[_Judged],
    ranked: dict[tuple[TableName, tuple[str, ...]], list[_Judged]],
) -> bool:
    """Whether a reference by several columns covers this one, or these by one each cover it."""
    columns = best.reference.columns
    if len(columns) == 1:
        return any(
            columns[0] in j.reference.columns and j.inclusion != Inclusion(0, 0)
            for j in composites
            if j.inclusion is None or j.whole
        )
    return all(ranked.get((best.reference.table, (name,))) for name in columns)


def _has_roots(best: _Judged, evidence: Evidence) -> bool:
    """Whether some rows have no parent, as the uppermost have none (or nobody knows)."""
    seen = evidence.profile.column(best.reference.table, best.reference.columns[0])
    return seen is None or seen.null_share > 0 or best.candidate.name_score >= STRONG


def _suggestion(
    best: _Judged,
    others: Iterable[_Judged],
    ranked: dict[tuple[TableName, tuple[str, ...]], list[_Judged]],
    evidence: Evidence,
) -> Suggestion:
    reference = best.reference
    rows = _pointing(reference, evidence)
    alternatives = [(f"lead to {j.reference.to_table}", _edit(j, evidence)) for j in others]
    as_join = _as_join(reference, ranked, evidence)
    return Suggestion(
        f"reference {reference.table} {listed(reference.columns)}",
        "reference",
        reference.table,
        f"{reference.table.name} {listed(reference.columns)} points at {reference.to_table.name}",
        _because(best),
        about(rows, "relationships", "+"),
        best.certainty,
        _edit(best, evidence),
        (*alternatives, *as_join),
    )


def _because(judged: _Judged) -> str:
    reference, inclusion = judged.reference, judged.inclusion
    reasons = [judged.candidate.why]
    target = f"{reference.to_table.name} {listed(reference.to_columns)}"
    if inclusion is None:
        reasons.append("no constraint says so, the values were not looked up")
    elif not inclusion.tested:
        reasons.append("no constraint says so, there are no values yet")
    elif judged.whole:
        shown = "all" if inclusion.exact else "all of a sample of"
        reasons.append(f"{shown} {inclusion.tested:,} values are in {target}")
    else:
        lost = inclusion.tested - inclusion.found
        reasons.append(
            f"{lost:,} of {inclusion.tested:,} values are not in {target}: "
            "those rows go to the dead letters"
        )
    if not judged.candidate.same_type:
        reasons.append("the types differ")
    return "; ".join(reasons)


def _pointing(reference: Reference, evidence: Evidence) -> float | None:
    rows = evidence.rows(reference.table)
    if rows is None:
        return None
    share = 1.0
    for name in reference.columns:
        seen = evidence.profile.column(reference.table, name)
        share = min(share, 1 - seen.null_share if seen else 1.0)
    return rows * share


def _edit(judged: _Judged, evidence: Evidence) -> Edit:
    reference, catalog = judged.reference, evidence.catalog
    because = _because(judged)

    def apply(mapping: Mapping) -> Mapping:
        return _added(mapping, catalog, reference, because)

    return apply


def _added(mapping: Mapping, catalog: Catalog, reference: Reference, because: str) -> Mapping:
    return reshape.add_reference(
        mapping,
        catalog,
        reference.table,
        reference.columns,
        reference.to_table,
        reference.to_columns,
        because=because,
    )


def _as_join(
    reference: Reference,
    ranked: dict[tuple[TableName, tuple[str, ...]], list[_Judged]],
    evidence: Evidence,
) -> list[tuple[str, Edit]]:
    """The alternative of one relationship, where two such references are the whole key."""
    table = evidence.catalog.table(reference.table)
    key = row_key(table) if table else None
    if key is None or len(key.columns) != len(reference.columns) + 1:
        return []
    rest = tuple(name for name in key.columns if name not in reference.columns)
    other = ranked.get((reference.table, rest))
    if len(rest) != 1 or not other:
        return []
    second, catalog = other[0], evidence.catalog

    def apply(mapping: Mapping) -> Mapping:
        for one in (reference, second.reference):
            if not is_led(mapping, one.table, one.columns):
                mapping = _added(mapping, catalog, one, "no constraint says so")
        return reshape.node_to_join(mapping, catalog, reference.table)

    title = f"one relationship between {reference.to_table.name} and "
    return [(title + second.reference.to_table.name, apply)]


def is_led(mapping: Mapping, table: TableName, columns: tuple[str, ...]) -> bool:
    """Whether a relationship follows these columns already, wherever it leads."""
    for rule in reshape.made(mapping):
        for end in (rule.start, rule.end) if rule.table == table else ():
            target = mapping.node(end.node)
            itself = target and target.table == table and end.columns == end.references
            if end.columns == columns and not itself:
                return True
    return False
