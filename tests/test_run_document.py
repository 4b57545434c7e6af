"""A run as one page to archive, as JSON, and beside another run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from geode_tui.catalog import TableName
from geode_tui.cli import main
from geode_tui.errors import EXIT_OK, EXIT_USAGE
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.model import Mapping, NodeRule, Property, Waiver, Wave
from geode_tui.migration.audit import Audit
from geode_tui.migration.chunks import ChunkResult
from geode_tui.migration.compare_runs import FIGURES, compare_runs
from geode_tui.migration.dead_letters import DeadLetter, Selection
from geode_tui.migration.journal import Journal, NewRun
from geode_tui.migration.run_document import as_markdown, run_document
from geode_tui.migration.run_figures import figures_of
from geode_tui.paths import journal_file
from geode_tui.validation.ledger import Difference, Entry, Ledger
from tests.documentation import documented_keys

# What breaks Markdown, a table of it, or a terminal; the two ends of a code fence; an image.
HOSTILE = "[/f](x)|`a`b\\ *c* _d_ ~~e~~ <b>&amp; # ```\nnext\r\x1b[31m ![i](u) \u202e 😀 |\\|"
CHAPTERS = [
    *("The run", "Criteria", "Plan", "Prepared in the target", "Figures", "Ledger"),
    *("Checkpoints", "Gates", "Snapshots", "Findings", "Waivers", "Dead letters", "Audit"),
]


@pytest.fixture
def journal() -> Iterator[Journal]:
    """Two incremental runs with all that a page can hold, the first with hostile names in it."""
    journal = Journal(journal_file())
    _run(journal, HOSTILE)
    _run(journal, "plain")
    yield journal
    journal.close()


def _run(journal: Journal, name: str) -> None:
    rule = NodeRule("A", TableName("public", name), (), (Property("x", "x", "STRING"),), name="A")
    mapping = Mapping((rule,), waivers=(Waiver("no_key", name, name),), waves=(Wave(name, ("A",)),))
    new = NewRun(f"dbname={name}", name, name, name, (name,), "", mapping, 2, None)
    new = NewRun(**{**_fields(new), "strategy": "incremental", "dead_limit": 100})
    number = journal.begin(new).number
    journal.chunks.add_entities(number, [(name, "node", 12, name)])
    journal.chunks.plan(number, name, [(None, ("5",)), (("5",), None)])
    letters = [DeadLetter(name, f"{name}={n}", "value", name, "{}", (str(n),)) for n in range(1, 6)]
    first, second = journal.chunks.open(number, name)
    journal.checkpoints.take(number, "begin", "prepare")
    journal.checkpoints.take(number, name, "backfill", name)
    journal.add_prepared(number, f"CREATE INDEX `{name}`")
    snapshot = journal.set_snapshot(number, name)
    for chunk, result in ((first, ChunkResult(10, letters, 4_000)), (second, ChunkResult(3))):
        journal.chunks.start(number, chunk, snapshot)
        journal.chunks.finish(number, chunk, result)
    journal.chunks.set_entity(number, name, "done")
    [skipped] = journal.dead_letters.of(number, 1)
    journal.dead_letters.skip(number, Selection(ids=(skipped.id,)), name)
    journal.set_findings(
        number,
        [
            Finding("risk", "no_key", name, name, name, name, name),
            Finding("risk", "orphans", name, name, waived=name),
            Finding("information", "converted", name, name),
        ],
    )
    ledger = Ledger(
        (Entry(name, "node", name, 18, 12, dead=5, sampled=9, differing=1),),
        (Difference(name, name, "both", ((name, name, name),)),),
        name,
        1.0,
    )
    journal.set_wave_ledger(number, name, ledger)
    journal.set_ledger(number, ledger)
    journal.set_phase(number, "verify", "failed", name)
    journal.set_state(number, "differs", name)


def _fields(new: NewRun) -> dict[str, Any]:
    return {name: getattr(new, name) for name in NewRun.__dataclass_fields__}


def _parsed(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


# -- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_a_page_has_all_chapters_whatever_the_names(journal: Journal, number: int) -> None:
    """Each heading is one of ours; names never make one, nor end a table."""
    tokens = _parsed(as_markdown(run_document(journal, number)))
    headings = [
        tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert headings == [f"Run {number}: migrate, differs", *CHAPTERS]


def test_names_are_text_and_nothing_else(journal: Journal) -> None:
    """No link, no emphasis, no HTML, no image, and no code but our own block."""
    text = as_markdown(run_document(journal, 1))
    tokens = _parsed(text)
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "softbreak"}
    assert [token.info for token in tokens if token.type == "fence"] == ["gql"]
    assert not [token for token in tokens if token.type.startswith("html")]
    assert all(c.isprintable() or c == "\n" for c in text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in HOSTILE)
    rendered = ["".join(c.content for c in t.children or ()) for t in tokens if t.type == "inline"]
    assert rendered.count(shown) > 20
    [fence] = [token.content for token in tokens if token.type == "fence"]
    assert fence == f"CREATE INDEX `{shown}`\n"


def test_every_row_of_a_table_has_as_many_cells_as_its_header(journal: Journal) -> None:
    """A bar in a name is no border. (The parser would drop what is over.)"""
    for page in (as_markdown(run_document(journal, number)) for number in (1, 2)):
        widths: list[int] = []
        for line in page.splitlines():
            if not line.startswith("|"):
                widths = []
                continue
            bars = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
            widths.append(bars)
            assert bars == widths[0], line


def test_a_page_tells_what_the_journal_knows(journal: Journal) -> None:
    """Figures, verdicts, reasons, examples: all of the second run, whose names are plain."""
    page = as_markdown(run_document(journal, 2))
    rows = [
        r"| plain | done | 13 | 5 | 0 | 2 of 2 | 0 | 4.0 kB | \d+\.\d | [\d,]+ |",
        r"| total | differs | 13 | 5 | 0 | 2 of 2 | 0 | 4.0 kB | \d+\.\d | [\d,]+ |",
        r"| plain | node | plain | ±12 | 2 |",
        r"| no_key | plain | plain |",
        r"| risk | no_key | plain | plain | plain |",
        r"0 action · 1 risk · 1 information · 1 waived",
        r"| plain | value | open | 4 |",
        r"| plain | value | skipped | 1 |",
        r"| plain | shut | .* UTC |",
        r"| plain | node | 18 | 12 | 5 | 0 | 0 | 0 | 9 | 0 | ✗ mismatched | 1 missing, "
        r"1 of 9 sampled differ |",
        r"| dead letters allowed | 100 an entity |",
        r"| ledger | 1 of 1 differ |",
    ]
    for row in rows:
        pattern = row.replace("|", r"\|")
        assert re.search(rf"^{pattern}$", page, re.MULTILINE), row


def test_the_criteria_say_what_holds_and_what_does_not(journal: Journal) -> None:
    """With what was seen; what nobody looked at is not said to hold."""
    criteria = {c.text: (c.held, c.seen) for c in run_document(journal, 2).criteria}
    assert criteria == {
        "every row is in the graph, a dead letter or an orphan": (
            False,
            "plain: 1 rows missing or too many",
        ),
        "nothing is in the graph twice": (True, ""),
        "nothing is where no rule puts it": (True, ""),
        "sampled rows are the same, value by value": (False, "plain: 1 differ of 9 sampled"),
        "no finding must be mended before the run": (True, ""),
        "no entity has more than 100 dead letters": (True, ""),
        "the ledger of each wave balances before the next begins": (False, "shut: plain"),
    }
    journal.begin(NewRun("x", "x", "x", "", (), "", Mapping(), 2, None))
    [held, *_] = run_document(journal, 3).criteria
    assert (held.held, held.seen) == (None, "the ledger was not taken")


def test_a_broken_audit_trail_stands_on_the_page(journal: Journal) -> None:
    """An archive must not say that all is well."""
    whole = as_markdown(run_document(journal, 2))
    last = Audit(journal.store).entries()[-1].hash
    assert f"The chain of the whole journal holds: {journal.audit.check().entries} entries" in whole
    assert last in whole
    with journal.store.write() as db:
        db.execute("DELETE FROM audit WHERE number = 3")
    page = as_markdown(run_document(journal, 2))
    assert "**The chain of the whole journal is broken at entry 4.**" in page


def test_a_page_stays_a_page(journal: Journal) -> None:
    """Thousands of findings and letters are counted; some of them are shown."""
    many = [Finding("risk", "no_key", f"t{n}", "m") for n in range(1_000)]
    journal.set_findings(2, many)
    [chunk, *_] = journal.chunks.done(2, "plain")
    letters = [DeadLetter("plain", f"id={n}", f"c{n % 50}", "r", "{}") for n in range(5_000)]
    journal.chunks.start(2, chunk, 1)
    journal.chunks.finish(2, chunk, ChunkResult(0, letters))
    page = as_markdown(run_document(journal, 2))
    assert "and 800 more" in page
    assert "and 20 more classes" in page
    assert len(page.splitlines()) < 500


def test_a_run_of_which_nothing_is_known_has_a_page(journal: Journal) -> None:
    """Refused before its first row."""
    number = journal.begin(NewRun("x", "x", "x", "", (), "", Mapping(), 2, None)).number
    page = as_markdown(run_document(journal, number))
    assert "The ledger was not taken." in page
    assert "\n## Snapshots" not in page


# -- the command line -----------------------------------------------------------------------------


def test_a_page_is_written_to_a_file_that_is_not_there_yet(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole or not at all; one that is there is never replaced."""
    file = tmp_path / "run.md"
    arguments = ["runs", "show", "2", "--format", "md"]
    assert main([*arguments, "--output", str(file)]) == EXIT_OK
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"wrote {file}\n")
    assert main(arguments) == EXIT_OK
    assert capsys.readouterr().out == file.read_text(encoding="utf-8")
    assert main([*arguments, "--output", str(file)]) == EXIT_USAGE
    assert main(["runs", "show", "9", "--output", str(tmp_path / "none")]) == EXIT_USAGE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.md", "xdg"]


