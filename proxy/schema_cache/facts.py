"""What a response cache must know of a database: what reads what, and what writes what.

In: the row that `proxy.schema_cache.fact_queries` answers with. Out: `Facts`, a value that
goes with the schema cache of the same moment; `proxy.cache.dependencies` and
`proxy.cache.effects` draw the conclusions. Everything is keyed by oid. Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from proxy.schema_cache.catalog_json import read_catalog_json
from proxy.schema_cache.fact_queries import FACTS
from proxy.schema_cache.function_bodies import read_body
from proxy.schema_cache.model import QualifiedName, Volatility
from proxy.schema_cache.node_trees import NO_CODE, Code, Trait, read_code

Event = Literal["insert", "update", "delete"]
RelationKind = Literal["table", "view", "materialized view", "foreign table"]

_KINDS: Final[Mapping[str, RelationKind]] = {
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_VOLATILITIES: Final[Mapping[str, Volatility]] = {"i": "immutable", "s": "stable"}
_RULE_EVENTS: Final[Mapping[str, Event]] = {"2": "update", "3": "insert", "4": "delete"}
_POLICY_EVENTS: Final[Mapping[str, tuple[Event, ...]]] = {
    "*": ("insert", "update", "delete"),
    "a": ("insert",),
    "w": ("update",),
    "d": ("delete",),
}
# Bits of pg_trigger.tgtype (pg_trigger.h).
_TRIGGER_EVENTS: Final[tuple[tuple[int, Event], ...]] = (
    (4, "insert"),
    (8, "delete"),
    (16, "update"),
)
_INSTEAD: Final = 64
_WRITES: Final = "cnd"

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
    `children`: partitions and inheriting tables. `query` is a view's. `policies`: what those
    for reading depend on; `checks`: what runs at writes besides triggers, by event.
    `rules`: events for which a rewrite rule does something else or more.
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
    checks: Mapping[Event, Code] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    rules: frozenset[Event] = frozenset()

    @property
    def tag(self) -> str:
        return tag_of(self.name)


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """A function outside PostgreSQL's own schemas.

    `reads`, `writes`: the tables that its comment names, None when it says nothing of them.
    `body`: what it depends on, None when that is not known; `defaults`: what the defaults of
    its arguments do. `takes_row`: it may be called as a field of a table.
    """

    name: QualifiedName
    volatility: Volatility
    definer: bool
    owner: int
    reads: frozenset[str] | None
    writes: frozenset[str] | None
    body: Code | None
    defaults: Code
    takes_row: bool
    of_extension: bool
    language: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known. `cascades`: by referenced table, the tables that a foreign key
    makes a delete or an update of a key write to, and how: (table, its event).
    `unsteady`: PostgreSQL's own functions whose result changes by itself: what it depends on,
    or None when nothing made of it should be kept. `free_roles` pass row security.
    """

    relations: Mapping[int, RelationFacts]
    functions: Mapping[int, FunctionFacts]
    cascades: Mapping[tuple[int, Event], tuple[tuple[int, Event], ...]]
    unsteady: Mapping[int, tuple[str, Trait | None]]
    free_roles: frozenset[int]
    casts: Mapping[str, int]
    by_name: Mapping[QualifiedName, int]
    functions_by_name: Mapping[QualifiedName, tuple[int, ...]]
    row_functions: Mapping[str, tuple[int, ...]]
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)
    """What was concluded already, by whoever concludes; never more than there are relations
    and functions."""


def tag_of(name: QualifiedName) -> str:
    """The tag of a relation: `schema.name`, as written in comments and notifications."""
    return f"{name.schema}.{name.name}"


def declared_tags(
    comment: str | None, schema: str, directive: Literal["reads", "writes"]
) -> frozenset[str] | None:
    """What the lines `@cache reads=a,b.c writes=` of a function's comment say of one of the
    two; a name without a schema is of `schema`. None when they say nothing of it."""
    found: set[str] | None = None
    for line in _LINE.findall(comment or ""):
        for word in line.split():
            name, equals, value = word.partition("=")
            if name == directive and equals:
                names = [part for part in value.split(",") if part]
                found = (found or set()) | {
                    part if "." in part else f"{schema}.{part}" for part in names
                }
    return None if found is None else frozenset(found)


