"""Waiting for messages and events, also by those who are cancelled meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from proxy.engines.hypercorn_tasks import UNREAD, LeanEvent, Mailbox


async def test_messages_arrive_in_order() -> None:
    mailbox = Mailbox()
    first = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    for number in range(3):
        await mailbox.put(number)
    assert [await first, await mailbox.get(), await mailbox.get()] == [0, 1, 2]


@pytest.mark.parametrize("put_first", [False, True])
async def test_a_reader_that_is_cancelled_loses_no_message(put_first: bool) -> None:
    mailbox = Mailbox()
    cancelled, other = (asyncio.create_task(mailbox.get()) for _ in range(2))
    await asyncio.sleep(0)
    if put_first:
        await mailbox.put("message")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    if not put_first:
        await mailbox.put("message")
    assert await other == "message"


async def test_an_event_lets_everybody_go_who_waits() -> None:
    event = LeanEvent()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await event.set()
    await event.clear()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False, False]
    late = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    assert not late.done()
    await event.set()
    await late
    await event.wait()
    assert event.is_set()


def piece(size: int) -> dict[str, object]:
    return {"type": "http.request", "body": b"x" * size, "more_body": True}


async def test_who_brings_more_than_is_read_waits() -> None:
    mailbox = Mailbox()
    await mailbox.put(piece(UNREAD))
    waiting = [asyncio.create_task(mailbox.put(piece(1))) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    await mailbox.put({"type": "http.disconnect"})
    await mailbox.get()
    await asyncio.wait(waiting)
    await mailbox.put(piece(UNREAD - 2))
    last = asyncio.create_task(mailbox.put(piece(1)))
    await asyncio.sleep(0)
    assert not last.done()
    mailbox.close()
    await last


async def test_what_is_taken_is_told() -> None:
    mailbox, taken = Mailbox(), list[int]()
    mailbox.taken = taken.append
    for size in (UNREAD, UNREAD, 5):
        await mailbox.put(piece(size))
    await mailbox.get()
    assert taken == [UNREAD]
    mailbox.close()
    await mailbox.put(piece(7))
    assert taken == [UNREAD, UNREAD + 5, 7]
