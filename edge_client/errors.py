"""What can go wrong, as exceptions.

`APIError`: the server has answered, and this is its answer. `TransportError`: no answer
came, so for a write it may be open whether it was done. Both are `EdgeError`s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final


class EdgeError(Exception):
    """The base of everything this package raises for what happens at run time."""


class APIError(EdgeError):
    """The server refused, or failed.

    `code` is PostgREST's (`PGRST116`), PostgreSQL's (`23505`) or edgerest's (`EDGE413`), the
    HTTP status when the answer was nobody's JSON. `request_id` is that of the answer, else
    the one that was sent. `attempts`: how often the request was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        details: Any = None,
        hint: Any = None,
        request_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.details = details
        self.hint = hint
        self.request_id = request_id
        self.headers: Mapping[str, str] = headers or {}
        self.attempts = attempts

    def __str__(self) -> str:
        lines = [f"{self.code} (HTTP {self.status}): {self.message}"]
        lines += [f"details: {self.details}"] if self.details is not None else []
        lines += [f"hint: {self.hint}"] if self.hint is not None else []
        lines += [f"request id: {self.request_id}"] if self.request_id else []
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """The error as the server writes it."""
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
        }


class RedirectError(APIError):
    """3xx: the server sends elsewhere, which is never followed. `headers["location"]` says
    where to; in a browser nobody is told, and `status` is 0."""


class AuthenticationError(APIError):
    """401: there is no token, or it is not (or no longer) good."""


class NotAllowedError(APIError):
    """403: the role may not do that."""


class ConflictError(APIError):
    """409: a unique or foreign key stands against it."""


class PreconditionError(APIError):
    """412: it has changed in the meantime."""


class RowCountError(APIError):
    """PGRST116: there is not one row, but none or several."""


class UnavailableError(APIError):
    """429, 502, 503 or 504: later it may work. `retry_after` in seconds, if it was said."""

    retry_after: float | None = None


class TransportError(EdgeError):
    """No answer, or not all of it. `maybe_done`: the request may have had its effect.

    `generation` tells the client which of its connections failed.
    """

    generation = 0

    def __init__(self, message: str, *, maybe_done: bool = True) -> None:
        super().__init__(message)
        self.maybe_done = maybe_done


class ConnectError(TransportError):
    """No connection came about, so nothing was sent."""


class ConnectionLostError(TransportError):
    """The connection broke, or the other side broke the protocol."""


class DeadlineError(TransportError):
    """The time for the call, or for one step of it, was over."""


class DecodingError(EdgeError):
    """The answer is not what the row type says."""


_BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    401: AuthenticationError,
    403: NotAllowedError,
    409: ConflictError,
    412: PreconditionError,
    429: UnavailableError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def api_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request_id: str | None = None,
    attempts: int = 1,
) -> APIError:
    """The error that a response means; `headers` by their names in lower case."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {}
    code = str(told.get("code") or _code_in_header(headers) or status)
    message = told.get("message") or body[:300].decode("utf-8", "replace")
    if _redirects(status):
        kind: type[APIError] = RedirectError
        message = told.get("message") or _where_to(headers)
    else:
        kind = RowCountError if code == "PGRST116" else _BY_STATUS.get(status, APIError)
    return kind(
        str(message or f"the server answered with status {status}"),
        code=code,
        status=status,
        details=told.get("details"),
        hint=told.get("hint"),
        request_id=headers.get("x-request-id") or request_id,
        headers=headers,
        attempts=attempts,
    )


def _redirects(status: int) -> bool:
    """304 answers a condition and names no other place."""
    return status == 0 or (300 <= status < 400 and status != 304)


def _where_to(headers: Mapping[str, str]) -> str:
    place = headers.get("location", "elsewhere")
    return (
        f"the server redirects to {place}; redirects are not followed: ask there if it is yours"
    )


def _code_in_header(headers: Mapping[str, str]) -> str | None:
    """An answer to HEAD has no body, but `Proxy-Status: PostgREST; error=PGRST205`."""
    for parameter in headers.get("proxy-status", "").split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "error":
            return value.strip('"') or None
    return None


_NEVER_SENT: Final = frozenset(("ConnectError", "ConnectTimeout", "PoolTimeout"))
_TIMED_OUT: Final = frozenset(("TimeoutException", "TimeoutError"))
_BROKEN: Final = frozenset(("TransportError", "DecodingError", "StreamError", "OSError"))
_OUR_FAULT: Final = frozenset(("UnsupportedProtocol", "InvalidURL"))


def transport_error(error: BaseException) -> TransportError | None:
    """What an HTTP client's exception means; None for one that is no transport's failure.

    Told by class names, which httpx, httpx2 and clients made like them share.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if names & _OUR_FAULT:
        return None
    if names & _NEVER_SENT:
        return ConnectError(message, maybe_done=False)
    if names & _TIMED_OUT:
        return DeadlineError(message)
    if names & _BROKEN:
        return ConnectionLostError(message)
    return None
