"""Cross-origin resource sharing, decided from headers alone.

In: the allowed origins and the request's headers. Out: the answer to a preflight, or the
headers to add to an actual response. The rules are those clients of PostgREST meet
(its `Cors.hs` on top of the wai-cors 0.2 middleware): a request out of scope (an origin not
listed, a preflight that asks for something unsupported) is not refused, it goes through
without CORS headers and the browser draws its own conclusion. Unlike there, what every
origin may read says so to requests without Origin as well: a cache in front would hand the
answer without it to the pages that come later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from proxy.request.model import Headers
from proxy.response.model import Response

_METHODS: Final = (b"GET", b"POST", b"PATCH", b"PUT", b"DELETE", b"OPTIONS", b"HEAD")
_QUERY: Final = b"QUERY"
"""Allowed too, but named to those only who ask for it: PostgREST's list stays as it is."""
_ALWAYS_ALLOWED_HEADERS: Final = (b"Accept", b"Accept-Language", b"Content-Language")
_MAX_AGE_SECONDS: Final = 86_400
_EXPOSE: Final = b"access-control-expose-headers"
_EXPOSED: Final = (
    b"Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location,"
    b" Server, Transfer-Encoding, Range-Unit"
)
"""PostgREST's list, to the letter; ours is in a line of its own."""
_EXPOSED_TOO: Final = (
    b"Age, Allow, Cache-Status, Content-Profile, ETag, Preference-Applied, Proxy-Status,"
    b" RateLimit, RateLimit-Policy, Retry-After, Server-Timing, WWW-Authenticate, Warning"
)
_VARY: Final = (b"vary", b"Origin")
_VARY_OF_PREFLIGHT: Final = (
    b"vary",
    b"Access-Control-Request-Method, Access-Control-Request-Headers",
)
# Blanks may stand before the first name and after each, not after a comma: the names
# behind such a comma are not looked at, they are allowed anyway.
_NAME: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_NAME_LIST: Final = re.compile(rb"\s*(?:(%b\s*(?:,%b\s*)*)|)" % (_NAME, _NAME))


_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")


@dataclass(frozen=True)
class CorsPolicy:
    """Which origins may read responses; an empty tuple allows all, without credentials.

    `exposed`: names of headers that scripts may read beside those of every app.
    """

    allowed_origins: tuple[bytes, ...] = ()
    exposed: tuple[bytes, ...] = ()

    @cached_property
    def to_all(self) -> Headers:
        """What an answer says that every origin may read."""
        more = b", ".join((_EXPOSED_TOO, *self.exposed))
        return (_ANY_ORIGIN, (_EXPOSE, _EXPOSED), (_EXPOSE, more))


def preflight(policy: CorsPolicy, method: str, headers: Headers) -> Response | None:
    """The answer to a preflight request, or None for the application to answer."""
    if method != "OPTIONS":
        return None
    asked = dict(reversed(headers))
    shared = _share(policy, asked.get(b"origin"))
    method_asked = asked.get(b"access-control-request-method")
    methods = (*_METHODS, _QUERY) if method_asked == _QUERY else _METHODS
    if shared is None or method_asked not in methods:
        return None
    allowed: Headers = (*shared, (b"access-control-allow-methods", b", ".join(methods)))
    requested = asked.get(b"access-control-request-headers")
    if requested is not None:
        names = _allowed_headers(requested)
        if names is None:
            return None
        allowed += ((b"access-control-allow-headers", b", ".join(names)),)
    return Response(
        status=200,
        headers=(
            *allowed,
            (b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()),
            _VARY_OF_PREFLIGHT,
            *_vary(policy),
        ),
    )


def response_headers(policy: CorsPolicy, method: str, headers: Headers) -> Headers:
    """What to add to the response to an actual request.

    With a list of origins the response differs by Origin, so it says so: a shared cache
    would otherwise hand one site's permission to another.
    """
    if not policy.allowed_origins:
        return policy.to_all
    # An OPTIONS request that was no valid preflight is out of scope.
    origin = None if method == "OPTIONS" else dict(reversed(headers)).get(b"origin")
    shared = _share(policy, origin)
    return (_VARY,) if shared is None else (*shared, *policy.to_all[1:], _VARY)


def _share(policy: CorsPolicy, origin: bytes | None) -> Headers | None:
    """The headers that grant `origin` access; None when it is not to have it."""
    if origin is None:
        return None
    if not policy.allowed_origins:
        return (_ANY_ORIGIN,)
    if origin not in policy.allowed_origins:
        return None
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
    )


def _vary(policy: CorsPolicy) -> Headers:
    return (_VARY,) if policy.allowed_origins else ()


def _allowed_headers(requested: bytes) -> tuple[bytes, ...] | None:
    """What Access-Control-Allow-Headers says; None when `requested` can't be granted."""
    listed = (b"Authorization", *(name.strip() for name in requested.split(b",") if requested))
    known = {name.lower() for name in listed}
    others = tuple(name for name in _ALWAYS_ALLOWED_HEADERS if name.lower() not in known)
    known |= {name.lower() for name in others}
    match = _NAME_LIST.match(requested)
    parsed = match[1] if match else None
    if parsed and not all(name.strip().lower() in known for name in parsed.split(b",")):
        return None
    return listed + others
