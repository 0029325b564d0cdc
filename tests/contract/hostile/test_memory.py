"""What peers can make the front hold: each bound is stated here, and measured."""

from __future__ import annotations

import contextlib
import gzip
import struct

import pytest
from tests.contract.hostile.conftest import KEY, bounded
from tests.contract.hostile.watching import asks_health
from tests.support.raw_http2 import Flag, Kind, RawConnection, frame, message_of
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List", "/grpc.health.v1.Health/Watch")
STREAMS = 100
HALF = 2**19
SHORT = 2**12


def begin(connection: RawConnection, method: str, length: int, metadata=()) -> list[int]:
    """Declares a message of that length on as many streams as a connection may have."""
    streams = []
    for _ in range(STREAMS):
        stream, head = connection.head(method, metadata)
        connection.send(head + frame(Kind.DATA, 0, stream, struct.pack(">BI", 0, length)))
        streams.append(stream)
    return streams


def fill(connection: RawConnection, streams: list[int], size: int) -> None:
    """Sends that many bytes on each stream, in turns."""
    for _ in range(size // 16384):
        for stream in streams:
            connection.send(frame(Kind.DATA, 0, stream, bytes(16384)))


@pytest.mark.parametrize("method", HEALTH)
def test_who_has_no_key_sends_no_long_message(target, method):
    """A health call of more than 4 KiB ends before its bytes count; 100 unfinished ones cost next to nothing."""
    with bounded(target, 24), RawConnection(target.port) as connection:
        streams = begin(connection, method, 16_000_000)
        fill(connection, streams, HALF)

        assert connection.outcome(streams[0]).status == 8
        assert asks_health(target)


def test_a_short_question_is_answered(target):
    """4 KiB are a question; one more, also after inflation, is RESOURCE_EXHAUSTED."""
    name = b"\x0a" + bytes([0x80 | (SHORT - 3) & 0x7F, (SHORT - 3) >> 7]) + b"x" * (SHORT - 3)
    packed = (("grpc-encoding", "gzip"),)
    with RawConnection(target.port) as connection:
        assert len(name) == SHORT
        assert connection.ask(HEALTH[0], name).status == 5
        assert connection.ask(HEALTH[0], name + b"x").status == 8
        for data, status in ((b"", 0), (name, 5), (name + b"\n\0", 8), (bytes(2**20), 8)):
            stream = connection.call(HEALTH[0], message_of(gzip.compress(data), compressed=1), packed)
            assert connection.outcome(stream).status == status
        for data in (b"", b"\x1f\x8b", gzip.compress(b"")[:-3]):
            stream = connection.call(HEALTH[0], message_of(data, compressed=1), packed)
            assert connection.outcome(stream).status == 3


@pytest.mark.parametrize("method", [HEALTH[0], HEALTH[2]])
def test_health_calls_that_stay_open(target, method):
    """A connection may have 100 of them, and ten when there are 2,000 in all; a new one is answered all the same."""
    with bounded(target, 96), contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(RawConnection(target.port)) for _ in range(22)]
        for connection in crowd:
            connection.send(b"".join(connection.head(method)[1] for _ in range(STREAMS)))
            assert connection.pong()
        late = stack.enter_context(RawConnection(target.port))
        late.send(b"".join(late.head(method)[1] for _ in range(STREAMS)))

        assert [late.next_outcome().status for _ in range(STREAMS - 10)] == [8] * (STREAMS - 10)
        assert asks_health(target)
        for connection in crowd:
            connection.close()
        wait_for(lambda: late.ask(HEALTH[0], b"").status == 0, "room for another")


@pytest.mark.parametrize("path", [PREDICT, "/nothing", "/tensorflow.serving.PredictionService/Nothing"])
def test_calls_that_were_refused_are_forgotten(target, path):
    """Calls without a key and with as many headers as there may be leave nothing behind while others come."""
    padding = (("x-padding", "x" * 15_000),)
    with bounded(target, 48), RawConnection(target.port) as connection:
        for _ in range(120):
            calls = [connection.head(path, padding, flags=Flag.END_HEADERS | Flag.END_STREAM) for _ in range(50)]
            connection.send(b"".join(head for _, head in calls))
            assert {connection.next_outcome().status for _ in calls} <= {12, 16}


@pytest.mark.parametrize("method", [PREDICT, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"])
def test_without_a_key_no_message_is_taken_in(target, method):
    """Of calls that show no key nothing is kept: their 50 MiB come and go."""
    with bounded(target, 32), RawConnection(target.port) as connection:
        streams = begin(connection, method, 16_000_000)
        fill(connection, streams, HALF)

        assert connection.outcome(streams[0]).status == 16


def test_with_a_key_the_windows_bound_it(target):
    """A key's holder gets what it declares: 100 messages of 512 KiB under way are 50 MiB, and go when it hangs up."""
    with bounded(target, 96):
        with RawConnection(target.port) as connection:
            fill(connection, begin(connection, PREDICT, HALF + 1, KEY), HALF)
            assert asks_health(target)
        assert asks_health(target)
