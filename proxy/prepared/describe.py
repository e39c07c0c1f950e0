"""The description of an API, as the answer to GET and HEAD on the root. Pure."""

from __future__ import annotations

from dataclasses import replace

from pool.model import Outcome
from proxy.openapi.api import OpenApiOptions
from proxy.openapi.openapi31 import openapi31_document
from proxy.openapi.swagger import openapi_document
from proxy.plan.model import Inspect
from proxy.prepared.query import PreparedQuery
from proxy.request.media_types import OPENAPI_31
from proxy.response.answer import inspect_response
from proxy.response.model import Response
from proxy.sql.inspect import InspectMode, read_inspection


def api_description(
    prepared: PreparedQuery,
    plan: Inspect,
    mode: InspectMode,
    options: OpenApiOptions,
    outcome: Outcome,
) -> Response:
    """What the database said of the schema, as OpenAPI."""
    request = prepared.request
    describe = openapi31_document if plan.media_type == OPENAPI_31 else openapi_document
    document = describe(
        prepared.schema_cache,
        plan.schema,
        read_inspection(outcome.rows),
        mode,
        replace(options, path_prefix=request.path_prefix),
    )
    return inspect_response(plan.media_type, request, document, head=plan.head)
