"""docs/migrate-supabase.md: supabase-js, Supabase's roles and auth.uid() on edgerest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner

from proxy.cli.demo.private_postgres import EmbeddedPostgres
from proxy.cli.main import main
from tests.conftest import SECRET, MakeDatabase, MakeToken
from tests.docs.blocks import blocks_of
from tests.http.processes import ROOT, ServerProcess, running
from tests.runtimes.npm import INSTALL_SECONDS, CannotInstall, installed_packages
from tests.sdk.servers import Answer, Scripted, answering

pytestmark = pytest.mark.timeout(INSTALL_SECONDS + 60)

BLOCKS = list(blocks_of(ROOT / "docs" / "migrate-supabase.md"))
LOGIN, TABLE = (block.text for block in BLOCKS if block.language == "sql")
(CONFIG,) = (block.text for block in BLOCKS if block.language == "toml")
PROGRAMS = {block.title: block.text for block in BLOCKS if block.language == "js"}
ADA, BOB = str(uuid4()), str(uuid4())

SUPABASE = """
do $$ begin
    if to_regrole('anon') is null then
        create role anon nologin;
        create role authenticated nologin;
        create role service_role nologin bypassrls;
    end if;
end $$;
create schema auth;
grant usage on schema auth to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
create schema extensions;
-- As Supabase has it.
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
"""

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def config(
    make_database: MakeDatabase,
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The page's configuration as a file, CONFIG, and the variables that it names."""
    place = tmp_path_factory.mktemp("supabase")
    (place / "schema.sql").write_text(
        f"{SUPABASE}{LOGIN}{TABLE}"
        "insert into public.notes (owner, body)"
        f" values ('{ADA}', 'Ada''s'), ('{BOB}', 'Bob''s');"
    )
    (place / "edgerest.toml").write_text(CONFIG)
    return {
        "CONFIG": str(place / "edgerest.toml"),
        "SUPABASE_JWT_SECRET": SECRET,
        "SUPABASE_DB_URI": postgres.dsn_for(make_database(place / "schema.sql"), "edgerest"),
        "PGRST_SERVER_PORT": "0",
        "PGRST_SERVER_HOST": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def server(config: dict[str, str]) -> Iterator[ServerProcess]:
    """edgerest, as the page configures it."""
    command = [sys.executable, "-m", "tests.http.edge_server", config["CONFIG"]]
    with running(command, **{**os.environ, **config}) as process:
        yield process


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Scripted]:
    """Supabase, as far as it is not the database."""
    with answering(lambda _: Answer(404, body=b"{}")) as there:
        yield there


@pytest.fixture
def run(server: ServerProcess, elsewhere: Scripted, token: MakeToken, tmp_path: Path) -> Run:
    """Runs a program of the page; what it prints."""
    try:
        packages = installed_packages()
    except CannotInstall as error:
        pytest.skip(f"supabase-js is not run: {error}")
    (tmp_path / "node_modules").symlink_to(packages / "node_modules")

    def key(role: str, **claims: str) -> str:
        return token(role, **claims)["Authorization"].removeprefix("Bearer ")

    given = {
        "EDGEREST_URL": server.url,
        "SUPABASE_URL": elsewhere.url,
        "ANON_KEY": key("anon"),
        "SERVICE_KEY": key("service_role"),
        "USER_TOKEN": key("authenticated", sub=ADA),
    }
    # supabase-js asks for a WebSocket when it is made, which Node.js 20 has not; nothing here
    # opens one.
    head = "globalThis.WebSocket ??= class {}\n" + "".join(
        f"const {name} = {value!r}\n" for name, value in given.items()
    )

    def program(text: str) -> str:
        # Imports come before everything else; this one must come after the line above.
        text = text.replace(
            "import { createClient } from '@supabase/supabase-js'",
            "const { createClient } = await import('@supabase/supabase-js')",
        )
        done = subprocess.run(
            ["node", "--input-type=module", "-"],
            input=head + text,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return program


def test_data_comes_from_edgerest_and_the_rest_from_supabase(
    run: Run, elsewhere: Scripted
) -> None:
    program = PROGRAMS["data from edgerest, the rest from Supabase"]
    before = len(elsewhere.asked)
    # Nobody has logged in: the policy is for those who have.
    assert run(program) == "[]\n"
    assert len(elsewhere.asked) == before
    run(program + "await supabase.auth.signInWithPassword({ email: 'a@b.c', password: 'x' })\n")
    assert [asked.target.split("?")[0] for asked in elsewhere.asked[before:]] == [
        "/auth/v1/token"
    ]


def test_a_user_writes_and_sees_what_is_theirs(run: Run) -> None:
    said = run(PROGRAMS["tokens from elsewhere"])
    assert said.split() == f"{{ owner: '{ADA}', body: 'Written through edgerest' }}".split()
    seen = run(
        PROGRAMS["tokens from elsewhere"].partition("const { data")[0]
        + "const { data } = await supabase.from('notes').select('owner')\n"
        + "console.log(data.length, new Set(data.map((note) => note.owner)))\n"
    )
    assert seen == f"2 Set(1) {{ '{ADA}' }}\n"


def test_the_service_role_sees_everything(run: Run) -> None:
    said = run(PROGRAMS["on a server"])
    assert ADA in said
    assert BOB in said


def test_a_key_that_is_no_token_is_refused(run: Run, server: ServerProcess) -> None:
    text = (
        "const { createClient } = await import('@supabase/supabase-js')\n"
        "const supabase = createClient(EDGEREST_URL, 'sb_publishable_x')\n"
        "const { status, error } = await supabase.from('notes').select()\n"
        "console.log(status, error.code)\n"
    )
    assert run(text).startswith("401 PGRST3")
    assert "sb_publishable_x" not in server.log


def test_the_commands_of_the_page(config: dict[str, str], server: ServerProcess) -> None:
    commands = "".join(block.text for block in BLOCKS if block.language == "sh")
    assert "edgerest check edgerest.toml" in commands
    line = "edgerest token edgerest.toml --role anon --expires never"
    assert line in commands
    checked = CliRunner(env=config).invoke(main, ["check", config["CONFIG"]])
    assert checked.exit_code == 0, checked.output
    words = [config["CONFIG"] if word == "edgerest.toml" else word for word in line.split()[1:]]
    made = CliRunner(env=config).invoke(main, words)
    assert made.exit_code == 0, made.output
    headers = {"Authorization": f"Bearer {made.stdout.strip()}", "apikey": "anything"}
    answer = httpx.get(f"{server.url}/rest/v1/notes", headers=headers)
    assert (answer.status_code, answer.json()) == (200, [])
