"""A server whose invalidation is broken on purpose, to see that it is noticed.

Run as `python -m tests.faults.broken_server DEFECT CONFIG`, with a key of `DEFECTS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.cache import notify
from proxy.lineage import effects
from proxy.lineage.dependencies import Walk
from proxy.schema_cache import facts
from tests.faults.broken_effects import EFFECT_DEFECTS
from tests.http import edge_server

# What is broken need not be what its types say.
_APPS: Any = importlib.import_module("proxy.apps")
_CACHE: Any = importlib.import_module("proxy.cache.response_cache")
_APPLIED: Any = importlib.import_module("proxy.cache.applied")
_LOAD: Any = importlib.import_module("proxy.schema_cache.load")
_WALK: Any = Walk
_EFFECTS: Any = effects._Effects
_ANNOUNCEMENTS: Any = notify.Announcements


def _no_cascades() -> None:
    read = facts.read_facts
    _replace_facts(lambda row: replace(read(row), cascades={}))


def _no_triggers() -> None:
    read = facts.read_facts

    def without(row: Any) -> facts.Facts:
        known = read(row)
        relations = {o: replace(r, triggers=()) for o, r in known.relations.items()}
        return replace(known, relations=relations)

    _replace_facts(without)


def _no_partitions() -> None:
    read = facts.read_facts

    def without(row: Any) -> facts.Facts:
        known = read(row)
        relations = {o: replace(r, children=()) for o, r in known.relations.items()}
        return replace(known, relations=relations)

    _replace_facts(without)


def _replace_facts(read: Callable[[Any], facts.Facts]) -> None:
    _LOAD.read_facts = read


def _no_views() -> None:
    def relation(self: Walk, oid: int, role: int | None) -> None:
        self._rows_of(oid)

    _WALK.relation = relation


def _no_policies() -> None:
    def passes(*_: object) -> bool:
        return True

    _WALK._passes = passes


def _no_functions() -> None:
    _EFFECTS.function = lambda *_, **__: None


def _late_vector() -> None:
    """Answers are kept with the versions of after their query."""
    keep = _CACHE.ResponseCache.keep

    async def late(self: Any, flight: Any, *rest: Any) -> Any:
        if flight.tags is not None:
            flight.vector = self._versions.vector(flight.tags)
        return await keep(self, flight, *rest)

    _CACHE.ResponseCache.keep = late


def _deaf() -> None:
    _ANNOUNCEMENTS._hear = lambda *_: None


def _own_versions() -> None:
    """Workers take each other's announcements for their own, and share no memory."""
    made = _APPS.Versions

    def alone(slots: Any, database: str, app: str) -> Any:
        versions = made(None, database, app)
        versions.identity = made(slots, database, app).identity
        return versions

    _APPS.Versions = alone


def _shared_claims() -> None:
    """All who have the same role share answers."""
    key_of = _APPLIED.key_of

    def shared(read: Any, caching: Any, scope: Any, identity: Any, settings: Any) -> Any:
        return key_of(read, caching, "role", identity, settings)

    _APPLIED.key_of = shared


DEFECTS: Final[Mapping[str, Callable[[], None]]] = {
    "cascades": _no_cascades,
    "triggers": _no_triggers,
    "partitions": _no_partitions,
    "views": _no_views,
    "policies": _no_policies,
    "races": _late_vector,
    "functions": _no_functions,
    "notifications": _deaf,
    "workers": _own_versions,
    "identities": _shared_claims,
    **EFFECT_DEFECTS,
}


if __name__ == "__main__":
    DEFECTS[sys.argv.pop(1)]()
    sys.exit(edge_server.main())
