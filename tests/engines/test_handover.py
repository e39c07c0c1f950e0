"""Who gets new connections while a process leaves the port that it shares."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from proxy.engines.handover import listeners_of, share_evenly, steer_away
from proxy.engines.sockets import bind_tcp

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="leaves it to the kernel elsewhere"
)


@contextmanager
def listening(count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for _ in range(count):
            port = sockets[0].getsockname()[1] if sockets else 0
            sockets.append(stack.enter_context(bind_tcp("127.0.0.1", port, reuse_port=True)))
            sockets[-1].listen(100)
        yield sockets


def taken(sockets: list[socket.socket], connections: int = 40) -> list[int]:
    """How many of new connections each of the sockets is given."""
    address = sockets[-1].getsockname()
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(socket.create_connection(address))
        return [_accept_all(sock) for sock in sockets]


def _accept_all(sock: socket.socket) -> int:
    accepted = 0
    while True:
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            return accepted
        connection.close()
        accepted += 1


def test_the_one_that_leaves_gets_nothing_more() -> None:
    with listening(2) as (old, new):
        assert steer_away(old)
        assert taken([old, new]) == [0, 40]
        old.close()
        assert taken([new]) == [40]
        # The next one restores the balance, and can be left to in its turn.
        with bind_tcp("127.0.0.1", new.getsockname()[1], reuse_port=True) as newer:
            newer.listen(100)
            share_evenly(newer)
            assert min(taken([new, newer])) > 0
            assert steer_away(new)
            assert taken([new, newer]) == [0, 40]


@pytest.mark.parametrize("count", [1, 3])
def test_without_a_single_other_nothing_changes(count: int) -> None:
    with listening(count) as sockets:
        assert not steer_away(sockets[0])
        assert sum(taken(sockets)) == 40


def test_listeners_on_the_same_address_are_counted() -> None:
    rows = (
        ("0100007F:0BB8", "0A", "11"),
        ("0100007F:0BB8", "0A", "12"),
        ("00000000:0BB8", "0A", "13"),
        ("0100007F:0BB8", "01", "14"),
    )
    lines = [
        f"0: {local} 00000000:0000 {state} 0:0 0:0 0 0 0 {inode} 1 0"
        for local, state, inode in rows
    ]
    lines = ["sl local_address rem_address st", *lines, "nonsense"]
    assert [listeners_of(inode, lines) for inode in ("11", "13", "14", "99")] == [2, 1, 0, 0]
