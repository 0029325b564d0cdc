"""Clients that send rubbish, and what others notice of it: nothing."""

from __future__ import annotations

import os
import random
import socket

import pytest
from grpc import StatusCode

from accelform_runtime.protocol import predict_pb2, types_pb2


def talk(address: str, data: bytes) -> None:
    """Writes raw bytes to the port and hangs up, whatever comes back."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.settimeout(5)
        try:
            connection.sendall(data)
            connection.recv(1024)
        except OSError:
            return


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + random.Random(1).randbytes(4096),
        random.Random(2).randbytes(65536),
        b"\x16\x03\x01\x02\x00\x01" + b"\x00" * 512,
    ],
    ids=["silence", "http1", "frames-of-ones", "random-frames", "random", "tls"],
)
def test_bytes_that_are_no_grpc(service, image, request_of, data):
    """Random bytes, HTTP/1, TLS and broken frames end their own connection only."""
    talk(service.address, data)

    response, _ = service.predict(request_of(image()))
    assert response.outputs
    assert service.process.poll() is None


def test_messages_that_are_no_request(service):
    """Bytes that are no PredictRequest are INVALID_ARGUMENT."""
    randomness = random.Random(3)

    codes = {service.refusal(b"\xff" + randomness.randbytes(length)).code() for length in (0, 1, 10, 1000, 100_000)}

    assert codes == {StatusCode.INVALID_ARGUMENT}


@pytest.mark.parametrize(
    "dimensions",
    [[-1], [2**62, 2**62], [2**63 - 1], [0], [2], [1, 1], [1] * 300],
    ids=["negative", "overflowing", "huge", "empty", "mismatch", "rank-2", "deep"],
)
def test_shapes_that_lie(service, image, dimensions):
    """Shapes that contradict their values are INVALID_ARGUMENT and cost no memory."""
    request = predict_pb2.PredictRequest()
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_STRING
    for size in dimensions:
        tensor.tensor_shape.dim.add(size=size)
    tensor.string_val.append(image())

    error = service.refusal(request.SerializeToString())

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert resident_mebibytes(service.process.pid) < 600


def test_pixel_bomb(service, request_of):
    """A header that promises a huge image is refused before a pixel is decoded."""
    ihdr = (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", b"\x78\x9c\x03\x00\x00\x00\x00\x01")

    error = service.refusal(request_of(bomb + chunk(b"IEND", b"")))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "60000 x 60000" in error.details()


def test_names_cannot_forge_log_lines(service, image, request_of):
    """Line breaks in a name stay inside one JSON log line."""
    name = 'x"\n{"event": "forged"}'

    error = service.refusal(request_of(image(), input_name=name))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert service.events("forged") == []


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    import zlib

    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def resident_mebibytes(pid: int) -> float:
    """Memory the process holds now."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
