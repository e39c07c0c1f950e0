"""A password rotated under load, a short run; the long one is
`python -m tests.faults.rotation`."""

from __future__ import annotations

from tests.faults.rotation import rotate


def test_a_rotated_password_is_noticed_by_nobody() -> None:
    verdict = rotate(times=1, between=1.0, apart=0.2)
    assert set(verdict.answers) == {"200"}
    assert verdict.sessions > 2
