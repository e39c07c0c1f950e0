"""One timer for all waits of a length: who is told, who is not, and when."""

from __future__ import annotations

import asyncio

import pytest

from proxy.http.time_limits import STALLED, Limit, Waits, waits


class Told:
    def __init__(self) -> None:
        self.at: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def late(self) -> None:
        self.at.set_result(asyncio.get_running_loop().time())


async def test_those_that_wait_too_long_are_told_in_time_and_no_others() -> None:
    loop = asyncio.get_running_loop()
    some = Waits(loop, 0.05)
    first, ended, second = Told(), Told(), Told()
    began = loop.time()
    some.begin(first)
    some.begin(ended)
    await asyncio.sleep(0.02)
    later = loop.time()
    some.begin(second)
    some.end(ended)
    some.end(ended)
    assert await first.at - began >= 0.049
    assert await second.at - later >= 0.049
    assert not ended.at.done()
    third = Told()
    some.begin(third)
    await third.at


async def test_a_limit_cancels_what_takes_longer() -> None:
    with pytest.raises(TimeoutError), Limit(0.01):
        await asyncio.sleep(10)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_limit_leaves_what_ends_in_time_and_other_errors_alone() -> None:
    with Limit(10):
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="own"), Limit(10):
        raise ValueError("own")


async def test_a_limit_does_not_hide_that_others_cancelled() -> None:
    entered = asyncio.Event()

    async def limited() -> None:
        with Limit(10):
            entered.set()
            await asyncio.sleep(10)

    task = asyncio.create_task(limited())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_both_cancelled_and_late_is_cancelled() -> None:
    entered = asyncio.Event()

    async def limited() -> None:
        limit = Limit(10)
        with limit:
            entered.set()
            limit.late()
            await asyncio.sleep(10)

    task = asyncio.create_task(limited())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_limit_can_begin_anew() -> None:
    with Limit(0.1) as limit:
        for _ in range(8):
            await asyncio.sleep(0.03)
            limit.restart()


async def test_waits_of_one_length_are_shared() -> None:
    loop = asyncio.get_running_loop()
    assert waits(loop, 3.0) is waits(loop, 3.0)
    assert waits(loop, 3.0) is not waits(loop, 4.0)


async def test_of_too_many_those_end_that_have_waited_longest() -> None:
    """But none that has only begun: a burst is no stall."""

    async def limited(seconds: float) -> None:
        with Limit(30, 2):
            await asyncio.sleep(seconds)

    stalled = [asyncio.create_task(limited(20)) for _ in range(4)]
    await asyncio.sleep(STALLED / 4)
    assert not any(task.done() for task in stalled)
    await asyncio.sleep(STALLED)
    await limited(0)
    await asyncio.wait(stalled[:3], timeout=10)
    assert [task.done() for task in stalled] == [True, True, True, False]
    for task in stalled[:3]:
        assert isinstance(task.exception(), TimeoutError)
    stalled[3].cancel()
