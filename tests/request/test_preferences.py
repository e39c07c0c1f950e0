from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.request.preferences import Preferences, parse_preferences, preference_applied


def read(*values: str, allow: bool = True) -> Preferences:
    headers = [(b"prefer", value.encode()) for value in values]
    return parse_preferences(headers, allow_transaction_override=allow)


@pytest.mark.parametrize(
    "values, expected",
    [
        ((), Preferences()),
        (("return=minimal",), Preferences(representation="minimal")),
        (
            ("resolution=ignore-duplicates, count=exact, timezone=America/Los_Angeles",),
            Preferences("ignore-duplicates", count="exact", timezone="America/Los_Angeles"),
        ),
        (
            ("count=planned,    tx=commit   ,return=headers-only , missing=default",),
            Preferences(
                count="planned",
                transaction="commit",
                representation="headers-only",
                missing="default",
            ),
        ),
        (("tx=commit, tx=rollback",), Preferences(transaction="commit")),
        (
            ("resolution=ignore-duplicates", "resolution=merge-duplicates"),
            Preferences("ignore-duplicates"),
        ),
        (
            ("handling=strict", "invalid", "max-affected=10, other=1, RETURN=minimal"),
            Preferences(
                handling="strict",
                max_affected=10,
                invalid=("invalid", "other=1", "RETURN=minimal"),
            ),
        ),
        (("update=by-key",), Preferences(update="by-key")),
        (("update=by-keys",), Preferences(invalid=("update=by-keys",))),
        (("max-affected=x",), Preferences()),
        (("max-affected=- 5",), Preferences(max_affected=-5)),
        (("max-affected=-\t5",), Preferences(max_affected=-5)),
        (("max-affected=" + "9" * 5000,), Preferences()),
        (("",), Preferences(invalid=("",))),
    ],
)
def test_preferences(values: tuple[str, ...], expected: Preferences) -> None:
    assert read(*values) == expected


def test_tx_is_heeded_only_where_allowed() -> None:
    assert read("tx=rollback", allow=False) == Preferences()


def test_other_headers_are_none_of_our_business() -> None:
    headers = [(b"accept", b"return=minimal")]
    assert parse_preferences(headers, allow_transaction_override=True) == Preferences()


@pytest.mark.parametrize(
    "preferences, expected",
    [
        (Preferences(), None),
        (Preferences(invalid=("x",)), None),
        (Preferences(max_affected=1), None),
        (Preferences(max_affected=1, handling="lenient"), b"handling=lenient"),
        (
            Preferences(
                "merge-duplicates",
                "default",
                "representation",
                "exact",
                "rollback",
                "strict",
                "UTC",
                5,
            ),
            b"resolution=merge-duplicates, missing=default, return=representation,"
            b" count=exact, tx=rollback, handling=strict, timezone=UTC, max-affected=5",
        ),
    ],
)
def test_what_was_applied_is_told(preferences: Preferences, expected: bytes | None) -> None:
    assert preference_applied(preferences) == expected


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_header_is_read(values: list[bytes]) -> None:
    headers = [(b"prefer", value) for value in values]
    preferences = parse_preferences(headers, allow_transaction_override=True)
    assert isinstance(preferences, Preferences)
