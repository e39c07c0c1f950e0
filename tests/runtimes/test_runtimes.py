"""deploy/examples, each in the runtime it is made for, against the demo's API.

A Cloudflare Worker in workerd, an edge function in Vercel's Edge Runtime, the SDK under
Pyodide and in plain Python functions: each reads, writes, is told that nothing has changed,
and passes on an error and a timeout. What runs is the very file that is there to be copied.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

import edge_client
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import MakeToken, StartEdge
from tests.demo_database import ADA, load_demo, serve_demo
from tests.http.processes import ServerProcess
from tests.ports import free_port
from tests.runtimes import hosts
from tests.runtimes.npm import INSTALL_SECONDS, CannotInstall, installed_packages
from tests.sdk.packages import HTTPX, build_wheel, installed
from tests.sdk.servers import Answer, answering
from tests.waiting import eventually

# The first test of the machine's first run waits for the packages.
pytestmark = pytest.mark.timeout(INSTALL_SECONDS + 60)

DATABASE = "demo_runtimes"
TASKS = 300
IN_JAVASCRIPT = ("worker.js", "worker-postgrest-js.js", "tasks.js", "tasks-postgrest-js.js")
WITH_SDK = ("pyodide/tasks.py", "aws-lambda/handler.py", "vercel-python/api/tasks.py")

WAITING = """select count(*) from pg_stat_activity
    where datname = $1 and wait_event_type = 'Lock' and state = 'active'"""


@pytest.fixture(scope="module")
def packages() -> Path:
    """The npm packages; what needs them is skipped where they can't be had."""
    try:
        return installed_packages()
    except CannotInstall as error:
        pytest.skip(f"not run in its runtime: {error}")


@pytest.fixture(scope="module")
def demo(postgres: EmbeddedPostgres, start_edge: StartEdge) -> Iterator[ServerProcess]:
    """edgerest with the demo's data."""
    load_demo(postgres, DATABASE, TASKS)
    with serve_demo(start_edge, postgres, DATABASE) as server:
        yield server


@pytest.fixture(scope="module")
def ada(token: MakeToken) -> dict[str, str]:
    """The headers of the demo's own user."""
    return token(user_id=ADA)


@pytest.fixture(scope="module")
def environment(demo: ServerProcess) -> dict[str, str]:
    """What the examples are configured with."""
    return configured(demo.url)


def configured(url: str) -> dict[str, str]:
    return {"EDGEREST_URL": url, "TIMEOUT_MS": str(hosts.TIMEOUT_MS)}


