"""The admin server: whether this process is alive and ready, and what goes on in it.

In: a `Health` and `Reports`. Out: an ASGI application (Quart) with the paths of
`ENDPOINTS`; as in PostgREST the method does not matter, answers without content have no
body, and anything else is 404. What PostgREST lacks is for this machine, or who has the
token (`proxy.admin.access`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from quart import Quart, abort, request
from quart import Response as QuartResponse

from proxy.admin.endpoints import View, add_view, guard

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_JSON: Final = "application/json; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"


class Health(Protocol):
    """What the admin server asks about the main one."""

    @property
    def live(self) -> bool:
        """The main server accepts connections."""

    @property
    def pending(self) -> bool:
        """No app has loaded its schema cache yet, or the databases are away."""

    @property
    def stopping(self) -> bool:
        """The server was told to stop, though it may still accept connections."""


def _no_metrics(_accept: str) -> tuple[bytes, str]:
    return b"", _TEXT


@dataclass(frozen=True, slots=True)
class AppReport:
    """What is told of one app: whether it can answer, and the two that `Reports` has too."""

    ready: bool
    schema_cache: bytes
    config: str


def _no_app(_name: str) -> AppReport | None:
    return None


@dataclass(frozen=True, slots=True)
class Reports:
    """What the admin server shows: the schema cache in JSON, empty while there is none; the
    settings in use without their secrets; the metrics, in the format that an Accept header
    prefers, and their content type; what of one app, None for a name that is no app's; and
    the view of what goes on in the apps, with what can be done to them."""

    schema_cache: Callable[[], bytes] = bytes
    config: Callable[[], str] = str
    metrics: Callable[[str], tuple[bytes, str]] = _no_metrics
    of_app: Callable[[str], AppReport | None] = _no_app
    view: View = field(default_factory=View)


Answer = Callable[[Health, Reports], QuartResponse]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path and what it is for."""

    path: str
    doc: str
    answer: Answer
    own: bool = False
    """Whether PostgREST has no such path."""


def _live(health: Health, _: Reports) -> QuartResponse:
    return _status(200 if health.live else 500)


def _ready(health: Health, reports: Reports) -> QuartResponse:
    report = _asked_for(reports)
    pending = health.pending if report is None else not report.ready
    if pending or health.stopping:
        return _status(503)
    return _status(200 if health.live else 500)


def _metrics(_: Health, reports: Reports) -> QuartResponse:
    body, content_type = reports.metrics(request.headers.get("accept", ""))
    return QuartResponse(body, content_type=content_type)


def _schema_cache(_: Health, reports: Reports) -> QuartResponse:
    report = _asked_for(reports)
    body = reports.schema_cache() if report is None else report.schema_cache
    return QuartResponse(body, content_type=_JSON)


def _config(_: Health, reports: Reports) -> QuartResponse:
    report = _asked_for(reports)
    text = reports.config() if report is None else report.config
    return QuartResponse(text, content_type=_TEXT)


def _asked_for(reports: Reports) -> AppReport | None:
    """The report on the app that `?app=` names; None without it. An unknown one is 404."""
    name = request.args.get("app")
    if name is None:
        return None
    report = reports.of_app(name)
    if report is None:
        abort(404)
    return report


ENDPOINTS: Final = (
    Endpoint("/live", "200 while the server accepts connections, else 500.", _live),
    Endpoint(
        "/ready",
        "200 when requests can be answered; 503 while the schema cache was not loaded or the"
        " database is away, and from the moment the server is told to stop; 500 while it"
        " starts. With several apps 200 when any of them can answer.",
        _ready,
    ),
    Endpoint("/metrics", "The metrics, for Prometheus.", _metrics),
    Endpoint("/schema_cache", "What is known of the database, as JSON.", _schema_cache),
    Endpoint(
        "/config",
        "The settings in use, those of the database included, as a configuration file."
        " Secrets, `db-uri` and the values of `app.settings` are shown as `***`.",
        _config,
        own=True,
    ),
)


VIEW_ENDPOINTS: Final = (
    ("/apps", "What goes on in each app, over all workers, as JSON; `/apps/NAME` for one."),
    ("/view", "A page that shows the same, live."),
    (
        "POST /apps/NAME/ACTION",
        "`pause`, `resume`, `drain` or `reconnect` an app; needs `admin-server-token`.",
    ),
    (
        "/types/LANGUAGE",
        "The types of tables and functions: `typescript` or `python`. See types.md.",
    ),
    ("POST /cache/purge", "Forget kept answers; needs the same. See cache-invalidation.md."),
)
"""What `proxy.admin.endpoints` adds."""


def admin_app(health: Health, reports: Reports) -> Quart:
    """The admin application."""
    app = Quart("edgerest-admin", static_folder=None)
    for endpoint in ENDPOINTS:
        app.add_url_rule(
            endpoint.path,
            endpoint.path,
            _view(endpoint.answer, health, reports),
            methods=_METHODS,
            provide_automatic_options=False,
        )

    add_view(app, reports.view)
    # A path that is added later is not among them unless somebody says so.
    as_in_postgrest = {endpoint.path for endpoint in ENDPOINTS if not endpoint.own}
    guard(app, reports.view.token, as_in_postgrest)

    @app.after_request
    async def keep_nothing(response: QuartResponse) -> QuartResponse:
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.errorhandler(404)
    @app.errorhandler(405)
    async def not_found(_: Exception) -> QuartResponse:
        return _status(404)

    return app


def _view(
    answer: Answer, health: Health, reports: Reports
) -> Callable[[], Awaitable[QuartResponse]]:
    async def view() -> QuartResponse:
        return answer(health, reports)

    return view


def _status(status: int) -> QuartResponse:
    response = QuartResponse("", status=status)
    del response.headers["content-type"]
    return response
