"""How much the name of a column speaks for a table: the words of both, compared."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from geode_tui.mapping import names

STRONG = 0.85
"""From here on a name says which table is meant."""
MEDIUM = 0.5
"""From here on a name is a hint."""

_IDENTITY = frozenset({"id", "key", "fk", "pk", "sk", "uuid", "guid", "oid", "ref"})
_NUMBER = frozenset({"no", "nr", "num", "nbr", "number"})
_CODE = frozenset({"code", "cd"})
_ENDINGS = _IDENTITY | _NUMBER | _CODE
# Endings that are split off a word (`customerid`); the others end too many plain words.
_GLUED = ("number", "guid", "uuid", "code", "key", "num", "ref", "id", "no")
_VERBS = frozenset({"by", "to", "from", "of", "via", "for", "at", "in", "on", "with"})
_TABLE_PREFIXES = frozenset({"tbl", "tb", "t", "tab", "dim", "fact", "ref", "lu", "lkp", "mst"})
_TABLE_SUFFIXES = frozenset({"tbl", "table", "mst", "master", "data", "info", "lkp", "lookup"})
# Words that say that the value is of another system.
_ELSEWHERE = frozenset({"external", "ext", "legacy", "foreign", "remote", "import", "third"})

_SELF = frozenset(
    {"parent", "manager", "mgr", "supervisor", "superior", "boss", "leader", "root", "ancestor"}
    | {"predecessor", "successor", "previous", "prev", "next", "report", "referred", "invited"}
    | {"reply", "replaces", "replaced", "supersedes", "superseded", "duplicate", "original"}
    | {"recommended", "master", "mother", "father", "spouse", "mentor", "copied", "cloned"}
)
# Of the self roles, those that only people play.
_PERSONAL = frozenset(
    {"report", "referred", "invited", "recommended", "mentor", "spouse", "mother", "father"}
)
_WORKERS = ("employee", "emp", "staff", "worker", "agent", "user", "person", "member", "account")
_USERS = ("user", "usr", "account", "person", "member", "employee", "emp", "staff", "customer")
_WORK_ROLES = frozenset(
    {"manager", "mgr", "supervisor", "boss", "rep", "representative", "agent", "salesperson"}
    | {"technician", "operator", "clerk", "teacher", "instructor", "doctor", "driver", "leader"}
    | {"head", "lead", "salesman", "assistant", "seller"}
)
_USER_ROLES = frozenset(
    {"created", "updated", "modified", "deleted", "approved", "assigned", "author", "owner"}
    | {"creator", "editor", "assignee", "reviewer", "reporter", "sender", "recipient", "receiver"}
    | {"buyer", "requester", "approver", "uploaded", "submitted", "closed", "opened", "locked"}
    | {"borrower", "host", "guest", "moderator", "admin", "responsible", "inviter", "follower"}
)
_ROLES = _WORK_ROLES | _USER_ROLES | _PERSONAL


@dataclass(frozen=True, slots=True)
class Stem:
    """What a column's name says: its words without the ending, and the kind of the ending.

    `ending` is `identity`, `number`, `code`, `verb`, `by`, or empty for a bare word.
    """

    words: tuple[str, ...]
    ending: str = ""


@cache
def name_words(name: str) -> tuple[str, ...]:
    """The lower-case words of a name, in whatever script."""
    if unicodedata.normalize("NFKD", name).encode("ascii", "ignore") or name.isascii():
        return tuple(names.words(name))
    return tuple(re.findall(r"[^\W_]+", name.casefold()))


@cache
def table_words(name: str) -> tuple[str, ...]:
    """The words of a table's name, each in the singular, without a `tbl_` or `_master`."""
    words = tuple(names.singular(word) for word in name_words(name) if not word.isdigit())
    if len(words) > 1 and words[0] in _TABLE_PREFIXES:
        words = words[1:]
    return words[:-1] if len(words) > 1 and words[-1] in _TABLE_SUFFIXES else words


@cache
def stem_of(words: tuple[str, ...]) -> Stem:
    """The stem of a column's words: `billing_address_id` gives billing address, identity."""
    parts = [word for word in words if not word.isdigit()]
    if len(parts) > 1 and parts[0] in ("id", "fk"):
        parts, ending = parts[1:], "identity"
    else:
        ending = ""
    while parts and parts[-1] in _ENDINGS:
        ending = ending or _kind(parts[-1])
        parts.pop()
    if not ending and len(parts) > 1 and parts[-1] in _VERBS:
        ending = "by" if parts[-1] == "by" else "verb"
        parts.pop()
    if not ending and parts:
        parts[-1], ending = _unglued(parts[-1])
    return Stem(tuple(names.singular(part) for part in parts), ending)


