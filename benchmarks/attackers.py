"""What peers that mean harm send: by name, without end, over one connection each."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np
from tests.support.pictures import header_of, progressive
from tests.support.raw_http2 import PREFACE, Flag, Kind, RawConnection, frame, message_of, settings

from accelform_runtime.protocol import PREDICT, predict_pb2, tensors

MEBIBYTE = 2**20
THREADS = 4
MOST_SECONDS = 30.0
MOST_IDLE = 1200
"""Connections held, more than a server has places for."""
WHOLE = Flag.END_HEADERS | Flag.END_STREAM
CANCEL = struct.pack(">I", 8)
WATCH = "/grpc.health.v1.Health/Watch"
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
MULTI = "/tensorflow.serving.PredictionService/MultiInference"

Metadata = tuple[tuple[str, str], ...]
Attack = Callable[[RawConnection, Metadata], Iterator[bytes]]
"""What to send over one connection, without end or until it has none."""


def _calls(path: str, padding: int = 12_000) -> Attack:
    def send(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
        while True:
            heads = [connection.head(path, (("x", "y" * padding), *key), flags=WHOLE)[1] for _ in range(50)]
            yield b"".join(heads)

    return send


def _watch_tails(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    streams = []
    for _ in range(100):
        stream, head = connection.head(WATCH, key)
        yield head + frame(Kind.DATA, 0, stream, message_of(b""))
        streams.append(stream)
    for stream in streams:
        yield frame(Kind.DATA, 0, stream, bytes(16384)) * 32


def _unfinished(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    while True:
        streams = []
        for _ in range(100):
            stream, head = connection.head(PREDICT, key)
            yield head + frame(Kind.DATA, 0, stream, struct.pack(">BI", 0, 16 * MEBIBYTE))
            streams.append(stream)
        for stream in streams:
            yield frame(Kind.DATA, 0, stream, bytes(16384)) * 63


def _messages(path: str, message: bytes, metadata: Metadata = ()) -> Attack:
    parts = [message[start : start + 16384] for start in range(0, len(message), 16384)]

    def send(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
        while True:
            stream, head = connection.head(path, (*metadata, *key))
            body = b"".join(frame(Kind.DATA, 0, stream, part) for part in parts)
            yield head + body + frame(Kind.DATA, Flag.END_STREAM, stream)

    return send


def _packed(path: str, message: bytes) -> Attack:
    return _messages(path, message_of(gzip.compress(message), compressed=1), (("grpc-encoding", "gzip"),))


def _within(data: bytes, *fields: int) -> bytes:
    """The bytes as a field of a message that is a field of a message and so on, the outermost first."""
    for number in reversed(fields):
        length, size = b"", len(data)
        while size >= 128:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        data = bytes([number << 3 | 2]) + length + bytes([size]) + data
    return data


def _scans(side: int) -> Attack:
    request = predict_pb2.PredictRequest()
    image = header_of(progressive(190), side, side)
    request.inputs["images"].CopyFrom(tensors.from_numpy(np.array([image], dtype=np.object_)))
    return _messages(PREDICT, message_of(request.SerializeToString()))


def _resets(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    while True:
        sent = [connection.head(PREDICT, key) for _ in range(200)]
        yield b"".join(head + frame(Kind.RST_STREAM, 0, stream, CANCEL) for stream, head in sent)


def _continuations(connection: RawConnection, key: Metadata) -> Iterator[bytes]:
    yield connection.head(PREDICT, key, flags=Flag.NONE)[1]
    while True:
        yield frame(Kind.CONTINUATION, 0, 1, b"\0\1a\1b") * 500


def _again(sent: bytes) -> Attack:
    def send(_connection: RawConnection, _key: Metadata) -> Iterator[bytes]:
        while True:
            yield sent

    return send


MANY = b"\x0a\0" * (8 * MEBIBYTE - 32)
"""Eight million empty messages."""
IDLE, LOG = "idle_connections", "unread_log"
ATTACKS: dict[str, Callable[[], Attack]] = {
    "names_without_slash": lambda: _calls("no/slash"),
    "refused_calls": lambda: _calls("/no/method"),
    "watch_tails": lambda: _watch_tails,
    "jpeg_scans": lambda: _scans(6300),
    "costly_jpegs": lambda: _scans(1600),
    "unfinished_messages": lambda: _unfinished,
    "packed_reloads": lambda: _packed(RELOAD, _within(MANY, 1, 1)),
    "packed_dims": lambda: _packed(PREDICT, _within(b"\x12\0" * (8 * MEBIBYTE - 32), 2, 2, 2)),
    "packed_tasks": lambda: _packed(MULTI, MANY),
    "resets": lambda: _resets,
    "pings": lambda: _again(frame(Kind.PING, payload=bytes(8)) * 500),
    "settings": lambda: _again(settings(_3=100) * 500),
    "continuations": lambda: _continuations,
    LOG: lambda: _calls(PREDICT, 100),
    IDLE: lambda: _again(b""),
}
"""IDLE holds connections from its address and another one, LOG makes lines of a log that nobody reads. A JPEG of 6300
pixels a side is refused for its scans, one of 1600 is as much work as any that is taken."""


def attack(told: Connection) -> None:
    """A process that attacks as `told`: (name, port, source addresses, metadata), None to stop, and at last "end".

    It says True when it has begun, and after None how many connections and bytes it made.
    """
    # Attackers sit on other machines: here they take the processor time that is left.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while (order := told.recv()) != "end":
        name, port, sources, key = order
        made, over, counts = ATTACKS[name](), threading.Event(), [0, 0]
        work = _hold if name == IDLE else _send
        jobs = [(made, port, sources[at % len(sources)], key, over, counts) for at in range(THREADS)]
        threads = [threading.Thread(target=work, args=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        over.wait(0.2)  # the attack is under way when it is measured
        told.send(True)
        if told.poll(MOST_SECONDS):
            told.recv()
        over.set()
        for thread in threads:
            thread.join()
        told.send(tuple(counts))


def _send(made: Attack, port: int, source: str, key: Metadata, over: threading.Event, counts: list[int]) -> None:
    """Sends until it is over; a connection that is cut is made again."""
    while not over.is_set():
        with contextlib.suppress(OSError), RawConnection(port, timeout=1, source=source) as connection:
            counts[0] += 1
            for sent in made(connection, key):
                connection.send(sent)
                counts[1] += len(sent)
                if over.is_set() or _hung_up(connection.socket):
                    break


def _hung_up(peer: socket.socket) -> bool:
    """Reads what there is, so that no reply waits."""
    peer.setblocking(False)
    try:
        while peer.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    finally:
        peer.settimeout(1)


def _hold(_made: Attack, port: int, source: str, _key: Metadata, over: threading.Event, counts: list[int]) -> None:
    """As many connections as it gets, which say their greeting and nothing more; each lost one is made again."""
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        while not over.is_set():
            if len(held) >= MOST_IDLE // THREADS:
                held = [one for one in held if not _hung_up(one)]
                time.sleep(0.05)
                continue
            with contextlib.suppress(OSError):
                opened = stack.enter_context(socket.create_connection(("127.0.0.1", port), 1, (source, 0)))
                held.append(opened)
                counts[0] += 1
                opened.sendall(PREFACE + settings())
