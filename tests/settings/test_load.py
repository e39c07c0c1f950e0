"""Where a setting's value comes from, and what is said about values that make no sense."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from proxy.settings import Loaded, Settings, SettingsError, keep_fixed, load_settings

SECRET = "a secret for tests that is long enough"


def load(text: str = "", **environ: str) -> Settings:
    return load_text(text, environ).settings


def load_text(text: str, environ: Mapping[str, str]) -> Loaded:
    with NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        return load_settings(Path(file.name), environ)


def problems(text: str = "", **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load_text(text, environ)
    # What can't be read begins with the name of the file.
    return tuple(re.sub(r"^/\S+\.conf: ", "", each) for each in raised.value.problems)


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings(None, {}).settings == Settings()


@pytest.mark.parametrize(
    "text, environ, expected",
    [
        ("", {}, 10),
        ("db-pool = 3", {}, 3),
        ("db-pool = 3", {"PGRST_DB_POOL": "4"}, 4),
        ("db-pool = 3", {"PGRST_DB_POOL": ""}, 10),
        ('db-pool = ""', {}, 10),
    ],
)
def test_the_environment_wins_over_the_file_and_that_over_the_default(
    text: str, environ: dict[str, str], expected: int
) -> None:
    assert load(text, **environ).db_pool == expected


@pytest.mark.parametrize(
    "written, expected",
    [
        ("true", True),
        ("false", False),
        ('"true"', True),
        ('"True"', True),
        ('"FALSE"', False),
        ("\"'true'\"", True),
        ('"1"', True),
        ('"0"', False),
        ('"-1"', False),
        ("0", False),
        ("on", True),
        ("off", False),
        ('""', True),
    ],
)
def test_booleans_are_read_as_postgrest_reads_them(written: str, expected: bool) -> None:
    assert load(f"db-channel-enabled = {written} # a comment").db_channel_enabled is expected


@pytest.mark.parametrize("written", ["7", '"7"', "7.0", '" 7 "'])
def test_numbers_may_be_text(written: str) -> None:
    assert load(f"db-pool = {written}").db_pool == 7


@pytest.mark.parametrize(
    "written, expected",
    [
        ('"a"', ("a",)),
        ('"a, b ,c"', ("a", "b", "c")),
        ('"a,"', ("a",)),
        ('["a", " b"]', ("a", "b")),
        ('""', ("public",)),
    ],
)
def test_lists_are_separated_by_commas(written: str, expected: tuple[str, ...]) -> None:
    assert load(f"db-schemas = {written}").db_schemas == expected


def test_an_empty_extra_search_path_is_none_at_all() -> None:
    assert load('db-extra-search-path = ""').db_extra_search_path == ()
    assert load(PGRST_DB_EXTRA_SEARCH_PATH="").db_extra_search_path == ()


@pytest.mark.parametrize(
    "text, environ, attribute, expected",
    [
        ("max-rows = 5", {}, "db_max_rows", 5),
        ("max-rows = 5\ndb-max-rows = 6", {}, "db_max_rows", 6),
        ("db-max-rows = 6", {"PGRST_MAX_ROWS": "5"}, "db_max_rows", 6),
        ('db-max-rows = ""', {"PGRST_MAX_ROWS": "5"}, "db_max_rows", 5),
        ("db-pool-timeout = 5\ndb-pool-max-idletime = 6", {}, "db_pool_max_idletime", 5),
        ('pre-request = "f"', {}, "db_pre_request", "f"),
        ('root-spec = "f"', {}, "db_root_spec", "f"),
        ('db-schema = "x"', {}, "db_schemas", ("x",)),
        ('role-claim-key = "$$.r"', {}, "jwt_role_claim_key", "$.r"),
        ("secret-is-base64 = false", {}, "jwt_secret_is_base64", False),
    ],
)
def test_older_names_are_understood(
    text: str, environ: dict[str, str], attribute: str, expected: object
) -> None:
    assert getattr(load(text, **environ), attribute) == expected


@pytest.mark.parametrize(
    "text, attribute, expected",
    [
        ('server-unix-socket = "/run/x"', "server_unix_socket", Path("/run/x")),
        ('server-unix-socket-mode = "600"', "server_unix_socket_mode", 0o600),
        ("server-unix-socket-mode = 777", "server_unix_socket_mode", 0o777),
        ('server-host = "::1"', "admin_server_host", "::1"),
        ('server-host = "::1"\nadmin-server-host = "a"', "admin_server_host", "a"),
        ("server-drain-timeout = 0.5", "server_drain_timeout", 0.5),
        ('server-cors-allowed-origins = ""', "server_cors_allowed_origins", ()),
        ("db-anon-role = 12", "db_anon_role", "12"),
        ('db-tx-end = "rollback"', "db_tx_end", "rollback"),
    ],
)
def test_other_kinds(text: str, attribute: str, expected: object) -> None:
    assert getattr(load(text), attribute) == expected


def test_app_settings_come_from_the_file_and_the_environment() -> None:
    settings = load(
        'app.settings.one = "file"\napp.settings.two = 2\napp.settings.deep.name = true\n',
        PGRST_APP_SETTINGS_ONE="environment",
        PGRST_APP_SETTINGS_x="y",
    )
    assert settings.app_settings == (
        ("app.settings.ONE", "environment"),
        ("app.settings.deep.name", "true"),
        ("app.settings.two", "2"),
        ("app.settings.x", "y"),
    )


def test_secrets_may_stand_in_files_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("\n postgresql://somewhere \n")
    (tmp_path / "secret").write_text(f" {SECRET}\n\n")
    settings = load(
        f'db-uri = "@{tmp_path / "uri"}"', PGRST_JWT_SECRET=f"@{tmp_path / 'secret'}"
    )
    assert settings.db_uri == "postgresql://somewhere"
    assert settings.jwt_secret == f" {SECRET}\n", "one newline goes, as in PostgREST"


def test_secrets_do_not_show() -> None:
    settings = load(
        f'db-uri = "postgresql://u:hush@h/d"\njwt-secret = "{SECRET}"\napp.settings.k = "hush"'
    )
    assert "hush" not in repr(settings)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "text, environ, problem",
    [
        (
            'db-pool = "ten"',
            {},
            "db-pool: 'ten' is not a whole number; write e.g. db-pool = 10",
        ),
        (
            "",
            {"PGRST_DB_POOL": "ten"},
            "PGRST_DB_POOL: 'ten' is not a whole number; write e.g. PGRST_DB_POOL=10",
        ),
        ("db-pool = 0", {}, "db-pool: '0' is less than 1; write e.g. db-pool = 10"),
        (
            "db-pool = 1.5",
            {},
            "db-pool: '1.5' is not a whole number; write e.g. db-pool = 10",
        ),
        (
            "server-port = 65536",
            {},
            "server-port: '65536' is more than 65535; write e.g. server-port = 3000",
        ),
        (
            'db-config = "maybe"',
            {},
            "db-config: 'maybe' is neither true nor false; write e.g. db-config = true",
        ),
        (
            'log-level = "loud"',
            {},
            "log-level: 'loud' is none of crit, error, warn, info, debug;"
            ' write e.g. log-level = "crit"',
        ),
        (
            'server-engine = "granian"',
            {},
            "server-engine: 'granian' is no engine any more: remove the setting, as the default"
            ' one costs less by now (docs/engines.md); write e.g. server-engine = "hypercorn"',
        ),
        (
            'server-unix-socket-mode = "588"',
            {},
            "server-unix-socket-mode: '588' is not an octal number;"
            ' write e.g. server-unix-socket-mode = "660"',
        ),
        (
            'server-unix-socket-mode = "577"',
            {},
            "server-unix-socket-mode: '577' is not between 600 and 777;"
            ' write e.g. server-unix-socket-mode = "660"',
        ),
        (
            "server-idle-timeout = 0",
            {},
            "server-idle-timeout: '0' is not a number of seconds above 0;"
            " write e.g. server-idle-timeout = 75",
        ),
        (
            "db-anon-role = [1]",
            {},
            "db-anon-role: '[1]' is not text; write e.g. db-anon-role = \"web_anon\"",
        ),
        (
            "db-schemas = 1",
            {},
            "db-schemas: '1' is not a comma-separated list; write e.g. db-schemas = \"public\"",
        ),
        (
            'db-schemas = ","',
            {},
            'db-schemas: no schema is named; write e.g. db-schemas = "public"',
        ),
        (
            'db-schemas = "a, pg_catalog"',
            {},
            "db-schemas does not allow schema: 'pg_catalog'; expose views of it instead",
        ),
        (
            "admin-server-port = 3000",
            {},
            "admin-server-port cannot be the same as server-port; write e.g."
            " admin-server-port = 3001",
        ),
        (
            'server-tls-cert = "cert.pem"',
            {},
            "server-tls-key: server-tls-cert is set; set both, or neither",
        ),
        (
            'jwt-aud = "a b:c"',
            {},
            "jwt-aud: 'a b:c' has a colon and is no URI; write a name without colon or a URI,"
            ' e.g. jwt-aud = "https://example.com/api"',
        ),
        (
            'app.settings.x = "$(NOT_SET)"',
            {},
            "app.settings.x: the $(…) at its character 1 names neither a key of the file nor an"
            " environment variable; set that, or write $$(…) for the text itself",
        ),
    ],
)
def test_what_is_wrong_is_told_with_the_key_and_the_remedy(
    text: str, environ: dict[str, str], problem: str
) -> None:
    assert problems(text, **environ) == (problem,)


@pytest.mark.parametrize(
    "written, complaint",
    [
        ('"too short"', "The JWT secret must be at least 32 characters long"),
        ('"not base64!"\njwt-secret-is-base64 = true', "is not base64"),
        ('"@/no/such/file"', "the file that it names with @ can't be read: No such"),
        ('\'{"kty":"RSA"}\'', "malformed key of type RSA"),
    ],
)
def test_a_secret_of_no_use_is_not_repeated(written: str, complaint: str) -> None:
    (problem,) = problems(f"jwt-secret = {written}")
    assert problem.startswith("jwt-secret: ")
    assert complaint in problem
    assert "too short" not in problem


@pytest.mark.parametrize(
    "uri, is_good",
    [
        ("https://example.com", True),
        ("http://example.com:8443/base/path", True),
        ("https://[::1]:80/", True),
        ("ftp://example.com", False),
        ("https://user@example.com", False),
        ("https://example.com/?query", False),
        ("https://example.com:0", False),
        ("https://example.com:65536", False),
        ("https:///path", False),
        ("example.com", False),
        ("https://exa mple.com", False),
        ("https://example.com/#part", False),
    ],
)
def test_the_proxy_uri_is_an_http_url(uri: str, is_good: bool) -> None:
    text = f'openapi-server-proxy-uri = "{uri}"'
    if is_good:
        assert load(text).openapi_server_proxy_uri == uri
    else:
        (problem,) = problems(text)
        assert problem.startswith("openapi-server-proxy-uri: it is not an http or https URL")
        assert f"'{uri}'" not in problem


def test_the_role_claim_key_must_be_a_path() -> None:
    assert load('jwt-role-claim-key = ".old[0].style"').jwt_role_claim_key == ".old[0].style"
    (problem,) = problems('jwt-role-claim-key = "no path"')
    assert problem.startswith("jwt-role-claim-key: ")
    assert problem.endswith('write e.g. jwt-role-claim-key = "$.role"')


def test_everything_wrong_is_told_at_once() -> None:
    found = problems('db-pool = "x"\nlog-level = "y"', PGRST_JWT_SECRET="short")
    assert [problem.partition(":")[0] for problem in found] == [
        "db-pool",
        "log-level",
        "jwt-secret",
    ]


@pytest.mark.parametrize(
    "text, environ, warning",
    [
        ("db-pol = 1", {}, "db-pol is not a setting; did you mean db-pool?"),
        ("[db]\npool = 1", {}, "db.pool is not a setting; did you mean db-pool?"),
        ("", {"PGRST_DB_ANNON_ROLE": "x"}, "did you mean PGRST_DB_ANON_ROLE?"),
        ("zzz = 1", {}, "zzz is not a setting; remove it"),
        ('jwt-role-claim-key = ".r"', {}, "is in the syntax from before PostgREST 16"),
        ('app.settings.my-key = "x"', {}, "write e.g. app.settings.my_key"),
    ],
)
def test_what_is_odd_is_a_warning(text: str, environ: dict[str, str], warning: str) -> None:
    (found,) = load_text(text, environ).warnings
    assert warning in found


def test_other_programs_variables_are_no_business_of_ours() -> None:
    assert load_settings(None, {"PATH": "/bin", "PGHOST": "x", "PGRST": "y"}).warnings == ()


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    for path, complaint in (
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(SettingsError, match=complaint) as raised:
            load_settings(path, {})
        assert str(path) in str(raised.value)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings(tmp_path / "binary", {})


def test_a_reload_keeps_what_needs_a_restart() -> None:
    running = Settings(db_pool=3, server_port=4000, db_max_rows=1, server_max_body=1)
    fresh = Settings(
        db_pool=5, server_port=5000, db_max_rows=2, app_settings=(("app.settings.a", "b"),)
    )
    assert keep_fixed(running, fresh) == Settings(
        db_pool=3,
        server_port=4000,
        db_max_rows=2,
        server_max_body=1,
        app_settings=(("app.settings.a", "b"),),
    )
