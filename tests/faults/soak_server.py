"""The real server, which also tells what it holds: for tests that look for leaks.

Run as `python -m tests.faults.soak_server CONFIG SOCKET`. Prints its addresses as one line of
JSON once it listens. Whoever connects to the Unix socket SOCKET is told, as JSON, how many
asyncio tasks there are and how many objects the garbage collector knows after a collection.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from pathlib import Path

from proxy.engines.runner import Listening
from proxy.server.serve import serve
from proxy.settings import load_settings


def main() -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    config, path = Path(sys.argv[1]), sys.argv[2]
    loaded = load_settings(config, os.environ)
    kept: set[asyncio.Task[object]] = set()

    def on_ready(listening: Listening) -> None:
        kept.add(asyncio.get_running_loop().create_task(_report(path)))
        sys.stdout.write(json.dumps({"main": listening.main, "admin": listening.admin}) + "\n")
        sys.stdout.flush()

    return serve(loaded, on_ready=on_ready, reread=lambda: load_settings(config, os.environ))


async def _report(path: str) -> object:
    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gc.collect()
        held = {"tasks": len(asyncio.all_tasks()), "objects": len(gc.get_objects())}
        writer.write(json.dumps(held).encode())
        writer.close()

    return await asyncio.start_unix_server(tell, path)


if __name__ == "__main__":
    sys.exit(main())
