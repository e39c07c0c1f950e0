"""Who may see what the admin server has beyond PostgREST's: its machine, or who has the token.

In: what is known of a request. Out: whether it is let in. Pure.

Its machine is the other end of the connection, loopback or a Unix socket, never what a header
says. Two who are on the machine and speak for others are kept out: a reverse proxy, as far as
it says that it is one, and a browser whose page has a name that was made to point here (DNS
rebinding), for `Host` is then that name. No page of another site can make a browser send the
token.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

_SENT_ON: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers of proxies. Whoever adds one can only lose by it."""


def is_local(peer: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from this very machine. `peer` is the address at the other end,
    None of a Unix socket; `headers` are found by their names in small letters."""
    if any(name in headers for name in _SENT_ON):
        return False
    # No browser speaks to a Unix socket.
    return peer is None or (_is_loopback(peer) and _names_loopback(headers.get("host", "")))


def has_token(token: str | None, authorization: str) -> bool:
    """Whether `authorization`, a header, is the bearer token; none is good when none is set
    or it is empty."""
    scheme, _, given = authorization.partition(" ")
    same = hmac.compare_digest(given.strip().encode(), (token or "").encode())
    return bool(token) and scheme.lower() == "bearer" and same


def _names_loopback(host: str) -> bool:
    """Whether a Host header means this machine wherever it is resolved; programs leave it
    out, browsers don't."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() in ("", "localhost") or _is_loopback(name)


def _is_loopback(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback
