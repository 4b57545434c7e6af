"""A mapping: inferred with reasons, a file that people read, edits that can be undone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.catalog import Catalog, Column, TableName
from geode_tui.errors import MappingError
from geode_tui.mapping import names
from geode_tui.mapping.assess import assess
from geode_tui.mapping.check import check
from geode_tui.mapping.edits import (
    History,
    merge,
    rename_label,
    rename_property,
    rename_type,
    set_included,
    set_property_included,
)
from geode_tui.mapping.file import dump, load, mapping_hash, parse, save
from geode_tui.mapping.infer import infer
from geode_tui.mapping.model import (
    Endpoint,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
)
from tests.catalogs import INT, SHOP, TEXT, catalog, table


def _relationships(found: Mapping) -> dict[str, RelationshipRule]:
    return {rule.id: rule for rule in found.relationships}


def test_a_table_becomes_a_label_in_the_singular() -> None:
    """`order_items` is an OrderItem; a word that is no plural stays."""
    for name, label in {
        "users": "User",
        "categories": "Category",
        "order_items": "OrderItem",
        "status": "Status",
        "UserProfile": "UserProfile",
        "people": "Person",
        "2020_sales": "Label2020Sale",
        '"[/foo]"': "Foo",
        "日本": "Label",
    }.items():
        assert names.label_name(name) == label


def test_a_foreign_key_becomes_a_relationship_with_a_verb() -> None:
    """The column's name gives the verb where it has one, else the role."""
    found = {
        column: names.relationship_name((column,), table_name)[0]
        for column, table_name in {
            "created_by": "users",
            "reports_to": "employees",
            "ship_address_id": "addresses",
            "category_id": "categories",
            "id": "users",
            "territoryid": "territories",
        }.items()
    }
    assert found == {
        "created_by": "CREATED_BY",
        "reports_to": "REPORTS_TO",
        "ship_address_id": "HAS_SHIP_ADDRESS",
        "category_id": "IN_CATEGORY",
        "id": "HAS_USER",
        "territoryid": "IN_TERRITORY",
    }


def test_a_join_table_becomes_a_relationship_with_its_other_columns_as_properties() -> None:
    """Two foreign keys, both in the key: no node, and the quantity is kept."""
    found = infer(SHOP)
    assert found.node("OrderItem") is None
    rule = _relationships(found)["(Order)-[HAS_ITEM]->(Product)"]
    assert [p.name for p in rule.properties] == ["quantity"]
    assert "2 foreign keys" in rule.because


def test_a_join_table_with_one_more_key_column_keeps_it_as_the_relationships_key() -> None:
    """Two relationships between the same nodes are told apart by the rest of the key."""
    joined = table(
        "enrollments",
        "student_id course_id term",
        "student_id course_id term",
        (("student_id", "students", "id"), ("course_id", "courses", "id")),
    )
    found = infer(catalog(table("students", "id", "id"), table("courses", "id", "id"), joined))
    assert found.relationships[0].key == ("term",)


def test_a_table_that_others_point_at_is_a_node_though_it_joins_two() -> None:
    """A join table with references to it keeps its identity."""
    joined = table("visits", "a b", "a b", (("a", "users", "id"), ("b", "products", "id")))
    note = table("notes", "id a b", "id", (("a b", "visits", "a b"),))
    found = infer(catalog(*SHOP.tables, joined, note))
    assert found.node("Visit") is not None
    assert _relationships(found)["(Note)-[HAS_VISIT]->(Visit)"].end.columns == ("a", "b")


def test_a_self_reference_leads_from_the_row_to_the_row_it_points_at() -> None:
    """Direction follows the foreign key."""
    rule = _relationships(infer(SHOP))["(User)-[REFERRED_BY]->(User)"]
    assert rule.start == Endpoint("User", ("id",), ("id",))
    assert rule.end == Endpoint("User", ("referred_by",), ("id",))


def test_every_inferred_rule_has_its_reason() -> None:
    """Nobody has to guess why."""
    found = infer(SHOP)
    assert all(rule.because for rule in found.rules)


def test_a_table_without_a_key_is_mapped_and_the_assessment_says_what_that_means() -> None:
    """No key is a risk that is told, not a refusal."""
    found = infer(SHOP)
    rule = found.node("Log")
    assert rule is not None
    assert rule.key == ()
    assert "no_key" in [f.code for f in assess(found, SHOP) if f.subject == "public.log"]


