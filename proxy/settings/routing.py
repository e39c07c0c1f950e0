"""Which app a request belongs to: by the host it names, then by the path it asks for.

In: the places that apps claim (`Place`), and of each request the Host header and the path,
as they came. Out: the app and the path's bytes that are its prefix. Pure.

Of the places whose host fits, those that name the host win over those of `*.example.com`
(the longest first), and these over those without hosts; among equals the longest prefix
wins. A prefix is whole segments: `/shop` holds `/shop` and `/shop/x`, not `/shopping`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, TypeVar
from urllib.parse import unquote_to_bytes

import idna

T = TypeVar("T")

_ANY_HOST: Final = ""
"""Stands for every host, where a place names none."""
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS: Final = re.compile(r"\[[0-9a-f:.]+\]")
_SEGMENT: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._~-]+")
_LONGEST_HEADER: Final = 512
"""Bytes: a name has 253 at most, more when its letters are not encoded, and then a port."""
_PORT: Final = re.compile(rb":[0-9]*$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an app is: any of `hosts` (all without one), below `prefix`.

    `hosts` are as `read_host` gives them, `prefix` as `read_prefix` does.
    """

    hosts: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def claims(self) -> Iterator[tuple[str, str]]:
        """Each host and prefix that nobody else may have."""
        for host in self.hosts or (_ANY_HOST,):
            yield host, self.prefix


def read_host(text: str) -> str:
    """A host as the configuration writes it, in the form that requests are compared in:
    lower case, international names in ASCII, without the final dot. It may begin with `*.`
    for everything below. ValueError completes "'<text>' …".
    """
    bare = text.strip().lower().removesuffix(".")
    wild = "*." if bare.startswith("*.") else ""
    name = _ascii(bare.removeprefix("*."))
    if name is not None and (_NAME.fullmatch(name) or (not wild and _ADDRESS.fullmatch(name))):
        return wild + name
    raise ValueError("is not a host name without port, such as shop.example.com")


def read_prefix(text: str) -> str:
    """A path prefix without the final slash; nothing for `/`. ValueError as `read_host`."""
    bare = text.strip().removesuffix("/")
    if not bare or (bare.startswith("/") and all(map(_SEGMENT.fullmatch, bare[1:].split("/")))):
        return bare
    raise ValueError("is not a path of letters, digits and -._~ that begins with a slash")


def host_of(header: bytes) -> str:
    """What a Host header or `:authority` names, in the form of `read_host`."""
    # What is longer than any name is neither taken apart nor remembered.
    return _host_of(header) if len(header) <= _LONGEST_HEADER else _NO_HOST


@lru_cache(maxsize=4096)
def _host_of(header: bytes) -> str:
    try:
        text = _PORT.sub(b"", header.strip()).decode().lower().removesuffix(".")
    except UnicodeDecodeError:
        return _NO_HOST
    return (text if text.isascii() else _ascii(text)) or _NO_HOST


_NO_HOST: Final = "-"
"""No host that a place can name."""


def _ascii(text: str) -> str | None:
    if text.isascii():
        return text
    try:
        return idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        return None


@dataclass(frozen=True, slots=True)
class _OfHost(Generic[T]):
    """What is at one host, by the segments of the prefix; `depth`: of the longest."""

    targets: Mapping[tuple[bytes, ...], T]
    depth: int

    def find(self, path: bytes) -> T | None:
        segments = _segments(path, self.depth)
        for length in range(len(segments), -1, -1):
            target = self.targets.get(segments[:length])
            if target is not None:
                return target
        return None


class Router(Generic[T]):
    """Finds what is at a place; of those that claim the same one the first. Immutable:
    another configuration is another router."""

    def __init__(self, places: Iterable[tuple[Place, T]]) -> None:
        hosts: dict[str, dict[tuple[bytes, ...], T]] = {}
        for place, target in places:
            for host, prefix in place.claims:
                segments = tuple(prefix.encode().split(b"/")[1:])
                hosts.setdefault(host, {}).setdefault(segments, target)
        self._hosts: Mapping[str, _OfHost[T]] = {
            host: _OfHost(targets, max(map(len, targets))) for host, targets in hosts.items()
        }
        everywhere = hosts.get(_ANY_HOST, {})
        self.only: T | None = None
        """What gets every request, whatever it names; None where that depends."""
        if len(hosts) == len(everywhere) == 1:
            self.only = everywhere.get(())

    def find(self, host: bytes, path: bytes) -> T | None:
        """What is at `path` (percent-encoded) of the host that the header names."""
        for name in _names_of(host_of(host)):
            of_host = self._hosts.get(name)
            target = None if of_host is None else of_host.find(path)
            if target is not None:
                return target
        return None


def _names_of(host: str) -> Iterator[str]:
    """The names that a place may have for `host`, the most special first."""
    yield host
    _, dot, rest = host.partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")
    yield _ANY_HOST


def _segments(path: bytes, most: int) -> tuple[bytes, ...]:
    """The first segments of `path`, decoded; a slash that is encoded separates nothing."""
    segments = path.split(b"/", most + 1)[1 : most + 1]
    return tuple(map(unquote_to_bytes, segments) if b"%" in path else segments)


def length_of_prefix(prefix: bytes, path: bytes) -> int | None:
    """How many bytes of `path` are `prefix`, percent-encoded or not; None when they aren't."""
    if path.startswith(prefix):
        length = len(prefix)
        return length if path[length : length + 1] in (b"", b"/") else None
    wanted = tuple(prefix.split(b"/")[1:])
    if b"%" not in path or _segments(path, len(wanted)) != wanted:
        return None
    return len(b"/".join(path.split(b"/", len(wanted) + 1)[: len(wanted) + 1]))
