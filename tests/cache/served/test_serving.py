"""What is kept, for whom, and until when: the server in front of the catalogue."""

from __future__ import annotations

import itertools
import time

import httpx
import pytest

from tests.conftest import MakeToken
from tests.http.processes import ServerProcess

_numbers = itertools.count(1000)


def fresh(target: str) -> str:
    """A target that nobody has asked for yet."""
    mark = "&" if "?" in target else "?"
    return f"{target}{mark}id=neq.{next(_numbers)}"


def status_of(response: httpx.Response) -> str:
    return response.headers["cache-status"]


def test_an_answer_without_a_policy_is_private_and_revalidated(anon: httpx.Client) -> None:
    for _ in range(2):
        response = anon.get("/drafts")
        assert response.headers["cache-control"] == "private, no-cache"
        assert response.headers["etag"].startswith('"')
        assert status_of(response) == "edgerest; fwd=bypass; detail=no-policy"
        assert "age" not in response.headers


def test_a_second_read_is_a_hit_with_an_age(anon: httpx.Client) -> None:
    target = fresh("/products?limit=3")
    first, second = anon.get(target), anon.get(target)
    assert status_of(first) == "edgerest; fwd=miss; stored; ttl=600"
    assert status_of(second).startswith("edgerest; hit; ttl=")
    assert int(second.headers["age"]) < 60
    assert first.json() == second.json()
    for name in ("etag", "cache-control", "content-range", "content-type", "vary"):
        assert first.headers[name] == second.headers[name]


def test_what_is_public_says_so_to_every_kind_of_cache(anon: httpx.Client) -> None:
    headers = anon.get(fresh("/products?limit=3")).headers
    stale = "stale-while-revalidate=30, stale-if-error=300"
    assert headers["cache-control"] == f"public, max-age=60, s-maxage=600, {stale}"
    assert headers["cdn-cache-control"] == f"public, max-age=600, {stale}"
    assert headers["cache-tag"] == headers["surrogate-key"] == "api.products"
    assert headers["vary"] == "Accept, Prefer, Range"


def test_the_tables_of_an_embed_are_tags_too(anon: httpx.Client) -> None:
    headers = anon.get(fresh("/products?select=id,labels(label)&limit=1")).headers
    assert headers["cache-tag"] == "api.labels,api.products"
    assert headers["surrogate-key"] == "api.labels api.products"


def test_the_order_of_parameters_does_not_matter(anon: httpx.Client) -> None:
    number = next(_numbers)
    anon.get(f"/products?id=neq.{number}&limit=2")
    response = anon.get(f"/products?limit=2&id=neq.{number}")
    assert "; hit" in status_of(response)


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/csv"},
        {"prefer": "count=exact"},
        {"range": "0-1"},
        {"accept": "application/vnd.pgrst.object+json"},
    ],
)
def test_what_selects_a_representation_is_part_of_the_key(
    anon: httpx.Client, headers: dict[str, str]
) -> None:
    target = fresh("/products?id=eq.7")
    plain = anon.get(target)
    other = anon.get(target, headers=headers)
    assert "fwd=miss" in status_of(other)
    assert other.headers["etag"] != plain.headers["etag"] or other.content == plain.content
    assert "; hit" in status_of(anon.get(target, headers=headers))


def test_get_and_head_and_query_share_an_entry(anon: httpx.Client) -> None:
    target = fresh("/products?limit=3")
    head = anon.head(target)
    assert "stored" in status_of(head)
    get = anon.get(target)
    assert "; hit" in status_of(get)
    assert head.headers["etag"] == get.headers["etag"]
    path, _, query = target.partition("?")
    asked = anon.request(
        "QUERY",
        path,
        content=query,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert "; hit" in status_of(asked)
    assert asked.content == get.content


@pytest.mark.parametrize("target", ["/drafts", "/products?limit=2", "/rpc/undeclared", "/"])
def test_a_head_agrees_with_its_get(anon: httpx.Client, target: str) -> None:
    get, head = anon.get(target), anon.head(target)
    assert head.content == b""
    assert head.headers["etag"] == get.headers["etag"]
    for name in ("content-type", "vary", "cache-control"):
        assert head.headers[name] == get.headers[name]


def test_a_head_that_counts_makes_no_content(anon: httpx.Client) -> None:
    counted = anon.head("/drafts", headers={"prefer": "count=exact"})
    assert counted.headers["content-range"] == "0-1/2"
    assert "etag" not in counted.headers
    tag = anon.get("/drafts", headers={"prefer": "count=exact"}).headers["etag"]
    asked = {"prefer": "count=exact", "if-none-match": tag}
    assert anon.head("/drafts", headers=asked).status_code == 304


@pytest.mark.parametrize(
    "target, why",
    [
        ("/rpc/unsteady", "volatile"),
        ("/rpc/undeclared", "unknown-dependencies"),
        ("/rpc/mine", "scope"),
    ],
)
def test_what_can_not_be_known_to_hold_is_not_kept(
    anon: httpx.Client, target: str, why: str
) -> None:
    for _ in range(2):
        response = anon.get(target)
        assert response.status_code == 200, response.text
        assert status_of(response) == f"edgerest; fwd=miss; detail={why}"
        assert response.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    "told, stored",
    [
        ("Cache-Control:no-store", False),
        ("Cache-Control:no-cache", False),
        ("Cache-Control:private, max-age=5", True),
        ("Cache-Control:max-age=5", True),
        ("Set-Cookie:a=b", False),
        ("Vary:X-Mine", False),
        ("Vary:*", False),
        ("X-Other:1", True),
    ],
)
def test_what_sql_says_of_its_answer_wins(anon: httpx.Client, told: str, stored: bool) -> None:
    response = anon.get("/rpc/told", params={"value": told})
    name, _, value = told.partition(":")
    assert value in response.headers[name]
    assert ("stored" in status_of(response)) is stored
    if name == "Cache-Control":
        assert response.headers["cache-control"] == value
    if value.endswith("max-age=5"):
        assert "ttl=5" in status_of(response)


