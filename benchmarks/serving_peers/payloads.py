"""A load's value as each protocol carries it: what is sent is made once, before anything is measured."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from benchmarks.loads import Load
from benchmarks.serving_peers.pipeline import TENSOR_SHAPE

INFER = "/inference.GRPCInferenceService/ModelInfer"
BOUNDARY = "accelform-benchmark"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
BYTES_CONTENTS = 8


def form(load: Load) -> bytes:
    """The value as the file `value` of a form."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="value"; filename="value"\r\n'
    return (
        (head + "Content-Type: application/octet-stream\r\n\r\n").encode()
        + load.value
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def infer_string(load: Load) -> bytes:
    """A ModelInferRequest of the Open Inference Protocol with an image as one BYTES element, a tensor as raw FP32."""
    if load.name == "tensor":
        return _request("FP32", TENSOR_SHAPE, raw=load.value)
    return _request("BYTES", (1,), contents=_field(BYTES_CONTENTS, load.value))


def infer_raw(load: Load) -> bytes:
    """A ModelInferRequest with raw contents: an image as a row of UINT8, which spares it being packed as a string."""
    if load.name == "tensor":
        return _request("FP32", TENSOR_SHAPE, raw=load.value)
    return _request("UINT8", (len(load.value),), raw=load.value)


def _request(kind: str, shape: Iterable[int], *, contents: bytes = b"", raw: bytes = b"") -> bytes:
    dimensions = b"".join(_varint(size) for size in shape)
    tensor = _field(1, b"value") + _field(2, kind.encode()) + _field(3, dimensions)
    if contents:
        tensor += _field(5, contents)
    return _field(1, b"model") + _field(5, tensor) + (_field(7, raw) if raw else b"")


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = []
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return struct.pack(f"{len(found) + 1}B", *found, value)
