"""All that answering a request of an app depends on, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.auth.token_cache import Authenticator
from proxy.cache_rules.rules import ResponseCacheRules
from proxy.errors import Verbosity
from proxy.openapi.api import OpenApiOptions
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.rules import QueryRules
from proxy.schema_cache.model import SchemaCache


@dataclass(frozen=True, slots=True)
class AppState:
    """What requests that start now depend on; a reload makes a new one and swaps it whole.

    `queries` belong to the schema cache and the rules for requests. `request_timeout`: seconds
    that a request may take; callers may ask for less.
    """

    authenticator: Authenticator
    queries: PreparedQueries
    openapi: OpenApiOptions
    verbosity: Verbosity = "verbose"
    server_timing: bool = False
    request_timeout: float | None = None
    response_cache: ResponseCacheRules = field(default_factory=ResponseCacheRules)

    @property
    def schema(self) -> SchemaCache | None:
        """The schema cache; None until it was loaded for the first time."""
        return self.queries.schema

    @property
    def rules(self) -> QueryRules:
        return self.queries.rules
