"""`edgerest migrate pgbouncer`: whatever it reads, what it prints is a configuration."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.main import main
from proxy.cli.pgbouncer import MigrationError, configuration
from proxy.settings import Loaded, load_settings

FULL = """
;; PgBouncer's own example, more or less
[databases]
shop = host=10.0.0.5 port=6543 dbname=shopdb user=app password='a b''c/@' pool_size=30
2nd.blog = host=/run/pg connect_query='select 1'
* = host=h1,h2

[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
pool_mode = transaction
default_pool_size = 25
min_pool_size = 5
server_lifetime = 0
query_timeout = 0
query_wait_timeout = 12.5
server_tls_sslmode = verify-full
server_tls_ca_file = /etc/ca.pem
max_client_conn = 1000
max_db_connections = 50
"""


def migrate(path: Path, text: str) -> Result:
    path.write_text(text)
    return CliRunner().invoke(main, ["migrate", "pgbouncer", str(path)])


def loaded(path: Path, text: str) -> Loaded:
    path.write_text(text)
    return load_settings(path, {})


def test_a_whole_file(tmp_path: Path) -> None:
    result = migrate(tmp_path / "pgbouncer.ini", FULL)
    assert result.exit_code == 0, result.stderr
    found = loaded(tmp_path / "edgerest.conf", result.stdout)
    assert found.warnings == ()
    apps = {app.name: app.settings for app in found.apps}
    assert list(apps) == ["shop", "app-2nd-blog"]
    shop, blog = apps.values()
    assert shop.db_uri == (
        "postgresql://app:a%20b%27c%2F%40@10.0.0.5:6543/shopdb"
        "?sslmode=verify-full&sslrootcert=/etc/ca.pem"
    )
    assert blog.db_uri.startswith("postgresql://authenticator@/2nd.blog?")
    assert (shop.db_pool, blog.db_pool, shop.db_pool_min) == (30, 25, 5)
    assert shop.db_pool_acquisition_timeout == 13
    assert found.settings.pool_max_connections == 50
    for remark in ("auth_file = ", "server_lifetime was 0", "connect_query", "# * = "):
        assert remark in result.stdout


def test_one_database_needs_no_tables(tmp_path: Path) -> None:
    text = configuration("[databases]\nshop = host=db pool_size=7\n[pgbouncer]\nx=y\n")
    found = loaded(tmp_path / "edgerest.conf", text)
    assert found.apps == ()
    assert found.settings.db_uri == "postgresql://authenticator@db:5432/shop"
    assert found.settings.db_pool == 7
    assert "x = y: has no counterpart" in text


@pytest.mark.parametrize(
    "text", ["", "[pgbouncer]\nlisten_port=1\n", "no section", "[databases]\nx\n", "\0[["]
)
def test_what_is_no_configuration_is_told_in_a_sentence(tmp_path: Path, text: str) -> None:
    result = migrate(tmp_path / "pgbouncer.ini", text)
    assert result.exit_code == 1
    assert result.stderr.startswith("edgerest: This is no pgbouncer.ini: ")
    assert "Traceback" not in result.output


names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=45)
values = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=9
)


@given(
    st.dictionaries(
        names,
        st.fixed_dictionaries(
            {},
            optional={
                "host": st.sampled_from(["db", "10.0.0.1", "::1", "a,b", "/run/pg"]),
                "port": st.integers(1, 65535).map(str),
                "user": values.filter(bool),
                "password": values,
                "dbname": values.filter(bool),
                "pool_size": st.integers(1, 50).map(str),
            },
        ),
        min_size=1,
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from(
            "default_pool_size query_timeout server_lifetime min_pool_size auth_type".split()
        ),
        st.integers(0, 9).map(str),
    ),
)
def test_anything_becomes_what_it_said(
    tmp_path_factory: pytest.TempPathFactory,
    databases: dict[str, dict[str, str]],
    settings: dict[str, str],
) -> None:
    lines = ["[databases]"]
    for name, options in databases.items():
        pairs = (
            f"{key}='{value.replace(chr(39), chr(39) * 2)}'" for key, value in options.items()
        )
        lines.append(f"{name} = {' '.join(pairs)}")
    lines += ["[pgbouncer]", *(f"{key} = {value}" for key, value in settings.items())]
    path = tmp_path_factory.mktemp("migrate") / "edgerest.conf"
    found = loaded(path, configuration("\n".join(lines)))
    apps = [app.settings for app in found.apps] or [found.settings]
    for app, (name, options) in zip(apps, databases.items(), strict=True):
        url = urlsplit(app.db_uri)
        assert unquote(url.username or "") == options.get("user", "authenticator")
        assert unquote(url.password or "") == options.get("password", "")
        assert unquote(url.path[1:]) == options.get("dbname", name)
        assert (parse_qs(url.query).get("host") or [""])[0] == (
            options.get("host", "/var/run/postgresql")
            if options.get("host", "/")[0] == "/"
            else ""
        )


@pytest.mark.parametrize("other", ["b = pool_size=30", "* = host=db"])
def test_the_least_is_no_more_than_what_nobody_goes_by(tmp_path: Path, other: str) -> None:
    text = configuration(
        f"[databases]\na = pool_size=30\n{other}\n"
        "[pgbouncer]\ndefault_pool_size = 1\nmin_pool_size = 20\n"
    )
    apps = loaded(tmp_path / "edgerest.conf", text).apps
    assert {app.settings.db_pool for app in apps} == {30}


def test_a_quoted_name_is_what_it_says(tmp_path: Path) -> None:
    text = configuration('[databases]\n"my ""db""" = host=db\n')
    found = loaded(tmp_path / "edgerest.conf", text)
    assert unquote(urlsplit(found.settings.db_uri).path) == '/my "db"'


@pytest.mark.parametrize("size", ["0", "many", "-1", "\u00b2"])
def test_a_size_that_is_none_does_not_spoil_the_configuration(
    tmp_path: Path, size: str
) -> None:
    text = configuration(
        f"[databases]\nx = host=db pool_size={size}\n[pgbouncer]\ndefault_pool_size = 7\n"
    )
    assert loaded(tmp_path / "edgerest.conf", text).settings.db_pool == 7


def test_a_path_with_a_space_is_written_as_libpq_reads_it(tmp_path: Path) -> None:
    text = configuration("[databases]\nx = host=db\n[pgbouncer]\nserver_tls_ca_file=/a b.pem")
    assert "sslrootcert=/a%20b.pem" in loaded(tmp_path / "c.conf", text).settings.db_uri


def test_a_rest_that_is_no_connection_string_is_told() -> None:
    with pytest.raises(MigrationError, match="x: its connection string is no list"):
        configuration("[databases]\nx = host=db nonsense\n")


@pytest.mark.parametrize(
    "text",
    [
        "[databases]\nx = host=db password='s3cret and s3cret\n",
        "[databases]\nx = host=db password=a s3cret\n",
        '"admin" "s3cret"\n',
        "[databases]\nx = host=db\ns3cret\n",
        "[databases]\n[s3cret\n",
    ],
)
def test_no_message_holds_a_password(tmp_path: Path, text: str) -> None:
    result = migrate(tmp_path / "pgbouncer.ini", text)
    assert result.exit_code == 1
    assert "s3cret" not in result.stderr
