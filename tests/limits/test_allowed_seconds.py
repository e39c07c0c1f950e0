"""What X-Request-Timeout may say, and what is left of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.steps.deadline import allowed_seconds


@pytest.mark.parametrize(
    "texts, most, seconds",
    [
        ((), None, None),
        ((), 3.0, 3.0),
        (("2.5",), None, 2.5),
        (("2.5",), 3.0, 2.5),
        (("60",), 3.0, 3.0),
        (("0",), 3.0, 0.0),
        (("9", "4", "5"), None, 4.0),
        ((" 7 ",), None, 7.0),
    ],
)
def test_the_least_counts(
    texts: tuple[str, ...], most: float | None, seconds: float | None
) -> None:
    assert allowed_seconds([text.encode() for text in texts], most) == seconds


@given(st.binary(), st.one_of(st.none(), st.floats(0.001, 1000)))
def test_whatever_it_says_it_is_a_limit_or_refused(value: bytes, most: float | None) -> None:
    try:
        seconds = allowed_seconds((value,), most)
    except ApiError as error:
        assert (error.code, error.status) == ("EDGE400", 400)
    else:
        assert seconds is not None
        assert 0 <= seconds <= (most if most is not None else 1e9)


@given(st.floats(0, 1e6))
def test_decimal_numbers_are_understood(seconds: float) -> None:
    assert allowed_seconds((f"{seconds:.6f}".encode(),), None) == pytest.approx(
        seconds, abs=1e-6
    )
