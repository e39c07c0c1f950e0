"""The tables of apps in a configuration: what they say, inherit, and may not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings import DEFAULT_APP, Loaded, NamedApp, Settings, SettingsError, load_settings
from proxy.settings.dump import dump_apps
from proxy.settings.model import TABLE
from proxy.settings.reload import Changes, changed_apps, process_changes

SECRET = "a secret that is long enough for anything"


def load(tmp_path: Path, text: str, **environ: str) -> Loaded:
    file = tmp_path / "edge.conf"
    file.write_text(text)
    return load_settings(file, environ)


def app(loaded: Loaded, name: str) -> Settings:
    return {each.name: each.settings for each in loaded.apps}[name]


def problems(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text, **environ)
    return str(raised.value)


def test_a_table_has_from_the_top_level_what_it_does_not_say(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """
        server-port = 4000
        db-schemas = "api"
        db-pool = 7
        db-anon-role = "web_anon"
        db-max-rows = 100

        [apps.shop]
        db-uri = "postgresql://shop"
        db-pool = 3
        hosts = ["Shop.example.com", "*.shop.example.com"]
        path-prefix = "/shop/"
        app.settings.mail = "shop@example.com"

        [apps.blog]
        db-uri = "postgresql://blog"
        db-anon-role = ""
        db-schema = "blog"
        """,
    )
    shop, blog = app(loaded, "shop"), app(loaded, "blog")
    assert loaded.warnings == ()
    assert (shop.db_pool, blog.db_pool) == (3, 7)
    assert (shop.db_uri, blog.db_uri) == ("postgresql://shop", "postgresql://blog")
    assert (shop.db_schemas, blog.db_schemas) == (("api",), ("blog",))
    assert (shop.db_anon_role, blog.db_anon_role) == ("web_anon", None)
    assert (shop.server_port, blog.db_max_rows) == (4000, 100)
    assert shop.hosts == ("shop.example.com", "*.shop.example.com")
    assert (shop.path_prefix, blog.path_prefix) == ("/shop", "")
    assert shop.app_settings == (("app.settings.mail", "shop@example.com"),)
    assert blog.app_settings == ()


def test_what_lets_anybody_in_is_each_apps_own(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        f"""
        db-uri = "postgresql://top"
        jwt-secret = "{SECRET}"
        jwt-jwks-uri = "https://top.example.com/keys"
        app.settings.key = "of the top"
        [apps.shop]
        db-uri = "postgresql://shop"
        """,
    )
    shop = app(loaded, "shop")
    assert (shop.jwt_secret, shop.jwt_jwks_uri, shop.app_settings) == (None, None, ())
    told = "at the top level it is nobody's"
    for key in ("db-uri", "jwt-secret", "jwt-jwks-uri", "app.settings"):
        assert any(text.startswith(f"{key}: {told}") for text in loaded.warnings)
    secrets = [row for row in TABLE if row.secret and not row.process_wide]
    # A Redis may be shared: what apps keep there is told apart by database and settings.
    assert {row.key for row in secrets if row.facts.inherited} == {"cache-store"}


def test_variables_win_for_the_app_that_they_name(tmp_path: Path) -> None:
    text = """
        db-pool = 5
        [apps.my-shop]
        db-uri = "postgresql://file"
        db-pool = 6
        [apps.blog]
        db-uri = "$(BLOG_URI)"
        hosts = "blog"
        db-anon-role = "$(db-pool)"
        """
    loaded = load(
        tmp_path,
        text,
        BLOG_URI="postgresql://variable",
        PGRST_DB_POOL="8",
        PGRST_APPS__MY_SHOP__DB_URI="postgresql://secret",
        PGRST_APPS__MY_SHOP__APP_SETTINGS_X="1",
        PGRST_APPS__NEWS__DB_URI="postgresql://news",
        PGRST_APPS__NEWS__PATH_PREFIX="/news",
    )
    shop, blog, news = (app(loaded, name) for name in ("my-shop", "blog", "news"))
    assert (shop.db_uri, shop.db_pool) == ("postgresql://secret", 6)
    assert shop.app_settings == (("app.settings.X", "1"),)
    assert (blog.db_uri, blog.db_pool, blog.db_anon_role) == ("postgresql://variable", 8, "5")
    assert (news.path_prefix, news.db_pool) == ("/news", 8)
    assert loaded.warnings == ()


def test_without_tables_there_are_no_apps(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'db-uri = "postgresql://x"\napp.settings.a = "1"\n')
    assert (loaded.apps, loaded.warnings) == ((), ())


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            '[apps.a]\ndb-uri="x"\nserver-port=1',
            "apps.a: server-port belongs to the whole process",
        ),
        ('[apps.a]\ndb-uri="x"\nlog-level="info"', "apps.a: log-level belongs to"),
        ('[apps.a]\ndb-uri="x"\nadmin-server-port=1', "apps.a: admin-server-port belongs to"),
        ("[apps.a]", "apps.a: db-uri is not set, and an app does not take it"),
        ('db-uri="x"\n[apps.a]\ndb-pool=1', "apps.a: db-uri is not set"),
        ('[apps.a]\ndb-uri=""', "apps.a: db-uri is not set"),
        ('[apps.A]\ndb-uri="x"', "apps.A: the name of an app is at most"),
        ('[apps.a__b]\ndb-uri="x"', "apps.a__b: the name of an app"),
        (
            '[apps.a]\ndb-uri="x"\nhosts="a:80"',
            "apps.a: hosts: 'a:80' holds 'a:80', which is not",
        ),
        ('[apps.a]\ndb-uri="x"\npath-prefix="x"', "apps.a: path-prefix: 'x' is not a path"),
        ('[apps.a]\ndb-uri="x"\ndb-pool=0', "apps.a: db-pool: '0' is less than 1"),
        ('[apps.a]\ndb-uri="x"\njwt-secret="short"', "apps.a: jwt-secret: "),
        (
            '[apps.a]\ndb-uri="x"\nhosts="x.y"\n[apps.b]\ndb-uri="x"\nhosts="z, X.Y."',
            "apps.b: x.y without a path-prefix is apps.a's already",
        ),
        (
            '[apps.a]\ndb-uri="x"\n[apps.b]\ndb-uri="y"',
            "apps.b: every host without a path-prefix is apps.a's already",
        ),
        (
            '[apps.a]\ndb-uri="x"\npath-prefix="/p"\n[apps.b]\ndb-uri="y"\npath-prefix="/p/"',
            "apps.b: every host/p is apps.a's already",
        ),
        (
            '[apps.a]\ndb-uri="x"\ncache-store="radis://:geheim@h"',
            "apps.a: cache-store: it is no URL that begins with redis://, rediss:// or unix://",
        ),
        (
            '[apps.a]\ndb-uri="x"\ncache-store="redis://h:port"',
            "apps.a: cache-store: it is no URL",
        ),
        (
            '[apps.a-b]\ndb-uri="x"\n[apps.a_b]\ndb-uri="y"\nhosts="b"',
            "apps.a_b: its environment variables would be those of apps.a-b",
        ),
    ],
)
def test_what_can_not_be_served(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in problems(tmp_path, text)


def test_a_place_that_makes_no_sense_is_in_nobodys_way(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        '[apps.a]\ndb-uri="x"\nhosts="a:80"\n[apps.b]\ndb-uri="y"\n[apps.c]\ndb-uri="z"\nhosts="c"',
    )
    assert "apps.a: hosts: 'a:80' holds 'a:80', which is not a host name" in told
    assert "already" not in told


def test_what_is_wrong_at_the_top_is_told_once(tmp_path: Path) -> None:
    told = problems(
        tmp_path, 'db-pool=0\n[apps.a]\ndb-uri="x"\n[apps.b]\ndb-uri="y"\nhosts="b"'
    )
    assert told.count("db-pool") == 2  # the key, and the example of how to write it


def test_a_process_wide_variable_of_an_app_is_refused(tmp_path: Path) -> None:
    told = problems(tmp_path, '[apps.a]\ndb-uri="x"', PGRST_APPS__A__SERVER_PORT="1")
    assert "apps.a: server-port belongs to the whole process" in told


@pytest.mark.parametrize(
    "text, warning",
    [
        (
            '[apps.a]\ndb-uri="x"\ndb-ur="y"',
            "apps.a: db-ur is not a setting; did you mean db-uri?",
        ),
        (
            '[apps.a]\ndb-uri="x"\ndb-pool-automatic-recovery=false',
            "apps.a: db-pool-automatic-recovery = false has no effect",
        ),
        (
            f'[apps.a]\ndb-uri="x"\njwt-secret="{SECRET}"\n'
            f'[apps.b]\ndb-uri="x"\nhosts="b"\njwt-secret="{SECRET}"',
            "apps.b: jwt-secret is that of apps.a",
        ),
        (
            'hosts = "a"',
            "hosts is not a setting here; an app's table is [apps.NAME], with hosts in it",
        ),
        (
            'app.shop.db-uri = "x"',
            "app.shop.db-uri is not a setting here; an app's table is [apps.NAME], with db-uri"
            " in it",
        ),
        (
            '[apps]\ndb-uri = "x"',
            "apps.db-uri is not a setting here; an app's table is [apps.NAME], with db-uri in"
            " it",
        ),
        ('[[apps]]\ndb-uri = "x"', "apps is not a setting; an app's table is [apps.NAME]"),
    ],
)
def test_what_is_probably_not_meant(tmp_path: Path, text: str, warning: str) -> None:
    assert any(told.startswith(warning) for told in load(tmp_path, text).warnings)


@pytest.mark.parametrize(
    "variable", ["PGRST_APPS_A__DB_POOL", "PGRST_APPS__A_DB_POOL", "PGRST_APPS_A_DB_POOL"]
)
def test_a_variable_that_nearly_names_an_app(tmp_path: Path, variable: str) -> None:
    told = load(tmp_path, '[apps.a]\ndb-uri="x"', **{variable: "3"}).warnings
    assert told == (
        f"{variable} is not a setting; an app's variables are PGRST_APPS__NAME__SETTING, with"
        " two underscores around the name",
    )


def test_one_secret_for_two_audiences_is_fine(tmp_path: Path) -> None:
    text = f'[apps.a]\ndb-uri="x"\njwt-secret="{SECRET}"\njwt-aud="a"\n'
    text += f'[apps.b]\ndb-uri="x"\nhosts="b"\njwt-secret="{SECRET}"\njwt-aud="b"\n'
    assert load(tmp_path, text).warnings == ()


def test_a_dump_is_read_back_as_it_was(tmp_path: Path) -> None:
    text = f"""
        server-port = 4000
        db-pool = 4
        [apps.shop]
        db-uri = "postgresql://u:p$$x@h/d"
        jwt-secret = "{SECRET}"
        hosts = "a.b, *.a.b"
        app.settings.x = "1"
        [apps.blog]
        db-uri = "postgresql://blog"
        path-prefix = "/blog"
        db-anon-role = "anyone"
        """
    loaded = load(tmp_path, text)
    again = load(tmp_path, dump_apps(loaded.settings, loaded.apps))
    assert again.apps == loaded.apps
    hidden = dump_apps(loaded.settings, loaded.apps, hides="secrets")
    assert SECRET not in hidden
    assert "postgresql://" not in hidden


# --- what a reload does -------------------------------------------------------------------


def named(name: str, **given: object) -> NamedApp:
    return NamedApp(name, Settings(**given))  # type: ignore[arg-type]


def test_a_reload_tells_apart_what_stays_and_what_begins_anew() -> None:
    old = [named(name) for name in ("same", "reloadable", "uri", "prefix", "gone")]
    new = [
        named("same"),
        named("reloadable", db_schemas=("x",), hosts=("h",), server_port=1),
        named("uri", db_uri="postgresql://new"),
        named("prefix", path_prefix="/p"),
        named("new"),
    ]
    assert changed_apps(old, new) == Changes(
        added=(new[4],), kept=(new[0], new[1]), replaced=(new[2], new[3])
    )


def test_what_of_the_process_needs_a_restart() -> None:
    new = Settings(server_port=1, log_level="info", db_pool=3)
    assert process_changes(Settings(), new) == ("server-port",)
    assert DEFAULT_APP == "default"
