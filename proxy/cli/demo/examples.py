"""What to try on the running demo: requests as data, shown as lines for a shell.

Everything `edgerest demo` prints as an example is made here, so that a test can run every
one of them.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Example:
    """A request to the demo. `status` is what it is answered with.

    `token` sends the token that the demo made; `http` is the protocol to ask for, 2 by
    prior knowledge. `changes` tells that it writes, so that its answer may differ later.
    """

    title: str
    target: str
    method: Literal["GET", "HEAD", "POST", "PATCH"] = "GET"
    headers: tuple[str, ...] = ()
    body: str | None = None
    token: bool = False
    http: Literal["1.1", "2"] = "2"
    status: int = 200
    changes: bool = False


_JSON: Final = "Content-Type: application/json"
_EXACT: Final = "Prefer: count=exact"
_BACK: Final = "Prefer: return=representation"

EXAMPLES: Final = (
    Example(
        "Pending tasks with their project and comments, over HTTP/2",
        "/tasks?select=id,title,project:projects(name),comments(content)"
        "&status=eq.pending&order=due_date.desc.nullslast&limit=5",
    ),
    Example("The same server over HTTP/1.1", "/projects?select=id,name&limit=3", http="1.1"),
    Example(
        "How many tasks everybody may see (Content-Range)",
        "/tasks?select=id",
        method="HEAD",
        headers=(_EXACT,),
    ),
    Example(
        "How many Ada may see: her token opens the private projects she is a member of",
        "/tasks?select=id",
        method="HEAD",
        headers=(_EXACT,),
        token=True,
    ),
    Example(
        "Filters: urgent or overdue, in public projects, with the name of who works on it",
        "/tasks?select=id,title,priority,overdue,assignee:users!inner(name),"
        "project:projects!inner(name)&projects.is_public=is.true"
        "&or=(priority.eq.1,due_date.lt.2026-01-01)&metadata->>source=eq.phone&limit=3",
    ),
    Example(
        "A view with numbers per project",
        "/project_stats?order=tasks.desc&limit=3",
    ),
    Example(
        "Full-text search, best matches first",
        "/rpc/search_tasks?query=invoice%20load&max_rows=3&select=id,title",
    ),
    Example(
        "Full-text search as a filter, as CSV",
        "/tasks?search=wfts(english).login&select=id,title,status&limit=5",
        headers=("Accept: text/csv",),
    ),
    Example("How far a project has got", "/rpc/project_progress?project_id=1"),
    Example(
        "Add a task",
        "/tasks?select=id,title,status,created_at",
        method="POST",
        headers=(_JSON, _BACK),
        body='{"project_id": 2, "title": "Try edgerest", "tags": ["demo"]}',
        token=True,
        status=201,
        changes=True,
    ),
    Example(
        "Change one",
        "/tasks?id=eq.21&select=id,title,priority,due_date",
        method="PATCH",
        headers=(_JSON, _BACK),
        body='{"priority": 1, "due_date": "2027-01-15"}',
        token=True,
        changes=True,
    ),
    Example(
        "Call a function that writes",
        "/rpc/complete_task?select=id,title,status,completed_at",
        method="POST",
        headers=(_JSON,),
        body='{"task_id": 22}',
        token=True,
        changes=True,
    ),
)


def as_curl(example: Example, base_url: str, token_file: str) -> str:
    """The line that sends `example`, for any POSIX shell; it needs no other line."""
    words = ["curl", "-sS", "--http1.1" if example.http == "1.1" else "--http2-prior-knowledge"]
    if example.method == "HEAD":
        words.append("-I")
    elif example.method != "GET":
        words += ["-X", example.method]
    words.append(shlex.quote(base_url + example.target))
    for header in example.headers:
        words += ["-H", shlex.quote(header)]
    if example.token:
        words += ["-H", f'"Authorization: Bearer $(cat {shlex.quote(token_file)})"']
    if example.body is not None:
        words += ["-d", shlex.quote(example.body)]
    return " ".join(words)
