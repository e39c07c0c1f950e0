"""What the SDK does about everything that lies between it and the rows."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_client import (
    APIError,
    AsyncEdgeClient,
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    DecodingError,
    EdgeClient,
    Limits,
    Retry,
    Timeout,
    UnavailableError,
)
from edge_client.caching import async_caching_client, caching_client
from edge_client.operation import Reply
from edge_client.store import ReplyStore
from tests.sdk.servers import Answer, Asked, GoingAway, answering

QUICK = Retry(first_wait=0.01)
ROWS = b'[{"id":1}]'


def in_turn(*answers: Answer) -> Callable[[Asked], Answer]:
    """The answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def unavailable(
    code: str = "PGRST001", status: int = 503, retry_after: str | None = None
) -> Answer:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Answer(status, json.dumps({"code": code, "message": "busy"}).encode(), headers)


# --- retries --------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [Answer(drops=True), unavailable(), Answer(502, b"<html>")])
def test_reads_are_tried_again(trouble: Answer) -> None:
    script = in_turn(trouble, trouble, Answer(body=ROWS))
    with answering(script) as server, EdgeClient(server.url, retry=QUICK) as db:
        answer = db.table("t").select().execute()
        assert (answer.data, answer.attempts) == ([{"id": 1}], 3)
    counts = [asked.headers.get("x-retry-count") for asked in server.asked]
    assert counts == [None, "1", "2"]
    assert len({asked.headers["x-request-id"] for asked in server.asked}) == 1


def test_writes_are_not_repeated_when_they_may_have_been_done() -> None:
    with (
        answering(lambda _: Answer(drops=True)) as server,
        EdgeClient(server.url, retry=QUICK) as db,
    ):
        with pytest.raises(ConnectionLostError) as raised:
            db.table("t").insert({"id": 1}).execute()
        assert raised.value.maybe_done
        assert len(server.asked) == 1
        with pytest.raises(ConnectionLostError):
            db.table("t").upsert({"id": 1}, on_conflict="id").execute()
        assert len(server.asked) == 5
        with pytest.raises(ConnectionLostError):
            db.table("t").upsert({"name": "no key"}, on_conflict="id").execute()
        with pytest.raises(ConnectionLostError):
            db.table("t").select().retry(False).execute()
        assert len(server.asked) == 7
        with pytest.raises(ConnectionLostError):
            db.table("t").update({"done": True}).eq("id", 1).retry().execute()
        assert len(server.asked) == 11


@pytest.mark.parametrize("busy", [unavailable("PGRST003", 504), Answer(429, b"slow down")])
def test_writes_that_were_not_begun_are_tried_again(busy: Answer) -> None:
    script = in_turn(busy, Answer(201, ROWS))
    with answering(script) as server, EdgeClient(server.url, retry=QUICK) as db:
        assert db.table("t").insert({"id": 1}).execute().attempts == 2


def test_a_write_that_lost_its_database_is_not() -> None:
    with answering(lambda _: unavailable()) as server, EdgeClient(server.url) as db:
        with pytest.raises(UnavailableError) as raised:
            db.table("t").insert({"id": 1}).execute()
        assert (raised.value.attempts, len(server.asked)) == (1, 1)


def test_nothing_listens() -> None:
    with answering(lambda _: Answer()) as server:
        url = server.url
    with EdgeClient(url, retry=QUICK) as db, pytest.raises(ConnectError) as raised:
        db.table("t").insert({"id": 1}).execute()
    assert not raised.value.maybe_done


def test_retry_after_is_honoured() -> None:
    script = in_turn(unavailable(retry_after="1"), Answer(body=ROWS))
    with answering(script) as server, EdgeClient(server.url, retry=QUICK) as db:
        began = time.monotonic()
        assert db.table("t").select().execute().attempts == 2
        assert 1.0 <= time.monotonic() - began < 5


def test_what_would_come_too_late_is_not_waited_for() -> None:
    script = in_turn(unavailable(retry_after="60"))
    with answering(script) as server, EdgeClient(server.url, timeout=2) as db:
        began = time.monotonic()
        with pytest.raises(UnavailableError) as raised:
            db.table("t").select().execute()
        assert raised.value.retry_after == 60
        assert time.monotonic() - began < 1


# --- deadlines ------------------------------------------------------------------------------


