"""The functions, operators and casts that an expression may use, and how PostgreSQL picks them.

The list is closed: what is not here is refused. All of it is in pg_catalog of PostgreSQL 13 and
later, answers the same for the same row under the settings of our sessions, and changes nothing.

Types are named as PostgreSQL names them inside (`int4`, `_text`); None is a literal or NULL whose
type is not known yet. Of several functions with one name, `choose` takes the one that PostgreSQL
takes ("Type Conversion" in its manual).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

Known = str | None
_Count = Callable[["Signature"], int]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function or operator takes and gives; `variadic`: the last one may be repeated."""

    takes: tuple[str, ...]
    gives: str
    variadic: bool = False

    @property
    def exact(self) -> bool:
        """Whether every argument has one type (no `anyarray`, `any`)."""
        return not any(name.startswith("any") for name in self.takes)


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


_CATEGORIES = {
    "bool": "B",
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8"), "N"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext"), "S"),
    **dict.fromkeys(("date", "time", "timetz", "timestamp", "timestamptz"), "D"),
    "interval": "T",
}
_PREFERRED = frozenset({"bool", "float8", "text", "timestamptz", "interval"})

# From, to: `i` by itself, `x` only when it is written.
_CASTS = """
bool: x bpchar text varchar int4
bpchar: i text varchar
varchar: i text bpchar
text: i varchar bpchar
citext: i text varchar; x bpchar
int2: i int4 int8 numeric float4 float8
int4: i int8 numeric float4 float8; x bool int2
int8: i numeric float4 float8; x int2 int4
numeric: i float4 float8; x int2 int4 int8
float4: i float8; x int2 int4 int8 numeric
float8: x float4 int2 int4 int8 numeric
date: i timestamp timestamptz
time: i interval timetz
timetz: x time
timestamp: i timestamptz; x date time
timestamptz: x date time timestamp timetz
interval: x time
json: x jsonb
jsonb: x json bool int2 int4 int8 numeric float4 float8
"""

TYPES = word_set(
    """bool int2 int4 int8 numeric float4 float8 text varchar bpchar bytea date time timetz
    timestamp timestamptz interval uuid json jsonb"""
)
"""The types that values can be cast to."""

# What people write in a cast, and the type's own name.
TYPE_NAMES = {
    **{name: name for name in TYPES},
    "boolean": "bool",
    "smallint": "int2",
    "int": "int4",
    "integer": "int4",
    "bigint": "int8",
    "decimal": "numeric",
    "dec": "numeric",
    "real": "float4",
    "float": "float8",
    "double precision": "float8",
    "character varying": "varchar",
    "char varying": "varchar",
    "character": "bpchar",
    "char": "bpchar",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
}

_COMPARABLE = """
bool bool, bytea bytea, text text, bpchar bpchar, uuid uuid, jsonb jsonb, interval interval,
time time, timetz timetz, numeric numeric, citext citext,
int8 int8, int8 int2, int8 int4, int2 int8, int2 int2, int2 int4, int4 int8, int4 int2, int4 int4,
float4 float4, float4 float8, float8 float4, float8 float8,
date date, date timestamp, date timestamptz, timestamp date, timestamp timestamp,
timestamp timestamptz, timestamptz date, timestamptz timestamp, timestamptz timestamptz
"""
_INTEGER_PAIRS = """
int8 int8 > int8, int8 int2 > int8, int8 int4 > int8, int2 int8 > int8, int2 int2 > int2,
int2 int4 > int4, int4 int8 > int8, int4 int2 > int4, int4 int4 > int4
"""
_NUMBER_PAIRS = f"""{_INTEGER_PAIRS},
float4 float4 > float4, float4 float8 > float8, float8 float4 > float8, float8 float8 > float8,
numeric numeric > numeric
"""
_SIGNED = """
int8 > int8, int2 > int2, int4 > int4, float4 > float4, float8 > float8, numeric > numeric
"""
_SAME_INTEGERS = "int8 int8 > int8, int2 int2 > int2, int4 int4 > int4"
_REGEX = "text text > bool, bpchar text > bool"

