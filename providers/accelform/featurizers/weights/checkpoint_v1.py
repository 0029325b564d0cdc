"""A reader of TensorFlow's first checkpoint format, the one of the published tf-slim weights (`resnet_v1_50.ckpt`).

The file is a sorted string table: data blocks, an index block, and a footer that points at the index (LevelDB's table
format, `table_format.md`). Every value is a `SavedTensorSlices` message: the first holds all names, shapes and types,
each other one a tensor. Source: TensorFlow's `core/util/saved_tensor_slice.proto` and `core/lib/io/table`.
"""

from __future__ import annotations

import functools
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.arrays import Budget

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
BLOCK_TRAILER_BYTES = 5
UNCOMPRESSED, SNAPPY = 0, 1
_DTYPES = {1: "<f4", 2: "<f8", 19: "<f2"}
"""TensorFlow's DataType numbers of the float types that the format can hold."""


def read_checkpoint_v1(path: Path) -> dict[str, np.ndarray]:
    """Read every float tensor that is stored whole; counters and other integers are passed over.

    Raises:
        WeightsUnreadable: not such a checkpoint, damaged, compressed, partitioned, or too large.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _tensors(content, path)
    except (ValueError, IndexError, struct.error, DecodeError) as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read as a TensorFlow V1 checkpoint: {error}. "
            "It may be cut off or of another format; fetch or save it again."
        ) from error


def is_checkpoint_v1(path: Path) -> bool:
    """Whether the file ends like a V1 checkpoint."""
    with path.open("rb") as file:
        file.seek(0, 2)
        if file.tell() < FOOTER_BYTES:
            return False
        file.seek(-8, 2)
        return file.read(8) == struct.pack("<Q", MAGIC)


def _tensors(content: mmap.mmap, path: Path) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[tuple[int, ...], int]] = {}
    result: dict[str, np.ndarray] = {}
    budget = Budget(path.name)
    for value in _table_values(content):
        slices = _message_class()()
        slices.ParseFromString(value)
        for tensor in slices.meta.tensor:
            shapes[tensor.name] = (tuple(dimension.size for dimension in tensor.shape.dim), tensor.type)
        if not slices.HasField("data"):
            continue
        name = slices.data.name
        if name not in shapes:
            raise ValueError(f"tensor {name!r} is not in its table of contents")
        shape, type_number = shapes[name]
        if type_number not in _DTYPES:
            continue
        if any(extent.length for extent in slices.data.slice.extent):
            raise WeightsUnreadable(f"{path.name}: {name} is partitioned; save it as one variable and try again.")
        array = _array(slices.data.data, _DTYPES[type_number])
        budget.take(array.nbytes)
        result[name] = array.reshape(shape)
    return result


def _array(tensor: Any, dtype: str) -> np.ndarray:
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype)
    if dtype == "<f4":
        return np.frombuffer(tensor.float_val, dtype)
    if dtype == "<f8":
        return np.frombuffer(tensor.double_val, dtype)
    raise ValueError("a float16 tensor has no tensor_content")


def _table_values(content: mmap.mmap) -> Iterator[bytes]:
    """Yield the values of all data blocks in key order: the table of contents has the empty key and comes first."""
    if len(content) < FOOTER_BYTES or struct.unpack_from("<Q", content, len(content) - 8)[0] != MAGIC:
        raise ValueError("the footer's magic number is missing")
    position = len(content) - FOOTER_BYTES
    for _ in range(2):  # the metaindex block's offset and size come first and are not needed
        _, position = _varint(content, position)
    for handle in _block_values(_block(content, position)):
        yield from _block_values(_block(handle, 0, content))


def _block(handle: mmap.mmap | bytes, position: int, content: mmap.mmap | None = None) -> bytes:
    """Return the block that the handle (offset, size) at `position` points at."""
    offset, position = _varint(handle, position)
    size, _ = _varint(handle, position)
    source = handle if content is None else content
    end = offset + size
    if end + BLOCK_TRAILER_BYTES > len(source) - FOOTER_BYTES:
        raise ValueError("a block lies outside the file")
    if source[end] != UNCOMPRESSED:
        kind = "snappy-compressed" if source[end] == SNAPPY else f"compressed (type {source[end]})"
        raise ValueError(f"its blocks are {kind}, which TensorFlow's checkpoint writer never does")
    return bytes(source[offset:end])


def _block_values(block: bytes) -> Iterator[bytes]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block's restart array is longer than the block")
    position = 0
    while position < end:
        _, position = _varint(block, position)
        key_rest_bytes, position = _varint(block, position)
        value_bytes, position = _varint(block, position)
        start = position + key_rest_bytes
        position = start + value_bytes
        if position > end:
            raise ValueError("an entry is longer than its block")
        yield block[start:position]


def _varint(buffer: mmap.mmap | bytes, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = buffer[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number is longer than 64 bits")


@functools.cache
def _message_class() -> Any:
    """`SavedTensorSlices`, as far as it is read here.

    Packed `float_val` and `double_val` are declared as bytes: the same wire type, and no Python object per number.
    """
    types = descriptor_pb2.FieldDescriptorProto
    one, many = types.LABEL_OPTIONAL, types.LABEL_REPEATED
    layout: dict[str, list[tuple[str, int, Any, int, str]]] = {
        "Dim": [("size", 1, types.TYPE_INT64, one, "")],
        "Shape": [("dim", 2, types.TYPE_MESSAGE, many, "Dim")],
        "Extent": [("start", 1, types.TYPE_INT64, one, ""), ("length", 2, types.TYPE_INT64, one, "")],
        "Slice": [("extent", 1, types.TYPE_MESSAGE, many, "Extent")],
        "Tensor": [
            ("tensor_content", 4, types.TYPE_BYTES, one, ""),
            ("float_val", 5, types.TYPE_BYTES, one, ""),
            ("double_val", 6, types.TYPE_BYTES, one, ""),
        ],
        "SliceMeta": [
            ("name", 1, types.TYPE_STRING, one, ""),
            ("shape", 2, types.TYPE_MESSAGE, one, "Shape"),
            ("type", 3, types.TYPE_INT32, one, ""),
        ],
        "Meta": [("tensor", 1, types.TYPE_MESSAGE, many, "SliceMeta")],
        "Saved": [
            ("name", 1, types.TYPE_STRING, one, ""),
            ("slice", 2, types.TYPE_MESSAGE, one, "Slice"),
            ("data", 3, types.TYPE_MESSAGE, one, "Tensor"),
        ],
        "Slices": [("meta", 1, types.TYPE_MESSAGE, one, "Meta"), ("data", 2, types.TYPE_MESSAGE, one, "Saved")],
    }
    file = descriptor_pb2.FileDescriptorProto(name="checkpoint_v1.proto", package="checkpoint_v1", syntax="proto3")
    for message, fields in layout.items():
        target = file.message_type.add(name=message)
        for name, number, kind, label, type_name in fields:
            full_name = f".checkpoint_v1.{type_name}" if type_name else None
            target.field.add(name=name, number=number, type=kind, label=label, type_name=full_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("checkpoint_v1.Slices"))
