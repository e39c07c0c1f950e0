"""What the check of costs complains of."""

from __future__ import annotations

import json

import pytest

from tests.speed import cost


@pytest.mark.parametrize(
    "known, found, complaints",
    [
        ({"a": 100}, {"a": 100}, 0),
        ({"a": 100}, {"a": 110}, 0),
        ({"a": 100}, {"a": 111}, 1),
        ({"a": 100}, {"a": 50}, 0),
        ({}, {"a": 1}, 1),
    ],
)
def test_what_costs_a_tenth_more_is_complained_of(
    known: dict[str, int], found: dict[str, int], complaints: int
) -> None:
    assert len(cost.complaints(known, found)) == complaints


async def test_costs_are_the_same_each_time() -> None:
    scenario = cost.SCENARIOS[0]
    first, second = await cost.cost_of(scenario), await cost.cost_of(scenario)
    assert abs(first - second) < first / 100


async def test_a_request_that_is_recognised_costs_half_at_most() -> None:
    for scenario in cost.SCENARIOS:
        if scenario.name.endswith(", new shape"):
            name = scenario.name.removesuffix(", new shape")
            recognised = next(one for one in cost.SCENARIOS if one.name == name)
            assert await cost.cost_of(recognised) < await cost.cost_of(scenario) / 2


def test_all_scenarios_are_written_down() -> None:
    for version, table in json.loads(cost.TABLE.read_text()).items():
        assert table.keys() == {scenario.name for scenario in cost.SCENARIOS}, version
