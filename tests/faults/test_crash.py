"""The server killed under load, a short run; the long one is `python -m tests.faults.crash`."""

from __future__ import annotations

from tests.faults.crash import Log, broken_promises, crash


def test_what_is_acknowledged_is_there_once_and_nothing_by_half() -> None:
    verdict = crash(writers=40, kills=3, between=50, seconds=90)
    assert verdict.wrong == ()
    # The kills met requests in flight, and the writers got through between them.
    assert verdict.lost > 0
    assert verdict.acknowledged >= 4 * 50


def test_broken_promises_are_seen() -> None:
    log = Log(
        acknowledged={(1, 1): 1, (1, 2): 2, (1, 3): 1, (1, 4): 2},
        lost={(2, 1): 2, (2, 2): 2, (2, 3): 2},
        refused={(3, 1): 1, (3, 2): 1},
    )
    found = {
        (1, 1): [0],
        (1, 2): [1, 0],
        (1, 3): [0, 0],
        (2, 1): [0],
        (2, 2): [0, 1],
        (3, 2): [0],
        (4, 1): [0],
    }
    wrong = [line.partition(":")[0] for line in broken_promises(log, found)]
    assert wrong == ["(1, 3)", "(1, 4)", "(2, 1)", "(3, 2)", "(4, 1)"]
