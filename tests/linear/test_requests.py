"""Whatever a client sends, the server is soon there for others.

A hostile value of 60 KB stands in every header that the code knows, in every parameter, in
paths and in bodies. What counts is the processor time that the server spends on it, which is
what others have to wait at most, and which does not depend on what else the machine does.
"""

from __future__ import annotations

import ast
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes

import httpx
import pytest

from proxy.request.grammar.recogniser import HEADS
from tests.conftest import StartEdge
from tests.http.processes import ServerProcess
from tests.http.wire import exchange
from tests.linear.patterns import sources

SIZE = 60_000
MOST_SECONDS = 0.3
"""Of processor time: some times what the slowest of these takes on a slow machine, and a
small part of what anything quadratic does."""
LETTERS = [bytes((code,)) for code in b", \t\"'()-+.=;0a/%:\\{[*\xff"]
WORDS = rb'"\ a, "a", a=b; a/b;q=1, W/" ->a a( not. in.( and('.split()
PUMPS = (*LETTERS, *WORDS)
REPEATED = (
    b"&",
    b"&=",
    b"id=eq.1&",
    b"limit=1&",
    b"orders=is.null&",
    b"or=(id.eq.1)&",
    b"orders.limit=1&",
    b"select=id&",
    b"order=id&",
    b"a+=1&",
    b"v=1&",
)  # fmt: skip
COMPANIONS = {
    "origin": b"https://example.com",
    "access-control-request-method": b"GET",
    "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "accept": b"application/json",
    "prefer": b"handling=strict",
}
FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "expect", "upgrade"))
TICKS = os.sysconf("SC_CLK_TCK")


def known_headers() -> list[str]:
    """The names of headers, and what else is written like one, in the source of `proxy`."""
    written = {
        node.value.decode("latin-1")
        for name, tree in sources().items()
        if name.startswith("proxy")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes)
    }
    names = {name for name in written if re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name)}
    return sorted(names - FRAMING - {"host"})


@dataclass(frozen=True)
class Hostile:
    """A request; names and values of headers as they go out."""

    name: str
    method: str = "GET"
    target: str = "/customers"
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None


