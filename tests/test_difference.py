"""The difference of two mappings, and the steps from a graph of the one to a graph of the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grafeo
from hypothesis import given, settings
from hypothesis import strategies as st

from geode_tui.catalog import TableName
from geode_tui.cli import main
from geode_tui.errors import EXIT_DIFFERS, EXIT_OK, MappingError
from geode_tui.mapping import edits
from geode_tui.mapping.difference import changes, compare, patched
from geode_tui.mapping.file import load, save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import Mapping, NodeRule, Property, Query, Rule, Waiver
from geode_tui.mapping.steps import Step, steps
from tests.catalogs import SHOP
from tests.conftest import MakeDatabase

type Edit = Callable[[Mapping, st.DataObject], Mapping]


# -- the difference -----------------------------------------------------------------------------

_WORDS = st.sampled_from(["A", "B", "C", "User", "Order", "name", "id", "HAS_ITEM"])
_CONDITIONS = st.sampled_from(["", "id > 3", "name IS NOT NULL"])


def _any_rule(mapping: Mapping, data: st.DataObject) -> Rule:
    return data.draw(st.sampled_from(mapping.rules))


def _any_node(mapping: Mapping, data: st.DataObject) -> NodeRule:
    return data.draw(st.sampled_from(mapping.nodes))


def _rename(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule, name = _any_rule(mapping, data), data.draw(_WORDS)
    if isinstance(rule, NodeRule):
        return edits.rename_label(mapping, rule.label, name)
    return edits.rename_type(mapping, rule, name)


def _rename_property(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule = _any_rule(mapping, data)
    if not rule.properties:
        return mapping
    item = data.draw(st.sampled_from(rule.properties))
    return edits.rename_property(mapping, rule, item.name, data.draw(_WORDS))


def _include(mapping: Mapping, data: st.DataObject) -> Mapping:
    return edits.set_included(mapping, _any_rule(mapping, data), data.draw(st.booleans()))


def _condition(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule = _any_rule(mapping, data)
    return edits.replace_rule(mapping, rule, replace(rule, where=data.draw(_CONDITIONS)))


def _add_property(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule = _any_rule(mapping, data)
    name = data.draw(_WORDS)
    if rule.property_named(name):
        return mapping
    made = Property(name, data.draw(_WORDS), "INT", expression=data.draw(_CONDITIONS))
    return edits.replace_rule(mapping, rule, replace(rule, properties=(*rule.properties, made)))


def _drop_property(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule = _any_rule(mapping, data)
    free = [item for item in rule.properties if item.name not in rule.key]
    if not free:
        return mapping
    gone = data.draw(st.sampled_from(free))
    kept = tuple(item for item in rule.properties if item is not gone)
    return edits.replace_rule(mapping, rule, replace(rule, properties=kept))


def _drop_rule(mapping: Mapping, data: st.DataObject) -> Mapping:
    gone = _any_rule(mapping, data)
    if isinstance(gone, NodeRule) and len(mapping.nodes) == 1:
        return mapping
    nodes = tuple(rule for rule in mapping.nodes if rule is not gone)
    ends = {gone.id} if isinstance(gone, NodeRule) else set()
    kept = tuple(
        rule
        for rule in mapping.relationships
        if rule is not gone and ends.isdisjoint((rule.start.node, rule.end.node))
    )
    return replace(mapping, nodes=nodes, relationships=kept)


def _reverse(mapping: Mapping, data: st.DataObject) -> Mapping:
    if not mapping.relationships:
        return mapping
    rule = data.draw(st.sampled_from(mapping.relationships))
    turned = replace(rule, start=rule.end, end=rule.start)
    if turned.id != rule.id and mapping.rule(turned.id):
        return mapping
    return edits.replace_rule(mapping, rule, turned)


def _labels(mapping: Mapping, data: st.DataObject) -> Mapping:
    rule = _any_node(mapping, data)
    labels = tuple(data.draw(st.lists(st.sampled_from(["Extra", "More"]), unique=True)))
    return edits.replace_rule(mapping, rule, replace(rule, labels=labels))


def _own(mapping: Mapping, data: st.DataObject) -> Mapping:
    some = data.draw(st.integers(0, 2))
    return replace(
        mapping,
        queries=tuple(Query(f"q{n}", f"SELECT {n}") for n in range(some)),
        waivers=tuple(Waiver("no_key", f"public.t{n}", "small") for n in range(some)),
    )


_EDITS: tuple[Edit, ...] = (
    *(_rename, _rename_property, _include, _condition, _add_property, _drop_property),
    *(_drop_rule, _reverse, _labels, _own),
)


def _edited(mapping: Mapping, data: st.DataObject) -> Mapping:
    for edit in data.draw(st.lists(st.sampled_from(_EDITS), max_size=8)):
        try:
            mapping = edit(mapping, data)
        except MappingError:
            continue  # the name is taken
    return mapping


def _plain(mapping: Mapping) -> Mapping:
    """Without reasons, everything in one order."""

    def rules(some: tuple[Any, ...]) -> tuple[Any, ...]:
        bare = (
            replace(
                rule, because="", properties=tuple(sorted(rule.properties, key=lambda p: p.name))
            )
            for rule in some
        )
        return tuple(sorted(bare, key=lambda rule: rule.id))

    nodes, relationships = rules(mapping.nodes), rules(mapping.relationships)
    return replace(mapping, nodes=nodes, relationships=relationships)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_difference_applied_to_the_old_mapping_gives_the_new(data: st.DataObject) -> None:
    """Nothing that changed is left out of a difference, whatever was edited on both sides."""
    start = infer(SHOP)
    old, new = _edited(start, data), _edited(start, data)
    difference = compare(old, new)
    assert _plain(patched(old, difference)) == _plain(new)
    assert bool(difference) == (_plain(old) != _plain(new))
    assert bool(changes(difference)) == bool(difference)
    steps(difference)


def test_the_same_mapping_in_another_order_is_no_difference() -> None:
    """Who sorts the file has changed nothing; a reason is no change either."""
    mapping = infer(SHOP)
    turned = replace(
        mapping,
        nodes=tuple(replace(rule, because="") for rule in mapping.nodes[::-1]),
        relationships=mapping.relationships[::-1],
    )
    difference = compare(mapping, turned)
    assert not difference
    assert steps(difference) == ()


def test_a_renamed_label_is_a_rename_and_its_relationships_follow() -> None:
    """A rename is not told as a label that goes and another that comes."""
    mapping = infer(SHOP)
    told = changes(compare(mapping, edits.rename_label(mapping, "User", "Person")))
    assert [(c.way, c.kind, c.rule, c.old, c.new) for c in told] == [
        ("rename", "label", "Person", "User", "Person")
    ]


def test_labels_that_change_places_are_two_renames() -> None:
    """By the tables it is known which is which."""
    mapping = infer(SHOP)
    told = changes(compare(mapping, _swapped(mapping)))
    assert {(c.way, c.kind, c.old, c.new) for c in told} == {
        ("rename", "label", "User", "Product"),
        ("rename", "label", "Product", "User"),
    }


def _swapped(mapping: Mapping) -> Mapping:
    for old, new in (("User", "Aside"), ("Product", "User"), ("Aside", "Product")):
        mapping = edits.rename_label(mapping, old, new)
    return mapping


# -- the steps ----------------------------------------------------------------------------------


def _kinds(old: Mapping, new: Mapping) -> list[tuple[str, str, tuple[str, ...]]]:
    found = steps(compare(old, new))
    return [(step.kind, step.subject, tuple(map(str, step.reads))) for step in found]


def test_a_rename_reads_nothing() -> None:
    """A label's new name is one statement, no reload."""
    mapping = infer(SHOP)
    [step] = steps(compare(mapping, edits.rename_label(mapping, "User", "Person")))
    assert step == Step(
        "rename_label",
        "Person",
        "rename label User to Person",
        "MATCH (n:`User`) SET n:`Person` REMOVE n:`User`",
    )


