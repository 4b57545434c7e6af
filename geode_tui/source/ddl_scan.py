"""Cut the text of a PostgreSQL script into statements and tokens, as psql and the server do.

A semicolon ends a statement only outside of strings, quoted names, dollar quotes, comments,
parentheses and the body of a function in standard SQL (BEGIN ATOMIC … END).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple, NoReturn

from geode_tui.errors import UsageError

TokenKind = Literal["word", "name", "string", "number", "operator", "command"]

NAME_BYTES = 63
"""Longest name that PostgreSQL keeps; what is longer is cut there."""

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TOKEN = re.compile(
    rf"""(?:[ \t\r\n\f\v]+|--[^\r\n]*)*
    (?:(?P<comment>/\*)
    |(?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)
    |(?P<string>(?:[eEbBxXnN]|[uU]&)?')
    |(?P<quoted>(?:[uU]&)?")
    |(?P<word>[{_LETTER}][{_LETTER}0-9$]*)
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<command>\\)
    |(?P<operator>::|:=|=>|.)
    |\Z)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN_REST = re.compile(r"[^']*(?:''[^']*)*'")
_ESCAPED_REST = re.compile(r"[^'\\]*(?:(?:\\.|'')[^'\\]*)*'", re.DOTALL)
_QUOTED_REST = re.compile(r'[^"]*(?:""[^"]*)*"')
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_COMMAND = re.compile(r"\\(?P<text>;|[^\r\n]*)")
# Many rows of an INSERT at once, up to what needs a closer look.
_ROWS = re.compile(r"""(?:[^;'"$/\\eE-]+|'[^']*'|[eE](?!')|-(?!-))+""")
_END_OF_DATA = re.compile(r"^\\\.[ \t]*\r?$", re.MULTILINE)
_ESCAPE = re.compile(
    r"\\(?:u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|x(?P<hex>[0-9a-fA-F]{1,2})"
    r"|(?P<octal>[0-7]{1,3})|(?P<other>.))",
    re.DOTALL,
)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UPPER_TO_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
# psql sends the statement at these.
_SENDS = frozenset({"g", "gx", "gexec", "gset", "gdesc", "crosstabview"})


class Token(NamedTuple):
    """A piece of a statement; `value` is a name folded or unquoted, or a string unescaped."""

    kind: TokenKind
    value: str
    start: int
    end: int


class Statement(NamedTuple):
    """A statement, or one psql command (a single token of kind `command`)."""

    tokens: tuple[Token, ...]
    line: int


class Script:
    """The text of a script and its name, which errors tell."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self._position = 0
        self._plain_backslash = True
        self._counted = (0, 1)

    def line(self, position: int) -> int:
        """The line of a position, the first is 1."""
        at, line = self._counted
        if position < at:
            return self.text.count("\n", 0, position) + 1
        line += self.text.count("\n", at, position)
        self._counted = (position, line)
        return line

    def refuse(self, position: int, what: str, why: str = "", next_step: str = "") -> NoReturn:
        """Raise a UsageError that tells file and line."""
        raise UsageError(f"{self.name}, line {self.line(position)}: {what}", why, next_step)

    def statements(self) -> Iterator[Statement]:
        """Every statement, in order; raises UsageError where one has no end."""
        while self._position < len(self.text):
            tokens = self._statement()
            if not tokens:
                continue
            yield Statement(tuple(tokens), self.line(tokens[0].start))
            words = [token.value for token in tokens if token.kind == "word"]
            self._watch_setting(tokens)
            if words[:1] == ["copy"] and _from_stdin(words):
                self._skip_data()

    def _statement(self) -> list[Token]:
        """The tokens up to the end of a statement; none at an empty one."""
        tokens: list[Token] = []
        parens = blocks = 0
        while (token := self._token()) is not None:
            if token.kind == "command":
                if not tokens:
                    return [token]
                if token.value == ";" or token.value.split(" ")[0] in _SENDS:
                    return tokens
                continue
            if token.kind == "operator":
                if token.value == ";" and not parens and not blocks:
                    return tokens
                parens = max(0, parens + (token.value == "(") - (token.value == ")"))
            elif token.kind == "word":
                blocks += _block_step(token.value, tokens, blocks)
            tokens.append(token)
            if tokens[0].value == "insert" and self._plain_backslash:
                parens = 0
                rows = _ROWS.match(self.text, self._position)
                self._position = rows.end() if rows else self._position
        if parens or blocks:
            missing = "closing parenthesis" if parens else "END"
            self.refuse(
                tokens[0].start,
                f"a statement begins here and has no {missing}",
                "",
                "mend the file",
            )
        return tokens

    def _token(self) -> Token | None:
        """The next token, or None at the end of the text."""
        while self._position < len(self.text):
            match = _TOKEN.match(self.text, self._position)
            assert match is not None
            self._position = match.end()
            kind = match.lastgroup
            if kind is None:
                return None
            if kind == "comment":
                self._skip_comment(match.start(kind))
                continue
            return self._made(kind, match[kind], match.start(kind))
        return None

    def _made(self, kind: str, text: str, start: int) -> Token:
        if kind == "word":
            return Token("word", clip(text.translate(_UPPER_TO_LOWER)), start, self._position)
        if kind == "quoted":
            body = self._rest(_QUOTED_REST, start, "a quoted name").replace('""', '"')
            value = clip(_unicode(body) if text[0] in "uU" else body)
            return Token("name", value, start, self._position)
        if kind == "string":
            return Token("string", self._string(text, start), start, self._position)
        if kind == "dollar":
            end = self.text.find(text, self._position)
            if end < 0:
                self.refuse(start, f"the quote {text} is never closed", "", "mend the file")
            value = self.text[self._position : end]
            self._position = end + len(text)
            return Token("string", value, start, self._position)
        if kind == "command":
            found = _COMMAND.match(self.text, start)
            assert found is not None
            self._position = found.end()
            return Token("command", found["text"].strip(), start, self._position)
        return Token("number" if kind == "number" else "operator", text, start, self._position)

    def _string(self, opening: str, start: int) -> str:
        escaped = opening[0] in "eE" or (not self._plain_backslash and opening == "'")
        rest = self._rest(_ESCAPED_REST if escaped else _PLAIN_REST, start, "a string")
        if escaped:
            return _ESCAPE.sub(_unescaped, rest.replace("''", "'"))
        rest = rest.replace("''", "'")
        return _unicode(rest) if opening[0] in "uU" else rest

    def _rest(self, pattern: re.Pattern[str], start: int, what: str) -> str:
        match = pattern.match(self.text, self._position)
        if match is None:
            self.refuse(start, f"{what} begins here and is never closed", "", "mend the file")
        self._position = match.end()
        return match[0][:-1]

    def _skip_comment(self, start: int) -> None:
        depth = 1
        while depth:
            edge = _COMMENT_EDGE.search(self.text, self._position)
            if edge is None:
                self.refuse(start, "a comment begins here and is never closed", "", "mend the file")
            depth += 1 if edge[0] == "/*" else -1
            self._position = edge.end()

    def _skip_data(self) -> None:
        """Past the rows of COPY … FROM stdin, up to the line of `\\.`."""
        newline = self.text.find("\n", self._position)
        end = _END_OF_DATA.search(self.text, newline + 1) if newline >= 0 else None
        self._position = end.end() if end else len(self.text)

    def _watch_setting(self, tokens: list[Token]) -> None:
        """Old dumps turn standard_conforming_strings off: then a backslash escapes in strings."""
        values = [token.value.lower() for token in tokens]
        if values[:1] == ["set"] and "standard_conforming_strings" in values[1:3]:
            self._plain_backslash = values[-1] not in ("off", "false", "0", "no")


def clip(name: str, limit: int = NAME_BYTES) -> str:
    """The name cut to `limit` bytes of UTF-8, never within a character."""
    encoded = name.encode()
    return name if len(encoded) <= limit else encoded[:limit].decode(errors="ignore")


def _block_step(word: str, tokens: list[Token], depth: int) -> int:
    """How a word in CREATE FUNCTION or PROCEDURE opens or closes a block, as psql counts them."""
    head = [token.value for token in tokens[:4] if token.kind == "word"]
    if head[:1] != ["create"] or not {"function", "procedure"} & set(head):
        return 0
    if word == "begin" or (word == "case" and depth):
        return 1
    return -1 if word == "end" and depth else 0


def _from_stdin(words: list[str]) -> bool:
    return any(pair == ("from", "stdin") for pair in pairwise(words))


def _unescaped(match: re.Match[str]) -> str:
    if code := match["short"] or match["long"] or match["hex"]:
        return _character(int(code, 16))
    if match["octal"]:
        return _character(int(match["octal"], 8))
    return _CONTROLS.get(match["other"], match["other"])


def _unicode(text: str) -> str:
    """The text of U&'…' with the escapes of its usual escape character, the backslash."""
    pattern = r"\\(?:\+([0-9a-fA-F]{6})|([0-9a-fA-F]{4})|(\\))"
    return re.sub(pattern, lambda m: m[3] or _character(int(m[1] or m[2], 16)), text)


def _character(code: int) -> str:
    return chr(code) if code <= 0x10FFFF else "\ufffd"
