"""Every form of db-uri."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.connection import connect
from pool.dsn import Keepalive, Target, parse_dsn
from pool.errors import ConnectionFailed
from pool.model import Statement
from pool.source import Source
from proxy.cli.demo.private_postgres import EmbeddedPostgres
from tests.pool.conftest import MakePool, execute


def parsed(dsn: str, env: Mapping[str, str] | None = None) -> Target:
    return parse_dsn(dsn, application_name="edgerest 1", env=env or {})


def parameters(target: Target) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(target.uri).query, keep_blank_values=True))


@pytest.mark.parametrize(
    "dsn, expected",
    [
        ("", {}),
        ("host=h dbname=d", {"host": "h", "dbname": "d"}),
        ("  host = h  user= 'a b' ", {"host": "h", "user": "a b"}),
        (r"password='it\'s \\ here'", {"password": r"it's \ here"}),
        (r"password=a\ b\'c", {"password": "a b'c"}),
        ("password='' host=h", {"host": "h"}),
        ("password= host=h", {"password": "host=h"}),
        ("password=ü+&=?#", {"password": "ü+&=?#"}),
        ("host=a,b port=1,2 target_session_attrs=read-write",
         {"host": "a,b", "port": "1,2", "target_session_attrs": "read-write"}),
        ("host=/tmp/x sslmode=verify-full", {"host": "/tmp/x", "sslmode": "verify-full"}),
        ("options='-c a=b -c c=d'", {"options": "-c a=b -c c=d"}),
        ("hostaddr=10.0.0.1", {"host": "10.0.0.1"}),
        ("hostaddr=10.0.0.1 host=h", {"host": "h"}),
        ("host=h keepalives=1 channel_binding=require connect_timeout=3", {"host": "h"}),
        ("postgresql://u:p@h:1/d", {}),
        ("postgres:///d?host=/tmp/x&sslmode=require",
         {"host": "/tmp/x", "sslmode": "require"}),
        ("postgresql://h/d?channel_binding=require&gssencmode=disable&x=a+b", {"x": "a+b"}),
        ("postgresql://h/d?ssl=true", {"sslmode": "require"}),
        ("postgresql://h/d?hostaddr=10.0.0.1", {}),
        ("postgresql://u@/d?hostaddr=10.0.0.1", {"host": "10.0.0.1"}),
        ("postgresql://u:%zz%2f+=&p@h/d%20e", {}),
    ],
)  # fmt: skip
def test_every_form_becomes_a_uri(dsn: str, expected: dict[str, str]) -> None:
    target = parsed(dsn)
    assert parameters(target) == {**expected, "application_name": "edgerest 1"}
    base = dsn.partition("?")[0] if "://" in dsn else "postgresql://"
    assert target.uri.partition("?")[0] == base


@given(st.text("/?#@:%[]&= aü\u2100", min_size=1))
def test_a_password_ends_where_libpq_says(password: str) -> None:
    """At the first `@`, if no `/` comes before; `?` and `#` mean nothing there."""
    if "/" in password or "@" in password:
        return
    target = parsed(f"postgresql://u:{password}@h:1/d#e?sslmode=disable")
    url = urlsplit(target.uri)
    found = unquote(url.netloc.partition("@")[0])
    assert (found, url.hostname, url.port) == (f"u:{unquote(password)}", "h", 1)
    assert (unquote(url.path), url.fragment) == ("/d#e", "")
    assert parameters(target)["sslmode"] == "disable"


@pytest.mark.parametrize(
    "dsn, env, name",
    [
        ("host=h", {}, "edgerest 1"),
        ("host=h fallback_application_name=f", {}, "f"),
        ("host=h fallback_application_name=f", {"PGAPPNAME": "e"}, "e"),
        ("host=h application_name=a", {"PGAPPNAME": "e"}, "a"),
        ("postgresql://h?application_name=a%20b", {}, "a b"),
    ],
)
def test_the_application_name(dsn: str, env: dict[str, str], name: str) -> None:
    assert parameters(parsed(dsn, env))["application_name"] == name


def test_what_asyncpg_does_not_know() -> None:
    assert parsed("host=h") == Target(parsed("host=h").uri, 10.0, Keepalive(15, 5, 3), 30_000)
    assert parsed("tcp_user_timeout=0").user_timeout == 0
    assert parsed("tcp_user_timeout=5000").user_timeout == 5000
    assert parsed("connect_timeout=3").connect_timeout == 3.0
    assert parsed("", {"PGCONNECT_TIMEOUT": "4"}).connect_timeout == 4.0
    assert parsed("keepalives=0").keepalive is None
    assert parsed("keepalives_idle=1 keepalives_interval=2 keepalives_count=5").keepalive == (
        Keepalive(1, 2, 5)
    )
    assert parameters(parsed("", {"PGOPTIONS": "-c a=b"}))["options"] == "-c a=b"
    assert parameters(parsed("", {"PGHOSTADDR": "10.0.0.1"}))["host"] == "10.0.0.1"


@pytest.mark.parametrize(
    "dsn, env, hosts",
    [
        ("host=h", {}, ()),
        ("host=a,b", {}, (("a", 5432), ("b", 5432))),
        ("host=a,b port=6", {"PGPORT": "7"}, (("a", 6), ("b", 6))),
        ("host=a,b", {"PGPORT": "7,8"}, (("a", 7), ("b", 8))),
        ("host=a,/tmp/x port=1,2", {}, (("a", 1), ("/tmp/x", 2))),
        ("", {"PGHOST": "a,b"}, (("a", 5432), ("b", 5432))),
        ("postgresql://u:p@a:1,b/d", {}, (("a", 1), ("b", 5432))),
        ("postgresql://[::1]:3,%2Ftmp%2Fx/d", {"PGPORT": "4"}, (("::1", 3), ("/tmp/x", 4))),
        ("postgresql:///d?host=a,b&port=1,2", {}, (("a", 1), ("b", 2))),
    ],
)
def test_several_hosts(
    dsn: str, env: dict[str, str], hosts: tuple[tuple[str, int], ...]
) -> None:
    assert parsed(dsn, env).hosts == hosts


def test_which_of_several_hosts_is_wanted() -> None:
    assert parsed("host=a,b").server_kind == "any"
    assert parsed("host=a,b target_session_attrs=primary").server_kind == "primary"
    assert parsed("host=a,b", {"PGTARGETSESSIONATTRS": "standby"}).server_kind == "standby"
    assert not parsed("host=a,b").shuffles
    assert parsed("host=a,b load_balance_hosts=random").shuffles


@pytest.mark.parametrize(
    "dsn, said",
    [
        ("host=a,b port=1,2,3", "could not match 3 port numbers to 2 hosts"),
        ("host=a,b port=1,x", "invalid integer value for"),
        ("host=a port=x", "invalid integer value for"),
        ("postgresql://u:p@h:x/d", "invalid integer value for"),
        ("postgresql://h/d?port=x", "invalid integer value for"),
        ("host", 'missing "=".* from character 1 '),
        ("dbname=d host h=1", 'missing "=".* from character 10 '),
        ("=h", 'missing "="'),
        ("password='open", "unterminated quoted string"),
        ("connect_timeout=soon", "invalid integer value"),
        ("postgresql://[::1/d", "can't be read"),
        ("postgresql://h/d?nonsense", "can't be read"),
        ("mysql://h/d", 'missing "=".* a URI begins with postgresql://'),
        ("postgresql://u:p@x@h/d", 'an "@" in the name of a host.* as %2F'),
        ("password=\udc80", "can't be read"),
    ],
)
def test_what_cannot_be_read_is_said(dsn: str, said: str) -> None:
    with pytest.raises(ConnectionFailed, match=said):
        parsed(dsn)


_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(st.dictionaries(st.sampled_from(["host", "user", "password", "dbname"]), _VALUES))
def test_quoted_values_survive(pairs: dict[str, str]) -> None:
    def quoted(value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    dsn = "  ".join(f"{name} = {quoted(value)}" for name, value in pairs.items())
    assert parameters(parsed(dsn)) == {**pairs, "application_name": "edgerest 1"}


async def test_both_forms_reach_the_server(server: EmbeddedPostgres) -> None:
    password = server.dsn_for(tcp=True).partition("postgres:")[2].partition("@")[0]
    shown = Statement("select current_setting('application_name'), current_setting('edge.o')")
    options = "options='-c edge.o=1'"
    for dsn in (
        f"host={server.socket_directory} port={server.port} user=postgres {options}",
        f"host=127.0.0.1 port={server.port} user=postgres password='{password}' {options}",
        f"host=127.0.0.1,{server.socket_directory} port=1,{server.port} user=postgres"
        f" target_session_attrs=read-write {options}",
        server.dsn + "&options=-c%20edge.o%3D1",
        server.dsn_for(tcp=True) + "?options=-c%20edge.o%3D1&sslmode=prefer",
    ):
        session = await connect(parsed(dsn))
        assert tuple((await session.fetch(shown))[0]) == (b"edgerest 1", b"1")
        await session.close(5)


@pytest.mark.parametrize(
    "change, sqlstate, said",
    [
        ({"user": "stranger"}, "28000", 'role "stranger" does not exist'),
        ({"database": "nowhere"}, "3D000", 'database "nowhere" does not exist'),
        ({"tcp": True, "password": "wrong"}, "28P01", "password authentication failed"),
    ],
)
async def test_a_refusal_says_why(
    server: EmbeddedPostgres, change: dict[str, str], sqlstate: str, said: str
) -> None:
    with pytest.raises(ConnectionFailed, match=said) as caught:
        await connect(parsed(server.dsn_for(**change)))  # type: ignore[arg-type]
    assert caught.value.sqlstate == sqlstate


@pytest.mark.parametrize(
    "dsn",
    ["host=127.0.0.1 port=1", "host=/nonexistent", "host=h.invalid", "host=h sslmode=maybe",
     "host=h port=x", "postgresql://h:x/d"],
)  # fmt: skip
async def test_nobody_there_is_a_failed_connection(dsn: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await connect(parsed(f"{dsn} user=u" if "://" not in dsn else dsn))
    assert caught.value.sqlstate is None


async def test_a_silent_host_does_not_keep_from_the_next(server: EmbeddedPostgres) -> None:
    """Each host has `connect_timeout` seconds of its own."""

    def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent_connections.append(writer)

    silent_connections: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    session = await connect(
        parsed(
            f"host=127.0.0.1,{server.socket_directory} port={port},{server.port}"
            " user=postgres connect_timeout=1 target_session_attrs=primary"
        )
    )
    assert (await session.fetch(Statement("select 1")))[0][0] == 1
    assert len(silent_connections) == 1
    await session.close(5)
    silent.close()
    for writer in silent_connections:
        writer.transport.abort()


async def test_a_host_that_refuses_the_password_is_the_last_that_is_asked(
    server: EmbeddedPostgres,
) -> None:
    dsn = f"host=127.0.0.1,{server.socket_directory} port={server.port} user=postgres"
    with pytest.raises(ConnectionFailed) as caught:
        await connect(parsed(f"{dsn} password=wrong sslmode=disable"))
    assert caught.value.sqlstate == "28P01"


@pytest.mark.parametrize(
    "kind, fits", [("standby", False), ("read-only", False), ("prefer-standby", True)]
)
async def test_only_a_server_of_the_wanted_kind_is_used(
    server: EmbeddedPostgres, kind: str, fits: bool
) -> None:
    there = server.socket_directory
    target = parsed(
        f"host={there},{there} port={server.port} user=postgres target_session_attrs={kind}"
    )
    if fits:
        await (await connect(target)).close(5)
    else:
        with pytest.raises(ConnectionFailed, match="no host can be used"):
            await connect(target)


async def test_a_new_password_is_read_when_the_old_one_is_refused(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    password = tmp_path / "uri"
    await execute(server.dsn, "create role rotated login password 'first'")
    base = f"postgresql://rotated:%s@127.0.0.1:{server.port}/postgres?sslmode=disable"
    password.write_text(base % "first")
    source = Source(password.read_text, application_name="edgerest 1", env={})
    await (await connect(source)).close(5)
    await execute(server.dsn, "alter role rotated password 'second'")
    with pytest.raises(ConnectionFailed, match="password"):
        await connect(source)
    password.write_text(base % "second")
    await (await connect(source)).close(5)
    assert "second" in source.target.uri


async def test_callers_wait_while_a_password_is_rotated(
    make_pool: MakePool, server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The database has the new one first; a user that was never let in is told at once."""
    uri = tmp_path / "uri"
    await execute(server.dsn, "create role rotating login password 'first'")
    base = f"postgresql://rotating:%s@127.0.0.1:{server.port}/postgres?sslmode=disable"
    uri.write_text(base % "first")
    pool = make_pool(uri.read_text, size=1)
    one = Statement("select 1")
    await pool.fetch(one)
    await execute(server.dsn, "alter role rotating password 'second'")
    pool.reconnect()
    waiting = asyncio.create_task(pool.fetch(one))
    await asyncio.wait({waiting}, timeout=0.3)
    assert not waiting.done()
    uri.write_text(base % "second")
    assert (await waiting)[0][0] == 1
    with pytest.raises(ConnectionFailed, match="password"):
        await make_pool(base % "third", size=1).fetch(one)


