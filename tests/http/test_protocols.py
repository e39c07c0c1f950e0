"""The ways in: HTTP/1.1, HTTP/2 with prior knowledge, HTTP/2 by ALPN, Unix sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme

from tests.http.processes import ServerProcess, echo_server
from tests.http.wire import H2Client, exchange


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with echo_server(admin=True) as server:
        yield server


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_a_request_reaches_the_application_as_it_was_sent(
    server: ServerProcess, version: str
) -> None:
    with httpx.Client(http1=version == "HTTP/1.1", http2=version == "HTTP/2") as client:
        response = client.post(
            f"{server.url}/a%20b/%C3%A9?x=eq.%22a%22&y=1",
            content=b"z" * 300_000,
            headers=[("Accept", "a"), ("accept", "b"), ("X-Empty", "")],
        )
    seen = response.json()
    assert response.http_version == version
    assert (seen["method"], seen["path"], seen["query"], seen["length"]) == (
        "POST",
        "/a%20b/%C3%A9",
        "x=eq.%22a%22&y=1",
        300_000,
    )
    names = [name for name, _ in seen["headers"]]
    assert names == [name.lower() for name in names]
    assert "x-empty" in names
    accepted = [value for name, value in seen["headers"] if name == "accept"]
    assert ", ".join(accepted) == "a, b"
    assert response.headers["content-length"] == str(len(response.content))


def test_a_megabyte_can_be_sent_without_waiting(server: ServerProcess) -> None:
    with H2Client((server.host, server.port)) as client:
        assert client.get("/").status == 200
        upload = client.request("POST", "/", end=False)
        assert client.connection.local_flow_control_window(upload) == 2**20


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_many_requests_share_a_connection(server: ServerProcess, version: str) -> None:
    with httpx.Client(http1=version == "HTTP/1.1", http2=version == "HTTP/2") as client:
        answers = [client.get(f"{server.url}/?{n}").json()["query"] for n in range(50)]
    assert answers == [str(n) for n in range(50)]


def test_idle_connections_keep_nobody_out() -> None:
    with echo_server() as server, contextlib.ExitStack() as stack:
        for _ in range(300):
            address = server.host, server.port
            sock = stack.enter_context(socket.create_connection(address, timeout=20))
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_twenty_thousand_requests_down_one_http2_connection(server: ServerProcess) -> None:
    total, in_flight = 20_000, 100
    with H2Client((server.host, server.port)) as client:
        started = 0
        done = 0
        open_streams: set[int] = set()
        while done < total:
            while started < total and len(open_streams) < in_flight:
                open_streams.add(client.request("GET", "/big?2"))
                started += 1
            client.receive()
            assert client.terminated is None
            assert not client.closed
            for stream in [s for s in open_streams if client.answers[s].ended]:
                open_streams.discard(stream)
                answer = client.answers.pop(stream)
                assert (answer.status, bytes(answer.body)) == (200, b"xx")
                done += 1
        assert done == total


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_head_has_the_headers_and_no_body(server: ServerProcess, version: str) -> None:
    with httpx.Client(http1=version == "HTTP/1.1", http2=version == "HTTP/2") as client:
        response = client.head(f"{server.url}/")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "application/json"
        assert client.get(f"{server.url}/").status_code == 200


def test_a_large_response_arrives_whole(server: ServerProcess) -> None:
    for http2 in (False, True):
        with httpx.Client(http1=not http2, http2=http2) as client:
            response = client.get(f"{server.url}/big?5000000")
        assert len(response.content) == 5_000_000
        assert response.headers["content-length"] == "5000000"


def test_an_unexpected_failure_is_a_500_that_tells_nothing(server: ServerProcess) -> None:
    response = httpx.get(f"{server.url}/boom")
    assert response.status_code == 500
    assert response.headers["proxy-status"] == "PostgREST; error=PGRSTX00"
    assert response.json()["code"] == "PGRSTX00"
    assert "secret" not in response.text
    assert "a secret of the inside" in server.log


def test_a_header_that_http_cannot_carry_is_a_500(server: ServerProcess) -> None:
    for value in (b"a\r\nset-cookie: x", b"a\x00b", b"a\nb"):
        response = httpx.get(f"{server.url}/odd?{value.hex()}")
        assert response.status_code == 500
        assert "set-cookie" not in response.headers
    assert httpx.get(f"{server.url}/odd?{b'fine'.hex()}").headers["x-odd"] == "fine"


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "status, length, body",
    [(200, "4", b"body"), (999, "4", b"body"), (204, None, b""), (304, None, b"")],
)
def test_a_response_without_a_body_has_no_length(
    server: ServerProcess, version: str, status: int, length: str | None, body: bytes
) -> None:
    """SQL may choose the status of an answer that has a body; on HTTP/2 a length without
    one is an error that ends the connection."""
    with httpx.Client(http1=version == "1", http2=version == "2") as client:
        response = client.get(f"{server.url}/status?{status}")
    assert (response.status_code, response.content) == (status, body)
    assert response.headers.get("content-length") == length


def test_the_admin_server_says_live_and_ready(server: ServerProcess) -> None:
    with httpx.Client(base_url=f"http://{server.admin}") as admin:
        assert [admin.get(p).status_code for p in ("/live", "/ready", "/x")] == [200, 200, 404]


def test_cors_headers_are_on_every_answer(server: ServerProcess) -> None:
    origin = {"Origin": "https://shop.example"}
    for path in ("/", "/boom"):
        response = httpx.get(server.url + path, headers=origin)
        assert response.headers["access-control-allow-origin"] == "*"
    asked = {**origin, "Access-Control-Request-Method": "PATCH"}
    preflight = httpx.options(server.url, headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-max-age"] == "86400"
    assert preflight.content == b""


def test_an_absolute_target_is_its_path(server: ServerProcess) -> None:
    reply = exchange(
        (server.host, server.port),
        b"GET http://example.org/things?a=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    seen = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert (seen["path"], seen["query"]) == ("/things", "a=1")


def test_options_for_the_server_as_a_whole(server: ServerProcess) -> None:
    reply = exchange(
        (server.host, server.port),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"allow: OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE" in reply


def test_tls_negotiates_http2(tmp_path: Path) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with echo_server(cert=str(pem)) as server:
        for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
            with httpx.Client(http2=http2, verify=context) as client:
                response = client.get(f"{server.tls_url}/")
                assert response.http_version == version
        # Plain HTTP at a TLS port is that client's problem alone.
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{server.port}/")
        with httpx.Client(http2=True, verify=context) as client:
            assert client.get(f"{server.tls_url}/").status_code == 200
        assert "Traceback" not in server.log


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_tls_sessions_are_resumed(tmp_path: Path, protocol: str) -> None:
    authority = trustme.CA()
    pem = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols([protocol])
    session, resumed = None, []
    with echo_server(cert=str(pem)) as server:
        for _ in range(3):
            plain = socket.create_connection((server.host, server.port), timeout=30)
            with context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as plug:
                assert plug.selected_alpn_protocol() == protocol
                if protocol == "http/1.1":
                    plug.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                # The ticket comes before the first bytes (RFC 8446, 4.6.1).
                assert plug.recv(65_536)
                resumed.append(plug.session_reused)
                session = plug.session
    assert resumed == [False, True, True]


def test_a_unix_socket_serves_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    with echo_server(unix_socket=str(path)) as server:
        assert server.address == str(path)
        assert path.stat().st_mode & 0o777 == 0o660
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://edge/").json()["path"] == "/"
    assert not path.exists()


def test_a_port_in_use_is_named(server: ServerProcess) -> None:
    complaint = rf"Cannot listen on 127.0.0.1 port {server.port}: Address already in use"
    with pytest.raises(RuntimeError, match=complaint), echo_server(port=server.port):
        pass


def test_the_trace_header_comes_back() -> None:
    with echo_server(trace=True) as server:
        response = httpx.get(server.url, headers={"X-Request-Id": "abc"})
        assert response.headers["x-request-id"] == "abc"


def test_an_idle_connection_is_closed() -> None:
    with echo_server(idle_timeout=0.3) as server:
        address = (server.host, server.port)
        with H2Client(address) as client:
            assert client.get("/").status == 200
            while not client.closed:
                client.receive()
        # Silent from the start, and stuck half-way through a request.
        assert exchange(address, b"") == b""
        assert exchange(address, b"GET / HTTP/1.1\r\nHost:") == b""
        with H2Client(address) as client:
            while not client.closed:
                client.receive()
        # A request under way is not idleness.
        assert httpx.get(f"{server.url}/wait?0.6").status_code == 200


def test_curl_upgrades_to_http2(server: ServerProcess) -> None:
    done = subprocess.run(
        ["curl", "-s", "--http2", "-o", "/dev/null", "-w", "%{http_code}", f"{server.url}/"],
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == b"200"
