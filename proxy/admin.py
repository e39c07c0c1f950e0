"""The admin server: whether this process is alive and ready, for orchestrators.

In: a `Health`. Out: an ASGI application (Quart) with `/live`, `/ready` and
`/schema_cache`, as PostgREST's admin server has them; anything else is 404.
"""

from __future__ import annotations

from typing import Protocol

from quart import Quart
from quart import Response as QuartResponse


class Health(Protocol):
    """What the admin server asks about the main one."""

    @property
    def live(self) -> bool:
        """The main server accepts connections."""

    @property
    def pending(self) -> bool:
        """The schema cache is not loaded yet, or the database is away."""

    def schema_cache(self) -> bytes:
        """The schema cache as JSON; empty while there is none."""


def admin_app(health: Health) -> Quart:
    """The admin application for `health`."""
    app = Quart("edgerest-admin")

    @app.get("/live")
    async def live() -> QuartResponse:
        return _status(200 if health.live else 500)

    @app.get("/ready")
    async def ready() -> QuartResponse:
        if health.pending:
            return _status(503)
        return _status(200 if health.live else 500)

    @app.get("/schema_cache")
    async def schema_cache() -> QuartResponse:
        return QuartResponse(
            health.schema_cache(), content_type="application/json; charset=utf-8"
        )

    @app.errorhandler(404)
    async def not_found(_: Exception) -> QuartResponse:
        return _status(404)

    return app


def _status(status: int) -> QuartResponse:
    return QuartResponse("", status=status)
