"""The JSON Schema of configurations: it takes what the server takes, and marks mistakes."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from proxy.cli.main import main
from proxy.settings.json_schema import configuration_schema
from proxy.settings.model import PLACES, TABLE
from proxy.settings.rows import Setting
from tests.docs.blocks import all_blocks

SCHEMA = configuration_schema()
VALIDATOR = Draft7Validator(SCHEMA)
CONFIGURATIONS = [block for block in all_blocks() if block.language == "toml"]

VALUES = st.one_of(
    st.booleans(),
    st.integers(-5, 70_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from([str(setting.facts.kind.example) for setting in TABLE]),
    st.lists(st.text(max_size=4), max_size=2),
)


def mistakes(text: str) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tomllib.loads(text))]


def test_it_is_a_schema_and_is_printed() -> None:
    Draft7Validator.check_schema(SCHEMA)
    printed = CliRunner().invoke(main, ["config-schema"])
    assert json.loads(printed.output) == json.loads(json.dumps(SCHEMA, allow_nan=False))


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_configurations_of_the_documentation_please_it(block: Any) -> None:
    assert mistakes(block.text) == []


def test_it_has_every_key_and_says_what_it_is() -> None:
    properties: Any = SCHEMA["properties"]
    for setting in TABLE:
        for key in setting.keys:
            assert properties[key]["description"]
    (table,) = properties["apps"]["patternProperties"].values()
    for setting in PLACES:
        assert setting.key in table["properties"]
        assert setting.key not in properties
    assert "server-port" not in table["properties"]


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.key)
@given(value=VALUES)
def test_what_the_server_takes_it_takes(setting: Setting, value: object) -> None:
    schema: Any = SCHEMA["properties"]
    try:
        setting.facts.kind.read(value)
    except ValueError:
        return
    # Text may be written as a number, and true for "not set"; an editor may say otherwise.
    kind = setting.facts.kind
    if not isinstance(value, str) and (kind.quoted or isinstance(value, bool)):
        return
    assert list(Draft7Validator(schema[setting.key]).iter_errors(value)) == []


@pytest.mark.parametrize("setting", TABLE, ids=lambda setting: setting.key)
def test_the_example_and_the_default_please_it(setting: Setting) -> None:
    schema: Any = SCHEMA["properties"]
    kind = setting.facts.kind
    example = f'"{kind.example}"' if kind.quoted else kind.example
    assert mistakes(f"{setting.key} = {example}") == []
    if "default" in schema[setting.key]:
        default = schema[setting.key]["default"]
        assert list(Draft7Validator(schema[setting.key]).iter_errors(default)) == []
        assert kind.read(default) == setting.default


@pytest.mark.parametrize(
    "text",
    [
        'db-anon-rol = "x"',
        "server-port = 70000",
        'log-level = "loud"',
        "db-anon-role = true",
        "db-pool = [1]",
        "db-pool-acquisition-timeout = -1",
        '[apps.Shop]\ndb-uri = "x"',
        "[apps.shop]\nserver-port = 1",
        "hosts = ['x']",
        '[cache.tables."api.items"]\nmax-agee = 1',
        '[cache.default]\nscope = "everybody"',
        "[cache.default.roles.editor]\nmax-age = -1",
    ],
)
def test_it_marks_mistakes(text: str) -> None:
    assert mistakes(text) != []


@pytest.mark.parametrize(
    "text",
    [
        'db-pool = "$(POOL)"',
        'log-level = "$(LEVEL)"',
        'server-port = "3000"',
        "[cache.tables.api.items]\nmax-age = 1",
        "[cache.functions.\"api.f\".roles.editor]\nscope = 'none'",
        '[apps.shop-2]\nhosts = ["x"]\ncache.default.max-age = 1\napp.settings.x = "y"',
    ],
)
def test_it_takes_what_files_may_say(text: str) -> None:
    assert mistakes(text) == []
