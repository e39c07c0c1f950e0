"""A bulk insert holds a few copies of its body, however it is sent."""

from __future__ import annotations

import sys

import pytest

from tests.bench.bulk_insert import CASES, body_of, costs

ROWS = 50_000
SLACK = 6e6
"""Bytes that a server's first large request takes for other things than the body."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident set from /proc")
def test_a_bulk_insert_holds_few_copies_of_its_body() -> None:
    chosen = [case for case in CASES if case.name in ("JSON, missing=default", "CSV")]
    for case, cost in costs(ROWS, chosen):
        # CSV goes to the database as JSON, which is what is held.
        size = len(body_of(CASES[0], ROWS))
        assert cost.peak - cost.before < 4 * size + SLACK, case.name
