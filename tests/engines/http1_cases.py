"""What is tried on HTTP/1.1: RFC 9112, and 9110 where it is about what it carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.engines.model import Case

OK: Final = ("200",)
REFUSED: Final = ("400 close",)
_RAW: Final = (
    'PostgREST\'s clients send it (`meta->>lang`, `cs.{"a":1}`), and PostgREST takes it'
)
_HOST: Final = b"host: x\r\n"


def _get(target: bytes = b"/", more: bytes = b"", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\n" + _HOST + more + b"\r\n"


def _post(more: bytes, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\n" + _HOST + more + b"\r\n" + body


def _chunked(body: bytes, more: bytes = b"") -> bytes:
    return _post(b"transfer-encoding: chunked\r\n" + more, body)


def _lines() -> Iterator[Case]:
    section = "9112 3"
    refused: dict[str, bytes] = {
        "no target": b"GET HTTP/1.1\r\n",
        "an empty target": b"GET  HTTP/1.1\r\n",
        "two blanks before the version": b"GET /  HTTP/1.1\r\n",
        "a tab for a blank": b"GET\t/ HTTP/1.1\r\n",
        "a blank in the target": b"GET /a b HTTP/1.1\r\n",
        "a tab in the target": b"GET /a\tb HTTP/1.1\r\n",
        "NUL in the target": b"GET /a\0b HTTP/1.1\r\n",
        "DEL in the target": b"GET /a\x7fb HTTP/1.1\r\n",
        "no version": b"GET /\r\n",
        "a version in lower case": b"GET / http/1.1\r\n",
        "a version of three digits": b"GET / HTTP/1.10\r\n",
        "a version without a dot": b"GET / HTTP/11\r\n",
        "a blank after the version": b"GET / HTTP/1.1 \r\n",
        "a blank before the method": b" GET / HTTP/1.1\r\n",
        "no method": b" / HTTP/1.1\r\n",
        "a method that is no token": b"G(T / HTTP/1.1\r\n",
        "two empty lines before": b"\r\n\r\nGET / HTTP/1.1\r\n",
        "a bare LF at the end of the line": b"GET / HTTP/1.1\n",
        "a bare CR at the end of the line": b"GET / HTTP/1.1\r",
        "TLS to a port without": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    }
    for name, line in refused.items():
        yield Case(name, section, line + _HOST + b"\r\n", REFUSED, "400 close")
    for version in (b"0.9", b"2.0", b"3.0"):
        line = b"GET / HTTP/" + version + b"\r\n"
        yield Case(
            f"HTTP/{version.decode()}",
            "9110 15.6.6",
            line + _HOST + b"\r\n",
            ("505 close", "505"),
            "400 close",
            "it is refused as all else that is not HTTP/1.1",
        )
    yield Case("an empty line before", "9112 2.2", b"\r\n" + _get(), OK, "200")
    yield Case("HTTP/1.2", "9110 2.5", _get().replace(b"/1.1", b"/1.2"), OK, "200")
    old = _get().replace(b"/1.1", b"/1.0")
    yield Case("HTTP/1.0", "9112 9.3", old, ("200 close",), "200 close")
    kept = old.replace(_HOST, _HOST + b"connection: keep-alive\r\n")
    yield Case("HTTP/1.0 to be kept alive", "9112 9.3", kept, ("200", "200 close"), "200 close")


def _targets() -> Iterator[Case]:
    for char in '"<>{}|\\^`':
        target = f"/t?a=cs.{char}".encode()
        yield Case(f"raw {char} in the target", "9112 3.2", _get(target), REFUSED, "200", _RAW)
    for name, raw in (("é", "é"), ("CJK", "日本"), ("an emoji", "🐘")):
        target = f"/t?a=eq.{raw}".encode()
        yield Case(
            f"raw UTF-8 in the target: {name}", "9112 3.2", _get(target), REFUSED, "200", _RAW
        )
    good: dict[str, bytes] = {
        "a percent sign alone": b"/100%",
        "escapes": b"/caf%C3%A9?a=%22b%22",
        "the characters that need no escape": b"/-._~!$&'()*+,;=:@?/",
        "an absolute target": b"http://x/things?a=1",
        "a fragment": b"/a#b",
        "a target of 60 KB": b"/t?a=" + b"x" * 60_000,
    }
    for name, target in good.items():
        yield Case(name, "9112 3.2", _get(target), OK, "200")
    bad: dict[str, bytes] = {
        "a target that is no path": b"nonsense",
        "`*` for a method other than OPTIONS": b"*",
    }
    for name, target in bad.items():
        yield Case(name, "9112 3.2", _get(target), ("400", "400 close"), "400")
    yield Case("bytes that are not UTF-8", "9112 3.2", _get(b"/\xff"), REFUSED, "400 close")
    yield Case("OPTIONS *", "9110 9.3.7", _get(b"*", method=b"OPTIONS"), OK, "200")
    too_long = _get(b"/t?a=" + b"x" * 70_000)
    yield Case("a target of 70 KB", "9110 15.5.15", too_long, ("414", "414 close"), "414")
    connect = b"CONNECT x:443 HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield Case("CONNECT", "9110 9.3.6", connect, ("400", "405", "501"), "400")


def _methods() -> Iterator[Case]:
    for method in (b"delete", b"get", b"Get", b"FOO", b"M-SEARCH", b"QUERY", b"X" * 200):
        sent = _get(method=method)
        yield Case(f"the method {method[:9].decode()}", "9110 9.1", sent, OK, "200")
    yield Case("HEAD", "9110 9.3.2", _get(method=b"HEAD"), OK, "200")
    yield Case("HEAD of much", "9110 9.3.2", _get(b"/big?100000", method=b"HEAD"), OK, "200")
    for status in ("204", "304"):
        target = f"/status?{status}".encode()
        yield Case(f"{status} has no body", "9110 6.4.1", _get(target), (status,), status)
    twice = _get(method=b"HEAD") + _get()
    yield Case("HEAD and GET in one go", "9112 9.3.2", twice, ("200 200",), "200 200")


def _hosts() -> Iterator[Case]:
    def with_host(lines: bytes, version: bytes = b"1.1") -> bytes:
        return b"GET / HTTP/" + version + b"\r\n" + lines + b"\r\n"

    refused: dict[str, bytes] = {
        "no Host": b"",
        "two Hosts": b"host: a\r\nhost: b\r\n",
        "the same Host twice": b"host: a\r\nHost: a\r\n",
        "two hosts in one": b"host: a, b\r\n",
        "a Host with a blank": b"host: a b\r\n",
        "a Host with a path": b"host: a/b\r\n",
        "a Host with a user": b"host: u@a\r\n",
        "a Host with a quote": b'host: "a"\r\n',
    }
    for name, lines in refused.items():
        yield Case(name, "9112 3.2", with_host(lines), REFUSED, "400 close")
    for name, lines in (
        ("an empty Host", b"host:\r\n"),
        ("a Host with a port", b"host: a:80\r\n"),
        ("a Host that is an address", b"host: [::1]:80\r\n"),
    ):
        yield Case(name, "9110 7.2", with_host(lines), OK, "200")
    old = with_host(b"", b"1.0")
    yield Case("HTTP/1.0 without Host", "9112 3.2", old, ("200 close",), "200 close")
    both = with_host(b"host: a\r\nhost: b\r\n", b"1.0")
    yield Case("HTTP/1.0 with two Hosts", "9112 3.2", both, REFUSED, "400 close")


def _fields() -> Iterator[Case]:
    refused: dict[str, bytes] = {
        "a blank before the colon": b"a : b\r\n",
        "a tab before the colon": b"a\t: b\r\n",
        "no colon": b"ab\r\n",
        "no name": b": b\r\n",
        "a folded line": b"a: b\r\n c\r\n",
        "a line folded with a tab": b"a: b\r\n\tc\r\n",
        "a bare CR in a value": b"a: b\rc\r\n",
        "a bare LF in a value": b"a: b\nc: d\r\n",
        "NUL in a value": b"a: b\0c\r\n",
        "a control character in a value": b"a: b\x01c\r\n",
        "DEL in a value": b"a: b\x7fc\r\n",
        "a name with a bracket": b"a(b): c\r\n",
        "a name with a slash": b"a/b: c\r\n",
        "a name that is not ASCII": "é: c\r\n".encode(),
    }
    for name, line in refused.items():
        yield Case(name, "9112 5", _get(more=line), REFUSED, "400 close")
    first = b"GET / HTTP/1.1\r\n a: b\r\n" + _HOST + b"\r\n"
    yield Case("a first header that is folded", "9112 2.2", first, REFUSED, "400 close")
    good: dict[str, bytes] = {
        "an empty value": b"a:\r\n",
        "no blank after the colon": b"a:b\r\n",
        "blanks around a value": b"a: \t b \t \r\n",
        "a tab in a value": b"a: b\tc\r\n",
        "bytes beyond ASCII in a value": b"a: \xe9\xff\r\n",
        "a name with an underscore": b"a_b: c\r\n",
        "the same name twice": b"a: b\r\nA: c\r\n",
        "a hundred headers": b"".join(b"a%d: b\r\n" % n for n in range(100)),
    }
    for name, line in good.items():
        yield Case(name, "9110 5.5", _get(more=line), OK, "200")
    large = _get(more=b"a: " + b"x" * 70_000 + b"\r\n")
    yield Case("70 KB of headers", "6585 5", large, ("431", "431 close"), "431")
    huge = _get(more=b"a: " + b"x" * 400_000 + b"\r\n")
    yield Case("400 KB of headers", "6585 5", huge, ("431 close",), "431 close")
    many = _get(more=b"a: b\r\n" * 60_000)
    yield Case("60,000 headers", "6585 5", many, ("431 close",), "431 close")


def _lengths() -> Iterator[Case]:
    refused: dict[str, bytes] = {
        "Content-Length and Transfer-Encoding": (
            b"content-length: 5\r\ntransfer-encoding: chunked\r\n"
        ),
        "Transfer-Encoding and Content-Length": (
            b"transfer-encoding: chunked\r\ncontent-length: 5\r\n"
        ),
        "two Content-Lengths": b"content-length: 1\r\ncontent-length: 2\r\n",
        "the same Content-Length twice": b"content-length: 1\r\ncontent-length: 1\r\n",
        "a list of Content-Lengths": b"content-length: 1, 1\r\n",
        "a Content-Length with a sign": b"content-length: +1\r\n",
        "a negative Content-Length": b"content-length: -1\r\n",
        "a Content-Length in hexadecimal": b"content-length: 0x1\r\n",
        "a Content-Length with a blank in it": b"content-length: 1 1\r\n",
        "an empty Content-Length": b"content-length:\r\n",
        "a Content-Length with a point": b"content-length: 1.0\r\n",
        "a Content-Length in other digits": "content-length: \u0661\r\n".encode(),
    }
    for name, lines in refused.items():
        yield Case(name, "9112 6.3", _post(lines, b"0\r\n\r\n"), REFUSED, "400 close")
    for name, coding in (
        ("an unknown coding", b"br"),
        ("gzip before chunked", b"gzip, chunked"),
        ("a coding that looks like chunked", b"xchunked"),
    ):
        sent = _post(b"transfer-encoding: " + coding + b"\r\n", b"0\r\n\r\n")
        yield Case(
            name,
            "9112 6.1",
            sent,
            ("501 close", "501"),
            "400 close",
            "501 SHOULD be sent; 400 says as well that the body is not read",
        )
    for name, lines in (
        ("chunked twice", b"transfer-encoding: chunked, chunked\r\n"),
        ("chunked before gzip", b"transfer-encoding: chunked, gzip\r\n"),
        ("two Transfer-Encodings", b"transfer-encoding: chunked\r\n" * 2),
        ("a vertical tab before chunked", b"transfer-encoding: \x0bchunked\r\n"),
    ):
        yield Case(name, "9112 6.1", _post(lines, b"0\r\n\r\n"), REFUSED, "400 close")
    old = _chunked(b"0\r\n\r\n").replace(b"/1.1", b"/1.0")
    yield Case("HTTP/1.0 in chunks", "9112 6.1", old, REFUSED, "400 close")
    upper = _post(b"Transfer-Encoding: Chunked\r\n", b"0\r\n\r\n")
    yield Case("Chunked in upper case", "9112 7", upper, OK, "200")
    five = _post(b"content-length: 5\r\n", b"12345")
    yield Case("a body", "9112 6.2", five, OK, "200")
    zero = _post(b"content-length: 00\r\n")
    yield Case("an empty body", "9112 6.2", zero, OK, "200")
    two = five + _get()
    yield Case("a body and a request after it", "9112 9.3.2", two, ("200 200",), "200 200")
    for zeros in (17, 18, 19, 40, 6000):
        long = b"content-length: " + b"0" * zeros + b"5\r\n"
        sent = _post(long, b"12345") + _get()
        # The application takes 18 digits. None of the body is taken for another request.
        comes = "200 200" if zeros < 18 else "413 close"
        yield Case(f"a length after {zeros} zeros", "9112 6.3", sent, ("200 200", comes), comes)
    on_get = _get(more=b"content-length: 5\r\n") + b"12345"
    yield Case("a GET with a body", "9110 9.3.1", on_get, OK, "200")
    large = _post(b"content-length: 99999999999999999999\r\n")
    yield Case(
        "a Content-Length of 20 digits", "9110 15.5.14", large, ("413 close",), "413 close"
    )
    more = _post(b"content-length: 2000000\r\n")
    yield Case("a body beyond the limit", "9110 15.5.14", more, ("413 close",), "413 close")


def _chunks() -> Iterator[Case]:
    good: dict[str, bytes] = {
        "one chunk": b"3\r\nabc\r\n0\r\n\r\n",
        "three chunks": b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
        "leading zeros": b"0003\r\nabc\r\n000\r\n\r\n",
        "hexadecimal digits of both cases": b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
        "an extension": b"3;a=b\r\nabc\r\n0\r\n\r\n",
        "an extension in quotes": b'3;a="b;c"\r\nabc\r\n0;x\r\n\r\n',
        "a blank before an extension": b"3 ;a=b\r\nabc\r\n0\r\n\r\n",
        "trailers": b"3\r\nabc\r\n0\r\nx: y\r\nz: w\r\n\r\n",
        "ten thousand chunks": b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n",
    }
    for name, body in good.items():
        yield Case(name, "9112 7.1", _chunked(body), OK, "200")
    refused: dict[str, bytes] = {
        "no size": b"\r\nabc\r\n0\r\n\r\n",
        "a size that is none": b"g\r\nabc\r\n0\r\n\r\n",
        "a negative size": b"-1\r\nabc\r\n0\r\n\r\n",
        "a size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
        "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
        "a size with a blank before it": b" 3\r\nabc\r\n0\r\n\r\n",
        "a size with a blank after it": b"3 \r\nabc\r\n0\r\n\r\n",
        "a size beyond counting": b"fffffffffffffffff\r\nabc\r\n",
        "a bare LF after the size": b"3\nabc\r\n0\r\n\r\n",
        "a bare CR after the size": b"3\rabc\r\n0\r\n\r\n",
        "a bare LF after the data": b"3\r\nabc\n0\r\n\r\n",
        "nothing after the data": b"3\r\nabc0\r\n\r\n",
        "more data than the size says": b"3\r\nabcd\r\n0\r\n\r\n",
        "a control character in an extension": b"3;a=\x01\r\nabc\r\n0\r\n\r\n",
        "an extension without end": b"3;" + b"a" * 10_000,
        "a trailer that is none": b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n",
        "a trailer with a blank before the colon": b"3\r\nabc\r\n0\r\nx : y\r\n\r\n",
        "trailers without end": b"0\r\n" + b"x: y\r\n" * 5_000,
        "a folded trailer": b"0\r\nx: y\r\n z\r\n\r\n",
    }
    for name, body in refused.items():
        yield Case(f"chunks: {name}", "9112 7.1", _chunked(body), REFUSED, "400 close")


def _connections() -> Iterator[Case]:
    last = ("200 close",)
    yield Case(
        "Connection: close", "9112 9.6", _get(more=b"connection: close\r\n"), last, "200 close"
    )
    upper = _get(more=b"Connection: foo, Close\r\n")
    yield Case("Connection: foo, Close", "9110 7.6.1", upper, last, "200 close")
    after = _get(more=b"connection: close\r\n") + _get()
    yield Case("a request after the last", "9112 9.6", after, last, "200 close")
    kept = _get(more=b"connection: keep-alive\r\n")
    yield Case("Connection: keep-alive", "9112 9.3", kept, OK, "200")
    ten = " ".join(["200"] * 10)
    yield Case("ten requests in one go", "9112 9.3.2", _get() * 10, (ten,), ten)
    many = " ".join(["200"] * 2000)
    yield Case("2,000 requests in one go", "9112 9.3.2", _get() * 2000, (many,), many)
    upgrade = b"connection: upgrade\r\nupgrade: "
    websocket = _get(
        more=upgrade + b"websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    yield Case("a WebSocket", "9110 7.8", websocket, ("200", "403"), "403")
    yield Case("an unknown upgrade", "9110 7.8", _get(more=upgrade + b"foo/2\r\n"), OK, "200")
    half = _get(more=upgrade + b"h2c\r\n")
    yield Case("Upgrade: h2c without settings", "7540 3.2", half, OK, "200")
    passed_on = _get(more=upgrade + b"h2c\r\nhttp2-settings: AAMAAABk\r\n")
    yield Case("Upgrade: h2c that a proxy passed on", "7540 3.2.1", passed_on, OK, "200")
    settings = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: "
    half = _get(b"/\xff", more=settings + b"\r\n")
    yield Case("an upgrade of what is malformed", "9112 3.2", half, REFUSED, "400 close")
    expects = b"expect: 100-continue\r\n"
    waits = _post(b"content-length: 3\r\n" + expects, b"abc")
    yield Case("a body that did not wait for 100", "9110 10.1.1", waits, OK, "200")
    refused = _post(b"content-length: 2000000\r\n" + expects)
    yield Case("no 100 before 413", "9110 10.1.1", refused, ("413 close",), "413 close")
    unknown = _post(b"content-length: 3\r\nexpect: miracles\r\n", b"abc")
    yield Case("an unknown expectation", "9110 10.1.1", unknown, ("200", "417"), "200")


CASES: Final = (
    *_lines(),
    *_targets(),
    *_methods(),
    *_hosts(),
    *_fields(),
    *_lengths(),
    *_chunks(),
    *_connections(),
)
