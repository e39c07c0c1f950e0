"""What the admin server has beyond PostgREST's is for its machine, or who has the token."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart

from proxy.admin.access import has_token, is_local
from proxy.admin.endpoints import View
from proxy.admin.server import Reports, admin_app
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.admin.conftest import TOKEN
from tests.apps.conftest import Server, started, two_apps
from tests.ports import free_port

AS_IN_POSTGREST = ("/live", "/ready", "/metrics", "/schema_cache")
LOCAL_HOSTS = ("localhost", "LOCALHOST:1", "127.0.0.1:3001", "[::1]:3001", "[::1]", "127.9.9.9")
FOREIGN_HOSTS = (
    "evil.example:3001",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.0.2.1",
    "127.0.0.1@evil",
    "0x7f.1",
    "2130706433",
    "x",
)
SENT_ON = ("Forwarded", "Via", "X-Forwarded-For", "x-forwarded-host", "X-REAL-IP")
LOOPBACK = ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1")
ELSEWHERE = (
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "2001:db8::1",
    "fe80::1%eth0",
    "::",
    "255.255.255.255",
    "",
)


@dataclass(frozen=True)
class Alive:
    live: bool = True
    pending: bool = False
    stopping: bool = False


@cache
def app_with(token: str) -> Quart:
    """The admin application, without a token when that is empty."""
    return admin_app(Alive(), Reports(view=View(token=lambda: token or None)))


async def status(
    path: str, method: str = "GET", peer: str | None = "192.0.2.1", **headers: str
) -> tuple[int, bytes]:
    """What the application answers to a request from `peer`, without a socket."""
    token = headers.pop("set_token", TOKEN)
    client: Any = app_with(token).test_client()
    answer = await client.open(
        path,
        method=method,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        scope_base={"client": None if peer is None else (peer, 1)},
    )
    body = await answer.get_data(as_text=False)
    return answer.status_code, body


def own_paths() -> list[tuple[str, str]]:
    """Every path that PostgREST has not, from the routes themselves."""
    rules = admin_app(Alive(), Reports()).url_map.iter_rules()
    return sorted(
        (
            rule.rule.replace("<name>", "shop")
            .replace("<action>", "pause")
            .replace("<language>", "python"),
            method,
        )
        for rule in rules
        if rule.rule not in AS_IN_POSTGREST
        for method in rule.methods or ()
        if method != "OPTIONS" or "GET" not in (rule.methods or ())
    )


def test_the_paths_are_found() -> None:
    paths = {path for path, _ in own_paths()}
    assert paths == {
        "/config",
        "/apps",
        "/apps/shop",
        "/apps/shop/pause",
        "/view",
        "/cache/purge",
        "/types/python",
    }


@pytest.mark.parametrize("path, method", own_paths())
@pytest.mark.parametrize("peer", ELSEWHERE)
async def test_who_is_elsewhere_needs_the_token(path: str, method: str, peer: str) -> None:
    for headers in (
        {},
        {"authorization": "Bearer x"},
        {"host": "localhost"},
        {"authorization": TOKEN},
    ):
        found, body = await status(path, method, peer, **headers)
        assert found == 403
        assert method == "HEAD" or set(json.loads(body)) == {
            "code",
            "message",
            "details",
            "hint",
        }
    found, _ = await status(path, method, peer, host="any", authorization=f"Bearer {TOKEN}")
    assert found != 403
    # Without a token nothing is good for one.
    for given_token in ("", " ", "None"):
        found, _ = await status(
            path, method, peer, authorization=f"Bearer {given_token}", set_token=""
        )
        assert found == 403


@pytest.mark.parametrize("path", AS_IN_POSTGREST)
async def test_what_postgrest_has_is_answered_to_everybody(path: str) -> None:
    for peer in (*LOOPBACK, *ELSEWHERE, None):
        assert (await status(path, "POST", peer, host="evil.example", via="1.1 x"))[0] == 200


@pytest.mark.parametrize("peer", [*LOOPBACK, None])
async def test_this_machine_may_look_without_a_token(peer: str | None) -> None:
    for path in ("/config", "/apps", "/view"):
        for host in LOCAL_HOSTS:
            assert (await status(path, peer=peer, host=host))[0] == 200
        assert (await status(path, peer=peer))[0] == 200
        for host in FOREIGN_HOSTS:
            assert (await status(path, peer=peer, host=host))[0] == (
                200 if peer is None else 403
            )
        for name in SENT_ON:
            headers = {"host": "localhost", name: "127.0.0.1"}
            assert (await status(path, peer=peer, **headers))[0] == 403
    # Acting takes a token that a page of another site can't have a browser send.
    acting = ("/apps/shop/pause", "POST", peer)
    assert (await status(*acting, host="localhost"))[0] == 401
    assert (await status(*acting, host="localhost", set_token=""))[0] == 403
    assert (await status(*acting, authorization=f"Bearer {TOKEN}"))[0] == 404
    assert (await status("/nothing", peer="192.0.2.1"))[0] == 404


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.text())
def test_only_loopback_is_local(
    four: ipaddress.IPv4Address, six: ipaddress.IPv6Address, host: str
) -> None:
    assert is_local(str(four), {}) == is_local(f"::ffff:{four}", {}) == four.is_loopback
    if six.ipv4_mapped is None:
        assert is_local(str(six), {}) == six.is_loopback
    assert not is_local("127.0.0.1", {"host": f"[::2{host}"})
    assert not is_local(host, {}) or host in LOOPBACK
    assert not has_token("", f"Bearer {host}")
    assert not has_token(None, f"Bearer {host}")


def own_address() -> str | None:
    """An address of this machine that is not loopback; nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = sock.getsockname()[0]
    return None if address.startswith("127.") else address


@contextmanager
def open_server(
    place: Path, databases: list[str], postgres: EmbeddedPostgres, host: str
) -> Iterator[Server]:
    config = two_apps(place, databases, postgres)
    del config.top["admin-server-unix-socket"]
    config.top |= {
        "admin-server-host": host,
        "admin-server-port": free_port(),
        "admin-server-token": TOKEN,
    }
    with started(config) as running:
        yield running


@pytest.mark.parametrize("host", ["!4", "*"])
def test_a_real_server_knows_who_is_elsewhere(
    tmp_path: Path, databases: list[str], postgres: EmbeddedPostgres, host: str
) -> None:
    """On an IPv6 socket IPv4's loopback is ::ffff:127.0.0.1."""
    address = own_address()
    with open_server(tmp_path, databases, postgres, host) as server:
        port = server.config.top["admin-server-port"]
        near = f"http://127.0.0.1:{port}"
        for path in ("/apps", "/apps/shop", "/config", "/view", *AS_IN_POSTGREST):
            assert httpx.get(near + path).status_code == 200
        rebound = httpx.get(f"{near}/config", headers={"host": f"evil.example:{port}"})
        assert rebound.status_code == 403
        if address is None:
            pytest.skip("this machine has no address but loopback")
        far = f"http://{address}:{port}"
        for path in ("/apps", "/config", "/view"):
            assert httpx.get(far + path, headers={"host": "localhost"}).status_code == 403
            with_token = {"authorization": f"Bearer {TOKEN}"}
            assert httpx.get(far + path, headers=with_token).status_code == 200
        for path in AS_IN_POSTGREST:
            assert httpx.get(far + path).status_code == 200
