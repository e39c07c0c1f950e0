"""How waiters share the turns of the event loop."""

from __future__ import annotations

import asyncio

from pool.pace import PER_TURN, UNLIMITED, Pace
from tests.pool.virtual import VirtualLoop


class Waiters:
    """A pool with so many sessions and waiters, and what was served in which turn."""

    def __init__(self, name: str, count: int, served: list[str]) -> None:
        self.name, self.count, self.served = name, count, served

    def serve(self) -> bool | None:
        if not self.count:
            return None
        self.count -= 1
        self.served.append(self.name)
        return self.count > 0


class TestPace:
    def setup_method(self) -> None:
        self.loop = VirtualLoop()
        self.served: list[str] = []

    def teardown_method(self) -> None:
        self.loop.close()

    def turns(self, pace: Pace, *waiters: Waiters) -> list[str]:
        """Who is served in each turn, until nobody is left."""

        for each in waiters:
            self.loop.call_soon(pace.wait, each)
        self.loop.turn()
        found = []
        while any(each.count for each in waiters):
            self.served.clear()
            self.loop.turn()
            found.append("".join(self.served))
        return found

    def test_so_many_in_a_turn(self) -> None:
        crowd = Waiters("a", 7, self.served)
        assert self.turns(Pace(3), crowd) == ["aaa", "aaa", "a"]

    def test_without_a_limit_all_are_served_at_once(self) -> None:
        crowd, few = Waiters("a", 6, self.served), Waiters("b", 2, self.served)
        pace = Pace()
        assert self.turns(pace, crowd, few) == ["ababaaaa"]
        assert all(pace.step() for _ in range(100))

    def test_a_limit_that_changes_holds_from_the_next_turn_on(self) -> None:
        pace = Pace()

        async def steps() -> list[list[bool]]:
            found = []
            for limit in (2, UNLIMITED):
                pace.limit(limit)
                await asyncio.sleep(0)
                found.append([pace.step() for _ in range(3)])
            return found

        found = self.loop.run_until_complete(steps())
        assert found == [[True, True, False], [True] * 3]

    def test_pools_take_turns(self) -> None:
        crowd, few = Waiters("a", 6, self.served), Waiters("b", 2, self.served)
        assert self.turns(Pace(2), crowd, few) == ["ab", "ab", "aa", "aa"]

    def test_whoever_has_nothing_to_do_takes_no_step(self) -> None:
        nobody, crowd = Waiters("b", 0, self.served), Waiters("a", 2, self.served)
        assert self.turns(Pace(2), nobody, crowd) == ["aa"]

    def test_steps_in_a_turn_are_counted(self) -> None:
        pace = Pace(PER_TURN)

        async def steps() -> tuple[list[bool], bool]:
            first = [pace.step() for _ in range(PER_TURN + 2)]
            await asyncio.sleep(0)
            return first, pace.step()

        first, later = self.loop.run_until_complete(steps())
        assert first == [True] * PER_TURN + [False, False]
        assert later

    def test_nobody_steps_ahead_of_those_who_wait(self) -> None:
        pace = Pace(2)

        async def stepping() -> bool:
            pace.wait(Waiters("a", 1, self.served))
            return pace.step()

        assert not self.loop.run_until_complete(stepping())

    def test_one_that_has_left_is_not_asked(self) -> None:
        pace = Pace(2)
        crowd = Waiters("a", 5, self.served)

        async def leaving() -> None:
            pace.wait(crowd)
            pace.leave(crowd)
            await asyncio.sleep(0)

        self.loop.run_until_complete(leaving())
        self.loop.settle()
        assert crowd.count == 5

    def test_a_loop_at_rest_stays_so(self) -> None:
        crowd = Waiters("a", 4, self.served)
        self.turns(Pace(2), crowd)
        self.loop.settle()
        assert not self.loop._ready  # type: ignore[attr-defined]