_OPERATORS = {
    "+": f"""{_NUMBER_PAIRS}, {_SIGNED},
        int4 date > date, date int4 > date, date time > timestamp, date interval > timestamp,
        date timetz > timestamptz, time date > timestamp, time interval > time,
        timestamp interval > timestamp, timestamptz interval > timestamptz,
        interval date > timestamp, interval time > time, interval timestamp > timestamp,
        interval timestamptz > timestamptz, interval interval > interval, interval timetz > timetz,
        timetz date > timestamptz, timetz interval > timetz""",
    "-": f"""{_NUMBER_PAIRS}, {_SIGNED}, interval > interval,
        date int4 > date, date date > int4, date interval > timestamp, time time > interval,
        time interval > time, timestamp timestamp > interval, timestamp interval > timestamp,
        timestamptz timestamptz > interval, timestamptz interval > timestamptz,
        interval interval > interval, timetz interval > timetz, jsonb int4 > jsonb,
        jsonb text > jsonb, jsonb _text > jsonb""",
    "*": f"{_NUMBER_PAIRS}, float8 interval > interval, interval float8 > interval",
    "/": f"{_NUMBER_PAIRS}, interval float8 > interval",
    "%": f"{_SAME_INTEGERS}, numeric numeric > numeric",
    "^": "float8 float8 > float8, numeric numeric > numeric",
    "&": _SAME_INTEGERS,
    "|": _SAME_INTEGERS,
    "#": _SAME_INTEGERS,
    "<<": "int8 int4 > int8, int2 int4 > int2, int4 int4 > int4",
    ">>": "int8 int4 > int8, int2 int4 > int2, int4 int4 > int4",
    "->": "json int4 > json, json text > json, jsonb int4 > jsonb, jsonb text > jsonb",
    "->>": "json int4 > text, json text > text, jsonb int4 > text, jsonb text > text",
    "#>": "json _text > json, jsonb _text > jsonb",
    "#>>": "json _text > text, jsonb _text > text",
    "@>": "jsonb jsonb > bool",
    "<@": "jsonb jsonb > bool",
    "||": "text text > text, bytea bytea > bytea, jsonb jsonb > jsonb",
    "~": _REGEX,
    "~*": _REGEX,
    "!~": _REGEX,
    "!~*": _REGEX,
    "~~": f"{_REGEX}, bytea bytea > bool",
    "~~*": _REGEX,
}
COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})

_FLOAT_ONE = "float8 > float8"
_TEXT_ONE = "text > text"
_NUMERIC_OR_FLOAT = "numeric > numeric, float8 > float8"
_TEXT_OR_BYTES_LENGTH = "text > int4, bytea > int4, bpchar > int4"
_CHARACTER_LENGTH = "text > int4, bpchar > int4"
_DIGEST = "bytea > bytea"