def test_a_new_property_reads_its_table_again() -> None:
    """What was never read must be read; nothing else is."""
    mapping = infer(SHOP)
    rule = mapping.nodes[0]
    more = replace(rule, properties=(*rule.properties, Property("x", "x", "INT")))
    fill, digests = steps(compare(mapping, edits.replace_rule(mapping, rule, more)))
    assert (fill.kind, fill.reads) == ("fill", (TableName("public", "users"),))
    assert fill.because == "property x comes"
    assert (digests.kind, digests.reads) == ("renew_digests", ())


def test_a_condition_loads_the_label_and_what_hangs_on_it_anew() -> None:
    """Other rows are other nodes; relationships go with the nodes that are dropped."""
    mapping = infer(SHOP)
    rule = mapping.node("Product")
    assert rule is not None
    new = edits.replace_rule(mapping, rule, replace(rule, where="id > 3"))
    assert _kinds(mapping, new) == [
        ("drop_label", "Product", ()),
        ("load_label", "Product", ("public.products",)),
        ("load_relationship", "(Order)-[HAS_ITEM]->(Product)", ("public.order_items",)),
    ]


def test_a_rule_that_is_excluded_goes_with_its_relationships() -> None:
    """One statement drops the nodes and what hangs on them."""
    mapping = infer(SHOP)
    rule = mapping.node("Product")
    assert rule is not None
    gone = edits.set_included(mapping, rule, False)
    assert _kinds(mapping, gone) == [("drop_label", "Product", ())]
    assert _kinds(gone, mapping) == [
        ("load_label", "Product", ("public.products",)),
        ("load_relationship", "(Order)-[HAS_ITEM]->(Product)", ("public.order_items",)),
    ]