def test_the_keys_of_a_whole_run_are_the_documented_ones(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """--format json is --json; each part has its own keys."""
    assert main(["runs", "show", "2", "--json"]) == EXIT_OK
    whole = json.loads(capsys.readouterr().out)
    assert main(["runs", "show", "2", "--format", "json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out) == whole
    assert set(whole) == documented_keys("status") | documented_keys("whole run")
    for name, key in (
        ("wave", "waves"),
        ("criterion", "criteria"),
        ("figures", "figures"),
        ("waiver", "waivers"),
        ("checkpoint", "checkpoints"),
        ("snapshot", "snapshots"),
        ("gate", "gates"),
        ("letter count", "dead_letter_counts"),
        ("dead letter", "dead_letters"),
    ):
        assert set(whole[key][0]) == documented_keys(name), name
    assert set(whole["record"]) == documented_keys("run")
    assert set(whole["audit"]) == documented_keys("audit verdict")
    assert whole["prepared"] == ["CREATE INDEX `plain`"]


def test_the_list_tells_kind_and_wave(journal: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first."""
    assert main(["runs"]) == EXIT_OK
    header, _, newest, *_ = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["run", "kind", "state", "wave"]
    assert newest.split()[:4] == ["2", "migrate", "differs", "plain"]
    assert main(["runs", "--json"]) == EXIT_OK
    documents = json.loads(capsys.readouterr().out)
    assert [document["wave"] for document in documents] == ["plain", HOSTILE]


# -- two runs -------------------------------------------------------------------------------------


def test_two_runs_that_moved_the_same_do_not_differ(journal: Journal) -> None:
    """Whatever time it took; facts that are the same are told as such."""
    _run(journal, "plain")
    with journal.store.write() as db:
        db.execute("UPDATE chunk SET ended = started + 7 WHERE run = 3")
    comparison = compare_runs(figures_of(journal, 2), figures_of(journal, 3))
    assert comparison.differing == ()
    [entity] = comparison.entities
    seconds = entity.figure("seconds")
    assert not seconds.same
    assert (seconds.second, entity.figure("rate").second) == (14, 18 / 14)
    facts = {pair.name: pair for pair in comparison.facts}
    assert facts["mapping"].same
    assert not facts["started"].same
    assert [pair.name for pair in entity.figures] == list(FIGURES)


def test_what_two_runs_made_otherwise_is_found(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other rows, and entities that only one of them has."""
    _run(journal, "plain")
    journal.chunks.add_entities(3, [("plain", "node", 1, ""), ("more", "node", 1, "")])
    with journal.store.write() as db:
        db.execute("UPDATE entity SET rows = 11, dead = 7 WHERE run = 3 AND id = 'plain'")
    comparison = compare_runs(figures_of(journal, 2), figures_of(journal, 3))
    assert [entity.id for entity in comparison.differing] == ["plain", "more"]
    plain, more = comparison.entities
    assert [plain.figure(name).change for name in ("rows", "dead", "orphans")] == [-2, 2, 0]
    assert (more.in_first, more.in_second, more.figure("rows").first) == (False, True, None)

    assert main(["runs", "compare", "2", "3"]) == EXIT_OK
    out = capsys.readouterr().out
    assert re.search(r"^≠  plain +13 +11 +-2 +5 → 7 ", out, re.MULTILINE)
    assert out.splitlines()[-1] == "2 of 2 entities differ"
    assert main(["runs", "compare", "2", "3", "--json"]) == EXIT_OK
    document = json.loads(capsys.readouterr().out)
    assert document["differs"]
    assert set(document) == documented_keys("comparison")
    assert set(document["facts"][0]) == documented_keys("pair")
    assert set(document["entities"][0]) == documented_keys("entity compared")
    assert set(document["entities"][0]["figures"][0]) == documented_keys("pair")


def test_hostile_names_are_compared_safely(
    journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a line of their own, with nothing that drives a terminal."""
    assert main(["runs", "compare", "1", "2"]) == EXIT_OK
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert len(out.splitlines()) == 2 + 21 + 1 + 2 + 2 + 1


@pytest.mark.parametrize(
    "wrong",
    [
        ["compare"],
        ["compare", "1"],
        ["compare", "1", "2", "3"],
        ["compare", "1", "9"],
        ["show", "1", "2"],
    ],
)
def test_a_wrong_number_of_runs_is_told(
    journal: Journal, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    """Two are compared, one is shown."""
    assert main(["runs", *wrong]) == EXIT_USAGE
    assert capsys.readouterr().out == ""
