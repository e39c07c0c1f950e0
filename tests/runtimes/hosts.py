"""Starts each of deploy/examples in the runtime it is made for.

In: where edgerest is and a token. Out: the URL that the example answers on, as its users
would call it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.http.processes import ROOT

HERE = Path(__file__).parent
EXAMPLES = ROOT / "deploy" / "examples"
TIMEOUT_MS = 1500
"""What the examples are told: long for a read, short for a test of the timeout."""


@contextmanager
def first_line(
    command: Sequence[object], environment: Mapping[str, str], directory: Path
) -> Iterator[str]:
    """What the command prints first; it runs until the end of the block.

    Raises RuntimeError with what it said when it ends instead.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [str(word) for word in command],
            cwd=directory,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            if line:
                yield line
            if process.poll() is not None:
                errors.seek(0)
                raise RuntimeError(errors.read()[-2000:].decode(errors="replace"))
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()


WORKERD = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = %(date)s,
  bindings = [%(bindings)s],
);
"""


@contextmanager
def worker(
    packages: Path, main: str, environment: Mapping[str, str], directory: Path
) -> Iterator[str]:
    """A Cloudflare Worker, in workerd, bundled and configured as its wrangler.jsonc says."""
    source = EXAMPLES / "cloudflare-worker"
    text = (source / "wrangler.jsonc").read_text()
    settings = json.loads(re.sub(r"^ *//.*$", "", text, flags=re.MULTILINE))
    assert set(settings["vars"]) | {"TIMEOUT_MS"} == set(environment)
    modules = packages / "node_modules"
    folder = directory / main
    subprocess.run(
        [
            *("node", modules / "esbuild" / "bin" / "esbuild", source / main),
            *("--bundle", "--format=esm", "--log-level=error"),
            f"--outfile={folder / 'worker.js'}",
        ],
        env={**os.environ, "NODE_PATH": str(modules)},
        check=True,
    )
    bindings = (
        f"(name = {json.dumps(name)}, text = {json.dumps(value)})"
        for name, value in environment.items()
    )
    config = folder / "workerd.capnp"
    date = json.dumps(settings["compatibility_date"])
    config.write_text(WORKERD % {"date": date, "bindings": ", ".join(bindings)})
    (binary,) = (modules / "@cloudflare").glob("workerd-*/bin/workerd")
    with first_line([binary, "serve", config, "--control-fd=1"], {}, folder) as line:
        yield f"http://127.0.0.1:{json.loads(line)['port']}/"


def edge_function(
    packages: Path, name: str, environment: Mapping[str, str]
) -> AbstractContextManager[str]:
    """A Vercel edge function, in Vercel's Edge Runtime."""
    example = EXAMPLES / "vercel-edge" / "api" / name
    return first_line(["node", HERE / "edge_host.mjs", example], environment, packages)


def in_webassembly(
    packages: Path, wheel: Path, libraries: Path, environment: Mapping[str, str]
) -> AbstractContextManager[str]:
    """The SDK under Pyodide in Node."""
    example = EXAMPLES / "pyodide" / "tasks.py"
    checks = HERE / "pyodide_checks.py"
    command = ["node", HERE / "pyodide_host.mjs", example, checks, wheel, libraries]
    return first_line(command, environment, packages)


def python_function(name: str, environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """A Python function as Lambda or Vercel call it."""
    command = [sys.executable, HERE / "python_host.py", EXAMPLES / name]
    return first_line(command, {**environment, "PYTHONPATH": str(ROOT)}, ROOT)
