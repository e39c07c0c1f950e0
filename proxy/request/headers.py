"""What a request's headers say: the one reading of header lines for all who use them.

In: header lines as they came, names in lower case. Out: one value per name. Lines of a list
are one list, in their order (RFC 9110, section 5.3); of every other header the first line
counts, and of Accept as well, as in PostgREST.

Whatever decides what an answer is, and whatever a kept answer is found by, reads a header
here: so they can't disagree on what it says.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from proxy.request.model import Headers

LISTS: Final = frozenset(
    (
        b"accept-encoding",
        b"cache-control",
        b"if-match",
        b"if-none-match",
        b"prefer",
    )
)
"""The headers whose lines are read as one list (RFC 9110, RFC 9111, RFC 7240)."""


def header_values(headers: Headers, names: Collection[bytes]) -> dict[bytes, bytes]:
    """The values of those of `names` (in lower case) that `headers` have."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in names:
            if name not in found:
                found[name] = value
            elif name in LISTS:
                found[name] += b", " + value
    return found
