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

from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from proxy.request.grammar.recogniser import Unrecognised, head_of, is_argument, list_items
from proxy.request.model import HttpRequest
from proxy.request.operators import OperatorKind
from proxy.request.query_string import decode_pairs, is_filter
from proxy.request.request_headers import RequestHeaders
from proxy.sql.conditions import argument_of

Hole = OperatorKind | Literal["argument"]
"""What stands in a hole: the value of an operator of this kind, or `argument`: the whole
value of a parameter that names no operator."""
Part = tuple[str, str | None] | tuple[str, str, Hole]
"""A parameter: its key and value, or its key, what precedes the hole and the hole."""
Key = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], tuple[Part, ...]]

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"))
_LONGEST: Final = 4096
"""Bytes of path, query and shaping headers; longer ones are read anew each time."""


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
        pairs = decode_pairs(query)
    except UnicodeDecodeError:
        return None
    for key, value in pairs:
        found = None if value is None else _hole(key, value)
        if found is None:
            parts.append((key, value))
        else:
            part, text, bound = found
            parts.append(part)
            texts.append(text)
            values.append(bound)
    whole = request.method, path, headers.shaping, tuple(parts)
    return Fingerprint(whole, tuple(texts), tuple(values))


def _hole(key: str, value: str) -> tuple[Part, str, str] | None:
    """The parameter with a hole, what stands in it and how that is bound."""
    if not is_filter(key):
        return None
    found = head_of(value)
    if found is None:
        return ((key, "", "argument"), value, value) if is_argument(value) else None
    (operator, _, _, language), at = found
    kind = operator.kind
    if kind == "is" or language is not None:
        return None
    text = value[at:]
    part: Part = key, value[:at], kind
    if kind != "in":
        return part, text, argument_of(operator, text)
    try:
        return part, text, argument_of(operator, list_items(text))
    except Unrecognised:
        return None


def filled(key: Key, texts: tuple[str, ...]) -> bytes:
    """A query string whose fingerprint is `key` with `texts` in its holes."""
    remaining = iter(texts)
    parameters = []
    for part in key[3]:
        value = part[1] + next(remaining) if len(part) == 3 else part[1]
        name = quote(part[0], safe="")
        parameters.append(name if value is None else f"{name}={quote(value, safe='')}")
    # The last separator is for a parameter that is empty.
    return "".join([f"{parameter}&" for parameter in parameters]).encode()
