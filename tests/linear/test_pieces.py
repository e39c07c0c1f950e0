"""Large bodies are read in pieces: wherever they are cut, what is read is the same."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.plan.call import _direct
from proxy.prepared.worker_threads import aside
from proxy.request import csv_body, json_body, query_string
from proxy.request.csv_body import csv_to_json
from proxy.request.json_body import names_of_object, names_of_rows
from proxy.request.pieces import Between, nothing
from proxy.request.query_string import decode_pairs
from proxy.request.ranges import read_integer
from proxy.schema_cache.model import Parameter
from tests.plan.sample import CACHE, name

TRICKY = st.sampled_from(["},{", 'a"},{"', "\\", "]", "[", "}", '":', ",", "", "x" * 9])
VALUES = st.recursive(
    TRICKY | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
)
ROWS = st.lists(st.fixed_dictionaries({"a": VALUES, "}": VALUES}), max_size=8)
SPACING = st.sampled_from([(",", ":"), (" , ", " : "), (",\n", ":\t")])


def told(read: object, *args: object) -> object:
    assert callable(read)
    try:
        return read(*args)
    except ApiError as error:
        return error.message


def rows_by_the_whole(body: bytes) -> object:
    try:
        rows = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return "Empty or invalid json"
    if not all(isinstance(row, dict) for row in rows):
        return "All object keys must match"
    names = {frozenset(row) for row in rows}
    return "All object keys must match" if len(names) > 1 else next(iter(names), None)


@given(ROWS, SPACING, st.sampled_from([1, 7, 30]), st.data())
def test_rows_of_json(
    rows: list[object], spacing: tuple[str, str], piece: int, data: st.DataObject
) -> None:
    text = json.dumps(rows, separators=spacing)
    if data.draw(st.booleans(), "spoilt"):
        at = data.draw(st.integers(1, len(text)))
        text = (
            text[:at]
            + data.draw(st.sampled_from([",", "]", "{}", '"', "1", ""]))
            + text[at + 1 :]
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "PIECE", piece)
        assert told(names_of_rows, text.encode(), nothing) == rows_by_the_whole(text.encode())


@given(st.dictionaries(TRICKY | st.text(max_size=3), VALUES, max_size=9), SPACING)
def test_members_of_json(members: dict[str, object], spacing: tuple[str, str]) -> None:
    body = json.dumps(members, separators=spacing).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "PIECE", 5)
        patch.setattr(json_body, "MOST_NAMES", 0)
        wanted = "names more than" if len(members) > 1 else frozenset(members)
        found = told(names_of_object, body)
        assert found == frozenset(members) or str(wanted) in str(found)


CSV_PARTS = ["a", ",", "\n", "\r\n", '"', '"a"', '""', "NULL", "\r", "é"]


@given(st.lists(st.sampled_from(CSV_PARTS), max_size=30), st.sampled_from([1, 3, 8]))
def test_lines_of_csv(parts: list[str], piece: int) -> None:
    body = ("a,b\n" + "".join(parts)).encode()
    whole = told(csv_to_json, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_body, "PIECE", piece)
        assert told(csv_to_json, body) == whole


def test_csv_that_would_grow_too_much_is_refused() -> None:
    with pytest.raises(ApiError) as raised:
        csv_to_json(b"x" * 1000 + b"\n" + b"1\n" * 100_000)
    assert (raised.value.code, raised.value.status) == ("EDGE413", 413)


def decoded(text: bytes) -> object:
    try:
        return decode_pairs(text)
    except UnicodeDecodeError as error:
        return error.object


@given(st.text("%4a+", max_size=40).map(str.encode))
def test_escapes(text: bytes) -> None:
    whole = decoded(b"a=" + text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_string, "PIECE", 3)
        assert decoded(b"a=" + text) == whole


def test_brackets_around_a_number_are_peeled_at_once() -> None:
    began = time.thread_time()
    assert read_integer("( " * 500_000 + "-0x1f" + " )" * 500_000) == -31
    assert read_integer("(" * 500_000 + "1" + ")" * 499_999) is None
    assert time.thread_time() - began < 1


def test_values_of_a_variadic_argument_are_gathered_at_once() -> None:
    parameter = Parameter("v", "text[]", "text[]", required=True, variadic=True)
    some, *_ = CACHE.functions[name("projects_of")]
    function = replace(some, parameters=(parameter,))
    began = time.thread_time()
    values = _direct(function, [("v", str(number)) for number in range(200_000)])
    assert len(values["v"]) == 200_000
    assert time.thread_time() - began < 2


async def test_work_aside_ends_soon_after_its_deadline() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(between: Between) -> None:
        try:
            while True:
                between()
        finally:
            loop.call_soon_threadsafe(ended.set)

    with pytest.raises(ApiError) as raised:
        await aside(work, loop.time() + 0.05)
    assert (raised.value.code, raised.value.status) == ("EDGE504", 504)
    await asyncio.wait_for(ended.wait(), 30)
