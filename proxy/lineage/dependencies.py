"""What an answer was made of: the tables behind a plan, and what else could change it.

In: a plan and a schema cache with its `Facts`. Out: `Dependencies`; `read_tags` gives the
tags alone. Views lead to their tables, tables to their partitions, row security to whatever
its policies read, and all of them to functions. What a function reads is known when its
comment declares it (`@cache reads=…`), when it is immutable, or when PostgreSQL or its
source shows it; else the answer must not be kept. Pure.

Operators and casts of user-defined types, and the CHECKs of domains, are taken to depend on
their operands alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxy.lineage.extensions import RUN_TEXTS
from proxy.plan.model import (
    Comparison,
    Condition,
    Connective,
    DeletePlan,
    FieldRef,
    FunctionCall,
    Plan,
    ReadPlan,
    TableRead,
    TableWrite,
    UpdatePlan,
)
from proxy.schema_cache.facts import Facts, FunctionFacts, RelationFacts, named
from proxy.schema_cache.model import ComputedRelationship, QualifiedName, SchemaCache
from proxy.schema_cache.node_trees import NO_CODE, Code, Trait

_PLAIN_TYPES: Final = frozenset(
    """bigint bit bool boolean bpchar bytea char character date decimal double float float4
    float8 inet int int2 int4 int8 integer interval json jsonb money numeric real smallint
    text time timestamp timestamptz timetz uuid varbit varchar xml precision varying
    with without zone""".split()
)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What an answer depends on.

    `tags`: the relations, views among them, as `schema.name`, and tags that functions
    declare. `traits`: what of the request and the moment it depends on besides its URL;
    `role` also stands for row security. `unannounced`: those of the tags whose changes
    nobody tells (materialized views, foreign tables): keep only for a declared time.
    `unknown`: why nobody can tell what else; not to be kept then. `reached`: the relations
    and functions (oids) that it leads to; nobody looked further behind those functions that
    declare what they read, or that can't be read.
    """

    tags: frozenset[str] = frozenset()
    traits: frozenset[Trait] = frozenset()
    unannounced: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()
    reached: frozenset[int] = frozenset()


_NO_FACTS: Final = Dependencies(unknown=("the schema cache has no facts about it",))


def read_tags(plan: Plan, cache: SchemaCache) -> frozenset[str] | None:
    """The tags of the answer to `plan`; None when they are not known."""
    found = dependencies(plan, cache)
    return None if found.unknown else found.tags


def dependencies(plan: Plan, cache: SchemaCache) -> Dependencies:
    """What the answer to `plan` depends on."""
    facts = cache.facts
    if facts is None:
        return _NO_FACTS
    walk = Walk(facts)
    match plan:
        case TableRead(read, answering):
            walk.add(relation_dependencies(facts, read.source))
            _read(walk, cache, read)
        case TableWrite(read, mutation, _, answering):
            _read(walk, cache, read)
            if isinstance(mutation, UpdatePlan | DeletePlan):
                for field in _fields_of(mutation.where):
                    _field(walk, cache, mutation.table, field)
        case FunctionCall(read, call, answering):
            _read(walk, cache, read)
            walk.function_named(QualifiedName(call.function.schema, call.function.name))
        case _:
            return Dependencies(unknown=("it describes the schema",))
    handler = answering.handler.function
    if handler is not None and handler in facts.functions_by_name:
        walk.function_named(handler)
    return walk.found()


def relation_dependencies(facts: Facts, name: QualifiedName) -> Dependencies:
    """What reading the relation `name` depends on."""
    key = ("reads", name)
    known = facts.memo.get(key)
    if isinstance(known, Dependencies):
        return known
    oid = facts.by_name.get(name)
    if oid is None:
        return Dependencies(unknown=(f"{name.schema}.{name.name} is the system's own",))
    walk = Walk(facts)
    walk.relation(oid, None)
    found = facts.memo[key] = walk.found()
    return found


def function_dependencies(facts: Facts, schema: str, name: str) -> Dependencies:
    """What calling the function depends on."""
    walk = Walk(facts)
    walk.function_named(QualifiedName(schema, name))
    return walk.found()


# --- plans ----------------------------------------------------------------------------------


def _read(walk: Walk, cache: SchemaCache, node: ReadPlan) -> None:
    for item in (*node.select, *(item for _, item in node.extra_select)):
        _field(walk, cache, node.table, item.field)
        _casts(walk, item.cast, item.aggregate_cast)
    for field in _fields_of(node.where):
        _field(walk, cache, node.table, field)
    tables = {embed.alias: embed.node.table for embed in node.embeds}
    for term in node.order:
        table = node.table if term.relation is None else tables.get(term.relation)
        _field(walk, cache, table or node.table, term.field)
    for embed in node.embeds:
        _casts(walk, *(item.aggregate_cast for item in embed.fields))
        relationship = embed.relationship
        if isinstance(relationship, ComputedRelationship):
            walk.function_named(relationship.function)
        else:
            walk.add(relation_dependencies(walk.facts, embed.node.source))
            if relationship.junction is not None:
                walk.add(relation_dependencies(walk.facts, relationship.junction.table))
        _read(walk, cache, embed.node)


def _casts(walk: Walk, *types: str | None) -> None:
    walk.unknown.update(f"a cast to {t}" for t in types if t is not None and not _is_plain(t))


def _is_plain(type_name: str) -> bool:
    words = type_name.lower().replace("(", " ").replace(")", " ").replace(",", " ")
    words = words.replace("[]", " ").removeprefix("pg_catalog.")
    return all(word in _PLAIN_TYPES or word.isdigit() for word in words.split())


