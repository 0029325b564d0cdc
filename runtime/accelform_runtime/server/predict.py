"""One Predict call: what it asks, which images it holds, and the answer in the names it used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest, InvalidTensor, UnknownModel, UnknownSignature
from accelform_runtime.protocol import predict_pb2, tensors, types_pb2

MAX_REPLY_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""A client without channel options refuses replies above 4 MiB; the rest is room for headers."""
DEFAULT_SIGNATURE: Final = "serving_default"

Run = Callable[[bytes, list[str]], dict[str, NDArray[np.float32]]]


@dataclasses.dataclass(frozen=True)
class Question:
    """A Predict request that fits the resident model."""

    images: tuple[bytes, ...]
    """Encoded images, at least one."""
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
    images = _images(request, keys[0])
    return Question(images, _outputs(request, bundle, used_alias))


def answer(question: Question, results: list[dict[str, NDArray[np.float32]]], bundle: Bundle) -> bytes:
    """The serialised PredictResponse for `results`, one dictionary of outputs by tensor name for each image.

    Raises InvalidRequest when the reply would be larger than a client accepts.
    """
    response = predict_pb2.PredictResponse()
    response.model_spec.name = bundle.name
    response.model_spec.version.value = bundle.version
    response.model_spec.signature_name = DEFAULT_SIGNATURE
    for key, name in question.outputs:
        values = np.concatenate([result[name] for result in results]) if len(results) > 1 else results[0][name]
        response.outputs[key].CopyFrom(tensors.from_float32(values))
    size = response.ByteSize()
    if size > MAX_REPLY_BYTES:
        raise InvalidRequest(
            f"the reply would have {size} bytes, more than the {MAX_REPLY_BYTES} a client accepts; "
            "send fewer images or name fewer outputs in output_filter"
        )
    return bytes(response.SerializeToString())


def _check_model(spec: predict_pb2.ModelSpec, bundle: Bundle, service: str) -> None:
    if spec.name and spec.name not in (bundle.name, service):
        raise UnknownModel(f"model {spec.name!r} is not resident here; this service holds {bundle.name!r}")
    if spec.HasField("version_label"):
        raise UnknownModel(f"version label {spec.version_label!r} is not known; name version {bundle.version} or none")
    if spec.HasField("version") and spec.version.value != bundle.version:
        raise UnknownModel(f"version {spec.version.value} of {bundle.name!r} is not resident; {bundle.version} is")
    if spec.signature_name not in ("", DEFAULT_SIGNATURE):
        raise UnknownSignature(f"the model has no signature {spec.signature_name!r}; it has {DEFAULT_SIGNATURE!r}")


def _images(request: predict_pb2.PredictRequest, key: str) -> tuple[bytes, ...]:
    proto = request.inputs[key]
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
