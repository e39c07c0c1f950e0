"""What a kept answer is found by.

In: a request as it came, whose it is, and the scope of its policy. Out: a `Key`. It is made
of bytes as they came, without parsing them: what differs in spelling only is kept twice, and
that is all. It holds everything an answer may depend on under the rules of docs/caching.md:
path and query, the values of the headers that select a representation, as the request is
read by them (`proxy.request.headers`), and the identity as far as the scope tells identities
apart. Apps never meet: each has a cache of its own.

Two texts have one key only where they mean the same for certain: parameters in another order
whose names are plain and distinct, so that each is read by itself; claims in another order,
or with other times and another token id, as long as nothing reads claims but by their names.
An answer for which that can't be proven is for one text of the claims alone: it carries
their `whole_claims`, and whoever finds it has to compare.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from proxy.auth.model import Identity
from proxy.cache_rules.policy import Scope
from proxy.request.model import HttpRequest
from proxy.request.request_headers import SELECTING
from proxy.schema_cache.node_trees import PASSING_CLAIMS

Key = tuple[bytes, bytes, bytes, bytes]
"""Path, query, selecting headers, identity."""
_HARMLESS: Final = re.compile(r"_timeout$|^(log|enable|default_transaction)_|^(jit|work_mem)")
"""Settings that no answer depends on; of others that is not known."""

_PLAIN: Final = re.compile(rb"(?:[A-Za-z_]\w*+=[^&;]*+(?:&(?!\Z)|\Z))++")
"""A query string whose names are words, each with a value."""
_STAMP: Final = re.compile(r'[0-9]{1,18}(?:\.[0-9]{1,18})?|"[^"\\]*+"')
"""A time or a token id as issuers write them: whatever reads the claims passes over it."""

_DECODER: Final = json.JSONDecoder()
_LONG: Final = 256
"""Bytes beyond which a part of the key is replaced by its hash."""


def key_of(
    http: HttpRequest,
    caching: Mapping[bytes, bytes],
    scope: Scope,
    identity: Identity,
    role_settings: bytes = b"",
) -> Key:
    """The key of a GET, or of a HEAD or QUERY that stands for the same. `caching`
    are the headers that matter to caches; `role_settings` stand for the settings of the role
    that an answer for everybody depends on (`role_settings_digests`)."""
    return (
        _short(http.path),
        _short(_canonical(http.query)),
        _short(_selection(caching, with_range=http.method != "HEAD")),
        role_settings if scope == "public" else _identity(scope, identity),
    )


def _canonical(query: bytes) -> bytes:
    """The parameters in the order of their names, if no two of them can be about the same:
    `a` and `"a"` are one name, `a.limit` and `b.limit` may be of one table."""
    if b"&" not in query or _PLAIN.fullmatch(query) is None:
        return query
    parameters = query.split(b"&")
    names = {parameter.partition(b"=")[0] for parameter in parameters}
    if len(names) < len(parameters):
        return query
    parameters.sort()
    return b"&".join(parameters)


def _selection(caching: Mapping[bytes, bytes], *, with_range: bool) -> bytes:
    """A HEAD has no range (RFC 9110, section 14.2)."""
    # The byte between the names can't stand in a header.
    return b"\0".join(
        [
            name + b":" + caching[name]
            for name in SELECTING
            if name in caching and (with_range or name != b"range")
        ]
    )


def _identity(scope: Scope, identity: Identity) -> bytes:
    if scope == "role":
        return b"role " + identity.role.encode()
    return _claims_digest(identity.claims)


def role_settings_digests(
    role_settings: Mapping[str, Iterable[tuple[str, str]]],
) -> dict[str, bytes]:
    """Of the roles whose own settings may change an answer, such as the time zone, what
    stands for these settings."""
    found = {}
    for role, settings in role_settings.items():
        telling = sorted(each for each in settings if not _HARMLESS.search(each[0]))
        if telling:
            found[role] = (
                b"as " + blake2b(json.dumps(telling).encode(), digest_size=16).digest()
            )
    return found


@lru_cache(maxsize=1024)
def _claims_digest(claims: str) -> bytes:
    """Stands for the claims that last, in whatever order they come. The role is among them.
    Values count by their text, which is what SQL sees: no two that differ are ever one. Of
    equal names the last counts (RFC 7519, section 4)."""
    try:
        members = dict(_members(claims)).items()
        lasting = sorted(each for each in members if not _passes(*each))
        kind, text = b"claims ", json.dumps(lasting)
    except RecursionError:
        kind, text = b"token ", claims
    return kind + blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def _passes(name: str, value: str) -> bool:
    return name in PASSING_CLAIMS and _STAMP.fullmatch(value) is not None


def whole_claims(identity: Identity) -> bytes:
    """Stands for the text of the claims, to the letter."""
    return blake2b(identity.claims.encode(errors="surrogatepass"), digest_size=16).digest()


def _members(text: str) -> Iterator[tuple[str, str]]:
    """The names of a JSON object's members, and their values as they are written."""
    position = _skip_blanks(text, text.index("{") + 1)
    while text[position] != "}":
        name, position = _DECODER.raw_decode(text, position)
        start = _skip_blanks(text, text.index(":", position) + 1)
        _, end = _DECODER.raw_decode(text, start)
        yield name, text[start:end]
        position = _skip_blanks(text, end)
        if text[position] == ",":
            position = _skip_blanks(text, position + 1)


def _skip_blanks(text: str, position: int) -> int:
    while text[position] in " \t\n\r":
        position += 1
    return position


def _short(part: bytes) -> bytes:
    if len(part) <= _LONG:
        return part
    return b"\0" + blake2b(part, digest_size=32).digest()


def key_size(key: Key) -> int:
    """The bytes of a key."""
    return sum(map(len, key))
