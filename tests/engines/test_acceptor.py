"""How fast connections are taken in."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from proxy.engines.acceptor import MOST, PACE, Acceptor
from tests.waiting import until


class Clock:
    """Time that passes at each look, as turns of so many seconds."""

    def __init__(self, turn: float) -> None:
        self.now = 0.0
        self.turn = turn

    def __call__(self) -> float:
        self.now += self.turn
        return self.now


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sock:
        sock.setblocking(False)
        yield sock


def turns_for(listening: socket.socket, count: int, turn: float) -> list[int]:
    """How many of `count` connections that wait are taken in, turn by turn."""
    loop = asyncio.new_event_loop()
    taken: list[socket.socket] = []
    acceptor = Acceptor(loop, listening, taken.append, Clock(turn))
    seen: list[int] = []
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        loop.call_soon(acceptor.start)
        while len(taken) < count:
            before = len(taken)
            loop.call_soon(loop.stop)
            loop.run_forever()
            seen.append(len(taken) - before)
        acceptor.close()
        for connection in taken:
            assert not connection.getblocking()
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            connection.close()
    loop.close()
    return [number for number in seen if number]


def test_a_loop_at_rest_takes_in_one_in_a_turn(listening: socket.socket) -> None:
    assert set(turns_for(listening, 20, 0.0)) == {1}


def test_long_turns_take_in_as_many_as_there_would_have_been_turns(
    listening: socket.socket,
) -> None:
    turns = turns_for(listening, 60, 5.5 * PACE)
    # One when it is seen, five a turn later, with which another is seen.
    assert max(turns) == 6
    assert len(turns) <= 12


def test_there_are_never_too_many_in_a_turn(listening: socket.socket) -> None:
    assert max(turns_for(listening, 80, 1000.0)) == MOST


def test_without_file_descriptors_it_rests(
    listening: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[socket.socket] = []

    async def warned() -> bool:
        return "No more connections can be taken in" in caplog.text

    async def took() -> bool:
        return bool(taken)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        acceptor = Acceptor(loop, listening, taken.append)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.create_connection(listening.getsockname()) as client:
            resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), hard))
            try:
                acceptor.start()
                await until(warned)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert not taken
            await until(took)
        acceptor.close()
        taken[0].close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
