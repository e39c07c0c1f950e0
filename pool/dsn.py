"""Reading `db-uri`: every form libpq accepts, for asyncpg, which takes URIs only.

In: `postgresql://…` or `host=… user=…`, and the environment. Out: a `Target`: the URI for
asyncpg and what asyncpg has no name for. asyncpg reads most of libpq's environment
variables itself; the ones it does not know are read here.

A DSN holds a password, and one that is written wrongly holds it anywhere. So nothing of a
DSN gets into a text but through this module: what can't be read is told by its kind and
place, never by quoting it; `pool.reasons` says what a driver or server said, without its words
where these may name a part of a password; `is_showable` tells what may be shown as it is.

Source: PostgreSQL docs, "Connection Strings", "Parameter Key Words", "Environment
Variables"; for the ends of user and password, `conninfo_uri_parse_options` in libpq.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pool.errors import ConnectionFailed

_DEFAULT_CONNECT_TIMEOUT: Final = 10.0
# A peer that vanished is noticed after half a minute, whether it owes us an answer
# (15 + 3 * 5 seconds) or the acknowledgement of what we sent (30 seconds).
_DEFAULT_KEEPALIVE_IDLE: Final = 15
_DEFAULT_KEEPALIVE_INTERVAL: Final = 5
_DEFAULT_KEEPALIVE_COUNT: Final = 3
_DEFAULT_USER_TIMEOUT: Final = 30_000
_DEFAULT_PORT: Final = 5432

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
_FOR_ASYNCPG: Final = frozenset(
    {
        *("application_name", "database", "dbname", "host", "krbsrvname", "gsslib", "options"),
        *("passfile", "password", "port", "service", "servicefile", "ssl", "sslcert", "sslcrl"),
        *("sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert", "user"),
        *("ssl_max_protocol_version", "ssl_min_protocol_version", "target_session_attrs"),
    }
)
_SECRETS: Final = ("password", "sslpassword", "scram_client_key", "scram_server_key")
_FREE: Final = (*_SECRETS, "options")
_PLACES: Final = ("host", "hostaddr")
_AFTER_AUTHORITY: Final = re.compile("[/?]")
_SEPARATOR: Final = re.compile(r"[=;&?@:]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*+")
ESCAPE: Final = "write / ? # and @ in a user name or password as %2F %3F %23 and %40"
"""What to do about a connection string that may be read otherwise than it was meant."""
# What may stand in each part of a URI as it is; "%" because it may be escaped already.
_IN_USER: Final = "%!$&'()*+,;=:~"
_IN_HOST: Final = "%[]:,!$&'()*+;=~"
_IN_PATH: Final = "/%!$&'()*+,;=:@~"


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keep-alive: seconds of silence before the first probe and between probes."""

    idle: int = _DEFAULT_KEEPALIVE_IDLE
    interval: int = _DEFAULT_KEEPALIVE_INTERVAL
    count: int = _DEFAULT_KEEPALIVE_COUNT


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect: a URI for asyncpg, seconds to wait, keep-alive (None: none).

    `user_timeout`: milliseconds that sent bytes may stay unacknowledged, 0 for the system's
    own. `hosts`: names and ports when there are several, tried in this order, or in any
    when `shuffles`; each gets `connect_timeout` seconds. `server_kind`: the kind of server
    wanted (`target_session_attrs`). `doubtful`: what was taken for a host, a database or an
    option may be a part of a password that was not escaped.
    """

    uri: str = field(repr=False)
    connect_timeout: float = _DEFAULT_CONNECT_TIMEOUT
    keepalive: Keepalive | None = Keepalive()
    user_timeout: int = _DEFAULT_USER_TIMEOUT
    hosts: tuple[tuple[str, int], ...] = field(default=(), repr=False)
    shuffles: bool = False
    server_kind: str = "any"
    doubtful: bool = False

    def host_name(self, number: int) -> str:
        """What the host of this number, from 0 on, is called in a message."""
        return f"host {number + 1}" if self.doubtful else self.hosts[number][0]

    @property
    def host(self) -> str | None:
        """The only host; None when it comes from the environment, or there are several."""
        url = urlsplit(self.uri)
        return url.hostname or dict(parse_qsl(url.query)).get("host")

    @property
    def database(self) -> str:
        """Which database it is, as `host:port/name`: two that differ in their user or their
        parameters have the same. What the environment adds is left out, as it adds the same
        to all; two spellings of one host are two."""
        url = urlsplit(self.uri)
        asked = dict(parse_qsl(url.query))
        account, _, address = url.netloc.rpartition("@")
        user = unquote(account.partition(":")[0]) or asked.get("user", "")
        name = unquote(url.path[1:]) or asked.get("database") or asked.get("dbname") or user
        places = self.hosts or [_host_of_uri(address, asked.get("port") or str(_DEFAULT_PORT))]
        listed = ",".join(f"{host or asked.get('host', '')}:{port}" for host, port in places)
        return f"{listed}/{name}"


Dsn = str | Callable[[], str]
"""A DSN, or what gives the DSN of the moment. It is called in a thread, whenever a server
refuses what it said before; it must not raise."""


def parse_dsn(dsn: str, *, application_name: str, env: Mapping[str, str]) -> Target:
    """The target `dsn` names; `ConnectionFailed` when it can't be read.

    `application_name` is what the connections call themselves unless the DSN or PGAPPNAME
    says otherwise.
    """
    try:
        base, parameters, doubtful = _parts(dsn)
        return _target(base, parameters, application_name, env, doubtful)
    except ValueError:
        # Of urllib's, which quote: unbalanced brackets, characters that can't be encoded.
        raise ConnectionFailed(f"the connection string can't be read; {ESCAPE}") from None


def is_showable(dsn: str) -> bool:
    """Whether `dsn` holds no password for certain, so that it may be shown as it is."""
    try:
        target = parse_dsn(dsn, application_name="", env={})
    except ConnectionFailed:
        return False
    base, parameters, _ = _parts(dsn)
    account = urlsplit(base).netloc.rpartition("@")[0]
    return not (target.doubtful or ":" in account or any(map(parameters.get, _SECRETS)))


def _parts(dsn: str) -> tuple[str, dict[str, str], bool]:
    """The URI without its query, the parameters, and whether any may be a password's part:
    a further `@` may end it, a name that is no option's may stand in it, and another
    notation's separator may come before it (`user=u;password=p`)."""
    text = dsn.strip()
    if text.startswith(("postgresql://", "postgres://")):
        base, parameters = _split_uri(text)
    else:
        base, parameters = "postgresql://", dict(_pairs(text))
    url = urlsplit(base)
    account, _, places = url.netloc.rpartition("@")
    names = [account.partition(":")[0], url.path, places.replace(":", "")]
    for key, value in parameters.items():
        if key not in _FREE:
            names.append(value.replace(":", "") if key in _PLACES else value)
    doubtful = (
        any(map(_SEPARATOR.search, names))
        or text.count("@") > url.netloc.count("@")
        or not parameters.keys() <= _NOT_FOR_ASYNCPG | _FOR_ASYNCPG
    )
    return base, parameters, doubtful


