"""The source of a function: whatever it has the name of, however that is written."""

from __future__ import annotations

import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.schema_cache.source_names import can_write, read_names

_ALL: Final = {"plain": [1], "Mixed": [2], "with space": [3], 'a"b': [4], "größe": [5]}
_LONG: Final = "a" * 70


def _found(source: str) -> set[int] | None:
    code = read_names(source, _ALL, {"f": [7, 8], "a" * 63: [9]})
    return None if code is None else {*code.relations, *code.functions}


@pytest.mark.parametrize(
    "source, expected",
    [
        ("select 1", set()),
        ("select * from plain", {1}),
        ("select * from PLAIN", {1}),
        ('select * from api . "plain"', {1}),
        ('select * from "Mixed"', {2}),
        ("select * from mixed", set()),
        ('select * from"with space"', {3}),
        ('select * from "a""b"', {4}),
        ("select * from größe", {5}),
        ('select "größe"', {5}),
        ("select f(1)", {7, 8}),
        ("select (t).F from t", {7, 8}),
        (f"select {_LONG}()", {9}),
        ("select x from t -- plain", {1}),
        ("select $$plain$$", {1}),
        ("select 'plain'", {1}),
        ("select '\"' from \"with space\" where x = '\"'", {3}),
        ("insert into plain values (1) on conflict do update set x = 1", {1}),
        ("raise exception 'do not execute or create %', f(1)", {7, 8}),
        ("select 1 -- execute it\n", set()),
        ("select 1 /* to create; do it */", set()),
        ("select executed, recreate, do_it from plain", {1}),
        ("select 'it''s' || 'created'", set()),
    ],
)
def test_names(source: str, expected: set[int]) -> None:
    assert _found(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "execute 'select 1'",
        "EXECUTE format('x')",
        "for r in execute q loop",
        "open c for/**/execute q",
        "do $$ begin end $$",
        "do language plpgsql 'begin end'",
        "create temp table x (y int)",
        "alter table plain disable trigger all",
        "drop table plain",
        "truncate plain",
        "copy plain from program 'x'",
        'select U&"pl\\0061in"',
        "select query_to_xml('x', true, true, '')",
        'perform "ts_stat"(q)',
        "-- nothing\rexecute q",
        "/* /* */ */ execute q /* */",
        "x := 'a\\'; execute q; y := '",
        "select $a$ ' $a$; execute q; select $a$ ' $a$",
        "select 'it''s'; execute q; select 'it''s'",
    ],
)
def test_what_runs_text_is_not_followed(source: str) -> None:
    assert _found(source) is None


_PIECES: Final = st.sampled_from(
    [
        "'it''s'",
        "-- it's\n",
        "/* ' */",
        '"',
        "''",
        "x",
        "(",
        "$1",
        "$$",
        "-",
        "/",
        "*",
        "\\",
        " ",
    ]
)


@given(
    st.lists(_PIECES), st.sampled_from(["plain", '"with space"', '"a""b"']), st.lists(_PIECES)
)
def test_no_name_goes_unseen(before: list[str], name: str, after: list[str]) -> None:
    """Whatever stands around it, and whether or not that can be read."""
    source = " ".join((*before, "", name, "", *after))
    found = _found(source)
    assert found is not None
    assert found & {1, 3, 4}


@given(st.lists(st.sampled_from(["'it''s'", "-- it's\n", "/* ' */", '"a b"', "x", "$1"])))
def test_no_command_goes_unseen(before: list[str]) -> None:
    """Behind anything that is complete."""
    assert _found(" ".join((*before, "execute q"))) is None
    assert can_write(" ".join((*before, "delete from t")))
    assert not can_write(" ".join((*before, "select 'delete' -- insert")))


@pytest.mark.parametrize(
    "unit", ["'", '"', "/*", "*", "-", "--", "$", "a", "do ", "do\t", "\\"]
)
def test_time_is_linear(unit: str) -> None:
    def seconds(times: int) -> float:
        began = time.process_time()
        _found(unit * times)
        _found("/*" + unit * times)
        _found("do " + unit * times)
        return time.process_time() - began

    assert seconds(20_000) < 1 + 30 * seconds(2_000)
