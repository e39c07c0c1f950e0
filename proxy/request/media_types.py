"""Media types: parsing, quality order, and how they are written in Content-Type.

`MediaType` is a value that can be a dictionary key. `kind` names the types the planner
treats specially; every other type is `other` and is compared by its full text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

MediaKind = Literal[
    "json",
    "geojson",
    "csv",
    "text",
    "xml",
    "openapi",
    "openapi31",
    "form",
    "octets",
    "any",
    "object",
    "array_stripped",
    "plan",
    "other",
]
PlanFormat = Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class MediaType:
    """`text` is how it is written (without charset). `strip_nulls` belongs to `object`;
    `plan_*` to `plan`: the type explained, the format and the EXPLAIN options."""

    kind: MediaKind
    text: str
    strip_nulls: bool = False
    plan_for: MediaType | None = None
    plan_format: PlanFormat = "text"
    plan_options: tuple[str, ...] = ()


JSON: Final = MediaType("json", "application/json")
GEOJSON: Final = MediaType("geojson", "application/geo+json")
CSV: Final = MediaType("csv", "text/csv")
TEXT: Final = MediaType("text", "text/plain")
XML: Final = MediaType("xml", "text/xml")
OPENAPI: Final = MediaType("openapi", "application/openapi+json")
OPENAPI_31: Final = MediaType("openapi31", "application/vnd.oai.openapi+json;version=3.1")
"""PostgREST has no such document and answers 406."""
FORM: Final = MediaType("form", "application/x-www-form-urlencoded")
OCTETS: Final = MediaType("octets", "application/octet-stream")
ANY: Final = MediaType("any", "*/*")
OBJECT: Final = MediaType("object", "application/vnd.pgrst.object+json")
OBJECT_STRIPPED: Final = MediaType(
    "object", "application/vnd.pgrst.object+json;nulls=stripped", strip_nulls=True
)
ARRAY_STRIPPED: Final = MediaType(
    "array_stripped", "application/vnd.pgrst.array+json;nulls=stripped", strip_nulls=True
)

PLAN_OPTIONS: Final = ("analyze", "verbose", "settings", "buffers", "wal")
"""EXPLAIN options a plan may be asked with, in the order they are written."""

_WITHOUT_PARAMETERS: Final[Mapping[str, MediaType]] = {
    known.text: known for known in (JSON, GEOJSON, CSV, TEXT, XML, OPENAPI, FORM, OCTETS, ANY)
}
# Letters and digits of every script: `alphaNum` of the grammar followed here.
_ALNUM: Final = r"[^\W_]"
_TYPE: Final = re.compile(rf"((?:{_ALNUM}|[.*])+/(?:{_ALNUM}|[.*+\-])+)")
_PARAMETER: Final = re.compile(
    rf"\s*;\s*((?:{_ALNUM}|-)+)\s*=\s*(?:\"([^\"]*)\"|((?:{_ALNUM}|[|\-])+))"
)


@lru_cache(maxsize=512)
def parse_media_type(text: str) -> MediaType:
    """The media type that `text` begins with; what follows a well-formed part is ignored.

    Never fails: what is no media type is `other`. Keeps the last 512 texts read, keyed by
    the text alone.
    """
    match = _TYPE.match(text)
    if match is None:
        return MediaType("other", text)
    name = match[1].lower()
    known = _WITHOUT_PARAMETERS.get(name)
    if known is not None:
        return known
    if name == _OPENAPI:
        return _openapi(text)
    parameters: dict[str, str] = {}
    following = _PARAMETER.match(text, match.end())
    while following is not None:
        quoted, plain = following[2], following[3]
        parameters[following[1].lower()] = plain if quoted is None else quoted
        following = _PARAMETER.match(text, following.end())
    return _vendored(name, parameters) or MediaType("other", text)


_OPENAPI: Final = OPENAPI_31.text.partition(";")[0]
_VERSION_3_1: Final = re.compile(r"3(\.1(\.\d+)?)?", re.ASCII)
_OPENAPI_VERSION: Final = re.compile(r";\s*version\s*=\s*\"?([^\s\";]*)", re.IGNORECASE)


def _openapi(text: str) -> MediaType:
    """The one version there is, if `text` asks for it or for any."""
    version = _OPENAPI_VERSION.search(text)
    if version is None or _VERSION_3_1.fullmatch(version[1]):
        return OPENAPI_31
    return MediaType("other", text)


def _vendored(name: str, parameters: Mapping[str, str]) -> MediaType | None:
    base, _, suffix = name.partition("+")
    stripped = parameters.get("nulls") == "stripped"
    if base == "application/vnd.pgrst.plan" and suffix in ("", "text", "json"):
        wanted = parameters.get("options", "").split("|")
        return plan_of(
            parse_media_type(parameters.get("for", JSON.text)),
            "json" if suffix == "json" else "text",
            tuple(option for option in PLAN_OPTIONS if option in wanted),
        )
    if suffix not in ("", "json") or name.endswith("+"):
        return None
    if base == "application/vnd.pgrst.object":
        return OBJECT_STRIPPED if stripped else OBJECT
    if base == "application/vnd.pgrst.array":
        return ARRAY_STRIPPED if stripped else JSON
    return None


def plan_of(explained: MediaType, form: PlanFormat, options: tuple[str, ...]) -> MediaType:
    """The type of an execution plan of the query that would give `explained`."""
    text = f'application/vnd.pgrst.plan+{form}; for="{explained.text}"'
    if options:
        text += f"; options={'|'.join(options)}"
    return MediaType("plan", text, plan_for=explained, plan_format=form, plan_options=options)


def parse_accept(header: str | None) -> tuple[MediaType, ...]:
    """The types of an Accept header, most wanted first; everything when there is none.

    Ordered by quality, then by how specific a type is (parameters count for it, asterisks
    against it), then as they were written. A quality nobody can read counts as 1.
    """
    if header is None:
        return (ANY,)
    return _parse_accept(header) if len(header) <= 500 else _parse_accept.__wrapped__(header)


_QUALITY: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)


@lru_cache(maxsize=512)
def _parse_accept(header: str) -> tuple[MediaType, ...]:
    ranked: list[tuple[float, int, str]] = []
    for part in header.split(",") if header else ():
        text, _, rest = part.replace(" ", "").partition(";q=")
        quality = _QUALITY.match(rest)
        specificity = text.count(";") - text.count("*")
        ranked.append((float(quality[0]) if quality else 1.0, specificity, text))
    ranked.sort(key=lambda entry: entry[:2], reverse=True)
    return tuple(parse_media_type(text) for _, _, text in ranked)


def content_type_header(media_type: MediaType) -> bytes:
    """The value of Content-Type; all but bytes and custom types name their charset."""
    text = media_type.text.encode("latin-1", "replace")
    return text if media_type.kind in ("octets", "other") else text + b"; charset=utf-8"
