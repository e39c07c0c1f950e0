"""What can never work is told at once, by its name and without quoting a connection string."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.errors import ConnectionFailed
from pool.source import Source
from pool.unusable import _CHOICES, SERVER_KINDS, SSL_MODES

CHOICES = [
    ("target_session_attrs", "PGTARGETSESSIONATTRS", SERVER_KINDS),
    *_CHOICES,
]


def refusal(dsn: str, **env: str) -> str | None:
    try:
        Source(dsn, application_name="edgerest", env=env)
    except ConnectionFailed as error:
        return str(error)
    return None


@given(st.sampled_from(CHOICES), st.text("abcdefghijkl-v123", min_size=1), st.data())
def test_words_that_mean_nothing(
    choice: tuple[str, str, tuple[str, ...]], word: str, data: st.DataObject
) -> None:
    name, variable, good = choice
    if word in good:
        return
    wrong = data.draw(st.sampled_from([word, f"{good[-1]}x", good[0][:-1]]))
    said = [
        refusal(f"host=h {name}={wrong}"),
        refusal(f"postgresql://u:p@h/d?{name}={wrong}"),
        refusal("host=h", **{variable: wrong}),
    ]
    assert said == 3 * [f"{name}: it is none of {', '.join(good)}"]


@pytest.mark.parametrize("name, variable, good", CHOICES)
def test_words_that_mean_something(name: str, variable: str, good: tuple[str, ...]) -> None:
    for word in good:
        # Other settings may be wanted beside it.
        for said in (
            refusal(f"host=h {name}={word}", PGSSLMODE="require"),
            refusal("host=h sslmode=require", **{variable: word}),
        ):
            assert said is None or "it is none of" not in said


@pytest.mark.parametrize("name", ["sslrootcert", "sslcrl", "sslcert", "sslkey"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
@pytest.mark.parametrize("mode", SSL_MODES)
def test_files_that_are_not_what_they_should_be(
    tmp_path: Path, name: str, content: str | None, mode: str
) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content)
    requires = mode in SSL_MODES[3:]
    counts = requires if name in ("sslrootcert", "sslcrl") else mode != "disable"
    # A key alone is read by nobody.
    counts = counts and (content is None or name != "sslkey")
    env = {} if mode == "verify-full" else {f"PG{name.upper()}": str(file)}
    given = f"&{name}={quote(str(file))}" if not env else ""
    said = refusal(f"postgresql://h/d?sslmode={mode}{given}", **env)
    if counts and not (mode in SSL_MODES[4:] and name != "sslrootcert"):
        assert said is not None
        assert said.startswith(f"{name}: {file} ")
    elif not counts and mode not in SSL_MODES[4:]:
        assert said is None


def test_a_server_is_not_trusted_without_an_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for mode in SSL_MODES[4:]:
        assert f"sslmode={mode} needs the certificate" in str(refusal(f"host=h sslmode={mode}"))


def test_a_part_of_a_password_is_not_quoted(tmp_path: Path) -> None:
    secret = str(tmp_path / "s3cret")
    said = refusal(f"postgresql://u:p@h/d?sslmode=require&sslrootcert={secret}@x")
    assert said is not None
    assert "s3cret" not in said
