"""The validation report: formats that agree in their numbers and that no name can break."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import grafeo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.cli import main
from geode_tui.commands.output import ledger_document, show_ledger
from geode_tui.errors import EXIT_CONNECTION, EXIT_DIFFERS, EXIT_OK, EXIT_USAGE
from geode_tui.validation.ledger import Cause, Difference, EntityDigest, Entry, EntryKind, Ledger
from geode_tui.validation.report import (
    KINDS,
    Chart,
    Facts,
    Report,
    bound_in_words,
    first_of,
    make_report,
    percent,
)
from geode_tui.validation.report_html import as_html, lit
from geode_tui.validation.report_junit import as_junit
from geode_tui.validation.report_markdown import as_markdown
from tests.command_line import execute
from tests.conftest import MakeDatabase
from tests.page_check import axe, check, chromium, look
from tests.validation_reports import Page, markdown_tables, markdown_tokens, read_junit

FACTS = Facts("shop@db1:5432", "quic://graph1:3141/shop", "mapping.yaml")
FORMATS = (as_markdown, as_html, as_junit)
# What breaks Markdown, HTML, XML or a terminal.
HOSTILE = (
    "[/f](x)|`a`b\\ *c* <script>alert(1)</script> ]]> <!-- &amp; \"'>\n"
    "next\r\x00\x1b[31m\u202e\ufffe ![i](u) ``` \U0001f600 </style> <img src=x onerror=y>"
)
CUSTOMERS = """
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int REFERENCES customer);
INSERT INTO customer SELECT n, 'name ' || n FROM generate_series(1, 20) n;
INSERT INTO purchase SELECT n, nullif(n % 21, 0) FROM generate_series(1, 50) n;
"""


def _ledger() -> Ledger:
    """All kinds of entries and all causes, in numbers that are not the same anywhere."""
    relationship = "(Order)-[PLACED]->(User)"
    entries = (
        Entry("Supplier", "node", "s.suppliers", 480, 478, 2, filtered=3, sampled=101),
        Entry("Order", "node", "s.orders", 1_000_000, 999_998, sampled=150, mismatched=9),
        Entry("User", "node", "s.users", 700, 707, sampled=51, differing=1, misplaced=7),
        Entry(relationship, "relationship", "s.orders", 999_400, 999_380, 4, 14, 600, mismatched=2),
        Entry("(A)-[B]->(C)", "relationship", "s.b", 33, 33, suspended=6),
        Entry("User:Customer", "label", "s.users", 181, 180),
        Entry("Order.stock", "join", "s.stock", 48, 48),
    )
    causes: tuple[Cause, ...] = (
        *("missing", "extra", "doubled", "stale"),
        *("edited", "type", "labels", "form"),
    )
    differences = [
        Difference("Order", f"id={n}", "both", (("total", "1.50", "1.5"),), "SELECT 1", "G", cause)
        for n, cause in enumerate(causes)
    ]
    differences.append(Difference(relationship, "id=9", "source", (), "S", "G", "end missing"))
    differences.append(Difference("User", "id=77", "both", (("name", "'a'", "'b'"),)))
    digests = (
        EntityDigest("Order", False, 2048, 9, 1_000_000, 4_400),
        EntityDigest(relationship, False, 2048, 20_000, 999_396, 20_001, cut_off=True),
    )
    return Ledger(entries, tuple(differences), "0003-1B-1", 1_793_887_390.0, digests)


def _report(ledger: Ledger) -> Report:
    return make_report(ledger, FACTS)


def _hostile() -> Ledger:
    """Every text that comes from outside is hostile."""
    found = Difference(
        HOSTILE, HOSTILE, "both", ((HOSTILE, HOSTILE, f"x{HOSTILE}"),), HOSTILE, HOSTILE, "stale"
    )
    alone = Difference(f"other {HOSTILE}", HOSTILE, "graph", ())
    entry = Entry(HOSTILE, "node", HOSTILE, 9, 8, source_sql=HOSTILE, target_gql=HOSTILE)
    suspended = replace(entry, id=f"2 {HOSTILE}", suspended=1)
    return Ledger((entry, suspended), (found, alone), HOSTILE, 1.0)


# -- the numbers ----------------------------------------------------------------------------------


def _told_by_markdown(text: str) -> dict[str, list[str]]:
    sheet = next(rows for rows in markdown_tables(text) if rows[0][0] == "entry")
    return {row[0]: [*row[2:9], row[10][2:]] for row in sheet[1:]}


def _told_by_html(text: str) -> dict[str, list[str]]:
    sheet = Page(text).table("Source rows")
    rows = [row for row in sheet[1:] if len(row) == 10 and row[0] != "Sum"]
    return {r[0]: [*("" if c == "–" else c for c in r[1:8]), r[9][2:]] for r in rows}


def _told_by_json(ledger: Ledger) -> dict[str, list[str]]:
    told = {}
    for e in json.loads(json.dumps(ledger_document(ledger)))["entries"]:
        ends, rows = e["kind"] == "relationship", e["kind"] in ("node", "relationship")
        missing = f"{e['missing']:,}".replace("-", "−")
        numbers = [f"{e['source_rows']:,}", f"{e['in_graph']:,}", f"{e['dead']:,}" if rows else ""]
        numbers += [f"{e['orphans']:,}" if ends else "", missing]
        numbers += [f"{e['nulls']:,}" if ends else "", f"{e['filtered']:,}" if rows else ""]
        told[e["id"]] = [*numbers, e["verdict"]]
    return told


def test_all_formats_have_the_same_numbers_for_every_entry() -> None:
    """Markdown, HTML and JUnit say of each entry what the JSON document says."""
    ledger = _ledger()
    report, told = _report(ledger), _told_by_json(ledger)
    assert _told_by_markdown(as_markdown(report)) == told
    assert _told_by_html(as_html(report)) == told
    junit = read_junit(as_junit(report))
    for entry in ledger.entries:
        [line] = [x for x in junit.told.splitlines() if x.startswith(f"{entry.id}: ")]
        assert line.endswith(f": {entry.verdict}")
        numbers = set(re.findall(r"[\d,]+\d|\d", line.split(": ", 1)[1]))
        assert {f"{entry.source_rows:,}", f"{entry.in_graph:,}"} <= numbers
        assert not entry.nulls or f"{entry.nulls:,}" in numbers
    failed = {case.name: case.message for case in junit.cases if case.failure is not None}
    assert failed == {e.id: e.verdict for e in ledger.entries if not e.balanced}
    assert junit.counts == {"tests": 7, "failures": len(failed), "errors": 0}
    assert [case.kind for case in junit.cases] == [entry.kind for entry in ledger.entries]


def test_all_formats_have_the_same_sums() -> None:
    """The sums of a kind are those of its entries; missing and too many do not cancel."""
    report = _report(_ledger())
    sums = next(t for t in markdown_tables(as_markdown(report)) if t[0][0] == "kind")
    page = [row for row in Page(as_html(report)).table("Source rows") if row[0] == "Sum"]
    junit = read_junit(as_junit(report)).properties
    header = sums[0]
    for row, own, total in zip(sums[1:], page, report.totals, strict=True):
        name = KINDS[total.kind].lower()
        told = dict(zip(header, row, strict=True))
        for column in ("source rows", "in graph", "dead", "orphans", "missing", "too many"):
            assert told[column].replace(",", "") == junit[f"{name}: {column}"], column
        assert own[1:3] == [told["source rows"], told["in graph"]]
    assert junit["nodes: missing"] == "2"
    assert junit["nodes: too many"] == "7"
    assert page[0][5] == "2 and −7"


def test_all_formats_tell_the_same_facts() -> None:
    """Source, target, mapping, time, snapshot, how and how sure: word by word the same."""
    report = _report(_ledger())
    stated = dict(report.stated())
    assert stated["sample"] == "1 of 302 sampled: at most 1.5 % wrong with 95 % confidence"
    assert stated["taken"] == "2026-11-05 14:03:10 UTC"
    assert stated["compared"].endswith("(not deep)")
    junit = read_junit(as_junit(report)).properties
    assert {name: junit[name] for name in stated} == stated
    facts = next(iter(markdown_tables(as_markdown(report))))
    assert dict(facts[1:]) == {name: text for name, text in stated.items() if name != "verdict"}
    texts = Page(as_html(report)).texts
    for name in ("mapping", "taken", "snapshot", "compared", "sample"):
        assert stated[name] in texts
    for make in FORMATS:
        assert "5 of 7 entries differ" in make(report)


def test_all_formats_name_the_same_differences() -> None:
    """Each key is in each format under its cause, with both values."""
    report = _report(_ledger())
    text, page = as_markdown(report), Page(as_html(report))
    failures = {c.name: c.failure or "" for c in read_junit(as_junit(report)).cases}
    rows = [row for rows in markdown_tables(text) for row in rows]
    for group in first_of(report.groups, 1_000):
        assert f"{group.title} ({group.count:,})" in failures[group.entity]
        for one in group.differences:
            assert f"- {one.key}\n" in f"{failures[one.entity]}\n"
            assert one.key in [caption for caption, _ in page.tables] + page.texts
            for value in one.values:
                assert [one.key, *value] in rows
                assert list(value) in page.table(one.key)
    names = [heading for level, heading in page.headings if level == 4]
    assert names[:2] == ["Missing (1)", "Extra (1)"]
    assert "Differs (1)" in names


def test_what_is_cut_off_is_told_by_all_formats(capsys: pytest.CaptureFixture[str]) -> None:
    """Where more differs than was told apart, nobody takes the list for whole."""
    ledger = _ledger()
    for make in FORMATS:
        assert "more differs than is named here" in make(_report(ledger))
    show_ledger(ledger)
    assert "(Order)-[PLACED]->(User): more differs than was told" in capsys.readouterr().out
    failures = {c.name: c.failure or "" for c in read_junit(as_junit(_report(ledger))).cases}
    assert "more differs than is named here" in failures["(Order)-[PLACED]->(User)"]
    whole = replace(ledger, digests=ledger.digests[:1])
    for make in FORMATS:
        assert "more differs than is named here" not in make(_report(whole))
        assert "of 2 mismatched keys 1 are named" in make(_report(whole))


_COUNT = st.integers(0, 10**9)


@given(st.sampled_from(list(KINDS)), _COUNT, _COUNT, _COUNT, _COUNT)
def test_both_sides_of_an_equation_are_equal(
    kind: EntryKind, rows: int, there: int, dead: int, orphans: int
) -> None:
    """What is missing or too many is a term: the equation is true, whatever was found."""
    entry = Entry("x", kind, "t", rows, there, dead, orphans)
    [line] = _report(Ledger((entry,))).lines
    left, right = str(line.equation).split(" = ")
    numbers = [int(n.replace(",", "")) for n in re.findall(r"[−]?[\d,]+", right)]
    signs = ["+", *re.findall(r" ([+−]) ", right)]
    added = sum(n if sign == "+" else -n for n, sign in zip(numbers, signs, strict=True))
    assert added == int(re.findall(r"[\d,]+", left)[0].replace(",", "")) == rows


def test_equations_are_in_words() -> None:
    """A node and a relationship read as the balance sheet of a migration."""
    supplier, _, user, placed, *_ = (str(line.equation) for line in _report(_ledger()).lines)
    assert supplier == "source rows 480 (filtered 3 apart) = in graph 478 + dead 2"
    assert user == "source rows 700 = in graph 707 + dead 0 − too many 7"
    assert placed == (
        "foreign keys 999,400 (600 null, none expected)"
        " = relationships 999,380 + orphans 14 + dead 4 + missing 2"
    )


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.001, "0.1 %"), (0.015, "1.5 %"), (1.0, "100 %"), (0.0, "0 %"), (3 / 7e6, "0.000043 %")],
)
def test_a_bound_is_rounded_up(share: float, told: str) -> None:
    """A rounded bound promises no more than the exact one."""
    assert percent(share) == told
    assert float(told[:-2]) / 100 >= share * (1 - 1e-9)


def test_the_sample_is_told_with_its_bound() -> None:
    """The rule of three, in words."""
    wanted = "0 of 3,000 sampled: at most 0.1 % wrong with 95 % confidence"
    assert bound_in_words(3_000, 0) == wanted
    assert bound_in_words(0, 0) == "nothing was sampled"


# -- names and values -----------------------------------------------------------------------------


def test_hostile_names_are_text_in_html() -> None:
    """No element, attribute or text of a page comes out of a name."""
    clean = replace(_ledger(), entries=_ledger().entries[:1])
    page, plain = Page(as_html(_report(_hostile()))), Page(as_html(_report(clean)))
    allowed = {"table", "caption", "mark", "article", "pre", "code", "ol", "h3", "h4", "small"}
    tags = {tag for tag, _ in page.elements}
    assert tags <= {tag for tag, _ in plain.elements} | allowed
    assert "script" not in tags
    assert "img" not in tags
    assert not any(name.startswith("on") for _, values in page.elements for name in values)
    assert page.style == plain.style
    assert all(c.isprintable() or c == "\n" for c in page.text)
    assert any("<script>alert(1)</script> ]]>" in text for text in page.texts)


def test_hostile_names_are_text_in_junit() -> None:
    """The document is XML and has each name once, its control characters visible."""
    text = as_junit(_report(_hostile()))
    suite = read_junit(text)
    assert [case.name for case in suite.cases] == [_visible(HOSTILE), "2 " + _visible(HOSTILE)]
    [failure, _] = [case.failure or "" for case in suite.cases]
    assert f"- {_visible(HOSTILE)}\n" in failure
    assert "]]>" in failure
    assert all(c.isprintable() or c == "\n" for c in text)


def test_hostile_names_are_text_in_markdown() -> None:
    """No link, image, emphasis or HTML, and no more cells than the header has."""
    text = as_markdown(_report(_hostile()))
    tokens = markdown_tokens(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "softbreak", "text_special"}
    assert not [token for token in tokens if token.type.startswith("html")]
    headings = [
        tokens[n + 1].content
        for n, token in enumerate(tokens)
        if (token.type, token.tag) == ("heading_open", "h2")
    ]
    assert headings == [
        *("What was compared", "Balance sheet", "Totals"),
        *("To be known", "What differs", "Queries"),
    ]
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        bars = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()}
        assert len(bars) == 1, block
    shown = [cell for rows in markdown_tables(text) for row in rows for cell in row]
    assert shown.count(_visible(HOSTILE)) > 3


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def test_no_format_holds_a_password() -> None:
    """Facts pass through what masks passwords, whoever made them."""
    facts = Facts("postgresql://ann:secret1@db1/shop", "quic://bob:secret2@g/x", "password=secret3")
    for make in FORMATS:
        assert "secret" not in make(make_report(_ledger(), facts))


def test_values_that_look_the_same_are_told_apart() -> None:
    """Two forms of an accent differ to the eye, too; a no-break space is no space."""
    values = (("a", "'Cafe\u0301'", "'Caf\u00e9'"), ("b", "'1\u00a0000'", "'1 000'"))
    ledger = replace(_ledger(), differences=(Difference("Order", "id=1", "both", values),))
    [group] = first_of(_report(ledger).groups, 10)
    assert group.differences[0].values[0] == ("a", "'Cafe\\u0301'", "'Caf\\xe9'")
    assert group.differences[0].values[1] == ("b", "'1\\xa0000'", "'1 000'")


def test_of_a_long_value_the_part_that_differs_is_shown() -> None:
    """A megabyte of text is not in the report; the one character that differs is."""
    source, graph = "x" * 500_000 + "A" + "y" * 500_000, "x" * 500_000 + "B" + "y" * 500_000
    found = Difference("Order", "id=1", "both", (("text", source, graph),))
    report = _report(replace(_ledger(), differences=(found,)))
    [group] = first_of(report.groups, 10)
    [(_, first, second)] = group.differences[0].values
    assert (first[41], second[41]) == ("A", "B")
    assert first.endswith("(1,000,001 characters)")
    assert all(len(make(report)) < 60_000 for make in FORMATS)


@given(st.text(max_size=12), st.text(max_size=12))
def test_the_marked_parts_are_what_differs(source: str, graph: str) -> None:
    """Without its marks a value is whole, and what is not marked is the same on both sides."""
    both = [ElementTree.fromstring(f"<v>{_xml(text)}</v>") for text in lit(*_safe(source, graph))]
    assert tuple("".join(one.itertext()) for one in both) == _safe(source, graph)
    rest = [(one.text or "") + "".join(mark.tail or "" for mark in one) for one in both]
    assert rest[0] == rest[1]


def _safe(*texts: str) -> tuple[str, ...]:
    return tuple(_visible(text) for text in texts)


def _xml(text: str) -> str:
    return text.replace("&#x27;", "'").replace("&quot;", '"')


# -- sizes ----------------------------------------------------------------------------------------


def test_a_report_of_nothing_says_so() -> None:
    """An empty ledger is not called a good one."""
    report = _report(Ledger(()))
    for make in FORMATS:
        assert "othing was compared" in make(report)
    assert read_junit(as_junit(report)).counts["tests"] == 0


def test_two_thousand_entities_are_all_there() -> None:
    """Each entry has its row and its test case; the chart shows those that differ first."""
    entries = tuple(
        Entry(f"E{n}", "node", f"t{n}", n, n - (n == 1_999), source_sql="S", target_gql="G")
        for n in range(2_000)
    )
    report = _report(Ledger(entries, (), "", 1.0))
    told = _told_by_json(Ledger(entries))
    assert _told_by_html(as_html(report)) == _told_by_markdown(as_markdown(report)) == told
    assert read_junit(as_junit(report)).counts == {"tests": 2_000, "failures": 1, "errors": 0}
    page = as_html(report)
    assert "1,960 more are not drawn." in page
    chart = page[page.index("<svg") : page.index("</svg>")]
    assert ">E1999</text>" in chart


def test_of_thousands_of_differences_a_fair_part_is_shown() -> None:
    """1,000 on the page and 20 of a test case, the number left out told; small groups are whole."""
    many = [
        Difference("Order", f"id={n}", "source", (), "SELECT 1", "G", "missing")
        for n in range(5_000)
    ]
    few = [Difference("User", f"id={n}", "graph", (), "", "G", "extra") for n in range(3)]
    report = _report(replace(_ledger(), differences=(*many, *few)))
    page = Page(as_html(report))
    keys = sum(values.get("class") == "difference" for _, values in page.elements)
    assert keys == 1_000
    assert "4,003 are left out" in page.text
    assert "4,003 more are not named here" in page.text
    assert len(page.text) < 1_000_000
    order, user = (
        case.failure or ""
        for case in read_junit(as_junit(report)).cases
        if case.name in ("Order", "User")
    )
    assert (order.count("\n- id="), user.count("\n- id=")) == (20, 3)
    assert "and 4,980 more" in order
    assert "4,803 more are not named here" in as_markdown(report)


def test_two_big_groups_share_the_room() -> None:
    """No entity takes all the room because it comes first."""
    both = [
        Difference(entity, f"id={n}", "source", (), "", "", "missing")
        for entity in ("Order", "User")
        for n in range(5_000)
    ]
    groups = first_of(_report(replace(_ledger(), differences=tuple(both))).groups, 1_001)
    assert [len(group.differences) for group in groups] == [500, 501]
    assert [group.left_out for group in groups] == [4_500, 4_499]


# -- the page -------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else() -> None:
    """No network, no font, no script; only its own style sheet is allowed, by its hash."""
    page = Page(as_html(make_report(_ledger(), replace(FACTS, target="shop.grafeo"), _CHARTS)))
    assert not {"script", "link", "img", "iframe", "base", "object"} & {t for t, _ in page.elements}
    assert not re.search(r"https?:|//|@import|url\(|@font-face", page.text)
    assert all(href.startswith("#") for href in page.names("href"))
    assert not page.names("src")
    assert not page.names("style")
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    [policy] = [v["content"] for _, v in page.elements if "http-equiv" in v]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_the_page_can_be_read_aloud() -> None:
    """Headings in order, links that lead somewhere, tables with captions, charts with words."""
    page = Page(as_html(make_report(_ledger(), FACTS, _CHARTS)))
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = page.names("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.names("href")} <= set(ids)
    assert {name for names in page.names("aria-labelledby") for name in names.split()} <= set(ids)
    assert all(caption for caption, _ in page.tables)
    assert all("scope" in values for tag, values in page.elements if tag == "th")
    assert [values["role"] for tag, values in page.elements if tag == "svg"] == ["img", "img"]
    assert ("html", {"lang": "en"}) in page.elements


_CHARTS = [Chart("Orders of a user", "Fan-out.", ("source", "graph"), (("1", (5, 4)),))]


def test_a_further_chart_has_its_numbers_beside_it() -> None:
    """A distribution is drawn, and is a table for who does not see it."""
    page = Page(as_html(make_report(_ledger(), FACTS, _CHARTS)))
    assert page.table("Orders of a user") == [["Value", "source", "graph"], ["1", "5", "4"]]


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def customers(make_database: MakeDatabase, tmp_path: Path) -> list[str]:
    """The arguments that name a migrated database."""
    dsn, mapping = make_database(CUSTOMERS), str(tmp_path / "mapping.yaml")
    arguments = ["--source", dsn, "--mapping", mapping, "--target", str(tmp_path / "t.grafeo")]
    assert main(["map", "--source", dsn, "--output", mapping]) == EXIT_OK
    assert main(["migrate", *arguments]) == EXIT_OK
    return arguments


def test_validate_writes_every_format(
    customers: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A good graph: 0, and each format has the numbers of the JSON document."""
    capfd.readouterr()
    found: dict[str, str] = {}
    for form in ("json", "md", "html", "junit"):
        file = tmp_path / f"report.{form}"
        assert main(["validate", *customers, "--format", form, "--output", str(file)]) == EXIT_OK
        found[form] = file.read_text(encoding="utf-8")
        out, err = capfd.readouterr()
        assert out == ""
        assert f"wrote {file}" in err
    entries = {entry["id"]: entry for entry in json.loads(found["json"])["entries"]}
    sheet = _told_by_html(found["html"])
    assert _told_by_markdown(found["md"]) == sheet
    for name, entry in entries.items():
        assert sheet[name][:2] == [f"{entry['source_rows']:,}", f"{entry['in_graph']:,}"]
    assert sheet["(Purchase)-[HAS_CUSTOMER]->(Customer)"][5] == "2"
    suite = read_junit(found["junit"])
    checks = json.loads(found["json"])["checks"]
    assert suite.counts == {"tests": len(entries) + len(checks), "failures": 0, "errors": 0}
    assert suite.properties["source"].startswith("test_")
    assert suite.properties["source"].endswith("@local")


