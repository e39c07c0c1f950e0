"""The access log: lines made of values, and what a real server writes."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.model import Statement, Transaction
from proxy.observability.lines import DescriptorHandler, LineWriter
from proxy.observability.logs import (
    FIELDS,
    Entry,
    apache_line,
    entry_of,
    json_line,
    sql_lines,
)
from proxy.observability.record import Record
from proxy.response.model import Response
from tests.conftest import MakeToken
from tests.http.processes import ServerProcess, running
from tests.observability.conftest import Ask, Serve

AT = 1622011118.25
ENTRY = Entry(
    at=AT,
    method="GET",
    target=b"/clients",
    http_version="1.1",
    client="127.0.0.1",
    referer=None,
    user_agent=b"curl/7.64.0",
    request_id=None,
    status=200,
    size=56,
    seconds=0.0125,
    record=Record(role="user"),
)
COMBINED = re.compile(
    r'(\S+) - (.*) \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "(\S+) (.*) HTTP/(\d\.\d)"'
    r' (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n'
)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_the_line_is_postgrests() -> None:
    try:
        line = apache_line(replace(ENTRY, at=AT + 1))
    finally:
        os.environ["TZ"] = "UTC"
        time.tzset()
    assert line == (
        '127.0.0.1 - user [26/May/2021:02:38:39 -0400] "GET /clients HTTP/1.1" 200 56'
        ' "" "curl/7.64.0"\n'
    )


@pytest.mark.parametrize(
    "change, shown",
    [
        ({"client": None}, "- - user ["),
        ({"client": "::ffff:10.0.0.1"}, "10.0.0.1 - user ["),
        ({"client": "::1"}, "::1 - user ["),
        ({"record": Record()}, "127.0.0.1 - - ["),
        ({"record": Record(role="Zoë")}, "127.0.0.1 - Zoë ["),
        ({"record": Record(role='a"b\nc')}, '127.0.0.1 - a\\"b\\x0ac ['),
        ({"http_version": "2"}, '"GET /clients HTTP/2.0" 200 56'),
        ({"size": None, "method": "HEAD"}, '"HEAD /clients HTTP/1.1" 200 - ""'),
        ({"target": b'/a"b\\c\xff\xc3\xa9?x=1'}, '"GET /a\\"b\\\\c\\xffé?x=1 HTTP/1.1"'),
        ({"referer": b"https://example.com/"}, '56 "https://example.com/" "curl/7.64.0"'),
        ({"user_agent": None}, '56 "" ""\n'),
        ({"user_agent": "\u2028\x85".encode()}, '"\\xe2\\x80\\xa8\\xc2\\x85"\n'),
    ],
)
def test_fields_of_the_line(change: dict[str, object], shown: str) -> None:
    assert shown in apache_line(replace(ENTRY, **change))  # type: ignore[arg-type]


@given(st.text(), st.binary(), st.binary(), st.binary())
def test_no_client_adds_a_line_or_a_field(
    role: str, target: bytes, referer: bytes, agent: bytes
) -> None:
    role = role.encode(errors="replace").decode()
    entry = replace(
        ENTRY, target=target, referer=referer, user_agent=agent, record=Record(role=role)
    )
    line = apache_line(entry)
    assert COMBINED.fullmatch(line)
    assert len(line.splitlines()) == 1
    assert set(json.loads(json_line(entry))) == {field.name for field in FIELDS}
    assert json_line(entry).count("\n") == 1


def test_an_entry_is_made_of_scope_record_and_response() -> None:
    scope = {
        "method": "GET",
        "raw_path": b"/items",
        "query_string": b"id=eq.1",
        "http_version": "1.1",
        "client": ("10.1.2.3", 5),
        "headers": [(b"user-agent", b"x"), (b"x-request-id", b"r1"), (b"referer", b"y")],
    }
    response = Response(200, ((b"content-type", b"text/plain"),), b"four")
    entry = entry_of(scope, Record(), response, trace_header=b"x-request-id", at=AT)
    assert entry.target == b"/items?id=eq.1"
    assert (entry.client, entry.size, entry.status) == ("10.1.2.3", 4, 200)
    assert (entry.user_agent, entry.request_id, entry.referer) == (b"x", b"r1", b"y")
    headed = entry_of({**scope, "method": "HEAD"}, Record(), response, trace_header=None, at=AT)
    assert (headed.size, headed.request_id) == (None, None)


def test_a_json_line_says_it_all() -> None:
    record = Record(role="user", resource="table", code="42501", waited=0.002, received=3)
    record.app = "shop"
    record.laps["transaction"] = 0.005
    record.transaction = Transaction(Statement("select $1", ("a secret",)))
    entry = replace(ENTRY, target=b"/a%20b?x=eq.1", status=403, request_id=b"r1", record=record)
    assert json.loads(json_line(entry, with_sql=True)) == {
        "time": "2021-05-26T06:38:38.250Z",
        "client": "127.0.0.1",
        "app": "shop",
        "role": "user",
        "method": "GET",
        "path": "/a%20b",
        "query": "x=eq.1",
        "protocol": "1.1",
        "status": 403,
        "code": "42501",
        "resource": "table",
        "bytes_in": 3,
        "bytes_out": 56,
        "duration_ms": 12.5,
        "wait_ms": 2.0,
        "database_ms": 3.0,
        "request_id": "r1",
        "trace_id": None,
        "referer": None,
        "user_agent": "curl/7.64.0",
        "sql": ["select $1"],
    }


def test_sql_is_one_line_per_statement_and_without_values() -> None:
    transaction = Transaction(
        Statement("select\n  $1", ("a secret",)),
        settings=(("role", "hidden"),),
        before=Statement("select check_it()"),
        after=Statement("explain select 1"),
    )
    lines = sql_lines(transaction)
    assert len(lines) == 4
    assert lines[2:] == ["select   $1", "explain select 1"]
    assert "set_config($1, $2, true)" in lines[0]
    assert "check_it()" in lines[1]
    assert not any("secret" in line or "hidden" in line or "\n" in line for line in lines)
    assert sql_lines(None) == []


# --- writing ------------------------------------------------------------------------------


class Turns:
    """Calls what was asked for when the turn ends."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def end(self) -> None:
        calls = tuple(self.calls)
        self.calls.clear()
        for call in calls:
            call()

    def later(self, _seconds: float, call: Callable[[], None]) -> None:
        self.calls.append(call)


