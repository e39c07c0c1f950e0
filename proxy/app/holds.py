"""What an operator has told an app to do, for all workers, also those that start later.

In: a state for a name. Out: the state, in memory that processes forked from now on share.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Final, Literal, get_args

State = Literal["running", "paused", "draining"]
"""`paused`: its requests wait for `running`; `draining`: new ones are refused, those under
way are finished."""

_STATES: Final[tuple[State, ...]] = get_args(State)


class Holds:
    """The states of apps; `slot_of` gives the place of a name among `slots`."""

    def __init__(self, slots: int, slot_of: Callable[[str], int]) -> None:
        self._cells = mmap.mmap(-1, slots)
        self._slot_of = slot_of

    def of(self, name: str) -> State:
        """The state of the app `name`."""
        return _STATES[self._cells[self._slot_of(name)]]

    def put(self, name: str, state: State) -> None:
        """Note what it is to be."""
        self._cells[self._slot_of(name)] = _STATES.index(state)
