"""Ways to overlook what a write has done by code that does not look like it; see
`broken_server`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.lineage import effects
from proxy.schema_cache import facts, source_names
from proxy.schema_cache.node_trees import NO_CODE

# What is broken need not be what its types say.
_LOAD: Any = importlib.import_module("proxy.schema_cache.load")
_EFFECTS: Any = effects._Effects
_MODULE: Any = effects
_NAMES: Any = source_names


def _trusted_volatility() -> None:
    """Functions that are not VOLATILE are taken to write nothing."""
    call = _EFFECTS._call

    def trusting(self: Any, oid: int) -> None:
        known = self._facts.functions.get(oid)
        if known is None or known.volatility == "volatile":
            call(self, oid)

    _EFFECTS._call = trusting


def _without(**nothing: Any) -> Callable[[], None]:
    """Relations of which some facts are not known."""

    def plant() -> None:
        read = facts.read_facts

        def without(row: Any) -> facts.Facts:
            known = read(row)
            relations = {o: replace(r, **nothing) for o, r in known.relations.items()}
            return replace(known, relations=relations)

        _LOAD.read_facts = without

    return plant


def _no_implied_code() -> None:
    read = facts.read_facts
    _LOAD.read_facts = lambda row: replace(read(row), implied=frozenset())


def _no_conditions() -> None:
    """What is read for a write runs nothing."""
    _EFFECTS._read = lambda *_: None


def _only_the_table() -> None:
    """What the request itself calls and selects runs nothing."""
    _MODULE._effects_of = lambda *_: frozenset()


def _dynamic_sql() -> None:
    """Text that is run counts as text."""
    _NAMES._UNSEEN = _NAMES.re.compile("(?!)")


EFFECT_DEFECTS: Final[Mapping[str, Callable[[], None]]] = {
    "volatility": _trusted_volatility,
    "checks": _without(steps=NO_CODE),
    "rules": _without(rules={}),
    "foreign tables": _without(writes=frozenset()),
    "domains": _no_implied_code,
    "conditions": _no_conditions,
    "filters": _only_the_table,
    "dynamic SQL": _dynamic_sql,
}
