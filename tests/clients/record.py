"""Record what a client says to the server and what it is answered.

    python -m tests.clients.record NAME COMMAND...

starts a server in front of `schema.sql`, runs COMMAND with its address in $API_URL, and
writes the exchanges to `exchanges/NAME.json`. `drivers/` has the commands' programs; they
need the packages that they import.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.http.processes import running
from tests.roles import ROLES

HERE: Final = Path(__file__).parent
SCHEMA: Final = HERE / "schema.sql"
EXCHANGES: Final = HERE / "exchanges"
SETTINGS: Final[dict[str, Any]] = {
    "db-schemas": "api, next_auth",
    "db-anon-role": "web_anon",
    "server-host": "127.0.0.1",
    "server-port": 0,
}
ASKED: Final = frozenset(
    "accept accept-profile content-profile content-type prefer range range-unit".split()
)
ANSWERED: Final = frozenset(
    ("content-type", "content-range", "location", "preference-applied", "content-profile")
)
"""The headers that are kept, of requests and of answers."""


def exchange(client: httpx.Client, asked: dict[str, Any]) -> dict[str, Any]:
    """`asked` with its answer."""
    answer = client.request(
        asked["method"], asked["target"], headers=asked["headers"], content=asked["body"]
    )
    kept = {name: value for name, value in answer.headers.items() if name in ANSWERED}
    is_description = "openapi" in answer.headers.get("content-type", "")
    text = _what_clients_read(answer.json()) if is_description else answer.text
    return {**asked, "status": answer.status_code, "answered": kept, "answer": text}


def _what_clients_read(description: dict[str, Any]) -> str:
    """The paths of an API and the notes on its columns; the rest tests/openapi is for."""
    definitions = {
        name: {
            "properties": {
                column: {"description": about.get("description")}
                for column, about in definition["properties"].items()
            }
        }
        for name, definition in description["definitions"].items()
    }
    paths = dict.fromkeys(description["paths"])
    return json.dumps({"paths": paths, "definitions": definitions})


def main() -> int:
    name, *command = sys.argv[1:]
    exchanges: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres(Path(directory)) as db:
        asyncio.run(execute(db.dsn, ROLES + SCHEMA.read_text()))
        config = Path(directory) / "edge.conf"
        settings = {**SETTINGS, "db-uri": db.dsn_for("postgres", "authenticator")}
        config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items()))
        serve = [sys.executable, "-m", "tests.http.edge_server", str(config)]
        with running(serve) as server, httpx.Client(base_url=server.url) as client:
            status = _record(client, command, exchanges)
    text = json.dumps(exchanges, ensure_ascii=False, indent=1)
    (EXCHANGES / f"{name}.json").write_text(text + "\n")
    print(f"{len(exchanges)} exchanges")  # noqa: T201 -- this is a program
    return status


def _record(client: httpx.Client, command: list[str], exchanges: list[dict[str, Any]]) -> int:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            headers = {k.lower(): v for k, v in self.headers.items() if k.lower() in ASKED}
            # Clients of Supabase put this before every path.
            target = self.path.removeprefix("/rest/v1")
            asked = {
                "method": self.command, "target": target, "headers": headers, "body": body
            }  # fmt: skip
            done = exchange(client, asked)
            exchanges.append(done)
            answer = b"" if self.command == "HEAD" else done["answer"].encode()
            self.send_response(done["status"])
            for header, value in done["answered"].items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.pass_on)
    relay = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{relay.server_port}"
    status = subprocess.run(command, env={**os.environ, "API_URL": address}, check=False)
    relay.shutdown()
    return status.returncode


if __name__ == "__main__":
    sys.exit(main())
