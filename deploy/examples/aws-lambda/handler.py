"""An AWS Lambda function (function URL or HTTP API) that asks edgerest with edge_client.

EDGEREST_URL and EDGEREST_TOKEN are its environment variables.
"""

import json
import os
from typing import Any

from edge_client import APIError, DeadlineError, EdgeClient, TransportError

# Outside the handler: its connections and stored answers serve the next invocations too.
db = EdgeClient(
    os.environ["EDGEREST_URL"],
    token=os.environ["EDGEREST_TOKEN"],
    timeout=float(os.environ.get("TIMEOUT_MS", "5000")) / 1000,
)
PENDING = (
    db.table("tasks")
    .select("id,title,project:projects(name)")
    .eq("status", "pending")
    .order("id")
    .limit(3)
)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What Lambda calls."""
    try:
        if event["requestContext"]["http"]["method"] == "POST":
            task = json.loads(event["body"])
            made = db.table("tasks").insert(task).select("id,title").execute()
            return answer(201, made.data)
        found = PENDING.execute()
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
