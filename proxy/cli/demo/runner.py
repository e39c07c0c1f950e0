"""`edgerest demo`: a private PostgreSQL with sample data, and the server in front of it.

In: a directory of its own, a port, how many tasks. Out: an exit code, after Ctrl-C. What the
directory holds: `postgres` (see `private_postgres`), `secret` (signs tokens), `token` (Ada's,
made anew at each start) and `lock` (held while a demo runs there).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import secrets
import signal
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pool.pool import Pool
from proxy.cli.demo import data
from proxy.cli.demo.examples import EXAMPLES, as_curl
from proxy.cli.demo.private_postgres import EmbeddedError, EmbeddedPostgres
from proxy.cli.token import sign_token
from proxy.engines.runner import Listening
from proxy.engines.sockets import ServerError, bind_tcp
from proxy.server.serve import serve
from proxy.settings import Loaded, Settings

_HOST: Final = "127.0.0.1"
_TOKEN_LIFE: Final = timedelta(days=30)
_ADA: Final = 1
_DOCS: Final = "/docs"

Say = Callable[[str], None]


class DemoError(Exception):
    """The demo can't run; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What to run: where its files are, the port (0 for a free one), how many tasks."""

    directory: Path
    port: int = 3000
    rows: int = 50_000


def run_demo(demo: Demo, say: Say) -> int:
    """Serve the demo until SIGINT or SIGTERM; `say` gets what the user is to read.

    Raises `DemoError`, `pool.PoolError` and `ServerError`; PostgreSQL is stopped by then.
    """
    # Until the server has its own handlers, SIGTERM is to end us as orderly as Ctrl-C does.
    _interrupt_on_signals()
    with _own(demo.directory):
        _require_free(demo.port)
        secret = _secret(demo.directory)
        postgres = EmbeddedPostgres(
            demo.directory / "postgres",
            port=None,
            settings={"synchronous_commit": "off", "max_wal_size": "1GB"},
        )
        try:
            say(f"Starting PostgreSQL in {demo.directory / 'postgres'}")
            postgres.start()
            _run_interruptibly(_fill(postgres.dsn, demo.rows, say))
            settings = _settings(postgres, secret, demo.port)
            token_file = _write_token(demo.directory, settings)
            return serve(Loaded(settings), on_ready=lambda at: _explain(at, token_file, say))
        except EmbeddedError as error:
            raise DemoError(str(error).rstrip(".")) from error
        finally:
            postgres.stop()


@contextlib.contextmanager
def _own(directory: Path) -> Iterator[None]:
    """Make `directory` and hold it: one demo at a time."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("ab")
    except OSError as error:
        raise DemoError(
            f"The demo can't write to {directory} ({error.strerror}); set EDGEREST_DEMO_DIR"
            " to a directory that it may make"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"A demo is running in {directory} already; stop it, or set EDGEREST_DEMO_DIR"
                " to another directory and --port to another port"
            ) from None
        yield


def _require_free(port: int) -> None:
    """Said before PostgreSQL is started, not after."""
    try:
        bind_tcp(_HOST, port).close()
    except ServerError as error:
        raise DemoError(f"{error}; choose another port with --port") from error


def _secret(directory: Path) -> str:
    path = directory / "secret"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(48))
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DemoError(f"{path} can't be read: {error.strerror}") from error


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else to read."""
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.touch(mode=0o600)
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise DemoError(f"{path} can't be written: {error.strerror}") from error


def _interrupt_on_signals() -> None:
    """SIGINT, too: who is started in the background of a script inherits that it is ignored,
    and the server that comes later heeds it all the same."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _run_interruptibly(doing: Coroutine[None, None, None]) -> None:
    """Run `doing`; KeyboardInterrupt on SIGINT and SIGTERM, as an event loop can bear it.

    Raised in the middle of a loop's own work it may be lost, or worse.
    """

    async def cancellable() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await doing

    try:
        asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        # The loop leaves the signal's default behind.
        _interrupt_on_signals()


async def _fill(dsn: str, rows: int, say: Say) -> None:
    pool = Pool(dsn, size=1, application_name="edgerest demo")
    try:
        if await data.is_loaded(pool, rows):
            say("The sample data is there already")
            return
        say(f"Loading {rows:,} tasks")
        await data.load(pool, rows, say)
    finally:
        await pool.close()


def _settings(postgres: EmbeddedPostgres, secret: str, port: int) -> Settings:
    return Settings(
        db_uri=postgres.dsn_for(user=data.CONNECTING_ROLE),
        db_schemas=(data.SCHEMA,),
        db_extra_search_path=(),
        db_anon_role=data.ANONYMOUS_ROLE,
        db_aggregates_enabled=True,
        db_plan_enabled=True,
        openapi_docs_path=_DOCS,
        jwt_secret=secret,
        server_host=_HOST,
        server_port=port,
    )


def _write_token(directory: Path, settings: Settings) -> Path:
    token = sign_token(
        settings,
        role=data.USER_ROLE,
        claims={"user_id": _ADA},
        span=_TOKEN_LIFE,
        now=datetime.now(UTC),
    )
    path = directory / "token"
    _write_private(path, token)
    return path


def _explain(listening: Listening, token_file: Path, say: Say) -> None:
    base = f"http://{listening.main}"
    say(f"\nedgerest answers on {base}. In a browser: {base}{_DOCS}")
    say("Things to try from another terminal:\n")
    for example in EXAMPLES:
        say(f"# {example.title}\n{as_curl(example, base, str(token_file.absolute()))}\n")
    say(f"Ada's token, valid for {_TOKEN_LIFE.days} days, is in {token_file}:")
    say(f"TOKEN={token_file.read_text(encoding='utf-8')}")
    say("Ctrl-C stops the server and PostgreSQL; the data stays for the next time.\n")
