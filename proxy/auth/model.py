"""Who is asking, and by which rules that is found out: values."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.auth.role_claim import RoleClaim


@dataclass(frozen=True, slots=True)
class Identity:
    """The database role to switch to and the token's claims.

    `claims` is the JSON text for the GUC `request.jwt.claims` (the role is in it, also
    for the anonymous role). `authenticated` is true when a valid token named a role other
    than the anonymous one; `expires_at` is the token's `exp` in seconds since the epoch.
    """

    role: str
    claims: str
    authenticated: bool
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class AuthRules:
    """What a token must satisfy: jwt-aud, jwt-role-claim-key and db-anon-role.

    `audience` None accepts every `aud`; `anonymous_role` None refuses whoever names no role.
    """

    audience: str | None
    role_claim: RoleClaim
    anonymous_role: str | None
