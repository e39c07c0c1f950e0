"""What an app answers beside its tables, views and functions: one row for each endpoint.

In: the settings of an app. Out: its `Endpoints`, asked for each request before it is taken for
a resource. A new endpoint is a module with a function from settings to `Endpoint`, or None
where they switch it off, and its row in `TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.endpoints.endpoint import Endpoint
from proxy.endpoints.well_known import well_known
from proxy.settings import Settings

TABLE: Final[tuple[Callable[[Settings], Endpoint | None], ...]] = (well_known,)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Those of one app."""

    rows: tuple[Endpoint, ...] = ()

    def find(self, path: bytes) -> Endpoint | None:
        """The one that a request for `path` is for, the app's prefix taken off; None for what
        is a resource's."""
        return next((row for row in self.rows if row.covers(path)), None)


def endpoints_of(settings: Settings) -> Endpoints:
    """Those that `settings` ask for."""
    made = (make(settings) for make in TABLE)
    return Endpoints(tuple(row for row in made if row is not None))
