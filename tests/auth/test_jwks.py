"""Published keys: what is read of them, and how they are kept up to date from a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm

from proxy.auth.jwks import MAX_BODY, MAX_KEYS, check_uri, merged_keys, parse_jwks
from proxy.auth.key_source import KeySource
from proxy.auth.keys import KeySet, load_keys
from proxy.auth.tokens import names_unknown_key
from proxy.settings import load_settings
from proxy.settings.errors import SettingsError
from tests.auth.signing import SECRET, bearer, ec_jwk, oct_jwk, rsa_jwk, sign, signed_with
from tests.conftest import MakeToken, StartEdge
from tests.waiting import eventually, until

Jwk = dict[str, Any]


class Signer:
    """A provider's key: what it publishes and what it signs."""

    def __init__(self, kid: str | None) -> None:
        self.kid = kid
        self._key = ed25519.Ed25519PrivateKey.generate()

    @property
    def jwk(self) -> Jwk:
        public: Jwk = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return public if self.kid is None else public | {"kid": self.kid}

    def headers(self, **claims: object) -> dict[str, str]:
        signed = signed_with(self._key, "EdDSA", self.kid, **{"role": "web_user", **claims})
        return {"Authorization": f"Bearer {signed}"}


def key_set(*jwks: Jwk) -> bytes:
    return json.dumps({"keys": jwks}).encode()


# --- what is read -------------------------------------------------------------------------


def test_keys_of_a_set() -> None:
    keys = parse_jwks(key_set(rsa_jwk(kid="a"), ec_jwk("ES256") | {"kid": "b"}))
    assert [key.kid for key in keys.keys] == ["a", "b"]
    assert keys == parse_jwks(key_set(rsa_jwk(kid="a"), ec_jwk("ES256") | {"kid": "b"}))


@pytest.mark.parametrize(
    "useless",
    [
        # Everybody may read the set, and could sign with a secret that is in it.
        oct_jwk(SECRET, kid="x"),
        rsa_jwk(kid="x", use="enc"),
        {"kty": "RSA", "kid": "x", "n": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "unheard of"},
        {},
        "no key",
        None,
    ],
)
def test_keys_that_are_left_out(useless: Any) -> None:
    good = Signer("good").jwk
    assert [key.kid for key in parse_jwks(key_set(useless, good)).keys] == ["good"]
    with pytest.raises(ValueError, match="no key"):
        parse_jwks(key_set(useless))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"keys": 1}',
        b'{"kty": "OKP"}',
        b"\xff",
        b"[" * 100_000,
        key_set(*[Signer(str(number)).jwk for number in range(MAX_KEYS + 1)]),
    ],
    ids=lambda body: body[:10],
)
def test_answers_that_are_no_key_set(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"key|JSON"):
        parse_jwks(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        json_values
        | st.fixed_dictionaries(
            {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"])},
            optional=dict.fromkeys(["crv", "n", "e", "x", "y", "k", "kid", "alg"], json_values),
        )
    )
)
def test_any_set_gives_keys_or_a_reason(jwks: list[Any]) -> None:
    try:
        keys = parse_jwks(json.dumps({"keys": jwks}).encode())
    except ValueError:
        return
    assert all(not key.algorithms & {"HS256", "HS384", "HS512"} for key in keys.keys)


def test_both_kinds_of_keys_are_used() -> None:
    published = parse_jwks(key_set(Signer("a").jwk))
    both = merged_keys(load_keys(SECRET), published)
    assert both.suitable("HS256", None)
    assert both.suitable("EdDSA", "a")
    assert merged_keys(None, published) == published


