"""All rules of a mapping, and the tables that no rule moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from textual.content import Content

from geode_tui.catalog import Catalog, TableName
from geode_tui.mapping.assess import Finding
from geode_tui.mapping.model import Mapping, NodeRule, Rule
from geode_tui.widgets.rule_diagram import titled
from geode_tui.widgets.text import one_line
from geode_tui.widgets.virtual_table import Row, TableColumn, VirtualTable

RuleState = Literal["node", "relationship", "excluded", "inactive", "finding", "unmapped"]

_SIGNS: dict[RuleState, tuple[str, str]] = {
    "node": ("✓", "$text-success"),
    "relationship": ("✓", "$text-success"),
    "excluded": ("–", "$text-muted"),
    "inactive": ("–", "$text-muted"),
    "finding": ("!", "$text-warning"),
    "unmapped": ("–", "$text-muted"),
}
_QUIET: frozenset[RuleState] = frozenset(("excluded", "inactive", "unmapped"))
_NARROW = (TableColumn("", 6), TableColumn("rule"))
_WIDE = (TableColumn("", 6), TableColumn("rule"), TableColumn("table"))
_ROOM_FOR_TABLE = 56


@dataclass(frozen=True)
class RuleItem:
    """A line: a rule with its state, or a table that no rule moves (`rule` is None)."""

    rule: Rule | None
    table: TableName
    state: RuleState

    @property
    def title(self) -> str:
        """`Order`, `Party (Supplier)`, `CONTAINS Order→Product`, or the table's name."""
        if self.rule is None:
            return str(self.table)
        if isinstance(self.rule, NodeRule):
            return titled(self.rule)
        return f"{self.rule.type} {self.rule.start.node}→{self.rule.end.node}"

    @cached_property
    def marks(self) -> str:
        """What the rule does besides: more labels, `ƒ` expressions, a condition, a join."""
        return rule_marks(self.rule) if self.rule is not None else ""

    @cached_property
    def searched(self) -> str:
        """What a filter looks through."""
        state = "no rule" if self.rule is None else self.state
        return f"{self.title} {self.marks} {self.table} {self.kind} {state}".casefold()

    @property
    def kind(self) -> str:
        """`node`, `rel`, or `none` where no rule moves the table."""
        if self.rule is None:
            return "none"
        return "node" if isinstance(self.rule, NodeRule) else "rel"


def rule_marks(rule: Rule) -> str:
    """`:Staff ƒ where first ⋈`: other labels, expressions, a condition, the first of each key,
    joined tables."""
    marks = []
    if isinstance(rule, NodeRule) and rule.all_labels[1:]:
        marks.append("".join(f":{label}" for label in rule.all_labels[1:]))
    if any(item.expression for item in rule.included_properties):
        marks.append("ƒ")
    if rule.where:
        marks.append("where")
    if isinstance(rule, NodeRule) and rule.keep_first:
        marks.append("first")
    if isinstance(rule, NodeRule) and rule.joins:
        marks.append("⋈")
    return " ".join(marks)


class FindingIndex:
    """Findings by rule."""

    def __init__(self, findings: Iterable[Finding], catalog: Catalog) -> None:
        self.findings = tuple(findings)
        self._by_table: dict[str, list[Finding]] = {}
        self._by_subject: dict[str, list[Finding]] = {}
        self._warned: dict[int, tuple[Rule, bool]] = {}
        tables = {str(table.name) for table in catalog.tables}
        for finding in self.findings:
            self._by_subject.setdefault(finding.subject, []).append(finding)
            table = _table_in(finding.subject, tables)
            if table:
                self._by_table.setdefault(table, []).append(finding)

    def of(self, rule: Rule) -> list[Finding]:
        """The findings of a rule: its own, its table's, and those of the columns it moves."""
        found = list(self._by_subject.get(rule.id, ()))
        table = str(rule.table)
        of_table = self._by_table.get(table)
        if not of_table:
            return found
        columns = {f"{table}.{item.column}" for item in rule.included_properties}
        return found + [f for f in of_table if f.subject == table or f.subject in columns]

    def warns_of(self, rule: Rule) -> bool:
        """Whether a finding of the rule is more than information, and nobody waived it."""
        known = self._warned.get(id(rule))
        if known is None or known[0] is not rule:
            warns = bool(self._by_subject) and any(map(is_open, self.of(rule)))
            self._warned[id(rule)] = known = (rule, warns)
        return known[1]

    def of_table(self, table: TableName) -> list[Finding]:
        """The findings of a table and its columns."""
        return self._by_table.get(str(table), [])


def _table_in(subject: str, tables: set[str]) -> str:
    """The table that a subject (`schema.table` or `schema.table.column`) is about, or ``."""
    if subject in tables:
        return subject
    at = subject.find(".")
    while at >= 0:
        at = subject.find(".", at + 1)
        if at >= 0 and subject[:at] in tables:
            return subject[:at]
    return ""