async def test_no_call_outlives_its_deadline() -> None:
    with answering(lambda _: Answer(body=b"x" * 200, drip=0.1)) as server:
        began = time.monotonic()
        async with AsyncEdgeClient(server.url, timeout=0.5) as db:
            with pytest.raises(DeadlineError):
                await db.table("t").select()
        assert 0.4 < time.monotonic() - began < 1.5
    sent = server.asked[0].headers["x-request-timeout"]
    assert 0.3 < float(sent) <= 0.5


def test_no_call_of_a_thread_does_either() -> None:
    with answering(lambda _: Answer(body=b"x" * 200, drip=0.1)) as server:
        began = time.monotonic()
        with EdgeClient(server.url) as db, pytest.raises(DeadlineError):
            db.table("t").select().timeout(0.5).execute()
        assert 0.4 < time.monotonic() - began < 1.5


def test_a_server_that_says_nothing() -> None:
    script = in_turn(Answer(drip=3), Answer(body=ROWS))
    timeout = Timeout(total=10, read=0.3)
    with (
        answering(script) as server,
        EdgeClient(server.url, timeout=timeout, retry=QUICK) as db,
    ):
        assert db.table("t").select().execute().attempts == 2


# --- connections ----------------------------------------------------------------------------


@pytest.mark.parametrize("abruptly", [False, True])
async def test_connections_that_go_away_are_replaced(abruptly: bool) -> None:
    async with (
        GoingAway(10, abruptly=abruptly) as server,
        AsyncEdgeClient(server.url, http2=True, retry=QUICK) as db,
    ):
        for _ in range(50):
            assert (await db.table("t").select()).data == []
        assert server.connections >= 5


async def test_many_at_once_while_connections_go_away() -> None:
    retry = Retry(attempts=20, first_wait=0.01)
    async with (
        GoingAway(25, abruptly=True) as server,
        AsyncEdgeClient(server.url, http2=True, retry=retry) as db,
    ):

        async def ask() -> object:
            return (await db.table("t").select()).data

        for _ in range(5):
            assert await asyncio.gather(*(ask() for _ in range(10))) == [[]] * 10


# --- revalidation ---------------------------------------------------------------------------


def with_etag(asked: Asked) -> Answer:
    if asked.headers.get("if-none-match") == '"1"':
        return Answer(304, headers={"ETag": '"1"', "X-Age": "new"})
    return Answer(body=ROWS, headers={"ETag": '"1"', "X-Age": "old"})


def test_answers_are_revalidated() -> None:
    with answering(with_etag) as server, EdgeClient(server.url, token="a") as db:
        query = db.table("t").select("id")
        first, second = query.execute(), query.execute()
        assert (first.revalidated, second.revalidated) == (False, True)
        assert first.data == second.data == [{"id": 1}]
        assert (second.headers or {})["x-age"] == "new"
        # Another identity, another representation, a write: not from the store.
        for other in (db.with_token("b").table("t").select("id"), query.timezone("UTC")):
            assert not other.execute().revalidated
        assert not db.table("t").insert({}).execute().revalidated
        long = db.table("t").select("id").in_("id", range(5000))
        assert [long.execute().revalidated for _ in range(2)] == [False, True]


def test_the_store_is_bounded() -> None:
    store = ReplyStore(capacity=10_000)
    for number in range(100):
        store.keep(b"%d" % number, Reply(200, {"etag": "x"}, b"x" * 1000))
    assert store.size <= 10_000
    assert len(store) == 4
    assert store.find(b"99") is not None
    assert store.find(b"0") is None
    store.keep(b"99", Reply(200, {"etag": "x", "cache-control": "no-store"}, b""))
    assert store.find(b"99") is None
    store.keep(b"large", Reply(200, {"etag": "x"}, b"x" * 20_000))
    assert store.find(b"large") is None


def fresh(_: Asked) -> Answer:
    return Answer(body=ROWS, headers={"Cache-Control": "max-age=60", "Vary": "Accept"})


def test_fresh_answers_are_not_asked_for_again(tmp_path: Path) -> None:
    with answering(fresh) as server, caching_client(tmp_path / "cache.db") as http_client:
        db = EdgeClient(server.url, token="a", http_client=http_client, limits=Limits(stored=0))
        for _ in range(3):
            assert db.table("t").select().execute().data == [{"id": 1}]
        assert len(server.asked) == 1
        assert db.with_token("b").table("t").select().execute().data == [{"id": 1}]
        assert db.schema("other").table("t").select().execute().data == [{"id": 1}]
        assert len(server.asked) == 3


