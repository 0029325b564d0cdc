"""Classify, Regress and MultiInference: examples in, labels with scores or values out.

The classes of an example stand in the model's order, as TensorFlow Serving sends them.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidRequest, MethodUnknown
from accelform_runtime.protocol import inference_pb2
from accelform_runtime.worker import scores
from accelform_runtime.worker.examples import Examples
from accelform_runtime.worker.question import Question, check_size
from accelform_runtime.worker.served import Served

Request = TypeVar("Request", bound=Message)


class Task(abc.ABC):
    """What is wanted of each example, and where it goes in the reply."""

    output: str
    """Name of the tensor it is taken from."""

    @abc.abstractmethod
    def add(self, values: NDArray[Any]) -> int:
        """Takes the output for the next example; returns the bytes it adds to the reply."""


class Classification(Task):
    """Each class's label with its score."""

    def __init__(self, result: inference_pb2.ClassificationResult, served: Served) -> None:
        """Raises InvalidRequest where the model has no classes."""
        self.output = scores.class_scores(served.bundle).name
        self._result = result
        self._bundle = served.bundle

    def add(self, values: NDArray[Any]) -> int:
        found = self._result.classifications.add()
        for index, score in enumerate(scores.flat(values).tolist()):
            found.classes.add(label=scores.label(self._bundle, index), score=score)
        return int(found.ByteSize())


class Regression(Task):
    """The one value."""

    def __init__(self, result: inference_pb2.RegressionResult, served: Served) -> None:
        """Raises InvalidRequest where the model has more than one."""
        self.output = scores.one_value(served.bundle).name
        self._result = result

    def add(self, values: NDArray[Any]) -> int:
        return int(self._result.regressions.add(value=scores.flat(values)[0]).ByteSize())


class Inference(Question):
    """Each example scored once, for all tasks."""

    def __init__(self, given: inference_pb2.Input, tasks: Sequence[Task], response: Message, served: Served) -> None:
        """`response` is what the tasks write to. Raises InvalidRequest where there are no examples."""
        self._examples = Examples(given, served.bundle)
        self.count = len(self._examples)
        self.names = tuple(dict.fromkeys(task.output for task in tasks))
        self._tasks = tasks
        self._response = response
        self._added = 0

    def value(self, index: int) -> bytes | NDArray[Any]:
        return self._examples.value(index)

    def add(self, result: Mapping[str, NDArray[Any]]) -> None:
        size = sum(task.add(result[task.output]) for task in self._tasks)
        if not self._added:
            check_size(self.count * size)
        self._added += 1

    def answer(self) -> bytes:
        reply = bytes(self._response.SerializeToString())
        check_size(len(reply))
        return reply


def parse_classify(message: bytes | memoryview, served: Served) -> Inference:
    """Reads a serialised ClassificationRequest. Raises InvalidRequest, UnknownModel."""
    request = _parsed(message, inference_pb2.ClassificationRequest())
    served.check(request.model_spec)
    response = inference_pb2.ClassificationResponse(model_spec=served.effective())
    return Inference(request.input, [Classification(response.result, served)], response, served)


def parse_regress(message: bytes | memoryview, served: Served) -> Inference:
    """Reads a serialised RegressionRequest. Raises InvalidRequest, UnknownModel."""
    request = _parsed(message, inference_pb2.RegressionRequest())
    served.check(request.model_spec)
    response = inference_pb2.RegressionResponse(model_spec=served.effective())
    return Inference(request.input, [Regression(response.result, served)], response, served)


def parse_multi(message: bytes | memoryview, served: Served) -> Inference:
    """Reads a serialised MultiInferenceRequest. Raises InvalidRequest, MethodUnknown, UnknownModel."""
    request = _parsed(message, inference_pb2.MultiInferenceRequest())
    if not request.tasks:
        raise InvalidRequest("the request has no tasks; send at least one, with model_spec and method_name")
    names = {"" if served.means_resident(task.model_spec.name) else task.model_spec.name for task in request.tasks}
    if len(names) > 1:
        raise InvalidRequest("the tasks name different models; all must name the same one")
    response = inference_pb2.MultiInferenceResponse()
    tasks: dict[str, Task] = {}
    for task in request.tasks:
        served.check(task.model_spec)
        method = task.method_name
        if method in tasks:
            raise InvalidRequest(f"the tasks ask twice for {method} of one signature; once is enough")
        result = response.results.add(model_spec=served.effective())
        if method == scores.CLASSIFY:
            tasks[method] = Classification(result.classification_result, served)
        elif method == scores.REGRESS:
            tasks[method] = Regression(result.regression_result, served)
        else:
            known = f"{scores.CLASSIFY} and {scores.REGRESS}"
            raise MethodUnknown(f"method_name {method!r} is not supported; there are {known}")
    return Inference(request.input, list(tasks.values()), response, served)


def _parsed(message: bytes | memoryview, request: Request) -> Request:
    try:
        request.ParseFromString(bytes(message))
    except DecodeError as error:
        raise InvalidRequest(f"the message is not a {request.DESCRIPTOR.name}") from error
    return request
