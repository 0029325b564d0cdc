"""Constants of a graph that lie in another file of the bundle: ONNX's external data.

The network's arrays are most of a model. In a file of their own they are stored once, and what they weigh is not sent
again with another classifier, which changes the graph around them.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper

LEAST_BYTES = 1024
"""What is smaller stays in the graph, where it costs less than the reference to it."""
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: its name and its extra field follow, as long as it says


def refer_to(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose constants refer to `path`, an npz file beside it, where that holds the same bytes."""
    places = _places(path)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if len(tensor.raw_data) >= LEAST_BYTES and (place := places.get(_key(tensor.raw_data))):
            offset, length = place
            external_data_helper.set_external_data(tensor, location=path.name, offset=offset, length=length)
            tensor.ClearField("raw_data")
    return copy


def _places(path: Path) -> dict[bytes, tuple[int, int]]:
    """Digest of each array's bytes -> offset in the file, and length."""
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for info in archive.infolist():
            file.seek(info.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            begin = info.header_offset + _LOCAL_HEADER.size + name + extra
            file.seek(begin)
            content = io.BytesIO(file.read(info.file_size))
            np.lib.format.read_magic(content)
            np.lib.format.read_array_header_1_0(content)
            header = content.tell()
            found[_key(content.getbuffer()[header:])] = (begin + header, info.file_size - header)
    return found


def _key(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()
