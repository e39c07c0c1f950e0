"""The cache saves verification and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.keys import load_keys
from proxy.auth.token_cache import MAX_CACHED_TOKEN_LENGTH, Authenticator
from proxy.auth.tokens import identify
from proxy.errors import ApiError
from tests.auth.signing import NOW, RULES, SECRET, bearer, rules, secret_keys, sign

SECOND = int(NOW)


def counted(auth: Authenticator) -> tuple[int, int, int]:
    counts = auth.counts
    return counts.requests, counts.hits, counts.evictions


def test_a_token_is_verified_once() -> None:
    auth = Authenticator(RULES, secret_keys())
    token = bearer(sign({"role": "author"}))
    assert auth.identify(token, NOW) is auth.identify(token, NOW + 1)
    assert counted(auth) == (2, 1, 0)


def test_anonymous_callers_don_t_touch_it() -> None:
    auth = Authenticator(RULES, secret_keys())
    assert auth.identify([], NOW).role == "anon"
    assert auth.identify([], NOW) == identify([], secret_keys(), RULES, NOW)
    assert counted(auth) == (0, 0, 0)


def test_without_an_anonymous_role_they_are_refused_each_time() -> None:
    auth = Authenticator(rules(anon=None), secret_keys())
    for _ in range(2):
        with pytest.raises(ApiError, match="Anonymous access is disabled"):
            auth.identify([], NOW)


def test_times_are_checked_on_every_use() -> None:
    auth = Authenticator(RULES, secret_keys())
    token = bearer(sign({"role": "author", "exp": SECOND + 10, "nbf": SECOND}))
    assert auth.identify(token, SECOND + 40.9).role == "author"
    for now, message in ((SECOND + 41, "JWT expired"), (SECOND - 31, "JWT not yet valid")):
        with pytest.raises(ApiError, match=message):
            auth.identify(token, now)


def test_an_expired_token_is_forgotten() -> None:
    auth = Authenticator(RULES, secret_keys())
    token = bearer(sign({"role": "author", "exp": SECOND + 10}))
    auth.identify(token, SECOND)
    for _ in range(2):
        with pytest.raises(ApiError, match="JWT expired"):
            auth.identify(token, SECOND + 41)
    assert counted(auth) == (3, 0, 0)


@pytest.mark.parametrize("claims", [{"role": "a", "aud": "you"}, {"role": "a", "exp": "x"}])
def test_refusals_are_repeated(claims: dict[str, str]) -> None:
    auth = Authenticator(rules("me"), secret_keys())
    token = bearer(sign(claims))
    with pytest.raises(ApiError) as first:
        auth.identify(token, NOW)
    with pytest.raises(ApiError) as second:
        auth.identify(token, NOW)
    assert first.value.body() == second.value.body()
    assert first.value is not second.value


def test_forgeries_get_no_place() -> None:
    auth = Authenticator(RULES, secret_keys(), max_entries=1)
    good = bearer(sign({"role": "author"}))
    auth.identify(good, NOW)
    for secret in ("x" * 32, "y" * 32):
        with pytest.raises(ApiError):
            auth.identify(bearer(sign({"role": "author"}, secret)), NOW)
    auth.identify(good, NOW)
    assert counted(auth) == (4, 1, 0)


def test_it_is_bounded() -> None:
    auth = Authenticator(RULES, secret_keys(), max_entries=2)
    for name in "abcab":
        assert auth.identify(bearer(sign({"role": name})), NOW).role == name
    assert counted(auth) == (5, 0, 3)


def test_long_tokens_are_not_kept() -> None:
    auth = Authenticator(RULES, secret_keys())
    token = bearer(sign({"role": "author", "x": "y" * MAX_CACHED_TOKEN_LENGTH}))
    assert auth.identify(token, NOW) == auth.identify(token, NOW)
    assert counted(auth) == (0, 0, 0)


@pytest.mark.parametrize("max_entries", [0, -1])
def test_without_entries_there_is_no_cache(max_entries: int) -> None:
    auth = Authenticator(RULES, secret_keys(), max_entries)
    token = bearer(sign({"role": "author"}))
    assert auth.identify(token, NOW) == auth.identify(token, NOW)
    assert counted(auth) == (0, 0, 0)


def test_another_authenticator_trusts_its_own_keys_only() -> None:
    token = bearer(sign({"role": "author"}))
    Authenticator(RULES, secret_keys()).identify(token, NOW)
    with pytest.raises(ApiError, match="No suitable key"):
        Authenticator(RULES, load_keys("x" * 32)).identify(token, NOW)
    with pytest.raises(ApiError, match="Server lacks JWT secret"):
        Authenticator(RULES, None).identify(token, NOW)


TOKENS = [
    sign({"role": "a"}),
    sign({"role": "b", "exp": SECOND + 20}),
    sign({"role": "b", "exp": SECOND + 21}),
    sign({"role": "c", "nbf": SECOND + 60, "exp": SECOND + 90}),
    sign({"role": "a"}, "x" * 32),
    sign({"sub": "nobody", "aud": "you"}),
    "junk",
]


@given(
    st.lists(st.tuples(st.sampled_from(TOKENS), st.integers(-50, 200)), max_size=30),
    st.integers(0, 4),
)
def test_it_answers_as_if_it_were_not_there(uses: list[tuple[str, int]], size: int) -> None:
    auth = Authenticator(rules("me"), load_keys(SECRET), size)
    for token, after in uses:
        now = SECOND + after
        try:
            expected: object = identify(bearer(token), load_keys(SECRET), rules("me"), now)
        except ApiError as error:
            expected = error.body()
        try:
            got: object = auth.identify(bearer(token), now)
        except ApiError as error:
            got = error.body()
        assert got == expected
