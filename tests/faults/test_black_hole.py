"""One app's database swallowed by the network, a short run; the long one is
`python -m tests.faults.black_hole`."""

from __future__ import annotations

import pytest

from tests.faults.black_hole import Unavailable, black_hole


def test_the_other_app_does_not_notice() -> None:
    try:
        verdict = black_hole(rate=15, seconds=1, patience=1)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert verdict.wrong == ()
    # Everybody was told something, long before TCP's own quarter of an hour.
    assert max(verdict.swallowed.times) < 15
