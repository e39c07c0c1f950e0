"""HPACK (RFC 7541) for a server: fields of requests in, fields of responses out.

In: header blocks as they came, fields to send. Out: the same the other way round. The tables
of the specification are those of the library `hpack`, against which the tests hold this; its
code takes five to ten times as long, and that would be a tenth of a request.

* Nothing a peer sends makes a table larger than `TABLE` bytes, or a list of fields larger than
  the caller allows: what is beyond is read on, to keep the tables in step, and not kept.
* Only fields in `INDEXED` enter the table that both sides keep: their values repeat and hold
  no secret. A secret in the table could be guessed by its length (RFC 7541, 7.1).
* Values are sent as they are: to squeeze them costs more than it saves.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from hpack.huffman_table import (
    HUFFMAN_COMPLETE,
    HUFFMAN_EMIT_SYMBOL,
    HUFFMAN_FAIL,
    HUFFMAN_TABLE,
)
from hpack.table import HeaderTable

Field = tuple[bytes, bytes]
Fields = list[Field]

TABLE: Final = 4096
"""Bytes that a dynamic table may hold, that of each side."""
OVERHEAD: Final = 32
"""Bytes that a field counts for beside its name and value (RFC 7541, 4.1)."""
INDEXED: Final = frozenset(
    (
        b"access-control-allow-credentials",
        b"access-control-allow-origin",
        b"access-control-expose-headers",
        b"allow",
        b"cache-control",
        b"content-encoding",
        b"content-type",
        b"date",
        b"proxy-status",
        b"server",
        b"vary",
        b"www-authenticate",
    )
)
_SECRET: Final = frozenset((b"set-cookie", b"authorization"))
_STATIC: Final[tuple[Field, ...]] = HeaderTable.STATIC_TABLE
_LAST_STATIC: Final = len(_STATIC)
_STATIC_FIELDS: Final = {field: at for at, field in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_NAMES: Final = {name: at for at, (name, _) in reversed(list(enumerate(_STATIC, 1)))}
_MOST_CACHED: Final = 4096
_SHORT: Final = tuple(bytes((length,)) for length in range(0x7F))


class HpackError(Exception):
    """A header block that can't be read: the peer's table and ours are no longer the same."""


class Decoder:
    """Reads the header blocks of one connection."""

    __slots__ = ("_entries", "_limit", "_size")

    def __init__(self) -> None:
        self._entries: Fields = []
        self._size = 0
        self._limit = TABLE

    def decode(self, data: bytes, most: int) -> Fields | None:
        """The fields of a block; None when they are larger than `most` bytes together.

        Raises `HpackError`.
        """
        try:
            return self._decode(data, most)
        except IndexError as error:
            raise HpackError("a reference to nothing") from error

    def _decode(self, data: bytes, most: int) -> Fields | None:
        fields: Fields = []
        entries = self._entries
        at, end, size = self._resized(data), len(data), 0
        while at < end:
            first = data[at]
            if first & 0x80:
                at += 1
                index = first & 0x7F
                if index == 0x7F:
                    index, at = _integer(data, at, 0x7F)
                field = entries[_LAST_STATIC - index] if index > 61 else _STATIC[index - 1]
                if not index:
                    raise HpackError("index 0")
            else:
                if first & 0x20 and first < 0x40:
                    raise HpackError("a table size within a block")
                field, at = self._literal(data, at, first)
                if first & 0x40:
                    self._insert(field)
            size += len(field[0]) + len(field[1]) + OVERHEAD
            if size <= most:
                fields.append(field)
        return fields if size <= most else None

    def _resized(self, data: bytes) -> int:
        """Where the fields begin, after changes of the table's size."""
        at = 0
        while at < len(data) and data[at] & 0xE0 == 0x20:
            limit = data[at] & 0x1F
            at += 1
            if limit == 0x1F:
                limit, at = _integer(data, at, 0x1F)
            if limit > TABLE:
                raise HpackError("a table larger than allowed")
            self._limit = limit
            self._evict(0)
        return at

    def _literal(self, data: bytes, at: int, first: int) -> tuple[Field, int]:
        mask = 0x3F if first & 0x40 else 0x0F
        index = first & mask
        at += 1
        if index == mask:
            index, at = _integer(data, at, mask)
        if index > _LAST_STATIC:
            name = self._entries[_LAST_STATIC - index][0]
        elif index:
            name = _STATIC[index - 1][0]
        else:
            name, at = _string(data, at)
        value, at = _string(data, at)
        return (name, value), at

    def _insert(self, field: Field) -> None:
        size = len(field[0]) + len(field[1]) + OVERHEAD
        self._evict(size)
        if size <= self._limit:
            self._entries.append(field)
            self._size += size

    def _evict(self, needed: int) -> None:
        entries, gone = self._entries, 0
        while self._size + needed > self._limit and gone < len(entries):
            name, value = entries[gone]
            self._size -= len(name) + len(value) + OVERHEAD
            gone += 1
        del entries[:gone]