_FUNCTIONS = {
    # Numbers
    "abs": "int8 > int8, int4 > int4, int2 > int2, float4 > float4, float8 > float8,"
    "numeric > numeric",
    "ceil": _NUMERIC_OR_FLOAT,
    "ceiling": _NUMERIC_OR_FLOAT,
    "floor": _NUMERIC_OR_FLOAT,
    "round": f"{_NUMERIC_OR_FLOAT}, numeric int4 > numeric",
    "trunc": f"{_NUMERIC_OR_FLOAT}, numeric int4 > numeric",
    "sign": _NUMERIC_OR_FLOAT,
    "sqrt": _NUMERIC_OR_FLOAT,
    "exp": _NUMERIC_OR_FLOAT,
    "ln": _NUMERIC_OR_FLOAT,
    "log": f"{_NUMERIC_OR_FLOAT}, numeric numeric > numeric",
    "log10": _NUMERIC_OR_FLOAT,
    "power": "numeric numeric > numeric, float8 float8 > float8",
    "pow": "numeric numeric > numeric, float8 float8 > float8",
    "mod": f"{_SAME_INTEGERS}, numeric numeric > numeric",
    "div": "numeric numeric > numeric",
    "gcd": "int8 int8 > int8, int4 int4 > int4, numeric numeric > numeric",
    "lcm": "int8 int8 > int8, int4 int4 > int4, numeric numeric > numeric",
    "scale": "numeric > int4",
    "min_scale": "numeric > int4",
    "trim_scale": "numeric > numeric",
    "cbrt": _FLOAT_ONE,
    "degrees": _FLOAT_ONE,
    "radians": _FLOAT_ONE,
    "pi": "> float8",
    **dict.fromkeys(
        word_set(
            "acos acosd acosh asin asind asinh atan atand atanh cos cosd cosh cot cotd sin sind"
            " sinh tan tand tanh"
        ),
        _FLOAT_ONE,
    ),
    "atan2": "float8 float8 > float8",
    "atan2d": "float8 float8 > float8",
    "width_bucket": "float8 float8 float8 int4 > int4, numeric numeric numeric int4 > int4",
    "to_hex": "int4 > text, int8 > text",
    "to_number": "text text > numeric",
    # Texts
    "length": _TEXT_OR_BYTES_LENGTH,
    "octet_length": _TEXT_OR_BYTES_LENGTH,
    "bit_length": "text > int4, bytea > int4",
    "char_length": _CHARACTER_LENGTH,
    "character_length": _CHARACTER_LENGTH,
    "lower": _TEXT_ONE,
    "upper": _TEXT_ONE,
    "initcap": _TEXT_ONE,
    "reverse": _TEXT_ONE,
    "btrim": "text > text, text text > text, bytea bytea > bytea",
    "ltrim": "text > text, text text > text",
    "rtrim": "text > text, text text > text",
    "lpad": "text int4 > text, text int4 text > text",
    "rpad": "text int4 > text, text int4 text > text",
    "left": "text int4 > text",
    "right": "text int4 > text",
    "replace": "text text text > text",
    "translate": "text text text > text",
    "split_part": "text text int4 > text",
    "strpos": "text text > int4",
    "starts_with": "text text > bool",
    "substr": "text int4 > text, text int4 int4 > text, bytea int4 > bytea,bytea int4 int4 > bytea",
    "substring": "text int4 > text, text int4 int4 > text, bytea int4 > bytea,"
    "bytea int4 int4 > bytea, text text > text, text text text > text",
    "ascii": "text > int4",
    "chr": "int4 > text",
    "normalize": "text > text",
    "quote_ident": _TEXT_ONE,
    "quote_literal": _TEXT_ONE,
    "concat": "any... > text",
    "concat_ws": "text any... > text",
    "format": "text > text, text any... > text",
    "regexp_replace": "text text text > text, text text text text > text",
    "regexp_match": "text text > _text, text text text > _text",
    "regexp_split_to_array": "text text > _text, text text text > _text",
    "string_to_array": "text text > _text, text text text > _text",
    # Bytes and digests
    "md5": "text > text, bytea > text",
    "sha224": _DIGEST,
    "sha256": _DIGEST,
    "sha384": _DIGEST,
    "sha512": _DIGEST,
    "encode": "bytea text > text",
    "decode": "text text > bytea",
    "convert_to": "text name > bytea",
    "convert_from": "bytea name > text",
    "get_byte": "bytea int4 > int4",
    # Dates and times
    "age": "timestamptz timestamptz > interval, timestamp timestamp > interval",
    "date_part": "text date > float8, text time > float8, text timetz > float8,"
    "text timestamp > float8, text interval > float8, text timestamptz > float8",
    "date_trunc": "text timestamptz > timestamptz, text timestamp > timestamp,"
    "text timestamptz text > timestamptz, text interval > interval",
    "isfinite": "date > bool, timestamp > bool, timestamptz > bool, interval > bool",
    "justify_days": "interval > interval",
    "justify_hours": "interval > interval",
    "justify_interval": "interval > interval",
    "make_date": "int4 int4 int4 > date",
    "make_time": "int4 int4 float8 > time",
    "make_timestamp": "int4 int4 int4 int4 int4 float8 > timestamp",
    "make_timestamptz": "int4 int4 int4 int4 int4 float8 > timestamptz,"
    "int4 int4 int4 int4 int4 float8 text > timestamptz",
    "timezone": "text timestamptz > timestamp, text timestamp > timestamptz",
    "to_char": "float4 text > text, float8 text > text, int4 text > text, int8 text > text,"
    "numeric text > text, interval text > text, timestamp text > text, timestamptz text > text",
    "to_date": "text text > date",
    "to_timestamp": "text text > timestamptz, float8 > timestamptz",
    # JSON
    "to_json": "anyelement > json",
    "to_jsonb": "anyelement > jsonb",
    "array_to_json": "anyarray > json",
    "json_array_length": "json > int4",
    "jsonb_array_length": "jsonb > int4",
    "json_typeof": "json > text",
    "jsonb_typeof": "jsonb > text",
    "json_extract_path": "json text... > json",
    "jsonb_extract_path": "jsonb text... > jsonb",
    "json_extract_path_text": "json text... > text",
    "jsonb_extract_path_text": "jsonb text... > text",
    "json_build_array": "> json, any... > json",
    "jsonb_build_array": "> jsonb, any... > jsonb",
    "json_build_object": "> json, any... > json",
    "jsonb_build_object": "> jsonb, any... > jsonb",
    "json_object": "_text > json, _text _text > json",
    "jsonb_object": "_text > jsonb, _text _text > jsonb",
    "json_strip_nulls": "json > json",
    "jsonb_strip_nulls": "jsonb > jsonb",
    "jsonb_pretty": "jsonb > text",
    "jsonb_set": "jsonb _text jsonb > jsonb, jsonb _text jsonb bool > jsonb",
    "jsonb_insert": "jsonb _text jsonb > jsonb, jsonb _text jsonb bool > jsonb",
    # Arrays
    "array_length": "anyarray int4 > int4",
    "array_lower": "anyarray int4 > int4",
    "array_upper": "anyarray int4 > int4",
    "array_ndims": "anyarray > int4",
    "array_dims": "anyarray > text",
    "cardinality": "anyarray > int4",
    "array_to_string": "anyarray text > text, anyarray text text > text",
    "array_position": "anyarray anyelement > int4, anyarray anyelement int4 > int4",
    "array_append": "anyarray anyelement > anyarray",
    "array_prepend": "anyelement anyarray > anyarray",
    "array_cat": "anyarray anyarray > anyarray",
    "array_remove": "anyarray anyelement > anyarray",
    "array_replace": "anyarray anyelement anyelement > anyarray",
    # Nulls
    "num_nulls": "any... > int4",
    "num_nonnulls": "any... > int4",
}

