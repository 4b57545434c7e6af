"""References that no constraint declares: columns that may hold the keys of another table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from geode_tui.catalog import Catalog, Column, DataType, Table, TableName
from geode_tui.catalog.profile import Inclusion, Profile
from geode_tui.mapping.suggestions import affinity
from geode_tui.mapping.suggestions.affinity import MEDIUM, STRONG, Stem

_FAMILIES = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "numeric"), "number"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name", "char"), "text"),
    "uuid": "uuid",
}
# Names that many a table gives to something of its own.
_GENERIC = frozenset(
    {"name", "title", "description", "label", "email", "phone", "slug", "value", "position", "sort"}
    | {"rowguid", "token", "url", "path", "hash", "version", "line", "sequence", "seq", "rank"}
)
_WEAK = 0.2
_MOST_TARGETS = 12
"""At most so many tables are tried for a column."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`columns[i]` of `table` hold values of `to_columns[i]` of `to_table`."""

    table: TableName
    columns: tuple[str, ...]
    to_table: TableName
    to_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reference that may be meant: how much the names speak for it (0 to 1), and why.

    `same_type` says whether the columns are of one type, `whole_key` whether the columns alone
    identify a row (the reference would be 1:1).
    """

    reference: Reference
    name_score: float
    why: str
    same_type: bool
    whole_key: bool
    table: Table = field(compare=False, repr=False)
    to_table: Table = field(compare=False, repr=False)


class Prober(Protocol):
    """What can tell whether values of some columns are there in others: a source."""

    async def inclusion(
        self,
        table: Table,
        columns: Sequence[str],
        to_table: Table,
        to_columns: Sequence[str],
        sample: int = ...,
    ) -> Inclusion | None:
        """How many of the distinct values of `columns` are in `to_columns`; None: too slow."""


def candidates(catalog: Catalog, profile: Profile) -> tuple[Candidate, ...]:
    """References that the names, types and keys allow, a column's together, the best first.

    Columns of declared foreign keys, and keys that the server makes, are left out.
    """
    tables = [
        _Named(table)
        for table in catalog.tables
        if table.kind in ("table", "partitioned") and table.readable
    ]
    index = _Index(tables)
    found: list[Candidate] = []
    for named in tables:
        for column in named.table.columns:
            if _may_refer(named.table, column, profile):
                found.extend(_single(named, column, index))
        found.extend(_composite(named, index))
    return tuple(sorted(found, key=_order))


async def test_candidates(
    source: Prober, found: Iterable[Candidate], budget: float
) -> dict[Reference, Inclusion]:
    """Look up the values of each candidate, for at most `budget` seconds, the best names first.

    A column whose name says nothing is tried only where no better candidate of it held.
    """
    deadline = time.monotonic() + budget
    tested: dict[Reference, Inclusion] = {}
    held: set[tuple[TableName, tuple[str, ...]]] = set()
    for candidate in sorted(found, key=lambda c: -c.name_score):
        reference = candidate.reference
        columns = (reference.table, reference.columns)
        if candidate.name_score < MEDIUM and columns in held:
            continue
        if time.monotonic() > deadline:
            break
        inclusion = await source.inclusion(
            candidate.table, reference.columns, candidate.to_table, reference.to_columns
        )
        if inclusion is None:
            continue
        tested[reference] = inclusion
        if inclusion.share == 1.0 and candidate.name_score >= MEDIUM:
            held.add(columns)
    return tested


test_candidates.__test__ = False  # type: ignore[attr-defined]  # its name is no test's


def family(data_type: DataType) -> str:
    """The family within which values compare; empty where nothing refers by such a type."""
    resolved = data_type.resolved()
    if resolved.kind == "enum":
        return resolved.declared
    if resolved.kind != "base" or (resolved.name == "numeric" and (resolved.scale or 0) > 0):
        return ""
    return _FAMILIES.get(resolved.name, "")


def keys_of(table: Table) -> tuple[tuple[str, ...], ...]:
    """The columns of each key of a table, the primary key's first."""
    return tuple(dict.fromkeys(key.columns for key in table.keys))


