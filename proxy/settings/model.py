"""Every setting, once: `Settings` is the table and the value the server works with.

A field's name is the setting's key with underscores for dashes; from the key follow the
environment variable (`db-pool`: PGRST_DB_POOL) and the in-database name (pgrst.db_pool, for
those that may be set there). Loading, the checks, `--dump-config`, `--example` and
docs/configuration.md are all made from this table. Keys, defaults and aliases are
PostgREST's (docs, "Configuration"), except for the few it lacks, marked `own`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

from proxy.cache.policy import PolicyRow
from proxy.errors import Verbosity
from proxy.settings.kinds import (
    BOOLEAN,
    HOSTS,
    PATH_PREFIX,
    PORT,
    SOCKET_MODE,
    Kind,
    names,
    one_of,
    path,
    positive,
    seconds,
    seconds_or_none,
    text,
    whole_number,
)

TransactionEnd = Literal[
    "commit", "commit-allow-override", "rollback", "rollback-allow-override"
]
OpenApiMode = Literal["follow-privileges", "ignore-privileges", "disabled"]
LogLevel = Literal["crit", "error", "warn", "info", "debug"]
LogFormat = Literal["apache", "json"]
EngineName = Literal["hypercorn", "granian"]

_PROCESS_WIDE: Final = ("server-", "admin-", "log-", "pool-")
"""How the keys of settings begin that belong to the process."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the table says about a setting besides its name, type and default.

    `aliases` are other keys for the same setting; `alias_first` says that they win over
    the key itself, as one does in PostgREST. `own` tells that PostgREST has no such setting.
    `default_text` replaces the default where the documentation shows it. `inherited` tells
    whether an app's table takes it from the top level when it does not say itself: what
    lets somebody in, or names a place, is each app's own. `place` marks what a table alone
    may say: where its app is.
    """

    kind: Kind
    doc: str
    aliases: tuple[str, ...] = ()
    alias_first: bool = False
    reloadable: bool = True
    in_database: bool = False
    own: bool = False
    default_text: str | None = None
    inherited: bool = True
    place: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    attribute: str
    default: Any
    facts: Facts
    secret: bool = False
    """Whether its value must not be shown."""

    @property
    def key(self) -> str:
        """The name in a configuration file: `db-anon-role`."""
        return self.attribute.replace("_", "-")

    @property
    def keys(self) -> tuple[str, ...]:
        """The key and its aliases, the one that wins first."""
        if self.facts.alias_first:
            return (*self.facts.aliases, self.key)
        return (self.key, *self.facts.aliases)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return variable_of(self.key)

    @property
    def process_wide(self) -> bool:
        """Whether it is about the process, not about an app: what belongs to the server and
        could not be different in each database."""
        return self.key.startswith(_PROCESS_WIDE) and not self.facts.in_database

    @property
    def database_name(self) -> str | None:
        """The name of the in-database setting, None when it can't be set there."""
        return f"pgrst.{self.attribute}" if self.facts.in_database else None


