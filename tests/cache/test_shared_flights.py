"""Who may join a read: those whom its answer is the same for."""

from __future__ import annotations

import pytest

from proxy.auth.model import Identity
from proxy.cache.applied import Place, apply_policies
from proxy.cache.coalescing import Flight
from proxy.cache.versions import Versions
from proxy.cache_rules.policy import Policy, Scope
from proxy.lineage.dependencies import Dependencies
from proxy.schema_cache.node_trees import Trait
from proxy.settings import Settings
from proxy.state.from_settings import app_state, make_authenticator

NOTHING = apply_policies(app_state(Settings(), make_authenticator(Settings()), None))
ANYBODY = Identity("web", "{}", True)


@pytest.mark.parametrize(
    "traits, scope, alone",
    [
        ((), "public", False),
        (("role",), "public", True),
        (("role",), "role", False),
        (("claims",), "role", True),
        (("claims",), "claims", False),
        (("claims", "token"), "role", True),
        (("token",), "public", True),
        (("claims", "token"), "claims", False),
        (("request",), "claims", True),
    ],
)
def test_a_flight_is_not_shared_beyond_what_its_answer_depends_on(
    traits: tuple[Trait, ...], scope: Scope, alone: bool
) -> None:
    place = Place(NOTHING, (b"", b"", b"", b""), Policy(60, scope=scope), ANYBODY, "table")
    flight = Flight(place)
    found = Dependencies(frozenset(("api.t",)), frozenset(traits))
    flight.depends_on(found, Versions())
    assert flight.alone is alone


def test_what_any_claim_may_change_is_for_one_token_alone() -> None:
    one, other = (Identity("a", f'{{"role":"a","jti":{n}}}', True) for n in (1, 2))
    known: list[tuple[frozenset[Trait], bool]] = [
        (frozenset(("claims",)), True),
        (frozenset(("claims", "token")), False),
    ]
    for traits, shared in known:
        place = Place(NOTHING, (b"", b"", b"", b""), Policy(60, scope="claims"), one, "table")
        flight = Flight(place)
        assert flight.is_for(other)
        flight.depends_on(Dependencies(traits=traits), Versions())
        assert flight.is_for(one)
        assert flight.is_for(other) is shared
