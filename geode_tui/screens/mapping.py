"""The mapping: what becomes of each table, why, and the proof on real rows."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from geode_tui.catalog import Catalog, Table, TableName
from geode_tui.errors import GeodeTuiError, MappingError
from geode_tui.mapping import edits, file
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.edits import History
from geode_tui.mapping.extract import Extract, compile_extract
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, NodeRule, Property, RelationshipRule, Rule
from geode_tui.mapping.types import conversion, possible_types
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, PromptDialog, TextDialog
from geode_tui.widgets.filter_input import FilterInput
from geode_tui.widgets.finding_text import finding_text, findings_copied
from geode_tui.widgets.graph_pattern import GraphPattern, pattern
from geode_tui.widgets.panes import Pane, Panes
from geode_tui.widgets.property_grid import GridItem, PropertyGrid
from geode_tui.widgets.row_pairs import RowPairs, pair_rows
from geode_tui.widgets.rule_table import FindingIndex, RuleItem, RuleTable, rule_items, summary
from geode_tui.widgets.statement import pretty_sql
from geode_tui.widgets.text import many_lines, one_line
from geode_tui.widgets.virtual_table import VirtualTable

_ROWS_SHOWN = 20
_ROWS_SAMPLED = 400
_CALM = 0.15
"""Seconds that the cursor rests on a rule before its rows are read."""
_NOT_CONNECTED = "nothing to map yet: press 1 and connect to a source"


class MappingScreen(GeodeScreen):
    """All rules, the selected one, the graph it makes, and rows before and after."""

    MODE = "mapping"
    HELP = """
# Mapping

What becomes of each table: a **label** (its rows become nodes), or a **relationship** (its rows
join two nodes). Every rule says why it was made. Nothing is written to the graph here.

- **enter** on a rule goes to its properties, **esc** comes back; **tab** goes from pane to pane.
- **e** renames the rule or the property under the cursor; **t** changes a property's graph type.
- **x** or **space** leaves the rule or property out, or takes it in again. Relationships of a label
  that is left out are *inactive*: they stay in the file and move nothing.
- **u** takes an edit back, **ctrl+r** does it again, **ctrl+s** saves the file.
- **d** shows what would change in the saved file, **S** the SELECT that reads the rows.
- **enter** on a table without a rule makes one.

