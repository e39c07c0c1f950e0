"""Policies: what configurations and comments may say, and which of them counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache_rules.policy import (
    Policies,
    Policy,
    PolicyError,
    make_policies,
    read_comment,
    read_policy_rows,
    without_policy_lines,
)
from proxy.schema_cache.model import QualifiedName, SchemaCache, Table
from proxy.settings.file import parse_file

ITEMS = QualifiedName("api", "items")


def cache(comment: str | None) -> SchemaCache:
    table = Table(*ITEMS, comment, False, True, True, True, (), {})
    return SchemaCache(tables={ITEMS: table})


def policies(configuration: str = "", comment: str | None = None) -> Policies:
    rows = read_policy_rows(parse_file(configuration, {}))
    return make_policies(rows, cache(comment), ("api",))


@pytest.mark.parametrize(
    "configuration, comment, role, expected",
    [
        ("", None, "anon", None),
        ("", "Things.", "anon", None),
        ("", "Things.\n@cache max-age=60", "anon", Policy(60)),
        ("", "@cache max-age=60 scope=role", "anon", Policy(60, scope="role")),
        ("", "@cache max-age=60\n@cache role=boss max-age=5", "boss", Policy(5)),
        ("", "@cache max-age=60\n@cache role=boss max-age=5", "anon", Policy(60)),
        (
            "",
            "@cache scope=role max-age=9\n@cache role=a max-age=5",
            "a",
            Policy(5, scope="role"),
        ),
        ("", "@cache role=boss max-age=5", "anon", None),
        ("", "@cache max-age=0", "anon", None),
        ("", "@cache max-age=9\n@cache role=a scope=none", "a", None),
        ("", "@cache max-age=9 stale-while-revalidate=9 scope=none", "anon", None),
        ("", "@cache max-age=5 reads=a,b.c writes=", "anon", Policy(5)),
        ("", "mail@cache.example max-age=1", "anon", None),
        ('[cache.tables."api.items"]\nmax-age = 7', None, "anon", Policy(7)),
        ("[cache.tables.items]\nmax-age = 7", None, "anon", Policy(7)),
        ('[cache.tables."api.items"]\nmax-age = "7"', None, "anon", Policy(7)),
        ("[cache.tables.items]\nmax-age = 7", "@cache max-age=60", "anon", Policy(7)),
        ("[cache.tables.items]\nmax-age = 0", "@cache max-age=60", "anon", None),
        ("[cache.default]\nmax-age = 7", None, "anon", Policy(7)),
        ("[cache.default]\nmax-age = 7", "@cache max-age=60", "anon", Policy(60)),
        (
            "[cache.tables.items]\nmax-age = 7\n[cache.tables.items.roles.boss]\nscope='role'",
            None,
            "boss",
            Policy(7, scope="role"),
        ),
        (
            "[cache.tables.items]\nmax-age=1\ns-maxage=2\nstale-while-revalidate=3\n"
            'stale-if-error=4\nscope="public"',
            None,
            "anon",
            Policy(1, 2, 3, 4, "public"),
        ),
    ],
)
def test_which_policy_counts(
    configuration: str, comment: str | None, role: str, expected: Policy | None
) -> None:
    assert policies(configuration, comment).find("tables", ITEMS, role) == expected


def test_names_with_dots() -> None:
    names = [
        QualifiedName("a.b", "c.d"),
        QualifiedName("api", "x.y"),
        QualifiedName("p", "q.r"),
    ]
    tables = {name: Table(*name, None, False, True, True, True, (), {}) for name in names}
    for number, written in enumerate(("a.b.c.d", "x.y", "p.q.r")):
        rows = read_policy_rows(parse_file(f'[cache.tables."{written}"]\nmax-age = 7', {}))
        found = make_policies(rows, SchemaCache(tables=tables), ("api",))
        for name in names:
            assert (found.find("tables", name, "anon") is None) is (name != names[number])


@pytest.mark.parametrize(
    "configuration",
    [
        "[cache.tables.items]\nmax-agee = 7",
        "[cache.tables.items]\nmax-age = -1",
        "[cache.tables.items]\nmax-age = true",
        "[cache.tables.items]\nmax-age = 1.5",
        "[cache.tables.items]\nscope = 'everybody'",
        "[cache.views.items]\nmax-age = 1",
        "[cache.default.items]\nmax-age = 1",
        "[cache]\nmax-age = 1",
    ],
)
def test_what_makes_no_sense_is_told(configuration: str) -> None:
    with pytest.raises(PolicyError, match=r"^cache\."):
        policies(configuration)


@pytest.mark.parametrize("line", ["@cache max-age", "@cache forever", "@cache scope=all"])
def test_a_comment_that_makes_no_sense_is_passed_over(line: str) -> None:
    found = policies("", line)
    assert not found
    assert "api.items" in found.faults[0]


@given(st.text(max_size=60))
def test_no_comment_is_too_strange(text: str) -> None:
    try:
        read_comment(f"@cache {text}")
    except PolicyError as error:
        assert str(error).startswith("@cache ")


def test_readers_of_the_description_see_the_rest() -> None:
    assert without_policy_lines("Things.\n@cache max-age=60\nMore.") == "Things.\nMore."
    assert without_policy_lines("@cache max-age=60") is None
    assert without_policy_lines(" As it was.") == " As it was."
