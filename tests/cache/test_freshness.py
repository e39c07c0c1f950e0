"""Freshness by RFC 9111 and RFC 5861: a table of ages and requests, and what holds for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.freshness import Lifetimes, Verdict, judge, lifetimes_of, survives_error
from proxy.cache_rules.policy import Policy
from proxy.request.cache_control import MOST_SECONDS, parse_directives, seconds, wants_of

LASTS = Lifetimes(fresh=60, revalidating=30, on_error=300)


@pytest.mark.parametrize(
    "section, age, asked, expected",
    [
        ("4.2: fresh while lifetime > age", 59, "", Verdict.FRESH),
        ("4.2: not fresh when it equals its lifetime", 60, "", Verdict.REFRESH),
        ("5861 3: stale, to be revalidated meanwhile", 89, "", Verdict.REFRESH),
        ("5861 3: no longer than that", 90, "", Verdict.FETCH),
        ("5.2.1.1: not older than max-age", 11, "max-age=10", Verdict.FETCH),
        ("5.2.1.1: as old as max-age will do", 10, "max-age=10", Verdict.FRESH),
        ("5.2.1.1: max-age=0", 1, "max-age=0", Verdict.FETCH),
        ("5.2.1.2: stale by so much is welcome", 95, "max-stale=35", Verdict.TOLERATED),
        ("5.2.1.2: stale by more is not", 96, "max-stale=35", Verdict.FETCH),
        ("5.2.1.2: without argument, any staleness", 5000, "max-stale", Verdict.TOLERATED),
        ("5.2.1.3: fresh for so long still", 50, "min-fresh=10", Verdict.FRESH),
        ("5.2.1.3: or not used", 51, "min-fresh=10", Verdict.FETCH),
        ("5.2.1.4: no-cache", 0, "no-cache", Verdict.FETCH),
        ("5.2.1.5: no-store", 0, "no-store", Verdict.FETCH),
        ("5.2.1.7: only-if-cached takes what is kept", 10, "only-if-cached", Verdict.FRESH),
        ("5.2: names have no case", 0, "No-Cache", Verdict.FETCH),
        ("5.2: arguments may be quoted", 11, 'max-age="10"', Verdict.FETCH),
        ("5.2.3: what nobody knows is passed over", 10, "what=ever, x", Verdict.FRESH),
        ("4.2.1: malformed seconds never make it last", 11, "max-age=1.5", Verdict.FETCH),
    ],
)
def test_the_rules(section: str, age: float, asked: str, expected: Verdict) -> None:
    assert judge(age, LASTS, wants_of(asked.encode() or None)) is expected, section


@pytest.mark.parametrize(
    "section, chosen, scope, expected",
    [
        ("nothing chosen: the policy's", None, "public", Lifetimes(60, 30, 300)),
        ("5.2.2.5: no-store", "no-store", "claims", None),
        ("5.2.2.4: no-cache", "no-cache", "claims", None),
        ("5.2.2.7: private is not for a shared cache", "private, max-age=5", "public", None),
        ("but for an identity's own", "private, max-age=5", "claims", Lifetimes(5)),
        ("5.2.2.1: max-age", "max-age=5", "public", Lifetimes(5)),
        (
            "5.2.2.10: s-maxage overrides it, and forbids stale",
            "max-age=5, s-maxage=7",
            "public",
            Lifetimes(7, tolerant=False),
        ),
        (
            "5.2.2.2: must-revalidate forbids stale even on errors",
            "max-age=5, must-revalidate, stale-if-error=9",
            "public",
            Lifetimes(5, tolerant=False),
        ),
        (
            "5861: both extensions",
            "max-age=5, stale-while-revalidate=6, stale-if-error=9",
            "public",
            Lifetimes(5, 6, 9),
        ),
        ("4.2.1: of equal directives the first", "max-age=5, max-age=9", "role", Lifetimes(5)),
        ("4.2.1: malformed is stale at once", "max-age=five", "public", None),
    ],
)
def test_what_sql_chose(
    section: str, chosen: str | None, scope: str, expected: Lifetimes | None
) -> None:
    policy = Policy(60, None, 30, 300, scope)  # type: ignore[arg-type]
    directives = None if chosen is None else parse_directives(chosen.encode())
    assert lifetimes_of(policy, directives) == expected, section


def test_shared_lifetimes_count_more_here() -> None:
    lasting = lifetimes_of(Policy(max_age=1, s_maxage=600), None)
    assert lasting == Lifetimes(600, tolerant=False)
    assert judge(700, Lifetimes(600, tolerant=False), wants_of(b"max-stale")) is Verdict.FETCH


@pytest.mark.parametrize(
    "age, asked, expected",
    [(359, "", True), (360, "", False), (70, "no-cache", False), (70, "max-age=1", True)],
)
def test_what_stands_in_for_an_error(age: float, asked: str, expected: bool) -> None:
    assert survives_error(age, LASTS, wants_of(asked.encode() or None)) is expected


@given(st.binary(max_size=60))
def test_no_header_is_too_strange(value: bytes) -> None:
    directives = parse_directives(value)
    for name in directives:
        number = seconds(directives, name)
        assert number is not None
        assert 0 <= number <= MOST_SECONDS
    judge(1, LASTS, wants_of(value))


_seconds = st.integers(0, 1000)


@given(_seconds, _seconds, _seconds, _seconds, _seconds)
def test_nothing_lasts_longer_than_its_token(
    fresh: int, revalidating: int, on_error: int, remaining: int, later: int
) -> None:
    capped = Lifetimes(fresh, revalidating, on_error).capped(remaining)
    age = remaining + later
    for asked in (None, b"max-stale", b"max-stale=900000"):
        assert judge(age, capped, wants_of(asked)) is Verdict.FETCH
    assert not survives_error(age, capped, wants_of(None))


@given(_seconds, _seconds, st.sampled_from([b"max-age=7", b"min-fresh=7", b"no-cache"]))
def test_asking_for_more_never_gets_something_older(age: int, fresh: int, asked: bytes) -> None:
    lasting = Lifetimes(fresh, 50, 50)
    if judge(age, lasting, wants_of(None)) is Verdict.FETCH:
        assert judge(age, lasting, wants_of(asked)) is Verdict.FETCH
