"""Python's garbage collector, kept from holding up requests.

In: nothing. Out: a collector that passes over what the server was started with, and looks at
what came since only when that is much. A look at everything stops the event loop, with two
thousand requests in flight for a third of a second: longer than most requests take, and for
all apps alike. By Python's own rule the mere coming of many requests at once causes several
such looks, and looks at the young all the time: each is short, but under full load they took a
fifth of the time and had quiet apps wait behind noisy ones for a tenth of a second. Requests
leave no cycles behind, so that little is found, and the young are looked at once there are
`YOUNG` objects more than the last time.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG: Final = 25_000
"""Objects that must have come since the last look at the young and not gone; Python's own is
700. What is in flight hardly changes by so many; as garbage they are a few megabytes."""


@contextmanager
def out_of_the_way() -> Iterator[None]:
    """Entered when the process has started up; all is as it was thereafter."""
    young, younger, old = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, younger, old)
    try:
        yield
    finally:
        gc.set_threshold(young, younger, old)
        gc.unfreeze()
