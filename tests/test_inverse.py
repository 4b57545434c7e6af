"""The inverse of a mapping: what comes back into which column, and what does not, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from geode_tui.catalog import Catalog, Column, DataType, Key, Table, TableName
from geode_tui.mapping.assess import assess
from geode_tui.mapping.edits import replace_rule
from geode_tui.mapping.infer import infer
from geode_tui.mapping.inverse import Inverse, TableInverse, invert
from geode_tui.mapping.model import Join, LabelBy, Mapping, NodeRule, Property
from tests.catalogs import INT, SHOP, TEXT, catalog, table

USER = TableName("public", "users")


def shop(**changes: Any) -> Mapping:
    """The mapping of the sample catalog, with changes to the rule of users."""
    made = infer(SHOP)
    user = made.nodes[0]
    return replace_rule(made, user, replace(user, **changes)) if changes else made


def of(found: Inverse, name: str) -> TableInverse:
    return next(one for one in found.tables if one.table.name.name == name)


def why(found: Inverse, rule: str) -> list[str]:
    return [lack.why for lack in found.lacks if lack.rule == rule]


def test_an_inferred_mapping_comes_back_whole() -> None:
    """Columns from properties, foreign keys from relationships, rows of tables that only join."""
    found = invert(shop(), SHOP)
    users, orders, items = of(found, "users"), of(found, "orders"), of(found, "order_items")
    assert (users.key_columns, [g.column for g in users.columns]) == (
        ("id",),
        ["name", "referred_by"],
    )
    assert users.redundant == {"referred_by"}
    [own, *_] = users.references
    assert (own.columns[0].column, own.columns[0].property, own.cleared) == (
        "referred_by",
        "id",
        ("referred_by",),
    )
    assert {one.rule: one.cleared for one in orders.references} == {
        "(Order)-[HAS_USER]->(User)": ()
    }
    assert items.joins
    assert items.key_columns == ("order_id", "product_id")
    assert [g.column for g in items.columns] == ["quantity"]
    assert why(found, "Log") == ["its rows have no key"]


def test_what_is_pointed_at_comes_before_what_points() -> None:
    names = [one.table.name.name for one in invert(shop(), SHOP).tables]
    assert names.index("users") < names.index("orders") < names.index("order_items")
    assert names.index("products") < names.index("order_items")


def test_tables_that_point_at_each_other_have_an_order_all_the_same() -> None:
    circle = catalog(
        table("a", "id b?", "id", (("b", "b", "id"),)),
        table("b", "id a?", "id", (("a", "a", "id"),)),
    )
    assert len(invert(infer(circle), circle).tables) == 2


def test_statements_quote_names_and_cast_texts() -> None:
    """Whatever the names: they are in double quotes, and values are parameters."""
    hostile = TableName('s"1', 'T %s "x"')
    column = Column('a"b', INT, nullable=False)
    made = Table(hostile, "table", (column, Column("$1", TEXT)), Key("k", ('a"b',)))
    [one] = invert(infer(Catalog(tables=(made,))), Catalog(tables=(made,))).tables
    assert one.insert_sql(('a"b', "$1")) == (
        'INSERT INTO "s""1"."T %s ""x""" ("a""b", "$1") SELECT CAST(r.c0 AS integer),'
        " CAST(r.c1 AS text) FROM unnest($1::text[], $2::text[]) AS r(c0, c1)"
    )
    assert one.update_sql(("$1",)) == (
        'UPDATE ONLY "s""1"."T %s ""x""" AS t SET "$1" = CAST(r.c1 AS text)'
        " FROM unnest($1::text[], $2::text[]) AS r(c0, c1)"
        ' WHERE t."a""b" = CAST(r.c0 AS integer)'
    )
    assert one.delete_sql == (
        'DELETE FROM ONLY "s""1"."T %s ""x""" AS t USING unnest($1::text[]) AS r(c0)'
        ' WHERE t."a""b" = CAST(r.c0 AS integer)'
    )


