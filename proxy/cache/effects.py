"""What a write may change: the tables that a plan touches, directly and by their doing.

In: a plan and a schema cache with its `Facts`. Out: the tags to touch once it is committed,
None for all there are. A write reaches the tables below a view, partitions, the tables that
foreign keys cascade to, and whatever triggers, rules and volatile functions do; those that
don't declare it (`@cache writes=…` in the function's comment) and whose source does not show
it either may do anything. Stable and immutable functions are trusted to write nothing, as
PostgreSQL's documentation demands of them ("Function Volatility Categories"). Pure.
"""

from __future__ import annotations

from typing import Final

from proxy.cache.dependencies import Walk, dependencies
from proxy.plan.model import (
    DeletePlan,
    FunctionCall,
    InsertPlan,
    MutatePlan,
    Plan,
    TableWrite,
    UpdatePlan,
)
from proxy.schema_cache.facts import Event, Facts, FunctionFacts, named
from proxy.schema_cache.model import QualifiedName, SchemaCache

NOTHING: Final[frozenset[str]] = frozenset()

_ALL_EVENTS: Final[tuple[Event, ...]] = ("insert", "update", "delete")
_HARMLESS_C_TRIGGERS: Final = frozenset(("autoinc", "insert_username", "moddatetime"))
"""They change the row that is written, and nothing else (PostgreSQL docs, "spi")."""
_WRITING_EXTENSION: Final = "dblink"


def write_tags(
    plan: Plan, cache: SchemaCache, pre_request: QualifiedName | None = None
) -> frozenset[str] | None:
    """The tags that `plan` may touch; empty for what runs in a read-only transaction.

    `pre_request` is the function that runs first in each transaction, if one does.
    """
    if not isinstance(plan, TableWrite | FunctionCall):
        return NOTHING
    if isinstance(plan, FunctionCall) and plan.access == "read only":
        return NOTHING
    facts = cache.facts
    if facts is None:
        return None
    effects = _Effects(facts)
    if isinstance(plan, TableWrite):
        effects.relation_named(plan.mutation.table, _events(plan.mutation))
    for oid in dependencies(plan, cache).volatile:
        effects.function(oid)
    if pre_request is not None:
        effects.function_named(pre_request)
    return None if effects.everything else frozenset(effects.tags)


def relation_effects(facts: Facts, name: QualifiedName) -> frozenset[str] | None:
    """The tags that any write to the relation `name` may touch."""
    effects = _Effects(facts)
    effects.relation_named(name, _ALL_EVENTS)
    return None if effects.everything else frozenset(effects.tags)


def announced_tags(facts: Facts | None, tag: str) -> frozenset[str]:
    """The tags to touch when a statement on `tag` was announced: those of its partitions
    and inheriting tables with it. Cascades and triggers announce themselves."""
    if facts is None:
        return frozenset((tag,))
    found, unseen = {tag}, [facts.by_name[name] for name in named(facts, tag)]
    while unseen:
        relation = facts.relations.get(unseen.pop())
        if relation is not None:
            found.add(relation.tag)
            unseen.extend(relation.children)
    return frozenset(found)


def _events(mutation: MutatePlan) -> tuple[Event, ...]:
    match mutation:
        case InsertPlan():
            updates = mutation.resolution == "merge-duplicates"
            return ("insert", "update") if updates else ("insert",)
        case UpdatePlan():
            return ("update",)
        case DeletePlan():
            return ("delete",)


class _Effects:
    """Collects what is written, until that may be anything."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._seen: set[tuple[int, Event | None]] = set()
        self.tags: set[str] = set()
        self.everything = False

    def relation_named(self, name: QualifiedName, events: tuple[Event, ...]) -> None:
        oid = self._facts.by_name.get(name)
        if oid is None:
            self.everything = True
            return
        for event in events:
            self.relation(oid, event)

    def relation(self, oid: int, event: Event) -> None:
        """Rows of a relation are inserted, updated or deleted."""
        if self.everything or (oid, event) in self._seen:
            return
        self._seen.add((oid, event))
        relation = self._facts.relations.get(oid)
        if relation is None or event in relation.rules:
            self.everything = True
            return
        self.tags.add(relation.tag)
        instead = False
        for trigger in relation.triggers:
            if event in trigger.events:
                self._trigger(trigger.function)
                instead |= trigger.instead
        if relation.kind == "view" and not instead:
            # One of those it shows; the others are touched for nothing.
            for below in relation.query.relations - {oid}:
                self.relation(below, event)
        if event in relation.checks:
            walk = Walk(self._facts)
            walk.code(relation.checks[event], None)
            for function in walk.found().volatile:
                self.function(function)
        for child in relation.children:
            self.relation(child, event)
            if event == "update":
                # The row may move to another partition.
                self.relation(child, "insert")
                self.relation(child, "delete")
        for referencing, its_event in self._facts.cascades.get((oid, event), ()):
            self.relation(referencing, its_event)

    def _trigger(self, oid: int) -> None:
        function = self._facts.functions.get(oid)
        if function is not None and _is_harmless_trigger(function):
            return
        self.function(oid, as_trigger=True)

    def function_named(self, name: QualifiedName) -> None:
        """A function called by a name that may have no schema."""
        found = [
            oid
            for known, oids in self._facts.functions_by_name.items()
            if known.name == name.name and name.schema in ("", known.schema)
            for oid in oids
        ]
        self.everything |= not found
        for oid in found:
            self.function(oid)

    def function(self, oid: int, *, as_trigger: bool = False) -> None:
        """A function is called in a transaction that may write."""
        function = self._facts.functions.get(oid)
        if self.everything or (oid, None) in self._seen or function is None:
            return
        self._seen.add((oid, None))
        if function.writes is not None:
            for tag in function.writes:
                self._declared(tag)
        elif function.volatility != "volatile":
            return
        elif function.body is not None:
            for relation in function.body.relations:
                for event in _ALL_EVENTS:
                    self.relation(relation, event)
            for called in function.body.functions:
                self.function(called)
        elif as_trigger or not _is_harmless_extension(function):
            self.everything = True

    def _declared(self, tag: str) -> None:
        for name in named(self._facts, tag):
            self.relation_named(name, _ALL_EVENTS)
        self.tags.add(tag)


def _is_harmless_trigger(function: FunctionFacts) -> bool:
    return function.language == "c" and function.name.name in _HARMLESS_C_TRIGGERS


def _is_harmless_extension(function: FunctionFacts) -> bool:
    """Such as `uuid_generate_v4`: volatile for its randomness."""
    return (
        function.of_extension
        and function.language == "c"
        and not function.name.name.startswith(_WRITING_EXTENSION)
    )
