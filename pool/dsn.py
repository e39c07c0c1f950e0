"""Reading `db-uri`: every form libpq accepts, for asyncpg, which takes URIs only.

In: `postgresql://…` or `host=… user=…`, and the environment. Out: a `Target`: the URI for
asyncpg and what asyncpg has no name for. asyncpg reads most of libpq's environment
variables itself; the ones it does not know are read here.
Source: PostgreSQL docs, "Connection Strings", "Parameter Key Words", "Environment
Variables".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pool.errors import ConnectionFailed

_DEFAULT_CONNECT_TIMEOUT: Final = 10.0
_DEFAULT_KEEPALIVE_IDLE: Final = 60
_DEFAULT_KEEPALIVE_INTERVAL: Final = 10
_DEFAULT_KEEPALIVE_COUNT: Final = 3

# asyncpg would send these to the server as settings, and the server would refuse them.
_NOT_FOR_ASYNCPG: Final = frozenset(
    {
        *("channel_binding", "client_encoding", "connect_timeout"),
        *("fallback_application_name", "gssdelegation", "gssencmode", "hostaddr"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"),
        *("load_balance_hosts", "max_protocol_version", "min_protocol_version"),
        *("replication", "require_auth", "requirepeer", "requiressl", "scram_client_key"),
        *("scram_server_key", "sslcertmode", "sslcompression", "sslcrldir"),
        *("sslkeylogfile", "sslsni", "tcp_user_timeout"),
    }
)


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keep-alive: seconds of silence before the first probe and between probes."""

    idle: int = _DEFAULT_KEEPALIVE_IDLE
    interval: int = _DEFAULT_KEEPALIVE_INTERVAL
    count: int = _DEFAULT_KEEPALIVE_COUNT


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: a URI for asyncpg, seconds to wait, keep-alive (None: none)."""

    uri: str
    connect_timeout: float = _DEFAULT_CONNECT_TIMEOUT
    keepalive: Keepalive | None = Keepalive()


def parse_dsn(dsn: str, *, application_name: str, env: Mapping[str, str]) -> Target:
    """The target `dsn` names; `ConnectionFailed` when it can't be read.

    `application_name` is what the connections call themselves unless the DSN or PGAPPNAME
    says otherwise.
    """
    text = dsn.strip()
    if text.startswith(("postgresql://", "postgres://")):
        base, parameters = _split_uri(text)
    else:
        base, parameters = "postgresql://", dict(_pairs(text))
    return _target(base, parameters, application_name, env)


def _target(
    base: str, parameters: dict[str, str], application_name: str, env: Mapping[str, str]
) -> Target:
    name = (
        parameters.get("application_name")
        or env.get("PGAPPNAME")
        or parameters.get("fallback_application_name")
        or application_name
    )
    options = parameters.get("options") or env.get("PGOPTIONS")
    hostaddr = parameters.get("hostaddr") or env.get("PGHOSTADDR")
    passed = {k: v for k, v in parameters.items() if k not in _NOT_FOR_ASYNCPG and v}
    passed["application_name"] = name
    if options:
        passed["options"] = options
    if hostaddr and not passed.get("host") and not urlsplit(base).netloc.rpartition("@")[2]:
        passed["host"] = hostaddr
    timeout = _number(parameters, "connect_timeout") or _number(env, "PGCONNECT_TIMEOUT")
    return Target(
        uri=f"{base}?{urlencode(passed, quote_via=quote)}",
        connect_timeout=float(timeout) if timeout else _DEFAULT_CONNECT_TIMEOUT,
        keepalive=_keepalive(parameters),
    )


def _keepalive(parameters: Mapping[str, str]) -> Keepalive | None:
    if parameters.get("keepalives") == "0":
        return None
    return Keepalive(
        _number(parameters, "keepalives_idle") or _DEFAULT_KEEPALIVE_IDLE,
        _number(parameters, "keepalives_interval") or _DEFAULT_KEEPALIVE_INTERVAL,
        _number(parameters, "keepalives_count") or _DEFAULT_KEEPALIVE_COUNT,
    )


def _number(source: Mapping[str, str], name: str) -> int:
    value = source.get(name, "").strip()
    if not value:
        return 0
    try:
        return max(int(value), 0)
    except ValueError:
        raise ConnectionFailed(
            f'invalid integer value "{value}" for connection option "{name}"'
        ) from None


def _split_uri(text: str) -> tuple[str, dict[str, str]]:
    base, _, query = text.partition("?")
    try:
        urlsplit(base)
        # In libpq a plus sign is itself, not a space.
        plain = query.replace("+", "%2B")
        pairs = parse_qsl(plain, keep_blank_values=True, strict_parsing=bool(plain))
    except ValueError as error:
        raise ConnectionFailed(f"the connection URI can't be read: {error}") from None
    parameters = dict(pairs)
    # JDBC's spelling, which libpq accepts in URIs.
    if parameters.pop("ssl", None) == "true":
        parameters.setdefault("sslmode", "require")
    return base, parameters


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    r"""The `keyword = value` pairs; values may be quoted, `\\` takes the next as it is."""
    at, end = 0, len(text)
    while at < end:
        equals = text.find("=", at)
        name = text[at:equals].strip() if equals >= 0 else text[at:].strip()
        if equals < 0 or not name or len(name.split()) > 1:
            raise ConnectionFailed(
                f'missing "=" after "{name.split()[0] if name else text[at:]}"'
                " in connection info string"
            )
        at = equals + 1
        while at < end and text[at].isspace():
            at += 1
        value, at = _value(text, at)
        yield name, value
        while at < end and text[at].isspace():
            at += 1


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that starts at `at`, and where it ends."""
    quoted = text[at : at + 1] == "'"
    at += quoted
    kept: list[str] = []
    while at < len(text):
        char = text[at]
        if quoted and char == "'":
            return "".join(kept), at + 1
        if not quoted and char.isspace():
            break
        if char == "\\" and at + 1 < len(text):
            at += 1
            char = text[at]
        kept.append(char)
        at += 1
    if quoted:
        raise ConnectionFailed("unterminated quoted string in connection info string")
    return "".join(kept), at
