"""Two requests share an answer only if they mean the same and may see the same."""

from __future__ import annotations

import itertools
import time

import httpx
import pytest

from tests.auth.signing import sign
from tests.cache.served.conftest import Sql
from tests.cache.served.test_serving import fresh, status_of
from tests.conftest import SECRET, MakeToken

_names = (f"t{number}" for number in itertools.count())


def signed(claims: str) -> dict[str, str]:
    """A token with these very claims."""
    return {"authorization": f"Bearer {sign(claims, SECRET)}"}


@pytest.mark.parametrize(
    "table", ["constant", "path", "jsonpath", "declared", "procedural", "returned"]
)
def test_a_revoked_token_gets_nothing_that_another_of_the_same_person_kept(
    catalogue_client: httpx.Client, token: MakeToken, sql: Sql, table: str
) -> None:
    revoked, valid = next(_names), next(_names)
    one, other = (token("web_user", sub="ada", jti=jti) for jti in (revoked, valid))
    target = fresh(f"/by_{table}")
    sql(f"insert into api.revoked values ('{revoked}')")
    assert catalogue_client.get(target, headers=other).json() == [{"id": 1}]
    assert catalogue_client.get(target, headers=one).json() == []
    # Each is kept for whoever asked last, to the letter of the token.
    again = catalogue_client.get(target, headers=one)
    assert "; hit" in status_of(again)
    assert again.json() == []
    assert catalogue_client.get(target, headers=other).json() == [{"id": 1}]


def test_a_token_from_before_all_were_cut_off(
    catalogue_client: httpx.Client, token: MakeToken, sql: Sql
) -> None:
    sub, now = next(_names), int(time.time())
    old, new = (token("web_user", sub=sub, iat=issued) for issued in (now - 60, now))
    target = fresh("/by_aged")
    sql(f"insert into api.cut_off values ('{sub}', {now - 30})")
    assert catalogue_client.get(target, headers=new).json() == [{"id": 1}]
    assert catalogue_client.get(target, headers=old).json() == []


def test_of_equal_claims_the_last_counts(catalogue_client: httpx.Client) -> None:
    """For PostgreSQL as for whoever is told apart by them."""
    target = fresh("/notes?select=owner")
    his = signed('{"role":"web_user","sub":"ada","sub":"bob"}')
    hers = signed('{"role":"web_user","sub":"bob","sub":"ada"}')
    for headers, owners in ((his, {"bob"}), (hers, {"ada"}), (his, {"bob"}), (hers, {"ada"})):
        rows = catalogue_client.get(target, headers=headers).json()
        assert {row["owner"] for row in rows} == owners
    plain = catalogue_client.get(target, headers=signed('{"sub":"ada","role":"web_user"}'))
    assert "; hit" in status_of(plain)
    # Where PostgreSQL would show both, there is one.
    told = catalogue_client.get("/rpc/all_claims", headers=his)
    assert told.content == b'{"role":"web_user","sub":"bob"}'


def test_names_that_are_one_keep_their_order(catalogue_client: httpx.Client) -> None:
    one = catalogue_client.get('/rpc/args?"a"=1&a=2')
    other = catalogue_client.get('/rpc/args?a=2&"a"=1')
    assert (one.text, other.text) == ("2", "1")


@pytest.mark.parametrize(
    "limits, rows",
    [
        ('reviews.limit=2&"reviews".limit=1', 1),
        ('"reviews".limit=1&reviews.limit=2', 2),
        ('reviews.limit=1&"reviews".limit=0&reviews.limit=2', 2),
        ('reviews.limit=1&"reviews".offset=9999', 0),
    ],
)
def test_of_several_limits_the_last_counts(anon: httpx.Client, limits: str, rows: int) -> None:
    found = anon.get(f"/products?select=reviews(body)&id=eq.1&{limits}")
    assert [len(row["reviews"]) for row in found.json()] == [rows]


def test_lines_of_a_header_are_no_other_line(catalogue_client: httpx.Client) -> None:
    target = fresh("/products?id=eq.7")
    first = "application/vnd.pgrst.object+json;q=0.1"
    both = [("accept", first), ("accept", "application/json")]
    shown = catalogue_client.get(target, headers=both)
    assert shown.headers["content-type"].startswith("application/vnd.pgrst.object+json")
    joined = catalogue_client.get(target, headers={"accept": f"{first}, application/json"})
    assert joined.headers["content-type"].startswith("application/json")
    ranges = [("range", "0-0"), ("range", "5-9")]
    target = fresh("/products?order=id")
    assert catalogue_client.get(target, headers=ranges).headers["content-range"] == "0-0/*"
    strange = catalogue_client.get(target, headers={"range": "0-0, 5-9"})
    assert strange.headers["content-range"] != "0-0/*"
