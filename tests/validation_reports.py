"""Validation reports read back: what each format says, taken from what a reader gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree

from markdown_it import MarkdownIt
from markdown_it.token import Token

type Rows = list[list[str]]

_VOID = frozenset({"meta", "input", "rect", "br"})


@dataclass
class Page(HTMLParser):
    """A page of HTML: its elements in order, its tables by their captions, its headings."""

    text: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tables: list[tuple[str, Rows]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    style: str = ""
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "table":
            self.tables.append(("", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][1][-1].append("")
        elif re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
            return
        self.texts.append(data)
        if "caption" in self._open:
            caption, rows = self.tables[-1]
            self.tables[-1] = (caption + data, rows)
        elif ("td" in self._open or "th" in self._open) and "small" not in self._open:
            self.tables[-1][1][-1][-1] += data
        elif self._open and re.fullmatch(r"h[1-6]", self._open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def table(self, caption: str) -> Rows:
        """The rows of the table whose caption begins so."""
        return next(rows for name, rows in self.tables if name.startswith(caption))

    def names(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [values[attribute] for _, values in self.elements if attribute in values]


def markdown_tables(text: str) -> Iterator[Rows]:
    """The tables of a page of Markdown, as a renderer reads them."""
    rows: Rows = []
    for token in markdown_tokens(text):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level >= 4:
            rows[-1].append("".join(child.content for child in token.children or ()))
        elif token.type == "table_close":
            yield rows
            rows = []


def markdown_tokens(text: str) -> list[Token]:
    """A page of Markdown in the dialect of GitHub."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


@dataclass(frozen=True)
class Case:
    """A test case of a JUnit document: `failure` and `skipped` are None where it passed."""

    name: str
    kind: str
    failure: str | None
    message: str
    skipped: str | None = None


@dataclass(frozen=True)
class Suite:
    """The one test suite of a JUnit document."""

    counts: dict[str, int]
    properties: dict[str, str]
    cases: list[Case]
    told: str


def read_junit(text: str) -> Suite:
    """A JUnit document, held against what the schemas of its readers ask for."""
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    [suite] = root
    names = [child.tag for child in suite]
    cases = names.count("testcase")
    assert names == ["properties", *["testcase"] * cases, "system-out", "system-err"]
    required = {"name", "package", "id", "hostname", "timestamp", "tests", "failures", "errors"}
    assert set(suite.keys()) >= required | {"time"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    assert all(set(case.keys()) == {"name", "classname", "time"} for case in suite.iter("testcase"))
    for outcome in ("failure", "skipped"):
        found = list(suite.iter(outcome))
        assert all(set(one.keys()) == {"type", "message"} for one in found)
        name = "failures" if outcome == "failure" else outcome
        assert suite.attrib[name] == str(len(found))
    assert all(len(case) <= 1 for case in suite.iter("testcase"))
    return Suite(
        {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors")},
        {one.attrib["name"]: one.attrib["value"] for one in suite.iter("property")},
        [_case(case) for case in suite.iter("testcase")],
        suite.findtext("system-out") or "",
    )


def _case(case: ElementTree.Element) -> Case:
    failure, skipped = case.find("failure"), case.find("skipped")
    outcome = skipped if failure is None else failure
    return Case(
        case.attrib["name"],
        case.attrib["classname"],
        None if failure is None else failure.text or "",
        "" if outcome is None else outcome.attrib["message"],
        None if skipped is None else skipped.text or "",
    )
