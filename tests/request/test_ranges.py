"""How Range header, limit and offset combine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.request.ranges import (
    ALL_ROWS,
    NO_ROWS,
    Range,
    combine_ranges,
    parse_range_header,
    range_of,
    read_integer,
)

NEGATIVE = "Limit should be greater than or equal to zero."
REVERSED = (
    "The lower boundary must be lower than or equal to the upper boundary in the Range header."
)


@pytest.mark.parametrize(
    "value, expected",
    [
        (b"0-9", Range(0, 10)),
        (b" 5- ", Range(5, None)),
        (b"5-5", Range(5, 1)),
        (b"5-3", Range(5, -1)),
        (b"bytes=0-9", ALL_ROWS),
        (b"", ALL_ROWS),
        (b"-5", ALL_ROWS),
        (b"1" * 5000 + b"-", ALL_ROWS),
    ],
)
def test_range_headers(value: bytes, expected: Range) -> None:
    assert parse_range_header(value) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("12", 12),
        (" 12 ", 12),
        ("-3", -3),
        ("- 3", -3),
        ("(7)", 7),
        ("((-7))", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b11", 3),
        ("007", 7),
        ("1e3", None),
        ("1.5", None),
        ("+1", None),
        ("", None),
        ("()", None),
        ("(1", None),
        ("abc", None),
        ("9" * 5000, 2**63 - 1),
        ("-" + "9" * 5000, 1 - 2**63),
    ],
)
def test_integers(text: str, expected: int | None) -> None:
    assert read_integer(text) == expected


@pytest.mark.parametrize(
    "method, limits, header, expected",
    [
        ("GET", ALL_ROWS, None, ALL_ROWS),
        ("GET", ALL_ROWS, b"0-9", Range(0, 10)),
        ("HEAD", ALL_ROWS, b"0-9", ALL_ROWS),
        ("POST", ALL_ROWS, b"9-0", ALL_ROWS),
        ("GET", Range(0, 5), b"2-10", Range(2, 3)),
        ("GET", Range(3, None), b"2-10", Range(3, 8)),
        ("GET", Range(0, 0), None, NO_ROWS),
        ("GET", Range(0, 0), b"9-0", NO_ROWS),
        ("GET", Range(-5, None), None, ALL_ROWS),
        ("GET", Range(-5, 10), None, Range(0, 5)),
        ("PUT", ALL_ROWS, b"0-9", ALL_ROWS),
    ],
)
def test_ranges_combine(
    method: str, limits: Range, header: bytes | None, expected: Range
) -> None:
    assert combine_ranges(method, limits, header) == expected


@pytest.mark.parametrize(
    "method, limits, header, details",
    [
        ("GET", ALL_ROWS, b"9-0", REVERSED),
        ("GET", Range(0, -1), None, NEGATIVE),
        ("DELETE", Range(0, -1), None, NEGATIVE),
        ("GET", Range(5, 0), None, NEGATIVE),
        ("GET", Range(10, 5), b"0-4", NEGATIVE),
        ("GET", Range(0, -1), b"9-0", REVERSED),
        ("PUT", Range(0, -1), None, NEGATIVE),
    ],
)
def test_ranges_without_rows_are_refused(
    method: str, limits: Range, header: bytes | None, details: str
) -> None:
    with pytest.raises(ApiError) as raised:
        combine_ranges(method, limits, header)
    assert (raised.value.code, raised.value.status) == ("PGRST103", 416)
    assert raised.value.details == details


@pytest.mark.parametrize("limits", [NO_ROWS, Range(0, 5), Range(1, None)])
def test_put_takes_no_limits(limits: Range) -> None:
    with pytest.raises(ApiError) as raised:
        combine_ranges("PUT", limits, None)
    assert (raised.value.code, raised.value.status) == ("PGRST114", 400)


def test_a_limit_that_is_none_leaves_no_rows_beside_an_offset() -> None:
    assert range_of("x", "3") == Range(3, 0)
    assert range_of("x", None) == ALL_ROWS


ranges = st.builds(Range, st.integers(0, 50), st.none() | st.integers(1, 50))


def rows(range_: Range) -> set[int]:
    return {row for row in range(120) if row >= range_.offset} & set(
        range(120 if range_.last is None else range_.last + 1)
    )


@given(ranges, ranges)
def test_an_intersection_holds_the_rows_of_both(one: Range, other: Range) -> None:
    both = one.intersect(other)
    assert rows(both) == rows(one) & rows(other)
    assert both.is_empty == (not rows(both))


@given(ranges, st.none() | st.integers(1, 50))
def test_a_cap_bounds_the_rows(range_: Range, cap: int | None) -> None:
    capped = range_.capped(cap)
    assert rows(capped) == set(sorted(rows(range_))[:cap])
