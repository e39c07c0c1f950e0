"""What a response cache must know of a database: what reads what, and what writes what.

In: the row that `proxy.schema_cache.fact_queries` answers with. Out: `Facts`, a value that
goes with the schema cache of the same moment; `proxy.lineage.dependencies` and
`proxy.lineage.effects` draw the conclusions. Everything is keyed by oid. Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Literal

from proxy.schema_cache.catalog_json import read_catalog_json
from proxy.schema_cache.fact_queries import FACTS
from proxy.schema_cache.function_bodies import hints, read_body
from proxy.schema_cache.model import QualifiedName, Volatility
from proxy.schema_cache.node_trees import NO_CODE, Code, Trait, read_code
from proxy.schema_cache.source_names import Oids, can_write, read_names

Event = Literal["insert", "update", "delete"]
RelationKind = Literal["table", "view", "materialized view", "foreign table"]

_KINDS: Final[Mapping[str, RelationKind]] = {
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_VOLATILITIES: Final[Mapping[str, Volatility]] = {"i": "immutable", "s": "stable"}
_RULE_EVENTS: Final[Mapping[str, Event]] = {"2": "update", "3": "insert", "4": "delete"}
# Bits of pg_trigger.tgtype (pg_trigger.h).
_TRIGGER_EVENTS: Final[tuple[tuple[int, Event], ...]] = (
    (4, "insert"),
    (8, "delete"),
    (16, "update"),
)
_INSTEAD: Final = 64
_WRITES: Final = "cnd"

_UNDERSTOOD: Final = ("sql", "plpgsql")
_LINE: Final = re.compile(r"^[ \t]*@cache\b(.*)$", re.MULTILINE)

# PostgreSQL's own functions that are stable and yet differ between two moments, roles or
# states of the server; of the others, what is stable depends on settings only.
_TIMES: Final = frozenset(("now", "transaction_timestamp", "statement_timestamp", "age"))
_ROLES: Final = re.compile(r"(has_\w+_privilege|pg_has_role|current_user|session_user)\Z")
_STATES: Final = re.compile(
    r"(pg_(?!typeof|column_size|collation_for|client_encoding|size_)|txid_|inet_|mxid_"
    r"|row_security|obj_desc|col_desc|shobj_|to_reg|format_type|\w+_to_xml|getpgusername)"
)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that a user made; `instead` of what was asked for."""

    function: int
    events: frozenset[Event]
    instead: bool


