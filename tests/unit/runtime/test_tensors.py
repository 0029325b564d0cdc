"""TensorProto to NumPy: what is read, what is refused, and that nothing else happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from accelform_runtime.errors import InvalidTensor
from accelform_runtime.protocol import tensor_pb2, tensors, types_pb2, wire

DTYPES = ["f4", "f8", "i4", "u1", "i2", "i1", "c8", "i8", "?", "u2", "c16", "f2", "u4", "u8"]


def proto(dtype: Any, shape: list[int], **values: Any) -> tensor_pb2.TensorProto:
    message = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


@settings(max_examples=100)
@given(st.sampled_from(DTYPES).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=4, max_side=5))))
def test_arrays_survive_the_wire(values):
    """Every numeric array comes back bit for bit, NaN patterns included."""
    message = tensor_pb2.TensorProto.FromString(tensors.from_numpy(values).SerializeToString())

    back = tensors.to_numpy(message)

    assert back.dtype == values.dtype
    assert back.shape == values.shape
    assert back.tobytes() == values.tobytes()


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), max_size=5))
def test_strings_survive_the_wire(items):
    """Byte strings come back as they were."""
    values = np.empty(len(items), dtype=object)
    values[:] = items

    back = tensors.to_numpy(tensors.from_numpy(values))

    assert back.tolist() == items


@pytest.mark.parametrize(
    ("dtype", "field", "listed", "expected"),
    [
        ("DT_FLOAT", "float_val", [1.5, 2.5], np.array([1.5, 2.5], np.float32)),
        ("DT_DOUBLE", "double_val", [1.5, 2.5], np.array([1.5, 2.5])),
        ("DT_INT32", "int_val", [-1, 7], np.array([-1, 7], np.int32)),
        ("DT_UINT8", "int_val", [0, 255], np.array([0, 255], np.uint8)),
        ("DT_INT16", "int_val", [-32768, 7], np.array([-32768, 7], np.int16)),
        ("DT_INT64", "int64_val", [-1, 2**62], np.array([-1, 2**62], np.int64)),
        ("DT_BOOL", "bool_val", [True, False], np.array([True, False])),
        ("DT_UINT32", "uint32_val", [1, 2**32 - 1], np.array([1, 2**32 - 1], np.uint32)),
        ("DT_UINT64", "uint64_val", [1, 2**64 - 1], np.array([1, 2**64 - 1], np.uint64)),
        ("DT_HALF", "half_val", [0x3C00, 0xC000], np.array([1, -2], np.float16)),
        ("DT_BFLOAT16", "half_val", [0x3F80, 0xC000], np.array([1, -2], np.float32)),
        ("DT_QINT8", "int_val", [-128, 7], np.array([-128, 7], np.int8)),
        ("DT_QUINT8", "int_val", [0, 255], np.array([0, 255], np.uint8)),
        ("DT_QINT16", "int_val", [-1, 7], np.array([-1, 7], np.int16)),
        ("DT_QUINT16", "int_val", [0, 65535], np.array([0, 65535], np.uint16)),
        ("DT_QINT32", "int_val", [-1, 7], np.array([-1, 7], np.int32)),
        ("DT_COMPLEX64", "scomplex_val", [1, 2, 3, 4], np.array([1 + 2j, 3 + 4j], np.complex64)),
        ("DT_COMPLEX128", "dcomplex_val", [1, 2, 3, 4], np.array([1 + 2j, 3 + 4j])),
    ],
)
def test_typed_lists(dtype, field, listed, expected):
    """Each element type is read from its own typed list."""
    message = proto(types_pb2.DataType.Value(dtype), [2], **{field: listed})

    back = tensors.to_numpy(message)

    assert back.dtype == expected.dtype
    assert np.array_equal(back, expected)


@settings(max_examples=100)
@given(st.sampled_from(DTYPES).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, max_side=4))))
def test_typed_lists_survive_the_wire(values):
    """Every numeric array comes back from its typed list, too; of a NaN only that it is one."""
    message = tensor_pb2.TensorProto()
    tensors.fill_listed(message, values)
    back = tensors.to_numpy(tensor_pb2.TensorProto.FromString(message.SerializeToString()))

    assert not message.tensor_content
    assert (back.dtype, back.shape) == (values.dtype, values.shape)
    assert np.array_equal(back, values, equal_nan=values.dtype.kind in "fc")


def test_bfloat16_is_widened():
    """NumPy has no bfloat16; each of its values is a float32."""
    message = proto(types_pb2.DT_BFLOAT16, [3], tensor_content=np.array([0x3FC0, 0x8000, 0x7F80], "<u2").tobytes())

    back = tensors.to_numpy(message)

    assert (back.dtype, back.tolist()) == (np.float32, [1.5, -0.0, np.inf])


@settings(max_examples=100)
@given(st.lists(st.one_of(st.binary(max_size=3), st.binary(min_size=127, max_size=300)), min_size=1, max_size=5))
def test_strings_in_tensor_content(items):
    """TensorFlow's packed form of strings, lengths first, is read; one byte more or less is refused."""
    packed = b"".join(wire.varint(len(item)) for item in items) + b"".join(items)

    assert tensors.to_numpy(proto(types_pb2.DT_STRING, [len(items)], tensor_content=packed)).tolist() == items
    for damaged in (packed + b"x", packed[:-1]):
        if damaged:
            with pytest.raises(InvalidTensor):
                tensors.to_numpy(proto(types_pb2.DT_STRING, [len(items)], tensor_content=damaged))


