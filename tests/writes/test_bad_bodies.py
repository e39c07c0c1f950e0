"""Bodies that are wrong, large or cut short: a clear refusal, and nothing written."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import MakeToken
from tests.http.processes import ServerProcess
from tests.http.wire import H2Client, exchange

ROWS = 10_000
KEPT = {"id": -1, "label": "kept", "amount": 0}
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(autouse=True)
def bulk(client: httpx.Client) -> Iterator[None]:
    """Afterwards the table `bulk` has the one row it had before."""
    assert client.post("/bulk", json=KEPT).status_code == 201
    yield
    rows = client.get("/bulk").json()
    assert client.delete("/bulk").status_code == 204
    assert rows == [KEPT]


def rows_with(at: int, row: object) -> bytes:
    """The body of a bulk insert, one row of it replaced."""
    rows: list[object] = [{"id": n, "label": f"row {n}"} for n in range(ROWS)]
    rows[at] = row
    return json.dumps(rows).encode()


def csv_with(at: int, line: str) -> bytes:
    lines = [f"{n},row {n}" for n in range(ROWS)]
    lines[at] = line
    return "\n".join(["id,label", *lines]).encode()


def deep(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return f'[{{"id": 1, "label": {opening * levels}{closing * levels}}}]'.encode()


KEYS_MUST_MATCH = "All object keys must match"
INVALID_JSON = "Empty or invalid json"
TOO_DEEP = "The request body is nested too deeply"
NOT_UTF8 = "The request body is not valid UTF-8"

Body = Callable[[], bytes]


@pytest.mark.parametrize(
    "body, headers, status, code, message",
    [
        (
            lambda: rows_with(6_999, {"id": "seven", "label": "x"}),
            {},
            400,
            "22P02",
            'invalid input syntax for type integer: "seven"',
        ),
        (
            lambda: csv_with(6_999, "seven,x"),
            CSV,
            400,
            "22P02",
            'invalid input syntax for type integer: "seven"',
        ),
        (
            lambda: rows_with(6_999, {"id": 2**31, "label": "x"}),
            {},
            400,
            "22003",
            'value "2147483648" is out of range for type integer',
        ),
        (
            lambda: rows_with(6_999, {"id": None, "label": "x"}),
            {},
            400,
            "23502",
            'null value in column "id" of relation "bulk" violates not-null constraint',
        ),
        (
            lambda: rows_with(6_999, {"id": 17, "label": "x"}),
            {},
            409,
            "23505",
            'duplicate key value violates unique constraint "bulk_pkey"',
        ),
        (lambda: rows_with(6_999, 7), {}, 400, "PGRST102", KEYS_MUST_MATCH),
        (lambda: rows_with(6_999, [7]), {}, 400, "PGRST102", KEYS_MUST_MATCH),
        (lambda: rows_with(6_999, None), {}, 400, "PGRST102", KEYS_MUST_MATCH),
        (lambda: rows_with(6_999, {"id": 7}), {}, 400, "PGRST102", KEYS_MUST_MATCH),
        (
            lambda: rows_with(6_999, {"id": 7, "label": "x", "more": 1}),
            {},
            400,
            "PGRST102",
            KEYS_MUST_MATCH,
        ),
        (
            lambda: csv_with(6_999, "7"),
            CSV,
            400,
            "PGRST102",
            "All lines must have same number of fields",
        ),
        (
            lambda: csv_with(6_999, '7,"x'),
            CSV,
            400,
            "PGRST102",
            'parse error (endOfInput) at "x\\nrow',
        ),
        (
            lambda: rows_with(6_999, {"id": 7, "label": "a\0b"}),
            {},
            400,
            "22P05",
            "unsupported Unicode escape sequence",
        ),
        (
            lambda: csv_with(6_999, "7,a\0b"),
            CSV,
            400,
            "22P05",
            "unsupported Unicode escape sequence",
        ),
        (lambda: rows_with(1, {})[:-5_000], {}, 400, "PGRST102", INVALID_JSON),
        (lambda: b'[{"id": 1, "label": "a\0b"}]', {}, 400, "PGRST102", INVALID_JSON),
        (lambda: b'[{"id": 1, "label": "\xff"}]', {}, 400, "PGRST102", NOT_UTF8),
        (lambda: b'[{"id": 1, "label": "\xed\xa0\x80"}]', {}, 400, "PGRST102", NOT_UTF8),
        (lambda: b"id,label\n1,\xff\n", CSV, 400, "PGRST102", NOT_UTF8),
        (lambda: b'[{"id": 1, "label": "' + b"\xc3" * 70_000, {}, 400, "PGRST102", NOT_UTF8),
        (lambda: "[{}]".encode("utf-16"), {}, 400, "PGRST102", NOT_UTF8),
        (lambda: b"", {}, 400, "PGRST102", INVALID_JSON),
        (lambda: b"id,label", CSV, 400, "PGRST102", "parse error (not enough input)"),
        (lambda: b'[{"id": NaN, "label": "x"}]', {}, 400, "PGRST102", INVALID_JSON),
        (lambda: deep(100_000), {}, 400, "PGRST102", TOO_DEEP),
        (lambda: deep(100_000, '{"a":', "}"), {}, 400, "PGRST102", TOO_DEEP),
        (
            lambda: b'{"id": 1, "nope": 2}',
            {},
            400,
            "PGRST204",
            "Could not find the 'nope' column of 'bulk' in the schema cache",
        ),
        (
            lambda: b"x",
            {"Content-Type": "image/png"},
            400,
            "PGRST102",
            "Content-Type not acceptable: image/png",
        ),
    ],
)
def test_bad_bodies(
    client: httpx.Client,
    body: Body,
    headers: dict[str, str],
    status: int,
    code: str,
    message: str,
) -> None:
    given = {"Content-Type": "application/json"} | headers
    response = client.post("/bulk", content=body(), headers=given)
    error = response.json()
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["message"].startswith(message.partition('at "x')[0])


@pytest.mark.parametrize(
    "body, code",
    [
        (lambda: rows_with(6_999, 7), "22023"),
        (lambda: rows_with(6_999, {"id": None, "label": "x"}), "23502"),
        (lambda: rows_with(6_999, {"label": "x"}), "23502"),
        (lambda: rows_with(1, {})[:-5_000], "22P02"),
        (lambda: b'[{"id": 1, "label": "a\0b"}]', "22021"),
        (lambda: b"7", "22023"),
        (lambda: b'"x"', "22023"),
        (lambda: b"", "22P02"),
        (lambda: deep(100_000), "PGRST102"),
        (lambda: deep(100_000, '{"a":', "}"), "PGRST102"),
        (lambda: b"[" * 100_000, "PGRST102"),
    ],
)
@pytest.mark.parametrize("prefer", ["missing=null", "missing=default"])
def test_bodies_that_only_the_database_reads(
    client: httpx.Client, body: Body, code: str, prefer: str
) -> None:
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    response = client.post("/bulk?columns=id,label", content=body(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, code), response.text


def test_the_refusal_of_duplicates_names_the_key(client: httpx.Client) -> None:
    response = client.post("/bulk", content=rows_with(6_999, {"id": 17, "label": "x"}))
    assert response.json()["details"] == "Key (id)=(17) already exists."


def test_a_body_beyond_the_limit(client: httpx.Client) -> None:
    body = json.dumps([{"id": n, "label": "x" * 1000} for n in range(5_000)])
    response = client.post("/bulk", content=body)
    assert (response.status_code, response.json()["code"]) == (413, "EDGE413")
    assert response.json()["details"] == "The limit is 4000000 bytes"


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_that_stops_half_way(
    stock_server: ServerProcess, token: MakeToken, framing: str
) -> None:
    # What has arrived would be a whole body by itself.
    part = b'[{"id": 1, "label": "half"}]'
    head = f"POST /bulk HTTP/1.1\r\nHost: x\r\n{auth_line(token)}\r\n".encode()
    if framing == "length":
        data = head + b"Content-Length: 1000\r\n\r\n" + part
    else:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(part), part)
    reply = exchange((stock_server.host, stock_server.port), data, close_writing=True)
    assert not reply.startswith(b"HTTP/1.1 2")


def test_a_stream_that_is_reset_half_way(stock_server: ServerProcess, token: MakeToken) -> None:
    with H2Client((stock_server.host, stock_server.port)) as client:
        headers = [(name.lower(), value) for name, value in token().items()]
        half = client.request("POST", "/bulk", headers, b'[{"id": 1}]', end=False)
        client.connection.reset_stream(half)
        client.flush()
        assert client.get("/items").status == 200


def test_a_length_that_is_too_short_is_not_padded(
    stock_server: ServerProcess, token: MakeToken
) -> None:
    body = b'[{"id": 1, "label": "half"}]'
    head = f"POST /bulk HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth_line(token)}\r\n"
    data = head.encode() + b"Content-Length: %d\r\n\r\n" % (len(body) - 4) + body
    with socket.create_connection((stock_server.host, stock_server.port), timeout=20) as sock:
        sock.sendall(data)
        reply = sock.recv(65536)
    assert reply.startswith(b"HTTP/1.1 400")


def auth_line(token: MakeToken) -> str:
    return "".join(f"{name}: {value}" for name, value in token().items())


def test_patch_and_rpc_refuse_the_same(client: httpx.Client) -> None:
    cases: list[tuple[str, str, bytes, dict[str, Any], int, str]] = [
        ("PATCH", "/bulk?id=eq.-1", b'{"amount": "x"}', {}, 400, "22P02"),
        ("PATCH", "/bulk?id=eq.-1", b'{"amount": \xff}', {}, 400, "PGRST102"),
        ("PATCH", "/bulk?id=eq.-1", deep(100_000), {}, 400, "PGRST102"),
        ("PUT", "/bulk?id=eq.-1", b'{"id": -1, "amount": "x"}', {}, 400, "22P02"),
        ("PUT", "/bulk?id=eq.-1", b'{"id": -2}', {}, 400, "PGRST115"),
        ("PUT", "/bulk?id=eq.-1", b'[{"id": -1}, 7]', {}, 400, "PGRST102"),
        ("POST", "/rpc/move", b'{"spot": "x"}', {}, 400, "22P02"),
        ("POST", "/rpc/move", b"[", {}, 400, "PGRST102"),
        ("POST", "/rpc/whole", deep(100_000), {}, 400, "PGRST102"),
        ("POST", "/rpc/whole?columns=a", deep(100_000), {}, 400, "PGRST102"),
    ]
    for method, target, body, headers, status, code in cases:
        given = {"Content-Type": "application/json"} | headers
        response = client.request(method, target, content=body, headers=given)
        found = (response.status_code, response.json()["code"])
        assert found == (status, code), (method, target, response.text)
