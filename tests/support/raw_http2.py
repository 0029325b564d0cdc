"""HTTP/2 with every byte in a test's hands: frames are written as they are asked for, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from types import TracebackType

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WIDE = 2**31 - 1
"""The largest window."""


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    """Flags of frames; ACK and END_STREAM are the same bit."""

    NONE = 0
    END_STREAM = 1
    ACK = 1
    END_HEADERS = 4


@dataclass(frozen=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass(frozen=True)
class Outcome:
    """How a call ended; the first of these that is there tells."""

    status: int | None = None
    """grpc-status."""
    reset: int | None = None
    """Error code of RST_STREAM."""
    goaway: int | None = None
    """Error code of GOAWAY."""
    message: str = ""
    """grpc-message."""
    http: str = ""
    """:status."""
    body: bytes = b""

    @property
    def closed(self) -> bool:
        """Whether the connection ended without a word."""
        return self.status is None and self.reset is None and self.goaway is None and not self.http


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame's bytes; `length` is what its header claims, which need not be true."""
    claimed = len(payload) if length is None else length
    return struct.pack(">I", claimed)[1:] + struct.pack(">BBI", kind & 255, flags, stream) + payload


def message_of(data: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A gRPC message: flag, length, bytes; `length` is what is claimed."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


def settings(**values: int) -> bytes:
    """A SETTINGS frame; settings(_4=65535) is initial window size 65535."""
    payload = b"".join(struct.pack(">HI", int(name.lstrip("_")), value) for name, value in values.items())
    return frame(Kind.SETTINGS, payload=payload)


def literal(fields: Sequence[tuple[str, str]]) -> bytes:
    """Fields of a header block that no table remembers, so that the same bytes may be sent again and again."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    length, rest = b"\x7f", len(data) - 127
    while rest >= 128:
        length, rest = length + bytes([128 | rest & 127]), rest >> 7
    return length + bytes([rest]) + data


class RawConnection:
    """One connection; leaving its context closes it."""

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        greet: bool = True,
        timeout: float = 15.0,
        source: str = "127.0.0.1",
    ) -> None:
        opened = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(source, 0))
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(opened, server_hostname="localhost") if tls else opened
        self._timeout = timeout
        self._decoder = hpack.Decoder()
        self._buffer = b""
        self._next_stream = 1
        if greet:
            window = frame(Kind.WINDOW_UPDATE, payload=struct.pack(">I", WIDE - 65535))
            self.send(PREFACE + settings(_4=WIDE) + window)

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Writes bytes as they are."""
        self.socket.sendall(data)

    def try_to_send(self, data: bytes) -> bool:
        """Writes bytes unless the peer has hung up or takes no more of them."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def new_stream(self) -> int:
        """The next stream's number."""
        number, self._next_stream = self._next_stream, self._next_stream + 2
        return number

    @staticmethod
    def block(path: str, metadata: Sequence[tuple[str, str]] = (), **pseudo: str) -> bytes:
        """The packed headers of a call; block(path, method="GET") changes :method."""
        own = {"method": "POST", "scheme": "http", "path": path, "authority": "localhost", **pseudo}
        fields = [(f":{name}", value) for name, value in own.items()]
        fields += [("content-type", "application/grpc"), ("te", "trailers"), *metadata]
        return literal(fields)

    def head(
        self, path: str, metadata: Sequence[tuple[str, str]] = (), *, flags: int = Flag.END_HEADERS, **pseudo: str
    ) -> tuple[int, bytes]:
        """A new stream's number and its HEADERS frame, which is still to be sent."""
        stream = self.new_stream()
        return stream, frame(Kind.HEADERS, flags, stream, self.block(path, metadata, **pseudo))

    def call(self, path: str, message: bytes, metadata: Sequence[tuple[str, str]] = ()) -> int:
        """Sends a whole call of up to the default window's size; its stream."""
        stream, head = self.head(path, metadata)
        parts = [message[start : start + 16384] for start in range(0, len(message), 16384)] or [b""]
        body = [frame(Kind.DATA, 0, stream, part) for part in parts[:-1]]
        self.send(b"".join([head, *body, frame(Kind.DATA, Flag.END_STREAM, stream, parts[-1])]))
        return stream

    def ask(self, path: str, data: bytes, metadata: Sequence[tuple[str, str]] = ()) -> Outcome:
        """One call with one message, and how it ended."""
        return self.outcome(self.call(path, message_of(data), metadata))

    def frames(self, seconds: float | None = None) -> Iterator[Frame]:
        """What arrives until the peer hangs up. Raises TimeoutError after `seconds`."""
        deadline = time.monotonic() + (self._timeout if seconds is None else seconds)
        while True:
            while len(self._buffer) >= 9:
                length = int.from_bytes(self._buffer[:3], "big")
                if len(self._buffer) < 9 + length:
                    break
                kind, flags, stream = struct.unpack(">BBI", self._buffer[3:9])
                payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
                yield Frame(kind, flags, stream & WIDE, payload)
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return
            finally:
                with contextlib.suppress(OSError):
                    self.socket.settimeout(self._timeout)
            if not more:
                return
            self._buffer += more

    def outcome(self, stream: int, seconds: float | None = None) -> Outcome:
        """Reads until the call on that stream, or its connection, has ended. Other streams' frames are dropped."""
        return self._read(stream, seconds)

    def next_outcome(self, seconds: float | None = None) -> Outcome:
        """Reads until any call, or the connection, has ended. Only for calls that all end in their first header."""
        return self._read(None, seconds)

    def pong(self) -> bool:
        """Whether a PING is answered, and all that was sent before it was read."""
        self.send(frame(Kind.PING, payload=b"answer me"[:8]))
        for came in self.frames():
            if came.kind == Kind.HEADERS:
                self.decoded(came.payload)
            self._acknowledge(came)
            if came.kind == Kind.PING and came.flags & Flag.ACK:
                return True
        return False

    def reply(self, stream: int, seconds: float | None = None) -> bytes:
        """Reads until a DATA frame comes on that stream, whose call goes on; b"" when the connection ends before."""
        for came in self.frames(seconds):
            if came.kind == Kind.HEADERS:
                self.decoded(came.payload)
            self._acknowledge(came)
            if came.kind == Kind.DATA and came.stream == stream:
                return came.payload
        return b""

    def _read(self, stream: int | None, seconds: float | None) -> Outcome:
        body, goaway, http = b"", None, ""
        for came in self.frames(seconds):
            fields: dict[str, str] = {}
            if came.kind == Kind.HEADERS:
                fields = {str(name): str(value) for name, value in self.decoded(came.payload)}
            elif came.kind == Kind.GOAWAY:
                goaway = int.from_bytes(came.payload[4:8], "big")
            else:
                self._acknowledge(came)
            if stream is not None and came.stream != stream:
                continue
            if came.kind == Kind.DATA:
                body += came.payload
            elif came.kind == Kind.RST_STREAM and stream is not None:
                return Outcome(reset=int.from_bytes(came.payload, "big"), http=http, body=body)
            elif came.kind == Kind.HEADERS:
                http = fields.get(":status", http)
                if "grpc-status" in fields:
                    told = fields.get("grpc-message", "")
                    return Outcome(int(fields["grpc-status"]), message=told, http=http, body=body)
                if came.flags & Flag.END_STREAM:
                    return Outcome(http=http, body=body)
        return Outcome(goaway=goaway)

    def _acknowledge(self, came: Frame) -> None:
        if came.kind == Kind.SETTINGS and not came.flags & Flag.ACK:
            self.try_to_send(frame(Kind.SETTINGS, Flag.ACK))
        elif came.kind == Kind.PING and not came.flags & Flag.ACK:
            self.try_to_send(frame(Kind.PING, Flag.ACK, 0, came.payload))

    def decoded(self, block: bytes) -> list[tuple[str, str]]:
        """The fields of a header block; every block has to come by here, in order."""
        return list(self._decoder.decode(block))  # type: ignore[arg-type]  # they are str, whatever hpack declares

    def end(self, seconds: float | None = None) -> int | None:
        """Reads until the peer hangs up; the error code of its GOAWAY, if it said one."""
        goaway = None
        for came in self.frames(seconds):
            if came.kind == Kind.GOAWAY:
                goaway = int.from_bytes(came.payload[4:8], "big")
        return goaway
