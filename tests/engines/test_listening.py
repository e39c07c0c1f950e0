"""How long a server listens to what is no use."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.engines.patience import MOST, PER_SECOND, Patience

_AMOUNTS = st.floats(min_value=0, max_value=500)


def test_patience_ends_and_comes_back() -> None:
    patience = Patience(0.0)
    assert all(patience.spend(1, 0.0) for _ in range(int(MOST)))
    assert not patience.spend(1, 0.0)
    assert patience.spend(PER_SECOND - 1, 1.0)


def test_a_keep_alive_ping_is_always_welcome() -> None:
    patience = Patience(0.0)
    assert all(patience.spend(1, second / 10) for second in range(50_000))


@given(st.lists(st.tuples(_AMOUNTS, _AMOUNTS, st.floats(min_value=0, max_value=60))))
def test_no_more_is_listened_to_than_was_there_or_came_in(
    steps: list[tuple[float, float, float]],
) -> None:
    patience, now, spent, earned = Patience(0.0), 0.0, 0.0, 0.0
    for frames, back, seconds in steps:
        now += seconds
        patience.earn(back)
        earned += back
        if not patience.spend(frames, now):
            return
        spent += frames
        assert spent <= MOST + earned + now * PER_SECOND + 1e-6
