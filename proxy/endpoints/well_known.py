"""`GET /.well-known/edgerest` (RFC 8615): what a client may expect of this server, as JSON.

Public, and made of settings that every client can find out by trying; nothing of the database,
its roles or schemas, nor of where the server runs.
"""

from __future__ import annotations

import json

from edgerest import __version__
from proxy.endpoints.endpoint import Endpoint
from proxy.request.model import HttpRequest
from proxy.response.answer import POSTGREST_VERSION
from proxy.response.model import Response
from proxy.settings import Settings
from proxy.state.from_settings import gives_tokens
from proxy.steps.call import App, Call


def well_known(settings: Settings) -> Endpoint | None:
    """The endpoint; None without `url-well-known-enabled`."""
    if not settings.url_well_known_enabled:
        return None
    response = Response(
        200,
        (
            (b"content-type", b"application/json; charset=utf-8"),
            (b"cache-control", b"no-cache"),
        ),
        json.dumps(_document(settings)).encode(),
    )

    async def handle(app: App, http: HttpRequest, call: Call | None) -> Response:
        return response

    return Endpoint(b"/.well-known/edgerest", ("GET", "HEAD"), handle, public=True)


def _document(settings: Settings) -> dict[str, object]:
    return {
        "version": __version__,
        "postgrest": POSTGREST_VERSION,
        "features": {
            "aggregates": settings.db_aggregates_enabled,
            "consistency_tokens": gives_tokens(settings),
            "openapi": settings.openapi_mode != "disabled",
            "plan": settings.db_plan_enabled,
            "query_method": True,
        },
        "limits": {
            "max_url_bytes": settings.server_max_url,
            "max_header_bytes": settings.server_max_header,
            "max_body_bytes": settings.server_max_body,
            "max_rows": settings.db_max_rows,
            "request_timeout_seconds": settings.server_request_timeout or None,
        },
    }
