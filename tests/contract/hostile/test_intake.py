"""What has come and is not admitted yet has one budget, on every port, and so has the time that a reply may wait."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable

import grpc
import pytest
from tests.contract.hostile.conftest import KEY, SETTINGS, bounded, hang_up
from tests.contract.hostile.mutations import MODEL, PREDICTION
from tests.contract.hostile.watching import Beside, asks_health, front, worker
from tests.contract.runtime.conftest import wait_until_serving
from tests.support.ports import free_port
from tests.support.raw_http2 import Flag, Kind, RawConnection, frame, message_of, settings
from tests.support.waiting import wait_for

from accelform_runtime.protocol import PREDICT

HEALTH = "/grpc.health.v1.Health/"
RESOURCE_EXHAUSTED, INVALID_ARGUMENT, UNIMPLEMENTED, UNAUTHENTICATED, DEADLINE_EXCEEDED = 8, 3, 12, 16, 4
MEBIBYTE = 2**20
MANY = 8 * MEBIBYTE
WHOLE = Flag.END_HEADERS | Flag.END_STREAM
RECEIVE = SETTINGS["receive_timeout_seconds"]


@pytest.fixture(scope="session")
def probed(tmp_path_factory, bundle, started):
    """A server with a port for probes, and that port."""
    port = free_port()
    folder = tmp_path_factory.mktemp("probed") / "service"
    service = wait_until_serving(started(folder, bundle, {**SETTINGS, "health_port": port}))
    hang_up(service)
    return service, port


@pytest.fixture(params=["grpc", "probes"])
def open_port(request, probed):
    """A port where who has no key may ask for health."""
    service, port = probed
    return service, service.port if request.param == "grpc" else port


def data_of(stream: int, size: int) -> bytes:
    """That many bytes of DATA."""
    return frame(Kind.DATA, 0, stream, bytes(16384)) * (size // 16384)


@pytest.mark.parametrize("path", ["nothing/here", "x", "", "a/b/c", "//", "/"])
def test_names_that_are_none(open_port, path):
    """A call whose name does not begin with a slash ends at once, and its headers with it."""
    service, port = open_port
    padding = (("x-padding", "x" * 15_000),)
    with bounded(service, 32), RawConnection(port) as connection:
        for _ in range(60):
            calls = [connection.head(path, padding, flags=Flag.END_HEADERS | Flag.END_STREAM) for _ in range(50)]
            connection.send(b"".join(head for _, head in calls))
            assert {connection.next_outcome().status for _ in calls} <= {UNIMPLEMENTED, 16}


def test_calls_that_do_no_work_are_slowed(target, question):
    """5,000 calls without a key on one connection take three seconds at least, and others are answered meanwhile."""
    begun = time.monotonic()
    with Beside(target, question) as beside, RawConnection(target.port, timeout=60) as connection:
        for _ in range(100):
            calls = [connection.head(PREDICT, flags=WHOLE)[1] for _ in range(50)]
            connection.send(b"".join(calls))
            assert {connection.next_outcome().status for _ in calls} == {UNAUTHENTICATED}
        beside.wait(180)

    assert time.monotonic() - begun > 3
    beside.check()


def test_a_watch_takes_one_message(open_port):
    """A Watch whose caller sends more after its message ends, and 400 of them hold nothing."""
    service, port = open_port
    with bounded(service, 40), contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(RawConnection(port))
            streams = []
            for _ in range(100):
                stream, head = connection.head(f"{HEALTH}Watch")
                connection.send(head + frame(Kind.DATA, 0, stream, message_of(b"")))
                streams.append(stream)
            assert connection.pong()
            for stream in streams:
                connection.send(data_of(stream, 2**19))
            assert connection.outcome(streams[-1]).status == INVALID_ARGUMENT
        assert asks_health(service)


def test_a_tail_that_comes_with_the_message(open_port):
    """The same where the tail is there before the message is read."""
    _, port = open_port
    with RawConnection(port) as connection:
        stream, head = connection.head(f"{HEALTH}Watch")
        connection.send(head + frame(Kind.DATA, 0, stream, message_of(b"") + bytes(8192)))

        assert connection.outcome(stream).status == INVALID_ARGUMENT


def test_messages_under_way_have_a_budget(target, question):
    """100 messages of 16 MiB on one connection, all but whole, hold 48 MiB; the others end, and short calls go on."""
    with bounded(target, 110), Beside(target, question) as beside, RawConnection(target.port, timeout=60) as attacker:
        streams = []
        for _ in range(100):
            stream, head = attacker.head(PREDICT, KEY)
            attacker.send(head + frame(Kind.DATA, 0, stream, struct.pack(">BI", 0, 16 * MEBIBYTE)))
            streams.append(stream)
        for stream in streams:
            attacker.send(data_of(stream, MEBIBYTE))
        assert attacker.next_outcome().status == RESOURCE_EXHAUSTED
        assert asks_health(target)
        beside.wait(180)

    beside.check()


def test_room_comes_back(target, question):
    """When the messages that filled the budget are gone, one of almost 16 MiB is taken in."""
    with RawConnection(target.port, timeout=60) as attacker:
        for _ in range(60):
            stream, head = attacker.head(PREDICT, KEY)
            start = frame(Kind.DATA, 0, stream, struct.pack(">BI", 0, 16 * MEBIBYTE))
            attacker.send(head + start + data_of(stream, MEBIBYTE))
        assert attacker.next_outcome().status in (RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED)
    unknown = b"\x9a\x06" + b"\x80\x80\xc0\x07" + bytes(15 * MEBIBYTE)  # a field that nobody knows

    def taken() -> bool:
        with contextlib.suppress(grpc.RpcError):
            return bool(target.predict(question + unknown, timeout=20))
        return False

    wait_for(taken, "room")


@pytest.mark.parametrize("size", [17_000, 20_000, 60_000])
def test_too_much_metadata_ends_its_call_alone(target, question, size):
    """More than 16 KiB of metadata is RESOURCE_EXHAUSTED for that call, and those beside it are answered."""
    with RawConnection(target.port) as connection:
        beside, head = connection.head(PREDICT, KEY)
        connection.send(head)
        block = connection.block(PREDICT, (("x-long", "x" * size), *KEY))
        parts = [block[start : start + 16384] for start in range(0, len(block), 16384)]
        long = connection.new_stream()
        sent = frame(Kind.HEADERS, Flag.END_STREAM, long, parts[0])
        sent += b"".join(frame(Kind.CONTINUATION, 0, long, part) for part in parts[1:-1])
        connection.send(sent + frame(Kind.CONTINUATION, Flag.END_HEADERS, long, parts[-1]))
        refused = connection.outcome(long)
        assert refused.status == RESOURCE_EXHAUSTED
        assert "16384" in refused.message

        connection.send(frame(Kind.DATA, Flag.END_STREAM, beside, message_of(question)))
        assert connection.outcome(beside).status == 0


def repeated(field: int, count: int, *around: int) -> bytes:
    """That many empty messages in a field, within these."""
    data = bytes([field << 3 | 2, 0]) * count
    for outer in reversed(around):
        length, size = b"", len(data)
        while size >= 128:
            length, size = length + bytes([128 | size & 127]), size >> 7
        data = bytes([outer << 3 | 2]) + length + bytes([size]) + data
    return data


SHORT_ONLY = {
    f"{MODEL}HandleReloadConfigRequest": repeated(1, MANY - 8, 1, 1),
    f"{MODEL}GetModelStatus": repeated(1, MANY - 8),
    f"{PREDICTION}GetModelMetadata": repeated(2, MANY - 8),
}


@pytest.mark.parametrize("method", SHORT_ONLY)
@pytest.mark.parametrize("packing", ["", "gzip", "deflate"])
def test_requests_without_pictures_are_short(target, method, packing):
    """More than 64 KiB to reload, for status or for metadata is refused unread, however short it is packed."""
    message = SHORT_ONLY[method]
    pack: dict[str, Callable[[bytes], bytes]] = {"": bytes, "gzip": gzip.compress, "deflate": deflated}
    packed = pack[packing](message)
    metadata = (*KEY, *((("grpc-encoding", packing),) if packing else ()))
    with bounded(target, 16), RawConnection(target.port, timeout=30) as connection:
        stream, head = connection.head(method, metadata)
        sent = message_of(packed, compressed=int(bool(packing)))[:65536]
        parts = [sent[at : at + 16384] for at in range(0, len(sent), 16384)]
        connection.send(head + b"".join(frame(Kind.DATA, 0, stream, part) for part in parts))

        assert connection.outcome(stream).status == RESOURCE_EXHAUSTED


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


HEAVY = {
    "tasks": (f"{PREDICTION}MultiInference", repeated(1, MANY - 8)),
    "dims": (PREDICT, repeated(2, MANY - 16, 2, 2, 2)),
    "strings": (PREDICT, repeated(3, MANY - 8)),
    "examples": (f"{PREDICTION}Classify", repeated(1, MANY - 16, 2, 1)),
}


@pytest.mark.parametrize("name", HEAVY)
def test_messages_that_cost_more_than_their_bytes(target, name):
    """Millions of empty parts in 16 KB of gzip are refused before they are parsed: neither process grows by them."""
    method, message = HEAVY[name]
    child = worker(target)
    before = child.forget_peak()
    with bounded(target, 80), RawConnection(target.port, timeout=30) as connection:
        packed = message_of(gzip.compress(message[: 16 * MEBIBYTE]), compressed=1)
        stream = connection.call(method, packed, (("grpc-encoding", "gzip"), *KEY))

        assert connection.outcome(stream).status == INVALID_ARGUMENT
    assert child.peak() - before < 32 * MEBIBYTE


def test_packed_messages_count_by_what_they_become(target):
    """100 calls of 16 KB that unpack to 16 MiB each, at once, are no more than the budget."""
    bomb = message_of(gzip.compress(bytes(15 * MEBIBYTE)), compressed=1)
    with bounded(target, 200), RawConnection(target.port, timeout=60) as connection:
        for _ in range(100):
            stream, head = connection.head(PREDICT, (("grpc-encoding", "gzip"), *KEY))
            connection.send(head + frame(Kind.DATA, 0, stream, bomb))
        assert asks_health(target)


@pytest.mark.parametrize("packing", ["gzip", "deflate", "identity"])
def test_packings(target, question, packing):
    """gzip and deflate are taken, by gRPC's own client too."""
    pack: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": deflated, "identity": bytes}
    with RawConnection(target.port) as connection:
        metadata = (("grpc-encoding", packing), *KEY)
        message = message_of(pack[packing](question), compressed=int(packing != "identity"))
        assert connection.outcome(connection.call(PREDICT, message, metadata)).status == 0
    kinds = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
    kind = kinds.get(packing, grpc.Compression.NoCompression)
    with grpc.insecure_channel(target.address) as channel:
        assert channel.unary_unary(PREDICT)(question, timeout=10, metadata=KEY, compression=kind)


