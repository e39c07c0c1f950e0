"""What answers say about caching: Cache-Control, Vary, Cache-Status and their like.

In: policies, lifetimes, verdicts. Out: header lines. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from proxy.cache.freshness import Lifetimes
from proxy.cache_rules.policy import Policy
from proxy.request.model import Headers
from proxy.response.model import Response

UNKEPT: Final = (b"cache-control", b"private, no-cache")
"""Of what may only be used again after asking whether it still holds."""

_NAME: Final = b"edgerest"
_ON_304: Final = frozenset(
    (
        b"cache-control",
        b"cdn-cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"vary",
        b"age",
        b"cache-status",
        b"server-timing",
    )
)
"""What a 304 repeats (RFC 9110, section 15.4.5), and what is told of this very answer."""


def policy_headers(
    policy: Policy, lifetimes: Lifetimes, tags: frozenset[str] | None
) -> Headers:
    """What an answer under `policy` tells caches.

    A token's end caps its lifetimes. What is not the same for everybody is private, as
    shared caches that don't look at the token would mix up identities (RFC 9111, 3.5).
    """
    stale = (
        ("stale-while-revalidate", int(lifetimes.revalidating)),
        ("stale-if-error", int(lifetimes.on_error)),
    )
    max_age = min(policy.max_age, int(lifetimes.fresh))
    if policy.scope != "public":
        return ((b"cache-control", _directives("private", ("max-age", max_age), *stale)),)
    shared = int(lifetimes.fresh)
    s_maxage = () if policy.s_maxage is None else (("s-maxage", shared),)
    return (
        (b"cache-control", _directives("public", ("max-age", max_age), *s_maxage, *stale)),
        # Of lists of their own, such as a CDN's (RFC 9213).
        (b"cdn-cache-control", _directives("public", ("max-age", shared), *stale)),
        *_tag_headers(tags or ()),
    )


def _directives(first: str, *timed: tuple[str, int]) -> bytes:
    always = ("max-age", "s-maxage")
    return ", ".join(
        [first, *(f"{name}={seconds}" for name, seconds in timed if seconds or name in always)]
    ).encode()


def _tag_headers(tags: Iterable[str]) -> Headers:
    """The tables that were read, by which CDNs forget: Cache-Tag (Cloudflare and others)
    and Surrogate-Key (Fastly)."""
    named = [quote(tag, safe="._-").encode() for tag in sorted(tags)]
    if not named:
        return ()
    return ((b"cache-tag", b",".join(named)), (b"surrogate-key", b" ".join(named)))


def with_vary(headers: Headers, more: tuple[bytes, ...]) -> Headers:
    """`headers` with `more` names in Vary, where they are missing. They are in a line of their
    own here; the edge makes one of all (`vary_line`)."""
    known = b",".join([value for name, value in headers if name.lower() == b"vary"])
    missing = _missing_names(known, more)
    return (*headers, (b"vary", missing)) if missing else headers


@lru_cache(maxsize=256)
def _missing_names(known: bytes, more: tuple[bytes, ...]) -> bytes:
    """Those of `more` that a Vary with these names does not cover."""
    names = {each.strip().lower() for each in known.split(b",")}
    if b"*" in names:
        return b""
    return b", ".join([name for name in more if name.lower() not in names])


@lru_cache(maxsize=256)
def vary_line(values: tuple[bytes, ...]) -> tuple[bytes, bytes]:
    """The one Vary line with all names of several, each once: nginx goes by one line only.
    The first is as it was."""
    line, *others = values
    for other in others:
        missing = _missing_names(line, tuple(filter(None, map(bytes.strip, other.split(b",")))))
        line = b", ".join(filter(None, (line, missing)))
    return b"vary", line


def cache_status(
    what: str, *, ttl: float | None = None, detail: str = ""
) -> tuple[bytes, bytes]:
    """The Cache-Status line (RFC 9211): `what` is `hit`, `fwd=miss; stored` and the like,
    `ttl` the seconds that are left, `detail` a word of ours."""
    parts = [_NAME, what.encode()]
    if ttl is not None:
        parts.append(b"ttl=%d" % int(ttl))
    if detail:
        parts.append(b"detail=" + detail.encode())
    return b"cache-status", b"; ".join(parts)


def age_line(seconds: float) -> tuple[bytes, bytes]:
    """The Age of a kept answer (RFC 9111, section 5.1)."""
    return b"age", b"%d" % max(int(seconds), 0)


def hit_lines(age: float, ttl: float) -> Headers:
    """What a kept answer that is used says of itself."""
    return age_line(age), cache_status("hit", ttl=ttl)


def not_modified(headers: Headers) -> Response:
    """The 304 in place of an answer with these headers."""
    return Response(304, tuple(header for header in headers if header[0].lower() in _ON_304))


def header_values(headers: Headers, name: bytes) -> list[bytes]:
    """The values of all lines called `name` (lower case)."""
    return [value for each, value in headers if each.lower() == name]


@dataclass(frozen=True, slots=True)
class VaryNames:
    """What answers depend on besides what they say themselves: `public` for everybody's,
    `own` for those that belong to an identity, `asked_again` for what nobody's token has made
    and no cache uses without asking whether it still holds."""

    public: tuple[bytes, ...]
    own: tuple[bytes, ...]
    asked_again: tuple[bytes, ...]


def vary_names(schemas: int) -> VaryNames:
    """For an app with so many exposed schemas. (Origin is added where CORS is decided,
    Accept-Encoding to what is large enough.)"""
    profile = (b"Accept-Profile",) if schemas > 1 else ()
    public = (b"Accept", b"Prefer", b"Range", *profile)
    return VaryNames(public, (*public, b"Authorization"), profile)
