"""Frames between the front and its worker, over a Unix stream socket.

A frame is a header of 24 bytes (kind, length of meta, id, length of body; little-endian), `meta` as a JSON object in
UTF-8, and `body` as bytes. Lengths are checked before memory is taken for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import select
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from accelform_runtime.errors import InternalError

HEADER: Final = struct.Struct("<IIQQ")
MAX_META_BYTES: Final = 1024 * 1024
MAX_BODY_BYTES: Final = 1 << 30
"""As large as a service's max_request_bytes may be."""
SOCKET_BYTES: Final = 1024 * 1024
BUFFER_BYTES: Final = 4 * 1024 * 1024
"""Kept from frame to frame, so that a usual one costs no memory; a larger frame brings its own, and takes it along."""

_JSON: Final = json.JSONEncoder(separators=(",", ":"), default=str)


class Kind(enum.IntEnum):
    """What a frame is."""

    LOAD = 0
    RUN = 1
    CONTINUE = 2
    DROP = 3
    PING = 4
    READY = 16
    FAILED = 17
    DONE = 18
    PROGRESS = 19
    REFUSED = 20
    PONG = 21


class FrameInvalid(InternalError):
    """Bytes that are no frame; nothing after them can be trusted."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame that came in."""

    kind: Kind
    id: int
    meta: Mapping[str, Any]
    body: memoryview
    """Holds until the next frame is received."""


@dataclasses.dataclass(frozen=True)
class Outgoing:
    """A frame to send."""

    kind: Kind
    id: int
    meta: Mapping[str, Any]
    body: bytes | memoryview = b""


class Connection:
    """One end of the socket. Not thread-safe."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0

    def receive(self) -> Frame | None:
        """The next frame, or None where the other end has left between two frames.

        Raises FrameInvalid for bytes that are no frame, also one that was cut short.
        """
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > BUFFER_BYTES:
                self._buffer = memoryview(bytearray(BUFFER_BYTES))
        if not self._fill(HEADER.size):
            return None
        number, meta_length, call_id, body_length = HEADER.unpack_from(self._buffer, self._start)
        kind = _kind(number)
        for what, length, most in (("meta", meta_length, MAX_META_BYTES), ("body", body_length, MAX_BODY_BYTES)):
            if length > most:
                raise FrameInvalid(
                    f"a frame of kind {kind.name} has {length} bytes of {what}; at most {most} are taken"
                )
        self._fill(HEADER.size + meta_length + body_length)
        middle = self._start + HEADER.size + meta_length
        meta = _object(self._buffer[self._start + HEADER.size : middle])
        body = self._buffer[middle : middle + body_length].toreadonly()
        self._start = middle + body_length
        return Frame(kind, call_id, meta, body)

    def send(self, frame: Outgoing) -> None:
        """Sends `frame` whole. Raises OSError when the other end has left."""
        meta = _JSON.encode(frame.meta).encode()
        head = HEADER.pack(frame.kind, len(meta), frame.id, len(frame.body)) + meta
        parts: Sequence[bytes | memoryview] = (head, frame.body) if frame.body else (head,)
        sent, total = self._socket.sendmsg(parts), len(head) + len(frame.body)
        if sent < len(head):
            self._socket.sendall(head[sent:])
            sent = len(head)
        if sent < total:
            self._socket.sendall(memoryview(frame.body)[sent - len(head) :])

    def readable(self) -> bool:
        """Whether something has come in that `receive` has not given out yet, or the other end has left."""
        return self._end > self._start or bool(self._poll.poll(0))

    def wait(self, other: int, seconds: float) -> None:
        """Returns when something has come in here or can be read from `other`, or after that time."""
        if self.readable():
            return
        both = select.poll()
        for descriptor in (self._socket.fileno(), other):
            both.register(descriptor, select.POLLIN)
        both.poll(seconds * 1000)

    def _fill(self, wanted: int) -> bool:
        """Reads until `wanted` bytes are there; False where there is none and none will come."""
        if self._start + wanted > len(self._buffer):
            kept = self._end - self._start
            larger = memoryview(bytearray(wanted)) if wanted > len(self._buffer) else self._buffer
            larger[:kept] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = larger, 0, kept
        while self._end - self._start < wanted:
            count = self._socket.recv_into(self._buffer[self._end :])
            if count == 0:
                if self._end == self._start:
                    return False
                raise FrameInvalid(f"the last frame ends after {self._end - self._start} of {wanted} bytes")
            self._end += count
        return True


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError as error:
        raise FrameInvalid(f"there is no frame of kind {number}") from error


def _object(text: memoryview) -> dict[str, Any]:
    try:
        meta = json.loads(bytes(text))
    except (ValueError, RecursionError) as error:
        raise FrameInvalid(f"a frame's meta is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise FrameInvalid("a frame's meta is not a JSON object")
    return meta
