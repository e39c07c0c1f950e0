"""Every code block of the documentation is run, or says by its language that it is output."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from proxy.cli.demo.private_postgres import EmbeddedPostgres, find_binaries
from proxy.cli.main import main as command_line
from proxy.settings import load_settings
from tests.conftest import MakeDatabase, MakeToken, StartEdge
from tests.demo_database import ADA, load_demo, serve_demo
from tests.docs.blocks import Block, all_blocks, blocks_of, name_of, pages, without_blocks
from tests.docs.scripts import Place, moved, script_of
from tests.docs.setups import ELSEWHERE, SETUPS, Setup
from tests.http.processes import ROOT, ServerProcess
from tests.ports import free_port
from tests.runtimes.npm import INSTALL_SECONDS, CannotInstall, installed_packages

SHOWN = ("text", "json", "http", "csv", "promql")
"""Languages of output and illustration."""
TRANSCRIPT = "console"
"""What a person does at a terminal and a test can't: installing, building, make."""
SCRIPTED = ("sh", "sql")
PROGRAMS = ("python", "js", "ts")
CHECKED = ("toml",)

BLOCKS = all_blocks()
HERE = [
    block
    for block in BLOCKS
    if block.language in PROGRAMS and (block.page, block.language) not in ELSEWHERE
]
Serve = Callable[[Setup], AbstractContextManager[Place]]


# --- nothing is left out ----------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_block_is_run_or_says_that_it_is_not(block: Block) -> None:
    if block.language in (*SHOWN, *CHECKED, TRANSCRIPT):
        return
    if (block.page, block.language) in ELSEWHERE:
        return
    assert block.language in (*SCRIPTED, *PROGRAMS), "neither run nor declared as output"
    assert block.page in SETUPS


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_code_is_in_fences(page: Path) -> None:
    # After a blank line, four blanks are a block without a language; in lists they are not.
    found = re.findall(r"^(?! *[-*|]| *\d\.).*\n\n(    +\S.*)", without_blocks(page), re.M)
    assert page.name == "CONTRIBUTING.md" or found == []


def test_what_is_run_elsewhere_is_there() -> None:
    for (page, language), file in ELSEWHERE.items():
        assert Path(page).name in (ROOT / file).read_text()
        assert any((block.page, block.language) == (page, language) for block in BLOCKS)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == TRANSCRIPT], ids=str
)
def test_a_transcript_names_what_exists(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", block.text, re.MULTILINE):
        assert f"\n{target}: " in makefile
    for name in re.findall(r"(?:^|/)edgerest (\w+)", block.text, re.MULTILINE):
        assert name in command_line.commands
    for extras in re.findall(r"\[([\w,]+)\]'", block.text):
        for extra in extras.split(","):
            assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    for file in re.findall(r"(?:-f |^cd |^cp )([\w./]+)", block.text, re.MULTILINE):
        assert any((ROOT / start / file).exists() for start in ("", "deploy/compose"))


# --- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "toml"], ids=str
)
def test_the_settings_are_settings(block: Block, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret for tests that is long enough")
    (tmp_path / "uri").write_text("postgresql://x/y")
    config = tmp_path / "edgerest.toml"
    config.write_text(
        re.sub(
            r'"@/([^"]*)"',
            lambda file: f'"@{tmp_path / ("uri" if "uri" in file[1] else "secret")}"',
            block.text,
        )
    )
    variables = {
        name: "postgresql://x/y" if "URI" in name else f"{name}, which is as long as it must be"
        for name in re.findall(r"\$\((\w+)\)", block.text)
    }
    assert load_settings(config, variables).warnings == ()


# --- scripts and programs ---------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(postgres: EmbeddedPostgres, start_edge: StartEdge) -> Iterator[ServerProcess]:
    """The demo, as `make demo` serves it."""
    load_demo(postgres, "demo_docs", 2000)
    with serve_demo(start_edge, postgres, "demo_docs") as server:
        yield server


@pytest.fixture
def serve(
    request: pytest.FixtureRequest,
    postgres: EmbeddedPostgres,
    shop: str,
    make_database: MakeDatabase,
    tmp_path: Path,
) -> Serve:
    """Brings what a page takes for granted."""

    @contextmanager
    def bring(setup: Setup) -> Iterator[Place]:
        if setup.serves == "fresh":
            with (
                tempfile.TemporaryDirectory(prefix="edgerest-test-") as directory,
                EmbeddedPostgres(Path(directory), durable=False) as empty,
            ):
                yield Place(free_url(), empty.dsn, empty.dsn_for("postgres", "authenticator"))
        elif setup.serves == "database":
            schema = tmp_path / "schema.sql"
            schema.write_text(setup.schema)
            name = make_database(schema)
            dsn = postgres.dsn_for(name, "authenticator")
            yield Place(free_url(), postgres.dsn_for(name), dsn)
        elif setup.serves == "demo":
            server = request.getfixturevalue("demo")
            yield Place(server.url, postgres.dsn_for("demo_docs"), "")
        else:
            url = free_url() if setup.serves == "nothing" else edge_url(request)
            yield Place(url, postgres.dsn_for(shop), postgres.dsn_for(shop, "authenticator"))

    return bring


def edge_url(request: pytest.FixtureRequest) -> str:
    server: ServerProcess = request.getfixturevalue("edge")
    return server.url


def free_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def environment(place: Place) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return ours | {
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
        "PSQL": str(find_binaries() / "psql"),
        "DSN": place.owner_dsn,
        "URL": place.url,
    }


def said(command: list[str], code: str, place: Place, directory: Path) -> str:
    done = subprocess.run(
        command,
        input=code,
        cwd=directory,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


SCRIPTS = sorted({block.page for block in BLOCKS if block.language in SCRIPTED} & set(SETUPS))


@pytest.mark.parametrize("page", SCRIPTS)
def test_the_script_of_the_page(
    page: str, serve: Serve, token: MakeToken, tmp_path: Path
) -> None:
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "token").write_text(bearer(token))
    setup = SETUPS[page]
    with serve(setup) as place:
        script = script_of(blocks_of(ROOT / page), place)
        try:
            # As a file: aliases of one line count in the next only then.
            (tmp_path / "script").write_text(script)
            output = said(["bash", "script"], "", place, tmp_path)
        finally:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int((tmp_path / "server.pid").read_text()), signal.SIGTERM)
    for part in setup.says:
        before, found, output = output.partition(part)
        assert found, f"no {part} in {before}"


