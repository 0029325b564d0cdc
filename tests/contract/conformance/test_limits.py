"""Messages at and beyond the limit, plain and compressed, and what they cost the server."""

from __future__ import annotations

import socket
import struct
import time

import grpc
import pytest
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamReset, TrailersReceived
from tests.contract.conformance.conftest import SERVERS
from tests.contract.conformance.row import KEY

from accelform_runtime.protocol import PREDICT, predict_pb2, types_pb2

LIMIT = SERVERS["small"]["max_request_bytes"]
AUTHORIZED = (("authorization", f"Bearer {KEY}"),)
MEBIBYTE = 2**20


@pytest.fixture
def small(server):
    return server("small")


def message(size: int) -> bytes:
    """A PredictRequest of exactly that many bytes, whose image is none."""
    asked = predict_pb2.PredictRequest()
    asked.inputs["images"].dtype = types_pb2.DT_STRING
    asked.inputs["images"].string_val.append(bytes(size - 100))
    asked.inputs["images"].string_val[0] += bytes(size - asked.ByteSize())
    assert asked.ByteSize() == size
    return bytes(asked.SerializeToString())


def refused(service, data: bytes, compression=grpc.Compression.NoCompression) -> grpc.StatusCode:
    """The status a call ends with."""
    call = service.channel().unary_unary(PREDICT)
    with pytest.raises(grpc.RpcError) as raised:
        call(data, timeout=30, metadata=AUTHORIZED, compression=compression)
    return raised.value.code()


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("size", "code"),
    [
        (LIMIT - 1, grpc.StatusCode.INVALID_ARGUMENT),
        (LIMIT, grpc.StatusCode.INVALID_ARGUMENT),
        (LIMIT + 1, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_around_the_limit(small, size, code, compression):
    """A message of the limit's size reaches the decoder, also compressed; one byte more is RESOURCE_EXHAUSTED."""
    assert refused(small, message(size), compression) is code


def test_a_compressed_bomb_costs_no_memory(small):
    """A message that unpacks to a thousand times the limit is refused, and the server does not grow with it."""
    before = peak(small.process.pid)

    assert refused(small, bytes(256 * MEBIBYTE), grpc.Compression.Gzip) is grpc.StatusCode.RESOURCE_EXHAUSTED

    assert peak(small.process.pid) - before < 32 * MEBIBYTE
    assert small.health() == 1


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31 - 1, 2**32 - 1])
def test_a_declared_length_costs_no_memory(small, length):
    """A length beyond the limit is refused before its bytes arrive."""
    before = peak(small.process.pid)

    status = declare(small.port, length)

    assert status in (str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]), "reset")
    assert peak(small.process.pid) - before < 32 * MEBIBYTE
    assert small.health() == 1


def peak(process: int) -> int:
    """Most bytes of memory the process has held."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        (line,) = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def declare(port: int, length: int) -> str:
    """Opens a call, declares a message of that length, sends none of it; the grpc-status, or that it was reset."""
    connection = H2Connection()
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PREDICT),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *AUTHORIZED,
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, struct.pack(">BI", 0, length))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        opened.sendall(connection.data_to_send())
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for event in connection.receive_data(opened.recv(65536)):
                if isinstance(event, ResponseReceived | TrailersReceived):
                    found = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers}
                    if "grpc-status" in found:
                        return found["grpc-status"]
                if isinstance(event, StreamReset):
                    return "reset"
            opened.sendall(connection.data_to_send())
    return "nothing"
