"""Ready-made expressions to pick for a column, so that common changes need no SQL by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from geode_tui.catalog import Column
from geode_tui.errors import MappingError
from geode_tui.mapping.expressions import quote_name, quote_text

Inputs = dict[str, str]


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """An expression to pick.

    `applies` says whether it fits a column, `make` gives its text for a column and the answers;
    `inputs` are the questions: name, prompt and default answer. `graph_type` is the type that the
    property gets. `make` raises MappingError for an answer that cannot be used.
    """

    id: str
    title: str
    description: str
    applies: Callable[[Column], bool]
    make: Callable[[Column, Inputs], str]
    inputs: tuple[tuple[str, str, str], ...]
    graph_type: str


_TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
_WHOLE = frozenset({"int2", "int4", "int8"})
_NUMBERS = _WHOLE | {"numeric", "float4", "float8"}
_FINITE = _WHOLE | {"numeric"}
_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_MOST_KEPT = 100


def ready_made_for(column: Column) -> tuple[ReadyMade, ...]:
    """Those that fit a column, in the order of the list."""
    return tuple(one for one in READY_MADE if one.applies(column))


def make_text(one: ReadyMade, column: Column, answers: Inputs) -> str:
    """The expression's text; a question without an answer gets its default."""
    defaults = {name: default for name, _, default in one.inputs}
    return one.make(column, defaults | answers)


def _is_text(column: Column) -> bool:
    resolved = column.type.resolved()
    return resolved.kind == "enum" or (resolved.kind == "base" and resolved.name in _TEXTS)


def _is_one_of(names: frozenset[str]) -> Callable[[Column], bool]:
    def applies(column: Column) -> bool:
        resolved = column.type.resolved()
        return resolved.kind == "base" and resolved.name in names

    return applies


def _is_scalar(column: Column) -> bool:
    resolved = column.type.resolved()
    return resolved.kind in ("base", "enum") and resolved.name != "bytea"


def _is_array(column: Column) -> bool:
    return column.type.resolved().kind == "array"


def _name(column: Column) -> str:
    return quote_name(column.name)


def _text(column: Column) -> str:
    """The column as a text."""
    resolved = column.type.resolved()
    plain = resolved.kind == "base" and resolved.name in ("text", "varchar")
    return _name(column) if plain else f"{_name(column)}::text"


def _whole(answers: Inputs, name: str, least: int, most: int) -> int:
    """The answer as a whole number."""
    answer = answers[name].strip()
    number = int(answer) if answer.isascii() and answer.isdigit() and len(answer) < 10 else -1
    if not least <= number <= most:
        raise MappingError(f"{name}: a whole number from {least} to {most}, not {answer!r}")
    return number


def _digest(column: Column, answers: Inputs) -> str:
    salt = answers["salt"]
    value = f"{quote_text(salt)} || {_text(column)}" if salt else _text(column)
    return f"encode(sha256(convert_to({value}, 'UTF8')), 'hex')"


def _masked(column: Column, answers: Inputs) -> str:
    value, kept = _text(column), _whole(answers, "kept", 0, _MOST_KEPT)
    # A value no longer than what is kept would be shown whole.
    return (
        f"CASE WHEN {_name(column)} IS NULL THEN NULL"
        f" WHEN length({value}) > {kept} THEN lpad(right({value}, {kept}), length({value}), '*')"
        f" ELSE '****' END"
    )


def _truth(column: Column, answers: Inputs) -> str:
    return (
        f"CASE WHEN lower(btrim({_text(column)})) = {quote_text(answers['yes'].lower())} THEN TRUE"
        f" WHEN lower(btrim({_text(column)})) = {quote_text(answers['no'].lower())} THEN FALSE END"
    )


def _number(answers: Inputs, name: str) -> str:
    """The answer as a number, written as a text that is cast."""
    answer = answers[name].strip()
    digits = answer.removeprefix("-").replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 30:
        raise MappingError(f"{name}: a number, not {answer!r}")
    return f"{quote_text(answer)}::numeric"


