"""Names reach Geode clean, always in the same way; names that become one stop a run before it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geode_tui.catalog import TableName
from geode_tui.errors import MappingError
from geode_tui.mapping.model import (
    FINGERPRINT,
    OF,
    ROW,
    RUN,
    STEP,
    Endpoint,
    LabelBy,
    Mapping,
    NodeRule,
    Property,
    RelationshipRule,
)
from geode_tui.migration import versions
from geode_tui.migration.target_names import (
    mapping_findings,
    require_distinct_names,
    shape_findings,
)
from geode_tui.target.geode_names import GQL_RESERVED, RESERVED, clean, collisions
from geode_tui.target.model import NodeShape, RelationshipShape

GEODE = "quic://ann@geode1:3141/shop"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
NAMES = (
    st.text(max_size=200)
    | st.text(alphabet="aZ_9 é😀-", max_size=140)
    | st.sampled_from([word.upper() for word in sorted(GQL_RESERVED)])
)


@given(NAMES)
def test_every_name_becomes_one_that_geode_takes(name: str) -> None:
    """Whatever PostgreSQL allows: quotes, spaces, emoji, nothing at all."""
    made = clean(name)
    assert NAME.fullmatch(made)
    assert made.lower() not in RESERVED


@given(NAMES)
def test_a_clean_name_stays_clean(name: str) -> None:
    """A name can be cleaned any number of times."""
    assert clean(clean(name)) == clean(name)


@given(st.from_regex(NAME, fullmatch=True))
def test_a_good_name_keeps_its_spelling(name: str) -> None:
    """Only the words that join a statement get a mark."""
    assert clean(name) == (f"{name}_" if name.lower() in RESERVED else name)


@pytest.mark.parametrize("name", [RUN, STEP, FINGERPRINT, ROW, OF, versions.LABEL, "_fingerprint"])
def test_our_own_names_stay(name: str) -> None:
    assert clean(name) == name


@pytest.mark.parametrize("name", ["date", "value", "count", "type", "year", "start", "Product"])
def test_common_names_stay_though_the_standard_reserves_them(name: str) -> None:
    assert clean(name) == name


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Order", "Order_"),
        ("GROUP", "GROUP_"),
        ("end", "end_"),
        ("Größe", "Grosse"),
        ("café au lait", "cafe_au_lait"),
        ('"[/foo]"', "foo"),
        ("a -- b", "a_b"),
        ("2024", "_2024"),
        ("2nd", "_2nd"),
        ("😀", "_u1F600"),
        ("", "_"),
        ("%", "_u0025"),
        ("имя_1", "_u0438_u043C_u044F_1"),
        ("注文", "_u6CE8_u6587"),
    ],
)
def test_a_cleaned_name_can_be_read(name: str, made: str) -> None:
    assert clean(name) == made


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = clean("é" * 130 + "a"), clean("é" * 130 + "b")
    assert len(one) == 128
    assert one != other


def test_names_of_other_scripts_stay_apart() -> None:
    assert not collisions(["имя", "дата", "注文", "商品"])


def test_names_that_become_one_are_told_in_groups() -> None:
    names = ["a b", "Order", "x", "a-b", "Order_", "a_b", "x"]
    assert collisions(names) == [("a b", "a-b", "a_b"), ("Order", "Order_")]


@given(st.lists(NAMES, max_size=20))
def test_names_outside_the_groups_are_all_different(names: list[str]) -> None:
    """What `collisions` does not name can be written."""
    groups = collisions(names)
    grouped = {name for group in groups for name in group}
    rest = [clean(name) for name in set(names) - grouped]
    assert len(set(rest)) == len(rest)
    for group in groups:
        assert len({clean(name) for name in group}) == 1
        assert len(group) > 1


# -- findings --------------------------------------------------------------------------------------


def _node(label: str, *properties: str, labels_by: LabelBy | None = None) -> NodeRule:
    made = tuple(Property(name, name, "STRING") for name in ("id", *properties))
    return NodeRule(label, TableName("s", label), ("id",), made, labels_by=labels_by)


def _link(type_: str, start: str, end: str, *properties: str) -> RelationshipRule:
    made = tuple(Property(name, name, "STRING") for name in properties)
    ends = Endpoint(start, ("a",), ("id",)), Endpoint(end, ("b",), ("id",))
    return RelationshipRule(type_, TableName("s", "t"), *ends, properties=made)


def _codes(mapping: Mapping, place: str = GEODE) -> list[tuple[str, str, str]]:
    return [(f.severity, f.code, f.subject) for f in mapping_findings(mapping, place)]


def test_a_changed_name_is_told_with_the_old_and_the_new() -> None:
    """And stops nothing."""
    [found] = mapping_findings(Mapping((_node("Order", "end", "total"),)), GEODE)
    assert (found.severity, found.code, found.subject) == ("information", "name_changed", "Order")
    assert found.evidence == "label Order becomes Order_, property end becomes end_"
    assert not found.blocks


def test_two_labels_that_become_one_stop_a_run() -> None:
    mapping = Mapping((_node("Order"), _node("Order_")))
    [found] = [f for f in mapping_findings(mapping, GEODE) if f.blocks]
    assert (found.code, found.subject) == ("names_meet", "Order_")
    assert "labels Order and Order_ become one" in found.message
    assert "Order" in found.evidence
    assert "rename" in found.mend
    assert not found.waivable
    with pytest.raises(MappingError, match="become one"):
        require_distinct_names(mapping, GEODE)


def test_a_label_that_a_value_gives_counts_too() -> None:
    by = LabelBy("kind", (("o", "Order_"),))
    mapping = Mapping((_node("Order"), _node("Event", labels_by=by)))
    assert ("action", "names_meet", "Event") in _codes(mapping)


def test_two_relationship_types_that_become_one_stop_a_run() -> None:
    mapping = Mapping((_node("A"), _node("B")), (_link("IN", "A", "B"), _link("IN_", "B", "A")))
    assert ("action", "names_meet", "(B)-[IN_]->(A)") in _codes(mapping)


def test_two_properties_of_a_label_that_become_one_stop_a_run() -> None:
    """Also where two rules bring one each to the same label; of two labels they may."""
    assert ("action", "names_meet", "A") in _codes(Mapping((_node("A", "end", "end_"),)))
    two = (_node("A", "end"), NodeRule("A", TableName("s", "x"), (), _node("A", "end_").properties))
    assert any(code == "names_meet" for _, code, _ in _codes(Mapping(two)))
    apart = Mapping((_node("A", "end"), _node("B", "end_")))
    assert not any(code == "names_meet" for _, code, _ in _codes(apart))


def test_two_properties_of_a_type_that_become_one_stop_a_run() -> None:
    mapping = Mapping((_node("A"),), (_link("T", "A", "A", "end", "end_"),))
    assert ("action", "names_meet", "(A)-[T]->(A)") in _codes(mapping)


def test_a_label_and_a_type_may_have_one_name() -> None:
    mapping = Mapping((_node("T"),), (_link("T", "T", "T"),))
    assert _codes(mapping) == []


def test_other_targets_change_no_name() -> None:
    mapping = Mapping((_node("Order"), _node("Order_")))
    assert _codes(mapping, "shop.grafeo") == []
    require_distinct_names(mapping, "shop.grafeo")


def test_names_in_files_are_held_to_the_same() -> None:
    order, event = NodeShape("Order", ("id",), ("id",)), NodeShape("Order_", ("id",), ("id",))
    link = RelationshipShape("OF", order, event, (), ("end", "end_"))
    found = shape_findings([("o", order), ("e", event), ("l", link)], GEODE)
    assert [(f.code, f.subject) for f in found if f.blocks] == [
        ("names_meet", "e"),
        ("names_meet", "l"),
    ]
