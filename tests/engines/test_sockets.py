"""Binding: the host preferences of the configuration, and what can't be had."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from proxy.engines.sockets import ServerError, bind_beside, bind_tcp, bind_unix, describe


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize(
    "host, reachable",
    [
        ("*", ("127.0.0.1", "::1")),
        ("*6", ("127.0.0.1", "::1")),
        ("*4", ("127.0.0.1",)),
        ("!4", ("127.0.0.1",)),
        ("!6", ("::1",)),
        ("127.0.0.1", ("127.0.0.1",)),
        ("::1", ("::1",)),
        ("localhost", ()),
    ],
)
def test_a_host_is_reachable_where_it_says(host: str, reachable: tuple[str, ...]) -> None:
    with bind_tcp(host, 0) as sock:
        sock.listen()
        for address in reachable:
            with socket.create_connection((address, sock.getsockname()[1]), timeout=5):
                pass


@needs_ipv6
@pytest.mark.parametrize("host, other", [("!4", "::1"), ("!6", "127.0.0.1")])
def test_only_means_only(host: str, other: str) -> None:
    with bind_tcp(host, 0) as sock:
        sock.listen()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((other, sock.getsockname()[1]), timeout=5)


def test_an_address_is_described_as_people_write_it(tmp_path: Path) -> None:
    with bind_tcp("127.0.0.1", 0) as sock:
        assert describe(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    with bind_unix(tmp_path / "s", 0o600) as sock:
        assert describe(sock) == str(tmp_path / "s")


@needs_ipv6
def test_an_ipv6_address_is_described_in_brackets() -> None:
    with bind_tcp("::1", 0) as sock:
        assert describe(sock) == f"[::1]:{sock.getsockname()[1]}"


def test_a_port_in_use_and_an_unknown_host_are_named() -> None:
    with bind_tcp("127.0.0.1", 0) as sock:
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(ServerError, match=f"127.0.0.1 port {port}: Address already in use"):
            bind_tcp("127.0.0.1", port)
    with pytest.raises(ServerError, match=r"nowhere\.invalid port 0: .* resolved"):
        bind_tcp("nowhere.invalid", 0)


def test_two_servers_share_a_port_when_told_to() -> None:
    with bind_tcp("127.0.0.1", 0, reuse_port=True) as first:
        first.listen()
        port = first.getsockname()[1]
        with bind_tcp("127.0.0.1", port, reuse_port=True) as second:
            second.listen()
            assert second.getsockname()[1] == port


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6), "*"])
def test_sockets_beside_another_are_alike_and_taken_by_nobody_else(host: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(bind_tcp(host, 0))
        several = [first, *map(stack.enter_context, bind_beside(first, 2))]
        for sock in several:
            sock.listen()
        assert len({sock.getsockname() for sock in several}) == 1
        assert len({sock.family for sock in several}) == 1
        with pytest.raises(ServerError, match="Address already in use"):
            bind_tcp(host, first.getsockname()[1])


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    bind_unix(path, 0o660).close()
    with bind_unix(path, 0o600) as sock:
        assert path.stat().st_mode & 0o777 == 0o600
        sock.listen()
        with pytest.raises(ServerError, match="another server is listening there"):
            bind_unix(path, 0o600)
    ordinary = tmp_path / "file"
    ordinary.write_text("kept")
    with pytest.raises(ServerError, match="Address already in use"):
        bind_unix(ordinary, 0o600)
    assert ordinary.read_text() == "kept"
