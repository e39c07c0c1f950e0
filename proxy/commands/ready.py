"""`edgerest ready`: the admin server's answer to /ready, for health checks of containers.

In: the settings of the running server. Out: whether it is ready, and PostgREST's words for
it (its `--ready`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import httpx

from proxy.settings import Settings

_TIMEOUT: Final = 10.0
_SPECIAL_HOSTS: Final = ("*", "*4", "!4", "*6", "!6")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the server is ready, and the line that says so."""

    ready: bool
    text: str


def ask_ready(settings: Settings) -> Answer:
    """Ask once."""
    host, port = settings.admin_server_host, settings.admin_server_port
    socket = settings.admin_server_unix_socket
    if socket is not None:
        return _ask("http://localhost/ready", httpx.HTTPTransport(uds=str(socket)), str(socket))
    if port is None:
        return _no("Admin server is not running. Please check admin-server-port config.")
    if host in _SPECIAL_HOSTS:
        return _no(
            "The `--ready` flag cannot be used when server-host is configured as"
            f' "{host}". Please update your server-host config to "localhost".'
        )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/ready"
    return _ask(url, httpx.HTTPTransport(), url)


def _ask(url: str, transport: httpx.HTTPTransport, shown: str) -> Answer:
    try:
        with httpx.Client(transport=transport, timeout=_TIMEOUT) as client:
            response = client.get(url)
    except httpx.InvalidURL:
        return _no(f"invalid url - {shown}")
    except httpx.HTTPError:
        return _no(f"connection refused to {shown}")
    return Answer(True, f"OK: {shown}") if response.is_success else _no(shown)


def _no(reason: str) -> Answer:
    return Answer(False, f"ERROR: {reason}")
