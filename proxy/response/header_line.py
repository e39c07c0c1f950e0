"""One header line out of text that SQL chose: checked, so that data can't write others.

In: a name and a value. Out: the pair for the wire. RFC 9110 section 5.5 says what a line
may hold; the headers that frame a message belong to the server (RFC 9110 section 7.6.1).
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FRAMING: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


def as_value(text: str) -> bytes:
    """`text` as a header's value: what no line may hold is written `?`."""
    return _FORBIDDEN.sub(b"?", text.encode(errors="replace"))


def header_line(name: str, value: str) -> tuple[bytes, bytes]:
    """The header, its name in lower case. Raises ValueError when it would be no header."""
    line = name.encode(errors="replace").lower(), value.encode(errors="replace").strip()
    if _TOKEN.fullmatch(line[0]) is None or _FIELD_VALUE.fullmatch(line[1]) is None:
        raise ValueError(f"{name!r} and its value are not a header")
    if line[0] in _FRAMING:
        raise ValueError(f"{name!r} is the server's own header")
    return line