@pytest.mark.parametrize(
    "uri, allow_http, fault",
    [
        ("https://login.example.com/keys?x=1", False, None),
        ("http://localhost:8080/keys", False, None),
        ("http://127.0.0.2/keys", False, None),
        ("http://[::1]/keys", False, None),
        ("http://login.example.com/keys", True, None),
        ("http://login.example.com/keys", False, "https"),
        ("http://localhost.example.com/keys", False, "https"),
        ("http://10.0.0.1/keys", False, "https"),
        ("file:///etc/passwd", True, "https URL"),
        ("ftp://login.example.com/keys", True, "https URL"),
        ("login.example.com/keys", True, "https URL"),
        ("https:///keys", True, "https URL"),
        ("https://user:secret@example.com/", False, "no user"),
        ("https://example.com:99999/", False, "[Pp]ort"),
    ],
)
def test_where_keys_may_come_from(uri: str, allow_http: bool, fault: str | None) -> None:
    given = {"PGRST_JWT_JWKS_URI": uri, "PGRST_JWT_JWKS_ALLOW_HTTP": str(allow_http)}
    if fault is None:
        check_uri(uri, allow_http=allow_http)
        assert load_settings(None, given).settings.jwt_jwks_uri == uri
    else:
        with pytest.raises(ValueError, match=fault):
            check_uri(uri, allow_http=allow_http)
        with pytest.raises(SettingsError, match="jwt-jwks-uri"):
            load_settings(None, given)


@pytest.mark.parametrize(
    "token, unknown",
    [
        (Signer("b").headers()["Authorization"], True),
        (Signer("a").headers()["Authorization"], False),
        (Signer(None).headers()["Authorization"], False),
        ("Bearer " + sign({}, header={"alg": "HS256", "kid": "a"}), True),
        ("Bearer " + sign({}, header={"alg": "none", "kid": "z"}), True),
        ("Bearer " + sign({}, header={"alg": 1}), False),
        ("Bearer a.b.c", False),
        ("Bearer ", False),
        ("Basic x", False),
    ],
)
def test_tokens_whose_key_is_unknown(token: str, unknown: bool) -> None:
    keys = parse_jwks(key_set(Signer("a").jwk))
    assert names_unknown_key([(b"authorization", token.encode())], keys) is unknown
    assert not names_unknown_key([], keys)
    assert not names_unknown_key(bearer("a.b.c"), None)


# --- a provider ---------------------------------------------------------------------------