def _integer(data: bytes, at: int, prefix: int) -> tuple[int, int]:
    """RFC 7541, 5.1, from the second byte on; the value, and where the next thing begins."""
    value, shift = prefix, 0
    while True:
        byte = data[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 21:
            raise HpackError("a number too large")


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    first = data[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = _integer(data, at, 0x7F)
    end = at + length
    if end > len(data):
        raise HpackError("a string beyond the block")
    raw = data[at:end]
    if first & 0x80:
        return (_unpacked(raw) if length < _MOST_CACHED else _unpack(raw)), end
    return raw, end


_Step = tuple[int, bytes, bool]
_STEPS: Final[dict[int, _Step]] = {}
"""What a byte of Huffman's code stands for after what came before: filled in as it is met, at
most 65,536 entries, which depend on nothing but the code."""


def _unpack(raw: bytes) -> bytes:
    """Undo Huffman's code (RFC 7541, 5.2)."""
    out: list[bytes] = []
    state, complete = 0, True
    for byte in raw:
        step = _STEPS.get(state | byte)
        if step is None:
            step = _STEPS[state | byte] = _step(state >> 8, byte)
        state, symbols, complete = step
        out.append(symbols)
    if not complete:
        raise HpackError("a string that ends within a symbol")
    return b"".join(out)


def _step(state: int, byte: int) -> _Step:
    symbols, flags = bytearray(), 0
    for nibble in (byte >> 4, byte & 0x0F):
        state, flags, symbol = HUFFMAN_TABLE[state * 16 + nibble]
        if flags & HUFFMAN_FAIL:
            raise HpackError("a string with the end of all strings in it")
        if flags & HUFFMAN_EMIT_SYMBOL:
            symbols.append(symbol)
    return state << 8, bytes(symbols), bool(flags & HUFFMAN_COMPLETE)


@lru_cache(maxsize=1024)
def _unpacked(raw: bytes) -> bytes:
    # Tokens, which clients must not have indexed, come with each request.
    return _unpack(raw)


class Encoder:
    """Writes the header blocks of one connection."""

    __slots__ = ("_count", "_known", "_limit", "_resize", "_size")

    def __init__(self) -> None:
        self._known: dict[Field, int] = {}
        """Fields in the table, oldest first, and the how-manieth each was to enter."""
        self._count = 0
        self._size = 0
        self._limit = TABLE
        self._resize: list[int] = []

    def allow(self, limit: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE."""
        limit = min(limit, TABLE)
        if limit != self._limit:
            least = min((limit, *self._resize))
            self._resize = [least] if least == limit else [least, limit]
            self._limit = limit
            self._evict(0)

    def encode(self, fields: Fields) -> bytes:
        """The block of `fields`, whose names are in lower case."""
        parts: list[bytes] = []
        if self._resize:
            # The least one in between has emptied the table too (RFC 7541, 4.2).
            parts += [_number(limit, 0x20, 0x1F) for limit in self._resize]
            self._resize = []
        known = self._known
        for field in fields:
            number = known.get(field)
            if number is not None:
                parts.append(_index(_LAST_STATIC + 1 + self._count - number))
            elif (index := _STATIC_FIELDS.get(field)) is not None:
                parts.append(_index(index))
            elif field[0] in INDEXED and self._insert(field):
                parts.append(_literal(field, 0x40, 0x3F))
            else:
                name, value = field
                length = len(value)
                parts += (
                    _name(name),
                    _SHORT[length] if length < 0x7F else _number(length, 0, 0x7F),
                    value,
                )
        return b"".join(parts)

    def _insert(self, field: Field) -> bool:
        size = len(field[0]) + len(field[1]) + OVERHEAD
        if size > self._limit // 2:
            return False
        self._evict(size)
        self._count += 1
        self._known[field] = self._count
        self._size += size
        return True

    def _evict(self, needed: int) -> None:
        while self._known and self._size + needed > self._limit:
            name, value = oldest = next(iter(self._known))
            del self._known[oldest]
            self._size -= len(name) + len(value) + OVERHEAD


@lru_cache(maxsize=1024)
def _index(index: int) -> bytes:
    return _number(index, 0x80, 0x7F)


@lru_cache(maxsize=1024)
def _literal(field: Field, kind: int, prefix: int) -> bytes:
    name, value = field
    return _named(name, kind, prefix) + _number(len(value), 0, 0x7F) + value


@lru_cache(maxsize=1024)
def _name(name: bytes) -> bytes:
    """How a field begins that enters no table."""
    return _named(name, 0x10 if name in _SECRET else 0, 0x0F)


def _named(name: bytes, kind: int, prefix: int) -> bytes:
    index = _STATIC_NAMES.get(name)
    if index is not None:
        return _number(index, kind, prefix)
    return bytes((kind,)) + _number(len(name), 0, 0x7F) + name


def _number(value: int, kind: int, prefix: int) -> bytes:
    """RFC 7541, 5.1: `value` in the bits `prefix` of a byte of `kind`, and those after it."""
    if value < prefix:
        return bytes((kind | value,))
    out = bytearray((kind | prefix,))
    value -= prefix
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
