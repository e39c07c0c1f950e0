"""The settings that preparing a query depends on, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.plan.planner import PlanRules
from proxy.request.api_request import RequestRules
from proxy.schema_cache.model import QualifiedName
from proxy.sql.inspect import InspectMode
from proxy.sql.session import Setting


@dataclass(frozen=True, slots=True)
class TransactionRules:
    """The settings that a request's transaction depends on.

    `rolls_back`: transactions end in ROLLBACK unless the caller asks to commit (db-tx-end).
    `legacy_gucs` adds the settings of PostgREST before version 12 (db-use-legacy-gucs).
    `statement_timeout`: seconds, for roles that have none of their own. `finishes_writes`: a
    write goes on when its caller has gone (db-cancel-writes off).
    """

    extra_search_path: tuple[str, ...] = ("public",)
    app_settings: tuple[Setting, ...] = ()
    pre_request: QualifiedName | None = None
    rolls_back: bool = False
    max_rows: int | None = None
    legacy_gucs: bool = False
    statement_timeout: float | None = None
    finishes_writes: bool = False


@dataclass(frozen=True, slots=True)
class QueryRules:
    """How requests are read and planned, and what their transactions are told."""

    request: RequestRules
    plan: PlanRules = field(default_factory=PlanRules)
    transaction: TransactionRules = field(default_factory=TransactionRules)
    openapi_mode: InspectMode = "follow-privileges"
