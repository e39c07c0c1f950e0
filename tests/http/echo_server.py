"""A server whose application tells what reached it, to test everything around it.

Run as `python -m tests.http.echo_server '{"admin": true, …}'`; prints its
addresses as one line of JSON once it listens.

/            what came, as JSON
/wait?N      answers after N seconds; /waiting?N answers once N of these are running or done
/cancelled?N answers once N of the waits were cancelled
/big?N       N bytes
/pid         the process that answers
/boom        raises
/stream?N    N pieces of 64 KiB, of unknown length together
/drip?N      N pieces of a byte, 20 ms apart; N,fails raises then, N,hangs waits, N,late is late
/rush?N      N pieces of 64 KiB, made without ever waiting
/streamed?N  the pieces made, once N of the streams were closed
/memory      the most memory that the process had, in KiB
/status?N    this status, with a Content-Length and a body of four bytes
/odd?HEX     a response header `x-odd` with these bytes
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from proxy.engines.model import EngineOptions
from proxy.engines.runner import Address, Listening, ServerOptions, run_server
from proxy.engines.sockets import ServerError
from proxy.http.cors import CorsPolicy
from proxy.http.data_plane import Answer, EdgeOptions, Limits
from proxy.observability.record import Record
from proxy.request.model import HttpRequest
from proxy.response.model import Response, Stream


class Echo:
    def __init__(self) -> None:
        self.ready = False
        self.waits = 0
        self.cancelled = 0
        self.streamed = 0
        self.closed = 0
        self.changed = asyncio.Condition()

    async def start(self) -> None:
        self.ready = True

    async def close(self) -> None:
        sys.stdout.write("closed\n")
        sys.stdout.flush()

    async def admit(self, head: HttpRequest, record: Record) -> Answer:
        return self.answer

    async def answer(self, request: HttpRequest, record: Record) -> Response:
        argument = request.query.decode()
        match request.path:
            case b"/wait":
                return await self.wait(float(argument))
            case b"/waiting":
                async with self.changed:
                    await self.changed.wait_for(lambda: self.waits >= int(argument))
                return _text(str(self.waits))
            case b"/cancelled":
                async with self.changed:
                    await self.changed.wait_for(lambda: self.cancelled >= int(argument))
                return _text(str(self.cancelled))
            case b"/big":
                return Response(200, (), b"x" * int(argument))
            case b"/stream":
                return Response(
                    200, (), stream=Stream(self.pieces(int(argument), b"x" * 65536))
                )
            case b"/rush":
                rush = self.pieces(int(argument), b"x" * 65536, None)
                return Response(200, (), stream=Stream(rush))
            case b"/drip":
                count, _, then = argument.partition(",")
                drips = self.pieces(int(count), b".", 0.02, then)
                late = asyncio.get_running_loop().time() + 0.5 if then == "late" else None
                return Response(200, (), stream=Stream(drips, late))
            case b"/streamed":
                async with self.changed:
                    await self.changed.wait_for(lambda: self.closed >= int(argument))
                return _text(str(self.streamed))
            case b"/memory":
                return _text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
            case b"/pid":
                return _text(str(os.getpid()))
            case _:
                return _simple(request, argument)

    async def pieces(
        self, count: int, piece: bytes, pause: float | None = 0, then: str = ""
    ) -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(count):
                if pause is not None:
                    await asyncio.sleep(pause)
                self.streamed += 1
                yield piece
            if then == "fails":
                raise RuntimeError("a secret of the inside")
            if then:
                await asyncio.sleep(60)
        finally:
            async with self.changed:
                self.closed += 1
                self.changed.notify_all()

    async def wait(self, seconds: float) -> Response:
        async with self.changed:
            self.waits += 1
            self.changed.notify_all()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            async with self.changed:
                self.cancelled += 1
                self.changed.notify_all()
            raise
        return _text("waited")


def _simple(request: HttpRequest, argument: str) -> Response:
    match request.path:
        case b"/memory":
            return _text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        case b"/boom":
            raise RuntimeError("a secret of the inside")
        case b"/status":
            return Response(int(argument), ((b"Content-Length", b"4"),), b"body")
        case b"/odd":
            return Response(200, ((b"X-Odd", bytes.fromhex(argument)),), b"odd")
        case _:
            return _text(json.dumps(_described(request)))


def _text(text: str) -> Response:
    return Response(200, ((b"Content-Type", b"application/json"),), text.encode())


def _described(request: HttpRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path.decode("latin-1"),
        "query": request.query.decode("latin-1"),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers],
        "length": len(request.body),
    }


def options_from(given: dict[str, Any]) -> ServerOptions:
    cert = Path(given["cert"]) if "cert" in given else None
    unix = given.get("unix_socket")
    return ServerOptions(
        main=Address(
            host="127.0.0.1",
            port=given.get("port", 0),
            unix_socket=Path(unix) if unix else None,
            reuse_port=given.get("reuse_port", False),
        ),
        admin=Address(host="127.0.0.1", port=0) if given.get("admin") else None,
        workers=given.get("workers", 1),
        engine_options=EngineOptions(
            idle_timeout=given.get("idle_timeout", 30.0),
            drain_timeout=given.get("drain_timeout", 5.0),
            farewell=given.get("farewell", 1.0),
            cert=cert,
            key=cert,
        ),
        drain_delay=given.get("drain_delay", 0.0),
        edge=EdgeOptions(
            limits=Limits(
                max_url=given.get("max_url", 65_536),
                max_body=given.get("max_body", 1_000_000),
                body_timeout=given.get("body_timeout", 30.0),
                send_timeout=given.get("send_timeout", 30.0),
            ),
            cors=CorsPolicy(tuple(o.encode() for o in given.get("origins", ()))),
            trace_header=b"x-request-id" if given.get("trace") else None,
        ),
    )


def main() -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)

    def on_ready(listening: Listening) -> None:
        sys.stdout.write(json.dumps({"main": listening.main, "admin": listening.admin}) + "\n")
        sys.stdout.flush()

    try:
        return run_server(Echo(), options_from(json.loads(sys.argv[1])), on_ready=on_ready)
    except ServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
