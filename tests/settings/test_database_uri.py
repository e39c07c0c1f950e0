"""Where the database is, when a file says so that changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.settings import Settings, load_settings
from proxy.settings.database_uri import newest_uri, uri_source
from proxy.settings.reload import reloaded_settings


def test_a_file_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "uri"
    file.write_text("postgresql://first\n")
    settings = load_settings(None, {"PGRST_DB_URI": f"@{file}"}).settings
    assert (settings.db_uri, settings.db_uri_file) == ("postgresql://first", file)
    ask = newest_uri(settings)
    assert callable(ask)
    assert ask() == "postgresql://first"
    file.write_text("  postgresql://second\n")
    assert ask() == "postgresql://second"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff", None])
def test_what_cannot_be_read_stays_as_it_was(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "uri"
    file.write_text("postgresql://first")
    ask = uri_source(f"@{file}")
    assert callable(ask)
    assert ask() == "postgresql://first"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert ask() == "postgresql://first"


def test_what_is_written_out_is_what_it_is() -> None:
    assert newest_uri(Settings(db_uri="postgresql://here")) == "postgresql://here"
    assert uri_source("host=here") == "host=here"


def test_another_uri_in_the_same_file_needs_no_restart() -> None:
    old = Settings(db_uri="postgresql://first", db_uri_file=Path("uri"))
    reloaded = reloaded_settings(old, replace(old, db_uri="postgresql://second"))
    assert (reloaded.settings.db_uri, reloaded.need_restart) == ("postgresql://second", ())
    for found in (
        Settings(db_uri="postgresql://second"),
        Settings(db_uri="postgresql://second", db_uri_file=Path("other")),
    ):
        reloaded = reloaded_settings(old, found)
        assert (reloaded.settings, reloaded.need_restart) == (old, ("db-uri",))


def test_replicas_are_a_list() -> None:
    read = load_settings(None, {"PGRST_DB_READ_URIS": "host=a, host=b"}).settings
    assert read.db_read_uris == ("host=a", "host=b")
    assert "host=a" not in repr(read)
    assert load_settings(None, {"PGRST_DB_READ_URIS": ""}).settings.db_read_uris == ()
