"""From foreign keys and view keys to the relationships between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.schema_cache.model import (
    AnyRelationship,
    ComputedRelationship,
    Junction,
    QualifiedName,
    Relationship,
)
from proxy.schema_cache.relationships import (
    ForeignKey,
    ViewKey,
    relationship_map,
    view_primary_keys,
)
from tests.schema_cache.conftest import api


def key(table: str, column: str, target: str, *, unique: bool = False) -> ForeignKey:
    return ForeignKey(
        api(table), api(target), f"{table}_{column}_fkey", ((column, "id"),), unique
    )


def described(rels: tuple[AnyRelationship, ...]) -> list[tuple[str, str, object]]:
    return [
        (rel.foreign_table.name, rel.cardinality, rel.columns)
        for rel in rels
        if isinstance(rel, Relationship)
    ]


def test_both_directions_of_a_foreign_key() -> None:
    found = relationship_map([key("films", "director", "people")], (), {}, (), ["api"])
    assert {k: described(v) for k, v in found.items()} == {
        (api("films"), "api"): [("people", "many-to-one", (("director", "id"),))],
        (api("people"), "api"): [("films", "one-to-many", (("id", "director"),))],
    }


def test_a_one_to_one_knows_its_parent() -> None:
    found = relationship_map(
        [key("details", "film", "films", unique=True)], (), {}, (), ["api"]
    )
    (child,), (parent,) = found[api("details"), "api"], found[api("films"), "api"]
    assert isinstance(child, Relationship)
    assert isinstance(parent, Relationship)
    assert (child.cardinality, child.is_parent) == ("one-to-one", False)
    assert (parent.cardinality, parent.is_parent) == ("one-to-one", True)


def test_a_junction_joins_both_ways_and_a_table_with_itself() -> None:
    keys = [key("roles", "film", "films"), key("roles", "actor", "people")]
    found = relationship_map(keys, (), {api("roles"): ("actor", "film", "id")}, (), ["api"])
    (to_people,) = [r for r in found[api("films"), "api"] if r.foreign_table == api("people")]
    assert isinstance(to_people, Relationship)
    assert to_people.junction == Junction(
        api("roles"),
        "roles_film_fkey",
        "roles_actor_fkey",
        (("id", "film"),),
        (("id", "actor"),),
    )
    keys = [key("friends", "one", "people"), key("friends", "other", "people")]
    found = relationship_map(keys, (), {api("friends"): ("one", "other")}, (), ["api"])
    junctions = [
        (r.is_self, r.junction.constraint1)
        for r in found[api("people"), "api"]
        if isinstance(r, Relationship) and r.junction
    ]
    assert junctions == [(True, "friends_one_fkey"), (True, "friends_other_fkey")]


def test_a_view_that_shows_a_key_column_twice() -> None:
    shown = ViewKey(
        api("films"), api("view"), "films_director_fkey", "foreign", (("one", "two"),)
    )
    found = relationship_map([key("films", "director", "people")], [shown], {}, (), ["api"])
    assert described(found[api("people"), "api"]) == [
        ("films", "one-to-many", (("id", "director"),)),
        ("view", "one-to-many", (("id", "one"),)),
        ("view", "one-to-many", (("id", "two"),)),
    ]


def test_a_view_on_both_sides_of_a_key_of_two_columns() -> None:
    constraint = ForeignKey(
        api("a"), api("b"), "key", (("a1", "b1"), ("a2", "b2")), is_unique=False
    )
    view_keys = [
        ViewKey(api("a"), api("view"), "key", "foreign", (("x",), ("y", "z"))),
        ViewKey(api("b"), api("view"), "key", "referenced", (("p",), ("q",))),
    ]
    found = relationship_map([constraint], view_keys, {}, (), ["api"])
    itself = [
        (r.is_self, r.cardinality, r.columns)
        for r in found[api("view"), "api"]
        if isinstance(r, Relationship) and r.foreign_table == api("view")
    ]
    assert itself == [
        (True, "one-to-many", (("p", "x"), ("q", "y"))),
        (True, "one-to-many", (("p", "x"), ("q", "z"))),
        (True, "many-to-one", (("x", "p"), ("y", "q"))),
        (True, "many-to-one", (("x", "p"), ("z", "q"))),
    ]


def test_a_computed_relationship_takes_the_place_of_detected_ones() -> None:
    films, people = api("films"), api("people")
    function = ComputedRelationship(people, films, people, True, False)
    found = relationship_map([key("films", "director", "people")], (), {}, [function], ["api"])
    assert found[films, "api"] == (function,)
    assert len(found[people, "api"]) == 1


def test_what_is_hidden_stays_hidden_but_its_table_stays_known() -> None:
    hidden = QualifiedName("private", "roles")
    keys = [
        ForeignKey(hidden, api("films"), "film", (("film", "id"),), is_unique=False),
        ForeignKey(hidden, api("people"), "actor", (("actor", "id"),), is_unique=False),
    ]
    found = relationship_map(keys, (), {hidden: ("film", "actor")}, (), ["api"])
    assert found[api("films"), "api"] == ()
    assert found[api("films"), "private"] == ()
    assert all(table.schema == "api" for table, _ in found)


def test_the_order_of_relationships() -> None:
    keys = [
        key("t", "z", "u", unique=True),
        key("t", "b", "u"),
        key("u", "c", "t"),
        key("t", "a", "u"),
        key("t", "own", "t"),
    ]
    computed = [ComputedRelationship(api("aa"), api("t"), api("u"), True, False)]
    found = relationship_map(keys, (), {api("t"): ("a", "b")}, computed, ["api"])
    *detected, last = found[api("t"), "api"]
    assert last is computed[0]
    assert described(tuple(detected)) == [
        ("t", "one-to-many", (("id", "own"),)),
        ("t", "many-to-one", (("own", "id"),)),
        ("u", "one-to-many", (("id", "c"),)),
        ("u", "many-to-one", (("a", "id"),)),
        ("u", "many-to-one", (("b", "id"),)),
        ("u", "one-to-one", (("z", "id"),)),
    ]


def test_primary_keys_of_views() -> None:
    shown = [
        ViewKey(api("a"), api("view"), "a_pkey", "primary", (("x", "y"), ("z",))),
        ViewKey(api("b"), api("view"), "b_pkey", "primary", (("id",),)),
        ViewKey(api("b"), api("view"), "fkey", "foreign", (("other",),)),
    ]
    assert view_primary_keys(shown) == {api("view"): ("id", "x", "z")}


table_names = st.sampled_from([api(n) for n in "abc"] + [QualifiedName("private", "p")])
column_names = st.sampled_from(["c1", "c2", "c3"])
foreign_keys = st.builds(
    ForeignKey,
    table_names,
    table_names,
    st.sampled_from(["k1", "k2", "k3"]),
    st.lists(st.tuples(column_names, column_names), min_size=1, max_size=2).map(tuple),
    st.booleans(),
)
primary_keys = st.dictionaries(table_names, st.lists(column_names).map(tuple))


@given(st.lists(foreign_keys, max_size=6), primary_keys, st.permutations(["api", "private"]))
def test_relationships_come_in_pairs_whatever_the_order_of_keys(
    keys: list[ForeignKey],
    own_keys: dict[QualifiedName, tuple[str, ...]],
    schemas: list[str],
) -> None:
    found = relationship_map(keys, (), own_keys, (), schemas)
    assert found == relationship_map(keys[::-1], (), own_keys, (), schemas)
    rels = [r for rels in found.values() for r in rels if isinstance(r, Relationship)]
    ends = [(r.table, r.foreign_table) for r in rels]
    assert sorted(ends) == sorted((there, here) for here, there in ends)
    assert all(r.is_self == (r.table == r.foreign_table) for r in rels)
    assert all((r.junction is None) == bool(r.columns) for r in rels)
