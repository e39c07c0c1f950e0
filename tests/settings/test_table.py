"""The table against PostgREST's: the same keys, defaults and places to set them."""

from __future__ import annotations

import pytest

from proxy.settings.model import TABLE
from proxy.settings.rows import Setting

# Key, default, reloadable, in the database (PostgREST 16, "Configuration").
POSTGREST = """\
admin-server-host                |                   | n | n
admin-server-port                | None              | n | n
admin-server-unix-socket         | None              | n | n
admin-server-unix-socket-mode    | 432               | n | n
client-error-verbosity           | verbose           | y | y
db-aggregates-enabled            | False             | y | y
db-anon-role                     | None              | y | y
db-channel                       | pgrst             | y | n
db-channel-enabled               | True              | y | n
db-config                        | True              | y | n
db-extra-search-path             | ('public',)       | y | y
db-hoisted-tx-settings           | ('statement_timeout', 'plan_filter.statement_cost_limit', \
'default_transaction_isolation') | y | y
db-max-rows                      | None              | y | y
db-plan-enabled                  | False             | y | y
db-pool                          | 10                | n | n
db-pool-acquisition-timeout      | 10                | n | n
db-pool-automatic-recovery       | True              | y | n
db-pool-max-idletime             | 30                | n | n
db-pool-max-lifetime             | 1800              | n | n
db-pre-config                    | None              | y | y
db-pre-request                   | None              | y | y
db-prepared-statements           | True              | y | y
db-root-spec                     | None              | y | y
db-schemas                       | ('public',)       | y | y
db-tx-end                        | commit            | n | y
db-uri                           | postgresql://     | n | n
jwt-aud                          | None              | y | y
jwt-cache-max-entries            | 1000              | y | y
jwt-role-claim-key               | $.role            | y | y
jwt-secret                       | None              | y | y
jwt-secret-is-base64             | False             | y | y
log-level                        | error             | y | n
log-query                        | False             | y | n
openapi-mode                     | follow-privileges | y | y
openapi-security-active          | False             | y | y
openapi-server-proxy-uri         | None              | n | y
server-cors-allowed-origins      | ()                | n | y
server-host                      | !4                | n | n
server-port                      | 3000              | n | n
server-reuseport                 | False             | n | n
server-timing-enabled            | False             | y | y
server-trace-header              | None              | y | y
server-unix-socket               | None              | n | n
server-unix-socket-mode          | 432               | n | n
url-use-legacy-target-names      | True              | y | y
"""


def test_the_table_is_postgrests() -> None:
    expected = sorted(
        tuple(cell.strip() for cell in line.split("|")) for line in POSTGREST.splitlines()
    )
    found = sorted(
        (row.key, str(row.default), "ny"[row.facts.reloadable], "ny"[row.facts.in_database])
        for row in TABLE
        if not row.facts.own
    )
    assert found == expected


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.key)
def test_an_example_is_a_value(row: Setting) -> None:
    row.facts.kind.read(row.facts.kind.example)
