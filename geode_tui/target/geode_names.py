"""Names as Geode takes them: there are no quotes, so a name is letters, digits and `_`.

The driver and the manual show no delimited identifiers. A name of another kind is cleaned, always
in the same way; two names that become one are for the assessment to tell.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 128
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DIGEST_DIGITS = 8


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# The reserved words of ISO/IEC 39075:2024, by what they are.
_CLAUSES = _words("""
    all and any as asc ascending at both by call case commit copy create delete desc descending
    detach distinct drop else end except exists false filter finish for from group having if implies
    in insert intersect is leading let like limit match next nodetach not nothing null nulls of
    offset optional or order otherwise remove replace reset return rollback select set skip start
    then trailing true typed union unknown use when where with xor yield
""")
_FUNCTIONS = _words("""
    abs acos all_different asin atan avg btrim byte_length cardinality cast ceil ceiling char_length
    character_length coalesce collect_list cos cosh cot count current_date current_graph
    current_property_graph current_schema current_time current_timestamp degrees duration_between
    element_id exp floor home_graph home_property_graph home_schema left ln local_datetime
    local_time local_timestamp log log10 lower ltrim max min mod normalize nullif octet_length
    path_length percentile_cont percentile_disc power property_exists radians right rtrim same
    session_user sin sinh size sqrt stddev_pop stddev_samp sum tan tanh trim upper zoned_datetime
    zoned_time
""")
_TYPES_AND_THINGS = _words("""
    array big bigint binary bool boolean bytes char characteristics close date datetime day dec
    decimal double duration float float16 float32 float64 float128 float256 hour int integer int8
    integer8 int16 integer16 int32 integer32 int64 integer64 int128 integer128 int256 integer256
    interval list local minute month parameter parameters path paths precision real record schema
    second session signed small smallint string time timestamp ubigint uint uint8 uint16 uint32
    uint64 uint128 uint256 unsigned usmallint value varbinary varchar variable year zoned
""")
_HELD_BACK = _words("""
    abstract aggregate aggregates alter catalog clear clone constraint current_role current_user
    data directory dryrun exact existing function gqlstatus grant infinity instant number numeric on
    open partition procedure product project query records reference rename revoke substring
    system_user temporal unique unit values whitespace
""")
GQL_RESERVED = _CLAUSES | _FUNCTIONS | _TYPES_AND_THINGS | _HELD_BACK
"""Every word that the standard keeps from being a name without quotes."""

RESERVED = _CLAUSES - {"start", "copy", "nothing", "filter", "finish", "next", "reset"}
"""The words that are changed: those that join the parts of a statement.

A label follows a `:` and a property a `.` or a `{`, so a parser needs a name's help only where a
word could go on with the statement. The driver's own tests write a property `close`, the manual
`year` and a label `Product`, all reserved: words for functions, types and units stay, and so do
clauses that can only stand at the head of a statement. A server that refuses one of those says so
in the probe or at its first statement, before a row is written.
"""

# Letters that no decomposition turns into ASCII.
_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O"}
    | {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i"}
)


def clean(name: str) -> str:
    """The name as Geode takes it: `[A-Za-z_][A-Za-z0-9_]*`, at most 128 characters.

    A name that is one already stays, but for a word of `RESERVED`, which gets a `_` at its end.
    The same name always gives the same, and a cleaned name is clean.
    """
    made = name if _NAME.fullmatch(name) else _made(name)
    return f"{made}_" if made.lower() in RESERVED else made


def collisions(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of different names that become one, in the order in which they came."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(clean(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _made(name: str) -> str:
    """A name out of letters, digits and `_`; where no ASCII letter is left, by code points."""
    folded = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    bare = "".join(letter for letter in folded if not unicodedata.combining(letter))
    if re.search(r"[A-Za-z]", bare):
        made = "_".join(_parts(bare))
        return _shortened(f"_{made}" if made[0].isdigit() else made, name)
    told = "".join(_told(letter) for letter in unicodedata.normalize("NFC", name))
    parts = _parts(told) or [f"u{ord(letter):04X}" for letter in name]
    return _shortened("_" + "_".join(parts), name)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"[^A-Za-z0-9]+", text) if part]


def _told(letter: str) -> str:
    return letter if letter.isascii() else f" u{ord(letter):04X} "


def _shortened(made: str, name: str) -> str:
    """Cut to the longest, with a digest of the whole: names that begin alike stay apart."""
    if len(made) <= LONGEST:
        return made
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]
    return f"{made[: LONGEST - _DIGEST_DIGITS - 1]}_{digest}"