def test_validate_ends_with_4_and_writes_what_differs(
    customers: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """JUnit on stdout, in UTF-8: the failure names the row, both values and the two queries."""
    execute(customers[1], "UPDATE customer SET name = 'é|<b>' WHERE id = 7")
    capfd.readouterr()
    assert main(["validate", *customers, "--format", "junit"]) == EXIT_DIFFERS
    [failure] = [c.failure for c in read_junit(capfd.readouterr().out).cases if c.failure]
    assert "stale (1)" in failure
    assert "  name: source 'é|<b>' · graph 'name 7'" in failure
    sql, gql = re.findall(r"^  (?:SQL|GQL): (.*)$", failure, re.MULTILINE)
    assert sql.startswith("SELECT * FROM")
    with_graph = grafeo.GrafeoDB(customers[-1])
    assert len(list(with_graph.execute(gql))) == 1
    with_graph.close()


def test_a_report_never_replaces_a_file(
    customers: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is there stays as it is, and the source is not even read."""
    file = tmp_path / "report.html"
    file.write_text("mine")
    nowhere = ["--source", "postgresql://nobody@127.0.0.1:1/none", *customers[2:]]
    arguments = ["validate", *nowhere, "--format", "html", "--output", str(file)]
    assert main(arguments) == EXIT_USAGE
    assert "exists already" in capfd.readouterr().err
    assert file.read_text() == "mine"


def test_a_report_that_fails_leaves_no_file(customers: list[str], tmp_path: Path) -> None:
    """Neither half a report nor a part of one is left where the graph cannot be read."""
    before = sorted(tmp_path.iterdir())
    missing = [*customers[:-1], str(tmp_path / "none.grafeo")]
    file = str(tmp_path / "report.html")
    assert main(["validate", *missing, "--format", "html", "--output", file]) == EXIT_CONNECTION
    assert sorted(tmp_path.iterdir()) == before


def test_html_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    """Who forgot --output is told so before anything is compared."""
    ours, theirs = pty.openpty()
    arguments = ["validate", "--target", "t.grafeo", "--mapping", "m.yaml", "--format", "html"]
    done = subprocess.run(
        [sys.executable, "-m", "geode_tui", *arguments],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        cwd=tmp_path,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == EXIT_USAGE
    assert "name a file with --output" in done.stderr


# -- a real browser -------------------------------------------------------------------------------

_browser = pytest.mark.skipif(chromium() is None, reason="no Chromium: TEST_CHROMIUM names one")
_axe = pytest.mark.skipif(axe() is None, reason="no axe-core: TEST_AXE names its axe.min.js")


@_browser
def test_a_browser_opens_the_page_from_its_file(tmp_path: Path) -> None:
    """Nothing is refused by the page's own policy, and nothing is asked from elsewhere."""
    file = tmp_path / "report.html"
    file.write_text(as_html(make_report(_hostile(), FACTS, _CHARTS)), encoding="utf-8")
    done = look(file, tmp_path)
    assert "Balance sheet" in done.stdout
    assert "CONSOLE" not in done.stderr
    spoiled = file.read_text(encoding="utf-8").replace("<style>", "<style> ")
    file.write_text(spoiled, encoding="utf-8")
    assert "Content Security Policy" in look(file, tmp_path).stderr


@_browser
@_axe
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_page_passes_an_accessibility_check(tmp_path: Path, colours: str) -> None:
    """axe finds nothing wrong, in either colours; of a page that is spoiled it tells."""
    options = ["--blink-settings=preferredColorScheme=0"] if colours == "dark" else []
    file = tmp_path / "report.html"
    for ledger in (_ledger(), _hostile(), Ledger(())):
        file.write_text(as_html(make_report(ledger, FACTS, _CHARTS)), encoding="utf-8")
        found = check(file, tmp_path, *options)
        assert found["violations"] == []
        assert found["passes"] > 20
    spoiled = file.read_text(encoding="utf-8").replace('<html lang="en">', "<html>")
    file.write_text(spoiled, encoding="utf-8")
    assert [one["id"] for one in check(file, tmp_path)["violations"]] == ["html-has-lang"]
