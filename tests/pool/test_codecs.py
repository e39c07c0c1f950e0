"""The forms of values, by themselves; the table of types is in test_session."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pool import codecs
from pool.errors import DatabaseError
from tests.pool.conftest import Admin


@given(st.binary())
def test_hex_form_of_bytea(value: bytes) -> None:
    assert codecs.bytea_from_text("\\x" + value.hex()) == value
    assert codecs.bytea_from_text("\\x" + value.hex(" ").upper()) == value


@given(st.binary())
def test_escape_form_of_bytea(value: bytes) -> None:
    escaped = "".join(f"\\{byte:03o}" if byte > 126 or byte < 32 or byte == 92 else chr(byte)
                      for byte in value)  # fmt: skip
    assert codecs.bytea_from_text(escaped) == value


_LITERALS = [
    "", "a", "ü", "\\\\", "\\000", "\\377", "\\400", "\\9", "\\", "a\\", "\\\\\\", "\\1", "\\x",
    "\\x0", "\\x00", "\\x0 0", "\\x 00", "\\x00\n01\t", "\\xg0", "\\x0g", "\\x00é", "\\X00",
    "x00", "\\x\\000", "\\x00 1", "\\x 0 0 1",
]  # fmt: skip


@pytest.mark.parametrize("literal", _LITERALS)
async def test_bytea_literals_are_read_as_postgresql_reads_them(
    admin: Admin, literal: str
) -> None:
    expected: object
    found: object
    try:
        expected = await admin.fetchval("select $1::text::bytea", literal)
    except Exception as error:  # noqa: BLE001 - compared below
        expected = getattr(error, "sqlstate", error)
    try:
        found = codecs.bytea_from_text(literal)
    except DatabaseError as refused:
        found = refused.sqlstate
    assert found == expected


@settings(deadline=None)
@given(st.lists(st.text(), max_size=4))
def test_text_is_sent_or_refused(values: list[str]) -> None:
    for oid in (codecs.TEXT, codecs.VARCHAR, codecs.JSONB, codecs.BOOL, 99999):
        try:
            sent = codecs.encode(values, [oid] * len(values))
        except DatabaseError as refused:
            assert refused.sqlstate == "22021"
            assert any(0xD800 <= ord(c) < 0xE000 for value in values for c in value)
        else:
            raw = [s.encode() if isinstance(s, str) else s for s in sent]
            prefix = b"\x01" if oid == codecs.JSONB else b""
            assert raw == [prefix + value.encode() for value in values]


def test_bodies_are_not_copied() -> None:
    body = b'{"a": 1}'
    for oid in (codecs.JSON, codecs.TEXT, codecs.BYTEA):
        assert codecs.encode([body], [oid])[0] is body
        assert codecs.decoder(oid)(body) is body


def test_null_is_null() -> None:
    assert codecs.encode([None, None], [codecs.JSONB, 23]) == [None, None]
