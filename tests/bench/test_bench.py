"""The benchmark's own arithmetic: a wrong yardstick would make every figure wrong."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.model import Statement, Transaction
from tests.bench.http_load import Load, load_of
from tests.bench.report import as_svg, line_of, warning_of
from tests.bench.sql_load import PgbenchError, script_of

READ = Transaction(Statement('select * from "t" where id = $1', ("7",)))


def test_a_transaction_becomes_the_statements_it_stands_for() -> None:
    transaction = replace(
        READ,
        access="read write",
        isolation="serializable",
        settings=(("role", "anon"), ("request.method", "GET")),
        before=Statement("select check_it()"),
    )
    script, values = script_of(transaction)
    assert script.splitlines() == [
        "BEGIN ISOLATION LEVEL serializable, read write;",
        "select set_config(:v1, :v2, true), set_config(:v3, :v4, true);",
        "select check_it();",
        'select * from "t" where id = :v5;',
        "COMMIT;",
    ]
    assert values == {
        "v1": "role",
        "v2": "anon",
        "v3": "request.method",
        "v4": "GET",
        "v5": "7",
    }


@pytest.mark.parametrize(
    "sql, args, line",
    [
        ("select $1::text", ("a",), "select :v1::text;"),
        ("select $2, $1, $2;", ("a", "b"), "select :v2, :v1, :v2;"),
        ("select '$1', $1", ("a",), "select '$1', :v1;"),
        ("select 'it''s $1' as \"a$1\", $1", ("a",), "select 'it''s $1' as \"a$1\", :v1;"),
        ("select $1", (b'{"a":1}',), "select :v1;"),
        ("select '12:30'", (), "select '12:30';"),
    ],
)
def test_parameters_become_variables_outside_quotes_only(
    sql: str, args: tuple[str | bytes, ...], line: str
) -> None:
    assert script_of(Transaction(Statement(sql, args)))[0].splitlines()[1] == line


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(Statement("select 'a :b'"), id="pgbench replaces :b even in quotes"),
        pytest.param(Statement("select $1", (None,)), id="pgbench variables are never null"),
    ],
)
def test_what_pgbench_would_run_differently_is_refused(statement: Statement) -> None:
    with pytest.raises(PgbenchError):
        script_of(Transaction(statement))


def test_a_transaction_that_rolls_back_is_measured_rolling_back() -> None:
    script, _ = script_of(replace(READ, rollback=True))
    assert script.splitlines()[-2:] == ["SET CONSTRAINTS ALL IMMEDIATE;", "ROLLBACK;"]


@given(st.lists(st.floats(min_value=1e-6, max_value=10), min_size=1, max_size=300))
def test_percentiles_are_measured_durations_in_order(durations: list[float]) -> None:
    load = load_of(durations, seconds=2, failed=3)
    milliseconds = {duration * 1000 for duration in durations}
    assert {load.p50, load.p99} <= milliseconds
    assert load.p50 <= load.p99 <= max(milliseconds)
    assert load.rate == len(durations) / 2
    assert load.failed == 3


def test_a_line_has_the_medians_and_all_failures() -> None:
    loads = [Load(100, 1, 9, 0), Load(300, 3, 7, 2), Load(200, 2, 8, 1)]
    others = [Load(50, 1, 1, 0), Load(100, 1, 1, 0), Load(400, 1, 1, 0)]
    line = line_of("read", "h2", "hypercorn", loads, [200, 400, 1000], others)
    assert (line.rate, line.p50, line.p99, line.pgbench) == (200, 2, 8, 400)
    assert line.ratio == 0.5
    assert line.beside == 2
    assert line.failed == 3


def test_a_machine_that_did_other_things_is_told_of() -> None:
    loads = [Load(100, 1, 9, 0)] * 2
    quiet = line_of("read", "h2", "hypercorn", loads, [200, 210])
    noisy = line_of("write", "h2", "hypercorn", loads, [200, 300])
    assert warning_of([quiet]) is None
    told = warning_of([quiet, noisy])
    assert told is not None
    assert "50%" in told
    assert "write" in told
    assert "read" not in told


def test_the_chart_has_a_bar_for_each_line() -> None:
    lines = [line_of(f"<{n}>", "h2", "granian", [Load(n, 1, 1, 0)], [4]) for n in (1, 2)]
    root = ET.fromstring(as_svg(lines))  # noqa: S314 (our own)
    bars = root.findall("{http://www.w3.org/2000/svg}rect")[1:]
    assert [float(bar.attrib["width"]) for bar in bars] == [195.0, 390.0]
    assert "&lt;1&gt;, h2, granian" in as_svg(lines)
