"""Positions, tokens and lag: plain functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.replication import LogHistory, make_token, read_lsn, read_token

_CLUSTER = "7398457938457934857"


@pytest.mark.parametrize(
    "text, number",
    [
        ("0/0", 0),
        ("0/10", 16),
        ("1/0", 2**32),
        ("16/B374D848", 0x16_B374_D848),
        ("FFFFFFFF/FFFFFFFF", 2**64 - 1),
        ("", None),
        ("/", None),
        ("1", None),
        ("1/x", None),
        ("1/123456789", None),
        ("-1/0", None),
        ("1/0\n", None),
    ],
)
def test_positions_are_numbers(text: str, number: int | None) -> None:
    assert read_lsn(text) == number


@given(st.integers(0, 2**64 - 1))
def test_a_token_says_what_it_was_made_of(position: int) -> None:
    token = make_token(_CLUSTER, position)
    assert read_token(token, _CLUSTER) == position
    assert read_token(token, "another cluster") is None
    assert token.isascii()
    assert len(token) <= 25


@given(st.text())
def test_whatever_a_caller_sends_is_no_token(text: str) -> None:
    assert read_token(text, _CLUSTER) is None
    digest = make_token(_CLUSTER, 0).partition("-")[0]
    found = read_token(f"{digest}-{text}", _CLUSTER)
    assert found is None or f"{found:x}" == text.lstrip("0") or not text.strip("0")


def test_lag_is_the_age_of_the_last_note_that_was_reached() -> None:
    history = LogHistory(span=10)
    assert history.lag(0, 100) is None
    history.note(0, 100)
    assert history.lag(5, 100) == 0
    assert history.lag(5, 99) is None
    history.note(1, 200)
    history.note(2, 200)
    history.note(3, 300)
    assert history.lag(4, 300) == 0
    assert history.lag(4, 299) == 2
    assert history.lag(4, 200) == 2
    assert history.lag(4, 199) == 4


def test_an_idle_or_absent_primary_makes_nobody_lag() -> None:
    history = LogHistory(span=10)
    for second in range(100):
        history.note(second, 500)
    assert history.lag(99, 500) == 0
    assert history.lag(10_000, 500) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 3000))
def test_lag_is_never_understated(steps: list[int], replayed: int) -> None:
    """As long as it is known: nothing older than it is missing."""
    history, notes, position = LogHistory(span=20), [], 0
    for second, step in enumerate(steps):
        position += step
        notes.append((float(second), position))
        history.note(second, position)
    now = float(len(steps))
    lag = history.lag(now, replayed)
    missing = [when for when, at in notes if at > replayed]
    if lag is not None:
        assert all(when > now - lag for when in missing)
    else:
        assert missing
        assert len(missing) == len(notes) or now - missing[0] >= 20


def test_a_new_log_has_no_past() -> None:
    history = LogHistory(span=10)
    history.note(0, 100)
    history.clear()
    assert history.lag(0, 100) is None
