"""What the admin server shows of the apps: made when it is asked for, of what is so then."""

from __future__ import annotations

from collections.abc import Callable

from pool import PoolError
from proxy.admin.control import ACTIONS, Control
from proxy.admin.endpoints import View
from proxy.admin.server import AppReport, Reports
from proxy.app.registry import Apps, Served
from proxy.client_types.modules import LANGUAGES, module_of
from proxy.schema_cache.dump import schema_cache_json
from proxy.settings.dump import dump_apps, dump_settings
from proxy.settings.tables import NamedApp


def reports_on(
    apps: Apps, metrics: Callable[[str], tuple[bytes, str]], control: Control
) -> Reports:
    """The reports on `apps`; `metrics` makes the page of /metrics."""
    return Reports(
        schema_cache=lambda: _schema_caches(apps),
        config=lambda: _config(apps),
        metrics=metrics,
        of_app=lambda name: _app_report(apps, name),
        view=View(
            document=control.document,
            act=control.act,
            actions=ACTIONS,
            token=lambda: apps.settings.admin_server_token,
            purge=lambda name, body: _purge(apps, name, body),
            types=lambda name, language: _types(apps, name, language),
        ),
    )


async def _purge(apps: Apps, name: str | None, body: bytes) -> bool:
    # Workers share what is known to be written.
    served = _served(apps, name)
    if served is None:
        return False
    await served.app.purge(body)
    return True


async def _types(apps: Apps, name: str | None, language: str) -> str | None:
    served = _served(apps, name)
    if served is None or language not in LANGUAGES:
        return None
    app, schema = served.app, served.app.state.schema
    if schema is None:
        raise PoolError("the schema cache was not loaded yet")
    return await module_of(app.run, schema, app.settings.db_schemas, language)


def _served(apps: Apps, name: str | None) -> Served | None:
    """The app of that name, or the only one."""
    if name is not None:
        return apps.served.get(name)
    return next(iter(apps.served.values())) if len(apps.served) == 1 else None


def _app_report(apps: Apps, name: str) -> AppReport | None:
    served = apps.served.get(name)
    if served is None:
        return None
    return AppReport(
        ready=served.ready,
        schema_cache=_schema_cache(served),
        config=dump_settings(served.app.settings, hides="secrets"),
    )


def _schema_cache(served: Served) -> bytes:
    cache = served.app.state.schema
    return b"" if cache is None else schema_cache_json(cache)


def _schema_caches(apps: Apps) -> bytes:
    """That of the only app, or an object with those that were loaded, by name."""
    caches = {name: _schema_cache(served) for name, served in apps.served.items()}
    if not apps.named:
        return next(iter(caches.values()), b"")
    # The names of apps need no quoting in JSON.
    members = (b'"%b":%b' % (name.encode(), cache) for name, cache in caches.items() if cache)
    return b"{" + b",".join(members) + b"}"


def _config(apps: Apps) -> str:
    if not apps.named:
        used = (each.app.settings for each in apps.served.values())
        return dump_settings(next(used, apps.settings), hides="secrets")
    return dump_apps(
        apps.settings,
        [NamedApp(name, each.app.settings) for name, each in apps.served.items()],
        hides="secrets",
    )
