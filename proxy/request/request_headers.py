"""What the headers of a request come to, worked out once for all requests with the same.

In: headers as they came. Out: `RequestHeaders`. Clients send the same headers again and
again, so what is made of them is kept, the settings that the database is told included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.request.api_request import headers_for_database, parse_cookies
from proxy.request.cache_control import wants_of
from proxy.request.conditions import read_conditions
from proxy.request.headers import header_values
from proxy.request.model import Headers

SHAPING: Final = frozenset(
    (b"accept", b"accept-profile", b"content-profile", b"content-type", b"prefer", b"range")
)
"""All headers that reading and planning look at."""
CONSISTENCY_TOKEN: Final = b"x-consistency-token"
SELECTING: Final = (b"accept", b"accept-profile", b"prefer", b"range")
"""The request headers that select a representation; Accept-Encoding selects among the
codings of one."""
_CACHING: Final = frozenset(
    (
        *SELECTING,
        b"accept-encoding",
        b"cache-control",
        b"if-match",
        b"if-none-match",
        CONSISTENCY_TOKEN,
    )
)
_MOST_SETTINGS: Final = 32
_LONGEST_TOKEN: Final = 64

Settings = tuple[tuple[str, str], ...]


def caching_headers(headers: Headers) -> Mapping[bytes, bytes]:
    """The values of the headers that matter to caches."""
    return header_values(headers, _CACHING)


class RequestHeaders:
    """What one set of headers comes to.

    `shaping`: those of `SHAPING`, in the order they came, of `weight` bytes; `pairs` and
    `cookies` as in `ApiRequest`; `caching`, `wants` and `conditions`: what they say to caches;
    `timeouts`: the values of X-Request-Timeout; `seen`: the consistency token of what the
    caller has seen; `authorized`: whether there is an Authorization. The settings of the last
    so many kinds of request by the same caller are kept, by the kind and the whole identity.
    """

    __slots__ = (
        "_settings",
        "authorized",
        "caching",
        "conditions",
        "cookies",
        "headers",
        "pairs",
        "seen",
        "shaping",
        "timeouts",
        "wants",
        "weight",
    )

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.shaping = tuple([header for header in headers if header[0] in SHAPING])
        self.weight = sum([len(name) + len(value) for name, value in self.shaping])
        self.pairs = headers_for_database(headers)
        self.cookies = parse_cookies(headers)
        self.caching = caching_headers(headers)
        self.wants = wants_of(self.caching.get(b"cache-control"))
        self.conditions = read_conditions(self.caching)
        self.timeouts = tuple([v for name, v in headers if name == b"x-request-timeout"])
        self.authorized = any(name == b"authorization" for name, _ in headers)
        token = self.caching.get(CONSISTENCY_TOKEN, b"")
        self.seen = token.decode("latin-1") if 0 < len(token) <= _LONGEST_TOKEN else None
        self._settings: dict[object, tuple[object, Settings]] = {}

    def settings(self, kind: object, identity: object) -> Settings | None:
        """The settings kept for requests of `kind` by `identity`."""
        known = self._settings.get(kind)
        if known is None or (known[0] is not identity and known[0] != identity):
            return None
        return known[1]

    def keep_settings(self, kind: object, identity: object, settings: Settings) -> None:
        if len(self._settings) >= _MOST_SETTINGS:
            self._settings.clear()
        self._settings[kind] = identity, settings
