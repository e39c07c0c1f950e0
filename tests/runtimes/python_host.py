"""Serves a Python function as its platform does; prints its URL.

`python python_host.py FILE`: a file with `handler`, either a class for `http.server`
(Vercel's Python functions) or a function of an event (AWS Lambda's, as function URLs send it).
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


def as_class(function: Callable[[dict[str, Any], object], dict[str, Any]]) -> Any:
    class FromEvents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_DELETE(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            http = {"method": self.command, "path": self.path}
            headers = {name.lower(): value for name, value in self.headers.items()}
            event = {"requestContext": {"http": http}, "headers": headers, "body": body}
            answer = function(event, None)
            self.send_response(answer["statusCode"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer["body"].encode())

    return FromEvents


def main() -> None:
    handler = runpy.run_path(sys.argv[1])["handler"]
    if not isinstance(handler, type):
        handler = as_class(handler)
    server = HTTPServer(("127.0.0.1", 0), handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}/\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
