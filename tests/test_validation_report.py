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
from typing import Any
from xml.etree import ElementTree

import grafeo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Failure, JUnitXml, Skipped

from geode_tui.cli import main
from geode_tui.commands.output import ledger_document, show_ledger
from geode_tui.errors import EXIT_CONNECTION, EXIT_DIFFERS, EXIT_OK, EXIT_USAGE
from geode_tui.mapping.model import Mapping
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.paths import journal_file
from geode_tui.validation.acceptance import Settled, settle
from geode_tui.validation.ledger import (
    Cause,
    Check,
    Difference,
    EntityDigest,
    Entry,
    EntryKind,
    Ledger,
)
from geode_tui.validation.report import (
    CHECKS,
    KINDS,
    STATES,
    Chart,
    Facts,
    Report,
    age,
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
from tests.documentation import documented_keys
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
        *("edited", "type", "labels", "form", "collation", "refused"),
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
    return {row[0]: [*row[2:10], row[11][2:], row[12]] for row in sheet[1:]}


def _told_by_html(text: str) -> dict[str, list[str]]:
    sheet = Page(text).table("Source rows")
    rows = [row for row in sheet[1:] if len(row) == 11 and row[0] != "Sum"]
    return {r[0]: [*("" if c == "–" else c for c in r[1:9]), *_state(r[10])] for r in rows}


def _state(cell: str) -> list[str]:
    """`✗ Mismatched: 1 missing` as state and verdict."""
    state, verdict = cell[2:].split(": ", 1)
    return [state.lower(), verdict]


def _told_by_json(ledger: Ledger) -> dict[str, list[str]]:
    told = {}
    for e in json.loads(json.dumps(ledger_document(ledger)))["entries"]:
        ends, rows = e["kind"] == "relationship", e["kind"] in ("node", "relationship")
        missing, settled = (f"{e[name]:,}".replace("-", "−") for name in ("missing", "settled"))
        numbers = [f"{e['source_rows']:,}", f"{e['in_graph']:,}", f"{e['dead']:,}" if rows else ""]
        numbers += [f"{e['orphans']:,}" if ends else "", settled if rows else "", missing]
        numbers += [f"{e['nulls']:,}" if ends else "", f"{e['filtered']:,}" if rows else ""]
        told[e["id"]] = [*numbers, e["state"], e["verdict"]]
    return told


def _settled_ledger() -> Ledger:
    """A ledger of which rows, an entry and a check were accepted, and a row repaired since."""
    before = replace(
        _ledger(),
        entries=(
            Entry("A", "node", "s.a", 100, 98, 1, sampled=100, differing=1, mismatched=3),
            Entry("B", "node", "s.b", 50, 50, mismatched=1),
            Entry("C", "node", "s.c", 70, 71, suspended=1, mismatched=1),
            Entry("D", "node", "s.d", 30, 28),
            Entry("E", "node", "s.e", 9, 9),
            Entry("(A)-[OF]->(B)", "relationship", "s.a", 20, 18, 0, 1, 4, mismatched=1),
        ),
        digests=(EntityDigest("A", True, 64, 2, 99, 12),),
        differences=(
            _found("A", "id=1", "source", "missing", mark="17"),
            _found("A", "id=2", "both", "stale"),
            _found("A", "id=3", "both", "edited", sampled=True),
            _found("B", "id=4", "both", "stale"),
            _found("C", "id=5", "graph", "extra"),
            _found("C", "id=6", "both", "stale", state="suspended"),
            _found("(A)-[OF]->(B)", "id=7", "source", "missing", mark="18"),
        ),
        checks=(
            Check(
                "pair", "turnover", False, "10.00", "9.99", "they differ", "SELECT 1", "RETURN 2"
            ),
            Check("required", "A", False, "0 null", "2 null"),
            Check("statistics", "A.price", True, "sum 7", "sum 7"),
        ),
    )
    differences, entries = before.differences, before.entries
    accepted: list[Any] = [
        differences[0],
        differences[1],
        differences[4],
        entries[3],
        before.checks[0],
    ]
    reasons = {one.sign: f"{REASON} (ann)" for one in accepted}
    repaired = {one.sign: "by run 12" for one in (differences[3], differences[6])}
    return settle(before, Settled(reasons, repaired))


REASON = "known, see <b>T-7</b> | [x](y)"


def _found(entity: str, key: str, where: Any, cause: Cause, **more: Any) -> Difference:
    values = (("name", "'a'", "'b'"),) if where == "both" else ()
    return Difference(entity, key, where, values, "S", "G", cause, digested=True, **more)


@pytest.mark.parametrize("settled", [False, True])
def test_all_formats_have_the_same_numbers_for_every_entry(settled: bool) -> None:
    """Markdown, HTML and JUnit say of each entry what the JSON document says."""
    ledger = _settled_ledger() if settled else _ledger()
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
        assert line.startswith(f"{entry.id}: {STATES[entry.state][0]} {entry.state}: ")
    cases = [case for case in junit.cases if case.kind != "check"]
    failed = {case.name: case.message for case in cases if case.failure is not None}
    assert failed == {e.id: e.verdict for e in ledger.entries if not e.balanced}
    assert junit.counts["tests"] == len(ledger.entries) + len(ledger.checks)
    assert [case.kind for case in cases] == [entry.kind for entry in ledger.entries]


@pytest.mark.parametrize("settled", [False, True])
def test_all_formats_have_the_same_sums(settled: bool) -> None:
    """The sums of a kind are those of its entries; missing and too many do not cancel."""
    ledger = _settled_ledger() if settled else _ledger()
    report = _report(ledger)
    sums = next(t for t in markdown_tables(as_markdown(report)) if t[0][0] == "kind")
    page = [row for row in Page(as_html(report)).table("Source rows") if row[0] == "Sum"]
    junit = read_junit(as_junit(report)).properties
    header = sums[0]
    for row, own, total in zip(sums[1:], page, report.totals, strict=True):
        name = KINDS[total.kind].lower()
        told = dict(zip(header, row, strict=True))
        columns = ("source rows", "in graph", "dead", "orphans", "missing", "too many")
        for column in (*columns, "mismatched", "suspended", "accepted", "repaired"):
            assert told[column].replace(",", "") == junit[f"{name}: {column}"], column
        assert own[1:3] == [told["source rows"], told["in graph"]]
    if settled:
        assert (junit["nodes: accepted"], junit["nodes: repaired"]) == ("3", "1")
        assert "3 accepted, 1 repaired since" in page[0][10]
    else:
        assert (junit["nodes: missing"], junit["nodes: too many"]) == ("2", "7")
        assert page[0][6] == "2 and −7"


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
    assert names[:3] == ["Missing (1)", "Cannot be carried (1)", "Extra (1)"]
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


@given(st.sampled_from(list(KINDS)), _COUNT, _COUNT, _COUNT, _COUNT, st.integers(-9_000, 9_000))
def test_both_sides_of_an_equation_are_equal(
    kind: EntryKind, rows: int, there: int, dead: int, orphans: int, settled: int
) -> None:
    """What is missing, too many, accepted or repaired is a term: it is true, whatever was found."""
    entry = Entry("x", kind, "t", rows, there, dead, orphans, settled=settled)
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


@pytest.mark.parametrize("ledger", ["plain", "settled", "hostile", "empty"])
def test_a_junit_parser_reads_what_the_json_document_says(ledger: str) -> None:
    """A parser that others wrote finds the same cases, and counts the same by itself."""
    made = {"plain": _ledger, "settled": _settled_ledger, "hostile": _hostile, "empty": _empty}
    report, document = _report(made[ledger]()), ledger_document(made[ledger](), FACTS)
    xml = JUnitXml.fromstring(as_junit(report).encode())
    assert isinstance(xml, JUnitXml)
    [suite] = xml
    stated = (suite.tests, suite.failures, suite.skipped, suite.errors)
    suite.update_statistics()  # type: ignore[no-untyped-call]
    assert (suite.tests, suite.failures, suite.skipped, suite.errors) == stated
    told = {Failure: "mismatched", Skipped: "accepted"}
    states = [told[type(case.result[0])] if case.result else "fine" for case in suite]
    wanted = [_outcome(one["state"], one["balanced"]) for one in document["entries"]]
    wanted += [_outcome(one["state"], one["state"] != "failed") for one in document["checks"]]
    assert states == wanted
    assert suite.failures == wanted.count("mismatched")
    properties = {one.name: one.value for one in suite.properties()}  # type: ignore[no-untyped-call]
    assert properties["verdict"] == report.verdict
    assert properties["sample"] == report.bound


def _empty() -> Ledger:
    return Ledger(())


def _outcome(state: str, fine: bool) -> str:
    return "accepted" if state == "accepted" else "fine" if fine else "mismatched"


# -- states ---------------------------------------------------------------------------------------


def test_the_states_are_those_of_the_ledger() -> None:
    """Each entry has one; the JSON document counts them, and JUnit does."""
    ledger = _settled_ledger()
    told = {entry.id: entry.state for entry in ledger.entries}
    assert told == {
        "A": "mismatched",
        "B": "repaired",
        "C": "suspended",
        "D": "accepted",
        "E": "validated",
        "(A)-[OF]->(B)": "repaired",
    }
    document = ledger_document(ledger, replace(FACTS, run=13))
    assert document["states"] == _report(ledger).states
    properties = read_junit(as_junit(_report(ledger))).properties
    for state, count in document["states"].items():
        assert properties[f"entries {state}"] == str(count)
        assert count == list(told.values()).count(state)
    assert (document["accepted"], document["repaired"]) == (3, 2)
    assert (document["run"], document["deep"], document["mapping"]) == (13, True, "mapping.yaml")
    assert document["source"] == FACTS.source
    assert document["target"] == FACTS.target


def test_what_is_accepted_is_apart_from_what_stands() -> None:
    """Under its own heading, with the reason and by whom; what was repaired names the run."""
    report = _report(_settled_ledger())
    page, text = Page(as_html(report)), as_markdown(report)
    sections = [name for level, name in page.headings if level == 2]
    assert sections[1:4] == ["What differs", "Accepted", "Repaired"]
    standing = {key for group in report.groups for key in _keys(group.differences)}
    assert standing == {"id=3", "id=6"}
    for chapters in (_chapters(text), _sections(page.text)):
        for key in ("id=1", "id=2", "id=5"):
            assert key in chapters["Accepted"]
            assert key not in chapters["What differs"]
        for key in ("id=4", "id=7"):
            assert key in chapters["Repaired"]
        assert "by run 12" in chapters["Repaired"]
        assert "(ann)" in chapters["Accepted"]
        assert "suspended, stale" in chapters["What differs"].lower()
    accepted = page.table("Accepted as they are")
    assert accepted[1:] == [
        ["Entry", "D", "2 missing", f"{REASON} (ann)"],
        ["Check", "Own queries turnover", "they differ", f"{REASON} (ann)"],
    ]
    whole = next(t for t in markdown_tables(text) if t[0][1:2] == ["accepted as it is"])
    assert [row[1:] for row in whole[1:]] == [row[1:] for row in accepted[1:]]


def _keys(differences: tuple[Difference, ...]) -> set[str]:
    return {one.key for one in differences}


def _chapters(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"<h2 id=\"[^\"]*\">(.*?)</h2>", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_what_is_accepted_makes_no_report_a_bad_one() -> None:
    """Once nothing else stands, the report is valid, and says what was accepted."""
    ledger = _settled_ledger()
    fine = tuple(entry for entry in ledger.entries if entry.balanced)
    report = _report(replace(ledger, entries=fine, checks=ledger.checks[::2]))
    assert report.valid
    assert report.verdict == (
        "all 4 entries balance; 1 entry accepted, 1 check accepted, 3 rows accepted,"
        " 2 rows repaired since"
    )
    assert read_junit(as_junit(report)).counts["failures"] == 0
    header = next(
        v for t, v in Page(as_html(report)).elements if v.get("class", "")[:7] == "verdict"
    )
    assert header["class"] == "verdict good"


def test_what_is_accepted_is_skipped_in_continuous_integration() -> None:
    """With the reason; what was repaired passes, and what stands besides is a failure."""
    suite = read_junit(as_junit(_report(_settled_ledger())))
    cases = {case.name: case for case in suite.cases}
    skipped = {name: case.message for name, case in cases.items() if case.skipped is not None}
    assert skipped == {
        "D": f"2 missing, accepted as it is: {REASON} (ann)",
        "pair turnover": f"accepted: they differ: {REASON} (ann)",
    }
    assert {name for name, case in cases.items() if case.failure is not None} == {
        *("A", "C", "required A"),
    }
    assert "accepted, stale (1)" in (cases["A"].failure or "")
    assert f"accepted: {REASON} (ann)" in (cases["A"].failure or "")
    assert "by run 12" in suite.told


def test_the_terminal_tells_what_is_accepted_and_how_old_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By mark and word, after what stands; the last line has the verdict."""
    ledger = _settled_ledger()
    show_ledger(ledger, replace(FACTS, made=ledger.taken + 90_000))
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert re.search(r"^A +100 +98 +1 +1 .*✗ mismatched: 1 of 100 sampled differ", text, re.M)
    assert re.search(r"^C +70 +71 +0 +−1 .*≈ suspended: 1 suspended, 1 accepted", text, re.M)
    assert re.search(r"^D .*○ accepted: 2 missing, accepted as it is$", text, re.M)
    assert re.search(r"^E .*✓ balanced$", text, re.M)
    assert "  C id=6: differs (stale), suspended: it changed at every look" in lines
    assert f"  ○ accepted A id=2: stale: {REASON} (ann)" in lines
    assert f"  ○ accepted D: 2 missing: {REASON} (ann)" in lines
    assert "  ↻ repaired B id=4: stale: by run 12" in lines
    assert any(x.endswith("under snapshot 0003-1B-1, 1 day, 1 hour ago") for x in lines)
    assert "1 of 3 checks passed, 1 accepted" in lines
    assert lines[-1].startswith("2 of 6 differ; 1 entry accepted, ")


def test_all_formats_tell_how_old_a_journaled_validation_is() -> None:
    """Its run, its snapshot, its time, and how long ago that was."""
    ledger = _ledger()
    report = make_report(ledger, replace(FACTS, run=12, made=ledger.taken + 7_300))
    assert dict(report.stated())["age"] == "2 hours, 1 minute"
    for make in FORMATS:
        text = make(report)
        for told in ("2 hours, 1 minute", "2026-11-05 14:03:10 UTC", "0003-1B-1"):
            assert told in text
    assert read_junit(as_junit(report)).properties["run"] == "12"
    assert "age" not in dict(_report(ledger).stated())


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "under a minute"),
        (60, "1 minute"),
        (3_600, "1 hour"),
        (90_061, "1 day, 1 hour"),
        (172_860, "2 days, 1 minute"),
    ],
)
def test_an_age_is_told_in_two_units(seconds: float, told: str) -> None:
    """Days and hours, or hours and minutes."""
    assert age(seconds) == told


def test_all_formats_tell_every_kind_of_check(capsys: pytest.CaptureFixture[str]) -> None:
    """With its title, its meaning and its result, in the same order everywhere."""
    kinds: list[Any] = list(CHECKS)
    checks = tuple(
        Check(
            kind, f"x {n}", n % 2 == 0, f"s{n}", f"g{n}", f"why {n}", reason="" if n % 3 else "ok"
        )
        for n, kind in enumerate(reversed(kinds))
    )
    ledger = Ledger(_ledger().entries[5:6], checks=checks, taken=1.0)
    report = _report(ledger)
    page, text, suite = Page(as_html(report)), as_markdown(report), read_junit(as_junit(report))
    titles = [title for title, _ in CHECKS.values()]
    assert [name for level, name in page.headings if level == 3] == titles
    assert re.findall(r"^### (.*)$", _chapters(text)["Checks"], re.MULTILINE) == titles
    cases = [case for case in suite.cases if case.kind == "check"]
    assert [case.name.split()[0] for case in cases] == kinds
    assert [check["kind"] for check in ledger_document(ledger)["checks"]] == kinds
    for one, case in zip(reversed(checks), cases, strict=True):
        title, meaning = CHECKS[one.kind]
        [row] = page.table(meaning)[1:]
        [_, other] = next(t for t in markdown_tables(text) if t[1][0] == one.name)
        assert row[:3] == other[:3] == [one.name, one.source, one.graph]
        assert row[3].lower() == other[3].lower()
        state = ("failed" if not one.fine else "accepted") if not one.passed else "passed"
        assert state in other[3]
        assert (case.failure is not None, case.skipped is not None) == (
            state == "failed",
            state == "accepted",
        )
        outcome = f"{title}: {meaning}\n"
        assert state == "passed" or (case.failure or case.skipped or "").startswith(outcome)
    show_ledger(ledger)
    told = capsys.readouterr().out
    assert all((f"why {n}" in told) for n in range(7))


# -- of the journal -------------------------------------------------------------------------------


def _journaled() -> int:
    """A validation whose ledger was accepted in part, and one row of it repaired by a later run."""
    journal = Journal(journal_file())
    names = ("postgresql://ann@db1/shop", "shop@db1", "shop.grafeo", "", ("public",), "")
    new = NewRun(*names, Mapping(), 1, None, "validate", options={"mapping": "mapping.yaml"})
    number, repair = journal.begin(new).number, journal.begin(replace(new, kind="repair")).number
    rows = (
        _found("A", "id=1", "source", "missing", mark="17"),
        _found("A", "id=2", "both", "stale"),
        _found("A", "id=3", "both", "edited"),
    )
    entry = Entry("A", "node", "s.a", 100, 99, sampled=100, mismatched=3)
    check = Check("pair", "turnover", False, "10.00", "9.99", "they differ")
    digests = (EntityDigest("A", False, 64, 2, 100, 12),)
    journal.set_ledger(number, Ledger((entry,), rows, "0003-1B-1", 1.0, digests, (check,)))
    journal.set_state(number, "differs", "")
    place = journal.run(number).graph_identity
    things = [(rows[0].sign, "A id=1"), (check.sign, "pair turnover")]
    journal.acceptances.accept(place, number, things, REASON)
    journal.acceptances.repaired(repair, number, [rows[1].sign])
    journal.close()
    return number


def test_a_run_is_shown_with_the_ledger_of_its_validation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As text, JSON and a page: states, reasons, who, which run, and how old it is."""
    number = _journaled()
    assert main(["runs", "show", str(number)]) == EXIT_OK
    text = capsys.readouterr().out
    assert "✗ mismatched: 1 mismatched, 1 accepted, 1 repaired since" in text
    assert f"○ accepted A id=1: missing: {REASON} (" in text
    assert "↻ repaired A id=2: stale: by run 2" in text
    assert re.search(r"under snapshot 0003-1B-1, [\d,]+ days.* ago", text)
    assert main(["runs", "show", str(number), "--json"]) == EXIT_OK
    ledger = json.loads(capsys.readouterr().out)["ledger"]
    states = {one["key"]: one["state"] for one in ledger["differences"]}
    assert states == {"id=1": "accepted", "id=2": "repaired", "id=3": "mismatched"}
    assert (ledger["run"], ledger["source"], ledger["mapping"]) == (1, "shop@db1", "mapping.yaml")
    assert ledger["checks"][0]["state"] == "accepted"
    assert REASON in ledger["checks"][0]["reason"]
    assert set(ledger) == documented_keys("ledger")
    for part, name in (("entries", "entry"), ("differences", "difference"), ("digests", "digest")):
        assert set(ledger[part][0]) == documented_keys(name)
    assert set(ledger["checks"][0]) == documented_keys("validation check")
    assert main(["runs", "show", str(number), "--format", "md"]) == EXIT_OK
    page = capsys.readouterr().out
    rows = [row for rows in markdown_tables(page) for row in rows]
    told = {row[1]: (row[2], row[6]) for row in rows if len(row) == 7 and row[0] == "A"}
    assert told["id=2"] == ("repaired", "by run 2")
    assert told["id=1"][0] == "accepted"
    assert told["id=1"][1].startswith(REASON)
    assert told["id=3"] == ("mismatched", "")
    assert ["check", "Own queries turnover"] in [row[:2] for row in rows]
    criteria = {row[0]: row[1:] for row in rows if len(row) == 3}
    same = criteria["all rows have the same digest on both sides"]
    assert same == ["not held", "A: 1 keys differ"]
    assert criteria["every check passed, or is accepted"] == ["held", "1 accepted"]


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
    assert sheet["(Purchase)-[HAS_CUSTOMER]->(Customer)"][6] == "2"
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
    stale = settle(_settled_ledger(), Settled(touched={"E": 3}))
    for ledger in (_ledger(), _settled_ledger(), stale, _hostile(), Ledger(())):
        file.write_text(as_html(make_report(ledger, FACTS, _CHARTS)), encoding="utf-8")
        found = check(file, tmp_path, *options)
        assert found["violations"] == []
        assert found["passes"] > 20
    spoiled = file.read_text(encoding="utf-8").replace('<html lang="en">', "<html>")
    file.write_text(spoiled, encoding="utf-8")
    assert [one["id"] for one in check(file, tmp_path)["violations"]] == ["html-has-lang"]