SPECIAL_FUNCTIONS = frozenset({"coalesce", "nullif", "greatest", "least"})
"""Functions of SQL itself, whose type is the common type of what they take."""

AGGREGATES = word_set(
    """array_agg avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every json_agg
    json_object_agg jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc
    range_agg regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
    regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance"""
)
WINDOW_FUNCTIONS = word_set(
    """cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank
    row_number"""
)
SET_RETURNING = word_set(
    """generate_series generate_subscripts json_array_elements json_array_elements_text json_each
    json_each_text json_object_keys jsonb_array_elements jsonb_array_elements_text jsonb_each
    jsonb_each_text jsonb_object_keys regexp_matches regexp_split_to_table string_to_table
    unnest"""
)
RANDOM = word_set(
    """random random_normal setseed gen_random_uuid uuidv4 uuidv7 array_sample array_shuffle nextval
    currval lastval setval txid_current pg_current_xact_id"""
)

_EXTRACT_OF_DATE = word_set(
    "century day decade dow doy epoch isodow isoyear julian millennium month quarter week year"
)
_EXTRACT_OF_TIME = word_set(
    "epoch hour microsecond microseconds millisecond milliseconds minute second"
)
_EXTRACT_OF_INTERVAL = word_set(
    "century day decade epoch hour microsecond microseconds millennium millisecond milliseconds"
    " minute month quarter second year"
)
_EXTRACT_OF_ZONED = word_set("timezone timezone_hour timezone_minute")
EXTRACT_FIELDS = {
    "date": _EXTRACT_OF_DATE,
    "time": _EXTRACT_OF_TIME,
    "interval": _EXTRACT_OF_INTERVAL,
    "timestamp": _EXTRACT_OF_DATE | _EXTRACT_OF_TIME,
    "timestamptz": _EXTRACT_OF_DATE | _EXTRACT_OF_TIME | _EXTRACT_OF_ZONED,
    "timetz": _EXTRACT_OF_TIME | _EXTRACT_OF_ZONED,
}
"""The fields that EXTRACT knows of each type."""


