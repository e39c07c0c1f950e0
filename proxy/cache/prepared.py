"""What the response cache goes by as long as an app's state is the same.

In: an `AppState`. Out: `Prepared`: the policies that can be followed, which of them a path,
profile and role fall under, and what answers vary by.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from proxy.cache.headers import VaryNames, vary_names
from proxy.cache.key import Asked, manners_of
from proxy.cache.policy import Policies, Policy, make_policies
from proxy.cache.safety import safe_policies
from proxy.errors import ApiError
from proxy.pipeline import AppState
from proxy.record import Resource
from proxy.request.api_request import resource_of
from proxy.request.model import HttpRequest

logger = logging.getLogger(__name__)

Found = tuple[Resource, Policy | None]
"""What a path is about, and its policy."""

_MOST_PATHS: Final = 1024
"""Paths whose policy is remembered; clients choose them."""


@dataclass(slots=True)
class Prepared:
    """What follows from `state`. `manners`: what the settings of a role, where it has any, are
    known by."""

    state: AppState
    policies: Policies
    vary: VaryNames
    manners: Mapping[str, bytes]
    _found: dict[tuple[bytes, bytes | None, str], Found] = field(default_factory=dict)

    def policy_for(self, http: HttpRequest, asked: Asked, role: str) -> Found:
        """What `http` is about, and the policy for `role`; None: keep nothing."""
        place = (http.path, asked.get(b"accept-profile"), role)
        known = self._found.get(place)
        if known is not None:
            return known
        try:
            resource, name = resource_of(http, self.state.request_rules)
        except ApiError:
            # The pipeline says what is wrong with it.
            return "other", None
        found: Found = ("root", None)
        if resource == "relation":
            found = "table", self.policies.find("tables", name, role)
        elif resource == "function":
            found = "rpc", self.policies.find("functions", name, role)
        if len(self._found) >= _MOST_PATHS:
            self._found.clear()
        self._found[place] = found
        return found


def prepare(state: AppState) -> Prepared:
    """What is kept under `state`, and for whom. Logs policies that can't be followed."""
    policies = Policies()
    rules = state.request_rules
    if state.cache is not None:
        policies = make_policies(state.cache_rules.rows, state.cache, rules.schemas)
        policies = safe_policies(policies, state.cache)
        for fault in policies.faults:
            logger.error("%s", fault)
    blocked = state.transaction_rules.pre_request is not None
    if policies and blocked and not state.cache_rules.pre_request_is_safe:
        logger.warning(
            "Nothing is cached, for db-pre-request is set and may see and change every"
            " request; set cache-pre-request-is-safe if it does neither"
        )
        policies = Policies()
    manners = {} if state.cache is None else manners_of(state.cache.role_settings)
    return Prepared(state, policies, vary_names(len(rules.schemas)), manners)


def serves_alike(one: AppState, other: AppState) -> bool:
    """Whether answers made under one state are good under the other."""
    return (
        one.cache is other.cache
        and one.cache_rules == other.cache_rules
        and one.request_rules == other.request_rules
        and one.plan_rules == other.plan_rules
        and one.transaction_rules == other.transaction_rules
    )
