"""Python values and names as the URL grammar wants them.

In: a value, a column name. Out: its text, not yet percent-encoded. The grammar has two
places for a value: alone behind an operator, where everything is taken as it stands, and
in a list or a logic tree, where `,` and `)` end it and double quotes protect it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

# Less than the grammar allows: a blank at the edge of a list, say, would be lost.
_BARE: Final = re.compile(r"[\w.:@/+-]+")
_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|->>|->|\.|[^".\-]+|-', re.DOTALL)
_INDEX: Final = re.compile(r"-?[0-9]+")
_RESERVED: Final = frozenset(
    ("select", "columns", "on_conflict", "order", "limit", "offset", "and", "or", "not")
)
_LETTERS_BESIDES: Final = "0123456789_$"


def text_of(value: object) -> str:
    """`value` as PostgreSQL reads it: `null`, `true`, ISO 8601 times, arrays, JSON, hex bytes.

    Lists, tuples and sets become arrays, mappings JSON.
    """
    if isinstance(value, str):
        return value.value if isinstance(value, Enum) else value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return text_of(value.value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds}.{value.microseconds:06} seconds"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return json.dumps(value, default=text_of, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, Iterable):
        return array_literal(value)
    return str(value)


def _float_text(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def quoted(text: str) -> str:
    """`text` in double quotes, its quotes and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def protected(text: str) -> str:
    """`text` for a list or a tree: quoted unless it plainly needs no quotes."""
    return text if _BARE.fullmatch(text) else quoted(text)


def list_literal(values: Iterable[object]) -> str:
    """`(1,2,"a,b")`, the operand of `in`."""
    return f"({','.join(protected(text_of(value)) for value in values)})"


def array_literal(values: Iterable[object]) -> str:
    """`{1,2,"a,b",NULL}`, an array of PostgreSQL; nested lists are nested arrays."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        return array_literal(value)
    text = text_of(value)
    bare = _BARE.fullmatch(text) is not None and text.lower() != "null"
    return text if bare else quoted(text)


def range_literal(bounds: str | tuple[object, object]) -> str:
    """A range: a text such as `[1,5)` as it stands, a pair of bounds as `(1,5)`."""
    if isinstance(bounds, str):
        return bounds
    low, high = ("" if bound is None else text_of(bound) for bound in bounds)
    return f"({low},{high})"


def column_name(name: str) -> str:
    """The single name `name`, quoted where a dot or an arrow in it would mean a path."""
    return name if _is_plain(name) else quoted(name)


def column_path(path: str) -> str:
    """A column as a filter names it: `name`, `embed.name`, `data->a->>b`.

    Parts that the grammar would misread are quoted; parts in quotes stay as they are.
    """
    if _is_plain(path):
        return path
    written: list[str] = []
    part = ""
    in_json = False
    for piece in _PIECE.findall(path):
        is_arrow = piece in ("->", "->>")
        if is_arrow or (piece == "." and not in_json):
            written += [_part(part, in_json=in_json), piece]
            in_json = in_json or is_arrow
            part = ""
        else:
            part += piece
    written.append(_part(part, in_json=in_json))
    return "".join(written)


def _part(text: str, *, in_json: bool) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text
    if in_json and _INDEX.fullmatch(text):
        return text
    return column_name(text)


def _is_plain(name: str) -> bool:
    return (
        name != ""
        and name not in _RESERVED
        and all(letter.isalpha() or letter in _LETTERS_BESIDES for letter in name)
    )


def json_text(value: object) -> bytes:
    """A body: JSON, with dates, UUIDs, decimals, bytes, dataclasses and pydantic models.

    Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(
        value, default=_json_value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def _json_value(value: Any) -> object:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    return text_of(value)
