"""From JSON to what the caller wants of a row: a dict, a dataclass, a model, anything callable.

In: a row type. Out: a function from one JSON object to a row. TypedDicts and dicts are the
JSON itself, pydantic models validate it (`model_validate`), dataclasses are filled by the
types of their fields: nested dataclasses, lists, dates, UUIDs, decimals and enums.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, Union, get_args, get_origin, get_type_hints, is_typeddict

from edge_client.errors import DecodingError

RowMaker = Callable[[Any], Any]


def row_maker(kind: Callable[..., Any] | None) -> RowMaker | None:
    """How a JSON object becomes a `kind`; None: it is one already."""
    if kind is None or kind is dict or get_origin(kind) is dict or is_typeddict(kind):
        return None
    make = _maker(kind)

    def checked(value: Any) -> Any:
        try:
            return make(value)
        except (TypeError, ValueError, KeyError) as error:
            name = getattr(kind, "__name__", kind)
            raise DecodingError(f"a row is no {name}: {error}") from error

    return checked


def _maker(kind: Any) -> RowMaker:
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate  # type: ignore[no-any-return]
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass_maker(kind)
    return kind  # type: ignore[no-any-return]


def _dataclass_maker(kind: Any) -> RowMaker:
    fields = {name: field for name, field in kind.__dataclass_fields__.items() if field.init}
    readers: dict[str, RowMaker | None] = {}

    def make(value: Any) -> Any:
        if not readers:
            # At the first row: a type may name itself.
            hints = get_type_hints(kind)
            readers.update((name, _field_reader(hints[name])) for name in fields)
        given = {}
        for name, read in readers.items():
            if name in value:
                found = value[name]
                given[name] = found if read is None or found is None else read(found)
        return kind(**given)

    return make


_FROM_TEXT: Final = {
    ("datetime", "datetime"): "fromisoformat",
    ("datetime", "date"): "fromisoformat",
    ("datetime", "time"): "fromisoformat",
}


def _field_reader(hint: Any) -> RowMaker | None:
    """How a field's JSON becomes its type; None: as it is."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Union or type(hint).__name__ == "UnionType":
        kinds = [each for each in arguments if each is not type(None)]
        return _field_reader(kinds[0]) if len(kinds) == 1 else None
    if origin in (list, tuple, set, frozenset) and arguments:
        return _collection_reader(origin, _field_reader(arguments[0]))
    if not isinstance(hint, type) or is_typeddict(hint):
        return None
    if hasattr(hint, "model_validate") or hasattr(hint, "__dataclass_fields__"):
        return _maker(hint)
    constructor = _FROM_TEXT.get((hint.__module__, hint.__name__))
    if constructor is not None:
        return getattr(hint, constructor)  # type: ignore[no-any-return]
    if hint.__module__ == "decimal":
        return lambda value: hint(str(value))
    if hint.__module__ == "uuid" or _is_enum(hint):
        return hint
    return None


def _collection_reader(kind: Any, read: RowMaker | None) -> RowMaker | None:
    if read is None:
        return None if kind is list else kind
    return lambda values: kind(value if value is None else read(value) for value in values)


def _is_enum(kind: type) -> bool:
    # No need to import enum for it: who has an enum has imported it.
    enum = sys.modules.get("enum")
    return enum is not None and issubclass(kind, enum.Enum)
