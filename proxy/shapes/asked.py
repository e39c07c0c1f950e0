"""What a request asks of the database, whoever asks it: a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pool.model import IsolationLevel, Statement, Transaction
from proxy.plan.planner import Planned
from proxy.request.model import ApiRequest
from proxy.response.answer import ReadForm
from proxy.sql.session import Setting


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read, planned and put into SQL.

    `statement` is None where no statement answers. `rest` are the fields of the transaction
    but `statement`, `after`, `settings` and `isolation`; they depend on no value, and
    `isolation` here on no role. `canonical` is the request's `query.canonical`, `form` what
    the answer to a table read is put into.

    Of a request that was recognised by its shape, `request` and `planned` have marks in
    place of values, and no headers but those that shape the answer; `shape` then is the
    same object for all requests of the shape.
    """

    request: ApiRequest
    planned: Planned
    statement: Statement | None
    after: Statement | None
    isolation: IsolationLevel | None
    rest: Mapping[str, Any]
    canonical: str
    form: ReadForm | None = None
    shape: object | None = None

    def transaction(
        self, settings: tuple[Setting, ...], isolation: IsolationLevel | None
    ) -> Transaction:
        """The transaction that answers it; `isolation` is the role's own."""
        assert self.statement is not None
        return Transaction(
            statement=self.statement,
            after=self.after,
            settings=settings,
            isolation=self.isolation or isolation,
            **self.rest,
        )
