"""Optimistic locking: a write that holds only while what was read is still so.

In: a write, the read, and its answer's entity tag. Out: the write with If-Match (RFC 9110,
section 13.1.1). The server compares with what a GET of the write's own URL would answer, so
the write is given the read's filters, columns, media type and schema.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edge_client.operation import Operation

_OF_WRITES: Final = ("columns", "on_conflict")
_OF_PAGES: Final = ("limit", "offset")


def only_if_unchanged(write: Operation, read: Operation | None, tag: str | None) -> Operation:
    """`write`, done only while `read` would still be answered with `tag`.

    Raises ValueError for what can't be compared, and for a write of other rows than the
    read's.
    """
    if write.method not in ("PATCH", "DELETE"):
        raise ValueError("if_unchanged() is for updates and deletes")
    if read is None or tag is None or not read.reads:
        raise ValueError("if_unchanged() takes the result of a read, with its headers")
    schemas = {each for each in (read.schema, write.schema) if each is not None}
    if read.path != write.path or len(schemas) > 1:
        raise ValueError(f"{write.path} is written, and {read.path} was read")
    if any(name in _OF_PAGES for name, _ in read.params):
        raise ValueError("a write touches all rows that its filters leave, not a page of them")
    known = set(read.params)
    for name, value in write.params:
        if name not in _OF_WRITES and (name, value) not in known:
            raise ValueError(f"{name}={value} was no part of the read")
    own = (pair for pair in write.params if pair[0] in _OF_WRITES)
    operation = replace(
        write,
        params=(*read.params, *own),
        accept=read.accept,
        schema=read.schema,
        headers=(*write.headers, ("if-match", tag)),
    )
    return operation.preferring(timezone=dict(read.prefer).get("timezone"))