def test_replies_that_are_not_read_end(target, question):
    """A reply that its caller's window keeps in is dropped after receive_timeout_seconds, and its place is free."""
    with RawConnection(target.port, timeout=30) as attacker:
        attacker.send(settings(_4=0))
        for _ in range(10):
            for _ in range(10):
                stream, head = attacker.head(PREDICT, KEY)
                attacker.send(head + frame(Kind.DATA, Flag.END_STREAM, stream, message_of(question)))
            assert attacker.pong()
        wait_for(lambda: attacker.ask(f"{HEALTH}List", b"\xff").status == INVALID_ARGUMENT, "places", RECEIVE * 4 + 10)
    assert asks_health(target)


def test_a_connection_that_is_not_read_ends(target, question):
    """Who sends calls and takes none of the replies from its socket is hung up on."""
    files = front(target).files()
    with RawConnection(target.port, timeout=RECEIVE * 4) as attacker:
        attacker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        block = attacker.block("/nothing/" + "y" * 3000, KEY)  # its reply names it
        number = attacker.new_stream()
        with contextlib.suppress(OSError):
            while True:  # until the front takes no more of it, and then until it hangs up
                attacker.send(b"".join(frame(Kind.HEADERS, WHOLE, number + 2 * n, block) for n in range(50)))
                number += 100
        wait_for(lambda: front(target).files() <= files, "an end of the connection", RECEIVE * 4 + 10)