def variable_of(key: str) -> str:
    """The environment variable of a key or of an alias."""
    return "PGRST_" + key.upper().replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole, valid configuration. Made by `load_settings`; times in seconds, sizes in
    bytes. Without arguments: the defaults."""

    app_settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """`app.settings.*` under their full names, for `current_setting`."""
    cache_policies: tuple[PolicyRow, ...] = ()
    """The tables `[cache.…]`: what may be kept, for how long and for whom."""

    db_uri: Annotated[
        str,
        Facts(
            text("postgresql://user:password@localhost:5432/app"),
            "Where the database is: a URI or keywords and values, as libpq reads them; what is"
            " left out comes from PGHOST and its like. `@file` reads it from a file, and again"
            " when the database refuses the password.",
            reloadable=False,
            inherited=False,
        ),
    ] = field(default="postgresql://", repr=False)
    db_uri_file: Path | None = field(default=None, repr=False)
    """The file that `db_uri` was read from, if it was."""

    db_read_uris: Annotated[
        tuple[str, ...],
        Facts(
            names("postgresql://user:password@replica:5432/app", blank_is_value=True),
            "Where the read replicas are: streaming standbys of the database at `db-uri`, as"
            " an array or separated by commas. They answer what only reads; see replicas.md."
            " `@file` for one of them reads it from a file.",
            own=True,
            inherited=False,
        ),
    ] = field(default=(), repr=False)
    db_read_max_lag: Annotated[
        float,
        Facts(
            seconds(10),
            "How far a read replica may be behind to be given reads.",
            own=True,
        ),
    ] = 10.0
    db_schemas: Annotated[
        tuple[str, ...],
        Facts(
            names("public"),
            "The schemas that are exposed. The first is the default, others are chosen with"
            " `Accept-Profile` and `Content-Profile`.",
            aliases=("db-schema",),
            in_database=True,
        ),
    ] = ("public",)
    db_extra_search_path: Annotated[
        tuple[str, ...],
        Facts(
            names("public", blank_is_value=True),
            'Schemas added to the search path of every request, not exposed. `""` for none.',
            in_database=True,
        ),
    ] = ("public",)
    db_anon_role: Annotated[
        str | None,
        Facts(
            text("web_anon"),
            "The role of requests without a token. Not set, they are refused.",
            in_database=True,
        ),
    ] = None
    db_max_rows: Annotated[
        int | None,
        Facts(
            whole_number(1000),
            "The most rows a response may hold.",
            aliases=("max-rows",),
            in_database=True,
            default_text="no limit",
        ),
    ] = None
    db_aggregates_enabled: Annotated[
        bool, Facts(BOOLEAN, "Allow aggregate functions in `select`.", in_database=True)
    ] = False
    db_plan_enabled: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Answer `Accept: application/vnd.pgrst.plan` with the execution plan.",
            in_database=True,
        ),
    ] = False
    db_plan_cache_max_entries: Annotated[
        int,
        Facts(
            whole_number(1000),
            "How many shapes of requests are remembered with their plans and SQL, so that one"
            " of the same shape with other values is only given those; 0 for none.",
            own=True,
        ),
    ] = 1000
    db_pre_request: Annotated[
        str | None,
        Facts(
            text("auth.check_request"),
            "A function called in every transaction, after the role is set.",
            aliases=("pre-request",),
            in_database=True,
        ),
    ] = None
    db_root_spec: Annotated[
        str | None,
        Facts(
            text("api.root"),
            "A function that answers `/` instead of the OpenAPI description.",
            aliases=("root-spec",),
            in_database=True,
        ),
    ] = None
    db_tx_end: Annotated[
        TransactionEnd,
        Facts(
            one_of("commit", "commit-allow-override", "rollback", "rollback-allow-override"),
            "How transactions end, and whether `Prefer: tx=…` may say otherwise.",
            reloadable=False,
            in_database=True,
        ),
    ] = "commit"
    db_hoisted_tx_settings: Annotated[
        tuple[str, ...],
        Facts(
            names("statement_timeout"),
            "Settings of a function (its `SET` clauses) that hold for the whole transaction.",
            in_database=True,
        ),
    ] = (
        "statement_timeout",
        "plan_filter.statement_cost_limit",
        "default_transaction_isolation",
    )
    db_statement_timeout: Annotated[
        float,
        Facts(
            seconds_or_none(5),
            "How long a statement may run for roles without a `statement_timeout` of their own;"
            " 0: as long as PostgreSQL's own settings let it.",
            in_database=True,
            own=True,
        ),
    ] = 0.0
    db_cancel_writes: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Cancel a write, as a read, when its caller has gone. Off: a write that was begun"
            " is finished.",
            in_database=True,
            own=True,
        ),
    ] = True
    db_prepared_statements: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Use prepared statements. Turn it off behind a pooler in transaction mode.",
            in_database=True,
        ),
    ] = True
    db_config: Annotated[bool, Facts(BOOLEAN, "Read settings from the database.")] = True
    db_pre_config: Annotated[
        str | None,
        Facts(
            text("api.pre_config"),
            "A function that sets in-database settings.",
            in_database=True,
        ),
    ] = None
    db_use_legacy_gucs: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Also set `request.jwt.claim.NAME`, `request.header.NAME` and"
            " `request.cookie.NAME`, as PostgREST did up to version 11. Names that PostgreSQL"
            " does not allow, such as those with dashes, are left out.",
            in_database=True,
            own=True,
        ),
    ] = False
    db_reload_on_miss_interval: Annotated[
        int,
        Facts(
            whole_number(1, label="seconds"),
            "When a request names something the schema cache does not know, look, at most once"
            " in so many seconds, whether the schema has changed; if it has, reload the cache"
            " and try the request again. 0 turns this off.",
            in_database=True,
            own=True,
        ),
    ] = 1
    db_channel: Annotated[
        str, Facts(text("pgrst"), "The channel of `NOTIFY` on which reloads are asked for.")
    ] = "pgrst"
    db_channel_enabled: Annotated[bool, Facts(BOOLEAN, "Listen on `db-channel`.")] = True

    cache_channel: Annotated[
        str,
        Facts(
            text("pgrst_cache"),
            "The channel of `NOTIFY` on which writes are announced to caches; see"
            " cache-invalidation.md.",
            reloadable=False,
            own=True,
            default_text="`db-channel` and `_cache`",
        ),
    ] = ""
    cache_channel_enabled: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Listen on `cache-channel`, and answer nothing from the cache while that does not"
            " work. Off, whatever else writes to the database goes unnoticed.",
            reloadable=False,
            own=True,
        ),
    ] = True
    cache_store: Annotated[
        str | None,
        Facts(
            text("redis://localhost:6379/0"),
            "A Redis or Valkey through which servers share kept answers; needs the extra"
            " `edgerest[redis]`, and sets `cache-announce`.",
            reloadable=False,
            own=True,
        ),
    ] = field(default=None, repr=False)
    cache_announce: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Announce the writes of this server on `cache-channel`, for other servers on the"
            " same database. Workers of one server need no telling.",
            reloadable=False,
            own=True,
        ),
    ] = False

    db_pool: Annotated[
        int,
        Facts(whole_number(10, at_least=1), "The most database connections.", reloadable=False),
    ] = 10
    db_pool_acquisition_timeout: Annotated[
        int,
        Facts(
            whole_number(10, label="seconds"),
            "How long a request waits for a connection before it is answered 504.",
            reloadable=False,
        ),
    ] = 10
    db_pool_max_idletime: Annotated[
        int,
        Facts(
            whole_number(30, label="seconds"),
            "A connection not used for so long is closed.",
            aliases=("db-pool-timeout",),
            alias_first=True,
            reloadable=False,
        ),
    ] = 30
    db_pool_max_lifetime: Annotated[
        int,
        Facts(
            whole_number(1800, label="seconds"),
            "A connection older than this is replaced.",
            reloadable=False,
        ),
    ] = 1800
    db_pool_check_delay: Annotated[
        float,
        Facts(
            seconds_or_none(5),
            "A connection on which the database has said nothing for so long is checked before"
            " it is used (PgBouncer's `server_check_delay`); one that does not answer within 2"
            " seconds is replaced, and so are all that nobody uses. 0 checks before each use.",
            reloadable=False,
            own=True,
        ),
    ] = 5.0
    db_pool_automatic_recovery: Annotated[
        bool,
        Facts(BOOLEAN, "Connect again when the database went away; off, the server exits."),
    ] = True

    cache_max_bytes: Annotated[
        int,
        Facts(
            whole_number(268_435_456, label="bytes"),
            "The most memory that kept answers take, in each worker; 0 keeps none. What is kept"
            " at all, the tables `[cache.…]` and `@cache` comments say; see caching.md.",
            own=True,
        ),
    ] = 67_108_864
    cache_max_entry_bytes: Annotated[
        int,
        Facts(
            whole_number(1_048_576, label="bytes"),
            "Answers larger than this are not kept.",
            own=True,
        ),
    ] = 4_194_304
    cache_rights_interval: Annotated[
        float,
        Facts(
            seconds_or_none(1),
            "Kept answers are used only if so many seconds ago, or later, a look at the"
            " database has found the rights unchanged under which they were made: the longest"
            " that somebody is answered from the cache with what was taken from him. 0 looks"
            " before each use. See caching.md.",
            own=True,
        ),
    ] = 1.0
    cache_pre_request_is_safe: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "The function of `db-pre-request` need not see requests that are answered from the"
            " cache, and does not make answers depend on anything but the token. Not set,"
            " nothing is kept when there is such a function.",
            own=True,
        ),
    ] = False
    server_compress_from: Annotated[
        int,
        Facts(
            whole_number(1024, label="bytes"),
            "The least size of a response that is compressed for those who accept it (gzip; br"
            " and zstd with the extra `edgerest[compression]`); 0 compresses none. See"
            " caching.md for what compression may tell an eavesdropper.",
            own=True,
        ),
    ] = 1024
    db_pool_min: Annotated[
        int,
        Facts(
            whole_number(2),
            "So many connections are kept open once they were needed, in each worker, and are"
            " never given to other apps.",
            reloadable=False,
            own=True,
        ),
    ] = 0
    db_pool_weight: Annotated[
        float,
        Facts(
            positive(2),
            "Of `pool-max-connections`, an app of weight 2 is due twice as many as one of"
            " weight 1 when both want more than there are.",
            reloadable=False,
            own=True,
        ),
    ] = 1.0
    db_pool_max_waiting: Annotated[
        int,
        Facts(
            whole_number(500),
            "The most requests that wait for a connection, in each worker; more are answered"
            " 503 at once.",
            reloadable=False,
            own=True,
        ),
    ] = 10_000
    db_pool_outage_grace: Annotated[
        float,
        Facts(
            seconds_or_none(5),
            "How long requests wait for a database that has just gone away before they are"
            " answered 503; 0 for not at all.",
            reloadable=False,
            own=True,
        ),
    ] = 5.0
    pool_max_connections: Annotated[
        int | None,
        Facts(
            whole_number(100, at_least=1),
            "The most database connections of all apps together. Workers have equal parts of"
            " them, apps what `db-pool-weight` says as soon as they want more than there are."
            " The connection of each app that listens is not counted.",
            reloadable=False,
            own=True,
            default_text="no limit but each app's `db-pool`",
        ),
    ] = None

    jwt_secret: Annotated[
        str | None,
        Facts(
            text("@/run/secrets/jwt"),
            "What tokens are verified with: a secret of 32 characters or more, a JWK or a JWKS."
            " `@file` reads it from a file. Not set, tokens are refused.",
            in_database=True,
            inherited=False,
        ),
    ] = field(default=None, repr=False)
    jwt_secret_is_base64: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "`jwt-secret` is base64.",
            aliases=("secret-is-base64",),
            in_database=True,
            inherited=False,
        ),
    ] = False
    jwt_jwks_uri: Annotated[
        str | None,
        Facts(
            text("https://login.example.com/.well-known/jwks.json"),
            "Where an identity provider publishes the keys it signs tokens with, as a JWKS."
            " They are used beside those of `jwt-secret`; see authentication.md.",
            reloadable=False,
            inherited=False,
            own=True,
        ),
    ] = field(default=None, repr=False)
    jwt_jwks_max_age: Annotated[
        float,
        Facts(
            seconds(600),
            "How long published keys are used before they are fetched anew.",
            reloadable=False,
            own=True,
        ),
    ] = 600.0
    jwt_jwks_allow_http: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Let `jwt-jwks-uri` be http to other machines: whoever is on the way between can"
            " then sign tokens.",
            reloadable=False,
            own=True,
        ),
    ] = False
    jwt_aud: Annotated[
        str | None, Facts(text("my-api"), "What the `aud` claim must name.", in_database=True)
    ] = None
    jwt_role_claim_key: Annotated[
        str,
        Facts(
            text("$.role"),
            "Where the role is in the claims, as JSONPath (RFC 9535).",
            aliases=("role-claim-key",),
            in_database=True,
        ),
    ] = "$.role"
    jwt_cache_max_entries: Annotated[
        int,
        Facts(
            whole_number(1000),
            "How many verified tokens are remembered; 0 for none.",
            in_database=True,
        ),
    ] = 1000

    openapi_mode: Annotated[
        OpenApiMode,
        Facts(
            one_of("follow-privileges", "ignore-privileges", "disabled"),
            "What the OpenAPI description at `/` shows.",
            in_database=True,
        ),
    ] = "follow-privileges"
    openapi_security_active: Annotated[
        bool,
        Facts(
            BOOLEAN, "Put security definitions into the OpenAPI description.", in_database=True
        ),
    ] = False
    openapi_server_proxy_uri: Annotated[
        str | None,
        Facts(
            text("https://example.com:8443/basePath"),
            "The URL under which clients reach the API, for the OpenAPI description.",
            reloadable=False,
            in_database=True,
            inherited=False,
        ),
    ] = None

    openapi_docs_path: Annotated[
        str | None,
        Facts(
            text("/docs"),
            "Serve an interactive page of the API's description (Swagger UI) under this path,"
            " which hides a table of that name. Not set, there is no such page.",
            own=True,
        ),
    ] = None

    server_host: Annotated[
        str,
        Facts(
            text("127.0.0.1"),
            "The address to listen on. `!4`: any IPv4, `!6`: any IPv6, `*`, `*4`, `*6`: any.",
            reloadable=False,
        ),
    ] = "!4"
    server_port: Annotated[
        int, Facts(PORT, "The TCP port; 0 takes a free one.", reloadable=False)
    ] = 3000
    server_reuseport: Annotated[
        bool,
        Facts(BOOLEAN, "Let several servers share the port (SO_REUSEPORT).", reloadable=False),
    ] = False
    server_unix_socket: Annotated[
        Path | None,
        Facts(
            path("/run/edgerest.sock"),
            "Listen on this Unix socket instead of a port.",
            reloadable=False,
        ),
    ] = None
    server_unix_socket_mode: Annotated[
        int, Facts(SOCKET_MODE, "The file mode of the Unix socket.", reloadable=False)
    ] = 0o660
    server_cors_allowed_origins: Annotated[
        tuple[str, ...],
        Facts(
            names("https://example.com"),
            "The origins whose scripts may read responses.",
            reloadable=False,
            in_database=True,
            default_text="all",
        ),
    ] = ()
    server_trace_header: Annotated[
        str | None,
        Facts(
            text("X-Request-Id"),
            "A request header that is echoed in the response.",
            in_database=True,
        ),
    ] = None
    server_timing_enabled: Annotated[
        bool, Facts(BOOLEAN, "Send `Server-Timing`.", in_database=True)
    ] = False
    server_tracing_enabled: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Send OpenTelemetry traces where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra"
            " `edgerest[otel]`. See docs/observability.md.",
            reloadable=False,
            own=True,
        ),
    ] = False
    server_engine: Annotated[
        EngineName,
        Facts(
            one_of("hypercorn", "granian"),
            "The HTTP server; `granian` needs the extra of that name. See docs/engines.md.",
            reloadable=False,
            own=True,
        ),
    ] = "hypercorn"
    server_workers: Annotated[
        int,
        Facts(
            whole_number(1, at_least=1),
            "How many processes serve, each with a pool of its own.",
            reloadable=False,
            own=True,
        ),
    ] = 1
    server_tls_cert: Annotated[
        Path | None,
        Facts(
            path("/etc/edgerest/cert.pem"),
            "The certificate chain (PEM); with `server-tls-key` it turns TLS on.",
            reloadable=False,
            own=True,
        ),
    ] = None
    server_tls_key: Annotated[
        Path | None,
        Facts(
            path("/etc/edgerest/key.pem"),
            "The certificate's private key (PEM).",
            reloadable=False,
            own=True,
        ),
    ] = None
    server_max_url: Annotated[
        int,
        Facts(
            whole_number(65536, at_least=1, label="bytes"),
            "The longest path and query; longer ones are answered 414.",
            reloadable=False,
            own=True,
        ),
    ] = 65536
    server_max_header: Annotated[
        int,
        Facts(
            whole_number(65536, at_least=1, label="bytes"),
            "The most bytes of headers; more is answered 431.",
            reloadable=False,
            own=True,
        ),
    ] = 65536
    server_max_body: Annotated[
        int,
        Facts(
            whole_number(1_048_576, label="bytes"),
            "The largest request body; larger ones are answered 413.",
            reloadable=False,
            own=True,
        ),
    ] = 104_857_600
    server_max_bodies_in_flight: Annotated[
        int,
        Facts(
            whole_number(134_217_728, at_least=4_194_304, label="bytes"),
            "The most bytes of request bodies that each worker holds, from their arrival until"
            " they are answered. Beyond it those are ended, with 503, that have kept most of it"
            " waiting for longest. A body larger than 7/8 of it is answered 413.",
            reloadable=False,
            own=True,
        ),
    ] = 134_217_728
    server_max_answers_in_flight: Annotated[
        int,
        Facts(
            whole_number(67_108_864, at_least=1_048_576, label="bytes"),
            "The most bytes of answers beyond 64 KiB that wait for their clients to take them,"
            " in each worker. Beyond it those are given up whose clients have taken nothing for"
            " a second, and what is read next is answered 503.",
            reloadable=False,
            own=True,
        ),
    ] = 67_108_864
    server_body_timeout: Annotated[
        float,
        Facts(
            seconds(30),
            "How long a request body may take to arrive.",
            reloadable=False,
            own=True,
        ),
    ] = 30.0
    server_request_timeout: Annotated[
        float,
        Facts(
            seconds_or_none(30),
            "How long a request may take, waiting for a connection included; then it is"
            " answered 504. Callers can ask for less with the header `X-Request-Timeout`, never"
            " for more. 0: no limit.",
            in_database=True,
            own=True,
        ),
    ] = 0.0
    server_drain_delay: Annotated[
        float,
        Facts(
            seconds_or_none(5),
            "How long the server still serves as ever, but no longer says that it is ready,"
            " once it was told to stop: the time load balancers need to take notice.",
            reloadable=False,
            own=True,
        ),
    ] = 0.0
    server_drain_timeout: Annotated[
        float,
        Facts(
            seconds(30),
            "How long requests in flight may take once the server was told to stop.",
            reloadable=False,
            own=True,
        ),
    ] = 30.0
    server_idle_timeout: Annotated[
        float,
        Facts(
            seconds(75),
            "A connection without a request for so long is closed. Longer than the 60 that load"
            " balancers commonly wait, so that it is they who close.",
            reloadable=False,
            own=True,
        ),
    ] = 75.0

    admin_server_host: Annotated[
        str,
        Facts(
            text("127.0.0.1"),
            "The address of the admin server.",
            reloadable=False,
            default_text="`server-host`",
        ),
    ] = ""
    admin_server_port: Annotated[
        int | None,
        Facts(
            whole_number(3001, at_most=65535, label="port"),
            "The port of the admin server, which is off without it.",
            reloadable=False,
        ),
    ] = None
    admin_server_unix_socket: Annotated[
        Path | None,
        Facts(
            path("/run/edgerest-admin.sock"),
            "The admin server's Unix socket; wins over its port.",
            reloadable=False,
        ),
    ] = None
    admin_server_unix_socket_mode: Annotated[
        int, Facts(SOCKET_MODE, "The file mode of that socket.", reloadable=False)
    ] = 0o660

    admin_server_token: Annotated[
        str | None,
        Facts(
            text("@/run/secrets/admin-token"),
            "What lets one see `/apps`, `/view` and `/config` of the admin server from other"
            " machines, as a bearer token, and what calls that pause, drain or reconnect apps"
            " or purge the cache must bring from anywhere. `@file` reads it from a file. Not"
            " set, the former are answered on this machine only, the latter are refused.",
            own=True,
        ),
    ] = field(default=None, repr=False)

    client_error_verbosity: Annotated[
        Verbosity,
        Facts(
            one_of("verbose", "minimal"),
            "`minimal` keeps `details` and `hint` out of error responses.",
            in_database=True,
        ),
    ] = "verbose"
    log_level: Annotated[
        LogLevel,
        Facts(
            one_of("crit", "error", "warn", "info", "debug"),
            "Which requests are logged: `error` those answered 5xx, `warn` 4xx as well, `info`"
            " all. `debug` adds what the pool does.",
        ),
    ] = "error"
    log_query: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Log the SQL of the requests that `log-level` lets through, without its values.",
        ),
    ] = False
    log_format: Annotated[
        LogFormat,
        Facts(
            one_of("apache", "json"),
            "How requests are logged: in Apache's combined format, or as JSON objects with"
            " the fields that docs/observability.md lists.",
            own=True,
        ),
    ] = "apache"
    url_schema_prefix: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Let a path begin with an exposed schema: `/v1/articles` is `/articles` with the"
            " profile `v1`.",
            in_database=True,
            own=True,
        ),
    ] = False
    csv_plain_backslashes: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Write a backslash in CSV as it is, as RFC 4180 has it. Not set, it is doubled, as"
            " in PostgREST.",
            in_database=True,
            own=True,
        ),
    ] = False
    url_use_legacy_target_names: Annotated[
        bool,
        Facts(
            BOOLEAN,
            "Let filters on an embedded resource name the relation although it has an alias.",
            in_database=True,
        ),
    ] = True

    hosts: Annotated[
        tuple[str, ...],
        Facts(
            HOSTS,
            "The hosts that the app answers for, without port. `*.example.com` is every host"
            " below example.com.",
            own=True,
            place=True,
            default_text="all",
        ),
    ] = ()
    path_prefix: Annotated[
        str,
        Facts(
            PATH_PREFIX,
            "What the paths of the app's requests begin with. It is taken off before the"
            " request is read, and put into Location headers and the API's description.",
            reloadable=False,
            own=True,
            place=True,
        ),
    ] = ""

    def __post_init__(self) -> None:
        if not self.admin_server_host:
            object.__setattr__(self, "admin_server_host", self.server_host)


def _rows() -> tuple[Setting, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        Setting(column.name, column.default, facts, secret=not column.repr)
        for column in fields(Settings)
        for facts in getattr(hints[column.name], "__metadata__", ())
    )


_ROWS: Final = _rows()
TABLE: Final = tuple(row for row in _ROWS if not row.facts.place)
"""The rows of the table, all settings but `app.settings.*`, whose names are the user's, and
but for `PLACES`."""
PLACES: Final = tuple(row for row in _ROWS if row.facts.place)
"""What the table of an app, `[apps.NAME]`, says besides the settings of `TABLE`."""
