"""How values travel: arguments in PostgreSQL's own text form, bodies as raw bytes.

In: Python values and type OIDs. Out: what asyncpg is to send and to hand back. Text form
lets the server read `'2024-01-01'`, `'{1,2}'` or `'(1,a)'` as it reads a literal, so that
no type has to be known here. The exceptions are the types whose binary form is that same
text (json, text and their like), jsonb (one version byte in front) and bytea: they go as
bytes, so that a response body is never decoded and encoded again.
"""

from __future__ import annotations

import re
from codecs import escape_decode
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from pool.errors import DatabaseError
from pool.model import Argument

Format = Literal["text", "binary"]
Decoder = Callable[[Any], Any]

BOOL: Final = 16
BYTEA: Final = 17
NAME: Final = 19
JSON: Final = 114
XML: Final = 142
TEXT: Final = 25
BPCHAR: Final = 1042
VARCHAR: Final = 1043
JSONB: Final = 3802
_INTEGERS: Final = frozenset({20, 21, 23, 26})

_JSONB_VERSION: Final = b"\x01"
# Their binary form is their text form.
_RAW: Final = frozenset({JSON, TEXT})
_BINARY: Final = _RAW | {JSONB, BYTEA}


def wire_format(oid: int) -> Format:
    """The form in which values of type `oid` travel, both ways."""
    return "binary" if oid in _BINARY else "text"


def decoder(oid: int) -> Decoder:
    """Turns what arrives for type `oid` into a Python value.

    int for integers and oid, bool for bool, bytes for json, jsonb, text, xml and bytea;
    str, PostgreSQL's text form, for everything else.
    """
    if oid in _INTEGERS:
        return int
    if oid == BOOL:
        return "t".__eq__
    if oid == JSONB:
        return _after_version
    if oid == XML:
        return str.encode
    return as_is


def as_is(value: Any) -> Any:
    """The value itself."""
    return value


def _after_version(value: bytes) -> bytes:
    return value[1:]


def encode(args: Sequence[Argument], oids: Sequence[int]) -> list[str | bytes | None]:
    """The arguments in the form asyncpg sends for parameters of the types `oids`.

    Raises `DatabaseError` 22021 for text that has no UTF-8 form, and PostgreSQL's own
    error for a bytea literal it would not accept.
    """
    return [
        None if value is None else _encode_one(value, oid)
        for value, oid in zip(args, oids, strict=True)
    ]


def _encode_one(value: str | bytes, oid: int) -> str | bytes:
    if oid in _RAW:
        return value if isinstance(value, bytes) else utf8(value)
    if oid == JSONB:
        return _JSONB_VERSION + (value if isinstance(value, bytes) else utf8(value))
    if oid == BYTEA:
        return value if isinstance(value, bytes) else bytea_from_text(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(value[error.start : error.start + 1]) from None
    if not value.isascii():
        utf8(value)
    return value


def utf8(value: str) -> bytes:
    """The text as UTF-8; `DatabaseError` 22021 when it has lone surrogates."""
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise _not_utf8(value[error.start].encode(errors="surrogatepass")) from None


def _not_utf8(sequence: bytes) -> DatabaseError:
    # What PostgreSQL says of such bytes (errcode character_not_in_repertoire).
    shown = " ".join(f"0x{byte:02x}" for byte in sequence)
    return DatabaseError("22021", f'invalid byte sequence for encoding "UTF8": {shown}')


_ESCAPE_FORM: Final = re.compile(rb"(?:[^\\]++|\\(?:\\|[0-3][0-7]{2}))*+")
_NO_HEX: Final = re.compile(r"[^0-9a-fA-F \n\t\r]")


def bytea_from_text(literal: str) -> bytes:
    r"""The bytes that a bytea literal stands for, in hex (`\x`) or in escape form.

    PostgreSQL docs, "Binary Data Types"; its errors are raised for what it refuses.
    """
    if literal.startswith("\\x"):
        return _bytea_from_hex(literal[2:])
    raw = utf8(literal)
    if _ESCAPE_FORM.fullmatch(raw) is None:
        raise DatabaseError("22P02", "invalid input syntax for type bytea")
    # Python's escapes hold PostgreSQL's, and are read without a call for each.
    return escape_decode(raw)[0]


def _bytea_from_hex(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        pass
    wrong = _NO_HEX.search(digits)
    if wrong is not None:
        message = f'invalid hexadecimal digit: "{utf8(wrong[0]).decode()}"'
        raise DatabaseError("22023", message)
    raise DatabaseError("22023", "invalid hexadecimal data: odd number of digits")