@cache
def functions() -> dict[str, tuple[Signature, ...]]:
    """The permitted functions by name."""
    return {name: _signatures(text) for name, text in _FUNCTIONS.items()}


@cache
def operators() -> dict[str, tuple[Signature, ...]]:
    """The permitted operators by their sign; `~~` and `~~*` are LIKE and ILIKE."""
    found = {name: _signatures(text) for name, text in _OPERATORS.items()}
    comparable = _signatures(",".join(f"{pair} > bool" for pair in _COMPARABLE.split(",")))
    return found | dict.fromkeys(COMPARISONS, comparable)


def _signatures(text: str) -> tuple[Signature, ...]:
    made = []
    for one in text.split(","):
        takes, _, gives = one.partition(">")
        words = takes.split()
        variadic = bool(words) and words[-1].endswith("...")
        made.append(Signature(tuple(w.removesuffix("...") for w in words), gives.strip(), variadic))
    return tuple(made)


@cache
def _casts() -> dict[tuple[str, str], str]:
    found = {}
    for line in _CASTS.strip().splitlines():
        source, _, rest = line.partition(":")
        for part in rest.split(";"):
            how, *targets = part.split()
            found.update({(source, target): how for target in targets})
    return found


def becomes(source: Known, target: str) -> bool:
    """Whether PostgreSQL turns a value of type `source` into `target` by itself."""
    if source is None or source == target or _casts().get((source, target)) == "i":
        return True
    return source[0] == target[0] == "_" and becomes(source[1:], target[1:])


def can_cast(source: Known, target: str) -> bool:
    """Whether a value of type `source` can be cast to `target`, perhaps failing on some value."""
    if source is None or source == target or (source, target) in _casts():
        return True
    # Everything has a text, and is read from one.
    if category(target) == "S" or category(source) == "S":
        return True
    both = source.startswith("_") and target.startswith("_")
    return both and can_cast(source[1:], target[1:])


def category(name: str) -> str:
    """PostgreSQL's category of a type; of types that are not listed, the type's own name."""
    return _CATEGORIES.get(name, name)


def choose(
    signatures: Iterable[Signature], given: Sequence[Known], *, operator: bool = False
) -> Signature | None:
    """The signature that PostgreSQL takes for arguments of these types; None: none, or several.

    `operator`: an unknown operand is tried with the type of the other one first.
    """
    fitting = [s for s in _of_width(signatures, len(given)) if s.exact]
    tried = tuple(given)
    if operator and len(given) == 2 and None in given:
        other = given[0] or given[1]
        tried = (other, other)
    exact = [s for s in fitting if s.takes == tried]
    if exact and None not in tried:
        return exact[0]
    found = [s for s in fitting if _fits(s, given)]
    found = _most(found, lambda s: sum(a == b for a, b in zip(s.takes, given, strict=True)))
    if len(found) > 1:
        found = _most(found, lambda s: _preferred(s, given))
    if len(found) > 1:
        found = _by_category(found, given)
    if len(found) > 1:
        found = _by_the_known(found, given)
    return found[0] if len(found) == 1 else None


