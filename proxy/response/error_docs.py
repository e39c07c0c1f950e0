"""docs/errors.md, written from the tables that answer requests.

In: `proxy.errors.ERRORS` and the statuses of PostgreSQL's errors. Out: the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.errors import ERRORS, ErrorKind
from proxy.response.database_errors import SQLSTATE_STATUSES

_WHOLE: Final = 5
"""Characters of a SQLSTATE; a shorter prefix stands for a class."""
_HEAD: Final = """\
<!-- Written by `edgerest error-docs`; change the tables in the code, then `make docs`. -->

# Errors

Every error is JSON, `{"code", "message", "details", "hint"}`, and names its code in the header
`Proxy-Status` too. With `client-error-verbosity = "minimal"` details and hint are left out.

| code | where it comes from |
| --- | --- |
| `PGRST…` | edgerest, in PostgREST's words and with PostgREST's status |
| `EDGE…` | edgerest, where PostgREST has no error of its own |
| five characters, such as `23505` | PostgreSQL: its SQLSTATE, message, details and hint |

A 503 carries `Retry-After`; a 401 carries `WWW-Authenticate`.
"""
_OWN: Final = """
## Errors of edgerest

Words in braces stand for what the request named; a message that is nothing but `{message}`
says what is wrong in its own words.

| code | status | message |
| --- | --- | --- |
"""
_DATABASE: Final = """
## Errors of PostgreSQL

The first row that the SQLSTATE begins with decides; whatever is not listed is 400.

| SQLSTATE | status | meaning |
| --- | --- | --- |
"""
_CHOSEN: Final = """
## Errors that SQL chooses

- `RAISE SQLSTATE 'PT402'` answers with status 402; its message becomes the reason phrase of
  the HTTP/1.1 status line.
- `RAISE SQLSTATE 'PGRST'` with JSON in MESSAGE (`code`, `message`, `details`, `hint`) and in
  DETAIL (`status`, `status_text`, `headers`) chooses the whole answer.
"""


def errors_markdown() -> str:
    """The page, Markdown."""
    database = (
        f"| `{row.prefix}{'' if len(row.prefix) == _WHOLE else '…'}` |"
        f" {row.status if isinstance(row.status, int) else 'depends'} | {row.meaning} |\n"
        for row in SQLSTATE_STATUSES
    )
    return _HEAD + _OWN + "".join(_own_rows()) + _DATABASE + "".join(database) + _CHOSEN


def _own_rows() -> Iterable[str]:
    def order(kind: ErrorKind) -> tuple[bool, str]:
        return not kind.code.startswith("PGRST"), kind.code

    for kind in sorted(ERRORS.values(), key=order):
        message = kind.message.replace("|", "\\|")
        yield f"| `{kind.code}` | {kind.status} | {message} |\n"
