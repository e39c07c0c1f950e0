"""A caching server compared with one that keeps nothing, a short run; the long ones are
`python -m tests.faults.fuzz_cache --requests 50000` and `--defect all`."""

from __future__ import annotations

import pytest

from tests.faults.fuzz_cache import fuzz


def test_answers_differ_in_nothing_but_age() -> None:
    verdict = fuzz(requests=1500)
    assert verdict.wrong == []
    assert verdict.hits > 150
    assert verdict.writes > 10
    assert verdict.statuses[200] > 600


@pytest.mark.parametrize("defect", ["passing-claims", "comments"])
def test_a_broken_key_is_noticed(defect: str) -> None:
    assert fuzz(requests=3000, defect=defect).wrong