def test_lines_of_a_turn_are_written_together(tmp_path: Path) -> None:
    turns = Turns()
    with (tmp_path / "log").open("w+b", buffering=0) as file:
        writer = LineWriter(file.fileno(), turns.calls.append, turns.later)
        lines = [f"{n} {'x' * (n * 37 % 1500)}\n" for n in range(50)]
        for line in lines:
            writer.write(line)
        assert len(turns.calls) == 1
        assert file.tell() == 0
        turns.end()
        file.seek(0)
        assert file.read().decode() == "".join(lines)


def test_a_full_pipe_that_does_not_block_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    read: list[bytes] = []

    def drain() -> None:
        with os.fdopen(reading, "rb") as file:
            read.append(file.read())

    turns = Turns()
    writer = LineWriter(writing, turns.calls.append, turns.later)
    lines = [f"{n} {'x' * 1000}\n" for n in range(500)]
    for line in lines:
        writer.write(line)
    reader = threading.Thread(target=drain)
    reader.start()
    while turns.calls:
        turns.end()
    os.close(writing)
    reader.join()
    assert read[0].decode() == "".join(lines)


def test_a_reader_that_has_gone_ends_the_log_only(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    turns = Turns()
    writer = LineWriter(writing, turns.calls.append, turns.later)
    try:
        for _ in range(2):
            writer.write("gone\n")
            turns.end()
    finally:
        os.close(writing)
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("The access log can't be written any more")


def test_a_reader_that_stalls_costs_lines_and_no_time(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    turns, dropped = Turns(), list[int]()
    writer = LineWriter(writing, turns.calls.append, turns.later, dropped.append)
    # Longer ones than a pipe takes in one piece, too.
    lines = [f"{n} {'x' * (n * 3701 % 9000)}\n" for n in range(1000)]
    for line in lines:
        writer.write(line)
        turns.end()
    assert 0 < sum(dropped) < len(lines)
    read = b""
    while turns.calls:
        read += os.read(reading, 100_000)
        turns.end()
    writer.write("the last\n")
    turns.end()
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        read += file.read()
    kept = read.decode().splitlines(keepends=True)
    assert len(kept) == len(lines) - sum(dropped) + 1
    # Whole, and in their order.
    assert kept == [line for line in (*lines, "the last\n") if line in set(kept)]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "Lines of the access log are dropped: its reader stalls",
        f"The access log is written again; it lacks {sum(dropped)} lines",
    ]


def test_a_full_disk_costs_what_it_does_not_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turns, dropped = Turns(), list[int]()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (tmp_path / "log").open("w+b", buffering=0) as file:
        writer = LineWriter(file.fileno(), turns.calls.append, turns.later, dropped.append)
        try:
            # As a disk that is full in the middle of a line.
            resource.setrlimit(resource.RLIMIT_FSIZE, (15, limits[1]))
            for line in ("first one\n", "second one\n", "third one\n"):
                writer.write(line)
                turns.end()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.write("fourth one\n")
        while turns.calls:
            turns.end()
        file.seek(0)
        assert file.read() == b"first one\nsecon\nfourth one\n"
    assert sum(dropped) == 2
    assert caplog.records[-1].getMessage().endswith("it lacks 2 lines")


def test_diagnostics_that_nobody_reads_are_counted() -> None:
    reading, writing = os.pipe()
    handler = DescriptorHandler(writing)
    record = logging.LogRecord("proxy", logging.INFO, "", 0, "y" * 999, None, None)
    for _ in range(100):
        handler.emit(record)
    lost = 100 - os.read(reading, 1_000_000).count(b"\n")
    assert lost > 0
    handler.emit(record)
    os.close(writing)
    with os.fdopen(reading) as file:
        assert f"({lost} more lines were lost" in file.read()


# --- a real server ------------------------------------------------------------------------


def logged(server: ServerProcess) -> list[str]:
    """The lines on standard output, once the server has ended."""
    server.signal()
    code, output = server.wait()
    assert code == 0
    return output.splitlines(keepends=True)


def test_a_line_names_role_target_size_and_agent(serve: Serve, token: MakeToken) -> None:
    with serve(log_level="info") as server:
        with httpx.Client(base_url=server.url, headers={"user-agent": "me/1"}) as client:
            body = client.get("/items?id=eq.1", headers={"referer": "https://x/"}).content
            client.get("/items", headers=token("web_user"))
            client.get("/items", headers={"authorization": "Bearer wrong"})
            client.head("/items")
        with httpx.Client(http1=False, http2=True, base_url=server.url) as client:
            client.get("/items")
        lines = logged(server)
    found = [match.groups() for line in lines if (match := COMBINED.fullmatch(line))]
    assert [(who, target, status) for _, who, _, _, target, _, status, *_ in found] == [
        ("web_anon", "/items?id=eq.1", "200"),
        ("web_user", "/items", "200"),
        ("-", "/items", "401"),
        ("web_anon", "/items", "200"),
        ("web_anon", "/items", "200"),
    ]
    address, _, _, method, _, protocol, _, size, referer, agent = found[0]
    assert (address, method, protocol) == ("127.0.0.1", "GET", "1.1")
    assert (int(size), referer, agent) == (len(body), "https://x/", "me/1")
    assert found[3][7] == "-"
    assert found[4][5] == "2.0"


def test_a_client_over_a_unix_socket_has_no_address(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "main")
    with serve(log_level="info", server_unix_socket=path) as server:
        with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
            client.get("http://server/items")
        assert logged(server)[0].startswith("- - web_anon [")


def test_the_sql_of_logged_requests_is_on_standard_error(serve: Serve) -> None:
    with serve(log_level="warn", log_query=True, db_pre_request="api.backend") as server:
        httpx.get(server.url + "/items?name=eq.quiet")
        httpx.get(server.url + "/rpc/fail")
        httpx.get(server.url + "/nothing")
        lines = logged(server)
        sql = [line for line in server.log.splitlines() if "proxy.observability.logs" in line]
    assert len(lines) == 2
    assert len(sql) == 3
    assert "set_config" in sql[0]
    assert '"api"."backend"()' in sql[1]
    assert '"api"."fail"' in sql[2]
    assert "web_anon" not in "".join(sql)


def test_json_lines_of_a_real_server(serve: Serve, token: MakeToken) -> None:
    settings = {"log_level": "info", "log_format": "json", "log_query": True}
    with serve(server_trace_header="X-Request-Id", db_pool=1, **settings) as server:
        headers = {"X-Request-Id": "r-1", **token("web_user")}
        answer = httpx.get(server.url + "/items?id=eq.1", headers=headers)
        assert answer.headers["x-request-id"] == "r-1"
        httpx.post(server.url + "/rpc/wait", json={"seconds": 0.05})
        httpx.post(server.url + "/items", json={"id": 1})
        httpx.get(server.url + "/nothing")
        read, waited, refused, missed = map(json.loads, logged(server))
    assert (read["role"], read["request_id"], read["resource"]) == ("web_user", "r-1", "table")
    assert (read["status"], read["code"], read["bytes_out"]) == (
        200,
        None,
        len(answer.content),
    )
    assert "eq.1" not in "".join(read["sql"])
    assert waited["resource"] == "rpc"
    assert 50 <= waited["database_ms"] <= waited["duration_ms"]
    assert (refused["status"], refused["code"], refused["bytes_in"]) == (409, "23505", 8)
    assert (missed["code"], missed["database_ms"], missed["sql"]) == ("PGRST205", None, [])


def test_the_level_says_who_is_logged_and_follows_reloads(
    database: str, tmp_path: Path
) -> None:
    config = tmp_path / "edge.conf"

    def write(level: str) -> None:
        settings = {
            "db-uri": database,
            "db-schemas": "api",
            "db-anon-role": "web_anon",
            "server-host": "127.0.0.1",
            "server-port": 0,
            "log-level": level,
        }
        config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))

    write("crit")
    with running([sys.executable, "-m", "tests.http.edge_server", str(config)]) as server:
        with httpx.Client(base_url=server.url) as client:
            for reloads, level in enumerate(("crit", "error", "warn", "info")):
                if reloads:
                    write(level)
                    server.signal(signal.SIGUSR2)
                while server.log.count("Settings reloaded") < reloads:
                    client.options("/items")
                for path in ("/items", "/nothing", "/rpc/fail"):
                    client.get(path, headers={"user-agent": level})
        lines = [line for line in logged(server) if "OPTIONS" not in line]
    found = [match.groups() for line in lines if (match := COMBINED.fullmatch(line))]
    assert len(found) == len(lines)
    assert [(agent, status) for *_, status, _, _, agent in found] == [
        ("error", "503"),
        ("warn", "404"),
        ("warn", "503"),
        ("info", "200"),
        ("info", "404"),
        ("info", "503"),
    ]


def test_a_server_whose_log_nobody_reads_goes_on(
    serve: Serve, ask_admin: Ask, tmp_path: Path
) -> None:
    with serve(log_level="info", admin_server_unix_socket=str(tmp_path / "admin")) as server:
        headers = {"user-agent": "x" * 9000}
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
            for _ in range(300):
                assert client.get("/items").status_code == 200
        found = re.search(
            r"(?m)^edgerest_log_lines_dropped_total ([0-9.]+)", ask_admin("/metrics").text
        )
        assert found is not None
        assert float(found[1]) > 0
        assert "Lines of the access log are dropped" in server.log
