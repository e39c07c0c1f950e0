"""What all requests hold: the sum is right, bounded, and the slowest give way."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.http.in_flight import REQUEST, SMALL, Held, InFlight
from proxy.http.time_limits import Limit

MOST = 4 * 1024 * 1024
STEPS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["grow", "carry", "go_on", "release", "wait"]),
        st.integers(0, MOST // 8),
        st.floats(0, 2),
    ),
    max_size=200,
)
ANSWERS = [b"x" * (n + 1) * 100_000 for n in range(3)]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Late:
    """Stands where the end of a wait is told."""

    def __init__(self) -> None:
        self.expired = False

    def expire(self) -> None:
        self.expired = True


@given(steps=STEPS)
def test_the_sum_is_that_of_what_is_held_and_bodies_never_exceed_it(
    steps: list[tuple[int, str, int, float]],
) -> None:
    clock = Clock()
    bodies, answers = InFlight(MOST, clock=clock), InFlight(MOST, stalled=1.0, clock=clock)
    held: dict[int, Held] = {}
    sent: dict[int, Held] = {}
    for who, what, size, seconds in steps:
        clock.now += seconds
        body = held.setdefault(who, Held(bodies))
        match what:
            case "grow" if not body.gave_way:
                try:
                    body.grow(size)
                except ApiError:
                    body.release()
            case "carry":
                if who not in sent:
                    sent[who] = Held(answers)
                    sent[who].carry(ANSWERS[size % 3])
            case "wait" if not body.gave_way:
                body.wait(Late())  # type: ignore[arg-type]
            case "go_on":
                body.go_on()
            case "release":
                body.release()
                held.pop(who)
                if who in sent:
                    sent.pop(who).release()
        assert bodies.bytes == sum(each.size for each in held.values())
        assert bodies.bytes <= MOST
        taken = {each.size for each in sent.values()}
        assert answers.bytes == sum(taken)
    for each in (*held.values(), *sent.values()):
        each.release()
    assert (bodies.bytes, answers.bytes) == (0, 0)
    assert not bodies.waiting
    assert not answers.shared


def filled(in_flight: InFlight, size: int) -> list[tuple[Held, Late]]:
    """So many that wait with `size` bytes each as there is room for."""
    found = []
    while in_flight.bytes + size <= in_flight.most - in_flight.reserve:
        held, late = Held(in_flight), Late()
        held.grow(size)
        held.wait(late)  # type: ignore[arg-type]
        found.append((held, late))
    return found


def test_who_keeps_most_waiting_for_longest_gives_way() -> None:
    clock = Clock()
    bodies = InFlight(MOST, clock=clock)
    early = filled(bodies, 200_000)
    clock.now = 1.0
    small = Held(bodies)
    small.grow(REQUEST)
    small.wait(Late())  # type: ignore[arg-type]
    for held, _ in early[1:]:
        held.got_on(SMALL)
    newcomer = Held(bodies)
    newcomer.grow(MOST // 8)
    assert early[0][1].expired
    assert early[0][0].gave_way
    assert not small.gave_way


def test_a_small_body_gets_in_where_all_others_wait_as_long() -> None:
    clock = Clock()
    bodies = InFlight(MOST, clock=clock)
    small, late = Held(bodies), Late()
    small.grow(REQUEST)
    small.wait(late)  # type: ignore[arg-type]
    filled(bodies, REQUEST)
    while bodies.bytes < bodies.most:
        Held(bodies).grow(min(REQUEST, bodies.most - bodies.bytes))
    clock.now = 1.0
    small.grow(10)
    assert not late.expired
    assert bodies.bytes <= bodies.most - bodies.reserve


def test_what_runs_leaves_room_for_small_bodies() -> None:
    bodies = InFlight(MOST)
    for held, _ in filled(bodies, 200_000):
        held.go_on()
    with pytest.raises(ApiError, match="as much") as refused:
        Held(bodies).grow(MOST // 8)
    assert refused.value.code == "EDGE531"
    assert dict(refused.value.headers)[b"retry-after"].isdigit()


def test_only_stalled_answers_give_way() -> None:
    clock = Clock()
    answers = InFlight(MOST, stalled=1.0, clock=clock)
    first, late = Held(answers), Late()
    assert first.carry(b"x" * 2 * MOST)
    first.wait(late)  # type: ignore[arg-type]
    clock.now = 0.9
    assert not Held(answers).carry(b"y" * 1000)
    assert not late.expired
    clock.now = 1.1
    assert Held(answers).carry(b"z" * 1000)
    assert late.expired


async def test_giving_way_ends_the_wait() -> None:
    bodies = InFlight(MOST)
    held = Held(bodies)

    async def waits() -> None:
        with Limit(30) as limit:
            held.wait(limit)
            held.give_way()
            await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        await waits()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