def read_facts(row: Sequence[bytes | str | None]) -> Facts:
    """The facts of `row`, whose values belong to `FACTS`, one by one."""
    raw = {
        name: read_catalog_json(text) if text is not None else []
        for name, text in zip(FACTS, row, strict=True)
    }
    relations = _relations(raw)
    functions = _functions(raw)
    names: dict[QualifiedName, list[int]] = defaultdict(list)
    row_functions: dict[str, list[int]] = defaultdict(list)
    for oid, function in functions.items():
        names[function.name].append(oid)
        if function.takes_row:
            row_functions[function.name.name].append(oid)
    return Facts(
        relations=relations,
        functions=functions,
        cascades=_cascades(raw["cascades"]),
        unsteady=dict(_unsteady(raw["builtins"])),
        free_roles=frozenset(raw["free_roles"]),
        casts={name: oid for oid, name in raw["casts"]},
        by_name={facts.name: oid for oid, facts in relations.items()},
        functions_by_name={name: tuple(oids) for name, oids in names.items()},
        row_functions={name: tuple(oids) for name, oids in row_functions.items()},
    )


def _relations(raw: Mapping[str, Any]) -> dict[int, RelationFacts]:
    children = _grouped(raw["children"])
    queries = {oid: read_code((tree,)) for oid, tree in raw["views"]}
    policies, checks = _policies(raw)
    triggers: dict[int, list[Trigger]] = defaultdict(list)
    for oid, function, kind in raw["triggers"]:
        events = frozenset(event for bit, event in _TRIGGER_EVENTS if kind & bit)
        triggers[oid].append(Trigger(function, events, bool(kind & _INSTEAD)))
    rules: dict[int, set[Event]] = defaultdict(set)
    for oid, event in raw["rules"]:
        rules[oid].add(_RULE_EVENTS[event])
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
            checks=checks.get(oid, {}),
            triggers=tuple(triggers.get(oid, ())),
            rules=frozenset(rules.get(oid, ())),
        )
        for oid, schema, name, kind, owner, secured, forced, checks_caller in raw["relations"]
    }


def _policies(raw: Mapping[str, Any]) -> tuple[dict[int, Code], dict[int, dict[Event, Code]]]:
    """What policies for reading depend on, and what runs at writes: their checks (and those
    of the rows to be written), defaults and constraints."""
    reading: dict[int, list[str | None]] = defaultdict(list)
    writing: dict[tuple[int, Event], list[str | None]] = defaultdict(list)
    for oid, command, using, check in raw["policies"]:
        if command in "*r":
            reading[oid].append(using)
        for event in _POLICY_EVENTS.get(command, ()):
            writing[oid, event] += [using, check]
    checks: dict[int, dict[Event, Code]] = defaultdict(dict)
    for (oid, event), trees in writing.items():
        checks[oid][event] = read_code(trees)
    for oid, functions in raw["defaults"]:
        for event in _RULE_EVENTS.values():
            before = checks[oid].get(event, NO_CODE)
            called = before.functions | frozenset(functions)
            checks[oid][event] = Code(before.relations, called, before.traits, before.odd)
    return {oid: read_code(trees) for oid, trees in reading.items()}, checks


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


def _functions(raw: Mapping[str, Any]) -> dict[int, FunctionFacts]:
    aggregates = dict(raw["aggregates"])
    user_functions = {facts[2] for facts in raw["functions"]}
    found = {}
    for oid, schema, name, volatility, definer, owner, language, *more in raw["functions"]:
        comment, tree, defaults, source, takes_row, of_extension = more
        if oid in aggregates:
            body: Code | None = Code(functions=frozenset(aggregates[oid]) - {0})
        elif tree is not None:
            body = read_code((tree,))
        elif source is not None:
            body = read_body(source, user_functions)
        else:
            body = None
        found[oid] = FunctionFacts(
            name=QualifiedName(schema, name),
            volatility=_VOLATILITIES.get(volatility, "volatile"),
            definer=definer,
            owner=owner,
            reads=declared_tags(comment, schema, "reads"),
            writes=declared_tags(comment, schema, "writes"),
            body=body,
            defaults=read_code((defaults,)),
            takes_row=takes_row,
            of_extension=of_extension,
            language=language,
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


def _grouped(pairs: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found