def _target(
    base: str,
    parameters: dict[str, str],
    application_name: str,
    env: Mapping[str, str],
    doubtful: bool,
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
    user_timeout = parameters.get("tcp_user_timeout", "").strip()
    kind = parameters.get("target_session_attrs") or env.get("PGTARGETSESSIONATTRS")
    spread = parameters.get("load_balance_hosts") or env.get("PGLOADBALANCEHOSTS")
    return Target(
        uri=f"{base}?{urlencode(passed, quote_via=quote)}",
        connect_timeout=float(timeout) if timeout else _DEFAULT_CONNECT_TIMEOUT,
        keepalive=_keepalive(parameters),
        user_timeout=_number(parameters, "tcp_user_timeout")
        if user_timeout
        else _DEFAULT_USER_TIMEOUT,
        hosts=_several_hosts(base, passed, env),
        shuffles=spread == "random",
        server_kind=kind or "any",
        doubtful=doubtful,
    )


def _several_hosts(
    base: str, parameters: Mapping[str, str], env: Mapping[str, str]
) -> tuple[tuple[str, int], ...]:
    """The hosts in their order with their ports; empty when there are less than two."""
    inside = urlsplit(base).netloc.rpartition("@")[2]
    listed = inside or parameters.get("host") or env.get("PGHOST") or ""
    names = listed.split(",")
    if len(names) < 2:
        _host_of_uri(inside, parameters.get("port") or str(_DEFAULT_PORT))
        return ()
    ports = (parameters.get("port") or env.get("PGPORT") or str(_DEFAULT_PORT)).split(",")
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise ConnectionFailed(
            f"could not match {len(ports)} port numbers to {len(names)} hosts"
        )
    if not inside:
        pairs = zip(names, ports, strict=True)
        return tuple((name.strip(), _port(port)) for name, port in pairs)
    return tuple(_host_of_uri(name, port) for name, port in zip(names, ports, strict=True))


def _host_of_uri(name: str, default_port: str) -> tuple[str, int]:
    """What stands between two commas of a URI: `name`, `name:port`, `[address]:port`."""
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = name.partition(":")
    return unquote(host), _port(unquote(port) or default_port)


def _port(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConnectionFailed(
            f'invalid integer value for connection option "port"; {ESCAPE}'
        ) from None


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
            f'invalid integer value for connection option "{name}"'
        ) from None


def _split_uri(text: str) -> tuple[str, dict[str, str]]:
    """As libpq splits it: user and password end at the first `@` if no `/` comes before."""
    scheme, _, rest = text.partition("://")
    account, at, after = rest.partition("@")
    if not at or "/" in account:
        account, at, after = "", "", rest
    authority = _AFTER_AUTHORITY.split(after, maxsplit=1)[0]
    path, _, query = after[len(authority) :].partition("?")
    if "@" in authority:
        raise ConnectionFailed(f'there is an "@" in the name of a host; {ESCAPE}')
    base = (
        f"{scheme}://{quote(account, _IN_USER)}{at}{quote(authority, _IN_HOST)}"
        f"{quote(path, _IN_PATH)}"
    )
    urlsplit(base)
    # In libpq a plus sign is itself, not a space.
    plain = query.replace("+", "%2B")
    parameters = dict(parse_qsl(plain, keep_blank_values=True, strict_parsing=bool(plain)))
    # JDBC's spelling, which libpq accepts in URIs.
    if parameters.pop("ssl", None) == "true":
        parameters.setdefault("sslmode", "require")
    return base, parameters


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    r"""The `keyword = value` pairs; values may be quoted, `\\` takes the next as it is."""
    at, end = 0, len(text)
    while at < end:
        equals = text.find("=", at)
        name = text[at:equals].strip() if equals >= 0 else ""
        if not _NAME.fullmatch(name):
            raise ConnectionFailed(
                f'missing "=" after a keyword, from character {at + 1} of the connection'
                " info string on; a URI begins with postgresql:// or postgres://"
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
