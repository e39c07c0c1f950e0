"""Bodies: what is checked, which keys are found, what is refused."""

from __future__ import annotations

import csv
import io
import json
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ApiError
from proxy.request.csv_body import csv_to_json
from proxy.request.media_types import CSV, FORM, JSON, OCTETS, TEXT, XML, MediaType
from proxy.request.model import (
    Action,
    ActionKind,
    FormPayload,
    JsonPayload,
    Payload,
    QueryParams,
    RawPayload,
)
from proxy.request.payload import parse_payload
from proxy.schema_cache.model import QualifiedName

NOTHING = QueryParams()
MISMATCH = "All object keys must match"
INVALID = "Empty or invalid json"


def read(
    body: bytes,
    media_type: MediaType = JSON,
    kind: ActionKind = "create",
    query: QueryParams = NOTHING,
) -> tuple[Payload | None, frozenset[str]]:
    return parse_payload(body, media_type, query, Action(kind, QualifiedName("s", "t")))


def refused(body: bytes, media_type: MediaType = JSON, kind: ActionKind = "create") -> str:
    with pytest.raises(ApiError) as raised:
        read(body, media_type, kind)
    assert (raised.value.code, raised.value.status) == ("PGRST102", 400)
    return raised.value.message


@pytest.mark.parametrize(
    "body, keys, is_array",
    [
        (b"{}", set(), False),
        (b' {"a":1,"b":[{"c":2}]}\n', {"a", "b"}, False),
        (b'[{"a":1,"b":2},{"b":3,"a":null}]', {"a", "b"}, True),
        (b"[{},{}]", set(), True),
        (b'{"a":1,"a":2}', {"a"}, False),
        (b'{"\\u0061":1}', {"a"}, False),
        ('{"größe":"ß"}'.encode(), {"größe"}, False),
        (b'{"a":' + b"9" * 5000 + b"}", {"a"}, False),
        (b'{"a":1e999,"b":-0.0}', {"a", "b"}, False),
        (b'{"a":"\\u0000"}', {"a"}, False),
    ],
)
def test_json_goes_through_untouched(body: bytes, keys: set[str], is_array: bool) -> None:
    payload, columns = read(body)
    assert payload == JsonPayload(body, frozenset(keys), is_array)
    assert columns == keys


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b"1", b'"x"', b"null", b"true", b"-1.5e3"])
def test_json_without_rows_is_no_row(body: bytes) -> None:
    assert read(body) == (JsonPayload(b"[]", frozenset(), is_array=True), frozenset())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1",
        b'{"a":1}x',
        b'{"a":1,}',
        b'[{"a":1},]',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'[{"a":-Infinity}]',
        b"NaN",
        b'{"a":01}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":+1}',
        b'{"a":"\x01"}',
        b'{"a":"\\x"}',
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refused(body) == INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
    ],
)
def test_what_is_nested_too_deeply_is_refused(body: bytes) -> None:
    assert refused(body) == "The request body is nested too deeply"


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a":1},{"b":1}]',
        b'[{"a":1},{"a":1,"b":1}]',
        b'[{"a":1,"b":2},{"a":1}]',
        b'[{"a":1},2]',
        b"[1]",
        b"[null]",
        b"[[]]",
        b"[{},[]]",
    ],
)
def test_rows_must_have_the_same_keys(body: bytes) -> None:
    assert refused(body) == MISMATCH


@pytest.mark.parametrize("media_type", [JSON, CSV, FORM])
def test_a_body_must_be_utf8(media_type: MediaType) -> None:
    body = (
        b'{"a":"\xff"}' if media_type is JSON else b"a\n\xff" if media_type is CSV else b"a=%ff"
    )
    assert refused(body, media_type) == "The request body is not valid UTF-8"


@pytest.mark.parametrize("media_type", [TEXT, XML])
def test_a_text_must_be_utf8(media_type: MediaType) -> None:
    assert refused(b"\xff", media_type, "call") == "The request body is not valid UTF-8"


@pytest.mark.parametrize("kind", ["create", "update", "call"])
@pytest.mark.parametrize("body, is_array", [(b"not json", False), (b' [{"a"', True)])
def test_columns_leave_json_unread(kind: ActionKind, body: bytes, is_array: bool) -> None:
    query = QueryParams(columns=frozenset({"x"}))
    payload = JsonPayload(body, frozenset({"x"}), is_array)
    assert read(body, JSON, kind, query) == (payload, frozenset({"x"}))


def test_a_put_reads_its_body_whatever_the_columns() -> None:
    query = QueryParams(columns=frozenset({"x"}))
    assert read(b'{"a":1}', JSON, "upsert", query)[1] == {"a"}


def test_a_call_needs_no_body() -> None:
    assert read(b"", JSON, "call") == (JsonPayload(b"{}", frozenset(), False), frozenset())


@pytest.mark.parametrize(
    "kind",
    ["read", "delete", "call_read", "inspect", "relation_info", "routine_info", "schema_info"],
)
def test_other_actions_leave_the_body_alone(kind: ActionKind) -> None:
    assert read(b"\xff", MediaType("other", "x"), kind) == (None, frozenset())


MANY = 10_000


