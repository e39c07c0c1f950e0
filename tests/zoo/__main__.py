"""The whole walk through the zoo: `python -m tests.zoo [STEPS]`.

Starts a private PostgreSQL ($EDGEREST_PG_BIN chooses another version than the wheel's) and
a server, and writes each difference as it is found. With $POSTGREST_BIN the same steps are
then asked of that PostgREST too, side by side (`tests.zoo.beside`). Exits 1 when anything
is left unexplained.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.conftest import execute
from tests.http.processes import running
from tests.roles import ROLES
from tests.zoo import beside
from tests.zoo.run import SETTINGS, planned, walk
from tests.zoo.schema import SCHEMA

STAGE: Final = 2000
"""So many requests between two signs of life."""


def main() -> int:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else None
    unexplained = 0

    def tell(difference: str) -> None:
        nonlocal unexplained
        unexplained += 1
        say(difference)

    with (
        tempfile.TemporaryDirectory(prefix="edgerest-zoo-") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as postgres,
    ):
        asyncio.run(execute(postgres.dsn, ROLES + SCHEMA))
        uri = postgres.dsn_for("postgres", "authenticator")
        taken = asyncio.run(planned(postgres.dsn, most))
        with edge(Path(directory), {**SETTINGS, "db-uri": uri}) as url:
            for start in range(0, len(taken), STAGE):
                asyncio.run(walk(postgres.dsn, url, taken[start : start + STAGE], tell))
                say(f"{min(start + STAGE, len(taken))} of {len(taken)} requests")
        say(f"{len(taken)} requests, {unexplained} differences")
        if other := os.environ.get("POSTGREST_BIN"):
            settings = {**SETTINGS, "db-uri": uri, "csv-plain-backslashes": False}
            with (
                edge(Path(directory), settings) as url,
                beside.other_server(other, Path(directory), settings) as other_url,
            ):
                found = asyncio.run(beside.compare(url, other_url, taken, tell))
            for reason, times in found.most_common():
                say(f"{times} times: {reason}")
    return 1 if unexplained else 0


@contextmanager
def edge(directory: Path, settings: dict[str, str | bool]) -> Iterator[str]:
    """The address of a server with these settings."""
    config = directory / "edge.conf"
    given = {**settings, "db-anon-role": "web_anon", "server-host": "127.0.0.1"}
    lines = {**given, "server-port": 0}
    config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in lines.items()))
    with running([sys.executable, "-m", "tests.http.edge_server", str(config)]) as server:
        yield server.url
        if "Traceback" in server.log:
            raise RuntimeError(server.log)


def say(text: str) -> None:
    """A line for the person who watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
