"""What a new connection costs: `python -m tests.bench.connections`.

Out: for a connection that is made, used for one request and closed, the
server's processor time and what the clock says, in milliseconds: in the clear, with a full
TLS handshake and with a resumed one (RFC 8446, 2.2).
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import trustme

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.bench.__main__ import DATABASE, prepare
from tests.bench.scenarios import SCENARIOS, SERVER_ROLE
from tests.bench.server import ServerError, children_of, edgerest, running

_TICKS: Final = 100  # a second; Linux's USER_HZ
_REQUEST: Final = (
    f"GET {SCENARIOS[0].targets[0]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
).encode()


def spent(pid: int) -> float:
    """Seconds of processor time that a process and its children have used."""
    ticks = 0
    for each in children_of(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def connect_once(
    port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """A connection with one request; the TLS session that the next one may resume.

    Raises `ServerError` for another answer than 200, and when `session` was not resumed.
    """
    plain = socket.create_connection(("127.0.0.1", port), timeout=30)
    if context is None:
        with plain:
            _ask(plain)
        return None
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as plug:
        _ask(plug)
        if session is not None and not plug.session_reused:
            raise ServerError("the server did not resume a TLS session")
        return plug.session


def _ask(plug: socket.socket) -> None:
    plug.sendall(_REQUEST)
    answer = plug.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ServerError(f"answered {answer[:200]!r}")


def cost(
    pid: int, port: int, context: ssl.SSLContext | None, *, resumes: bool, count: int
) -> str:
    """A line for `count` connections, one after the other."""
    session = connect_once(port, context, None) if resumes else None
    before, began = spent(pid), time.perf_counter()
    for _ in range(count):
        following = connect_once(port, context, session)
        session = following if resumes else None
    processor = (spent(pid) - before) / count * 1000
    clock = (time.perf_counter() - began) / count * 1000
    return f"{processor:8.2f} ms of the server's processor, {clock:8.2f} ms by the clock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures all three."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.connections", description=__doc__
    )
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        scratch.chmod(0o711)
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        cert, key = scratch / "cert.pem", scratch / "key.pem"
        issued.cert_chain_pems[0].write_to_path(str(cert))
        issued.private_key_pem.write_to_path(str(key))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        database = stack.enter_context(EmbeddedPostgres(scratch / "pg"))
        asyncio.run(prepare(database))
        dsn = database.dsn_for(DATABASE, SERVER_ROLE)
        tls = f'server-tls-cert = "{cert}"\nserver-tls-key = "{key}"\n'
        for settings, used, resumes, name in (
            ("", None, False, "in the clear"),
            (tls, context, False, "TLS, full handshake"),
            (tls, context, True, "TLS, resumed"),
        ):
            contender = edgerest(dsn, 1, pool=4, scratch=scratch, settings=settings)
            trusted = str(scratch / "authority.pem")
            authority.cert_pem.write_to_path(trusted)
            with running(contender, scratch, trusted if settings else None) as pid:
                line = cost(pid, contender.port, used, resumes=resumes, count=options.count)
            print(f"{name:22}{line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
