"""Our HPACK against the library's, both ways, whatever the fields and tables."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.engines.connection.hpack import INDEXED, TABLE, Decoder, Encoder, HpackError

_PLENTY = 2**24
_names = st.sampled_from(sorted(INDEXED)) | st.sampled_from(
    [b":path", b":status", b"set-cookie", b"etag", b"x-" + b"a" * 200]
)
_values = st.binary(max_size=40) | st.sampled_from([b"", b"200", b"x" * 127, b"x" * 3000])
_fields = st.lists(st.tuples(_names, _values), max_size=8)
_sizes = st.sampled_from([0, 64, 100, 2000, 4096, 10_000])


@given(st.lists(st.tuples(_fields, st.booleans(), st.none() | _sizes), max_size=12))
def test_what_the_library_writes_is_read(
    blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]],
) -> None:
    theirs, ours = hpack.Encoder(), Decoder()
    for fields, huffman, size in blocks:
        if size is not None:
            theirs.header_table_size = min(size, TABLE)
        assert ours.decode(theirs.encode(fields, huffman=huffman), _PLENTY) == fields


@given(st.lists(st.tuples(_fields, st.lists(_sizes, max_size=3)), max_size=12))
def test_the_library_reads_what_is_written(
    blocks: list[tuple[list[tuple[bytes, bytes]], list[int]]],
) -> None:
    ours, theirs = Encoder(), hpack.Decoder()
    for fields, sizes in blocks:
        for size in sizes:
            ours.allow(size)
        read = theirs.decode(ours.encode(fields), raw=True)
        assert [(bytes(name), bytes(value)) for name, value in read] == fields
        assert theirs.header_table_size <= TABLE


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_error_and_the_library_agrees(data: bytes) -> None:
    theirs = hpack.Decoder(max_header_list_size=_PLENTY)
    theirs.max_allowed_table_size = TABLE
    try:
        fields = Decoder().decode(data, _PLENTY)
    except HpackError:
        fields = None
    try:
        expected = [(bytes(n), bytes(v)) for n, v in theirs.decode(data, raw=True)]
    except hpack.HPACKError:
        expected = None
    # Ours is stricter on one thing: a size of the table within a block (RFC 7541, 4.2).
    assert fields == expected or fields is None


def test_a_bomb_is_not_kept_and_leaves_the_table_in_step() -> None:
    decoder, theirs = Decoder(), hpack.Encoder()
    large = [(b"x", b"y" * 3000)]
    assert decoder.decode(theirs.encode(large), 1000) is None
    # The table knows the field all the same.
    assert decoder.decode(theirs.encode(large) * 100, 1000) is None
    assert decoder.decode(theirs.encode(large), _PLENTY) == large


def test_secrets_enter_no_table() -> None:
    encoder = Encoder()
    cookie = [(b"set-cookie", b"secret"), (b"x-anything", b"secret")]
    first = encoder.encode(cookie)
    assert encoder.encode(cookie) == first
    # Nobody who passes it on may index it either (RFC 7541, 6.2.3).
    assert first[0] & 0xF0 == 0x10


@pytest.mark.parametrize("name", sorted(INDEXED))
def test_what_repeats_is_a_byte_the_second_time(name: bytes) -> None:
    encoder = Encoder()
    encoder.encode([(name, b"x" * 50)])
    assert len(encoder.encode([(name, b"x" * 50)])) == 1