def _fields_of(conditions: tuple[Condition, ...]) -> Iterator[FieldRef]:
    for condition in conditions:
        if isinstance(condition, Comparison):
            yield condition.field
        elif isinstance(condition, Connective):
            yield from _fields_of(condition.children)


def _field(walk: Walk, cache: SchemaCache, table: QualifiedName, field: FieldRef) -> None:
    if field.transform is not None:
        for oid in walk.facts.casts.get(field.transform, ()):
            walk.function(oid, None)
    known = cache.tables.get(table)
    if known is None or field.name not in known.columns:
        # `rows.name` is `name(rows)` when there is no such column, whatever type it takes them
        # as: one's own, a record, anything.
        for oid in walk.facts.namesakes.get(field.name, ()):
            walk.function(oid, None)


# --- what stands behind them ------------------------------------------------------------------


class Walk:
    """Collects what is reached. `role` is whose rights a relation is read with: the owner of
    the view or function it was reached by, None for the caller."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.unknown: set[str] = set()
        self._tags: set[str] = set()
        self._traits: set[Trait] = set()
        self._unannounced: set[str] = set()
        self._reached: set[int] = set()
        self._seen: set[tuple[int, int | None]] = set()
        self._suspected: set[int] = set()

    def found(self) -> Dependencies:
        """All that was reached so far."""
        return Dependencies(
            frozenset(self._tags),
            frozenset(self._traits),
            frozenset(self._unannounced),
            tuple(sorted(self.unknown)),
            frozenset(self._reached),
        )

    def add(self, other: Dependencies) -> None:
        """All that `other` depends on."""
        self._tags |= other.tags
        self._traits |= other.traits
        self._unannounced |= other.unannounced
        self.unknown.update(other.unknown)
        self._reached |= other.reached

    def relation(self, oid: int, role: int | None) -> None:
        """A relation whose rows are read."""
        if (oid, role) in self._seen:
            return
        self._seen.add((oid, role))
        facts = self.facts.relations.get(oid)
        if facts is None:
            self.unknown.add(f"relation {oid} is the system's own, or a sequence")
            return
        self._rows_of(oid)
        if facts.secured and not self._passes(facts, role):
            self._traits.add("role")
            self.code(facts.policies, role)
        if facts.kind == "view":
            self.code(facts.query, None if facts.checks_caller else facts.owner)

    def _rows_of(self, oid: int) -> None:
        # Partitions are read with the rights and policies of the table they are part of.
        facts = self.facts.relations.get(oid)
        if facts is None:
            return
        self._tags.add(facts.tag)
        self._reached.add(oid)
        if facts.kind in ("materialized view", "foreign table"):
            self._unannounced.add(facts.tag)
        for child in facts.children:
            self._rows_of(child)

    def _passes(self, facts: RelationFacts, role: int | None) -> bool:
        if role is None:
            return False
        return role in self.facts.free_roles or (role == facts.owner and not facts.forced)

    def code(self, code: Code, role: int | None) -> None:
        """A query or an expression that the database has stored."""
        self._traits |= code.traits
        self.unknown.update(code.odd)
        for oid in code.relations:
            self.relation(oid, role)
        for oid in code.functions:
            # A view's owner lends his rights to its tables, not to the functions it calls.
            self.function(oid, None)

    def function_named(self, name: QualifiedName) -> None:
        """A function that is called by its name: any of its overloads."""
        oids = self.facts.functions_by_name.get(name)
        if oids is None:
            self.unknown.add(f"function {name.schema}.{name.name} is the system's own")
            return
        for oid in oids:
            self.function(oid, None)

    def function(self, oid: int, role: int | None) -> None:
        """A function that is called."""
        if (oid, role) in self._seen:
            return
        self._seen.add((oid, role))
        self._reached.add(oid)
        function = self.facts.functions.get(oid)
        if function is None:
            self._builtin(oid)
            return
        self.code(function.defaults, role)
        if function.reads is not None:
            self._declared(function.reads)
            if function.volatility != "immutable":
                self._traits |= {"claims", "token"}
            self._suspect(oid)
        elif function.volatility == "immutable" and function.body is None:
            self._suspect(oid)
        elif function.body is not None:
            self.code(function.body, function.owner if function.definer else role)
        elif not _is_honest(function):
            name = function.name
            self.unknown.add(f"what function {name.schema}.{name.name} reads is not declared")

    def _suspect(self, oid: int) -> None:
        """A function of which a declaration says what tables it reads, if any. It says
        nothing of headers, claims and roles: what the source of it, and of all that it seems
        to call, reads of those counts."""
        unseen = [oid]
        while unseen:
            function = self.facts.functions.get(oid := unseen.pop())
            if function is None or oid in self._suspected:
                continue
            self._suspected.add(oid)
            for code in (function.hints, function.defaults, function.body or NO_CODE):
                self._traits |= code.traits
                unseen.extend(code.functions)

    def _builtin(self, oid: int) -> None:
        name, trait = self.facts.unsteady.get(oid, ("", "role"))
        if not name:
            return
        if trait is None:
            self.unknown.add(f"function {name} tells of the system's own state")
        else:
            self._traits.add(trait)

    def _declared(self, tags: frozenset[str]) -> None:
        for tag in tags:
            self._tags.add(tag)
            for name in named(self.facts, tag):
                self.add(relation_dependencies(self.facts, name))


def _is_honest(function: FunctionFacts) -> bool:
    """Extensions in C, such as PostGIS, read no tables in functions that are not volatile;
    but some run SQL that is given to them as text."""
    return (
        function.extension is not None
        and function.language == "c"
        and function.volatility != "volatile"
        and not function.name.name.startswith(RUN_TEXTS)
    )
