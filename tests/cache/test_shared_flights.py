"""Who may join a read: those whom its answer is the same for."""

from __future__ import annotations

import pytest

from proxy.cache.dependencies import Dependencies
from proxy.cache.flights import Flight
from proxy.cache.policy import Scope
from proxy.cache.versions import Versions
from proxy.schema_cache.node_trees import Trait


@pytest.mark.parametrize(
    "traits, scope, alone",
    [
        ((), "public", False),
        (("role",), "public", True),
        (("role",), "role", False),
        (("claims",), "role", True),
        (("claims",), "claims", False),
        (("claims", "token"), "claims", True),
        (("request",), "claims", True),
    ],
)
def test_a_flight_is_not_shared_beyond_what_its_answer_depends_on(
    traits: tuple[Trait, ...], scope: Scope, alone: bool
) -> None:
    flight: Flight[None] = Flight()
    found = Dependencies(frozenset(("api.t",)), frozenset(traits))
    flight.depends_on(found, Versions(), scope)
    assert flight.alone is alone
