"""Cached servers compared with the database, a short run; the long ones are
`python -m tests.faults.differential --operations 100000` and `--defect all`."""

from __future__ import annotations

from tests.faults.differential import differential


def test_nobody_sees_what_is_no_longer_so() -> None:
    verdict = differential(operations=600, people=3, samples=3)
    assert verdict.wrong == ()
    assert verdict.hits > 50
    assert verdict.effective > 15
    assert verdict.rights > 5
    assert verdict.outside_delays
    assert len(verdict.quiet_delays) == 3


def test_a_broken_invalidation_is_noticed() -> None:
    verdict = differential(operations=1000, people=1, defect="races")
    assert " reads " in verdict.wrong[0]
