"""Every setting, once: `Settings` is the table and the value the server works with.

Each is a row: what it does, its default, its kind, what is special about it (`Mark`).
A field's name is the setting's key with underscores for dashes; from the key follow the
environment variable (`db-pool`: PGRST_DB_POOL) and the in-database name (pgrst.db_pool, for
those that may be set there). Loading, the checks, `--dump-config`, `--example` and
docs/configuration.md are all made from this table. Keys, defaults and aliases are
PostgREST's (docs, "Configuration"), except for the few it lacks, marked `OWN`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from proxy.cache_rules.policy import PolicyRow
from proxy.errors import Verbosity
from proxy.response.model import ContentRange
from proxy.settings.kinds import (
    BOOLEAN,
    HOSTS,
    PATH_PREFIX,
    PORT,
    SOCKET_MODE,
    names,
    one_of,
    path,
    positive,
    seconds,
    seconds_or_none,
    text,
    whole_number,
)
from proxy.settings.rows import Mark, row, settings_of

TransactionEnd = Literal[
    "commit", "commit-allow-override", "rollback", "rollback-allow-override"
]
OpenApiMode = Literal["follow-privileges", "ignore-privileges", "disabled"]
LogLevel = Literal["crit", "error", "warn", "info", "debug"]
LogFormat = Literal["apache", "json"]
EngineName = Literal["hypercorn"]
_GONE_ENGINES: Final = {
    "granian": "is no engine any more: remove the setting, as the default one costs less by now"
    " (docs/engines.md)"
}

OWN, FIXED, IN_DATABASE, EACH_OWN = Mark.OWN, Mark.FIXED, Mark.IN_DATABASE, Mark.EACH_OWN
PLACE, ALIAS_FIRST, SECRET = Mark.PLACE, Mark.ALIAS_FIRST, Mark.SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole, valid configuration. Made by `load_settings`; times in seconds, sizes in
    bytes. Without arguments: the defaults."""

    app_settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """`app.settings.*` under their full names, for `current_setting`."""
    cache_policies: tuple[PolicyRow, ...] = ()
    """The tables `[cache.…]`: what may be kept, for how long and for whom."""

    # fmt: off
    db_uri: str = row(
        "Where the database is: a URI or keywords and values, as libpq reads them; what is"
        " left out comes from PGHOST and its like. `@file` reads it from a file, and again"
        " when the database refuses the password.",
        "postgresql://", text("postgresql://user:password@localhost:5432/app"),
        FIXED | EACH_OWN | SECRET,
    )
    db_uri_file: Path | None = field(default=None, repr=False)
    """The file that `db_uri` was read from, if it was."""

    db_read_uris: tuple[str, ...] = row(
        "Where the read replicas are: streaming standbys of the database at `db-uri`, as an"
        " array or separated by commas. They answer what only reads; see replicas.md."
        " `@file` for one of them reads it from a file.",
        (), names("postgresql://user:password@replica:5432/app", blank_is_value=True),
        OWN | EACH_OWN | SECRET,
    )
    db_read_max_lag: float = row(
        "How far a read replica may be behind to be given reads.",
        10.0, seconds(10), OWN,
    )
    db_schemas: tuple[str, ...] = row(
        "The schemas that are exposed. The first is the default, others are chosen with"
        " `Accept-Profile` and `Content-Profile`.",
        ("public",), names("public"), IN_DATABASE, aliases=("db-schema",),
    )
    db_extra_search_path: tuple[str, ...] = row(
        'Schemas added to the search path of every request, not exposed. `""` for none.',
        ("public",), names("public", blank_is_value=True), IN_DATABASE,
    )
    db_anon_role: str | None = row(
        "The role of requests without a token. Not set, they are refused.",
        None, text("web_anon"), IN_DATABASE,
    )
    db_max_rows: int | None = row(
        "The most rows a response may hold.",
        None, whole_number(1000), IN_DATABASE, aliases=("max-rows",), default_text="no limit",
    )
    db_aggregates_enabled: bool = row(
        "Allow aggregate functions in `select`.",
        False, BOOLEAN, IN_DATABASE,
    )
    db_plan_enabled: bool = row(
        "Answer `Accept: application/vnd.pgrst.plan` with the execution plan.",
        False, BOOLEAN, IN_DATABASE,
    )
    db_plan_cache_max_entries: int = row(
        "How many shapes of requests are remembered with their plans and SQL, so that one"
        " of the same shape with other values is only given those; 0 for none.",
        1000, whole_number(1000), OWN,
    )
    db_pre_request: str | None = row(
        "A function called in every transaction, after the role is set.",
        None, text("auth.check_request"), IN_DATABASE, aliases=("pre-request",),
    )
    db_root_spec: str | None = row(
        "A function that answers `/` instead of the OpenAPI description.",
        None, text("api.root"), IN_DATABASE, aliases=("root-spec",),
    )
    db_tx_end: TransactionEnd = row(
        "How transactions end, and whether `Prefer: tx=…` may say otherwise.",
        "commit", one_of(*get_args(TransactionEnd)), FIXED | IN_DATABASE,
    )
    db_hoisted_tx_settings: tuple[str, ...] = row(
        "Settings of a function (its `SET` clauses) that hold for the whole transaction.",
        (
        "statement_timeout",
        "plan_filter.statement_cost_limit",
        "default_transaction_isolation",
    ), names("statement_timeout"), IN_DATABASE,
    )
    db_statement_timeout: float = row(
        "How long a statement may run for roles without a `statement_timeout` of their own;"
        " 0: as long as PostgreSQL's own settings let it.",
        0.0, seconds_or_none(5), OWN | IN_DATABASE,
    )
    db_cancel_writes: bool = row(
        "Cancel a write, as a read, when its caller has gone. Off: a write that was begun"
        " is finished.",
        True, BOOLEAN, OWN | IN_DATABASE,
    )
    db_prepared_statements: bool = row(
        "Use prepared statements. Turn it off behind a pooler in transaction mode.",
        True, BOOLEAN, IN_DATABASE,
    )
    db_config: bool = row("Read settings from the database.", True, BOOLEAN)
    db_pre_config: str | None = row(
        "A function that sets in-database settings.",
        None, text("api.pre_config"), IN_DATABASE,
    )
    db_use_legacy_gucs: bool = row(
        "Also set `request.jwt.claim.NAME`, `request.header.NAME` and"
        " `request.cookie.NAME`, as PostgREST did up to version 11. Names that PostgreSQL"
        " does not allow, such as those with dashes, are left out.",
        False, BOOLEAN, OWN | IN_DATABASE,
    )
    db_reload_on_miss_interval: int = row(
        "When a request names something the schema cache does not know, look, at most once"
        " in so many seconds, whether the schema has changed; if it has, reload the cache"
        " and try the request again. 0 turns this off.",
        1, whole_number(1, label="seconds"), OWN | IN_DATABASE,
    )
    db_channel: str = row(
        "The channel of `NOTIFY` on which reloads are asked for.",
        "pgrst", text("pgrst"),
    )
    db_channel_enabled: bool = row("Listen on `db-channel`.", True, BOOLEAN)

    cache_channel: str = row(
        "The channel of `NOTIFY` on which writes are announced to caches; see"
        " cache-invalidation.md.",
        "", text("pgrst_cache"), OWN | FIXED, default_text="`db-channel` and `_cache`",
    )
    cache_channel_enabled: bool = row(
        "Listen on `cache-channel`, and answer nothing from the cache while that does not"
        " work. Off, whatever else writes to the database goes unnoticed.",
        True, BOOLEAN, OWN | FIXED,
    )
    cache_store: str | None = row(
        "A Redis or Valkey through which servers share kept answers; needs the extra"
        " `edgerest[redis]`, and sets `cache-announce`.",
        None, text("redis://localhost:6379/0"), OWN | FIXED | SECRET,
    )
    cache_announce: bool = row(
        "Announce the writes of this server on `cache-channel`, for other servers on the"
        " same database. Workers of one server need no telling.",
        False, BOOLEAN, OWN | FIXED,
    )

    db_pool: int = row(
        "The most database connections.",
        10, whole_number(10, at_least=1), FIXED,
    )
    db_pool_acquisition_timeout: int = row(
        "How long a request waits for a connection before it is answered 504.",
        10, whole_number(10, label="seconds"), FIXED,
    )
    db_pool_max_idletime: int = row(
        "A connection not used for so long is closed.",
        30, whole_number(30, label="seconds"), FIXED | ALIAS_FIRST,
        aliases=("db-pool-timeout",),
    )
    db_pool_max_lifetime: int = row(
        "A connection older than this is replaced.",
        1800, whole_number(1800, label="seconds"), FIXED,
    )
    db_pool_check_delay: float = row(
        "A connection on which the database has said nothing for so long is checked before"
        " it is used (PgBouncer's `server_check_delay`); one that does not answer within 2"
        " seconds is replaced, and so are all that nobody uses. 0 checks before each use.",
        5.0, seconds_or_none(5), OWN | FIXED,
    )
    db_pool_automatic_recovery: bool = row(
        "Connect again when the database went away; off, the server exits.",
        True, BOOLEAN,
    )

    cache_max_bytes: int = row(
        "The most memory that kept answers take, in each worker; 0 keeps none. What is kept"
        " at all, the tables `[cache.…]` and `@cache` comments say; see caching.md.",
        67_108_864, whole_number(268_435_456, label="bytes"), OWN,
    )
    cache_max_entry_bytes: int = row(
        "Answers larger than this are not kept.",
        4_194_304, whole_number(1_048_576, label="bytes"), OWN,
    )
    cache_rights_interval: float = row(
        "Kept answers are used only if so many seconds ago, or later, a look at the"
        " database has found the rights unchanged under which they were made: the longest"
        " that somebody is answered from the cache with what was taken from him. 0 looks"
        " before each use. See caching.md.",
        1.0, seconds_or_none(1), OWN,
    )
    cache_pre_request_is_safe: bool = row(
        "The function of `db-pre-request` need not see requests that are answered from the"
        " cache, and does not make answers depend on anything but the token. Not set,"
        " nothing is kept when there is such a function.",
        False, BOOLEAN, OWN,
    )
    server_content_range: ContentRange = row(
        "How answers write `Content-Range`: `plain` as PostgREST does (`0-9/*`), `items`"
        " with the unit (`items 0-9/*`), as RFC 9110 has it; `none` leaves it out, and"
        " with it what `Prefer: count=…` counts. See proxies-and-cdns.md for Varnish.",
        "plain", one_of(*get_args(ContentRange)), OWN,
    )
    server_compress_from: int = row(
        "The least size of a response that is compressed for those who accept it (gzip; br"
        " and zstd with the extra `edgerest[compression]`); 0 compresses none. See"
        " caching.md for what compression may tell an eavesdropper.",
        1024, whole_number(1024, label="bytes"), OWN,
    )
    db_pool_min: int = row(
        "So many connections are kept open once they were needed, in each worker, and are"
        " never given to other apps.",
        0, whole_number(2), OWN | FIXED,
    )
    db_pool_weight: float = row(
        "Of `pool-max-connections`, an app of weight 2 is due twice as many as one of"
        " weight 1 when both want more than there are.",
        1.0, positive(2), OWN | FIXED,
    )
    db_pool_max_waiting: int = row(
        "The most requests that wait for a connection, in each worker; more are answered"
        " 503 at once.",
        10_000, whole_number(500), OWN | FIXED,
    )
    db_pool_outage_grace: float = row(
        "How long requests wait for a database that has just gone away before they are"
        " answered 503; 0 for not at all.",
        5.0, seconds_or_none(5), OWN | FIXED,
    )
    pool_max_connections: int | None = row(
        "The most database connections of all apps together. Workers have equal parts of"
        " them, apps what `db-pool-weight` says as soon as they want more than there are."
        " The connection of each app that listens is not counted.",
        None, whole_number(100, at_least=1), OWN | FIXED,
        default_text="no limit but each app's `db-pool`",
    )

    jwt_secret: str | None = row(
        "What tokens are verified with: a secret of 32 characters or more, a JWK or a JWKS."
        " `@file` reads it from a file. Not set, tokens are refused.",
        None, text("@/run/secrets/jwt"), IN_DATABASE | EACH_OWN | SECRET,
    )
    jwt_secret_is_base64: bool = row(
        "`jwt-secret` is base64.",
        False, BOOLEAN, IN_DATABASE | EACH_OWN, aliases=("secret-is-base64",),
    )
    jwt_jwks_uri: str | None = row(
        "Where an identity provider publishes the keys it signs tokens with, as a JWKS."
        " They are used beside those of `jwt-secret`; see authentication.md.",
        None, text("https://login.example.com/.well-known/jwks.json"),
        OWN | FIXED | EACH_OWN | SECRET,
    )
    jwt_jwks_max_age: float = row(
        "How long published keys are used before they are fetched anew.",
        600.0, seconds(600), OWN | FIXED,
    )
    jwt_jwks_allow_http: bool = row(
        "Let `jwt-jwks-uri` be http to other machines: whoever is on the way between can"
        " then sign tokens.",
        False, BOOLEAN, OWN | FIXED,
    )
    jwt_aud: str | None = row(
        "What the `aud` claim must name.",
        None, text("my-api"), IN_DATABASE,
    )
    jwt_role_claim_key: str = row(
        "Where the role is in the claims, as JSONPath (RFC 9535).",
        "$.role", text("$.role"), IN_DATABASE, aliases=("role-claim-key",),
    )
    jwt_cache_max_entries: int = row(
        "How many verified tokens are remembered; 0 for none.",
        1000, whole_number(1000), IN_DATABASE,
    )

    openapi_mode: OpenApiMode = row(
        "What the OpenAPI description at `/` shows.",
        "follow-privileges", one_of(*get_args(OpenApiMode)), IN_DATABASE,
    )
    openapi_security_active: bool = row(
        "Put security definitions into the OpenAPI description.",
        False, BOOLEAN, IN_DATABASE,
    )
    openapi_server_proxy_uri: str | None = row(
        "The URL under which clients reach the API, for the OpenAPI description.",
        None, text("https://example.com:8443/basePath"), FIXED | IN_DATABASE | EACH_OWN,
    )

    openapi_docs_path: str | None = row(
        "Serve an interactive page of the API's description (Swagger UI) under this path,"
        " which hides a table of that name. Not set, there is no such page.",
        None, text("/docs"), OWN,
    )

    server_host: str = row(
        "The address to listen on. `!4`: any IPv4, `!6`: any IPv6, `*`, `*4`, `*6`: any.",
        "!4", text("127.0.0.1"), FIXED,
    )
    server_port: int = row("The TCP port; 0 takes a free one.", 3000, PORT, FIXED)
    server_reuseport: bool = row(
        "Let several servers share the port (SO_REUSEPORT).",
        False, BOOLEAN, FIXED,
    )
    server_unix_socket: Path | None = row(
        "Listen on this Unix socket instead of a port.",
        None, path("/run/edgerest.sock"), FIXED,
    )
    server_unix_socket_mode: int = row(
        "The file mode of the Unix socket.",
        0o660, SOCKET_MODE, FIXED,
    )
    server_cors_allowed_origins: tuple[str, ...] = row(
        "The origins whose scripts may read responses.",
        (), names("https://example.com"), FIXED | IN_DATABASE, default_text="all",
    )
    server_trace_header: str | None = row(
        "A request header that is echoed in the response.",
        None, text("X-Request-Id"), IN_DATABASE,
    )
    server_timing_enabled: bool = row("Send `Server-Timing`.", False, BOOLEAN, IN_DATABASE)
    server_tracing_enabled: bool = row(
        "Send OpenTelemetry traces where OTEL_EXPORTER_OTLP_ENDPOINT says; needs the extra"
        " `edgerest[otel]`. See docs/observability.md.",
        False, BOOLEAN, OWN | FIXED,
    )
    server_engine: EngineName = row(
        "The HTTP server. See docs/engines.md.",
        "hypercorn", one_of(*get_args(EngineName), gone=_GONE_ENGINES), OWN | FIXED,
    )
    server_workers: int = row(
        "How many processes serve, each with a pool of its own.",
        1, whole_number(1, at_least=1), OWN | FIXED,
    )
    server_tls_cert: Path | None = row(
        "The certificate chain (PEM); with `server-tls-key` it turns TLS on.",
        None, path("/etc/edgerest/cert.pem"), OWN | FIXED,
    )
    server_tls_key: Path | None = row(
        "The certificate's private key (PEM).",
        None, path("/etc/edgerest/key.pem"), OWN | FIXED,
    )
    server_max_url: int = row(
        "The longest path and query; longer ones are answered 414.",
        65536, whole_number(65536, at_least=1, label="bytes"), OWN | FIXED,
    )
    server_max_header: int = row(
        "The most bytes of headers; more is answered 431.",
        65536, whole_number(65536, at_least=1, label="bytes"), OWN | FIXED,
    )
    server_max_body: int = row(
        "The largest request body; larger ones are answered 413.",
        104_857_600, whole_number(1_048_576, label="bytes"), OWN | FIXED,
    )
    server_max_bodies_in_flight: int = row(
        "The most bytes of request bodies that each worker holds, from their arrival until"
        " they are answered. Beyond it those are ended, with 503, that have kept most of it"
        " waiting for longest. A body larger than 7/8 of it is answered 413.",
        134_217_728, whole_number(134_217_728, at_least=4_194_304, label="bytes"), OWN | FIXED,
    )
    server_max_answers_in_flight: int = row(
        "The most bytes of answers beyond 64 KiB that wait for their clients to take them,"
        " in each worker. Beyond it those are given up whose clients have taken nothing for"
        " a second, and what is read next is answered 503.",
        67_108_864, whole_number(67_108_864, at_least=1_048_576, label="bytes"), OWN | FIXED,
    )
    server_body_timeout: float = row(
        "How long a request body may take to arrive.",
        30.0, seconds(30), OWN | FIXED,
    )
    server_request_timeout: float = row(
        "How long a request may take, waiting for a connection included; then it is"
        " answered 504. Callers can ask for less with the header `X-Request-Timeout`, never"
        " for more. 0: no limit.",
        0.0, seconds_or_none(30), OWN | IN_DATABASE,
    )
    server_drain_delay: float = row(
        "How long the server still serves as ever, but no longer says that it is ready,"
        " once it was told to stop: the time load balancers need to take notice.",
        0.0, seconds_or_none(5), OWN | FIXED,
    )
    server_drain_timeout: float = row(
        "How long requests in flight may take once the server was told to stop.",
        30.0, seconds(30), OWN | FIXED,
    )
    server_idle_timeout: float = row(
        "A connection without a request for so long is closed. Longer than the 60 that load"
        " balancers commonly wait, so that it is they who close.",
        75.0, seconds(75), OWN | FIXED,
    )

    admin_server_host: str = row(
        "The address of the admin server.",
        "", text("127.0.0.1"), FIXED, default_text="`server-host`",
    )
    admin_server_port: int | None = row(
        "The port of the admin server, which is off without it.",
        None, whole_number(3001, at_most=65535, label="port"), FIXED,
    )
    admin_server_unix_socket: Path | None = row(
        "The admin server's Unix socket; wins over its port.",
        None, path("/run/edgerest-admin.sock"), FIXED,
    )
    admin_server_unix_socket_mode: int = row(
        "The file mode of that socket.",
        0o660, SOCKET_MODE, FIXED,
    )

    admin_server_token: str | None = row(
        "What lets one see `/apps`, `/view` and `/config` of the admin server from other"
        " machines, as a bearer token, and what calls that pause, drain or reconnect apps or"
        " purge the cache must bring from anywhere. `@file` reads it from a file. Not set,"
        " the former are answered on this machine only, the latter are refused.",
        None, text("@/run/secrets/admin-token"), OWN | SECRET,
    )

    client_error_verbosity: Verbosity = row(
        "`minimal` keeps `details` and `hint` out of error responses.",
        "verbose", one_of(*get_args(Verbosity)), IN_DATABASE,
    )
    log_level: LogLevel = row(
        "Which requests are logged: `error` those answered 5xx, `warn` 4xx as well, `info`"
        " all. `debug` adds what the pool does.",
        "error", one_of(*get_args(LogLevel)),
    )
    log_query: bool = row(
        "Log the SQL of the requests that `log-level` lets through, without its values.",
        False, BOOLEAN,
    )
    log_format: LogFormat = row(
        "How requests are logged: in Apache's combined format, or as JSON objects with the"
        " fields that docs/observability.md lists.",
        "apache", one_of(*get_args(LogFormat)), OWN,
    )
    url_well_known_enabled: bool = row(
        "Answer `GET /.well-known/edgerest` with this server's version, what it can do and"
        " its limits, as JSON, whoever asks.",
        False, BOOLEAN, OWN,
    )
    url_schema_prefix: bool = row(
        "Let a path begin with an exposed schema: `/v1/articles` is `/articles` with the"
        " profile `v1`.",
        False, BOOLEAN, OWN | IN_DATABASE,
    )
    csv_plain_backslashes: bool = row(
        "Write a backslash in CSV as it is, as RFC 4180 has it. Not set, it is doubled, as"
        " in PostgREST.",
        False, BOOLEAN, OWN | IN_DATABASE,
    )
    url_use_legacy_target_names: bool = row(
        "Let filters on an embedded resource name the relation although it has an alias.",
        True, BOOLEAN, IN_DATABASE,
    )

    hosts: tuple[str, ...] = row(
        "The hosts that the app answers for, without port. `*.example.com` is every host"
        " below example.com.",
        (), HOSTS, OWN | PLACE, default_text="all",
    )
    path_prefix: str = row(
        "What the paths of the app's requests begin with. It is taken off before the"
        " request is read, and put into Location headers and the API's description.",
        "", PATH_PREFIX, OWN | FIXED | PLACE,
    )

    # fmt: on

    def __post_init__(self) -> None:
        if not self.admin_server_host:
            object.__setattr__(self, "admin_server_host", self.server_host)


_ROWS: Final = settings_of(Settings)
TABLE: Final = tuple(row for row in _ROWS if not row.facts.place)
"""The rows of the table, all settings but `app.settings.*`, whose names are the user's, and
but for `PLACES`."""
PLACES: Final = tuple(row for row in _ROWS if row.facts.place)
"""What the table of an app, `[apps.NAME]`, says besides the settings of `TABLE`."""
