"""Fields, filters, logic and order as SQL."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.plan.model import (
    Comparison,
    Condition,
    Connective,
    EmbedIsNull,
    FieldRef,
    JoinCondition,
    Order,
)
from proxy.request.operators import OPERATORS, Operator
from proxy.schema_cache.model import QualifiedName
from proxy.sql.writer import Writer, array_literal, column, known_type, row

_IS = {
    "null": "NULL",
    "not_null": "NOT NULL",
    "true": "TRUE",
    "false": "FALSE",
    "unknown": "UNKNOWN",
}
_DIRECTION = {"asc": " ASC", "desc": " DESC", None: ""}
_NULLS = {"nullsfirst": " NULLS FIRST", "nullslast": " NULLS LAST", None: ""}


def field_sql(writer: Writer, source: QualifiedName, field: FieldRef) -> str:
    """The field's value, without its output representation."""
    if field.whole_row:
        return "TRUE"
    value = column(source, field.name)
    if field.path:
        value = f"pg_catalog.to_jsonb({value})" if field.to_json else value
        is_json = True
        for step in field.path:
            operand = writer.bind(step.operand) + ("::int" if step.is_index else "")
            # Behind ->> there is text, and PostgreSQL has no arrow for it.
            arrow = f" OPERATOR(pg_catalog.{step.arrow}) " if is_json else step.arrow
            value += f"{arrow}{operand}"
            is_json = is_json and step.arrow == "->"
    if field.tsvector:
        return f"pg_catalog.to_tsvector({_language(writer, field.language)}{value})"
    return value


def _language(writer: Writer, language: str | None) -> str:
    return "" if language is None else f"{writer.bind(language)}, "


def condition_sql(writer: Writer, source: QualifiedName, condition: Condition) -> str:
    """A condition on the columns of `source`."""
    match condition:
        case Connective(connective, children, negated):
            joined = f" {connective.upper()} ".join(
                condition_sql(writer, source, child) for child in children
            )
            return f"{'NOT ' if negated else ''}({joined})"
        case EmbedIsNull(alias, negated, is_array):
            # DISTINCT FROM looks at the embed as one value; IS NULL would also hold for
            # a row whose columns all happen to be null.
            embed = QualifiedName("", alias)
            rows = column(embed, alias) if is_array else row(embed)
            return f"{rows} IS {'' if negated else 'NOT '}DISTINCT FROM NULL"
        case Comparison():
            return _comparison_sql(writer, source, condition)


def _comparison_sql(writer: Writer, source: QualifiedName, comparison: Comparison) -> str:
    field, operation = comparison.field, comparison.operation
    operator = OPERATORS[operation.operator]
    left = ("NOT " if operation.negated else "") + field_sql(writer, source, field)
    value = argument_of(operator, operation.value)
    match operator.kind:
        case "in":
            return f"{left} = ANY {_any_of(writer, field, value)}"
        case "is":
            return f"{left} IS {_IS[value]}"
        case "isdistinct":
            right = writer.bind(value)
            right = f"{right}::{known_type(field.type)}" if _is_alias_of_oid(field) else right
            return f"{left} IS DISTINCT FROM {right}"
        case "fts":
            language = _language(writer, operation.language)
            return f"{left} @@ pg_catalog.{operator.sql}({language}{writer.bind(value)})"
        case "pattern":
            right = writer.bind(value)
        case _:
            right = _represented(
                field, writer.bind(value), "[]" if operation.quantifier else ""
            )
    if operation.quantifier is not None:
        right = f"{operation.quantifier.upper()}({right})"
    return f"{left} {operator.sql} {right}"


def argument_of(operator: Operator, value: str | tuple[str, ...]) -> str:
    """What is bound for the value of a filter as a URL writes it. A list is one array, so that
    those of any length share a prepared statement; `in.()` is the empty list."""
    if type(value) is str:
        return value.replace("*", "%") if operator.kind == "pattern" else value
    return array_literal(() if value == ("",) else value)


def _represented(field: FieldRef, value: str, dimensions: str) -> str:
    if field.transform is not None:
        return f"{field.transform}({value})"
    is_alias = _is_alias_of_oid(field)
    return f"{value}::{known_type(field.type)}{dimensions}" if is_alias else value


def _is_alias_of_oid(field: FieldRef) -> bool:
    """Whether a name of a database object is meant, which PostgreSQL would take for the
    number that it compares by (its docs: "Object Identifier Types")."""
    return field.base_type.startswith("reg") and "[" not in field.base_type and not field.path


def _any_of(writer: Writer, field: FieldRef, values: str) -> str:
    bound = writer.bind(values)
    is_array = field.base_type.endswith("[]") and not field.path
    # An array of arrays would be taken for all of their elements, and one of boxes has no
    # commas between them.
    one_by_one = is_array or (field.base_type == "box" and not field.path)
    if field.transform is None and (one_by_one or _is_alias_of_oid(field)):
        texts = f"pg_catalog.unnest({bound}::pg_catalog.text[]) AS v(v)"
        return f"(SELECT v.v::{known_type(field.type)} FROM {texts})"
    if field.transform is None:
        return f"({bound})"
    return f"(SELECT {field.transform}(pg_catalog.unnest({bound}::pg_catalog.text[])))"


def join_sql(join: JoinCondition) -> str:
    """The condition that ties an embed's rows to its parent's."""
    left = column(join.left, join.left_column)
    return f"{left} = {column(join.right, join.right_column)}"


def order_sql(writer: Writer, source: QualifiedName, order: Sequence[Order]) -> str:
    """` ORDER BY ...`, or nothing."""
    if not order:
        return ""
    terms = [
        field_sql(
            writer,
            source if term.relation is None else QualifiedName("", term.relation),
            term.field,
        )
        + _DIRECTION[term.direction]
        + _NULLS[term.nulls]
        for term in order
    ]
    return f" ORDER BY {', '.join(terms)}"
