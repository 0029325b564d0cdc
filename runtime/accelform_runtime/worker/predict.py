"""One Predict call: what it asks, which images or tensors it holds, and the answer in the names it used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest, InvalidTensor, UnknownModel, UnknownSignature
from accelform_runtime.protocol import model_pb2, predict_pb2, tensor_pb2, tensors, types_pb2

MAX_REPLY_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""A client without channel options refuses replies above 4 MiB; the rest is room for headers."""
DEFAULT_SIGNATURE: Final = "serving_default"


@dataclasses.dataclass(frozen=True)
class Question:
    """A Predict request that fits the resident model."""

    values: tuple[bytes | NDArray[Any], ...]
    """At least one: an encoded image each, or the input tensor with batch dimension 1."""
    outputs: tuple[tuple[str, str], ...]
    """Outputs to answer: the key in the response, and the tensor's name."""


def parse(message: bytes, bundle: Bundle, service: str) -> Question:
    """Reads a serialised PredictRequest against `bundle`.

    Raises InvalidRequest, InvalidTensor, UnknownModel or UnknownSignature.
    """
    request = predict_pb2.PredictRequest()
    try:
        request.ParseFromString(message)
    except DecodeError as error:
        raise InvalidRequest("the message is not a PredictRequest") from error
    _check_model(request.model_spec, bundle, service)
    expected = bundle.inputs[0]
    keys = sorted(request.inputs)
    if len(keys) != 1 or keys[0] not in (expected.name, expected.alias):
        sent = ", ".join(keys) if keys else "none"
        raise InvalidRequest(f"the model takes one input, {expected.name!r} or {expected.alias!r}; sent: {sent}")
    used_alias = keys[0] == expected.alias
    take = _images if bundle.takes_images else _examples
    return Question(take(request.inputs[keys[0]], expected, keys[0]), _outputs(request, bundle, used_alias))


def answer(question: Question, results: Sequence[Mapping[str, NDArray[Any]]], bundle: Bundle) -> bytes:
    """The serialised PredictResponse for `results`, outputs by tensor name for each value.

    Raises InvalidRequest when the reply would be larger than a client accepts.
    """
    response = predict_pb2.PredictResponse()
    response.model_spec.name = bundle.name
    response.model_spec.version.value = bundle.version
    response.model_spec.signature_name = DEFAULT_SIGNATURE
    for key, name in question.outputs:
        values = np.concatenate([result[name] for result in results]) if len(results) > 1 else results[0][name]
        proto = tensors.from_float32(values) if values.dtype == np.float32 else tensors.from_numpy(values)
        response.outputs[key].CopyFrom(proto)
    _check_size(response.ByteSize())
    return bytes(response.SerializeToString())


def check_reply(question: Question, first: Mapping[str, NDArray[Any]]) -> None:
    """Refuses, after the `first` value's outputs, a call whose reply would come out too large.

    Raises InvalidRequest.
    """
    _check_size(len(question.values) * sum(first[name].nbytes for _, name in question.outputs))


def _check_size(size: int) -> None:
    if size > MAX_REPLY_BYTES:
        raise InvalidRequest(
            f"the reply would have {size} bytes, more than the {MAX_REPLY_BYTES} a client accepts; "
            "send fewer inputs or name fewer outputs in output_filter"
        )


def _check_model(spec: model_pb2.ModelSpec, bundle: Bundle, service: str) -> None:
    if spec.name and spec.name not in (bundle.name, service):
        raise UnknownModel(f"model {spec.name!r} is not resident here; this service holds {bundle.name!r}")
    if spec.HasField("version_label"):
        raise UnknownModel(f"version label {spec.version_label!r} is not known; name version {bundle.version} or none")
    if spec.HasField("version") and spec.version.value != bundle.version:
        raise UnknownModel(f"version {spec.version.value} of {bundle.name!r} is not resident; {bundle.version} is")
    if spec.signature_name not in ("", DEFAULT_SIGNATURE):
        raise UnknownSignature(f"the model has no signature {spec.signature_name!r}; it has {DEFAULT_SIGNATURE!r}")


def _images(proto: tensor_pb2.TensorProto, _expected: TensorInfo, key: str) -> tuple[bytes, ...]:
    if proto.dtype != types_pb2.DT_STRING:
        raise InvalidTensor(
            f"input {key!r} takes DT_STRING, each value an encoded image; sent: {tensors.dtype_name(proto.dtype)}"
        )
    values = tensors.to_numpy(proto)
    if values.ndim > 1:
        raise InvalidTensor(f"input {key!r} takes one dimension, the images; sent shape: {list(values.shape)}")
    if not values.size:
        raise InvalidTensor(f"input {key!r} holds no image")
    return tuple(values.reshape(-1).tolist())


def _examples(proto: tensor_pb2.TensorProto, expected: TensorInfo, key: str) -> tuple[NDArray[Any], ...]:
    if tensors.dtype_name(proto.dtype) != expected.dtype:
        raise InvalidTensor(f"input {key!r} takes {expected.dtype}; sent: {tensors.dtype_name(proto.dtype)}")
    wanted, shape = expected.shape[1:], tensors.shape_of(proto)
    if len(shape) != len(expected.shape) or any(w not in (-1, s) for w, s in zip(wanted, shape[1:], strict=True)):
        raise InvalidTensor(
            f"input {key!r} takes shape {[-1, *wanted]}, the batch first and -1 for any size; sent: {list(shape)}"
        )
    if not all(shape):
        raise InvalidTensor(f"input {key!r} holds no value; sent shape: {list(shape)}")
    values = tensors.to_numpy(proto)
    if values.dtype.kind in "fc" and not np.isfinite(values).all():
        where = [int(index) for index in np.argwhere(~np.isfinite(values))[0]]
        raise InvalidTensor(f"input {key!r} holds NaN or infinity, first at {where}; send finite values only")
    return tuple(values[index : index + 1] for index in range(shape[0]))


def _outputs(request: predict_pb2.PredictRequest, bundle: Bundle, used_alias: bool) -> tuple[tuple[str, str], ...]:
    if not request.output_filter:
        return tuple((_key(tensor, used_alias), tensor.name) for tensor in bundle.outputs)
    by_key = {key: tensor.name for tensor in bundle.outputs for key in (tensor.name, tensor.alias)}
    chosen = tuple(request.output_filter)
    if unknown := [key for key in chosen if key not in by_key]:
        known = ", ".join(tensor.name for tensor in bundle.outputs)
        raise InvalidRequest(f"output_filter names unknown outputs: {', '.join(unknown)}; the model has: {known}")
    if len(set(chosen)) != len(chosen):
        raise InvalidRequest("output_filter names an output twice")
    return tuple((key, by_key[key]) for key in chosen)


def _key(tensor: TensorInfo, used_alias: bool) -> str:
    return tensor.alias if used_alias else tensor.name
