"""The transaction that answers a request."""

from __future__ import annotations

from dataclasses import replace

from pool.model import Transaction
from proxy.auth.model import Identity
from proxy.plan.model import FunctionCall
from proxy.prepared.queries import PreparedQueries
from proxy.prepared.query import BoundQuery, PreparedQuery
from proxy.request.request_headers import RequestHeaders
from proxy.sql.session import Setting, trace_settings, transaction_settings


def transaction_of(
    query: BoundQuery,
    queries: PreparedQueries,
    identity: Identity,
    headers: RequestHeaders,
    told_method: str | None = None,
    *,
    traceparent: str | None = None,
    deadline: float | None = None,
    background: bool = False,
    on_primary: bool = False,
    after_position: str | None = None,
) -> Transaction:
    """The transaction of `query`, asked by `identity` with these headers. SQL is told the
    request's own method, or `told_method`."""
    prepared, statement = query.prepared, query.statement
    assert statement is not None
    method = told_method or prepared.request.method
    settings = _settings(prepared, queries, identity, headers, method)
    if traceparent is not None:
        settings = (*settings, *trace_settings(traceparent))
    role_isolation = prepared.schema_cache.role_isolation
    return Transaction(
        statement=statement,
        access=prepared.access,
        isolation=prepared.isolation or role_isolation.get(identity.role),
        settings=settings,
        before=prepared.before,
        after=query.after,
        keep=prepared.keep,
        rollback=prepared.rollback,
        after_position=after_position,
        deadline=deadline,
        finish_when_abandoned=prepared.finish_when_abandoned,
        background=background,
        on_primary=on_primary,
    )


def _settings(
    prepared: PreparedQuery,
    queries: PreparedQueries,
    identity: Identity,
    headers: RequestHeaders,
    method: str,
) -> tuple[Setting, ...]:
    """What the transaction is told first; kept for requests that come again."""
    kind = (prepared, method)
    if prepared.recurs:
        known = headers.settings(kind, identity)
        if known is not None:
            return known
    plan, rules = prepared.planned.plan, queries.rules.transaction
    settings = transaction_settings(
        replace(
            prepared.request, method=method, headers=headers.pairs, cookies=headers.cookies
        ),
        identity,
        prepared.schema_cache,
        extra_search_path=rules.extra_search_path,
        app_settings=rules.app_settings,
        function=plan.call.function if isinstance(plan, FunctionCall) else None,
        legacy=rules.legacy_gucs,
        statement_timeout=rules.statement_timeout,
    )
    if prepared.recurs:
        headers.keep_settings(kind, identity, settings)
    return settings