`◆` marks the key: the properties by which a node is found again.
The rows below come from the source, *before* `─▶` *after*.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "rename", "rename", id="mapping.rename", tooltip="Rename rule or property"),
        Binding("t", "type", "type", id="mapping.type", tooltip="Change the graph type"),
        Binding(
            "x,space",
            "take",
            "leave out / take in",
            key_display="x",
            id="mapping.toggle",
            tooltip="Move this rule or property, or leave it out",
        ),
        Binding("ctrl+s", "save", "save", id="mapping.save", tooltip="Save the mapping's file"),
        Binding("u", "undo", "undo", show=False, id="mapping.undo", tooltip="Take an edit back"),
        Binding("ctrl+r", "redo", "redo", show=False, id="mapping.redo", tooltip="Do it again"),
        Binding(
            "d",
            "diff",
            "diff",
            show=False,
            id="mapping.diff",
            tooltip="What saving would change in the file",
        ),
        Binding("S", "sql", "SQL", show=False, id="mapping.sql", tooltip="The SELECT of this rule"),
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
        #mapping-rules { width: 28; }
        #mapping-side { width: 36; }
        #mapping-middle { width: 1fr; }
        #mapping-rows { height: 11; }
        #mapping-count, #mapping-head { height: auto; padding: 0 1; color: $text-muted; }
        #mapping-head { max-height: 5; color: $foreground; }
        #mapping-findings { height: 0.7fr; }
        #mapping-sql { height: 0.5fr; }
        #mapping-sql-text, #mapping-findings-text { padding: 0 1; }
        &.-wide {
            #mapping-rules { width: 44; }
            #mapping-side { width: 60; }
        }
        &.-narrow {
            #mapping-columns, #mapping-side, #mapping-rules { width: 1fr; height: auto; }
            #mapping-columns { layout: vertical; }
            Pane.-shown { height: 1fr; }
            #mapping-columns.-holds-shown, #mapping-side.-holds-shown { height: 1fr; }
        }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[Mapping | None, Catalog | None] = (None, None)
        self._findings = FindingIndex((), Catalog())
        self._rule_findings: list[Finding] = []
        self._shown_rule: Rule | None = None
        self._extract: Extract | None = None
        self._statement = ""
        self._rows_of: tuple[Rule, Mapping] | None = None
        self._calm: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Rules, the selected rule, its graph, findings and SELECT; rows below."""
        rules = RuleTable(id="rules", classes="-first")
        grid = PropertyGrid(id="properties", classes="-first")
        with Panes(id="mapping-panes"):
            with Horizontal(id="mapping-columns"):
                with Pane("rules", id="mapping-rules"):
                    yield FilterInput("rules")
                    yield rules
                    yield Static(id="mapping-count", markup=False)
                with Pane("properties", id="mapping-middle"):
                    yield Static(id="mapping-head", markup=False)
                    yield grid
                with Vertical(id="mapping-side"):
                    with Pane("graph", id="mapping-graph"), VerticalScroll():
                        yield GraphPattern(id="pattern")
                    with (
                        Pane("findings", id="mapping-findings"),
                        VerticalScroll(id="findings-scroll"),
                    ):
                        yield Static(id="mapping-findings-text", markup=False)
                    with Pane("SQL", id="mapping-sql"), VerticalScroll(id="sql-scroll"):
                        yield Static(id="mapping-sql-text", markup=False)
            with Pane("before ─▶ after", id="mapping-rows", brief="rows"):
                yield RowPairs(id="rows")

    @property
    def _rules(self) -> RuleTable:
        return self.query_one("#rules", RuleTable)

    @property
    def _grid(self) -> PropertyGrid:
        return self.query_one("#properties", PropertyGrid)

    @property
    def _history(self) -> History | None:
        return self.workspace.history

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
        history, catalog = self._history, self.workspace.catalog
        if history is None or catalog is None:
            self._seen = (None, None)
            self._rules.show_items([], "not connected")
            self._show_rule()
            return
        mapping, seen = self._seen
        # Compared by identity: comparing thousands of rules takes longer than showing them.
        if mapping is not history.current or seen is not catalog:
            if seen is not catalog:
                self._findings = FindingIndex((), catalog)
            self._seen = (history.current, catalog)
            self._show_items(history.current, catalog)
            self._assess()

    def show_item(self, item: str) -> None:
        """Go to a rule by its label or id, or to a table's."""
        self.query_one(FilterInput).value = ""
        self._rules.filter("")
        if self._rules.go_to(item):
            self.query_one(Panes).go_to(self.query_one("#mapping-rules", Pane))

    def _show_items(self, mapping: Mapping, catalog: Catalog) -> None:
        items = rule_items(mapping, catalog, self._findings)
        self._rules.show_items(items)
        self.query_one("#mapping-count", Static).update(Content(summary(items)))
        saved = "" if self.workspace.saved else " · not saved"
        self.query_one("#mapping-rules", Pane).set_title(f"rules{saved}", "rules")
        self._show_rule()

    @work(exclusive=True, group="findings", exit_on_error=False)
    async def _assess(self) -> None:
        found = await asyncio.to_thread(self.workspace.findings)
        history, catalog = self._history, self.workspace.catalog
        if history is None or catalog is None:
            return
        self._findings = FindingIndex(found, catalog)
        self._show_items(history.current, catalog)

    @on(VirtualTable.RowHighlighted, "#rules")
    def _moved(self) -> None:
        self._show_rule()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self._rules.filter(event.value)
        self._show_rule()

    def _show_rule(self) -> None:
        """Let everything beside the list follow the rule under the cursor."""
        item, history, catalog = self._rules.item, self._history, self.workspace.catalog
        mapping = history.current if history else None
        rule = item.rule if item else None
        table = catalog.table(item.table) if item and catalog else None
        same = self._same_place(rule)
        self._shown_rule = rule
        self._grid.show_rule(rule, table, keep_cursor=same)
        self.query_one(GraphPattern).show_rule(rule, mapping)
        self.query_one("#mapping-head", Static).update(self._head(item, mapping, table))
        name = (rule.label if isinstance(rule, NodeRule) else rule.type) if rule else ""
        name = f"{name} · properties" if name else "properties"
        self.query_one("#mapping-middle", Pane).set_title(name, "properties")
        self._show_findings(item)
        self._show_statement(rule, mapping, catalog)
        self._want_rows()

    def _same_place(self, rule: Rule | None) -> bool:
        """Whether `rule` is the one shown before, edited or not."""
        old = self._shown_rule
        if old is None or rule is None or type(old) is not type(rule):
            return False
        columns = [p.column for p in old.properties] == [p.column for p in rule.properties]
        return old.table == rule.table and columns

    def _head(self, item: RuleItem | None, mapping: Mapping | None, table: Table | None) -> Content:
        if item is None or mapping is None:
            return Content("" if mapping else _NOT_CONNECTED)
        if item.rule is None:
            kind = table.kind if table else "table"
            return Content.assemble(
                (str(item.table), "bold"),
                f"\nno rule moves this {kind}",
                ("\nenter makes one" if kind in ("table", "partitioned") else "", "$text-muted"),
            )
        parts: list[tuple[str, str]] = [
            (pattern(item.rule), "bold $text-primary"),
            (f"\nfrom {one_line(str(item.table))}", "$text-muted"),
        ]
        if item.rule.because:
            parts += [("\nbecause: ", "$text-muted"), (one_line(item.rule.because), "")]
        why = why_nothing_moves(item.rule, mapping)
        if why:
            parts.append((f"\n– {why}", "$text-warning"))
        return Content.assemble(*parts)

    def _show_findings(self, item: RuleItem | None) -> None:
        if item is None:
            found: list[Finding] = []
        elif item.rule is None:
            found = self._findings.of_table(item.table)
        else:
            found = self._findings.of(item.rule)
        self._rule_findings = found
        title = f"findings {len(found)}" if found else "findings"
        self.query_one("#mapping-findings", Pane).set_title(title)
        none = Content.styled("✓ none", "$text-success") if item else Content("–")
        text = finding_text(found) if found else none
        self.query_one("#mapping-findings-text", Static).update(text)

    def _show_statement(
        self, rule: Rule | None, mapping: Mapping | None, catalog: Catalog | None
    ) -> None:
        self._extract, self._statement, shown = None, "", "–"
        if rule is not None and mapping is not None and catalog is not None:
            try:
                self._extract = compile_extract(rule, mapping, catalog)
                statement = self._extract.first_sql
                self._statement = (
                    statement if self._extract.keyed else self._extract.sample_sql(None)
                )
                shown = self._statement
            except GeodeTuiError as error:
                shown = str(error)
        self.query_one("#mapping-sql-text", Static).update(Content(many_lines(shown)))

    def _want_rows(self) -> None:
        """Read the rows once the cursor has come to rest."""
        if self._calm is not None:
            self._calm.stop()
        self._calm = self.set_timer(_CALM, self._load_rows)

    @work(exclusive=True, group="rows", exit_on_error=False)
    async def _load_rows(self) -> None:
        extract, source, rows = self._extract, self.workspace.source, self.query_one(RowPairs)
        if extract is None or source is None:
            self._rows_of = None
            rows.show_message("no rule, no rows" if source else _NOT_CONNECTED)
            return
        history = self._history
        if history and self._rows_of == (extract.rule, history.current):
            return
        rows.show_message("reading …")
        try:
            after = await source.preview(extract, _ROWS_SHOWN)
            before = await source.sample(extract.table, _ROWS_SAMPLED)
        except GeodeTuiError as error:
            rows.show_message(" · ".join(error.lines()))
            return
        self._rows_of = (extract.rule, history.current) if history else None
        rows.show_rows(pair_rows(extract, before, after))

    # What a person does.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that do nothing where the focus is are not shown."""
        if action == "type":
            return self.focused is self._grid if self.is_mounted else False
        if action in ("rename", "take", "save", "undo", "redo", "diff", "sql"):
            return self._history is not None
        return True

    def copied(self) -> str:
        """The SELECT, the findings, or the row under the cursor."""
        focused = self.focused.id if self.focused else ""
        if focused == "sql-scroll":
            return self._statement
        if focused == "findings-scroll":
            return findings_copied(self._rule_findings)
        return super().copied()

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
            self._add_rule(item.table)
        elif item is not None:
            self.query_one(Panes).go_to(self.query_one("#mapping-middle", Pane))

    @on(VirtualTable.RowSelected, "#properties")
    def _property_opened(self) -> None:
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

    def _edit(self, what: str, change: Callable[[Mapping], Mapping]) -> None:
        """Make an edit and let the screen follow, or say why it cannot be."""
        history = self._history
        if history is None:
            return
        try:
            history.apply(change(history.current), what)
        except GeodeTuiError as error:
            self.show_error(error)
            return
        self.refresh_view()
        self.refresh_status()
        self.say(f"{what} · u takes it back")

    def _selected_property(self) -> Property | None:
        line = self._grid.item
        return line.item if line else None

    def action_rename(self) -> None:
        """Ask for another name of what has the focus."""
        rule, history = self._shown_rule, self._history
        if rule is None or history is None:
            self.say("there is no rule to rename")
        elif self.focused is self._grid:
            self._rename_property(rule)
        elif isinstance(rule, NodeRule):
            label = rule.label
            self._ask_name(
                f"rename label {label}", label, lambda m, new: edits.rename_label(m, label, new)
            )
        else:
            relationship: RelationshipRule = rule
            self._ask_name(
                f"rename relationship {rule.type}",
                rule.type,
                lambda m, new: edits.rename_type(m, relationship, new),
            )

    def _rename_property(self, rule: Rule) -> None:
        item = self._selected_property()
        if item is None:
            self.say(_why_no_property(self._grid.item))
            return
        name = item.name
        self._ask_name(
            f"rename property {name} of {rule.id}",
            name,
            lambda m, new: edits.rename_property(m, rule, name, new),
        )

    def _ask_name(self, title: str, old: str, change: Callable[[Mapping, str], Mapping]) -> None:
        history = self._history
        assert history is not None
        mapping = history.current

        def problem(text: str) -> str:
            try:
                change(mapping, text.strip())
            except GeodeTuiError as error:
                return f"{error.what}: {error.next_step}" if error.next_step else error.what
            return ""

        def done(new: str | None) -> None:
            if new is not None and new.strip() != old:
                self._edit(f"renamed {old} to {new.strip()}", lambda m: change(m, new.strip()))

        self.app.push_screen(PromptDialog(title, old, check=problem), done)

    def action_type(self) -> None:
        """Ask for another graph type of the property under the cursor."""
        rule, item, catalog = self._shown_rule, self._selected_property(), self.workspace.catalog
        table = catalog.table(rule.table) if rule and catalog else None
        column = table.column(item.column) if table and item else None
        if rule is None or item is None or column is None:
            self.say(_why_no_property(self._grid.item))
            return
        choices = []
        for name in possible_types(column.type):
            note = conversion(column.type, name).note
            choices.append((name, f"{name}  {note}" if note else name))
        named = item.name

        def done(chosen: str | None) -> None:
            if chosen is not None and rule is not None:
                self._edit(
                    f"{named} becomes {chosen}",
                    lambda m: edits.set_property_type(m, rule, named, chosen),
                )

        message = f"{column.name} is {column.type.declared}"
        title = f"graph type of {item.name}"
        dialog = ChoiceDialog(title, choices, message=message, chosen=item.type)
        self.app.push_screen(dialog, done)

    def action_take(self) -> None:
        """Leave out what has the focus, or take it in again."""
        rule = self._shown_rule
        if rule is None:
            self.say("there is no rule here; enter makes one")
        elif self.focused is self._grid:
            self._toggle_property(rule)
        else:
            word = "left out" if rule.include else "taken in"
            self._edit(f"{rule.id} {word}", lambda m: edits.set_included(m, rule, not rule.include))

    def _toggle_property(self, rule: Rule) -> None:
        item = self._selected_property()
        if item is None:
            self.say(_why_no_property(self._grid.item))
            return
        name, include = item.name, not item.include
        word = "taken in" if include else "left out"
        self._edit(f"{name} {word}", lambda m: edits.set_property_included(m, rule, name, include))

    def _add_rule(self, table: TableName) -> None:
        catalog = self.workspace.catalog
        if catalog is None:
            return
        self._edit(f"made a rule for {table}", lambda m: with_rule_for(m, catalog, table))

    def action_undo(self) -> None:
        """Take the last edit back."""
        label = self._history.undo() if self._history else ""
        self.refresh_view()
        self.say(f"taken back: {label} · ctrl+r does it again" if label else "nothing to take back")

    def action_redo(self) -> None:
        """Do the last edit again."""
        label = self._history.redo() if self._history else ""
        self.refresh_view()
        self.say(f"done again: {label}" if label else "nothing to do again")

    def action_save(self) -> None:
        """Write the file."""
        try:
            path = self.workspace.save_mapping()
        except GeodeTuiError as error:
            self.show_error(error)
            return
        self.query_one("#mapping-rules", Pane).set_title("rules")
        self.refresh_status()
        self.say(f"saved {path}")

    def action_diff(self) -> None:
        """Show what saving would change."""
        history, path = self._history, self.workspace.mapping_path
        if history is None:
            return
        try:
            old = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            self.show_error(MappingError(f"cannot read {path}", str(error)))
            return
        lines = difflib.unified_diff(
            old.splitlines(), file.dump(history.current).splitlines(), "saved", "now", lineterm=""
        )
        text = "\n".join(lines) or f"nothing: {path} is up to date"
        self.app.push_screen(TextDialog(f"what saving changes in {path.name}", text))

    def action_sql(self) -> None:
        """Show the SELECT of the rule."""
        if not self._statement:
            self.say("there is no SELECT without a rule")
            return
        title = f"SELECT of {self._shown_rule.id if self._shown_rule else ''}"
        self.app.push_screen(TextDialog(title, pretty_sql(self._statement)))


