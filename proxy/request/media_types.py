"""Media types: parsing, quality order, and how they are written in Content-Type.

`MediaType` is a value that can be a dictionary key. `kind` names the types the planner
treats specially; every other type is `other` and is compared by its full text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MediaKind = Literal[
    "json",
    "geojson",
    "csv",
    "text",
    "xml",
    "openapi",
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
