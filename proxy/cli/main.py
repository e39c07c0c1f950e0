"""The command line: `edgerest serve|demo|check|token|schema|ready`, and PostgREST's flags.

Whatever an operator can put right is told in a sentence on standard error with exit status
1 (2 for a wrong command line), never with a traceback.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Final, NoReturn, ParamSpec, TextIO, TypeVar

import click

from edgerest import __version__
from pool import ConnectionFailed, Pool, PoolError
from proxy.settings import Loaded, NamedApp, Settings, SettingsError, load_settings

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_INTERRUPTED: Final = 130
"""The exit status that shells give a command ended by Ctrl-C."""

_FLAGS: Final = {
    "--dump-config": "dump-config",
    "--dump-schema": "schema",
    "--ready": "ready",
    "--example": "example",
    "-e": "example",
}
"""PostgREST's flags, and the commands that do the same."""

APP = click.option("--app", metavar="NAME", help="Which of the apps, if there are several.")
CONFIG = click.argument("config", required=False, type=click.Path(path_type=Path))


def as_command(args: Sequence[str], environ: Mapping[str, str], known: set[str]) -> list[str]:
    """`args` with PostgREST's command line turned into ours.

    `edgerest FILE` serves; without arguments the server starts when PGRST_* variables
    configure it, as it does in a container.
    """
    words = list(args)
    if not words:
        return ["serve"] if any(name.startswith("PGRST_") for name in environ) else ["--help"]
    if words[0] == "serve" and not _FLAGS.keys().isdisjoint(words):
        del words[0]
    if words[0] in known:
        return words
    for place, word in enumerate(words):
        if word in _FLAGS:
            return [_FLAGS[word], *words[:place], *words[place + 1 :]]
    return words if words[0].startswith("-") else ["serve", *words]


def meant_command(args: Sequence[str], known: set[str]) -> str | None:
    """The command that the first of `args` is a misspelling of, if it is no file either."""
    word = args[0] if args else ""
    if word in known or word.startswith("-") or Path(word).exists():
        return None
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


class _Commands(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        meant = meant_command(args, set(self.commands))
        if meant is not None:
            ctx.fail(f"There is no command and no file '{args[0]}'; did you mean {meant}?")
        return super().parse_args(ctx, as_command(args, os.environ, set(self.commands)))


def _telling(run: Callable[_P, int | None]) -> Callable[_P, None]:
    """`run`, with what the operator can put right told instead of raised."""

    @wraps(run)
    def command(*args: _P.args, **kwargs: _P.kwargs) -> None:
        # Imported late: the server's modules take a moment that --version need not wait.
        from proxy.cli.demo.runner import DemoError
        from proxy.cli.token import TokenError
        from proxy.engines.sockets import ServerError

        try:
            status = run(*args, **kwargs) or 0
        except SettingsError as error:
            _fail(*error.problems)
        except ConnectionFailed as error:
            _fail(f"db-uri: {error}")
        except PoolError as error:
            _fail(f"The database: {error}")
        except (TokenError, DemoError, ServerError) as error:
            _fail(str(error))
        except BrokenPipeError:
            # Whoever read our output has gone; nothing is left to flush there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except KeyboardInterrupt:
            status = _INTERRUPTED
        raise SystemExit(status)

    return command


def _fail(*sentences: str) -> NoReturn:
    for sentence in sentences:
        click.echo(f"edgerest: {sentence}", err=True)
    raise SystemExit(1)


def _with_database(settings: Settings, action: Callable[[Pool, Settings], Awaitable[_T]]) -> _T:
    """What `action` makes of the database and of `settings` under the database's own."""
    from proxy.settings.database import read_database_settings

    async def run() -> _T:
        pool = Pool(settings.db_uri, size=1)
        try:
            return await action(pool, await read_database_settings(pool, settings))
        finally:
            await pool.close()

    return asyncio.run(run())


def _load(config: Path | None) -> Loaded:
    loaded = load_settings(config, os.environ)
    for warning in loaded.warnings:
        click.echo(f"edgerest: warning: {warning}", err=True)
    return loaded


def _app_of(loaded: Loaded, name: str | None) -> Settings:
    """The settings of the app `name`, or of the only one."""
    if name is None and len(loaded.apps) <= 1:
        return loaded.apps[0].settings if loaded.apps else loaded.settings
    settings = {app.name: app.settings for app in loaded.apps}.get(name or "")
    if settings is None:
        names = ", ".join(app.name for app in loaded.apps) or "no app has a name here"
        _fail(f"--app: name one of the apps: {names}")
    return settings


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", message="edgerest %(version)s")
def main() -> None:
    """A REST API over PostgreSQL, and a connection pool in front of it.

    Takes PostgREST's configuration files, PGRST_* variables and flags: `edgerest FILE`
    serves, as do --example, --dump-config, --dump-schema and --ready what they do there.
    """


@main.command()
@CONFIG
@_telling
def serve(config: Path | None) -> int:
    """Serve the API; CONFIG is a file, or left out when PGRST_* variables say it all."""
    from proxy.cli.diagnostics import start_diagnostics
    from proxy.server.preflight import preflight
    from proxy.server.serve import serve as run_server

    loaded = load_settings(config, os.environ)
    findings = list(preflight(loaded, os.environ))
    for finding in findings:
        if finding.verdict == "doubtful":
            click.echo(f"edgerest: warning: {finding}", err=True)
    if bad := [str(finding) for finding in findings if finding.verdict == "bad"]:
        _fail(*bad)
    start_diagnostics(loaded.settings.log_level)
    logger.info("Starting edgerest %s", __version__)
    return run_server(loaded, reread=lambda: load_settings(config, os.environ))


@main.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--rows",
    default=50_000,
    show_default=True,
    type=click.IntRange(100, 5_000_000),
    help="How many tasks; there are twice as many comments.",
)
@_telling
def demo(port: int, rows: int) -> int:
    """Start a private PostgreSQL with sample data, and the API in front of it.

    The data is kept in .demo, or in $EDGEREST_DEMO_DIR.
    """
    from proxy.cli.demo.runner import Demo, run_demo
    from proxy.cli.diagnostics import start_diagnostics

    start_diagnostics("error")
    directory = Path(os.environ.get("EDGEREST_DEMO_DIR") or ".demo")
    return run_demo(Demo(directory, port, rows), click.echo)