def test_lists_in_pieces():
    """A typed list that comes in several pieces, or value by value, is one list."""
    head = proto(types_pb2.DT_FLOAT, [3]).SerializeToString()
    pieces = b"\x2a\x04\0\0\x80\x3f" + b"\x2d\0\0\0\x40" + b"\x2a\x04\0\0\x40\x40"

    assert tensors.to_numpy(tensor_pb2.TensorProto.FromString(head + pieces)).tolist() == [1, 2, 3]


def test_unknown_fields_are_passed_over():
    """Fields of later versions do no harm to the list beside them, whatever they hold."""
    message = proto(types_pb2.DT_FLOAT, [2], float_val=[1, 2]).SerializeToString()
    unknown = b"\xfa\x07\x06\x2a\x04\0\0\0\0" + b"\xf8\x07\x2a" + b"\xfd\x07\x2a\x04\0\0"

    assert tensors.to_numpy(tensor_pb2.TensorProto.FromString(unknown + message)).tolist() == [1, 2]


def test_last_value_repeats():
    """Fewer values than elements: the last one fills up, as TensorFlow reads it."""
    assert tensors.to_numpy(proto(types_pb2.DT_FLOAT, [2, 2], float_val=[3.0])).tolist() == [[3, 3], [3, 3]]
    assert tensors.to_numpy(proto(types_pb2.DT_INT32, [4], int_val=[1, 2])).tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (proto(types_pb2.DT_FLOAT, [-1], float_val=[1]), "negative"),
        (proto(types_pb2.DT_FLOAT, [2**32, 2**32], float_val=[1]), "too large"),
        (proto(types_pb2.DT_FLOAT, [2**62, 0], float_val=[]), "too large"),
        (proto(types_pb2.DT_FLOAT, [tensors.MAX_ELEMENTS + 1], float_val=[1]), "too large"),
        (proto(types_pb2.DT_DOUBLE, [4096, 2048], double_val=[1]), "too large for that; send all values"),
        (proto(types_pb2.DT_FLOAT, [1] * 17, float_val=[1]), "dimensions"),
        (proto(types_pb2.DT_FLOAT, [2], tensor_content=b"1234567"), "7 bytes"),
        (proto(types_pb2.DT_FLOAT, [2], float_val=[1, 2, 3]), "3 values"),
        (proto(types_pb2.DT_FLOAT, [2]), "0 values"),
        (proto(types_pb2.DT_FLOAT, [2], double_val=[1, 2]), "float_val has 0"),
        (proto(types_pb2.DT_UINT8, [1], int_val=[256]), "outside 0 to 255"),
        (proto(types_pb2.DT_INT8, [1], int_val=[-129]), "outside -128"),
        (proto(types_pb2.DT_HALF, [1], half_val=[65536]), "outside 0 to 65535"),
        (proto(types_pb2.DT_COMPLEX64, [1], scomplex_val=[1, 2, 3]), "in turn"),
        (proto(types_pb2.DT_STRING, [2], string_val=[b"a"]), "1 values"),
        (proto(types_pb2.DT_BFLOAT16, [1], half_val=[65536]), "outside 0 to 65535"),
        (proto(types_pb2.DT_QUINT8, [1], int_val=[256]), "outside 0 to 255"),
        (proto(types_pb2.DT_STRING, [3], tensor_content=b"\x01a"), "too few for the lengths of 3"),
        (proto(types_pb2.DT_STRING, [1], tensor_content=b"\xff" * 11), "too long"),
        (proto(types_pb2.DT_STRING, [1], tensor_content=b"\xff"), "cut short"),
        (proto(types_pb2.DT_STRING, [1], tensor_content=b"\x05ab"), "their lengths add up to 5"),
        (proto(types_pb2.DT_VARIANT, [1]), "DT_VARIANT"),
        (proto(types_pb2.DT_INVALID, [1]), "DT_INVALID"),
        (proto(999, [1]), "unknown type 999"),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape={"unknown_rank": True}, float_val=[1]), "rank"),
    ],
)
def test_contradictions_are_refused(message, words):
    """A tensor whose type, shape and values do not belong together is InvalidTensor, and says how."""
    with pytest.raises(InvalidTensor, match=words):
        tensors.to_numpy(message)