async def test_connections_notice_when_the_peer_has_vanished(server: EmbeddedPostgres) -> None:
    dsn = server.dsn_for(tcp=True) + "?sslmode=disable"
    for said, expected in (("", (1, 15, 30_000)), ("&tcp_user_timeout=7000", (1, 15, 7000))):
        session = await connect(parsed(dsn + said))
        plug = session._transport.get_extra_info("socket")
        assert (
            plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        ) == expected
        await session.close(5)


async def test_a_password_file_is_read_for_every_connection(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    passfile = tmp_path / "pgpass"
    await execute(server.dsn, "create role from_file login password 'first'")
    target = parsed(
        f"host=127.0.0.1 port={server.port} user=from_file dbname=postgres sslmode=disable"
        f" passfile={passfile}"
    )
    for password in ("first", "second"):
        await execute(server.dsn, f"alter role from_file password '{password}'")
        passfile.write_text(f"*:*:*:from_file:{password}\n")
        passfile.chmod(0o600)
        await (await connect(target)).close(5)


@pytest.mark.parametrize(
    "dsn, expected",
    [
        ("postgresql://u:p@h/d", "h:5432/d"),
        ("postgresql://other@h:5432/d?sslmode=require", "h:5432/d"),
        ("host=h dbname=d user=third", "h:5432/d"),
        ("postgresql://u@h:6000/d", "h:6000/d"),
        ("postgresql://u@/d?host=h&port=6000", "h:6000/d"),
        ("postgresql://u@h", "h:5432/u"),
        ("user=u host=h", "h:5432/u"),
        ("postgresql://u%40x@[::1]:1/d%2Fe", "::1:1/d/e"),
        ("postgresql://a:1,b:2/d", "a:1,b:2/d"),
        ("host=a,b port=1,2 dbname=d", "a:1,b:2/d"),
        ("", ":5432/"),
    ],
)
def test_a_database_is_known_by_where_it_is(dsn: str, expected: str) -> None:
    assert parsed(dsn).database == expected