@main.command()
@CONFIG
@APP
@click.option("--role", help="The role to act as.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further claim; VALUE may be JSON. May be given more than once.",
)
@click.option(
    "--expires", default="1h", show_default=True, help="90s, 15m, 1h, 30d, 4w or never."
)
@click.option("--secret", help="Sign with this instead of jwt-secret.")
@_telling
def token(
    config: Path | None,
    app: str | None,
    role: str | None,
    claims: tuple[str, ...],
    expires: str,
    secret: str | None,
) -> None:
    """Print a token for local use, signed with jwt-secret (HS256)."""
    from proxy.cli.token import parse_claims, parse_span, sign_token

    settings = _app_of(_load(config), app)
    if secret is not None:
        settings = replace(settings, jwt_secret=secret, jwt_secret_is_base64=False)
    signed = sign_token(
        settings,
        role=role,
        claims=parse_claims(claims),
        span=parse_span(expires),
        now=datetime.now(UTC),
    )
    click.echo(signed)


@main.command()
@CONFIG
@click.option("--strict", is_flag=True, help="Fail on warnings as well.")
@click.option("--json", "as_json", is_flag=True, help="Print an array of findings instead.")
@_telling
def check(config: Path | None, strict: bool, as_json: bool) -> int:
    """Say whether a server with this configuration would work, and what is wrong if not."""
    from proxy.cli.findings import Report, find_all

    report = Report(click.echo, strict=strict, as_json=as_json)
    asyncio.run(report.take(find_all(lambda: load_settings(config, os.environ), os.environ)))
    return report.close()


@main.command()
@CONFIG
@APP
@_telling
def schema(config: Path | None, app: str | None) -> None:
    """Print the schema cache as JSON: what the server knows about the database."""
    from proxy.schema_cache.dump import schema_cache_json
    from proxy.schema_cache.load import CacheOptions, load_schema_cache

    async def read(pool: Pool, settings: Settings) -> bytes:
        options = CacheOptions(
            schemas=settings.db_schemas,
            extra_search_path=settings.db_extra_search_path,
            hoisted_settings=settings.db_hoisted_tx_settings,
        )
        return schema_cache_json(await load_schema_cache(pool, options))

    click.echo(_with_database(_app_of(_load(config), app), read))


@main.command()
@click.argument("language", type=click.Choice(["typescript", "python"]))
@CONFIG
@APP
@click.option("--url", help="Ask the admin server of a running server instead.")
@click.option(
    "--token", envvar="EDGEREST_ADMIN_TOKEN", help="Its admin-server-token, from elsewhere."
)
@_telling
def types(
    language: str, config: Path | None, app: str | None, url: str | None, token: str | None
) -> None:
    """Print the types of tables and functions, for the programs that call the API.

    TypeScript is for @supabase/postgrest-js and supabase-js, Python for edge_client.
    """
    from proxy.cli.types import TypesError, types_of_database, types_of_server

    async def read(pool: Pool, settings: Settings) -> str:
        return await types_of_database(pool, settings, language)

    try:
        text = (
            _with_database(_app_of(_load(config), app), read)
            if url is None
            else types_of_server(url, language, app, token)
        )
    except TypesError as error:
        _fail(str(error))
    click.echo(text, nl=False)


@main.group()
def cache() -> None:
    """What the response cache needs of a database."""


@cache.command()
@CONFIG
@APP
@click.option("--drop", is_flag=True, help="Print the SQL that takes the triggers away.")
@click.option(
    "--schema", help="Where the triggers' function goes; the first exposed schema, if not said."
)
@_telling
def triggers(config: Path | None, app: str | None, drop: bool, schema: str | None) -> None:
    """Print SQL for triggers that tell the cache of writes by other programs.

    Run it as the owner of the tables: edgerest cache triggers | psql. It may be run again,
    and has to be after tables were added.
    """
    from proxy.cli.cache_triggers import print_triggers

    async def read(pool: Pool, settings: Settings) -> str:
        return await print_triggers(pool, settings, schema=schema, drop=drop)

    click.echo(_with_database(_app_of(_load(config), app), read), nl=False)


