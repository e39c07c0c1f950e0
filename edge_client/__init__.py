"""A client for edgerest, and for every server that speaks PostgREST.

    from edge_client import EdgeClient

    db = EdgeClient("https://api.example.org", token=...)
    tasks = db.table("tasks").select("id,title").eq("status", "pending").execute().data

docs/sdk.md is the guide.
"""

from edge_client.client import AsyncEdgeClient, EdgeClient
from edge_client.embed import Embed, embed
from edge_client.errors import (
    APIError,
    AuthenticationError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DeadlineError,
    DecodingError,
    EdgeError,
    NotAllowedError,
    PreconditionError,
    RedirectError,
    RowCountError,
    TransportError,
    UnavailableError,
)
from edge_client.query import Async, Query, Result, Row, Rows, Sync, Table
from edge_client.settings import Limits, Retry, Timeout
from edge_client.stream import Progress

__version__ = "0.2.0"

__all__ = [
    "APIError",
    "Async",
    "AsyncEdgeClient",
    "AuthenticationError",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "DeadlineError",
    "DecodingError",
    "EdgeClient",
    "EdgeError",
    "Embed",
    "Limits",
    "NotAllowedError",
    "PreconditionError",
    "Progress",
    "Query",
    "RedirectError",
    "Result",
    "Retry",
    "Row",
    "RowCountError",
    "Rows",
    "Sync",
    "Table",
    "Timeout",
    "TransportError",
    "UnavailableError",
    "embed",
]
