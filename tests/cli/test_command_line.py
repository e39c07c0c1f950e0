"""What is typed, and what is answered when it can't be done."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgerest import __version__
from proxy.cli.main import as_command, main
from proxy.settings import Settings
from proxy.settings.docs import configuration_markdown
from proxy.settings.dump import dump_settings, example_file
from tests.cli.processes import run_edgerest
from tests.http.processes import ROOT

KNOWN = {"serve", "check", "schema", "ready", "dump-config", "example"}


def run(*args: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(main, list(args))


@pytest.mark.parametrize(
    "typed, environ, understood",
    [
        ("", {}, "--help"),
        ("", {"PGRST_DB_URI": "x"}, "serve"),
        ("postgrest.conf", {}, "serve postgrest.conf"),
        ("serve x.conf", {}, "serve x.conf"),
        ("check --dump-config", {}, "check --dump-config"),
        ("--dump-config x.conf", {}, "dump-config x.conf"),
        ("x.conf --dump-config", {}, "dump-config x.conf"),
        ("serve x.conf --dump-config", {}, "dump-config x.conf"),
        ("serve --dump-config x.conf", {}, "dump-config x.conf"),
        ("serve --ready", {}, "ready"),
        ("serve", {}, "serve"),
        ("--dump-schema", {}, "schema"),
        ("--ready x.conf", {}, "ready x.conf"),
        ("-e", {}, "example"),
        ("--version", {}, "--version"),
        ("--help", {}, "--help"),
    ],
)
def test_postgrests_command_line_is_understood(
    typed: str, environ: dict[str, str], understood: str
) -> None:
    assert as_command(typed.split(), environ, KNOWN) == understood.split()


COMMANDS = sorted(main.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_command_is_told_which_was_meant(command: str) -> None:
    for wrong in (
        command[:-2] + command[-1],
        command[0] + command,
        command.upper()[:1] + command[1:],
    ):
        for more in ((), ("x.conf",)):
            result = run(wrong, *more)
            assert result.exit_code == 2
            assert result.stderr.splitlines()[-1] == (
                f"Error: There is no command and no file '{wrong}'; did you mean {command}?"
            )


def test_a_file_may_be_called_nearly_like_a_command(tmp_path: Path) -> None:
    file = tmp_path / "chek"
    file.write_text("db-pool = 0")
    with contextlib.chdir(tmp_path):
        result = run("chek")
    assert "db-pool" in result.stderr
    assert "did you mean" not in result.stderr


def test_version() -> None:
    assert run("--version").output == f"edgerest {__version__}\n"
    assert run("-v").output == f"edgerest {__version__}\n"


def test_example_and_documentation_are_printed() -> None:
    assert run("--example").output == example_file()
    assert run("config-docs").output == configuration_markdown()


def test_documentation_out_of_date_is_told(tmp_path: Path) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(configuration_markdown())
    assert run("config-docs", "--check", str(page)).exit_code == 0
    page.write_text("old")
    result = run("config-docs", "--check", str(page))
    assert result.exit_code == 1
    assert result.stderr == f"edgerest: {page} is out of date; run `make docs`\n"


def test_the_configuration_is_dumped_without_a_database(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text("db-config = false\ndb-pool = 3")
    result = run("--dump-config", str(config), PGRST_DB_CHANNEL="news")
    assert result.stdout == dump_settings(
        Settings(db_config=False, db_pool=3, db_channel="news")
    )


def test_the_configuration_is_dumped_while_the_database_is_away() -> None:
    dsn = "postgresql://127.0.0.1:1/nowhere"
    result = run("--dump-config", PGRST_DB_URI=dsn, PGRST_DB_SCHEMAS="one, two")
    assert result.exit_code == 0
    assert result.stdout == dump_settings(Settings(db_uri=dsn, db_schemas=("one", "two")))
    assert result.stderr.startswith("edgerest: warning: without the database's settings: ")


def test_a_dump_is_written_as_postgrest_writes_it() -> None:
    dumped = dump_settings(
        Settings(
            db_schemas=("one", "two"),
            jwt_role_claim_key='.a[0].b_@"."[?(@ == ".c")]'.replace('"."', '."x.y"'),
            server_cors_allowed_origins=("http://a", "http://b"),
        )
    ).splitlines()
    assert 'db-schemas = "one,two"' in dumped
    assert 'server-cors-allowed-origins = "http://a,http://b"' in dumped
    path = r".\"a\"[0].\"b_@\".\"x.y\"[?(@ == \".c\")]"
    assert f'jwt-role-claim-key = "{path}"' in dumped


def test_true_is_no_number_and_counts_as_not_set(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text("db-config = false\ndb-max-rows = true\ndb-pool = false")
    result = run("dump-config", str(config))
    assert (result.exit_code, result.stdout) == (0, dump_settings(Settings(db_config=False)))
    assert result.stderr.splitlines() == [
        "edgerest: warning: db-max-rows is a number: 'true' counts as not set",
        "edgerest: warning: db-pool is a number: 'false' counts as not set",
    ]


def test_faults_are_told_one_a_line_and_warnings_with_them(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text('db-pool = "x"\nlog-level = "y"')
    result = run("serve", str(config))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.split(":")[1] for line in result.stderr.splitlines()] == [
        " db-pool",
        " log-level",
    ]


def test_an_unknown_key_does_not_stop_anything(tmp_path: Path) -> None:
    config = tmp_path / "c"
    config.write_text("db-config = false\ndb-pol = 1")
    result = run("dump-config", str(config))
    assert result.exit_code == 0
    assert (
        result.stderr == "edgerest: warning: db-pol is not a setting; did you mean db-pool?\n"
    )


@pytest.mark.parametrize(
    "args", [("serve", "a", "b"), ("--nonsense",), ("demo", "--port", "x"), ("demo", "x")]
)
def test_a_wrong_command_line_is_status_2(args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.parametrize("command", ["serve", "schema", "check", "dump-config"])
def test_an_address_that_can_not_be_read_is_a_sentence(command: str) -> None:
    result = run(command, PGRST_DB_URI="host=x nonsense", PGRST_SERVER_PORT="0")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert 'missing "=" after a keyword, from character 8 ' in result.stderr
    assert "nonsense" not in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "environ, answer",
    [
        (
            {},
            "ERROR: Admin server is not running. Please check admin-server-port config.",
        ),
        (
            {"PGRST_ADMIN_SERVER_PORT": "1"},
            "ERROR: connection refused to http://127.0.0.1:1/ready",
        ),
        (
            {"PGRST_ADMIN_SERVER_PORT": "1", "PGRST_SERVER_HOST": "127.0.0.1"},
            "ERROR: connection refused to http://127.0.0.1:1/ready",
        ),
        (
            {"PGRST_ADMIN_SERVER_PORT": "1", "PGRST_ADMIN_SERVER_HOST": "::1"},
            "ERROR: connection refused to http://[::1]:1/ready",
        ),
        (
            {"PGRST_ADMIN_SERVER_UNIX_SOCKET": "/no/such/socket"},
            "ERROR: connection refused to /no/such/socket",
        ),
    ],
)
def test_ready_says_why_not(environ: dict[str, str], answer: str) -> None:
    result = run("--ready", **environ)
    assert result.exit_code == 1
    assert result.stderr == answer + "\n"


def test_the_installed_command_answers() -> None:
    """In a process of its own, where nothing has been imported before."""
    found = run_edgerest("--dump-config", PGRST_DB_CONFIG="false")
    assert found.returncode == 0
    assert found.stderr == ""
    assert json.loads(found.stdout.partition("db-anon-role = ")[2].partition("\n")[0]) == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_tab_key_completes_commands(shell: str, tmp_path: Path) -> None:
    # docs/quick-start.md shows how a shell comes to it.
    script = tmp_path / "edgerest"
    script.write_text("from edgerest.__main__ import main\nmain()\n")

    def said(mode: str, **words: str) -> str:
        environ = {"PYTHONPATH": str(ROOT), "_EDGEREST_COMPLETE": f"{shell}_{mode}", **words}
        done = subprocess.run(
            [sys.executable, script], env=environ, capture_output=True, text=True, check=False
        )
        return done.stdout

    page = (ROOT / "docs" / "quick-start.md").read_text()
    assert f"_EDGEREST_COMPLETE={shell}_source edgerest" in page
    assert "_EDGEREST_COMPLETE" in said("source")
    words = "edgerest" if shell == "fish" else "edgerest che"
    found = said("complete", COMP_WORDS=words, COMP_CWORD="che" if shell == "fish" else "1")
    assert re.search(r"\bcheck\b", found)
    assert "migrate" not in found
