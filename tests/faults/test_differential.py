"""Cached servers compared with the database, a short run; the long one is
`python -m tests.faults.differential --operations 100000`."""

from __future__ import annotations

from tests.faults.differential import differential


def test_nobody_sees_what_is_no_longer_so() -> None:
    verdict = differential(operations=500, people=3)
    assert verdict.wrong == ()
    assert verdict.hits > 50
    assert verdict.outside_delays


def test_a_broken_invalidation_is_noticed() -> None:
    assert differential(operations=20_000, people=3, defect="triggers").wrong != ()