RULES: dict[str, tuple[dict[str, Any], str]] = {
    "a condition": ({"where": "id > 5"}, "its condition leaves rows out"),
    "rows merged": ({"keep_first": "id"}, "several rows became one node"),
    "no key": ({"key": ()}, "its rows have no key"),
    "a key that is not unique": ({"key": ("name",)}, "no unique key of the table says"),
    "a key by expression": (
        {"properties": (Property("id", "id", "INT", expression="id + 1"),)},
        "its key is not columns as they are",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_a_rule_that_is_not_inverted_says_why(case: str) -> None:
    """None of its rows comes back, nor foreign keys of theirs."""
    changes, told = RULES[case]
    found = invert(shop(**changes), SHOP)
    assert "User" not in found.rules
    assert told in found.why_not("User")
    assert [lack.weight for lack in found.lacks if lack.rule == "User"] == ["rows"]
    assert "(User)-[REFERRED_BY]->(User)" not in found.rules
    assert found.why_not("(User)-[REFERRED_BY]->(User)")


def test_two_rules_of_one_table_are_not_inverted() -> None:
    """A row is two nodes: which of them says what it is?"""
    made = shop()
    twice = replace(made, nodes=(*made.nodes, replace(made.nodes[0], label="Again")))
    found = invert(twice, SHOP)
    assert why(found, "User") == ["several rules make nodes of its rows: User, Again"]
    assert "Again" not in found.rules


def test_views_and_queries_are_not_inverted() -> None:
    view = replace(SHOP.tables[0], kind="view")
    assert "is a view: its rows are other tables' rows" in invert(
        shop(), Catalog(tables=(view, *SHOP.tables[1:]))
    ).why_not("User")


COLUMNS: dict[str, tuple[Property, str]] = {
    "an expression": (
        Property("name", "name", "INT", expression="name * 2"),
        "name is made by an expression",
    ),
    "a joined table": (
        Property("name", "name", "INT", join="other"),
        "name is of the joined table other",
    ),
    "a type that rounds": (
        Property("name", "wide", "FLOAT"),
        "name as FLOAT does not hold wide exactly",
    ),
    "a generated column": (
        Property("name", "made", "INT"),
        "made is a generated column: PostgreSQL makes it",
    ),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_property_that_gives_no_column_back_says_why(case: str) -> None:
    """The rule is inverted, that column stays as it is."""
    item, told = COLUMNS[case]
    wide = Column("wide", DataType("numeric", "numeric"))
    made = Column("made", INT, generated="id * 2")
    users = replace(SHOP.tables[0], columns=(*SHOP.tables[0].columns, wide, made))
    source = Catalog(tables=(users, *SHOP.tables[1:]))
    key = Property("id", "id", "INT")
    join = Join("other", TableName("public", "products"), ("id",), ("id",))
    found = invert(shop(properties=(key, item), joins=(join,)), source)
    assert "User" in found.rules
    assert found.why_not("User", ["name"]) == told
    assert found.why_not("User", ["id"]) == ""
    assert [g.column for g in of(found, "users").columns] == []


def test_a_column_that_is_not_in_the_graph_gets_its_default_or_forbids_new_rows() -> None:
    columns = (
        *SHOP.tables[0].columns,
        Column("free", TEXT),
        Column("filled", TEXT, nullable=False, default="'x'"),
        Column("needed", TEXT, nullable=False),
    )
    users = replace(SHOP.tables[0], columns=columns)
    found = invert(shop(), Catalog(tables=(users, *SHOP.tables[1:])))
    assert why(found, "User") == [
        "new rows get NULL in free",
        "new rows get the default in filled",
        "needed is not in the graph and must not be NULL: no new rows",
    ]
    assert of(found, "users").no_insert == (
        "nothing in the graph gives needed, which must not be NULL"
    )


def test_labels_by_value_are_given_by_the_row_and_not_back() -> None:
    found = invert(shop(labels_by=LabelBy("name", (("1", "One"),))), SHOP)
    assert why(found, "User") == ["labels are given by name, not the other way round"]
    assert "User" in found.rules


def test_a_relationship_with_a_condition_is_not_inverted() -> None:
    """What a column points at depends on another one: its property gives it back."""
    made = shop()
    number = next(n for n, rule in enumerate(made.relationships) if rule.type == "REFERRED_BY")
    rules = list(made.relationships)
    rules[number] = replace(rules[number], where="id > 5")
    found = invert(replace(made, relationships=tuple(rules)), SHOP)
    assert rules[number].id not in found.rules
    assert of(found, "users").redundant == frozenset()
    assert "referred_by" in [g.column for g in of(found, "users").columns]


def test_a_table_that_joins_needs_a_key_within_what_its_relationship_is_known_by() -> None:
    """Two rows could be the same relationship."""
    items = replace(SHOP.tables[3], primary_key=None)
    source = catalog(*(items if t.name == items.name else t for t in SHOP.tables))
    found = invert(infer(source), source)
    assert all(one.table.name.name != "order_items" for one in found.tables)
    [told] = {lack.why for lack in found.lacks if lack.table.name == "order_items"}
    assert told in (
        "its rows have no key",
        "no unique key of the table lies within what identifies a relationship",
    )


def test_a_foreign_key_to_what_the_graph_does_not_hold_is_not_given_back() -> None:
    """The node at its end has no property that is the column it points at."""
    code = Key("code", ("code",))
    products = table("products", "id code", "id")
    products = replace(products, unique_keys=(code,))
    sales = table("sales", "id product?", "id", (("product", "products", "code"),))
    source = catalog(products, sales)
    made = infer(source)
    rule = made.nodes[0]
    lookup = invert(made, source)
    assert of(lookup, "sales").references[0].columns[0].property == "code"
    left_out = tuple(replace(p, include=p.name != "code") for p in rule.properties)
    found = invert(replace_rule(made, rule, replace(rule, properties=left_out)), source)
    assert of(found, "sales").references == ()
    assert any("which product points at" in lack.why for lack in found.lacks)


def test_the_settled_mapping_leaves_out_what_only_repeats_a_relationship() -> None:
    """Keys stay, even where they are foreign keys."""
    settled = invert(shop(), SHOP).settled
    user = settled.node("User")
    assert user is not None
    assert [p.name for p in user.included_properties] == ["id", "name"]


def test_assess_says_before_a_run_what_cannot_be_led_back() -> None:
    """One finding for each table, with the reasons; nothing where all comes back."""
    assert not [f for f in assess(shop(), SHOP) if f.code == "not_inverted"]
    properties = (
        Property("id", "id", "INT"),
        Property("name", "name", "INT", expression="name * 2"),
    )
    [found] = [f for f in assess(shop(properties=properties), SHOP) if f.code == "not_inverted"]
    assert (found.severity, found.subject) == ("information", "public.users")
    assert "User: name is made by an expression" in found.evidence


def test_a_mapping_that_does_not_fit_is_inverted_as_far_as_it_goes() -> None:
    """Misfits are told elsewhere; here they make nothing fail."""
    gone = NodeRule("Gone", TableName("public", "gone"), ("id",), (Property("id", "id", "INT"),))
    wrong = NodeRule("Wrong", USER, ("id",), (Property("id", "no_such", "INT"),))
    found = invert(Mapping((gone, wrong)), SHOP)
    assert found.tables == ()
    assert found.why_not("Wrong")
