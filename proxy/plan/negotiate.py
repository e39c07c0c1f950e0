"""Content negotiation: the first acceptable media type that some handler can produce.

PostgREST docs: "Media Type Handlers". Raises PGRST107 (406).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxy.errors import ApiError, api_error
from proxy.plan.model import Answering
from proxy.request.media_types import MediaType, parse_media_type
from proxy.schema_cache.model import MediaHandler, QualifiedName, SchemaCache

NO_BODY = MediaHandler("none")

_BUILTIN: Mapping[str, tuple[MediaHandler, str]] = {
    "any": (MediaHandler("json"), "application/json"),
    "json": (MediaHandler("json"), "application/json"),
    "csv": (MediaHandler("csv"), "text/csv"),
    "geojson": (MediaHandler("geojson"), "application/geo+json"),
}


def not_acceptable(accept: Sequence[MediaType]) -> ApiError:
    """PGRST107, naming what the caller would have taken."""
    return api_error("PGRST107", media_types=", ".join(media.text for media in accept))


def negotiate(
    cache: SchemaCache,
    accept: Sequence[MediaType],
    target: QualifiedName,
    *,
    default_select: bool,
    plan_enabled: bool,
) -> Answering:
    """How to answer for `target`; its own handlers need an unshaped (`*`) select."""
    for media_type in accept:
        found = _handler(cache, media_type, target, default_select, plan_enabled)
        if found is not None:
            return found
    raise not_acceptable(accept)


def _handler(
    cache: SchemaCache,
    media_type: MediaType,
    target: QualifiedName,
    default_select: bool,
    plan_enabled: bool,
) -> Answering | None:
    if media_type.kind == "object":
        handler = MediaHandler("single_json", strip_nulls=media_type.strip_nulls)
        return Answering(handler, media_type)
    if media_type.kind == "array_stripped":
        return Answering(MediaHandler("array_json_strip", strip_nulls=True), media_type)
    if media_type.kind == "plan":
        if not plan_enabled or media_type.plan_for is None:
            return None
        explained = _handler(cache, media_type.plan_for, target, default_select, False)
        return None if explained is None else Answering(explained.handler, media_type)
    if default_select:
        for wanted in ("*/*", media_type.text):
            custom = _custom(cache, target, wanted)
            if custom is not None:
                return custom
    custom = _custom(cache, None, media_type.text)
    if custom is not None:
        return custom
    if media_type.kind in _BUILTIN:
        builtin, text = _BUILTIN[media_type.kind]
        return Answering(builtin, parse_media_type(text))
    return None


def _custom(cache: SchemaCache, target: QualifiedName | None, wanted: str) -> Answering | None:
    for custom in cache.custom_handlers:
        if custom.target == target and custom.media_type == wanted:
            handler = MediaHandler("custom", function=custom.function, target=target)
            return Answering(handler, parse_media_type(custom.produces))
    return None
