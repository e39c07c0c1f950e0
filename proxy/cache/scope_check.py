"""Whether answers may be shared as widely as a policy says.

In: policies, and what the database says that answers depend on. Out: the policies that hold,
and a sentence for each that does not. Asked when policies are made, of tables and views, and
again of each answer before it is kept, when all that its query reads is known. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from proxy.cache_rules.policy import Kind, Policies, Policy, Scope
from proxy.lineage.dependencies import (
    dependencies,
    function_dependencies,
    relation_dependencies,
)
from proxy.plan.model import FunctionCall, ReadPlan, TableRead
from proxy.schema_cache.model import QualifiedName, Relationship, SchemaCache
from proxy.schema_cache.node_trees import Trait

_REASONS: Final = (
    ("request", "it reads headers, cookies or settings of the request", "it can't be cached"),
    ("claims", "it, or its row security, reads the token's claims", "write scope=claims"),
    ("role", "its row security depends on the role", "write scope=role or scope=claims"),
)


def covers(scope: Scope, traits: frozenset[Trait]) -> bool:
    """Whether answers with these traits are the same for all who share them under `scope`.

    What reads headers, cookies or settings of the request is nobody's to keep: nothing says
    which of them it reads. What may read any claim is kept for one text of the claims alone
    (`is_of_one_token`). The time of day is for the policy's times to bound.
    """
    if "request" in traits:
        return False
    if scope == "public":
        return not traits & {"claims", "role", "token"}
    return scope == "claims" or not traits & {"claims", "token"}


def is_of_one_token(traits: frozenset[Trait]) -> bool:
    """Whether an answer with these traits may differ between two tokens of one identity."""
    return "token" in traits


def embeds_what_is_public(
    plan: TableRead | FunctionCall, cache: SchemaCache, policies: Policies, role: str
) -> bool:
    """Whether all that a public answer embeds is public itself: grants and policies of the
    table or function that was asked for say nothing of others in the answer."""
    if cache.facts is None:
        return False
    tags = dependencies(plan, cache).tags
    if isinstance(plan, TableRead):
        own = relation_dependencies(cache.facts, plan.read.source).tags
    else:
        function = plan.call.function
        own = function_dependencies(cache.facts, function.schema, function.name).tags
    public = set(own)
    for name in _embedded(plan.read):
        policy = policies.find("tables", name, role)
        if policy is not None and policy.scope == "public":
            public |= relation_dependencies(cache.facts, name).tags
    return tags <= public


def _embedded(node: ReadPlan) -> Iterator[QualifiedName]:
    for embed in node.embeds:
        yield embed.node.source
        relationship = embed.relationship
        if isinstance(relationship, Relationship) and relationship.junction is not None:
            yield relationship.junction.table
        yield from _embedded(embed.node)


def safe_policies(policies: Policies, cache: SchemaCache) -> Policies:
    """`policies` without those that would mix up identities, which are told as faults."""
    faults = list(policies.faults)
    objects = {
        place: {
            role: policy
            for role, policy in by_role.items()
            if _is_safe(place, policy, cache, faults)
        }
        for place, by_role in policies.objects.items()
    }
    return replace(policies, objects=objects, faults=tuple(dict.fromkeys(faults)))


def _is_safe(
    place: tuple[Kind, QualifiedName], policy: Policy, cache: SchemaCache, faults: list[str]
) -> bool:
    kind, name = place
    if kind == "functions" or cache.facts is None or name not in cache.tables:
        return True
    traits = relation_dependencies(cache.facts, name).traits
    if covers(policy.scope, traits):
        return True
    for trait, reason, remedy in _REASONS:
        if trait in traits:
            faults.append(
                f"The cache policy of {name.schema}.{name.name} with scope={policy.scope} is"
                f" refused: {reason}; {remedy}"
            )
            break
    return False
