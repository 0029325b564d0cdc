"""Strings inside tensor_content, in TensorFlow's encoding: all lengths as varints, then all bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidTensor
from accelform_runtime.protocol import wire


def unpack(content: bytes, count: int) -> NDArray[np.object_]:
    """The `count` strings in `content`. Raises InvalidTensor where it holds other than that many."""
    if count > len(content):
        raise InvalidTensor(f"tensor_content has {len(content)} bytes, too few for the lengths of {count} strings")
    lengths, position = [], 0
    for _ in range(count):
        length, position = wire.read_varint(content, position)
        lengths.append(length)
    if sum(lengths) != len(content) - position:
        raise InvalidTensor(
            f"tensor_content has {len(content) - position} bytes of strings, their lengths add up to {sum(lengths)}"
        )
    values = np.empty(count, dtype=np.object_)
    for index, length in enumerate(lengths):
        values[index] = content[position : position + length]
        position += length
    return values
