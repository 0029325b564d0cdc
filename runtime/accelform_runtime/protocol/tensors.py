"""TensorProto to NumPy and back, with every size checked before anything is allocated.

NumPy has no bfloat16: its values are widened to float32, which holds each of them exactly. Quantised types come as
the integers that they are stored in; their scales travel elsewhere.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidTensor
from accelform_runtime.protocol import strings, tensor_pb2, types_pb2, wire

MAX_ELEMENTS: Final = 8 * 1024 * 1024
"""Most elements one tensor may have: two 1920x1080 RGB images, or 32 MiB of float32.

A message brings the bytes of so many, unless one value stands for them all.
"""
MAX_FILLED_BYTES: Final = 32 * 1024 * 1024
"""Most bytes that one value may be repeated for; a tiny message would fill the memory otherwise."""
MAX_LISTED: Final = 1024 * 1024
"""Most whole numbers, truth values or halves that are read from a list, one by one: seven images of 224 x 224."""
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
_STORED: Final[dict[int, tuple[np.dtype[Any], str]]] = {
    types_pb2.DT_QINT8: (np.dtype("i1"), "int_val"),
    types_pb2.DT_QUINT8: (np.dtype("u1"), "int_val"),
    types_pb2.DT_QINT16: (np.dtype("<i2"), "int_val"),
    types_pb2.DT_QUINT16: (np.dtype("<u2"), "int_val"),
    types_pb2.DT_QINT32: (np.dtype("<i4"), "int_val"),
    types_pb2.DT_BFLOAT16: (np.dtype("<u2"), "half_val"),
}
"""Types without a NumPy type of their own: what their values are stored in."""
_READ: Final = _NUMERIC | _STORED
_FIXED: Final = {
    "float_val": (5, "<f4"),
    "double_val": (6, "<f8"),
    "scomplex_val": (9, "<f4"),
    "dcomplex_val": (12, "<f8"),
}
"""Lists whose packed form on the wire is what NumPy reads: their field numbers and element types."""
_BY_DTYPE: Final = {dtype: number for number, (dtype, _) in _NUMERIC.items()}
_BY_NAME: Final = {str(types_pb2.DataType.Name(number)): number for number in _NUMERIC}

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
    content = proto.tensor_content
    if proto.dtype == types_pb2.DT_STRING:
        values = strings.unpack(content, count) if content else _strings(proto, shape, count)
        return values.reshape(shape)
    if proto.dtype not in _READ:
        accepted = ", ".join(dtype_name(number) for number in (*_READ, types_pb2.DT_STRING))
        raise InvalidTensor(f"tensors of {dtype_name(proto.dtype)} are not accepted; accepted: {accepted}")
    dtype, field = _READ[proto.dtype]
    if content:
        if len(content) != count * dtype.itemsize:
            raise InvalidTensor(
                f"tensor_content has {len(content)} bytes, shape {list(shape)} of {dtype_name(proto.dtype)} "
                f"needs {count * dtype.itemsize}"
            )
        return _widened(proto, np.frombuffer(content, dtype=dtype)).reshape(shape)
    return _fill(_widened(proto, _listed(proto, dtype, field)), shape, count, field).reshape(shape)


def from_numpy(values: NDArray[Any]) -> tensor_pb2.TensorProto:
    """`values` as a TensorProto: floats and integers in `tensor_content`, strings (bytes objects) in `string_val`.

    Raises InvalidTensor for an element type TensorFlow has no number for.
    """
    proto = tensor_pb2.TensorProto()
    fill_content(proto, values)
    return proto


def from_float32(values: NDArray[np.float32]) -> tensor_pb2.TensorProto:
    """`values` as TensorFlow Serving answers them: DT_FLOAT with its values in `float_val`."""
    proto = tensor_pb2.TensorProto()
    fill_listed(proto, values)
    return proto


def fill_content(proto: tensor_pb2.TensorProto, values: NDArray[Any]) -> None:
    """Makes the empty `proto` say `values` in `tensor_content`, strings in `string_val`.

    Raises InvalidTensor for an element type TensorFlow has no number for.
    """
    if values.dtype.kind in "OSU":
        _fill_strings(proto, values)
        return
    proto.tensor_content = _headed(proto, values).tobytes()


def fill_listed(proto: tensor_pb2.TensorProto, values: NDArray[Any]) -> None:
    """Makes the empty `proto` say `values` in the typed list of their type, as TensorFlow Serving answers them.

    Raises InvalidTensor for an element type TensorFlow has no number for.
    """
    if values.dtype.kind in "OSU":
        _fill_strings(proto, values)
        return
    little = _headed(proto, values)
    field = _NUMERIC[proto.dtype][1]
    if field in _FIXED:
        # As bytes of the wire: a Python float for each of SSD's 218,300 values would take as long as a small model.
        content = little.tobytes()
        proto.MergeFromString(bytes([_FIXED[field][0] << 3 | 2]) + wire.varint(len(content)) + content)
    else:
        flat = little.reshape(-1)
        getattr(proto, field).extend((flat.view(np.uint16) if field == "half_val" else flat).tolist())


def shape_proto(shape: tuple[int, ...]) -> tensor_pb2.TensorShapeProto:
    """`shape` as a message."""
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape])


def _headed(proto: tensor_pb2.TensorProto, values: NDArray[Any]) -> NDArray[Any]:
    """`values` as the wire has them, once `proto` tells their type and shape."""
    little = values.dtype.newbyteorder("<")
    if little not in _BY_DTYPE:
        raise InvalidTensor(f"arrays of {values.dtype} have no TensorFlow type; convert the array first")
    proto.dtype = _BY_DTYPE[little]  # type: ignore[assignment]
    proto.tensor_shape.CopyFrom(shape_proto(values.shape))
    return np.ascontiguousarray(values, dtype=little)


def _fill_strings(proto: tensor_pb2.TensorProto, values: NDArray[Any]) -> None:
    proto.dtype = types_pb2.DT_STRING
    proto.tensor_shape.CopyFrom(shape_proto(values.shape))
    items = values.reshape(-1).tolist()
    proto.string_val.extend(item.encode() if isinstance(item, str) else bytes(item) for item in items)


def _strings(proto: tensor_pb2.TensorProto, shape: tuple[int, ...], count: int) -> NDArray[np.object_]:
    if len(proto.string_val) != count:
        raise InvalidTensor(f"string_val has {len(proto.string_val)} values, shape {list(shape)} needs {count}")
    values = np.empty(count, dtype=np.object_)
    values[:] = list(proto.string_val)
    return values


def _listed(proto: tensor_pb2.TensorProto, dtype: np.dtype[Any], field: str) -> NDArray[Any]:
    if field in _FIXED:
        values = _fixed(proto, *_FIXED[field])
        if dtype.kind == "c" and len(values) % 2:
            raise InvalidTensor(f"{field} holds real and imaginary parts in turn and cannot have {len(values)} values")
        return values.view(dtype)
    listed = getattr(proto, field)
    if len(listed) > MAX_LISTED:
        raise InvalidTensor(
            f"{field} has {len(listed)} values; at most {MAX_LISTED} are read from a list: send them in tensor_content"
        )
    if field == "half_val":
        return _within(listed, 0, 0xFFFF, proto.dtype, field).astype(np.uint16).view(dtype)
    if field == "int_val" and dtype.itemsize < 4:
        limits = np.iinfo(dtype)
        return _within(listed, int(limits.min), int(limits.max), proto.dtype, field).astype(dtype)
    return np.fromiter(listed, dtype=dtype, count=len(listed))


def _fixed(proto: tensor_pb2.TensorProto, number: int, dtype: str) -> NDArray[Any]:
    # Through the wire's own bytes: a Python float for each of 150,528 values would take longer than a small model.
    content = proto.SerializeToString()
    parts = [
        np.frombuffer(content, np.dtype(dtype), (end - start) // int(dtype[-1]), start)
        for field, start, end in wire.fields(content)
        if field == number
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, np.dtype(dtype))


def _widened(proto: tensor_pb2.TensorProto, values: NDArray[Any]) -> NDArray[Any]:
    if proto.dtype != types_pb2.DT_BFLOAT16:
        return values
    patterns = values.astype(np.uint32)
    patterns <<= 16
    return patterns.view(np.float32)


def _within(values: Any, least: int, most: int, number: int, field: str) -> NDArray[np.int64]:
    raw = np.fromiter(values, dtype=np.int64, count=len(values))
    if raw.size and (raw.min() < least or raw.max() > most):
        raise InvalidTensor(f"{field} holds values outside {least} to {most}, the range of {dtype_name(number)}")
    return raw


def _fill(values: NDArray[Any], shape: tuple[int, ...], count: int, field: str) -> NDArray[Any]:
    if values.size == count:
        return values
    if values.size == 0 or values.size > count:
        raise InvalidTensor(f"{field} has {values.size} values, shape {list(shape)} needs {count}")
    if count * values.itemsize > MAX_FILLED_BYTES:
        raise InvalidTensor(
            f"{field} has {values.size} values for shape {list(shape)}, which is too large for that; send all values"
        )
    filled = np.empty(count, dtype=values.dtype)
    filled[: values.size] = values
    filled[values.size :] = values[-1]
    return filled
