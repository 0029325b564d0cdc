"""What HTTP/2 forbids, and peers that speak something else: their connection ends or their call does, nothing more."""

from __future__ import annotations

import socket
import struct

import pytest
from tests.contract.hostile.conftest import KEY, bounded
from tests.contract.hostile.watching import asks_health
from tests.support.raw_http2 import PREFACE, Flag, Kind, RawConnection, frame, settings

from accelform_runtime.protocol import PREDICT

WHOLE = Flag.END_HEADERS | Flag.END_STREAM
CHECK = "/grpc.health.v1.Health/Check"
BLOCK = RawConnection.block(CHECK)
PROTOCOL, FLOW, FRAME_SIZE = 1, 3, 6

ENDED = {
    "even-stream": (frame(Kind.HEADERS, WHOLE, 2, BLOCK), {PROTOCOL}),
    "stream-0": (frame(Kind.HEADERS, WHOLE, 0, BLOCK), {PROTOCOL}),
    "stream-that-was": (frame(Kind.HEADERS, WHOLE, 5, BLOCK) + frame(Kind.HEADERS, WHOLE, 3, BLOCK), {PROTOCOL}),
    "data-on-stream-0": (frame(Kind.DATA, 0, 0, b"x"), {PROTOCOL}),
    "too-large-frame": (frame(Kind.DATA, 0, 1, bytes(16385)), {FRAME_SIZE, None}),
    "largest-frame": (frame(Kind.DATA, 0, 1, bytes(100), length=2**24 - 1), {FRAME_SIZE, None}),
    "padding-beyond-frame": (frame(Kind.DATA, 8, 1, b"\xff\0"), {PROTOCOL}),
    "settings-of-5-bytes": (frame(Kind.SETTINGS, 0, 0, bytes(5)), {FRAME_SIZE}),
    "settings-on-a-stream": (frame(Kind.SETTINGS, 0, 1, bytes(6)), {PROTOCOL}),
    "settings-ack-with-content": (frame(Kind.SETTINGS, Flag.ACK, 0, bytes(6)), {FRAME_SIZE}),
    "ping-of-7-bytes": (frame(Kind.PING, 0, 0, bytes(7)), {FRAME_SIZE}),
    "ping-on-a-stream": (frame(Kind.PING, 0, 1, bytes(8)), {PROTOCOL}),
    "window-of-nothing": (frame(Kind.WINDOW_UPDATE, 0, 0, bytes(4)), {PROTOCOL}),
    "window-of-3-bytes": (frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3)), {FRAME_SIZE}),
    "reset-of-stream-0": (frame(Kind.RST_STREAM, 0, 0, bytes(4)), {PROTOCOL}),
    "continuation-of-nothing": (frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, BLOCK), {PROTOCOL}),
    "data-within-headers": (frame(Kind.HEADERS, 0, 1, BLOCK) + frame(Kind.DATA, 0, 1, b"x"), {PROTOCOL}),
    "other-stream-within-headers": (
        frame(Kind.HEADERS, 0, 1, BLOCK) + frame(Kind.CONTINUATION, Flag.END_HEADERS, 3, BLOCK),
        {PROTOCOL},
    ),
    "headers-of-no-hpack": (frame(Kind.HEADERS, WHOLE, 1, b"\xff" * 20), {9, PROTOCOL}),
    "headers-of-unknown-entry": (frame(Kind.HEADERS, WHOLE, 1, b"\xfe"), {9, PROTOCOL}),
}
"""Frames, and the error codes of GOAWAY that may follow; None: the connection ends without one."""

PASSED_OVER = {
    "push-promise": frame(Kind.PUSH_PROMISE, Flag.END_HEADERS, 1, bytes(4) + BLOCK),
    "data-on-an-idle-stream": frame(Kind.DATA, 0, 9, b"x"),
    "reset-of-an-idle-stream": frame(Kind.RST_STREAM, 0, 9, bytes(4)),
    "window-of-an-idle-stream": frame(Kind.WINDOW_UPDATE, 0, 9, b"\0\0\0\1"),
    "unknown": frame(0x4F, 0xFF, 9, b"x"),
    "priority": frame(Kind.PRIORITY, 0, 9, bytes(5)),
    "goaway": frame(Kind.GOAWAY, 0, 0, bytes(8)),
}
"""RFC 9113 has errors for some of these; gRPC's server looks past them, which costs nobody anything."""

