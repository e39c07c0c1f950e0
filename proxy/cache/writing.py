"""Everything that is no read: what is done around the transaction of a write.

In: a request, and the way to the database. Out: the response as the pipeline gives it. The
conditions of the request (If-Match) are tried inside the transaction; after its commit
and before the writer is answered what was kept of the tables it touched no longer holds; and
where other servers may not know of that yet the answer has a token.
"""

from __future__ import annotations

from dataclasses import replace

from pool.model import Outcome, Transaction
from proxy import consistency, pipeline
from proxy.auth.model import Identity
from proxy.cache import delivery
from proxy.cache.effects import write_tags
from proxy.cache.guard import guard_transaction, run_guarded
from proxy.cache.invalidation import Invalidation
from proxy.cache.key import Asked
from proxy.cache.prepared import Prepared
from proxy.cache.tokens import Tokens
from proxy.cache.validators import read_conditions
from proxy.pipeline import Renew, Run
from proxy.plan.model import FunctionCall, TableWrite
from proxy.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response


class Writing:
    """Answers the writes of one app. `invalidation` is told of them, `tokens` of the tokens
    that are given for them."""

    def __init__(self, invalidation: Invalidation, tokens: Tokens) -> None:
        self._invalidation = invalidation
        self._tokens = tokens

    async def answer(
        self,
        setup: Prepared,
        run: Run,
        http: HttpRequest,
        asked: Asked,
        renew: Renew | None,
        record: Record,
        identity: Identity | None,
    ) -> Response:
        """The response to `http`."""
        state, conditions, token = setup.state, read_conditions(asked), b""

        async def writing(transaction: Transaction) -> Outcome:
            nonlocal token
            plan, schema_cache = record.plan, record.schema_cache
            through = run
            if (
                conditions is not None
                and schema_cache is not None
                and isinstance(plan, TableWrite | FunctionCall)
            ):
                transaction = guard_transaction(
                    transaction,
                    http,
                    plan,
                    conditions,
                    schema_cache,
                    state.request_rules,
                    state.plan_rules,
                    state.transaction_rules.max_rows,
                )
                through = _guarded(run)
            if transaction.access == "read only":
                return await through(transaction)
            tags = None
            if plan is not None and schema_cache is not None:
                pre_request = state.transaction_rules.pre_request
                tags = write_tags(plan, schema_cache, pre_request)
            outcome = await self._invalidation.write(through, transaction, tags)
            if outcome.kept and setup.policies and self._invalidation.announcements.speaks:
                token = self._token_of(outcome)
            return outcome

        response = await pipeline.answer(state, writing, http, renew, record, identity)
        if token:
            response = replace(
                response, headers=(*response.headers, (consistency.HEADER, token))
            )
        return await delivery.compressed(response, asked, state.cache_rules.compress_from)

    def _token_of(self, outcome: Outcome) -> bytes:
        """A new token for a write that other servers need not have heard of; none if its
        position in the log is one."""
        if outcome.position is None:
            return self._tokens.new()
        self._tokens.known_since(outcome.position.encode())
        return b""


def _guarded(run: Run) -> Run:
    async def guarded(transaction: Transaction) -> Outcome:
        return await run_guarded(run, transaction)

    return guarded