def why_nothing_moves(rule: Rule, mapping: Mapping) -> str:
    """Why a rule moves no rows, empty when it does."""
    if not rule.include:
        return "left out: moves nothing (x takes it in)"
    if isinstance(rule, NodeRule):
        return ""
    active = {node.label for node in mapping.active_nodes}
    gone = dict.fromkeys(label for label in (rule.start.node, rule.end.node) if label not in active)
    return f"inactive: {' and '.join(gone)} {_are(len(gone))} left out" if gone else ""


def _are(number: int) -> str:
    """`is` or `are`."""
    return "is" if number == 1 else "are"


def with_rule_for(mapping: Mapping, catalog: Catalog, table: TableName) -> Mapping:
    """The mapping with what is inferred for one table that has no rule.

    Raises MappingError where nothing can be inferred.
    """
    found = catalog.table(table)
    whole = edits.merge(infer(catalog), mapping)
    nodes = [rule for rule in whole.nodes if rule.table == table]
    taken = {rule.label for rule in mapping.nodes}
    if any(rule.label in taken for rule in nodes):
        raise MappingError(
            f"label {nodes[0].label} is taken", "another table has it", "rename that label first"
        )
    labels = taken | {rule.label for rule in nodes}
    new = {rule.label for rule in nodes}
    known = {rule.id for rule in mapping.relationships}
    relationships = [
        rule
        for rule in whole.relationships
        if (rule.table == table or {rule.start.node, rule.end.node} & new)
        and {rule.start.node, rule.end.node} <= labels
        and rule.id not in known
    ]
    if not nodes and not relationships:
        kind = found.kind if found else "table"
        raise MappingError(
            f"no rule can be made for {table}",
            f"a {kind} is not moved: only tables have rows with a place of their own",
            "copy it into a table (CREATE TABLE … AS SELECT …) and read the source again",
        )
    return Mapping(
        (*mapping.nodes, *nodes),
        (*mapping.relationships, *relationships),
        mapping.database,
        mapping.version,
    )


def _why_no_property(line: GridItem | None) -> str:
    if line is None:
        return "there is no property here"
    if line.role:
        return f"{line.column} is the {line.role} of the relationship"
    return f"nothing is made of {line.column}"
