"""From what the pipeline made to what a client gets: validators, codings, 304 and 412.

In: a response, under a policy or not, and the headers of the request. Out: first a `Made`,
which is the same for all who ask for this representation and may be kept, then what this
one request is told: content in its coding, or only that it has not changed.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from proxy.cache.compression import coded_headers, encode, is_compressible, negotiate
from proxy.cache.freshness import Lifetimes
from proxy.cache.guard import refused
from proxy.cache.headers import UNKEPT, VaryNames, not_modified, policy_headers, with_vary
from proxy.cache.key import Asked
from proxy.cache.policy import Policy
from proxy.cache.store import Entry
from proxy.cache.validators import Conditions, Precondition, coded, judge_read, tag_of
from proxy.request.model import Headers
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
class Made:
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


@dataclass(frozen=True, slots=True)
class Delivered:
    """A response, and the coding that its content was just brought into."""

    response: Response
    new_coding: str | None = None


def of_entry(entry: Entry) -> Made:
    """What an entry keeps."""
    return Made(entry.response, entry.tag, entry.compressible, entry)


async def unkept(
    response: Response, vary: VaryNames, compress_from: int, *, shown: bool
) -> Made:
    """An answer without a policy. Not `shown`: its content was never made."""
    if response.status < 200 or response.status >= 300:
        return Made(response)
    made = await _made(response, compress_from, shown=shown)
    headers = made.response.headers
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers = (*headers, UNKEPT)
    return _varying(made, headers, vary.own)


async def kept(
    response: Response,
    vary: VaryNames,
    policy: Policy,
    lifetimes: Lifetimes | None,
    tags: frozenset[str] | None,
    compress_from: int,
    *,
    detail: str = "",
    code: str | None = None,
) -> Made:
    """An answer under a policy; without `lifetimes` nobody is to keep it."""
    if response.status < 200 or response.status >= 300:
        return Made(response, code=code, detail=detail)
    made = await _made(response, compress_from, shown=True)
    headers = made.response.headers
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        told = (UNKEPT,) if lifetimes is None else policy_headers(policy, lifetimes, tags)
        headers = (*headers, *told)
    shared = policy.scope == "public" and lifetimes is not None
    made = _varying(made, headers, vary.public if shared else vary.own)
    return replace(made, detail=detail)


async def _made(response: Response, compress_from: int, *, shown: bool) -> Made:
    tag = None
    if shown and response.status not in BODILESS:
        if len(response.body) <= _HASHED_INLINE:
            tag = tag_of(response)
        else:
            loop = asyncio.get_running_loop()
            tag = await loop.run_in_executor(_ASIDE, tag_of, response)
    timing = tuple(line for line in response.headers if line[0].lower() == b"server-timing")
    headers = tuple(line for line in response.headers if line[0].lower() not in _DROPPED)
    compressible = shown and is_compressible(response, compress_from)
    return Made(replace(response, headers=headers), tag, compressible, timing=timing)


def _varying(made: Made, headers: Headers, names: tuple[bytes, ...]) -> Made:
    names = (*names, *_ACCEPT_ENCODING) if made.compressible else names
    response = replace(made.response, headers=with_vary(headers, names))
    return replace(made, response=response)


async def deliver(
    made: Made,
    asked: Asked,
    conditions: Conditions | None,
    lines: Headers,
    *,
    head: bool,
) -> Delivered:
    """The answer to one request; `lines` are headers for it alone.

    Raises `ApiError` EDGE412 when it depends on a tag that the answer does not have.
    """
    response = made.response
    coding = negotiate(asked.get(b"accept-encoding")) if made.compressible else None
    if made.tag is None:
        headers = (*response.headers, *made.timing, *lines)
        return Delivered(replace(response, headers=headers))
    tag = coded(made.tag, coding)
    headers = (*response.headers, (b"etag", tag), *made.timing, *lines)
    if conditions is not None:
        match judge_read(conditions, tag):
            case Precondition.NOT_MODIFIED:
                return Delivered(not_modified(headers))
            case Precondition.FAILED:
                raise refused("What is there now is not what the request asks for")
            case Precondition.HOLDS:
                pass
    if coding is None:
        return Delivered(Response(response.status, headers, response.body, response.reason))
    if head:
        headers = (*headers, (b"content-encoding", coding.encode()))
        return Delivered(Response(response.status, headers, b"", response.reason))
    body = None if made.entry is None else made.entry.coded.get(coding)
    new_coding = coding if body is None else None
    if body is None:
        body = await _encoded(response.body, coding)
    headers = coded_headers(headers, coding, len(body))
    return Delivered(Response(response.status, headers, body, response.reason), new_coding)


async def compressed(response: Response, asked: Asked, compress_from: int) -> Response:
    """The answer to a write, in the coding that its caller takes best."""
    if not is_compressible(response, compress_from):
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