def match(stem: Stem, own: tuple[str, ...], target: tuple[str, ...]) -> tuple[float, str]:
    """How much a stem in table `own` speaks for `target` (0 to 1), and in which way.

    Both tables are given by their `table_words`.
    """
    score, way = _match_words(stem.words, own, target)
    if score and not _ELSEWHERE.isdisjoint(stem.words):
        score *= 0.5
    if stem.ending in ("", "verb", "by"):
        score = min(score, 0.8)
    if (not stem.ending and score < 0.8) or (stem.ending == "number" and score < 0.6):
        return 0.0, ""
    return score, way


def is_self_role(stem: Stem) -> bool:
    """Whether the stem names a role that a row plays for another of its own table."""
    return not _SELF.isdisjoint(stem.words) or _is_by(stem)


def person_rank(stem: Stem, target: tuple[str, ...]) -> int | None:
    """The place of a table among those that hold people in the stem's role, None if neither."""
    if not is_person_role(stem):
        return None
    people = _USERS if _WORK_ROLES.isdisjoint(stem.words) else _WORKERS
    return people.index(target[-1]) if target and target[-1] in people else None


def is_person_role(stem: Stem) -> bool:
    """Whether the stem names a role that only people play."""
    return _is_by(stem) or not _ROLES.isdisjoint(stem.words)


def _is_by(stem: Stem) -> bool:
    """Whether the name is of the kind `shipped_by` or `shipped_by_id`."""
    return stem.ending == "by" or stem.words[-1:] == ("by",)


def is_people(target: tuple[str, ...]) -> bool:
    """Whether a table holds people, by its name."""
    return bool(target) and target[-1] in (*_WORKERS, *_USERS)


def _kind(ending: str) -> str:
    if ending in _NUMBER:
        return "number"
    return "code" if ending in _CODE else "identity"


def _unglued(word: str) -> tuple[str, str]:
    for ending in _GLUED:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)], _kind(ending)
    if word.endswith("by") and len(word) > 6:
        return word[:-2], "by"
    return word, ""


@lru_cache(maxsize=100_000)
def _match_words(
    stem: tuple[str, ...], own: tuple[str, ...], target: tuple[str, ...]
) -> tuple[float, str]:
    if not stem or not target:
        return 0.0, ""
    glued, whole = "".join(stem), "".join(target)
    if stem == target or glued == whole:
        return 1.0, "names the table"
    if own + stem == target:
        return 0.97, "names the table after its own"
    if len(stem) > len(target) and stem[-len(target) :] == target:
        return 0.9, "ends with the table's name"
    if _inflected(glued, whole):
        return 0.9, "names the table with another ending"
    if len(whole) >= 4 and glued.endswith(whole):
        return 0.8, "ends with the table's name"
    if len(target) > len(stem) and target[-len(stem) :] == stem and target != own:
        return 0.75, "is the end of the table's name"
    return _match_parts(stem, target)


def _match_parts(stem: tuple[str, ...], target: tuple[str, ...]) -> tuple[float, str]:
    shortened = _shortened(stem, target)
    if shortened:
        return shortened, "shortens the table's name"
    if len(stem) > len(target):
        end = _shortened(stem[-len(target) :], target)
        if end:
            return end - 0.1, "ends with a short form of the table's name"
        if stem[: len(target)] == target:
            return 0.55, "begins with the table's name"
    if len(stem) == 1 and len(target) > 1 and stem[0] == "".join(word[0] for word in target):
        return 0.6, "is the initials of the table's name"
    return 0.0, ""


def _inflected(one: str, other: str) -> bool:
    """Whether two words differ by an ending only, as singular and plural of many languages do."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 4 and len(long) - len(short) <= 2 and long.startswith(short)


def _shortened(parts: tuple[str, ...], target: tuple[str, ...]) -> float:
    """How well each word shortens its counterpart: `part_cat` does `part_category`."""
    if len(parts) != len(target):
        return 0.0
    pairs = list(zip(parts, target, strict=True))
    forward = min(_abbreviates(a, b) for a, b in pairs)
    return forward or min(_abbreviates(b, a) for a, b in pairs)


def _abbreviates(short: str, word: str) -> float:
    if short == word:
        return 1.0
    if len(short) < 3 or len(word) <= len(short):
        return 0.0
    if word.startswith(short):
        return 0.75
    letters = iter(word)
    in_order = word[0] == short[0] and all(letter in letters for letter in short)
    return 0.55 if in_order and is_skeleton(short) else 0.0


def is_skeleton(word: str) -> bool:
    """Whether a word looks like one with its vowels left out: `dept`, `whse`, `grp`."""
    return 3 <= len(word) <= 5 and sum(letter in "aeiou" for letter in word) <= 1
