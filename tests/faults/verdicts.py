"""What a test that compares answers says of them, and of the defects that it must notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence


def tell(wrong: Sequence[str], what: str) -> int:
    """Says how many were `wrong`, and shows some of them. Returns the exit code."""
    _say(f"{len(wrong)} {what}", *wrong[:5])
    return 1 if wrong else 0


def try_defects(
    defects: Iterable[str], run: Callable[[str], tuple[int, Sequence[str]]], what: str
) -> int:
    """Plants each defect by itself; `run` returns how much was done, and what was wrong then.
    Says which are noticed, and returns the number of those that are not."""
    missed = 0
    for defect in defects:
        done, wrong = run(defect)
        missed += not wrong
        outcome = "noticed" if wrong else "NOT NOTICED"
        first = [f"  {line.splitlines()[0]}" for line in wrong[:1]]
        _say(f"{defect}: {outcome} after {done} {what}", *first)
    return missed


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
