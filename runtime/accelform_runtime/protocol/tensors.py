"""TensorProto to NumPy and back, with every size checked before anything is allocated."""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidTensor
from accelform_runtime.protocol import tensor_pb2, types_pb2

MAX_ELEMENTS: Final = 8 * 1024 * 1024
"""Most elements one tensor may have: two 1920x1080 RGB images, or 32 MiB of float32.

It bounds the broadcast form, where one value stands for a whole shape and a tiny message would fill the memory.
"""
MAX_RANK: Final = 16

_NUMERIC: Final[dict[int, tuple[np.dtype[Any], str]]] = {
    types_pb2.DT_FLOAT: (np.dtype("<f4"), "float_val"),
    types_pb2.DT_DOUBLE: (np.dtype("<f8"), "double_val"),
    types_pb2.DT_INT32: (np.dtype("<i4"), "int_val"),
    types_pb2.DT_UINT8: (np.dtype("u1"), "int_val"),
    types_pb2.DT_INT16: (np.dtype("<i2"), "int_val"),
    types_pb2.DT_INT8: (np.dtype("i1"), "int_val"),
    types_pb2.DT_COMPLEX64: (np.dtype("<c8"), "scomplex_val"),
    types_pb2.DT_INT64: (np.dtype("<i8"), "int64_val"),
    types_pb2.DT_BOOL: (np.dtype("?"), "bool_val"),
    types_pb2.DT_UINT16: (np.dtype("<u2"), "int_val"),
    types_pb2.DT_COMPLEX128: (np.dtype("<c16"), "dcomplex_val"),
    types_pb2.DT_HALF: (np.dtype("<f2"), "half_val"),
    types_pb2.DT_UINT32: (np.dtype("<u4"), "uint32_val"),
    types_pb2.DT_UINT64: (np.dtype("<u8"), "uint64_val"),
}
_BY_DTYPE: Final = {dtype: number for number, (dtype, _) in _NUMERIC.items()}
_BY_NAME: Final = {str(types_pb2.DataType.Name(number)): number for number in _NUMERIC}
_FLOAT_VAL_TAG: Final = bytes([5 << 3 | 2])
"""What stands before a packed float_val on the wire; its length and its little-endian bytes follow."""

if sys.byteorder != "little":
    raise ImportError("tensor_content is little-endian and is read without swapping")


def dtype_name(number: int) -> str:
    """`DT_FLOAT` for 1; the bare number where TensorFlow has no such type."""
    try:
        return str(types_pb2.DataType.Name(number))
    except ValueError:
        return f"unknown type {number}"


