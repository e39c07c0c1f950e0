"""Tokens for local use: the server of the same settings accepts them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from click.testing import CliRunner

from proxy.auth.keys import load_keys
from proxy.auth.model import AuthRules
from proxy.auth.role_claim import parse_role_claim
from proxy.auth.tokens import identify
from proxy.cli.main import main
from proxy.cli.token import TokenError, parse_claims, parse_span, sign_token
from proxy.errors import Json
from proxy.settings import Settings

SECRET = "a secret for tests that is long enough"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def decode(token: str, secret: str | bytes = SECRET) -> dict[str, Json]:
    claims: dict[str, Json] = jwt.decode(
        token, secret, ["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    return claims


def sign(settings: Settings, role: str | None = "r", **claims: Json) -> str:
    return sign_token(settings, role=role, claims=claims, span=timedelta(hours=1), now=NOW)


@pytest.mark.parametrize(
    "text, span",
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("30d", timedelta(days=30)),
        ("4w", timedelta(weeks=4)),
        ("never", None),
    ],
)
def test_spans(text: str, span: timedelta | None) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "1", "h", "1y", "-1h", "1.5h", "1h "])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(TokenError, match=r"write e\.g\. 15m, 1h, 30d or never"):
        parse_span(text)


def test_claims_are_json_or_text() -> None:
    assert parse_claims(["a=1", "b=x", 'c={"d":[true]}', "e=", "f=g=h"]) == {
        "a": 1,
        "b": "x",
        "c": {"d": [True]},
        "e": "",
        "f": "g=h",
    }


@pytest.mark.parametrize("text", ["a", "=a", ""])
def test_what_is_no_claim(text: str) -> None:
    with pytest.raises(TokenError, match=r"write e\.g\. --claim user_id=1"):
        parse_claims([text])


@pytest.mark.parametrize(
    "settings",
    [
        Settings(jwt_secret=SECRET),
        Settings(
            jwt_secret=base64.b64encode(SECRET.encode()).decode(), jwt_secret_is_base64=True
        ),
        Settings(
            jwt_secret=json.dumps(
                {
                    "kty": "oct",
                    "k": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
                }
            )
        ),
        Settings(jwt_secret=SECRET, jwt_aud="api"),
        Settings(jwt_secret=SECRET, jwt_role_claim_key="$.app.roles"),
        Settings(jwt_secret=SECRET, jwt_role_claim_key=".role"),
    ],
    ids=["text", "base64", "jwk", "audience", "deep role", "old path"],
)
def test_the_server_accepts_the_token(settings: Settings) -> None:
    rules = AuthRules(
        audience=settings.jwt_aud,
        role_claim=parse_role_claim(settings.jwt_role_claim_key),
        anonymous_role=None,
    )
    keys = load_keys(settings.jwt_secret, settings.jwt_secret_is_base64)
    headers = [(b"authorization", b"Bearer " + sign(settings).encode())]
    assert identify(headers, keys, rules, NOW.timestamp()).role == "r"


def test_claims_and_life_span_are_in_the_token() -> None:
    assert decode(sign(Settings(jwt_secret=SECRET), user_id=1)) == {
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
        "role": "r",
        "user_id": 1,
    }
    for_ever = sign_token(Settings(jwt_secret=SECRET), role=None, claims={}, span=None, now=NOW)
    assert decode(for_ever) == {"iat": int(NOW.timestamp())}


@pytest.mark.parametrize(
    "settings, complaint",
    [
        (Settings(), "there is no secret to sign with"),
        (Settings(jwt_secret="short"), "must be at least 32 characters long"),
        (Settings(jwt_secret='{"keys": []}'), "jwt-secret holds no key for HS256"),
        (
            Settings(jwt_secret=SECRET, jwt_role_claim_key="$.roles[0]"),
            "is no plain path, so --role does not know where to go",
        ),
    ],
)
def test_why_there_is_no_token(settings: Settings, complaint: str) -> None:
    with pytest.raises(TokenError, match=complaint.replace("$", r"\$")):
        sign(settings)


def test_a_claim_in_the_way_of_the_role() -> None:
    settings = Settings(jwt_secret=SECRET, jwt_role_claim_key="$.app.role")
    with pytest.raises(TokenError, match="the claim app has no room for the role"):
        sign(settings, app="taken")


def test_the_command() -> None:
    args = ["token", "--role", "web_user", "--claim", "user_id=1", "--expires", "never"]
    result = CliRunner(env={"PGRST_JWT_SECRET": SECRET}).invoke(main, args)
    assert result.exit_code == 0
    claims = decode(result.stdout.strip())
    assert claims.pop("iat")
    assert claims == {"role": "web_user", "user_id": 1}

    other = SECRET[::-1]
    result = CliRunner().invoke(main, [*args, "--secret", other])
    assert decode(result.stdout.strip(), other)["role"] == "web_user"

    result = CliRunner().invoke(main, args)
    assert result.exit_code == 1
    assert result.stderr == (
        "edgerest: there is no secret to sign with; set jwt-secret or give --secret\n"
    )
