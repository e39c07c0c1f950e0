"""A function call as a SELECT."""

from __future__ import annotations

from proxy.plan.model import BodyArguments, CallPlan, DirectArguments
from proxy.schema_cache.model import Parameter, QualifiedName
from proxy.sql.write import record_sql
from proxy.sql.writer import Writer, array_literal, columns, identifier, known_type, qualified

_CALL = QualifiedName("", "pgrst_call")


def call_sql(writer: Writer, plan: CallPlan) -> str:
    """The function's rows; a scalar result is the column `pgrst_scalar`."""
    function = plan.function
    scalar = not function.returns_composite
    shown = "pgrst_call.pgrst_scalar" if scalar else columns(_CALL, plan.columns or ("*",))
    payload, arguments = _arguments(writer, plan)
    call = f"{qualified(QualifiedName(function.schema, function.name))}({arguments})"
    if scalar:
        call = f"(SELECT {call} AS pgrst_scalar)"
    rows = f"{payload}, LATERAL {call}" if payload else call
    return f"SELECT {shown} FROM {rows} pgrst_call"


def _arguments(writer: Writer, plan: CallPlan) -> tuple[str, str]:
    """The FROM item the arguments come from, if any, and the argument list."""
    if not plan.parameters:
        return "", ""
    match plan.arguments:
        case DirectArguments(values):
            given = [p for p in plan.parameters if p.name in values]
            return "", ", ".join(_direct(writer, p, values[p.name]) for p in given)
        case BodyArguments(body, is_array):
            if plan.positional:
                return "", f"{writer.bind(body)}::{known_type(plan.parameters[0].type)}"
            fields = [(p.name, p.type_without_length, None) for p in plan.parameters]
            payload = record_sql(writer, fields, body, is_array=is_array, limit=True)
            return payload, ", ".join(_from_payload(p) for p in plan.parameters)


def _direct(writer: Writer, parameter: Parameter, value: str | tuple[str, ...]) -> str:
    text = value if isinstance(value, str) else array_literal(value)
    return _named(
        parameter, f"{writer.bind(text)}::{known_type(parameter.type_without_length)}"
    )


def _from_payload(parameter: Parameter) -> str:
    return _named(parameter, f"pgrst_body.{identifier(parameter.name)}")


def _named(parameter: Parameter, value: str) -> str:
    variadic = "VARIADIC " if parameter.variadic else ""
    return f"{variadic}{identifier(parameter.name)} := {value}"
