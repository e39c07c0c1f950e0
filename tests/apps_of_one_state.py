"""An app of one state, whose database is a function: for tests of the way of a request."""

from __future__ import annotations

import time
from functools import cached_property

from pool.model import Outcome, Run, Statement, Transaction
from proxy.auth.model import Identity
from proxy.cache.response_cache import ResponseCache
from proxy.cache.rights import Rights, Rows
from proxy.cache.setup import make_invalidation
from proxy.cache.versions import Versions
from proxy.errors import ApiError
from proxy.request.request_headers import RequestHeaders
from proxy.settings import Settings
from proxy.state.app_state import AppState


class AppOfOneState:
    """Answers under `state`, which never gets newer; `run` is the database."""

    def __init__(self, state: AppState, run: Run) -> None:
        self.state = state
        self._run = run

    @cached_property
    def cache(self) -> ResponseCache:
        versions = Versions()
        invalidation = make_invalidation(Settings(), versions, lambda: None)
        return ResponseCache(invalidation, Rights(self._ask, versions))

    async def _ask(self, statement: Statement) -> Rows:
        return (await self._run(Transaction(statement))).rows

    async def identify(self, headers: RequestHeaders) -> Identity:
        return self.state.authenticator.identify(headers.headers, time.time())

    async def run(self, transaction: Transaction) -> Outcome:
        return await self._run(transaction)

    async def newer(self, state: AppState, error: ApiError) -> None:
        return None
