"""How attempts and advice develop in an outage."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from pool.errors import ConnectionFailed
from pool.outage import Outage, after_failure

_REFUSED = ConnectionFailed("refused", sqlstate="57P03")


def test_the_first_failure_is_followed_up_soon() -> None:
    outage = after_failure(None, _REFUSED, 100.0)
    assert outage == Outage(100.0, 1, 100.1, "refused", "57P03")
    error = outage.error(100.0)
    assert (error.reason, error.retry_after, error.sqlstate) == ("refused", 1, "57P03")


def test_the_advice_grows_to_32_seconds() -> None:
    outage = after_failure(None, _REFUSED, 0.0)
    advice = [outage.error(at).retry_after for at in (0, 1, 2, 3.9, 4, 9, 17, 31, 40, 4000)]
    assert advice == [1, 1, 2, 2, 4, 8, 16, 16, 32, 32]


@given(st.lists(st.floats(0, 60), min_size=1, max_size=50))
def test_attempts_are_never_more_than_a_second_apart(gaps: list[float]) -> None:
    now, outage, pauses = 0.0, None, []
    for gap in gaps:
        now += gap
        outage = after_failure(outage, _REFUSED, now)
        pauses.append(outage.retry_at - now)
    assert outage is not None
    assert outage.since == gaps[0]
    assert outage.failures == len(gaps)
    assert all(0.09 < pause < 1.01 for pause in pauses)
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise(pauses))
