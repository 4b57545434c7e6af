"""What a person changes in the rule under the cursor, each change one step to take back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType

from geode_tui.catalog import Catalog, Column, Table, TableName
from geode_tui.errors import GeodeTuiError, MappingError
from geode_tui.mapping import edits, reshape, rule_edits
from geode_tui.mapping.edits import History
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import LabelBy, Mapping, NodeRule, Property, RelationshipRule, Rule
from geode_tui.mapping.names import property_name, unused
from geode_tui.mapping.types import default_type
from geode_tui.screens.base import GeodeScreen
from geode_tui.screens.dialogs import ChoiceDialog, PromptDialog
from geode_tui.screens.expression_editor import (
    ExpressionEditor,
    Subject,
    Written,
    aligned,
    type_choices,
)
from geode_tui.widgets.property_grid import GridItem, PropertyGrid
from geode_tui.widgets.text import one_line

_NONE = ""


def _quiet(key: str, action: str, name: str, tooltip: str) -> Binding:
    """A key that the footer does not show."""
    return Binding(key, action, name, show=False, id=f"mapping.{name}", tooltip=tooltip)


class MappingEdits(GeodeScreen):
    """The keys that change rules and properties."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "rename", "rename", id="mapping.rename", tooltip="Rename rule or property"),
        Binding(
            "f",
            "expression",
            "expression",
            id="mapping.expression",
            tooltip="Make the property under the cursor of an SQL expression",
        ),
        _quiet("t", "type", "type", "Change the graph type"),
        Binding(
            "x,space",
            "take",
            "leave out / take in",
            key_display="x",
            id="mapping.toggle",
            tooltip="Move this rule or property, or leave it out",
        ),
        _quiet("w", "where", "where", "Move only the rows that meet a condition"),
        _quiet("n", "new", "new", "One more property, of an SQL expression"),
        _quiet("delete,backspace", "remove", "remove", "Take the property out of the rule"),
        _quiet("L", "labels", "labels", "More labels for each node of the rule"),
        _quiet("V", "labels_by", "labels-by", "A label more by the value of a column"),
        _quiet("K", "keep_first", "keep-first", "Of rows with the same key keep the first"),
        _quiet("r", "reverse", "reverse", "Let the relationship lead the other way"),
        _quiet("u", "undo", "undo", "Take an edit back"),
        _quiet("ctrl+r", "redo", "redo", "Do an edit again that was taken back"),
    ]

    shown_rule: Rule | None = None
    """The rule under the cursor."""

    @property
    def grid(self) -> PropertyGrid:
        """The properties of the rule."""
        return self.query_one("#properties", PropertyGrid)

    @property
    def history(self) -> History | None:
        """The mapping with its steps, None before a source is connected."""
        return self.workspace.history

    @property
    def reads_advice(self) -> bool:
        """Whether the focus is on what others say of the mapping, not on the mapping."""
        return self.focused is not None and self.focused.id in ("findings", "suggestions")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that do nothing where the focus is are not shown."""
        if action in ("type", "expression", "remove"):
            return self.focused is self.grid if self.is_mounted else False
        if action in ("rename", "take"):
            return self.history is not None and not self.reads_advice
        if action in ("undo", "redo"):
            return self.history is not None
        return super().check_action(action, parameters)

    def say(self, message: str) -> None:
        """A fact in passing; it takes the place of the one before, not of more rows."""
        self.app.clear_notifications()
        super().say(message)

    def edit(self, what: str, change: Callable[[Mapping], Mapping]) -> bool:
        """Make an edit and let the screen follow, or say why it cannot be."""
        history = self.history
        if history is None:
            return False
        before = history.current
        try:
            history.apply(change(before), what)
        except GeodeTuiError as error:
            self.show_error(error)
            return False
        self.refresh_view()
        self.refresh_status()
        changed = history.current is not before
        self.say(f"{one_line(what)} · u takes it back" if changed else "nothing changed")
        return changed

    def selected_property(self) -> Property | None:
        """The property under the cursor, None where the line is none."""
        line = self.grid.item
        return line.item if line else None

    def _rule_or_say(self) -> Rule | None:
        if self.shown_rule is None:
            connected = self.history is not None
            self.say("there is no rule here; enter makes one" if connected else "not connected")
        return self.shown_rule

    def _node_or_say(self) -> NodeRule | None:
        rule = self._rule_or_say()
        if isinstance(rule, RelationshipRule):
            self.say("a relationship has no labels and no key of nodes")
        return rule if isinstance(rule, NodeRule) else None

    # Names, types, what is left out.

    def action_rename(self) -> None:
        """Ask for another name of what has the focus."""
        rule = self._rule_or_say()
        if rule is None:
            return
        if self.focused is self.grid:
            self._rename_property(rule)
        elif isinstance(rule, NodeRule):
            rule_id = rule.id
            self.ask_name(
                f"rename label {rule.label}",
                rule.label,
                lambda m, new: edits.rename_label(m, rule_id, new),
            )
        else:
            change = _on_relationship(edits.rename_type, rule)
            self.ask_name(f"rename relationship {rule.type}", rule.type, change)

    def _rename_property(self, rule: Rule) -> None:
        item = self.selected_property()
        if item is None:
            self.say(_why_no_property(self.grid.item))
            return
        name = item.name
        self.ask_name(
            f"rename property {name} of {rule.id}",
            name,
            lambda m, new: edits.rename_property(m, rule, name, new),
        )

    def ask_name(self, title: str, old: str, change: Callable[[Mapping, str], Mapping]) -> None:
        """Ask for a name; what is wrong with it is told while it is typed."""

        def done(new: str | None) -> None:
            if new is not None and new.strip() != old:
                self.edit(f"renamed {old} to {new.strip()}", lambda m: change(m, new.strip()))

        check = self._problem_of(change)
        self.app.push_screen(PromptDialog(title, old, check=check), done)

    def _problem_of(self, change: Callable[[Mapping, str], Mapping]) -> Callable[[str], str]:
        history = self.history
        assert history is not None
        mapping = history.current

        def problem(text: str) -> str:
            try:
                change(mapping, text.strip())
            except GeodeTuiError as error:
                return f"{error.what}: {error.next_step}" if error.next_step else error.what
            return ""

        return problem

    def action_type(self) -> None:
        """Ask for another graph type of the property under the cursor."""
        rule, item = self.shown_rule, self.selected_property()
        column = self._column_of(rule, item) if rule and item else None
        if rule is None or item is None or (column is None and not item.expression):
            self.say(_why_no_property(self.grid.item))
            return
        if column is None or item.expression:
            self.action_expression()  # its type belongs to what is written
            return
        choices = type_choices(column.type)
        named = item.name

        def done(chosen: str | None) -> None:
            if chosen is not None:
                change = partial(edits.set_property_type, rule=rule, name=named, graph_type=chosen)
                self.edit(f"{named} becomes {chosen}", change)

        message = f"{column.name} is {column.type.declared}"
        title = f"graph type of {item.name}"
        dialog = ChoiceDialog(title, choices, message=message, chosen=item.type)
        self.app.push_screen(dialog, done)

    def action_take(self) -> None:
        """Leave out what has the focus, or take it in again."""
        rule = self._rule_or_say()
        if rule is None:
            return
        if self.focused is self.grid:
            self._toggle_property(rule)
            return
        word = "left out" if rule.include else "taken in"
        self.edit(f"{rule.id} {word}", lambda m: edits.set_included(m, rule, not rule.include))

    def _toggle_property(self, rule: Rule) -> None:
        line = self.grid.item
        if line is not None and line.item is None and not line.role:
            self._take_column(rule, line.column)
            return
        item = self.selected_property()
        if item is None:
            self.say(_why_no_property(line))
            return
        name, include = item.name, not item.include
        word = "taken in" if include else "left out"
        self.edit(f"{name} {word}", lambda m: edits.set_property_included(m, rule, name, include))

    def _take_column(self, rule: Rule, name: str) -> None:
        """Make a property of a column that nothing is made of yet."""
        table = self._table_of(rule)
        column = table.column(name) if table else None
        if column is None:
            return
        taken = {item.name for item in rule.properties}
        item = Property(unused(property_name(name), taken), name, default_type(column.type))
        self.edit(f"{item.name} taken in", lambda m: rule_edits.add_property(m, rule, item))

    def action_remove(self) -> None:
        """Take the property under the cursor out of the rule."""
        rule, item = self.shown_rule, self.selected_property()
        if rule is None or item is None:
            self.say(_why_no_property(self.grid.item))
            return
        name = item.name
        self.edit(f"removed {name}", lambda m: rule_edits.remove_property(m, rule, name))

    # SQL: expressions, conditions, orders.

    def action_expression(self) -> None:
        """Write the SQL expression of the property under the cursor."""
        rule, item = self.shown_rule, self.selected_property()
        line = self.grid.item
        if rule is not None and item is None and line is not None and not line.role:
            self._new_expression(rule, line.column)
            return
        if rule is None or item is None:
            self.say(_why_no_property(line))
            return
        table = self._table_of(rule, item)
        if table is None:
            self.say(f"{item.join or rule.table} is not in the source")
            return
        name = item.name

        def done(written: Written | None) -> None:
            if written is None:
                return

            def change(mapping: Mapping) -> Mapping:
                made = reshape.set_expression(mapping, rule, name, written.text)
                new = _same_rule(made, mapping, rule)
                return edits.set_property_type(made, new, name, written.graph_type)

            what = f"{name} is {written.text}" if written.text else f"{name} is its column"
            self.edit(what, change)

        subject = Subject("expression", table, f"{rule.id}.{name}", item.expression, item)
        self._open_editor(subject, done)

    def action_new(self) -> None:
        """Add a property that is made of an expression."""
        rule = self._rule_or_say()
        if rule is not None:
            self._new_expression(rule, "")

    def _new_expression(self, rule: Rule, column: str) -> None:
        table = self._table_of(rule)
        if table is None:
            return
        taken = {item.name for item in rule.properties}
        first = unused(property_name(column or "value"), taken)

        def named(name: str | None) -> None:
            if name is None:
                return
            item = Property(name.strip(), column, "STRING")
            text = _column_text(column)
            subject = Subject("expression", table, f"{rule.id}.{item.name}", text, item)

            def done(written: Written | None) -> None:
                if written is not None:
                    made = replace(item, expression=written.text, type=written.graph_type)
                    what = f"new property {made.name}"
                    self.edit(what, lambda m: rule_edits.add_property(m, rule, made))

            self._open_editor(subject, done)

        def change(mapping: Mapping, name: str) -> Mapping:
            return rule_edits.add_property(mapping, rule, Property(name, column, "STRING"))

        check = self._problem_of(change)
        title = f"name of a new property of {rule.id}"
        self.app.push_screen(PromptDialog(title, first, check=check), named)

    def action_where(self) -> None:
        """Write the condition that a row must meet."""
        rule = self._rule_or_say()
        table = self._table_of(rule) if rule else None
        if rule is None or table is None:
            return

        def done(written: Written | None) -> None:
            if written is not None:
                what = f"{rule.id} where {written.text}" if written.text else f"{rule.id}: all rows"
                self.edit(what, lambda m: reshape.set_where(m, rule, written.text))

        self._open_editor(Subject("condition", table, rule.id, rule.where), done)

    def action_keep_first(self) -> None:
        """Write the order by which the first row of each key is kept."""
        rule = self._node_or_say()
        table = self._table_of(rule) if rule else None
        if rule is None or table is None:
            return
        if not rule.key:
            self.say(f"{one_line(rule.id)} has no key, so no two rows are the same node")
            return
        items = [item for name in rule.key if (item := rule.property_named(name)) is not None]

        def done(written: Written | None) -> None:
            if written is not None:
                what = f"{rule.id}: first by {written.text or 'nothing, all rows'}"
                self.edit(what, lambda m: rule_edits.set_keep_first(m, rule, written.text))

        subject = Subject("ordering", table, rule.id, rule.keep_first, key=tuple(items))
        self._open_editor(subject, done)

    def _open_editor(self, subject: Subject, done: Callable[[Written | None], None]) -> None:
        self.app.push_screen(ExpressionEditor(subject, self.workspace.source), done)

    # Labels and directions.

    def action_labels(self) -> None:
        """Ask for the labels that each node gets besides its own."""
        rule = self._node_or_say()
        if rule is None:
            return

        def change(mapping: Mapping, text: str) -> Mapping:
            return rule_edits.set_labels(mapping, rule, text.replace(":", " ").split())

        def done(text: str | None) -> None:
            if text is not None:
                self.edit(
                    f"labels of {rule.id}: {text.strip() or 'none'}", lambda m: change(m, text)
                )

        dialog = PromptDialog(
            f"more labels of {rule.id}",
            " ".join(rule.labels),
            check=self._problem_of(change),
            message=f"Each node is a :{rule.label}. Name the labels that it gets besides, "
            "with spaces between; nothing for none.",
        )
        self.app.push_screen(dialog, done)

    def action_labels_by(self) -> None:
        """Ask for the column whose value gives one more label, then for the labels."""
        rule = self._node_or_say()
        table = self._table_of(rule) if rule else None
        if rule is None or table is None:
            return
        choices = [(_NONE, "no label by a value")]
        choices += aligned([(c.name, c.name, c.type.declared) for c in table.columns])
        chosen = rule.labels_by.column if rule.labels_by else None

        def done(column: str | None) -> None:
            if column == _NONE:
                self.edit(
                    f"{rule.id}: no label by a value",
                    lambda m: reshape.set_labels_by(m, rule, None),
                )
            elif column is not None:
                self._ask_labels_by(rule, table, column)

        title = f"a label more for {rule.id}, by the value of"
        self.app.push_screen(ChoiceDialog(title, choices, chosen=chosen), done)

    def _ask_labels_by(self, rule: NodeRule, table: Table, column: str) -> None:
        by = rule.labels_by
        if by is None or by.column != column or by.join:
            by = self._common_labels(table, column)

        def change(mapping: Mapping, text: str) -> Mapping:
            pairs = rule_edits.label_pairs(text)
            return reshape.set_labels_by(mapping, rule, LabelBy(column, pairs) if pairs else None)

        def done(text: str | None) -> None:
            if text is not None:
                self.edit(f"labels of {rule.id} by {column}", lambda m: change(m, text))

        dialog = PromptDialog(
            f"labels of {rule.id} by {column}",
            rule_edits.label_pairs_text(by),
            check=self._problem_of(change),
            message="value=Label, value=Label. A value that is not named gives no label.",
        )
        self.app.push_screen(dialog, done)

    def _common_labels(self, table: Table, column: str) -> LabelBy:
        """Labels named after the values that most rows have, where statistics tell them."""
        statistics = self.workspace.statistics
        seen = statistics.column(table.name, column) if statistics else None
        values = [value for value, _ in seen.common[:20]] if seen else []
        return LabelBy(column, tuple((value, _label_of(value)) for value in values))

    def action_reverse(self) -> None:
        """Let the relationship under the cursor lead the other way."""
        rule = self._rule_or_say()
        if isinstance(rule, NodeRule):
            self.say("only a relationship has a direction")
        elif rule is not None:
            relationship = rule
            what = f"{rule.type} leads the other way"
            if self.edit(what, lambda m: reshape.reverse(m, relationship)):
                turned = replace(relationship, start=relationship.end, end=relationship.start)
                self.show_item(turned.id)

    # Steps.

    def action_undo(self) -> None:
        """Take the last edit back."""
        label = self.history.undo() if self.history else ""
        self.refresh_view()
        shown = f"taken back: {one_line(label)} · ctrl+r does it again"
        self.say(shown if label else "nothing to take back")

    def action_redo(self) -> None:
        """Do the last edit again."""
        label = self.history.redo() if self.history else ""
        self.refresh_view()
        self.say(f"done again: {one_line(label)}" if label else "nothing to do again")

    # Tables without a rule.

    def add_rule(self, name: TableName) -> None:
        """Make a rule for a table or view that has none."""
        catalog = self.workspace.catalog
        table = catalog.table(name) if catalog else None
        if catalog is None or table is None:
            return
        if table.kind in ("table", "partitioned"):
            self.edit(f"made a rule for {name}", lambda m: with_rule_for(m, catalog, name))
            return

        def change(mapping: Mapping, text: str) -> Mapping:
            key = [part.strip() for part in text.split(",") if part.strip()]
            missing = [column for column in key if table.column(column) is None]
            if missing:
                raise MappingError(f"no column {missing[0]} in {name}")
            return reshape.add_node(mapping, table, key)

        def done(text: str | None) -> None:
            if text is not None:
                self.edit(f"made a rule for {name}", lambda m: change(m, text))

        dialog = PromptDialog(
            f"what identifies a row of {name}?",
            check=self._problem_of(change),
            message=f"A {table.kind} has no key of its own. Name the columns that identify a row, "
            "with commas between; nothing: rows are told apart by their whole content.",
        )
        self.app.push_screen(dialog, done)

    def _table_of(self, rule: Rule, item: Property | None = None) -> Table | None:
        """The table that a property is made of: the rule's own, or the one it joins."""
        catalog = self.workspace.catalog
        name = rule.table
        if item is not None and item.join:
            join = rule.join_named(item.join) if isinstance(rule, NodeRule) else None
            if join is None:
                return None
            name = join.table
        return catalog.table(name) if catalog else None

    def _column_of(self, rule: Rule, item: Property) -> Column | None:
        table = self._table_of(rule, item)
        return table.column(item.column) if table else None