@dataclass(frozen=True, slots=True)
class RelationFacts:
    """A table, view, materialized view or foreign table.

    `owner` is a role. `secured`: row security is on; with `forced` for its owner too.
    `checks_caller`: a view whose tables are read with the caller's rights (security_invoker).
    `children`: partitions and inheriting tables. `query` is a view's, materialized or not.
    `policies`: what those for reading depend on. `steps`: what runs at writes besides
    triggers, policies of all commands with it. `rules`: what rewrite rules do, by event.
    `writes`: the tables that a foreign table's comment says are written with it.
    """

    name: QualifiedName
    kind: RelationKind
    owner: int
    secured: bool = False
    forced: bool = False
    checks_caller: bool = False
    children: tuple[int, ...] = ()
    query: Code = NO_CODE
    policies: Code = NO_CODE
    steps: Code = NO_CODE
    triggers: tuple[Trigger, ...] = ()
    rules: Mapping[Event, Code] = field(default_factory=dict)
    writes: frozenset[str] | None = None

    @property
    def tag(self) -> str:
        return tag_of(self.name)


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """A function that is not PostgreSQL's own.

    `reads`, `writes`: the tables that its comment names, None when it says nothing of them.
    `body`: what it depends on, None when that is not known: `hints` then has what its source
    seems to read of the request, and the functions that it names; `steps`: all that it can
    lead to, and more (see `source_names`), None when that is not known; `defaults`: what the
    defaults of its arguments do. `only_reads`: its own statements write to none of the
    relations; the functions that they call may. `extension`: the one that it is of.
    """

    name: QualifiedName
    volatility: Volatility
    definer: bool
    owner: int
    reads: frozenset[str] | None
    writes: frozenset[str] | None
    body: Code | None
    steps: Code | None
    defaults: Code
    only_reads: bool
    extension: str | None
    language: str
    hints: Code = NO_CODE


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. `cascades`: by referenced table, the tables that a foreign key
    makes a delete or an update of a key write to, and how: (table, its event).
    `unsteady`: PostgreSQL's own functions whose result changes by itself: what it depends on,
    or None when nothing made of it should be kept; `runners`: those that run what they are
    given. `implied`: functions that operators, casts and domains call. `casts`: functions by
    their name as SQL; `namesakes`: by their bare name. `free_roles` pass row security.
    """

    relations: Mapping[int, RelationFacts]
    functions: Mapping[int, FunctionFacts]
    cascades: Mapping[tuple[int, Event], tuple[tuple[int, Event], ...]]
    unsteady: Mapping[int, tuple[str, Trait | None]]
    runners: frozenset[int]
    implied: frozenset[int]
    free_roles: frozenset[int]
    casts: Mapping[str, Sequence[int]]
    by_name: Mapping[QualifiedName, int]
    functions_by_name: Mapping[QualifiedName, tuple[int, ...]]
    namesakes: Oids
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)
    """What was concluded already, by whoever concludes; never more than there are relations
    and functions."""


def tag_of(name: QualifiedName) -> str:
    """The tag of a relation: `schema.name`, as written in comments and notifications."""
    return f"{name.schema}.{name.name}"


def named(facts: Facts, tag: str) -> tuple[QualifiedName, ...]:
    """The relations that `tag` may mean: schemas and tables may have dots in their names."""
    dots = [place for place, letter in enumerate(tag) if letter == "."]
    names = [QualifiedName(tag[:dot], tag[dot + 1 :]) for dot in dots]
    return tuple(name for name in names if name in facts.by_name)


def declared_tags(
    comment: str | None,
    schema: str,
    directive: Literal["reads", "writes"],
    relations: Set[str] = frozenset(),
) -> frozenset[str] | None:
    """What the lines `@cache reads=a,b.c writes=` of a function's comment say of one of the
    two; a name without a schema is of `schema`. `b.c` may also be a table of `schema`, if it
    is among the tags of `relations`. None when they say nothing of it."""
    found: set[str] | None = None
    for line in _LINE.findall(comment or ""):
        for word in line.split():
            name, equals, value = word.partition("=")
            if name == directive and equals:
                found = found or set()
                for part in filter(None, value.split(",")):
                    own = f"{schema}.{part}"
                    found |= {part, own} & relations or {part if "." in part else own}
    return None if found is None else frozenset(found)


def read_facts(row: Sequence[bytes | str | None]) -> Facts:
    """The facts of `row`, whose values belong to `FACTS`, one by one."""
    raw = {
        name: read_catalog_json(text) if text is not None else []
        for name, text in zip(FACTS, row, strict=True)
    }
    relations = _relations(raw)
    namesakes = _grouped((name, oid) for oid, _, name, *_ in raw["functions"])
    functions = _functions(raw, namesakes)
    names: dict[QualifiedName, list[int]] = defaultdict(list)
    for oid, function in functions.items():
        names[function.name].append(oid)
    return Facts(
        relations=relations,
        functions=functions,
        cascades=_cascades(raw["cascades"]),
        unsteady=dict(_unsteady(raw["builtins"])),
        runners=frozenset(raw["runners"]),
        implied=frozenset(raw["implied"]),
        free_roles=frozenset(raw["free_roles"]),
        casts=_grouped(raw["casts"]),
        by_name={facts.name: oid for oid, facts in relations.items()},
        functions_by_name={name: tuple(oids) for name, oids in names.items()},
        namesakes=namesakes,
    )


def _relations(raw: Mapping[str, Any]) -> dict[int, RelationFacts]:
    children = _grouped(raw["children"])
    queries = {oid: read_code((tree,)) for oid, tree in raw["views"]}
    policies, steps = _policies_and_steps(raw)
    triggers: dict[int, list[Trigger]] = defaultdict(list)
    for oid, function, kind in raw["triggers"]:
        events = frozenset(event for bit, event in _TRIGGER_EVENTS if kind & bit)
        triggers[oid].append(Trigger(function, events, bool(kind & _INSTEAD)))
    rules: dict[int, dict[Event, list[str | None]]] = defaultdict(lambda: defaultdict(list))
    for oid, event, action, condition in raw["rules"]:
        rules[oid][_RULE_EVENTS[event]] += [action, condition]
    return {
        oid: RelationFacts(
            name=QualifiedName(schema, name),
            kind=_KINDS.get(kind, "table"),
            owner=owner,
            secured=secured,
            forced=forced,
            checks_caller=checks_caller,
            children=tuple(children.get(oid, ())),
            query=queries.get(oid, NO_CODE),
            policies=policies.get(oid, NO_CODE),
            steps=steps.get(oid, NO_CODE),
            triggers=tuple(triggers.get(oid, ())),
            rules={event: read_code(trees) for event, trees in rules.get(oid, {}).items()},
            writes=declared_tags(comment, schema, "writes"),
        )
        for oid, schema, name, kind, owner, secured, forced, checks_caller, comment in raw[
            "relations"
        ]
    }


def _policies_and_steps(raw: Mapping[str, Any]) -> tuple[dict[int, Code], dict[int, Code]]:
    """What policies for reading depend on, and what runs at writes."""
    reading: dict[int, list[str | None]] = defaultdict(list)
    all_policies: dict[int, list[str | None]] = defaultdict(list)
    for oid, command, using, check in raw["policies"]:
        if command in "*r":
            reading[oid].append(using)
        all_policies[oid] += [using, check]
    steps = {oid: read_code(trees) for oid, trees in all_policies.items()}
    children = _grouped(raw["children"])
    for oid, functions in raw["steps"]:
        # A partition keeps to the expressions of the keys of those it is part of.
        unseen, seen = [oid], set()
        while unseen:
            relation = unseen.pop()
            if relation not in seen:
                seen.add(relation)
                unseen += children.get(relation, ())
                before = steps.get(relation, NO_CODE)
                steps[relation] = replace(before, functions=before.functions | {*functions})
    return {oid: read_code(trees) for oid, trees in reading.items()}, steps


def _cascades(
    rows: Iterable[Sequence[Any]],
) -> dict[tuple[int, Event], tuple[tuple[int, Event], ...]]:
    found: dict[tuple[int, Event], list[tuple[int, Event]]] = defaultdict(list)
    for referenced, referencing, on_delete, on_update in rows:
        if on_delete in _WRITES:
            event: Event = "delete" if on_delete == "c" else "update"
            found[referenced, "delete"].append((referencing, event))
        if on_update in _WRITES:
            found[referenced, "update"].append((referencing, "update"))
    return {key: tuple(written) for key, written in found.items()}


def _functions(raw: Mapping[str, Any], namesakes: Oids) -> dict[int, FunctionFacts]:
    aggregates = dict(raw["aggregates"])
    relations = _grouped((facts[2], facts[0]) for facts in raw["relations"])
    tags = {f"{schema}.{name}" for _, schema, name, *_ in raw["relations"]}
    found = {}
    for oid, schema, name, volatility, definer, owner, language, *more in raw["functions"]:
        comment, tree, defaults, source, extension = more
        if oid in aggregates:
            body: Code | None = Code(functions=frozenset(aggregates[oid]) - {0})
        elif tree is not None:
            body = read_code((tree,))
        elif source is not None and language in _UNDERSTOOD:
            body = read_body(source, namesakes.keys(), language)
        else:
            body = None
        steps, can_be_read = body, source is not None and language in _UNDERSTOOD
        if steps is None and can_be_read:
            steps = read_names(source, relations, namesakes)
        suspected = NO_CODE
        if body is None and source is not None:
            traits, words = hints(source)
            called = [namesakes.get(word, ()) for word in words]
            suspected = Code(functions=frozenset(chain.from_iterable(called)), traits=traits)
        found[oid] = FunctionFacts(
            name=QualifiedName(schema, name),
            volatility=_VOLATILITIES.get(volatility, "volatile"),
            definer=definer,
            owner=owner,
            reads=declared_tags(comment, schema, "reads", tags),
            writes=declared_tags(comment, schema, "writes", tags),
            body=body,
            steps=steps,
            defaults=read_code((defaults,)),
            # PostgreSQL lets only VOLATILE functions write.
            only_reads=volatility != "v"
            or (tree is None and can_be_read and not can_write(source)),
            extension=extension,
            language=language,
            hints=suspected,
        )
    return found


def _unsteady(rows: Iterable[Sequence[Any]]) -> Iterable[tuple[int, tuple[str, Trait | None]]]:
    for oid, name, volatility in rows:
        if volatility == "v":
            yield oid, (name, None)
        elif name in _TIMES:
            yield oid, (name, "time")
        elif _ROLES.match(name):
            yield oid, (name, "role")
        elif _STATES.match(name):
            yield oid, (name, None)


def _grouped(pairs: Iterable[Sequence[Any]]) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