RESET = {
    "upper-case-header": b"\0\x01A\x01b",
    "pseudo-header-late": b"\0\x01a\x01b\0\x07:scheme\x04http",
    "unknown-pseudo-header": b"\0\x04:foo\x01b",
    "two-paths": b"\0\x05:path\x01/",
    "connection-header": b"\0\x0aconnection\x05close",
    "line-break-in-value": b"\0\x01a\x03b\r\n",
    "null-in-value": b"\0\x01a\x01\0",
    "space-in-name": b"\0\x03a b\x01c",
}
"""Fields behind those of a call."""


@pytest.mark.parametrize("name", ENDED)
def test_forbidden_frames(target, name):
    """The connection ends, with GOAWAY and the reason where RFC 9113 has one, and no other."""
    sent, codes = ENDED[name]
    with RawConnection(target.port) as attacker, RawConnection(target.port) as other:
        attacker.try_to_send(sent)
        goaway = attacker.end(10)

        assert goaway in codes | {None}
        assert other.ask(CHECK, b"").status == 0


@pytest.mark.parametrize("name", PASSED_OVER)
def test_frames_that_are_passed_over(target, name):
    """The frame changes nothing: the connection's next call is answered, or the connection has ended."""
    with RawConnection(target.port) as attacker:
        attacker.send(PASSED_OVER[name])
        outcome = attacker.ask(CHECK, b"")

        assert outcome.status == 0 or outcome.goaway is not None or outcome.closed


@pytest.mark.parametrize("name", RESET)
def test_forbidden_headers(target, name):
    """Headers that HTTP/2 forbids end the call before any method sees it."""
    with RawConnection(target.port) as attacker:
        attacker.send(frame(Kind.HEADERS, WHOLE, 1, attacker.block(PREDICT, KEY) + RESET[name]))
        outcome = attacker.outcome(1)

        assert outcome.status != 0
        assert outcome.reset is not None or outcome.goaway is not None or outcome.http not in ("", "200")


@pytest.mark.parametrize(
    ("changes", "http"),
    [({"method": "GET"}, "405"), ({"method": "PUT"}, "405"), ({"path": "nothing"}, "200"), ({"path": ""}, "200")],
)
def test_calls_that_are_none(target, changes, http):
    """Another verb or no path is answered with what is wrong, in HTTP."""
    with RawConnection(target.port) as attacker:
        block = attacker.block(**{"path": CHECK, **changes})
        attacker.send(frame(Kind.HEADERS, WHOLE, 1, block))
        outcome = attacker.outcome(1)

        assert outcome.status != 0
        assert outcome.http in (http, "400", "")


@pytest.mark.parametrize("stream", [0, 1])
def test_windows_that_overflow(target, stream):
    """A window beyond 2^31 - 1 hurts nobody but who opened it."""
    with RawConnection(target.port) as attacker:
        attacker.send(frame(Kind.HEADERS, Flag.END_HEADERS, 1, attacker.block(CHECK)))
        attacker.try_to_send(frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", 2**31 - 1)) * 5)

        assert asks_health(target)


@pytest.mark.parametrize("value", [2**31, 2**32 - 1])
def test_a_window_setting_that_is_too_large(target, value):
    """An initial window above 2^31 - 1 is a flow-control error."""
    with RawConnection(target.port) as attacker:
        attacker.try_to_send(settings(_4=value))

        assert attacker.end(10) in (FLOW, PROTOCOL, None)


def test_more_data_than_the_window(target):
    """Data beyond a stream's window of 1 MiB resets the stream, if its call was not answered before; none is held."""
    with bounded(target, 16), RawConnection(target.port) as attacker:
        stream, head = attacker.head("/grpc.health.v1.Health/Check")
        attacker.send(head)
        assert attacker.pong()
        attacker.try_to_send(frame(Kind.DATA, 0, stream, bytes(16384)) * 200)

        outcome = attacker.outcome(stream)

        assert outcome.reset == FLOW or outcome.status == 0
        assert attacker.ask(CHECK, b"").status == 0


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/models/x:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: \r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n",
        b"PRI * HTTP/1.0\r\n\r\nSM\r\n\r\n",
        PREFACE + frame(Kind.PING, payload=bytes(8)),
        PREFACE + frame(Kind.HEADERS, WHOLE, 1, BLOCK),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506),
        b"\0" * 100_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["get", "post", "upgrade", "wrong-end", "wrong-version", "ping-first", "headers-first", "tls", "zeros", "ssh"],
)
def test_other_protocols(target, data):
    """Who does not begin as HTTP/2 does is hung up on at once, and told nothing of what runs here."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=5) as attacker:
        heard = b""
        try:
            attacker.sendall(data)
            while more := attacker.recv(65536):
                heard += more
        except ConnectionError:
            pass

    assert b"HTTP/1" not in heard
    assert b"goroutine" not in heard
    assert len(heard) < 200