class Provider:
    """A real HTTP server; `answer` is what it does with the next requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self.send(b"")
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests += 1
                provider.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def publish(self, *signers: Signer) -> None:
        self.answer = self.send(key_set(*[signer.jwk for signer in signers]))

    @staticmethod
    def send(
        body: bytes, status: int = 200, **headers: str
    ) -> Callable[[BaseHTTPRequestHandler], None]:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            try:
                handler.wfile.write(body)
            except OSError:
                handler.close_connection = True

        return answer

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


@asynccontextmanager
async def keys_of(
    provider: Provider, max_age: float = 600, patience: float = 4
) -> AsyncIterator[Keys]:
    told: list[KeySet] = []
    source = KeySource(provider.uri, told.append, max_age=max_age, timeout=patience)
    source.start()
    try:
        yield Keys(source, told)
    finally:
        await source.close()


class Keys:
    """A source, and what it told."""

    def __init__(self, source: KeySource, told: Sequence[KeySet]) -> None:
        self.source = source
        self._told = told

    @property
    def told(self) -> list[list[str | None]]:
        return [[key.kid for key in keys.keys] for keys in self._told]


async def test_keys_are_fetched_and_told_when_they_change(provider: Provider) -> None:
    a, b = Signer("a"), Signer("b")
    provider.publish(a)
    async with keys_of(provider, max_age=0.05) as keys:
        await until(lambda: provider.requests > 3)
        assert keys.told == [["a"]]
        provider.publish(a, b)
        await until(lambda: len(keys.told) == 2)
        provider.publish(b)
        await until(lambda: len(keys.told) == 3)
    assert keys.told == [["a"], ["a", "b"], ["b"]]


def hang(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.flush()
    time.sleep(1.5)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Never silent for long, and never done."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(15):
        try:
            handler.wfile.write(b" ")
        except OSError:
            return
        time.sleep(0.1)


def drop(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()
    handler.close_connection = True


OTHER = key_set(Signer("other").jwk)
FAILURES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "error": Provider.send(OTHER, status=500),
    "nonsense": Provider.send(b"<html>"),
    "empty set": Provider.send(key_set()),
    "too long": Provider.send(OTHER + b" " * MAX_BODY),
    "compressed": Provider.send(OTHER, Content_Encoding="gzip"),
    "redirect": Provider.send(OTHER, status=302, Location="http://127.0.0.1:1/"),
    "file": Provider.send(OTHER, status=301, Location="file:///etc/passwd"),
    "slow": hang,
    "dripping": drip,
    "dropped": drop,
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_keys_are_kept_while_the_provider_fails(
    provider: Provider,
    failure: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b = Signer("a"), Signer("b")
    provider.publish(a)
    async with keys_of(provider, max_age=0.05, patience=0.5) as keys:
        await until(lambda: keys.told)
        provider.answer = FAILURES[failure]
        await until(lambda: "the old ones serve" in caplog.text)
        assert [key.kid for key in (keys.source.keys or KeySet(())).keys] == ["a"]
        provider.publish(b)
        await until(lambda: len(keys.told) == 2)
    assert keys.told == [["a"], ["b"]]


async def test_a_flood_of_unknown_keys_is_one_fetch(provider: Provider) -> None:
    provider.publish(Signer("a"))
    async with keys_of(provider) as keys:
        await until(lambda: keys.told)
        assert provider.requests == 1
        for _ in range(20):
            await asyncio.gather(*(keys.source.look_for_more() for _ in range(200)))
    assert provider.requests == 2


async def test_who_looks_at_the_start_waits_for_the_first_fetch(provider: Provider) -> None:
    provider.publish(Signer("a"))
    async with keys_of(provider) as keys:
        await asyncio.gather(*(keys.source.look_for_more() for _ in range(50)))
        assert keys.told == [["a"]]
    assert provider.requests == 1


async def test_closing_during_a_fetch(provider: Provider) -> None:
    provider.answer = hang
    async with keys_of(provider) as keys:
        looking = asyncio.create_task(keys.source.look_for_more())
        await until(lambda: provider.requests)
    await asyncio.wait_for(looking, 5)


# --- the whole server ---------------------------------------------------------------------


def test_tokens_of_the_provider(
    provider: Provider, start_edge: StartEdge, token: MakeToken
) -> None:
    a, b, forged = Signer("a"), Signer("b"), Signer("a")
    provider.publish(a)
    with (
        start_edge(jwt_jwks_uri=provider.uri) as edge,
        httpx.Client(base_url=edge.url) as client,
    ):

        def status(headers: dict[str, str]) -> int:
            return client.get("/customers?limit=1", headers=headers).status_code

        assert status(a.headers()) == 200
        assert status(token()) == 200, "keys of jwt-secret are used as well"
        assert status(forged.headers()) == 401
        assert status(a.headers(exp=1)) == 401
        assert provider.requests == 1

        provider.publish(a, b)
        assert status(b.headers()) == 200, "the key is fetched when it is needed first"
        assert provider.requests == 2
        assert status(a.headers()) == 200

        for number in range(100):
            assert status(Signer(str(number)).headers()) == 401
        assert provider.requests == 2
        assert status({}) == 200


def test_a_key_that_is_withdrawn(provider: Provider, start_edge: StartEdge) -> None:
    a, b = Signer("a"), Signer("b")
    provider.publish(a)
    with start_edge(jwt_jwks_uri=provider.uri, jwt_jwks_max_age=0.1) as edge:

        def status(signer: Signer) -> int:
            return httpx.get(f"{edge.url}/customers", headers=signer.headers()).status_code

        assert status(a) == 200
        provider.publish(b)
        eventually(lambda: status(a) == 401)
        assert status(b) == 200


def test_starting_while_the_provider_is_away(start_edge: StartEdge, token: MakeToken) -> None:
    provider = Provider()
    a = Signer("a")
    provider.answer = Provider.send(b"", status=503)
    try:
        with start_edge(jwt_jwks_uri=provider.uri) as edge:

            def get(headers: dict[str, str]) -> httpx.Response:
                return httpx.get(f"{edge.url}/customers", headers=headers)

            assert get({}).status_code == 200
            assert get(token()).status_code == 200
            refused = get(a.headers())
            assert (refused.status_code, refused.json()["code"]) == (503, "EDGE503")
            assert refused.headers["retry-after"] == "1"
            assert get({"Authorization": "Bearer nonsense"}).status_code == 401
            provider.publish(a)
            eventually(lambda: get(a.headers()).status_code != 503)
            assert get(a.headers()).status_code == 200
            assert "Traceback" not in edge.log
    finally:
        provider.close()
