"""docs/proxies-and-cdns.md: its set-ups, run in front of a server as they stand there."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.cache.served.conftest import SCHEMA
from tests.conftest import MakeDatabase, MakeToken, StartEdge
from tests.http.processes import ROOT, ServerProcess
from tests.ports import free_port

PAGE = ROOT / "docs" / "proxies-and-cdns.md"
KEEPING = ("nginx", "varnish", "haproxy")
LANGUAGES = {"nginx": "nginx", "varnish": "vcl", "caddy": "caddyfile", "haproxy": "haproxy"}
ALL = tuple(LANGUAGES)
WAIT = 60.0
CURRENT = "comment on table api.goods is '@cache max-age=1 s-maxage=3 scope=public'"


def block(name: str, edge: int, port: int) -> str:
    """The page's set-up, with these ports."""
    found = re.search(rf"^```{LANGUAGES[name]}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert found is not None
    return found[1].replace("3000", str(edge)).replace("8080", str(port))


def nginx(at: Path, setup: str, port: int) -> list[str]:
    second = free_port()
    setup = setup.replace("/var/cache/nginx/edgerest", str(at / "cache"))
    setup = setup.replace(f"listen {port};", f"listen 127.0.0.1:{port}; listen {second} http2;")
    (at / "http2").write_text(str(second))
    (at / "conf").write_text(
        f"daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1;\n"
        + ("user root;\n" if _is_root() else "")
        + f"events {{}}\nhttp {{ access_log off; client_body_temp_path {at}/body;\n"
        + "".join(f"{kind}_temp_path {at}/{kind};\n" for kind in ("fastcgi", "uwsgi", "scgi"))
        + f"proxy_temp_path {at}/proxy;\n{setup}\n}}\n"
    )
    return ["nginx", "-c", str(at / "conf"), "-e", str(at / "error.log")]


def varnish(at: Path, setup: str, port: int) -> list[str]:
    (at / "vcl").write_text(setup)
    options = ["-F", "-j", "none", "-s", "malloc,32m", "-p", "feature=+http2"]
    if not (at / "ranges").exists():
        options += ["-p", "http_range_support=off"]
    return [
        "varnishd",
        "-n",
        str(at / "n"),
        "-f",
        str(at / "vcl"),
        "-a",
        f"127.0.0.1:{port}",
        *options,
    ]


def caddy(at: Path, setup: str, _port: int) -> list[str]:
    own = "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\tprotocols h1 h2 h2c\n\t}\n}\n"
    (at / "Caddyfile").write_text(own + setup)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(at / "Caddyfile")]


def haproxy(at: Path, setup: str, _port: int) -> list[str]:
    own = (
        "defaults\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n\n"
    )
    (at / "cfg").write_text(own + setup)
    return ["haproxy", "-db", "-f", str(at / "cfg")]


COMMANDS: dict[str, Callable[[Path, str, int], list[str]]] = {
    "nginx": nginx,
    "varnish": varnish,
    "caddy": caddy,
    "haproxy": haproxy,
}


def _is_root() -> bool:
    return Path("/proc/self").stat().st_uid == 0


@contextmanager
def proxy(name: str, at: Path, edge: int) -> Iterator[int]:
    """The proxy `name` in front of the server at `edge`; its port."""
    port = free_port()
    command = COMMANDS[name](at, block(name, edge, port), port)
    program = shutil.which(command[0], path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    with (at / "log").open("w") as log:
        process = subprocess.Popen([program, *command[1:]], stdout=log, stderr=log)
        try:
            _await(port, process, at / "log")
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def edge(
    start_edge: StartEdge,
    make_database: MakeDatabase,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServerProcess]:
    schema = tmp_path_factory.mktemp("schema") / "schema.sql"
    schema.write_text(
        SCHEMA.read_text()
        + "create table api.goods (id int primary key, name text);"
        + "insert into api.goods values (1, 'first');"
        + "create table api.unkept as table api.goods; grant all on api.unkept to web_anon;"
        + CURRENT
        + "; grant select on api.goods to web_anon; grant all on api.goods to web_user;"
    )
    with start_edge(
        db_uri=postgres.dsn_for(make_database(schema), "authenticator"),
        db_schemas="api",
    ) as server:
        yield server


@pytest.fixture(scope="module", params=ALL)
def front(
    request: pytest.FixtureRequest,
    edge: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, str, str]]:
    """A proxy's name, its URL, and its URL for HTTP/2."""
    at = tmp_path_factory.mktemp(request.param)
    with proxy(request.param, at, edge.port) as port:
        other = at / "http2"
        second = other.read_text() if other.exists() else port
        yield request.param, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{second}"


@pytest.fixture
def client(front: tuple[str, str, str]) -> Iterator[httpx.Client]:
    """A client that sends nothing of its own accord."""
    with httpx.Client(base_url=front[1]) as made:
        made.headers.clear()
        yield made


def fresh(client: httpx.Client) -> str:
    """A target that was not asked for before."""
    return f"/products?limit=2&order=id&id=neq.{time.monotonic_ns() % 10**9 + 1000}"


def test_a_kept_answer_is_kept(front: tuple[str, str, str], client: httpx.Client) -> None:
    target = fresh(client)
    first, second = client.get(target), client.get(target)
    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    if front[0] in KEEPING:
        # The very answer, with what edgerest said when it was made.
        assert "fwd=miss; stored" in second.headers["cache-status"]
    else:
        assert second.headers["cache-status"].startswith("edgerest; hit")


