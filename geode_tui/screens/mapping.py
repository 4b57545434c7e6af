"""The mapping: what becomes of each table, why, and the proof on real rows."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.timer import Timer
from textual.widgets import Input, Static

from geode_tui.catalog import Catalog, Table
from geode_tui.errors import GeodeTuiError
from geode_tui.mapping.extract import Extract, compile_extract
from geode_tui.mapping.model import Mapping, NodeRule, Rule
from geode_tui.screens.actions import ActionCommands
from geode_tui.screens.dialogs import TextDialog
from geode_tui.screens.mapping_file import MappingFileKeys
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.finding_list import FindingList
from geode_tui.widgets.graph_pattern import GraphPattern
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.property_grid import PropertyGrid
from geode_tui.widgets.row_pairs import RowPairs, pair_rows
from geode_tui.widgets.rule_diagram import node_title, pattern, titled
from geode_tui.widgets.rule_table import FindingIndex, RuleItem, RuleTable, rule_items, summary
from geode_tui.widgets.statement import pretty_sql, written_gql
from geode_tui.widgets.suggestion_list import SuggestionList
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import VirtualTable

_ROWS_SHOWN = 20
_ROWS_SAMPLED = 400
_CALM = 0.15
"""Seconds that the cursor rests on a rule before its rows are read."""
_PATIENCE = 10.0
"""Seconds that rows may take to be read."""
_LINES_FOR_SQL = 6
_NOT_CONNECTED = "nothing to map yet: press 1 and connect to a source"
_NO_ROWS = "the source is a DDL file: it has no rows"


class MappingScreen(MappingFileKeys):
    """All rules, the selected one, the graph it makes, and rows before and after."""

    MODE = "mapping"
    COMMANDS: ClassVar[set[Any]] = {ActionCommands}
    HELP = """
# Mapping

What becomes of each table: a **label** (its rows become nodes), or a **relationship** (its rows
join two nodes). Every rule says why it was made. Nothing is written to the graph here.

- **enter** on a rule goes to its properties, **esc** comes back; **tab** goes from pane to pane.
- **e** renames the rule or the property under the cursor; **t** changes a property's graph type.
- **f** makes a property of an SQL expression, **n** one more property; **delete** takes it out.
- **w** moves only the rows that meet a condition; **K** keeps the first row of each key.
- **L** gives nodes more labels, **V** a label by the value of a column; **r** turns a relationship.
- **x** or **space** leaves the rule or property out, or takes it in again. Relationships of a label
  that is left out are *inactive*: they stay in the file and move nothing.
- **u** takes an edit back, **ctrl+r** does it again, **ctrl+s** saves the file.
- **d** shows what would change in the saved file, **E** opens the text in your `$EDITOR`.
- **S** shows the SELECT that reads the rows and the GQL that writes them; **y** copies the SELECT,
  **Y** the GQL.
- **enter** on a table or view without a rule makes one.

*Suggestions*: **a** applies one, **A** all alike, **i** ignores it, **enter** shows other ways.

*Findings*: **w** waives the one under the cursor with a reason, **y** copies the SQL that mends it,
**F** shows those of the whole mapping.

