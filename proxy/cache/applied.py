"""What follows from an app's state for its cache: which policies are followed, and how.

In: an `AppState`. Out: `AppliedPolicies`, made once for it. Of its answers only the policies
of the paths that were asked for are remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.auth.model import Identity
from proxy.cache.headers import VaryNames, vary_names
from proxy.cache.key import Key, key_of, role_settings_digests
from proxy.cache.scope_check import safe_policies
from proxy.cache_rules.policy import Policies, Policy, make_policies
from proxy.errors import ApiError
from proxy.lru import LRU
from proxy.observability.record import Resource
from proxy.request.api_request import resource_of
from proxy.request.model import HttpRequest
from proxy.state.app_state import AppState

logger = logging.getLogger(__name__)

Found = tuple[Resource, Policy | None]
"""What a path is about, and its policy."""

_MOST_PATHS: Final = 1024
"""Paths whose policy is remembered; clients choose them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the answer to a read may be kept: under which key and policy, and for whom."""

    applied: AppliedPolicies
    key: Key
    policy: Policy
    identity: Identity
    resource: Resource


@dataclass(frozen=True, slots=True, eq=False)
class AppliedPolicies:
    """What follows from `state`. `role_settings`: what the settings of a role, where it has
    any, are known by."""

    state: AppState
    policies: Policies
    vary: VaryNames
    role_settings: Mapping[str, bytes]
    _found: LRU[tuple[bytes, bytes | None, str], Found] = field(
        default_factory=lambda: LRU(_MOST_PATHS, 1024 * _MOST_PATHS)
    )

    def place(
        self, http: HttpRequest, caching: Mapping[bytes, bytes], identity: Identity
    ) -> Place | None:
        """Where the answer to a GET, HEAD or QUERY may be kept; None when it may not."""
        if not self.policies:
            return None
        resource, policy = self.policy_for(http, caching, identity.role)
        if policy is None:
            return None
        role_settings = self.role_settings.get(identity.role, b"")
        key = key_of(http, caching, policy.scope, identity, role_settings)
        return Place(self, key, policy, identity, resource)

    def policy_for(self, http: HttpRequest, caching: Mapping[bytes, bytes], role: str) -> Found:
        """What `http` is about, and the policy for `role`; None: keep nothing."""
        place = (http.path, caching.get(b"accept-profile"), role)
        known = self._found.get(place)
        if known is not None:
            return known
        try:
            resource, name = resource_of(http, self.state.rules.request)
        except ApiError:
            # Reading the request says what is wrong with it.
            return "other", None
        found: Found = ("root", None)
        if resource == "relation":
            found = "table", self.policies.find("tables", name, role)
        elif resource == "function":
            found = "rpc", self.policies.find("functions", name, role)
        self._found.put(place, found, len(http.path))
        return found


def apply_policies(state: AppState) -> AppliedPolicies:
    """What is kept under `state`, and for whom. Logs policies that can't be followed."""
    policies = Policies()
    schema, rules = state.schema, state.rules
    if schema is not None:
        policies = make_policies(state.response_cache.rows, schema, rules.request.schemas)
        policies = safe_policies(policies, schema)
        for fault in policies.faults:
            logger.error("%s", fault)
    blocked = rules.transaction.pre_request is not None
    if policies and blocked and not state.response_cache.pre_request_is_safe:
        logger.warning(
            "Nothing is cached, for db-pre-request is set and may see and change every"
            " request; set cache-pre-request-is-safe if it does neither"
        )
        policies = Policies()
    digests = {} if schema is None else role_settings_digests(schema.role_settings)
    return AppliedPolicies(state, policies, vary_names(len(rules.request.schemas)), digests)


def serves_alike(one: AppState, other: AppState) -> bool:
    """Whether answers made under one state are good under the other."""
    return (
        one.schema is other.schema
        and one.response_cache == other.response_cache
        and one.rules == other.rules
    )