@settings(max_examples=300)
@given(
    st.integers(-3, 130),
    st.lists(st.one_of(st.integers(-2, 6), st.integers(-(2**63), 2**63 - 1)), max_size=5),
    st.binary(max_size=64),
    st.lists(st.floats(width=32), max_size=6),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6),
    st.lists(st.binary(max_size=4), max_size=6),
)
def test_any_tensor_is_read_or_refused(dtype, shape, content, floats, integers, strings):
    """Whatever a message claims, the result has the claimed shape or is InvalidTensor."""
    message = proto(
        dtype, shape, tensor_content=content, float_val=floats, int_val=integers, half_val=integers, string_val=strings
    )

    try:
        values = tensors.to_numpy(message)
    except InvalidTensor:
        return

    assert list(values.shape) == shape
    assert values.size <= tensors.MAX_ELEMENTS


def test_answers_use_the_typed_list():
    """Answers carry float_val, which every TensorFlow Serving client reads."""
    message = tensors.from_float32(np.array([[0.25, 0.75]], np.float32))

    assert list(message.float_val) == [0.25, 0.75]
    assert not message.tensor_content
    assert [dim.size for dim in message.tensor_shape.dim] == [1, 2]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("DT_INT32", "int_val"),
        ("DT_UINT8", "int_val"),
        ("DT_INT64", "int64_val"),
        ("DT_BOOL", "bool_val"),
        ("DT_HALF", "half_val"),
    ],
)
def test_lists_that_are_read_one_by_one(name, field):
    """They are bounded: a message could otherwise hold up the model for a second."""
    count = tensors.MAX_LISTED + 1
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(name), tensor_shape=tensors.shape_proto((count,)))
    getattr(proto, field).extend([1] * count)

    with pytest.raises(InvalidTensor, match="send them in tensor_content"):
        tensors.to_numpy(proto)

    del getattr(proto, field)[-1]
    proto.tensor_shape.dim[0].size = count - 1
    assert tensors.to_numpy(proto).shape == (count - 1,)
