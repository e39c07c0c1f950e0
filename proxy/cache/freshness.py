"""Whether what is kept may answer: RFC 9111, section 4.2, and RFC 5861.

In: an answer's age, how long it lasts, and what the request asks for. Out: a verdict, which
depends on nothing else. Whether the data has changed since is decided before, by the
versions of the tables. Pure; times in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from proxy.cache_rules.policy import Policy
from proxy.request.cache_control import Directives, Wants, seconds


class Verdict(Enum):
    """What to do with a kept answer.

    `FRESH`: use it. `TOLERATED`: it is stale, and the request takes that (max-stale).
    `REFRESH`: use it, and fetch a new one meanwhile (stale-while-revalidate). `FETCH`: only
    a new one will do.
    """

    FRESH = "fresh"
    TOLERATED = "tolerated"
    REFRESH = "refresh"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an answer is `fresh`, and for how long after that it may be used while it is
    being renewed (`revalidating`) and while it can't be (`on_error`). `tolerant`: also for
    those who say that stale is good enough for them; s-maxage and the like forbid that.
    `end`: seconds after which it is of no use to anybody."""

    fresh: float
    revalidating: float = 0
    on_error: float = 0
    tolerant: bool = True
    end: float = math.inf

    @property
    def kept(self) -> float:
        """Seconds after which it is of no use."""
        return self.fresh + max(self.revalidating, self.on_error)

    def capped(self, remaining: float) -> Lifetimes:
        """The same, but of no use after `remaining` seconds."""
        fresh = min(self.fresh, remaining)
        rest = max(remaining - fresh, 0)
        return replace(
            self,
            fresh=fresh,
            revalidating=min(self.revalidating, rest),
            on_error=min(self.on_error, rest),
            end=remaining,
        )


def lifetimes_of(policy: Policy, chosen: Directives | None) -> Lifetimes | None:
    """How long an answer under `policy` lasts; None when it must not be kept.

    `chosen` is the Cache-Control that SQL gave it, which wins. This is a shared cache: what
    is private is kept only where the policy tells identities apart, and s-maxage counts
    more than max-age (RFC 9111, sections 5.2.2.7 and 5.2.2.10).
    """
    if chosen is None:
        return Lifetimes(
            policy.lifetime,
            policy.stale_while_revalidate,
            policy.stale_if_error,
            tolerant=policy.s_maxage is None,
        )
    if "no-store" in chosen or "no-cache" in chosen:
        return None
    if "private" in chosen and policy.scope != "claims":
        return None
    fresh = seconds(chosen, "s-maxage")
    if fresh is None:
        fresh = seconds(chosen, "max-age")
    if fresh is None:
        fresh = policy.lifetime
    if "must-revalidate" in chosen or "proxy-revalidate" in chosen:
        return Lifetimes(fresh, tolerant=False) if fresh else None
    revalidating = seconds(chosen, "stale-while-revalidate") or 0
    on_error = seconds(chosen, "stale-if-error") or 0
    tolerant = "s-maxage" not in chosen
    return Lifetimes(fresh, revalidating, on_error, tolerant) if fresh or revalidating else None


def judge(age: float, lifetimes: Lifetimes, wants: Wants) -> Verdict:
    """Whether an answer of this age will do for this request."""
    remaining = lifetimes.fresh - age
    if wants.no_cache or wants.no_store or age >= lifetimes.end:
        return Verdict.FETCH
    if wants.max_age is not None and age > wants.max_age:
        return Verdict.FETCH
    if wants.min_fresh is not None and remaining < wants.min_fresh:
        return Verdict.FETCH
    if remaining > 0:
        return Verdict.FRESH
    if -remaining < lifetimes.revalidating:
        return Verdict.REFRESH
    tolerated = wants.max_stale if lifetimes.tolerant else None
    if tolerated is not None and -remaining <= tolerated:
        return Verdict.TOLERATED
    return Verdict.FETCH


def survives_error(age: float, lifetimes: Lifetimes, wants: Wants) -> bool:
    """Whether it may be used in place of an error (RFC 5861, section 4)."""
    if wants.no_cache or wants.no_store:
        return False
    return age < lifetimes.fresh + lifetimes.on_error
