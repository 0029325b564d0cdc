"""One Predict call: what it asks, which images or tensors it holds, and the answer in the names it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from accelform_runtime.device.bundle import Bundle, TensorInfo
from accelform_runtime.errors import InvalidRequest, UnknownSignature
from accelform_runtime.protocol import predict_pb2, tensors
from accelform_runtime.worker import inputs
from accelform_runtime.worker.question import Question, check_size
from accelform_runtime.worker.served import Served

Outputs = tuple[tuple[str, str], ...]
"""Outputs to answer: the key in the response, and the tensor's name."""


class Prediction(Question):
    """Tensors in, tensors out."""

    def __init__(self, values: inputs.Values, outputs: Outputs, served: Served) -> None:
        self.count = len(values)
        self.names = tuple(name for _, name in outputs)
        self._values = values
        self._outputs = outputs
        self._served = served
        self._results: list[Mapping[str, NDArray[Any]]] = []

    def value(self, index: int) -> bytes | NDArray[Any]:
        return self._values[index]

    def add(self, result: Mapping[str, NDArray[Any]]) -> None:
        if not self._results:
            check_size(self.count * sum(result[name].nbytes for name in self.names))
        self._results.append(result)

    def answer(self) -> bytes:
        response = predict_pb2.PredictResponse(model_spec=self._served.effective())
        for key, name in self._outputs:
            values = self._values_of(name)
            if self._served.tensor_content_replies:
                tensors.fill_content(response.outputs[key], values)
            else:
                tensors.fill_listed(response.outputs[key], values)
        reply = bytes(response.SerializeToString())
        check_size(len(reply))
        return reply

    def _values_of(self, name: str) -> NDArray[Any]:
        parts = [result[name] for result in self._results]
        if not parts:
            return _no_values(next(tensor for tensor in self._served.bundle.outputs if tensor.name == name))
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def _no_values(output: TensorInfo) -> NDArray[Any]:
    """What an empty batch gives: no value of the output's shape, and 0 for each size that only values would tell."""
    dtype = tensors.numpy_dtype(output.dtype) if tensors.is_numeric(output.dtype) else np.dtype(object)
    return np.empty((0, *(max(size, 0) for size in output.shape[1:])), dtype)


def parse(message: bytes | memoryview, served: Served) -> Prediction:
    """Reads a serialised PredictRequest.

    Raises InvalidRequest, InvalidTensor, UnknownModel or UnknownSignature.
    """
    request = predict_pb2.PredictRequest()
    try:
        request.ParseFromString(message)
    except DecodeError as error:
        raise InvalidRequest("the message is not a PredictRequest") from error
    served.check(request.model_spec, unknown_signature=UnknownSignature)
    bundle = served.bundle
    key = inputs.key_of(request.inputs, bundle)
    values = inputs.from_proto(request.inputs[key], bundle, key)
    return Prediction(values, outputs_of(request.output_filter, bundle, by_alias=key == bundle.inputs[0].alias), served)


def outputs_of(chosen: Sequence[str], bundle: Bundle, *, by_alias: bool) -> Outputs:
    """The outputs named in `chosen`; where it is empty all of them, by alias or by name. Raises InvalidRequest."""
    if not chosen:
        return tuple((_key(tensor, by_alias), tensor.name) for tensor in bundle.outputs)
    by_key = {key: tensor.name for tensor in bundle.outputs for key in (tensor.name, tensor.alias)}
    if unknown := [key for key in chosen if key not in by_key]:
        known = ", ".join(tensor.name for tensor in bundle.outputs)
        raise InvalidRequest(f"output_filter names unknown outputs: {', '.join(unknown)}; the model has: {known}")
    if len(set(chosen)) != len(chosen):
        raise InvalidRequest("output_filter names an output twice")
    return tuple((key, by_key[key]) for key in chosen)


def _key(tensor: TensorInfo, by_alias: bool) -> str:
    return tensor.alias if by_alias else tensor.name
