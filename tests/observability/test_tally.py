"""The bounded tables, and how those of several workers become one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.model import Statement, Transaction
from proxy.admin.endpoints import content_security_policy
from proxy.admin.merge import merged_document
from proxy.app.holds import Holds
from proxy.observability.record import Record
from proxy.observability.tally import OTHERS, Clients, Statements, Tally
from proxy.response.model import Response

ADDRESSES = st.integers(0, 9).map(lambda n: (f"10.0.0.{n}", "2"))


@given(st.lists(ADDRESSES, max_size=60), st.integers(1, 5), st.data())
def test_no_request_is_lost_for_want_of_room(
    came: list[tuple[str, str]], most: int, data: st.DataObject
) -> None:
    clients = Clients(most)
    under_way: list[tuple[str, str]] = []
    for client in came:
        clients.began(client)
        under_way.append(client)
        if data.draw(st.booleans()):
            clients.ended(under_way.pop(data.draw(st.integers(0, len(under_way) - 1))))
    rows = [*clients.shown()]
    assert len(rows) <= most + 1
    assert sum(row["requests"] for row in rows) == len(came)
    assert sum(row["in_flight"] for row in rows) == len(under_way)
    for client in under_way:
        clients.ended(client)
    assert sum(row["in_flight"] for row in clients.shown()) == 0


def test_clients_seen_last_are_kept() -> None:
    clients = Clients(2)
    for address in ("a", "b", "a", "c"):
        clients.began((address, "1.1"))
        clients.ended((address, "1.1"))
    assert {row["address"]: row["requests"] for row in clients.shown()} == {
        "a": 2,
        "c": 1,
        OTHERS: 1,
    }


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 100)), max_size=60))
def test_no_time_is_lost_for_want_of_room(took: list[tuple[str, int]]) -> None:
    statements = Statements(3)
    for sql, seconds in took:
        statements.took(sql, seconds)
    rows = [*statements.shown()]
    assert len(rows) <= 4
    assert sum(row["calls"] for row in rows) == len(took)
    assert sum(row["seconds"] for row in rows) == sum(seconds for _, seconds in took)
    assert max((row["longest"] for row in rows), default=0) == max(
        (seconds for _, seconds in took), default=0
    )


def test_a_tally_tells_failures_apart() -> None:
    tally = Tally()
    scope = {"client": ("::ffff:10.0.0.1", 5), "http_version": "2"}
    record = Record()
    record.transaction = Transaction(Statement("select $1", ("a secret",)))
    record.laps["transaction"] = 0.25
    for response in (Response(200, (), b""), Response(503, (), b""), None):
        tally.began(scope)
        tally.ended(scope, record, response)
    shown = tally.shown()
    assert (shown["answered"], shown["failed"], shown["abandoned"]) == (3, 1, 1)
    assert shown["clients"] == [
        {"address": "10.0.0.1", "http_version": "2", "in_flight": 0, "requests": 3}
    ]
    assert shown["statements"] == [
        {"sql": "select $1", "calls": 3, "seconds": 0.75, "longest": 0.25}
    ]


def report(**app: Any) -> dict[str, Any]:
    return {"pid": 1, "apps": {"shop": app}}


def test_what_workers_say_is_summed_up_where_it_can_be() -> None:
    one = report(
        ready=True,
        state="running",
        in_flight=2,
        pool={"busy": 1, "wait_p95": 0.5, "breaker": "closed", "paused": False},
        replicas=[{"fit": True, "lag": None, "reads": 1, "reason": ""}],
        statements=[{"sql": "a", "calls": 1, "seconds": 1.0, "longest": 1.0}],
        clients=[{"address": "x", "http_version": "2", "in_flight": 1, "requests": 2}],
    )
    other = report(
        ready=False,
        state="paused",
        in_flight=3,
        pool={"busy": 2, "wait_p95": 0.25, "breaker": "open", "paused": True},
        replicas=[{"fit": False, "lag": 0.5, "reads": 2, "reason": ""}],
        statements=[
            {"sql": "a", "calls": 2, "seconds": 0.5, "longest": 0.25},
            {"sql": "b", "calls": 1, "seconds": 9.0, "longest": 9.0},
        ],
        clients=[{"address": "x", "http_version": "1.1", "in_flight": 0, "requests": 1}],
    )
    document = merged_document([one, None, other])
    assert document["apps"]["shop"] == {
        "ready": False,
        "state": "paused",
        "in_flight": 5,
        "replicas": [{"fit": False, "lag": 0.5, "reads": 3, "reason": ""}],
        "pool": {"busy": 3, "wait_p95": 0.5, "breaker": "open", "paused": True},
        "statements": [
            {"sql": "b", "calls": 1, "seconds": 9.0, "longest": 9.0},
            {"sql": "a", "calls": 3, "seconds": 1.5, "longest": 1.0},
        ],
        "clients": [
            {"address": "x", "http_version": "2", "in_flight": 1, "requests": 2},
            {"address": "x", "http_version": "1.1", "in_flight": 0, "requests": 1},
        ],
    }
    assert [worker["answered"] for worker in document["workers"]] == [True, False, True]
    assert document["workers"][2]["apps"] == other["apps"]


def test_an_app_that_one_worker_has_yet_is_shown() -> None:
    found = merged_document(
        [report(in_flight=1), {"pid": 2, "apps": {"new": {"in_flight": 4}}}]
    )
    assert found["apps"] == {"shop": {"in_flight": 1}, "new": {"in_flight": 4}}


def test_a_hold_is_for_one_name() -> None:
    slots = {"shop": 1, "blog": 2}
    holds = Holds(3, slots.__getitem__)
    holds.put("shop", "draining")
    assert (holds.of("shop"), holds.of("blog")) == ("draining", "running")
    holds.put("shop", "running")
    assert holds.of("shop") == "running"


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_names_what_stands_in_the_page(kind: str) -> None:
    policy = content_security_policy(f"<{kind}>a</{kind}>")
    # printf a | openssl dgst -sha256 -binary | base64
    assert f"{kind}-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='" in policy
