"""Record what real clients send: `python -m tests.engines.record`, for tests.engines.fuzz.

In: the clients and proxies that are installed. Out: tests/engines/sessions/NAME.bin, the bytes
of one connection each, as they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from tests.engines.fuzz import SESSIONS
from tests.http.processes import echo_server
from tests.ports import free_port

_GET: Final = "/films?select=id,title&year=gte.1990&order=id.desc"
_NODE_H1: Final = """
const http = require('http'); const agent = new http.Agent({keepAlive: true});
const ask = (o, body) => new Promise((done) => { const r = http.request({host: '127.0.0.1',
  port: process.argv[1], agent, ...o}, (a) => { a.resume(); a.on('end', done); });
  r.end(body); });
(async () => { await ask({path: '/films?id=eq.1'});
  await ask({path: '/films', method: 'POST', headers: {'content-type': 'application/json'}},
            '[{"id":1}]'); agent.destroy(); })();
"""
_NODE_H2: Final = """
const http2 = require('http2'); const c = http2.connect('http://127.0.0.1:' + process.argv[1]);
const ask = (h, body) => new Promise((done) => { const r = c.request(h); r.resume();
  r.on('end', done); r.end(body); });
(async () => { await Promise.all([ask({':path': '/films?id=eq.1'}), ask({':path': '/a'}),
  ask({':path': '/films', ':method': 'POST'}, '[{"id":1}]')]); c.close(); })();
"""
_UNDICI: Final = """
const url = 'http://127.0.0.1:' + process.argv[1];
(async () => { await (await fetch(url + '/films?name=eq.%C3%A9')).text();
  await (await fetch(url + '/films', {method: 'POST', body: '[{"id":1}]'})).text();
  process.exit(0); })();
"""


def _commands(port: int) -> Iterator[tuple[str, list[str]]]:
    url = f"http://127.0.0.1:{port}"
    curl = ["curl", "-s", "-o", "/dev/null", "-o", "/dev/null"]
    both = [f"{url}{_GET}", f"{url}/caf%C3%A9"]
    yield "curl-1.1", [*curl, *both]
    yield "curl-1.0", [*curl, "--http1.0", *both]
    # This version of curl can't send a second request there.
    yield "curl-2", [*curl, "--http2-prior-knowledge", both[0]]
    yield "curl-upgrade", [*curl, "--http2", *both]
    yield "curl-post", [*curl, "-d", '[{"id":1}]', url + "/films"]
    yield "curl-chunks", [*curl, "-H", "Transfer-Encoding: chunked", "-d", "[]", url + "/films"]
    yield "curl-100", [*curl, "-H", "Expect: 100-continue", "-d", "[]", url + "/films"]
    yield "curl-raw", [*curl, "-g", url + '/films?meta->>lang=eq."a"&tags=cs.{"b"}']
    yield "nghttp2", ["h2load", "-n6", "-c1", "-m3", *both]
    yield "nghttp2-post", ["h2load", "-n2", "-c1", "-d", "/etc/hostname", url + "/films"]
    yield "h2load-1.1", ["h2load", "--h1", "-n3", "-c1", *both]
    yield "node-1.1", ["node", "-e", _NODE_H1, str(port)]
    yield "node-2", ["node", "-e", _NODE_H2, str(port)]
    yield "undici", ["node", "-e", _UNDICI, str(port)]


def _proxies(port: int, own: int, scratch: Path) -> Iterator[tuple[str, list[str]]]:
    caddy = scratch / "Caddyfile"
    caddy.write_text(
        "{\n admin off\n auto_https off\n}\n"
        f"http://127.0.0.1:{own} {{\n reverse_proxy h2c://127.0.0.1:{port}\n}}\n"
    )
    yield "caddy-2", ["caddy", "run", "--adapter", "caddyfile", "--config", str(caddy)]
    nginx = scratch / "nginx.conf"
    nginx.write_text(
        f"daemon off; pid {scratch}/pid; error_log stderr; events {{}}\n"
        "http { access_log off;\n"
        f"client_body_temp_path {scratch}; proxy_temp_path {scratch};\n"
        f"server {{ listen 127.0.0.1:{own}; location / {{ proxy_pass http://127.0.0.1:{port};\n"
        "proxy_http_version 1.1; proxy_set_header Connection ''; } } }\n"
    )
    yield "nginx-1.1", ["nginx", "-p", str(scratch), "-c", str(nginx)]
    haproxy = scratch / "haproxy.cfg"
    haproxy.write_text(
        "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n"
        f"frontend f\n bind 127.0.0.1:{own}\n default_backend b\n"
        f"backend b\n server s 127.0.0.1:{port} proto h2\n"
    )
    yield "haproxy-2", ["haproxy", "-f", str(haproxy)]


async def _through(name: str, upstream: int, ask: Callable[[int], None]) -> None:
    """Have `ask` talk through a tee to the server at `upstream`; keep the first connection."""
    taken: list[bytearray] = []

    async def tee(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytearray()
        taken.append(sent)
        back, there = await asyncio.open_connection("127.0.0.1", upstream)

        async def copy(
            source: asyncio.StreamReader, to: asyncio.StreamWriter, up: bool
        ) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if up:
                        sent.extend(data)
                    to.write(data)
            to.close()

        await asyncio.gather(copy(reader, there, True), copy(back, writer, False))

    server = await asyncio.start_server(tee, "127.0.0.1", 0)
    await asyncio.to_thread(ask, server.sockets[0].getsockname()[1])
    server.close()
    if taken and taken[0]:
        (SESSIONS / f"{name}.bin").write_bytes(bytes(taken[0]))
        sys.stdout.write(f"{name}: {len(taken[0])} bytes\n")


def _with_httpx(port: int, *, http2: bool) -> None:
    with httpx.Client(http1=not http2, http2=http2, base_url=f"http://127.0.0.1:{port}") as c:
        c.get(_GET)
        c.post("/films", json=[{"id": 1}])
        c.patch("/films", content=iter([b"{", b"}"]))


def _behind(command: list[str], own: int) -> None:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            transport = httpx.HTTPTransport(retries=8)
            with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{own}") as c:
                c.get(_GET)
                c.post("/films", json=[{"id": 1}])
        finally:
            process.terminate()


def main() -> int:
    """Records all that can be had."""
    SESSIONS.mkdir(exist_ok=True)
    with echo_server() as server, tempfile.TemporaryDirectory() as scratch:
        for name, command in _commands(0):
            if shutil.which(command[0]):

                def ask(port: int, name: str = name) -> None:
                    subprocess.run(dict(_commands(port))[name], check=True, timeout=30)

                asyncio.run(_through(name, server.port, ask))
        for name, http2 in (("httpx-1.1", False), ("httpx-2", True)):
            asyncio.run(_through(name, server.port, partial(_with_httpx, http2=http2)))
        for name in ("caddy-2", "nginx-1.1", "haproxy-2"):
            own = free_port()

            def behind(port: int, name: str = name, own: int = own) -> None:
                _behind(dict(_proxies(port, own, Path(scratch)))[name], own)

            if shutil.which(name.split("-")[0]):
                asyncio.run(_through(name, server.port, behind))
    return 0


if __name__ == "__main__":
    sys.exit(main())