def choose_for_any(signatures: Iterable[Signature], given: Sequence[Known]) -> Signature | None:
    """As `choose`, of the signatures that take arrays or values of any type; with the types set."""
    for signature in _of_width(signatures, len(given)):
        if not signature.exact and (found := _bound(signature, given)) is not None:
            return found
    return None


def _bound(signature: Signature, given: Sequence[Known]) -> Signature | None:
    """The signature with the types of these arguments in the place of `anyarray` and others."""
    pairs = list(zip(signature.takes, given, strict=True))
    arrays = {have[1:] for take, have in pairs if take == "anyarray" and have and have[0] == "_"}
    plain = {have for take, have in pairs if take == "anyelement" and have}
    element = next(iter(arrays or plain), None)
    if len(arrays) > 1 or (not arrays and len(plain) > 1):
        return None
    if element is None and any(take.startswith(("anya", "anye")) for take in signature.takes):
        return None
    types = {"anyarray": f"_{element}", "anyelement": element or ""}
    takes = tuple((have or "text") if t == "any" else types.get(t, t) for t, have in pairs)
    if not all(becomes(have, take) for have, take in zip(given, takes, strict=True)):
        return None
    return Signature(takes, types.get(signature.gives, signature.gives))


def _of_width(signatures: Iterable[Signature], width: int) -> list[Signature]:
    """Those that take so many arguments, the last one repeated where it may be."""
    found = []
    for s in signatures:
        if s.variadic and width >= len(s.takes):
            more = (s.takes[-1],) * (width - len(s.takes))
            found.append(Signature((*s.takes, *more), s.gives))
        elif len(s.takes) == width:
            found.append(s)
    return found


def _fits(signature: Signature, given: Sequence[Known]) -> bool:
    return all(becomes(a, b) for a, b in zip(given, signature.takes, strict=True))


def _most(found: list[Signature], count: _Count) -> list[Signature]:
    best = max(map(count, found), default=0)
    return [s for s in found if count(s) == best]


def _preferred(signature: Signature, given: Sequence[Known]) -> int:
    return sum(
        have is not None
        and (have == take or (take in _PREFERRED and category(take) == category(have)))
        for take, have in zip(signature.takes, given, strict=True)
    )


def _by_category(found: list[Signature], given: Sequence[Known]) -> list[Signature]:
    """For each unknown argument: texts where a text will do, else the one category there is."""
    wanted: dict[int, tuple[str, bool]] = {}
    for place, known in enumerate(given):
        if known is not None:
            continue
        taken = [s.takes[place] for s in found]
        categories = {category(name) for name in taken}
        if "S" not in categories and len(categories) > 1:
            return found
        chosen = "S" if "S" in categories else categories.pop()
        preferred = any(n in _PREFERRED for n in taken if category(n) == chosen)
        wanted[place] = (chosen, preferred)
    kept = [
        s
        for s in found
        if all(
            category(s.takes[place]) == chosen and (not preferred or s.takes[place] in _PREFERRED)
            for place, (chosen, preferred) in wanted.items()
        )
    ]
    return kept or found


def _by_the_known(found: list[Signature], given: Sequence[Known]) -> list[Signature]:
    """The unknown arguments taken for what all others are."""
    known = set(given) - {None}
    if None not in given or len(known) != 1:
        return found
    same = [known.copy().pop()] * len(given)
    kept = [s for s in found if _fits(s, same)]
    return kept if len(kept) == 1 else found


def common_type(given: Sequence[Known]) -> str | None:
    """The type that values of these types have in common (CASE, coalesce); None: there is none."""
    known = [name for name in given if name is not None]
    if not known:
        return "text"
    chosen = known[0]
    for name in known[1:]:
        if category(name) != category(chosen):
            return None
        if chosen not in _PREFERRED and becomes(chosen, name) and not becomes(name, chosen):
            chosen = name
    return chosen if all(becomes(name, chosen) for name in known) else None
