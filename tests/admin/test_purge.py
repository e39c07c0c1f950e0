"""POST /cache/purge: who may, and what it says."""

from __future__ import annotations

import httpx
import pytest

from tests.admin.conftest import TOKEN
from tests.apps.conftest import Server


def _purge(server: Server, query: str, body: str, token: str = TOKEN) -> httpx.Response:
    return httpx.post(
        f"http://{server.process.admin}/cache/purge{query}",
        content=body,
        headers={"authorization": f"Bearer {token}"},
        timeout=20,
    )


@pytest.mark.parametrize(
    "query, body, token, status",
    [
        ("?app=shop", '{"all": true}', TOKEN, 204),
        ("?app=shop", '{"tables": ["api.items"], "tags": ["x"]}', TOKEN, 204),
        ("?app=shop", '{"all": true}', "another", 401),
        ("?app=shop", '{"tables": 1}', TOKEN, 400),
        ("?app=none", '{"all": true}', TOKEN, 404),
        ("", '{"all": true}', TOKEN, 404),
    ],
)
def test_who_may_and_what_it_says(
    server: Server, query: str, body: str, token: str, status: int
) -> None:
    answer = _purge(server, query, body, token)
    assert answer.status_code == status, answer.text
    assert bool(answer.content) == (status != 204)
