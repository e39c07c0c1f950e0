"""The docs page: Swagger UI on the API's own description (openapi-docs-path).

In: a `DocsPage`, asked for at each request, so that a reload applies. Out: an ASGI
application (Quart) for the paths that the page covers. Swagger UI comes from the package
flask-swagger-ui, of which nothing but the files is used; what is ours is in `static`.
Everything is served from here: the page works without the internet, and its
Content-Security-Policy lets it load nothing from elsewhere and talk to nothing but the API.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final

from quart import Quart, Response, redirect, render_template, request, send_from_directory
from werkzeug import Response as PlainResponse

from edgerest import __version__
from proxy.docs_page.model import DocsPage

_PACKAGE: Final = "flask_swagger_ui"
_BUNDLE: Final = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"})
_OURS: Final = frozenset({"page.js", "page.css"})
_CACHED: Final = 86_400
"""Seconds that a browser keeps a file; its address changes with its version."""


def content_security_policy(page: DocsPage) -> str:
    """What the page may load and where it may send requests."""
    api = "'self'" if page.api_origin is None else f"'self' {page.api_origin}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            # Swagger UI's icons are in its style sheet, as data.
            "img-src 'self' data:",
            f"connect-src {api}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def docs_app(current: Callable[[], DocsPage | None]) -> Quart:
    """The application that serves the page that `current` tells."""
    app = Quart("proxy.docs_page", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = 1024
    bundle = Path(str(files(_PACKAGE))) / "dist"
    ours = Path(__file__).parent / "static"
    # Whoever installs a newer bundle or a newer page gets it from new addresses.
    release = f"{version(_PACKAGE)}-{__version__}"

    @app.get("/<path:path>")
    async def serve(path: str) -> Response | PlainResponse:
        page = current()
        if page is None or not page.covers(f"/{path}"):
            return Response("", 404)
        name = f"/{path}"[len(page.path) :]
        if name == "":
            # Relative, for what a proxy in front may have taken off the path.
            return redirect(f"{page.path.rpartition('/')[2]}/")
        if name == "/":
            html = await render_template(
                "index.html",
                root="../" * page.path.count("/"),
                schemas=page.schemas,
                release=release,
            )
            return Response(html, content_type="text/html; charset=utf-8")
        file = name.removeprefix("/")
        if file in _BUNDLE:
            return await send_from_directory(bundle, file, cache_timeout=_CACHED)
        if file in _OURS:
            return await send_from_directory(ours, file, cache_timeout=_CACHED)
        return Response("", 404)

    @app.after_request
    async def protect(response: Response) -> Response:
        page = current()
        if page is not None:
            response.headers["Content-Security-Policy"] = content_security_policy(page)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        # What is not there today may be there tomorrow, whatever address it was asked at.
        if "release" not in request.args or response.status_code not in (200, 304):
            response.headers["Cache-Control"] = "no-cache"
        return response

    return app
