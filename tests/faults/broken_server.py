"""A server whose invalidation is broken on purpose, to see that it is noticed.

Run as `python -m tests.faults.broken_server DEFECT CONFIG`, with a key of `DEFECTS`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from proxy.cache import notify
from proxy.lineage import effects
from proxy.lineage.dependencies import Walk
from proxy.schema_cache import facts
from tests.faults.broken_effects import EFFECT_DEFECTS
from tests.http import edge_server

# What is broken need not be what its types say.
_APPS: Any = importlib.import_module("proxy.app.app")
_CACHE: Any = importlib.import_module("proxy.cache.response_cache")
_APPLIED: Any = importlib.import_module("proxy.cache.applied")
_KEY: Any = importlib.import_module("proxy.cache.key")
_FLIGHTS: Any = importlib.import_module("proxy.cache.coalescing")
_HEADERS: Any = importlib.import_module("proxy.request.request_headers")
_CLAIMS: Any = importlib.import_module("proxy.auth.claims")
_QUERY: Any = importlib.import_module("proxy.request.query_string")
_NODE_TREES: Any = importlib.import_module("proxy.schema_cache.node_trees")
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


def _rights_for_good() -> None:
    """What was allowed once is allowed for ever."""
    _RIGHTS.known = lambda *_: True

    async def holding(self: Any, *_: object) -> Any:
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


OF_RIGHTS: Final[dict[str, Callable[[], None]]] = {
    "rights": _rights_for_good,
    "roles": _no_roles,
    "privileges": _no_privileges,
    "row-security": _no_row_security,
    "scopes": _old_scopes,
}
DEFECTS: Final[dict[str, Callable[[], None]]] = {
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
    **OF_RIGHTS,
}


# --- keys ------------------------------------------------------------------------------------


def _joined_lines() -> None:
    """Answers are found by all lines of a header, and made by the first."""

    def asked_of(lines: Any) -> Any:
        found: dict[bytes, bytes] = {}
        for name, value in lines:
            found[name] = found[name] + b", " + value if name in found else value
        return found

    _HEADERS.caching_headers = asked_of


def _raw_names() -> None:
    """Parameters are put in the order of their names, of which some mean the same."""

    def name(parameter: Any) -> Any:
        return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" "))

    def canonical(query: bytes) -> bytes:
        return b"&".join(sorted(query.split(b"&"), key=name))

    _KEY._canonical = canonical


def _repeated_claims() -> None:
    """Of equal claims all are told apart, in whatever order, and PostgreSQL gets all."""
    _CLAIMS._without_repeats = lambda text: text
    members = _KEY._members

    def sorted_members(text: str) -> Any:
        return [(each, each[1]) for each in sorted(members(text))]

    _KEY._members = sorted_members
    _KEY._passes = lambda member, _: member[0] in _KEY.PASSING_CLAIMS


def _passing_claims() -> None:
    """What may read any claim is kept for all tokens of a person."""
    _FLIGHTS.is_of_one_token = lambda _: False


def _read_by_name() -> None:
    """Claims are taken to be read by constant names."""
    _NODE_TREES._reads_by_name = lambda _: True


def _believed_comments() -> None:
    """What a comment says that a function reads is all that it reads."""
    _WALK._suspect = lambda *_: None


def _seeded_ranges() -> None:
    """Which of several limits counts depends on the seed of the process's hashes."""

    def ranges(limits: Any, offsets: Any, budget: Any) -> Any:
        rows = dict(limits)
        starts = {key.removesuffix("offset") + "limit": value for key, value in offsets}
        found = {}
        for key in rows.keys() | starts.keys():
            path, _ = _QUERY.readers.read_tree_path(key, budget)
            if path or key == "limit":
                found[path] = _QUERY.range_of(rows.get(key), starts.get(key))
        return found

    _QUERY._ranges = ranges


KEY_DEFECTS: Final[dict[str, Callable[[], None]]] = {
    "lines": _joined_lines,
    "names": _raw_names,
    "repeated-claims": _repeated_claims,
    "passing-claims": _passing_claims,
    "read-by-name": _read_by_name,
    "comments": _believed_comments,
    "hash-seed": _seeded_ranges,
    "identities": _shared_claims,
}
"""Those that mix up requests and identities, for `tests.faults.fuzz_cache`."""


if __name__ == "__main__":
    (DEFECTS | KEY_DEFECTS)[sys.argv.pop(1)]()
    sys.exit(edge_server.main())
