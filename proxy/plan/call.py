"""Which function a call means, and with which arguments (PostgREST docs: "Functions").

Raises PGRST202 (404) when no overload fits, PGRST203 (300) when several do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proxy.errors import ApiError, api_error
from proxy.plan.model import BodyArguments, CallPlan, DirectArguments, ReadPlan
from proxy.plan.read import filtered_columns, needed_columns
from proxy.request.media_types import MediaType
from proxy.request.model import ApiRequest, FormPayload, JsonPayload, RawPayload
from proxy.schema_cache.model import Function, QualifiedName, SchemaCache
from proxy.schema_cache.suggestions import function_hint

_RAW_PARAMETER_TYPES = {
    "json": ("json", "jsonb"),
    "text": ("text",),
    "xml": ("xml",),
    "octets": ("bytea",),
}
"""By the kind of the body's media type: the types a single unnamed parameter may have."""


def argument_names(request: ApiRequest) -> frozenset[str]:
    """The names of the arguments a call gives."""
    if request.action.kind == "call":
        return request.columns
    return frozenset(name for name, _ in request.query.arguments)


def find_function(cache: SchemaCache, request: ApiRequest) -> Function:
    """The one overload that takes the request's arguments."""
    target = request.action.target
    names = argument_names(request)
    is_post = request.action.kind == "call"
    body_kind = request.content_type.kind if is_post else ""
    overloads = cache.functions.get(target, ())
    matching = [f for f in overloads if _takes(f, names, body_kind)]
    if not matching:
        matching = [f for f in overloads if _takes_body(f, body_kind)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise _ambiguous(matching)
    raise _not_found(cache, target, names, request.content_type if is_post else None)


def _takes(function: Function, names: frozenset[str], body_kind: str) -> bool:
    if not function.parameters:
        return not names and body_kind not in ("octets", "text", "xml")
    required = {p.name for p in function.parameters if p.required}
    optional = {p.name for p in function.parameters if not p.required}
    return names - optional == required


def _takes_body(function: Function, body_kind: str) -> bool:
    if len(function.parameters) != 1 or function.parameters[0].name:
        return False
    return function.parameters[0].type in _RAW_PARAMETER_TYPES.get(body_kind, ())


def _ambiguous(functions: Iterable[Function]) -> ApiError:
    signatures = [
        f"{f.schema}.{f.name}({', '.join(f'{p.name} => {p.type}' for p in f.parameters)})"
        for f in functions
    ]
    return api_error(
        "PGRST203",
        candidates=", ".join(signatures),
        hint="Try renaming the parameters or the function itself in the database so"
        " function overloading can be resolved",
    )


def _not_found(
    cache: SchemaCache,
    target: QualifiedName,
    names: frozenset[str],
    body_type: MediaType | None,
) -> ApiError:
    full_name = f"{target.schema}.{target.name}"
    listed = sorted(names)
    kind = body_type.kind if body_type else ""
    single = _RAW_PARAMETER_TYPES.get(kind, ("",))[0] if kind != "json" else ""
    if single:
        return api_error(
            "PGRST202",
            function=full_name,
            details=f"Searched for the function {full_name} with a single unnamed {single}"
            " parameter, but no matches were found in the schema cache.",
        )
    in_message = f"({', '.join(listed)})" if listed else " without parameters"
    searched = (
        f" with parameter{'s' if len(listed) > 1 else ''} {', '.join(listed)}"
        if listed
        else " without parameters"
    )
    if kind == "json":
        searched += " or with a single unnamed json/jsonb parameter"
    return api_error(
        "PGRST202",
        function=full_name + in_message,
        details=f"Searched for the function {full_name}{searched}, but no matches were"
        " found in the schema cache.",
        hint=function_hint(cache, target, listed),
    )


def plan_call(function: Function, request: ApiRequest, read: ReadPlan) -> CallPlan:
    """The call of `function` with the request's arguments, returning what `read` needs."""
    names = argument_names(request)
    positional = len(function.parameters) == 1 and not function.parameters[0].name
    parameters = (
        function.parameters
        if positional
        else tuple(p for p in function.parameters if p.name in names)
    )
    columns = needed_columns(read, ())
    if columns not in ((), ("*",)):
        columns = tuple(sorted({*columns, *filtered_columns(read)}))
    return CallPlan(function, parameters, _arguments(function, request), positional, columns)


def _arguments(function: Function, request: ApiRequest) -> DirectArguments | BodyArguments:
    match request.payload:
        case FormPayload(pairs):
            return DirectArguments(_direct(function, pairs))
        case JsonPayload(raw, _, is_array):
            return BodyArguments(raw, is_array)
        case RawPayload(raw):
            return BodyArguments(raw)
        case None:
            return DirectArguments(_direct(function, request.query.arguments))


def _direct(
    function: Function, pairs: Sequence[tuple[str, str]]
) -> dict[str, str | tuple[str, ...]]:
    """Repeated values of the variadic parameter are gathered; of others the last counts."""
    gathered: dict[str, list[str]] = {p.name: [] for p in function.parameters if p.variadic}
    values: dict[str, str | tuple[str, ...]] = {}
    for name, value in pairs:
        values[name] = value
        if name in gathered:
            gathered[name].append(value)
    return values | {name: tuple(found) for name, found in gathered.items() if found}
