"""PostgreSQL's types in the words of OpenAPI 2.0.

In: a type as `format_type` writes it. Out: its `type`, `format`, `items` and `default`.
"""

from __future__ import annotations

import json
from typing import Final, NoReturn

from proxy.errors import Json

_TYPES: Final[dict[str, str | None]] = {
    "character varying": "string",
    "character": "string",
    "text": "string",
    "boolean": "boolean",
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "numeric": "number",
    "real": "number",
    "double precision": "number",
    # Any JSON value, so no type at all.
    "json": None,
    "jsonb": None,
}
_FORMATS: Final = {"smallint": "int32", "integer": "int32", "bigint": "int64"}


def swagger_type(name: str) -> str | None:
    """The `type` of a value, None when it may be anything."""
    if name in _TYPES:
        return _TYPES[name]
    return "array" if name.endswith("[]") else "string"


def swagger_format(name: str) -> str:
    """The `format`: PostgreSQL's own name for all that OpenAPI has no word for."""
    return _FORMATS.get(name, name)


def array_items(name: str) -> dict[str, Json] | None:
    """The `items` of an array type, None for other types."""
    if swagger_type(name) != "array":
        return None
    element = swagger_type(name.removesuffix("[]"))
    return {} if element is None else {"type": element}


def default_value(name: str, expression: str | None) -> tuple[Json] | None:
    """A column's default, when its expression is a constant; None else. The constant is in
    a tuple, since null is one. Texts lose their quotes and cast; what isn't quoted, such
    as now(), is told as a text if the type is one."""
    if expression is None:
        return None
    if swagger_type(name) == "string":
        constant = expression
        if expression.endswith(cast := f"::{name}"):
            constant = expression.removesuffix(cast).strip("'")
        expression = f'"{constant}"'
    try:
        return (json.loads(expression, parse_constant=_not_json),)
    except (ValueError, RecursionError):
        return None


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
