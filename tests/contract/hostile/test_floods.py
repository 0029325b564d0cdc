"""Floods of frames on one connection: it is cut or slowed, others are answered, and the work ends with it."""

from __future__ import annotations

import struct

import pytest
from tests.contract.hostile.conftest import KEY, bounded
from tests.contract.hostile.watching import Beside, asks_health, front
from tests.support.raw_http2 import Flag, Kind, RawConnection, frame, message_of, settings
from tests.support.side_door import SideDoor
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

FRAMES = 20_000
WHOLE = Flag.END_HEADERS | Flag.END_STREAM
CANCEL = struct.pack(">I", 8)


def resets(connection: RawConnection, key=()) -> bytes:
    """Calls that are taken back at once."""
    block = connection.block(PREDICT, key)
    return b"".join(
        frame(Kind.HEADERS, Flag.END_HEADERS, 2 * n + 1, block) + frame(Kind.RST_STREAM, 0, 2 * n + 1, CANCEL)
        for n in range(FRAMES // 2)
    )


def empty_data(connection: RawConnection) -> bytes:
    stream, head = connection.head(PREDICT, KEY)
    return head + frame(Kind.DATA, 0, stream) * FRAMES


def small_continuations(connection: RawConnection) -> bytes:
    return frame(Kind.HEADERS, 0, 1, connection.block(PREDICT)) + frame(Kind.CONTINUATION, 0, 1, b"\0\1a\1b") * FRAMES


def empty_continuations(connection: RawConnection) -> bytes:
    return frame(Kind.HEADERS, 0, 1, connection.block(PREDICT)) + frame(Kind.CONTINUATION, 0, 1) * FRAMES


FLOODS = {
    "resets": resets,
    "resets-with-key": lambda connection: resets(connection, KEY),
    "pings": lambda _: frame(Kind.PING, payload=bytes(8)) * FRAMES,
    "settings": lambda _: settings(_3=100) * FRAMES,
    "big-settings": lambda _: frame(Kind.SETTINGS, payload=struct.pack(">HI", 4, 65535) * 2000) * (FRAMES // 100),
    "empty-data": empty_data,
    "small-continuations": small_continuations,
    "empty-continuations": empty_continuations,
    "priorities": lambda _: frame(Kind.PRIORITY, 0, 1, struct.pack(">IB", 0, 16)) * FRAMES,
    "unknown": lambda _: frame(0x77, 0xFF, 5, b"anything") * FRAMES,
    "windows": lambda _: frame(Kind.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * FRAMES,
    "resets-of-nothing": lambda _: frame(Kind.RST_STREAM, 0, 1, CANCEL) * FRAMES,
}
CUT = {"pings", "small-continuations"}
"""Floods that end their connection."""


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood(target, question, name):
    """20,000 frames cost others nothing but time, the front no memory, and nothing once they are over."""
    with bounded(target, 24), Beside(target, question) as beside, RawConnection(target.port, timeout=20) as attacker:
        attacker.try_to_send(FLOODS[name](attacker))
        assert asks_health(target)
        if name in CUT:
            attacker.end(10)
        beside.wait(180)

    beside.check()
    wait_for(lambda: front(target).busy_share(0.3) < 0.5, "a front that has nothing to do")


def test_taken_back_calls_do_not_run(target, http_port, question):
    """Of 10,000 calls with a key that are taken back at once few reach the model, and never more than streams allow."""
    door = SideDoor(http_port)
    before, most = door.value("accelform_images_total"), 0.0
    with RawConnection(target.port) as attacker:
        block = attacker.block(PREDICT, KEY)
        body = message_of(question)
        for batch in range(50):
            numbers = [2 * (batch * 100 + n) + 1 for n in range(100)]
            sent = attacker.try_to_send(
                b"".join(
                    frame(Kind.HEADERS, Flag.END_HEADERS, n, block)
                    + frame(Kind.DATA, Flag.END_STREAM, n, body)
                    + frame(Kind.RST_STREAM, 0, n, CANCEL)
                    for n in numbers
                )
            )
            most = max(most, door.value("accelform_calls_in_flight"))
            assert sent
    assert asks_health(target)

    assert most <= 200  # those of one connection, and those whose end is on its way
    assert door.value("accelform_images_total") - before < 5000
    assert door.value("accelform_calls_in_flight") == 0


@pytest.mark.parametrize("per_stream", [1, 8])
def test_more_streams_than_there_may_be(target, per_stream):
    """Calls beyond max_concurrent_streams are refused with a code that says they did not run."""
    with RawConnection(target.port) as attacker:
        heads = [attacker.head(PREDICT, KEY) for _ in range(100 + per_stream)]
        attacker.send(b"".join(head for _, head in heads))

        assert attacker.outcome(heads[-1][0]).reset == 7
        assert asks_health(target)


def test_packed_headers_that_unpack_to_much(target):
    """A header of 3.5 KB that is referred to 15,000 times, 50 MB in all, resets its call and costs nothing."""
    long = b"\x40" + b"\x01a" + b"\x7f" + bytes([0x80 | (3500 - 127) & 127, (3500 - 127) >> 7]) + b"x" * 3500
    with bounded(target, 16), RawConnection(target.port) as attacker:
        for n in range(20):
            block = attacker.block(PREDICT, KEY) + (long if not n else b"") + b"\xbe" * 15_000
            attacker.try_to_send(frame(Kind.HEADERS, WHOLE, 2 * n + 1, block[:16384]))
        ended = attacker.outcome(1)

        assert ended.reset is not None or ended.goaway is not None
        assert asks_health(target)


@pytest.mark.parametrize("size", [17_000, 60_000, 1_000_000])
def test_headers_that_are_too_long(target, size):
    """More than 16 KiB of headers are refused, more than 64 reset the call, whether or not a frame holds them."""
    with bounded(target, 16), RawConnection(target.port) as attacker:
        block = attacker.block(PREDICT, (("x-long", "x" * size), *KEY))
        parts = [block[start : start + 16384] for start in range(0, len(block), 16384)]
        sent = frame(Kind.HEADERS, Flag.END_STREAM, 1, parts[0])
        sent += b"".join(frame(Kind.CONTINUATION, 0, 1, part) for part in parts[1:-1])
        attacker.try_to_send(sent + frame(Kind.CONTINUATION, Flag.END_HEADERS, 1, parts[-1]))
        ended = attacker.outcome(1)

    assert ended.status != 0
    assert ended.status is not None or ended.reset is not None or ended.goaway is not None or ended.closed


def test_many_headers(target):
    """A thousand small headers are too many as well."""
    with RawConnection(target.port) as attacker:
        many = tuple((f"x-{n}", "") for n in range(1000))
        attacker.send(frame(Kind.HEADERS, WHOLE, 1, attacker.block(PREDICT, (*many, *KEY))))

        assert attacker.outcome(1).status == 8


def test_replies_that_nobody_reads(target, http_port, question):
    """A client that asks and never reads holds no more than its own streams' replies, and no place in the queue."""
    door = SideDoor(http_port)
    with bounded(target, 32), RawConnection(target.port, timeout=3) as attacker:
        attacker.send(settings(_4=0))
        for _ in range(200):
            stream, head = attacker.head(PREDICT, KEY)
            if not attacker.try_to_send(head + frame(Kind.DATA, Flag.END_STREAM, stream, message_of(question))):
                break
        assert asks_health(target)
        wait_for(lambda: not door.value("accelform_queue_depth"), "an empty queue", 10)
        with Beside(target, question) as beside:
            beside.wait(180)

    beside.check()
