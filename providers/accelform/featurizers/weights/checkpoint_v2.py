"""A reader of TensorFlow's second checkpoint format, the one its savers write: `NAME.index` and `NAME.data-...`.

The index is a sorted string table: the empty key holds the header, every variable's name an entry with type, shape and
place in the data file. Source: TensorFlow's `core/protobuf/tensor_bundle.proto`, `core/util/tensor_bundle`.
"""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from google.protobuf.message import DecodeError

from accelform.errors import WeightsUnreadable
from accelform.featurizers.spec import DATA, INDEX
from accelform.featurizers.weights.arrays import Budget
from accelform.featurizers.weights.messages import BYTES, INT32, INT64, message_class
from accelform.featurizers.weights.tables import entries

LITTLE_ENDIAN = 0
MAX_INDEX_BYTES = 64 << 20
_DTYPES = {1: "<f4", 2: "<f8", 19: "<f2"}
"""TensorFlow's DataType numbers of the float types that NumPy has."""


def read_checkpoint_v2(index: Path) -> dict[str, np.ndarray]:
    """Read every float variable; counters and other integers are passed over.

    Raises:
        WeightsUnreadable: no such checkpoint, damaged, in several data files, partitioned, or too large.
    """
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"the index has more than {MAX_INDEX_BYTES >> 20} MiB")
        places = _places(index.read_bytes(), index.name)
        data = index.with_name(f"{index.name.removesuffix(INDEX)}{DATA}")
        if not data.is_file():
            raise ValueError(f"{data.name} is missing; it belongs beside the index")
        budget = Budget(index.name)
        with data.open("rb") as file:
            length = data.stat().st_size
            return {name: _array(file, length, name, entry, budget) for name, entry in places.items()}
    except (ValueError, IndexError, struct.error, DecodeError) as error:
        raise WeightsUnreadable(
            f"{index.name} can't be read as a TensorFlow checkpoint: {error}. Save it again with one Saver."
        ) from error


def _places(content: bytes, origin: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    header = _header_class()()
    for key, value in entries(content):
        if not key:
            header.ParseFromString(value)
            continue
        entry = _entry_class()()
        entry.ParseFromString(value)
        name = key.decode("utf-8")
        if entry.dtype not in _DTYPES:
            continue
        if entry.slices:
            raise WeightsUnreadable(f"{origin}: {name} is partitioned; save it as one variable and try again.")
        found[name] = entry
    if header.num_shards != 1 or header.endianness != LITTLE_ENDIAN:
        order = "little" if header.endianness == LITTLE_ENDIAN else "big"
        raise ValueError(f"it has {header.num_shards} data files, {order}-endian; one, little-endian, can be read")
    return found


def _array(file: IO[bytes], length: int, name: str, entry: Any, budget: Budget) -> np.ndarray:
    shape = tuple(dimension.size for dimension in entry.shape.dim)
    dtype = np.dtype(_DTYPES[entry.dtype])
    needed = dtype.itemsize
    for side in shape:
        needed *= side
    if min(shape, default=1) < 0 or needed != entry.size or not 0 <= entry.offset <= length - entry.size:
        raise ValueError(f"{name} of shape {list(shape)} doesn't lie where the index says")
    budget.take(entry.size)
    file.seek(entry.offset)
    return np.frombuffer(file.read(entry.size), dtype).reshape(shape)


@functools.cache
def _header_class() -> Any:
    return message_class("bundle_header", {"Header": [("num_shards", 1, INT32), ("endianness", 2, INT32)]}, "Header")


@functools.cache
def _entry_class() -> Any:
    layout = {
        "Dim": [("size", 1, INT64)],
        "Shape": [("dim", 2, ["Dim"])],
        "Entry": [
            ("dtype", 1, INT32),
            ("shape", 2, "Shape"),
            ("offset", 4, INT64),
            ("size", 5, INT64),
            ("slices", 7, [BYTES]),
        ],
    }
    return message_class("bundle_entry", layout, "Entry")
