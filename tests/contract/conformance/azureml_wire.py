"""The clients of two retired SDK generations and of their samples, as they are on the wire; from observed facts.

AccelClient behaves as azureml.accel's PredictionClient, BrainwaveClient as the one of azureml.contrib.brainwave, Sample
as the C# programs that were shown with them. Waiting between attempts is the caller's `pause`, so that tests need not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from accelform_runtime.protocol import PREDICT, predict_pb2, tensor_pb2, tensors, types_pb2

ATTEMPTS = 5
Pause = Callable[[float], None]


class AccelClient:
    """azureml.accel's: no model_spec, no output_filter, a bearer key and a route with every call, five attempts."""

    def __init__(
        self,
        address: str,
        port: int | None = None,
        use_ssl: bool = False,
        access_token: str = "",
        service_name: str = "",
        *,
        pause: Pause,
    ) -> None:
        if address is None:
            raise ValueError("address")
        self._target = f"{address}:{port or (443 if use_ssl else 80)}"
        self._use_ssl = use_ssl
        self._metadata: Sequence[tuple[str, str]] = (
            ("authorization", f"Bearer {access_token}"),
            ("x-ms-aml-grpc-service-route", f"/api/v1/service/{service_name}"),
        )
        self._pause = pause

    def score_file(self, path: str, input_name: str = "images", outputs: Any = None, timeout: float = 10.0) -> Any:
        """One image file; the batch's dimension is taken off."""
        data = Path(path).read_bytes()
        result = self.score_tensors({input_name: (data, [1], types_pb2.DT_STRING)}, outputs, timeout)
        return result if isinstance(result, list) else result[0]

    def score_tensors(self, input_map: Mapping[str, Any], outputs: Any = None, timeout: float = 10.0) -> Any:
        """Tensors of bytes; other types fail in the client itself."""
        request = predict_pb2.PredictRequest()
        for name, (data, shape, dtype) in input_map.items():
            if dtype != types_pb2.DT_STRING:
                raise AttributeError("'bytes' object has no attribute 'append'")
            request.inputs[name].CopyFrom(bytes_tensor([data], shape))
        return self._predict(request, timeout, outputs)

    def score_numpy_arrays(self, input_map: Mapping[str, np.ndarray], outputs: Any = None) -> Any:
        """Arrays: several numbers as raw bytes, a single one in its typed list, bytes as strings."""
        request = predict_pb2.PredictRequest()
        for name, array in input_map.items():
            request.inputs[name].CopyFrom(array_tensor(array))
        return self._predict(request, 30.0, outputs)

    def _predict(self, request: predict_pb2.PredictRequest, timeout: float, outputs: Any) -> Any:
        pauses = iter([1, 2, 4, 8])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with channel(self._target, self._use_ssl) as opened:
                    response = predict(opened)(request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                if attempt == ATTEMPTS or error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                self._pause(next(pauses))
                continue
            return chosen(response, outputs)
        raise AssertionError("the last attempt returns or raises")


class BrainwaveClient:
    """The older one: fixed names, no metadata at all, and it looks for request_id in the answer to a failed call."""

    def __init__(self, address: str, port: int, use_ssl: bool = False, access_token: str = "", *, pause: Pause) -> None:
        if port is None:
            raise ValueError("port")
        self._target, self._use_ssl, self._pause = f"{address}:{port}", use_ssl, pause

    def score_image(self, path: str, timeout: float = 10.0) -> np.ndarray:
        """One image file."""
        return self.score_file(Path(path).read_bytes(), timeout)

    def score_file(self, data: bytes, timeout: float = 10.0) -> np.ndarray:
        """The bytes of one image; the batch's dimension is taken off."""
        return tensors.to_numpy(self.score_tensor(data, [1], types_pb2.DT_STRING, timeout))[0]

    def score_tensor(
        self, data: bytes, shape: Sequence[int], dtype: Any, timeout: float = 10.0
    ) -> tensor_pb2.TensorProto:
        """The answer as it came; the bytes always go as a string, whatever the type says."""
        tensor = bytes_tensor([data], shape)
        tensor.dtype = dtype
        return self._predict(tensor, timeout)

    def score_numpy_array(self, array: np.ndarray) -> np.ndarray:
        """An array, made float32."""
        return tensors.to_numpy(self._predict(array_tensor(np.asarray(array, np.float32)), 30.0))

    def _predict(self, tensor: tensor_pb2.TensorProto, timeout: float) -> tensor_pb2.TensorProto:
        request = predict_pb2.PredictRequest()
        request.inputs["images"].CopyFrom(tensor)
        ids, pauses = [], iter([1, 2, 4, 8])
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with channel(self._target, self._use_ssl) as opened:
                    return predict(opened)(request, timeout=timeout).outputs["output_alias"]
            except grpc.RpcError as error:
                ids.append(dict(error.initial_metadata())["request_id"].upper())  # KeyError where it is missing
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    raise
                if attempt == ATTEMPTS:
                    raise GaveUp(ids, error.code()) from error
                self._pause(next(pauses))
        raise AssertionError("the last attempt returns or raises")


class GaveUp(grpc.RpcError):
    """All attempts failed; the ids are what its support asked for."""

    def __init__(self, request_ids: Sequence[str], code: grpc.StatusCode) -> None:
        super().__init__(f"Request ids: {', '.join(request_ids)}")
        self.request_ids = tuple(request_ids)
        self._code = code

    def code(self) -> grpc.StatusCode:
        """The last attempt's."""
        return self._code


@dataclasses.dataclass(frozen=True)
class Sample:
    """A C# sample: what it sends beside the image, and which failures it tries again."""

    metadata: tuple[tuple[str, str], ...]
    empty_model_spec: bool
    attempts: int
    again: frozenset[grpc.StatusCode]
    pauses: tuple[float, ...]

    @classmethod
    def of_2018(cls, key: str) -> Sample:
        """Bare key, an empty model_spec, twenty attempts at what may pass."""
        passing = ("DEADLINE_EXCEEDED", "UNAVAILABLE", "ABORTED", "INTERNAL")
        pauses = tuple(min(0.5 * 2**count, 10.0) for count in range(19))
        return cls((("authorization", key),), True, 20, frozenset(grpc.StatusCode[code] for code in passing), pauses)

    @classmethod
    def of_2019(cls, service: str) -> Sample:
        """A route, no key, ten attempts without a pause."""
        route = (("x-ms-aml-grpc-service-route", f"/api/v1/service/{service}"),)
        return cls(route, False, 10, frozenset(grpc.StatusCode), (0.0,) * 9)

    def score(self, opened: grpc.Channel, image: bytes, pause: Pause, output: str = "output_alias") -> np.ndarray:
        """The scores of an image."""
        request = predict_pb2.PredictRequest()
        if self.empty_model_spec:
            request.model_spec.SetInParent()
        request.inputs["images"].CopyFrom(bytes_tensor([image], [1]))
        for attempt in range(1, self.attempts + 1):
            try:
                response = predict(opened)(request, timeout=10.0, metadata=self.metadata)
            except grpc.RpcError as error:
                if attempt == self.attempts or error.code() not in self.again:
                    raise
                pause(self.pauses[attempt - 1])
                continue
            return chosen(response, output)
        raise AssertionError("the last attempt returns or raises")


def channel(target: str, use_ssl: bool) -> grpc.Channel:
    """A channel without options; with TLS the default authorities, and the host's name is checked."""
    return grpc.secure_channel(target, grpc.ssl_channel_credentials()) if use_ssl else grpc.insecure_channel(target)


def predict(opened: grpc.Channel) -> Any:
    """Predict on a channel."""
    return opened.unary_unary(
        PREDICT,
        request_serializer=predict_pb2.PredictRequest.SerializeToString,
        response_deserializer=predict_pb2.PredictResponse.FromString,
    )


def chosen(response: predict_pb2.PredictResponse, outputs: Any) -> Any:
    """One output by its exact name, or the only one; what the real client cannot do fails as it does there."""
    if isinstance(outputs, str) and outputs:
        if outputs not in response.outputs:
            raise TypeError("Unsupported tensor type: 0")
        return tensors.to_numpy(response.outputs[outputs])
    if not outputs and len(response.outputs) == 1:
        return tensors.to_numpy(next(iter(response.outputs.values())))
    if outputs or response.outputs:
        raise AttributeError("several outputs need a module that TensorFlow no longer has")
    return []


def bytes_tensor(values: Sequence[bytes], shape: Sequence[int]) -> tensor_pb2.TensorProto:
    """DT_STRING."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def array_tensor(array: np.ndarray) -> tensor_pb2.TensorProto:
    """As TensorFlow's make_tensor_proto writes an array."""
    if array.dtype.kind in "OS":
        return bytes_tensor(array.reshape(-1).tolist(), array.shape)
    if array.dtype not in (np.float32, np.float64):
        raise NotImplementedError(f"the stand-in sends bytes and floating point, not {array.dtype}")
    single = array.dtype == np.float32
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT if single else types_pb2.DT_DOUBLE)
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.size > 1:
        tensor.tensor_content = array.tobytes()
    elif single:
        tensor.float_val.extend(array.reshape(-1).tolist())
    else:
        tensor.double_val.extend(array.reshape(-1).tolist())
    return tensor