SOURCE = """
CREATE TABLE customer (id int PRIMARY KEY, first text, last text, born date);
CREATE TABLE purchase (id int PRIMARY KEY, customer_id int REFERENCES customer, total int);
CREATE TABLE product (id int PRIMARY KEY, name text);
CREATE TABLE purchase_product (purchase_id int REFERENCES purchase, product_id int
  REFERENCES product, quantity int, price int, PRIMARY KEY (purchase_id, product_id));
INSERT INTO customer SELECT n, 'f' || n, 'l' || n, '2000-01-01' FROM generate_series(1, 5) n;
INSERT INTO purchase SELECT n, 1 + n % 5, n FROM generate_series(1, 9) n;
INSERT INTO product SELECT n, 'p' || n FROM generate_series(1, 4) n;
INSERT INTO purchase_product SELECT n, 1 + n % 4, n, 2 * n FROM generate_series(1, 9) n;
"""


def test_the_statements_make_the_graph_that_the_new_mapping_would_have_made(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    """After them the ledger of the new mapping balances, value by value, with nothing read."""
    dsn = make_database(SOURCE)
    old_file, new_file = tmp_path / "old.yaml", tmp_path / "new.yaml"
    target = tmp_path / "graph.grafeo"
    assert main(["map", "--source", dsn, "--output", str(old_file)]) == EXIT_OK
    both = ["--source", dsn, "--target", str(target), "--mapping"]
    assert main(["migrate", *both, str(old_file)]) == EXIT_OK
    new = old = load(old_file).mapping
    for before, after in (("Customer", "Aside"), ("Product", "Customer"), ("Aside", "Product")):
        new = edits.rename_label(new, before, after)
    buyer = new.nodes[0]
    for before, after in (("first", "aside"), ("last", "first"), ("aside", "last")):
        new = edits.rename_property(new, buyer, before, after)
        buyer = new.nodes[0]
    new = edits.replace_rule(new, buyer, replace(buyer, labels=("Person",)))
    bought = new.relationships[-1]
    new = edits.rename_type(new, bought, "BOUGHT")
    new = edits.rename_property(new, new.relationships[-1], "quantity", "pieces")
    loose = new.relationships[0]
    new = edits.set_included(new, loose, False)
    save(new, new_file)
    assert main(["validate", *both, str(new_file)]) == EXIT_DIFFERS

    found = steps(compare(old, new))
    assert not any(step.reads for step in found)
    graph = grafeo.GrafeoDB(str(target))
    for step in found:
        graph.execute(step.gql)
    graph.close()

    assert main(["validate", *both, str(new_file)]) == EXIT_OK
    labels = _labels_of(target, "Product")
    assert labels == [["Person", "Product"]] * 5


def _labels_of(target: Path, label: str) -> list[list[str]]:
    graph = grafeo.GrafeoDB(str(target))
    rows = list(graph.execute(f"MATCH (n:{label}) RETURN labels(n) AS l"))
    graph.close()
    return [sorted(row["l"]) for row in rows]


def test_two_labels_become_one_and_part_again() -> None:
    """Nodes of several rules under one label are marked first, so that nobody mixes them up."""
    apart = infer(SHOP)
    user, product = apart.node("User"), apart.node("Product")
    assert user is not None
    assert product is not None
    shared = edits.replace_rule(apart, user, replace(user, label="Thing", name="User"))
    shared = edits.replace_rule(shared, product, replace(product, label="Thing", name="Product"))
    graph = grafeo.GrafeoDB()
    graph.execute("INSERT (:User {id: 1}), (:User {id: 2}), (:Product {id: 1})")

    for step in steps(compare(apart, shared)):
        graph.execute(step.gql)
    assert _nodes(graph) == [
        (["Thing"], "Product", 1),
        (["Thing"], "User", 1),
        (["Thing"], "User", 2),
    ]
    for step in steps(compare(shared, apart)):
        graph.execute(step.gql)
    assert _nodes(graph) == [(["Product"], None, 1), (["User"], None, 1), (["User"], None, 2)]


def _nodes(graph: grafeo.GrafeoDB) -> list[tuple[list[str], str | None, int]]:
    rows = graph.execute("MATCH (n) RETURN labels(n) AS l, n._of AS rule, n.id AS id")
    return sorted(((row["l"], row["rule"], row["id"]) for row in rows), key=str)