def test_forms_and_preferences_are_kept_apart(client: httpx.Client) -> None:
    target = fresh(client)
    for _ in range(2):
        for form, kind in ((None, "application/json"), ("text/csv", "text/csv")):
            got = client.get(target, headers={} if form is None else {"Accept": form})
            assert got.headers["content-type"].startswith(kind)
            assert len(got.headers.get_list("vary")) == 1
        counted = client.get(target, headers={"Prefer": "count=exact"})
        assert counted.headers["content-range"].endswith("/300")
        part = client.get("/products?order=id", headers={"Range": "0-1"})
        assert len(part.json()) == 2
        assert len(client.get("/products?order=id").json()) == 300


def test_what_is_one_persons_is_nobody_elses(client: httpx.Client, token: MakeToken) -> None:
    ada, bob = token("web_user", sub="ada"), token("web_user", sub="bob")
    for _ in range(3):
        assert {row["owner"] for row in client.get("/notes", headers=ada).json()} == {"ada"}
        assert {row["owner"] for row in client.get("/notes", headers=bob).json()} == {"bob"}
        assert client.get("/notes").status_code == 401
        broken = {"Authorization": "Bearer broken"}
        assert client.get("/products?limit=1", headers=broken).status_code == 401
        assert client.get("/products?limit=1").status_code == 200


def test_what_has_not_changed_is_a_304(client: httpx.Client, token: MakeToken) -> None:
    for headers in ({}, token("web_user", sub="ada")):
        target = fresh(client)
        tag = client.get(target, headers=headers).headers["etag"]
        for _ in range(2):
            again = client.get(target, headers={**headers, "If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag


def test_refusals_are_asked_for_each_time(client: httpx.Client) -> None:
    for _ in range(2):
        got = client.get("/no_such_table")
        assert (got.status_code, got.headers["cache-control"]) == (404, "no-store")
        assert "age" not in got.headers or got.headers["age"] == "0"


def test_pages_may_read_an_answer_made_for_others(client: httpx.Client) -> None:
    target = fresh(client)
    client.get(target)
    got = client.get(target, headers={"Origin": "https://page.example"})
    assert got.headers.get_list("access-control-allow-origin") == ["*"]
    exposed = ",".join(got.headers.get_list("access-control-expose-headers"))
    assert "ETag" in exposed
    assert "Content-Range" in exposed


def test_a_head_may_be_as_long_as_ours(client: httpx.Client) -> None:
    many = ",".join(map(str, range(1000, 1000 + 500)))
    for _ in range(2):
        got = client.get(f"/products?id=in.({many})")
        assert got.status_code == 200
        assert len(got.headers["content-location"]) > 3000


def test_a_write_is_seen_when_the_copy_is_too_old(
    front: tuple[str, str, str], client: httpx.Client, token: MakeToken
) -> None:
    name, target = str(time.monotonic_ns()), "/goods?id=eq.1"
    client.get(target)
    wrote = client.patch(target, json={"name": name}, headers=token("web_user"))
    assert wrote.status_code == 204
    written, end = time.monotonic(), time.monotonic() + WAIT
    while True:
        sent = time.monotonic()
        got = client.get(target)
        if got.json() == [{"id": 1, "name": name}]:
            break
        # Three seconds of s-maxage after the write, and one by which clocks are rounded.
        assert sent - written < 4
        assert front[0] in KEEPING
        assert sent < end
        time.sleep(0.1)


def test_what_has_no_policy_is_asked_for_each_time(client: httpx.Client) -> None:
    for _ in range(2):
        name = str(time.monotonic_ns())
        client.get("/unkept")
        assert client.patch("/unkept?id=eq.1", json={"name": name}).status_code == 204
        assert client.get("/unkept").json() == [{"id": 1, "name": name}]


def test_a_purge_makes_varnish_forget(
    front: tuple[str, str, str], client: httpx.Client, token: MakeToken
) -> None:
    if front[0] != "varnish":
        return
    name, target = str(time.monotonic_ns()), "/products?id=eq.299"
    client.get(target)
    assert client.get(target).headers["x-varnish"].count(" ") == 1
    wrote = client.patch(target, json={"name": name}, headers=token("web_user", sub="ada"))
    assert wrote.status_code == 204
    assert (
        client.request("BAN", "/", headers={"Surrogate-Key": "api.products"}).status_code == 204
    )
    assert client.get(target).json()[0]["name"] == name


def test_http2_goes_through(front: tuple[str, str, str], token: MakeToken) -> None:
    with httpx.Client(base_url=front[2], http1=False, http2=True) as client:
        for headers in ({}, token("web_user", sub="ada")):
            got = client.get("/products?limit=1", headers=headers)
            assert (got.status_code, got.http_version) == (200, "HTTP/2")


@pytest.mark.parametrize("form, status", [("plain", 503), ("none", 200)])
def test_varnish_that_supports_ranges_takes_none_of_ours(
    start_edge: StartEdge, tmp_path: Path, form: str, status: int
) -> None:
    """Should it take them one day, the page is to say so."""
    (tmp_path / "ranges").touch()
    with (
        start_edge(server_content_range=form) as plain,
        proxy("varnish", tmp_path, plain.port) as port,
    ):
        got = httpx.get(f"http://127.0.0.1:{port}/products")
    assert got.status_code == status
