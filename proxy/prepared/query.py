"""What a request asks of the database, whoever asks it: values.

The words are those of PostgreSQL's protocol: a query is prepared without its values and bound
with them. A `PreparedQuery` serves all requests of one fingerprint, a `BoundQuery` is one of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from pool.model import AccessMode, Check, IsolationLevel, Statement, keep_always
from proxy.lineage.dependencies import Dependencies, dependencies
from proxy.lineage.effects import write_tags
from proxy.plan.planner import Planned
from proxy.request.model import ApiRequest
from proxy.response.answer import ReadForm
from proxy.schema_cache.model import QualifiedName, SchemaCache


@dataclass(eq=False)
class PreparedQuery:
    """A request, read, planned and put into SQL, without its values. Equal to itself alone.

    `schema_cache` is what it was planned with. `before`, `access`, `keep`, `rollback` and
    `finish_when_abandoned` are those of its transaction (`pool.model.Transaction`);
    `isolation` is the called function's own. `form` is what the answer to a table read is
    put into. `pre_request` runs before it.

    One that serves many requests (`recurs`) was made of marks in place of values, and knows
    no headers but those that shape the answer.
    """

    request: ApiRequest
    planned: Planned
    schema_cache: SchemaCache
    before: Statement | None = None
    access: AccessMode = "read only"
    isolation: IsolationLevel | None = None
    keep: Check = keep_always
    rollback: bool = False
    finish_when_abandoned: bool = False
    form: ReadForm | None = None
    pre_request: QualifiedName | None = None
    recurs: bool = field(default=False, kw_only=True)

    @cached_property
    def reads(self) -> Dependencies:
        """What its answer depends on."""
        return dependencies(self.planned.plan, self.schema_cache)

    @cached_property
    def writes(self) -> frozenset[str] | None:
        """The tags of what it may write; None is everything."""
        return write_tags(self.planned.plan, self.schema_cache, self.pre_request)


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """A prepared query with the values of one request.

    `statement` is None where no statement answers; `after` counts. `canonical` is the
    request's query string, sorted, for Content-Location.
    """

    prepared: PreparedQuery
    statement: Statement | None
    after: Statement | None
    canonical: str