def test_names_that_collide_after_cleaning_stay_distinct() -> None:
    """`a b` and `a_b` are two properties; two tables of one name are two labels."""
    twins = table("things", "id", "id")
    twins = replace(twins, columns=(*twins.columns, Column("a b", INT), Column("a_b", INT)))
    other = table("things", "id", "id", schema="other")
    found = infer(catalog(twins, other))
    assert [p.name for p in found.nodes[0].properties] == ["id", "aB", "aB2"]
    assert len({rule.label for rule in found.nodes}) == 2


def test_two_foreign_keys_to_one_table_give_two_relationships() -> None:
    """Bill and ship address are not mixed up."""
    orders = table(
        "orders",
        "id ship_address bill_address",
        "id",
        (("ship_address", "addresses", "id"), ("bill_address", "addresses", "id")),
    )
    found = infer(catalog(table("addresses", "id", "id"), orders))
    assert {r.type for r in found.relationships} == {"HAS_SHIP_ADDRESS", "HAS_BILL_ADDRESS"}


_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
_HOSTILE = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@st.composite
def _mappings(draw: st.DrawFn) -> Mapping:
    properties = draw(
        st.lists(
            st.builds(
                Property, _NAMES, _HOSTILE, st.sampled_from(["INT", "LIST<STRING>"]), st.booleans()
            ),
            unique_by=lambda p: p.name,
            max_size=4,
        ).map(tuple)
    )
    key = tuple(p.name for p in properties[:1])
    name = st.builds(TableName, _HOSTILE, _HOSTILE)
    nodes = draw(
        st.lists(
            st.builds(
                NodeRule, _NAMES, name, st.just(key), st.just(properties), _HOSTILE, st.booleans()
            ),
            max_size=3,
        ).map(tuple)
    )
    columns = draw(st.lists(_HOSTILE, max_size=2).map(tuple))
    end = st.builds(Endpoint, _NAMES, st.just(columns), st.just(columns))
    relationship = st.builds(
        RelationshipRule, _NAMES, name, end, end, st.just(key), st.just(properties), _HOSTILE
    )
    return Mapping(nodes, draw(st.lists(relationship, max_size=3).map(tuple)), draw(_HOSTILE))


@given(_mappings())
def test_a_mapping_comes_back_from_its_file_as_it_was(mapping: Mapping) -> None:
    """Whatever a name holds: quotes, colons, emoji, control characters."""
    assert parse(dump(mapping)).mapping == mapping


@given(_HOSTILE, _HOSTILE)
def test_a_tables_name_reads_back_as_it_was(schema: str, name: str) -> None:
    """schema.table, with quotes only where they are needed."""
    assert TableName.parse(str(TableName(schema, name))) == (schema, name)


