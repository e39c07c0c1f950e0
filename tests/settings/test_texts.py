"""What is made from the table: the dump, the example file, the documentation."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import Settings, load_settings
from proxy.settings.docs import configuration_markdown
from proxy.settings.dump import dump_settings, example_file
from proxy.settings.file import parse_file
from proxy.settings.model import TABLE
from proxy.settings.rows import Setting

ROOT = Path(__file__).parents[2]

_PRINTABLE = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)
_NAME = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@st.composite
def _settings(draw: st.DrawFn) -> Settings:
    return Settings(
        db_uri=draw(_PRINTABLE),
        db_schemas=tuple(draw(st.lists(_NAME, min_size=1, max_size=3))),
        db_extra_search_path=tuple(draw(st.lists(_NAME, max_size=3))),
        db_anon_role=draw(st.none() | _PRINTABLE),
        db_max_rows=draw(st.none() | st.integers(0, 10**9)),
        db_config=draw(st.booleans()),
        db_tx_end=draw(st.sampled_from(["commit", "rollback-allow-override"])),
        jwt_secret=draw(st.none() | st.text("abc$(\"'\\", min_size=32).map(lambda s: s + "-")),
        server_unix_socket=draw(st.none() | _NAME.map(Path)),
        server_unix_socket_mode=draw(st.integers(0o600, 0o777)),
        server_drain_timeout=draw(st.sampled_from([0.25, 30.0])),
        app_settings=tuple(
            sorted(
                (f"app.settings.{n}", v)
                for n, v in draw(st.dictionaries(_NAME, _PRINTABLE)).items()
            )
        ),
    )


@given(_settings().filter(lambda settings: not settings.db_uri.startswith("@")))
def test_a_dump_read_back_is_the_same(settings: Settings) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(dump_settings(settings))
        file.flush()
        assert load_settings(Path(file.name), {}).settings == settings


def test_the_dump_of_the_defaults_is_sorted_and_has_every_key() -> None:
    lines = dump_settings(Settings()).splitlines()
    assert lines == sorted(lines)
    assert {line.partition(" = ")[0] for line in lines} == {row.key for row in TABLE}
    assert 'db-max-rows = ""' in lines
    assert 'jwt-role-claim-key = "$$.role"' in lines
    assert 'server-unix-socket-mode = "660"' in lines
    assert "db-pool = 10" in lines


def test_the_example_sets_nothing() -> None:
    assert tomllib.loads(example_file()) == {}


def test_every_line_of_the_example_works_when_its_hash_is_taken_away() -> None:
    keys = {row.key for row in TABLE}
    lines = [
        line.removeprefix("# ")
        for line in example_file().splitlines()
        if line.removeprefix("# ").partition(" = ")[0] in keys
    ]
    assert len(lines) == len(keys)
    for line in lines:
        found = parse_file(line, {})
        (key,) = found
        (row,) = (row for row in TABLE if row.key == key)
        row.facts.kind.read(found[key])


def test_the_documentation_is_up_to_date() -> None:
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == configuration_markdown(), "run `make docs`"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.key)
def test_every_setting_is_documented(row: Setting) -> None:
    page = configuration_markdown()
    assert f"\n### {row.key}" in page
    assert f"`{row.variable}`" in page
    assert row.facts.doc in page
