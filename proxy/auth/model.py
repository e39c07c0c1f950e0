"""Who is asking: the result of authentication, a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The database role to switch to and the token's claims.

    `claims` is the JSON text for the GUC `request.jwt.claims` (the role is in it, also
    for the anonymous role). `authenticated` is true when a valid token named the role;
    `expires_at` is the token's `exp` in seconds since the epoch.
    """

    role: str
    claims: str
    authenticated: bool
    expires_at: float | None = None
