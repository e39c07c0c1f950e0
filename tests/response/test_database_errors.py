"""PostgreSQL's errors and the pool's, as the caller gets them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    PoolError,
    PoolTimeout,
)
from proxy.response.database_errors import database_error, pool_error

STATUSES = [
    ("08006", 503),
    ("09000", 500),
    ("0L000", 403),
    ("0P000", 403),
    ("21000", 500),
    ("22023", 400),
    ("22P02", 400),
    ("23502", 400),
    ("23503", 409),
    ("23505", 409),
    ("23514", 400),
    ("25006", 405),
    ("25P02", 500),
    ("28P01", 403),
    ("2D000", 500),
    ("38000", 500),
    ("39000", 500),
    ("3B000", 500),
    ("3F000", 400),
    ("40001", 500),
    ("40P01", 500),
    ("42501", 403),
    ("42601", 400),
    ("42703", 400),
    ("42883", 404),
    ("42P01", 404),
    ("42P17", 500),
    ("53300", 503),
    ("53400", 500),
    ("54001", 500),
    ("54011", 400),
    ("54000", 500),
    ("55P03", 500),
    ("57014", 500),
    ("57P01", 503),
    ("57P03", 500),
    ("58030", 500),
    ("F0000", 500),
    ("HV000", 500),
    ("P0001", 400),
    ("P0002", 500),
    ("XX000", 500),
    ("PT402", 402),
    ("PT999", 999),
    ("PT100", 500),
    ("PT099", 500),
    ("PTabc", 500),
    ("ABCDE", 400),
    ("", 400),
]


@pytest.mark.parametrize("sqlstate, status", STATUSES)
def test_status(sqlstate: str, status: int) -> None:
    error = database_error(sqlstate, "said", "more", "try", authenticated=True)
    assert error.status == status
    assert json.loads(error.body()) == {
        "code": sqlstate,
        "message": "said",
        "details": "more",
        "hint": "try",
    }


@pytest.mark.parametrize(
    "sqlstate, message, authenticated, status",
    [
        ("21000", "UPDATE requires a WHERE clause", True, 400),
        ("22023", 'role "nobody" does not exist', True, 401),
        ("22023", 'parameter "x" does not exist', True, 400),
        ("42883", "function xmlagg(json) does not exist", True, 406),
        ("42501", "permission denied for table t", True, 403),
        ("42501", "permission denied for table t", False, 401),
        ("PT401", "Who goes there?", True, 401),
    ],
)
def test_status_by_what_was_said(
    sqlstate: str, message: str, authenticated: bool, status: int
) -> None:
    error = database_error(sqlstate, message, authenticated=authenticated)
    assert error.status == status
    challenged = error.headers == ((b"www-authenticate", b"Bearer"),)
    assert challenged == (status == 401)


def test_absent_fields_are_null() -> None:
    body = json.loads(database_error("42601", "no", authenticated=True).body())
    assert (body["details"], body["hint"]) == (None, None)


def test_a_server_that_may_come_back() -> None:
    error = database_error("57P01", "terminating connection", authenticated=True)
    assert error.headers == ((b"retry-after", b"1"),)


@pytest.mark.parametrize(
    "message, reason",
    [
        ("Payment Required", "Payment Required"),
        ("two\r\nSet-Cookie: lines", "two Set-Cookie: lines"),
        ("\x00", ""),
    ],
)
def test_reason_phrase(message: str, reason: str) -> None:
    assert database_error("PT402", message, authenticated=True).reason == reason
    assert database_error("P0001", message, authenticated=True).reason is None


# --- RAISE SQLSTATE 'PGRST' ---------------------------------------------------------------

MESSAGE = '{"code":"123","message":"Pay","details":"Quota","hint":"Upgrade"}'
DETAIL = '{"status":402,"headers":{"X-Powered-By":"Nerd Rage"}}'


def raised(message: str, detail: str | None) -> Any:
    return database_error("PGRST", message, detail, "unused", authenticated=False)


def test_raised_response() -> None:
    error = raised(MESSAGE, DETAIL)
    assert (error.status, error.reason) == (402, None)
    assert error.headers == ((b"x-powered-by", b"Nerd Rage"),)
    assert json.loads(error.body()) == json.loads(MESSAGE)


def test_raised_status_text_and_optional_members() -> None:
    detail = '{"status":419,"status_text":"Page\\nExpired","headers":{"b":"2","a":"1 "},"x":1}'
    error = raised('{"code":"a","message":"b","hint":null}', detail)
    assert (error.status, error.reason) == (419, "Page Expired")
    assert error.headers == ((b"a", b"1"), (b"b", b"2"))
    assert (error.details, error.hint) == (None, None)


def test_a_raised_401_brings_its_own_headers_only() -> None:
    assert raised(MESSAGE, '{"status":401,"headers":{}}').headers == ()


MESSAGE_HINT = (
    "MESSAGE must be a JSON object with obligatory keys: 'code', 'message'"
    " and optional keys: 'details', 'hint'."
)
DETAIL_HINT = (
    "DETAIL must be a JSON object with obligatory keys: 'status', 'headers'"
    " and optional key: 'status_text'."
)


@pytest.mark.parametrize(
    "message, detail, details, hint",
    [
        *(
            (text, DETAIL, f"Invalid JSON value for MESSAGE: '{text}'", MESSAGE_HINT)
            for text in (
                "INVALID",
                "[]",
                "{}",
                '{"code":"a"}',
                '{"message":"a"}',
                '{"code":1,"message":"a"}',
                '{"code":"a","message":null}',
                '{"code":"a","message":"b","hint":5}',
                "[" * 10_000,
            )
        ),
        ("INVALID", None, "Invalid JSON value for MESSAGE: 'INVALID'", MESSAGE_HINT),
        (MESSAGE, None, "DETAIL is missing in the RAISE statement", DETAIL_HINT),
        *(
            (MESSAGE, text, f"Invalid JSON value for DETAIL: '{text}'", DETAIL_HINT)
            for text in (
                "",
                "INVALID",
                "{}",
                '{"status":402}',
                '{"headers":{}}',
                '{"status":"402","headers":{}}',
                '{"status":402.5,"headers":{}}',
                '{"status":1e999,"headers":{}}',
                '{"status":NaN,"headers":{}}',
                '{"status":true,"headers":{}}',
                '{"status":100,"headers":{}}',
                '{"status":1000,"headers":{}}',
                '{"status":402,"headers":[]}',
                '{"status":402,"headers":{"a":1}}',
                '{"status":402,"headers":{"a":"b\\r\\nc: d"}}',
                '{"status":402,"headers":{"a b":"c"}}',
                '{"status":402,"headers":{"Content-Length":"0"}}',
                '{"status":402,"status_text":1,"headers":{}}',
            )
        ),
    ],
)
def test_a_raise_that_is_no_response(
    message: str, detail: str | None, details: str, hint: str
) -> None:
    error = raised(message, detail)
    assert (error.code, error.status) == ("PGRST121", 500)
    assert error.message == "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    assert (error.details, error.hint) == (details, hint)


# --- the pool -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error, code, status, retry_after",
    [
        (PoolTimeout(10), "PGRST003", 504, None),
        (ConnectionFailed("no route to 10.0.0.7", 8), "PGRST000", 503, b"8"),
        (ConnectionFailed("pw s3cret", sqlstate="28P01"), "PGRST000", 503, b"1"),
        (ConnectionFailed('db "hidden"', sqlstate="3D000"), "PGRST000", 503, b"1"),
        (ConnectionFailed("full", sqlstate="53300"), "PGRST000", 503, b"1"),
        (ConnectionFailed("10.0.0.7 boots", sqlstate="57P03"), "PGRST000", 503, b"1"),
        (ConnectionFailed("other", sqlstate="XX000"), "PGRST000", 503, b"1"),
        (ConnectionLost("reset by 10.0.0.7"), "PGRST001", 503, b"1"),
        (PoolError("secret"), "PGRSTX00", 500, None),
    ],
)
def test_pool_error(
    error: PoolError, code: str, status: int, retry_after: bytes | None
) -> None:
    answer = pool_error(error, authenticated=True)
    assert (answer.code, answer.status) == (code, status)
    assert dict(answer.headers).get(b"retry-after") == retry_after
    assert str(error).encode() not in answer.body()


def test_each_refusal_gives_another_reason() -> None:
    states = [None, "28P01", "3D000", "53300", "57P03", "XX000"]
    failures = [ConnectionFailed("x", sqlstate=state) for state in states]
    details = {pool_error(failure, authenticated=True).details for failure in failures}
    assert len(details) == len(states)


@pytest.mark.parametrize("authenticated, status", [(True, 403), (False, 401)])
def test_the_pool_passes_postgresql_s_errors_on(authenticated: bool, status: int) -> None:
    error = DatabaseError("42501", "denied", "why", "ask")
    answer = pool_error(error, authenticated=authenticated)
    assert (answer.status, answer.message) == (status, "denied")
    assert (answer.details, answer.hint) == ("why", "ask")


@given(
    st.sampled_from([state for state, _ in STATUSES] + ["PGRST"]) | st.text(max_size=5),
    st.text() | st.just(MESSAGE),
    st.none() | st.text() | st.just(DETAIL),
    st.booleans(),
)
def test_any_error_makes_an_answer(
    sqlstate: str, message: str, detail: str | None, authenticated: bool
) -> None:
    error = database_error(sqlstate, message, detail, authenticated=authenticated)
    assert 200 <= error.status <= 999
    assert error.reason is None or error.reason.isprintable()
    assert json.loads(error.body()).keys() == {"code", "message", "details", "hint"}
