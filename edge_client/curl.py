"""A request as a curl command, with `$TOKEN`, `$APIKEY` … in place of what lets one in.

In: the base URL and a request. Out: one line for a shell.
"""

from __future__ import annotations

from shlex import quote
from typing import Final

from edge_client.operation import Request
from edge_client.settings import DEADLINE_HEADER

_SECRETS: Final = frozenset(("apikey", "x-api-key", "cookie", "proxy-authorization"))
_LEFT_OUT: Final = frozenset((DEADLINE_HEADER, "x-request-id", "x-retry-count"))


def curl_command(base_url: str, request: Request) -> str:
    """The command that sends `request`."""
    words = ["curl"]
    if request.method == "HEAD":
        words.append("--head")
    elif request.method != "GET":
        words += ["-X", request.method]
    words.append(quote(base_url + request.target))
    for name, value in request.headers.items():
        if name == "authorization":
            scheme = value.partition(" ")[0]
            words.append(f'-H "authorization: {scheme} $TOKEN"')
        elif name in _SECRETS:
            words.append(f'-H "{name}: ${name.upper().replace("-", "")}"')
        elif name not in _LEFT_OUT:
            words.append(f"-H {quote(f'{name}: {value}')}")
    if request.body is not None:
        words.append(f"--data-raw {quote(request.body.decode())}")
    return " ".join(words)
