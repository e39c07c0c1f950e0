"""The few frontend messages of PostgreSQL's protocol that we write ourselves.

In: names, SQL text and arguments. Out: bytes. Source: PostgreSQL docs, "Message Formats".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


_EXECUTE_UNNAMED_PORTAL: Final = _message(b"E", b"\0" + struct.pack("!i", 0))
_NULL: Final = struct.pack("!i", -1)


def parse(name: str, sql: str) -> bytes:
    """Parse `sql` as the statement `name`; the server finds out its parameters' types."""
    return _message(b"P", name.encode() + b"\0" + sql.encode() + b"\0" + b"\0\0")


def arguments(args: Sequence[bytes | None]) -> bytes:
    """Arguments in text form, as a Bind message has them."""
    values = [_NULL if arg is None else struct.pack("!i", len(arg)) + arg for arg in args]
    return struct.pack("!hh", 0, len(args)) + b"".join(values)


def bind_and_execute(name: str, args: bytes) -> bytes:
    """Run the statement `name` to its end, with what `arguments` gave."""
    body = b"\0" + name.encode() + b"\0" + args + b"\0\0"
    return _message(b"B", body) + _EXECUTE_UNNAMED_PORTAL


def close(name: str) -> bytes:
    """Forget the statement `name`; no error when there is none."""
    return _message(b"C", b"S" + name.encode() + b"\0")
