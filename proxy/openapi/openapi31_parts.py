"""What the operations of an OpenAPI 3.1 document share: parameters, headers, failures.

Out: the members of `components` that depend on nothing, and references to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, get_args

from proxy.errors import Json
from proxy.openapi.api import Object
from proxy.openapi.openapi31_schemas import schema_reference
from proxy.request.model import LogicOperator
from proxy.request.operators import OPERATORS
from proxy.request.preferences import (
    Count,
    Handling,
    Missing,
    Representation,
    Resolution,
    Transaction,
    Update,
)

ERROR_SCHEMA: Final = "pgrst.error"
FILTER_SCHEMA: Final = "pgrst.filter"
"""Names that `component_name` gives to no table: they have an odd number of dots."""

SCHEMAS: Final[Object] = {
    ERROR_SCHEMA: {
        "title": "Error",
        "type": "object",
        "description": "Why a request failed. `details` and `hint` are left out under"
        " `client-error-verbosity = minimal`.",
        "required": ["code", "message"],
        "properties": {
            "code": {
                "type": "string",
                "description": "An SQLSTATE of PostgreSQL, or a code of the API: PGRST…",
            },
            "message": {"type": "string"},
            "details": {"description": "More about it; text, if anything"},
            "hint": {"description": "What may help; text, if anything"},
        },
    },
    FILTER_SCHEMA: {
        "title": "Filter",
        "type": "string",
        "description": "An operator and what it compares with, such as `eq.1`, `gte.10`,"
        " `in.(1,2)`, `is.null`, `not.eq.a`, `like(any).{a*,b*}` or `wfts(english).word`",
        "pattern": rf"^(not\.)?({'|'.join(OPERATORS)})(\([^)]*\))?\.",
    },
}


def _values(name: str, kind: object) -> list[str]:
    return [f"{name}={value}" for value in get_args(kind)]


_EVERYWHERE: Final = (*_values("handling", Handling), "timezone=…", *_values("tx", Transaction))
_RETURN: Final = _values("return", Representation)
_COUNT: Final = _values("count", Count)
_MISSING: Final = _values("missing", Missing)
_PREFERENCES: Final[dict[str, tuple[str, ...]]] = {
    "read": (*_COUNT, *_EVERYWHERE),
    "insert": (
        *_RETURN,
        *_values("resolution", Resolution),
        *_MISSING,
        *_COUNT,
        *_EVERYWHERE,
    ),
    "update": (
        *_RETURN,
        *_MISSING,
        *_values("update", Update),
        "max-affected=…",
        *_COUNT,
        *_EVERYWHERE,
    ),
    "replace": (*_RETURN, *_COUNT, *_EVERYWHERE),
    "delete": (*_RETURN, "max-affected=…", *_COUNT, *_EVERYWHERE),
    "call": ("max-affected=…", *_COUNT, *_EVERYWHERE),
}


def _prefer(preferences: Iterable[str]) -> Object:
    listed = ", ".join(f"`{each}`" for each in preferences)
    return {
        "name": "Prefer",
        "in": "header",
        "description": f"Preferences (RFC 7240), separated by commas, out of {listed}",
        "schema": {"type": "string"},
    }


def _query(name: str, description: str, schema: Object | None = None) -> Object:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": {"type": "string"} if schema is None else schema,
    }


_COUNTED: Final[Object] = {"type": "integer", "minimum": 0}
PARAMETERS: Final[Object] = {
    "select": _query(
        "select",
        "The columns to return, and related tables in parentheses:"
        " `id,name,other_table(id)`. Left out, all columns.",
    ),
    "order": _query("order", "What to sort by: `a,b.desc.nullslast`"),
    "limit": _query("limit", "The most rows to return", _COUNTED),
    "offset": _query("offset", "How many rows to skip", _COUNTED),
    **{
        word: _query(word, f"Conditions joined by {word}: `(a.eq.1,b.is.null)`")
        for word in get_args(LogicOperator)
    },
    "columns": _query("columns", "The columns to write; others in the body are ignored"),
    "on_conflict": _query(
        "on_conflict", "The columns of a unique constraint by which rows count as duplicates"
    ),
    "range": {
        "name": "Range",
        "in": "header",
        "description": "The rows to return, first and last, counted from 0: `0-9`",
        "schema": {"type": "string", "pattern": r"^\d+-\d*$"},
    },
    "rangeUnit": {
        "name": "Range-Unit",
        "in": "header",
        "description": "What `Range` counts",
        "schema": {"type": "string", "enum": ["items"]},
    },
    **{f"prefer.{name}": _prefer(values) for name, values in _PREFERENCES.items()},
}
PAGE: Final = ("order", "limit", "offset", "range", "rangeUnit")


def profile_parameter(header: str, schema: str, *, required: bool) -> Object:
    """The header that chooses `schema` among several."""
    return {
        "name": header,
        "in": "header",
        "description": "The database schema that is meant",
        "required": required,
        "schema": {"type": "string", "enum": [schema], "default": schema},
    }


def parameter_references(names: Iterable[str]) -> list[Json]:
    """References to parameters by their keys."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


# --- responses ----------------------------------------------------------------------------


def _header(description: str) -> Object:
    return {"description": description, "schema": {"type": "string"}}


HEADERS: Final[Object] = {
    "Content-Range": _header(
        "The rows in the body and how many there are: `0-9/42`; `*` for a number not known"
    ),
    "Content-Location": _header("The request's target in its canonical form"),
    "Location": _header("Where the new row is, with `Prefer: return=headers-only`"),
    "Preference-Applied": _header("The preferences that were followed"),
    "WWW-Authenticate": _header("What is wrong with the token (RFC 6750)"),
    "Proxy-Status": _header("The error's code"),
}


def header_references(*names: str) -> Object:
    """References to headers by their names."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_FAILURES: Final = {
    "400": "The request is wrong, or PostgreSQL refuses what it asks for",
    "401": "The token is missing, expired or not valid",
    "403": "The role may not do this",
    "404": "There is no such table or function",
    "406": "None of the media types asked for can be given, or there is not just one row",
    "409": "A unique or foreign key constraint is in the way",
    "413": "The request body is too large",
    "416": "The range begins beyond the last row",
    "503": "The database is away",
    "504": "No database connection became free in time",
}
_ANY_FAILURE: Final = "The request failed"
READ_FAILURES: Final = ("400", "401", "403", "404", "406", "416", "503", "504")
WRITE_FAILURES: Final = (
    "400",
    "401",
    "403",
    "404",
    "406",
    "409",
    "413",
    "503",
    "504",
)


def _failure(description: str, *headers: str) -> Object:
    return {
        "description": description,
        "headers": header_references("Proxy-Status", *headers),
        "content": {"application/json": {"schema": schema_reference(ERROR_SCHEMA)}},
    }


RESPONSES: Final[Object] = {
    **{
        f"failure.{status}": _failure(text, *(["WWW-Authenticate"] if status == "401" else []))
        for status, text in _FAILURES.items()
    },
    "failure": _failure(_ANY_FAILURE),
}


def failures(statuses: Iterable[str]) -> Object:
    """The responses of an operation that went wrong; all others are told as the default."""
    responses: Object = {
        status: {"$ref": f"#/components/responses/failure.{status}"} for status in statuses
    }
    return responses | {"default": {"$ref": "#/components/responses/failure"}}