@main.command()
@click.argument("one", metavar="URL")
@click.argument("other", metavar="URL")
@click.argument("requests", type=click.File(encoding="utf-8"))
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="NAME:VALUE", help="Sent with each."
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for each answer.")
@_telling
def compare(
    one: str, other: str, requests: TextIO, headers: tuple[str, ...], timeout: float
) -> int:
    """Send a file of requests to two servers, and show what they answer otherwise.

    REQUESTS holds a line `GET /items?id=eq.1`, headers, an empty line and a body for each
    request; a line ### parts them. Writes are done, on both servers.
    """
    from proxy.cli.compare import RequestsError, answers, differences, read_requests

    try:
        asked = read_requests(requests.read())
    except (RequestsError, UnicodeDecodeError) as error:
        _fail(f"{requests.name}: {error}")
    pairs = [
        (name.strip(), value.strip()) for name, _, value in (h.partition(":") for h in headers)
    ]
    differing = 0
    both = (answers(url, asked, pairs, timeout) for url in (one, other))
    for request, said, said_there in zip(asked, *both, strict=True):
        found = list(differences(said, said_there))
        if found:
            differing += 1
            click.echo("\n    ".join((str(request), *found)))
    click.echo(f"{differing} of {len(asked)} requests are answered otherwise")
    return 1 if differing else 0


@main.group()
def migrate() -> None:
    """Make a configuration of another program's."""


@migrate.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@_telling
def pgbouncer(file: TextIO) -> None:
    """Print a configuration made of a pgbouncer.ini, with remarks on what differs."""
    from proxy.cli.pgbouncer import MigrationError, configuration

    try:
        click.echo(configuration(file.read()), nl=False)
    except (MigrationError, UnicodeDecodeError) as error:
        _fail(str(error))


@main.command()
@CONFIG
@APP
@_telling
def ready(config: Path | None, app: str | None) -> int:
    """Ask the admin server of a running server whether it is ready."""
    from proxy.cli.ready import ask_ready

    answer = ask_ready(_load(config).settings, app)
    click.echo(answer.text, err=not answer.ready)
    return 0 if answer.ready else 1


@main.command("dump-config", hidden=True)
@CONFIG
@click.option("--secrets", is_flag=True, help="Show db-uri and its like with their passwords.")
@_telling
def dump_config(config: Path | None, secrets: bool) -> None:
    """Print every setting with its value, those of the database included if it can be asked.

    Addresses with a password are shown as ***, unless --secrets is given.
    """
    from proxy.settings.database import read_database_settings
    from proxy.settings.dump import Hides, dump_apps

    async def asked(settings: Settings) -> Settings:
        pool = Pool(settings.db_uri, size=1)
        try:
            return await read_database_settings(pool, settings)
        except PoolError as error:
            click.echo(f"edgerest: warning: without the database's settings: {error}", err=True)
            return settings
        finally:
            await pool.close()

    def used(settings: Settings) -> Settings:
        return asyncio.run(asked(settings)) if settings.db_config else settings

    loaded = _load(config)
    apps = [NamedApp(app.name, used(app.settings)) for app in loaded.apps]
    settings = loaded.settings if apps else used(loaded.settings)
    hides: Hides = "nothing" if secrets else "passwords"
    click.echo(dump_apps(settings, apps, hides), nl=False)


@main.command(hidden=True)
@_telling
def example() -> None:
    """Print a configuration file with every setting."""
    from proxy.settings.dump import example_file

    click.echo(example_file(), nl=False)


@main.command("config-docs", hidden=True)
@click.option("--check", "committed", type=click.Path(path_type=Path, exists=True))
@_telling
def config_docs(committed: Path | None) -> None:
    """Print docs/configuration.md, or with --check FILE say whether FILE is up to date."""
    from proxy.settings.docs import configuration_markdown

    _print_page(configuration_markdown(), committed)


@main.command("config-schema")
@_telling
def config_schema() -> None:
    """Print a JSON Schema of configuration files, for editors."""
    from proxy.settings.json_schema import configuration_schema

    click.echo(json.dumps(configuration_schema(), indent=2))


@main.command("error-docs", hidden=True)
@click.option("--check", "committed", type=click.Path(path_type=Path, exists=True))
@_telling
def error_docs(committed: Path | None) -> None:
    """Print docs/errors.md, or with --check FILE say whether FILE is up to date."""
    from proxy.response.error_docs import errors_markdown

    _print_page(errors_markdown(), committed)


def _print_page(page: str, committed: Path | None) -> None:
    if committed is None:
        click.echo(page, nl=False)
    elif committed.read_text(encoding="utf-8") != page:
        _fail(f"{committed} is out of date; run `make docs`")