READY_MADE: tuple[ReadyMade, ...] = (
    ReadyMade(
        "trim_lower",
        "Trim and lower case",
        "Without spaces at the ends, in lower case: e-mail addresses, codes",
        _is_text,
        lambda c, _: f"lower(btrim({_text(c)}))",
        (),
        "STRING",
    ),
    ReadyMade(
        "trim_upper",
        "Trim and upper case",
        "Without spaces at the ends, in upper case: country codes",
        _is_text,
        lambda c, _: f"upper(btrim({_text(c)}))",
        (),
        "STRING",
    ),
    ReadyMade(
        "one_space",
        "Single spaces",
        "Each run of spaces, tabs and line breaks becomes one space, none at the ends",
        _is_text,
        lambda c, _: f"btrim(regexp_replace({_text(c)}, '\\s+', ' ', 'g'))",
        (),
        "STRING",
    ),
    ReadyMade(
        "digits",
        "Digits only",
        "All but the digits 0 to 9 is removed: telephone numbers",
        _is_text,
        lambda c, _: f"regexp_replace({_text(c)}, '[^0-9]', '', 'g')",
        (),
        "STRING",
    ),
    ReadyMade(
        "empty_to_null",
        "Empty text to null",
        "A text of spaces only, or none, becomes no property",
        _is_text,
        lambda c, _: f"nullif(btrim({_text(c)}), '')",
        (),
        "STRING",
    ),
    ReadyMade(
        "null_to_text",
        "Null to a default text",
        "A null becomes the text that you give",
        _is_text,
        lambda c, a: f"coalesce({_text(c)}, {quote_text(a['default'])})",
        (("default", "Text in place of null", "unknown"),),
        "STRING",
    ),
    ReadyMade(
        "null_to_number",
        "Null to a default number",
        "A null becomes the number that you give",
        _is_one_of(_FINITE),
        lambda c, a: f"coalesce({_name(c)}, {_number(a, 'default')})",
        (("default", "Number in place of null", "0"),),
        "DECIMAL",
    ),
    ReadyMade(
        "split_part",
        "Part of a text",
        "The text between two separators; the first part is 1",
        _is_text,
        lambda c, a: (
            f"split_part({_text(c)}, {quote_text(a['separator'])}, {_whole(a, 'part', 1, 9999)})"
        ),
        (("separator", "Separator", ","), ("part", "Which part", "1")),
        "STRING",
    ),
    ReadyMade(
        "split_list",
        "Text to a list",
        "The parts of the text between the separators, as a list",
        _is_text,
        lambda c, a: f"string_to_array({_text(c)}, {quote_text(a['separator'])})",
        (("separator", "Separator", ","),),
        "LIST<STRING>",
    ),
    ReadyMade(
        "mail_domain",
        "Domain of an e-mail address",
        "What stands after the @, in lower case",
        _is_text,
        lambda c, _: f"lower(split_part({_text(c)}, '@', 2))",
        (),
        "STRING",
    ),
    ReadyMade(
        "text_to_date",
        "Text to date",
        "A text that holds a date, read by the format that you give",
        _is_text,
        lambda c, a: f"to_date({_text(c)}, {quote_text(a['format'])})",
        (("format", "Format, as in DD.MM.YYYY", "YYYY-MM-DD"),),
        "DATE",
    ),
    ReadyMade(
        "text_to_timestamp",
        "Text to a moment",
        "A text that holds date and time in UTC, read by the format that you give",
        _is_text,
        lambda c, a: f"to_timestamp({_text(c)}, {quote_text(a['format'])})",
        (("format", "Format", "YYYY-MM-DD HH24:MI:SS"),),
        "TIMESTAMPTZ",
    ),
    ReadyMade(
        "text_to_integer",
        "Text to integer",
        "A text that holds a whole number; an empty one becomes no property",
        _is_text,
        lambda c, _: f"nullif(btrim({_text(c)}), '')::bigint",
        (),
        "INT",
    ),
    ReadyMade(
        "text_to_decimal",
        "Text to decimal",
        "A text that holds a number with a decimal point; an empty one becomes no property",
        _is_text,
        lambda c, _: f"nullif(btrim({_text(c)}), '')::numeric",
        (),
        "DECIMAL",
    ),
    ReadyMade(
        "text_to_bool",
        "Text to true or false",
        "One word is true, another is false, all else becomes no property",
        _is_text,
        _truth,
        (("yes", "Word for true", "y"), ("no", "Word for false", "n")),
        "BOOL",
    ),
    ReadyMade(
        "json_field",
        "Field of a JSON object",
        "The value of one key as a text",
        _is_one_of(frozenset({"json", "jsonb"})),
        lambda c, a: f"{_name(c)} ->> {quote_text(a['key'])}",
        (("key", "Key", "name"),),
        "STRING",
    ),
    ReadyMade(
        "json_number",
        "Number in a JSON object",
        "The value of one key as a number",
        _is_one_of(frozenset({"json", "jsonb"})),
        lambda c, a: f"({_name(c)} ->> {quote_text(a['key'])})::numeric",
        (("key", "Key", "amount"),),
        "DECIMAL",
    ),
    ReadyMade(
        "numeric_to_float",
        "Number to float",
        "The nearest 64-bit float: for computing, not for money",
        _is_one_of(_NUMBERS),
        lambda c, _: f"{_name(c)}::float8",
        (),
        "FLOAT",
    ),
    ReadyMade(
        "cents",
        "Cents to units",
        "A whole number of hundredths divided by 100, exactly",
        _is_one_of(_WHOLE),
        lambda c, _: f"round({_name(c)} / 100.0, 2)",
        (),
        "DECIMAL",
    ),
    ReadyMade(
        "epoch",
        "Unix seconds to a moment",
        "Seconds since 1970-01-01 00:00 UTC",
        _is_one_of(_WHOLE),
        lambda c, _: f"to_timestamp({_name(c)}::float8)",
        (),
        "TIMESTAMPTZ",
    ),
    ReadyMade(
        "year",
        "Year",
        "The year of a date",
        _is_one_of(_MOMENTS),
        lambda c, _: f"extract(year FROM {_name(c)})::int",
        (),
        "INT",
    ),
    ReadyMade(
        "local_time",
        "Local time to a moment",
        "A time without a zone, taken for the local time of the zone that you give",
        _is_one_of(frozenset({"timestamp"})),
        lambda c, a: f"{_name(c)} AT TIME ZONE {quote_text(a['zone'])}",
        (("zone", "Time zone, as in Europe/Berlin", "UTC"),),
        "TIMESTAMPTZ",
    ),
    ReadyMade(
        "joined_list",
        "List to text",
        "The elements of an array with a separator between, nulls left out",
        _is_array,
        lambda c, a: f"array_to_string({_name(c)}, {quote_text(a['separator'])})",
        (("separator", "Separator", ", "),),
        "STRING",
    ),
    ReadyMade(
        "hash",
        "Hash a personal value",
        "SHA-256 in hex: equal values stay equal. Short values can be guessed without a salt",
        _is_scalar,
        _digest,
        (("salt", "Salt, put before the value (it is kept in the mapping)", ""),),
        "STRING",
    ),
    ReadyMade(
        "mask",
        "Mask a personal value",
        "Stars for all but the last characters",
        _is_scalar,
        _masked,
        (("kept", "How many characters stay", "4"),),
        "STRING",
    ),
)