def test_equal_mappings_have_equal_hashes_and_an_edit_changes_it() -> None:
    """A run can refuse a changed mapping."""
    first = infer(SHOP)
    assert mapping_hash(first) == mapping_hash(infer(SHOP))
    assert mapping_hash(first) != mapping_hash(rename_label(first, "User", "Person"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label: User", "label: [", "line"),
        ("label: User", "labl: User", "label"),
        ("type: INT", "type: INTT", "did you mean INT?"),
        ("public.users", "public.usrs", "did you mean public.users?"),
        ("column: referred_by", "column: refered_by", "did you mean referred_by?"),
        ("label: User", 'label: "a b"', "cannot be a label"),
        ("key: [id]", "key: [idd]", "did you mean id?"),
        ("version: 2", "version: 9", "version 9"),
        ("table: public.users", "table: users", "not schema.table"),
        ("{node: User, columns: [referred_by]", "{node: Usr, columns: [referred_by]", "User"),
    ],
)
def test_a_wrong_word_is_named_with_its_line_and_the_nearest_right_one(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    """An error in the file says where and what would be right."""
    text = dump(infer(SHOP))
    assert old in text
    damaged = text.replace(old, new, 1)
    line = next(
        n
        for n, (a, b) in enumerate(zip(text.split("\n"), damaged.split("\n"), strict=True), 1)
        if a != b
    )
    path = tmp_path / "mapping.yaml"
    path.write_text(damaged)
    with pytest.raises(MappingError) as caught:
        check(load(path), SHOP)
    told = str(caught.value)
    assert message in told
    assert "mapping.yaml line" in told
    if new != "label: [":
        assert f"line {line}:" in told


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Saving into a folder that is not there says so and leaves nothing."""
    with pytest.raises(MappingError):
        save(infer(SHOP), tmp_path / "missing" / "mapping.yaml")
    save(infer(SHOP), tmp_path / "mapping.yaml")
    assert [p.name for p in tmp_path.iterdir()] == ["mapping.yaml"]


def test_renaming_a_label_follows_it_to_its_relationships() -> None:
    """No relationship is left pointing at a name that is gone."""
    found = rename_label(infer(SHOP), "User", "Person")
    assert "(Order)-[HAS_USER]->(Person)" in _relationships(found)
    assert not [f for f in assess(found, SHOP) if f.severity == "action"]


def test_an_edit_that_cannot_be_is_refused_with_the_reason() -> None:
    """Taken names, impossible names, and a key's property."""
    found = infer(SHOP)
    user = found.nodes[0]
    with pytest.raises(MappingError, match="exists already"):
        rename_label(found, "User", "Order")
    with pytest.raises(MappingError, match="cannot be a label"):
        rename_label(found, "User", "_run")
    with pytest.raises(MappingError, match="part of the key"):
        set_property_included(found, user, "id", False)
    with pytest.raises(MappingError, match="exists already"):
        rename_property(found, user, "name", "id")


def test_a_relationship_to_an_excluded_label_does_not_move() -> None:
    """Excluding a label takes its relationships along, and the assessment says so."""
    found = infer(SHOP)
    user = found.node("User")
    assert user is not None
    found = set_included(found, user, False)
    assert all("User" not in rule.id for rule in found.active_relationships)
    left = [f.subject for f in assess(found, SHOP) if f.code == "not_moved"]
    assert "(Order)-[HAS_USER]->(User)" in left


def test_every_edit_can_be_undone_and_done_again() -> None:
    """Undo leads back to the first mapping, redo to the last."""
    first = infer(SHOP)
    history = History(first)
    history.apply(rename_label(history.current, "User", "Person"), "rename User")
    rule = history.current.relationships[0]
    history.apply(rename_type(history.current, rule, "SENT_BY"), "rename type")
    last = history.current
    assert history.undo() == "rename type"
    assert history.undo() == "rename User"
    assert history.current == first
    assert history.undo() == ""
    history.redo()
    history.redo()
    assert history.current == last


def test_a_merge_keeps_what_a_person_chose_and_adds_what_is_new() -> None:
    """After the source grew, names and choices stay, new columns and tables come."""
    edited = rename_label(infer(SHOP), "User", "Person")
    person = edited.nodes[0]
    edited = rename_property(edited, person, "name", "fullName")
    edited = set_property_included(edited, edited.nodes[0], "fullName", False)
    grown = _grown(SHOP)
    merged = merge(infer(grown), edited, grown)
    rule = merged.node("Person")
    assert rule is not None
    kept = rule.property_named("fullName")
    assert kept is not None
    assert not kept.include
    assert rule.property_named("email") is not None
    assert merged.node("Coupon") is not None
    assert "(Order)-[HAS_USER]->(Person)" in _relationships(merged)
    assert not [f for f in assess(merged, grown) if f.severity == "action"]


def _grown(old: Catalog) -> Catalog:
    users = replace(old.tables[0], columns=(*old.tables[0].columns, Column("email", TEXT)))
    return catalog(users, *old.tables[1:], table("coupons", "id", "id"))


def test_merging_nothing_new_changes_nothing() -> None:
    """A merge can be repeated."""
    edited = rename_label(infer(SHOP), "User", "Person")
    assert merge(infer(SHOP), edited, SHOP) == edited


def test_what_the_mapping_leaves_behind_is_a_finding() -> None:
    """A table that no rule names is not forgotten in silence."""
    found = infer(SHOP)
    grown = catalog(*SHOP.tables, table("coupons", "id", "id"))
    codes = {f.subject: f.code for f in assess(found, grown)}
    assert codes["public.coupons"] == "not_mapped"


def test_a_key_that_is_none_is_refused() -> None:
    """A node is known by a key of its table, else two rows could become one."""
    found = infer(SHOP)
    text = dump(found).replace("key: [id]", "key: [name]", 1)
    with pytest.raises(MappingError, match="no key"):
        check(parse(text), SHOP)
