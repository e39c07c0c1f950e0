"""The same request again, byte for byte: answered at once, and never wrongly for that."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import httpx
import jwt
import pytest

from tests.cache.served.conftest import Sql
from tests.conftest import SECRET, MakeToken
from tests.http.processes import ServerProcess
from tests.waiting import eventually

_numbers = itertools.count(500_000)


def fresh(target: str) -> str:
    """A target that nobody has asked for yet."""
    return f"{target}&id=neq.{next(_numbers)}"


def warm(client: httpx.Client, target: str, headers: dict[str, str] | None = None) -> str:
    """Ask until the answer comes at once; its text."""
    client.get(target, headers=headers)
    client.get(target, headers=headers)
    response = client.get(target, headers=headers)
    assert response.headers["cache-status"].startswith("edgerest; hit")
    return response.text


def test_the_same_request_has_the_same_answer(anon: httpx.Client) -> None:
    target = fresh("/products?limit=3")
    answers = [anon.get(target) for _ in range(4)]
    assert len({answer.content for answer in answers}) == 1
    names = {"age", "cache-status", "date"}
    told = [
        [(name, value) for name, value in answer.headers.multi_items() if name not in names]
        for answer in answers[1:]
    ]
    assert told[0] == told[1] == told[2]
    assert [len(answer.headers.get_list("age")) for answer in answers] == [0, 1, 1, 1]
    assert [len(answer.headers.get_list("cache-status")) for answer in answers] == [1] * 4


def test_a_head_and_a_304_too(anon: httpx.Client) -> None:
    target = fresh("/products?limit=3")
    warm(anon, target)
    tag = anon.get(target).headers["etag"]
    for _ in range(3):
        head = anon.head(target)
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
        unchanged = anon.get(target, headers={"if-none-match": tag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == tag
        assert "content-length" not in unchanged.headers


def test_a_write_is_seen_at_once(anon: httpx.Client, ada: httpx.Client) -> None:
    target = fresh("/products?select=name&limit=1&order=id")
    warm(anon, target)
    warm(ada, target)
    name = f"renamed {next(_numbers)}"
    written = ada.patch("/products?id=eq.1", json={"name": name})
    assert written.status_code == 204
    for client in (ada, anon):
        assert client.get(target).json() == [{"name": name}]


def test_a_write_beside_the_server_is_forgotten_on_purge(anon: httpx.Client, sql: Sql) -> None:
    target = fresh("/products?select=name&limit=1&order=id")
    warm(anon, target)
    sql("notify pgrst_cache, 'api.products'")
    eventually(lambda: not anon.get(target).headers["cache-status"].startswith("edgerest; hit"))


def test_nothing_is_given_at_once_for_an_expired_token(anon: httpx.Client) -> None:
    expires = int(time.time()) + 2
    text = jwt.encode({"role": "web_user", "sub": "bob", "exp": expires}, SECRET)
    headers = {"authorization": f"Bearer {text}"}
    target = fresh("/products?limit=2")
    warm(anon, target, headers)
    while time.time() < expires:
        anon.get(target, headers=headers)
    response = anon.get(target, headers=headers)
    # Clocks may differ by 30 seconds, so it may still be read, but not from here.
    assert response.headers["cache-status"].startswith("edgerest; fwd") or (
        response.status_code == 401
    )


@pytest.mark.parametrize("directive", ["no-cache", "no-store", "max-age=0"])
def test_who_asks_caches_for_something_is_heard(anon: httpx.Client, directive: str) -> None:
    target = fresh("/products?limit=3")
    warm(anon, target)
    for _ in range(3):
        asked = anon.get(target, headers={"cache-control": directive})
        assert "hit" not in asked.headers["cache-status"]


def test_identities_do_not_meet(
    catalogue_server: ServerProcess, anon: httpx.Client, token: MakeToken
) -> None:
    target = fresh("/notes?order=id")
    seen = {}
    for name in ("ada", "bob"):
        headers = token("web_user", sub=name)
        seen[name] = [anon.get(target, headers=headers).text for _ in range(4)]
        assert len(set(seen[name])) == 1
    assert seen["ada"] != seen["bob"]


def test_a_query_is_known_by_its_body(catalogue_server: ServerProcess) -> None:
    """HTTP/2 needs no Content-Length, so that the heads of two may be equal."""
    headers = {"content-type": "application/vnd.edgerest.query"}

    async def body(number: int) -> AsyncIterator[bytes]:
        yield b"select=id&id=eq.%d" % number

    async def ask() -> list[object]:
        async with httpx.AsyncClient(
            base_url=catalogue_server.url, http1=False, http2=True, timeout=60
        ) as client:
            answers = [
                await client.request("QUERY", "/products", headers=headers, content=body(n))
                for n in (41, 41, 41, 42)
            ]
        return [answer.json() for answer in answers]

    assert asyncio.run(ask()) == [[{"id": n}] for n in (41, 41, 41, 42)]
