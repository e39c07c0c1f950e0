"""Hosts and prefixes, as they are written and as requests name them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings.routing import (
    Place,
    Router,
    host_of,
    length_of_prefix,
    read_host,
    read_prefix,
)


@pytest.mark.parametrize(
    "written, host",
    [
        ("shop.example.com", "shop.example.com"),
        (" Shop.Example.COM. ", "shop.example.com"),
        ("*.shop.example.com", "*.shop.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("[::1]", "[::1]"),
        ("a_b.internal", "a_b.internal"),
    ],
)
def test_hosts_are_written_in_many_ways(written: str, host: str) -> None:
    assert read_host(written) == host


@pytest.mark.parametrize(
    "written",
    [
        "",
        "*",
        "*.",
        "a.*.b",
        "**.a",
        "shop:3000",
        "https://shop",
        "a/b",
        "a b",
        "-a",
        "a..b",
        "*.[::1]",
    ],
)
def test_what_is_no_host(written: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        read_host(written)


@pytest.mark.parametrize(
    "written, prefix",
    [
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/a/b-c_d.e~1", "/a/b-c_d.e~1"),
        ("/", ""),
        ("", ""),
    ],
)
def test_prefixes(written: str, prefix: str) -> None:
    assert read_prefix(written) == prefix


@pytest.mark.parametrize(
    "written", ["shop", "/a//b", "/a b", "/a?b", "/..", "/a/./b", "/%41", "//"]
)
def test_what_is_no_prefix(written: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        read_prefix(written)


@pytest.mark.parametrize(
    "header, host",
    [
        (b"Shop.Example.com", "shop.example.com"),
        (b"shop.example.com:3000", "shop.example.com"),
        (b"shop.example.com.:3000", "shop.example.com"),
        (b"[::1]:3000", "[::1]"),
        ("bücher.example".encode(), "xn--bcher-kva.example"),
        (b"", "-"),
        (b":80", "-"),
        (b"\xff", "-"),
        (b"a." * 30_000, "-"),
    ],
)
def test_what_a_header_names(header: bytes, host: str) -> None:
    assert host_of(header) == host


def router(*places: tuple[str, str]) -> Router[str]:
    return Router(
        (Place((host,) if host else (), prefix), f"{host}{prefix}") for host, prefix in places
    )


@pytest.mark.parametrize(
    "host, path, found",
    [
        ("a.com", "/x", "a.com"),
        ("a.com", "/shop/x", "a.com/shop"),
        ("a.com", "/shop", "a.com/shop"),
        ("a.com", "/shopping", "a.com"),
        ("a.com", "/sh%6fp/x", "a.com/shop"),
        # An encoded slash is part of a name.
        ("a.com", "/shop%2Fold/x", "a.com"),
        ("a.com", "/shop%2Fold", "a.com"),
        ("a.com", "/shop/old/x", "a.com/shop/old"),
        ("a.com", "/shop/older", "a.com/shop"),
        ("b.a.com", "/x", "*.a.com"),
        ("c.b.a.com", "/shop/x", "*.b.a.com"),
        ("d.c.b.a.com", "/x", "*.b.a.com"),
        # What is said of the host wins over what is said of all, but does not hide it.
        ("a.com", "/all/x", "a.com"),
        ("other.com", "/all/x", "/all"),
        ("only.com", "/only/x", "only.com/only"),
        ("only.com", "/all/x", "/all"),
        ("other.com", "/x", None),
        ("xa.com", "/x", None),
    ],
)
def test_the_most_special_place_wins(host: str, path: str, found: str | None) -> None:
    places = router(
        ("a.com", ""),
        ("a.com", "/shop"),
        ("a.com", "/shop/old"),
        ("*.a.com", ""),
        ("*.b.a.com", ""),
        ("only.com", "/only"),
        ("", "/all"),
    )
    assert places.find(host.encode(), path.encode()) == found


def test_an_encoded_slash_separates_nothing() -> None:
    assert length_of_prefix(b"/a/b", b"/a%2Fb") is None
    assert length_of_prefix(b"/a/b", b"/a%2Fb/c") is None
    assert length_of_prefix(b"/a/b", b"/%61/%62/c") == 8


def test_one_place_for_everything_is_told() -> None:
    assert router(("", "")).only == ""
    assert router(("", "/a")).only is None
    assert router(("", ""), ("", "/a")).only is None
    assert router(("a.com", "")).only is None
    assert Router[str](()).find(b"a", b"/") is None


_SEGMENT = st.text("abcXYZ019._~-", min_size=1, max_size=5).filter(
    lambda s: s not in (".", "..")
)
_PREFIX = st.lists(_SEGMENT, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(_PREFIX, st.binary(max_size=20), st.booleans())
def test_a_prefix_is_found_however_it_is_encoded(
    prefix: str, rest: bytes, encoded: bool
) -> None:
    assert read_prefix(prefix) == prefix
    written = prefix.encode()
    if encoded:
        written = b"/" + b"/".join(
            b"".join(b"%%%02X" % byte for byte in part) for part in written[1:].split(b"/")
        )
    path = written + b"/" + quote(rest).encode()
    length = length_of_prefix(prefix.encode(), path)
    assert length is not None
    assert path[length:] == b"/" + quote(rest).encode()
    assert length_of_prefix(prefix.encode(), written + b"x") is None
