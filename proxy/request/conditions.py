"""The conditions that requests make with entity tags (RFC 9110, section 13).

In: the headers of a request, and the tag that its answer would have. Out: whether it may be
answered so. Writes compare what tags say of the content alone: whoever read an item with a
count, or compressed, has seen the same state of it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.request.tags import content_of

_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*+"')


@dataclass(frozen=True, slots=True)
class Condition:
    """The tags of an If-Match or If-None-Match; `anything` is `*`."""

    tags: tuple[bytes, ...] = ()
    anything: bool = False

    def names(self, tag: bytes) -> bool:
        """Whether a tag is named, by the weak comparison (RFC 9110, section 8.8.3.2)."""
        opaque = tag.removeprefix(b"W/")
        return any(opaque == each.removeprefix(b"W/") for each in self.tags)

    def names_strongly(self, tag: bytes) -> bool:
        """Whether a tag is named, by the strong comparison."""
        return not tag.startswith(b"W/") and tag in self.tags

    def names_content(self, tag: bytes) -> bool:
        """Whether a strong tag of the same content is named."""
        if tag.startswith(b"W/"):
            return False
        content = content_of(tag)
        return any(
            content == content_of(each) for each in self.tags if not each.startswith(b"W/")
        )


def parse_condition(value: bytes) -> Condition:
    """The condition in a header, its lines joined. Nothing that is a tag: names none."""
    if value.strip() == b"*":
        return Condition(anything=True)
    return Condition(tuple(_TAG.findall(value)))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request makes its answer depend on. Dates are passed over: nothing here has a
    Last-Modified (RFC 9110, sections 13.1.3 and 13.1.4)."""

    match: Condition | None = None
    none_match: Condition | None = None


def read_conditions(asked: Mapping[bytes, bytes]) -> Conditions | None:
    """The conditions among a request's headers; None without any."""
    match, none_match = asked.get(b"if-match"), asked.get(b"if-none-match")
    if match is None and none_match is None:
        return None
    return Conditions(
        None if match is None else parse_condition(match),
        None if none_match is None else parse_condition(none_match),
    )


class Precondition(Enum):
    """What the conditions of a request come to."""

    HOLDS = 0
    NOT_MODIFIED = 304
    FAILED = 412


def judge_read(conditions: Conditions, tag: bytes) -> Precondition:
    """For a GET or HEAD whose answer would have `tag` (RFC 9110, section 13.2.2)."""
    match, none_match = conditions.match, conditions.none_match
    if match is not None and not (match.anything or match.names_strongly(tag)):
        return Precondition.FAILED
    if none_match is not None and (none_match.anything or none_match.names(tag)):
        return Precondition.NOT_MODIFIED
    return Precondition.HOLDS


def judge_write(conditions: Conditions, tag: bytes, *, rows: int) -> Precondition:
    """For a write to what a GET would show as `tag`, of so many rows.

    `*` asks whether there is a row (RFC 9110, sections 13.1.1 and 13.1.2).
    """
    match, none_match = conditions.match, conditions.none_match
    if match is not None and not (rows > 0 if match.anything else match.names_content(tag)):
        return Precondition.FAILED
    if none_match is not None and (
        rows > 0 if none_match.anything else none_match.names_content(tag)
    ):
        return Precondition.FAILED
    return Precondition.HOLDS