def test_a_write_is_seen_by_the_next_read(anon: httpx.Client, ada: httpx.Client) -> None:
    target = fresh("/products?id=eq.42")
    for price in (1001, 1002):
        anon.get(target)
        assert "; hit" in status_of(anon.get(target))
        ada.patch("/products?id=eq.42", json={"price": price}).raise_for_status()
        changed = anon.get(target)
        assert "fwd=miss" in status_of(changed)
        assert changed.json()[0]["price"] == price


def test_a_write_that_is_rolled_back_changes_nothing(
    anon: httpx.Client, ada: httpx.Client
) -> None:
    target = fresh("/products?id=eq.43")
    anon.get(target)
    failed = ada.patch("/products?id=eq.43", json={"price": "no number"})
    assert failed.status_code == 400
    assert "; hit" in status_of(anon.get(target))


# --- identities ---------------------------------------------------------------------------


def test_entries_of_claims_are_not_shared(
    ada: httpx.Client, bob: httpx.Client, auditor: httpx.Client
) -> None:
    target = fresh("/notes?order=id")
    expected = {ada: [1, 3], bob: [2], auditor: [1, 3]}
    for client, ids in expected.items():
        response = client.get(target)
        assert "stored" in status_of(response)
        assert [row["id"] for row in response.json()] == ids
    for client, ids in expected.items():
        response = client.get(target)
        assert "; hit" in status_of(response)
        assert [row["id"] for row in response.json()] == ids
        assert response.headers["cache-control"].startswith("private, ")
        assert "Authorization" in response.headers["vary"]
        assert "cache-tag" not in response.headers


def test_a_token_of_the_same_claims_shares_them(ada: httpx.Client, token: MakeToken) -> None:
    target = fresh("/notes?order=id")
    ada.get(target)
    again = token("web_user", sub="ada", jti="another", iat=1)
    assert "; hit" in status_of(ada.get(target, headers=again))
    other = token("web_user", sub="ada", team="x")
    assert "fwd=miss" in status_of(ada.get(target, headers=other))


def test_entries_of_a_role_are_shared_by_the_role_alone(
    ada: httpx.Client, bob: httpx.Client, auditor: httpx.Client
) -> None:
    target = fresh("/reviews")
    assert "stored" in status_of(ada.get(target))
    assert "; hit" in status_of(bob.get(target))
    assert "stored" in status_of(auditor.get(target))


def test_the_token_is_verified_before_anything_is_looked_up(
    anon: httpx.Client, token: MakeToken
) -> None:
    target = fresh("/products?limit=1")
    anon.get(target)
    expired = token("web_user", exp=1)
    assert anon.get(target, headers=expired).status_code == 401
    forged = {"authorization": "Bearer a.b.c"}
    assert anon.get(target, headers=forged).status_code == 401


def test_nothing_outlives_its_token(anon: httpx.Client, token: MakeToken) -> None:
    target = fresh("/notes")
    soon = token("web_user", sub="ada", exp=int(time.time()) + 20)
    response = anon.get(target, headers=soon)
    left = int(status_of(response).partition("ttl=")[2])
    assert 15 <= left <= 20
    assert response.headers["cache-control"] == (f"private, max-age={left}")


def test_an_error_of_one_identity_is_not_everybodys(
    anon: httpx.Client, ada: httpx.Client
) -> None:
    target = fresh("/notes")
    assert anon.get(target).status_code == 401
    assert ada.get(target).status_code == 200


def test_a_scope_that_row_security_forbids_is_refused(
    catalogue_server: ServerProcess, ada: httpx.Client, bob: httpx.Client
) -> None:
    assert "fwd=bypass; detail=no-policy" in status_of(ada.get("/leaky"))
    assert [row["id"] for row in ada.get("/leaky").json()] == [1]
    assert [row["id"] for row in bob.get("/leaky").json()] == [2]
    told = "api.leaky with scope=role is refused"
    assert told in catalogue_server.log


@pytest.mark.parametrize("select", ["id,costs(amount)", "id,product_cost"])
def test_what_is_public_shows_nobody_what_is_granted_to_others(
    anon: httpx.Client, ada: httpx.Client, select: str
) -> None:
    target = fresh(f"/products?select={select}&limit=1&order=id")
    for _ in range(2):
        hers = ada.get(target)
        assert "17" in hers.text
        assert "stored" not in status_of(hers)
    assert anon.get(target).status_code == 401


def test_a_head_with_a_range_is_not_the_page_that_a_get_with_it_is(anon: httpx.Client) -> None:
    target, ranged = fresh("/products?order=id"), {"range": "0-1"}
    for _ in range(3):
        page = anon.get(target, headers=ranged | {"cache-control": "no-cache"})
        assert len(page.json()) == 2
    head = anon.head(target, headers=ranged)
    whole = anon.get(target)
    assert len(whole.json()) > 2
    assert head.headers["content-range"] == whole.headers["content-range"]