def filled(pump: bytes, before: bytes = b"", size: int = SIZE) -> bytes:
    return before + pump * ((size - len(before)) // len(pump))


def in_headers() -> Iterator[Hostile]:
    starts = {"authorization": b"Bearer ", "prefer": b"max-affected=", "tracestate": b"a="}
    for name in known_headers():
        method = "OPTIONS" if name.startswith("access-control") else "GET"
        for pump in PUMPS:
            # Blanks at the end would not be part of the value.
            value = filled(pump, starts.get(name, b"")) + (b"x" if pump.isspace() else b"")
            yield Hostile(f"{name}: {pump!r}", method, headers={**COMPANIONS, name: value})


def parameters() -> Iterator[str]:
    yield from ("select", "columns", "on_conflict", "order", "limit", "offset", "and", "or")
    yield from ("not.and", "orders.order", "orders.limit", "orders.or", "select=orders(*),id")
    # A regular expression is PostgreSQL's to read; `statement_timeout` bounds that.
    heads = [head for head in HEADS if "match" not in head]
    yield from (f"name={head}" for head in (*heads, "not."))
    yield from ("id=in.(", 'id=in.("', "or=(id.eq.1,", "or=(id.in.(", "select=id,", "order=id,")
    yield from ("select=name->", 'select="', "limit=0x", "id=fts(")


def in_parameters() -> Iterator[Hostile]:
    for parameter in parameters():
        for number, pump in enumerate(PUMPS):
            text = f"{parameter}=" if "=" not in parameter else parameter
            query = text + quote_from_bytes(filled(pump), safe=",()+-.=:;>*'/!$")
            where = "/rpc/add" if number % 5 == 0 else "/customers"
            if number % 2:
                kind = {"content-type": b"application/x-www-form-urlencoded"}
                yield Hostile(f"{text}{pump!r}", "QUERY", where, kind, query.encode())
            else:
                yield Hostile(f"{text}{pump!r}", "GET", f"{where}?{query[:SIZE]}")
    for pump in REPEATED:
        for start in ("", "select=" + "orders()," * 200 + "id&"):
            for where in ("/customers", "/rpc/add"):
                target = f"{where}?{start}{filled(pump, size=SIZE - 2500).decode()}"
                yield Hostile(f"{start[:8]}{pump!r}", target=target)


def in_paths() -> Iterator[Hostile]:
    for before in ("/", "/rpc/", "/customers/", "http://", "http://a:"):
        for pump in PUMPS:
            shown = quote_from_bytes(filled(pump), safe=",()+-.=:;>*'/!$%")
            yield Hostile(f"{before}{pump!r}", target=before + shown[:SIZE])


def seconds_of(server: ServerProcess) -> float:
    """The processor time that the server has taken so far, children included."""
    total = 0
    for pid in (server.pid, *server.workers):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def sent(server: ServerProcess, hostile: Hostile) -> float:
    """The seconds that the server worked until it had answered."""
    headers = {"host": b"localhost", **hostile.headers, "connection": b"close"}
    if hostile.body is not None:
        headers["content-length"] = b"%d" % len(hostile.body)
    lines = [f"{hostile.method} {hostile.target} HTTP/1.1".encode()]
    lines += [name.encode() + b": " + value for name, value in headers.items()]
    before = seconds_of(server)
    data = b"\r\n".join((*lines, b"", hostile.body or b""))
    try:
        answer = exchange((server.host, server.port), data)
    except TimeoutError:
        pytest.fail(f"no answer to {hostile.name}")
    status = int(answer.split(b" ", 2)[1])
    # PostgreSQL has limits of its own (54*), and errors that it calls internal.
    by_postgresql = re.search(rb'"code":"[0-9A-Z]{5}"', answer)
    assert status < 500 or by_postgresql, (hostile.name, answer[-500:])
    return seconds_of(server) - before


@pytest.fixture(scope="module")
def server(start_edge: StartEdge) -> Iterator[ServerProcess]:
    # Nobody reads its access log here, which it would wait for.
    settings = {"server_trace_header": "X-Request-Id", "log_level": "crit"}
    with start_edge(**settings) as server:
        yield server
        assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", [in_headers, in_parameters, in_paths])
@pytest.mark.timeout(900)
def test_hostile_values_take_little_time(
    server: ServerProcess, kind: Callable[[], Iterator[Hostile]]
) -> None:
    slow = []
    for hostile in kind():
        seconds = sent(server, hostile)
        if seconds > MOST_SECONDS:
            seconds = min(sent(server, hostile) for _ in range(3))
        if seconds > MOST_SECONDS:
            slow.append((hostile.name, seconds))
    assert slow == []


# --- bodies -----------------------------------------------------------------------------------

BODY = 3 * 1024 * 1024


def csv_lines() -> tuple[str, bytes]:
    return "text/csv", filled(b"1\n", b"id\n", BODY)


def csv_quotes() -> tuple[str, bytes]:
    return "text/csv", filled(b'"1"\n', b"id\n", BODY)


def csv_fields() -> tuple[str, bytes]:
    return "text/csv", filled(b",", b"id\n", BODY)


def json_numbers() -> tuple[str, bytes]:
    return "application/json", filled(b"1,", b"[", BODY) + b"1]"


def json_rows() -> tuple[str, bytes]:
    return "application/json", filled(b"{},", b"[", BODY) + b'{"x":1}]'


def json_nested() -> tuple[str, bytes]:
    row = b'{"x":[' + b'{"a":1},' * 50 + b"1]},"
    return "application/json", filled(row, b"[", BODY) + b'{"x":1}]'


def json_members() -> tuple[str, bytes]:
    members = b",".join(b'"k%d":1' % number for number in range(BODY // 12))
    return "application/json", b"{" + members + b"}"


def form_escapes() -> tuple[str, bytes]:
    return "application/x-www-form-urlencoded", filled(b"%41", b"name=", BODY)


BODIES = (csv_lines, csv_quotes, csv_fields, json_numbers, json_rows, json_nested,
          json_members, form_escapes)  # fmt: skip


def longest_wait(server: ServerProcess, content_type: str, body: bytes) -> float:
    """How long another client's GET waits at most while the body is worked on, in seconds."""
    done = threading.Event()

    def send() -> None:
        try:
            httpx.post(
                f"{server.url}/customers",
                content=body,
                headers={"Content-Type": content_type},
                timeout=60,
            )
        finally:
            done.set()

    sender = threading.Thread(target=send)
    sender.start()
    waits = []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        while not done.is_set():
            began = time.perf_counter()
            assert client.get("/customers?limit=1").status_code == 200
            waits.append(time.perf_counter() - began)
    sender.join()
    return max(waits, default=0.0)


@pytest.mark.parametrize("made", BODIES, ids=[made.__name__ for made in BODIES])
@pytest.mark.timeout(300)
def test_others_are_answered_while_a_large_body_is_read(
    server: ServerProcess, made: Callable[[], tuple[str, bytes]]
) -> None:
    content_type, body = made()
    # What else the machine does may delay any single answer; not all of several times.
    assert any(longest_wait(server, content_type, body) < 0.5 for _ in range(4))