async def test_fresh_answers_of_the_asynchronous_client(tmp_path: Path) -> None:
    with answering(fresh) as server:
        async with async_caching_client(tmp_path / "cache.db") as http_client:
            db = AsyncEdgeClient(server.url, http_client=http_client, limits=Limits(stored=0))
            for _ in range(3):
                assert (await db.table("t").select()).data == [{"id": 1}]
        assert len(server.asked) == 1


# --- tokens, tracing, consistency -----------------------------------------------------------


def token_until(expires: float, number: int) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires, "n": number}).encode())
    return f"e30.{claims.decode().rstrip('=')}.x"


def test_a_refused_token_is_replaced() -> None:
    given = iter(("old", "new"))

    def answer(asked: Asked) -> Answer:
        good = asked.headers["authorization"] == "Bearer new"
        return Answer(201, ROWS) if good else unavailable("PGRST303", 401)

    with answering(answer) as server, EdgeClient(server.url, token=lambda: next(given)) as db:
        assert db.table("t").insert({"id": 1}).execute().attempts == 2
        assert db.table("t").insert({"id": 1}).execute().attempts == 1
    with answering(answer) as server, EdgeClient(server.url, token=lambda: "bad") as db:
        with pytest.raises(AuthenticationError):
            db.table("t").select().execute()
        assert len(server.asked) == 2


async def test_a_token_is_replaced_before_it_expires() -> None:
    ends = iter((time.time() + 31, time.time() + 3600))
    numbers: list[int] = []

    async def source() -> str:
        numbers.append(len(numbers))
        return token_until(next(ends), numbers[-1])

    with answering(lambda _: Answer()) as server:
        async with AsyncEdgeClient(server.url, token=source) as db:
            await db.table("t").select()
            while len(numbers) == 1:
                await db.table("t").select()
            await db.table("t").select()
    assert numbers == [0, 1]


def test_headers_for_tracing_and_consistency() -> None:
    def answer(asked: Asked) -> Answer:
        written = {"X-Consistency-Token": "42"} if asked.method == "POST" else {}
        return Answer(body=ROWS, headers=written)

    def tracing() -> dict[str, str]:
        return {"Traceparent": "00-1-2-01"}

    with answering(answer) as server, EdgeClient(server.url, tracing=tracing) as db:
        for query in (
            db.table("t").select(),
            db.table("t").insert({}),
            db.schema("other").table("t").select(),
        ):
            query.execute()
    assert [asked.headers.get("x-consistency-token") for asked in server.asked] == [
        None,
        None,
        "42",
    ]
    assert {asked.headers["traceparent"] for asked in server.asked} == {"00-1-2-01"}


# --- long reads -----------------------------------------------------------------------------


def test_where_query_is_refused_it_becomes_a_post() -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(405, b"no") if asked.method == "QUERY" else Answer(body=ROWS)

    with answering(answer) as server, EdgeClient(server.url) as db:
        query = db.table("t").select().in_("id", range(5000))
        assert query.execute().data == query.execute().data == [{"id": 1}]
    assert [asked.method for asked in server.asked] == ["QUERY", "POST", "POST"]
    assert server.asked[1].headers["content-type"] == "application/vnd.edgerest.query"
    assert server.asked[0].body == server.asked[1].body


def test_a_server_that_does_not_know_it() -> None:
    refusal = json.dumps({"code": "PGRST117", "message": "Unsupported HTTP method: QUERY"})
    with (
        answering(lambda _: Answer(405, refusal.encode())) as server,
        EdgeClient(server.url) as db,
        pytest.raises(APIError, match="does not know the QUERY method"),
    ):
        db.table("t").select().in_("id", range(5000)).execute()
    assert len(server.asked) == 1


# --- answers that are none --------------------------------------------------------------------


def test_an_answer_that_is_no_json() -> None:
    with (
        answering(lambda _: Answer(body=b"<html>hello")) as server,
        EdgeClient(server.url) as db,
        pytest.raises(DecodingError, match="it begins '<html>hello'"),
    ):
        db.table("t").select().execute()


def test_our_mistakes_are_not_the_transports() -> None:
    with EdgeClient("http://localhost:1") as db, pytest.raises(UnicodeEncodeError):
        db.table("t").select().header("x-note", "\u2603").execute()
