"""Entity tags (RFC 9110, section 8.8.3).

A tag is `"BODY.PAGE"` or `"BODY.PAGE-CODING"`: a hash of the content and its type, one of
the page's place in the whole (Content-Range, which may change while the page does not), and
the content coding. So it is strong: equal tags mean equal bytes.

SHA-256, cut to 128 bits: a tag decides about other people's writes, so nobody may be able
to make two contents with the same one; and with the instructions that processors have for
it, it takes half a microsecond for a row and half a millisecond for a megabyte.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import sha256
from typing import Final

from proxy.request.model import Headers

CODINGS: Final = ("gzip", "br", "zstd")
"""The content codings that a tag may name."""

_CODING_SUFFIX: Final = re.compile(rb'-(?:%s)"$' % b"|".join(c.encode() for c in CODINGS))
_BODY_BYTES: Final = 16
_PAGE_BYTES: Final = 3


def tag_of(headers: Headers, content: bytes) -> bytes:
    """The tag of the content of a response: the one SQL gave it, or our own."""
    content_type = page = b""
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            content_type = value
        elif lower == b"content-range":
            page = value
        elif lower == b"etag":
            return value
    return content_tag(content, content_type, page)


def content_tag(content: bytes, content_type: bytes, page: bytes) -> bytes:
    """The tag of a content of this type; `page` is its Content-Range."""
    digest = sha256(content)
    digest.update(b"\0" + content_type)
    return b'"%b.%b"' % (_text(digest.digest()[:_BODY_BYTES]), _page_text(page))


@lru_cache(maxsize=1024)
def _page_text(page: bytes) -> bytes:
    return _text(sha256(page).digest()[:_PAGE_BYTES])


def _text(digest: bytes) -> bytes:
    return urlsafe_b64encode(digest).rstrip(b"=").replace(b"-", b"~")


def coded(tag: bytes, coding: str | None) -> bytes:
    """The tag of the same content in a content coding."""
    return tag if coding is None else b'%b-%b"' % (tag[:-1], coding.encode())


def content_of(tag: bytes) -> bytes:
    """The part of a tag that stands for the content alone."""
    opaque = _CODING_SUFFIX.sub(b'"', tag)
    return opaque.partition(b".")[0].rstrip(b'"')