`✓` is moved, `–` is not, `!` has a finding to look at; `◆` marks the key: the properties by which
a node is found again. `ƒ` is an expression, `where` a condition, `first` the first row of each key,
`⋈` a joined table.
The rows below come from the source, *before* `─▶` *after*.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "S",
            "sql",
            "SQL",
            show=False,
            id="mapping.sql",
            tooltip="The SELECT and the GQL of this rule",
        ),
        Binding(
            "Y",
            "copy_gql",
            "copy GQL",
            show=False,
            id="mapping.copy-gql",
            tooltip="Copy the GQL that writes the rows of this rule",
        ),
        Binding("tab", "pane(1)", "next pane", show=False, id="mapping.next", tooltip="Next pane"),
        Binding(
            "shift+tab",
            "pane(-1)",
            "previous pane",
            show=False,
            id="mapping.previous",
            tooltip="Previous pane",
        ),
    ]
    CSS = """
    MappingScreen {
        #mapping-rules { width: 32; }
        #mapping-side { width: 38; }
        #mapping-middle { width: 1fr; }
        #mapping-bottom { height: 12; }
        #mapping-suggestions { width: 48; }
        #mapping-rows { width: 1fr; }
        #mapping-count, #mapping-head { height: auto; color: $text-muted; }
        #mapping-head { max-height: 7; color: $foreground; padding: 0 0 1 0; }
        #mapping-graph { height: 1.3fr; }
        #mapping-findings { height: 0.9fr; }
        #mapping-sql { height: 3; }
        #mapping-sql:focus-within { height: 2fr; }
        #findings { height: 1fr; min-height: 2; }
        #suggestions { height: 1fr; min-height: 3; }
        #finding-scroll, #suggestion-scroll { height: auto; max-height: 60%; }
        #finding-scroll, #suggestion-scroll { border-top: solid $foreground 15%; }
        #finding, #suggestion, #mapping-sql-text { height: auto; }
        &.-wide {
            Pane { padding: 0 1; }
            #mapping-rules { width: 48; }
            #mapping-side { width: 72; }
            #mapping-suggestions { width: 76; }
            #mapping-bottom { height: 16; }
            #mapping-sql, #mapping-sql:focus-within { height: 0.8fr; }
        }
        &.-narrow {
            #findings, #suggestions { height: auto; max-height: 60%; }
            #finding-scroll, #suggestion-scroll { margin: 1 0 0 0; height: 1fr; max-height: 100%; }
            #mapping-columns, #mapping-bottom { layout: vertical; }
            #mapping-columns, #mapping-bottom, #mapping-side { width: 1fr; height: auto; }
            #mapping-rules, #mapping-suggestions { width: 1fr; }
            Pane.-shown { height: 1fr; }
            #mapping-columns.-holds-shown, #mapping-side.-holds-shown,
            #mapping-bottom.-holds-shown { height: 1fr; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[Mapping | None, Catalog | None] = (None, None)
        self._extract: Extract | None = None
        self._statement: str | None = ""
        self._pretty = ""
        self._gql = ""
        self._rows_of: tuple[Rule, Mapping] | None = None
        self._calm: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Rules, the selected rule, its graph, findings and statements; suggestions and rows."""
        with Panes(id="mapping-panes"):
            with Horizontal(id="mapping-columns"):
                with Pane("rules", id="mapping-rules"):
                    yield FilterInput("rules")
                    yield RuleTable(id="rules", classes="-first")
                    yield Static(id="mapping-count", markup=False)
                with Pane("properties", id="mapping-middle"):
                    yield Static(id="mapping-head", markup=False)
                    yield PropertyGrid(id="properties", classes="-first")
                with Vertical(id="mapping-side"):
                    with Pane("graph", id="mapping-graph"), VerticalScroll(id="graph-scroll"):
                        yield GraphPattern(id="pattern")
                    with Pane("findings", id="mapping-findings"):
                        yield FindingList(id="findings", classes="-first")
                        with VerticalScroll(id="finding-scroll", can_focus=False):
                            yield Static(id="finding", markup=False)
                    with (
                        Pane("GQL and SELECT", id="mapping-sql", brief="SQL"),
                        VerticalScroll(id="sql-scroll"),
                    ):
                        yield Static(id="mapping-sql-text", markup=False)
            with Horizontal(id="mapping-bottom"):
                with Pane("suggestions", id="mapping-suggestions"):
                    yield SuggestionList(id="suggestions", classes="-first")
                    with VerticalScroll(id="suggestion-scroll", can_focus=False):
                        yield Static(id="suggestion", markup=False)
                with Pane("before ─▶ after", id="mapping-rows", brief="rows"):
                    yield RowPairs(id="rows")

    @property
    def _rules(self) -> RuleTable:
        return self.query_one("#rules", RuleTable)

    @property
    def rule_item(self) -> RuleItem | None:
        """The line of the rules under the cursor."""
        return self._rules.item

    def on_mount(self) -> None:
        """Start on the list of rules, and show a source that is connected later."""
        super().on_mount()
        self._rules.focus()
        self.set_interval(1.0, self._follow)

    def _follow(self) -> None:
        if self.is_current and self._seen[1] is not self.workspace.catalog:
            self.refresh_view()

    def refresh_view(self) -> None:
        """Show the mapping as it is now."""
        history, catalog = self.history, self.workspace.catalog
        if history is None or catalog is None:
            self._seen = (None, None)
            self._rules.show_items([], "not connected")
            self._show_rule()
            return
        mapping, seen = self._seen
        # Compared by identity: comparing thousands of rules takes longer than showing them.
        if mapping is not history.current or seen is not catalog:
            if seen is not catalog:
                self.finding_index = FindingIndex((), catalog)
            self._seen = (history.current, catalog)
            self.show_rules(history.current, catalog)
            self.assess()

    def show_item(self, item: str) -> None:
        """Go to a rule by its label or id, or to a table's."""
        self.query_one(FilterInput).value = ""
        self._rules.filter("")
        if self._rules.go_to(item):
            self.query_one(Panes).go_to(self.query_one("#mapping-rules", Pane))

    def show_rules(self, mapping: Mapping, catalog: Catalog) -> None:
        """Show the rules with what is known of them; the cursor stays."""
        items = rule_items(mapping, catalog, self.finding_index, self._rules.items)
        self._rules.show_items(items)
        self.query_one("#mapping-count", Static).update(Content(summary(items)))
        saved = "" if self.workspace.saved else " · not saved"
        self.query_one("#mapping-rules", Pane).set_title(f"rules{saved}", "rules")
        self._show_rule()

    @on(VirtualTable.RowHighlighted, "#rules")
    def _moved(self) -> None:
        self._show_rule()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._rules.filter(event.value)
        self._show_rule()

    def _show_rule(self) -> None:
        """Let everything beside the list follow the rule under the cursor."""
        item, history, catalog = self._rules.item, self.history, self.workspace.catalog
        mapping = history.current if history else None
        rule = item.rule if item else None
        table = catalog.table(item.table) if item and catalog else None
        same = self._same_place(rule)
        self.shown_rule = rule
        self.grid.show_rule(rule, table, catalog, keep_cursor=same)
        self.query_one(GraphPattern).show_rule(rule, mapping)
        self.query_one("#mapping-head", Static).update(self._head(item, mapping, table))
        name = (titled(rule) if isinstance(rule, NodeRule) else rule.type) if rule else ""
        name = f"{name} · properties" if name else "properties"
        self.query_one("#mapping-middle", Pane).set_title(name, "properties")
        self.show_findings(item)
        self._extract, self._statement, self._pretty, self._gql = None, None, "", ""
        self._want_rows()

    def _same_place(self, rule: Rule | None) -> bool:
        """Whether `rule` is the one shown before, edited or not."""
        old = self.shown_rule
        if old is None or rule is None or type(old) is not type(rule):
            return False
        columns = [p.column for p in old.properties] == [p.column for p in rule.properties]
        return old.table == rule.table and (columns or old.id == rule.id)

    def _head(self, item: RuleItem | None, mapping: Mapping | None, table: Table | None) -> Content:
        if item is None or mapping is None:
            return Content("" if mapping else _NOT_CONNECTED)
        if item.rule is None:
            return Content.assemble(
                (one_line(str(item.table)), "bold"),
                f"\nno rule moves this {table.kind if table else 'table'}",
                ("\nenter makes one", "$text-muted"),
            )
        rule = item.rule
        parts: list[tuple[str, str]] = [
            (one_line(pattern(rule, mapping)), "bold $text-primary"),
            (f"\nfrom {one_line(str(item.table))}", "$text-muted"),
        ]
        if rule.where:
            parts += [("\nwhere ", "$text-muted"), (one_line(rule.where), "$text-secondary")]
        if isinstance(rule, NodeRule) and rule.keep_first:
            parts += [("\nfirst by ", "$text-muted"), (one_line(rule.keep_first), "")]
        if rule.because:
            parts += [("\nbecause: ", "$text-muted"), (one_line(rule.because), "")]
        why = why_nothing_moves(rule, mapping)
        if why:
            parts.append((f"\n– {why}", "$text-warning"))
        return Content.assemble(*parts)

    # The statements and the rows, once the cursor has come to rest.

    def _want_rows(self) -> None:
        if self._calm is not None:
            self._calm.stop()
        self._calm = self.set_timer(_CALM, self._load_rows)

    @work(exclusive=True, group="rows", exit_on_error=False)
    async def _load_rows(self) -> None:
        await asyncio.to_thread(self._compile)
        await self._lay_out_statements()
        extract, source, rows = self._extract, self.workspace.source, self.query_one(RowPairs)
        if extract is None or source is None:
            self._rows_of = None
            connected = self.workspace.catalog is not None
            missing = (_NO_ROWS if connected else _NOT_CONNECTED) if source is None else ""
            rows.show_message(missing or "no rule, no rows")
            return
        history = self.history
        if history and self._rows_of == (extract.rule, history.current):
            return
        rows.show_message("reading …")
        try:
            async with asyncio.timeout(_PATIENCE):
                after = await source.preview(extract, _ROWS_SHOWN)
                before = await source.sample(extract.table, _ROWS_SAMPLED)
        except GeodeTuiError as error:
            rows.show_message("✗ " + "\n".join(error.lines()))
            return
        except TimeoutError:
            rows.show_message(f"no rows within {_PATIENCE:.0f} s; y copies the SELECT")
            return
        self._rows_of = (extract.rule, history.current) if history else None
        rows.show_rows(pair_rows(extract, before, after))

    def _compile(self) -> None:
        """The SELECT of the rule that is shown, if it is not there yet."""
        rule, history, catalog = self.shown_rule, self.history, self.workspace.catalog
        if self._statement is not None:
            return
        if rule is None or history is None or catalog is None:
            self._statement = ""
            return
        self._gql = written_gql(rule, history.current)
        try:
            extract = compile_extract(rule, history.current, catalog)
            statement = extract.first_sql if extract.keyed else extract.sample_sql(None)
        except GeodeTuiError as error:
            self._statement = f"✗ {error}"
            return
        if rule is self.shown_rule:
            self._extract, self._statement = extract, statement

    async def _lay_out_statements(self) -> None:
        """Show the statements, laid out for reading where more than a line of them is seen."""
        statement, scroll = self._statement, self.query_one("#sql-scroll")
        seen = self.focused is scroll or scroll.size.height >= _LINES_FOR_SQL
        if statement and seen and not self._pretty and self._extract is not None:
            pretty = await asyncio.to_thread(pretty_sql, statement)
            if statement is self._statement:
                self._pretty = pretty
        parts = [(many_lines(self._gql), ""), ("\n\n" if self._gql else "", "")]
        parts.append((many_lines(self._pretty or self._statement or "") or "–", "$text-muted"))
        self.query_one("#mapping-sql-text", Static).update(Content.assemble(*parts))

    @on(DescendantFocus)
    def _came_to_statements(self, event: DescendantFocus) -> None:
        if event.widget.id == "sql-scroll":
            self._lay_out()

    @work(exclusive=True, group="statements", exit_on_error=False)
    async def _lay_out(self) -> None:
        await self._lay_out_statements()

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a mapping there are no statements."""
        if action in ("sql", "copy_gql"):
            return self.history is not None
        return super().check_action(action, parameters)

    def copied(self) -> str:
        """The SELECT, or what is under the cursor."""
        if self.focused is not None and self.focused.id == "sql-scroll":
            self._compile()
            return self._statement or ""
        if self.focused is not None and self.focused.id == "graph-scroll":
            return self.query_one(GraphPattern).picture
        return super().copied()

    def action_copy_gql(self) -> None:
        """Copy the GQL that writes the rows of the rule."""
        self._compile()
        if self._gql:
            self.copy(self._gql)
        else:
            self.say("there is no GQL without a rule")

    def action_sql(self) -> None:
        """Show the SELECT and the GQL of the rule."""
        self._compile()
        if not self._statement:
            self.say("there is no SELECT without a rule")
            return
        rule = self.shown_rule
        text = f"{pretty_sql(self._statement)}\n\n{self._gql}".rstrip()
        self.app.push_screen(TextDialog(f"SELECT of {rule.id if rule else ''}", text))

    def action_filter(self) -> None:
        """Go to the filter of the rules."""
        self.query_one(Panes).show_pane(self.query_one("#mapping-rules", Pane))
        self.set_focus(self.query_one(FilterInput))

    def action_pane(self, steps: int) -> None:
        """Go to another pane."""
        self.query_one(Panes).go(steps)

    def action_back(self) -> None:
        """Back to the rules."""
        self.query_one(Panes).go_to(self.query_one("#mapping-rules", Pane))

    @on(VirtualTable.RowSelected, "#rules")
    def _opened(self) -> None:
        item = self._rules.item
        if item is not None and item.rule is None:
            self.add_rule(item.table)
        elif item is not None:
            self.query_one(Panes).go_to(self.query_one("#mapping-middle", Pane))

    @on(VirtualTable.RowSelected, "#properties")
    def _property_opened(self) -> None:
        line = self.grid.item
        if line is not None and line.item is not None and line.item.expression:
            self.action_expression()
        else:
            self.action_rename()

    @on(VirtualTable.RowSelected, "#rows")
    def _row_opened(self) -> None:
        rows = self.query_one(RowPairs)
        titles = [column.title for column in rows.columns]
        cells = rows.row_text(rows.cursor).split("\t")
        lines = [f"{title}: {cell}" for title, cell in zip(titles, cells, strict=False)]
        if rows.rejection:
            lines.insert(0, f"goes to the dead letters: {rows.rejection}\n")
        self.app.push_screen(TextDialog("a row, before ─▶ after", "\n".join(lines)))


def why_nothing_moves(rule: Rule, mapping: Mapping) -> str:
    """Why a rule moves no rows, empty when it does."""
    if not rule.include:
        return "left out: moves nothing (x takes it in)"
    if isinstance(rule, NodeRule):
        return ""
    active = {node.id for node in mapping.active_nodes}
    ends = dict.fromkeys(end for end in (rule.start.node, rule.end.node) if end not in active)
    gone = [node_title(end, mapping) for end in ends]
    are = "is" if len(gone) == 1 else "are"
    return f"inactive: {' and '.join(gone)} {are} left out" if gone else ""
