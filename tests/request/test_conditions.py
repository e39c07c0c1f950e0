"""Entity tags and conditions: RFC 9110, sections 8.8.3 and 13."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.request.conditions import Precondition, judge_read, judge_write, read_conditions
from proxy.request.tags import CODINGS, coded, content_of, tag_of

JSON = (b"content-type", b"application/json")
TAG = b'"abc.de"'


def tag(body: bytes = b"[]", *headers: tuple[bytes, bytes]) -> bytes:
    return tag_of(headers or (JSON,), body)


def test_equal_tags_mean_equal_bytes() -> None:
    """RFC 9110, section 8.8.1: a strong validator changes whenever the content does."""
    variants = [
        tag(b"[]"),
        tag(b"[ ]"),
        tag(b"[]", (b"content-type", b"text/csv")),
        tag(b"[]", JSON, (b"content-range", b"0-0/*")),
        tag(b"[]", JSON, (b"content-range", b"0-0/2")),
    ]
    assert len({*variants}) == len(variants)
    assert len({content_of(variant) for variant in variants}) == 3


def test_what_sql_chose_is_the_tag() -> None:
    assert tag(b"[]", JSON, (b"ETag", b'W/"mine"')) == b'W/"mine"'


@given(st.binary(max_size=200))
def test_tags_are_what_the_grammar_allows(body: bytes) -> None:
    made = tag(body)
    assert made[:1] == made[-1:] == b'"'
    assert all(c == 0x21 or 0x23 <= c <= 0x7E for c in made[1:-1])
    for coding in CODINGS:
        assert coded(made, coding) != made
        assert content_of(coded(made, coding)) == content_of(made)


@pytest.mark.parametrize(
    "section, headers, expected",
    [
        ("13.1.2: another", {b"if-none-match": b'"x"'}, Precondition.HOLDS),
        ("13.1.2: the same", {b"if-none-match": TAG}, Precondition.NOT_MODIFIED),
        ("13.1.2: compares weakly", {b"if-none-match": b"W/" + TAG}, Precondition.NOT_MODIFIED),
        (
            "13.1.2: one of several",
            {b"if-none-match": b'"x" , ' + TAG + b',"y"'},
            Precondition.NOT_MODIFIED,
        ),
        ("13.1.2: a star", {b"if-none-match": b" * "}, Precondition.NOT_MODIFIED),
        ("8.8.3: a comma within", {b"if-none-match": b'"x,' + TAG[1:]}, Precondition.HOLDS),
        ("13.1.2: of another coding", {b"if-none-match": b'"abc.de-br"'}, Precondition.HOLDS),
        ("13.1.1: the same", {b"if-match": TAG}, Precondition.HOLDS),
        ("13.1.1: compares strongly", {b"if-match": b"W/" + TAG}, Precondition.FAILED),
        ("13.1.1: another", {b"if-match": b'"x"'}, Precondition.FAILED),
        ("13.1.1: a star", {b"if-match": b"*"}, Precondition.HOLDS),
        (
            "13.2.2: If-Match comes first",
            {b"if-match": b'"x"', b"if-none-match": TAG},
            Precondition.FAILED,
        ),
        (
            "13.2.2: then If-None-Match",
            {b"if-match": TAG, b"if-none-match": TAG},
            Precondition.NOT_MODIFIED,
        ),
    ],
)
def test_conditions_on_reads(
    section: str, headers: dict[bytes, bytes], expected: Precondition
) -> None:
    conditions = read_conditions(headers)
    assert conditions is not None
    assert judge_read(conditions, TAG) is expected, section


def test_requests_without_conditions_have_none() -> None:
    """Dates are passed over where nothing has one (13.1.3, 13.1.4)."""
    assert read_conditions({b"if-modified-since": b"x"}) is None


@pytest.mark.parametrize(
    "section, headers, rows, holds",
    [
        ("13.1.1: the same", {b"if-match": TAG}, 1, True),
        ("of the same content", {b"if-match": b'"abc.xx-gzip"'}, 1, True),
        ("13.1.1: strongly", {b"if-match": b'W/"abc.de"'}, 1, False),
        ("13.1.1: other content", {b"if-match": b'"abx.de"'}, 1, False),
        ("13.1.1: a star and a row", {b"if-match": b"*"}, 1, True),
        ("13.1.1: a star and none", {b"if-match": b"*"}, 0, False),
        ("13.1.2: a star and a row", {b"if-none-match": b"*"}, 1, False),
        ("13.1.2: a star and none", {b"if-none-match": b"*"}, 0, True),
        ("13.1.2: the same", {b"if-none-match": TAG}, 1, False),
        ("13.1.2: another", {b"if-none-match": b'"x"'}, 1, True),
        ("both must hold", {b"if-match": TAG, b"if-none-match": TAG}, 1, False),
        ("no tag at all names none", {b"if-match": b"abc"}, 1, False),
    ],
)
def test_conditions_on_writes(
    section: str, headers: dict[bytes, bytes], rows: int, holds: bool
) -> None:
    conditions = read_conditions(headers)
    assert conditions is not None
    verdict = judge_write(conditions, TAG, rows=rows)
    assert (verdict is Precondition.HOLDS) is holds, section


@given(st.binary(max_size=60))
def test_no_condition_is_too_strange(value: bytes) -> None:
    conditions = read_conditions({b"if-match": value, b"if-none-match": value})
    assert conditions is not None
    assert judge_read(conditions, TAG) in Precondition
    assert judge_write(conditions, TAG, rows=1) in Precondition
