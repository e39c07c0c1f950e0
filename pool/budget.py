"""How many sessions the pools of one process may have together, and who gets the next one.

In: what each pool holds and could use, as `Claim`s. Out: a `Plan`: who may open a session now,
who closes one it does not need, and who is to give the next one back. A `Budget` carries the
plans out; planning itself is a pure function.

* Never more than `total` sessions are held, those being opened and being closed included: a
  slot is taken before a session is opened and comes back after it was closed.
* The `reserve` of a pool (its `min_size`) is kept free for it and never taken away.
* Nothing lies idle while somebody could use it: a session that its pool has not used for
  half a second is closed for a pool that has callers waiting.
* When pools compete, each is due its share of the total: as much as it can use, but not more
  in proportion to its weight than the others get (`fair_shares`). One above its share gives
  up what is idle at once and otherwise what comes free next, as long as that brings the two
  closer to their shares: what is one connection too much for the one would be for the other.
* Where shares are less than one connection, pools that have none take turns.

Times are the event loop's, in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_AGAIN: Final = 0.05
"""Seconds after which to look again while somebody goes without."""
_SOON: Final = 0.01
"""Seconds that lie between two plans at least, unless something came free."""
_TURN: Final = 0.2
"""Seconds that a pool waits, and another has had its session, before they take turns."""


def share_of(total: int, workers: int, number: int) -> int:
    """What worker `number` (from 0) of `workers` gets of `total` connections.

    The shares sum up to `total` and differ by one at most. ValueError when there is not one
    connection for each.
    """
    if total < workers:
        raise ValueError(f"{total} connections are not enough for {workers} workers")
    return total // workers + (number < total % workers)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pool holds and could use.

    `held`: slots, of which `closing` will come back by themselves. `wanted`: sessions it would
    open now. `idle`: sessions nobody uses, `spare` of which it has not used for a while and
    could give up without losing anything. `size` at most and `reserve` at least are its own.
    `granted_at`: when it was last given a slot; `waiting_since`: since when a caller waits.
    """

    held: int
    wanted: int = 0
    closing: int = 0
    idle: int = 0
    spare: int = 0
    size: int = 1
    reserve: int = 0
    weight: float = 1.0
    granted_at: float = 0.0
    waiting_since: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, by positions of the claims: `grants` open one session each, `takes` close
    an idle one each; `debts`: how many each pool gives up as they come free. `unmet`:
    somebody wants more than was granted."""

    grants: tuple[int, ...]
    takes: tuple[int, ...]
    debts: tuple[int, ...]
    unmet: bool


def fair_shares(total: int, claims: Sequence[Claim]) -> list[float]:
    """How much of `total` each is due: its demand, or in proportion to its weight.

    All rise together (water-filling), from their reserves and up to what they can use.
    """
    floors, tops = [], []
    for claim in claims:
        useful = claim.held - claim.closing - claim.spare + claim.wanted
        floor = min(claim.reserve, claim.size)
        floors.append(floor)
        tops.append(min(max(useful, floor), claim.size))
    level = _level(min(total, sum(tops)), floors, tops, [claim.weight for claim in claims])
    return [
        min(max(claim.weight * level, floor), top)
        for claim, floor, top in zip(claims, floors, tops, strict=True)
    ]


def _level(
    target: float, floors: Sequence[int], tops: Sequence[int], weights: Sequence[float]
) -> float:
    """How high the water stands when there are `target` units of it."""
    bends = sorted(
        bend
        for floor, top, weight in zip(floors, tops, weights, strict=True)
        for bend in ((floor / weight, weight), (top / weight, -weight))
    )
    level, amount, slope = 0.0, float(sum(floors)), 0.0
    for at, change in bends:
        risen = amount + slope * (at - level)
        if risen >= target and slope > 0:
            return level + (target - amount) / slope
        level, amount, slope = at, risen, slope + change
    return level


def plan(total: int, claims: Sequence[Claim], now: float) -> Plan:
    """Who gets what, and from whom."""
    return _Planning(total, claims, now).plan()


class _Planning:
    """The working state of one plan: what is left to want and to give."""

    def __init__(self, total: int, claims: Sequence[Claim], now: float) -> None:
        self._claims = claims
        self._now = now
        self._shares = fair_shares(total, claims)
        self._free = total - sum(claim.held for claim in claims)
        self._held = [claim.held for claim in claims]
        self._wanted = [claim.wanted for claim in claims]
        self._idle = [claim.idle for claim in claims]
        self._spare = [claim.spare for claim in claims]
        self._granted: list[int] = []
        self._takers: set[int] = set()
        self._takes: list[int] = []
        self._debts = [0] * len(claims)

    def plan(self) -> Plan:
        self._grant()
        unmet = any(self._wanted)
        if unmet:
            # What is being closed is as good as free.
            coming = sum(claim.closing for claim in self._claims)
            self._held = [
                held - claim.closing
                for held, claim in zip(self._held, self._claims, strict=True)
            ]
            self._find(coming)
        return Plan(tuple(self._granted), tuple(self._takes), tuple(self._debts), unmet)

    def _grant(self) -> None:
        while self._free > 0:
            missing = [
                max(claim.reserve - held, 0)
                for claim, held in zip(self._claims, self._held, strict=True)
            ]
            reserved = sum(missing)
            able = [
                n
                for n, wanted in enumerate(self._wanted)
                if wanted > 0 and (missing[n] or self._free > reserved)
            ]
            if not able:
                return
            taker = self._neediest(able)
            self._free -= 1
            self._held[taker] += 1
            self._wanted[taker] -= 1
            self._granted.append(taker)
            self._takers.add(taker)

    def _find(self, coming: int) -> None:
        """Plan for what was not granted: who is to give it up."""
        while needing := [n for n, wanted in enumerate(self._wanted) if wanted > 0]:
            taker = self._neediest(needing)
            if coming > 0:
                coming -= 1
            elif (giver := self._giver_for(taker)) is not None:
                self._held[giver] -= 1
            else:
                self._wanted[taker] = 0
                continue
            self._held[taker] += 1
            self._wanted[taker] -= 1
            self._takers.add(taker)

    def _giver_for(self, taker: int) -> int | None:
        able = [
            n
            for n, claim in enumerate(self._claims)
            if n != taker and n not in self._takers and self._held[n] > claim.reserve
        ]
        spare = [n for n in able if self._spare[n] > 0]
        if spare:
            giver = max(spare, key=self._surplus)
            self._spare[giver] -= 1
            self._give(giver)
            return giver
        if not able:
            return None
        giver = max(able, key=self._surplus)
        if self._surplus(giver) > self._surplus(taker) + 1 + 1e-9:
            self._give(giver)
            return giver
        return self._turn_for(taker, able)

    def _turn_for(self, taker: int, able: Sequence[int]) -> int | None:
        """Whoever has had its session longest, for one that has none."""
        since = self._claims[taker].waiting_since
        if self._held[taker] > 0 or since is None or self._now - since < _TURN:
            return None
        ripe = [n for n in able if self._now - self._claims[n].granted_at >= _TURN]
        if not ripe:
            return None
        giver = max(ripe, key=lambda n: (self._surplus(n), -self._claims[n].granted_at))
        self._give(giver)
        return giver

    def _give(self, giver: int) -> None:
        if self._idle[giver] > 0:
            self._idle[giver] -= 1
            self._takes.append(giver)
        else:
            self._debts[giver] += 1

    def _surplus(self, n: int) -> float:
        return self._held[n] - self._shares[n]

    def _neediest(self, among: Sequence[int]) -> int:
        return min(
            among,
            key=lambda n: (
                self._held[n] >= self._claims[n].reserve,
                self._surplus(n),
                self._claims[n].granted_at,
            ),
        )


class Claimant(Protocol):
    """A pool, as its budget sees it. `debt`: how many sessions it is to give up as they come
    free, through `Budget.collect`."""

    debt: int

    def claim(self, now: float, held: int) -> Claim:
        """What it could use now."""

    def grant(self) -> None:
        """Open one session; the slot is taken."""

    def give(self) -> None:
        """Close an idle session, if there is one."""


class Budget:
    """At most `total` sessions for all pools that share it, in one event loop."""

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError("a budget has at least one connection")
        self._total = total
        self._held: dict[Claimant, int] = {}
        self._reserves: dict[Claimant, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._planned_at = -1.0
        self.contested = False
        """Whether somebody goes without."""

    @property
    def total(self) -> int:
        """The most sessions there may be."""
        return self._total

    @property
    def used(self) -> int:
        """How many there are."""
        return sum(self._held.values())

    def join(self, pool: Claimant, reserve: int) -> None:
        """Let `pool` take part; ValueError when its reserve is more than is left."""
        if sum(self._reserves.values()) + reserve > self._total:
            raise ValueError(
                f"the pools' min_size together exceed the {self._total} connections they share"
            )
        self._held[pool] = 0
        self._reserves[pool] = reserve

    def leave(self, pool: Claimant) -> None:
        """Let `pool` go, which holds nothing any more."""
        self._held.pop(pool, None)
        self._reserves.pop(pool, None)
        self._plan_if_contested()

    def held(self, pool: Claimant) -> int:
        """How many slots `pool` holds."""
        return self._held.get(pool, 0)

    def take(self, pool: Claimant) -> bool:
        """Take a slot now, if nobody else has a better right to it. If not, `pool.grant` is
        called when there is one, as long as it claims one."""
        if self._may_take(pool):
            self._held[pool] += 1
            return True
        self.contested = True
        self.plan_soon()
        return False

    def put_back(self, pool: Claimant) -> None:
        """A session is closed, or was not opened: its slot is free."""
        self._held[pool] -= 1
        self._plan_if_contested()

    def collect(self, pool: Claimant) -> bool:
        """Whether `pool`, which is in debt, is to close the session that came free."""
        if pool.debt > 0 and self.contested:
            pool.debt -= 1
            return True
        pool.debt = 0
        return False

    def plan_soon(self) -> None:
        """See who could get what, in a moment."""
        loop = asyncio.get_running_loop()
        self._plan_at(max(self._planned_at + _SOON, loop.time()))

    def _plan_at(self, due: float) -> None:
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        # Not every loop's handles say when they are due.
        self._due = due
        self._timer = asyncio.get_running_loop().call_at(due, self._plan)

    def _may_take(self, pool: Claimant) -> bool:
        free = self._total - sum(self._held.values())
        if self._held[pool] < self._reserves[pool]:
            return free > 0
        reserved = sum(
            max(reserve - self._held[other], 0) for other, reserve in self._reserves.items()
        )
        return free > reserved and not self.contested

    def _plan_if_contested(self) -> None:
        if self.contested:
            self._plan()

    def _plan(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._planned_at = loop.time()
        pools = list(self._held)
        plans = plan(self._total, [pool.claim(now, self._held[pool]) for pool in pools], now)
        self.contested = plans.unmet
        for pool, debt in zip(pools, plans.debts, strict=True):
            pool.debt = debt
        for n in plans.grants:
            self._held[pools[n]] += 1
            pools[n].grant()
        for n in plans.takes:
            pools[n].give()
        if self.contested:
            self._plan_at(now + _AGAIN)
