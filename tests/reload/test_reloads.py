"""When wishes lead to reloads, and when requests lead to a look at the schema."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.app.reloads import BOTH, Part, Reloads, parts_of
from proxy.schema_cache.rechecks import Rechecks
from tests.waiting import until

SCHEMA: frozenset[Part] = frozenset(("schema",))
CONFIG: frozenset[Part] = frozenset(("config",))


@pytest.mark.parametrize(
    "payload, parts",
    [
        ("", BOTH),
        ("reload schema", SCHEMA),
        ("reload config", CONFIG),
        ("reload", frozenset()),
        ("Reload Schema", frozenset()),
        ("reload schema ", frozenset()),
    ],
)
def test_what_a_notification_asks_for(payload: str, parts: frozenset[Part]) -> None:
    assert parts_of(payload) == parts


class Work:
    """What is reloaded, and when."""

    def __init__(self) -> None:
        self.done: list[frozenset[Part]] = []
        self.times: list[float] = []
        self.fails = 0
        self.breaks = False
        self.reloads = Reloads(self._run)

    async def _run(self, parts: frozenset[Part]) -> bool:
        self.done.append(parts)
        self.times.append(time.monotonic())
        if self.breaks:
            raise LookupError("broken down")
        self.fails -= 1
        return self.fails < 0

    async def has_run(self, times: int) -> bool:
        return len(self.done) == times


@asynccontextmanager
async def working() -> AsyncIterator[Work]:
    work = Work()
    work.reloads.start()
    yield work
    await work.reloads.close()


async def test_a_reload_that_breaks_down_is_not_the_last_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with working() as work:
        work.breaks = True
        work.reloads.ask(SCHEMA)
        await until(lambda: work.has_run(1))
        work.breaks = False
        work.reloads.ask(CONFIG)
        await until(lambda: work.has_run(2))
        assert work.done == [SCHEMA, CONFIG]
    assert "broken down" in caplog.text


async def test_one_wish_is_one_reload_at_once() -> None:
    async with working() as work:
        asked = time.monotonic()
        work.reloads.ask(SCHEMA)
        await until(lambda: work.has_run(1))
        assert work.times[0] - asked < 0.05
        await asyncio.sleep(0.3)
        assert work.done == [SCHEMA]


async def test_a_burst_is_two_reloads_the_second_after_its_end() -> None:
    async with working() as work:
        last = 0.0
        for _ in range(30):
            work.reloads.ask(SCHEMA)
            last = time.monotonic()
            await asyncio.sleep(0.01)
        await until(lambda: work.has_run(2))
        await asyncio.sleep(0.3)
        assert work.done == [SCHEMA, SCHEMA]
        assert last < work.times[1] < last + 0.4


async def test_a_burst_without_end_is_not_waited_for() -> None:
    async with working() as work:
        began = time.monotonic()
        while len(work.done) < 3:
            work.reloads.ask(SCHEMA)
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 5
        gaps = [b - a for a, b in zip(work.times, work.times[1:], strict=False)]
        assert all(0.4 < gap < 0.9 for gap in gaps)


async def test_wishes_of_a_burst_are_met_together() -> None:
    async with working() as work:
        work.reloads.ask(SCHEMA)
        await until(lambda: work.has_run(1))
        work.reloads.ask(CONFIG)
        work.reloads.ask(SCHEMA)
        await until(lambda: work.has_run(2))
        assert work.done == [SCHEMA, BOTH]


async def test_what_failed_is_tried_again_with_what_came_since() -> None:
    async with working() as work:
        work.fails = 2
        work.reloads.ask(SCHEMA)
        await until(lambda: work.has_run(1))
        work.reloads.ask(CONFIG)
        await until(lambda: work.has_run(3), seconds=15)
        assert work.done == [SCHEMA, BOTH, BOTH]
        # At once when asked anew, then after twice the first pause.
        assert work.times[1] - work.times[0] < 0.5
        assert 1.5 < work.times[2] - work.times[1] < 3


async def test_wishes_from_before_the_start_count() -> None:
    work = Work()
    work.reloads.ask(BOTH)
    work.reloads.start()
    await until(lambda: work.has_run(1))
    await work.reloads.close()
    assert work.done == [BOTH]


# --- looking whether the schema has changed -----------------------------------------------


class Looks:
    def __init__(self, seconds: float = 0.0) -> None:
        self.count = 0
        self.seconds = seconds
        self.rechecks = Rechecks(self._look)

    async def _look(self) -> None:
        self.count += 1
        await asyncio.sleep(self.seconds)


async def test_requests_at_the_same_time_share_a_look() -> None:
    looks = Looks(seconds=0.05)
    await asyncio.gather(*(looks.rechecks.look(1) for _ in range(100)))
    assert looks.count == 1


async def test_between_two_looks_lies_the_interval() -> None:
    looks = Looks()
    began = time.monotonic()
    while looks.count < 3:
        await looks.rechecks.look(0.2)
        await asyncio.sleep(0.001)
    assert 0.4 <= time.monotonic() - began < 10


async def test_a_slow_look_is_taken_less_often() -> None:
    looks = Looks(seconds=0.05)
    began = time.monotonic()
    while looks.count < 2:
        await looks.rechecks.look(0.01)
        await asyncio.sleep(0.001)
    assert time.monotonic() - began > 0.5


async def test_nobody_looks_just_after_the_schema_was_read() -> None:
    looks = Looks()
    looks.rechecks.put_off()
    await looks.rechecks.look(60)
    assert looks.count == 0


async def test_one_that_is_cancelled_leaves_the_look_to_the_others() -> None:
    looks = Looks(seconds=0.1)
    first = asyncio.create_task(looks.rechecks.look(1))
    second = asyncio.create_task(looks.rechecks.look(1))
    await asyncio.sleep(0.02)
    first.cancel()
    await second
    assert (looks.count, first.cancelled()) == (1, True)
