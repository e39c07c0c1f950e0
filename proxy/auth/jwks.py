"""Keys that an identity provider publishes: what its answer says, and where it may be asked.

In: the body of a JSON Web Key Set (RFC 7517), the URI of `jwt-jwks-uri`. Out: a `KeySet`
to verify with, or ValueError. Pure; `proxy.auth.key_source` fetches.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Final
from urllib.parse import urlsplit

from proxy.auth.keys import Key, KeySet, jwk_keys

MAX_BODY: Final = 256 * 1024
"""In bytes, of a key set that is read."""
MAX_KEYS: Final = 100
"""Of a key set; a token that names no key is tried with each that fits."""
NO_KEYS: Final = KeySet(())


def parse_jwks(body: bytes) -> KeySet:
    """The keys in a published key set.

    Left out are keys that can't verify a signature, malformed ones, and symmetric ones:
    whoever can read the set could sign with them. Raises ValueError when `body` is no key
    set, has too many keys, or none that is of use; it then changes nothing.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the answer is not JSON") from error
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise ValueError("the answer is not a JSON Web Key Set")
    if len(published) > MAX_KEYS:
        raise ValueError(f"the key set has more than {MAX_KEYS} keys")
    keys: list[Key] = []
    for jwk in published:
        if isinstance(jwk, dict) and jwk.get("kty") != "oct":
            try:
                keys += jwk_keys(jwk)
            except ValueError:
                continue
    if not keys:
        raise ValueError("the key set has no key to verify tokens with")
    return KeySet(tuple(keys))


def merged_keys(secret: KeySet | None, published: KeySet) -> KeySet:
    """The keys of both, those of jwt-secret first."""
    return KeySet((*(secret.keys if secret else ()), *published.keys))


def check_uri(uri: str, *, allow_http: bool) -> None:
    """Raise ValueError unless keys may be fetched from `uri`: by https, or by http from this
    very machine or when that is allowed, for who can change the answer can sign tokens."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        # It quotes what it takes for the port, which may be a part of a password.
        raise ValueError("is not an https URL with a good host and port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an https URL")
    if parts.username is not None or parts.fragment or port == 0:
        raise ValueError("must have no user, password and fragment")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ValueError("must be https, unless jwt-jwks-allow-http is set")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
