"""No query string that fits into a URL keeps the event loop busy for long.

Work is counted in function calls, which are the same on every machine: some hundred
nanoseconds each, so that the limit stands for about 50 ms.
"""

from __future__ import annotations

import sys
from types import FrameType
from urllib.parse import quote

import pytest

from proxy.errors import ApiError
from proxy.http.data_plane import Limits
from proxy.request.grammar import readers
from proxy.request.grammar.combinators import MAX_STEPS, Budget
from proxy.request.query_string import parse_query

MOST_CALLS = 520_000
SIZE = Limits().max_url

# What is repeated until the URL is full, what stands before it and behind it.
SHAPES = [
    ("a-b,", "select=", "a"),
    ("a b,", "select=", "a"),
    ('"a",', "select=", "a"),
    ("a,", "select=", "a!"),
    (",", "select=", ""),
    ("a(", "select=", ""),
    ("a-b(c),", "select=", "a"),
    ("a(b(c(d(e)))),", "select=", "a!"),
    ('->"b"', "select=a", "!"),
    ("->b-c", "select=a", "!"),
    (quote("é "), "select=", "a"),
    ("a:b-c::text,", "select=", "a!"),
    (".", "select=", ""),
    ("...a b(c),", "select=", "a"),
    (quote("é"), "select=", "!"),
    ("-a", "select=a", "!"),
    ("!a", "select=a", "("),
    ("a b.asc,", "order=", "a"),
    ("a(b-c).asc,", "order=", "!"),
    ("a,", "order=", "!"),
    ("%09", "order=a", "!"),
    ('"a"b,', "a=in.(", '"a")'),
    ('"a",', "a=in.(", ""),
    ('"', "a=in.(", ""),
    ('"\\",', "a=in.(", ""),
    ("not.", "a=", ""),
    ("x", "a=", ""),
    ("a b.eq.1,", "or=(", "a.eq.1)"),
    ('a.eq."x",', "or=(", "a.eq.1"),
    ("a.eq.{,", "or=(", "a.eq.1)"),
    ('a.eq."x""y",', "or=(", "a.eq.1)"),
    ('a.eq.",', "or=(", "a.eq.1)"),
    ('a.in.("",', "or=(", ")"),
    ("and(", "or=(", ""),
    ("a-b.fts(e).x,", "or=(", "a.eq.1)"),
    ("a-b.zz.x,", "or=(", "a.eq.1)"),
    ("a b,", "columns=", "a"),
    ("a-b=eq.1&", "", ""),
    ("a=&", "", ""),
    ("a=fts(e).x&", "", ""),
    ("or=(a b.eq.1)&", "", ""),
    ("order=a b.asc&", "", ""),
    ("a.", "", "a b=eq.1"),
    ("->b c", "a", "=eq.1"),
    ("a.", "", "or=(a.eq.1)"),
    ("%41", "select=", ""),
]


def filled(unit: str, start: str, end: str) -> bytes:
    return (start + unit * ((SIZE - len(start) - len(end)) // len(unit)) + end).encode()


def calls_of(query: bytes, *, is_call_read: bool) -> int:
    """How many functions, Python's and C's, reading `query` calls."""
    count = 0

    def on_event(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        parse_query(query, is_call_read=is_call_read)
    except ApiError as error:
        assert (error.code, error.status) == ("PGRST100", 400)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("unit, start, end", SHAPES)
def test_the_work_is_bounded(unit: str, start: str, end: str) -> None:
    assert calls_of(filled(unit, start, end), is_call_read=False) <= MOST_CALLS


@pytest.mark.parametrize("unit", ["a=&", "a-b=eq.1&", "a=fts(e).x&", "a b=in.(1&", "not.=not."])
def test_the_work_of_a_call_is_bounded(unit: str) -> None:
    assert calls_of(filled(unit, "", ""), is_call_read=True) <= MOST_CALLS


def test_many_different_names_are_bounded_too() -> None:
    for name in ("a b{}", "a{}", '"{}"'):
        for end in ("=eq.1", ".limit=1", ".order=a b", ".or=(a b.eq.1)"):
            pairs = (quote(name.format(number)) + end for number in range(SIZE // 8))
            query = "&".join(pairs).encode()[:SIZE].rpartition(b"&")[0]
            assert calls_of(query, is_call_read=False) <= MOST_CALLS, (name, end)


def test_what_costs_too_much_is_refused_in_words() -> None:
    with pytest.raises(ApiError) as raised:
        parse_query(filled("a b,", "select=", "a"), is_call_read=False)
    error = raised.value
    assert (error.code, error.status) == ("PGRST100", 400)
    assert error.message == "query string is too complex"
    assert error.details == f"Reading it takes more than {MAX_STEPS} steps"


def test_more_embeds_than_can_be_planned_are_refused() -> None:
    with pytest.raises(ApiError, match="too complex"):
        parse_query(b"select=" + b"a:b(c)," * 501 + b"d", is_call_read=False)


def test_the_texts_of_a_query_string_share_their_budget() -> None:
    budget = Budget()
    readers.read_columns('"²a"', budget)
    once = MAX_STEPS - budget.left
    readers.read_columns('"²b"', budget)
    assert MAX_STEPS - budget.left == 2 * once > 0


@pytest.mark.parametrize(
    "unit, start, end",
    [
        ('"first name",', "select=", "id"),
        (quote("größe") + ",", "select=", "id"),
        ("customer-id:orders-2!inner(x-y,z->a-b),", "select=", "id"),
        ('id.eq."1,2",', "or=(", "id.eq.1)"),
        ('id.in.("a)",b),', "or=(", "id.eq.1)"),
        ('"a,b",', "id=in.(", "1)"),
        ("id=eq.1&", "", "id=eq.2"),
        ("metadata->a-b->>c=eq.1&", "", "id=eq.2"),
    ],
)
def test_long_but_plain_is_read(unit: str, start: str, end: str) -> None:
    short = (start + unit * 500 + end).encode()
    assert parse_query(short, is_call_read=False) is not None