@pytest.mark.parametrize(
    "media_type, body",
    [
        (JSON, "{" + ",".join(f'"{n}":1' for n in range(MANY + 1)) + "}"),
        (CSV, ",".join(map(str, range(MANY + 1))) + "\n" + "1," * MANY + "1"),
        (FORM, "&".join(f"{n}=1" for n in range(MANY + 1))),
        (FORM, "a=1&" * (MANY + 1)),
        (FORM, ";" * (MANY + 2)),
    ],
)
@pytest.mark.parametrize("kind", ["create", "call"])
def test_what_names_more_than_any_statement_takes_is_refused(
    media_type: MediaType, body: str, kind: ActionKind
) -> None:
    message = "The request body names more than 10000 columns or arguments"
    assert refused(body.encode(), media_type, kind) == message


def test_as_many_keys_as_are_allowed() -> None:
    assert len(read(json.dumps(dict.fromkeys(map(str, range(MANY)))).encode())[1]) == MANY
    assert len(read("&".join(f"{n}=1" for n in range(MANY)).encode(), FORM)[1]) == MANY


def test_forms() -> None:
    body = b"a=1&b=x+y&a=2&c"
    payload, columns = read(body, FORM)
    assert isinstance(payload, JsonPayload)
    assert json.loads(payload.raw) == {"a": "2", "b": "x y", "c": ""}
    assert columns == payload.keys == {"a", "b", "c"}
    pairs = (("a", "1"), ("b", "x y"), ("a", "2"), ("c", ""))
    assert read(body, FORM, "call") == (FormPayload(pairs), frozenset("abc"))


@pytest.mark.parametrize("media_type", [TEXT, XML, OCTETS])
def test_a_function_takes_one_value(media_type: MediaType) -> None:
    body = b"\x00\xff" if media_type is OCTETS else b"<a/>"
    assert read(body, media_type, "call") == (RawPayload(body), frozenset())
    assert refused(body, media_type) == f"Content-Type not acceptable: {media_type.text}"


def test_other_types_are_refused() -> None:
    message = refused(b"", MediaType("other", "image/png; a=b"), "call")
    assert message == "Content-Type not acceptable: image/png; a=b"


# --- CSV ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, rows",
    [
        ("a,b\n1,2", [{"a": "1", "b": "2"}]),
        ("a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        ("a,b\r1,2", [{"a": "1", "b": "2"}]),
        ("a,b\n\n1,2\n\n", [{"a": "1", "b": "2"}]),
        ("a,b\nNULL,null", [{"a": None, "b": "null"}]),
        ("a,b\n,", [{"a": "", "b": ""}]),
        ('a\n"NULL"', [{"a": None}]),
        ('"a,1"\n"x ""y""\n,z"', [{"a,1": 'x "y"\n,z'}]),
        ("a\n 1 ", [{"a": " 1 "}]),
        ("a,b\n1,2,3\n4,5", [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]),
        ("a,b\n1\n2", [{"a": "1"}, {"a": "2"}]),
        ("a,a\n1,2", [{"a": "2"}]),
        ("a,b\n", []),
        ("\n", []),
    ],
)
def test_csv_becomes_objects(text: str, rows: list[dict[str, str | None]]) -> None:
    raw, keys = csv_to_json(text.encode())
    assert json.loads(raw) == rows
    assert keys == (set(rows[0]) if rows else set())


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3", "All lines must have same number of fields"),
        ('a,b\n1,2\n"3"', "All lines must have same number of fields"),
        ("", 'parse error (not enough input) at ""'),
        ("a,b", 'parse error (not enough input) at ""'),
        ('a\nx"y', 'parse error (endOfInput) at "x\\"y"'),
        ('a\n"x"y', 'parse error (endOfInput) at "\\"x\\"y"'),
        ('a\n"x', 'parse error (endOfInput) at "\\"x"'),
        ("a\n1\r2", 'parse error (endOfInput) at "\\r2"'),
        ('a\n"' + "x" * 200, 'parse error (endOfInput) at "' + "x" * 99 + " (truncated)"),
    ],
)
def test_bad_csv_is_refused(text: str, message: str) -> None:
    assert refused(text.encode(), CSV) == message


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(cells, cells), max_size=5),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_written_by_python_is_read(
    rows: list[tuple[str, str]], quoting: Literal[0, 1]
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, quoting=quoting)
    writer.writerow(["x", "y"])
    writer.writerows(rows)
    raw, _ = csv_to_json(written.getvalue().encode())
    wanted = [[None if cell == "NULL" else cell for cell in row] for row in rows]
    assert [[row["x"], row["y"]] for row in json.loads(raw)] == wanted


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=4),
    st.data(),
)
def test_the_keys_of_rows_are_found(names: list[str], data: st.DataObject) -> None:
    row = st.fixed_dictionaries(dict.fromkeys(names, json_values))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    body = json.dumps(rows, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "replace")
    payload, columns = read(body)
    assert payload == JsonPayload(body, frozenset(names), is_array=True)
    assert columns == set(names)


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    for header in (b"id,name", b'"id",name'):
        payload, keys = read(b"\xef\xbb\xbf" + header + b"\n1,A\n", CSV)
        assert payload == JsonPayload(b'[{"id":"1","name":"A"}]', keys, is_array=True)
        assert keys == {"id", "name"}


@pytest.mark.parametrize("query", [NOTHING, QueryParams(columns=frozenset("a"))])
@pytest.mark.parametrize("kind", ["create", "call"])
def test_a_byte_order_mark_before_json_is_told(kind: ActionKind, query: QueryParams) -> None:
    with pytest.raises(ApiError) as raised:
        read(b'\xef\xbb\xbf{"a":1}', kind=kind, query=query)
    assert (raised.value.code, raised.value.message) == ("PGRST102", "Empty or invalid json")
    assert raised.value.hint == "JSON has no byte order mark before it; send it without"
