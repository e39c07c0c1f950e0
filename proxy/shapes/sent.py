"""The headers of a request: those that shape its answer, and those told to the database.

In: headers as they came. Out: `SentHeaders`. Clients send the same headers again and again,
so what is made of them is worth keeping, settings included (`proxy.sql.session`).
"""

from __future__ import annotations

from typing import Final

from proxy.auth.model import Identity
from proxy.request.api_request import headers_for_database, parse_cookies
from proxy.request.model import Headers
from proxy.sql.session import Setting

SHAPING: Final = frozenset(
    (b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range")
)
"""All headers that reading and planning look at."""
_MOST_SETTINGS: Final = 32


class SentHeaders:
    """What one set of headers comes to.

    `shaping`: those of `SHAPING`, in the order they came, of `weight` bytes; `pairs` and
    `cookies` as in `ApiRequest`. The settings of the last so many kinds of request by the
    same caller are kept, keyed by the kind and the whole identity.
    """

    __slots__ = ("_settings", "cookies", "pairs", "shaping", "weight")

    def __init__(self, headers: Headers) -> None:
        self.shaping = tuple([header for header in headers if header[0] in SHAPING])
        self.weight = sum([len(name) + len(value) for name, value in self.shaping])
        self.pairs = headers_for_database(headers)
        self.cookies = parse_cookies(headers)
        self._settings: dict[object, tuple[Identity, tuple[Setting, ...]]] = {}

    def settings(self, kind: object, identity: Identity) -> tuple[Setting, ...] | None:
        """The settings kept for requests of `kind` by `identity`."""
        known = self._settings.get(kind)
        if known is None or (known[0] is not identity and known[0] != identity):
            return None
        return known[1]

    def keep_settings(
        self, kind: object, identity: Identity, settings: tuple[Setting, ...]
    ) -> None:
        if len(self._settings) >= _MOST_SETTINGS:
            self._settings.clear()
        self._settings[kind] = identity, settings
