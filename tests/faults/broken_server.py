"""A server whose invalidation is broken on purpose, to see that it is noticed.

Run as `python -m tests.faults.broken_server DEFECT CONFIG`, with a key of `DEFECTS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.cache import effects, notify
from proxy.cache.dependencies import Walk
from proxy.schema_cache import facts
from tests.http import edge_server

# What is broken need not be what its types say.
_APPS: Any = importlib.import_module("proxy.apps")
_SERVING: Any = importlib.import_module("proxy.cache.serving")
_RIGHTS_MODULE: Any = importlib.import_module("proxy.cache.rights")
_RIGHTS: Any = _RIGHTS_MODULE.Rights
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

    def keep(self: Any, key: Any, entry: Any) -> str:
        late = replace(entry, vector=self._versions.vector(entry.tags))
        return "" if self._store.put(key, late) else "too-large"

    _SERVING.ResponseCache._keep = keep


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
    key_of = _SERVING.key_of

    def shared(read: Any, asked: Any, scope: Any, identity: Any, manner: Any) -> Any:
        return key_of(read, asked, "role", identity, manner)

    _SERVING.key_of = shared


def _rights_for_good() -> None:
    """What was allowed once is allowed for ever."""
    _RIGHTS.known = lambda *_: True

    async def holding(self: Any) -> Any:
        self.until = float("inf")
        return self.in_use

    _RIGHTS.holding = holding


def _not_looked_at(*catalogs: str) -> None:
    _RIGHTS_MODULE._DECIDING = tuple(
        each for each in _RIGHTS_MODULE._DECIDING if each[0] not in catalogs
    )
    _RIGHTS_MODULE._ALWAYS = "pg_postmaster_start_time()"


def _no_roles() -> None:
    _not_looked_at("pg_roles", "pg_auth_members", "pg_db_role_setting")


def _no_privileges() -> None:
    _not_looked_at("pg_class", "pg_attribute", "pg_namespace", "pg_proc")


def _no_row_security() -> None:
    _not_looked_at("pg_class", "pg_policy", "pg_proc")


def _old_scopes() -> None:
    """A change is noticed, and who shares answers is decided as before."""
    adopt = _RIGHTS._adopt

    def adopting(self: Any) -> None:
        adopt(self)
        self.in_use = self._seen
        self._judge()

    _RIGHTS._adopt = adopting
    _APPS.App._follow_rights = _idle


async def _idle(*_: object) -> None:
    pass


OF_RIGHTS: Final[Mapping[str, Callable[[], None]]] = {
    "rights": _rights_for_good,
    "roles": _no_roles,
    "privileges": _no_privileges,
    "row-security": _no_row_security,
    "scopes": _old_scopes,
}
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
    **OF_RIGHTS,
}


if __name__ == "__main__":
    DEFECTS[sys.argv.pop(1)]()
    sys.exit(edge_server.main())
