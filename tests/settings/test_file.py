"""Configuration files as people have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.errors import SettingsError
from proxy.settings.file import parse_file

POSTGREST_FILE = """\
# postgrest.conf

# The standard connection URI format
db-uri       = "postgres://user:pass@host:5432/dbname"
db-schemas   = "api"   # exposed
db-anon-role = "anon"
db-config = off
jwt-secret           = "reallyreallyreallyreallyverysafe$$1"
jwt-secret-is-base64 = false
jwt-role-claim-key = "$$.role"
server-port = 3000
app.settings.origin = "$(ORIGIN)/x"
app.settings.copy = "$(db-schemas):$(server-port)"
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_file_of_postgrest(newline: str, start: str) -> None:
    text = start + POSTGREST_FILE.replace("\n", newline)
    assert parse_file(text, {"ORIGIN": "https://o"}) == {
        "db-uri": "postgres://user:pass@host:5432/dbname",
        "db-schemas": "api",
        "db-anon-role": "anon",
        "db-config": False,
        "jwt-secret": "reallyreallyreallyreallyverysafe$1",
        "jwt-secret-is-base64": False,
        "jwt-role-claim-key": "$.role",
        "server-port": 3000,
        "app.settings.origin": "https://o/x",
        "app.settings.copy": "api:3000",
    }


def test_a_dollar_sign_alone_is_itself() -> None:
    assert parse_file('a = "$.role $x $"', {}) == {"a": "$.role $x $"}


def test_words_in_strings_are_left_alone() -> None:
    text = 'a = """\nb = on\n"""\nc = "d = off"\n'
    assert parse_file(text, {}) == {"a": "b = on\n", "c": "d = off"}


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(SettingsError, match=r"line 2.*every line reads like key = "):
        parse_file('a = "b"\nc = d\n', {})


@given(st.text())
def test_any_text_is_a_file_or_an_error(text: str) -> None:
    try:
        found = parse_file(text, {})
    except SettingsError as error:
        assert error.problems
    else:
        assert all(isinstance(key, str) for key in found)


@given(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z]", fullmatch=True).filter(
        lambda k: ".." not in k
    ),
    st.from_regex(r"[A-Z]{6,20}|'[A-Z]{6,20}|\"[A-Z]{6,20}|\[[A-Z]{6,20}", fullmatch=True),
    st.integers(0, 5),
)
def test_what_is_no_toml_is_told_by_its_key_and_not_by_its_value(
    key: str, value: str, before: int
) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_file("# a comment\n" * before + f"{key} = {value}\nother = 1\n", {})
    (problem,) = raised.value.problems
    assert problem.startswith((f"{key}: ", f"{key}, in line "))
    assert f"line {before + 1}" in problem
    assert value.strip("['\"") not in problem
