"""Why a caller is turned away: the errors of authentication, with their headers.

In: the facts. Out: an `ApiError` to raise. RFC 6750 says which `WWW-Authenticate` goes
with which; the messages are PostgREST's (docs, "Errors", group 3).
"""

from __future__ import annotations

from typing import Literal

from proxy.errors import ApiError, api_error

BAD_CRYPTO = "JWT cryptographic operation failed"
NO_KEY = "No suitable key or wrong key type"
BAD_ALGORITHM = "Wrong or unsupported encoding algorithm"
UNPARSABLE_CLAIMS = "Parsing claims failed"


def invalid_token(
    code: Literal["PGRST301", "PGRST303"], message: str, details: str | None = None
) -> ApiError:
    """A token that could not be decoded (PGRST301) or whose claims say no (PGRST303)."""
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    return api_error(
        code,
        message=message,
        details=details,
        headers=((b"www-authenticate", challenge.encode()),),
    )


def token_required() -> ApiError:
    """No role was named and there is no anonymous one."""
    return api_error("PGRST302", headers=((b"www-authenticate", b"Bearer"),))


def no_secret() -> ApiError:
    """A token was sent to a server that has no key to verify it with."""
    return api_error("PGRST300")
