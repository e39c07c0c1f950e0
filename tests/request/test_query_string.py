"""Which parameter is what; ranges; decoding."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.errors import ApiError
from proxy.request.model import FieldPath, Filter, Operation, OrderTerm, SelectField
from proxy.request.query_string import canonical_query, decode_pairs, parse_query
from proxy.request.ranges import Range


def test_an_empty_query_selects_everything() -> None:
    read = parse_query(b"", is_call_read=False)
    assert read.select == (SelectField(FieldPath("*")),)


def test_parameters_are_told_apart() -> None:
    read = parse_query(
        b"select=a&columns=b,c&on_conflict=d,e&order=a&r.order=b.desc&or=(a.eq.1)&a=eq.1"
        b"&r.s.b=not.is.null&limit=3&r.limit=5&r.offset=2",
        is_call_read=False,
    )
    assert read.select == (SelectField(FieldPath("a")),)
    assert read.columns == frozenset({"b", "c"})
    assert read.on_conflict == ("d", "e")
    assert read.order == (
        ((), (OrderTerm(FieldPath("a")),)),
        (("r",), (OrderTerm(FieldPath("b"), direction="desc"),)),
    )
    assert [path for path, _ in read.logic] == [()]
    assert read.filters == (
        ((), Filter(FieldPath("a"), Operation("eq", "1"))),
        (("r", "s"), Filter(FieldPath("b"), Operation("is", "null", negated=True))),
    )
    assert read.ranges == {(): Range(0, 3), ("r",): Range(2, 5)}
    assert read.arguments == ()


def test_a_call_has_arguments_and_filters() -> None:
    read = parse_query(b"a=1&b=eq.2&a=x.y&c=", is_call_read=True)
    assert read.arguments == (("a", "1"), ("a", "x.y"), ("c", ""))
    assert read.filters == (((), Filter(FieldPath("b"), Operation("eq", "2"))),)


def test_filters_keep_their_order() -> None:
    read = parse_query(b"b=eq.1&a=eq.2&b=eq.3", is_call_read=False)
    assert [condition.operation.value for _, condition in read.filters] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "query, value",
    [
        (b"a=eq.x+y", "x y"),
        (b"a=eq.x%2By", "x+y"),
        (b"a=eq.%C3%A9", "é"),
        (b"%61=eq.1", "1"),
        (b"a=eq.100%", "100%"),
        (b"a=eq.%zz", "%zz"),
        (b"a=eq.x=y", "x=y"),
        (b"b;a=eq.1", "1"),
    ],
)
def test_values_are_decoded(query: bytes, value: str) -> None:
    read = parse_query(query, is_call_read=False)
    assert [(f.field.name, f.operation.value) for _, f in read.filters] == [("a", value)]


@pytest.mark.parametrize("query", [b"a=eq.%ff", b"%ff=eq.1", b"select=%ff", b"a=eq.\xff"])
def test_what_is_no_utf8_is_refused(query: bytes) -> None:
    with pytest.raises(ApiError, match="not valid UTF-8") as raised:
        parse_query(query, is_call_read=False)
    assert raised.value.code == "PGRST100"


@pytest.mark.parametrize(
    "query, canonical",
    [
        (b"a=1&c=3&b=2&d", "a=1&b=2&c=3&d="),
        (b"b=2&a=1&b=1", "a=1&b=2,1"),
        (b"select=a,b(c)&x=eq.%C3%A9+y", "select=a%2Cb%28c%29&x=eq.%C3%A9%20y"),
        (b"a=-_.~&&", "=&a=-_.~"),
        (b"", ""),
    ],
)
def test_the_canonical_query_is_sorted(query: bytes, canonical: str) -> None:
    assert canonical_query(decode_pairs(query)) == canonical


@pytest.mark.parametrize(
    "query, first",
    [
        (b"select=a&select=b", (SelectField(FieldPath("a")),)),
        (b"select&select=b", (SelectField(FieldPath("*")),)),
        (b"select=", ()),
    ],
)
def test_the_first_select_counts(query: bytes, first: tuple[SelectField, ...]) -> None:
    assert parse_query(query, is_call_read=False).select == first


@pytest.mark.parametrize(
    "query, message",
    [
        (b"select=x!&a=no&order=a.b", "order (a.b)"),
        (b"select=x!&a=no&or=a", "logic tree (a)"),
        (b"select=x!&a=no&columns=", "columns parameter ()"),
        (b"select=x!&a=no&on_conflict=", "select parameter (x!)"),
        (b"a=no&on_conflict=", "filter (no)"),
        (b"on_conflict=&.limit=1", "on_conflict parameter ()"),
        (b".limit=1", "tree path (.limit)"),
        (b".offset=1", "tree path (.limit)"),
        (b".or=(a.eq.1)", "logic path (.or)"),
    ],
)
def test_errors_come_in_order(query: bytes, message: str) -> None:
    with pytest.raises(ApiError) as raised:
        parse_query(query, is_call_read=False)
    assert raised.value.message.startswith(f'"failed to parse {message}"')


@pytest.mark.parametrize(
    "query, range_",
    [
        (b"limit=5", Range(0, 5)),
        (b"offset=5", Range(5, None)),
        (b"limit=5&offset=10", Range(10, 5)),
        (b"limit=x", Range(0, None)),
        (b"offset=x", Range(0, None)),
        (b"limit=x&offset=3", Range(3, 0)),
        (b"limit=-1", Range(0, -1)),
        (b"limit=1&limit=2", Range(0, 2)),
        (b"limit=+(0x10)", Range(0, 16)),
        (b"limit=" + b"9" * 5000, Range(0, 2**63 - 1)),
        (b"limit=5&data->x.limit=7", Range(0, 5)),
    ],
)
def test_limit_and_offset_make_a_range(query: bytes, range_: Range) -> None:
    assert parse_query(query, is_call_read=False).ranges == {(): range_}


def test_threads_share_what_was_read() -> None:
    """Requests with a large body are read in threads, the others meanwhile."""

    def read_many(worker: int) -> int:
        texts = (f"select=c{n}&order=o{worker}_{n}".encode() for n in range(4000))
        return sum(len(parse_query(text, is_call_read=False).select) for text in texts)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(read_many, range(4))) == [4000] * 4
    finally:
        sys.setswitchinterval(interval)
