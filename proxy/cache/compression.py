"""Content codings: which one a request takes best, and bodies in it (RFC 9110, 8.4, 12.5.3).

In: an Accept-Encoding header; a response. Out: a coding or None; the coded bytes. gzip is
always there, br and zstd with the extra `edgerest[compression]`. Coding a large body takes
long: callers do that in a thread, where these libraries let others run.

The levels are those that make JSON about as small as it gets before the time they take
grows out of proportion.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from proxy.request.model import Headers

_QUALITY: Final = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)
_COMPRESSIBLE: Final = re.compile(
    rb"(?:text/|application/(?:[\w.+-]*\+)?(?:json|xml|csv|yaml|javascript)\b"
    rb"|application/(?:geo\+json|openapi))",
    re.IGNORECASE,
)


def _gzip(body: bytes) -> bytes:
    coder = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return coder.compress(body) + coder.flush()


def _coders() -> Mapping[str, Callable[[bytes], bytes]]:
    """By coding, the preferred one first."""
    coders: dict[str, Callable[[bytes], bytes]] = {}
    if find_spec("zstandard") is not None:
        import zstandard

        # A compressor can't be shared between threads.
        coders["zstd"] = lambda body: zstandard.ZstdCompressor(level=3).compress(body)
    if find_spec("brotli") is not None:
        brotli: Any = import_module("brotli")
        coders["br"] = partial(brotli.compress, quality=5)
    coders["gzip"] = _gzip
    return coders


_CODERS: Final = _coders()
AVAILABLE: Final = tuple(_CODERS)
"""The codings, the one that is taken among equals first."""


def encode(body: bytes, coding: str) -> bytes:
    """`body` in one of the `AVAILABLE` codings; equal bodies give equal bytes."""
    return _CODERS[coding](body)


@lru_cache(maxsize=256)
def negotiate(accepted: bytes | None) -> str | None:
    """The coding to use, None for none at all.

    None is also for those who accept nothing that there is: they get what they can't have
    asked to be left out, as RFC 9110, section 12.5.3, recommends.
    """
    if not accepted:
        return None
    weights = _weights(accepted.decode("latin-1"))
    plain = weights.get("identity")
    best: str | None = None
    best_weight = 0.0
    for coding in AVAILABLE:
        weight = weights.get(coding, weights.get("*", 0.0))
        if coding == "gzip":
            weight = max(weight, weights.get("x-gzip", 0.0))
        if weight > best_weight:
            best, best_weight = coding, weight
    if plain is not None and plain > best_weight:
        return None
    return best


def _weights(accepted: str) -> Mapping[str, float]:
    weights: dict[str, float] = {}
    for item in accepted.split(","):
        coding, _, parameters = item.partition(";")
        quality = _QUALITY.search(parameters)
        weights.setdefault(coding.strip().lower(), float(quality[1]) if quality else 1.0)
    return weights


@lru_cache(maxsize=256)
def is_compressible(content_type: bytes) -> bool:
    """Whether content of this type is text, which gets smaller."""
    return _COMPRESSIBLE.match(content_type) is not None


def coded_headers(headers: Headers, coding: str, size: int) -> Headers:
    """The headers of a response whose content is now in `coding`, of `size` bytes."""
    kept = tuple(header for header in headers if header[0].lower() != b"content-length")
    return (
        *kept,
        (b"content-encoding", coding.encode()),
        (b"content-length", b"%d" % size),
    )
