"""What a write may change: the tables that a plan touches, directly and by their doing.

In: a plan and a schema cache with its `Facts`. Out: the tags to touch once it is committed,
None for all there are. A write reaches the tables below a view, partitions, the tables that
foreign keys cascade to, and whatever runs with it: triggers and their conditions, rules,
policies, checks, defaults, generated columns, expressions of indexes and of views, computed
fields, what is selected of the result. All functions are followed, whatever volatility they
declare: PostgreSQL lets a STABLE one call a VOLATILE one. Those that can't be followed, and
foreign tables, may do anything unless they declare it (`@cache writes=…` in their comments).

What SQL calls without naming it, by operators, casts, sorting and domains, counts for every
write: it can be anywhere. The transaction of a read is read only, so that nothing in it
writes, whatever it calls. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from proxy.lineage.dependencies import dependencies
from proxy.lineage.extensions import only_computes
from proxy.plan.model import (
    DeletePlan,
    FunctionCall,
    InsertPlan,
    MutatePlan,
    Plan,
    TableWrite,
    UpdatePlan,
)
from proxy.schema_cache.fact_queries import FIRST_OF_USERS
from proxy.schema_cache.facts import Event, Facts, RelationFacts, named
from proxy.schema_cache.model import QualifiedName, SchemaCache
from proxy.schema_cache.node_trees import Code

NOTHING: Final[frozenset[str]] = frozenset()

_ALL_EVENTS: Final[tuple[Event, ...]] = ("insert", "update", "delete")


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
    found = [_implied_effects(facts)]
    if isinstance(plan, TableWrite):
        table = plan.mutation.table
        found += [_relation_effects(facts, table, event) for event in _events(plan.mutation)]
    found += [_effects_of(facts, oid) for oid in dependencies(plan, cache).reached]
    if pre_request is not None:
        found += [_effects_of(facts, oid) for oid in _namesakes(facts, pre_request)]
    return _union(found)


def relation_effects(facts: Facts, name: QualifiedName) -> frozenset[str] | None:
    """The tags that any write to the relation `name` may touch."""
    return _union([_relation_effects(facts, name, event) for event in _ALL_EVENTS])


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


# --- conclusions, each drawn once -------------------------------------------------------------


_Effect = frozenset[str] | None


def _union(effects: list[_Effect]) -> _Effect:
    known = [effect for effect in effects if effect is not None]
    return NOTHING.union(*known) if len(known) == len(effects) else None


def _remembered(facts: Facts, key: object, collect: Callable[[_Effects], None]) -> _Effect:
    if ("writes", key) not in facts.memo:
        effects = _Effects(facts)
        collect(effects)
        facts.memo["writes", key] = effects.found()
    known = facts.memo["writes", key]
    assert known is None or isinstance(known, frozenset)
    return known


def _implied_effects(facts: Facts) -> _Effect:
    def collect(effects: _Effects) -> None:
        effects.code(Code(functions=facts.implied))

    return _remembered(facts, "implied", collect)


def _relation_effects(facts: Facts, name: QualifiedName, event: Event) -> _Effect:
    oid = facts.by_name.get(name)
    if oid is None:
        return None
    return _remembered(facts, (oid, event), lambda effects: effects.relation(oid, event))


def _effects_of(facts: Facts, oid: int) -> _Effect:
    """Of reading a relation or calling a function, whichever has this oid."""

    def collect(effects: _Effects) -> None:
        effects.read(oid)
        if oid not in facts.relations or oid in facts.functions:
            effects.function(oid)

    return _remembered(facts, oid, collect)


def _namesakes(facts: Facts, name: QualifiedName) -> list[int]:
    """The functions that a name which may have no schema can stand for; 0, which is none,
    when there are none."""
    found = facts.namesakes.get(name.name, ())
    if name.schema:
        found = facts.functions_by_name.get(name, ())
    return [*found] or [0]


_Step = Event | Literal["read", "call"]


class _Effects:
    """Collects what is written, until that may be anything. `relation`, `read`, `function`
    and `code` say what happens; what comes of it is found out by `found`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._seen: set[tuple[int, _Step]] = set()
        self._unseen: list[tuple[int, _Step]] = []
        self._tags: set[str] = set()
        self._everything = False

    def found(self) -> _Effect:
        """All that is written. Without recursion: code can lead far."""
        while self._unseen and not self._everything:
            oid, step = self._unseen.pop()
            match step:
                case "read":
                    self._read(oid)
                case "call":
                    self._call(oid)
                case _:
                    self._write(oid, step)
        return None if self._everything else frozenset(self._tags)

    def relation(self, oid: int, event: Event) -> None:
        """Rows of a relation are inserted, updated or deleted."""
        self._add(oid, event)

    def read(self, oid: int) -> None:
        """Rows of a relation are read."""
        self._add(oid, "read")

    def function(self, oid: int) -> None:
        """A function is called in a transaction that may write."""
        self._add(oid, "call")

    def code(self, code: Code, *, writes: bool = False) -> None:
        """Code runs that may write to the relations it names, or only reads them."""
        for oid in code.relations:
            self.read(oid)
            if writes:
                for event in _ALL_EVENTS:
                    self.relation(oid, event)
        for oid in code.functions:
            self.function(oid)

    def _add(self, oid: int, step: _Step) -> None:
        if (oid, step) not in self._seen:
            self._seen.add((oid, step))
            self._unseen.append((oid, step))

    def _write(self, oid: int, event: Event) -> None:
        relation = self._facts.relations.get(oid)
        if relation is None:
            self._everything = True
            return
        self._tags.add(relation.tag)
        self.read(oid)
        self.code(relation.steps)
        self._fire(relation, event)
        for child in relation.children:
            self.relation(child, event)
            if event == "update":
                # The row may move to another partition.
                self.relation(child, "insert")
                self.relation(child, "delete")
        for referencing, its_event in self._facts.cascades.get((oid, event), ()):
            self.relation(referencing, its_event)

    def _fire(self, relation: RelationFacts, event: Event) -> None:
        instead = False
        for trigger in relation.triggers:
            if event in trigger.events:
                self.function(trigger.function)
                instead |= trigger.instead
        if event in relation.rules:
            # Which of its commands writes which of these is not looked at.
            self.code(relation.rules[event], writes=True)
        if relation.kind == "view" and not instead:
            # One of those it shows; the others are touched for nothing.
            for below in relation.query.relations:
                self.relation(below, event)
        elif relation.kind == "materialized view":
            # It is refreshed.
            self.code(relation.query)

    def _read(self, oid: int) -> None:
        relation = self._facts.relations.get(oid)
        if relation is None:
            return
        if relation.kind == "foreign table":
            self._declared(relation.writes)
        if relation.secured:
            self.code(relation.policies)
        if relation.kind == "view":
            self.code(relation.query)
        for child in relation.children:
            self.read(child)

    def _call(self, oid: int) -> None:
        function = self._facts.functions.get(oid)
        if function is None:
            own = 0 < oid < FIRST_OF_USERS and oid not in self._facts.runners
            self._everything |= not own
            return
        self.code(function.defaults)
        if function.writes is not None:
            self._declared(function.writes)
        elif function.steps is not None:
            self.code(function.steps, writes=not function.only_reads)
        else:
            implied = oid in self._facts.implied
            self._everything |= not only_computes(function, implied=implied)

    def _declared(self, tags: frozenset[str] | None) -> None:
        if tags is None:
            self._everything = True
            return
        for tag in tags:
            for name in named(self._facts, tag):
                for event in _ALL_EVENTS:
                    self.relation(self._facts.by_name[name], event)
            self._tags.add(tag)
