"""An AWS Lambda function (function URL or HTTP API) that asks edgerest as whoever calls it.

EDGEREST_URL is an environment variable of the function; a path in it is kept.
"""

import json
import os
from typing import Any

from edge_client import APIError, DeadlineError, EdgeClient, TransportError

# Outside the handler: its connections and stored answers serve the next invocations too.
db = EdgeClient(
    os.environ["EDGEREST_URL"],
    timeout=float(os.environ.get("TIMEOUT_MS", "5000")) / 1000,
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What Lambda calls."""
    method = event["requestContext"]["http"]["method"]
    if method not in ("GET", "POST"):
        return answer(405, {"message": "use GET or POST"}, {"Allow": "GET, POST"})
    # Lambda writes headers' names in lower case. Without a token the caller is anonymous.
    token = event["headers"].get("authorization", "").removeprefix("Bearer ")
    tasks = db.with_token(token or None).table("tasks")
    try:
        if method == "POST":
            made = tasks.insert(json.loads(event["body"])).select("id,title").execute()
            return answer(201, made.data)
        pending = tasks.select("id,title,project:projects(name)").eq("status", "pending")
        found = pending.order("id").limit(3).execute()
        # "revalidated": edgerest said 304, so the rows are those kept from before.
        return answer(200, found.data, {"X-Revalidated": str(found.revalidated).lower()})
    except APIError as error:
        return answer(error.status, {"code": error.code, "message": error.message})
    except DeadlineError as error:
        return answer(504, {"message": str(error)})
    except TransportError as error:
        return answer(502, {"message": str(error)})


def answer(status: int, data: object, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A response as Lambda takes it."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", **(headers or {})},
        "body": json.dumps(data),
    }
