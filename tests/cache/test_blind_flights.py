"""Who may join a read whose dependencies nobody knows: nobody, once its query has begun."""

from __future__ import annotations

from proxy.auth.model import Identity
from proxy.cache.dependencies import Dependencies
from proxy.cache.flights import Flight
from proxy.cache.versions import Versions


def test_a_flight_is_blind_when_a_write_may_concern_it() -> None:
    flight: Flight[None] = Flight()
    blind = [flight.blind]
    for found in (Dependencies(unknown=("a function",)), Dependencies(frozenset(("api.t",)))):
        flight.depends_on(found, Versions(), "claims", Identity("a", "{}", True))
        blind.append(flight.blind)
    assert blind == [False, True, False]
