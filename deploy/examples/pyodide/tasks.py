"""Python in WebAssembly that asks edgerest with edge_client.

For Pyodide in a browser or in Node, PyScript, JupyterLite and other hosts of Pyodide: the
client sends by the host's own fetch. From JavaScript, or from an asynchronous handler:

    db = connect("https://api.example.com", token)
    status, data = await pending(db)
"""

from typing import Any

from edge_client import APIError, AsyncEdgeClient, DeadlineError, TransportError

Answer = tuple[int, Any]
"""A status and what to send with it."""


def connect(url: str, token: str, seconds: float = 5.0) -> AsyncEdgeClient:
    """Make it once and keep it: it keeps answers, to ask only whether they still hold."""
    return AsyncEdgeClient(url, token=token, timeout=seconds)


async def pending(db: AsyncEdgeClient) -> Answer:
    """The first tasks that wait for somebody."""
    tasks = db.table("tasks").select("id,title,project:projects(name)")
    return await answered(200, tasks.eq("status", "pending").order("id").limit(3))


async def add(db: AsyncEdgeClient, task: dict[str, Any]) -> Answer:
    """A new task."""
    return await answered(201, db.table("tasks").insert(task).select("id,title"))


async def answered(status: int, query: Any) -> Answer:
    """What came of a query, as a status and a body."""
    try:
        result = await query
    except APIError as error:
        return error.status, {"code": error.code, "message": error.message}
    except DeadlineError as error:
        return 504, {"message": str(error)}
    except TransportError as error:
        return 502, {"message": str(error)}
    # "revalidated": edgerest said 304, so the rows are those kept from before.
    return 304 if result.revalidated else status, result.data