def bearer(token: MakeToken) -> str:
    return token(sub="ada", user_id=ADA)["Authorization"].removeprefix("Bearer ")


@pytest.mark.timeout(INSTALL_SECONDS + 60)
@pytest.mark.parametrize("block", HERE, ids=str)
def test_the_program(block: Block, serve: Serve, token: MakeToken, tmp_path: Path) -> None:
    with serve(SETUPS[block.page]) as place:
        given = {"URL": place.url, "TOKEN": bearer(token), "DATABASE_URL": place.owner_dsn}
        text = moved(block.text, place)
        if block.language == "python":
            head = "".join(f"{name} = {value!r}\n" for name, value in given.items())
            command = [sys.executable, "-W", "ignore", "-"]
        else:
            head = "".join(f"const {name} = {value!r}\n" for name, value in given.items())
            text += "\nif (typeof data !== 'undefined') console.log(data)\n"
            command = ["node", "--input-type=module", "-"]
            (tmp_path / "node_modules").symlink_to(node_packages() / "node_modules")
        output = said(command, head + text, place, tmp_path)
    assert "id" in output


def node_packages() -> Path:
    try:
        return installed_packages()
    except CannotInstall as error:
        pytest.skip(f"JavaScript is not run: {error}")


def test_both_ways_of_the_poolers_page_print_the_same(
    serve: Serve, token: MakeToken, tmp_path: Path
) -> None:
    programs = [
        block
        for block in blocks_of(ROOT / "docs" / "migrate-pooler.md")
        if block.language == "python"
    ]
    assert [block.title for block in programs] == ["through a pooler", "with edgerest"]
    with serve(SETUPS["docs/migrate-pooler.md"]) as place:
        head = (
            f"URL, TOKEN, DATABASE_URL = {place.url!r}, {bearer(token)!r},"
            f" {place.owner_dsn!r}\n"
        )
        command = [sys.executable, "-W", "ignore", "-"]
        first, second = (
            said(command, head + textwrap.dedent(block.text), place, tmp_path)
            for block in programs
        )
    assert first == second == "[{'id': 1, 'amount': 12.0}]\n"


def test_bash_and_openssl_are_there() -> None:
    assert shutil.which("bash")
    assert shutil.which("openssl")