def discriminator_of(table: Table, column: str) -> str | None:
    """The column that says which table `column` points at: `commentable_type` of
    `commentable_id`, None where there is none."""
    words = affinity.name_words(column)
    if len(words) < 2 or words[-1] not in ("id", "key", "uuid", "pk"):
        return None
    for other in table.columns:
        theirs = affinity.name_words(other.name)
        fits = theirs[:-1] == words[:-1] and theirs[-1] in ("type", "class", "kind")
        if fits and family(other.type) not in ("", "uuid"):
            return other.name
    return None


@dataclass(frozen=True, eq=False)
class _Named:
    """A table with the words of its name and columns."""

    table: Table

    @cached_property
    def words(self) -> tuple[str, ...]:
        return affinity.table_words(self.table.name.name)

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        return keys_of(self.table)

    @cached_property
    def spellings(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """The words of each column; besides, those without what all columns begin with."""
        every = {name: affinity.name_words(name) for name in self.table.column_names}
        firsts = {words[:1] for words in every.values()}
        shared = len(every) > 1 and len(firsts) == 1 and all(len(w) > 1 for w in every.values())
        return {name: (w, w[1:]) if shared else (w,) for name, w in every.items()}


@dataclass(frozen=True, eq=False)
class _Target:
    """A key of one column; `holder` says that its name is its table's own: it is named after the
    table, or no other table's key or name is like it."""

    named: _Named
    column: Column
    primary: bool
    spellings: frozenset[tuple[str, ...]]
    stem: Stem
    holder: bool

    kind: str
    """The family of the column's type."""

    @property
    def table(self) -> Table:
        return self.named.table


class _Index:
    """The keys that columns may point at, found by the words of names."""

    def __init__(self, tables: Sequence[_Named]) -> None:
        self.targets = list(_targets(tables))
        self._primary: dict[str, list[_Target]] = defaultdict(list)
        for target in self.targets:
            if target.primary:
                self._primary[target.kind].append(target)
        self.composites = [(t, key) for t in tables for key in t.keys if len(key) > 1]
        self._by_token: dict[str, list[int]] = defaultdict(list)
        self._by_spelling: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_table: dict[TableName, list[int]] = defaultdict(list)
        self._people: list[int] = []
        for number, target in enumerate(self.targets):
            self._by_table[target.table.name].append(number)
            for spelling in target.spellings:
                self._by_spelling[spelling].append(number)
            for words in {target.named.words, target.stem.words}:
                for token in set(_target_tokens(words)):
                    self._by_token[token].append(number)
            if affinity.is_people(target.named.words):
                self._people.append(number)

    def primary_of(self, kind: str) -> Sequence[_Target]:
        """The primary keys of one column of that family."""
        return self._primary.get(kind, ())

    def related(
        self, stems: Iterable[Stem], spellings: Iterable[tuple[str, ...]], own: _Named
    ) -> list[_Target]:
        """The keys whose names may have to do with a column's, and those of its own table."""
        found = set(self._by_table.get(own.table.name, ()))
        for spelling in spellings:
            found.update(self._by_spelling.get(spelling, ()))
        for stem in stems:
            for token in _stem_tokens(stem.words):
                found.update(self._by_token.get(token, ()))
            if affinity.is_person_role(stem):
                found.update(self._people)
        return [self.targets[number] for number in sorted(found)]


# Names that match have last words that begin alike, or one ends or begins with the other. A token
# is the beginning of the last word; `a…` its first letter, where one of two leaves letters out;
# `=abc` a whole name.


def _target_tokens(words: tuple[str, ...]) -> Iterator[str]:
    if words:
        last = words[-1]
        yield from (last[:3], f"{last[0]}…", "=" + "".join(words))
        yield "=" + "".join(word[0] for word in words)
        if affinity.is_skeleton(last):
            yield f"{last[0]}…short"


def _stem_tokens(words: tuple[str, ...]) -> Iterator[str]:
    if words:
        last, glued = words[-1], "".join(words)
        yield from (last[:3], f"{last[0]}…short")
        if affinity.is_skeleton(last):
            yield f"{last[0]}…"
        for start in range(len(glued)):
            yield "=" + glued[start:]
        for end in range(1, len(words)):
            yield "=" + "".join(words[:end])


def _order(candidate: Candidate) -> tuple[object, ...]:
    reference = candidate.reference
    return (reference.table, reference.columns, -candidate.name_score, reference.to_table)


def _targets(tables: Sequence[_Named]) -> Iterator[_Target]:
    keys = [(named, key[0]) for named in tables for key in named.keys if len(key) == 1]
    bearers = Counter(name.casefold() for _, name in keys)
    tables_named = {named.words for named in tables}
    for named, name in keys:
        column = named.table.column(name)
        kind = family(column.type) if column else ""
        if column is None or not kind:
            continue
        spellings = named.spellings[name]
        stems = [affinity.stem_of(words) for words in reversed(spellings)]
        stem = next((stem for stem in stems if stem.words), stems[0])
        primary = named.keys[0] == (name,) and named.table.primary_key is not None
        refers = any(name in key.columns for key in named.table.foreign_keys)
        alone = bearers[name.casefold()] == 1 and stem.words not in tables_named
        holder = _related(stem.words, named.words) or (alone and not refers)
        yield _Target(named, column, primary, frozenset(spellings), stem, holder, kind)


def _related(stem: tuple[str, ...], named: tuple[str, ...]) -> bool:
    """Whether a key's stem is about its own table."""
    if not stem or not named:
        return False
    score, _ = affinity.match(Stem(stem, "identity"), (), named)
    return score >= MEDIUM


def _may_refer(table: Table, column: Column, profile: Profile) -> bool:
    if not family(column.type) or column.identity or column.generated is not None:
        return False
    if (column.default or "").startswith("nextval("):
        return False
    if any(column.name in key.columns for key in table.foreign_keys):
        return False
    seen = profile.column(table.name, column.name)
    return seen is None or seen.null_share < 1.0


def _single(own: _Named, column: Column, index: _Index) -> list[Candidate]:
    spellings = own.spellings[column.name]
    stems = list(dict.fromkeys(affinity.stem_of(words) for words in spellings))
    whole = (column.name,) in own.keys
    if _is_own_key(own, column, stems, whole):
        return []
    kind = family(column.type)
    scored = []
    for target in index.related(stems, spellings, own):
        if target.kind == kind and _fits(own, column, target):
            score, why = max(
                (_score(stem, spellings, own, target) for stem in stems), key=lambda s: s[0]
            )
            if _may_number_its_rows(own, column, stems):
                score -= 0.08
            if score >= MEDIUM:
                scored.append(_candidate(own, column, target, score, why, whole))
    if discriminator_of(own.table, column.name) is not None:
        # Whatever table its name says, the column beside it may say another.
        return [replace(c, name_score=0.6) for c in _best_keys(scored) if c.name_score >= STRONG]
    if not scored and not whole and _may_be_unnamed(column, stems):
        others = (t for t in index.primary_of(kind) if _fits(own, column, t))
        scored = [
            _candidate(own, column, target, _WEAK, "", whole)
            for target, _ in zip(others, range(_MOST_TARGETS), strict=False)
        ]
    return _best_keys(scored)


def _is_own_key(own: _Named, column: Column, stems: Iterable[Stem], whole: bool) -> bool:
    """Whether a key names its own table (`customer_id` of customers) or nothing (`id`)."""
    if whole:
        return any(not stem.words or _related(stem.words, own.words) for stem in stems)
    within = any(column.name in key for key in own.keys)
    return within and any("".join(stem.words) == "".join(own.words) for stem in stems)


def _may_number_its_rows(own: _Named, column: Column, stems: Iterable[Stem]) -> bool:
    """Whether part of a key may be a number within the rest: `item_id` of order_items."""
    within = any(column.name in key and len(key) > 1 for key in own.keys)
    return within and any(
        stem.words
        and len(own.words) > len(stem.words)
        and own.words[-len(stem.words) :] == stem.words
        for stem in stems
    )


def _may_be_unnamed(column: Column, stems: Iterable[Stem]) -> bool:
    """Whether values alone may say where a column points."""
    kind = family(column.type)
    if kind == "uuid":
        return True
    endings = {stem.ending for stem in stems if stem.words}
    return bool(endings & {"identity", "by"}) or (kind == "text" and bool(endings - {""}))


def _fits(own: _Named, column: Column, target: _Target) -> bool:
    if target.table is own.table and target.column is column:
        return False
    kin = target.table.name in own.table.inherits or own.table.name in target.table.inherits
    return not kin


def _score(
    stem: Stem, spellings: tuple[tuple[str, ...], ...], own: _Named, target: _Target
) -> tuple[float, str]:
    itself = target.table is own.table
    named = target.named.words
    found = [affinity.match(stem, own.words, named), _role_score(stem, named, itself)]
    if itself and found[0][0] < 0.9:
        found = found[1:]  # a short form of its own name is another's
    if not itself:
        found.append(_same_name(spellings, target))
        found.append(_like_its_key(stem, own, target))
    score, why = max(found, key=lambda s: s[0])
    if itself and score >= STRONG and not affinity.is_self_role(stem):
        score = 0.8
    return _with_ending(score, stem, target), why


def _same_name(spellings: tuple[tuple[str, ...], ...], target: _Target) -> tuple[float, str]:
    stem = target.stem
    if target.spellings.isdisjoint(spellings) or not stem.words:
        return 0.0, ""
    if not _GENERIC.isdisjoint(stem.words):
        return 0.0, ""
    if not stem.ending:
        return (0.9 if target.primary else 0.6), "has the name of its key"
    return (1.0 if target.holder else 0.75), "has the name of its key"


def _like_its_key(stem: Stem, own: _Named, target: _Target) -> tuple[float, str]:
    """How much a stem is like that of the key, where the key is not named after its table."""
    if not target.stem.words or target.stem.words == target.named.words:
        return 0.0, ""
    if not _GENERIC.isdisjoint(target.stem.words):
        return 0.0, ""
    score, why = affinity.match(stem, own.words, target.stem.words)
    score = min(score, 0.95) if target.holder else score * 0.75
    return score, why.replace("the table", "the key of the table")


def _role_score(stem: Stem, named: tuple[str, ...], itself: bool) -> tuple[float, str]:
    people = affinity.is_people(named)
    if itself and affinity.is_self_role(stem):
        personal = affinity.is_person_role(stem) and not people
        return (0.5 if personal else 0.75), "names a role within its own table"
    rank = affinity.person_rank(stem, named)
    if rank is None:
        return 0.0, ""
    return 0.7 - rank * 0.02, "names a person's role"


def _with_ending(score: float, stem: Stem, target: _Target) -> float:
    """Less where a number or code would be an id, or the other way round."""
    ends = {stem.ending, target.stem.ending}
    if len(ends) == 1:
        return score
    if not ends.isdisjoint({"", "verb", "by"}):
        return score if target.primary else score - 0.1
    return score - (0.45 if "number" in ends else 0.15)


def _candidate(
    own: _Named, column: Column, target: _Target, score: float, why: str, whole: bool
) -> Candidate:
    key = (target.column.name,)
    reference = Reference(own.table.name, (column.name,), target.table.name, key)
    because = f"{column.name} {why}" if why else "only the values speak for it"
    same = _same_type(column.type, target.column.type)
    return Candidate(reference, round(score, 2), because, same, whole, own.table, target.table)


def _same_type(one: DataType, other: DataType) -> bool:
    left, right = one.resolved(), other.resolved()
    return left.name == right.name or family(left) == family(right) == "text"


def _best_keys(scored: list[Candidate]) -> list[Candidate]:
    """The best candidate for each table, of the best few tables."""
    best: dict[TableName, Candidate] = {}
    for candidate in scored:
        old = best.get(candidate.reference.to_table)
        if old is None or candidate.name_score > old.name_score:
            best[candidate.reference.to_table] = candidate
    return sorted(best.values(), key=lambda c: -c.name_score)[:_MOST_TARGETS]


def _composite(own: _Named, index: _Index) -> Iterator[Candidate]:
    """References by several columns: each has the name of its part of the key."""
    declared = {frozenset(key.columns) for key in own.table.foreign_keys}
    by_words: dict[tuple[str, ...], list[Column]] = defaultdict(list)
    for column in own.table.columns:
        for words in own.spellings[column.name]:
            by_words[words].append(column)
    for target, key in index.composites:
        for columns in dict.fromkeys(_parts(own, by_words, target, key)):
            if frozenset(columns) not in declared and (own is not target or columns != key):
                yield _several(own, columns, target, key)


def _parts(
    own: _Named,
    by_words: dict[tuple[str, ...], list[Column]],
    target: _Named,
    key: tuple[str, ...],
) -> Iterator[tuple[str, ...]]:
    """The columns named like all parts of `key`, with one role before each or none."""
    roles = {
        words[: -len(first)]
        for first in target.spellings[key[0]]
        for words in by_words
        if first and words[-len(first) :] == first
    }
    for role in sorted(roles):
        if own is target and not role:
            continue
        columns = [_part(role, by_words, target, part) for part in key]
        if None not in columns:
            yield from _if_distinct(tuple(name for name in columns if name is not None))
    yield from _within_tenant(own, by_words, target, key)


def _if_distinct(columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if len(set(columns)) == len(columns):
        yield columns


def _within_tenant(
    own: _Named,
    by_words: dict[tuple[str, ...], list[Column]],
    target: _Named,
    key: tuple[str, ...],
) -> Iterator[tuple[str, ...]]:
    """The columns by which one points at a key such as (tenant_id, id), whatever plays the id."""
    plain = [part for part in key if not affinity.stem_of(affinity.name_words(part)).words]
    others = [_part((), by_words, target, part) for part in key if part not in plain]
    if len(plain) != 1 or None in others:
        return
    theirs = target.table.column(plain[0])
    at = key.index(plain[0])
    for column in own.table.columns:
        fits = theirs is not None and family(column.type) == family(theirs.type) != ""
        if fits and column.name not in key and _names_table(own, column, target):
            columns = [name for name in others if name is not None]
            columns.insert(at, column.name)
            yield from _if_distinct(tuple(columns))


def _names_table(own: _Named, column: Column, target: _Named) -> bool:
    stem = affinity.stem_of(own.spellings[column.name][-1])
    if own is target and affinity.is_self_role(stem):
        return True
    score, _ = affinity.match(stem, own.words, target.words)
    return score >= STRONG


def _part(
    role: tuple[str, ...],
    by_words: dict[tuple[str, ...], list[Column]],
    target: _Named,
    part: str,
) -> str | None:
    theirs = target.table.column(part)
    if theirs is None or not family(theirs.type):
        return None
    for words in target.spellings[part]:
        for column in by_words.get(role + words, ()):
            if family(column.type) == family(theirs.type):
                return column.name
    return None


def _several(
    own: _Named, columns: tuple[str, ...], target: _Named, key: tuple[str, ...]
) -> Candidate:
    reference = Reference(own.table.name, columns, target.table.name, key)
    pairs = [
        (own.table.column(a), target.table.column(b)) for a, b in zip(columns, key, strict=True)
    ]
    same = all(a and b and _same_type(a.type, b.type) for a, b in pairs)
    whole = any(set(some) == set(columns) for some in own.keys)
    why = f"{', '.join(columns)} have the names of its key"
    score = 0.8 if whole else 0.95
    return Candidate(reference, score, why, same, whole, own.table, target.table)
