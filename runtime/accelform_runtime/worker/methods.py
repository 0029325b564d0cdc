"""The methods that a call may name, and what reads each one's request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import MethodUnknown
from accelform_runtime.worker.question import Question
from accelform_runtime.worker.served import Served

Read = Callable[[bytes | memoryview, Served], Question]
ReadJson = Callable[[bytes | memoryview, Mapping[str, Any], Served], Question]

# Imported where a call first needs them: what only few services are asked would delay every start.


def _predict(message: bytes | memoryview, served: Served) -> Question:
    from accelform_runtime.worker import predict

    return predict.parse(message, served)


def _classify(message: bytes | memoryview, served: Served) -> Question:
    from accelform_runtime.worker import inference

    return inference.parse_classify(message, served)


def _regress(message: bytes | memoryview, served: Served) -> Question:
    from accelform_runtime.worker import inference

    return inference.parse_regress(message, served)


def _multi_inference(message: bytes | memoryview, served: Served) -> Question:
    from accelform_runtime.worker import inference

    return inference.parse_multi(message, served)


def _rest_predict(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> Question:
    from accelform_runtime.worker import rest

    return rest.parse_predict(text, spec, served)


def _rest_classify(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> Question:
    from accelform_runtime.worker import rest

    return rest.parse_classify(text, spec, served)


def _rest_regress(text: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> Question:
    from accelform_runtime.worker import rest

    return rest.parse_regress(text, spec, served)


def read_beside(method: str, told: Mapping[str, Any], content: NDArray[np.uint8], served: Served) -> Question:
    """What a JSON request asks that was read beside the model: `told` and `content` are what reading.py gives."""
    from accelform_runtime.protocol import inference_pb2
    from accelform_runtime.worker import rest

    if method != "rest.predict":
        given = inference_pb2.Input.FromString(content.tobytes())
        return rest.classification(given, served) if method == "rest.classify" else rest.regression(given, served)
    values: NDArray[Any]
    if "lengths" in told:
        values, at = np.empty(len(told["lengths"]), object), 0
        for index, length in enumerate(told["lengths"]):
            values[index] = content[at : at + length].tobytes()
            at += length
    else:
        values = content.view(told["dtype"]).reshape(told["shape"])
    return rest.prediction(rest.Given(told["key"], told["in_rows"], values), served)


GRPC: Final[Mapping[str, Read]] = {
    "Predict": _predict,
    "Classify": _classify,
    "Regress": _regress,
    "MultiInference": _multi_inference,
}
REST: Final[Mapping[str, ReadJson]] = {
    "rest.predict": _rest_predict,
    "rest.classify": _rest_classify,
    "rest.regress": _rest_regress,
}


def read(method: str, body: bytes | memoryview, spec: Mapping[str, Any], served: Served) -> Question:
    """What the request in `body` asks of the resident model; `spec` says which model a JSON request means.

    Raises MethodUnknown, or a UserError that tells what is wrong with the request.
    """
    if method in GRPC:
        return GRPC[method](body, served)
    if method in REST:
        return REST[method](body, spec, served)
    raise MethodUnknown(f"there is no method {method!r}; there are {', '.join((*GRPC, *REST))}")