@pytest.fixture(scope="module")
def in_pyodide(
    packages: Path,
    environment: dict[str, str],
    ada: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The URL of the SDK under Pyodide, where it is Ada's own."""
    place = tmp_path_factory.mktemp("pyodide")
    own = {"EDGEREST_TOKEN": ada["Authorization"].removeprefix("Bearer ")}
    wheel, needed = build_wheel(place), libraries(place)
    with hosts.in_webassembly(packages, wheel, needed, environment | own) as url:
        yield url


@pytest.fixture(scope="module", params=[*IN_JAVASCRIPT, *WITH_SDK])
def example(
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    ada: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """A client of one example, running in its runtime; Ada calls."""
    name = request.param
    host = (
        nullcontext(request.getfixturevalue("in_pyodide"))
        if name == WITH_SDK[0]
        else hosted(request, name, environment, tmp_path_factory.mktemp("host"))
    )
    with host as url, httpx.Client(base_url=url, headers=ada, timeout=20) as client:
        # A cold start on a busy machine may take longer than the examples wait.
        eventually(lambda: client.post("/", json={}).status_code != 504, seconds=30)
        yield client


def hosted(
    request: pytest.FixtureRequest, name: str, environment: dict[str, str], place: Path
) -> AbstractContextManager[str]:
    """A function in its runtime."""
    if name in WITH_SDK:
        return hosts.python_function(name, environment)
    packages = request.getfixturevalue("packages")
    if name.startswith("worker"):
        return hosts.worker(packages, name, environment, place)
    return hosts.edge_function(packages, name, environment)


def libraries(place: Path) -> Path:
    """httpx and what it needs, as real files: Pyodide follows no link out of the folder."""
    folder = place / "libraries"
    folder.mkdir()
    for name in HTTPX:
        source = installed() / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder)
    return folder


def test_it_reads(example: httpx.Client) -> None:
    answer = example.get("/")
    assert answer.is_success, answer.text
    tasks = answer.json()
    assert len(tasks) == 3
    assert all(task["title"] and task["project"]["name"] for task in tasks)


def test_it_is_told_that_nothing_has_changed(example: httpx.Client) -> None:
    first = example.get("/")
    again = example.get("/", headers={"If-None-Match": first.headers.get("etag", "none")})
    # The SDK keeps the answer and gives it again; fetch passes the 304 on.
    assert again.status_code == 304 or again.headers["x-revalidated"] == "true"
    if again.status_code == 200:
        assert again.json() == first.json()


def test_it_writes(example: httpx.Client, demo: ServerProcess, ada: dict[str, str]) -> None:
    title = f"Made at the edge, {example.base_url}"
    answer = example.post("/", json={"project_id": 2, "title": title})
    assert answer.status_code == 201, answer.text
    (made,) = answer.json()
    with httpx.Client(base_url=demo.url, headers=ada) as client:
        stored = client.get("/tasks", params={"id": f"eq.{made['id']}", "select": "id,title"})
        gone = client.delete("/tasks", params={"id": f"eq.{made['id']}"})
    assert stored.json() == [made] == [{"id": made["id"], "title": title}]
    assert gone.status_code == 204


def test_an_error_keeps_status_and_code(example: httpx.Client) -> None:
    answer = example.post("/", json={"project_id": 2})
    assert (answer.status_code, answer.json()["code"]) == (400, "23502")
    assert "title" in answer.json()["message"]


def test_it_does_not_wait_longer_than_it_may(
    example: httpx.Client, postgres: EmbeddedPostgres
) -> None:
    async def ask_while_locked() -> httpx.Response:
        connection = await asyncpg.connect(postgres.dsn_for(DATABASE))
        try:
            await connection.execute("begin; lock table api.tasks")
            answer = await asyncio.to_thread(example.get, "/")
            # The server has heard of it: nothing waits for the table any more.
            async with asyncio.timeout(5):
                while await connection.fetchval(WAITING, DATABASE):  # noqa: ASYNC110 -- no event tells
                    await asyncio.sleep(0.02)
            return answer
        finally:
            await connection.close()

    begun = time.monotonic()
    answer = asyncio.run(ask_while_locked())
    taken = time.monotonic() - begun
    assert answer.status_code == 504, answer.text
    assert answer.json()["message"]
    assert hosts.TIMEOUT_MS / 1000 <= taken + 0.1 < hosts.TIMEOUT_MS / 1000 + 5
    assert example.get("/").status_code in (200, 304)


def test_a_long_read_under_pyodide(in_pyodide: str) -> None:
    found = checked(in_pyodide, "long_read")
    assert found["method"] == "QUERY"
    assert found["rows"] > 100


def test_a_large_answer_under_pyodide(
    in_pyodide: str, demo: ServerProcess, ada: dict[str, str]
) -> None:
    target = "/tasks?select=*,comments(*),project:projects(*)"
    answer = httpx.get(demo.url + target, headers=ada)
    assert len(answer.content) > 200_000
    assert checked(in_pyodide, "large_answer") == answer.json()


def test_a_stream_under_pyodide(in_pyodide: str, demo: ServerProcess) -> None:
    users = httpx.get(f"{demo.url}/users?select=id&order=id").json()
    assert checked(in_pyodide, "stream") == [user["id"] for user in users]
    assert len(users) > 5


def test_no_server_under_pyodide(in_pyodide: str) -> None:
    found = checked(in_pyodide, "nobody_there", f"http://127.0.0.1:{free_port()}")
    assert found == {"maybe_done": False}


# --- functions, which others call -------------------------------------------------------------

FUNCTIONS = (*IN_JAVASCRIPT, *WITH_SDK[1:])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_asks_with_its_callers_token_where_it_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    row = b'[{"id":1,"title":"x","project":null}]'
    with answering(lambda _: Answer(body=row)) as server:
        for path in ("/rest/v1", "/rest/v1/"):
            with hosted(request, name, configured(server.url + path), tmp_path) as url:
                for token in ("Bearer one", "Bearer two", None):
                    headers = {"Authorization": token} if token else {}
                    assert httpx.get(url, headers=headers, timeout=20).is_success
                refused = httpx.delete(url, headers={"Authorization": "Bearer one"})
                # http.server says 501 to a method that a class has no function for.
                assert refused.status_code == (501 if "vercel-python" in name else 405)
    assert [asked.target.partition("?")[0] for asked in server.asked] == ["/rest/v1/tasks"] * 6
    told = [httpx.Headers(asked.headers).get("Authorization") for asked in server.asked]
    assert told == ["Bearer one", "Bearer two", None] * 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whoever_has_no_token_is_anonymous(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    with hosted(request, name, environment, tmp_path) as url:
        refused = httpx.post(url, json={"project_id": 2, "title": "x"}, timeout=20)
    assert (refused.status_code, refused.json()["code"]) == (401, "42501")


def test_what_the_examples_need_is_what_the_tests_run() -> None:
    pinned = json.loads((hosts.HERE / "package.json").read_text())["dependencies"]
    found = list(hosts.EXAMPLES.rglob("package.json"))
    assert len(found) == 2
    for file in found:
        needed = json.loads(file.read_text())["dependencies"]
        assert needed == {name: pinned[name] for name in needed}
    lists = list(hosts.EXAMPLES.rglob("requirements.txt"))
    assert len(lists) == 2
    for file in lists:
        (wheel,) = (line for line in file.read_text().splitlines() if line[0] != "#")
        assert wheel == f"./edge_client-{edge_client.__version__}-py3-none-any.whl"


@pytest.mark.parametrize("name", IN_JAVASCRIPT)
def test_no_example_follows_a_redirect(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    with (
        answering(lambda _: Answer()) as other,
        answering(lambda _: Answer(307, headers={"Location": other.url})) as server,
    ):
        with hosted(request, name, configured(server.url), tmp_path) as url:
            for answer in (httpx.get(url), httpx.post(url, json={"title": "x"})):
                assert not answer.is_success
        assert len(server.asked) == 2
        assert other.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_under_pyodide(in_pyodide: str, status: int) -> None:
    with (
        answering(lambda _: Answer()) as other,
        answering(lambda _: Answer(status, headers={"Location": other.url})) as server,
    ):
        assert checked(in_pyodide, "redirected", server.url) == [status, status]
    assert len(server.asked) == 2
    assert other.asked == []


def test_a_redirect_that_the_platform_hides_is_one_under_pyodide(in_pyodide: str) -> None:
    assert checked(in_pyodide, "redirected_in_a_browser") == [0, 0]


def test_only_the_client_to_await_works_under_pyodide(in_pyodide: str) -> None:
    assert "use AsyncEdgeClient" in checked(in_pyodide, "without_await")


def checked(host: str, name: str, url: str = "") -> Any:
    answer = httpx.get(f"{host}{name}", headers={"Edgerest-Url": url}, timeout=20)
    assert answer.is_success
    return answer.json()
