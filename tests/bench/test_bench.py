"""The benchmark's own arithmetic: a wrong yardstick would make every figure wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.model import Statement, Transaction
from tests.bench.http_load import WAYS, Load, answers_in, load_of, seconds_in
from tests.bench.report import Report, as_json, as_table, line_of, report_in, warning_of
from tests.bench.rounds import order_of
from tests.bench.scenarios import SCENARIOS
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


def test_only_answers_whose_status_is_known_count() -> None:
    log = "100\t200\t1500\n110\t0\t900\n120\t-1\t700\n130\t404\t600\n"
    assert answers_in(log) == [("200", 0.0015), ("-1", 0.0007), ("404", 0.0006)]


@pytest.mark.parametrize(
    "told, seconds",
    [("2.00s", 2), ("96.15ms", 0.09615), ("950us", 0.00095)],
)
def test_h2load_says_how_long_it_took(told: str, seconds: float) -> None:
    said = f"starting benchmark...\nfinished in {told}, 10.00 req/s, 1.2KB/s\n"
    assert seconds_in(said) == pytest.approx(seconds)


@pytest.mark.parametrize("count", range(1, 9))
def test_every_round_has_each_once_in_another_order(count: int) -> None:
    names = [str(number) for number in range(count)]
    orders = [order_of(names, number) for number in range(3)]
    assert all(sorted(order) == names for order in orders)
    if count > 2:
        assert len({order[0] for order in orders}) == 3
        first_round, second_round = (set(pairwise(o)) for o in orders[:2])
        assert not first_round & second_round, "somebody came after the same one again"


def test_every_scenario_is_sent_in_ways_that_there_are() -> None:
    known = {way.name for way in WAYS}
    assert all(set(scenario.ways) <= known and scenario.ways for scenario in SCENARIOS)


LOADS = [Load(100, 1, 9, 0), Load(300, 3, 7, 2), Load(200, 2, 8, 1)]
OTHERS = [Load(50, 1, 1, 0), Load(100, 1, 1, 0), Load(400, 1, 1, 0)]


def test_a_line_has_the_medians_and_all_failures() -> None:
    line = line_of(
        "read", "h2", "edgerest", LOADS, [200, 400, 1000], postgrest=OTHERS, by_hand=LOADS
    )
    assert (line.rate, line.p50, line.p99, line.pgbench) == (200, 2, 8, 400)
    assert (line.to_pgbench, line.to_postgrest, line.to_by_hand) == (0.5, 2, 1)
    assert line.failed == 3


def test_there_is_no_ratio_to_oneself_or_to_nobody() -> None:
    silent = [Load(0, 0, 0, 5)] * 3
    theirs = line_of("read", "h2", "postgrest", OTHERS, [1, 1, 1], postgrest=OTHERS)
    ours = line_of("read", "h2", "edgerest", LOADS, [1, 1, 1], postgrest=silent)
    assert [theirs.to_postgrest, theirs.to_by_hand, ours.to_postgrest] == [None] * 3
    head, *rows = as_table([theirs, ours]).splitlines()
    assert "to PostgREST" in head
    assert not any("x" in row for row in rows)


def test_a_machine_that_did_other_things_is_told_of() -> None:
    quiet = line_of("read", "h2", "edgerest", LOADS[:2], [200, 210])
    noisy = line_of("write", "h2", "edgerest", LOADS[:2], [200, 300])
    assert warning_of([quiet]) is None
    told = warning_of([quiet, noisy])
    assert told is not None
    assert "50%" in told
    assert "write" in told
    assert "read" not in told


def test_a_report_is_read_as_it_was_written() -> None:
    line = line_of("read", "h2", "edgerest", LOADS, [200, 400, 1000], postgrest=OTHERS)
    report = Report({"cpus": 2, "driver": "h2load"}, (line,))
    assert report_in(as_json(report)) == report
