"""The invalidation of an app, as its settings describe it.

In: settings, the versions of the database, and where the schema cache in use is to be found.
Out: an `Invalidation`.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.cache.invalidation import Invalidation
from proxy.cache.notify import Announcement, Announcements, channel_of
from proxy.cache.versions import Versions
from proxy.schema_cache.facts import Facts
from proxy.schema_cache.model import SchemaCache
from proxy.settings import Settings, SettingsError
from proxy.state.app_state import AppState
from proxy.state.from_settings import announces_writes


def make_invalidation(
    settings: Settings, versions: Versions, schema_cache: Callable[[], SchemaCache | None]
) -> Invalidation:
    """Raises SettingsError when `cache-store` needs what is not installed."""
    shared = None
    if settings.cache_store is not None:
        try:
            from proxy.cache.redis_store import RedisStore
        except ImportError as error:
            raise SettingsError(["cache-store needs the extra edgerest[redis]"]) from error
        try:
            shared = RedisStore(settings.cache_store, settings.cache_max_entry_bytes)
        except ValueError as error:
            raise SettingsError(
                [
                    f"cache-store: {error}; write / ? # and @ in a password as %2F %3F %23 and"
                    " %40"
                ]
            ) from error

    def facts() -> Facts | None:
        cache = schema_cache()
        return None if cache is None else cache.facts

    def heard(announcement: Announcement) -> None:
        if shared is not None:
            shared.touch_soon(announcement.tags)

    announcements = Announcements(
        channel_of(settings.cache_channel, settings.db_channel),
        versions,
        facts,
        speaks=announces_writes(settings),
        on_heard=heard,
        per_process=shared is not None,
    )
    return Invalidation(versions, announcements, shared)


def shared_namespace(
    state: AppState, fingerprint: str | None, rights: int | None, settings: Settings
) -> str:
    """What servers must have in common to share answers: database, schema, the stamp of the
    rights in it, and settings."""
    parts = (
        settings.db_uri,
        fingerprint,
        rights,
        state.response_cache,
        state.rules,
    )
    return repr(parts)
