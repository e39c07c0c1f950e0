"""Who gets which connection: the shares, the plan, and pools that really share."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool import Budget, ConnectionFailed, Pool, Statement, Transaction, share_of
from pool.budget import Claim, fair_shares, plan
from tests.pool.conftest import Admin, MakePool, sessions_of
from tests.pool.relay import Relay
from tests.waiting import until


@given(total=st.integers(1, 1000), workers=st.integers(1, 64))
def test_the_workers_shares_are_the_total(total: int, workers: int) -> None:
    if total < workers:
        with pytest.raises(ValueError, match="not enough"):
            share_of(total, workers, 0)
        return
    shares = [share_of(total, workers, number) for number in range(workers)]
    assert sum(shares) == total
    assert min(shares) >= 1
    assert max(shares) - min(shares) <= 1


def wants(size: int, *, weight: float = 1.0, reserve: int = 0) -> Claim:
    return Claim(held=0, wanted=size, size=size, weight=weight, reserve=reserve)


@pytest.mark.parametrize(
    "total, claims, shares",
    [
        (10, [wants(10), wants(10)], [5, 5]),
        (10, [wants(10), wants(2)], [8, 2]),
        (10, [wants(3), wants(4)], [3, 4]),
        (12, [wants(12, weight=3), wants(12)], [9, 3]),
        (12, [wants(12, weight=3), wants(1), wants(12)], [8.25, 1, 2.75]),
        (10, [wants(10), wants(10, reserve=8)], [2, 8]),
        (10, [wants(10), replace(wants(10, reserve=4), wanted=0)], [6, 4]),
        (3, [wants(1)] * 6, [0.5] * 6),
        (4, [Claim(held=4, spare=2, idle=2, size=4), wants(4)], [2, 2]),
        (4, [Claim(held=4, closing=3, size=4), wants(2)], [1, 2]),
    ],
)
def test_shares(total: int, claims: list[Claim], shares: list[float]) -> None:
    assert fair_shares(total, claims) == pytest.approx(shares)


@st.composite
def claims_of(draw: st.DrawFn) -> tuple[int, list[Claim]]:
    total = draw(st.integers(1, 12))
    free, reservable, claims = total, total, []
    for _ in range(draw(st.integers(1, 5))):
        size = draw(st.integers(1, 8))
        reserve = draw(st.integers(0, min(size, reservable)))
        held = draw(st.integers(0, min(size, free)))
        free, reservable = free - held, reservable - reserve
        closing = draw(st.integers(0, held))
        idle = draw(st.integers(0, held - closing))
        claims.append(
            Claim(
                held=held,
                # Whoever has an idle session has nobody waiting.
                wanted=0 if idle else draw(st.integers(0, size - held)),
                closing=closing,
                idle=idle,
                spare=draw(st.integers(0, idle)),
                size=size,
                reserve=reserve,
                weight=draw(st.sampled_from([0.5, 1.0, 3.0])),
                granted_at=draw(st.floats(0, 10)),
                waiting_since=draw(st.none() | st.floats(0, 10)),
            )
        )
    return total, claims


@given(claims_of())
def test_shares_are_fair(given: tuple[int, list[Claim]]) -> None:
    total, claims = given
    shares = fair_shares(total, claims)
    assert sum(shares) <= total + 1e-6
    for share, claim in zip(shares, claims, strict=True):
        assert -1e-9 <= share <= claim.size + 1e-9
        for other_share, other in zip(shares, claims, strict=True):
            useful = claim.held - claim.closing - claim.spare + claim.wanted
            hungry = share < min(useful, claim.size) - 1e-6
            if hungry and other_share > other.reserve + 1e-6:
                # Whoever could use more has no less for its weight than another.
                assert share / claim.weight >= other_share / other.weight - 1e-6


@given(claims_of())
def test_a_plan_keeps_to_the_rules(given: tuple[int, list[Claim]]) -> None:
    total, claims = given
    made = plan(total, claims, now=11.0)
    held = [claim.held for claim in claims]
    for n in made.grants:
        held[n] += 1
    assert sum(held) <= max(total, sum(claim.held for claim in claims))
    for n, claim in enumerate(claims):
        assert made.grants.count(n) <= claim.wanted
        taken = made.takes.count(n)
        assert taken <= claim.idle
        # What is reserved is neither taken away nor used by others.
        assert claim.held - claim.closing - taken - made.debts[n] >= min(
            claim.reserve, claim.held - claim.closing
        )
    missing = sum(max(c.reserve - h, 0) for c, h in zip(claims, held, strict=True))
    granted_beyond = [n for n in made.grants if held[n] > claims[n].reserve]
    if granted_beyond:
        assert sum(held) + missing <= total
    # Nothing is free that somebody wants, and nothing spare lies about.
    wanting = [n for n, c in enumerate(claims) if c.wanted > made.grants.count(n)]
    assert made.unmet == bool(wanting)
    if wanting:
        assert sum(held) + missing >= total
    lacking = sum(claims[n].wanted - made.grants.count(n) for n in wanting)
    giving = len(made.takes) + sum(made.debts) + sum(claim.closing for claim in claims)
    for n, claim in enumerate(claims):
        usable = claim.held - claim.closing - made.takes.count(n) > claim.reserve
        left_spare = claim.spare - made.takes.count(n) > 0
        if usable and left_spare and any(other != n for other in wanting):
            assert giving >= lacking
    # Nobody gives up anything for nothing.
    if not wanting:
        assert not made.takes
        assert not any(made.debts)


def test_a_pool_below_its_share_is_given_the_next_session() -> None:
    a = Claim(held=10, size=10, granted_at=0)
    b = Claim(held=0, wanted=1, size=10, waiting_since=1.0)
    assert plan(10, [a, b], 1.0).debts == (1, 0)
    # Nine and one: the next would have to bring them closer to five and five.
    nine, one = replace(a, held=9), replace(b, held=1, wanted=9)
    assert plan(10, [nine, one], 1.0).debts == (4, 0)
    assert plan(10, [replace(a, held=6), replace(b, held=4, wanted=6)], 1.0).debts == (1, 0)
    # Whole connections only: of seven, four and three is as good as it gets.
    four, three = replace(a, held=4, wanted=6), replace(b, held=3, wanted=7)
    assert plan(7, [four, three], 1.0).debts == (0, 0)


def test_what_was_used_a_moment_ago_is_not_taken_from_a_pool_within_its_share() -> None:
    a = Claim(held=8, wanted=2, size=10)
    b = Claim(held=2, idle=2, size=10)
    assert plan(10, [a, b], 1.0).takes == ()
    assert plan(10, [a, replace(b, spare=1)], 1.0).takes == (1,)
    # One above its share gives up what is idle at once.
    assert plan(10, [replace(b, held=8, idle=1), replace(a, held=2)], 1.0).takes == (0,)


def test_pools_take_turns_when_there_are_more_than_connections() -> None:
    has = Claim(held=1, wanted=1, size=2, granted_at=1.0)
    has_not = Claim(held=0, wanted=1, size=2, waiting_since=1.0)
    assert plan(1, [has, has_not], 1.1).debts == (0, 0)
    assert plan(1, [has, has_not], 1.3).debts == (1, 0)


# -- with PostgreSQL ----------------------------------------------------------------------


def sleeping(seconds: float) -> Transaction:
    return Transaction(Statement("select pg_sleep($1)", (str(seconds),)))


async def test_a_busy_pool_uses_what_a_quiet_one_leaves_and_gives_it_back(
    make_pool: MakePool, admin: Admin
) -> None:
    budget = Budget(6)
    busy = make_pool(size=6, budget=budget, application_name="shares")
    quiet = make_pool(size=6, budget=budget, application_name="shares", min_size=1)
    await asyncio.gather(*(quiet.run(sleeping(0.01)) for _ in range(6)))
    assert quiet.stats.open == 6
    most = 0
    stop = asyncio.Event()

    async def press() -> None:
        while not stop.is_set():
            await busy.run(sleeping(0.005))

    pressing = [asyncio.create_task(press()) for _ in range(30)]

    async def grown() -> bool:
        nonlocal most
        most = max(most, await sessions_of(admin, "shares"))
        return busy.stats.open == 5 and quiet.stats.open == 1

    await until(grown)
    # The quiet one wakes: its share comes back to it, connection by connection.
    waking = [asyncio.create_task(quiet.run(sleeping(0.3))) for _ in range(10)]

    async def shared() -> bool:
        nonlocal most
        most = max(most, await sessions_of(admin, "shares"))
        return quiet.stats.busy == 3

    await until(shared)
    assert busy.stats.open <= 3
    stop.set()
    await asyncio.gather(*pressing, *waking)
    assert most <= 6
    assert budget.used <= 6


async def test_a_pool_whose_database_is_away_costs_the_others_two_slots_at_most(
    make_pool: MakePool, relay: Relay
) -> None:
    budget = Budget(4)
    dead = make_pool(relay.dsn(), size=4, budget=budget, min_size=3, outage_grace=1.5)
    well = make_pool(size=4, budget=budget)
    relay.hold()
    lost = [asyncio.create_task(dead.run(sleeping(0))) for _ in range(20)]
    served = [asyncio.create_task(well.run(sleeping(0.02))) for _ in range(200)]

    async def noticed() -> bool:
        return dead.stats.breaker == "waiting"

    await until(noticed)
    assert dead.stats.open <= 2
    async with asyncio.timeout(5):
        await asyncio.gather(*served)
    await relay.go_away()
    relay.flow()
    ends = await asyncio.gather(*lost, return_exceptions=True)
    assert {type(end) for end in ends} == {ConnectionFailed}


async def test_the_least_is_kept_open_and_replaced(make_pool: MakePool, admin: Admin) -> None:
    pool: Pool = make_pool(size=4, min_size=2, max_idle_time=0.05, application_name="least")
    await pool.open()

    async def two() -> bool:
        return pool.stats.idle == 2 == await sessions_of(admin, "least")

    await until(two)
    await asyncio.gather(*(pool.run(sleeping(0.02)) for _ in range(4)))
    await until(two)
    await admin.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where application_name = 'least'"
    )

    async def replaced() -> bool:
        return pool.stats.lost == 2 and await two()

    await until(replaced)


def test_what_is_kept_open_must_fit() -> None:
    budget = Budget(3)
    Pool("host=h", size=2, min_size=2, budget=budget)
    with pytest.raises(ValueError, match="exceed the 3 connections"):
        Pool("host=h", size=2, min_size=2, budget=budget)
    with pytest.raises(ValueError, match="between 0 and"):
        Pool("host=h", size=2, min_size=3)
    with pytest.raises(ValueError, match="at least one"):
        Budget(0)