def is_open(finding: Finding) -> bool:
    """Whether a finding asks for something: it is more than information, and not waived."""
    return finding.severity != "information" and not finding.waived


def rule_items(
    mapping: Mapping,
    catalog: Catalog,
    findings: FindingIndex,
    before: Sequence[RuleItem] = (),
) -> list[RuleItem]:
    """All rules, nodes first, then the tables without a rule.

    Of those `before` each that still holds is taken as it is, with what it knows already.
    """
    active = {id(rule) for rule in mapping.active_rules()}
    known = {id(item.rule): item for item in before if item.rule is not None}
    items = []
    for rule in mapping.rules:
        if not rule.include:
            state: RuleState = "excluded"
        elif id(rule) not in active:
            state = "inactive"
        elif findings.warns_of(rule):
            state = "finding"
        else:
            state = "node" if isinstance(rule, NodeRule) else "relationship"
        old = known.get(id(rule))
        same = old is not None and old.rule is rule and old.state == state
        items.append(old if old is not None and same else RuleItem(rule, rule.table, state))
    moved = {rule.table for rule in mapping.rules}
    unmapped = (table.name for table in catalog.tables if table.name not in moved)
    return items + [RuleItem(None, name, "unmapped") for name in unmapped]


def summary(items: Sequence[RuleItem]) -> str:
    """How many of what: `9 nodes · 11 relationships · 1 excluded`."""
    count = Counter(item.state for item in items)
    kinds = Counter(
        "nodes" if isinstance(item.rule, NodeRule) else "relationships"
        for item in items
        if item.rule is not None and item.state not in ("excluded", "inactive")
    )
    parts = [f"{kinds['nodes']:,} nodes", f"{kinds['relationships']:,} rels"]
    for state, word in (
        ("excluded", "excluded"),
        ("inactive", "inactive"),
        ("unmapped", "no rule"),
    ):
        if count[state]:  # type: ignore[index]
            parts.append(f"{count[state]:,} {word}")  # type: ignore[index]
    return " · ".join(parts)


class RuleTable(VirtualTable):
    """The rules with their states, filtered by a text."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(_NARROW, empty="no rule", header=False, id=id, classes=classes)
        self._items: list[RuleItem] = []
        self._visible: list[RuleItem] = []
        self._filter = ""

    def on_mount(self) -> None:
        """Have widths before the first size is known."""
        self._measure()

    @property
    def item(self) -> RuleItem | None:
        """What is under the cursor."""
        return self._visible[self.cursor] if self.cursor < len(self._visible) else None

    @property
    def items(self) -> Sequence[RuleItem]:
        """All lines."""
        return self._items

    @property
    def visible_items(self) -> Sequence[RuleItem]:
        """The lines that the filter lets through."""
        return self._visible

    def show_items(self, items: list[RuleItem], nothing: str = "no rule") -> None:
        """Show these lines, or say that there is `nothing`; the cursor stays at its place."""
        self._items, self._nothing = items, nothing
        self._apply()

    def filter(self, text: str) -> None:
        """Show only lines whose rule, table or state contains `text`."""
        self._filter = text.strip().casefold()
        current = self.item
        self._apply()
        # By identity: to compare rules by what is in them takes its time.
        place = next((n for n, item in enumerate(self._visible) if item is current), None)
        if place is not None:
            self.cursor = place

    def go_to(self, item: str) -> bool:
        """Put the cursor on the rule of that id or label, or on the first of that table."""
        for index, line in enumerate(self._visible):
            if line.rule is not None and line.rule.id == item:
                self.cursor = index
                return True
        for index, line in enumerate(self._visible):
            if str(line.table) == item:
                self.cursor = index
                return True
        return False

    def on_resize(self) -> None:
        """Show the table's name where there is room."""
        columns = _WIDE if self.size.width >= _ROOM_FOR_TABLE else _NARROW
        if columns != self.columns:
            self.set_columns(columns)
            self._apply()
        super().on_resize()

    def _apply(self) -> None:
        wanted = self._filter
        self._visible = [i for i in self._items if wanted in i.searched] if wanted else self._items
        self.set_empty(f"nothing matches {wanted}" if wanted else self._nothing)
        self.set_source(len(self._visible), self._cells)

    def _cells(self, index: int) -> Row:
        item = self._visible[index]
        sign, style = _SIGNS[item.state]
        quiet = item.state in _QUIET
        title = Content.styled(one_line(item.title), "$text-muted" if quiet else "")
        if item.marks:
            title = Content.assemble(title, (f" {one_line(item.marks)}", "$text-secondary"))
        state = Content.assemble((sign, style), (f" {item.kind}", "$text-muted"))
        table = Content.styled(one_line(str(item.table)), "$text-muted")
        return (state, title, table)[: len(self.columns)]
