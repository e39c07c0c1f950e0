"""Bind the addresses that the configuration names, for whichever engine serves them.

In: `server-host`, `server-port`, `server-unix-socket` and their like. Out: bound sockets
that don't listen yet, so that a port in use is found out before anything is started.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

_ANY4: Final = (socket.AF_INET, "0.0.0.0")  # noqa: S104 - what the operator asked for
_ANY6: Final = (socket.AF_INET6, "::")
# The host preferences of PostgREST's configuration: `!` means only, `*` means rather.
_SPECIAL: Final = {
    "*": (_ANY6, _ANY4),
    "*4": (_ANY4, _ANY6),
    "!4": (_ANY4,),
    "*6": (_ANY6, _ANY4),
    "!6": (_ANY6,),
}
_IN_WORDS: Final = {
    **dict.fromkeys(("*", "*4", "*6"), "every address,"),
    "!4": "every IPv4 address,",
    "!6": "every IPv6 address,",
}
_ASKED_AT: Final = {
    **dict.fromkeys(("*", "*4", "!4", "*6", "0.0.0.0"), "127.0.0.1"),  # noqa: S104
    **dict.fromkeys(("!6", "::", "[::]"), "::1"),
}
_REUSE: Final = (
    (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT),
)
_COPIED: Final = {
    socket.AF_INET: _REUSE,
    socket.AF_INET6: (*_REUSE, (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)),
}


class ServerError(Exception):
    """The server can't be started as configured; the message says why in one sentence."""


def bind_tcp(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A TCP socket on the first address of `host` that can be had.

    `host` is a name, an address, or one of `*`, `*4`, `!4`, `*6`, `!6`. Port 0 takes a
    free one. Raises `ServerError`.
    """
    failure: OSError | None = None
    for family, address in _candidates(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                only = host != "*" and not host.startswith("*")
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            sock.bind((address, port))
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    reason = failure.strerror if failure else "it has no address"
    shown = _IN_WORDS.get(host, host)
    raise ServerError(f"Cannot listen on {shown} port {port}: {reason}") from failure


def loopback_of(host: str) -> str:
    """Where this very machine reaches a server that listens on `host`: on loopback when that
    is every address, of which IPv4's are always among those of `*`, `*4` and `*6`."""
    return _ASKED_AT.get(host, host)


def bind_beside(sock: socket.socket, count: int) -> list[socket.socket]:
    """`count` more sockets on the address of `sock`, a TCP socket that does not listen yet.

    Once they listen the kernel shares new connections out among all of them (socket(7),
    SO_REUSEPORT); where one socket is listened to by several, whoever is there first may take
    all that come together. Raises `ServerError`.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    address = sock.getsockname()
    found: list[socket.socket] = []
    try:
        for _ in range(count):
            found.append(another := socket.socket(sock.family, socket.SOCK_STREAM))
            for level, option in _COPIED[sock.family]:
                another.setsockopt(level, option, sock.getsockopt(level, option))
            another.bind(address)
            another.setblocking(False)
    except OSError as error:
        for another in found:
            another.close()
        raise ServerError(f"Cannot listen on {describe(sock)}: {error.strerror}") from error
    return found


def _candidates(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    if host in _SPECIAL:
        return list(_SPECIAL[host])
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ServerError(
            f"Cannot listen on {host} port {port}: the host can't be resolved"
        ) from error
    return [(family, str(address[0])) for family, _, _, _, address in found]


def bind_unix(path: Path, mode: int) -> socket.socket:
    """A Unix socket at `path` with the file mode `mode`; replaces a stale socket file.

    Raises `ServerError`, also when something listens there already.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        path.chmod(mode)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ServerError(f"Cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError("another server is listening there")


def describe(sock: socket.socket) -> str:
    """The address of a bound socket as people write it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return str(name)
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"{host}:{name[1]}"
