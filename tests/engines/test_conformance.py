"""Every case of the tables comes as it says there, and harms nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.engines import http1_cases, http2_cases
from tests.engines.conformance import document, outcomes
from tests.engines.model import Case
from tests.http.processes import ROOT, echo_server


def test_the_tables_are_long_enough_and_without_doubles() -> None:
    for cases in (http1_cases.CASES, http2_cases.CASES):
        assert len(cases) >= 80
        twice = [name for name, n in Counter(case.name for case in cases).items() if n > 1]
        assert twice == []


def test_what_differs_from_the_rfc_says_why() -> None:
    for case in (*http1_cases.CASES, *http2_cases.CASES):
        assert bool(case.why) == (case.comes not in case.allowed), case.name


def test_every_case_comes_as_the_table_says() -> None:
    with echo_server() as server:
        found = asyncio.run(outcomes(server.host, server.port))
        wrong = [
            f"{version}: {case.name}: {outcome} instead of {case.comes}"
            for version, case, outcome in found
            if outcome != case.comes
        ]
        assert wrong == []
        assert "Traceback" not in server.log
        # Whoever runs the server learns of what it refused, and why.
        assert "A request has exactly one Host header" in server.log
        assert "The name of a header is malformed" in server.log
    assert (ROOT / "docs" / "engines.md").read_text() == document(found)


@pytest.mark.parametrize(
    "case", [Case("x", "9112", b"", ("400 close",), "200", "why")], ids=["differs"]
)
def test_a_difference_would_be_in_the_document(case: Case) -> None:
    assert "| HTTP/1.1 | x | 9112 | 400 close | 200 | why |" in document(
        [("HTTP/1.1", case, "200")]
    )
