"""The four parts of the report, each with what there is to know of it."""

from __future__ import annotations

from textual.app import ComposeResult

from geode_tui.widgets.check_detail import CheckDetail
from geode_tui.widgets.check_tree import CheckTree
from geode_tui.widgets.finding_table import FindingTable
from geode_tui.widgets.ledger_table import LedgerTable
from geode_tui.widgets.panes import Pane

_ALWAYS = """
**a** accepts what differs, for a reason, or withdraws that; **r** repairs, after a preview; **v**
compares source and graph now. **e** writes the report to a file, **h** opens the report of an
earlier run, **c** copies the command that does the same, **y** what has the focus.
"""
_STATES = """
Each line has a state: **✓** validated, **✗** mismatched, **≈** suspended (it changed at every
look), **○** accepted for a reason, **↻** repaired by a later run, **◔** stale (changes touched it
since: **v** compares again).
"""


class LedgerPane(Pane):
    """Where every row of the source is."""

    HELP = f"""
# Report: the ledger

The **ledger** says where every row of the source is: in the graph, in the dead letters, or, for a
relationship whose node is not there, among the orphans. An entry is *balanced* when both sides add
up (`=`), nothing is there twice, and all rows that were compared are equal.

**enter** goes to the checks of the entry, **tab** to the next pane; **/** shows only what has all
words that you type, in entity, key, cause or state.
{_STATES}{_ALWAYS}"""

    def compose(self) -> ComposeResult:
        """The table."""
        yield LedgerTable(id="ledger")


class ChecksPane(Pane):
    """Everything that was looked at."""

    HELP = f"""
# Report: the checks

All that was looked at, as a tree: the rows, the sample, and further checks. Below the rows are the
entities, below an entity the causes of what differs, below a cause the rows.

- **enter** or **space** unfolds and folds; on a row or a check **enter** goes to what is known of
  it. **left** goes up, **right** unfolds.
- **/** shows only what has all words that you type: `order missing`, `accepted`.
- **a** and **r** ask how many are meant: this row, all with its cause, all of its entity, or all
  there is. With a filter only what is shown is meant.
{_STATES}{_ALWAYS}"""

    def compose(self) -> ComposeResult:
        """The tree."""
        yield CheckTree(id="checks")


class DetailPane(Pane):
    """What is known of the line under the cursor."""

    HELP = f"""
# Report: the detail

What is known of the line that the cursor is on. Of a row: what both sides hold, with the
characters that differ shown the other way round; values that look the same are told by their code
points. Then the two queries with which anyone can see it.

- **tab** goes to the SQL and to the GQL; **y** copies the one with the focus, or all.
- **up** and **down** scroll, **esc** goes back to the checks.
{_ALWAYS}"""

    def compose(self) -> ComposeResult:
        """The text and the queries."""
        yield CheckDetail(id="detail")


class FindingsPane(Pane):
    """What was found before the run."""

    HELP = f"""
# Report: the findings

What the assessment found before the run, the gravest first. **enter** shows one whole.
{_ALWAYS}"""

    def compose(self) -> ComposeResult:
        """The table."""
        yield FindingTable(id="findings")
