"""Frames over a real socket pair: what arrives is what was sent, and what is no frame is told apart."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelform_runtime.worker import frames
from accelform_runtime.worker.frames import Connection, FrameInvalid, Kind, Outgoing

Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A connection, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.settimeout(20)
        yield Connection(ours), theirs


def header(kind: int, meta: int, body: int, call_id: int = 7) -> bytes:
    return struct.pack("<IIQQ", kind, meta, call_id, body)


META = st.dictionaries(st.text(max_size=8), st.integers(-(2**40), 2**40) | st.text(max_size=8) | st.none(), max_size=4)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**64 - 1), META, st.binary(max_size=3000)), max_size=6),
    st.integers(1, 500),
)
def test_frames_arrive_as_they_were_sent(sent, piece):
    """However the bytes are cut into pieces on their way, each frame comes out whole and in order."""
    there, far = socket.socketpair()
    near, back = socket.socketpair()
    with there, far, near, back:
        for frame in sent:
            Connection(there).send(Outgoing(*frame))
        there.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: far.recv(65536), b""))
        writer = threading.Thread(target=write_in_pieces, args=(back, data, piece))
        writer.start()
        connection = Connection(near)

        for kind, call_id, meta, body in sent:
            frame = connection.receive()
            assert frame is not None
            assert (frame.kind, frame.id, frame.meta, bytes(frame.body)) == (kind, call_id, meta, body)
        assert connection.receive() is None
        writer.join(20)


def write_in_pieces(connected: socket.socket, data: bytes, piece: int) -> None:
    """Sends `data`, at most `piece` bytes at a time, and nothing after it."""
    for start in range(0, len(data), piece):
        connected.sendall(data[start : start + piece])
    connected.shutdown(socket.SHUT_WR)


def test_a_frame_on_the_wire(pair):
    """The bytes are the ones the front reads: little-endian kind, meta's length, id, body's length, meta, body."""
    connection, other = pair

    connection.send(Outgoing(Kind.DONE, 258, {"images": 1}, b"reply"))

    assert other.recv(1000) == b"\x12\0\0\0\x0c\0\0\0\x02\x01\0\0\0\0\0\0\x05\0\0\0\0\0\0\0" + b'{"images":1}reply'


@pytest.mark.parametrize("size", [frames.BUFFER_BYTES - 30, frames.BUFFER_BYTES, 3 * frames.BUFFER_BYTES + 1])
def test_bodies_larger_than_any_buffer(pair, size):
    """A body larger than the socket's buffers and the kept one arrives whole, and so does the frame after it."""
    connection, other = pair
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    far = Connection(other)
    writer = threading.Thread(
        target=lambda: [far.send(Outgoing(Kind.RUN, 1, {}, body)), far.send(Outgoing(Kind.DROP, 2, {}))]
    )
    writer.start()

    first = connection.receive()
    assert first is not None
    assert bytes(first.body) == body
    second = connection.receive()
    writer.join(20)

    assert second is not None
    assert (second.kind, second.id) == (Kind.DROP, 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header(99, 2, 0) + b"{}", "no frame of kind 99"),
        (header(5, 2, 0) + b"{}", "no frame of kind 5"),
        (header(1, frames.MAX_META_BYTES + 1, 0), "bytes of meta; at most"),
        (header(1, 2**32 - 1, 0), "bytes of meta; at most"),
        (header(1, 2, frames.MAX_BODY_BYTES + 1), "bytes of body; at most"),
        (header(1, 2, 2**64 - 1), "bytes of body; at most"),
        (header(1, 0, 0), "not JSON"),
        (header(1, 2, 0) + b"[]", "not a JSON object"),
        (header(1, 3, 0) + b"{\xff}", "not JSON"),
        (header(1, 100_000, 0) + b"[" * 100_000, "not JSON"),
        (header(1, 2, 10) + b"{}12345", "ends after 31 of 36 bytes"),
        (header(1, 2, 10)[:9], "ends after 9 of 24 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_no_frame(pair, data, words):
    """Unknown kinds, lengths beyond the limits, meta that is none, and frames cut short are FrameInvalid."""
    connection, other = pair
    other.sendall(data)
    other.shutdown(socket.SHUT_WR)

    with pytest.raises(FrameInvalid, match=words):
        connection.receive()


def test_a_declared_length_costs_no_memory(pair):
    """A header beyond the limit is refused before its body is waited for."""
    connection, other = pair
    other.sendall(header(1, 2, 2**40))

    with pytest.raises(FrameInvalid):
        connection.receive()


def test_something_has_come_in(pair):
    """`readable` is true from the first byte until everything was received, and when the other end has left."""
    connection, other = pair
    assert not connection.readable()

    other.sendall(header(3, 2, 0) + b"{}" + header(3, 2, 0))
    assert connection.readable()
    connection.receive()
    assert connection.readable()
    other.sendall(b"{}")
    connection.receive()
    assert not connection.readable()

    other.close()
    assert connection.readable()


def test_meta_is_json_whatever_it_holds(pair):
    """Numbers of NumPy and line breaks travel as JSON that any reader takes."""
    connection, other = pair
    connection.send(Outgoing(Kind.REFUSED, 1, {"message": 'a\n"b\ud800'}))

    data = other.recv(1000)

    assert json.loads(data[24:])["message"] == 'a\n"b\ud800'
