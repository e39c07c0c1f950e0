"""`edgerest ready`: the admin server's answer to /ready, for health checks of containers.

In: the settings of the running server. Out: whether it is ready, and PostgREST's words for
it (its `--ready`). Unlike PostgREST it asks a server on every address, too: on loopback.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import quote

from proxy.engines.sockets import loopback_of
from proxy.settings import Settings

_TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the server is ready, and the line that says so."""

    ready: bool
    text: str


def ask_ready(settings: Settings, app: str | None = None) -> Answer:
    """Ask once, about the whole server or about `app`."""
    target = "/ready" if app is None else f"/ready?app={quote(app, safe='')}"
    host, port = loopback_of(settings.admin_server_host), settings.admin_server_port
    path = settings.admin_server_unix_socket
    if path is not None:
        return _ask(lambda: _connect_unix(path), "localhost", target, str(path))
    if port is None:
        return _no("Admin server is not running. Please check admin-server-port config.")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{target}"
    return _ask(lambda: socket.create_connection((host, port), _TIMEOUT), host, target, url)


def _connect_unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_TIMEOUT)
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def _ask(connect: Callable[[], socket.socket], host: str, target: str, shown: str) -> Answer:
    try:
        with connect() as sock:
            connection = HTTPConnection(host)
            connection.sock = sock
            connection.request("GET", target)
            status = connection.getresponse().status
    except (OSError, HTTPException):
        return _no(f"connection refused to {shown}")
    return Answer(True, f"OK: {shown}") if 200 <= status < 300 else _no(shown)


def _no(reason: str) -> Answer:
    return Answer(False, f"ERROR: {reason}")
