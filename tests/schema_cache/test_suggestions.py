"""Hints for names that nobody knows."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.schema_cache.fuzzy import FuzzySet, levenshtein
from proxy.schema_cache.model import (
    Function,
    Parameter,
    QualifiedName,
    Relationship,
    SchemaCache,
    Table,
)
from proxy.schema_cache.suggestions import function_hint, relationship_hint, table_hint
from tests.schema_cache.conftest import api


@pytest.mark.parametrize(
    "strings, query, expected",
    [
        (["Jurassic Park", "Terminator", "The Matrix"], "percolator", [(0.6, "Terminator")]),
        (["films"], "FILMS", [(1.0, "films")]),
        (["films"], "film", [(0.8, "films")]),
        (["items", "item_log", "orders"], "item", [(0.8, "items"), (0.5, "item_log")]),
        (["ab"], "xy", []),
        (["abcdefghij"], "ab", []),
        ([], "anything", []),
        (["films"], "", []),
        (["", "x"], "", [(1.0, "")]),
        # Equally near: the last of the list comes first.
        (["cat1", "cat2", "cat3"], "cat", [(0.75, "cat3"), (0.75, "cat2"), (0.75, "cat1")]),
        # Underscores do not count for candidates, but for the score.
        (["user_roles"], "userroles", [(0.9, "user_roles")]),
        (["Films", "films", "FILMS"], "films", [(1.0, "films")]),
        (["Films", "FILMS"], "films", [(1.0, "Films")]),
    ],
)
def test_approximate_spellings(
    strings: list[str], query: str, expected: list[tuple[float, str]]
) -> None:
    assert FuzzySet(strings).get(query) == expected


def test_ties_among_many_are_broken_as_in_a_trie_of_32_branches() -> None:
    strings = [f"item{chr(0x4E00 + n)}" for n in range(40)]
    best = [string for _, string in FuzzySet(strings).get("itemx", 0.1)]
    # Number n of the trie was added n-th, counted from the end of the list.
    order = sorted(range(40), key=lambda n: (n % 32, n // 32))
    assert best == [strings[39 - n] for n in order]


def by_the_table(one: str, other: str) -> int:
    """The edit distance as it is defined."""
    row = list(range(len(other) + 1))
    for at, character in enumerate(one, 1):
        diagonal, row[0] = row[0], at
        for place, wanted in enumerate(other, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (character != wanted))
            diagonal, row[place] = row[place], best
    return row[-1]


@given(st.text("abcé", max_size=90), st.text("abcé", max_size=90))
def test_the_distance_is_the_number_of_edits(one: str, other: str) -> None:
    assert levenshtein(one, other) == by_the_table(one, other)


def test_long_names_are_compared_at_once() -> None:
    began = time.thread_time()
    levenshtein("ab" * 10_000, "ba" * 1_000)
    assert time.thread_time() - began < 0.5


def test_a_long_query_is_not_compared_at_length() -> None:
    index = FuzzySet([f"table_{n}" for n in range(400)])
    start = time.perf_counter()
    assert index.get("table_" * 200_000) == []
    assert index.get("table_" * 3, 0.5) == []
    # Comparing the first one would take minutes.
    assert time.perf_counter() - start < 5


@given(st.lists(st.text(max_size=8), max_size=8), st.text(max_size=8), st.floats(0.1, 1))
def test_scores_fall_and_belong_to_strings_of_the_set(
    strings: list[str], query: str, min_score: float
) -> None:
    found = FuzzySet(strings).get(query, min_score)
    scores = [score for score, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert all(min_score <= score <= 1 for score in scores)
    assert {string for _, string in found} <= set(strings)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_what_is_in_the_set_is_found_whole(strings: list[str]) -> None:
    index = FuzzySet(strings)
    for string in strings:
        ((score, found),) = index.get(string)
        assert (score, found.lower()) == (1.0, string.lower())


def table(name: QualifiedName) -> Table:
    return Table(*name, None, False, True, True, True, (), {})


def function(name: str, *parameters: str) -> Function:
    return Function(
        schema="api",
        name=name,
        description=None,
        parameters=tuple(Parameter(p, "int", "int", True, False) for p in parameters),
        return_type=QualifiedName("pg_catalog", "int4"),
        returns_set=False,
        returns_composite=False,
        returns_composite_alias=False,
        volatility="volatile",
        has_variadic=False,
        isolation=None,
        settings=(),
    )


def test_a_table_of_the_same_schema() -> None:
    names = [api("projects"), QualifiedName("private", "clients")]
    cache = SchemaCache(tables={name: table(name) for name in names})
    assert table_hint(cache, api("project")) == ("Perhaps you meant the table 'api.projects'")
    assert table_hint(cache, api("clients")) is None
    assert table_hint(cache, api("pro")) is None
    assert table_hint(cache, QualifiedName("nowhere", "projects")) is None


@pytest.mark.parametrize("count, expected", [(499, True), (500, False)])
def test_no_hint_among_500_tables(count: int, expected: bool) -> None:
    names = [api("projects"), *(api(f"t{n}") for n in range(count - 1))]
    cache = SchemaCache(tables={name: table(name) for name in names})
    assert bool(table_hint(cache, api("project"))) is expected


@pytest.mark.parametrize(
    "name, arguments, expected",
    [
        ("testt", ["val", "param", "name"], "api.test"),
        ("other", [], None),
        ("noclosealternative", [], None),
        ("test", ["vall", "pqaram", "nam"], "api.test(name, param, val)"),
        ("test", ["val", "param"], "api.test(name, param, val)"),
        ("test", ["id", "attrs"], "api.test(attr, id)"),
        ("test", ["id"], "api.test(attr, id)"),
        ("test", ["noclosealternative"], None),
    ],
)
def test_functions(name: str, arguments: list[str], expected: str | None) -> None:
    overloads = (function("test", "val", "param", "name"), function("test", "id", "attr"))
    cache = SchemaCache(
        functions={
            api("test"): overloads,
            api("another"): (function("another"),),
            QualifiedName("private", "other"): (function("other"),),
        }
    )
    hint = expected and f"Perhaps you meant to call the function {expected}"
    assert function_hint(cache, api(name), arguments) == hint


@pytest.mark.parametrize(
    "parent, child, schema, expected",
    [
        ("film", "directors", "api", "'films' instead of 'film'"),
        ("films", "role", "api", "'roles' instead of 'role'"),
        ("films", "actors", "api", None),
        ("noclosealternative", "roles", "api", None),
        ("films", "noclosealternative", "api", None),
        ("films", "roles", "nowhere", None),
        ("alone", "films", "api", None),
    ],
)
def test_relationships(parent: str, child: str, schema: str, expected: str | None) -> None:
    related = tuple(
        Relationship(api("films"), api(name), False, "many-to-one", "key", (("a", "b"),))
        for name in ("directors", "roles", "actors")
    )
    cache = SchemaCache(
        relationships={(api("films"), "api"): related, (api("alone"), "api"): ()}
    )
    hint = expected and f"Perhaps you meant {expected}."
    assert relationship_hint(cache, schema, parent, child) == hint
