"""The fingerprint of a request: what it asks, apart from the values that it asks with.

In: an `HttpRequest` and what its headers came to. Out: a `Fingerprint`, a hashable key and the
values that stand in its holes. `/items?id=eq.1` and `/items?id=eq.2` have one key.

Two requests of one key differ in nothing but those values, their bodies, and headers that
only the database is told. Only what the grammar takes for a value whatever it is becomes
one: all that follows `eq.` and the other plain operators, a list's items, a function's
argument. All else is part of the key, character by character: names, `select`, `order`,
ranges, trees, `is`, languages. What is not understood here at a glance has no fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import quote_from_bytes

from proxy.request.grammar import shortcuts
from proxy.request.model import HttpRequest
from proxy.request.operators import OPERATORS
from proxy.request.query_string import decode_pairs
from proxy.request.request_headers import RequestHeaders
from proxy.sql.conditions import list_argument, pattern_argument

Hole = Literal["plain", "pattern", "list", "argument"]
"""How what stands in a hole is bound: as it is, as a pattern, as an array; `argument`: as
it is, being the whole value of a parameter that names no operator."""
Part = tuple[bytes, bytes | None] | tuple[bytes, bytes, Hole]
"""A parameter: its key and value, or its key, what precedes the hole and the hole."""
Key = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], tuple[Part, ...]]

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"))
_LONGEST: Final = 4096
"""Bytes of path, query and shaping headers; longer ones are read anew each time."""
_WHOLE_KEYS: Final = frozenset((b"select", b"columns", b"on_conflict"))
_WHOLE_WORDS: Final = frozenset((b"order", b"limit", b"offset", b"and", b"or"))


def _holes() -> Mapping[bytes, Hole]:
    holes: dict[bytes, Hole] = {
        head.encode(): "pattern" if OPERATORS[name].kind == "pattern" else "plain"
        for head, (name, _) in shortcuts.HEADS.items()
    }
    holes[b"in"] = "list"
    return holes


_HOLES: Final = _holes()


class Fingerprint(NamedTuple):
    """`key` is what the request asks; `texts` is what stands in its holes, in order, and
    `values` the same as it is bound."""

    key: Key
    texts: tuple[str, ...]
    values: tuple[str, ...]


def fingerprint(request: HttpRequest, headers: RequestHeaders) -> Fingerprint | None:
    """The fingerprint of `request`, None when it has to be read anew each time."""
    path, query = request.path, request.query
    if request.method not in _METHODS or len(path) + len(query) + headers.weight > _LONGEST:
        return None
    parts: list[Part] = []
    texts: list[str] = []
    values: list[str] = []
    try:
        for key, value in decode_pairs(query):
            found = None if value is None else _hole(key, value)
            if found is None:
                parts.append((key, value))
            else:
                part, text, bound = found
                parts.append(part)
                texts.append(text)
                values.append(bound)
    except UnicodeDecodeError:
        return None
    whole = request.method, path, headers.shaping, tuple(parts)
    return Fingerprint(whole, tuple(texts), tuple(values))


def _hole(key: bytes, value: bytes) -> tuple[Part, str, str] | None:
    """The parameter with a hole, what stands in it and how that is bound."""
    if key in _WHOLE_KEYS or key.rpartition(b".")[2] in _WHOLE_WORDS:
        return None
    negated = value.startswith(b"not.")
    head, dot, rest = (value[4:] if negated else value).partition(b".")
    hole = _HOLES.get(head) if dot else None
    if hole is None:
        text = value.decode()
        if negated or not shortcuts.is_argument(text):
            return None
        return (key, b"", "argument"), text, text
    text = rest.decode()
    before = b"not." + head + dot if negated else head + dot
    if hole == "plain":
        return (key, before, hole), text, text
    if hole == "pattern":
        return (key, before, hole), text, pattern_argument(text)
    items = shortcuts.list_items(text) if text[:1] == "(" and text[-1:] == ")" else None
    return None if items is None else ((key, before, hole), text, list_argument(items))


def filled(key: Key, texts: tuple[str, ...]) -> bytes:
    """A query string whose fingerprint is `key` with `texts` in its holes."""
    remaining = iter(texts)
    parameters = []
    for part in key[3]:
        name = quote_from_bytes(part[0], safe="")
        if len(part) == 3:
            value = part[1] + next(remaining).encode()
            parameters.append(f"{name}={quote_from_bytes(value, safe='')}")
        elif part[1] is None:
            parameters.append(name)
        else:
            parameters.append(f"{name}={quote_from_bytes(part[1], safe='')}")
    # The last separator is for a parameter that is empty.
    return "".join(f"{parameter}&" for parameter in parameters).encode()
