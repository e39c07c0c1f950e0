"""Both syntaxes of jwt-role-claim-key, on the claims of the providers people use."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.role_claim import extract_role, parse_role_claim

CLAIMS: dict[str, Any] = {
    "role": "author",
    "postgrest": {"roles": ["other", "author", 3, None]},
    "https://www.example.com/role": {"key": "author"},
    "user-role": "dashed",
    "a.b": "dotted",
    "$x_@1": "odd",
    "mixed": [1, {"a": "b"}, "grp_app_writer", "app_reader"],
    "nothing": None,
}


@pytest.mark.parametrize(
    "path, role",
    [
        ("$.role", "author"),
        ("$['role']", "author"),
        ("$.postgrest.roles[1]", "author"),
        ("$.postgrest.roles[-3]", "author"),
        ("$.postgrest.roles[9]", None),
        ("$.postgrest.roles[2]", "3"),
        ("$.postgrest.roles[3]", "null"),
        ("$['https://www.example.com/role'].key", "author"),
        ("$.postgrest.roles[?(@ == 'author')]", "author"),
        ("$.postgrest.roles[?@ != 'other']", "author"),
        ("$.postgrest.roles[?search(@, '^au')]", "author"),
        ("$.postgrest.roles[?search(@, '^th')]", None),
        ("$.mixed[?search(@, 'reader$')]", "app_reader"),
        ("$.mixed[?search(@, 'app')]", "grp_app_writer"),
        ("$..key", "author"),
        ("$.nothing", "null"),
        ("$.none", None),
        ("$.role.deeper", None),
        ("$.postgrest.roles[0:1]", "other"),
    ],
)
def test_json_path(path: str, role: str | None) -> None:
    claim = parse_role_claim(path)
    assert not claim.deprecated
    assert extract_role(claim, CLAIMS) == role


@pytest.mark.parametrize(
    "path, role",
    [
        (".role", "author"),
        ('."role"', "author"),
        (".postgrest.roles[1]", "author"),
        (".postgrest.roles[9]", None),
        (".postgrest.roles[2]", "3"),
        ('."https://www.example.com/role".key', "author"),
        ('."user-role"', "dashed"),
        ('."a.b"', "dotted"),
        (".$x_@1", "odd"),
        ('.postgrest.roles[?(@ == "author")]', "author"),
        ('.postgrest.roles[?(@=="author")]', "author"),
        ('.postgrest.roles[?(@ != "other")]', "author"),
        ('.mixed[?(@ ^== "app")]', "app_reader"),
        ('.mixed[?(@ ==^ "writer")]', "grp_app_writer"),
        ('.mixed[?(@ *== "app")]', "grp_app_writer"),
        ('.mixed[?(@ == "b")]', None),
        ('.role[?(@ == "author")]', None),
        (".mixed[1].a", "b"),
        (".postgrest[0]", None),
        (".nothing", "null"),
        (".none", None),
        (".role.deeper", None),
    ],
)
def test_the_syntax_before_16(path: str, role: str | None) -> None:
    claim = parse_role_claim(path)
    assert claim.deprecated
    assert extract_role(claim, CLAIMS) == role


@pytest.mark.parametrize(
    "path",
    [
        "",
        "role",
        ".",
        "..role",
        "$$.role",
        "$.role junk",
        ".role junk",
        ".a[-1]",
        ".a[x]",
        '.a[?(@ == "x")].b',
        '.a[?(@ ~ "x")]',
        ".a[?(@ == 'x')]",
        ".user-role",
        "$.r[?length(@) == 3]",
        "$.r[?match(@, 'a')]",
    ],
)
def test_neither_syntax(path: str) -> None:
    with pytest.raises(ValueError, match="failed to parse role-claim-key value"):
        parse_role_claim(path)


@given(st.text(max_size=30) | st.from_regex(r"[.$\[\]?(@= \"a0)]{1,12}", fullmatch=True))
def test_any_text_is_a_path_or_a_value_error(text: str) -> None:
    try:
        claim = parse_role_claim(text)
    except ValueError:
        return
    assert isinstance(extract_role(claim, CLAIMS), str | None)