def _on_relationship(
    change: Callable[[Mapping, RelationshipRule, str], Mapping], rule: RelationshipRule
) -> Callable[[Mapping, str], Mapping]:
    return lambda mapping, text: change(mapping, rule, text)


def _same_rule(made: Mapping, before: Mapping, rule: Rule) -> Rule:
    """The rule in the mapping that was made of another, at the same place."""
    places = before.nodes if isinstance(rule, NodeRule) else before.relationships
    place = next(number for number, other in enumerate(places) if other == rule)
    return (made.nodes if isinstance(rule, NodeRule) else made.relationships)[place]


def _column_text(column: str) -> str:
    return '"' + column.replace('"', '""') + '"' if column else ""


def _label_of(value: str) -> str:
    """A label that a value suggests."""
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in value).split()
    label = "".join(word[:1].upper() + word[1:] for word in words)
    return label if label[:1].isalpha() else f"Value{label}"


def _why_no_property(line: GridItem | None) -> str:
    if line is None:
        return "there is no property here"
    if line.role:
        return f"{one_line(line.column)} is the {line.role} of the relationship"
    return f"nothing is made of {one_line(line.column)}; x takes it in"


def with_rule_for(mapping: Mapping, catalog: Catalog, table: TableName) -> Mapping:
    """The mapping with what is inferred for one table that has no rule.

    Raises MappingError where nothing can be inferred.
    """
    whole = edits.merge(infer(catalog), mapping, catalog)
    nodes = [rule for rule in whole.nodes if rule.table == table]
    taken = {rule.id for rule in mapping.nodes}
    if any(rule.id in taken for rule in nodes):
        raise MappingError(
            f"label {nodes[0].label} is taken", "another table has it", "rename that label first"
        )
    new = {rule.id for rule in nodes}
    ids = taken | new
    known = {rule.id for rule in mapping.relationships}
    relationships = [
        rule
        for rule in whole.relationships
        if (rule.table == table or {rule.start.node, rule.end.node} & new)
        and {rule.start.node, rule.end.node} <= ids
        and rule.id not in known
    ]
    if not nodes and not relationships:
        raise MappingError(
            f"no rule can be made for {table}",
            "its columns say nothing of what it joins",
            "add the rule to the mapping's file: E opens it",
        )
    return replace(
        mapping,
        nodes=(*mapping.nodes, *nodes),
        relationships=(*mapping.relationships, *relationships),
    )