def is_numeric(name: str) -> bool:
    """Whether `name`, such as DT_FLOAT, is a type of numbers that travels."""
    return name in _BY_NAME


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy type of `name`. Raises KeyError where is_numeric says no."""
    return _NUMERIC[_BY_NAME[name]][0]


def shape_of(proto: tensor_pb2.TensorProto) -> tuple[int, ...]:
    """The shape, every dimension known and small enough. Raises InvalidTensor."""
    if proto.tensor_shape.unknown_rank:
        raise InvalidTensor("the tensor's rank is unknown; send a full shape")
    shape = tuple(dimension.size for dimension in proto.tensor_shape.dim)
    if len(shape) > MAX_RANK:
        raise InvalidTensor(f"the tensor has {len(shape)} dimensions; at most {MAX_RANK} are accepted")
    if any(size < 0 for size in shape):
        raise InvalidTensor(f"the tensor's shape {list(shape)} has a negative dimension; send the actual sizes")
    if any(size > MAX_ELEMENTS for size in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise InvalidTensor(
            f"the tensor's shape {list(shape)} is too large; at most {MAX_ELEMENTS} elements are accepted"
        )
    return shape


def to_numpy(proto: tensor_pb2.TensorProto) -> NDArray[Any]:
    """The tensor's values: a numeric array (read-only when it shares the message's bytes), or object for DT_STRING.

    A typed list may hold one value for the whole shape, or fewer values than elements with the last one repeated,
    as TensorFlow reads it. Raises InvalidTensor where type, shape and values contradict each other.
    """
    shape = shape_of(proto)
    count = math.prod(shape)
    if proto.dtype == types_pb2.DT_STRING:
        return _strings(proto, shape, count)
    if proto.dtype not in _NUMERIC:
        accepted = ", ".join(dtype_name(number) for number in (*_NUMERIC, types_pb2.DT_STRING))
        raise InvalidTensor(f"tensors of {dtype_name(proto.dtype)} are not accepted; accepted: {accepted}")
    dtype, field = _NUMERIC[proto.dtype]
    content = proto.tensor_content
    if content:
        if len(content) != count * dtype.itemsize:
            raise InvalidTensor(
                f"tensor_content has {len(content)} bytes, shape {list(shape)} of {dtype_name(proto.dtype)} "
                f"needs {count * dtype.itemsize}"
            )
        return np.frombuffer(content, dtype=dtype).reshape(shape)
    listed = _floats(proto) if field == "float_val" else _listed(getattr(proto, field), proto.dtype, dtype, field)
    return _fill(listed, shape, count, field)


def from_numpy(values: NDArray[Any]) -> tensor_pb2.TensorProto:
    """`values` as a TensorProto: floats and integers in `tensor_content`, strings (bytes objects) in `string_val`.

    Raises InvalidTensor for an element type TensorFlow has no number for.
    """
    proto = tensor_pb2.TensorProto(tensor_shape=shape_proto(values.shape))
    if values.dtype.kind in "OSU":
        proto.dtype = types_pb2.DT_STRING
        proto.string_val.extend(
            item.encode() if isinstance(item, str) else bytes(item) for item in values.reshape(-1).tolist()
        )
        return proto
    little = values.dtype.newbyteorder("<")
    if little not in _BY_DTYPE:
        raise InvalidTensor(f"arrays of {values.dtype} have no TensorFlow type; convert the array first")
    proto.dtype = _BY_DTYPE[little]  # type: ignore[assignment]
    proto.tensor_content = np.ascontiguousarray(values, dtype=little).tobytes()
    return proto


def from_float32(values: NDArray[np.float32]) -> tensor_pb2.TensorProto:
    """`values` as TensorFlow Serving answers them: DT_FLOAT with its values in `float_val`."""
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape_proto(values.shape))
    # As bytes of the wire: a Python float for each of SSD's 218,300 values would take as long as a small model.
    content = np.ascontiguousarray(values, dtype="<f4").tobytes()
    proto.MergeFromString(_FLOAT_VAL_TAG + _varint(len(content)) + content)
    return proto


def shape_proto(shape: tuple[int, ...]) -> tensor_pb2.TensorShapeProto:
    """`shape` as a message."""
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape])


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _strings(proto: tensor_pb2.TensorProto, shape: tuple[int, ...], count: int) -> NDArray[np.object_]:
    if len(proto.string_val) != count:
        raise InvalidTensor(f"string_val has {len(proto.string_val)} values, shape {list(shape)} needs {count}")
    values = np.empty(count, dtype=np.object_)
    values[:] = list(proto.string_val)
    return values.reshape(shape)


def _floats(proto: tensor_pb2.TensorProto) -> NDArray[np.float32]:
    # Through the wire's own bytes, several times faster than one Python float after the other.
    alone = tensor_pb2.TensorProto()
    alone.CopyFrom(proto)
    alone.DiscardUnknownFields()
    for field, _ in alone.ListFields():
        if field.name != "float_val":
            alone.ClearField(field.name)
    content = alone.SerializeToString()
    return np.frombuffer(content, dtype="<f4", offset=len(content) - 4 * len(proto.float_val))


def _listed(values: Any, number: int, dtype: np.dtype[Any], field: str) -> NDArray[Any]:
    if number == types_pb2.DT_HALF:
        return _within(values, 0, 0xFFFF, number, field).astype(np.uint16).view(dtype)
    if dtype.kind == "c":
        if len(values) % 2:
            raise InvalidTensor(f"{field} holds real and imaginary parts in turn and cannot have {len(values)} values")
        return np.array(values, dtype=np.dtype(f"<f{dtype.itemsize // 2}")).view(dtype)
    if field == "int_val" and dtype.itemsize < 4:
        limits = np.iinfo(dtype)
        return _within(values, int(limits.min), int(limits.max), number, field).astype(dtype)
    return np.array(values, dtype=dtype)


def _within(values: Any, least: int, most: int, number: int, field: str) -> NDArray[np.int64]:
    raw = np.array(values, dtype=np.int64)
    if raw.size and (raw.min() < least or raw.max() > most):
        raise InvalidTensor(f"{field} holds values outside {least} to {most}, the range of {dtype_name(number)}")
    return raw


def _fill(values: NDArray[Any], shape: tuple[int, ...], count: int, field: str) -> NDArray[Any]:
    if values.size == count:
        return values.reshape(shape)
    if values.size == 0 or values.size > count:
        raise InvalidTensor(f"{field} has {values.size} values, shape {list(shape)} needs {count}")
    filled = np.empty(count, dtype=values.dtype)
    filled[: values.size] = values
    filled[values.size :] = values[-1]
    return filled.reshape(shape)
