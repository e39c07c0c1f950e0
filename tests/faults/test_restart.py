"""The database restarted under load, a short run; the long one is
`python -m tests.faults.restart`."""

from __future__ import annotations

from collections import Counter

from tests.faults.restart import Log, broken_promises, restart


def test_restarts_of_the_database_cost_no_read_and_no_acknowledged_write() -> None:
    verdict = restart(fast=1, immediate=1, rate=100, between=0.7)
    assert verdict.wrong == ()
    assert verdict.reads > 20
    assert verdict.acknowledged > 20


def test_broken_promises_are_seen() -> None:
    log = Log(
        reads=Counter({"200": 5, "503 PGRST000": 1}), acknowledged={1, 2, 3}, unknown={4, 5}
    )
    found = Counter({1: 1, 2: 2, 4: 1, 6: 1})
    wrong = list(broken_promises(log, found, [0.5, 2.5, None]))
    assert [line.split(":")[0] for line in wrong] == [
        "reads failed",
        "acknowledged but not there",
        "there more than once",
        "never sent",
        "the first answer came 2.5 seconds after the start",
        "the first answer came None seconds after the start",
    ]
    assert not list(broken_promises(Log(), Counter(), [0.5]))
