"""The values of the model's input, from a tensor that a call sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest, InvalidTensor
from accelform_runtime.protocol import tensor_pb2, tensors, types_pb2
from accelform_runtime.worker.question import check_count

Values = Sequence[bytes] | Sequence[NDArray[Any]]
"""Encoded images, or the input tensor with batch dimension 1 for each."""

_WIDENED = {"DT_FLOAT": "DT_BFLOAT16"}
"""What else an input takes, because each of its values is one of the input's own type."""


def key_of(sent: Iterable[str], bundle: Bundle) -> str:
    """The one name in `sent`, if it is the input's name or its alias. Raises InvalidRequest."""
    expected = bundle.inputs[0]
    names = sorted(sent)
    if len(names) == 1 and names[0] in (expected.name, expected.alias):
        return names[0]
    known = [name for name in (expected.alias, expected.name) if name in names][:1]
    extra = [name for name in names if name not in known]
    raise InvalidRequest(
        f"the model takes one input, {expected.name!r} or {expected.alias!r}; sent: {', '.join(names) or 'none'}. "
        f"Sent extra: {', '.join(extra) or 'none'}. Missing but required: {'none' if known else expected.alias}"
    )


def from_proto(proto: tensor_pb2.TensorProto, bundle: Bundle, key: str) -> Values:
    """The values that the input `key` holds. Raises InvalidTensor."""
    expected = bundle.inputs[0]
    if bundle.takes_images:
        if proto.dtype != types_pb2.DT_STRING:
            raise InvalidTensor(
                f"input {key!r} takes DT_STRING, each value an encoded image; sent: {tensors.dtype_name(proto.dtype)}"
            )
        check_images(tensors.shape_of(proto), key)
        return list(tensors.to_numpy(proto).reshape(-1))
    sent = tensors.dtype_name(proto.dtype)
    if sent not in (expected.dtype, _WIDENED.get(expected.dtype)):
        raise InvalidTensor(f"input {key!r} takes {expected.dtype}; sent: {sent}")
    check_shape(tensors.shape_of(proto), expected, key)
    values = tensors.to_numpy(proto)
    check_finite(values, bundle, key)
    return in_ones(values)


def check_images(shape: tuple[int, ...], key: str) -> None:
    """Raises InvalidTensor where strings of that shape are no images: only one, or a row of them, also an empty one."""
    if len(shape) > 1:
        raise InvalidTensor(f"input {key!r} takes one dimension, the images; sent shape: {list(shape)}")
    check_count(shape[0] if shape else 1, "images")


def check_shape(shape: tuple[int, ...], expected: TensorInfo, key: str) -> None:
    """Raises InvalidTensor where the model does not take tensors of that shape."""
    wanted = expected.shape[1:]
    if len(shape) != len(expected.shape) or any(w not in (-1, s) for w, s in zip(wanted, shape[1:], strict=True)):
        raise InvalidTensor(
            f"input {key!r} takes shape {[-1, *wanted]}, the batch first and -1 for any size; sent: {list(shape)}"
        )
    if not all(shape[1:]):
        raise InvalidTensor(f"input {key!r} holds no value; sent shape: {list(shape)}")
    check_count(shape[0], "values")


def in_ones(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """A batch as its values, batch dimension 1 each."""
    return [values[index : index + 1] for index in range(len(values))]


def check_finite(values: NDArray[Any], bundle: Bundle, key: str) -> None:
    """Raises InvalidTensor for values that the model's number format lacks."""
    if values.dtype.kind in "fc" and bundle.finite_only and not np.isfinite(values).all():
        where = [int(index) for index in np.argwhere(~np.isfinite(values))[0]]
        raise InvalidTensor(f"input {key!r} holds NaN or infinity, first at {where}; {finite_values(bundle)}")


def finite_values(bundle: Bundle) -> str:
    """Why NaN and infinity are refused, and what to do."""
    return f"the model's number format, {bundle.number_format}, holds finite values only: send such"
