"""The admin view over HTTP: a document, a page that shows it, and actions.

In: what is asked for and done (`View`). Out: routes of the admin server. Who may look,
`proxy.admin.access` says; acting needs the bearer token that `admin-server-token` names,
even on this machine.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from quart import Quart, Response, request

from pool import PoolError
from proxy.admin.access import has_token, is_local
from proxy.cache.purge import PurgeError

Json = dict[str, Any]

DEFAULT_PATIENCE: Final = 10.0
LONGEST_PATIENCE: Final = 300.0
_BLOCK: Final = re.compile(r"<(script|style)>((?:[^<]|<(?!/?(?:script|style)>))*+)</\1>")


async def _no_document() -> Json:
    return {"workers": [], "apps": {}}


async def _no_action(_name: str, _action: str, _patience: float) -> Json | None:
    return None


async def _no_types(_name: str | None, _language: str) -> str | None:
    return None


async def _no_purge(_name: str | None, _body: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class View:
    """What is shown and done: the document; an action on an app within so many seconds, None
    when there is no such app; the names of the actions; the token that they need. `purge`
    makes an app (None: the only one) forget kept answers as a body says; False when there is
    no such app. It raises PurgeError, and PoolError when other servers could not be told.
    `types` is the module of an app's types in a language; None where there is none."""

    document: Callable[[], Awaitable[Json]] = _no_document
    act: Callable[[str, Any, float], Awaitable[Json | None]] = _no_action
    actions: tuple[str, ...] = ()
    token: Callable[[], str | None] = lambda: None
    purge: Callable[[str | None, bytes], Awaitable[bool]] = _no_purge
    types: Callable[[str | None, str], Awaitable[str | None]] = _no_types


def add_view(app: Quart, view: View) -> None:
    """Give `app` the routes of `view`."""
    html = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    policy = content_security_policy(html)

    @app.get("/apps", provide_automatic_options=False)
    async def apps() -> Response:
        return _json(await view.document())

    @app.get("/apps/<name>", provide_automatic_options=False)
    async def one_app(name: str) -> Response:
        found = (await view.document())["apps"].get(name)
        return _problem(404, f"There is no app {name}") if found is None else _json(found)

    @app.get("/view", provide_automatic_options=False)
    async def page() -> Response:
        response = Response(html, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.post("/apps/<name>/<action>", provide_automatic_options=False)
    async def act(name: str, action: str) -> Response:
        refusal = _refusal(view.token(), request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        if action not in view.actions:
            return _problem(404, f"An app can be told to {', '.join(view.actions)}")
        patience = _patience(request.args.get("timeout"))
        if patience is None:
            return _problem(400, f"timeout is a number of seconds up to {LONGEST_PATIENCE:g}")
        result = await view.act(name, action, patience)
        return _problem(404, f"There is no app {name}") if result is None else _json(result)

    @app.get("/types/<language>", provide_automatic_options=False)
    async def types(language: str) -> Response:
        try:
            text = await view.types(request.args.get("app"), language)
        except PoolError as error:
            return _problem(503, f"The database: {error}")
        if text is None:
            return _problem(404, "Ask for typescript or python, of one of the apps with ?app=")
        return Response(text, content_type="text/plain; charset=utf-8")

    _add_purge(app, view)


def _add_purge(app: Quart, view: View) -> None:
    @app.post("/cache/purge", provide_automatic_options=False)
    async def purge() -> Response:
        refusal = _refusal(view.token(), request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        name, body = request.args.get("app"), await request.get_data()
        assert isinstance(body, bytes)
        try:
            found = await view.purge(name, body)
        except PurgeError as error:
            return _problem(400, str(error))
        except PoolError as error:
            return _problem(503, f"Other servers could not be told: {error}")
        if not found:
            return _problem(404, "Name one of the apps with ?app=")
        response = Response("", 204)
        response.headers.pop("content-type", None)
        return response


def content_security_policy(html: str) -> str:
    """What the page may do: run its own script and style, and talk to where it is from."""
    hashes = {
        kind: " ".join(
            f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for found, text in _BLOCK.findall(html)
            if found == kind
        )
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']};"
        " connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def guard(app: Quart, token: Callable[[], str | None], open_paths: Collection[str]) -> None:
    """Have `app` answer nothing but `open_paths` to who is elsewhere and has no token."""

    @app.before_request
    async def refuse() -> Response | None:
        rule = request.url_rule
        headers = {name.lower(): value for name, value in request.headers.items()}
        if rule is None or rule.rule in open_paths:
            return None
        client = request.scope.get("client")
        peer = None if client is None else client[0]
        if is_local(peer, headers) or has_token(token(), headers.get("authorization", "")):
            return None
        return _problem(
            403,
            "This is answered on this machine only, or with the bearer token that"
            " admin-server-token names",
        )


def _refusal(token: str | None, authorization: str) -> Response | None:
    if not token:
        return _problem(403, "Set admin-server-token to act on apps")
    if has_token(token, authorization):
        return None
    response = _problem(401, "This needs the bearer token that admin-server-token names")
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _patience(text: str | None) -> float | None:
    if text is None:
        return DEFAULT_PATIENCE
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_PATIENCE else None


def _json(value: Json, status: int = 200) -> Response:
    body = json.dumps(value, ensure_ascii=False)
    response = Response(body, status, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _problem(status: int, message: str) -> Response:
    error = {"code": f"EDGE{status}", "message": message, "details": None, "hint": None}
    return _json(error, status)
