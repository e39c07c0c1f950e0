"""What is tried on HTTP/2 (RFC 9113, and 7541 for its fields), on stream 3."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tests.engines.model import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Case,
    Pairs,
    block,
    frame,
    head,
    request,
)

OK: Final = ("200",)
MALFORMED: Final = ("reset PROTOCOL_ERROR", "400")
_CANCEL: Final = struct.pack("!I", 8)
_LENIENT: Final = "an error of the connection would end the requests of others on it"
_RAW: Final = "PostgREST's clients send it (`meta->>lang`), and PostgREST takes it"


def _fatal(
    name: str, rfc: str, sent: bytes, code: str = "PROTOCOL_ERROR", *, first: bool = False
) -> Case:
    comes = f"goaway {code}"
    return Case(name, rfc, sent, (comes, "close"), comes, first=first)


def _requests() -> Iterator[Case]:
    def malformed(name: str, pairs: Pairs, rfc: str) -> Case:
        return Case(name, rfc, request(3, pairs), MALFORMED, "reset PROTOCOL_ERROR")

    section = "9113 8.3"
    for missing in ("method", "scheme", "path"):
        yield malformed(f"no :{missing}", head(**{missing: None}), section)
    for twice in ("method", "scheme", "path", "authority"):
        own = [pair for pair in head() if pair[0] == b":" + twice.encode()]
        yield malformed(f"two :{twice}", [*own, *head()], section)
    yield malformed("an empty :path", head(path=b""), section)
    yield malformed("an empty :method", head(method=b""), section)
    yield malformed("an empty :scheme", head(scheme=b""), section)
    yield malformed("a :path that is none", head(path=b"nonsense"), section)
    yield malformed("a blank in :path", head(path=b"/a b"), section)
    yield malformed("NUL in :path", head(path=b"/a\0b"), section)
    for name, path in (("path", b"/\xff"), ("query", b"/t?a=eq.\xe9")):
        sent = request(3, head(path=path))
        yield Case(f"a {name} that is not UTF-8", section, sent, MALFORMED, "400")
    yield malformed("a :method that is no token", head(method=b"G(T"), section)
    yield malformed(":status in a request", [*head(), (b":status", b"200")], section)
    yield malformed("an unknown pseudo-header", [*head(), (b":foo", b"bar")], section)
    yield malformed("a pseudo-header after a header", [(b"a", b"b"), *head()], section)
    yield malformed(
        ":protocol without extended CONNECT", head((b":protocol", b"websocket")), section
    )
    yield malformed("CONNECT with a path", head(method=b"CONNECT"), "9113 8.5")
    bare = head(method=b"CONNECT", path=None, scheme=None)
    yield Case("CONNECT", "9113 8.5", request(3, bare), ("400", "405", "501"), "400")
    nowhere = head(method=b"CONNECT", path=None, scheme=None, authority=None)
    yield malformed("CONNECT to nowhere", nowhere, "9113 8.5")
    for bad in (b"A", b"a b", b"a:b", b"", b"a\0", b"a\r\nb", "é".encode(), b"a(", b" a"):
        yield malformed(f"the header name {bad!r}", head((bad, b"x")), "9113 8.2.1")
    for value in (b" x", b"x ", b"\tx", b"x\t", b"a\rb", b"a\nb", b"a\0b", b"a\x7fb"):
        yield malformed(f"the header value {value!r}", head((b"a", value)), "9113 8.2.1")
    for header in (b"connection", b"keep-alive", b"proxy-connection", b"upgrade"):
        yield malformed(f"the header {header.decode()}", head((header, b"x")), "9113 8.2.2")
    coded = head((b"transfer-encoding", b"chunked"))
    yield malformed("the header transfer-encoding", coded, "9113 8.2.2")
    yield malformed("te: gzip", head((b"te", b"gzip")), "9113 8.2.2")
    yield malformed("te: trailers, gzip", head((b"te", b"trailers, gzip")), "9113 8.2.2")
    yield malformed("another host than :authority", head((b"host", b"y")), "9113 8.3.1")
    two_hosts = head((b"host", b"x"), (b"host", b"x"), authority=None)
    yield malformed("two hosts", two_hosts, "9113 8.3.1")
    yield malformed("an :authority with a user", head(authority=b"u@x"), "9113 8.3.1")
    yield malformed("an :authority with a path", head(authority=b"x/y"), "9113 8.3.1")
    good: dict[str, Pairs] = {
        "a GET": head(),
        "no :authority but a host": head((b"host", b"x"), authority=None),
        "neither :authority nor host": head(authority=None),
        "host as :authority": head((b"host", b"x")),
        "te: trailers": head((b"te", b"trailers")),
        "the method delete": head(method=b"delete"),
        "the method FOO": head(method=b"FOO"),
        "cookies in pieces": head((b"cookie", b"a=b"), (b"cookie", b"c=d")),
        "an empty value": head((b"a", b"")),
        "bytes beyond ASCII in a value": head((b"a", b"\xe9\xff")),
        "a blank within a value": head((b"a", b"b c")),
        "another scheme": head(scheme=b"https"),
        "OPTIONS *": head(method=b"OPTIONS", path=b"*"),
        "HEAD": head(method=b"HEAD"),
        "a path of 60 KB": head(path=b"/t?a=" + b"x" * 60_000),
    }
    for name, pairs in good.items():
        sent = _split(3, pairs) if len(block(pairs)) > 16_000 else request(3, pairs)
        yield Case(name, section, sent, OK, "200")
    for char in '"<>{}|\\^`':
        pairs = head(path=f"/t?a=cs.{char}".encode())
        yield Case(f"raw {char} in :path", section, request(3, pairs), MALFORMED, "200", _RAW)
    utf8 = head(path="/t?a=eq.é日".encode())
    yield Case("raw UTF-8 in :path", section, request(3, utf8), MALFORMED, "200", _RAW)
    for status in ("204", "304"):
        pairs = head(path=b"/status?" + status.encode())
        yield Case(f"{status} has no body", "9110 6.4.1", request(3, pairs), (status,), status)
    large = _split(3, head((b"a", b"x" * 70_000)))
    yield Case("70 KB of headers", "6585 5", large, ("431",), "431")


def _split(stream: int, pairs: Pairs, piece: int = 16_000) -> bytes:
    """A GET whose header block comes in pieces."""
    whole = block(pairs)
    pieces = [whole[at : at + piece] for at in range(0, len(whole), piece)]
    sent = frame(HEADERS, END_STREAM, stream, pieces[0])
    for each in pieces[1:-1]:
        sent += frame(CONTINUATION, 0, stream, each)
    return sent + frame(CONTINUATION, END_HEADERS, stream, pieces[-1])


def _bodies() -> Iterator[Case]:
    post = head(method=b"POST")

    def measured(length: bytes, body: bytes | None = b"abc") -> bytes:
        return request(3, [*post, (b"content-length", length)], body)

    section = "9113 8.1.1"
    refused = {
        "less body than content-length": measured(b"4"),
        "more body than content-length": measured(b"2"),
        "no body but a content-length": measured(b"4", None),
        "a content-length that is no number": measured(b"x"),
        "a negative content-length": measured(b"-3"),
        "an empty content-length": measured(b""),
        "two content-lengths": request(
            3, [*post, (b"content-length", b"3"), (b"content-length", b"3")], b"abc"
        ),
    }
    for name, sent in refused.items():
        yield Case(name, section, sent, MALFORMED, "reset PROTOCOL_ERROR")
    begun = frame(HEADERS, END_HEADERS, 3, block(post))
    good = {
        "a body": request(3, post, b"abc"),
        "a body of the length it says": measured(b"3"),
        "a body in two frames": begun
        + frame(DATA, 0, 3, b"ab")
        + frame(DATA, END_STREAM, 3, b"c"),
        "an empty last frame": begun + frame(DATA, 0, 3, b"ab") + frame(DATA, END_STREAM, 3),
        "an empty frame": begun + frame(DATA, 0, 3) + frame(DATA, END_STREAM, 3, b"c"),
        "a padded body": begun + frame(DATA, PADDED | END_STREAM, 3, b"\x04abc\0\0\0\0"),
        "nothing but padding": begun + frame(DATA, PADDED | END_STREAM, 3, b"\x04\0\0\0\0"),
        "trailers": begun
        + frame(DATA, 0, 3, b"ab")
        + frame(HEADERS, END_HEADERS | END_STREAM, 3, block([(b"x", b"y")])),
        "empty trailers": begun + frame(HEADERS, END_HEADERS | END_STREAM, 3),
        "half a megabyte": begun + frame(DATA, 0, 3, b"x" * 16_384) * 32 + frame(DATA, 1, 3),
    }
    for name, sent in good.items():
        yield Case(name, "9113 8.1", sent, OK, "200")
    data = frame(DATA, 0, 3, b"ab")
    open_trailers = begun + data + frame(HEADERS, END_HEADERS, 3, block([(b"x", b"y")]))
    yield Case("trailers that end nothing", "9113 8.1", open_trailers, MALFORMED, MALFORMED[0])
    pseudo = begun + data + frame(HEADERS, 5, 3, block([(b":path", b"/")]))
    yield Case("a pseudo-header in trailers", "9113 8.1", pseudo, MALFORMED, MALFORMED[0])
    over = ("reset STREAM_CLOSED", "goaway STREAM_CLOSED", "200")
    waits = request(3, head(path=b"/wait?30"))
    yield Case("DATA after the end", "9113 5.1", waits + data, over, "reset STREAM_CLOSED")
    again = waits + request(3, head())
    yield Case("HEADERS after the end", "9113 5.1", again, over, "reset STREAM_CLOSED")
    too_large = begun + frame(DATA, 0, 3, b"x" * 16_384) * 130
    yield Case("a body beyond the limit", "9110 15.5.14", too_large, ("413",), "413")


def _streams() -> Iterator[Case]:
    data = frame(DATA, 0, 5, b"x")
    yield _fatal("DATA on an idle stream", "9113 5.1", data)
    yield _fatal("DATA on no stream", "9113 6.1", frame(DATA, 0, 0, b"x"))
    yield _fatal("DATA on a stream of the server's", "9113 5.1", frame(DATA, 0, 2, b"x"))
    yield _fatal("HEADERS on no stream", "9113 6.2", request(0, head()))
    yield _fatal("HEADERS on a stream of the server's", "9113 5.1.1", request(2, head()))
    yield _fatal("RST_STREAM on an idle stream", "9113 6.4", frame(RST_STREAM, 0, 5, _CANCEL))
    yield _fatal("RST_STREAM on no stream", "9113 6.4", frame(RST_STREAM, 0, 0, _CANCEL))
    short = frame(RST_STREAM, 0, 1, b"\0\0\0")
    yield _fatal("a short RST_STREAM", "9113 6.4", short, "FRAME_SIZE_ERROR")
    update = struct.pack("!I", 1)
    yield _fatal(
        "WINDOW_UPDATE on an idle stream", "9113 5.1", frame(WINDOW_UPDATE, 0, 5, update)
    )
    yield _fatal("PUSH_PROMISE", "9113 8.4", frame(PUSH_PROMISE, 4, 1, update + block(head())))
    yield Case(
        "a stream number below an earlier one",
        "9113 5.1.1",
        request(7, head()) + request(3, head()),
        ("goaway PROTOCOL_ERROR",),
        "reset STREAM_CLOSED",
        _LENIENT,
    )
    yield Case(
        "numbers left out", "9113 5.1.1", request(3, head()) + request(9, head()), OK, "200"
    )
    gone = request(3, head(path=b"/wait?30")) + frame(RST_STREAM, 0, 3, _CANCEL)
    alive = ("alive",)
    yield Case("a request taken back", "9113 5.4.2", gone, alive, "alive")
    closed = ("alive", "reset STREAM_CLOSED")
    late = gone + frame(DATA, 0, 3, b"x")
    yield Case("DATA after RST_STREAM", "9113 5.1", late, closed, "reset STREAM_CLOSED")
    late = gone + frame(WINDOW_UPDATE, 0, 3, update)
    yield Case("WINDOW_UPDATE after RST_STREAM", "9113 5.1", late, alive, "alive")
    late = gone + frame(PRIORITY, 0, 3, b"\0\0\0\1\0")
    yield Case("PRIORITY after RST_STREAM", "9113 5.1", late, alive, "alive")
    late = gone + frame(RST_STREAM, 0, 3, _CANCEL)
    yield Case("RST_STREAM twice", "9113 5.4.2", late, alive, "alive")
    waits = request(3, head(path=b"/wait?30"))
    zero = waits + frame(WINDOW_UPDATE, 0, 3, struct.pack("!I", 0))
    reset = "reset PROTOCOL_ERROR"
    yield Case("WINDOW_UPDATE by nothing", "9113 6.9", zero, (reset,), reset)
    most = struct.pack("!I", 2**31 - 1)
    beyond = waits + frame(WINDOW_UPDATE, 0, 3, most)
    reset = "reset FLOW_CONTROL_ERROR"
    yield Case("a stream's window too large", "9113 6.9.1", beyond, (reset,), reset)
    zero = frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 0))
    yield _fatal("WINDOW_UPDATE by nothing on the connection", "9113 6.9", zero)
    beyond = frame(WINDOW_UPDATE, 0, 0, most)
    yield _fatal(
        "the connection's window too large", "9113 6.9.1", beyond, "FLOW_CONTROL_ERROR"
    )
    short = frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")
    yield _fatal("a short WINDOW_UPDATE", "9113 6.9", short, "FRAME_SIZE_ERROR")
    many = b"".join(request(n, head(path=b"/wait?30")) for n in range(3, 603, 2))
    refused = "reset REFUSED_STREAM"
    yield Case("300 streams at once", "9113 5.1.2", many, (refused,), refused, stream=601)
    for depends, name in ((3, "itself"), (1, "another stream"), (99, "an idle stream")):
        priority = struct.pack("!IB", depends, 7)
        sent = frame(HEADERS, 0x25, 3, priority + block(head()))
        yield Case(f"HEADERS that depend on {name}", "9113 5.3", sent, OK, "200")
        sent = frame(PRIORITY, 0, 3, priority) + request(3, head())
        yield Case(f"PRIORITY on {name}", "9113 5.3", sent, OK, "200")


def _connections() -> Iterator[Case]:
    alive = ("alive",)
    settings = {
        "an unknown setting": b"\x00\x99\0\0\0\1",
        "no settings": b"",
        "the same setting twice": b"\0\4\0\0\0\0" + b"\0\4\0\1\0\0",
        "no table of fields": b"\0\1\0\0\0\0",
        "a huge table of fields": b"\0\1\x7f\xff\xff\xff",
        "small lists of fields": b"\0\6\0\0\0\1",
        "large frames": b"\0\5\0\xff\xff\xff",
        "no push": b"\0\2\0\0\0\0",
    }
    for name, payload in settings.items():
        sent = frame(SETTINGS, 0, 0, payload) + request(3, head())
        yield Case(f"SETTINGS: {name}", "9113 6.5.2", sent, OK, "200")
    fatal = {
        "push neither on nor off": (b"\0\2\0\0\0\2", "PROTOCOL_ERROR"),
        "a window too large": (b"\0\4\x80\0\0\0", "FLOW_CONTROL_ERROR"),
        "frames too small": (b"\0\5\0\0\x3f\xff", "PROTOCOL_ERROR"),
        "frames too large": (b"\0\5\1\0\0\0", "PROTOCOL_ERROR"),
        "an odd length": (b"\0\1\0\0\0", "FRAME_SIZE_ERROR"),
    }
    for name, (payload, code) in fatal.items():
        yield _fatal(f"SETTINGS: {name}", "9113 6.5.2", frame(SETTINGS, 0, 0, payload), code)
    yield _fatal("SETTINGS on a stream", "9113 6.5", frame(SETTINGS, 0, 1))
    answer = frame(SETTINGS, ACK, 0, b"\0\1\0\0\0\0")
    yield _fatal("an acknowledgement with settings", "9113 6.5", answer, "FRAME_SIZE_ERROR")
    yield _fatal("PING on a stream", "9113 6.7", frame(PING, 0, 1, b"12345678"))
    yield _fatal("a short PING", "9113 6.7", frame(PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR")
    pong = frame(PING, ACK, 0, b"12345678")
    yield Case("an answer to no PING", "9113 6.7", pong, alive, "alive")
    yield _fatal("GOAWAY on a stream", "9113 6.8", frame(GOAWAY, 0, 1, b"\0" * 8))
    yield _fatal(
        "a short GOAWAY", "9113 6.8", frame(GOAWAY, 0, 0, b"\0" * 7), "FRAME_SIZE_ERROR"
    )
    goes = ("alive", "goaway NO_ERROR")
    for number in (0, 2, 11):
        sent = frame(GOAWAY, 0, 0, struct.pack("!II", 0, number) + b"bye")
        yield Case(f"GOAWAY with code {number}", "9113 6.8", sent, goes, "goaway NO_ERROR")
    sent = request(3, head()) + frame(GOAWAY, 0, 0, b"\0" * 8)
    name = "GOAWAY behind a request"
    yield Case(name, "9113 6.8", sent, ("200", "goaway NO_ERROR"), "goaway NO_ERROR")
    sent = frame(0xBE, 0xFF, 3, b"x") + request(3, head())
    yield Case("a frame of an unknown kind", "9113 5.5", sent, OK, "200")
    sent = request(3, head()).replace(b"\0\0\0\3", b"\x80\0\0\3", 1)
    yield Case("the reserved bit", "9113 4.1", sent, OK, "200")
    flagged = frame(HEADERS, 0xD7 & ~PADDED | END_HEADERS | END_STREAM, 3, block(head()))
    yield Case("unknown flags", "9113 4.1", flagged, OK, "200")
    large = frame(DATA, 0, 1, b"x" * 16_385)
    yield _fatal("a frame too large", "9113 4.2", large, "FRAME_SIZE_ERROR")
    yield _fatal("PRIORITY on no stream", "9113 6.3", frame(PRIORITY, 0, 0, b"\0\0\0\1\0"))
    yield Case(
        "a short PRIORITY",
        "9113 6.3",
        frame(PRIORITY, 0, 3, b"\0\0\0\1") + request(3, head()),
        ("reset FRAME_SIZE_ERROR", "goaway FRAME_SIZE_ERROR"),
        "200",
        "priorities mean nothing here, whatever their frames look like",
    )
    padded = frame(
        HEADERS, PADDED | END_HEADERS | END_STREAM, 3, b"\2" + block(head()) + b"\0\0"
    )
    yield Case("padded HEADERS", "9113 6.2", padded, OK, "200")
    over = frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 3, b"\xff" + block(head()))
    yield _fatal("more padding than HEADERS", "9113 6.2", over)
    yield _fatal("more padding than DATA", "9113 6.1", frame(DATA, PADDED, 1, b"\4abc"))
    yield _fatal("padded DATA of nothing", "9113 6.1", frame(DATA, PADDED, 1), "PROTOCOL_ERROR")
    bad_preface = PREFACE[:-1] + b"x" + frame(SETTINGS, 0, 0)
    yield Case(
        "a preface that is none", "9113 3.4", bad_preface, ("close",), "close", first=True
    )
    yield _fatal("no SETTINGS first", "9113 3.4", PREFACE + request(1, head()), first=True)
    greeted = PREFACE + frame(SETTINGS, 0, 0)
    sent = greeted + request(3, head())
    yield Case("the first stream is 3", "9113 5.1.1", sent, OK, "200", first=True)


def _field_blocks() -> Iterator[Case]:
    split = _split(3, head(), piece=5)
    yield Case("a header block in small pieces", "9113 6.10", split, OK, "200")
    empty = frame(HEADERS, END_STREAM, 3) + frame(CONTINUATION, 4, 3, block(head()))
    yield Case("an empty first piece", "9113 6.10", empty, OK, "200")
    begun = frame(HEADERS, END_STREAM, 3, block(head()))
    yield _fatal(
        "another frame within a header block",
        "9113 6.2",
        begun + frame(PING, 0, 0, b"12345678"),
    )
    yield _fatal(
        "CONTINUATION of another stream", "9113 6.10", begun + frame(CONTINUATION, 4, 5)
    )
    yield _fatal("CONTINUATION of nothing", "9113 6.10", frame(CONTINUATION, 4, 3))
    yield _fatal(
        "CONTINUATION after the end",
        "9113 6.10",
        request(3, head()) + frame(CONTINUATION, 4, 3),
    )
    flood = begun + frame(CONTINUATION, 0, 3, block([(b"a", b"x" * 1000)]) * 16) * 40
    calm = "ENHANCE_YOUR_CALM"
    yield _fatal("a header block without end", "9113 10.5.1", flood, calm)
    empty_flood = begun + frame(CONTINUATION, 0, 3) * 5_000
    yield _fatal("empty CONTINUATIONs without end", "9113 10.5", empty_flood, calm)
    broken = {
        "an index beyond the table": b"\xbf\xff\xff\x03",
        "index 0": b"\x80",
        "a field that is cut off": block(head())[:-1],
        "a literal of nothing": b"\x00",
        "a name beyond the table": b"\x7f\xff\x03\x01a",
        "a number without end": b"\xff" * 20,
        "a table size beyond the limit": b"\x3f\xe2\x1f" + block(head()),
        "a table size within the block": block(head()) + b"\x20",
        "a Huffman code that is none": b"\x00\x84\xff\xff\xff\xff\x01a",
        "Huffman padding of eight bits": b"\x00\x82\x1f\xff\x01a",
    }
    for name, data in broken.items():
        sent = frame(HEADERS, END_HEADERS | END_STREAM, 3, data)
        yield _fatal(f"HPACK: {name}", "7541 4-6", sent, "COMPRESSION_ERROR")
    resized = frame(HEADERS, 5, 3, b"\x20\x3f\xe1\x1f" + block(head()))
    yield Case("HPACK: two table sizes before the block", "7541 4.2", resized, OK, "200")
    indexed = b"\x40" + block([(b"a", b"b" * 3_000)])[1:]
    bomb = frame(HEADERS, 5, 3, block(head()) + indexed + b"\xbe" * 10_000)
    yield Case("HPACK: a bomb", "9113 10.5.1", bomb, ("431", "goaway ENHANCE_YOUR_CALM"), "431")
    static = frame(HEADERS, 5, 3, b"\x82\x84\x86\x41\x01x")
    yield Case("HPACK: the static table", "7541 6.1", static, OK, "200")


def _floods() -> Iterator[Case]:
    calm = "goaway ENHANCE_YOUR_CALM"
    update = struct.pack("!I", 1)
    cheap: dict[str, bytes] = {
        "PINGs": frame(PING, 0, 0, b"12345678"),
        "SETTINGS": frame(SETTINGS, 0, 0),
        "PRIORITYs": frame(PRIORITY, 0, 9, b"\0\0\0\0\1"),
        "unknown frames": frame(0xBE, 0, 0, b"x"),
        "empty DATA": frame(DATA, 0, 1),
        "WINDOW_UPDATEs": frame(WINDOW_UPDATE, 0, 1, update),
        "GOAWAYs": frame(GOAWAY, 0, 0, b"\0" * 8),
    }
    for name, one in cheap.items():
        some = "goaway NO_ERROR" if name == "GOAWAYs" else "alive"
        yield Case(f"500 {name}", "9113 10.5", one * 500, (some,), some)
        drained = one * 2_500
        yield Case(f"2,500 {name}", "9113 10.5", drained, ("alive", calm), calm)
        yield Case(f"20,000 {name}", "9113 10.5", one * 20_000, (calm, "close"), calm)
    rapid = b"".join(
        request(n, head()) + frame(RST_STREAM, 0, n, _CANCEL) for n in range(3, 1003, 2)
    )
    yield Case("500 requests taken back at once", "9113 10.5", rapid, ("alive", calm), calm)
    malformed = b"".join(request(n, head((b"te", b"gzip"))) for n in range(5, 805, 2))
    name = "400 malformed requests of others"
    sent = malformed + request(807, head())
    yield Case(name, "9113 10.5", sent, OK, "200", stream=807)


CASES: Final = (
    *_requests(),
    *_bodies(),
    *_streams(),
    *_connections(),
    *_field_blocks(),
    *_floods(),
)
