"""From what the database said to what a client gets: validators, codings, 304 and 412.

In: a response, under a policy or not, and the headers of the request. Out: first a
`Representation`, which is the same for all who ask for it and may be kept, then what this one
request is told: content in its coding, or only that it has not changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from proxy.cache.applied import AppliedPolicies
from proxy.cache.compression import coded_headers, encode, is_compressible, negotiate
from proxy.cache.freshness import Lifetimes
from proxy.cache.headers import UNKEPT, not_modified, policy_headers, with_vary
from proxy.cache.preconditions import mismatch
from proxy.cache.store import Entry
from proxy.cache_rules.policy import Policy
from proxy.request.conditions import Precondition, judge_read
from proxy.request.model import Headers
from proxy.request.request_headers import RequestHeaders
from proxy.request.tags import coded, content_tag
from proxy.response.model import BODILESS, Response

_INLINE: Final = 16 * 1024
"""Bytes that are compressed at once, which takes a fraction of a millisecond; what is larger
is compressed in a thread, while others are served."""
_HASHED_INLINE: Final = 1024 * 1024
"""Bytes that are hashed at once: half a millisecond."""
_ASIDE: Final = ThreadPoolExecutor(2, "coding")
_ACCEPT_ENCODING: Final = (b"Accept-Encoding",)
_DROPPED: Final = frozenset((b"etag", b"content-length", b"server-timing"))
"""Headers that are told anew each time."""


@dataclass(frozen=True, slots=True)
class Representation:
    """An answer as it may be kept: `response` without what differs from use to use, `tag` of
    its content (None: it has no validator), whether it is `compressible`, and the entry it
    was kept in. `code` is that of an error, `timing` the Server-Timing line of its making,
    `detail` why it was not kept. `alone`: it is for none but the one it was made for."""

    response: Response
    tag: bytes | None = None
    compressible: bool = False
    entry: Entry | None = None
    code: str | None = None
    detail: str = ""
    timing: Headers = ()
    alone: bool = False

    def for_one(self) -> Representation:
        return replace(self, alone=True)

    def unkept(self, detail: str) -> Representation:
        return replace(self, detail=detail)

    def kept_as(self, entry: Entry) -> Representation:
        return replace(self, entry=entry)


def of_entry(entry: Entry, detail: str = "") -> Representation:
    """What an entry keeps."""
    return Representation(entry.response, entry.tag, entry.compressible, entry, detail=detail)


async def representation(
    response: Response,
    applied: AppliedPolicies,
    *,
    policy: Policy | None = None,
    lifetimes: Lifetimes | None = None,
    tags: frozenset[str] | None = None,
    detail: str = "",
    shown: bool = True,
    anonymous: bool = False,
) -> Representation:
    """What was answered, with what it tells caches; without `lifetimes` nobody is to keep it.
    Not `shown`: its content was never made. `anonymous`: for a request without a token."""
    status, body = response.status, response.body
    if status < 200 or status >= 300:
        return Representation(response, detail=detail)
    found = _sorted(response.headers)
    told: Headers = (UNKEPT,)
    names = applied.vary.own
    if policy is not None and lifetimes is not None:
        told = policy_headers(policy, lifetimes, tags)
        if policy.scope == "public":
            names = applied.vary.public
    if told[0] is UNKEPT and anonymous and not found.is_controlled:
        names = applied.vary.asked_again
    headers = found.kept if found.is_controlled else (*found.kept, *told)
    tag, compressible = None, False
    if shown and status not in BODILESS:
        least = applied.state.response_cache.compress_from
        compressible = found.is_compressible and 0 < least <= len(body)
        tag = found.tag or await _tag_of(body, found)
    if compressible:
        names = (*names, *_ACCEPT_ENCODING)
    if names:
        headers = with_vary(headers, names)
    kept = Response(status, headers, body, response.reason)
    return Representation(kept, tag, compressible, detail=detail, timing=found.timing)


class _Sorted(NamedTuple):
    """The headers of a response: those that are `kept`, without what is told anew each time,
    and what they say. `is_controlled`: SQL gave it a Cache-Control."""

    kept: Headers
    timing: Headers
    content_type: bytes
    page: bytes
    tag: bytes
    is_controlled: bool
    is_compressible: bool


def _sorted(headers: Headers) -> _Sorted:
    kept: list[tuple[bytes, bytes]] = []
    timing: Headers = ()
    content_type = page = tag = b""
    is_controlled = is_coded = False
    for line in headers:
        name = line[0].lower()
        if name in _DROPPED:
            if name == b"etag":
                tag = line[1]
            elif name == b"server-timing":
                timing = (*timing, line)
            continue
        kept.append(line)
        if name == b"content-type":
            content_type = line[1]
        elif name == b"content-range":
            page = line[1]
        is_coded |= name == b"content-encoding"
        is_controlled |= name == b"cache-control"
    is_text = not is_coded and is_compressible(content_type)
    return _Sorted(tuple(kept), timing, content_type, page, tag, is_controlled, is_text)


async def _tag_of(body: bytes, found: _Sorted) -> bytes:
    if len(body) <= _HASHED_INLINE:
        return content_tag(body, found.content_type, found.page)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_ASIDE, content_tag, body, found.content_type, found.page)


async def deliver(
    made: Representation, asked: RequestHeaders, lines: Headers, *, head: bool
) -> tuple[Response, str | None]:
    """The answer to one request, `lines` being headers for it alone; and the coding that its
    content was just brought into, if it was.

    Raises `ApiError` EDGE412 when it depends on a tag that the answer does not have.
    """
    response = made.response
    coding = None
    if made.compressible:
        coding = negotiate(asked.caching.get(b"accept-encoding"))
    if made.tag is None:
        headers = (*response.headers, *made.timing, *lines)
        return Response(response.status, headers, response.body, response.reason), None
    tag = coded(made.tag, coding)
    headers = (*response.headers, (b"etag", tag), *made.timing, *lines)
    if asked.conditions is not None:
        match judge_read(asked.conditions, tag):
            case Precondition.NOT_MODIFIED:
                return not_modified(headers), None
            case Precondition.FAILED:
                raise mismatch()
            case Precondition.HOLDS:
                pass
    if coding is None:
        return Response(response.status, headers, response.body, response.reason), None
    if head:
        headers = (*headers, (b"content-encoding", coding.encode()))
        return Response(response.status, headers, b"", response.reason), None
    body = None if made.entry is None else made.entry.coded.get(coding)
    new_coding = coding if body is None else None
    if body is None:
        body = await _encoded(response.body, coding)
    headers = coded_headers(headers, coding, len(body))
    return Response(response.status, headers, body, response.reason), new_coding


async def compressed(
    response: Response, asked: Mapping[bytes, bytes], compress_from: int
) -> Response:
    """The answer to a write, in the coding that its caller takes best."""
    large = 0 < compress_from <= len(response.body) and response.status not in BODILESS
    if not large or not _sorted(response.headers).is_compressible:
        return response
    headers = with_vary(response.headers, _ACCEPT_ENCODING)
    coding = negotiate(asked.get(b"accept-encoding"))
    if coding is None:
        return replace(response, headers=headers)
    body = await _encoded(response.body, coding)
    return replace(response, headers=coded_headers(headers, coding, len(body)), body=body)


async def _encoded(body: bytes, coding: str) -> bytes:
    if len(body) <= _INLINE:
        return encode(body, coding)
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, encode, body, coding)
