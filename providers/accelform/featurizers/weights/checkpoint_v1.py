"""A reader of TensorFlow's first checkpoint format, the one of the published tf-slim weights (`resnet_v1_50.ckpt`).

The file is a sorted string table. Every value is a `SavedTensorSlices` message: the first holds all names, shapes and
types, each other one a tensor. Source: TensorFlow's `core/util/saved_tensor_slice.proto`.
"""

from __future__ import annotations

import functools
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights.arrays import Budget
from accelform.featurizers.weights.messages import BYTES, INT32, INT64, STRING, message_class
from accelform.featurizers.weights.tables import FOOTER_BYTES, MAGIC, entries

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
    # The table of contents has the empty key, so it comes first.
    for _, value in entries(content):
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


@functools.cache
def _message_class() -> Any:
    """`SavedTensorSlices`, as far as it is read here.

    Packed `float_val` and `double_val` are declared as bytes: the same wire type, and no Python object per number.
    """
    layout = {
        "Dim": [("size", 1, INT64)],
        "Shape": [("dim", 2, ["Dim"])],
        "Extent": [("start", 1, INT64), ("length", 2, INT64)],
        "Slice": [("extent", 1, ["Extent"])],
        "Tensor": [("tensor_content", 4, BYTES), ("float_val", 5, BYTES), ("double_val", 6, BYTES)],
        "SliceMeta": [("name", 1, STRING), ("shape", 2, "Shape"), ("type", 3, INT32)],
        "Meta": [("tensor", 1, ["SliceMeta"])],
        "Saved": [("name", 1, STRING), ("slice", 2, "Slice"), ("data", 3, "Tensor")],
        "Slices": [("meta", 1, "Meta"), ("data", 2, "Saved")],
    }
    return message_class("checkpoint_v1", layout, "Slices")
