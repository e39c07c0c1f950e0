"""A Vercel Python function that asks edgerest with edge_client, as whoever calls it.

EDGEREST_URL is an environment variable of the project; a path in it is kept.
"""

import json
import os
from http.server import BaseHTTPRequestHandler
from typing import Any

from edge_client import APIError, DeadlineError, EdgeClient, TransportError

# Outside the handler: its connections and stored answers serve the next requests too.
db = EdgeClient(
    os.environ["EDGEREST_URL"],
    timeout=float(os.environ.get("TIMEOUT_MS", "5000")) / 1000,
)


class handler(BaseHTTPRequestHandler):
    """What Vercel looks for, under this very name."""

    def do_GET(self) -> None:
        tasks = self.db().table("tasks").select("id,title,project:projects(name)")
        self.answer(200, tasks.eq("status", "pending").order("id").limit(3))

    def do_POST(self) -> None:
        task = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(201, self.db().table("tasks").insert(task).select("id,title"))

    def db(self) -> EdgeClient:
        """The client, with the token of whoever calls."""
        return db.with_token(
            self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        )

    def answer(self, status: int, query: Any) -> None:
        data: object
        revalidated = False
        try:
            result = query.execute()
            # "revalidated": edgerest said 304, so the rows are those kept from before.
            data, revalidated = result.data, result.revalidated
        except APIError as error:
            status, data = error.status, {"code": error.code, "message": error.message}
        except DeadlineError as error:
            status, data = 504, {"message": str(error)}
        except TransportError as error:
            status, data = 502, {"message": str(error)}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Revalidated", str(revalidated).lower())
        self.end_headers()
        self.wfile.write(json.dumps(data).encode())
