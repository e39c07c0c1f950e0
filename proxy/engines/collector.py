"""Python's garbage collector, kept from holding up requests.

In: nothing. Out: a collector that passes over what the server was started with, and rarely
looks at everything. A look at everything stops the event loop, with two thousand requests in
flight for a third of a second: longer than most requests take, and for all apps alike. By
Python's own rule the mere coming of many requests at once causes several such looks. Requests
leave no cycles behind, so that little is found; the young are looked at as ever, which takes
a millisecond or two.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

RARELY: Final = 300
"""Looks at the young for each look at everything; Python's own is 10. Under full load that is
about a minute."""


@contextmanager
def out_of_the_way() -> Iterator[None]:
    """Entered when the process has started up; all is as it was thereafter."""
    young, younger, old = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, younger, RARELY)
    try:
        yield
    finally:
        gc.set_threshold(young, younger, old)
        gc.unfreeze()
